package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	"github.com/truestock/truestock/store/pgtest"
	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

const (
	ingestConnections = 64
	ingestItems       = 1000
)

// verifying is an engine that checks a delivery as the real one does, and stores nothing.
type verifying struct {
	web.Engine
	receiver connectors.WebhookReceiver
}

// Receive answers what an engine answers that has stored the event.
func (v verifying) Receive(_ context.Context, _ stock.ConnectionID, r connectors.Request) (stocksync.Receipt, error) {
	r.At = time.Now().UTC()
	if _, err := v.receiver.VerifyWebhook(r); err != nil {
		return stocksync.Receipt{}, err
	}
	return stocksync.Receipt{ID: 123456}, nil
}

// measureIngest compares how many signed webhooks are answered 202 in a second when each is stored durably first, with
// how many when none is.
func (b *bench) measureIngest(ctx context.Context) error {
	ratio, err := b.ingestRatio(ctx, "sqlite", "sqlite:"+filepath.Join(b.dir, "ingest.db"))
	if err != nil {
		return err
	}
	b.result.IngestRatioSQLite = figure(ratio)

	b.report.step("start PostgreSQL")
	address, drop, err := pgtest.Create(ctx)
	if missing, ok := errors.AsType[*pgtest.MissingError](err); ok {
		b.report.note("ingest_ratio_postgres is not measured: %v", missing)
		return nil
	}
	if err != nil {
		return err
	}
	ratio, err = b.ingestRatio(ctx, "postgres", address)
	b.result.IngestRatioPostgres = figure(ratio)
	return errors.Join(err, drop())
}

func (b *bench) ingestRatio(ctx context.Context, name, address string) (_ *float64, err error) {
	secret := newSecret()
	shop, err := openShop(shopA, "", secret)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, shop.Close()) }()
	s, err := openStore(ctx, address)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	engine, err := stocksync.New(stocksync.Config{Channels: []stocksync.Channel{{ID: shopA, Connector: "open", Marketplace: shop}}}, s)
	if err != nil {
		return nil, err
	}
	storing, err := startServer(ctx, engine)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, storing.close()) }()
	empty, err := startServer(ctx, verifying{receiver: shop.(connectors.WebhookReceiver)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, empty.close()) }()

	var ratios, stored, answered []float64
	for round := range b.size.ingestRounds + 1 {
		b.report.step("ingest on %s, round %d of %d", name, round, b.size.ingestRounds)
		requests := b.size.ingestRequests
		if round == 0 {
			requests /= 5 // warms up: its figures are thrown away
		}
		without, err := floodServer(ctx, empty.address, secret, fmt.Sprintf("empty-%d", round), requests)
		if err != nil {
			return nil, err
		}
		with, err := floodServer(ctx, storing.address, secret, fmt.Sprintf("stored-%d", round), requests)
		if err != nil {
			return nil, err
		}
		if round > 0 {
			ratios, stored, answered = append(ratios, with/without), append(stored, with), append(answered, without)
		}
	}
	b.detail("ingest_"+name+"_stored_per_s", median(stored))
	b.detail("ingest_"+name+"_empty_per_s", median(answered))
	return median(ratios), nil
}

// floodServer lets a process of its own send requests, and returns how many were answered 202 in a second.
func floodServer(ctx context.Context, address, secret, prefix string, requests int) (perSecond float64, err error) {
	load, err := startChild(ctx, loadPart, loadJob{Secret: secret, Prefix: prefix, Requests: requests, Connections: ingestConnections, Items: ingestItems})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, load.end()) }()
	var ready bool
	if err := load.hear(&ready); err != nil {
		return 0, err
	}
	if err := load.tell(address); err != nil {
		return 0, err
	}
	var r loadResult
	if err := load.hear(&r); err != nil {
		return 0, err
	}
	if r.Accepted != requests {
		return 0, fmt.Errorf("%d of %d requests were answered 202: %s", r.Accepted, requests, r.Problem)
	}
	return float64(r.Accepted) / r.Seconds, nil
}
