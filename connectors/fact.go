package connectors

import (
	"fmt"
	"time"

	"github.com/truestock/truestock/stock"
)

// Fact is one thing that happened outside, in the outside's words. Exactly one of the pointers is set, the one that
// belongs to Kind. Facts are idempotent: the same fact any number of times, in any order, leads to the same state.
type Fact struct {
	Kind Kind `json:"kind"`
	// Position places the fact in its source's order; OccurredAt of a stock fact is Position.SourceAt.
	Position stock.Position `json:"position,omitzero"`

	Order       *Order       `json:"order,omitempty"`       // OrderUpserted, OrderCancelled
	Observation *Observation `json:"observation,omitempty"` // ListingChanged, ListingRemoved
	Statement   *Statement   `json:"statement,omitempty"`   // StockLevel
	Movement    *Movement    `json:"movement,omitempty"`    // StockMoved
	Allocation  *Allocation  `json:"allocation,omitempty"`  // OrderAllocated, OrderDeallocated, OrderRejected
	Shipment    *Shipment    `json:"shipment,omitempty"`    // ShipmentShipped
	Return      *Return      `json:"return,omitempty"`      // ReturnReceived
	Shortfall   *Shortfall   `json:"shortfall,omitempty"`   // ListingShort, ListingDrained
	Told        *Told        `json:"told,omitempty"`        // OrderTold
	Standing    *Standing    `json:"standing,omitempty"`    // OrderStands
	Counted     *Counted     `json:"counted,omitempty"`     // StockCounted, StockBooked
}

// Kind is the type of a fact, the same word as in the open protocol.
type Kind string

// The kinds of fact.
const (
	OrderUpserted    Kind = "order.upserted"
	OrderCancelled   Kind = "order.cancelled"
	ListingChanged   Kind = "listing.changed"
	ListingRemoved   Kind = "listing.removed"
	StockLevel       Kind = "stock.level"
	StockMoved       Kind = "stock.moved"
	OrderAllocated   Kind = "order.allocated"
	OrderDeallocated Kind = "order.deallocated"
	OrderRejected    Kind = "order.rejected"
	ShipmentShipped  Kind = "shipment.shipped"
	ReturnReceived   Kind = "return.received"
	StockChanged     Kind = "stock.changed"
	// ListingShort and ListingDrained are our own conclusions from readings and orders of a marketplace; no connector
	// tells them.
	ListingShort   Kind = "listing.short"
	ListingDrained Kind = "listing.drained"
	// OrderTold is our own note that a system of record acknowledged another content of an order; no connector tells it.
	OrderTold Kind = "order.told"
	// OrderStands is the answer of a system of record that was asked for an order, at the instant Position; no webhook
	// tells it.
	OrderStands Kind = "order.stands"
	// StockCounted is our own note that a difference that a stocktake found was approved, StockBooked that the system of
	// record has booked it, at Position; no connector tells them.
	StockCounted Kind = "stock.counted"
	StockBooked  Kind = "stock.booked"
)

// Order is an order of a marketplace, whole as it stands at Version. For OrderCancelled only OrderID, Version and
// perhaps PlacedAt are set.
type Order struct {
	OrderID   string        `json:"order_id"`
	Version   int64         `json:"version"`
	PlacedAt  time.Time     `json:"placed_at,omitzero"`
	UpdatedAt time.Time     `json:"updated_at,omitzero"`
	Status    OrderStatus   `json:"status"`
	Buyer     *Buyer        `json:"buyer,omitempty"`
	Lines     []ChannelLine `json:"lines"`
}

// OrderStatus is where an order stands at the marketplace.
type OrderStatus string

// The statuses of an order.
const (
	OrderOpen            OrderStatus = "open"
	OrderCancelledStatus OrderStatus = "cancelled"
	OrderClosed          OrderStatus = "closed"
)

// Buyer is as little as is needed to reach the person.
type Buyer struct {
	Ref     string `json:"ref"`
	Contact string `json:"contact,omitempty"`
}

// ChannelLine is a line of a marketplace's order. Quantities are packs of the listing and running totals, never
// increments.
type ChannelLine struct {
	LineID    string         `json:"line_id"`
	Ref       Ref            `json:"ref"`
	SKU       string         `json:"sku,omitempty"`
	Quantity  stock.Quantity `json:"quantity"`
	Cancelled stock.Quantity `json:"cancelled"`
	Shipped   stock.Quantity `json:"shipped"`
	Restocked stock.Quantity `json:"restocked"`
}

// Observation is what a marketplace says that a listing shows. It never moves stock. Quantity is nil when the
// marketplace did not tell.
type Observation struct {
	Ref      Ref             `json:"ref"`
	SKU      string          `json:"sku,omitempty"`
	Title    string          `json:"title,omitempty"`
	Quantity *stock.Quantity `json:"quantity,omitempty"`
}

