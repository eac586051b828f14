package simtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/open"
	stocksync "github.com/truestock/truestock/sync"
)

const (
	// shortHorizon is for how long senders of webhooks try where a world lets them give up early; half of it unheard means
	// catching up, but never less than three polls.
	shortHorizon = 4 * time.Minute
	longestGap   = 3 * pollEvery
	// overlap is how far before the last look a catch-up must begin.
	overlap = 10 * time.Minute
	// mostSkew is by how much a clock may be wrong: webhooks are taken within five minutes of our clock.
	mostSkew = 4 * time.Minute
	// tendEvery is how often subscriptions are looked after.
	tendEvery = 10 * time.Minute
)

// actFaulty lets a fault happen that has a stream of its own.
func (s *sim) actFaulty(a Action) bool {
	switch a.Kind {
	case "unsubscribe":
		spec := s.world.shops[a.A%uint64(len(s.world.shops))]
		s.journal.note("%s drops the subscription", spec.name)
		s.shops[spec.name].DropSubscriptions()
		for i, l := range s.world.listings { // what is edited there is not told any more
			if s.world.shops[l.shop].name == spec.name {
				s.unseen[s.listingName(i)] = true
			}
		}
	case "absence":
		host := s.host(a.A)
		s.journal.note("%s is not reached for longer than senders of webhooks try", host)
		s.outages[host]++
		s.after(time.Duration(4*60+a.B%300)*time.Second, "outage ends", func() {
			if s.outages[host] > 0 {
				s.outages[host]--
			}
		})
	case "jump":
		s.jump(a)
	case "set_clock":
		s.setClock(a)
	case "power":
		if s.disk != nil && s.engine != nil {
			n := 1 + int(a.B%40)
			s.journal.note("the power fails at write %d", n)
			s.disk.arm(n, s.dice("power", a.A, a.B), func() { s.crashed, s.power = true, true; s.cancel() })
		}
	case "twice":
		s.reconcile()
		s.reconcile()
		s.rehearse()
	case "overlap":
		s.overlap = true
		s.reconcile()
		s.overlap = false
	default:
		return false
	}
	return true
}

// hook is where a shop is to send its webhooks; where none can be subscribed to, nobody says it.
func (s *sim) hook(name string) string {
	if !slices.Contains(s.faults, FaultSubscribe) || name == recordName {
		return ""
	}
	return "http://truestock/" + name
}

// tend looks after subscriptions, as a process does at its start and every hour; here it is more often.
func (s *sim) tend() {
	s.after(tendEvery, "tend", s.tend)
	if s.engine == nil {
		return
	}
	s.journal.note("subscriptions are looked after")
	s.engine.Tend(s.ctx)
	s.passSoon()
}

// overlapping asks for a reconciliation amid another one, which must be refused.
func (s *sim) overlapping() {
	if !s.overlap || !s.comparing {
		return
	}
	s.overlap = false
	_, err := s.engine.StartReconcile(s.ctx, "simulation", false)
	s.journal.note("another reconciliation amid one: %v", err)
	if !errors.Is(err, stocksync.ErrInvalid) {
		s.violate("a reconciliation began amid another one (%v)", err)
	}
}

// rehearse demands that a dry run writes nothing.
func (s *sim) rehearse() {
	if s.engine == nil || s.ctx.Err() != nil {
		return
	}
	before := s.writeCounts()
	_, err := s.engine.Reconcile(s.ctx, "rehearsal", true)
	s.journal.note("rehearsed reconciliation: %v", err)
	for name, n := range s.writeCounts() {
		if n != before[name] {
			s.violate("a dry run wrote to %s", name)
		}
	}
}

// --- clocks ---------------------------------------------------------------------------------------------------------

// synced are the systems whose clock must be right: where a window or a campaign begins at an instant, the clock of the shop
// decides what is sold before it, and no other can.
func (s *sim) synced(host string) bool {
	return slices.ContainsFunc(s.world.listings, func(l listingSpec) bool {
		return (l.rule == ruleWindow || l.rule == rulePool || l.rule == ruleService) && s.world.shops[l.shop].name == host
	})
}

// misset makes about half of the clocks wrong from the beginning.
func (s *sim) misset(host string) {
	r := s.dice("clock", host)
	wrong, by := r.IntN(2) == 0, time.Duration(r.Int64N(int64(2*mostSkew)))-mostSkew
	if s.world.clocks && wrong && !s.synced(host) {
		s.turn(host, by.Truncate(time.Millisecond))
	}
}

// turn sets the clock of a system.
func (s *sim) turn(host string, ahead time.Duration) {
	s.skew[host] = ahead
	if host == recordName {
		s.warehouse.SetClock(ahead)
		return
	}
	s.shops[host].SetClock(ahead)
}

// setClock corrects the clock of a system, forwards: an instant that a system has given out never comes again.
func (s *sim) setClock(a Action) {
	host := s.host(a.A)
	by := time.Duration(1+a.B%240) * time.Second
	if s.synced(host) || s.skew[host]+by > mostSkew {
		return
	}
	s.journal.note("the clock of %s is put forward by %s", host, by)
	s.turn(host, s.skew[host]+by)
}

