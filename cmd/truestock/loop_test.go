package main_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/medusa/medusalive"
	"github.com/truestock/truestock/connectors/tryton/trytonlive"
	"github.com/truestock/truestock/connectors/vendure/vendurelive"
	"github.com/truestock/truestock/store/pgtest"
)

const (
	// loopFor is how long orders flow, unless TRUESTOCK_LOOP says another duration, such as 5m.
	loopFor = 20 * time.Second
	// loopBuffer is withheld of every article: several real shops sell at the same time, and each hears of the others' orders
	// only after a while.
	loopBuffer = 10
)

// realShop is a shop of the loop: a real system, as its buyers see it.
type realShop interface {
	name() string
	// mapping are the rows that link its listings to the SKUs.
	mapping(skus []string) []string
	// aim has its webhooks sent to the server.
	aim(s *server)
	available(t testing.TB, sku string) int64
	// buy places an order of one line, and returns its id. A refusal for want of stock fails with one of the refusals in its
	// words.
	buy(t testing.TB, sku string, quantity int) string
	refusals() []string
	// sent reports whether the shop knows that all of an order has left.
	sent(t testing.TB, order string) bool
}

type vendureInLoop struct {
	*vendurelive.Shop
	hooks    *hookRelay
	variants map[string]string
}

func (v *vendureInLoop) name() string  { return "vendure" }
func (v *vendureInLoop) aim(s *server) { v.hooks.aim(s.url) }
func (v *vendureInLoop) refusals() []string {
	return []string{"INSUFFICIENT_STOCK_ERROR", "ORDER_STATE_TRANSITION_ERROR"}
}

func (v *vendureInLoop) mapping(skus []string) (rows []string) {
	for _, sku := range skus {
		rows = append(rows, "vendure,"+v.variants[sku]+",,"+sku+",1")
	}
	return rows
}

func (v *vendureInLoop) available(t testing.TB, sku string) int64 {
	return v.Available(t, v.variants[sku])
}

func (v *vendureInLoop) buy(t testing.TB, sku string, quantity int) string {
	return v.PlaceOrder(t, map[string]int{v.variants[sku]: quantity})
}

func (v *vendureInLoop) sent(t testing.TB, order string) bool {
	return v.OrderState(t, order) == "Shipped"
}

type medusaInLoop struct {
	*medusalive.Shop
	hooks    *hookRelay
	variants map[string]string
}

func (m *medusaInLoop) name() string  { return "medusa" }
func (m *medusaInLoop) aim(s *server) { m.hooks.aim(s.url) }
func (m *medusaInLoop) refusals() []string {
	return []string{"required inventory", "insufficient_inventory", "Not enough stock available"}
}

func (m *medusaInLoop) mapping(skus []string) (rows []string) {
	for _, sku := range skus {
		rows = append(rows, "medusa,"+m.variants[sku]+",,"+sku+",1")
	}
	return rows
}

func (m *medusaInLoop) available(t testing.TB, sku string) int64 {
	return m.Available(t, m.variants[sku])
}

func (m *medusaInLoop) buy(t testing.TB, sku string, quantity int) string {
	return m.PlaceOrder(t, map[string]int{m.variants[sku]: quantity})
}

func (m *medusaInLoop) sent(t testing.TB, order string) bool {
	return m.Order(t, order).FulfillmentStatus == "shipped"
}

// loopShops are the shops of the loop.
func loopShops(h *house, skus []string) []realShop {
	h.t.Helper()
	vendure, hooks := h.addVendure()
	v := &vendureInLoop{Shop: vendure, hooks: hooks, variants: map[string]string{}}
	for _, variant := range vendure.CreateVariants(h.t, 0, skus...) {
		v.variants[variant.SKU] = variant.ID
	}
	m := &medusaInLoop{hooks: newHookRelay(h.t), variants: map[string]string{}}
	m.Shop = medusalive.StartWithWebhooks(h.t, pgtest.URL(h.t), m.hooks.server.URL+"/webhooks/medusa", h.secret)
	for _, variant := range m.CreateVariants(h.t, 0, skus...) {
		m.variants[variant.SKU] = variant.ID
	}
	h.connections = append(h.connections, fmt.Sprintf(`  medusa:
    connector: medusa
    role: marketplace
    orders_to: tryton
    settings: {base_url: %q, api_key: %q, webhook_secrets: %q}
`, m.URL, m.APIKey, h.secret))
	return []realShop{v, m}
}

