package store

import (
	"testing"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func TestBookingsOfASpanAreOne(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		window := stock.Window{Resource: "team", Start: after(time.Hour), End: after(2 * time.Hour)}
		booking := func(order string, w stock.Window, units stock.Quantity, at time.Time) stocksync.Booking {
			return stocksync.Booking{OrderKey: stocksync.OrderKey{Channel: "shop", OrderID: order}, LineID: "1", SKU: "A", Booking: stock.Booking{Window: w, Units: units}, At: at}
		}
		later := stock.Window{Resource: "team", Start: after(3 * time.Hour), End: after(4 * time.Hour)}
		other := stock.Window{Resource: "van", Start: window.Start, End: window.End}
		save := func(all ...stocksync.Booking) {
			must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error { return tx.Save(stocksync.Changes{Bookings: all, At: t0}) }))
		}
		save(booking("1", window, 2, t0), booking("2", window, 1, after(time.Minute)), booking("3", later, 4, t0), booking("4", later, 5, t0), booking("1", other, 7, t0))
		save(booking("4", later, 0, t0))
		look := func(madeUntil, ends time.Time, want ...stock.Booking) {
			t.Helper()
			must(t, s.View(t.Context(), func(tx stocksync.PlanTx) error {
				same(t, "bookings", got(tx.Booked([]string{"team"}, ends, madeUntil))(t), want)
				return nil
			}))
		}
		look(time.Time{}, t0, stock.Booking{Window: window, Units: 3}, stock.Booking{Window: later, Units: 4})
		look(time.Time{}, window.End, stock.Booking{Window: later, Units: 4})
		look(t0, t0, stock.Booking{Window: window, Units: 2}, stock.Booking{Window: later, Units: 4})
	})
}

func TestPlanningClosesWhatWasToldBefore(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		told := stocksync.Incident{Kind: stocksync.IncidentOverCap, Subject: "A", Message: "m", OpenedAt: t0}
		must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error {
			return tx.Save(stocksync.Changes{Incidents: []stocksync.Incident{told}, Dirty: []stock.SKU{"A"}, At: t0})
		}))
		plan := func(opened, over []stocksync.Incident) []stocksync.Incident {
			t.Helper()
			got(s.Plan(t.Context(), 10, func(tx stocksync.PlanTx, _ []stock.SKU) error {
				return tx.SaveIncidents(opened, over, after(time.Hour))
			}))(t)
			must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error { return tx.Save(stocksync.Changes{Dirty: []stock.SKU{"A"}, At: t0}) }))
			return got(s.Incidents(t.Context(), true, 0, 10))(t)
		}
		if open := plan(nil, []stocksync.Incident{told}); len(open) != 1 {
			t.Errorf("%d are open of one that was told at that instant, want 1", len(open))
		}
		told.OpenedAt = after(time.Second)
		if open := plan([]stocksync.Incident{{Kind: stocksync.IncidentOverbooked, Subject: "resource x", Message: "m", OpenedAt: t0}}, []stocksync.Incident{told}); len(open) != 1 || open[0].Subject != "resource x" {
			t.Errorf("%v are open, want only the new one", open)
		}
	})
}
