package store

import (
	"context"
	"errors"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	findDependents = bulk(1, texts("sku"), `SELECT components.connection, components.item, components.place
		FROM components{,} WHERE components.sku = v.sku ORDER BY components.sku, components.connection, components.item, components.place`)

	sumChannelOpen = bulk(3, listingColumns, `SELECT commitments.channel, commitments.item, commitments.place, CAST(sum(commitments.channel_open) AS bigint)
		FROM commitments{,} WHERE commitments.channel = v.connection AND commitments.item = v.item AND commitments.place = v.place
		AND commitments.channel_open <> 0 GROUP BY commitments.channel, commitments.item, commitments.place`)

	saveTargets = bulk(3, join(listingColumns, numbers("target", "generation"), texts("held"), numbers("at", "cleared")),
		`UPDATE listings SET target = v.target, generation = v.generation, held = v.held, held_by = 0, changed_at = v.at,
		cleared = CASE WHEN v.cleared > listings.cleared THEN v.cleared ELSE listings.cleared END
		{FROM} WHERE `+listingsTable.matches(listingColumns))

	saveStops = bulk(3, join(listingColumns, flags("stop")), `UPDATE listings SET stop_wanted = v.stop {FROM} WHERE `+listingsTable.matches(listingColumns))

	// pushTargets is markPushDue that also says whether the target is below what the listing shows.
	pushTargets = bulk(3, join(listingColumns, flags("lower"), numbers("at")),
		`INSERT INTO push_due (connection, item, place, lower, due_at, marked_at)
		{VALUES v.connection, v.item, v.place, v.lower, v.at, v.at}
		ON CONFLICT (connection, item, place) DO UPDATE SET lower = excluded.lower,
		due_at = CASE WHEN excluded.due_at < push_due.due_at THEN excluded.due_at ELSE push_due.due_at END,
		marked_at = CASE WHEN excluded.marked_at > push_due.marked_at THEN excluded.marked_at ELSE push_due.marked_at END`)
)

