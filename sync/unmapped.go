package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/stock"
)

// UnmappedView is a listing that was sold although nobody said which SKUs it takes: demand that no number shows yet.
type UnmappedView struct {
	Connection stock.ConnectionID `json:"connection"`
	Item       string             `json:"item"`
	Place      string             `json:"place,omitempty"`
	Title      string             `json:"title,omitempty"`
	Orders     int                `json:"orders" doc:"orders that wait for the mapping"`
	Packs      stock.Quantity     `json:"packs" doc:"what they have open of the listing"`
	OldestAt   time.Time          `json:"oldest_at" doc:"when the first of them came"`
	// Suggestion is nil where no article, or more than one, looks alike.
	Suggestion *SuggestionView `json:"suggestion"`
}

// Unmapped lists the unmapped listings for which orders wait, the longest waiting first. When one is mapped, its orders
// are applied in the order in which they came.
func (e *Engine) Unmapped(ctx context.Context) ([]UnmappedView, error) {
	orders, err := e.waitingOrders(ctx)
	if err != nil {
		return nil, err
	}
	waiting := make(map[ListingKey]*UnmappedView)
	for _, key := range sortedKeys(orders, compareOrderKeys) {
		o, _, err := e.store.OrderByKey(ctx, key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("load order %s of %s: %w", key.OrderID, key.Channel, err)
		}
		counted := make(map[ListingKey]bool)
		for i := range o.Lines {
			l := &o.Lines[i]
			if len(l.Components) > 0 || o.open(l) == 0 {
				continue
			}
			at := ListingKey{o.Channel, l.Ref}
			v := waiting[at]
			if v == nil {
				v = &UnmappedView{Connection: o.Channel, Item: l.Ref.Item, Place: l.Ref.Place, OldestAt: o.AcceptedAt.UTC()}
				waiting[at] = v
			}
			v.Packs += o.open(l)
			if !counted[at] {
				counted[at] = true
				v.Orders++
			}
			if o.AcceptedAt.Before(v.OldestAt) {
				v.OldestAt = o.AcceptedAt.UTC()
			}
		}
	}
	return e.describeUnmapped(ctx, waiting)
}

// waitingOrders are the orders named by events that are parked for a listing.
func (e *Engine) waitingOrders(ctx context.Context) (map[OrderKey]bool, error) {
	orders := make(map[OrderKey]bool)
	for after := int64(0); ; {
		events, err := e.store.WaitingForListings(ctx, after, maxBatch)
		if err != nil {
			return nil, fmt.Errorf("load what waits for a mapping: %w", err)
		}
		if len(events) == 0 {
			return orders, nil
		}
		after = events[len(events)-1].ID
		for _, ev := range events {
			for _, f := range e.decode(ev).facts {
				if f.Order != nil {
					orders[OrderKey{ev.Connection, f.Order.OrderID}] = true
				}
			}
		}
	}
}

// describeUnmapped adds titles and suggestions, and sorts.
func (e *Engine) describeUnmapped(ctx context.Context, waiting map[ListingKey]*UnmappedView) ([]UnmappedView, error) {
	keys := sortedKeys(waiting, compareListingKeys)
	listings, err := e.store.ListingsByKey(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("load the listings: %w", err)
	}
	asked := make(map[stock.ConnectionID]bool)
	suggested := make(map[ListingKey]SuggestionView)
	rows := make([]UnmappedView, 0, len(keys))
	for _, key := range keys {
		if !asked[key.Connection] && e.channels[key.Connection] != nil {
			asked[key.Connection] = true
			found, err := e.Suggestions(ctx, key.Connection)
			if err != nil {
				return nil, err
			}
			for _, s := range found {
				at := ListingKey{Connection: s.Connection}
				at.Item, at.Place = s.Item, s.Place
				suggested[at] = s
			}
		}
		v := *waiting[key]
		if l := listings[key]; l != nil {
			v.Title = l.Title
		}
		if s, ok := suggested[key]; ok {
			v.Suggestion = &s
		}
		rows = append(rows, v)
	}
	slices.SortStableFunc(rows, func(a, b UnmappedView) int { return cmp.Compare(a.OldestAt.UnixNano(), b.OldestAt.UnixNano()) })
	return rows, nil
}
