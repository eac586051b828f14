package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// The tables that Apply works on.
var (
	ordersTable = table{"orders", texts("channel", "order_id"), join(texts("doc"), numbers("restocked_at"))}

	commitmentsTable = table{"commitments", texts("sku", "channel", "order_id", "line_id"),
		join(texts("location"), numbers("quantity"), texts("item", "place"), numbers("channel_open", "accepted_at"))}

	statementsTable = table{"statements", texts("sku", "location", "connection"),
		numbers("quantity", "sequence", "source_at", "seen_at", "event", "at")}

	movementsTable = table{"movements", texts("connection", "key", "sku", "location"),
		join(numbers("delta", "sequence", "source_at", "seen_at"), flags("covered"), numbers("at"))}

	levelsTable = table{"levels", texts("sku", "location"),
		join(numbers("incoming", "available", "reserved", "committed", "unavailable"), blobs("hash"))}

	reservationsTable = table{"reservations", listingColumns, join(numbers("taken", "at", "drained_to"), texts("parts"))}

	componentsTable = table{"components", texts("connection", "item", "place", "sku"), numbers("units")}

	parkedTable = table{"parked", numbers("event"), join(texts("reason"), numbers("at"))}

	waitsTable = table{"parked_waits", join(numbers("event"), texts("connection", "item", "place", "sku")), nil}

	dirtyTable = table{"dirty", texts("sku"), nil}

	postingColumns = join(texts("sku", "location"), numbers("from_state", "to_state", "quantity", "at"), texts("cause"),
		numbers("event"), texts("reference"), blobs("previous", "hash"))
)

func join(columns ...[]column) []column {
	var all []column
	for _, c := range columns {
		all = append(all, c...)
	}
	return all
}

// The statements that Apply runs.
var (
	findReservations = reservationsTable.find(listingColumns, "")
	saveReservations = reservationsTable.upsert()
	growTaken        = bulk(3, join(listingColumns, numbers("taken")),
		`UPDATE listings SET taken = listings.taken + v.taken {FROM} WHERE `+listingsTable.matches(listingColumns))

	findComponents = componentsTable.find(listingColumns, "")
	findOrders     = bulk(2, ordersTable.key, `SELECT orders.channel, orders.order_id, orders.doc, `+forwardOfOrder+`
		WHERE `+ordersTable.matches(ordersTable.key)+` ORDER BY orders.channel, orders.order_id`)
	findLevels     = levelsTable.find(texts("sku"), "")
	findStatements = statementsTable.find(texts("sku"), "")
	findUncovered  = movementsTable.find(texts("sku"), " AND NOT movements.covered")
	findMovements  = movementsTable.find(texts("connection", "key"), "")

	findKnown = bulk(1, texts("sku"), `SELECT v.sku {FROM} WHERE EXISTS (SELECT 1 FROM items WHERE items.sku = v.sku)
		OR EXISTS (SELECT 1 FROM links WHERE links.sku = v.sku) OR EXISTS (SELECT 1 FROM kits WHERE kits.sku = v.sku)
		OR EXISTS (SELECT 1 FROM kits WHERE kits.component = v.sku)`)

	saveOrders        = ordersTable.upsert()
	saveCommitments   = commitmentsTable.upsert()
	removeCommitments = commitmentsTable.remove(4)
	saveSales         = table{"sales", texts("sku", "channel", "order_id", "line_id"), numbers("units", "placed_at")}.upsert()
	saveStatements    = statementsTable.upsert()
	saveMovements     = movementsTable.upsert()
	saveLevels        = levelsTable.upsert()
	// addDirty writes the row also where the mark is there already: that locks it, so that on PostgreSQL a planner that
	// would take the mark waits for what the mark stands for to be committed, and then reads it.
	addDirty = bulk(1, join(texts("sku"), flags("stated")), `INSERT INTO dirty (sku, stated) {VALUES v.sku, v.stated}
		ON CONFLICT (sku) DO UPDATE SET stated = dirty.stated OR excluded.stated`)
	addPostings = bulk(0, postingColumns, "INSERT INTO postings ("+list("", postingColumns)+") {VALUES "+list("v.", postingColumns)+"}")
	saveParked  = parkedTable.upsert()
	removeWaits = waitsTable.remove(1)
	addWaits    = waitsTable.add()

	growForwards = bulk(2, join(texts("channel", "order_id", "connection"), numbers("due_at")),
		`INSERT INTO forwards (channel, order_id, connection, want, due_at) {VALUES v.channel, v.order_id, v.connection, 1, v.due_at}
		ON CONFLICT (channel, order_id) DO UPDATE SET want = forwards.want + 1, due_at = excluded.due_at`)
)

