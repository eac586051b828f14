package sync

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// Item is an article with its numbers. ErrNotFound when nothing is known of it.
func (e *Engine) Item(ctx context.Context, sku stock.SKU) (ItemView, error) {
	r, err := e.store.Item(ctx, sku)
	if err != nil {
		return ItemView{}, fmt.Errorf("item %s: %w", sku, err)
	}
	settings, err := e.settingsNow(ctx)
	if err != nil {
		return ItemView{}, fmt.Errorf("item %s: %w", sku, err)
	}
	article := settings.article(stock.SKU(r.SKU), time.Now())
	if s, is := settings.service(stock.SKU(r.SKU), time.Now()); is {
		article = s.Article
	}
	rule := article.rule(stock.SKU(r.SKU))
	v := ItemView{SKU: stock.SKU(r.SKU), Name: r.Name, Kind: string(rule.Kind), Mode: string(rule.Mode), Statements: []StatementView{}, Levels: []LevelView{}}
	if article.Kind == "" && r.Kind != "" {
		v.Kind = r.Kind
	}
	for i := range r.Levels {
		l := &r.Levels[i]
		v.OnHand += l.Tracked()
		v.Committed += l.Committed
		v.Reserved += l.Reserved
		v.Unavailable += l.Unavailable
		v.Available += l.Available
		v.Levels = append(v.Levels, levelView(l))
	}
	v.ATP = max(0, v.Available)
	for _, s := range r.Statements {
		v.Statements = append(v.Statements, statementView(s))
	}
	return v, nil
}

// Items lists articles by SKU; search selects those whose SKU, name, GTIN or category contains it.
func (e *Engine) Items(ctx context.Context, search string, after stock.SKU, limit int) ([]ItemRow, error) {
	items, err := e.store.ListItems(ctx, search, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list items: %w", err)
	}
	rows := make([]ItemRow, 0, len(items))
	for _, i := range items {
		rows = append(rows, ItemRow{SKU: stock.SKU(i.SKU), GTIN: i.GTIN, Name: i.Name, Kind: i.Kind, Category: i.Category})
	}
	return rows, nil
}

// Listings lists listings by connection, item and place. An empty state means any. next is the key to go on after, nil
// at the end; a page may hold fewer rows than the limit before the end.
func (e *Engine) Listings(ctx context.Context, q ListingQuery, state ListingState) (rows []ListingView, next *ListingKey, err error) {
	rows = []ListingView{}
	for {
		page, err := e.store.ListListings(ctx, q)
		if err != nil {
			return nil, nil, fmt.Errorf("list listings: %w", err)
		}
		for i := range page {
			l := &page[i]
			q.After = l.ListingKey
			if v := e.listingView(l); state == "" || v.State == state {
				rows = append(rows, v)
			}
			if len(rows) == q.Limit {
				return rows, &q.After, nil
			}
		}
		if len(page) < q.Limit {
			return rows, nil, nil
		}
	}
}

// Listing is one listing. ErrNotFound when it is not known.
func (e *Engine) Listing(ctx context.Context, key ListingKey) (ListingView, error) {
	l, err := e.listing(ctx, key)
	if err != nil {
		return ListingView{}, err
	}
	return e.listingView(l), nil
}

func (e *Engine) listing(ctx context.Context, key ListingKey) (*Listing, error) {
	found, err := e.store.ListingsByKey(ctx, []ListingKey{key})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", listingText(key), err)
	}
	if found[key] == nil {
		return nil, fmt.Errorf("listing %s: %w", listingText(key), ErrNotFound)
	}
	return found[key], nil
}

func (e *Engine) listingView(l *Listing) ListingView {
	return ListingView{
		Connection: l.Connection, Item: l.Item, Place: l.Place, SKU: l.SKU, Title: l.Title, Target: l.Target, Generation: l.Generation,
		Published: l.Published, Confirmed: l.Confirmed, ConfirmedAt: optionalTime(l.ConfirmedAt),
		State: l.State(e.pausedReason(l.Connection) != ""), HeldReason: l.Held, LastError: l.LastError,
		Stopped: l.Stopped,
	}
}

// Event is a stored event with its body. ErrNotFound when there is none.
func (e *Engine) Event(ctx context.Context, id int64) (EventView, error) {
	ev, state, parked, err := e.store.EventByID(ctx, id)
	if err != nil {
		return EventView{}, fmt.Errorf("event %d: %w", id, err)
	}
	v := EventView{ID: eventReference(id), Connection: ev.Connection, Key: ev.Key, Type: ev.Type, State: state, ReceivedAt: ev.ReceivedAt.UTC(), Body: string(ev.Body)}
	if parked != nil {
		v.Reason = parked.Reason
	}
	return v, nil
}

