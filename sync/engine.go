package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// Config is what the engine is told at the start.
type Config struct {
	Channels []Channel
	Records  []Record
	Timings  Timings
	// Heal says what reconciliation may write.
	Heal HealPolicy
	// KeepReports is for how long the reports of reconciliations are kept; zero: 90 days.
	KeepReports time.Duration
	// Guard limits how much one connection may change at once; a connection may have limits of its own.
	Guard GuardLimits
	// Oversell limits the oversell ratios that policies may have; zero: none above 1000.
	Oversell stock.OversellBound
	// Batch is the most events, or SKUs, that share a transaction; zero means as many as are good for speed.
	Batch int
	// KeySecret encrypts the keys of licences; without it none can be imported or revealed.
	KeySecret []byte
	// Notifier brings notices to people; nil brings none.
	Notifier Notifier
	// KeepNotices is for how long what people were told is kept; zero: 90 days.
	KeepNotices time.Duration
	Log         *slog.Logger
}

// Channel is a marketplace connection with what the seller decided for it.
type Channel struct {
	ID          stock.ConnectionID
	Connector   string
	Marketplace connectors.Marketplace
	// Policy is in force for every listing of the channel.
	Policy stock.Policy
	// Places tells which of our locations serve which place of the channel; empty: all locations serve it.
	Places mapping.Places
	// OrdersTo is the system of record that gets the channel's orders; empty: none does.
	OrdersTo stock.ConnectionID
	// Poll is how often orders are asked for although no webhook came; zero: Timings.Poll.
	Poll time.Duration
	// Heal says what reconciliation may write to the channel; empty: Config.Heal.
	Heal HealPolicy
	// Guard is put over Config.Guard.
	Guard GuardLimits
	// Admission says how a channel is answered that asks before it sells.
	Admission AdmissionRules
}

// Record is a connection to a system of record.
type Record struct {
	ID        stock.ConnectionID
	Connector string
	System    connectors.SystemOfRecord
	// Bases says what the numbers mean at locations where they mean something else than the system says of itself.
	Bases map[stock.LocationID]stock.Basis
	// Poll is how often movements are asked for although no webhook came; zero: Timings.Poll.
	Poll time.Duration
	// Guard is put over Config.Guard.
	Guard GuardLimits
}

// Timings are the engine's durations. Zero values mean the defaults.
type Timings struct {
	Look            time.Duration // how often each controller looks by itself; 1 s
	Poll            time.Duration // how often each connection is asked for news; 30 s
	Levels          time.Duration // how often all levels are read besides reconciliation; 24 h
	RetryMin        time.Duration // first wait after a failure; 1 s
	RetryMax        time.Duration // longest wait between tries; 5 min
	RequestLife     time.Duration // how long a request may still be applied after we gave up; 60 s
	StaleStatement  time.Duration // raises are held when the newest word of the source is older; 48 h
	GuardWindow     time.Duration // over which a channel's jumps are counted; 10 min
	RetryHorizon    time.Duration // for how long a sender of webhooks tries, where its connector does not know; 1 h
	ReturnDeadline  time.Duration // within which the warehouse receives what a channel says was returned; 14 days
	StuckCommitment time.Duration // after which promised units that the source says nothing about become an incident; 48 h
	Tend            time.Duration // how often credentials and subscriptions are looked after; 1 h
	Silence         time.Duration // the shortest time without a webhook that counts as silence; 10 min
	OrderStatus     time.Duration // after which an unfinished order of which nothing was heard is asked for, where it can be; 1 h
	ContestWindow   time.Duration // a listing that somebody else writes to is left alone until it was quiet for so long; 1 h
}

