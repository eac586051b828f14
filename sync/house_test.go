package sync_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	scheme "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	"github.com/truestock/truestock/store"
	stocksync "github.com/truestock/truestock/sync"
)

// house is the engine on a SQLite file between pretend shops and a pretend warehouse, in one process and on a pretended
// clock: sleeping for an hour takes no time, and after it everything that an hour brings has happened.
type house struct {
	t         *testing.T
	ctx       context.Context
	shops     map[string]*fake.Shop
	warehouse *fake.Warehouse
	path      string
	store     *store.Store
	engine    *stocksync.Engine
	// receiving is the engine while it takes webhooks; senders run beside the test.
	receiving atomic.Pointer[stocksync.Engine]
	config    stocksync.Config
	schedules []stocksync.Schedule
	stop      func()
	trouble   trouble
}

// trouble is what a test does to the calls that the engine makes meanwhile.
type trouble struct {
	mu     sync.Mutex
	down   map[string]bool
	poison string
	fails  bool // the poison makes a shop fail, instead of refusing
	lost   map[string]bool
	once   map[string]func()
	unsaid string
	mail   map[string]string // the newest body of each type that was lost
	calls  []string          // method and path of every call to the warehouse
}

// setUnsaid leaves an article out of everything that the warehouse says when it is asked for its levels.
func (t *trouble) setUnsaid(sku string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsaid = sku
}

// leaveOut takes the article that is not to be said out of an answer.
func (t *trouble) leaveOut(resp *http.Response) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unsaid == "" || resp.StatusCode != http.StatusOK {
		return nil
	}
	var page open.LevelsPage
	err := json.UnmarshalRead(resp.Body, &page)
	_ = resp.Body.Close()
	if err != nil {
		return err
	}
	page.Levels = slices.DeleteFunc(page.Levels, func(l open.Level) bool { return l.SKU == t.unsaid })
	page.Count = new(len(page.Levels))
	body, err := json.Marshal(page)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return err
}

// asked counts the calls that asked the warehouse for an order since the last time.
func (t *trouble) asked() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, c := range t.calls {
		if strings.HasPrefix(c, "GET /orders/") {
			n++
		}
	}
	t.calls = nil
	return n
}

// setLost makes webhooks of a type never arrive.
func (t *trouble) setLost(kind string, lost bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost[kind] = lost
}

func (t *trouble) loses(body []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for kind, lost := range t.lost {
		if lost && bytes.Contains(body, []byte(`"`+kind+`"`)) {
			if t.mail == nil {
				t.mail = map[string]string{}
			}
			t.mail[kind] = string(body)
			return true
		}
	}
	return false
}

// before does something once, right before the next call of a kind: "shop/stock/write".
func (t *trouble) before(call string, do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.once[call] = do
}

func (t *trouble) taken(call string) func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	do := t.once[call]
	delete(t.once, call)
	return do
}

// setDown makes the API of a shop or the warehouse unreachable, or a part of it: "shop/orders".
func (t *trouble) setDown(what string, down bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down[what] = down
}

// setPoison makes shops refuse every write that contains the item, as a whole.
func (t *trouble) setPoison(item string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.poison = item
}

// setFailing makes shops answer 500 to every write that contains the item.
func (t *trouble) setFailing(item string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.poison, t.fails = item, item != ""
}

func (t *trouble) status() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fails {
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

func (t *trouble) of(name, path string) (down bool, poison string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.down[name] || t.down[name+path], t.poison
}

type houseOptions struct {
	levels    string // on_hand or available; empty: on_hand
	positions bool
	amend     bool
	answers   bool // the warehouse can be asked how an order stands
	// corrects lets the warehouse book what stocktakes find.
	corrects bool
	shops    map[string]open.MarketplaceCapabilities
	policy   stock.Policy
	faults   fake.Faults
	timings  stocksync.Timings
	guard    stocksync.GuardLimits
	heal     stocksync.HealPolicy
	oversell stock.OversellBound
	// silent keeps the pretend systems from sending webhooks.
	silent bool
	// keySecret encrypts the keys of licences.
	keySecret string
	// feed makes the shops do writes so long after they are answered.
	feed time.Duration
}

var secret = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))

