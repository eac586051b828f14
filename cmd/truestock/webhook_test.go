package main_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

// smallHouse is a warehouse for which the test speaks, and a shop with one listing per SKU, called like the SKU.
func smallHouse(t *testing.T, h *house, basis string, skus ...string) *server {
	t.Helper()
	h.addListener(basis)
	shop := h.addShop("shop", fake.ShopConfig{})
	rows := make([]string, len(skus))
	for i, sku := range skus {
		shop.AddListing(open.Listing{Item: sku, Title: sku})
		rows[i] = fmt.Sprintf("shop,%s,,%s,1", sku, sku)
	}
	s := h.start()
	s.imports(rows...)
	return s
}

// wantProblem expects an answer with a status, a problem document, and a detail that contains the text.
func wantProblem(t *testing.T, a answer, status int, detail string) {
	t.Helper()
	var p struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}
	err := json.Unmarshal([]byte(a.body), &p)
	if err != nil || a.status != status || p.Status != status || p.Title == "" || !strings.Contains(p.Detail, detail) ||
		a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("the answer is %d %s %q, want %d and a problem that says %q", a.status, a.header.Get("Content-Type"), a.body, status, detail)
	}
}

func TestWebhookAnswers(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.settings = append(h.settings, "limits: {body_bytes: 4096}")
		s := smallHouse(t, h, "on_hand", "TEA")
		send := func(w webhook) answer {
			t.Helper()
			a, err := s.try(w)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		body := levelEvent("TEA", 7, 1)

		first := s.deliver("warehouse", "evt-1", body)
		again := s.deliver("warehouse", "evt-1", body)
		if first.Duplicate || !again.Duplicate || again.ID != first.ID {
			t.Errorf("the event and its copy are answered %+v and %+v, want the same id and duplicate at the second", first, again)
		}
		h.shows("shop", "TEA", 7)
		wantProblem(t, send(webhook{connection: "warehouse", id: "evt-1", body: levelEvent("TEA", 0, 2)}), http.StatusConflict, "another body")
		if got := get[list[incidentView]](s, "/incidents?open=true").Data; len(got) != 1 || got[0].Kind != "same_id_other_body" || !strings.Contains(got[0].Message, "evt-1") {
			t.Errorf("the incidents are %+v, want one about evt-1", got)
		}
		// The same id from another connection is another event.
		if other := s.deliver("shop", "evt-1", event("listing.changed", `{"item":"TEA","quantity":7}`)); other.Duplicate || other.ID == first.ID {
			t.Errorf("the event of another connection is answered %+v", other)
		}

		for name, bad := range map[string]string{
			"nothing": "", "no JSON": "hello", "a broken object": `{"type":"stock.level"`, "a list": `[]`, "text": `"stock.level"`, "null": "null",
			"no type": `{"data":{}}`, "an empty type": `{"type":"","data":{}}`, "a type that is no text": `{"type":1,"data":{}}`, "type null": `{"type":null,"data":{}}`,
			"data that is no object": `{"type":"stock.level","data":[]}`, "two types": `{"type":"a","type":"b","data":{}}`, "something behind": body + "x",
			"a bad timestamp": `{"type":"stock.level","timestamp":"today","data":{}}`, "broken UTF-8": "{\"type\":\"stock.level\",\"data\":{\"sku\":\"\xff\"}}",
		} {
			if a := send(webhook{connection: "warehouse", id: "bad " + name, body: bad}); a.status != http.StatusBadRequest {
				t.Errorf("%s is answered %d: %s", name, a.status, a.body)
			} else {
				wantProblem(t, a, http.StatusBadRequest, "nothing was stored")
			}
		}

		old, ahead := time.Now().Add(-6*time.Minute), time.Now().Add(6*time.Minute)
		wantProblem(t, send(webhook{connection: "warehouse", id: "evt-2", body: body, secret: newSecret()}), http.StatusUnauthorized, "nothing was stored")
		wantProblem(t, send(webhook{connection: "warehouse", id: "evt-3", body: body, at: old}), http.StatusUnauthorized, "old")
		wantProblem(t, send(webhook{connection: "warehouse", id: "evt-4", body: body, at: ahead}), http.StatusUnauthorized, "ahead")
		wantProblem(t, send(webhook{connection: "warehouse", id: "evt-1", body: body, at: old}), http.StatusUnauthorized, "old")
		for _, header := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
			req := s.request(webhook{connection: "warehouse", id: "evt-5", body: body})
			req.Header.Del(header)
			wantProblem(t, sendRequest(t, h, req), http.StatusUnauthorized, header)
		}
		changed := s.request(webhook{connection: "warehouse", id: "evt-6", body: body})
		changed.Body, changed.ContentLength = io.NopCloser(strings.NewReader(levelEvent("TEA", 0, 9))), -1
		wantProblem(t, sendRequest(t, h, changed), http.StatusUnauthorized, "signature")

		wantProblem(t, send(webhook{connection: "nowhere", id: "evt-7", body: body}), http.StatusNotFound, "no connection")

		// Too large, with and without its length told, whether it is signed or not.
		large := event("stock.level", `{"sku":"`+strings.Repeat("x", 8000)+`"}`)
		wantProblem(t, send(webhook{connection: "warehouse", id: "evt-8", body: large}), http.StatusRequestEntityTooLarge, "4096")
		chunked := s.request(webhook{connection: "warehouse", id: "evt-9", body: large})
		chunked.Body, chunked.ContentLength = io.NopCloser(strings.NewReader(large)), -1
		wantProblem(t, sendRequest(t, h, chunked), http.StatusRequestEntityTooLarge, "4096")
		// A body of exactly the limit is taken.
		if room := 4096 - len(event("unknown", `{"pad":""}`)); room > 0 {
			exact := event("unknown", `{"pad":""}`)
			exact = strings.Replace(exact, `"pad":""`, `"pad":"`+strings.Repeat("x", 4096-len(exact))+`"`, 1)
			s.deliver("warehouse", "evt-10", exact)
		}

		s.applied()
		stored := map[string]bool{}
		for _, e := range all[eventView](s, "/events") {
			stored[e.Key] = true
		}
		for key := range stored {
			if strings.HasPrefix(key, "bad") || len(key) == 5 && key > "evt-1" {
				t.Errorf("the refused event %s was stored", key)
			}
		}
		if got, _ := h.shops["shop"].Quantity("TEA", ""); got != 7 {
			t.Errorf("after all of this the listing shows %d, want 7", got)
		}
	})
}

