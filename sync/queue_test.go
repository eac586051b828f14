package sync_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/store"
	stocksync "github.com/truestock/truestock/sync"
)

// queued is a channel whose events wait in a queue until they are acknowledged.
type queued struct {
	connectors.Marketplace
	waiting []connectors.Fetched
	down    error
	// acknowledging is called before anything is taken out.
	acknowledging func(connectors.Fetched)
}

func (q *queued) Capabilities(context.Context) (connectors.MarketplaceCapabilities, error) {
	return connectors.MarketplaceCapabilities{}, &connectors.Error{Kind: connectors.Retryable, Op: "ask"}
}

func (q *queued) FetchDeliveries(context.Context) ([]connectors.Fetched, error) {
	return q.waiting, q.down
}

func (q *queued) Acknowledge(_ context.Context, stored []connectors.Fetched) error {
	for _, f := range stored {
		q.acknowledging(f)
	}
	q.waiting = q.waiting[len(stored):]
	return nil
}

func (q *queued) DecodeWebhook(connectors.Delivery, []byte) (connectors.Notice, error) {
	return connectors.Notice{Pull: true}, nil
}

// full is a store that takes no events while it is full.
type full struct {
	stocksync.Store
	err error
}

func (f *full) Put(ctx context.Context, e stocksync.NewEvent) (stocksync.Receipt, error) {
	if f.err != nil {
		return stocksync.Receipt{}, f.err
	}
	return f.Store.Put(ctx, e)
}

// An event leaves the queue of its system only once it is stored, and a queue that cannot be read is told.
func TestQueueIsAcknowledgedAfterStoring(t *testing.T) {
	s, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "db"), store.Options{Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	taken := 0
	q := &queued{waiting: []connectors.Fetched{
		{Delivery: connectors.Delivery{Key: "a", Type: "told", Body: []byte("one")}, Receipt: "1"},
		{Delivery: connectors.Delivery{Key: "b", Type: "told", Body: []byte("two")}, Receipt: "2"},
	}}
	disk := &full{Store: s, err: stocksync.ErrUnavailable}
	engine, err := stocksync.New(stocksync.Config{Channels: []stocksync.Channel{{ID: "shop", Marketplace: q}}}, disk)
	if err != nil {
		t.Fatal(err)
	}
	q.acknowledging = func(f connectors.Fetched) {
		taken++
		events, err := engine.Events(t.Context(), "", 0, 10)
		if err != nil || len(events) != 2 {
			t.Errorf("receipt %s is acknowledged with %d events stored, %v", f.Receipt, len(events), err)
		}
	}
	if err := engine.Ask(t.Context()); !errors.Is(err, stocksync.ErrUnavailable) || taken != 0 {
		t.Errorf("nothing can be stored: %v, and %d are acknowledged", err, taken)
	}
	disk.err = nil
	again := q.waiting
	for range 2 {
		if err := engine.Ask(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if taken != 2 || len(q.waiting) != 0 {
		t.Errorf("%d are acknowledged, %d wait", taken, len(q.waiting))
	}
	q.waiting = again // an acknowledgement was lost: they come again, and are known
	if err := engine.Ask(t.Context()); err != nil || taken != 4 {
		t.Errorf("what came again: %v, %d acknowledged", err, taken)
	}
	for _, down := range []bool{true, false} {
		if q.down = nil; down {
			q.down = &connectors.Error{Kind: connectors.Auth, Op: "read the queue", Err: errors.New("access denied")}
		}
		if err := engine.Ask(t.Context()); err != nil {
			t.Fatal(err)
		}
		open, err := engine.Incidents(t.Context(), true, 0, 10)
		if err != nil || (len(open) == 1) != down {
			t.Errorf("the queue is down: %t, and the incidents are %+v, %v", down, open, err)
		}
	}
}
