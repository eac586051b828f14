package sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// judge looks again at listings that showed another number than their target. It is drift only when, between two
// readings of which the second began after the first was compared, nothing of ours was written, no new target came, every
// order that the second contains is known, and the channel still differs.
func (r *reconciliation) judge(ctx context.Context, c *channelState, caps connectors.MarketplaceCapabilities, suspects []Listing) error {
	e := r.engine
	var drifts []Drift
	var heal []ListingKey
	for look := 1; len(suspects) > 0 && look <= maxLooks; look++ {
		found, err := r.look(ctx, c, caps, suspects)
		if err != nil {
			return err
		}
		suspects = suspects[:0]
		for i := range found {
			f := &found[i]
			cause, detail := f.cause()
			if f.moved {
				suspects = append(suspects, *f.now)
				continue
			}
			if cause == "" || cause == CauseInFlight {
				continue
			}
			drifts = append(drifts, Drift{Run: r.run.ID, ListingKey: f.now.ListingKey, Target: &f.target, Shown: f.quantity(), Cause: cause, Detail: detail, At: f.at})
			if f.heals(cause, e.healOf(c)) {
				heal = append(heal, f.now.ListingKey)
			}
		}
	}
	if err := e.store.AddDrifts(ctx, drifts); err != nil {
		return fmt.Errorf("store the drift of %s: %w", c.id, err)
	}
	if slices.ContainsFunc(drifts, func(d Drift) bool { return d.Cause == CauseReturnOverdue }) && !r.run.DryRun {
		if err := e.store.OpenIncident(ctx, Incident{Kind: IncidentReturnOverdue, Subject: string(c.id), OpenedAt: time.Now().UTC(),
			Message: fmt.Sprintf("%s put returned goods up for sale that the warehouse has not received within %s. Ask the warehouse about them; reconciliation %d names the listings.", c.id, e.timings.ReturnDeadline, r.run.ID)}); err != nil {
			return fmt.Errorf("open an incident about %s: %w", c.id, err)
		}
	}
	if r.run.DryRun || len(heal) == 0 {
		return nil
	}
	if err := e.store.MarkDue(ctx, heal, time.Now().UTC()); err != nil {
		return fmt.Errorf("heal the drift of %s: %w", c.id, err)
	}
	c.wakePush.send()
	return nil
}

// healOf is the policy of a channel: its own, or that of all.
func (e *Engine) healOf(c *channelState) HealPolicy {
	if c.Heal != "" {
		return c.Heal
	}
	return e.heal
}

// look reads listings, then everything that explains what was read.
func (r *reconciliation) look(ctx context.Context, c *channelState, caps connectors.MarketplaceCapabilities, suspects []Listing) ([]finding, error) {
	e := r.engine
	keys := make([]ListingKey, len(suspects))
	refs := make([]connectors.Ref, len(suspects))
	for i, l := range suspects {
		keys[i], refs[i] = l.ListingKey, l.Ref
	}
	var readings []connectors.Reading
	err := r.call(ctx, c, func() (err error) {
		readings, err = c.Marketplace.ReadStock(ctx, refs)
		readings = inOneNumber(caps, readings)
		return err
	})
	if err != nil {
		return nil, err
	}
	shown := make(map[connectors.Ref]connectors.Reading, len(readings))
	var readAt time.Time
	for _, reading := range readings {
		shown[reading.Ref] = reading
		if reading.At.After(readAt) {
			readAt = reading.At
		}
	}
	var known orderKnowledge
	if r.run.DryRun {
		err = r.call(ctx, c, func() (err error) { known, err = e.peekOrders(ctx, c, readAt); return err })
	} else {
		err = r.call(ctx, c, func() (err error) { known.complete, err = e.drainOrders(ctx, c, readAt); return err })
	}
	if err != nil {
		return nil, err
	}
	now, err := e.store.ListingsByKey(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("load listings of %s: %w", c.id, err)
	}
	targets, err := e.targetsOf(ctx, keys)
	if err != nil {
		return nil, err
	}
	due, err := e.store.OnTheWay(ctx, keys)
	if err != nil {
		return nil, err
	}
	rules, err := e.rulesState(ctx, c)
	if err != nil {
		return nil, err
	}
	decided, err := e.settingsNow(ctx)
	if err != nil {
		return nil, err
	}
	at := time.Now().UTC()
	var found []finding
	for i := range suspects {
		l := now[suspects[i].ListingKey]
		if l == nil || l.Target == nil {
			continue
		}
		f := finding{before: &suspects[i], now: l, would: targets[l.ListingKey], target: *l.Target, dryRun: r.run.DryRun, at: at, rules: rules.with(decided.changedFor(l.ListingKey, targets[l.ListingKey].parts, at), l.ChangedAt),
			known: known, patience: caps.ReadLag + e.timings.RequestLife, deadline: e.timings.ReturnDeadline}
		if reading, told := shown[l.Ref]; told {
			f.shown = &reading
		}
		_, f.due = due[l.ListingKey]
		if f.dryRun && f.would.quantity != nil {
			f.target = *f.would.quantity
		}
		if f.more() {
			if f.returned, err = e.returnOf(ctx, c, l, f.would.parts, at); err != nil {
				return nil, err
			}
		}
		if f.shown != nil {
			if f.other, err = e.otherArticle(ctx, c, l, f.would.parts, f.shown.Quantity); err != nil {
				return nil, err
			}
		}
		f.moved = f.changed()
		found = append(found, f)
	}
	return found, nil
}

