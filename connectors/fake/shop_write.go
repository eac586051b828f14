package fake

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors/open"
)

// WriteRecord is one line of a write that a shop received, whatever became of it.
type WriteRecord struct {
	// At is the instant by the shop's clock.
	At time.Time
	// ID, Item, Place, Quantity, Unlimited, Expect and Delta are the line as it came.
	ID, Item, Place string
	Quantity        int64
	Unlimited       bool
	Expect, Delta   *int64
	// Status is what the line was answered, also where the answer was lost on the way.
	Status string
	// Repeated is true where the shop recognised the ID and did nothing again.
	Repeated bool
	// Before and After are what the listing truly had.
	Before, After int64
	// Fault is the one that met the call, or "".
	Fault Fault
}

// Writes returns the lines of all writes received, oldest first; see ShopConfig.KeepWrites.
func (s *Shop) Writes() []WriteRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.writes
	if s.keep > 0 && len(log) > s.keep {
		log = log[len(log)-s.keep:]
	}
	return slices.Clone(log)
}

// WriteCount is how many lines of writes were received.
func (s *Shop) WriteCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

func (s *Shop) record(r WriteRecord) {
	s.written++
	if s.keep < 0 {
		return
	}
	s.writes = append(s.writes, r)
	if s.keep > 0 && len(s.writes) > 2*s.keep {
		s.writes = append([]WriteRecord(nil), s.writes[len(s.writes)-s.keep:]...)
	}
}

// writeLine is a line as it comes. The quantity is a pointer, unlike in open.Write, which is for sending: one that is
// missing or null must not become 0.
type writeLine struct {
	ID        string `json:"id"`
	Item      string `json:"item"`
	Place     string `json:"place"`
	Quantity  *int64 `json:"quantity"`
	Unlimited bool   `json:"unlimited"`
	Expect    *int64 `json:"expect"`
	Delta     *int64 `json:"delta"`
}

type writeBody struct {
	Writes []writeLine `json:"writes"`
}

func (s *Shop) serveWrite(_ *http.Request, body []byte, fault Fault) (any, *open.Problem) {
	req, p := decode[writeBody](body)
	if p != nil {
		return nil, p
	}
	if p := s.tooMany(len(req.Writes)); p != nil {
		return nil, p
	}
	s.work()
	for i, w := range req.Writes {
		if w.ID == "" || w.Item == "" || w.Quantity == nil {
			return nil, problem(http.StatusBadRequest, "bad_line", "line %d: id, item and quantity are needed", i+1)
		}
	}
	var met []bool
	switch fault {
	case ThrottleLines, RejectLines, StaleLines:
		met = s.in.some(len(req.Writes))
	}
	now := s.stamp()
	answer := open.WriteAnswer{Results: make([]open.WriteResult, 0, len(req.Writes))}
	for i, w := range req.Writes {
		lineFault := fault
		if met != nil && !met[i] {
			lineFault = ""
		}
		answer.Results = append(answer.Results, s.writeOne(w, now, lineFault))
	}
	return answer, nil
}

// writeOne does one line, and records it.
func (s *Shop) writeOne(w writeLine, now time.Time, fault Fault) open.WriteResult {
	l := s.listings[open.Ref{Item: w.Item, Place: w.Place}]
	rec := WriteRecord{At: now, ID: w.ID, Item: w.Item, Place: w.Place, Quantity: *w.Quantity, Unlimited: w.Unlimited, Expect: w.Expect, Delta: w.Delta, Fault: fault}
	if l != nil {
		rec.Before = l.shows
	}
	result, repeated := s.outcome(w, l, now, fault)
	rec.Status, rec.Repeated = result.Status, repeated
	if l != nil {
		rec.After = l.shows
	}
	s.record(rec)
	return result
}

