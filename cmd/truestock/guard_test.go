package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

const (
	guardedListings = 30
	// neverHeld is how many listings may go to zero before the guard asks a person.
	neverHeld = 9
)

type planView struct {
	ID         string `json:"id"`
	Connection string `json:"connection"`
	State      string `json:"state"`
	Reason     string `json:"reason"`
	Changes    []struct {
		Item   string `json:"item"`
		Have   *int64 `json:"have"`
		Target *int64 `json:"target"`
	} `json:"changes"`
	DecidedBy string `json:"decided_by"`
}

func guardedSKU(i int) string { return fmt.Sprintf("SKU-%02d", i) }

// guardedHouse is a warehouse for which the test speaks, and a shop with thirty listings that show 5 each.
func guardedHouse(t *testing.T, h *house) *server {
	t.Helper()
	skus := make([]string, guardedListings)
	for i := range skus {
		skus[i] = guardedSKU(i)
	}
	s := smallHouse(t, h, "on_hand", skus...)
	for i, sku := range skus {
		s.deliver("warehouse", "start "+sku, levelEvent(sku, 5, int64(i)+1))
	}
	for _, sku := range skus {
		h.shows("shop", sku, 5)
	}
	s.settled()
	return s
}

// sendZeros lets the warehouse say that nothing is left of all but two articles, and waits until the guard has what it
// holds. It returns how many listings show zero: those that went before the feed looked like a mistake.
func sendZeros(t *testing.T, s *server) (zeros int) {
	t.Helper()
	for i := range guardedListings - 2 {
		s.deliver("warehouse", fmt.Sprint("zero ", i), levelEvent(guardedSKU(i), 0, 1000+int64(i)))
	}
	s.applied()
	s.settled() // what is held waits for a person
	for i := range guardedListings - 2 {
		l := get[listingView](s, "/listings/shop/"+guardedSKU(i))
		shown, _ := s.h.shops["shop"].Quantity(guardedSKU(i), "")
		switch {
		case shown == 0 && l.State == "in_sync":
			zeros++
		case shown != 5 || l.State != "held" || l.HeldReason == "" || *l.Target != 0:
			t.Errorf("%s shows %d and is %+v, want 5, held, with a reason", guardedSKU(i), shown, l)
		}
	}
	if zeros > neverHeld {
		t.Errorf("%d listings went to zero, want at most %d before a person is asked", zeros, neverHeld)
	}
	return zeros
}

// heldPlans returns the plans that wait for a person.
func heldPlans(t *testing.T, s *server) []planView {
	t.Helper()
	plans := get[list[planView]](s, "/plans?state=held").Data
	if len(plans) == 0 {
		t.Fatal("no plan is held")
	}
	for _, p := range plans {
		if p.Connection != "shop" || len(p.Changes) == 0 || !strings.Contains(p.Reason, "mistake") {
			t.Errorf("the held plan is %+v", p)
		}
	}
	return plans
}

// A feed that zeroes most of a channel is held; listings keep showing; what a person approves goes out.
func TestMassZeroingIsHeldUntilApproved(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := guardedHouse(t, h)
		// One article that sells out is no mistake: it passes at once.
		s.deliver("warehouse", "single", levelEvent(guardedSKU(29), 0, 500))
		h.shows("shop", guardedSKU(29), 0)

		sendZeros(t, s)
		plans := heldPlans(t, s)
		if r := h.must(exitOK, "plans"); strings.Count(r.stdout, "held") < len(plans) {
			t.Errorf("truestock plans prints %s, want %d held plans", r.stdout, len(plans))
		}
		if r := h.must(exitOK, "plans", "show", plans[0].ID); !strings.Contains(r.stdout, plans[0].Changes[0].Item) {
			t.Errorf("truestock plans show prints %s", r.stdout)
		}
		for _, p := range plans {
			if r := h.must(exitOK, "plans", "approve", p.ID); !strings.Contains(r.stdout, "approved") && !strings.Contains(r.stdout, "applied") {
				t.Errorf("truestock plans approve prints %s", r.stdout)
			}
		}
		for i := range guardedListings - 2 {
			h.shows("shop", guardedSKU(i), 0)
		}
		h.shows("shop", guardedSKU(28), 5)
		s.settled()
		if p := get[planView](s, "/plans/"+plans[0].ID); p.State != "approved" && p.State != "applied" || !strings.Contains(p.DecidedBy, "command line") {
			t.Errorf("the plan is %+v, want it approved by the command line", p)
		}
		if r := h.run("plans", "approve", plans[0].ID); r.code == exitOK {
			t.Errorf("a plan can be approved twice: %s", r.stdout)
		}
	})
}

