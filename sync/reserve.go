package sync

import (
	"context"
	"fmt"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// A channel that shows fewer than it did, by more than the orders that we know, has sold what nobody told us yet. Its
// orders are asked for; while they cannot be had, those units are reserved: no channel offers them any more, whatever
// happens to this process. The reservation shrinks with each order that becomes known, and ends when the channel has told
// its orders up to the reading. Somebody who lowered the number by hand reserves units for as long.

// shortfall is how many packs a reading lacks against the last number that is certain, after all orders that are known.
func shortfall(l Listing, r *Reservation, shown connectors.Reading) (packs, taken stock.Quantity) {
	if l.Confirmed == nil || *l.Confirmed == Endless || shown.Unlimited {
		return 0, 0
	}
	before := *l.Confirmed
	if l.Published != nil && l.PublishedAt.After(l.ConfirmedAt) {
		before = min(before, *l.Published) // it shows one or the other, as far as we know
	}
	taken = before + l.ConfirmedTaken - shown.Quantity
	return taken - takenOf(l, r), taken
}

// takenOf is how many packs the channel has taken, as far as orders tell or units are reserved.
func takenOf(l Listing, r *Reservation) stock.Quantity {
	if r != nil && r.open() {
		return max(l.Taken, r.Taken)
	}
	return l.Taken
}

// openReservations lists what is reserved for orders that a channel has not told yet.
func (e *Engine) openReservations(ctx context.Context, c *channelState) (map[ListingKey]*Reservation, error) {
	if !c.reserving.Load() {
		return nil, nil
	}
	rows, err := e.store.OpenReservations(ctx, c.id)
	if err != nil {
		return nil, fmt.Errorf("list the reservations of %s: %w", c.id, err)
	}
	open := make(map[ListingKey]*Reservation, len(rows))
	for _, r := range rows {
		open[r.ListingKey] = r
	}
	return open, nil
}

// reserve stores that listings lack what no known order explains, and makes it count.
func (e *Engine) reserve(ctx context.Context, c *channelState, short []connectors.Shortfall) error {
	if len(short) == 0 {
		return nil
	}
	err := e.storeShortfalls(ctx, c.id, connectors.ListingShort, short)
	c.reserving.Store(true) // after storing: whoever finds nothing to release must not overlook these
	c.ask()                 // until its orders are told
	if err != nil {
		return err
	}
	return e.applyAndPlan(ctx)
}

// releaseReservations ends the reservations for readings up to which every order is known. The caller has the turn.
func (e *Engine) releaseReservations(ctx context.Context, c *channelState, watermark time.Time) error {
	if !c.reserving.Swap(false) {
		return nil
	}
	rows, err := e.store.OpenReservations(ctx, c.id)
	if err != nil {
		c.reserving.Store(true)
		return fmt.Errorf("list the reservations of %s: %w", c.id, err)
	}
	var over []connectors.Shortfall
	for _, r := range rows {
		if !watermark.Before(r.At.Truncate(time.Millisecond)) {
			over = append(over, connectors.Shortfall{Ref: r.Ref, At: watermark})
		}
	}
	if len(over) < len(rows) {
		c.reserving.Store(true)
	}
	if len(over) == 0 {
		return nil
	}
	if err := e.storeShortfalls(ctx, c.id, connectors.ListingDrained, over); err != nil {
		c.reserving.Store(true)
		return err
	}
	return e.applyAndPlan(ctx)
}

func (e *Engine) storeShortfalls(ctx context.Context, id stock.ConnectionID, kind connectors.Kind, all []connectors.Shortfall) error {
	batches := make([][]connectors.Fact, len(all))
	for i := range all {
		batches[i] = []connectors.Fact{{Kind: kind, Shortfall: &all[i]}}
	}
	_, err := e.ingestFacts(ctx, id, batches, func(i int) string { return string(kind) + ":" + all[i].Ref.String() })
	return err
}

// take counts the packs that the channel has taken from what a listing shows for a line: those ordered and not put back.
// Of an order that is known in part only, nothing is counted yet.
func (b *book) take(o *Order, l *OrderLine) {
	packs := o.wanted(l) - l.Restocked
	if packs == l.Taken {
		return
	}
	key := ListingKey{o.Channel, l.Ref}
	b.taken[key] += packs - l.Taken
	l.Taken = packs
	b.reserve(b.reservations[key])
}

// takenOf is what Listing.Taken is by now.
func (b *book) takenOf(key ListingKey) stock.Quantity {
	taken := b.taken[key]
	if l := b.listings[key]; l != nil {
		taken += l.Taken
	}
	return taken
}

// applyShortfall sets units aside for sales that only a reading tells of, and gives them back once every order up to the
// reading is known.
func (b *book) applyShortfall(c *channelState, f connectors.Fact) {
	s := f.Shortfall
	key := ListingKey{c.id, s.Ref}
	r := b.reservations[key]
	if r == nil {
		r = &Reservation{ListingKey: key}
		b.reservations[key] = r
	}
	switch {
	case f.Kind == connectors.ListingDrained && s.At.After(r.DrainedTo):
		r.DrainedTo = s.At
	case f.Kind == connectors.ListingShort && s.At.After(r.At):
		r.At, r.Taken = s.At, s.Taken
	default:
		return
	}
	if len(r.Parts) == 0 {
		for _, component := range b.components[key] {
			packs := max(0, r.Taken-b.takenOf(key))
			part := ReservedPart{SKU: component.SKU, Units: component.Units, Location: b.locationFor(c.id, s.Ref.Place, component, packs)}
			if p := b.poolFor(key, component.SKU, s.At); p != nil {
				part.Pool = p.name
				if location, holds := p.poolLocation(packs * component.Units); holds {
					part.Location = location
				}
			}
			r.Parts = append(r.Parts, part)
		}
	}
	b.touchedReservations[key] = true
	if b.listings[key] != nil {
		b.look[key] = true
	}
	b.reserve(r)
	b.post(stock.CauseReserve, listingText(key))
}

// reserve brings the units of a reservation to what is not explained by now.
func (b *book) reserve(r *Reservation) {
	if r == nil {
		return
	}
	var packs stock.Quantity
	if r.open() {
		packs = max(0, r.Taken-b.takenOf(r.ListingKey))
	}
	for i := range r.Parts {
		part := &r.Parts[i]
		want := packs * part.Units
		if want == part.Reserved {
			continue
		}
		b.at(LevelKey{part.SKU, part.Location}).reserved += want - part.Reserved
		if p := b.poolsByName[part.Pool]; p != nil && p.state != nil {
			p.state.Sold += want - part.Reserved
			b.touchPool(p)
		}
		part.Reserved = want
		b.dirty[part.SKU] = true
		b.touchedReservations[r.ListingKey] = true
	}
}
