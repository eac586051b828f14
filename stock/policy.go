package stock

import (
	"fmt"
	"math/bits"
	"time"
)

// Policy says how much of what is available to promise one listing may offer. The zero value offers everything.
// Quantities are base units of the SKU, before pack division; ratios are permille.
type Policy struct {
	// SharePermille is the part of the available units that this channel may offer; nil means all (1000).
	SharePermille *int64
	// SafetyStock is withheld for the risk of late replenishment.
	SafetyStock Quantity
	// Buffer is withheld for the time that a write takes to reach the channel.
	Buffer Quantity
	// VelocityBufferPermille withholds what sells while a write is on its way: the measured sales rate × the measured
	// lag × this factor, rounded up. 0 withholds nothing, 1000 just what is measured.
	VelocityBufferPermille int64
	// OversellPermille lets more be sold than there is, because some buyers never pay: 1050 sells up to 21 of 20 units.
	// 0 and 1000 sell what there is.
	OversellPermille int64
	// Threshold publishes 0 when fewer units than this would be offered.
	Threshold Quantity
	// LastUnits keeps the last units for PreferredChannel: while no more than these are there above the safety stock,
	// every other channel offers 0. Both are set, or neither.
	LastUnits        Quantity
	PreferredChannel ConnectionID
	// Cap is the most ever offered; nil means no cap.
	Cap *Quantity
	// Minimum is offered even when less is available: for goods that are made or bought on order. It never exceeds
	// Cap.
	Minimum Quantity
}

// MaxUnits is the largest number of base units in one pack.
const MaxUnits Quantity = 1_000_000

// The limits of a policy's factors.
const (
	// MaxOversellPermille is the largest oversell ratio that can be written; a configuration bounds it further.
	MaxOversellPermille int64 = 2000
	// MaxVelocityBufferPermille is the largest factor of the velocity buffer.
	MaxVelocityBufferPermille int64 = 10_000
)

// Validate names the first field that makes no sense and says why, as a *FieldError; a policy that passes can be
// offered with.
func (p Policy) Validate() error {
	share, most, ratio := int64(1000), MaxQuantity, int64(1000)
	if p.SharePermille != nil {
		share = *p.SharePermille
	}
	if p.Cap != nil {
		most = *p.Cap
	}
	if p.OversellPermille != 0 {
		ratio = p.OversellPermille
	}
	if err := firstOf(
		between("share_permille", share, 0, 1000),
		between("safety_stock", p.SafetyStock, 0, MaxQuantity),
		between("buffer", p.Buffer, 0, MaxQuantity),
		between("velocity_buffer_permille", p.VelocityBufferPermille, 0, MaxVelocityBufferPermille),
		between("oversell_permille", ratio, 1000, MaxOversellPermille),
		between("threshold", p.Threshold, 0, MaxQuantity),
		between("last_units", p.LastUnits, 0, MaxQuantity),
		between("cap", most, 0, MaxQuantity),
		between("minimum", p.Minimum, 0, MaxQuantity),
	); err != nil {
		return err
	}
	switch {
	case p.LastUnits > 0 && p.PreferredChannel == "":
		return refuse("last_units", "is %d and no channel is preferred: say in preferred_channel which one keeps selling", p.LastUnits)
	case p.LastUnits == 0 && p.PreferredChannel != "":
		return refuse("preferred_channel", "is %s and last_units is 0: say how many units are kept for it", p.PreferredChannel)
	case p.Cap != nil && p.Minimum > *p.Cap:
		return refuse("minimum", "%d is above cap %d", p.Minimum, *p.Cap)
	}
	return nil
}

// Rate counts thousandths of a base unit per day.
type Rate int64

// MaxRate is the largest rate: MaxQuantity units per day.
const MaxRate = Rate(MaxQuantity) * 1000

// During is how many units a rate makes in a time, rounded up to whole units; the time counts in milliseconds, rounded
// up too. factor is permille: 1000 takes the rate as it is.
func (r Rate) During(d time.Duration, factor int64) Quantity {
	if r <= 0 || d <= 0 || factor <= 0 {
		return 0
	}
	ms := int64((d-1)/time.Millisecond) + 1
	// At most 10^15 × 10^4: exact in 64 bits without a sign, and in Quantity only after the division.
	product := uint64(min(r, MaxRate)) * uint64(min(factor, MaxVelocityBufferPermille))
	const over = 1000 * 1000 * 86_400_000
	high, low := bits.Mul64(product, uint64(ms))
	if high >= over {
		return MaxQuantity
	}
	whole, rest := bits.Div64(high, low, over)
	if rest > 0 {
		whole++
	}
	return Quantity(min(whole, uint64(MaxQuantity)))
}