func sendRequest(t *testing.T, h *house, req *http.Request) answer {
	t.Helper()
	a, err := h.do(req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A well-signed event that makes no sense is stored, answered 202 and parked with a reason. Nothing changes by it.
func TestSenselessEventsAreParked(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA", "POT")
		shop := h.shops["shop"]
		s.deliver("warehouse", "tea", levelEvent("TEA", 12, 1))
		s.deliver("warehouse", "pot", levelEvent("POT", 5, 2))
		h.shows("shop", "TEA", 12)
		h.shows("shop", "POT", 5)

		level := func(quantity string) string {
			return event("stock.level", `{"sku":"TEA","location":"main","position":50`+quantity+`}`)
		}
		moved := func(delta string) string {
			return event("stock.moved", `{"sku":"TEA","location":"main","reason":"count","position":50,"occurred_at":"`+instant()+`"`+delta+`}`)
		}
		order := func(line string) string {
			return event("order.upserted", `{"order_id":"o-1","version":1,"placed_at":"2026-01-05T10:00:00Z","status":"open","lines":[{"line_id":"1","item":"TEA"`+line+`}]}`)
		}
		cases := []struct{ name, connection, body, reason string }{
			{"quantity null", "warehouse", level(`,"quantity":null`), "quantity is missing or null"},
			{"quantity missing", "warehouse", level(``), "quantity is missing or null"},
			{"quantity fractional", "warehouse", level(`,"quantity":1.5`), "quantity"},
			{"quantity as a fraction of nothing", "warehouse", level(`,"quantity":0.0`), "quantity"},
			{"quantity in text", "warehouse", level(`,"quantity":"0"`), "quantity"},
			{"quantity true", "warehouse", level(`,"quantity":false`), "quantity"},
			{"quantity huge", "warehouse", level(`,"quantity":900000000000000000`), "quantity is 900000000000000000"},
			{"quantity beyond numbers", "warehouse", level(`,"quantity":1e300`), "quantity"},
			{"quantity beyond int64", "warehouse", level(`,"quantity":9223372036854775808`), "quantity"},
			{"quantity twice", "warehouse", level(`,"quantity":12,"quantity":0`), "quantity"},
			{"sku twice", "warehouse", level(`,"quantity":0,"sku":"POT"`), "sku"},
			{"sku missing", "warehouse", event("stock.level", `{"location":"main","quantity":0,"position":50}`), "sku"},
			{"location missing", "warehouse", event("stock.level", `{"sku":"TEA","quantity":0,"position":50}`), "location"},
			{"position negative", "warehouse", event("stock.level", `{"sku":"TEA","location":"main","quantity":0,"position":-1}`), "position"},
			{"data missing", "warehouse", `{"type":"stock.level"}`, "data is missing"},
			{"delta null", "warehouse", moved(`,"delta":null`), "delta is missing or null"},
			{"delta fractional", "warehouse", moved(`,"delta":-0.5`), "delta"},
			{"delta huge", "warehouse", moved(`,"delta":-900000000000000000`), "delta"},
			{"instant missing", "warehouse", event("stock.moved", `{"sku":"TEA","location":"main","delta":-12,"reason":"count","position":50}`), "occurred_at"},
			{"unknown SKU", "warehouse", levelEvent("NOBODY", 0, 50), `"NOBODY" is not known`},
			{"unknown type", "warehouse", event("stock.exploded", `{"sku":"TEA","quantity":0}`), `"stock.exploded" is not known`},
			{"a shop's type from the warehouse", "warehouse", event("listing.removed", `{"item":"TEA"}`), "marketplace"},
			{"a warehouse's type from the shop", "shop", levelEvent("TEA", 0, 50), "system_of_record"},
			{"order without quantity", "shop", order(`,"cancelled":0,"shipped":0,"restocked":0`), "quantity is missing or null"},
			{"order of a negative quantity", "shop", order(`,"quantity":-3,"cancelled":0,"shipped":0,"restocked":0`), "quantity"},
			{"order of half", "shop", order(`,"quantity":0.5,"cancelled":0,"shipped":0,"restocked":0`), "quantity"},
			{"order of a huge quantity", "shop", order(`,"quantity":900000000000000000,"cancelled":0,"shipped":0,"restocked":0`), "quantity"},
			{"order without lines", "shop", event("order.upserted", `{"order_id":"o-1","version":1,"status":"open"}`), "lines"},
			{"order without version", "shop", event("order.cancelled", `{"order_id":"o-1"}`), "version"},
			{"shipment of a negative quantity", "warehouse", event("shipment.shipped",
				`{"shipment_id":"s-1","order_key":"shop:o-1","lines":[{"line_id":"1","sku":"TEA","quantity":-1,"location":"main"}],"position":50,"occurred_at":"`+instant()+`"}`), "quantity"},
			{"shipment of nothing", "warehouse", event("shipment.shipped", `{"shipment_id":"s-1","order_key":"shop:o-1","lines":[],"position":50,"occurred_at":"`+instant()+`"}`), "lines"},
			{"return of no state", "warehouse", event("return.received",
				`{"return_id":"r-1","lines":[{"sku":"TEA","quantity":1,"location":"main"}],"position":50,"occurred_at":"`+instant()+`"}`), "sellable"},
		}
		writes := shop.WriteCount()
		for i, c := range cases {
			s.deliver(c.connection, fmt.Sprintf("case %d", i), c.body)
		}
		s.applied()
		reasons := map[string]string{}
		for _, e := range all[eventView](s, "/events?state=parked") {
			reasons[e.Key] = e.Reason
		}
		for i, c := range cases {
			if reason, parked := reasons[fmt.Sprintf("case %d", i)]; !parked || !strings.Contains(reason, c.reason) {
				t.Errorf("%s: parked %t with the reason %q, want one that says %q", c.name, parked, reason, c.reason)
			}
		}
		if len(reasons) != len(cases) {
			t.Errorf("%d events are parked, want %d", len(reasons), len(cases))
		}
		s.settled()
		if got := get[itemView](s, "/items/TEA"); got != (itemView{OnHand: 12, Available: 12, ATP: 12}) {
			t.Errorf("TEA is %+v, want 12 as before", got)
		}
		for _, w := range shop.Writes()[writes:] {
			t.Errorf("the shop was written to: %+v", w)
		}
		if s.ended() || strings.Contains(s.log.String(), "panic") {
			t.Error("the server panicked")
		}
		// A negative level is a fact of the warehouse: it is taken, and offered as nothing.
		s.deliver("warehouse", "negative", levelEvent("TEA", -3, 60))
		h.shows("shop", "TEA", 0)
		if got := get[itemView](s, "/items/TEA"); got != (itemView{OnHand: -3, Available: -3}) {
			t.Errorf("TEA is %+v, want -3 on hand and nothing to promise", got)
		}
		if r := h.must(exitOK, "replay", "--parked"); !strings.Contains(r.stdout, strconv.Itoa(len(cases))+" events") {
			t.Errorf("replay prints %q", r.stdout)
		}
		h.eventually("what makes no sense is parked again", func() error {
			status, err := tryGet[statusView](s, "/status")
			if err == nil && (status.InboxPending > 0 || status.InboxParked != int64(len(cases))) {
				err = fmt.Errorf("%+v", status)
			}
			return err
		})
	})
}

