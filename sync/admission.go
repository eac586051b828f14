package sync

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// A platform that shows no quantity asks before it sells, and takes the answer to its request for the decision. The
// question is an event like any other: stored first, and decided in the transaction that applies it, alone, when all
// that came before is applied. What is admitted is promised by the same commit; what is refused changes nothing. The
// decision is kept, so that the same question again has the same answer, whatever has happened since.

// AdmissionRules say how a channel's questions are answered that cannot be decided in time.
type AdmissionRules struct {
	// Deadline is how long a question may take; zero: DefaultAdmissionDeadline.
	Deadline time.Duration
	// Default is the answer then; empty: connectors.Refuse.
	Default connectors.Decision
}

// DefaultAdmissionDeadline leaves time to answer within the five seconds that the platforms wait.
const DefaultAdmissionDeadline = 4 * time.Second

func (r AdmissionRules) withDefaults() AdmissionRules {
	if r.Deadline <= 0 {
		r.Deadline = DefaultAdmissionDeadline
	}
	if r.Default == "" {
		r.Default = connectors.Refuse
	}
	return r
}

// asks reports whether a delivery to the connection is a question.
func (c *connectionState) asks(d connectors.Delivery) bool {
	if _, ok := c.receiver.(connectors.Admitter); !ok {
		return false
	}
	notice, err := c.receiver.DecodeWebhook(d, d.Body)
	return err == nil && notice.Asks
}

// answerQuestion decides a stored question, or finds what was decided, tells it where that takes a call, and words the answer.
func (e *Engine) answerQuestion(ctx context.Context, c *connectionState, d connectors.Delivery, event int64) (*connectors.Reply, error) {
	decided, err := e.decideBefore(ctx, c, event)
	if err != nil {
		return nil, err
	}
	if w, ok := c.receiver.(connectors.AdmissionWriter); ok {
		if err := w.WriteAdmission(ctx, d, decided.Admission); err != nil {
			return nil, fmt.Errorf("tell the decision on event %d: %w", event, err)
		}
	}
	reply := c.receiver.(connectors.Admitter).AnswerAdmission(d, decided.Admission)
	return &reply, nil
}

// decideBefore applies what is due until the event is decided. At the deadline the channel's default is the decision, and
// an incident tells; whoever stores a decision first has it.
func (e *Engine) decideBefore(ctx context.Context, c *connectionState, event int64) (Admission, error) {
	rules := e.channels[c.id].Admission.withDefaults()
	bounded, cancel := context.WithTimeout(ctx, rules.Deadline)
	defer cancel()
	var trouble error
	for bounded.Err() == nil {
		decided, ok, err := e.store.Admission(bounded, event)
		if ok && err == nil {
			return decided, nil
		}
		n, applied := 0, error(nil)
		if err == nil {
			n, applied = e.applyPass(bounded)
		}
		if err != nil || applied != nil {
			trouble = cmp.Or(err, applied)
		}
		if n == 0 {
			newSignal().wait(bounded, admissionLook)
		}
	}
	if ctx.Err() != nil {
		return Admission{}, ctx.Err()
	}
	reason := fmt.Sprintf("it could not be decided within %s, so the default of the connection holds", rules.Deadline)
	if trouble != nil {
		e.log.Warn("a question was not decided in time", "connection", c.id, "event", event, "error", trouble)
	}
	now := time.Now().UTC()
	decided, err := e.store.Decide(ctx, Admission{Event: event, Admission: connectors.Admission{Decision: rules.Default, Reason: reason, At: now}},
		Incident{Kind: IncidentUndecided, Subject: string(c.id), OpenedAt: now,
			Message: fmt.Sprintf("%s asked whether it may sell (event %d), and %s: %s. Look at why the answer took so long, and at the order.", c.id, event, reason, rules.Default)})
	if err != nil {
		return Admission{}, fmt.Errorf("store the decision on event %d: %w", event, err)
	}
	return decided, nil
}

// admissionLook is how often the decision on a question is looked for while somebody else applies.
const admissionLook = 5 * time.Millisecond

