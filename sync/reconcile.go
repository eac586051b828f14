package sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// HealPolicy says what a reconciliation may have written.
type HealPolicy string

// The policies.
const (
	HealNothing HealPolicy = "observe"    // report only
	HealLowers  HealPolicy = "lower-only" // only where the channel shows too much
	HealFull    HealPolicy = "full"
)

// StartReconcile starts a reconciliation in the background. Only one runs at a time: ErrInvalid while another does, in
// this process or in another one. One that was cut off is taken up again instead of a new one.
func (e *Engine) StartReconcile(ctx context.Context, job string, dryRun bool) (RunView, error) {
	if !e.running.tryTake() {
		return RunView{}, fmt.Errorf("%w: a reconciliation is running; wait for its end", ErrInvalid)
	}
	run, lock, err := e.beginRun(ctx, job, dryRun)
	if err != nil {
		e.running.give()
		return RunView{}, err
	}
	e.mu.Lock()
	lifetime := e.lifetime
	e.mu.Unlock()
	e.background.Go(func() {
		defer e.running.give()
		if err := e.runToEnd(lifetime, lock, run, nil); err != nil && lifetime.Err() == nil {
			e.log.Error("reconciliation failed", "job", job, "error", err)
		}
	})
	return runView(run, nil, nil), nil
}

// Reconcile runs a reconciliation to its end and returns its report.
func (e *Engine) Reconcile(ctx context.Context, job string, dryRun bool) (RunView, error) {
	return e.ReconcileWatched(ctx, job, dryRun, nil)
}

// ReconcileWatched is Reconcile; watch, when given, is told how many listings were enumerated and how many compared.
func (e *Engine) ReconcileWatched(ctx context.Context, job string, dryRun bool, watch func(listed, compared int64)) (RunView, error) {
	if err := e.running.take(ctx); err != nil {
		return RunView{}, err
	}
	defer e.running.give()
	run, lock, err := e.beginRun(ctx, job, dryRun)
	if err != nil {
		return RunView{}, err
	}
	if err := e.runToEnd(ctx, lock, run, watch); err != nil {
		return RunView{}, err
	}
	return e.Reconciliation(ctx, run.ID)
}

// resumeWithin is how old a reconciliation may be that is taken up again. What it staged is looked at twice, so age is a
// matter of use, not of truth.
const resumeWithin = 24 * time.Hour

// beginRun takes the lock under which one process reconciles, and takes up the run that was cut off, or starts a new
// one. Runs that nobody will go on with are closed; their lines stay.
func (e *Engine) beginRun(ctx context.Context, job string, dryRun bool) (run Run, lock RunLock, err error) {
	if lock, err = e.store.LockRuns(ctx); err != nil {
		if errors.Is(err, ErrBusy) {
			return Run{}, nil, fmt.Errorf("%w: a reconciliation is running in another process; wait for its end (%s)", ErrInvalid, err.Error())
		}
		return Run{}, nil, fmt.Errorf("start a reconciliation: %w", err)
	}
	held := lock
	defer func() {
		if err != nil {
			err = errors.Join(err, held.Release())
		}
	}()
	cut, err := e.cutOff(ctx)
	if err != nil {
		return Run{}, nil, err
	}
	if cut != nil && !dryRun {
		return *cut, lock, nil
	}
	run = Run{Job: job, DryRun: dryRun, State: RunRunning, StartedAt: time.Now().UTC()}
	if run.ID, err = e.store.StartRun(ctx, run); err != nil {
		return Run{}, nil, fmt.Errorf("start a reconciliation: %w", err)
	}
	return run, lock, nil
}

// cutOff finds the run that a process left running when it ended. It needs the lock: without one the process may live.
func (e *Engine) cutOff(ctx context.Context) (*Run, error) {
	left, err := e.store.ListRuns(ctx, RunRunning, 0, 100)
	if err != nil {
		return nil, fmt.Errorf("look for reconciliations that were cut off: %w", err)
	}
	now := time.Now().UTC()
	var resumed *Run
	for i := range left {
		r := &left[i]
		if resumed == nil && !r.DryRun && now.Sub(r.StartedAt) < resumeWithin {
			resumed = r
			continue
		}
		r.State, r.EndedAt, r.Message = RunFailed, now, "the process ended before the reconciliation did; start another one"
		if err := e.store.DropReadings(ctx, r.ID); err != nil {
			return nil, fmt.Errorf("clear the stage of reconciliation %d: %w", r.ID, err)
		}
		if err := e.store.SaveRun(ctx, *r); err != nil {
			return nil, fmt.Errorf("close reconciliation %d: %w", r.ID, err)
		}
	}
	return resumed, nil
}