// Supply is what the policy chain starts from: the facts about one SKU, and the channel that asks.
type Supply struct {
	// ATP is what is available to promise of the general stock at the channel's locations. Below zero it says how many
	// units were sold that do not exist.
	ATP Quantity
	// Pool is the pool that the listing sells from instead of the general stock; nil for none.
	Pool *PoolSupply
	// Committed counts the units of this stock that are promised and still there. The oversell ratio is of all that
	// was there to sell, not of the rest.
	Committed Quantity
	// UnitsPerDay is the measured rate of sale, and Lag the measured time from a sale to the written number.
	UnitsPerDay Rate
	Lag         time.Duration
	// Channel is the channel of the listing.
	Channel ConnectionID
	// Units is how many base units one pack holds.
	Units Quantity
}

// PoolSupply is what a pool has left to sell now.
type PoolSupply struct {
	Name string
	Left Quantity
}

// Offer is what a listing may sell, with the steps that led there: the answer to "why this number?".
type Offer struct {
	// Quantity counts packs, the unit of the listing.
	Quantity Quantity `json:"quantity"`
	// Steps holds every rule that was in force, in the order in which it was applied.
	Steps []Step `json:"steps"`
}

// Step is one rule of the policy chain. Before and After are whole base units, rounded down for display, except for
// the step "pack", whose After counts packs.
type Step struct {
	Rule   string   `json:"rule"`
	Before Quantity `json:"before"`
	After  Quantity `json:"after"`
}

// Offer computes what may be offered of one SKU when atp units are available to promise and one pack holds units
// base units, where neither pools, commitments nor rates matter: OfferFrom says the rest.
func (p Policy) Offer(atp, units Quantity) Offer {
	return p.OfferFrom(Supply{ATP: atp, Units: units})
}

// OfferFrom is the policy chain. It is pure; the result is never negative, never above the cap, and never smaller when
// the supply grows. With an oversell ratio, what is committed and what is offered are together never more than
// floor((ATP + Committed) × ratio). The arithmetic carries millionths of a unit from the first rule to the last, in which
// every permille product is exact, and rounds down once, at the pack division. Units below one count as one; ATP and
// Committed are taken up to MaxQuantity.
//
// Below zero a number is carried on, because the units of an oversell that are promised already count against its
// ratio; a step shows it as 0.
func (p Policy) OfferFrom(s Supply) Offer {
	const unit, permille = 1_000_000, 1000
	shown := func(q int64) Quantity { return Quantity(max(0, q) / unit) }
	units := max(1, s.Units)
	there := max(-MaxQuantity, min(s.ATP, MaxQuantity))
	q := int64(there) * unit

	steps := []Step{{Rule: "available to promise", Before: s.ATP, After: shown(q)}}
	apply := func(rule string, to int64) {
		steps = append(steps, Step{Rule: rule, Before: shown(q), After: shown(to)})
		q = to
	}
	if s.Pool != nil {
		there = max(-MaxQuantity, min(s.Pool.Left, MaxQuantity))
		apply("pool: "+s.Pool.Name, int64(there)*unit)
	}
	share := int64(permille)
	if p.SharePermille != nil {
		share = max(0, min(*p.SharePermille, permille))
		if q > 0 {
			apply("share", q/permille*share)
		} else {
			apply("share", q)
		}
	}
	withheld := int64(0)
	withhold := func(rule string, units Quantity) {
		units = min(units, MaxQuantity)
		withheld += int64(units) * unit
		apply(rule, q-int64(units)*unit)
	}
	if p.SafetyStock > 0 {
		withhold("safety stock", p.SafetyStock)
	}
	if p.Buffer > 0 {
		withhold("buffer", p.Buffer)
	}
	if p.VelocityBufferPermille > 0 {
		withhold("velocity buffer", s.UnitsPerDay.During(s.Lag, p.VelocityBufferPermille))
	}
	if p.OversellPermille > permille {
		all := int64(there+max(0, min(s.Committed, MaxQuantity))) * share * permille
		extra := max(0, all-withheld) / permille * (min(p.OversellPermille, MaxOversellPermille) - permille)
		apply("oversell ratio", q+extra)
	}
	if p.Threshold > 0 {
		to := q
		if q < int64(p.Threshold)*unit {
			to = 0
		}
		apply("threshold", to)
	}
	if p.LastUnits > 0 && s.Channel != p.PreferredChannel {
		to := q
		if there-max(0, p.SafetyStock) <= p.LastUnits {
			to = 0
		}
		apply(fmt.Sprintf("last units: for %s", p.PreferredChannel), to)
	}
	if p.Minimum > 0 {
		apply("minimum", max(q, int64(p.Minimum)*unit))
	}
	if p.Cap != nil {
		apply("cap", min(q, int64(max(0, *p.Cap))*unit))
	}
	packs := Quantity(max(0, q) / unit / int64(units))
	steps = append(steps, Step{Rule: "pack", Before: shown(q), After: packs})
	return Offer{Quantity: packs, Steps: steps}
}
