package sync

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// The write protocol. Every push reads first:
//
//	read what the channel shows
//	  equal to the target            → confirmed, nothing is written
//	  above it (a lower)             → written at once
//	  below it (a raise)             → it waits while the system of record has been silent for too long, or has said
//	                                   nothing for too long about what the number rests on; the channel's orders are
//	                                   fetched up to after the reading, applied and planned; what is then still a raise
//	                                   is written
//	  fewer than all orders explain  → the same; where the orders cannot be fetched, the difference is reserved
//	write on the condition that the channel still shows what was read (C1), as a change that is done once (C2), or, where
//	the channel can check neither, as it is, and then fetch the orders once more: what was sold during the flight is put
//	right at once. At C1 and C2 a raise is noted before it is sent, and made only from a reading that contains the raises
//	before it: that a number was raised and sold down again is no proof that nothing was sold
//	read again after the channel's lag, at once where it has none: only then is the target confirmed
//
// A retry begins anew with the reading and with the target of that moment; no number waits in a queue.

func (e *Engine) pushLoop(ctx context.Context, c *channelState) (time.Duration, error) {
	n, err := e.pushPass(ctx, c)
	if err != nil {
		return 0, err
	}
	if n > 0 {
		return c.betweenBatches(time.Now().UTC()), nil
	}
	if err := e.finishPlans(ctx, c.id); err != nil {
		return 0, err
	}
	now := time.Now().UTC()
	if e.pausedReason(c.id) != "" {
		return e.timings.Look, nil
	}
	wait := e.timings.Look
	next, due, err := e.store.NextPush(ctx, c.id)
	if err != nil {
		return 0, fmt.Errorf("look for the next push to %s: %w", c.id, err)
	}
	if due {
		wait = min(wait, max(next.Sub(now), time.Millisecond))
	}
	return max(wait, min(max(c.resting(now), c.betweenBatches(now)), e.timings.Look)), nil
}

// pushPass brings one batch of due listings of a channel to their targets, lowers first. It returns how many listings
// it handled: zero when none is due or the channel must not be asked now.
func (e *Engine) pushPass(ctx context.Context, c *channelState) (int, error) {
	now := time.Now().UTC()
	if e.pausedReason(c.id) != "" || c.resting(now) > 0 {
		return 0, nil
	}
	if _, due, err := e.store.NextPush(ctx, c.id); err != nil || !due {
		if err == nil {
			c.pushed(0, now)
		}
		return 0, err
	}
	caps, err := e.channelCapabilities(ctx, c)
	if err != nil {
		return 0, e.callFailed(ctx, &c.connectionState, err)
	}
	due, err := e.store.DuePushes(ctx, c.id, now, max(1, min(caps.BatchSize, maxBatch)))
	if err != nil {
		return 0, err
	}
	if len(due) > 0 && !caps.Class.Shelf() {
		return len(due), e.settleAsked(ctx, c, due, now)
	}
	resting := e.live.Load() && c.betweenBatches(now) > 0
	if resting {
		due = onlyLowers(due)
	}
	if len(due) == 0 {
		if !resting {
			c.pushed(0, now)
		}
		return 0, nil
	}
	if !resting {
		defer func() { c.pushed(len(due), time.Now().UTC().Add(e.timings.RetryMin)) }()
	}
	// A channel that cannot say who it is gets its lowers all the same; a stranger gets nothing.
	if err := e.knowAccount(ctx, c); err != nil && e.pausedReason(c.id) != "" {
		return 0, e.callFailed(ctx, &c.connectionState, err)
	}
	// After the batch was taken, so that whatever is in it is counted.
	held, showing, err := e.guardPush(ctx, c, due, now)
	if err != nil {
		return 0, err
	}
	if held {
		return len(due), nil // what is not held goes with the next pass
	}
	p := &push{engine: e, channel: c, caps: caps, now: now, showing: showing, jumps: make(map[connectors.Ref]Jump), marked: make(map[ListingKey]time.Time, len(due)),
		repeated: make(map[ListingKey]bool), noted: make(map[ListingKey]OpenWrite)}
	for _, l := range due {
		p.marked[l.ListingKey] = l.MarkedAt
	}
	if err := p.run(ctx, due); err != nil {
		return 0, err
	}
	if err := e.store.Settle(ctx, p.outcomes, p.incidents); err != nil {
		return 0, fmt.Errorf("settle pushes to %s: %w", c.id, err)
	}
	for _, subject := range p.closed {
		if err := e.store.CloseIncident(ctx, IncidentContested, subject, now); err != nil {
			return 0, fmt.Errorf("close the incident about %s: %w", subject, err)
		}
	}
	return len(due), e.finishPlans(ctx, c.id)
}

