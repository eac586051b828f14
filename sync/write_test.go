package sync_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// The classes of write, as the protocol tells them apart.
var classes = map[string]open.MarketplaceCapabilities{
	"C1": {ConditionalWrite: true},
	"C2": {DeltaWrite: true, IdempotentWrite: true},
	"C3": {DeductsSinceWrite: true},
	"C4": {QuantityMeans: fake.MeansGross},
	"C5": {},
	"C6": {AsynchronousWrite: true, ReadLagMS: 2000},
}

// seldom keeps everything but what a test does from asking for orders.
var seldom = stocksync.Timings{Poll: 10 * time.Hour}

func (h *house) listing(shop, item string) stocksync.ListingView {
	h.t.Helper()
	v, err := h.engine.Listing(h.ctx, stocksync.ListingKey{Connection: stock.ConnectionID(shop), Ref: ref(item)})
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func (h *house) reserved(sku string) stock.Quantity {
	h.t.Helper()
	v, err := h.engine.Item(h.ctx, stock.SKU(sku))
	if err != nil {
		h.t.Fatal(err)
	}
	return v.Reserved
}

func TestEveryClassIsDeclaredShownAndConverges(t *testing.T) {
	for class, caps := range classes {
		t.Run(class, func(t *testing.T) {
			within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": caps}}, func(h *house) {
				h.stocked("X", 10)
				h.settled()
				connections, err := h.engine.Connections(h.ctx)
				if err != nil || connections[0].Class != class {
					t.Fatalf("the connection is %+v (%v), want class %s", connections, err, class)
				}
				h.buy("a", "X", 3)
				h.settled()
				must(t, h.warehouse.Receive("X", "main", 5))
				h.settled()
				if got := h.shops["a"].Sellable("X", ""); got != 12 {
					t.Errorf("%d can be bought, want 12\n%s", got, h.describe())
				}
				must(t, h.warehouse.Adjust("X", "main", -9))
				h.settled()
				if got := h.shops["a"].Sellable("X", ""); got != 3 {
					t.Errorf("%d can be bought, want 3\n%s", got, h.describe())
				}
				for _, w := range h.shops["a"].Writes() {
					if (w.Expect != nil) != (class == "C1") || (w.Delta != nil) != (class == "C2") {
						t.Errorf("a write of class %s expects %v and changes by %v", class, w.Expect, w.Delta)
					}
				}
				if class == "C4" {
					h.shows("a", "X", 6) // three of them are sold already: the platform takes those away itself
				}
			})
		})
	}
}

// Sales that nobody told us keep a conditional write from being done. It is tried anew, at once and then ever more
// rarely, until the sales stop.
func TestConstantSalesAreNoLivelock(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, timings: seldom}, func(h *house) {
		h.stocked("X", 100)
		h.settled()
		h.shops["a"].FailNext(5, fake.StaleLines)
		must(t, h.warehouse.Receive("X", "main", 10))
		h.settled()
		h.shows("a", "X", 110)

		h.shops["a"].SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.StaleLines: 1000}})
		before := h.shops["a"].WriteCount()
		must(t, h.warehouse.Receive("X", "main", 10))
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := h.shops["a"].WriteCount() - before; n < 8 || n > 40 {
			t.Errorf("%d writes in an hour of conflicts; want several at first, then one every few minutes", n)
		}
		h.shops["a"].Heal()
		h.settled()
		h.shows("a", "X", 120)
	})
}

// A change whose outcome is not known is sent again under the same id, also by the next process, and is done once.
func TestAChangeIsDoneOnceWhateverBecomesOfTheCall(t *testing.T) {
	for _, fault := range []fake.Fault{fake.TimeoutApplied, fake.ServerErrorApplied, fake.AppliedTwice, fake.EmptyBody, fake.TruncatedBody, fake.HTMLBody, fake.ServerError} {
		for _, restart := range []bool{false, true} {
			t.Run(string(fault)+map[bool]string{true: " and a restart"}[restart], func(t *testing.T) {
				within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": classes["C2"]}}, func(h *house) {
					h.stocked("X", 10)
					h.settled()
					h.trouble.before("a/stock/write", func() { h.shops["a"].FailNext(1, fault) })
					must(t, h.warehouse.Receive("X", "main", 5))
					time.Sleep(3 * time.Second)
					if restart {
						h.restart()
					}
					h.settled()
					h.shows("a", "X", 15)
					for _, w := range h.shops["a"].Writes() {
						if w.After > 15 {
							t.Errorf("the shop showed %d after %+v, want never more than 15", w.After, w)
						}
					}
				})
			})
		}
	}
}

