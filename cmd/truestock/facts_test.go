package main_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// delivery is one event of a scripted life.
type delivery struct{ connection, name, body string }

// orderLife is everything that is told about one order of one article, and where it ends: 100 units, of which 2 were
// shipped before the rest was cancelled. Every life has article, order and shipment of its own; from is the first
// position of its facts.
func orderLife(sku, order string, from int64) []delivery {
	at := instant()
	return []delivery{
		{"warehouse", "level", event("stock.level", fmt.Sprintf(`{"sku":%q,"location":"main","quantity":100,"position":%d}`, sku, from))},
		{"shop", "placed", orderEvent(order, 1, sku, 5, 0, 0)},
		{"shop", "raised", orderEvent(order, 2, sku, 9, 0, 0)},
		{"shop", "lowered", orderEvent(order, 3, sku, 7, 0, 0)},
		{"shop", "partly cancelled", orderEvent(order, 4, sku, 7, 1, 0)},
		{"warehouse", "shipped", event("shipment.shipped", fmt.Sprintf(
			`{"shipment_id":%q,"order_key":%q,"lines":[{"line_id":"1","sku":%q,"quantity":2,"location":"main"}],"position":%d,"occurred_at":%q}`,
			"ship-"+order, "shop:"+order, sku, from+1, at))},
		{"shop", "cancelled", event("order.cancelled", fmt.Sprintf(`{"order_id":%q,"version":5,"placed_at":"2026-01-05T10:00:00Z"}`, order))},
	}
}

// However an order's life is shuffled and doubled on the way, it ends the same.
func TestOrderOfEventsDoesNotMatter(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		const lives = 20
		skus := make([]string, lives)
		for i := range skus {
			skus[i] = fmt.Sprintf("SKU-%02d", i)
		}
		s := smallHouse(t, h, "on_hand", skus...)
		random := rand.New(rand.NewPCG(1, 2))
		orders := make([][]string, lives)
		var group sync.WaitGroup
		for i, sku := range skus {
			life := orderLife(sku, fmt.Sprintf("O-%02d", i), int64(i*10)+1)
			if i > 0 { // the first comes as it happened
				random.Shuffle(len(life), func(a, b int) { life[a], life[b] = life[b], life[a] })
			}
			for range 4 {
				again := life[random.IntN(len(life))]
				life = slices.Insert(life, random.IntN(len(life)+1), again)
			}
			for _, d := range life {
				orders[i] = append(orders[i], d.name)
			}
			group.Go(func() {
				for _, d := range life {
					a, err := s.try(webhook{connection: d.connection, id: sku + " " + d.name, body: d.body})
					if err == nil {
						_, err = accepted(a)
					}
					if err != nil {
						t.Errorf("%s %s: %v", sku, d.name, err)
					}
				}
			})
		}
		group.Wait()
		s.applied()
		want := itemView{OnHand: 98, Available: 98, ATP: 98}
		for i, sku := range skus {
			if got := get[itemView](s, "/items/"+sku); got != want {
				t.Errorf("after %v: %+v, want %+v", orders[i], got, want)
			}
			h.shows("shop", sku, 98)
		}
		if parked := all[eventView](s, "/events?state=parked"); len(parked) > 0 {
			t.Errorf("parked are %+v, want none", parked)
		}
	})
}

// A statement and the deduction that it contains, or does not yet contain, never count a unit twice: after every step
// of every order of arrival the channel is offered no more than there is, and in the end exactly that.
func TestPositionsNeverCountTwice(t *testing.T) {
	deduction := map[string]string{"on_hand": "shipment.shipped", "available": "order.allocated"}
	for basis, kind := range deduction {
		t.Run(basis, func(t *testing.T) {
			onBoth(t, func(t *testing.T, h *house) {
				arrivals := permutations(3)
				skus := make([]string, len(arrivals))
				for i := range skus {
					skus[i] = fmt.Sprintf("SKU-%d", i)
				}
				s := smallHouse(t, h, basis, skus...)
				for i, sku := range skus {
					from := int64(i)*10 + 1
					order := "O-" + sku
					// The deduction has the position between the two statements: the first does not contain it, the second does.
					steps := []delivery{
						{"warehouse", "statement before", levelEvent(sku, 10, from+1)},
						{"warehouse", "deduction", event(kind, fmt.Sprintf(
							`{"shipment_id":%q,"order_key":%q,"lines":[{"line_id":"1","sku":%q,"quantity":2,"location":"main"}],"position":%d,"occurred_at":%q}`,
							"ship-"+order, "shop:"+order, sku, from+2, instant()))},
						{"warehouse", "statement after", levelEvent(sku, 8, from+3)},
					}
					s.deliver("warehouse", sku+" opening", levelEvent(sku, 10, from))
					s.deliver("shop", sku+" order", orderEvent(order, 1, sku, 2, 0, 0))
					h.shows("shop", sku, 8)
					var names []string
					for _, n := range arrivals[i] {
						step := steps[n]
						names = append(names, step.name)
						s.deliver(step.connection, sku+" "+step.name, step.body)
						s.deliver(step.connection, sku+" "+step.name, step.body)
						s.applied()
						if got := get[itemView](s, "/items/"+sku); got.Available > 8 {
							t.Errorf("after %v: %+v, but 8 are there to sell", names, got)
						}
					}
					if got, want := get[itemView](s, "/items/"+sku), (itemView{OnHand: 8, Available: 8, ATP: 8}); got != want {
						t.Errorf("after %v: %+v, want %+v", names, got, want)
					}
					h.shows("shop", sku, 8)
				}
				for _, w := range h.shops["shop"].Writes() {
					if w.Quantity > 8 && w.Before <= 8 && w.Before > 0 {
						t.Errorf("the shop was raised beyond what was there to sell: %+v", w)
					}
				}
			})
		})
	}
}

