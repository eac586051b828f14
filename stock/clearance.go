package stock

import (
	"cmp"
	"fmt"
	"slices"
)

// Overstock is what is known about an item of which too many are there. Prices are in the smallest unit of one currency;
// 0 means that a figure is not known.
type Overstock struct {
	Available Quantity
	// Planned is the rate of sale that the purchase was made for.
	Planned Rate
	// Before and Recent are the rates before and in the span that is looked at.
	Before, Recent Rate
	// LastPurchase is how many units the last purchase brought, and TargetCover for how many days a purchase is to last.
	LastPurchase Quantity
	TargetCover  int64
	// PriceBefore and Price are the item's own prices of the two spans, OtherPrice that of the same article elsewhere.
	PriceBefore, Price, OtherPrice int64
}

// OverstockCause names a cause.
type OverstockCause string

// The causes.
const (
	ForecastMissed OverstockCause = "forecast_missed" // it never sold as planned
	BoughtTooMuch  OverstockCause = "bought_too_much" // more was bought than the target needs
	PriceRaised    OverstockCause = "price_raised"    // it sells less since it costs more
	PriceTooHigh   OverstockCause = "price_too_high"  // it costs less elsewhere
	DemandFell     OverstockCause = "demand_fell"     // it sells less, and not for its price
)

// OverstockHint is a cause that the figures speak for, with the figures.
type OverstockHint struct {
	Cause OverstockCause `json:"cause"`
	Why   string         `json:"why"`
}

// Excess is how many of the available units are more than the target cover needs at the recent rate.
func (o Overstock) Excess() Quantity {
	needed := scaleUp(Quantity(o.Recent), o.TargetCover, 1000)
	return max(0, o.Available-needed)
}

// Hints lists the causes that the figures speak for. A rate that fell by 300 ‰ has fallen, one that fell by 100 ‰ after a
// higher price fell for the price, and one below 700 ‰ of the plan is not the plan's.
func (o Overstock) Hints() []OverstockHint {
	var hints []OverstockHint
	hint := func(c OverstockCause, format string, args ...any) {
		hints = append(hints, OverstockHint{c, fmt.Sprintf(format, args...)})
	}
	below := func(rate, than Rate, permille int64) bool {
		return than > 0 && min(rate, MaxRate)*1000 <= min(than, MaxRate)*Rate(permille)
	}
	raised := o.PriceBefore > 0 && o.Price > o.PriceBefore
	if below(o.Recent, o.Planned, 700) && (o.Before == 0 || below(o.Before, o.Planned, 700)) {
		hint(ForecastMissed, "%s a day were planned and %s are sold", perDay(o.Planned), perDay(max(o.Before, o.Recent)))
	}
	if o.TargetCover > 0 && o.LastPurchase > 0 {
		rate := max(o.Before, o.Recent)
		if needed := scaleUp(Quantity(rate), o.TargetCover, 1000); o.LastPurchase > needed {
			hint(BoughtTooMuch, "%d were bought and %d days need %d", o.LastPurchase, o.TargetCover, needed)
		}
	}
	if raised && below(o.Recent, o.Before, 900) {
		hint(PriceRaised, "the price went from %d to %d and the sales from %s to %s a day", o.PriceBefore, o.Price, perDay(o.Before), perDay(o.Recent))
	}
	if o.OtherPrice > 0 && o.Price > int64(scale(Quantity(o.OtherPrice), 1100, 1000)) {
		hint(PriceTooHigh, "it costs %d here and %d elsewhere", o.Price, o.OtherPrice)
	}
	if !raised && below(o.Recent, o.Before, 700) {
		hint(DemandFell, "the sales went from %s to %s a day at an unchanged price", perDay(o.Before), perDay(o.Recent))
	}
	return hints
}

// perDay writes a rate as units with one decimal, rounded down.
func perDay(r Rate) string { return fmt.Sprintf("%d.%d", r/1000, r%1000/100) }

// Margin is what a sale must bring.
type Margin struct {
	UnitCost int64 `json:"unit_cost"`
	// FeePermille is the part of the price that the channel keeps.
	FeePermille int64 `json:"fee_permille"`
	// Least is what must be left of a sale after fee and unit cost; it may be negative, when clearing is worth a loss.
	Least int64 `json:"least"`
}

// LowestPrice is the lowest price that pays: the least whole p with p × (1000 − fee) / 1000, rounded down, not below unit
// cost + least margin. ok is false when no price does.
func (m Margin) LowestPrice() (price int64, ok bool) {
	needed := max(0, m.UnitCost+m.Least)
	if needed == 0 {
		return 0, true
	}
	if m.FeePermille < 0 || m.FeePermille >= 1000 || needed > MaxMoney {
		return 0, false
	}
	price = int64(scaleUp(Quantity(needed), 1000, 1000-m.FeePermille))
	return price, price < MaxMoney
}

// Partner is an article that the overstock could be sold together with.
type Partner struct {
	SKU         SKU
	UnitsPerDay Rate
	Available   Quantity
	// Together counts the orders that held both articles.
	Together int64
}

// PartnerRule says who can be a partner.
type PartnerRule struct {
	// LeastCover is for how many days a partner's own stock must last: a bundle shall not empty the shelf of a best seller.
	LeastCover int64
}

