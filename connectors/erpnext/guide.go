package erpnext

import (
	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "ERPNext 14, 15 and 16 on Frappe, by /api/resource and /api/method",
		Bases:    []stock.Basis{stock.OnHandBasis, stock.AvailableBasis},
		Setup: []string{
			"Make a user of its own for truestock, of type System User, with the roles below, and without User Permissions: what a permission hides reads as nothing there.",
			"On the user's page, under Settings → API Access, press Generate Keys; write API Key and the API Secret, which is shown once, into `api_key` and `api_secret`.",
			"Make a Custom Field: Document Type Sales Order, Field Type Long Text, Label truestock lines, Fieldname truestock_lines, with Allow on Submit and Hidden ticked. If ERPNext names it otherwise, such as custom_truestock_lines, write that into `note_field`.",
			"Make a customer that orders of marketplaces are placed for, and write its ID into `customer`; write the full name of the warehouse that delivers into `delivery_warehouse`.",
			"Choose `number`. `actual_qty` is on hand: it contains what is ordered and not yet delivered. `unreserved_qty` is available: what submitted Sales Orders still want is not in it. Projected Quantity contains what has not come yet, and is not offered.",
			"Make webhooks under Integrations → Webhook on Stock Ledger Entry (After Insert), Delivery Note (On Submit, On Cancel) and Sales Order (On Update After Submit, On Cancel), to the webhook address of the connection, " +
				"Request Method POST, Request Structure JSON, with Enable Security and a secret that stands in `webhook_secrets` too, and this body, with the event of the webhook in its place: " +
				"`{\"doctype\": \"{{ doc.doctype }}\", \"name\": \"{{ doc.name }}\", \"modified\": \"{{ doc.modified }}\", \"event\": \"on_submit\"}`.",
			"Not on Bin: ERPNext writes Bins past its events, and such a webhook is not called when stock moves.",
		},
		Scopes: []string{"Sales User", "Stock User", "Item Manager (or another role that reads Item)", "Sales Manager, where only that may close orders or use Update Items"},
		Limits: []string{
			"5 requests a second unless set otherwise; 200 items a page. A site's own rate_limit answers 429, and is obeyed.",
			"A webhook is tried three times within about five seconds, and then only noted in Webhook Request Log: what is lost of stock is seen with the next poll, and of a delivery when its order is asked for (`timings.order_status`).",
			"A key of an order has at most 140 characters.",
		},
		Can: []string{
			"levels per warehouse, on hand or available",
			"orders: looked for before they are made, submitted, cancelled in whole or in part; closed where a part was delivered",
			"shipments with transporter and Transport Receipt No, fetched when a webhook tells of a submitted Delivery Note",
			"with every poll whether stock moved: levels are then read; and without webhooks which orders changed: they are then asked for",
			"how each order stands: shipped by warehouse over all Delivery Notes, returns, reserved, cancelled by us, and rejected by the warehouse: cancelled, closed or lowered in ERPNext",
		},
		Cannot: []string{
			"take back a shipment whose Delivery Note is cancelled: what stands is told when the order is asked for",
			"tell orders of Product Bundles part by part: map bundles in truestock",
			"count fractions, or order rows in another unit than the item's stock unit",
			"set prices: they are those of the customer's price list",
			"book stocktakes into ERPNext, or change an order's quantities upwards",
			"delete a draft that a lost call left over: it reserves nothing, and can be deleted by hand",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.Recorded, What: "the suite against a distribution of ERPNext 15 of December 2024; with its faults and callers side by side it was run there too", Test: "connectors/erpnext TestRecorded"},
			{By: connectors.Conformance, What: "shipments of a Delivery Note that covers several orders, and of none of ours", Test: "connectors/erpnext TestShipments"},
			{By: connectors.Conformance, What: "the whole suite, on hand and available, against a pretend ERPNext written from the sources", Test: "connectors/erpnext TestConformance"},
			{By: connectors.Recorded, What: "a webhook that it sent when stock came in", Test: "connectors/erpnext TestDelivered"},
			{By: connectors.Vectors, What: "the signature of a webhook, over a body as Python writes it", Test: "connectors/erpnext TestWebhook"},
			{By: connectors.Conformance, What: "part deliveries, returns, invoices that move stock, lowered and deleted rows, closed, held and amended orders", Test: "connectors/erpnext TestStanding"},
			{By: connectors.Conformance, What: "every kind of bad input, and what the error tells to do", Test: "connectors/erpnext TestBadInput"},
		},
		Unproven: []string{
			"ERPNext 14 and 16: TestLive runs the suite against one when its address and keys are given by environment",
			"that the address of Update Items, erpnext.controllers.accounts_controller.update_child_qty_rate, is the same in every version; where it is not, a cancellation in part is refused and the order stays as it is",
			"sites with Do Not Reserve Sales Order Qty on Sales Return: their reserved_qty lacks what came back, and a returned order then stands as if its units were still set aside",
		},
	}
}
