package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// A remedy makes one order line good on which an oversell falls. A person chooses it. It is then told to the channel, where
// the channel takes remedies, and is otherwise a person's work, for which truestock has written the message. It is done when
// what it promises is so: a refund when the channel's order shows the units as cancelled and the system of record has let
// go of them, a substitute when the system of record sends it, a delivery when it has come.

// RemedyState is how far a remedy has come.
type RemedyState string

// The states of a remedy. What has been chosen is not yet told, what is sent was told to the buyer.
const (
	RemedyChosen RemedyState = "chosen"
	RemedySent   RemedyState = "sent"
	RemedyDone   RemedyState = "done"
	RemedyFailed RemedyState = "failed"
)

// Remedy is what was chosen for an order line. (Incident, OrderKey, LineID) is unique.
type Remedy struct {
	Incident int64
	OrderKey
	LineID string
	// SKU is what is missing, Units how many base units of it are made good, in Packs of the listing.
	SKU   stock.SKU
	Units stock.Quantity
	Packs stock.Quantity
	// CancelledTo is, of a refund, how many packs of the line are cancelled with it in all.
	CancelledTo stock.Quantity
	// Choice counts the choices for the line; it makes the key by which the channel is told.
	Choice       int64
	Kind         stock.RemedyKind
	Substitute   stock.SKU
	ReadyAt      time.Time
	Compensation int64
	Message      string
	State        RemedyState
	// ByHand: a person must do it, for Error's reason. Attempts counts the calls to the channel.
	ByHand   bool
	Error    string
	Attempts int
	By       string
	// FinishedBy is the person who said what became of it; empty where the engine has found out. What a person calls done
	// counts as made good although the units are still missing.
	FinishedBy string
	ChosenAt   time.Time
	SentAt     time.Time
	EndedAt    time.Time
	// DueAt is when the engine looks at it again; zero: not by itself.
	DueAt time.Time
}

func (r *Remedy) concerns(c Commitment) bool { return r.OrderKey == c.OrderKey && r.LineID == c.LineID }

// active reports whether the remedy is chosen and has not ended.
func (r *Remedy) active() bool { return r != nil && (r.State == RemedyChosen || r.State == RemedySent) }

// Remedies keeps remedies.
type Remedies interface {
	// RemediesOf are those of an incident, by order and line.
	RemediesOf(ctx context.Context, incident int64) ([]Remedy, error)
	// ClaimRemedies takes remedies that are due, and makes them due again at the instant until, so that nobody else takes them
	// meanwhile. Of those that are to be told, the attempts grow.
	ClaimRemedies(ctx context.Context, now, until time.Time, limit int) ([]Remedy, error)
}

// RemedyChoice is what a person chooses for an order line.
type RemedyChoice struct {
	OrderKey
	LineID string
	Kind   stock.RemedyKind
	// Substitute is what is sent instead; empty: what is proposed.
	Substitute stock.SKU
	// ReadyAt is when the delivery will have come; zero: what is proposed.
	ReadyAt time.Time
	// Compensation and Message replace what the settings propose.
	Compensation *int64
	Message      string
}

// errUnchanged ends a transaction that would store what is stored already.
var errUnchanged = errors.New("nothing changes")

// restockGrace is how long after its day a delivery may come until it counts as missed.
const restockGrace = 24 * time.Hour

