package shopify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/stock"
)

// orderCursor is the page behind the cursor after, or the first where that is empty, of the list of orders changed since
// from; pages of it were read. Watermark is the one of the very first page.
type orderCursor struct {
	from, watermark time.Time
	pages           int
	after           string
}

func (c orderCursor) encode() connectors.Cursor {
	return connectors.Cursor(fmt.Sprintf("%d:%d:%d:%s", c.from.Unix(), c.watermark.UnixMilli(), c.pages, c.after))
}

func parseOrderCursor(text connectors.Cursor) (orderCursor, error) {
	bad := fmt.Errorf("%q is not a cursor of the orders", string(text))
	parts := strings.SplitN(string(text), ":", 4)
	if len(parts) != 4 {
		return orderCursor{}, bad
	}
	from, errFrom := strconv.ParseInt(parts[0], 10, 64)
	watermark, errMark := strconv.ParseInt(parts[1], 10, 64)
	pages, errPages := strconv.Atoi(parts[2])
	const most = math.MaxInt64 / 1_000_000_000
	if errFrom != nil || errMark != nil || errPages != nil || pages < 0 || pages > math.MaxInt32 || from < 0 || from > most || watermark < 0 || watermark > most*1000 {
		return orderCursor{}, bad
	}
	return orderCursor{from: time.Unix(from, 0).UTC(), watermark: time.UnixMilli(watermark).UTC(), pages: pages, after: parts[3]}, nil
}

// Orders implements connectors.Marketplace. Orders are listed by the time of their last change, which Shopify tells in
// seconds; one that changes while the list is read moves to its end, and comes again.
func (s *shop) Orders(ctx context.Context, since time.Time, from connectors.Cursor) (connectors.OrderPage, error) {
	const op = "list the orders"
	known, err := s.facts(ctx, op)
	if err != nil {
		return connectors.OrderPage{}, err
	}
	cursor, err := s.orderPlace(ctx, op, since, from)
	if err != nil {
		return connectors.OrderPage{}, err
	}
	data, err := ask[ordersData](ctx, s, graphql.Request{Op: op, Document: ordersDocument, Variables: ordersVariables{
		Query: "updated_at:>='" + cursor.from.Format(time.RFC3339) + "'", After: cursor.after, Buyers: s.buyers,
	}})
	if err != nil {
		return connectors.OrderPage{}, err
	}
	page := connectors.OrderPage{Watermark: cursor.watermark}
	for _, o := range data.Orders.Nodes {
		if o == nil {
			return connectors.OrderPage{}, s.missing(op, "an order of the list")
		}
		if err := s.complete(ctx, op, o); err != nil {
			return connectors.OrderPage{}, err
		}
		told, err := o.toOrder(known)
		if err != nil {
			return connectors.OrderPage{}, s.missing(op, err.Error())
		}
		page.Orders = append(page.Orders, told)
	}
	next, more, err := s.next(op, data.Orders.PageInfo, cursor.after)
	if err != nil {
		return connectors.OrderPage{}, err
	}
	if more {
		cursor.after = next
		cursor.pages++
		if last := page.Orders; cursor.pages >= anchorPages && len(last) > 0 && last[len(last)-1].UpdatedAt.Unix() > cursor.from.Unix() {
			cursor.from, cursor.pages, cursor.after = last[len(last)-1].UpdatedAt, 0, ""
		}
		page.Next = cursor.encode()
	}
	return page, nil
}

// orderPlace is where a page begins. The first one begins before since by what the shop's clock is behind ours.
func (s *shop) orderPlace(ctx context.Context, op string, since time.Time, from connectors.Cursor) (orderCursor, error) {
	if from != "" {
		cursor, err := parseOrderCursor(from)
		if err != nil {
			return cursor, connectors.Rejectedf(op, "", "%w", err)
		}
		return cursor, nil
	}
	// The header that tells the clock has whole seconds, and took its time to come.
	start, err := s.clock.Start(ctx, since, 2*time.Second, func(ctx context.Context) error {
		_, err := s.Account(ctx)
		return err
	})
	if err != nil {
		return orderCursor{}, err
	}
	return orderCursor{from: start.Truncate(time.Second), watermark: time.Now().UTC().Truncate(time.Millisecond)}, nil
}

