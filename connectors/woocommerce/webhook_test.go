package woocommerce

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
)

// The vector was computed apart from the connector.
func TestWebhookVector(t *testing.T) {
	body := []byte(`{"id":1}`)
	header := http.Header{}
	header.Set("X-Wc-Webhook-Signature", "A971iWIMgT8Zj9A9eWfikrFj7wQ16/Qwcc4OlRl2PLc=")
	header.Set("X-Wc-Webhook-Topic", "order.created")
	header.Set("X-Wc-Webhook-Delivery-Id", "0cc175b9c0f1b6a831c399e269772661")
	r := connectors.Request{Method: http.MethodPost, Header: header, Body: body}
	s := connect(t, newPretend(), settingWebhookSecrets, "older secret")
	d, err := s.VerifyWebhook(r)
	if err != nil || d.Secret != 1 || d.Type != "order.created" {
		t.Fatalf("%+v, %v", d, err)
	}
	if want := "0cc175b9c0f1b6a831c399e269772661:order.created:"; !strings.HasPrefix(d.Key, want) || len(d.Key) != len(want)+64 {
		t.Errorf("the key is %q", d.Key)
	}
	if n, err := s.DecodeWebhook(d, body); err != nil || !n.Pull || len(n.Facts) != 0 {
		t.Errorf("%+v, %v", n, err)
	}
}

// What shops sent is known as theirs, and makes us look.
func TestDelivered(t *testing.T) {
	connectortest.Deliveries(t, connect(t, newPretend(), settingWebhookSecrets, "recordedsecret"), connect(t, newPretend(), settingWebhookSecrets, "another"), false)
}

// Two events within one second share their delivery id.
func TestDeliveriesOfOneSecondDiffer(t *testing.T) {
	s := connect(t, newPretend())
	seen := map[string]string{}
	for name, r := range map[string]connectors.Request{
		"one": delivery("d", "order.updated", hookSecret, []byte(`{"id":1}`)), "another order": delivery("d", "order.updated", hookSecret, []byte(`{"id":2}`)),
		"another topic": delivery("d", "order.created", hookSecret, []byte(`{"id":1}`)), "another second": delivery("e", "order.updated", hookSecret, []byte(`{"id":1}`)),
	} {
		d, err := s.VerifyWebhook(r)
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := seen[d.Key]; ok {
			t.Errorf("%s and %s share the key %q", name, before, d.Key)
		}
		seen[d.Key] = name
	}
}

