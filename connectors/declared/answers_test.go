package declared_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/declared"
)

// Answers that make no sense are an error of the right kind that says why, and never a level.
func TestBadAnswers(t *testing.T) {
	f := load(t, "small.yaml")
	row := func(pieces string) string {
		return `{"status":"ok","total":1,"more":false,"stock":[{"article":"TEA","pieces":` + pieces + `}]}`
	}
	for name, tt := range map[string]struct {
		answer string
		kind   connectors.ErrorKind
		says   string
	}{
		"half a unit":           {row("0.5"), connectors.Rejected, "not a whole number"},
		"no quantity":           {row("null"), connectors.Rejected, "null is not 0"},
		"an empty quantity":     {row(`""`), connectors.Rejected, "not a number"},
		"a word":                {row(`"many"`), connectors.Rejected, "not a number"},
		"too large":             {row("99999999999999999999"), connectors.Rejected, "too large"},
		"an exponent":           {row(`"1e3"`), connectors.Rejected, "not a number"},
		"no article":            {`{"status":"ok","total":1,"more":false,"stock":[{"pieces":1}]}`, connectors.Rejected, "sku is missing or null"},
		"no rows":               {`{"status":"ok","total":1,"more":false}`, connectors.Rejected, "operations.levels.rows"},
		"fewer than counted":    {`{"status":"ok","total":2,"more":false,"stock":[{"article":"TEA","pieces":1}]}`, connectors.Rejected, "counts 2 rows and gave 1"},
		"twice, and different":  {`{"status":"ok","total":2,"more":false,"stock":[{"article":"TEA","pieces":1},{"article":"TEA","pieces":2}]}`, connectors.Rejected, "stands twice"},
		"more is no truth":      {`{"status":"ok","total":1,"more":"yes","stock":[{"article":"TEA","pieces":1}]}`, connectors.Rejected, "true or false is wanted"},
		"the same page again":   {`{"status":"ok","total":1,"more":true,"stock":[{"article":"TEA","pieces":1}]}`, connectors.Rejected, "would never end"},
		"a name twice":          {`{"status":"ok","status":"ok"}`, connectors.Rejected, "duplicate"},
		"expired credentials":   {`{"status":"error","code":"TOKEN","text":"expired"}`, connectors.Auth, "Settings → API"},
		"an unknown code":       {`{"status":"error","code":"X","text":"why"}`, connectors.Rejected, "why"},
		"nothing of the kind":   {`[]`, connectors.Rejected, "expected an object"},
		"deeper than any table": {`{"status":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, connectors.Rejected, "nested deeper"},
	} {
		c, err := f.Open(connectors.Env{Transport: answers(tt.answer)}, connectors.SystemOfRecordRole, connectors.Settings{"base_url": "https://erp.example", "token": "a-token-of-the-test", "pace": "10000"})
		if err != nil {
			t.Fatal(err)
		}
		page, err := c.(connectors.SystemOfRecord).Levels(t.Context(), "")
		if connectors.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) || len(page.Levels) > 0 {
			t.Errorf("%s: %v, %+v", name, err, page)
		}
	}
	c, err := f.Open(connectors.Env{Transport: answers(row(`"-12.00"`))}, connectors.SystemOfRecordRole, connectors.Settings{"base_url": "https://erp.example", "token": "a-token-of-the-test"})
	if err != nil {
		t.Fatal(err)
	}
	if page, err := c.(connectors.SystemOfRecord).Levels(t.Context(), ""); err != nil || page.Levels[0].Quantity != -12 {
		t.Errorf("below 0 is what the system says: %+v, %v", page, err)
	}
}

// paged is a market whose listings are asked by another kind of paging.
func paged(t *testing.T, paging string) *declared.File {
	t.Helper()
	data, err := os.ReadFile("testdata/market.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := declared.Parse("market.yaml", []byte(strings.Replace(string(data), "{by: cursor, next: .next}", paging, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A cursor that came before ends the list with an error, and a link that leads elsewhere is not followed: it would carry
// the credentials there.
func TestPagesThatLeadNowhere(t *testing.T) {
	settings := connectors.Settings{"base_url": "https://market.example/v1", "key": "ak", "secret": "a-secret-of-the-test"}
	for name, tt := range map[string]struct{ paging, next, says string }{
		"a cursor again":  {"{by: cursor, next: .next}", "same", "came before"},
		"a link again":    {"{by: link, next: .next}", "/v1/offers?cursor=2", "came before"},
		"another host":    {"{by: link, next: .next}", "https://elsewhere.example/v1/offers", "not below base_url"},
		"another path":    {"{by: link, next: .next}", "/admin", "not below base_url"},
		"another scheme":  {"{by: link, next: .next}", "http://market.example/v1/offers", "not below base_url"},
		"a user's secret": {"{by: link, next: .next}", "https://market.example.evil.example/v1/offers", "not below base_url"},
	} {
		next, _ := json.Marshal(tt.next)
		var asked []string
		c, err := paged(t, tt.paging).Open(connectors.Env{Transport: transport(func(req *http.Request) (*http.Response, error) {
			asked = append(asked, req.URL.Host)
			return answers(`{"offers":[],"next":` + string(next) + `}`).RoundTrip(req)
		})}, connectors.MarketplaceRole, settings)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.(connectors.Marketplace).Listings(t.Context(), ""); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
		for _, host := range asked {
			if host != "market.example" {
				t.Errorf("%s: asked %s", name, host)
			}
		}
	}
}

// A link is followed with the parameters that it has, and signed anew.
func TestLinksAreFollowed(t *testing.T) {
	var queries []string
	c, err := paged(t, "{by: link, next: .next}").Open(connectors.Env{Transport: transport(func(req *http.Request) (*http.Response, error) {
		queries = append(queries, req.URL.Path+" "+req.URL.Query().Get("cursor"))
		if req.URL.Query().Get("sign") == "" {
			t.Errorf("%s is not signed", req.URL)
		}
		if len(queries) == 1 {
			return answers(`{"offers":[{"id":"A","seller_sku":"S","name":"n","shown":1}],"next":"/v1/offers?cursor=two%20b"}`).RoundTrip(req)
		}
		return answers(`{"offers":[{"id":"B","seller_sku":"S","name":"n","shown":2}],"next":null}`).RoundTrip(req)
	})}, connectors.MarketplaceRole, connectors.Settings{"base_url": "https://market.example/v1", "key": "ak", "secret": "a-secret-of-the-test"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.(connectors.Marketplace).Listings(t.Context(), "")
	if err != nil || len(page.Rows) != 2 || strings.Join(queries, ",") != "/v1/offers ,/v1/offers two b" {
		t.Errorf("%+v, %v, %q", page, err, queries)
	}
}

type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f transport) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// An expression has no environment, no clock, no files and no end of its own.
func TestExpressionsAreBounded(t *testing.T) {
	t.Parallel()
	small, err := os.ReadFile("examples/small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	try := func(rows string) (connectors.LevelPage, error) {
		text := strings.Replace(string(small), `'.stock[] | {sku: .article, location: "main", quantity: (.pieces | whole)}'`, "'"+rows+"'", 1)
		f, err := declared.Parse("x.yaml", []byte(text))
		if err != nil {
			return connectors.LevelPage{}, err
		}
		c, err := f.Open(connectors.Env{Transport: answers(`{"status":"ok","more":false,"total":1}`)}, connectors.SystemOfRecordRole, connectors.Settings{"base_url": "https://erp.example", "token": "a-token-of-the-test"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		return c.(connectors.SystemOfRecord).Levels(ctx, "")
	}
	if page, err := try(`[{sku: ($ENV.PATH // env.PATH // "nothing"), location: "m", quantity: 1}]`); err != nil || page.Levels[0].SKU != "nothing" || os.Getenv("PATH") == "" {
		t.Errorf("the environment: %+v, %v", page, err)
	}
	for rows, says := range map[string]string{
		`now`:                                 "now is not there",
		`0 | localtime`:                       "localtime is not there",
		`input`:                               "input",
		`range(10000000)`:                     "more than 1000000 values",
		`def f: f; f`:                         "does not end within",
		`"x" * 10000000000`:                   "too large",
		`{sku: "A"}, {sku: "B"}`:              "location is missing",
		`[{sku: "A", location: "m", qty: 1}]`: "quantity is missing",
		`{sku: "A", location: "m", quantity: 1, more: 2}`: "more is not known",
	} {
		page, err := try(rows)
		if err != nil && strings.HasPrefix(rows, "range") && strings.Contains(err.Error(), "does not end within") {
			continue // on a slow machine the time is over first
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %+v, %v", rows, page, err)
		}
	}
}
