package sync_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/open"
	stocksync "github.com/truestock/truestock/sync"
)

// guarded puts thirty articles with ten units each into a house whose warehouse speaks for itself, one webhook a change.
func guarded(h *house) (skus []string) {
	h.t.Helper()
	for i := range 30 {
		skus = append(skus, fmt.Sprintf("S%02d", i))
		h.stocked(skus[i], 10)
	}
	h.settled()
	for _, sku := range skus {
		h.shows("a", sku, 10)
	}
	return skus
}

func (h *house) plans(state stocksync.PlanState) []stocksync.PlanView {
	h.t.Helper()
	plans, err := h.engine.Plans(h.ctx, state, 0, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	return plans
}

func (h *house) showing(shop string, skus []string, quantity int64) (n int) {
	for _, sku := range skus {
		if got, _ := h.shops[shop].Quantity(sku, ""); got == quantity {
			n++
		}
	}
	return n
}

// A column shift makes everything 1, a wrong unit multiplies by 100: both are held, what a person approves goes out, and
// what is not suspicious goes on meanwhile.
func TestAMassOfJumpsWaitsForAPerson(t *testing.T) {
	for name, to := range map[string]int64{"column shift": 1, "wrong unit": 1000} {
		t.Run(name, func(t *testing.T) {
			within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
				skus := guarded(h)
				for _, sku := range skus[:28] {
					must(t, h.warehouse.Count(sku, "main", to))
				}
				must(t, h.warehouse.Count(skus[28], "main", 8))
				time.Sleep(time.Minute)
				if n := h.showing("a", skus, to); n > 9 {
					t.Errorf("%d listings show %d, want at most 9 before a person is asked", n, to)
				}
				h.shows("a", skus[28], 8)
				held := h.plans(stocksync.PlanHeld)
				if len(held) == 0 {
					t.Fatalf("nothing is held\n%s", h.describe())
				}
				for _, p := range held {
					if _, err := h.engine.DecidePlan(h.ctx, id(t, p.ID), true, "ann"); err != nil {
						t.Fatal(err)
					}
				}
				h.settled()
				if n := h.showing("a", skus, to); n != 28 {
					t.Errorf("%d listings show %d, want all 28\n%s", n, to, h.describe())
				}
				if applied := h.plans(stocksync.PlanApplied); len(applied) != len(held) || applied[0].DecidedBy != "ann" {
					t.Errorf("applied %+v, want the %d approved plans", applied, len(held))
				}
			})
		})
	}
}

// A rejected plan stays rejected, its listings as they are; an order of a held article lowers the others all the same.
func TestOrdersPassWhileAPlanIsHeld(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
		skus := guarded(h)
		for _, sku := range skus {
			must(t, h.warehouse.Count(sku, "main", 1))
		}
		time.Sleep(time.Minute)
		var last string
		for _, sku := range skus {
			if q, _ := h.shops["b"].Quantity(sku, ""); q == 10 {
				last = sku
			}
		}
		h.buy("a", last, 1)
		time.Sleep(time.Minute)
		h.shows("b", last, 0)
		for _, p := range h.plans(stocksync.PlanHeld) {
			if _, err := h.engine.DecidePlan(h.ctx, id(t, p.ID), false, "ben"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		if n := h.showing("b", skus, 1); n > 9 {
			t.Errorf("%d listings show 1 after a rejection", n)
		}
		for _, p := range h.plans("") {
			if p.State != stocksync.PlanRejected || p.DecidedBy != "ben" || p.DecidedAt == nil {
				t.Errorf("plan %+v, want it rejected by ben", p)
			}
		}
	})
}

// A connection that suddenly leads to another shop is paused before one of its listings is believed to be gone; when the
// right shop is back, it goes on.
func TestAnotherShopIsNotBelieved(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		skus := guarded(h)
		h.restart()
		h.settled()
		h.shops["a"].SetID("stranger")
		for _, sku := range skus {
			h.shops["a"].Delete(sku)
		}
		for _, sku := range skus[:3] {
			must(t, h.warehouse.Count(sku, "main", 4))
		}
		time.Sleep(10 * time.Minute)
		connections, err := h.engine.Connections(h.ctx)
		if err != nil || connections[0].Paused == "" || h.incidents(stocksync.IncidentWrongShop) != 1 {
			t.Fatalf("the connection is not paused: %+v, %v", connections, err)
		}
		rows, _, err := h.engine.Listings(h.ctx, stocksync.ListingQuery{Connection: "a", Limit: 100}, stocksync.Gone)
		if err != nil || len(rows) > 0 || h.incidents(stocksync.IncidentListingGone) != 0 {
			t.Errorf("%d listings are gone (%v)", len(rows), err)
		}
		must(t, h.engine.Resume(h.ctx, "a", "ann"))
		time.Sleep(time.Minute)
		if connections, _ := h.engine.Connections(h.ctx); connections[0].Paused == "" {
			t.Error("resuming was enough to believe the other shop")
		}
		must(t, h.engine.AcceptAccount(h.ctx, "a", "stranger", "ann"))
		time.Sleep(time.Minute)
		if connections, _ := h.engine.Connections(h.ctx); connections[0].Paused != "" || h.incidents(stocksync.IncidentWrongShop) != 0 {
			t.Errorf("the accepted account is not believed: %+v", connections)
		}
	})
}