// within runs a test on a pretended clock.
func within(t *testing.T, o houseOptions, test func(h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, o)
		defer h.close()
		h.start()
		test(h)
	})
}

func newHouse(t *testing.T, o houseOptions) *house {
	t.Helper()
	if o.levels == "" {
		o.levels = "on_hand"
	}
	if o.timings.Look == 0 {
		o.timings.Look = time.Minute // signals do the work; looking every second of a day would only take long
	}
	if o.shops == nil {
		o.shops = map[string]open.MarketplaceCapabilities{"shop": {}}
	}
	h := &house{t: t, ctx: t.Context(), shops: map[string]*fake.Shop{}, path: filepath.Join(t.TempDir(), "test.db"), trouble: trouble{down: map[string]bool{}, lost: map[string]bool{}, once: map[string]func(){}}}
	h.warehouse = fake.NewWarehouse(fake.WarehouseConfig{Seed: 1, Faults: o.faults,
		Capabilities: open.RecordCapabilities{Name: "erp", Levels: o.levels, Positions: o.positions, CompleteLevels: true, OrderAmend: o.amend, OrderStatus: o.answers, Corrections: o.corrects}})
	h.config = stocksync.Config{KeySecret: []byte(o.keySecret), Timings: o.timings, Guard: o.guard, Heal: o.heal, Oversell: o.oversell}
	h.config.Records = []stocksync.Record{{ID: "erp", Connector: "open", System: h.open("erp", connectors.SystemOfRecordRole, h.warehouse).(connectors.SystemOfRecord)}}
	for name, caps := range o.shops {
		caps.ShopID, caps.Shipments = name, true
		s := fake.NewShop(fake.ShopConfig{Seed: 2, Capabilities: caps, Faults: o.faults, FeedDelay: o.feed})
		h.shops[name] = s
		h.config.Channels = append(h.config.Channels, stocksync.Channel{ID: stock.ConnectionID(name), Connector: "open", OrdersTo: "erp", Policy: o.policy,
			Marketplace: h.open(name, connectors.MarketplaceRole, s).(connectors.Marketplace)})
	}
	if !o.silent {
		receive := fake.Transport(http.HandlerFunc(h.receive))
		aim := func(to interface{ SendWebhooks(fake.Target) error }, name string) {
			if err := to.SendWebhooks(fake.Target{URL: "http://truestock/" + name, Secret: secret, Transport: receive}); err != nil {
				t.Fatal(err)
			}
		}
		aim(h.warehouse, "erp")
		for name, s := range h.shops {
			aim(s, name)
		}
	}
	return h
}

// open makes a connection through the open protocol that stays within the process.
func (h *house) open(name string, role connectors.Role, server http.Handler) connectors.Connection {
	h.t.Helper()
	transport := reachable{h, name, fake.Transport(server)}
	conn, err := open.Info().Open(connectors.Env{Connection: stock.ConnectionID(name), WebhookURL: "http://truestock/" + name, Transport: transport}, role,
		connectors.Settings{"base_url": "http://" + name, "token": "token", "webhook_secrets": secret})
	if err != nil {
		h.t.Fatal(err)
	}
	return conn
}

type reachable struct {
	house *house
	name  string
	next  http.RoundTripper
}

