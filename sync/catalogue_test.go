package sync_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// catalogue is a drawn set of plain articles, kits of them and of other kits, and listings of both, some of them twice.
type catalogue struct {
	prefix   string
	plain    map[string]stock.Quantity            // what there is of each
	kits     map[string]map[string]stock.Quantity // the parts of each
	listings map[string]map[string]stock.Quantity
	order    []string // the listings by name
}

func drawCatalogue(seed uint64) catalogue {
	rng := rand.New(rand.NewPCG(seed, 3))
	c := catalogue{prefix: fmt.Sprintf("c%d.", seed), plain: map[string]stock.Quantity{}, kits: map[string]map[string]stock.Quantity{}, listings: map[string]map[string]stock.Quantity{}}
	var names []string
	for i := range 2 + rng.IntN(4) {
		name := fmt.Sprintf("%sP%d", c.prefix, i)
		c.plain[name] = stock.Quantity(rng.IntN(60) - 3)
		names = append(names, name)
	}
	parts := func(most int) map[string]stock.Quantity {
		p := map[string]stock.Quantity{}
		for range 1 + rng.IntN(most) {
			p[names[rng.IntN(len(names))]] = stock.Quantity(1 + rng.IntN(4))
		}
		return p
	}
	for i := range rng.IntN(5) {
		name := fmt.Sprintf("%sK%d", c.prefix, i)
		c.kits[name] = parts(3) // of what is there already: no cycle
		names = append(names, name)
	}
	for i := range 2 + rng.IntN(6) {
		item := fmt.Sprintf("%sL%d", c.prefix, i)
		c.listings[item] = parts(3)
		if i > 0 && rng.IntN(4) == 0 { // another listing of the same
			c.listings[item] = c.listings[c.order[rng.IntN(len(c.order))]]
		}
		c.order = append(c.order, item)
	}
	return c
}

func (c catalogue) rows() []string {
	var rows []string
	for _, item := range c.order {
		for sku, units := range c.listings[item] {
			rows = append(rows, fmt.Sprintf("hand,%s,,%s,%d", item, sku, units))
		}
	}
	for kit, parts := range c.kits {
		for sku, units := range parts {
			rows = append(rows, fmt.Sprintf("kit,%s,,%s,%d", kit, sku, units))
		}
	}
	return rows
}

// take removes one of an article, or the parts of a kit, from the shelf, piece by piece.
func (c catalogue) take(shelf map[string]stock.Quantity, name string) {
	parts, kit := c.kits[name]
	if !kit {
		shelf[name]--
		return
	}
	for part, units := range parts {
		for range units {
			c.take(shelf, part)
		}
	}
}

// sellable counts by hand how many of a listing can be packed one after the other until a shelf is empty.
func (c catalogue) sellable(available map[string]stock.Quantity, item string) stock.Quantity {
	shelf := maps.Clone(available)
	for packed := stock.Quantity(0); ; packed++ {
		touched := map[string]stock.Quantity{}
		for name, units := range c.listings[item] {
			for range units {
				c.take(touched, name)
			}
		}
		for name, taken := range touched {
			shelf[name] += taken
			if shelf[name] < 0 {
				return packed
			}
		}
	}
}

