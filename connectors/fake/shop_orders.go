package fake

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors/open"
)

// The statuses of an order.
const (
	orderOpen      = "open"
	orderCancelled = "cancelled"
	orderClosed    = "closed"
)

// BuyLine is what a buyer asks for. An empty place takes the listing without a place.
type BuyLine struct {
	Item, Place string
	Quantity    int64
}

// order is an order with running totals; version and change grow with every change of it.
type order struct {
	id                string
	version           int64
	change            int64
	placedAt, changed time.Time
	buyer             string
	lines             []orderLine
}

type orderLine struct {
	id                                      string
	ref                                     open.Ref
	sku                                     string
	quantity, cancelled, shipped, restocked int64
}

func (l orderLine) openUnits() int64 { return l.quantity - l.cancelled - l.shipped }

// change is an entry of the log by which orders are listed: the order stood at the instant of this change, unless a
// newer one of it follows.
type change struct {
	number int64
	at     time.Time
	order  *order
}

// Buy orders some of an item. It is refused when the shop cannot sell that many.
func (s *Shop) Buy(item string, quantity int64) (orderID string, ok bool) {
	return s.Order(BuyLine{Item: item, Quantity: quantity})
}

// Order orders several lines, all or none. Their line ids are "1", "2" and so on.
func (s *Shop) Order(lines ...BuyLine) (orderID string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work()
	if !s.canSell(lines) {
		return "", false
	}
	now := s.stamp()
	o := &order{id: fmt.Sprintf("%s-%d", s.name, s.nextSale), placedAt: now, buyer: fmt.Sprintf("buyer-%d", s.nextSale)}
	s.nextSale++
	for i, want := range lines {
		l := s.listings[open.Ref{Item: want.Item, Place: want.Place}]
		o.lines = append(o.lines, orderLine{id: strconv.Itoa(i + 1), ref: open.Ref{Item: want.Item, Place: want.Place}, sku: l.SKU, quantity: want.Quantity})
	}
	s.orders[o.id] = o
	s.placed = append(s.placed, o)
	s.touch(o, now)
	for _, want := range lines {
		s.take(open.Ref{Item: want.Item, Place: want.Place}, want.Quantity, now)
	}
	return o.id, true
}

func (s *Shop) canSell(lines []BuyLine) bool {
	wanted := make(map[*listing]int64, len(lines))
	for _, want := range lines {
		l := s.listings[open.Ref{Item: want.Item, Place: want.Place}]
		if l == nil || l.Status != active || want.Quantity < 1 {
			return false
		}
		wanted[l] += want.Quantity
		if !l.Unlimited && wanted[l] > s.sellable(l) {
			return false
		}
	}
	return len(lines) > 0
}

// take books units of a sale: out of what is shown, or as open units where the shown quantity contains those. A
// negative quantity gives units back.
func (s *Shop) take(ref open.Ref, quantity int64, now time.Time) {
	l := s.listings[ref]
	switch {
	case l == nil:
	case s.containsOpen():
		l.open += quantity
	case !l.Unlimited:
		s.show(l, l.shows-quantity, now, "")
	}
}

// Cancel cancels what is not shipped of an order. It is false where nothing is left to cancel.
func (s *Shop) Cancel(orderID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.orders[orderID]
	if o == nil || o.openUnits() == 0 {
		return false
	}
	now := s.stamp()
	units := make([]int64, len(o.lines))
	for i := range o.lines {
		units[i] = o.lines[i].openUnits()
	}
	s.cancel(o, units, now)
	return true
}

// PartialCancel cancels units of one line. It is false where fewer than that are left to cancel.
func (s *Shop) PartialCancel(orderID, lineID string, quantity int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.orders[orderID]
	i := o.line(lineID)
	if i < 0 || quantity < 1 || quantity > o.lines[i].openUnits() {
		return false
	}
	units := make([]int64, len(o.lines))
	units[i] = quantity
	s.cancel(o, units, s.stamp())
	return true
}

func (s *Shop) cancel(o *order, units []int64, now time.Time) {
	s.work()
	for i, n := range units {
		o.lines[i].cancelled += n
		if s.restocks {
			o.lines[i].restocked += n
		}
	}
	s.touch(o, now)
	for i, n := range units {
		s.giveBack(o.lines[i].ref, n, now)
	}
}

// giveBack frees units that an order no longer needs. Where the shown quantity is what is available, the shop puts
// them back on show only if it restocks by itself.
func (s *Shop) giveBack(ref open.Ref, n int64, now time.Time) {
	if n != 0 && (s.containsOpen() || s.restocks) {
		s.take(ref, -n, now)
	}
}

