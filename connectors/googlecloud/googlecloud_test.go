package googlecloud_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/googlecloud"
)

func TestConformance(t *testing.T) {
	connectortest.RunPlatform(t, connectortest.Fixture{New: func(t *testing.T) connectortest.Server {
		m := newMarketplace(t)
		m.buy("e-1", "gold")
		return connectortest.Server{
			Transport:    m,
			Secrets:      []string{strings.Split(privateKey(), "\n")[3]},
			BodyUnsigned: true,
			Open:         func(env connectors.Env) (connectors.Connection, error) { return open(t, env, nil), nil },
			Event:        []byte("ENTITLEMENT_CREATION_REQUESTED"),
			Sign: func(id string, at time.Time, body []byte) connectors.Request {
				if string(body) != "ENTITLEMENT_CREATION_REQUESTED" {
					return signed(t, body, at, nil)
				}
				return message(t, id, "ENTITLEMENT_CREATION_REQUESTED", "e-1", at)
			},
		}
	}})
}

// received is what the engine makes of a message until it is stored.
func received(t *testing.T, p platform, r connectors.Request) (connectors.Delivery, connectors.Notice) {
	t.Helper()
	d, err := p.VerifyWebhook(r)
	if err != nil {
		t.Fatal(err)
	}
	if d, err = p.CompleteWebhook(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	n, err := p.DecodeWebhook(d, d.Body)
	if err != nil {
		t.Fatal(err)
	}
	return d, n
}

func decided(t *testing.T, p platform, d connectors.Delivery, as connectors.Decision) error {
	t.Helper()
	a := connectors.Admission{Decision: as, Reason: "the test", At: time.Now()}
	if r := p.AnswerAdmission(d, a); r.Status != http.StatusOK {
		t.Errorf("%s is answered %d", as, r.Status)
	}
	return p.WriteAdmission(t.Context(), d, a)
}

func listed(t *testing.T, p platform, since time.Time) map[string]connectors.Order {
	t.Helper()
	all := make(map[string]connectors.Order)
	for from := connectors.Cursor(""); ; {
		page, err := p.Orders(t.Context(), since, from)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Orders {
			all[o.OrderID] = o
		}
		if from = page.Next; from == "" {
			return all
		}
	}
}

func TestTheLifeOfAnEntitlement(t *testing.T) {
	_, _ = key(), specification() // made outside the bubble
	synctest.Test(t, func(t *testing.T) {
		m := newMarketplace(t)
		p := open(t, connectors.Env{Transport: m}, nil)
		defer func() { _ = p.Close() }()
		if err := p.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"e-1", "e-2", "e-3"} {
			m.buy(id, "gold")
			time.Sleep(time.Second)
		}
		if got := listed(t, p, time.Time{}); len(got) != 0 {
			t.Errorf("what is asked about is listed: %v", got)
		}

		// A purchase, admitted.
		d, n := received(t, p, message(t, "ev-1", "ENTITLEMENT_CREATION_REQUESTED", "e-1", time.Now()))
		asked := n.Facts[0].Order
		if !n.Asks || d.Key != "ev-1" || asked.OrderID != "e-1" || len(asked.Lines) != 1 || asked.Lines[0].Ref.Item != "product.example/gold" || asked.Lines[0].Quantity != 1 || asked.Buyer.Ref != "E-1" {
			t.Fatalf("the question is %+v", asked)
		}
		for range 2 { // told twice, it is done once
			if err := decided(t, p, d, connectors.Admit); err != nil || m.state("e-1") != "ENTITLEMENT_ACTIVE" {
				t.Errorf("admitted: %v, %s", err, m.state("e-1"))
			}
		}
		if got := listed(t, p, time.Time{}); len(got) != 1 || got["e-1"].Version <= asked.Version || got["e-1"].Lines[0] != asked.Lines[0] {
			t.Errorf("listed %v", got)
		}
		if d, n := received(t, p, message(t, "ev-1", "ENTITLEMENT_CREATION_REQUESTED", "e-1", time.Now())); n.Asks || !n.Pull || d.Key != "ev-1:ENTITLEMENT_ACTIVE" {
			t.Errorf("the same message later is %s %+v", d.Key, n)
		}

		// A purchase, refused.
		d, _ = received(t, p, message(t, "ev-2", "ENTITLEMENT_CREATION_REQUESTED", "e-2", time.Now()))
		for range 2 {
			if err := decided(t, p, d, connectors.Refuse); err != nil || m.state("e-2") != "" {
				t.Errorf("refused: %v, %s", err, m.state("e-2"))
			}
		}

		// A change of plan, refused and then admitted for the next period.
		for i, decision := range []connectors.Decision{connectors.Refuse, connectors.Admit} {
			time.Sleep(time.Minute)
			m.set("e-1", map[string]any{"state": "ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL", "newPendingPlan": "platinum"})
			if got := listed(t, p, time.Time{}); len(got) != 0 {
				t.Errorf("a plan that is asked about is listed: %v", got)
			}
			d, n = received(t, p, message(t, "ev-3"+string(decision), "ENTITLEMENT_PLAN_CHANGE_REQUESTED", "e-1", time.Now()))
			if o := n.Facts[0].Order; !n.Asks || o.Lines[0].Ref.Item != "product.example/platinum" || o.Version <= asked.Version {
				t.Errorf("the question is %+v", o)
			}
			time.Sleep(time.Second)
			if err := decided(t, p, d, decision); err != nil {
				t.Error(err)
			}
			if err := decided(t, p, d, decision); err != nil {
				t.Errorf("told twice: %v", err)
			}
			want := []string{"product.example/gold", "product.example/platinum"}[i]
			if got := listed(t, p, time.Time{})["e-1"]; got.Lines[0].Ref.Item != want || got.Version <= n.Facts[0].Order.Version {
				t.Errorf("after %s it is %+v", decision, got)
			}
		}

		// One that was approved and waits for its start is held; what ends at the end of its term is held until then.
		m.set("e-3", map[string]any{"newOfferStartTime": time.Now().Add(240 * time.Hour).UTC().Format(time.RFC3339)})
		if _, n := received(t, p, message(t, "ev-4", "ENTITLEMENT_OFFER_ACCEPTED", "e-3", time.Now())); n.Asks || !n.Pull {
			t.Errorf("%+v", n)
		}
		for state, want := range map[string]connectors.OrderStatus{"ENTITLEMENT_PENDING_CANCELLATION": connectors.OrderOpen, "ENTITLEMENT_SUSPENDED": connectors.OrderOpen} {
			m.set("e-1", map[string]any{"state": state})
			if got := listed(t, p, time.Time{}); len(got) != 2 || got["e-1"].Status != want || got["e-3"].Status != connectors.OrderOpen {
				t.Errorf("%s: %+v", state, got)
			}
		}
		m.set("e-1", map[string]any{"state": "ENTITLEMENT_CANCELLED"})
		if got := listed(t, p, time.Time{}); got["e-1"].Status != connectors.OrderCancelledStatus {
			t.Errorf("cancelled: %+v", got["e-1"])
		}
		if got := listed(t, p, time.Now().Add(time.Minute)); len(got) != 0 {
			t.Errorf("what has not changed since is listed: %v", got)
		}

		// What is removed is cancelled.
		m.mu.Lock()
		delete(m.entitlements, "e-3")
		m.order = []string{"e-1"}
		m.mu.Unlock()
		_, n = received(t, p, message(t, "ev-5", "ENTITLEMENT_DELETED", "e-3", time.Now()))
		if len(n.Facts) != 1 || n.Facts[0].Kind != connectors.OrderCancelled || n.Facts[0].Order.OrderID != "e-3" || n.Facts[0].Validate() != nil || !n.Pull {
			t.Errorf("removed: %+v", n)
		}

		// Accounts, and what nobody has heard of, only make us look.
		for _, data := range []string{`{"eventId":"ev-6","eventType":"ACCOUNT_ACTIVE","providerId":"DEMO-partner","account":{"id":"E-1"}}`,
			`{"eventId":"ev-7","eventType":"SOMETHING_NEW","providerId":"DEMO-partner"}`} {
			if _, n := received(t, p, pushed(t, []byte(data), time.Now(), nil)); n.Asks || !n.Pull || len(n.Facts) > 0 {
				t.Errorf("%s: %+v", data, n)
			}
		}
		if m.tokens > 2 || m.asked("GET /oauth2/v3/certs", "") != 1 {
			t.Errorf("%d tokens, %d looks at the keys", m.tokens, m.asked("GET /oauth2/v3/certs", ""))
		}
	})
}

