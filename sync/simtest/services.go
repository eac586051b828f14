package simtest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// Two services are sold by days ahead. Both take of one crew, and one of them of a van as well; their days begin at
// different hours, so each day of one shares the crew with two of the other. Of a day nothing is sold any more from so many
// minutes before it on, which falls into the traffic. One listing stands for one day by its name, the others for the next
// day that is for sale.

// The services, and what they are made of.
const (
	visitSKU  = "VISIT"
	surveySKU = "SURVEY"
	crew      = "crew"
	van       = "van"

	day = 24 * time.Hour
	// serviceZone has a clock that is half an hour off.
	serviceZone, zoneAhead = "Asia/Kolkata", 5*time.Hour + 30*time.Minute
)

// serviceSpec is a service as the people who sell it know it.
type serviceSpec struct {
	sku    string
	begins time.Duration // when its days begin, after the beginning of the run
	lead   time.Duration // how long before its beginning a day is closed
	needs  map[string]int64
}

// withServices adds the services and their listings: those of the first in the first shop, that of the second in the last.
func (w *world) withServices(seed uint64) {
	r := dice(seed, "services")
	visit := serviceSpec{sku: visitSKU, needs: map[string]int64{crew: int64(1 + r.IntN(2)), van: 1}}
	visit.lead = day - time.Duration(4+r.IntN(32))*time.Minute
	survey := serviceSpec{sku: surveySKU, begins: 12 * time.Hour, needs: map[string]int64{crew: 1}}
	closes := time.Duration(4+r.IntN(60)) * time.Minute
	if healed := defaultTraffic + time.Minute; closes == healed+calming || closes == healed+calming+5*time.Minute {
		closes -= time.Minute // at that very instant everything is looked at
	}
	survey.lead = 12*time.Hour - closes
	w.services = []serviceSpec{visit, survey}
	for _, spec := range w.services {
		// What no warehouse counts can still be sent by one: there is always enough of it.
		a := article{sku: spec.sku, rule: ruleService, opening: make([]int64, len(w.locations))}
		a.opening[0] = 100_000
		w.articles = append(w.articles, a)
	}
	add := func(shop int, item, sku string) {
		w.listings = append(w.listings, listingSpec{shop: shop, item: item, parts: []partSpec{{sku, 1}}, late: true, guarded: true, rule: ruleService})
	}
	add(0, "visit", visitSKU)
	add(0, "visit-day", windowSKU(visit, w.epoch.Add(day)))
	add(len(w.shops)-1, "survey", surveySKU)
}

// windowSKU is the name of one day of a service, by the clock of its zone.
func windowSKU(spec serviceSpec, start time.Time) string {
	return spec.sku + "@" + start.UTC().Add(zoneAhead).Format("2006-01-02T15:04")
}

// recordSKU is what the warehouse calls a SKU: it knows a service, and none of its days.
func recordSKU(sku string) string {
	name, _, _ := strings.Cut(sku, "@")
	return name
}

// clock is a time of the day in the zone of the services.
func (w *world) clock(after time.Duration) string {
	return w.epoch.UTC().Add(after + zoneAhead).Format("15:04")
}

// setUpServices decides what the crew and the van can do, and then what is sold of them.
func (s *sim) setUpServices() {
	sell := func(time.Time) {
		for i, l := range s.world.listings {
			if l.rule == ruleService {
				s.link(i)
			}
		}
	}
	define := func(spec serviceSpec, then func(time.Time)) {
		s.decide(stocksync.ArticleSetting, spec.sku, s.serviceSetting(spec), time.Time{}, then, true)
	}
	r := s.dice("services", "capacity")
	s.decideCapacity(crew, int64(4+r.IntN(20)), 0, time.Time{}, func(time.Time) {
		s.decideCapacity(van, int64(2+r.IntN(12)), 0, time.Time{}, func(time.Time) {
			define(s.world.services[0], func(time.Time) { define(s.world.services[1], sell) })
		})
	})
}

func (s *sim) serviceSetting(spec serviceSpec) map[string]any {
	var needs []map[string]any
	for _, name := range []string{crew, van} {
		if n := spec.needs[name]; n > 0 {
			needs = append(needs, map[string]any{"resource": name, "units": n})
		}
	}
	return map[string]any{"kind": "service", "period": "daily", "zone": serviceZone, "begins": s.world.clock(spec.begins), "windows_ahead": 1,
		"cutoff_minutes": int(spec.lead / time.Minute), "needs": needs}
}

