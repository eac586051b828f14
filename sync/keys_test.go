package sync_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var keeper = stocksync.Actor{Name: "keeper"}

func keyFile(from, to int) string {
	var b strings.Builder
	b.WriteString("key\n")
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "SECRET-%04d\n", i)
	}
	return b.String()
}

func (h *house) importKeys(sku, file string) stocksync.KeysImportView {
	h.t.Helper()
	view, err := h.engine.ImportKeys(h.ctx, keeper, stock.SKU(sku), strings.NewReader(file))
	if err != nil {
		h.t.Fatal(err)
	}
	h.settled()
	return view
}

// keys counts the keys of a SKU by state, and demands that no unit of a line has two.
func (h *house) keys(sku string) (all []stocksync.KeyView, byState map[string]int) {
	h.t.Helper()
	all, err := h.engine.ListKeys(h.ctx, stock.SKU(sku), 0, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	byState = make(map[string]int)
	units := make(map[string]bool)
	for _, k := range all {
		byState[k.State]++
		if unit := fmt.Sprint(k.Connection, k.OrderID, k.LineID, k.Unit); k.Unit > 0 && k.State != "revoked" {
			if units[unit] {
				h.t.Errorf("%s has two keys", unit)
			}
			units[unit] = true
		}
	}
	return all, byState
}

func TestAHundredKeysUnderAHundredAndFiftyOrders(t *testing.T) {
	shops := map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}
	within(t, houseOptions{positions: true, shops: shops, keySecret: "a secret of some length"}, func(h *house) {
		h.sold("APP", `{"kind":"licence"}`)
		h.importKeys("APP", keyFile(0, 100))
		h.shows("a", "APP", 100)
		h.item("APP", 100, 0, 100)

		// Two shops sell at once what each shows.
		h.trouble.setDown("a/stock/write", true)
		h.trouble.setDown("b/stock/write", true)
		var buyers sync.WaitGroup
		for i := range 150 {
			buyers.Go(func() {
				if _, ok := h.shops[string("ab"[i%2])].Buy("APP", 1); !ok {
					t.Errorf("order %d was refused", i)
				}
			})
		}
		buyers.Wait()
		h.trouble.setDown("a/stock/write", false)
		h.trouble.setDown("b/stock/write", false)
		h.settled()
		if all, states := h.keys("APP"); len(all) != 100 || states["assigned"] != 100 {
			t.Errorf("the keys are %v, want 100 assigned", states)
		}
		h.item("APP", 100, 150, -50)
		h.shows("a", "APP", 0)
		if n := h.incidents(stocksync.IncidentOversell); n != 1 {
			t.Errorf("%d incidents of 50 lines that wait for keys", n)
		}

		// Those who wait are served when keys come, also when everything is told once more.
		h.restart()
		h.importKeys("APP", keyFile(100, 160))
		if _, states := h.keys("APP"); states["assigned"] != 150 || states["free"] != 10 {
			t.Errorf("the keys are %v, want 150 assigned and 10 free", states)
		}
		h.shows("b", "APP", 10)
		if v, err := h.engine.Verify(h.ctx, nil); err != nil || !v.Sound {
			t.Errorf("verification: %+v (%v)", v, err)
		}
	})
}

