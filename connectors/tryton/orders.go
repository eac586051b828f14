package tryton

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// lineNote is what stands in the note of a line of ours, in its first row: which line it is for us, how many were ordered,
// and how many of them we cancelled since. Tryton has no other place for that.
type lineNote struct {
	line               string
	ordered, cancelled stock.Quantity
}

const noteForm = "truestock line %q: ordered %d, cancelled %d"

func (n lineNote) String() string {
	return fmt.Sprintf(noteForm, n.line, int64(n.ordered), int64(n.cancelled))
}

// parseNote reads a note; what people wrote below it is left alone.
func parseNote(text string) (n lineNote, below string, ok bool) {
	row, below, _ := strings.Cut(text, "\n")
	var ordered, cancelled int64
	if _, err := fmt.Sscanf(row, noteForm, &n.line, &ordered, &cancelled); err != nil || n.line == "" {
		return lineNote{}, "", false
	}
	n.ordered, n.cancelled = stock.Quantity(ordered), stock.Quantity(cancelled)
	return n, below, n.ordered >= 0 && n.ordered <= stock.MaxQuantity && n.cancelled >= 0 && n.cancelled <= stock.MaxQuantity
}

// findSale looks our order up by its key, which is the reference of the sale; nil where there is none.
func (e *erp) findSale(ctx context.Context, op, key string) (*sale, error) {
	s, err := e.login(ctx, op, "")
	if err != nil {
		return nil, err
	}
	found, err := call[[]sale](ctx, e, request{op: op, method: "model.sale.sale.search_read", params: []any{
		[]any{[]any{"reference", "=", key}, []any{"company", "=", s.company}}, 0, nil, []any{[]any{"id", "ASC"}}, saleFields,
	}})
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return &found[0], nil
	}
	return nil, e.refuse(connectors.Rejected, op, "", fmt.Sprintf("%d sales have the reference %s, such as %s and %s; change the reference of all but the one that counts under Sales → Sales", len(found), key, found[0].name(), found[1].name()))
}

// name is what people call a sale: it has no number before it is quoted.
func (s *sale) name() string {
	if s.Number != "" {
		return s.Number
	}
	return fmt.Sprintf("with the id %d", s.ID)
}

// CreateOrder implements connectors.SystemOfRecord. It looks the key up before it creates, so that a repeat after silence
// finds what was made, and takes it further where that broke off.
func (e *erp) CreateOrder(ctx context.Context, o connectors.NewOrder) (string, error) {
	const op = "create order"
	e.ordering.Lock()
	defer e.ordering.Unlock()
	found, err := e.findSale(ctx, op, o.Key)
	if err != nil {
		return "", err
	}
	if found == nil {
		if found, err = e.makeSale(ctx, op, o); err != nil {
			return "", err
		}
	} else if err := found.same(o); err != nil {
		return "", e.refuse(connectors.Rejected, op, "", fmt.Sprintf("sale %s has the reference %s with another content: %v", found.name(), o.Key, err))
	}
	if found, err = e.advance(ctx, op, found); err != nil {
		return "", err
	}
	if found.Number == "" {
		return "", e.refuse(connectors.Rejected, op, "", fmt.Sprintf("sale %s is %s and has no number; look at it under Sales → Sales", found.name(), found.State))
	}
	return found.Number, nil
}

// same reports how an order differs from the sale that has its key.
func (s *sale) same(o connectors.NewOrder) error {
	notes := make(map[string]saleLine)
	for _, l := range s.Lines {
		if n, _, ok := parseNote(l.Note); ok {
			notes[n.line] = l
		}
	}
	if len(notes) != len(o.Lines) {
		return fmt.Errorf("%d lines of truestock's are there, and %d in the order", len(notes), len(o.Lines))
	}
	for _, l := range o.Lines {
		there, ok := notes[l.LineID]
		if !ok || there.Product == nil {
			return fmt.Errorf("line %s is missing", l.LineID)
		}
		if n, _, _ := parseNote(there.Note); n.ordered != l.Quantity || there.Product.Code != string(l.SKU) {
			return fmt.Errorf("line %s was %d of %s, and is %d of %s in the order", l.LineID, n.ordered, there.Product.Code, l.Quantity, l.SKU)
		}
	}
	return nil
}