// Apply gives the oldest due events to fn. On PostgreSQL one applier works at a time, whatever server it is in, because
// the order of events matters within a SKU; the lock ends with the transaction.
func (s *Store) Apply(ctx context.Context, limit int, fn func(tx stocksync.LedgerTx, events []stocksync.Event) error) (int, error) {
	if idle, err := s.isEmpty(ctx, "due"); err != nil || idle {
		return 0, err
	}
	n := 0
	err := s.change(ctx, "apply events", func(t *txn) error {
		if t.dialect == postgres {
			if err := t.g.Exec("SELECT pg_advisory_xact_lock(?)", int64(applyLock)).Error; err != nil {
				return err
			}
		}
		events, err := t.dueEvents(limit)
		if err != nil || len(events) == 0 {
			return err
		}
		n = len(events)
		if err := fn(ledgerTx{t, &n}, events); err != nil {
			return err
		}
		done := make([][]any, n)
		for i, e := range events[:n] {
			done[i] = []any{e.ID}
		}
		_, err = t.exec(deleteDue, done)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// isEmpty looks without taking part in the queue of writers, so that a controller that finds nothing to do disturbs
// nobody.
func (s *Store) isEmpty(ctx context.Context, name string) (bool, error) {
	var some bool
	if err := s.readDB.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+name+")").Scan(&some); err != nil {
		return false, fmt.Errorf("look for work in %s: %w", name, classify(err))
	}
	return !some, nil
}

func (t *txn) dueEvents(limit int) ([]stocksync.Event, error) {
	var events []stocksync.Event
	err := t.rows(func(r row) error {
		events = append(events, r.event(0))
		return nil
	}, `SELECT inbox.id, inbox.connection, inbox.key, inbox.type, inbox.format, inbox.body, inbox.received_at
		FROM due JOIN inbox ON inbox.id = due.event ORDER BY due.event LIMIT ?`, limit)
	return events, err
}

func (r row) event(i int) stocksync.Event {
	return stocksync.Event{ID: r.number(i), NewEvent: stocksync.NewEvent{
		Connection: stock.ConnectionID(r.text(i + 1)), Key: r.text(i + 2), Type: r.text(i + 3),
		Format: stocksync.Format(r.text(i + 4)), Body: body(r.blob(i + 5)), ReceivedAt: r.time(i + 6),
	}}
}

// ledgerTx is Apply's transaction.
type ledgerTx struct {
	*txn
	// only is how many of the events given are applied.
	only *int
}

// Components resolves listings to SKUs.
func (t *txn) Components(keys []stocksync.ListingKey) (map[stocksync.ListingKey][]mapping.Component, error) {
	found := make(map[stocksync.ListingKey][]mapping.Component, len(keys))
	err := t.query(findComponents, listingRows(keys), func(r row) error {
		k := r.listingKey(0)
		found[k] = append(found[k], mapping.Component{SKU: stock.SKU(r.text(3)), Units: r.quantity(4)})
		return nil
	})
	return found, during("load components", err)
}

// during names the step of a transaction that failed.
func during(step string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", step, classify(err))
	}
	return nil
}

// KnownSKUs tells which SKUs are articles.
func (t *txn) KnownSKUs(skus []stock.SKU) (map[stock.SKU]bool, error) {
	known := make(map[stock.SKU]bool, len(skus))
	err := t.query(findKnown, skuRows(skus), func(r row) error {
		known[stock.SKU(r.text(0))] = true
		return nil
	})
	return known, during("load articles", err)
}

// Orders loads order documents.
func (t *txn) Orders(keys []stocksync.OrderKey) (map[stocksync.OrderKey]*stocksync.Order, error) {
	found := make(map[stocksync.OrderKey]*stocksync.Order, len(keys))
	err := t.query(findOrders, orderRows(keys), func(r row) error {
		o, err := r.order(2)
		if err != nil {
			return fmt.Errorf("order %s of %s: %w", r.text(1), r.text(0), err)
		}
		found[o.Key()] = o
		return nil
	})
	return found, during("load orders", err)
}

// Levels loads the levels of SKUs at all locations.
func (t *txn) Levels(skus []stock.SKU) (map[stocksync.LevelKey]*stocksync.HeldLevel, error) {
	found := make(map[stocksync.LevelKey]*stocksync.HeldLevel, len(skus))
	err := t.query(findLevels, skuRows(skus), func(r row) error {
		k := r.levelKey(0)
		found[k] = &stocksync.HeldLevel{Level: stock.Level{
			SKU: k.SKU, Location: k.Location, Incoming: r.quantity(2), Available: r.quantity(3), Reserved: r.quantity(4),
			Committed: r.quantity(5), Unavailable: r.quantity(6),
		}, Hash: r.blob(7)}
		return nil
	})
	return found, during("load levels", err)
}

// Statements loads the statements about SKUs, by SKU, location and connection.
func (t *txn) Statements(skus []stock.SKU) ([]stocksync.HeldStatement, error) {
	var found []stocksync.HeldStatement
	err := t.query(findStatements, skuRows(skus), func(r row) error {
		found = append(found, stocksync.HeldStatement{
			Connection: stock.ConnectionID(r.text(2)), LevelKey: r.levelKey(0), Quantity: r.quantity(3),
			Position: r.position(4), Event: r.number(7), At: r.time(8),
		})
		return nil
	})
	return found, during("load statements", err)
}

// Uncovered loads the movements that no statement covers.
func (t *txn) Uncovered(skus []stock.SKU) ([]stocksync.HeldMovement, error) {
	found, err := t.movements(findUncovered, skuRows(skus))
	return found, during("load uncovered movements", err)
}

// Movements finds movements by their keys.
func (t *txn) Movements(connection stock.ConnectionID, keys []string) ([]stocksync.HeldMovement, error) {
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = []any{string(connection), k}
	}
	found, err := t.movements(findMovements, rows)
	return found, during("load movements", err)
}

