package sync

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// mergeFact joins a whole fact of the marketplace into the document. The newest version decides what is ordered and the
// status; running totals only grow. conflict is true when the same version was told before with other contents: then
// the later one by the source's clock stands, and at the same instant the one that compares greater, so that the
// outcome does not depend on which came first.
func (o *Order) mergeFact(f connectors.Order) (conflict bool) {
	replaces := f.Version > o.Version
	if f.Version == o.Version {
		held, told := o.ordered(), orderedOf(f)
		conflict = held != told
		replaces = conflict && cmp.Or(f.UpdatedAt.Compare(o.UpdatedAt), strings.Compare(told, held)) > 0
		if conflict && replaces {
			for i := range o.Lines {
				if o.Lines[i].Version == o.Version {
					o.Lines[i].Version-- // a line that the standing content lacks is out of the order
				}
			}
		}
	}
	for _, told := range f.Lines {
		l := o.line(told.LineID, told.Ref)
		l.Cancelled = max(l.Cancelled, told.Cancelled)
		l.Shipped = max(l.Shipped, told.Shipped)
		l.Restocked = max(l.Restocked, told.Restocked)
		if replaces || !conflict && f.Version > l.Version {
			l.Version, l.Ordered = f.Version, told.Quantity
			if len(l.Components) == 0 {
				l.Ref = told.Ref
			}
		}
	}
	switch {
	case conflict:
		o.Conflict = true
	case f.Version > o.Version:
		o.Conflict = false
	}
	if replaces {
		o.Version, o.UpdatedAt = f.Version, f.UpdatedAt
		if f.Buyer != nil {
			o.Buyer = f.Buyer
		}
	}
	if o.PlacedAt.IsZero() {
		o.PlacedAt = f.PlacedAt
	}
	o.mergeStatus(f.Status, f.Version)
	return conflict
}

// mergeCancellation joins the news that the whole order is cancelled; it may come before the order itself.
func (o *Order) mergeCancellation(f connectors.Order) {
	if o.PlacedAt.IsZero() {
		o.PlacedAt = f.PlacedAt
	}
	o.mergeStatus(connectors.OrderCancelledStatus, f.Version)
}

// mergeStatus takes the status of the newest version; at equal versions the one that leaves less open.
func (o *Order) mergeStatus(status connectors.OrderStatus, version int64) {
	rank := map[connectors.OrderStatus]int{connectors.OrderClosed: 1, connectors.OrderCancelledStatus: 2}
	if version > o.StatusVersion || version == o.StatusVersion && rank[status] > rank[o.Status] {
		o.Status, o.StatusVersion = status, version
	}
}

// line finds a line of the document, or adds it in its place.
func (o *Order) line(id string, ref connectors.Ref) *OrderLine {
	i, found := slices.BinarySearchFunc(o.Lines, id, func(l OrderLine, id string) int { return strings.Compare(l.ID, id) })
	if !found {
		o.Lines = slices.Insert(o.Lines, i, OrderLine{ID: id, Ref: ref, Version: -1})
	}
	return &o.Lines[i]
}

// ordered and orderedOf write what a version orders, for comparison.
func (o *Order) ordered() string {
	lines := make([]string, 0, len(o.Lines))
	for _, l := range o.Lines {
		if l.Version == o.Version {
			lines = append(lines, l.ID+"="+strconv.FormatInt(int64(l.Ordered), 10))
		}
	}
	return strings.Join(lines, "\n")
}

func orderedOf(f connectors.Order) string {
	lines := make([]string, 0, len(f.Lines))
	for _, l := range slices.SortedFunc(slices.Values(f.Lines), func(a, b connectors.ChannelLine) int { return strings.Compare(a.LineID, b.LineID) }) {
		lines = append(lines, l.LineID+"="+strconv.FormatInt(int64(l.Quantity), 10))
	}
	return strings.Join(lines, "\n")
}

// wanted is how many packs of a line the order has as it stands, before cancellations: none when the line was taken out
// of it.
func (o *Order) wanted(l *OrderLine) stock.Quantity {
	if l.Version < o.Version {
		return 0
	}
	return l.Ordered
}

// open is how many packs of a line are wanted and not cancelled.
func (o *Order) open(l *OrderLine) stock.Quantity {
	if o.Status == connectors.OrderCancelledStatus {
		return 0
	}
	return max(0, o.wanted(l)-l.cancelled())
}

// openUnits is how many base units of a component are wanted and not cancelled.
func (o *Order) openUnits(l *OrderLine, c *LineComponent) stock.Quantity {
	if c.Replaced {
		return 0
	}
	return o.open(l) * c.Units
}

// cancelled is how many packs of a line are cancelled, by the channel's word or by a remedy.
func (l *OrderLine) cancelled() stock.Quantity { return max(l.Cancelled, l.Refunded) }

// promised is how many base units of a line's component must be held back for it: what is open, less what the system of
// record has subtracted by itself or will not deliver. What was cancelled after the system of record had heard of it counts
// as open until it has acknowledged the cancellation: it may have left already.
func (o *Order) promised(l *OrderLine, c *LineComponent, basis bases) stock.Quantity {
	open := max(o.openUnits(l, c), o.Acknowledged[c.recordLine(l)])
	return max(0, open-o.deducted(l, c, basis)-o.rejected(l, c))
}

