package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// applyBatch is how many events share a transaction: enough to spread the cost of the commit, few enough that nobody
// waits long for it.
const applyBatch = 512

func (e *Engine) applyLoop(ctx context.Context) (time.Duration, error) {
	next, err := e.campaignPass(ctx)
	if err != nil {
		return 0, err
	}
	n, err := e.applyPass(ctx)
	if n > 0 && err == nil {
		return 0, nil
	}
	for _, r := range e.sortedRecords() {
		if err == nil {
			err = e.finishPlans(ctx, r.id)
		}
	}
	if wait := time.Until(next); !next.IsZero() && wait < e.timings.Look {
		return max(wait, time.Millisecond), err
	}
	return e.timings.Look, err
}

// applyPass applies one batch of stored events in one transaction: documents, postings, levels, dirty marks and the
// removal from the due list commit together or not at all. It returns how many events it took.
func (e *Engine) applyPass(ctx context.Context) (int, error) {
	if !e.basesKnown() {
		return 0, nil
	}
	if err := e.applying.take(ctx); err != nil {
		return 0, err
	}
	defer e.applying.give()
	var b *book
	n, err := e.store.Apply(ctx, e.applyBatch, func(tx LedgerTx, events []Event) error {
		b = newBook(e, time.Now().UTC())
		batch := make([]decoded, len(events))
		for i, ev := range events {
			batch[i] = e.decode(ev)
		}
		batch = alone(batch)
		tx.Only(len(batch))
		if err := b.load(tx, batch); err != nil {
			return err
		}
		if batch[0].asks {
			admitted, err := b.admit(tx, batch[0])
			if err != nil {
				return err
			}
			if !admitted {
				batch = nil
			}
		}
		for _, d := range batch {
			b.apply(d)
		}
		for _, finish := range []func(LedgerTx) error{b.grantKeys, b.watchCaps, b.bookSlots} {
			if err := finish(tx); err != nil {
				return err
			}
		}
		if err := b.watchOversells(tx); err != nil {
			return err
		}
		return tx.Save(b.changes())
	})
	if err != nil {
		return 0, fmt.Errorf("apply events: %w", err)
	}
	if n > 0 {
		e.afterApply(b)
	}
	return n, nil
}

// afterApply wakes whoever has work from an applied batch.
func (e *Engine) afterApply(b *book) {
	if len(b.dirty) > 0 {
		e.wakePlan.send()
	}
	for key := range b.look {
		if c := e.channels[key.Connection]; c != nil {
			c.wakePush.send()
		}
	}
	for _, f := range b.forwards {
		if r := e.records[f.Connection]; r != nil {
			r.wakeForward.send()
		}
	}
	for _, n := range b.notices {
		if c := e.channels[n.Channel]; c != nil {
			c.wakeNotice.send()
		}
	}
	for id, hint := range b.hints {
		if r := e.records[id]; r != nil {
			r.wish(hint.levels, hint.items)
		}
		if c, err := e.connection(id); err == nil {
			c.ask()
		}
	}
}

// factSKUs are the places in which a fact names SKUs.
func factSKUs(f *connectors.Fact) []*string {
	var out []*string
	switch {
	case f.Statement != nil:
		out = append(out, &f.Statement.SKU)
	case f.Movement != nil:
		out = append(out, &f.Movement.SKU)
	case f.Shipment != nil:
		for i := range f.Shipment.Lines {
			out = append(out, &f.Shipment.Lines[i].SKU)
		}
	case f.Return != nil:
		for i := range f.Return.Lines {
			out = append(out, &f.Return.Lines[i].SKU)
		}
	case f.Counted != nil:
		out = append(out, &f.Counted.SKU)
	}
	return out
}

