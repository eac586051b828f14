package awsmarketplace

import "github.com/truestock/truestock/connectors"

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "the Marketplace Entitlement Service (2017-01-11), events of EventBridge and messages of SNS for SaaS contracts",
		Classes:  []connectors.Class{connectors.OrdersOnly},
		Batch:    1,
		Setup: []string{
			"In AWS Marketplace Management Portal, Products → SaaS → the product, copy the product code into `product_codes`.",
			"In the IAM console of the seller's account, make a user that may do aws-marketplace:GetEntitlements, and an access key for it.",
			"For a product listed since June 2026, in EventBridge of the region us-east-1: Connections → API key, with the name `x-api-key` and a long random value, which goes into `event_secrets`; API destinations → " +
				"the webhook address of the connection, POST; Rules on the default bus → source aws.agreement-marketplace, with that target. Leave `orders_by` at license.",
			"For an older product: subscribe the webhook address of the connection by HTTPS to the product's SNS topics, and write their ARNs into `topic_arns` before: the confirmation is answered by itself. Set `orders_by` to customer.",
			"Map each dimension: the item is product code/dimension, as in `abc123/seats`.",
		},
		Scopes: []string{"aws-marketplace:GetEntitlements"},
		Can: []string{
			"takes what buyers are entitled to as orders, with the quantity of each dimension as a running total; more and fewer seats, renewals and ends",
			"looks at once when an event of EventBridge or a message of SNS says so, and confirms subscriptions of its own topics",
			"cancels what was deprovisioned, has expired, or is missing in two looks at least a minute apart",
		},
		Cannot: []string{
			"refuse anything: AWS asks nothing before it sells and takes no refusal after. Not a purchase, not an upgrade, not a renewal. What may run out is to be limited in AWS Marketplace itself: by private offers, or by taking the product off sale",
			"keep an oversell from happening: it is found by the next look, and dealt with as any other (`truestock incidents`)",
			"show or write a quantity: AWS Marketplace has none",
			"be the registration page, which resolves the buyer's token (ResolveCustomer), or report metered usage (BatchMeterUsage); products that are only metered have no entitlements, and nothing to hold",
			"send messages back: a refund or a cancellation is made in AWS Marketplace Management Portal",
		},
		Limits: []string{
			"Deadline and default: there are none, since nothing is asked. `admission` has no effect here.",
			"A page has 25 entitlements; each look fetches all of a product.",
			"AWS tells no instant of change: a version is that of the look that found it. Every order is told anew once an hour.",
			"What ends while truestock is down, without an event that comes later, and is not listed as expired, stays open: after a restart nothing is known of it.",
			"A dimension whose value is a text counts nothing; yes is one.",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.VendorSpecification, What: "requests are the ones of AWS's own client for Go, byte by byte but for the signature, and that client reads the pretend service's answers as we do", Test: "connectors/awsmarketplace TestOurRequestsAreThoseOfTheSDK"},
			{By: connectors.Vectors, What: "signatures of SNS, of versions 1 and 2, made by openssl", Test: "connectors/signature TestSNS"},
			{By: connectors.Conformance, What: "events, messages, keys and envelopes", Test: "connectors/awsmarketplace TestConformance"},
			{By: connectors.Conformance, What: "purchase, change, expiry and end, against a pretend service with a state", Test: "connectors/awsmarketplace TestTheLifeOfALicence"},
		},
		Unproven: []string{
			"calls of AWS itself: nobody can try this without a seller's account and a listed SaaS product",
			"the events' content, which stands in AWS's documents as examples: only id, source, detail-type, time and detail.license.arn are read",
			"whether a list without a filter has every buyer; the documents make the filter optional",
			"LicenseArn in the answers, which the version of AWS's client that could be compared does not have yet",
		},
	}
}
