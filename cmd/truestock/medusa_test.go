package main_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/medusa/medusalive"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/store/pgtest"
)

// The story of a real Medusa shop, installed from npm, beside a pretend shop that sells the same goods, with a pretend
// warehouse behind both. Each chapter goes on from where the one before it ended.
func TestMedusa(t *testing.T) {
	t.Parallel()
	m := openMedusa(t)
	s := m.h.start()
	m.hooks.aim(s.url)

	m.mapping(s)
	order := m.order(s)
	other := m.otherShopSells(s)
	shipment := m.shipment(s, order)
	m.receipt(s)
	m.atRest(s, "20 of TS-MUG", shipment, "order "+other+" of market")

	m.hooks.server.Close() // from here on the subscriber's hints go to a dead port
	s, missed := m.downtime(s)
	s, lost := m.lostHints(s)
	m.atRest(s, shipment, "order "+missed+" of medusa", "order "+lost+" of medusa")
}

// medusaHouse is a house with a real Medusa shop in it. Of the shop's articles, mug and six consist of the warehouse's
// TS-MUG, lamp of TS-LAMP, and chair of nothing that anybody has mapped. The pretend shop "market" sells TS-MUG too.
type medusaHouse struct {
	*medusalive.Shop
	t                     *testing.T
	h                     *house
	hooks                 *hookRelay
	mug, lamp, chair, six medusalive.Variant
}

func openMedusa(t *testing.T) *medusaHouse {
	t.Helper()
	h := newHouse(t)
	// Nothing below is found by asking again and again: what happens, happens because of a webhook, or of a start.
	h.settings[0] = fmt.Sprintf(vendurePoll, "1h")
	w := h.addWarehouse(fake.WarehouseConfig{Capabilities: open.RecordCapabilities{Levels: fake.OnHand, Positions: true, CompleteLevels: true}})
	for sku, opening := range map[string]int64{"TS-MUG": 20, "TS-LAMP": 7} {
		w.AddItem(open.Item{SKU: sku, Name: sku, Kind: "physical"})
		if err := w.SetOpening(sku, "main", opening); err != nil {
			t.Fatal(err)
		}
	}
	market := h.addShop("market", fake.ShopConfig{Capabilities: open.MarketplaceCapabilities{Shipments: true}}, "orders_to: warehouse")
	market.AddListing(open.Listing{Item: "market mug", Title: "market mug"})

	m := &medusaHouse{t: t, h: h, hooks: newHookRelay(t)}
	m.Shop = medusalive.StartWithWebhooks(t, pgtest.URL(t), m.hooks.server.URL+"/webhooks/medusa", h.secret)
	m.mug, m.lamp, m.chair = m.Variants[0], m.Variants[1], m.Variants[2]
	m.six = m.CreateVariants(t, 10, "TS-MUG-SIX")[0]
	h.connections = append(h.connections, fmt.Sprintf(`  medusa:
    connector: medusa
    role: marketplace
    orders_to: warehouse
    settings: {base_url: %q, api_key: %q, webhook_secrets: %q}
`, m.URL, m.APIKey, h.secret))
	return m
}

// sells waits until a buyer at the shop front can order so many of each article.
func (m *medusaHouse) sells(want map[medusalive.Variant]int64) {
	m.t.Helper()
	for _, v := range slices.SortedFunc(maps.Keys(want), func(a, b medusalive.Variant) int { return strings.Compare(a.ID, b.ID) }) {
		m.h.eventually(fmt.Sprintf("Medusa sells %d of %s", want[v], v.SKU), func() error {
			if got := m.Available(m.t, v.ID); got != want[v] {
				return fmt.Errorf("it sells %d", got)
			}
			return nil
		})
	}
}

// holds checks what Medusa has in stock and has reserved for orders.
func (m *medusaHouse) holds(v medusalive.Variant, stocked, reserved int64) {
	m.t.Helper()
	if got := m.Level(m.t, v.Item); got != (medusalive.Level{Stocked: stocked, Reserved: reserved}) {
		m.t.Errorf("Medusa holds %+v of %s, want %d in stock and %d reserved", got, v.SKU, stocked, reserved)
	}
}

// recorded waits until the warehouse has so many orders.
func (m *medusaHouse) recorded(count int) {
	m.t.Helper()
	m.h.eventually("the warehouse has the orders", func() error {
		if n := len(m.h.warehouse.Orders()); n != count {
			return fmt.Errorf("it has %d of %d", n, count)
		}
		return nil
	})
}

func (m *medusaHouse) mapping(s *server) {
	m.t.Helper()
	rows := []string{
		"medusa," + m.mug.ID + ",,TS-MUG,1", "medusa," + m.six.ID + ",,TS-MUG,6", "medusa," + m.lamp.ID + ",,TS-LAMP,1",
		"market,market mug,,TS-MUG,1",
	}
	r := m.h.runWith(strings.NewReader(mappingCSV(rows...)), "mappings", "import", "-")
	if r.code != exitOK || !strings.Contains(r.stdout, "4 listings linked") {
		m.t.Fatalf("the import ends with %d: %s%s", r.code, r.stdout, r.stderr)
	}
	m.sells(map[medusalive.Variant]int64{m.mug: 20, m.lamp: 7, m.six: 3})
	m.h.shows("market", "market mug", 20)
	s.settled()
}