func (r reachable) RoundTrip(req *http.Request) (*http.Response, error) {
	if do := r.house.trouble.taken(r.name + req.URL.Path); do != nil {
		do()
	}
	if r.name == "erp" {
		r.house.trouble.mu.Lock()
		r.house.trouble.calls = append(r.house.trouble.calls, req.Method+" "+req.URL.Path)
		r.house.trouble.mu.Unlock()
	}
	down, poison := r.house.trouble.of(r.name, req.URL.Path)
	if down {
		return nil, &connectionRefused{}
	}
	if poison != "" && req.URL.Path == "/stock/write" {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		if bytes.Contains(body, []byte(poison)) {
			status := r.house.trouble.status()
			return &http.Response{StatusCode: status, Status: strconv.Itoa(status) + " " + http.StatusText(status), Header: http.Header{"Content-Type": {"application/problem+json"}},
				Body: io.NopCloser(strings.NewReader(`{"title":"bad line","status":400}`)), Request: req, ProtoMajor: 1, ProtoMinor: 1}, nil
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := r.next.RoundTrip(req)
	if err == nil && req.URL.Path == "/levels" {
		err = r.house.trouble.leaveOut(resp)
	}
	return resp, err
}

type connectionRefused struct{}

func (*connectionRefused) Error() string { return "connection refused" }

// receive is the way in that package web is in the product.
func (h *house) receive(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	engine := h.receiving.Load()
	if h.trouble.loses(body) {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if engine == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	receipt, err := engine.Receive(r.Context(), stock.ConnectionID(strings.TrimPrefix(r.URL.Path, "/")), connectors.Request{Method: r.Method, Header: r.Header, Body: body})
	switch {
	case err == nil && receipt.Conflict:
		w.WriteHeader(http.StatusConflict)
	case err == nil:
		w.WriteHeader(http.StatusAccepted)
	case errors.Is(err, connectors.ErrSignature):
		w.WriteHeader(http.StatusUnauthorized)
	case errors.Is(err, connectors.ErrEnvelope):
		w.WriteHeader(http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// start opens the database and runs the engine, as after a start of the process.
func (h *house) start() { h.startAfter(func() {}) }

// startAfter does something between the start of the process and the first pass of the engine.
func (h *house) startAfter(first func()) {
	h.t.Helper()
	var err error
	if h.store, err = store.Open(h.ctx, "sqlite:"+h.path, store.Options{Exclusive: true}); err != nil {
		h.t.Fatal(err)
	}
	if err := h.store.Migrate(h.ctx); err != nil {
		h.t.Fatal(err)
	}
	if h.engine, err = stocksync.New(h.config, h.store); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.ctx)
	done := make(chan error, 1)
	engine := h.engine
	h.receiving.Store(engine)
	first()
	go func() { done <- engine.Run(ctx, h.schedules) }()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("the engine stopped with: %v", err)
		}
		h.receiving.Store(nil)
		h.engine = nil
		if err := h.store.Close(); err != nil {
			h.t.Errorf("close the store: %v", err)
		}
		h.stop = nil
	}
}

func (h *house) restart() {
	h.stop()
	h.start()
}

func (h *house) close() {
	if h.stop != nil {
		h.stop()
	}
	for _, s := range h.shops {
		s.Close()
	}
	h.warehouse.Close()
	for _, c := range h.config.Channels {
		_ = c.Marketplace.Close()
	}
	for _, r := range h.config.Records {
		_ = r.System.Close()
	}
}

// stocked puts an article into the warehouse and a listing of it, under the same name, into every shop.
func (h *house) stocked(sku string, quantity int64) {
	h.t.Helper()
	h.warehouse.AddItem(open.Item{SKU: sku, Name: sku})
	if err := h.warehouse.SetOpening(sku, "main", quantity); err != nil {
		h.t.Fatal(err)
	}
	for name, s := range h.shops {
		s.AddListing(open.Listing{Item: sku, Title: sku})
		h.link(name + "," + sku + ",," + sku + ",1")
	}
}

func (h *house) link(rows ...string) {
	h.t.Helper()
	v, err := h.engine.ImportMappings(h.ctx, strings.NewReader("connection,item,place,sku,units\n"+strings.Join(rows, "\n")+"\n"), "ann")
	if err != nil || len(v.Errors) > 0 {
		h.t.Fatalf("import %v: %v %v", rows, err, v.Errors)
	}
}

// settled lets time pass until nothing is left to do.
func (h *house) settled() {
	h.t.Helper()
	for range 600 {
		time.Sleep(time.Second)
		synctest.Wait()
		s, err := h.engine.Status(h.ctx)
		if err != nil {
			h.t.Fatal(err)
		}
		if s.Settled && h.engine.Asked() {
			return
		}
	}
	s, _ := h.engine.Status(h.ctx)
	h.t.Fatalf("not settled after ten minutes: %+v\n%s", s, h.describe())
}

func (h *house) describe() string {
	var b strings.Builder
	rows, _, _ := h.engine.Listings(h.ctx, stocksync.ListingQuery{Limit: 50}, "")
	for _, l := range rows {
		b.WriteString(string(l.Connection) + " " + l.Item + " " + string(l.State) + " target " + text(l.Target) + " confirmed " + text(l.Confirmed) + " " + l.HeldReason + " " + l.LastError + "\n")
	}
	connections, _ := h.engine.Connections(h.ctx)
	for _, c := range connections {
		b.WriteString(string(c.Name) + " paused " + c.Paused + " error " + c.LastError + "\n")
	}
	return b.String()
}

func text(q *stock.Quantity) string {
	if q == nil {
		return "-"
	}
	return strconv.FormatInt(int64(*q), 10)
}

// shows checks what a shop's listing really shows.
func (h *house) shows(shop, item string, want int64) {
	h.t.Helper()
	got, ok := h.shops[shop].Quantity(item, "")
	if !ok || got != want {
		h.t.Errorf("%s shows %d of %s (known %t), want %d\n%s", shop, got, item, ok, want, h.describe())
	}
}

// item checks the ledger's sums of a SKU.
func (h *house) item(sku string, onHand, committed, available stock.Quantity) {
	h.t.Helper()
	v, err := h.engine.Item(h.ctx, stock.SKU(sku))
	if err != nil {
		h.t.Fatal(err)
	}
	if v.OnHand != onHand || v.Committed != committed || v.Available != available {
		h.t.Errorf("%s: on hand %d, committed %d, available %d; want %d, %d, %d", sku, v.OnHand, v.Committed, v.Available, onHand, committed, available)
	}
}

func (h *house) buy(shop, item string, quantity int64) string {
	h.t.Helper()
	id, ok := h.shops[shop].Buy(item, quantity)
	if !ok {
		h.t.Fatalf("%s refuses to sell %d of %s", shop, quantity, item)
	}
	return id
}

func (h *house) incidents(kind string) int {
	h.t.Helper()
	list, err := h.engine.Incidents(h.ctx, true, 0, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	n := 0
	for _, i := range list {
		if i.Kind == kind {
			n++
		}
	}
	return n
}

func orderKey(shop, id string) string { return mapping.OrderKey(stock.ConnectionID(shop), id) }

func ref(item string) connectors.Ref { return connectors.Ref{Item: item} }

func id(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lastMail is the body of the newest webhook of a type that was lost.
func (h *house) lastMail(kind string) string {
	h.t.Helper()
	synctest.Wait()
	h.trouble.mu.Lock()
	defer h.trouble.mu.Unlock()
	if h.trouble.mail[kind] == "" {
		h.t.Fatalf("no webhook %s was lost", kind)
	}
	return h.trouble.mail[kind]
}

// deliver brings a webhook to the engine under an id of its own.
func (h *house) deliver(connection, body string) {
	h.t.Helper()
	signer, err := scheme.NewWebhook(secret)
	if err != nil {
		h.t.Fatal(err)
	}
	now := time.Now()
	id := "late-" + strconv.FormatInt(now.UnixNano(), 10)
	signature, err := signer.Sign(id, now, []byte(body))
	if err != nil {
		h.t.Fatal(err)
	}
	header := http.Header{}
	header.Set(scheme.HeaderWebhookID, id)
	header.Set(scheme.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	header.Set(scheme.HeaderWebhookSignature, signature)
	if r, err := h.engine.Receive(h.ctx, stock.ConnectionID(connection), connectors.Request{Method: http.MethodPost, Header: header, Body: []byte(body)}); err != nil || r.Duplicate || r.Conflict {
		h.t.Fatalf("the webhook is answered %+v, %v", r, err)
	}
}

// sound demands that nothing that is stored contradicts anything.
func (h *house) sound() {
	h.t.Helper()
	v, err := h.engine.Verify(h.ctx, nil)
	if err != nil || !v.Sound {
		h.t.Errorf("verify: %+v %v", v.Differences, err)
	}
}
