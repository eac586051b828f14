package sync

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// Explain tells the chain of a listing's number: what the system of record said, what moved since, what is promised,
// what the policies leave of it, what was written and what was read back. With an instant in the past everything is
// that of then, the mapping and the policies too: it is a function of what was recorded until that instant, and asking
// again later gives the same answer. A statement that only repeated a number is told as it was first made. A zero
// instant is now. ErrNotFound when the listing is not known.
func (e *Engine) Explain(ctx context.Context, key ListingKey, at time.Time) (Explanation, error) {
	now := time.Now().UTC()
	before := !at.IsZero() && at.Before(now)
	if !before {
		at = now
	}
	x, err := e.explain(ctx, key, at, before)
	if err != nil {
		return Explanation{}, fmt.Errorf("explain %s: %w", listingText(key), err)
	}
	return x, nil
}

func (e *Engine) explain(ctx context.Context, key ListingKey, at time.Time, before bool) (Explanation, error) {
	l, err := e.listing(ctx, key)
	if err != nil {
		return Explanation{}, err
	}
	pushes, err := e.store.Pushes(ctx, key, at, 10)
	if err != nil {
		return Explanation{}, err
	}
	x := Explanation{Connection: key.Connection, Item: key.Item, Place: key.Place, At: at, Listing: e.listingView(l),
		Components: []ComponentExplanation{}, Steps: []stock.Step{}, Pushes: []PushView{}}
	for _, p := range pushes {
		x.Pushes = append(x.Pushes, PushView{Generation: p.Generation, Quantity: p.Quantity, Expect: p.Expect, Outcome: p.Outcome, Error: p.Error, At: p.At})
	}
	var t target
	var then *past
	if before {
		if then, err = e.recall(ctx, l, at); err != nil {
			return Explanation{}, err
		}
		t = then.plan.explained(&x)
		x.Listing = then.view(x.Listing, t, pushes)
	} else {
		err := e.store.View(ctx, func(tx PlanTx) error {
			p, err := e.loadPlan(tx, []ListingKey{key})
			if err == nil {
				t = p.explained(&x)
			}
			return err
		})
		if err != nil {
			return Explanation{}, err
		}
	}
	for i := range x.Components {
		if err := e.addHistory(ctx, &x.Components[i], at, then); err != nil {
			return Explanation{}, err
		}
	}
	x.Sentences = e.sentences(&x, t, before)
	return x, nil
}

// explained computes the target of the one listing and writes down how.
func (p *planInput) explained(x *Explanation) target {
	if p.engine.channels[x.Connection] == nil {
		return target{}
	}
	t := p.target(p.keys[0])
	for _, part := range t.parts {
		x.Components = append(x.Components, componentOf(p, part))
	}
	if t.steps != nil {
		x.Steps = t.steps
	}
	return t
}

func componentOf(p *planInput, part part) ComponentExplanation {
	c := ComponentExplanation{SKU: part.SKU, Units: part.Units, ATP: part.atp, Steps: part.offer.Steps, Packs: part.offer.Quantity,
		Statements: []StatementView{}, Movements: []MovementView{}, Commitments: []CommitmentView{}, Levels: []LevelView{}, Pools: []PoolView{}, Postings: []PostingView{}}
	for _, s := range p.stated[part.SKU] {
		c.Statements = append(c.Statements, statementView(s))
	}
	for _, l := range p.levels[part.SKU] {
		c.Levels = append(c.Levels, levelView(&l.Level))
	}
	for _, s := range p.pools[part.SKU] {
		if s.running() {
			reserved, committed := s.sums(everywhere)
			c.Pools = append(c.Pools, PoolView{Campaign: s.Campaign, Allotted: s.Allotted, Opened: s.Opened, Sold: s.Sold, Reserved: reserved, Committed: committed, StartedAt: s.StartedAt})
		}
	}
	return c
}

