package fake

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors/open"
)

// The bases of a warehouse's levels.
const (
	// OnHand: a level is what is there, sellable or not.
	OnHand = "on_hand"
	// Available: a level is what is there, sellable and allocated to no order.
	Available = "available"
)

// WarehouseConfig describes a warehouse.
type WarehouseConfig struct {
	// Capabilities are what the warehouse tells of itself, and how it behaves. Empty fields mean: name "warehouse",
	// levels on hand.
	Capabilities open.RecordCapabilities
	// Locations are where stock is counted, in the order in which orders are filled; none means one called "main".
	Locations []open.Location
	// Token is what clients must bear; empty means "token".
	Token string
	// Seed decides every fault and identifier.
	Seed   uint64
	Faults Faults
	// PageSize is the most rows of a page; zero means 500.
	PageSize int
	// ShipDelay is how long after its creation ShipAll leaves an order alone.
	ShipDelay time.Duration
	// TellsLevels sends a stock.level for every level that changes, beside the event of what changed it.
	TellsLevels bool
}

// Warehouse is a pretend system of record. All its methods are safe for concurrent use.
//
// Whatever its basis, it allocates stock to orders first come, first served, fills up waiting orders when goods come
// in, and ships only what is allocated. Goods returned unsellable count as on hand, never as available.
type Warehouse struct {
	*base
	caps        open.RecordCapabilities
	locations   []open.Location
	pageSize    int
	shipDelay   time.Duration
	tellsLevels bool

	items     map[string]open.Item
	skus      []string // sorted while skusReady
	skusReady bool
	shelves   map[shelfKey]*shelf
	sorted    []*shelf // by SKU and location while sortReady; replaced, never changed, when shelves come
	sortReady bool

	// facts is the log behind /movements: the fact of position n is at n-1.
	facts     []jsontext.Value
	snapshots []snapshot
	snapshotN int

	orders   map[string]*salesOrder
	created  []*salesOrder // in the order of their creation
	unsent   []*salesOrder // with something left to ship, or not yet swept
	waiting  map[string][]*salesOrder
	nextShip int
	nextBack int
	received map[string]int64
	shipped  map[string]int64

	corrections map[string]bookedCorrection
}

type shelfKey struct{ sku, location string }

// shelf is a SKU at a location.
type shelf struct {
	shelfKey
	sellable, allocated, unsellable int64
}

func (s *shelf) level(basis string) int64 {
	if basis == Available {
		return s.sellable - s.allocated
	}
	return s.sellable + s.unsellable
}

// salesOrder is an order at the warehouse. content is what it was created with, to recognise a repeat.
type salesOrder struct {
	key, number, channel, orderID string
	content                       []byte
	createdAt                     time.Time
	amended                       int64
	lines                         []*salesLine
}

type salesLine struct {
	id, sku                                string
	quantity, cancelled, rejected, shipped int64
	// returned is what came back of the line and can be sold again.
	returned int64
	held     []holding
}

// holding is what is allocated to a line at one location, and what was shipped to it from there.
type holding struct {
	location          string
	quantity, shipped int64
}

func (l *salesLine) allocated() int64 {
	var n int64
	for _, h := range l.held {
		n += h.quantity
	}
	return n
}

func (l *salesLine) toShip() int64 { return l.quantity - l.cancelled - l.rejected - l.shipped }

func (o *salesOrder) toShip() int64 {
	var n int64
	for _, l := range o.lines {
		n += l.toShip()
	}
	return n
}

// NewWarehouse makes a warehouse without items.
func NewWarehouse(c WarehouseConfig) *Warehouse {
	caps := c.Capabilities
	caps.Name = cmp.Or(caps.Name, "warehouse")
	caps.Levels = cmp.Or(caps.Levels, OnHand)
	w := &Warehouse{
		base:        newBase(caps.Name, cmp.Or(c.Token, "token"), c.Seed, c.Faults),
		caps:        caps,
		locations:   slices.Clone(c.Locations),
		pageSize:    cmp.Or(c.PageSize, defaultPageSize),
		shipDelay:   c.ShipDelay,
		tellsLevels: c.TellsLevels,
		items:       map[string]open.Item{},
		shelves:     map[shelfKey]*shelf{},
		orders:      map[string]*salesOrder{},
		waiting:     map[string][]*salesOrder{},
		received:    map[string]int64{},
		shipped:     map[string]int64{},
		corrections: map[string]bookedCorrection{},
	}
	if len(w.locations) == 0 {
		w.locations = []open.Location{{ID: "main", Name: "Main"}}
	}
	w.routes()
	return w
}

