package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	"github.com/truestock/truestock/store/pgtest"
	stocksync "github.com/truestock/truestock/sync"
)

// t0 has nanoseconds, so that a store that rounds is found out.
var t0 = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)

func after(d time.Duration) time.Time { return t0.Add(d) }

// on runs a test on both databases, each time on a fresh one with the present schema.
func on(t *testing.T, test func(t *testing.T, s *Store, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		url := "sqlite:" + filepath.Join(t.TempDir(), "test.db")
		test(t, open(t, url, Options{}), url)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := pgtest.URL(t)
		test(t, open(t, url, Options{}), url)
	})
}

func open(t testing.TB, url string, opts Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, opts)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	must(t, s.Migrate(t.Context()))
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func got[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func same(t testing.TB, what string, have, want any) {
	t.Helper()
	if !reflect.DeepEqual(have, want) {
		t.Errorf("%s:\nhave %+v\nwant %+v", what, have, want)
	}
}

func event(key, body string) stocksync.NewEvent {
	return stocksync.NewEvent{Connection: "shop", Key: key, Type: "order.upserted", Format: stocksync.WebhookFormat, Body: []byte(body), ReceivedAt: t0}
}

func listing(item string) stocksync.ListingKey {
	return stocksync.ListingKey{Connection: "shop", Ref: connectors.Ref{Item: item}}
}

// apply runs one batch that saves c.
func apply(t testing.TB, s *Store, c stocksync.Changes) []stocksync.Event {
	t.Helper()
	var events []stocksync.Event
	_, err := s.Apply(t.Context(), 256, func(tx stocksync.LedgerTx, due []stocksync.Event) error {
		events = due
		return tx.Save(c)
	})
	must(t, err)
	return events
}

// feed puts an event so that Apply has something to do, and applies c with it.
func feed(t testing.TB, s *Store, c stocksync.Changes) {
	t.Helper()
	r := got(s.Put(t.Context(), event("feed-"+strconv.FormatInt(time.Now().UnixNano(), 36), "x")))(t)
	if events := apply(t, s, c); len(events) != 1 || events[0].ID != r.ID {
		t.Fatalf("Apply gave %d events", len(events))
	}
}

func imported(t testing.TB, s *Store, rows ...mapping.Row) stocksync.ImportReport {
	t.Helper()
	table, errs := mapping.NewTable(rows)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return got(s.ImportMapping(t.Context(), table, t0))(t)
}

func link(item, sku string, units stock.Quantity) mapping.Row {
	return mapping.Row{Connection: "shop", Item: item, SKU: stock.SKU(sku), Units: units}
}

func kit(sku, component string, units stock.Quantity) mapping.Row {
	return mapping.Row{Connection: mapping.KitConnection, Item: sku, SKU: stock.SKU(component), Units: units}
}

func dirtySKUs(t testing.TB, s *Store) []stock.SKU {
	t.Helper()
	var skus []stock.SKU
	_, err := s.Plan(t.Context(), 1000, func(_ stocksync.PlanTx, dirty []stock.SKU) error {
		skus = dirty
		return nil
	})
	must(t, err)
	return skus
}

func setTargets(t testing.TB, s *Store, targets ...stocksync.TargetChange) {
	t.Helper()
	must(t, s.change(t.Context(), "set targets", func(x *txn) error { return planTx{txn: x}.SaveTargets(targets) }))
}

func oneListing(t testing.TB, s *Store, item string) *stocksync.Listing {
	t.Helper()
	l := got(s.ListingsByKey(t.Context(), []stocksync.ListingKey{listing(item)}))(t)[listing(item)]
	if l == nil {
		t.Fatalf("listing %s is missing", item)
	}
	return l
}

func dueItems(t testing.TB, s *Store, now time.Time) []string {
	t.Helper()
	var items []string
	for _, l := range got(s.DuePushes(t.Context(), "shop", now, 100))(t) {
		items = append(items, l.Item)
	}
	return items
}

func TestPutRecognisesDuplicatesAndConflicts(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		first := got(s.Put(t.Context(), event("k", "body")))(t)
		if first.ID == 0 || first.Duplicate || first.Conflict {
			t.Errorf("the first is %+v", first)
		}
		same(t, "the same again", got(s.Put(t.Context(), event("k", "body")))(t), stocksync.Receipt{ID: first.ID, Duplicate: true})
		same(t, "another body", got(s.Put(t.Context(), event("k", "other")))(t), stocksync.Receipt{ID: first.ID, Conflict: true})
		other := event("k", "body")
		other.Connection = "market"
		if r := got(s.Put(t.Context(), other))(t); r.Duplicate || r.Conflict {
			t.Errorf("the key of another connection is %+v", r)
		}
		e, state, _, err := s.EventByID(t.Context(), first.ID)
		must(t, err)
		same(t, "stored event", e, stocksync.Event{ID: first.ID, NewEvent: event("k", "body")})
		same(t, "state", state, stocksync.EventPending)
	})
}

func TestPutAllInOneTransaction(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		r := got(s.PutAll(t.Context(), []stocksync.NewEvent{event("a", "1"), event("b", ""), event("a", "1"), event("a", "2"), event("c", "3")}))(t)
		if len(r) != 5 || !(r[0].ID < r[1].ID && r[1].ID < r[4].ID) {
			t.Fatalf("receipts %+v", r)
		}
		same(t, "repeat in the batch", r[2], stocksync.Receipt{ID: r[0].ID, Duplicate: true})
		same(t, "conflict in the batch", r[3], stocksync.Receipt{ID: r[0].ID, Conflict: true})
		again := got(s.PutAll(t.Context(), []stocksync.NewEvent{event("d", "4"), event("b", "")}))(t)
		same(t, "known from before", again[1], stocksync.Receipt{ID: r[1].ID, Duplicate: true})
		if _, err := s.PutAll(t.Context(), []stocksync.NewEvent{event("e", "5"), event("", "6")}); err == nil {
			t.Error("an event without a key was taken")
		}
		rows := got(s.Events(t.Context(), stocksync.EventQuery{Limit: 10}))(t)
		if len(rows) != 4 {
			t.Errorf("%d events are stored, not 4", len(rows))
		}
	})
}

func TestConcurrentPutsOfOneKey(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, url string) {
		second := open(t, url, Options{}) // another process, as far as the database knows
		var wg sync.WaitGroup
		var mu sync.Mutex
		fresh := 0
		for i := range 50 {
			wg.Go(func() {
				store := s
				if i%2 == 1 {
					store = second
				}
				r, err := store.Put(t.Context(), event("one", "body"))
				mu.Lock()
				defer mu.Unlock()
				if err != nil || r.Conflict || r.ID == 0 {
					t.Errorf("Put: %+v, %v", r, err)
				}
				if !r.Duplicate {
					fresh++
				}
			})
		}
		wg.Wait()
		if fresh != 1 {
			t.Errorf("%d of 50 puts were told that theirs is the first", fresh)
		}
	})
}

func TestPutKeepsCallersApart(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				key := strconv.Itoa(i)
				switch i % 4 {
				case 0:
					_, _ = s.Put(gone, event(key, "x")) // stored or not, it must not hurt the others
				case 1:
					if _, err := s.Put(t.Context(), event("bad\x00"+key, "x")); err == nil {
						t.Error("a key that PostgreSQL cannot hold was taken")
					}
				case 2:
					e := event(key, "x")
					e.Type = "odd\x00type\xff"
					if _, err := s.Put(t.Context(), e); err != nil {
						t.Errorf("an odd type: %v", err)
					}
				default:
					if r, err := s.Put(t.Context(), event(key, "x")); err != nil || r.Duplicate {
						t.Errorf("Put: %+v, %v", r, err)
					}
				}
			})
		}
		wg.Wait()
		if _, err := s.Put(t.Context(), event(strings.Repeat("k", maxEventKey+1), "x")); err == nil {
			t.Error("a key of any length was taken")
		}
		must(t, ignore(s.Put(t.Context(), event(strings.Repeat("k", maxEventKey), "x"))))
	})
}

func ignore[T any](_ T, err error) error { return err }

func TestPutBusyAndClosed(t *testing.T) {
	t.Parallel()
	s := open(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"), Options{InboxQueue: 2})
	block, err := s.writeDB.Conn(t.Context()) // SQLite's only writer
	must(t, err)
	results := make(chan error, 64)
	for i := range 64 {
		go func() { results <- ignore(s.Put(t.Context(), event(strconv.Itoa(i), "x"))) }()
	}
	var busy, stored int
	for range 61 { // one batch in the making and two that wait may be neither
		if err := <-results; errors.Is(err, stocksync.ErrBusy) {
			busy++
		} else {
			t.Errorf("while the writer is blocked: %v", err)
		}
	}
	must(t, block.Close())
	for range 3 {
		if err := <-results; err == nil {
			stored++
		} else if errors.Is(err, stocksync.ErrBusy) {
			busy++
		}
	}
	if stored == 0 || busy+stored != 64 {
		t.Errorf("%d were stored and %d were told to come again", stored, busy)
	}
	must(t, s.Close())
	if _, err := s.Put(t.Context(), event("late", "x")); !errors.Is(err, stocksync.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := s.Events(t.Context(), stocksync.EventQuery{Limit: 1}); !errors.Is(err, stocksync.ErrUnavailable) {
		t.Errorf("a list after Close: %v", err)
	}
}

func TestCloseCommitsWhatWaits(t *testing.T) {
	t.Parallel()
	url := "sqlite:" + filepath.Join(t.TempDir(), "test.db")
	s := open(t, url, Options{})
	stored := make(chan string, 500)
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			key := strconv.Itoa(i)
			if _, err := s.Put(t.Context(), event(key, key)); err == nil {
				stored <- key
			} else if !errors.Is(err, stocksync.ErrUnavailable) {
				t.Errorf("Put: %v", err)
			}
		})
	}
	must(t, s.Close())
	wg.Wait()
	close(stored)
	again := open(t, url, Options{})
	for key := range stored {
		if r := got(again.Put(t.Context(), event(key, key)))(t); !r.Duplicate {
			t.Errorf("event %s was acknowledged and is gone", key)
		}
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		calls := 0
		n, err := s.Apply(ctx, 10, func(stocksync.LedgerTx, []stocksync.Event) error { calls++; return nil })
		if n != 0 || err != nil || calls != 0 {
			t.Errorf("with nothing due: %d, %v, %d calls", n, err, calls)
		}
		for i := range 5 {
			must(t, ignore(s.Put(ctx, event(strconv.Itoa(i), "x"))))
		}
		broken := errors.New("broken")
		n, err = s.Apply(ctx, 3, func(tx stocksync.LedgerTx, _ []stocksync.Event) error {
			must(t, tx.Save(everything()))
			return broken
		})
		if n != 0 || !errors.Is(err, broken) {
			t.Errorf("a failed batch: %d, %v", n, err)
		}
		same(t, "backlog after a failed batch", got(s.Backlog(ctx, nil))(t), stocksync.Backlog{InboxPending: 5})
		var seen []string
		for range 3 {
			_, err = s.Apply(ctx, 3, func(_ stocksync.LedgerTx, events []stocksync.Event) error {
				for _, e := range events {
					seen = append(seen, e.Key)
				}
				return nil
			})
			must(t, err)
		}
		same(t, "order of events", seen, []string{"0", "1", "2", "3", "4"})
		same(t, "backlog", got(s.Backlog(ctx, nil))(t), stocksync.Backlog{})
		rows := got(s.Events(ctx, stocksync.EventQuery{State: stocksync.EventApplied, Limit: 10}))(t)
		if len(rows) != 5 || rows[0].State != stocksync.EventApplied {
			t.Errorf("applied events: %+v", rows)
		}
	})
}

