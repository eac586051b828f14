package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	gojson "github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
)

const ordersPerSecond = 300

// arrivals notes when a shop is told a new quantity of an item for the first time.
type arrivals struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (a *arrivals) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stock/write" {
			now := time.Now()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			a.note(body, now)
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		h.ServeHTTP(w, r)
	})
}

func (a *arrivals) note(body []byte, now time.Time) {
	var call open.WriteRequest
	if gojson.Unmarshal(body, &call) != nil {
		return // the shop refuses it, and the order counts as not arrived
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range call.Writes {
		if _, known := a.at[w.Item]; !known {
			a.at[w.Item] = now
		}
	}
}

// measurePush buys at one shop and measures when the write arrives at the other: through webhook, inbox, ledger, plan
// and push. Every order is of another item, so that each has a write of its own. The figure is the median of the rounds;
// the details tell of all orders together.
func (b *bench) measurePush(ctx context.Context) (err error) {
	orders := b.size.pushRounds * b.size.pushOrders
	b.report.step("set up %d items at two shops", orders)
	writes := &arrivals{at: make(map[string]time.Time, orders)}
	h, err := openHouse(ctx, houseConfig{
		database: filepath.Join(b.dir, "push.db"), skus: orders, opening: 1000, batch: 250, shops: []stock.ConnectionID{shopA, shopB},
		wrap: func(id stock.ConnectionID, handler http.Handler) http.Handler {
			if id != shopB {
				return handler
			}
			return writes.wrap(handler)
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	target := fake.Target{URL: "http://" + h.server.address + "/webhooks/" + shopA, Secret: h.secret, Types: []string{"order.upserted"}, Workers: 16}
	if err := h.shops[shopA].SendWebhooks(target); err != nil {
		return err
	}
	var rounds, all []float64
	for round := range b.size.pushRounds {
		b.report.step("push: %d orders, %d a second, round %d of %d", b.size.pushOrders, ordersPerSecond, round+1, b.size.pushRounds)
		took, err := pushRound(ctx, h, writes, round*b.size.pushOrders, b.size.pushOrders)
		if err != nil {
			return err
		}
		rounds, all = append(rounds, *quantile(took, 0.99)), append(all, took...)
	}
	b.result.PushP99 = figure(median(rounds))
	b.detail("push_all_p50_ms", quantile(all, 0.50))
	b.detail("push_all_p99_ms", quantile(all, 0.99))
	b.detail("push_all_max_ms", quantile(all, 1))
	return nil
}

// pushRound buys the items from first on, and returns for each in ms how long its write took to arrive.
func pushRound(ctx context.Context, h *house, writes *arrivals, first, orders int) ([]float64, error) {
	bought, err := buyAll(ctx, h.shops[shopA], first, orders)
	if err != nil {
		return nil, err
	}
	if err := writes.await(ctx, first+orders); err != nil {
		return nil, err
	}
	if err := h.settle(ctx, func() error { return nil }); err != nil {
		return nil, err
	}
	took := make([]float64, orders)
	for i := range took {
		took[i] = float64(writes.at[itemName(first+i)].Sub(bought[i]).Microseconds()) / 1000
	}
	return took, nil
}

// buyAll buys one unit of each item at a steady pace, and returns when each was bought. A late order is bought at once:
// the pace does not wait for the answers.
func buyAll(ctx context.Context, shop *fake.Shop, first, orders int) ([]time.Time, error) {
	bought := make([]time.Time, orders)
	timer := time.NewTimer(0)
	defer timer.Stop()
	began := time.Now()
	for i := range bought {
		timer.Reset(time.Until(began.Add(time.Duration(i) * time.Second / ordersPerSecond)))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
		}
		bought[i] = time.Now()
		if _, ok := shop.Buy(itemName(first+i), 1); !ok {
			return nil, fmt.Errorf("the shop did not sell %s", itemName(first+i))
		}
	}
	return bought, nil
}

// await waits until so many items had a write.
func (a *arrivals) await(ctx context.Context, items int) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		a.mu.Lock()
		arrived := len(a.at)
		a.mu.Unlock()
		if arrived >= items {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d orders led to a write at the other shop: %w", arrived, items, ctx.Err())
		case <-tick.C:
		}
	}
}