// AddItem makes an article known. It has a level of 0 at every location.
func (w *Warehouse) AddItem(item open.Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.items[item.SKU]; ok {
		w.items[item.SKU] = item
		return
	}
	w.items[item.SKU] = item
	w.skus, w.skusReady = append(w.skus, item.SKU), false
	for _, l := range w.locations {
		key := shelfKey{item.SKU, l.ID}
		w.shelves[key] = &shelf{shelfKey: key}
	}
	w.sortReady = false
}

// SetOpening sets the stock that is there before anything happens: it tells nothing and takes no position.
func (w *Warehouse) SetOpening(sku, location string, quantity int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.shelf(sku, location)
	if err != nil {
		return err
	}
	s.sellable = quantity
	return nil
}

func (w *Warehouse) shelf(sku, location string) (*shelf, error) {
	if s := w.shelves[shelfKey{sku, location}]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("warehouse %s has no SKU %q at location %q", w.name, sku, location)
}

// Receive books goods in, and fills up the orders that wait for them.
func (w *Warehouse) Receive(sku, location string, quantity int64) error {
	if quantity < 1 {
		return fmt.Errorf("receive %d of %s: the quantity must be above 0", quantity, sku)
	}
	return w.change(sku, location, func(s *shelf, now time.Time) {
		w.received[sku] += quantity
		w.move(s, quantity, "receipt", now)
	})
}

// Adjust corrects what is there by a signed number of units.
func (w *Warehouse) Adjust(sku, location string, delta int64) error {
	return w.change(sku, location, func(s *shelf, now time.Time) { w.move(s, delta, "adjustment", now) })
}

// Damage writes broken units off.
func (w *Warehouse) Damage(sku, location string, quantity int64) error {
	return w.change(sku, location, func(s *shelf, now time.Time) { w.move(s, -quantity, "damage", now) })
}

// Transfer moves units from one location to another: two legs.
func (w *Warehouse) Transfer(sku, from, to string, quantity int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	source, err := w.shelf(sku, from)
	if err != nil {
		return err
	}
	target, err := w.shelf(sku, to)
	if err != nil {
		return err
	}
	now := w.stamp()
	w.move(source, -quantity, "transfer", now)
	w.move(target, quantity, "transfer", now)
	return nil
}

// Count sets what is there, sellable, to what people counted, and states the level that follows: a stock.level, not a
// movement.
func (w *Warehouse) Count(sku, location string, quantity int64) error {
	return w.change(sku, location, func(s *shelf, now time.Time) {
		s.sellable = quantity
		w.keepAllocationsFilled(s, now, func() {
			level := w.levelOf(s)
			level.Position, level.AsOf = w.position(), &now
			w.fact("stock.level", now, level)
		})
	})
}

// ReturnGoods takes goods back that a customer sent. The order key may be empty.
func (w *Warehouse) ReturnGoods(orderKey, sku, location string, quantity int64, sellable bool) error {
	return w.change(sku, location, func(s *shelf, now time.Time) {
		if sellable {
			s.sellable += quantity
			w.noteReturned(orderKey, sku, quantity)
		} else {
			s.unsellable += quantity
		}
		w.nextBack++
		w.keepAllocationsFilled(s, now, func() {
			w.fact("return.received", now, open.Return{
				ReturnID: fmt.Sprintf("RT-%06d", w.nextBack), OrderKey: orderKey,
				Lines:    []open.ReturnLine{{SKU: sku, Quantity: &quantity, Location: location, Sellable: &sellable}},
				Position: w.position(), OccurredAt: &now,
			})
		})
	})
}

// noteReturned counts what came back on the first line of the order that is of the SKU.
func (w *Warehouse) noteReturned(orderKey, sku string, quantity int64) {
	if o := w.orders[orderKey]; o != nil {
		for _, l := range o.lines {
			if l.sku == sku {
				l.returned += quantity
				return
			}
		}
	}
}

