package medusa

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

const (
	orderPage = 50
	// orderOverlap is how far before since the orders are listed again: an order's time of change is taken before its
	// transaction ends, so an order can show up later than its time.
	orderOverlap = 10 * time.Second
	// placing is how long a buyer can be expected to take from the order to its payment, which a provider authorizes.
	placing = time.Minute
)

// orderCursor is the place of a page: the orders changed at or after from, without the first skip of them. Watermark is
// the one of the first page.
type orderCursor struct {
	from      time.Time
	skip      int
	watermark time.Time
}

func (c orderCursor) encode() connectors.Cursor {
	return connectors.Cursor(fmt.Sprintf("%d:%d:%d", c.from.UnixMilli(), c.skip, c.watermark.UnixMilli()))
}

func parseOrderCursor(text connectors.Cursor) (orderCursor, error) {
	bad := fmt.Errorf("%q is not a cursor of the orders", string(text))
	parts := strings.Split(string(text), ":")
	if len(parts) != 3 {
		return orderCursor{}, bad
	}
	var numbers [3]int64
	for i, p := range parts {
		n, err := strconv.ParseInt(p, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/1_000_000 || i == 1 && n > math.MaxInt32 {
			return orderCursor{}, bad
		}
		numbers[i] = n
	}
	return orderCursor{
		from:      time.UnixMilli(numbers[0]).UTC(),
		skip:      int(numbers[1]),
		watermark: time.UnixMilli(numbers[2]).UTC(),
	}, nil
}

// Orders implements connectors.Marketplace. It lists orders by the time of their last change; an order may come again, also
// from shortly before since. Draft orders are not orders yet, and one that is still being placed is told later: until then
// the watermark stays before it.
func (s *shop) Orders(ctx context.Context, since time.Time, from connectors.Cursor) (connectors.OrderPage, error) {
	const op = "list the orders"
	cursor, err := s.orderPlace(ctx, op, since, from)
	if err != nil {
		return connectors.OrderPage{}, err
	}
	p, err := s.keptPlace(ctx, op)
	if err != nil {
		return connectors.OrderPage{}, err
	}
	query := url.Values{
		"order": {"updated_at"}, "limit": {strconv.Itoa(orderPage)}, "offset": {strconv.Itoa(cursor.skip)}, "fields": {orderFields},
		"updated_at[$gte]": {cursor.from.Format("2006-01-02T15:04:05.000Z")},
	}
	if p.channel != "" {
		query.Set("sales_channel_id[]", p.channel)
	}
	var got ordersAnswer
	if err := s.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/admin/orders", Query: query}, &got); err != nil {
		return connectors.OrderPage{}, err
	}
	if got.Orders == nil {
		return connectors.OrderPage{}, s.missing(op, "the orders")
	}
	var page connectors.OrderPage
	shopTime := time.Now().Add(s.clock.Behind())
	for i := range got.Orders {
		o, err := got.Orders[i].toOrder()
		if err != nil {
			return connectors.OrderPage{}, s.missing(op, err.Error())
		}
		if got.Orders[i].beingPlaced(shopTime) {
			if before := o.UpdatedAt.Add(-time.Millisecond); before.Before(cursor.watermark) {
				cursor.watermark = before
			}
			continue
		}
		page.Orders = append(page.Orders, o)
	}
	page.Watermark = cursor.watermark
	if n := len(got.Orders); n == orderPage {
		page.Next = cursor.after(got.Orders[n-1].UpdatedAt).encode()
	}
	return page, nil
}

// orderPlace is where a page begins. The first one begins before since, by the overlap and by what the shop's clock is
// behind ours.
func (s *shop) orderPlace(ctx context.Context, op string, since time.Time, from connectors.Cursor) (orderCursor, error) {
	if from != "" {
		cursor, err := parseOrderCursor(from)
		if err != nil {
			return cursor, connectors.Rejectedf(op, "", "%w", err)
		}
		return cursor, nil
	}
	if !s.clock.Seen() {
		if err := s.Check(ctx); err != nil {
			return orderCursor{}, err
		}
	}
	start := time.UnixMilli(0).UTC()
	if behind := s.clock.Behind(); since.After(start.Add(orderOverlap - behind)) {
		start = utcMillis(since.Add(behind - orderOverlap))
	}
	return orderCursor{from: start, watermark: utcMillis(time.Now())}, nil
}