// Two hundred drawn catalogues against a calculator that packs by hand: before and after an order of a bundle, after its
// mapping changed while the order was open, and after the order was cancelled, which frees exactly what it had taken.
func TestCataloguesAgainstPackingByHand(t *testing.T) {
	const cases = 200
	l := newLedger(t)
	var catalogues []catalogue
	var rows []string
	var facts []told
	for i := range cases {
		c := drawCatalogue(uint64(i))
		catalogues = append(catalogues, c)
		rows = append(rows, c.rows()...)
		for name, units := range c.plain {
			facts = append(facts, told{"erp", connectors.Fact{Kind: connectors.StockLevel, Position: stock.Position{Sequenced: true, Sequence: 1},
				Statement: &connectors.Statement{SKU: name, Location: "main", Quantity: units}}})
		}
	}
	l.link(rows)
	l.deliver(facts)
	check := func(when string, available []map[string]stock.Quantity) {
		t.Helper()
		for i, c := range catalogues {
			for _, item := range c.order {
				v, err := l.engine.Listing(t.Context(), stocksync.ListingKey{Connection: "hand", Ref: ref(item)})
				if err != nil {
					t.Fatal(err)
				}
				if want := c.sellable(available[i], item); v.Target == nil || *v.Target != want {
					t.Errorf("%s: %s of %v should show %s, by hand it is %d; kits %v, available %v", when, item, c.listings[item], text(v.Target), want, c.kits, available[i])
				}
			}
		}
	}
	full := make([]map[string]stock.Quantity, cases)
	left := make([]map[string]stock.Quantity, cases)
	for i, c := range catalogues {
		full[i], left[i] = map[string]stock.Quantity{}, map[string]stock.Quantity{}
		for name, units := range c.plain {
			full[i][name], left[i][name] = units, units
		}
	}
	check("at first", full)

	order := func(c catalogue, version int64, status connectors.OrderStatus) told {
		return told{"hand", connectors.Fact{Kind: connectors.OrderUpserted, Order: &connectors.Order{OrderID: c.prefix + "1", Version: version, Status: status,
			PlacedAt: time.Unix(1_700_000_000, 0).UTC(), Lines: []connectors.ChannelLine{{LineID: "1", Ref: ref(c.order[0]), Quantity: 2}}}}}
	}
	var placed, cancelled []told
	for i, c := range catalogues {
		placed, cancelled = append(placed, order(c, 1, connectors.OrderOpen)), append(cancelled, order(c, 2, connectors.OrderCancelledStatus))
		for range 2 {
			for name, units := range c.listings[c.order[0]] {
				for range units {
					c.take(left[i], name)
				}
			}
		}
	}
	l.deliver(placed)
	check("after an order", left)

	rows = rows[:0]
	for i := range catalogues {
		c := &catalogues[i]
		c.listings[c.order[0]] = map[string]stock.Quantity{c.prefix + "P0": 5, c.prefix + "P1": 1}
		rows = append(rows, c.rows()...)
	}
	l.link(rows)
	l.deliver(nil)
	check("after the listing of the order was mapped to something else", left)
	l.deliver(cancelled)
	check("after the order was cancelled", full)
	l.verified()
}

// A bundle with a part of which no system of record has said anything is held with the reason, not shown as sold out, and
// so is one whose part is taken out of the mapping.
func TestABundleWithAnUnknownPartIsHeld(t *testing.T) {
	l := newLedger(t)
	l.link([]string{"hand,set,,KNOWN,1", "hand,set,,UNHEARD,1", "hand,single,,KNOWN,1"})
	l.deliver([]told{{"erp", connectors.Fact{Kind: connectors.StockLevel, Position: stock.Position{Sequenced: true, Sequence: 1},
		Statement: &connectors.Statement{SKU: "KNOWN", Location: "main", Quantity: 5}}}})
	held := func(item, reason string) {
		t.Helper()
		v, err := l.engine.Listing(t.Context(), stocksync.ListingKey{Connection: "hand", Ref: ref(item)})
		if err != nil || v.Target != nil || (reason == "") != (v.HeldReason == "") {
			t.Errorf("%s has the target %s, held because %q (%v); want none, held %t", item, text(v.Target), v.HeldReason, err, reason != "")
		}
	}
	held("set", "UNHEARD")
	if err := l.store.DeleteMapping(t.Context(), []stocksync.ListingKey{{Connection: "hand", Ref: ref("single")}}, time.Now().UTC()); err != nil {
		t.Fatal(err)
	}
	l.deliver(nil)
	held("single", "")
}
