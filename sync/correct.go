package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// loadCorrections loads the differences of stocktakes that the batch can touch, and their movements.
func (b *book) loadCorrections(tx LedgerTx, batch []decoded, skus []stock.SKU) error {
	var keys []LineKey
	for _, d := range batch {
		for _, f := range d.facts {
			switch {
			case f.Counted != nil:
				keys = append(keys, LineKey{f.Counted.Stocktake, f.Counted.Line})
			case f.Movement != nil:
				if key, ok := parseCorrectionKey(f.Movement.CorrectionKey); ok {
					keys = append(keys, key)
				}
			}
		}
	}
	lines, err := tx.Corrections(skus, keys)
	if err != nil || len(lines) == 0 {
		return err
	}
	names := make(map[stock.ConnectionID][]string)
	for _, l := range lines {
		key := sourceKey{l.Connection, l.LevelKey}
		b.corrections[key] = append(b.corrections[key], l)
		names[l.Connection] = append(names[l.Connection], l.key())
	}
	for _, id := range sortedConnections(names) {
		held, err := tx.Movements(id, names[id])
		if err != nil {
			return err
		}
		for _, m := range held {
			b.noteMovement(&m)
		}
	}
	return nil
}

func sortedConnections[V any](m map[stock.ConnectionID]V) []stock.ConnectionID {
	ids := make([]stock.ConnectionID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func parseCorrectionKey(text string) (key LineKey, ok bool) {
	n, err := fmt.Sscanf(text, correctionPrefix+"%d:%d", &key.Stocktake, &key.N)
	return key, n == 2 && err == nil && correctionKey(key.Stocktake, key.N) == text
}

// correction is a line whose difference was approved, and the movement that it is; nil before the event that makes it one.
func (b *book) correction(key sourceKey, name string) (*StocktakeLine, *HeldMovement) {
	for _, l := range b.corrections[key] {
		if l.key() == name {
			return l, b.movements[movementID{key, name}]
		}
	}
	return nil, nil
}

// applyCounted makes an approved difference count: less lowers what is tracked, more waits for the system of record.
func (b *book) applyCounted(r *recordState, f connectors.Fact) {
	at := LevelKey{stock.SKU(f.Counted.SKU), stock.LocationID(f.Counted.Location)}
	key := sourceKey{r.id, at}
	l, m := b.correction(key, correctionKey(f.Counted.Stocktake, f.Counted.Line))
	if l == nil || m != nil {
		return
	}
	if l.Difference == 0 { // a fact from before the count came meanwhile and explains it
		b.contained(l)
		return
	}
	b.move(r.id, l.key(), at, l.held(), stock.Position{})
	b.post(stock.CauseStocktake, l.reference())
}

// reference tells people what a posting stands for.
func (l *StocktakeLine) reference() string {
	return fmt.Sprintf("stocktake %d line %d: %s", l.Stocktake, l.N, l.Reason)
}

// applyBooked notes where in the order of its facts the system of record has booked a difference: a statement from then on
// contains it.
func (b *book) applyBooked(r *recordState, f connectors.Fact) {
	at := LevelKey{stock.SKU(f.Counted.SKU), stock.LocationID(f.Counted.Location)}
	l, m := b.correction(sourceKey{r.id, at}, correctionKey(f.Counted.Stocktake, f.Counted.Line))
	if m == nil || m.Covered || m.Position != (stock.Position{}) {
		return
	}
	b.placeCorrection(l, m, f.Position)
	b.post(stock.CauseStocktake, l.reference())
	b.awaitBooking(r, m)
}

// awaitBooking has the levels read until a statement contains what is booked, where no list of movements tells of it.
func (b *book) awaitBooking(r *recordState, m *HeldMovement) {
	if !m.Covered && m.Position != (stock.Position{}) && strings.HasPrefix(m.Key, correctionPrefix) && !r.can().Positions {
		b.hint(r.id).any, b.hint(r.id).levels = true, true
	}
}

// placeCorrection gives the movement of a difference its place.
func (b *book) placeCorrection(l *StocktakeLine, m *HeldMovement, position stock.Position) {
	id := movementID{sourceKey{m.Connection, m.LevelKey}, m.Key}
	m.Position = position
	b.touchedMovements[id] = true
	if s := b.statements[id.sourceKey]; s != nil && s.Position.Covers(position, l.Difference) {
		b.cover(id, m)
		b.contained(l)
	}
}

func (b *book) contained(l *StocktakeLine) {
	if l.State == LineApproved {
		l.State = LineBooked
		b.touchedLines[LineKey{l.Stocktake, l.N}] = l
	}
}

// settleCorrection takes a movement of the system of record for the booking of a difference that a stocktake found: by the
// key that it was sent with or, where it was not sent, by the same difference booked as a count or an adjustment. The
// difference then stands in the movement's place, and the movement itself changes nothing: else it would count twice.
func (b *book) settleCorrection(key sourceKey, name string, f connectors.Fact) bool {
	if b.movements[movementID{key, name}] != nil {
		return false // known already
	}
	l, m := b.bookedBy(key, f)
	if l == nil {
		return false
	}
	b.move(key.Connection, name, key.LevelKey, 0, f.Position)
	if !m.Covered {
		id := movementID{key, m.Key}
		b.at(key.LevelKey).tracked += f.Movement.Delta - m.Delta
		m.Delta = f.Movement.Delta
		b.touchedMovements[id] = true
		b.placeCorrection(l, m, f.Position)
		b.contained(l)
	}
	b.post(stock.CauseMovement, f.Movement.Reason)
	return true
}

func (b *book) bookedBy(key sourceKey, f connectors.Fact) (*StocktakeLine, *HeldMovement) {
	if f.Movement.CorrectionKey != "" {
		if l, m := b.correction(key, f.Movement.CorrectionKey); m != nil {
			return l, m
		}
		return nil, nil
	}
	if f.Movement.Reason != "count" && f.Movement.Reason != "adjustment" {
		return nil, nil
	}
	for _, l := range b.corrections[key] {
		m := b.movements[movementID{key, l.key()}]
		switch {
		case m == nil || m.Covered || l.State != LineApproved || l.Difference != f.Movement.Delta:
		case l.Send == SendDue || l.Send == SendBegun || l.Send == SendDone: // its own booking tells its key, or a statement has it
		case f.Position.SourceAt.IsZero() || f.Position.SourceAt.After(l.last().AsOf):
			return l, m
		}
	}
	return nil, nil
}

// countedBefore corrects the differences of counts that a movement which comes late was already part of.
func (b *book) countedBefore(key sourceKey, delta stock.Quantity, position stock.Position) {
	for _, l := range b.corrections[key] {
		m := b.movements[movementID{key, l.key()}]
		sent := l.Send != "" && l.Send != SendDue
		if l.State != LineApproved || sent || position.SourceAt.IsZero() || position.SourceAt.After(l.last().AsOf) || m != nil && m.Covered {
			continue
		}
		l.Expected += delta
		l.Difference -= delta
		b.touchedLines[LineKey{l.Stocktake, l.N}] = l
		if m != nil {
			b.adjustMovement(key.Connection, l.key(), key.LevelKey, l.held(), m.Position)
		}
		if l.Difference == 0 {
			if m != nil {
				b.cover(movementID{key, m.Key}, m)
			}
			b.contained(l) // there is nothing to book
		}
	}
}

// --- telling the system of record -----------------------------------------------------------------------------------

// correctionPass sends differences to a system of record that somebody asked to be sent. It returns how many it handled.
func (e *Engine) correctionPass(ctx context.Context, r *recordState) (int, error) {
	now := time.Now().UTC()
	if e.pausedReason(r.id) != "" || r.resting(now) > 0 {
		return 0, nil
	}
	lines, err := e.store.DueCorrections(ctx, r.id, now, forwardBatch)
	if err != nil || len(lines) == 0 {
		return 0, err
	}
	for i, l := range lines {
		callErr, err := e.sendCorrection(ctx, r, LineKey{l.Stocktake, l.N})
		if ctx.Err() != nil {
			return i, ctx.Err()
		}
		if err != nil {
			return i, fmt.Errorf("note what %s knows of line %d of stocktake %d: %w", r.id, l.N, l.Stocktake, err)
		}
		if callErr != nil {
			if err := e.callFailed(ctx, &r.connectionState, callErr); err != nil {
				return i, err
			}
			if r.resting(time.Now().UTC()) > 0 {
				return i + 1, nil
			}
		}
	}
	return len(lines), nil
}

// changeLine changes one line of a stocktake, where change says so.
func (e *Engine) changeLine(ctx context.Context, key LineKey, change func(l *StocktakeLine) (bool, []NewEvent, error)) (line StocktakeLine, err error) {
	err = e.store.ChangeStocktake(ctx, key.Stocktake, func(_ StocktakeTx, s *Stocktake) (StocktakeChange, error) {
		for _, l := range s.Lines {
			if l.N != key.N {
				continue
			}
			changed, events, err := change(l)
			line = *l
			if err != nil || !changed {
				return StocktakeChange{}, err
			}
			return StocktakeChange{Lines: []*StocktakeLine{l}, Events: events}, nil
		}
		return StocktakeChange{}, ErrNotFound
	})
	return line, err
}

// sendCorrection sends one difference. callErr is how the call failed, where it is to be tried again.
func (e *Engine) sendCorrection(ctx context.Context, r *recordState, key LineKey) (callErr, err error) {
	corrector, ok := r.System.(connectors.StockCorrector)
	if !ok {
		callErr = connectors.Rejectedf("correct stock", "", "%s takes no corrections", r.id)
	}
	// Its content is fixed before the first attempt: the key promises the same content on every try.
	l, err := e.changeLine(ctx, key, func(l *StocktakeLine) (bool, []NewEvent, error) {
		if l.State != LineApproved || l.Difference == 0 {
			l.DueAt, l.Send = time.Time{}, ""
			return true, nil, nil
		}
		l.Send = SendBegun
		return true, nil, nil
	})
	if err != nil || l.DueAt.IsZero() {
		return nil, err
	}
	var position stock.Position
	if callErr == nil {
		last := l.last()
		position, callErr = corrector.CorrectStock(ctx, connectors.StockCorrection{Key: l.key(), SKU: l.SKU, Location: l.Location, Delta: l.Difference,
			Counted: last.Counted, AsOf: last.AsOf, Reason: l.Reason, Note: l.Note})
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	now := time.Now().UTC()
	refused := callErr != nil && final(callErr)
	_, err = e.changeLine(ctx, key, func(l *StocktakeLine) (bool, []NewEvent, error) {
		switch {
		case callErr == nil:
			l.Send, l.DueAt, l.Error, l.Attempts = SendDone, time.Time{}, "", 0
			ev, err := bookedEvent(l, position)
			return true, []NewEvent{ev}, err
		case refused:
			l.Send, l.DueAt, l.Error = SendRefused, time.Time{}, errorText(callErr)
		default:
			l.Attempts++
			l.Error = errorText(callErr)
			l.DueAt = now.Add(e.backoff(l.Attempts))
			if at := connectors.RetryAt(callErr); at.After(l.DueAt) {
				l.DueAt = at
			}
		}
		return true, nil, nil
	})
	switch {
	case err != nil:
		return nil, err
	case callErr == nil:
		r.callWorked()
		e.wakeApply.send()
		return nil, nil
	case refused:
		return nil, errors.Join(e.store.OpenIncident(ctx, Incident{Kind: IncidentCountRefused, Subject: l.key(), OpenedAt: now,
			Message: fmt.Sprintf("%s does not book the difference of %+d of %s at %s that stocktake %d found: %v. Enter it there by hand, then say so with truestock stocktake booked %d %d.",
				r.id, l.Difference, l.SKU, l.Location, l.Stocktake, callErr, l.Stocktake, l.N)}))
	}
	return callErr, nil
}
