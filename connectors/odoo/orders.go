package odoo

import (
	"context"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// The states of a sales order (addons/sale/models/sale_order.py). done is what 16 makes of a locked order.
const (
	stateDraft     = "draft"
	stateSent      = "sent"
	stateSale      = "sale"
	stateDone      = "done"
	stateCancelled = "cancel"
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

// orderLine is a line of one of our orders in Odoo.
type orderLine struct {
	id      int64
	product link
	// lineID, ordered and cancelled are what the last line of the description says; ours is what stands before it.
	lineID             string
	ordered, cancelled stock.Quantity
	description        string
	// now is what Odoo is to deliver.
	now stock.Quantity
}

// tag is the last line of a description. Odoo has no field for the identity of a line, nor for what was ordered at first.
var tag = regexp.MustCompile(`\n?truestock ordered (\d+) cancelled (\d+) line ("(?:[^"\\]|\\.)*")\s*$`)

func (l orderLine) text() string {
	return fmt.Sprintf("%s\ntruestock ordered %d cancelled %d line %s", l.description, l.ordered, l.cancelled, strconv.QuoteToASCII(l.lineID))
}

// parseLine reads a line; false where it is none of ours, such as a delivery fee that somebody added.
func parseLine(row lineRow) (orderLine, bool, error) {
	l := orderLine{id: row.ID, product: row.Product}
	at := tag.FindStringSubmatchIndex(string(row.Name))
	if at == nil {
		return l, false, nil
	}
	part := func(n int) string { return string(row.Name)[at[2*n]:at[2*n+1]] }
	ordered, err1 := strconv.ParseInt(part(1), 10, 64)
	cancelled, err2 := strconv.ParseInt(part(2), 10, 64)
	lineID, err3 := strconv.Unquote(part(3))
	if err1 != nil || err2 != nil || err3 != nil || ordered > int64(stock.MaxQuantity) || cancelled > ordered || lineID == "" {
		return l, false, fmt.Errorf("the last line of the description of %s was changed and makes no sense: %.80q", row.Product.Name, part(0))
	}
	l.lineID, l.ordered, l.cancelled = lineID, stock.Quantity(ordered), stock.Quantity(cancelled)
	l.description = string(row.Name)[:at[0]]
	var err error
	l.now, err = row.Ordered.whole("product_uom_qty of line "+lineID, "units")
	return l, true, err
}

// find looks for the order of a key. Where a lost answer, or a slow one, led to several, it is the one that was confirmed,
// else the one made first. spare are the quotations among the others.
func (r *record) find(ctx context.Context, op string, d *dialect, key string) (found *orderRow, spare []int64, err error) {
	var rows []orderRow
	if err := d.search(ctx, op, "sale.order", []any{[]any{"client_order_ref", "=", key}}, []string{"id", "name", "state", "client_order_ref"}, 0, &rows); err != nil {
		return nil, nil, err
	}
	rank := map[text]int{stateSale: 0, stateDone: 0, stateDraft: 1, stateSent: 1, stateCancelled: 2}
	for i, o := range rows {
		place, known := rank[o.State]
		switch {
		case string(o.Ref) != key:
			return nil, nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("the order %s came in the answer, and its reference is %.60q", o.Name, o.Ref))
		case !known || o.Name == "":
			return nil, nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("the order %s is in the state %q, which this version of truestock does not know", o.Name, o.State))
		case found == nil || place < rank[found.State]:
			found = &rows[i]
		}
	}
	for _, o := range rows {
		if o.ID != found.ID && rank[o.State] == 1 {
			spare = append(spare, o.ID)
		}
	}
	return found, spare, nil
}

func (r *record) lines(ctx context.Context, op string, d *dialect, order *orderRow) ([]orderLine, error) {
	var rows []lineRow
	if err := d.search(ctx, op, "sale.order.line", []any{[]any{"order_id", "=", order.ID}}, []string{"id", "name", "product_id", "product_uom_qty"}, 0, &rows); err != nil {
		return nil, err
	}
	var out []orderLine
	for _, row := range rows {
		l, ours, err := parseLine(row)
		if err != nil {
			return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("order %s: %v", order.Name, err))
		}
		if ours {
			out = append(out, l)
		}
	}
	if len(out) == 0 {
		return nil, connectors.Rejectedf(op, "", "no line of order %s says which of ours it is: the last line of each description, which begins with truestock, was removed in Odoo", order.Name)
	}
	return out, nil
}

