package sync

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// planBatch is how many dirty SKUs share a transaction.
const planBatch = 512

func (e *Engine) planLoop(ctx context.Context) (time.Duration, error) {
	next, err := e.store.Ripen(ctx, time.Now().UTC())
	if err != nil {
		return 0, fmt.Errorf("plan: %w", err)
	}
	n, err := e.planPass(ctx)
	if n > 0 && err == nil {
		return 0, nil
	}
	if wait := time.Until(next); !next.IsZero() && wait < e.timings.Look {
		return max(wait, time.Millisecond), err
	}
	return e.timings.Look, err
}

// planPass computes the targets of every listing that depends on a batch of dirty SKUs, and makes those whose target
// changed due. Listings that share a component are planned in one pass, so they move together.
func (e *Engine) planPass(ctx context.Context) (int, error) {
	if err := e.planning.take(ctx); err != nil {
		return 0, err
	}
	defer e.planning.give()
	wake := make(map[stock.ConnectionID]bool)
	silent, tell := false, false
	n, err := e.store.Plan(ctx, e.planBatch, func(tx PlanTx, skus []stock.SKU) error {
		keys, err := tx.Dependents(skus)
		if err != nil {
			return err
		}
		p, err := e.loadPlan(tx, keys)
		if err != nil {
			return err
		}
		changes := p.changes(time.Now().UTC())
		silent = p.silent
		for _, c := range changes {
			wake[c.Connection] = wake[c.Connection] || c.Push
		}
		told, later, err := p.watchNumbers(tx, skus)
		if err != nil {
			return err
		}
		tell = told
		for sku, at := range p.later() {
			if had, ok := later[sku]; !ok || at.Before(had) {
				later[sku] = at
			}
		}
		if err := tx.PlanLater(later); err != nil {
			return err
		}
		if opened, over := p.incidents(); len(over) > 0 || len(opened) > 0 {
			if err := tx.SaveIncidents(opened, over, p.at); err != nil {
				return err
			}
		}
		return tx.SaveTargets(changes)
	})
	if err != nil {
		return 0, fmt.Errorf("plan: %w", err)
	}
	if silent {
		e.askForLevels()
	}
	if tell {
		e.wakeOutbox.send()
	}
	for id, due := range wake {
		if c := e.channels[id]; due && c != nil {
			c.wakePush.send()
		}
	}
	return n, nil
}

// planInput is everything that the targets of some listings depend on.
type planInput struct {
	engine     *Engine
	keys       []ListingKey
	components map[ListingKey][]mapping.Component
	listings   map[ListingKey]*Listing
	levels     map[stock.SKU][]*HeldLevel
	stated     map[stock.SKU][]HeldStatement
	open       map[ListingKey]stock.Quantity
	// rules are those of the past, where it is the past that is planned.
	rules map[stock.ConnectionID]rules
	// sourced are the listings with a component whose number a system of record changed since it was last planned.
	sourced map[ListingKey]bool
	// pools are the units of SKUs that campaigns hold.
	pools map[stock.SKU][]*PoolState
	// settings are what people decided; those in force at the instant at hold.
	settings *decisions
	at       time.Time
	// demand is what the articles that are sold by windows have left.
	demand map[stock.SKU]demand
	// oversold are the open oversells of the SKUs, by their incidents.
	oversold map[stock.SKU]int64
	// onSale leaves out that sales are stopped: what the policies allow is asked for.
	onSale bool
	// measures are what was last measured of SKUs.
	measures map[stock.SKU]*Measure
	// silent is true once a target met an article of which no system of record has said anything.
	silent bool
}

func (e *Engine) loadPlan(tx PlanTx, keys []ListingKey) (*planInput, error) {
	p := &planInput{engine: e, keys: keys, levels: make(map[stock.SKU][]*HeldLevel), stated: make(map[stock.SKU][]HeldStatement),
		sourced: make(map[ListingKey]bool), at: time.Now().UTC()}
	var err error
	if p.settings, err = e.decisions(tx); err != nil {
		return nil, err
	}
	if p.components, err = tx.Components(keys); err != nil {
		return nil, err
	}
	if p.listings, err = tx.Listings(keys); err != nil {
		return nil, err
	}
	var gross []ListingKey
	wanted := make(map[stock.SKU]bool)
	for _, key := range keys {
		for _, c := range p.components[key] {
			wanted[c.SKU] = true
		}
		if caps := e.capabilities(key.Connection); caps != nil && caps.ShowsGross {
			gross = append(gross, key)
		}
	}
	skus := sortedKeys(wanted, cmp.Compare[stock.SKU])
	sourced := tx.Stated(skus)
	for _, key := range keys {
		p.sourced[key] = slices.ContainsFunc(p.components[key], func(c mapping.Component) bool { return sourced[c.SKU] })
	}
	levels, err := tx.Levels(skus)
	if err != nil {
		return nil, err
	}
	for _, key := range sortedKeys(levels, compareLevelKeys) {
		p.levels[key.SKU] = append(p.levels[key.SKU], levels[key])
	}
	if p.settings.any(CampaignSetting) {
		pools, err := tx.Pools(skus, nil)
		if err != nil {
			return nil, err
		}
		p.pools = make(map[stock.SKU][]*PoolState)
		for _, name := range sortedKeys(pools, cmp.Compare[string]) {
			p.pools[pools[name].SKU] = append(p.pools[pools[name].SKU], pools[name])
		}
	}
	if p.oversold, err = oversoldSKUs(tx, skus, time.Time{}); err != nil {
		return nil, err
	}
	statements, err := tx.Statements(skus)
	if err != nil {
		return nil, err
	}
	for _, s := range statements {
		p.stated[s.SKU] = append(p.stated[s.SKU], s)
	}
	if len(gross) > 0 {
		if p.open, err = tx.ChannelOpen(gross); err != nil {
			return nil, err
		}
	}
	if err := p.loadMeasures(tx); err != nil {
		return nil, err
	}
	return p, p.loadDemand(tx)
}