// complete fetches what an order has beyond the few parts that it came with.
func (s *shop) complete(ctx context.Context, op string, o *order) error {
	if _, ok := number("Order", o.ID); !ok {
		return s.missing(op, "the id of an order")
	}
	type orderPart struct {
		LineItems         list[orderLine]         `json:"lineItems"`
		FulfillmentOrders list[*fulfillmentOrder] `json:"fulfillmentOrders"`
	}
	if err := drain(ctx, s, op, orderLinesDocument, o.ID, &o.LineItems, func(d *struct {
		Order *orderPart `json:"order"`
	}) *list[orderLine] {
		if d.Order == nil {
			return nil
		}
		return &d.Order.LineItems
	}); err != nil {
		return err
	}
	beyond := o.FulfillmentOrders.PageInfo.HasNextPage
	if err := drain(ctx, s, op, orderFulfillmentOrdersDocument, o.ID, &o.FulfillmentOrders, func(d *struct {
		Order *orderPart `json:"order"`
	}) *list[*fulfillmentOrder] {
		if d.Order == nil {
			return nil
		}
		return &d.Order.FulfillmentOrders
	}); err != nil {
		return err
	}
	for i, f := range o.FulfillmentOrders.Nodes {
		if f == nil {
			return s.missing(op, "a fulfillment order")
		}
		if beyond && i >= fewParts {
			f.LineItems.PageInfo.HasNextPage = true // none were asked for yet
		}
		if err := drainNode(ctx, s, op, fulfillmentOrderLinesDocument, f.ID, &f.LineItems, func(n *fulfillmentOrder) *list[fulfillable] { return &n.LineItems }); err != nil {
			return err
		}
	}
	return s.completeLists(ctx, op, o)
}

// completeLists fetches the fulfillments and refunds, which have no further pages: an order with as many as were asked for
// may have more.
func (s *shop) completeLists(ctx context.Context, op string, o *order) error {
	all := func(document string) (*order, error) {
		data, err := ask[orderData](ctx, s, graphql.Request{Op: op, Document: document, Variables: idVariables{ID: o.ID}})
		switch {
		case err != nil:
			return nil, err
		case data.Order == nil:
			return nil, s.client.Refusal(connectors.Retryable, op, "", "order "+o.ID+" is gone")
		case len(data.Order.Fulfillments) >= mostParts || len(data.Order.Refunds) >= mostParts:
			return nil, connectors.Rejectedf(op, "", "order %s has %d fulfillments or refunds, or more, which cannot be listed", o.ID, mostParts)
		}
		return data.Order, nil
	}
	if len(o.Fulfillments) >= fewParts {
		whole, err := all(orderFulfillmentsDocument)
		if err != nil {
			return err
		}
		o.Fulfillments = whole.Fulfillments
		for _, f := range o.Fulfillments {
			if f == nil {
				return s.missing(op, "a fulfillment")
			}
			f.FulfillmentLineItems.PageInfo.HasNextPage = true
		}
	}
	for _, f := range o.Fulfillments {
		if f == nil {
			return s.missing(op, "a fulfillment")
		}
		if err := drainNode(ctx, s, op, fulfillmentLinesDocument, f.ID, &f.FulfillmentLineItems, func(n *fulfillment) *list[fulfillmentLine] { return &n.FulfillmentLineItems }); err != nil {
			return err
		}
	}
	if len(o.Refunds) >= fewParts {
		whole, err := all(orderRefundsDocument)
		if err != nil {
			return err
		}
		o.Refunds = whole.Refunds
		for _, r := range o.Refunds {
			if r == nil {
				return s.missing(op, "a refund")
			}
			r.RefundLineItems.PageInfo.HasNextPage = true
		}
	}
	for _, r := range o.Refunds {
		if r == nil {
			return s.missing(op, "a refund")
		}
		if err := drainNode(ctx, s, op, refundLinesDocument, r.ID, &r.RefundLineItems, func(n *refund) *list[refundLine] { return &n.RefundLineItems }); err != nil {
			return err
		}
	}
	return nil
}

// drainNode is drain for a list of a node.
func drainNode[N, T any](ctx context.Context, s *shop, op, document, id string, l *list[T], of func(*N) *list[T]) error {
	return drain(ctx, s, op, document, id, l, func(d *nodeData[N]) *list[T] {
		if d.Node == nil {
			return nil
		}
		return of(d.Node)
	})
}

// drain adds the further pages of a list to it.
func drain[D, T any](ctx context.Context, s *shop, op, document, id string, l *list[T], of func(*D) *list[T]) error {
	for l.PageInfo.HasNextPage {
		after := l.PageInfo.EndCursor
		data, err := ask[D](ctx, s, graphql.Request{Op: op, Document: document, Variables: idVariables{ID: id, After: after}})
		if err != nil {
			return err
		}
		part := of(data)
		if part == nil {
			return s.client.Refusal(connectors.Retryable, op, "", id+" is gone")
		}
		if _, _, err := s.next(op, part.PageInfo, after); err != nil {
			return err
		}
		l.Nodes = append(l.Nodes, part.Nodes...)
		l.PageInfo = part.PageInfo
	}
	return nil
}

