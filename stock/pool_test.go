package stock_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestCheckPools(t *testing.T) {
	noon := at(t, "2026-11-27T12:00:00Z")
	pool := func(name string, from, to int, allotted stock.Quantity) stock.Pool {
		return stock.Pool{Name: name, Start: noon.Add(time.Duration(from) * time.Hour), End: noon.Add(time.Duration(to) * time.Hour), Allotted: allotted}
	}
	exclusive := pool("vip", 1, 3, 10)
	exclusive.Exclusive = true
	tests := []struct {
		title string
		pools []stock.Pool
		want  string
	}{
		{"all of the stock", []stock.Pool{pool("flash", 0, 2, 60), pool("bulk", 1, 3, 40)}, ""},
		{"one after the other", []stock.Pool{pool("flash", 0, 2, 100), pool("bulk", 2, 3, 100)}, ""},
		{"exclusive, and the other one over", []stock.Pool{pool("flash", 0, 1, 100), exclusive}, ""},
		{"larger than the stock", []stock.Pool{pool("flash", 0, 2, 101)}, "pools[0].allotted is 101: that is more than the stock of 100"},
		{"together larger", []stock.Pool{pool("flash", 0, 2, 60), pool("late", 3, 4, 90), pool("bulk", 1, 3, 41)},
			"pools[2].allotted is 41: with the other pools at 2026-11-27T13:00:00Z that is 101, more than the stock of 100"},
		{"together larger where an earlier one begins", []stock.Pool{pool("flash", 1, 2, 60), pool("bulk", 0, 3, 41)},
			"pools[1].allotted is 41: with the other pools at 2026-11-27T13:00:00Z that is 101, more than the stock of 100"},
		{"exclusive", []stock.Pool{pool("flash", 0, 2, 10), exclusive}, "pools[1].exclusive does not allow flash and vip at the same time"},
		{"twice", []stock.Pool{pool("flash", 0, 2, 10), pool("flash", 4, 5, 10)}, "pools[1].name flash is there twice"},
		{"no length", []stock.Pool{pool("flash", 2, 2, 10)}, "pools[0].end is 2026-11-27T14:00:00Z and start is 2026-11-27T14:00:00Z: a pool ends after its start"},
		{"nothing set aside", []stock.Pool{pool("flash", 0, 2, 0)}, "pools[0].allotted is 0: it must be from 1 to 1000000000000"},
		{"no name", []stock.Pool{pool("", 0, 2, 1)}, "pools[0].name is empty: a pool has a name"},
	}
	for _, tt := range tests {
		if err := stock.CheckPools(100, tt.pools); tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("%s: error %v, want %q", tt.title, err, tt.want)
		}
	}
}

