package sync

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// Renamer moves everything that is known of one SKU to another.
type Renamer interface {
	// MoveSKU runs fn in one transaction in which nothing else is applied, stores what it returns, moves the rest of what
	// names the SKU (movements, links, kits, the article), and takes the old name for the new one from then on.
	MoveSKU(ctx context.Context, from, to stock.SKU, at time.Time, fn func(tx MoveTx) (Changes, error), acts ...AuditEntry) error
	// Aliases are the names that stand for other SKUs now.
	Aliases(ctx context.Context) (map[stock.SKU]stock.SKU, error)
}

// MoveTx is what MoveSKU's function sees.
type MoveTx interface {
	KnownSKUs(skus []stock.SKU) (map[stock.SKU]bool, error)
	Levels(skus []stock.SKU) (map[LevelKey]*HeldLevel, error)
	Statements(skus []stock.SKU) ([]HeldStatement, error)
	Uncovered(skus []stock.SKU) ([]HeldMovement, error)
	// OrdersNaming are the orders of which a line or a deduction names the SKU.
	OrdersNaming(sku stock.SKU) ([]*Order, error)
	// ReservationsNaming are the reservations of which a part names the SKU.
	ReservationsNaming(sku stock.SKU) ([]*Reservation, error)
	// AddSettings stores versions, with an entry each in the audit trail; none of them touches more than the two SKUs.
	AddSettings(versions []NewSetting) error
	Settled
}

// RenameView is the outcome of a rename or a merge.
type RenameView struct {
	From      stock.SKU      `json:"from"`
	To        stock.SKU      `json:"to"`
	Merged    bool           `json:"merged"`
	Orders    int            `json:"orders" doc:"orders whose lines were moved"`
	Committed stock.Quantity `json:"committed" doc:"promised units that moved"`
	Postings  int            `json:"postings" doc:"ledger entries that move the units"`
	Settings  int            `json:"settings" doc:"settings that were decided for the old name and hold for the new one now"`
}

// RenameSKU gives an article its new name: statements, movements, promises and links go over, and whoever still uses the
// old name means the new one. Where both names were stated, at the same location by the same source, the newer statement
// stands, for the article is the same one.
func (e *Engine) RenameSKU(ctx context.Context, from, to stock.SKU, by string) (RenameView, error) {
	return e.moveSKU(ctx, from, to, false, by)
}

// MergeSKU joins an article to another: what was stated of both is added, until the system of record states the sum.
func (e *Engine) MergeSKU(ctx context.Context, from, to stock.SKU, by string) (RenameView, error) {
	return e.moveSKU(ctx, from, to, true, by)
}

func (e *Engine) moveSKU(ctx context.Context, from, to stock.SKU, merge bool, by string) (RenameView, error) {
	if from == "" || to == "" || from == to {
		return RenameView{}, fmt.Errorf("%w: name the old SKU and another, new one", ErrInvalid)
	}
	if err := e.applying.take(ctx); err != nil {
		return RenameView{}, err
	}
	defer e.applying.give()
	now := time.Now().UTC()
	m := move{engine: e, from: from, to: to, merge: merge, at: now, by: by, view: RenameView{From: from, To: to, Merged: merge}}
	action := "sku renamed"
	if merge {
		action = "sku merged"
	}
	err := e.store.MoveSKU(ctx, from, to, now, m.changes, act(now, by, action, "sku "+string(from), string(from), string(to)))
	if err != nil {
		return RenameView{}, fmt.Errorf("move %s to %s: %w", from, to, err)
	}
	e.wakeApply.send()
	e.wakePlan.send()
	return m.view, nil
}

// move is one rename or merge under way.
type move struct {
	engine   *Engine
	from, to stock.SKU
	merge    bool
	at       time.Time
	by       string
	view     RenameView
	out      Changes
}

func (m *move) changes(tx MoveTx) (Changes, error) {
	m.out = Changes{At: m.at, Dirty: []stock.SKU{m.from, m.to}}
	both := []stock.SKU{m.from, m.to}
	known, err := tx.KnownSKUs(both)
	if err != nil {
		return Changes{}, err
	}
	levels, err := tx.Levels(both)
	if err != nil {
		return Changes{}, err
	}
	statements, err := tx.Statements(both)
	if err != nil {
		return Changes{}, err
	}
	uncovered, err := tx.Uncovered(both)
	if err != nil {
		return Changes{}, err
	}
	orders, err := tx.OrdersNaming(m.from)
	if err != nil {
		return Changes{}, err
	}
	if !known[m.from] && len(levels) == 0 && len(statements) == 0 {
		return Changes{}, fmt.Errorf("nothing is known of %s: %w", m.from, ErrNotFound)
	}
	if m.merge && !known[m.to] {
		return Changes{}, fmt.Errorf("%w: nothing is known of %s; to give %s a new name, rename it", ErrInvalid, m.to, m.from)
	}
	if err := m.refuseCampaigns(tx); err != nil {
		return Changes{}, err
	}
	if err := m.orders(orders); err != nil {
		return Changes{}, err
	}
	if m.out.Reservations, err = tx.ReservationsNaming(m.from); err != nil {
		return Changes{}, err
	}
	for _, r := range m.out.Reservations {
		for i := range r.Parts {
			if r.Parts[i].SKU == m.from {
				r.Parts[i].SKU = m.to
			}
		}
	}
	if err := m.settings(tx); err != nil {
		return Changes{}, err
	}
	m.levels(levels, m.sources(statements, uncovered))
	m.moveOversell()
	return m.out, nil
}

