// Package stock holds the words and the sums of truestock: quantities, states, postings, levels, positions and
// the policy chain. It uses the standard library only, does no I/O and reads no clock, so every number it
// computes can be computed again later from the same facts.
package stock

import (
	"fmt"
	"time"
)

type (
	// SKU is the seller's own article number, as the system of record writes it; never a marketplace's code.
	SKU string
	// LocationID names a place at which the system of record counts stock.
	LocationID string
	// ConnectionID names one configured account at one outside system. It never contains a colon.
	ConnectionID string
	// Quantity counts base units. It may be negative: a ledger that clamps at zero hides oversells.
	Quantity int64
)

// MaxQuantity is the largest quantity that is taken from outside, in base units. Anything larger is refused as a
// mistake; it leaves room for sums and permille products in 64 bits, and every value is exact in JSON readers that
// use floating point.
const MaxQuantity Quantity = 1_000_000_000_000

// State says what a unit is doing. A unit is in exactly one state.
type State uint8

// The states of a unit.
const (
	Outside     State = iota // not ours: the other side of receipts and shipments
	Incoming                 // on order or in transfer; not on hand
	Available                // on hand, promised to nobody
	Reserved                 // on hand, set aside for a pool or a person
	Committed                // on hand, promised to an order line
	Unavailable              // on hand, not sellable: damaged, quarantined, under count
)

var stateNames = [...]string{"outside", "incoming", "available", "reserved", "committed", "unavailable"}

// String returns the state's name as the API and the logs write it.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// ParseState is the inverse of State.String.
func ParseState(name string) (State, error) {
	for i, n := range stateNames {
		if n == name {
			return State(i), nil
		}
	}
	return 0, fmt.Errorf("unknown stock state %q", name)
}

// Cause says why a posting was made: the kind of fact and the reference under which that fact can be found again.
type Cause struct {
	// Kind is one of the Cause constants below.
	Kind string
	// Event is the id of the inbox event whose application made the posting; 0 for a posting that no event caused.
	Event int64
	// Reference names the document: an order key with its line, a shipment, a statement's position.
	Reference string
}

// The kinds of cause.
const (
	CauseStatement  = "statement"  // a statement of the system of record, posted as the difference to what was tracked
	CauseMovement   = "movement"   // a receipt, adjustment, damage, transfer leg or count
	CauseCommitment = "commitment" // an order line promised, changed or cancelled
	CauseDeduction  = "deduction"  // the system of record subtracted a sold unit: a shipment or an allocation
	CauseReturn     = "return"     // goods received back
	CauseTransfer   = "transfer"   // units that go over to another SKU: a rename or a merge
	CauseReserve    = "reserve"    // units set aside, changed or given back
	CauseStocktake  = "stocktake"  // a difference that a count found and somebody approved
	CauseRejection  = "rejection"  // the system of record will not fulfil the line
)

// Posting moves Quantity units of one SKU at one location from one state to another. Quantity is always positive;
// the direction is in From and To. Postings are append-only and chained by hash per SKU and location.
type Posting struct {
	SKU      SKU
	Location LocationID
	From, To State
	Quantity Quantity
	At       time.Time
	Cause    Cause
}

// Level is the sum of all postings of one SKU at one location, per state.
type Level struct {
	SKU      SKU
	Location LocationID

	Incoming    Quantity
	Available   Quantity
	Reserved    Quantity
	Committed   Quantity
	Unavailable Quantity
}

// Of returns how many units are in state s. Outside is not counted: its answer is zero.
func (l *Level) Of(s State) Quantity {
	if q := l.of(s); q != nil {
		return *q
	}
	return 0
}

// Tracked is what the system of record's number stands for: Available + Reserved + Committed + Unavailable. Under
// on-hand statements it is the units physically there.
func (l *Level) Tracked() Quantity {
	return l.Available + l.Reserved + l.Committed + l.Unavailable
}

