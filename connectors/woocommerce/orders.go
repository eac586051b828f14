package woocommerce

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

const (
	orderPage = 50
	// orderOverlap is how far before since the orders are listed again. An order's time of change is taken by the shop
	// before it stores the order, in whole seconds, so an order can show up later than its time.
	orderOverlap = 30 * time.Second
	// orderRows is how many orders of one second are paged through before the list is given up.
	orderRows = 100_000
)

// The statuses of an order (src/Enums/OrderStatus.php). Plug-ins add statuses.
const (
	orderDraft      = "checkout-draft"
	orderPending    = "pending"
	orderFailed     = "failed"
	orderOnHold     = "on-hold"
	orderProcessing = "processing"
	orderCompleted  = "completed"
	orderCancelled  = "cancelled"
	orderRefunded   = "refunded"
	orderTrash      = "trash"
)

// orderRank tells how far a status is in the life of an order: of two changes within one second the one with the higher
// rank is the later.
var orderRank = map[string]int64{
	orderDraft: 0, orderPending: 1, orderFailed: 2, orderOnHold: 3, "": 4, orderProcessing: 5, orderCompleted: 6,
	orderCancelled: 7, orderRefunded: 8, orderTrash: 9,
}

// orderLists are the statuses that are listed, one list behind the other: any leaves out the trash
// (rest-api/Controllers/Version3/class-wc-rest-orders-controller.php, prepare_objects_query).
var orderLists = []string{"any", orderTrash}

// orderCursor is the place of a page: the orders of a list that changed at or after from, without the first skip of them.
// Since is where the lists begin, and watermark the one of the first page. Last is the last order of the page before.
type orderCursor struct {
	list      int
	since     time.Time
	from      time.Time
	skip      int
	last      int64
	watermark time.Time
}

func (c orderCursor) encode() connectors.Cursor {
	return connectors.Cursor(fmt.Sprintf("%d:%d:%d:%d:%d:%d", c.list, c.since.Unix(), c.from.Unix(), c.skip, c.last, c.watermark.UnixMilli()))
}

