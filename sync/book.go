package sync

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// book is the working set of one batch: what was loaded, what facts made of it, and what is to be saved. It does no
// I/O. The rule that it keeps, whatever the order of the facts:
//
//	tracked units at a location   = statement + movements that the statement does not cover
//	committed of an order's line  = open packs × units − what the system of record deducted or rejected
//	reserved                      = what campaigns have a right to (see PoolState) + what a reading lacks (see Reservation)
//	available                     = tracked − committed − reserved − unavailable
//
// Postings are the differences that a fact makes to these sums.
type book struct {
	engine *Engine
	now    time.Time
	event  decoded
	// told is true while the present fact is what the system of record acknowledged: it need not hear of it again.
	told bool

	orders       map[OrderKey]*Order
	components   map[ListingKey][]mapping.Component
	known        map[stock.SKU]bool
	levels       map[LevelKey]*HeldLevel
	bySKU        map[stock.SKU][]*HeldLevel
	statements   map[sourceKey]*HeldStatement
	movements    map[movementID]*HeldMovement
	uncovered    map[sourceKey][]*HeldMovement
	listings     map[ListingKey]*Listing
	reservations map[ListingKey]*Reservation

	// before holds, of every SKU touched, what was available over all locations before the batch.
	before map[stock.SKU]stock.Quantity
	// pending gathers what the present fact changes at each level, until it is posted.
	pending map[LevelKey]*change
	// rejudged SKUs are looked at for an oversell although nothing of them is posted.
	rejudged map[stock.SKU]bool

	touchedOrders     map[OrderKey]bool
	touchedLevels     map[LevelKey]bool
	touchedStatements map[sourceKey]bool
	touchedMovements  map[movementID]bool
	commitments       map[commitmentID]Commitment
	sales             map[commitmentID]Sale
	counted           map[commitmentID]stock.Quantity // by how much more windows count than before the batch
	booked            map[commitmentID]bool           // lines of services
	bookings          []Booking
	settings          *decisions
	saleEvents        map[commitmentID]decoded // by what the sales were noted
	refilled          map[stock.SKU]decoded    // of which keys came in, or went
	grants            []KeyGrant
	entries           []LedgerEntry
	dirty             map[stock.SKU]bool
	stated            map[stock.SKU]bool // of those, whose numbers a system of record changed
	look              map[ListingKey]bool
	seen              map[ListingKey]Listing
	forwards          map[OrderKey]Forward
	notices           []Notice
	parked            []Parked
	admissions        []Admission
	incidents         []Incident
	closed            []Incident
	remedies          []Remedy
	hints             map[stock.ConnectionID]*hint
	versions          map[[2]string]Version

	touchedReservations map[ListingKey]bool
	taken               map[ListingKey]stock.Quantity

	// corrections are the differences that stocktakes found and somebody approved, of the levels that the batch touches.
	corrections  map[sourceKey][]*StocktakeLine
	touchedLines map[LineKey]*StocktakeLine

	// pools are those of the SKUs loaded, in the order in which they are served. unsettled SKUs have pools whose right may
	// have changed.
	pools        map[stock.SKU][]*heldPool
	poolsByName  map[string]*heldPool
	touchedPools map[string]*PoolState
	poolSteps    []PoolStep
	unsettled    map[stock.SKU]bool
}

type sourceKey struct {
	Connection stock.ConnectionID
	LevelKey
}

type movementID struct {
	sourceKey
	key string
}

type commitmentID struct {
	OrderKey
	lineID string
	sku    stock.SKU
}

// hint is what a connection should be asked after the batch.
type hint struct{ any, levels, items bool }

// change is what one fact does to one level. drawn are the units that go from reserved to committed, because a buyer took
// them from a pool.
type change struct{ tracked, committed, unavailable, reserved, drawn stock.Quantity }