// resumeRun goes on with a reconciliation that an earlier process left running.
func (e *Engine) resumeRun(ctx context.Context) error {
	left, err := e.store.ListRuns(ctx, RunRunning, 0, 1)
	if err != nil || len(left) == 0 {
		return err
	}
	if err := e.running.take(ctx); err != nil {
		return err
	}
	defer e.running.give()
	lock, err := e.store.LockRuns(ctx)
	if err != nil {
		return err
	}
	run, err := e.cutOff(ctx)
	if err != nil || run == nil {
		return errors.Join(err, lock.Release())
	}
	e.log.Info("reconciliation goes on", "id", run.ID, "job", run.Job, "listings", run.Listings)
	return e.runToEnd(ctx, lock, *run, nil)
}

// resumeRuns is resumeRun until it works.
func (e *Engine) resumeRuns(ctx context.Context) {
	for failures := 1; ctx.Err() == nil; failures++ {
		err := e.resumeRun(ctx)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrBusy) && ctx.Err() == nil {
			e.log.Warn("a reconciliation that was cut off cannot be taken up, will try again", "error", err)
		}
		newSignal().wait(ctx, e.backoff(failures))
	}
}

// runToEnd reconciles and gives the lock back. A database that fails for a while does not end a run of a process that
// goes on.
func (e *Engine) runToEnd(ctx context.Context, lock RunLock, run Run, watch func(listed, compared int64)) (err error) {
	defer func() { err = errors.Join(err, lock.Release()) }()
	for failures := 1; ; failures++ {
		r := &reconciliation{engine: e, run: run, lock: lock, watch: watch}
		err := r.do(ctx)
		if err == nil || ctx.Err() != nil || !e.live.Load() || failures == storeTries {
			return err
		}
		e.log.Warn("reconciliation interrupted, will go on", "id", run.ID, "error", err)
		newSignal().wait(ctx, e.backoff(failures))
		if saved, err := e.store.Run(ctx, run.ID); err == nil {
			run = saved
		}
	}
}

const (
	// storeTries is how often a running process goes on with a reconciliation that the database interrupted.
	storeTries = 20
	// callTries is how often one call of a reconciliation is made while its channel is throttled or down.
	callTries = 8
	// comparePage is how many rows of a side are held in memory at a time, and compared between two checkpoints.
	comparePage = 1000
	// maxLooks is how often a listing is looked at that changes under the comparison. After that it is in flight.
	maxLooks = 6
)

// progress is how far a run has come: stored with it after every step, so that a run that was cut off goes on there and
// compares each listing once.
type progress struct {
	// Sources is true once the systems of record were read.
	Sources  bool     `json:"sources"`
	Problems []string `json:"problems,omitempty"`
	// Asked is, of each system of record, how far it was asked for unfinished orders.
	Asked    map[stock.ConnectionID]round            `json:"asked,omitempty"`
	Channels map[stock.ConnectionID]*channelProgress `json:"channels"`
}

// channelProgress is how far a run has come with a channel: first it stages what the channel enumerates, then it
// compares. It is over once Done is true.
type channelProgress struct {
	Cursor   connectors.Cursor `json:"cursor,omitempty"` // of the next page to be staged
	Staged   bool              `json:"staged"`
	Listed   int64             `json:"listed"`
	After    connectors.Ref    `json:"after,omitzero"` // the last listing compared
	Compared int64             `json:"compared"`
	Done     bool              `json:"done"`
}

// reconciliation is one run at work.
type reconciliation struct {
	engine   *Engine
	run      Run
	lock     RunLock
	progress progress
	watch    func(listed, compared int64)
}

// do proves both sides against each other: it reads all levels of the systems of record and every listing of the
// channels, finds what shows another number than its target for no reason that is on its way, and makes it due: the push
// that heals it is the same as any other. The channels take turns, a page each, so that a large one delays no other. A
// channel or a source that fails is left out, and the report says so.
//
// A dry run asks the channels only, stores nothing but its report, and compares with the targets as they would be.
func (r *reconciliation) do(ctx context.Context) error {
	e := r.engine
	if err := r.load(ctx); err != nil {
		return err
	}
	if !r.progress.Sources {
		if err := r.readSources(ctx); err != nil {
			return err
		}
	}
	for left := true; left; {
		left = false
		for _, c := range e.sortedChannels() {
			p := r.progress.Channels[c.id]
			if p.Done {
				continue
			}
			if err := r.turn(ctx, c, p); err != nil {
				return err
			}
			left = left || !p.Done
		}
	}
	return r.finish(ctx)
}

