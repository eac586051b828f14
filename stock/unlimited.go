package stock

import (
	"fmt"
	"math/bits"
	"time"
)

// Ability is what a service can bear: at most so many units in any time of this length.
type Ability struct {
	Most Quantity      `json:"most"`
	Per  time.Duration `json:"per"`
}

// Cost is what a unit costs and brings, in the smallest unit of one currency.
type Cost struct {
	UnitCost int64 `json:"unit_cost"`
	Price    int64 `json:"price"`
	// FeePermille is the part of the price that the channel keeps.
	FeePermille int64 `json:"fee_permille,omitempty"`
	// Budget is the most that may be spent per window; nil means no budget.
	Budget *int64 `json:"budget,omitempty"`
}

// MaxMoney is the largest amount in the smallest unit of a currency.
const MaxMoney = int64(MaxQuantity)

// Net is what a sale brings after the channel's fee, rounded down.
func (c Cost) Net() int64 { return netOf(c.Price, c.FeePermille) }

func netOf(price, feePermille int64) int64 {
	return int64(scale(Quantity(price), 1000-feePermille, 1000))
}

// UnlimitedRule is the rule of an item that sells without stock.
type UnlimitedRule struct {
	// Cap is the most per window that a person allows.
	Cap Quantity `json:"cap"`
	// Abilities bound the rate, each in its own span: a second, a minute, a day.
	Abilities []Ability `json:"abilities,omitempty"`
	// Cost bounds what is spent; nil when a unit costs nothing.
	Cost *Cost `json:"cost,omitempty"`
	// SurgePermille is the part of an ability from which on a rate counts as a surge; 0 means 800.
	SurgePermille int64 `json:"surge_permille,omitempty"`
	// ScaleOutPermille is the part of the cap or of an ability at which the service is asked to grow, before the cap
	// bites; 0 means 700.
	ScaleOutPermille int64 `json:"scale_out_permille,omitempty"`
}

// Validate names the first field that makes no sense.
func (u UnlimitedRule) Validate() error {
	err := firstOf(
		between("cap", u.Cap, 0, MaxQuantity),
		between("surge_permille", u.SurgePermille, 0, 1000),
		between("scale_out_permille", u.ScaleOutPermille, 0, 999),
	)
	if err != nil {
		return err
	}
	for i, a := range u.Abilities {
		field := fmt.Sprintf("abilities[%d]", i)
		if err := between(field+".most", a.Most, 0, MaxQuantity); err != nil {
			return err
		}
		if a.Per <= 0 {
			return refuse(field+".per", "is %s: it must be a time, such as 1s, 1m or 24h", a.Per)
		}
	}
	if c := u.Cost; c != nil {
		budget := int64(0)
		if c.Budget != nil {
			budget = *c.Budget
		}
		return firstOf(
			between("cost.unit_cost", c.UnitCost, 0, MaxMoney),
			between("cost.price", c.Price, 0, MaxMoney),
			between("cost.fee_permille", c.FeePermille, 0, 1000),
			between("cost.budget", budget, 0, MaxMoney),
		)
	}
	return nil
}

func (u UnlimitedRule) surge() int64 {
	if u.SurgePermille == 0 {
		return 800
	}
	return u.SurgePermille
}

func (u UnlimitedRule) scaleOut() int64 {
	if u.ScaleOutPermille == 0 {
		return 700
	}
	return u.ScaleOutPermille
}

// Bound is one limit of an effective cap, with its reason.
type Bound struct {
	Reason string   `json:"reason"`
	Most   Quantity `json:"most"`
}