// maxBatch bounds a batch whatever a channel says that it takes.
const maxBatch = 1000

// push is the work on one batch.
type push struct {
	engine    *Engine
	channel   *channelState
	caps      connectors.MarketplaceCapabilities
	now       time.Time
	showing   int64                    // how many listings of the channel show more than zero
	jumps     map[connectors.Ref]Jump  // what the guards of later passes count
	marked    map[ListingKey]time.Time // when somebody last asked for a look at each listing of the batch
	outcomes  []PushOutcome
	incidents []Incident
	closed    []string // contested listings that are quiet
	reserved  map[ListingKey]*Reservation
	short     []connectors.Shortfall
	drained   drainResult
	repeated  map[ListingKey]bool      // changes sent again: what they lead to is no target any more
	noted     map[ListingKey]OpenWrite // what was stored before it was sent
	// sales says which listings were stopped or resumed, saleRetry when one that could not be is tried again.
	sales     map[ListingKey]bool
	saleRetry map[ListingKey]time.Time
	// unanswered counts the calls in a row whose outcome is not known.
	unanswered int
	// overwrote is true once a write has gone out that replaces unseen sales.
	overwrote bool
}

func (p *push) run(ctx context.Context, due []Listing) error {
	if err := p.switchSales(ctx, due); err != nil {
		return err
	}
	refs := make([]connectors.Ref, len(due))
	for i, l := range due {
		refs[i] = l.Ref
	}
	shown := make(map[connectors.Ref]connectors.Reading, len(refs))
	refused := make(map[connectors.Ref]error)
	if err := p.read(ctx, refs, shown, refused); err != nil {
		return p.callFailed(ctx, due, err)
	}
	p.channel.callWorked()
	var err error
	if p.reserved, err = p.engine.openReservations(ctx, p.channel); err != nil {
		return err
	}

	var repeats, lowers, raises, missing []Listing
	for _, l := range due {
		r, told := shown[l.Ref]
		lacking := told && p.lacks(l, r)
		switch {
		case refused[l.Ref] != nil:
			p.settle(l, PushOutcome{LastError: errorText(refused[l.Ref]), Attempts: l.Attempts + 1, DueAt: p.now.Add(p.engine.backoff(l.Attempts + 1))})
		case !told:
			missing = append(missing, l)
		case l.Target == nil:
			p.settle(l, PushOutcome{Held: l.Held})
		case p.caps.Class == connectors.IdempotentDelta && l.Unknown != nil && l.RecheckAt.After(p.now):
			repeats = append(repeats, l)
		case p.inFlight(l, r):
			p.settle(l, PushOutcome{Attempts: l.Attempts + 1, DueAt: p.now.Add(p.engine.backoff(l.Attempts + 1))})
		case !r.Unlimited && r.Quantity == *l.Target && lacking:
			raises = append(raises, l)
		case !r.Unlimited && r.Quantity == *l.Target:
			p.confirmed(l)
		case p.contested(l) && p.damped(l, r):
		case r.Unlimited || r.Quantity > *l.Target:
			lowers = append(lowers, l)
		default:
			raises = append(raises, l)
		}
	}
	if len(missing) > 0 {
		if err := p.engine.probeAccount(ctx, p.channel); err != nil {
			if err := p.callFailed(ctx, missing, err); err != nil {
				return err
			}
			missing = nil
		}
		if p.engine.pausedReason(p.channel.id) != "" {
			return p.callFailed(ctx, append(lowers, raises...), connectors.Rejectedf("check the account", "", "the connection is paused"))
		}
	}
	if err := p.missing(ctx, missing); err != nil {
		return err
	}
	if err := p.answered(ctx, shown, len(missing)); err != nil {
		return err
	}
	if err := p.repeat(ctx, repeats); err != nil {
		return err
	}
	if err := p.write(ctx, lowers, shown); err != nil {
		return err
	}
	if err := p.raise(ctx, raises, shown); err != nil {
		return err
	}
	if err := p.reserve(ctx, shown); err != nil {
		return err
	}
	if err := p.watchForeign(ctx, due, shown); err != nil {
		return err
	}
	if p.overwrote {
		// What was sold while a write was under way was overwritten by it: once known, it is taken off at once.
		if _, err := p.engine.drainOrders(ctx, p.channel, time.Time{}); err != nil {
			if err := p.engine.callFailed(ctx, &p.channel.connectionState, err); err != nil {
				return err
			}
			p.channel.ask()
		}
	}
	p.readBack(ctx)
	return nil
}

