package sync

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// A webhook is a hint that may be late, doubled or lost. So every connection is also asked, slowly, by itself; a hint
// only makes the next look come sooner. What a look finds goes through the inbox like everything else.

// The feeds that bookmarks name.
const (
	ordersFeed       = "orders"
	movementsFeed    = "movements"
	levelsFeed       = "levels"
	exportFeed       = "export"
	accountFeed      = "account"
	listingsFeed     = "listings"
	capabilitiesFeed = "capabilities"
	ordersAskedFeed  = "orders asked for"
	changesFeed      = "changes"
	rulesFeed        = "rules"
	rulesChangedFeed = "rules changed"
)

// factsPerEvent bounds how many facts of an enumeration share one event of the inbox.
const factsPerEvent = 200

// pollChannel asks a marketplace for its orders, and now and then for its listings.
func (e *Engine) pollChannel(ctx context.Context, c *channelState) (time.Duration, error) {
	wait := c.untilPoll(time.Now().UTC())
	return e.poll(ctx, &c.connectionState, wait, func(bool) error { return e.askChannel(ctx, c) })
}

// poll looks at a connection when it is time to, and says how long to wait for the next look.
func (e *Engine) poll(ctx context.Context, c *connectionState, wait time.Duration, ask func(hinted bool) error) (time.Duration, error) {
	now := time.Now().UTC()
	if e.pausedReason(c.id) != "" || c.resting(now) > 0 {
		return e.timings.Look, nil
	}
	if wait > 0 {
		return wait, nil
	}
	hinted := c.looking()
	if err := ask(hinted); err != nil {
		c.again(hinted)
		return e.timings.Look, e.callFailed(ctx, c, err)
	}
	c.polled(now)
	c.callWorked()
	return e.timings.Look, nil
}

func (e *Engine) askChannel(ctx context.Context, c *channelState) error {
	if _, err := e.channelCapabilities(ctx, c); err != nil {
		return err
	}
	if _, err := e.drainOrders(ctx, c, time.Time{}); err != nil {
		return err
	}
	due, err := e.feedDue(ctx, c.id, listingsFeed)
	if err != nil || !due {
		return err
	}
	return e.readListings(ctx, c, nil)
}

// pollRecord asks a system of record for its movements, and when it is time, or a hint says so, for its articles and
// all of its levels.
func (e *Engine) pollRecord(ctx context.Context, r *recordState) (time.Duration, error) {
	now := time.Now().UTC()
	wait := min(r.untilPoll(now), r.untilWish(now, e.wishEvery()))
	return e.poll(ctx, &r.connectionState, wait, func(hinted bool) error { return e.askRecord(ctx, r, hinted) })
}

func (e *Engine) askRecord(ctx context.Context, r *recordState, hinted bool) error {
	caps, err := e.recordCapabilities(ctx, r)
	if err != nil {
		return err
	}
	if caps.ListensOnly {
		r.forget()
		return e.watchCommitments(ctx, r)
	}
	// Orders are asked for before the levels are read: those then contain what the answers tell. An order that cannot be asked
	// for keeps nothing else from being read.
	changesErr := e.askChanges(ctx, r, caps)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(changesErr, e.askStock(ctx, r, caps, hinted))
}

// askStock reads what is due of a system of record, or wished for: articles, levels, movements, silent orders.
func (e *Engine) askStock(ctx context.Context, r *recordState, caps connectors.RecordCapabilities, hinted bool) error {
	due, err := e.feedDue(ctx, r.id, levelsFeed)
	if err != nil {
		return err
	}
	if !due {
		if due, err = e.unheard(ctx, r); err != nil {
			return err
		}
	}
	levels, items := r.wishes(caps, due, hinted, e.wishEvery())
	if items {
		if err := e.readItems(ctx, r); err != nil {
			return err
		}
	}
	if levels {
		if err := e.readLevels(ctx, r, caps); err != nil {
			return err
		}
	}
	r.fulfilled(levels, items)
	if caps.Positions {
		if err := e.readMovements(ctx, r); err != nil {
			return err
		}
	}
	if err := e.askRound(ctx, r); err != nil {
		return err
	}
	return e.watchCommitments(ctx, r)
}