func parseOrderCursor(text connectors.Cursor) (orderCursor, error) {
	bad := fmt.Errorf("%q is not a cursor of the orders", string(text))
	parts := strings.Split(string(text), ":")
	if len(parts) != 6 {
		return orderCursor{}, bad
	}
	var numbers [6]int64
	for i, p := range parts {
		n, err := strconv.ParseInt(p, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/1_000_000 {
			return orderCursor{}, bad
		}
		numbers[i] = n
	}
	if numbers[0] >= int64(len(orderLists)) || numbers[3] > orderRows {
		return orderCursor{}, bad
	}
	return orderCursor{
		list:      int(numbers[0]),
		since:     time.Unix(numbers[1], 0).UTC(),
		from:      time.Unix(numbers[2], 0).UTC(),
		skip:      int(numbers[3]),
		last:      numbers[4],
		watermark: time.UnixMilli(numbers[5]).UTC(),
	}, nil
}

// Orders implements connectors.Marketplace. It lists the orders by the time of their last change; an order may come again,
// also from shortly before since.
func (s *shop) Orders(ctx context.Context, since time.Time, from connectors.Cursor) (connectors.OrderPage, error) {
	const op = "list the orders"
	var none connectors.OrderPage
	cursor, err := s.orderPlace(ctx, op, since, from)
	if err != nil {
		return none, err
	}
	var rows []order
	if err := s.read(ctx, op, "/orders", cursor.query(), &rows); err != nil {
		return none, err
	}
	if !slices.IsSortedFunc(rows, func(a, b order) int { return a.ModifiedAt.Compare(b.ModifiedAt.Time) }) {
		return none, s.client.Refusal(connectors.Rejected, op, "", "the shop does not list orders by their last change as it was asked: update WooCommerce, or take out the plug-in that changes the order of the REST API")
	}
	page := connectors.OrderPage{Watermark: cursor.watermark}
	if page.Orders, err = s.toOrders(ctx, op, rows); err != nil {
		return none, err
	}
	switch {
	case len(rows) >= orderPage:
		next, err := cursor.after(&rows[len(rows)-1])
		if err != nil {
			return none, s.client.Refusal(connectors.Rejected, op, "", err.Error())
		}
		page.Next = next.encode()
	case cursor.list+1 < len(orderLists):
		page.Next = orderCursor{list: cursor.list + 1, since: cursor.since, from: cursor.since, watermark: cursor.watermark}.encode()
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
	start = start.Truncate(time.Second)
	return orderCursor{since: start, from: start, watermark: time.Now().UTC().Truncate(time.Millisecond)}, nil
}

// query asks for a page. modified_after leaves out the instant itself.
func (c orderCursor) query() url.Values {
	q := url.Values{
		"status":        {orderLists[c.list]},
		"orderby":       {"modified"},
		"order":         {"asc"},
		"per_page":      {strconv.Itoa(orderPage)},
		"dates_are_gmt": {"true"},
		"_fields":       {orderFields},
	}
	if c.from.Unix() > 0 {
		q.Set("modified_after", c.from.Add(-time.Second).Format(instantLayout))
	}
	if c.skip > 0 {
		q.Set("offset", strconv.Itoa(c.skip))
	}
	return q
}

// after is the place of the page behind one whose last order is last. Orders that change between the pages move to the end
// of the list: so the next page is found by time, and only within one second by number, and then with half a page seen
// twice.
func (c orderCursor) after(last *order) (orderCursor, error) {
	switch at := last.ModifiedAt.Time; {
	case at.After(c.from):
		c.from, c.skip = at, 0
	case c.skip > 0 && last.ID == c.last, c.skip+orderPage/2 > orderRows:
		return c, errors.New("the list of orders does not go on: a cache in front of the shop takes no notice of the page, or a plug-in changes the order; except /wp-json/ from them")
	default:
		c.skip += orderPage / 2
	}
	c.last = last.ID
	return c, nil
}

// toOrders translates a page.
func (s *shop) toOrders(ctx context.Context, op string, rows []order) ([]connectors.Order, error) {
	if err := s.learnLines(ctx, op, rows); err != nil {
		return nil, err
	}
	var out []connectors.Order
	for i := range rows {
		if !rows[i].ours() {
			continue
		}
		o, err := s.toOrder(ctx, op, &rows[i])
		if err != nil {
			return nil, err
		}
		out = append(out, *o)
	}
	return out, nil
}

// learnLines finds out from where the variations take their stock that were sold.
func (s *shop) learnLines(ctx context.Context, op string, rows []order) error {
	unknown := map[int64][]int64{}
	for i := range rows {
		for _, l := range rows[i].Lines {
			if l.VariationID <= 0 || l.ProductID <= 0 || slices.Contains(unknown[l.ProductID], l.VariationID) {
				continue
			}
			if _, ok := s.known(l.VariationID); !ok {
				unknown[l.ProductID] = append(unknown[l.ProductID], l.VariationID)
			}
		}
	}
	found := map[int64]*product{}
	for parent, ids := range unknown {
		for part := range slices.Chunk(ids, batchSize) {
			if err := s.lookUpVariations(ctx, op, map[int64][]int64{parent: part}, found); err != nil {
				return err
			}
		}
	}
	for _, v := range found {
		s.learn(v)
	}
	return nil
}

// toOrder translates an order, with its refunds where it has any.
func (s *shop) toOrder(ctx context.Context, op string, o *order) (*connectors.Order, error) {
	refunds, err := s.refunds(ctx, op, o)
	if err != nil {
		return nil, err
	}
	out, err := o.translate(refunds, s.lineRef)
	if err != nil {
		return nil, s.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("order %d: %s", o.ID, err))
	}
	return out, nil
}

// lineRef is the listing that a line sells: the variation, its product where that holds the stock, or the product. A
// variation that is gone keeps its own name.
func (s *shop) lineRef(l *orderLine) connectors.Ref {
	id := l.ProductID
	if l.VariationID > 0 {
		id = l.VariationID
		if i, ok := s.known(id); ok && i.shared {
			id = l.ProductID
		}
	}
	return connectors.Ref{Item: strconv.FormatInt(id, 10)}
}

// refunds reads the refunds of an order: the order itself tells only what they paid back.
func (s *shop) refunds(ctx context.Context, op string, o *order) ([]refund, error) {
	if len(o.Refunds) == 0 || !o.takes() {
		return nil, nil
	}
	var all []refund
	for page := 1; ; page++ {
		var rows []refund
		query := url.Values{"per_page": {strconv.Itoa(batchSize)}, "page": {strconv.Itoa(page)}, "_fields": {refundFields}}
		if err := s.read(ctx, op, fmt.Sprintf("/orders/%d/refunds", o.ID), query, &rows); err != nil {
			return nil, err
		}
		all = append(all, rows...)
		if len(rows) < batchSize {
			return all, nil
		}
		if len(all) > 2*len(o.Refunds)+batchSize {
			return nil, s.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("the refunds of order %d do not end: except /wp-json/ from the cache in front of the shop", o.ID))
		}
	}
}

