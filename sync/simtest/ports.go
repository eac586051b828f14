package simtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// callTimeout bounds one call of a connector. It is shorter than the connectors' first wait before they try again, whose
// length is drawn by a source that no seed decides: so nothing waits that long, and every try is the engine's own.
const callTimeout = 150 * time.Millisecond

// patience is how many calls one pass may make before it counts as one that never ends.
const patience = 4000

// port is passed before and after everything that leaves the process or reaches the disk: where a crash can happen.
func (s *sim) port(where string) error {
	s.passed++
	if s.passed == patience {
		s.violate("one pass has made %d calls and does not end", patience)
		s.cancel()
	}
	if s.crashIn > 0 {
		if s.crashIn--; s.crashIn == 0 {
			s.journal.note("crash at %s", where)
			s.crashed = true
			s.cancel()
		}
	}
	return s.ctx.Err()
}

// wire is the way to one outside system.
type wire struct {
	sim  *sim
	host string
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	s, name := w.sim, w.host+" "+req.Method+" "+req.URL.Path
	if err := s.port("before " + name); err != nil {
		closeBody(req)
		return nil, err
	}
	if s.dead[w.host] || s.outages[w.host] > 0 {
		closeBody(req)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	s.snatch(w.host, req.URL.Path)
	s.overlapping()
	if err := s.sending(w.host, req); err != nil {
		return nil, err
	}
	if changes(req) && s.late[w.host] > 0 {
		s.late[w.host]--
		if err := s.sendLate(w, req); err != nil {
			return nil, err
		}
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	if req.URL.Path == "/stock/write" {
		if err := s.checkRaises(w.host, req); err != nil {
			return nil, err
		}
	}
	var repeated []string
	if req.URL.Path == "/stock/write" {
		var err error
		if repeated, err = s.repeats(w.host, req); err != nil {
			return nil, err
		}
	}
	resp, err := w.next.RoundTrip(req)
	if err == nil {
		resp, err = w.through(req, resp)
	}
	s.listened(w.host, req, resp, err)
	if err == nil && resp.StatusCode == http.StatusOK {
		for _, listing := range repeated {
			delete(s.owed, listing)
		}
	}
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		s.resumeLater(w.host)
	}
	s.journal.note("call %s: %s", name, answer(resp, err))
	if failed := s.port("after " + name); failed != nil {
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, failed
	}
	return resp, err
}

func answer(resp *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	return resp.Status
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// changes reports whether a request changes something out there.
func changes(req *http.Request) bool {
	return req.Method == http.MethodPost && req.URL.Path != "/stock/read"
}

// sendLate lets a request take effect when its sender has long given up.
func (s *sim) sendLate(w wire, req *http.Request) error {
	body, err := io.ReadAll(req.Body)
	closeBody(req)
	if err != nil {
		return err
	}
	header, url := req.Header.Clone(), req.URL.String()
	if req.URL.Path == "/stock/write" {
		s.owe(w.host, body)
	}
	delay := time.Second + time.Duration(s.dice("late", w.host, url).Int64N(int64(requestLife-3*time.Second)))
	s.after(delay, "late "+w.host+" "+req.URL.Path, func() {
		again, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			s.violate("a late request cannot be sent: %v", err)
			return
		}
		again.Header = header
		resp, err := w.next.RoundTrip(again)
		s.journal.note("late call %s %s: %s", w.host, again.URL.Path, answer(resp, err))
		if err == nil {
			_ = resp.Body.Close()
		}
	})
	return nil
}

// postbox takes the webhooks of one pretend system. It answers at once; the simulation decides when they arrive.
type postbox struct {
	sim  *sim
	from string
}

// letter is a webhook on its way.
type letter struct {
	from, id string
	body     []byte
	tries    int
}

// RoundTrip implements http.RoundTripper.
func (p postbox) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	closeBody(req)
	if err != nil {
		return nil, err
	}
	// The pretend systems post at the same time, each from a goroutine of its own; the order of one's letters is its own.
	p.sim.posting.Lock()
	defer p.sim.posting.Unlock()
	p.sim.posted[p.from] = append(p.sim.posted[p.from], letter{from: p.from, id: req.Header.Get("webhook-id"), body: body})
	return &http.Response{StatusCode: http.StatusAccepted, Body: http.NoBody, Request: req, Header: http.Header{}}, nil
}

// ports is the store as the engine sees it: every transaction can fail, and the process can end before and after it.
//
// What every pass reads again and nobody but the engine changes is kept in memory, and so is that there is nothing to do:
// most passes find nothing, and asking the database for it each time would be half of a run.
type ports struct {
	stocksync.Store
	sim       *sim
	bookmarks map[string]string
	pauses    map[stock.ConnectionID]string
	idle      map[string]bool // work of which there is none until something is stored
	ripe      *time.Time      // when the next SKU is to be planned by the passing of time; nil: not known
	next      map[stock.ConnectionID]nextPush
}