// useNewNames replaces the SKUs that were renamed or merged since.
func useNewNames(tx LedgerTx, batch []decoded) error {
	named := make(map[stock.SKU]bool)
	for _, d := range batch {
		for i := range d.facts {
			for _, sku := range factSKUs(&d.facts[i]) {
				named[stock.SKU(*sku)] = true
			}
		}
	}
	aliases, err := tx.Aliases(sortedKeys(named, cmp.Compare[stock.SKU]))
	if err != nil || len(aliases) == 0 {
		return err
	}
	for _, d := range batch {
		for i := range d.facts {
			for _, sku := range factSKUs(&d.facts[i]) {
				*sku = string(cmp.Or(aliases[stock.SKU(*sku)], stock.SKU(*sku)))
			}
		}
	}
	return nil
}

// load reads everything that the batch can touch, and the levels of further SKUs, in a few bulk reads.
func (b *book) load(tx LedgerTx, batch []decoded, further ...stock.SKU) error {
	if err := useNewNames(tx, batch); err != nil {
		return err
	}
	settings, err := b.engine.decisions(tx)
	if err != nil {
		return err
	}
	b.settings = settings
	orders := make(map[OrderKey]bool)
	refs := make(map[ListingKey]bool)
	skus := make(map[stock.SKU]bool)
	named := make(map[stock.SKU]bool)  // by facts themselves, not through a listing
	stated := make(map[stock.SKU]bool) // by statements, which alone ask for all movements since
	seen := make(map[ListingKey]bool)
	moves := make(map[stock.ConnectionID]map[string]bool)
	addMove := func(id stock.ConnectionID, key string) {
		if moves[id] == nil {
			moves[id] = make(map[string]bool)
		}
		moves[id][key] = true
	}
	for _, d := range batch {
		for i, f := range d.facts {
			switch {
			case f.Order != nil:
				orders[OrderKey{d.Connection, f.Order.OrderID}] = true
				for _, l := range f.Order.Lines {
					refs[ListingKey{d.Connection, l.Ref}] = true
				}
			case f.Shortfall != nil:
				refs[ListingKey{d.Connection, f.Shortfall.Ref}] = true
			case f.Observation != nil:
				seen[ListingKey{d.Connection, f.Observation.Ref}] = true
			case f.Statement != nil:
				named[stock.SKU(f.Statement.SKU)] = true
				stated[stock.SKU(f.Statement.SKU)] = true
			case f.Movement != nil:
				named[stock.SKU(f.Movement.SKU)] = true
				addMove(d.Connection, movementKey(d, i))
			case f.Allocation != nil:
				if key, ok := b.orderKey(f.Allocation.OrderKey); ok {
					orders[key] = true
				}
				for j := range f.Allocation.Lines {
					addMove(d.Connection, allocationKey(d, i, j))
				}
			case f.Counted != nil:
				named[stock.SKU(f.Counted.SKU)] = true
			case f.Told != nil:
				if key, ok := b.orderKey(f.Told.OrderKey); ok {
					orders[key] = true
				}
			case f.Standing != nil:
				if key, ok := b.orderKey(f.Standing.OrderKey); ok {
					orders[key] = true
				}
			case f.Shipment != nil:
				key, ok := b.orderKey(f.Shipment.OrderKey)
				if ok {
					orders[key] = true
				}
				for j, l := range f.Shipment.Lines {
					named[stock.SKU(l.SKU)] = true
					addMove(d.Connection, shipmentKey(f.Shipment.ShipmentID, j, l))
				}
			case f.Return != nil:
				for j, l := range f.Return.Lines {
					named[stock.SKU(l.SKU)] = true
					addMove(d.Connection, returnKey(f.Return.ReturnID, j))
				}
			}
		}
	}

	if b.orders, err = tx.Orders(sortedKeys(orders, compareOrderKeys)); err != nil {
		return err
	}
	for _, o := range b.orders {
		if r := b.engine.recordOf(o.Channel); r != nil {
			o.standingKeys(func(key string) { addMove(r.id, key) })
		}
		for _, l := range o.Lines {
			refs[ListingKey{o.Channel, l.Ref}] = true
			for _, c := range l.Components {
				skus[c.SKU], skus[c.recordSKU()] = true, true
				if r := b.engine.recordOf(o.Channel); r != nil && r.allocates() {
					for i := range o.Deductions {
						if d := &o.Deductions[i]; d.Kind == connectors.ShipmentShipped && d.SKU == c.recordSKU() {
							addMove(r.id, excessKey(o.Key(), l.ID, d.Key))
						}
					}
				}
			}
		}
	}
	if b.components, err = tx.Components(sortedKeys(refs, compareListingKeys)); err != nil {
		return err
	}
	for _, components := range b.components {
		for _, c := range components {
			skus[c.SKU] = true
		}
	}
	if b.known, err = tx.KnownSKUs(sortedKeys(named, cmp.Compare[stock.SKU])); err != nil {
		return err
	}
	maps.Copy(skus, named)
	for _, sku := range further {
		skus[sku] = true
	}
	if b.reservations, err = tx.Reservations(sortedKeys(refs, compareListingKeys)); err != nil {
		return err
	}
	for _, r := range b.reservations {
		for _, part := range r.Parts {
			skus[part.SKU] = true
		}
	}
	all := sortedKeys(skus, cmp.Compare[stock.SKU])
	if b.levels, err = tx.Levels(all); err != nil {
		return err
	}
	for _, l := range b.levels {
		b.noteLevel(l)
	}
	if err := b.loadPools(tx, all); err != nil {
		return err
	}
	statements, err := tx.Statements(all)
	if err != nil {
		return err
	}
	for _, s := range statements {
		b.statements[sourceKey{s.Connection, s.LevelKey}] = &s
	}
	uncovered, err := tx.Uncovered(sortedKeys(stated, cmp.Compare[stock.SKU]))
	if err != nil {
		return err
	}
	for _, m := range uncovered {
		b.noteMovement(&m)
	}
	for _, id := range slices.Sorted(maps.Keys(moves)) {
		known, err := tx.Movements(id, sortedKeys(moves[id], cmp.Compare[string]))
		if err != nil {
			return err
		}
		for _, m := range known {
			b.noteMovement(&m)
		}
	}
	if err := b.loadCorrections(tx, batch, sortedKeys(named, cmp.Compare[stock.SKU])); err != nil {
		return err
	}
	for key := range refs {
		seen[key] = true
	}
	b.listings, err = tx.Listings(sortedKeys(seen, compareListingKeys))
	return err
}