// TestAccountsTellACampaign follows a hundred units through a campaign beside a bulk buyer.
func TestAccountsTellACampaign(t *testing.T) {
	a := stock.Accounts{General: 100}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	full := func(err error) {
		t.Helper()
		if !errors.Is(err, stock.ErrFull) {
			t.Fatalf("error %v, want that not enough is left", err)
		}
	}
	must(a.Allot("bulk", 30))
	must(a.Allot("flash", 50))
	full(a.Allot("late", 21)) // 20 belong to no pool
	full(a.Sell("flash", 1))  // nothing is released
	must(a.Release("flash", 20))
	full(a.Release("flash", 31))
	must(a.Sell("flash", 20))
	full(a.Sell("flash", 1))
	must(a.Sell("", 15))
	full(a.Sell("", 6)) // the pools are not for everybody
	must(a.Cancel("flash", 2))
	want := stock.Accounts{General: 5, Sold: 15, Pools: []stock.Account{{Name: "bulk", Held: 30}, {Name: "flash", Held: 30, Open: 2, Sold: 18}}}
	if !reflect.DeepEqual(a, want) {
		t.Fatalf("accounts %+v, want %+v", a, want)
	}
	rest, err := a.Close("flash")
	must(err)
	if rest != 32 || a.General != 37 || a.Sold != 33 || a.Total() != 100 {
		t.Fatalf("%d come back: %+v", rest, a)
	}
	must(a.Cancel("flash", 3)) // the pool is over
	if a.General != 40 || a.Sold != 30 {
		t.Fatalf("after the cancellation: %+v", a)
	}
	// 50 are not there after all: first what is everybody's, then the pool.
	if lost := a.Lose(50); !reflect.DeepEqual(lost, []stock.Loss{{Name: "bulk", Quantity: 10}}) || a.General != 0 || a.Pools[0].Right() != 20 {
		t.Fatalf("lost %v: %+v", lost, a)
	}
	if a.Lose(25); a.General != -5 || a.Total() != 25 {
		t.Fatalf("an oversell of 5: %+v", a)
	}
	if _, err := a.Close("flash"); err == nil || err.Error() != `pool "flash" is not there` {
		t.Errorf("closed twice: %v", err)
	}
	for _, err := range []error{a.Allot("", 1), a.Allot("x", 0), a.Release("bulk", -1), a.Sell("", 0), a.Cancel("", 31), a.Cancel("", 0), a.Sell("none", 1)} {
		if _, ok := errors.AsType[*stock.FieldError](err); !ok {
			t.Errorf("error %v names no field", err)
		}
	}
}

// TestPoolsConserve does anything at random: no unit appears or disappears, no account but the general one goes below
// zero, and nothing done to one pool changes another's right.
func TestPoolsConserve(t *testing.T) {
	names := []string{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		a := stock.Accounts{General: stock.Quantity(rapid.Int64Range(0, 200).Draw(t, "stock"))}
		total := a.Total()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			rights := map[string]stock.Quantity{}
			for _, p := range a.Pools {
				rights[p.Name] = p.Right()
			}
			name := rapid.SampledFrom(names).Draw(t, "pool")
			q := stock.Quantity(rapid.Int64Range(-2, 60).Draw(t, "q"))
			shrink := false
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0:
				_ = a.Allot(name, q)
			case 1:
				_ = a.Release(name, q)
			case 2:
				_ = a.Sell(name, q)
			case 3:
				_, name = a.Sell("", q), ""
			case 4:
				_ = a.Cancel(name, q)
			case 5:
				_, _ = a.Close(name)
			case 6:
				a.Gain(q)
				total += max(0, q)
				name = ""
			case 7:
				shrink = true
				general := max(0, a.General)
				lost := stock.Quantity(0)
				for _, l := range a.Lose(q) {
					lost += l.Quantity
				}
				if lost > max(0, q-general) {
					t.Fatalf("pools lost %d of %d while %d were everybody's", lost, q, general)
				}
				total -= max(0, q)
			}
			if a.Total() != total {
				t.Fatalf("%d units, want %d: %+v", a.Total(), total, a)
			}
			for _, p := range a.Pools {
				if p.Held < 0 || p.Open < 0 || p.Sold < 0 {
					t.Fatalf("below zero: %+v", p)
				}
				if right, was := rights[p.Name]; was && !shrink && p.Name != name && p.Right() != right {
					t.Fatalf("%s was touched: %d, had %d", p.Name, p.Right(), right)
				}
			}
		}
	})
}

func campaign(t *testing.T) stock.Campaign {
	day := &stock.Date{Year: 2026, Month: time.March, Day: 29}
	return stock.Campaign{
		Pool: stock.Pool{Name: "flash", Start: at(t, "2026-03-29T00:00:00Z"), End: at(t, "2026-03-30T00:00:00Z"), Allotted: 101},
		Zone: zone(t, "Europe/Berlin"),
		Tranches: []stock.Tranche{
			{SharePermille: 333, Date: day, Clock: new(stock.Clock(9000))}, // 02:30, which does not exist
			{SharePermille: 333, AfterSoldPermille: new(int64(800))},
			{SharePermille: 334, Date: day, Clock: new(stock.Clock(20 * 3600))},
		},
	}
}

