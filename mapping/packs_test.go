package mapping

import (
	"reflect"
	"testing"

	"github.com/truestock/truestock/stock"
)

func offerOf(atp map[stock.SKU]stock.Quantity, p stock.Policy) func(stock.SKU, stock.Quantity) stock.Quantity {
	return func(sku stock.SKU, units stock.Quantity) stock.Quantity { return p.Offer(atp[sku], units).Quantity }
}

func TestPacks(t *testing.T) {
	tests := map[string]struct {
		components []Component
		atp        map[stock.SKU]stock.Quantity
		policy     stock.Policy
		want       stock.Quantity
	}{
		"no components":     {nil, map[stock.SKU]stock.Quantity{"A": 9}, stock.Policy{}, 0},
		"single":            {[]Component{{"A", 1}}, map[stock.SKU]stock.Quantity{"A": 9}, stock.Policy{}, 9},
		"pack, rounded":     {[]Component{{"A", 6}}, map[stock.SKU]stock.Quantity{"A": 17}, stock.Policy{}, 2},
		"bundle":            {[]Component{{"A", 2}, {"B", 3}}, map[stock.SKU]stock.Quantity{"A": 100, "B": 11}, stock.Policy{}, 3},
		"a component gone":  {[]Component{{"A", 2}, {"B", 3}}, map[stock.SKU]stock.Quantity{"A": 100}, stock.Policy{}, 0},
		"oversold":          {[]Component{{"A", 1}}, map[stock.SKU]stock.Quantity{"A": -4}, stock.Policy{}, 0},
		"policy per part":   {[]Component{{"A", 2}, {"B", 1}}, map[stock.SKU]stock.Quantity{"A": 10, "B": 10}, stock.Policy{Buffer: 5}, 2},
		"the largest stock": {[]Component{{"A", 1}}, map[stock.SKU]stock.Quantity{"A": stock.MaxQuantity}, stock.Policy{}, stock.MaxQuantity},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Packs(tt.components, offerOf(tt.atp, tt.policy)); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestPacksIsNeverNegative(t *testing.T) {
	if got := Packs([]Component{{"A", 1}}, func(stock.SKU, stock.Quantity) stock.Quantity { return -3 }); got != 0 {
		t.Errorf("got %d", got)
	}
}

func TestShipped(t *testing.T) {
	bundle := []Component{{"A", 2}, {"B", 1}}
	tests := map[string]struct {
		components []Component
		shipped    map[stock.SKU]stock.Quantity
		want       stock.Quantity
	}{
		"nothing":             {bundle, nil, 0},
		"a part alone":        {bundle, map[stock.SKU]stock.Quantity{"A": 4}, 0},
		"a whole and a part":  {bundle, map[stock.SKU]stock.Quantity{"A": 5, "B": 1}, 1},
		"two":                 {bundle, map[stock.SKU]stock.Quantity{"A": 4, "B": 2}, 2},
		"half a pack":         {[]Component{{"A", 6}}, map[stock.SKU]stock.Quantity{"A": 11}, 1},
		"below zero":          {[]Component{{"A", 6}}, map[stock.SKU]stock.Quantity{"A": -12}, 0},
		"units not set":       {[]Component{{"A", 0}}, map[stock.SKU]stock.Quantity{"A": 2}, 2},
		"without a component": {nil, map[stock.SKU]stock.Quantity{"A": 2}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Shipped(tt.components, tt.shipped); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestExplode(t *testing.T) {
	parts, err := Explode([]Component{{"A", 2}, {"B", 3}}, 4)
	if want := []Part{{"A", 8}, {"B", 12}}; err != nil || !reflect.DeepEqual(parts, want) {
		t.Errorf("got %v, %v, want %v", parts, err, want)
	}
	if parts, err := Explode([]Component{{"A", 1000}}, stock.MaxQuantity/1000); err != nil || parts[0].Quantity != stock.MaxQuantity {
		t.Errorf("the largest: got %v, %v", parts, err)
	}
	for want, explode := range map[string]func() ([]Part, error){
		"explode -1 packs: the number is below 0":                                           func() ([]Part, error) { return Explode(nil, -1) },
		"explode 1000000001 packs of 1000 units of A: the sum is above 1000000000000":       func() ([]Part, error) { return Explode([]Component{{"A", 1000}}, stock.MaxQuantity/1000+1) },
		"explode 1 packs: a pack holds 0 units of A: it must hold from 1 to 1000000":        func() ([]Part, error) { return Explode([]Component{{"A", 0}}, 1) },
		"explode 4611686018427387904 packs of 4 units of A: the sum is above 1000000000000": func() ([]Part, error) { return Explode([]Component{{"A", 4}}, 1<<62) },
		"explode 9223372036854775807 packs of 1 units of A: the sum is above 1000000000000": func() ([]Part, error) { return Explode([]Component{{"A", 1}}, 1<<63-1) },
		"explode 1 packs: a pack holds 1000001 units of A: it must hold from 1 to 1000000":  func() ([]Part, error) { return Explode([]Component{{"A", stock.MaxUnits + 1}}, 1) },
		"explode 1 packs: a pack holds -1000000 units of A: it must hold from 1 to 1000000": func() ([]Part, error) { return Explode([]Component{{"A", -stock.MaxUnits}}, 1) },
	} {
		if parts, err := explode(); err == nil || err.Error() != want || parts != nil {
			t.Errorf("got %v, %v, want %s", parts, err, want)
		}
	}
}

// FuzzPacks checks the sums of packs: what is offered never takes more of a part than there is, one pack more would,
// and what was exploded and shipped whole counts as that many packs.
func FuzzPacks(f *testing.F) {
	f.Add(int64(17), int64(100), int64(6), int64(1))
	f.Add(int64(-5), int64(0), int64(1), int64(1_000_000))
	f.Add(int64(stock.MaxQuantity), int64(stock.MaxQuantity), int64(1), int64(1))
	f.Fuzz(func(t *testing.T, haveA, haveB, unitsA, unitsB int64) {
		in := func(n int64, least, most stock.Quantity) stock.Quantity {
			return min(most, max(least, stock.Quantity(n)))
		}
		have := map[stock.SKU]stock.Quantity{"A": in(haveA, -stock.MaxQuantity, stock.MaxQuantity), "B": in(haveB, -stock.MaxQuantity, stock.MaxQuantity)}
		components := []Component{{"A", in(unitsA, 1, stock.MaxUnits)}, {"B", in(unitsB, 1, stock.MaxUnits)}}

		packs := Packs(components, offerOf(have, stock.Policy{}))
		if packs < 0 {
			t.Fatalf("%d packs", packs)
		}
		fitsMore := true
		for _, c := range components {
			if packs > 0 && packs*c.Units > have[c.SKU] {
				t.Fatalf("%d packs of %d take more than the %d of %s", packs, c.Units, have[c.SKU], c.SKU)
			}
			fitsMore = fitsMore && (packs+1)*c.Units <= have[c.SKU]
		}
		if fitsMore {
			t.Fatalf("%d packs of %v of %v: one more fits", packs, components, have)
		}
		parts, err := Explode(components, packs)
		if err != nil {
			t.Fatal(err)
		}
		shipped := make(map[stock.SKU]stock.Quantity)
		for _, p := range parts {
			shipped[p.SKU] = p.Quantity
		}
		if got := Shipped(components, shipped); got != packs {
			t.Fatalf("%d packs shipped count as %d", packs, got)
		}
		if packs > 0 {
			shipped["A"]--
			if got := Shipped(components, shipped); got != packs-1 {
				t.Fatalf("%d packs less one unit count as %d", packs, got)
			}
		}
	})
}
