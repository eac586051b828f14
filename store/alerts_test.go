package store

import (
	"errors"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// planning runs fn as a planner of the SKU X would.
func planning(t *testing.T, s *Store, fn func(tx stocksync.PlanTx) error) error {
	t.Helper()
	must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error { return tx.Save(stocksync.Changes{Dirty: []stock.SKU{"X"}, At: t0}) }))
	_, err := s.Plan(t.Context(), 10, func(tx stocksync.PlanTx, _ []stock.SKU) error { return fn(tx) })
	return err
}

func TestAlertsAndReplenishments(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		tee := &stocksync.AlertState{Subject: "sku:TEE", LowAt: t0, Level: 4, Threshold: 5, Sent: 1, SentAt: t0}
		hat := &stocksync.AlertState{Subject: "sku:HAT", LowAt: t0, Level: 1, Threshold: 2}
		order := &stocksync.ReplenishmentState{SKU: "TEE", RaisedAt: t0, Safety: 60, Threshold: 10, Point: 70, Total: 69, Missing: 1}
		message := stocksync.Message{Key: "k", Type: stocksync.MessageLow, Subject: "TEE", At: t0}
		must(t, planning(t, s, func(tx stocksync.PlanTx) error {
			return errors.Join(tx.SaveAlerts([]*stocksync.AlertState{tee, hat}), tx.SaveReplenishments([]*stocksync.ReplenishmentState{order}), tx.AddMessages([]stocksync.Message{message, message}))
		}))
		if tee.ID == 0 || hat.ID == 0 || tee.ID == hat.ID || order.ID == 0 {
			t.Fatalf("ids %d, %d and %d", tee.ID, hat.ID, order.ID)
		}
		acked := got(s.AckAlert(ctx, tee.ID, "ann", after(time.Minute)))(t)
		if acked.AcknowledgedBy != "ann" || !acked.AcknowledgedAt.Equal(after(time.Minute)) {
			t.Errorf("acknowledged %+v", acked)
		}
		must(t, planning(t, s, func(tx stocksync.PlanTx) error {
			open := got(tx.OpenAlerts([]string{"sku:TEE", "sku:HAT", "sku:CAP"}))(t)
			if len(open) != 2 || open["sku:TEE"].AcknowledgedBy != "ann" || open["sku:TEE"].Sent != 1 {
				t.Errorf("open %+v", open)
			}
			tee.Level, tee.Sent = 3, 2 // loaded before it was acknowledged
			hat.ClosedAt = after(time.Hour)
			same(t, "open replenishments", got(tx.OpenReplenishments([]stock.SKU{"TEE", "HAT"}))(t), map[stock.SKU]*stocksync.ReplenishmentState{"TEE": order})
			order.ClearedAt, order.Change = after(time.Hour), stock.ReplenishmentArrived
			return errors.Join(tx.SaveAlerts([]*stocksync.AlertState{tee, hat}), tx.SaveReplenishments([]*stocksync.ReplenishmentState{order}))
		}))
		open := got(s.ListAlerts(ctx, true, 0, 10))(t)
		if len(open) != 1 || open[0].Level != 3 || open[0].Sent != 2 || open[0].AcknowledgedBy != "ann" {
			t.Errorf("open %+v", open)
		}
		if _, err := s.AckAlert(ctx, hat.ID, "ann", after(time.Hour)); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("an alert that is over: %v", err)
		}
		if all := got(s.ListAlerts(ctx, false, min(tee.ID, hat.ID), 10))(t); len(all) != 1 || all[0].ID != max(tee.ID, hat.ID) {
			t.Errorf("after the first: %+v", all)
		}
		same(t, "replenishments", got(s.ListReplenishments(ctx, false, 0, 10))(t), []stocksync.ReplenishmentState{*order})
		if left := got(s.ListReplenishments(ctx, true, 0, 10))(t); len(left) != 0 {
			t.Errorf("open replenishments %+v", left)
		}
		// One crossing of a subject is open at a time.
		if err := planning(t, s, func(tx stocksync.PlanTx) error {
			return tx.SaveAlerts([]*stocksync.AlertState{{Subject: "sku:TEE", LowAt: t0}})
		}); err == nil {
			t.Error("two crossings of one subject are open")
		}
	})
}

func TestMeasures(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		first := stocksync.Measure{SKU: "TEE", At: t0, Safety: new(stock.Quantity(60)), Method: stocksync.SafetyGreatest, LeadDays: []int64{3}}
		second := stocksync.Measure{SKU: "TEE", At: after(time.Hour), Safety: new(stock.Quantity(80)), Method: stocksync.SafetyGreatest, LeadDays: []int64{4}}
		must(t, s.SaveMeasures(ctx, []stocksync.Measure{first, {SKU: "HAT", At: t0}}))
		must(t, s.SaveMeasures(ctx, []stocksync.Measure{second}))
		same(t, "then", got(s.MeasuresAt(ctx, []stock.SKU{"TEE"}, after(time.Minute)))(t), map[stock.SKU]*stocksync.Measure{"TEE": &first})
		same(t, "now", got(s.MeasuresAt(ctx, []stock.SKU{"TEE", "CAP"}, after(time.Hour)))(t), map[stock.SKU]*stocksync.Measure{"TEE": &second})
		if before := got(s.MeasuresAt(ctx, []stock.SKU{"TEE"}, t0.Add(-time.Second)))(t); len(before) != 0 {
			t.Errorf("before: %v", before)
		}
		var dirty []stock.SKU
		must(t, ignore(s.Plan(ctx, 10, func(_ stocksync.PlanTx, skus []stock.SKU) error {
			dirty = skus
			return nil
		})))
		same(t, "to be planned", dirty, []stock.SKU{"HAT", "TEE"})
	})
}

// TestLagOfAChannel: of twenty changes nineteen were shown within 19 seconds.
func TestLagOfAChannel(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		if _, n := got2(s.ShownWithin(ctx, "shop", t0, 950))(t); n != 0 {
			t.Errorf("%d of nothing", n)
		}
		var seen []stocksync.Listing
		var targets []stocksync.TargetChange
		var outcomes []stocksync.PushOutcome
		for i := range 20 {
			key := stocksync.ListingKey{Connection: "shop", Ref: connectors.Ref{Item: string(rune('a' + i))}}
			seen = append(seen, stocksync.Listing{ListingKey: key})
			targets = append(targets, stocksync.TargetChange{ListingKey: key, Target: new(stock.Quantity(1)), Generation: 1, At: t0})
			outcomes = append(outcomes, stocksync.PushOutcome{ListingKey: key, Generation: 1, Confirmed: new(stock.Quantity(1)), At: after(time.Duration(i+1) * time.Second)})
		}
		must(t, s.Post(ctx, func(tx stocksync.LedgerTx) error { return tx.Save(stocksync.Changes{Seen: seen, At: t0}) }))
		must(t, planning(t, s, func(tx stocksync.PlanTx) error { return tx.SaveTargets(targets) }))
		must(t, s.Settle(ctx, outcomes, nil))
		if lag, n := got2(s.ShownWithin(ctx, "shop", t0, 950))(t); lag != 19*time.Second || n != 20 {
			t.Errorf("lag %s of %d", lag, n)
		}
		if _, n := got2(s.ShownWithin(ctx, "shop", after(time.Second), 950))(t); n != 0 {
			t.Errorf("%d since then", n)
		}
	})
}

func got2[A, B any](a A, b B, err error) func(t testing.TB) (A, B) {
	return func(t testing.TB) (A, B) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
}
