package declared_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/declared"
)

// Whatever a file holds, it is taken or refused with its name; what is taken can be opened and closed.
func FuzzFile(f *testing.F) {
	// Short seeds, one for each section: what is found is made shorter before the search goes on, and a whole example would
	// take all of its time.
	for _, section := range []string{
		"operations: {levels: {request: {method: GET, path: /s, query: {p: =.page.number}}, paging: {by: page, size: 2, more: .more}, rows: '.s[]'}}\n",
		"operations: {order: {refusal: no}, locations: {rows: '[{id: \"m\"}]'}, items: {windows: {from: =.settings.since, span: 1h}}}\n",
		"auth: {basic: {user: a, password: b}, token: {request: {method: POST, path: /t, form: {a: [1, {b: =.now}]}}, access_token: .t}}\n",
		"auth: {sign: {scheme: sorted, sorted: {hash: md5, secret: both}, secret: =.settings.s, of: query, into: sign}}\n",
		"answers: {ok: .ok, code: .c, codes: {a: {kind: auth, message: m, wait: 1s}}}\nstatuses: {\"423\": {kind: throttled, message: m}}\n",
		"webhook: {verify: {scheme: secret, secrets: =.settings.s, given: .headers.x}, key: .body.id, type: '\"t\"', facts: '[]'}\n",
		"examples: [{name: a, call: levels, with: {key: k}, exchanges: [{request: {method: GET, path: /}, answer: {body: [1, null]}}], gives: []}]\n",
		"pretend: {state: {a: 1}, answer: '{body: 1}', skus: [a, b], deliver: {headers: {x: =.signature}}}\nskip: {CloseIsFinal: no}\n",
	} {
		f.Add("name: a\ntitle: A\nrole: system_of_record\nbasis: on_hand\nsettings: [{name: base_url, help: h}]\n" + section)
	}
	f.Add("settings: !00 00") // the YAML library panics on it
	f.Fuzz(func(t *testing.T, text string) {
		file, err := declared.Parse("fuzz.yaml", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz.yaml:") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		settings := connectors.Settings{}
		for _, field := range file.Fields() {
			settings[field.Name] = "https://x.example"
		}
		c, err := file.Open(connectors.Env{}, file.Role, settings)
		if err == nil && c.Close() != nil {
			t.Error("it cannot be closed")
		}
	})
}

// answers gives the same answer to every request.
type answers string

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.WriteString(string(a))
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

// Whatever a system answers, what comes out is valid, or an *Error; nothing that is not there becomes a 0.
func FuzzAnswers(f *testing.F) {
	f.Add(`{"status":"ok","total":1,"more":false,"stock":[{"article":"TEA","pieces":"12.00"}]}`, "id=1&event=changed&offer=A&shown=3")
	f.Add(`{"status":"ok","total":1,"stock":[{"article":"TEA"}],"more":null}`, "{}")
	f.Add(`{"status":"ok","total":-1,"more":true,"stock":[{"article":1,"pieces":1e400}]}`, "")
	f.Add(`{"status":"ok","order":{"number":1,"lines":[{"ref":null,"article":"TEA","pieces":-1,"cancelled":0.5}]}}`, `{"id":"1"}`)
	f.Add(`{"offers":[{"id":"A","shown":null}],"next":"same","lines":[{"id":"A","done":true}],"orders":[{"id":"O","version":1}]}`, "id=")
	small, shop := load(f, "small.yaml"), market(f)
	shopSettings := connectors.Settings{"base_url": "https://market.example/v1", "key": "ak", "secret": "a-secret-of-the-test"}
	f.Fuzz(func(t *testing.T, answer, event string) {
		c, err := small.Open(connectors.Env{Transport: answers(answer)}, connectors.SystemOfRecordRole, connectors.Settings{"base_url": "https://erp.example", "token": "a-token-of-the-test", "pace": "10000"})
		if err != nil {
			t.Fatal(err)
		}
		r := c.(connectors.SystemOfRecord)
		if !json.Valid([]byte(answer)) {
			return // tried again for seconds, by the one client that has tests of its own
		}
		page, err := r.Levels(t.Context(), "")
		known(t, err)
		for i := range page.Levels {
			if err := (connectors.Fact{Kind: connectors.StockLevel, Statement: &page.Levels[i]}).Validate(); err != nil {
				t.Error(err)
			}
			if !strings.Contains(answer, "pieces") {
				t.Errorf("a level of nothing: %+v", page.Levels[i])
			}
		}
		if s, err := r.(connectors.OrderTeller).OrderStanding(t.Context(), "k"); err == nil {
			if err := s.Validate(); err != nil {
				t.Error(err)
			}
		}
		_, err = r.CreateOrder(t.Context(), order("k"))
		known(t, err)
		c, err = shop.Open(connectors.Env{Transport: answers(answer)}, connectors.MarketplaceRole, shopSettings)
		if err != nil {
			t.Fatal(err)
		}
		m := c.(connectors.Marketplace)
		_, err = m.Listings(t.Context(), "")
		known(t, err)
		results, err := m.WriteStock(t.Context(), []connectors.Write{{Ref: connectors.Ref{Item: "A"}, Quantity: 1, ID: "w"}})
		known(t, err)
		if err == nil && (len(results) != 1 || results[0].Outcome == "") {
			t.Errorf("%+v", results)
		}
		for _, conn := range []connectors.Connection{r, m} {
			n, err := conn.(connectors.WebhookReceiver).DecodeWebhook(connectors.Delivery{Key: "1", Type: "changed"}, []byte(event))
			for _, fact := range n.Facts {
				if invalid := fact.Validate(); err == nil && invalid != nil {
					t.Error(invalid)
				}
			}
		}
	})
}

func known(t *testing.T, err error) {
	t.Helper()
	if kind := connectors.KindOf(err); err != nil && kind == "" {
		t.Errorf("an error of no kind: %v", err)
	}
}
