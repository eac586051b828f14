package erpnext

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// The states of a document (frappe/model/docstatus.py), and those of a submitted order that stop its delivery.
const (
	draft     = 0
	submitted = 1
	cancelled = 2

	statusClosed = "Closed"
	statusOnHold = "On Hold"
)

// stripes is how many orders can be worked on at once.
const stripes = 16

// hold keeps other calls about the order away until the function that it returns is called: two calls at once would both
// find that there is no order yet.
func (r *record) hold(ctx context.Context, key string) (func(), error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	at := r.orders[h.Sum32()%stripes]
	select {
	case at <- struct{}{}:
		return func() { <-at }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// noteLine is what the custom field of an order says of one of our lines. Row is the name of its row in ERPNext, empty until
// the order is submitted.
type noteLine struct {
	Line      string         `json:"line"`
	Row       string         `json:"row,omitempty"`
	Item      string         `json:"item"`
	Ordered   stock.Quantity `json:"ordered"`
	Cancelled stock.Quantity `json:"cancelled"`
}

// parseNote reads the custom field. The error tells what is wrong with it.
func parseNote(text string) ([]noteLine, error) {
	var lines []noteLine
	if err := json.Unmarshal([]byte(text), &lines); err != nil || len(lines) == 0 {
		return nil, errors.New("it is empty, or was changed by hand")
	}
	seen := map[string]bool{}
	for _, l := range lines {
		if l.Line == "" || l.Item == "" || seen[l.Line] || l.Ordered < 0 || l.Ordered > stock.MaxQuantity || l.Cancelled < 0 || l.Cancelled > l.Ordered {
			return nil, fmt.Errorf("its line %q makes no sense", l.Line)
		}
		seen[l.Line] = true
	}
	return lines, nil
}

func writeNote(lines []noteLine) (string, error) {
	text, err := json.Marshal(lines)
	return string(text), err
}

// note reads what an order says of our lines, and finds the row of each: by its name, and where that is gone, because the
// order was amended in ERPNext or is not submitted yet, the next one of the same item. A line whose row is gone has none.
func (r *record) note(op string, doc *orderDoc) ([]noteLine, map[string]*orderItem, error) {
	lines, err := parseNote(doc.note)
	if err != nil {
		return nil, nil, connectors.Rejectedf(op, "", "the field %s of order %s cannot be read: %w; without the custom field, make it as the guide says", r.noteField, doc.Name, err)
	}
	rows := make(map[string]*orderItem, len(lines))
	taken := map[string]bool{}
	for i := range doc.Items {
		for _, l := range lines {
			if row := &doc.Items[i]; l.Row != "" && l.Row == row.Name && l.Item == row.Item {
				rows[l.Line], taken[row.Name] = row, true
			}
		}
	}
	if len(taken) == 0 {
		for _, l := range lines {
			i := slices.IndexFunc(doc.Items, func(row orderItem) bool { return !taken[row.Name] && row.Item == l.Item })
			if i >= 0 {
				rows[l.Line], taken[doc.Items[i].Name] = &doc.Items[i], true
			}
		}
	}
	return lines, rows, nil
}

// find looks for the order of a key. Where a lost answer, or a slow one, led to several, it is the one that was submitted,
// else the first draft. MariaDB finds more than what is equal: A for a, and e for é.
func (r *record) find(ctx context.Context, op, key string) (*orderHead, error) {
	heads, err := list[orderHead](ctx, r, op, query{DocType: "Sales Order", Fields: []string{"name", "docstatus", "status", "po_no"},
		Filters: []any{[]any{"po_no", "=", key}, []any{"customer", "=", r.customer}}, Order: "creation asc", Limit: 100}, true)
	if err != nil {
		return nil, err
	}
	rank := map[int]int{submitted: 0, draft: 1, cancelled: 2}
	var found *orderHead
	for i, o := range heads {
		place, known := rank[o.DocStatus]
		switch {
		case o.PONo != key:
		case !known || o.Name == "":
			return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("the order %s has the docstatus %d, which there is not", o.Name, o.DocStatus))
		case found == nil || place < rank[found.DocStatus]:
			found = &heads[i]
		}
	}
	return found, nil
}

type newOrder struct {
	Customer     string         `json:"customer"`
	Company      string         `json:"company,omitempty"`
	OrderType    string         `json:"order_type"`
	PONo         string         `json:"po_no"`
	DeliveryDate string         `json:"delivery_date"`
	Warehouse    string         `json:"set_warehouse"`
	Items        []newOrderItem `json:"items"`
}

type newOrderItem struct {
	Item         string         `json:"item_code"`
	Quantity     stock.Quantity `json:"qty"`
	UOM          string         `json:"uom"`
	Warehouse    string         `json:"warehouse"`
	DeliveryDate string         `json:"delivery_date"`
}

// CreateOrder implements connectors.SystemOfRecord. An order is looked for by its key before it is made, and once more
// before it is submitted: a call that was lost may have made it. A draft that is left over reserves nothing.
func (r *record) CreateOrder(ctx context.Context, o connectors.NewOrder) (string, error) {
	const op = "create order"
	release, err := r.hold(ctx, o.Key)
	if err != nil {
		return "", err
	}
	defer release()
	units, err := r.unitsOf(ctx, op, o.Lines)
	if err != nil {
		return "", err
	}
	found, err := r.find(ctx, op, o.Key)
	if err != nil {
		return "", err
	}
	if found == nil {
		if err := r.make(ctx, op, o, units); err != nil {
			return "", err
		}
		if found, err = r.find(ctx, op, o.Key); err != nil {
			return "", err
		}
		if found == nil {
			return "", &connectors.Error{Kind: connectors.Uncertain, Op: op, Err: errors.New("ERPNext answered that it made the order, and does not show it: look under User Permissions of the user")}
		}
	}
	doc, err := r.order(ctx, op, http.MethodGet, found.Name, nil)
	if err != nil {
		return "", err
	}
	if err := r.sameContent(op, doc, o); err != nil {
		return "", err
	}
	if doc.DocStatus == draft {
		if _, err := r.submit(ctx, op, doc); err != nil {
			return "", err
		}
	}
	return doc.Name, nil
}

func (r *record) make(ctx context.Context, op string, o connectors.NewOrder, units map[stock.SKU]string) error {
	due := time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	order := newOrder{Customer: r.customer, Company: r.company, OrderType: "Sales", PONo: o.Key, DeliveryDate: due, Warehouse: r.deliver}
	var lines []noteLine
	for _, l := range o.Lines {
		order.Items = append(order.Items, newOrderItem{Item: string(l.SKU), Quantity: l.Quantity, UOM: units[l.SKU], Warehouse: r.deliver, DeliveryDate: due})
		lines = append(lines, noteLine{Line: l.LineID, Item: string(l.SKU), Ordered: l.Quantity})
	}
	note, err := writeNote(lines)
	if err != nil {
		return connectors.Rejectedf(op, "", "the lines cannot be noted: %w", err)
	}
	body, err := withNote(order, r.noteField, note)
	if err != nil {
		return connectors.Rejectedf(op, "", "the order cannot be written: %w", err)
	}
	_, err = r.resource(ctx, op, http.MethodPost, "Sales Order", "", body)
	return err
}

// withNote adds the custom field, whose name is a setting, to a document.
func withNote(doc any, field, note string) (map[string]any, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, err
	}
	body[field] = note
	return body, nil
}

