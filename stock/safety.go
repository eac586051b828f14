package stock

import (
	"math"
	"math/big"
	"slices"
	"time"
)

// MaxLeadDays is the longest replenishment lead time that is believed.
const MaxLeadDays int64 = 3660

// GreatestSafetyStock is the greatest daily sale × the longest replenishment lead time in days: 20 a day × 3 days = 60.
// It is what the worst days seen would take until the latest delivery seen. A day's sale below zero, and a lead time
// that is not believable, is refused; of no days or no lead times nothing can be said, which is refused too.
func GreatestSafetyStock(daily []Quantity, leadDays []int64) (Quantity, error) {
	if err := checkHistory(daily, leadDays, 1); err != nil {
		return 0, err
	}
	return scale(slices.Max(daily), slices.Max(leadDays), 1), nil
}

// ServiceLevelSafetyStock is z × √(L·σd² + d²·σL²), rounded up to whole units: d and σd are mean and standard deviation of
// the daily sales, L and σL those of the lead times in days, z how many standard deviations the service level asks for, in
// thousandths (see ServiceFactor). The deviations are those of samples, with n − 1; a single lead time has none. The
// arithmetic is exact, in whole numbers of any size.
//
// The formula is the usual one for demand and lead time that vary independently: Peter L. King, "Crack the Code:
// Understanding safety stock and mastering its equations", APICS Magazine, July/August 2011; the R package inventorize
// (CRAN) computes the same root as dl.sigmadl.
func ServiceLevelSafetyStock(daily []Quantity, leadDays []int64, zPermille int64) (Quantity, error) {
	if err := checkHistory(daily, leadDays, 2); err != nil {
		return 0, err
	}
	if err := between("z_permille", zPermille, 0, 10_000); err != nil {
		return 0, err
	}
	days := make([]int64, len(daily))
	for i, q := range daily {
		days[i] = int64(q)
	}
	d, varD := moments(days)
	l, varL := moments(leadDays)
	// z² (L·σd² + d²·σL²)
	sum := new(big.Rat).Mul(l, varD)
	sum.Add(sum, new(big.Rat).Mul(new(big.Rat).Mul(d, d), varL))
	z := big.NewRat(zPermille, 1000)
	sum.Mul(sum, z).Mul(sum, z)
	return rootUp(sum), nil
}

// ServiceFactor is how many standard deviations, in thousandths and rounded to the nearest, lie between the middle of the
// normal distribution and a service level in permille: 1645 for 950. The level is from 500 to 999.
func ServiceFactor(levelPermille int64) (int64, error) {
	if err := between("service_level_permille", levelPermille, 500, 999); err != nil {
		return 0, err
	}
	return int64(math.Round(1000 * math.Sqrt2 * math.Erfinv(float64(2*levelPermille-1000)/1000))), nil
}

func checkHistory(daily []Quantity, leadDays []int64, leastDays int) error {
	if len(daily) < leastDays {
		return refuse("daily", "has %d days and needs %d", len(daily), leastDays)
	}
	if len(leadDays) == 0 {
		return refuse("lead_days", "is empty: no replenishment was measured")
	}
	for _, q := range daily {
		if err := between("daily", q, 0, MaxQuantity); err != nil {
			return err
		}
	}
	for _, l := range leadDays {
		if err := between("lead_days", l, 0, MaxLeadDays); err != nil {
			return err
		}
	}
	return nil
}

// moments are mean and variance of a sample; one value has no variance.
func moments(values []int64) (mean, variance *big.Rat) {
	n := big.NewInt(int64(len(values)))
	sum, squares := new(big.Int), new(big.Int)
	for _, v := range values {
		b := big.NewInt(v)
		sum.Add(sum, b)
		squares.Add(squares, new(big.Int).Mul(b, b))
	}
	mean = new(big.Rat).SetFrac(sum, n)
	if len(values) < 2 {
		return mean, new(big.Rat)
	}
	// (n·Σv² − (Σv)²) / (n(n−1))
	above := new(big.Int).Mul(n, squares)
	above.Sub(above, new(big.Int).Mul(sum, sum))
	return mean, new(big.Rat).SetFrac(above, new(big.Int).Mul(n, new(big.Int).Sub(n, big.NewInt(1))))
}

// rootUp is the least whole number whose square is at least r.
func rootUp(r *big.Rat) Quantity {
	// ⌈√r⌉ = ⌈√⌈r⌉⌉, because the square of a whole number is at least r when it is at least ⌈r⌉.
	whole, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	root := new(big.Int).Sqrt(whole)
	if new(big.Int).Mul(root, root).Cmp(whole) < 0 {
		root.Add(root, big.NewInt(1))
	}
	if !root.IsInt64() {
		return MaxQuantity
	}
	return min(Quantity(root.Int64()), MaxQuantity)
}

// LeadDays is a lead time from the order to the arrival in whole days, rounded up.
func LeadDays(ordered, arrived time.Time) int64 {
	const day = 24 * time.Hour
	lead := arrived.Sub(ordered)
	if lead <= 0 {
		return 0
	}
	return int64((lead-1)/day) + 1
}

// ReorderPoint is the number below which an item is to be replenished at once: safety stock + alert threshold.
func ReorderPoint(safetyStock, alertThreshold Quantity) Quantity {
	return min(MaxQuantity, max(0, safetyStock)) + min(MaxQuantity, max(0, alertThreshold))
}

// Replenishment is whether an urgent replenishment is open.
type Replenishment struct {
	Raised   bool      `json:"raised"`
	RaisedAt time.Time `json:"raised_at,omitzero"`
}

// ReplenishmentChange is what happened to an urgent replenishment.
type ReplenishmentChange string

// The changes. Each happens once until the other follows.
const (
	ReplenishmentUnchanged ReplenishmentChange = ""
	ReplenishmentRaised    ReplenishmentChange = "raised"   // too few are there, and not enough are on order
	ReplenishmentArrived   ReplenishmentChange = "arrived"  // enough are there
	ReplenishmentOnOrder   ReplenishmentChange = "on_order" // with what is on order there will be enough
)

// Next follows the stock: total units are there and incoming ones are on order; point is the reorder point. The state is
// returned with what changed, and missing is how many units are to be ordered at least while it is raised.
func (r Replenishment) Next(total, incoming, point Quantity, now time.Time) (next Replenishment, change ReplenishmentChange, missing Quantity) {
	missing = max(0, point-total-max(0, incoming))
	switch {
	case missing > 0 && !r.Raised:
		return Replenishment{Raised: true, RaisedAt: now.UTC()}, ReplenishmentRaised, missing
	case missing == 0 && r.Raised && total >= point:
		return Replenishment{}, ReplenishmentArrived, 0
	case missing == 0 && r.Raised:
		return Replenishment{}, ReplenishmentOnOrder, 0
	}
	return r, ReplenishmentUnchanged, missing
}
