package simtest

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/ncruces/go-sqlite3/vfs"
	scheme "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	"github.com/truestock/truestock/store"
	stocksync "github.com/truestock/truestock/sync"
)

// The times of a run.
const (
	defaultTraffic = 40 * time.Minute
	requestLife    = time.Minute
	pollEvery      = time.Minute
	// After the faults have stopped everything must be right after calming without anybody comparing anything, and after
	// comparing nothing may be written any more for as long as quiet.
	calming = 16 * time.Minute
	quiet   = 10 * time.Minute
	// What is on offer is looked at as often, on a clock of its own: an outsider knows nothing of the engine's turns.
	sampleEvery = time.Minute
	// A raise waits while the warehouse has not answered for as long.
	staleStatement = 14 * time.Minute
)

// sim is one run.
type sim struct {
	seed    uint64
	o       Options
	faults  []string
	world   *world
	journal *journal
	result  Result
	path    string

	events   events
	sequence int
	start    time.Time
	healed   bool

	shops     map[string]*fake.Shop
	warehouse *fake.Warehouse
	mapped    map[int]bool // listings by their place in world.listings
	parts     map[int][]partSpec
	remapped  map[int]bool

	store   *store.Store
	ports   *ports
	engine  *stocksync.Engine
	ctx     context.Context
	cancel  context.CancelFunc
	closers []connectors.Connection

	signer       *scheme.Webhook
	posting      sync.Mutex // guards posted
	posted       map[string][]letter
	accepted     []acceptance
	dead         map[string]bool
	outages      map[string]int
	late         map[string]int
	crashIn      int
	crashed      bool
	passed       int
	transactions int
	passAt       time.Time
	idle         int
	resuming     map[string]bool
	noted        map[string]int  // writes of each shop that are in the journal
	unseen       map[string]bool // listings whose number changed in a way that only a comparison finds
	oversold     map[string]int64
	hooks        hooks // of the planted bug
	minted       int
	snatches     []Action
	exported     map[string]bool // rows of an export, while it is read
	touched      map[string]bool // orders that were cancelled or edited, in part or whole
	fetched      map[string]bool
	owedIDs      map[string]string    // the ids under which they were written
	owed         map[string]time.Time // listings that must be looked at again, and from when on
	hidden       map[string]int       // listings that their shop does not know now
	vain         map[string]int       // how often the engine has looked for each in vain, since it was last shown
	gone         map[string]bool      // what the engine has given up
	exports      []uint64             // bad exports that are still to come
	oldExport    []byte
	heard        time.Time // when the warehouse last answered
	said         map[string]word
	readings     map[string]reading
	knownOrders  map[stocksync.OrderKey]bool
	raises       int
	dawdled      int
	sampled      int
	samples      int
	pasts        []past
	flights      flights
	places       map[open.Ref]int // of listings in world.listings, by their item and shop
	ruled        ruled
	told         told
	startedAt    time.Time // when the process started
	worked       time.Time // when the engine began to work off everything, the last time that it did
	disk         *disk     // nil where the power never fails
	power        bool      // the power was cut
	skew         map[string]time.Duration
	listens      map[string]*listening
	overlap      bool // a reconciliation is to be asked for amid the next one
	comparing    bool
}

// acceptance is a webhook that was answered 2xx.
type acceptance struct {
	from, id string
	event    int64
	sum      [32]byte
}

var secret = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("s"), 32))

const recordName = "erp"

func newSim(seed uint64, o Options, path string) *sim {
	s := &sim{
		seed: seed, o: o, path: path, start: time.Now(),
		shops: map[string]*fake.Shop{}, mapped: map[int]bool{}, parts: map[int][]partSpec{}, remapped: map[int]bool{},
		posted: map[string][]letter{}, dead: map[string]bool{}, outages: map[string]int{}, late: map[string]int{},
		resuming: map[string]bool{}, noted: map[string]int{}, unseen: map[string]bool{}, oversold: map[string]int64{}, touched: map[string]bool{}, exported: map[string]bool{},
		places: map[open.Ref]int{}, skew: map[string]time.Duration{}, listens: map[string]*listening{},
		fetched: map[string]bool{}, owed: map[string]time.Time{}, owedIDs: map[string]string{}, hidden: map[string]int{}, vain: map[string]int{}, gone: map[string]bool{}, readings: map[string]reading{}, said: map[string]word{}, knownOrders: map[stocksync.OrderKey]bool{},
	}
	s.journal = &journal{start: s.start, sum: sha256.New(), keep: o.Trace}
	s.result.Seed = seed
	return s
}