type nextPush struct {
	at  time.Time
	due bool
}

func newPorts(st stocksync.Store, s *sim) *ports {
	p := &ports{Store: st, sim: s, bookmarks: map[string]string{}}
	p.stir()
	return p
}

// The kinds of work whose absence is remembered.
const (
	applying   = "apply"
	planning   = "plan"
	pushing    = "push"
	forwarding = "forward"
	noticing   = "notice"
)

// stir forgets that there is nothing to do of the kinds given; without any, of all.
func (p *ports) stir(kinds ...string) {
	if len(kinds) == 0 || slices.Contains(kinds, pushing) {
		p.next = map[stock.ConnectionID]nextPush{}
	}
	if len(kinds) == 0 || slices.Contains(kinds, planning) {
		p.ripe = nil
	}
	if p.idle == nil || len(kinds) == 0 {
		p.idle = map[string]bool{}
	}
	maps.DeleteFunc(p.idle, func(key string, _ bool) bool {
		kind, _, _ := strings.Cut(key, " ")
		return slices.Contains(kinds, kind)
	})
}

func (p *ports) NextPush(ctx context.Context, id stock.ConnectionID) (time.Time, bool, error) {
	if n, ok := p.next[id]; ok {
		return n.at, n.due, nil
	}
	at, due, err := p.Store.NextPush(ctx, id)
	if err == nil {
		p.next[id] = nextPush{at, due}
	}
	return at, due, err
}

func (p *ports) DuePushes(ctx context.Context, id stock.ConnectionID, now time.Time, limit int) ([]stocksync.Listing, error) {
	if n, ok := p.next[id]; ok && (!n.due || n.at.After(now)) {
		return nil, nil
	}
	if tiny := p.sim.world.tiny; tiny > 0 {
		limit = min(limit, tiny)
	}
	return p.Store.DuePushes(ctx, id, now, limit)
}

func (p *ports) DueForwards(ctx context.Context, id stock.ConnectionID, now time.Time, limit int) ([]stocksync.Forward, []*stocksync.Order, error) {
	key := forwarding + " " + string(id)
	if p.idle[key] {
		return nil, nil, nil
	}
	forwards, orders, err := p.Store.DueForwards(ctx, id, now, limit)
	if err == nil && len(forwards) == 0 {
		ever, _, err := p.Store.DueForwards(ctx, id, now.AddDate(1, 0, 0), 1)
		p.idle[key] = err == nil && len(ever) == 0
	}
	return forwards, orders, err
}

func (p *ports) DueNotices(ctx context.Context, id stock.ConnectionID, now time.Time, limit int) ([]stocksync.Notice, error) {
	key := noticing + " " + string(id)
	if p.idle[key] {
		return nil, nil
	}
	notices, err := p.Store.DueNotices(ctx, id, now, limit)
	if err == nil && len(notices) == 0 {
		ever, err := p.Store.DueNotices(ctx, id, now.AddDate(1, 0, 0), 1)
		p.idle[key] = err == nil && len(ever) == 0
	}
	return notices, err
}

// looking runs a pass over work that is taken in a transaction; one that finds none changes nothing. do tells which kinds
// of work it made; nil means any.
func (p *ports) looking(kind string, do func() (n int, stirs []string, err error)) (n int, err error) {
	err = p.passing(kind, func() error {
		if p.idle[kind] {
			return nil
		}
		var stirs []string
		n, stirs, err = do()
		if err == nil && n == 0 {
			p.idle[kind] = true
			return nil
		}
		p.stir(stirs...)
		return err
	})
	return n, err
}

// stirring notes which kinds of work a batch of events makes.
type stirring struct {
	stocksync.LedgerTx
	kinds *[]string
}

// leads tells which kinds of work each change makes; of one that it does not know, any.
var leads = map[string][]string{
	"Orders": {}, "Commitments": {}, "Statements": {}, "Movements": {}, "Entries": {}, "Levels": {}, "Parked": {}, "Incidents": {}, "Closed": {}, "At": {},
	"Dirty": {planning}, "Look": {pushing}, "Seen": {pushing}, "Forwards": {forwarding}, "Notices": {noticing},
}

// Save implements stocksync.LedgerTx.
func (t stirring) Save(c stocksync.Changes) error {
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0 {
			continue
		}
		kinds, known := leads[v.Type().Field(i).Name]
		if !known {
			kinds = []string{planning, pushing, forwarding, noticing}
		}
		*t.kinds = append(*t.kinds, kinds...)
	}
	return t.LedgerTx.Save(c)
}

