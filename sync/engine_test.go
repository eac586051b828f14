package sync_test

import (
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var cas = open.MarketplaceCapabilities{ConditionalWrite: true}

func TestAnOrderLowersTheOtherShopAndReachesTheWarehouse(t *testing.T) {
	for _, levels := range []string{"on_hand", "available"} {
		for _, positions := range []bool{true, false} {
			t.Run(levels+"/"+map[bool]string{true: "positions", false: "no positions"}[positions], func(t *testing.T) {
				within(t, houseOptions{levels: levels, positions: positions, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
					h.stocked("X", 10)
					h.settled()
					h.shows("a", "X", 10)
					h.shows("b", "X", 10)

					id := h.buy("a", "X", 3)
					h.settled()
					h.shows("a", "X", 7)
					h.shows("b", "X", 7)
					if orders := h.warehouse.Orders(); len(orders) != 1 || orders[0].Key != orderKey("a", id) || orders[0].Lines[0].Quantity != 3 {
						t.Fatalf("the warehouse has %+v, want the one order with three units", orders)
					}

					if h.warehouse.ShipAll() != 1 {
						t.Fatal("the warehouse ships nothing")
					}
					h.settled()
					if _, err := h.engine.Reconcile(h.ctx, "test", false); err != nil { // a read of all levels covers the shipment
						t.Fatal(err)
					}
					h.settled()
					h.shows("a", "X", 7)
					h.shows("b", "X", 7)
					h.item("X", 7, 0, 7)
					if shipped := h.shops["a"].Orders()[0].Lines[0].Shipped; shipped == nil || *shipped != 3 {
						t.Errorf("shop a was told that %v were shipped, want 3", shipped)
					}
				})
			})
		}
	}
}

func TestNothingIsWrittenOnceEverythingIsTrue(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": {}}}, func(h *house) {
		h.stocked("X", 10)
		h.stocked("Y", 5)
		h.settled()
		h.buy("a", "X", 1)
		h.settled()
		before := h.shops["a"].WriteCount() + h.shops["b"].WriteCount()
		time.Sleep(20 * time.Minute)
		if after := h.shops["a"].WriteCount() + h.shops["b"].WriteCount(); after != before {
			t.Errorf("%d writes in twenty minutes in which nothing happened", after-before)
		}
	})
}

func TestLowersGoAtOnceAndRaisesWaitForTheOrders(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 10)
		h.settled()
		h.trouble.setDown("a/orders", true)
		must(t, h.warehouse.Adjust("X", "main", -8))
		time.Sleep(20 * time.Second)
		h.shows("a", "X", 2)

		must(t, h.warehouse.Receive("X", "main", 20))
		time.Sleep(time.Minute)
		h.shows("a", "X", 2)
		v, err := h.engine.Listing(h.ctx, stocksync.ListingKey{Connection: "a", Ref: ref("X")})
		if err != nil || v.State != stocksync.Held || v.HeldReason == "" {
			t.Errorf("the listing is %s with reason %q (%v), want it held with the reason", v.State, v.HeldReason, err)
		}
		h.trouble.setDown("a/orders", false)
		h.settled()
		h.shows("a", "X", 22)
	})
}

// An order whose webhook is lost must not be put back by a raise: the raise fetches the orders first.
func TestARaiseDoesNotPutBackUnitsThatWereJustSold(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, timings: stocksync.Timings{Poll: time.Hour}}, func(h *house) {
		h.stocked("X", 10)
		h.settled()
		h.shops["a"].SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.WebhookDrop: 1000}})
		h.buy("a", "X", 3)
		time.Sleep(2 * time.Second)
		must(t, h.warehouse.Receive("X", "main", 5))
		h.settled()
		h.shows("a", "X", 12)
		for _, w := range h.shops["a"].Writes() {
			if w.Quantity > 12 {
				t.Errorf("%d was written: more than the 12 that there are", w.Quantity)
			}
		}
		h.item("X", 15, 3, 12)
	})
}