// addHistory adds what moved, what is promised and what was posted; then is nil for now.
func (e *Engine) addHistory(ctx context.Context, c *ComponentExplanation, at time.Time, then *past) error {
	var movements []HeldMovement
	var commitments []Commitment
	if then != nil {
		movements, commitments = then.movements[c.SKU], then.commitments[c.SKU]
	} else {
		var err error
		if movements, err = e.store.UncoveredMovements(ctx, c.SKU); err != nil {
			return err
		}
		if commitments, err = e.store.OpenCommitments(ctx, c.SKU, mostPromises); err != nil {
			return err
		}
	}
	for _, m := range movements {
		c.Movements = append(c.Movements, MovementView{Key: m.Key, Location: m.Location, Delta: m.Delta, Position: optionalSequence(m.Position), At: m.At})
	}
	slices.SortStableFunc(commitments, func(a, b Commitment) int { return a.AcceptedAt.Compare(b.AcceptedAt) })
	for _, m := range commitments[:min(len(commitments), mostPromises)] {
		if m.Quantity > 0 {
			c.Commitments = append(c.Commitments, CommitmentView{Connection: m.Channel, OrderID: m.OrderID, LineID: m.LineID, Location: m.Location, Quantity: m.Quantity})
		}
	}
	entries, err := e.store.Entries(ctx, c.SKU, at, 20)
	if err != nil {
		return err
	}
	for _, p := range entries {
		c.Postings = append(c.Postings, postingView(p))
	}
	return nil
}

// mostPromises bounds how many promises an explanation lists.
const mostPromises = 50

// sentences tells the chain to a person, one line a step.
func (e *Engine) sentences(x *Explanation, t target, past bool) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, c := range x.Components {
		for _, s := range c.Statements {
			say("%s says: %d of %s at %s (as of %s).", s.Connection, s.Quantity, c.SKU, s.Location, s.At.Format(time.RFC3339))
		}
		for _, m := range c.Movements {
			key, found := parseCorrectionKey(m.Key)
			switch {
			case !found:
				say("Since then: %+d at %s (%s).", m.Delta, m.Location, sentenceOf(m.Key))
			case m.Delta == 0:
				say("A count found more at %s than is tracked (stocktake %d, line %d): that waits for the word of the system of record.", m.Location, key.Stocktake, key.N)
			default:
				say("A count found %+d at %s (stocktake %d, line %d), which the statement does not contain.", m.Delta, m.Location, key.Stocktake, key.N)
			}
		}
		for _, m := range c.Commitments {
			say("Promised: %d to order %s of %s.", m.Quantity, m.OrderID, m.Connection)
		}
		for _, l := range c.Levels {
			say("At %s: %d on hand − %d committed − %d reserved − %d unavailable = %d available.", l.Location, l.OnHand, l.Committed, l.Reserved, l.Unavailable, l.Available)
		}
		for _, p := range c.Pools {
			say("The campaign %s holds %d: of %d units %d are open and %d sold.", p.Campaign, p.Reserved, p.Allotted, p.Opened, p.Sold)
		}
		for _, s := range c.Steps {
			say("%s: %d → %d.", s.Rule, s.Before, s.After)
		}
	}
	for _, s := range x.Steps[min(len(x.Steps), stepsOfLeast(t)):] {
		say("%s: %d → %d.", s.Rule, s.Before, s.After)
	}
	l := x.Listing
	switch {
	case past:
		say("By this the listing should have shown %s.", quantityText(t.quantity))
	case l.Target == nil:
		say("There is no target: %s.", l.HeldReason)
	default:
		say("So it should show %d (generation %d).", *l.Target, l.Generation)
	}
	for _, p := range slices.Backward(x.Pushes) {
		say("Written at %s: %d, answer %s%s.", p.At.Format(time.RFC3339), p.Quantity, p.Outcome, suffix(": ", p.Error))
	}
	if l.ConfirmedAt != nil {
		say("Read back at %s: %s.", l.ConfirmedAt.Format(time.RFC3339), quantityText(l.Confirmed))
	}
	if !past {
		say("State: %s%s.", l.State, suffix(", ", l.HeldReason))
	}
	return out
}

