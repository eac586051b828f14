package sync_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func (l *ledger) sums(sku string) [4]stock.Quantity {
	l.t.Helper()
	v, err := l.engine.Item(l.t.Context(), stock.SKU(sku))
	if err != nil {
		l.t.Fatal(err)
	}
	return [4]stock.Quantity{v.OnHand, v.Committed, v.Unavailable, v.Available}
}

func (l *ledger) wants(what, sku string, want ...stock.Quantity) {
	l.t.Helper()
	if got := l.sums(sku); got != [4]stock.Quantity(want) {
		l.t.Errorf("%s: %s has %v on hand, committed, unavailable, available; want %v", what, sku, got, want)
	}
}

func fact(from string, kind connectors.Kind, sequence int64, set func(*connectors.Fact)) told {
	f := connectors.Fact{Kind: kind}
	if sequence > 0 {
		f.Position = stock.Position{Sequenced: true, Sequence: sequence}
	}
	set(&f)
	return told{stock.ConnectionID(from), f}
}

func says(sku string, quantity, at int64) told {
	return fact("erp", connectors.StockLevel, at, func(f *connectors.Fact) {
		f.Statement = &connectors.Statement{SKU: sku, Location: "main", Quantity: stock.Quantity(quantity)}
	})
}

func sold(order, item string, version, quantity int64) told {
	return fact("hand", connectors.OrderUpserted, 0, func(f *connectors.Fact) {
		f.Order = &connectors.Order{OrderID: order, Version: version, Status: connectors.OrderOpen, PlacedAt: time.Unix(1_700_000_000, 0).UTC(),
			Lines: []connectors.ChannelLine{{LineID: "1", Ref: ref(item), Quantity: stock.Quantity(quantity)}}}
	})
}

func ships(order, line, sku string, quantity, at int64) told {
	return fact("erp", connectors.ShipmentShipped, at, func(f *connectors.Fact) {
		f.Shipment = &connectors.Shipment{ShipmentID: "S-" + order, OrderKey: "hand:" + order,
			Lines: []connectors.ShipmentLine{{LineID: line, SKU: sku, Quantity: stock.Quantity(quantity), Location: "main"}}}
	})
}

// An article gets another name while orders of it are open and its statement under the new name has come already: what is
// promised goes over whole, nothing is counted twice, and facts under either name are about the one article.
func TestARenameDuringOpenOrders(t *testing.T) {
	for _, first := range []bool{false, true} { // the statement of the new name comes before the rename
		l := newLedger(t)
		l.link([]string{"hand,single,,OLD,1", "hand,six,,OLD,6", "hand,set,,OLD,1", "hand,set,,OTHER,1"})
		l.deliver([]told{says("OLD", 30, 1), says("OTHER", 9, 1), sold("a", "single", 1, 4), sold("b", "set", 1, 2)})
		l.wants("before", "OLD", 30, 6, 0, 24)
		if first {
			l.deliver([]told{says("NEW", 30, 2)})
		}
		view, err := l.engine.RenameSKU(t.Context(), "OLD", "NEW", "ann")
		if err != nil {
			t.Fatal(err)
		}
		if view.Orders != 2 || view.Committed != 6 {
			t.Errorf("the rename moved %+v, want 2 orders with 6 units", view)
		}
		l.deliver(nil)
		l.wants("renamed", "NEW", 30, 6, 0, 24)
		l.wants("asked for by the old name", "OLD", 30, 6, 0, 24)
		l.verified()
		l.deliver([]told{says("NEW", 30, 3), says("OLD", 30, 4)}) // a source that is late says the old name
		l.wants("stated by both names", "NEW", 30, 6, 0, 24)
		l.deliver([]told{ships("a", "1", "OLD", 4, 5), ships("b", "1/OLD", "NEW", 2, 6), ships("a", "1", "OLD", 4, 5)})
		l.wants("shipped under both names", "NEW", 24, 0, 0, 24)
		for item, want := range map[string]stock.Quantity{"single": 24, "six": 4, "set": 7} {
			v, err := l.engine.Listing(t.Context(), stocksync.ListingKey{Connection: "hand", Ref: ref(item)})
			if err != nil || text(v.Target) != text(&want) {
				t.Errorf("%s should show %s (%v), want %d", item, text(v.Target), err, want)
			}
		}
		var csv strings.Builder
		if err := l.engine.ExportMappings(t.Context(), &csv); err != nil || strings.Contains(csv.String(), "OLD") {
			t.Errorf("the mapping still names the old SKU (%v):\n%s", err, csv.String())
		}
		l.link([]string{"hand,late,,OLD,1"}) // a file with the old name means the new one
		l.deliver(nil)
		if v, err := l.engine.Listing(t.Context(), stocksync.ListingKey{Connection: "hand", Ref: ref("late")}); err != nil || v.Target == nil || *v.Target != 24 {
			t.Errorf("a listing mapped under the old name should show %s (%v), want 24", text(v.Target), err)
		}
		l.verified()
	}
}