// Plan takes dirty SKUs off the list first and lets fn plan them in the same transaction. On PostgreSQL, whoever marks
// one of them again meanwhile waits until that transaction has ended and then puts it on the list anew, and a mark whose
// transaction has not ended is waited for; on SQLite there is one writer. Either way no mark is lost, and a plan that
// fails leaves the marks as they were.
//
// On PostgreSQL, fn must load listings before levels: loading them keeps other planners away from the same listings, so
// that the later one plans with the newer levels.
func (s *Store) Plan(ctx context.Context, limit int, fn func(tx stocksync.PlanTx, skus []stock.SKU) error) (int, error) {
	if idle, err := s.isEmpty(ctx, "dirty"); err != nil || idle {
		return 0, err
	}
	n := 0
	err := s.change(ctx, "plan", func(t *txn) error {
		skus, stated, err := t.takeDirty(limit)
		if err != nil || len(skus) == 0 {
			return err
		}
		n = len(skus)
		return fn(planTx{t, stated}, skus)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (t *txn) takeDirty(limit int) (skus []stock.SKU, stated map[stock.SKU]bool, err error) {
	query := "SELECT sku, stated FROM dirty ORDER BY sku LIMIT ?"
	if t.dialect == postgres {
		query += " FOR UPDATE"
	}
	stated = make(map[stock.SKU]bool)
	err = t.rows(func(r row) error {
		sku := stock.SKU(r.text(0))
		skus = append(skus, sku)
		if r.flag(1) {
			stated[sku] = true
		}
		return nil
	}, query, limit)
	if err != nil {
		return nil, nil, err
	}
	_, err = t.exec(removeDirty, skuRows(skus))
	return skus, stated, err
}

var removeDirty = dirtyTable.remove(1)

// DirtyConnection marks every SKU that a connection's listings depend on.
func (s *Store) DirtyConnection(ctx context.Context, connection stock.ConnectionID) error {
	return during("mark the SKUs of "+string(connection), s.write.WithContext(ctx).Exec(`INSERT INTO dirty (sku, stated)
		SELECT DISTINCT sku, FALSE FROM components WHERE connection = ? ORDER BY sku ON CONFLICT (sku) DO UPDATE SET sku = excluded.sku`, string(connection)).Error)
}

// View runs fn on one state of the database.
func (s *Store) View(ctx context.Context, fn func(tx stocksync.PlanTx) error) error {
	return s.look(ctx, "look at the plan", func(t *txn) error { return fn(planTx{t, nil}) })
}

// planTx is the transaction of Plan and View. stated are those of the SKUs taken that a system of record changed.
type planTx struct {
	*txn
	stated map[stock.SKU]bool
}

// Stated tells which SKUs a system of record changed; in a view none.
func (t planTx) Stated([]stock.SKU) map[stock.SKU]bool { return t.stated }

var _ stocksync.PlanTx = planTx{}

// Dependents are the listings that contain any of the SKUs, each once, sorted.
func (t planTx) Dependents(skus []stock.SKU) ([]stocksync.ListingKey, error) {
	found := make(map[stocksync.ListingKey]bool)
	err := t.query(findDependents, skuRows(skus), func(r row) error {
		found[r.listingKey(0)] = true
		return nil
	})
	return order(found, compareListings), during("load dependent listings", err)
}

// Listings loads listings and, in a transaction that plans, keeps others from changing them.
func (t planTx) Listings(keys []stocksync.ListingKey) (map[stocksync.ListingKey]*stocksync.Listing, error) {
	if t.writes {
		if err := t.lock(keys); err != nil {
			return nil, during("lock listings", err)
		}
	}
	return t.txn.Listings(keys)
}

// ChannelOpen sums the packs that channels count as open.
func (t planTx) ChannelOpen(keys []stocksync.ListingKey) (map[stocksync.ListingKey]stock.Quantity, error) {
	found := make(map[stocksync.ListingKey]stock.Quantity)
	err := t.query(sumChannelOpen, listingRows(keys), func(r row) error {
		found[r.listingKey(0)] = r.quantity(3)
		return nil
	})
	return found, during("load open packs", err)
}

// SaveIncidents opens and closes what planning found.
func (t planTx) SaveIncidents(opened, over []stocksync.Incident, at time.Time) error {
	if err := t.closeOldIncidents(over, at); err != nil {
		return during("close incidents", err)
	}
	return during("open incidents", t.openIncidents(opened))
}

// PlanLater marks SKUs to be planned when a time comes.
func (t planTx) PlanLater(at map[stock.SKU]time.Time) error {
	rows := make([][]any, 0, len(at))
	for sku, instant := range at {
		rows = append(rows, []any{nanos(instant), string(sku)})
	}
	_, err := t.exec(addDirtyLater, rows)
	return during("mark SKUs for later", err)
}

// Fallen counts orders by what their documents say. One that never had a line took nothing, so its end gives nothing back: shops
// keep such of buyers who left before they paid.
func (t planTx) Fallen(channel stock.ConnectionID) (f stock.Fallen, err error) {
	status, shipments, lines := "json_extract(doc, '$.status')", "json_extract(doc, '$.shipments')", "json_extract(doc, '$.lines')"
	if t.dialect == postgres {
		status, shipments, lines = "doc::json->>'status'", "doc::json->>'shipments'", "doc::json->>'lines'"
	}
	err = t.rows(func(r row) error {
		f.Orders, f.Fell = r.number(0), r.number(1)
		return nil
	}, "SELECT count(*), count(CASE WHEN "+status+" = ? AND "+shipments+" IS NULL THEN 1 END) FROM orders WHERE channel = ? AND "+lines+" IS NOT NULL",
		string(connectors.OrderCancelledStatus), string(channel))
	return f, during("count the fallen orders of "+string(channel), err)
}

// SaveTargets stores the outcome of planning.
func (t planTx) SaveTargets(targets []stocksync.TargetChange) error {
	if !t.writes {
		return errors.New("save targets: this is a view, which changes nothing")
	}
	var keys []stocksync.ListingKey
	var rows, due, stops [][]any
	for _, c := range targets {
		keys = append(keys, c.ListingKey)
		if c.Stop != nil {
			stops = append(stops, listingRow(c.ListingKey, *c.Stop))
		}
		if c.SaleOnly {
			if c.Push {
				due = append(due, listingRow(c.ListingKey, false, nanos(c.At)))
			}
			continue
		}
		var cleared int64
		if c.Explained {
			cleared = c.Generation
		}
		rows = append(rows, listingRow(c.ListingKey, optional(c.Target), c.Generation, c.Held, nanos(c.At), cleared))
		if c.Push {
			due = append(due, listingRow(c.ListingKey, c.Lower, nanos(c.At)))
		}
	}
	if err := t.lock(keys); err != nil {
		return during("lock listings", err)
	}
	if _, err := t.exec(saveTargets, rows); err != nil {
		return during("save targets", err)
	}
	if _, err := t.exec(saveStops, stops); err != nil {
		return during("save which listings are stopped", err)
	}
	_, err := t.exec(pushTargets, due)
	return during("make listings due", err)
}

func compareListings(a, b stocksync.ListingKey) int {
	if a.Connection != b.Connection {
		if a.Connection < b.Connection {
			return -1
		}
		return 1
	}
	return a.Compare(b.Ref)
}
