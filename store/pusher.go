package store

import (
	"context"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	saveOutcomes = bulk(3, join(listingColumns, texts("status", "held"), numbers("published", "published_generation", "published_at",
		"confirmed", "confirmed_generation", "confirmed_at"), texts("last_error"), numbers("attempts", "recheck_at", "peak", "writes", "published_taken", "confirmed_taken", "foreign_count",
		"foreign_at", "contested_at"), texts("unknown_id"), numbers("unknown_delta", "unknown_quantity", "unknown_taken"), flags("stopped")),
		`UPDATE listings SET status = v.status, held = CASE WHEN listings.held_by = 0 THEN v.held ELSE listings.held END, published = v.published,
		published_generation = v.published_generation, published_at = v.published_at, confirmed = v.confirmed,
		confirmed_generation = v.confirmed_generation, confirmed_at = v.confirmed_at, last_error = v.last_error,
		attempts = v.attempts, recheck_at = v.recheck_at, peak = v.peak, writes = v.writes, published_taken = v.published_taken,
		confirmed_taken = v.confirmed_taken, foreign_count = v.foreign_count, foreign_at = v.foreign_at,
		contested_at = v.contested_at, unknown_id = v.unknown_id, unknown_delta = v.unknown_delta,
		unknown_quantity = v.unknown_quantity, unknown_taken = v.unknown_taken, stopped = v.stopped {FROM} WHERE `+listingsTable.matches(listingColumns))

	pushColumns = join(listingColumns, numbers("generation", "quantity", "expect", "delta"), texts("outcome", "error", "jump"), numbers("at", "shown_at"))
	addPushes   = bulk(0, pushColumns, "INSERT INTO pushes ("+list("", pushColumns)+") {VALUES "+list("v.", pushColumns)+"}")

	intendWrites = bulk(3, join(listingColumns, texts("id"), numbers("delta", "quantity", "taken", "recheck_at")),
		`UPDATE listings SET writes = listings.writes + 1, unknown_id = v.id, unknown_delta = v.delta, unknown_quantity = v.quantity,
		unknown_taken = v.taken, recheck_at = v.recheck_at {FROM} WHERE `+listingsTable.matches(listingColumns))

	// hastenPushes makes listings that are still due, due at once.
	hastenPushes = bulk(3, join(listingColumns, numbers("at")),
		`UPDATE push_due SET due_at = v.at {FROM} WHERE `+pushDueTable.matches(listingColumns)+` AND push_due.due_at > v.at`)

	// finishPushes and delayPushes leave alone what was asked for after the outcome's instant, and what a person holds.
	finishPushes = bulk(3, join(listingColumns, numbers("at")),
		`DELETE FROM push_due {USING} WHERE `+pushDueTable.matches(listingColumns)+` AND push_due.marked_at <= v.at`)
	delayPushes = bulk(3, join(listingColumns, numbers("due_at", "at")),
		`INSERT INTO push_due (connection, item, place, lower, due_at, marked_at)
		SELECT listings.connection, listings.item, listings.place, FALSE, v.due_at, v.at FROM listings{,} WHERE `+listingsTable.matches(listingColumns)+` AND listings.held_by = 0
		ON CONFLICT (connection, item, place) DO UPDATE SET due_at = excluded.due_at WHERE push_due.marked_at <= excluded.marked_at`)

	countShowing = bulk(1, join(texts("connection"), numbers("listings")),
		`INSERT INTO showing (connection, listings) {VALUES v.connection, v.listings}
		ON CONFLICT (connection) DO UPDATE SET listings = showing.listings + excluded.listings`)
)

// DuePushes lists what is due, lowers first.
func (s *Store) DuePushes(ctx context.Context, connection stock.ConnectionID, now time.Time, limit int) ([]stocksync.Listing, error) {
	var due []stocksync.Listing
	for _, lower := range []bool{true, false} {
		err := s.rows(ctx, func(r row) error {
			l := r.listing()
			l.MarkedAt = r.time(listingWidth)
			due = append(due, *l)
			return nil
		}, selectDue, string(connection), lower, nanos(now), limit-len(due))
		if err != nil {
			return nil, during("list due listings", err)
		}
		if len(due) >= limit {
			break
		}
	}
	return due, nil
}

// listings runs a query for whole listings; tail is what follows FROM.
func (s *Store) listings(ctx context.Context, tail string, args ...any) ([]stocksync.Listing, error) {
	var found []stocksync.Listing
	err := s.rows(ctx, func(r row) error {
		found = append(found, *r.listing())
		return nil
	}, selectListings+tail, args...)
	return found, err
}

