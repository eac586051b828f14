package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm/clause"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// occurrence is a row of the table occurrences.
type occurrence struct {
	Job        string `gorm:"primaryKey"`
	Occurrence int64  `gorm:"primaryKey;autoIncrement:false"`
	ClaimedAt  int64
}

func (occurrence) TableName() string { return "occurrences" }

// ClaimOccurrence reports whether the caller is the one that runs an occurrence of a job.
func (s *Store) ClaimOccurrence(ctx context.Context, job string, at, now time.Time) (bool, error) {
	claimed := s.write.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).
		Create(&occurrence{Job: job, Occurrence: nanos(at), ClaimedAt: nanos(now)})
	return claimed.RowsAffected == 1, during("claim an occurrence of "+job, claimed.Error)
}

// LastOccurrence is the newest claimed occurrence of a job.
func (s *Store) LastOccurrence(ctx context.Context, job string) (time.Time, error) {
	var last int64
	err := s.read.WithContext(ctx).Raw("SELECT coalesce(max(occurrence), 0) FROM occurrences WHERE job = ?", job).Scan(&last).Error
	return instant(last), during("look for the last occurrence of "+job, err)
}

// run is a row of the table runs.
type run struct {
	ID        int64 `gorm:"primaryKey"`
	Job       string
	DryRun    bool
	State     string
	StartedAt int64
	EndedAt   int64
	Listings  int64
	Drifted   int64
	Unmapped  int64
	Message   string
	Progress  string
	// Subscriptions is a JSON array.
	Subscriptions string
}

func (run) TableName() string { return "runs" }

func runRow(r stocksync.Run) (run, error) {
	subscriptions, err := encode(r.Subscriptions)
	return run{
		ID: r.ID, Job: r.Job, DryRun: r.DryRun, State: string(r.State), StartedAt: nanos(r.StartedAt), EndedAt: nanos(r.EndedAt),
		Listings: r.Listings, Drifted: r.Drifted, Unmapped: r.Unmapped, Message: cleanText(r.Message), Progress: cleanText(r.Progress), Subscriptions: subscriptions,
	}, err
}

func (r run) view() (stocksync.Run, error) {
	subscriptions, err := decode[[]string](r.Subscriptions)
	if len(subscriptions) == 0 {
		subscriptions = nil
	}
	return stocksync.Run{
		ID: r.ID, Job: r.Job, DryRun: r.DryRun, State: stocksync.RunState(r.State), StartedAt: instant(r.StartedAt),
		EndedAt: instant(r.EndedAt), Listings: r.Listings, Drifted: r.Drifted, Unmapped: r.Unmapped, Message: r.Message, Progress: r.Progress,
		Subscriptions: subscriptions,
	}, err
}

// StartRun stores a new run and returns its id.
func (s *Store) StartRun(ctx context.Context, r stocksync.Run) (int64, error) {
	row, err := runRow(r)
	if err != nil {
		return 0, err
	}
	row.ID = 0
	err = s.write.WithContext(ctx).Create(&row).Error
	return row.ID, during("start a reconciliation", err)
}

// SaveRun stores how far a run has come.
func (s *Store) SaveRun(ctx context.Context, r stocksync.Run) error {
	row, err := runRow(r)
	if err != nil {
		return err
	}
	saved := s.write.WithContext(ctx).Model(&run{}).Where("id = ?", r.ID).Select("*").Omit("id").Updates(row)
	err = saved.Error
	if err == nil && saved.RowsAffected == 0 {
		err = stocksync.ErrNotFound
	}
	return during(fmt.Sprintf("save reconciliation %d", r.ID), err)
}

// Run loads a run.
func (s *Store) Run(ctx context.Context, id int64) (stocksync.Run, error) {
	var r run
	if err := s.read.WithContext(ctx).Take(&r, id).Error; err != nil {
		return stocksync.Run{}, during(fmt.Sprintf("load reconciliation %d", id), err)
	}
	return r.view()
}