// everything is a change of every kind.
func everything() stocksync.Changes {
	order := &stocksync.Order{
		Channel: "shop", OrderID: "o1", Version: 3, Status: connectors.OrderOpen, StatusVersion: 3, PlacedAt: after(-time.Hour), AcceptedAt: t0,
		Lines:      []stocksync.OrderLine{{ID: "l1", Ref: connectors.Ref{Item: "i1"}, Version: 3, Ordered: 2, Components: []stocksync.LineComponent{{SKU: "A", Units: 6, Location: "w", Committed: 12}}}},
		Deductions: []stocksync.Deduction{{Key: "d\xff\x00", Kind: connectors.ShipmentShipped, SKU: "A", Location: "w", Quantity: 1, Position: stock.Position{SeenAt: t0}}},
	}
	return stocksync.Changes{
		Orders: []*stocksync.Order{order},
		Commitments: []stocksync.Commitment{
			{OrderKey: order.Key(), LineID: "l1", SKU: "A", Location: "w", Quantity: 12, Ref: connectors.Ref{Item: "i1"}, ChannelOpen: 2, AcceptedAt: t0},
			{OrderKey: order.Key(), LineID: "l2", SKU: "B", Location: "w", Quantity: 1, Ref: connectors.Ref{Item: "i1"}, ChannelOpen: 3, AcceptedAt: after(-time.Second)},
		},
		Statements: []stocksync.HeldStatement{{Connection: "erp", LevelKey: stocksync.LevelKey{SKU: "A", Location: "w"}, Quantity: 40,
			Position: stock.Position{Sequenced: true, Sequence: 7, SourceAt: after(-time.Minute), SeenAt: t0}, Event: 1, At: t0}},
		Movements: []stocksync.HeldMovement{
			{Connection: "erp", Key: "m2", LevelKey: stocksync.LevelKey{SKU: "A", Location: "w"}, Delta: -3, Position: stock.Position{Sequenced: true, Sequence: 9}, At: t0},
			{Connection: "erp", Key: "m1", LevelKey: stocksync.LevelKey{SKU: "A", Location: "w"}, Delta: 5, Position: stock.Position{Sequenced: true, Sequence: 6}, Covered: true, At: t0},
		},
		Entries: []stocksync.LedgerEntry{
			{Posting: posting(stock.Outside, stock.Available, 40, t0), Hash: []byte{1}},
			{Posting: posting(stock.Available, stock.Committed, 12, after(time.Second)), Previous: []byte{1}, Hash: []byte{2}},
		},
		Levels:    []stocksync.HeldLevel{{Level: stock.Level{SKU: "A", Location: "w", Available: 28, Committed: 12}, Hash: []byte{2}}},
		Dirty:     []stock.SKU{"B", "A", "A"},
		Seen:      []stocksync.Listing{{ListingKey: listing("i1"), SKU: "theirs", Title: "seen"}},
		Look:      []stocksync.ListingKey{listing("i1")},
		Forwards:  []stocksync.Forward{{OrderKey: order.Key(), Connection: "erp", DueAt: t0}},
		Notices:   []stocksync.Notice{{Channel: "shop", ShipmentNotice: connectors.ShipmentNotice{Key: "n1", OrderID: "o1", Lines: []connectors.ShippedPacks{{LineID: "l1", Quantity: 1}}, Carrier: "post"}, DueAt: t0}},
		Incidents: []stocksync.Incident{{Kind: stocksync.IncidentOversell, Subject: "A", Message: "too many", OpenedAt: t0}},
		At:        t0,
	}
}

func posting(from, to stock.State, q stock.Quantity, at time.Time) stock.Posting {
	return stock.Posting{SKU: "A", Location: "w", From: from, To: to, Quantity: q, At: at,
		Cause: stock.Cause{Kind: stock.CauseStatement, Event: 1, Reference: "erp#7"}}
}

// Whoever stores a decision first has made it.
func TestDecisionsAreMadeOnce(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ids := []int64{}
		for _, key := range []string{"a", "b", "c"} {
			ids = append(ids, got(s.Put(t.Context(), event(key, key)))(t).ID)
		}
		made := func(id int64, d connectors.Decision, reason string) stocksync.Admission {
			return stocksync.Admission{Event: id, Admission: connectors.Admission{Decision: d, Reason: reason, At: after(1 * time.Second)}}
		}
		if _, ok, err := s.Admission(t.Context(), ids[0]); ok || err != nil {
			t.Errorf("a decision before there is one: %t, %v", ok, err)
		}
		incident := stocksync.Incident{Kind: stocksync.IncidentUndecided, Subject: "shop", Message: "late", OpenedAt: after(1 * time.Second)}
		same(t, "first", got(s.Decide(t.Context(), made(ids[0], connectors.Refuse, "late"), incident))(t), made(ids[0], connectors.Refuse, "late"))
		n := got(s.Apply(t.Context(), 10, func(tx stocksync.LedgerTx, events []stocksync.Event) error {
			if len(events) != 3 {
				t.Errorf("%d events are due", len(events))
			}
			tx.Only(2)
			held, ok, err := tx.Admission(ids[0])
			if !ok || err != nil {
				t.Errorf("the decision within the transaction: %t, %v", ok, err)
			}
			same(t, "held", held, made(ids[0], connectors.Refuse, "late"))
			return tx.Save(stocksync.Changes{At: after(2 * time.Second), Admissions: []stocksync.Admission{made(ids[1], connectors.Admit, "enough")}})
		}))(t)
		if n != 2 {
			t.Errorf("%d events were applied", n)
		}
		same(t, "late", got(s.Decide(t.Context(), made(ids[1], connectors.Refuse, "late")))(t), made(ids[1], connectors.Admit, "enough"))
		if _, err := s.Apply(t.Context(), 10, func(tx stocksync.LedgerTx, events []stocksync.Event) error {
			if len(events) != 1 || events[0].ID != ids[2] {
				t.Errorf("due are %v", events)
			}
			return tx.Save(stocksync.Changes{At: after(3 * time.Second), Admissions: []stocksync.Admission{made(ids[0], connectors.Admit, "other")}})
		}); err == nil {
			t.Error("a second decision was stored")
		}
	})
}

func TestSalesOfASpan(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		sale := func(id string, units stock.Quantity, at time.Time) stocksync.Sale {
			return stocksync.Sale{OrderKey: stocksync.OrderKey{Channel: "shop", OrderID: id}, LineID: "1", SKU: "A", Units: units, At: at}
		}
		other := sale("1", 99, t0)
		other.SKU = "B"
		feed(t, s, stocksync.Changes{Sales: []stocksync.Sale{sale("1", 5, t0), sale("2", 7, after(time.Minute)), sale("3", 11, after(time.Hour)), other}, Dirty: []stock.SKU{"A"}, At: t0})
		must(t, ignore(s.Put(ctx, event("again", "x"))))
		must(t, ignore(s.Apply(ctx, 1, func(tx stocksync.LedgerTx, _ []stocksync.Event) error {
			return tx.Save(stocksync.Changes{Sales: []stocksync.Sale{sale("1", 3, t0), sale("2", 0, after(time.Minute))}, At: t0})
		})))
		must(t, ignore(s.Plan(ctx, 9, func(tx stocksync.PlanTx, _ []stock.SKU) error {
			units, oldest, err := tx.Sold("A", t0, after(time.Hour))
			if err != nil || units != 3 || !oldest.Equal(t0) {
				t.Errorf("sold before the hour: %d since %s (%v), want 3", units, oldest, err)
			}
			if units, oldest, err = tx.Sold("A", t0.Add(1), after(2*time.Hour)); err != nil || units != 11 || !oldest.Equal(after(time.Hour)) {
				t.Errorf("sold after the first: %d since %s (%v), want 11", units, oldest, err)
			}
			if units, _, err = tx.Sold("A", after(2*time.Hour), after(3*time.Hour)); err != nil || units != 0 {
				t.Errorf("sold in no time: %d (%v)", units, err)
			}
			return tx.PlanLater(map[stock.SKU]time.Time{"A": after(time.Hour)})
		})))
		if next := got(s.Ripen(ctx, t0))(t); !next.Equal(after(time.Hour)) {
			t.Errorf("planned next at %s, want in an hour", next)
		}
	})
}

