package odoo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// The states of a move (addons/stock/models/stock_move.py) that count here; all others are still to come.
const (
	moveDone      = "done"
	moveCancelled = "cancel"
)

// movement is a move of an order line, with the places that it goes from and to.
type movement struct {
	moveRow
	from, to locationRow
	// outgoing is true where it ends at the customer, perhaps by way of further moves.
	outgoing bool
}

// moves are the moves of the lines, with their locations.
func (r *record) moves(ctx context.Context, op string, d *dialect, lines []orderLine) ([]movement, error) {
	ids := make([]int64, 0, len(lines))
	for _, l := range lines {
		ids = append(ids, l.id)
	}
	var rows []moveRow
	if err := d.search(ctx, op, "stock.move", []any{[]any{"sale_line_id", "in", ids}}, d.moveFields, 0, &rows); err != nil {
		return nil, err
	}
	var wanted []int64
	for _, m := range rows {
		for _, id := range []int64{m.From.ID, m.To.ID, m.Final.ID} {
			if id != 0 && !slices.Contains(wanted, id) {
				wanted = append(wanted, id)
			}
		}
	}
	locations := make(map[int64]locationRow, len(wanted))
	if len(wanted) > 0 {
		var found []locationRow
		domain := []any{[]any{"id", "in", wanted}, []any{"active", "in", []bool{true, false}}}
		if err := d.search(ctx, op, "stock.location", domain, []string{"id", "complete_name", "usage", "parent_path"}, 0, &found); err != nil {
			return nil, err
		}
		for _, l := range found {
			locations[l.ID] = l
		}
	}
	out := make([]movement, 0, len(rows))
	for _, row := range rows {
		m := movement{moveRow: row, from: locations[row.From.ID], to: locations[row.To.ID]}
		if m.from.ID == 0 || m.to.ID == 0 {
			return nil, connectors.Rejectedf(op, "", "the user does not see the locations that %s goes between: it belongs to another company", row.Picking.Name)
		}
		m.outgoing = m.to.Usage == "customer" || locations[row.Final.ID].Usage == "customer"
		out = append(out, m)
	}
	return out, nil
}

// reserved and done are what is set aside for the move, and what it moved.
func (m *movement) reserved(d *dialect) *number {
	if d.oneQuantity {
		return m.Quantity
	}
	return m.Reserved
}

func (m *movement) done(d *dialect) *number {
	if d.oneQuantity {
		return m.Quantity
	}
	return m.Done
}

// quantity is one of the quantities of a move, whose unit must be the product's own.
func (m *movement) quantity(n *number, what string) (stock.Quantity, error) {
	if m.Demand == nil || m.InUnit == nil || *m.Demand != *m.InUnit {
		return 0, fmt.Errorf("%s counts %s in another unit than the product: change the unit of the order line to the product's own", m.Picking.Name, m.Product.Name)
	}
	return n.whole(what+" of "+m.Product.Name+" in "+m.Picking.Name, "units")
}

// sums are the totals of the moves of a line.
type sums struct {
	// coming is what is still to go to the customer; shipped and back are by place.
	coming    stock.Quantity
	gone      stock.Quantity
	restocked stock.Quantity
	places    []connectors.StandingPlace
	moves     int
}

func (s *sums) at(location string) *connectors.StandingPlace {
	i := slices.IndexFunc(s.places, func(p connectors.StandingPlace) bool { return p.Location == location })
	if i < 0 {
		i = len(s.places)
		s.places = append(s.places, connectors.StandingPlace{Location: location, Allocated: new(stock.Quantity)})
	}
	return &s.places[i]
}

// sumUp adds up the moves of a line. In a warehouse that picks first and ships then, the same units make several moves: only
// those that leave for the customer count as shipped, and what is reserved counts wherever it is, since it moves along.
func (r *record) sumUp(d *dialect, l orderLine, places []place, all []movement) (sums, error) {
	var s sums
	for i := range all {
		m := &all[i]
		if m.Line.ID != l.id {
			continue
		}
		if m.Product.ID != l.product.ID {
			return s, fmt.Errorf("%s is a kit, whose parts are delivered one by one: map it as a bundle in truestock, so that the parts are ordered", l.product.Name)
		}
		s.moves++
		switch {
		case m.State == moveCancelled:
		case m.State == moveDone && m.to.Usage == "customer":
			q, err := m.quantity(m.done(d), "quantity")
			if err != nil {
				return s, err
			}
			s.gone += q
			s.at(placeOf(places, m.from)).Shipped += q
		case m.State == moveDone && m.from.Usage == "customer" && m.to.Usage == "internal":
			q, err := m.quantity(m.done(d), "quantity")
			if err != nil {
				return s, err
			}
			s.restocked += q
		case m.State != moveDone:
			q, err := m.quantity(m.reserved(d), "what is reserved")
			if err != nil {
				return s, err
			}
			if q > 0 && m.from.Usage == "internal" {
				*s.at(placeOf(places, m.from)).Allocated += q
			}
			if m.outgoing {
				demand, err := m.quantity(m.Demand, "the demand")
				if err != nil {
					return s, err
				}
				s.coming += demand
			}
		}
	}
	return s, nil
}

