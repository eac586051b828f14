package declared_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/declared"
)

// Whatever a file holds, it is taken or refused with its name; what is taken can be opened and closed.
func FuzzFile(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join("examples", "*.yaml"))
	if err != nil || len(paths) < 3 {
		f.Fatal(paths, err)
	}
	for _, path := range append(paths, filepath.Join("testdata", "market.yaml")) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add("name: a\nrole: marketplace\noperations: {listings: {rows: '.'}}\n")
	f.Add("settings: [{name: base_url, help: x}]\nanswers: {codes: {a: {kind: auth}}}\nauth: {sign: {}}\nwebhook: {}\npretend: {}\n")
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
	shopSettings := connectors.Settings{"base_url": "https://market.example/v1", "key": "ak", "secret": "s"}
	f.Fuzz(func(t *testing.T, answer, event string) {
		c, err := small.Open(connectors.Env{Transport: answers(answer)}, connectors.SystemOfRecordRole, connectors.Settings{"base_url": "https://erp.example", "token": "x", "pace": "10000"})
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
