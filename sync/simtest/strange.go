package simtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// strange are the actions that have a stream of their own, with how many of each a history has at most.
var strange = []struct {
	kind, fault string
	most        int
}{
	{"swizzle", FaultSwizzle, 4}, {"rival", FaultRival, 4}, {"export", FaultExport, 6}, {"vanish", FaultVanish, 4},
	{"policy", FaultPolicies, 14}, {"cap", FaultWindows, 6}, {"buy_window", FaultWindows, 40}, {"campaign", FaultPools, 7}, {"campaign_change", FaultPools, 5},
	{"buy_pool", FaultPools, 40}, {"import_keys", FaultKeys, 6}, {"use_key", FaultKeys, 8}, {"buy_keys", FaultKeys, 30}, {"ratio", FaultRatio, 8},
	{"buy_ratio", FaultRatio, 40}, {"clear", FaultClearance, 5},
	{"unsubscribe", FaultSubscribe, 4}, {"absence", FaultHorizon, 3}, {"jump", FaultClock, 3}, {"set_clock", FaultClock, 3}, {"power", FaultPower, 6},
	{"twice", FaultTwice, 4}, {"overlap", FaultTwice, 4},
	{"capacity", FaultServices, 6}, {"buy_service", FaultServices, 40}, {"stop_sale", FaultStops, 10}, {"receiver", FaultNotices, 14},
}

// withStrange adds what has a stream of its own, so that the rest of a history is what it would be without it.
func withStrange(seed uint64, history []Action, faults []string, traffic time.Duration) []Action {
	for _, k := range strange {
		r := dice(seed, "strange", k.kind)
		n := r.IntN(k.most + 1)
		for range n {
			if slices.Contains(faults, k.fault) {
				history = append(history, Action{At: time.Duration(r.Int64N(int64(traffic))), Kind: k.kind, A: r.Uint64(), B: r.Uint64(), C: r.Uint64()})
			}
		}
	}
	slices.SortStableFunc(history, func(a, b Action) int { return int(a.At - b.At) })
	return history
}

// swizzle clogs every link, one after the other, and releases them in another order.
func (s *sim) swizzle(a Action) {
	var hosts []string
	for _, spec := range s.world.shops {
		hosts = append(hosts, spec.name)
	}
	hosts = append(hosts, recordName)
	r := s.dice("swizzle", a.A, a.B)
	gap := time.Duration(1+r.IntN(20)) * time.Second
	all := time.Duration(len(hosts)) * gap
	released := r.Perm(len(hosts))
	for i, clogged := range r.Perm(len(hosts)) {
		host, until := hosts[clogged], all+time.Duration(slices.Index(released, clogged)+1)*gap
		s.after(time.Duration(i)*gap, "clog", func() {
			if !s.healed {
				s.journal.note("%s is clogged", host)
				s.outages[host]++
			}
		})
		s.after(until, "release", func() {
			if s.outages[host] > 0 {
				s.journal.note("%s is released", host)
				s.outages[host]--
			}
		})
	}
}

// rival is another tool that writes a number of its own to a listing, a few times.
func (s *sim) rival(a Action) {
	i := s.someListing(a, func(int) bool { return true })
	l := s.world.listings[i]
	q := int64(a.C % 15)
	for n := range 1 + int(a.A%7) {
		s.after(time.Duration(n)*time.Duration(5+a.B%50)*time.Second, "rival", func() {
			if !s.healed {
				s.journal.note("another tool sets %s to %d", s.listingName(i), q)
				s.shops[s.world.shops[l.shop].name].SetQuantity(l.item, "", q)
			}
		})
	}
}

// vanish lets a shop not know a listing for a while.
func (s *sim) vanish(a Action) {
	i := s.someListing(a, func(int) bool { return true })
	name := s.listingName(i)
	s.journal.note("%s is not known for a while", name)
	s.hidden[name]++
	s.unseen[name] = true
	s.after(time.Duration(5+a.B%120)*time.Second, "reappear", func() {
		if s.hidden[name] > 0 {
			s.hidden[name]--
		}
	})
}

// looksBeforeGone is how often a listing must be looked for in vain before it may be given up.
const looksBeforeGone = 3