// changes compares each listing's target with the one that it has.
func (p *planInput) changes(now time.Time) []TargetChange {
	var out []TargetChange
	for _, key := range p.keys {
		l := p.listings[key]
		if l == nil || p.engine.channels[key.Connection] == nil {
			continue
		}
		t := p.target(key)
		change := TargetChange{ListingKey: key, Target: t.quantity, Generation: l.Generation, Held: t.held, At: now}
		if t.stopListing != l.StopWanted {
			change.Stop = &t.stopListing
		}
		if sameQuantity(l.Target, t.quantity) {
			switch {
			case t.quantity == nil && l.Held != t.held:
				out = append(out, change)
			case change.Stop != nil:
				change.SaleOnly, change.Push = true, l.Status != connectors.StatusRemoved
				out = append(out, change)
			}
			continue
		}
		change.Generation++
		if t.quantity != nil {
			// One that is gone is looked at when the channel tells of it again, or a reconciliation finds it.
			change.Push = l.Status != connectors.StatusRemoved
			shown := cmp.Or(l.Confirmed, l.Published)
			change.Lower = shown != nil && *t.quantity < *shown
			// An order lets a lower through, whatever a source said before. A raise that a source asked for before, and that
			// no channel shows yet, is not explained by the order that makes it smaller.
			settled := l.Generation <= l.Cleared || max(l.PublishedGeneration, l.ConfirmedGeneration) >= l.Generation
			change.Explained = !p.sourced[key] && (settled || change.Lower)
		}
		out = append(out, change)
	}
	return out
}

// target is what one listing should show, with the way there.
type target struct {
	quantity *stock.Quantity
	held     string // why there is no quantity
	// stopListing has the listing stopped at its channel too.
	stopListing bool
	parts       []part
	steps       []stock.Step // of the part that allows least, then what follows for the listing as a whole
}

// part is what one component allows.
type part struct {
	mapping.Component
	atp   stock.Quantity
	offer stock.Offer
	// origins tell who decided each field of the policy.
	origins []stock.Origin
}

// policy is what holds for one component of a listing. What people decided goes before the configuration file.
func (p *planInput) policy(c rules, key ListingKey, sku stock.SKU) (stock.Policy, []stock.Origin, error) {
	safety, _ := p.safety(sku)
	return p.settings.policy(c.Policy, key, sku, safety, p.at)
}

// policy is what held for one component of a listing at an instant, where base is what the configuration says and safety, where
// it is not nil, the safety stock that was computed for the SKU.
func (d *decisions) policy(base stock.Policy, key ListingKey, sku stock.SKU, safety *stock.Quantity, at time.Time) (stock.Policy, []stock.Origin, error) {
	if !d.any(PolicySetting) && safety == nil {
		return base, nil, nil
	}
	of := func(k PolicyKey) stock.Override {
		o, _ := d.inForce(PolicySetting, k.String(), at).(stock.Override)
		return o
	}
	bySKU := of(PolicyKey{SKU: sku})
	if bySKU.SafetyStock == nil {
		bySKU.SafetyStock = safety
	}
	return stock.Overrides{
		Default: of(PolicyKey{}).Over(stock.OverrideOf(base)),
		Channel: of(PolicyKey{Channel: key.Connection}),
		SKU:     bySKU,
		Listing: of(PolicyKey{Channel: key.Connection, Ref: key.Ref}),
	}.Resolve()
}