// CreateOrder implements connectors.SystemOfRecord. An order is looked for by its key before it is made, and once more
// before it is confirmed: a call that was lost may have made it, or may still be about to.
func (r *record) CreateOrder(ctx context.Context, o connectors.NewOrder) (string, error) {
	const op = "create order"
	release, err := r.hold(ctx, o.Key)
	if err != nil {
		return "", err
	}
	defer release()
	d, err := r.speak(ctx, op)
	if err != nil {
		return "", err
	}
	products, err := r.productsOf(ctx, op, d, o.Lines)
	if err != nil {
		return "", err
	}
	found, spare, err := r.find(ctx, op, d, o.Key)
	if err != nil {
		return "", err
	}
	if found == nil {
		if err := d.call(ctx, method{op: op, model: "sale.order", name: "create", args: []argument{{"vals_list", []any{r.values(o, products)}}}, write: true}, nil); err != nil {
			return "", err
		}
		if found, spare, err = r.find(ctx, op, d, o.Key); err != nil {
			return "", err
		}
		if found == nil {
			return "", &connectors.Error{Kind: connectors.Uncertain, Op: op, Err: fmt.Errorf("odoo answered that it made the order, and does not show it: has the user the right Sales: User: All Documents?")}
		}
	}
	if err := r.sameContent(ctx, op, d, found, o, products); err != nil {
		return "", err
	}
	if len(spare) > 0 {
		if err := r.cancelOrders(ctx, op, d, spare); err != nil {
			return "", err
		}
	}
	if found.State == stateDraft || found.State == stateSent {
		if err := r.confirm(ctx, op, d, found, o.Key); err != nil {
			return "", err
		}
	}
	return string(found.Name), nil
}

func (r *record) confirm(ctx context.Context, op string, d *dialect, order *orderRow, key string) error {
	if err := d.call(ctx, method{op: op, model: "sale.order", name: "action_confirm", ids: []int64{order.ID}, write: true}, nil); err != nil {
		return r.hint(err, fmt.Sprintf("the quotation %s exists; what hinders it can be seen by pressing Confirm there", order.Name))
	}
	after, _, err := r.find(ctx, op, d, key)
	if err != nil {
		return err
	}
	if after == nil || after.State == stateDraft || after.State == stateSent {
		return connectors.Rejectedf(op, "", "Odoo confirmed %s, and it is still a quotation: look in Sales → Quotations whether it waits for somebody's approval", order.Name)
	}
	return nil
}

// productsOf finds the product of every line by its SKU.
func (r *record) productsOf(ctx context.Context, op string, d *dialect, lines []connectors.OrderLine) (map[stock.SKU]productRow, error) {
	var skus []string
	for _, l := range lines {
		if !slices.Contains(skus, string(l.SKU)) {
			skus = append(skus, string(l.SKU))
		}
	}
	var rows []productRow
	if err := d.search(ctx, op, "product.product", []any{[]any{r.sku, "in", skus}}, []string{"id", "default_code", "barcode", "display_name", "uom_id"}, 0, &rows); err != nil {
		return nil, err
	}
	out := make(map[stock.SKU]productRow, len(rows))
	for _, p := range rows {
		sku := stock.SKU(r.skuOf(p))
		if other, twice := out[sku]; twice {
			return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("%s and %s both have the %s %s: change it at one of them", other.Name, p.Name, r.sku, sku))
		}
		out[sku] = p
	}
	for _, sku := range skus {
		if _, ok := out[stock.SKU(sku)]; !ok {
			return nil, &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("no product has the %s %s, or it is archived", r.sku, sku)}
		}
	}
	return out, nil
}

func (r *record) values(o connectors.NewOrder, products map[stock.SKU]productRow) map[string]any {
	lines := make([]any, 0, len(o.Lines))
	for i, l := range o.Lines {
		p := products[l.SKU]
		line := orderLine{lineID: l.LineID, ordered: l.Quantity, description: string(p.Name)}
		lines = append(lines, []any{0, 0, map[string]any{"product_id": p.ID, "product_uom_qty": l.Quantity, "name": line.text(), "sequence": i + 1}})
	}
	values := map[string]any{"partner_id": r.partner, "client_order_ref": o.Key, "origin": strings.TrimSpace(string(o.Channel) + " " + o.OrderID), "order_line": lines}
	if r.warehouse != 0 {
		values["warehouse_id"] = r.warehouse
	}
	return values
}

// sameContent refuses a key that was used for another order.
func (r *record) sameContent(ctx context.Context, op string, d *dialect, order *orderRow, o connectors.NewOrder, products map[stock.SKU]productRow) error {
	lines, err := r.lines(ctx, op, d, order)
	if err != nil {
		return err
	}
	have := make(map[string]orderLine, len(lines))
	for _, l := range lines {
		have[l.lineID] = l
	}
	for _, want := range o.Lines {
		l, ok := have[want.LineID]
		if !ok || l.ordered != want.Quantity || l.product.ID != products[want.SKU].ID {
			return connectors.Rejectedf(op, "", "order %s in Odoo has the same key and another content in line %s: nothing was changed", order.Name, want.LineID)
		}
	}
	if len(have) != len(o.Lines) {
		return connectors.Rejectedf(op, "", "order %s in Odoo has the same key and %d lines instead of %d: nothing was changed", order.Name, len(have), len(o.Lines))
	}
	return nil
}