func (t Timings) withDefaults() Timings {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&t.Look, time.Second)
	set(&t.Poll, 30*time.Second)
	set(&t.Levels, 24*time.Hour)
	set(&t.RetryMin, time.Second)
	set(&t.RetryMax, 5*time.Minute)
	set(&t.RequestLife, time.Minute)
	set(&t.StaleStatement, 48*time.Hour)
	set(&t.GuardWindow, 10*time.Minute)
	set(&t.RetryHorizon, time.Hour)
	set(&t.ReturnDeadline, 14*24*time.Hour)
	set(&t.StuckCommitment, 48*time.Hour)
	set(&t.OrderStatus, time.Hour)
	set(&t.ContestWindow, time.Hour)
	set(&t.Tend, time.Hour)
	set(&t.Silence, 10*time.Minute)
	return t
}

// The errors that callers of the engine act on, besides those of the store and of connectors.
var (
	ErrUnknownConnection = errors.New("no such connection")
	ErrInvalid           = errors.New("invalid")
)

// Engine runs the controllers and answers questions. All methods are safe for concurrent use.
type Engine struct {
	store   Store
	log     *slog.Logger
	timings Timings
	heal    HealPolicy
	// keepReports is Config.KeepReports.
	keepReports time.Duration
	oversell    stock.OversellBound
	channels    map[stock.ConnectionID]*channelState
	// own is truestock itself, as the system of record of what it keeps; keySecret encrypts the keys of licences.
	own       *recordState
	keySecret []byte
	records   map[stock.ConnectionID]*recordState
	notifier  Notifier
	// keepNotices is for how long messages are kept.
	keepNotices time.Duration

	// applyBatch is how many events share a transaction, planBatch how many dirty SKUs.
	applyBatch, planBatch int
	// wakeApply and wakePlan tell those controllers that there is work. A signal is only a hint: each looks by itself.
	wakeApply, wakePlan, wakeOutbox, wakeRemedy signal
	// applying and planning make a pass exclusive within the process, so that a push that drained orders can apply and
	// plan them before it goes on.
	applying, planning turn
	// deciding is held while pauses change, here and in the store.
	deciding turn

	// settings is a copy of what people decided.
	settings decisions

	mu sync.Mutex
	// campaignsSeen is the newest setting at which campaigns were last looked at, campaignsNext when the next of them is due.
	campaignsSeen int64
	campaignsNext time.Time
	forgot        time.Time // when old messages were last dropped
	paused        map[stock.ConnectionID]string
	// noRaises says why raises of a channel are paused, under the empty name why those of all are.
	noRaises map[stock.ConnectionID]string

	events, duplicates, writes atomic.Int64

	// running is the reconciliation in progress; it never overlaps itself.
	running turn
	// live is true while Run runs: the controllers work by themselves.
	live atomic.Bool
	// background waits for what a request started.
	background sync.WaitGroup
	// lifetime is the context of Run; what a request started in the background ends with it.
	lifetime context.Context
}

// connectionState is what the engine keeps in memory about any connection. It may be lost at any time.
type connectionState struct {
	id        stock.ConnectionID
	connector string
	poll      time.Duration
	limits    GuardLimits
	receiver  connectors.WebhookReceiver
	// decoder reads the events of the connection again, however they came.
	decoder decoder
	// wake asks for a look at the source.
	wake signal

	mu        sync.Mutex
	lastError string
	failures  int
	notBefore time.Time // after a failure of a whole call
	asked     bool      // a hint asks for a look before the next poll is due
	polledAt  time.Time
	// heardAt is when the last webhook came, usualGap the usual time between two, learnt from gaps of them.
	heardAt  time.Time
	usualGap time.Duration
	gaps     int
}

// decoder is the part of connectors.WebhookReceiver and connectors.DeliveryQueue that both have.
type decoder interface {
	DecodeWebhook(d connectors.Delivery, body []byte) (connectors.Notice, error)
}