func TestFaultsOfEveryKindHeal(t *testing.T) {
	faults := []fake.Fault{fake.ServerError, fake.Unavailable, fake.TooManyRequests, fake.TimeoutApplied, fake.ServerErrorApplied, fake.AppliedTwice,
		fake.ThrottleLines, fake.Lie, fake.StaleLines, fake.LateRead, fake.EmptyBody, fake.TruncatedBody, fake.HTMLBody, fake.APIDelay,
		fake.WebhookDelay, fake.WebhookDrop, fake.WebhookDuplicate, fake.WebhookRemint, fake.WebhookReorder}
	for _, fault := range faults {
		t.Run(string(fault), func(t *testing.T) {
			shops := map[string]open.MarketplaceCapabilities{"a": {ConditionalWrite: true, IdempotentWrite: true}, "b": {ConditionalWrite: true}}
			within(t, houseOptions{positions: true, shops: shops}, func(h *house) {
				for _, sku := range []string{"X", "Y", "Z"} {
					h.stocked(sku, 50)
				}
				h.settled()
				for _, s := range h.shops {
					s.SetFaults(fake.Faults{Permille: map[fake.Fault]int{fault: 400}})
				}
				h.warehouse.SetFaults(fake.Faults{Permille: map[fake.Fault]int{fault: 400}})
				orders := 0
				for i := range 12 {
					shop := []string{"a", "b"}[i%2]
					if _, ok := h.shops[shop].Buy([]string{"X", "Y", "Z"}[i%3], 2); ok {
						orders++
					}
					time.Sleep(3 * time.Second)
					h.warehouse.ShipAll()
				}
				for _, s := range h.shops {
					s.Heal()
				}
				h.warehouse.Heal()
				time.Sleep(10 * time.Minute)
				h.settled()
				if got := len(h.warehouse.Orders()); got != orders {
					t.Errorf("the warehouse has %d orders, want %d", got, orders)
				}
				h.warehouse.ShipAll()
				time.Sleep(time.Minute)
				h.settled()
				for _, sku := range []string{"X", "Y", "Z"} {
					want := h.warehouse.OnHandOf(sku, "main")
					h.shows("a", sku, want)
					h.shows("b", sku, want)
					h.item(sku, stock.Quantity(want), 0, stock.Quantity(want))
				}
			})
		})
	}
}

func TestASilentSystemOfRecordIsNoGroundForARaise(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, timings: stocksync.Timings{StaleStatement: time.Hour}}, func(h *house) {
		h.stocked("X", 10)
		h.settled()
		h.trouble.setDown("erp", true)
		time.Sleep(2 * time.Hour)
		h.shops["a"].Cancel(h.buy("a", "X", 4))
		h.shows("a", "X", 6)
		time.Sleep(10 * time.Minute)
		h.shows("a", "X", 6)
		v, err := h.engine.Listing(h.ctx, stocksync.ListingKey{Connection: "a", Ref: ref("X")})
		if err != nil || v.State != stocksync.Held || v.HeldReason == "" {
			t.Errorf("the listing is %s with reason %q (%v), want it held with the reason", v.State, v.HeldReason, err)
		}
		h.trouble.setDown("erp", false)
		h.settled()
		h.shows("a", "X", 10)
	})
}

// An answer that leaves an article out says nothing about it: what was said of it long ago is no ground for a raise, and
// what it does say is one.
func TestASilenceAboutAnArticleIsNoGroundForItsRaise(t *testing.T) {
	timings := stocksync.Timings{StaleStatement: time.Hour, Levels: 10 * time.Minute}
	within(t, houseOptions{shops: map[string]open.MarketplaceCapabilities{"a": cas}, timings: timings}, func(h *house) {
		h.stocked("X", 10)
		h.stocked("Y", 10)
		h.settled()
		h.trouble.setUnsaid("X")
		time.Sleep(2 * time.Hour)
		for _, sku := range []string{"X", "Y"} {
			h.shops["a"].Cancel(h.buy("a", sku, 4))
		}
		time.Sleep(10 * time.Minute)
		h.shows("a", "X", 6)
		h.shows("a", "Y", 10)
		if v := h.listing("a", "X"); v.State != stocksync.Held || !strings.Contains(v.HeldReason, "erp has not said since 2000-01-01T00:") || !strings.Contains(v.HeldReason, "X at main") {
			t.Errorf("the listing is %s, %q", v.State, v.HeldReason)
		}
		h.buy("a", "X", 1)
		time.Sleep(10 * time.Minute)
		h.shows("a", "X", 5)
		h.trouble.setUnsaid("")
		time.Sleep(10 * time.Minute) // until all levels are read again
		h.settled()
		h.shows("a", "X", 9)
	})
}