// order: a buyer orders at Medusa, which reserves the units by itself. What is left for sale there is subtracted once.
func (m *medusaHouse) order(s *server) (order string) {
	m.t.Helper()
	// Three mugs and a pack of six are nine of the twenty: more than Medusa takes off either article by itself.
	order = m.PlaceOrder(m.t, map[string]int{m.mug.ID: 3, m.six.ID: 1})
	m.sells(map[medusalive.Variant]int64{m.mug: 11, m.six: 1})
	m.h.shows("market", "market mug", 11)
	m.recorded(1)
	s.settled()
	m.sells(map[medusalive.Variant]int64{m.mug: 11, m.six: 1})
	m.holds(m.mug, 14, 3)
	m.holds(m.six, 2, 1)
	if got := get[itemView](s, "/items/TS-MUG"); got != (itemView{OnHand: 20, Committed: 9, Available: 11, ATP: 11}) {
		m.t.Errorf("TS-MUG is %+v, want 9 of 20 committed", got)
	}
	return order
}

// otherShopSells: what another channel sells is taken off at Medusa, whose own open order stays reserved.
func (m *medusaHouse) otherShopSells(s *server) (order string) {
	m.t.Helper()
	order, ok := m.h.shops["market"].Buy("market mug", 2)
	if !ok {
		m.t.Fatal("the market refuses the order")
	}
	m.sells(map[medusalive.Variant]int64{m.mug: 9, m.six: 1})
	m.recorded(2)
	s.settled()
	m.holds(m.mug, 12, 3)
	return order
}

// shipment: the warehouse ships. Medusa hears of it and takes the units off its stock; what it sells stays.
func (m *medusaHouse) shipment(s *server, order string) (shipment string) {
	m.t.Helper()
	shipment, ok := m.h.warehouse.Ship("medusa:" + order)
	if !ok {
		m.t.Fatal("nothing is allocated to the order")
	}
	m.h.eventually("Medusa's order is shipped", func() error {
		if status := m.Order(m.t, order).FulfillmentStatus; status != "shipped" {
			return fmt.Errorf("it is %s", status)
		}
		return nil
	})
	s.settled()
	f := m.Order(m.t, order).Fulfillments
	if len(f) != 1 || f[0].ShippedAt == "" || len(f[0].Labels) != 1 || f[0].Labels[0].TrackingNumber != "TR"+shipment {
		m.t.Errorf("the fulfillments are %+v, want one with the warehouse's tracking", f)
	}
	m.holds(m.mug, 9, 0)
	m.holds(m.six, 1, 0)
	m.sells(map[medusalive.Variant]int64{m.mug: 9, m.six: 1})
	return shipment
}

// receipt: goods come in, and are for sale everywhere.
func (m *medusaHouse) receipt(s *server) {
	m.t.Helper()
	if err := m.h.warehouse.Receive("TS-MUG", "main", 5); err != nil {
		m.t.Fatal(err)
	}
	m.sells(map[medusalive.Variant]int64{m.mug: 14, m.six: 2})
	m.h.shows("market", "market mug", 14)
	s.settled()
	if n := m.hooks.taken(); n == 0 {
		m.t.Error("no hint of the subscriber was answered 202")
	}
}

// atRest: nothing is left to change, nothing waits for a person, and the chain of the mug's number is told.
func (m *medusaHouse) atRest(s *server, chain ...string) {
	m.t.Helper()
	s.settled()
	if r := m.h.must(exitOK, "plan", "--output", "json"); strings.Join(strings.Fields(r.stdout), "") != `{"changes":[]}` {
		m.t.Errorf("plan prints %q", r.stdout)
	}
	m.h.must(exitOK, "reconcile", "--dry-run")
	told := m.h.must(exitOK, "explain", "medusa", m.mug.ID).stdout
	for _, word := range append(chain, "warehouse says", "So it should show", "Written at", "Read back at", "in_sync") {
		if !strings.Contains(told, word) {
			m.t.Errorf("explain does not mention %s:\n%s", word, told)
		}
	}
	if incidents := all[incidentView](s, "/incidents"); len(incidents) != 0 {
		m.t.Errorf("there are incidents: %+v", incidents)
	}
	if parked := all[eventView](s, "/events?state=parked"); len(parked) != 0 {
		m.t.Errorf("there are parked events: %+v", parked)
	}
	if got := m.Available(m.t, m.chair.ID); got != 10 {
		m.t.Errorf("the article that is not mapped sells %d", got)
	}
}

// downtime: while truestock is down, Medusa sells four mugs and six more come in. The raise that follows from the receipt
// must not give the four back.
func (m *medusaHouse) downtime(s *server) (up *server, order string) {
	m.t.Helper()
	if code := s.stop(); code != exitOK {
		m.t.Fatalf("the server ends with code %d", code)
	}
	order = m.PlaceOrder(m.t, map[string]int{m.mug.ID: 4})
	if err := m.h.warehouse.Receive("TS-MUG", "main", 6); err != nil {
		m.t.Fatal(err)
	}
	up = m.h.start()
	m.sells(map[medusalive.Variant]int64{m.mug: 16, m.six: 2})
	m.h.shows("market", "market mug", 16)
	m.recorded(3)
	up.settled()
	m.holds(m.mug, 20, 4)
	return up, order
}

// lostHints: no hint arrives any more. The next look finds the order all the same.
func (m *medusaHouse) lostHints(s *server) (up *server, order string) {
	m.t.Helper()
	if code := s.stop(); code != exitOK {
		m.t.Fatalf("the server ends with code %d", code)
	}
	m.h.settings[0] = fmt.Sprintf(vendurePoll, "500ms")
	up = m.h.start()
	up.settled()
	taken := m.hooks.taken()
	order = m.PlaceOrder(m.t, map[string]int{m.mug.ID: 5})
	m.h.shows("market", "market mug", 11)
	m.sells(map[medusalive.Variant]int64{m.mug: 11, m.six: 1})
	m.recorded(4)
	up.settled()
	m.holds(m.mug, 20, 9)
	if n := m.hooks.taken() - taken; n != 0 {
		m.t.Errorf("%d hints arrived: the test shows nothing", n)
	}
	return up, order
}