// reduced reports whether units of the order are off the stock.
func (o *order) reduced() bool {
	return slices.ContainsFunc(o.Lines, func(l orderLine) bool { return l.Meta.count(metaReduced) > 0 })
}

// ours reports whether an order is told at all. Every visit to the checkout leaves an order behind, which is pending, and
// failed or cancelled in the end, without ever having taken a unit. Those that are pending or failed, and those with a
// status of a plug-in's making, are left out unless something shows that they were more. Of a cancelled order nothing
// shows what it was before: it is told.
func (o *order) ours() bool {
	switch o.Status {
	case orderOnHold, orderProcessing, orderCompleted, orderRefunded, orderCancelled, orderTrash, "":
		return true
	default:
		return !o.PaidAt.IsZero() || !o.CompletedAt.IsZero() || o.reduced()
	}
}

// takes reports whether the shop holds units for the order, or sent them. Where the stock follows the status a moment
// later, the status alone decides; where the shop leaves the stock as it was, and where the status is a plug-in's, it is
// what happened to the stock.
func (o *order) takes() bool {
	switch o.Status {
	case orderOnHold, orderProcessing, orderCompleted, orderRefunded:
		return true
	case orderDraft, orderPending, orderCancelled:
		return !o.CompletedAt.IsZero() // it left before
	case orderFailed, orderTrash:
		return !o.CompletedAt.IsZero() || o.reduced()
	default:
		return !o.PaidAt.IsZero() || o.reduced()
	}
}

// translate tells an order as it stands.
//
//   - on-hold, processing: open. completed: closed, all shipped.
//   - cancelled, pending again, a draft again: cancelled, and without lines, because the shop took nothing for it or gave it
//     back. It may come to life again, and is told with its lines then; a running total of what was cancelled could not go back.
//   - refunded: cancelled, with lines, because the shop keeps off the stock what the refunds did not give back.
//   - failed, in the trash: cancelled, with lines where the shop keeps their units off the stock.
//   - after it was completed, whatever became of it: closed, and what was paid back is a return.
//
// What was refunded of a line before the order was completed is cancelled. What refunds gave back to the stock is restocked.
func (o *order) translate(refunds []refund, ref func(*orderLine) connectors.Ref) (*connectors.Order, error) {
	if o.ID <= 0 || o.Status == "" || o.ModifiedAt.IsZero() || o.CreatedAt.IsZero() {
		return nil, errors.New("the answer lacks its id, status or times")
	}
	out := &connectors.Order{
		OrderID: strconv.FormatInt(o.ID, 10), PlacedAt: o.CreatedAt.Time, UpdatedAt: o.ModifiedAt.Time, Status: o.status(),
	}
	rank, known := orderRank[o.Status]
	if !known {
		rank = orderRank[""]
	}
	progress := int64(0)
	if o.takes() {
		refunded, err := o.refundedBefore(refunds)
		if err != nil {
			return nil, err
		}
		if progress, err = o.lines(out, refunded, ref); err != nil {
			return nil, err
		}
		out.Buyer = o.buyer()
	}
	out.Version = max(0, o.ModifiedAt.Unix())*1_000_000 + rank*100_000 + min(progress, 99_999)
	return out, connectors.Fact{Kind: connectors.OrderUpserted, Order: out}.Validate()
}