func TestKeysAreAssignedOnce(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		key := func(name string) stocksync.NewKey {
			return stocksync.NewKey{Sealed: []byte("sealed " + name), Secret: []byte("s"), Digest: []byte(name), At: t0}
		}
		act := stocksync.AuditEntry{At: t0, By: "me", Action: "keys imported", Subject: "keys A"}
		add := func(names ...string) (known []int, count stock.Quantity, sequence int64) {
			var keys []stocksync.NewKey
			for _, n := range names {
				keys = append(keys, key(n))
			}
			known, err := s.AddKeys(ctx, "A", keys, func(c stock.Quantity, n int64) ([]stocksync.NewEvent, error) {
				count, sequence = c, n
				return []stocksync.NewEvent{event(fmt.Sprint("keys", n), "x")}, nil
			}, act)
			must(t, err)
			return known, count, sequence
		}
		if known, count, sequence := add("a", "b", "c"); known != nil || count != 3 || sequence != 3 {
			t.Fatalf("three keys: %v known, %d at %d", known, count, sequence)
		}
		if known, _, _ := add("d", "b"); !slices.Equal(known, []int{1}) {
			t.Errorf("a key that is known: %v", known)
		}
		all := got(s.Keys(ctx, "A", 0, 10))(t)
		if len(all) != 3 {
			t.Fatalf("%d keys are stored, want the first three", len(all))
		}

		line := stocksync.Sale{OrderKey: stocksync.OrderKey{Channel: "shop", OrderID: "o1"}, LineID: "1", SKU: "A", Units: 2, At: t0}
		grant := stocksync.KeyGrant{ID: all[0].ID, OrderKey: line.OrderKey, LineID: "1", SKU: "A", Unit: 1}
		apply := func(fn func(tx stocksync.LedgerTx) error) error {
			must(t, ignore(s.Put(ctx, event(t.Name()+fmt.Sprint(time.Now().UnixNano()), "x"))))
			_, err := s.Apply(ctx, 9, func(tx stocksync.LedgerTx, _ []stocksync.Event) error { return fn(tx) })
			return err
		}
		must(t, apply(func(tx stocksync.LedgerTx) error {
			if free := got(tx.FreeKeys("A", 2))(t); !slices.Equal(free, []int64{all[0].ID, all[1].ID}) {
				t.Errorf("free: %v", free)
			}
			return tx.Save(stocksync.Changes{Sales: []stocksync.Sale{line}, KeyGrants: []stocksync.KeyGrant{grant}, At: t0})
		}))
		must(t, apply(func(tx stocksync.LedgerTx) error {
			same(t, "grants", got(tx.KeyGrants([]stocksync.Sale{line}))(t), []stocksync.KeyGrant{grant})
			same(t, "waiting", got(tx.WaitingForKeys("A"))(t), []stocksync.Sale{line})
			return nil
		}))
		taken := grant
		taken.OrderID = "o2"
		if err := apply(func(tx stocksync.LedgerTx) error {
			return tx.Save(stocksync.Changes{KeyGrants: []stocksync.KeyGrant{taken}, At: t0})
		}); err == nil {
			t.Error("a key was assigned twice")
		}
		second := grant
		second.ID = all[1].ID
		if err := apply(func(tx stocksync.LedgerTx) error {
			return tx.Save(stocksync.Changes{KeyGrants: []stocksync.KeyGrant{second}, At: t0})
		}); err == nil {
			t.Error("a unit got two keys")
		}

		var sealed []byte
		take := func(b []byte) error { sealed = append([]byte(nil), b...); return nil }
		if err := s.RevealKey(ctx, all[0].ID, t0, func([]byte) error { return errors.ErrUnsupported }, act); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a key that cannot be opened: %v", err)
		}
		if must(t, s.RevealKey(ctx, all[0].ID, t0, take, act)); string(sealed) != "sealed a" {
			t.Errorf("revealed %q", sealed)
		}
		for id, want := range map[int64]error{all[0].ID: stocksync.ErrConflict, all[1].ID: stocksync.ErrInvalid, 99: stocksync.ErrNotFound} {
			if err := s.RevealKey(ctx, id, t0, take, act); !errors.Is(err, want) {
				t.Errorf("reveal %d: %v, want %v", id, err, want)
			}
		}
		var count stock.Quantity
		must(t, s.RevokeKey(ctx, all[2].ID, t0, func(_ stock.SKU, c stock.Quantity, n int64) ([]stocksync.NewEvent, error) {
			count = c
			return []stocksync.NewEvent{event(fmt.Sprint("keys", n), "x")}, nil
		}, act))
		if count != 2 {
			t.Errorf("%d keys after one was revoked, want 2", count)
		}
		if err := s.RevokeKey(ctx, all[2].ID, t0, nil, act); !errors.Is(err, stocksync.ErrConflict) {
			t.Errorf("revoked again: %v", err)
		}
		// A revoked key is had no more, and its unit may have another.
		must(t, s.RevokeKey(ctx, all[0].ID, t0, func(_ stock.SKU, c stock.Quantity, n int64) ([]stocksync.NewEvent, error) {
			count = c
			return []stocksync.NewEvent{event(fmt.Sprint("keys", n), "x")}, nil
		}, act))
		if count != 1 {
			t.Errorf("%d keys after an assigned one was revoked, want 1", count)
		}
		must(t, apply(func(tx stocksync.LedgerTx) error {
			if held := got(tx.KeyGrants([]stocksync.Sale{line}))(t); len(held) != 0 {
				t.Errorf("the line has %v", held)
			}
			return tx.Save(stocksync.Changes{KeyGrants: []stocksync.KeyGrant{second}, At: t0})
		}))
		must(t, apply(func(tx stocksync.LedgerTx) error {
			same(t, "lines with a revoked key", got(tx.WaitingForKeys("A"))(t), []stocksync.Sale{line})
			return nil
		}))
		for secret, want := range map[string]int64{"s": 0, "t": 3} {
			if n := got(s.KeysOfOtherSecrets(ctx, []byte(secret)))(t); n != want {
				t.Errorf("%d keys are of another secret than %s, want %d", n, secret, want)
			}
		}
		other := key("e")
		other.Secret = []byte("t")
		if _, err := s.AddKeys(ctx, "A", []stocksync.NewKey{other}, nil, act); !errors.Is(err, stocksync.ErrInvalid) {
			t.Errorf("a key of another secret: %v", err)
		}
	})
}

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		c := everything()
		feed(t, s, c)
		order, forward, err := s.OrderByKey(ctx, stocksync.OrderKey{Channel: "shop", OrderID: "o1"})
		must(t, err)
		want := *c.Orders[0]
		want.Deductions = slices.Clone(want.Deductions)
		want.Deductions[0].Key = "d\uFFFD\x00" // the escape of a zero byte is text
		same(t, "order", *order, want)
		same(t, "forward", *forward, stocksync.Forward{OrderKey: order.Key(), Connection: "erp", Want: 1, DueAt: t0})

		must(t, ignore(s.Put(ctx, event("next", "x"))))
		_, err = s.Apply(ctx, 1, func(tx stocksync.LedgerTx, _ []stocksync.Event) error {
			skus := []stock.SKU{"B", "A", "nope", "A"}
			orders := got(tx.Orders([]stocksync.OrderKey{order.Key(), {Channel: "shop", OrderID: "nope"}}))(t)
			if len(orders) != 1 {
				t.Errorf("orders: %v", orders)
			}
			same(t, "levels", got(tx.Levels(skus))(t), map[stocksync.LevelKey]*stocksync.HeldLevel{{SKU: "A", Location: "w"}: &c.Levels[0]})
			same(t, "statements", got(tx.Statements(skus))(t), c.Statements)
			same(t, "uncovered", got(tx.Uncovered(skus))(t), c.Movements[:1])
			same(t, "movements by key", got(tx.Movements("erp", []string{"m2", "m1", "m3"}))(t), []stocksync.HeldMovement{c.Movements[1], c.Movements[0]})
			same(t, "listings", got(tx.Listings([]stocksync.ListingKey{listing("i1"), listing("i2")}))(t),
				map[stocksync.ListingKey]*stocksync.Listing{listing("i1"): {ListingKey: listing("i1"), SKU: "theirs", Title: "seen"}})
			same(t, "known", got(tx.KnownSKUs(skus))(t), map[stock.SKU]bool{})

			movement := c.Movements[0]
			movement.Covered = true
			done := c.Commitments[0]
			done.Quantity, done.ChannelOpen = 0, 0
			less := c.Commitments[1]
			less.Quantity = 0
			return tx.Save(stocksync.Changes{
				Movements: []stocksync.HeldMovement{movement}, Commitments: []stocksync.Commitment{done, less},
				Levels: []stocksync.HeldLevel{{Level: stock.Level{SKU: "A", Location: "w", Available: -1}}},
				Seen:   []stocksync.Listing{{ListingKey: listing("i1"), Title: "again"}}, Forwards: []stocksync.Forward{{OrderKey: order.Key(), Connection: "erp", DueAt: after(time.Hour)}},
				Notices:   []stocksync.Notice{{Channel: "shop", ShipmentNotice: connectors.ShipmentNotice{Key: "n1", OrderID: "other"}, DueAt: t0}},
				Incidents: []stocksync.Incident{{Kind: stocksync.IncidentOversell, Subject: "A", Message: "newer", OpenedAt: after(time.Hour)}}, At: after(time.Hour),
			})
		})
		must(t, err)

		if u := got(s.UncoveredMovements(ctx, "A"))(t); len(u) != 0 {
			t.Errorf("covered movements are listed: %+v", u)
		}
		same(t, "commitments of B", got(s.OpenCommitments(ctx, "B", 10))(t), []stocksync.Commitment{func() stocksync.Commitment { m := c.Commitments[1]; m.Quantity = 0; return m }()})
		if m := got(s.OpenCommitments(ctx, "A", 10))(t); len(m) != 0 {
			t.Errorf("an ended commitment is kept: %+v", m)
		}
		report := got(s.Item(ctx, "A"))(t)
		same(t, "levels of A", report.Levels, []stock.Level{{SKU: "A", Location: "w", Available: -1}})
		if _, err := s.Item(ctx, "nope"); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("a missing article: %v", err)
		}
		if l := oneListing(t, s, "i1"); l.Title != "seen" {
			t.Errorf("Seen replaced a listing: %+v", l)
		}
		forwards, orders, err := s.DueForwards(ctx, "erp", after(2*time.Hour), 10)
		must(t, err)
		if len(forwards) != 1 || forwards[0].Want != 2 || !forwards[0].DueAt.Equal(after(time.Hour)) || orders[0].OrderID != "o1" {
			t.Errorf("forwards %+v", forwards)
		}
		notices := got(s.DueNotices(ctx, "shop", t0, 10))(t)
		same(t, "notices", notices, c.Notices)
		incidents := got(s.Incidents(ctx, true, 0, 10))(t)
		if len(incidents) != 1 || incidents[0].Message != "newer" || !incidents[0].OpenedAt.Equal(t0) {
			t.Errorf("incidents %+v", incidents)
		}
		entries := got(s.Entries(ctx, "A", after(time.Minute), 10))(t)
		if len(entries) != 2 || entries[0].ID <= entries[1].ID {
			t.Fatalf("entries %+v", entries)
		}
		for i, e := range []stocksync.LedgerEntry{c.Entries[1], c.Entries[0]} {
			e.ID = entries[i].ID
			same(t, "entry", entries[i], e)
		}
		same(t, "levels at an instant", got(s.LevelsAt(ctx, "A", t0))(t), []stock.Level{{SKU: "A", Location: "w", Available: 40}})
		same(t, "levels now", got(s.LevelsAt(ctx, "A", after(time.Second)))(t), []stock.Level{{SKU: "A", Location: "w", Available: 28, Committed: 12}})
		same(t, "dirty", dirtySKUs(t, s), []stock.SKU{"A", "B"})
		same(t, "due", dueItems(t, s, t0), []string{"i1"})
	})
}

