package vendure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/stock"
)

const (
	orderPage = 50
	// orderOverlap is how far before since the orders are listed again. An order's time of change is the shop database's:
	// whole seconds on SQLite, the begin of the transaction on PostgreSQL, so an order can show up later than its time.
	orderOverlap = 10 * time.Second
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

// Orders implements connectors.Marketplace. It lists the orders that were placed, by the time of their last change; an
// order may come again, also from shortly before since.
//
// Vendure does not touch an order's time of change when a part of it is shipped while another part is shipped already,
// and when units without a price are cancelled. Such a change comes with the next one that does, at the latest when all
// is shipped.
func (s *shop) Orders(ctx context.Context, since time.Time, from connectors.Cursor) (connectors.OrderPage, error) {
	const op = "list the orders"
	cursor, err := s.orderPlace(ctx, op, since, from)
	if err != nil {
		return connectors.OrderPage{}, err
	}
	data, err := ask[ordersData](ctx, s, graphql.Request{Op: op, Document: ordersDocument, Variables: listVariables{listOptions{
		Skip: cursor.skip,
		Take: orderPage,
		Sort: map[string]string{"updatedAt": "ASC", "id": "ASC"},
		Filter: map[string]any{
			// "after" excludes the instant itself (service/helpers/list-query-builder/parse-filter-params.js).
			"updatedAt":     map[string]any{"after": cursor.from.Add(-time.Millisecond)},
			"orderPlacedAt": map[string]any{"isNull": false},
		},
	}}})
	if err != nil {
		return connectors.OrderPage{}, err
	}
	rows := data.Orders.Items
	page := connectors.OrderPage{Watermark: cursor.watermark}
	for i := range rows {
		if rows[i].Type == "Aggregate" { // the sum of seller orders, which are listed themselves
			continue
		}
		o, err := rows[i].toOrder()
		if err != nil {
			return connectors.OrderPage{}, s.missing(op, err.Error())
		}
		page.Orders = append(page.Orders, o)
	}
	if len(rows) == orderPage {
		page.Next = cursor.after(rows[len(rows)-1].UpdatedAt).encode()
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
	start, err := s.clock.Start(ctx, since, orderOverlap, s.Check)
	if err != nil {
		return orderCursor{}, err
	}
	return orderCursor{from: utcMillis(start), watermark: utcMillis(time.Now())}, nil
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

// toOrder translates an order. Units that were cancelled are known from the order's history, because the line itself only
// tells what is left: Quantity is what is left and what was cancelled, and so still grows when a line is raised after a
// cancellation. Of a line that was shipped, what was cancelled later is a return and none of our business.
func (o *order) toOrder() (connectors.Order, error) {
	if o.Code == "" || o.State == "" || o.UpdatedAt.IsZero() || o.OrderPlacedAt.IsZero() {
		return connectors.Order{}, errors.New("the code, state or times of an order")
	}
	shipped, err := o.shipped()
	if err != nil {
		return connectors.Order{}, err
	}
	cancelled, err := o.cancelled()
	if err != nil {
		return connectors.Order{}, err
	}
	changed, progress := o.changedAt(), int64(0)
	out := connectors.Order{OrderID: o.Code, PlacedAt: utcMillis(o.OrderPlacedAt), UpdatedAt: utcMillis(changed), Status: connectors.OrderOpen}
	var anyShipped bool
	for _, l := range o.Lines {
		if l.ID == "" || l.ProductVariant.ID == "" || !amount(l.Quantity) || !amount(l.OrderPlacedQuantity) {
			return connectors.Order{}, fmt.Errorf("the id, variant or quantities of a line of order %s", o.Code)
		}
		gone := max(cancelled[l.ID], *l.OrderPlacedQuantity-*l.Quantity)
		line := connectors.ChannelLine{
			LineID:    l.ID,
			Ref:       connectors.Ref{Item: l.ProductVariant.ID},
			SKU:       l.ProductVariant.SKU,
			Quantity:  stock.Quantity(*l.Quantity + gone),
			Shipped:   stock.Quantity(shipped[l.ID]),
			Cancelled: stock.Quantity(max(0, min(gone, *l.Quantity+gone-shipped[l.ID]))),
		}
		anyShipped = anyShipped || line.Shipped > 0
		progress += *l.Quantity + 2*gone + shipped[l.ID]
		out.Lines = append(out.Lines, line)
	}
	switch {
	case o.State == "Cancelled" && !anyShipped:
		out.Status = connectors.OrderCancelledStatus
	case o.State == "Cancelled", o.State == "Delivered":
		out.Status = connectors.OrderClosed
	}
	if out.Status != connectors.OrderOpen {
		progress++
	}
	out.Version = version(changed, progress)
	if c := o.Customer; c != nil {
		out.Buyer = &connectors.Buyer{Ref: c.ID, Contact: c.EmailAddress}
	}
	return out, nil
}

// version is the instant of the last change in milliseconds, and behind it how far the order has come: on SQLite the
// shop's times are whole seconds, and of two changes within one the later has come further.
func version(changed time.Time, progress int64) int64 {
	return max(0, changed.UnixMilli())*1000 + min(progress, 999)
}

// changedAt is the latest change of the order or of a part of it: a change of a line or a fulfillment alone does not
// touch the order.
func (o *order) changedAt() time.Time {
	at := o.UpdatedAt
	for _, l := range o.Lines {
		at = later(at, l.UpdatedAt)
	}
	for _, f := range o.Fulfillments {
		at = later(at, f.UpdatedAt)
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// amount reports whether a quantity is there and of 32 bits, as GraphQL has them.
func amount(q *int64) bool { return q != nil && *q >= 0 && *q <= math.MaxInt32 }

// shipped sums per line what left: fulfillments in the states of config/fulfillment/default-fulfillment-process.js.
func (o *order) shipped() (map[string]int64, error) {
	sums := map[string]int64{}
	for _, f := range o.Fulfillments {
		if f.State != "Shipped" && f.State != "Delivered" {
			continue
		}
		for _, l := range f.Lines {
			if !amount(l.Quantity) {
				return nil, fmt.Errorf("the quantity of a fulfillment of order %s", o.Code)
			}
			sums[l.OrderLineID] += *l.Quantity
		}
	}
	return sums, nil
}

// cancelled sums per line what was cancelled. Where the shop's ids are encoded by an EntityIdStrategy of its own, the
// lines of the history are not recognised and the sums are empty.
func (o *order) cancelled() (map[string]int64, error) {
	sums := map[string]int64{}
	for _, entry := range o.History.Items {
		for _, l := range entry.Data.Lines {
			if !amount(l.Quantity) {
				return nil, fmt.Errorf("the quantity of a cancellation of order %s", o.Code)
			}
			sums[idText(l.OrderLineID)] += *l.Quantity
		}
	}
	return sums, nil
}

// idText reads an id that may be a number or a string.
func idText(v jsontext.Value) string {
	if v.Kind() != '"' {
		return string(v)
	}
	text, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(text)
}
