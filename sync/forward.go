package sync

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// forwardBatch is how many orders or notices are taken at a time.
const forwardBatch = 50

func (e *Engine) forwardOrders(ctx context.Context, r *recordState) (time.Duration, error) {
	n, err := e.forwardPass(ctx, r)
	if err == nil && n == 0 {
		n, err = e.correctionPass(ctx, r)
	}
	if n > 0 && err == nil {
		return 0, nil
	}
	return e.timings.Look, err
}

// forwardPass tells a system of record about the orders that it does not know as they stand. What is to be told is the
// difference between the order's document and what was acknowledged, so a retry, a restart or ten changes at once end
// the same way. It returns how many orders it handled.
func (e *Engine) forwardPass(ctx context.Context, r *recordState) (int, error) {
	now := time.Now().UTC()
	if e.pausedReason(r.id) != "" || r.resting(now) > 0 {
		return 0, nil
	}
	forwards, orders, err := e.store.DueForwards(ctx, r.id, now, forwardBatch)
	if err != nil || len(forwards) == 0 {
		return 0, err
	}
	caps, err := e.recordCapabilities(ctx, r)
	if err != nil {
		return 0, e.callFailed(ctx, &r.connectionState, err)
	}
	if caps.Positions {
		// The first read of all levels decides from where on movements are followed: an order sent before could be shipped
		// unseen.
		mark, err := e.store.Bookmark(ctx, r.id, movementsFeed)
		if err != nil || mark == "" {
			return 0, err
		}
	}
	for i, f := range forwards {
		before := f.Acknowledged()
		incidents, callErr := e.forward(ctx, r, caps, &f, orders[i], &before)
		if ctx.Err() != nil {
			return i, ctx.Err()
		}
		if callErr != nil {
			f.Attempts++
			f.Error = errorText(callErr)
			f.DueAt = time.Now().UTC().Add(e.backoff(f.Attempts))
			if at := connectors.RetryAt(callErr); at.After(f.DueAt) {
				f.DueAt = at
			}
		}
		told, err := acknowledgement(r.id, &f, before)
		if err != nil {
			return i, err
		}
		if err := e.store.SaveForward(ctx, f, incidents, told...); err != nil {
			return i, fmt.Errorf("note what %s knows of order %s: %w", r.id, f.OrderID, err)
		}
		if len(told) > 0 {
			e.wakeApply.send()
		}
		if callErr != nil {
			if err := e.callFailed(ctx, &r.connectionState, callErr); err != nil {
				return i, err
			}
			if r.resting(time.Now().UTC()) > 0 {
				return i + 1, nil
			}
		}
	}
	return len(forwards), nil
}

// acknowledgement is the event that frees what was held for an order, where the system of record has acknowledged that it
// delivers less than it was known to do before.
func acknowledgement(record stock.ConnectionID, f *Forward, before map[string]stock.Quantity) ([]NewEvent, error) {
	now := f.Acknowledged()
	less := false
	for line, units := range before {
		less = less || now[line] < units
	}
	if !less {
		return nil, nil
	}
	key := mapping.OrderKey(f.Channel, f.OrderID)
	body, err := json.Marshal([]connectors.Fact{{Kind: connectors.OrderTold, Told: &connectors.Told{OrderKey: key}}})
	if err != nil {
		return nil, fmt.Errorf("note what %s acknowledged of order %s: %w", record, key, err)
	}
	state, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("note what %s acknowledged of order %s: %w", record, key, err)
	}
	sum := sha256.Sum256(state)
	return []NewEvent{{Connection: record, Key: "told:" + hex.EncodeToString(sum[:]), Type: string(connectors.OrderTold), Format: FactsFormat, Body: body,
		ReceivedAt: time.Now().UTC()}}, nil
}

