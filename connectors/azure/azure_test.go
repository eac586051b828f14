package azure_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/azure"
	"github.com/truestock/truestock/connectors/connectortest"
)

const (
	opOne = "0b000000-0000-0000-0000-000000000001"
	opTwo = "0b000000-0000-0000-0000-000000000002"
)

func TestConformance(t *testing.T) {
	connectortest.RunPlatform(t, connectortest.Fixture{
		New: func(t *testing.T) connectortest.Server {
			m := newMarketplace(t)
			subscription := m.buy(1, "gold", new(5))
			m.subscriptions[subscription].Status = "Subscribed"
			m.order = nil // so that there is nothing to list beside what is asked
			return connectortest.Server{
				Transport:    m,
				Secrets:      []string{secret},
				BodyUnsigned: true,
				Open:         func(env connectors.Env) (connectors.Connection, error) { return open(t, env), nil },
				Event:        []byte("ChangeQuantity"),
				Sign: func(id string, at time.Time, body []byte) connectors.Request {
					if string(body) != "ChangeQuantity" {
						return signed(t, body, at, issuerV2, client)
					}
					h := fnv.New32()
					_, _ = io.WriteString(h, id)
					op := fmt.Sprintf("0b000000-0000-0000-0000-%012d", h.Sum32())
					m.mu.Lock()
					_, known := m.operations[op]
					m.mu.Unlock()
					if !known {
						m.ask(op, subscription, "ChangeQuantity", "gold", new(8))
					}
					return m.webhook(op, at)
				},
			}
		}})
}