// Real systems in a loop: Tryton has the goods, real shops sell them at random, Tryton's staff sends what was sold, in one or
// two parts, and goods come in. At the end nothing is oversold, everything is settled, and there is nothing to change.
func TestRealSystemsInALoop(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	length := loopFor
	if text := os.Getenv("TRUESTOCK_LOOP"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("TRUESTOCK_LOOP is %q: write a duration such as 5m", text)
		}
	}
	skus := []string{"LOOP-1", "LOOP-2", "LOOP-3", "LOOP-4"}
	h.settings = append(h.settings, fmt.Sprintf("policy: {buffer: %d}", loopBuffer))
	erp := h.addTryton()
	const opening = 40
	erp.CreateProducts(t, opening, skus...)
	l := &loop{h: h, erp: erp, skus: skus, shops: loopShops(h, skus), stocked: map[string]int64{}, sold: map[string]int64{}, orders: map[string]soldOrder{}, refused: map[string]int{}}
	for _, sku := range skus {
		l.stocked[sku] = opening
	}
	s := h.start()
	var rows []string
	for _, shop := range l.shops {
		shop.aim(s)
		rows = append(rows, shop.mapping(skus)...)
	}
	h.eventually("Tryton's products are known", func() error {
		_, err := tryGet[itemView](s, "/items/"+skus[0])
		return err
	})
	s.imports(rows...)
	l.show(opening - loopBuffer)

	l.run(length)
	l.finish(s)
}

type soldOrder struct {
	shop     realShop
	sku      string
	quantity int64
}

// loop is the traffic between the real systems, and what must come of it.
type loop struct {
	h     *house
	erp   *trytonlive.ERP
	skus  []string
	shops []realShop

	mu sync.Mutex
	// stocked is what was there or came in, sold what the shops took orders for, by SKU; orders are by Tryton's reference.
	stocked, sold map[string]int64
	orders        map[string]soldOrder
	refused       map[string]int // by shop
	parcels       int
	deliveries    int
	// lowest is the least that was left of any SKU, over everything that was ever sold.
	lowest int64
}

// show waits until every shop sells so many of every article.
func (l *loop) show(want int64) {
	l.h.t.Helper()
	for _, shop := range l.shops {
		for _, sku := range l.skus {
			l.h.eventually(fmt.Sprintf("%s sells %d of %s", shop.name(), want, sku), func() error {
				if got := shop.available(l.h.t, sku); got != want {
					return fmt.Errorf("it sells %d", got)
				}
				return nil
			})
		}
	}
}

// run lets orders, shipments and deliveries flow.
func (l *loop) run(length time.Duration) {
	end := time.Now().Add(length)
	l.lowest = 1 << 40
	var group sync.WaitGroup
	for i, shop := range l.shops {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for time.Now().Before(end) && !l.h.t.Failed() {
				l.buyer(shop, random)
				time.Sleep(time.Duration(500+random.IntN(1000)) * time.Millisecond)
			}
		})
	}
	group.Go(func() {
		random := rand.New(rand.NewPCG(2, 0))
		for time.Now().Before(end) && !l.h.t.Failed() {
			l.staff(random)
			time.Sleep(time.Duration(200+random.IntN(400)) * time.Millisecond)
		}
	})
	group.Wait()
}

// buyer buys what a shop shows, up to all of it.
func (l *loop) buyer(shop realShop, random *rand.Rand) {
	sku := l.skus[random.IntN(len(l.skus))]
	var shown int64
	if why := attempt(l.h.t, func(t testing.TB) { shown = shop.available(t, sku) }); why != "" {
		l.h.t.Errorf("look what %s sells: %s", shop.name(), why)
	}
	if shown <= 0 {
		return
	}
	quantity := 1 + random.Int64N(min(shown, 4))
	var order string
	why := attempt(l.h.t, func(t testing.TB) { order = shop.buy(t, sku, int(quantity)) })
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case why == "":
		l.orders[shop.name()+":"+order] = soldOrder{shop, sku, quantity}
		l.sold[sku] += quantity
		l.lowest = min(l.lowest, l.stocked[sku]-l.sold[sku])
	case slices.ContainsFunc(shop.refusals(), func(word string) bool { return strings.Contains(why, word) }):
		l.refused[shop.name()]++
	default:
		l.h.t.Errorf("buy at %s: %s", shop.name(), why)
	}
}