// ChooseRemedy decides how an affected order line is made good. The same choice again changes nothing. ErrNotFound when
// there is no such incident, ErrInvalid and *stock.FieldError when the choice cannot be, ErrConflict when another one is
// under way.
func (e *Engine) ChooseRemedy(ctx context.Context, by Actor, incident int64, choice RemedyChoice) (IncidentDetail, error) {
	fail := func(err error) (IncidentDetail, error) {
		return IncidentDetail{}, fmt.Errorf("choose a remedy for line %s of order %s of incident %d: %w", choice.LineID, mapping.OrderKey(choice.Channel, choice.OrderID), incident, err)
	}
	i, err := e.store.IncidentByID(ctx, incident)
	switch {
	case err != nil:
		return fail(err)
	case i.Kind != IncidentOversell:
		return fail(fmt.Errorf("%w: it is about %s, and only an oversell has remedies", ErrInvalid, i.Kind))
	case choice.Compensation != nil:
		if err := checkCompensation(*choice.Compensation); err != nil {
			return fail(err)
		}
	}
	if choice.Kind == stock.RemedySubstitute && choice.Substitute == "" {
		if choice.Substitute, err = e.proposedSubstitute(ctx, incident, choice); err != nil {
			return fail(err)
		}
	}
	now := time.Now().UTC()
	entry := act(now, by.Name, "remedy chosen", "incident "+eventReference(incident), nil, choice)
	entry.Reason = by.Reason
	err = e.onOrder(ctx, choice.OrderKey, stock.SKU(i.Subject), choice.Substitute, func(b *book, tx LedgerTx) error {
		return b.choose(tx, i, choice, by)
	}, entry)
	if err != nil && !errors.Is(err, errUnchanged) {
		return fail(err)
	}
	e.wakeRemedy.send()
	return e.Incident(ctx, incident)
}

// FinishRemedy notes what became of a remedy that a person carried out. A refund then cancels its units here too.
func (e *Engine) FinishRemedy(ctx context.Context, by Actor, incident int64, key OrderKey, lineID string, done bool) (IncidentDetail, error) {
	fail := func(err error) (IncidentDetail, error) {
		return IncidentDetail{}, fmt.Errorf("finish the remedy of line %s of order %s of incident %d: %w", lineID, mapping.OrderKey(key.Channel, key.OrderID), incident, err)
	}
	i, err := e.store.IncidentByID(ctx, incident)
	if err != nil {
		return fail(err)
	}
	now, state := time.Now().UTC(), RemedyFailed
	if done {
		state = RemedyDone
	}
	entry := act(now, by.Name, "remedy "+string(state), "incident "+eventReference(incident), nil, map[string]string{"order": mapping.OrderKey(key.Channel, key.OrderID), "line": lineID})
	entry.Reason = by.Reason
	err = e.onOrder(ctx, key, stock.SKU(i.Subject), "", func(b *book, tx LedgerTx) error {
		r, err := b.remedy(tx, stock.SKU(i.Subject), incident, key, lineID)
		switch {
		case err != nil:
			return err
		case r.State == state:
			return errUnchanged
		case !r.active():
			return fmt.Errorf("%w: it is %s already", ErrConflict, r.State)
		}
		if done && r.Kind == stock.RemedyRefund {
			b.refund(*r)
		}
		r.FinishedBy = by.Name
		b.end(*r, state, "")
		return nil
	}, entry)
	if err != nil && !errors.Is(err, errUnchanged) {
		return fail(err)
	}
	return e.Incident(ctx, incident)
}

// onOrder changes the ledger for one order: fn gets a book with the order and the SKUs, and all of it is stored with the
// acts, or none.
func (e *Engine) onOrder(ctx context.Context, key OrderKey, sku, other stock.SKU, fn func(b *book, tx LedgerTx) error, acts ...AuditEntry) error {
	if !e.basesKnown() {
		if err := e.rememberedCapabilities(ctx); err != nil {
			return fmt.Errorf("load what the connections can do: %w", err)
		}
	}
	if !e.basesKnown() {
		return fmt.Errorf("%w: what the numbers of a system of record mean is not known yet; try again when it has answered", ErrBusy)
	}
	if err := e.applying.take(ctx); err != nil {
		return err
	}
	defer e.applying.give()
	var b *book
	err := e.store.Post(ctx, func(tx LedgerTx) error {
		b = newBook(e, time.Now().UTC())
		told := decoded{facts: []connectors.Fact{{Kind: connectors.OrderTold, Told: &connectors.Told{OrderKey: mapping.OrderKey(key.Channel, key.OrderID)}}}}
		if err := b.load(tx, []decoded{told}, sku, other); err != nil {
			return err
		}
		if err := fn(b, tx); err != nil {
			return err
		}
		for _, finish := range []func(LedgerTx) error{b.grantKeys, b.watchCaps, b.bookSlots} {
			if err := finish(tx); err != nil {
				return err
			}
		}
		b.rejudged[sku] = true
		if err := b.watchOversells(tx); err != nil {
			return err
		}
		return tx.Save(b.changes())
	}, acts...)
	if err == nil {
		e.afterApply(b)
	}
	return err
}

