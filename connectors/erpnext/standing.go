package erpnext

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// mostDeliveries is how many rows of Delivery Notes of one order are understood.
const mostDeliveries = 2000

// OrderStanding implements connectors.OrderTeller. Shipped is what submitted Delivery Notes took, by warehouse, and what
// Sales Invoices with Update Stock took, of the row's warehouse. What neither left nor is to come any more counts as
// cancelled as far as we said so, and as rejected beyond that: an order cancelled or closed in ERPNext, a row lowered or
// deleted there. Set aside is what reserved_qty contains: the whole rest of a submitted order that is neither closed nor on
// hold, whether there is enough or not (get_reserved_qty in stock_balance.py). The answer has no instant: ERPNext dates by
// the beginning of a transaction and not by its end.
func (r *record) OrderStanding(ctx context.Context, key string) (connectors.Standing, error) {
	const op = "ask for an order"
	head, err := r.find(ctx, op, key)
	if err != nil {
		return connectors.Standing{}, err
	}
	if head == nil {
		return connectors.Standing{}, unknownOrder(op, key)
	}
	deliveries, err := list[deliveryRow](ctx, r, op, query{DocType: "Delivery Note Item", Parent: "Delivery Note", Fields: []string{"parent", "so_detail", "warehouse", "stock_qty"},
		Filters: []any{[]any{"against_sales_order", "=", head.Name}, []any{"docstatus", "=", submitted}}, Order: "creation asc", Limit: mostDeliveries}, true)
	if err != nil {
		return connectors.Standing{}, err
	}
	doc, err := r.order(ctx, op, http.MethodGet, head.Name, nil)
	if err != nil {
		return connectors.Standing{}, err
	}
	lines, rows, err := r.note(op, doc)
	if err != nil {
		return connectors.Standing{}, err
	}
	out := connectors.Standing{OrderKey: key}
	for _, l := range lines {
		told, err := standingOf(doc, l, rows[l.Line], deliveries)
		if err != nil {
			return connectors.Standing{}, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("order %s: %v", doc.Name, err))
		}
		out.Lines = append(out.Lines, told)
	}
	if err := out.Validate(); err != nil {
		return connectors.Standing{}, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("order %s: %v", doc.Name, err))
	}
	return out, nil
}

func standingOf(doc *orderDoc, l noteLine, row *orderItem, deliveries []deliveryRow) (connectors.StandingLine, error) {
	told := connectors.StandingLine{LineID: l.Line, Restocked: new(stock.Quantity)}
	var now, gone stock.Quantity
	if row != nil {
		var err error
		if now, gone, err = quantities(row); err != nil {
			return told, err
		}
		byNotes := stock.Quantity(0)
		for _, d := range deliveries {
			if d.OrderItem != row.Name {
				continue
			}
			q, err := d.Quantity.whole("stock_qty of "+row.Item+" in "+d.Parent, row.StockUOM)
			switch {
			case err != nil:
				return told, err
			case d.Warehouse == "":
				return told, fmt.Errorf("%s names no warehouse for %s", d.Parent, row.Item)
			case q < 0:
				*told.Restocked -= q
			default:
				byNotes += q
				placeAt(&told, d.Warehouse).Shipped += q
			}
		}
		if gone > byNotes { // by invoice, or by a note submitted since the notes were read
			placeAt(&told, row.Warehouse).Shipped += gone - byNotes
		}
		gone = max(gone, byNotes)
	}
	coming := max(0, now-gone)
	if doc.DocStatus == cancelled || doc.Status == statusClosed {
		coming = 0
	}
	if row != nil && doc.DocStatus == submitted && doc.Status != statusClosed && doc.Status != statusOnHold {
		delivered, err := row.Delivered.whole("delivered_qty of "+row.Item, row.StockUOM)
		if err != nil {
			return told, err
		}
		if rest := now - delivered; rest > 0 {
			*placeAt(&told, row.Warehouse).Allocated = rest
		}
	}
	missing := max(0, l.Ordered-gone-coming)
	told.Cancelled = min(missing, l.Cancelled)
	told.Rejected = missing - told.Cancelled
	return told, nil
}

func placeAt(l *connectors.StandingLine, warehouse string) *connectors.StandingPlace {
	i := slices.IndexFunc(l.Places, func(p connectors.StandingPlace) bool { return p.Location == warehouse })
	if i < 0 {
		i = len(l.Places)
		l.Places = append(l.Places, connectors.StandingPlace{Location: warehouse, Allocated: new(stock.Quantity)})
	}
	return &l.Places[i]
}
