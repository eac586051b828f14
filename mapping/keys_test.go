package mapping

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

func TestOrderKey(t *testing.T) {
	if got := OrderKey("shop", "100:2"); got != "shop:100:2" {
		t.Errorf("got %q", got)
	}
	tests := map[string]struct {
		channel stock.ConnectionID
		orderID string
		ok      bool
	}{
		"shop:1": {"shop", "1", true}, "shop:100:2": {"shop", "100:2", true}, "shop::": {"shop", ":", true},
		"shop": {}, "shop:": {}, ":1": {}, ":": {}, "": {},
	}
	for key, want := range tests {
		channel, orderID, ok := ParseOrderKey(key)
		if channel != want.channel || orderID != want.orderID || ok != want.ok {
			t.Errorf("%q: got %q, %q, %v", key, channel, orderID, ok)
		}
	}
}

func FuzzOrderKey(f *testing.F) {
	f.Add("shop", "1")
	f.Add("shop", ":1:")
	f.Fuzz(func(t *testing.T, channel, orderID string) {
		if channel == "" || orderID == "" || strings.Contains(channel, ":") {
			return
		}
		gotChannel, gotID, ok := ParseOrderKey(OrderKey(stock.ConnectionID(channel), orderID))
		if !ok || string(gotChannel) != channel || gotID != orderID {
			t.Fatalf("%q, %q came back as %q, %q, %v", channel, orderID, gotChannel, gotID, ok)
		}
	})
}

func TestRecordLines(t *testing.T) {
	lines, err := RecordLines([]SoldLine{
		{LineID: "1", Components: []Component{{"A", 6}}, Packs: 2},
		{LineID: "2", Components: []Component{{"A", 1}, {"B", 2}}, Packs: 3},
		{LineID: "3", Components: []Component{{"A", 1}}, Packs: 0},
	})
	want := []connectors.OrderLine{
		{LineID: "1", SKU: "A", Quantity: 12},
		{LineID: "2/A", SKU: "A", Quantity: 3},
		{LineID: "2/B", SKU: "B", Quantity: 6},
		{LineID: "3", SKU: "A", Quantity: 0},
	}
	if err != nil || !reflect.DeepEqual(lines, want) {
		t.Errorf("got %v, %v", lines, err)
	}
}

func TestRecordLinesRefuses(t *testing.T) {
	single, bundle := []Component{{"A", 1}}, []Component{{"A", 1}, {"B", 1}}
	tests := map[string]struct {
		lines []SoldLine
		want  string
	}{
		"a line id like a bundle's": {[]SoldLine{{"1", bundle, 1}, {"1/A", single, 1}}, `lines "1" and "1/A" would both be called "1/A" at the system of record`},
		"a SKU with a slash": {[]SoldLine{{"1", []Component{{"A/B", 1}, {"C", 1}}, 1}, {"1/A", bundle, 1}},
			`lines "1" and "1/A" would both be called "1/A/B" at the system of record`},
		"the same line twice": {[]SoldLine{{"1", single, 1}, {"1", single, 1}}, `lines "1" and "1" would both be called "1" at the system of record`},
		"no components":       {[]SoldLine{{"1", nil, 1}}, `line 1 sells a listing without components: map the listing first`},
		"too much":            {[]SoldLine{{"1", single, stock.MaxQuantity + 1}}, `line 1: explode 1000000000001 packs of 1 units of A: the sum is above 1000000000000`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			lines, err := RecordLines(tt.lines)
			if err == nil || err.Error() != tt.want || lines != nil {
				t.Errorf("got %v, %v", lines, err)
			}
		})
	}
}

// TestRecordLineIDsAreUnique draws orders whose ids and SKUs are full of slashes: either all ids differ or the order is
// refused, and an order without slashes is never refused.
func TestRecordLineIDsAreUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slashes := rapid.Bool().Draw(t, "slashes")
		letters := "ab"
		if slashes {
			letters = "a/"
		}
		word := rapid.StringOfN(rapid.SampledFrom([]rune(letters)), 1, 4, -1)
		var lines []SoldLine
		for _, id := range rapid.SliceOfNDistinct(word, 1, 4, rapid.ID[string]).Draw(t, "lines") {
			var components []Component
			for _, sku := range rapid.SliceOfNDistinct(word, 1, 3, rapid.ID[string]).Draw(t, "skus") {
				components = append(components, Component{stock.SKU(sku), 1})
			}
			lines = append(lines, SoldLine{LineID: id, Components: components, Packs: 1})
		}
		out, err := RecordLines(lines)
		if err != nil {
			if !slashes {
				t.Fatal(err)
			}
			return
		}
		seen := make(map[string]bool)
		for _, l := range out {
			if seen[l.LineID] {
				t.Fatalf("%q stands twice in %v", l.LineID, out)
			}
			seen[l.LineID] = true
		}
	})
}

func TestLocations(t *testing.T) {
	berlin, whole := []stock.LocationID{"B1", "B2"}, []stock.LocationID{"main"}
	tests := map[string]struct {
		places Places
		place  string
		want   []stock.LocationID
		ok     bool
	}{
		"nothing set: all":              {nil, "", nil, true},
		"nothing set, a place: all":     {Places{}, "berlin", nil, true},
		"the whole channel":             {Places{"": whole}, "", whole, true},
		"a place of a whole channel":    {Places{"": whole}, "berlin", whole, true},
		"a named place":                 {Places{"": whole, "berlin": berlin}, "berlin", berlin, true},
		"no place, others named":        {Places{"": whole, "berlin": berlin}, "", whole, true},
		"no place, only others named":   {Places{"berlin": berlin}, "", nil, true},
		"another place":                 {Places{"berlin": berlin}, "munich", nil, false},
		"another place, default exists": {Places{"": whole, "berlin": berlin}, "munich", nil, false},
		"named without locations":       {Places{"berlin": nil}, "berlin", nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := tt.places.Locations(tt.place)
			if !reflect.DeepEqual(got, tt.want) || ok != tt.ok {
				t.Errorf("got %v, %v, want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}