// makeSale creates a sale as a draft, whole or not at all.
func (e *erp) makeSale(ctx context.Context, op string, o connectors.NewOrder) (*sale, error) {
	articles, err := e.articles(ctx, op, o.Lines)
	if err != nil {
		return nil, err
	}
	header, party, err := e.saleHeader(ctx, op, o)
	if err != nil {
		return nil, err
	}
	var lines []any
	for i, l := range o.Lines {
		line, err := e.saleLine(ctx, op, l, articles[string(l.SKU)], party)
		if err != nil {
			return nil, err
		}
		line["sequence"] = i + 1
		lines = append(lines, line)
	}
	header["lines"] = []any{[]any{"create", lines}}
	ids, err := call[[]int64](ctx, e, request{op: op, method: "model.sale.sale.create", params: []any{[]any{header}}, write: true})
	if err != nil {
		return nil, err
	}
	if len(ids) != 1 {
		return nil, e.refuse(connectors.Uncertain, op, "", fmt.Sprintf("one sale was to be made, and Tryton tells of %d", len(ids)))
	}
	return &sale{ID: ids[0], Reference: o.Key, State: saleDraft}, nil
}

// articles looks up what is ordered.
func (e *erp) articles(ctx context.Context, op string, lines []connectors.OrderLine) (map[string]article, error) {
	codes := make([]string, 0, len(lines))
	for _, l := range lines {
		codes = append(codes, string(l.SKU))
	}
	found, err := call[[]article](ctx, e, request{op: op, method: "model.product.product.search_read", params: []any{
		[]any{[]any{"code", "in", codes}}, 0, nil, []any{[]any{"id", "ASC"}}, articleFields,
	}})
	if err != nil {
		return nil, err
	}
	articles := make(map[string]article, len(found))
	for _, a := range found {
		if other, twice := articles[a.Code]; twice {
			return nil, e.codeTwice(op, a.Code, other.ID, a.ID)
		}
		articles[a.Code] = a
	}
	for _, code := range codes {
		a, known := articles[code]
		switch {
		case !known:
			return nil, e.refuse(connectors.Unmapped, op, "", fmt.Sprintf("Tryton has no active product with the code %s; look under Products → Variants", code))
		case a.UnitIs.Digits == nil || *a.UnitIs.Digits != 0:
			return nil, e.refuse(connectors.Unmapped, op, "", fmt.Sprintf("product %s is not counted in whole units; its default unit must have no digits", code))
		case !bool(a.Salable):
			return nil, e.refuse(connectors.Rejected, op, "", fmt.Sprintf("product %s is not for sale; mark it as salable under Products → Products", code))
		}
	}
	return articles, nil
}

// saleHeader is what a sale says of itself and takes from the customer.
func (e *erp) saleHeader(ctx context.Context, op string, o connectors.NewOrder) (header, party map[string]any, err error) {
	s, err := e.login(ctx, op, "")
	if err != nil {
		return nil, nil, err
	}
	customer, err := e.findCustomer(ctx, op)
	if err != nil {
		return nil, nil, err
	}
	party = map[string]any{"party": customer, "company": s.company}
	filled, err := call[[]partyValues](ctx, e, request{op: op, method: "model.sale.sale.on_change", params: []any{party, []string{"party"}}})
	if err != nil {
		return nil, nil, err
	}
	defaults, err := call[struct {
		Currency *int64 `json:"currency"`
	}](ctx, e, request{op: op, method: "model.sale.sale.default_get", params: []any{[]string{"currency"}}})
	if err != nil {
		return nil, nil, err
	}
	header = map[string]any{
		"party": customer, "company": s.company, "reference": o.Key,
		"description": strings.TrimSpace(string(o.Channel) + " " + o.OrderID), "comment": comment(o),
	}
	for _, values := range filled {
		for name, id := range map[string]*int64{"invoice_address": values.InvoiceAddress, "shipment_address": values.ShipmentAddress, "payment_term": values.PaymentTerm} {
			if id != nil {
				header[name] = *id
			}
		}
	}
	if header["invoice_address"] == nil || header["shipment_address"] == nil {
		return nil, nil, e.refuse(connectors.Rejected, op, "", fmt.Sprintf("party %s has no address, and without one nothing can be sold; add one under Party → Parties", e.customer))
	}
	if defaults.Currency != nil {
		header["currency"], party["currency"] = *defaults.Currency, *defaults.Currency
	}
	return header, party, nil
}

func comment(o connectors.NewOrder) string {
	text := fmt.Sprintf("Order %s of %s", o.OrderID, o.Channel)
	if !o.PlacedAt.IsZero() {
		text += ", placed " + o.PlacedAt.UTC().Format(time.RFC3339)
	}
	if o.Buyer != nil {
		text += "\nBuyer: " + strings.TrimSpace(o.Buyer.Ref+" "+o.Buyer.Contact)
	}
	return text
}

