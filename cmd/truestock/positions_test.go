package main_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

// stated is a statement about the location main that tells its place by an instant.
func stated(sku, location string, quantity int64, asOf time.Time) string {
	return event("stock.level", fmt.Sprintf(`{"sku":%q,"location":%q,"quantity":%d,"as_of":%q}`, sku, location, quantity, asOf.Format(time.RFC3339Nano)))
}

// deducted is a fact of the warehouse about one line of an order that tells its place by an instant.
func deducted(kind, order, sku, location string, quantity int64, at time.Time) string {
	return event(kind, fmt.Sprintf(`{"shipment_id":%q,"order_key":%q,"lines":[{"line_id":"1","sku":%q,"quantity":%d,"location":%q}],"occurred_at":%q}`,
		"ship-"+order, "shop:"+order, sku, quantity, location, at.Format(time.RFC3339Nano)))
}

// stays checks that the shop showed nothing but the quantity since it first did, and that it does so now.
func (s *server) stays(item string, quantity int64, ledger itemView) {
	s.h.t.Helper()
	s.settled()
	s.h.shows("shop", item, quantity)
	if got := get[itemView](s, "/items/"+item); got != ledger {
		s.h.t.Errorf("%s is %+v, want %+v", item, got, ledger)
	}
}

// The warehouse ships after the instant of its statement: neither its webhook nor that statement, nor the next one, which
// contains the shipment, changes what may be sold.
func TestAShipmentAfterTheInstantOfTheStatement(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA")
		at := func(second int) time.Time { return time.Date(2026, 11, 2, 10, 0, second, 0, time.UTC) }
		s.deliver("warehouse", "opening", stated("TEA", "main", 10, at(0)))
		s.deliver("shop", "order", orderEvent("A", 1, "TEA", 2, 0, 0))
		s.stays("TEA", 8, itemView{OnHand: 10, Committed: 2, Available: 8, ATP: 8})
		s.deliver("warehouse", "shipment", deducted("shipment.shipped", "A", "TEA", "main", 2, at(6)))
		s.stays("TEA", 8, itemView{OnHand: 8, Available: 8, ATP: 8})
		s.deliver("warehouse", "before the shipment", stated("TEA", "main", 10, at(5)))
		s.stays("TEA", 8, itemView{OnHand: 8, Available: 8, ATP: 8})
		s.deliver("warehouse", "after the shipment", stated("TEA", "main", 8, at(7)))
		s.stays("TEA", 8, itemView{OnHand: 8, Available: 8, ATP: 8})
		for _, w := range h.shops["shop"].Writes() {
			if w.Quantity != 10 && w.Quantity != 8 || w.Before == 8 {
				t.Errorf("the shop was written %d over %d, want 10 and then 8 for good", w.Quantity, w.Before)
			}
		}
	})
}

// Where the warehouse deducts when it allocates, a promise ends with the allocation and not with the shipment, whether
// the statement that is held is from before or after it.
func TestAnAllocationBeforeAndAfterTheInstantOfTheStatement(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "available", "TEA", "POT")
		at := func(second int) time.Time { return time.Date(2026, 11, 2, 10, 0, second, 0, time.UTC) }
		ended := itemView{OnHand: 7, Available: 7, ATP: 7}
		for _, sku := range []string{"TEA", "POT"} {
			s.deliver("warehouse", sku+" opening", stated(sku, "main", 10, at(0)))
			s.deliver("shop", sku+" order", orderEvent("B-"+sku, 1, sku, 3, 0, 0))
			s.stays(sku, 7, itemView{OnHand: 10, Committed: 3, Available: 7, ATP: 7})
		}
		// The acknowledgement first: the statement that is held is older and does not contain it.
		s.deliver("warehouse", "TEA statement before", stated("TEA", "main", 10, at(30)))
		s.stays("TEA", 7, itemView{OnHand: 10, Committed: 3, Available: 7, ATP: 7})
		s.deliver("warehouse", "TEA allocation", deducted("order.allocated", "B-TEA", "TEA", "main", 3, at(40)))
		s.stays("TEA", 7, ended)
		s.deliver("warehouse", "TEA statement after", stated("TEA", "main", 7, at(50)))
		s.stays("TEA", 7, ended)
		// The statement that contains it first: until the allocation is told, too little is offered and never too much.
		s.deliver("warehouse", "POT statement after", stated("POT", "main", 7, at(50)))
		s.stays("POT", 4, itemView{OnHand: 7, Committed: 3, Available: 4, ATP: 4})
		s.deliver("warehouse", "POT allocation", deducted("order.allocated", "B-POT", "POT", "main", 3, at(40)))
		s.stays("POT", 7, ended)
		for _, sku := range []string{"TEA", "POT"} {
			s.deliver("warehouse", sku+" shipment", deducted("shipment.shipped", "B-"+sku, sku, "main", 3, at(60)))
			s.stays(sku, 7, ended)
		}
		verified(s)
	})
}

