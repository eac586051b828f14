package store

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var mainLevel = stocksync.LevelKey{SKU: "A", Location: "main"}

func countList(plan string, occurrence time.Time) stocksync.Stocktake {
	return stocksync.Stocktake{Plan: plan, Occurrence: occurrence, MadeAt: t0, MadeBy: "ann", Rule: stocksync.StocktakeRule{Blind: true, CountRule: stock.CountRule{ApproveUnits: 3}},
		Lines: []*stocksync.StocktakeLine{
			{N: 1, LevelKey: mainLevel, Connection: "erp", State: stocksync.LineOpen},
			{N: 2, LevelKey: stocksync.LevelKey{SKU: "B", Location: "main"}, Connection: "erp", State: stocksync.LineOpen},
		}}
}

func TestAnOccurrenceMakesOneListAmongMany(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		var made atomic.Int64
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				id, err := s.MakeStocktake(t.Context(), countList("weekly", after(time.Hour)), "stocktake weekly")
				if err != nil {
					t.Error(err)
				}
				if id > 0 {
					made.Add(1)
				}
			})
		}
		group.Wait()
		if n := made.Load(); n != 1 {
			t.Errorf("%d lists of one occurrence", n)
		}
		// One of which nothing is due claims all the same.
		none := countList("weekly", after(2*time.Hour))
		none.Lines = nil
		if id := got(s.MakeStocktake(t.Context(), none, "stocktake weekly"))(t); id != 0 {
			t.Errorf("a list without lines has the id %d", id)
		}
		same(t, "the last occurrence", got(s.LastOccurrence(t.Context(), "stocktake weekly"))(t), after(2*time.Hour))
		same(t, "what was listed", got(s.ListedAt(t.Context(), "weekly"))(t), map[stocksync.LevelKey]time.Time{mainLevel: after(time.Hour), {SKU: "B", Location: "main"}: after(time.Hour)})
		lists, states, err := s.ListStocktakes(t.Context(), true, 0, 10)
		must(t, err)
		if len(lists) != 1 || states[0][stocksync.LineOpen] != 2 || lists[0].Plan != "weekly" || !lists[0].Rule.Blind || lists[0].Rule.ApproveUnits != 3 {
			t.Errorf("%+v %v", lists, states)
		}
	})
}