// remedy finds the remedy of a line.
func (b *book) remedy(tx Oversells, sku stock.SKU, incident int64, key OrderKey, lineID string) (*Remedy, error) {
	stored, err := tx.Remedies([]stock.SKU{sku})
	if err != nil {
		return nil, err
	}
	for i := range stored {
		if r := &stored[i]; r.Incident == incident && r.OrderKey == key && r.LineID == lineID {
			return r, nil
		}
	}
	return nil, fmt.Errorf("no remedy was chosen for this line: %w", ErrNotFound)
}

// choose checks a choice against the state of the moment, and carries out what of it is truestock's own work.
func (b *book) choose(tx LedgerTx, i Incident, choice RemedyChoice, by Actor) error {
	sku := stock.SKU(i.Subject)
	before, err := b.remedy(tx, sku, i.ID, choice.OrderKey, choice.LineID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	r := Remedy{Incident: i.ID, OrderKey: choice.OrderKey, LineID: choice.LineID, SKU: sku, Choice: 1, Kind: choice.Kind, State: RemedyChosen, By: by.Name, ChosenAt: b.now, DueAt: b.now}
	if before != nil {
		r.Choice = before.Choice + 1
		switch {
		case before.State == RemedyFailed:
		case before.same(choice):
			return errUnchanged
		case before.State == RemedyChosen && (before.Attempts == 0 || before.ByHand) && before.Kind != stock.RemedySubstitute:
		default:
			return fmt.Errorf("%w: a %s was chosen for the line and is %s; it can be chosen anew when it has failed", ErrConflict, before.Kind, before.stateText())
		}
	}
	if !i.ClosedAt.IsZero() {
		return fmt.Errorf("%w: the incident was closed at %s", ErrConflict, i.ClosedAt.UTC().Format(time.RFC3339))
	}
	judged := b.oversellOf(sku)
	if judged.available >= 0 {
		return fmt.Errorf("%w: nothing of %s is missing any more", ErrConflict, sku)
	}
	_, lines, err := judged.judge(tx, b.commitments, b.orders)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(lines, func(a affectedLine) bool { return a.OrderKey == choice.OrderKey && a.LineID == choice.LineID })
	if at < 0 {
		return fmt.Errorf("%w: the line is not affected", ErrInvalid)
	}
	proposals, err := b.engine.proposals(tx, b.settings, sku, lines, b.now)
	if err != nil {
		return err
	}
	a, proposed := &lines[at], proposals[at]
	l, c := a.component()
	if c == nil {
		return fmt.Errorf("%w: the line holds no %s", ErrInvalid, sku)
	}
	r.Units = a.short
	r.Packs = min((a.short+c.Units-1)/c.Units, a.order.open(l))
	r.Compensation = value(choice.Compensation)
	if choice.Compensation == nil && choice.Kind != stock.RemedyRefund {
		r.Compensation = b.settings.incidentRule(ListingKey{a.Channel, a.Ref}, sku, b.now).Compensation
	}
	switch choice.Kind {
	case stock.RemedyRestock:
		r.ReadyAt = choice.ReadyAt.UTC()
		if r.ReadyAt.IsZero() {
			r.ReadyAt = remedyOfKind(proposed, choice.Kind).ReadyAt
		}
		switch {
		case r.ReadyAt.IsZero():
			return refuseField("ready_at", "is missing, and no purchase that is expected covers the line: decide one with truestock settings set purchase, or give the instant")
		case !r.ReadyAt.After(b.now):
			return refuseField("ready_at", "lies in the past")
		}
	case stock.RemedySubstitute:
		if r.Substitute = choice.Substitute; r.Substitute == "" {
			return refuseField("substitute", "is missing, and no substitute of equal or higher grade is there in the number needed")
		}
		if err := b.substitute(a.order, l, c, r.Substitute); err != nil {
			return err
		}
		r.Packs = a.order.open(l)
		r.Units = r.Packs * c.Units
	case stock.RemedyRefund:
		r.CancelledTo = max(l.Cancelled, l.Refunded) + r.Packs
	default:
		return refuseField("kind", "is %q: write %s, %s or %s", choice.Kind, stock.RemedyRestock, stock.RemedySubstitute, stock.RemedyRefund)
	}
	if r.Message = strings.TrimSpace(choice.Message); r.Message == "" {
		r.Message = r.text()
	}
	b.remedies = append(b.remedies, r)
	return nil
}

// proposedSubstitute is what is sent instead where the person names nothing: what was chosen before, else what is proposed.
func (e *Engine) proposedSubstitute(ctx context.Context, incident int64, choice RemedyChoice) (stock.SKU, error) {
	v, err := e.Incident(ctx, incident)
	if err != nil {
		return "", err
	}
	for _, a := range v.Affected {
		if a.Connection != choice.Channel || a.OrderID != choice.OrderID || a.LineID != choice.LineID {
			continue
		}
		if a.Remedy != nil && a.Remedy.Substitute != "" {
			return a.Remedy.Substitute, nil
		}
		for _, p := range a.Proposals {
			if p.Kind == stock.RemedySubstitute {
				return p.Substitute, nil
			}
		}
	}
	return "", nil
}

// same reports whether a choice says what the remedy is.
func (r *Remedy) same(c RemedyChoice) bool {
	return r.Kind == c.Kind && (c.Substitute == "" || c.Substitute == r.Substitute) && (c.ReadyAt.IsZero() || c.ReadyAt.Equal(r.ReadyAt)) &&
		(c.Compensation == nil || *c.Compensation == r.Compensation) && (strings.TrimSpace(c.Message) == "" || strings.TrimSpace(c.Message) == r.Message)
}

// stateText is where a remedy stands, for people.
func (r *Remedy) stateText() string {
	if r.State == RemedyChosen && r.Attempts > 0 && !r.ByHand {
		return "being sent"
	}
	return string(r.State)
}

func remedyOfKind(p stock.RemedyProposal, kind stock.RemedyKind) stock.Remedy {
	for _, r := range p.Remedies {
		if r.Kind == kind {
			return r
		}
	}
	return stock.Remedy{}
}

// text is what the buyer is told where nobody writes something better.
func (r *Remedy) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "We are sorry: of your order %s more was sold than we have. ", r.OrderID)
	switch r.Kind {
	case stock.RemedyRestock:
		fmt.Fprintf(&b, "The goods will be here by %s and are then sent at once.", r.ReadyAt.Format(time.DateOnly))
	case stock.RemedySubstitute:
		fmt.Fprintf(&b, "We send you %s instead, which is at least as good.", r.Substitute)
	default:
		b.WriteString("We cancel what is missing and pay it back in full.")
	}
	if r.Compensation > 0 {
		fmt.Fprintf(&b, " You get a compensation of %d.%02d.", r.Compensation/100, r.Compensation%100)
	}
	return b.String()
}