// EffectiveCap is how many units may be sold in a window of a length: the least of what a person allows, what the service
// bears in that time, and what the budget pays. Units that bring less than they cost are not sold at all. Every bound
// is listed.
func (u UnlimitedRule) EffectiveCap(length time.Duration) (Quantity, []Bound) {
	bounds := []Bound{{"configured cap", u.Cap}}
	for _, a := range u.Abilities {
		high, low := bits.Mul64(uint64(max(0, a.Most)), uint64(max(0, length)))
		most := MaxQuantity
		if per := uint64(max(1, a.Per)); high < per {
			whole, _ := bits.Div64(high, low, per)
			most = Quantity(min(whole, uint64(MaxQuantity)))
		}
		bounds = append(bounds, Bound{fmt.Sprintf("ability of %d per %s", a.Most, a.Per), most})
	}
	if c := u.Cost; c != nil && c.UnitCost > 0 {
		if net := c.Net(); net < c.UnitCost {
			bounds = append(bounds, Bound{fmt.Sprintf("a unit costs %d and brings %d", c.UnitCost, net), 0})
		} else if c.Budget != nil {
			bounds = append(bounds, Bound{fmt.Sprintf("budget of %d at %d a unit", *c.Budget, c.UnitCost), Quantity(*c.Budget / c.UnitCost)})
		}
	}
	least := MaxQuantity
	for _, b := range bounds {
		least = min(least, b.Most)
	}
	return max(0, least), bounds
}

// Demand is what was measured of an unlimited item at an instant.
type Demand struct {
	// Usage is the present window, with the effective cap.
	Usage Usage
	// Recent holds for each ability, in its order, how many units were sold in the span of that length that ends now.
	Recent []Quantity
	// Native is true where the channel can show an item as unlimited, and Most is the largest number that the channel
	// takes; 0 means that it names none.
	Native bool
	Most   Quantity
}

// Publication is what a channel shows of an unlimited item.
type Publication struct {
	// Unlimited is true where the channel is to show it natively, without a number.
	Unlimited bool `json:"unlimited"`
	// Quantity is the number otherwise: never a sentinel, always what may really be sold.
	Quantity Quantity `json:"quantity"`
	// Surge is true when a rate is near what the service bears; then the number is shown, even where Native is true.
	Surge bool `json:"surge"`
	// ScaleOut is true when the service should grow. It is told once per window, see ScaleOutOnce.
	ScaleOut bool    `json:"scale_out"`
	Bounds   []Bound `json:"bounds"`
}

// Publish decides what a channel shows: what is left of the effective cap, of the channel's own maximum and of every
// rate, whichever is least. It shows a native unlimited only while no surge runs and the cap is far.
func (u UnlimitedRule) Publish(d Demand) Publication {
	p := Publication{Bounds: []Bound{{"left of the effective cap", d.Usage.Left()}}}
	p.ScaleOut = reached(d.Usage.Used, d.Usage.Cap, u.scaleOut())
	if d.Most > 0 {
		p.Bounds = append(p.Bounds, Bound{"the most that the channel takes", d.Most})
	}
	for i, a := range u.Abilities {
		recent := Quantity(0)
		if i < len(d.Recent) {
			recent = max(0, d.Recent[i])
		}
		p.Surge = p.Surge || reached(recent, a.Most, u.surge())
		p.ScaleOut = p.ScaleOut || reached(recent, a.Most, u.scaleOut())
		p.Bounds = append(p.Bounds, Bound{fmt.Sprintf("left of %d per %s", a.Most, a.Per), max(0, a.Most-recent)})
	}
	p.Quantity = MaxQuantity
	for _, b := range p.Bounds {
		p.Quantity = min(p.Quantity, b.Most)
	}
	p.Unlimited = d.Native && !p.Surge && !p.ScaleOut && p.Quantity > 0
	return p
}

// reached reports whether used is at least so many thousandths of most; nothing left to use counts as reached.
func reached(used, most Quantity, permille int64) bool {
	return used >= scaleUp(most, permille, 1000)
}

// ScaleOutOnce reports whether the service is to be asked to grow now: when the publication says so and it was not asked
// in this window. told is the window in which it was asked last, and the one to remember is returned.
func (p Publication) ScaleOutOnce(w Window, told WindowID) (ask bool, remember WindowID) {
	if !p.ScaleOut || told == w.ID() {
		return false, told
	}
	return true, w.ID()
}
