package erpnext

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
)

const (
	// changesAgain is how long before its mark a look begins: a document is dated before it is committed (frappe/model/
	// document.py, set_user_and_timestamp), so that it may come to light after one of a later date.
	changesAgain = time.Minute
	// changesPage is how many orders are asked for in one call.
	changesPage = 500
	// dated is how Frappe writes a date and time: in the time zone of the site. In the hour that an autumn gives twice, changes
	// may be missed, and are found by the rounds of the engine.
	dated = "2006-01-02 15:04:05.999999"
)

type changeRow struct {
	Name     string `json:"name"`
	Modified string `json:"modified"`
	PONo     string `json:"po_no"`
}

// Changes implements connectors.ChangeTeller, by when Stock Ledger Entries, Bins and our Sales Orders changed last: a Delivery
// Note changes the order that it is for. Where webhooks are received, they tell of Delivery Notes, with what a buyer tracks
// them by; orders are then left to them, lest a shop hears of a shipment without that first. The mark is the latest of the
// times. The minute before it is looked at again, and what was told of it is not told once more.
func (r *record) Changes(ctx context.Context, mark string) (connectors.Changes, error) {
	const op = "ask what changed"
	var none connectors.Changes
	at, err := time.Parse(dated, mark)
	known := err == nil
	var rows []changeRow
	latest := []string{"Stock Ledger Entry", "Bin"}
	if !known {
		latest = append(latest, "Sales Order")
	}
	for _, doctype := range latest {
		last, err := list[changeRow](ctx, r, op, query{DocType: doctype, Fields: []string{"name", "modified"}, Filters: []any{}, Order: "modified desc", Limit: 1}, false)
		if err != nil {
			return none, err
		}
		rows = append(rows, last...)
	}
	stock := len(rows)
	if known && len(r.hooks) == 0 {
		since := at.Add(-changesAgain).Format(dated)
		for page := changesPage; page == changesPage; {
			orders, err := list[changeRow](ctx, r, op, query{DocType: "Sales Order", Fields: []string{"name", "modified", "po_no"},
				Filters: []any{[]any{"modified", ">", since}, []any{"customer", "=", r.customer}}, Order: "creation asc", Start: len(rows) - stock, Limit: changesPage}, false)
			if err != nil {
				return none, err
			}
			rows, page = append(rows, orders...), len(orders)
		}
	}
	var out connectors.Changes
	for _, c := range rows {
		when, err := time.Parse(dated, c.Modified)
		if err != nil {
			return none, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("%s was changed at %q, which is no date and time", c.Name, c.Modified))
		}
		if when.After(at) {
			at = when
		}
	}
	fresh, done := r.told.Look(1)
	defer done(true)
	for i, c := range rows {
		if !fresh(c.Name+" "+c.Modified) || !known {
			continue
		}
		out.Stock = out.Stock || i < stock
		if c.PONo != "" && !slices.Contains(out.OrderKeys, c.PONo) {
			out.OrderKeys = append(out.OrderKeys, c.PONo)
		}
	}
	out.Mark = at.Format(dated)
	return out, nil
}