func (r *reconciliation) load(ctx context.Context) error {
	r.progress = progress{Channels: make(map[stock.ConnectionID]*channelProgress)}
	if r.run.Progress != "" {
		if err := json.Unmarshal([]byte(r.run.Progress), &r.progress); err != nil {
			return fmt.Errorf("read how far reconciliation %d had come: %w", r.run.ID, err)
		}
	}
	for _, c := range r.engine.sortedChannels() {
		if r.progress.Channels[c.id] == nil {
			r.progress.Channels[c.id] = &channelProgress{}
		}
	}
	if r.engine.live.Load() {
		return nil
	}
	if !r.run.DryRun {
		return r.engine.loadState(ctx)
	}
	return r.engine.readState(ctx)
}

// readSources reads everything that the systems of record have, and looks after the channels' subscriptions.
func (r *reconciliation) readSources(ctx context.Context) error {
	e := r.engine
	for _, record := range e.sortedRecords() {
		if r.run.DryRun {
			continue
		}
		err := r.askForOrders(ctx, record)
		if err == nil {
			err = e.askWhole(ctx, record)
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.problem(string(record.id), err)
		}
	}
	if !r.run.DryRun {
		if err := e.applyAndPlan(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.problem("the ledger", err)
		}
	}
	for _, c := range e.sortedChannels() {
		missing, err := e.tendSubscriptions(ctx, c, r.run.DryRun)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.problem(string(c.id)+": subscriptions", err)
		}
		r.run.Subscriptions = append(r.run.Subscriptions, missing...)
	}
	r.progress.Sources = true
	return r.checkpoint(ctx)
}

