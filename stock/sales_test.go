package stock_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

// days makes a series of sales, with so many left at the end of each day; a sale below zero stands for a day with a
// stock-out.
func days(closing stock.Quantity, sold ...stock.Quantity) []stock.Day {
	out := make([]stock.Day, len(sold))
	for i, s := range sold {
		out[i] = stock.Day{Sold: max(0, s), Closing: closing, StockOut: s < 0}
	}
	return out
}

func TestVelocity(t *testing.T) {
	tests := []struct {
		title string
		days  []stock.Day
		span  int
		want  stock.Velocity
	}{
		{"the newest days", days(1, 100, 1, 2, 3, 4, 5, 6, 7), 7, stock.Velocity{UnitsPerDay: 4000, Sold: 28, Days: 7}},
		{"without stock-outs", days(1, 4, -1, -1, 6), 28, stock.Velocity{UnitsPerDay: 5000, Sold: 10, Days: 2}},
		{"rounded down", days(1, 1, 0, 0), 90, stock.Velocity{UnitsPerDay: 333, Sold: 1, Days: 3}},
		{"nothing but stock-outs", days(1, -1, -1), 7, stock.Velocity{}},
		{"no days", nil, 7, stock.Velocity{}},
		{"very large", days(1, stock.MaxQuantity), 7, stock.Velocity{UnitsPerDay: stock.MaxRate, Sold: stock.MaxQuantity, Days: 1}},
	}
	for _, tt := range tests {
		if got := stock.VelocityOf(tt.days, tt.span); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.title, got, tt.want)
		}
	}
}

func TestTurnoverAndCover(t *testing.T) {
	// 30 sold of 20 on the mean: 1.5 times in ten days, 54.75 times a year.
	if got, want := stock.TurnoverOf(days(20, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3)), (stock.Turnover{Permille: 1500, PerYear: 54_750, Known: true}); got != want {
		t.Errorf("turnover %+v, want %+v", got, want)
	}
	if got := stock.TurnoverOf(days(0, 3, 3)); got.Known {
		t.Errorf("turnover of nothing: %+v", got)
	}
	for _, tt := range []struct {
		available stock.Quantity
		rate      stock.Rate
		days      int64
		known     bool
	}{{60, 20_000, 3, true}, {59, 20_000, 2, true}, {-5, 20_000, 0, true}, {5, 0, 0, false}, {7, 333, 21, true}} {
		if got, known := stock.DaysOfCover(tt.available, tt.rate); got != tt.days || known != tt.known {
			t.Errorf("%d at %d a day last %d days (%v)", tt.available, tt.rate, got, known)
		}
	}
}

func TestAges(t *testing.T) {
	now := at(t, "2026-11-25T12:00:00Z")
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	receipts := []stock.Arrival{{At: ago(200), Units: 100}, {At: ago(30), Units: 20}, {At: ago(29), Units: 5}, {At: ago(-1), Units: 50}, {At: ago(1), Units: -3}}
	tests := []struct {
		onHand stock.Quantity
		want   []stock.Quantity
	}{{3, []stock.Quantity{3, 0, 0, 0, 0}}, {10, []stock.Quantity{5, 5, 0, 0, 0}}, {40, []stock.Quantity{5, 20, 0, 0, 15}}, {140, []stock.Quantity{5, 20, 0, 0, 115}}, {-1, []stock.Quantity{0, 0, 0, 0, 0}}}
	for _, tt := range tests {
		var got []stock.Quantity
		for _, b := range stock.AgesOf(tt.onHand, receipts, []int64{30, 60, 90, 180}, now) {
			got = append(got, b.Quantity)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("of %d units the ages are %v, want %v", tt.onHand, got, tt.want)
		}
	}
}

func TestMovers(t *testing.T) {
	rule := stock.MoverRule{DeadDays: 3, SlowCover: 30}
	tests := []struct {
		days      []stock.Day
		available stock.Quantity
		want      stock.Mover
	}{
		{days(9, 1, 1, 1), 30, stock.Moving}, {days(9, 1, 1, 1), 31, stock.Slow}, {days(9, 1, 0, 0), 10, stock.Moving},
		{days(9, 1, 0, 0, 0), 1, stock.Dead}, {days(9, 0, 0), 1, stock.Slow}, {days(9, 0, -1, 0), 1, stock.Slow},
		{days(9, 0, 0, 0), 0, stock.Absent}, {nil, 5, stock.Moving},
	}
	for _, tt := range tests {
		if got := rule.Of(tt.days, tt.available); got != tt.want {
			t.Errorf("%d after %v: %s, want %s", tt.available, tt.days, got, tt.want)
		}
	}
}

