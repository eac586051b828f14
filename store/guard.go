package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// plan is a row of the table plans. Changes are JSON.
type plan struct {
	ID         int64 `gorm:"primaryKey"`
	Connection string
	State      string
	Reason     string
	Changes    string
	Facts      string
	Events     string
	CreatedAt  int64 `gorm:"autoCreateTime:false"`
	DecidedAt  int64
	DecidedBy  string
}

func (plan) TableName() string { return "plans" }

func (p plan) plan() (stocksync.Plan, error) {
	changes, err := decode[[]stocksync.Change](p.Changes)
	facts, bad := decode[[]connectors.Fact](p.Facts)
	events, worse := decode[[]int64](p.Events)
	err = errors.Join(err, bad, worse)
	return stocksync.Plan{
		ID: p.ID, Connection: stock.ConnectionID(p.Connection), State: stocksync.PlanState(p.State), Reason: p.Reason,
		Changes: changes, Facts: facts, Events: events, CreatedAt: instant(p.CreatedAt), DecidedAt: instant(p.DecidedAt), DecidedBy: p.DecidedBy,
	}, err
}

// Jumps tells what falls or rises by a lot.
func (s *Store) Jumps(ctx context.Context, connection stock.ConnectionID, limits stocksync.GuardLimits, since time.Time) (j stocksync.Jumps, err error) {
	err = s.look(ctx, "look for listings that jump", func(t *txn) error {
		err := t.rows(func(r row) error {
			c := stocksync.Change{Ref: r.ref(0), Have: r.optional(2), Target: r.quantity(3)}
			if c.Have != nil && c.Target < *c.Have {
				j.Falls = append(j.Falls, c)
			} else {
				j.Rises = append(j.Rises, c)
			}
			return nil
		}, `SELECT listings.item, listings.place, coalesce(listings.confirmed, listings.published), listings.target
			FROM push_due JOIN listings ON listings.connection = push_due.connection AND listings.item = push_due.item AND listings.place = push_due.place
			WHERE push_due.connection = ? AND listings.generation > listings.cleared AND listings.target <> ? AND coalesce(listings.confirmed, listings.published, 0) <> ?
			AND (listings.target < coalesce(listings.confirmed, listings.published)
				AND (coalesce(listings.confirmed, listings.published) - listings.target) * 1000 >= coalesce(listings.confirmed, listings.published) * ?
				OR listings.peak > 0 AND listings.target >= listings.peak * ?)
			ORDER BY listings.item, listings.place`, string(connection), int64(stocksync.Endless), int64(stocksync.Endless), limits.FallPermille, limits.RiseFactor)
		if err != nil {
			return err
		}
		for _, kind := range []struct {
			jump stocksync.Jump
			into *int64
		}{{stocksync.Falls, &j.RecentFalls}, {stocksync.Rises, &j.RecentRises}} {
			err = t.g.Raw(`SELECT count(*) FROM (SELECT DISTINCT item, place FROM pushes
				WHERE connection = ? AND at >= ? AND jump <> '' AND jump = ? AND outcome IN (?, ?, ?)) AS jumped`,
				string(connection), nanos(since), string(kind.jump), string(connectors.Written), string(connectors.Accepted), string(connectors.Uncertain)).Scan(kind.into).Error
			if err != nil {
				return err
			}
		}
		return t.g.Raw("SELECT coalesce(max(listings), 0) FROM showing WHERE connection = ?", string(connection)).Scan(&j.Showing).Error
	})
	return j, err
}

// Showing is how many listings of a channel show more than zero.
func (s *Store) Showing(ctx context.Context, connection stock.ConnectionID) (n int64, err error) {
	err = s.rows(ctx, func(r row) error {
		n = r.number(0)
		return nil
	}, "SELECT listings FROM showing WHERE connection = ?", string(connection))
	return n, during("count what "+string(connection)+" shows", err)
}