func simulate(seed uint64, o Options, dir string) Result {
	s := newSim(seed, o, filepath.Join(dir, "sim.db"))
	bug, known := bugNamed(o.Bug)
	if !known {
		return Result{Seed: seed, Violations: []string{fmt.Sprintf("no bug is called %q", o.Bug)}}
	}
	s.hooks = bug.hooks
	s.faults = chosen(seed, o)
	s.world = newWorld(seed, s.faults)
	if s.o.Traffic <= 0 {
		s.o.Traffic = defaultTraffic
	}
	actions := o.Actions
	if actions == nil {
		actions = history(seed, s.faults, s.o.Traffic)
	}
	s.result.Faults, s.result.Actions = s.faults, actions
	s.run(actions)
	s.result.TraceHash, s.result.Trace = s.journal.hash(), s.journal.lines
	s.result.Simulated, s.result.Raises = time.Since(s.start), s.raises
	return s.result
}

func (s *sim) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.journal.note("VIOLATION %s", text)
	if len(s.result.Violations) < 20 {
		s.result.Violations = append(s.result.Violations, text)
	}
}

func (s *sim) dice(parts ...any) *rand.Rand { return dice(s.seed, parts...) }

// run lets the traffic flow, heals, and asks the oracles.
func (s *sim) run(actions []Action) {
	if err := s.begin(); err != nil {
		s.violate("%v", err)
		return
	}
	if slices.Contains(s.faults, FaultPower) {
		s.disk = newDisk(s.path)
		vfs.Register(s.path, s.disk)
		defer vfs.Unregister(s.path)
	}
	defer s.close()
	s.after(0, "start", s.startEngine)
	if slices.Contains(s.faults, FaultSubscribe) {
		s.at(2*time.Second, "tend", s.tend)
	}
	for i, a := range actions {
		s.at(a.At, a.Kind, func() { s.act(i, a) })
	}
	s.at(time.Second, "poll", s.poll)
	healed := s.o.Traffic + time.Minute
	s.at(healed, "heal", s.heal)
	s.until(healed + calming)
	s.checkListings("after healing", true)
	s.at(healed+calming, "compare", s.compared)
	s.until(healed + calming + 5*time.Minute)
	s.at(healed+calming+5*time.Minute, "compare", s.compared)
	s.until(healed + calming + 10*time.Minute)
	s.check()
	before := s.writeCounts()
	s.until(healed + calming + 10*time.Minute + quiet)
	if after := s.writeCounts(); !maps.Equal(before, after) {
		s.violate("nothing happens any more, and yet there were writes: %v before, %v after %s", before, after, quiet)
	}
	s.checkLedger()
	s.checkFlights()
	if s.seed%3 == 0 {
		s.checkReplay(s.path + ".replay")
	}
}

// begin makes the systems of the world.
func (s *sim) begin() (err error) {
	if s.signer, err = scheme.NewWebhook(secret); err != nil {
		return fmt.Errorf("make the signer: %w", err)
	}
	return s.build()
}

