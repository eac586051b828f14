package simtest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// Two receivers of notices, a chat that takes each at once and a mailbox that takes what came in ten minutes together. Both
// fail: they cannot be reached, take a notice without saying so, or refuse it. People decide below which numbers they want to
// be told, and how far a number must rise again before they are told once more.

const (
	chat    = "chat"
	mailbox = "mailbox"
	// gathering is how long the mailbox gathers.
	gathering = 10 * time.Minute
)

// told is what a run remembers of what people are told.
type told struct {
	since time.Time // when the receivers were there
	down  map[string]int
	tries int
	// sending is the notice that a receiver is being told, done are those of which the engine has noted that it was.
	sending map[string]string
	done    map[string]bool
	// got are the notices that each receiver has, by their ids; a digest counts as what it holds.
	got map[string]map[string]connectors.Message
	// low are the articles that count as low, and falls every fall of which people must be told.
	low   map[string]*fall
	falls []*fall
	// doubtful are looks of which nobody knows whether the database kept them.
	doubtful []look
	held     [][]stocksync.Delivery
	until    time.Time // until when those that are held are ours
}

// fall is a number that fell below its threshold.
type fall struct {
	sku              string
	at               time.Time
	told             bool
	level, threshold int64 // as they were when it was told
}

// look is what the engine saw of an article when it planned.
type look struct {
	sku   string
	level int64
	known bool
	at    time.Time
}

// tells reports whether anybody is told anything in this run.
func (s *sim) tells() bool { return slices.Contains(s.faults, FaultNotices) }

// setUpNotices lets the receivers take notices from now on, and then says what is low.
func (s *sim) setUpNotices() {
	s.told = told{down: map[string]int{}, sending: map[string]string{}, done: map[string]bool{}, low: map[string]*fall{},
		got: map[string]map[string]connectors.Message{chat: {}, mailbox: {}}}
	var openings []map[string]any
	for from := time.Duration(0); from < day; from += gathering {
		to := s.world.epoch.Add(from + gathering).UTC().Format("15:04")
		if from+gathering == day {
			to = "24:00"
		}
		openings = append(openings, map[string]any{"weekday": int(s.world.epoch.UTC().Weekday()), "from": s.world.epoch.Add(from).UTC().Format("15:04"), "to": to})
	}
	s.decide(stocksync.NoticeChannelSetting, mailbox, map[string]any{"types": []string{stocksync.MessageLow}, "digest": "hours", "zone": "UTC", "openings": openings}, time.Time{}, func(time.Time) {
		s.decide(stocksync.NoticeChannelSetting, chat, map[string]any{}, time.Time{}, func(at time.Time) {
			s.told.since = at
			r := s.dice("alerts")
			for i, a := range s.world.plain() {
				if i >= 2 || r.IntN(2) == 0 {
					s.decideThreshold("sku:"+a.sku, int64(1+r.IntN(20)), int64(r.IntN(8)), false)
				}
			}
			s.decideThreshold("all", 0, int64(r.IntN(6)), r.IntN(2) == 0)
		}, true)
	}, true)
}

// decideThreshold says below which number people are told, and how far it must rise again. For all articles only the latter
// is said, and perhaps a time in which nobody wants to be told.
func (s *sim) decideThreshold(key string, threshold, rearm int64, quiet bool) {
	v := version{kind: "alert", key: key, fields: map[string]int64{}}
	value := map[string]any{}
	set := func(field string, n int64) { v.fields[field], value[field] = n, n }
	if key != "all" {
		set("threshold", threshold)
	}
	if rearm > 0 {
		set("rearm", rearm)
	}
	if quiet {
		from, to := s.quiet()
		v.fields["quiet"] = 1
		value["quiet_zone"], value["quiet_from"], value["quiet_to"] = "UTC", from.UTC().Format("15:04"), to.UTC().Format("15:04")
	}
	s.decide(stocksync.AlertSetting, key, value, time.Now(), func(at time.Time) {
		v.at = at
		s.ruled.versions = append(s.ruled.versions, v)
	}, true)
}

// quiet is the time in which nobody is told.
func (s *sim) quiet() (from, to time.Time) {
	r := s.dice("quiet")
	from = s.world.epoch.Add(time.Duration(3+r.IntN(20)) * time.Minute)
	return from, from.Add(time.Duration(3+r.IntN(20)) * time.Minute)
}

