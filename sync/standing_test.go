package sync_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors"
	stocksync "github.com/truestock/truestock/sync"
)

// answering are the options of a house whose warehouse has no positions, and can be asked how orders stand.
func answering(levels string) houseOptions {
	return houseOptions{levels: levels, answers: true, timings: stocksync.Timings{Poll: 5 * time.Minute}}
}

// The webhook of a shipment is lost for good. The order is asked for within two hours of silence, the promise ends, the
// level that is read after the answer contains the shipment, and the shop hears what was sent. A webhook about it that
// comes days late changes nothing.
func TestALostShipmentIsAskedFor(t *testing.T) {
	within(t, answering("on_hand"), func(h *house) {
		h.stocked("TEA", 10)
		h.settled()
		order := h.buy("shop", "TEA", 2)
		h.settled()
		h.item("TEA", 10, 2, 8)
		h.trouble.setLost("shipment.shipped", true)
		if _, ok := h.warehouse.Ship(orderKey("shop", order)); !ok {
			t.Fatal("the warehouse ships nothing")
		}
		late := h.lastMail("shipment.shipped")
		h.settled()
		h.item("TEA", 10, 2, 8)
		h.trouble.asked()
		time.Sleep(2*time.Hour + 10*time.Minute)
		h.settled()
		h.item("TEA", 8, 0, 8)
		h.shows("shop", "TEA", 8)
		if n := h.trouble.asked(); n != 1 {
			t.Errorf("the warehouse was asked %d times for one order that went its way, want once", n)
		}
		if sent := *h.shops["shop"].Orders()[0].Lines[0].Shipped; sent != 2 {
			t.Errorf("the shop knows of %d units sent, want 2", sent)
		}
		v, err := h.engine.Order(h.ctx, stocksync.OrderKey{Channel: "shop", OrderID: order})
		if err != nil || v.Standing == nil || len(v.Standing.Lines) != 1 || v.Standing.Lines[0].Places[0].Shipped != 2 || v.Lines[0].Components[0].Deducted != 2 {
			t.Errorf("the order is %+v, stands %+v (%v)", v, v.Standing, err)
		}
		time.Sleep(72 * time.Hour)
		h.trouble.setLost("shipment.shipped", false)
		h.deliver("erp", late)
		h.settled()
		h.item("TEA", 8, 0, 8)
		h.shows("shop", "TEA", 8)
		if sent := *h.shops["shop"].Orders()[0].Lines[0].Shipped; sent != 2 {
			t.Errorf("after the late webhook the shop knows of %d units sent, want 2", sent)
		}
		if n := h.trouble.asked(); n != 0 {
			t.Errorf("the warehouse was asked %d times for an order that is over", n)
		}
		h.sound()
	})
}