func (w *Warehouse) change(sku, location string, do func(*shelf, time.Time)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.shelf(sku, location)
	if err != nil {
		return err
	}
	do(s, w.stamp())
	return nil
}

// move changes the sellable units, tells it, and puts the allocations right.
func (w *Warehouse) move(s *shelf, delta int64, reason string, now time.Time) {
	s.sellable += delta
	w.keepAllocationsFilled(s, now, func() {
		w.fact("stock.moved", now, open.Moved{
			SKU: s.sku, Location: s.location, Delta: &delta, Reason: reason, Position: w.position(), OccurredAt: &now,
		})
	})
}

// keepAllocationsFilled tells a change of a shelf, then takes allocations back that the shelf cannot bear any more,
// the newest order first, or gives waiting orders what is now free.
func (w *Warehouse) keepAllocationsFilled(s *shelf, now time.Time, tell func()) {
	tell()
	for i := len(w.created) - 1; i >= 0 && s.allocated > s.sellable && s.allocated > 0; i-- {
		w.takeBack(w.created[i], s, now)
	}
	w.fillWaiting(s.sku, now)
	w.tellLevel(s, now)
}

func (w *Warehouse) takeBack(o *salesOrder, s *shelf, now time.Time) {
	var lines []open.AllocationLine
	for _, l := range o.lines {
		if l.sku != s.sku {
			continue
		}
		for i := range l.held {
			h := &l.held[i]
			n := min(h.quantity, s.allocated-max(s.sellable, 0))
			if h.location != s.location || n <= 0 {
				continue
			}
			h.quantity -= n
			s.allocated -= n
			lines = append(lines, open.AllocationLine{LineID: l.id, Quantity: &n, Location: s.location})
			w.wait(l.sku, o)
		}
	}
	w.tellAllocation("order.deallocated", o, lines, now)
}

func (w *Warehouse) wait(sku string, o *salesOrder) {
	if !slices.Contains(w.waiting[sku], o) {
		w.waiting[sku] = append(w.waiting[sku], o)
	}
}

// fillWaiting allocates to the orders that wait for the SKU, the oldest first.
func (w *Warehouse) fillWaiting(sku string, now time.Time) {
	queue := w.waiting[sku]
	if len(queue) == 0 {
		return
	}
	delete(w.waiting, sku)
	for _, o := range queue {
		w.allocate(o, now)
	}
}

// allocate gives an order what is free of what it still needs, location by location, and lets it wait for the rest.
func (w *Warehouse) allocate(o *salesOrder, now time.Time) {
	var lines []open.AllocationLine
	var touched []*shelf
	for _, l := range o.lines {
		for _, place := range w.locations {
			s := w.shelves[shelfKey{l.sku, place.ID}]
			n := min(l.toShip()-l.allocated(), s.sellable-s.allocated)
			if n <= 0 {
				continue
			}
			s.allocated += n
			l.hold(place.ID, n)
			lines = append(lines, open.AllocationLine{LineID: l.id, Quantity: &n, Location: place.ID})
			touched = append(touched, s)
		}
		if l.allocated() < l.toShip() {
			w.wait(l.sku, o)
		}
	}
	w.tellAllocation("order.allocated", o, lines, now)
	w.tellAvailable(touched, now)
}

func (l *salesLine) hold(location string, n int64) {
	for i := range l.held {
		if l.held[i].location == location {
			l.held[i].quantity += n
			return
		}
	}
	l.held = append(l.held, holding{location: location, quantity: n})
}

// release takes allocations of an order back where it needs less than it holds, the last location first, and gives
// what is free to orders that wait.
func (w *Warehouse) release(o *salesOrder, now time.Time) {
	var lines []open.AllocationLine
	var touched []*shelf
	for _, l := range o.lines {
		for i := len(l.held) - 1; i >= 0; i-- {
			h := &l.held[i]
			n := min(l.allocated()-l.toShip(), h.quantity)
			if n <= 0 {
				continue
			}
			s := w.shelves[shelfKey{l.sku, h.location}]
			h.quantity -= n
			s.allocated -= n
			lines = append(lines, open.AllocationLine{LineID: l.id, Quantity: &n, Location: h.location})
			touched = append(touched, s)
		}
	}
	w.tellAllocation("order.deallocated", o, lines, now)
	for _, s := range touched {
		w.fillWaiting(s.sku, now)
	}
	w.tellAvailable(touched, now)
}