// actNotices is somebody who wants to be told of other numbers, or a receiver that fails for a while.
func (s *sim) actNotices(a Action) {
	if s.told.since.IsZero() {
		return
	}
	if a.A%2 == 0 {
		name := []string{chat, mailbox}[a.B%2]
		s.journal.note("%s cannot be reached for a while", name)
		s.told.down[name]++
		s.after(time.Duration(10+a.C%700)*time.Second, "receiver is back", func() { s.told.down[name]-- })
		return
	}
	plain := s.world.plain()
	key := "sku:" + plain[a.B%uint64(len(plain))].sku
	if a.C%6 == 0 {
		s.decide(stocksync.AlertSetting, key, nil, time.Now(), func(at time.Time) {
			s.ruled.versions = append(s.ruled.versions, version{kind: "alert", key: key, at: at, gone: true})
		}, true)
		return
	}
	s.decideThreshold(key, int64(1+a.C>>8%24), int64(a.C>>16%8), false)
}

// receivers bring notices to the receivers.
type receivers struct{ sim *sim }

// Targets implements stocksync.Notifier.
func (receivers) Targets() map[string]string { return map[string]string{chat: "chat", mailbox: "mail"} }

// Send implements stocksync.Notifier.
func (r receivers) Send(_ context.Context, target string, m connectors.Message) error {
	s := r.sim
	if err := s.port("before notice " + target); err != nil {
		return err
	}
	s.told.tries++
	s.told.sending[target] = m.ID
	if s.told.done[target+" "+m.ID] {
		s.violate("%s is told %s once more, of which it is noted that it was told: %s", target, m.ID, m.Title)
	}
	fate := s.dice("notice", s.told.tries).IntN(30)
	kind, arrives := connectors.ErrorKind(""), true
	switch {
	case s.healed:
	case s.told.down[target] > 0, fate < 4:
		kind, arrives = connectors.Retryable, false
	case fate < 7:
		kind = connectors.Uncertain
	case fate == 7:
		kind, arrives = connectors.Rejected, false
	}
	s.journal.note("notice %s to %s: %s %q arrives: %t", m.ID, target, m.Type, kind, arrives)
	if arrives {
		s.receive(target, m)
	}
	if err := s.port("after notice " + target); err != nil {
		return err
	}
	if kind != "" {
		return &connectors.Error{Kind: kind, Op: "tell", Code: "the receiver fails"}
	}
	return nil
}

// receive is what a receiver does with a notice: it knows each by its id.
func (s *sim) receive(target string, m connectors.Message) {
	if target == chat {
		s.told.got[chat][m.ID] = m
		return
	}
	var digest struct {
		Messages []struct {
			ID, Type string
			At       time.Time
			Data     json.RawMessage
		}
	}
	if err := json.Unmarshal(m.Data, &digest); err != nil || m.Type != stocksync.MessageDigest {
		s.violate("%s gets %s, which is no digest (%v)", target, m.Type, err)
		return
	}
	for _, e := range digest.Messages {
		if !e.At.Before(m.At) {
			s.violate("the digest until %s holds a notice of %s", m.At.Sub(s.start), e.At.Sub(s.start))
		}
		s.told.got[target][e.ID] = connectors.Message{ID: e.ID, Type: e.Type, At: e.At, Data: e.Data}
	}
}

// alertAt is what was decided about an article at an instant; without a threshold nobody is told of it.
func (s *sim) alertAt(sku string, at time.Time) (threshold, rearm int64, quiet, wanted bool) {
	own, ok := s.inForce("alert", "sku:"+sku, at)
	if !ok || own.gone {
		return 0, 0, false, false
	}
	all, _ := s.inForce("alert", "all", at)
	rearm, said := own.fields["rearm"]
	if !said {
		rearm = all.fields["rearm"]
	}
	if all.fields["quiet"] > 0 {
		from, to := s.quiet()
		quiet = !at.Before(from) && at.Before(to)
	}
	return own.fields["threshold"], rearm, quiet, true
}

// looked follows the number of an article that the engine has planned: what it must tell is decided here.
func (s *sim) looked(l look) {
	threshold, rearm, quiet, wanted := s.alertAt(l.sku, l.at)
	low := s.told.low[l.sku]
	switch {
	case !wanted:
		low = nil
	case !l.known:
		return
	case low == nil && l.level < threshold:
		low = &fall{sku: l.sku, at: l.at.UTC()}
	case low != nil && l.level >= threshold+rearm:
		low = nil
	}
	s.told.low[l.sku] = low
	if low != nil && !low.told && !quiet {
		low.told, low.level, low.threshold = true, l.level, threshold
		s.told.falls = append(s.told.falls, low)
		s.journal.note("%s has fallen to %d, below %d", l.sku, l.level, threshold)
	}
}