// lacks notes a reading that shows fewer than all known orders explain.
func (p *push) lacks(l Listing, r connectors.Reading) bool {
	if p.caps.ShowsGross || l.Target == nil {
		return false
	}
	packs, taken := shortfall(l, p.reserved[l.ListingKey], r)
	if packs > 0 {
		p.short = append(p.short, connectors.Shortfall{Ref: l.Ref, Taken: taken, At: r.At})
	}
	return packs > 0
}

// inFlight says that the target was taken and need not show yet: by a feed, or as a change that must not be made twice.
func (p *push) inFlight(l Listing, r connectors.Reading) bool {
	switch {
	case r.Unlimited || r.Quantity == *l.Target || l.Published == nil || *l.Published != *l.Target || l.PublishedGeneration != l.Generation:
		return false
	case p.caps.Class == connectors.AsynchronousFeed:
		return l.PublishedAt.After(l.ConfirmedAt) && p.now.Before(l.PublishedAt.Add(p.flight()))
	default:
		return p.caps.Class == connectors.IdempotentDelta && !p.unread(l, r).IsZero()
	}
}

// flight is how long a write may take until it shows.
func (p *push) flight() time.Duration { return max(p.caps.ReadLag, p.engine.timings.RequestLife) }

// drainResult is what fetching the orders of the channel came to. It is done once for a batch.
type drainResult struct {
	done, complete bool
	reason         string // why it is not complete
}

// drain fetches the orders until everything that the readings of the batch contain is known.
func (p *push) drain(ctx context.Context, shown map[connectors.Ref]connectors.Reading) (drainResult, error) {
	if p.drained.done {
		return p.drained, nil
	}
	e := p.engine
	var readAt time.Time // by the channel's clock, as the watermark of its orders is
	for _, r := range shown {
		if r.At.After(readAt) {
			readAt = r.At
		}
	}
	complete, err := e.drainOrders(ctx, p.channel, readAt)
	p.drained = drainResult{done: true, complete: complete && err == nil}
	switch {
	case err != nil:
		if err := e.callFailed(ctx, &p.channel.connectionState, err); err != nil {
			return p.drained, err
		}
		p.drained.reason = fmt.Sprintf("the orders of %s cannot be fetched (%v)", p.channel.id, err)
	case !complete:
		p.drained.reason = fmt.Sprintf("%s has not yet told its orders up to %s", p.channel.id, readAt.Format(time.RFC3339Nano))
	}
	return p.drained, nil
}

// reserve sets units aside where a reading lacks what no order explains and the orders cannot be had.
func (p *push) reserve(ctx context.Context, shown map[connectors.Ref]connectors.Reading) error {
	if len(p.short) == 0 {
		return nil
	}
	drained, err := p.drain(ctx, shown)
	if err != nil || drained.complete {
		return err
	}
	short := p.short
	p.short = nil
	if err := p.engine.reserve(ctx, p.channel, short); err != nil {
		return err
	}
	p.reserved, err = p.engine.openReservations(ctx, p.channel)
	return err
}

// repeat sends changes again of which nobody knows whether they were done: with the same id, so that they are done once.
func (p *push) repeat(ctx context.Context, listings []Listing) error {
	writes := make([]connectors.Write, len(listings))
	for i, l := range listings {
		writes[i] = connectors.Write{Ref: l.Ref, Quantity: l.Unknown.Quantity, Delta: &l.Unknown.Delta, ID: l.Unknown.ID}
	}
	return p.send(ctx, listings, writes)
}

// read reads what the channel shows. A reading that the channel refuses as a whole is taken apart until the refs are
// found that it cannot read, so that one of them does not hold up the rest.
func (p *push) read(ctx context.Context, refs []connectors.Ref, shown map[connectors.Ref]connectors.Reading, refused map[connectors.Ref]error) error {
	readings, err := p.channel.Marketplace.ReadStock(ctx, refs)
	switch {
	case err == nil:
		for _, r := range inOneNumber(p.caps, readings) {
			shown[r.Ref] = r
		}
		return nil
	case connectors.KindOf(err) != connectors.Rejected:
		return err
	case len(refs) == 1:
		refused[refs[0]] = err
		return nil
	}
	half := len(refs) / 2
	if err := p.read(ctx, refs[:half], shown, refused); err != nil {
		return err
	}
	return p.read(ctx, refs[half:], shown, refused)
}