// Edit changes the ordered quantity of a line. It is false where the shop cannot sell that many more, or where the
// line would fall below what is shipped and cancelled.
func (s *Shop) Edit(orderID, lineID string, quantity int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work()
	o := s.orders[orderID]
	i := o.line(lineID)
	if i < 0 || quantity < o.lines[i].cancelled+o.lines[i].shipped {
		return false
	}
	line := &o.lines[i]
	more := quantity - line.quantity
	if more > 0 && !s.canSell([]BuyLine{{Item: line.ref.Item, Place: line.ref.Place, Quantity: more}}) {
		return false
	}
	now := s.stamp()
	line.quantity = quantity
	s.touch(o, now)
	if more > 0 {
		s.take(line.ref, more, now)
	} else {
		s.giveBack(line.ref, -more, now)
	}
	return true
}

// MarkShipped is a person, or the shop's own fulfilment, who marks all that is left of an order as shipped.
func (s *Shop) MarkShipped(orderID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.orders[orderID]
	if o == nil || o.openUnits() == 0 {
		return false
	}
	units := make([]int64, len(o.lines))
	for i := range o.lines {
		units[i] = o.lines[i].openUnits()
	}
	s.ship(o, units, s.stamp())
	return true
}

// ship marks units as shipped. Where the shown quantity contains them, they leave it together with the open units, so
// that what can be bought stays.
func (s *Shop) ship(o *order, units []int64, now time.Time) {
	for i, n := range units {
		o.lines[i].shipped += n
	}
	s.touch(o, now)
	for i, n := range units {
		l := s.listings[o.lines[i].ref]
		if l == nil || n == 0 || !s.containsOpen() {
			continue
		}
		l.open -= n
		s.show(l, l.shows-n, now, "")
	}
}

// touch makes a new version of an order and tells it.
func (s *Shop) touch(o *order, now time.Time) {
	o.version++
	s.changed++
	o.change, o.changed = s.changed, now.Truncate(precision)
	s.changes = append(s.changes, change{number: o.change, at: o.changed, order: o})
	if len(s.changes) > 2*len(s.orders)+1024 {
		s.changes = slices.DeleteFunc(s.changes, change.superseded)
	}
	if o.status() == orderCancelled {
		version := o.version
		s.emit("order.cancelled", now, open.Order{OrderID: o.id, Version: &version, PlacedAt: o.placedAt})
		return
	}
	if s.mail.wants("order.upserted") {
		s.emit("order.upserted", now, o.wire())
	}
}

func (c change) superseded() bool { return c.order.change != c.number }

// line finds a line by its id; -1 where there is none.
func (o *order) line(id string) int {
	if o == nil {
		return -1
	}
	return slices.IndexFunc(o.lines, func(l orderLine) bool { return l.id == id })
}

// take adds units of a line to those taken so far, by the places of the lines; a problem of the code and text given where
// that is more than is open.
func (o *order) take(taken []int64, id string, units int64, code, text string) *open.Problem {
	i := o.line(id)
	if i < 0 || units < 1 {
		return problem(http.StatusUnprocessableEntity, "bad_line", "order %s has no line %q, or %d is no quantity", o.id, id, units)
	}
	if taken[i] += units; taken[i] > o.lines[i].openUnits() {
		return problem(http.StatusUnprocessableEntity, code, text, id, o.id, o.lines[i].openUnits(), taken[i])
	}
	return nil
}

func (o *order) openUnits() int64 {
	var n int64
	for _, l := range o.lines {
		n += l.openUnits()
	}
	return n
}

func (o *order) status() string {
	var shipped int64
	for _, l := range o.lines {
		shipped += l.shipped
	}
	switch {
	case o.openUnits() > 0:
		return orderOpen
	case shipped > 0:
		return orderClosed
	default:
		return orderCancelled
	}
}

func (o *order) wire() open.Order {
	version := o.version
	out := open.Order{
		OrderID: o.id, Version: &version, PlacedAt: o.placedAt, UpdatedAt: o.changed, Status: o.status(),
		Buyer: &open.Buyer{Ref: o.buyer}, Lines: make([]open.OrderLine, 0, len(o.lines)),
	}
	for _, l := range o.lines {
		out.Lines = append(out.Lines, open.OrderLine{
			LineID: l.id, Item: l.ref.Item, Place: l.ref.Place, SKU: l.sku,
			Quantity: &l.quantity, Cancelled: &l.cancelled, Shipped: &l.shipped, Restocked: &l.restocked,
		})
	}
	return out
}

// Orders returns every order as it stands, in the order of placing.
func (s *Shop) Orders() []open.Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]open.Order, 0, len(s.placed))
	for _, o := range s.placed {
		all = append(all, o.wire())
	}
	return all
}