func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(p), at, n-1))
		}
	}
	return all
}

// Where units are deducted when they are allocated, the shipment that follows deducts nothing more.
func TestShipmentAfterAllocation(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "available", "TEA")
		s.deliver("warehouse", "opening", levelEvent("TEA", 10, 1))
		s.deliver("shop", "order", orderEvent("O", 1, "TEA", 3, 0, 0))
		at := instant()
		for i, kind := range []string{"order.allocated", "shipment.shipped"} {
			s.deliver("warehouse", kind, event(kind, fmt.Sprintf(
				`{"shipment_id":"S","order_key":"shop:O","lines":[{"line_id":"1","sku":"TEA","quantity":3,"location":"main"}],"position":%d,"occurred_at":%q}`, 2+i, at)))
			s.applied()
			if got, want := get[itemView](s, "/items/TEA"), (itemView{OnHand: 7, Available: 7, ATP: 7}); got != want {
				t.Errorf("after %s: %+v, want %+v", kind, got, want)
			}
		}
		s.deliver("warehouse", "after", levelEvent("TEA", 7, 4))
		h.shows("shop", "TEA", 7)
	})
}

// A statement that is older than the one that is held says nothing, by its position or by its instant.
func TestStaleStatementIsIgnored(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA", "POT")
		s.deliver("warehouse", "tea new", levelEvent("TEA", 5, 20))
		h.shows("shop", "TEA", 5)
		s.deliver("warehouse", "tea old", levelEvent("TEA", 9, 19))
		s.deliver("warehouse", "tea same", levelEvent("TEA", 9, 20))
		at := func(instant string, quantity int) string {
			return event("stock.level", fmt.Sprintf(`{"sku":"POT","location":"main","quantity":%d,"as_of":%q}`, quantity, instant))
		}
		s.deliver("warehouse", "pot new", at("2026-11-01T10:00:00Z", 5))
		h.shows("shop", "POT", 5)
		s.deliver("warehouse", "pot old", at("2026-11-01T09:59:59.999Z", 0))
		s.settled()
		for _, sku := range []string{"TEA", "POT"} {
			if got := get[itemView](s, "/items/"+sku); got.OnHand != 5 {
				t.Errorf("%s is %+v, want the 5 of the newer statement", sku, got)
			}
		}
		s.deliver("warehouse", "tea newer", levelEvent("TEA", 6, 21))
		s.deliver("warehouse", "pot newer", at("2026-11-01T10:00:00.001Z", 6))
		h.shows("shop", "TEA", 6)
		h.shows("shop", "POT", 6)
		// A movement from before the statement is in it already; one after it is not.
		s.deliver("warehouse", "before", movedEvent("TEA", 50, 18))
		s.deliver("warehouse", "after", movedEvent("TEA", 1, 22))
		h.shows("shop", "TEA", 7)
		s.settled()
		if got := get[itemView](s, "/items/TEA"); got.OnHand != 7 {
			t.Errorf("TEA is %+v, want 7", got)
		}
	})
}

// The cancellation of an order may come before the order itself.
func TestCancellationBeforeTheOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA")
		s.deliver("warehouse", "opening", levelEvent("TEA", 10, 1))
		s.deliver("shop", "cancelled", event("order.cancelled", `{"order_id":"O","version":2}`))
		s.deliver("shop", "placed", orderEvent("O", 1, "TEA", 4, 0, 0))
		s.deliver("shop", "another", orderEvent("P", 1, "TEA", 1, 0, 0))
		h.shows("shop", "TEA", 9)
		s.settled()
		if got, want := get[itemView](s, "/items/TEA"), (itemView{OnHand: 10, Committed: 1, Available: 9, ATP: 9}); got != want {
			t.Errorf("TEA is %+v, want %+v", got, want)
		}
	})
}

// Facts that come while the listings of the one before are being planned are planned too: once everything is settled,
// every listing shows what the ledger has.
func TestListingsFollowTheLastFact(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		const articles, facts = 120, 4
		skus := make([]string, articles)
		for i := range skus {
			skus[i] = fmt.Sprintf("SKU-%03d", i)
		}
		s := smallHouse(t, h, "on_hand", skus...)
		var group sync.WaitGroup
		for sender := range 4 {
			group.Go(func() {
				for i := sender; i < articles; i += 4 {
					for n := range int64(facts) {
						body := levelEvent(skus[i], 10+n, int64(i)*10+n+1)
						a, err := s.try(webhook{connection: "warehouse", id: fmt.Sprint(skus[i], " ", n), body: body})
						if err == nil {
							_, err = accepted(a)
						}
						if err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		group.Wait()
		s.settled()
		for _, l := range all[listingView](s, "/listings?connection=shop") {
			if want := int64(10 + facts - 1); l.Target == nil || *l.Target != want || l.State != "in_sync" {
				t.Errorf("everything is settled, %s has the target %s and is %s, want %d", l.Item, text(l.Target), l.State, want)
			}
		}
	})
}

func text(quantity *int64) string {
	if quantity == nil {
		return "none"
	}
	return fmt.Sprint(*quantity)
}
