package sync

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// Version is what something was from an instant on. Of what is replaced when it changes (statements, open movements and
// promises, links, rules, what was read back) every version is kept, so that a number of the past can be explained by
// what was in force then. An empty Value says that it ended.
type Version struct {
	Subject, Key string
	At           time.Time
	Value        string
}

// Versions keep the past.
type Versions interface {
	SaveVersions(ctx context.Context, versions []Version) error
	// VersionsAt are the values of a subject that were in force at an instant, by key; those that had ended are left out.
	VersionsAt(ctx context.Context, subject string, at time.Time) (map[string]string, error)
}

// The keys of versions; those of which there are several go on with names.
const (
	statementKey    = "statement"
	openMovementKey = "movement"
	commitmentKey   = "commitment"
	componentsKey   = "components"
	shownKey        = "shown"
	channelOpenKey  = "open"
	rulesKey        = "rules"
	poolKey         = "pool"
)

// names joins names that may contain anything but control characters.
func names(parts ...string) string { return strings.Join(parts, "\x1f") }

// SKUSubject is the subject of the versions of a SKU.
func SKUSubject(sku stock.SKU) string { return names("sku", string(sku)) }

func listingSubject(key ListingKey) string {
	return names("listing", string(key.Connection), key.Item, key.Place)
}

func connectionSubject(id stock.ConnectionID) string { return names("connection", string(id)) }

func version(subject, key string, at time.Time, value any) Version {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("write a version of %T: %v", value, err)) // plain structs of this package: only a bug leads here
	}
	return Version{Subject: subject, Key: key, At: at, Value: string(text)}
}

// ComponentsVersion is what a listing consists of from an instant on; no components end its mapping.
func ComponentsVersion(key ListingKey, components []mapping.Component, at time.Time) Version {
	if len(components) == 0 {
		return Version{Subject: listingSubject(key), Key: componentsKey, At: at}
	}
	return version(listingSubject(key), componentsKey, at, components)
}

// ShownVersion is what a channel was found to show of a listing. What a write was found to show at once is told by that
// write: it needs no version.
func ShownVersion(key ListingKey, quantity stock.Quantity, generation int64, at time.Time) Version {
	return version(listingSubject(key), shownKey, at, shown{quantity, generation, at})
}

type shown struct {
	Quantity   stock.Quantity
	Generation int64
	At         time.Time
}

// rules are what the seller decided for a channel, and what the channel takes.
type rules struct {
	Policy       stock.Policy
	Places       mapping.Places
	Capabilities *connectors.MarketplaceCapabilities
}

func (e *Engine) rulesOf(c *channelState) rules {
	return rules{c.Policy, c.Places, e.capabilities(c.id)}
}

// keepRules keeps a version of a channel's rules.
func (e *Engine) keepRules(ctx context.Context, c *channelState) error {
	return e.store.SaveVersions(ctx, []Version{version(connectionSubject(c.id), rulesKey, time.Now().UTC(), e.rulesOf(c))})
}

// What a version keeps of a statement, an open movement and a promise: only what its subject and key do not say, for there
// is one of these for nearly every event.
type (
	keptStatement struct {
		Quantity stock.Quantity `json:"q,omitempty"`
		Position keptPosition   `json:"p,omitzero"`
		Event    int64          `json:"e,omitempty"`
		At       nanos          `json:"a,omitempty"`
	}
	keptMovement struct {
		Location stock.LocationID `json:"l,omitempty"`
		Delta    stock.Quantity   `json:"d,omitempty"`
		Position keptPosition     `json:"p,omitzero"`
		At       nanos            `json:"a,omitempty"`
	}
	keptCommitment struct {
		LineID      string           `json:"n,omitempty"`
		Location    stock.LocationID `json:"l,omitempty"`
		Quantity    stock.Quantity   `json:"q,omitempty"`
		Item        string           `json:"i,omitempty"`
		Place       string           `json:"p,omitempty"`
		ChannelOpen stock.Quantity   `json:"o,omitempty"`
		AcceptedAt  nanos            `json:"a,omitempty"`
	}
	keptPosition struct {
		Sequenced bool  `json:"n,omitempty"`
		Sequence  int64 `json:"q,omitempty"`
		SourceAt  nanos `json:"s,omitempty"`
		SeenAt    nanos `json:"r,omitempty"`
	}
	// nanos is a time in nanoseconds since 1970, 0 for none. What lies before 1678 or after 2261 is the nearest that fits.
	nanos int64
)

func nanosOf(t time.Time) nanos {
	switch {
	case t.IsZero():
		return 0
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return nanos(t.UnixNano())
}

func (i nanos) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(i)).UTC()
}