// placeOf is the place that a location lies in; where it lies in none, such as goods that a supplier sends to the customer,
// the location itself.
func placeOf(places []place, l locationRow) string {
	for _, p := range places {
		if strings.HasPrefix(string(l.Path), p.Path) {
			return p.key()
		}
	}
	return place{ID: l.ID}.key()
}

// OrderStanding implements connectors.OrderTeller. Shipped is what was done of deliveries to the customer, part deliveries
// and back orders summed up. What neither was shipped nor is to come any more counts as cancelled as far as we said so, and
// as rejected beyond that: an order cancelled in Odoo, a line lowered there, a delivery closed without a back order. The
// answer has no instant: Odoo dates by the beginning of a transaction and not by its end.
func (r *record) OrderStanding(ctx context.Context, key string) (connectors.Standing, error) {
	const op = "ask for an order"
	d, err := r.speak(ctx, op)
	if err != nil {
		return connectors.Standing{}, err
	}
	order, _, err := r.find(ctx, op, d, key)
	if err != nil {
		return connectors.Standing{}, err
	}
	if order == nil {
		return connectors.Standing{}, unknownOrder(op, key)
	}
	places, err := r.places(ctx, op, d)
	if err != nil {
		return connectors.Standing{}, err
	}
	lines, err := r.lines(ctx, op, d, order)
	if err != nil {
		return connectors.Standing{}, err
	}
	all, err := r.moves(ctx, op, d, lines)
	if err != nil {
		return connectors.Standing{}, err
	}
	out := connectors.Standing{OrderKey: key}
	for _, l := range lines {
		s, err := r.sumUp(d, l, places, all)
		if err != nil {
			return connectors.Standing{}, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("order %s: %v", order.Name, err))
		}
		coming := l.now - s.gone // as long as it has no deliveries: it is a quotation
		switch {
		case order.State == stateCancelled:
			coming = 0
		case s.moves > 0:
			coming = min(coming, s.coming)
		}
		missing := max(0, l.ordered-s.gone-max(0, coming))
		told := connectors.StandingLine{LineID: l.lineID, Cancelled: min(missing, l.cancelled), Restocked: &s.restocked, Places: s.places}
		told.Rejected = missing - told.Cancelled
		out.Lines = append(out.Lines, told)
	}
	if err := out.Validate(); err != nil {
		return connectors.Standing{}, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("order %s: %v", order.Name, err))
	}
	return out, nil
}

// gone is how much of each line of a confirmed order has left and not come back, by the line's number. A line that cannot be
// counted, such as one of a kit, is left out.
func (r *record) gone(ctx context.Context, op string, d *dialect, order *orderRow, lines []orderLine) (map[int64]stock.Quantity, error) {
	if order.State != stateSale && order.State != stateDone {
		return nil, nil
	}
	all, err := r.moves(ctx, op, d, lines)
	if err != nil {
		return nil, err
	}
	out := map[int64]stock.Quantity{}
	for _, l := range lines {
		if s, err := r.sumUp(d, l, nil, all); err == nil {
			out[l.id] = max(0, s.gone-s.restocked)
		}
	}
	return out, nil
}

// deliveriesFollow checks that the open deliveries ask for no more than the lines. Odoo lowers them by itself; a module, or
// a delivery that is being picked, may keep it from doing so.
func (r *record) deliveriesFollow(ctx context.Context, op string, d *dialect, order *orderRow, lines []orderLine) error {
	if order.State != stateSale && order.State != stateDone {
		return nil
	}
	all, err := r.moves(ctx, op, d, lines)
	if err != nil {
		return err
	}
	for _, l := range lines {
		s, err := r.sumUp(d, l, nil, all)
		if err != nil {
			return r.refuse(connectors.Rejected, op, "", fmt.Sprintf("order %s: %v", order.Name, err))
		}
		if s.gone+s.coming > l.now && s.coming > 0 {
			return connectors.Rejectedf(op, "", "line %s of order %s is lowered to %d, and its deliveries still ask for %d, %d of them sent: lower the open one under Inventory → Deliveries",
				l.lineID, order.Name, l.now, s.gone+s.coming, s.gone)
		}
	}
	return nil
}