// The decision stands, and is told again until Google has it.
func TestDecisionsAreToldUntilTheyArrive(t *testing.T) {
	m := newMarketplace(t)
	p := open(t, connectors.Env{Transport: m}, nil)
	m.buy("e-1", "gold")
	d, _ := received(t, p, message(t, "ev-1", "ENTITLEMENT_CREATION_REQUESTED", "e-1", time.Now()))
	for status, want := range map[int]connectors.ErrorKind{500: connectors.Uncertain, 401: connectors.Auth, 403: connectors.Auth, 429: connectors.Throttled, 503: connectors.Throttled} {
		m.fault = func(*http.Request) (int, string) { return status, `{"error":{"code":1,"message":"no","status":"NO"}}` }
		if err := decided(t, p, d, connectors.Admit); connectors.KindOf(err) != want {
			t.Errorf("%d: %v, not %s", status, err, want)
		}
	}
	m.fault = nil
	m.lose = true
	if err := decided(t, p, d, connectors.Admit); err != nil && connectors.KindOf(err) != connectors.Uncertain {
		t.Errorf("done, and the line broke: %v", err)
	}
	m.lose = false
	if err := decided(t, p, d, connectors.Admit); err != nil || m.state("e-1") != "ENTITLEMENT_ACTIVE" {
		t.Errorf("told again: %v, %s", err, m.state("e-1"))
	}

	// A buyer who changed his mind before he was refused.
	var log strings.Builder
	p = open(t, connectors.Env{Transport: m, Log: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	m.buy("e-2", "gold")
	d, _ = received(t, p, message(t, "ev-2", "ENTITLEMENT_CREATION_REQUESTED", "e-2", time.Now()))
	m.set("e-2", map[string]any{"state": "ENTITLEMENT_CANCELLED"})
	if err := decided(t, p, d, connectors.Admit); err != nil || !strings.Contains(log.String(), "does not wait any more") {
		t.Errorf("%v, %s", err, log.String())
	}
}

func TestAccounts(t *testing.T) {
	for setting, want := range map[string]bool{"no": false, "yes": true} {
		m := newMarketplace(t)
		m.accounts["E-1"] = "PENDING"
		p := open(t, connectors.Env{Transport: m}, connectors.Settings{"approve_accounts": setting})
		m.buy("e-1", "gold")
		d, _ := received(t, p, message(t, "ev-1", "ENTITLEMENT_CREATION_REQUESTED", "e-1", time.Now()))
		err := decided(t, p, d, connectors.Admit)
		if (err == nil) != want || (m.asked("POST", "accounts/E-1:approve") == 1) != want {
			t.Errorf("%s: %v", setting, err)
		}
		if !want && (connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "signed up")) {
			t.Errorf("%s: %v", setting, err)
		}
		m.accounts["E-1"] = "APPROVED" // on the product's own page
		if err := decided(t, p, d, connectors.Admit); err != nil || m.state("e-1") != "ENTITLEMENT_ACTIVE" {
			t.Errorf("%s, signed up: %v", setting, err)
		}
	}
}

func TestBadMessages(t *testing.T) {
	m := newMarketplace(t)
	p := open(t, connectors.Env{Transport: m}, nil)
	now := time.Now()
	good := []byte(`{"eventId":"ev-1","eventType":"ENTITLEMENT_ACTIVE","providerId":"DEMO-partner","entitlement":{"id":"e-1"}}`)
	late := pushed(t, good, now, nil)
	late.At = now.Add(2 * time.Hour)
	bare := pushed(t, good, now, nil)
	bare.Header = http.Header{}
	for name, r := range map[string]connectors.Request{
		"no token": bare, "an old token": late,
		"somebody else's account": pushed(t, good, now, map[string]any{"email": "stranger@other.iam.gserviceaccount.com"}),
		"an unverified account":   pushed(t, good, now, map[string]any{"email_verified": false}),
		"no account":              pushed(t, good, now, map[string]any{"email": ""}),
		"another address":         pushed(t, good, now, map[string]any{"aud": "https://them.example"}),
		"another issuer":          pushed(t, good, now, map[string]any{"iss": "https://accounts.google.com.evil"}),
	} {
		if _, err := p.VerifyWebhook(r); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, data := range []string{``, `{`, `[]`, `null`, `{}`, `{"eventId":"x"}`, `{"eventType":"ENTITLEMENT_ACTIVE","eventId":"x","providerId":"other"}`,
		`{"eventId":"x","eventType":"ENTITLEMENT_CREATION_REQUESTED"}`, `{"eventId":"x","eventType":"ENTITLEMENT_ACTIVE","entitlement":{"id":"../accounts/E-1"}}`,
		`{"eventId":"x","eventType":"ENTITLEMENT_ACTIVE","entitlement":{"id":""}}`, `{"eventId":"x","eventType":"ENTITLEMENT_ACTIVE","entitlement":{"id":"e","updateTime":"yesterday"}}`} {
		if _, err := p.VerifyWebhook(pushed(t, []byte(data), now, nil)); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s: %v", data, err)
		}
	}
	for _, body := range []string{``, `{}`, `[]`, `{"message":{"data":"not base64!"}}`, `{"message":{"data":7}}`} {
		if _, err := p.VerifyWebhook(signed(t, []byte(body), now, nil)); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s: %v", body, err)
		}
	}
	for became, status := range map[connectors.Reception]int{connectors.ReceivedNew: 200, connectors.ReceivedAgain: 200, connectors.RefusedSignature: 401,
		connectors.RefusedEnvelope: 400, connectors.ReceivedConflict: 409, connectors.RefusedUnavailable: 503} {
		if r := p.AnswerWebhook(became); r.Status != status {
			t.Errorf("%s is answered %d", became, r.Status)
		}
	}
}