// wishes decides whether all levels and all articles are read now. Hints ask for the levels at most once in the time
// given; one that came too early keeps.
func (r *recordState) wishes(caps connectors.RecordCapabilities, due, hinted bool, atMost time.Duration) (levels, items bool) {
	r.connectionState.mu.Lock()
	defer r.connectionState.mu.Unlock()
	// Without positions nothing but the levels themselves can answer "look again".
	// The first look of a process reads them too: a hint of the process before may have been left unanswered.
	r.wantLevels = r.wantLevels || (hinted || r.levelsAt.IsZero()) && !caps.Positions
	levels = due || r.wantLevels && time.Since(r.levelsAt) >= atMost
	if levels {
		r.levelsAt, r.levelsWished = time.Now().UTC(), false
	}
	if r.wantItems || due {
		items, r.itemsWished = true, false
	}
	return levels, items
}

// wishEvery is how often hints alone may have all levels read.
func (e *Engine) wishEvery() time.Duration { return min(e.timings.Poll, 10*e.timings.RetryMin) }

// untilWish says how long a wish must still wait; without one, a very long time.
func (r *recordState) untilWish(now time.Time, every time.Duration) time.Duration {
	r.connectionState.mu.Lock()
	defer r.connectionState.mu.Unlock()
	switch {
	case r.wantItems:
		return 0
	case r.wantLevels:
		return max(0, r.levelsAt.Add(every).Sub(now))
	default:
		return math.MaxInt64
	}
}

// fulfilled notes that what was wished for was read; what was wished for meanwhile keeps.
func (r *recordState) fulfilled(levels, items bool) {
	r.connectionState.mu.Lock()
	defer r.connectionState.mu.Unlock()
	if levels {
		r.wantLevels = r.levelsWished
	}
	if items {
		r.wantItems = r.itemsWished
	}
}

// forget drops what cannot be fulfilled: the system only sends webhooks.
func (r *recordState) forget() {
	r.connectionState.mu.Lock()
	defer r.connectionState.mu.Unlock()
	r.wantLevels, r.wantItems = false, false
}

// wish asks for all levels or all articles with the next look.
func (r *recordState) wish(levels, items bool) {
	r.connectionState.mu.Lock()
	defer r.connectionState.mu.Unlock()
	r.wantLevels, r.levelsWished = r.wantLevels || levels, r.levelsWished || levels
	r.wantItems, r.itemsWished = r.wantItems || items, r.itemsWished || items
}

// askForLevels asks every system of record for all levels: somebody sells an article of which nothing was said yet.
func (e *Engine) askForLevels() {
	for _, r := range e.records {
		r.wish(true, false)
		r.ask()
	}
}

// again keeps a hint whose look failed.
func (c *connectionState) again(hinted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = c.asked || hinted
}

// ask makes the next look come at once.
func (c *connectionState) ask() {
	c.mu.Lock()
	c.asked = true
	c.mu.Unlock()
	c.wake.send()
}

// untilPoll says how long the connection need not be asked yet.
func (c *connectionState) untilPoll(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked || c.polledAt.IsZero() {
		return 0
	}
	return max(0, c.polledAt.Add(c.poll).Sub(now))
}

// polled notes a look that began at the instant given. A hint that came after it began asks for another.
func (c *connectionState) polled(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polledAt = at
}

// looking notes that a look begins: a hint that comes from now on asks for another.
func (c *connectionState) looking() (hinted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hinted, c.asked = c.asked, false
	return hinted
}

