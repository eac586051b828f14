package shopify_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
)

// TestWebhookVector: a signature that was computed apart from the connector.
func TestWebhookVector(t *testing.T) {
	m := open(t, nil, "client_secrets", "another, hush")
	body := []byte(`{"id":1}`)
	h := http.Header{}
	h.Set("X-Shopify-Hmac-Sha256", "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY=")
	h.Set("X-Shopify-Topic", "orders/create")
	h.Set("X-Shopify-Webhook-Id", "b54557e4")
	h.Set("X-Shopify-Shop-Domain", "Suite.myshopify.com")
	d, err := m.VerifyWebhook(connectors.Request{Method: http.MethodPost, Header: h, Body: body, At: time.Now()})
	if err != nil || d.Secret != 1 || d.Type != "orders/create" || d.Key != "orders/create/b54557e4" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestWebhookFamilies(t *testing.T) {
	m := open(t, nil)
	now := time.Now()
	events := deliver("", "Order", "e1", now, []byte(`{"id":1}`))
	events.Header.Set("Shopify-Action", "update")
	d, err := m.VerifyWebhook(events)
	if err != nil || d.Type != "order.update" || d.Key != "order.update/e1" {
		t.Errorf("an Event: %+v, %v", d, err)
	}
	if n, err := m.DecodeWebhook(d, events.Body); err != nil || !n.Pull || len(n.Facts) > 0 {
		t.Errorf("an Event: %+v, %v", n, err)
	}
	for name, change := range map[string]func(h http.Header){
		"no topic":     func(h http.Header) { h.Del("X-Shopify-Topic") },
		"no id":        func(h http.Header) { h.Del("X-Shopify-Webhook-Id") },
		"another shop": func(h http.Header) { h.Set("X-Shopify-Shop-Domain", "other.myshopify.com") },
		"no shop":      func(h http.Header) { h.Del("X-Shopify-Shop-Domain") },
	} {
		r := deliver("X-", "orders/create", "w1", now, []byte(`{}`))
		change(r.Header)
		if _, err := m.VerifyWebhook(r); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty := deliver("X-", "orders/create", "w1", now, nil)
	if _, err := m.VerifyWebhook(empty); !errors.Is(err, connectors.ErrSignature) {
		t.Errorf("an empty body: %v", err)
	}
	if _, err := open(t, nil, "client_secrets", "").VerifyWebhook(deliver("X-", "orders/create", "w1", now, []byte(`{}`))); !errors.Is(err, connectors.ErrSignature) {
		t.Errorf("without a secret: %v", err)
	}
}

// TestTopics: what is told by each topic.
func TestTopics(t *testing.T) {
	const level = `{"inventory_item_id":11,"location_id":21,"available":7,"updated_at":"2026-11-24T10:00:00Z"}`
	for _, c := range []struct {
		locations, topic, body string
		pull                   bool
		ref                    string
		fails                  bool
	}{
		{"", "orders/updated", `{"id":1}`, true, "", false},
		{"", "orders/edited", `{"id":1}`, true, "", false},
		{"", "refunds/create", `{"id":1}`, true, "", false},
		{"", "fulfillment_orders/moved", `{"id":1}`, true, "", false},
		{"", "app/uninstalled", `{"id":1}`, true, "", false},
		{"", "customers/data_request", `{"shop_id":1}`, false, "", false},
		{"", "themes/publish", `{"id":1}`, false, "", false},
		{"", "inventory_levels/update", level, false, "11", false},
		{"21", "inventory_levels/update", level, false, "11", false},
		{"21,22", "inventory_levels/update", level, false, "11@21", false},
		{"22", "inventory_levels/update", level, false, "", false},
		{"Store", "inventory_levels/update", level, true, "", false},
		{"", "inventory_levels/connect", level, true, "", false},
		{"", "inventory_levels/update", `{"inventory_item_id":11,"location_id":21,"available":null}`, false, "11", false},
		{"", "inventory_levels/update", `{"inventory_item_id":11,"location_id":21,"available":1.5}`, false, "", true},
		{"", "inventory_levels/update", `{"inventory_item_id":11,"location_id":21,"available":"7"}`, false, "", true},
		{"", "inventory_levels/update", `{"inventory_item_id":11,"location_id":21,"available":9000000000}`, false, "", true},
		{"", "inventory_levels/update", `{"inventory_item_id":-11,"location_id":21,"available":1}`, false, "", true},
		{"", "inventory_levels/update", `{"location_id":21,"available":1}`, false, "", true},
		{"", "inventory_levels/update", `[]`, false, "", true},
	} {
		m := open(t, nil, "locations", c.locations)
		n, err := m.DecodeWebhook(connectors.Delivery{Key: "k", Type: c.topic}, []byte(c.body))
		ref := ""
		if len(n.Facts) == 1 {
			ref = n.Facts[0].Observation.Ref.String()
			if err := n.Facts[0].Validate(); err != nil {
				t.Errorf("%s: %v", c.topic, err)
			}
		}
		if n.Pull != c.pull || ref != c.ref || c.fails != (err != nil) {
			t.Errorf("%s with locations %q, %s: %+v, %v", c.topic, c.locations, c.body, n, err)
		}
	}
}

// TestSubscriptions: where the address or the secret is not known, nothing is missing; what is not needed is not made.
func TestSubscriptions(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	if missing, err := open(t, p, "client_secrets", "").MissingSubscriptions(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("without a secret: %v, %v", missing, err)
	}
	m := open(t, p)
	if err := m.Subscribe(t.Context(), []string{"THEMES_PUBLISH"}); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("%v", err)
	}
	p.subscriptions = append(p.subscriptions, map[string]any{"topic": "ORDERS_CREATE", "uri": hooks, "format": "XML"})
	if err := m.Subscribe(t.Context(), []string{"ORDERS_CREATE"}); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("one in XML is in the way: %v", err)
	}
	if err := m.Subscribe(t.Context(), []string{"ORDERS_UPDATED", "INVENTORY_LEVELS_UPDATE"}); err != nil || len(p.subscriptions) != 3 {
		t.Errorf("%v", err)
	}
	if fields := p.subscriptions[1]["fields"].([]any); len(fields) != 2 {
		t.Errorf("of an order %v is sent", fields)
	}
}