func TestBundlesAndPacksMoveTogether(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 11)
		h.stocked("Y", 4)
		for _, item := range []string{"six-pack", "bundle", "of-kits"} {
			h.shops["a"].AddListing(open.Listing{Item: item})
		}
		h.link("a,six-pack,,X,6", "a,bundle,,X,2", "a,bundle,,Y,1", "kit,KIT,,X,2", "kit,KIT,,Y,1", "a,of-kits,,KIT,2")
		h.settled()
		h.shows("a", "six-pack", 1)
		h.shows("a", "bundle", 4)
		h.shows("a", "of-kits", 2)

		h.buy("a", "bundle", 3)
		h.settled()
		h.shows("a", "X", 5)
		h.shows("a", "Y", 1)
		h.shows("a", "six-pack", 0)
		h.shows("a", "bundle", 1)
		h.shows("a", "of-kits", 0)
		h.item("X", 11, 6, 5)

		// One component alone is no bundle shipped; the second completes it.
		key := h.warehouse.Orders()[0].Key
		h.warehouse.Ship(key, fake.ShippedLine{LineID: h.warehouse.Orders()[0].Lines[0].LineID, Quantity: 6})
		h.settled()
		if shipped := h.shops["a"].Orders()[0].Lines[0].Shipped; shipped != nil && *shipped != 0 {
			t.Errorf("%d bundles were reported shipped although only one component left", *shipped)
		}
		h.warehouse.ShipAll()
		h.settled()
		if shipped := h.shops["a"].Orders()[0].Lines[0].Shipped; shipped == nil || *shipped != 3 {
			t.Errorf("%v bundles were reported shipped, want 3", shipped)
		}
	})
}

func TestAnUnmappedOrderWaitsForItsMapping(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 10)
		h.warehouse.AddItem(open.Item{SKU: "Y"})
		must(t, h.warehouse.SetOpening("Y", "main", 8))
		five := int64(5)
		h.shops["a"].AddListing(open.Listing{Item: "new", Quantity: &five})
		h.settled()
		if _, ok := h.shops["a"].Order(fake.BuyLine{Item: "X", Quantity: 1}, fake.BuyLine{Item: "new", Quantity: 2}); !ok {
			t.Fatal("the shop refuses the order")
		}
		time.Sleep(5 * time.Second)
		parked, err := h.engine.Events(h.ctx, stocksync.EventParked, 0, 10)
		if err != nil || len(parked) == 0 {
			t.Fatalf("no event is parked: %v", err)
		}
		h.item("X", 10, 1, 9) // what is mapped is promised at once
		if got := len(h.warehouse.Orders()); got != 0 {
			t.Fatalf("the warehouse got %d orders before every line was mapped", got)
		}
		h.link("a,new,,Y,1")
		time.Sleep(time.Minute)
		h.settled()
		h.item("Y", 8, 2, 6)
		h.shows("a", "new", 6)
		if orders := h.warehouse.Orders(); len(orders) != 1 || len(orders[0].Lines) != 2 {
			t.Errorf("the warehouse has %+v, want one order with two lines", orders)
		}
		if parked, _ := h.engine.Events(h.ctx, stocksync.EventParked, 0, 10); len(parked) != 0 {
			t.Errorf("still parked: %+v", parked)
		}
	})
}

