package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	gojson "github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	"github.com/truestock/truestock/store"
	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

// The connections of the benchmark.
const (
	shopA     = "shop-a"
	shopB     = "shop-b"
	warehouse = "warehouse"
	location  = "main"
	token     = "bench"
)

func itemName(i int) string { return fmt.Sprintf("item-%07d", i) }
func skuName(i int) string  { return fmt.Sprintf("SKU-%07d", i) }

// newSecret makes a secret that webhooks are signed with.
func newSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// orderBody is the webhook of an order of two lines, about 750 bytes.
func orderBody(id string, at time.Time, first, second string) ([]byte, error) {
	line := func(n, item string) open.OrderLine {
		return open.OrderLine{LineID: n, Item: item, SKU: "shop-" + item, Quantity: new(int64(1)), Cancelled: new(int64(0)), Shipped: new(int64(0)), Restocked: new(int64(0))}
	}
	return envelope("order.upserted", at, open.Order{OrderID: "order-" + id, Version: new(int64(1)), PlacedAt: at.UTC(), UpdatedAt: at.UTC(), Status: "open",
		Buyer: &open.Buyer{Ref: "buyer-" + id, Contact: "buyer-" + id + "@mail.example, 12 Long Street, 12345 Sometown, +49 30 1234567"},
		Lines: []open.OrderLine{line("1", first), line("2", second)}})
}

func envelope(kind string, at time.Time, data any) ([]byte, error) {
	raw, err := gojson.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("make a webhook: %w", err)
	}
	body, err := gojson.Marshal(open.Envelope{Type: kind, Timestamp: new(at.UTC()), Data: raw})
	if err != nil {
		return nil, fmt.Errorf("make a webhook: %w", err)
	}
	return body, nil
}