// feedDue reports whether a feed that is read in whole was never read, or too long ago.
func (e *Engine) feedDue(ctx context.Context, id stock.ConnectionID, feed string) (bool, error) {
	mark, err := e.store.Bookmark(ctx, id, feed)
	if err != nil {
		return false, fmt.Errorf("look up when the %s of %s were read: %w", feed, id, err)
	}
	at, err := time.Parse(time.RFC3339Nano, mark)
	return err != nil || time.Since(at) >= e.timings.Levels, nil
}

func (e *Engine) markFeed(ctx context.Context, id stock.ConnectionID, feed string, at time.Time) error {
	if err := e.store.SetBookmark(ctx, id, feed, at.UTC().Format(time.RFC3339Nano)); err != nil {
		return fmt.Errorf("note when the %s of %s were read: %w", feed, id, err)
	}
	return nil
}

// drainOrders fetches every order that changed since the last time, stores, applies and plans them. It reports whether
// the orders are now known through the instant given, by the channel's clock, in milliseconds. An enumeration that
// began after a reading and whose watermark is not before it contains everything that the reading contains.
func (e *Engine) drainOrders(ctx context.Context, c *channelState, through time.Time) (bool, error) {
	if err := c.drain.take(ctx); err != nil {
		return false, err
	}
	defer c.drain.give()
	if err := e.knowAccount(ctx, c); err != nil {
		return false, err
	}
	mark, err := e.store.Bookmark(ctx, c.id, ordersFeed)
	if err != nil {
		return false, fmt.Errorf("look up how far the orders of %s were read: %w", c.id, err)
	}
	since, _ := time.Parse(time.RFC3339Nano, mark) // none yet: from the beginning
	began := time.Now().UTC()
	watermark, whole, err := e.fetchOrders(ctx, c, since)
	if err != nil {
		return false, err
	}
	if watermark.After(since) {
		// The bookmark stays where it is until the whole enumeration is stored: a broken one begins again.
		if err := e.store.SetBookmark(ctx, c.id, ordersFeed, watermark.UTC().Format(time.RFC3339Nano)); err != nil {
			return false, fmt.Errorf("note how far the orders of %s were read: %w", c.id, err)
		}
	}
	c.connectionState.mu.Lock()
	c.seenTo = watermark
	c.connectionState.mu.Unlock()
	if err := e.applyAndPlan(ctx); err != nil {
		return false, err
	}
	if whole {
		if err := e.releaseReservations(ctx, c, watermark); err != nil {
			return false, err
		}
	}
	e.caughtUp(c, began, whole)
	return whole && !watermark.Before(through.Truncate(time.Millisecond)), nil
}

// storeOrders puts each order of a page into the inbox as an event of its own.
func (e *Engine) storeOrders(ctx context.Context, id stock.ConnectionID, orders []connectors.Order) ([]Receipt, error) {
	if len(orders) == 0 {
		return nil, nil
	}
	batches := make([][]connectors.Fact, len(orders))
	for i := range orders {
		batches[i] = []connectors.Fact{{Kind: connectors.OrderUpserted, Order: &orders[i]}}
	}
	return e.ingestFacts(ctx, id, batches, func(i int) string {
		return "order:" + orders[i].OrderID + ":" + strconv.FormatInt(orders[i].Version, 10)
	})
}

// applyAndPlan works off what is stored, so that targets contain it.
func (e *Engine) applyAndPlan(ctx context.Context) error {
	for {
		n, err := e.applyPass(ctx)
		if err != nil {
			return err
		}
		if n < e.applyBatch {
			break
		}
	}
	for {
		n, err := e.planPass(ctx)
		if err != nil {
			return err
		}
		if n < e.planBatch {
			return nil
		}
	}
}

// readListings enumerates a channel's listings and stores what they are called; each, when given, gets every page.
func (e *Engine) readListings(ctx context.Context, c *channelState, each func([]connectors.Listing) error) error {
	began := time.Now().UTC()
	var from connectors.Cursor
	for {
		page, err := c.Marketplace.Listings(ctx, from)
		if err != nil {
			return err
		}
		if err := e.store.SaveListings(ctx, c.id, page.Rows); err != nil {
			return fmt.Errorf("store the listings of %s: %w", c.id, err)
		}
		if each != nil {
			if err := each(page.Rows); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return e.markFeed(ctx, c.id, listingsFeed, began)
		}
		from = page.Next
	}
}