// tellAllocation tells allocations where they change the levels. Where levels mean on hand, they are nobody's
// business, and take no position.
func (w *Warehouse) tellAllocation(typ string, o *salesOrder, lines []open.AllocationLine, now time.Time) {
	if len(lines) == 0 || w.caps.Levels != Available {
		return
	}
	w.fact(typ, now, open.Allocation{OrderKey: o.key, Lines: lines, Position: w.position(), OccurredAt: &now})
}

func (w *Warehouse) tellAvailable(touched []*shelf, now time.Time) {
	if w.caps.Levels != Available {
		return
	}
	for _, s := range touched {
		w.tellLevel(s, now)
	}
}

func (w *Warehouse) tellLevel(s *shelf, now time.Time) {
	if !w.tellsLevels {
		return
	}
	level := w.levelOf(s)
	level.AsOf = &now
	if w.caps.Positions {
		held := int64(len(w.facts))
		level.Position = &held
	}
	w.emit("stock.level", now, level)
}

func (w *Warehouse) levelOf(s *shelf) open.Level {
	quantity := s.level(w.caps.Levels)
	return open.Level{SKU: s.sku, Location: s.location, Quantity: &quantity}
}

// position is that of the fact that is about to be told; nil where the warehouse knows no positions.
func (w *Warehouse) position() *int64 {
	if !w.caps.Positions {
		return nil
	}
	next := int64(len(w.facts)) + 1
	return &next
}

// fact tells one fact and, where there are positions, puts it in the log that /movements lists: the data with its type
// beside it.
func (w *Warehouse) fact(typ string, now time.Time, data any) {
	if w.caps.Positions {
		raw, err := json.Marshal(data)
		if err != nil {
			return // the wire types always marshal
		}
		flat := append([]byte(`{"type":"`+typ+`",`), raw[1:]...)
		w.facts = append(w.facts, flat)
	}
	w.emit(typ, now, data)
}

// ShippedLine is what Ship is to send of a line.
type ShippedLine struct {
	LineID   string
	Quantity int64
}

// Ship sends what is allocated to an order, whatever its age: all of it, or at most what the lines say. It returns
// the shipment's id, and false where nothing was sent.
func (w *Warehouse) Ship(orderKey string, only ...ShippedLine) (shipmentID string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.orders[orderKey]
	if o == nil {
		return "", false
	}
	return w.ship(o, only, w.stamp())
}

// ShipAll sends what is allocated to every order that is at least ShipDelay old, and returns the number of shipments.
func (w *Warehouse) ShipAll() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, sent := w.stamp(), 0
	left := w.unsent[:0]
	for _, o := range w.unsent {
		if now.Sub(o.createdAt) >= w.shipDelay {
			if _, ok := w.ship(o, nil, now); ok {
				sent++
			}
		}
		if o.toShip() > 0 {
			left = append(left, o)
		}
	}
	clear(w.unsent[len(left):])
	w.unsent = left
	return sent
}

func (w *Warehouse) ship(o *salesOrder, only []ShippedLine, now time.Time) (string, bool) {
	var lines []open.ShipmentLine
	var touched []*shelf
	for _, l := range o.lines {
		most := l.allocated()
		if only != nil {
			most = 0
			for _, want := range only {
				if want.LineID == l.id {
					most += want.Quantity
				}
			}
		}
		for i := range l.held {
			h := &l.held[i]
			n := min(most, h.quantity)
			if n <= 0 {
				continue
			}
			s := w.shelves[shelfKey{l.sku, h.location}]
			h.quantity -= n
			h.shipped += n
			most -= n
			l.shipped += n
			s.allocated -= n
			s.sellable -= n
			w.shipped[l.sku] += n
			lines = append(lines, open.ShipmentLine{LineID: l.id, SKU: l.sku, Quantity: &n, Location: h.location})
			touched = append(touched, s)
		}
	}
	if len(lines) == 0 {
		return "", false
	}
	w.nextShip++
	id := fmt.Sprintf("SH-%06d", w.nextShip)
	w.fact("shipment.shipped", now, open.Shipment{
		ShipmentID: id, OrderKey: o.key, Lines: lines, Carrier: "pretend", Tracking: "TR" + id, Position: w.position(), OccurredAt: &now,
	})
	if w.caps.Levels == OnHand {
		for _, s := range touched {
			w.tellLevel(s, now)
		}
	}
	return id, true
}

