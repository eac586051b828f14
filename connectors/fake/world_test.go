package fake

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors/open"
)

// small is a world of two shops that sell the same three SKUs, and one warehouse.
func small(t *testing.T, seed uint64, shown, supply int64) (*World, []*Shop, *Warehouse) {
	t.Helper()
	warehouse := NewWarehouse(WarehouseConfig{})
	t.Cleanup(warehouse.Close)
	parts := map[Sale][]Component{}
	var shops []*Shop
	for _, id := range []string{"one", "two"} {
		s := NewShop(ShopConfig{Capabilities: open.MarketplaceCapabilities{ShopID: id}})
		t.Cleanup(s.Close)
		shops = append(shops, s)
		for i := range 3 {
			sku, item := fmt.Sprintf("S%d", i), fmt.Sprintf("item-%d", i)
			s.AddListing(open.Listing{Item: item, Quantity: &shown})
			parts[Sale{Shop: id, Item: item}] = []Component{{SKU: sku, Units: 1}}
		}
	}
	for i := range 3 {
		sku := fmt.Sprintf("S%d", i)
		warehouse.AddItem(open.Item{SKU: sku})
		ok(t, warehouse.SetOpening(sku, "main", supply))
	}
	w := NewWorld(WorldConfig{Seed: seed, Shops: shops, Warehouse: warehouse, Components: parts,
		OrdersPerSecond: 50, CancelsPerSecond: 5, ReceiptsPerSecond: 2})
	return w, shops, warehouse
}

// forward hands the shops' orders to the warehouse, as truestock does.
func forward(c client, w *World, shops []*Shop) {
	for _, s := range shops {
		for _, o := range s.Orders() {
			n := open.NewOrder{Key: o.OrderID, Channel: s.ID(), OrderID: o.OrderID, PlacedAt: o.PlacedAt}
			for _, l := range o.Lines {
				for _, part := range w.cfg.Components[Sale{Shop: s.ID(), Item: l.Item}] {
					n.Lines = append(n.Lines, open.NewOrderLine{LineID: l.LineID, SKU: part.SKU, Quantity: *l.Quantity * part.Units})
				}
			}
			call[open.OrderNumber](c, "POST", "/orders", n)
		}
	}
}

func runFor(t *testing.T, w *World, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	w.Run(ctx)
}

func TestWorldIsDecidedByItsSeed(t *testing.T) {
	type seen struct {
		totals Totals
		orders [][]open.Order
		sold   map[string]int64
	}
	run := func(seed uint64) (got seen) {
		synctest.Test(t, func(t *testing.T) {
			w, shops, _ := small(t, seed, 400, 1000)
			runFor(t, w, 20*time.Second)
			got.totals, got.sold = w.Totals(), w.Sold()
			for _, s := range shops {
				got.orders = append(got.orders, s.Orders())
			}
		})
		return got
	}
	one := run(1)
	if !reflect.DeepEqual(one, run(1)) {
		t.Fatal("one seed gave two worlds")
	}
	if reflect.DeepEqual(one.totals, run(2).totals) {
		t.Fatal("two seeds gave one world")
	}
	if n := one.totals; n.Placed < 800 || n.Placed > 1200 || n.Cancelled < 50 || n.Receipts < 20 {
		t.Fatalf("totals %+v at 50 orders, 5 cancellations and 2 receipts a second for 20 s", n)
	}
}

func TestWorldOversell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Each shop may sell half of what there is, and nothing comes back on show.
		w, _, _ := small(t, 1, 50, 100)
		runFor(t, w, 10*time.Second)
		if n := w.OversoldUnits(); n != 0 || w.Totals().Refused == 0 {
			t.Fatalf("oversold %d, totals %+v", n, w.Totals())
		}
		// Each shop may sell all of it, and nothing more comes in.
		w, _, warehouse := small(t, 1, 100, 100)
		w.cfg.CancelsPerSecond, w.cfg.ReceiptsPerSecond = 0, 0
		runFor(t, w, 20*time.Second)
		var want int64
		for sku, sold := range w.Sold() {
			want += max(0, sold-warehouse.StockOf(sku).Supply())
		}
		if n := w.OversoldUnits(); n == 0 || n != want {
			t.Fatalf("oversold %d, want %d", n, want)
		}
	})
}

func TestWorldCountsBundlesCancellationsAndRejections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, shops, warehouse := small(t, 1, 1000, 10)
		c := speak(t, warehouse)
		w.cfg.Components[Sale{Shop: "one", Item: "item-0"}] = []Component{{SKU: "S0", Units: 6}, {SKU: "S1", Units: 1}}
		bundle, _ := shops[0].Buy("item-0", 1)
		plain, _ := shops[1].Buy("item-0", 5)
		if got := w.Oversold(); !reflect.DeepEqual(got, map[string]int64{"S0": 1}) {
			t.Fatalf("oversold %v, want 1 of S0", got)
		}
		shops[1].PartialCancel(plain, "1", 1)
		if n := w.OversoldUnits(); n != 0 {
			t.Fatalf("oversold %d after a cancellation", n)
		}
		// What was shipped is gone, whatever is cancelled afterwards.
		n := newOrder("k", lineOf("1", "S0", 4))
		n.OrderID = plain
		call[open.OrderNumber](c, "POST", "/orders", n)
		warehouse.Ship("k")
		shops[1].Cancel(plain)
		if got := w.Sold(); got["S0"] != 10 || got["S1"] != 1 {
			t.Fatalf("sold %v", got)
		}
		// What the warehouse rejects, it need not deliver.
		n = newOrder("k2", lineOf("1", "S0", 6), lineOf("2", "S1", 1))
		n.OrderID = bundle
		call[open.OrderNumber](c, "POST", "/orders", n)
		warehouse.Reject("k2")
		if got := w.Sold(); got["S0"] != 4 || got["S1"] != 0 {
			t.Fatalf("sold %v", got)
		}
	})
}

func TestWorldShips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, shops, warehouse := small(t, 3, 50, 100)
		runFor(t, w, 5*time.Second)
		forward(speak(t, warehouse), w, shops)
		runFor(t, w, time.Second)
		if n := w.Totals(); n.Shipments == 0 || warehouse.StockOf("S0").Shipped == 0 {
			t.Fatalf("totals %+v", n)
		}
		if n := w.OversoldUnits(); n != 0 {
			t.Fatalf("oversold %d", n)
		}
	})
}

func TestWorldWithNothingToDoStands(t *testing.T) {
	w := NewWorld(WorldConfig{OrdersPerSecond: 5, ReceiptsPerSecond: 5})
	w.Run(t.Context()) // returns
	if w.OversoldUnits() != 0 {
		t.Fatal("an empty world oversold")
	}
}