// readItems stores the articles of a system of record. Events that wait for one of them are applied again.
func (e *Engine) readItems(ctx context.Context, r *recordState) error {
	var from connectors.Cursor
	for {
		page, err := r.System.Items(ctx, from)
		if err != nil {
			return err
		}
		if err := e.store.SaveItems(ctx, page.Rows, time.Now().UTC()); err != nil {
			return fmt.Errorf("store the articles of %s: %w", r.id, err)
		}
		e.wakeApply.send()
		if page.Next == "" {
			return nil
		}
		from = page.Next
	}
}

// readLevels reads everything that a system of record has.
func (e *Engine) readLevels(ctx context.Context, r *recordState, caps connectors.RecordCapabilities) error {
	x := export{count: -1, began: time.Now().UTC()}
	var from connectors.Cursor
	for pages := 0; ; pages++ {
		page, err := r.System.Levels(ctx, from)
		if connectors.KindOf(err) == connectors.Rejected {
			return errors.Join(err, e.openExportIncident(ctx, r, x.began, fmt.Sprintf("delivered levels that make no sense (%v)", err)))
		}
		if err != nil {
			return err
		}
		if pages == 0 {
			x.count, x.position = page.Count, page.Position
			x.position.SeenAt = x.began
		}
		x.rows = append(x.rows, page.Levels...)
		if page.Next == "" {
			break
		}
		from = page.Next
	}
	if err := e.takeExport(ctx, r, x); err != nil {
		return err
	}
	began, position := x.began, x.position
	if caps.Positions {
		// Everything up to the position is in what was read, and no order of ours is there before the first read: movements
		// are of interest from there on.
		mark, err := e.store.Bookmark(ctx, r.id, movementsFeed)
		if err == nil && mark == "" {
			err = e.store.SetBookmark(ctx, r.id, movementsFeed, strconv.FormatInt(position.Sequence, 10))
		}
		if err != nil {
			return fmt.Errorf("note how far the movements of %s were read: %w", r.id, err)
		}
	}
	return e.markFeed(ctx, r.id, levelsFeed, began)
}

func (e *Engine) storeLevels(ctx context.Context, id stock.ConnectionID, levels []connectors.Statement, position stock.Position, began time.Time) error {
	facts := make([]connectors.Fact, len(levels))
	for i := range levels {
		facts[i] = connectors.Fact{Kind: connectors.StockLevel, Position: position, Statement: &levels[i]}
	}
	if len(facts) == 0 {
		return nil
	}
	_, err := e.ingestFacts(ctx, id, slices.Collect(slices.Chunk(facts, factsPerEvent)), func(i int) string {
		return fmt.Sprintf("levels:%d:%d", began.UnixMicro(), i)
	})
	return err
}

// readMovements fetches every movement after the last one seen.
func (e *Engine) readMovements(ctx context.Context, r *recordState) error {
	mark, err := e.store.Bookmark(ctx, r.id, movementsFeed)
	if err != nil {
		return fmt.Errorf("look up how far the movements of %s were read: %w", r.id, err)
	}
	after, _ := strconv.ParseInt(mark, 10, 64) // none yet: from the beginning
	for {
		page, err := r.System.Movements(ctx, after)
		if err != nil {
			return err
		}
		if len(page.Rows) == 0 {
			return nil
		}
		if _, err := e.ingestFacts(ctx, r.id, [][]connectors.Fact{page.Rows}, func(int) string { return fmt.Sprintf("moves:%d", after) }); err != nil {
			return err
		}
		last := page.Rows[len(page.Rows)-1].Position.Sequence
		if last <= after {
			return &connectors.Error{Kind: connectors.Rejected, Op: "read movements", Err: fmt.Errorf("the page after position %d ends at position %d: the positions do not grow", after, last)}
		}
		after = last
		if err := e.store.SetBookmark(ctx, r.id, movementsFeed, strconv.FormatInt(after, 10)); err != nil {
			return fmt.Errorf("note how far the movements of %s were read: %w", r.id, err)
		}
		if page.Next == "" {
			return nil
		}
	}
}

