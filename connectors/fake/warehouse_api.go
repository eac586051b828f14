package fake

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors/open"
)

func (w *Warehouse) routes() {
	w.handle(
		endpoint{"GET /capabilities", faultsOfCalls, w.serveCapabilities},
		endpoint{"GET /locations", faultsOfCalls, w.serveLocations},
		endpoint{"GET /items", faultsOfCalls, w.serveItems},
		endpoint{"GET /levels", faultsOfLevels, w.serveLevels},
		endpoint{"POST /orders", faultsOfOrders, w.serveNewOrder},
		endpoint{"POST /orders/{key}/cancel", faultsOfChanges, w.serveCancel},
	)
	if w.caps.Positions {
		w.handle(endpoint{"GET /movements", faultsOfCalls, w.serveMovements})
	}
	if w.caps.OrderStatus {
		w.handle(endpoint{"GET /orders/{key}", faultsOfCalls, w.serveOrder})
	}
	if w.caps.Corrections {
		w.handle(endpoint{"POST /corrections", faultsOfChanges, w.serveCorrection})
	}
	if w.caps.OrderAmend {
		w.handle(endpoint{"POST /orders/{key}/amend", faultsOfChanges, w.serveAmend})
	}
}

func (w *Warehouse) serveCapabilities(*http.Request, []byte, Fault) (any, *open.Problem) {
	return w.caps, nil
}

func (w *Warehouse) serveLocations(*http.Request, []byte, Fault) (any, *open.Problem) {
	return open.LocationsAnswer{Locations: w.locations}, nil
}

func (w *Warehouse) serveItems(r *http.Request, _ []byte, _ Fault) (any, *open.Problem) {
	limit, p := pageOf(r, w.pageSize)
	if p != nil {
		return nil, p
	}
	if !w.skusReady {
		slices.Sort(w.skus)
		w.skusReady = true
	}
	from := 0
	if text := r.URL.Query().Get("cursor"); text != "" {
		last, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return nil, badCursor(text)
		}
		at, found := slices.BinarySearch(w.skus, string(last))
		if from = at; found {
			from++
		}
	}
	page := open.ItemsPage{Items: []open.Item{}}
	until := min(from+limit, len(w.skus))
	for _, sku := range w.skus[from:until] {
		page.Items = append(page.Items, w.items[sku])
	}
	if until < len(w.skus) {
		next := base64.RawURLEncoding.EncodeToString([]byte(w.skus[until-1]))
		page.Next = &next
	}
	return page, nil
}

// snapshot is what the pages of one enumeration of levels are cut from, so that all are of one position.
type snapshot struct {
	id         int
	shelves    []*shelf
	quantities []int64
	position   int64
	at         time.Time
}

// maxSnapshots bounds the enumerations that can be under way; the oldest ends when one more begins.
const maxSnapshots = 8

func (w *Warehouse) serveLevels(r *http.Request, _ []byte, fault Fault) (any, *open.Problem) {
	limit, p := pageOf(r, w.pageSize)
	if p != nil {
		return nil, p
	}
	shot, from, p := w.levelsFrom(r)
	if p != nil {
		return nil, p
	}
	page := open.LevelsPage{Levels: []open.Level{}, AsOf: &shot.at}
	if w.caps.Positions {
		page.Position = &shot.position
	}
	if w.caps.CompleteLevels {
		count := len(shot.shelves)
		page.Count = &count
	}
	until := min(from+limit, len(shot.shelves))
	var missing []bool
	if fault == PartialLevels {
		missing = w.in.some(until - from)
	}
	for i := from; i < until; i++ {
		if missing == nil || !missing[i-from] {
			s := shot.shelves[i]
			page.Levels = append(page.Levels, open.Level{SKU: s.sku, Location: s.location, Quantity: &shot.quantities[i]})
		}
	}
	if until < len(shot.shelves) {
		w.keepSnapshot(shot)
		next := fmt.Sprintf("%d.%d", shot.id, until)
		page.Next = &next
	}
	return page, nil
}

// levelsFrom takes a snapshot for a first page, and finds that of a later one.
func (w *Warehouse) levelsFrom(r *http.Request) (snapshot, int, *open.Problem) {
	text := r.URL.Query().Get("cursor")
	if text == "" {
		return w.takeSnapshot(), 0, nil
	}
	id, offset, ok := strings.Cut(text, ".")
	number, errID := strconv.Atoi(id)
	from, errOffset := strconv.Atoi(offset)
	at := slices.IndexFunc(w.snapshots, func(s snapshot) bool { return s.id == number })
	if !ok || errID != nil || errOffset != nil || at < 0 || from < 0 || from > len(w.snapshots[at].shelves) {
		return snapshot{}, 0, badCursor(text)
	}
	return w.snapshots[at], from, nil
}

func (w *Warehouse) takeSnapshot() snapshot {
	w.snapshotN++
	shot := snapshot{id: w.snapshotN, shelves: w.inOrder(), position: int64(len(w.facts)), at: w.stamp()}
	shot.quantities = make([]int64, len(shot.shelves))
	for i, s := range shot.shelves {
		shot.quantities[i] = s.level(w.caps.Levels)
	}
	return shot
}

