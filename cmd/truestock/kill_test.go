package main_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

const (
	killEvents  = 20_000
	killSKUs    = 50
	killSenders = 32
	// killEvery is about how many events are acknowledged in one life of the process.
	killEvery = 500
	minKills  = 30
)

// ledgerTruth is what the ledger must say in the end, by SKU: what the warehouse told and what the shop sold.
type ledgerTruth struct{ onHand, committed [killSKUs]int64 }

// killScript makes the events of the test: mostly movements of the warehouse, some orders, each of another SKU in turn.
func killScript() ([]webhook, ledgerTruth) {
	var truth ledgerTruth
	random := rand.New(rand.NewPCG(7, 7))
	events := make([]webhook, 0, killEvents)
	for i := range killSKUs {
		truth.onHand[i] = 10_000
		events = append(events, webhook{connection: "warehouse", id: fmt.Sprint("level ", i), body: levelEvent(killSKU(i), 10_000, 1)})
	}
	for n := len(events); n < killEvents; n++ {
		sku := n % killSKUs
		w := webhook{connection: "warehouse", id: fmt.Sprint("move ", n)}
		if n%5 == 0 {
			quantity := 1 + random.Int64N(3)
			truth.committed[sku] += quantity
			w = webhook{connection: "shop", id: fmt.Sprint("order ", n), body: orderEvent(fmt.Sprint("O-", n), 1, killSKU(sku), quantity, 0, 0)}
		} else {
			delta := 1 + random.Int64N(9)
			truth.onHand[sku] += delta
			w.body = movedEvent(killSKU(sku), delta, int64(n))
		}
		events = append(events, w)
	}
	return events, truth
}

func killSKU(i int) string { return fmt.Sprintf("SKU-%02d", i) }

// The process is killed again and again while events pour in. Whatever was answered 202 is there exactly once, nothing
// else is, and the ledger and the shop end where the truth is.
func TestKillLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 20,000 events while the process is killed 30 times")
	}
	onBoth(t, func(t *testing.T, h *house) {
		h.addListener("on_hand")
		shop := h.addShop("shop", fake.ShopConfig{KeepWrites: -1})
		h.shopEvents = []string{} // the test alone sends
		rows := make([]string, killSKUs)
		for i := range rows {
			shop.AddListing(open.Listing{Item: killSKU(i)})
			rows[i] = fmt.Sprintf("shop,%s,,%s,1", killSKU(i), killSKU(i))
		}
		s := h.start()
		s.imports(rows...)

		events, truth := killScript()
		run := &killRun{h: h, ids: make([]string, len(events))}
		run.server.Store(s)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			run.send(events)
		}()
		s = run.killUntil(sent)
		if run.kills < minKills || t.Failed() {
			t.Fatalf("the process was killed %d times, want %d", run.kills, minKills)
		}
		t.Logf("%d events, %d kills, %d deliveries answered as duplicates", len(events), run.kills, run.duplicates.Load())
		s.settled()
		checkInbox(t, s, events, run.ids)
		checkLedger(t, s, truth)
	})
}

// killRun is the test while it runs.
type killRun struct {
	h      *house
	server atomic.Pointer[server]
	// ids are the inbox's ids, as the answers told them; each sender writes those of its own events.
	ids          []string
	acknowledged atomic.Int64
	duplicates   atomic.Int64
	kills        int
}

// send delivers every event until it is answered 202, as senders of webhooks do.
func (r *killRun) send(events []webhook) {
	var group sync.WaitGroup
	for sender := range killSenders {
		group.Go(func() {
			for i := sender; i < len(events) && !r.h.t.Failed(); i += killSenders {
				if err := r.insist(i, events[i]); err != nil {
					r.h.t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func (r *killRun) insist(i int, w webhook) error {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		a, err := r.server.Load().try(w)
		if err != nil || a.status == 503 {
			<-time.After(5 * time.Millisecond) // the process is dead, or not yet ready
			continue
		}
		receipt, err := accepted(a)
		if err != nil {
			return fmt.Errorf("event %s: %w", w.id, err)
		}
		if receipt.Duplicate {
			r.duplicates.Add(1)
		}
		r.ids[i] = receipt.ID
		r.acknowledged.Add(1)
		return nil
	}
	return fmt.Errorf("event %s was not taken within %s", w.id, patience)
}

// killUntil kills the process and starts it again until everything is sent, and returns the process that lives.
func (r *killRun) killUntil(sent <-chan struct{}) *server {
	random := rand.New(rand.NewPCG(9, 9))
	s := r.server.Load()
	for {
		enough := r.acknowledged.Load() + killEvery/2 + random.Int64N(killEvery)
		for r.acknowledged.Load() < enough {
			select {
			case <-sent:
				return s
			case <-time.After(time.Millisecond):
			}
		}
		s.kill()
		r.kills++
		s = r.revive()
		r.server.Store(s)
	}
}

// revive starts the process again. A database server may take a moment to notice that the dead process has let go of its
// lock; whoever supervises the process starts it again then.
func (r *killRun) revive() *server {
	r.h.t.Helper()
	for range 50 {
		s := r.h.serve(exec.Command(program, "serve", "--config", r.h.configure()))
		if s.ready() {
			return s
		}
		if s.code() != exitLocked {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	r.h.t.Error("the process does not start again")
	return r.server.Load()
}

// checkInbox expects every event once, under the id that its answer told, applied.
func checkInbox(t *testing.T, s *server, events []webhook, ids []string) {
	t.Helper()
	stored := make(map[string]string, len(events))
	for _, e := range all[eventView](s, "/events") {
		if e.State != "applied" {
			t.Errorf("event %s is %s: %s", e.Key, e.State, e.Reason)
		}
		if _, twice := stored[e.Key]; twice {
			t.Errorf("event %s is stored twice", e.Key)
		}
		stored[e.Key] = e.ID
	}
	for i, w := range events {
		if stored[w.id] != ids[i] {
			t.Errorf("event %s was answered 202 with the id %s and is stored as %q", w.id, ids[i], stored[w.id])
		}
	}
	if len(stored) != len(events) {
		t.Errorf("%d events are stored, want the %d that were sent", len(stored), len(events))
	}
}

func checkLedger(t *testing.T, s *server, truth ledgerTruth) {
	t.Helper()
	for i := range killSKUs {
		left := truth.onHand[i] - truth.committed[i]
		want := itemView{OnHand: truth.onHand[i], Committed: truth.committed[i], Available: left, ATP: left}
		if got := get[itemView](s, "/items/"+killSKU(i)); got != want {
			t.Errorf("%s is %+v, want %+v", killSKU(i), got, want)
		}
		s.h.shows("shop", killSKU(i), left)
	}
}

// A killed process has left nothing behind that keeps its successor from starting.
func TestKilledProcessLeavesNoLock(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.addListener("on_hand")
		s := h.start()
		body := event("stock.changed", "{}")
		first := s.deliver("warehouse", "one", body)
		s.kill()
		r := &killRun{h: h}
		r.server.Store(s)
		again := r.revive().deliver("warehouse", "one", body)
		if !again.Duplicate || again.ID != first.ID {
			t.Errorf("the event is %+v before the kill and %+v after it", first, again)
		}
	})
}
