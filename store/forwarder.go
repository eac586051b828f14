package store

import (
	"context"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// forward is a row of the table forwards. Sent and Told are JSON, empty while there are none.
type forward struct {
	Channel    string `gorm:"primaryKey"`
	OrderID    string `gorm:"primaryKey"`
	Connection string
	Want, Done int64
	Sent       string
	Number     string
	Told       string
	Amended    int64
	Refused    bool
	Attempts   int
	DueAt      int64
	Error      string
}

func (forward) TableName() string { return "forwards" }

func (f forward) key() stocksync.OrderKey {
	return stocksync.OrderKey{Channel: stock.ConnectionID(f.Channel), OrderID: f.OrderID}
}

func (f forward) forward() (stocksync.Forward, error) {
	sent, err := decode[[]connectors.OrderLine](f.Sent)
	if err != nil {
		return stocksync.Forward{}, err
	}
	told, err := decode[map[string]stock.Quantity](f.Told)
	return stocksync.Forward{
		OrderKey: f.key(), Connection: stock.ConnectionID(f.Connection), Want: f.Want, Done: f.Done, Sent: sent, Number: f.Number, Told: told,
		Amended: f.Amended, Refused: f.Refused, Attempts: f.Attempts, DueAt: instant(f.DueAt), Error: f.Error,
	}, err
}

// forwardOfOrder selects, beside an order's document, what row.order needs of its forward.
const forwardOfOrder = `forwards.sent, forwards.told, forwards.number, forwards.refused FROM orders
	LEFT JOIN forwards ON forwards.channel = orders.channel AND forwards.order_id = orders.order_id{,}`

// order reads a document and, in the columns after it, what its system of record acknowledged.
func (r row) order(i int) (*stocksync.Order, error) {
	o, err := decode[*stocksync.Order](r.text(i))
	if err != nil || r.text(i+1) == "" {
		return o, err
	}
	f, err := forward{Sent: r.text(i + 1), Told: r.text(i + 2), Number: r.text(i + 3), Refused: r.flag(i + 4)}.forward()
	o.Acknowledged = f.Acknowledged()
	return o, err
}

// DueForwards lists forwards that are due, the longest due first, each with its order at the same index.
func (s *Store) DueForwards(ctx context.Context, connection stock.ConnectionID, now time.Time, limit int) (forwards []stocksync.Forward, orders []*stocksync.Order, err error) {
	err = s.look(ctx, "list due forwards", func(t *txn) error {
		var rows []forward
		err := t.g.Where("connection = ? AND due_at <= ? AND want > done", string(connection), nanos(now)).
			Order("due_at, channel, order_id").Limit(limit).Find(&rows).Error
		if err != nil {
			return err
		}
		keys := make([]stocksync.OrderKey, len(rows))
		for i, r := range rows {
			keys[i] = r.key()
		}
		found, err := t.Orders(keys)
		if err != nil {
			return err
		}
		for i, r := range rows {
			o := found[keys[i]]
			if o == nil {
				continue // there is nothing to tell of an order without a document
			}
			f, err := r.forward()
			if err != nil {
				return err
			}
			forwards, orders = append(forwards, f), append(orders, o)
		}
		return nil
	})
	return forwards, orders, err
}

// FixForward stores what is going to be sent.
func (s *Store) FixForward(ctx context.Context, f stocksync.Forward) (newest bool, err error) {
	sent, err := encode(f.Sent)
	if err != nil {
		return false, err
	}
	fixed := s.write.WithContext(ctx).Exec("UPDATE forwards SET sent = ? WHERE channel = ? AND order_id = ? AND want = ?", sent, string(f.Channel), f.OrderID, f.Want)
	return fixed.RowsAffected == 1, during("fix the content of order "+f.OrderID, fixed.Error)
}

// SaveForward stores a forward. When Want has grown since it was loaded, the instant at which that happened stays its
// due time.
func (s *Store) SaveForward(ctx context.Context, f stocksync.Forward, incidents []stocksync.Incident, events ...stocksync.NewEvent) error {
	var sent, told string
	var err error
	if len(f.Sent) > 0 {
		if sent, err = encode(f.Sent); err != nil {
			return err
		}
	}
	if len(f.Told) > 0 {
		if told, err = encode(f.Told); err != nil {
			return err
		}
	}
	return s.change(ctx, "save the forward of order "+f.OrderID, func(t *txn) error {
		result := t.g.Exec(`UPDATE forwards SET connection = ?, done = ?, sent = ?, number = ?, told = ?, amended = ?, refused = ?,
			attempts = ?, error = ?, due_at = CASE WHEN want > ? THEN due_at ELSE ? END WHERE channel = ? AND order_id = ?`,
			string(f.Connection), f.Done, sent, cleanText(f.Number), told, f.Amended, f.Refused, f.Attempts, cleanText(f.Error),
			f.Want, nanos(f.DueAt), string(f.Channel), f.OrderID)
		if result.Error != nil {
			return result.Error
		}
		if result.RowsAffected == 0 {
			return stocksync.ErrNotFound
		}
		if _, err := t.putEvents(events); err != nil {
			return err
		}
		return t.openIncidents(incidents)
	})
}

// notice is a row of the table notices. Lines are JSON.
type notice struct {
	Channel  string `gorm:"primaryKey"`
	Key      string `gorm:"primaryKey"`
	OrderID  string
	Lines    string
	Carrier  string
	Tracking string
	DueAt    int64
	Attempts int
	Done     bool
	Error    string
}

func (notice) TableName() string { return "notices" }

var addNotices = bulk(2, join(texts("channel", "key", "order_id", "lines", "carrier", "tracking"), numbers("due_at", "attempts"), flags("done"), texts("error")),
	`INSERT INTO notices (channel, key, order_id, lines, carrier, tracking, due_at, attempts, done, error)
	{VALUES v.channel, v.key, v.order_id, v.lines, v.carrier, v.tracking, v.due_at, v.attempts, v.done, v.error}
	ON CONFLICT (channel, key) DO NOTHING`)

func (t ledgerTx) saveNotices(c stocksync.Changes) error {
	rows := make([][]any, len(c.Notices))
	for i, n := range c.Notices {
		lines, err := encode(n.Lines)
		if err != nil {
			return err
		}
		rows[i] = []any{string(n.Channel), n.Key, n.OrderID, lines, n.Carrier, n.Tracking, nanos(n.DueAt), int64(n.Attempts), n.Done, n.Error}
	}
	_, err := t.exec(addNotices, rows)
	return err
}

// DueNotices lists notices that are due, the longest due first.
func (s *Store) DueNotices(ctx context.Context, channel stock.ConnectionID, now time.Time, limit int) ([]stocksync.Notice, error) {
	var rows []notice
	err := s.read.WithContext(ctx).Where("channel = ? AND due_at <= ? AND NOT done", string(channel), nanos(now)).
		Order("due_at, key").Limit(limit).Find(&rows).Error
	if err != nil {
		return nil, during("list due notices", err)
	}
	notices := make([]stocksync.Notice, len(rows))
	for i, r := range rows {
		lines, err := decode[[]connectors.ShippedPacks](r.Lines)
		if err != nil {
			return nil, during("list due notices", err)
		}
		notices[i] = stocksync.Notice{
			Channel: stock.ConnectionID(r.Channel), DueAt: instant(r.DueAt), Attempts: r.Attempts, Done: r.Done, Error: r.Error,
			ShipmentNotice: connectors.ShipmentNotice{Key: r.Key, OrderID: r.OrderID, Lines: lines, Carrier: r.Carrier, Tracking: r.Tracking},
		}
	}
	return notices, nil
}

// OldCommitments finds orders by their commitments.
func (s *Store) OldCommitments(ctx context.Context, connection stock.ConnectionID, before time.Time, after stocksync.OrderKey, limit int,
	fn func([]*stocksync.Order) []stocksync.Incident) (n int, last stocksync.OrderKey, err error) {
	err = s.change(ctx, "look for old commitments", func(t *txn) error {
		if t.dialect == postgres {
			if err := t.g.Exec("SELECT pg_advisory_xact_lock(?)", int64(applyLock)).Error; err != nil {
				return err
			}
		}
		orders, err := t.oldOrders(connection, "commitments.quantity > 0", before, after, limit)
		if err != nil || len(orders) == 0 {
			return err
		}
		n, last = len(orders), orders[len(orders)-1].Key()
		return t.openIncidents(fn(orders))
	})
	return n, last, err
}

// UnfinishedOrders finds orders by their commitments, which stand until the channel counts nothing as open either.
func (s *Store) UnfinishedOrders(ctx context.Context, connection stock.ConnectionID, before time.Time, after stocksync.OrderKey, limit int) (orders []*stocksync.Order, err error) {
	err = s.look(ctx, "look for unfinished orders", func(t *txn) error {
		orders, err = t.oldOrders(connection, "(commitments.quantity > 0 OR commitments.channel_open > 0)", before, after, limit)
		return err
	})
	return orders, err
}

// oldOrders lists orders that a system of record has, by a condition on their commitments. Every commitment has an order.
func (t *txn) oldOrders(connection stock.ConnectionID, condition string, before time.Time, after stocksync.OrderKey, limit int) ([]*stocksync.Order, error) {
	var keys []stocksync.OrderKey
	err := t.rows(func(r row) error {
		keys = append(keys, stocksync.OrderKey{Channel: stock.ConnectionID(strings.Clone(r.text(0))), OrderID: strings.Clone(r.text(1))})
		return nil
	}, `SELECT DISTINCT commitments.channel, commitments.order_id FROM commitments
		JOIN forwards ON forwards.channel = commitments.channel AND forwards.order_id = commitments.order_id
		WHERE forwards.connection = ? AND forwards.number <> '' AND `+condition+` AND commitments.accepted_at <= ?
		AND (commitments.channel > ? OR commitments.channel = ? AND commitments.order_id > ?)
		ORDER BY commitments.channel, commitments.order_id LIMIT ?`,
		string(connection), nanos(before), string(after.Channel), string(after.Channel), after.OrderID, limit)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	found, err := t.Orders(keys)
	if err != nil {
		return nil, err
	}
	orders := make([]*stocksync.Order, 0, len(keys))
	for _, k := range keys {
		if o := found[k]; o != nil {
			orders = append(orders, o)
		}
	}
	return orders, nil
}

// SaveNotice stores how far a notice has come; what it says never changes.
func (s *Store) SaveNotice(ctx context.Context, n stocksync.Notice, incidents []stocksync.Incident) error {
	return s.change(ctx, "save notice "+n.Key, func(t *txn) error {
		result := t.g.Exec("UPDATE notices SET due_at = ?, attempts = ?, done = ?, error = ? WHERE channel = ? AND key = ?",
			nanos(n.DueAt), n.Attempts, n.Done, cleanText(n.Error), string(n.Channel), n.Key)
		if result.Error != nil {
			return result.Error
		}
		if result.RowsAffected == 0 {
			return stocksync.ErrNotFound
		}
		return t.openIncidents(incidents)
	})
}
