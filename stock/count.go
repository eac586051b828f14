package stock

import (
	"cmp"
	"slices"
	"time"
)

// Moved is a change of the units that are there, at its instant.
type Moved struct {
	At    time.Time
	Delta Quantity
}

// CountedLine is one line of a stocktake. Every line has its own instant, so that sales during the count are not booked
// twice.
type CountedLine struct {
	SKU      SKU        `json:"sku"`
	Location LocationID `json:"location"`
	// AsOf is the instant at which the units were counted.
	AsOf    time.Time `json:"as_of"`
	Counted Quantity  `json:"counted"`
	// Counter is who counted.
	Counter string `json:"counter,omitempty"`
}

// ExpectedAt is what the books had at an instant: the level now, less every movement after the instant. A movement at the
// very instant was there to be counted.
func ExpectedAt(level Quantity, movements []Moved, asOf time.Time) Quantity {
	for _, m := range movements {
		if m.At.After(asOf) {
			level -= m.Delta
		}
	}
	return level
}

// Variance is a counted line beside what the books had.
type Variance struct {
	CountedLine
	Expected Quantity `json:"expected"`
	// Difference is Counted − Expected: what is to be posted, to the level of whenever it is posted.
	Difference Quantity `json:"difference"`
}

// VarianceOf compares a line with the level now and the movements since.
func VarianceOf(line CountedLine, level Quantity, movements []Moved) Variance {
	expected := ExpectedAt(level, movements, line.AsOf)
	return Variance{line, expected, line.Counted - expected}
}

// CountRule says when a line is counted again, and when a second person must approve.
type CountRule struct {
	// RecountUnits and RecountPermille are the largest difference that one count is believed with, in units and as a part
	// of what was expected; the larger of the two counts.
	RecountUnits    Quantity `json:"recount_units"`
	RecountPermille int64    `json:"recount_permille"`
	// ApproveUnits is the largest difference that is posted without a second person.
	ApproveUnits Quantity `json:"approve_units"`
}

// Validate names the first field that makes no sense.
func (r CountRule) Validate() error {
	return firstOf(
		between("recount_units", r.RecountUnits, 0, MaxQuantity),
		between("recount_permille", r.RecountPermille, 0, 1000),
		between("approve_units", r.ApproveUnits, 0, MaxQuantity),
	)
}

// NeedsRecount reports whether the line is to be counted once more. counts are the variances of the line so far, oldest
// first: one difference within the limit is believed, and so is any that two counts in a row agree on.
func (r CountRule) NeedsRecount(counts []Variance) bool {
	if len(counts) == 0 {
		return true
	}
	last := counts[len(counts)-1]
	limit := max(r.RecountUnits, scale(last.Expected, r.RecountPermille, 1000))
	if magnitude(last.Difference) <= limit {
		return false
	}
	return len(counts) < 2 || counts[len(counts)-2].Difference != last.Difference
}

// NeedsApproval reports whether a second person must approve the difference before it is posted.
func (r CountRule) NeedsApproval(v Variance) bool { return magnitude(v.Difference) > r.ApproveUnits }

// CheckApproval refuses the approval of a line by the one who counted it.
func CheckApproval(v Variance, approver string) error {
	switch {
	case approver == "":
		return refuse("approver", "is empty: a difference is approved by somebody")
	case approver == v.Counter:
		return refuse("approver", "%s counted the line: another person approves it", approver)
	}
	return nil
}

// CountReport sums up a stocktake.
type CountReport struct {
	Lines int `json:"lines"`
	// ExactPermille is the part of the lines without a difference.
	ExactPermille int64 `json:"exact_permille"`
	// AccuracyPermille is 1000 less the differences of all lines, either way, as a part of what was expected; at least 0.
	AccuracyPermille int64 `json:"accuracy_permille"`
	// Missing and Surplus are the units of the lines below and above what was expected.
	Missing Quantity `json:"missing"`
	Surplus Quantity `json:"surplus"`
	// ShrinkagePermille is what went missing on balance, as a part of what was expected; 0 when nothing did.
	ShrinkagePermille int64 `json:"shrinkage_permille"`
}

// ReportCount sums up the variances of a stocktake. Parts are rounded down, but for the differences that accuracy
// leaves out, which are rounded up: only a count without any difference is wholly accurate.
func ReportCount(variances []Variance) CountReport {
	r := CountReport{Lines: len(variances)}
	expected, exact := Quantity(0), Quantity(0)
	for _, v := range variances {
		expected += max(0, v.Expected)
		switch {
		case v.Difference == 0:
			exact++
		case v.Difference < 0:
			r.Missing -= v.Difference
		default:
			r.Surplus += v.Difference
		}
	}
	r.ExactPermille = PermilleOf(exact, Quantity(len(variances)))
	off := r.Missing + r.Surplus
	switch {
	case off == 0 && r.Lines > 0:
		r.AccuracyPermille = 1000
	case expected > 0:
		r.AccuracyPermille = max(0, 1000-int64(scaleUp(off, 1000, int64(expected))))
	}
	r.ShrinkagePermille = PermilleOf(max(0, r.Missing-r.Surplus), expected)
	return r
}

// CountPlan says how often items of each class are counted, in days; 0 leaves a class out.
type CountPlan struct {
	Days map[ABC]int
}

// Countable is an item that a plan may list.
type Countable struct {
	SKU      SKU
	Location LocationID
	Class    ABC
	// CountedAt is the last count; zero when there was none.
	CountedAt time.Time
}

// DueFor lists the items to be counted at an instant: never counted first, then the longest overdue.
func (p CountPlan) DueFor(items []Countable, now time.Time) []Countable {
	dueAt := func(c Countable) time.Time {
		if c.CountedAt.IsZero() {
			return time.Time{}
		}
		return c.CountedAt.Add(time.Duration(p.Days[c.Class]) * 24 * time.Hour)
	}
	due := slices.DeleteFunc(slices.Clone(items), func(c Countable) bool {
		return p.Days[c.Class] <= 0 || dueAt(c).After(now)
	})
	slices.SortFunc(due, func(a, b Countable) int {
		return cmp.Or(dueAt(a).Compare(dueAt(b)), cmp.Compare(a.Class, b.Class), cmp.Compare(a.SKU, b.SKU), cmp.Compare(a.Location, b.Location))
	})
	return due
}

func magnitude(q Quantity) Quantity { return max(q, -q) }