// received is what the engine makes of a webhook until it is stored.
func received(t *testing.T, c account, r connectors.Request) (connectors.Delivery, connectors.Notice) {
	t.Helper()
	d, err := c.VerifyWebhook(r)
	if err != nil {
		t.Fatal(err)
	}
	if d, err = c.CompleteWebhook(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	n, err := c.DecodeWebhook(d, d.Body)
	if err != nil {
		t.Fatal(err)
	}
	return d, n
}

// decided is what the engine does with a decision.
func decided(t *testing.T, c account, d connectors.Delivery, as connectors.Decision) connectors.Reply {
	t.Helper()
	a := connectors.Admission{Decision: as, Reason: "the test", At: time.Now()}
	if err := c.WriteAdmission(t.Context(), d, a); err != nil {
		t.Fatal(err)
	}
	return c.AnswerAdmission(d, a)
}

// listed are all orders, by their ids, as the engine fetches them.
func listed(t *testing.T, c account, since time.Time) (map[string]connectors.Order, time.Time) {
	t.Helper()
	all := make(map[string]connectors.Order)
	var watermark time.Time
	for from := connectors.Cursor(""); ; {
		page, err := c.Orders(t.Context(), since, from)
		if err != nil {
			t.Fatal(err)
		}
		if watermark.IsZero() {
			watermark = page.Watermark
		}
		for _, o := range page.Orders {
			all[o.OrderID] = o
		}
		if from = page.Next; from == "" {
			return all, watermark
		}
	}
}

func TestTheLifeOfASubscription(t *testing.T) {
	_ = key() // made outside the bubble
	_ = specification()
	synctest.Test(t, func(t *testing.T) {
		m := newMarketplace(t)
		c := open(t, connectors.Env{Transport: m})
		defer func() { _ = c.Close() }()
		if err := c.Check(t.Context()); err != nil {
			t.Fatal(err)
		}

		// Purchases stand in the list, over all pages.
		one, flat, three := m.buy(1, "gold", new(5)), m.buy(2, "flat", nil), m.buy(3, "gold", new(1))
		orders, watermark := listed(t, c, time.Time{})
		o := orders[one]
		if len(orders) != 3 || o.Status != connectors.OrderOpen || o.Lines[0].Ref.Item != "offer/gold" || o.Lines[0].Quantity != 5 || o.Buyer.Contact != "buyer@example.com" ||
			o.PlacedAt.Year() != 2026 || orders[flat].Lines[0].Quantity != 1 {
			t.Fatalf("listed: %+v", orders)
		}

		// What is shipped is activated, once.
		notice := connectors.ShipmentNotice{Key: "s1", OrderID: one, Lines: []connectors.ShippedPacks{{LineID: "offer/gold", Quantity: 5}}}
		for range 2 {
			if err := c.WriteShipment(t.Context(), notice); err != nil {
				t.Fatal(err)
			}
		}
		if n := m.asked("POST /api/saas/subscriptions/" + one + "/activate"); n != 1 || m.subscriptions[one].Status != "Subscribed" {
			t.Errorf("activated %d times; it is %s", n, m.subscriptions[one].Status)
		}
		if err := c.WriteShipment(t.Context(), connectors.ShipmentNotice{Key: "s2", OrderID: flat}); err != nil || m.subscriptions[flat].Status != "Subscribed" {
			t.Errorf("at a flat rate: %v", err)
		}

		// Nothing has changed that is of the order: nothing is told.
		time.Sleep(time.Minute)
		if again, _ := listed(t, c, watermark.Add(time.Second)); len(again) != 0 {
			t.Errorf("told again: %v", again)
		}

		// More seats, admitted.
		m.ask(opOne, one, "ChangeQuantity", "gold", new(8))
		d, n := received(t, c, m.webhook(opOne, time.Now()))
		asked := n.Facts[0].Order
		if !n.Asks || d.Key != opOne || asked.OrderID != one || asked.Lines[0].Quantity != 8 || asked.Lines[0].LineID != o.Lines[0].LineID || asked.Version <= o.Version {
			t.Fatalf("the question is %s %+v", d.Key, asked)
		}
		if r := decided(t, c, d, connectors.Admit); r.Status != http.StatusOK || m.operations[opOne].Status != "Succeeded" || *m.subscriptions[one].Quantity != 8 {
			t.Errorf("admitted: %d, %+v", r.Status, m.operations[opOne])
		}
		// The same decision again changes nothing, and the same webhook is no question any more.
		if r := decided(t, c, d, connectors.Admit); r.Status != http.StatusOK {
			t.Errorf("admitted again: %d", r.Status)
		}
		if d, n := received(t, c, m.webhook(opOne, time.Now())); n.Asks || !n.Pull || d.Key != opOne+":Succeeded" {
			t.Errorf("sent again it is %+v", n)
		}
		time.Sleep(time.Second)
		if found, _ := listed(t, c, watermark); found[one].Lines[0].Quantity != 8 || found[one].Version < asked.Version {
			t.Errorf("the look that follows has %+v", found[one])
		}

		// Still more, refused.
		m.ask(opTwo, one, "ChangePlan", "platinum", new(8))
		d, n = received(t, c, m.webhook(opTwo, time.Now()))
		if line := n.Facts[0].Order.Lines[0]; len(n.Facts[0].Order.Lines) != 1 || line.Ref.Item != "offer/platinum" || line.Quantity != 8 {
			t.Errorf("a change of plan asks for %+v", n.Facts[0].Order)
		}
		if r := decided(t, c, d, connectors.Refuse); r.Status < 400 || r.Status > 499 || !strings.Contains(string(r.Body), "OutOfStock") || m.operations[opTwo].Status != "Failed" {
			t.Errorf("refused: %d %s, %+v", r.Status, r.Body, m.operations[opTwo])
		}
		if m.subscriptions[one].PlanID != "gold" {
			t.Error("the refused plan took place")
		}

		// What came to nothing at Microsoft after it was admitted is told anew within the hour.
		before := time.Now()
		time.Sleep(61 * time.Minute)
		if found, _ := listed(t, c, before); len(found) != 3 || found[one].Lines[0].Quantity != 8 {
			t.Errorf("told within the hour: %v", found)
		}

		// What is only told makes us look: the end of a subscription, and a suspension.
		for i, action := range []string{"Suspend", "Reinstate", "Renew", "Unsubscribe"} {
			id := fmt.Sprintf("0b000000-0000-0000-0001-%012d", i)
			m.ask(id, three, action, "gold", new(1))
			m.settle(id, "Succeeded")
			if _, n := received(t, c, m.webhook(id, time.Now())); n.Asks || !n.Pull || len(n.Facts) > 0 {
				t.Errorf("%s says %+v", action, n)
			}
			time.Sleep(time.Second)
			want := connectors.OrderOpen
			if action == "Unsubscribe" {
				want = connectors.OrderCancelledStatus
			}
			if found, _ := listed(t, c, time.Time{}); found[three].Status != want || found[three].Lines[0].Quantity != 1 {
				t.Errorf("after %s it is %+v", action, found[three])
			}
		}
		if err := c.WriteShipment(t.Context(), connectors.ShipmentNotice{Key: "s3", OrderID: three}); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("shipped after its end: %v", err)
		}
		if m.tokens > 3 || m.asked("GET /"+tenant+"/discovery") > 1 {
			t.Errorf("%d tokens, %d looks at the keys", m.tokens, m.asked("GET /"+tenant+"/discovery"))
		}
	})
}