// The level of an article that nobody knows is kept, and applied when the article comes into the mapping.
func TestUnknownArticleIsAppliedWhenItIsMapped(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA")
		h.shops["shop"].AddListing(open.Listing{Item: "NEW"})
		s.deliver("warehouse", "new", levelEvent("NEW", 9, 1))
		parkedWith(s, `"NEW" is not known`)
		s.imports("shop,TEA,,TEA,1", "shop,NEW,,NEW,1")
		h.shows("shop", "NEW", 9)
		if left := all[eventView](s, "/events?state=parked"); len(left) != 0 {
			t.Errorf("still parked: %+v", left)
		}
	})
}

func TestSecretRotation(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old, fresh := newSecret(), newSecret()
	h.connect("warehouse", "system_of_record", fmt.Sprintf("levels: on_hand, webhook_secrets: [%q, %q]", old, fresh))
	s := h.start()
	for _, secret := range []string{old, fresh} {
		if a, err := s.try(webhook{connection: "warehouse", id: secret, body: levelEvent("TEA", 1, 1), secret: secret}); err != nil || a.status != http.StatusAccepted {
			t.Errorf("with both secrets active: %d, %v: %s", a.status, err, a.body)
		}
	}
	// A sender that signs with both at once, as Standard Webhooks has it while a secret is being replaced.
	both := s.request(webhook{connection: "warehouse", id: "both", body: levelEvent("TEA", 1, 2), secret: newSecret()})
	second := s.request(webhook{connection: "warehouse", id: "both", body: levelEvent("TEA", 1, 2), secret: fresh})
	both.Header.Set("webhook-signature", both.Header.Get("webhook-signature")+" "+second.Header.Get("webhook-signature"))
	both.Header.Set("webhook-timestamp", second.Header.Get("webhook-timestamp"))
	both.Body, both.ContentLength = second.Body, second.ContentLength
	if a := sendRequest(t, h, both); a.status != http.StatusAccepted {
		t.Errorf("with two signatures: %d: %s", a.status, a.body)
	}
	if code := s.stop(); code != exitOK {
		t.Fatalf("the server ends with %d:\n%s", code, s.log)
	}

	h.connections = nil
	h.connect("warehouse", "system_of_record", fmt.Sprintf("levels: on_hand, webhook_secrets: %q", fresh))
	s = h.start()
	for secret, want := range map[string]int{old: http.StatusUnauthorized, fresh: http.StatusAccepted} {
		if a, err := s.try(webhook{connection: "warehouse", id: "after " + secret, body: levelEvent("TEA", 1, 3), secret: secret}); err != nil || a.status != want {
			t.Errorf("with one secret removed: %d, %v, want %d: %s", a.status, err, want, a.body)
		}
	}
}

