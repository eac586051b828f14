package open

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/truestock/truestock/connectors"
)

const protocolFile = "../../docs/open-protocol.yaml"

// schema is what the test reads of a schema of OpenAPI.
type schema struct {
	Required   []string       `yaml:"required"`
	Properties map[string]any `yaml:"properties"`
}

type document struct {
	OpenAPI    string                    `yaml:"openapi"`
	Paths      map[string]map[string]any `yaml:"paths"`
	Webhooks   map[string]any            `yaml:"webhooks"`
	Components struct {
		Schemas map[string]schema `yaml:"schemas"`
	} `yaml:"components"`
}

func readProtocol(t *testing.T) (document, map[string]any) {
	t.Helper()
	text, err := os.ReadFile(protocolFile)
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := yaml.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := yaml.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("openapi is %q", d.OpenAPI)
	}
	return d, raw
}

// wireTypes reads the structs of api.go: the JSON names of each, and whether it is always there.
func wireTypes(t *testing.T) map[string]map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "api.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			types[spec.Name.Name] = members(t, spec.Name.Name, s)
		}
		return true
	})
	return types
}

func members(t *testing.T, name string, s *ast.StructType) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, f := range s.Fields.List {
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		member, options, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		all[member] = options == ""
	}
	return all
}

// notInGo are the schemas that say something of the protocol for which the connector needs no type of its own.
var notInGo = []string{"Quantity", "Count", "Name", "Next", "Position", "Accepted", "OrderCancelled"}

// requiredElsewhere are members whose Go type serves more than one kind of document, with the reason.
var requiredElsewhere = map[string]string{
	"Envelope.data": "stock.changed needs none",
	"Order.status":  "order.cancelled goes without", "Order.lines": "order.cancelled goes without",
}

func TestProtocolDocumentsTheWireTypes(t *testing.T) {
	d, _ := readProtocol(t)
	types := wireTypes(t)
	if len(types) < 40 {
		t.Fatalf("api.go has only %d structs", len(types))
	}
	for name, fields := range types {
		s, ok := d.Components.Schemas[name]
		if !ok {
			t.Errorf("%s has no schema %s", protocolFile, name)
			continue
		}
		for field, always := range fields {
			if _, ok := s.Properties[field]; !ok {
				t.Errorf("%s.%s is not in %s", name, field, protocolFile)
			}
			if required := slices.Contains(s.Required, field); required != always && requiredElsewhere[name+"."+field] == "" {
				t.Errorf("%s.%s: required is %t in the document, and api.go always has it: %t", name, field, required, always)
			}
		}
		for property := range s.Properties {
			if _, ok := fields[property]; !ok {
				t.Errorf("%s.%s is not in api.go", name, property)
			}
		}
	}
	for name := range d.Components.Schemas {
		if _, ok := types[name]; !ok && !slices.Contains(notInGo, name) {
			t.Errorf("schema %s is not in api.go", name)
		}
	}
}

func TestProtocolIsWholeInItself(t *testing.T) {
	d, raw := readProtocol(t)
	walk(raw, func(ref string) {
		if _, err := resolve(raw, ref); err != nil {
			t.Errorf("$ref %s: %v", ref, err)
		}
	})
	var calls []string
	for path, methods := range d.Paths {
		for method := range methods {
			if method != "servers" {
				calls = append(calls, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(calls)
	want := []string{
		"GET /capabilities", "GET /items", "GET /levels", "GET /listings", "GET /locations", "GET /movements", "GET /orders", "GET /orders/{key}", "GET /webhooks",
		"POST /corrections", "POST /listings/resume", "POST /listings/stop", "POST /orders", "POST /orders/{key}/amend", "POST /orders/{key}/cancel",
		"POST /remedies", "POST /shipments", "POST /stock/read", "POST /stock/write", "POST /webhooks", "POST /webhooks/{connection}",
	}
	if !slices.Equal(calls, want) {
		t.Errorf("the calls are\n%q\nnot\n%q", calls, want)
	}
	kinds := []string{string(connectors.StockChanged)}
	for kind := range sentBy {
		kinds = append(kinds, string(kind))
	}
	slices.Sort(kinds)
	if got := slices.Sorted(maps.Keys(d.Webhooks)); !slices.Equal(got, kinds) {
		t.Errorf("the webhooks are %q, and the connector knows %q", got, kinds)
	}
}

func walk(v any, ref func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if text, ok := inner.(string); ok && key == "$ref" {
				ref(text)
			}
			walk(inner, ref)
		}
	case []any:
		for _, inner := range v {
			walk(inner, ref)
		}
	}
}

func resolve(root map[string]any, ref string) (any, error) {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil, fmt.Errorf("it leaves the document")
	}
	var at any = root
	for part := range strings.SplitSeq(path, "/") {
		m, ok := at.(map[string]any)
		if !ok || m[part] == nil {
			return nil, fmt.Errorf("there is no %s", part)
		}
		at = m[part]
	}
	return at, nil
}