func (e *erp) findCustomer(ctx context.Context, op string) (int64, error) {
	found, err := call[[]struct {
		ID int64 `json:"id"`
	}](ctx, e, request{op: op, method: "model.party.party.search_read", params: []any{
		[]any{[]any{"code", "=", e.customer}}, 0, nil, nil, partyFields,
	}})
	if err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, e.refuse(connectors.Rejected, op, "", fmt.Sprintf("%s is %q, and Tryton has no active party with that code; look under Party → Parties", settingCustomer, e.customer))
	}
	return found[0].ID, nil
}

// saleLine is a line of a sale, with the price and the taxes that Tryton has for the product and the customer.
func (e *erp) saleLine(ctx context.Context, op string, l connectors.OrderLine, a article, party map[string]any) (map[string]any, error) {
	line := map[string]any{"type": "line", "product": a.ID, "unit": a.Unit, "quantity": float64(l.Quantity)}
	form := map[string]any{"sale": party}
	maps.Copy(form, line)
	filled, err := call[[]lineValues](ctx, e, request{op: op, method: "model.sale.line.on_change", params: []any{form, []string{"product"}}})
	if err != nil {
		return nil, err
	}
	var taxes []int64
	for _, values := range filled {
		if values.UnitPrice.Kind() == '{' {
			line["unit_price"] = values.UnitPrice
		}
		for _, pair := range values.Taxes.Add {
			var tax struct {
				ID int64 `json:"id"`
			}
			if len(pair) != 2 || json.Unmarshal(pair[1], &tax) != nil || tax.ID == 0 {
				return nil, e.refuse(connectors.Rejected, op, "", fmt.Sprintf("the taxes of product %s are not understood", a.Code))
			}
			taxes = append(taxes, tax.ID)
		}
	}
	if line["unit_price"] == nil {
		return nil, e.refuse(connectors.Rejected, op, "", fmt.Sprintf("product %s has no list price; set it under Products → Products", a.Code))
	}
	if len(taxes) > 0 {
		line["taxes"] = []any{[]any{"add", taxes}}
	}
	line["note"] = lineNote{line: l.LineID, ordered: l.Quantity}.String()
	return line, nil
}

// advance takes a sale as far as the settings want it: each button does nothing to a sale that is further already.
func (e *erp) advance(ctx context.Context, op string, s *sale) (*sale, error) {
	for {
		button := ""
		switch {
		case s.State == saleDraft:
			button = "quote"
		case s.State == saleQuotation && e.stage != saleQuotation:
			button = "confirm"
		case s.State == saleConfirmed && e.stage == saleProcessing:
			button = "process"
		default:
			return s, nil
		}
		if err := e.press(ctx, op, "sale.sale", button, s.ID); err != nil {
			return nil, err
		}
		next, err := e.readSale(ctx, op, s.ID)
		if err != nil {
			return nil, err
		}
		if next.State == s.State {
			return nil, e.refuse(connectors.Rejected, op, "", fmt.Sprintf("sale %s stays %s although it was told to %s; look at it under Sales → Sales", next.name(), next.State, button))
		}
		s = next
	}
}

// press presses a button. A record whose state does not allow it is left as it is (trytond/model/workflow.py), so that a
// repeat changes nothing.
func (e *erp) press(ctx context.Context, op, model, button string, ids ...int64) error {
	_, err := call[jsontext.Value](ctx, e, request{op: op, method: "model." + model + "." + button, params: []any{ids}, write: true, idempotent: true})
	return err
}

func (e *erp) readSale(ctx context.Context, op string, id int64) (*sale, error) {
	found, err := call[[]sale](ctx, e, request{op: op, method: "model.sale.sale.search_read", params: []any{
		[]any{[]any{"id", "=", id}}, 0, nil, nil, saleFields,
	}})
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, e.refuse(connectors.Uncertain, op, "", fmt.Sprintf("the sale with the id %d is gone", id))
	}
	return &found[0], nil
}