// apply takes one event into the book. What cannot be applied is parked with the reason; the rest of the event is
// applied all the same, since every fact stands for itself.
func (b *book) apply(d decoded) {
	if d.err != nil {
		b.park(d, d.err)
		return
	}
	if d.pull {
		b.hint(d.Connection).any = true
	}
	b.event = d
	var reasons []error
	for i, f := range d.facts {
		if err := b.applyFact(d, i, f); err != nil {
			reasons = append(reasons, err)
		}
	}
	if len(reasons) > 0 {
		b.park(d, reasons...)
	}
}

func (b *book) applyFact(d decoded, i int, f connectors.Fact) error {
	channel, record := b.engine.channels[d.Connection], b.engine.records[d.Connection]
	if d.Connection == OwnSource && d.Format == FactsFormat {
		record = b.engine.own
	}
	switch f.Kind {
	case connectors.OrderUpserted, connectors.OrderCancelled, connectors.ListingChanged, connectors.ListingRemoved,
		connectors.ListingShort, connectors.ListingDrained:
		if channel == nil {
			return fmt.Errorf("%s comes from a marketplace, but %q is a system of record", f.Kind, d.Connection)
		}
	case connectors.StockChanged:
		b.hint(d.Connection).any = true
		return nil
	default:
		if record == nil {
			return fmt.Errorf("%s comes from a system of record, but %q is a marketplace", f.Kind, d.Connection)
		}
	}
	switch f.Kind {
	case connectors.OrderUpserted, connectors.OrderCancelled:
		return b.applyOrder(channel, f)
	case connectors.ListingChanged, connectors.ListingRemoved:
		b.applyObservation(ListingKey{d.Connection, f.Observation.Ref}, f)
		return nil
	case connectors.ListingShort, connectors.ListingDrained:
		b.applyShortfall(channel, f)
		return nil
	case connectors.StockLevel:
		return b.applyStatement(record, f)
	case connectors.StockMoved:
		return b.applyMovement(record, movementKey(d, i), f)
	case connectors.OrderAllocated, connectors.OrderDeallocated, connectors.OrderRejected:
		return b.applyAllocation(record, i, f)
	case connectors.ShipmentShipped:
		return b.applyShipment(record, f)
	case connectors.OrderTold:
		b.applyTold(f)
		return nil
	case connectors.OrderStands:
		b.applyStanding(record, f)
		return nil
	case connectors.StockCounted:
		b.applyCounted(record, f)
		return nil
	case connectors.StockBooked:
		b.applyBooked(record, f)
		return nil
	case connectors.ReturnReceived:
		return b.applyReturn(record, f)
	default:
		return fmt.Errorf("type %q is not known", f.Kind)
	}
}