func (w *Warehouse) keepSnapshot(shot snapshot) {
	if slices.ContainsFunc(w.snapshots, func(s snapshot) bool { return s.id == shot.id }) {
		return
	}
	if len(w.snapshots) == maxSnapshots {
		w.snapshots = slices.Delete(w.snapshots, 0, 1)
	}
	w.snapshots = append(w.snapshots, shot)
}

func (w *Warehouse) serveMovements(r *http.Request, _ []byte, _ Fault) (any, *open.Problem) {
	limit, p := pageOf(r, w.pageSize)
	if p != nil {
		return nil, p
	}
	after := 0
	if text := r.URL.Query().Get("after"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, problem(http.StatusBadRequest, "bad_position", "after %q is not a position", text)
		}
		after = min(n, len(w.facts))
	}
	until := min(after+limit, len(w.facts))
	page := open.MovementsPage{Facts: append([]jsontext.Value{}, w.facts[after:until]...)}
	if until < len(w.facts) {
		next := strconv.Itoa(until)
		page.Next = &next
	}
	return page, nil
}

func (w *Warehouse) serveNewOrder(_ *http.Request, body []byte, fault Fault) (any, *open.Problem) {
	n, p := decode[open.NewOrder](body)
	if p != nil {
		return nil, p
	}
	if p := w.checkNewOrder(n); p != nil {
		return nil, p
	}
	n.PlacedAt = n.PlacedAt.UTC()
	content, err := json.Marshal(n)
	if err != nil {
		return nil, problem(http.StatusBadRequest, "bad_body", "the order cannot be kept: %v", err)
	}
	if o := w.orders[n.Key]; o != nil {
		if !bytes.Equal(o.content, content) {
			return nil, problem(http.StatusConflict, "key_reused", "the key %q was used for an order of other content, %s", n.Key, o.number)
		}
		return open.OrderNumber{Number: o.number}, nil
	}
	o := w.create(n, content)
	if fault == RejectOrder {
		w.reject(o, w.stamp())
	}
	return open.OrderNumber{Number: o.number}, nil
}

func (w *Warehouse) checkNewOrder(n open.NewOrder) *open.Problem {
	if n.Key == "" || n.OrderID == "" || n.Channel == "" || len(n.Lines) == 0 {
		return problem(http.StatusUnprocessableEntity, "bad_order", "key, channel, order_id and lines are needed")
	}
	seen := make(map[string]bool, len(n.Lines))
	for _, l := range n.Lines {
		if seen[l.LineID] {
			return problem(http.StatusUnprocessableEntity, "bad_line", "line %q stands twice in the order", l.LineID)
		}
		seen[l.LineID] = true
		if p := w.checkLine(l); p != nil {
			return p
		}
		if l.Quantity == 0 {
			return problem(http.StatusUnprocessableEntity, "bad_line", "line %q orders nothing", l.LineID)
		}
	}
	return nil
}

func (w *Warehouse) checkLine(l open.NewOrderLine) *open.Problem {
	if l.LineID == "" || l.Quantity < 0 {
		return problem(http.StatusUnprocessableEntity, "bad_line", "line %q of %d units: it needs an id and a quantity of 0 or more", l.LineID, l.Quantity)
	}
	if _, ok := w.items[l.SKU]; !ok {
		return problem(http.StatusUnprocessableEntity, "unknown_sku", "no item has the SKU %q", l.SKU)
	}
	return nil
}

func (w *Warehouse) create(n open.NewOrder, content []byte) *salesOrder {
	now := w.stamp()
	o := &salesOrder{
		key: n.Key, number: fmt.Sprintf("SO-%06d", len(w.created)+1), channel: n.Channel, orderID: n.OrderID,
		content: content, createdAt: now,
	}
	for _, l := range n.Lines {
		o.lines = append(o.lines, &salesLine{id: l.LineID, sku: l.SKU, quantity: l.Quantity})
	}
	w.orders[o.key] = o
	w.created = append(w.created, o)
	w.unsent = append(w.unsent, o)
	w.allocate(o, now)
	return o
}

// serveCancel takes running totals. What was shipped already cannot be cancelled: the rest is, and the status says
// too_late.
func (w *Warehouse) serveCancel(r *http.Request, body []byte, _ Fault) (any, *open.Problem) {
	o := w.orders[r.PathValue("key")]
	if o == nil {
		return nil, problem(http.StatusNotFound, "unknown_order", "no order has the key %q", r.PathValue("key"))
	}
	var c open.Cancellation
	if len(bytes.TrimSpace(body)) > 0 {
		var p *open.Problem
		if c, p = decode[open.Cancellation](body); p != nil {
			return nil, p
		}
	}
	wanted := make(map[*salesLine]int64, len(o.lines))
	for _, l := range c.Lines {
		line := o.line(l.LineID)
		if line == nil || l.Cancelled < 0 || l.Cancelled > line.quantity {
			return nil, problem(http.StatusUnprocessableEntity, "bad_line", "order %s has no line %q with %d units to cancel", o.key, l.LineID, l.Cancelled)
		}
		wanted[line] = l.Cancelled
	}
	if len(c.Lines) == 0 {
		for _, l := range o.lines {
			wanted[l] = l.quantity
		}
	}
	answer := open.Status{Status: "ok"}
	for _, l := range o.lines {
		if wanted[l] > l.quantity-l.shipped {
			answer.Status = "too_late"
		}
		l.cancelled = max(l.cancelled, min(wanted[l], l.quantity-l.rejected-l.shipped))
	}
	w.release(o, w.stamp())
	return answer, nil
}