func (p *ports) Bookmark(ctx context.Context, id stock.ConnectionID, feed string) (string, error) {
	key := string(id) + " " + feed
	if v, ok := p.bookmarks[key]; ok {
		return v, nil
	}
	v, err := p.Store.Bookmark(ctx, id, feed)
	if err == nil {
		p.bookmarks[key] = v
	}
	return v, err
}

func (p *ports) Pauses(ctx context.Context) (map[stock.ConnectionID]string, error) {
	if p.pauses == nil {
		pauses, err := p.Store.Pauses(ctx)
		if err != nil {
			return nil, err
		}
		p.pauses = pauses
	}
	return maps.Clone(p.pauses), nil
}

// through is a transaction that changes something, or may have: work of the kinds named, or of any.
func (p *ports) through(what string, do func() error, stirs ...string) error {
	return p.passing(what, func() error {
		defer p.stir(stirs...)
		return do()
	})
}

func (p *ports) passing(what string, do func() error) error {
	if err := p.sim.port("before " + what); err != nil {
		return err
	}
	p.sim.dawdle()
	if p.sim.storeFails() {
		p.sim.journal.note("the database does not take %s", what)
		if what == "settle" {
			clear(p.sim.owed)
		}
		return fmt.Errorf("%s: %w", what, stocksync.ErrUnavailable)
	}
	if err := do(); err != nil {
		return err
	}
	return p.sim.port("after " + what)
}

func (p *ports) Put(ctx context.Context, e stocksync.NewEvent) (receipt stocksync.Receipt, err error) {
	err = p.through("put", func() error { receipt, err = p.Store.Put(ctx, e); return err }, applying)
	return receipt, err
}

func (p *ports) PutAll(ctx context.Context, events []stocksync.NewEvent) (receipts []stocksync.Receipt, err error) {
	err = p.through("put all", func() error { receipts, err = p.Store.PutAll(ctx, events); return err }, applying)
	return receipts, err
}

func (p *ports) Apply(ctx context.Context, limit int, fn func(stocksync.LedgerTx, []stocksync.Event) error) (int, error) {
	return p.looking(applying, func() (int, []string, error) {
		stirs := []string{applying}
		n, err := p.Store.Apply(ctx, limit, func(tx stocksync.LedgerTx, events []stocksync.Event) error { return fn(stirring{tx, &stirs}, events) })
		return n, stirs, err
	})
}

func (p *ports) Plan(ctx context.Context, limit int, fn func(stocksync.PlanTx, []stock.SKU) error) (int, error) {
	return p.looking(planning, func() (int, []string, error) {
		if !p.sim.tells() {
			n, err := p.Store.Plan(ctx, limit, fn)
			return n, []string{planning, pushing}, err
		}
		var seen []look
		n, err := p.Store.Plan(ctx, limit, func(tx stocksync.PlanTx, skus []stock.SKU) (err error) {
			if seen, err = p.sim.looks(tx, skus); err != nil {
				return err
			}
			return fn(tx, skus)
		})
		p.sim.planned(seen, err)
		return n, []string{planning, pushing}, err
	})
}

func (p *ports) Ripen(ctx context.Context, now time.Time) (time.Time, error) {
	if p.ripe != nil && (p.ripe.IsZero() || now.Before(*p.ripe)) {
		return *p.ripe, nil
	}
	next, err := p.Store.Ripen(ctx, now)
	p.stir(planning)
	if err == nil {
		p.ripe = &next
	}
	return next, err
}

func (p *ports) Post(ctx context.Context, fn func(stocksync.LedgerTx) error, acts ...stocksync.AuditEntry) error {
	return p.through("post", func() error { return p.Store.Post(ctx, fn, acts...) })
}

func (p *ports) ChangeSettings(ctx context.Context, versions []stocksync.NewSetting, touches []stocksync.Touch, check func(stocksync.PlanTx) error) (stored []stocksync.Setting, err error) {
	err = p.through("change settings", func() error {
		stored, err = p.Store.ChangeSettings(ctx, versions, touches, check)
		return err
	})
	return stored, err
}

func (p *ports) AddKeys(ctx context.Context, sku stock.SKU, keys []stocksync.NewKey, events func(stock.Quantity, int64) ([]stocksync.NewEvent, error), act stocksync.AuditEntry) (known []int, err error) {
	err = p.through("add keys", func() error { known, err = p.Store.AddKeys(ctx, sku, keys, events, act); return err }, applying)
	return known, err
}

func (p *ports) RevokeKey(ctx context.Context, id int64, at time.Time, events func(stock.SKU, stock.Quantity, int64) ([]stocksync.NewEvent, error), act stocksync.AuditEntry) error {
	return p.through("revoke key", func() error { return p.Store.RevokeKey(ctx, id, at, events, act) }, applying)
}