func TestWebhooksThatAreRefused(t *testing.T) {
	s := connect(t, newPretend())
	event := []byte(`{"id":1}`)
	without := func(name string) connectors.Request {
		r := delivery("d", "order.updated", hookSecret, event)
		r.Header.Del(name)
		return r
	}
	for name, c := range map[string]struct {
		request connectors.Request
		want    error
	}{
		"another secret": {delivery("d", "order.updated", "other", event), connectors.ErrSignature},
		"not signed":     {without(headerSignature), connectors.ErrSignature},
		"no topic":       {without(headerTopic), connectors.ErrEnvelope},
		"no id":          {without(headerDelivery), connectors.ErrEnvelope},
		"long id":        {delivery(strings.Repeat("d", 65), "order.updated", hookSecret, event), connectors.ErrEnvelope},
		"a list":         {delivery("d", "order.updated", hookSecret, []byte(`[1]`)), connectors.ErrEnvelope},
		"half":           {delivery("d", "order.updated", hookSecret, []byte(`{"id":`)), connectors.ErrEnvelope},
		"ping":           {pingOf(7), connectors.ErrSignature},
	} {
		if _, err := s.VerifyWebhook(c.request); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for topic, body := range map[string]string{"coupon.updated": `{"id":1}`, "action.woocommerce_add_to_cart": `{"action":"x","arg":1}`} {
		if n, err := s.DecodeWebhook(connectors.Delivery{Type: topic}, []byte(body)); err != nil || n.Pull || len(n.Facts) > 0 {
			t.Errorf("%s: %+v, %v", topic, n, err)
		}
	}
	if _, err := s.DecodeWebhook(connectors.Delivery{Type: "order.updated"}, []byte(`{"code":"woocommerce_rest_cannot_view","message":"no"}`)); err == nil {
		t.Error("an event without an order was understood")
	}
}

// The ping is answered with exactly 200, and nothing else is taken for one.
func TestPing(t *testing.T) {
	s := connect(t, newPretend())
	if reply, ok := s.Handshake(pingOf(7)); !ok || reply.Status != http.StatusOK {
		t.Errorf("the ping is answered %d, %t", reply.Status, ok)
	}
	get, signed := pingOf(7), delivery("d", "order.updated", hookSecret, []byte("webhook_id=7"))
	get.Method = http.MethodGet
	tries := []connectors.Request{get, signed, delivery("d", "order.updated", hookSecret, []byte(`{"id":1}`))}
	for _, body := range []string{"", "webhook_id=", "webhook_id=x", "webhook_id=-1", "webhook_id=7&id=1", "webhook_id=7;", `{"webhook_id":7}`, "webhook_id=" + strings.Repeat("7", 60)} {
		r := pingOf(7)
		r.Body = []byte(body)
		tries = append(tries, r)
	}
	for _, r := range tries {
		if _, ok := s.Handshake(r); ok {
			t.Errorf("%s %q is taken for a ping", r.Method, r.Body)
		}
	}
}

func TestDeliveriesAreAnswered(t *testing.T) {
	s := connect(t, newPretend())
	for became, want := range map[connectors.Reception]int{
		connectors.ReceivedNew: 200, connectors.ReceivedAgain: 200, connectors.ReceivedConflict: 409,
		connectors.RefusedSignature: 401, connectors.RefusedEnvelope: 400, connectors.RefusedUnavailable: 503,
	} {
		if got := s.AnswerWebhook(became).Status; got != want {
			t.Errorf("%s is answered %d, not %d", became, got, want)
		}
	}
}

// Webhooks are made, pinged and heard; the shop disables those that fail, and they are enabled again, with the secret of now.
func TestSubscriptions(t *testing.T) {
	p := newPretend()
	s := connect(t, p)
	receiver := s
	p.receive = func(r connectors.Request) int {
		if reply, ok := receiver.Handshake(r); ok {
			return reply.Status
		}
		if _, err := receiver.VerifyWebhook(r); err != nil {
			return receiver.AnswerWebhook(connectors.RefusedSignature).Status
		}
		return receiver.AnswerWebhook(connectors.ReceivedNew).Status
	}
	p.hooks = append(p.hooks, &hook{webhook: webhook{ID: 1, Status: "active", Topic: "order.updated", URL: "https://elsewhere.example/"}})
	missing := func(s *shop, want int) []string {
		t.Helper()
		got, err := s.MissingSubscriptions(t.Context())
		if err != nil || len(got) != want {
			t.Fatalf("%d webhooks are missing (%v), not %d: %v", len(got), got, want, err)
		}
		return got
	}
	subscribe := func(s *shop, topics []string) {
		t.Helper()
		if err := s.Subscribe(t.Context(), topics); err != nil {
			t.Fatal(err)
		}
	}
	topics := missing(s, len(neededTopics))
	subscribe(s, topics)
	subscribe(s, topics)
	missing(s, 0)
	if len(p.hooks) != 1+len(neededTopics) {
		t.Errorf("the shop has %d webhooks", len(p.hooks))
	}
	for _, h := range p.hooks[1:] {
		if h.pings != 1 || h.Secret != hookSecret || h.Name == "" {
			t.Errorf("webhook %+v", h)
		}
	}
	// Our secret changes: the shop still signs with the old one, is refused, and gives up.
	receiver = connect(t, p, settingWebhookSecrets, "newsecret2")
	for range 8 {
		p.fire("order.updated", `{"id":1}`)
	}
	if got := missing(receiver, 1); got[0] != "order.updated" {
		t.Errorf("%v is missing", got)
	}
	subscribe(receiver, []string{"order.updated"})
	missing(receiver, 0)
	p.fire("order.updated", `{"id":1}`)
	for _, h := range p.hooks[1:] {
		if h.Topic == "order.updated" && (h.failures != 0 || h.Status != "active" || h.Secret != "newsecret2") {
			t.Errorf("webhook %+v", h)
		}
	}
	if len(p.hooks) != 1+len(neededTopics) {
		t.Errorf("the shop has %d webhooks", len(p.hooks))
	}
	// Without an address or a secret nothing is asked, and nothing can be made.
	before := len(p.asked)
	conn, err := open(connectors.Env{Transport: p}, connectors.MarketplaceRole, settings())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*shop{conn.(*shop), connect(t, p, settingWebhookSecrets, "")} {
		missing(s, 0)
		if err := s.Subscribe(t.Context(), topics); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("subscribed without address or secret: %v", err)
		}
	}
	if len(p.asked) != before {
		t.Errorf("%d requests", len(p.asked)-before)
	}
}