// A raise that does not show yet, and a sale of as many, leave the number that was read: a condition on that number holds
// and proves nothing. So no raise is made on top of a reading that does not contain the one before, also not by the next
// process, which has not learnt what became of it.
func TestNoRaiseOnTopOfOneThatDoesNotShow(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "a hint within the lag", true: "a restart within the lag"}[restart], func(t *testing.T) {
			lagging := open.MarketplaceCapabilities{ConditionalWrite: true, ReadLagMS: 10_000}
			within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": lagging}, timings: seldom}, func(h *house) {
				h.stocked("X", 2)
				h.settled()
				h.buy("a", "X", 2)
				h.settled()
				h.trouble.setLost("order.upserted", true)
				h.trouble.setLost("listing.changed", true)
				if restart {
					h.trouble.before("a/stock/write", func() { h.shops["a"].FailNext(1, fake.TimeoutApplied) })
				}
				must(t, h.warehouse.Receive("X", "main", 2))
				time.Sleep(3 * time.Second)
				synctest.Wait()
				h.shows("a", "X", 2)
				if restart {
					h.restart() // the call is still under way
				}
				sold := false
				h.trouble.before("a/stock/write", func() { h.buy("a", "X", 2); sold = true })
				must(t, h.warehouse.Receive("X", "main", 1))
				h.settled()
				h.shows("a", "X", 1)
				if !sold {
					t.Fatal("nothing was written for the one that came in last")
				}
				if v := h.listing("a", "X"); v.State != stocksync.InSync || v.HeldReason != "" {
					t.Errorf("the listing is %s, %q", v.State, v.HeldReason)
				}
				for _, w := range h.shops["a"].Writes() {
					if w.After > 2 {
						t.Errorf("the shop showed %d after %+v, when one was left", w.After, w)
					}
				}
			})
		})
	}
}

// The scenario of a raise that overwrites a sale: where a channel cannot check, the sale is put right at once.
func TestASaleDuringTheFlightOfAnOverwriteIsPutRightAtOnce(t *testing.T) {
	for _, class := range []string{"C3", "C5"} {
		t.Run(class, func(t *testing.T) {
			within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": classes[class]}, timings: seldom}, func(h *house) {
				h.stocked("X", 10)
				h.settled()
				h.trouble.setLost("order.upserted", true)
				h.trouble.setLost("listing.changed", true)
				h.trouble.before("a/stock/write", func() { h.buy("a", "X", 3) })
				must(t, h.warehouse.Receive("X", "main", 5))
				time.Sleep(2 * time.Second)
				synctest.Wait()
				h.shows("a", "X", 12)
				if w := h.shops["a"].Writes(); len(w) < 2 || w[len(w)-2].Quantity != 15 {
					t.Errorf("the writes are %+v, want 15 and then 12", w)
				}
			})
		})
	}
}