// Events lists events by id, after the one given; an empty state means any.
func (e *Engine) Events(ctx context.Context, state EventState, after int64, limit int) ([]EventView, error) {
	rows, err := e.store.Events(ctx, EventQuery{State: state, After: after, Limit: limit})
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	out := make([]EventView, 0, len(rows))
	for _, r := range rows {
		out = append(out, EventView{ID: eventReference(r.ID), Connection: r.Connection, Key: r.Key, Type: r.Type, State: r.State, Reason: r.Reason, ReceivedAt: r.ReceivedAt.UTC()})
	}
	return out, nil
}

// Replay applies a parked event again. ErrNotFound when no such event is parked.
func (e *Engine) Replay(ctx context.Context, id int64, by string) error {
	now := time.Now().UTC()
	if err := e.store.Replay(ctx, id, now, act(now, by, "event replayed", "event "+eventReference(id), nil, nil)); err != nil {
		return fmt.Errorf("replay event %d: %w", id, err)
	}
	e.wakeApply.send()
	return nil
}

// Order is an order with what became of it. ErrNotFound when nothing is known of it.
func (e *Engine) Order(ctx context.Context, key OrderKey) (OrderView, error) {
	o, f, err := e.store.OrderByKey(ctx, key)
	if err != nil {
		return OrderView{}, fmt.Errorf("order %s of %s: %w", key.OrderID, key.Channel, err)
	}
	basis := e.basesOf(key.Channel)
	v := OrderView{Connection: o.Channel, OrderID: o.OrderID, OrderKey: mapping.OrderKey(o.Channel, o.OrderID), Version: o.Version, Status: string(o.Status),
		PlacedAt: optionalTime(o.PlacedAt), AcceptedAt: optionalTime(o.AcceptedAt), Lines: []OrderLineView{}, Shipments: []ShipmentView{}}
	for i := range o.Lines {
		l := &o.Lines[i]
		line := OrderLineView{LineID: l.ID, Item: l.Ref.Item, Place: l.Ref.Place, Ordered: o.wanted(l), Cancelled: l.Cancelled, Shipped: l.Shipped, Restocked: l.Restocked, Components: []LineComponentView{}}
		if o.Status == connectors.OrderCancelledStatus {
			line.Cancelled = o.wanted(l)
		}
		for j := range l.Components {
			c := &l.Components[j]
			line.Components = append(line.Components, LineComponentView{SKU: c.SKU, Units: c.Units, Location: c.Location, Committed: c.Committed, Deducted: o.deducted(l, c, basis)})
		}
		v.Lines = append(v.Lines, line)
	}
	for _, s := range o.Shipments {
		v.Shipments = append(v.Shipments, ShipmentView{ShipmentID: s.ID, Carrier: s.Carrier, Tracking: s.Tracking})
	}
	v.Standing = o.standingView()
	if f != nil {
		v.Record = &RecordView{Connection: f.Connection, Number: f.Number, State: "waiting", Attempts: f.Attempts, LastError: f.Error}
		switch {
		case f.Refused:
			v.Record.State = "refused"
		case f.Number != "" && f.Done >= f.Want:
			v.Record.State = "sent"
		}
	}
	return v, nil
}

// Incidents lists incidents by id, after the one given.
func (e *Engine) Incidents(ctx context.Context, open bool, after int64, limit int) ([]IncidentView, error) {
	rows, err := e.store.Incidents(ctx, open, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list incidents: %w", err)
	}
	out := make([]IncidentView, 0, len(rows))
	for _, i := range rows {
		out = append(out, incidentView(i))
	}
	return out, nil
}

// Plans lists plans that are or were held, the newest first, with ids below before.
func (e *Engine) Plans(ctx context.Context, state PlanState, before int64, limit int) ([]PlanView, error) {
	plans, err := e.store.ListPlans(ctx, state, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list plans: %w", err)
	}
	out := make([]PlanView, 0, len(plans))
	for _, p := range plans {
		out = append(out, planView(p))
	}
	return out, nil
}

// Plan is one plan. ErrNotFound when there is none.
func (e *Engine) Plan(ctx context.Context, id int64) (PlanView, error) {
	p, err := e.store.PlanByID(ctx, id)
	if err != nil {
		return PlanView{}, fmt.Errorf("plan %d: %w", id, err)
	}
	return planView(p), nil
}