// Apply adds a posting to the level. It refuses a posting of another SKU or location, a quantity below one and a
// move to the same state; the level is unchanged then.
func (l *Level) Apply(p Posting) error {
	switch {
	case p.SKU != l.SKU || p.Location != l.Location:
		return fmt.Errorf("posting of %s at %s applied to the level of %s at %s", p.SKU, p.Location, l.SKU, l.Location)
	case p.Quantity < 1:
		return fmt.Errorf("posting of %s at %s moves %d units: a posting moves at least one", p.SKU, p.Location, p.Quantity)
	case p.From == p.To:
		return fmt.Errorf("posting of %s at %s moves from %s to the same state", p.SKU, p.Location, p.From)
	case int(p.From) >= len(stateNames) || int(p.To) >= len(stateNames):
		return fmt.Errorf("posting of %s at %s names an unknown state", p.SKU, p.Location)
	}
	if q := l.of(p.From); q != nil {
		*q -= p.Quantity
	}
	if q := l.of(p.To); q != nil {
		*q += p.Quantity
	}
	return nil
}

func (l *Level) of(s State) *Quantity {
	switch s {
	case Incoming:
		return &l.Incoming
	case Available:
		return &l.Available
	case Reserved:
		return &l.Reserved
	case Committed:
		return &l.Committed
	case Unavailable:
		return &l.Unavailable
	default:
		return nil
	}
}

// Basis says what the numbers of a system of record mean, and with it which of its events is the deduction, its own
// subtraction of a sold unit: the shipment under OnHand, the allocation under AvailableBasis.
type Basis string

// The two bases.
const (
	OnHandBasis    Basis = "on_hand"
	AvailableBasis Basis = "available"
)

// Position orders the facts of one system of record. Its sequence is the strongest evidence, then the source's own time,
// then the instant at which our read began or we recorded the fact. A part that is not known is false or zero.
type Position struct {
	// Sequenced tells that the source has one sequence of facts, and Sequence the place in it. A statement of place 0 is
	// from before the first fact.
	Sequenced bool  `json:"sequenced,omitempty"`
	Sequence  int64 `json:"sequence,omitempty"`
	// SourceAt is the instant that the source gives: as_of of a statement, occurred_at of a movement.
	SourceAt time.Time `json:"source_at,omitzero"`
	// SeenAt is, of a statement that we read, the instant at which our read began, and of every fact that came to us,
	// the instant at which we recorded it durably.
	SeenAt time.Time `json:"seen_at,omitzero"`
}

// Covers reports whether a statement at position p contains a movement by delta at position f, as far as that can be
// proved: by the sequence where both have one, else by the source's time where both have one, else by the read of the
// statement having begun after the movement was recorded. Where nothing can be compared the answer is no.
//
// At the very same instant nobody can tell. Then a rise counts as contained and a fall does not: that may undersell for
// a while, and never oversells.
func (p Position) Covers(f Position, delta Quantity) bool {
	switch {
	case p.Sequenced && f.Sequenced:
		return p.Sequence >= f.Sequence
	case !p.SourceAt.IsZero() && !f.SourceAt.IsZero():
		return p.SourceAt.After(f.SourceAt) || p.SourceAt.Equal(f.SourceAt) && delta > 0
	case !p.SeenAt.IsZero() && !f.SeenAt.IsZero():
		return p.SeenAt.After(f.SeenAt)
	default:
		return false
	}
}

// Supersedes reports whether a statement at position p replaces one held at position held. An equal position
// replaces nothing: it says the same again.
func (p Position) Supersedes(held Position) bool {
	switch {
	case p.Sequenced && held.Sequenced:
		return p.Sequence > held.Sequence
	case !p.SourceAt.IsZero() && !held.SourceAt.IsZero():
		return p.SourceAt.After(held.SourceAt)
	default:
		return p.SeenAt.After(held.SeenAt)
	}
}
