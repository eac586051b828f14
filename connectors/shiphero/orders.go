package shiphero

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/stock"
)

const (
	statusPending  = "pending"
	statusCanceled = "canceled"
	// cancelTag tells a cancellation of ours from one of the warehouse.
	cancelTag = "cancelled-by-truestock"
	// mostLines is how many lines of an order are read.
	mostLines = 100
)

// lineMark is what a line of ours is called at ShipHero: unique in the whole store, as the schema advises, and with the
// quantity that was ordered, because ShipHero keeps only the one that is left after cancellations.
func lineMark(key string, l connectors.OrderLine) string {
	return key + "#" + strconv.FormatInt(int64(l.Quantity), 10) + "#" + l.LineID
}

// parseMark reads a lineMark of the order with the key.
func parseMark(key, text string) (lineID string, ordered stock.Quantity, ok bool) {
	rest, ok := strings.CutPrefix(text, key+"#")
	if !ok || key == "" {
		return "", 0, false
	}
	digits, lineID, ok := strings.Cut(rest, "#")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || lineID == "" || n < 0 || stock.Quantity(n) > stock.MaxQuantity {
		return "", 0, false
	}
	return lineID, stock.Quantity(n), true
}

// find looks for the order with our key. Without one, it is nil.
func (w *warehouse) find(ctx context.Context, op, key string) (*order, error) {
	data, err := ask[ordersData](ctx, w, graphql.Request{Op: op, Document: ordersDocument, Variables: ordersVariables{Key: key, Customer: w.customer}})
	switch {
	case err != nil:
		return nil, err
	case data.Orders == nil || data.Orders.Data == nil:
		return nil, w.missing(op, "the orders")
	}
	var found *order
	for _, e := range data.Orders.Data.Edges {
		if e == nil || e.Node == nil || e.Node.ID == "" {
			return nil, w.missing(op, "an order of the list")
		}
		if e.Node.PartnerOrderID != key {
			continue
		}
		if found != nil {
			return nil, w.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("ShipHero has two orders with the partner order id %s, %s and %s: cancel one of them there",
				key, found.OrderNumber, e.Node.OrderNumber))
		}
		found = e.Node
	}
	if found == nil {
		return nil, nil
	}
	whole := !found.LineItems.PageInfo.HasNextPage
	for _, s := range found.Shipments {
		whole = whole && (s == nil || !s.LineItems.PageInfo.HasNextPage)
	}
	if !whole {
		return nil, connectors.Rejectedf(op, "", "order %s has more than %d lines; so many are not read", key, mostLines)
	}
	return found, nil
}

// known finds an order that must be there.
func (w *warehouse) known(ctx context.Context, op, key string) (*order, error) {
	o, err := w.find(ctx, op, key)
	if err == nil && o == nil {
		err = &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("ShipHero has no order with the partner order id %s", key)}
	}
	return o, err
}

// line is a line of ours.
type line struct {
	*lineItem
	lineID  string
	ordered stock.Quantity
}

// left is what is still to be delivered or was.
func (l line) left() stock.Quantity { return *l.Quantity }

// lines are those of an order that we made; the others were added at ShipHero.
func (o *order) lines() ([]line, error) {
	var lines []line
	for _, e := range o.LineItems.Edges {
		if e == nil || e.Node == nil || e.Node.ID == "" {
			return nil, errors.New("a line of the order")
		}
		id, ordered, ours := parseMark(o.PartnerOrderID, e.Node.Partner)
		if !ours {
			continue
		}
		if q := e.Node.Quantity; q == nil || *q < 0 || *q > stock.MaxQuantity {
			return nil, fmt.Errorf("the quantity of line %s", id)
		}
		lines = append(lines, line{e.Node, id, ordered})
	}
	return lines, nil
}

