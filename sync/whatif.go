package sync

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// maxReplayDays is how far back a policy is replayed, and maxReplayListings how many listings a replay tells of.
const (
	maxReplayDays     = 366
	maxReplayListings = 5000
)

// replayNotes are what every replay assumes.
var replayNotes = []string{
	"the orders that really came are replayed; buyers who came and saw nothing are not known",
	"before: the policies in force now; after: with the change; both from the first to the last instant, whatever was in force then",
	"an order line is taken when its listing offers at least as many packs at that instant, and lost as a whole otherwise; a channel shows a new number at once",
	"receipts, corrections and all other rules are as they were, the mapping and the settings of everything else as they are now",
	"a stock-out is a fall of a listing's number to zero; the missing units of an oversell are of the orders taken last",
}

// ReplayView tells what the last days would have been under a changed policy.
type ReplayView struct {
	From        time.Time       `json:"from"`
	To          time.Time       `json:"to"`
	Assumptions []string        `json:"assumptions"`
	Data        []ReplayListing `json:"data" doc:"the listings that sold, or would show another number at some instant"`
}

// ReplayListing is one listing under both policies.
type ReplayListing struct {
	Connection stock.ConnectionID `json:"connection"`
	Item       string             `json:"item"`
	Place      string             `json:"place,omitempty"`
	Orders     int                `json:"orders" doc:"order lines that came"`
	Packs      stock.Quantity     `json:"packs" doc:"that they asked for"`
	Before     ReplayOutcome      `json:"before"`
	After      ReplayOutcome      `json:"after"`
}

// ReplayOutcome is what one policy would have led to at a listing.
type ReplayOutcome struct {
	LostOrders    int            `json:"lost_orders" doc:"order lines that the number shown would not have allowed"`
	LostPacks     stock.Quantity `json:"lost_packs"`
	StockOuts     int            `json:"stock_outs" doc:"how often the number would have fallen to zero"`
	OutMinutes    int64          `json:"out_minutes" doc:"for how long it would have been zero"`
	OversoldUnits stock.Quantity `json:"oversold_units" doc:"units taken that would not have been there"`
}

// ReplaySettings replays the last days of the ledger under changed policies and tells, per listing, which stock-outs and
// oversells they would have caused or avoided. It stores nothing. Only policies can be replayed.
func (e *Engine) ReplaySettings(ctx context.Context, changes []SettingChange, days int) (ReplayView, error) {
	now := time.Now().UTC()
	view := ReplayView{From: now.AddDate(0, 0, -days), To: now, Assumptions: replayNotes, Data: []ReplayListing{}}
	if days < 1 || days > maxReplayDays {
		return view, &stock.FieldError{Field: "days", Reason: fmt.Sprintf("is %d: it must be from 1 to %d", days, maxReplayDays)}
	}
	for _, c := range changes {
		if c.Kind != PolicySetting {
			return view, fmt.Errorf("%w: settings of kind %q cannot be replayed, only those of kind %s", ErrInvalid, c.Kind, PolicySetting)
		}
	}
	versions, err := e.settingVersions(Actor{}, changes, now)
	if err != nil {
		return view, err
	}
	var touched []stock.SKU
	err = e.store.View(ctx, func(tx PlanTx) error {
		settings, err := e.decisions(tx)
		if err != nil {
			return err
		}
		for _, t := range touchesOf(changes, settings) {
			more, err := tx.Touched(t)
			if err != nil {
				return err
			}
			touched = append(touched, more...)
		}
		return nil
	})
	if err != nil {
		return view, fmt.Errorf("replay: %w", err)
	}
	slices.Sort(touched)
	done := make(map[stock.SKU]bool)
	for _, sku := range slices.Compact(touched) {
		if done[sku] {
			continue
		}
		var w *replayWorld
		err := e.store.View(ctx, func(tx PlanTx) (err error) {
			w, err = e.replayWorld(tx, sku, versions)
			return err
		})
		if err != nil {
			return view, fmt.Errorf("replay %s: %w", sku, err)
		}
		for s := range w.skus {
			done[s] = true
		}
		rows, err := w.run(ctx, view.From, view.To)
		if err != nil {
			return view, fmt.Errorf("replay %s: %w", sku, err)
		}
		if view.Data = append(view.Data, rows...); len(view.Data) > maxReplayListings {
			return view, fmt.Errorf("%w: the change touches more than %d listings that sold: replay it for a channel, a SKU or a listing", ErrInvalid, maxReplayListings)
		}
	}
	slices.SortFunc(view.Data, func(a, b ReplayListing) int {
		return cmp.Or(cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Item, b.Item), cmp.Compare(a.Place, b.Place))
	})
	return view, nil
}

