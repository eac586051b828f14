package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	saveAliases = table{"aliases", texts("name"), texts("sku")}.upsert()
	findAliases = table{"aliases", texts("name"), texts("sku")}.find(texts("name"), "")
)

// moveTx is the transaction of MoveSKU.
type moveTx struct {
	*txn
	to stock.SKU
}

// OrdersNaming finds order documents by a part of their text, and then by what they say.
func (t moveTx) OrdersNaming(sku stock.SKU) (found []*stocksync.Order, err error) {
	text, err := encode(string(sku))
	if err != nil {
		return nil, err
	}
	err = t.rows(func(r row) error {
		o, err := decode[*stocksync.Order](r.text(0))
		if err == nil && namesSKU(o, sku) {
			found = append(found, o)
		}
		return err
	}, `SELECT doc FROM orders WHERE doc LIKE ? ESCAPE '\' ORDER BY channel, order_id`, "%"+escapeLike.Replace(text)+"%")
	return found, during("find orders of "+string(sku), err)
}

// ReservationsNaming finds reservations by a part of their text, and then by what they say.
func (t moveTx) ReservationsNaming(sku stock.SKU) (found []*stocksync.Reservation, err error) {
	text, err := encode(string(sku))
	if err != nil {
		return nil, err
	}
	err = t.rows(func(r row) error {
		held, err := r.reservation()
		if err == nil && slices.ContainsFunc(held.Parts, func(p stocksync.ReservedPart) bool { return p.SKU == sku }) {
			found = append(found, held)
		}
		return err
	}, "SELECT "+list("", join(reservationsTable.key, reservationsTable.rest))+` FROM reservations WHERE parts LIKE ? ESCAPE '\' ORDER BY connection, item, place`,
		"%"+escapeLike.Replace(text)+"%")
	return found, during("find reservations of "+string(sku), err)
}

// AddSettings stores versions that moved with a SKU. MoveSKU marks both of its names to be planned now; what comes into force
// later is planned then.
func (t moveTx) AddSettings(versions []stocksync.NewSetting) error {
	var later [][]any
	for _, v := range versions {
		stored, err := t.addSetting(v)
		if err != nil {
			return err
		}
		later = append(later, []any{nanos(stored.EffectiveAt), string(t.to)})
	}
	_, err := t.exec(addDirtyLater, later)
	return err
}

func namesSKU(o *stocksync.Order, sku stock.SKU) bool {
	for _, l := range o.Lines {
		if slices.ContainsFunc(l.Components, func(c stocksync.LineComponent) bool { return c.SKU == sku }) {
			return true
		}
	}
	return slices.ContainsFunc(o.Deductions, func(d stocksync.Deduction) bool { return d.SKU == sku })
}

// MoveSKU moves everything that names one SKU to another.
func (s *Store) MoveSKU(ctx context.Context, from, to stock.SKU, at time.Time, fn func(tx stocksync.MoveTx) (stocksync.Changes, error), acts ...stocksync.AuditEntry) error {
	return s.act(ctx, "move a SKU", acts, func(t *txn) error {
		if t.dialect == postgres {
			if err := t.g.Exec("SELECT pg_advisory_xact_lock(?)", int64(applyLock)).Error; err != nil {
				return err
			}
		}
		changes, err := fn(moveTx{t, to})
		if err != nil {
			return err
		}
		if err := t.moveRows(string(from), string(to), at); err != nil {
			return err
		}
		if err := (ledgerTx{txn: t}).Save(changes); err != nil {
			return err
		}
		if err := t.moveMapping(from, to, at); err != nil {
			return err
		}
		_, err = t.replay(nil, []stock.SKU{from, to})
		return err
	})
}