// CreateOrder implements connectors.SystemOfRecord. ShipHero takes the same partner order id twice, so it is looked for
// first, and one connection makes one order at a time. The number is the one that people see.
func (w *warehouse) CreateOrder(ctx context.Context, o connectors.NewOrder) (string, error) {
	const op = "create order"
	if len(o.Lines) > mostLines {
		return "", connectors.Rejectedf(op, "", "order %s has %d lines; at most %d are read back from ShipHero", o.Key, len(o.Lines), mostLines)
	}
	w.ordersMu.Lock()
	defer w.ordersMu.Unlock()
	there, err := w.find(ctx, op, o.Key)
	if err != nil {
		return "", err
	}
	if there != nil {
		return w.same(op, there, o)
	}
	in := createInput{
		Customer: w.customer, OrderNumber: o.OrderID, PartnerOrderID: o.Key, ShopName: string(o.Channel), Status: statusPending,
		Address: addressInput{FirstName: "Buyer of " + o.OrderID}, Holds: &holdsInput{Operator: true},
	}
	if !o.PlacedAt.IsZero() {
		in.OrderDate = o.PlacedAt.UTC().Format("2006-01-02T15:04:05")
	}
	if o.Buyer != nil && strings.Contains(o.Buyer.Contact, "@") {
		in.Email = o.Buyer.Contact
	}
	for _, l := range o.Lines {
		in.LineItems = append(in.LineItems, lineInput{Partner: lineMark(o.Key, l), SKU: string(l.SKU), Quantity: l.Quantity, Pending: l.Quantity, Price: "0.00"})
	}
	data, err := ask[createData](ctx, w, graphql.Request{Op: op, Document: createDocument, Variables: dataVariables[createInput]{in}, Write: true})
	if err != nil {
		return "", err
	}
	if data.Created == nil || data.Created.Order == nil || data.Created.Order.OrderNumber == "" {
		return "", w.client.Refusal(connectors.Uncertain, op, "", "the answer does not tell the order")
	}
	return data.Created.Order.OrderNumber, nil
}

// same returns the number of the order that has our key already, where it has our lines too.
func (w *warehouse) same(op string, there *order, o connectors.NewOrder) (string, error) {
	lines, err := there.lines()
	if err != nil {
		return "", w.missing(op, err.Error())
	}
	equal := len(lines) == len(o.Lines)
	for _, l := range o.Lines {
		equal = equal && slices.ContainsFunc(lines, func(t line) bool { return t.lineID == l.LineID && t.ordered == l.Quantity && t.SKU == string(l.SKU) })
	}
	switch {
	case !equal:
		return "", w.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("ShipHero has the order %s already, with other lines: see its order %s", o.Key, there.OrderNumber))
	case there.OrderNumber == "":
		return "", w.missing(op, "the number of the order")
	}
	return there.OrderNumber, nil
}

// CancelOrder implements connectors.SystemOfRecord. The quantity of a line is lowered to what is left of it, which changes
// nothing when it is repeated; an order of which nothing is left is cancelled.
func (w *warehouse) CancelOrder(ctx context.Context, key string, cancelled []connectors.CancelLine) error {
	const op = "cancel order"
	w.ordersMu.Lock()
	defer w.ordersMu.Unlock()
	o, err := w.known(ctx, op, key)
	if err != nil {
		return err
	}
	lines, err := o.lines()
	if err != nil {
		return w.missing(op, err.Error())
	}
	if len(lines) == 0 {
		return w.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("ShipHero's order %s has no line that truestock made; cancel it there", o.OrderNumber))
	}
	for _, c := range cancelled {
		if !slices.ContainsFunc(lines, func(l line) bool { return l.lineID == c.LineID }) {
			return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("ShipHero's order %s has no line %s", o.OrderNumber, c.LineID)}
		}
	}
	if o.Status == statusCanceled {
		return nil // nothing is left to cancel; OrderStanding tells by whom
	}
	var lower []lineLower
	left := stock.Quantity(0)
	for _, l := range lines {
		want := l.left()
		for _, c := range cancelled {
			if c.LineID == l.lineID {
				want = min(want, max(0, l.ordered-c.Cancelled))
			}
		}
		shipped := stock.Quantity(0)
		if l.Shipped != nil {
			shipped = *l.Shipped
		}
		if want < shipped {
			return connectors.Rejectedf(op, "", "line %s of order %s: %d units are shipped already, and %d would be left", l.lineID, key, shipped, want)
		}
		left += want
		if want < l.left() {
			lower = append(lower, lineLower{ID: l.ID, Quantity: want, Pending: want - shipped})
		}
	}
	if len(cancelled) == 0 || left == 0 {
		return w.cancelAll(ctx, op, o)
	}
	if len(lower) == 0 {
		return nil
	}
	data, err := ask[linesData](ctx, w, graphql.Request{Op: op, Document: linesDocument, Write: true, Idempotent: true,
		Variables: dataVariables[linesInput]{linesInput{Customer: w.customer, OrderID: o.ID, Lines: lower}}})
	if err == nil && (data.Updated == nil || data.Updated.Order == nil) {
		err = w.client.Refusal(connectors.Uncertain, op, "", "the answer does not tell the order")
	}
	return err
}