func TestAKeyIsForOneUnitForEver(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, keySecret: "a secret of some length"}, func(h *house) {
		h.sold("APP", `{"kind":"licence"}`)
		h.importKeys("APP", keyFile(0, 10))
		order := h.buy("a", "APP", 3)
		h.settled()
		h.shows("a", "APP", 7)
		h.shops["a"].Cancel(order)
		h.settled()
		h.shows("a", "APP", 7) // the buyer may have seen them
		all, states := h.keys("APP")
		if states["assigned"] != 3 || all[0].OrderID != order || all[0].Unit != 1 {
			t.Fatalf("the keys are %v, the first %+v", states, all[0])
		}

		first, last := id(t, all[0].ID), id(t, all[9].ID)
		if key, err := h.engine.RevealKey(h.ctx, keeper, first); err != nil || key != "SECRET-0000" {
			t.Errorf("revealed %q (%v)", key, err)
		}
		if _, err := h.engine.RevealKey(h.ctx, keeper, first); !errors.Is(err, stocksync.ErrConflict) {
			t.Errorf("revealed again: %v", err)
		}
		if _, err := h.engine.RevealKey(h.ctx, keeper, last); !errors.Is(err, stocksync.ErrInvalid) {
			t.Errorf("a free key is revealed: %v", err)
		}
		if err := h.engine.RevokeKey(h.ctx, keeper, last); err != nil {
			t.Error(err)
		}
		h.settled()
		h.shows("a", "APP", 6)
		if err := h.engine.RevokeKey(h.ctx, keeper, first); err != nil {
			t.Error(err)
		}
		h.settled()
		h.shows("a", "APP", 6)
		h.item("APP", 6, 0, 6) // 10 less two revoked less two with a line that wants none any more

		// Neither the file of the database nor the audit trail holds a key.
		trail, err := h.engine.Audit(h.ctx, "", 0, 100)
		if err != nil || strings.Contains(fmt.Sprintf("%s", trail), "SECRET-") {
			t.Errorf("the audit trail is %s (%v)", trail, err)
		}
		for _, file := range []string{h.path, h.path + "-wal"} {
			if content, err := os.ReadFile(file); err == nil && strings.Contains(string(content), "SECRET-") {
				t.Errorf("%s holds keys in the clear", file)
			}
		}
		if v, err := h.engine.Verify(h.ctx, nil); err != nil || !v.Sound {
			t.Errorf("verification: %+v (%v)", v, err)
		}
	})
}

// TestAKeyOfARejectedLineIsNotSoldAgain: the warehouse rejects a line that has its keys; the buyer may have seen them.
func TestAKeyOfARejectedLineIsNotSoldAgain(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, keySecret: "a secret of some length"}, func(h *house) {
		h.sold("APP", `{"kind":"licence"}`)
		h.warehouse.AddItem(open.Item{SKU: "APP", Name: "APP"})
		h.importKeys("APP", keyFile(0, 10))
		h.buy("a", "APP", 3)
		h.settled()
		h.shows("a", "APP", 7)
		orders := h.warehouse.Orders()
		if len(orders) != 1 || !h.warehouse.Reject(orders[0].Key) {
			t.Fatalf("the warehouse has %+v", orders)
		}
		h.settled()
		h.shows("a", "APP", 7)
		h.item("APP", 7, 0, 7) // the three keys are not there any more
		if _, states := h.keys("APP"); states["assigned"] != 3 || states["free"] != 7 {
			t.Errorf("the keys are %v, want 3 assigned and 7 free", states)
		}
		if v, err := h.engine.Verify(h.ctx, nil); err != nil || !v.Sound {
			t.Errorf("verification: %+v (%v)", v, err)
		}
	})
}

func TestBadKeyFilesAreRefusedAsAWhole(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, keySecret: "a secret of some length"}, func(h *house) {
		h.sold("APP", `{"kind":"licence"}`)
		if _, err := h.engine.ImportKeys(h.ctx, keeper, "OTHER", strings.NewReader("key\nx\n")); !errors.Is(err, stocksync.ErrInvalid) {
			t.Errorf("keys of what is no licence: %v", err)
		}
		h.importKeys("APP", "key\nSECRET-A\n")
		for file, lines := range map[string][]int{
			"key\nSECRET-B\nSECRET-C\nSECRET-B\n": {4},
			"key\nSECRET-D\nSECRET-A\n":           {3},
			"key\n\" \"\nSECRET-E\n":              {2},
			"code\nSECRET-F\n":                    {1},
			"key\nSECRET-G,SECRET-H\n":            {2},
		} {
			view := h.importKeys("APP", file)
			var got []int
			for _, e := range view.Errors {
				got = append(got, e.Line)
				if strings.Contains(fmt.Sprint(e), "SECRET-") {
					t.Errorf("%q: the error tells a key: %v", file, e)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(lines) || view.Keys != 0 {
				t.Errorf("%q: %d keys, errors in lines %v, want %v", file, view.Keys, got, lines)
			}
		}
		if all, _ := h.keys("APP"); len(all) != 1 {
			t.Errorf("%d keys are stored, want 1", len(all))
		}
	})
	within(t, houseOptions{}, func(h *house) {
		if _, err := h.engine.ImportKeys(h.ctx, keeper, "APP", strings.NewReader("key\nx\n")); !errors.Is(err, stocksync.ErrInvalid) || !strings.Contains(err.Error(), "keys: {secret:") {
			t.Errorf("without a secret: %v", err)
		}
	})
}