// moveRows moves what names the SKU by itself. What was held of the old name is taken away; Save stores the new.
func (t *txn) moveRows(from, to string, at time.Time) error {
	old, renamed, now := stocksync.SKUSubject(stock.SKU(from)), stocksync.SKUSubject(stock.SKU(to)), nanos(at)
	const inForce = " FROM versions WHERE subject = ? AND value <> '' AND at = (SELECT max(at) FROM versions AS v WHERE v.subject = versions.subject AND v.key = versions.key)"
	for _, step := range []struct {
		query string
		args  []any
	}{
		{"UPDATE movements SET sku = ? WHERE sku = ?", []any{to, from}},
		{"UPDATE pools SET sku = ? WHERE sku = ?", []any{to, from}},
		{"UPDATE stocktake_lines SET sku = ? WHERE sku = ?", []any{to, from}},
		{"DELETE FROM statements WHERE sku = ?", []any{from}},
		{"DELETE FROM commitments WHERE sku = ?", []any{from}},
		{"INSERT INTO sales (sku, channel, order_id, line_id, units, placed_at) SELECT ?, channel, order_id, line_id, units, placed_at FROM sales WHERE sku = ?" +
			" ON CONFLICT (sku, channel, order_id, line_id) DO UPDATE SET units = sales.units + excluded.units", []any{to, from}},
		{"DELETE FROM sales WHERE sku = ?", []any{from}},
		{"UPDATE keys SET sku = ? WHERE sku = ?", []any{to, from}},
		{"UPDATE bookings SET sku = ? WHERE sku = ?", []any{to, from}},
		{"UPDATE remedies SET sku = ? WHERE sku = ?", []any{to, from}},
		{"UPDATE remedies SET substitute = ? WHERE substitute = ?", []any{to, from}},
		{"UPDATE alerts SET closed_at = ? WHERE subject = ? AND closed_at = 0", []any{now, stocksync.PolicyKey{SKU: stock.SKU(from)}.String()}},
		{"UPDATE replenishments SET cleared_at = ? WHERE sku = ? AND cleared_at = 0", []any{now, from}},
		{"INSERT INTO versions (subject, key, at, value) SELECT ?, key, ?, value" + inForce + " ON CONFLICT (subject, key, at) DO UPDATE SET value = excluded.value", []any{renamed, now, old}},
		{"INSERT INTO versions (subject, key, at, value) SELECT subject, key, ?, ''" + inForce + " ON CONFLICT (subject, key, at) DO UPDATE SET value = ''", []any{now, old}},
		{"INSERT INTO items (sku, gtin, name, kind, category, search) SELECT ?, gtin, name, kind, category, search FROM items WHERE sku = ? ON CONFLICT (sku) DO NOTHING", []any{to, from}},
		{"DELETE FROM items WHERE sku = ?", []any{from}},
		{"UPDATE aliases SET sku = ? WHERE sku = ?", []any{to, from}},
		{"DELETE FROM aliases WHERE name = ?", []any{to}},
	} {
		if err := t.g.Exec(step.query, step.args...).Error; err != nil {
			return err
		}
	}
	_, err := t.exec(saveAliases, [][]any{{from, to}})
	return err
}

// moveMapping puts the new name in the place of the old one in links and kits. Where a listing or a kit holds both, their
// units are added.
func (t *txn) moveMapping(from, to stock.SKU, at time.Time) error {
	var table mapping.Table
	kits, err := t.allKits()
	if err != nil {
		return err
	}
	for _, k := range kits {
		if k.SKU == to && slices.ContainsFunc(kits, func(other mapping.Kit) bool { return other.SKU == from }) {
			return fmt.Errorf("%w: %s and %s are both kits: change the mapping of one first", stocksync.ErrInvalid, from, to)
		}
		renamed := k.SKU == from
		if renamed {
			k.SKU = to
		}
		if moved, touched := moveComponents(k.Components, from, to); touched || renamed {
			table.Kits = append(table.Kits, mapping.Kit{SKU: k.SKU, Components: moved})
		}
	}
	if _, err := t.exec(removeKits, [][]any{{string(from)}}); err != nil {
		return err
	}
	keys := make(map[stocksync.ListingKey]bool)
	err = t.query(findLinksBySKU, skuRows([]stock.SKU{from}), func(r row) error {
		keys[r.listingKey(0)] = true
		return nil
	})
	if err != nil {
		return err
	}
	err = t.query(findLinks, listingRows(order(keys, compareListings)), func(r row) error {
		table.Links = appendComponent(table.Links, r)
		return nil
	})
	if err != nil {
		return err
	}
	for i := range table.Links {
		table.Links[i].Components, _ = moveComponents(table.Links[i].Components, from, to)
	}
	touched, err := t.replaceMapping(table)
	if err != nil {
		return err
	}
	return t.flatten(touched, at)
}

func moveComponents(components []mapping.Component, from, to stock.SKU) (moved []mapping.Component, touched bool) {
	units := make(map[stock.SKU]stock.Quantity, len(components))
	for _, c := range components {
		if c.SKU == from {
			c.SKU, touched = to, true
		}
		units[c.SKU] += c.Units
	}
	for _, sku := range order(units, cmp.Compare[stock.SKU]) {
		moved = append(moved, mapping.Component{SKU: sku, Units: units[sku]})
	}
	return moved, touched
}

// Aliases are all names that stand for another SKU.
func (s *Store) Aliases(ctx context.Context) (map[stock.SKU]stock.SKU, error) {
	found := make(map[stock.SKU]stock.SKU)
	err := s.rows(ctx, func(r row) error {
		found[stock.SKU(r.text(0))] = stock.SKU(r.text(1))
		return nil
	}, "SELECT name, sku FROM aliases")
	return found, during("load aliases", err)
}

// Aliases are those of the names that stand for another SKU.
func (t *txn) Aliases(skus []stock.SKU) (map[stock.SKU]stock.SKU, error) {
	found := make(map[stock.SKU]stock.SKU)
	err := t.query(findAliases, skuRows(skus), func(r row) error {
		found[stock.SKU(strings.Clone(r.text(0)))] = stock.SKU(strings.Clone(r.text(1)))
		return nil
	})
	return found, during("load aliases", err)
}