// CancelOrder implements connectors.SystemOfRecord. It writes down first what is cancelled, so that nobody takes it for a refusal
// of Tryton's. What is cancelled is a target, how much may remain, so that a repeat, and one after a break in the middle,
// changes nothing more.
func (e *erp) CancelOrder(ctx context.Context, key string, lines []connectors.CancelLine) error {
	const op = "cancel order"
	e.ordering.Lock()
	defer e.ordering.Unlock()
	s, err := e.findSale(ctx, op, key)
	if err != nil {
		return err
	}
	if s == nil {
		return e.unknownOrder(op, key)
	}
	wanted := make(map[string]stock.Quantity, len(lines))
	for _, l := range lines {
		wanted[l.LineID] = l.Cancelled
	}
	var cuts []cut
	for _, l := range s.Lines {
		n, below, ours := parseNote(l.Note)
		if !ours {
			continue
		}
		cancelled, named := wanted[n.line]
		delete(wanted, n.line)
		if lines == nil {
			cancelled, named = n.ordered, true
		}
		if named && cancelled > n.ordered {
			return e.refuse(connectors.Rejected, op, "", fmt.Sprintf("%d of line %s are to be cancelled, and %d were ordered", cancelled, n.line, n.ordered))
		}
		if named {
			cuts = append(cuts, cut{line: l, note: n, below: below, cancelled: max(cancelled, n.cancelled)})
		}
	}
	for line := range wanted {
		return e.refuse(connectors.Unmapped, op, "", fmt.Sprintf("sale %s has no line %s of truestock's; its notes may have been changed", s.name(), line))
	}
	if err := e.noteCuts(ctx, op, cuts); err != nil {
		return err
	}
	switch s.State {
	case saleDraft, saleQuotation, saleConfirmed:
		return e.cutUnprocessed(ctx, op, s, cuts)
	case saleProcessing, saleDone:
		return e.cutProcessed(ctx, op, s, cuts)
	}
	return nil
}

// cut is a line of which units are cancelled: in all, with those before.
type cut struct {
	line      saleLine
	note      lineNote
	below     string
	cancelled stock.Quantity
}

// remains is how much of the line may still be delivered.
func (c cut) remains() stock.Quantity { return c.note.ordered - c.cancelled }

func (e *erp) unknownOrder(op, key string) error {
	return e.refuse(connectors.Unmapped, op, "", fmt.Sprintf("Tryton has no sale with the reference %s", key))
}

// noteCuts writes down what is cancelled.
func (e *erp) noteCuts(ctx context.Context, op string, cuts []cut) error {
	for _, c := range cuts {
		n := c.note
		if n.cancelled == c.cancelled {
			continue
		}
		n.cancelled = c.cancelled
		text := n.String()
		if c.below != "" {
			text += "\n" + c.below
		}
		if err := e.write(ctx, op, "sale.line", c.line.ID, map[string]any{"note": text}); err != nil {
			return err
		}
	}
	return nil
}

// write changes fields of a record to values, so that a repeat changes nothing.
func (e *erp) write(ctx context.Context, op, model string, id int64, values map[string]any) error {
	_, err := call[jsontext.Value](ctx, e, request{op: op, method: "model." + model + ".write", params: []any{[]int64{id}, values}, write: true, idempotent: true})
	return err
}

// cutUnprocessed cancels units of a sale that nothing was set in motion for yet: in the lines themselves.
func (e *erp) cutUnprocessed(ctx context.Context, op string, s *sale, cuts []cut) error {
	left, less := stock.Quantity(0), false
	for _, l := range s.Lines {
		if l.Type != "line" {
			continue
		}
		q, err := units(l.Quantity)
		if err != nil {
			return e.refuse(connectors.Rejected, op, "", fmt.Sprintf("a line of sale %s: %v", s.name(), err))
		}
		for _, c := range cuts {
			if c.line.ID == l.ID && q > c.remains() {
				q, less = c.remains(), true
			}
		}
		left += q
	}
	if !less {
		if s.State == saleDraft && left > 0 { // it broke off there
			_, err := e.advance(ctx, op, s)
			return err
		}
		return nil
	}
	if s.State == saleConfirmed || left > 0 {
		if err := e.press(ctx, op, "sale.sale", "draft", s.ID); err != nil {
			return err
		}
	}
	if left == 0 {
		if err := e.press(ctx, op, "sale.sale", "cancel", s.ID); err != nil {
			return err
		}
	} else {
		for _, c := range cuts {
			if err := e.write(ctx, op, "sale.line", c.line.ID, map[string]any{"quantity": float64(c.remains())}); err != nil {
				return err
			}
		}
	}
	now, err := e.readSale(ctx, op, s.ID)
	if err != nil {
		return err
	}
	switch {
	case left == 0 && now.State != saleCancelled, left > 0 && now.State != saleDraft:
		return &connectors.Error{Kind: connectors.Retryable, Op: op, Err: fmt.Errorf("sale %s became %s meanwhile", now.name(), now.State)}
	case left == 0:
		return nil
	}
	_, err = e.advance(ctx, op, now)
	return err
}