func (o *order) status() connectors.OrderStatus {
	switch {
	case !o.CompletedAt.IsZero(), o.Status == orderCompleted:
		return connectors.OrderClosed
	case o.Status == orderRefunded, o.Status == orderFailed, o.Status == orderTrash, !o.takes():
		return connectors.OrderCancelledStatus
	default:
		return connectors.OrderOpen
	}
}

// lines adds the lines of an order, and returns how far they have come. Lines without a product are nothing of ours.
func (o *order) lines(out *connectors.Order, refunded map[int64]stock.Quantity, ref func(*orderLine) connectors.Ref) (progress int64, err error) {
	marked := o.marked()
	for i := range o.Lines {
		l := &o.Lines[i]
		quantity, err := l.Quantity.whole()
		switch {
		case l.ID <= 0:
			return 0, errors.New("the answer lacks the id of a line")
		case err != nil:
			return 0, fmt.Errorf("line %d: %w", l.ID, err)
		case quantity < 0:
			return 0, fmt.Errorf("line %d: the quantity %d is below 0", l.ID, quantity)
		case l.ProductID <= 0:
			continue
		}
		line := connectors.ChannelLine{
			LineID: strconv.FormatInt(l.ID, 10), Ref: ref(l), SKU: l.SKU, Quantity: quantity,
			Cancelled: min(quantity, refunded[l.ID]), Restocked: min(quantity, l.Meta.count(metaRestock)),
		}
		switch left := quantity - line.Cancelled; {
		case out.Status == connectors.OrderClosed:
			line.Shipped = left
		default:
			line.Shipped = min(left, marked[l.ID])
		}
		if o.Status == orderCancelled || o.Status == orderPending { // of what was sent before: the shop counts all of it again
			line.Restocked = quantity
		}
		progress += int64(quantity + 2*line.Cancelled + line.Shipped)
		out.Lines = append(out.Lines, line)
	}
	return progress, nil
}

// refundedBefore sums per line what was refunded before the order was completed, or within the same second.
func (o *order) refundedBefore(refunds []refund) (map[int64]stock.Quantity, error) {
	sums := map[int64]stock.Quantity{}
	for _, r := range refunds {
		if !o.CompletedAt.IsZero() && r.CreatedAt.After(o.CompletedAt.Time) {
			continue
		}
		for _, l := range r.Lines {
			of, ok := parseID(l.Meta.text(metaRefunded))
			if !ok {
				continue // the refund of an amount
			}
			quantity, err := l.Quantity.whole()
			if err != nil {
				return nil, fmt.Errorf("refund %d: %w", r.ID, err)
			}
			if quantity > 0 {
				return nil, fmt.Errorf("refund %d: the quantity %d is above 0", r.ID, quantity)
			}
			sums[of] = min(stock.MaxQuantity, sums[of]-quantity)
		}
	}
	return sums, nil
}

// buyer is the customer, or who gave the address of an order without one.
func (o *order) buyer() *connectors.Buyer {
	switch {
	case o.CustomerID > 0:
		return &connectors.Buyer{Ref: strconv.FormatInt(o.CustomerID, 10), Contact: o.Billing.Email}
	case o.Billing.Email != "":
		return &connectors.Buyer{Ref: o.Billing.Email, Contact: o.Billing.Email}
	default:
		return nil
	}
}