// missing handles listings that the channel did not tell: one that stays unknown is gone. Many at once are no news about
// the listings, but about the connection, which may have been pointed at another shop: nothing is concluded from that.
func (p *push) missing(ctx context.Context, listings []Listing) error {
	if len(listings) == 0 {
		return nil
	}
	e := p.engine
	lost := p.channel.noteMissing(listings, p.now, e.missingWindow())
	vanished := p.channel.vanished.Load() || p.channel.limits.many(lost, p.showing)
	if !vanished && slices.ContainsFunc(listings, func(l Listing) bool { return inVain(l) >= missingLooks && l.Status != connectors.StatusRemoved }) {
		others, err := p.lookAround(ctx)
		if err != nil {
			return p.callFailed(ctx, listings, err)
		}
		lost = p.channel.noteMissing(others, p.now, e.missingWindow())
		vanished = p.channel.limits.many(lost, p.showing)
	}
	for _, l := range listings {
		looks := inVain(l)
		if (looks >= missingLooks || l.Status == connectors.StatusRemoved) && !vanished {
			p.gone(l)
			continue
		}
		p.settle(l, PushOutcome{LastError: notFoundText, Attempts: looks + 1, DueAt: p.now.Add(e.backoff(looks + 1))})
	}
	if vanished {
		p.channel.vanished.Store(true)
		p.incidents = append(p.incidents, Incident{Kind: IncidentListingsVanished, Subject: string(p.channel.id), OpenedAt: p.now,
			Message: fmt.Sprintf("%s does not know %d of its listings any more. Nothing was concluded from that; check that the connection still leads to the right shop.", p.channel.id, lost)})
	}
	return nil
}

const notFoundText = "the channel does not know this listing; it is looked for again"

// inVain is how often a listing was looked for in vain, one time after the other; other attempts do not count.
func inVain(l Listing) int {
	if l.LastError != notFoundText {
		return 0
	}
	return l.Attempts
}

// missingWindow is how long a listing counts as not known after a look in vain: until after the next look.
func (e *Engine) missingWindow() time.Duration {
	return max(e.timings.GuardWindow, 2*e.timings.RetryMax)
}

// lookedAround is how many other listings are asked for before one is believed to be gone.
const lookedAround = 20

// lookAround reads listings that the channel has shown, and returns those that it does not know any more. Changes come
// one after the other: that none of its listings is there shows only when it is asked for others.
func (p *push) lookAround(ctx context.Context) ([]Listing, error) {
	page, err := p.engine.store.ListingsAfter(ctx, p.channel.id, connectors.Ref{}, comparePage)
	if err != nil {
		return nil, fmt.Errorf("list listings of %s: %w", p.channel.id, err)
	}
	var others []Listing
	var refs []connectors.Ref
	for _, l := range page {
		if l.Mapped && l.Status != connectors.StatusRemoved && l.Confirmed != nil && len(refs) < min(lookedAround, max(1, p.caps.BatchSize)) {
			others, refs = append(others, l), append(refs, l.Ref)
		}
	}
	if len(refs) == 0 {
		return nil, nil
	}
	readings, err := p.channel.Marketplace.ReadStock(ctx, refs)
	if err != nil {
		return nil, err
	}
	for _, r := range readings {
		others = slices.DeleteFunc(others, func(l Listing) bool { return l.Ref == r.Ref })
	}
	return others, nil
}

// answered takes note of listings that the channel knows. Once it answers for all that it is asked about, and no longer
// lacks many, the incident about its vanished listings is over.
func (p *push) answered(ctx context.Context, shown map[connectors.Ref]connectors.Reading, missing int) error {
	c := p.channel
	c.connectionState.mu.Lock()
	for ref := range shown {
		delete(c.lost, ref)
	}
	lost := int64(len(c.lost))
	c.connectionState.mu.Unlock()
	if len(shown) == 0 || missing > 0 || !c.vanished.Load() || c.limits.many(lost, p.showing) {
		return nil
	}
	if err := p.engine.store.CloseIncident(ctx, IncidentListingsVanished, string(c.id), p.now); err != nil {
		return fmt.Errorf("close the incident about the listings of %s: %w", c.id, err)
	}
	c.vanished.Store(false)
	return nil
}

// missingLooks is how often a listing must have been looked for in vain before it is believed to be gone.
const missingLooks = 2

// noteMissing remembers which listings a channel does not know, and counts those of the time given.
func (c *channelState) noteMissing(listings []Listing, now time.Time, within time.Duration) int64 {
	c.connectionState.mu.Lock()
	defer c.connectionState.mu.Unlock()
	for _, l := range listings {
		if l.Status != connectors.StatusRemoved {
			c.lost[l.Ref] = now
		}
	}
	maps.DeleteFunc(c.lost, func(_ connectors.Ref, at time.Time) bool { return now.Sub(at) > within })
	return int64(len(c.lost))
}