// channelCapabilities asks a channel once per process what it can do, and remembers the answer for the next start. When
// the answer differs from the remembered one, everything that depends on it is planned anew.
func (e *Engine) channelCapabilities(ctx context.Context, c *channelState) (connectors.MarketplaceCapabilities, error) {
	c.connectionState.mu.Lock()
	known := c.caps
	c.connectionState.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	caps, err := c.Marketplace.Capabilities(ctx)
	if err != nil {
		return caps, err
	}
	if err := e.checkAccount(ctx, c, caps.Account); err != nil {
		return caps, err
	}
	text, err := json.Marshal(caps)
	if err != nil {
		return caps, fmt.Errorf("encode the capabilities of %s: %w", c.id, err)
	}
	before, err := e.store.Bookmark(ctx, c.id, capabilitiesFeed)
	if err != nil {
		return caps, fmt.Errorf("look up the capabilities of %s: %w", c.id, err)
	}
	c.connectionState.mu.Lock()
	c.caps = &caps
	c.connectionState.mu.Unlock()
	if before == string(text) {
		return caps, nil
	}
	if err := e.store.SetBookmark(ctx, c.id, capabilitiesFeed, string(text)); err != nil {
		return caps, fmt.Errorf("remember the capabilities of %s: %w", c.id, err)
	}
	if err := e.keepRules(ctx, c); err != nil {
		return caps, fmt.Errorf("keep the rules of %s: %w", c.id, err)
	}
	if err := e.store.DirtyConnection(ctx, c.id); err != nil {
		return caps, fmt.Errorf("plan %s anew: %w", c.id, err)
	}
	e.wakePlan.send()
	return caps, nil
}

// recordCapabilities asks a system of record once per process what it can do.
func (e *Engine) recordCapabilities(ctx context.Context, r *recordState) (connectors.RecordCapabilities, error) {
	r.connectionState.mu.Lock()
	known := r.caps
	r.connectionState.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	caps, err := r.System.Capabilities(ctx)
	if err != nil {
		return caps, err
	}
	if caps.Basis != stock.OnHandBasis && caps.Basis != stock.AvailableBasis {
		return caps, connectors.Rejectedf("read capabilities", "", "%s does not say whether its levels mean on_hand or available", r.id)
	}
	text, err := json.Marshal(caps)
	if err != nil {
		return caps, fmt.Errorf("encode the capabilities of %s: %w", r.id, err)
	}
	if err := e.store.SetBookmark(ctx, r.id, capabilitiesFeed, string(text)); err != nil {
		return caps, fmt.Errorf("remember the capabilities of %s: %w", r.id, err)
	}
	r.connectionState.mu.Lock()
	r.caps = &caps
	r.connectionState.mu.Unlock()
	e.wakeApply.send()
	return caps, nil
}

// can is what the system of record can do, as far as it is known.
func (r *recordState) can() connectors.RecordCapabilities {
	r.connectionState.mu.Lock()
	defer r.connectionState.mu.Unlock()
	if known := cmp.Or(r.caps, r.remembered); known != nil {
		return *known
	}
	return connectors.RecordCapabilities{}
}

// bases says what numbers mean, by location.
type bases func(stock.LocationID) stock.Basis

// basisAt is what the numbers of the system of record mean at a location.
func (r *recordState) basisAt(location stock.LocationID) stock.Basis {
	if basis, own := r.Bases[location]; own {
		return basis
	}
	return r.can().Basis
}