// forward brings one order to the system of record. It changes f, and before to what others may have read of it meanwhile; an error means that f is to be tried again.
func (e *Engine) forward(ctx context.Context, r *recordState, caps connectors.RecordCapabilities, f *Forward, o *Order, before *map[string]stock.Quantity) ([]Incident, error) {
	want := f.Want
	lines, err := recordLines(o)
	if err != nil {
		f.Refused, f.Done, f.Error = true, want, err.Error()
		return []Incident{orderIncident(r.id, o, IncidentOrderRefused, err)}, nil
	}
	cancelled := o.Status == connectors.OrderCancelledStatus
	if f.Number == "" {
		if f.Sent == nil && (cancelled || !hasOpen(o)) {
			f.Done = want // cancelled before anybody there heard of it
			return nil, nil
		}
		first := f.Sent == nil
		if first {
			// Fixed and stored before the first attempt: the key promises the same content on every try.
			f.Sent = lines
			newest, err := e.store.FixForward(ctx, *f)
			if err != nil {
				return nil, fmt.Errorf("fix the content of order %s: %w", o.OrderID, err)
			}
			if !newest {
				f.Sent = nil // the order has changed since it was loaded: the next pass sends it as it is now
				return nil, nil
			}
			*before = f.Acknowledged()
		}
		number, err := r.System.CreateOrder(ctx, connectors.NewOrder{
			Key: mapping.OrderKey(o.Channel, o.OrderID), Channel: o.Channel, OrderID: o.OrderID, PlacedAt: o.PlacedAt, Lines: f.Sent, Buyer: o.Buyer,
		})
		if err != nil {
			if kind := connectors.KindOf(err); first && (kind == connectors.Retryable || kind == connectors.Throttled || kind == connectors.Auth) {
				f.Sent = nil // nobody there has heard of it
			}
			return e.refused(r.id, f, o, err)
		}
		f.Number, f.Refused = number, false
	}
	amended := e.amend(ctx, r, caps, f, o, lines)
	if amended != nil && !final(amended) {
		return nil, amended
	}
	// A change that is refused, because a line went on meanwhile, does not keep back what can be told as cancelled.
	told := e.cancel(ctx, r, f, o, lines)
	if told != nil && !final(told) {
		return nil, told
	}
	if err := errors.Join(amended, told); err != nil {
		return e.refused(r.id, f, o, err)
	}
	var incidents []Incident
	if more := ordersMore(f.Sent, lines); more != "" && !cancelled {
		incidents = append(incidents, orderIncident(r.id, o, IncidentOrderDiffers,
			fmt.Errorf("%s now orders more of %s than it did when the order was sent, and %s cannot change an order: enter the difference there by hand", o.Channel, more, r.id)))
	}
	r.callWorked()
	f.Done, f.Attempts, f.Error = want, 0, ""
	return incidents, nil
}

// final reports whether a failed call would fail in the same way again.
func final(err error) bool {
	kind := connectors.KindOf(err)
	return kind == connectors.Rejected || kind == connectors.Unmapped
}

// refused sorts a failed call: what can never work becomes an incident, the rest is tried again.
func (e *Engine) refused(record stock.ConnectionID, f *Forward, o *Order, err error) ([]Incident, error) {
	if !final(err) {
		return nil, err
	}
	f.Refused, f.Done, f.Error = true, f.Want, errorText(err)
	return []Incident{orderIncident(record, o, IncidentOrderRefused, err)}, nil
}

func orderIncident(record stock.ConnectionID, o *Order, kind string, err error) Incident {
	return Incident{Kind: kind, Subject: mapping.OrderKey(o.Channel, o.OrderID), OpenedAt: time.Now().UTC(),
		Message: fmt.Sprintf("order %s of %s at %s: %v", o.OrderID, o.Channel, record, err)}
}

// amend tells changed quantities, where the system of record takes them.
func (e *Engine) amend(ctx context.Context, r *recordState, caps connectors.RecordCapabilities, f *Forward, o *Order, lines []connectors.OrderLine) error {
	amender, ok := r.System.(connectors.OrderAmender)
	// What the order does not contain any more stays there, and is told as cancelled.
	all := slices.Clone(lines)
	for _, l := range f.Sent {
		if !slices.ContainsFunc(lines, func(now connectors.OrderLine) bool { return now.LineID == l.LineID }) {
			all = append(all, l)
		}
	}
	if !ok || !caps.AmendOrders || slices.Equal(f.Sent, all) {
		return nil
	}
	version := o.Version + o.Substitutions
	if err := amender.AmendOrder(ctx, connectors.Amendment{Key: mapping.OrderKey(o.Channel, o.OrderID), Version: version, Lines: lines}); err != nil {
		return err
	}
	f.Sent, f.Amended = all, version
	// A cancellation that came too late for what was ordered before is in time for what is ordered now: it is told again.
	f.Told = nil
	return nil
}

