package sync

import (
	"context"
	"fmt"
	"time"

	"github.com/truestock/truestock/connectors"
)

// Somebody else may write to a listing: a person once, or a program that puts its own number back each time we put
// ours. One number of somebody else is corrected; with the third within a window the listing is contested. From then on
// nothing is raised there any more, a correction downwards waits twice as long as the one before, and a person is told.
// A listing at which nobody else wrote for the length of the window is ours again.

// contestedAfter is how many numbers of somebody else make a listing contested.
const contestedAfter = 3

const contestedText = "somebody else keeps changing what the listing shows: it is lowered now and then and not raised any more; stop the other writer, and it goes on when the listing was left alone for a while"

// contested says that somebody else has written to a listing too often, and lately.
func (p *push) contested(l Listing) bool {
	return !l.ContestedAt.IsZero() && p.quietAt(l).After(p.now)
}

// quietAt is when a listing will have been left alone for long enough.
func (p *push) quietAt(l Listing) time.Time { return l.ForeignAt.Add(p.engine.timings.ContestWindow) }

// damped holds a correction of a contested listing back until its time has come, and reports whether it did. A lower that
// the target itself asks for is never held back.
func (p *push) damped(l Listing, r connectors.Reading) bool {
	if l.Generation > l.PublishedGeneration || !r.Unlimited && r.Quantity < *l.Target {
		return false // a new target, or a raise, which waits elsewhere
	}
	next := l.ForeignAt.Add(p.spacing(l.Foreign))
	if !next.After(p.now) {
		return false
	}
	p.settle(l, PushOutcome{Held: contestedText, Attempts: l.Attempts, DueAt: earlier(next, p.quietAt(l))})
	return true
}

// spacing is the wait before the next correction: with a window of an hour six fit into the first one, then ever fewer.
func (p *push) spacing(foreign int) time.Duration {
	window := p.engine.timings.ContestWindow
	wait := window / 64
	for range max(0, foreign-contestedAfter) {
		if wait *= 2; wait >= window {
			return window
		}
	}
	return wait
}

// watchForeign counts the readings that neither our writes nor orders explain. The orders are fetched first: what they
// explain was no writer.
func (p *push) watchForeign(ctx context.Context, due []Listing, shown map[connectors.Ref]connectors.Reading) error {
	suspects := make(map[ListingKey]Listing)
	for _, l := range due {
		if r, told := shown[l.Ref]; told && p.suspect(l, r) {
			suspects[l.ListingKey] = l
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	drained, err := p.drain(ctx, shown)
	if err != nil || !drained.complete {
		return err
	}
	keys := sortedKeys(suspects, compareListingKeys)
	fresh, err := p.engine.store.ListingsByKey(ctx, keys)
	if err != nil {
		return fmt.Errorf("load listings of %s: %w", p.channel.id, err)
	}
	for _, key := range keys {
		l, r := suspects[key], shown[key.Ref]
		if fresh[key] == nil {
			continue
		}
		// The rest of what is stored may tell of what this batch has begun.
		l.Target, l.Generation, l.Taken = fresh[key].Target, fresh[key].Generation, fresh[key].Taken
		if !p.suspect(l, r) {
			continue
		}
		ours, err := p.wroteLately(ctx, key, r)
		if err != nil {
			return err
		}
		if !ours {
			p.contest(l, r)
		}
	}
	return nil
}

// suspect says that a listing shows what neither our last write nor the orders known by now lead to.
func (p *push) suspect(l Listing, r connectors.Reading) bool {
	if l.Target == nil || l.Confirmed == nil || l.ConfirmedGeneration != l.Generation || l.RecheckAt.After(p.now) ||
		l.ForeignAt.After(l.ConfirmedAt) && l.ForeignAt.After(l.PublishedAt) { // the same number, not corrected since
		return false
	}
	taken := takenOf(l, p.reserved[l.ListingKey])
	if p.caps.ShowsGross {
		taken, l.ConfirmedTaken, l.PublishedTaken = 0, 0, 0
	}
	return r.Unlimited || r.Quantity != *l.Target && r.Quantity != *l.Confirmed-(taken-l.ConfirmedTaken) &&
		(l.Published == nil || r.Quantity != *l.Published-(taken-l.PublishedTaken))
}

// echoes is how many of our writes are looked through for the number that a listing shows.
const echoes = 20

// wroteLately says that a number is one that we wrote so lately that it may still have been under way.
func (p *push) wroteLately(ctx context.Context, key ListingKey, r connectors.Reading) (bool, error) {
	pushes, err := p.engine.store.Pushes(ctx, key, p.now, echoes)
	if err != nil {
		return false, fmt.Errorf("look up the writes to %s: %w", listingText(key), err)
	}
	for _, w := range pushes {
		if w.Quantity == r.Quantity && p.now.Before(w.At.Add(2*p.flight())) {
			return true, nil
		}
	}
	return false, nil
}

// contest counts a number of somebody else.
func (p *push) contest(l Listing, r connectors.Reading) {
	c := Contest{Foreign: l.Foreign + 1, ForeignAt: p.now, ContestedAt: l.ContestedAt}
	if p.now.Sub(l.ForeignAt) > p.engine.timings.ContestWindow {
		c = Contest{Foreign: 1, ForeignAt: p.now}
	}
	if c.Foreign >= contestedAfter && c.ContestedAt.IsZero() {
		c.ContestedAt = p.now
		p.incidents = append(p.incidents, Incident{Kind: IncidentContested, Subject: listingText(l.ListingKey), OpenedAt: p.now,
			Message: fmt.Sprintf("Somebody else keeps changing %s at %s: it was read as %d for the %dth time within %s, and should show %d. It is not raised any more and lowered ever more rarely. Find the other writer and stop it; the listing is taken up again when it was left alone for %s.",
				l.Ref, l.Connection, r.Quantity, c.Foreign, p.engine.timings.ContestWindow, *l.Target, p.engine.timings.ContestWindow)})
	}
	for i := range p.outcomes {
		if o := &p.outcomes[i]; o.ListingKey == l.ListingKey {
			o.Contest = &c
			return
		}
	}
}
