package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors/tryton/trytonlive"
	"github.com/truestock/truestock/connectors/vendure/vendurelive"
)

// trytonTimings ask Tryton often, as it sends no webhooks.
const trytonTimings = `timings: {look: 200ms, poll: 500ms, levels: 1s, order_status: 1s, retry_min: 100ms, retry_max: 1s, request: 15s, request_life: 1s}`

// addTryton puts a real Tryton beside truestock, as the connection "tryton".
func (h *house) addTryton() *trytonlive.ERP {
	h.t.Helper()
	erp := trytonlive.Start(h.t)
	h.settings[0] = trytonTimings
	h.connections = append(h.connections, fmt.Sprintf(`  tryton:
    connector: tryton
    role: system_of_record
    settings: {base_url: %q, database: %q, username: %q, password: %q, customer: %s}
`, erp.URL, erp.Database, erp.Username, erp.Password, trytonlive.Customer))
	return erp
}

// addVendure puts a real Vendure shop beside truestock, as the connection "vendure", whose orders go to Tryton. Its hints
// arrive once the relay is aimed.
func (h *house) addVendure() (*vendurelive.Shop, *hookRelay) {
	h.t.Helper()
	hooks := newHookRelay(h.t)
	shop := vendurelive.StartWithWebhooks(h.t, hooks.server.URL+"/webhooks/vendure", h.secret)
	h.connections = append(h.connections, fmt.Sprintf(`  vendure:
    connector: vendure
    role: marketplace
    orders_to: tryton
    settings: {base_url: %q, username: %q, password: %q, webhook_secrets: %q}
`, shop.AdminURL, shop.Username, shop.Password, h.secret))
	return shop, hooks
}

// Two real systems: what Tryton has is for sale at Vendure, what Vendure sells becomes sales of Tryton's, and what Tryton sends,
// in two parts, is told to Vendure. Each chapter goes on from where the one before it ended.
func TestTryton(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	erp := h.addTryton()
	shop, hooks := h.addVendure()
	erp.CreateProducts(t, 20, "TS-MUG")
	erp.CreateProducts(t, 7, "TS-LAMP")
	mug, lamp := shop.Variants[0].ID, shop.Variants[1].ID
	s := h.start()
	hooks.aim(s.url)
	sells := func(want map[string]int64) {
		t.Helper()
		for id, n := range want {
			h.eventually(fmt.Sprintf("Vendure sells %d of variant %s", n, id), func() error {
				if got := shop.Available(t, id); got != n {
					return fmt.Errorf("it sells %d", got)
				}
				return nil
			})
		}
	}
	item := func(want itemView) {
		t.Helper()
		h.eventually("the numbers of TS-MUG", func() error {
			if got := get[itemView](s, "/items/TS-MUG"); got != want {
				return fmt.Errorf("they are %+v, want %+v", got, want)
			}
			return nil
		})
	}
	h.eventually("Tryton's products are known", func() error {
		a, err := s.send(http.MethodGet, "/api/v1/items/TS-MUG", h.token, "", nil)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d: %s", a.status, a.body)
		}
		return err
	})
	s.imports("vendure,"+mug+",,TS-MUG,1", "vendure,"+lamp+",,TS-LAMP,1")
	sells(map[string]int64{mug: 20, lamp: 7})

	// Stock down: four mugs break in the warehouse.
	erp.Receive(t, "TS-MUG", -4)
	sells(map[string]int64{mug: 16})

	// Order up: the sale is made once, as far as a shipment that waits.
	code := shop.PlaceOrder(t, map[string]int{mug: 3, lamp: 2})
	key := "vendure:" + code
	h.eventually("Tryton has the order", func() error {
		if n := len(erp.Sales(t)); n != 1 {
			return fmt.Errorf("it has %d sales", n)
		}
		return nil
	})
	sells(map[string]int64{mug: 13, lamp: 5})
	s.settled()
	if sale := erp.Sale(t, key); sale.State != "processing" || len(sale.Shipments) != 1 || len(sale.Lines) != 2 {
		t.Errorf("the sale is %+v", sale)
	}
	item(itemView{OnHand: 16, Committed: 3, Available: 13, ATP: 13})

	// Shipment back: one of each first, the rest later.
	erp.ShipPart(t, key, 1)
	h.eventually("Vendure hears of the first part", func() error {
		if state := shop.OrderState(t, code); state != "PartiallyShipped" {
			return fmt.Errorf("the order is %s", state)
		}
		return nil
	})
	item(itemView{OnHand: 15, Committed: 2, Available: 13, ATP: 13})
	erp.Ship(t, key)
	h.eventually("Vendure hears of the rest", func() error {
		if state := shop.OrderState(t, code); state != "Shipped" {
			return fmt.Errorf("the order is %s", state)
		}
		return nil
	})
	item(itemView{OnHand: 13, Available: 13, ATP: 13})
	sells(map[string]int64{mug: 13, lamp: 5})

	// A buyer changes his mind: Tryton does not send the order, and the units are for sale again.
	code = shop.PlaceOrder(t, map[string]int{mug: 2})
	sells(map[string]int64{mug: 11})
	h.eventually("Tryton has the second order", func() error {
		if n := len(erp.Sales(t)); n != 2 {
			return fmt.Errorf("it has %d sales", n)
		}
		return nil
	})
	shop.CancelOrder(t, code, nil)
	h.eventually("Tryton's shipment is cancelled", func() error {
		for _, shipment := range erp.Shipments(t, "vendure:"+code) {
			if shipment.State != "cancelled" {
				return fmt.Errorf("it is %s", shipment.State)
			}
		}
		return nil
	})
	sells(map[string]int64{mug: 13})

	// Goods come in.
	erp.Receive(t, "TS-MUG", 6)
	sells(map[string]int64{mug: 19, lamp: 5})
	item(itemView{OnHand: 19, Available: 19, ATP: 19})
	h.atRest(s)
}

// atRest: nothing is left to change, nothing waits for a person, and the books are sound.
func (h *house) atRest(s *server) {
	h.t.Helper()
	s.settled()
	if r := h.must(exitOK, "plan", "--output", "json"); strings.Join(strings.Fields(r.stdout), "") != `{"changes":[]}` {
		h.t.Errorf("plan prints %q", r.stdout)
	}
	h.must(exitOK, "reconcile", "--dry-run")
	if incidents := all[incidentView](s, "/incidents"); len(incidents) != 0 {
		h.t.Errorf("there are incidents: %+v", incidents)
	}
	if parked := all[eventView](s, "/events?state=parked"); len(parked) != 0 {
		h.t.Errorf("there are parked events: %+v", parked)
	}
	verified(s)
}