func newBook(e *Engine, now time.Time) *book {
	return &book{
		engine:            e,
		now:               now,
		levels:            make(map[LevelKey]*HeldLevel),
		bySKU:             make(map[stock.SKU][]*HeldLevel),
		statements:        make(map[sourceKey]*HeldStatement),
		movements:         make(map[movementID]*HeldMovement),
		uncovered:         make(map[sourceKey][]*HeldMovement),
		before:            make(map[stock.SKU]stock.Quantity),
		pending:           make(map[LevelKey]*change),
		rejudged:          make(map[stock.SKU]bool),
		touchedOrders:     make(map[OrderKey]bool),
		touchedLevels:     make(map[LevelKey]bool),
		touchedStatements: make(map[sourceKey]bool),
		touchedMovements:  make(map[movementID]bool),
		commitments:       make(map[commitmentID]Commitment),
		sales:             make(map[commitmentID]Sale),
		counted:           make(map[commitmentID]stock.Quantity),
		booked:            make(map[commitmentID]bool),
		saleEvents:        make(map[commitmentID]decoded),
		refilled:          make(map[stock.SKU]decoded),
		dirty:             make(map[stock.SKU]bool),
		stated:            make(map[stock.SKU]bool),
		look:              make(map[ListingKey]bool),
		seen:              make(map[ListingKey]Listing),
		forwards:          make(map[OrderKey]Forward),
		hints:             make(map[stock.ConnectionID]*hint),
		versions:          make(map[[2]string]Version),

		touchedReservations: make(map[ListingKey]bool),
		taken:               make(map[ListingKey]stock.Quantity),

		corrections:  make(map[sourceKey][]*StocktakeLine),
		touchedLines: make(map[LineKey]*StocktakeLine),

		pools:        make(map[stock.SKU][]*heldPool),
		poolsByName:  make(map[string]*heldPool),
		touchedPools: make(map[string]*PoolState),
		unsettled:    make(map[stock.SKU]bool),
	}
}

func (b *book) noteLevel(l *HeldLevel) {
	b.bySKU[l.SKU] = append(b.bySKU[l.SKU], l)
}

func (b *book) noteMovement(m *HeldMovement) {
	id := movementID{sourceKey{m.Connection, m.LevelKey}, m.Key}
	if b.movements[id] != nil {
		return
	}
	b.movements[id] = m
	if !m.Covered {
		b.uncovered[id.sourceKey] = append(b.uncovered[id.sourceKey], m)
	}
}

func (b *book) hint(id stock.ConnectionID) *hint {
	if b.hints[id] == nil {
		b.hints[id] = new(hint)
	}
	return b.hints[id]
}

// orderKey finds the order that a key of ours names; ok is false for keys that are not ours.
func (b *book) orderKey(key string) (OrderKey, bool) {
	channel, id, ok := mapping.ParseOrderKey(key)
	if !ok || b.engine.channels[channel] == nil {
		return OrderKey{}, false
	}
	return OrderKey{channel, id}, true
}

// recordOf is the system of record that gets a channel's orders.
func (b *book) recordOf(channel stock.ConnectionID) stock.ConnectionID {
	if c := b.engine.channels[channel]; c != nil {
		return c.OrdersTo
	}
	return ""
}

// checkSKU refuses an article that nobody has heard of, when it comes by webhook. What we read from a system of record
// is its own list of articles.
func (b *book) checkSKU(name string) error {
	sku := stock.SKU(name)
	if b.event.Format == FactsFormat || b.known[sku] {
		return nil
	}
	return &unknownError{text: fmt.Sprintf("SKU %q is not known: it is neither an article of a system of record nor in the mapping", name), skus: []stock.SKU{sku}}
}

// --- statements and movements -------------------------------------------------------------------------------------

func (b *book) applyStatement(r *recordState, f connectors.Fact) error {
	s := f.Statement
	if err := b.checkSKU(s.SKU); err != nil {
		return err
	}
	if f.Position == (stock.Position{}) {
		b.hint(r.id).any, b.hint(r.id).levels = true, true
		return fmt.Errorf("the level of %s has no position, as_of or timestamp, so nobody can tell how old it is; the levels are read instead", s.SKU)
	}
	key := sourceKey{r.id, LevelKey{stock.SKU(s.SKU), stock.LocationID(s.Location)}}
	held := b.statements[key]
	if held != nil && !f.Position.Supersedes(held.Position) {
		return nil
	}
	if r.id == OwnSource {
		b.refilled[key.SKU] = b.event
	}
	before := b.sourceUnits(key)
	next := &HeldStatement{Connection: r.id, LevelKey: key.LevelKey, Quantity: s.Quantity, Position: f.Position, Event: b.event.ID, At: b.now}
	b.statements[key] = next
	b.touchedStatements[key] = true
	if held == nil {
		b.dirty[key.SKU] = true // from now on its number is known, be it the same
	}
	if held == nil || held.Quantity != s.Quantity || len(b.uncovered[key]) > 0 {
		b.keepStatement(next) // one that says the same again changes nothing that could be asked for later
	}
	open := b.uncovered[key][:0]
	for _, m := range b.uncovered[key] {
		if next.Position.Covers(m.Position, m.Delta) {
			m.Covered = true
			b.touchedMovements[movementID{key, m.Key}] = true
			if l, _ := b.correction(key, m.Key); l != nil {
				b.contained(l)
			}
			continue
		}
		open = append(open, m)
		if nextReadCovers(next.Position, m) {
			b.hint(r.id).any, b.hint(r.id).levels = true, true
		}
		b.awaitBooking(r, m)
	}
	b.uncovered[key] = open
	b.at(key.LevelKey).tracked += b.sourceUnits(key) - before
	b.post(stock.CauseStatement, positionText(r.id, f.Position))
	return nil
}