// Reject is the warehouse deciding by itself that it will not deliver what is left of an order. What was allocated is
// given back first.
func (w *Warehouse) Reject(orderKey string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.orders[orderKey]
	if o == nil || o.toShip() == 0 {
		return false
	}
	w.reject(o, w.stamp())
	return true
}

func (w *Warehouse) reject(o *salesOrder, now time.Time) {
	var lines []open.AllocationLine
	for _, l := range o.lines {
		n := l.toShip()
		if n == 0 {
			continue
		}
		l.rejected += n
		location := w.locations[0].ID
		if len(l.held) > 0 {
			location = l.held[0].location
		}
		lines = append(lines, open.AllocationLine{LineID: l.id, Quantity: &n, Location: location})
	}
	w.release(o, now)
	w.fact("order.rejected", now, open.Allocation{OrderKey: o.key, Lines: lines, Position: w.position(), OccurredAt: &now})
}

// OnHandOf is what is there of a SKU at a location, sellable or not.
func (w *Warehouse) OnHandOf(sku, location string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.shelves[shelfKey{sku, location}]; s != nil {
		return s.sellable + s.unsellable
	}
	return 0
}

// Stock is what a warehouse has, and had, of a SKU over all locations.
type Stock struct {
	// Sellable and Unsellable are there; Allocated, of the sellable, is promised to orders.
	Sellable, Unsellable, Allocated int64
	// Received and Shipped are totals since the beginning, without the opening stock.
	Received, Shipped int64
}

// Supply is every unit that there ever was to sell: what is there, and what was shipped. Units that were shipped,
// returned and can be sold again count twice, as they can be sold twice.
func (s Stock) Supply() int64 { return s.Sellable + s.Shipped }

// StockOf sums up a SKU.
func (w *Warehouse) StockOf(sku string) Stock {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stockOf(sku)
}

func (w *Warehouse) stockOf(sku string) Stock {
	sum := Stock{Received: w.received[sku], Shipped: w.shipped[sku]}
	for _, place := range w.locations {
		if s := w.shelves[shelfKey{sku, place.ID}]; s != nil {
			sum.Sellable += s.sellable
			sum.Unsellable += s.unsellable
			sum.Allocated += s.allocated
		}
	}
	return sum
}

// Levels returns every level as the basis has it, by SKU and location.
func (w *Warehouse) Levels() []open.Level {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]open.Level, 0, len(w.shelves))
	for _, s := range w.inOrder() {
		all = append(all, w.levelOf(s))
	}
	return all
}

func (w *Warehouse) inOrder() []*shelf {
	if !w.sortReady {
		w.sorted = make([]*shelf, 0, len(w.shelves))
		for _, s := range w.shelves {
			w.sorted = append(w.sorted, s)
		}
		slices.SortFunc(w.sorted, func(a, b *shelf) int {
			return cmp.Or(strings.Compare(a.sku, b.sku), strings.Compare(a.location, b.location))
		})
		w.sortReady = true
	}
	return w.sorted
}

// RecordedOrder is an order as the warehouse has it. Quantities are running totals.
type RecordedOrder struct {
	Key, Number, Channel, OrderID string
	CreatedAt                     time.Time
	Lines                         []RecordedLine
}

// RecordedLine is a line of a RecordedOrder.
type RecordedLine struct {
	LineID, SKU                                       string
	Quantity, Cancelled, Rejected, Allocated, Shipped int64
}

// Orders returns every order, in the order of creation.
func (w *Warehouse) Orders() []RecordedOrder {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]RecordedOrder, 0, len(w.created))
	for _, o := range w.created {
		out := RecordedOrder{Key: o.key, Number: o.number, Channel: o.channel, OrderID: o.orderID, CreatedAt: o.createdAt}
		for _, l := range o.lines {
			out.Lines = append(out.Lines, RecordedLine{
				LineID: l.id, SKU: l.sku, Quantity: l.quantity, Cancelled: l.cancelled, Rejected: l.rejected,
				Allocated: l.allocated(), Shipped: l.shipped,
			})
		}
		all = append(all, out)
	}
	return all
}