// Microsoft takes silence for a yes. A refusal that comes after that leaves the truth to the next look.
func TestARefusalThatComesTooLate(t *testing.T) {
	m := newMarketplace(t)
	var log strings.Builder
	c := open(t, connectors.Env{Transport: m, Log: slog.New(slog.NewTextHandler(&log, nil))})
	id := m.buy(1, "gold", new(5))
	m.subscriptions[id].Status = "Subscribed"
	m.ask(opOne, id, "ChangeQuantity", "gold", new(50))
	d, n := received(t, c, m.webhook(opOne, time.Now()))
	m.settle(opOne, "Succeeded") // ten seconds are over
	if r := decided(t, c, d, connectors.Refuse); r.Status != http.StatusConflict {
		t.Errorf("%d", r.Status)
	}
	if !strings.Contains(log.String(), "over already") {
		t.Errorf("the log is %s", log.String())
	}
	time.Sleep(2 * time.Millisecond)
	if found, _ := listed(t, c, time.Time{}); found[id].Lines[0].Quantity != 50 || found[id].Version <= n.Facts[0].Order.Version {
		t.Errorf("found %+v after %+v", found[id], n.Facts[0].Order)
	}
}

// The reply says the same as the PATCH, so a PATCH that fails does not matter.
func TestTheReplyDecidesWhereThePatchFails(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusForbidden, http.StatusNotFound} {
		m := newMarketplace(t)
		var log strings.Builder
		c := open(t, connectors.Env{Transport: m, Log: slog.New(slog.NewTextHandler(&log, nil))})
		id := m.buy(1, "gold", new(5))
		m.ask(opOne, id, "ChangeQuantity", "gold", new(6))
		d, _ := received(t, c, m.webhook(opOne, time.Now()))
		m.fault = func(*http.Request) (int, string) { return status, `{"error":{"message":"no"}}` }
		if r := decided(t, c, d, connectors.Refuse); r.Status != http.StatusConflict {
			t.Errorf("refused: %d", r.Status)
		}
		if r := decided(t, c, d, connectors.Admit); r.Status != http.StatusOK {
			t.Errorf("admitted: %d", r.Status)
		}
		if !strings.Contains(log.String(), "could not be updated") {
			t.Errorf("the log is %s", log.String())
		}
	}
}