// sourceUnits is what one source's word amounts to at a location: its statement and the movements after it.
func (b *book) sourceUnits(key sourceKey) stock.Quantity {
	var units stock.Quantity
	if s := b.statements[key]; s != nil {
		units = s.Quantity
	}
	for _, m := range b.uncovered[key] {
		units += m.Delta
	}
	return units
}

// move takes a movement of a source's number into the book, once per key, and returns whether it is new. A movement
// that the held statement covers changes nothing that is tracked.
func (b *book) move(record stock.ConnectionID, key string, at LevelKey, delta stock.Quantity, position stock.Position) (fresh bool) {
	id := movementID{sourceKey{record, at}, key}
	m := b.movements[id]
	if m != nil {
		// The same fact by another way may tell its place better.
		if !m.Position.Sequenced && position.Sequenced {
			m.Position.Sequenced, m.Position.Sequence = true, position.Sequence
			b.touchedMovements[id] = true
			if s := b.statements[id.sourceKey]; !m.Covered && s != nil && s.Position.Covers(m.Position, m.Delta) {
				b.cover(id, m)
			}
		}
		return false
	}
	m = &HeldMovement{Connection: record, Key: key, LevelKey: at, Delta: delta, Position: position, At: b.now}
	b.movements[id] = m
	b.touchedMovements[id] = true
	if s := b.statements[id.sourceKey]; s != nil && s.Position.Covers(position, delta) {
		m.Covered = true
		return true
	}
	b.uncovered[id.sourceKey] = append(b.uncovered[id.sourceKey], m)
	b.at(at).tracked += delta
	if len(b.corrections) > 0 && !strings.HasPrefix(key, correctionPrefix) {
		b.countedBefore(id.sourceKey, delta, position)
	}
	return true
}

// cover moves a movement to those that the held statement contains.
func (b *book) cover(id movementID, m *HeldMovement) {
	m.Covered = true
	b.uncovered[id.sourceKey] = slices.DeleteFunc(b.uncovered[id.sourceKey], func(o *HeldMovement) bool { return o == m })
	b.at(id.LevelKey).tracked -= m.Delta
}

// adjustMovement sets the delta of a movement that is derived from several facts.
func (b *book) adjustMovement(record stock.ConnectionID, key string, at LevelKey, delta stock.Quantity, position stock.Position) {
	id := movementID{sourceKey{record, at}, key}
	m := b.movements[id]
	if m == nil {
		if delta != 0 {
			b.move(record, key, at, delta, position)
		}
		return
	}
	if m.Delta == delta {
		return
	}
	if !m.Covered {
		b.at(at).tracked += delta - m.Delta
	}
	m.Delta = delta
	b.touchedMovements[id] = true
}

func (b *book) applyMovement(r *recordState, key string, f connectors.Fact) error {
	m := f.Movement
	if err := b.checkSKU(m.SKU); err != nil {
		return err
	}
	if r.can().Positions && !f.Position.Sequenced {
		// The same movement will come with its position from the list of movements; counting both would double it.
		b.hint(r.id).any = true
		return nil
	}
	at := LevelKey{stock.SKU(m.SKU), stock.LocationID(m.Location)}
	if b.statements[sourceKey{r.id, at}] == nil {
		b.hint(r.id).any, b.hint(r.id).levels = true, true // a change of what nobody has stated yet
	}
	if len(b.corrections) > 0 && b.settleCorrection(sourceKey{r.id, at}, key, f) {
		return nil
	}
	if !b.move(r.id, key, at, m.Delta, f.Position) {
		b.post(stock.CauseMovement, m.Reason)
		return nil
	}
	if m.Delta < 0 && m.Reason == "write_off" && r.basisAt(at.Location) == stock.OnHandBasis {
		// What is written off are first the units that were not sellable anyway. What breaks was sellable until then.
		if l := b.levels[at]; l != nil && l.Unavailable > 0 {
			b.at(at).unavailable -= min(l.Unavailable, -m.Delta)
		}
	}
	b.post(stock.CauseMovement, m.Reason)
	return nil
}

func (b *book) applyReturn(r *recordState, f connectors.Fact) error {
	// All lines or none: what a refused fact had moved already would never be posted.
	for _, l := range f.Return.Lines {
		if err := b.checkSKU(l.SKU); err != nil {
			return err
		}
	}
	for j, l := range f.Return.Lines {
		at := LevelKey{stock.SKU(l.SKU), stock.LocationID(l.Location)}
		if r.basisAt(at.Location) == stock.AvailableBasis && !l.Sellable {
			continue // the source's number does not count it
		}
		if b.move(r.id, returnKey(f.Return.ReturnID, j), at, l.Quantity, f.Position) && !l.Sellable {
			b.at(at).unavailable += l.Quantity
		}
	}
	b.post(stock.CauseReturn, f.Return.ReturnID)
	return nil
}