func (t *txn) movements(s *statement, rows [][]any) ([]stocksync.HeldMovement, error) {
	var found []stocksync.HeldMovement
	err := t.query(s, rows, func(r row) error {
		found = append(found, stocksync.HeldMovement{
			Connection: stock.ConnectionID(r.text(0)), Key: r.text(1), LevelKey: r.levelKey(2), Delta: r.quantity(4),
			Position: r.position(5), Covered: r.flag(8), At: r.time(9),
		})
		return nil
	})
	return found, err
}

// Save stores what a batch of events changes. Tables come in the order in which every transaction locks them.
func (t ledgerTx) Save(c stocksync.Changes) error {
	for _, part := range []struct {
		what string
		save func(c stocksync.Changes) error
	}{
		{"orders", t.saveOrders},
		{"commitments", t.saveCommitments},
		{"sales", t.saveSales},
		{"bookings", t.saveBookings},
		{"keys", t.saveKeyGrants},
		{"statements", t.saveStatements},
		{"movements", t.saveMovements},
		{"postings", t.savePostings},
		{"levels", t.saveLevels},
		{"versions", func(c stocksync.Changes) error { return t.saveVersions(c.Versions) }},
		{"dirty SKUs", func(c stocksync.Changes) error { return t.markDirty(c.Dirty, c.Stated) }},
		{"new listings", t.saveSeen},
		{"units taken", t.saveTaken},
		{"reservations", t.saveReservations},
		{"campaigns", t.savePools},
		{"lines of stocktakes", func(c stocksync.Changes) error { return t.saveCountLines(c.CountLines) }},
		{"listings to look at", func(c stocksync.Changes) error { return t.markDue(c.Look, c.At) }},
		{"forwards", t.saveForwards},
		{"notices", t.saveNotices},
		{"admissions", t.saveAdmissions},
		{"parked events", t.saveParked},
		{"incidents", func(c stocksync.Changes) error { return t.openIncidents(c.Incidents) }},
		{"closed incidents", func(c stocksync.Changes) error { return t.closeIncidents(c.Closed, c.At) }},
		{"remedies", t.saveRemedies},
	} {
		if err := part.save(c); err != nil {
			return during("save "+part.what, err)
		}
	}
	return nil
}

