package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
)

const (
	flowOpening = 1000
	flowSenders = 512
)

// delivery is a signed webhook that is ready to be received.
type delivery struct {
	connection stock.ConnectionID
	header     http.Header
	body       []byte
}

// measureFlow hands signed events to the engine as fast as it stores them, and measures until every listing shows what
// it should.
func (b *bench) measureFlow(ctx context.Context) (err error) {
	b.report.step("set up %d items at a shop", b.size.flowSKUs)
	began := time.Now()
	h, err := openHouse(ctx, houseConfig{database: filepath.Join(b.dir, "flow.db"), skus: b.size.flowSKUs, opening: flowOpening, batch: 1000, shops: []stock.ConnectionID{shopA}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	b.detail("flow_setup_s", new(time.Since(began).Seconds()))
	f := &flow{house: h, random: rand.New(rand.NewPCG(1, 2)), expected: make([]int64, b.size.flowSKUs)}
	for i := range f.expected {
		f.expected[i] = flowOpening
	}
	var rates, stored, lines, costs []float64
	for round := 1; round <= b.size.flowRounds; round++ {
		b.report.step("flow: %d events, round %d of %d", b.size.flowEvents, round, b.size.flowRounds)
		deliveries, err := f.prepare(round, b.size.flowEvents)
		if err != nil {
			return err
		}
		writes := h.engine.Counts().Writes
		began, used := time.Now(), processorTime()
		if err := f.receive(ctx, deliveries); err != nil {
			return err
		}
		received := time.Since(began)
		if err := h.settle(ctx, f.check); err != nil {
			return err
		}
		costs = append(costs, float64((processorTime()-used).Microseconds())/float64(len(deliveries)))
		rates = append(rates, float64(len(deliveries))/time.Since(began).Seconds())
		stored = append(stored, float64(len(deliveries))/received.Seconds())
		lines = append(lines, float64(h.engine.Counts().Writes-writes))
		if err := f.check(); err != nil {
			return err
		}
	}
	b.result.EndToEnd = figure(median(rates))
	b.detail("flow_events", new(float64(b.size.flowEvents)))
	b.detail("flow_skus", new(float64(b.size.flowSKUs)))
	b.detail("flow_received_per_s", median(stored))
	b.detail("flow_writes", median(lines))
	b.detail("flow_processor_us", median(costs))
	return nil
}

// flow makes events and knows what must come of them.
type flow struct {
	house    *house
	random   *rand.Rand
	expected []int64 // what each listing must show
}

// prepare makes and signs the events of a round: half are orders of one line at the shop, half are movements at the
// warehouse, of SKUs drawn evenly from all of them.
func (f *flow) prepare(round, events int) ([]delivery, error) {
	signer, err := standardwebhooks.NewWebhook(f.house.secret)
	if err != nil {
		return nil, fmt.Errorf("use the secret: %w", err)
	}
	now := time.Now().UTC()
	deliveries := make([]delivery, events)
	for i := range deliveries {
		id := fmt.Sprintf("flow-%d-%d", round, i)
		d := &deliveries[i]
		if d.connection, d.body, err = f.event(id, i, now); err != nil {
			return nil, err
		}
		signature, err := signer.Sign(id, now, d.body)
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		d.header = http.Header{}
		d.header.Set(standardwebhooks.HeaderWebhookID, id)
		d.header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
		d.header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	}
	return deliveries, nil
}

func (f *flow) event(id string, i int, now time.Time) (stock.ConnectionID, []byte, error) {
	sku := f.random.IntN(len(f.expected))
	if i%2 == 0 {
		f.expected[sku]--
		body, err := envelope("order.upserted", now, open.Order{OrderID: "order-" + id, Version: new(int64(1)), PlacedAt: now, UpdatedAt: now, Status: "open",
			Buyer: &open.Buyer{Ref: "buyer-" + id}, Lines: []open.OrderLine{{LineID: "1", Item: itemName(sku), Quantity: new(int64(1)),
				Cancelled: new(int64(0)), Shipped: new(int64(0)), Restocked: new(int64(0))}}})
		return shopA, body, err
	}
	f.expected[sku] += 2
	body, err := envelope("stock.moved", now, open.Moved{SKU: skuName(sku), Location: location, Delta: new(int64(2)), Reason: "receipt", OccurredAt: &now})
	return warehouse, body, err
}

// receive hands the deliveries to the engine, as the web server does, from many goroutines at once.
func (f *flow) receive(ctx context.Context, deliveries []delivery) error {
	var next atomic.Int64
	var group sync.WaitGroup
	problems := make([]error, flowSenders)
	for s := range flowSenders {
		group.Go(func() {
			for problems[s] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(deliveries) {
					return
				}
				d := deliveries[n]
				_, problems[s] = f.house.engine.Receive(ctx, d.connection, connectors.Request{Method: http.MethodPost, Header: d.header, Body: d.body})
			}
		})
	}
	group.Wait()
	return cmp.Or(problems...) // the first says it; the others say the same
}

// check compares what the shop shows with what it must show.
func (f *flow) check() error {
	for i, want := range f.expected {
		if got, ok := f.house.shops[shopA].Quantity(itemName(i), ""); !ok || got != want {
			return fmt.Errorf("%s shows %d and must show %d: a wrong number is not fast", itemName(i), got, want)
		}
	}
	return nil
}