// submit makes a draft binding, and notes the names that its rows have by now.
func (r *record) submit(ctx context.Context, op string, doc *orderDoc) (*orderDoc, error) {
	lines, rows, err := r.note(op, doc)
	if err != nil {
		return nil, err
	}
	for i := range lines {
		if row := rows[lines[i].Line]; row != nil {
			lines[i].Row = row.Name
		}
	}
	note, err := writeNote(lines)
	if err != nil {
		return nil, connectors.Rejectedf(op, "", "the lines cannot be noted: %w", err)
	}
	after, err := r.order(ctx, op, http.MethodPut, doc.Name, map[string]any{"docstatus": submitted, r.noteField: note})
	if err != nil {
		return nil, err
	}
	if after.DocStatus != submitted {
		return nil, connectors.Rejectedf(op, "", "ERPNext took the submission of %s and did not submit it: look whether a Workflow on Sales Order wants somebody's approval", doc.Name)
	}
	return after, nil
}

// unitsOf finds the stock unit of every line's item.
func (r *record) unitsOf(ctx context.Context, op string, lines []connectors.OrderLine) (map[stock.SKU]string, error) {
	var codes []string
	for _, l := range lines {
		if !slices.Contains(codes, string(l.SKU)) {
			codes = append(codes, string(l.SKU))
		}
	}
	rows, err := list[itemRow](ctx, r, op, query{DocType: "Item", Fields: []string{"name", "stock_uom", "disabled", "is_stock_item", "has_variants"}, Filters: []any{[]any{"name", "in", codes}},
		Order: "name asc", Limit: 2*len(codes) + 1}, true)
	if err != nil {
		return nil, err
	}
	units := map[stock.SKU]string{}
	for _, i := range rows {
		if i.Disabled == 0 && i.Stocked == 1 && i.Template == 0 {
			units[stock.SKU(i.Name)] = i.StockUOM
		}
	}
	for _, code := range codes {
		if units[stock.SKU(code)] == "" {
			return nil, &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("there is no item with the code %s, or it is disabled, a template, or not kept in stock", code)}
		}
	}
	return units, nil
}