// checkGone (o1): a listing is given up only after several looks in vain.
func (s *sim) checkGone(outcomes []stocksync.PushOutcome) {
	for _, o := range outcomes {
		name := string(o.Connection) + " " + o.Ref.Item
		switch o.Status {
		case connectors.StatusActive:
			delete(s.gone, name)
		case connectors.StatusRemoved:
			if n := s.vain[name]; n < looksBeforeGone && !s.gone[name] {
				s.violate("%s is given up after %d looks in vain", name, n)
			}
			s.gone[name] = true
		}
	}
}

// through lets an answer pass that may be twisted on its way, and takes note of what it says.
func (w wire) through(req *http.Request, resp *http.Response) (*http.Response, error) {
	s := w.sim
	levels := w.host == recordName && req.URL.Path == "/levels"
	if resp.StatusCode != http.StatusOK || !levels && req.URL.Path != "/stock/read" {
		if w.host == recordName && resp.StatusCode == http.StatusOK && req.Method == http.MethodGet {
			s.heard = time.Now()
		}
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	if levels {
		body = s.twistLevels(body)
	} else {
		body = s.noteReadings(w.host, body)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return resp, nil
}

// twistLevels makes a bad export of a page of one, while there are bad ones to come. None of them tells a number that
// was not true at the instant that it names, so that nothing right depends on believing it.
func (s *sim) twistLevels(body []byte) []byte {
	var page open.LevelsPage
	if json.Unmarshal(body, &page) != nil {
		return body // broken already
	}
	tell := func() {
		for _, l := range page.Levels {
			s.say(l, page.AsOf)
		}
	}
	if s.healed || len(s.exports) == 0 {
		s.heard = time.Now()
		tell()
		if page.Next == nil && len(page.Levels) > 0 {
			s.oldExport = body
		}
		return body
	}
	kind := s.exports[0] % 10
	s.exports = s.exports[1:]
	s.journal.note("the export is bad in way %d", kind)
	encode := func() []byte {
		out, err := json.Marshal(page)
		if err != nil {
			s.violate("make a bad export: %v", err)
		}
		return out
	}
	switch kind {
	case 0: // nothing, and no count to show it
		page.Levels, page.Next, page.Count = []open.Level{}, nil, nil
		return encode()
	case 1: // nothing, called complete
		page.Levels, page.Next, page.Count = []open.Level{}, nil, new(int)
		return encode()
	case 2: // the first page only
		page.Next = nil
		tell()
		return encode()
	case 3: // null
		for i := range page.Levels {
			page.Levels[i].Quantity = nil
		}
		return encode()
	case 4: // words
		return bytes.ReplaceAll(body, []byte(`"quantity":`), []byte(`"quantity":"none","was":`))
	case 5: // a name twice
		return bytes.ReplaceAll(body, []byte(`"quantity":`), []byte(`"quantity":0,"quantity":`))
	case 6: // a second document
		return append(body, []byte(`{"levels":[],"next":null,"count":0}`)...)
	case 7: // cut off
		return body[:len(body)/2]
	case 8: // an export of earlier, once more
		if s.oldExport != nil {
			return s.oldExport
		}
		tell()
		return body
	default: // an article that nobody knows
		tell()
		page.Levels = append(page.Levels, open.Level{SKU: "NOBODY", Location: s.world.locations[0].ID, Quantity: new(int64)})
		return encode()
	}
}

// noteReadings remembers what the engine was told that a shop shows, and leaves out what the shop does not know now.
func (s *sim) noteReadings(host string, body []byte) []byte {
	var answer open.ReadAnswer
	if json.Unmarshal(body, &answer) != nil {
		return body // broken on its way
	}
	known := answer.Readings[:0]
	for _, r := range answer.Readings {
		if s.hidden[host+" "+r.Item] > 0 && !s.healed {
			s.vain[host+" "+r.Item]++
			continue
		}
		delete(s.vain, host+" "+r.Item)
		known = append(known, r)
		if r.Quantity != nil {
			s.readings[host+" "+r.Item] = reading{*r.Quantity, r.AsOf}
			if owed, ok := s.owed[host+" "+r.Item]; ok && !r.AsOf.Add(-s.skew[host]).Before(owed) {
				delete(s.owed, host+" "+r.Item)
			}
		}
	}
	if len(known) == len(answer.Readings) {
		return body
	}
	answer.Readings = known
	out, err := json.Marshal(answer)
	if err != nil {
		s.violate("leave a reading out: %v", err)
	}
	return out
}

// reading is what the engine was last told that a listing shows, and as of when.
type reading struct {
	quantity int64
	at       time.Time
}

// word is what the warehouse last said about an article at a place, and as of when.
type word struct {
	quantity int64
	at       time.Time
}

// say notes what the warehouse says about an article at a place.
func (s *sim) say(l open.Level, asOf *time.Time) {
	at := time.Now()
	if asOf != nil && asOf.Add(-s.skew[recordName]).Before(at) {
		at = asOf.Add(-s.skew[recordName])
	}
	key := l.SKU + " " + l.Location
	if l.Quantity == nil || at.Before(s.said[key].at) {
		return
	}
	s.said[key] = word{*l.Quantity, at}
}

// silence is for how long the warehouse has said nothing that carries the number of a listing. With positions any answer
// does, since its movements tell everything up to it; without, only a statement about the article does, and one of nothing
// carries nothing.
func (s *sim) silence(host, item string) (longest time.Duration) {
	if i, known := s.places[open.Ref{Item: item, Place: host}]; known {
		if rule := s.world.listings[i].rule; rule == ruleWindow || rule == ruleKeys || rule == ruleService {
			return 0 // what is sold so rests on nothing that the warehouse says
		}
	}
	if s.world.positions {
		return time.Since(s.heard)
	}
	for i, l := range s.world.listings {
		if s.world.shops[l.shop].name != host || l.item != item {
			continue
		}
		for _, part := range s.parts[i] {
			for _, place := range s.world.locations {
				if w := s.said[part.sku+" "+place.ID]; w.quantity > 0 {
					longest = max(longest, time.Since(w.at))
				}
			}
		}
	}
	return longest
}

// checkRaises (G5): a raise is written only with everything known that the shop had sold by the reading that it starts
// from, and on the word of a system of record that was heard of lately.
func (s *sim) checkRaises(host string, req *http.Request) error {
	body, err := io.ReadAll(req.Body)
	closeBody(req)
	if err != nil {
		return err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	var write open.WriteRequest
	if json.Unmarshal(body, &write) != nil || s.engine == nil {
		return nil
	}
	for _, w := range write.Writes {
		r, told := s.readings[host+" "+w.Item]
		if from, intended := s.flights.intended[w.ID]; intended {
			r = from // a change is of the reading from which it was made, also when it is sent later or again
		}
		if !told {
			s.violate("%s is told to show %d of %s, which nobody has read", host, w.Quantity, w.Item)
			continue
		}
		if w.Quantity <= r.quantity {
			continue
		}
		s.raises++
		s.checkListening(host, w)
		s.checkStopped(host, w, r)
		if silent := s.silence(host, w.Item); silent > staleStatement+time.Minute {
			s.violate("%s is raised from %d to %d for %s, and the warehouse has been silent for %s", host, r.quantity, w.Quantity, w.Item, silent)
		}
		s.checkKnown(host, w, r)
	}
	return nil
}

// checkKnown demands that the engine has every order that was placed by a reading.
func (s *sim) checkKnown(host string, w open.Write, r reading) {
	for _, o := range s.shops[host].Orders() {
		key := stocksync.OrderKey{Channel: stock.ConnectionID(host), OrderID: o.OrderID}
		if o.PlacedAt.After(r.at) || s.knownOrders[key] {
			continue
		}
		if v, err := s.engine.Order(context.Background(), key); err != nil || v.Version == 0 {
			s.violate("%s is raised from %d to %d for %s, and order %s of before that reading is not known (%v)", host, r.quantity, w.Quantity, w.Item, o.OrderID, err)
			continue
		}
		s.knownOrders[key] = true
	}
}

// owe notes that a write is on its way of which nobody will ever learn what became of it: its listings must be looked at
// once more when it can no longer arrive. A process that ends, or a database that does not take the note, forgets it.
func (s *sim) owe(host string, body []byte) {
	var write open.WriteRequest
	if json.Unmarshal(body, &write) != nil {
		return
	}
	for _, w := range write.Writes {
		s.owed[host+" "+w.Item] = time.Now().Add(requestLife)
		s.owedIDs[host+" "+w.ID] = host + " " + w.Item
	}
}

// repeats are the listings of which a request sends a write again that is still on its way. Where a shop knows writes by
// their ids, an answer to the second says what became of the first: it does nothing more.
func (s *sim) repeats(host string, req *http.Request) (listings []string, err error) {
	body, err := io.ReadAll(req.Body)
	closeBody(req)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	i := slices.IndexFunc(s.world.shops, func(spec shopSpec) bool { return spec.name == host })
	var write open.WriteRequest
	if i < 0 || !s.world.shops[i].caps.IdempotentWrite || json.Unmarshal(body, &write) != nil {
		return nil, nil
	}
	for _, w := range write.Writes {
		if listing, ok := s.owedIDs[host+" "+w.ID]; ok {
			listings = append(listings, listing)
		}
	}
	return listings, nil
}

// checkLooked (G4): what was written without an answer was looked at again when it could no longer arrive.
func (s *sim) checkLooked() {
	for _, name := range slices.Sorted(maps.Keys(s.owed)) {
		if host, _, _ := strings.Cut(name, " "); !s.dead[host] {
			s.violate("%s was written without an answer and not looked at since %s", name, s.owed[name].Sub(s.start))
		}
	}
}

// senders are how long a sender of webhooks goes on trying: one that never tries again, one that gives up within a minute
// and one that goes on for a quarter of an hour. The unnamed one goes on until all is healed.
var senders = [][]time.Duration{
	{},
	{5 * time.Second, 30 * time.Second},
	{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute, 5 * time.Minute},
}

// checkExplained (G10): the chain of every number leads without a gap from what was stated to what was read back, and
// agrees with sums that are made here.
func (s *sim) checkExplained() {
	free := s.free(s.known())
	for i, l := range s.world.listings {
		if s.dead[s.world.shops[l.shop].name] {
			continue
		}
		name := s.listingName(i)
		x, err := s.engine.Explain(context.Background(), s.key(i), time.Time{})
		if err != nil {
			s.violate("explain %s: %v", name, err)
			continue
		}
		if len(x.Components) != len(s.parts[i]) {
			s.violate("the chain of %s has %d components instead of %d", name, len(x.Components), len(s.parts[i]))
			continue
		}
		for _, c := range x.Components {
			s.checkComponent(name, c, free)
		}
		want := s.target(i, free)
		if n := len(x.Steps); n > 0 && int64(x.Steps[n-1].After) != want {
			s.violate("the steps of %s end at %d instead of %d", name, x.Steps[n-1].After, want)
		}
		v := x.Listing
		if v.Target == nil || v.Confirmed == nil || v.ConfirmedAt == nil || int64(*v.Target) != want || int64(*v.Confirmed) != want {
			s.violate("the chain of %s ends at target %s, confirmed %s, instead of %d", name, text((*int64)(v.Target)), text((*int64)(v.Confirmed)), want)
		}
		if len(x.Sentences) == 0 {
			s.violate("nothing is said about %s", name)
		}
	}
}

func (s *sim) checkComponent(name string, c stocksync.ComponentExplanation, free map[string]int64) {
	rule := s.world.ruleOf(string(c.SKU))
	if len(c.Statements) == 0 && rule != ruleService { // of a day of a service the warehouse knows nothing
		s.violate("the chain of %s begins at no statement about %s", name, c.SKU)
	}
	var stated, onHand, committed, promised, available int64
	for _, st := range c.Statements {
		stated += int64(st.Quantity)
	}
	for _, m := range c.Movements {
		stated += int64(m.Delta)
	}
	for _, l := range c.Levels {
		onHand += int64(l.OnHand)
		committed += int64(l.Committed)
		available += int64(l.Available)
		if l.Available != l.OnHand-l.Committed-l.Reserved-l.Unavailable {
			s.violate("the level of %s at %s, which %s rests on, does not add up: %+v", c.SKU, l.Location, name, l)
		}
	}
	for _, m := range c.Commitments {
		promised += int64(m.Quantity)
	}
	if onHand != stated {
		s.violate("%s rests on %d of %s on hand; statements and movements add up to %d", name, onHand, c.SKU, stated)
	}
	if committed != promised && len(c.Commitments) < 50 {
		s.violate("%s rests on %d of %s committed; the promises add up to %d", name, committed, c.SKU, promised)
	}
	if rule == ruleWindow || rule == ruleService {
		return // what is there does not decide what is sold of it
	}
	if int64(c.ATP) != available || available != free[string(c.SKU)] {
		s.violate("%s rests on %d of %s available; the levels add up to %d, and %d are free", name, c.ATP, c.SKU, available, free[string(c.SKU)])
	}
	for _, p := range c.Postings {
		if p.Event == "" {
			continue
		}
		var id int64
		if _, err := fmt.Sscan(p.Event, &id); err != nil {
			s.violate("posting %s names event %q", p.ID, p.Event)
			continue
		}
		if _, _, _, err := s.store.EventByID(context.Background(), id); err != nil {
			s.violate("posting %s of %s was caused by event %d: %v", p.ID, c.SKU, id, err)
		}
	}
}

// remember notes what an explanation says now, to ask for the same later.
func (s *sim) remember() {
	if s.ctx.Err() != nil {
		return // the process has ended amid this event, and nobody can ask it
	}
	i := s.samples % 2
	s.samples++
	x, err := s.engine.Explain(context.Background(), s.key(i), time.Time{})
	if err != nil {
		return // the listing is not known yet
	}
	p := past{listing: i, at: x.At, atp: map[stock.SKU]stock.Quantity{}}
	for _, c := range x.Components {
		p.atp[c.SKU] = c.ATP
	}
	s.pasts = append(s.pasts, p)
}

// past is what was available for a listing at an instant.
type past struct {
	listing int
	at      time.Time
	atp     map[stock.SKU]stock.Quantity
}

// checkPast (G10): what is explained about the past is what was explained then.
func (s *sim) checkPast() {
	for _, p := range s.pasts {
		x, err := s.engine.Explain(context.Background(), s.key(p.listing), p.at)
		if err != nil {
			s.violate("explain %s as of %s: %v", s.listingName(p.listing), p.at.Sub(s.start), err)
			continue
		}
		for _, c := range x.Components {
			if was, ok := p.atp[c.SKU]; ok && c.ATP != was {
				s.violate("%s rested on %d of %s available at %s, and now that is said to have been %d", s.listingName(p.listing), was, c.SKU, p.at.Sub(s.start), c.ATP)
			}
		}
	}
}

// compared (G12) demands that a reconciliation counts what really differs, neither more nor less.
func (s *sim) compared() {
	if s.engine == nil {
		return
	}
	differ := 0
	free := s.free(s.known())
	for i, l := range s.world.listings {
		name := s.world.shops[l.shop].name
		if s.dead[name] {
			continue
		}
		if got, _ := s.shops[name].Quantity(l.item, ""); got != s.target(i, free) {
			differ++
		}
	}
	began := time.Now()
	run := s.reconcile()
	if run.StartedAt.Before(began.Add(-time.Second)) {
		// It went on with one that was cut off, which counts only what it had left; what that heals now is in flight.
		s.after(time.Minute, "compare", s.compared)
		return
	}
	if run.ID == "" || len(s.dead) > 0 {
		return
	}
	if int(run.Drifted) != differ {
		s.violate("%d listings show something else than they must, the reconciliation counts %d: %+v", differ, run.Drifted, run.Drifts)
	}
}

// checkAlarms (G12): what people are told is so, and nothing that is so is kept from them.
func (s *sim) checkAlarms() {
	open := map[string]bool{}
	incidents, err := s.engine.Incidents(context.Background(), true, 0, 1000)
	if err != nil {
		s.violate("list the incidents: %v", err)
		return
	}
	for _, i := range incidents {
		open[i.Kind+" "+i.Subject] = true
	}
	for _, a := range s.world.articles {
		v, err := s.engine.Item(context.Background(), stock.SKU(a.sku))
		if err != nil {
			continue // told elsewhere
		}
		if a.rule == ruleWindow || a.rule == ruleService {
			continue
		}
		if short, said := v.Available < 0, open[stocksync.IncidentOversell+" "+a.sku]; short != said {
			s.violate("%d of %s are available; an incident about overselling is open: %t", v.Available, a.sku, said)
		}
	}
	s.checkResources(open)
	connections, err := s.engine.Connections(context.Background())
	if err != nil {
		s.violate("list the connections: %v", err)
		return
	}
	for _, c := range connections {
		if c.Paused == "" && open[stocksync.IncidentPaused+" "+string(c.Name)] {
			s.violate("an incident says that %s is paused, and it is not", c.Name)
		}
	}
}