func TestChangesOfAnOrderReachTheWarehouse(t *testing.T) {
	for _, amend := range []bool{true, false} {
		t.Run(map[bool]string{true: "amends", false: "cannot amend"}[amend], func(t *testing.T) {
			within(t, houseOptions{positions: true, amend: amend, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
				h.stocked("X", 20)
				h.settled()
				id := h.buy("a", "X", 5)
				h.settled()
				h.shops["a"].PartialCancel(id, "1", 2)
				h.settled()
				line := h.warehouse.Orders()[0].Lines[0]
				if line.Cancelled != 2 {
					t.Errorf("the warehouse counts %d cancelled, want 2", line.Cancelled)
				}
				h.item("X", 20, 3, 17)
				h.shops["a"].Edit(id, "1", 7)
				h.settled()
				h.item("X", 20, 5, 15)
				line = h.warehouse.Orders()[0].Lines[0]
				if amend && (line.Quantity != 7 || line.Cancelled != 2) {
					t.Errorf("the warehouse has %+v, want 7 ordered and 2 cancelled", line)
				}
				if !amend && h.incidents(stocksync.IncidentOrderDiffers) != 1 {
					t.Error("nobody is told that the order grew")
				}
				h.shops["a"].Cancel(id)
				h.settled()
				h.item("X", 20, 0, 20)
				if len(h.warehouse.Orders()) != 1 {
					t.Errorf("the warehouse has %d orders, want 1", len(h.warehouse.Orders()))
				}
			})
		})
	}
}

func TestACancelledOrderIsHeldUntilTheWarehouseHasAcknowledgedIt(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
		h.stocked("X", 10)
		h.settled()
		id, early := h.buy("a", "X", 4), h.buy("a", "X", 1)
		h.settled()
		h.shows("b", "X", 5)
		h.trouble.setDown("erp", true)
		h.shops["a"].Cancel(id)
		h.shops["a"].Cancel(early)
		time.Sleep(10 * time.Minute)
		h.item("X", 10, 5, 5) // the parcels may have left
		h.shows("b", "X", 5)
		h.restart()
		time.Sleep(10 * time.Minute)
		h.shows("b", "X", 5)

		if _, ok := h.warehouse.Ship(orderKey("a", early), fake.ShippedLine{LineID: "1", Quantity: 1}); !ok {
			t.Fatal("the warehouse does not ship")
		}
		h.trouble.setDown("erp", false)
		h.settled()
		h.item("X", 9, 0, 9)
		h.shows("b", "X", 9)
		h.shows("a", "X", 9)
		if v, err := h.engine.Verify(h.ctx, nil); err != nil || len(v.Differences) > 0 {
			t.Errorf("the ledger does not agree with itself: %+v (%v)", v, err)
		}
	})
}

func TestAnOrderPlacedAndCancelledUnseenIsPutBackAtTheShop(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, timings: stocksync.Timings{Poll: time.Minute}}, func(h *house) {
		h.stocked("X", 10)
		h.settled()
		h.shops["a"].SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.WebhookDrop: 1000}})
		h.shops["a"].Cancel(h.buy("a", "X", 4))
		h.shows("a", "X", 6)
		time.Sleep(3 * time.Minute)
		h.settled()
		h.shows("a", "X", 10)
		if len(h.warehouse.Orders()) != 0 {
			t.Error("the warehouse heard of an order that was cancelled before")
		}
	})
}

func TestAMassOfZeroesWaitsForAPerson(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		skus := make([]string, 40)
		for i := range skus {
			skus[i] = "S" + string(rune('A'+i/26)) + string(rune('A'+i%26))
			h.stocked(skus[i], 9)
		}
		h.settled()
		must(t, h.warehouse.Count(skus[0], "main", 0))
		time.Sleep(3 * time.Second)
		h.shows("a", skus[0], 0) // one alone passes at once

		for _, sku := range skus[1:] {
			must(t, h.warehouse.Count(sku, "main", 0))
		}
		time.Sleep(time.Minute)
		zero := 0
		for _, sku := range skus {
			if q, _ := h.shops["a"].Quantity(sku, ""); q == 0 {
				zero++
			}
		}
		if zero > 13 {
			t.Fatalf("%d of 40 listings show nothing although no person approved it", zero)
		}
		plans, err := h.engine.Plans(h.ctx, stocksync.PlanHeld, 0, 1000)
		if err != nil || len(plans) == 0 {
			t.Fatalf("no plan is held: %v", err)
		}
		for _, p := range plans {
			if _, err := h.engine.DecidePlan(h.ctx, id(t, p.ID), true, "test"); err != nil {
				t.Fatal(err)
			}
		}
		h.settled()
		for _, sku := range skus {
			h.shows("a", sku, 0)
		}
	})
}