// Shortfall is a listing that showed fewer than all known orders explain, or the end of it. Taken is how many packs the
// marketplace must have taken for orders so that the reading of the instant At is explained; for ListingDrained, At is
// the instant up to which all orders were told.
type Shortfall struct {
	Ref   Ref            `json:"ref"`
	Taken stock.Quantity `json:"taken,omitzero"`
	At    time.Time      `json:"at"`
}

// Told names an order by the key that it has at its system of record.
type Told struct {
	OrderKey string `json:"order_key"`
}

// Counted names a line of a stocktake.
type Counted struct {
	Stocktake int64  `json:"stocktake"`
	Line      int    `json:"line"`
	SKU       string `json:"sku"`
	Location  string `json:"location"`
}

// Statement is what the system of record says it has of a SKU at a location.
type Statement struct {
	SKU      string         `json:"sku"`
	Location string         `json:"location"`
	Quantity stock.Quantity `json:"quantity"`
}

// Movement is a change of what the system of record has: a receipt, an adjustment, damage, a transfer leg, a count.
type Movement struct {
	SKU      string         `json:"sku"`
	Location string         `json:"location"`
	Delta    stock.Quantity `json:"delta"`
	Reason   string         `json:"reason"`
	// CorrectionKey is the key that was given to StockCorrector, where the movement books what was asked for there.
	CorrectionKey string `json:"correction_key,omitempty"`
}

// Allocation tells that the system of record set units aside for an order, gave them back, or will not deliver them.
// Quantities are base units.
type Allocation struct {
	OrderKey string           `json:"order_key"`
	Lines    []AllocationLine `json:"lines"`
}

// AllocationLine is a line of an Allocation. LineID is the one that we gave in NewOrder.
type AllocationLine struct {
	LineID   string         `json:"line_id"`
	Quantity stock.Quantity `json:"quantity"`
	Location string         `json:"location"`
}

// Shipment is goods that left the warehouse. Quantities are base units of SKUs.
type Shipment struct {
	ShipmentID string         `json:"shipment_id"`
	OrderKey   string         `json:"order_key"`
	Lines      []ShipmentLine `json:"lines"`
	Carrier    string         `json:"carrier,omitempty"`
	Tracking   string         `json:"tracking,omitempty"`
}

// ShipmentLine is a line of a Shipment.
type ShipmentLine struct {
	LineID   string         `json:"line_id"`
	SKU      string         `json:"sku"`
	Quantity stock.Quantity `json:"quantity"`
	Location string         `json:"location"`
}

// Return is goods that came back to the warehouse.
type Return struct {
	ReturnID string       `json:"return_id"`
	OrderKey string       `json:"order_key,omitempty"`
	Lines    []ReturnLine `json:"lines"`
}

// ReturnLine is a line of a Return.
type ReturnLine struct {
	SKU      string         `json:"sku"`
	Quantity stock.Quantity `json:"quantity"`
	Location string         `json:"location"`
	Sellable bool           `json:"sellable"`
}

// Validate checks what every later step relies on: the pointer that belongs to Kind is set and alone, names are not
// empty, and quantities are whole numbers in their range. The error names the field.
func (f Fact) Validate() error {
	check, ok := factChecks[f.Kind]
	if !ok {
		return fmt.Errorf("type %q is not known", f.Kind)
	}
	return check(f)
}

var factChecks = map[Kind]func(Fact) error{
	OrderUpserted:  func(f Fact) error { return validOrder(f.Order) },
	OrderCancelled: func(f Fact) error { return validCancellation(f.Order) },
	ListingChanged: func(f Fact) error { return validObservation(f.Observation) },
	ListingRemoved: func(f Fact) error { return validObservation(f.Observation) },
	StockLevel: func(f Fact) error {
		s := f.Statement
		if s == nil {
			return errMissing("statement")
		}
		return first(named("sku", s.SKU), named("location", s.Location), inRange("quantity", s.Quantity, -stock.MaxQuantity))
	},
	StockMoved: func(f Fact) error {
		m := f.Movement
		if m == nil {
			return errMissing("movement")
		}
		return first(named("sku", m.SKU), named("location", m.Location), inRange("delta", m.Delta, -stock.MaxQuantity))
	},
	OrderAllocated:   func(f Fact) error { return validAllocation(f.Allocation) },
	OrderDeallocated: func(f Fact) error { return validAllocation(f.Allocation) },
	OrderRejected:    func(f Fact) error { return validAllocation(f.Allocation) },
	ShipmentShipped:  func(f Fact) error { return validShipment(f.Shipment) },
	ReturnReceived:   func(f Fact) error { return validReturn(f.Return) },
	StockChanged:     func(Fact) error { return nil },
	ListingShort:     func(f Fact) error { return validShortfall(f.Shortfall) },
	ListingDrained:   func(f Fact) error { return validShortfall(f.Shortfall) },
	OrderTold: func(f Fact) error {
		if f.Told == nil {
			return errMissing("order")
		}
		return named("order_key", f.Told.OrderKey)
	},
	OrderStands: func(f Fact) error {
		if f.Standing == nil {
			return errMissing("standing of the order")
		}
		return f.Standing.Validate()
	},
	StockCounted: func(f Fact) error { return validCounted(f.Counted) },
	StockBooked:  func(f Fact) error { return validCounted(f.Counted) },
}