// DecidePlan approves or rejects a held plan. Approved, its changes are pushed; rejected, its listings stay as they are
// until their targets change. ErrNotFound when no such plan is held.
func (e *Engine) DecidePlan(ctx context.Context, id int64, approve bool, by string) (PlanView, error) {
	state := PlanRejected
	if approve {
		state = PlanApproved
	}
	p, err := e.store.PlanByID(ctx, id)
	if err != nil {
		return PlanView{}, fmt.Errorf("decide plan %d: %w", id, err)
	}
	var events []NewEvent
	if approve && len(p.Facts) > 0 {
		events, err = factEvents(p.Connection, slices.Collect(slices.Chunk(p.Facts, factsPerEvent)), func(i int) string { return fmt.Sprintf("%s%d:%d", approvedName, id, i) })
		if err != nil {
			return PlanView{}, fmt.Errorf("decide plan %d: %w", id, err)
		}
	}
	now := time.Now().UTC()
	entry := act(now, by, "plan "+string(state), "plan "+eventReference(id), PlanHeld, state)
	entry.Reason = p.Reason
	if err := e.store.DecidePlan(ctx, id, state, by, now, events, entry); err != nil {
		return PlanView{}, fmt.Errorf("decide plan %d: %w", id, err)
	}
	e.wakeApply.send()
	v, err := e.Plan(ctx, id)
	if err != nil {
		return PlanView{}, err
	}
	if c := e.channels[v.Connection]; c != nil {
		c.wakePush.send()
	}
	return v, nil
}

func planView(p Plan) PlanView {
	v := PlanView{ID: eventReference(p.ID), Connection: p.Connection, State: p.State, Reason: p.Reason, Changes: []ChangeView{},
		CreatedAt: p.CreatedAt.UTC(), DecidedAt: optionalTime(p.DecidedAt), DecidedBy: p.DecidedBy}
	for _, c := range p.Changes {
		v.Changes = append(v.Changes, ChangeView{Connection: p.Connection, Item: c.Item, Place: c.Place, Have: c.Have, Target: new(c.Target)})
	}
	return v
}

// Pause stops all traffic to a connection; its webhooks are still taken.
func (e *Engine) Pause(ctx context.Context, id stock.ConnectionID, by string) error {
	if _, err := e.connection(id); err != nil {
		return err
	}
	return e.pause(ctx, id, "paused by "+by, nil, act(time.Now().UTC(), by, "connection paused", "connection "+string(id), nil, nil))
}

// Resume lets a paused connection go on.
func (e *Engine) Resume(ctx context.Context, id stock.ConnectionID, by string) error {
	if _, err := e.connection(id); err != nil {
		return err
	}
	if err := e.deciding.take(ctx); err != nil {
		return err
	}
	defer e.deciding.give()
	now := time.Now().UTC()
	if err := e.store.SetPause(ctx, id, "", now, nil, act(now, by, "connection resumed", "connection "+string(id), nil, nil)); err != nil {
		return fmt.Errorf("resume %s: %w", id, err)
	}
	e.mu.Lock()
	delete(e.paused, id)
	e.mu.Unlock()
	e.resumed(id)
	return nil
}

// The feed under which it is remembered that a channel's raises are paused; of the empty connection, those of all.
const raisesFeed = "raises"

// PauseRaises stops raises of a channel, or of every channel where id is empty; lowers go on. ResumeRaises lets them go on.
func (e *Engine) PauseRaises(ctx context.Context, id stock.ConnectionID, by string) error {
	return e.setRaises(ctx, id, "raises are paused by "+by, by, "raises paused")
}

// ResumeRaises lets raises go on.
func (e *Engine) ResumeRaises(ctx context.Context, id stock.ConnectionID, by string) error {
	return e.setRaises(ctx, id, "", by, "raises resumed")
}

func (e *Engine) setRaises(ctx context.Context, id stock.ConnectionID, reason, by, action string) error {
	if id != "" && e.channels[id] == nil {
		return fmt.Errorf("%w: %q is no channel", ErrUnknownConnection, id)
	}
	entry := act(time.Now().UTC(), by, action, "connection "+cmp.Or(string(id), "all"), nil, nil)
	if err := e.deciding.take(ctx); err != nil {
		return err
	}
	defer e.deciding.give()
	if err := e.store.SetBookmark(ctx, id, raisesFeed, reason, entry); err != nil {
		return fmt.Errorf("pause or resume raises: %w", err)
	}
	e.mu.Lock()
	e.noRaises[id] = reason
	e.mu.Unlock()
	for _, c := range e.sortedChannels() {
		c.wakePush.send()
	}
	return nil
}