func keepPosition(p stock.Position) keptPosition {
	return keptPosition{p.Sequenced, p.Sequence, nanosOf(p.SourceAt), nanosOf(p.SeenAt)}
}

func (p keptPosition) position() stock.Position {
	return stock.Position{Sequenced: p.Sequenced, Sequence: p.Sequence, SourceAt: p.SourceAt.time(), SeenAt: p.SeenAt.time()}
}

// statement is the statement again; named is what its key says after the kind: connection and location.
func (k keptStatement) statement(sku stock.SKU, named string) HeldStatement {
	connection, location, _ := strings.Cut(named, "\x1f")
	return HeldStatement{Connection: stock.ConnectionID(connection), LevelKey: LevelKey{sku, stock.LocationID(location)},
		Quantity: k.Quantity, Position: k.Position.position(), Event: k.Event, At: k.At.time()}
}

// movement is the movement again; named is its connection, its key and its location.
func (k keptMovement) movement(sku stock.SKU, named string) HeldMovement {
	connection, rest, _ := strings.Cut(named, "\x1f")
	return HeldMovement{Connection: stock.ConnectionID(connection), Key: strings.TrimSuffix(rest, "\x1f"+string(k.Location)), LevelKey: LevelKey{sku, k.Location},
		Delta: k.Delta, Position: k.Position.position(), At: k.At.time()}
}

// commitment is the promise again; named is its channel, its order and its line.
func (k keptCommitment) commitment(sku stock.SKU, named string) Commitment {
	channel, rest, _ := strings.Cut(named, "\x1f")
	return Commitment{OrderKey: OrderKey{stock.ConnectionID(channel), strings.TrimSuffix(rest, "\x1f"+k.LineID)}, LineID: k.LineID, SKU: sku, Location: k.Location,
		Quantity: k.Quantity, Ref: connectors.Ref{Item: k.Item, Place: k.Place}, ChannelOpen: k.ChannelOpen, AcceptedAt: k.AcceptedAt.time()}
}

// keep notes a version that the batch makes.
func (b *book) keep(v Version) { b.versions[[2]string{v.Subject, v.Key}] = v }

// statementVersion is a statement as it holds from an instant on.
func statementVersion(s HeldStatement, at time.Time) Version {
	return version(SKUSubject(s.SKU), names(statementKey, string(s.Connection), string(s.Location)), at,
		keptStatement{s.Quantity, keepPosition(s.Position), s.Event, nanosOf(s.At)})
}

func (b *book) keepStatement(s *HeldStatement) { b.keep(statementVersion(*s, b.now)) }

func (b *book) keepMovement(m *HeldMovement) {
	key := names(openMovementKey, string(m.Connection), m.Key, string(m.Location))
	switch {
	case !m.Covered && m.Delta != 0:
		b.keep(version(SKUSubject(m.SKU), key, b.now, keptMovement{m.Location, m.Delta, keepPosition(m.Position), nanosOf(m.At)}))
	case !m.At.Equal(b.now): // else it was never open
		b.keep(Version{Subject: SKUSubject(m.SKU), Key: key, At: b.now})
	}
}

func (b *book) keepCommitment(c Commitment) {
	key := names(commitmentKey, string(c.Channel), c.OrderID, c.LineID)
	if c.Quantity == 0 {
		b.keep(Version{Subject: SKUSubject(c.SKU), Key: key, At: b.now})
		return
	}
	b.keep(version(SKUSubject(c.SKU), key, b.now,
		keptCommitment{c.LineID, c.Location, c.Quantity, c.Ref.Item, c.Ref.Place, c.ChannelOpen, nanosOf(c.AcceptedAt)}))
}

// keepChannelOpen keeps what a channel that subtracts its own orders counts as open; others need none.
func (b *book) keepChannelOpen(c Commitment) {
	if caps := b.engine.capabilities(c.Channel); caps == nil || !caps.ShowsGross {
		return
	}
	b.keep(version(listingSubject(ListingKey{c.Channel, c.Ref}), names(channelOpenKey, c.OrderID, c.LineID), b.now, c.ChannelOpen))
}

// past is what was in force for one listing at an instant.
type past struct {
	plan        *planInput
	shown       *shown
	movements   map[stock.SKU][]HeldMovement
	commitments map[stock.SKU][]Commitment
}