// finding is a listing at the second look, with everything that its cause is concluded from.
type finding struct {
	before, now *Listing // as we knew it before the reading, and after everything else was looked up
	shown       *connectors.Reading
	target      stock.Quantity // what it should show
	would       target         // what it should show by what is known now, with its parts
	known       orderKnowledge
	due         bool // a push or a look is due
	rules       rulesState
	returned    *returned
	other       string // the article whose number it shows, though it is mapped to another
	dryRun      bool
	moved       bool
	patience    time.Duration // how long a write may take to show
	deadline    time.Duration // for a return
	at          time.Time
}

// changed reports whether what we know of the listing is not what it was before the reading, or what it will be.
func (f *finding) changed() bool {
	if f.now.Generation != f.before.Generation || !f.now.PublishedAt.Equal(f.before.PublishedAt) || !f.now.ConfirmedAt.Equal(f.before.ConfirmedAt) {
		return true
	}
	return !f.dryRun && !sameQuantity(f.would.quantity, f.now.Target)
}

func (f *finding) quantity() *stock.Quantity {
	if f.shown == nil {
		return nil
	}
	return &f.shown.Quantity
}

func (f *finding) more() bool {
	return f.shown != nil && (f.shown.Unlimited || f.shown.Quantity > f.target)
}

func (f *finding) less() bool {
	return f.shown != nil && !f.shown.Unlimited && f.shown.Quantity < f.target
}

// heals reports whether the policy lets the difference be healed. What waits for its time or for a person is not touched.
func (f *finding) heals(cause DriftCause, policy HealPolicy) bool {
	if !cause.Counts() && cause != CauseAwaitingReturn {
		return false
	}
	return policy == HealFull || policy == HealLowers && f.more()
}

// cause says why the listing shows another number than it should, and what that was concluded from; empty where it does
// not. It is pure.
func (f *finding) cause() (DriftCause, string) {
	confirmed := f.now.Confirmed != nil && *f.now.Confirmed == *f.now.Target && f.now.ConfirmedGeneration == f.now.Generation
	written := f.now.Published != nil && f.now.PublishedGeneration == f.now.Generation
	switch {
	case f.shown == nil:
		return CauseMissing, "the channel does not tell it"
	case !f.more() && !f.less():
		return "", ""
	case f.less() && !f.known.complete:
		return CausePendingOrder, "the channel has not yet told its orders up to the reading"
	case f.less() && f.known.unseen[f.now.Ref]:
		return CausePendingOrder, "an order of the channel is not taken in yet"
	case f.dryRun && f.target != *f.now.Target && f.rules.differ && !f.shown.Unlimited && f.shown.Quantity == *f.now.Target:
		return CausePolicy, fmt.Sprintf("it shows what the rules before said, %d", *f.now.Target)
	case f.dryRun && f.target != *f.now.Target:
		return CauseInFlight, "its target is about to change"
	case f.due && written && !confirmed && f.at.Sub(f.now.PublishedAt) > f.patience:
		return CauseLostPush, fmt.Sprintf("%d was written at %s and does not show", *f.now.Published, f.now.PublishedAt.UTC().Format(time.RFC3339))
	case f.now.Held != "" && f.now.LastError == "" && !confirmed:
		return CauseHeld, f.now.Held
	}
	// A return is told as what it is also while the write that takes it off again is due.
	if cause, detail := f.awaited(); cause != "" {
		return cause, detail
	}
	if f.due {
		return CauseInFlight, "a push is due"
	}
	if cause, detail := f.evident(); cause != "" {
		return cause, detail
	}
	switch {
	case confirmed:
		return CauseForeignWrite, fmt.Sprintf("%d was read back at %s; nothing of ours was written since", *f.now.Confirmed, f.now.ConfirmedAt.UTC().Format(time.RFC3339))
	case f.now.Held != "":
		return CauseLostPush, f.now.Held
	case written || f.now.LastError != "":
		return CauseLostPush, fmt.Sprintf("a write of generation %d was never read back; last error: %q", f.now.Generation, f.now.LastError)
	default:
		return CauseUnknown, "nothing that we know explains it"
	}
}