// pooled is how many base units of a line's component count as sold from its pool: those that it still needs, or needed until
// they were shipped. Cancelled ones count until the system of record has acknowledged it, for as long are they promised.
func (o *Order) pooled(l *OrderLine, c *LineComponent) stock.Quantity {
	return max(0, max(o.openUnits(l, c), o.Acknowledged[c.recordLine(l)])-o.rejected(l, c))
}

// channelOpen is how many packs of a line the channel itself still counts as open.
func (o *Order) channelOpen(l *OrderLine) stock.Quantity {
	if o.Status == connectors.OrderCancelledStatus {
		return 0
	}
	return max(0, o.wanted(l)-l.Cancelled-l.Shipped)
}

// deducted is how many base units of a line's component the system of record has subtracted by itself: what it shipped
// from locations where its numbers mean on hand, and what it allocated, or shipped without telling the allocation, at
// those where they mean available.
func (o *Order) deducted(l *OrderLine, c *LineComponent, basis bases) stock.Quantity {
	onHand := func(at stock.LocationID) bool { return basis(at) == stock.OnHandBasis }
	allocated, shipped := o.allocated(l, c, basis)
	return o.shipped(l, c, onHand) + max(allocated, shipped)
}

// allocated is how many base units of a line's component are allocated, and how many were shipped, at the locations
// whose numbers mean available.
func (o *Order) allocated(l *OrderLine, c *LineComponent, basis bases) (allocated, shipped stock.Quantity) {
	available := func(at stock.LocationID) bool { return basis(at) == stock.AvailableBasis }
	allocated = o.sum(l, c, connectors.OrderAllocated, available) - o.sum(l, c, connectors.OrderDeallocated, available)
	for _, place := range o.answeredPlaces(l, c) {
		if available(place) {
			_, more := o.unexplainedAllocated(l, c, place)
			allocated += more
		}
	}
	return max(0, allocated), o.shipped(l, c, available)
}

func (o *Order) rejected(l *OrderLine, c *LineComponent) stock.Quantity {
	return o.sum(l, c, connectors.OrderRejected, anywhere) + o.unexplainedRejected(l, c)
}

func anywhere(stock.LocationID) bool { return true }

func (o *Order) sum(l *OrderLine, c *LineComponent, kind connectors.Kind, at func(stock.LocationID) bool) stock.Quantity {
	var sum stock.Quantity
	for i := range o.Deductions {
		if d := &o.Deductions[i]; d.Kind == kind && d.concerns(l, c) && at(d.Location) {
			sum += d.Quantity
		}
	}
	return sum
}

// concerns reports whether a deduction is about a component of a line. The system of record names the line by the id
// that we gave it; one that keeps the marketplace's line id names the component by its SKU.
func (d *Deduction) concerns(l *OrderLine, c *LineComponent) bool {
	return d.SKU == c.recordSKU() && (d.LineID == l.ID || d.LineID == c.recordLine(l))
}

// recordSKU is what the system of record calls the component, and states numbers of.
func (c *LineComponent) recordSKU() stock.SKU { return cmp.Or(c.RecordName, c.SKU) }

// recordLine is the id at the system of record of the part of a line that the component carries.
func (c *LineComponent) recordLine(l *OrderLine) string {
	if c.Record != "" {
		return c.Record
	}
	return mapping.RecordLineID(l.ID, len(l.Components), cmp.Or(c.Name, c.SKU))
}

// findLine finds the line and component that a line id of the system of record names; nil when there is none.
func (o *Order) findLine(recordLineID string) (*OrderLine, *LineComponent) {
	for i := range o.Lines {
		l := &o.Lines[i]
		for j := range l.Components {
			if c := &l.Components[j]; c.recordLine(l) == recordLineID {
				return l, c
			}
		}
	}
	return nil, nil
}

// addDeduction joins a deduction, once per key.
func (o *Order) addDeduction(d Deduction) {
	i, found := slices.BinarySearchFunc(o.Deductions, d.Key, func(d Deduction, key string) int { return strings.Compare(d.Key, key) })
	if !found {
		o.Deductions = slices.Insert(o.Deductions, i, d)
	}
}

// addShipment joins a shipment, once per id.
func (o *Order) addShipment(s OrderShipment) {
	i, found := slices.BinarySearchFunc(o.Shipments, s.ID, func(s OrderShipment, id string) int { return strings.Compare(s.ID, id) })
	if !found {
		o.Shipments = slices.Insert(o.Shipments, i, s)
	}
}

// shippedPacks is how many packs of a line have left completely.
func (o *Order) shippedPacks(l *OrderLine) stock.Quantity {
	components := make([]mapping.Component, 0, len(l.Components))
	shipped := make(map[stock.SKU]stock.Quantity, len(l.Components))
	for i := range l.Components {
		c := &l.Components[i]
		if c.Replaced {
			continue
		}
		components = append(components, mapping.Component{SKU: c.SKU, Units: c.Units})
		shipped[c.SKU] = o.shipped(l, c, anywhere)
	}
	return mapping.Shipped(components, shipped)
}

// toldPacks is how many packs of a line the marketplace was told of.
func (o *Order) toldPacks(lineID string) stock.Quantity {
	var told stock.Quantity
	for _, s := range o.Shipments {
		for _, p := range s.Sent {
			if p.LineID == lineID {
				told += p.Quantity
			}
		}
	}
	return told
}