func TestABC(t *testing.T) {
	// Of 1000 before each: 0, 700, 850, 940, 970, 1000.
	got := stock.ClassifyABC([]stock.Valued{{"e", 30}, {"a", 700}, {"z", 0}, {"b", 150}, {"d", 30}, {"c", 90}})
	want := map[stock.SKU]stock.ABC{"a": "A", "b": "A", "c": "B", "d": "B", "e": "C", "z": "C"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("classes %v, want %v", got, want)
	}
	if got := stock.ClassifyABC([]stock.Valued{{"a", math.MaxInt64}, {"b", math.MaxInt64}}); got["a"] != "A" || got["b"] != "A" {
		t.Errorf("very large: %v", got)
	}
	if got := stock.ClassifyABC([]stock.Valued{{"a", 0}, {"b", -4}}); got["a"] != "C" || got["b"] != "C" {
		t.Errorf("nothing sold: %v", got)
	}
}

func TestForecast(t *testing.T) {
	tests := []struct {
		title     string
		available stock.Quantity
		days      []stock.Day
		want      stock.Forecast
	}{
		{"steady sales leave no doubt", 60, days(1, 20, 20, 20), stock.Forecast{Earliest: 3, Expected: 3, Latest: 3, Days: 3, Known: true}},
		{"a day begun counts", 61, days(1, 20, 20), stock.Forecast{Earliest: 4, Expected: 4, Latest: 4, Days: 2, Known: true}},
		// Mean 10, deviation 3 (7, 10, 13): 10T + 5.88√T reaches 100 at 8.31, so on the 9th day; 10T − 5.88√T at 12.04.
		{"with chance", 100, days(1, 7, -1, 10, 13), stock.Forecast{Earliest: 9, Expected: 10, Latest: 13, Days: 3, Known: true}},
		{"gone already", 0, days(1, 7, 10, 13), stock.Forecast{Days: 3, Known: true}},
		{"nothing sells", 5, days(1, 0, 0), stock.Forecast{Earliest: stock.ForecastDays, Expected: stock.ForecastDays, Latest: stock.ForecastDays, Days: 2, Known: true}},
		{"one day tells nothing", 5, days(1, 3, -1), stock.Forecast{Days: 1}},
	}
	for _, tt := range tests {
		if got := stock.ForecastStockOut(tt.available, tt.days, 1960); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.title, got, tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		sold := rapid.SliceOfN(rapid.Map(rapid.Int64Range(0, 40), func(n int64) stock.Quantity { return stock.Quantity(n) }), 2, 30).Draw(t, "sold")
		available := stock.Quantity(rapid.Int64Range(0, 3000).Draw(t, "available"))
		f := stock.ForecastStockOut(available, days(1, sold...), 1960)
		wider := stock.ForecastStockOut(available, days(1, sold...), 2576)
		more := stock.ForecastStockOut(available+50, days(1, sold...), 1960)
		switch {
		case f.Earliest > f.Expected || f.Expected > f.Latest:
			t.Fatalf("out of order: %+v", f)
		case wider.Earliest > f.Earliest || wider.Latest < f.Latest:
			t.Fatalf("more certainty is narrower: %+v, then %+v", f, wider)
		case more.Earliest < f.Earliest || more.Expected < f.Expected || more.Latest < f.Latest:
			t.Fatalf("more stock lasts shorter: %+v, then %+v", f, more)
		}
	})
}

func TestOverstockHints(t *testing.T) {
	tests := []struct {
		title string
		facts stock.Overstock
		want  string
	}{
		{"as planned", stock.Overstock{Planned: 10_000, Before: 9000, Recent: 9000, LastPurchase: 90, TargetCover: 10, PriceBefore: 100, Price: 100, OtherPrice: 100}, "[]"},
		{"never as planned", stock.Overstock{Planned: 10_000, Before: 6000, Recent: 5500}, "[{forecast_missed 10.0 a day were planned and 6.0 are sold}]"},
		{"too much", stock.Overstock{Recent: 2500, LastPurchase: 251, TargetCover: 100}, "[{bought_too_much 251 were bought and 100 days need 250}]"},
		{"dearer", stock.Overstock{Before: 10_000, Recent: 6000, PriceBefore: 100, Price: 120}, "[{price_raised the price went from 100 to 120 and the sales from 10.0 to 6.0 a day}]"},
		{"less wanted", stock.Overstock{Before: 10_000, Recent: 7000, PriceBefore: 100, Price: 100}, "[{demand_fell the sales went from 10.0 to 7.0 a day at an unchanged price}]"},
		{"hardly less wanted", stock.Overstock{Before: 10_000, Recent: 7001}, "[]"},
		{"cheaper elsewhere", stock.Overstock{Price: 111, OtherPrice: 100}, "[{price_too_high it costs 111 here and 100 elsewhere}]"},
		{"not much cheaper", stock.Overstock{Price: 110, OtherPrice: 100}, "[]"},
	}
	for _, tt := range tests {
		if got := fmt.Sprint(tt.facts.Hints()); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.title, got, tt.want)
		}
	}
	if got := (stock.Overstock{Available: 500, Recent: 2500, TargetCover: 100}).Excess(); got != 250 {
		t.Errorf("the excess is %d, want 250", got)
	}
}

