package stock_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestUnlimitedRuleValidate(t *testing.T) {
	for want, u := range map[string]stock.UnlimitedRule{
		"cap is -1: it must be from 0 to 1000000000000":                    {Cap: -1},
		"surge_permille is 1001: it must be from 0 to 1000":                {SurgePermille: 1001},
		"scale_out_permille is 1000: it must be from 0 to 999":             {ScaleOutPermille: 1000},
		"abilities[0].most is -1: it must be from 0 to 1000000000000":      {Abilities: []stock.Ability{{Most: -1, Per: 1}}},
		"abilities[0].per is 0s: it must be a time, such as 1s, 1m or 24h": {Abilities: []stock.Ability{{Most: 1}}},
		"cost.fee_permille is 1001: it must be from 0 to 1000":             {Cost: &stock.Cost{FeePermille: 1001}},
		"cost.budget is -1: it must be from 0 to 1000000000000":            {Cost: &stock.Cost{Budget: new(int64(-1))}},
	} {
		if err := u.Validate(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestEffectiveCap(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		title  string
		rule   stock.UnlimitedRule
		length time.Duration
		want   stock.Quantity
		bounds []stock.Bound
	}{
		{"what a person allows", stock.UnlimitedRule{Cap: 500}, day, 500, []stock.Bound{{Reason: "configured cap", Most: 500}}},
		{"what the service bears in a day of 25 hours", stock.UnlimitedRule{Cap: 1_000_000, Abilities: []stock.Ability{{Most: 2, Per: time.Minute}, {Most: 5000, Per: day}}}, 25 * time.Hour, 3000,
			[]stock.Bound{{Reason: "configured cap", Most: 1_000_000}, {Reason: "ability of 2 per 1m0s", Most: 3000}, {Reason: "ability of 5000 per 24h0m0s", Most: 5208}}},
		// 10000 ÷ 30, and 100 less 100 ‰ bring 90.
		{"what the budget pays", stock.UnlimitedRule{Cap: 500, Cost: &stock.Cost{UnitCost: 30, Price: 100, FeePermille: 100, Budget: new(int64(10_000))}}, day, 333,
			[]stock.Bound{{Reason: "configured cap", Most: 500}, {Reason: "budget of 10000 at 30 a unit", Most: 333}}},
		{"a unit that loses", stock.UnlimitedRule{Cap: 500, Cost: &stock.Cost{UnitCost: 91, Price: 100, FeePermille: 100}}, day, 0,
			[]stock.Bound{{Reason: "configured cap", Most: 500}, {Reason: "a unit costs 91 and brings 90", Most: 0}}},
		{"a unit that just pays", stock.UnlimitedRule{Cap: 500, Cost: &stock.Cost{UnitCost: 90, Price: 100, FeePermille: 100}}, day, 500,
			[]stock.Bound{{Reason: "configured cap", Most: 500}}},
		{"an ability without end", stock.UnlimitedRule{Cap: stock.MaxQuantity, Abilities: []stock.Ability{{Most: stock.MaxQuantity, Per: 1}}}, 1 << 62, stock.MaxQuantity,
			[]stock.Bound{{Reason: "configured cap", Most: stock.MaxQuantity}, {Reason: "ability of 1000000000000 per 1ns", Most: stock.MaxQuantity}}},
	}
	for _, tt := range tests {
		if err := tt.rule.Validate(); err != nil {
			t.Fatal(err)
		}
		got, bounds := tt.rule.EffectiveCap(tt.length)
		if got != tt.want || !reflect.DeepEqual(bounds, tt.bounds) {
			t.Errorf("%s: %d by %+v, want %d by %+v", tt.title, got, bounds, tt.want, tt.bounds)
		}
	}
}

func TestPublish(t *testing.T) {
	rule := stock.UnlimitedRule{Cap: 1000, Abilities: []stock.Ability{{Most: 10, Per: time.Second}, {Most: 300, Per: time.Minute}}}
	demand := func(used stock.Quantity, native bool, most stock.Quantity, recent ...stock.Quantity) stock.Demand {
		return stock.Demand{Usage: stock.Usage{Cap: 1000, Used: used}, Native: native, Most: most, Recent: recent}
	}
	tests := []struct {
		title                      string
		demand                     stock.Demand
		unlimited, surge, scaleOut bool
		quantity                   stock.Quantity
	}{
		{"calm, native", demand(100, true, 0, 1, 20), true, false, false, 9},
		{"calm, as a number", demand(100, false, 0, 1, 20), false, false, false, 9},
		{"the channel's own maximum", demand(100, false, 5, 1, 20), false, false, false, 5},
		{"a surge becomes a number", demand(100, true, 0, 8, 20), false, true, true, 2},
		{"the service is asked to grow before", demand(100, true, 0, 7, 20), false, false, true, 3},
		{"by the minute", demand(100, true, 0, 0, 240), false, true, true, 10},
		{"the cap comes near", demand(700, true, 0, 0, 0), false, false, true, 10},
		{"a unit earlier", demand(699, true, 0, 0, 0), true, false, false, 10},
		{"the cap is reached", demand(1000, true, 9999, 0, 0), false, false, true, 0},
		{"the cap was passed", demand(1007, true, 0, 0, 0), false, false, true, 0},
		{"nothing measured yet", demand(0, true, 0), true, false, false, 10},
	}
	for _, tt := range tests {
		p := rule.Publish(tt.demand)
		if p.Unlimited != tt.unlimited || p.Surge != tt.surge || p.ScaleOut != tt.scaleOut || p.Quantity != tt.quantity {
			t.Errorf("%s: %+v", tt.title, p)
		}
	}
	w := stock.Window{Resource: "r", Start: time.Unix(0, 0), End: time.Unix(10, 0)}
	p := rule.Publish(demand(700, true, 0))
	ask, told := p.ScaleOutOnce(w, stock.WindowID{})
	again, told := p.ScaleOutOnce(w, told)
	next, _ := p.ScaleOutOnce(stock.Window{Resource: "r", Start: w.End, End: time.Unix(20, 0)}, told)
	if !ask || again || !next {
		t.Errorf("asked to grow %v, again %v, in the next window %v", ask, again, next)
	}
	if calm, _ := rule.Publish(demand(0, true, 0)).ScaleOutOnce(w, stock.WindowID{}); calm {
		t.Error("asked to grow without need")
	}
}

// TestPublishedIsNeverMoreThanCanBeSold sells what is published, whatever it is: neither the cap nor an ability is passed,
// and the item is not called unlimited when there is nothing to sell.
func TestPublishedIsNeverMoreThanCanBeSold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := func(name string, most int64) stock.Quantity {
			return stock.Quantity(rapid.Int64Range(0, most).Draw(t, name))
		}
		u := stock.UnlimitedRule{Abilities: []stock.Ability{{Most: q("a", 50), Per: time.Second}, {Most: q("b", 500), Per: time.Minute}},
			SurgePermille: rapid.Int64Range(0, 1000).Draw(t, "surge"), ScaleOutPermille: rapid.Int64Range(0, 999).Draw(t, "scale")}
		d := stock.Demand{Usage: stock.Usage{Cap: q("cap", 300), Used: q("used", 300)}, Native: rapid.Bool().Draw(t, "native"),
			Most: q("most", 100), Recent: []stock.Quantity{q("ra", 60), q("rb", 600)}}
		p := u.Publish(d)
		if p.Quantity < 0 || p.Quantity > d.Usage.Left() || d.Most > 0 && p.Quantity > d.Most {
			t.Fatalf("published %+v", p)
		}
		for i, a := range u.Abilities {
			if p.Quantity > 0 && d.Recent[i]+p.Quantity > a.Most {
				t.Fatalf("with %d more the ability of %d is passed", p.Quantity, a.Most)
			}
		}
		if p.Unlimited && (p.Quantity == 0 || p.Surge || p.ScaleOut || !d.Native) {
			t.Fatalf("unlimited and yet %+v", p)
		}
	})
}
