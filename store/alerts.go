package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

const (
	alertColumns         = "alerts.id, alerts.subject, alerts.low_at, alerts.level, alerts.threshold, alerts.sent, alerts.sent_at, alerts.closed_at, alerts.acknowledged_at, alerts.acknowledged_by"
	replenishmentColumns = `replenishments.id, replenishments.sku, replenishments.raised_at, replenishments.cleared_at, replenishments.change, replenishments.safety, replenishments.threshold,
		replenishments.point, replenishments.total, replenishments.on_order, replenishments.missing`
)

var (
	findOpenAlerts = bulk(1, texts("subject"), "SELECT "+alertColumns+" FROM alerts{,} WHERE alerts.subject = v.subject AND alerts.closed_at = 0")

	newAlertColumns = join(texts("subject"), numbers("low_at", "level", "threshold", "sent", "sent_at", "closed_at"))
	addAlerts       = bulk(1, newAlertColumns, "INSERT INTO alerts ("+list("", newAlertColumns)+") {VALUES "+list("v.", newAlertColumns)+"} RETURNING id, subject")
	changeAlerts    = bulk(1, join(numbers("id", "level", "threshold", "sent", "sent_at", "closed_at")), `UPDATE alerts SET level = v.level, threshold = v.threshold, sent = v.sent,
		sent_at = v.sent_at, closed_at = v.closed_at {FROM} WHERE alerts.id = v.id`)

	findOpenReplenishments = bulk(1, texts("sku"), "SELECT "+replenishmentColumns+" FROM replenishments{,} WHERE replenishments.sku = v.sku AND replenishments.cleared_at = 0")

	newReplenishmentColumns = join(texts("sku"), numbers("raised_at", "cleared_at"), texts("change"), numbers("safety", "threshold", "point", "total", "on_order", "missing"))
	addReplenishments       = bulk(1, newReplenishmentColumns, "INSERT INTO replenishments ("+list("", newReplenishmentColumns)+") {VALUES "+list("v.", newReplenishmentColumns)+"} RETURNING id, sku")
	changeReplenishments    = bulk(1, join(numbers("id", "cleared_at"), texts("change"), numbers("safety", "threshold", "point", "total", "on_order", "missing")),
		`UPDATE replenishments SET cleared_at = v.cleared_at, change = v.change, safety = v.safety, threshold = v.threshold, point = v.point, total = v.total,
		on_order = v.on_order, missing = v.missing {FROM} WHERE replenishments.id = v.id`)

	findMeasures = bulk(1, join(texts("sku"), numbers("at")), `SELECT measures.sku, measures.doc FROM measures{,} WHERE measures.sku = v.sku
		AND measures.at = (SELECT max(m.at) FROM measures AS m WHERE m.sku = v.sku AND m.at <= v.at)`)
	saveMeasures = table{"measures", join(texts("sku"), numbers("at")), texts("doc")}.upsert()
)

func (r row) alert() *stocksync.AlertState {
	return &stocksync.AlertState{ID: r.number(0), Subject: strings.Clone(r.text(1)), LowAt: r.time(2), Level: r.quantity(3), Threshold: r.quantity(4), Sent: int(r.number(5)), SentAt: r.time(6),
		ClosedAt: r.time(7), AcknowledgedAt: r.time(8), AcknowledgedBy: strings.Clone(r.text(9))}
}

func (r row) replenishment() *stocksync.ReplenishmentState {
	return &stocksync.ReplenishmentState{ID: r.number(0), SKU: stock.SKU(strings.Clone(r.text(1))), RaisedAt: r.time(2), ClearedAt: r.time(3), Change: stock.ReplenishmentChange(strings.Clone(r.text(4))),
		Safety: r.quantity(5), Threshold: r.quantity(6), Point: r.quantity(7), Total: r.quantity(8), OnOrder: r.quantity(9), Missing: r.quantity(10)}
}

