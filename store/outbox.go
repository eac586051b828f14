package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	stocksync "github.com/truestock/truestock/sync"
)

var (
	messageColumns = join(texts("key", "type", "subject", "title", "text", "data"), numbers("at"))
	// addMessages leaves alone what was told already.
	addMessages = bulk(1, messageColumns, "INSERT INTO messages ("+list("", messageColumns)+") {VALUES "+list("v.", messageColumns)+"} ON CONFLICT (key) DO NOTHING")

	deliveriesTable = table{"deliveries", join(numbers("message"), texts("channel")), join(texts("state"), numbers("batch", "attempts", "due_at", "sent_at"), texts("error"))}
	addDeliveries   = deliveriesTable.add()
	saveDeliveries  = deliveriesTable.upsert()

	markSpread = bulk(1, numbers("id"), "UPDATE messages SET spread = TRUE {FROM} WHERE messages.id = v.id")
)

const selectDeliveries = `SELECT messages.id, messages.key, messages.type, messages.subject, messages.title, messages.text, messages.data, messages.at,
	deliveries.channel, deliveries.state, deliveries.batch, deliveries.attempts, deliveries.due_at, deliveries.sent_at, deliveries.error
	FROM deliveries JOIN messages ON messages.id = deliveries.message `

// message reads the columns of messages from id on.
func (r row) message() stocksync.Message {
	return stocksync.Message{ID: r.number(0), Key: strings.Clone(r.text(1)), Type: strings.Clone(r.text(2)), Subject: strings.Clone(r.text(3)), Title: strings.Clone(r.text(4)),
		Text: strings.Clone(r.text(5)), Data: json.RawMessage(strings.Clone(r.text(6))), At: r.time(7)}
}

func (r row) delivery() stocksync.Delivery {
	return stocksync.Delivery{Message: r.message(), Channel: strings.Clone(r.text(8)), State: stocksync.DeliveryState(strings.Clone(r.text(9))), Batch: r.time(10), Attempts: int(r.number(11)),
		DueAt: r.time(12), SentAt: r.time(13), Error: strings.Clone(r.text(14))}
}

// addMessages stores messages whose key is new.
func (t *txn) addMessages(messages []stocksync.Message) error {
	rows := make([][]any, len(messages))
	for i, m := range messages {
		rows[i] = []any{m.Key, m.Type, m.Subject, m.Title, m.Text, string(m.Data), nanos(m.At)}
	}
	_, err := t.exec(addMessages, rows)
	return during("store messages", err)
}

