package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// EventByID loads an event with where it stands; of a parked one also what it waits for.
func (s *Store) EventByID(ctx context.Context, id int64) (event stocksync.Event, state stocksync.EventState, parked *stocksync.Parked, err error) {
	err = s.look(ctx, fmt.Sprintf("load event %d", id), func(t *txn) error {
		found := false
		err := t.rows(func(r row) error {
			found, event, state = true, r.event(0), stocksync.EventApplied
			if r.flag(7) {
				state = stocksync.EventPending
			}
			return nil
		}, `SELECT id, connection, key, type, format, body, received_at,
			EXISTS (SELECT 1 FROM due WHERE due.event = inbox.id) FROM inbox WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if !found {
			return stocksync.ErrNotFound
		}
		if parked, err = t.parked(id); parked != nil && state != stocksync.EventPending {
			state = stocksync.EventParked
		}
		return err
	})
	return event, state, parked, err
}

// WaitingForListings pages through the events that wait for a listing.
func (s *Store) WaitingForListings(ctx context.Context, after int64, limit int) (events []stocksync.Event, err error) {
	err = s.rows(ctx, func(r row) error {
		events = append(events, r.event(0))
		return nil
	}, `SELECT id, connection, key, type, format, body, received_at FROM inbox WHERE id > ?
		AND id IN (SELECT event FROM parked_waits WHERE connection <> '') ORDER BY id LIMIT ?`, after, limit)
	return events, during("list what waits for a listing", err)
}

// parked loads why an event waits, nil when it does not.
func (t *txn) parked(id int64) (parked *stocksync.Parked, err error) {
	err = t.rows(func(r row) error {
		parked = &stocksync.Parked{Event: id, Reason: r.text(0), At: r.time(1)}
		return nil
	}, "SELECT reason, at FROM parked WHERE event = ?", id)
	if err != nil || parked == nil {
		return nil, err
	}
	err = t.rows(func(r row) error {
		if sku := r.text(3); sku != "" {
			parked.SKUs = append(parked.SKUs, stock.SKU(sku))
		} else {
			parked.Refs = append(parked.Refs, r.listingKey(0))
		}
		return nil
	}, "SELECT connection, item, place, sku FROM parked_waits WHERE event = ? ORDER BY connection, item, place, sku", id)
	return parked, err
}

// eventSources are the tables from which the events of a state come, and the condition on them.
var eventSources = map[stocksync.EventState]string{
	"": `inbox LEFT JOIN due ON due.event = inbox.id LEFT JOIN parked ON parked.event = inbox.id WHERE inbox.id > ? ORDER BY inbox.id`,
	stocksync.EventPending: `due JOIN inbox ON inbox.id = due.event LEFT JOIN parked ON parked.event = due.event
		WHERE due.event > ? ORDER BY due.event`,
	stocksync.EventParked: `parked JOIN inbox ON inbox.id = parked.event LEFT JOIN due ON due.event = parked.event
		WHERE parked.event > ? AND due.event IS NULL ORDER BY parked.event`,
	stocksync.EventApplied: `inbox LEFT JOIN due ON due.event = inbox.id LEFT JOIN parked ON parked.event = inbox.id
		WHERE inbox.id > ? AND due.event IS NULL AND parked.event IS NULL ORDER BY inbox.id`,
}

// Events pages through the inbox by id.
func (s *Store) Events(ctx context.Context, q stocksync.EventQuery) ([]stocksync.EventRow, error) {
	source, ok := eventSources[q.State]
	if !ok {
		return nil, fmt.Errorf("list events: there is no state %q", q.State)
	}
	var events []stocksync.EventRow
	err := s.rows(ctx, func(r row) error {
		e := stocksync.EventRow{
			ID: r.number(0), Connection: stock.ConnectionID(r.text(1)), Key: r.text(2), Type: r.text(3), ReceivedAt: r.time(4),
			State: stocksync.EventApplied,
		}
		switch {
		case r.flag(5):
			e.State = stocksync.EventPending
		case r[6] != nil:
			e.State, e.Reason = stocksync.EventParked, r.text(6)
		}
		events = append(events, e)
		return nil
	}, `SELECT inbox.id, inbox.connection, inbox.key, inbox.type, inbox.received_at,
		due.event IS NOT NULL, parked.reason FROM `+source+" LIMIT ?", q.After, q.Limit)
	return events, during("list events", err)
}

// item is a row of the table items.
type item struct {
	SKU      string `gorm:"primaryKey"`
	GTIN     string
	Name     string
	Kind     string
	Category string
}

func (item) TableName() string { return "items" }

// Item loads everything about a SKU. One that no system of record lists is found as long as there is any number of it.
func (s *Store) Item(ctx context.Context, sku stock.SKU) (report stocksync.ItemReport, err error) {
	err = s.look(ctx, "load article "+string(sku), func(t *txn) error {
		aliases, err := t.Aliases([]stock.SKU{sku})
		if err != nil {
			return err
		}
		sku = cmp.Or(aliases[sku], sku)
		var rows []item
		if err := t.g.Where("sku = ?", string(sku)).Find(&rows).Error; err != nil {
			return err
		}
		report.Item = connectors.Item{SKU: string(sku)}
		for _, r := range rows {
			report.Item = connectors.Item(r)
		}
		levels, err := t.Levels([]stock.SKU{sku})
		if err != nil {
			return err
		}
		for _, k := range order(levels, compareLevels) {
			report.Levels = append(report.Levels, levels[k].Level)
		}
		if report.Statements, err = t.Statements([]stock.SKU{sku}); err != nil {
			return err
		}
		known, err := t.KnownSKUs([]stock.SKU{sku})
		if err == nil && !known[sku] && len(levels) == 0 && len(report.Statements) == 0 {
			err = stocksync.ErrNotFound
		}
		return err
	})
	return report, err
}

func compareLevels(a, b stocksync.LevelKey) int {
	return cmp.Or(cmp.Compare(a.SKU, b.SKU), cmp.Compare(a.Location, b.Location))
}

// ListItems pages through the articles whose SKU, GTIN or name contains search, without regard to case.
func (s *Store) ListItems(ctx context.Context, search string, after stock.SKU, limit int) ([]connectors.Item, error) {
	q := s.read.WithContext(ctx).Where("sku > ?", cleanText(string(after))).Order("sku").Limit(limit)
	if search != "" {
		q = q.Where(`search LIKE ? ESCAPE '\'`, "%"+escapeLike.Replace(strings.ToLower(cleanText(search)))+"%")
	}
	var rows []item
	if err := q.Find(&rows).Error; err != nil {
		return nil, during("list articles", err)
	}
	items := make([]connectors.Item, len(rows))
	for i, r := range rows {
		items[i] = connectors.Item(r)
	}
	return items, nil
}

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// ListListings pages through listings by key.
func (s *Store) ListListings(ctx context.Context, q stocksync.ListingQuery) ([]stocksync.Listing, error) {
	tail := "listings WHERE (connection, item, place) > (?, ?, ?)"
	args := []any{string(q.After.Connection), q.After.Item, q.After.Place}
	if q.Connection != "" {
		tail += " AND connection = ?"
		args = append(args, string(q.Connection))
	}
	if q.Search != "" {
		like := map[dialect]string{sqlite: "LIKE", postgres: "ILIKE"}[s.dialect] // each without regard to case
		tail += ` AND (item ` + like + ` ? ESCAPE '\' OR sku ` + like + ` ? ESCAPE '\' OR gtin ` + like + ` ? ESCAPE '\' OR title ` + like + ` ? ESCAPE '\')`
		part := "%" + escapeLike.Replace(cleanText(q.Search)) + "%"
		args = append(args, part, part, part, part)
	}
	found, err := s.listings(ctx, tail+" ORDER BY connection, item, place LIMIT ?", append(args, q.Limit)...)
	return found, during("list listings", err)
}

// OrderByKey loads an order, with its forward where it has one.
func (s *Store) OrderByKey(ctx context.Context, key stocksync.OrderKey) (order *stocksync.Order, sent *stocksync.Forward, err error) {
	err = s.look(ctx, "load order "+key.OrderID, func(t *txn) error {
		orders, err := t.Orders([]stocksync.OrderKey{key})
		if err != nil {
			return err
		}
		if order = orders[key]; order == nil {
			return stocksync.ErrNotFound
		}
		var rows []forward
		if err := t.g.Where("channel = ? AND order_id = ?", string(key.Channel), key.OrderID).Find(&rows).Error; err != nil || len(rows) == 0 {
			return err
		}
		f, err := rows[0].forward()
		sent = &f
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return order, sent, nil
}

// Entries lists postings, the newest first.
func (s *Store) Entries(ctx context.Context, sku stock.SKU, at time.Time, limit int) ([]stocksync.LedgerEntry, error) {
	var entries []stocksync.LedgerEntry
	err := s.rows(ctx, func(r row) error {
		entries = append(entries, r.entry())
		return nil
	}, selectPostings+"WHERE sku = ? AND at <= ? ORDER BY id DESC LIMIT ?", string(sku), nanos(at), limit)
	return entries, during("list postings", err)
}

// LevelsAt sums postings into levels, by location.
func (s *Store) LevelsAt(ctx context.Context, sku stock.SKU, at time.Time) ([]stock.Level, error) {
	levels := make(map[stock.LocationID]*stock.Level)
	err := s.rows(ctx, func(r row) error {
		location := stock.LocationID(r.text(0))
		l := levels[location]
		if l == nil {
			l = &stock.Level{SKU: sku, Location: location}
			levels[location] = l
		}
		return l.Apply(stock.Posting{SKU: sku, Location: location, From: stock.State(r.number(1)), To: stock.State(r.number(2)), Quantity: r.quantity(3)})
	}, `SELECT location, from_state, to_state, CAST(sum(quantity) AS bigint) FROM postings
		WHERE sku = ? AND at <= ? GROUP BY location, from_state, to_state`, string(sku), nanos(at))
	if err != nil {
		return nil, during("sum postings", err)
	}
	sums := make([]stock.Level, 0, len(levels))
	for _, location := range order(levels, cmp.Compare[stock.LocationID]) {
		sums = append(sums, *levels[location])
	}
	return sums, nil
}

// UncoveredMovements lists the movements that no held statement contains.
func (s *Store) UncoveredMovements(ctx context.Context, sku stock.SKU) (found []stocksync.HeldMovement, err error) {
	err = s.look(ctx, "list movements", func(t *txn) error {
		found, err = t.Uncovered([]stock.SKU{sku})
		return err
	})
	return found, err
}

// OpenCommitments lists the promises of a SKU, the oldest first.
func (s *Store) OpenCommitments(ctx context.Context, sku stock.SKU, limit int) ([]stocksync.Commitment, error) {
	var found []stocksync.Commitment
	err := s.rows(ctx, func(r row) error {
		found = append(found, stocksync.Commitment{
			OrderKey: stocksync.OrderKey{Channel: stock.ConnectionID(r.text(0)), OrderID: r.text(1)}, LineID: r.text(2), SKU: stock.SKU(r.text(3)),
			Location: stock.LocationID(r.text(4)), Quantity: r.quantity(5), Ref: r.ref(6), ChannelOpen: r.quantity(8), AcceptedAt: r.time(9),
		})
		return nil
	}, `SELECT channel, order_id, line_id, sku, location, quantity, item, place, channel_open, accepted_at
		FROM commitments WHERE sku = ? ORDER BY accepted_at, channel, order_id, line_id LIMIT ?`, string(sku), limit)
	return found, during("list commitments", err)
}

// Pushes lists writes to a listing, the newest first.
func (s *Store) Pushes(ctx context.Context, key stocksync.ListingKey, at time.Time, limit int) ([]stocksync.Push, error) {
	var found []stocksync.Push
	err := s.rows(ctx, func(r row) error {
		found = append(found, stocksync.Push{
			ListingKey: key, Generation: r.number(0), Quantity: r.quantity(1), Expect: r.optional(2), Delta: r.optional(3),
			Outcome: r.text(4), Error: r.text(5), At: r.time(6),
		})
		return nil
	}, `SELECT generation, quantity, expect, delta, outcome, error, at FROM pushes
		WHERE connection = ? AND item = ? AND place = ? AND at <= ? ORDER BY id DESC LIMIT ?`,
		string(key.Connection), key.Item, key.Place, nanos(at), limit)
	return found, during("list writes", err)
}

// ReadBack finds the newest write that the channel was found to show at once.
func (s *Store) ReadBack(ctx context.Context, key stocksync.ListingKey, at time.Time) (*stocksync.Push, error) {
	var found *stocksync.Push
	err := s.rows(ctx, func(r row) error {
		found = &stocksync.Push{ListingKey: key, Generation: r.number(0), Quantity: r.quantity(1), Outcome: r.text(2), At: r.time(3), ShownAt: r.time(4)}
		return nil
	}, `SELECT generation, quantity, outcome, at, shown_at FROM pushes
		WHERE connection = ? AND item = ? AND place = ? AND shown_at <> 0 AND shown_at <= ? ORDER BY id DESC LIMIT 1`,
		string(key.Connection), key.Item, key.Place, nanos(at))
	return found, during("look for what was read back", err)
}

// incident is a row of the table incidents.
type incident struct {
	ID       int64 `gorm:"primaryKey"`
	Kind     string
	Subject  string
	Message  string
	OpenedAt int64
	ClosedAt int64
}

func (incident) TableName() string { return "incidents" }

// openIncident keeps the instant at which an incident that is open was first opened, and takes the newer message.
var (
	openIncident = bulk(2, join(texts("kind", "subject", "message"), numbers("opened_at")),
		`INSERT INTO incidents (kind, subject, message, opened_at, closed_at) {VALUES v.kind, v.subject, v.message, v.opened_at, 0}
		ON CONFLICT (kind, subject) WHERE closed_at = 0 DO UPDATE SET message = excluded.message RETURNING id, kind, subject, message, opened_at, closed_at`)
	// closeIncident closes an incident that was opened before an instant.
	closeIncident = bulk(2, join(texts("kind", "subject"), numbers("at", "before")),
		`UPDATE incidents SET closed_at = v.at {FROM} WHERE incidents.kind = v.kind AND incidents.subject = v.subject AND incidents.closed_at = 0 AND incidents.opened_at < v.before
		RETURNING incidents.id, incidents.kind, incidents.subject, incidents.message, incidents.opened_at, incidents.closed_at`)
)

// openIncidents opens incidents, with a message for each that was not open before.
func (t *txn) openIncidents(incidents []stocksync.Incident) error {
	rows := make([][]any, len(incidents))
	given := make(map[[2]string]int64, len(incidents))
	for i, n := range incidents {
		rows[i] = []any{n.Kind, n.Subject, n.Message, nanos(n.OpenedAt)}
		given[[2]string{n.Kind, cleanText(n.Subject)}] = nanos(n.OpenedAt)
	}
	var told []stocksync.Message
	err := t.query(openIncident, rows, func(r row) error {
		if i := r.incident(); nanos(i.OpenedAt) == given[[2]string{i.Kind, i.Subject}] {
			told = append(told, stocksync.IncidentMessage(i))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.addMessages(told)
}

// closeIncidents closes incidents that are open, with a message for each.
func (t *txn) closeIncidents(incidents []stocksync.Incident, at time.Time) error {
	rows := make([][]any, len(incidents))
	for i, n := range incidents {
		rows[i] = []any{n.Kind, n.Subject, nanos(at), int64(math.MaxInt64)}
	}
	return t.closeRows(rows)
}

// closeOldIncidents closes those that were opened before the instant that stands for the opening.
func (t *txn) closeOldIncidents(incidents []stocksync.Incident, at time.Time) error {
	rows := make([][]any, len(incidents))
	for i, n := range incidents {
		rows[i] = []any{n.Kind, n.Subject, nanos(at), nanos(n.OpenedAt)}
	}
	return t.closeRows(rows)
}

func (t *txn) closeRows(rows [][]any) error {
	var told []stocksync.Message
	err := t.query(closeIncident, rows, func(r row) error {
		told = append(told, stocksync.IncidentMessage(r.incident()))
		return nil
	})
	if err != nil {
		return err
	}
	return t.addMessages(told)
}

func (r row) incident() stocksync.Incident {
	return stocksync.Incident{ID: r.number(0), Kind: strings.Clone(r.text(1)), Subject: strings.Clone(r.text(2)), Message: strings.Clone(r.text(3)), OpenedAt: r.time(4), ClosedAt: r.time(5)}
}

// IncidentByID loads an incident.
func (s *Store) IncidentByID(ctx context.Context, id int64) (stocksync.Incident, error) {
	var r incident
	err := s.read.WithContext(ctx).Take(&r, id).Error
	return r.incident(), during(fmt.Sprintf("load incident %d", id), err)
}

func (r incident) incident() stocksync.Incident {
	return stocksync.Incident{ID: r.ID, Kind: r.Kind, Subject: r.Subject, Message: r.Message, OpenedAt: instant(r.OpenedAt), ClosedAt: instant(r.ClosedAt)}
}

// Incidents pages through incidents by id: the open ones, or all.
func (s *Store) Incidents(ctx context.Context, open bool, after int64, limit int) ([]stocksync.Incident, error) {
	q := s.read.WithContext(ctx).Where("id > ?", after).Order("id").Limit(limit)
	if open {
		q = q.Where("closed_at = 0")
	}
	var rows []incident
	if err := q.Find(&rows).Error; err != nil {
		return nil, during("list incidents", err)
	}
	incidents := make([]stocksync.Incident, len(rows))
	for i, r := range rows {
		incidents[i] = r.incident()
	}
	return incidents, nil
}

// OpenIncident opens an incident, or refreshes the open one.
func (s *Store) OpenIncident(ctx context.Context, i stocksync.Incident) error {
	return s.change(ctx, "open an incident", func(t *txn) error { return t.openIncidents([]stocksync.Incident{i}) })
}

// CloseIncident closes an incident. One that is not open stays as it is.
func (s *Store) CloseIncident(ctx context.Context, kind, subject string, at time.Time) error {
	return s.change(ctx, "close an incident", func(t *txn) error {
		return t.closeIncidents([]stocksync.Incident{{Kind: kind, Subject: subject}}, at)
	})
}

// Backlog counts rows of the tables that hold only what is to be done.
func (s *Store) Backlog(ctx context.Context, paused []stock.ConnectionID) (b stocksync.Backlog, err error) {
	out := []string{""} // no connection has no name: the list is never empty, which SQL would not understand
	for _, id := range paused {
		out = append(out, string(id))
	}
	err = s.look(ctx, "count the backlog", func(t *txn) error {
		var oldest, heldSince int64
		unconfirmed := `FROM push_due JOIN listings ON listings.connection = push_due.connection AND listings.item = push_due.item
			AND listings.place = push_due.place WHERE listings.mapped AND listings.held_by = 0 AND listings.contested_at = 0 AND listings.connection NOT IN ?`
		var errs []error
		for _, c := range []struct {
			into  *int64
			query string
			args  []any
		}{
			{&b.InboxPending, "SELECT count(*) FROM due", nil},
			{&b.InboxParked, "SELECT count(*) FROM parked", nil},
			{&b.Dirty, "SELECT count(*) FROM dirty", nil},
			{&b.Unconfirmed, "SELECT count(*) " + unconfirmed, []any{out}},
			{&oldest, "SELECT coalesce(min(listings.changed_at), 0) " + unconfirmed, []any{out}},
			{&b.Forwards, "SELECT count(*) FROM forwards WHERE want > done AND connection NOT IN ?", []any{out}},
			{&b.Corrections, "SELECT count(*) FROM stocktake_lines WHERE due_at > 0 AND connection NOT IN ?", []any{out}},
			{&b.Notices, "SELECT count(*) FROM notices WHERE NOT done AND channel NOT IN ?", []any{out}},
			{&b.Remedies, "SELECT count(*) FROM remedies WHERE due_at <> 0 AND state = 'chosen' AND NOT by_hand AND channel NOT IN ?", []any{out}},
			{&b.HeldPlans, "SELECT count(*) FROM plans WHERE state = ?", []any{string(stocksync.PlanHeld)}},
			{&heldSince, "SELECT coalesce(min(created_at), 0) FROM plans WHERE state = ?", []any{string(stocksync.PlanHeld)}},
			{&b.OpenIncidents, "SELECT count(*) FROM incidents WHERE closed_at = 0", nil},
		} {
			errs = append(errs, t.g.Raw(c.query, c.args...).Scan(c.into).Error)
		}
		b.OldestUnconfirmed, b.OldestHeldPlan = instant(oldest), instant(heldSince)
		return errors.Join(errs...)
	})
	return b, err
}