// staff sends an order, or a part of one, or takes a delivery in.
func (l *loop) staff(random *rand.Rand) {
	if random.IntN(3) == 0 {
		sku, quantity := l.skus[random.IntN(len(l.skus))], 1+random.Int64N(8)
		if why := attempt(l.h.t, func(t testing.TB) { l.erp.Receive(t, sku, quantity) }); why != "" {
			l.h.t.Errorf("take in %d of %s: %s", quantity, sku, why)
		}
		l.mu.Lock()
		l.stocked[sku] += quantity
		l.deliveries++
		l.mu.Unlock()
		return
	}
	if why := attempt(l.h.t, func(t testing.TB) { l.send(t, random) }); why != "" {
		l.h.t.Errorf("send an order: %s", why)
	}
}

// send sends one of the orders that wait in Tryton.
func (l *loop) send(t testing.TB, random *rand.Rand) {
	var waiting []string
	for _, sale := range l.erp.Sales(t) {
		if sale.State == "processing" && sale.ShipmentState == "waiting" {
			waiting = append(waiting, sale.Reference)
		}
	}
	if len(waiting) == 0 {
		return
	}
	reference := waiting[random.IntN(len(waiting))]
	if units := l.erp.Units(t, reference); units > 1 && random.IntN(3) == 0 {
		l.erp.ShipPart(t, reference, 1)
	} else {
		l.erp.Ship(t, reference)
	}
	l.mu.Lock()
	l.parcels++
	l.mu.Unlock()
}

// finish lets everything come to rest, and compares the systems.
func (l *loop) finish(s *server) {
	t := l.h.t
	t.Helper()
	if t.Failed() {
		return
	}
	began := time.Now()
	for known := len(l.erp.Sales(t)); known < len(l.orders); {
		l.h.eventually("Tryton takes another order", func() error {
			n := len(l.erp.Sales(t))
			if n == known {
				return fmt.Errorf("it has %d sales, and %d orders were placed", n, len(l.orders))
			}
			known = n
			return nil
		})
	}
	for _, sale := range l.erp.Sales(t) {
		order, ours := l.orders[sale.Reference]
		if !ours {
			t.Errorf("Tryton has a sale %s that nobody ordered", sale.Reference)
			continue
		}
		for l.erp.Ship(t, sale.Reference) > 0 {
			l.parcels++
		}
		if units := l.erp.Sent(t, sale.Reference); units != order.quantity {
			t.Errorf("%d of %s were ordered by %s, and Tryton sent %d", order.quantity, order.sku, sale.Reference, units)
		}
	}
	// Medusa takes a part of an order only while as many units are for sale as were sent.
	for _, sku := range l.skus {
		l.erp.Receive(t, sku, loopBuffer+4)
		l.stocked[sku] += loopBuffer + 4
	}
	for reference, order := range l.orders {
		_, id, _ := strings.Cut(reference, ":")
		l.h.eventually(reference+" is sent, as the shop knows", func() error {
			if !order.shop.sent(t, id) {
				return fmt.Errorf("it is not")
			}
			return nil
		})
	}
	for _, sku := range l.skus {
		left := l.stocked[sku] - l.sold[sku]
		if left < 0 {
			t.Errorf("%d of %s were oversold", -left, sku)
		}
		if got := l.erp.OnHand(t, sku); got != left {
			t.Errorf("Tryton has %d of %s, and %d came in and %d were sold", got, sku, l.stocked[sku], l.sold[sku])
		}
		for _, shop := range l.shops {
			want := max(0, left-loopBuffer)
			l.h.eventually(fmt.Sprintf("%s sells %d of %s", shop.name(), want, sku), func() error {
				if got := shop.available(t, sku); got != want {
					return fmt.Errorf("it sells %d", got)
				}
				return nil
			})
		}
	}
	l.h.atRest(s)
	units := int64(0)
	perShop := map[string]int{}
	for _, order := range l.orders {
		units += order.quantity
		perShop[order.shop.name()]++
	}
	t.Logf("orders %v of %d units, refused by shops %v, parcels %d, deliveries %d, the least that was left of an article %d, at rest after %s",
		perShop, units, l.refused, l.parcels, l.deliveries, l.lowest, time.Since(began).Round(time.Second))
}

// trying is a test in which a failure ends the attempt alone.
type trying struct {
	testing.TB
	why string
}

func (t *trying) Fatalf(format string, args ...any) {
	t.why = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (t *trying) Fatal(args ...any) {
	t.why = fmt.Sprint(args...)
	runtime.Goexit()
}

// attempt does something that may fail, and returns why it did.
func attempt(t testing.TB, do func(testing.TB)) string {
	try := &trying{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(try)
	}()
	<-done
	return try.why
}