func (s *sim) build() error {
	w := s.world
	faults := fake.Faults{Permille: w.permille, APIDelay: 100 * time.Millisecond, RetryAfter: 6 * time.Second, Hang: 30 * time.Second, ReadLag: 3 * time.Second}
	s.warehouse = fake.NewWarehouse(fake.WarehouseConfig{Seed: s.seed, Faults: faults, Locations: w.locations, PageSize: w.recordPage, TellsLevels: w.telling,
		Capabilities: open.RecordCapabilities{Name: recordName, Levels: w.basis, Positions: w.positions, CompleteLevels: true, OrderAmend: w.amend, OrderStatus: w.answers, Corrections: w.corrects}})
	s.misset(recordName)
	for _, a := range w.articles {
		s.warehouse.AddItem(open.Item{SKU: a.sku, Name: a.sku})
		for i, l := range w.locations {
			if err := s.warehouse.SetOpening(a.sku, l.ID, a.opening[i]); err != nil {
				return err
			}
		}
	}
	aim := func(to interface{ SendWebhooks(fake.Target) error }, name string) error {
		return to.SendWebhooks(fake.Target{URL: "http://truestock/" + name, Secret: secret, Transport: postbox{s, name}, Workers: 1})
	}
	if err := aim(s.warehouse, recordName); err != nil {
		return err
	}
	for i, spec := range w.shops {
		shop := fake.NewShop(fake.ShopConfig{Seed: s.seed + uint64(i) + 1, Capabilities: spec.caps, Faults: faults, PageSize: w.shopPage,
			RestocksOnCancel: spec.restocks, AnswersAccepted: spec.accepts, FeedDelay: spec.feed})
		s.shops[spec.name] = shop
		s.misset(spec.name)
		for j, l := range w.listings {
			if l.shop == i {
				shop.AddListing(open.Listing{Item: l.item, Title: l.item, Quantity: &l.initial})
				s.parts[j] = l.parts
				s.places[open.Ref{Item: l.item, Place: spec.name}] = j
			}
		}
		if err := aim(shop, spec.name); err != nil {
			return err
		}
	}
	return nil
}

func (s *sim) close() {
	s.stopEngine()
	for _, shop := range s.shops {
		shop.Close()
	}
	s.warehouse.Close()
}

// startEngine starts the process.
func (s *sim) startEngine() {
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx, s.cancel, s.crashed, s.crashIn = ctx, cancel, false, 0
	options := store.Options{Connections: 1}
	if s.disk != nil {
		options.VFS = s.path
	}
	db, err := store.Open(ctx, "sqlite:"+s.path, options)
	if err == nil {
		err = db.Migrate(ctx)
	}
	if err != nil {
		s.violate("open the database: %v", err)
		return
	}
	s.store = db
	s.startedAt, s.worked, s.told.held = time.Now(), time.Time{}, nil
	cfg, err := s.config()
	if err != nil {
		s.violate("%v", err)
		return
	}
	s.ports = newPorts(db, s)
	engine, err := stocksync.New(cfg, s.planted(s.ports))
	if err != nil {
		s.violate("%v", err)
		return
	}
	s.engine = engine
	s.journal.note("the engine starts")
	s.settleDoubts()
	if len(s.mapped) == 0 {
		for i, l := range s.world.listings {
			if !l.late {
				s.link(i)
			}
		}
	}
	s.setUp()
	s.passSoon()
}

func (s *sim) config() (stocksync.Config, error) {
	cfg := stocksync.Config{Batch: s.world.tiny, Timings: stocksync.Timings{Poll: pollEvery, RequestLife: requestLife, RetryMax: 2 * time.Minute, Levels: 10 * time.Minute, StaleStatement: staleStatement, ContestWindow: 3 * time.Minute, OrderStatus: 3 * time.Minute}}
	if slices.Contains(s.faults, FaultRatio) {
		cfg.Oversell = stock.OversellBound{MaxPermille: oversellBound, MinOrders: 8}
	}
	if slices.Contains(s.faults, FaultHorizon) {
		cfg.Timings.RetryHorizon = shortHorizon
	}
	if s.tells() {
		cfg.Notifier = receivers{s}
	}
	if slices.Contains(s.faults, FaultKeys) {
		cfg.KeySecret = []byte("a secret that only the simulation knows")
	}
	connect := func(name string, role connectors.Role, server http.Handler) (connectors.Connection, error) {
		conn, err := open.Info().Open(connectors.Env{Connection: stock.ConnectionID(name), Transport: s.transport(name, server), Timeout: callTimeout, WebhookURL: s.hook(name)}, role,
			connectors.Settings{"base_url": "http://" + name, "token": "token", "webhook_secrets": secret})
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", name, err)
		}
		s.closers = append(s.closers, conn)
		return conn, nil
	}
	record, err := connect(recordName, connectors.SystemOfRecordRole, s.warehouse)
	if err != nil {
		return cfg, err
	}
	cfg.Records = []stocksync.Record{{ID: recordName, Connector: "open", System: s.plantedRecord(record.(connectors.SystemOfRecord))}}
	for _, spec := range s.world.shops {
		shop, err := connect(spec.name, connectors.MarketplaceRole, s.shops[spec.name])
		if err != nil {
			return cfg, err
		}
		cfg.Channels = append(cfg.Channels, stocksync.Channel{ID: stock.ConnectionID(spec.name), Connector: "open", OrdersTo: recordName, Policy: s.plantedPolicy(spec.policy),
			Marketplace: s.plantedShop(spec.name, shop.(connectors.Marketplace))})
	}
	return cfg, nil
}

