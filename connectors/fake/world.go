package fake

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Sale names a listing of one of the shops of a World, by the ID that the shop had when the world was made.
type Sale struct{ Shop, Item, Place string }

// Component is a part of what a listing sells: so many units of a SKU in each pack.
type Component struct {
	SKU   string
	Units int64
}

// WorldConfig describes the traffic of a World. A rate of 0 means that this does not happen.
type WorldConfig struct {
	// Seed decides who buys what, and when.
	Seed uint64
	// Shops need IDs that differ.
	Shops     []*Shop
	Warehouse *Warehouse
	// Components tell what each listing sells. Only listings that stand here are bought.
	Components map[Sale][]Component
	// The rates are means; the times between are random.
	OrdersPerSecond, CancelsPerSecond, ReceiptsPerSecond float64
	// MaxPacks is the most that a line orders, MaxReceipt the most that comes in at once; zero means 3 and 20.
	MaxPacks, MaxReceipt int64
	// ShipEvery is how often the warehouse ships what is due; zero means every 250 ms, a negative time never.
	ShipEvery time.Duration
}

// World drives buyers and a warehouse, and knows by its own accounts, from the truth of the pretend servers alone,
// whether anything was sold that nobody could deliver. Its methods are safe for concurrent use.
type World struct {
	cfg   WorldConfig
	sales []Sale // sorted, so that the seed alone decides
	skus  []string
	shops map[string]*Shop

	mu     sync.Mutex
	rng    *rand.Rand
	totals Totals
	bought []purchase
}

type purchase struct {
	shop  *Shop
	order string
}

// Totals are what a World did.
type Totals struct {
	// Placed and Refused are orders that buyers tried; Cancelled are orders cancelled, whole or in part.
	Placed, Refused, Cancelled int
	// Receipts and Shipments are bookings of the warehouse.
	Receipts, Shipments int
	// Received are units that came in, by SKU.
	Received map[string]int64
}

// NewWorld makes a world that stands still until Run.
func NewWorld(cfg WorldConfig) *World {
	cfg.MaxPacks = cmp.Or(cfg.MaxPacks, 3)
	cfg.MaxReceipt = cmp.Or(cfg.MaxReceipt, 20)
	cfg.ShipEvery = cmp.Or(cfg.ShipEvery, 250*time.Millisecond)
	w := &World{
		cfg:    cfg,
		shops:  map[string]*Shop{},
		rng:    rand.New(rand.NewPCG(cfg.Seed, 3)),
		totals: Totals{Received: map[string]int64{}},
	}
	for _, s := range cfg.Shops {
		w.shops[s.ID()] = s
	}
	seen := map[string]bool{}
	for sale, parts := range cfg.Components {
		if w.shops[sale.Shop] != nil {
			w.sales = append(w.sales, sale)
		}
		for _, part := range parts {
			if !seen[part.SKU] {
				seen[part.SKU] = true
				w.skus = append(w.skus, part.SKU)
			}
		}
	}
	slices.SortFunc(w.sales, func(a, b Sale) int {
		return cmp.Or(strings.Compare(a.Shop, b.Shop), strings.Compare(a.Item, b.Item), strings.Compare(a.Place, b.Place))
	})
	slices.Sort(w.skus)
	return w
}

// activity is something that happens again and again.
type activity struct {
	next time.Time
	// wait draws the time until it happens again.
	wait func() time.Duration
	do   func()
}

// catchUp is how far behind its times the traffic may be before it skips some instead of coming in a burst.
const catchUp = time.Second

// Run lets the traffic flow until ctx ends.
func (w *World) Run(ctx context.Context) {
	activities := w.activities(time.Now())
	if len(activities) == 0 {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		a := activities[0]
		for _, other := range activities[1:] {
			if other.next.Before(a.next) {
				a = other
			}
		}
		timer.Reset(time.Until(a.next))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		a.do()
		a.next = a.next.Add(a.wait())
		if late := time.Now().Add(-catchUp); a.next.Before(late) {
			a.next = late
		}
	}
}

func (w *World) activities(now time.Time) []*activity {
	var all []*activity
	add := func(rate float64, do func()) {
		if rate > 0 {
			wait := func() time.Duration { return w.pause(rate) }
			all = append(all, &activity{next: now.Add(wait()), wait: wait, do: do})
		}
	}
	if len(w.sales) > 0 {
		add(w.cfg.OrdersPerSecond, w.buy)
		add(w.cfg.CancelsPerSecond, w.cancel)
	}
	if w.cfg.Warehouse != nil && len(w.skus) > 0 {
		add(w.cfg.ReceiptsPerSecond, w.receive)
		if every := w.cfg.ShipEvery; every > 0 {
			all = append(all, &activity{next: now.Add(every), wait: func() time.Duration { return every }, do: w.ship})
		}
	}
	return all
}