// Orders that a system of record has are unfinished while anything of them is promised, or open at the channel.
func TestUnfinishedOrdersArePagedByKey(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		change := stocksync.Changes{At: t0}
		add := func(id string, promised, open stock.Quantity, accepted time.Time) stocksync.OrderKey {
			o := &stocksync.Order{Channel: "shop", OrderID: id, Version: 1, StatusVersion: 1, Status: connectors.OrderOpen, AcceptedAt: accepted,
				Answers: []stocksync.OrderAnswer{{Position: stock.Position{SourceAt: t0, SeenAt: after(time.Second)}, Lines: []connectors.StandingLine{{LineID: "1", Rejected: 1}}}}}
			change.Orders = append(change.Orders, o)
			for _, sku := range []stock.SKU{"A", "B"} {
				change.Commitments = append(change.Commitments, stocksync.Commitment{OrderKey: o.Key(), LineID: "1", SKU: sku, Location: "w", Quantity: promised, Ref: connectors.Ref{Item: "i1"}, ChannelOpen: open, AcceptedAt: accepted})
			}
			change.Forwards = append(change.Forwards, stocksync.Forward{OrderKey: o.Key(), Connection: "erp", DueAt: t0})
			return o.Key()
		}
		keys := []stocksync.OrderKey{add("promised", 1, 0, t0), add("open", 0, 1, t0), add("over", 0, 0, t0), add("young", 1, 1, after(time.Hour)), add("unsent", 1, 1, t0)}
		feed(t, s, change)
		for _, key := range keys[:4] {
			must(t, s.SaveForward(ctx, stocksync.Forward{OrderKey: key, Connection: "erp", Want: 1, Done: 1, Number: "SO-" + key.OrderID, DueAt: t0}, nil))
		}
		names := func(orders []*stocksync.Order) (out []string) {
			for _, o := range orders {
				out = append(out, o.OrderID)
			}
			return out
		}
		first := got(s.UnfinishedOrders(ctx, "erp", after(time.Minute), stocksync.OrderKey{}, 1))(t)
		same(t, "the first", names(first), []string{"open"})
		same(t, "what it was answered", first[0].Answers, change.Orders[1].Answers)
		same(t, "the rest", names(got(s.UnfinishedOrders(ctx, "erp", after(time.Minute), first[0].Key(), 9))(t)), []string{"promised"})
		same(t, "all, later", names(got(s.UnfinishedOrders(ctx, "erp", after(2*time.Hour), stocksync.OrderKey{}, 9))(t)), []string{"open", "promised", "young"})
		same(t, "those of another", names(got(s.UnfinishedOrders(ctx, "wms", after(2*time.Hour), stocksync.OrderKey{}, 9))(t)), []string(nil))
	})
}

func TestParkedEventsWaitAndComeBack(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		keys := []string{"listing", "sku", "person", "kit"}
		ids := make(map[string]int64)
		for _, k := range keys {
			ids[k] = got(s.Put(ctx, event(k, "x")))(t).ID
		}
		apply(t, s, stocksync.Changes{At: t0, Parked: []stocksync.Parked{
			{Event: ids["listing"], Reason: "unmapped", At: t0, Refs: []stocksync.ListingKey{listing("i1"), listing("i2")}},
			{Event: ids["sku"], Reason: "unknown", At: t0, SKUs: []stock.SKU{"S"}},
			{Event: ids["person"], Reason: "unknown type", At: t0},
			{Event: ids["kit"], Reason: "unknown", At: t0, SKUs: []stock.SKU{"PART"}},
		}})
		same(t, "backlog", got(s.Backlog(ctx, nil))(t), stocksync.Backlog{InboxParked: 4})
		_, state, parked, err := s.EventByID(ctx, ids["listing"])
		must(t, err)
		same(t, "state", state, stocksync.EventParked)
		same(t, "parked", *parked, stocksync.Parked{Event: ids["listing"], Reason: "unmapped", At: t0, Refs: []stocksync.ListingKey{listing("i1"), listing("i2")}})

		same(t, "an import that concerns nobody", imported(t, s, link("i9", "X", 1)), stocksync.ImportReport{Listings: 1})
		same(t, "import", imported(t, s, link("i2", "X", 1), kit("KIT", "PART", 2)), stocksync.ImportReport{Listings: 1, Replayed: 2})
		events := apply(t, s, stocksync.Changes{At: t0, Parked: []stocksync.Parked{{Event: ids["listing"], Reason: "the other", At: after(time.Second), Refs: []stocksync.ListingKey{listing("i1")}}}})
		if len(events) != 2 || events[0].Key != "listing" || events[1].Key != "kit" {
			t.Errorf("replayed %+v", events)
		}
		must(t, s.SaveItems(ctx, []connectors.Item{{SKU: "S"}, {SKU: "T"}}, t0))
		rows := got(s.Events(ctx, stocksync.EventQuery{State: stocksync.EventPending, Limit: 10}))(t)
		if len(rows) != 1 || rows[0].Key != "sku" || rows[0].State != stocksync.EventPending {
			t.Errorf("pending %+v", rows)
		}
		must(t, s.Replay(ctx, ids["person"], t0))
		for _, id := range []int64{ids["person"], ids["kit"], 999} {
			if err := s.Replay(ctx, id, t0); !errors.Is(err, stocksync.ErrNotFound) {
				t.Errorf("replay of event %d, which is not parked: %v", id, err)
			}
		}
		apply(t, s, stocksync.Changes{})
		rows = got(s.Events(ctx, stocksync.EventQuery{State: stocksync.EventParked, Limit: 10}))(t)
		if len(rows) != 1 || rows[0].Key != "listing" || rows[0].Reason != "the other" {
			t.Errorf("parked %+v", rows)
		}
		rows = got(s.Events(ctx, stocksync.EventQuery{After: ids["listing"], Limit: 2}))(t)
		if len(rows) != 2 || rows[0].Key != "sku" || rows[1].Key != "person" || rows[0].State != stocksync.EventApplied {
			t.Errorf("a page of all %+v", rows)
		}
		if _, err := s.Events(ctx, stocksync.EventQuery{State: "odd", Limit: 1}); err == nil {
			t.Error("an unknown state was taken")
		}
		if _, _, _, err := s.EventByID(ctx, 999); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("a missing event: %v", err)
		}
	})
}

func TestPlanKeepsMarksMadeMeanwhile(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, url string) {
		ctx := t.Context()
		imported(t, s, link("i1", "A", 1), link("i2", "B", 1))
		broken := errors.New("broken")
		if n, err := s.Plan(ctx, 10, func(stocksync.PlanTx, []stock.SKU) error { return broken }); n != 0 || !errors.Is(err, broken) {
			t.Errorf("a failed plan: %d, %v", n, err)
		}
		if n, err := s.Plan(ctx, 1, func(_ stocksync.PlanTx, skus []stock.SKU) error { same(t, "first", skus, []stock.SKU{"A"}); return nil }); n != 1 || err != nil {
			t.Errorf("Plan: %d, %v", n, err)
		}
		second := open(t, url, Options{})
		marked := make(chan error, 1)
		n, err := s.Plan(ctx, 10, func(_ stocksync.PlanTx, skus []stock.SKU) error {
			same(t, "second", skus, []stock.SKU{"B"})
			go func() {
				marked <- second.change(context.WithoutCancel(ctx), "mark", func(x *txn) error { return x.markDirty([]stock.SKU{"B"}, nil) })
			}()
			return nil
		})
		if n != 1 || err != nil {
			t.Errorf("Plan: %d, %v", n, err)
		}
		must(t, <-marked)
		same(t, "marked meanwhile", dirtySKUs(t, s), []stock.SKU{"B"})
		if skus := dirtySKUs(t, s); skus != nil {
			t.Errorf("planned SKUs are dirty: %v", skus)
		}
		must(t, s.DirtyConnection(ctx, "shop"))
		must(t, s.DirtyConnection(ctx, "nobody"))
		same(t, "dirty connection", dirtySKUs(t, s), []stock.SKU{"A", "B"})
	})
}

func TestPlanLoadsAndSaves(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		imported(t, s, link("bundle", "A", 2), link("bundle", "B", 1), link("single", "A", 1), link("other", "C", 1))
		feed(t, s, stocksync.Changes{At: t0, Commitments: []stocksync.Commitment{
			{OrderKey: stocksync.OrderKey{Channel: "shop", OrderID: "1"}, LineID: "1", SKU: "A", ChannelOpen: 2, Ref: connectors.Ref{Item: "single"}},
			{OrderKey: stocksync.OrderKey{Channel: "shop", OrderID: "2"}, LineID: "1", SKU: "A", ChannelOpen: 3, Ref: connectors.Ref{Item: "single"}},
		}})
		_, err := s.Plan(ctx, 10, func(tx stocksync.PlanTx, skus []stock.SKU) error {
			keys := got(tx.Dependents([]stock.SKU{"A", "B"}))(t)
			same(t, "dependents", keys, []stocksync.ListingKey{listing("bundle"), listing("single")})
			same(t, "components", got(tx.Components(keys))(t), map[stocksync.ListingKey][]mapping.Component{
				listing("bundle"): {{SKU: "A", Units: 2}, {SKU: "B", Units: 1}}, listing("single"): {{SKU: "A", Units: 1}}})
			same(t, "open at the channel", got(tx.ChannelOpen(keys))(t), map[stocksync.ListingKey]stock.Quantity{listing("single"): 5})
			return tx.SaveTargets([]stocksync.TargetChange{
				{ListingKey: listing("single"), Target: new(stock.Quantity(4)), Generation: 1, At: t0, Push: true},
				{ListingKey: listing("bundle"), Target: new(stock.Quantity(2)), Generation: 1, At: after(time.Second), Push: true, Lower: true},
				{ListingKey: listing("other"), Generation: 1, Held: "no statement", At: t0},
			})
		})
		must(t, err)
		same(t, "lowers first", dueItems(t, s, after(time.Second)), []string{"bundle", "single"})
		same(t, "only what is due", dueItems(t, s, t0), []string{"single"})
		next, some, err := s.NextPush(ctx, "shop")
		if err != nil || !some || !next.Equal(t0) {
			t.Errorf("NextPush: %v, %v, %v", next, some, err)
		}
		if _, some, err := s.NextPush(ctx, "nobody"); some || err != nil {
			t.Errorf("NextPush of nobody: %v, %v", some, err)
		}
		l := oneListing(t, s, "other")
		if l.Target != nil || l.Held != "no statement" || l.Generation != 1 || !l.Mapped || !l.ChangedAt.Equal(t0) {
			t.Errorf("listing %+v", l)
		}
		b := got(s.Backlog(ctx, nil))(t)
		if b.Unconfirmed != 2 || !b.OldestUnconfirmed.Equal(t0) {
			t.Errorf("backlog %+v", b)
		}
		err = s.View(ctx, func(tx stocksync.PlanTx) error {
			if err := tx.SaveTargets([]stocksync.TargetChange{{ListingKey: listing("single")}}); err == nil {
				t.Error("a view saved")
			}
			_, err := tx.Listings([]stocksync.ListingKey{listing("single")})
			return err
		})
		must(t, err)
	})
}