// SpreadMessages hands new messages to fn. Several servers may do so at once: each gets others.
func (s *Store) SpreadMessages(ctx context.Context, limit int, fn func(tx stocksync.Settled, messages []stocksync.Message) ([]stocksync.Delivery, error)) (int, error) {
	var some bool
	if err := s.readDB.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM messages WHERE NOT spread)").Scan(&some); err != nil || !some {
		return 0, during("look for new messages", err)
	}
	n := 0
	err := s.change(ctx, "spread messages", func(t *txn) error {
		var messages []stocksync.Message
		err := t.rows(func(r row) error {
			messages = append(messages, r.message())
			return nil
		}, "SELECT id, key, type, subject, title, text, data, at FROM messages WHERE NOT spread ORDER BY id LIMIT ?"+t.skipLocked(), limit)
		if err != nil || len(messages) == 0 {
			return err
		}
		deliveries, err := fn(planTx{t, nil}, messages)
		if err != nil {
			return err
		}
		n = len(messages)
		done := make([][]any, n)
		for i, m := range messages {
			done[i] = []any{m.ID}
		}
		if _, err := t.exec(markSpread, done); err != nil {
			return err
		}
		_, err = t.exec(addDeliveries, deliveryRows(deliveries))
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// skipLocked lets a transaction on PostgreSQL take rows that no other one has; SQLite has one writer.
func (t *txn) skipLocked() string {
	if t.dialect == postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

func deliveryRows(deliveries []stocksync.Delivery) [][]any {
	rows := make([][]any, len(deliveries))
	for i, d := range deliveries {
		rows[i] = []any{d.ID, d.Channel, string(d.State), nanos(d.Batch), int64(d.Attempts), nanos(d.DueAt), nanos(d.SentAt), d.Error}
	}
	return rows
}

// ClaimDeliveries takes what is due.
func (s *Store) ClaimDeliveries(ctx context.Context, now, until time.Time, limit int) (claimed [][]stocksync.Delivery, next time.Time, err error) {
	look := func() error {
		return s.rows(ctx, func(r row) error {
			next = r.time(0)
			return nil
		}, "SELECT coalesce(min(due_at), 0) FROM deliveries WHERE state = 'due'")
	}
	if err := look(); err != nil || next.IsZero() || next.After(now) {
		return nil, next, during("look for deliveries", err)
	}
	err = s.change(ctx, "take deliveries", func(t *txn) error {
		claimed = nil
		// Who takes only the rows that nobody else is taking would part a batch in two.
		if t.dialect == postgres {
			if err := t.g.Exec("SELECT pg_advisory_xact_lock(?)", int64(outboxLock)).Error; err != nil {
				return err
			}
		}
		var channels []string
		err := t.rows(func(r row) error {
			channels = append(channels, strings.Clone(r.text(0)))
			return nil
		}, "SELECT DISTINCT channel FROM deliveries WHERE state = 'due' AND due_at <= ? ORDER BY channel", nanos(now))
		if err != nil {
			return err
		}
		for _, channel := range channels {
			together, err := t.firstDue(channel, now, limit)
			if err != nil {
				return err
			}
			if len(together) == 0 {
				continue
			}
			rows := deliveryRows(together)
			for _, r := range rows {
				r[5] = nanos(until)
			}
			if _, err := t.exec(saveDeliveries, rows); err != nil {
				return err
			}
			claimed = append(claimed, together)
		}
		return nil
	})
	if err == nil {
		err = look()
	}
	return claimed, next, err
}

// firstDue takes the delivery of a channel that is longest due, with the rest of its batch.
func (t *txn) firstDue(channel string, now time.Time, limit int) (together []stocksync.Delivery, err error) {
	collect := func(r row) error {
		together = append(together, r.delivery())
		return nil
	}
	lock := ""
	if t.dialect == postgres {
		lock = " FOR UPDATE OF deliveries"
	}
	err = t.rows(collect, selectDeliveries+"WHERE deliveries.channel = ? AND deliveries.state = 'due' AND deliveries.due_at <= ? ORDER BY deliveries.due_at, deliveries.message LIMIT 1"+lock, channel, nanos(now))
	if err != nil || len(together) == 0 || together[0].Batch.IsZero() {
		return together, err
	}
	batch := together[0].Batch
	together = nil
	err = t.rows(collect, selectDeliveries+"WHERE deliveries.channel = ? AND deliveries.state = 'due' AND deliveries.due_at <= ? AND deliveries.batch = ? ORDER BY deliveries.message LIMIT ?"+lock,
		channel, nanos(now), nanos(batch), limit)
	return together, err
}

// SaveDeliveries stores what became of deliveries.
func (s *Store) SaveDeliveries(ctx context.Context, deliveries []stocksync.Delivery, opened, closed []stocksync.Incident, at time.Time) error {
	return s.change(ctx, "save deliveries", func(t *txn) error {
		if _, err := t.exec(saveDeliveries, deliveryRows(deliveries)); err != nil {
			return err
		}
		if err := t.openIncidents(opened); err != nil {
			return err
		}
		return t.closeIncidents(closed, at)
	})
}

// ListDeliveries lists deliveries, the newest message first and then by channel.
func (s *Store) ListDeliveries(ctx context.Context, q stocksync.NoticeQuery) ([]stocksync.Delivery, error) {
	where, args := "WHERE 1 = 1", []any{}
	and := func(condition string, values ...any) {
		where += " AND " + condition
		args = append(args, values...)
	}
	if q.Channel != "" {
		and("deliveries.channel = ?", cleanText(q.Channel))
	}
	if q.State != "" {
		and("deliveries.state = ?", string(q.State))
	}
	if q.Before > 0 {
		and("(deliveries.message < ? OR deliveries.message = ? AND deliveries.channel > ?)", q.Before, q.Before, cleanText(q.After))
	}
	var found []stocksync.Delivery
	err := s.rows(ctx, func(r row) error {
		found = append(found, r.delivery())
		return nil
	}, selectDeliveries+where+" ORDER BY deliveries.message DESC, deliveries.channel LIMIT ?", append(args, q.Limit)...)
	return found, during("list deliveries", err)
}

// RetryDeliveries makes what was given up due again.
func (s *Store) RetryDeliveries(ctx context.Context, channel string, at time.Time, acts ...stocksync.AuditEntry) (int, error) {
	n := 0
	err := s.act(ctx, "try deliveries to "+channel+" again", acts, func(t *txn) error {
		result := t.g.Exec("UPDATE deliveries SET state = 'due', due_at = ?, attempts = 0 WHERE channel = ? AND state = 'given_up'", nanos(at), cleanText(channel))
		n = int(result.RowsAffected)
		return result.Error
	})
	return n, err
}

// DropMessages forgets old messages, as far as nothing of them is due.
func (s *Store) DropMessages(ctx context.Context, before time.Time) error {
	return s.change(ctx, "forget old messages", func(t *txn) error {
		const old = "SELECT id FROM messages WHERE at < ? AND spread AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id AND state = 'due')"
		if err := t.g.Exec("DELETE FROM deliveries WHERE message IN ("+old+")", nanos(before)).Error; err != nil {
			return err
		}
		return t.g.Exec("DELETE FROM messages WHERE id IN ("+old+")", nanos(before)).Error
	})
}