// jump sets our clock. The pretended clock never goes back, and everything shares it: so ours is put forward by letting the
// time pass without anything happening, while the other clocks are put back by as much; and ours is put back by putting the
// other clocks forward. What a clock that goes back does to instants that we have noted ourselves is not seen this way.
func (s *sim) jump(a Action) {
	by := time.Duration(1+a.B%150) * time.Second
	back := a.A%2 == 0
	for _, host := range s.world.hosts() {
		if ahead := s.skew[host]; s.synced(host) || back && ahead+by > mostSkew || !back && ahead-by < -mostSkew {
			return
		}
	}
	if back {
		s.journal.note("our clock is put back by %s", by)
		for _, host := range s.world.hosts() {
			s.turn(host, s.skew[host]+by)
		}
		return
	}
	s.journal.note("our clock is put forward by %s", by)
	time.Sleep(by)
	s.start = s.start.Add(by)
	for i := range s.events {
		s.events[i].at = s.events[i].at.Add(by)
	}
	for _, host := range s.world.hosts() {
		s.turn(host, s.skew[host]-by)
	}
	// A request that is on its way may now arrive after everything that we wait for.
	for name := range s.owed {
		s.unseen[name] = true
	}
	clear(s.owed)
}

// --- catching up ----------------------------------------------------------------------------------------------------

// listening is what a shop has told of its orders.
type listening struct {
	since         time.Time // from which change on it was asked, by its clock
	began, theirs time.Time // when, by our clock and by its
	complete, end time.Time // when a list was last told to its end
	gap, last     time.Time // when that was before it was not for too long; zero where it was not
	pass          time.Time // when a list began since then that begins early enough, by its clock
}

// listened takes note of a list of orders.
func (s *sim) listened(host string, req *http.Request, resp *http.Response, failed error) {
	if !slices.Contains(s.faults, FaultHorizon) || req.URL.Path != "/orders" || req.Method != http.MethodGet || host == recordName {
		return
	}
	l := s.listens[host]
	if l == nil {
		l = &listening{}
		s.listens[host] = l
	}
	query := req.URL.Query()
	if query.Get("cursor") == "" {
		l.since, _ = time.Parse(time.RFC3339Nano, query.Get("updated_since")) // none: from the beginning
		l.began, l.theirs = time.Now(), time.Now().Add(s.skew[host])
	}
	if failed != nil || resp.StatusCode != http.StatusOK {
		return
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var page open.OrdersPage
	if err != nil || json.Unmarshal(body, &page) != nil || page.Next != nil {
		return
	}
	if !l.complete.IsZero() && l.gap.IsZero() && l.began.Sub(l.complete) > s.tooLong(host) {
		l.gap, l.last, l.pass = l.complete, l.end, time.Time{}
	}
	early := func(before time.Time) bool { return !l.since.After(before.Add(2*time.Second - overlap)) }
	switch {
	case l.gap.IsZero():
	case l.since.IsZero(): // nothing of before was kept, so all is told from the beginning, as on the first day
		l.gap = time.Time{}
	case l.pass.IsZero() && early(l.last):
		l.pass = l.theirs
	case !l.pass.IsZero() && early(l.pass):
		l.gap = time.Time{}
	}
	l.complete, l.end = time.Now(), time.Now().Add(s.skew[host])
}

// tooLong is how long a shop may go unheard at most, with what nobody can tell: a clock that is wrong, and the time that
// passes between the end of a list and its note.
func (s *sim) tooLong(host string) time.Duration {
	return longestGap + s.skew[host].Abs() + time.Minute
}

// checkListening (p2): nothing is raised at a shop that was not heard for so long that its webhooks may be lost, before its
// orders were fetched from well before that on, until nothing new was found.
func (s *sim) checkListening(host string, w open.Write) {
	l := s.listens[host]
	if !slices.Contains(s.faults, FaultHorizon) || l == nil || len(s.skew) > 0 && s.healed {
		return
	}
	switch silent := time.Since(l.complete); {
	case silent > s.tooLong(host):
		s.violate("%s is raised to %d for %s, and has not told its orders for %s", host, w.Quantity, w.Item, silent)
	case !l.gap.IsZero():
		s.violate("%s is raised to %d for %s, and its orders since %s were not fetched again", host, w.Quantity, w.Item, l.gap.Sub(s.start))
	}
}

// checkSubscribed demands that what was dropped is subscribed to again.
func (s *sim) checkSubscribed() {
	if !slices.Contains(s.faults, FaultSubscribe) {
		return
	}
	for _, spec := range s.world.shops {
		if made := s.shops[spec.name].Subscriptions(); len(made) != 1 && !s.dead[spec.name] {
			s.violate("%s has %d subscriptions, must have 1", spec.name, len(made))
		}
	}
	open, err := s.engine.Incidents(context.Background(), true, 0, 1000)
	if err != nil {
		s.violate("list the incidents: %v", err)
	}
	for _, i := range open {
		if i.Kind == stocksync.IncidentSubscription && !s.dead[i.Subject] {
			s.violate("an incident says that %s has no subscription, and it has: %s", i.Subject, i.Message)
		}
	}
}