func TestAnswersThatAreNotUnderstood(t *testing.T) {
	m := newMarketplace(t)
	p := open(t, connectors.Env{Transport: m}, nil)
	d, err := p.VerifyWebhook(message(t, "ev-1", "ENTITLEMENT_CREATION_REQUESTED", "e-1", time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	whole := func(changes string) string {
		e := map[string]any{"name": "providers/DEMO-partner/entitlements/e-1", "account": "providers/DEMO-partner/accounts/E-1", "product": "product", "plan": "gold",
			"state": "ENTITLEMENT_ACTIVATION_REQUESTED", "createTime": "2026-11-26T06:00:00Z", "updateTime": "2026-11-26T06:00:00Z"}
		var with map[string]any
		if err := json.Unmarshal([]byte(changes), &with); err != nil {
			t.Fatal(err)
		}
		maps.Copy(e, with)
		text, _ := json.Marshal(e)
		return string(text)
	}
	set := func(status int, body string) {
		m.mu.Lock()
		m.fault = func(*http.Request) (int, string) { return status, body }
		m.mu.Unlock()
	}
	for _, row := range []struct {
		name   string
		status int
		body   string
		want   connectors.ErrorKind
	}{
		{"nothing", 200, `{}`, connectors.Rejected},
		{"another one", 200, whole(`{"name":"providers/DEMO-partner/entitlements/e-2"}`), connectors.Rejected},
		{"no product", 200, whole(`{"product":""}`), connectors.Rejected},
		{"no instant", 200, whole(`{"createTime":"0001-01-01T00:00:00Z"}`), connectors.Rejected},
		{"no new plan", 200, whole(`{"state":"ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL"}`), connectors.Rejected},
		{"a number for text", 200, whole(`{"plan":7}`), connectors.Rejected},
		{"a page for people", 200, `<html>`, connectors.Retryable},
		{"cut off", 200, whole(`{}`)[:50], connectors.Retryable},
		{"huge", 200, `{"name":"` + strings.Repeat("x", 17<<20) + `"}`, connectors.Retryable},
		{"revoked", 401, `{}`, connectors.Auth},
		{"not ours", 403, `{}`, connectors.Auth},
		{"too often", 429, `{}`, connectors.Throttled},
		{"down", 502, ``, connectors.Retryable},
	} {
		set(row.status, row.body)
		if _, err := p.CompleteWebhook(t.Context(), d); connectors.KindOf(err) != row.want {
			t.Errorf("%s: %v, not %s", row.name, err, row.want)
		}
	}
	for _, row := range []struct{ name, body, says string }{
		{"an unknown state", `{"entitlements":[` + whole(`{"state":"ENTITLEMENT_MELTED"}`) + `]}`, "MELTED"},
		{"no state", `{"entitlements":[` + whole(`{"state":""}`) + `]}`, "state"},
		{"no instant", `{"entitlements":[` + whole(`{"state":"ENTITLEMENT_ACTIVE","updateTime":"0001-01-01T00:00:00Z"}`) + `]}`, "updateTime"},
		{"no name", `{"entitlements":[` + whole(`{"state":"ENTITLEMENT_ACTIVE","name":""}`) + `]}`, "order_id"},
		{"no list", `{"entitlements":"none"}`, "array"},
	} {
		set(200, row.body)
		if _, err := p.Orders(t.Context(), time.Time{}, ""); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, which does not say %q", row.name, err, row.says)
		}
	}
	m.fault = nil
	m.endless = true
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		m.set(id, map[string]any{"state": "ENTITLEMENT_ACTIVE", "plan": "gold"})
	}
	failed, from := error(nil), connectors.Cursor("")
	for range 5 {
		var page connectors.OrderPage
		if page, failed = p.Orders(t.Context(), time.Time{}, from); failed != nil {
			break
		}
		from = page.Next
	}
	if connectors.KindOf(failed) != connectors.Rejected || !strings.Contains(failed.Error(), "does not end") {
		t.Errorf("the same page again and again: %v", failed)
	}
}