func TestPlanAndDue(t *testing.T) {
	c := campaign(t)
	plan, err := c.Plan()
	if err != nil {
		t.Fatal(err)
	}
	// 33.633, 67.266 and 101, floored.
	want := []stock.Release{
		{N: 1, At: at(t, "2026-03-29T01:00:00Z"), Quantity: 33, Sum: 33},
		{N: 2, AfterSoldPermille: 800, Quantity: 34, Sum: 67},
		{N: 3, At: at(t, "2026-03-29T18:00:00Z"), Quantity: 34, Sum: 101},
	}
	if !reflect.DeepEqual(plan, want) {
		t.Fatalf("plan\n%+v, want\n%+v", plan, want)
	}
	tests := []struct {
		now  string
		done []int
		sold stock.Quantity
		want string // N and how late
	}{
		{"2026-03-28T23:59:59.999999999Z", nil, 0, "[]"},
		{"2026-03-29T00:59:59.999999999Z", nil, 0, "[]"},
		{"2026-03-29T01:00:00Z", nil, 0, "[1 0s]"},
		{"2026-03-29T01:00:00.000000001Z", nil, 0, "[1 1ns]"},
		{"2026-03-29T02:00:00Z", []int{1}, 26, "[]"},     // 787 ‰ of 33
		{"2026-03-29T02:00:00Z", []int{1}, 27, "[2 0s]"}, // 818 ‰
		{"2026-03-29T02:00:00Z", []int{1, 2}, 27, "[]"},
		{"2026-03-29T18:00:00Z", []int{1}, 10, "[3 0s]"},
		// Down all day: what was missed is made up for, in order, each once.
		{"2026-03-29T20:00:00Z", nil, 0, "[1 19h0m0s 3 2h0m0s]"},
		{"2026-03-29T20:00:00Z", []int{1}, 33, "[2 0s 3 2h0m0s]"},
		{"2026-03-29T20:00:00Z", []int{1, 3}, 54, "[2 0s]"}, // 805 ‰ of 67
		{"2026-03-29T23:59:59.999999999Z", []int{1, 2, 3}, 90, "[]"},
		{"2026-03-30T00:00:00Z", nil, 0, "[]"}, // over
	}
	for _, tt := range tests {
		got := []any{}
		for _, d := range c.Pool.Due(plan, tt.done, tt.sold, at(t, tt.now)) {
			got = append(got, d.N, d.Late)
		}
		if fmt.Sprint(got) != tt.want {
			t.Errorf("at %s with %v done and %d sold: %v, want %s", tt.now, tt.done, tt.sold, got, tt.want)
		}
	}
}

// TestTranchesThatWaitForSalesFollowEachOther has two that wait for 800 ‰: what the one opens, the other waits for.
func TestTranchesThatWaitForSalesFollowEachOther(t *testing.T) {
	c := campaign(t)
	c.Tranches = []stock.Tranche{c.Tranches[0], c.Tranches[1], {SharePermille: 334, AfterSoldPermille: new(int64(800))}}
	plan, err := c.Plan()
	if err != nil {
		t.Fatal(err)
	}
	now := at(t, "2026-03-29T12:00:00Z")
	if due := c.Pool.Due(plan, []int{1}, 33, now); len(due) != 1 || due[0].N != 2 {
		t.Errorf("with all of the first sold: %+v", due)
	}
	if due := c.Pool.Due(plan, []int{1, 2}, 54, now); len(due) != 1 || due[0].N != 3 {
		t.Errorf("with 805 ‰ of both sold: %+v", due)
	}
}