// The webhook of a shipment is lost: the positions of what is read next tell of it, the promise ends, and what is there
// is offered.
func TestALostShipmentWebhookHoldsNothingBack(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.settings[0] = `timings: {look: 200ms, poll: 300ms, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s}`
		w := h.addWarehouse(fake.WarehouseConfig{Capabilities: open.RecordCapabilities{Levels: fake.OnHand, Positions: true, CompleteLevels: true}})
		w.AddItem(open.Item{SKU: "TEA", Name: "TEA"})
		if err := w.SetOpening("TEA", "main", 10); err != nil {
			t.Fatal(err)
		}
		h.addShop("shop", fake.ShopConfig{}, "orders_to: warehouse").AddListing(open.Listing{Item: "TEA", Title: "TEA"})
		s := h.start()
		s.imports("shop,TEA,,TEA,1")
		h.shows("shop", "TEA", 10)
		order, ok := h.shops["shop"].Buy("TEA", 2)
		if !ok {
			t.Fatal("the shop refuses the order")
		}
		h.eventually("the order is promised", func() error {
			if got := get[itemView](s, "/items/TEA"); got.Committed != 2 {
				return fmt.Errorf("TEA is %+v", got)
			}
			return nil
		})
		w.SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.WebhookDrop: 1000}})
		told := w.Counts()[fake.WebhookDelivered]
		h.eventually("the warehouse ships", func() error {
			if _, ok := w.Ship("shop:" + order); !ok {
				return errors.New("nothing is allocated")
			}
			return nil
		})
		h.eventually("the promise ends", func() error {
			if got, want := get[itemView](s, "/items/TEA"), (itemView{OnHand: 8, Available: 8, ATP: 8}); got != want {
				return fmt.Errorf("TEA is %+v, want %+v", got, want)
			}
			return nil
		})
		s.stays("TEA", 8, itemView{OnHand: 8, Available: 8, ATP: 8})
		if now := w.Counts()[fake.WebhookDelivered]; now != told {
			t.Errorf("%d webhooks were delivered after the warehouse fell silent: the test shows nothing", now-told)
		}
		verified(s)
	})
}

// A warehouse whose numbers mean on hand in one place and available in another: each unit is deducted once, by the
// shipment here and by the allocation there.
func TestEveryLocationHasItsBasis(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.connect("warehouse", "system_of_record", fmt.Sprintf("levels: on_hand, webhook_secrets: %q", h.secret), "levels_at: {annex: available}")
		shop := h.addShop("shop", fake.ShopConfig{})
		for _, sku := range []string{"TEA", "POT"} {
			shop.AddListing(open.Listing{Item: sku, Title: sku})
		}
		s := h.start()
		s.imports("shop,TEA,,TEA,1", "shop,POT,,POT,1")
		at := func(second int) time.Time { return time.Date(2026, 11, 2, 10, 0, second, 0, time.UTC) }
		for sku, location := range map[string]string{"TEA": "annex", "POT": "main"} {
			s.deliver("warehouse", sku+" opening", stated(sku, location, 10, at(0)))
			s.deliver("shop", sku+" order", orderEvent("C-"+sku, 1, sku, 3, 0, 0))
			s.stays(sku, 7, itemView{OnHand: 10, Committed: 3, Available: 7, ATP: 7})
			s.deliver("warehouse", sku+" allocation", deducted("order.allocated", "C-"+sku, sku, location, 3, at(10)))
			after := itemView{OnHand: 7, Available: 7, ATP: 7}
			if location == "main" {
				after = itemView{OnHand: 10, Committed: 3, Available: 7, ATP: 7}
			}
			s.stays(sku, 7, after)
			s.deliver("warehouse", sku+" shipment", deducted("shipment.shipped", "C-"+sku, sku, location, 3, at(20)))
			s.stays(sku, 7, itemView{OnHand: 7, Available: 7, ATP: 7})
			s.deliver("warehouse", sku+" statement", stated(sku, location, 7, at(30)))
			s.stays(sku, 7, itemView{OnHand: 7, Available: 7, ATP: 7})
		}
		verified(s)
	})
}