func TestSettings(t *testing.T) {
	strange, err := json.Marshal(map[string]string{"type": "service_account", "private_key": privateKey(), "client_email": "stranger@other"})
	if err != nil {
		t.Fatal(err)
	}
	err = open(t, connectors.Env{Transport: newMarketplace(t)}, connectors.Settings{"credentials": string(strange)}).Check(t.Context())
	if connectors.KindOf(err) != connectors.Auth || !strings.Contains(err.Error(), "Service Accounts") {
		t.Errorf("an account that is not there: %v", err)
	}
	secret := "half-a-secret"
	for name, values := range map[string][]string{"provider_id": {"", "a/b"}, "push_account": {"", "somebody"}, "audience": {""}, "approve_accounts": {"", "perhaps"},
		"base_url": {"", "ftp://x"}, "token_url": {""}, "keys_url": {""},
		"credentials": {"", secret, `{"type":"authorized_user","client_secret":"` + secret + `"}`, `{"type":"service_account","client_email":"a@b","private_key":"` + secret + `"}`,
			`{"type":"service_account","client_email":"a@b","private_key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}`}} {
		for _, value := range values {
			s := settings()
			s[name] = value
			if _, err := googlecloud.Info().Open(connectors.Env{}, connectors.MarketplaceRole, s); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s %q: %v", name, value, err)
			}
		}
	}
	if _, err := googlecloud.Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings()); err == nil {
		t.Error("it is no system of record")
	}
	s := settings()
	s["audience"] = ""
	if _, err := googlecloud.Info().Open(connectors.Env{WebhookURL: audience}, connectors.MarketplaceRole, s); err != nil {
		t.Errorf("the address of the webhooks is the audience: %v", err)
	}
}