// DropRuns forgets runs that ended before an instant, each with its lines in a transaction of its own.
func (s *Store) DropRuns(ctx context.Context, before time.Time) error {
	var old []int64
	err := s.read.WithContext(ctx).Raw("SELECT id FROM runs WHERE state <> ? AND ended_at < ? ORDER BY id", string(stocksync.RunRunning), nanos(before)).Scan(&old).Error
	for _, id := range old {
		if err != nil {
			break
		}
		err = s.change(ctx, fmt.Sprintf("forget reconciliation %d", id), func(t *txn) error {
			if err := t.g.Exec("DELETE FROM drifts WHERE run = ?", id).Error; err != nil {
				return err
			}
			return t.g.Exec("DELETE FROM runs WHERE id = ?", id).Error
		})
	}
	return during("forget old reconciliations", err)
}

// ListRuns lists runs, the newest first.
func (s *Store) ListRuns(ctx context.Context, state stocksync.RunState, before int64, limit int) ([]stocksync.Run, error) {
	query := s.read.WithContext(ctx).Order("id DESC").Limit(limit)
	if state != "" {
		query = query.Where("state = ?", string(state))
	}
	if before > 0 {
		query = query.Where("id < ?", before)
	}
	var rows []run
	if err := query.Find(&rows).Error; err != nil {
		return nil, during("list reconciliations", err)
	}
	found := make([]stocksync.Run, len(rows))
	for i, r := range rows {
		var err error
		if found[i], err = r.view(); err != nil {
			return nil, during(fmt.Sprintf("list reconciliation %d", r.ID), err)
		}
	}
	return found, nil
}

// LockRuns takes the lock under which one process at a time reconciles. The database, or the operating system, takes it
// back when the process ends.
func (s *Store) LockRuns(ctx context.Context) (stocksync.RunLock, error) {
	held, err := s.lockRuns(ctx)
	if errors.Is(err, ErrLocked) {
		return nil, fmt.Errorf("%w: another process reconciles: %w", stocksync.ErrBusy, err)
	}
	if err != nil {
		return nil, during("lock the reconciliations", err)
	}
	return runLock{held}, nil
}

type runLock struct{ lock }

// Check fails when the lock was lost.
func (l runLock) Check(ctx context.Context) error { return l.check(ctx) }

// Release gives the lock back.
func (l runLock) Release() error { return l.release() }

var (
	findOnTheWay = bulk(3, listingColumns, "SELECT push_due.connection, push_due.item, push_due.place, push_due.due_at FROM push_due{,} WHERE "+
		pushDueTable.matches(listingColumns))
	findRestocked = "SELECT doc FROM orders WHERE channel = ? AND restocked_at >= ? AND restocked_at <> 0 ORDER BY restocked_at, order_id"
)

// OnTheWay tells which listings are due, and when.
func (s *Store) OnTheWay(ctx context.Context, keys []stocksync.ListingKey) (map[stocksync.ListingKey]time.Time, error) {
	found := make(map[stocksync.ListingKey]time.Time)
	err := s.look(ctx, "look up what is due", func(t *txn) error {
		return t.query(findOnTheWay, listingRows(keys), func(r row) error {
			found[r.listingKey(0)] = r.time(3)
			return nil
		})
	})
	return found, err
}

// RestockedOrders lists the orders of which a channel put up for sale again more than was cancelled.
func (s *Store) RestockedOrders(ctx context.Context, channel stock.ConnectionID, since time.Time) ([]*stocksync.Order, error) {
	var found []*stocksync.Order
	err := s.rows(ctx, func(r row) error {
		o, err := decode[*stocksync.Order](r.text(0))
		found = append(found, o)
		return err
	}, findRestocked, string(channel), nanos(since))
	return found, during("load restocked orders", err)
}

// DriftCounts counts the differences of a run by cause.
func (s *Store) DriftCounts(ctx context.Context, run int64) (map[stocksync.DriftCause]int64, error) {
	counts := make(map[stocksync.DriftCause]int64)
	err := s.rows(ctx, func(r row) error {
		counts[stocksync.DriftCause(r.text(0))] = r.number(1)
		return nil
	}, "SELECT cause, count(*) FROM drifts WHERE run = ? GROUP BY cause", run)
	return counts, during("count differences", err)
}

