package mapping

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

func listing(components ...Component) Link {
	return Link{Connection: "shop", Ref: connectors.Ref{Item: "i"}, Components: components}
}

func TestFlatten(t *testing.T) {
	tests := map[string]struct {
		table Table
		want  []Component
		err   string
	}{
		"no kit":  {Table{Links: []Link{listing(Component{"B", 2}, Component{"A", 1})}}, []Component{{"A", 1}, {"B", 2}}, ""},
		"one kit": {Table{[]Link{listing(Component{"K", 2})}, []Kit{{"K", []Component{{"A", 3}}}}}, []Component{{"A", 6}}, ""},
		"nested, summed over branches": {
			Table{
				[]Link{listing(Component{"K", 2}, Component{"A", 1})},
				[]Kit{{"K", []Component{{"A", 3}, {"L", 4}}}, {"L", []Component{{"A", 1}, {"B", 5}}}},
			},
			[]Component{{"A", 15}, {"B", 40}}, "",
		},
		"the most units": {Table{[]Link{listing(Component{"K", 1000})}, []Kit{{"K", []Component{{"A", 1000}}}}}, []Component{{"A", 1_000_000}}, ""},
		"one more": {Table{[]Link{listing(Component{"K", 1000}, Component{"A", 1})}, []Kit{{"K", []Component{{"A", 1000}}}}}, nil,
			"flatten listing i of shop: flattened, it holds 1000001 units of A: at most 1000000 are taken"},
		"cycle": {Table{[]Link{listing(Component{"K", 1})}, []Kit{{"K", []Component{{"B", 1}}}, {"B", []Component{{"A", 1}}}, {"A", []Component{{"B", 1}}}}}, nil,
			"flatten listing i of shop: kits contain each other in a cycle: A → B → A"},
		"units out of range": {Table{Links: []Link{listing(Component{"A", 1 << 62})}}, nil,
			"flatten listing i of shop: it holds 4611686018427387904 units of A: a pack holds from 1 to 1000000 units"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			links, err := tt.table.Flatten()
			if tt.err != "" {
				if err == nil || err.Error() != tt.err || links != nil {
					t.Fatalf("got %v, %v\nwant %s", links, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(links[0].Components, tt.want) {
				t.Errorf("got %v, want %v", links[0].Components, tt.want)
			}
		})
	}
}

// chain is a file in which kit k0 contains k1, and so on; the last contains a plain SKU.
func chain(depth int) string {
	var b strings.Builder
	b.WriteString("connection,item,sku\nshop,i,k00\n")
	for i := range depth {
		fmt.Fprintf(&b, "kit,k%02d,k%02d\n", i, i+1)
	}
	return b.String()
}

func TestNestingIsBounded(t *testing.T) {
	table, errs := Parse(strings.NewReader(chain(MaxDepth)), known)
	if errs != nil {
		t.Fatal(errs)
	}
	links, err := table.Flatten()
	if err != nil || !reflect.DeepEqual(links[0].Components, []Component{{"k32", 1}}) {
		t.Errorf("got %v, %v", links, err)
	}
	_, errs = Parse(strings.NewReader(chain(MaxDepth+2)), known)
	want := []RowError{
		{Line: 3, Field: "item", Value: "k00", Reason: "kit k00 is nested more than 32 levels deep"},
		{Line: 4, Field: "item", Value: "k01", Reason: "kit k01 is nested more than 32 levels deep"},
	}
	if !reflect.DeepEqual(errs, want) {
		t.Errorf("got %v", errs)
	}
}

// TestNestingIsBoundedInAnyOrder resolves the inner kits before the outer ones.
func TestNestingIsBoundedInAnyOrder(t *testing.T) {
	var b strings.Builder
	b.WriteString("connection,item,sku\n")
	for i := range MaxDepth + 1 {
		fmt.Fprintf(&b, "kit,k%02d,k%02d\n", i+1, i)
	}
	_, errs := Parse(strings.NewReader(b.String()), known)
	if len(errs) != 1 || errs[0].Value != "k33" {
		t.Errorf("got %v", errs)
	}
}

func TestComponentsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("connection,item,sku\n")
	for i := range MaxComponents + 1 {
		fmt.Fprintf(&b, "shop,i,s%d\n", i)
	}
	_, errs := Parse(strings.NewReader(b.String()), known)
	if len(errs) != 1 || errs[0].Error() != `line 2: item "i": flattened, it holds more than 256 different SKUs` {
		t.Errorf("got %v", errs)
	}
}

// TestFlattenAgainstTree unfolds random tables, whose kits contain only kits with a greater number, into single units
// and counts these.
func TestFlattenAgainstTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := func(i int) stock.SKU { return stock.SKU(fmt.Sprintf("s%d", i)) }
		const skus = 8
		draw := func(from int, label string) []Component {
			var out []Component
			for i := from; i < skus; i++ {
				if rapid.Bool().Draw(t, label) {
					out = append(out, Component{name(i), stock.Quantity(rapid.IntRange(1, 3).Draw(t, label))})
				}
			}
			if len(out) == 0 {
				out = []Component{{name(skus), 1}}
			}
			return out
		}
		table := Table{Links: []Link{listing(draw(0, "listing")...)}}
		kits := make(map[stock.SKU][]Component)
		for i := range skus {
			if rapid.Bool().Draw(t, "is a kit") {
				kits[name(i)] = draw(i+1, "kit")
				table.Kits = append(table.Kits, Kit{name(i), kits[name(i)]})
			}
		}

		want := make(map[stock.SKU]stock.Quantity)
		var unfold func(stock.SKU)
		unfold = func(sku stock.SKU) {
			components, isKit := kits[sku]
			if !isKit {
				want[sku]++
				return
			}
			for _, c := range components {
				for range c.Units {
					unfold(c.SKU)
				}
			}
		}
		for _, c := range table.Links[0].Components {
			for range c.Units {
				unfold(c.SKU)
			}
		}

		links, err := table.Flatten()
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[stock.SKU]stock.Quantity)
		for i, c := range links[0].Components {
			got[c.SKU] = c.Units
			if i > 0 && c.SKU <= links[0].Components[i-1].SKU {
				t.Fatalf("not sorted, or a SKU stands twice: %v", links[0].Components)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		table.Links = links
		if again, err := table.Flatten(); err != nil || !reflect.DeepEqual(again, links) {
			t.Fatalf("flattening again changed it: %v, %v", again, err)
		}
	})
}