func (w *World) pause(rate float64) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.rng.ExpFloat64() / rate * float64(time.Second))
}

// buy orders one line, or, one time in five, two lines of the same shop.
func (w *World) buy() {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.sales[w.rng.IntN(len(w.sales))]
	lines := []BuyLine{w.line(first)}
	if second := w.sales[w.rng.IntN(len(w.sales))]; w.rng.IntN(5) == 0 && second.Shop == first.Shop {
		lines = append(lines, w.line(second))
	}
	shop := w.shops[first.Shop]
	id, ok := shop.Order(lines...)
	if !ok {
		w.totals.Refused++
		return
	}
	w.totals.Placed++
	w.bought = append(w.bought, purchase{shop, id})
}

func (w *World) line(s Sale) BuyLine {
	return BuyLine{Item: s.Item, Place: s.Place, Quantity: 1 + w.rng.Int64N(w.cfg.MaxPacks)}
}

// cancel cancels one of the orders, one time in three only a unit of its first line.
func (w *World) cancel() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.bought) == 0 {
		return
	}
	i := w.rng.IntN(len(w.bought))
	p := w.bought[i]
	w.bought = slices.Delete(w.bought, i, i+1)
	done := false
	if w.rng.IntN(3) == 0 {
		done = p.shop.PartialCancel(p.order, "1", 1)
	} else {
		done = p.shop.Cancel(p.order)
	}
	if done {
		w.totals.Cancelled++
	}
}

func (w *World) receive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	sku := w.skus[w.rng.IntN(len(w.skus))]
	locations := w.cfg.Warehouse.locations
	location := locations[w.rng.IntN(len(locations))].ID
	quantity := 1 + w.rng.Int64N(w.cfg.MaxReceipt)
	if err := w.cfg.Warehouse.Receive(sku, location, quantity); err != nil {
		return // a SKU that the warehouse does not stock
	}
	w.totals.Receipts++
	w.totals.Received[sku] += quantity
}

func (w *World) ship() {
	sent := w.cfg.Warehouse.ShipAll()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.totals.Shipments += sent
}

// Totals tells what was done so far.
func (w *World) Totals() Totals {
	w.mu.Lock()
	defer w.mu.Unlock()
	totals := w.totals
	totals.Received = make(map[string]int64, len(w.totals.Received))
	maps.Copy(totals.Received, w.totals.Received)
	return totals
}

// Sold returns the units of each SKU that the shops accepted and that somebody has to deliver, or delivered: ordered,
// less what was cancelled before it was shipped, less what the warehouse rejected. It is exact while nothing happens:
// the servers are asked one after the other.
func (w *World) Sold() map[string]int64 {
	shipped, rejected := w.atWarehouse()
	sold := map[string]int64{}
	for id, s := range w.shops {
		for _, o := range s.Orders() {
			owed := map[string]int64{}
			for _, l := range o.Lines {
				for _, part := range w.cfg.Components[Sale{Shop: id, Item: l.Item, Place: l.Place}] {
					owed[part.SKU] += (*l.Quantity - *l.Cancelled) * part.Units
				}
			}
			for sku, n := range owed {
				k := orderSKU{o.OrderID, sku}
				sold[sku] += max(n-rejected[k], shipped[k])
			}
		}
	}
	return sold
}

type orderSKU struct{ order, sku string }

func (w *World) atWarehouse() (shipped, rejected map[orderSKU]int64) {
	shipped, rejected = map[orderSKU]int64{}, map[orderSKU]int64{}
	if w.cfg.Warehouse == nil {
		return shipped, rejected
	}
	for _, o := range w.cfg.Warehouse.Orders() {
		for _, l := range o.Lines {
			k := orderSKU{o.OrderID, l.SKU}
			shipped[k] += l.Shipped
			rejected[k] += l.Rejected
		}
	}
	return shipped, rejected
}

// Oversold returns, for each SKU with any, the units sold beyond all that there ever was to sell.
func (w *World) Oversold() map[string]int64 {
	over := map[string]int64{}
	for sku, sold := range w.Sold() {
		var supply int64
		if w.cfg.Warehouse != nil {
			supply = w.cfg.Warehouse.StockOf(sku).Supply()
		}
		if sold > supply {
			over[sku] = sold - supply
		}
	}
	return over
}

// OversoldUnits is the sum of Oversold.
func (w *World) OversoldUnits() int64 {
	var sum int64
	for _, n := range w.Oversold() {
		sum += n
	}
	return sum
}