// readBack confirms what was written to a channel without lag. What it cannot confirm is due already, and the next pass
// looks at it.
func (p *push) readBack(ctx context.Context) {
	written := make(map[connectors.Ref]*PushOutcome)
	for i := range p.outcomes {
		if o := &p.outcomes[i]; p.caps.ReadLag == 0 && o.Write != nil && !p.repeated[o.ListingKey] && o.Write.Outcome == string(connectors.Written) {
			written[o.Ref] = o
		}
	}
	if len(written) == 0 {
		return
	}
	readings, err := p.channel.Marketplace.ReadStock(ctx, sortedKeys(written, connectors.Ref.Compare))
	if err != nil {
		return
	}
	for _, r := range inOneNumber(p.caps, readings) {
		if o := written[r.Ref]; o != nil && !r.Unlimited && r.Quantity == *o.Published {
			o.Confirmed, o.Attempts, o.DueAt = o.Published, 0, o.RecheckAt
		}
	}
}

// raise writes what is still a raise once everything that the channel had sold by the reading is known.
func (p *push) raise(ctx context.Context, raises []Listing, shown map[connectors.Ref]connectors.Reading) error {
	if len(raises) == 0 {
		return nil
	}
	e := p.engine
	behind, err := e.catchingUp(ctx, p.channel)
	if err != nil {
		return err
	}
	if behind != "" {
		for _, l := range raises {
			p.hold(l, "a raise waits: "+behind)
		}
		return nil
	}
	drained, err := p.drain(ctx, shown)
	if err != nil {
		return err
	}
	if err := p.reserve(ctx, shown); err != nil {
		return err
	}
	silent, err := e.silentRecord(ctx)
	if err != nil {
		return err
	}
	keys := make([]ListingKey, len(raises))
	for i, l := range raises {
		keys[i] = l.ListingKey
	}
	fresh, err := e.store.ListingsByKey(ctx, keys)
	if err != nil {
		return fmt.Errorf("load listings of %s: %w", p.channel.id, err)
	}
	stale, err := e.staleStatements(ctx, keys)
	if err != nil {
		return err
	}
	var write []Listing
	for _, l := range raises {
		now := fresh[l.ListingKey]
		r := shown[l.Ref]
		if now != nil && now.Taken != l.Taken {
			p.marked[l.ListingKey] = time.Now().UTC() // the orders that were fetched tell of it
		}
		switch {
		case now == nil:
		case now.Target == nil:
			p.settle(*now, PushOutcome{Held: now.Held})
		case *now.Target == r.Quantity:
			p.confirmed(*now)
		case *now.Target < r.Quantity:
			p.settle(*now, PushOutcome{Attempts: now.Attempts, DueAt: p.now}) // a lower by now: the next pass guards and writes it
		case now.Generation != l.Generation && p.channel.limits.jump(now, r, true) != "":
			p.settle(*now, PushOutcome{Attempts: now.Attempts, DueAt: p.now}) // no guard has seen this target yet
		case silent != "":
			p.hold(*now, "a raise waits: "+silent)
		case stale[now.ListingKey] != "":
			p.hold(*now, "a raise waits: "+stale[now.ListingKey])
		case !drained.complete:
			p.hold(*now, "a raise waits: "+drained.reason+p.reservedText(now.ListingKey))
		case e.raisesPaused(p.channel.id) != "":
			p.hold(*now, "a raise waits: "+e.raisesPaused(p.channel.id))
		case p.contested(*now):
			p.settle(*now, PushOutcome{Held: contestedText, Attempts: now.Attempts, DueAt: p.quietAt(*now)})
		case !p.unread(*now, r).IsZero():
			p.holdUntil(*now, "a raise waits: what was written or sold before does not show yet, and another raise on top of it could count twice", p.unread(*now, r))
		default:
			write = append(write, *now)
		}
	}
	return p.write(ctx, write, shown)
}

// unread says until when a reading need not contain everything that we know of, at a channel that takes changes or
// compares; zero where it contains all. A change is right only on top of a number that contains the one before. A
// comparison proves that nothing was sold since the reading only where nothing raised the number meanwhile: a raise that
// the reading does not contain, our own or that of a cancelled order, and a sale of as many leave the number that was read.
func (p *push) unread(l Listing, r connectors.Reading) time.Time {
	shows := func(written, takenThen stock.Quantity) bool {
		return !r.Unlimited && r.Quantity == written-(takenOf(l, p.reserved[l.ListingKey])-takenThen)
	}
	compares := p.caps.Class == connectors.CompareAndSet
	if !compares && p.caps.Class != connectors.IdempotentDelta {
		return time.Time{}
	}
	if w := l.Unknown; w != nil && l.RecheckAt.After(p.now) {
		if shows(w.Quantity, w.Taken) {
			return time.Time{}
		}
		return l.RecheckAt
	}
	var until time.Time
	last, then := l.Confirmed, l.ConfirmedTaken
	if l.Published != nil && l.PublishedAt.After(l.ConfirmedAt) {
		last, then = l.Published, l.PublishedTaken
		until = l.PublishedAt.Add(p.flight())
		if compares {
			until = p.visible(l.PublishedAt)
		}
	}
	if heard := p.visible(p.marked[l.ListingKey]); heard.After(until) {
		until = heard
	}
	if last == nil || !until.After(p.now) || shows(*last, then) {
		return time.Time{}
	}
	return until
}

