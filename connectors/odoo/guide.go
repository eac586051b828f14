package odoo

import (
	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "Odoo 16, 17 and 18 by JSON-RPC, 19 and later by JSON-2, with the apps Sales and Inventory",
		Bases:    []stock.Basis{stock.OnHandBasis, stock.AvailableBasis},
		Setup: []string{
			"Make a user of its own for truestock, in one company only, under Settings → Users. On Odoo Online the external API needs the plan Custom.",
			"Signed in as that user, open Preferences → Account security → New API key, call it `truestock`, choose three months, and write the key into `api_key`. " +
				"Note the date: Odoo 18 and later let no key live longer, so that a new one is needed before; `truestock check` and the log tell the date, from 14 days before.",
			"For 16 to 18 write the name of the database into `database` and the user's login into `login`.",
			"Make a contact that orders of marketplaces are placed for, open it, and write the last number in the address into `customer_id`.",
			"Choose `number`. `quantity`, from the quants of internal locations, and `qty_available`, On Hand of the product form, are on hand: they contain what is sold and not yet sent. " +
				"`available_quantity` and `free_qty`, Free to Use, are available: what is reserved for deliveries is not in them. Forecasted (virtual_available) contains what has not come yet, and is not offered.",
			"Choose `available_quantity` or `free_qty` only where deliveries are reserved at confirmation (Inventory → Configuration → Operations Types): what is sold and not reserved is still in these numbers.",
			"Give every product a unique Internal Reference, or set `sku` to `barcode`. Products that are sold in fractions are left out by `exclude_units`.",
			"For 17 and later, in the settings of Technical → Automation Rules, make a rule on Quants (stock.quant) and one on Transfers (stock.picking), On save, with the action Send Webhook Notification, " +
				"to the webhook address of the connection with `?key=` and the word of `webhook_keys` behind it. Tick the field Last Updated on (write_date). Without rules, Odoo is asked what changed every `timings.poll`.",
			"Leave Settings → Sales → Lock Confirmed Sales off: a locked order cannot be cancelled.",
		},
		Scopes: []string{"Sales: User: All Documents", "Inventory: User"},
		Limits: []string{
			"5 requests a second unless set otherwise; 200 products a page. Odoo documents no limit of its own; Odoo Online and Odoo.sh answer 429 or 503 under load, and are then left alone for as long as they say.",
			"A webhook is answered within Odoo's one second. Levels are read 2 seconds after one (19 and later: half a second), because before 19 Odoo sends it before it commits.",
		},
		Can: []string{
			"levels per warehouse, or per named location with everything below it, in any of the four numbers",
			"orders: looked for before they are made, confirmed, cancelled in whole or in part",
			"how each order stands: shipped by place over all part deliveries and back orders, reserved, returned, cancelled by us, and rejected by the warehouse: " +
				"cancelled or lowered in Odoo, or closed without a back order",
			"with every poll, and soon after a webhook, what changed (write_date): levels are then read, and orders asked for",
			"tells when the API key expires, and where to make a new one",
		},
		Cannot: []string{
			"be told by a webhook what changed: Odoo signs nothing, tries once, and before 19 tells what may never be committed; a webhook only has truestock look",
			"deliver kits (phantom bills of materials) as one line: map them as bundles, so that their parts are ordered",
			"count fractions, or order lines in another unit than the product's own",
			"book stocktakes into Odoo, or change an order's quantities upwards",
			"set prices: they are those of the customer's pricelist",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.Recorded, What: "the suite against Odoo 16 and 18 over JSON-RPC and Odoo 19 over JSON-2, with the applications Sales and Inventory; with its faults and callers side by side it was run there too", Test: "connectors/odoo TestRecorded"},
			{By: connectors.Recorded, What: "webhooks that Odoo 18 sent when stock and a delivery changed", Test: "connectors/odoo TestDelivered"},
			{By: connectors.Conformance, What: "the whole suite over JSON-2, against a pretend Odoo 19 written from the sources", Test: "connectors/odoo TestConformanceJSON2"},
			{By: connectors.Conformance, What: "the whole suite over JSON-RPC, against a pretend Odoo 16", Test: "connectors/odoo TestConformanceJSONRPC"},
			{By: connectors.Conformance, What: "part deliveries, back orders, deliveries in two steps, returns, kits, lowered lines and orders cancelled in Odoo, in 16, 17, 18 and 19", Test: "connectors/odoo TestStanding"},
			{By: connectors.Conformance, What: "every kind of bad input, and what the error tells to do", Test: "connectors/odoo TestBadInput"},
		},
		Unproven: []string{
			"Odoo 17, and the hosted Odoo Online: TestLive runs the suite against one when its address and key are given by environment",
			"the name vals of the argument of write over JSON-2, which a module can change by overriding the method with another name; Odoo then answers 422 and nothing is lowered",
			"that Odoo 16 lowers a delivery with its order line; where it does not, a cancellation in part says which delivery to lower",
		},
	}
}
