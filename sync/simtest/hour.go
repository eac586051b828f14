package simtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

// Hour runs one hour of a plain shop with so many listings, each of an article of its own, and so many orders, which the
// warehouse ships; nothing fails. It returns how far the clock, which is the caller's, went on during that hour: what
// comes before, until every listing shows its number for the first time, and what the oracles do after it, is not in it.
func Hour(t *testing.T, listings, orders int, clock func() time.Duration) (took time.Duration, r Result) {
	t.Helper()
	dir, err := scratch()
	if err != nil {
		return 0, Result{Violations: []string{err.Error()}}
	}
	defer func() { _ = os.RemoveAll(dir) }()
	synctest.Test(t, func(*testing.T) {
		s := newSim(1, Options{}, filepath.Join(dir, "sim.db"))
		s.world = plainWorld(listings)
		took = s.hour(orders, clock)
		s.result.TraceHash = s.journal.hash()
		r = s.result
	})
	return took, r
}

// plainWorld is one shop with one warehouse, both with pages and batches as usual.
func plainWorld(listings int) *world {
	w := &world{basis: fake.OnHand, positions: true, shopPage: 100, recordPage: 100, permille: map[fake.Fault]int{},
		locations: []open.Location{{ID: "main", Name: "Main"}},
		shops: []shopSpec{{name: "shop1", caps: open.MarketplaceCapabilities{ShopID: "shop1", Name: "shop1", BatchSize: 100,
			Shipments: true, IdempotentWrite: true, ConditionalWrite: true}}},
	}
	for i := range listings {
		sku := fmt.Sprintf("SKU-%04d", i+1)
		w.articles = append(w.articles, article{sku: sku, opening: []int64{100}})
		w.listings = append(w.listings, listingSpec{item: fmt.Sprintf("item-%04d", i+1), parts: []partSpec{{sku, 1}}})
	}
	return w
}

// hour lets the shop be set up, and then measures an hour of it.
func (s *sim) hour(orders int, clock func() time.Duration) time.Duration {
	if err := s.begin(); err != nil {
		s.violate("%v", err)
		return 0
	}
	defer s.close()
	const setUp = 10 * time.Minute
	s.at(0, "start", func() {
		s.startEngine()
		s.linkAll()
	})
	s.at(time.Second, "poll", s.poll)
	s.until(setUp)
	s.checkListings("after the start", false)

	actions := plainHour(s.seed, orders)
	for i, a := range actions {
		s.at(setUp+a.At, a.Kind, func() { s.act(i, a) })
	}
	began := clock()
	s.until(setUp + time.Hour)
	took := clock() - began
	s.until(setUp + time.Hour + 10*time.Minute)
	s.check()
	if s.result.Orders < orders {
		s.violate("%d orders were placed, and there must be %d", s.result.Orders, orders)
	}
	return took
}

// plainHour draws orders, as many shipments, and a receipt for every ten orders.
func plainHour(seed uint64, orders int) []Action {
	r := dice(seed, "hour")
	var out []Action
	add := func(n int, kind string) {
		for range n {
			out = append(out, Action{At: time.Duration(r.Int64N(int64(time.Hour))), Kind: kind, A: r.Uint64(), B: r.Uint64(), C: r.Uint64()})
		}
	}
	add(orders, "buy")
	add(orders, "ship")
	add(orders/10, "receive")
	slices.SortStableFunc(out, func(a, b Action) int { return int(a.At - b.At) })
	return out
}

// linkAll gives the engine the mapping of every listing in one import.
func (s *sim) linkAll() {
	if s.engine == nil {
		return
	}
	var rows strings.Builder
	rows.WriteString("connection,item,place,sku,units\n")
	for i := range s.world.listings {
		rows.WriteString(s.rows(i))
		s.mapped[i] = true
	}
	if v, err := s.engine.ImportMappings(s.ctx, strings.NewReader(rows.String()), "operator"); err != nil || len(v.Errors) > 0 {
		s.violate("import the mapping: %v %v", v.Errors, err)
	}
	s.passSoon()
}