func TestOrdersThatSellOutAreNeverHeldBack(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
		var skus []string
		for i := range 30 {
			skus = append(skus, "S"+string(rune('A'+i)))
			h.stocked(skus[i], 2)
		}
		h.settled()
		for _, sku := range skus {
			h.buy("a", sku, 2)
		}
		time.Sleep(30 * time.Second)
		for _, sku := range skus {
			h.shows("b", sku, 0)
		}
		if plans, err := h.engine.Plans(h.ctx, "", 0, 10); err != nil || len(plans) > 0 {
			t.Errorf("%d plans are held (%v) although orders explain every zero", len(plans), err)
		}
	})
}

func TestARestartLosesNothingAndAsksForWhatWasMissed(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
		h.stocked("X", 100)
		h.settled()
		h.stop()
		for range 7 {
			h.buy("a", "X", 2)
			h.buy("b", "X", 1)
		}
		must(t, h.warehouse.Receive("X", "main", 50))
		time.Sleep(62 * time.Hour) // every sender has given up long ago
		writes := len(h.shops["a"].Writes())
		h.start()
		time.Sleep(time.Minute)
		h.settled()
		h.shows("a", "X", 129)
		h.shows("b", "X", 129)
		if got := len(h.warehouse.Orders()); got != 14 {
			t.Errorf("the warehouse has %d orders, want 14", got)
		}
		for _, w := range h.shops["a"].Writes()[writes:] {
			if w.Quantity > 129 {
				t.Errorf("%d was written: a raise before the orders of the outage were known", w.Quantity)
			}
		}
	})
}

func TestReconciliationFindsWhatTheChannelWasEditedTo(t *testing.T) {
	for policy, want := range map[stocksync.HealPolicy][2]int64{stocksync.HealFull: {30, 30}, stocksync.HealLowers: {30, 3}, stocksync.HealNothing: {99, 3}} {
		t.Run(string(policy), func(t *testing.T) {
			within(t, houseOptions{positions: true, heal: policy, silent: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
				h.stocked("high", 30)
				h.stocked("low", 30)
				h.stocked("right", 30)
				h.settled()
				h.shops["a"].SetQuantity("high", "", 99)
				h.shops["a"].SetQuantity("low", "", 3)
				dry, err := h.engine.Reconcile(h.ctx, "test", true)
				if err != nil || dry.Drifted != 2 {
					t.Fatalf("the dry run found %+v (%v), want two drifts", dry, err)
				}
				h.shows("a", "high", 99)
				run, err := h.engine.Reconcile(h.ctx, "test", false)
				if err != nil || run.State != stocksync.RunDone || run.Drifted != 2 || run.Listings != 3 {
					t.Fatalf("the run found %+v (%v), want two drifts of three listings", run, err)
				}
				for _, d := range run.Drifts {
					if d.Cause != stocksync.CauseForeignWrite {
						t.Errorf("%s: cause %s, want %s", d.Item, d.Cause, stocksync.CauseForeignWrite)
					}
				}
				h.settled()
				h.shows("a", "high", want[0])
				h.shows("a", "low", want[1])
			})
		})
	}
}

func TestAnEmptyOrPartialExportZeroesNothing(t *testing.T) {
	within(t, houseOptions{levels: "on_hand", silent: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		for _, sku := range []string{"X", "Y", "Z"} {
			h.stocked(sku, 12)
		}
		h.settled()
		h.warehouse.SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.PartialLevels: 1000}})
		if _, err := h.engine.Reconcile(h.ctx, "test", false); err != nil {
			t.Fatal(err)
		}
		h.settled()
		for _, sku := range []string{"X", "Y", "Z"} {
			h.shows("a", sku, 12)
		}
		if h.incidents(stocksync.IncidentPartialExport) != 1 {
			t.Error("nobody is told that the export was partial")
		}
	})
}

func TestWrongCredentialsPauseTheConnectionOnly(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
		h.stocked("X", 10)
		h.settled()
		h.shops["a"].SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.WrongToken: 1000}})
		must(t, h.warehouse.Adjust("X", "main", -4))
		time.Sleep(2 * time.Minute)
		h.shows("b", "X", 6)
		if h.incidents(stocksync.IncidentPaused) != 1 {
			t.Error("nobody is told that the credentials of a are refused")
		}
		h.shops["a"].Heal()
		if err := h.engine.Resume(h.ctx, "a", "ann"); err != nil {
			t.Fatal(err)
		}
		h.settled()
		h.shows("a", "X", 6)
	})
}

