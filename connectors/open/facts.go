package open

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// sentBy says which side sends which type.
var sentBy = map[connectors.Kind]connectors.Role{
	connectors.OrderUpserted:    connectors.MarketplaceRole,
	connectors.OrderCancelled:   connectors.MarketplaceRole,
	connectors.ListingChanged:   connectors.MarketplaceRole,
	connectors.ListingRemoved:   connectors.MarketplaceRole,
	connectors.StockLevel:       connectors.SystemOfRecordRole,
	connectors.StockMoved:       connectors.SystemOfRecordRole,
	connectors.OrderAllocated:   connectors.SystemOfRecordRole,
	connectors.OrderDeallocated: connectors.SystemOfRecordRole,
	connectors.OrderRejected:    connectors.SystemOfRecordRole,
	connectors.ShipmentShipped:  connectors.SystemOfRecordRole,
	connectors.ReturnReceived:   connectors.SystemOfRecordRole,
}

// decodeFact turns the data of a type into a fact that passes Validate. sent is the instant at which the fact was sent,
// zero where nobody told. It is pure. The error names what is wrong in the words of the protocol.
func decodeFact(role connectors.Role, kind connectors.Kind, data jsontext.Value, sent time.Time) (connectors.Fact, error) {
	from, known := sentBy[kind]
	if !known {
		return connectors.Fact{}, fmt.Errorf("type %q is not known", kind)
	}
	if from != role {
		return connectors.Fact{}, fmt.Errorf("type %q is for a %s to send, and this connection is a %s", kind, from, role)
	}
	if len(data) == 0 {
		return connectors.Fact{}, errors.New("data is missing")
	}
	f := connectors.Fact{Kind: kind}
	if err := readFact(&f, data, sent); err != nil {
		return connectors.Fact{}, err
	}
	if err := f.Validate(); err != nil {
		return connectors.Fact{}, err
	}
	return f, nil
}

func readFact(f *connectors.Fact, data jsontext.Value, sent time.Time) error {
	switch f.Kind {
	case connectors.OrderUpserted:
		return read(data, func(o *Order, r *row) { f.Order, f.Position = orderFact(o, r, sent) })
	case connectors.OrderCancelled:
		return read(data, func(o *Order, r *row) {
			f.Order = &connectors.Order{OrderID: o.OrderID, Version: r.number("version", o.Version), PlacedAt: r.instant("placed_at", o.PlacedAt)}
			f.Position.SourceAt = sent
		})
	case connectors.ListingChanged, connectors.ListingRemoved:
		return read(data, func(l *ListingEvent, r *row) {
			f.Observation = &connectors.Observation{
				Ref: connectors.Ref{Item: l.Item, Place: l.Place}, SKU: l.SKU, Title: l.Title, Quantity: (*stock.Quantity)(l.Quantity),
			}
			f.Position.SourceAt = sent
		})
	case connectors.StockLevel:
		return read(data, func(l *Level, r *row) {
			f.Statement = levelFact(l, r)
			f.Position = r.position(l.Position, l.AsOf)
			if f.Position.SourceAt.IsZero() {
				f.Position.SourceAt = sent
			}
		})
	case connectors.StockMoved:
		return read(data, func(m *Moved, r *row) {
			f.Movement = &connectors.Movement{SKU: m.SKU, Location: m.Location, Delta: r.quantity("delta", m.Delta), Reason: m.Reason, CorrectionKey: m.CorrectionKey}
			f.Position = r.occurred(m.Position, m.OccurredAt)
		})
	case connectors.OrderAllocated, connectors.OrderDeallocated, connectors.OrderRejected:
		return read(data, func(a *Allocation, r *row) { f.Allocation, f.Position = allocationFact(a, r) })
	case connectors.ShipmentShipped:
		return read(data, func(s *Shipment, r *row) { f.Shipment, f.Position = shipmentFact(s, r) })
	case connectors.ReturnReceived:
		return read(data, func(b *Return, r *row) { f.Return, f.Position = returnFact(b, r) })
	default:
		return fmt.Errorf("type %q is not known", f.Kind)
	}
}

// read decodes data strictly, except for names that are not known, and lets take turn it into a fact.
func read[T any](data jsontext.Value, take func(*T, *row)) error {
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("data: %w", rest.ExplainJSON(err))
	}
	var r row
	take(&v, &r)
	return r.err
}

// orderFact reads an order. An order without placed_at counts as placed when it was last changed, or when it was sent.
func orderFact(o *Order, r *row, sent time.Time) (*connectors.Order, stock.Position) {
	placed, updated := r.instant("placed_at", o.PlacedAt), r.instant("updated_at", o.UpdatedAt)
	at := firstTime(updated, sent)
	order := &connectors.Order{
		OrderID:   o.OrderID,
		Version:   r.number("version", o.Version),
		PlacedAt:  firstTime(placed, at),
		UpdatedAt: updated,
		Status:    connectors.OrderStatus(o.Status),
		Lines:     []connectors.ChannelLine{},
	}
	if o.Buyer != nil {
		order.Buyer = &connectors.Buyer{Ref: o.Buyer.Ref, Contact: o.Buyer.Contact}
	}
	if o.Lines == nil {
		r.wrong("lines is missing or null")
	}
	for i, l := range o.Lines {
		r.line = i + 1
		order.Lines = append(order.Lines, connectors.ChannelLine{
			LineID:    l.LineID,
			Ref:       connectors.Ref{Item: l.Item, Place: l.Place},
			SKU:       l.SKU,
			Quantity:  r.quantity("quantity", l.Quantity),
			Cancelled: r.quantity("cancelled", l.Cancelled),
			Shipped:   r.quantity("shipped", l.Shipped),
			Restocked: r.quantity("restocked", l.Restocked),
		})
	}
	return order, stock.Position{SourceAt: at}
}