// substitute has another SKU sent for a line. The units of the old one stay promised until the system of record has let go of
// them: they may have left already.
func (b *book) substitute(o *Order, l *OrderLine, c *LineComponent, to stock.SKU) error {
	table, from := b.settings.substitutes(c.SKU, b.now), c.SKU
	units := o.open(l) * c.Units
	var available stock.Quantity
	for _, level := range b.bySKU[to] {
		available += level.Available
	}
	switch {
	case !slices.ContainsFunc(table.Substitutes, func(s SubstituteFor) bool { return s.SKU == to }):
		return refuseField("substitute", "is %s, which is no substitute for %s: decide it with truestock settings set substitute %s", to, from, from)
	case available < units:
		return refuseField("substitute", "is %s, of which %d are available and %d are needed for the whole line", to, available, units)
	case c.Pool != "":
		return refuseField("kind", "is substitute, and the line was sold from the campaign %s: choose a refund or a delivery", c.Pool)
	case b.isLicence(from) || b.isLicence(to) || b.isService(from) || b.isService(to) || b.settings.article(to, b.now).windowed():
		return refuseField("substitute", "is %s for %s: only goods that are counted replace each other", to, from)
	case slices.ContainsFunc(l.Components, func(other LineComponent) bool { return other.SKU == to }):
		return refuseField("substitute", "is %s, which the line holds already", to)
	case slices.ContainsFunc(o.Deductions, func(d Deduction) bool { return d.concerns(l, c) }):
		return refuseField("kind", "is substitute, and part of the line was taken by the system of record: choose a refund or a delivery")
	}
	for i := range l.Components {
		l.Components[i].Record = l.Components[i].recordLine(l)
	}
	c.Replaced = true
	l.Components = append(l.Components, LineComponent{SKU: to, Units: c.Units, Record: mapping.RecordLineID(l.ID, 2, to),
		Location: b.locationFor(o.Channel, l.Ref.Place, mapping.Component{SKU: to, Units: c.Units}, o.open(l))})
	o.Substitutions++
	b.touchedOrders[o.Key()] = true
	b.commit(o)
	b.post(stock.CauseCommitment, mapping.OrderKey(o.Channel, o.OrderID))
	return nil
}

