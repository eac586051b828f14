package stock_test

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/truestock/truestock/stock"
)

func TestOffer(t *testing.T) {
	type steps = []stock.Step
	const atp, pack = "available to promise", "pack"
	tests := []struct {
		title      string
		policy     stock.Policy
		atp, units stock.Quantity
		want       stock.Quantity
		steps      steps
	}{
		{"no rule offers everything", stock.Policy{}, 17, 1, 17,
			steps{{atp, 17, 17}, {pack, 17, 17}}},
		{"nothing there", stock.Policy{}, 0, 1, 0,
			steps{{atp, 0, 0}, {pack, 0, 0}}},
		{"oversold offers nothing and the first step keeps the truth", stock.Policy{}, -4, 1, 0,
			steps{{atp, -4, 0}, {pack, 0, 0}}},
		{"packs are floored", stock.Policy{}, 17, 6, 2,
			steps{{atp, 17, 17}, {pack, 17, 2}}},
		{"less than one pack", stock.Policy{}, 5, 6, 0,
			steps{{atp, 5, 5}, {pack, 5, 0}}},
		// 250 ‰ of 30 are 7.5: shown as 7, carried as 7.5.
		{"share shows whole units", stock.Policy{SharePermille: new(int64(250))}, 30, 1, 7,
			steps{{atp, 30, 30}, {"share", 30, 7}, {pack, 7, 7}}},
		// 333 ‰ of 10 are 3.33; less 1 are 2.33; floored once, at the end: 2. 999 ‰ of 3 are 2.997, and stay below 3.
		{"share is never rounded up", stock.Policy{SharePermille: new(int64(999))}, 3, 1, 2,
			steps{{atp, 3, 3}, {"share", 3, 2}, {pack, 2, 2}}},
		{"share of nothing", stock.Policy{SharePermille: new(int64(0))}, 30, 1, 0,
			steps{{atp, 30, 30}, {"share", 30, 0}, {pack, 0, 0}}},
		{"the whole share changes nothing", stock.Policy{SharePermille: new(int64(1000))}, 30, 1, 30,
			steps{{atp, 30, 30}, {"share", 30, 30}, {pack, 30, 30}}},
		// 20 a day × 3 days are 60 withheld.
		{"safety stock", stock.Policy{SafetyStock: 60}, 100, 1, 40,
			steps{{atp, 100, 100}, {"safety stock", 100, 40}, {pack, 40, 40}}},
		{"safety stock above what is there", stock.Policy{SafetyStock: 60}, 59, 1, 0,
			steps{{atp, 59, 59}, {"safety stock", 59, 0}, {pack, 0, 0}}},
		{"buffer", stock.Policy{Buffer: 2}, 5, 1, 3,
			steps{{atp, 5, 5}, {"buffer", 5, 3}, {pack, 3, 3}}},
		{"threshold met exactly", stock.Policy{Threshold: 3}, 3, 1, 3,
			steps{{atp, 3, 3}, {"threshold", 3, 3}, {pack, 3, 3}}},
		{"below the threshold", stock.Policy{Threshold: 3}, 2, 1, 0,
			steps{{atp, 2, 2}, {"threshold", 2, 0}, {pack, 0, 0}}},
		// 500 ‰ of 5 are 2.5, which is fewer than 3, although it would be 3 if rounded.
		{"the threshold sees the fraction", stock.Policy{SharePermille: new(int64(500)), Threshold: 3}, 5, 1, 0,
			steps{{atp, 5, 5}, {"share", 5, 2}, {"threshold", 2, 0}, {pack, 0, 0}}},
		{"cap", stock.Policy{Cap: new(stock.Quantity(10))}, 25, 1, 10,
			steps{{atp, 25, 25}, {"cap", 25, 10}, {pack, 10, 10}}},
		{"cap of zero closes the listing", stock.Policy{Cap: new(stock.Quantity(0))}, 25, 1, 0,
			steps{{atp, 25, 25}, {"cap", 25, 0}, {pack, 0, 0}}},
		{"cap counts base units", stock.Policy{Cap: new(stock.Quantity(10))}, 25, 4, 2,
			steps{{atp, 25, 25}, {"cap", 25, 10}, {pack, 10, 2}}},
		{"minimum without stock", stock.Policy{Minimum: 5}, -3, 1, 5,
			steps{{atp, -3, 0}, {"minimum", 0, 5}, {pack, 5, 5}}},
		{"minimum below what is there", stock.Policy{Minimum: 5}, 8, 1, 8,
			steps{{atp, 8, 8}, {"minimum", 8, 8}, {pack, 8, 8}}},
		// 800 ‰ of 101 are 80.8; less 20 are 60.8; less 5 are 55.8; not below 50; not below 10; capped at 55; in packs of
		// 4 that is 13, with 3 left over.
		{"every rule in its order", stock.Policy{
			SharePermille: new(int64(800)), SafetyStock: 20, Buffer: 5, Threshold: 50, Minimum: 10, Cap: new(stock.Quantity(55)),
		}, 101, 4, 13, steps{
			{atp, 101, 101}, {"share", 101, 80}, {"safety stock", 80, 60}, {"buffer", 60, 55}, {"threshold", 55, 55},
			{"minimum", 55, 55}, {"cap", 55, 55}, {pack, 55, 13},
		}},
		{"fractions are floored once", stock.Policy{SharePermille: new(int64(333)), Buffer: 1}, 10, 1, 2,
			steps{{atp, 10, 10}, {"share", 10, 3}, {"buffer", 3, 2}, {pack, 2, 2}}},
		{"more than can be", stock.Policy{}, math.MaxInt64, 1, stock.MaxQuantity,
			steps{{atp, math.MaxInt64, stock.MaxQuantity}, {pack, stock.MaxQuantity, stock.MaxQuantity}}},
		{"no pack size counts as one", stock.Policy{}, 9, 0, 9,
			steps{{atp, 9, 9}, {pack, 9, 9}}},
		{"a pack beyond MaxUnits is not cut smaller", stock.Policy{}, 3 * stock.MaxUnits, 2 * stock.MaxUnits, 1,
			steps{{atp, 3 * stock.MaxUnits, 3 * stock.MaxUnits}, {pack, 3 * stock.MaxUnits, 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			got := tt.policy.Offer(tt.atp, tt.units)
			if got.Quantity != tt.want {
				t.Errorf("offers %d, want %d", got.Quantity, tt.want)
			}
			if !slices.Equal(got.Steps, tt.steps) {
				t.Errorf("steps\n%+v, want\n%+v", got.Steps, tt.steps)
			}
		})
	}
}

func FuzzOffer(f *testing.F) {
	// A share or a cap below zero stands for none.
	f.Add(int64(101), int64(1), int64(4), int64(800), int64(20), int64(5), int64(50), int64(55), int64(10))
	f.Add(int64(0), int64(1), int64(1), int64(-1), int64(0), int64(0), int64(0), int64(-1), int64(0))
	f.Add(int64(-7), int64(14), int64(6), int64(-1), int64(0), int64(0), int64(3), int64(-1), int64(9))
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), int64(1000), int64(0), int64(0), int64(0), int64(stock.MaxQuantity), int64(0))
	f.Add(int64(math.MinInt64), int64(1), int64(math.MinInt64), int64(1), int64(1), int64(1), int64(1), int64(0), int64(0))
	f.Add(int64(stock.MaxQuantity), int64(-1), int64(1), int64(999), int64(stock.MaxQuantity), int64(stock.MaxQuantity), int64(1), int64(-1), int64(stock.MaxQuantity))
	f.Fuzz(func(t *testing.T, atp, more, units, share, safety, buffer, threshold, limit, minimum int64) {
		p := stock.Policy{
			SafetyStock: stock.Quantity(safety), Buffer: stock.Quantity(buffer), Threshold: stock.Quantity(threshold), Minimum: stock.Quantity(minimum),
		}
		if share >= 0 {
			p.SharePermille = &share
		}
		if limit >= 0 {
			p.Cap = new(stock.Quantity(limit))
		}
		if p.Validate() != nil {
			return
		}
		inPack := stock.Quantity(max(1, units))
		got := p.Offer(stock.Quantity(atp), stock.Quantity(units))
		if got.Quantity < 0 {
			t.Fatalf("offers %d of %d", got.Quantity, atp)
		}
		if p.Cap != nil && got.Quantity > *p.Cap/inPack {
			t.Fatalf("offers %d packs of %d units, above the cap of %d units", got.Quantity, inPack, *p.Cap)
		}
		if most := max(stock.Quantity(atp), p.Minimum, 0); got.Quantity > most/inPack {
			t.Fatalf("offers %d packs of %d units; there are %d units, the minimum is %d", got.Quantity, inPack, atp, p.Minimum)
		}
		if again := p.Offer(stock.Quantity(atp), stock.Quantity(units)); !reflect.DeepEqual(again, got) {
			t.Fatalf("the same question is answered by %+v, then by %+v", got, again)
		}
		if more > 0 && atp <= math.MaxInt64-more {
			if grown := p.Offer(stock.Quantity(atp+more), stock.Quantity(units)); grown.Quantity < got.Quantity {
				t.Fatalf("%d units offer %d packs and %d units %d", atp, got.Quantity, atp+more, grown.Quantity)
			}
		}
		checkSteps(t, stock.Quantity(atp), got)
	})
}

