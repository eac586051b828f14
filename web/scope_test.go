package web_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

// routeScopes is every route of the API and what a token needs for it.
var routeScopes = map[string]stocksync.Scope{
	"GET /items/{sku}":                     read,
	"GET /items":                           read,
	"GET /listings":                        read,
	"GET /listings/{connection}/{item}":    read,
	"GET /explain/{connection}/{item}":     read,
	"GET /status":                          read,
	"GET /events/{id}":                     read,
	"GET /events":                          read,
	"POST /events/{id}/replay":             operate,
	"GET /orders/{connection}/{order_id}":  read,
	"GET /incidents":                       read,
	"GET /incidents/{id}":                  read,
	"POST /incidents/{id}/remedies":        operate,
	"POST /incidents/{id}/remedies/finish": operate,
	"GET /plans":                           read,
	"GET /plans/{id}":                      read,
	"POST /plans/{id}/approve":             operate,
	"POST /plans/{id}/reject":              operate,
	"POST /reconcile":                      operate,
	"GET /reconcile":                       read,
	"GET /reconcile/{id}":                  read,
	"GET /reconcile/{id}/drifts":           read,
	"GET /connections":                     read,
	"POST /connections/{name}/account":     admin,
	"POST /connections/{name}/pause":       operate,
	"POST /connections/{name}/resume":      operate,
	"POST /raises/pause":                   operate,
	"POST /raises/resume":                  operate,
	"POST /mappings/import":                admin,
	"POST /mappings/preview":               read,
	"POST /mappings/rename":                admin,
	"POST /mappings/merge":                 admin,
	"DELETE /mappings/{connection}/{item}": admin,
	"GET /mappings/export":                 read,
	"GET /mappings/unmapped":               read,
	"GET /mappings/suggestions":            read,
	"GET /settings/{kind}":                 read,
	"GET /settings/{kind}/{key}":           read,
	"PUT /settings/{kind}/{key}":           admin,
	"DELETE /settings/{kind}/{key}":        admin,
	"POST /settings/preview":               read,
	"POST /settings/{kind}/import":         admin,
	"GET /settings/{kind}/export":          read,
	"GET /changes/{id}":                    read,
	"GET /reports/{name}":                  read,
	"GET /reports/{name}/csv":              read,
	"GET /reports/{name}/plot.svg":         read,
	"POST /settings/replay":                read,
	"GET /alerts":                          read,
	"POST /alerts/{id}/ack":                operate,
	"GET /replenishments":                  read,
	"GET /measures/{sku}":                  read,
	"GET /notices":                         read,
	"POST /notices/{channel}/retry":        operate,
	"GET /stocktakes":                      read,
	"POST /stocktakes":                     operate,
	"GET /stocktakes/{id}":                 read,
	"GET /stocktakes/{id}/csv":             read,
	"POST /stocktakes/{id}/counts":         operate,
	"POST /stocktakes/{id}/import":         operate,
	"POST /stocktakes/{id}/approve":        operate,
	"POST /stocktakes/{id}/reject":         operate,
	"POST /stocktakes/{id}/booked":         operate,
	"GET /audit":                           operate,
	"GET /campaigns":                       read,
	"GET /campaigns/{name}":                read,
	"GET /keys":                            read,
	"POST /keys/import":                    admin,
	"POST /keys/{id}/reveal":               operate,
	"POST /keys/{id}/revoke":               operate,
	"GET /tokens":                          admin,
	"POST /tokens":                         admin,
	"DELETE /tokens/{id}":                  admin,
}

// document is what the tests read of the OpenAPI document.
type document struct {
	OpenAPI string `yaml:"openapi"`
	Servers []struct {
		URL string `yaml:"url"`
	} `yaml:"servers"`
	Paths      map[string]map[string]documentOperation `yaml:"paths"`
	Components struct {
		SecuritySchemes map[string]map[string]string `yaml:"securitySchemes"`
		Schemas         map[string]map[string]any    `yaml:"schemas"`
	} `yaml:"components"`
}

type documentOperation struct {
	OperationID string                `yaml:"operationId"`
	Summary     string                `yaml:"summary"`
	Security    []map[string][]string `yaml:"security"`
	Parameters  []struct {
		Name     string `yaml:"name"`
		In       string `yaml:"in"`
		Required bool   `yaml:"required"`
	} `yaml:"parameters"`
	Responses map[string]struct {
		Content map[string]any `yaml:"content"`
	} `yaml:"responses"`
}

func readDocument(t *testing.T, s *site) document {
	t.Helper()
	var d document
	r := s.send(t, http.MethodGet, "/api/v1/openapi.yaml", nil)
	if r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if err := yaml.Unmarshal([]byte(r.body), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestEveryRouteNeedsItsScope asks every route of the document without a token, with an unknown one and with one of
// each scope. What the document says must agree with what happens and with the table above.
func TestEveryRouteNeedsItsScope(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{}, engine)
	seen := 0
	for path, methods := range readDocument(t, s).Paths {
		for method, op := range methods {
			route := strings.ToUpper(method) + " " + path
			needed, ok := routeScopes[route]
			if !ok {
				t.Errorf("%s is not in the table of this test", route)
				continue
			}
			seen++
			if len(op.Security) != 1 || !slices.Equal(op.Security[0]["bearer"], []string{string(needed)}) {
				t.Errorf("%s: the document says security %v, want %s", route, op.Security, needed)
			}
			concrete := regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(path, "999")
			ask := func(headers ...string) reply {
				return s.send(t, strings.ToUpper(method), "/api/v1"+concrete, nil, headers...)
			}
			before := total(engine)
			for _, headers := range [][]string{
				nil,
				{"Authorization", ""},
				{"Authorization", "Bearer"},
				{"Authorization", "Bearer ts_unknown-canary"},
				{"Authorization", "Basic dHNfYWRtaW46eA=="},
				{"Authorization", "ts_admin"},
				{"Cookie", "token=ts_admin"},
			} {
				r := ask(headers...)
				r.problem(t, http.StatusUnauthorized)
				if !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer ") || strings.Contains(r.body, "canary") {
					t.Errorf("%s: WWW-Authenticate %q, body %s", route, r.header.Get("WWW-Authenticate"), r.body)
				}
			}
			for _, scope := range []stocksync.Scope{read, operate, admin} {
				r := ask("Authorization", "bearer ts_"+string(scope))
				switch {
				case !scope.Allows(needed):
					if detail := r.problem(t, http.StatusForbidden); !strings.Contains(detail, string(needed)) {
						t.Errorf("%s as %s: %s", route, scope, detail)
					}
					if total(engine) != before {
						t.Errorf("%s as %s reached the engine", route, scope)
					}
				case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden:
					t.Errorf("%s as %s: %d %s", route, scope, r.status, r.body)
				}
			}
		}
	}
	if seen != len(routeScopes) {
		t.Errorf("the document has %d of the %d routes in the table", seen, len(routeScopes))
	}
	if strings.Contains(s.log.String(), "canary") {
		t.Error("a refused token is in the log")
	}
	r := s.send(t, http.MethodGet, "/api/v1/status?access_token=ts_admin", nil)
	r.problem(t, http.StatusUnauthorized)
	if strings.Contains(r.body, "ts_admin") {
		t.Errorf("the token is echoed: %s", r.body)
	}
}

// total counts the calls of the engine that are not about who asks.
func total(e *memoryEngine) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for call, times := range e.calls {
		if call != "authenticate" {
			n += times
		}
	}
	return n
}