// NextPush is the earliest instant at which a listing is due.
func (s *Store) NextPush(ctx context.Context, connection stock.ConnectionID) (time.Time, bool, error) {
	var next *int64
	for _, lower := range []bool{true, false} {
		var earliest *int64
		err := s.read.WithContext(ctx).Raw("SELECT min(due_at) FROM push_due WHERE connection = ? AND lower = ?", string(connection), lower).Scan(&earliest).Error
		if err != nil {
			return time.Time{}, false, during("look for the next push", err)
		}
		if earliest != nil && (next == nil || *earliest < *next) {
			next = earliest
		}
	}
	if next == nil {
		return time.Time{}, false, nil
	}
	return instant(*next), true, nil
}

// ListingsByKey loads listings.
func (s *Store) ListingsByKey(ctx context.Context, keys []stocksync.ListingKey) (found map[stocksync.ListingKey]*stocksync.Listing, err error) {
	err = s.look(ctx, "load listings", func(t *txn) error {
		found, err = t.Listings(keys)
		return err
	})
	return found, err
}

// MarkDue makes listings due.
func (s *Store) MarkDue(ctx context.Context, keys []stocksync.ListingKey, at time.Time) error {
	return s.change(ctx, "make listings due", func(t *txn) error { return t.markDue(keys, at) })
}

// Intend stores writes that are about to be sent.
func (s *Store) Intend(ctx context.Context, writes map[stocksync.ListingKey]stocksync.OpenWrite, recheckAt time.Time) error {
	return s.change(ctx, "note writes before they are sent", func(t *txn) error {
		keys := order(writes, compareListings)
		if err := t.lock(keys); err != nil {
			return err
		}
		rows := make([][]any, len(keys))
		for i, k := range keys {
			w := writes[k]
			rows[i] = listingRow(k, w.ID, int64(w.Delta), int64(w.Quantity), int64(w.Taken), nanos(recheckAt))
		}
		_, err := t.exec(intendWrites, rows)
		return err
	})
}

// OpenReservations lists the reservations that orders may still explain.
func (s *Store) OpenReservations(ctx context.Context, connection stock.ConnectionID) ([]*stocksync.Reservation, error) {
	var found []*stocksync.Reservation
	err := s.rows(ctx, func(r row) error {
		held, err := r.reservation()
		found = append(found, held)
		return err
	}, "SELECT "+list("", join(reservationsTable.key, reservationsTable.rest))+" FROM reservations WHERE connection = ? AND at / 1000000 * 1000000 > drained_to ORDER BY item, place", string(connection))
	return found, during("list reservations", err)
}

// Settle stores what became of a batch of pushes. Outcomes of listings that are gone are dropped.
//
// A listing that was marked after an outcome's At, because somebody heard of a change while the batch was under way,
// stays due. So At should be the instant at which the batch began.
func (s *Store) Settle(ctx context.Context, outcomes []stocksync.PushOutcome, incidents []stocksync.Incident) error {
	return s.change(ctx, "settle pushes", func(t *txn) error {
		keys := make([]stocksync.ListingKey, len(outcomes))
		for i, o := range outcomes {
			keys[i] = o.ListingKey
		}
		if err := t.lock(keys); err != nil {
			return err
		}
		listings, err := t.Listings(keys)
		if err != nil {
			return err
		}
		var st settlement
		for _, o := range outcomes {
			if l := listings[o.ListingKey]; l != nil {
				st.add(l, o)
			}
		}
		if err := st.save(t); err != nil {
			return err
		}
		if err := t.saveVersions(st.shown); err != nil {
			return err
		}
		return t.openIncidents(incidents)
	})
}

// settlement gathers the rows that outcomes change.
type settlement struct {
	listings, pushes, finished, delayed, hastened [][]any
	showing                                       map[string]int64
	shown                                         []stocksync.Version
}