// refund takes the units of a refund out of the order, whether or not its channel says so too.
func (b *book) refund(r Remedy) {
	o := b.orders[r.OrderKey]
	if o == nil {
		return
	}
	for i := range o.Lines {
		if l := &o.Lines[i]; l.ID == r.LineID {
			l.Refunded = max(l.Refunded, r.CancelledTo)
		}
	}
	b.touchedOrders[r.OrderKey] = true
	b.commit(o)
	b.post(stock.CauseCommitment, mapping.OrderKey(o.Channel, o.OrderID))
}

// end notes the end of a remedy.
func (b *book) end(r Remedy, state RemedyState, reason string) {
	r.State, r.Error, r.EndedAt, r.DueAt = state, reason, b.now, time.Time{}
	b.remedies = append(b.remedies, r)
}

// --- the way of a remedy ---------------------------------------------------------------------------------------------

// remedyBatch is how many remedies are taken at a time.
const remedyBatch = 50

func (e *Engine) remedyLoop(ctx context.Context) (time.Duration, error) {
	n, err := e.remedyPass(ctx)
	if n > 0 && err == nil {
		return 0, nil
	}
	return e.timings.Look, err
}

// remedyPass tells channels of the remedies that were chosen, and looks whether those that were told are done. It returns
// how many it handled. The key of a remedy makes a repeat after a crash harmless.
func (e *Engine) remedyPass(ctx context.Context) (int, error) {
	if !e.basesKnown() {
		return 0, nil
	}
	now := time.Now().UTC()
	claimed, err := e.store.ClaimRemedies(ctx, now, now.Add(max(e.timings.RequestLife, e.timings.RetryMin)), remedyBatch)
	if err != nil {
		return 0, fmt.Errorf("look for remedies: %w", err)
	}
	for i, r := range claimed {
		if r.State == RemedyChosen {
			err = e.sendRemedy(ctx, r)
		} else {
			err = e.followRemedy(ctx, r)
		}
		if err != nil {
			return i, fmt.Errorf("remedy of line %s of order %s: %w", r.LineID, mapping.OrderKey(r.Channel, r.OrderID), err)
		}
	}
	return len(claimed), nil
}