// What left a channel without an order that we know is reserved: no other channel sells it, whatever happens to the
// process, until the orders are told.
func TestAnUnexplainedDropIsReservedDurably(t *testing.T) {
	shops := map[string]open.MarketplaceCapabilities{"a": {}, "b": cas}
	within(t, houseOptions{positions: true, shops: shops, timings: stocksync.Timings{Poll: time.Hour}}, func(h *house) {
		h.stocked("X", 10)
		h.settled()
		h.trouble.setDown("a/orders", true)
		h.trouble.setLost("order.upserted", true)
		h.buy("a", "X", 3)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		h.shows("b", "X", 7)
		if got := h.reserved("X"); got != 3 {
			t.Errorf("%d are reserved, want the three that left", got)
		}
		v := h.listing("a", "X")
		if v.State != stocksync.Held || !strings.Contains(v.HeldReason, "3 packs") {
			t.Errorf("the listing is %s with reason %q, want it held with the reservation", v.State, v.HeldReason)
		}
		x, err := h.engine.Explain(h.ctx, stocksync.ListingKey{Connection: "b", Ref: ref("X")}, time.Time{})
		if err != nil || !slices.ContainsFunc(x.Sentences, func(s string) bool { return strings.Contains(s, "3 reserved") }) {
			t.Errorf("the explanation says %q (%v), want the reserved units", x.Sentences, err)
		}

		h.restart()
		must(t, h.warehouse.Receive("X", "main", 5))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		h.shows("a", "X", 7) // a raise waits for the orders
		h.shows("b", "X", 12)
		if got := h.reserved("X"); got != 3 {
			t.Errorf("%d are reserved after a restart, want 3", got)
		}

		h.trouble.setDown("a/orders", false)
		h.settled()
		h.item("X", 15, 3, 12)
		h.shows("a", "X", 12)
		h.shows("b", "X", 12)
		if got := h.reserved("X"); got != 0 {
			t.Errorf("%d are reserved although every order is known", got)
		}
		if v := h.listing("a", "X"); v.State != stocksync.InSync || v.HeldReason != "" {
			t.Errorf("the listing is %s with reason %q in the end", v.State, v.HeldReason)
		}
	})
}

// An order that comes by webhook ends its part of a reservation; a drop that no order explains ends with the orders.
func TestAReservationEndsWithItsOrdersOrTheWatermark(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": {}}, timings: stocksync.Timings{Poll: time.Hour}}, func(h *house) {
		h.stocked("X", 10)
		h.settled()
		h.trouble.setDown("a/orders", true)
		h.trouble.setLost("order.upserted", true)
		h.buy("a", "X", 2)
		h.shops["a"].SetQuantity("X", "", 4) // somebody takes four more off by hand
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := h.reserved("X"); got != 6 {
			t.Fatalf("%d are reserved, want 6", got)
		}
		h.trouble.setLost("order.upserted", false)
		h.buy("a", "X", 1)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		h.item("X", 10, 1, 3) // seven left, of which one is explained
		h.trouble.setDown("a/orders", false)
		h.settled()
		h.item("X", 10, 3, 7)
		h.shows("a", "X", 7)
	})
}

// Echoes of our own writes, doubled and late, lead to no write.
func TestEchoesLeadToNoWrite(t *testing.T) {
	for class, caps := range classes {
		t.Run(class, func(t *testing.T) {
			faults := fake.Faults{Permille: map[fake.Fault]int{fake.WebhookRemint: 400, fake.WebhookDuplicate: 400, fake.WebhookDelay: 400}, WebhookDelay: 40 * time.Second}
			within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": caps}, faults: faults}, func(h *house) {
				h.stocked("X", 50)
				for i := range 6 {
					must(t, h.warehouse.Adjust("X", "main", int64(3-2*i)))
					time.Sleep(5 * time.Second)
				}
				h.settled()
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				before := h.shops["a"].WriteCount()
				time.Sleep(15 * time.Minute)
				synctest.Wait()
				if n := h.shops["a"].WriteCount() - before; n != 0 {
					t.Errorf("%d writes in fifteen quiet minutes", n)
				}
				if before > 30 {
					t.Errorf("%d writes for seven targets", before)
				}
			})
		})
	}
}