// The levels already contain a shipment of which nobody told: too little is offered, never too much, until the order is
// asked for. What is found is explained until a level is read that contains it.
func TestALevelThatContainsALostShipmentIsUnderstood(t *testing.T) {
	within(t, answering("on_hand"), func(h *house) {
		h.stocked("TEA", 10)
		h.settled()
		order := h.buy("shop", "TEA", 2)
		h.settled()
		h.trouble.setLost("shipment.shipped", true)
		h.warehouse.Ship(orderKey("shop", order))
		if _, err := h.engine.Reconcile(h.ctx, "test", false); err != nil {
			t.Fatal(err)
		}
		h.settled()
		h.item("TEA", 8, 2, 6)
		h.shows("shop", "TEA", 6)
		h.trouble.setDown("erp/levels", true)
		time.Sleep(2*time.Hour + 10*time.Minute)
		h.item("TEA", 6, 0, 6)
		h.shows("shop", "TEA", 6)
		x, err := h.engine.Explain(h.ctx, stocksync.ListingKey{Connection: "shop", Ref: ref("TEA")}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		want := "Since then: -2 at main (no message told it; asked for the order: shop:" + order + "/1 shipped by "
		if !slices.ContainsFunc(x.Sentences, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("nothing in the explanation begins with %q:\n%s", want, strings.Join(x.Sentences, "\n"))
		}
		h.trouble.setDown("erp/levels", false)
		time.Sleep(30 * time.Minute)
		h.settled()
		h.item("TEA", 8, 0, 8)
		h.shows("shop", "TEA", 8)
		h.sound()
	})
}

// Where levels mean available, the lost allocation ends the promise when the order is asked for, and the lost shipment
// reaches the shop; the messages that come late add nothing.
func TestALostAllocationIsAskedFor(t *testing.T) {
	within(t, answering("available"), func(h *house) {
		h.stocked("TEA", 10)
		h.settled()
		for _, kind := range []string{"order.allocated", "shipment.shipped"} {
			h.trouble.setLost(kind, true)
		}
		order := h.buy("shop", "TEA", 3)
		h.settled()
		h.item("TEA", 10, 3, 7)
		allocated := h.lastMail("order.allocated")
		time.Sleep(2*time.Hour + 10*time.Minute)
		h.settled()
		h.item("TEA", 7, 0, 7)
		h.shows("shop", "TEA", 7)
		if _, ok := h.warehouse.Ship(orderKey("shop", order)); !ok {
			t.Fatal("the warehouse ships nothing")
		}
		shipped := h.lastMail("shipment.shipped")
		time.Sleep(2*time.Hour + 10*time.Minute)
		h.settled()
		h.item("TEA", 7, 0, 7)
		if sent := *h.shops["shop"].Orders()[0].Lines[0].Shipped; sent != 3 {
			t.Errorf("the shop knows of %d units sent, want 3", sent)
		}
		for _, late := range []string{shipped, allocated} {
			h.deliver("erp", late)
			h.settled()
			h.item("TEA", 7, 0, 7)
			h.shows("shop", "TEA", 7)
		}
		h.sound()
	})
}

// An allocation that was taken back without a word is promised again: otherwise the units would be sold twice.
func TestALostDeallocationIsAskedFor(t *testing.T) {
	within(t, answering("available"), func(h *house) {
		h.stocked("TEA", 3)
		h.settled()
		h.buy("shop", "TEA", 3)
		h.settled()
		h.item("TEA", 0, 0, 0)
		for _, kind := range []string{"order.deallocated", "stock.moved"} {
			h.trouble.setLost(kind, true)
		}
		if err := h.warehouse.Adjust("TEA", "main", -2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*time.Hour + 10*time.Minute)
		h.settled()
		h.item("TEA", 0, 2, -2)
		if n := h.incidents(stocksync.IncidentOversell); n != 1 {
			t.Errorf("%d incidents of oversell are open, want 1", n)
		}
		h.sound()
	})
}

// A rejection that was lost frees the units, and is told to a person as one that came.
func TestALostRejectionIsAskedFor(t *testing.T) {
	within(t, answering("on_hand"), func(h *house) {
		h.stocked("TEA", 10)
		h.settled()
		order := h.buy("shop", "TEA", 4)
		h.settled()
		h.trouble.setLost("order.rejected", true)
		if !h.warehouse.Reject(orderKey("shop", order)) {
			t.Fatal("the warehouse rejects nothing")
		}
		late := h.lastMail("order.rejected")
		time.Sleep(2*time.Hour + 10*time.Minute)
		h.settled()
		h.item("TEA", 10, 0, 10)
		if n := h.incidents(stocksync.IncidentOrderRejected); n != 1 {
			t.Errorf("%d incidents of a rejection are open, want 1", n)
		}
		h.deliver("erp", late)
		h.settled()
		h.item("TEA", 10, 0, 10)
		h.sound()
	})
}

// An order that the warehouse still has to ship is asked for before its silence becomes an incident, which says what the
// answer was; the answer that it was shipped closes it.
func TestSilenceIsAskedAboutBeforeItIsAnIncident(t *testing.T) {
	within(t, answering("on_hand"), func(h *house) {
		h.stocked("TEA", 10)
		h.settled()
		waiting, lost := h.buy("shop", "TEA", 1), h.buy("shop", "TEA", 2)
		h.settled()
		h.trouble.setLost("shipment.shipped", true)
		h.trouble.setDown("erp/orders/"+orderKey("shop", lost), true)
		h.trouble.setDown("erp/orders/"+orderKey("shop", waiting), true)
		time.Sleep(47 * time.Hour)
		h.warehouse.Ship(orderKey("shop", lost))
		time.Sleep(30 * time.Minute)
		h.trouble.setDown("erp/orders/"+orderKey("shop", lost), false)
		h.trouble.setDown("erp/orders/"+orderKey("shop", waiting), false)
		time.Sleep(5 * time.Hour)
		h.settled()
		open, err := h.engine.Incidents(h.ctx, true, 0, 10)
		if err != nil || len(open) != 1 {
			t.Fatalf("%d incidents are open (%v), want the one about the order that waits: %+v", len(open), err, open)
		}
		if i := open[0]; i.Kind != stocksync.IncidentCommitmentStuck || i.Subject != orderKey("shop", waiting) || !strings.Contains(i.Message, "counts them as neither shipped nor refused") {
			t.Errorf("the incident is %+v", i)
		}
		h.warehouse.Ship(orderKey("shop", waiting))
		time.Sleep(3 * time.Hour)
		h.settled()
		if n := h.incidents(stocksync.IncidentCommitmentStuck); n != 0 {
			t.Errorf("%d incidents are open after the answer that the order was shipped", n)
		}
		h.item("TEA", 7, 0, 7)
		h.sound()
	})
}

// Many silent orders are asked for a few at a time, each once in a round, and a restart goes on where the round was. A
// reconciliation asks for all of them.
func TestOrdersAreAskedForAFewAtATime(t *testing.T) {
	o := answering("on_hand")
	o.timings.OrderStatus = 6 * time.Hour
	within(t, o, func(h *house) {
		h.stocked("TEA", 200)
		h.settled()
		for range 50 {
			h.buy("shop", "TEA", 1)
		}
		h.settled()
		h.trouble.asked()
		var rounds []int
		for range 13 * 12 { // polls
			time.Sleep(5 * time.Minute)
			if n := h.trouble.asked(); n > 0 {
				rounds = append(rounds, n)
				if len(rounds) == 1 {
					h.restart()
					h.trouble.asked()
				}
			}
		}
		asked := 0
		for _, n := range rounds {
			asked += n
		}
		if len(rounds) == 0 || rounds[0] != 20 || slices.Max(rounds) > 40 || asked%50 != 0 {
			t.Errorf("orders were asked for by %v in five minutes each, want 20 first, no more than two passes at a time, and all 50 in a round", rounds)
		}
		h.settled()
		h.item("TEA", 200, 50, 150)
		h.trouble.setLost("shipment.shipped", true)
		h.warehouse.ShipAll()
		h.trouble.asked()
		if _, err := h.engine.Reconcile(h.ctx, "test", false); err != nil {
			t.Fatal(err)
		}
		if n := h.trouble.asked(); n < 50 {
			t.Errorf("the reconciliation asked for %d orders, want all 50", n)
		}
		h.settled()
		h.item("TEA", 150, 0, 150)
		h.sound()
	})
}

// forgetful is a warehouse that does not know one of the orders any more.
type forgetful struct {
	connectors.SystemOfRecord
	connectors.WebhookReceiver
	key string
}

func (f *forgetful) OrderStanding(ctx context.Context, key string) (connectors.Standing, error) {
	if key == f.key {
		return connectors.Standing{}, &connectors.Error{Kind: connectors.Unmapped, Op: "ask for an order", Err: errors.New("no order has the key")}
	}
	return f.SystemOfRecord.(connectors.OrderTeller).OrderStanding(ctx, key)
}

// An order that the warehouse does not know any more keeps no other from being asked for, and its incident says so.
func TestAnOrderThatIsNotKnownIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, answering("on_hand"))
		defer h.close()
		f := &forgetful{SystemOfRecord: h.config.Records[0].System, WebhookReceiver: h.config.Records[0].System.(connectors.WebhookReceiver)}
		h.config.Records[0].System = f
		h.start()
		h.stocked("TEA", 10)
		h.settled()
		forgotten, lost := h.buy("shop", "TEA", 1), h.buy("shop", "TEA", 2)
		f.key = orderKey("shop", forgotten)
		h.settled()
		h.trouble.setLost("shipment.shipped", true)
		h.warehouse.Ship(orderKey("shop", lost))
		time.Sleep(2*time.Hour + 10*time.Minute)
		h.settled()
		h.item("TEA", 8, 1, 7)
		time.Sleep(50 * time.Hour)
		h.settled()
		open, err := h.engine.Incidents(h.ctx, true, 0, 10)
		if err != nil || len(open) != 1 || open[0].Subject != f.key || !strings.Contains(open[0].Message, "gives no answer") {
			t.Errorf("the incidents are %+v (%v)", open, err)
		}
		h.sound()
	})
}