// openStore makes a new database at the address.
func openStore(ctx context.Context, address string) (*store.Store, error) {
	s, err := store.Open(ctx, address, store.Options{Exclusive: true})
	if err != nil {
		return nil, err
	}
	if err := s.Migrate(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openConnection opens a connection through the open protocol. Without an address it only hears webhooks.
func openConnection(id stock.ConnectionID, role connectors.Role, address, secret string) (connectors.Connection, error) {
	settings := connectors.Settings{"webhook_secrets": secret}
	if address != "" {
		settings["base_url"], settings["token"] = address, token
	} else if role == connectors.SystemOfRecordRole {
		settings["levels"] = string(stock.OnHandBasis)
	}
	c, err := open.Info().Open(connectors.Env{Connection: id, Log: slog.New(slog.DiscardHandler)}, role, settings)
	if err != nil {
		return nil, fmt.Errorf("open the connection %s: %w", id, err)
	}
	return c, nil
}

// openShop opens a marketplace.
func openShop(id stock.ConnectionID, address, secret string) (connectors.Marketplace, error) {
	c, err := openConnection(id, connectors.MarketplaceRole, address, secret)
	if err != nil {
		return nil, err
	}
	return c.(connectors.Marketplace), nil
}

// openWarehouse opens a system of record that only sends webhooks.
func openWarehouse(secret string) (connectors.SystemOfRecord, error) {
	c, err := openConnection(warehouse, connectors.SystemOfRecordRole, "", secret)
	if err != nil {
		return nil, err
	}
	return c.(connectors.SystemOfRecord), nil
}

// server is the web server of truestock over an engine, on loopback.
type server struct {
	address string
	stop    context.CancelFunc
	ended   chan error
}

func startServer(ctx context.Context, engine web.Engine) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen on loopback: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	s := &server{address: listener.Addr().String(), stop: stop, ended: make(chan error, 1)}
	go func() {
		s.ended <- web.New(web.Config{Connections: []stock.ConnectionID{shopA, shopB, warehouse}}, engine, nil).Serve(ctx, listener)
	}()
	return s, nil
}

func (s *server) close() error {
	s.stop()
	return <-s.ended
}

// house is truestock between pretend shops, all in this process and over loopback: the real engine with every controller
// running, the real store and the real web server.
type house struct {
	store  *store.Store
	engine *stocksync.Engine
	server *server
	shops  map[stock.ConnectionID]*fake.Shop
	secret string

	stop   context.CancelFunc
	group  sync.WaitGroup
	runErr error
	closes []func() error
}

// houseConfig describes a house.
type houseConfig struct {
	database string
	skus     int
	opening  int64 // units of each SKU
	batch    int   // most lines of a call to a shop
	shops    []stock.ConnectionID
	// wrap puts something before a shop's handler.
	wrap func(id stock.ConnectionID, h http.Handler) http.Handler
}

// openHouse starts everything: each shop lists every SKU once, and the warehouse has stated its units. It returns when
// all listings show their targets.
func openHouse(ctx context.Context, c houseConfig) (h *house, err error) {
	h = &house{shops: make(map[stock.ConnectionID]*fake.Shop), secret: newSecret(), stop: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	if h.store, err = openStore(ctx, "sqlite:"+c.database); err != nil {
		return h, err
	}
	h.closes = append(h.closes, h.store.Close)
	record, err := openWarehouse(h.secret)
	if err != nil {
		return h, err
	}
	config := stocksync.Config{Records: []stocksync.Record{{ID: warehouse, Connector: "open", System: record}}}
	var table mapping.Table
	for _, id := range c.shops {
		channel, err := h.addShop(id, c)
		if err != nil {
			return h, err
		}
		config.Channels = append(config.Channels, channel)
		for i := range c.skus {
			table.Links = append(table.Links, mapping.Link{Connection: id, Ref: connectors.Ref{Item: itemName(i)},
				Components: []mapping.Component{{SKU: stock.SKU(skuName(i)), Units: 1}}})
		}
	}
	if h.engine, err = stocksync.New(config, h.store); err != nil {
		return h, err
	}
	if _, err := h.store.ImportMapping(ctx, table, time.Now().UTC()); err != nil {
		return h, err
	}
	if err := h.stateLevels(ctx, c.skus, c.opening); err != nil {
		return h, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	h.group.Go(func() { h.runErr = h.engine.Run(running, nil) })
	if h.server, err = startServer(ctx, h.engine); err != nil {
		return h, err
	}
	h.closes = append(h.closes, h.server.close)
	return h, h.settle(ctx, func() error { return nil })
}

// addShop puts a pretend shop on loopback, where every listing shows what it will be told to show first.
func (h *house) addShop(id stock.ConnectionID, c houseConfig) (stocksync.Channel, error) {
	shop := fake.NewShop(fake.ShopConfig{
		Capabilities: open.MarketplaceCapabilities{Name: string(id), ShopID: string(id), BatchSize: c.batch, ConditionalWrite: true, IdempotentWrite: true, QuantityMeans: fake.MeansAvailable},
		Token:        token, KeepWrites: -1,
	})
	h.shops[id] = shop
	for i := range c.skus {
		shop.AddListing(open.Listing{Item: itemName(i), SKU: skuName(i), Quantity: new(c.opening)})
	}
	var handler http.Handler = shop
	if c.wrap != nil {
		handler = c.wrap(id, handler)
	}
	server, err := fake.Serve(handler)
	if err != nil {
		return stocksync.Channel{}, err
	}
	h.closes = append(h.closes, server.Close)
	marketplace, err := openShop(id, server.URL, h.secret)
	if err != nil {
		return stocksync.Channel{}, err
	}
	h.closes = append(h.closes, marketplace.Close)
	return stocksync.Channel{ID: id, Connector: "open", Marketplace: marketplace}, nil
}

// stateLevels puts the warehouse's statements into the inbox.
func (h *house) stateLevels(ctx context.Context, skus int, quantity int64) error {
	const factsPerEvent = 200
	now := time.Now().UTC()
	var events []stocksync.NewEvent
	for from := 0; from < skus; from += factsPerEvent {
		var facts []connectors.Fact
		for i := from; i < min(from+factsPerEvent, skus); i++ {
			facts = append(facts, connectors.Fact{Kind: connectors.StockLevel, Position: stock.Position{SourceAt: now},
				Statement: &connectors.Statement{SKU: skuName(i), Location: location, Quantity: stock.Quantity(quantity)}})
		}
		body, err := json.Marshal(facts)
		if err != nil {
			return fmt.Errorf("state the levels: %w", err)
		}
		events = append(events, stocksync.NewEvent{Connection: warehouse, Key: fmt.Sprintf("levels-%d", from), Type: string(connectors.StockLevel),
			Format: stocksync.FactsFormat, Body: body, ReceivedAt: now})
	}
	_, err := h.store.PutAll(ctx, events)
	return err
}

// settleTimeout bounds the wait until everything is settled.
const settleTimeout = 2 * time.Minute

// settle waits until nothing is left to do. The engine is only asked when the shops show what they must, which check looks
// up in memory, and no push is due any more: its answer counts what is left, which takes time that the engine needs.
func (h *house) settle(ctx context.Context, check func() error) error {
	late := time.NewTimer(settleTimeout)
	defer late.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		settled, err := h.settled(ctx, check)
		if err != nil || settled {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until everything is settled: %w", ctx.Err())
		case <-late.C:
			status, err := h.engine.Status(ctx)
			return errors.Join(fmt.Errorf("not everything is settled after %s; what is left: %+v", settleTimeout, status), check(), err)
		case <-tick.C:
		}
	}
}

func (h *house) settled(ctx context.Context, check func() error) (bool, error) {
	if check() != nil {
		return false, nil // not yet
	}
	for id := range h.shops {
		if _, due, err := h.store.NextPush(ctx, id); err != nil || due {
			return false, err
		}
	}
	status, err := h.engine.Status(ctx)
	if err == nil && status.InboxParked > 0 {
		err = fmt.Errorf("%d events were parked", status.InboxParked)
	}
	return status.Settled, err
}

// close stops everything, what was started last first.
func (h *house) close() error {
	for _, shop := range h.shops {
		shop.Close() // so that no connection of its webhooks keeps the server waiting
	}
	h.stop()
	h.group.Wait()
	errs := []error{h.runErr}
	for _, v := range slices.Backward(h.closes) {
		errs = append(errs, v())
	}
	return errors.Join(errs...)
}
