package sync_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/stock"
)

// A SKU is its bytes: one that differs from another in case or space alone is taken, with a warning.
func TestAnImportWarnsOfLookAlikes(t *testing.T) {
	l := newLedger(t)
	l.link([]string{"hand,known,,TEE-RED,1"})
	for file, want := range map[string]int{
		"hand,a,,tee red,1":                    1,
		"hand,a,,TEE-RED,1":                    0,
		"hand,a,,TEE-BLUE,1":                   0,
		"hand,a,,MUG 1,1\nhand,b,,mug1,1":      1,
		"hand,a,,MUG 1,1\nhand,b,,TEE-GREEN,1": 0,
	} {
		preview, err := l.engine.PreviewMappings(t.Context(), strings.NewReader("connection,item,place,sku,units\n"+file+"\n"))
		if err != nil || len(preview.Warnings) != want {
			t.Errorf("of %q the preview warns %q (%v), want %d warnings", file, preview.Warnings, err, want)
		}
	}
	v, err := l.engine.ImportMappings(t.Context(), strings.NewReader("connection,item,place,sku,units\nhand,b,,tee red,1\n"), "ann")
	if err != nil || v.Listings != 1 || len(v.Warnings) != 1 || !strings.Contains(v.Warnings[0], "TEE-RED") {
		t.Errorf("the import says %+v (%v), want one listing and a warning", v, err)
	}
	l.deliver([]told{says("TEE-RED", 5, 1), says("tee red", 7, 2)})
	l.wants("the one", "TEE-RED", 5, 0, 0, 5)
	l.wants("the other", "tee red", 7, 0, 0, 7)
}

// Orders of a listing that nobody mapped are shown with what they want, and are applied in the order in which they came
// once somebody does.
func TestUnmappedDemandIsShownAndReplayedInOrder(t *testing.T) {
	l := newLedger(t)
	l.link([]string{"hand,known,,TEA,1"})
	l.deliver([]told{says("TEA", 30, 1), sold("c", "tea", 1, 2), sold("a", "tea", 1, 3), sold("b", "tea", 1, 4), sold("k", "known", 1, 1), sold("a", "tea", 2, 5)})
	l.deliver([]told{sold("z", "other", 1, 1), sold("y", "other", 1, 1), sold("y", "other", 2, 0)}) // y wants nothing any more
	rows, err := l.engine.Unmapped(t.Context())
	if err != nil || len(rows) != 2 {
		t.Fatalf("unmapped are %+v (%v), want two listings", rows, err)
	}
	if r := rows[0]; r.Item != "tea" || r.Orders != 3 || r.Packs != 11 || time.Since(r.OldestAt) > time.Hour {
		t.Errorf("the first is %+v, want tea with 3 orders of 11 packs", r)
	}
	if r := rows[1]; r.Item != "other" || r.Orders != 1 || r.Packs != 1 || r.Suggestion != nil {
		t.Errorf("the second is %+v, want other with one order, and nothing that looks like it", r)
	}
	l.wants("before the mapping", "TEA", 30, 1, 0, 29)
	l.link([]string{"hand,tea,,TEA,1"})
	l.deliver(nil)
	l.wants("after the mapping", "TEA", 30, 12, 0, 18)
	entries, err := l.store.Entries(t.Context(), "TEA", time.Now().Add(time.Hour), 100)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, e := range slices.Backward(entries) {
		if e.To == stock.Committed {
			order = append(order, e.Cause.Reference)
		}
	}
	if want := []string{"hand:k", "hand:c", "hand:a", "hand:b"}; !slices.Equal(order, want) {
		t.Errorf("the orders were applied as %v, want %v", order, want)
	}
	if rows, err := l.engine.Unmapped(t.Context()); err != nil || len(rows) != 1 || rows[0].Item != "other" {
		t.Errorf("then unmapped are %+v (%v), want other alone", rows, err)
	}
	l.verified()
}