// changing is a warehouse that says what changed.
type changing struct {
	connectors.SystemOfRecord
	connectors.WebhookReceiver
	mu    sync.Mutex
	keys  []string // from now on, in the order of their changes
	stock bool
	fails bool
}

func (c *changing) Capabilities(ctx context.Context) (connectors.RecordCapabilities, error) {
	caps, err := c.SystemOfRecord.Capabilities(ctx)
	caps.Changes = true
	return caps, err
}

func (c *changing) OrderStanding(ctx context.Context, key string) (connectors.Standing, error) {
	c.mu.Lock()
	fails := c.fails
	c.mu.Unlock()
	if fails {
		return connectors.Standing{}, &connectors.Error{Kind: connectors.Retryable, Op: "ask for an order", Err: errors.New("busy")}
	}
	return c.SystemOfRecord.(connectors.OrderTeller).OrderStanding(ctx, key)
}

// Changes implements connectors.ChangeTeller: the mark is how many changes there were.
func (c *changing) Changes(_ context.Context, mark string) (connectors.Changes, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := strconv.Atoi(mark)
	if err != nil {
		n = len(c.keys)
	}
	told := connectors.Changes{Stock: c.stock, OrderKeys: slices.Clone(c.keys[n:]), Mark: strconv.Itoa(len(c.keys))}
	c.stock = false
	return told, nil
}

