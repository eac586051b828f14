package stock

import (
	"fmt"
	"time"
)

// OversellLimit is how many of n units may be sold at a ratio: floor(n × permille / 1000). A ratio below 1000 sells n.
func OversellLimit(n Quantity, permille int64) Quantity {
	return scale(n, max(1000, permille), 1000)
}

// OversellLeft is how many more may be sold when n units were there to sell and committed of them are promised. It is 0
// at the bound, and beyond it.
func OversellLeft(n, committed Quantity, permille int64) Quantity {
	return max(0, OversellLimit(n, permille)-committed)
}

// OversellBound limits the ratio that a channel may be given.
type OversellBound struct {
	// MaxPermille is the configured bound; 1000 forbids every oversell.
	MaxPermille int64
	// MinOrders is how many orders must have been measured before a ratio is believed.
	MinOrders int64
}

// Validate names the first field that makes no sense.
func (b OversellBound) Validate() error {
	return firstOf(
		between("max_permille", b.MaxPermille, 1000, MaxOversellPermille),
		between("min_orders", b.MinOrders, 1, int64(MaxQuantity)),
	)
}

// Fallen counts the orders of one channel in a span, and those of them that were never paid or were cancelled before
// they were shipped.
type Fallen struct {
	Orders int64
	Fell   int64
}

// SharePermille is the measured part that fell, rounded down.
func (f Fallen) SharePermille() int64 { return PermilleOf(Quantity(f.Fell), Quantity(f.Orders)) }

// Most is the largest ratio that bound and measurement allow: 1000 and the measured share on top, and not above the
// bound. When the measurement does not suffice it is 1000, and why says so.
func (b OversellBound) Most(f Fallen) (permille int64, why string) {
	switch {
	case f.Orders < b.MinOrders:
		return 1000, fmt.Sprintf("%d orders were measured and %d are needed", f.Orders, b.MinOrders)
	case f.Fell < 0 || f.Fell > f.Orders:
		return 1000, fmt.Sprintf("the measurement says that %d of %d orders fell", f.Fell, f.Orders)
	}
	measured := 1000 + f.SharePermille()
	if measured <= b.MaxPermille {
		return measured, fmt.Sprintf("%d of %d orders fell, which is %d ‰", f.Fell, f.Orders, f.SharePermille())
	}
	return b.MaxPermille, fmt.Sprintf("the configuration allows no more; %d of %d orders fell", f.Fell, f.Orders)
}

// Check refuses a ratio below 1000 or above what bound and measurement allow. 1000 needs no measurement.
func (b OversellBound) Check(permille int64, f Fallen) error {
	if err := between("oversell_permille", permille, 1000, MaxOversellPermille); err != nil || permille == 1000 {
		return err
	}
	if most, why := b.Most(f); permille > most {
		return refuse("oversell_permille", "is %d and may be at most %d: %s", permille, most, why)
	}
	return nil
}

// OversellVersion is a ratio from an instant on, up to the next version's.
type OversellVersion struct {
	EffectiveFrom time.Time `json:"effective_from"`
	Permille      int64     `json:"permille"`
}

// OversellAt is the ratio in force at an instant: of the versions that have begun the one that began last, of two that
// began together the one that stands later; 1000 before the first.
func OversellAt(versions []OversellVersion, t time.Time) int64 {
	permille, from := int64(1000), time.Time{}
	found := false
	for _, v := range versions {
		if v.EffectiveFrom.After(t) || found && v.EffectiveFrom.Before(from) {
			continue
		}
		permille, from, found = v.Permille, v.EffectiveFrom, true
	}
	return permille
}

// BeyondRatio is how many of an order's units are an oversell incident: those above the limit that was in force when it
// was accepted. n is what was there to sell then, committed what was promised with this order. A ratio that was lowered
// since makes no incident of what was accepted before.
func BeyondRatio(n, committed, order Quantity, versions []OversellVersion, accepted time.Time) Quantity {
	return max(0, min(order, committed-OversellLimit(n, OversellAt(versions, accepted))))
}