// looks are what a transaction that plans sees of the articles that people may be told of.
func (s *sim) looks(tx stocksync.PlanTx, skus []stock.SKU) ([]look, error) {
	var plain []stock.SKU
	for _, a := range s.world.plain() {
		if slices.Contains(skus, stock.SKU(a.sku)) {
			plain = append(plain, stock.SKU(a.sku))
		}
	}
	levels, err := tx.Levels(plain)
	if err != nil {
		return nil, err
	}
	statements, err := tx.Statements(plain)
	if err != nil {
		return nil, err
	}
	out := make([]look, len(plain))
	for i, sku := range plain {
		out[i].sku, out[i].at = string(sku), time.Now()
		for key, l := range levels {
			if key.SKU == sku {
				out[i].level += int64(l.Available)
			}
		}
		out[i].known = slices.ContainsFunc(statements, func(st stocksync.HeldStatement) bool { return st.SKU == sku })
	}
	return out, nil
}

// SpreadMessages implements stocksync.Outbox.
func (p *ports) SpreadMessages(ctx context.Context, limit int, fn func(stocksync.Settled, []stocksync.Message) ([]stocksync.Delivery, error)) (n int, err error) {
	if !p.sim.tells() {
		return p.Store.SpreadMessages(ctx, limit, fn)
	}
	err = p.passing("spread messages", func() error { n, err = p.Store.SpreadMessages(ctx, limit, fn); return err })
	return n, err
}

// ClaimDeliveries implements stocksync.Outbox. It hands out one receiver after the other, as if each had a process of its own:
// what several are told at once has no order.
func (p *ports) ClaimDeliveries(ctx context.Context, now, until time.Time, limit int) (claimed [][]stocksync.Delivery, next time.Time, err error) {
	t := &p.sim.told
	if !p.sim.tells() {
		return p.Store.ClaimDeliveries(ctx, now, until, limit)
	}
	if len(t.held) == 0 || !now.Before(t.until) {
		err = p.passing("claim deliveries", func() error { t.held, next, err = p.Store.ClaimDeliveries(ctx, now, until, limit); return err })
		if t.until = until; err != nil {
			t.held = nil
			return nil, next, err
		}
	}
	if len(t.held) > 0 {
		claimed, t.held = t.held[:1], t.held[1:]
	}
	return claimed, next, nil
}

// SaveDeliveries implements stocksync.Outbox.
func (p *ports) SaveDeliveries(ctx context.Context, deliveries []stocksync.Delivery, opened, closed []stocksync.Incident, at time.Time) error {
	save := func() error { return p.Store.SaveDeliveries(ctx, deliveries, opened, closed, at) }
	if !p.sim.tells() {
		return save()
	}
	return p.passing("save deliveries", func() error {
		err := save()
		if channel := deliveries[0].Channel; err == nil && !p.sim.power && slices.ContainsFunc(deliveries, func(d stocksync.Delivery) bool { return d.State == stocksync.DeliverySent }) {
			p.sim.told.done[channel+" "+p.sim.told.sending[channel]] = true
		}
		return err
	})
}

// planned follows what a transaction that planned has seen, once it is known whether the database kept it.
func (s *sim) planned(seen []look, err error) {
	switch {
	case s.power:
		s.told.doubtful = append(s.told.doubtful, seen...)
	case err == nil:
		for _, l := range seen {
			s.looked(l)
		}
	}
}

// settleDoubts finds out what the database kept of what was planned when the power failed.
func (s *sim) settleDoubts() {
	doubtful := s.told.doubtful
	s.told.doubtful = nil
	if len(doubtful) == 0 {
		return
	}
	open := s.openAlerts()
	for _, l := range doubtful {
		a, there := open["sku:"+l.sku]
		if low := s.told.low[l.sku]; there == (low != nil) && (!there || low.told == (a.Notices > 0)) {
			continue // as if it had not been planned, or as if it made no difference
		}
		s.looked(l)
	}
}