// A connection that sends faster than it may is told to wait, and how long; strangers do not use its share up.
func TestTooFast(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.settings = append(h.settings, "limits: {requests_per_second: 5}")
	h.addListener("on_hand")
	s := h.start()
	for i := range 20 {
		if a, err := s.try(webhook{connection: "warehouse", id: fmt.Sprint("stranger", i), body: levelEvent("TEA", 0, 1), secret: newSecret()}); err != nil || a.status != http.StatusUnauthorized {
			t.Fatalf("a stranger is answered %d, %v", a.status, err)
		}
	}
	taken, slowed := 0, 0
	for i := range 40 {
		a, err := s.try(webhook{connection: "warehouse", id: fmt.Sprint("evt", i), body: levelEvent("TEA", 1, 1)})
		switch {
		case err != nil:
			t.Fatal(err)
		case a.status == http.StatusAccepted:
			taken++
		case a.status == http.StatusTooManyRequests:
			slowed++
			if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
				t.Errorf("429 comes with Retry-After %q", a.header.Get("Retry-After"))
			}
			wantProblem(t, a, http.StatusTooManyRequests, "faster")
		default:
			t.Fatalf("the answer is %d: %s", a.status, a.body)
		}
	}
	if taken < 5 || slowed == 0 {
		t.Errorf("%d were taken and %d slowed, want at least the burst of 5 and some slowed", taken, slowed)
	}
	h.eventually("the connection may send again", func() error {
		a, err := s.try(webhook{connection: "warehouse", id: "later", body: levelEvent("TEA", 1, 1)})
		if err == nil && a.status != http.StatusAccepted {
			err = errors.New(a.body)
		}
		return err
	})
}

