package stock_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestResolve(t *testing.T) {
	o := stock.Overrides{
		Default: stock.Override{SharePermille: new(int64(900)), SafetyStock: new(stock.Quantity(5)), Buffer: new(stock.Quantity(2)),
			Cap: new(stock.Quantity(50)), OversellPermille: new(int64(1100))},
		Channel: stock.Override{SharePermille: new(int64(500)), Buffer: new(stock.Quantity(0)),
			LastUnits: new(stock.Quantity(3)), PreferredChannel: new(stock.ConnectionID("shop"))},
		SKU:     stock.Override{SafetyStock: new(stock.Quantity(60)), Cap: new(stock.MaxQuantity), OversellPermille: new(int64(1000))},
		Listing: stock.Override{SharePermille: new(int64(1000)), Minimum: new(stock.Quantity(70))},
	}
	p, origins, err := o.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	want := stock.Policy{SharePermille: new(int64(1000)), SafetyStock: 60, OversellPermille: 1000, LastUnits: 3, PreferredChannel: "shop",
		Cap: new(stock.MaxQuantity), Minimum: 70}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("the policy is %+v, want %+v", p, want)
	}
	wantOrigins := []stock.Origin{
		{Field: "share_permille", Scope: stock.ScopeListing}, {Field: "safety_stock", Scope: stock.ScopeSKU},
		{Field: "buffer", Scope: stock.ScopeChannel}, {Field: "velocity_buffer_permille", Scope: stock.ScopeNone},
		{Field: "oversell_permille", Scope: stock.ScopeSKU}, {Field: "threshold", Scope: stock.ScopeNone},
		{Field: "last_units", Scope: stock.ScopeChannel}, {Field: "preferred_channel", Scope: stock.ScopeChannel},
		{Field: "minimum", Scope: stock.ScopeListing}, {Field: "cap", Scope: stock.ScopeSKU},
	}
	if !reflect.DeepEqual(origins, wantOrigins) {
		t.Errorf("the origins are %+v, want %+v", origins, wantOrigins)
	}
	if text, err := json.Marshal(origins[0]); err != nil || string(text) != `{"field":"share_permille","scope":"listing"}` {
		t.Errorf("an origin is written %s, %v", text, err)
	}
}

func TestResolveRefuses(t *testing.T) {
	five := stock.Override{Cap: new(stock.Quantity(5))}
	tests := []struct {
		title     string
		overrides stock.Overrides
		want      string
	}{
		{"a field of one scope", stock.Overrides{SKU: stock.Override{SafetyStock: new(stock.Quantity(-1))}},
			"safety_stock is -1: it must be from 0 to 1000000000000 (sku)"},
		{"a field that a stronger scope hides", stock.Overrides{Default: stock.Override{Buffer: new(stock.Quantity(-1))},
			Listing: stock.Override{Buffer: new(stock.Quantity(1))}}, "buffer is -1: it must be from 0 to 1000000000000 (default)"},
		{"a ratio of zero", stock.Overrides{Channel: stock.Override{OversellPermille: new(int64(0))}},
			"oversell_permille is 0: it must be from 1000 to 2000 (channel)"},
		{"half of a setting", stock.Overrides{SKU: stock.Override{LastUnits: new(stock.Quantity(2))}},
			"last_units and preferred_channel are one setting: give both or neither (sku)"},
		{"two scopes together", stock.Overrides{Default: five, Listing: stock.Override{Minimum: new(stock.Quantity(6))}},
			"minimum 6 (listing) is above cap 5 (default)"},
	}
	for _, tt := range tests {
		_, _, err := tt.overrides.Resolve()
		var field *stock.FieldError
		if err == nil || err.Error() != tt.want || !errors.As(err, &field) {
			t.Errorf("%s: error %v, want %q", tt.title, err, tt.want)
		}
	}
}

func TestScopesAreWrittenAndRead(t *testing.T) {
	for s := stock.ScopeNone; s <= stock.ScopeListing; s++ {
		var read stock.Scope
		text, _ := s.MarshalText()
		if err := read.UnmarshalText(text); err != nil || read != s {
			t.Errorf("%v is read as %v, %v", s, read, err)
		}
	}
	if _, err := stock.ParseScope("brand"); err == nil {
		t.Error("an unknown scope is taken")
	}
}

// TestTheStrongestScopeWins compares Resolve of one field with the rule in words, over every choice of scopes.
func TestTheStrongestScopeWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Ptr(rapid.Map(rapid.Int64Range(0, 1000), func(n int64) stock.Quantity { return stock.Quantity(n) }), true)
		layers := [4]*stock.Quantity{}
		for i := range layers {
			layers[i] = value.Draw(t, "layer")
		}
		p, origins, err := stock.Overrides{
			Default: stock.Override{Buffer: layers[0]}, Channel: stock.Override{Buffer: layers[1]},
			SKU: stock.Override{Buffer: layers[2]}, Listing: stock.Override{Buffer: layers[3]},
		}.Resolve()
		if err != nil {
			t.Fatal(err)
		}
		want, scope := stock.Quantity(0), stock.ScopeNone
		for i, v := range layers {
			if v != nil {
				want, scope = *v, stock.Scope(i+1)
			}
		}
		if p.Buffer != want || origins[2] != (stock.Origin{Field: "buffer", Scope: scope}) {
			t.Fatalf("buffer is %d from %v, want %d from %v", p.Buffer, origins[2], want, scope)
		}
	})
}