// awaited finds goods on their way back that the channel already sells.
func (f *finding) awaited() (DriftCause, string) {
	r := f.returned
	if r == nil || f.shown.Unlimited || f.shown.Quantity-f.target > r.packs {
		return "", ""
	}
	text := fmt.Sprintf("the channel put %d of order %s up for sale again at %s, and the warehouse has not received them", r.packs, r.order, r.at.UTC().Format(time.RFC3339))
	if f.at.Sub(r.at) > f.deadline {
		return CauseReturnOverdue, text
	}
	return CauseAwaitingReturn, text
}

// evident finds the causes that can be seen in the number itself.
func (f *finding) evident() (DriftCause, string) {
	if f.shown.Unlimited {
		return "", ""
	}
	shown := f.shown.Quantity
	if len(f.would.parts) == 1 && f.target > 0 {
		if units := f.would.parts[0].Units; units > 1 && (shown == f.target*units || shown == f.would.parts[0].atp || shown*units == f.target) {
			return CauseMapping, fmt.Sprintf("it should show %d packs of %d and shows %d: the same in other units", f.target, units, shown)
		}
	}
	if f.other != "" {
		return CauseMapping, fmt.Sprintf("it shows the number of %s, which the channel says it is, and is mapped to another article", f.other)
	}
	if old := f.now.Confirmed; old != nil && f.now.ConfirmedGeneration < f.now.Generation && *old == shown &&
		f.rules.changedAt.After(f.now.ConfirmedAt) && !f.now.ChangedAt.Before(f.rules.changedAt) {
		return CausePolicy, fmt.Sprintf("it shows what the rules before %s said", f.rules.changedAt.UTC().Format(time.RFC3339))
	}
	return "", ""
}

// orderKnowledge says what is known of a channel's orders up to a reading.
type orderKnowledge struct {
	// complete is true where every order that the reading contains was told. unseen are the listings of those that were
	// told and are not taken in; only a dry run has them.
	complete bool
	unseen   map[connectors.Ref]bool
}

// peekOrders looks at the orders that changed since the last time, without taking them in.
func (e *Engine) peekOrders(ctx context.Context, c *channelState, through time.Time) (orderKnowledge, error) {
	known := orderKnowledge{unseen: make(map[connectors.Ref]bool)}
	mark, err := e.store.Bookmark(ctx, c.id, ordersFeed)
	if err != nil {
		return known, fmt.Errorf("look up how far the orders of %s were read: %w", c.id, err)
	}
	since, _ := time.Parse(time.RFC3339Nano, mark) // none yet: from the beginning
	var watermark time.Time
	for from := connectors.Cursor(""); ; {
		page, err := c.Marketplace.Orders(ctx, since, from)
		if err != nil {
			return known, err
		}
		if watermark.IsZero() || page.Watermark.Before(watermark) {
			watermark = page.Watermark
		}
		for i := range page.Orders {
			o := &page.Orders[i]
			held, _, err := e.store.OrderByKey(ctx, OrderKey{c.id, o.OrderID})
			if err != nil && !errors.Is(err, ErrNotFound) {
				return known, fmt.Errorf("look up order %s of %s: %w", o.OrderID, c.id, err)
			}
			if err == nil && held.Version >= o.Version {
				continue
			}
			for _, l := range o.Lines {
				known.unseen[l.Ref] = true
			}
		}
		if page.Next == "" {
			break
		}
		from = page.Next
	}
	known.complete = !watermark.Before(through.Truncate(time.Millisecond))
	return known, nil
}

// returned is a return that a channel already counts.
type returned struct {
	order string
	packs stock.Quantity
	at    time.Time
}

