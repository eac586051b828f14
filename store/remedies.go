package store

import (
	"context"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	remediesTable = table{"remedies", join(numbers("incident"), texts("channel", "order_id", "line_id")), join(texts("sku"), numbers("units", "packs", "cancelled_to", "choice"),
		texts("kind", "substitute"), numbers("ready_at", "compensation"), texts("message", "state"), flags("by_hand"), texts("error"), numbers("attempts"), texts("chosen_by", "finished_by"),
		numbers("chosen_at", "sent_at", "ended_at", "due_at"))}

	saveRemedies     = remediesTable.upsert()
	findRemedies     = remediesTable.find(texts("sku"), "")
	selectRemedies   = "SELECT " + list("", join(remediesTable.key, remediesTable.rest)) + " FROM remedies "
	findIncidentsNow = bulk(2, texts("kind", "subject"), `SELECT incidents.subject, incidents.id FROM incidents{,}
		WHERE incidents.kind = v.kind AND incidents.subject = v.subject AND incidents.closed_at = 0`)
	findIncidentsThen = bulk(2, join(texts("kind", "subject"), numbers("at")), `SELECT incidents.subject, incidents.id FROM incidents{,}
		WHERE incidents.kind = v.kind AND incidents.subject = v.subject AND incidents.opened_at <= v.at AND (incidents.closed_at = 0 OR incidents.closed_at > v.at)`)
	claimRemedy = `UPDATE remedies SET due_at = ?, attempts = attempts + CASE WHEN state = 'chosen' THEN 1 ELSE 0 END
		WHERE incident = ? AND channel = ? AND order_id = ? AND line_id = ?`
)

func (r row) remedy() stocksync.Remedy {
	return stocksync.Remedy{
		Incident: r.number(0), OrderKey: stocksync.OrderKey{Channel: stock.ConnectionID(r.text(1)), OrderID: r.text(2)}, LineID: r.text(3), SKU: stock.SKU(r.text(4)),
		Units: r.quantity(5), Packs: r.quantity(6), CancelledTo: r.quantity(7), Choice: r.number(8), Kind: stock.RemedyKind(r.text(9)), Substitute: stock.SKU(r.text(10)),
		ReadyAt: r.time(11), Compensation: r.number(12), Message: r.text(13), State: stocksync.RemedyState(r.text(14)), ByHand: r.flag(15), Error: r.text(16),
		Attempts: int(r.number(17)), By: r.text(18), FinishedBy: r.text(19), ChosenAt: r.time(20), SentAt: r.time(21), EndedAt: r.time(22), DueAt: r.time(23),
	}
}

func (t ledgerTx) saveRemedies(c stocksync.Changes) error {
	rows := make([][]any, len(c.Remedies))
	for i, r := range c.Remedies {
		rows[i] = []any{r.Incident, string(r.Channel), r.OrderID, r.LineID, string(r.SKU), int64(r.Units), int64(r.Packs), int64(r.CancelledTo), r.Choice, string(r.Kind),
			string(r.Substitute), nanos(r.ReadyAt), r.Compensation, r.Message, string(r.State), r.ByHand, r.Error, int64(r.Attempts), r.By, r.FinishedBy,
			nanos(r.ChosenAt), nanos(r.SentAt), nanos(r.EndedAt), nanos(r.DueAt)}
	}
	_, err := t.exec(saveRemedies, rows)
	return err
}

// Promised loads the open promises of a SKU, the last accepted first.
func (t *txn) Promised(sku stock.SKU, limit int) ([]stocksync.Commitment, error) {
	query := `SELECT sku, channel, order_id, line_id, location, quantity, item, place, channel_open, accepted_at FROM commitments
		WHERE sku = ? AND quantity > 0 ORDER BY accepted_at DESC, channel DESC, order_id DESC, line_id DESC`
	args := []any{string(sku)}
	if limit > 0 {
		query, args = query+" LIMIT ?", append(args, limit)
	}
	var found []stocksync.Commitment
	err := t.rows(func(r row) error {
		found = append(found, stocksync.Commitment{SKU: stock.SKU(r.text(0)), OrderKey: stocksync.OrderKey{Channel: stock.ConnectionID(r.text(1)), OrderID: r.text(2)}, LineID: r.text(3),
			Location: stock.LocationID(r.text(4)), Quantity: r.quantity(5), Ref: r.ref(6), ChannelOpen: r.quantity(8), AcceptedAt: r.time(9)})
		return nil
	}, query, args...)
	return found, during("load what is promised of "+string(sku), err)
}

// Remedies loads the remedies for lines of SKUs.
func (t *txn) Remedies(skus []stock.SKU) ([]stocksync.Remedy, error) {
	var found []stocksync.Remedy
	err := t.query(findRemedies, skuRows(skus), func(r row) error {
		found = append(found, r.remedy())
		return nil
	})
	return found, during("load remedies", err)
}

// IncidentsAt are the open incidents of a kind, now or at an instant.
func (t *txn) IncidentsAt(kind string, subjects []string, at time.Time) (map[string]int64, error) {
	found := make(map[string]int64)
	collect := func(r row) error {
		found[r.text(0)] = r.number(1)
		return nil
	}
	if at.IsZero() {
		some := false
		err := t.rows(func(row) error { some = true; return nil }, "SELECT 1 FROM incidents WHERE kind = ? AND closed_at = 0 LIMIT 1", kind)
		if err != nil || !some {
			return found, during("look for open incidents", err)
		}
	}
	rows := make([][]any, len(subjects))
	for i, subject := range subjects {
		rows[i] = []any{kind, subject}
		if !at.IsZero() {
			rows[i] = append(rows[i], nanos(at))
		}
	}
	find := findIncidentsNow
	if !at.IsZero() {
		find = findIncidentsThen
	}
	return found, during("look for open incidents", t.query(find, rows, collect))
}

// RemediesOf lists the remedies of an incident.
func (s *Store) RemediesOf(ctx context.Context, incident int64) ([]stocksync.Remedy, error) {
	var found []stocksync.Remedy
	err := s.rows(ctx, func(r row) error {
		found = append(found, r.remedy())
		return nil
	}, selectRemedies+"WHERE incident = ? ORDER BY channel, order_id, line_id", incident)
	return found, during("list remedies", err)
}

// ClaimRemedies takes remedies that are due.
func (s *Store) ClaimRemedies(ctx context.Context, now, until time.Time, limit int) ([]stocksync.Remedy, error) {
	var some bool
	if err := s.readDB.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM remedies WHERE due_at <> 0)").Scan(&some); err != nil || !some {
		return nil, during("look for remedies", classify(err))
	}
	var claimed []stocksync.Remedy
	err := s.change(ctx, "take remedies that are due", func(t *txn) error {
		claimed = nil
		query := selectRemedies + "WHERE due_at <> 0 AND due_at <= ? ORDER BY due_at, channel, order_id, line_id LIMIT ?"
		if t.dialect == postgres {
			query += " FOR UPDATE SKIP LOCKED"
		}
		err := t.rows(func(r row) error {
			claimed = append(claimed, r.remedy())
			return nil
		}, query, nanos(now), limit)
		if err != nil {
			return err
		}
		for i := range claimed {
			r := &claimed[i]
			r.DueAt = until
			if r.State == stocksync.RemedyChosen {
				r.Attempts++
			}
			if err := t.g.Exec(claimRemedy, nanos(until), r.Incident, string(r.Channel), r.OrderID, r.LineID).Error; err != nil {
				return err
			}
		}
		return nil
	})
	return claimed, err
}
