package main_test

import (
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors/open"
)

// An article is renamed by the command line while an order of it is open: totals stay, the new name's statement is not
// added, and what is mapped is planned under the new name.
func TestRenameBesideTheServer(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA", "POT")
		s.deliver("warehouse", "opening", levelEvent("TEA", 10, 1))
		s.deliver("warehouse", "pots", levelEvent("POT", 4, 1))
		s.deliver("shop", "order", orderEvent("O", 1, "TEA", 3, 0, 0))
		h.shows("shop", "TEA", 7)
		if r := h.must(exitOK, "mappings", "rename", "TEA", "CHAI"); !strings.Contains(r.stdout, "1 orders with 3 promised units") {
			t.Errorf("the rename prints %q", r.stdout)
		}
		s.deliver("warehouse", "new name", levelEvent("CHAI", 12, 2))
		h.shows("shop", "TEA", 9)
		if got, want := get[itemView](s, "/items/CHAI"), (itemView{OnHand: 12, Committed: 3, Available: 9, ATP: 9}); got != want {
			t.Errorf("CHAI is %+v, want %+v", got, want)
		}
		h.must(exitOK, "mappings", "merge", "POT", "CHAI")
		h.shows("shop", "POT", 13)
		h.shows("shop", "TEA", 13)
		if r := h.must(exitFailed, "mappings", "rename", "NOBODY", "X"); !strings.Contains(r.stderr, "NOBODY") {
			t.Errorf("renaming what nobody knows says %q", r.stderr)
		}
		if r := h.must(exitFailed, "mappings", "delete", "shop", "TEA"); !strings.Contains(r.stderr, "open orders") {
			t.Errorf("deleting with an open order says %q", r.stderr)
		}
		h.must(exitOK, "mappings", "delete", "shop", "TEA", "--force")
		if l := get[listingView](s, "/listings/shop/TEA"); l.State != "unmapped" || l.Target != nil {
			t.Errorf("the listing is %+v, want it unmapped", l)
		}
		s.settled()
		h.shows("shop", "TEA", 13) // left as it is, not zeroed
		verified(s)
	})
}

// Before an import, its effect is told: which listings change, what each would publish, and what is suspiciously much.
func TestImportIsPreviewed(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA", "POT")
		h.shops["shop"].AddListing(open.Listing{Item: "six"})
		s.deliver("warehouse", "opening", levelEvent("TEA", 120, 1))
		h.shows("shop", "TEA", 120)
		s.settled()
		r := h.runWith(strings.NewReader(mappingCSV("shop,TEA,,TEA,24", "shop,six,,TEA,6", "shop,POT,,POT,1")), "mappings", "import", "-", "--dry-run")
		if r.code != exitOK {
			t.Fatalf("the preview ends with %d: %s", r.code, r.stderr)
		}
		var rows []string
		for line := range strings.SplitSeq(strings.TrimSpace(r.stdout), "\n") {
			rows = append(rows, strings.Join(strings.Fields(line), " "))
		}
		want := []string{"CONNECTION ITEM PLACE NOW THEN WARNING", "shop TEA 120 5 5 instead of 120 is more than tenfold: look at the units", "shop six - 20"}
		if strings.Join(rows, "\n") != strings.Join(want, "\n") {
			t.Errorf("the preview prints\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
		}
		h.shows("shop", "TEA", 120)
		if got := h.must(exitOK, "mappings", "export").stdout; got != mappingCSV("shop,POT,,POT,1", "shop,TEA,,TEA,1") {
			t.Errorf("after the preview the mapping is %q", got)
		}
	})
}