// OpenAlerts loads crossings that are not over.
func (t planTx) OpenAlerts(subjects []string) (map[string]*stocksync.AlertState, error) {
	found := make(map[string]*stocksync.AlertState)
	rows := make([][]any, len(subjects))
	for i, s := range subjects {
		rows[i] = []any{s}
	}
	err := t.query(findOpenAlerts, rows, func(r row) error {
		a := r.alert()
		found[a.Subject] = a
		return nil
	})
	return found, during("load alerts", err)
}

// SaveAlerts stores crossings.
func (t planTx) SaveAlerts(alerts []*stocksync.AlertState) error {
	var fresh, known [][]any
	bySubject := make(map[string]*stocksync.AlertState)
	for _, a := range alerts {
		if a.ID != 0 {
			known = append(known, []any{a.ID, int64(a.Level), int64(a.Threshold), int64(a.Sent), nanos(a.SentAt), nanos(a.ClosedAt)})
			continue
		}
		a.Subject = cleanText(a.Subject)
		bySubject[a.Subject] = a
		fresh = append(fresh, []any{a.Subject, nanos(a.LowAt), int64(a.Level), int64(a.Threshold), int64(a.Sent), nanos(a.SentAt), nanos(a.ClosedAt)})
	}
	if _, err := t.exec(changeAlerts, known); err != nil {
		return during("save alerts", err)
	}
	err := t.query(addAlerts, fresh, func(r row) error {
		bySubject[r.text(1)].ID = r.number(0)
		return nil
	})
	return during("save alerts", err)
}

// OpenReplenishments loads replenishments that are not cleared.
func (t planTx) OpenReplenishments(skus []stock.SKU) (map[stock.SKU]*stocksync.ReplenishmentState, error) {
	found := make(map[stock.SKU]*stocksync.ReplenishmentState)
	err := t.query(findOpenReplenishments, skuRows(skus), func(r row) error {
		s := r.replenishment()
		found[s.SKU] = s
		return nil
	})
	return found, during("load replenishments", err)
}

// SaveReplenishments stores replenishments.
func (t planTx) SaveReplenishments(states []*stocksync.ReplenishmentState) error {
	var fresh, known [][]any
	bySKU := make(map[string]*stocksync.ReplenishmentState)
	for _, s := range states {
		numbers := []any{int64(s.Safety), int64(s.Threshold), int64(s.Point), int64(s.Total), int64(s.OnOrder), int64(s.Missing)}
		if s.ID != 0 {
			known = append(known, append([]any{s.ID, nanos(s.ClearedAt), string(s.Change)}, numbers...))
			continue
		}
		bySKU[cleanText(string(s.SKU))] = s
		fresh = append(fresh, append([]any{string(s.SKU), nanos(s.RaisedAt), nanos(s.ClearedAt), string(s.Change)}, numbers...))
	}
	if _, err := t.exec(changeReplenishments, known); err != nil {
		return during("save replenishments", err)
	}
	err := t.query(addReplenishments, fresh, func(r row) error {
		bySKU[r.text(1)].ID = r.number(0)
		return nil
	})
	return during("save replenishments", err)
}

// Measures loads the newest measures.
func (t *txn) Measures(skus []stock.SKU, at time.Time) (map[stock.SKU]*stocksync.Measure, error) {
	found := make(map[stock.SKU]*stocksync.Measure)
	rows := make([][]any, len(skus))
	for i, sku := range skus {
		rows[i] = []any{string(sku), nanos(at)}
	}
	err := t.query(findMeasures, rows, func(r row) error {
		m, err := decode[*stocksync.Measure](r.text(1))
		if err == nil {
			found[stock.SKU(strings.Clone(r.text(0)))] = m
		}
		return err
	})
	return found, during("load measures", err)
}

// AddMessages stores messages whose key is new.
func (t planTx) AddMessages(messages []stocksync.Message) error { return t.addMessages(messages) }