// after is the place of the page behind one whose last order changed at last. Orders that change between the pages move
// to the end of the list: so the next page is found by time, and only within one instant by number, and then with half
// a page seen twice.
func (c orderCursor) after(last time.Time) orderCursor {
	if last = utcMillis(last); last.After(c.from) {
		c.from, c.skip = last, 0
	} else {
		c.skip += orderPage / 2
	}
	return c
}

// toOrder translates an order. Lines without a variant, which a person typed in, are of no listing and are left out. An
// order that was edited is told as it stands: Medusa keeps no total of what was taken off.
func (o *order) toOrder() (connectors.Order, error) {
	if o.ID == "" || o.Status == "" || o.Version == nil || o.UpdatedAt.IsZero() || o.CreatedAt.IsZero() {
		return connectors.Order{}, errors.New("the id, status, version or times of an order")
	}
	out := connectors.Order{
		OrderID: o.ID, PlacedAt: utcMillis(o.CreatedAt), UpdatedAt: utcMillis(o.UpdatedAt),
		Status: connectors.OrderOpen, Version: o.progress(), Lines: make([]connectors.ChannelLine, 0, len(o.Items)),
	}
	var left, shipped stock.Quantity
	for _, item := range o.Items {
		if item.VariantID == "" {
			continue
		}
		line, err := item.toLine(o.Status == statusCanceled)
		if err != nil {
			return connectors.Order{}, fmt.Errorf("%w of a line of order %s", err, o.ID)
		}
		left += line.Quantity - line.Shipped - line.Cancelled
		shipped += line.Shipped
		out.Lines = append(out.Lines, line)
	}
	switch {
	case o.Status == statusCanceled && shipped == 0:
		out.Status = connectors.OrderCancelledStatus
	case o.Status == statusCanceled:
		out.Status = connectors.OrderClosed
	case left <= 0 && (o.Status == statusCompleted || o.Status == statusArchived):
		// A person can complete or archive an order before it is shipped; its units stay reserved then.
		out.Status = connectors.OrderClosed
	}
	if o.CustomerID != "" || o.Email != "" {
		out.Buyer = &connectors.Buyer{Ref: o.CustomerID, Contact: o.Email}
	}
	return out, nil
}

// The statuses of an order: a new one, and those that end it (utils/order/status.js). The others are draft and
// requires_action.
const (
	statusPending   = "pending"
	statusCompleted = "completed"
	statusArchived  = "archived"
	statusCanceled  = "canceled"
)

// beingPlaced reports whether the shop may still take an order back: it stores the order first, then reserves its units,
// has the payment authorized last, and deletes the order again if one of these fails
// (core-flows/cart/workflows/complete-cart.js). An order that stays without a payment, as people type them in or pay them
// later, is a finished one after a while, and so is what was changed since, which can leave something to pay. A shop that
// tells no payment status is not waited for.
func (o *order) beingPlaced(at time.Time) bool {
	switch o.Payment {
	case "not_paid", "awaiting", "requires_action":
		return o.Status == statusPending && *o.Version <= 1 && at.Before(o.CreatedAt.Add(placing))
	default:
		return false
	}
}

// progress orders the states of an order. Its version counts edits, fulfillments, shipments and returns
// (order/services/order-module-service.js); a status ends what has the same version.
func (o *order) progress() int64 {
	const statuses = 4
	step := int64(0)
	switch o.Status {
	case statusCompleted:
		step = 1
	case statusArchived:
		step = 2
	case statusCanceled:
		step = 3
	}
	return max(0, min(*o.Version, math.MaxInt64/statuses-1))*statuses + step
}

// toLine translates a line. What needs no shipping is never shipped, only delivered.
func (i *orderItem) toLine(canceled bool) (connectors.ChannelLine, error) {
	d := i.Detail
	if i.ID == "" || d == nil || d.Quantity == nil || d.Shipped == nil || d.Delivered == nil || d.ReturnReceived == nil {
		return connectors.ChannelLine{}, errors.New("the id or quantities")
	}
	line := connectors.ChannelLine{
		LineID:    i.ID,
		Ref:       connectors.Ref{Item: i.VariantID},
		SKU:       i.VariantSKU,
		Quantity:  stock.Quantity(*d.Quantity),
		Shipped:   stock.Quantity(max(*d.Shipped, *d.Delivered)),
		Restocked: stock.Quantity(*d.ReturnReceived),
	}
	if line.Quantity < 0 || line.Shipped < 0 || line.Restocked < 0 {
		return line, errors.New("a quantity of 0 or more")
	}
	if canceled {
		line.Cancelled = max(0, line.Quantity-line.Shipped)
	}
	return line, nil
}
