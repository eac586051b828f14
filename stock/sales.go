package stock

import (
	"cmp"
	"math/big"
	"slices"
	"time"
)

// Day is one day of a SKU, as the ledger tells it.
type Day struct {
	Sold Quantity `json:"sold"`
	// Closing is what was available at the day's end.
	Closing Quantity `json:"closing"`
	// StockOut is true when nothing was available for a part of the day: what sold then says nothing about demand.
	StockOut bool `json:"stock_out"`
}

// last are the newest so many days of a series whose last element is the newest.
func last(days []Day, n int) []Day { return days[max(0, len(days)-max(0, n)):] }

// Velocity is what sells in a day.
type Velocity struct {
	UnitsPerDay Rate     `json:"units_per_day_milli"` // rounded down
	Sold        Quantity `json:"sold"`                // on the days that count
	Days        int      `json:"days"`                // how many count
}

// VelocityOf measures the newest so many days of a series, oldest first; the usual spans are 7, 28 and 90. Days with a
// stock-out are left out; when none is left, Days is 0 and nothing is known.
func VelocityOf(days []Day, span int) Velocity {
	var v Velocity
	for _, d := range last(days, span) {
		if !d.StockOut {
			v.Sold += max(0, d.Sold)
			v.Days++
		}
	}
	if v.Days > 0 {
		v.UnitsPerDay = Rate(scaleRate(v.Sold, int64(v.Days)))
	}
	return v
}

// scaleRate is floor(1000 × units / days), up to MaxRate.
func scaleRate(units Quantity, days int64) int64 {
	whole, rest := min(units, MaxQuantity)/Quantity(days), min(units, MaxQuantity)%Quantity(days)
	return int64(whole)*1000 + int64(rest)*1000/days
}

// Turnover is how often the stock of a span was sold, in thousandths: what was sold ÷ the mean of what was there at the
// days' ends. With a year of 365 days in mind, PerYear is the same for a year. Known is false when there never was any.
type Turnover struct {
	Permille int64 `json:"permille"`
	PerYear  int64 `json:"per_year_permille"`
	Known    bool  `json:"known"`
}

// TurnoverOf measures a series of days.
func TurnoverOf(days []Day) Turnover {
	sold, closing := Quantity(0), Quantity(0)
	for _, d := range days {
		sold += max(0, d.Sold)
		closing += max(0, d.Closing)
	}
	if closing == 0 {
		return Turnover{}
	}
	// sold ÷ (closing ÷ days)
	n := int64(len(days))
	return Turnover{
		Permille: int64(scale(min(sold, MaxQuantity), 1000*n, int64(closing))),
		PerYear:  int64(scale(min(sold, MaxQuantity), 1000*365, int64(closing))),
		Known:    true,
	}
}

// DaysOfCover is for how many whole days the available units last at a rate. known is false when nothing sells.
func DaysOfCover(available Quantity, rate Rate) (days int64, known bool) {
	if rate <= 0 {
		return 0, false
	}
	return int64(scale(max(0, available), 1000, int64(rate))), true
}

// AgeBucket counts the units that came in so many days ago: from From up to, and not including, To. To is 0 in the last.
type AgeBucket struct {
	From     int64    `json:"from"`
	To       int64    `json:"to,omitempty"`
	Quantity Quantity `json:"quantity"`
}

// AgesOf tells how long the units on hand have been there, taking it that what came first leaves first: they are the
// newest of the receipts. Units that no receipt explains are of the last bucket. limits are the days at which the buckets
// end, growing: 30, 60, 90, 180 make five buckets.
func AgesOf(onHand Quantity, receipts []Arrival, limits []int64, now time.Time) []AgeBucket {
	buckets := make([]AgeBucket, len(limits)+1)
	for i, limit := range limits {
		buckets[i].To = limit
		buckets[i+1].From = limit
	}
	left := max(0, onHand)
	receipts = slices.Clone(receipts)
	slices.SortStableFunc(receipts, func(a, b Arrival) int { return b.At.Compare(a.At) })
	for _, r := range receipts {
		if r.At.After(now) || r.Units <= 0 {
			continue
		}
		units := min(left, r.Units)
		left -= units
		age := int64(now.Sub(r.At) / (24 * time.Hour))
		i, found := slices.BinarySearch(limits, age)
		if found {
			i++
		}
		buckets[i].Quantity += units
	}
	buckets[len(limits)].Quantity += left
	return buckets
}

// Mover says how an item moves.
type Mover string

// The kinds of mover.
const (
	Moving Mover = "moving"
	Slow   Mover = "slow"   // it sells, and what is there lasts too long
	Dead   Mover = "dead"   // it is there and does not sell
	Absent Mover = "absent" // nothing is there
)

// MoverRule says what is slow and what is dead.
type MoverRule struct {
	DeadDays  int   // there for so many days without a sale
	SlowCover int64 // lasting for more days than this
}

// Of judges an item by its days and what is available. A series shorter than DeadDays is never dead: it may be new.
func (r MoverRule) Of(days []Day, available Quantity) Mover {
	if available <= 0 {
		return Absent
	}
	recent := last(days, r.DeadDays)
	if len(recent) >= r.DeadDays && !slices.ContainsFunc(recent, func(d Day) bool { return d.Sold > 0 || d.StockOut }) {
		return Dead
	}
	cover, known := DaysOfCover(available, VelocityOf(days, 90).UnitsPerDay)
	if known && cover > r.SlowCover || !known && len(days) > 0 {
		return Slow
	}
	return Moving
}

// ABC is the class of an item by its part of all that is sold.
type ABC string

// The classes.
const (
	ClassA ABC = "A" // the best sellers that make the first 80 %
	ClassB ABC = "B" // the next 15 %
	ClassC ABC = "C" // the rest, and what does not sell
)

// Valued is a SKU with what was sold of it, as revenue or in units.
type Valued struct {
	SKU   SKU
	Value int64
}

// ClassifyABC puts the items into classes: by falling value (of equal ones by name), an item is of the class in which
// the part sold by those before it lies. So the best seller is always of class A.
func ClassifyABC(items []Valued) map[SKU]ABC {
	sorted := slices.Clone(items)
	slices.SortFunc(sorted, func(a, b Valued) int { return cmp.Or(cmp.Compare(b.Value, a.Value), cmp.Compare(a.SKU, b.SKU)) })
	all := new(big.Int)
	for _, i := range sorted {
		all.Add(all, big.NewInt(max(0, i.Value)))
	}
	classes := make(map[SKU]ABC, len(sorted))
	before := new(big.Int)
	below := func(permille int64) bool { // before / all < permille / 1000
		return new(big.Int).Mul(before, big.NewInt(1000)).Cmp(new(big.Int).Mul(all, big.NewInt(permille))) < 0
	}
	for _, i := range sorted {
		switch {
		case i.Value <= 0:
			classes[i.SKU] = ClassC
		case below(800):
			classes[i.SKU] = ClassA
		case below(950):
			classes[i.SKU] = ClassB
		default:
			classes[i.SKU] = ClassC
		}
		before.Add(before, big.NewInt(max(0, i.Value)))
	}
	return classes
}