// cancel tells running totals of what will not be delivered, where they differ from what was told.
func (e *Engine) cancel(ctx context.Context, r *recordState, f *Forward, o *Order, lines []connectors.OrderLine) error {
	key := mapping.OrderKey(o.Channel, o.OrderID)
	if o.Status == connectors.OrderCancelledStatus {
		if f.Told[wholeOrder] > 0 {
			return nil
		}
		if err := r.System.CancelOrder(ctx, key, nil); err != nil {
			return err
		}
		f.Told = map[string]stock.Quantity{wholeOrder: 1}
		return nil
	}
	totals := cancelTotals(f.Sent, lines, o)
	var tell []connectors.CancelLine
	for _, l := range f.Sent {
		if total := totals[l.LineID]; total > f.Told[l.LineID] {
			tell = append(tell, connectors.CancelLine{LineID: l.LineID, Cancelled: total})
		}
	}
	if len(tell) == 0 {
		return nil
	}
	if err := r.System.CancelOrder(ctx, key, tell); err != nil {
		return err
	}
	if f.Told == nil {
		f.Told = make(map[string]stock.Quantity)
	}
	for _, l := range tell {
		f.Told[l.LineID] = l.Cancelled
	}
	return nil
}

// wholeOrder is the key in Forward.Told that stands for the cancellation of the whole order.
const wholeOrder = ""

// recordLines are the order's lines as the system of record gets them, every line of the newest version with what it
// orders, before cancellations.
func recordLines(o *Order) ([]connectors.OrderLine, error) {
	var sold []mapping.SoldLine
	var named []connectors.OrderLine
	renamed := make(map[string]stock.SKU)
	for i := range o.Lines {
		l := &o.Lines[i]
		if o.wanted(l) == 0 || len(l.Components) == 0 {
			continue
		}
		s := mapping.SoldLine{LineID: l.ID, Packs: o.wanted(l)}
		for _, c := range l.Components {
			if c.Record != "" {
				named = append(named, namedLines(o, l)...)
				break
			}
			s.Components = append(s.Components, mapping.Component{SKU: cmp.Or(c.Name, c.SKU), Units: c.Units})
			renamed[c.recordLine(l)] = c.recordSKU()
		}
		if len(s.Components) > 0 {
			sold = append(sold, s)
		}
	}
	lines, err := mapping.RecordLines(sold)
	for i := range lines {
		lines[i].SKU = renamed[lines[i].LineID] // the id keeps the old name, the article has the new one
	}
	return append(lines, named...), err
}

// namedLines are a line's parts, each with the id that it was given, without those that others replace.
func namedLines(o *Order, l *OrderLine) []connectors.OrderLine {
	var lines []connectors.OrderLine
	for i := range l.Components {
		if c := &l.Components[i]; !c.Replaced {
			lines = append(lines, connectors.OrderLine{LineID: c.recordLine(l), SKU: c.SKU, Quantity: o.wanted(l) * c.Units})
		}
	}
	return lines
}

// cancelTotals are the base units of each sent line that will not be delivered: what is cancelled, and what the order
// does not contain any more.
func cancelTotals(sent, lines []connectors.OrderLine, o *Order) map[string]stock.Quantity {
	totals := make(map[string]stock.Quantity, len(sent))
	now := make(map[string]stock.Quantity, len(lines))
	for _, l := range lines {
		now[l.LineID] = l.Quantity
	}
	for _, l := range sent {
		totals[l.LineID] = max(0, l.Quantity-now[l.LineID])
	}
	for i := range o.Lines {
		l := &o.Lines[i]
		for _, c := range l.Components {
			id := c.recordLine(l)
			if _, known := totals[id]; known && !c.Replaced {
				totals[id] += min(l.cancelled(), o.wanted(l)) * c.Units
			}
		}
	}
	return totals
}