// holdListings leaves alone what has another target by now: nobody would have been shown it.
var holdListings = bulk(3, join(listingColumns, texts("held"), numbers("plan", "target")),
	`UPDATE listings SET held = v.held, held_by = v.plan {FROM} WHERE `+listingsTable.matches(listingColumns)+` AND listings.target = v.target
	RETURNING listings.connection, listings.item, listings.place`)

// HoldPlan stores a plan as held. Until it is approved or their targets change, its listings are not due, whoever asks.
func (s *Store) HoldPlan(ctx context.Context, p stocksync.Plan) (int64, error) {
	changes, err := encode(p.Changes)
	if err != nil {
		return 0, err
	}
	facts := ""
	if len(p.Facts) > 0 {
		if facts, err = encode(p.Facts); err != nil {
			return 0, err
		}
	}
	held := plan{Facts: facts, Connection: string(p.Connection), State: string(stocksync.PlanHeld), Reason: cleanText(p.Reason), Changes: changes, CreatedAt: nanos(p.CreatedAt)}
	create := func(t *txn) error {
		if err := t.g.Create(&held).Error; err != nil {
			return err
		}
		p.ID = held.ID
		return t.addMessages([]stocksync.Message{stocksync.PlanMessage(p)})
	}
	err = s.change(ctx, "hold a plan", func(t *txn) error {
		if len(p.Facts) > 0 {
			return create(t)
		}
		keys := planKeys(p)
		if err := t.lock(keys); err != nil {
			return err
		}
		if err := create(t); err != nil {
			return err
		}
		rows := make([][]any, len(keys))
		for i, k := range keys {
			rows[i] = listingRow(k, p.Reason, held.ID, int64(p.Changes[i].Target))
		}
		var kept []stocksync.ListingKey
		err := t.query(holdListings, rows, func(r row) error {
			kept = append(kept, r.listingKey(0))
			return nil
		})
		if err != nil {
			return err
		}
		_, err = t.exec(removePushDue, listingRows(kept))
		return err
	})
	return held.ID, err
}

func planKeys(p stocksync.Plan) []stocksync.ListingKey {
	keys := make([]stocksync.ListingKey, len(p.Changes))
	for i, c := range p.Changes {
		keys[i] = stocksync.ListingKey{Connection: p.Connection, Ref: c.Ref}
	}
	return keys
}

// clearListings frees the listings that a plan still holds. One whose target has changed since is not concerned: it is
// held for another reason or not at all, and nobody has approved its new target.
var clearListings = bulk(3, join(listingColumns, numbers("plan")), `UPDATE listings SET held = '', held_by = 0, cleared = listings.generation
	{FROM} WHERE `+listingsTable.matches(listingColumns)+` AND listings.held_by = v.plan`)

// DecidePlan stores a person's decision.
func (s *Store) DecidePlan(ctx context.Context, id int64, state stocksync.PlanState, by string, at time.Time, events []stocksync.NewEvent, acts ...stocksync.AuditEntry) error {
	return s.act(ctx, fmt.Sprintf("decide on plan %d", id), acts, func(t *txn) error {
		decided := t.g.Exec("UPDATE plans SET state = ?, decided_by = ?, decided_at = ? WHERE id = ? AND state = ?",
			string(state), cleanText(by), nanos(at), id, string(stocksync.PlanHeld))
		if decided.Error != nil {
			return decided.Error
		}
		if decided.RowsAffected == 0 {
			return stocksync.ErrNotFound
		}
		if state != stocksync.PlanApproved {
			return nil
		}
		var row plan
		if err := t.g.Take(&row, id).Error; err != nil {
			return err
		}
		p, err := row.plan()
		if err != nil {
			return err
		}
		if len(p.Facts) > 0 {
			return t.takeFacts(p, events)
		}
		return t.approve(p, at)
	})
}

