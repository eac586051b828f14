package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/config"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// demoSummary is what the demo ends with.
type demoSummary struct {
	Events                   int64 `json:"events"`
	Duplicates               int64 `json:"duplicates"`
	Parked                   int64 `json:"parked"`
	Pushes                   int64 `json:"pushes"`
	OversoldUnits            int64 `json:"oversold_units"`
	Settled                  bool  `json:"settled"`
	Listings                 int   `json:"listings"`
	ListingsShownEqualTarget int   `json:"listings_shown_equal_target"`
	Orders                   int   `json:"orders"`
	OrdersAtSystemOfRecord   int   `json:"orders_at_system_of_record"`
}

func (s demoSummary) good() bool {
	return s.OversoldUnits == 0 && s.Settled && s.Listings == s.ListingsShownEqualTarget && s.Orders == s.OrdersAtSystemOfRecord
}

func (a *app) demoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch it work: a pretend shop, marketplace and warehouse on this machine, orders and faults flowing",
		Long: "demo starts a pretend shop, a pretend marketplace and a pretend warehouse on loopback, truestock between them on a\n" +
			"SQLite file, and lets orders, receipts and faults flow: webhooks late, doubled, out of order and lost, calls that\n" +
			"fail, time out although they worked, or lie. Then the faults end, and it proves that every listing shows what it\n" +
			"should and that nothing was sold twice. Exit code 4 says that this was not so. Ctrl-C ends the faults early; a second\n" +
			"one ends everything at once.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.listings < 1 || o.listings > 100_000 {
				return usageError(fmt.Errorf("--listings is %d: write a number from 1 to 100000", o.listings))
			}
			if o.runFor < time.Second {
				return usageError(fmt.Errorf("--for is %s: write at least 1s", o.runFor))
			}
			summary, err := a.demo(cmd.Context(), cmd.ErrOrStderr(), o)
			if err != nil {
				return err
			}
			if err := a.printSummary(cmd.OutOrStdout(), summary); err != nil {
				return err
			}
			if !summary.good() {
				return notMet()
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&o.runFor, "for", 30*time.Second, "how long orders and faults flow")
	cmd.Flags().Uint64Var(&o.seed, "seed", 1, "decides who buys what and which faults happen")
	cmd.Flags().IntVar(&o.listings, "listings", 40, "listings at the shop, and as many at the marketplace")
	return cmd
}

type demoOptions struct {
	runFor   time.Duration
	seed     uint64
	listings int
}

// demoWorld is everything outside truestock, on loopback.
type demoWorld struct {
	shops     []*fake.Shop
	warehouse *fake.Warehouse
	traffic   *fake.World
	servers   []*fake.Server
	urls      map[string]string
	mappings  []mapping.Row
}

// The names of the connections; each pretend system has one.
const (
	demoShop        = "shop"
	demoMarketplace = "marketplace"
	demoWarehouse   = "warehouse"
)

func (a *app) demo(ctx context.Context, view io.Writer, o demoOptions) (summary demoSummary, err error) {
	dir, err := os.MkdirTemp("", "truestock-demo-")
	if err != nil {
		return summary, fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	world, err := newDemoWorld(o)
	if err != nil {
		return summary, err
	}
	defer func() { err = errors.Join(err, world.close()) }()

	secret := demoSecret()
	logFile, err := os.Create(filepath.Join(dir, "demo.log"))
	if err != nil {
		return summary, fmt.Errorf("make a log for the demo: %w", err)
	}
	defer logFile.Close()
	h, err := openHouse(ctx, world.config(filepath.Join(dir, "demo.db"), secret), slog.New(slog.NewTextHandler(logFile, nil)), true)
	if err != nil {
		return summary, err
	}
	defer func() { err = errors.Join(err, h.close()) }()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return summary, fmt.Errorf("listen on loopback: %w", err)
	}
	if err := world.aim("http://"+listener.Addr().String(), secret); err != nil {
		return summary, errors.Join(err, listener.Close())
	}

	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- h.run(running, listener, nil, nil) }()
	live := newLiveView(view, a.json(), h.engine, world)
	password, _, err := h.engine.CreateToken(ctx, "demo", stocksync.ScopeAdmin, 0, localUser())
	if err == nil {
		live.inside("http://"+listener.Addr().String()+"/overview", password)
		summary, err = world.play(ctx, h.engine, o, live)
	}
	stop()
	return summary, errors.Join(err, <-served)
}