func TestAChangeOfAStocktakeIsStoredWholeOrNotAtAll(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		id := got(s.MakeStocktake(t.Context(), countList("", time.Time{}), "", stocksync.AuditEntry{At: t0, By: "ann", Action: "stocktake made", Subject: "stocktake"}))(t)
		event := stocksync.NewEvent{Connection: "erp", Key: "stock.counted:1", Type: "stock.counted", Format: stocksync.FactsFormat, Body: []byte("[]"), ReceivedAt: t0}
		change := func(fail error) error {
			return s.ChangeStocktake(t.Context(), id, func(_ stocksync.StocktakeTx, list *stocksync.Stocktake) (stocksync.StocktakeChange, error) {
				l := list.Lines[0]
				l.State, l.DueAt, l.DecidedAt, l.Difference, l.Reason = stocksync.LineApproved, after(time.Minute), after(time.Second), -2, "lost"
				l.Counts = append(l.Counts, stock.CountedLine{SKU: "A", Location: "main", AsOf: after(time.Millisecond), Counted: 8, Counter: "ann"})
				return stocksync.StocktakeChange{Lines: list.Lines[:1], ClosedAt: after(time.Hour), Events: []stocksync.NewEvent{event},
					Acts: []stocksync.AuditEntry{{At: t0, By: "bob", Action: "stocktake approved", Subject: "stocktake 1"}}}, fail
			})
		}
		failure := errors.New("no")
		if err := change(failure); !errors.Is(err, failure) {
			t.Errorf("%v", err)
		}
		if due := got(s.DueCorrections(t.Context(), "erp", after(time.Hour), 10))(t); len(due) > 0 {
			t.Errorf("a change that failed left %+v", due)
		}
		must(t, change(nil))
		due := got(s.DueCorrections(t.Context(), "erp", after(time.Hour), 10))(t)
		if len(due) != 1 || due[0].Difference != -2 || due[0].LevelKey != mainLevel || due[0].Counts[0].Counter != "ann" || !due[0].Counts[0].AsOf.Equal(after(time.Millisecond)) {
			t.Errorf("due are %+v", due)
		}
		if early := got(s.DueCorrections(t.Context(), "erp", t0, 10))(t); len(early) > 0 {
			t.Errorf("sent too early: %+v", early)
		}
		if b := got(s.Backlog(t.Context(), nil))(t); b.Corrections != 1 || b.InboxPending != 1 {
			t.Errorf("the backlog is %+v", b)
		}
		if b := got(s.Backlog(t.Context(), []stock.ConnectionID{"erp"}))(t); b.Corrections != 0 {
			t.Errorf("a paused connection is waited for: %+v", b)
		}
		if lists, _, err := s.ListStocktakes(t.Context(), true, 0, 10); err != nil || len(lists) > 0 {
			t.Errorf("open are %+v (%v)", lists, err)
		}
		if trail := got(s.AuditTrail(t.Context(), "stocktake 1", 0, 10))(t); len(trail) != 2 {
			t.Errorf("the trail is %+v", trail)
		}
		must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error {
			open := got(tx.Corrections([]stock.SKU{"A", "B"}, nil))(t)
			named := got(tx.Corrections(nil, []stocksync.LineKey{{Stocktake: id, N: 1}, {Stocktake: id, N: 2}}))(t)
			if len(open) != 1 || len(named) != 1 {
				t.Errorf("corrections: %d open, %d named", len(open), len(named))
			}
			open[0].State = stocksync.LineBooked
			return tx.Save(stocksync.Changes{CountLines: open, At: t0})
		}))
		must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error {
			if open := got(tx.Corrections([]stock.SKU{"A"}, nil))(t); len(open) > 0 {
				t.Errorf("booked and open: %+v", open)
			}
			return nil
		}))
		var decided []stocksync.StocktakeLine
		must(t, s.DecidedLines(t.Context(), t0, after(time.Second), func(l *stocksync.StocktakeLine) error {
			decided = append(decided, *l)
			return nil
		}))
		if len(decided) != 1 || decided[0].State != stocksync.LineBooked {
			t.Errorf("decided are %+v", decided)
		}
		if err := s.ViewStocktake(t.Context(), id+1, nil); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestTheHistoryOfALevel(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		posting := func(at time.Time, from, to stock.State, n stock.Quantity) stocksync.LedgerEntry {
			return stocksync.LedgerEntry{Posting: stock.Posting{SKU: "A", Location: "main", From: from, To: to, Quantity: n, At: at}, Hash: []byte{1}}
		}
		move := func(key string, at time.Time, delta stock.Quantity) stocksync.HeldMovement {
			return stocksync.HeldMovement{Connection: "erp", Key: key, LevelKey: mainLevel, Delta: delta, At: at, Position: stock.Position{SourceAt: at}}
		}
		must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error {
			return tx.Save(stocksync.Changes{At: t0,
				Entries: []stocksync.LedgerEntry{posting(t0, stock.Outside, stock.Available, 10), posting(after(time.Hour), stock.Available, stock.Committed, 3),
					posting(after(2*time.Hour), stock.Committed, stock.Outside, 3), posting(after(3*time.Hour), stock.Outside, stock.Unavailable, 1)},
				Levels:     []stocksync.HeldLevel{{Level: stock.Level{SKU: "A", Location: "main", Available: 7, Unavailable: 1}, Hash: []byte{1}}},
				Statements: []stocksync.HeldStatement{{Connection: "erp", LevelKey: mainLevel, Quantity: 10, Position: stock.Position{SeenAt: after(time.Minute)}, At: t0}},
				Movements:  []stocksync.HeldMovement{move("old", t0.Add(-48*time.Hour), 5), move("shp:1", after(2*time.Hour), -3), move("ret:1", after(3*time.Hour), 1)}})
		}))
		id := got(s.MakeStocktake(t.Context(), countList("", time.Time{}), ""))(t)
		must(t, s.ViewStocktake(t.Context(), id, func(tx stocksync.StocktakeTx, _ *stocksync.Stocktake) error {
			h := got(tx.LevelHistory(mainLevel, after(90*time.Minute), id))(t)
			if h.Tracked != 8 || h.Posted != -2 || len(h.Movements) != 2 || !h.StatedAt.Equal(after(time.Minute)) || !h.CorrectedAt.IsZero() {
				t.Errorf("the history is %+v", h)
			}
			return nil
		}))
		same(t, "what is stated", got(s.StatedLevels(t.Context(), stocksync.CountedLevel{}, 10))(t), []stocksync.CountedLevel{{LevelKey: mainLevel, Connection: "erp"}})
	})
}
