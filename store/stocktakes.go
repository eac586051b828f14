package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	stocktakeLinesTable = table{"stocktake_lines", numbers("stocktake", "n"),
		join(texts("sku", "location", "connection", "state"), numbers("due_at", "decided_at", "as_of"), texts("doc"))}

	saveStocktakeLines = stocktakeLinesTable.upsert()
	findStocktakeLines = stocktakeLinesTable.find(numbers("stocktake", "n"), "")
	findCorrections    = stocktakeLinesTable.find(texts("sku"), " AND stocktake_lines.state = 'approved'")

	stocktakeLineColumns = list("", join(stocktakeLinesTable.key, stocktakeLinesTable.rest))
)

func stocktakeLineRow(l *stocksync.StocktakeLine) ([]any, error) {
	doc, err := encode(l)
	var asOf time.Time
	if n := len(l.Counts); n > 0 {
		asOf = l.Counts[n-1].AsOf
	}
	return []any{l.Stocktake, int64(l.N), string(l.SKU), string(l.Location), string(l.Connection), string(l.State), nanos(l.DueAt), nanos(l.DecidedAt), nanos(asOf), doc}, err
}

func (r row) stocktakeLine() (*stocksync.StocktakeLine, error) {
	l, err := decode[*stocksync.StocktakeLine](r.text(9))
	if err != nil {
		return nil, fmt.Errorf("line %d of stocktake %d: %w", r.number(1), r.number(0), err)
	}
	l.Stocktake, l.N, l.LevelKey, l.Connection = r.number(0), int(r.number(1)), r.levelKey(2), stock.ConnectionID(r.text(4))
	l.State, l.DueAt = stocksync.StocktakeState(r.text(5)), r.time(6)
	return l, nil
}

func (t *txn) saveCountLines(lines []*stocksync.StocktakeLine) error {
	rows := make([][]any, len(lines))
	for i, l := range lines {
		var err error
		if rows[i], err = stocktakeLineRow(l); err != nil {
			return err
		}
	}
	_, err := t.exec(saveStocktakeLines, rows)
	return err
}

// Corrections are lines whose differences were approved.
func (t ledgerTx) Corrections(skus []stock.SKU, keys []stocksync.LineKey) ([]*stocksync.StocktakeLine, error) {
	found := make(map[stocksync.LineKey]*stocksync.StocktakeLine)
	collect := func(r row) error {
		l, err := r.stocktakeLine()
		if err == nil && (l.State == stocksync.LineApproved || l.State == stocksync.LineBooked) {
			found[stocksync.LineKey{Stocktake: l.Stocktake, N: l.N}] = l
		}
		return err
	}
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = []any{k.Stocktake, int64(k.N)}
	}
	if err := t.query(findStocktakeLines, rows, collect); err != nil {
		return nil, during("load lines of stocktakes", err)
	}
	var some bool // for nearly every batch there is none
	if err := t.g.Raw("SELECT EXISTS (SELECT 1 FROM stocktake_lines WHERE state = 'approved')").Scan(&some).Error; err != nil {
		return nil, during("look for differences of stocktakes", err)
	}
	if some {
		if err := t.query(findCorrections, skuRows(skus), collect); err != nil {
			return nil, during("load differences of stocktakes", err)
		}
	}
	lines := make([]*stocksync.StocktakeLine, 0, len(found))
	for _, key := range order(found, compareLines) {
		lines = append(lines, found[key])
	}
	return lines, nil
}

func compareLines(a, b stocksync.LineKey) int {
	if a.Stocktake != b.Stocktake {
		return int(max(-1, min(1, a.Stocktake-b.Stocktake)))
	}
	return a.N - b.N
}

// MakeStocktake stores a list and claims its occurrence.
func (s *Store) MakeStocktake(ctx context.Context, list stocksync.Stocktake, job string, acts ...stocksync.AuditEntry) (id int64, err error) {
	err = s.act(ctx, "store a stocktake", nil, func(t *txn) error {
		if len(acts) > 0 {
			if err := t.serializeAudit(); err != nil {
				return err
			}
		}
		if job != "" {
			claimed := t.g.Exec("INSERT INTO occurrences (job, occurrence, claimed_at) VALUES (?, ?, ?) ON CONFLICT (job, occurrence) DO NOTHING", job, nanos(list.Occurrence), nanos(list.MadeAt))
			if claimed.Error != nil || claimed.RowsAffected == 0 {
				return claimed.Error
			}
		}
		if len(list.Lines) == 0 {
			return nil
		}
		rule, err := encode(list.Rule)
		if err != nil {
			return err
		}
		err = t.g.Raw("INSERT INTO stocktakes (plan, occurrence, rule, made_at, made_by, closed_at) VALUES (?, ?, ?, ?, ?, 0) RETURNING id",
			cleanText(list.Plan), nanos(list.Occurrence), rule, nanos(list.MadeAt), cleanText(list.MadeBy)).Scan(&id).Error
		if err != nil {
			return err
		}
		for _, l := range list.Lines {
			l.Stocktake = id
		}
		if err := t.saveCountLines(list.Lines); err != nil {
			return err
		}
		for _, a := range acts {
			a.Subject = fmt.Sprintf("%s %d", a.Subject, id)
			if err := t.addAudit(a); err != nil {
				return err
			}
		}
		return nil
	})
	return id, err
}

