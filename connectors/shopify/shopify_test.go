package shopify_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/shopify"
	"github.com/truestock/truestock/connectors/signature"
	"github.com/truestock/truestock/stock"
)

type marketplace interface {
	connectors.Marketplace
	connectors.AccountTeller
	connectors.ShipmentWriter
	connectors.Subscriber
	connectors.WebhookReceiver
}

const hooks = "https://truestock.example/hooks/shop"

func settings(changes ...string) connectors.Settings {
	s := connectors.Settings{"shop": domain, "access_token": token, "client_secrets": secret, "api_version": "2026-07", "notify_buyer": "false", "buyers": "false", "bulk": "false"}
	for i := 0; i < len(changes); i += 2 {
		s[changes[i]] = changes[i+1]
	}
	return s
}

func open(t testing.TB, transport http.RoundTripper, changes ...string) marketplace {
	t.Helper()
	conn, err := shopify.Info().Open(connectors.Env{Connection: "shop", Transport: transport, WebhookURL: hooks}, connectors.MarketplaceRole, settings(changes...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(marketplace)
}

// TestConformance runs the suite, with one location and with two.
func TestConformance(t *testing.T) {
	schemaOf(t, "2026-07")
	for name, locations := range map[string]int{"one location": 1, "two locations": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.RunMarketplace(t, connectortest.Fixture{New: func(t *testing.T) connectortest.Server { return server(t, locations) }})
		})
	}
}

func server(t *testing.T, locations int) connectortest.Server {
	p := newPretend(t, 255) // more than a batch
	wanted := p.locations[0].id
	place := ""
	if locations > 1 {
		second := p.addLocation("Store")
		wanted, place = wanted+","+second, second
		for _, i := range p.items {
			delete(i.levels, p.locations[0].id)
			i.levels[second] = new(10)
		}
	}
	var refs []connectors.Ref
	for _, i := range p.items {
		refs = append(refs, connectors.Ref{Item: i.id, Place: place})
	}
	at := p.locations[locations-1].id
	return connectortest.Server{
		Open: func(env connectors.Env) (connectors.Connection, error) {
			return shopify.Info().Open(env, connectors.MarketplaceRole, settings("locations", wanted))
		},
		Transport: p,
		Secrets:   []string{token, secret},
		Writes:    writes,
		Changes: func() int {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.changes
		},
		Refs: refs,
		Shown: func(r connectors.Ref) stock.Quantity {
			p.mu.Lock()
			defer p.mu.Unlock()
			return stock.Quantity(*p.item(r.Item).levels[at])
		},
		Sell: func(r connectors.Ref, q stock.Quantity) string {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.order(p.item(r.Item), at, int(q)).id
		},
		Shipped: func(id string) stock.Quantity {
			p.mu.Lock()
			defer p.mu.Unlock()
			var sum int
			for _, f := range p.findOrder(id).fulfillments {
				for _, l := range f.lines {
					sum += l.count
				}
			}
			return stock.Quantity(sum)
		},
		Sign: func(id string, at time.Time, body []byte) connectors.Request {
			return deliver("X-", "orders/updated", id, at, body)
		},
		Event: []byte(`{"id":820982911946154508,"updated_at":"2026-11-24T10:00:00Z"}`),
	}
}

func deliver(family, topic, id string, at time.Time, body []byte) connectors.Request {
	h := http.Header{}
	for name, value := range map[string]string{
		"Shopify-Hmac-Sha256": signature.Body(secret, body), "Shopify-Topic": topic, "Shopify-Webhook-Id": id, "Shopify-Shop-Domain": domain,
	} {
		h.Set(family+name, value)
	}
	return connectors.Request{Method: http.MethodPost, Header: h, Body: body, At: at}
}

