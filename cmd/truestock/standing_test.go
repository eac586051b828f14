package main_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

// A warehouse without positions loses the webhook of a shipment for good, and of a rejection. It is asked how the orders
// stand: the promises end, what is there is offered, the shop hears what was sent, and no person does anything.
func TestALostWebhookIsAskedForWithoutPositions(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.settings[0] = `timings: {look: 200ms, poll: 300ms, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s, order_status: 2s}`
		w := h.addWarehouse(fake.WarehouseConfig{Capabilities: open.RecordCapabilities{Levels: fake.OnHand, CompleteLevels: true, OrderStatus: true}})
		w.AddItem(open.Item{SKU: "TEA", Name: "TEA"})
		if err := w.SetOpening("TEA", "main", 10); err != nil {
			t.Fatal(err)
		}
		h.addShop("shop", fake.ShopConfig{Capabilities: open.MarketplaceCapabilities{Shipments: true}}, "orders_to: warehouse").AddListing(open.Listing{Item: "TEA", Title: "TEA"})
		s := h.start()
		s.imports("shop,TEA,,TEA,1")
		h.shows("shop", "TEA", 10)
		sold := map[string]int64{}
		for _, quantity := range []int64{2, 3} {
			order, ok := h.shops["shop"].Buy("TEA", quantity)
			if !ok {
				t.Fatal("the shop refuses the order")
			}
			sold[order] = quantity
		}
		h.eventually("the orders are promised", func() error {
			if got := get[itemView](s, "/items/TEA"); got.Committed != 5 {
				return fmt.Errorf("TEA is %+v", got)
			}
			return nil
		})
		h.eventually("the warehouse has the orders", func() error {
			if n := len(w.Orders()); n != 2 {
				return fmt.Errorf("it has %d", n)
			}
			return nil
		})
		w.SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.WebhookDrop: 1000}})
		delivered := w.Counts()[fake.WebhookDelivered]
		var sent string
		for order, quantity := range sold {
			done := false
			if quantity == 2 {
				sent = order
				_, done = w.Ship("shop:" + order)
			} else {
				done = w.Reject("shop:" + order)
			}
			if !done {
				t.Fatalf("the warehouse does nothing with order %s", order)
			}
		}
		want := itemView{OnHand: 8, Available: 8, ATP: 8}
		h.eventually("the promises end", func() error {
			if got := get[itemView](s, "/items/TEA"); got != want {
				return fmt.Errorf("TEA is %+v, want %+v", got, want)
			}
			return nil
		})
		s.stays("TEA", 8, want)
		h.eventually("the shop hears what was sent", func() error {
			for _, o := range h.shops["shop"].Orders() {
				if o.OrderID == sent && *o.Lines[0].Shipped != 2 {
					return fmt.Errorf("it knows of %d", *o.Lines[0].Shipped)
				}
			}
			return nil
		})
		order := get[struct {
			Standing *struct {
				Lines []struct {
					Locations []struct {
						Location string `json:"location"`
						Shipped  int64  `json:"shipped"`
					} `json:"locations"`
				} `json:"lines"`
			} `json:"standing"`
		}](s, "/orders/shop/"+sent)
		if order.Standing == nil || len(order.Standing.Lines) != 1 || len(order.Standing.Lines[0].Locations) != 1 || order.Standing.Lines[0].Locations[0].Shipped != 2 {
			t.Errorf("the order stands as %+v", order.Standing)
		}
		explained := h.must(exitOK, "explain", "shop", "TEA", "--output", "json").stdout
		if !strings.Contains(explained, "asked for shop:"+sent) {
			t.Errorf("the explanation does not tell that the order was asked for:\n%s", explained)
		}
		if now := w.Counts()[fake.WebhookDelivered]; now != delivered {
			t.Errorf("%d webhooks were delivered after the warehouse fell silent: the test shows nothing", now-delivered)
		}
		verified(s)
	})
}
