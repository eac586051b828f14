package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	lineColumns = texts("channel", "order_id", "line_id", "sku")

	findKeyGrants = bulk(4, lineColumns, `SELECT keys.channel, keys.order_id, keys.line_id, keys.sku, keys.unit, keys.id FROM keys{,}
		WHERE keys.channel = v.channel AND keys.order_id = v.order_id AND keys.line_id = v.line_id AND keys.sku = v.sku AND keys.unit > 0 AND keys.revoked_at = 0
		ORDER BY keys.channel, keys.order_id, keys.line_id, keys.sku, keys.unit`)
	assignKeys = bulk(1, join(numbers("id"), texts("channel", "order_id", "line_id"), numbers("unit", "at")),
		`UPDATE keys SET channel = v.channel, order_id = v.order_id, line_id = v.line_id, unit = v.unit, assigned_at = v.at {FROM}
		WHERE keys.id = v.id AND keys.unit = 0 AND keys.revoked_at = 0`)
)

const keyColumns = "id, sku, channel, order_id, line_id, unit, imported_at, assigned_at, revealed_at, revoked_at"

// AddKeys stores keys, all or none.
func (s *Store) AddKeys(ctx context.Context, sku stock.SKU, keys []stocksync.NewKey, events func(count stock.Quantity, sequence int64) ([]stocksync.NewEvent, error), act stocksync.AuditEntry) (known []int, err error) {
	errKnown := errors.New("some keys are stored already")
	if len(keys) == 0 {
		return nil, nil
	}
	err = s.act(ctx, "store keys", []stocksync.AuditEntry{act}, func(t *txn) error {
		known = nil
		other, err := t.keysOfOtherSecrets(keys[0].Secret)
		if err != nil {
			return err
		}
		if other > 0 {
			return fmt.Errorf("%w: %d keys were encrypted with another secret, so nobody could tell whether one is imported twice: put the secret of that time into keys.secret of the configuration", stocksync.ErrInvalid, other)
		}
		for i, k := range keys {
			added := t.g.Exec(`INSERT INTO keys (sku, sealed, secret, digest, channel, order_id, line_id, unit, imported_at, assigned_at, revealed_at, revoked_at)
				VALUES (?, ?, ?, ?, '', '', '', 0, ?, 0, 0, 0) ON CONFLICT (digest) DO NOTHING`, cleanText(string(sku)), k.Sealed, k.Secret, k.Digest, nanos(k.At))
			if added.Error != nil {
				return added.Error
			}
			if added.RowsAffected == 0 {
				known = append(known, i)
			}
		}
		if len(known) > 0 {
			return errKnown
		}
		return t.stateKeys(sku, func(_ stock.SKU, count stock.Quantity, sequence int64) ([]stocksync.NewEvent, error) {
			return events(count, sequence)
		})
	})
	if errors.Is(err, errKnown) {
		return known, nil
	}
	return nil, err
}

// KeysOfOtherSecrets counts the keys that were encrypted with another secret.
func (s *Store) KeysOfOtherSecrets(ctx context.Context, secret []byte) (n int64, err error) {
	err = s.look(ctx, "look for keys of other secrets", func(t *txn) error {
		n, err = t.keysOfOtherSecrets(secret)
		return err
	})
	return n, err
}

func (t *txn) keysOfOtherSecrets(secret []byte) (n int64, err error) {
	err = t.rows(func(r row) error {
		n = r.number(0)
		return nil
	}, "SELECT count(*) FROM keys WHERE secret <> ?", secret)
	return n, err
}

// stateKeys stores the event that says how many keys there are.
func (t *txn) stateKeys(sku stock.SKU, events func(sku stock.SKU, count stock.Quantity, sequence int64) ([]stocksync.NewEvent, error)) error {
	var all, gone int64
	err := t.rows(func(r row) error {
		all, gone = r.number(0), r.number(1)
		return nil
	}, "SELECT count(*), coalesce(sum(CASE WHEN revoked_at <> 0 THEN 1 ELSE 0 END), 0) FROM keys WHERE sku = ?", string(sku))
	if err != nil {
		return err
	}
	stated, err := events(sku, stock.Quantity(all-gone), all+gone)
	if err != nil {
		return err
	}
	_, err = t.putEvents(stated)
	return err
}

// Keys lists keys, without what is sealed.
func (s *Store) Keys(ctx context.Context, sku stock.SKU, after int64, limit int) ([]stocksync.HeldKey, error) {
	var found []stocksync.HeldKey
	err := s.rows(ctx, func(r row) error {
		found = append(found, r.key())
		return nil
	}, "SELECT "+keyColumns+" FROM keys WHERE sku = ? AND id > ? ORDER BY id LIMIT ?", cleanText(string(sku)), after, limit)
	return found, during("list keys", err)
}

func (r row) key() stocksync.HeldKey {
	return stocksync.HeldKey{ID: r.number(0), SKU: stock.SKU(r.text(1)), OrderKey: stocksync.OrderKey{Channel: stock.ConnectionID(r.text(2)), OrderID: r.text(3)},
		LineID: r.text(4), Unit: r.quantity(5), ImportedAt: r.time(6), AssignedAt: r.time(7), RevealedAt: r.time(8), RevokedAt: r.time(9)}
}

func (t *txn) key(id int64) (key stocksync.HeldKey, err error) {
	err = stocksync.ErrNotFound
	query := "SELECT " + keyColumns + " FROM keys WHERE id = ?"
	if t.dialect == postgres {
		query += " FOR UPDATE"
	}
	if bad := t.rows(func(r row) error {
		key, err = r.key(), nil
		return nil
	}, query, id); bad != nil {
		return key, bad
	}
	return key, err
}