func TestPlanRefuses(t *testing.T) {
	tests := []struct {
		title  string
		change func(*stock.Campaign)
		want   string
	}{
		{"over 100 %", func(c *stock.Campaign) { c.Tranches[2].SharePermille = 335 }, "tranches[2].share_permille is 335: that makes 1001 of 1000 for the plan"},
		{"a part of nothing", func(c *stock.Campaign) { c.Tranches[1].SharePermille = 0 }, "tranches[1].share_permille is 0: it must be from 1 to 1000"},
		{"no tranche", func(c *stock.Campaign) { c.Tranches = nil }, "tranches is empty: a campaign opens its pool in at least one step"},
		{"before the start", func(c *stock.Campaign) { c.Pool.Start = c.Pool.Start.Add(2 * time.Hour) },
			"tranches[0].date is 2026-03-29T01:00:00Z: the pool exists from 2026-03-29T02:00:00Z to 2026-03-30T00:00:00Z"},
		{"at the end", func(c *stock.Campaign) { c.Pool.End = at(t, "2026-03-29T18:00:00Z") },
			"tranches[2].date is 2026-03-29T18:00:00Z: the pool exists from 2026-03-29T00:00:00Z to 2026-03-29T18:00:00Z"},
		{"backwards", func(c *stock.Campaign) { c.Tranches[2].Clock = new(stock.Clock(3 * 3600 / 2)) },
			"tranches[2].date is 2026-03-29T00:30:00Z, before the tranche ahead of it at 2026-03-29T01:00:00Z"},
		{"both ways", func(c *stock.Campaign) { c.Tranches[2].AfterSoldPermille = new(int64(1)) },
			"tranches[2] opens either at a date and clock or after_sold_permille: give one of the two"},
		{"neither way", func(c *stock.Campaign) { c.Tranches[1].AfterSoldPermille = nil },
			"tranches[1] opens either at a date and clock or after_sold_permille: give one of the two"},
		{"half an instant", func(c *stock.Campaign) { c.Tranches[2].Clock = nil }, "tranches[2].date and clock belong together: give both, or neither"},
		{"first after sales", func(c *stock.Campaign) { c.Tranches = c.Tranches[1:] },
			"tranches[0].after_sold_permille cannot open the first tranche: nothing can be sold before it"},
		{"after more than all", func(c *stock.Campaign) { c.Tranches[1].AfterSoldPermille = new(int64(1001)) },
			"tranches[1].after_sold_permille is 1001: it must be from 1 to 1000"},
		{"an impossible clock", func(c *stock.Campaign) { c.Tranches[2].Clock = new(stock.EndOfDay + 1) },
			"tranches[2].clock is 24:00:01: it must be from 00:00 to 24:00"},
		{"an impossible pool", func(c *stock.Campaign) { c.Pool.Allotted = -1 }, "pool.allotted is -1: it must be from 1 to 1000000000000"},
	}
	for _, tt := range tests {
		c := campaign(t)
		tt.change(&c)
		if _, err := c.Plan(); err == nil || err.Error() != tt.want {
			t.Errorf("%s: error %v, want %q", tt.title, err, tt.want)
		}
	}
}