func TestSettle(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		imported(t, s, link("done", "A", 1), link("later", "A", 1), link("newer", "A", 1), link("marked", "A", 1))
		for _, item := range []string{"done", "later", "newer", "marked"} {
			setTargets(t, s, stocksync.TargetChange{ListingKey: listing(item), Target: new(stock.Quantity(5)), Generation: 1, At: t0, Push: true})
		}
		at := after(time.Second)
		setTargets(t, s, stocksync.TargetChange{ListingKey: listing("newer"), Target: new(stock.Quantity(3)), Generation: 2, Held: "waits", At: after(time.Minute), Push: true, Lower: true})
		must(t, s.MarkDue(ctx, []stocksync.ListingKey{listing("marked")}, after(2*time.Second)))
		write := func(item string) *stocksync.Push {
			return &stocksync.Push{ListingKey: listing(item), Generation: 1, Quantity: 5, Expect: new(stock.Quantity(7)), Outcome: "ok", At: at}
		}
		must(t, s.Settle(ctx, []stocksync.PushOutcome{
			{ListingKey: listing("newer"), Generation: 1, Write: write("newer"), Published: new(stock.Quantity(5)), Confirmed: new(stock.Quantity(5)), At: at, Attempts: 1},
			{ListingKey: listing("later"), Generation: 1, Write: write("later"), Published: new(stock.Quantity(5)), At: at, DueAt: after(time.Hour), LastError: "slow", RecheckAt: after(time.Hour), Status: connectors.StatusStopped, Held: "why"},
			{ListingKey: listing("done"), Generation: 1, Confirmed: new(stock.Quantity(5)), At: at},
			{ListingKey: listing("marked"), Generation: 1, Confirmed: new(stock.Quantity(5)), At: at},
			{ListingKey: listing("gone"), Generation: 1, At: at},
		}, []stocksync.Incident{{Kind: stocksync.IncidentWriteRejected, Subject: "x", OpenedAt: at}}))

		l := oneListing(t, s, "done")
		if *l.Confirmed != 5 || l.ConfirmedGeneration != 1 || !l.ConfirmedAt.Equal(at) || l.Published != nil || l.State(false) != stocksync.InSync {
			t.Errorf("done %+v", l)
		}
		l = oneListing(t, s, "later")
		if *l.Published != 5 || l.PublishedGeneration != 1 || !l.PublishedAt.Equal(at) || l.Confirmed != nil || l.LastError != "slow" ||
			!l.RecheckAt.Equal(after(time.Hour)) || l.Status != connectors.StatusStopped || l.Held != "why" {
			t.Errorf("later %+v", l)
		}
		l = oneListing(t, s, "newer")
		if l.Confirmed != nil || *l.Published != 5 || l.PublishedGeneration != 1 || l.Attempts != 1 || l.Held != "waits" || l.Generation != 2 {
			t.Errorf("newer %+v", l)
		}
		same(t, "due at once, later and not at all", dueItems(t, s, after(2*time.Second)), []string{"newer", "marked"})
		same(t, "due later", dueItems(t, s, after(time.Hour)), []string{"newer", "marked", "later"})
		pushes := got(s.Pushes(ctx, listing("later"), at, 10))(t)
		same(t, "pushes", pushes, []stocksync.Push{*write("later")})
		if p := got(s.Pushes(ctx, listing("later"), t0, 10))(t); len(p) != 0 {
			t.Errorf("pushes from before: %+v", p)
		}
		if n := got(s.Incidents(ctx, true, 0, 10))(t); len(n) != 1 {
			t.Errorf("incidents %+v", n)
		}
		for _, item := range []string{"newer", "later", "done"} {
			if p := got(s.ReadBack(ctx, listing(item), after(time.Hour)))(t); p != nil {
				t.Errorf("%s: %+v was read back at once; its target had moved on, or it was not written or not confirmed", item, p)
			}
		}
		if kept := got(s.VersionsAt(ctx, "listing\x1fshop\x1fdone\x1f", at))(t); kept["shown"] == "" {
			t.Errorf("what was found to be shown without a write is kept as %v", kept)
		}
		must(t, s.Settle(ctx, []stocksync.PushOutcome{{ListingKey: listing("marked"), Generation: 1, Write: write("marked"), Confirmed: new(stock.Quantity(5)), At: at, DueAt: at},
			{ListingKey: listing("later"), Generation: 1, Write: write("later"), Confirmed: new(stock.Quantity(5)), At: at, DueAt: after(time.Hour)}}, nil))
		if p := got(s.ReadBack(ctx, listing("later"), at))(t); p == nil || p.Quantity != 5 || p.Generation != 1 || !p.ShownAt.Equal(at) {
			t.Errorf("a write that was read back at once: %+v", p)
		}
		if p := got(s.ReadBack(ctx, listing("later"), t0))(t); p != nil {
			t.Errorf("read back before it was written: %+v", p)
		}
		if p := got(s.ReadBack(ctx, listing("marked"), at))(t); p != nil {
			t.Errorf("what was confirmed before is confirmed again: %+v", p)
		}
		if kept := got(s.VersionsAt(ctx, "listing\x1fshop\x1flater\x1f", at))(t); kept["shown"] != "" {
			t.Errorf("a write that was read back at once is kept twice: %v", kept)
		}
		must(t, s.MarkDue(ctx, []stocksync.ListingKey{listing("later"), listing("newer")}, after(time.Minute)))
		same(t, "marking hastens and never delays", dueItems(t, s, after(time.Minute)), []string{"newer", "marked", "later"})
	})
}

func TestGuard(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		items := []string{"a", "b", "c", "d"}
		limits := stocksync.GuardLimits{FallPermille: 500, RiseFactor: 10}
		jumps := []stocksync.Jump{stocksync.Falls, stocksync.Rises, stocksync.Rises, ""}
		for i, item := range items {
			imported(t, s, link(item, "A", 1))
			setTargets(t, s, stocksync.TargetChange{ListingKey: listing(item), Target: new(stock.Quantity(i)), Generation: 1, At: t0, Push: true})
			must(t, s.Settle(ctx, []stocksync.PushOutcome{{ListingKey: listing(item), Generation: 1, Published: new(stock.Quantity(9)), At: t0,
				Write: &stocksync.Push{ListingKey: listing(item), Quantity: stock.Quantity(i), Outcome: "ok", Jump: jumps[i], At: t0}}}, nil))
		}
		zeroings := func() (due []stocksync.Change, recent, showing int64) {
			t.Helper()
			j, err := s.Jumps(ctx, "shop", limits, t0)
			must(t, err)
			if len(j.Rises) != 0 || j.RecentRises != 2 {
				t.Errorf("rises %+v, recent %d, want none and 2", j.Rises, j.RecentRises)
			}
			return j.Falls, j.RecentFalls, j.Showing
		}
		due, recent, showing := zeroings()
		if len(due) != 0 || recent != 1 || showing != 4 {
			t.Errorf("nothing is due: %+v, %d, %d", due, recent, showing)
		}
		for _, item := range []string{"b", "c"} {
			setTargets(t, s, stocksync.TargetChange{ListingKey: listing(item), Target: new(stock.Quantity(0)), Generation: 2, At: t0, Push: true, Lower: true})
		}
		must(t, s.Settle(ctx, []stocksync.PushOutcome{{ListingKey: listing("d"), Generation: 1, Confirmed: new(stock.Quantity(0)), At: t0}}, nil))
		want := []stocksync.Change{{Ref: connectors.Ref{Item: "b"}, Have: new(stock.Quantity(9))}, {Ref: connectors.Ref{Item: "c"}, Have: new(stock.Quantity(9))}}
		due, recent, showing = zeroings()
		same(t, "about to go to zero", due, want)
		if recent != 1 || showing != 3 {
			t.Errorf("recent %d, showing %d", recent, showing)
		}
		if j := got(s.Jumps(ctx, "shop", limits, after(time.Second)))(t); j.RecentFalls+j.RecentRises != 0 {
			t.Errorf("recent since later: %+v", j)
		}
		for target, jumps := range map[stock.Quantity][2]int{0: {1, 0}, 4: {1, 0}, 5: {0, 0}, 9: {0, 0}, 89: {0, 0}, 90: {0, 1}, 900: {0, 1}} {
			setTargets(t, s, stocksync.TargetChange{ListingKey: listing("a"), Target: &target, Generation: 2, At: t0, Push: true})
			j := got(s.Jumps(ctx, "shop", limits, t0))(t)
			falls := slices.ContainsFunc(j.Falls, func(c stocksync.Change) bool { return c.Item == "a" && c.Target == target && *c.Have == 9 })
			if falls != (jumps[0] == 1) || len(j.Rises) != jumps[1] {
				t.Errorf("from 9 to %d: %+v", target, j)
			}
		}
		setTargets(t, s, stocksync.TargetChange{ListingKey: listing("a"), Target: new(stock.Quantity(9)), Generation: 3, At: t0, Push: true})
		must(t, s.Settle(ctx, []stocksync.PushOutcome{{ListingKey: listing("a"), Generation: 3, Confirmed: new(stock.Quantity(9)), At: after(time.Millisecond)}}, nil))

		first := got(s.HoldPlan(ctx, stocksync.Plan{Connection: "shop", Reason: "many", Changes: want[:1], CreatedAt: t0}))(t)
		second := got(s.HoldPlan(ctx, stocksync.Plan{Connection: "shop", Reason: "more", Changes: want[1:], CreatedAt: after(time.Minute)}))(t)
		if b := got(s.Backlog(ctx, nil))(t); b.HeldPlans != 2 || !b.OldestHeldPlan.Equal(t0) {
			t.Errorf("%d plans are held since %s, want 2 since %s", b.HeldPlans, b.OldestHeldPlan, t0)
		}
		must(t, s.MarkDue(ctx, []stocksync.ListingKey{listing("b"), listing("c")}, t0))
		if items := dueItems(t, s, after(time.Hour)); items != nil {
			t.Errorf("held listings are due: %v", items)
		}
		must(t, s.Settle(ctx, []stocksync.PushOutcome{{ListingKey: listing("b"), Generation: 2, At: t0, DueAt: t0}}, nil))
		if l := oneListing(t, s, "b"); l.Held != "many" || len(dueItems(t, s, after(time.Hour))) != 0 {
			t.Errorf("a late outcome released a held listing: %+v", l)
		}
		if plans := got(s.ListPlans(ctx, stocksync.PlanHeld, 0, 10))(t); len(plans) != 2 || plans[0].ID != second {
			t.Errorf("plans %+v", plans)
		}
		must(t, s.DecidePlan(ctx, first, stocksync.PlanApproved, "ann", after(time.Second), nil))
		must(t, s.DecidePlan(ctx, second, stocksync.PlanRejected, "ben", after(time.Second), nil))
		if err := s.DecidePlan(ctx, first, stocksync.PlanRejected, "eve", t0, nil); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("a plan was decided twice: %v", err)
		}
		same(t, "approved", dueItems(t, s, after(time.Second)), []string{"b"})
		if b, c := oneListing(t, s, "b"), oneListing(t, s, "c"); b.Held != "" || b.Cleared != 2 || c.Held != "more" || c.Cleared != 0 {
			t.Errorf("b %+v, c %+v", b, c)
		}
		if due, _, _ := zeroings(); len(due) != 0 {
			t.Errorf("cleared or not due, and listed: %+v", due)
		}
		plan := got(s.PlanByID(ctx, first))(t)
		must(t, s.FinishPlan(ctx, second))
		if open := got(s.PlansOf(ctx, "shop", stocksync.PlanApproved))(t); len(open) != 1 || open[0].ID != first {
			t.Errorf("approved and not applied: %+v", open)
		}
		must(t, s.FinishPlan(ctx, first))
		if open := got(s.PlansOf(ctx, "shop", stocksync.PlanApproved))(t); len(open) != 0 {
			t.Errorf("approved and not applied: %+v", open)
		}
		if last := got(s.LastPlan(ctx, "shop", stocksync.PlanRejected))(t); last.ID != second {
			t.Errorf("the last rejected plan is %+v, want %d", last, second)
		}
		if _, err := s.LastPlan(ctx, "other", stocksync.PlanRejected); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("the last rejected plan of a connection that has none: %v", err)
		}
		if a, b := got(s.PlanByID(ctx, first))(t), got(s.PlanByID(ctx, second))(t); a.State != stocksync.PlanApplied || b.State != stocksync.PlanRejected {
			t.Errorf("finished: %s and %s", a.State, b.State)
		}
		same(t, "plan", plan, stocksync.Plan{ID: first, Connection: "shop", State: stocksync.PlanApproved, Reason: "many", Changes: want[:1],
			CreatedAt: t0, DecidedAt: after(time.Second), DecidedBy: "ann"})
		if plans := got(s.ListPlans(ctx, "", second, 10))(t); len(plans) != 1 || plans[0].ID != first {
			t.Errorf("plans before the second: %+v", plans)
		}
		if _, err := s.PlanByID(ctx, 999); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("a missing plan: %v", err)
		}
		setTargets(t, s, stocksync.TargetChange{ListingKey: listing("c"), Target: new(stock.Quantity(1)), Generation: 3, At: t0, Push: true, Lower: true})
		same(t, "a new target ends a rejection", dueItems(t, s, after(time.Second)), []string{"c", "b"})
	})
}