type channelState struct {
	connectionState
	Channel
	wakePush, wakeNotice signal
	// drain serialises fetching orders: one owner of the bookmark.
	drain  turn
	seenTo time.Time // the watermark as far as this process knows; guarded by connectionState.mu
	// reserving is true while units may be reserved for orders that the channel has not told.
	reserving atomic.Bool
	// gap is since when the channel is catching up, drainedAt when orders were last fetched whole by this process, and
	// recovering is true while what piled up meanwhile is pushed, at least up to recoverTo, and nextBatch when the next batch of that may go. All
	// guarded by connectionState.mu.
	gap, drainedAt, nextBatch, recoverTo time.Time
	recovering                           bool
	// queueFailures is how often in a row its queue could not be read; of readQueue alone.
	queueFailures int
	// silence is since when the channel has been found silent; guarded by connectionState.mu.
	silence time.Time
	// quieted says that an incident about its silence, of this process or an earlier one, is closed; of tend alone.
	quieted bool
	// lost are the listings that the channel did not know lately; guarded by connectionState.mu.
	lost map[connectors.Ref]time.Time
	// vanished is true while the incident about them is open: nothing is concluded from what the channel does not know.
	vanished atomic.Bool
	// accountAt is when the channel last said who it is; guarded by connectionState.mu.
	accountAt time.Time
	// lag is within what time the channel was measured to show a change; 0: not measured.
	lag atomic.Int64
	// caps is what the channel told this process, remembered what it told an earlier one.
	caps, remembered *connectors.MarketplaceCapabilities
}

type recordState struct {
	connectionState
	Record
	wakeForward signal
	// wantLevels and wantItems are hints that only reading all levels or articles answers; the other two say that one
	// came while that was being read. All guarded by connectionState.mu.
	wantLevels, wantItems     bool
	levelsWished, itemsWished bool
	levelsAt                  time.Time // when this process last began to read all levels; guarded by connectionState.mu
	stuckAt                   time.Time // when this process last looked for old commitments; guarded by connectionState.mu
	toldSilent                *bool     // whether the incident about its silence is open, nil when this process has not looked; of tend alone
	// asked are the orders that the present look for old commitments has asked for, with what came of it; nil between two
	// looks. Only the one who polls the connection uses it.
	asked map[OrderKey]string
	// changed is what the system said has changed, as far as it was not asked for. Only the one who polls the connection uses it.
	changed connectors.Changes
	// caps is what the system told this process, remembered what it told an earlier one.
	caps, remembered *connectors.RecordCapabilities
}