// --- orders -------------------------------------------------------------------------------------------------------

func (b *book) order(key OrderKey) *Order {
	o := b.orders[key]
	if o == nil {
		o = &Order{Channel: key.Channel, OrderID: key.OrderID, Version: -1, StatusVersion: -1, Status: connectors.OrderOpen}
		b.orders[key] = o
	}
	b.touchedOrders[key] = true
	return o
}

func (b *book) applyOrder(c *channelState, f connectors.Fact) error {
	o := b.order(OrderKey{c.id, f.Order.OrderID})
	if o.AcceptedAt.IsZero() || b.event.ReceivedAt.Before(o.AcceptedAt) {
		o.AcceptedAt = b.event.ReceivedAt
	}
	disputed := o.Conflict
	if f.Kind == connectors.OrderCancelled {
		o.mergeCancellation(*f.Order)
	} else if conflict := o.mergeFact(*f.Order); disputed && !o.Conflict {
		b.closed = append(b.closed, Incident{Kind: IncidentVersionConflict, Subject: mapping.OrderKey(o.Channel, o.OrderID), ClosedAt: b.now})
	} else if conflict {
		b.incidents = append(b.incidents, Incident{Kind: IncidentVersionConflict, Subject: mapping.OrderKey(o.Channel, o.OrderID), OpenedAt: b.now,
			Message: fmt.Sprintf("%s sent two different contents of order %s as version %d. Look at the order there and here; the next version settles it.", o.Channel, o.OrderID, o.Version)})
	}
	err := b.mapLines(o)
	b.commit(o)
	b.post(stock.CauseCommitment, mapping.OrderKey(o.Channel, o.OrderID))
	// The channel has changed its own number with the order, and need not change it back as we would: an order that was
	// placed and cancelled before we heard of it leaves our target as it is, and the channel short.
	for _, l := range o.Lines {
		if key := (ListingKey{c.id, l.Ref}); b.listings[key] != nil && b.listings[key].Mapped {
			b.look[key] = true
		}
	}
	return err
}