// visible is when what happened at an instant shows in every reading. The channel's clock may be a little ahead of ours.
func (p *push) visible(at time.Time) time.Time {
	if p.caps.ReadLag == 0 {
		return at
	}
	return at.Add(p.caps.ReadLag + p.engine.timings.RetryMin/10)
}

// write sends one batch and takes note of what became of each line.
func (p *push) write(ctx context.Context, listings []Listing, shown map[connectors.Ref]connectors.Reading) error {
	if len(listings) == 0 {
		return nil
	}
	writes := make([]connectors.Write, len(listings))
	intended := make(map[ListingKey]OpenWrite)
	note := func(l *Listing, w connectors.Write) {
		open := OpenWrite{ID: w.ID, Quantity: w.Quantity, Taken: takenOf(*l, p.reserved[l.ListingKey])}
		if w.Delta != nil {
			open.Delta = *w.Delta
		}
		intended[l.ListingKey], p.noted[l.ListingKey] = open, open
		l.Unknown = nil // what was not known before shows, or this one would not be written
	}
	for i := range listings {
		l := &listings[i]
		r, known := shown[l.Ref]
		p.jumps[l.Ref] = p.channel.limits.jump(l, r, known)
		writes[i] = connectors.Write{Ref: l.Ref, Quantity: *l.Target, ID: fmt.Sprintf("%s/%s/%d/%d", l.Connection, l.Ref, l.Generation, l.Writes)}
		writes[i].Unlimited = p.caps.Unlimited && *l.Target == Endless
		switch {
		case r.Unlimited, p.caps.Unlimited && known && r.Quantity == Endless:
		case writes[i].Unlimited && p.caps.Class == connectors.IdempotentDelta:
		case p.caps.Class == connectors.CompareAndSet:
			writes[i].Expect = new(r.Quantity)
			if *l.Target > r.Quantity {
				note(l, writes[i])
			}
		case p.caps.Class == connectors.IdempotentDelta:
			writes[i].Delta = new(*l.Target - r.Quantity)
			note(l, writes[i])
		}
	}
	if len(intended) > 0 {
		// What may have been sent must be known before it is, or a crash would let it be sent under another id.
		if err := p.engine.store.Intend(ctx, intended, time.Now().UTC().Add(p.engine.timings.RequestLife)); err != nil {
			return fmt.Errorf("note writes for %s: %w", p.channel.id, err)
		}
	}
	// A line that keeps a channel from answering takes the answers of those beside it: what was not answered goes alone the
	// next time. When several of those in a row are not answered either, it is the channel.
	var together, alone []int
	for i, l := range listings {
		if l.RecheckAt.After(p.now) && l.LastError != "" {
			alone = append(alone, i)
		} else {
			together = append(together, i)
		}
	}
	if len(alone) == 0 {
		return p.send(ctx, listings, writes)
	}
	first, lines := make([]Listing, 0, len(together)), make([]connectors.Write, 0, len(together))
	for _, i := range together {
		first, lines = append(first, listings[i]), append(lines, writes[i])
	}
	if err := p.send(ctx, first, lines); err != nil {
		return err
	}
	p.unanswered = 0
	for _, i := range alone {
		if p.unanswered >= unansweredInARow {
			p.settle(listings[i], PushOutcome{LastError: listings[i].LastError, Attempts: listings[i].Attempts, DueAt: p.now.Add(p.engine.timings.RetryMin)})
			continue
		}
		if err := p.send(ctx, listings[i:i+1], writes[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// unansweredInARow is how many lines are sent alone, one after the other, to a channel that does not answer.
const unansweredInARow = 3

func (p *push) send(ctx context.Context, listings []Listing, writes []connectors.Write) error {
	if len(listings) == 0 {
		return nil
	}
	p.engine.writes.Add(int64(len(writes)))
	results, err := p.channel.Marketplace.WriteStock(ctx, writes)
	switch kind := connectors.KindOf(err); {
	case err == nil:
		p.unanswered = 0
	case kind == connectors.Rejected && len(listings) > 1:
		// Nothing took place because of at least one line: find it, and let the others pass.
		half := len(listings) / 2
		if err := p.send(ctx, listings[:half], writes[:half]); err != nil {
			return err
		}
		return p.send(ctx, listings[half:], writes[half:])
	case kind == connectors.Rejected, kind == connectors.Uncertain:
		for i, l := range listings {
			p.result(l, writes[i], connectors.Result{Ref: l.Ref, Outcome: connectors.Failed, Err: err})
		}
		if kind == connectors.Rejected {
			return nil
		}
		p.unanswered++
		return p.engine.callFailed(ctx, &p.channel.connectionState, err)
	default:
		return p.callFailed(ctx, listings, err)
	}
	for i, l := range listings {
		p.result(l, writes[i], results[i])
	}
	return nil
}

// result turns the outcome of one line into what is stored.
func (p *push) result(l Listing, w connectors.Write, r connectors.Result) {
	e := p.engine
	now := time.Now().UTC()
	record := &Push{ListingKey: l.ListingKey, Generation: l.Generation, Quantity: w.Quantity, Expect: w.Expect, Delta: w.Delta, Outcome: string(r.Outcome), Jump: p.jumps[l.Ref], At: now}
	open, noted := p.noted[l.ListingKey]
	o := PushOutcome{Write: record, Noted: noted || w.Delta != nil, Attempts: l.Attempts + 1}
	if w.Expect == nil && w.Delta == nil && !p.caps.ShowsGross {
		p.overwrote = true
	}
	repeated := w.Delta != nil && l.Unknown != nil && l.Unknown.ID == w.ID
	if repeated && r.Outcome != connectors.Failed {
		// It is done, once. Whatever is on its way under that id does nothing more.
		l.RecheckAt, l.Unknown = time.Time{}, nil
		p.repeated[l.ListingKey] = true
		p.settle(l, PushOutcome{Write: record, Noted: true, Published: &w.Quantity, Attempts: l.Attempts, DueAt: now.Add(p.caps.ReadLag)})
		return
	}
	switch r.Outcome {
	case connectors.Written, connectors.Accepted:
		o.Published = &w.Quantity
		o.DueAt = now.Add(p.caps.ReadLag)
		if l.Attempts > 0 {
			// It said so before and did not show it: look less and less often.
			o.DueAt = o.DueAt.Add(e.backoff(l.Attempts))
		}
	case connectors.Stale:
		// A sale came in between. Begin anew at once, then ever slower: constant sales must not become a loop.
		o.DueAt = now
		if l.Attempts >= 3 {
			o.DueAt = now.Add(e.backoff(l.Attempts - 2))
		}
	default:
		kind := connectors.KindOf(r.Err)
		record.Outcome, record.Error = string(kind), errorText(r.Err)
		o.LastError = errorText(r.Err)
		switch kind {
		case connectors.Uncertain:
			o.Published = &w.Quantity
			o.DueAt = now.Add(max(p.caps.ReadLag, e.timings.RetryMin))
			o.RecheckAt = now.Add(e.timings.RequestLife)
			switch {
			case noted:
				o.Unknown = &open
			case w.Delta != nil:
				o.Unknown = l.Unknown // sent again
			}
		case connectors.Throttled:
			o.Attempts = l.Attempts
			o.DueAt = now.Add(e.backoff(1))
			if at := connectors.RetryAt(r.Err); at.After(now) {
				o.DueAt = at
			}
		case connectors.Rejected:
			o.Held = "the channel refused the write: " + errorText(r.Err)
			p.incidents = append(p.incidents, Incident{Kind: IncidentWriteRejected, Subject: listingText(l.ListingKey), OpenedAt: now,
				Message: fmt.Sprintf("%s refused to show %d for %s: %s. It is tried again when the target changes; correct the listing there, or its mapping here.", l.Connection, w.Quantity, l.Ref, errorText(r.Err))})
		case connectors.Unmapped:
			// One look in vain, as one that reads: the next reading says whether the listing is there.
			p.channel.noteMissing([]Listing{l}, now, e.missingWindow())
			o.DueAt = now.Add(e.backoff(o.Attempts))
		default:
			o.DueAt = now.Add(e.backoff(o.Attempts))
		}
	}
	p.settle(l, o)
}

// confirmed notes that the channel shows the target.
func (p *push) confirmed(l Listing) {
	o := PushOutcome{Confirmed: l.Target, Held: p.reservedText(l.ListingKey)}
	if p.contested(l) {
		o.DueAt = p.quietAt(l)
	}
	if sure := p.visible(p.marked[l.ListingKey]); sure.After(p.now) {
		// What made us look may not show yet: look again when it must.
		o.DueAt = earlier(o.DueAt, sure)
	}
	if l.RecheckAt.After(p.now) {
		// A write whose outcome was never learnt may still arrive; look once more when it must be dead.
		o.RecheckAt, o.DueAt = l.RecheckAt, earlier(o.DueAt, l.RecheckAt)
	}
	if l.Status == connectors.StatusRemoved {
		o.Status = connectors.StatusActive
	}
	p.settle(l, o)
}

// hold leaves a raise waiting, with the reason.
func (p *push) hold(l Listing, reason string) {
	p.holdUntil(l, reason, time.Now().UTC().Add(5*p.engine.timings.RetryMin))
}

// holdUntil leaves a raise waiting, with the reason, no longer than until the instant given.
func (p *push) holdUntil(l Listing, reason string, until time.Time) {
	p.settle(l, PushOutcome{Held: reason, Attempts: l.Attempts, DueAt: earlier(until, time.Now().UTC().Add(5*p.engine.timings.RetryMin))})
}

// gone notes that the channel does not know the listing: nothing is written to it until the channel lists it again.
func (p *push) gone(l Listing) {
	p.outcomes = append(p.outcomes, p.goneOutcome(l, nil))
}

func (p *push) goneOutcome(l Listing, record *Push) PushOutcome {
	now := time.Now().UTC()
	if l.Status != connectors.StatusRemoved {
		p.incidents = append(p.incidents, Incident{Kind: IncidentListingGone, Subject: listingText(l.ListingKey), OpenedAt: now,
			Message: fmt.Sprintf("%s does not know the listing %s any more. It keeps its orders and gets no more writes; when the channel lists it again, it is taken up by itself.", l.Connection, l.Ref)})
	}
	return PushOutcome{ListingKey: l.ListingKey, Generation: l.Generation, Write: record, Status: connectors.StatusRemoved,
		LastError: "the channel does not know this listing", At: now}
}

func (p *push) settle(l Listing, o PushOutcome) {
	o.Taken = takenOf(l, p.reserved[l.ListingKey])
	if !l.ContestedAt.IsZero() && !p.contested(l) {
		o.Contest = &Contest{}
		p.closed = append(p.closed, listingText(l.ListingKey))
	}
	if o.Unknown == nil && l.Unknown != nil && l.RecheckAt.After(p.now) {
		o.Unknown = l.Unknown
	}
	// At is when the batch began: what was marked since then, because somebody heard of a change, stays due.
	o.ListingKey, o.Generation, o.At = l.ListingKey, l.Generation, p.now
	if stopped, done := p.sales[l.ListingKey]; done {
		o.Stopped = &stopped
	}
	if at, waits := p.saleRetry[l.ListingKey]; waits {
		o.Attempts, o.DueAt = max(o.Attempts, l.Attempts+1), earlier(o.DueAt, at)
	}
	if l.RecheckAt.After(p.now) && o.RecheckAt.Before(l.RecheckAt) {
		// An earlier write whose outcome was never learnt may still arrive, whatever became of this one.
		o.RecheckAt = l.RecheckAt
		if o.DueAt.IsZero() {
			o.DueAt = l.RecheckAt
		}
	}
	p.outcomes = append(p.outcomes, o)
}

// callFailed handles a call that failed as a whole and changed nothing: its listings wait, each for itself; how long the
// connection waits is decided by the kind of the error.
func (p *push) callFailed(ctx context.Context, listings []Listing, err error) error {
	if connectors.KindOf(err) == "" {
		return err
	}
	now := time.Now().UTC()
	for _, l := range listings {
		o := PushOutcome{LastError: errorText(err), Attempts: l.Attempts, DueAt: now.Add(p.engine.timings.RetryMin)}
		if at := connectors.RetryAt(err); at.After(o.DueAt) {
			o.DueAt = at
		}
		p.settle(l, o)
	}
	return p.engine.callFailed(ctx, &p.channel.connectionState, err)
}

// earlier is the earlier of two instants, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// reservedText says what is reserved for sales that only a reading tells of.
func (p *push) reservedText(key ListingKey) string {
	r := p.reserved[key]
	if r == nil || len(r.Parts) == 0 || r.Parts[0].Reserved == 0 {
		return ""
	}
	return fmt.Sprintf("%d packs that left %s without an order that we know are reserved until it has told its orders up to %s",
		r.Parts[0].Reserved/r.Parts[0].Units, key.Connection, r.At.Format(time.RFC3339Nano))
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func listingText(key ListingKey) string { return string(key.Connection) + ":" + key.Ref.String() }
