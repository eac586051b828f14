package sync

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// A commitment ends with a word of the system of record: it ships, allocates where its numbers mean available, or
// rejects. A word that is lost, and cannot be asked for, leaves the units promised for ever. So what is promised for
// longer than Timings.StuckCommitment without any word becomes an incident, which the word closes.

// stuckLooks is how often, within that time, commitments are looked through.
const stuckLooks = 24

// stuckBatch is how many orders are looked at together.
const stuckBatch = 200

// watchCommitments opens an incident for each order that the system of record has had for long and says nothing about.
// One that can say how an order stands is asked first, a few orders in a pass; the look goes on until all were asked.
func (e *Engine) watchCommitments(ctx context.Context, r *recordState) error {
	now := time.Now().UTC()
	r.connectionState.mu.Lock()
	due := r.asked != nil || now.Sub(r.stuckAt) >= e.timings.StuckCommitment/stuckLooks
	if due && r.asked == nil {
		r.stuckAt, r.asked = now, make(map[OrderKey]string)
	}
	r.connectionState.mu.Unlock()
	if !due {
		return nil
	}
	asks := r.teller() != nil
	var ask []*Order
	open := func(orders []*Order) (incidents []Incident) {
		for _, o := range orders {
			text := o.stuck(now, e.timings.StuckCommitment)
			answer, asked := r.asked[o.Key()]
			switch {
			case text == "":
			case asks && !asked:
				ask = append(ask, o)
			default:
				incidents = append(incidents, stuckIncident(r.id, o, text, answer, now))
			}
		}
		return incidents
	}
	var after OrderKey
	for len(ask) < askBatch {
		n, last, err := e.store.OldCommitments(ctx, r.id, now.Add(-e.timings.StuckCommitment), after, stuckBatch, open)
		if err != nil {
			return fmt.Errorf("look for old commitments to orders at %s: %w", r.id, err)
		}
		if n < stuckBatch {
			break
		}
		after = last
	}
	if len(ask) == 0 {
		r.connectionState.mu.Lock()
		r.asked = nil
		r.connectionState.mu.Unlock()
		return nil
	}
	return e.askStuck(ctx, r, ask[:min(len(ask), askBatch)])
}

// askStuck asks for orders, notes what came of it, and applies it.
func (e *Engine) askStuck(ctx context.Context, r *recordState, orders []*Order) error {
	for _, o := range orders {
		at, err := e.askFor(ctx, r, o)
		switch {
		case err == nil:
			r.asked[o.Key()] = fmt.Sprintf("asked for it, it counts them as neither shipped nor refused (as of %s)", at.Format(time.RFC3339))
		case final(err):
			r.asked[o.Key()] = fmt.Sprintf("asked for it, it gives no answer (%s)", errorText(err))
		default:
			return err
		}
	}
	return e.applyAndPlan(ctx)
}

func stuckIncident(record stock.ConnectionID, o *Order, text, answer string, now time.Time) Incident {
	key := mapping.OrderKey(o.Channel, o.OrderID)
	if answer == "" {
		answer = "has said nothing about them"
	}
	return Incident{Kind: IncidentCommitmentStuck, Subject: key, OpenedAt: now,
		Message: fmt.Sprintf("%s has order %s, with %s; %s. Ask there what became of it: when it was shipped or will not be, enter that there, or cancel the order at %s; until then the units stay promised.",
			record, key, text, answer, o.Channel)}
}

// stuck names what of the order is promised although nothing was heard of it for so long; it is empty where there is
// nothing.
func (o *Order) stuck(now time.Time, patience time.Duration) string {
	var parts []string
	for i := range o.Lines {
		l := &o.Lines[i]
		for j := range l.Components {
			c := &l.Components[j]
			if age := now.Sub(o.heardOf(l, c)); c.Committed > 0 && age >= patience {
				parts = append(parts, fmt.Sprintf("%d units of %s for %s", c.Committed, c.SKU, age.Round(time.Second)))
			}
		}
	}
	return strings.Join(parts, ", ")
}

// heardOf is when the system of record last said something about a component of a line: at first, when the order was
// accepted.
func (o *Order) heardOf(l *OrderLine, c *LineComponent) time.Time {
	last := o.AcceptedAt
	for i := range o.Deductions {
		d := &o.Deductions[i]
		if !d.concerns(l, c) {
			continue
		}
		for _, at := range []time.Time{d.Position.SourceAt, d.Position.SeenAt} {
			if at.After(last) {
				last = at
			}
		}
	}
	for i := range o.Answers {
		a := &o.Answers[i]
		if line := a.line(l, c); line == nil || i > 0 && sameLine(line, o.Answers[i-1].line(l, c)) {
			continue
		}
		if at := a.Position.SeenAt; at.After(last) {
			last = at
		}
	}
	return last
}

// sameLine reports whether two answers say the same of a line.
func sameLine(x, y *connectors.StandingLine) bool {
	return y != nil && reflect.DeepEqual(x, y)
}

// watchStuck closes the incident about an order of which a word came, or of which nothing is promised any more. Only an
// order that is old enough can have one.
func (b *book) watchStuck(o *Order) {
	patience := b.engine.timings.StuckCommitment
	if o.AcceptedAt.IsZero() || b.now.Sub(o.AcceptedAt) < patience || o.stuck(b.now, patience) != "" {
		return
	}
	b.closed = append(b.closed, Incident{Kind: IncidentCommitmentStuck, Subject: mapping.OrderKey(o.Channel, o.OrderID), ClosedAt: b.now})
}
