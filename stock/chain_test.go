package stock_test

import (
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestOfferFrom(t *testing.T) {
	type steps = []stock.Step
	const atp, pack = "available to promise", "pack"
	tests := []struct {
		title  string
		policy stock.Policy
		supply stock.Supply
		want   stock.Quantity
		steps  steps
	}{
		{"a pool replaces the general stock", stock.Policy{}, stock.Supply{ATP: 80, Pool: &stock.PoolSupply{Name: "flash", Left: 12}}, 12,
			steps{{atp, 80, 80}, {"pool: flash", 80, 12}, {pack, 12, 12}}},
		{"an empty pool does not fall back to the general stock", stock.Policy{}, stock.Supply{ATP: 80, Pool: &stock.PoolSupply{Name: "flash"}}, 0,
			steps{{atp, 80, 80}, {"pool: flash", 80, 0}, {pack, 0, 0}}},
		// 288 a day × 10 minutes are 2.
		{"velocity buffer", stock.Policy{VelocityBufferPermille: 1000}, stock.Supply{ATP: 10, UnitsPerDay: 288_000, Lag: 10 * time.Minute}, 8,
			steps{{atp, 10, 10}, {"velocity buffer", 10, 8}, {pack, 8, 8}}},
		// 289 a day × 10 minutes are 2.007: 3 are withheld.
		{"velocity buffer is rounded up", stock.Policy{VelocityBufferPermille: 1000}, stock.Supply{ATP: 10, UnitsPerDay: 289_000, Lag: 10 * time.Minute}, 7,
			steps{{atp, 10, 10}, {"velocity buffer", 10, 7}, {pack, 7, 7}}},
		{"velocity buffer with a factor", stock.Policy{VelocityBufferPermille: 1500}, stock.Supply{ATP: 10, UnitsPerDay: 288_000, Lag: 10 * time.Minute}, 7,
			steps{{atp, 10, 10}, {"velocity buffer", 10, 7}, {pack, 7, 7}}},
		{"velocity buffer without sales", stock.Policy{VelocityBufferPermille: 1000}, stock.Supply{ATP: 10, Lag: time.Hour}, 10,
			steps{{atp, 10, 10}, {"velocity buffer", 10, 10}, {pack, 10, 10}}},
		{"105 % of 20", stock.Policy{OversellPermille: 1050}, stock.Supply{ATP: 20}, 21,
			steps{{atp, 20, 20}, {"oversell ratio", 20, 21}, {pack, 21, 21}}},
		{"105 % of 10 does nothing", stock.Policy{OversellPermille: 1050}, stock.Supply{ATP: 10}, 10,
			steps{{atp, 10, 10}, {"oversell ratio", 10, 10}, {pack, 10, 10}}},
		{"the ratio is of all that was there", stock.Policy{OversellPermille: 1050}, stock.Supply{ATP: 10, Committed: 10}, 11,
			steps{{atp, 10, 10}, {"oversell ratio", 10, 11}, {pack, 11, 11}}},
		{"the 21st of 20", stock.Policy{OversellPermille: 1050}, stock.Supply{ATP: 0, Committed: 20}, 1,
			steps{{atp, 0, 0}, {"oversell ratio", 0, 1}, {pack, 1, 1}}},
		{"stop at the bound", stock.Policy{OversellPermille: 1050}, stock.Supply{ATP: -1, Committed: 21}, 0,
			steps{{atp, -1, 0}, {"oversell ratio", 0, 0}, {pack, 0, 0}}},
		{"a share of nothing sells nothing beyond", stock.Policy{SharePermille: new(int64(0)), OversellPermille: 2000}, stock.Supply{ATP: 0, Committed: 20}, 0,
			steps{{atp, 0, 0}, {"share", 0, 0}, {"oversell ratio", 0, 0}, {pack, 0, 0}}},
		// 115 % of 100 are 115; in floating point they are 114.
		{"exact where floats are not", stock.Policy{OversellPermille: 1150}, stock.Supply{ATP: 100}, 115,
			steps{{atp, 100, 100}, {"oversell ratio", 100, 115}, {pack, 115, 115}}},
		// 333 ‰ of 100 are 33.3, × 1.05 are 34.965.
		{"floored once", stock.Policy{SharePermille: new(int64(333)), OversellPermille: 1050}, stock.Supply{ATP: 100}, 34,
			steps{{atp, 100, 100}, {"share", 100, 33}, {"oversell ratio", 33, 34}, {pack, 34, 34}}},
		{"the last units elsewhere", stock.Policy{SafetyStock: 5, LastUnits: 3, PreferredChannel: "shop"}, stock.Supply{ATP: 8, Channel: "bay"}, 0,
			steps{{atp, 8, 8}, {"safety stock", 8, 3}, {"last units: for shop", 3, 0}, {pack, 0, 0}}},
		{"the last units at the preferred channel", stock.Policy{SafetyStock: 5, LastUnits: 3, PreferredChannel: "shop"}, stock.Supply{ATP: 8, Channel: "shop"}, 3,
			steps{{atp, 8, 8}, {"safety stock", 8, 3}, {pack, 3, 3}}},
		{"one more than the last units", stock.Policy{SafetyStock: 5, LastUnits: 3, PreferredChannel: "shop"}, stock.Supply{ATP: 9, Channel: "bay"}, 4,
			steps{{atp, 9, 9}, {"safety stock", 9, 4}, {"last units: for shop", 4, 4}, {pack, 4, 4}}},
		// The share is of the channel, the last units are of the stock: 10 are there, although this channel sees 3.
		{"a small share is not the end of the stock", stock.Policy{SharePermille: new(int64(300)), LastUnits: 3, PreferredChannel: "shop"}, stock.Supply{ATP: 10, Channel: "bay"}, 3,
			steps{{atp, 10, 10}, {"share", 10, 3}, {"last units: for shop", 3, 3}, {pack, 3, 3}}},
		// A pool of 101, of it 80 % are 80.8; − 20 = 60.8; − 5 = 55.8; 288 a day × 20 minutes = 4: 51.8; 105 % of them with
		// 25 committed, whose 80 % are 20: 51.8 + 0.05 × 71.8 = 55.39; not below 50; capped at 54; 13 packs of 4.
		{"every rule in its order", stock.Policy{SharePermille: new(int64(800)), SafetyStock: 20, Buffer: 5, VelocityBufferPermille: 1000,
			OversellPermille: 1050, Threshold: 50, LastUnits: 3, PreferredChannel: "shop", Minimum: 10, Cap: new(stock.Quantity(54))},
			stock.Supply{ATP: 7, Pool: &stock.PoolSupply{Name: "bulk", Left: 101}, Committed: 25, UnitsPerDay: 288_000, Lag: 20 * time.Minute, Channel: "bay", Units: 4}, 13,
			steps{{atp, 7, 7}, {"pool: bulk", 7, 101}, {"share", 101, 80}, {"safety stock", 80, 60}, {"buffer", 60, 55}, {"velocity buffer", 55, 51},
				{"oversell ratio", 51, 55}, {"threshold", 55, 55}, {"last units: for shop", 55, 55}, {"minimum", 55, 55}, {"cap", 55, 54}, {pack, 54, 13}}},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			if err := tt.policy.Validate(); err != nil {
				t.Fatal(err)
			}
			got := tt.policy.OfferFrom(tt.supply)
			if got.Quantity != tt.want {
				t.Errorf("offers %d, want %d", got.Quantity, tt.want)
			}
			if !slices.Equal(got.Steps, tt.steps) {
				t.Errorf("steps\n%+v, want\n%+v", got.Steps, tt.steps)
			}
		})
	}
}