func TestForwardsAndNotices(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		c := everything()
		feed(t, s, c)
		due := func(now time.Time) []stocksync.Forward {
			t.Helper()
			f, _, err := s.DueForwards(ctx, "erp", now, 10)
			must(t, err)
			return f
		}
		if b := got(s.Backlog(ctx, nil))(t); b.Forwards != 1 || b.Notices != 1 {
			t.Errorf("backlog %+v", b)
		}
		f := due(t0)[0]
		f.Sent = []connectors.OrderLine{{LineID: "l1", SKU: "A", Quantity: 12}}
		f.Told = map[string]stock.Quantity{"l1": 1}
		f.Amended, f.Attempts, f.DueAt, f.Error = 4, 2, after(time.Minute), "later"
		must(t, s.SaveForward(ctx, f, nil))
		if len(due(t0)) != 0 {
			t.Error("it is due before its time")
		}
		same(t, "forward", due(after(time.Minute))[0], f)

		feed(t, s, stocksync.Changes{At: t0, Forwards: []stocksync.Forward{{OrderKey: f.OrderKey, Connection: "erp", DueAt: after(2 * time.Second)}}})
		f.Done, f.Number, f.DueAt = 1, "SO1", after(time.Hour)
		must(t, s.SaveForward(ctx, f, []stocksync.Incident{{Kind: "k", Subject: "s", OpenedAt: t0}}))
		if again := due(after(2 * time.Second)); len(again) != 1 || again[0].Want != 2 || again[0].Done != 1 || again[0].Number != "SO1" {
			t.Errorf("a change that came meanwhile: %+v", again)
		}
		f.Want, f.Done = 2, 2
		must(t, s.SaveForward(ctx, f, nil))
		if len(due(after(24*time.Hour))) != 0 {
			t.Error("it is due though everything is told")
		}
		f.OrderID = "nope"
		if err := s.SaveForward(ctx, f, nil); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("a missing forward: %v", err)
		}

		n := got(s.DueNotices(ctx, "shop", t0, 10))(t)[0]
		n.Attempts, n.DueAt, n.Error = 1, after(time.Minute), "later"
		must(t, s.SaveNotice(ctx, n, nil))
		same(t, "notice", got(s.DueNotices(ctx, "shop", after(time.Minute), 10))(t), []stocksync.Notice{n})
		n.Done = true
		must(t, s.SaveNotice(ctx, n, nil))
		if b := got(s.Backlog(ctx, nil))(t); b.Forwards != 0 || b.Notices != 0 {
			t.Errorf("backlog %+v", b)
		}
	})
}

