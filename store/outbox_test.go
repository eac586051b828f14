package store

import (
	"sync"
	"testing"
	"time"

	stocksync "github.com/truestock/truestock/sync"
)

func TestOutbox(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		opened := func(subject string, at time.Time) {
			t.Helper()
			must(t, s.OpenIncident(ctx, stocksync.Incident{Kind: stocksync.IncidentOversell, Subject: subject, Message: "look", OpenedAt: at}))
		}
		opened("A", t0)
		opened("A", after(time.Minute)) // refreshed: told already
		opened("B", t0)
		must(t, s.CloseIncident(ctx, stocksync.IncidentOversell, "A", after(time.Hour)))
		must(t, s.CloseIncident(ctx, stocksync.IncidentOversell, "A", after(2*time.Hour)))
		ignore(s.HoldPlan(ctx, stocksync.Plan{Connection: "shop", Reason: "too much", CreatedAt: t0}))

		var told []string
		spread := func() int {
			return got(s.SpreadMessages(ctx, 3, func(tx stocksync.Settled, messages []stocksync.Message) ([]stocksync.Delivery, error) {
				var out []stocksync.Delivery
				for _, m := range messages {
					told = append(told, m.Type+" "+m.Subject)
					batch := time.Time{}
					if m.Type == stocksync.MessageIncidentOpened {
						batch = t0
					}
					out = append(out, stocksync.Delivery{Message: m, Channel: "ops", State: stocksync.DeliveryDue, Batch: batch, DueAt: t0})
				}
				return out, nil
			}))(t)
		}
		if a, b, c := spread(), spread(), spread(); a != 3 || b != 1 || c != 0 {
			t.Errorf("spread %d, %d and %d", a, b, c)
		}
		same(t, "messages", told, []string{"incident.opened A", "incident.opened B", "incident.closed A", "plan.held shop"})

		// Many at once take each delivery once.
		var mu sync.Mutex
		taken := make(map[int64]int)
		var sizes []int
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				claimed, _, err := s.ClaimDeliveries(ctx, after(time.Second), after(time.Hour), 10)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, together := range claimed {
					sizes = append(sizes, len(together))
					for _, d := range together {
						taken[d.ID]++
					}
				}
			})
		}
		group.Wait()
		for id, n := range taken {
			if n != 1 {
				t.Errorf("delivery %d was taken %d times", id, n)
			}
		}
		if len(taken) != 4 || len(sizes) != 3 {
			t.Errorf("taken %v in groups of %v", taken, sizes)
		}
		claimed, next, err := s.ClaimDeliveries(ctx, after(time.Minute), after(time.Hour), 10)
		must(t, err)
		if len(claimed) != 0 || !next.Equal(after(time.Hour)) {
			t.Errorf("taken again: %v, next %s", claimed, next)
		}
		// Whoever took them died.
		claimed, _, err = s.ClaimDeliveries(ctx, after(time.Hour), after(2*time.Hour), 10)
		must(t, err)
		if len(claimed) != 1 || len(claimed[0]) != 2 || claimed[0][0].Subject != "A" || claimed[0][1].Subject != "B" {
			t.Fatalf("taken after the time of whoever had them: %+v", claimed)
		}
		done := claimed[0]
		done[0].State, done[0].SentAt = stocksync.DeliverySent, after(time.Hour)
		done[1].State, done[1].Error = stocksync.DeliveryGivenUp, "refused"
		must(t, s.SaveDeliveries(ctx, done, []stocksync.Incident{{Kind: stocksync.IncidentNoticeFailed, Subject: "ops", OpenedAt: after(time.Hour)}}, nil, after(time.Hour)))
		list := got(s.ListDeliveries(ctx, stocksync.NoticeQuery{Channel: "ops", State: stocksync.DeliveryGivenUp, Limit: 10}))(t)
		if len(list) != 1 || list[0].Subject != "B" || list[0].Error != "refused" {
			t.Errorf("given up: %+v", list)
		}
		if n := got(s.RetryDeliveries(ctx, "ops", after(time.Hour)))(t); n != 1 {
			t.Errorf("%d are tried again", n)
		}
		must(t, s.DropMessages(ctx, after(24*time.Hour)))
		left := got(s.ListDeliveries(ctx, stocksync.NoticeQuery{Limit: 10}))(t)
		if len(left) != 3 { // A is dropped, what is due stays
			t.Errorf("left: %+v", left)
		}
		page := got(s.ListDeliveries(ctx, stocksync.NoticeQuery{Before: left[0].ID, After: left[0].Channel, Limit: 1}))(t)
		if len(page) != 1 || page[0].ID != left[1].ID {
			t.Errorf("the next page: %+v", page)
		}
		if _, err := s.IncidentByID(ctx, 99); err == nil {
			t.Error("there is no incident 99")
		}
	})
}