var (
	readingsTable = table{"readings", join(numbers("run"), listingColumns), join(numbers("quantity"), flags("unlimited"), numbers("at"))}
	driftsTable   = table{"drifts", join(numbers("run"), listingColumns), join(numbers("target", "shown"), texts("cause", "detail"), numbers("at"))}
	saveReadings  = readingsTable.upsert()
	saveDrifts    = driftsTable.upsert()
)

// AddReadings stages what a channel shows; of two readings of one listing the later stays.
func (s *Store) AddReadings(ctx context.Context, run int64, connection stock.ConnectionID, readings []connectors.Reading) error {
	return s.change(ctx, fmt.Sprintf("stage readings of %s", connection), func(t *txn) error {
		rows := make([][]any, len(readings))
		for i, r := range readings {
			rows[i] = []any{run, string(connection), r.Ref.Item, r.Ref.Place, int64(r.Quantity), r.Unlimited, nanos(r.At)}
		}
		_, err := t.exec(saveReadings, rows)
		return err
	})
}

// ReadingsAfter pages through the stage.
func (s *Store) ReadingsAfter(ctx context.Context, run int64, connection stock.ConnectionID, after connectors.Ref, limit int) ([]connectors.Reading, error) {
	found := make([]connectors.Reading, 0, min(limit, 1<<14))
	err := s.rows(ctx, func(r row) error {
		found = append(found, connectors.Reading{Ref: r.ref(0), Quantity: r.quantity(2), Unlimited: r.flag(3), At: r.time(4)})
		return nil
	}, `SELECT item, place, quantity, unlimited, at FROM readings
		WHERE run = ? AND connection = ? AND (item, place) > (?, ?) ORDER BY item, place LIMIT ?`,
		run, string(connection), after.Item, after.Place, limit)
	return found, during("load staged readings", err)
}

// ListingsAfter pages through the listings of a connection.
func (s *Store) ListingsAfter(ctx context.Context, connection stock.ConnectionID, after connectors.Ref, limit int) ([]stocksync.Listing, error) {
	found, err := s.listings(ctx, "listings WHERE connection = ? AND (item, place) > (?, ?) ORDER BY item, place LIMIT ?",
		string(connection), after.Item, after.Place, limit)
	return found, during("load listings", err)
}

// DropReadings forgets the stage of a run.
func (s *Store) DropReadings(ctx context.Context, run int64) error {
	return during("drop staged readings", s.write.WithContext(ctx).Exec("DELETE FROM readings WHERE run = ?", run).Error)
}

// AddDrifts stores differences; one that is there already is replaced.
func (s *Store) AddDrifts(ctx context.Context, drifts []stocksync.Drift) error {
	return s.change(ctx, "store differences", func(t *txn) error {
		rows := make([][]any, len(drifts))
		for i, d := range drifts {
			rows[i] = []any{d.Run, string(d.Connection), d.Item, d.Place, optional(d.Target), optional(d.Shown), string(d.Cause), cleanText(d.Detail), nanos(d.At)}
		}
		_, err := t.exec(saveDrifts, rows)
		return err
	})
}

// Drifts pages through the differences of a run, by listing.
func (s *Store) Drifts(ctx context.Context, run int64, after stocksync.ListingKey, limit int) ([]stocksync.Drift, error) {
	var found []stocksync.Drift
	err := s.rows(ctx, func(r row) error {
		found = append(found, stocksync.Drift{
			Run: run, ListingKey: r.listingKey(0), Target: r.optional(3), Shown: r.optional(4),
			Cause: stocksync.DriftCause(r.text(5)), Detail: r.text(6), At: r.time(7),
		})
		return nil
	}, `SELECT connection, item, place, target, shown, cause, detail, at FROM drifts
		WHERE run = ? AND (connection, item, place) > (?, ?, ?) ORDER BY connection, item, place LIMIT ?`,
		run, string(after.Connection), after.Item, after.Place, limit)
	return found, during("load differences", err)
}