// allocates reports whether an allocation is the deduction at any location of the system of record.
func (r *recordState) allocates() bool {
	if r.can().Basis == stock.AvailableBasis {
		return true
	}
	for _, basis := range r.Bases {
		if basis == stock.AvailableBasis {
			return true
		}
	}
	return false
}

// basesOf is what the numbers of the system of record mean that gets a channel's orders.
func (e *Engine) basesOf(channel stock.ConnectionID) bases {
	if r := e.recordOf(channel); r != nil {
		return r.basisAt
	}
	return func(stock.LocationID) stock.Basis { return stock.OnHandBasis }
}

// recordOf is the system of record that gets a channel's orders, nil where none does.
func (e *Engine) recordOf(channel stock.ConnectionID) *recordState {
	if c := e.channels[channel]; c != nil {
		return e.records[c.OrdersTo]
	}
	return nil
}

// basesKnown reports whether every system of record has said what its numbers mean. Before that nothing can be applied:
// what comes in waits in the inbox.
func (e *Engine) basesKnown() bool {
	for _, r := range e.records {
		if r.can().Basis == "" {
			return false
		}
	}
	return true
}

// rememberedCapabilities loads what was known before a restart, so that planning does not wait for every channel.
func (e *Engine) rememberedCapabilities(ctx context.Context) error {
	for _, c := range e.sortedChannels() {
		text, err := e.store.Bookmark(ctx, c.id, capabilitiesFeed)
		if err != nil {
			return err
		}
		var caps connectors.MarketplaceCapabilities
		if text == "" || json.Unmarshal([]byte(text), &caps) != nil {
			continue
		}
		c.connectionState.mu.Lock()
		c.remembered = &caps
		c.connectionState.mu.Unlock()
	}
	for _, r := range e.sortedRecords() {
		text, err := e.store.Bookmark(ctx, r.id, capabilitiesFeed)
		if err != nil {
			return err
		}
		var caps connectors.RecordCapabilities
		if text == "" || json.Unmarshal([]byte(text), &caps) != nil {
			continue
		}
		r.connectionState.mu.Lock()
		r.remembered = &caps
		r.connectionState.mu.Unlock()
	}
	return nil
}

// Asked reports whether every connection that may be asked has been asked at least once since the start.
func (e *Engine) Asked() bool {
	for _, c := range e.sortedChannels() {
		if !e.wasAsked(&c.connectionState) {
			return false
		}
	}
	for _, r := range e.sortedRecords() {
		if !e.wasAsked(&r.connectionState) {
			return false
		}
	}
	return true
}

// owes reports whether a connection that may be asked has been hinted at and was not looked at since.
func (e *Engine) owes() bool {
	for _, c := range e.channels {
		if e.pausedReason(c.id) == "" && c.hinted() {
			return true
		}
	}
	for _, r := range e.records {
		r.connectionState.mu.Lock()
		wishes := r.wantLevels || r.wantItems
		r.connectionState.mu.Unlock()
		if e.pausedReason(r.id) == "" && (wishes || r.hinted()) {
			return true
		}
	}
	return false
}