// stepsOfLeast is how many of a target's steps repeat those of the component that allows least.
func stepsOfLeast(t target) int {
	for _, p := range t.parts {
		if len(t.steps) >= len(p.offer.Steps) && len(p.offer.Steps) > 0 && t.steps[len(p.offer.Steps)-1] == p.offer.Steps[len(p.offer.Steps)-1] {
			return len(p.offer.Steps)
		}
	}
	return 0
}

func suffix(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

func quantityText(q *stock.Quantity) string {
	if q == nil {
		return "nothing that is known"
	}
	return fmt.Sprint(*q)
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func optionalSequence(p stock.Position) *int64 {
	if !p.Sequenced {
		return nil
	}
	return &p.Sequence
}

func statementView(s HeldStatement) StatementView {
	at := s.Position.SourceAt
	if at.IsZero() {
		at = s.Position.SeenAt
	}
	if at.IsZero() {
		at = s.At
	}
	return StatementView{Connection: s.Connection, Location: s.Location, Quantity: s.Quantity, Position: optionalSequence(s.Position), At: at.UTC()}
}

func levelView(l *stock.Level) LevelView {
	return LevelView{Location: l.Location, OnHand: l.Tracked(), Committed: l.Committed, Reserved: l.Reserved, Unavailable: l.Unavailable, Available: l.Available}
}

func postingView(p LedgerEntry) PostingView {
	v := PostingView{ID: eventReference(p.ID), Location: p.Location, From: p.From.String(), To: p.To.String(), Quantity: p.Quantity, At: p.At.UTC(),
		Cause: p.Cause.Kind, Reference: p.Cause.Reference}
	if p.Cause.Event > 0 {
		v.Event = eventReference(p.Cause.Event)
	}
	return v
}

// PlanNow says what would change if everything due were pushed now: it reads every channel and writes nothing, neither
// there nor here. With a channel given only that one is read.
func (e *Engine) PlanNow(ctx context.Context, only stock.ConnectionID) ([]ChangeView, error) {
	if err := e.loadState(ctx); err != nil {
		return nil, err
	}
	out := []ChangeView{}
	for _, c := range e.sortedChannels() {
		if only != "" && c.id != only {
			continue
		}
		changes, err := e.planChannel(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", c.id, err)
		}
		out = append(out, changes...)
	}
	return out, nil
}

func (e *Engine) planChannel(ctx context.Context, c *channelState) ([]ChangeView, error) {
	caps, err := c.Marketplace.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	c.connectionState.mu.Lock()
	c.caps = &caps
	c.connectionState.mu.Unlock()
	var out []ChangeView
	var after connectors.Ref
	for {
		listings, err := e.store.ListingsAfter(ctx, c.id, after, max(1, min(caps.BatchSize, maxBatch)))
		if err != nil {
			return nil, err
		}
		if len(listings) == 0 {
			return out, nil
		}
		after = listings[len(listings)-1].Ref
		changes, err := e.planListings(ctx, c, listings)
		if err != nil {
			return nil, err
		}
		out = append(out, changes...)
	}
}

func (e *Engine) planListings(ctx context.Context, c *channelState, listings []Listing) ([]ChangeView, error) {
	var keys []ListingKey
	var refs []connectors.Ref
	for _, l := range listings {
		if l.Mapped && l.Status != connectors.StatusRemoved {
			keys, refs = append(keys, l.ListingKey), append(refs, l.Ref)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	targets, err := e.targetsOf(ctx, keys)
	if err != nil {
		return nil, err
	}
	readings, err := c.Marketplace.ReadStock(ctx, refs)
	if err != nil {
		return nil, err
	}
	shown := make(map[connectors.Ref]connectors.Reading, len(readings))
	if caps := e.capabilities(c.id); caps != nil {
		readings = inOneNumber(*caps, readings)
	}
	for _, r := range readings {
		shown[r.Ref] = r
	}
	byKey := make(map[ListingKey]*Listing, len(listings))
	for i := range listings {
		byKey[listings[i].ListingKey] = &listings[i]
	}
	var out []ChangeView
	for _, key := range keys {
		t := targets[key]
		r, told := shown[key.Ref]
		if t.quantity != nil && told && !r.Unlimited && r.Quantity == *t.quantity {
			continue
		}
		change := ChangeView{Connection: c.id, Item: key.Item, Place: key.Place, Target: t.quantity, Held: t.held}
		if told {
			change.Have = &r.Quantity
		}
		if change.Held == "" {
			change.Held = byKey[key].Held
		}
		if reason := e.pausedReason(c.id); reason != "" {
			change.Held = "the connection is paused: " + reason
		}
		out = append(out, change)
	}
	return out, nil
}

// Suggestions proposes links for the listings of a channel that are not mapped, with what each would publish. Only
// unique matches are proposed.
func (e *Engine) Suggestions(ctx context.Context, connection stock.ConnectionID) ([]SuggestionView, error) {
	channel := e.channels[connection]
	if channel == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownConnection, connection)
	}
	listings, titles, err := e.unmapped(ctx, connection)
	if err != nil {
		return nil, err
	}
	items, err := e.articles(ctx)
	if err != nil {
		return nil, err
	}
	out := []SuggestionView{}
	for _, s := range mapping.Suggest(listings, items) {
		v := SuggestionView{Connection: connection, Item: s.Ref.Item, Place: s.Ref.Place, Title: titles[s.Ref], SKU: s.SKU, By: string(s.By)}
		if v.WouldPublish, err = e.wouldPublish(ctx, ListingKey{connection, s.Ref}, s.SKU); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// articles are all articles of the systems of record.
func (e *Engine) articles(ctx context.Context) (items []connectors.Item, err error) {
	var after stock.SKU
	for {
		page, err := e.store.Items(ctx, after, maxBatch)
		if err != nil {
			return nil, fmt.Errorf("load articles: %w", err)
		}
		if len(page) == 0 {
			return items, nil
		}
		items = append(items, page...)
		after = stock.SKU(page[len(page)-1].SKU)
	}
}

func (e *Engine) unmapped(ctx context.Context, connection stock.ConnectionID) (listings []connectors.Listing, titles map[connectors.Ref]string, err error) {
	titles = make(map[connectors.Ref]string)
	var after connectors.Ref
	for {
		page, err := e.store.ListingsAfter(ctx, connection, after, maxBatch)
		if err != nil {
			return nil, nil, fmt.Errorf("load listings of %s: %w", connection, err)
		}
		if len(page) == 0 {
			return listings, titles, nil
		}
		after = page[len(page)-1].Ref
		for _, l := range page {
			if !l.Mapped {
				listings = append(listings, connectors.Listing{Ref: l.Ref, SKU: l.SKU, GTIN: l.GTIN, Title: l.Title})
				titles[l.Ref] = l.Title
			}
		}
	}
}

// wouldPublish computes the target that a listing would have if it were one unit of a SKU.
func (e *Engine) wouldPublish(ctx context.Context, key ListingKey, sku stock.SKU) (stock.Quantity, error) {
	var quantity stock.Quantity
	err := e.store.View(ctx, func(tx PlanTx) error {
		p, err := e.loadPlan(linked{tx, map[ListingKey][]mapping.Component{key: {{SKU: sku, Units: 1}}}}, []ListingKey{key})
		if err != nil {
			return err
		}
		if t := p.target(key); t.quantity != nil {
			quantity = *t.quantity
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("compute what %s would publish: %w", listingText(key), err)
	}
	return quantity, nil
}

// linked is a state in which some links exist that are not stored.
type linked struct {
	PlanTx
	links map[ListingKey][]mapping.Component
}

func (l linked) Components([]ListingKey) (map[ListingKey][]mapping.Component, error) {
	return l.links, nil
}