// checkSteps demands a chain without a gap from what is available to what is offered.
func checkSteps(t *testing.T, atp stock.Quantity, o stock.Offer) {
	t.Helper()
	before := atp
	for i, s := range o.Steps {
		if s.Rule == "" || s.Before != before || s.After < 0 {
			t.Fatalf("step %d is %+v after one that ended at %d: %+v", i, s, before, o.Steps)
		}
		before = s.After
	}
	if last := o.Steps[len(o.Steps)-1]; last.Rule != "pack" || last.After != o.Quantity {
		t.Fatalf("the last step is %+v; %d packs are offered", last, o.Quantity)
	}
}

func TestPolicyValidate(t *testing.T) {
	limit := stock.MaxQuantity
	tests := []struct {
		title  string
		policy stock.Policy
		want   string // a part of the error, empty when the policy is in order
	}{
		{"no rule", stock.Policy{}, ""},
		{"every rule at its least", stock.Policy{SharePermille: new(int64(0)), Cap: new(stock.Quantity(0))}, ""},
		{"every rule at its most", stock.Policy{
			SharePermille: new(int64(1000)), SafetyStock: limit, Buffer: limit, Threshold: limit, Cap: &limit, Minimum: limit,
		}, ""},
		{"share below", stock.Policy{SharePermille: new(int64(-1))}, "share_permille is -1"},
		{"share above", stock.Policy{SharePermille: new(int64(1001))}, "share_permille is 1001"},
		{"safety stock below", stock.Policy{SafetyStock: -1}, "safety_stock is -1"},
		{"safety stock above", stock.Policy{SafetyStock: limit + 1}, "safety_stock is 1000000000001"},
		{"buffer below", stock.Policy{Buffer: -2}, "buffer is -2"},
		{"buffer above", stock.Policy{Buffer: limit + 1}, "buffer is"},
		{"threshold below", stock.Policy{Threshold: -3}, "threshold is -3"},
		{"threshold above", stock.Policy{Threshold: limit + 1}, "threshold is"},
		{"cap below", stock.Policy{Cap: new(stock.Quantity(-4))}, "cap is -4"},
		{"cap above", stock.Policy{Cap: new(limit + 1)}, "cap is"},
		{"minimum below", stock.Policy{Minimum: -5}, "minimum is -5"},
		{"minimum above", stock.Policy{Minimum: limit + 1}, "minimum is"},
		{"minimum above the cap", stock.Policy{Cap: new(stock.Quantity(3)), Minimum: 4}, "minimum 4 is above cap 3"},
		{"minimum at the cap", stock.Policy{Cap: new(stock.Quantity(3)), Minimum: 3}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			err := tt.policy.Validate()
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("the policy is in order, and yet: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v does not say %q", err, tt.want)
			}
		})
	}
}