// stopEngine ends the process, whatever it was doing.
func (s *sim) stopEngine() {
	if s.store == nil {
		return
	}
	if s.disk != nil {
		s.disk.arm(0, nil, nil)
	}
	s.cancel()
	s.engine = nil
	if err := s.store.Close(); err != nil {
		s.violate("close the database: %v", err)
	}
	s.store = nil
	for _, c := range s.closers {
		_ = c.Close()
	}
	s.closers = nil
}

// revive starts the process again when it has crashed.
func (s *sim) revive() {
	if s.engine == nil || s.ctx.Err() == nil {
		return
	}
	s.result.Crashes++
	clear(s.owed)
	if s.power {
		s.power = false
		s.powerCut()
	} else {
		s.stopEngine()
	}
	r := s.dice("downtime", s.result.Crashes)
	down := time.Duration(r.IntN(3000)) * time.Millisecond
	if r.IntN(4) == 0 && !s.healed {
		down = time.Duration(r.IntN(600)) * time.Second
	}
	s.after(down, "restart", s.startEngine)
}

// link gives the engine the mapping of a listing.
func (s *sim) link(i int) {
	if s.engine == nil {
		return
	}
	l := s.world.listings[i]
	var rows strings.Builder
	rows.WriteString("connection,item,place,sku,units\n")
	name := s.world.shops[l.shop].name
	for _, p := range s.parts[i] {
		rows.WriteString(fmt.Sprintf("%s,%s,,%s,%d\n", name, l.item, p.sku, p.units))
	}
	v, err := s.engine.ImportMappings(s.ctx, strings.NewReader(rows.String()), "operator")
	switch {
	case len(v.Errors) > 0:
		s.violate("the mapping is refused: %v", v.Errors)
	case err != nil:
		s.journal.note("map %s %s: %v", name, l.item, err)
		s.after(2*time.Second, "map again", func() { s.link(i) })
	default:
		s.mapped[i] = true
		s.passSoon()
	}
}

// rows are the rows of the mapping that describe a listing.
func (s *sim) rows(i int) string {
	var rows strings.Builder
	for _, p := range s.parts[i] {
		fmt.Fprintf(&rows, "%s,%s,,%s,%d\n", s.world.shops[s.world.listings[i].shop].name, s.world.listings[i].item, p.sku, p.units)
	}
	return rows.String()
}

// --- time -----------------------------------------------------------------------------------------------------------

// event is something that is going to happen.
type event struct {
	at       time.Time
	sequence int
	name     string
	do       func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].sequence < e[j].sequence
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// at plans something for an instant after the start.
func (s *sim) at(offset time.Duration, name string, do func()) {
	s.sequence++
	heap.Push(&s.events, event{s.start.Add(offset), s.sequence, name, do})
}

// after plans something for an instant after now.
func (s *sim) after(delay time.Duration, name string, do func()) {
	s.at(time.Since(s.start)+delay, name, do)
}

// until lets everything happen that is due before the instant, which is given from the start.
func (s *sim) until(offset time.Duration) {
	end := s.start.Add(offset)
	for len(s.events) > 0 && s.events[0].at.Before(end) && !s.over() {
		e := heap.Pop(&s.events).(event)
		s.sampleUntil(e.at)
		time.Sleep(time.Until(e.at))
		s.passed = 0
		if s.ports != nil && !outside[e.name] {
			s.ports.stir()
		}
		e.do()
		s.aftermath()
	}
	time.Sleep(time.Until(end))
}

