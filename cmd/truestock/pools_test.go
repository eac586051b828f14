package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

// decide makes a setting's value the newest version over HTTP.
func (s *server) decide(kind, key, value string) {
	s.h.t.Helper()
	if a := s.call(http.MethodPut, "/settings/"+kind+"/"+key, "application/json", `{"value":`+value+`}`); a.status != http.StatusOK {
		s.h.t.Fatalf("%s %s is answered %d: %s", kind, key, a.status, a.body)
	}
}

// keyRow is what a list of keys tells of one.
type keyRow struct {
	ID         string `json:"id"`
	State      string `json:"state"`
	Connection string `json:"connection"`
	OrderID    string `json:"order_id"`
	LineID     string `json:"line_id"`
	Unit       int64  `json:"unit"`
}

func byState(keys []keyRow) map[string]int {
	n := make(map[string]int)
	for _, k := range keys {
		n[k.State]++
	}
	return n
}

// atOnce delivers webhooks in parallel, each of them twice, and demands that each is stored once.
func (s *server) atOnce(hooks []webhook) {
	s.h.t.Helper()
	var fresh atomic.Int64
	var senders sync.WaitGroup
	for _, w := range hooks {
		for range 2 {
			senders.Go(func() {
				a, err := s.try(w)
				if err != nil {
					s.h.t.Errorf("deliver %s: %v", w.id, err)
					return
				}
				r, err := accepted(a)
				if err != nil {
					s.h.t.Errorf("deliver %s: %v", w.id, err)
				} else if !r.Duplicate {
					fresh.Add(1)
				}
			})
		}
	}
	senders.Wait()
	if n := fresh.Load(); n != int64(len(hooks)) {
		s.h.t.Errorf("%d of %d webhooks were stored", n, len(hooks))
	}
}

// TestHundredKeysForHundredAndFiftyOrders sends 150 orders in parallel, each three times over: 100 of them get a key each,
// and 50 wait until more come in.
func TestHundredKeysForHundredAndFiftyOrders(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.settings = append(h.settings, "keys: {secret: a secret for the tests}")
		s := smallHouse(t, h, "on_hand", "APP")
		s.decide("article", "APP", `{"kind":"licence"}`)
		importKeys := func(from, to int) answer {
			file := "key\n"
			for i := from; i < to; i++ {
				file += fmt.Sprintf("SECRET-%04d\n", i)
			}
			return s.call(http.MethodPost, "/keys/import?sku=APP&reason=bought", "text/csv", file)
		}
		if a := importKeys(0, 100); a.status != http.StatusOK {
			t.Fatalf("the import is answered %d: %s", a.status, a.body)
		}
		h.shows("shop", "APP", 100)
		var hooks []webhook
		for i := range 150 {
			body := orderEvent(fmt.Sprintf("o-%03d", i), 1, "APP", 1, 0, 0)
			for copies := range 2 { // the same order under another id
				hooks = append(hooks, webhook{connection: "shop", id: fmt.Sprintf("evt-%d-%d", i, copies), body: body})
			}
		}
		s.atOnce(hooks)
		h.eventually("150 units are promised", func() error {
			if v := get[itemView](s, "/items/APP"); v.Committed != 150 || v.Available != -50 {
				return fmt.Errorf("%+v", v)
			}
			return nil
		})
		keys := all[keyRow](s, "/keys?sku=APP")
		orders, ids := make(map[string]bool), make(map[string]bool)
		for _, k := range keys {
			orders[k.OrderID], ids[k.ID] = true, true
		}
		if n := byState(keys); n["assigned"] != 100 || len(keys) != 100 || len(orders) != 100 || len(ids) != 100 {
			t.Errorf("%v keys for %d orders, want 100 for 100", n, len(orders))
		}
		if n := len(get[list[incidentView]](s, "/incidents?open=true").Data); n != 1 {
			t.Errorf("%d incidents are open, want one about the 50 that wait", n)
		}

		// Each is shown once, whoever asks at the same time, and all are distinct.
		revealed := make(map[string]bool)
		var mu sync.Mutex
		var readers sync.WaitGroup
		for _, k := range keys {
			for range 2 {
				readers.Go(func() {
					a := s.call(http.MethodPost, "/keys/"+k.ID+"/reveal", "", "")
					var got struct{ Key string }
					switch err := json.Unmarshal([]byte(a.body), &got, json.MatchCaseInsensitiveNames(true)); {
					case a.status == http.StatusConflict:
						return
					case a.status != http.StatusOK || err != nil:
						t.Errorf("reveal %s is answered %d: %s", k.ID, a.status, a.body)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if revealed[got.Key] {
						t.Errorf("%s is shown twice", got.Key)
					}
					revealed[got.Key] = true
				})
			}
		}
		readers.Wait()
		if len(revealed) != 100 {
			t.Errorf("%d distinct keys are shown, want 100", len(revealed))
		}
		wantProblem(t, importKeys(99, 101), http.StatusUnprocessableEntity, "no key was stored")
		if a := importKeys(100, 150); a.status != http.StatusOK {
			t.Fatalf("the second import is answered %d: %s", a.status, a.body)
		}
		h.eventually("those who wait have keys", func() error {
			if n := byState(all[keyRow](s, "/keys?sku=APP")); n["assigned"] != 50 || n["revealed"] != 100 {
				return fmt.Errorf("%v", n)
			}
			return nil
		})
		h.eventually("the incident is over", func() error {
			if n := len(get[list[incidentView]](s, "/incidents?open=true").Data); n != 0 {
				return fmt.Errorf("%d are open", n)
			}
			return nil
		})
		h.must(exitOK, "verify")
		if strings.Contains(s.log.String(), "SECRET-") {
			t.Error("the log shows keys")
		}
	})
}