func (c *connectionState) hinted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (e *Engine) wasAsked(c *connectionState) bool {
	if e.pausedReason(c.id) != "" {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.polledAt.IsZero()
}

// silentRecord says which system of record has not answered for so long that its word is no ground for a raise; empty
// when all are fresh. One that only sends webhooks is believed: its silence may mean that nothing happened.
func (e *Engine) silentRecord(ctx context.Context) (string, error) {
	for _, r := range e.sortedRecords() {
		silent, heard, err := e.silent(ctx, r)
		if err != nil {
			return "", err
		}
		if silent {
			return fmt.Sprintf("%s has not answered since %s", r.id, heard.Format(time.RFC3339)), nil
		}
	}
	return "", nil
}

// silent reports whether a system of record has been silent for too long, and when it was last heard of; zero: never.
func (e *Engine) silent(ctx context.Context, r *recordState) (silent bool, heard time.Time, err error) {
	if r.can().ListensOnly {
		return false, heard, nil
	}
	heard = r.lastPoll()
	if heard.IsZero() || !r.can().Positions {
		// Without positions most polls ask for nothing: what counts is when the levels were read.
		mark, err := e.store.Bookmark(ctx, r.id, levelsFeed)
		if err != nil {
			return false, heard, fmt.Errorf("look up when the levels of %s were read: %w", r.id, err)
		}
		heard, _ = time.Parse(time.RFC3339Nano, mark) // never: the zero time
	}
	return time.Since(heard) > e.timings.StaleStatement, heard, nil
}

// staleStatements says, of listings, which statement that a number rests on is too old to raise on. An answer that leaves an
// article out, or that was overtaken when it came, says nothing about it: where a system of record has no positions, whose
// movements would tell everything since, each statement must have been made lately itself. One of nothing carries nothing.
func (e *Engine) staleStatements(ctx context.Context, keys []ListingKey) (map[ListingKey]string, error) {
	stating := false
	for _, r := range e.records {
		stating = stating || e.mustRestate(r.id)
	}
	if !stating {
		return nil, nil
	}
	stale := make(map[ListingKey]string)
	err := e.store.View(ctx, func(tx PlanTx) error {
		p, err := e.loadPlan(tx, keys)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if s := p.oldest(key); s != nil && p.at.Sub(s.madeAt()) > e.timings.StaleStatement {
				stale[key] = fmt.Sprintf("%s has not said since %s how many there are of %s at %s", s.Connection, s.madeAt().Format(time.RFC3339), s.SKU, s.Location)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look how old the statements are: %w", err)
	}
	return stale, nil
}

// mustRestate reports whether the statements of a system of record grow old: nothing tells what has changed since.
func (e *Engine) mustRestate(id stock.ConnectionID) bool {
	r := e.records[id]
	return r != nil && !r.can().ListensOnly && !r.can().Positions
}

// madeAt is when a statement was made, as its source says, but not later than when we took it.
func (s *HeldStatement) madeAt() time.Time {
	at := s.At
	for _, other := range []time.Time{s.Position.SourceAt, s.Position.SeenAt} {
		if !other.IsZero() && other.Before(at) {
			at = other
		}
	}
	return at
}

// oldest is the oldest statement, of those that grow old, that the number of a listing rests on.
func (p *planInput) oldest(key ListingKey) (oldest *HeldStatement) {
	c := p.engine.channels[key.Connection]
	if c == nil {
		return nil
	}
	locations, _ := p.engine.rulesOf(c).Places.Locations(key.Place)
	for _, component := range p.components[key] {
		if _, byWindow := p.demand[component.SKU]; byWindow {
			continue
		}
		for i, s := range p.stated[component.SKU] {
			serves := len(locations) == 0 || slices.Contains(locations, s.Location)
			if serves && s.Quantity > 0 && p.engine.mustRestate(s.Connection) && (oldest == nil || s.madeAt().Before(oldest.madeAt())) {
				oldest = &p.stated[component.SKU][i]
			}
		}
	}
	return oldest
}

func (c *connectionState) lastPoll() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.polledAt
}

// Ask looks at every connection once, in the calling goroutine, as the polls do while Run runs. A connection that is
// paused or rests after a failure is left out; one that fails now is noted and rests. It returns an error only when the
// store or the context ends it.
func (e *Engine) Ask(ctx context.Context) error {
	for _, r := range e.sortedRecords() {
		if _, err := e.poll(ctx, &r.connectionState, 0, func(hinted bool) error { return e.askRecord(ctx, r, hinted) }); err != nil {
			return err
		}
	}
	for _, c := range e.sortedChannels() {
		if queue, ok := c.Marketplace.(connectors.DeliveryQueue); ok {
			if _, err := e.readQueue(ctx, c, queue); err != nil {
				return err
			}
		}
		if _, err := e.poll(ctx, &c.connectionState, 0, func(bool) error { return e.askChannel(ctx, c) }); err != nil {
			return err
		}
	}
	return nil
}
