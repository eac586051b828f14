package store

import (
	"context"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	poolsTable = table{"pools", texts("campaign"), texts("sku", "doc")}

	findPools      = poolsTable.find(poolsTable.key, "")
	findPoolsOfSKU = poolsTable.find(texts("sku"), "")
	savePools      = poolsTable.upsert()

	poolStepColumns = join(texts("campaign"), numbers("n", "planned_at", "at", "quantity"))
	// addPoolSteps fails on a step that is there: it has happened already.
	addPoolSteps = bulk(2, poolStepColumns, "INSERT INTO pool_steps ("+list("", poolStepColumns)+") {VALUES "+list("v.", poolStepColumns)+"}")
)

// Post changes the ledger without an event. On PostgreSQL it waits for whoever applies events.
func (s *Store) Post(ctx context.Context, fn func(tx stocksync.LedgerTx) error, acts ...stocksync.AuditEntry) error {
	return s.act(ctx, "post", acts, func(t *txn) error {
		if t.dialect == postgres {
			if err := t.g.Exec("SELECT pg_advisory_xact_lock(?)", int64(applyLock)).Error; err != nil {
				return err
			}
		}
		return fn(ledgerTx{txn: t})
	})
}

// Pools loads what became of campaigns.
func (t *txn) Pools(skus []stock.SKU, campaigns []string) (map[string]*stocksync.PoolState, error) {
	found := make(map[string]*stocksync.PoolState)
	collect := func(r row) error {
		s, err := decode[*stocksync.PoolState](r.text(2))
		if err == nil {
			s.SKU = stock.SKU(r.text(1)) // it may have another name by now
			found[s.Campaign] = s
		}
		return err
	}
	err := t.query(findPoolsOfSKU, skuRows(skus), collect)
	if err == nil {
		rows := make([][]any, len(campaigns))
		for i, name := range campaigns {
			rows[i] = []any{name}
		}
		err = t.query(findPools, rows, collect)
	}
	return found, during("load campaigns", err)
}

func (t ledgerTx) savePools(c stocksync.Changes) error {
	rows := make([][]any, len(c.Pools))
	for i, p := range c.Pools {
		doc, err := encode(p)
		if err != nil {
			return err
		}
		rows[i] = []any{p.Campaign, string(p.SKU), doc}
	}
	if _, err := t.exec(savePools, rows); err != nil {
		return err
	}
	steps := make([][]any, len(c.PoolSteps))
	for i, s := range c.PoolSteps {
		steps[i] = []any{s.Campaign, int64(s.N), nanos(s.PlannedAt), nanos(s.At), int64(s.Quantity)}
	}
	_, err := t.exec(addPoolSteps, steps)
	return err
}

// PoolSteps lists what happened to campaigns.
func (t *txn) PoolSteps(campaigns []string) (map[string][]stocksync.PoolStep, error) {
	found := make(map[string][]stocksync.PoolStep, len(campaigns))
	rows := make([][]any, len(campaigns))
	for i, name := range campaigns {
		rows[i] = []any{name}
	}
	err := t.query(findPoolSteps, rows, func(r row) error {
		s := stocksync.PoolStep{Campaign: r.text(0), N: int(r.number(1)), PlannedAt: r.time(2), At: r.time(3), Quantity: r.quantity(4)}
		found[s.Campaign] = append(found[s.Campaign], s)
		return nil
	})
	return found, during("load the steps of campaigns", err)
}

var findPoolSteps = bulk(1, texts("campaign"), "SELECT "+list("pool_steps.", poolStepColumns)+" FROM pool_steps{,} WHERE pool_steps.campaign = v.campaign ORDER BY pool_steps.campaign, pool_steps.at, pool_steps.n")

// AllPools lists what became of every campaign.
func (t auditTx) AllPools() (found []*stocksync.PoolState, err error) {
	err = t.rows(func(r row) error {
		s, err := decode[*stocksync.PoolState](r.text(1))
		if err == nil {
			s.SKU = stock.SKU(r.text(0))
			found = append(found, s)
		}
		return err
	}, "SELECT sku, doc FROM pools ORDER BY campaign")
	return found, during("list campaigns", err)
}

// AllReservations hands over every reservation.
func (t auditTx) AllReservations(each func(*stocksync.Reservation) error) error {
	return during("list reservations", t.rows(func(r row) error {
		held, err := r.reservation()
		if err != nil {
			return err
		}
		return each(held)
	}, "SELECT "+list("", join(reservationsTable.key, reservationsTable.rest))+" FROM reservations"))
}