func TestMappings(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		components := func(item string) []mapping.Component {
			t.Helper()
			var found []mapping.Component
			must(t, s.View(ctx, func(tx stocksync.PlanTx) error {
				found = got(tx.Components([]stocksync.ListingKey{listing(item)}))(t)[listing(item)]
				return nil
			}))
			return found
		}
		imported(t, s, link("i1", "BOX", 2), link("i2", "A", 1), link("i3", "A", 6), kit("BOX", "INNER", 1), kit("BOX", "B", 1), kit("INNER", "A", 3))
		same(t, "flattened", components("i1"), []mapping.Component{{SKU: "A", Units: 6}, {SKU: "B", Units: 2}})
		same(t, "dirty", dirtySKUs(t, s), []stock.SKU{"A", "B"})

		same(t, "a kit alone", imported(t, s, kit("INNER", "C", 5)), stocksync.ImportReport{})
		same(t, "flattened anew", components("i1"), []mapping.Component{{SKU: "B", Units: 2}, {SKU: "C", Units: 10}})
		same(t, "old and new SKUs are dirty", dirtySKUs(t, s), []stock.SKU{"A", "B", "C"})

		loop, errs := mapping.NewTable([]mapping.Row{kit("B", "BOX", 1), link("i2", "Z", 1)})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		if _, err := s.ImportMapping(ctx, loop, t0); err == nil {
			t.Error("kits in a cycle were imported")
		}
		same(t, "nothing by halves", components("i2"), []mapping.Component{{SKU: "A", Units: 1}})

		imported(t, s, link("i2", "D", 1))
		table := got(s.MappingTable(ctx))(t)
		want, errs := mapping.NewTable([]mapping.Row{link("i1", "BOX", 2), link("i2", "D", 1), link("i3", "A", 6), kit("BOX", "INNER", 1), kit("BOX", "B", 1), kit("INNER", "C", 5)})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		same(t, "table", table, want)

		setTargets(t, s, stocksync.TargetChange{ListingKey: listing("i2"), Target: new(stock.Quantity(4)), Generation: 1, At: t0, Push: true})
		must(t, s.DeleteMapping(ctx, []stocksync.ListingKey{listing("i2"), listing("nope")}, after(time.Second)))
		l := oneListing(t, s, "i2")
		if l.Mapped || l.Target != nil || l.Generation != 2 || components("i2") != nil || len(dueItems(t, s, after(time.Hour))) != 0 {
			t.Errorf("unmapped %+v", l)
		}

		must(t, s.SaveListings(ctx, "shop", []connectors.Listing{
			{Ref: connectors.Ref{Item: "i3"}, SKU: "A-6", GTIN: "123", Title: "six", Status: connectors.StatusActive},
			{Ref: connectors.Ref{Item: "i4", Place: "p"}, Title: "new", Status: connectors.StatusStopped}}))
		l = oneListing(t, s, "i3")
		if l.SKU != "A-6" || l.GTIN != "123" || l.Title != "six" || l.Status != connectors.StatusActive || !l.Mapped {
			t.Errorf("described %+v", l)
		}
		must(t, s.SaveItems(ctx, []connectors.Item{{SKU: "A", Name: "50% Wool_Sock", GTIN: "99", Kind: "physical", Category: "x"}, {SKU: "b", Name: "other"}}, t0))
		must(t, s.SaveItems(ctx, []connectors.Item{{SKU: "b", Name: "Better"}}, t0))
		same(t, "items", got(s.Items(ctx, "", 10))(t), []connectors.Item{{SKU: "A", Name: "50% Wool_Sock", GTIN: "99", Kind: "physical", Category: "x"}, {SKU: "b", Name: "Better"}})
		same(t, "items after", got(s.Items(ctx, "A", 10))(t), []connectors.Item{{SKU: "b", Name: "Better"}})
		for search, hits := range map[string]int{"wool_s": 1, "0% w": 1, "woolxs": 0, "%": 1, "ETT": 1, "99": 1, `\`: 0} {
			if found := got(s.ListItems(ctx, search, "", 10))(t); len(found) != hits {
				t.Errorf("search for %q found %+v", search, found)
			}
		}
		must(t, s.change(ctx, "known", func(x *txn) error {
			same(t, "known", got(x.KnownSKUs([]stock.SKU{"A", "BOX", "INNER", "C", "b", "nope"}))(t), map[stock.SKU]bool{"A": true, "BOX": true, "INNER": true, "C": true, "b": true})
			return nil
		}))
	})
}

func TestPagesComeInOrderOfBytes(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		names := []string{"B", "_", "a", "a b", "ab", "z", "é", "日本"} // by bytes
		shuffled := []string{"é", "a", "日本", "_", "ab", "B", "z", "a b"}
		var listings []connectors.Listing
		var readings []connectors.Reading
		var drifts []stocksync.Drift
		for i, n := range shuffled {
			ref := connectors.Ref{Item: n}
			listings = append(listings, connectors.Listing{Ref: ref}, connectors.Listing{Ref: connectors.Ref{Item: n, Place: "p"}})
			readings = append(readings, connectors.Reading{Ref: ref, Quantity: stock.Quantity(i), Unlimited: i == 0, At: t0})
			drifts = append(drifts, stocksync.Drift{Run: 1, ListingKey: stocksync.ListingKey{Connection: "shop", Ref: ref}, Target: new(stock.Quantity(1)), Cause: stocksync.CauseLostPush, At: t0})
		}
		must(t, s.SaveListings(ctx, "shop", listings))
		must(t, s.SaveListings(ctx, "zoo", listings[:1]))
		must(t, s.AddReadings(ctx, 1, "shop", readings))
		must(t, s.AddReadings(ctx, 1, "shop", readings[:1]))
		must(t, s.AddReadings(ctx, 2, "shop", readings[:1]))
		must(t, s.AddDrifts(ctx, drifts))

		var found []string
		var at connectors.Ref
		for {
			page := got(s.ListingsAfter(ctx, "shop", at, 3))(t)
			if len(page) == 0 {
				break
			}
			for _, l := range page {
				found = append(found, l.Ref.String())
			}
			at = page[len(page)-1].Ref
		}
		var want []string
		for _, n := range names {
			want = append(want, n, n+"@p")
		}
		same(t, "listings", found, want)

		found, at = nil, connectors.Ref{}
		for {
			page := got(s.ReadingsAfter(ctx, 1, "shop", at, 3))(t)
			if len(page) == 0 {
				break
			}
			for _, r := range page {
				found = append(found, r.Ref.Item)
				if r.Unlimited != (r.Ref.Item == "é") || !r.At.Equal(t0) {
					t.Errorf("reading %+v", r)
				}
			}
			at = page[len(page)-1].Ref
		}
		same(t, "readings", found, names)
		must(t, s.DropReadings(ctx, 1))
		if page := got(s.ReadingsAfter(ctx, 1, "shop", connectors.Ref{}, 3))(t); len(page) != 0 {
			t.Errorf("dropped readings %+v", page)
		}
		if page := got(s.ReadingsAfter(ctx, 2, "shop", connectors.Ref{}, 3))(t); len(page) != 1 {
			t.Errorf("another run's readings %+v", page)
		}

		page := got(s.Drifts(ctx, 1, listing("z"), 10))(t)
		if len(page) != 2 || page[0].Item != "é" || page[0].Shown != nil || *page[0].Target != 1 || page[0].Cause != stocksync.CauseLostPush {
			t.Errorf("drifts %+v", page)
		}
		list := got(s.ListListings(ctx, stocksync.ListingQuery{After: stocksync.ListingKey{Connection: "shop", Ref: connectors.Ref{Item: "日本"}}, Limit: 10}))(t)
		if len(list) != 2 || list[0].Place != "p" || list[1].Connection != "zoo" {
			t.Errorf("all listings %+v", list)
		}
		list = got(s.ListListings(ctx, stocksync.ListingQuery{Connection: "zoo", Limit: 10}))(t)
		if len(list) != 1 {
			t.Errorf("listings of zoo %+v", list)
		}

		// A search takes % and _ for what they are, and no case.
		must(t, s.SaveListings(ctx, "zoo", []connectors.Listing{
			{Ref: connectors.Ref{Item: "100%"}, SKU: "Sku-1", GTIN: "4006381333931", Title: `Green Tea \ 茶`}, {Ref: connectors.Ref{Item: "x1000"}, Title: "Pot"},
		}))
		for search, want := range map[string]int{"100%": 1, "00": 2, "_": 2, "sku-": 1, "638133": 1, "gREEN t": 1, `\`: 1, "茶": 1, "%%": 0, "pot": 1, "A B": 2} {
			if list := got(s.ListListings(ctx, stocksync.ListingQuery{Search: search, Limit: 10}))(t); len(list) != want {
				t.Errorf("searching %q finds %+v, want %d", search, list, want)
			}
		}
		if list := got(s.ListListings(ctx, stocksync.ListingQuery{Connection: "shop", Search: "tea", Limit: 10}))(t); len(list) != 0 {
			t.Errorf("listings of the shop %+v", list)
		}
	})
}

func TestRunsAndOccurrences(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, url string) {
		ctx := t.Context()
		if at := got(s.LastOccurrence(ctx, "job"))(t); !at.IsZero() {
			t.Errorf("last occurrence of a new job: %v", at)
		}
		second := open(t, url, Options{})
		var wg sync.WaitGroup
		claims := make(chan bool, 20)
		for i := range 20 {
			wg.Go(func() {
				store := s
				if i%2 == 1 {
					store = second
				}
				ours, err := store.ClaimOccurrence(ctx, "job", t0, after(time.Second))
				if err != nil {
					t.Errorf("claim: %v", err)
				}
				claims <- ours
			})
		}
		wg.Wait()
		close(claims)
		n := 0
		for ours := range claims {
			if ours {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d of 20 claimed one occurrence", n)
		}
		if !got(s.ClaimOccurrence(ctx, "job", after(-time.Hour), t0))(t) || !got(s.ClaimOccurrence(ctx, "other", after(time.Hour), t0))(t) {
			t.Error("another occurrence could not be claimed")
		}
		same(t, "last", got(s.LastOccurrence(ctx, "job"))(t), t0)

		r := stocksync.Run{Job: "api", DryRun: true, State: stocksync.RunRunning, StartedAt: t0}
		r.ID = got(s.StartRun(ctx, r))(t)
		r.State, r.EndedAt, r.Listings, r.Drifted, r.Message = stocksync.RunDone, after(time.Minute), 10, 0, ""
		must(t, s.SaveRun(ctx, r))
		same(t, "run", got(s.Run(ctx, r.ID))(t), r)
		must(t, s.AddDrifts(ctx, []stocksync.Drift{{Run: r.ID, ListingKey: listing("a"), Cause: stocksync.CauseForeignWrite, At: t0}}))
		running := got(s.StartRun(ctx, stocksync.Run{Job: "api", State: stocksync.RunRunning, StartedAt: t0}))(t)
		must(t, s.DropRuns(ctx, r.EndedAt))
		same(t, "a run that is not old enough", got(s.Run(ctx, r.ID))(t), r)
		must(t, s.DropRuns(ctx, r.EndedAt.Add(time.Second)))
		if _, err := s.Run(ctx, r.ID); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("an old run that was dropped: %v", err)
		}
		same(t, "its lines", len(got(s.Drifts(ctx, r.ID, stocksync.ListingKey{}, 10))(t)), 0)
		if left := got(s.Run(ctx, running))(t); left.ID != running {
			t.Errorf("a run that is running was dropped: %+v", left)
		}
		r.ID = 999
		if err := s.SaveRun(ctx, r); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("save of a missing run: %v", err)
		}
		if _, err := s.Run(ctx, 999); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("a missing run: %v", err)
		}
	})
}

func TestIncidents(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		must(t, s.OpenIncident(ctx, stocksync.Incident{Kind: "k", Subject: "s", Message: "one", OpenedAt: t0}))
		must(t, s.OpenIncident(ctx, stocksync.Incident{Kind: "k", Subject: "s", Message: "two", OpenedAt: after(time.Second)}))
		must(t, s.OpenIncident(ctx, stocksync.Incident{Kind: "k", Subject: "other\x00", Message: "three", OpenedAt: t0}))
		must(t, s.CloseIncident(ctx, "k", "s", after(time.Minute)))
		must(t, s.CloseIncident(ctx, "k", "s", after(time.Hour)))
		must(t, s.OpenIncident(ctx, stocksync.Incident{Kind: "k", Subject: "s", Message: "again", OpenedAt: after(time.Hour)}))
		all := got(s.Incidents(ctx, false, 0, 10))(t)
		if len(all) != 3 || all[0].Message != "two" || !all[0].ClosedAt.Equal(after(time.Minute)) || !all[0].OpenedAt.Equal(t0) || all[2].Message != "again" {
			t.Errorf("all %+v", all)
		}
		open := got(s.Incidents(ctx, true, all[1].ID, 10))(t)
		if len(open) != 1 || open[0].ID != all[2].ID {
			t.Errorf("open %+v", open)
		}
		feed(t, s, stocksync.Changes{At: t0, Closed: []stocksync.Incident{{Kind: "k", Subject: "s"}}})
		if open := got(s.Incidents(ctx, true, 0, 10))(t); len(open) != 1 || open[0].Subject != "other\uFFFD" {
			t.Errorf("after closing by a batch: %+v", open)
		}
	})
}

func TestBookmarksPausesTokens(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		ctx := t.Context()
		same(t, "no bookmark", got(s.Bookmark(ctx, "shop", "orders"))(t), "")
		must(t, s.SetBookmark(ctx, "shop", "orders", "1"))
		must(t, s.SetBookmark(ctx, "shop", "orders", "2"))
		must(t, s.SetBookmark(ctx, "shop", "listings", "9"))
		same(t, "bookmark", got(s.Bookmark(ctx, "shop", "orders"))(t), "2")

		must(t, s.SetPause(ctx, "shop", "auth", t0, nil))
		must(t, s.SetPause(ctx, "shop", "by hand", t0, nil))
		same(t, "pauses", got(s.Pauses(ctx))(t), map[stock.ConnectionID]string{"shop": "by hand"})
		must(t, s.SetPause(ctx, "shop", "", t0, nil))
		must(t, s.SetPause(ctx, "erp", "", t0, nil))
		same(t, "no pauses", got(s.Pauses(ctx))(t), map[stock.ConnectionID]string{})

		tok := stocksync.Token{Name: "ci", Scope: stocksync.ScopeOperate, Hash: []byte{1, 0, 255}, CreatedAt: t0, ExpiresAt: after(time.Hour)}
		tok.ID = got(s.AddToken(ctx, tok))(t)
		must(t, s.TouchToken(ctx, tok.ID, after(time.Second)))
		must(t, s.RevokeToken(ctx, tok.ID, after(time.Minute)))
		must(t, s.RevokeToken(ctx, tok.ID, after(time.Hour)))
		tok.UsedAt, tok.RevokedAt = after(time.Second), after(time.Minute)
		same(t, "token", got(s.TokenByHash(ctx, tok.Hash))(t), tok)
		same(t, "tokens", got(s.ListTokens(ctx))(t), []stocksync.Token{tok})
		if _, err := s.TokenByHash(ctx, []byte{2}); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("a missing token: %v", err)
		}
		if err := s.TouchToken(ctx, 999, t0); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("touching a missing token: %v", err)
		}
	})
}

// TestNoDeadlocks lets everything that touches the same rows run at the same time, as several servers would.
func TestNoDeadlocks(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, url string) {
		ctx := t.Context()
		second := open(t, url, Options{})
		var rows []mapping.Row
		var keys []stocksync.ListingKey
		var skus []stock.SKU
		for i := range 40 {
			name := strconv.Itoa(i)
			rows = append(rows, link(name, name, 1))
			keys = append(keys, listing(name))
			skus = append(skus, stock.SKU(name))
		}
		imported(t, s, rows...)
		backwards := slices.Clone(keys)
		slices.Reverse(backwards)
		skusBackwards := slices.Clone(skus)
		slices.Reverse(skusBackwards)
		var wg sync.WaitGroup
		for i := range 8 {
			store, ks, dirty := s, keys, skus
			if i%2 == 1 {
				store, ks, dirty = second, backwards, skusBackwards
			}
			wg.Go(func() {
				for n := range 15 {
					var err error
					switch i / 2 {
					case 0:
						must(t, ignore(store.Put(ctx, event(strconv.Itoa(i)+"/"+strconv.Itoa(n), "x"))))
						_, err = store.Apply(ctx, 10, func(tx stocksync.LedgerTx, _ []stocksync.Event) error {
							return tx.Save(stocksync.Changes{Dirty: slices.Clone(dirty), Look: ks, At: t0})
						})
					case 1:
						_, err = store.Plan(ctx, 30, func(tx stocksync.PlanTx, dirty []stock.SKU) error {
							deps, err := tx.Dependents(dirty)
							if err != nil {
								return err
							}
							listings, err := tx.Listings(deps)
							var targets []stocksync.TargetChange
							for k, l := range listings {
								targets = append(targets, stocksync.TargetChange{ListingKey: k, Target: new(stock.Quantity(1)), Generation: l.Generation + 1, At: t0, Push: true})
							}
							return errors.Join(err, tx.SaveTargets(targets))
						})
					case 2:
						var outcomes []stocksync.PushOutcome
						for j, k := range ks {
							o := stocksync.PushOutcome{ListingKey: k, Generation: int64(n), Published: new(stock.Quantity(j % 2)), At: t0}
							if j%3 == 0 {
								o.DueAt = t0
							}
							outcomes = append(outcomes, o)
						}
						err = store.Settle(ctx, outcomes, nil)
					default:
						err = store.MarkDue(ctx, ks, t0)
					}
					if err != nil {
						t.Errorf("worker %d: %v", i, err)
					}
				}
			})
		}
		wg.Wait()
		var shows int64
		for _, l := range got(s.ListListings(ctx, stocksync.ListingQuery{Limit: 100}))(t) {
			if showsMore(&l) {
				shows++
			}
		}
		if j, err := s.Jumps(ctx, "shop", stocksync.GuardLimits{FallPermille: 500, RiseFactor: 10}, t0); err != nil || j.Showing != shows {
			t.Errorf("%d listings show more than zero, the count says %d (%v)", shows, j.Showing, err)
		}
	})
}

func TestMigrations(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := "sqlite:" + filepath.Join(t.TempDir(), "test.db")
			if name == "postgres" {
				url = pgtest.URL(t)
			}
			ctx := t.Context()
			s := got(Open(ctx, url, Options{}))(t)
			defer s.Close()
			state := func(want SchemaState) {
				t.Helper()
				same(t, "schema", got(s.SchemaState(ctx))(t), want)
			}
			state(SchemaEmpty)
			if err := s.Ping(ctx); err == nil || !strings.Contains(err.Error(), "truestock migrate") {
				t.Errorf("ping of an empty database: %v", err)
			}
			must(t, Migrate(ctx, url))
			state(SchemaCurrent)
			must(t, s.Ping(ctx))
			must(t, ignore(s.Put(ctx, event("kept", "x"))))
			must(t, Migrate(ctx, url))
			if b := got(s.Backlog(ctx, nil))(t); b.InboxPending != 1 {
				t.Errorf("migrating again lost an event: %+v", b)
			}
			must(t, s.write.Exec("UPDATE schema_version SET version_id = 0 WHERE version_id = 1").Error)
			state(SchemaEmpty)
			must(t, s.write.Exec("UPDATE schema_version SET version_id = 99 WHERE id = 2").Error)
			state(SchemaNewer)
			if err := s.Migrate(ctx); err == nil || !strings.Contains(err.Error(), "newer") {
				t.Errorf("migrating a newer schema: %v", err)
			}
		})
	}
}

func TestExclusive(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, named := "sqlite:"+filepath.Join(t.TempDir(), "test.db"), "process "+strconv.Itoa(os.Getpid())
			if name == "postgres" {
				url, named = pgtest.URL(t), "server process"
			}
			ctx := t.Context()
			first := got(Open(ctx, url, Options{Exclusive: true}))(t)
			if s, err := Open(ctx, url, Options{Exclusive: true}); err == nil {
				s.Close()
				t.Error("a second server opened the database")
			} else if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), named) {
				t.Errorf("the refusal: %v", err)
			}
			beside := got(Open(ctx, url, Options{}))(t)
			must(t, beside.Migrate(ctx))
			must(t, ignore(beside.Put(ctx, event("beside", "x"))))
			must(t, first.Ping(ctx))
			must(t, beside.Close())
			must(t, first.Close())
			must(t, first.Close())
			next := got(Open(ctx, url, Options{Exclusive: true}))(t)
			must(t, next.Ping(ctx))
			must(t, next.Close())
		})
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	s := open(t, "sqlite:"+path, Options{Exclusive: true})
	must(t, ignore(s.Put(t.Context(), event("k", "x"))))
	must(t, ignore(s.Backlog(t.Context(), nil)))
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(path + suffix)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path+suffix, info.Mode())
		}
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var have string
		must(t, s.writeDB.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&have))
		same(t, pragma, have, want)
	}
	if _, err := s.readDB.ExecContext(t.Context(), "DELETE FROM inbox"); err == nil {
		t.Error("a reader wrote")
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := open(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"), Options{})
	ctx := t.Context()
	must(t, ignore(s.Put(ctx, event("before", "x"))))
	var pages int
	must(t, s.writeDB.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages))
	limit := func(n int) {
		t.Helper()
		must(t, ignore(s.writeDB.ExecContext(ctx, "PRAGMA max_page_count = "+strconv.Itoa(n))))
	}
	limit(pages + 2)
	large := strings.Repeat("x", 64<<10)
	if _, err := s.Put(ctx, event("large", large)); !errors.Is(err, stocksync.ErrUnavailable) {
		t.Errorf("on a full disk: %v", err)
	}
	if err := s.SaveItems(ctx, []connectors.Item{{SKU: "A", Name: large}}, t0); !errors.Is(err, stocksync.ErrUnavailable) {
		t.Errorf("on a full disk: %v", err)
	}
	limit(1 << 20)
	if r := got(s.Put(ctx, event("large", large)))(t); r.Duplicate || r.Conflict {
		t.Errorf("the refused event was stored: %+v", r)
	}
	if events := apply(t, s, stocksync.Changes{}); len(events) != 2 {
		t.Errorf("%d events are due", len(events))
	}
}

func TestServerGoesAway(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	s := open(t, url, Options{Exclusive: true})
	other := open(t, url, Options{})
	ctx := t.Context()
	must(t, ignore(s.Put(ctx, event("before", "x"))))
	// Every connection but this one is ended, the one that holds the lock included.
	must(t, other.write.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").Error)
	refused := 0
	for i := range 20 { // one for each connection of the pool that does not know yet
		if _, err := s.Put(ctx, event(strconv.Itoa(i), "x")); err != nil {
			refused++
			if !errors.Is(err, stocksync.ErrUnavailable) {
				t.Errorf("after the connection was cut: %v", err)
			}
		}
	}
	if refused == 20 {
		t.Error("it never recovered")
	}
	must(t, s.Ping(ctx))
	if _, err := Open(ctx, url, Options{Exclusive: true}); !errors.Is(err, ErrLocked) {
		t.Errorf("the lock was not taken again: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "mysql://x", "sqlite:", "truestock.db", "postgres://[bad"} {
		if s, err := Open(t.Context(), url, Options{}); err == nil {
			s.Close()
			t.Errorf("%q was opened", url)
		}
	}
	for _, url := range []string{"sqlite:/nowhere/at/all/x.db", "postgres://nobody@127.0.0.1:1/none?connect_timeout=2"} {
		if s, err := Open(t.Context(), url, Options{}); !errors.Is(err, stocksync.ErrUnavailable) {
			if err == nil {
				s.Close()
			}
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := Open(t.Context(), "postgres://me:geheim@127.0.0.1:1/x?sslmode=odd", Options{}); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("the refusal tells a password: %v", err)
	}
}

func TestInstants(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{{}, t0, time.Unix(0, 1).UTC(), time.Unix(0, -1).UTC(), earliest.UTC(), latest.UTC()} {
		if back := instant(nanos(at)); !back.Equal(at) {
			t.Errorf("%v came back as %v", at, back)
		}
	}
	if nanos(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)) <= nanos(t0) || nanos(time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)) >= nanos(t0) {
		t.Error("instants out of range do not sort")
	}
}

func TestStatementsSortTheirRows(t *testing.T) {
	t.Parallel()
	rows := func() [][]any {
		return [][]any{{"b", "x", int64(1)}, {"a", "z", int64(2)}, {"b", "x", int64(3)}, {"a", "y", int64(4)}}
	}
	columns := join(texts("one", "two"), numbers("three"))
	same(t, "by key, the last of equal ones", bulk(2, columns, "").arrange(rows()), [][]any{{"a", "y", int64(4)}, {"a", "z", int64(2)}, {"b", "x", int64(3)}})
	same(t, "as they are given", bulk(0, columns, "").arrange(rows()), rows())
}

func TestSettings(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		imported(t, s, link("a", "A", 1), link("b", "B", 1))
		decide := func(key, value string, effective time.Time, touch stocksync.Touch) (stocksync.Setting, error) {
			stored, err := s.ChangeSettings(t.Context(), []stocksync.NewSetting{{Setting: stocksync.Setting{
				Kind: "policy", Key: key, Value: []byte(value), EffectiveAt: effective, At: t0, By: "somebody", Reason: "so"}}}, []stocksync.Touch{touch}, nil)
			if err != nil {
				return stocksync.Setting{}, err
			}
			return stored[0], nil
		}
		planned := func() (skus []stock.SKU) {
			t.Helper()
			got(s.Plan(t.Context(), 100, func(_ stocksync.PlanTx, dirty []stock.SKU) error { skus = dirty; return nil }))(t)
			return skus
		}
		planned()
		first := got(decide("all", `{"cap":5}`, t0, stocksync.Touch{All: true}))(t)
		same(t, "what all touches", planned(), []stock.SKU{"A", "B"})
		// Marked again at its instant, for a planner whose clock is behind.
		same(t, "nothing later yet", got(s.Ripen(t.Context(), after(-time.Second)))(t), t0)
		same(t, "nothing after the first", got(s.Ripen(t.Context(), t0))(t), time.Time{})
		same(t, "what all touches, at its instant", planned(), []stock.SKU{"A", "B"})
		if _, err := decide("sku:A", "", t0, stocksync.Touch{}); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("what was never decided is removed: %v", err)
		}
		second := got(decide("all", "", after(time.Hour), stocksync.Touch{Listings: []stocksync.ListingKey{listing("b")}}))(t)
		same(t, "what is planned before its time", planned(), []stock.SKU(nil))
		same(t, "the time of the next", got(s.Ripen(t.Context(), t0))(t), after(time.Hour))
		same(t, "nothing after it", got(s.Ripen(t.Context(), after(time.Hour)))(t), time.Time{})
		same(t, "what is planned at its time", planned(), []stock.SKU{"B"})
		same(t, "the versions", got(s.SettingVersions(t.Context(), "policy", "all"))(t), []stocksync.Setting{second, first})
		same(t, "a removed setting in the list", got(s.ListSettings(t.Context(), "policy", "", 10))(t), []stocksync.Setting{})
		if first.Version != 1 || second.Version != 2 || second.Value != nil {
			t.Errorf("versions %+v and %+v", first, second)
		}
		_, progress, err := s.SettingByID(t.Context(), second.ID)
		must(t, err)
		same(t, "the listings of a version", progress, stocksync.SettingProgress{Touched: 1})

		one := int64(1)
		_, err = s.ChangeSettings(t.Context(), []stocksync.NewSetting{
			{Setting: stocksync.Setting{Kind: "policy", Key: "sku:A", Value: []byte("{}"), EffectiveAt: t0, At: t0}},
			{Setting: stocksync.Setting{Kind: "policy", Key: "all", Value: []byte("{}"), EffectiveAt: t0, At: t0}, From: &one},
		}, make([]stocksync.Touch, 2), nil)
		if !errors.Is(err, stocksync.ErrConflict) {
			t.Errorf("a change from version 1, which is not the newest: %v", err)
		}
		same(t, "half of a refused change", got(s.SettingVersions(t.Context(), "policy", "sku:A"))(t), []stocksync.Setting{})

		must(t, s.AddAudit(t.Context(), stocksync.AuditEntry{At: t0, By: "somebody", Action: "plan approved", Subject: "plan 1"}))
		trail := got(s.AuditTrail(t.Context(), "", 0, 10))(t)
		if len(trail) != 3 {
			t.Fatalf("%d entries in the trail", len(trail))
		}
		var previous []byte
		for _, e := range trail {
			if !reflect.DeepEqual(e.Previous, previous) || !reflect.DeepEqual(e.Hash, stocksync.AuditHash(e)) {
				t.Errorf("entry %d does not continue the chain", e.ID)
			}
			previous = e.Hash
		}
		same(t, "the trail of one subject", len(got(s.AuditTrail(t.Context(), "policy all", 0, 10))(t)), 2)
	})
}
