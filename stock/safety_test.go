package stock_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestGreatestSafetyStock(t *testing.T) {
	got, err := stock.GreatestSafetyStock([]stock.Quantity{12, 20, 0, 7}, []int64{2, 3, 1})
	if err != nil || got != 60 {
		t.Errorf("20 a day × 3 days is %d, %v", got, err)
	}
	if got, err := stock.GreatestSafetyStock([]stock.Quantity{stock.MaxQuantity}, []int64{stock.MaxLeadDays}); err != nil || got != stock.MaxQuantity {
		t.Errorf("the largest is %d, %v", got, err)
	}
	for want, in := range map[string]struct {
		daily []stock.Quantity
		lead  []int64
	}{
		"daily has 0 days and needs 1":                      {nil, []int64{1}},
		"lead_days is empty: no replenishment was measured": {[]stock.Quantity{1}, nil},
		"daily is -1: it must be from 0 to 1000000000000":   {[]stock.Quantity{1, -1}, []int64{1}},
		"lead_days is 3661: it must be from 0 to 3660":      {[]stock.Quantity{1}, []int64{3661}},
	} {
		if _, err := stock.GreatestSafetyStock(in.daily, in.lead); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestServiceLevelSafetyStock(t *testing.T) {
	tests := []struct {
		title string
		daily []stock.Quantity
		lead  []int64
		z     int64
		want  stock.Quantity
	}{
		// Mean 100, deviation 22; mean 12, deviation 3: √(12 × 484 + 10000 × 9) = 309.53.
		{"the root alone", []stock.Quantity{78, 100, 122}, []int64{9, 12, 15}, 1000, 310},
		{"at 95 %", []stock.Quantity{78, 100, 122}, []int64{9, 12, 15}, 1645, 510}, // 509.18
		// 1 × √(4 × 9) = 6 exactly: nothing is rounded up.
		{"a whole root", []stock.Quantity{7, 10, 13}, []int64{4}, 1000, 6},
		{"a trifle above a whole root", []stock.Quantity{7, 10, 13}, []int64{4}, 1001, 7},
		{"nothing varies", []stock.Quantity{5, 5, 5}, []int64{3, 3}, 2326, 0},
		{"no factor", []stock.Quantity{7, 10, 13}, []int64{4}, 0, 0},
		{"very large", []stock.Quantity{0, stock.MaxQuantity}, []int64{stock.MaxLeadDays, 0}, 3090, stock.MaxQuantity},
	}
	for _, tt := range tests {
		if got, err := stock.ServiceLevelSafetyStock(tt.daily, tt.lead, tt.z); err != nil || got != tt.want {
			t.Errorf("%s: %d, %v; want %d", tt.title, got, err, tt.want)
		}
	}
	if _, err := stock.ServiceLevelSafetyStock([]stock.Quantity{5}, []int64{3}, 1000); err == nil || err.Error() != "daily has 1 days and needs 2" {
		t.Errorf("one day: %v", err)
	}
	if _, err := stock.ServiceLevelSafetyStock([]stock.Quantity{5, 6}, []int64{3}, -1); err == nil || !strings.HasPrefix(err.Error(), "z_permille is -1") {
		t.Errorf("a negative factor: %v", err)
	}
	// Beside the formula in floating point, which is near enough to tell a wrong one.
	rapid.Check(t, func(t *rapid.T) {
		daily := rapid.SliceOfN(rapid.Map(rapid.Int64Range(0, 500), func(n int64) stock.Quantity { return stock.Quantity(n) }), 2, 40).Draw(t, "daily")
		lead := rapid.SliceOfN(rapid.Int64Range(1, 60), 1, 12).Draw(t, "lead")
		z := rapid.Int64Range(0, 3500).Draw(t, "z")
		got, err := stock.ServiceLevelSafetyStock(daily, lead, z)
		if err != nil {
			t.Fatal(err)
		}
		days := make([]int64, len(daily))
		for i, q := range daily {
			days[i] = int64(q)
		}
		d, vd := sample(days)
		l, vl := sample(lead)
		want := float64(z) / 1000 * math.Sqrt(l*vd+d*d*vl)
		if float64(got) < want-1e-6 || float64(got) > want+1+1e-6 {
			t.Fatalf("%d, in floating point %f", got, want)
		}
	})
}

func sample(values []int64) (mean, variance float64) {
	for _, v := range values {
		mean += float64(v) / float64(len(values))
	}
	for _, v := range values {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, variance / math.Max(1, float64(len(values)-1))
}

func TestServiceFactor(t *testing.T) {
	for level, want := range map[int64]int64{500: 0, 841: 999, 900: 1282, 950: 1645, 975: 1960, 990: 2326, 995: 2576, 999: 3090} {
		if got, err := stock.ServiceFactor(level); err != nil || got != want {
			t.Errorf("%d ‰ is %d, %v; want %d", level, got, err, want)
		}
	}
	for _, level := range []int64{499, 1000} {
		if _, err := stock.ServiceFactor(level); err == nil {
			t.Errorf("%d ‰ is taken", level)
		}
	}
}

func TestLeadDays(t *testing.T) {
	ordered := at(t, "2026-11-01T08:00:00Z")
	for after, want := range map[time.Duration]int64{-time.Hour: 0, 0: 0, 1: 1, 72 * time.Hour: 3, 72*time.Hour + 1: 4, math.MaxInt64: 106752} {
		if got := stock.LeadDays(ordered, ordered.Add(after)); got != want {
			t.Errorf("%v is %d days, want %d", after, got, want)
		}
	}
}

func TestReplenishment(t *testing.T) {
	point := stock.ReorderPoint(60, 10)
	if point != 70 {
		t.Fatalf("the reorder point is %d, want 60 + 10", point)
	}
	now := at(t, "2026-11-25T00:00:00Z")
	steps := []struct {
		total, incoming stock.Quantity
		change          stock.ReplenishmentChange
		missing         stock.Quantity
	}{
		{70, 0, stock.ReplenishmentUnchanged, 0},
		{69, 0, stock.ReplenishmentRaised, 1},
		{50, 0, stock.ReplenishmentUnchanged, 20}, // once
		{50, 19, stock.ReplenishmentUnchanged, 1},
		{50, 20, stock.ReplenishmentOnOrder, 0},
		{45, 20, stock.ReplenishmentRaised, 5}, // too little was ordered
		{70, 0, stock.ReplenishmentArrived, 0},
		{60, 20, stock.ReplenishmentUnchanged, 0}, // on order before it was missing
		{-5, -20, stock.ReplenishmentRaised, 75},
	}
	var r stock.Replenishment
	for i, s := range steps {
		next, change, missing := r.Next(s.total, s.incoming, point, now)
		if change != s.change || missing != s.missing {
			t.Fatalf("step %d: %q and %d missing, want %q and %d", i, change, missing, s.change, s.missing)
		}
		if change == stock.ReplenishmentRaised && !next.RaisedAt.Equal(now) {
			t.Errorf("step %d: raised at %v", i, next.RaisedAt)
		}
		if again, change, _ := next.Next(s.total, s.incoming, point, now.Add(time.Hour)); change != "" || again != next {
			t.Fatalf("step %d told twice: %q", i, change)
		}
		r = next
	}
}
