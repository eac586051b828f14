package main_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

// post is a warehouse and a shop that gets its orders sold there, each behind a gate.
type post struct {
	*server
	shop             *fake.Shop
	warehouse        *fake.Warehouse
	atShop, atRecord *gate
}

// newPost starts a house in which a shop sells the articles, each of which is there ten times.
func newPost(t *testing.T, h *house, timings string, caps open.MarketplaceCapabilities, skus ...string) *post {
	t.Helper()
	h.settings[0] = "timings: {" + timings + "}"
	p := &post{warehouse: fake.NewWarehouse(fake.WarehouseConfig{Capabilities: open.RecordCapabilities{Name: "warehouse", Levels: fake.OnHand, Positions: true, CompleteLevels: true}})}
	t.Cleanup(p.warehouse.Close)
	caps.ShopID = "shop"
	p.shop = fake.NewShop(fake.ShopConfig{Capabilities: caps})
	t.Cleanup(p.shop.Close)
	h.warehouse, h.shops["shop"] = p.warehouse, p.shop
	p.atShop, p.atRecord = &gate{next: p.shop}, &gate{next: p.warehouse}
	h.connect("warehouse", "system_of_record", h.reach(p.atRecord))
	h.connect("shop", "marketplace", h.reach(p.atShop), "orders_to: warehouse")
	rows := make([]string, len(skus))
	for i, sku := range skus {
		p.warehouse.AddItem(open.Item{SKU: sku, Name: sku})
		if err := p.warehouse.SetOpening(sku, "main", 10); err != nil {
			t.Fatal(err)
		}
		p.shop.AddListing(open.Listing{Item: sku, Title: sku})
		rows[i] = "shop," + sku + ",," + sku + ",1"
	}
	p.server = h.start()
	p.imports(rows...)
	for _, sku := range skus {
		h.shows("shop", sku, 10)
	}
	p.settled()
	return p
}

// knownAddress gives the server an address that it knows before it starts, so that webhooks can be subscribed to it.
func (h *house) knownAddress() {
	h.t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.listen = free.Addr().String()
	if err := free.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.settings = append(h.settings, "public_url: http://"+h.listen)
}

func (s *server) held(item, reason string) {
	s.h.t.Helper()
	s.h.eventually(item+" is held: "+reason, func() error {
		l, err := tryGet[listingView](s, "/listings/shop/"+item)
		if err == nil && (l.State != "held" || !strings.Contains(l.HeldReason, reason)) {
			err = fmt.Errorf("it is %+v", l)
		}
		return err
	})
}

func (s *server) orderIsKnown(id string) {
	s.h.t.Helper()
	s.h.eventually("order "+id+" is known", func() error {
		a, err := s.send(http.MethodGet, "/api/v1/orders/shop/"+id, s.h.token, "", nil)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("it is answered %d", a.status)
		}
		return err
	})
}

func down(w http.ResponseWriter, _ *http.Request, _ []byte, _ http.Handler) bool {
	return refused(w, http.StatusServiceUnavailable)
}

// A warehouse that does not answer any more is told to a person. Meanwhile its last word holds: lowers go out, raises wait and
// say why. When it answers again, the incident closes by itself and the raises go out.
func TestASilentWarehouseIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		p := newPost(t, h, "look: 100ms, poll: 200ms, retry_min: 100ms, retry_max: 1s, request: 1s, request_life: 1s, stale_statement: 2s", open.MarketplaceCapabilities{ConditionalWrite: true}, "X", "Y")
		if n := p.openIncidents("source_silent"); n != 0 {
			t.Fatalf("%d incidents are open about a warehouse that answers", n)
		}
		p.atRecord.set(down)
		p.wantIncidents("source_silent", 1)
		h.receive("X", 5) // told by webhook
		p.held("X", "warehouse has not answered since")
		if err := h.warehouse.Adjust("Y", "main", -7); err != nil {
			t.Fatal(err)
		}
		h.shows("shop", "Y", 3)
		h.shows("shop", "X", 10)

		// A process that finds the incident open closes it all the same.
		p.kill()
		p.server = h.start()
		p.atRecord.set(nil)
		h.shows("shop", "X", 15)
		p.wantIncidents("source_silent", 0)
		p.settled()
		verified(p.server)
	})
}