// A lost answer to the making of a webhook leaves one webhook.
func TestSubscribeSurvivesLostAnswers(t *testing.T) {
	p := newPretend()
	s := connect(t, &losing{next: p, method: http.MethodPost, times: 1})
	if err := s.Subscribe(t.Context(), neededTopics); connectors.KindOf(err) != connectors.Uncertain {
		t.Errorf("the lost answer is %v", err)
	}
	if err := s.Subscribe(t.Context(), neededTopics); err != nil || len(p.hooks) != len(neededTopics) {
		t.Errorf("%d webhooks, %v", len(p.hooks), err)
	}
}

func FuzzWebhook(f *testing.F) {
	f.Add("order.updated", []byte(`{"id":727}`))
	f.Add("product.deleted", []byte(`{"id":1e3}`))
	f.Add("action.x", []byte(`null`))
	s := connect(f, newPretend())
	f.Fuzz(func(t *testing.T, topic string, body []byte) {
		n, err := s.DecodeWebhook(connectors.Delivery{Type: topic}, body)
		if len(n.Facts) > 0 || n.Pull && err != nil {
			t.Errorf("%+v, %v", n, err)
		}
		r := delivery("d", topic, hookSecret, body)
		r.At = time.Now()
		if d, err := s.VerifyWebhook(r); err == nil && (d.Key == "" || len(d.Key) > 256) {
			t.Errorf("the key is %q", d.Key)
		}
		r.Header.Del(headerSignature)
		if reply, ok := s.Handshake(r); ok && (reply.Status != http.StatusOK || !strings.Contains(string(body), "webhook_id=")) {
			t.Errorf("%q is taken for a ping", body)
		}
	})
}

// A body is made when it is sent, so that it is newer than its event, and may come behind a later one: no number in it is told.
func TestEventsTellNoNumbers(t *testing.T) {
	s := connect(t, newPretend())
	for topic, body := range map[string]string{
		"product.updated": `{"id":7,"sku":"A","manage_stock":true,"stock_quantity":3,"stock_status":"instock"}`,
		"order.updated":   `{"id":8,"status":"cancelled","line_items":[{"id":1,"product_id":7,"quantity":2}]}`,
		"order.created":   `{"id":9,"status":"processing","line_items":[{"id":1,"product_id":7,"quantity":2}]}`,
		"order.deleted":   `{"id":9}`,
	} {
		if n, err := s.DecodeWebhook(connectors.Delivery{Type: topic}, []byte(body)); err != nil || !n.Pull || len(n.Facts) > 0 {
			t.Errorf("%s: %+v, %v", topic, n, err)
		}
	}
}