// mapLines fixes the components of every line whose listing is mapped, and says which lines wait for a mapping.
func (b *book) mapLines(o *Order) error {
	var missing []ListingKey
	for i := range o.Lines {
		l := &o.Lines[i]
		key := ListingKey{o.Channel, l.Ref}
		if b.listings[key] == nil {
			b.seen[key] = Listing{ListingKey: key}
		}
		if len(l.Components) > 0 {
			continue
		}
		components := b.components[key]
		if len(components) == 0 {
			if o.open(l) > 0 {
				missing = append(missing, key)
			}
			continue
		}
		for _, c := range components {
			part := LineComponent{SKU: c.SKU, RecordName: b.recordName(c.SKU), Units: c.Units, Location: b.chooseLocation(o, l, c)}
			if p := b.poolFor(key, c.SKU, o.orderedAt()); p != nil {
				part.Pool = p.name
				if location, holds := p.poolLocation(o.open(l) * c.Units); holds {
					part.Location = location
				}
			}
			l.Components = append(l.Components, part)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &unknownError{text: fmt.Sprintf("order %s: listing %s is not mapped to any SKU", o.OrderID, refTexts(missing)), refs: missing}
}

// chooseLocation decides where a line's units are promised: the first location of the channel that has enough, else the
// one that has most. What leaves from where is the system of record's business; the sums are right either way.
func (b *book) chooseLocation(o *Order, l *OrderLine, c mapping.Component) stock.LocationID {
	return b.locationFor(o.Channel, l.Ref.Place, c, o.open(l))
}

// locationFor decides where packs of a component are taken from.
func (b *book) locationFor(id stock.ConnectionID, place string, c mapping.Component, packs stock.Quantity) stock.LocationID {
	if b.isLicence(c.SKU) {
		return KeysLocation
	}
	channel := b.engine.channels[id]
	locations, _ := channel.Places.Locations(place)
	locations = slices.Clone(locations)
	if len(locations) == 0 {
		for _, level := range b.bySKU[c.SKU] {
			locations = append(locations, level.Location)
		}
		slices.Sort(locations)
	}
	var best stock.LocationID
	var most stock.Quantity
	for i, location := range locations {
		var available stock.Quantity
		if level := b.levels[LevelKey{c.SKU, location}]; level != nil {
			available = level.Available
		}
		if available >= packs*c.Units {
			return location
		}
		if i == 0 || available > most {
			best, most = location, available
		}
	}
	return best
}

// commit brings the ledger's commitments to what the document says, and tells who else must hear of the change.
func (b *book) commit(o *Order) {
	basis := b.engine.basesOf(o.Channel)
	record := b.recordOf(o.Channel)
	b.place(o, basis)
	mapped := o.Version >= 0
	for i := range o.Lines {
		l := &o.Lines[i]
		b.take(o, l)
		if len(l.Components) == 0 && o.open(l) > 0 {
			mapped = false
		}
		for j := range l.Components {
			c := &l.Components[j]
			b.adjustExcess(o, l, c, record, basis)
			want := o.promised(l, c, basis)
			changed := want != c.Committed
			drawn := b.draw(o, l, c, want-c.Committed)
			if changed {
				at := b.at(LevelKey{c.SKU, c.Location})
				at.committed += want - c.Committed - drawn
				at.drawn += drawn
				c.Committed = want
			}
			row := Commitment{OrderKey: o.Key(), LineID: l.ID, SKU: c.SKU, Location: c.Location, Quantity: want, Ref: l.Ref, AcceptedAt: o.AcceptedAt}
			if j == 0 {
				row.ChannelOpen = o.channelOpen(l)
				b.keepChannelOpen(row)
			}
			if changed {
				b.keepCommitment(row)
			}
			b.commitments[commitmentID{o.Key(), l.ID, c.SKU}] = row
			b.noteSale(o, l, c)
			b.dirty[c.SKU] = true
		}
	}
	if mapped && !b.told && record != "" && !b.engine.records[record].can().ListensOnly {
		b.forwards[o.Key()] = Forward{OrderKey: o.Key(), Connection: record, DueAt: b.now}
	}
	if mapped {
		b.standInShipment(o)
		b.makeNotices(o)
	}
	b.watchStuck(o)
}

// adjustExcess keeps the movements that stand for units of a line that were shipped although no allocation of them is
// known: where statements mean available units, the allocation was the deduction, and its message is late or lost. Which
// shipment had no allocation nobody can tell; the newest ones are taken, which statements contain last.
func (b *book) adjustExcess(o *Order, l *OrderLine, c *LineComponent, record stock.ConnectionID, basis bases) {
	shipments := b.adjustStanding(o, l, c, record, basis)
	for i := range o.Deductions {
		d := &o.Deductions[i]
		if d.Kind == connectors.ShipmentShipped && d.concerns(l, c) && basis(d.Location) == stock.AvailableBasis {
			shipments = append(shipments, departure{d.Key, d.Location, d.Quantity, d.Position})
		}
	}
	slices.SortFunc(shipments, func(x, y departure) int {
		return cmp.Or(cmp.Compare(y.position.Sequence, x.position.Sequence), y.position.SourceAt.Compare(x.position.SourceAt), cmp.Compare(y.key, x.key))
	})
	allocated, shipped := o.allocated(l, c, basis)
	excess := max(0, shipped-allocated)
	for _, d := range shipments {
		units := min(excess, d.units)
		excess -= units
		b.adjustMovement(record, excessKey(o.Key(), l.ID, d.key), LevelKey{c.recordSKU(), d.at}, -units, d.position)
	}
}

// departure is a part of a line that left a location, by a shipment that was told or by the answer to a question.
type departure struct {
	key      string
	at       stock.LocationID
	units    stock.Quantity
	position stock.Position
}

// place finds the lines of what the system of record told of them before the order itself was known or mapped, and counts
// it from then on.
func (b *book) place(o *Order, basis bases) {
	for i := range o.Deductions {
		d := &o.Deductions[i]
		if d.SKU != "" {
			continue
		}
		if _, c := o.findLine(d.LineID); c != nil {
			d.SKU = c.recordSKU()
			b.moveAllocation(b.recordOf(o.Channel), d, basis)
		}
	}
}

// moveAllocation counts an allocation, or its end, where it is what the numbers of the system of record show.
func (b *book) moveAllocation(record stock.ConnectionID, d *Deduction, basis bases) {
	if basis(d.Location) != stock.AvailableBasis {
		return
	}
	at := LevelKey{d.SKU, d.Location}
	switch d.Kind {
	case connectors.OrderAllocated:
		b.move(record, d.Key, at, -d.Quantity, d.Position)
	case connectors.OrderDeallocated:
		b.move(record, d.Key, at, d.Quantity, d.Position)
	}
}

// makeNotices turns shipments of the order into notices for its marketplace: the packs that are complete with them and
// were not yet told.
func (b *book) makeNotices(o *Order) {
	for i := range o.Shipments {
		s := &o.Shipments[i]
		if len(s.Sent) > 0 {
			continue
		}
		for j := range o.Lines {
			l := &o.Lines[j]
			if packs := o.shippedPacks(l) - o.toldPacks(l.ID); packs > 0 {
				s.Sent = append(s.Sent, connectors.ShippedPacks{LineID: l.ID, Quantity: packs})
			}
		}
		if len(s.Sent) == 0 {
			continue
		}
		b.notices = append(b.notices, Notice{Channel: o.Channel, DueAt: b.now, ShipmentNotice: connectors.ShipmentNotice{
			Key: string(b.recordOf(o.Channel)) + ":" + s.ID, OrderID: o.OrderID, Lines: slices.Clone(s.Sent), Carrier: s.Carrier, Tracking: s.Tracking,
		}})
	}
}

// standInShipment adds a shipment without a name of its own for what left by an answer alone, so that its marketplace
// hears of it. The message about the true one, when it comes after all, finds nothing left to tell.
func (b *book) standInShipment(o *Order) {
	if len(o.Answers) == 0 || slices.ContainsFunc(o.Shipments, func(s OrderShipment) bool { return len(s.Sent) == 0 }) {
		return
	}
	for i := range o.Lines {
		if l := &o.Lines[i]; o.shippedPacks(l) > o.toldPacks(l.ID) {
			o.addShipment(OrderShipment{ID: fmt.Sprintf("asked:%s:%d", mapping.OrderKey(o.Channel, o.OrderID), len(o.Shipments)+1)})
			return
		}
	}
}

func (b *book) applyShipment(r *recordState, f connectors.Fact) error {
	s := f.Shipment
	for _, l := range s.Lines {
		if err := b.checkSKU(l.SKU); err != nil {
			return err
		}
	}
	key, ours := b.orderKey(s.OrderKey)
	var o *Order
	if ours {
		o = b.order(key)
		o.addShipment(OrderShipment{ID: s.ShipmentID, Carrier: s.Carrier, Tracking: s.Tracking})
	}
	for j, l := range s.Lines {
		at := LevelKey{stock.SKU(l.SKU), stock.LocationID(l.Location)}
		id := shipmentKey(s.ShipmentID, j, l)
		if r.basisAt(at.Location) == stock.OnHandBasis {
			b.move(r.id, id, at, -l.Quantity, f.Position)
		}
		if o != nil {
			o.addDeduction(Deduction{Key: id, Kind: f.Kind, LineID: l.LineID, SKU: at.SKU, Location: at.Location, Quantity: l.Quantity, Position: f.Position})
		}
	}
	if o != nil {
		b.commit(o)
	}
	b.post(stock.CauseDeduction, s.ShipmentID)
	return nil
}

// applyTold frees what was held until the system of record had acknowledged that it will not deliver it.
func (b *book) applyTold(f connectors.Fact) {
	key, ours := b.orderKey(f.Told.OrderKey)
	if !ours {
		return // its channel is not configured any more
	}
	b.told = true
	b.commit(b.order(key))
	b.told = false
	b.post(stock.CauseCommitment, f.Told.OrderKey)
}

func (b *book) applyAllocation(r *recordState, i int, f connectors.Fact) error {
	a := f.Allocation
	key, ours := b.orderKey(a.OrderKey)
	if !ours {
		return fmt.Errorf("order key %q is not one that we gave: it names no channel of ours", a.OrderKey)
	}
	if r.can().Positions && !f.Position.Sequenced {
		b.hint(r.id).any = true // it will come with its position from the list of movements
		return nil
	}
	o := b.order(key)
	for j, l := range a.Lines {
		// A line that is not known yet gets its SKU when it is: see place.
		o.addDeduction(Deduction{Key: allocationKey(b.event, i, j), Kind: f.Kind, LineID: l.LineID, Location: stock.LocationID(l.Location), Quantity: l.Quantity, Position: f.Position})
	}
	cause := stock.CauseDeduction
	if f.Kind == connectors.OrderRejected {
		cause = stock.CauseRejection
		b.rejectionIncident(r, a.OrderKey, key.Channel)
	}
	b.commit(o)
	b.post(cause, a.OrderKey)
	return nil
}

func (b *book) rejectionIncident(r *recordState, orderKey string, channel stock.ConnectionID) {
	b.incidents = append(b.incidents, Incident{Kind: IncidentOrderRejected, Subject: orderKey, OpenedAt: b.now,
		Message: fmt.Sprintf("%s will not deliver all of order %s, which %s has accepted. Its units are free again; tell the buyer, and cancel there or order anew here.", r.id, orderKey, channel)})
}

// --- observations -------------------------------------------------------------------------------------------------

// applyObservation takes what a channel says that a listing shows. It never moves stock: what agrees with the target is
// the echo of our own write; anything else asks for a look.
func (b *book) applyObservation(key ListingKey, f connectors.Fact) {
	l := b.listings[key]
	if l == nil {
		b.seen[key] = Listing{ListingKey: key, SKU: f.Observation.SKU, Title: f.Observation.Title, Status: connectors.StatusActive}
		return
	}
	if !l.Mapped {
		return
	}
	gone := l.Status == connectors.StatusRemoved
	q := f.Observation.Quantity
	switch {
	case f.Kind == connectors.ListingRemoved && gone:
	case f.Kind == connectors.ListingChanged && !gone && q != nil && l.Target != nil && *q == *l.Target:
	default:
		b.look[key] = true
	}
}

// --- posting ------------------------------------------------------------------------------------------------------

// at is the change that the present fact makes to a level.
func (b *book) at(key LevelKey) *change {
	if b.pending[key] == nil {
		b.pending[key] = new(change)
	}
	return b.pending[key]
}

// post turns the gathered changes into postings, each between two states, and applies them to the levels.
func (b *book) post(cause, reference string) {
	for _, key := range sortedKeys(b.pending, compareLevelKeys) {
		c := b.pending[key]
		move := func(q stock.Quantity, from, to stock.State) {
			if q > 0 {
				b.enter(key, from, to, q, stock.Cause{Kind: cause, Event: b.event.ID, Reference: reference})
			}
		}
		shipped := min(-min(c.committed, 0), -min(c.tracked, 0))
		move(shipped, stock.Committed, stock.Outside)
		c.committed, c.tracked = c.committed+shipped, c.tracked+shipped
		spoiled := min(max(c.unavailable, 0), max(c.tracked, 0))
		move(spoiled, stock.Outside, stock.Unavailable)
		c.unavailable, c.tracked = c.unavailable-spoiled, c.tracked-spoiled
		scrapped := min(-min(c.unavailable, 0), -min(c.tracked, 0))
		move(scrapped, stock.Unavailable, stock.Outside)
		c.unavailable, c.tracked = c.unavailable+scrapped, c.tracked+scrapped
		move(c.tracked, stock.Outside, stock.Available)
		move(-c.tracked, stock.Available, stock.Outside)
		move(-c.reserved, stock.Reserved, stock.Available)
		move(c.reserved, stock.Available, stock.Reserved)
		move(c.drawn, stock.Reserved, stock.Committed)
		move(-c.drawn, stock.Committed, stock.Reserved)
		move(c.committed, stock.Available, stock.Committed)
		move(-c.committed, stock.Committed, stock.Available)
		move(c.unavailable, stock.Available, stock.Unavailable)
		move(-c.unavailable, stock.Unavailable, stock.Available)
	}
	if len(b.pools) > 0 {
		for key := range b.pending {
			b.unsettled[key.SKU] = true
		}
		for _, sku := range sortedKeys(b.unsettled, cmp.Compare[stock.SKU]) {
			b.settle(sku)
		}
	}
	clear(b.pending)
}

func (b *book) enter(key LevelKey, from, to stock.State, q stock.Quantity, cause stock.Cause) {
	l := b.levels[key]
	if l == nil {
		l = &HeldLevel{Level: stock.Level{SKU: key.SKU, Location: key.Location}}
		b.levels[key] = l
		b.noteLevel(l)
	}
	if _, noted := b.before[key.SKU]; !noted {
		b.before[key.SKU] = b.available(key.SKU)
	}
	p := stock.Posting{SKU: key.SKU, Location: key.Location, From: from, To: to, Quantity: q, At: b.now, Cause: cause}
	if err := l.Apply(p); err != nil {
		// Only a bug leads here: the quantity is positive and the states differ by construction.
		panic(fmt.Sprintf("posting refused by its own level: %v", err))
	}
	entry := LedgerEntry{Posting: p, Previous: l.Hash, Hash: ChainHash(l.Hash, p)}
	l.Hash = entry.Hash
	b.entries = append(b.entries, entry)
	b.touchedLevels[key] = true
	b.dirty[key.SKU] = true
	if (cause.Kind == stock.CauseStatement || cause.Kind == stock.CauseMovement) && !approvedFacts(b.event.NewEvent) {
		b.stated[key.SKU] = true
	}
}

// available sums a SKU's available units over all locations.
func (b *book) available(sku stock.SKU) stock.Quantity {
	var sum stock.Quantity
	for _, l := range b.bySKU[sku] {
		sum += l.Available
	}
	return sum
}

// ChainHash is the hash of a posting in its chain: SHA-256 over the hash before it and the posting's fields, each
// written with its length. Postings of one SKU at one location form one chain.
func ChainHash(previous []byte, p stock.Posting) []byte {
	h := make([]byte, 0, 256)
	text := func(s string) {
		h = binary.AppendUvarint(h, uint64(len(s)))
		h = append(h, s...)
	}
	h = append(h, previous...)
	text(string(p.SKU))
	text(string(p.Location))
	h = append(h, byte(p.From), byte(p.To))
	h = binary.AppendVarint(h, int64(p.Quantity))
	h = binary.AppendVarint(h, p.At.UnixNano())
	text(p.Cause.Kind)
	h = binary.AppendVarint(h, p.Cause.Event)
	text(p.Cause.Reference)
	sum := sha256.Sum256(h)
	return sum[:]
}

// changes is everything that the batch changes, in a deterministic order.
func (b *book) changes() Changes {
	c := Changes{Entries: b.entries, Notices: b.notices, Parked: b.parked, Admissions: b.admissions, Incidents: b.incidents, At: b.now}
	for _, key := range sortedKeys(b.touchedOrders, compareOrderKeys) {
		c.Orders = append(c.Orders, b.orders[key])
	}
	for _, id := range sortedKeys(b.commitments, compareCommitments) {
		c.Commitments = append(c.Commitments, b.commitments[id])
	}
	c.KeyGrants, c.Bookings = b.grants, b.bookings
	for _, id := range sortedKeys(b.sales, compareCommitments) {
		c.Sales = append(c.Sales, b.sales[id])
	}
	for _, key := range sortedKeys(b.touchedStatements, compareSources) {
		c.Statements = append(c.Statements, *b.statements[key])
	}
	for _, id := range sortedKeys(b.touchedMovements, compareMovements) {
		c.Movements = append(c.Movements, *b.movements[id])
		b.keepMovement(b.movements[id])
	}
	for _, key := range sortedKeys(b.touchedLevels, compareLevelKeys) {
		c.Levels = append(c.Levels, *b.levels[key])
	}
	for _, key := range sortedKeys(b.touchedReservations, compareListingKeys) {
		c.Reservations = append(c.Reservations, b.reservations[key])
	}
	for _, name := range sortedKeys(b.touchedPools, cmp.Compare[string]) {
		c.Pools = append(c.Pools, b.touchedPools[name])
		b.keep(version(SKUSubject(b.touchedPools[name].SKU), names(poolKey, name), b.now, b.touchedPools[name]))
	}
	c.PoolSteps = b.poolSteps
	for _, key := range sortedKeys(b.touchedLines, func(x, y LineKey) int { return cmp.Or(cmp.Compare(x.Stocktake, y.Stocktake), cmp.Compare(x.N, y.N)) }) {
		c.CountLines = append(c.CountLines, b.touchedLines[key])
	}
	c.Taken = b.taken
	c.Dirty, c.Stated = slices.Sorted(maps.Keys(b.dirty)), slices.Sorted(maps.Keys(b.stated))
	c.Look = sortedKeys(b.look, compareListingKeys)
	for _, key := range sortedKeys(b.seen, compareListingKeys) {
		c.Seen = append(c.Seen, b.seen[key])
	}
	for _, key := range sortedKeys(b.forwards, compareOrderKeys) {
		c.Forwards = append(c.Forwards, b.forwards[key])
	}
	c.Remedies = b.remedies
	c.Incidents, c.Closed = b.incidents, b.closed
	for _, v := range b.versions {
		c.Versions = append(c.Versions, v)
	}
	slices.SortFunc(c.Versions, func(x, y Version) int { return cmp.Or(cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Key, y.Key)) })
	return c
}

func compareSources(a, b sourceKey) int {
	return cmp.Or(cmp.Compare(a.Connection, b.Connection), compareLevelKeys(a.LevelKey, b.LevelKey))
}

func compareMovements(a, b movementID) int {
	return cmp.Or(compareSources(a.sourceKey, b.sourceKey), cmp.Compare(a.key, b.key))
}

func compareCommitments(a, b commitmentID) int {
	return cmp.Or(compareOrderKeys(a.OrderKey, b.OrderKey), cmp.Compare(a.lineID, b.lineID), cmp.Compare(a.sku, b.sku))
}

func refTexts(keys []ListingKey) string {
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = strconv.Quote(k.Ref.String())
	}
	return strings.Join(texts, ", ")
}

func positionText(id stock.ConnectionID, p stock.Position) string {
	switch {
	case p.Sequenced:
		return fmt.Sprintf("%s position %d", id, p.Sequence)
	case !p.SourceAt.IsZero():
		return fmt.Sprintf("%s as of %s", id, p.SourceAt.UTC().Format(time.RFC3339Nano))
	default:
		return fmt.Sprintf("%s read at %s", id, p.SeenAt.UTC().Format(time.RFC3339Nano))
	}
}
