package googlecloud

import "github.com/truestock/truestock/connectors"

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "the Cloud Commerce Partner Procurement API, version 1",
		Classes:  []connectors.Class{connectors.AsksFirst},
		Batch:    1,
		Setup: []string{
			"In Producer Portal, open the product → Technical integration → Backend integration: link a service account for the Partner Procurement API and one for Pub/Sub, and note the partner ID and the Pub/Sub topic.",
			"In the Google Cloud console, IAM & Admin → Service Accounts → the first account → Keys, make a key of type JSON, and write its whole content into `credentials`.",
			"In Pub/Sub → Subscriptions of the linked project, make a subscription to that topic: delivery type Push, the webhook address of the connection as endpoint, Enable authentication with a service account whose " +
				"address you write into `push_account`, and the audience, if you give one, into `audience`. Set the acknowledgement deadline to 20 seconds.",
			"In Producer Portal, have purchases wait for your approval: with automatic approval Google asks nothing.",
			"Map each plan: the item is product/plan, as in `my-product.endpoints.my-project.cloud.goog/gold`; a plan of fifty seats is a pack of fifty.",
			"Buy a plan by a test purchase; the question stands in `truestock events`.",
		},
		Scopes: []string{scope, "the service account must be linked to the product in Producer Portal"},
		Can: []string{
			"answers a purchase and a change of plan from what there is at that moment: `:approve`, `:approvePlanChange`, `:reject` and `:rejectPlanChange`, each repeated until Google has it",
			"refuses with the words: \"" + refusal + "\"",
			"approves the buyer's account with the first purchase that is admitted, where `approve_accounts` is yes",
			"finds by the list of entitlements what was cancelled, changed or missed; what has ended gives its units back, what ends at the end of its term keeps them until then",
		},
		Cannot: []string{
			"show or write a quantity: the marketplace has none, and an entitlement has none either",
			"refuse what Google approves by itself: products and offers with automatic approval, and renewals",
			"take a decision back: a purchase that was refused is bought anew",
			"be the sign-up page; report usage; pull from Pub/Sub instead of being pushed to",
		},
		Limits: []string{
			"Deadline: Google sets none for a decision; the buyer sees a purchase that waits. A push has to be answered within the acknowledgement deadline of the subscription, ten seconds unless it is changed; each call of ours that a " +
				"question waits for is bounded by 1.5 seconds, and `admission: {deadline: 4s}`, the default, leaves room.",
			"Default: what cannot be decided in time is answered by `admission: {default: refuse}`, or `admit`, and opens an incident. Either is told to Google, and is final there.",
			"A decision that Google does not take yet, as long as the buyer has not signed up, is told again with every repetition of the message: for seven days, unless the subscription keeps messages for less.",
			"A message that was lost for good leaves a purchase that waits: it is in Producer Portal, under orders, and nowhere here.",
			"A change of plan is admitted when the units of the new plan are there beside those of the old one. From the admission on, the new plan is what is held, even where it begins with the next period.",
			"The list of entitlements has no filter by time: each look fetches all of them, 200 in a call.",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.VendorSpecification, What: "every request, and the pretend marketplace's every answer, fits the discovery document in the Go module google.golang.org/api", Test: "connectors/googlecloud TestEveryRequestFitsTheSpecification"},
			{By: connectors.Conformance, What: "tokens, questions, answers, keys and envelopes", Test: "connectors/googlecloud TestConformance"},
			{By: connectors.Conformance, What: "purchase, change of plan, refusal, repetition and end, against a pretend marketplace with a state", Test: "connectors/googlecloud TestTheLifeOfAnEntitlement"},
			{By: connectors.Conformance, What: "forged, foreign, outdated and unsigned tokens, and keys that are replaced", Test: "connectors/bearer TestVerify"},
		},
		Unproven: []string{
			"calls of Google itself: nobody can try this without a partner's account and a product in Producer Portal",
			"the messages: they stand in the documents, not in the discovery document, and the documents do not list all types; what is not known makes us look",
			"how Google answers a decision that came before: a refusal of the call is followed by a look at the entitlement",
			"which plan a rejected or removed entitlement shows; one that is not found any more counts as cancelled",
		},
	}
}