// changeRemedy stores what became of a remedy, unless somebody has chosen anew meanwhile.
func (e *Engine) changeRemedy(ctx context.Context, r Remedy, change func(b *book, tx LedgerTx, r Remedy) error) error {
	err := e.onOrder(ctx, r.OrderKey, r.SKU, r.Substitute, func(b *book, tx LedgerTx) error {
		held, err := b.remedy(tx, r.SKU, r.Incident, r.OrderKey, r.LineID)
		if err != nil {
			return err
		}
		if held.Choice != r.Choice || held.State != r.State {
			return errUnchanged
		}
		return change(b, tx, *held)
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// sendRemedy tells the channel.
func (e *Engine) sendRemedy(ctx context.Context, r Remedy) error {
	byHand := func(reason string) error {
		return e.changeRemedy(ctx, r, func(b *book, _ LedgerTx, r Remedy) error {
			r.ByHand, r.Error, r.DueAt = true, reason, b.now.Add(e.timings.Look)
			if r.Kind == stock.RemedySubstitute {
				r.DueAt = time.Time{} // nobody but a person can tell whether the buyer knows
			}
			b.remedies = append(b.remedies, r)
			return nil
		})
	}
	later := func(reason string, at time.Time) error {
		return e.changeRemedy(ctx, r, func(b *book, _ LedgerTx, r Remedy) error {
			r.Error, r.DueAt = reason, at
			b.remedies = append(b.remedies, r)
			return nil
		})
	}
	if r.ByHand {
		return e.followRemedy(ctx, r)
	}
	c := e.channels[r.Channel]
	if c == nil {
		return byHand(fmt.Sprintf("the channel %s is not configured any more: tell the buyer by hand", r.Channel))
	}
	now := time.Now().UTC()
	if e.pausedReason(c.id) != "" || c.resting(now) > 0 {
		return later("the channel is not asked now", now.Add(e.backoff(r.Attempts)))
	}
	caps, err := e.channelCapabilities(ctx, c)
	writer, can := c.Marketplace.(connectors.RemedyWriter)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return later(errorText(err), now.Add(e.backoff(r.Attempts)))
	case !can || !caps.Remedies:
		return byHand(fmt.Sprintf("%s takes no remedies: carry it out there, and send the buyer the message", c.id))
	}
	callErr := writer.WriteRemedy(ctx, connectors.RemedyNotice{
		Key: fmt.Sprintf("remedy:%d/%s/%s/%d", r.Incident, r.OrderID, r.LineID, r.Choice), OrderID: r.OrderID, Kind: r.Kind,
		Lines:      []connectors.RemedyLine{{LineID: r.LineID, Quantity: r.Packs}},
		Substitute: r.Substitute, ReadyAt: r.ReadyAt, Compensation: r.Compensation, Message: r.Message,
	})
	switch kind := connectors.KindOf(callErr); {
	case callErr == nil:
		c.callWorked()
		return e.changeRemedy(ctx, r, func(b *book, _ LedgerTx, r Remedy) error {
			if r.Kind == stock.RemedyRefund {
				b.refund(r)
			}
			r.State, r.SentAt, r.Error, r.Attempts, r.DueAt = RemedySent, b.now, "", 0, b.now
			b.remedies = append(b.remedies, r)
			return nil
		})
	case kind == "":
		return callErr
	case kind == connectors.Rejected, kind == connectors.Unmapped:
		return e.changeRemedy(ctx, r, func(b *book, _ LedgerTx, r Remedy) error {
			b.end(r, RemedyFailed, fmt.Sprintf("%s refused it: %s", c.id, errorText(callErr)))
			return nil
		})
	default:
		if err := later(errorText(callErr), now.Add(e.backoff(r.Attempts))); err != nil {
			return err
		}
		return e.callFailed(ctx, &c.connectionState, callErr)
	}
}

// followRemedy looks whether a remedy that was told is done.
func (e *Engine) followRemedy(ctx context.Context, r Remedy) error {
	o, f, err := e.store.OrderByKey(ctx, r.OrderKey)
	if err != nil {
		return err
	}
	return e.changeRemedy(ctx, r, func(b *book, tx LedgerTx, r Remedy) error {
		var done bool
		var failed, hint string
		switch r.Kind {
		case stock.RemedyRefund:
			done = refunded(o, r)
		case stock.RemedySubstitute:
			done, failed, hint = e.substituted(f, r)
		case stock.RemedyRestock:
			if done, err = b.covered(tx, r); err != nil {
				return err
			}
			if !done && b.now.After(r.ReadyAt.Add(restockGrace)) {
				failed = fmt.Sprintf("the delivery of %s has not come", r.ReadyAt.Format(time.DateOnly))
			}
		}
		switch {
		case done:
			b.end(r, RemedyDone, "")
		case failed != "":
			b.end(r, RemedyFailed, failed)
		default:
			if r.State == RemedySent {
				r.ByHand, r.Error = hint != "", hint
			}
			r.Attempts++
			r.DueAt = b.now.Add(e.backoff(r.Attempts))
			b.remedies = append(b.remedies, r)
		}
		return nil
	})
}

// refunded says that the channel's own order shows the units as cancelled, and that nothing is held for them any more.
func refunded(o *Order, r Remedy) bool {
	for i := range o.Lines {
		l := &o.Lines[i]
		if l.ID != r.LineID {
			continue
		}
		told := o.Status == connectors.OrderCancelledStatus || l.Cancelled >= min(r.CancelledTo, o.wanted(l))
		for _, c := range l.Components {
			told = told && c.Committed <= o.open(l)*c.Units
		}
		return told
	}
	return true // the line is out of the order
}

// substituted says whether the system of record sends the substitute, why it never will, and what a person must do first.
func (e *Engine) substituted(f *Forward, r Remedy) (done bool, failed, hint string) {
	switch {
	case f == nil:
		return true, "", "" // nobody needs to be told
	case f.Refused:
		return false, fmt.Sprintf("%s refuses the order: %s", f.Connection, f.Error), ""
	case f.Done < f.Want:
		return false, "", ""
	case slices.ContainsFunc(f.Sent, func(l connectors.OrderLine) bool { return l.SKU == r.Substitute }):
		return true, "", ""
	default:
		return false, "", fmt.Sprintf("%s cannot change an order: enter there that %s is sent instead of %s, and then finish the remedy", f.Connection, r.Substitute, r.SKU)
	}
}

// covered says that the oversell does not fall on the line any more.
func (b *book) covered(tx Oversells, r Remedy) (bool, error) {
	judged := b.oversellOf(r.SKU)
	if judged.available >= 0 {
		return true, nil
	}
	_, lines, err := judged.judge(tx, b.commitments, b.orders)
	return !slices.ContainsFunc(lines, func(a affectedLine) bool { return r.concerns(a.Commitment) }), err
}

// proposals are what can be proposed for lines, each at its line's index.
func (e *Engine) proposals(tx interface {
	Levels(skus []stock.SKU) (map[LevelKey]*HeldLevel, error)
}, settings *decisions, sku stock.SKU, lines []affectedLine, now time.Time,
) ([]stock.RemedyProposal, error) {
	table := settings.substitutes(sku, now)
	names := make([]stock.SKU, len(table.Substitutes))
	for i, s := range table.Substitutes {
		names[i] = s.SKU
	}
	levels, err := tx.Levels(names)
	if err != nil {
		return nil, err
	}
	substitutes := make([]stock.Substitute, len(names))
	for i, s := range table.Substitutes {
		substitutes[i] = stock.Substitute{SKU: s.SKU, Grade: s.Grade}
		for key, l := range levels {
			if key.SKU == s.SKU {
				substitutes[i].Available += l.Available
			}
		}
	}
	affected := make([]stock.AffectedLine, len(lines))
	for i, a := range lines {
		affected[i] = stock.AffectedLine{PromisedLine: stock.PromisedLine{Order: mapping.OrderKey(a.Channel, a.OrderID), Line: a.LineID, AcceptedAt: a.AcceptedAt, Units: a.Quantity}, Short: a.short}
		if a.order.Buyer != nil {
			affected[i].Buyer = a.order.Buyer.Ref
		}
	}
	out := stock.ProposeRemedies(affected, table.Grade, settings.arrivals(sku, now), substitutes, now)
	for i := range out {
		// A line gets one article: of one that is short in part all of it is replaced.
		out[i].Remedies = slices.DeleteFunc(out[i].Remedies, func(r stock.Remedy) bool {
			return r.Kind == stock.RemedySubstitute && !slices.ContainsFunc(substitutes, func(s stock.Substitute) bool {
				return s.SKU == r.Substitute && s.Available >= out[i].Units
			})
		})
	}
	return out, nil
}