// unknownError is a reference that nothing is known of yet: the event waits for it.
type unknownError struct {
	text string
	refs []ListingKey
	skus []stock.SKU
}

func (u *unknownError) Error() string { return u.text }

// park sets the event aside with every reason, and with what it waits for.
func (b *book) park(d decoded, reasons ...error) {
	p := Parked{Event: d.ID, At: b.now}
	texts := make([]string, 0, len(reasons))
	for _, r := range reasons {
		texts = append(texts, r.Error())
		if u, ok := errors.AsType[*unknownError](r); ok {
			p.Refs = append(p.Refs, u.refs...)
			p.SKUs = append(p.SKUs, u.skus...)
		}
	}
	if len(p.SKUs) > 0 {
		b.hint(d.Connection).items = true
	}
	const most = 20
	if len(texts) > most {
		texts = append(texts[:most], fmt.Sprintf("and %d more", len(texts)-most))
	}
	p.Reason = strings.Join(texts, "; ")
	b.parked = append(b.parked, p)
}

// The keys of movements: the identity of a fact at its source, so that a fact that comes by webhook and by poll, or
// under two delivery ids, counts once.

func movementKey(d decoded, i int) string {
	m, p := d.facts[i].Movement, d.facts[i].Position
	if p.Sequenced {
		return fmt.Sprintf("mov:%d", p.Sequence)
	}
	return fmt.Sprintf("evt:%s:%d:%s", d.Key, i, m.Reason)
}

func allocationKey(d decoded, i, line int) string {
	f := d.facts[i]
	if f.Position.Sequenced {
		return fmt.Sprintf("%s:%d:%d", f.Kind, f.Position.Sequence, line)
	}
	return fmt.Sprintf("evt:%s:%d:%d", d.Key, i, line)
}

func shipmentKey(id string, line int, l connectors.ShipmentLine) string {
	return fmt.Sprintf("shp:%s:%d:%s", id, line, l.LineID)
}

func returnKey(id string, line int) string {
	return fmt.Sprintf("ret:%s:%d", id, line)
}

func excessKey(order OrderKey, lineID, shipment string) string {
	return fmt.Sprintf("exc:%s/%s/%s", mapping.OrderKey(order.Channel, order.OrderID), lineID, shipment)
}

func compareOrderKeys(a, b OrderKey) int {
	return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.OrderID, b.OrderID))
}

func compareListingKeys(a, b ListingKey) int {
	return cmp.Or(cmp.Compare(a.Connection, b.Connection), a.Ref.Compare(b.Ref))
}

func compareLevelKeys(a, b LevelKey) int {
	return cmp.Or(cmp.Compare(a.SKU, b.SKU), cmp.Compare(a.Location, b.Location))
}

func sortedKeys[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}