func validOrder(o *Order) error {
	if err := validCancellation(o); err != nil {
		return err
	}
	switch o.Status {
	case OrderOpen, OrderCancelledStatus, OrderClosed:
	default:
		return fmt.Errorf("status %q is not open, cancelled or closed", o.Status)
	}
	seen := make(map[string]bool, len(o.Lines))
	for i, l := range o.Lines {
		if err := first(named("line_id", l.LineID), named("item", l.Ref.Item), inRange("quantity", l.Quantity, 0),
			inRange("cancelled", l.Cancelled, 0), inRange("shipped", l.Shipped, 0), inRange("restocked", l.Restocked, 0)); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		if seen[l.LineID] {
			return fmt.Errorf("line %d: line_id %q stands twice in the order", i+1, l.LineID)
		}
		seen[l.LineID] = true
	}
	return nil
}

func validCancellation(o *Order) error {
	if o == nil {
		return errMissing("order")
	}
	if err := named("order_id", o.OrderID); err != nil {
		return err
	}
	if o.Version < 0 {
		return fmt.Errorf("version %d is below 0", o.Version)
	}
	return nil
}

func validObservation(o *Observation) error {
	if o == nil {
		return errMissing("observation")
	}
	if err := named("item", o.Ref.Item); err != nil {
		return err
	}
	if o.Quantity != nil {
		return inRange("quantity", *o.Quantity, -stock.MaxQuantity)
	}
	return nil
}

func validShortfall(s *Shortfall) error {
	switch {
	case s == nil:
		return errMissing("shortfall")
	case s.At.IsZero():
		return errMissing("instant of the shortfall")
	}
	return named("item", s.Ref.Item)
}

func validAllocation(a *Allocation) error {
	if a == nil {
		return errMissing("allocation")
	}
	if err := named("order_key", a.OrderKey); err != nil {
		return err
	}
	for i, l := range a.Lines {
		if err := first(named("line_id", l.LineID), named("location", l.Location), inRange("quantity", l.Quantity, 0)); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return nil
}

// Validate checks that names are not empty, that quantities are in their range, and that nothing stands twice.
func (s *Standing) Validate() error {
	if err := named("order_key", s.OrderKey); err != nil {
		return err
	}
	lines := make(map[string]bool, len(s.Lines))
	for i, l := range s.Lines {
		err := first(named("line_id", l.LineID), inRange("cancelled", l.Cancelled, 0), inRange("rejected", l.Rejected, 0), mayBeInRange("restocked", l.Restocked))
		if err == nil && lines[l.LineID] {
			err = fmt.Errorf("line_id %q stands twice", l.LineID)
		}
		lines[l.LineID] = true
		places := make(map[string]bool, len(l.Places))
		for _, p := range l.Places {
			if err == nil && places[p.Location] {
				err = fmt.Errorf("location %q stands twice", p.Location)
			}
			places[p.Location] = true
			err = first(err, named("location", p.Location), inRange("shipped", p.Shipped, 0), mayBeInRange("allocated", p.Allocated))
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return nil
}

func validShipment(s *Shipment) error {
	if s == nil {
		return errMissing("shipment")
	}
	if err := first(named("shipment_id", s.ShipmentID), named("order_key", s.OrderKey)); err != nil {
		return err
	}
	for i, l := range s.Lines {
		if err := first(named("line_id", l.LineID), named("sku", l.SKU), named("location", l.Location), inRange("quantity", l.Quantity, 0)); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return nil
}

func validReturn(r *Return) error {
	if r == nil {
		return errMissing("return")
	}
	if err := named("return_id", r.ReturnID); err != nil {
		return err
	}
	for i, l := range r.Lines {
		if err := first(named("sku", l.SKU), named("location", l.Location), inRange("quantity", l.Quantity, 0)); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return nil
}

func validCounted(c *Counted) error {
	if c == nil {
		return errMissing("line of a stocktake")
	}
	return first(named("sku", c.SKU), named("location", c.Location))
}

func errMissing(what string) error { return fmt.Errorf("the %s is missing", what) }

const maxName = 256

func named(field, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("%s is missing or empty", field)
	case len(value) > maxName:
		return fmt.Errorf("%s has %d bytes; at most %d are taken", field, len(value), maxName)
	}
	return nil
}

func inRange(field string, q, least stock.Quantity) error {
	if q < least || q > stock.MaxQuantity {
		return fmt.Errorf("%s is %d: it must be from %d to %d", field, q, least, stock.MaxQuantity)
	}
	return nil
}

func mayBeInRange(field string, q *stock.Quantity) error {
	if q == nil {
		return nil
	}
	return inRange(field, *q, 0)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