// replayWorld is everything that shares units with a SKU, through bundles and their parts, under both policies.
type replayWorld struct {
	engine *Engine
	skus   map[stock.SKU]bool
	keys   []ListingKey
	before *replayed
	after  *replayed
	asked  map[ListingKey]*ReplayListing
}

func (e *Engine) replayWorld(tx PlanTx, sku stock.SKU, versions []NewSetting) (*replayWorld, error) {
	w := &replayWorld{engine: e, skus: map[stock.SKU]bool{sku: true}, asked: make(map[ListingKey]*ReplayListing)}
	for grown := true; grown; {
		grown = false
		keys, err := tx.Dependents(sortedKeys(w.skus, cmp.Compare[stock.SKU]))
		if err != nil {
			return nil, err
		}
		components, err := tx.Components(keys)
		if err != nil {
			return nil, err
		}
		w.keys = keys
		for _, parts := range components {
			for _, c := range parts {
				grown = grown || !w.skus[c.SKU]
				w.skus[c.SKU] = true
			}
		}
	}
	w.keys = slices.DeleteFunc(slices.Clone(w.keys), func(k ListingKey) bool { return e.channels[k.Connection] == nil })
	for _, changed := range []bool{false, true} {
		p, err := e.loadPlan(tx, w.keys)
		if err != nil {
			return nil, err
		}
		p.onSale = true
		p.open = nil // what a channel subtracts by itself is not offered to anybody
		if changed {
			if p.settings, err = p.settings.with(e, versions); err != nil {
				return nil, err
			}
			w.after = newReplayed(p)
		} else {
			w.before = newReplayed(p)
		}
	}
	return w, nil
}