// serveOrders lists orders by their newest change. A cursor is the number of the last change that was given and the
// watermark of the first page. An order that changes meanwhile is listed again further on, so none is missed.
func (s *Shop) serveOrders(r *http.Request, _ []byte, _ Fault) (any, *open.Problem) {
	limit, p := pageOf(r, s.pageSize)
	if p != nil {
		return nil, p
	}
	from, watermark, p := s.ordersFrom(r)
	if p != nil {
		return nil, p
	}
	page := open.OrdersPage{Orders: []open.Order{}, Watermark: watermark}
	var last int64
	for _, c := range s.changes[from:] {
		if c.superseded() {
			continue
		}
		if len(page.Orders) == limit {
			next := fmt.Sprintf("%d.%d", last, watermark.UnixMilli())
			page.Next = &next
			break
		}
		page.Orders = append(page.Orders, c.order.wire())
		last = c.number
	}
	return page, nil
}

// ordersFrom finds where in the log a page begins.
func (s *Shop) ordersFrom(r *http.Request) (from int, watermark time.Time, p *open.Problem) {
	query := r.URL.Query()
	if text := query.Get("cursor"); text != "" {
		number, ms, ok := parseOrdersCursor(text)
		if !ok {
			return 0, time.Time{}, badCursor(text)
		}
		from = sort.Search(len(s.changes), func(i int) bool { return s.changes[i].number > number })
		return from, time.UnixMilli(ms).UTC(), nil
	}
	if text := query.Get("updated_since"); text != "" {
		since, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return 0, time.Time{}, problem(http.StatusBadRequest, "bad_instant", "updated_since %q is not an instant of RFC 3339", text)
		}
		since = since.Truncate(precision)
		from = sort.Search(len(s.changes), func(i int) bool { return !s.changes[i].at.Before(since) })
	}
	return from, s.watermark(), nil
}

func parseOrdersCursor(text string) (number, ms int64, ok bool) {
	a, b, _ := strings.Cut(text, ".")
	number, errA := strconv.ParseInt(a, 10, 64)
	ms, errB := strconv.ParseInt(b, 10, 64)
	return number, ms, errA == nil && errB == nil
}

// Remedies returns the remedies that the shop was told of, the oldest first.
func (s *Shop) Remedies() []open.Remedy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.remedies)
}

// serveRemedy takes note of a remedy; a refund cancels the units that it is about.
func (s *Shop) serveRemedy(_ *http.Request, body []byte, _ Fault) (any, *open.Problem) {
	n, p := decode[open.Remedy](body)
	if p != nil {
		return nil, p
	}
	if n.Key == "" || len(n.Lines) == 0 {
		return nil, problem(http.StatusBadRequest, "bad_remedy", "key and lines are needed")
	}
	if slices.ContainsFunc(s.remedies, func(r open.Remedy) bool { return r.Key == n.Key }) {
		return open.Status{Status: "ok"}, nil
	}
	o := s.orders[n.OrderID]
	if o == nil {
		return nil, problem(http.StatusNotFound, "unknown_order", "no order is called %q", n.OrderID)
	}
	units := make([]int64, len(o.lines))
	for _, l := range n.Lines {
		if p := o.take(units, l.LineID, l.Quantity, "nothing_open", "line %s of order %s has %d units that are neither cancelled nor shipped, not %d"); p != nil {
			return nil, p
		}
	}
	switch n.Kind {
	case "refund":
		s.cancel(o, units, s.stamp())
	case "substitute", "restock":
	default:
		return nil, problem(http.StatusUnprocessableEntity, "unknown_kind", "%q is not refund, substitute or restock", n.Kind)
	}
	s.remedies = append(s.remedies, n)
	return open.Status{Status: "ok"}, nil
}

func (s *Shop) serveShipment(_ *http.Request, body []byte, _ Fault) (any, *open.Problem) {
	n, p := decode[open.ShipmentNotice](body)
	if p != nil {
		return nil, p
	}
	if n.Key == "" || len(n.Lines) == 0 {
		return nil, problem(http.StatusBadRequest, "bad_shipment", "key and lines are needed")
	}
	if s.shipped[n.Key] {
		return open.Status{Status: "ok"}, nil
	}
	o := s.orders[n.OrderID]
	if o == nil {
		return nil, problem(http.StatusNotFound, "unknown_order", "no order is called %q", n.OrderID)
	}
	units := make([]int64, len(o.lines))
	for _, l := range n.Lines {
		if p := o.take(units, l.LineID, l.Quantity, "over_shipped", "line %s of order %s has %d units left to ship, not %d"); p != nil {
			return nil, p
		}
	}
	s.shipped[n.Key] = true
	s.ship(o, units, s.stamp())
	return open.Status{Status: "ok"}, nil
}