// New makes an engine. It does no I/O. The configuration must be consistent: connection names unique, OrdersTo known.
func New(cfg Config, store Store) (*Engine, error) {
	e := &Engine{
		store:      store,
		log:        cfg.Log,
		timings:    cfg.Timings.withDefaults(),
		heal:       cfg.Heal,
		oversell:   stock.OversellBound{MaxPermille: max(1000, cfg.Oversell.MaxPermille), MinOrders: max(1, cfg.Oversell.MinOrders)},
		applyBatch: cmp.Or(cfg.Batch, applyBatch),
		planBatch:  cmp.Or(cfg.Batch, planBatch),
		channels:   make(map[stock.ConnectionID]*channelState),
		records:    make(map[stock.ConnectionID]*recordState),
		wakeApply:  newSignal(),
		wakePlan:   newSignal(),
		wakeOutbox: newSignal(),
		wakeRemedy: newSignal(),
		applying:   newTurn(),
		planning:   newTurn(),
		deciding:   newTurn(),
		running:    newTurn(),
		paused:     make(map[stock.ConnectionID]string),
		noRaises:   make(map[stock.ConnectionID]string),
		lifetime:   context.Background(),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.heal == "" {
		e.heal = HealFull
	}
	e.keySecret = cfg.KeySecret
	e.keepReports = cmp.Or(cfg.KeepReports, 90*24*time.Hour)
	e.notifier, e.keepNotices = cfg.Notifier, cmp.Or(cfg.KeepNotices, 90*24*time.Hour)
	e.own = &recordState{connectionState: connectionState{id: OwnSource, wake: newSignal()}, caps: &connectors.RecordCapabilities{Basis: stock.OnHandBasis}}
	limits := cfg.Guard.withDefaults()
	for _, r := range cfg.Records {
		if e.records[r.ID] != nil {
			return nil, fmt.Errorf("connection %q is configured twice", r.ID)
		}
		receiver, _ := r.System.(connectors.WebhookReceiver)
		decodes, _ := r.System.(decoder)
		e.records[r.ID] = &recordState{
			Record:          r,
			connectionState: connectionState{id: r.ID, connector: r.Connector, poll: e.pollOr(r.Poll), limits: r.Guard.over(limits), receiver: receiver, decoder: decodes, wake: newSignal()},
			wakeForward:     newSignal(),
		}
	}
	if e.records[OwnSource] != nil || slices.ContainsFunc(cfg.Channels, func(c Channel) bool { return c.ID == OwnSource }) {
		return nil, fmt.Errorf("connection %q has the name under which truestock itself states what it keeps: give it another", OwnSource)
	}
	for _, c := range cfg.Channels {
		if e.channels[c.ID] != nil || e.records[c.ID] != nil {
			return nil, fmt.Errorf("connection %q is configured twice", c.ID)
		}
		if c.OrdersTo != "" && e.records[c.OrdersTo] == nil {
			return nil, fmt.Errorf("connection %q sends its orders to %q, which is not a system of record", c.ID, c.OrdersTo)
		}
		receiver, _ := c.Marketplace.(connectors.WebhookReceiver)
		decodes, _ := c.Marketplace.(decoder)
		e.channels[c.ID] = &channelState{
			Channel:         c,
			connectionState: connectionState{id: c.ID, connector: c.Connector, poll: e.pollOr(c.Poll), limits: c.Guard.over(limits), receiver: receiver, decoder: decodes, wake: newSignal()},
			wakePush:        newSignal(),
			wakeNotice:      newSignal(),
			drain:           newTurn(),
			lost:            make(map[connectors.Ref]time.Time),
		}
		e.channels[c.ID].reserving.Store(true) // until the store was asked
	}
	return e, nil
}

func (e *Engine) pollOr(d time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return e.timings.Poll
}

// Run runs all controllers until ctx ends, and returns when the last has stopped. Work that was cut off is taken up
// again by the next Run: every controller derives it from the stored state.
func (e *Engine) Run(ctx context.Context, schedules []Schedule) error {
	if err := e.checkKeySecret(ctx); err != nil {
		return err
	}
	if err := e.loadState(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	e.mu.Lock()
	e.lifetime = ctx
	e.mu.Unlock()
	e.live.Store(true)
	defer e.live.Store(false)

	var group sync.WaitGroup
	run := func(name string, wake signal, pass func(context.Context) (wait time.Duration, err error)) {
		group.Go(func() { e.loop(ctx, name, wake, pass) })
	}
	run("apply", e.wakeApply, e.applyLoop)
	run("plan", e.wakePlan, e.planLoop)
	run("pauses", newSignal(), e.followPauses)
	run("outbox", e.wakeOutbox, e.outboxLoop)
	run("remedies", e.wakeRemedy, e.remedyLoop)
	run("measures", newSignal(), e.measureLoop)
	run("stocktakes", newSignal(), e.stocktakePass)
	for _, c := range e.sortedChannels() {
		run("push "+string(c.id), c.wakePush, func(ctx context.Context) (time.Duration, error) { return e.pushLoop(ctx, c) })
		run("orders "+string(c.id), c.wake, func(ctx context.Context) (time.Duration, error) { return e.pollChannel(ctx, c) })
		if queue, ok := c.Marketplace.(connectors.DeliveryQueue); ok {
			run("queue "+string(c.id), newSignal(), func(ctx context.Context) (time.Duration, error) { return e.readQueue(ctx, c, queue) })
		}
		run("notices "+string(c.id), c.wakeNotice, func(ctx context.Context) (time.Duration, error) { return e.sendNotices(ctx, c) })
	}
	for _, r := range e.sortedRecords() {
		run("record "+string(r.id), r.wake, func(ctx context.Context) (time.Duration, error) { return e.pollRecord(ctx, r) })
		run("forward "+string(r.id), r.wakeForward, func(ctx context.Context) (time.Duration, error) { return e.forwardOrders(ctx, r) })
	}
	for _, s := range schedules {
		group.Go(func() { e.keepSchedule(ctx, s) })
	}
	group.Go(func() { e.resumeRuns(ctx) })
	group.Go(func() { e.tend(ctx) })
	group.Wait()
	e.background.Wait()
	return nil
}

// loadState reads what survives a restart and is kept in memory while the engine runs, and takes note of rules that
// changed.
func (e *Engine) loadState(ctx context.Context) error {
	if err := e.readState(ctx); err != nil {
		return err
	}
	for _, c := range e.sortedChannels() {
		if err := e.noticeRules(ctx, c); err != nil {
			return fmt.Errorf("compare the rules of %s with those of the last start: %w", c.id, err)
		}
	}
	return nil
}

// readState reads what survives a restart, and changes nothing.
func (e *Engine) readState(ctx context.Context) error {
	if err := e.readPauses(ctx); err != nil {
		return err
	}
	if err := e.readVanished(ctx); err != nil {
		return err
	}
	if err := e.readLags(ctx); err != nil {
		return err
	}
	if err := e.rememberedCapabilities(ctx); err != nil {
		return fmt.Errorf("load what the connections can do: %w", err)
	}
	return nil
}

// readPauses reads what is paused. What another process has resumed goes on.
func (e *Engine) readPauses(ctx context.Context) error {
	if err := e.deciding.take(ctx); err != nil {
		return err
	}
	defer e.deciding.give()
	paused, err := e.store.Pauses(ctx)
	if err != nil {
		return fmt.Errorf("load the paused connections: %w", err)
	}
	noRaises := make(map[stock.ConnectionID]string)
	for id := range e.channels {
		if noRaises[id], err = e.store.Bookmark(ctx, id, raisesFeed); err != nil {
			return fmt.Errorf("load whose raises are paused: %w", err)
		}
	}
	if noRaises[""], err = e.store.Bookmark(ctx, "", raisesFeed); err != nil {
		return fmt.Errorf("load whether raises are paused: %w", err)
	}
	e.mu.Lock()
	before := e.paused
	e.paused, e.noRaises = paused, noRaises
	e.mu.Unlock()
	for id := range before {
		if _, still := paused[id]; !still {
			e.resumed(id)
		}
	}
	return nil
}

// followPauses learns what another process, such as the command line, has paused, resumed or accepted.
func (e *Engine) followPauses(ctx context.Context) (time.Duration, error) {
	return e.timings.Look, e.readPauses(ctx)
}

// resumed lets the controllers of a connection go on at once.
func (e *Engine) resumed(id stock.ConnectionID) {
	c, err := e.connection(id)
	if err != nil {
		return // it is not in the configuration any more
	}
	c.callWorked()
	c.wake.send()
	if channel := e.channels[id]; channel != nil {
		channel.askAgain()
		channel.wakePush.send()
		channel.wakeNotice.send()
	}
	if record := e.records[id]; record != nil {
		record.wakeForward.send()
	}
}

// readVanished reads of which channels the incident about vanished listings is open.
func (e *Engine) readVanished(ctx context.Context) error {
	for after := int64(0); ; {
		page, err := e.store.Incidents(ctx, true, after, comparePage)
		if err != nil {
			return fmt.Errorf("load the open incidents: %w", err)
		}
		for _, i := range page {
			after = i.ID
			if c := e.channels[stock.ConnectionID(i.Subject)]; c != nil && i.Kind == IncidentListingsVanished {
				c.vanished.Store(true)
			}
		}
		if len(page) < comparePage {
			return nil
		}
	}
}

// noticeRules plans a channel anew when its rules are others than at the last start.
func (e *Engine) noticeRules(ctx context.Context, c *channelState) error {
	rules, err := rulesText(c)
	if err != nil {
		return err
	}
	before, err := e.store.Bookmark(ctx, c.id, rulesFeed)
	if err != nil || before == rules {
		return err
	}
	if before != "" {
		if err := e.markFeed(ctx, c.id, rulesChangedFeed, time.Now()); err != nil {
			return err
		}
	}
	if err := e.store.DirtyConnection(ctx, c.id); err != nil {
		return err
	}
	if err := e.keepRules(ctx, c); err != nil {
		return err
	}
	return e.store.SetBookmark(ctx, c.id, rulesFeed, rules)
}

// loop calls pass until ctx ends. A pass says how long to wait before the next one: zero means that there is more to do
// now, and a signal ends the wait early. A pass that fails is tried again after a while, longer each time.
func (e *Engine) loop(ctx context.Context, name string, wake signal, pass func(context.Context) (time.Duration, error)) {
	failures := 0
	for ctx.Err() == nil {
		wait, err := pass(ctx)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() != nil:
			return
		default:
			failures++
			wait = e.backoff(failures)
			if failures == 1 {
				e.log.Warn("controller failed, will try again", "job", name, "error", err)
			}
		}
		if wait <= 0 {
			continue
		}
		wake.wait(ctx, min(wait, e.timings.Look))
	}
}

// backoff is the wait before try number attempts+1: it doubles from RetryMin to RetryMax.
func (e *Engine) backoff(attempts int) time.Duration {
	d := e.timings.RetryMin
	for range min(max(attempts, 1)-1, 30) {
		d *= 2
		if d >= e.timings.RetryMax {
			return e.timings.RetryMax
		}
	}
	return d
}

// Settle runs every controller in turn, in the calling goroutine, until nothing is left that can be done now. It is how
// the commands that do one thing and end, the tests and the simulator drive the engine; Run must not run meanwhile.
func (e *Engine) Settle(ctx context.Context) error {
	if err := e.loadState(ctx); err != nil {
		return err
	}
	for {
		worked, err := e.step(ctx)
		if err != nil || !worked {
			return err
		}
	}
}

// step runs one pass of every controller and reports whether any of them found work.
func (e *Engine) step(ctx context.Context) (worked bool, err error) {
	for _, r := range e.sortedRecords() {
		if _, err := e.recordCapabilities(ctx, r); err != nil {
			return false, fmt.Errorf("ask %s what its numbers mean: %w", r.id, err)
		}
	}
	if _, err := e.campaignPass(ctx); err != nil {
		return false, err
	}
	if _, err := e.stocktakePass(ctx); err != nil {
		return false, err
	}
	n, err := e.applyPass(ctx)
	if err != nil {
		return false, err
	}
	if _, err := e.store.Ripen(ctx, time.Now().UTC()); err != nil {
		return false, fmt.Errorf("plan: %w", err)
	}
	m, err := e.planPass(ctx)
	if err != nil {
		return false, err
	}
	worked = n+m > 0
	for _, c := range e.sortedChannels() {
		done, err := e.pushPass(ctx, c)
		if err != nil {
			return worked, err
		}
		told, err := e.noticePass(ctx, c)
		if err != nil {
			return worked, err
		}
		worked = worked || done > 0 || told > 0
	}
	for _, r := range e.sortedRecords() {
		sent, err := e.forwardPass(ctx, r)
		if err != nil {
			return worked, err
		}
		corrected, err := e.correctionPass(ctx, r)
		if err != nil {
			return worked, err
		}
		worked = worked || sent > 0 || corrected > 0
	}
	told, _, err := e.outboxPass(ctx)
	if err != nil {
		return worked, err
	}
	remedied, err := e.remedyPass(ctx)
	return worked || told > 0 || remedied > 0, err
}

func (e *Engine) sortedChannels() []*channelState {
	out := make([]*channelState, 0, len(e.channels))
	for _, id := range slices.Sorted(maps.Keys(e.channels)) {
		out = append(out, e.channels[id])
	}
	return out
}

func (e *Engine) sortedRecords() []*recordState {
	out := make([]*recordState, 0, len(e.records))
	for _, id := range slices.Sorted(maps.Keys(e.records)) {
		out = append(out, e.records[id])
	}
	return out
}

// connection finds what is common to channels and systems of record.
func (e *Engine) connection(id stock.ConnectionID) (*connectionState, error) {
	if c := e.channels[id]; c != nil {
		return &c.connectionState, nil
	}
	if r := e.records[id]; r != nil {
		return &r.connectionState, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownConnection, id)
}

// credentialsRefused begins the reason of a pause that ends by itself once the credentials are right.
const credentialsRefused = "credentials refused: "

// pausedReason is why a connection is paused, empty when it is not.
func (e *Engine) pausedReason(id stock.ConnectionID) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.paused[id]
}