// MeasuresAt loads the newest measures until an instant.
func (s *Store) MeasuresAt(ctx context.Context, skus []stock.SKU, at time.Time) (found map[stock.SKU]*stocksync.Measure, err error) {
	err = s.look(ctx, "load measures", func(t *txn) error {
		found, err = t.Measures(skus, at)
		return err
	})
	return found, err
}

// SaveMeasures stores measures.
func (s *Store) SaveMeasures(ctx context.Context, measures []stocksync.Measure) error {
	return s.change(ctx, "save measures", func(t *txn) error {
		rows := make([][]any, len(measures))
		skus := make([]stock.SKU, len(measures))
		for i, m := range measures {
			doc, err := encode(m)
			if err != nil {
				return err
			}
			rows[i], skus[i] = []any{string(m.SKU), nanos(m.At), doc}, m.SKU
		}
		if _, err := t.exec(saveMeasures, rows); err != nil {
			return err
		}
		return t.markDirty(skus, nil)
	})
}

// ShownWithin tells in what time a channel shows changes: of every listing the last one.
func (s *Store) ShownWithin(ctx context.Context, channel stock.ConnectionID, since time.Time, permille int64) (lag time.Duration, n int64, err error) {
	const shown = " FROM listings WHERE connection = ? AND changed_at >= ? AND confirmed_generation = generation AND confirmed_at >= changed_at AND generation > 0"
	args := []any{string(channel), nanos(since)}
	err = s.look(ctx, "measure the lag of "+string(channel), func(t *txn) error {
		if err := t.rows(func(r row) error {
			n = r.number(0)
			return nil
		}, "SELECT count(*)"+shown, args...); err != nil || n == 0 {
			return err
		}
		return t.rows(func(r row) error {
			lag = time.Duration(r.number(0))
			return nil
		}, "SELECT confirmed_at - changed_at"+shown+" ORDER BY confirmed_at - changed_at LIMIT 1 OFFSET ?", append(args, (n*permille+999)/1000-1)...)
	})
	return lag, n, err
}

// ListAlerts lists crossings.
func (s *Store) ListAlerts(ctx context.Context, open bool, after int64, limit int) ([]stocksync.AlertState, error) {
	where := ""
	if open {
		where = " AND closed_at = 0"
	}
	var found []stocksync.AlertState
	err := s.rows(ctx, func(r row) error {
		found = append(found, *r.alert())
		return nil
	}, "SELECT "+alertColumns+" FROM alerts WHERE id > ?"+where+" ORDER BY id LIMIT ?", after, limit)
	return found, during("list alerts", err)
}

// AckAlert notes who has seen a crossing.
func (s *Store) AckAlert(ctx context.Context, id int64, by string, at time.Time, acts ...stocksync.AuditEntry) (a stocksync.AlertState, err error) {
	err = s.act(ctx, fmt.Sprintf("acknowledge alert %d", id), acts, func(t *txn) error {
		found := false
		if err := t.g.Exec("UPDATE alerts SET acknowledged_at = ?, acknowledged_by = ? WHERE id = ? AND closed_at = 0 AND acknowledged_at = 0", nanos(at), cleanText(by), id).Error; err != nil {
			return err
		}
		err := t.rows(func(r row) error {
			a, found = *r.alert(), true
			return nil
		}, "SELECT "+alertColumns+" FROM alerts WHERE id = ? AND closed_at = 0", id)
		if err == nil && !found {
			err = stocksync.ErrNotFound
		}
		return err
	})
	return a, err
}

// ListReplenishments lists urgent replenishments.
func (s *Store) ListReplenishments(ctx context.Context, open bool, after int64, limit int) ([]stocksync.ReplenishmentState, error) {
	where := ""
	if open {
		where = " AND cleared_at = 0"
	}
	var found []stocksync.ReplenishmentState
	err := s.rows(ctx, func(r row) error {
		found = append(found, *r.replenishment())
		return nil
	}, "SELECT "+replenishmentColumns+" FROM replenishments WHERE id > ?"+where+" ORDER BY id LIMIT ?", after, limit)
	return found, during("list replenishments", err)
}