// recall loads what was in force for a listing at an instant.
func (e *Engine) recall(ctx context.Context, l *Listing, at time.Time) (*past, error) {
	key := l.ListingKey
	p := &past{movements: make(map[stock.SKU][]HeldMovement), commitments: make(map[stock.SKU][]Commitment),
		plan: &planInput{engine: e, keys: []ListingKey{key}, components: make(map[ListingKey][]mapping.Component), listings: map[ListingKey]*Listing{key: l},
			levels: make(map[stock.SKU][]*HeldLevel), stated: make(map[stock.SKU][]HeldStatement), open: make(map[ListingKey]stock.Quantity),
			rules: make(map[stock.ConnectionID]rules), pools: make(map[stock.SKU][]*PoolState), at: at}}
	err := e.store.View(ctx, func(tx PlanTx) (err error) {
		p.plan.settings, err = e.decisions(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = e.remember(ctx, connectionSubject(key.Connection), at, func(name string, read func(any) error) error {
		var r rules
		err := read(&r)
		p.plan.rules[key.Connection] = r
		return err
	})
	if err != nil {
		return nil, err
	}
	err = e.remember(ctx, listingSubject(key), at, func(name string, read func(any) error) error {
		switch kind, _, _ := strings.Cut(name, "\x1f"); kind {
		case componentsKey:
			var components []mapping.Component
			err := read(&components)
			p.plan.components[key] = components
			return err
		case shownKey:
			return read(&p.shown)
		default:
			var open stock.Quantity
			err := read(&open)
			p.plan.open[key] += open
			return err
		}
	})
	if err != nil {
		return nil, err
	}
	readBack, err := e.store.ReadBack(ctx, key, at)
	if err != nil {
		return nil, err
	}
	if readBack != nil && (p.shown == nil || p.shown.At.Before(readBack.ShownAt)) {
		p.shown = &shown{readBack.Quantity, readBack.Generation, readBack.ShownAt}
	}
	for _, c := range p.plan.components[key] {
		if err := e.recallSKU(ctx, p, c.SKU, at); err != nil {
			return nil, err
		}
	}
	skus := make([]stock.SKU, 0, len(p.plan.components[key]))
	for _, c := range p.plan.components[key] {
		skus = append(skus, c.SKU)
	}
	err = e.store.View(ctx, func(tx PlanTx) (err error) {
		p.plan.oversold, err = oversoldSKUs(tx, skus, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, e.store.View(ctx, func(tx PlanTx) error {
		if err := p.plan.loadMeasures(tx); err != nil {
			return err
		}
		return p.plan.loadDemand(tx)
	})
}

func (e *Engine) recallSKU(ctx context.Context, p *past, sku stock.SKU, at time.Time) error {
	levels, err := e.store.LevelsAt(ctx, sku, at)
	if err != nil {
		return err
	}
	for _, l := range levels {
		p.plan.levels[sku] = append(p.plan.levels[sku], &HeldLevel{Level: l})
	}
	return e.remember(ctx, SKUSubject(sku), at, func(name string, read func(any) error) error {
		switch kind, named, _ := strings.Cut(name, "\x1f"); kind {
		case statementKey:
			var s keptStatement
			err := read(&s)
			p.plan.stated[sku] = append(p.plan.stated[sku], s.statement(sku, named))
			return err
		case openMovementKey:
			var m keptMovement
			err := read(&m)
			p.movements[sku] = append(p.movements[sku], m.movement(sku, named))
			return err
		case poolKey:
			var s PoolState
			err := read(&s)
			p.plan.pools[sku] = append(p.plan.pools[sku], &s)
			return err
		default:
			var c keptCommitment
			err := read(&c)
			p.commitments[sku] = append(p.commitments[sku], c.commitment(sku, named))
			return err
		}
	})
}

// remember hands over the versions of a subject that were in force at an instant, by key.
func (e *Engine) remember(ctx context.Context, subject string, at time.Time, each func(key string, read func(any) error) error) error {
	versions, err := e.store.VersionsAt(ctx, subject, at)
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(versions))
	for key := range versions {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		err := each(key, func(into any) error { return json.Unmarshal([]byte(versions[key]), into) })
		if err != nil {
			return fmt.Errorf("read the version of %q: %w", key, err)
		}
	}
	return nil
}

// view is the listing as it was: what it should have shown, what was written last and what was read back.
func (p *past) view(now ListingView, t target, pushes []Push) ListingView {
	v := ListingView{Connection: now.Connection, Item: now.Item, Place: now.Place, SKU: now.SKU, Title: now.Title, Target: t.quantity, HeldReason: t.held}
	if len(pushes) > 0 {
		v.Published, v.Generation, v.LastError = &pushes[0].Quantity, pushes[0].Generation, pushes[0].Error
	}
	if p.shown != nil {
		v.Confirmed, v.ConfirmedAt = &p.shown.Quantity, optionalTime(p.shown.At)
	}
	switch {
	case len(t.parts) == 0 && len(p.plan.components) == 0:
		v.State = Unmapped
	case t.quantity == nil:
		v.State = Held
	case p.shown != nil && p.shown.Quantity == *t.quantity:
		v.State = InSync
	default:
		v.State = Pending
	}
	return v
}
