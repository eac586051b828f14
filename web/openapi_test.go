package web_test

import (
	"flag"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/web"
)

var update = flag.Bool("update", false, "rewrite docs/api.yaml")

const committed = "../docs/api.yaml"

// TestDocumentIsCommitted compares docs/api.yaml with what the handlers say.
func TestDocumentIsCommitted(t *testing.T) {
	s := serve(t, web.Config{Version: "any"}, newEngine(t))
	now := s.send(t, http.MethodGet, "/api/v1/openapi.yaml", nil).body
	if *update {
		if err := os.WriteFile(committed, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	then, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	if string(then) != now {
		t.Error("docs/api.yaml is not what the handlers say; go test ./web -update rewrites it")
	}
}

func TestDocument(t *testing.T) {
	s := serve(t, web.Config{}, newEngine(t))
	d := readDocument(t, s)
	if !strings.HasPrefix(d.OpenAPI, "3.1.") || len(d.Servers) != 1 || d.Servers[0].URL != "/api/v1" {
		t.Errorf("openapi %q, servers %v", d.OpenAPI, d.Servers)
	}
	if scheme := d.Components.SecuritySchemes["bearer"]; scheme["type"] != "http" || scheme["scheme"] != "bearer" {
		t.Errorf("security scheme %v", scheme)
	}
	ids := map[string]bool{}
	for path, methods := range d.Paths {
		for method, op := range methods {
			name := method + " " + path
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" {
				t.Errorf("%s: operation id %q, summary %q", name, op.OperationID, op.Summary)
			}
			ids[op.OperationID] = true
			good := false
			for status, response := range op.Responses {
				good = good || status[0] == '2'
				if _, problem := response.Content["application/problem+json"]; status[0] >= '4' && !problem {
					t.Errorf("%s: %s is no problem+json: %v", name, status, response.Content)
				}
			}
			for _, status := range []string{"400", "401", "403", "422", "500", "503"} {
				if _, ok := op.Responses[status]; !ok {
					t.Errorf("%s: no answer %s", name, status)
				}
			}
			if !good {
				t.Errorf("%s: no answer 2xx", name)
			}
			for _, placeholder := range regexp.MustCompile(`\{([a-z_]+)\}`).FindAllStringSubmatch(path, -1) {
				found := false
				for _, p := range op.Parameters {
					found = found || p.Name == placeholder[1] && p.In == "path" && p.Required
				}
				if !found {
					t.Errorf("%s: the parameter %s is not declared", name, placeholder[1])
				}
			}
		}
	}

	r := s.send(t, http.MethodGet, "/api/v1/openapi.json", nil)
	var asJSON map[string]any
	if err := json.Unmarshal([]byte(r.body), &asJSON); err != nil {
		t.Fatal(err)
	}
	schemas := asJSON["components"].(map[string]any)["schemas"].(map[string]any)
	for _, ref := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(r.body, -1) {
		if schemas[ref[1]] == nil {
			t.Errorf("the schema %s is referred to and missing", ref[1])
		}
	}
	record, err := json.Marshal(schemas["OrderView"].(map[string]any)["properties"].(map[string]any)["record"])
	if err != nil || !strings.Contains(string(record), `"null"`) {
		t.Errorf("record of an order must be nullable: %s", record)
	}
	if strings.Contains(r.body, `["array","null"]`) {
		t.Error("a list is declared nullable")
	}
}
