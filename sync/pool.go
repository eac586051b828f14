package sync

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// PoolState is what became of a campaign: it begins once, each of its tranches is released once, and it ends once. How
// many units it holds is a function of what is decided and of the documents:
//
//	right    = allotted − sold, none once it has ended
//	reserved = the right, as far as units are there that are not promised to another pool's buyers
//
// Of several campaigns the one that begins first is served first. Units that are promised to buyers of the general stock
// are taken last of all, so that an order too many for the general stock never costs a pool its right: it is an oversell.
type PoolState struct {
	Campaign string    `json:"campaign"`
	SKU      stock.SKU `json:"sku"`
	// Start is the instant from which the campaign was to run, StartedAt and EndedAt are when that was done; EndedAt is
	// zero while it runs.
	Start     time.Time `json:"start"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// Allotted is how many units the campaign has in all, Opened how many of them its tranches have opened, Sold how many
	// buyers took; what is cancelled is not sold.
	Allotted stock.Quantity `json:"allotted"`
	Opened   stock.Quantity `json:"opened"`
	Sold     stock.Quantity `json:"sold"`
	// Done are the numbers of the tranches that were released.
	Done  []int      `json:"done,omitempty"`
	Parts []PoolPart `json:"parts,omitempty"`
}

// PoolPart is what a pool has at one location.
type PoolPart struct {
	Location stock.LocationID `json:"location"`
	// Reserved is set aside and not sold, Committed is promised to orders and still there.
	Reserved  stock.Quantity `json:"reserved"`
	Committed stock.Quantity `json:"committed"`
}

// PoolStep is something that happened to a campaign, once: N is 0 for its start, the number of a tranche, or PoolEnd.
type PoolStep struct {
	Campaign string
	N        int
	// PlannedAt is when it was to be; zero when it waited for sales.
	PlannedAt, At time.Time
	Quantity      stock.Quantity
}

// PoolEnd is the number of the last step of a campaign.
const PoolEnd = -1

func (s *PoolState) running() bool { return s != nil && s.EndedAt.IsZero() }

// part is what the pool has at a location; it is added where it is missing.
func (s *PoolState) part(location stock.LocationID) *PoolPart {
	i, found := slices.BinarySearchFunc(s.Parts, location, func(p PoolPart, l stock.LocationID) int { return cmp.Compare(p.Location, l) })
	if !found {
		s.Parts = slices.Insert(s.Parts, i, PoolPart{Location: location})
	}
	return &s.Parts[i]
}

// sums are what the pool has at the locations that serve.
func (s *PoolState) sums(serves func(stock.LocationID) bool) (reserved, committed stock.Quantity) {
	for _, p := range s.Parts {
		if serves(p.Location) {
			reserved += p.Reserved
			committed += p.Committed
		}
	}
	return reserved, committed
}

// left is what may be sold of the pool at the locations that serve.
func (s *PoolState) left(serves func(stock.LocationID) bool) stock.Quantity {
	reserved, _ := s.sums(serves)
	return min(s.Opened-s.Sold, reserved)
}

// heldPool is a pool of a batch: what is decided, nil when the campaign is removed or not in force, and what became of it,
// nil before its start.
type heldPool struct {
	name  string
	def   *campaign
	state *PoolState
}

func (p *heldPool) start() time.Time {
	if p.state != nil {
		return p.state.Start
	}
	return p.def.Start
}

// loadPools loads the pools of the SKUs and lets happen what is due.
func (b *book) loadPools(tx LedgerTx, skus []stock.SKU) error {
	d, err := b.engine.decisions(tx)
	b.settings = d
	if err != nil || !d.any(CampaignSetting) {
		return err
	}
	states, err := tx.Pools(skus, nil)
	if err != nil {
		return err
	}
	b.takePools(d, states, skus)
	return nil
}

// takePools lets happen what is due of the SKUs' campaigns.
func (b *book) takePools(d *decisions, states map[string]*PoolState, skus []stock.SKU) {
	wanted := make(map[stock.SKU]bool, len(skus))
	for _, sku := range skus {
		wanted[sku] = true
	}
	decided, _ := d.campaignsAt(b.now)
	for _, name := range sortedKeys(decided, cmp.Compare[string]) {
		def, state := decided[name], states[name]
		switch {
		case state != nil:
			b.addPool(state.SKU, &heldPool{name, def, state})
		case def != nil && wanted[def.SKU]:
			b.addPool(def.SKU, &heldPool{name, def, nil})
		}
	}
	for _, sku := range sortedKeys(b.pools, cmp.Compare[stock.SKU]) {
		slices.SortStableFunc(b.pools[sku], func(x, y *heldPool) int {
			return cmp.Or(x.start().Compare(y.start()), cmp.Compare(x.name, y.name))
		})
		b.settle(sku)
	}
}

func (b *book) addPool(sku stock.SKU, p *heldPool) {
	b.pools[sku] = append(b.pools[sku], p)
	b.poolsByName[p.name] = p
}

// poolFor is the pool that a listing sells a SKU from at an instant: of those that name the listing or its channel the one
// that names it most particularly. Nil: it sells from the general stock.
func (b *book) poolFor(key ListingKey, sku stock.SKU, at time.Time) *heldPool {
	var best *heldPool
	fit := 0
	for _, p := range b.pools[sku] {
		if p.def == nil || p.state == nil || at.Before(p.def.Start) || !at.Before(p.def.End) {
			continue
		}
		if f := p.def.fit(key); f > fit {
			best, fit = p, f
		}
	}
	return best
}

// orderedAt is when a buyer ordered: by the channel's clock where it tells, else when we heard of it.
func (o *Order) orderedAt() time.Time {
	if !o.PlacedAt.IsZero() {
		return o.PlacedAt
	}
	return o.AcceptedAt
}

// poolLocation decides where units of a pool are promised: the first location that holds enough of it, else the one that
// holds most; false when it holds none.
func (p *heldPool) poolLocation(units stock.Quantity) (stock.LocationID, bool) {
	var best *PoolPart
	for i := range p.state.Parts {
		part := &p.state.Parts[i]
		if part.Reserved >= units && units > 0 {
			return part.Location, true
		}
		if part.Reserved > 0 && (best == nil || part.Reserved > best.Reserved) {
			best = part
		}
	}
	if best == nil {
		return "", false
	}
	return best.Location, true
}

// draw counts what a line of an order has of its pool, and returns how much of the change of the promise goes directly
// between what is set aside and what is promised.
func (b *book) draw(o *Order, l *OrderLine, c *LineComponent, change stock.Quantity) stock.Quantity {
	if c.Pool == "" {
		return 0
	}
	p := b.poolsByName[c.Pool]
	if p == nil || p.state == nil {
		return 0
	}
	sold := o.pooled(l, c) - c.Pooled
	if sold == 0 && change == 0 {
		return 0
	}
	c.Pooled += sold
	p.state.Sold += sold
	part := p.state.part(c.Location)
	part.Committed += change
	b.touchPool(p)
	if !p.state.running() {
		return 0
	}
	drawn := min(change, max(0, part.Reserved))
	if change < 0 {
		drawn = max(change, min(0, sold)) // what is cancelled goes back; what was shipped is gone
	}
	part.Reserved -= drawn
	return drawn
}

func (b *book) touchPool(p *heldPool) {
	b.touchedPools[p.name] = p.state
	b.unsettled[p.state.SKU] = true
	b.dirty[p.state.SKU] = true
}

// settle lets happen what is due of a SKU's campaigns, and sets aside what each has a right to.
func (b *book) settle(sku stock.SKU) {
	delete(b.unsettled, sku)
	for _, p := range b.pools[sku] {
		b.advance(p)
	}
	var releases, takes []func()
	wants := b.poolWants(sku)
	for _, p := range b.pools[sku] {
		if p.state == nil {
			continue
		}
		for i := range p.state.Parts {
			part := &p.state.Parts[i]
			want := wants[poolPlace{p.name, part.Location}]
			change := want - part.Reserved
			if change == 0 {
				continue
			}
			part.Reserved = want
			b.touchPool(p)
			key, cause := LevelKey{sku, part.Location}, stock.Cause{Kind: stock.CauseReserve, Event: b.event.ID, Reference: "campaign " + p.name}
			if change < 0 {
				releases = append(releases, func() { b.enter(key, stock.Reserved, stock.Available, -change, cause) })
			} else {
				takes = append(takes, func() { b.enter(key, stock.Available, stock.Reserved, change, cause) })
			}
		}
	}
	for _, post := range slices.Concat(releases, takes) {
		post()
	}
	delete(b.unsettled, sku)
}

// advance begins a campaign, releases its tranches and ends it, as far as that is due.
func (b *book) advance(p *heldPool) {
	step := func(n int, planned time.Time, quantity stock.Quantity) {
		b.poolSteps = append(b.poolSteps, PoolStep{Campaign: p.name, N: n, PlannedAt: planned, At: b.now, Quantity: quantity})
		b.touchPool(p)
	}
	if p.state == nil {
		if p.def == nil || b.now.Before(p.def.Start) {
			return
		}
		p.state = &PoolState{Campaign: p.name, SKU: p.def.SKU, Start: p.def.Start, StartedAt: b.now}
		step(0, p.def.Start, p.def.Quantity)
	}
	s := p.state
	switch {
	case !s.running():
		return
	case p.def == nil:
		s.EndedAt = b.now
		step(PoolEnd, b.now, s.Allotted-s.Sold)
		return
	case !b.now.Before(p.def.End):
		s.EndedAt = b.now
		step(PoolEnd, p.def.End, s.Allotted-s.Sold)
		return
	}
	for _, due := range p.def.pool.Due(p.def.plan, s.Done, s.Sold, b.now) {
		s.Done = append(s.Done, due.N)
		step(due.N, due.At, due.Quantity)
	}
	if opened := p.def.opened(s.Done); opened != s.Opened || s.Allotted != p.def.Quantity {
		s.Opened, s.Allotted = opened, p.def.Quantity
		b.touchPool(p)
	}
}

type poolPlace struct {
	campaign string
	location stock.LocationID
}

// poolWants computes how many units each running pool of a SKU is to hold, where.
func (b *book) poolWants(sku stock.SKU) map[poolPlace]stock.Quantity {
	levels := slices.Clone(b.bySKU[sku])
	slices.SortFunc(levels, func(x, y *HeldLevel) int { return cmp.Compare(x.Location, y.Location) })
	// there are the units that pools may hold, free those of them that are promised to nobody.
	there, free := make(map[stock.LocationID]stock.Quantity), make(map[stock.LocationID]stock.Quantity)
	for _, l := range levels {
		there[l.Location] = l.Available + l.Committed
		free[l.Location] = l.Available
	}
	for _, p := range b.pools[sku] {
		if p.state == nil {
			continue
		}
		for _, part := range p.state.Parts {
			there[part.Location] += part.Reserved
			free[part.Location] += part.Reserved
			if p.state.running() {
				there[part.Location] -= part.Committed
			}
		}
	}
	wants := make(map[poolPlace]stock.Quantity)
	for _, p := range b.pools[sku] {
		if !p.state.running() {
			continue
		}
		rest := p.state.Allotted - p.state.Sold
		for _, from := range []map[stock.LocationID]stock.Quantity{free, there} {
			for _, l := range levels {
				at := l.Location
				if p.def.Location != "" && p.def.Location != at {
					continue
				}
				take := max(0, min(rest, from[at], there[at]))
				if take == 0 {
					continue
				}
				p.state.part(at)
				wants[poolPlace{p.name, at}] += take
				rest -= take
				free[at] -= take
				there[at] -= take
			}
		}
	}
	return wants
}

// campaignPass lets happen what the time has come for, and what was decided about campaigns. It returns the next instant
// at which something is due, zero when nothing is. Each step is a row in the transaction that posts it, and one process at
// a time posts, so that it happens once.
func (e *Engine) campaignPass(ctx context.Context) (time.Time, error) {
	var skus []stock.SKU
	var next time.Time
	var last int64
	now := time.Now().UTC()
	err := e.store.View(ctx, func(tx PlanTx) error {
		d, err := e.decisions(tx)
		if err != nil || !d.any(CampaignSetting) {
			return err
		}
		d.mu.Lock()
		last = d.last
		d.mu.Unlock()
		e.mu.Lock()
		known, nextKnown := e.campaignsSeen, e.campaignsNext
		e.mu.Unlock()
		if known == last && (nextKnown.IsZero() || now.Before(nextKnown)) {
			next = nextKnown
			return nil
		}
		var decided map[string]*campaign
		decided, next = d.campaignsAt(now)
		states, err := tx.Pools(nil, sortedKeys(decided, cmp.Compare[string]))
		if err != nil {
			return err
		}
		found := make(map[stock.SKU]bool)
		for name, c := range decided {
			s := states[name]
			switch {
			case s.running():
				found[s.SKU] = true
			case s == nil && c != nil && !now.Before(c.Start):
				found[c.SKU] = true
			}
		}
		skus = sortedKeys(found, cmp.Compare[stock.SKU])
		return nil
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("look for campaigns that are due: %w", err)
	}
	for batch := range slices.Chunk(skus, e.planBatch) {
		if err := e.settleCampaigns(ctx, batch); err != nil {
			return time.Time{}, err
		}
	}
	e.mu.Lock()
	e.campaignsSeen, e.campaignsNext = last, next
	e.mu.Unlock()
	return next, nil
}

func (e *Engine) settleCampaigns(ctx context.Context, skus []stock.SKU) error {
	if err := e.applying.take(ctx); err != nil {
		return err
	}
	defer e.applying.give()
	var b *book
	err := e.store.Post(ctx, func(tx LedgerTx) error {
		b = newBook(e, time.Now().UTC())
		var err error
		if b.levels, err = tx.Levels(skus); err != nil {
			return err
		}
		for _, key := range sortedKeys(b.levels, compareLevelKeys) {
			b.noteLevel(b.levels[key])
		}
		if err := b.loadPools(tx, skus); err != nil {
			return err
		}
		if err := b.watchOversells(tx); err != nil {
			return err
		}
		return tx.Save(b.changes())
	})
	if err != nil {
		return fmt.Errorf("settle campaigns: %w", err)
	}
	e.afterApply(b)
	return nil
}

// previewPools lets happen what campaigns would do now if everything that p holds as decided were.
func (p *planInput) previewPools() {
	b := newBook(p.engine, p.at)
	states := make(map[string]*PoolState)
	for _, all := range p.pools {
		for _, s := range all {
			c := *s
			c.Parts, c.Done = slices.Clone(s.Parts), slices.Clone(s.Done)
			states[s.Campaign] = &c
		}
	}
	skus := sortedKeys(p.levels, cmp.Compare[stock.SKU])
	for _, sku := range skus {
		for _, l := range p.levels[sku] {
			c := *l
			b.levels[LevelKey{l.SKU, l.Location}] = &c
			b.noteLevel(&c)
		}
	}
	b.takePools(p.settings, states, skus)
	p.levels, p.pools = b.bySKU, make(map[stock.SKU][]*PoolState)
	for sku, pools := range b.pools {
		for _, h := range pools {
			if h.state != nil {
				p.pools[sku] = append(p.pools[sku], h.state)
			}
		}
	}
}

// releasesFor are the release plans of the campaigns among the changes from which a listing would sell.
func (p *planInput) releasesFor(key ListingKey, versions []NewSetting) []stock.Release {
	var out []stock.Release
	for _, v := range versions {
		if v.Kind != CampaignSetting {
			continue
		}
		c, _ := p.settings.inForce(CampaignSetting, v.Key, p.at).(*campaign)
		if c == nil || c.fit(key) == 0 || !slices.ContainsFunc(p.components[key], func(part mapping.Component) bool { return part.SKU == c.SKU }) {
			continue
		}
		if len(c.plan) == 0 {
			out = append(out, stock.Release{N: 1, At: c.Start, Quantity: c.Quantity, Sum: c.Quantity})
		}
		out = append(out, c.plan...)
	}
	return out
}

// poolOf is the pool that a listing sells a SKU from, as the ledger has it; nil: from the general stock.
func (p *planInput) poolOf(key ListingKey, sku stock.SKU) *PoolState {
	var best *PoolState
	fit := 0
	for _, s := range p.pools[sku] {
		c, _ := p.settings.inForce(CampaignSetting, s.Campaign, p.at).(*campaign)
		if c == nil || !s.running() {
			continue
		}
		if f := c.fit(key); f > fit {
			best, fit = s, f
		}
	}
	return best
}