func (t ledgerTx) saveOrders(c stocksync.Changes) error {
	rows := make([][]any, len(c.Orders))
	for i, o := range c.Orders {
		doc, err := encode(o)
		if err != nil {
			return err
		}
		rows[i] = []any{string(o.Channel), o.OrderID, doc, nanos(restockedAt(o))}
	}
	_, err := t.exec(saveOrders, rows)
	return err
}

// restockedAt is when an order last changed of which the channel put up for sale again more than was cancelled: what the
// rest of it was sent, and is on its way back.
func restockedAt(o *stocksync.Order) time.Time {
	for i := range o.Lines {
		if l := &o.Lines[i]; l.Restocked > l.Cancelled {
			return o.UpdatedAt
		}
	}
	return time.Time{}
}

func (t ledgerTx) saveCommitments(c stocksync.Changes) error {
	var kept, gone [][]any
	for _, m := range c.Commitments {
		key := []any{string(m.SKU), string(m.Channel), m.OrderID, m.LineID}
		if m.Quantity == 0 && m.ChannelOpen == 0 {
			gone = append(gone, key)
			continue
		}
		kept = append(kept, append(key, string(m.Location), int64(m.Quantity), m.Ref.Item, m.Ref.Place, int64(m.ChannelOpen), nanos(m.AcceptedAt)))
	}
	if _, err := t.exec(removeCommitments, gone); err != nil {
		return err
	}
	_, err := t.exec(saveCommitments, kept)
	return err
}

func (t ledgerTx) saveSales(c stocksync.Changes) error {
	rows := make([][]any, len(c.Sales))
	for i, s := range c.Sales {
		rows[i] = []any{string(s.SKU), string(s.Channel), s.OrderID, s.LineID, int64(s.Units), nanos(s.At)}
	}
	_, err := t.exec(saveSales, rows)
	return err
}

func (t ledgerTx) saveStatements(c stocksync.Changes) error {
	rows := make([][]any, len(c.Statements))
	for i, s := range c.Statements {
		rows[i] = []any{string(s.SKU), string(s.Location), string(s.Connection), int64(s.Quantity), sequence(s.Position),
			nanos(s.Position.SourceAt), nanos(s.Position.SeenAt), s.Event, nanos(s.At)}
	}
	_, err := t.exec(saveStatements, rows)
	return err
}

func (t ledgerTx) saveMovements(c stocksync.Changes) error {
	rows := make([][]any, len(c.Movements))
	for i, m := range c.Movements {
		rows[i] = []any{string(m.Connection), m.Key, string(m.SKU), string(m.Location), int64(m.Delta), sequence(m.Position),
			nanos(m.Position.SourceAt), nanos(m.Position.SeenAt), m.Covered, nanos(m.At)}
	}
	_, err := t.exec(saveMovements, rows)
	return err
}

func (t ledgerTx) savePostings(c stocksync.Changes) error {
	rows := make([][]any, len(c.Entries))
	for i, e := range c.Entries {
		rows[i] = []any{string(e.SKU), string(e.Location), int64(e.From), int64(e.To), int64(e.Quantity), nanos(e.At),
			e.Cause.Kind, e.Cause.Event, e.Cause.Reference, e.Previous, e.Hash}
	}
	_, err := t.exec(addPostings, rows)
	return err
}

func (t ledgerTx) saveLevels(c stocksync.Changes) error {
	rows := make([][]any, len(c.Levels))
	for i, l := range c.Levels {
		rows[i] = []any{string(l.SKU), string(l.Location), int64(l.Incoming), int64(l.Available), int64(l.Reserved),
			int64(l.Committed), int64(l.Unavailable), l.Hash}
	}
	_, err := t.exec(saveLevels, rows)
	return err
}