// raisesPaused is why raises of a channel are paused, empty while they are not.
func (e *Engine) raisesPaused(id stock.ConnectionID) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return cmp.Or(e.noRaises[""], e.noRaises[id])
}

// Connections lists the connections, channels first.
func (e *Engine) Connections(context.Context) ([]ConnectionView, error) {
	out := make([]ConnectionView, 0, len(e.channels)+len(e.records))
	view := func(c *connectionState, role connectors.Role) ConnectionView {
		c.mu.Lock()
		defer c.mu.Unlock()
		return ConnectionView{Name: c.id, Connector: c.connector, Role: string(role), LastError: c.lastError}
	}
	for _, c := range e.sortedChannels() {
		v := view(&c.connectionState, connectors.MarketplaceRole)
		v.Paused, v.RaisesPaused = e.pausedReason(c.id), e.raisesPaused(c.id)
		if caps := e.capabilities(c.id); caps != nil {
			v.Class = string(caps.Class)
		}
		c.connectionState.mu.Lock()
		v.OrdersSeenTo = optionalTime(c.seenTo)
		if !c.gap.IsZero() {
			v.CatchingUp = catchingUpText(c, c.gap)
		}
		c.connectionState.mu.Unlock()
		out = append(out, v)
	}
	for _, r := range e.sortedRecords() {
		v := view(&r.connectionState, connectors.SystemOfRecordRole)
		v.Paused = e.pausedReason(r.id)
		out = append(out, v)
	}
	return out, nil
}

// Check asks a connection whether its credentials work.
func (e *Engine) Check(ctx context.Context, id stock.ConnectionID) error {
	if c := e.channels[id]; c != nil {
		return c.Marketplace.Check(ctx)
	}
	if r := e.records[id]; r != nil {
		return r.System.Check(ctx)
	}
	return fmt.Errorf("%w: %q", ErrUnknownConnection, id)
}

// ImportMappings reads a mapping as CSV. With any bad row nothing is imported and the view lists every bad row; the
// error is then nil.
func (e *Engine) ImportMappings(ctx context.Context, csv io.Reader, by string) (ImportView, error) {
	view := ImportView{Errors: []RowErrorView{}, Warnings: []string{}}
	table, bad, err := e.parseMappings(ctx, csv)
	if err != nil {
		return view, err
	}
	for _, b := range bad {
		view.Errors = append(view.Errors, RowErrorView{Line: b.Line, Field: b.Field, Value: b.Value, Reason: b.Reason})
	}
	if len(bad) > 0 {
		return view, nil
	}
	now := time.Now().UTC()
	if view.Warnings, err = e.lookAlikes(ctx, table); err != nil {
		return view, err
	}
	size := map[string]int{"listings": len(table.Links), "kits": len(table.Kits)}
	report, err := e.store.ImportMapping(ctx, table, now, act(now, by, "mapping imported", "mapping", nil, size))
	if err != nil {
		return view, fmt.Errorf("import the mapping: %w", err)
	}
	view.Listings, view.Replayed = report.Listings, report.Replayed
	e.wakeApply.send()
	e.wakePlan.send()
	return view, nil
}

// withNewNames is the table with the SKUs that were renamed or merged under their present names.
func (e *Engine) withNewNames(ctx context.Context, table mapping.Table) (mapping.Table, []mapping.RowError, error) {
	aliases, err := e.store.Aliases(ctx)
	if err != nil || len(aliases) == 0 {
		return table, nil, err
	}
	rows := table.Rows()
	for i := range rows {
		r := &rows[i]
		r.SKU = cmp.Or(aliases[r.SKU], r.SKU)
		if r.Connection == mapping.KitConnection {
			r.Item = string(cmp.Or(aliases[stock.SKU(r.Item)], stock.SKU(r.Item)))
		}
	}
	table, bad := mapping.NewTable(rows)
	return table, bad, nil
}

// ExportMappings writes the mapping as CSV.
func (e *Engine) ExportMappings(ctx context.Context, w io.Writer) error {
	table, err := e.store.MappingTable(ctx)
	if err != nil {
		return fmt.Errorf("export the mapping: %w", err)
	}
	return mapping.Write(w, table.Rows())
}