// returnOf finds units of a listing that its channel put up for sale again after they were sent, since the listing was
// last read back, and that the warehouse has not received since.
func (e *Engine) returnOf(ctx context.Context, c *channelState, l *Listing, parts []part, now time.Time) (*returned, error) {
	orders, err := e.store.RestockedOrders(ctx, c.id, now.Add(-2*e.timings.ReturnDeadline))
	if err != nil {
		return nil, fmt.Errorf("look for returns of %s: %w", c.id, err)
	}
	var r *returned
	for _, o := range orders {
		for i := range o.Lines {
			line := &o.Lines[i]
			if line.Ref != l.Ref || line.Restocked <= line.Cancelled || !o.UpdatedAt.After(l.ConfirmedAt) {
				continue
			}
			if r == nil {
				r = &returned{order: o.OrderID, at: o.UpdatedAt}
			}
			r.packs += line.Restocked - line.Cancelled
		}
	}
	if r == nil || len(parts) == 0 {
		return nil, nil
	}
	entries, err := e.store.Entries(ctx, parts[0].SKU, now, 200)
	if err != nil {
		return nil, fmt.Errorf("look for receipts of %s: %w", parts[0].SKU, err)
	}
	var received stock.Quantity
	for _, p := range entries {
		if p.Cause.Kind == stock.CauseReturn && p.At.After(r.at) {
			received += p.Quantity
		}
	}
	if r.packs -= received / parts[0].Units; r.packs <= 0 {
		return nil, nil
	}
	return r, nil
}

// otherArticle tells the article that the channel itself names for a listing, where the listing is mapped to another one
// and shows just what there is of the article named.
func (e *Engine) otherArticle(ctx context.Context, c *channelState, l *Listing, parts []part, shown stock.Quantity) (string, error) {
	sku := stock.SKU(l.SKU)
	if sku == "" || shown == 0 || slices.ContainsFunc(parts, func(p part) bool { return p.SKU == sku }) {
		return "", nil
	}
	report, err := e.store.Item(ctx, sku)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look up %s: %w", sku, err)
	}
	var available stock.Quantity
	for i := range report.Levels {
		available += report.Levels[i].Available
	}
	if c.Policy.Offer(available, 1).Quantity != shown {
		return "", nil
	}
	return l.SKU, nil
}

// rulesState says how the rules of a channel stand to those that its targets were computed with.
type rulesState struct {
	differ    bool      // from those that the engine last ran with
	changedAt time.Time // when they last changed; zero when they never did
}

func (e *Engine) rulesState(ctx context.Context, c *channelState) (s rulesState, err error) {
	text, err := rulesText(c)
	if err != nil {
		return s, err
	}
	before, err := e.store.Bookmark(ctx, c.id, rulesFeed)
	if err != nil {
		return s, fmt.Errorf("look up the rules of %s: %w", c.id, err)
	}
	s.differ = before != "" && before != text
	mark, err := e.store.Bookmark(ctx, c.id, rulesChangedFeed)
	if err != nil {
		return s, fmt.Errorf("look up when the rules of %s changed: %w", c.id, err)
	}
	s.changedAt, _ = time.Parse(time.RFC3339Nano, mark) // never: the zero time
	return s, nil
}

// with adds when a setting that a listing depends on last changed, and whether that was after the listing's target was
// computed.
func (s rulesState) with(changedAt, computedAt time.Time) rulesState {
	s.differ = s.differ || changedAt.After(computedAt)
	s.changedAt = later(s.changedAt, changedAt)
	return s
}

// changedFor is when a setting that the number of a listing depends on last changed; zero when none ever did.
func (d *decisions) changedFor(key ListingKey, parts []part, now time.Time) (at time.Time) {
	policies := []PolicyKey{{}, {Channel: key.Connection}, {Channel: key.Connection, Ref: key.Ref}}
	for _, p := range parts {
		policies = append(policies, PolicyKey{SKU: p.SKU})
		at = later(at, d.changedAt(ArticleSetting, string(p.SKU), now))
	}
	for _, k := range policies {
		at = later(at, d.changedAt(PolicySetting, k.String(), now))
	}
	return at
}

// rulesText is what the targets of a channel depend on besides the ledger and the mapping.
func rulesText(c *channelState) (string, error) {
	text, err := json.Marshal(struct {
		Policy stock.Policy
		Places mapping.Places
	}{c.Policy, c.Places})
	if err != nil {
		return "", fmt.Errorf("encode the rules of %s: %w", c.id, err)
	}
	return string(text), nil
}