// TestAnotherKeySecretIsRefusedAtTheStart starts with a secret that the stored keys were not encrypted with.
func TestAnotherKeySecretIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.settings = append(h.settings, "keys: {secret: a secret for the tests}")
	s := smallHouse(t, h, "on_hand", "APP")
	s.decide("article", "APP", `{"kind":"licence"}`)
	if a := s.call(http.MethodPost, "/keys/import?sku=APP", "text/csv", "key\nSECRET-1\n"); a.status != http.StatusOK {
		t.Fatalf("the import is answered %d: %s", a.status, a.body)
	}
	s.stop()
	h.settings[len(h.settings)-1] = "keys: {secret: another secret for the tests}"
	h.configure()
	r := h.run("serve")
	if r.code == exitOK || !strings.Contains(r.stderr, "not the one that 1 stored keys were encrypted with") {
		t.Errorf("serve ended with code %d: %s", r.code, r.stderr)
	}
}

// TestHundredOrdersAgainstACapOfFifty lets 100 buyers order at once where 50 are left: 50 get one, and not one more is
// shown. What a channel sells beyond the cap all the same, because it had not heard, is counted and told.
func TestHundredOrdersAgainstACapOfFifty(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		other := h.addShop("other", fake.ShopConfig{})
		other.AddListing(open.Listing{Item: "CALLS", Title: "CALLS"})
		s := smallHouse(t, h, "on_hand", "CALLS")
		s.imports("other,CALLS,,CALLS,1")
		s.decide("article", "CALLS", `{"kind":"quota","cap":50,"period":"monthly","day":1,"zone":"Europe/Berlin"}`)
		h.shows("shop", "CALLS", 50)
		h.shows("other", "CALLS", 50)
		var sold atomic.Int64
		var buyers sync.WaitGroup
		for range 100 {
			buyers.Go(func() {
				if _, ok := h.shops["shop"].Buy("CALLS", 1); ok {
					sold.Add(1)
				}
			})
		}
		buyers.Wait()
		if n := sold.Load(); n != 50 {
			t.Errorf("%d of 100 orders were taken, want 50", n)
		}
		h.shows("other", "CALLS", 0)
		h.shows("shop", "CALLS", 0)
		if n := len(get[list[incidentView]](s, "/incidents?open=true").Data); n != 0 {
			t.Errorf("%d incidents are open", n)
		}

		// The other shop sold ten while it still showed 50: they are told, each message twice and in parallel.
		var hooks []webhook
		for i := range 10 {
			hooks = append(hooks, webhook{connection: "other", id: fmt.Sprintf("late-%d", i), body: strings.Replace(
				orderEvent(fmt.Sprintf("late-%d", i), 1, "CALLS", 1, 0, 0), "2026-01-05T10:00:00Z", instant(), 1)})
		}
		s.atOnce(hooks)
		h.eventually("it is told", func() error {
			got := get[list[incidentView]](s, "/incidents?open=true").Data
			if len(got) != 1 || got[0].Kind != "over_cap" || got[0].Subject != "CALLS" || !strings.Contains(got[0].Message, "has sold 60 of 50") {
				return fmt.Errorf("%+v", got)
			}
			return nil
		})
		h.must(exitOK, "verify")
	})
}

