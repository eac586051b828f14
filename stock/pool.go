package stock

import (
	"fmt"
	"slices"
	"time"
)

// Pool is a part of the stock of one SKU that is set aside for a campaign, a bulk buyer or a channel. It exists from
// Start up to, and not including, End; what nobody bought of it goes back to the general stock then.
type Pool struct {
	Name  string    `json:"name"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Allotted is how many units are set aside.
	Allotted Quantity `json:"allotted"`
	// Exclusive allows no other pool of the same stock at the same time.
	Exclusive bool `json:"exclusive,omitempty"`
}

// Validate names the first field that makes no sense.
func (p Pool) Validate() error {
	switch {
	case p.Name == "":
		return refuse("name", "is empty: a pool has a name")
	case !p.Start.Before(p.End):
		return refuse("end", "is %s and start is %s: a pool ends after its start", utc(p.End), utc(p.Start))
	}
	return between("allotted", p.Allotted, 1, MaxQuantity)
}

// overlaps reports whether two pools exist at the same instant.
func (p Pool) overlaps(o Pool) bool { return p.Start.Before(o.End) && o.Start.Before(p.End) }

// CheckPools refuses pools of one stock that cannot all be: one that makes no sense, two of one name, two at the same
// time of which one is exclusive, or more units set aside at some instant than there are. stock is what the pools may be
// cut from: available and set aside already.
func CheckPools(stock Quantity, pools []Pool) error {
	for i, p := range pools {
		field := fmt.Sprintf("pools[%d]", i)
		if err := p.Validate(); err != nil {
			return within(field, err)
		}
		for _, o := range pools[:i] {
			switch {
			case o.Name == p.Name:
				return refuse(field+".name", "%s is there twice", p.Name)
			case p.overlaps(o) && (p.Exclusive || o.Exclusive):
				return refuse(field+".exclusive", "does not allow %s and %s at the same time", o.Name, p.Name)
			}
		}
		if p.Allotted > stock {
			return refuse(field+".allotted", "is %d: that is more than the stock of %d", p.Allotted, max(0, stock))
		}
		// The sum grows only where a pool begins, so that the fullest instants are the starts.
		for _, start := range pools[:i+1] {
			sum := Quantity(0)
			for _, o := range pools[:i+1] {
				if !start.Start.Before(o.Start) && start.Start.Before(o.End) {
					sum = min(sum+o.Allotted, 2*MaxQuantity)
				}
			}
			if sum > stock {
				return refuse(field+".allotted", "is %d: with the other pools at %s that is %d, more than the stock of %d",
					p.Allotted, utc(start.Start), sum, max(0, stock))
			}
		}
	}
	return nil
}

// Account is what one pool has: Held is set aside and not for sale yet, Open is for sale, Sold is gone to buyers.
type Account struct {
	Name             string
	Held, Open, Sold Quantity
}

// Right is what the pool still has a right to.
func (a Account) Right() Quantity { return a.Held + a.Open }

// Accounts divide a stock between the general account and pools, in the order of their rank: the last one is the first
// to lose. Whatever is done, Total stays, except for Gain and Lose; no pool gets anything of another's.
type Accounts struct {
	// General is for sale to everybody. It is below zero only when units are lost that were sold already.
	General Quantity
	// Sold is what was sold from the general account, and from pools that are over.
	Sold  Quantity
	Pools []Account
}

// Total is all units, sold ones included.
func (a *Accounts) Total() Quantity {
	sum := a.General + a.Sold
	for _, p := range a.Pools {
		sum += p.Held + p.Open + p.Sold
	}
	return sum
}

func (a *Accounts) find(name string) *Account {
	if i := slices.IndexFunc(a.Pools, func(p Account) bool { return p.Name == name }); i >= 0 {
		return &a.Pools[i]
	}
	return nil
}

func (a *Accounts) pool(name string, q Quantity) (*Account, error) {
	if err := between("quantity", q, 1, MaxQuantity); err != nil {
		return nil, err
	}
	if p := a.find(name); p != nil {
		return p, nil
	}
	return nil, refuse("pool", "%q is not there", name)
}

// Allot sets q units of the general account aside for a pool, which may be new. Other pools are not touched: ErrFull
// when the general account has not as many.
func (a *Accounts) Allot(name string, q Quantity) error {
	if name == "" {
		return refuse("pool", "is empty: a pool has a name")
	}
	if err := between("quantity", q, 1, MaxQuantity); err != nil {
		return err
	}
	if q > a.General {
		return fmt.Errorf("%w: %d are to be set aside for %s and %d belong to no pool", ErrFull, q, name, max(0, a.General))
	}
	if a.find(name) == nil {
		a.Pools = append(a.Pools, Account{Name: name})
	}
	a.General -= q
	a.find(name).Held += q
	return nil
}

// Release opens q of the units held by a pool for sale; ErrFull when it holds less.
func (a *Accounts) Release(name string, q Quantity) error {
	p, err := a.pool(name, q)
	switch {
	case err != nil:
		return err
	case q > p.Held:
		return fmt.Errorf("%w: %d of %s are to be released and %d are held", ErrFull, q, name, p.Held)
	}
	p.Held -= q
	p.Open += q
	return nil
}

// Sell sells q units from a pool, or from the general account under the empty name; ErrFull when as many are not open
// there.
func (a *Accounts) Sell(name string, q Quantity) error {
	if err := between("quantity", q, 1, MaxQuantity); err != nil {
		return err
	}
	open, sold := &a.General, &a.Sold
	if name != "" {
		p, err := a.pool(name, q)
		if err != nil {
			return err
		}
		open, sold = &p.Open, &p.Sold
	}
	if q > *open {
		return fmt.Errorf("%w: %d are asked for and %d are open", ErrFull, q, max(0, *open))
	}
	*open -= q
	*sold += q
	return nil
}

// Cancel takes back q units that were sold from a pool, or from the general account under the empty name. They are open
// there again; when the pool is over, in the general account.
func (a *Accounts) Cancel(name string, q Quantity) error {
	if err := between("quantity", q, 1, MaxQuantity); err != nil {
		return err
	}
	open, sold := &a.General, &a.Sold
	if p := a.find(name); name != "" && p != nil {
		open, sold = &p.Open, &p.Sold
	}
	if q > *sold {
		return refuse("quantity", "is %d and only %d were sold", q, *sold)
	}
	*open += q
	*sold -= q
	return nil
}

// Close ends a pool and returns how many units go back to the general account: all that nobody bought.
func (a *Accounts) Close(name string) (Quantity, error) {
	p, err := a.pool(name, 1)
	if err != nil {
		return 0, err
	}
	rest := p.Right()
	a.General += rest
	a.Sold += p.Sold
	a.Pools = slices.DeleteFunc(a.Pools, func(p Account) bool { return p.Name == name })
	return rest, nil
}

// Gain adds q units to the general account: a receipt belongs to no pool.
func (a *Accounts) Gain(q Quantity) { a.General += max(0, q) }

// Loss is what a pool lost.
type Loss struct {
	Name     string
	Quantity Quantity
}

// Lose takes q units away that are not there after all: of the general account as long as it has any, then of the pools
// from the last, of each first what it holds and then what is open. What is then still missing was sold; it makes the
// general account negative, which is an oversell. The losses of the pools are returned.
func (a *Accounts) Lose(q Quantity) []Loss {
	take := func(from *Quantity) Quantity {
		taken := max(0, min(q, *from))
		*from -= taken
		q -= taken
		return taken
	}
	q = max(0, q)
	take(&a.General)
	var losses []Loss
	for i := range slices.Backward(a.Pools) {
		p := &a.Pools[i]
		if lost := take(&p.Held) + take(&p.Open); lost > 0 {
			losses = append(losses, Loss{p.Name, lost})
		}
	}
	a.General -= q
	return losses
}

// Tranche is a part of a pool that is opened for sale on its own: at a reading of the zone's clock, or when enough of
// what was opened before is sold.
type Tranche struct {
	// SharePermille is the part of the pool.
	SharePermille int64 `json:"share_permille"`
	// Date and Clock say when; nil when the tranche waits for sales.
	Date  *Date  `json:"date,omitempty"`
	Clock *Clock `json:"clock,omitempty"`
	// AfterSoldPermille opens the tranche when this part of all units opened so far is sold; nil when it waits for its
	// instant.
	AfterSoldPermille *int64 `json:"after_sold_permille,omitempty"`
}

// Campaign opens a pool step by step.
type Campaign struct {
	Pool     Pool      `json:"pool"`
	Zone     Zone      `json:"zone"`
	Tranches []Tranche `json:"tranches"`
}

// Release is a tranche as planned: which, when and how many.
type Release struct {
	// N counts the tranches of the campaign from 1; with the pool it is the release's identity.
	N int `json:"n"`
	// At is the instant; zero when the release waits for sales.
	At                time.Time `json:"at,omitzero"`
	AfterSoldPermille int64     `json:"after_sold_permille,omitempty"`
	// Quantity is what this release opens, Sum what it and all before it open together.
	Quantity Quantity `json:"quantity"`
	Sum      Quantity `json:"sum"`
}

// Plan computes every release once, before the campaign begins: the preview, and what Due works by. Instants are those
// of Zone.Instant. The sums are floor(allotted × permille up to here / 1000), so that tranches that make 1000 open all.
// The error names the first field that makes no sense.
func (c Campaign) Plan() ([]Release, error) {
	if err := c.Pool.Validate(); err != nil {
		return nil, within("pool", err)
	}
	if len(c.Tranches) == 0 {
		return nil, refuse("tranches", "is empty: a campaign opens its pool in at least one step")
	}
	var (
		plan     []Release
		permille int64
		opened   Quantity
		last     time.Time
	)
	for i, t := range c.Tranches {
		field := fmt.Sprintf("tranches[%d]", i)
		if err := between(field+".share_permille", t.SharePermille, 1, 1000); err != nil {
			return nil, err
		}
		permille += t.SharePermille
		if permille > 1000 {
			return nil, refuse(field+".share_permille", "is %d: that makes %d of 1000 for the plan", t.SharePermille, permille)
		}
		r := Release{N: i + 1, Sum: scale(c.Pool.Allotted, permille, 1000)}
		r.Quantity = r.Sum - opened
		opened = r.Sum
		switch {
		case (t.Date == nil) != (t.Clock == nil):
			return nil, refuse(field+".date", "and clock belong together: give both, or neither")
		case (t.Date == nil) == (t.AfterSoldPermille == nil):
			return nil, refuse(field, "opens either at a date and clock or after_sold_permille: give one of the two")
		case t.Date == nil:
			if err := between(field+".after_sold_permille", *t.AfterSoldPermille, 1, 1000); err != nil {
				return nil, err
			}
			if i == 0 {
				return nil, refuse(field+".after_sold_permille", "cannot open the first tranche: nothing can be sold before it")
			}
			r.AfterSoldPermille = *t.AfterSoldPermille
		default:
			if err := between(field+".clock", *t.Clock, 0, EndOfDay); err != nil {
				return nil, err
			}
			r.At = c.Zone.Instant(*t.Date, *t.Clock)
			if r.At.Before(c.Pool.Start) || !r.At.Before(c.Pool.End) {
				return nil, refuse(field+".date", "is %s: the pool exists from %s to %s", utc(r.At), utc(c.Pool.Start), utc(c.Pool.End))
			}
			if r.At.Before(last) {
				return nil, refuse(field+".date", "is %s, before the tranche ahead of it at %s", utc(r.At), utc(last))
			}
			last = r.At
		}
		plan = append(plan, r)
	}
	return plan, nil
}

// DueRelease is a release that is to be made now.
type DueRelease struct {
	Release
	// Late is how long ago it was to be made; 0 for one that waited for sales.
	Late time.Duration
}

// Due lists the releases of a plan to be made now, in their order: those whose instant is reached, and those for which
// enough is sold of what is opened, counting the ones listed before them. done names the releases that were made,
// whatever was missed is made up for, each once; nothing is released before the pool's start or from its end on. sold is
// what was sold of the pool.
func (p Pool) Due(plan []Release, done []int, sold Quantity, now time.Time) []DueRelease {
	if now.Before(p.Start) || !now.Before(p.End) {
		return nil
	}
	opened := Quantity(0)
	for _, r := range plan {
		if slices.Contains(done, r.N) {
			opened += r.Quantity
		}
	}
	var due []DueRelease
	for _, r := range plan {
		if slices.Contains(done, r.N) {
			continue
		}
		d := DueRelease{Release: r}
		if r.At.IsZero() {
			if opened == 0 || PermilleOf(sold, opened) < r.AfterSoldPermille {
				continue
			}
		} else {
			if now.Before(r.At) {
				continue
			}
			d.Late = now.Sub(r.At)
		}
		opened += r.Quantity
		due = append(due, d)
	}
	return due
}

// Pace tells how a campaign sells.
type Pace struct {
	// SoldPermille is the part sold of the whole pool, ElapsedPermille the part of its time that has passed: sales are
	// ahead when the first is larger.
	SoldPermille    int64 `json:"sold_permille"`
	ElapsedPermille int64 `json:"elapsed_permille"`
	// SellsOutAt is when the pool would be sold out at the pace so far; zero when nothing is sold or it is too far to say.
	SellsOutAt time.Time `json:"sells_out_at,omitzero"`
}

// Pace measures the sales of a pool at an instant.
func (p Pool) Pace(sold Quantity, now time.Time) Pace {
	elapsed := max(0, min(now.Sub(p.Start), p.End.Sub(p.Start)))
	pace := Pace{SoldPermille: PermilleOf(sold, p.Allotted), ElapsedPermille: partOf(elapsed, p.End.Sub(p.Start))}
	if sold > 0 && elapsed > 0 {
		// In whole seconds, rounded up, as a quantity bounds them: MaxQuantity means too far to say.
		seconds := scaleUp(Quantity((elapsed-1)/time.Second)+1, int64(p.Allotted), int64(sold))
		if seconds < Quantity(100*366*24*time.Hour/time.Second) {
			pace.SellsOutAt = p.Start.Add(time.Duration(seconds) * time.Second).UTC()
		}
	}
	return pace
}