func TestARevokedKeyIsReplaced(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, keySecret: "a secret of some length"}, func(h *house) {
		h.sold("APP", `{"kind":"licence"}`)
		h.importKeys("APP", keyFile(0, 3))
		order := h.buy("a", "APP", 2)
		h.settled()
		h.shows("a", "APP", 1)
		all, _ := h.keys("APP")
		revoke := func(i int) {
			t.Helper()
			if err := h.engine.RevokeKey(h.ctx, keeper, id(t, all[i].ID)); err != nil {
				t.Fatal(err)
			}
			h.settled()
			all, _ = h.keys("APP")
		}
		// The third key takes the place of the first.
		revoke(0)
		if all[2].OrderID != order || all[2].Unit != 1 || all[0].State != "revoked" || all[0].OrderID != order {
			t.Errorf("the keys are %+v", all)
		}
		h.item("APP", 2, 2, 0)
		h.shows("a", "APP", 0)
		// None is left for the place of the second: the line waits, and gets the next one that comes in.
		revoke(1)
		h.item("APP", 1, 2, -1)
		if n := h.incidents(stocksync.IncidentOversell); n != 1 {
			t.Errorf("%d incidents of a line that waits for a key, want 1", n)
		}
		h.importKeys("APP", keyFile(10, 12))
		if all, states := h.keys("APP"); states["assigned"] != 2 || states["free"] != 1 || all[3].Unit != 2 {
			t.Errorf("the keys are %v: %+v", states, all)
		}
		h.item("APP", 3, 2, 1)
		if n := h.incidents(stocksync.IncidentOversell); n != 0 {
			t.Errorf("%d incidents after a key came in", n)
		}
		// Cancelled with both keys, of which one is revoked afterwards: what a buyer may have seen is not sold again.
		h.shops["a"].Cancel(order)
		h.settled()
		h.shows("a", "APP", 1)
		all, _ = h.keys("APP")
		revoke(2)
		h.shows("a", "APP", 1)
		h.item("APP", 1, 0, 1)
		if v, err := h.engine.Verify(h.ctx, nil); err != nil || !v.Sound {
			t.Errorf("verification: %+v (%v)", v, err)
		}
	})
}

func TestWhatBecomesOfKeysHasTheirOrderAsItsCause(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, keySecret: "a secret of some length"}, func(h *house) {
		h.sold("APP", `{"kind":"licence"}`)
		h.stocked("X", 50)
		h.importKeys("APP", keyFile(0, 10))
		order := h.buy("a", "APP", 2)
		h.settled()
		// The cancellation comes in one batch with another order.
		h.shops["a"].Cancel(order)
		h.buy("a", "X", 1)
		h.settled()
		entries, err := h.store.Entries(h.ctx, "APP", time.Now(), 50)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range entries {
			if p.To != stock.Outside {
				continue
			}
			n++
			event, err := h.engine.Event(h.ctx, p.Cause.Event)
			if err != nil || !strings.Contains(event.Type, "order") || p.Cause.Reference != "a:"+order {
				t.Errorf("%d of keys left because of %+v, event %q (%v)", p.Quantity, p.Cause, event.Type, err)
			}
		}
		if n != 1 {
			t.Errorf("%d postings take keys out, want 1 for the two that the buyer has", n)
		}
	})
}

func TestAnotherSecretIsRefusedWhileThereAreKeys(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, keySecret: "a secret of some length"}, func(h *house) {
		h.sold("APP", `{"kind":"licence"}`)
		h.importKeys("APP", keyFile(0, 3))
		changed := h.config
		changed.KeySecret = []byte("another secret, as long")
		other, err := stocksync.New(changed, h.store)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Run(h.ctx, nil); err == nil || !strings.Contains(err.Error(), "is not the one that 3 stored keys were encrypted with") {
			t.Errorf("a start with another secret: %v", err)
		}
		if _, err := other.ImportKeys(h.ctx, keeper, "APP", strings.NewReader(keyFile(2, 5))); !errors.Is(err, stocksync.ErrInvalid) {
			t.Errorf("an import with another secret: %v", err)
		}
		if all, _ := h.keys("APP"); len(all) != 3 {
			t.Errorf("%d keys are stored, want 3", len(all))
		}
		// Without one everything but keys goes on.
		h.config.KeySecret = nil
		h.restart()
		h.buy("a", "APP", 1)
		h.settled()
		h.shows("a", "APP", 2)
	})
}