// What was decided about an article holds under its new name, now and for what was decided to come later; what was decided
// for the new name itself stands. The audit trail tells of each.
func TestSettingsMoveWithARenamedArticle(t *testing.T) {
	l := newLedger(t)
	l.link([]string{"hand,single,,OLD,1", "hand,other,,B,1"})
	l.deliver([]told{says("OLD", 30, 1), says("B", 9, 2)})
	by := stocksync.Actor{Name: "ann"}
	soon := time.Now().Add(time.Hour).UTC()
	decide := func(kind stocksync.SettingKind, key, value string, at time.Time) {
		t.Helper()
		if _, err := l.engine.ChangeSettings(t.Context(), by, []stocksync.SettingChange{{Kind: kind, Key: key, Value: []byte(value), EffectiveAt: at}}); err != nil {
			t.Fatal(err)
		}
	}
	decide(stocksync.PolicySetting, "sku:OLD", `{"buffer":4}`, time.Time{})
	decide(stocksync.PolicySetting, "sku:OLD", `{"buffer":6}`, soon)
	decide(stocksync.ArticleSetting, "OLD", `{"unit_cost":70,"price":90}`, time.Time{})
	decide(stocksync.ClearanceSetting, "spring", `{"sku":"OLD","kind":"discount","start":"2026-01-01T00:00:00Z"}`, time.Time{})
	decide(stocksync.PolicySetting, "sku:B", `{"buffer":1}`, time.Time{})
	view, err := l.engine.RenameSKU(t.Context(), "OLD", "NEW", "ann")
	if err != nil || view.Settings != 3 {
		t.Fatalf("the rename moved %+v (%v), want 3 settings", view, err)
	}
	l.deliver(nil)
	if v, err := l.engine.Listing(t.Context(), stocksync.ListingKey{Connection: "hand", Ref: ref("single")}); err != nil || v.Target == nil || *v.Target != 26 {
		t.Errorf("the listing should show %s (%v), want 26: 30 less the buffer of 4", text(v.Target), err)
	}
	versions, err := l.engine.SettingVersions(t.Context(), stocksync.PolicySetting, "sku:NEW")
	if err != nil || len(versions) != 2 || string(versions[0].Value) != `{"buffer":6}` || !versions[0].EffectiveAt.Equal(soon) || string(versions[1].Value) != `{"buffer":4}` || versions[1].By != "ann" {
		t.Errorf("the policy of the new name is %+v (%v)", versions, err)
	}
	for _, kind := range []stocksync.SettingKind{stocksync.PolicySetting, stocksync.ArticleSetting, stocksync.ClearanceSetting} {
		rows, err := l.engine.Settings(t.Context(), kind, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if strings.Contains(r.Key+string(r.Value), "OLD") {
				t.Errorf("%s %s still names the old SKU: %s", r.Kind, r.Key, r.Value)
			}
		}
	}
	if trail, err := l.engine.Audit(t.Context(), "policy sku:OLD", 0, 10); err != nil || len(trail) != 3 || trail[2].Action != "policy removed" || trail[2].By != "ann" || trail[2].Reason == "" {
		t.Errorf("the trail of the old policy is %+v (%v)", trail, err)
	}

	if view, err = l.engine.MergeSKU(t.Context(), "NEW", "B", "ann"); err != nil || view.Settings != 3 {
		t.Fatalf("the merge moved %+v (%v), want 3 settings", view, err)
	}
	versions, err = l.engine.SettingVersions(t.Context(), stocksync.PolicySetting, "sku:B")
	if err != nil || len(versions) != 1 {
		t.Errorf("the policy that was decided for B itself was replaced: %+v (%v)", versions, err)
	}
	l.verified()
}

// Two articles become one: what was stated of both is added until the source states the sum, and what was promised of
// both stays promised.
func TestAMergeKeepsEveryPromise(t *testing.T) {
	l := newLedger(t)
	l.link([]string{"hand,a,,A,1", "hand,b,,B,1"})
	l.deliver([]told{says("A", 10, 1), says("B", 5, 2), sold("a", "a", 1, 3), sold("b", "b", 1, 1)})
	if _, err := l.engine.MergeSKU(t.Context(), "A", "C", "ann"); !errors.Is(err, stocksync.ErrInvalid) {
		t.Errorf("merging into what nobody knows ends with %v", err)
	}
	if _, err := l.engine.RenameSKU(t.Context(), "NOBODY", "C", "ann"); !errors.Is(err, stocksync.ErrNotFound) {
		t.Errorf("renaming what nobody knows ends with %v", err)
	}
	if _, err := l.engine.MergeSKU(t.Context(), "A", "B", "ann"); err != nil {
		t.Fatal(err)
	}
	l.deliver(nil)
	l.wants("merged", "B", 15, 4, 0, 11)
	l.wants("asked for by the old name", "A", 15, 4, 0, 11)
	l.verified()
	l.deliver([]told{says("B", 15, 3)})
	l.wants("stated as one", "B", 15, 4, 0, 11)
	l.deliver([]told{ships("a", "1", "B", 3, 4), sold("b", "b", 2, 0)})
	l.wants("shipped and cancelled", "B", 12, 0, 0, 12)
	for _, item := range []string{"a", "b"} {
		v, err := l.engine.Listing(t.Context(), stocksync.ListingKey{Connection: "hand", Ref: ref(item)})
		if err != nil || v.Target == nil || *v.Target != 12 {
			t.Errorf("%s should show %s (%v), want 12", item, text(v.Target), err)
		}
	}
	l.verified()
}