// RevealKey gives open what is sealed, once.
func (s *Store) RevealKey(ctx context.Context, id int64, at time.Time, open func(sealed []byte) error, act stocksync.AuditEntry) error {
	return s.act(ctx, "reveal a key", []stocksync.AuditEntry{act}, func(t *txn) error {
		key, err := t.key(id)
		switch {
		case err != nil:
			return err
		case key.Unit == 0:
			return fmt.Errorf("%w: the key is assigned to no order line", stocksync.ErrInvalid)
		case !key.RevokedAt.IsZero():
			return fmt.Errorf("%w: the key is revoked", stocksync.ErrConflict)
		case !key.RevealedAt.IsZero():
			return fmt.Errorf("%w: the key was revealed at %s; the audit trail says to whom", stocksync.ErrConflict, key.RevealedAt.UTC().Format(time.RFC3339))
		}
		err = t.rows(func(r row) error { return open(r.blob(0)) }, "SELECT sealed FROM keys WHERE id = ?", id)
		if err != nil {
			return err
		}
		return t.g.Exec("UPDATE keys SET revealed_at = ? WHERE id = ?", nanos(at), id).Error
	})
}

// RevokeKey takes a key out of use.
func (s *Store) RevokeKey(ctx context.Context, id int64, at time.Time, events func(sku stock.SKU, count stock.Quantity, sequence int64) ([]stocksync.NewEvent, error), act stocksync.AuditEntry) error {
	return s.act(ctx, "revoke a key", []stocksync.AuditEntry{act}, func(t *txn) error {
		key, err := t.key(id)
		switch {
		case err != nil:
			return err
		case !key.RevokedAt.IsZero():
			return fmt.Errorf("%w: the key is revoked already", stocksync.ErrConflict)
		}
		if err := t.g.Exec("UPDATE keys SET revoked_at = ? WHERE id = ?", nanos(at), id).Error; err != nil {
			return err
		}
		return t.stateKeys(key.SKU, events)
	})
}

func lineRows(lines []stocksync.Sale) [][]any {
	rows := make([][]any, len(lines))
	for i, l := range lines {
		rows[i] = []any{string(l.Channel), l.OrderID, l.LineID, string(l.SKU)}
	}
	return rows
}

// KeyGrants are the keys that lines have.
func (t ledgerTx) KeyGrants(lines []stocksync.Sale) ([]stocksync.KeyGrant, error) {
	var found []stocksync.KeyGrant
	err := t.query(findKeyGrants, lineRows(lines), func(r row) error {
		found = append(found, stocksync.KeyGrant{OrderKey: stocksync.OrderKey{Channel: stock.ConnectionID(r.text(0)), OrderID: r.text(1)}, LineID: r.text(2),
			SKU: stock.SKU(r.text(3)), Unit: r.quantity(4), ID: r.number(5)})
		return nil
	})
	return found, during("load assigned keys", err)
}

// FreeKeys are the oldest free keys.
func (t ledgerTx) FreeKeys(sku stock.SKU, limit int) ([]int64, error) {
	var found []int64
	err := t.rows(func(r row) error {
		found = append(found, r.number(0))
		return nil
	}, "SELECT id FROM keys WHERE sku = ? AND unit = 0 AND revoked_at = 0 ORDER BY id LIMIT ?", string(sku), limit)
	return found, during("load free keys", err)
}

// WaitingForKeys are the lines that want more keys than they have, and those of which a key was revoked.
func (t ledgerTx) WaitingForKeys(sku stock.SKU) ([]stocksync.Sale, error) {
	var found []stocksync.Sale
	err := t.rows(func(r row) error {
		found = append(found, stocksync.Sale{OrderKey: stocksync.OrderKey{Channel: stock.ConnectionID(r.text(0)), OrderID: r.text(1)}, LineID: r.text(2),
			SKU: sku, Units: r.quantity(3), At: r.time(4)})
		return nil
	}, `SELECT channel, order_id, line_id, units, placed_at FROM sales WHERE sku = ? AND units > (SELECT count(*) FROM keys
		WHERE keys.channel = sales.channel AND keys.order_id = sales.order_id AND keys.line_id = sales.line_id AND keys.sku = sales.sku AND keys.unit > 0 AND keys.revoked_at = 0)
		OR sku = ? AND EXISTS (SELECT 1 FROM keys WHERE keys.sku = sales.sku AND keys.unit > 0 AND keys.revoked_at <> 0
		AND keys.channel = sales.channel AND keys.order_id = sales.order_id AND keys.line_id = sales.line_id)
		ORDER BY placed_at, channel, order_id, line_id`, string(sku), string(sku))
	return found, during("load lines that wait for keys", err)
}

// saveKeyGrants assigns keys; it fails where one was taken or revoked meanwhile, and the batch is applied again.
func (t ledgerTx) saveKeyGrants(c stocksync.Changes) error {
	rows := make([][]any, len(c.KeyGrants))
	for i, g := range c.KeyGrants {
		rows[i] = []any{g.ID, string(g.Channel), g.OrderID, g.LineID, int64(g.Unit), nanos(c.At)}
	}
	assigned, err := t.exec(assignKeys, rows)
	if err == nil && assigned != int64(len(c.KeyGrants)) {
		err = fmt.Errorf("%d of %d keys were revoked meanwhile", int64(len(c.KeyGrants))-assigned, len(c.KeyGrants))
	}
	return err
}