// decideCapacity says how many of a resource there are every day, and how many of them are away for some hours of tomorrow.
func (s *sim) decideCapacity(name string, units, away int64, at time.Time, then func(at time.Time)) {
	begins := 6 * time.Hour
	if name == crew {
		begins = 0
	}
	value := map[string]any{"zone": serviceZone, "period": "daily", "begins": s.world.clock(begins), "capacity": units}
	if start, end := s.away(); away > 0 {
		value["away"] = []map[string]any{{"start": start, "end": end, "units": away}}
	}
	v := version{kind: "resource", key: name, fields: map[string]int64{"capacity": units, "away": away}}
	s.decide(stocksync.ResourceSetting, name, value, at, func(at time.Time) {
		v.at = at
		s.ruled.versions = append(s.ruled.versions, v)
		if then != nil {
			then(at)
		}
	}, true)
}

// away is when those are away who are.
func (s *sim) away() (start, end time.Time) {
	return s.world.epoch.Add(day + 6*time.Hour).UTC(), s.world.epoch.Add(day + 16*time.Hour).UTC()
}

// changeCapacity is somebody who hires, or falls ill, at once or later.
func (s *sim) changeCapacity(a Action) {
	name := []string{crew, crew, van}[a.A%3]
	s.decideCapacity(name, int64(1+a.B%24), int64(a.B>>8%4/2*(a.B>>16%3)), time.Now().Add(time.Duration(a.C%4)*time.Duration(a.C>>8%150)*time.Second), nil)
}

// booking is what is taken of a resource from one instant up to another.
type booking struct {
	resource   string
	start, end time.Time
	units      int64
}

// serviceOf is the service that a SKU belongs to, and the day that it names; zero: the next one.
func (w *world) serviceOf(sku string) (spec serviceSpec, start time.Time) {
	spec = w.services[slices.IndexFunc(w.services, func(other serviceSpec) bool { return other.sku == recordSKU(sku) })]
	if sku != spec.sku {
		start = w.epoch.Add(day)
	}
	return spec, start
}

// next is the first day of a service that is for sale at an instant.
func (w *world) next(spec serviceSpec, at time.Time) time.Time {
	start := w.epoch.Add(spec.begins)
	for !at.Before(start.Add(-spec.lead)) {
		start = start.Add(day)
	}
	return start
}

// booked is what the orders take that fit. One for a day takes of that day, also when it came too late for it; one for the
// next day takes of the first that was for sale when it was placed.
func (s *sim) booked(fits func(shop string, placed time.Time, key stocksync.OrderKey) bool) (out []booking) {
	for _, l := range s.world.listings {
		if l.rule != ruleService {
			continue
		}
		shop := s.world.shops[l.shop].name
		spec, fixed := s.world.serviceOf(l.parts[0].sku)
		for _, o := range s.shops[shop].Orders() {
			if !fits(shop, o.PlacedAt, stocksync.OrderKey{Channel: stock.ConnectionID(shop), OrderID: o.OrderID}) {
				continue
			}
			start := fixed
			if start.IsZero() {
				start = s.world.next(spec, o.PlacedAt)
			}
			for _, line := range o.Lines {
				units := *line.Quantity - *line.Cancelled
				if line.Item != l.item || units <= 0 {
					continue
				}
				for name, each := range spec.needs {
					out = append(out, booking{name, start, start.Add(day), units * each})
				}
			}
		}
	}
	return out
}

// spare is the least that is left of a resource at any instant of a span; below zero where more is booked than there is.
func (s *sim) spare(name string, start, end time.Time, taken []booking, capacity, away int64) int64 {
	from, until := s.away()
	taken = append(slices.Clone(taken), booking{name, from, until, away})
	instants := []time.Time{start}
	for _, b := range taken { // it becomes less only where something begins
		if b.start.After(start) && b.start.Before(end) {
			instants = append(instants, b.start)
		}
	}
	least := capacity
	for _, at := range instants {
		left := capacity
		for _, b := range taken {
			if b.resource == name && !b.start.After(at) && b.end.After(at) {
				left -= b.units
			}
		}
		least = min(least, left)
	}
	return least
}

