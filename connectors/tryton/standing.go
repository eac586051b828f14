package tryton

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// standingLine is how one of our lines stands, from the moves that Tryton made for it.
type standingLine struct {
	note   lineNote
	places map[int64]*place // by warehouse
	open   []openMove       // neither done nor cancelled
	// undecided were cancelled, and nobody has said yet whether they are to be delivered; unmade are ordered and have no move.
	undecided, unmade stock.Quantity
}

type place struct{ shipped, allocated stock.Quantity }

// openMove is a move to the customer that is still to come. Picked is what has been taken from the storage zone for it, or is
// set aside there.
type openMove struct {
	id, shipment, warehouse int64
	quantity, picked        stock.Quantity
}

func (l *standingLine) shipped() (sum stock.Quantity) {
	for _, p := range l.places {
		sum += p.shipped
	}
	return sum
}

// toCome is what Tryton still means to deliver.
func (l *standingLine) toCome() stock.Quantity {
	sum := l.undecided + l.unmade
	for _, m := range l.open {
		sum += m.quantity
	}
	return sum
}

func (l *standingLine) at(warehouse int64) *place {
	if l.places[warehouse] == nil {
		l.places[warehouse] = &place{}
	}
	return l.places[warehouse]
}

// OrderStanding implements connectors.OrderTeller. The moves are read in one call, so that what they say is of one instant;
// Tryton does not tell which.
func (e *erp) OrderStanding(ctx context.Context, key string) (connectors.Standing, error) {
	const op = "ask for an order"
	s, err := e.findSale(ctx, op, key)
	if err != nil {
		return connectors.Standing{}, err
	}
	if s == nil {
		return connectors.Standing{}, e.unknownOrder(op, key)
	}
	moves, err := e.saleMoves(ctx, op, s.ID)
	if err != nil {
		return connectors.Standing{}, err
	}
	lines, err := stands(s, moves)
	if err != nil {
		return connectors.Standing{}, e.refuse(connectors.Rejected, op, "", err.Error())
	}
	standing := connectors.Standing{OrderKey: key}
	for _, l := range lines {
		standing.Lines = append(standing.Lines, e.tell(l))
	}
	slices.SortFunc(standing.Lines, func(a, b connectors.StandingLine) int { return strings.Compare(a.LineID, b.LineID) })
	if err := standing.Validate(); err != nil {
		return connectors.Standing{}, e.refuse(connectors.Rejected, op, "", fmt.Sprintf("how sale %s stands makes no sense: %v", s.name(), err))
	}
	return standing, nil
}

// tell puts a line into our words. What will not be delivered was cancelled as far as we wanted that, and else rejected.
func (e *erp) tell(l *standingLine) connectors.StandingLine {
	lost := max(0, l.note.ordered-l.shipped()-l.toCome())
	out := connectors.StandingLine{LineID: l.note.line, Cancelled: min(l.note.cancelled, lost)}
	out.Rejected = lost - out.Cancelled
	for _, m := range l.open {
		set := m.picked
		if e.levels.promised {
			set = m.quantity
		}
		l.at(m.warehouse).allocated += set
	}
	for warehouse, p := range l.places {
		out.Places = append(out.Places, connectors.StandingPlace{Location: strconv.FormatInt(warehouse, 10), Shipped: p.shipped, Allocated: &p.allocated})
	}
	slices.SortFunc(out.Places, func(a, b connectors.StandingPlace) int { return strings.Compare(a.Location, b.Location) })
	return out
}

// saleMoves reads the moves to the customer, and those to the output zone that belong to them.
func (e *erp) saleMoves(ctx context.Context, op string, sale int64) ([]move, error) {
	return call[[]move](ctx, e, request{op: op, method: "model.stock.move.search_read", params: []any{
		[]any{"OR", []any{"sale", "=", sale}, []any{"origin.sale", "=", sale, "stock.move"}}, 0, nil, []any{[]any{"id", "ASC"}}, moveFields,
	}})
}

// stands adds up what the moves of a sale say of its lines, by our names of them.
func stands(s *sale, moves []move) (map[string]*standingLine, error) {
	lines := make(map[string]*standingLine)
	byOrigin := make(map[string]*standingLine)
	for _, sl := range s.Lines {
		n, _, ours := parseNote(sl.Note)
		if !ours {
			continue
		}
		if lines[n.line] != nil {
			return nil, fmt.Errorf("line %s stands twice in sale %s; take the note of truestock's out of the copy", n.line, s.name())
		}
		q, err := units(sl.Quantity)
		if err != nil {
			return nil, fmt.Errorf("line %s of sale %s: %w", n.line, s.name(), err)
		}
		l := &standingLine{note: n, places: make(map[int64]*place), unmade: q}
		lines[n.line], byOrigin[fmt.Sprintf("sale.line,%d", sl.ID)] = l, l
	}
	type leg struct {
		line *standingLine
		at   int
	}
	legs := make(map[string]leg) // the open moves to the customer
	for _, m := range moves {
		l := byOrigin[m.Origin]
		if l == nil || m.To.Type != "customer" {
			continue
		}
		q, err := units(m.Quantity)
		if err != nil {
			return nil, fmt.Errorf("move %d of sale %s: %w", m.ID, s.name(), err)
		}
		if m.Exception != exceptionRecreated {
			l.unmade -= q
		}
		switch m.State {
		case moveDone, moveDraft, moveAssigned, moveStaging:
			if m.From.Warehouse == nil {
				return nil, fmt.Errorf("move %d of sale %s does not begin in a warehouse", m.ID, s.name())
			}
		}
		switch m.State {
		case moveDone:
			l.at(*m.From.Warehouse).shipped += q
		case moveCancelled:
			if m.Exception == "" {
				l.undecided += q
			}
		case moveDraft, moveAssigned, moveStaging:
			open := openMove{id: m.ID, warehouse: *m.From.Warehouse, quantity: q, shipment: recordID(m.Shipment, "stock.shipment.out")}
			if m.State == moveAssigned {
				open.picked = q
			}
			legs[fmt.Sprintf("stock.move,%d", m.ID)] = leg{l, len(l.open)}
			l.open = append(l.open, open)
		default:
			return nil, fmt.Errorf("move %d of sale %s is %q, a state that is not known", m.ID, s.name(), m.State)
		}
	}
	for _, m := range moves {
		leg, ok := legs[m.Origin]
		if !ok || m.State != moveAssigned && m.State != moveDone {
			continue
		}
		q, err := units(m.Quantity)
		if err != nil {
			return nil, fmt.Errorf("move %d of sale %s: %w", m.ID, s.name(), err)
		}
		open := &leg.line.open[leg.at]
		open.picked = min(open.quantity, open.picked+q)
	}
	for _, l := range lines {
		l.unmade = max(0, l.unmade)
		if s.State == saleCancelled {
			l.unmade = 0
		}
	}
	return lines, nil
}

// recordID is the id in the name of a record of the model, such as stock.shipment.out,12; 0 where it is another's.
func recordID(name, model string) int64 {
	text, ok := strings.CutPrefix(name, model+",")
	if !ok {
		return 0
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return id
}
