package stock_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

// TestSalesDuringTheCount counts two lines while the shop is open: a sale before the line's own instant was not there to
// be counted, a sale after it was.
func TestSalesDuringTheCount(t *testing.T) {
	asOf := at(t, "2026-11-25T10:00:00Z")
	movements := []stock.Moved{{asOf.Add(-1), -2}, {asOf, -1}, {asOf.Add(1), -3}, {asOf.Add(time.Hour), 5}}
	// The level is 99 now, after −3 and +5: at ten it was 97.
	v := stock.VarianceOf(stock.CountedLine{SKU: "TEE", AsOf: asOf, Counted: 95, Counter: "ann"}, 99, movements)
	if v.Expected != 97 || v.Difference != -2 {
		t.Errorf("expected %d, difference %d; want 97 and -2", v.Expected, v.Difference)
	}
	if err := stock.CheckApproval(v, "bo"); err != nil {
		t.Error(err)
	}
	for want, who := range map[string]string{
		"approver is empty: a difference is approved by somebody":   "",
		"approver ann counted the line: another person approves it": "ann",
	} {
		if err := stock.CheckApproval(v, who); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestCountingRightFindsNothing counts what is really there, at any instant between movements: the difference is what was
// really missing, whenever it is posted.
func TestCountingRightFindsNothing(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		books := stock.Quantity(rapid.Int64Range(0, 100).Draw(t, "start"))
		missing := stock.Quantity(rapid.Int64Range(-5, 5).Draw(t, "missing"))
		asOf := start.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "as of")))
		counted := books - missing
		var movements []stock.Moved
		for range rapid.IntRange(0, 20).Draw(t, "movements") {
			m := stock.Moved{At: start.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "at"))), Delta: stock.Quantity(rapid.Int64Range(-9, 9).Draw(t, "delta"))}
			movements = append(movements, m)
			books += m.Delta
			if !m.At.After(asOf) {
				counted += m.Delta
			}
		}
		v := stock.VarianceOf(stock.CountedLine{AsOf: asOf, Counted: counted}, books, movements)
		if v.Difference != -missing {
			t.Fatalf("the difference is %d, really missing are %d", v.Difference, missing)
		}
	})
}

func TestRecount(t *testing.T) {
	rule := stock.CountRule{RecountUnits: 2, RecountPermille: 50, ApproveUnits: 10}
	if err := rule.Validate(); err != nil {
		t.Fatal(err)
	}
	count := func(expected stock.Quantity, differences ...stock.Quantity) []stock.Variance {
		var out []stock.Variance
		for _, d := range differences {
			out = append(out, stock.Variance{Expected: expected, Difference: d})
		}
		return out
	}
	tests := []struct {
		title  string
		counts []stock.Variance
		want   bool
	}{
		{"not counted yet", nil, true},
		{"within the units", count(10, -2), false},
		{"beyond the units", count(10, 3), true},
		{"within the part", count(100, -5), false},
		{"beyond the part", count(100, -6), true},
		{"two that agree", count(100, -6, -6), false},
		{"two that do not", count(100, -6, -7), true},
		{"three, of which the last two agree", count(100, -6, -7, -7), false},
		{"the second is within the limit", count(100, -9, -1), false},
		{"nothing expected", count(0, 3), true},
	}
	for _, tt := range tests {
		if got := rule.NeedsRecount(tt.counts); got != tt.want {
			t.Errorf("%s: counted again %v, want %v", tt.title, got, tt.want)
		}
	}
	for d, want := range map[stock.Quantity]bool{10: false, -10: false, 11: true, -11: true} {
		if got := rule.NeedsApproval(stock.Variance{Difference: d}); got != want {
			t.Errorf("%d needs approval %v", d, got)
		}
	}
	for want, bad := range map[string]stock.CountRule{
		"recount_units is -1: it must be from 0 to 1000000000000": {RecountUnits: -1},
		"recount_permille is 1001: it must be from 0 to 1000":     {RecountPermille: 1001},
		"approve_units is -1: it must be from 0 to 1000000000000": {ApproveUnits: -1},
	} {
		if err := bad.Validate(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestReportCount(t *testing.T) {
	line := func(expected, difference stock.Quantity) stock.Variance {
		return stock.Variance{Expected: expected, Difference: difference}
	}
	tests := []struct {
		lines []stock.Variance
		want  stock.CountReport
	}{
		// 2 of 4 lines exact; 10 of 1000 off: 990; 6 missing on balance: 6.
		{[]stock.Variance{line(500, 0), line(300, -8), line(200, 2), line(0, 0)},
			stock.CountReport{Lines: 4, ExactPermille: 500, AccuracyPermille: 990, Missing: 8, Surplus: 2, ShrinkagePermille: 6}},
		{[]stock.Variance{line(1_000_000, -1)}, stock.CountReport{Lines: 1, AccuracyPermille: 999, Missing: 1}},
		{[]stock.Variance{line(10, 30)}, stock.CountReport{Lines: 1, Surplus: 30}},
		{[]stock.Variance{line(0, 0)}, stock.CountReport{Lines: 1, ExactPermille: 1000, AccuracyPermille: 1000}},
		{nil, stock.CountReport{}},
	}
	for _, tt := range tests {
		if got := stock.ReportCount(tt.lines); got != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.lines, got, tt.want)
		}
	}
}

func TestCountPlan(t *testing.T) {
	now := at(t, "2026-11-25T12:00:00Z")
	ago := func(days int) time.Time { return now.Add(-time.Duration(days) * 24 * time.Hour) }
	plan := stock.CountPlan{Days: map[stock.ABC]int{stock.ClassA: 7, stock.ClassB: 30}}
	items := []stock.Countable{
		{SKU: "a-due", Class: "A", CountedAt: ago(7)}, {SKU: "a-fresh", Class: "A", CountedAt: ago(7).Add(1)}, {SKU: "b-overdue", Class: "B", CountedAt: ago(50)},
		{SKU: "b-new", Class: "B"}, {SKU: "a-new", Class: "A"}, {SKU: "c-new", Class: "C"},
	}
	got := ""
	for _, c := range plan.DueFor(items, now) {
		got += string(c.SKU) + " "
	}
	if got != "a-new b-new b-overdue a-due " {
		t.Errorf("due are %s", got)
	}
}