// sums are the running totals of a line.
type sums struct {
	removed   stock.Quantity            // refunded or taken off the order, whether it was shipped or not
	shipped   stock.Quantity            // left from a location that is kept
	restocked stock.Quantity            // put back for sale by the shop
	returned  stock.Quantity            // restocked after it was shipped
	open      stock.Quantity            // still to be shipped from a location that is kept
	elsewhere stock.Quantity            // to be shipped, or shipped, from another location
	item      string                    // as the fulfillment orders tell it
	weights   map[string]stock.Quantity // units by kept location
}

// toOrder translates an order. What is assigned to a location that the connection does not keep is none of its business:
// it is not part of the quantity. An order that moves to another location thereby shrinks.
//
// Shopify tells of a line what is left after all that was refunded or removed. Of that, what was returned after it was
// shipped is no cancellation; and what is still to be shipped was not removed. In doubt the fewer units are cancelled: a
// unit that is reserved too long is sold a little later, one that is given back too soon is sold twice.
func (o *order) toOrder(known *facts) (connectors.Order, error) {
	id, ok := number("Order", o.ID)
	if !ok || o.CreatedAt.IsZero() || o.UpdatedAt.IsZero() {
		return connectors.Order{}, errors.New("the id or times of an order")
	}
	out := connectors.Order{OrderID: id, PlacedAt: o.CreatedAt.UTC(), UpdatedAt: o.UpdatedAt.UTC(), Status: connectors.OrderOpen}
	totals, err := o.sums(known)
	if err != nil {
		return connectors.Order{}, fmt.Errorf("%w of order %s", err, id)
	}
	var progress stock.Quantity
	var anyShipped bool
	for _, l := range o.LineItems.Nodes {
		line, t, err := o.toLine(known, l, totals[l.ID])
		if err != nil {
			return connectors.Order{}, fmt.Errorf("%w of order %s", err, id)
		}
		progress += *l.Quantity + t.removed + t.shipped + t.restocked + t.elsewhere
		anyShipped = anyShipped || t.shipped > 0
		if line != nil {
			out.Lines = append(out.Lines, *line)
		}
	}
	switch {
	case o.CancelledAt != nil && !anyShipped:
		out.Status = connectors.OrderCancelledStatus
	case o.CancelledAt != nil, o.Closed:
		out.Status = connectors.OrderClosed
	}
	if out.Status != connectors.OrderOpen {
		progress++
	}
	out.Version = version(o.UpdatedAt, progress)
	if c := o.Customer; c != nil {
		if out.Buyer = (&connectors.Buyer{}); c.DefaultEmailAddress != nil {
			out.Buyer.Contact = c.DefaultEmailAddress.EmailAddress
		}
		out.Buyer.Ref, _ = number("Customer", c.ID)
	}
	return out, nil
}

// version is the instant of the last change in milliseconds, and behind it how far the order has come: Shopify's times are
// whole seconds, and of two changes within one the later has come further.
func version(changed time.Time, progress stock.Quantity) int64 {
	return max(0, min(changed.UnixMilli(), math.MaxInt64/1000-1))*1000 + int64(min(progress, 999))
}

// toLine translates a line; it is nil where the line is of nothing in stock, such as a tip or an article that was typed
// into the order by hand.
func (o *order) toLine(known *facts, l orderLine, t sums) (*connectors.ChannelLine, sums, error) {
	id, ok := number("LineItem", l.ID)
	if !ok || !amount(l.Quantity) || !amount(l.CurrentQuantity) || *l.CurrentQuantity > *l.Quantity {
		return nil, t, errors.New("the id or quantities of a line")
	}
	t.removed = *l.Quantity - *l.CurrentQuantity
	ours := max(0, *l.Quantity-t.elsewhere)
	most := max(0, ours-t.shipped)
	cancelled := max(0, min(t.removed-t.returned, most-t.open, most))
	if o.CancelledAt != nil {
		cancelled = most
	}
	line := &connectors.ChannelLine{
		LineID: id, Ref: connectors.Ref{Item: t.item, Place: t.place(known)}, SKU: l.SKU,
		Quantity: ours, Cancelled: cancelled, Shipped: t.shipped, Restocked: min(t.restocked, ours),
	}
	switch {
	case l.Variant != nil:
		if line.Ref.Item, ok = number("InventoryItem", l.Variant.InventoryItem.ID); !ok {
			return nil, t, errors.New("the inventory item of a line")
		}
	case line.Ref.Item != "":
	case l.SKU != "":
		line.Ref.Item = "sku:" + l.SKU // the variant was deleted, and nothing else leads to its item
	default:
		return nil, t, nil
	}
	return line, t, nil
}