func TestAListingThatIsGoneGetsNoMoreWrites(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 10)
		h.stocked("Y", 10)
		h.settled()
		h.shops["a"].Delete("X")
		must(t, h.warehouse.Adjust("X", "main", -1))
		must(t, h.warehouse.Adjust("Y", "main", -1))
		h.settled()
		h.shows("a", "Y", 9)
		v, err := h.engine.Listing(h.ctx, stocksync.ListingKey{Connection: "a", Ref: ref("X")})
		if err != nil || v.State != stocksync.Gone {
			t.Errorf("the listing is %s (%v), want gone", v.State, err)
		}
		h.shops["a"].AddListing(open.Listing{Item: "X"})
		if _, err := h.engine.Reconcile(h.ctx, "test", false); err != nil {
			t.Fatal(err)
		}
		h.settled()
		h.shows("a", "X", 9)
	})
}

func TestOtherRulesAreInForceAfterARestart(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 10)
		h.settled()
		h.config.Channels[0].Policy.Buffer = 4
		h.restart()
		h.settled()
		h.shows("a", "X", 6)
	})
}

func TestAShopThatKnowsNoListingChangesNothing(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		skus := []string{"A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"}
		for _, sku := range skus {
			h.stocked(sku, 10)
		}
		h.settled()
		for _, sku := range skus {
			h.shops["a"].Delete(sku)
		}
		for _, sku := range skus {
			must(t, h.warehouse.Adjust(sku, "main", -1))
		}
		time.Sleep(10 * time.Minute)
		gone, _, err := h.engine.Listings(h.ctx, stocksync.ListingQuery{Connection: "a", Limit: 100}, stocksync.Gone)
		if err != nil || len(gone) > 0 {
			t.Errorf("%d listings are gone (%v)", len(gone), err)
		}
		if h.incidents(stocksync.IncidentListingsVanished) != 1 {
			t.Error("nobody is told that the shop knows none of its listings")
		}
		for _, sku := range skus {
			h.shops["a"].AddListing(open.Listing{Item: sku})
		}
		h.settled()
		for _, sku := range skus {
			h.shows("a", sku, 9)
		}
		if h.incidents(stocksync.IncidentListingsVanished) != 0 {
			t.Error("the incident stays open although the listings are back")
		}
	})
}

func TestOneLineThatIsRefusedDoesNotHoldUpTheRest(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		for _, sku := range []string{"A", "B", "poison", "C", "D"} {
			h.stocked(sku, 10)
		}
		h.settled()
		h.trouble.setPoison("poison")
		for _, sku := range []string{"A", "B", "poison", "C", "D"} {
			must(t, h.warehouse.Adjust(sku, "main", -3))
		}
		time.Sleep(time.Minute)
		for _, sku := range []string{"A", "B", "C", "D"} {
			h.shows("a", sku, 7)
		}
		h.shows("a", "poison", 10)
		if h.incidents(stocksync.IncidentWriteRejected) != 1 {
			t.Error("nobody is told of the write that was refused")
		}
	})
}

func TestAChannelThatSubtractsItsOwnOrdersGetsThemAdded(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"gross": {QuantityMeans: "gross"}, "b": cas}}, func(h *house) {
		h.stocked("X", 10)
		h.settled()
		h.shows("gross", "X", 10)
		h.buy("gross", "X", 4)
		h.settled()
		h.shows("gross", "X", 10)
		if got := h.shops["gross"].Sellable("X", ""); got != 6 {
			t.Errorf("the shop would sell %d, want 6", got)
		}
		h.shows("b", "X", 6)
		h.warehouse.ShipAll()
		time.Sleep(time.Minute)
		h.settled()
		h.shows("b", "X", 6)
		if got := h.shops["gross"].Sellable("X", ""); got != 6 {
			t.Errorf("after the shipment the shop would sell %d, want 6", got)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