func TestPolicyValidateNewFields(t *testing.T) {
	tests := []struct {
		policy stock.Policy
		want   string
	}{
		{stock.Policy{VelocityBufferPermille: -1}, "velocity_buffer_permille is -1: it must be from 0 to 10000"},
		{stock.Policy{VelocityBufferPermille: 10_001}, "velocity_buffer_permille is 10001: it must be from 0 to 10000"},
		{stock.Policy{OversellPermille: 999}, "oversell_permille is 999: it must be from 1000 to 2000"},
		{stock.Policy{OversellPermille: 2001}, "oversell_permille is 2001: it must be from 1000 to 2000"},
		{stock.Policy{LastUnits: -1}, "last_units is -1: it must be from 0 to 1000000000000"},
		{stock.Policy{LastUnits: 1}, "last_units is 1 and no channel is preferred: say in preferred_channel which one keeps selling"},
		{stock.Policy{PreferredChannel: "shop"}, "preferred_channel is shop and last_units is 0: say how many units are kept for it"},
	}
	for _, tt := range tests {
		if err := tt.policy.Validate(); err == nil || err.Error() != tt.want {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

// chainInRationals is the policy chain once more, in fractions of any size and without a step kept.
func chainInRationals(p stock.Policy, s stock.Supply) *big.Int {
	rat := func(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }
	permille := func(n int64) *big.Rat { return big.NewRat(n, 1000) }
	limit := func(q stock.Quantity) int64 { return int64(max(-stock.MaxQuantity, min(q, stock.MaxQuantity))) }
	there := limit(s.ATP)
	if s.Pool != nil {
		there = limit(s.Pool.Left)
	}
	share := permille(1000)
	if p.SharePermille != nil {
		share = permille(*p.SharePermille)
	}
	withheld := rat(int64(p.SafetyStock) + int64(p.Buffer))
	if p.VelocityBufferPermille > 0 {
		withheld.Add(withheld, rat(int64(s.UnitsPerDay.During(s.Lag, p.VelocityBufferPermille))))
	}
	q := rat(there)
	if there > 0 {
		q.Mul(q, share)
	}
	q.Sub(q, withheld)
	if p.OversellPermille > 1000 {
		all := rat(there + max(0, limit(s.Committed)))
		all.Mul(all, share).Sub(all, withheld)
		if all.Sign() > 0 {
			q.Add(q, all.Mul(all, permille(p.OversellPermille-1000)))
		}
	}
	if q.Cmp(rat(int64(p.Threshold))) < 0 || q.Sign() < 0 {
		q = rat(0)
	}
	if p.LastUnits > 0 && s.Channel != p.PreferredChannel && there-int64(p.SafetyStock) <= int64(p.LastUnits) {
		q = rat(0)
	}
	if least := rat(int64(p.Minimum)); q.Cmp(least) < 0 {
		q = least
	}
	if p.Cap != nil {
		if most := rat(int64(*p.Cap)); q.Cmp(most) > 0 {
			q = most
		}
	}
	return new(big.Int).Div(q.Num(), new(big.Int).Mul(q.Denom(), big.NewInt(int64(max(1, s.Units)))))
}

func FuzzChain(f *testing.F) {
	f.Add(int64(101), int64(80), true, int64(25), int64(288_000), int64(20*time.Minute), int64(4), int64(800), int64(20), int64(5), int64(1000), int64(1050), int64(50), int64(3), int64(54), int64(10), int64(1))
	f.Add(int64(-1), int64(0), false, int64(21), int64(0), int64(0), int64(1), int64(-1), int64(0), int64(0), int64(0), int64(1050), int64(0), int64(0), int64(-1), int64(0), int64(1))
	m := int64(stock.MaxQuantity)
	f.Add(m, m, false, m, int64(stock.MaxRate), int64(math.MaxInt64), int64(1), int64(1000), int64(0), int64(0), int64(10_000), int64(2000), int64(0), int64(0), int64(-1), int64(0), m)
	f.Add(-m, m, false, m, int64(math.MaxInt64), int64(1), int64(7), int64(999), m, m, int64(10_000), int64(2000), m, m, m, m, int64(9))
	f.Add(int64(math.MaxInt64), int64(math.MinInt64), true, int64(math.MaxInt64), int64(7), int64(math.MaxInt64), int64(1), int64(1), int64(0), int64(0), int64(1), int64(1001), int64(0), int64(0), int64(-1), int64(0), int64(3))
	f.Fuzz(func(t *testing.T, atp, left int64, pooled bool, committed, rate, lag, units, share, safety, buffer, velocity, ratio, threshold, last, limit, minimum, more int64) {
		p := stock.Policy{SafetyStock: stock.Quantity(safety), Buffer: stock.Quantity(buffer), VelocityBufferPermille: velocity,
			OversellPermille: ratio, Threshold: stock.Quantity(threshold), LastUnits: stock.Quantity(last), Minimum: stock.Quantity(minimum)}
		if last > 0 {
			p.PreferredChannel = "shop"
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
		s := stock.Supply{ATP: stock.Quantity(atp), Committed: stock.Quantity(committed), UnitsPerDay: stock.Rate(rate),
			Lag: time.Duration(lag), Units: stock.Quantity(units), Channel: "bay"}
		if pooled {
			s.Pool = &stock.PoolSupply{Name: "flash", Left: stock.Quantity(left)}
		}
		got := p.OfferFrom(s)
		checkSteps(t, s.ATP, got)
		if want := chainInRationals(p, s); big.NewInt(int64(got.Quantity)).Cmp(want) != 0 {
			t.Fatalf("offers %d, in fractions it is %v: %+v", got.Quantity, want, got.Steps)
		}
		if got.Quantity < 0 || p.Cap != nil && got.Quantity > *p.Cap {
			t.Fatalf("offers %d", got.Quantity)
		}
		if more > 0 && atp <= math.MaxInt64-more {
			grown := s
			grown.ATP += stock.Quantity(more)
			if g := p.OfferFrom(grown); g.Quantity < got.Quantity {
				t.Fatalf("%d units offer %d packs and %d offer %d", s.ATP, got.Quantity, grown.ATP, g.Quantity)
			}
		}
	})
}

// TestSalesNeverPassTheRatio sells whatever is offered until nothing is: no order, share or buffer gets past
// floor(n × ratio), and without them the last unit of it is sold.
func TestSalesNeverPassTheRatio(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 3000).Draw(t, "n")
		p := stock.Policy{OversellPermille: rapid.Int64Range(1000, 2000).Draw(t, "ratio")}
		plain := rapid.Bool().Draw(t, "plain")
		if !plain {
			p.SharePermille = new(rapid.Int64Range(0, 1000).Draw(t, "share"))
			p.Buffer = stock.Quantity(rapid.Int64Range(0, 10).Draw(t, "buffer"))
		}
		sold := int64(0)
		for {
			offer := int64(p.OfferFrom(stock.Supply{ATP: stock.Quantity(n - sold), Committed: stock.Quantity(sold)}).Quantity)
			if offer == 0 {
				break
			}
			sold += rapid.Int64Range(1, offer).Draw(t, "order")
		}
		bound := n * p.OversellPermille / 1000
		if sold > bound || plain && sold != bound {
			t.Fatalf("%d of %d were sold at %d ‰; the bound is %d", sold, n, p.OversellPermille, bound)
		}
	})
}

func TestRateDuring(t *testing.T) {
	tests := []struct {
		rate   stock.Rate
		time   time.Duration
		factor int64
		want   stock.Quantity
	}{
		{0, time.Hour, 1000, 0}, {1000, 0, 1000, 0}, {-5, time.Hour, 1000, 0}, {1000, time.Hour, 0, 0},
		{1, 1, 1, 1},                         // anything at all is one unit
		{20_000, 72 * time.Hour, 1000, 60},   // 20 a day × 3 days
		{20_000, 72*time.Hour + 1, 1000, 61}, // and a moment longer
		{24_000, time.Hour, 1000, 1},         // one an hour
		{24_001, time.Hour, 1000, 2},         // a trifle more
		{24_000, 3 * time.Hour, 500, 2},      // 1.5
		{stock.MaxRate, math.MaxInt64, 10_000, stock.MaxQuantity},
		{math.MaxInt64, math.MaxInt64, math.MaxInt64, stock.MaxQuantity},
	}
	for _, tt := range tests {
		if got := tt.rate.During(tt.time, tt.factor); got != tt.want {
			t.Errorf("%d during %v × %d ‰ is %d, want %d", tt.rate, tt.time, tt.factor, got, tt.want)
		}
	}
}