// markDirty marks SKUs to be planned; stated, which is sorted, are those of them that a system of record changed.
func (t *txn) markDirty(skus, stated []stock.SKU) error {
	rows := make([][]any, len(skus))
	for i, sku := range skus {
		_, changed := slices.BinarySearch(stated, sku)
		rows[i] = []any{string(sku), changed}
	}
	_, err := t.exec(addDirty, rows)
	return err
}

// Reservations loads reservations.
func (t *txn) Reservations(keys []stocksync.ListingKey) (map[stocksync.ListingKey]*stocksync.Reservation, error) {
	found := make(map[stocksync.ListingKey]*stocksync.Reservation)
	err := t.query(findReservations, listingRows(keys), func(r row) error {
		held, err := r.reservation()
		if err == nil {
			found[held.ListingKey] = held
		}
		return err
	})
	return found, during("load reservations", err)
}

func (r row) reservation() (*stocksync.Reservation, error) {
	parts, err := decode[[]stocksync.ReservedPart](r.text(6))
	return &stocksync.Reservation{ListingKey: r.listingKey(0), Taken: r.quantity(3), At: r.time(4), DrainedTo: r.time(5), Parts: parts}, err
}

func (t ledgerTx) saveReservations(c stocksync.Changes) error {
	rows := make([][]any, len(c.Reservations))
	for i, r := range c.Reservations {
		parts, err := encode(r.Parts)
		if err != nil {
			return err
		}
		rows[i] = listingRow(r.ListingKey, int64(r.Taken), nanos(r.At), nanos(r.DrainedTo), parts)
	}
	_, err := t.exec(saveReservations, rows)
	return err
}

// saveTaken comes after the listings that were not known before. It takes the rows of all listings that the transaction
// changes, so that they are taken in one order.
func (t ledgerTx) saveTaken(c stocksync.Changes) error {
	all := make(map[stocksync.ListingKey]bool)
	for k := range c.Taken {
		all[k] = true
	}
	for _, k := range c.Look {
		all[k] = true
	}
	if err := t.lock(order(all, compareListings)); err != nil {
		return err
	}
	keys := order(c.Taken, compareListings)
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = listingRow(k, int64(c.Taken[k]))
	}
	_, err := t.exec(growTaken, rows)
	return err
}

func (t ledgerTx) saveForwards(c stocksync.Changes) error {
	rows := make([][]any, len(c.Forwards))
	for i, f := range c.Forwards {
		rows[i] = []any{string(f.Channel), f.OrderID, string(f.Connection), nanos(f.DueAt)}
	}
	_, err := t.exec(growForwards, rows)
	return err
}

func (t ledgerTx) saveParked(c stocksync.Changes) error {
	var parked, events, waits [][]any
	for _, p := range c.Parked {
		parked = append(parked, []any{p.Event, p.Reason, nanos(p.At)})
		events = append(events, []any{p.Event})
		for _, k := range p.Refs {
			waits = append(waits, []any{p.Event, string(k.Connection), k.Item, k.Place, ""})
		}
		for _, sku := range p.SKUs {
			waits = append(waits, []any{p.Event, "", "", "", string(sku)})
		}
	}
	if _, err := t.exec(saveParked, parked); err != nil {
		return err
	}
	if _, err := t.exec(removeWaits, events); err != nil {
		return err
	}
	_, err := t.exec(addWaits, waits)
	return err
}

// saveSeen inserts listings that are missing, as far as a channel tells of one.
func (t ledgerTx) saveSeen(c stocksync.Changes) error {
	rows := make([][]any, len(c.Seen))
	for i, l := range c.Seen {
		rows[i] = listingRow(l.ListingKey, l.SKU, l.GTIN, l.Title, string(l.Status))
	}
	_, err := t.exec(addListings, rows)
	return err
}

var _ stocksync.LedgerTx = ledgerTx{}

// ref of a listing's row in a query result.
func (r row) ref(i int) connectors.Ref { return connectors.Ref{Item: r.text(i), Place: r.text(i + 1)} }