// cutProcessed cancels units of a sale that is being delivered: those that nobody has picked yet.
func (e *erp) cutProcessed(ctx context.Context, op string, s *sale, cuts []cut) error {
	moves, err := e.saleMoves(ctx, op, s.ID)
	if err != nil {
		return err
	}
	lines, err := stands(s, moves)
	if err != nil {
		return e.refuse(connectors.Rejected, op, "", err.Error())
	}
	var changed bool
	for _, c := range cuts {
		l := lines[c.note.line]
		if l == nil {
			return e.refuse(connectors.Rejected, op, "", fmt.Sprintf("line %s of sale %s is not understood", c.note.line, s.name()))
		}
		surplus := l.shipped() + l.toCome() - c.remains()
		for i := len(l.open) - 1; i >= 0 && surplus > 0; i-- {
			taken, err := e.cutMove(ctx, op, c.line, l.open[i], surplus)
			if err != nil {
				return err
			}
			surplus -= taken
			changed = changed || taken > 0
		}
		if surplus > 0 {
			return e.refuse(connectors.Rejected, op, "", fmt.Sprintf("%d of the %d cancelled units of line %s of sale %s are picked or sent already; cancel the shipment in Tryton, or let them come back", surplus, c.cancelled, c.note.line, s.name()))
		}
	}
	if !changed {
		return nil
	}
	return e.press(ctx, op, "sale.sale", "process", s.ID)
}

// cutMove takes at most so many units off a move that has not begun, and returns how many. In their place stands a cancelled
// move that the sale ignores: that is how Tryton knows that they are not to be delivered after all.
func (e *erp) cutMove(ctx context.Context, op string, line saleLine, m openMove, most stock.Quantity) (stock.Quantity, error) {
	if m.shipment == 0 {
		return 0, nil
	}
	found, err := call[[]shipment](ctx, e, request{op: op, method: "model.stock.shipment.out.search_read", params: []any{
		[]any{[]any{"id", "=", m.shipment}}, 0, nil, nil, shipmentFields,
	}})
	if err != nil {
		return 0, err
	}
	if len(found) != 1 || !slices.Contains([]string{"draft", "waiting", "assigned"}, found[0].State) {
		return 0, nil
	}
	state := found[0].State
	cut := min(most, m.quantity)
	ids, err := call[[]int64](ctx, e, request{op: op, method: "model.stock.move.copy", write: true, params: []any{
		[]int64{m.id}, map[string]any{"shipment": nil, "quantity": float64(cut), "origin": fmt.Sprintf("sale.line,%d", line.ID)},
	}})
	if err != nil {
		return 0, err
	}
	for _, step := range []func() error{
		func() error { return e.press(ctx, op, "stock.move", "cancel", ids...) },
		func() error {
			return e.write(ctx, op, "sale.line", line.ID, map[string]any{"moves_ignored": []any{[]any{"add", ids}}})
		},
		func() error { return e.press(ctx, op, "stock.shipment.out", "wait", m.shipment) },
		func() error { return e.press(ctx, op, "stock.shipment.out", "draft", m.shipment) },
		func() error { return e.shrink(ctx, op, m, cut) },
		func() error { return e.reopen(ctx, op, m.shipment, state) },
	} {
		if err := step(); err != nil {
			return 0, err
		}
	}
	return cut, nil
}

// shrink makes a move smaller, or deletes it.
func (e *erp) shrink(ctx context.Context, op string, m openMove, by stock.Quantity) error {
	if by < m.quantity {
		return e.write(ctx, op, "stock.move", m.id, map[string]any{"quantity": float64(m.quantity - by)})
	}
	_, err := call[jsontext.Value](ctx, e, request{op: op, method: "model.stock.move.delete", params: []any{[]int64{m.id}}, write: true})
	return err
}

// reopen puts a shipment back to where it was, or cancels it where nothing is left in it.
func (e *erp) reopen(ctx context.Context, op string, id int64, state string) error {
	left, err := call[int](ctx, e, request{op: op, method: "model.stock.move.search_count", params: []any{
		[]any{[]any{"shipment", "=", fmt.Sprintf("stock.shipment.out,%d", id)}, []any{"state", "!=", moveCancelled}, []any{"to_location.type", "=", "customer"}},
	}})
	switch {
	case err != nil:
		return err
	case left == 0:
		return e.press(ctx, op, "stock.shipment.out", "cancel", id)
	case state == "draft":
		return nil
	}
	if err := e.press(ctx, op, "stock.shipment.out", "wait", id); err != nil || state == "waiting" {
		return err
	}
	return e.press(ctx, op, "stock.shipment.out", "assign_try", id)
}
