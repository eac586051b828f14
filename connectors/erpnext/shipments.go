package erpnext

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// deliveryDoc is a Delivery Note (erpnext/stock/doctype/delivery_note/delivery_note.json); lr_no is its Transport Receipt No.
type deliveryDoc struct {
	Name        string `json:"name"`
	Modified    string `json:"modified"`
	DocStatus   int    `json:"docstatus"`
	IsReturn    int    `json:"is_return"`
	Tracking    string `json:"lr_no"`
	Transporter string `json:"transporter_name"`
	Items       []struct {
		Order     string  `json:"against_sales_order"`
		OrderItem string  `json:"so_detail"`
		Item      string  `json:"item_code"`
		Warehouse string  `json:"warehouse"`
		StockUOM  string  `json:"stock_uom"`
		Quantity  *number `json:"stock_qty"`
	} `json:"items"`
}

// completion is how long the note that a webhook is about is asked for: Frappe waits five seconds for the answer.
const completion = 3 * time.Second

// CompleteWebhook implements connectors.WebhookCompleter. Frappe sends after the commit, so that a Delivery Note can be
// fetched at once: then its shipments are told with their tracking. Where that fails the webhook is a hint all the same, and
// asking for the order tells what was shipped.
func (r *record) CompleteWebhook(ctx context.Context, d connectors.Delivery) (connectors.Delivery, error) {
	h, err := readHook(d.Body)
	if err != nil || h.DocType != "Delivery Note" || h.Event != "on_submit" && h.Event != "on_update_after_submit" {
		return d, nil
	}
	bounded, cancel := context.WithTimeout(ctx, completion)
	defer cancel()
	note, err := r.deliveryNote(bounded, h.Name)
	if err == nil && note.DocStatus == submitted && note.IsReturn == 0 {
		h.Shipments, err = r.shipments(bounded, note)
	}
	if err != nil || len(h.Shipments) == 0 {
		return d, ctx.Err()
	}
	body, err := json.Marshal(h)
	if err != nil {
		return d, nil
	}
	// Completed at another time the note may say more; then it is another delivery.
	d.Key, d.Body = d.Key+":"+note.Modified, body
	return d, nil
}

func (r *record) deliveryNote(ctx context.Context, name string) (*deliveryDoc, error) {
	const op = "read a delivery note"
	data, err := r.resource(ctx, op, http.MethodGet, "Delivery Note", name, nil)
	if err != nil {
		return nil, err
	}
	var note deliveryDoc
	if err := json.Unmarshal(data, &note); err != nil {
		return nil, r.refuse(connectors.Rejected, op, "", "the answer cannot be taken: "+rest.ExplainJSON(err).Error())
	}
	return &note, nil
}

// shipments are the parts of a note that belong to our orders, one for each.
func (r *record) shipments(ctx context.Context, note *deliveryDoc) ([]connectors.Shipment, error) {
	const op = "read a delivery note"
	var out []connectors.Shipment
	var asked []string
	for _, first := range note.Items {
		if first.Order == "" || slices.Contains(asked, first.Order) {
			continue
		}
		asked = append(asked, first.Order)
		doc, err := r.order(ctx, op, http.MethodGet, first.Order, nil)
		if err != nil {
			return nil, err
		}
		if doc.note == "" || doc.PONo == "" { // an order that people made
			continue
		}
		lines, rows, err := r.note(op, doc)
		if err != nil {
			return nil, err
		}
		// Each order has its own part of the note, with an identity of its own.
		s := connectors.Shipment{ShipmentID: note.Name + "/" + doc.Name, OrderKey: doc.PONo, Carrier: note.Transporter, Tracking: note.Tracking}
		for _, item := range note.Items {
			i := slices.IndexFunc(lines, func(l noteLine) bool { return rows[l.Line] != nil && rows[l.Line].Name == item.OrderItem })
			if i < 0 {
				continue
			}
			q, err := item.Quantity.whole("stock_qty of "+item.Item+" in "+note.Name, item.StockUOM)
			if err != nil {
				return nil, r.refuse(connectors.Rejected, op, "", err.Error())
			}
			s.Lines = addShipped(s.Lines, connectors.ShipmentLine{LineID: lines[i].Line, SKU: item.Item, Quantity: q, Location: item.Warehouse})
		}
		if err := (connectors.Fact{Kind: connectors.ShipmentShipped, Shipment: &s}).Validate(); err != nil {
			return nil, r.refuse(connectors.Rejected, op, "", note.Name+": "+err.Error())
		}
		if len(s.Lines) > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}

// addShipped joins rows of one line and warehouse, into which ERPNext splits what has several batches.
func addShipped(lines []connectors.ShipmentLine, l connectors.ShipmentLine) []connectors.ShipmentLine {
	for i := range lines {
		if lines[i].LineID == l.LineID && lines[i].Location == l.Location {
			lines[i].Quantity = min(lines[i].Quantity+l.Quantity, stock.MaxQuantity)
			return lines
		}
	}
	return append(lines, l)
}