// over reports whether the run has found what it was to find.
func (s *sim) over() bool { return s.o.First && s.result.Failed() }

// outside are the events that leave the database alone, or change it through ports.
var outside = map[string]bool{"pass": true, "deliver": true, "buy": true, "cancel": true, "cancel_some": true, "edit": true, "receive": true,
	"ship": true, "ship_one": true, "return": true, "adjust": true, "count": true, "damage": true, "transfer": true, "reject": true, "hand": true,
	"outage": true, "outage ends": true, "crash": true, "late": true, "snatch": true}

// aftermath brings in what an event has caused out there.
func (s *sim) aftermath() {
	synctest.Wait()
	s.revive()
	s.posting.Lock()
	posted := s.posted
	s.posted = map[string][]letter{}
	s.posting.Unlock()
	for _, from := range slices.Sorted(maps.Keys(posted)) {
		letters := posted[from]
		for _, l := range letters {
			s.post(l)
		}
	}
	for _, spec := range s.world.shops {
		if s.shops[spec.name].WriteCount() == s.noted[spec.name] {
			continue
		}
		writes := s.shops[spec.name].Writes()
		for _, w := range writes[s.noted[spec.name]:] {
			s.journal.note("write %s %s %s %d expect %s: %s, %d to %d %s", spec.name, w.ID, w.Item, w.Quantity, text(w.Expect), w.Status, w.Before, w.After, w.Fault)
			s.checkWrite(spec, w)
			s.landed(spec, w)
			if w.Fault == fake.LateRead || w.Fault == fake.RejectLines {
				// Nobody said that a write can show so late, or that what was refused would be taken a moment later.
				s.unseen[spec.name+" "+w.Item] = true
			}
		}
		s.noted[spec.name] = len(writes)
	}
}

func text(q *int64) string {
	if q == nil {
		return "-"
	}
	return strconv.FormatInt(*q, 10)
}

// --- webhooks -------------------------------------------------------------------------------------------------------

// post decides the fate of a webhook.
func (s *sim) post(l letter) {
	has := func(f string) bool { return slices.Contains(s.faults, f) && !s.healed }
	r := s.dice("letter", l.id)
	prompt := time.Duration(5+r.IntN(400)) * time.Millisecond
	tail := time.Duration(r.ExpFloat64() * float64(90*time.Second))
	drop, delayed, twice, minted := r.IntN(12) == 0, r.IntN(5) == 0, r.IntN(8) == 0, r.IntN(3) == 0
	if drop && has(FaultDrop) && s.mayBeLost(l) {
		s.journal.note("webhook %s %s is lost", l.from, l.id)
		s.markUnseen(l)
		return
	}
	delay := prompt
	if delayed && has(FaultDelay) {
		delay = min(tail, 20*time.Minute)
	}
	s.after(delay, "deliver", func() { s.deliver(l) })
	if twice && has(FaultDuplicate) {
		again := l
		if minted && s.mayBeMinted(l) {
			again.id += "-again"
		}
		s.after(delay+min(tail, 10*time.Minute), "deliver", func() { s.deliver(again) })
	}
}

// mayBeLost: what a shop tells can be asked for, and so can what a warehouse with positions tells, and how orders stand
// at one that answers. Nothing but its webhook ever tells anything else than levels: such senders must repeat until they
// are heard, docs/open-protocol.yaml says so. That a returned unit cannot be sold again is no matter of an order.
func (s *sim) mayBeLost(l letter) bool {
	return l.from != recordName || s.world.positions || l.about("stock.moved") || l.about("stock.level") || s.world.answers && !l.about("return.received")
}

// mayBeMinted: a fact without a name of its own is known by its delivery alone.
func (s *sim) mayBeMinted(l letter) bool {
	return l.from != recordName || s.world.positions || l.about("shipment.shipped") || l.about("return.received")
}