// newDemoWorld makes the pretend systems: at every shop o.listings listings; every fifth is a pack of three, every
// seventh a bundle of two articles, the rest single articles that both sell.
func newDemoWorld(o demoOptions) (*demoWorld, error) {
	faults := demoFaults()
	w := &demoWorld{urls: make(map[string]string)}
	w.warehouse = fake.NewWarehouse(fake.WarehouseConfig{
		Capabilities: open.RecordCapabilities{Name: demoWarehouse, Levels: "on_hand", Positions: true, CompleteLevels: true, OrderAmend: true, Corrections: true},
		Locations:    []open.Location{{ID: "main", Name: "Main warehouse"}}, Token: "demo", Seed: o.seed, Faults: faults, ShipDelay: time.Second,
	})
	components := make(map[fake.Sale][]fake.Component)
	for n, id := range []string{demoShop, demoMarketplace} {
		s := fake.NewShop(fake.ShopConfig{
			Capabilities: open.MarketplaceCapabilities{Name: id, ShopID: id, BatchSize: 100, ConditionalWrite: true, IdempotentWrite: true,
				QuantityMeans: "available", StopSale: true, Shipments: true},
			Token: "demo", Seed: o.seed + uint64(n) + 1, Faults: faults,
		})
		w.shops = append(w.shops, s)
		for i := range o.listings {
			sale := fake.Sale{Shop: id, Item: fmt.Sprintf("%s-%04d", id[:1], i+1)}
			components[sale] = demoComponents(i, o.listings)
			s.AddListing(open.Listing{Item: sale.Item, SKU: demoSKU(i), Title: fmt.Sprintf("Article %d", i+1), Status: "active"})
			for _, c := range components[sale] {
				w.mappings = append(w.mappings, mapping.Row{Connection: stock.ConnectionID(id), Item: sale.Item, SKU: stock.SKU(c.SKU), Units: stock.Quantity(c.Units)})
			}
		}
	}
	for i := range o.listings {
		w.warehouse.AddItem(open.Item{SKU: demoSKU(i), Name: fmt.Sprintf("Article %d", i+1), Kind: "physical"})
		if err := w.warehouse.SetOpening(demoSKU(i), "main", 30+int64(i*37%90)); err != nil {
			return nil, fmt.Errorf("stock the pretend warehouse: %w", err)
		}
	}
	w.traffic = fake.NewWorld(fake.WorldConfig{Seed: o.seed, Shops: w.shops, Warehouse: w.warehouse, Components: components,
		OrdersPerSecond: 12, CancelsPerSecond: 0.5, ReceiptsPerSecond: 3})
	if err := w.listen(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func demoSKU(i int) string { return fmt.Sprintf("SKU-%04d", i+1) }

func demoComponents(i, listings int) []fake.Component {
	switch {
	case i%7 == 6:
		return []fake.Component{{SKU: demoSKU(i), Units: 1}, {SKU: demoSKU((i + 1) % listings), Units: 2}}
	case i%5 == 4:
		return []fake.Component{{SKU: demoSKU(i), Units: 3}}
	default:
		return []fake.Component{{SKU: demoSKU(i), Units: 1}}
	}
}

// demoFaults are those that a bad day brings, all at once.
func demoFaults() fake.Faults {
	return fake.Faults{
		Permille: map[fake.Fault]int{
			fake.WebhookDelay: 100, fake.WebhookDuplicate: 60, fake.WebhookRemint: 20, fake.WebhookReorder: 60, fake.WebhookDrop: 40,
			fake.APIDelay: 50, fake.TooManyRequests: 10, fake.ServerError: 15, fake.Unavailable: 5, fake.TimeoutApplied: 5, fake.ServerErrorApplied: 10,
			fake.AppliedTwice: 10, fake.ThrottleLines: 10, fake.Lie: 10, fake.StaleLines: 15, fake.TruncatedBody: 5, fake.HTMLBody: 5,
		},
		APIDelay: 200 * time.Millisecond, RetryAfter: time.Second, Hang: 2 * time.Second, WebhookDelay: 2 * time.Second,
	}
}

func (w *demoWorld) listen() error {
	serve := func(name string, server *fake.Server, err error) error {
		if err != nil {
			return fmt.Errorf("start the pretend %s: %w", name, err)
		}
		w.servers = append(w.servers, server)
		w.urls[name] = server.URL
		return nil
	}
	server, err := fake.Serve(w.warehouse)
	if err := serve(demoWarehouse, server, err); err != nil {
		return err
	}
	for _, s := range w.shops {
		server, err := fake.Serve(s)
		if err := serve(s.ID(), server, err); err != nil {
			return err
		}
	}
	return nil
}

func (w *demoWorld) close() error {
	var errs []error
	for _, s := range w.shops {
		s.Close()
	}
	w.warehouse.Close()
	for _, s := range w.servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// config is the configuration of truestock between the pretend systems. The shop may offer 60 % of what there is, the
// marketplace 40 %: what both show together is never more than there is, however late their news comes.
func (w *demoWorld) config(database, secret string) config.Config {
	c := config.Default()
	c.Database.URL = config.Secret("sqlite:" + database)
	c.Timings.Poll, c.Timings.Look = 2*time.Second, 200*time.Millisecond
	c.Timings.RetryMin, c.Timings.RetryMax, c.Timings.RequestLife = 200*time.Millisecond, 2*time.Second, 3*time.Second
	c.Timings.Request = 1500 * time.Millisecond
	settings := func(name string) config.Settings {
		return config.Settings{"base_url": config.Secret(w.urls[name]), "token": "demo", "webhook_secrets": config.Secret(secret)}
	}
	c.Connections[demoWarehouse] = config.Connection{Connector: "open", Role: config.SystemOfRecord, Settings: settings(demoWarehouse), Poll: c.Timings.Poll}
	for id, share := range map[stock.ConnectionID]int64{demoShop: 600, demoMarketplace: 400} {
		c.Connections[id] = config.Connection{Connector: "open", Role: config.Marketplace, Settings: settings(string(id)), Poll: c.Timings.Poll,
			OrdersTo: demoWarehouse, Policy: stock.Policy{SharePermille: &share}}
	}
	return c
}

// aim points every pretend system's webhooks at truestock.
func (w *demoWorld) aim(url, secret string) error {
	err := w.warehouse.SendWebhooks(fake.Target{URL: url + "/webhooks/" + demoWarehouse, Secret: secret})
	for _, s := range w.shops {
		err = errors.Join(err, s.SendWebhooks(fake.Target{URL: url + "/webhooks/" + s.ID(), Secret: secret}))
	}
	return err
}

func demoSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// play lets the traffic flow, ends the faults, waits until everything is settled, and counts.
func (w *demoWorld) play(ctx context.Context, engine *stocksync.Engine, o demoOptions, view *liveView) (demoSummary, error) {
	var csv bytes.Buffer
	if err := mapping.Write(&csv, w.mappings); err != nil {
		return demoSummary{}, err
	}
	imported, err := engine.ImportMappings(ctx, &csv, localUser())
	if err != nil {
		return demoSummary{}, err
	}
	if len(imported.Errors) > 0 {
		return demoSummary{}, fmt.Errorf("the demo's mapping is refused: %v", imported.Errors)
	}
	viewing, stopViewing := context.WithCancel(context.WithoutCancel(ctx))
	viewed := make(chan struct{})
	go func() {
		defer close(viewed)
		view.run(viewing)
	}()
	traffic, endTraffic := context.WithTimeout(ctx, o.runFor)
	w.traffic.Run(traffic)
	endTraffic()
	patience := settleTime
	if ctx.Err() == nil {
		view.phase("the faults have ended; settling")
	} else {
		patience = settleHaste
		view.phase("interrupted: the faults have ended; settling (Ctrl-C again ends at once)")
	}
	w.warehouse.Heal()
	for _, s := range w.shops {
		s.Heal()
	}
	summary, err := w.settle(context.WithoutCancel(ctx), engine, patience)
	stopViewing()
	<-viewed
	return summary, err
}

// How long the demo waits until everything is settled, by itself and when somebody wants it to end.
const (
	settleTime  = 90 * time.Second
	settleHaste = 20 * time.Second
)

// settle waits until truestock says that nothing is left to do, and the shops agree, a few times in a row: a webhook may
// still have been on its way.
func (w *demoWorld) settle(ctx context.Context, engine *stocksync.Engine, patience time.Duration) (demoSummary, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for good := 0; ; {
		s, err := w.summary(context.WithoutCancel(ctx), engine)
		if err != nil {
			return s, err
		}
		good++
		if !s.good() || w.warehouse.PendingWebhooks() > 0 {
			good = 0
		}
		if good >= 3 {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, nil // the summary tells what is not as it should be
		case <-tick.C:
			w.warehouse.ShipAll()
		}
	}
}

// summary compares what truestock says with what the pretend systems know.
func (w *demoWorld) summary(ctx context.Context, engine *stocksync.Engine) (demoSummary, error) {
	status, err := engine.Status(ctx)
	if err != nil {
		return demoSummary{}, err
	}
	counts := engine.Counts()
	s := demoSummary{Events: counts.Events, Duplicates: counts.Duplicates, Pushes: counts.Writes, Parked: status.InboxParked, Settled: status.Settled,
		OversoldUnits: w.traffic.OversoldUnits()}
	recorded := make(map[string]bool)
	for _, o := range w.warehouse.Orders() {
		recorded[o.Key] = true
	}
	for _, shop := range w.shops {
		for _, l := range shop.Listings() {
			s.Listings++
			v, err := engine.Listing(ctx, listingKey(shop.ID(), l.Item, l.Place))
			if err == nil && v.Target != nil && l.Quantity != nil && int64(*v.Target) == *l.Quantity {
				s.ListingsShownEqualTarget++
			}
		}
		for _, o := range shop.Orders() {
			known := recorded[mapping.OrderKey(stock.ConnectionID(shop.ID()), o.OrderID)]
			if o.Status == "cancelled" && !known {
				continue // cancelled before the warehouse had to hear of it
			}
			s.Orders++
			if known {
				s.OrdersAtSystemOfRecord++
			}
		}
	}
	return s, nil
}

func (a *app) printSummary(out io.Writer, s demoSummary) error {
	if a.json() {
		return printJSON(out, s)
	}
	verdict := "Every listing shows what it should, every order is at the warehouse, and nothing was sold twice."
	if !s.good() {
		verdict = "Something is not as it should be: see the numbers."
	}
	_, err := fmt.Fprintf(out, `
events stored                %8d
duplicates recognised        %8d
events parked                %8d
writes to the channels       %8d
units oversold               %8d
settled                      %8t
listings                     %8d
  showing their target       %8d
orders                       %8d
  at the warehouse           %8d

%s
`, s.Events, s.Duplicates, s.Parked, s.Pushes, s.OversoldUnits, s.Settled, s.Listings, s.ListingsShownEqualTarget, s.Orders, s.OrdersAtSystemOfRecord, verdict)
	return err
}