// ordersMore names the first line of which more is ordered than was sent, empty when there is none.
func ordersMore(sent, lines []connectors.OrderLine) string {
	had := make(map[string]stock.Quantity, len(sent))
	for _, l := range sent {
		had[l.LineID] = l.Quantity
	}
	for _, l := range lines {
		if l.Quantity > had[l.LineID] {
			return string(l.SKU)
		}
	}
	return ""
}

func hasOpen(o *Order) bool {
	return slices.ContainsFunc(o.Lines, func(l OrderLine) bool { return o.open(&l) > 0 })
}

func (e *Engine) sendNotices(ctx context.Context, c *channelState) (time.Duration, error) {
	n, err := e.noticePass(ctx, c)
	if n > 0 && err == nil {
		return 0, nil
	}
	return e.timings.Look, err
}

// tellShipment tells one shipment. Where the marketplace refuses it as a whole, each line is told by itself, so that one
// which was cancelled there meanwhile does not keep the news of the others back.
func tellShipment(ctx context.Context, writer connectors.ShipmentWriter, n connectors.ShipmentNotice) error {
	err := writer.WriteShipment(ctx, n)
	if connectors.KindOf(err) != connectors.Rejected || len(n.Lines) < 2 {
		return err
	}
	var refused []error
	for _, l := range n.Lines {
		line := n
		line.Key, line.Lines = n.Key+"/"+l.LineID, []connectors.ShippedPacks{l}
		switch err := writer.WriteShipment(ctx, line); {
		case connectors.KindOf(err) == connectors.Rejected:
			refused = append(refused, err)
		case err != nil:
			return err
		}
	}
	return errors.Join(refused...)
}

// noticePass tells a marketplace what was shipped. The key of a notice makes a repeat harmless. It returns how many
// notices it handled.
func (e *Engine) noticePass(ctx context.Context, c *channelState) (int, error) {
	now := time.Now().UTC()
	if e.pausedReason(c.id) != "" || c.resting(now) > 0 {
		return 0, nil
	}
	notices, err := e.store.DueNotices(ctx, c.id, now, forwardBatch)
	if err != nil || len(notices) == 0 {
		return 0, err
	}
	caps, err := e.channelCapabilities(ctx, c)
	if err != nil {
		return 0, e.callFailed(ctx, &c.connectionState, err)
	}
	writer, takes := c.Marketplace.(connectors.ShipmentWriter)
	for i, n := range notices {
		var callErr error
		if takes && caps.Shipments {
			callErr = tellShipment(ctx, writer, n.ShipmentNotice)
		}
		if ctx.Err() != nil {
			return i, ctx.Err()
		}
		var incidents []Incident
		switch kind := connectors.KindOf(callErr); {
		case callErr == nil:
			n.Done, n.Error = true, ""
			c.callWorked()
		case kind == connectors.Rejected, kind == connectors.Unmapped:
			n.Done, n.Error = true, errorText(callErr)
			incidents = []Incident{{Kind: IncidentShipmentRefused, Subject: string(c.id) + ":" + n.Key, OpenedAt: now,
				Message: fmt.Sprintf("%s refused shipment %s of order %s: %v. Enter it there by hand.", c.id, n.Key, n.OrderID, callErr)}}
			callErr = nil
		default:
			n.Attempts++
			n.Error = errorText(callErr)
			n.DueAt = time.Now().UTC().Add(e.backoff(n.Attempts))
		}
		if err := e.store.SaveNotice(ctx, n, incidents); err != nil {
			return i, fmt.Errorf("note what %s knows of shipment %s: %w", c.id, n.Key, err)
		}
		if callErr != nil {
			return i + 1, e.callFailed(ctx, &c.connectionState, callErr)
		}
	}
	return len(notices), nil
}