const stocktakeColumns = "id, plan, occurrence, rule, made_at, made_by, closed_at"

func (r row) stocktake() (s stocksync.Stocktake, err error) {
	s = stocksync.Stocktake{ID: r.number(0), Plan: r.text(1), Occurrence: r.time(2), MadeAt: r.time(4), MadeBy: r.text(5), ClosedAt: r.time(6)}
	s.Rule, err = decode[stocksync.StocktakeRule](r.text(3))
	return s, err
}

// stocktake loads one with its lines.
func (t *txn) stocktake(id int64) (*stocksync.Stocktake, error) {
	var found *stocksync.Stocktake
	query := "SELECT " + stocktakeColumns + " FROM stocktakes WHERE id = ?"
	if t.writes && t.dialect == postgres {
		query += " FOR UPDATE"
	}
	err := t.rows(func(r row) error {
		s, err := r.stocktake()
		found = &s
		return err
	}, query, id)
	if err == nil && found == nil {
		err = stocksync.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	err = t.rows(func(r row) error {
		l, err := r.stocktakeLine()
		if err == nil {
			found.Lines = append(found.Lines, l)
		}
		return err
	}, "SELECT "+stocktakeLineColumns+" FROM stocktake_lines WHERE stocktake = ? ORDER BY n", id)
	return found, err
}

// ChangeStocktake changes a stocktake while nothing is applied.
func (s *Store) ChangeStocktake(ctx context.Context, id int64, fn func(tx stocksync.StocktakeTx, s *stocksync.Stocktake) (stocksync.StocktakeChange, error)) error {
	return s.change(ctx, "change a stocktake", func(t *txn) error {
		// Before any other lock, as wherever something is added to the audit trail.
		if err := t.serializeAudit(); err != nil {
			return err
		}
		if t.dialect == postgres {
			if err := t.g.Exec("SELECT pg_advisory_xact_lock(?)", int64(applyLock)).Error; err != nil {
				return err
			}
		}
		list, err := t.stocktake(id)
		if err != nil {
			return err
		}
		c, err := fn(stocktakeTx{t}, list)
		if err != nil {
			return err
		}
		if _, err := t.putEvents(c.Events); err != nil {
			return err
		}
		if err := t.saveCountLines(c.Lines); err != nil {
			return err
		}
		if !c.ClosedAt.IsZero() {
			if err := t.g.Exec("UPDATE stocktakes SET closed_at = ? WHERE id = ?", nanos(c.ClosedAt), id).Error; err != nil {
				return err
			}
		}
		for _, a := range c.Acts {
			if err := t.addAudit(a); err != nil {
				return err
			}
		}
		return nil
	})
}

// ViewStocktake looks at a stocktake and one state of the ledger.
func (s *Store) ViewStocktake(ctx context.Context, id int64, fn func(tx stocksync.StocktakeTx, s *stocksync.Stocktake) error) error {
	return s.look(ctx, "look at a stocktake", func(t *txn) error {
		list, err := t.stocktake(id)
		if err != nil {
			return err
		}
		return fn(stocktakeTx{t}, list)
	})
}

// stocktakeTx is the transaction of a stocktake.
type stocktakeTx struct{ *txn }

// clockSkew is by how much the clock of a source may be ahead, so that a movement was recorded before it happened.
const clockSkew = 24 * time.Hour

// LevelHistory loads what is known of a level since an instant.
func (t stocktakeTx) LevelHistory(key stocksync.LevelKey, since time.Time, except int64) (h stocksync.LevelHistory, err error) {
	sku, location := string(key.SKU), string(key.Location)
	steps := []struct {
		each  func(r row) error
		query string
		args  []any
	}{
		{func(r row) error { h.Tracked = r.quantity(0); return nil },
			"SELECT available + reserved + committed + unavailable FROM levels WHERE sku = ? AND location = ?", []any{sku, location}},
		{func(r row) error { h.Posted = r.quantity(0); return nil },
			fmt.Sprintf(`SELECT CAST(coalesce(sum(CASE WHEN from_state < %[1]d AND to_state >= %[1]d THEN quantity WHEN from_state >= %[1]d AND to_state < %[1]d THEN -quantity ELSE 0 END), 0) AS bigint)
				FROM postings WHERE sku = ? AND location = ? AND at > ?`, stock.Available), []any{sku, location, nanos(since)}},
		{func(r row) error {
			h.Movements = append(h.Movements, stocksync.HeldMovement{Connection: stock.ConnectionID(r.text(0)), Key: r.text(1), LevelKey: key, Delta: r.quantity(2),
				Position: r.position(3), Covered: r.flag(6), At: r.time(7)})
			return nil
		}, `SELECT connection, key, delta, sequence, source_at, seen_at, covered, at FROM movements
			WHERE sku = ? AND location = ? AND at > ? ORDER BY at, connection, key`, []any{sku, location, nanos(since.Add(-clockSkew))}},
		{func(r row) error {
			at := r.time(0)
			for _, other := range []time.Time{r.time(1), r.time(2)} {
				if at.IsZero() {
					at = other
				}
			}
			if at.After(h.StatedAt) {
				h.StatedAt = at
			}
			return nil
		}, "SELECT source_at, seen_at, at FROM statements WHERE sku = ? AND location = ?", []any{sku, location}},
		{func(r row) error { h.CorrectedAt = r.time(0); return nil },
			"SELECT coalesce(max(decided_at), 0) FROM stocktake_lines WHERE sku = ? AND location = ? AND state IN ('approved', 'booked') AND stocktake <> ?", []any{sku, location, except}},
	}
	for _, s := range steps {
		if err := t.rows(s.each, s.query, s.args...); err != nil {
			return h, during("load the history of a level", err)
		}
	}
	return h, nil
}

// ListStocktakes lists stocktakes without their lines.
func (s *Store) ListStocktakes(ctx context.Context, open bool, before int64, limit int) (lists []stocksync.Stocktake, states []map[stocksync.StocktakeState]int, err error) {
	err = s.look(ctx, "list stocktakes", func(t *txn) error {
		query, args := "SELECT "+stocktakeColumns+" FROM stocktakes", []any{}
		var terms []string
		if open {
			terms = append(terms, "closed_at = 0")
		}
		if before > 0 {
			terms, args = append(terms, "id < ?"), append(args, before)
		}
		if len(terms) > 0 {
			query += " WHERE " + strings.Join(terms, " AND ")
		}
		err := t.rows(func(r row) error {
			s, err := r.stocktake()
			lists = append(lists, s)
			return err
		}, query+" ORDER BY id DESC LIMIT ?", append(args, limit)...)
		if err != nil {
			return err
		}
		for _, l := range lists {
			n := make(map[stocksync.StocktakeState]int)
			err := t.rows(func(r row) error {
				n[stocksync.StocktakeState(r.text(0))] = int(r.number(1))
				return nil
			}, "SELECT state, count(*) FROM stocktake_lines WHERE stocktake = ? GROUP BY state", l.ID)
			if err != nil {
				return err
			}
			states = append(states, n)
		}
		return nil
	})
	return lists, states, err
}

// StatedLevels pages through what systems of record have stated.
func (s *Store) StatedLevels(ctx context.Context, after stocksync.CountedLevel, limit int) (found []stocksync.CountedLevel, err error) {
	err = s.rows(ctx, func(r row) error {
		found = append(found, stocksync.CountedLevel{LevelKey: r.levelKey(0), Connection: stock.ConnectionID(r.text(2))})
		return nil
	}, "SELECT sku, location, connection FROM statements WHERE (sku, location, connection) > (?, ?, ?) ORDER BY sku, location, connection LIMIT ?",
		string(after.SKU), string(after.Location), string(after.Connection), limit)
	return found, during("list what is stated", err)
}

// ListedAt is when the lists of a plan last had each level.
func (s *Store) ListedAt(ctx context.Context, plan string) (map[stocksync.LevelKey]time.Time, error) {
	found := make(map[stocksync.LevelKey]time.Time)
	err := s.rows(ctx, func(r row) error {
		found[r.levelKey(0)] = r.time(2)
		return nil
	}, `SELECT stocktake_lines.sku, stocktake_lines.location, max(stocktakes.occurrence) FROM stocktakes
		JOIN stocktake_lines ON stocktake_lines.stocktake = stocktakes.id WHERE stocktakes.plan = ? GROUP BY stocktake_lines.sku, stocktake_lines.location`, plan)
	return found, during("look up what was counted", err)
}

// DueCorrections are the differences to be sent.
func (s *Store) DueCorrections(ctx context.Context, connection stock.ConnectionID, now time.Time, limit int) ([]*stocksync.StocktakeLine, error) {
	return s.stocktakeLines(ctx, "WHERE connection = ? AND due_at > 0 AND due_at <= ? ORDER BY due_at, stocktake, n LIMIT ?", string(connection), nanos(now), limit)
}

func (s *Store) stocktakeLines(ctx context.Context, where string, args ...any) (lines []*stocksync.StocktakeLine, err error) {
	err = s.rows(ctx, func(r row) error {
		l, err := r.stocktakeLine()
		lines = append(lines, l)
		return err
	}, "SELECT "+stocktakeLineColumns+" FROM stocktake_lines "+where, args...)
	return lines, during("list lines of stocktakes", err)
}

// DecidedLines hands over the lines that were counted in a span and are decided.
func (s *Store) DecidedLines(ctx context.Context, from, to time.Time, each func(*stocksync.StocktakeLine) error) error {
	lines, err := s.stocktakeLines(ctx, `WHERE as_of >= ? AND as_of < ? AND state IN ('exact', 'approved', 'booked') ORDER BY sku, location, stocktake, n`, nanos(from), nanos(to))
	if err != nil {
		return err
	}
	for _, l := range lines {
		if err := each(l); err != nil {
			return err
		}
	}
	return nil
}