func levelFact(l *Level, r *row) *connectors.Statement {
	return &connectors.Statement{SKU: l.SKU, Location: l.Location, Quantity: r.quantity("quantity", l.Quantity)}
}

func allocationFact(a *Allocation, r *row) (*connectors.Allocation, stock.Position) {
	fact := &connectors.Allocation{OrderKey: a.OrderKey}
	position := r.occurred(a.Position, a.OccurredAt)
	r.lines(len(a.Lines))
	for i, l := range a.Lines {
		r.line = i + 1
		fact.Lines = append(fact.Lines, connectors.AllocationLine{
			LineID: l.LineID, Quantity: r.quantity("quantity", l.Quantity), Location: l.Location,
		})
	}
	return fact, position
}

func shipmentFact(s *Shipment, r *row) (*connectors.Shipment, stock.Position) {
	fact := &connectors.Shipment{ShipmentID: s.ShipmentID, OrderKey: s.OrderKey, Carrier: s.Carrier, Tracking: s.Tracking}
	position := r.occurred(s.Position, s.OccurredAt)
	r.lines(len(s.Lines))
	for i, l := range s.Lines {
		r.line = i + 1
		fact.Lines = append(fact.Lines, connectors.ShipmentLine{
			LineID: l.LineID, SKU: l.SKU, Quantity: r.quantity("quantity", l.Quantity), Location: l.Location,
		})
	}
	return fact, position
}

func returnFact(b *Return, r *row) (*connectors.Return, stock.Position) {
	fact := &connectors.Return{ReturnID: b.ReturnID, OrderKey: b.OrderKey}
	position := r.occurred(b.Position, b.OccurredAt)
	r.lines(len(b.Lines))
	for i, l := range b.Lines {
		r.line = i + 1
		if l.Sellable == nil {
			r.wrong("sellable is missing or null")
			break
		}
		fact.Lines = append(fact.Lines, connectors.ReturnLine{
			SKU: l.SKU, Quantity: r.quantity("quantity", l.Quantity), Location: l.Location, Sellable: *l.Sellable,
		})
	}
	return fact, position
}

// row reads the members of one row and keeps the first thing that is wrong with it. line is the line inside the row,
// from 1; 0 for the row itself.
type row struct {
	line int
	err  error
}

func (r *row) wrong(format string, args ...any) {
	if r.err != nil {
		return
	}
	r.err = fmt.Errorf(format, args...)
	if r.line > 0 {
		r.err = fmt.Errorf("line %d: %w", r.line, r.err)
	}
}

// number reads a whole number that must be there.
func (r *row) number(name string, v *int64) int64 {
	if v == nil {
		r.wrong("%s is missing or null", name)
		return 0
	}
	return *v
}

// quantity reads a quantity that must be there. It may be negative; where that is senseless Fact.Validate says so.
func (r *row) quantity(name string, v *int64) stock.Quantity {
	q := stock.Quantity(r.number(name, v))
	if q < -stock.MaxQuantity || q > stock.MaxQuantity {
		r.wrong("%s is %d: it must be from %d to %d", name, q, -stock.MaxQuantity, stock.MaxQuantity)
	}
	return q
}

// optional reads a quantity that may be left out.
func (r *row) optional(name string, v *int64) *stock.Quantity {
	if v == nil {
		return nil
	}
	q := r.quantity(name, v)
	return &q
}

// instant reads an instant that may be missing.
func (r *row) instant(name string, t time.Time) time.Time {
	if !t.IsZero() && (t.Year() < 1970 || t.Year() > 2200) {
		r.wrong("%s is in the year %d", name, t.Year())
	}
	return utc(t)
}

// position reads the place of a statement. A missing position means that none is known; 0 is before the first fact.
func (r *row) position(sequence *int64, at *time.Time) stock.Position {
	var p stock.Position
	if sequence != nil {
		if *sequence < 0 {
			r.wrong("position is %d: it must be 0 or more", *sequence)
		}
		p.Sequenced, p.Sequence = true, *sequence
	}
	if at != nil {
		p.SourceAt = r.instant("as_of or occurred_at", *at)
	}
	return p
}

// occurred reads the place of what happened at an instant that must be there. The instant of sending does not stand
// in: it can lie behind a statement that contains the fact, and then the fact would count twice.
func (r *row) occurred(sequence *int64, at *time.Time) stock.Position {
	if at == nil || at.IsZero() {
		r.wrong("occurred_at is missing or null")
	}
	return r.position(sequence, at)
}

// lines refuses a document without lines: it would be applied and change nothing.
func (r *row) lines(n int) {
	if n == 0 {
		r.wrong("lines is missing or empty")
	}
}

func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
