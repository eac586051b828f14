package sync

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// GuardLimits say what looks like a mistake of a source: many numbers at once that fall or rise by a lot. A guard never
// holds back a few: below Count nothing is held, and a single listing going to zero passes at once. Zero values mean
// the defaults.
type GuardLimits struct {
	// Count and Permille: held when at least Count numbers, and more than Permille of as many as still show something,
	// fall by a lot or did so within the window; the same for those that rise. 10 and 300.
	Count    int64
	Permille int64
	// FallPermille is which part of a number must go for it to fall by a lot; 500. Going to zero always does.
	FallPermille int64
	// RiseFactor is how many times the largest number so far a number must reach to rise by a lot; 10.
	RiseFactor int64
}

func (g GuardLimits) withDefaults() GuardLimits { return g.over(GuardLimits{10, 300, 500, 10}) }

// over puts the limits that are set over those of base.
func (g GuardLimits) over(base GuardLimits) GuardLimits {
	set := func(n *int64, value int64) {
		if *n <= 0 {
			*n = value
		}
	}
	set(&g.Count, base.Count)
	set(&g.Permille, base.Permille)
	set(&g.FallPermille, base.FallPermille)
	set(&g.RiseFactor, base.RiseFactor)
	return g
}

// many reports whether so many changes of so many numbers are too many to pass unseen.
func (g GuardLimits) many(changed, of int64) bool {
	return changed >= g.Count && changed*1000 > of*g.Permille
}

// falls reports whether a number falls by a lot.
func (g GuardLimits) falls(from, to stock.Quantity) bool {
	return from > 0 && to < from && int64(from-to)*1000 >= int64(from)*g.FallPermille
}

// rises reports whether a number rises by a lot above the largest so far. One that was never above zero has no norm.
func (g GuardLimits) rises(peak, to stock.Quantity) bool {
	return peak > 0 && int64(to) >= int64(peak)*g.RiseFactor
}

// Jump is a change by a lot that no order and no person explains.
type Jump string

// The jumps.
const (
	Falls Jump = "fall"
	Rises Jump = "rise"
)

// jump says whether a write of a listing's target, over the quantity that it shows, is one that a guard counts.
func (g GuardLimits) jump(l *Listing, shown connectors.Reading, known bool) Jump {
	switch {
	case l.Generation <= l.Cleared, *l.Target == Endless, known && shown.Quantity == Endless:
		return ""
	case known && !shown.Unlimited && g.falls(shown.Quantity, *l.Target):
		return Falls
	case g.rises(l.Peak, *l.Target):
		return Rises
	default:
		return ""
	}
}

// concerns reports whether a due listing is one that Jumps finds.
func (g GuardLimits) concerns(l Listing) bool {
	if l.Target == nil || l.Generation <= l.Cleared {
		return false
	}
	have := cmp.Or(l.Confirmed, l.Published)
	if *l.Target == Endless || have != nil && *have == Endless {
		return false // a limit that comes or goes is no number that is wrong
	}
	return have != nil && *l.Target < *have && int64(*have-*l.Target)*1000 >= int64(*have)*g.FallPermille || g.rises(l.Peak, *l.Target)
}

// guardPush holds back the listings of a channel that fall or rise by a lot when there are too many of them. It looks at
// all that are due when there is one in the batch, for only then is one about to be written. It reports whether it held
// any back, and how many listings show more than zero. What is held waits for a person to approve or
// reject it; everything else of the channel goes on.
func (e *Engine) guardPush(ctx context.Context, c *channelState, due []Listing, now time.Time) (held bool, showing int64, err error) {
	if !slices.ContainsFunc(due, c.limits.concerns) {
		if showing, err = e.store.Showing(ctx, c.id); err != nil {
			return false, 0, fmt.Errorf("count what %s shows: %w", c.id, err)
		}
		return false, showing, nil
	}
	jumps, err := e.store.Jumps(ctx, c.id, c.limits, now.Add(-e.timings.GuardWindow))
	if err != nil {
		return false, 0, fmt.Errorf("count the jumps of %s: %w", c.id, err)
	}
	for _, kind := range []struct {
		due    []Change
		recent int64
		what   string
	}{
		{jumps.Falls, jumps.RecentFalls, fmt.Sprintf("fallen to zero or by %d of 1000 and more", c.limits.FallPermille)},
		{jumps.Rises, jumps.RecentRises, fmt.Sprintf("risen to %d times what they ever showed, or more", c.limits.RiseFactor)},
	} {
		changed := int64(len(kind.due)) + kind.recent
		if len(kind.due) == 0 || !c.limits.many(changed, jumps.Showing) {
			continue
		}
		plan := Plan{Connection: c.id, State: PlanHeld, Changes: kind.due, CreatedAt: now,
			Reason: fmt.Sprintf("%d listings of %s would have %s within %s, and %d still show something: that looks like a mistake of the source. Approve it if it is true, reject it if not.",
				changed, c.id, kind.what, e.timings.GuardWindow, jumps.Showing)}
		id, err := e.store.HoldPlan(ctx, plan)
		if err != nil {
			return held, 0, fmt.Errorf("hold a plan of %s: %w", c.id, err)
		}
		held = true
		e.log.Warn("plan held", "connection", c.id, "plan", id, "listings", len(kind.due))
	}
	return held, jumps.Showing, nil
}

// finishPlans marks the approved plans of a connection as applied of which nothing is left to do.
func (e *Engine) finishPlans(ctx context.Context, id stock.ConnectionID) error {
	plans, err := e.store.PlansOf(ctx, id, PlanApproved)
	if err != nil {
		return fmt.Errorf("look for approved plans of %s: %w", id, err)
	}
	for _, p := range plans {
		done, err := e.planDone(ctx, p)
		if err != nil {
			return fmt.Errorf("look how far plan %d of %s is: %w", p.ID, id, err)
		}
		if !done {
			continue
		}
		if err := e.store.FinishPlan(ctx, p.ID); err != nil {
			return fmt.Errorf("note that plan %d of %s is applied: %w", p.ID, id, err)
		}
	}
	return nil
}

// planDone reports whether every change of an approved plan is confirmed, or overtaken by a newer target. One of an export
// is done when its events are no longer pending.
func (e *Engine) planDone(ctx context.Context, p Plan) (bool, error) {
	for _, id := range p.Events {
		_, state, _, err := e.store.EventByID(ctx, id)
		if err != nil || state == EventPending {
			return false, err
		}
	}
	if len(p.Facts) > 0 {
		return true, nil
	}
	keys := make([]ListingKey, len(p.Changes))
	for i, c := range p.Changes {
		keys[i] = ListingKey{p.Connection, c.Ref}
	}
	listings, err := e.store.ListingsByKey(ctx, keys)
	if err != nil {
		return false, err
	}
	for i, c := range p.Changes {
		l := listings[keys[i]]
		overtaken := l == nil || l.Status == connectors.StatusRemoved || l.Target == nil || *l.Target != c.Target
		if !overtaken && (l.Confirmed == nil || *l.Confirmed != c.Target || l.ConfirmedGeneration != l.Generation) {
			return false, nil
		}
	}
	return true, nil
}