// TestVersions tells the same story in every version: what one demands, another does not even have.
func TestVersions(t *testing.T) {
	for _, version := range shopify.Versions {
		t.Run(version, func(t *testing.T) {
			schemaOf(t, version)
			p := newPretend(t, 3)
			m := open(t, p, "api_version", version, "buyers", "true")
			can, err := m.Capabilities(t.Context())
			if err != nil || can.Account != "77" || can.PerPlace {
				t.Fatalf("%+v, %v", can, err)
			}
			ref := connectors.Ref{Item: p.items[0].id}
			wantResult(t, m, write(ref, 7, 10), connectors.Written, 7)
			wantResult(t, m, write(ref, 5, 10), connectors.Stale, -1)
			wantResult(t, m, write(ref, 5, -1), connectors.Written, 5)
			wantResult(t, m, write(ref, 5, 5), connectors.Written, -1) // nothing changes, and nothing is told
			delete(p.items[1].levels, p.locations[0].id)
			wantResult(t, m, write(connectors.Ref{Item: p.items[1].id}, 4, 0), connectors.Written, 4)
			if n := *p.items[1].levels[p.locations[0].id]; n != 4 {
				t.Errorf("the item that was not stocked shows %d", n)
			}
			o := p.order(p.items[0], p.locations[0].id, 2)
			if err := m.WriteShipment(t.Context(), connectors.ShipmentNotice{Key: "k", OrderID: o.id, Lines: []connectors.ShippedPacks{{LineID: o.lines[0].id, Quantity: 2}}}); err != nil {
				t.Error(err)
			}
			page, err := m.Orders(t.Context(), time.Time{}, "")
			if err != nil || len(page.Orders) != 1 || page.Orders[0].Lines[0].Shipped != 2 || page.Orders[0].Buyer.Contact != "buyer@shop.example" {
				t.Errorf("%+v, %v", page, err)
			}
			missing, err := m.MissingSubscriptions(t.Context())
			if err != nil || len(missing) != 7 {
				t.Fatalf("missing are %v, %v", missing, err)
			}
			for range 2 {
				if err := m.Subscribe(t.Context(), missing); err != nil {
					t.Fatal(err)
				}
			}
			if missing, err = m.MissingSubscriptions(t.Context()); err != nil || len(missing) != 0 || len(p.subscriptions) != 7 {
				t.Errorf("missing are %v of %d, %v", missing, len(p.subscriptions), err)
			}
			// Shopify deletes what failed for too long.
			p.subscriptions = slices.DeleteFunc(p.subscriptions, func(s map[string]any) bool { return s["topic"] == "ORDERS_UPDATED" })
			if missing, err = m.MissingSubscriptions(t.Context()); err != nil || !slices.Equal(missing, []string{"ORDERS_UPDATED"}) {
				t.Errorf("missing are %v, %v", missing, err)
			}
		})
	}
}

var writeID int

// write makes a write with an id of its own. Below 0 it expects nothing.
func write(ref connectors.Ref, quantity, expect stock.Quantity) connectors.Write {
	writeID++
	w := connectors.Write{Ref: ref, Quantity: quantity, ID: "w" + strings.Repeat("x", writeID)}
	if expect >= 0 {
		w.Expect = &expect
	}
	return w
}

// wantResult makes one write, and compares what becomes of it. Below 0 no quantity is told.
func wantResult(t *testing.T, m connectors.Marketplace, w connectors.Write, outcome connectors.Outcome, quantity stock.Quantity) {
	t.Helper()
	results, err := m.WriteStock(t.Context(), []connectors.Write{w})
	if err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, results[0], outcome, quantity)
}

func wantOutcome(t *testing.T, r connectors.Result, outcome connectors.Outcome, quantity stock.Quantity) {
	t.Helper()
	if r.Outcome != outcome || (r.Quantity == nil) != (quantity < 0) || r.Quantity != nil && *r.Quantity != quantity {
		t.Errorf("%s became %s with %v (%v), not %s with %d", r.Ref, r.Outcome, r.Quantity, r.Err, outcome, quantity)
	}
}