func (s *sim) openAlerts() map[string]stocksync.AlertView {
	open := map[string]stocksync.AlertView{}
	alerts, err := s.engine.Alerts(context.Background(), true, 0, 10_000)
	if err != nil {
		s.violate("list the alerts: %v", err)
	}
	for _, a := range alerts {
		open[a.Subject] = a
	}
	return open
}

// retryNotices is a person who sees that a receiver takes notices again.
func (s *sim) retryNotices() {
	for _, name := range []string{chat, mailbox} {
		given, err := s.engine.Notices(s.ctx, stocksync.NoticeQuery{Channel: name, State: stocksync.DeliveryGivenUp, Limit: 1})
		if err != nil || len(given) == 0 {
			continue
		}
		n, err := s.engine.RetryNotices(s.ctx, stocksync.Actor{Name: "operator"}, name)
		s.journal.note("notices to %s are tried again: %d %v", name, n, err)
		s.passSoon()
	}
}

// checkNotices demands that each fall was told once to each receiver, as every incident was to the one that takes them, and
// that nothing else was told.
func (s *sim) checkNotices() {
	if !s.tells() || s.told.since.IsZero() {
		return
	}
	open := s.openAlerts()
	if s.ruled.unsure {
		return // below which number people wanted to be told nobody knows for every instant
	}
	for sku, low := range s.told.low {
		if _, said := open["sku:"+sku]; said != (low != nil) {
			s.violate("%s counts as low: %t, must be %t", sku, said, low != nil)
		} else if said && !low.told {
			s.violate("%s is low since %s, and nobody has been told", sku, low.at.Sub(s.start))
		}
	}
	for _, name := range []string{chat, mailbox} {
		until := time.Now()
		if name == mailbox { // the rest is still gathered
			until = until.Add(-until.Sub(s.world.epoch) % gathering).Add(-time.Minute)
		}
		s.checkFalls(name, until)
	}
	s.checkTold()
}

func (s *sim) checkFalls(name string, until time.Time) {
	heard := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(s.told.got[name])) {
		m := s.told.got[name][id]
		var d struct {
			Subject          string
			Level, Threshold int64
			LowAt            time.Time `json:"low_at"`
		}
		if m.Type != stocksync.MessageLow {
			continue
		}
		if err := json.Unmarshal(m.Data, &d); err != nil {
			s.violate("notice %s: %v", id, err)
		}
		key := fmt.Sprintf("%s at %s: %d below %d", d.Subject, d.LowAt.Sub(s.start), d.Level, d.Threshold)
		heard[key] = append(heard[key], id)
	}
	for _, f := range s.told.falls {
		key := fmt.Sprintf("sku:%s at %s: %d below %d", f.sku, f.at.Sub(s.start), f.level, f.threshold)
		if ids := heard[key]; len(ids) > 1 || len(ids) == 0 && f.at.Before(until) {
			s.violate("%s was told %d times that %s, must be once: %s", name, len(ids), key, strings.Join(ids, " "))
		}
		delete(heard, key)
	}
	for _, key := range slices.Sorted(maps.Keys(heard)) {
		s.violate("%s was told that %s, and it did not fall then", name, key)
	}
}

// checkTold demands that the chat was told of every incident, and that it is over.
func (s *sim) checkTold() {
	heard := map[string]int{}
	for _, m := range s.told.got[chat] {
		var d struct{ Incident string }
		if strings.HasPrefix(m.Type, "incident.") && json.Unmarshal(m.Data, &d) == nil {
			heard[m.Type+" "+d.Incident]++
		}
	}
	incidents, err := s.engine.Incidents(context.Background(), false, 0, 10_000)
	if err != nil {
		s.violate("list the incidents: %v", err)
	}
	recent := func(at time.Time) bool { return time.Since(at) < time.Minute }
	for _, i := range incidents {
		if i.Kind == stocksync.IncidentNoticeFailed && i.Subject == chat || i.OpenedAt.Before(s.told.since) {
			continue
		}
		if n := heard[stocksync.MessageIncidentOpened+" "+i.ID]; n != 1 && !recent(i.OpenedAt) {
			s.violate("the chat was told %d times of incident %s, %s of %s", n, i.ID, i.Kind, i.Subject)
		}
		if n := heard[stocksync.MessageIncidentClosed+" "+i.ID]; i.ClosedAt != nil && n != 1 && !recent(*i.ClosedAt) {
			s.violate("the chat was told %d times that incident %s, %s of %s, is over", n, i.ID, i.Kind, i.Subject)
		}
	}
}