// TestEveryTrancheOnce runs random campaigns with restarts and downtime, and looks a nanosecond and a second to either
// side of every instant: each tranche by the clock is released once and never early, the sum never passes the pool, and
// tranches that make 1000 release all of it.
func TestEveryTrancheOnce(t *testing.T) {
	start := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
	berlin, _ := stock.ParseZone("Europe/Berlin")
	rapid.Check(t, func(t *rapid.T) {
		c := stock.Campaign{Zone: berlin, Pool: stock.Pool{Name: "p", Start: start.Add(-time.Hour), End: start.Add(72 * time.Hour), Allotted: stock.Quantity(rapid.Int64Range(1, 5000).Draw(t, "allotted"))}}
		left := int64(1000)
		minute := 0
		for left > 0 && len(c.Tranches) < 6 {
			share := min(left, rapid.Int64Range(1, 600).Draw(t, "share"))
			tranche := stock.Tranche{SharePermille: share}
			if len(c.Tranches) > 0 && rapid.Bool().Draw(t, "by sales") {
				tranche.AfterSoldPermille = new(rapid.Int64Range(1, 1000).Draw(t, "after"))
			} else {
				minute += rapid.IntRange(1, 600).Draw(t, "minutes")
				day := stock.Date{Year: 2026, Month: 3, Day: 28}.Add(minute / 1440)
				tranche.Date, tranche.Clock = &day, new(stock.Clock(minute%1440*60))
			}
			left -= share
			c.Tranches = append(c.Tranches, tranche)
		}
		plan, err := c.Plan()
		if err != nil {
			t.Fatal(err)
		}
		var instants []time.Time
		for _, r := range plan {
			if !r.At.IsZero() {
				for _, d := range []time.Duration{-time.Second, -1, 0, 1, time.Second} {
					instants = append(instants, r.At.Add(d))
				}
			}
		}
		instants = append(instants, c.Pool.End.Add(-1))
		var done []int
		opened, sold, last := stock.Quantity(0), stock.Quantity(0), time.Time{}
		for _, now := range instants {
			if now.Before(last) || rapid.IntRange(0, 3).Draw(t, "down") == 0 && !now.Equal(instants[len(instants)-1]) {
				continue
			}
			last = now
			for _, d := range c.Pool.Due(plan, done, sold, now) {
				if d.At.After(now) {
					t.Fatalf("tranche %d of %v is released at %v", d.N, d.At, now)
				}
				for _, n := range done {
					if n == d.N {
						t.Fatalf("tranche %d is released twice", n)
					}
				}
				done = append(done, d.N)
				opened += d.Quantity
			}
			if opened > c.Pool.Allotted {
				t.Fatalf("%d of %d are open", opened, c.Pool.Allotted)
			}
			sold += stock.Quantity(rapid.Int64Range(0, int64(opened-sold)).Draw(t, "sold"))
		}
		byClock := 0
		for _, r := range plan {
			if !r.At.IsZero() {
				byClock++
			}
		}
		for _, n := range done {
			if !plan[n-1].At.IsZero() {
				byClock--
			}
		}
		if byClock != 0 {
			t.Fatalf("%d tranches by the clock were never released", byClock)
		}
		// Once all is sold, what waits for sales follows, in at most one step for each.
		for range plan {
			for _, d := range c.Pool.Due(plan, done, opened, c.Pool.End.Add(-1)) {
				done = append(done, d.N)
				opened += d.Quantity
			}
		}
		if left == 0 && len(done) == len(plan) && opened != c.Pool.Allotted {
			t.Fatalf("all tranches together opened %d of %d", opened, c.Pool.Allotted)
		}
	})
}

func TestPace(t *testing.T) {
	p := stock.Pool{Name: "flash", Start: at(t, "2026-11-27T00:00:00Z"), End: at(t, "2026-11-28T00:00:00Z"), Allotted: 100}
	six := at(t, "2026-11-27T06:00:00Z")
	if got, want := p.Pace(50, six), (stock.Pace{SoldPermille: 500, ElapsedPermille: 250, SellsOutAt: at(t, "2026-11-27T12:00:00Z")}); got != want {
		t.Errorf("half in a quarter: %+v, want %+v", got, want)
	}
	if got, want := p.Pace(0, six), (stock.Pace{ElapsedPermille: 250}); got != want {
		t.Errorf("nothing: %+v, want %+v", got, want)
	}
	if got, want := p.Pace(1, p.Start.Add(-time.Hour)), (stock.Pace{SoldPermille: 10}); got != want {
		t.Errorf("before the start: %+v, want %+v", got, want)
	}
	if got := p.Pace(100, p.End.Add(time.Hour)); got.ElapsedPermille != 1000 || !got.SellsOutAt.Equal(p.End) {
		t.Errorf("after the end: %+v", got)
	}
}