// Fifty copies at once are one event; so are fifty events that tell the same fact under ids of their own.
func TestParallelCopies(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA")
		s.deliver("warehouse", "start", levelEvent("TEA", 100, 1))
		copyOf := movedEvent("TEA", 5, 2)
		answers := inParallel(t, 50, func(int) (answer, error) {
			return s.try(webhook{connection: "warehouse", id: "copies", body: copyOf})
		})
		fresh, ids := 0, map[string]bool{}
		for _, a := range answers {
			r, err := accepted(a)
			if err != nil {
				t.Error(err)
			}
			if !r.Duplicate {
				fresh++
			}
			ids[r.ID] = true
		}
		if fresh != 1 || len(ids) != 1 {
			t.Errorf("%d of 50 copies are told to be new, under %d ids; want one", fresh, len(ids))
		}
		moved := movedEvent("TEA", -3, 3)
		for _, a := range inParallel(t, 50, func(i int) (answer, error) {
			return s.try(webhook{connection: "warehouse", id: fmt.Sprint("retold", i), body: moved})
		}) {
			if _, err := accepted(a); err != nil {
				t.Error(err)
			}
		}
		different := inParallel(t, 50, func(i int) (answer, error) {
			return s.try(webhook{connection: "warehouse", id: "quarrel", body: movedEvent("TEA", int64(i)+1, 4)})
		})
		won, refused := 0, 0
		for _, a := range different {
			switch a.status {
			case http.StatusAccepted:
				won++
			case http.StatusConflict:
				refused++
			}
		}
		if won != 1 || refused != 49 {
			t.Errorf("of 50 bodies under one id %d are taken and %d refused with 409, want 1 and 49", won, refused)
		}
		s.settled()
		held := int64(0)
		for _, e := range all[eventView](s, "/events") {
			if e.Key == "quarrel" {
				var body struct {
					Data struct {
						Delta int64 `json:"delta"`
					} `json:"data"`
				}
				if err := json.Unmarshal([]byte(get[eventView](s, "/events/"+e.ID).Body), &body); err != nil {
					t.Fatal(err)
				}
				held = body.Data.Delta
			}
		}
		if got := get[itemView](s, "/items/TEA"); got.OnHand != 100+5-3+held || held == 0 {
			t.Errorf("TEA is %+v, want each fact once: %d", got, 100+5-3+held)
		}
		h.shows("shop", "TEA", 100+5-3+held)
	})
}

// inParallel sends n requests at the same time.
func inParallel(t *testing.T, n int, send func(i int) (answer, error)) []answer {
	t.Helper()
	answers := make([]answer, n)
	errs := make([]error, n)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			answers[i], errs[i] = send(i)
		})
	}
	close(start)
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return answers
}