// askForOrders asks a system of record for every unfinished order that is silent, before its levels are read: they then
// contain what the answers tell. How far it came is stored after every pass.
func (r *reconciliation) askForOrders(ctx context.Context, record *recordState) error {
	e := r.engine
	if e.pausedReason(record.id) != "" {
		return nil // askWhole says so
	}
	if _, err := e.recordCapabilities(ctx, record); err != nil || record.teller() == nil {
		return err
	}
	at := r.progress.Asked[record.id]
	for !at.Done {
		began := time.Now()
		var err error
		if at.After, at.Done, err = e.askSilent(ctx, record, at.After, e.timings.OrderStatus); err != nil {
			return err
		}
		if r.progress.Asked == nil {
			r.progress.Asked = make(map[stock.ConnectionID]round)
		}
		r.progress.Asked[record.id] = at
		if err := r.checkpoint(ctx); err != nil {
			return err
		}
		if took := time.Since(began); !at.Done && took > 0 {
			newSignal().wait(ctx, min(took, 10*time.Second)) // as much is left to what is live
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (r *reconciliation) problem(of string, err error) {
	r.progress.Problems = append(r.progress.Problems, fmt.Sprintf("%s: %v", of, err))
}

// turn does one page of a channel, and stores how far the run has come.
func (r *reconciliation) turn(ctx context.Context, c *channelState, p *channelProgress) error {
	if err := r.lock.Check(ctx); err != nil {
		return fmt.Errorf("reconciliation %d: %w", r.run.ID, err)
	}
	err := r.step(ctx, c, p)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case connectors.KindOf(err) == "" && !errors.Is(err, errPaused):
		return err // the store
	default:
		r.problem(string(c.id), err)
		p.Done = true
	}
	return r.checkpoint(ctx)
}

var errPaused = errors.New("the connection is paused")

func (r *reconciliation) step(ctx context.Context, c *channelState, p *channelProgress) error {
	e := r.engine
	if reason := e.pausedReason(c.id); reason != "" {
		return fmt.Errorf("%w: %s", errPaused, reason)
	}
	caps, err := r.capabilities(ctx, c)
	if err != nil {
		return err
	}
	if !caps.Class.Shelf() {
		p.Done = true // there is nothing to compare
		return nil
	}
	if !p.Staged {
		return r.stage(ctx, c, p)
	}
	return r.compare(ctx, c, p, caps)
}

// capabilities are what a channel can do. A dry run does not remember them: what follows from a change is not its to do.
func (r *reconciliation) capabilities(ctx context.Context, c *channelState) (caps connectors.MarketplaceCapabilities, err error) {
	err = r.call(ctx, c, func() error {
		if !r.run.DryRun {
			caps, err = r.engine.channelCapabilities(ctx, c)
			return err
		}
		if caps, err = c.Marketplace.Capabilities(ctx); err != nil {
			return err
		}
		c.connectionState.mu.Lock()
		defer c.connectionState.mu.Unlock()
		if c.remembered == nil {
			c.remembered = &caps
		}
		return nil
	})
	return caps, err
}

// call makes a call to a channel and then rests. One that fails for a reason that passes is made again.
func (r *reconciliation) call(ctx context.Context, c *channelState, do func() error) error {
	for tries := 1; ; tries++ {
		began := time.Now()
		err := do()
		if err == nil {
			return r.rest(ctx, c, time.Since(began))
		}
		kind := connectors.KindOf(err)
		if kind != connectors.Retryable && kind != connectors.Throttled || tries == callTries || !r.engine.live.Load() {
			return err
		}
		wait := r.engine.backoff(tries)
		if at := connectors.RetryAt(err); time.Until(at) > wait {
			wait = min(time.Until(at), r.engine.timings.RetryMax)
		}
		newSignal().wait(ctx, wait)
	}
}

// rest leaves the channel to others after a call that took so long. A client that is paced takes longer the less of its
// rate is free, so resting as long as the calls take leaves at least half of the rate, whatever it is, to what is live.
// Pushes that are due go first, for as long as a look; constant traffic must not starve the comparison.
func (r *reconciliation) rest(ctx context.Context, c *channelState, took time.Duration) error {
	e := r.engine
	if took > 0 {
		newSignal().wait(ctx, min(took, 10*time.Second))
	}
	if !e.live.Load() || e.pausedReason(c.id) != "" {
		return ctx.Err()
	}
	for until := time.Now().Add(e.timings.Look); time.Now().Before(until) && ctx.Err() == nil; {
		next, due, err := e.store.NextPush(ctx, c.id)
		if err != nil || !due || next.After(time.Now()) {
			break
		}
		newSignal().wait(ctx, e.timings.Look/10)
	}
	return ctx.Err()
}

// stage keeps one page of what the channel enumerates.
func (r *reconciliation) stage(ctx context.Context, c *channelState, p *channelProgress) error {
	var page connectors.Page[connectors.Listing]
	err := r.call(ctx, c, func() (err error) {
		page, err = c.Marketplace.Listings(ctx, p.Cursor)
		return err
	})
	if connectors.KindOf(err) == connectors.Rejected && p.Cursor != "" && p.Listed > 0 {
		// The cursor of an enumeration that was cut off may have died meanwhile. Staging a row again changes nothing.
		p.Cursor, p.Listed = "", 0
		return nil
	}
	if err != nil {
		return err
	}
	if !r.run.DryRun {
		if err := r.engine.store.SaveListings(ctx, c.id, page.Rows); err != nil {
			return fmt.Errorf("store the listings of %s: %w", c.id, err)
		}
	}
	readings := make([]connectors.Reading, len(page.Rows))
	for i, l := range page.Rows {
		readings[i] = connectors.Reading{Ref: l.Ref, Quantity: l.Quantity, Unlimited: l.Unlimited, At: l.UpdatedAt}
	}
	if caps := r.engine.capabilities(c.id); caps != nil {
		readings = inOneNumber(*caps, readings)
	}
	if err := r.engine.store.AddReadings(ctx, r.run.ID, c.id, readings); err != nil {
		return fmt.Errorf("stage the listings of %s: %w", c.id, err)
	}
	p.Listed += int64(len(page.Rows))
	p.Cursor = page.Next
	if page.Next != "" {
		return nil
	}
	p.Staged = true
	if r.run.DryRun {
		return nil
	}
	return r.engine.markFeed(ctx, c.id, listingsFeed, r.run.StartedAt)
}

// errPageFull ends a comparison between two checkpoints.
var errPageFull = errors.New("the page is full")

// compare compares one page of listings with what was staged, and looks again at whatever differs.
func (r *reconciliation) compare(ctx context.Context, c *channelState, p *channelProgress, caps connectors.MarketplaceCapabilities) error {
	e := r.engine
	start := func(after connectors.Ref) connectors.Ref {
		if after == (connectors.Ref{}) {
			return p.After
		}
		return after
	}
	ours := func(after connectors.Ref) ([]Listing, error) {
		return e.store.ListingsAfter(ctx, c.id, start(after), comparePage)
	}
	theirs := func(after connectors.Ref) ([]connectors.Reading, error) {
		return e.store.ReadingsAfter(ctx, r.run.ID, c.id, start(after), comparePage)
	}
	var suspects []Listing
	var unconfirmed []ListingKey // they show what they should, and we do not know it
	rows, last, compared, unmapped := 0, p.After, int64(0), int64(0)
	err := Compare(ours, theirs, func(l *Listing, reading *connectors.Reading) error {
		if rows == comparePage {
			return errPageFull
		}
		rows++
		if l != nil {
			last = l.Ref
		} else {
			last = reading.Ref
		}
		if (l == nil || !l.Mapped) && reading != nil {
			unmapped++
			return nil
		}
		if l == nil || !l.Mapped || l.Status == connectors.StatusRemoved && reading == nil {
			return nil
		}
		compared++
		if l.Target != nil && (r.run.DryRun || reading == nil || reading.Unlimited || reading.Quantity != *l.Target) {
			suspects = append(suspects, *l)
		} else if l.Target != nil && !(sameQuantity(l.Confirmed, l.Target) && l.ConfirmedGeneration == l.Generation && l.Held == "") {
			unconfirmed = append(unconfirmed, l.ListingKey)
		}
		return nil
	})
	end := err == nil
	if err != nil && !errors.Is(err, errPageFull) {
		return err
	}
	if r.run.DryRun {
		// What the targets would be is known only now; those that would agree with what was staged need no second look.
		if suspects, err = r.doubted(ctx, c, p, suspects); err != nil {
			return err
		}
	}
	if len(unconfirmed) > 0 && !r.run.DryRun {
		if err := e.store.MarkDue(ctx, unconfirmed, time.Now().UTC()); err != nil {
			return fmt.Errorf("look again at listings of %s: %w", c.id, err)
		}
		c.wakePush.send()
	}
	for batch := range slices.Chunk(suspects, max(1, min(caps.BatchSize, maxBatch))) {
		if err := r.judge(ctx, c, caps, batch); err != nil {
			return err
		}
	}
	p.After, p.Done = last, end
	p.Compared += compared
	r.run.Listings += compared
	r.run.Unmapped += unmapped
	return nil
}

// doubted keeps the listings whose staged reading differs from the target that they would have now.
func (r *reconciliation) doubted(ctx context.Context, c *channelState, p *channelProgress, listings []Listing) ([]Listing, error) {
	if len(listings) == 0 {
		return nil, nil
	}
	keys := make([]ListingKey, len(listings))
	for i, l := range listings {
		keys[i] = l.ListingKey
	}
	targets, err := r.engine.targetsOf(ctx, keys)
	if err != nil {
		return nil, err
	}
	staged := make(map[connectors.Ref]connectors.Reading, len(listings))
	for after := p.After; ; {
		page, err := r.engine.store.ReadingsAfter(ctx, r.run.ID, c.id, after, comparePage)
		if err != nil {
			return nil, err
		}
		for _, reading := range page {
			staged[reading.Ref] = reading
		}
		if len(page) == 0 || page[len(page)-1].Ref.Compare(listings[len(listings)-1].Ref) >= 0 {
			break
		}
		after = page[len(page)-1].Ref
	}
	return slices.DeleteFunc(listings, func(l Listing) bool {
		want, reading := targets[l.ListingKey].quantity, staged[l.Ref]
		return reading.Ref == l.Ref && !reading.Unlimited && want != nil && *want == reading.Quantity
	}), nil
}

// checkpoint stores how far the run has come.
func (r *reconciliation) checkpoint(ctx context.Context) error {
	text, err := json.Marshal(r.progress)
	if err != nil {
		return fmt.Errorf("encode how far reconciliation %d has come: %w", r.run.ID, err)
	}
	r.run.Progress = string(text)
	if r.watch != nil {
		var listed, compared int64
		for _, p := range r.progress.Channels {
			listed, compared = listed+p.Listed, compared+p.Compared
		}
		r.watch(listed, compared)
	}
	if err := r.engine.store.SaveRun(ctx, r.run); err != nil {
		return fmt.Errorf("store how far reconciliation %d has come: %w", r.run.ID, err)
	}
	return nil
}

// finish counts the lines and closes the report. Drifted is counted from the lines: a run that was cut off may have
// stored some whose step it did again.
func (r *reconciliation) finish(ctx context.Context) error {
	// The report is closed even when the process is being stopped.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	e := r.engine
	if err := r.count(ctx); err != nil {
		return err
	}
	r.run.State, r.run.EndedAt = RunDone, time.Now().UTC()
	if len(r.progress.Problems) > 0 {
		r.run.State, r.run.Message = RunFailed, fmt.Sprintf("not everything could be compared: %s", r.progress.Problems)
	}
	if err := e.store.DropReadings(ctx, r.run.ID); err != nil {
		return fmt.Errorf("clear the stage of reconciliation %d: %w", r.run.ID, err)
	}
	if err := r.checkpoint(ctx); err != nil {
		return err
	}
	if !r.run.DryRun {
		if err := e.store.DropRuns(ctx, r.run.EndedAt.Add(-e.keepReports)); err != nil {
			e.log.Warn("old reconciliations cannot be forgotten now; the next one tries again", "error", err)
		}
	}
	e.log.Info("reconciliation ended", "job", r.run.Job, "state", r.run.State, "listings", r.run.Listings, "drifted", r.run.Drifted)
	return nil
}

func (r *reconciliation) count(ctx context.Context) error {
	counts, err := r.engine.store.DriftCounts(ctx, r.run.ID)
	if err != nil {
		return fmt.Errorf("count the drift of reconciliation %d: %w", r.run.ID, err)
	}
	r.run.Drifted = 0
	for cause, n := range counts {
		if cause.Counts() {
			r.run.Drifted += n
		}
	}
	return nil
}

// askWhole reads everything that a system of record has.
func (e *Engine) askWhole(ctx context.Context, r *recordState) error {
	if reason := e.pausedReason(r.id); reason != "" {
		return fmt.Errorf("%w: %s", errPaused, reason)
	}
	caps, err := e.recordCapabilities(ctx, r)
	if err != nil || caps.ListensOnly {
		return err
	}
	if err := e.readItems(ctx, r); err != nil {
		return err
	}
	if err := e.readLevels(ctx, r, caps); err != nil {
		return err
	}
	if caps.Positions {
		return e.readMovements(ctx, r)
	}
	return nil
}

// Compare merges two sides that are sorted by ref, each delivered in pages of rows after a given ref, and calls each
// with what stands on both, or nil for the side that lacks it. It holds one page of each side in memory. Both sides
// must be sorted by connectors.Ref.Compare, without repeats; an empty page ends a side.
func Compare(ours func(after connectors.Ref) ([]Listing, error), theirs func(after connectors.Ref) ([]connectors.Reading, error), each func(*Listing, *connectors.Reading) error) error {
	left := &pages[Listing]{next: ours, ref: func(l *Listing) connectors.Ref { return l.Ref }}
	right := &pages[connectors.Reading]{next: theirs, ref: func(r *connectors.Reading) connectors.Ref { return r.Ref }}
	l, err := left.advance()
	if err != nil {
		return err
	}
	r, err := right.advance()
	if err != nil {
		return err
	}
	for l != nil || r != nil {
		order := 0
		switch {
		case r == nil:
			order = -1
		case l == nil:
			order = 1
		default:
			order = l.Ref.Compare(r.Ref)
		}
		a, b := l, r
		if order > 0 {
			a = nil
		}
		if order < 0 {
			b = nil
		}
		if err := each(a, b); err != nil {
			return err
		}
		if a != nil {
			if l, err = left.advance(); err != nil {
				return err
			}
		}
		if b != nil {
			if r, err = right.advance(); err != nil {
				return err
			}
		}
	}
	return nil
}

// pages walks one side of a comparison.
type pages[T any] struct {
	next  func(after connectors.Ref) ([]T, error)
	ref   func(*T) connectors.Ref
	rows  []T
	at    int
	after connectors.Ref
	ended bool
}

// advance returns the next row, nil at the end. The row is valid until the next call.
func (p *pages[T]) advance() (*T, error) {
	if p.at == len(p.rows) && !p.ended {
		rows, err := p.next(p.after)
		if err != nil {
			return nil, err
		}
		p.rows, p.at, p.ended = rows, 0, len(rows) == 0
		if !p.ended {
			p.after = p.ref(&rows[len(rows)-1])
		}
	}
	if p.ended {
		return nil, nil
	}
	row := &p.rows[p.at]
	p.at++
	return row, nil
}