// TestSettingsThatMakeNoSense refuses each with the field and the reason, and keeps nothing of it.
func TestSettingsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := smallHouse(t, h, "on_hand", "TEA")
	s.deliver("warehouse", "evt-1", levelEvent("TEA", 40, 1))
	h.shows("shop", "TEA", 40)
	hours := func(n time.Duration) string { return time.Now().Add(n * time.Hour).UTC().Format(time.RFC3339) }
	soon, late, later := hours(1), hours(2), hours(3)
	campaign := func(quantity int, more string) string {
		return fmt.Sprintf(`{"sku":"TEA","quantity":%d,"start":%q,"end":%q%s}`, quantity, soon, late, more)
	}
	s.decide("campaign", "first", fmt.Sprintf(`{"sku":"TEA","quantity":10,"exclusive":true,"start":%q,"end":%q}`, late, later))
	during := func(quantity int, more string) string {
		return fmt.Sprintf(`{"sku":"TEA","quantity":%d,"start":%q,"end":%q%s}`, quantity, late, later, more)
	}
	s.decide("resource", "team", `{"zone":"UTC","period":"daily","capacity":1}`)
	tranche := func(permille int) string {
		return fmt.Sprintf(`{"share_permille":%d,"after_sold_permille":500}`, permille)
	}
	first := fmt.Sprintf(`{"share_permille":600,"date":%q,"clock":%q}`, soon[:10], soon[11:19])
	for _, c := range []struct{ name, kind, key, value, field string }{
		{"a pool larger than the stock", "campaign", "big", campaign(41, ""), "quantity"},
		{"two exclusive pools at once", "campaign", "second", during(5, `,"exclusive":true`), "exclusive"},
		{"a pool beside an exclusive one", "campaign", "third", during(5, ""), "exclusive"},
		{"a tranche plan over 100 %", "campaign", "steps", campaign(10, `,"tranches":[`+first+`,`+tranche(401)+`]`), "tranches[1].share_permille"},
		{"a campaign of no length", "campaign", "short", fmt.Sprintf(`{"sku":"TEA","quantity":1,"start":%q,"end":%q}`, soon, soon), "end"},
		{"a campaign in an unknown zone", "campaign", "mars", campaign(1, `,"zone":"Mars/Olympus"`), "zone"},
		{"a pool of nothing", "campaign", "none", campaign(0, ""), "quantity"},
		{"an oversell ratio below 1000", "policy", "sku:TEA", `{"oversell_permille":999}`, "oversell_permille"},
		{"an oversell ratio above the bound", "policy", "sku:TEA", `{"oversell_permille":1050}`, "oversell_permille"},
		{"a negative threshold", "policy", "sku:TEA", `{"threshold":-1}`, "threshold"},
		{"a negative alert threshold", "article", "TEA", `{"alert_threshold":-1}`, "alert_threshold"},
		{"a window of no length", "article", "TEA", `{"kind":"quota","cap":1,"zone":"UTC","period":"hours","openings":[{"weekday":1,"from":"09:00","to":"09:00"}]}`, "openings[0]"},
		{"a window in an unknown zone", "article", "TEA", `{"kind":"quota","cap":1,"zone":"Mars/Olympus","period":"daily"}`, "zone"},
		{"a shift of no length", "resource", "crew", `{"zone":"UTC","shifts":[{"weekday":1,"from":"09:00","to":"09:00","capacity":1}]}`, "shifts[0]"},
		{"a service that needs nothing", "article", "TEA", `{"kind":"service","zone":"UTC","period":"daily"}`, "needs"},
		{"a service that needs what there is not", "article", "TEA", `{"kind":"service","zone":"UTC","period":"daily","needs":[{"resource":"crew","units":1}]}`, "needs[0].resource"},
	} {
		before := get[list[struct {
			ID string `json:"id"`
		}]](s, "/audit?limit=1000")
		a := s.call(http.MethodPut, "/settings/"+c.kind+"/"+c.key, "application/json", `{"value":`+c.value+`}`)
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `"`+c.field+` `) && !strings.Contains(a.body, ` `+c.field+` `) && !strings.Contains(a.body, ` `+c.field+`:`) {
			t.Errorf("%s is answered %d %s, want 422 and the field %s", c.name, a.status, a.body, c.field)
		}
		if after := get[list[struct {
			ID string `json:"id"`
		}]](s, "/audit?limit=1000"); len(after.Data) != len(before.Data) {
			t.Errorf("%s: the audit trail has grown", c.name)
		}
	}
	for kind, want := range map[string]int{"campaign": 1, "policy": 0, "article": 0, "resource": 1} {
		if n := len(get[list[struct{}]](s, "/settings/"+kind).Data); n != want {
			t.Errorf("%d settings of kind %s are kept, want %d", n, kind, want)
		}
	}
	h.shows("shop", "TEA", 40)
}