// settings decides for the new name what was decided for the old one, from now on and for later, and removes it there.
// What was decided for the new name itself stands.
func (m *move) settings(tx MoveTx) error {
	d, err := m.engine.decisions(tx)
	if err != nil {
		return err
	}
	reason := fmt.Sprintf("%s is %s now", m.from, m.to)
	var versions []NewSetting
	for _, kind := range SettingKinds() {
		renamed := settingKinds[kind].renamed
		if renamed == nil {
			continue
		}
		for _, key := range d.keys(kind) {
			held := d.since(kind, key, m.at)
			i := slices.IndexFunc(held, func(s Setting) bool {
				_, _, about := renamed(key, s.Value, m.from, m.to)
				return s.Value != nil && about
			})
			if i < 0 {
				continue
			}
			own, _, _ := renamed(key, held[i].Value, m.from, m.to)
			taken := own != key && slices.ContainsFunc(d.since(kind, own, m.at), func(s Setting) bool { return s.Value != nil })
			if own != key {
				versions = append(versions, m.setting(kind, key, nil, m.at, reason))
			}
			for _, s := range held[i:] {
				value := s.Value
				if value != nil {
					_, value, _ = renamed(key, value, m.from, m.to)
				}
				if !taken {
					versions = append(versions, m.setting(kind, own, value, later(m.at, s.EffectiveAt), reason))
				}
			}
			m.view.Settings++
		}
	}
	return tx.AddSettings(versions)
}

func (m *move) setting(kind SettingKind, key string, value json.RawMessage, at time.Time, reason string) NewSetting {
	return NewSetting{Setting: Setting{Kind: kind, Key: key, Value: value, EffectiveAt: at, At: m.at, By: m.by, Reason: reason}}
}

// moveOversell closes the oversell of the old name; what is missing is missing of the new one.
func (m *move) moveOversell() {
	var available stock.Quantity
	for _, l := range m.out.Levels {
		if l.SKU == m.to {
			available += l.Available
		}
	}
	m.out.Closed = append(m.out.Closed, Incident{Kind: IncidentOversell, Subject: string(m.from), ClosedAt: m.at})
	if available < 0 {
		m.out.Incidents = append(m.out.Incidents, oversellIncident(m.to, -available, 0, m.at))
	}
}

// refuseCampaigns refuses to move a SKU of which campaigns set units aside, or will.
func (m *move) refuseCampaigns(tx MoveTx) error {
	d, err := m.engine.decisions(tx)
	if err != nil {
		return err
	}
	states, err := tx.Pools([]stock.SKU{m.from}, nil)
	if err != nil {
		return err
	}
	campaigns := d.campaigns()
	for _, name := range sortedKeys(campaigns, cmp.Compare[string]) {
		if s := states[name]; campaigns[name].SKU == m.from && campaigns[name].End.After(m.at) && (s == nil || s.running()) {
			return fmt.Errorf("%w: the campaign %s sets units of %s aside; remove it, or wait until it is over", ErrInvalid, name, m.from)
		}
	}
	return nil
}

// orders moves the lines of the orders and their promises.
func (m *move) orders(orders []*Order) error {
	for _, o := range orders {
		for i := range o.Lines {
			l := &o.Lines[i]
			for j := range l.Components {
				c := &l.Components[j]
				if c.SKU != m.from {
					continue
				}
				if slices.ContainsFunc(l.Components, func(other LineComponent) bool { return other.SKU == m.to }) {
					return fmt.Errorf("%w: line %s of order %s holds both %s and %s; try again when it is shipped or cancelled",
						ErrInvalid, l.ID, mapping.OrderKey(o.Channel, o.OrderID), m.from, m.to)
				}
				c.Name = cmp.Or(c.Name, c.SKU)
				c.SKU = m.to
				row := Commitment{OrderKey: o.Key(), LineID: l.ID, SKU: m.to, Location: c.Location, Quantity: c.Committed, Ref: l.Ref, AcceptedAt: o.AcceptedAt}
				if j == 0 {
					row.ChannelOpen = o.channelOpen(l)
				}
				m.out.Commitments = append(m.out.Commitments, row)
				m.view.Committed += c.Committed
			}
		}
		for i := range o.Deductions {
			if d := &o.Deductions[i]; d.SKU == m.from {
				d.SKU = m.to
			}
		}
		m.out.Orders = append(m.out.Orders, o)
		m.view.Orders++
	}
	return nil
}