// BestPartner chooses the article to bundle with: of those that sell faster than the overstock and last long enough the
// one bought together with it most often, then the fastest, then the first by name. why gives the reason.
func (r PartnerRule) BestPartner(own Rate, partners []Partner) (best Partner, why string, ok bool) {
	fit := slices.DeleteFunc(slices.Clone(partners), func(p Partner) bool {
		cover, known := DaysOfCover(p.Available, p.UnitsPerDay)
		return p.UnitsPerDay <= own || !known || cover < r.LeastCover
	})
	if len(fit) == 0 {
		return Partner{}, "no article sells faster and lasts long enough", false
	}
	best = slices.MinFunc(fit, func(a, b Partner) int {
		return cmp.Or(cmp.Compare(b.Together, a.Together), cmp.Compare(b.UnitsPerDay, a.UnitsPerDay), cmp.Compare(a.SKU, b.SKU))
	})
	why = fmt.Sprintf("%s sells %s a day", best.SKU, perDay(best.UnitsPerDay))
	if best.Together > 0 {
		why = fmt.Sprintf("%s was bought together with it in %d orders and sells %s a day", best.SKU, best.Together, perDay(best.UnitsPerDay))
	}
	return best, why, true
}

// ClearanceKind is a way to clear an overstock.
type ClearanceKind string

// The kinds.
const (
	ClearDiscount  ClearanceKind = "discount"
	ClearBundle    ClearanceKind = "bundle"
	ClearGift      ClearanceKind = "gift"
	ClearPromotion ClearanceKind = "promotion"
)

// Clearance is a proposal, with its reason.
type Clearance struct {
	Kind ClearanceKind `json:"kind"`
	Why  string        `json:"why"`
	// Price and DiscountPermille are, of a discount, the lowest price that pays.
	Price            int64 `json:"price,omitempty"`
	DiscountPermille int64 `json:"discount_permille,omitempty"`
	// Partner is, of a bundle, the article to bundle with.
	Partner SKU `json:"partner,omitempty"`
}

// ClearanceFacts are what proposals are made from.
type ClearanceFacts struct {
	Overstock
	Margin   Margin
	Partners []Partner
	Rule     PartnerRule
	// BasketMargin is what an average order leaves after costs, and GiftPermille the part of it that a gift may cost.
	BasketMargin int64
	GiftPermille int64
	// Audience counts buyers of kindred articles who have not bought this one; LeastAudience is how many make a
	// promotion worth while.
	Audience, LeastAudience int64
}

// ProposeClearance proposes how to clear an overstock, in the order discount, bundle, gift, promotion; what the figures
// do not bear is not proposed. Nothing is, when there is no excess.
func ProposeClearance(f ClearanceFacts) []Clearance {
	if f.Excess() == 0 {
		return nil
	}
	var out []Clearance
	if lowest, ok := f.Margin.LowestPrice(); ok && f.Price > 0 && lowest < f.Price {
		permille := int64(scale(Quantity(f.Price-lowest), 1000, f.Price))
		if permille > 0 {
			price := f.Price - int64(scale(Quantity(f.Price), permille, 1000))
			out = append(out, Clearance{Kind: ClearDiscount, Price: price, DiscountPermille: permille,
				Why: fmt.Sprintf("down to %d a sale still leaves %d after a cost of %d and a fee of %d ‰", price, netOf(price, f.Margin.FeePermille)-f.Margin.UnitCost, f.Margin.UnitCost, f.Margin.FeePermille)})
		}
	}
	if best, why, ok := f.Rule.BestPartner(f.Recent, f.Partners); ok {
		out = append(out, Clearance{Kind: ClearBundle, Partner: best.SKU, Why: why})
	}
	if most := int64(scale(Quantity(f.BasketMargin), f.GiftPermille, 1000)); most > 0 && f.Margin.UnitCost <= most {
		out = append(out, Clearance{Kind: ClearGift, Why: fmt.Sprintf("a unit costs %d and an order leaves %d", f.Margin.UnitCost, f.BasketMargin)})
	}
	if f.Audience > 0 && f.Audience >= f.LeastAudience {
		out = append(out, Clearance{Kind: ClearPromotion, Why: fmt.Sprintf("%d buyers of kindred articles have not bought it", f.Audience)})
	}
	return out
}

// Effect is what a clearance did.
type Effect struct {
	Before Velocity `json:"before"`
	After  Velocity `json:"after"`
	// LiftPermille is how much faster it sells, as a part of the rate before, rounded towards 0. Known is false when one of the
	// two rates is not known or nothing sold before.
	LiftPermille int64 `json:"lift_permille"`
	Known        bool  `json:"known"`
	// Extra is how many units more were sold than the rate before would have sold on the days that count, rounded towards 0;
	// negative when fewer.
	Extra Quantity `json:"extra"`
}

// MeasureEffect compares the days before a clearance with those after its start, in both without stock-outs.
func MeasureEffect(before, after []Day) Effect {
	e := Effect{Before: VelocityOf(before, len(before)), After: VelocityOf(after, len(after))}
	if e.Before.Days == 0 || e.After.Days == 0 {
		return e
	}
	// As fractions of one denominator: after.Sold × before.Days against before.Sold × after.Days.
	b, a := int64(e.Before.Days), int64(e.After.Days)
	soldAfter, soldBefore := min(e.After.Sold, MaxQuantity), min(e.Before.Sold, MaxQuantity)
	difference := int64(soldAfter)*b - int64(soldBefore)*a
	e.Extra = Quantity(difference / b)
	if soldBefore > 0 {
		e.Known = true
		lift := int64(scale(Quantity(max(difference, -difference)), 1000, int64(soldBefore)*a))
		if difference < 0 {
			lift = -lift
		}
		e.LiftPermille = lift
	}
	return e
}
