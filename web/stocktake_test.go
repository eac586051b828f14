package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/truestock/truestock/web"
)

func TestStocktakesAnswerBadRowsAsProblems(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{}, engine)
	ask := func(method, path, kind, body string) reply {
		return s.send(t, method, "/api/v1"+path, strings.NewReader(body), "Authorization", "Bearer ts_operate", "Content-Type", kind)
	}
	const asJSON, asCSV = "application/json", "text/csv"
	for _, c := range []struct {
		method, path, kind, body string
		status                   int
		says                     string
	}{
		{http.MethodPost, "/stocktakes", asJSON, `{"skus":["A"]}`, http.StatusOK, `"id":"7"`},
		{http.MethodPost, "/stocktakes", asJSON, `{"skus":["wrong"]}`, http.StatusUnprocessableEntity, `"reason":"is not known"`},
		{http.MethodPost, "/stocktakes", asJSON, `{"recount_permille":1001}`, http.StatusUnprocessableEntity, "recount_permille"},
		{http.MethodGet, "/stocktakes/7/csv", asJSON, "", http.StatusOK, "A,main"},
		{http.MethodGet, "/stocktakes/8", asJSON, "", http.StatusNotFound, "GET /api/v1/stocktakes"},
		{http.MethodPost, "/stocktakes/7/counts", asJSON, `{"counts":[{"sku":"A","location":"main","counted":3}]}`, http.StatusOK, `"changed":1`},
		{http.MethodPost, "/stocktakes/7/counts", asJSON, `{"counts":[{"sku":"A","location":"main","counted":-3}]}`, http.StatusUnprocessableEntity, `"line":1`},
		{http.MethodPost, "/stocktakes/7/counts", asJSON, `{"counts":[{"sku":"A","location":"main","counted":1.5}]}`, http.StatusUnprocessableEntity, "counted"},
		{http.MethodPost, "/stocktakes/7/import", asCSV, "sku,location,counted,as_of\n", http.StatusOK, `"changed":1`},
		{http.MethodPost, "/stocktakes/7/import", asCSV, "wrong\n", http.StatusUnprocessableEntity, `"field":"counted"`},
		{http.MethodPost, "/stocktakes/7/import", asJSON, "{}", http.StatusUnsupportedMediaType, "text/csv"},
		{http.MethodPost, "/stocktakes/7/approve", asJSON, `{"send":true}`, http.StatusOK, `"changed":1`},
		{http.MethodPost, "/stocktakes/8/reject", asJSON, `{}`, http.StatusNotFound, "GET /api/v1/stocktakes"},
	} {
		r := ask(c.method, c.path, c.kind, c.body)
		if r.status != c.status || !strings.Contains(r.body, c.says) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, r.status, r.body)
		}
	}
}