// Who has a token, or has seen a webhook, changes nothing by what he writes into a body.
func TestTheBodyIsNotTrusted(t *testing.T) {
	m := newMarketplace(t)
	c := open(t, connectors.Env{Transport: m})
	id := m.buy(1, "gold", new(5))
	m.ask(opOne, id, "ChangeQuantity", "gold", new(6))
	body := func(action, quantity string) []byte {
		return []byte(`{"id":"` + opOne + `","subscriptionId":"` + id + `","action":"` + action + `","planId":"platinum","quantity":` + quantity + `,"status":"InProgress","timeStamp":"2099-01-01T00:00:00Z"}`)
	}
	d, n := received(t, c, signed(t, body("ChangeQuantity", "600"), time.Now(), issuerV2, client))
	if o := n.Facts[0].Order; o.Lines[0].Quantity != 6 || o.Lines[0].Ref.Item != "offer/gold" || o.UpdatedAt.Year() > 2090 {
		t.Errorf("the question is %+v", o)
	}
	same, _ := received(t, c, m.webhook(opOne, time.Now()))
	if same.Key != d.Key || string(same.Body) != string(d.Body) {
		t.Errorf("%s is stored as %s", d.Body, same.Body)
	}
	for _, forged := range [][]byte{body("ChangePlan", "1"),
		[]byte(`{"id":"` + opOne + `","subscriptionId":"50b00000-0000-0000-0000-000000000009","action":"ChangeQuantity"}`),
		[]byte(`{"id":"` + opTwo + `","subscriptionId":"` + id + `","action":"ChangeQuantity"}`)} {
		d, err := c.VerifyWebhook(signed(t, forged, time.Now(), issuerV1, client))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.CompleteWebhook(t.Context(), d); connectors.KindOf(err) != connectors.Rejected && connectors.KindOf(err) != connectors.Unmapped {
			t.Errorf("%s: %v", forged, err)
		}
	}
}

func TestBadWebhooks(t *testing.T) {
	m := newMarketplace(t)
	c := open(t, connectors.Env{Transport: m})
	id := m.buy(1, "gold", new(5))
	m.ask(opOne, id, "ChangeQuantity", "gold", new(6))
	now := time.Now()
	good := m.webhook(opOne, now)
	old := good
	old.At = now.Add(2 * time.Hour)
	early := good
	early.At = now.Add(-time.Hour)
	bare := good
	bare.Header = http.Header{}
	for name, r := range map[string]connectors.Request{
		"no token":        bare,
		"an old token":    old,
		"a future token":  early,
		"another tenant":  signed(t, good.Body, now, "https://sts.windows.net/99999999-2222-3333-4444-555555555555/", client),
		"for another app": signed(t, good.Body, now, issuerV1, "00000000-bbbb-cccc-dddd-eeeeeeeeeeee"),
	} {
		if _, err := c.VerifyWebhook(r); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, body := range []string{``, `{`, `[]`, `null`, `"x"`, `{}`, `{"id":"1","subscriptionId":"2","action":"Renew"}`, `{"id":"` + opOne + `","subscriptionId":"../x","action":"Renew"}`,
		`{"id":"` + opOne + `","subscriptionId":"` + id + `","action":"Explode"}`, `{"id":"` + opOne + `","subscriptionId":"` + id + `"}`, `<html>`,
		`{"id":"` + opOne + `","id":"` + opTwo + `","subscriptionId":"` + id + `","action":"Renew"}`} {
		if _, err := c.VerifyWebhook(signed(t, []byte(body), now, issuerV1, client)); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s: %v", body, err)
		}
	}
	for became, status := range map[connectors.Reception]int{connectors.ReceivedNew: 200, connectors.ReceivedAgain: 200, connectors.RefusedSignature: 401,
		connectors.RefusedEnvelope: 400, connectors.ReceivedConflict: 400, connectors.RefusedUnavailable: 503} {
		if r := c.AnswerWebhook(became); r.Status != status {
			t.Errorf("%s is answered %d", became, r.Status)
		}
	}
}