// target computes what a listing should show: the least of what its components allow, in packs, plus what the channel
// itself still subtracts. It is pure.
func (p *planInput) target(key ListingKey) target {
	components := p.components[key]
	if len(components) == 0 {
		return target{held: "the listing is not mapped to any SKU"}
	}
	channel, then := p.rules[key.Connection]
	if !then {
		channel = p.engine.rulesOf(p.engine.channels[key.Connection])
	}
	locations, served := channel.Places.Locations(key.Place)
	if !served {
		return target{held: fmt.Sprintf("no location is configured for the place %q of %s: say in the configuration where its stock is", key.Place, key.Connection)}
	}
	var t target
	stopped := p.stopped(key, components)
	if stopped != nil {
		t.stopListing = stopped.listing && key.Place == ""
	}
	var silent []string
	for _, c := range components {
		licence := p.settings.article(c.SKU, p.at).Kind == stock.Licence
		serves := func(l stock.LocationID) bool {
			if licence {
				return l == KeysLocation // truestock alone states how many keys there are
			}
			return len(locations) == 0 || slices.Contains(locations, l)
		}
		windowed, byWindow := p.demand[c.SKU]
		if !byWindow && !slices.ContainsFunc(p.stated[c.SKU], func(s HeldStatement) bool { return serves(s.Location) }) {
			silent = append(silent, string(c.SKU))
		}
		var atp, committed stock.Quantity
		for _, l := range p.levels[c.SKU] {
			if serves(l.Location) {
				atp += l.Available
				committed += l.Committed
			}
		}
		var before []stock.Step
		switch {
		case byWindow:
			atp, committed, before = windowed.left, 0, windowed.steps
		case p.settings.article(c.SKU, p.at).Mode == stock.Pooled:
			before = []stock.Step{{Rule: "sold only from pools", Before: atp, After: 0}}
			atp, committed = 0, 0
		}
		policy, origins, err := p.policy(channel, key, c.SKU)
		if err != nil && stopped != nil && stopped.byPerson {
			policy, err = stock.Policy{}, nil // whatever they allow, it is not sold
		}
		if err != nil {
			return target{held: fmt.Sprintf("the policies for %s make no sense together: %v", c.SKU, err)}
		}
		supply := stock.Supply{ATP: atp, Committed: committed, Channel: key.Connection, Units: c.Units}
		if safety, how := p.safety(c.SKU); safety != nil && how != "" && policy.SafetyStock == *safety {
			before = append(before, stock.Step{Rule: how, Before: atp, After: atp})
		}
		if policy.VelocityBufferPermille > 0 {
			supply.Lag = p.engine.lagOf(key.Connection)
			if m := p.measures[c.SKU]; m != nil {
				supply.UnitsPerDay = m.Velocity.UnitsPerDay
			}
			before = append(before, stock.Step{Rule: fmt.Sprintf("sells %s a day, and %s shows a change within %s", rateText(supply.UnitsPerDay), key.Connection, supply.Lag), Before: atp, After: atp})
		}
		for _, s := range p.pools[c.SKU] {
			_, promised := s.sums(serves)
			if s.running() {
				supply.Committed -= promised // they are of another stock
			}
		}
		if s := p.poolOf(key, c.SKU); s != nil {
			_, promised := s.sums(serves)
			supply.Pool, supply.Committed = &stock.PoolSupply{Name: s.Campaign, Left: s.left(serves)}, promised
		}
		offer := policy.OfferFrom(supply)
		offer.Steps = slices.Concat(before, offer.Steps)
		t.parts = append(t.parts, part{Component: c, atp: atp, origins: origins, offer: offer})
	}
	if len(silent) > 0 {
		p.silent = true
	}
	if len(silent) > 0 && (stopped == nil || !stopped.byPerson) {
		t.stopListing = false
		t.held = fmt.Sprintf("no system of record has said how many there are of %s; unknown is not zero, so the listing is left as it is", strings.Join(silent, ", "))
		return t
	}
	least := slices.MinFunc(t.parts, func(a, b part) int { return cmp.Compare(a.offer.Quantity, b.offer.Quantity) })
	quantity := least.offer.Quantity
	t.steps = slices.Clone(least.offer.Steps)
	step := func(rule string, after stock.Quantity) {
		t.steps = append(t.steps, stock.Step{Rule: rule, Before: quantity, After: after})
		quantity = after
	}
	if len(t.parts) > 1 {
		step(fmt.Sprintf("bundle: %s allows least", least.SKU), quantity)
	}
	if stopped != nil {
		step(stopped.rule, 0)
	}
	if open := p.open[key]; open > 0 {
		step("the channel's own open orders, which it subtracts itself", quantity+open)
	}
	if caps := channel.Capabilities; p.native(key, caps, t.parts) {
		t.steps = append(t.steps, nativeStep(quantity))
		quantity = Endless
	} else if caps != nil && caps.MaxQuantity > 0 && quantity > caps.MaxQuantity {
		step("the most that the channel takes", caps.MaxQuantity)
	}
	t.quantity = &quantity
	return t
}

// capabilities are those of a channel as far as they are known.
func (e *Engine) capabilities(id stock.ConnectionID) *connectors.MarketplaceCapabilities {
	c := e.channels[id]
	if c == nil {
		return nil
	}
	c.connectionState.mu.Lock()
	defer c.connectionState.mu.Unlock()
	return cmp.Or(c.caps, c.remembered)
}

// targetsOf computes targets without changing anything.
func (e *Engine) targetsOf(ctx context.Context, keys []ListingKey) (map[ListingKey]target, error) {
	out := make(map[ListingKey]target, len(keys))
	err := e.store.View(ctx, func(tx PlanTx) error {
		p, err := e.loadPlan(tx, keys)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if e.channels[key.Connection] != nil {
				out[key] = p.target(key)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("compute targets: %w", err)
	}
	return out, nil
}

func sameQuantity(a, b *stock.Quantity) bool {
	return a == b || a != nil && b != nil && *a == *b
}