// pause stops all traffic to a connection until a person resumes it. What is due stays due.
func (e *Engine) pause(ctx context.Context, id stock.ConnectionID, reason string, incident *Incident, acts ...AuditEntry) error {
	now := time.Now().UTC()
	if err := e.deciding.take(ctx); err != nil {
		return err
	}
	defer e.deciding.give()
	if err := e.store.SetPause(ctx, id, reason, now, incident, acts...); err != nil {
		return fmt.Errorf("pause %s: %w", id, err)
	}
	e.mu.Lock()
	e.paused[id] = reason
	e.mu.Unlock()
	e.log.Warn("connection paused", "connection", id, "reason", reason)
	return nil
}

// callFailed takes note of a call that failed as a whole, and says when the connection may be asked again: an
// authentication failure pauses it, everything else waits. Other connections go on.
func (e *Engine) callFailed(ctx context.Context, c *connectionState, err error) error {
	kind := connectors.KindOf(err)
	if kind == "" { // cancelled: a shutdown
		return err
	}
	now := time.Now().UTC()
	c.mu.Lock()
	c.failures++
	c.lastError = err.Error()
	first := c.failures == 1
	switch at := connectors.RetryAt(err); {
	case kind == connectors.Throttled && at.After(now):
		// A long Retry-After slows what was asked for, never a lower of another listing: the connection as a whole
		// pauses for seconds only.
		c.notBefore = now.Add(min(at.Sub(now), e.timings.RetryMin*5))
	default:
		// One call that keeps failing, say for orders, must not keep lowers from going out for long.
		c.notBefore = now.Add(min(e.backoff(c.failures), e.timings.RetryMin*5))
	}
	c.mu.Unlock()
	if first {
		e.log.Info("call failed", "connection", c.id, "kind", kind, "error", err)
	}
	if kind != connectors.Auth {
		return nil
	}
	return e.pause(ctx, c.id, credentialsRefused+err.Error(), &Incident{Kind: IncidentPaused, Subject: string(c.id), OpenedAt: now,
		Message: fmt.Sprintf("%s refused our credentials (%v). Nothing is sent to it until they are right: correct them in the configuration or there. They are tried again every %s and at every start, and the connection then goes on by itself; to try at once, resume it.", c.id, err, e.timings.Tend)})
}

// callWorked forgets earlier failures.
func (c *connectionState) callWorked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures, c.lastError, c.notBefore = 0, "", time.Time{}
}

// resting says how long the connection must not be asked, zero when it may be.
func (c *connectionState) resting(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.notBefore.Sub(now))
}

// Counts are what the engine did since the process started.
type Counts struct {
	// Events were stored, Duplicates recognised; Writes are lines sent to channels.
	Events, Duplicates, Writes int64
}

// Counts returns the counts of now.
func (e *Engine) Counts() Counts {
	return Counts{Events: e.events.Load(), Duplicates: e.duplicates.Load(), Writes: e.writes.Load()}
}

// count takes note of what became of deliveries.
func (e *Engine) count(receipts ...Receipt) {
	for _, r := range receipts {
		switch {
		case r.Duplicate:
			e.duplicates.Add(1)
		case !r.Conflict:
			e.events.Add(1)
		}
	}
}

// turn is held by one at a time, also while its holder does I/O; waiting for it ends with the context.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) tryTake() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turn) give() { <-t }

// signal wakes a controller. Many signals before it looks are one.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

func (s signal) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-s:
	case <-timer.C:
	}
}
