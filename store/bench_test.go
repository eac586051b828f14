package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	"github.com/truestock/truestock/store/pgtest"
	stocksync "github.com/truestock/truestock/sync"
)

func benchOn(b *testing.B, bench func(b *testing.B, s *Store)) {
	b.Run("sqlite", func(b *testing.B) {
		bench(b, open(b, "sqlite:"+filepath.Join(b.TempDir(), "bench.db"), Options{}))
	})
	b.Run("postgres", func(b *testing.B) { bench(b, open(b, pgtest.URL(b), Options{})) })
}

// BenchmarkPut stores events of 750 bytes from 64 callers at a time.
func BenchmarkPut(b *testing.B) {
	body := []byte(strings.Repeat("x", 750))
	benchOn(b, func(b *testing.B, s *Store) {
		var next atomic.Int64
		var wg sync.WaitGroup
		b.ResetTimer()
		for range 64 {
			wg.Go(func() {
				for {
					n := next.Add(1)
					if n > int64(b.N) {
						return
					}
					e := stocksync.NewEvent{Connection: "shop", Key: "evt_" + strconv.FormatInt(n, 10), Type: "order.upserted", Format: stocksync.WebhookFormat, Body: body, ReceivedAt: t0}
					if _, err := s.Put(context.Background(), e); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

const benchSKUs = 100_000

func benchSKU(i int) stock.SKU { return stock.SKU(fmt.Sprintf("SKU-%06d", i)) }

// fill makes a shop of benchSKUs articles with one listing each.
func fill(b *testing.B, s *Store) {
	b.Helper()
	const part = 20_000
	for from := 0; from < benchSKUs; from += part {
		var rows []mapping.Row
		var c stocksync.Changes
		for i := from; i < from+part; i++ {
			sku := benchSKU(i)
			rows = append(rows, link("item-"+strconv.Itoa(i), string(sku), 1))
			c.Levels = append(c.Levels, stocksync.HeldLevel{Level: stock.Level{SKU: sku, Location: "main", Available: 1000}, Hash: make([]byte, 32)})
			c.Statements = append(c.Statements, stocksync.HeldStatement{Connection: "erp", LevelKey: stocksync.LevelKey{SKU: sku, Location: "main"}, Quantity: 1000, At: t0})
		}
		imported(b, s, rows...)
		feed(b, s, c)
	}
	must(b, s.change(b.Context(), "clean", func(t *txn) error { return t.g.Exec("DELETE FROM dirty").Error }))
	if s.dialect == postgres {
		must(b, s.write.Exec("VACUUM ANALYZE").Error)
	}
}

// BenchmarkApplySave is what the engine does with 256 new orders of one line each, of 256 of 100,000 SKUs; one
// operation is one batch.
func BenchmarkApplySave(b *testing.B) {
	benchOn(b, func(b *testing.B, s *Store) {
		fill(b, s)
		b.ResetTimer()
		n := 0
		for range b.N {
			b.StopTimer()
			events := make([]stocksync.NewEvent, 256)
			for i := range events {
				events[i] = event("bench-"+strconv.Itoa(n+i), strings.Repeat("x", 750))
			}
			must(b, ignore(s.PutAll(b.Context(), events)))
			b.StartTimer()
			done, err := s.Apply(b.Context(), 256, func(tx stocksync.LedgerTx, events []stocksync.Event) error {
				c, err := benchChanges(tx, events, n)
				if err != nil {
					return err
				}
				return tx.Save(c)
			})
			must(b, err)
			n += done
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	})
}

func benchChanges(tx stocksync.LedgerTx, events []stocksync.Event, n int) (stocksync.Changes, error) {
	var orders []stocksync.OrderKey
	var listings []stocksync.ListingKey
	var skus []stock.SKU
	for i := range events {
		at := (n + i) * 7919 % benchSKUs
		orders = append(orders, stocksync.OrderKey{Channel: "shop", OrderID: "o-" + strconv.Itoa(n+i)})
		listings = append(listings, listing("item-"+strconv.Itoa(at)))
		skus = append(skus, benchSKU(at))
	}
	if _, err := tx.Orders(orders); err != nil {
		return stocksync.Changes{}, err
	}
	if _, err := tx.Components(listings); err != nil {
		return stocksync.Changes{}, err
	}
	levels, err := tx.Levels(skus)
	if err != nil {
		return stocksync.Changes{}, err
	}
	if _, err := tx.Statements(skus); err != nil {
		return stocksync.Changes{}, err
	}
	if _, err := tx.Uncovered(skus); err != nil {
		return stocksync.Changes{}, err
	}
	c := stocksync.Changes{At: t0, Dirty: skus}
	for i, key := range orders {
		o := &stocksync.Order{Channel: key.Channel, OrderID: key.OrderID, Version: 1, Status: connectors.OrderOpen, PlacedAt: t0, UpdatedAt: t0, AcceptedAt: t0,
			Lines: []stocksync.OrderLine{{ID: "1", Ref: listings[i].Ref, Version: 1, Ordered: 1, Components: []stocksync.LineComponent{{SKU: skus[i], Units: 1, Location: "main", Committed: 1}}}}}
		c.Orders = append(c.Orders, o)
		c.Commitments = append(c.Commitments, stocksync.Commitment{OrderKey: key, LineID: "1", SKU: skus[i], Location: "main", Quantity: 1, Ref: listings[i].Ref, ChannelOpen: 1, AcceptedAt: t0})
		p := stock.Posting{SKU: skus[i], Location: "main", From: stock.Available, To: stock.Committed, Quantity: 1, At: t0, Cause: stock.Cause{Kind: stock.CauseCommitment, Event: events[i].ID, Reference: key.OrderID}}
		c.Entries = append(c.Entries, stocksync.LedgerEntry{Posting: p, Previous: make([]byte, 32), Hash: make([]byte, 32)})
		l := levels[stocksync.LevelKey{SKU: skus[i], Location: "main"}]
		if l == nil {
			return c, fmt.Errorf("no level of %s", skus[i])
		}
		if err := l.Apply(p); err != nil {
			return c, err
		}
		c.Levels = append(c.Levels, *l)
		c.Forwards = append(c.Forwards, stocksync.Forward{OrderKey: key, Connection: "erp", DueAt: t0})
	}
	return c, nil
}

// BenchmarkPlan plans 512 dirty SKUs of 100,000 with one listing each, all of which change.
func BenchmarkPlan(b *testing.B) {
	benchOn(b, func(b *testing.B, s *Store) {
		fill(b, s)
		b.ResetTimer()
		for n := range b.N {
			b.StopTimer()
			var skus []stock.SKU
			for i := range 512 {
				skus = append(skus, benchSKU((n*512+i)*7919%benchSKUs))
			}
			must(b, s.change(b.Context(), "mark", func(t *txn) error { return t.markDirty(skus, nil) }))
			b.StartTimer()
			must(b, ignore(s.Plan(b.Context(), 512, benchPlan)))
		}
		b.ReportMetric(float64(512*b.N)/b.Elapsed().Seconds(), "listings/s")
	})
}

func benchPlan(tx stocksync.PlanTx, skus []stock.SKU) error {
	keys, err := tx.Dependents(skus)
	if err != nil {
		return err
	}
	if _, err := tx.Components(keys); err != nil {
		return err
	}
	listings, err := tx.Listings(keys)
	if err != nil {
		return err
	}
	if _, err := tx.Levels(skus); err != nil {
		return err
	}
	if _, err := tx.Statements(skus); err != nil {
		return err
	}
	var targets []stocksync.TargetChange
	for k, l := range listings {
		targets = append(targets, stocksync.TargetChange{ListingKey: k, Target: new(stock.Quantity(l.Generation)), Generation: l.Generation + 1, At: t0, Push: true, Lower: true})
	}
	return tx.SaveTargets(targets)
}

// BenchmarkSettle takes 250 due listings and settles them.
func BenchmarkSettle(b *testing.B) {
	benchOn(b, func(b *testing.B, s *Store) {
		fill(b, s)
		var keys []stocksync.ListingKey
		for i := range benchSKUs {
			keys = append(keys, listing("item-"+strconv.Itoa(i)))
		}
		must(b, s.MarkDue(b.Context(), keys, t0))
		b.ResetTimer()
		n := 0
		for range b.N {
			due := got(s.DuePushes(b.Context(), "shop", t0, 250))(b)
			if len(due) == 0 {
				b.StopTimer()
				must(b, s.MarkDue(b.Context(), keys, t0))
				b.StartTimer()
				continue
			}
			outcomes := make([]stocksync.PushOutcome, len(due))
			for i, l := range due {
				outcomes[i] = stocksync.PushOutcome{ListingKey: l.ListingKey, Generation: l.Generation, Confirmed: new(stock.Quantity(1)), At: t0.Add(time.Second),
					Write: &stocksync.Push{ListingKey: l.ListingKey, Generation: l.Generation, Quantity: 1, Outcome: "ok", At: t0}}
			}
			must(b, s.Settle(b.Context(), outcomes, nil))
			n += len(due)
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "listings/s")
	})
}

// BenchmarkListingsAfter pages through 100,000 listings.
func BenchmarkListingsAfter(b *testing.B) {
	benchOn(b, func(b *testing.B, s *Store) {
		fill(b, s)
		b.ResetTimer()
		for range b.N {
			var after connectors.Ref
			for {
				page := got(s.ListingsAfter(b.Context(), "shop", after, 5000))(b)
				if len(page) == 0 {
					break
				}
				after = page[len(page)-1].Ref
			}
		}
		b.ReportMetric(float64(benchSKUs*b.N)/b.Elapsed().Seconds(), "listings/s")
	})
}