// sources joins what each source said of both names, and returns the units that this amounts to at each location.
func (m *move) sources(statements []HeldStatement, uncovered []HeldMovement) map[stock.LocationID]stock.Quantity {
	joined := make(map[sourceKey]*HeldStatement)
	for _, s := range statements {
		s.SKU = m.to
		key := sourceKey{s.Connection, s.LevelKey}
		held := joined[key]
		switch {
		case held == nil:
			joined[key] = &s
		case m.merge:
			s.Quantity += held.Quantity
			if held.Position.Supersedes(s.Position) {
				s.Position, s.Event, s.At = held.Position, held.Event, held.At
			}
			joined[key] = &s
		case s.Position.Supersedes(held.Position):
			joined[key] = &s
		}
	}
	tracked := make(map[stock.LocationID]stock.Quantity)
	for _, key := range sortedKeys(joined, compareSources) {
		s := joined[key]
		tracked[s.Location] += s.Quantity
		m.out.Statements = append(m.out.Statements, *s)
		m.out.Versions = append(m.out.Versions, statementVersion(*s, m.at))
	}
	for _, u := range uncovered {
		u.SKU = m.to
		if s := joined[sourceKey{u.Connection, u.LevelKey}]; !m.merge && s != nil && s.Position.Covers(u.Position, u.Delta) {
			u.Covered = true
			m.out.Movements = append(m.out.Movements, u)
			m.out.Versions = append(m.out.Versions, Version{Subject: SKUSubject(m.to), Key: names(openMovementKey, string(u.Connection), u.Key, string(u.Location)), At: m.at})
			continue
		}
		tracked[u.Location] += u.Delta
	}
	return tracked
}

// levels posts the units out of the old name and into the new one, each state for itself.
func (m *move) levels(levels map[LevelKey]*HeldLevel, tracked map[stock.LocationID]stock.Quantity) {
	places := make(map[stock.LocationID]bool)
	for key := range levels {
		places[key.Location] = true
	}
	for location := range tracked {
		places[location] = true
	}
	verb := "renamed to"
	if m.merge {
		verb = "merged into"
	}
	reference := fmt.Sprintf("%s %s %s", m.from, verb, m.to)
	for _, location := range sortedKeys(places, cmp.Compare[stock.LocationID]) {
		level := func(sku stock.SKU) *HeldLevel {
			if l := levels[LevelKey{sku, location}]; l != nil {
				return l
			}
			return &HeldLevel{Level: stock.Level{SKU: sku, Location: location}}
		}
		from, to := level(m.from), level(m.to)
		want := map[stock.State]stock.Quantity{}
		held := from.Tracked() + to.Tracked()
		for _, s := range []stock.State{stock.Incoming, stock.Available, stock.Reserved, stock.Committed, stock.Unavailable} {
			want[s] = from.Of(s) + to.Of(s)
		}
		want[stock.Available] += tracked[location] - held
		for _, s := range []stock.State{stock.Incoming, stock.Available, stock.Reserved, stock.Committed, stock.Unavailable} {
			m.post(from, s, -from.Of(s), reference)
			m.post(to, s, want[s]-to.Of(s), reference)
		}
		for _, l := range []*HeldLevel{from, to} {
			if l.Hash != nil {
				m.out.Levels = append(m.out.Levels, *l)
			}
		}
	}
	m.view.Postings = len(m.out.Entries)
}

func (m *move) post(l *HeldLevel, s stock.State, change stock.Quantity, reference string) {
	if change == 0 {
		return
	}
	p := stock.Posting{SKU: l.SKU, Location: l.Location, From: stock.Outside, To: s, Quantity: change, At: m.at,
		Cause: stock.Cause{Kind: stock.CauseTransfer, Reference: reference}}
	if change < 0 {
		p.From, p.To, p.Quantity = s, stock.Outside, -change
	}
	if err := l.Apply(p); err != nil {
		panic(fmt.Sprintf("posting refused by its own level: %v", err)) // only a bug leads here: see book.enter
	}
	entry := LedgerEntry{Posting: p, Previous: l.Hash, Hash: ChainHash(l.Hash, p)}
	l.Hash = entry.Hash
	m.out.Entries = append(m.out.Entries, entry)
}