// TestCyclesAreFound compares NewTable on random graphs of kits with a search for a way from a kit back to itself.
func TestCyclesAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const skus = 6
		var edge [skus][skus]bool
		var rows []Row
		for i := range skus {
			for j := range skus {
				if rapid.IntRange(0, 5).Draw(t, "edge") == 0 {
					edge[i][j] = true
					rows = append(rows, Row{Line: len(rows) + 2, Connection: KitConnection, Item: fmt.Sprint("s", i), SKU: stock.SKU(fmt.Sprint("s", j)), Units: 1})
				}
			}
		}
		reach := edge
		for k := range skus {
			for i := range skus {
				for j := range skus {
					reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
				}
			}
		}
		cyclic := false
		for i := range skus {
			cyclic = cyclic || reach[i][i]
		}
		_, errs := NewTable(rows)
		if cyclic != (len(errs) > 0) {
			t.Fatalf("a cycle exists: %v; errors: %v", cyclic, errs)
		}
		for _, e := range errs {
			names := strings.Split(strings.TrimPrefix(e.Reason, "kits contain each other in a cycle: "), " → ")
			if names[0] != names[len(names)-1] || names[0] != e.Value {
				t.Fatalf("not a cycle from its own kit: %v", e)
			}
			for i := 1; i < len(names); i++ {
				if !edge[names[i-1][1]-'0'][names[i][1]-'0'] {
					t.Fatalf("%v: %s does not contain %s", e, names[i-1], names[i])
				}
			}
		}
	})
}