// A second writer is corrected, found out, damped and told to a person; when it stops, the listing is ours again.
func TestAContestedListingIsDampedAndAlarmed(t *testing.T) {
	for class, caps := range classes {
		for _, theirs := range []int64{99, 1} {
			t.Run(class+map[bool]string{true: " high", false: " low"}[theirs > 7], func(t *testing.T) {
				within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": caps}}, func(h *house) {
					h.stocked("X", 7)
					h.settled()
					before := h.shops["a"].WriteCount()
					for range 120 { // an hour
						h.shops["a"].SetQuantity("X", "", theirs)
						time.Sleep(30 * time.Second)
					}
					synctest.Wait()
					if n := h.shops["a"].WriteCount() - before; n < 2 || n > 12 {
						t.Errorf("%d corrections in an hour", n)
					}
					if v := h.listing("a", "X"); v.State != stocksync.Contested {
						t.Errorf("the listing is %s, want contested", v.State)
					}
					if h.incidents(stocksync.IncidentContested) != 1 {
						t.Error("no incident about a contested listing is open")
					}
					if theirs > 7 {
						// A new target below what is shown is lowered to at once, contested or not.
						must(t, h.warehouse.Adjust("X", "main", -2))
						time.Sleep(10 * time.Second)
						synctest.Wait()
						h.shows("a", "X", 5)
						must(t, h.warehouse.Adjust("X", "main", 2))
					}
					time.Sleep(150 * time.Minute)
					synctest.Wait()
					h.settled()
					h.shows("a", "X", 7)
					if v := h.listing("a", "X"); v.State != stocksync.InSync || h.incidents(stocksync.IncidentContested) != 0 {
						t.Errorf("the listing is %s and the incident open %d times although nobody else writes any more", v.State, h.incidents(stocksync.IncidentContested))
					}
				})
			})
		}
	}
}

// One edit by hand is put right at once and makes nothing contested.
func TestOneEditByHandIsPutRight(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 7)
		h.settled()
		for _, q := range []int64{9, 2} {
			h.shops["a"].SetQuantity("X", "", q)
			h.settled()
			h.shows("a", "X", 7)
		}
		if v := h.listing("a", "X"); v.State != stocksync.InSync {
			t.Errorf("the listing is %s", v.State)
		}
	})
}

// Raises can be switched off; lowers go on.
func TestPausedRaises(t *testing.T) {
	for _, id := range []stock.ConnectionID{"", "a"} {
		within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
			h.stocked("X", 7)
			h.settled()
			must(t, h.engine.PauseRaises(h.ctx, id, "a test"))
			h.restart()
			must(t, h.warehouse.Receive("X", "main", 3))
			time.Sleep(20 * time.Second)
			h.shows("a", "X", 7)
			if v := h.listing("a", "X"); v.State != stocksync.Held || !strings.Contains(v.HeldReason, "a test") {
				t.Errorf("the listing is %s, %q", v.State, v.HeldReason)
			}
			must(t, h.warehouse.Adjust("X", "main", -6))
			time.Sleep(20 * time.Second)
			h.shows("a", "X", 4)
			must(t, h.warehouse.Receive("X", "main", 3))
			must(t, h.engine.ResumeRaises(h.ctx, id, "a test"))
			h.settled()
			h.shows("a", "X", 7)
		})
	}
}

// A feed is given its time: what it has taken is not sent again while it may be on its way.
func TestAFeedIsNotFedTwice(t *testing.T) {
	within(t, houseOptions{positions: true, feed: 20 * time.Second, shops: map[string]open.MarketplaceCapabilities{"a": classes["C6"]}}, func(h *house) {
		h.stocked("X", 7)
		time.Sleep(10 * time.Second)
		if v := h.listing("a", "X"); v.Confirmed != nil || v.State != stocksync.Pending {
			t.Errorf("the listing is %s and confirmed %v before the feed was done", v.State, v.Confirmed)
		}
		h.settled()
		h.shows("a", "X", 7)
		if n := h.shops["a"].WriteCount(); n != 1 {
			t.Errorf("%d writes for one target", n)
		}
	})
}

// One listing at which the channel fails takes the answers of those that share its call once, and then goes alone.
func TestOneListingThatIsNotAnsweredIsIsolated(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": {}}}, func(h *house) {
		skus := []string{"bad", "b", "c", "d"}
		for _, sku := range skus {
			h.stocked(sku, 5)
		}
		h.settled()
		h.trouble.setDown("a/stock/write", true)
		for _, sku := range skus {
			must(t, h.warehouse.Receive(sku, "main", 2))
		}
		time.Sleep(10 * time.Second)
		h.trouble.setFailing("bad")
		h.trouble.setDown("a/stock/write", false)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		h.shows("a", "bad", 5)
		for _, sku := range skus[1:] {
			h.shows("a", sku, 7)
		}
		h.trouble.setFailing("")
		h.settled()
		h.shows("a", "bad", 7)
	})
}