func (s *Shop) outcome(w writeLine, l *listing, now time.Time, fault Fault) (result open.WriteResult, repeated bool) {
	result.ID = w.ID
	if l == nil {
		return refusal(w, "not_found", "unknown_listing", fmt.Sprintf("no listing is called %q", w.Item)), false
	}
	switch fault {
	case ThrottleLines:
		result = refusal(w, "throttled", "listing_too_fast", "this listing was changed too often")
		result.RetryAfterMS = s.in.faults.RetryAfter.Milliseconds()
		return result, false
	case RejectLines:
		return refusal(w, "rejected", "listing_refused", "this listing cannot be changed now"), false
	case Lie:
		result.Status = s.doneStatus()
		return result, false
	}
	if s.caps.IdempotentWrite {
		if before, ok := s.applied.find(w.ID); ok {
			if !before.same(w) {
				return refusal(w, "rejected", "id_reused", "this id was used for another write"), false
			}
			result.Status = s.doneStatus()
			return result, true
		}
	}
	stale := s.caps.ConditionalWrite && w.Expect != nil && (*w.Expect != l.shows || fault == StaleLines)
	switch {
	case *w.Quantity < 0:
		return refusal(w, "rejected", "negative_quantity", "a quantity cannot be below 0"), false
	case !w.Unlimited && s.caps.MaxQuantity > 0 && *w.Quantity > s.caps.MaxQuantity:
		return refusal(w, "rejected", "quantity_too_large", fmt.Sprintf("at most %d can be shown", s.caps.MaxQuantity)), false
	case stale:
		current := l.shows
		result.Status, result.Quantity = "stale", &current
		return result, false
	}
	if s.caps.IdempotentWrite {
		s.applied.keep(w)
	}
	if s.feed > 0 {
		s.queue = append(s.queue, queuedWrite{line: w, due: now.Add(s.feed), fault: fault})
	} else {
		s.set(l, w, now, fault)
	}
	result.Status = s.doneStatus()
	return result, false
}

// set does a line: it sets the quantity, or changes it where the line says by how much. A change that would lead below
// 0 leads to 0.
func (s *Shop) set(l *listing, w writeLine, now time.Time, fault Fault) {
	l.Unlimited = w.Unlimited
	quantity := *w.Quantity
	if s.caps.DeltaWrite && w.Delta != nil {
		quantity = max(0, l.shows+*w.Delta)
	}
	s.show(l, quantity, now, fault)
}

// queuedWrite is a line that a shop with a feed has taken and not yet done.
type queuedWrite struct {
	line  writeLine
	due   time.Time
	fault Fault
}

// work does the lines of the feed that are due. Whoever looks at a listing calls it first, with the mutex held, so that
// nobody can tell that they were not done at their instant.
func (s *Shop) work() {
	now := s.now()
	for len(s.queue) > 0 && !s.queue[0].due.After(now) {
		q := s.queue[0]
		s.queue = s.queue[1:]
		if l := s.listings[open.Ref{Item: q.line.Item, Place: q.line.Place}]; l != nil {
			s.set(l, q.line, s.stamp(), q.fault)
		}
	}
}

// doneStatus is the status of a line that was done.
func (s *Shop) doneStatus() string {
	if s.accepted || s.feed > 0 {
		return "accepted"
	}
	return "ok"
}

func refusal(w writeLine, status, code, message string) open.WriteResult {
	return open.WriteResult{ID: w.ID, Status: status, Code: code, Message: message}
}

// remembered keeps the writes that were done, by id: at least the newest 65,536. Two halves, of which the older is
// thrown away when the younger is full, keep it bounded without a clock.
type remembered struct {
	young, old map[string]doneWrite
}

const rememberedHalf = 1 << 16

type doneWrite struct {
	ref       open.Ref
	quantity  int64
	unlimited bool
	change    bool
	delta     int64
}

func (d doneWrite) same(w writeLine) bool { return d == doneOf(w) }

func doneOf(w writeLine) doneWrite {
	d := doneWrite{ref: open.Ref{Item: w.Item, Place: w.Place}, quantity: *w.Quantity, unlimited: w.Unlimited}
	if w.Delta != nil {
		d.change, d.delta, d.quantity = true, *w.Delta, 0
	}
	return d
}

func (r *remembered) find(id string) (doneWrite, bool) {
	if d, ok := r.young[id]; ok {
		return d, true
	}
	d, ok := r.old[id]
	return d, ok
}

func (r *remembered) keep(w writeLine) {
	if r.young == nil || len(r.young) >= rememberedHalf {
		r.old, r.young = r.young, make(map[string]doneWrite)
	}
	r.young[w.ID] = doneOf(w)
}