// What a person rejects stays as it is until the targets change.
func TestMassZeroingIsHeldUntilRejected(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := guardedHouse(t, h)
		zeros := sendZeros(t, s)
		for _, p := range heldPlans(t, s) {
			if a := s.call(http.MethodPost, "/plans/"+p.ID+"/reject", "", ""); a.status != http.StatusOK || !strings.Contains(a.body, `"state":"rejected"`) {
				t.Errorf("reject is answered %d: %s", a.status, a.body)
			}
			if a := s.call(http.MethodPost, "/plans/"+p.ID+"/approve", "", ""); a.status < 400 || a.status >= 500 {
				t.Errorf("a rejected plan is approved: %d %s", a.status, a.body)
			}
		}
		s.settled()
		// A look at everything does not let it through either.
		reconcile(s, "")
		s.settled()
		kept := 0
		for i := range guardedListings - 2 {
			if shown, _ := h.shops["shop"].Quantity(guardedSKU(i), ""); shown == 5 {
				kept++
			}
		}
		if kept != guardedListings-2-zeros {
			t.Errorf("%d listings show 5, want the %d that were kept", kept, guardedListings-2-zeros)
		}
		for i := range guardedListings - 2 {
			s.deliver("warehouse", fmt.Sprint("corrected ", i), levelEvent(guardedSKU(i), 4, 2000+int64(i)))
		}
		for i := range guardedListings - 2 {
			h.shows("shop", guardedSKU(i), 4)
		}
	})
}

// An export in which everything is zero, read in one piece, changes not one listing.
func TestZeroExportIsHeldWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		w := h.addWarehouse(fake.WarehouseConfig{Capabilities: open.RecordCapabilities{CompleteLevels: true}})
		shop := h.addShop("shop", fake.ShopConfig{})
		var rows []string
		for i := range guardedListings {
			sku := guardedSKU(i)
			w.AddItem(open.Item{SKU: sku})
			if err := w.SetOpening(sku, "main", 5); err != nil {
				t.Fatal(err)
			}
			shop.AddListing(open.Listing{Item: sku})
			rows = append(rows, fmt.Sprintf("shop,%s,,%s,1", sku, sku))
		}
		s := h.start()
		s.imports(rows...)
		for i := range guardedListings {
			h.shows("shop", guardedSKU(i), 5)
		}
		s.settled()
		for i := range guardedListings {
			if err := w.SetOpening(guardedSKU(i), "main", 0); err != nil {
				t.Fatal(err)
			}
		}
		reconcile(s, "")
		h.eventually("the guard holds every level", func() error {
			plans, err := tryGet[list[planView]](s, "/plans?state=held")
			if err == nil && (len(plans.Data) != 1 || plans.Data[0].Connection != "warehouse" || len(plans.Data[0].Changes) != guardedListings) {
				err = fmt.Errorf("%+v", plans)
			}
			return err
		})
		s.settled()
		for i := range guardedListings {
			h.shows("shop", guardedSKU(i), 5)
		}
		for _, write := range shop.Writes() {
			if write.Quantity == 0 {
				t.Errorf("zero was written: %+v", write)
			}
		}
		if r := h.must(exitOK, "plans"); strings.Count(r.stdout, "mistake") != 1 {
			t.Errorf("plans prints %s, want the one that is held", r.stdout)
		}
		// What is not believed changes no number here either.
		if item := get[itemView](s, "/items/"+guardedSKU(0)); item.OnHand != 5 {
			t.Errorf("on hand are %d, want the 5 from before the export", item.OnHand)
		}
	})
}