// CancelOrder implements connectors.SystemOfRecord. A part is cancelled by lowering what the line is to deliver; Odoo lowers
// the delivery with it. What has left stays: Odoo would cancel an order whose goods are on their way, and nobody would look for
// them. The rest is cancelled, and the error says what has left.
func (r *record) CancelOrder(ctx context.Context, key string, lines []connectors.CancelLine) error {
	const op = "cancel order"
	release, err := r.hold(ctx, key)
	if err != nil {
		return err
	}
	defer release()
	d, err := r.speak(ctx, op)
	if err != nil {
		return err
	}
	order, _, err := r.find(ctx, op, d, key)
	if err != nil {
		return err
	}
	if order == nil {
		return unknownOrder(op, key)
	}
	have, err := r.lines(ctx, op, d, order)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		for _, l := range have {
			lines = append(lines, connectors.CancelLine{LineID: l.lineID, Cancelled: l.ordered})
		}
	}
	gone, err := r.gone(ctx, op, d, order, have)
	if err != nil {
		return err
	}
	whole := true
	var changes []any
	var late error
	for i := range have {
		l := &have[i]
		at := slices.IndexFunc(lines, func(c connectors.CancelLine) bool { return c.LineID == l.lineID })
		if at >= 0 && lines[at].Cancelled > l.cancelled {
			want := lines[at].Cancelled
			if want > l.ordered {
				return connectors.Rejectedf(op, "", "%d of line %s are to be cancelled, and only %d were ordered", want, l.lineID, l.ordered)
			}
			if rest := max(l.cancelled, l.ordered-gone[l.id]); rest < want {
				late = connectors.Rejectedf(op, "", "%d of line %s of order %s had left before the cancellation: take them back by a return of the delivery in Odoo", gone[l.id], l.lineID, order.Name)
				want = rest
			}
			if want > l.cancelled {
				l.cancelled = want
				l.now = min(l.now, l.ordered-l.cancelled)
				changes = append(changes, []any{1, l.id, map[string]any{"name": l.text(), "product_uom_qty": l.now}})
			}
		}
		whole = whole && l.cancelled == l.ordered
	}
	for _, c := range lines {
		if !slices.ContainsFunc(have, func(l orderLine) bool { return l.lineID == c.LineID }) {
			return connectors.Rejectedf(op, "", "order %s has no line %s", order.Name, c.LineID)
		}
	}
	if order.State == stateCancelled {
		return nil
	}
	if whole {
		return r.cancelWhole(ctx, op, d, order, have)
	}
	if len(changes) > 0 {
		m := method{op: op, model: "sale.order", name: "write", ids: []int64{order.ID}, args: []argument{{"vals", map[string]any{"order_line": changes}}}, write: true}
		if err := d.call(ctx, m, nil); err != nil {
			return r.hint(err, aboutLocked)
		}
	}
	if err := r.deliveriesFollow(ctx, op, d, order, have); err != nil {
		return err
	}
	return late
}

const aboutLocked = "where the order is locked, unlock it in Odoo; Settings → Sales → Lock Confirmed Sales locks every order"

// cancelWhole notes on the lines that it was we who cancelled, and cancels the order. Where only the note comes through,
// the order still stands, and the next try cancels it.
func (r *record) cancelWhole(ctx context.Context, op string, d *dialect, order *orderRow, lines []orderLine) error {
	notes := make([]any, 0, len(lines))
	for _, l := range lines {
		notes = append(notes, []any{1, l.id, map[string]any{"name": l.text()}})
	}
	note := method{op: op, model: "sale.order", name: "write", ids: []int64{order.ID}, args: []argument{{"vals", map[string]any{"order_line": notes}}}, write: true}
	if err := d.call(ctx, note, nil); err != nil {
		return r.hint(err, aboutLocked)
	}
	return r.cancelOrders(ctx, op, d, []int64{order.ID})
}

// cancelOrders cancels, and looks whether it did: action_cancel may open a dialogue instead.
func (r *record) cancelOrders(ctx context.Context, op string, d *dialect, ids []int64) error {
	for _, id := range ids {
		m := method{op: op, model: "sale.order", name: "action_cancel", ids: []int64{id}, context: map[string]any{"disable_cancel_warning": true}, write: true}
		if err := d.call(ctx, m, nil); err != nil {
			return r.hint(err, aboutLocked)
		}
	}
	var rows []orderRow
	if err := d.search(ctx, op, "sale.order", []any{[]any{"id", "in", ids}}, []string{"id", "name", "state", "client_order_ref"}, 0, &rows); err != nil {
		return err
	}
	for _, o := range rows {
		if o.State != stateCancelled {
			return connectors.Rejectedf(op, "", "Odoo took the cancellation of %s and did not cancel it: press Cancel there to see why", o.Name)
		}
	}
	return nil
}

func unknownOrder(op, key string) error {
	return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("no sales order in Odoo has the customer reference %q", key)}
}