func TestLowestPrice(t *testing.T) {
	for _, tt := range []struct {
		margin stock.Margin
		price  int64
		ok     bool
	}{
		{stock.Margin{UnitCost: 900}, 900, true},
		{stock.Margin{UnitCost: 900, FeePermille: 150}, 1059, true}, // 1058.8
		{stock.Margin{UnitCost: 900, FeePermille: 100, Least: 90}, 1100, true},
		{stock.Margin{UnitCost: 900, Least: -950}, 0, true},
		{stock.Margin{UnitCost: 900, FeePermille: 1000}, 0, false},
	} {
		if price, ok := tt.margin.LowestPrice(); price != tt.price || ok != tt.ok {
			t.Errorf("%+v: %d, %v; want %d, %v", tt.margin, price, ok, tt.price, tt.ok)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		m := stock.Margin{UnitCost: rapid.Int64Range(1, 1e6).Draw(t, "cost"), FeePermille: rapid.Int64Range(0, 999).Draw(t, "fee"), Least: rapid.Int64Range(-1000, 1000).Draw(t, "least")}
		price, ok := m.LowestPrice()
		net := func(p int64) int64 { return p * (1000 - m.FeePermille) / 1000 }
		if needed := m.UnitCost + m.Least; !ok || net(price) < needed || price > 0 && net(price-1) >= needed {
			t.Fatalf("%+v: %d brings %d", m, price, net(price))
		}
	})
}

func TestProposeClearance(t *testing.T) {
	facts := stock.ClearanceFacts{
		Overstock: stock.Overstock{Available: 500, Recent: 2000, TargetCover: 30, Price: 2000},
		Margin:    stock.Margin{UnitCost: 900, FeePermille: 100, Least: 90},
		Partners: []stock.Partner{
			{SKU: "slower", UnitsPerDay: 1000, Available: 900, Together: 99}, {SKU: "nearly-gone", UnitsPerDay: 40_000, Available: 10, Together: 50},
			{SKU: "best", UnitsPerDay: 20_000, Available: 900, Together: 40}, {SKU: "fast", UnitsPerDay: 90_000, Available: 9000, Together: 3},
		},
		Rule: stock.PartnerRule{LeastCover: 14}, BasketMargin: 9000, GiftPermille: 100, Audience: 250, LeastAudience: 200,
	}
	want := []stock.Clearance{
		{Kind: stock.ClearDiscount, Price: 1100, DiscountPermille: 450, Why: "down to 1100 a sale still leaves 90 after a cost of 900 and a fee of 100 ‰"},
		{Kind: stock.ClearBundle, Partner: "best", Why: "best was bought together with it in 40 orders and sells 20.0 a day"},
		{Kind: stock.ClearGift, Why: "a unit costs 900 and an order leaves 9000"},
		{Kind: stock.ClearPromotion, Why: "250 buyers of kindred articles have not bought it"},
	}
	if got := stock.ProposeClearance(facts); !reflect.DeepEqual(got, want) {
		t.Errorf("proposed\n%+v, want\n%+v", got, want)
	}
	poor := facts
	poor.Price, poor.Partners, poor.BasketMargin, poor.Audience = 1100, facts.Partners[:2], 8999, 199
	if got := stock.ProposeClearance(poor); len(got) != 0 {
		t.Errorf("proposed although nothing pays: %+v", got)
	}
	scarce := facts
	scarce.Available = 60
	if got := stock.ProposeClearance(scarce); got != nil {
		t.Errorf("proposed without excess: %+v", got)
	}
}

func TestMeasureEffect(t *testing.T) {
	// 2 a day, then 5 a day: 150 % more, 9 units in three days.
	e := stock.MeasureEffect(days(9, 2, -1, 2, 2), days(9, 4, 5, 6, -1))
	if !e.Known || e.LiftPermille != 1500 || e.Extra != 9 || e.Before.Days != 3 || e.After.Days != 3 {
		t.Errorf("effect %+v", e)
	}
	if e := stock.MeasureEffect(days(9, 4, 4), days(9, 3)); !e.Known || e.LiftPermille != -250 || e.Extra != -1 {
		t.Errorf("effect %+v", e)
	}
	if e := stock.MeasureEffect(days(9, 0, 0), days(9, 3)); e.Known || e.Extra != 3 {
		t.Errorf("from nothing: %+v", e)
	}
	if e := stock.MeasureEffect(nil, days(9, 3)); e.Known || e.Extra != 0 {
		t.Errorf("from no days: %+v", e)
	}
}