// A channel that used to send many webhooks and sends none any more is told to a person, and asked for what it has not told.
// The next webhook closes the incident.
func TestASilentChannelIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := newPost(t, h, "look: 100ms, poll: 1h, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s, silence: 1s", open.MarketplaceCapabilities{ConditionalWrite: true}, numbered(30)...)
	for i := range 30 {
		if _, ok := p.shop.Buy(fmt.Sprintf("N-%03d", i), 1); !ok {
			t.Fatal("the shop refuses an order")
		}
	}
	p.settled()
	p.shop.SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.WebhookDrop: 1000}})
	lost, _ := p.shop.Buy("N-000", 2)
	p.wantIncidents("webhooks_silent", 1)
	p.orderIsKnown(lost)
	p.shop.Heal()
	p.shop.SetFaults(fake.Faults{})
	told, _ := p.shop.Buy("N-001", 1)
	p.orderIsKnown(told)
	p.wantIncidents("webhooks_silent", 0)
}

// A webhook subscription that the shop has dropped is found by a look and made again; one that the shop refuses to make is
// told to a person until it is there.
func TestADroppedSubscriptionIsMadeAgainOrTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.knownAddress()
	p := newPost(t, h, "look: 100ms, poll: 1h, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s, tend: 300ms",
		open.MarketplaceCapabilities{ConditionalWrite: true, Subscriptions: true}, "X")
	subscribed := func(what string, want int) {
		t.Helper()
		h.eventually(what, func() error {
			if got := p.shop.Subscriptions(); len(got) != want {
				return fmt.Errorf("the shop has %+v", got)
			}
			return nil
		})
	}
	subscribed("the first subscription is made", 1)
	p.shop.DropSubscriptions()
	missed, _ := p.shop.Buy("X", 1) // told to nobody
	subscribed("the subscription is made again", 1)
	p.orderIsKnown(missed)

	p.atShop.set(func(w http.ResponseWriter, r *http.Request, _ []byte, _ http.Handler) bool {
		return r.URL.Path == "/webhooks" && r.Method == http.MethodPost && refused(w, http.StatusUnprocessableEntity)
	})
	p.shop.DropSubscriptions()
	p.wantIncidents("subscription_missing", 1)
	if r := h.must(exitOK, "reconcile", "--dry-run", "--output", "json"); !strings.Contains(r.stdout, "no subscription to order.upserted") {
		t.Errorf("the dry run does not say that the subscription is missing: %s", r.stdout)
	}
	p.atShop.set(nil)
	subscribed("the subscription is made once the shop takes it", 1)
	p.wantIncidents("subscription_missing", 0)
	id, _ := p.shop.Buy("X", 1)
	p.orderIsKnown(id)
}

// Credentials that are revoked while nothing is to be done are found by a look: the connection is paused, a person is told,
// and nothing is written, lowers included. When they are right again, the connection goes on by itself.
func TestRevokedCredentials(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		p := newPost(t, h, "look: 100ms, poll: 1h, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s, tend: 300ms", open.MarketplaceCapabilities{ConditionalWrite: true}, "X", "Y")
		var writes counter
		p.atShop.set(func(w http.ResponseWriter, r *http.Request, _ []byte, _ http.Handler) bool {
			if r.URL.Path == "/stock/write" {
				writes.add(1)
			}
			return refused(w, http.StatusUnauthorized)
		})
		p.wantIncidents("connection_paused", 1)
		h.receive("X", 5)
		if err := h.warehouse.Adjust("Y", "main", -7); err != nil {
			t.Fatal(err)
		}
		h.eventually("the targets are known", func() error {
			x, y := get[listingView](p.server, "/listings/shop/X"), get[listingView](p.server, "/listings/shop/Y")
			if x.Target == nil || *x.Target != 15 || y.Target == nil || *y.Target != 3 || x.State != "paused" || y.State != "paused" {
				return fmt.Errorf("%+v, %+v", x, y)
			}
			return nil
		})
		if n := writes.value(); n != 0 {
			t.Errorf("%d writes went to a shop that refuses the credentials", n)
		}
		p.atShop.set(nil)
		h.shows("shop", "X", 15)
		h.shows("shop", "Y", 3)
		p.wantIncidents("connection_paused", 0)
		p.settled()

		// What a person has paused stays paused, whatever the credentials.
		if a := p.call(http.MethodPost, "/connections/shop/pause", "", ""); a.status != http.StatusOK {
			t.Fatalf("pause is answered %d: %s", a.status, a.body)
		}
		h.receive("X", 1)
		h.eventually("the target is known", func() error {
			if x := get[listingView](p.server, "/listings/shop/X"); x.Target == nil || *x.Target != 16 {
				return fmt.Errorf("%+v", x)
			}
			return nil
		})
		p.stopped(2 * tendLook)
		h.shows("shop", "X", 15)
	})
}
