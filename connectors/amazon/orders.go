package amazon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

const (
	// orderPage is the most orders in an answer (searchOrders, maxResultsPerPage).
	orderPage = 100
	// orderOverlap is by how much earlier the next list of orders begins. Amazon lists nothing of the last two minutes
	// (searchOrders, lastUpdatedBefore).
	orderOverlap = 5 * time.Minute
	// oldestOrder is how far back the first list of orders goes.
	oldestOrder = 30 * 24 * time.Hour
	// tokenLife is for how long a list of orders can be read on; Amazon says 24 hours (SearchOrdersResponse, pagination).
	tokenLife = 23 * time.Hour
	// fulfilled asks for what is shipped and what is not (IncludedData).
	fulfilled = "FULFILLMENT"
)

// reading is a list of orders that is read as the quota allows: what was read so far, and where it goes on.
type reading struct {
	mu        sync.Mutex
	since     time.Time
	query     url.Values
	orders    []connectors.Order
	watermark time.Time // of the whole, once it is whole
	begun     time.Time
	token     string
	// pause is until when Amazon has said that it is asked too often.
	pause time.Time
}

// Orders implements connectors.Marketplace. Amazon lets an application ask for a page of orders every three minutes, after
// twenty at once, so the list is asked as far as the quota goes and read on by the next call. Until it is whole, what there
// is of it comes with a watermark that promises nothing; so it does when there is no quota at all. Orders become known in
// seconds by the queue, and this list is what heals it.
func (m *market) Orders(ctx context.Context, since time.Time, from connectors.Cursor) (connectors.OrderPage, error) {
	const op = "list the orders"
	if from != "" {
		return connectors.OrderPage{}, connectors.Rejectedf(op, "", "%q is not a cursor of the orders, which come in one page", string(from))
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	if since.After(now) {
		return connectors.OrderPage{Watermark: now}, nil
	}
	m.reading.mu.Lock()
	defer m.reading.mu.Unlock()
	r := &m.reading
	if r.token == "" || since.Before(r.since) || now.Sub(r.begun) > tokenLife {
		r.begin(m, since, now)
	}
	for {
		if now.Before(r.pause) {
			return connectors.OrderPage{Orders: slices.Clone(r.orders), Watermark: before(since)}, nil
		}
		more, err := m.readOrders(ctx, op, r)
		if connectors.KindOf(err) == connectors.Throttled {
			r.pause = connectors.RetryAt(err)
			return connectors.OrderPage{Orders: slices.Clone(r.orders), Watermark: before(since)}, nil
		}
		if err != nil {
			return connectors.OrderPage{}, err
		}
		if !more {
			return connectors.OrderPage{Orders: slices.Clone(r.orders), Watermark: r.watermark}, nil
		}
	}
}

// before is a watermark by which nothing is promised of a list that begins at the instant given.
func before(since time.Time) time.Time { return since.Add(-time.Millisecond).UTC() }

// begin makes it the list of orders that changed since the instant given. Its first page begins before that by what
// Amazon's clock is behind ours.
func (r *reading) begin(m *market, since, now time.Time) {
	start := since.Add(m.clock.Behind())
	if oldest := now.Add(-oldestOrder); start.Before(oldest) {
		start = oldest
	}
	r.since, r.begun, r.orders, r.token, r.watermark = since, now, nil, "", now
	r.query = url.Values{
		"lastUpdatedAfter": {start.UTC().Format(time.RFC3339Nano)}, "marketplaceIds": {strings.Join(m.marketplaces, ",")}, "fulfilledBy": {"MERCHANT"},
		"includedData": {fulfilled}, "maxResultsPerPage": {strconv.Itoa(orderPage)},
	}
}

// readOrders reads a page, and says whether there are more.
func (m *market) readOrders(ctx context.Context, op string, r *reading) (bool, error) {
	query := maps.Clone(r.query)
	if r.token != "" {
		query.Set("paginationToken", r.token)
	}
	var page searchedOrders
	status := 0
	err := m.do(ctx, call{op: op, operation: searchOrders, path: "/orders/2026-01-01/orders", query: query, status: &status}, &page)
	if err != nil {
		if r.token != "" && status == http.StatusBadRequest {
			// The token has ended before its time: the next call begins anew.
			r.token = ""
			return false, m.refuse(connectors.Retryable, op, "InvalidInput", err.Error())
		}
		return false, err
	}
	// What changed after lastUpdatedBefore is in the next list only as far as that begins earlier.
	if told := page.UpdatedBefore.Add(orderOverlap); !page.UpdatedBefore.IsZero() && told.Before(r.watermark) {
		r.watermark = told.UTC().Truncate(time.Millisecond)
	}
	for _, o := range page.Orders {
		told, ours, err := o.toOrder(m.marketplaces)
		if err != nil {
			return false, connectors.Rejectedf(op, "", "%s; the answer is not understood", m.client.Redact(err.Error()))
		}
		if ours {
			r.orders = append(r.orders, told)
		}
	}
	next := page.Pagination.NextToken
	if next != "" && next == r.token {
		r.token = ""
		return false, &connectors.Error{Kind: connectors.Retryable, Op: op, Err: errors.New("the list leads from a page to the same page again")}
	}
	r.token = next
	return next != "", nil
}

// findOrder reads one order. Its error is Unmapped where Amazon does not know it.
func (m *market) findOrder(ctx context.Context, op, id string, include string) (order, error) {
	var found foundOrder
	if err := m.do(ctx, call{op: op, operation: getOrder, path: "/orders/2026-01-01/orders/" + url.PathEscape(id), query: url.Values{"includedData": {include}}}, &found); err != nil {
		return order{}, err
	}
	if found.Order == nil || found.Order.ID != id {
		return order{}, connectors.Rejectedf(op, "", "asked for the order %s, Amazon answered with another, or none; it is not understood", id)
	}
	return *found.Order, nil
}

// toOrder translates an order, and says whether the seller ships it, in one of the marketplaces. A pending order is one: its
// units are gone from what the listing shows.
func (o order) toOrder(marketplaces []string) (connectors.Order, bool, error) {
	switch {
	case o.ID == "" || o.Created.IsZero() || o.Updated.IsZero():
		return connectors.Order{}, false, errors.New("an order lacks its id or its times")
	case o.Fulfillment == nil || o.Fulfillment.Status == "":
		return connectors.Order{}, false, fmt.Errorf("order %s lacks its fulfillment status", o.ID)
	case o.Fulfillment.FulfilledBy == "AMAZON", o.SalesChannel.MarketplaceID != "" && !slices.Contains(marketplaces, o.SalesChannel.MarketplaceID):
		return connectors.Order{}, false, nil
	}
	out := connectors.Order{OrderID: o.ID, PlacedAt: o.Created.UTC(), UpdatedAt: o.Updated.UTC(), Status: connectors.OrderOpen}
	var progress stock.Quantity
	anyShipped := false
	for _, i := range o.Items {
		l, err := i.toLine(o.Fulfillment.Status)
		if err != nil {
			return connectors.Order{}, false, fmt.Errorf("order %s: %w", o.ID, err)
		}
		progress += l.Shipped + l.Cancelled
		anyShipped = anyShipped || l.Shipped > 0
		out.Lines = append(out.Lines, l)
	}
	switch o.Fulfillment.Status {
	case "CANCELLED":
		if out.Status = connectors.OrderCancelledStatus; anyShipped {
			out.Status = connectors.OrderClosed
		}
	case "SHIPPED", "UNFULFILLABLE":
		out.Status = connectors.OrderClosed
	}
	if out.Status != connectors.OrderOpen {
		progress++
	}
	out.Version = version(o.Updated, progress)
	return out, true, nil
}

// version is the instant of the last change in milliseconds, and behind it how far the order has come: Amazon's examples
// have whole seconds, and of two states within one the later has come further.
func version(changed time.Time, progress stock.Quantity) int64 {
	return max(0, min(changed.UnixMilli(), math.MaxInt64/1000-1))*1000 + int64(min(progress, 999))
}

// toLine translates a line. Amazon does not say how many units of a line are cancelled: it is what is neither shipped nor to
// be shipped. Of an order that is pending nothing is to be shipped yet, so of one nothing is concluded.
func (i orderItem) toLine(status string) (connectors.ChannelLine, error) {
	if i.ID == "" || !amount(i.Ordered) {
		return connectors.ChannelLine{}, errors.New("a line lacks its id or a whole quantity")
	}
	l := connectors.ChannelLine{LineID: i.ID, Ref: connectors.Ref{Item: i.Product.SKU}, SKU: i.Product.SKU, Quantity: *i.Ordered}
	if l.Ref.Item == "" {
		if i.Product.ASIN == "" {
			return connectors.ChannelLine{}, fmt.Errorf("line %s has neither SKU nor ASIN", i.ID)
		}
		l.Ref.Item = "asin:" + i.Product.ASIN // the listing was deleted
	}
	if f := i.Fulfillment; f != nil {
		if f.Fulfilled != nil && !amount(f.Fulfilled) || f.Unfulfilled != nil && !amount(f.Unfulfilled) {
			return connectors.ChannelLine{}, fmt.Errorf("line %s has a quantity below 0", i.ID)
		}
		if f.Fulfilled != nil {
			l.Shipped = min(*f.Fulfilled, l.Quantity)
		}
		if f.Unfulfilled != nil && slices.Contains([]string{"UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED"}, status) {
			l.Cancelled = max(0, l.Quantity-l.Shipped-*f.Unfulfilled)
		}
	}
	if status == "CANCELLED" {
		l.Cancelled = l.Quantity - l.Shipped
	}
	return l, nil
}

// amount reports whether a quantity is there, and one that can be.
func amount(q *stock.Quantity) bool { return q != nil && *q >= 0 && *q <= math.MaxInt32 }