func TestOperationsThatAreNotUnderstood(t *testing.T) {
	m := newMarketplace(t)
	c := open(t, connectors.Env{Transport: m})
	id := m.buy(1, "gold", new(5))
	m.ask(opOne, id, "ChangeQuantity", "gold", new(6))
	d, err := c.VerifyWebhook(m.webhook(opOne, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	whole := func(changes string) string {
		fields := map[string]any{"id": opOne, "subscriptionId": id, "offerId": "offer", "planId": "gold", "quantity": 6, "action": "ChangeQuantity", "status": "InProgress", "timeStamp": "2026-11-26T06:00:00Z"}
		var with map[string]any
		if err := json.Unmarshal([]byte(changes), &with); err != nil {
			t.Fatal(err)
		}
		for name, value := range with {
			if fields[name] = value; value == nil {
				delete(fields, name)
			}
		}
		text, _ := json.Marshal(fields)
		return string(text)
	}
	for _, row := range []struct {
		name   string
		status int
		body   string
		want   connectors.ErrorKind
	}{
		{"no quantity", 200, whole(`{"quantity":null}`), connectors.Rejected},
		{"nothing asked for", 200, whole(`{"quantity":0}`), connectors.Rejected},
		{"below nothing", 200, whole(`{"quantity":-3}`), connectors.Rejected},
		{"a fraction", 200, whole(`{"quantity":1.5}`), connectors.Rejected},
		{"too many", 200, whole(`{"quantity":9000000000000000000}`), connectors.Rejected},
		{"text", 200, whole(`{"quantity":"six"}`), connectors.Rejected},
		{"no plan", 200, whole(`{"planId":null}`), connectors.Rejected},
		{"no offer", 200, whole(`{"offerId":""}`), connectors.Rejected},
		{"no instant", 200, whole(`{"timeStamp":null}`), connectors.Rejected},
		{"another status", 200, whole(`{"status":"Pondering"}`), connectors.Rejected},
		{"another operation", 200, whole(`{"id":"` + opTwo + `"}`), connectors.Rejected},
		{"nothing", 200, `{}`, connectors.Rejected},
		{"a page for people", 200, `<html>sign in</html>`, connectors.Retryable},
		{"cut off", 200, whole(`{}`)[:40], connectors.Retryable},
		{"huge", 200, `{"id":"` + strings.Repeat("x", 17<<20) + `"}`, connectors.Retryable},
		{"revoked", 401, `{}`, connectors.Auth},
		{"another publisher", 403, `{}`, connectors.Auth},
		{"not known", 404, `{}`, connectors.Unmapped},
		{"throttled", 429, `{}`, connectors.Throttled},
		{"down", 502, ``, connectors.Retryable},
	} {
		m.mu.Lock()
		m.fault = func(*http.Request) (int, string) { return row.status, row.body }
		m.mu.Unlock()
		if _, err := c.CompleteWebhook(t.Context(), d); connectors.KindOf(err) != row.want {
			t.Errorf("%s: %v, not %s", row.name, err, row.want)
		}
	}
}

func TestListsThatAreNotUnderstood(t *testing.T) {
	m := newMarketplace(t)
	c := open(t, connectors.Env{Transport: m})
	sub := func(rest string) string {
		return `{"subscriptions":[{"id":"50b00000-0000-0000-0000-000000000001","offerId":"o","planId":"p",` + rest + `}]}`
	}
	for _, row := range []struct {
		name   string
		status int
		body   string
		want   connectors.ErrorKind
		says   string
	}{
		{"no list", 200, `{}`, connectors.Rejected, "base_url"},
		{"another status", 200, sub(`"quantity":1,"saasSubscriptionStatus":"Melted"`), connectors.Rejected, "Melted"},
		{"no status", 200, sub(`"quantity":1`), connectors.Rejected, "saasSubscriptionStatus"},
		{"below nothing", 200, sub(`"quantity":-1,"saasSubscriptionStatus":"Subscribed"`), connectors.Rejected, "above 0"},
		{"a fraction", 200, sub(`"quantity":0.5,"saasSubscriptionStatus":"Subscribed"`), connectors.Rejected, "whole number"},
		{"no way on", 200, `{"subscriptions":[],"@nextLink":"https://elsewhere.example/"}`, connectors.Rejected, "continuationToken"},
		{"a page for people", 200, `<html>`, connectors.Retryable, "html"},
		{"revoked", 401, `{}`, connectors.Auth, "Partner Center"},
		{"another publisher", 403, `{}`, connectors.Auth, "az ad sp create"},
	} {
		m.mu.Lock()
		m.fault = func(*http.Request) (int, string) { return row.status, row.body }
		m.mu.Unlock()
		if _, err := c.Orders(t.Context(), time.Time{}, ""); connectors.KindOf(err) != row.want || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, not %s with %q", row.name, err, row.want, row.says)
		}
	}
	m.fault = nil
	if _, err := c.Orders(t.Context(), time.Time{}, "strange"); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("a strange cursor: %v", err)
	}
	m.endless = true
	for i := range 6 {
		m.buy(i, "gold", new(1))
	}
	err, from := error(nil), connectors.Cursor("")
	for range 5 {
		var page connectors.OrderPage
		if page, err = c.Orders(t.Context(), time.Time{}, from); err != nil {
			break
		}
		from = page.Next
	}
	if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("the same page again and again: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	m := newMarketplace(t)
	s := settings()
	s["client_secret"] = "an outdated secret"
	c, err := azure.Info().Open(connectors.Env{Transport: m}, connectors.MarketplaceRole, s)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Check(t.Context())
	if connectors.KindOf(err) != connectors.Auth || !strings.Contains(err.Error(), "client secret has not ended") || strings.Contains(err.Error(), "an outdated secret") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"tenant_id", "client_id", "client_secret", "base_url", "login_url"} {
		s := settings()
		s[name] = ""
		if _, err := azure.Info().Open(connectors.Env{}, connectors.MarketplaceRole, s); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := azure.Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings()); err == nil {
		t.Error("it is no system of record")
	}
}