func (l letter) about(typ string) bool {
	return bytes.Contains(l.body[:min(len(l.body), 60)], []byte(`"type":"`+typ+`"`))
}

// deliver brings a webhook to the engine, as package web does; one that is not taken is tried again.
func (s *sim) deliver(l letter) {
	if s.engine == nil {
		s.retry(l)
		return
	}
	now := time.Now()
	sentAt := now.Add(s.skew[l.from]) // by the clock of the sender
	signature, err := s.signer.Sign(l.id, sentAt, l.body)
	if err != nil {
		s.violate("sign webhook %s: %v", l.id, err)
		return
	}
	header := http.Header{}
	header.Set(scheme.HeaderWebhookID, l.id)
	header.Set(scheme.HeaderWebhookTimestamp, strconv.FormatInt(sentAt.Unix(), 10))
	header.Set(scheme.HeaderWebhookSignature, signature)
	receipt, err := s.engine.Receive(s.ctx, stock.ConnectionID(l.from), connectors.Request{Method: http.MethodPost, Header: header, Body: l.body})
	s.journal.note("webhook %s %s try %d: event %d duplicate %t error %v", l.from, l.id, l.tries+1, receipt.ID, receipt.Duplicate, err)
	switch {
	case errors.Is(err, connectors.ErrSignature), errors.Is(err, connectors.ErrEnvelope):
		s.violate("a webhook that is in order is refused: %v", err)
	case err != nil:
		s.retry(l)
	case receipt.Conflict:
		s.violate("webhook %s of %s is called another one under a known id", l.id, l.from)
	default:
		s.result.Events++
		s.accepted = append(s.accepted, acceptance{l.from, l.id, receipt.ID, sha256.Sum256(l.body)})
		s.listen(l)
		s.passSoon()
	}
}

// listen notes what a webhook of the warehouse states.
func (s *sim) listen(l letter) {
	if l.from != recordName || !l.about("stock.level") {
		return
	}
	var e open.Envelope
	var level open.Level
	if json.Unmarshal(l.body, &e) == nil && json.Unmarshal(e.Data, &level) == nil {
		s.say(level, cmp.Or(level.AsOf, e.Timestamp))
	}
}

// retry plans the next try, as senders do; after the last one a webhook that may be lost is.
func (s *sim) retry(l letter) {
	waits := []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute}
	wait := waits[min(l.tries, len(waits)-1)]
	patience := 8
	if own, ok := s.world.senders[l.from]; ok {
		patience = len(own)
		if l.tries < len(own) {
			wait = own[l.tries]
		}
	}
	if l.tries++; l.tries > patience && s.mayBeLost(l) {
		s.journal.note("webhook %s %s is given up", l.from, l.id)
		s.markUnseen(l)
		return
	}
	s.after(wait, "deliver", func() { s.deliver(l) })
}

// markUnseen notes which listing changed without anybody telling.
func (s *sim) markUnseen(l letter) {
	if !l.about("listing.changed") {
		return
	}
	for i, spec := range s.world.listings {
		if s.world.shops[spec.shop].name == l.from && bytes.Contains(l.body, []byte(`"item":"`+spec.item+`"`)) {
			s.unseen[s.listingName(i)] = true
		}
	}
}

func (s *sim) listingName(i int) string {
	l := s.world.listings[i]
	return s.world.shops[l.shop].name + " " + l.item
}

// --- the engine's turns ---------------------------------------------------------------------------------------------

// passSoon lets the engine work shortly, unless it is going to anyway.
func (s *sim) passSoon() {
	s.idle = 0
	s.passWithin(time.Duration(1+s.dice("pass", s.sequence).IntN(1500)) * time.Millisecond)
}

func (s *sim) passWithin(d time.Duration) {
	at := time.Now().Add(d)
	if s.passAt.After(time.Now()) && !s.passAt.After(at) {
		return
	}
	s.passAt = at
	s.after(d, "pass", func() {
		if s.passAt.Equal(at) {
			s.pass()
		}
	})
}

