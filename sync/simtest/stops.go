package simtest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	stocksync "github.com/truestock/truestock/sync"
)

// A person stops the sale of a SKU, a listing, a channel or everything at any instant, at once or for later, and mostly starts
// it again.

// stopSale stops the sale of something, and plans when it goes on.
func (s *sim) stopSale(a Action) {
	r := s.dice("stop", a.A, a.B, a.C)
	spec := s.world.shops[a.A%uint64(len(s.world.shops))]
	l := s.world.listings[a.B%uint64(len(s.world.listings))]
	key := ""
	switch r.IntN(6) {
	case 0:
		key = "all"
	case 1:
		key = "channel:" + spec.name
	case 2, 3:
		key = "sku:" + s.world.articles[a.B%uint64(len(s.world.articles))].sku
	default:
		key = "listing:" + s.world.shops[l.shop].name + ":" + l.item
	}
	at := time.Now()
	if r.IntN(3) == 0 {
		at = at.Add(time.Duration(1+r.IntN(240)) * time.Second)
	}
	long := time.Duration(10+r.IntN(600)) * time.Second
	goesOn := r.IntN(5) > 0
	s.decide(stocksync.StopSaleSetting, key, map[string]any{"note": "a person said so"}, at, func(at time.Time) {
		s.ruled.versions = append(s.ruled.versions, version{kind: "stop_sale", key: key, at: at})
		if goesOn {
			s.after(max(0, time.Until(at))+long, "start sale", func() { s.startSale(key) })
		}
	}, true)
}

func (s *sim) startSale(key string) {
	s.decide(stocksync.StopSaleSetting, key, nil, time.Now(), func(at time.Time) {
		s.ruled.versions = append(s.ruled.versions, version{kind: "stop_sale", key: key, at: at, gone: true})
	}, true)
}

// stopKeys are what names a listing in a word to stop.
func (s *sim) stopKeys(i int) []string {
	l := s.world.listings[i]
	shop := s.world.shops[l.shop].name
	keys := []string{"all", "channel:" + shop, "listing:" + shop + ":" + l.item}
	for _, p := range s.parts[i] {
		article, _, _ := strings.Cut(p.sku, "@")
		keys = append(keys, "sku:"+p.sku, "sku:"+article)
	}
	return keys
}

// stoppedAt reports whether somebody had said at an instant that a listing is not sold, and since when.
func (s *sim) stoppedAt(i int, at time.Time) (since time.Time, stopped bool) {
	for _, key := range s.stopKeys(i) {
		if v, ok := s.inForce("stop_sale", key, at); ok && !v.gone && (!stopped || v.at.Before(since)) {
			since, stopped = v.at, true
		}
	}
	return since, stopped
}

// stoppedLately reports whether somebody had said within the time that a number may be on its way that a listing is not sold.
func (s *sim) stoppedLately(i int) bool {
	now := time.Now()
	keys := s.stopKeys(i)
	_, before := s.stoppedAt(i, now.Add(-remembering))
	return before || slices.ContainsFunc(s.ruled.versions, func(v version) bool {
		return v.kind == "stop_sale" && slices.Contains(keys, v.key) && !v.at.After(now) && v.at.After(now.Add(-remembering))
	})
}

// silenced reports whether a listing has been stopped since before the engine last began to work off everything.
func (s *sim) silenced(i int) bool {
	since, stopped := s.stoppedAt(i, time.Now())
	return stopped && !s.worked.IsZero() && since.Before(s.worked) && !s.ruled.unsure
}

// checkStopped demands that nothing is raised whose sale is stopped, once the engine has worked off everything since.
func (s *sim) checkStopped(host string, w open.Write, r reading) {
	i, known := s.places[open.Ref{Item: w.Item, Place: host}]
	if !known || s.world.shops[s.world.listings[i].shop].caps.QuantityMeans == fake.MeansGross {
		return
	}
	if since, _ := s.stoppedAt(i, time.Now()); s.silenced(i) {
		s.violate("%s is raised from %d to %d for %s, whose sale is stopped since %s", host, r.quantity, w.Quantity, w.Item, since.Sub(s.start))
	}
}

// watchStops demands that what is stopped is planned to show 0, once the engine has worked off everything since.
func (s *sim) watchStops() {
	if s.engine == nil || s.ctx.Err() != nil || !slices.Contains(s.faults, FaultStops) {
		return
	}
	for i, l := range s.world.listings {
		if !s.mapped[i] || !s.silenced(i) || s.world.shops[l.shop].caps.QuantityMeans == fake.MeansGross {
			continue
		}
		v, err := s.engine.Listing(context.Background(), s.key(i))
		if err == nil && v.Target != nil && *v.Target != 0 {
			since, _ := s.stoppedAt(i, time.Now())
			s.violate("%s is to show %d, and its sale is stopped since %s", s.listingName(i), *v.Target, since.Sub(s.start))
		}
	}
}
