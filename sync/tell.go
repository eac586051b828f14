package sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// A webhook about an order that is lost for good cannot be asked for where there are no positions. What can be asked,
// where the system of record offers it, is how the order stands. So orders of which something is still to come, and of
// which nothing was heard for Timings.OrderStatus, are asked for: slowly, by rounds that go on where they stopped, in every
// reconciliation, and before silence becomes an incident. Where the system of record says what changed, the orders that it
// names are asked for at once.

const (
	// askBatch is how many orders are asked for in one pass.
	askBatch = 20
	// askLook is how many orders are looked at in one pass.
	askLook = 200
	// changesBatch is how many orders that changed are asked for in one look, so that levels are read in between.
	changesBatch = 50
)

// teller is the way to ask for orders, nil where there is none, or none is needed: with positions, movements tell all.
func (r *recordState) teller() connectors.OrderTeller {
	t, ok := r.System.(connectors.OrderTeller)
	if caps := r.can(); !ok || !caps.OrderStatus || caps.Positions || caps.ListensOnly {
		return nil
	}
	return t
}

// round is how far a round of questions has come; the bookmark of a system of record keeps it.
type round struct {
	StartedAt time.Time `json:"started_at"`
	After     OrderKey  `json:"after"`
	Done      bool      `json:"done"`
}

// askRound goes on with the round of questions to a system of record, or begins one when the last has begun long enough
// ago: a pass at a time.
func (e *Engine) askRound(ctx context.Context, r *recordState) error {
	if r.teller() == nil {
		return nil
	}
	mark, err := e.store.Bookmark(ctx, r.id, ordersAskedFeed)
	if err != nil {
		return fmt.Errorf("look up which orders %s was asked for: %w", r.id, err)
	}
	var at round
	if mark == "" || json.Unmarshal([]byte(mark), &at) != nil {
		at = round{Done: true}
	}
	now := time.Now().UTC()
	if at.Done {
		if now.Sub(at.StartedAt) < e.timings.OrderStatus {
			return nil
		}
		at = round{StartedAt: now}
	}
	var callErr error
	if at.After, at.Done, callErr = e.askSilent(ctx, r, at.After, e.timings.OrderStatus); ctx.Err() != nil {
		return ctx.Err()
	}
	text, err := json.Marshal(at)
	if err == nil {
		err = e.store.SetBookmark(ctx, r.id, ordersAskedFeed, string(text))
	}
	if err != nil {
		err = fmt.Errorf("note which orders %s was asked for: %w", r.id, err)
	}
	return errors.Join(callErr, err)
}

// askSilent asks a system of record for the first orders after the one given of which something is still to come, and of
// which nothing was heard for so long. It returns the last order that it is done with, and whether none is left.
func (e *Engine) askSilent(ctx context.Context, r *recordState, after OrderKey, silence time.Duration) (last OrderKey, done bool, err error) {
	now := time.Now().UTC()
	orders, err := e.store.UnfinishedOrders(ctx, r.id, now.Add(-silence), after, askLook)
	if err != nil {
		return after, false, fmt.Errorf("look for orders to ask %s for: %w", r.id, err)
	}
	last = after
	asked := 0
	for _, o := range orders {
		if o.silent(now, silence) {
			if asked == askBatch {
				return last, false, nil
			}
			asked++
			if _, err := e.askFor(ctx, r, o); err != nil && !final(err) {
				return last, false, err
			}
		}
		last = o.Key()
	}
	return last, len(orders) < askLook, nil
}

// askChanges asks a system of record what changed since the look before: the levels are then read with this look, and the
// orders that it names are asked for. What does not fit into one look is left to the next one; the bookmark of the feed moves
// when all were asked for.
func (e *Engine) askChanges(ctx context.Context, r *recordState, caps connectors.RecordCapabilities) error {
	t, ok := r.System.(connectors.ChangeTeller)
	if !ok || !caps.Changes || caps.Positions {
		return nil
	}
	if len(r.changed.OrderKeys) == 0 {
		mark, err := e.store.Bookmark(ctx, r.id, changesFeed)
		if err != nil {
			return fmt.Errorf("look up since when %s is asked what changed: %w", r.id, err)
		}
		if r.changed, err = t.Changes(ctx, mark); err != nil {
			return err
		}
	}
	for asked := 0; asked < changesBatch && len(r.changed.OrderKeys) > 0; asked++ {
		key := r.changed.OrderKeys[0]
		r.changed.OrderKeys = r.changed.OrderKeys[1:]
		if err := e.askChanged(ctx, r, key); err != nil {
			r.changed.OrderKeys = append(r.changed.OrderKeys, key) // the others have their turn first
			return err
		}
	}
	if len(r.changed.OrderKeys) > 0 {
		r.ask()
		return nil
	}
	if r.changed.Stock {
		r.wish(true, false)
	}
	if err := e.store.SetBookmark(ctx, r.id, changesFeed, r.changed.Mark); err != nil {
		return fmt.Errorf("note since when %s is asked what changed: %w", r.id, err)
	}
	return nil
}

// askChanged asks for an order that is said to have changed, where it is one of ours.
func (e *Engine) askChanged(ctx context.Context, r *recordState, key string) error {
	channel, id, ok := mapping.ParseOrderKey(key)
	if !ok || r.teller() == nil {
		return nil
	}
	o, _, err := e.store.OrderByKey(ctx, OrderKey{Channel: channel, OrderID: id})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load order %s: %w", key, err)
	}
	if _, err := e.askFor(ctx, r, o); err != nil && !final(err) {
		return err
	}
	return nil
}

// askFor asks a system of record how an order stands, and stores the answer where it is news. It returns the instant that
// the answer is of. A final error is about this order alone.
func (e *Engine) askFor(ctx context.Context, r *recordState, o *Order) (time.Time, error) {
	key := mapping.OrderKey(o.Channel, o.OrderID)
	standing, err := r.teller().OrderStanding(ctx, key)
	if err == nil {
		if err = standing.Validate(); err != nil {
			err = connectors.Rejectedf("ask for an order", "", "the answer about order %s makes no sense: %v", key, err)
		}
	}
	if err != nil {
		if final(err) {
			e.log.Warn("no answer about an order", "connection", r.id, "order", key, "error", err)
		}
		return time.Time{}, err
	}
	r.callWorked()
	at := stock.Position{SourceAt: standing.AsOf, SeenAt: time.Now().UTC()}
	asOf := at.SourceAt
	if asOf.IsZero() {
		asOf = at.SeenAt
	}
	if !o.learnsFrom(OrderAnswer{Position: at, Lines: standing.Lines}, r.basisAt) {
		return asOf, nil
	}
	e.log.Info("an order stands otherwise than messages told", "connection", r.id, "order", key)
	standing.OrderKey = key
	facts := []connectors.Fact{{Kind: connectors.OrderStands, Position: at, Standing: &standing}}
	_, err = e.ingestFacts(ctx, r.id, [][]connectors.Fact{facts}, func(int) string { return "order:" + key })
	return asOf, err
}