// sameContent refuses a key that was used for another order.
func (r *record) sameContent(op string, doc *orderDoc, o connectors.NewOrder) error {
	lines, _, err := r.note(op, doc)
	if err != nil {
		return err
	}
	have := make(map[string]noteLine, len(lines))
	for _, l := range lines {
		have[l.Line] = l
	}
	for _, want := range o.Lines {
		if l, ok := have[want.LineID]; !ok || l.Ordered != want.Quantity || l.Item != string(want.SKU) {
			return connectors.Rejectedf(op, "", "order %s in ERPNext has the same key and another content in line %s: nothing was changed", doc.Name, want.LineID)
		}
	}
	if len(have) != len(o.Lines) {
		return connectors.Rejectedf(op, "", "order %s in ERPNext has the same key and %d lines instead of %d: nothing was changed", doc.Name, len(have), len(o.Lines))
	}
	return nil
}

// CancelOrder implements connectors.SystemOfRecord. What is cancelled is noted first and done then: where only the note comes
// through, the units still stand in the order, and the next try takes them out. A part is taken out by what the button
// Update Items does. The whole is cancelled; where something of it was delivered, which ERPNext then refuses, it is closed.
func (r *record) CancelOrder(ctx context.Context, key string, cancel []connectors.CancelLine) error {
	const op = "cancel order"
	release, err := r.hold(ctx, key)
	if err != nil {
		return err
	}
	defer release()
	head, err := r.find(ctx, op, key)
	if err != nil {
		return err
	}
	if head == nil {
		return unknownOrder(op, key)
	}
	doc, err := r.order(ctx, op, http.MethodGet, head.Name, nil)
	if err != nil {
		return err
	}
	if doc.DocStatus == draft { // its creation did not come to an end; cancelled it can only be when it has
		if doc, err = r.submit(ctx, op, doc); err != nil {
			return err
		}
	}
	lines, rows, err := r.note(op, doc)
	if err != nil {
		return err
	}
	noted, err := addCancelled(lines, cancel)
	if err != nil {
		return connectors.Rejectedf(op, "", "order %s: %w", doc.Name, err)
	}
	if doc.DocStatus == cancelled || doc.Status == statusClosed {
		return nil
	}
	if noted {
		note, err := writeNote(lines)
		if err != nil {
			return connectors.Rejectedf(op, "", "the lines cannot be noted: %w", err)
		}
		if _, err := r.order(ctx, op, http.MethodPut, doc.Name, map[string]any{r.noteField: note}); err != nil {
			return err
		}
	}
	wanted, changed, err := r.remaining(op, doc, lines, rows)
	switch {
	case err != nil || !changed:
		return err
	case len(wanted) == 0:
		return r.endOrder(ctx, op, doc)
	}
	return r.updateItems(ctx, op, doc, wanted)
}

// addCancelled raises the totals of the lines to what is told; no lines mean everything. It reports whether it raised any.
func addCancelled(lines []noteLine, cancel []connectors.CancelLine) (raised bool, err error) {
	if len(cancel) == 0 {
		for _, l := range lines {
			cancel = append(cancel, connectors.CancelLine{LineID: l.Line, Cancelled: l.Ordered})
		}
	}
	for _, c := range cancel {
		i := slices.IndexFunc(lines, func(l noteLine) bool { return l.Line == c.LineID })
		switch {
		case i < 0:
			return false, fmt.Errorf("it has no line %s", c.LineID)
		case c.Cancelled > lines[i].Ordered:
			return false, fmt.Errorf("%d of line %s are to be cancelled, and only %d were ordered", c.Cancelled, c.LineID, lines[i].Ordered)
		case c.Cancelled > lines[i].Cancelled:
			lines[i].Cancelled, raised = c.Cancelled, true
		}
	}
	return raised, nil
}

// wantedRow is a row as update_child_qty_rate takes it. A row that is left out is deleted.
type wantedRow struct {
	DocName      string         `json:"docname"`
	Name         string         `json:"name"`
	Item         string         `json:"item_code"`
	Quantity     stock.Quantity `json:"qty"`
	Rate         float64        `json:"rate"`
	UOM          string         `json:"uom"`
	Factor       int            `json:"conversion_factor"`
	DeliveryDate string         `json:"delivery_date"`
	Description  string         `json:"description"`
	Index        int            `json:"idx"`
}

