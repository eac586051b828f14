package store

import (
	"errors"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func TestRemedies(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		key := func(id string) stocksync.OrderKey { return stocksync.OrderKey{Channel: "shop", OrderID: id} }
		promise := func(id string, quantity stock.Quantity, at time.Time) stocksync.Commitment {
			return stocksync.Commitment{OrderKey: key(id), LineID: "1", SKU: "X", Location: "main", Quantity: quantity, Ref: connectors.Ref{Item: "I"}, AcceptedAt: at}
		}
		must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error {
			return tx.Save(stocksync.Changes{At: t0, Commitments: []stocksync.Commitment{promise("O-1", 4, t0), promise("O-2", 2, after(time.Second)), {OrderKey: key("O-3"), LineID: "1", SKU: "X", ChannelOpen: 1, AcceptedAt: t0}},
				Incidents: []stocksync.Incident{{Kind: stocksync.IncidentOversell, Subject: "X", Message: "m", OpenedAt: after(time.Second)}, {Kind: stocksync.IncidentWriteRejected, Subject: "X", Message: "m", OpenedAt: t0}}})
		}))
		chosen := stocksync.Remedy{Incident: 1, OrderKey: key("O-2"), LineID: "1", SKU: "X", Units: 2, Packs: 1, CancelledTo: 3, Choice: 1, Kind: stock.RemedyRestock, Substitute: "Y", ReadyAt: after(time.Hour),
			Compensation: 500, Message: "sorry", State: stocksync.RemedyChosen, By: "ann", ChosenAt: after(time.Minute), DueAt: after(time.Minute)}
		entry := stocksync.AuditEntry{At: t0, By: "ann", Action: "remedy chosen", Subject: "incident 1"}
		must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error {
			promised, err := tx.Promised("X", 0)
			must(t, err)
			same(t, "promised", promised, []stocksync.Commitment{promise("O-2", 2, after(time.Second)), promise("O-1", 4, t0)})
			promised, err = tx.Promised("X", 1)
			must(t, err)
			same(t, "the last promised", promised, []stocksync.Commitment{promise("O-2", 2, after(time.Second))})
			for at, want := range map[time.Time]map[string]int64{{}: {"X": 1}, t0: {}, after(time.Second): {"X": 1}} {
				open, err := tx.IncidentsAt(stocksync.IncidentOversell, []string{"X", "Y"}, at)
				must(t, err)
				same(t, "open incidents", open, want)
			}
			return tx.Save(stocksync.Changes{At: after(time.Minute), Remedies: []stocksync.Remedy{chosen}})
		}, entry))
		failed := errors.New("no")
		err := s.Post(t.Context(), func(tx stocksync.LedgerTx) error {
			must(t, tx.Save(stocksync.Changes{At: t0, Remedies: []stocksync.Remedy{{Incident: 1, OrderKey: key("O-1"), LineID: "1", SKU: "X"}}}))
			return failed
		}, entry)
		if !errors.Is(err, failed) {
			t.Errorf("a change that fails: %v", err)
		}
		held, err := s.RemediesOf(t.Context(), 1)
		must(t, err)
		same(t, "remedies", held, []stocksync.Remedy{chosen})
		trail, err := s.AuditTrail(t.Context(), "incident 1", 0, 10)
		must(t, err)
		if len(trail) != 1 {
			t.Errorf("the audit trail has %+v", trail)
		}

		none, err := s.ClaimRemedies(t.Context(), t0, after(time.Hour), 10)
		must(t, err)
		same(t, "claimed before they are due", none, []stocksync.Remedy(nil))
		want := chosen
		want.Attempts, want.DueAt = 1, after(time.Hour)
		claimed, err := s.ClaimRemedies(t.Context(), after(time.Minute), after(time.Hour), 10)
		must(t, err)
		same(t, "claimed", claimed, []stocksync.Remedy{want})
		again, err := s.ClaimRemedies(t.Context(), after(time.Minute), after(time.Hour), 10)
		must(t, err)
		same(t, "claimed again", again, []stocksync.Remedy(nil))
		held, err = s.RemediesOf(t.Context(), 1)
		must(t, err)
		same(t, "held", held, []stocksync.Remedy{want})

		incident, err := s.IncidentByID(t.Context(), 1)
		must(t, err)
		same(t, "incident", incident, stocksync.Incident{ID: 1, Kind: stocksync.IncidentOversell, Subject: "X", Message: "m", OpenedAt: after(time.Second)})
		if _, err := s.IncidentByID(t.Context(), 99); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("an incident that is not there: %v", err)
		}
		must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error {
			return tx.Save(stocksync.Changes{At: after(time.Hour), Closed: []stocksync.Incident{{Kind: stocksync.IncidentOversell, Subject: "X"}}})
		}))
		must(t, s.View(t.Context(), func(tx stocksync.PlanTx) error {
			for at, want := range map[time.Time]map[string]int64{{}: {}, after(time.Minute): {"X": 1}, after(time.Hour): {}} {
				open, err := tx.IncidentsAt(stocksync.IncidentOversell, []string{"X"}, at)
				must(t, err)
				same(t, "incidents once it is closed", open, want)
			}
			return nil
		}))
	})
}

func TestAListingIsStoppedWithoutAnotherTarget(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		key := stocksync.ListingKey{Connection: "shop", Ref: connectors.Ref{Item: "I"}}
		_, err := s.ImportMapping(t.Context(), mapping.Table{Links: []mapping.Link{{Connection: "shop", Ref: key.Ref, Components: []mapping.Component{{SKU: "X", Units: 1}}}}}, t0)
		must(t, err)
		plan := func(c stocksync.TargetChange) {
			t.Helper()
			must(t, s.DirtyConnection(t.Context(), "shop"))
			_, err := s.Plan(t.Context(), 10, func(tx stocksync.PlanTx, _ []stock.SKU) error { return tx.SaveTargets([]stocksync.TargetChange{c}) })
			must(t, err)
		}
		plan(stocksync.TargetChange{ListingKey: key, Target: new(stock.Quantity(0)), Generation: 1, At: t0})
		plan(stocksync.TargetChange{ListingKey: key, Stop: new(true), SaleOnly: true, Push: true, At: after(time.Second)})
		due, err := s.DuePushes(t.Context(), "shop", after(time.Second), 10)
		must(t, err)
		if len(due) != 1 || !due[0].StopWanted || due[0].Stopped || due[0].Generation != 1 || *due[0].Target != 0 {
			t.Fatalf("due: %+v", due)
		}
		must(t, s.Settle(t.Context(), []stocksync.PushOutcome{{ListingKey: key, Generation: 1, Stopped: new(true), At: after(2 * time.Second)}}, nil))
		found, err := s.ListingsByKey(t.Context(), []stocksync.ListingKey{key})
		must(t, err)
		if l := found[key]; !l.Stopped || !l.StopWanted {
			t.Errorf("%+v", l)
		}
		must(t, s.Settle(t.Context(), []stocksync.PushOutcome{{ListingKey: key, Generation: 1, At: after(3 * time.Second)}}, nil))
		found, err = s.ListingsByKey(t.Context(), []stocksync.ListingKey{key})
		must(t, err)
		if l := found[key]; !l.Stopped {
			t.Error("an outcome that says nothing of the sale changes it")
		}
	})
}