// pass lets every controller work until nothing is left that can be done now. Without anything new the next one comes
// later each time: only what waits for a time of its own is left.
func (s *sim) pass() {
	if s.engine == nil {
		return
	}
	began := time.Now()
	if err := s.engine.Settle(s.ctx); err != nil {
		s.journal.note("pass: %v", err)
	} else {
		s.worked = began
	}
	waits := []time.Duration{3 * time.Second, 10 * time.Second, 30 * time.Second}
	wait := waits[min(s.idle, len(waits)-1)]
	s.idle++
	s.passWithin(wait)
}

// poll asks every connection, and again after a while.
func (s *sim) poll() {
	wait := pollEvery + time.Duration(s.dice("poll", s.sequence).IntN(20_000))*time.Millisecond
	s.after(wait, "poll", s.poll)
	if s.engine == nil {
		return
	}
	if err := s.engine.Ask(s.ctx); err != nil {
		s.journal.note("poll: %v", err)
	}
	if s.dice("remember", s.sequence).IntN(4) == 0 {
		s.remember()
	}
	s.passSoon()
}

func (s *sim) reconcile() stocksync.RunView {
	if s.engine == nil {
		return stocksync.RunView{}
	}
	s.comparing = true
	run, err := s.engine.Reconcile(s.ctx, "simulation", false)
	s.comparing = false
	s.journal.note("reconciliation: %s, %d drifted, error %v", run.State, run.Drifted, err)
	s.passSoon()
	return run
}

// heal ends every fault but, in liveness mode, the death of one shop.
func (s *sim) heal() {
	s.healed = true
	s.crashIn = 0
	if s.disk != nil {
		s.disk.arm(0, nil, nil)
	}
	clear(s.late)
	s.snatches = nil
	clear(s.outages)
	if s.o.Mode == Liveness {
		dead := s.world.shops[s.dice("dead").IntN(len(s.world.shops))].name
		s.dead[dead] = true
		s.journal.note("%s is dead", dead)
	}
	s.warehouse.Heal()
	for _, spec := range s.world.shops {
		s.shops[spec.name].Heal()
	}
	for i := range s.events {
		if e := &s.events[i]; e.name == "deliver" {
			e.at = time.Now().Add(time.Duration(e.sequence%1000) * time.Millisecond)
		}
	}
	heap.Init(&s.events)
	for i := range s.world.listings {
		if !s.mapped[i] && s.world.listings[i].rule == "" {
			s.mapEventually(i)
		}
	}
	s.tidy()
}

func (s *sim) mapEventually(i int) {
	if s.engine != nil {
		s.link(i)
	}
	if !s.mapped[i] {
		s.after(3*time.Second, "map", func() { s.mapEventually(i) })
	}
}

// tidy is what a person does about what only a person can decide, every minute from the healing on.
func (s *sim) tidy() {
	s.after(time.Minute, "tidy", s.tidy)
	if s.engine == nil {
		return
	}
	connections, err := s.engine.Connections(s.ctx)
	if err != nil {
		return
	}
	for _, c := range connections {
		if c.Paused != "" && !s.dead[string(c.Name)] {
			s.journal.note("resume %s: %v", c.Name, s.engine.Resume(s.ctx, c.Name, "operator"))
			s.passSoon()
		}
	}
	if s.tells() {
		s.retryNotices()
	}
	plans, err := s.engine.Plans(s.ctx, stocksync.PlanHeld, 0, 100)
	if err != nil {
		return
	}
	for _, p := range plans {
		id, _ := strconv.ParseInt(fmt.Sprint(p.ID), 10, 64)
		_, err := s.engine.DecidePlan(s.ctx, id, true, "operator")
		s.journal.note("approve plan %v: %v", p.ID, err)
		s.passSoon()
	}
}

// resumeLater is a person who looks at a connection that refused our credentials.
func (s *sim) resumeLater(host string) {
	if s.resuming[host] {
		return
	}
	s.resuming[host] = true
	s.after(time.Duration(10+s.dice("resume", s.sequence).IntN(200))*time.Second, "resume", func() {
		delete(s.resuming, host)
		if s.engine != nil {
			s.journal.note("resume %s: %v", host, s.engine.Resume(s.ctx, stock.ConnectionID(host), "operator"))
			s.passSoon()
		}
	})
}