// Each test above fails on a request that does not fit; here it is shown that every operation of the specification is used,
// and that what does not fit is found.
func TestEveryRequestFitsTheSpecification(t *testing.T) {
	m := newMarketplace(t)
	c := open(t, connectors.Env{Transport: m})
	id := m.buy(1, "gold", new(5))
	listed(t, c, time.Time{})
	if err := c.WriteShipment(t.Context(), connectors.ShipmentNotice{Key: "s", OrderID: id}); err != nil {
		t.Fatal(err)
	}
	m.ask(opOne, id, "ChangeQuantity", "gold", new(6))
	d, _ := received(t, c, m.webhook(opOne, time.Now()))
	decided(t, c, d, connectors.Admit)
	api := "/api/saas/subscriptions/"
	for _, want := range []string{"GET " + api, "GET " + api + id, "POST " + api + id + "/activate", "GET " + api + id + "/operations/" + opOne, "PATCH " + api + id + "/operations/" + opOne} {
		if m.asked(want) == 0 {
			t.Errorf("nothing asked for %s", want)
		}
	}
	strict := &failing{TB: t}
	wrong := newMarketplace(strict)
	for _, r := range []string{"GET /api/saas/subscriptions/?api-version=2017-01-01", "GET /api/saas/subscriptions/x?api-version=2018-08-31", "DELETE /api/saas/subscriptions/" + id,
		"PATCH " + api + id + "/operations/" + opOne + "?api-version=2018-08-31"} {
		method, target, _ := strings.Cut(r, " ")
		request, err := http.NewRequest(method, "https://marketplaceapi.microsoft.com"+target, strings.NewReader(`{"status":"Maybe"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		before := strict.errors
		if resp, err := wrong.RoundTrip(request); err != nil || resp.StatusCode != http.StatusBadRequest || strict.errors == before {
			t.Errorf("%s fits", r)
		}
	}
}

// failing counts errors in the place of failing.
type failing struct {
	testing.TB
	errors int
}

func (f *failing) Errorf(string, ...any) { f.errors++ }

func FuzzDecodeWebhook(f *testing.F) {
	c := open(f, connectors.Env{Transport: newMarketplace(f)})
	f.Add([]byte(`{"id":"` + opOne + `","subscriptionId":"s","offerId":"o","planId":"p","quantity":3,"action":"ChangeQuantity","timeStamp":"2026-11-26T06:00:00Z"}`))
	f.Add([]byte(`{"id":"` + opOne + `","subscriptionId":"s","action":"Unsubscribe","status":"NotStarted"}`))
	f.Add([]byte(`{"action":"ChangePlan","quantity":-1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := c.DecodeWebhook(connectors.Delivery{}, body)
		if err != nil {
			return
		}
		if n.Asks != (len(n.Facts) == 1) {
			t.Errorf("%q asks: %t, with %d facts", body, n.Asks, len(n.Facts))
		}
		for _, fact := range n.Facts {
			if fact.Validate() != nil || fact.Order.Lines[0].Quantity < 1 {
				t.Errorf("%q became %+v", body, fact.Order)
			}
		}
	})
}