// serveOrder tells how an order stands: running totals, all of the instant of the answer.
func (w *Warehouse) serveOrder(r *http.Request, _ []byte, _ Fault) (any, *open.Problem) {
	o := w.orders[r.PathValue("key")]
	if o == nil {
		return nil, problem(http.StatusNotFound, "unknown_order", "no order has the key %q", r.PathValue("key"))
	}
	now := w.stamp()
	answer := open.OrderStanding{Key: o.key, AsOf: &now, Lines: []open.StandingLine{}}
	for _, l := range o.lines {
		line := open.StandingLine{LineID: l.id, Cancelled: new(l.cancelled), Rejected: new(l.rejected), Restocked: new(l.returned), Locations: []open.StandingPlace{}}
		for _, h := range l.held {
			line.Locations = append(line.Locations, open.StandingPlace{Location: h.location, Shipped: new(h.shipped), Allocated: new(h.quantity)})
		}
		answer.Lines = append(answer.Lines, line)
	}
	return answer, nil
}

func (o *salesOrder) line(id string) *salesLine {
	for _, l := range o.lines {
		if l.id == id {
			return l
		}
	}
	return nil
}

// serveAmend sets the ordered quantities. Lines that it does not name stay, new ones are added; a version that is not
// newer than the last changes nothing. A line cannot fall below what is shipped, cancelled and rejected of it.
func (w *Warehouse) serveAmend(r *http.Request, body []byte, _ Fault) (any, *open.Problem) {
	o := w.orders[r.PathValue("key")]
	if o == nil {
		return nil, problem(http.StatusNotFound, "unknown_order", "no order has the key %q", r.PathValue("key"))
	}
	a, p := decode[open.Amendment](body)
	if p != nil {
		return nil, p
	}
	if a.Version <= o.amended {
		return open.Status{Status: "ok"}, nil
	}
	for _, l := range a.Lines {
		if p := w.checkLine(l); p != nil {
			return nil, p
		}
		line := o.line(l.LineID)
		if line != nil && (line.sku != l.SKU || l.Quantity < line.shipped+line.cancelled+line.rejected) {
			return nil, problem(http.StatusConflict, "line_gone_on",
				"line %s of order %s is of SKU %s, and %d units of it are shipped, cancelled or rejected", l.LineID, o.key, line.sku, line.shipped+line.cancelled+line.rejected)
		}
	}
	o.amended = a.Version
	for _, l := range a.Lines {
		if line := o.line(l.LineID); line != nil {
			line.quantity = l.Quantity
		} else {
			o.lines = append(o.lines, &salesLine{id: l.LineID, sku: l.SKU, quantity: l.Quantity})
		}
	}
	if !slices.Contains(w.unsent, o) {
		w.unsent = append(w.unsent, o)
	}
	now := w.stamp()
	w.release(o, now)
	w.allocate(o, now)
	return open.Status{Status: "ok"}, nil
}

// serveCorrection books by how much a count differed from what the warehouse believed to have. The same key again changes
// nothing; with other content it is refused.
func (w *Warehouse) serveCorrection(_ *http.Request, body []byte, _ Fault) (any, *open.Problem) {
	c, p := decode[open.Correction](body)
	if p != nil {
		return nil, p
	}
	c.AsOf = c.AsOf.UTC()
	if done, ok := w.corrections[c.Key]; ok {
		if done.Correction != c {
			return nil, problem(http.StatusConflict, "key_reused", "the key %q was used for a correction of other content", c.Key)
		}
		return done.answer, nil
	}
	s := w.shelves[shelfKey{c.SKU, c.Location}]
	if c.Key == "" || c.Delta == 0 || s == nil {
		return nil, problem(http.StatusUnprocessableEntity, "bad_correction", "a correction needs a key, a difference, and an item at a location that are known")
	}
	now := w.stamp()
	done := bookedCorrection{c, open.CorrectionAnswer{Status: "ok", Position: w.position()}}
	w.corrections[c.Key] = done
	s.sellable += c.Delta
	w.keepAllocationsFilled(s, now, func() {
		w.fact("stock.moved", now, open.Moved{
			SKU: s.sku, Location: s.location, Delta: &c.Delta, Reason: "count", Position: w.position(), OccurredAt: &now, CorrectionKey: c.Key,
		})
	})
	return done.answer, nil
}

// bookedCorrection is a correction that was booked, with the answer to it.
type bookedCorrection struct {
	open.Correction
	answer open.CorrectionAnswer
}
