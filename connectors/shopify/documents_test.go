package shopify_test

import (
	"slices"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"github.com/truestock/truestock/connectors/shopify"
)

func validate(t *testing.T, schema *ast.Schema, name, text string) (*ast.QueryDocument, gqlerror.List) {
	t.Helper()
	doc, err := parser.ParseQuery(&ast.Source{Name: name, Input: text})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return doc, validator.ValidateWithRules(schema, doc, rules.NewDefaultRules())
}

// TestDocuments validates every document in every version, and wants no field that Shopify is about to take away.
func TestDocuments(t *testing.T) {
	for _, version := range shopify.Versions {
		t.Run(version, func(t *testing.T) {
			schema := schemaOf(t, version)
			for name, text := range shopify.Documents {
				doc, errs := validate(t, schema, name, text)
				for _, e := range errs {
					t.Errorf("%s: %v", name, e)
				}
				if doc.Operations[0].Name != name {
					t.Errorf("%s is called %s", name, doc.Operations[0].Name)
				}
				for _, set := range append(selections(doc.Fragments), doc.Operations[0].SelectionSet) {
					deprecated(t, name, set)
				}
			}
		})
	}
}

func selections(fragments ast.FragmentDefinitionList) []ast.SelectionSet {
	var sets []ast.SelectionSet
	for _, f := range fragments {
		sets = append(sets, f.SelectionSet)
	}
	return sets
}

func deprecated(t *testing.T, name string, set ast.SelectionSet) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			if s.Definition != nil && s.Definition.Directives.ForName("deprecated") != nil {
				t.Errorf("%s asks for %s, which is deprecated", name, s.Name)
			}
			deprecated(t, name, s.SelectionSet)
		case *ast.InlineFragment:
			deprecated(t, name, s.SelectionSet)
		}
	}
}

// TestVersionsDiffer: the schemas are of different versions, and refuse what is not in them.
func TestVersionsDiffer(t *testing.T) {
	const set = `mutation { inventorySetQuantities(input: {name: "available", reason: "correction", quantities: [{inventoryItemId: "1", locationId: "2", quantity: 3, `
	for line, in := range map[string][]string{
		`compareQuantity: 4}]}) { userErrors { code } } }`:                          {"2026-01"},
		`changeFromQuantity: null}]}) { userErrors { code } } }`:                    shopify.Versions,
		`changeFromQuantity: 4}]}) @idempotent { userErrors { code } } }`:           nil, // without a key
		`changeFromQuantity: "4"}]}) { userErrors { code } } }`:                     nil,
		`changeFromQuantity: 4}]}) { userErrors { code explanation } } }`:           nil,
		`changeFromQuantity: 4}]}) @idempotent(key: "k") { userErrors { code } } }`: shopify.Versions,
	} {
		var valid []string
		for _, version := range shopify.Versions {
			if _, errs := validate(t, schemaOf(t, version), "set", set+line); len(errs) == 0 {
				valid = append(valid, version)
			}
		}
		if !slices.Equal(valid, in) {
			t.Errorf("%s is valid in %v, not in %v", line, valid, in)
		}
	}
}