// cancelAll says first that it is we who cancel.
func (w *warehouse) cancelAll(ctx context.Context, op string, o *order) error {
	if !slices.Contains(o.Tags, cancelTag) {
		data, err := ask[tagData](ctx, w, graphql.Request{Op: op, Document: tagDocument, Write: true, Idempotent: true,
			Variables: dataVariables[tagInput]{tagInput{Customer: w.customer, OrderID: o.ID, Tags: append(slices.Clone(o.Tags), cancelTag)}}})
		if err == nil && (data.Updated == nil || data.Updated.Order == nil) {
			err = w.client.Refusal(connectors.Uncertain, op, "", "the answer does not tell the order")
		}
		if err != nil {
			return err
		}
	}
	data, err := ask[cancelData](ctx, w, graphql.Request{Op: op, Document: cancelDocument, Write: true, Idempotent: true,
		Variables: dataVariables[cancelInput]{cancelInput{Customer: w.customer, OrderID: o.ID, Reason: "cancelled where it was sold"}}})
	if err == nil && (data.Cancelled == nil || data.Cancelled.Order == nil) {
		err = w.client.Refusal(connectors.Uncertain, op, "", "the answer does not tell the order")
	}
	return err
}

// OrderStanding implements connectors.OrderTeller. AsOf stays empty: ShipHero does not say of when its answer is.
func (w *warehouse) OrderStanding(ctx context.Context, key string) (connectors.Standing, error) {
	const op = "ask for an order"
	none := connectors.Standing{}
	o, err := w.known(ctx, op, key)
	if err != nil {
		return none, err
	}
	lines, err := o.lines()
	if err != nil {
		return none, w.missing(op, err.Error())
	}
	s := connectors.Standing{OrderKey: key}
	for _, l := range lines {
		told, err := o.standing(l)
		if err != nil {
			return none, w.missing(op, err.Error())
		}
		s.Lines = append(s.Lines, told)
	}
	if err := s.Validate(); err != nil {
		return none, w.missing(op, "a standing that can be: "+err.Error())
	}
	return s, nil
}

// standing is how a line stands. What an allocation names beyond what is still to be shipped has left already.
func (o *order) standing(l line) (connectors.StandingLine, error) {
	out := connectors.StandingLine{LineID: l.lineID, Cancelled: max(0, l.ordered-l.left())}
	var shipped stock.Quantity
	for _, s := range o.Shipments {
		if s == nil {
			continue
		}
		for _, e := range s.LineItems.Edges {
			if e == nil || e.Node == nil || e.Node.LineItemID != l.ID {
				continue
			}
			q := e.Node.Quantity
			if q == nil || *q < 0 || *q > stock.MaxQuantity || s.WarehouseID == "" {
				return out, fmt.Errorf("the quantity or the warehouse of a shipment of line %s", l.lineID)
			}
			shipped += *q
			place(&out, s.WarehouseID).Shipped += *q
		}
	}
	open := max(0, l.left()-shipped)
	if o.Status == statusCanceled {
		if slices.Contains(o.Tags, cancelTag) {
			out.Cancelled += open
		} else {
			out.Rejected = open
		}
		open = 0
	}
	if l.Allocated == nil || *l.Allocated < 0 {
		return out, fmt.Errorf("what is allocated of line %s", l.lineID)
	}
	open = min(open, *l.Allocated)
	for _, a := range o.Allocations {
		if a == nil {
			continue
		}
		for _, i := range a.LineItems {
			if i == nil || i.LineItemID != l.ID {
				continue
			}
			if i.Quantity == nil || *i.Quantity < 0 || a.WarehouseID == "" {
				return out, fmt.Errorf("the quantity or the warehouse of an allocation of line %s", l.lineID)
			}
			units := min(open, *i.Quantity)
			open -= units
			*place(&out, a.WarehouseID).Allocated += units
		}
	}
	return out, nil
}

// place finds or adds what happened to a line at a warehouse.
func place(l *connectors.StandingLine, warehouse string) *connectors.StandingPlace {
	for i := range l.Places {
		if l.Places[i].Location == warehouse {
			return &l.Places[i]
		}
	}
	l.Places = append(l.Places, connectors.StandingPlace{Location: warehouse, Allocated: new(stock.Quantity)})
	return &l.Places[len(l.Places)-1]
}
