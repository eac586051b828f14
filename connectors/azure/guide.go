package azure

import "github.com/truestock/truestock/connectors"

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "the SaaS fulfilment interface, version 2 (api-version 2018-08-31)",
		Classes:  []connectors.Class{connectors.AsksFirst},
		Batch:    1,
		Setup: []string{
			"In the Azure portal, Microsoft Entra ID → App registrations, register an application in one tenant, and make a client secret under Certificates & secrets.",
			"Run `az ad sp create --id " + resource + "` once in that tenant, so that tokens for the marketplace can be had there.",
			"In Partner Center, Marketplace offers → the offer → Technical configuration, write the webhook address of the connection as connection webhook, and the tenant ID and the application ID of the step before.",
			"Copy the tenant ID, the application ID and the secret into `tenant_id`, `client_id` and `client_secret`.",
			"Map each plan: the item is offer ID/plan ID, as in `my-offer/gold`.",
			"Buy a plan of the preview audience, and change its seats: the question stands in `truestock events`.",
		},
		Scopes: []string{"the application of the offer's technical configuration; it needs no further rights"},
		Can: []string{
			"answers ChangeQuantity and ChangePlan from what there is at that moment: yes is 200 and a PATCH with Success, no is a PATCH with Failure and 409 (`OutOfStock`: \"There are not enough seats of this plan left to sell.\")",
			"takes new subscriptions as orders, and activates one when the system of record ships it",
			"has the seats of every subscription as running totals; what has ended gives its seats back, what is suspended keeps them",
			"finds by the list of subscriptions what a lost webhook or a late answer left behind",
		},
		Cannot: []string{
			"show or write a quantity: the marketplace has none",
			"refuse a new purchase, for Microsoft does not ask: it waits as an order until it is activated, and is cancelled by Microsoft after 30 days",
			"refuse Reinstate or Renew: these are only told",
			"be the landing page, which resolves the buyer's token; and report metered usage",
			"activate in parts: the first shipment activates all seats",
		},
		Limits: []string{
			"Deadline: Microsoft waits ten seconds. Each call of ours that a question waits for is bounded by 1.5 seconds, so `admission: {deadline: 4s}`, which is the default, leaves room. Who says nothing in time has said yes.",
			"Default: what cannot be decided in time is answered by `admission: {default: refuse}`, or `admit`, and opens an incident. A refusal that comes too late does not count at Microsoft: the next look at the subscriptions has the seats, and an oversell is dealt with as any other.",
			"A change of plan is admitted when the seats of the new plan are there beside those of the old one, even where both are of one article.",
			"A webhook is repeated for eight hours, up to 500 times.",
			"The list of subscriptions has no filter: each look fetches all of them. Every subscription is told anew once an hour.",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.VendorSpecification, What: "every request, and the pretend marketplace's every answer, fits the OpenAPI document; the operations that are used were written out of microsoft/commercial-marketplace-openapi by hand, " +
				"because no package registry carries it, and compared with it", Test: "connectors/azure TestEveryRequestFitsTheSpecification"},
			{By: connectors.Conformance, What: "tokens, questions, answers, keys and envelopes", Test: "connectors/azure TestConformance"},
			{By: connectors.Conformance, What: "purchase, activation, change of seats, refusal, late answer and end, against a pretend marketplace with a state", Test: "connectors/azure TestTheLifeOfASubscription"},
			{By: connectors.Conformance, What: "forged, foreign, outdated and unsigned tokens, and keys that are replaced", Test: "connectors/bearer TestVerify"},
		},
		Unproven: []string{
			"calls of Microsoft itself: nobody can try this without a publisher's account and a transactable offer",
			"which version of token the webhook carries: the issuers of both versions of Microsoft Entra are taken",
			"whether a webhook that was answered with 409 is repeated; a repeat finds the operation over, and is answered 200",
			"the webhook Subscribe, of plans that are activated by Microsoft: it stands in the documents, not in the OpenAPI document",
		},
	}
}