// Each test above fails on a request that does not fit; here it is shown that what does not fit is found.
func TestEveryRequestFitsTheSpecification(t *testing.T) {
	m := newMarketplace(t)
	m.accounts["E-1"] = "PENDING"
	p := open(t, connectors.Env{Transport: m}, connectors.Settings{"approve_accounts": "yes"})
	for i, decision := range []connectors.Decision{connectors.Admit, connectors.Refuse} {
		id := []string{"e-1", "e-2"}[i]
		m.buy(id, "gold")
		d, _ := received(t, p, message(t, id, "ENTITLEMENT_CREATION_REQUESTED", id, time.Now()))
		if err := decided(t, p, d, decision); err != nil {
			t.Fatal(err)
		}
		m.set("e-1", map[string]any{"state": "ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL", "newPendingPlan": "platinum"})
		d, _ = received(t, p, message(t, id+"p", "ENTITLEMENT_PLAN_CHANGE_REQUESTED", "e-1", time.Now()))
		if err := decided(t, p, d, decision); err != nil {
			t.Fatal(err)
		}
	}
	listed(t, p, time.Time{})
	for prefix, suffix := range map[string]string{"GET /v1/providers/DEMO-partner/entitlements": "entitlements", "GET /v1/providers/DEMO-partner/entitlements/": "e-1", "GET ": "accounts/E-1",
		"POST ": "accounts/E-1:approve", "POST /v1/providers/DEMO-partner/entitlements/e-1": ":approve", "POST /v1/providers/DEMO-partner/entitlements/e-2": ":reject",
		"POST /v1": ":approvePlanChange", "POST /v1/": ":rejectPlanChange"} {
		if m.asked(prefix, suffix) == 0 {
			t.Errorf("nothing was asked by %s…%s", prefix, suffix)
		}
	}
	strict := &failing{TB: t}
	wrong := newMarketplace(strict)
	for _, r := range []string{"PUT /v1/providers/p/entitlements/e {}", "POST /v1/providers/p/entitlements/e:refuse {}", `POST /v1/providers/p/entitlements/e:reject {"why":"x"}`,
		`POST /v1/providers/p/entitlements/e:reject {"reason":7}`, "GET /v1/providers/p/entitlements?since=1"} {
		parts := strings.SplitN(r, " ", 3)
		request, err := http.NewRequest(parts[0], "https://cloudcommerceprocurement.googleapis.com"+parts[1], strings.NewReader(strings.Join(parts[2:], "")))
		if err != nil {
			t.Fatal(err)
		}
		before := strict.errors
		if _, err := wrong.RoundTrip(request); err != nil || strict.errors == before {
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
	p := open(f, connectors.Env{Transport: newMarketplace(f)}, nil)
	f.Add([]byte(`{"type":"ENTITLEMENT_CREATION_REQUESTED","id":"e","asks":true,"item":"p/gold","at":"2026-11-26T06:00:00Z"}`))
	f.Add([]byte(`{"type":"ENTITLEMENT_DELETED","id":"e","state":"GONE","at":"2026-11-26T06:00:00Z"}`))
	f.Add([]byte(`{"type":"ACCOUNT_ACTIVE"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := p.DecodeWebhook(connectors.Delivery{}, body)
		if err != nil {
			return
		}
		for _, fact := range n.Facts {
			if n.Asks != (fact.Kind == connectors.OrderUpserted) || n.Asks && fact.Validate() != nil || !n.Asks && fact.Order.Version < 0 {
				t.Errorf("%q became %+v", body, fact.Order)
			}
		}
	})
}