// takeFacts stores the events that the facts of an approved plan become.
func (t *txn) takeFacts(p stocksync.Plan, events []stocksync.NewEvent) error {
	receipts, err := t.putEvents(events)
	if err != nil {
		return err
	}
	ids := make([]int64, len(receipts))
	for i, r := range receipts {
		ids[i] = r.ID
	}
	text, err := encode(ids)
	if err != nil {
		return err
	}
	return t.g.Exec("UPDATE plans SET events = ? WHERE id = ?", text, p.ID).Error
}

func (t *txn) approve(p stocksync.Plan, at time.Time) error {
	keys := planKeys(p)
	if err := t.lock(keys); err != nil {
		return err
	}
	held := make([][]any, len(keys))
	due := make([][]any, len(keys))
	for i, c := range p.Changes {
		held[i] = listingRow(keys[i], p.ID)
		due[i] = listingRow(keys[i], c.Have == nil || c.Target < *c.Have, nanos(at))
	}
	if _, err := t.exec(clearListings, held); err != nil {
		return err
	}
	_, err := t.exec(pushTargets, due)
	return err
}

// PlanByID loads a plan.
func (s *Store) PlanByID(ctx context.Context, id int64) (stocksync.Plan, error) {
	var row plan
	if err := s.read.WithContext(ctx).Take(&row, id).Error; err != nil {
		return stocksync.Plan{}, during(fmt.Sprintf("load plan %d", id), err)
	}
	return row.plan()
}

// PlansOf lists the plans of a connection in a state.
func (s *Store) PlansOf(ctx context.Context, connection stock.ConnectionID, state stocksync.PlanState) ([]stocksync.Plan, error) {
	return s.plans("list the plans of "+string(connection), s.read.WithContext(ctx).Order("id").Where("state = ? AND connection = ?", string(state), string(connection)))
}

// LastPlan is the newest plan of a connection in a state.
func (s *Store) LastPlan(ctx context.Context, connection stock.ConnectionID, state stocksync.PlanState) (stocksync.Plan, error) {
	var row plan
	if err := s.read.WithContext(ctx).Order("id DESC").Where("state = ? AND connection = ?", string(state), string(connection)).Take(&row).Error; err != nil {
		return stocksync.Plan{}, during("load the newest plan of "+string(connection), err)
	}
	return row.plan()
}

// CountStatements counts the statements of a system of record.
func (s *Store) CountStatements(ctx context.Context, connection stock.ConnectionID) (n int64, err error) {
	err = s.read.WithContext(ctx).Raw("SELECT count(*) FROM statements WHERE connection = ?", string(connection)).Scan(&n).Error
	return n, during("count the statements of "+string(connection), err)
}

// FinishPlan makes an approved plan applied.
func (s *Store) FinishPlan(ctx context.Context, id int64) error {
	return s.change(ctx, fmt.Sprintf("finish plan %d", id), func(t *txn) error {
		return t.g.Exec("UPDATE plans SET state = ? WHERE id = ? AND state = ?", string(stocksync.PlanApplied), id, string(stocksync.PlanApproved)).Error
	})
}

// ListPlans lists plans, the newest first.
func (s *Store) ListPlans(ctx context.Context, state stocksync.PlanState, before int64, limit int) ([]stocksync.Plan, error) {
	q := s.read.WithContext(ctx).Order("id DESC").Limit(limit)
	if state != "" {
		q = q.Where("state = ?", string(state))
	}
	if before > 0 {
		q = q.Where("id < ?", before)
	}
	return s.plans("list plans", q)
}

func (s *Store) plans(what string, q *gorm.DB) ([]stocksync.Plan, error) {
	var rows []plan
	if err := q.Find(&rows).Error; err != nil {
		return nil, during(what, err)
	}
	plans := make([]stocksync.Plan, len(rows))
	for i, r := range rows {
		p, err := r.plan()
		if err != nil {
			return nil, during(what, err)
		}
		plans[i] = p
	}
	return plans, nil
}