// Status says whether anything is left to do.
func (e *Engine) Status(ctx context.Context) (StatusView, error) {
	now := time.Now().UTC()
	e.mu.Lock()
	paused := slices.Sorted(maps.Keys(e.paused))
	e.mu.Unlock()
	b, err := e.store.Backlog(ctx, paused)
	if err != nil {
		return StatusView{}, fmt.Errorf("status: %w", err)
	}
	v := StatusView{InboxPending: b.InboxPending, InboxParked: b.InboxParked, Dirty: b.Dirty, Unconfirmed: b.Unconfirmed,
		OrdersWaiting: b.Forwards, ShipmentsWaiting: b.Notices, RemediesWaiting: b.Remedies, HeldPlans: b.HeldPlans, OpenIncidents: b.OpenIncidents}
	if !b.OldestHeldPlan.IsZero() {
		v.OldestHeldPlanMS = max(0, now.Sub(b.OldestHeldPlan).Milliseconds())
	}
	if !b.OldestUnconfirmed.IsZero() {
		v.OldestUnconfirmedMS = max(0, now.Sub(b.OldestUnconfirmed).Milliseconds())
	}
	v.Settled = b.InboxPending == 0 && b.Dirty == 0 && b.Unconfirmed == 0 && b.Forwards == 0 && b.Notices == 0 && b.Remedies == 0 && b.Corrections == 0 && !e.owes()
	return v, nil
}

// Ready reports whether requests can be served: the database answers and has this binary's schema.
func (e *Engine) Ready(ctx context.Context) error { return e.store.Ping(ctx) }

// tokenPrefix makes a leaked token recognisable to scanners.
const tokenPrefix = "ts_"

// CreateToken makes a bearer token. The secret is returned once; only its hash is stored. A ttl of zero means that it
// never expires.
func (e *Engine) CreateToken(ctx context.Context, name string, scope Scope, ttl time.Duration, by string) (secret string, view TokenView, err error) {
	switch {
	case name == "" || len(name) > 100:
		return "", TokenView{}, fmt.Errorf("%w: a token needs a name of at most 100 bytes, so that it can be told from the others", ErrInvalid)
	case !scope.Allows(ScopeRead):
		return "", TokenView{}, fmt.Errorf("%w: scope %q is not read, operate or admin", ErrInvalid, scope)
	case ttl < 0:
		return "", TokenView{}, fmt.Errorf("%w: a token cannot expire before it is made", ErrInvalid)
	}
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", TokenView{}, fmt.Errorf("make a token: %w", err)
	}
	secret = tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	t := Token{Name: name, Scope: scope, Hash: tokenHash(secret), CreatedAt: time.Now().UTC()}
	if ttl > 0 {
		t.ExpiresAt = t.CreatedAt.Add(ttl)
	}
	if t.ID, err = e.store.AddToken(ctx, t, act(t.CreatedAt, by, "token created", "token", nil, map[string]any{"name": name, "scope": scope, "expires_at": optionalTime(t.ExpiresAt)})); err != nil {
		return "", TokenView{}, fmt.Errorf("store the token: %w", err)
	}
	return secret, tokenView(t), nil
}

// Authenticate finds the token with a secret. ErrNotFound when there is none, or it expired or was revoked.
func (e *Engine) Authenticate(ctx context.Context, secret string) (Token, error) {
	t, err := e.store.TokenByHash(ctx, tokenHash(secret))
	if err != nil {
		return Token{}, err
	}
	now := time.Now().UTC()
	if !t.RevokedAt.IsZero() || !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) {
		return Token{}, ErrNotFound
	}
	if now.Sub(t.UsedAt) > time.Minute {
		if err := e.store.TouchToken(ctx, t.ID, now); err != nil && !errors.Is(err, ErrUnavailable) {
			return Token{}, fmt.Errorf("note the use of a token: %w", err)
		}
	}
	return t, nil
}

// Tokens lists the tokens without their secrets.
func (e *Engine) Tokens(ctx context.Context) ([]TokenView, error) {
	tokens, err := e.store.ListTokens(ctx)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	out := make([]TokenView, 0, len(tokens))
	for _, t := range tokens {
		out = append(out, tokenView(t))
	}
	return out, nil
}

// RevokeToken ends a token at once.
func (e *Engine) RevokeToken(ctx context.Context, id int64, by string) error {
	now := time.Now().UTC()
	if err := e.store.RevokeToken(ctx, id, now, act(now, by, "token revoked", "token "+eventReference(id), nil, nil)); err != nil {
		return fmt.Errorf("revoke token %d: %w", id, err)
	}
	return nil
}

func tokenHash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func tokenView(t Token) TokenView {
	return TokenView{ID: eventReference(t.ID), Name: t.Name, Scope: t.Scope, CreatedAt: t.CreatedAt.UTC(), ExpiresAt: optionalTime(t.ExpiresAt),
		RevokedAt: optionalTime(t.RevokedAt), UsedAt: optionalTime(t.UsedAt)}
}