// run replays a span.
func (w *replayWorld) run(ctx context.Context, from, to time.Time) ([]ReplayListing, error) {
	var postings []stock.Posting
	skus := sortedKeys(w.skus, cmp.Compare[stock.SKU])
	err := w.engine.store.History(ctx, skus, from, to, func(o Opening) error {
		for _, r := range []*replayed{w.before, w.after} {
			l := r.level(o.LevelKey)
			l.Available, l.Committed = o.Available, o.Committed
		}
		return nil
	}, func(p stock.Posting) error {
		postings = append(postings, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(postings, func(a, b stock.Posting) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Cause.Event, b.Cause.Event))
	})
	orders, err := w.orders(ctx, postings)
	if err != nil {
		return nil, err
	}
	for _, r := range []*replayed{w.before, w.after} {
		r.begin(w.keys, from)
	}
	for len(postings) > 0 {
		n := 1
		for n < len(postings) && postings[n].At.Equal(postings[0].At) && postings[n].Cause.Event == postings[0].Cause.Event && postings[n].Cause.Reference == postings[0].Cause.Reference {
			n++
		}
		fact := postings[:n]
		postings = postings[n:]
		var order *Order
		if channel, id, ok := mapping.ParseOrderKey(fact[0].Cause.Reference); ok && fact[0].Cause.Kind == stock.CauseCommitment {
			order = orders[OrderKey{channel, id}]
		}
		w.ask(order, from)
		w.before.fact(fact, order)
		w.after.fact(fact, order)
	}
	var rows []ReplayListing
	for _, key := range w.keys {
		row := ReplayListing{Connection: key.Connection, Item: key.Item, Place: key.Place}
		if a := w.asked[key]; a != nil {
			row = *a
		}
		row.Before, row.After = w.before.end(key, to), w.after.end(key, to)
		if row.Orders > 0 || row.Before != row.After || w.before.offered(key) != w.after.offered(key) {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// orders loads the orders that the postings name.
func (w *replayWorld) orders(ctx context.Context, postings []stock.Posting) (map[OrderKey]*Order, error) {
	named := make(map[OrderKey]bool)
	for _, p := range postings {
		if channel, id, ok := mapping.ParseOrderKey(p.Cause.Reference); ok && p.Cause.Kind == stock.CauseCommitment {
			named[OrderKey{channel, id}] = true
		}
	}
	all := make(map[OrderKey]*Order, len(named))
	for page := range slices.Chunk(sortedKeys(named, compareOrderKeys), maxBatch) {
		orders, err := w.engine.store.OrdersByKey(ctx, page)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, orders)
	}
	return all, nil
}

// ask counts what an order asks for, once.
func (w *replayWorld) ask(o *Order, from time.Time) {
	if o == nil || o.AcceptedAt.Before(from) || w.before.taken[o.Key()] != nil {
		return
	}
	for i := range o.Lines {
		l := &o.Lines[i]
		key := ListingKey{o.Channel, l.Ref}
		if l.Ordered <= 0 || !slices.Contains(w.keys, key) {
			continue
		}
		if w.asked[key] == nil {
			w.asked[key] = &ReplayListing{Connection: key.Connection, Item: key.Item, Place: key.Place}
		}
		w.asked[key].Orders++
		w.asked[key].Packs += l.Ordered
	}
}

// replayed is the world under one policy. What its levels have beyond the real ones are the units of lost orders.
type replayed struct {
	plan   *planInput
	levels map[LevelKey]*HeldLevel
	// taken tells which lines of an order were taken; lost are the units of lost lines that are promised in reality.
	taken map[OrderKey]map[string]bool
	lost  map[lostKey]stock.Quantity
	// sales are what was taken of each SKU, the newest last; missing is how many of them are known not to be there.
	sales   map[stock.SKU][]replayedSale
	missing map[stock.SKU]stock.Quantity
	shown   map[ListingKey]*replayedListing
	// from is the first instant; orders from before it stay as they were.
	from time.Time
}

type lostKey struct {
	OrderKey
	LevelKey
}

type replayedSale struct {
	key   ListingKey
	units stock.Quantity
}

// replayedListing is what a listing shows, and since when.
type replayedListing struct {
	ReplayOutcome
	offer stock.Quantity
	since time.Time
	out   time.Duration
	// known is false as long as the ledger knows of none of its parts.
	known bool
}

func newReplayed(p *planInput) *replayed {
	r := &replayed{plan: p, levels: make(map[LevelKey]*HeldLevel), taken: make(map[OrderKey]map[string]bool), lost: make(map[lostKey]stock.Quantity),
		sales: make(map[stock.SKU][]replayedSale), missing: make(map[stock.SKU]stock.Quantity), shown: make(map[ListingKey]*replayedListing)}
	p.levels = make(map[stock.SKU][]*HeldLevel)
	return r
}

func (r *replayed) level(key LevelKey) *HeldLevel {
	l := r.levels[key]
	if l == nil {
		l = &HeldLevel{Level: stock.Level{SKU: key.SKU, Location: key.Location}}
		r.levels[key] = l
		r.plan.levels[key.SKU] = append(r.plan.levels[key.SKU], l)
	}
	return l
}

// offer is what a listing would show; nothing where no number can be computed.
func (r *replayed) offer(key ListingKey) stock.Quantity {
	if q := r.plan.target(key).quantity; q != nil {
		return *q
	}
	return 0
}

func (r *replayed) offered(key ListingKey) stock.Quantity { return r.shown[key].offer }

func (r *replayed) begin(keys []ListingKey, at time.Time) {
	r.from = at
	for _, key := range keys {
		known := slices.ContainsFunc(r.plan.components[key], func(c mapping.Component) bool { return len(r.plan.levels[c.SKU]) > 0 })
		r.shown[key] = &replayedListing{offer: r.offer(key), since: at, known: known}
	}
	for sku := range r.plan.levels {
		r.missing[sku] = max(0, -r.available(sku))
	}
}

func (r *replayed) available(sku stock.SKU) (sum stock.Quantity) {
	for _, l := range r.plan.levels[sku] {
		sum += l.Available
	}
	return sum
}

// fact applies the postings of one fact, without what a lost line promised.
func (r *replayed) fact(postings []stock.Posting, o *Order) {
	if o != nil && r.taken[o.Key()] == nil {
		r.decide(o)
	}
	skus := make(map[stock.SKU]bool)
	for _, p := range postings {
		key := LevelKey{p.SKU, p.Location}
		l := r.level(key)
		skus[p.SKU] = true
		units := p.Quantity
		switch {
		case p.From == stock.Available && p.To == stock.Committed:
			lost := r.lostOf(o, p)
			units -= lost
			l.Available, l.Committed = l.Available-units, l.Committed+units
			continue
		case p.From == stock.Committed && p.To == stock.Available:
			if o != nil {
				back := min(units, r.lost[lostKey{o.Key(), key}])
				r.lost[lostKey{o.Key(), key}] -= back
				units -= back
			}
			l.Available, l.Committed = l.Available+units, max(0, l.Committed-units)
			continue
		}
		if p.To == stock.Available {
			l.Available += units
		}
		if p.From == stock.Available {
			l.Available -= units
		}
		if p.To == stock.Committed {
			l.Committed += units
		}
		if p.From == stock.Committed {
			l.Committed = max(0, l.Committed-units)
		}
	}
	for sku := range skus {
		r.blame(sku)
	}
	r.show(skus, postings[0].At)
}

// decide tells which lines of an order would have been taken.
func (r *replayed) decide(o *Order) {
	taken := make(map[string]bool, len(o.Lines))
	r.taken[o.Key()] = taken
	for i := range o.Lines {
		l := &o.Lines[i]
		key := ListingKey{o.Channel, l.Ref}
		s := r.shown[key]
		old := s == nil || o.AcceptedAt.Before(r.from)
		taken[l.ID] = old || l.Ordered <= s.offer
		switch {
		case old || l.Ordered <= 0:
		case !taken[l.ID]:
			s.LostOrders++
			s.LostPacks += l.Ordered
		default:
			for _, c := range l.Components {
				r.sales[c.SKU] = append(r.sales[c.SKU], replayedSale{key, l.Ordered * c.Units})
			}
		}
	}
}

// lostOf are the units of a posting that lost lines promised in reality.
func (r *replayed) lostOf(o *Order, p stock.Posting) stock.Quantity {
	if o == nil {
		return 0
	}
	var lost, all stock.Quantity
	for i := range o.Lines {
		l := &o.Lines[i]
		for _, c := range l.Components {
			if c.SKU == p.SKU && c.Location == p.Location {
				all += l.Ordered * c.Units
				if !r.taken[o.Key()][l.ID] {
					lost += l.Ordered * c.Units
				}
			}
		}
	}
	key := lostKey{o.Key(), LevelKey{p.SKU, p.Location}}
	lost = min(lost-r.lost[key], p.Quantity)
	if all == 0 || lost <= 0 {
		return 0
	}
	r.lost[key] += lost
	return lost
}

// blame puts newly missing units on the orders taken last.
func (r *replayed) blame(sku stock.SKU) {
	missing := max(0, -r.available(sku))
	more := missing - r.missing[sku]
	r.missing[sku] = missing
	sales := r.sales[sku]
	for i := len(sales) - 1; i >= 0 && more > 0; i-- {
		units := min(more, sales[i].units)
		sales[i].units -= units
		more -= units
		r.shown[sales[i].key].OversoldUnits += units
	}
}

// show brings the listings of SKUs up to an instant.
func (r *replayed) show(skus map[stock.SKU]bool, at time.Time) {
	for key, s := range r.shown {
		if !slices.ContainsFunc(r.plan.components[key], func(c mapping.Component) bool { return skus[c.SKU] }) {
			continue
		}
		offer := r.offer(key)
		if s.known && s.offer == 0 {
			s.out += at.Sub(s.since)
		}
		if s.offer > 0 && offer == 0 {
			s.StockOuts++
		}
		s.offer, s.since, s.known = offer, at, true
	}
}

func (r *replayed) end(key ListingKey, at time.Time) ReplayOutcome {
	s := r.shown[key]
	if s.known && s.offer == 0 {
		s.out += at.Sub(s.since)
		s.since = at
	}
	s.OutMinutes = int64(s.out / time.Minute)
	return s.ReplayOutcome
}
