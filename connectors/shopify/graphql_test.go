package shopify_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// object is a value of an object type. A field is a value, or a function of the field's arguments.
type object struct {
	typ    string
	fields map[string]any
}

type resolver = func(args map[string]any) any

// idempotencyKey is among the arguments of a field with the directive.
const idempotencyKey = "@idempotent"

// execution answers one operation from objects, by the rules of the schema: what the schema does not promise, or promises
// and the objects lack, is a fault of the pretend shop, which is told to broken.
type execution struct {
	schema *ast.Schema
	vars   map[string]any
	broken func(format string, args ...any)
}

// selection answers a selection set.
func (x *execution) selection(o *object, set ast.SelectionSet) map[string]any {
	out := map[string]any{}
	for _, group := range x.collect(o.typ, set) {
		first := group[0]
		var inner ast.SelectionSet
		for _, f := range group {
			inner = append(inner, f.SelectionSet...)
		}
		key := first.Alias
		value, there := o.fields[first.Name]
		if !there {
			x.broken("the pretend %s has no field %s", o.typ, first.Name)
		}
		if f, ok := value.(resolver); ok {
			args := first.ArgumentMap(x.vars)
			args[idempotencyKey] = keyOf(first, x.vars)
			value = f(args)
		}
		out[key] = x.complete(o.typ+"."+first.Name, first.Definition.Type, value, inner)
	}
	return out
}

// collect gathers the fields of a selection set by the name in the answer, through fragments that apply to the type.
func (x *execution) collect(typ string, set ast.SelectionSet) [][]*ast.Field {
	var groups [][]*ast.Field
	at := map[string]int{}
	var walk func(ast.SelectionSet)
	walk = func(set ast.SelectionSet) {
		for _, s := range set {
			switch s := s.(type) {
			case *ast.Field:
				if d := s.Directives.ForName("include"); d != nil && d.ArgumentMap(x.vars)["if"] == false {
					continue
				}
				i, seen := at[s.Alias]
				if !seen {
					i = len(groups)
					at[s.Alias] = i
					groups = append(groups, nil)
				}
				groups[i] = append(groups[i], s)
			case *ast.InlineFragment:
				if x.is(typ, s.TypeCondition) {
					walk(s.SelectionSet)
				}
			case *ast.FragmentSpread:
				if x.is(typ, s.Definition.TypeCondition) {
					walk(s.Definition.SelectionSet)
				}
			}
		}
	}
	walk(set)
	return groups
}

// is reports whether the object type is the type, or one of it.
func (x *execution) is(typ, of string) bool {
	return typ == of || slices.ContainsFunc(x.schema.PossibleTypes[of], func(d *ast.Definition) bool { return d.Name == typ })
}

// complete fits a value into its type.
func (x *execution) complete(where string, typ *ast.Type, value any, inner ast.SelectionSet) any {
	if o, ok := value.(*object); value == nil || ok && o == nil {
		if typ.NonNull {
			x.broken("%s is null, and must not be", where)
		}
		return nil
	}
	if typ.Elem != nil {
		list, ok := value.([]any)
		if !ok {
			x.broken("%s is %T, not a list", where, value)
			return nil
		}
		out := make([]any, len(list))
		for i, v := range list {
			out[i] = x.complete(fmt.Sprintf("%s.%d", where, i), typ.Elem, v, inner)
		}
		return out
	}
	def := x.schema.Types[typ.Name()]
	switch def.Kind {
	case ast.Object, ast.Interface, ast.Union:
		o, ok := value.(*object)
		if !ok || !x.is(o.typ, def.Name) {
			x.broken("%s is %v, not a %s", where, value, def.Name)
			return nil
		}
		return x.selection(o, inner)
	case ast.Enum:
		text, ok := value.(string)
		if !ok || def.EnumValues.ForName(text) == nil {
			x.broken("%s is %v, which %s does not have", where, value, def.Name)
		}
		return value
	}
	x.scalar(where, def.Name, value)
	return value
}

func (x *execution) scalar(where, typ string, value any) {
	var ok bool
	switch typ {
	case "Int":
		var n int
		n, ok = value.(int)
		ok = ok && n >= -1<<31 && n < 1<<31
	case "Boolean":
		_, ok = value.(bool)
	case "String", "ID", "DateTime", "URL", "UnsignedInt64":
		_, ok = value.(string)
	}
	if !ok {
		x.broken("%s is %v (%T), not a %s", where, value, value, typ)
	}
}

// cost is what Shopify asks for a selection set: a scalar is free, an object costs 1, a connection 2 and its objects, and a
// list its objects.
//
// https://shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits
func (x *execution) cost(set ast.SelectionSet) int {
	sum := 0
	for _, s := range set {
		switch s := s.(type) {
		case *ast.InlineFragment:
			sum += x.cost(s.SelectionSet)
		case *ast.FragmentSpread:
			sum += x.cost(s.Definition.SelectionSet)
		case *ast.Field:
			sum += x.fieldCost(s)
		}
	}
	return sum
}

func (x *execution) fieldCost(f *ast.Field) int {
	def := x.schema.Types[f.Definition.Type.Name()]
	if def == nil || def.IsLeafType() {
		return 0
	}
	args := f.ArgumentMap(x.vars)
	times := 1
	if ids, ok := args["ids"].([]any); ok {
		times = len(ids)
	}
	if first, ok := whole(args["first"]); ok {
		times = first
	}
	if strings.HasSuffix(def.Name, "Connection") {
		nodes, rest := 0, 0
		for _, s := range f.SelectionSet {
			if n, ok := s.(*ast.Field); ok && n.Name == "nodes" {
				nodes += 1 + x.cost(n.SelectionSet)
			} else {
				rest += x.cost(ast.SelectionSet{s})
			}
		}
		return 2 + rest + times*nodes
	}
	return times * (1 + x.cost(f.SelectionSet))
}

// whole reads a number of a variable or a literal.
func whole(v any) (int, bool) {
	switch n := v.(type) {
	case int:
		return n, true
	case int64:
		return int(n), true
	case float64:
		return int(n), n == float64(int(n))
	}
	return 0, false
}