// alone cuts a batch so that a question is decided by itself, after all that came before it.
func alone(batch []decoded) []decoded {
	for i, d := range batch {
		if d.asks {
			return batch[:max(1, i)]
		}
	}
	return batch
}

// admit decides a question, and reports whether its order is to be applied. A decision that was made before, because
// there was no time, holds.
func (b *book) admit(tx LedgerTx, d decoded) (bool, error) {
	if d.err != nil {
		return true, nil // it is parked
	}
	if held, ok, err := tx.Admission(d.ID); err != nil || ok {
		return held.Decision == connectors.Admit, err
	}
	decision, reason, err := b.weigh(tx, d)
	if err != nil {
		return false, err
	}
	b.admissions = append(b.admissions, Admission{Event: d.ID, Admission: connectors.Admission{Decision: decision, Reason: reason, At: b.now}})
	return decision == connectors.Admit, nil
}

// weigh compares what an order asks for, beyond what it has, with the targets of its listings: what a shop would show at
// this moment.
func (b *book) weigh(tx LedgerTx, d decoded) (connectors.Decision, string, error) {
	asked := b.asked(d)
	keys := sortedKeys(asked, compareListingKeys)
	p, err := b.engine.loadPlan(tx.Planning(), keys)
	if err != nil {
		return "", "", err
	}
	for _, key := range keys {
		t := p.target(key)
		if t.quantity == nil {
			fallback := b.engine.channels[d.Connection].Admission.withDefaults().Default
			b.incidents = append(b.incidents, Incident{Kind: IncidentUndecided, Subject: string(d.Connection), OpenedAt: b.now,
				Message: fmt.Sprintf("%s asked whether it may sell %d of %s, and that is not known: %s. The default of the connection held: %s.", d.Connection, asked[key], key.Ref, t.held, fallback)})
			return fallback, t.held, nil
		}
		if asked[key] > *t.quantity {
			return connectors.Refuse, fmt.Sprintf("%d of %s are asked for, and %d are there to sell", asked[key], key.Ref, *t.quantity), nil
		}
		p.promise(key, asked[key])
	}
	b.closed = append(b.closed, Incident{Kind: IncidentUndecided, Subject: string(d.Connection)})
	return connectors.Admit, "there is enough", nil
}

// asked sums per listing the packs that an order asks for beyond what it has already.
func (b *book) asked(d decoded) map[ListingKey]stock.Quantity {
	asked := make(map[ListingKey]stock.Quantity)
	for _, f := range d.facts {
		if f.Order == nil {
			continue
		}
		held := make(map[string]stock.Quantity)
		if o := b.orders[OrderKey{d.Connection, f.Order.OrderID}]; o != nil {
			for _, l := range o.Lines {
				held[l.ID] = l.Ordered - l.Cancelled
			}
		}
		for _, l := range f.Order.Lines {
			if more := l.Quantity - l.Cancelled - held[l.LineID]; more > 0 {
				asked[ListingKey{d.Connection, l.Ref}] += more
			}
		}
	}
	return asked
}

// promise takes packs of a listing off what the listings after it can have: lines of different listings may share an
// article.
func (p *planInput) promise(key ListingKey, packs stock.Quantity) {
	for _, c := range p.components[key] {
		units := packs * c.Units
		if d, ok := p.demand[c.SKU]; ok {
			d.left -= units
			p.demand[c.SKU] = d
		}
		for _, l := range p.levels[c.SKU] {
			taken := min(units, max(0, l.Available))
			l.Available -= taken
			l.Committed += taken
			units -= taken
		}
	}
}

// settleAsked takes the listings of a channel without a shelf off the list of what is due: there is nothing to write. Where it
// asks first, what it may sell is the target, at every moment.
func (e *Engine) settleAsked(ctx context.Context, c *channelState, due []Listing, now time.Time) error {
	outcomes := make([]PushOutcome, len(due))
	for i, l := range due {
		outcomes[i] = PushOutcome{ListingKey: l.ListingKey, Generation: l.Generation, Confirmed: l.Target, At: now}
	}
	if err := e.store.Settle(ctx, outcomes, nil); err != nil {
		return fmt.Errorf("settle the listings of %s: %w", c.id, err)
	}
	return nil
}