func (c *changing) change(fails bool, keys ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails, c.stock, c.keys = fails, true, append(c.keys, keys...)
}

// A system of record that says what changed needs no webhooks: shipments are known with the next poll, also those that
// could not be asked for at first, and those of before a restart.
func TestWhatChangedIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := answering("on_hand")
		o.timings.OrderStatus, o.timings.Levels = 1000*time.Hour, 1000*time.Hour
		h := newHouse(t, o)
		defer h.close()
		c := &changing{SystemOfRecord: h.config.Records[0].System, WebhookReceiver: h.config.Records[0].System.(connectors.WebhookReceiver)}
		h.config.Records[0].System = c
		h.start()
		h.stocked("TEA", 200)
		h.settled()
		var keys []string
		for range 60 {
			keys = append(keys, orderKey("shop", h.buy("shop", "TEA", 1)))
		}
		h.settled()
		h.trouble.setLost("shipment.shipped", true)
		h.trouble.setLost("stock.level", true)
		h.warehouse.Ship(keys[0])
		c.change(false, keys[0], "shop:unknown", "no key")
		time.Sleep(6 * time.Minute)
		h.settled()
		h.item("TEA", 199, 59, 140)

		h.warehouse.ShipAll()
		c.change(true, keys[1:]...)
		time.Sleep(6 * time.Minute)
		h.item("TEA", 199, 59, 140)
		h.restart()
		c.change(false)
		time.Sleep(12 * time.Minute)
		h.settled()
		h.item("TEA", 140, 0, 140)
		h.shows("shop", "TEA", 140)
		h.trouble.asked()
		time.Sleep(time.Hour)
		if n := h.trouble.asked(); n > 0 {
			t.Errorf("%d orders were asked for although nothing changed", n)
		}
		h.sound()
	})
}