// remaining is the rows as they should be: none where nothing is left to deliver. changed reports whether they differ from
// what is there. A row cannot go below what was delivered of it.
func (r *record) remaining(op string, doc *orderDoc, lines []noteLine, rows map[string]*orderItem) (wanted []wantedRow, changed bool, err error) {
	open, kept := false, map[string]bool{}
	for _, row := range doc.Items {
		now, gone, err := quantities(&row)
		if err != nil {
			return nil, false, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("order %s: %v", doc.Name, err))
		}
		keep := now
		for _, l := range lines {
			if rows[l.Line] != nil && rows[l.Line].Name == row.Name {
				keep = min(now, max(l.Ordered-l.Cancelled, gone))
			}
		}
		changed = changed || keep != now
		open = open || keep > gone
		if keep > 0 {
			kept[row.Name] = true
			wanted = append(wanted, wantedRow{DocName: row.Name, Name: row.Name, Item: row.Item, Quantity: keep, Rate: row.Rate, UOM: row.UOM, Factor: 1,
				DeliveryDate: row.DeliveryDate, Description: row.Description, Index: row.Index})
		}
	}
	if !open && changed {
		return nil, true, nil
	}
	return wanted, changed, nil
}

// quantities are what a row orders and what left for it, in the stock unit.
func quantities(row *orderItem) (now, gone stock.Quantity, err error) {
	if row.Factor == nil || *row.Factor != 1 {
		return 0, 0, fmt.Errorf("row %d orders %s in %s instead of %s: change it to the stock unit", row.Index, row.Item, cmp.Or(row.UOM, "no unit"), row.StockUOM)
	}
	now, err1 := row.Quantity.whole("qty of "+row.Item, row.StockUOM)
	delivered, err2 := row.Delivered.whole("delivered_qty of "+row.Item, row.StockUOM)
	returned, err3 := row.Returned.whole("returned_qty of "+row.Item, row.StockUOM)
	return now, delivered + returned, errors.Join(err1, err2, err3)
}

// endOrder cancels an order, or closes it where something was delivered.
func (r *record) endOrder(ctx context.Context, op string, doc *orderDoc) error {
	for _, row := range doc.Items {
		if _, gone, err := quantities(&row); err == nil && gone > 0 {
			err := r.run(ctx, op, "erpnext.selling.doctype.sales_order.sales_order.update_status", "Sales Order", map[string]string{"status": statusClosed, "name": doc.Name})
			return r.readBack(ctx, op, doc.Name, err, func(after *orderDoc) bool { return after.Status == statusClosed })
		}
	}
	after, err := r.order(ctx, op, http.MethodPut, doc.Name, map[string]any{"docstatus": cancelled})
	if e, ok := errors.AsType[*connectors.Error](err); ok && e.Code == "LinkExistsError" {
		worded := *e
		worded.Err = fmt.Errorf("%w; cancel what hangs on order %s in ERPNext first, such as a Pick List or a Sales Invoice", e.Err, doc.Name)
		return &worded
	}
	if err == nil && after.DocStatus != cancelled {
		return connectors.Rejectedf(op, "", "ERPNext took the cancellation of %s and did not cancel it: look whether a Workflow on Sales Order forbids it", doc.Name)
	}
	return err
}

func (r *record) updateItems(ctx context.Context, op string, doc *orderDoc, wanted []wantedRow) error {
	rows, err := json.Marshal(wanted)
	if err != nil {
		return connectors.Rejectedf(op, "", "the rows cannot be written: %w", err)
	}
	err = r.run(ctx, op, "erpnext.controllers.accounts_controller.update_child_qty_rate", "Sales Order",
		map[string]string{"parent_doctype": "Sales Order", "trans_items": string(rows), "parent_doctype_name": doc.Name, "child_docname": "items"})
	return r.readBack(ctx, op, doc.Name, err, func(after *orderDoc) bool {
		for _, w := range wanted {
			i := slices.IndexFunc(after.Items, func(row orderItem) bool { return row.Name == w.DocName })
			if i < 0 {
				return false
			}
			if q, err := after.Items[i].Quantity.whole("qty", ""); err != nil || q != w.Quantity {
				return false
			}
		}
		return true
	})
}

// readBack looks whether a method that gives nothing back did what it should.
func (r *record) readBack(ctx context.Context, op, name string, err error, done func(*orderDoc) bool) error {
	if err != nil {
		return err
	}
	after, err := r.order(ctx, op, http.MethodGet, name, nil)
	if err != nil {
		return err
	}
	if !done(after) {
		return connectors.Rejectedf(op, "", "ERPNext took the change of %s and did not make it: press Update Items or Close there to see why", name)
	}
	return nil
}

func unknownOrder(op, key string) error {
	return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("no Sales Order of the customer has the Customer's Purchase Order %q", strings.TrimSpace(key))}
}