// amount reports whether a quantity is there and of 32 bits, as GraphQL has them.
func amount(q *stock.Quantity) bool { return q != nil && *q >= 0 && *q <= math.MaxInt32 }

// sums adds up per line what the parts of the order tell.
func (o *order) sums(known *facts) (map[string]sums, error) {
	totals := map[string]sums{}
	for _, f := range o.Fulfillments {
		// Only SUCCESS has left (FulfillmentStatus): others wait for a carrier, or failed.
		if f == nil {
			return nil, errors.New("a fulfillment")
		}
		if f.Status != "SUCCESS" {
			continue
		}
		from, kept, err := known.assigned(f.Location)
		if err != nil {
			return nil, err
		}
		for _, l := range f.FulfillmentLineItems.Nodes {
			if !amount(l.Quantity) {
				return nil, errors.New("the quantity of a fulfillment")
			}
			t := totals[l.LineItem.ID]
			if kept {
				t.shipped += *l.Quantity
				t.weigh(from, *l.Quantity)
			} else {
				t.elsewhere += *l.Quantity
			}
			totals[l.LineItem.ID] = t
		}
	}
	for _, r := range o.Refunds {
		if r == nil {
			return nil, errors.New("a refund")
		}
		for _, l := range r.RefundLineItems.Nodes {
			if !amount(l.Quantity) {
				return nil, errors.New("the quantity of a refund")
			}
			t := totals[l.LineItem.ID]
			if l.RestockType == "RETURN" {
				t.returned += *l.Quantity
			}
			if l.Restocked {
				t.restocked += *l.Quantity
			}
			totals[l.LineItem.ID] = t
		}
	}
	return totals, o.assignments(known, totals)
}

// assignments adds what the fulfillment orders tell: what is still to be shipped, and from where. One that is CLOSED has
// shipped its units or given them to another, and one that is CANCELLED has lost them (FulfillmentOrderStatus).
func (o *order) assignments(known *facts, totals map[string]sums) error {
	for _, f := range o.FulfillmentOrders.Nodes {
		if f == nil {
			return errors.New("a fulfillment order")
		}
		at, kept, err := known.assigned(f.AssignedLocation.Location)
		if err != nil {
			return err
		}
		over := f.Status == "CLOSED" || f.Status == "CANCELLED"
		for _, l := range f.LineItems.Nodes {
			if !amount(l.TotalQuantity) || !amount(l.RemainingQuantity) {
				return errors.New("the quantities of a fulfillment order")
			}
			t := totals[l.LineItem.ID]
			if id, ok := number("InventoryItem", l.InventoryItemID); ok {
				t.item = id
			}
			switch {
			case over && kept:
				t.weigh(at, 0)
			case kept:
				t.open += *l.RemainingQuantity
				t.weigh(at, *l.RemainingQuantity)
			case !over:
				t.elsewhere += *l.RemainingQuantity
			}
			totals[l.LineItem.ID] = t
		}
	}
	return nil
}

// weigh counts units of the line at a kept location.
func (t *sums) weigh(at string, units stock.Quantity) {
	if at == "" {
		return
	}
	if t.weights == nil {
		t.weights = map[string]stock.Quantity{}
	}
	t.weights[at] += units
}

// place is the kept location that has most of the line; of several the one that is set first, and the first of all where
// nothing is assigned yet.
func (t *sums) place(known *facts) string {
	best, most := known.locations[0], stock.Quantity(-1)
	for _, l := range known.locations {
		if units, there := t.weights[l.id]; there && units > most {
			best, most = l, units
		}
	}
	return known.place(best)
}

// assigned reads the location of a part of an order, and says whether the connection keeps it. A part without one is
// taken for ours.
func (f *facts) assigned(l *node) (id string, kept bool, err error) {
	if l == nil {
		return "", true, nil
	}
	id, ok := number("Location", l.ID)
	if !ok {
		return "", false, errors.New("the location of a part")
	}
	return id, f.keeps(id), nil
}

// findOrder reads one order whole.
func (s *shop) findOrder(ctx context.Context, op, id string) (*order, error) {
	if !isNumber(id) {
		return nil, &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the shop has no order %q: %w", id, errNotANumber)}
	}
	data, err := ask[orderData](ctx, s, graphql.Request{Op: op, Document: orderDocument, Variables: orderVariables{ID: gid("Order", id)}})
	switch {
	case err != nil:
		return nil, err
	case data.Order == nil:
		return nil, &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the shop has no order %s, or it is older than 60 days and the app lacks read_all_orders", id)}
	}
	return data.Order, s.complete(ctx, op, data.Order)
}
