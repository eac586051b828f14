package simtest

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	stocksync "github.com/truestock/truestock/sync"
)

// Where a write overwrites, a sale that the writer does not know is put back on the shelf. It is the sales between the
// last look at the orders and the write's taking effect that can be: the units of those are at risk, and no more may be
// oversold of an article that one such listing alone sells.

// flights remembers what was under way to the first shop.
type flights struct {
	looked time.Time            // when the orders were last asked for, and told
	sent   map[string]time.Time // of each write, by its id: what looked was when it was first sent
	raises map[string]bool      // writes that were raises when they were first sent, by their ids
	risky  map[string]bool      // lines of orders, by order and line
	// intended is what changes were made from, by their ids.
	intended map[string]reading
}

// intend notes from which reading a change is made.
func (s *sim) intend(key stocksync.ListingKey, w stocksync.OpenWrite) {
	if s.flights.intended == nil {
		s.flights.intended = map[string]reading{}
	}
	if r, told := s.readings[string(key.Connection)+" "+key.Item]; told {
		s.flights.intended[w.ID] = r
	}
}

// sending takes note of what leaves for the first shop.
func (s *sim) sending(host string, req *http.Request) error {
	if host != s.world.shops[0].name || s.crashed {
		return nil
	}
	switch req.URL.Path {
	case "/orders":
		if req.URL.Query().Get("cursor") == "" {
			s.flights.looked = time.Now()
		}
	case "/stock/write":
		body, err := io.ReadAll(req.Body)
		closeBody(req)
		if err != nil {
			return err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		var request open.WriteRequest
		if err := json.Unmarshal(body, &request); err != nil {
			return err
		}
		if s.flights.sent == nil {
			s.flights.sent, s.flights.raises, s.flights.risky = map[string]time.Time{}, map[string]bool{}, map[string]bool{}
		}
		for _, w := range request.Writes {
			if _, again := s.flights.sent[w.ID]; !again {
				s.flights.sent[w.ID] = s.flights.looked
				s.flights.raises[w.ID] = w.Quantity > s.readings[host+" "+w.Item].quantity
			}
		}
	}
	return nil
}

// landed notes the units that were ordered while a write was under way.
func (s *sim) landed(spec shopSpec, w fake.WriteRecord) {
	if spec.name != s.world.shops[0].name || w.Status != "ok" && w.Status != "accepted" {
		return
	}
	s.after(spec.feed+time.Second, "landed", func() {
		from, until := s.flights.sent[w.ID].Add(s.skew[spec.name]), w.At.Add(spec.feed)
		for _, o := range s.shops[spec.name].Orders() {
			for _, l := range o.Lines {
				for i, article := range s.world.articles[:2] {
					key := o.OrderID + " " + l.LineID
					if l.Item == w.Item && l.Item == s.world.listings[i].item && !s.flights.risky[key] && o.UpdatedAt.After(from.Add(-time.Second)) && !o.PlacedAt.After(until) {
						s.flights.risky[key] = true
						s.result.AtRisk += *l.Quantity * s.world.listings[i].parts[0].units
						s.journal.note("%d of %s were ordered while a write was under way", *l.Quantity, article.sku)
					}
				}
			}
		}
	})
}

// checkFlights holds what was oversold against what was at risk.
func (s *sim) checkFlights() {
	if s.result.OversoldRaw > s.result.AtRisk {
		s.violate("%d units are sold and not there of articles that one listing alone sells; only %d were ordered while a write was under way", s.result.OversoldRaw, s.result.AtRisk)
	}
}