func (st *settlement) add(l *stocksync.Listing, o stocksync.PushOutcome) {
	before := showsMore(l)
	newer := l.Generation > o.Generation
	confirmed := !newer && o.Confirmed != nil && (l.Confirmed == nil || *l.Confirmed != *o.Confirmed || l.ConfirmedGeneration != o.Generation)
	readBack := confirmed && o.Write != nil && o.Write.Quantity == *o.Confirmed && o.Write.Generation == o.Generation
	if confirmed && !readBack {
		st.shown = append(st.shown, stocksync.ShownVersion(l.ListingKey, *o.Confirmed, o.Generation, o.At))
	}
	settleListing(l, o, newer)
	if st.showing == nil {
		st.showing = make(map[string]int64)
	}
	switch after := showsMore(l); {
	case after && !before:
		st.showing[string(l.Connection)]++
	case before && !after:
		st.showing[string(l.Connection)]--
	}
	id, delta, quantity, taken := "", any(nil), any(nil), any(nil)
	if l.Unknown != nil {
		id, delta, quantity, taken = l.Unknown.ID, int64(l.Unknown.Delta), int64(l.Unknown.Quantity), int64(l.Unknown.Taken)
	}
	st.listings = append(st.listings, listingRow(l.ListingKey, string(l.Status), l.Held, optional(l.Published), l.PublishedGeneration,
		nanos(l.PublishedAt), optional(l.Confirmed), l.ConfirmedGeneration, nanos(l.ConfirmedAt), l.LastError, int64(l.Attempts), nanos(l.RecheckAt), int64(l.Peak),
		l.Writes, int64(l.PublishedTaken), int64(l.ConfirmedTaken), int64(l.Foreign), nanos(l.ForeignAt), nanos(l.ContestedAt), id, delta, quantity, taken, l.Stopped))
	if w := o.Write; w != nil {
		var shownAt time.Time
		if readBack {
			shownAt = o.At
		}
		st.pushes = append(st.pushes, listingRow(w.ListingKey, w.Generation, int64(w.Quantity), optional(w.Expect), optional(w.Delta), w.Outcome, w.Error, string(w.Jump), nanos(w.At), nanos(shownAt)))
	}
	switch {
	case newer:
		st.hastened = append(st.hastened, listingRow(l.ListingKey, nanos(o.At)))
	case o.DueAt.IsZero():
		st.finished = append(st.finished, listingRow(l.ListingKey, nanos(o.At)))
	default:
		st.delayed = append(st.delayed, listingRow(l.ListingKey, nanos(o.DueAt), nanos(o.At)))
	}
}

// settleListing applies an outcome to a listing. When the target has moved on meanwhile, what was read confirms nothing,
// and the reason why the newer target waits stays.
func settleListing(l *stocksync.Listing, o stocksync.PushOutcome, newer bool) {
	if o.Published != nil {
		l.Published, l.PublishedGeneration, l.PublishedAt, l.PublishedTaken = o.Published, o.Generation, o.At, o.Taken
		if o.Write != nil && o.Confirmed == nil {
			l.PublishedAt = o.Write.At
			if !l.PublishedAt.After(l.ConfirmedAt) {
				l.PublishedAt = l.ConfirmedAt.Add(1) // whatever was read before it, it came after that
			}
		}
	}
	if !newer {
		l.Held = o.Held
		if o.Confirmed != nil {
			l.Confirmed, l.ConfirmedGeneration, l.ConfirmedAt, l.ConfirmedTaken = o.Confirmed, o.Generation, o.At, o.Taken
		}
	}
	if q := shown(l); q != nil && *q != stocksync.Endless {
		l.Peak = max(l.Peak, *q)
	}
	if o.Status != "" {
		l.Status = o.Status
	}
	if o.Write != nil && !o.Noted {
		l.Writes++
	}
	if o.Stopped != nil {
		l.Stopped = *o.Stopped
	}
	if o.Contest != nil {
		l.Foreign, l.ForeignAt, l.ContestedAt = o.Contest.Foreign, o.Contest.ForeignAt, o.Contest.ContestedAt
	}
	l.LastError, l.Attempts, l.RecheckAt, l.Unknown = o.LastError, o.Attempts, o.RecheckAt, o.Unknown
}

func (st *settlement) save(t *txn) error {
	showing := make([][]any, 0, len(st.showing))
	for connection, change := range st.showing {
		if change != 0 {
			showing = append(showing, []any{connection, change})
		}
	}
	for _, part := range []struct {
		s    *statement
		rows [][]any
	}{
		{saveOutcomes, st.listings}, {countShowing, showing}, {hastenPushes, st.hastened}, {finishPushes, st.finished},
		{delayPushes, st.delayed}, {addPushes, st.pushes},
	} {
		if _, err := t.exec(part.s, part.rows); err != nil {
			return err
		}
	}
	return nil
}