// slots is how often a service, or its day, can still be sold at an instant, with so much taken, and by what was decided most
// generously since another.
func (s *sim) slots(sku string, at, since time.Time, taken []booking) int64 {
	spec, start := s.world.serviceOf(sku)
	if start.IsZero() {
		start = s.world.next(spec, at)
	} else if !at.Before(start.Add(-spec.lead)) {
		return 0
	}
	least := int64(1 << 40)
	for name, each := range spec.needs {
		most := int64(0)
		held, _ := s.inForce("resource", name, since)
		for _, v := range append(slices.Clone(s.ruled.versions), held) {
			if v.kind == "resource" && v.key == name && (v.at.Equal(held.at) || v.at.After(since) && !v.at.After(at)) {
				most = max(most, s.spare(name, start, start.Add(day), taken, v.fields["capacity"], v.fields["away"]))
			}
		}
		least = min(least, most/each)
	}
	return least
}

// slotsNow is how often a service can be sold now.
func (s *sim) slotsNow(sku string) int64 {
	now, known := time.Now(), s.known()
	return s.slots(sku, now, now, s.booked(func(_ string, _ time.Time, key stocksync.OrderKey) bool { return known == nil || known(key) }))
}

// remembering is how long a number of earlier may be on its way.
const remembering = 3 * time.Minute

// checkSlots demands of a number that is raised for a service that it is not above what every order leaves that the shop had
// taken a while ago: before a raise its orders are fetched.
func (s *sim) checkSlots(spec shopSpec, w fake.WriteRecord) {
	now := time.Now()
	i := slices.IndexFunc(s.world.listings, func(l listingSpec) bool {
		return l.rule == ruleService && l.item == w.Item && s.world.shops[l.shop].name == spec.name
	})
	if i < 0 || !spec.caps.ConditionalWrite || w.Status != "ok" || w.After <= w.Before || s.ruled.unsure || now.Sub(s.startedAt) < remembering {
		return
	}
	sku := s.world.listings[i].parts[0].sku
	service, _ := s.world.serviceOf(sku)
	if !s.world.next(service, now).Equal(s.world.next(service, now.Add(-remembering))) {
		return // the day was closed a moment ago
	}
	taken := s.booked(func(shop string, placed time.Time, _ stocksync.OrderKey) bool {
		return shop == spec.name && placed.Before(now.Add(-remembering))
	})
	if most := s.slots(sku, now, now.Add(-remembering), taken); w.After > most {
		s.violate("%s is raised to %d, and of %s no more than %d can be sold", w.Item, w.After, sku, most)
	}
}

// checkResources demands that people are told of a resource of which more is booked than there is, and only of such.
func (s *sim) checkResources(open map[string]bool) {
	if len(s.world.services) == 0 || len(s.dead) > 0 {
		return
	}
	now := time.Now()
	taken := s.booked(func(string, time.Time, stocksync.OrderKey) bool { return true })
	for _, name := range []string{crew, van} {
		v, decided := s.inForce("resource", name, now)
		missing := int64(0)
		for _, b := range taken {
			if b.resource == name && b.end.After(now) {
				missing = max(missing, -s.spare(name, b.start, b.end, taken, v.fields["capacity"], v.fields["away"]))
			}
		}
		if said := open[stocksync.IncidentOverbooked+" resource "+name]; decided && said != (missing > 0) {
			s.violate("%d more of %s are booked than there are; an incident says so: %t", missing, name, said)
		}
	}
}

// tellServices lets another engine know what is sold of which resources.
func (s *sim) tellServices(ctx context.Context, engine *stocksync.Engine) error {
	for _, kept := range []stocksync.SettingKind{stocksync.ResourceSetting, stocksync.ArticleSetting} {
		views, err := s.engine.Settings(ctx, kept, "", 1000)
		if err != nil {
			return err
		}
		for _, v := range views {
			if kept == stocksync.ArticleSetting && s.world.ruleOf(v.Key) != ruleService {
				continue
			}
			if _, err := engine.ChangeSettings(ctx, stocksync.Actor{Name: "operator"}, []stocksync.SettingChange{{Kind: kept, Key: v.Key, Value: v.Value}}); err != nil {
				return err
			}
		}
	}
	return nil
}