func (p *ports) Settle(ctx context.Context, outcomes []stocksync.PushOutcome, incidents []stocksync.Incident) error {
	return p.through("settle", func() error {
		err := p.Store.Settle(ctx, outcomes, incidents)
		if err == nil {
			p.sim.checkGone(outcomes)
		}
		return err
	}, pushing)
}

func (p *ports) Intend(ctx context.Context, writes map[stocksync.ListingKey]stocksync.OpenWrite, recheckAt time.Time) error {
	for key, w := range writes {
		p.sim.intend(key, w)
	}
	return p.through("intend", func() error { return p.Store.Intend(ctx, writes, recheckAt) })
}

func (p *ports) MarkDue(ctx context.Context, keys []stocksync.ListingKey, at time.Time) error {
	return p.through("mark due", func() error { return p.Store.MarkDue(ctx, keys, at) }, pushing)
}

func (p *ports) FixForward(ctx context.Context, f stocksync.Forward) (newest bool, err error) {
	err = p.through("fix forward", func() error { newest, err = p.Store.FixForward(ctx, f); return err }, forwarding)
	return newest, err
}

func (p *ports) SaveForward(ctx context.Context, f stocksync.Forward, incidents []stocksync.Incident, events ...stocksync.NewEvent) error {
	return p.through("save forward", func() error { return p.Store.SaveForward(ctx, f, incidents, events...) }, forwarding, applying)
}

func (p *ports) SaveNotice(ctx context.Context, n stocksync.Notice, incidents []stocksync.Incident) error {
	return p.through("save notice", func() error { return p.Store.SaveNotice(ctx, n, incidents) }, noticing)
}

func (p *ports) SetBookmark(ctx context.Context, id stock.ConnectionID, feed, value string, acts ...stocksync.AuditEntry) error {
	delete(p.bookmarks, string(id)+" "+feed)
	return p.passing("set bookmark", func() error { return p.Store.SetBookmark(ctx, id, feed, value, acts...) })
}

func (p *ports) SetPause(ctx context.Context, id stock.ConnectionID, reason string, at time.Time, incident *stocksync.Incident, acts ...stocksync.AuditEntry) error {
	p.pauses = nil
	return p.through("set pause", func() error { return p.Store.SetPause(ctx, id, reason, at, incident, acts...) })
}

func (p *ports) DirtyConnection(ctx context.Context, id stock.ConnectionID) error {
	return p.through("dirty connection", func() error { return p.Store.DirtyConnection(ctx, id) })
}

func (p *ports) HoldPlan(ctx context.Context, plan stocksync.Plan) (id int64, err error) {
	err = p.through("hold plan", func() error { id, err = p.Store.HoldPlan(ctx, plan); return err })
	return id, err
}

func (p *ports) ImportMapping(ctx context.Context, table mapping.Table, at time.Time, acts ...stocksync.AuditEntry) (report stocksync.ImportReport, err error) {
	err = p.through("import mapping", func() error { report, err = p.Store.ImportMapping(ctx, table, at, acts...); return err })
	return report, err
}

func (p *ports) SaveItems(ctx context.Context, items []connectors.Item, at time.Time) error {
	return p.through("save items", func() error { return p.Store.SaveItems(ctx, items, at) })
}

func (p *ports) SaveListings(ctx context.Context, id stock.ConnectionID, listings []connectors.Listing) error {
	return p.through("save listings", func() error { return p.Store.SaveListings(ctx, id, listings) })
}

func (p *ports) SaveRun(ctx context.Context, r stocksync.Run) error {
	return p.through("save run", func() error { return p.Store.SaveRun(ctx, r) })
}

// storeFails decides about the next transaction.
func (s *sim) storeFails() bool {
	if s.healed || s.world.storeFails == 0 {
		return false
	}
	s.transactions++
	return s.dice("transaction", s.transactions).IntN(1000) < s.world.storeFails
}

// dawdle lets the next transaction take its time.
func (s *sim) dawdle() {
	if s.healed || !s.world.slow {
		return
	}
	s.dawdled++
	r := s.dice("slow", s.dawdled)
	wait := time.Duration(r.IntN(30)) * time.Millisecond
	if r.IntN(60) == 0 {
		wait = time.Duration(r.IntN(3000)) * time.Millisecond
	}
	time.Sleep(wait)
}

func compareText(a, b string) int { return strings.Compare(a, b) }

// transport is the way to a pretend system with everything that can happen on it.
func (s *sim) transport(host string, server http.Handler) http.RoundTripper {
	return wire{s, host, fake.Transport(server)}
}
