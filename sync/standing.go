package sync

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// A system of record that is asked how an order stands answers with running totals of one instant. They contain facts
// that it has told and facts whose message is late or lost. What a total has beyond the facts of its time was deducted by
// then, nobody knows when: it counts as a movement of the instant of the answer, which only a level read after that
// instant contains. When a late message comes after all, its fact is in the total already, and takes its part of that
// movement's place. So the sums are a function of the set of facts and answers, whatever their order.

// OrderAnswer is what the system of record said of an order when it was asked.
type OrderAnswer struct {
	// Position has the instant that the totals are of, where the system tells it, and the instant at which we had the
	// answer.
	Position stock.Position            `json:"position"`
	Lines    []connectors.StandingLine `json:"lines,omitempty"`
}

// answerSlack is how long after the instant of an answer a fact may be dated and still count as contained: many systems
// cut instants to seconds. A fact that is not contained after all is missed until the next answer, which holds its units
// back for that long.
const answerSlack = time.Second

// mayContain reports whether the totals may contain a fact of the position: unless it provably came later, they may.
func (a *OrderAnswer) mayContain(p stock.Position) bool {
	return a.Position.SourceAt.IsZero() || p.SourceAt.IsZero() || !p.SourceAt.After(a.Position.SourceAt.Add(answerSlack))
}

func compareAnswers(a, b OrderAnswer) int {
	if x, y := a.Position.SourceAt, b.Position.SourceAt; !x.IsZero() && !y.IsZero() {
		return cmp.Or(x.Compare(y), a.Position.SeenAt.Compare(b.Position.SeenAt))
	}
	return a.Position.SeenAt.Compare(b.Position.SeenAt)
}

// addAnswer joins an answer, once.
func (o *Order) addAnswer(a OrderAnswer) {
	i, found := slices.BinarySearchFunc(o.Answers, a, compareAnswers)
	if !found {
		o.Answers = slices.Insert(o.Answers, i, a)
	}
}

// line is what the answer says of a component of a line, nil where it says nothing.
func (a *OrderAnswer) line(l *OrderLine, c *LineComponent) *connectors.StandingLine {
	for i := range a.Lines {
		if a.Lines[i].LineID == c.recordLine(l) {
			return &a.Lines[i]
		}
	}
	return nil
}

// answeredPlaces are the locations that answers name for a component of a line, sorted.
func (o *Order) answeredPlaces(l *OrderLine, c *LineComponent) []stock.LocationID {
	var places []stock.LocationID
	for i := range o.Answers {
		if line := o.Answers[i].line(l, c); line != nil {
			for _, p := range line.Places {
				places = append(places, stock.LocationID(p.Location))
			}
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// beyond is a part of a total that the facts do not explain: the units by which it had grown at an answer.
type beyond struct {
	answer *OrderAnswer
	units  stock.Quantity
}

// unexplained compares a total of the answers with the facts. parts tells, for each answer, by how much more is missing
// than at the one before, and is still missing at the last; all is what is missing in the end, below zero where the facts
// tell more than there is.
func (o *Order) unexplained(l *OrderLine, c *LineComponent, total func(*connectors.StandingLine) (stock.Quantity, bool), known func(*OrderAnswer) stock.Quantity) (parts []beyond, all stock.Quantity) {
	for i := range o.Answers {
		a := &o.Answers[i]
		line := a.line(l, c)
		if line == nil {
			continue
		}
		if units, told := total(line); told {
			all = units - known(a)
			parts = append(parts, beyond{a, all})
		}
	}
	least := max(0, all)
	for i := len(parts) - 1; i >= 0; i-- {
		least = min(least, max(0, parts[i].units))
		parts[i].units = least
	}
	for i := len(parts) - 1; i > 0; i-- {
		parts[i].units -= parts[i-1].units
	}
	return parts, all
}

// told sums the facts of a kind, at one location or anywhere, that an answer may contain.
func (o *Order) told(l *OrderLine, c *LineComponent, kind connectors.Kind, at func(stock.LocationID) bool, a *OrderAnswer) stock.Quantity {
	var sum stock.Quantity
	for i := range o.Deductions {
		if d := &o.Deductions[i]; d.Kind == kind && d.concerns(l, c) && at(d.Location) && a.mayContain(d.Position) {
			sum += d.Quantity
		}
	}
	return sum
}

func placeOf(line *connectors.StandingLine, at stock.LocationID) connectors.StandingPlace {
	for _, p := range line.Places {
		if p.Location == string(at) {
			return p
		}
	}
	none := stock.Quantity(0)
	return connectors.StandingPlace{Location: string(at), Allocated: &none}
}

// unexplainedShipped is what was shipped from a location beyond the shipments that were told.
func (o *Order) unexplainedShipped(l *OrderLine, c *LineComponent, at stock.LocationID) (parts []beyond, all stock.Quantity) {
	here := func(location stock.LocationID) bool { return location == at }
	var most stock.Quantity
	return o.unexplained(l, c,
		func(line *connectors.StandingLine) (stock.Quantity, bool) {
			most = max(most, placeOf(line, at).Shipped) // what was shipped once stays shipped
			return most, true
		},
		func(a *OrderAnswer) stock.Quantity { return o.told(l, c, connectors.ShipmentShipped, here, a) })
}

// unexplainedAllocated is what was set aside at a location, and has perhaps left since, beyond what was told.
func (o *Order) unexplainedAllocated(l *OrderLine, c *LineComponent, at stock.LocationID) (parts []beyond, all stock.Quantity) {
	here := func(location stock.LocationID) bool { return location == at }
	return o.unexplained(l, c,
		func(line *connectors.StandingLine) (stock.Quantity, bool) {
			p := placeOf(line, at)
			if p.Allocated == nil {
				return 0, false
			}
			return p.Shipped + *p.Allocated, true
		},
		func(a *OrderAnswer) stock.Quantity {
			return o.told(l, c, connectors.OrderAllocated, here, a) - o.told(l, c, connectors.OrderDeallocated, here, a)
		})
}

// unexplainedRejected is what will not be delivered beyond what was told.
func (o *Order) unexplainedRejected(l *OrderLine, c *LineComponent) stock.Quantity {
	var most stock.Quantity
	_, all := o.unexplained(l, c,
		func(line *connectors.StandingLine) (stock.Quantity, bool) {
			most = max(most, line.Rejected)
			return most, true
		},
		func(a *OrderAnswer) stock.Quantity { return o.told(l, c, connectors.OrderRejected, anywhere, a) })
	return max(0, all)
}

// shipped is how many base units of a line's component have left, from the locations given.
func (o *Order) shipped(l *OrderLine, c *LineComponent, at func(stock.LocationID) bool) stock.Quantity {
	sum := o.sum(l, c, connectors.ShipmentShipped, at)
	for _, place := range o.answeredPlaces(l, c) {
		if at(place) {
			_, all := o.unexplainedShipped(l, c, place)
			sum += max(0, all)
		}
	}
	return sum
}

// toCome is how many base units of a line's component the system of record has still to ship or to reject.
func (o *Order) toCome(l *OrderLine, c *LineComponent) stock.Quantity {
	return max(0, max(o.open(l)*c.Units, o.Acknowledged[c.recordLine(l)])-o.shipped(l, c, anywhere)-o.rejected(l, c))
}

// silent reports whether something of the order is still to come, and nothing was heard of it for so long.
func (o *Order) silent(now time.Time, patience time.Duration) bool {
	for i := range o.Lines {
		l := &o.Lines[i]
		for j := range l.Components {
			if c := &l.Components[j]; o.toCome(l, c) > 0 && now.Sub(o.heardOf(l, c)) >= patience {
				return true
			}
		}
	}
	return false
}

// learnsFrom reports whether an answer tells anything that the document does not contain.
func (o *Order) learnsFrom(a OrderAnswer, basis bases) bool {
	next := *o
	next.Answers = slices.Clone(o.Answers)
	next.addAnswer(a)
	for i := range o.Lines {
		l := &o.Lines[i]
		for j := range l.Components {
			c := &l.Components[j]
			if o.deducted(l, c, basis) != next.deducted(l, c, basis) || o.rejected(l, c) != next.rejected(l, c) || o.shipped(l, c, anywhere) != next.shipped(l, c, anywhere) {
				return true
			}
		}
	}
	return false
}

func (o *Order) rejectedUnits() (sum stock.Quantity) {
	for i := range o.Lines {
		for j := range o.Lines[i].Components {
			sum += o.rejected(&o.Lines[i], &o.Lines[i].Components[j])
		}
	}
	return sum
}

// standingKey names the movement that stands for what an answer tells beyond the facts.
func standingKey(o *Order, l *OrderLine, c *LineComponent, what string, a *OrderAnswer) string {
	at := a.Position.SourceAt
	if at.IsZero() {
		at = a.Position.SeenAt
	}
	return fmt.Sprintf(askedPrefix+"%s/%s %s by %s", mapping.OrderKey(o.Channel, o.OrderID), c.recordLine(l), what, at.UTC().Format(time.RFC3339Nano))
}

const (
	askedPrefix    = "asked:"
	askedShipped   = "shipped"
	askedAllocated = "allocated"
)

// nextReadCovers reports whether a statement fails to contain what an answer told only because both are of one instant, as
// far as instants of the source can be told apart: the levels that were read for the answer's sake came too soon.
func nextReadCovers(p stock.Position, m *HeldMovement) bool {
	if p.SourceAt.IsZero() || m.Delta == 0 || !strings.HasPrefix(m.Key, askedPrefix) {
		return false
	}
	behind := m.Position.SourceAt.Sub(p.SourceAt)
	return behind >= 0 && behind <= answerSlack
}

// sentenceOf tells what a movement is, for people.
func sentenceOf(key string) string {
	asked, ok := strings.CutPrefix(key, askedPrefix)
	if !ok {
		return key
	}
	return "no message told it; asked for the order: " + asked
}

// standingKeys are the keys of all movements that answers about an order can lead to.
func (o *Order) standingKeys(each func(key string)) {
	for i := range o.Lines {
		l := &o.Lines[i]
		for j := range l.Components {
			c := &l.Components[j]
			for k := range o.Answers {
				for _, what := range []string{askedShipped, askedAllocated} {
					key := standingKey(o, l, c, what, &o.Answers[k])
					each(key)
					each(excessKey(o.Key(), l.ID, key))
				}
			}
		}
	}
}

// adjustStanding keeps the movements that stand for what answers tell beyond the facts, and returns the shipments among
// it at locations whose numbers mean available: there, the allocation is the deduction.
func (b *book) adjustStanding(o *Order, l *OrderLine, c *LineComponent, record stock.ConnectionID, basis bases) (shipments []departure) {
	for _, place := range o.answeredPlaces(l, c) {
		at := LevelKey{c.recordSKU(), place}
		shipped, _ := o.unexplainedShipped(l, c, place)
		if basis(place) == stock.OnHandBasis {
			for _, p := range shipped {
				b.adjustMovement(record, standingKey(o, l, c, askedShipped, p.answer), at, -p.units, p.answer.Position)
			}
			continue
		}
		for _, p := range shipped {
			shipments = append(shipments, departure{standingKey(o, l, c, askedShipped, p.answer), place, p.units, p.answer.Position})
		}
		allocated, _ := o.unexplainedAllocated(l, c, place)
		for _, p := range allocated {
			b.adjustMovement(record, standingKey(o, l, c, askedAllocated, p.answer), at, -p.units, p.answer.Position)
		}
	}
	return shipments
}

// applyStanding joins an answer into its order. The levels are read again: those held do not contain what was found.
func (b *book) applyStanding(r *recordState, f connectors.Fact) {
	key, ours := b.orderKey(f.Standing.OrderKey)
	if !ours || b.recordOf(key.Channel) != r.id {
		return // its channel is not configured any more, or sends its orders elsewhere
	}
	o := b.order(key)
	before := o.rejectedUnits()
	o.addAnswer(OrderAnswer{Position: f.Position, Lines: f.Standing.Lines})
	if o.rejectedUnits() > before {
		b.rejectionIncident(r, f.Standing.OrderKey, key.Channel)
	}
	b.told = true
	b.commit(o)
	b.told = false
	b.hint(r.id).any, b.hint(r.id).levels = true, true
	b.post(stock.CauseDeduction, "asked for "+f.Standing.OrderKey)
}

// standingView is the newest answer, nil where there is none.
func (o *Order) standingView() *StandingView {
	if len(o.Answers) == 0 {
		return nil
	}
	a := o.Answers[len(o.Answers)-1]
	at := a.Position.SourceAt
	if at.IsZero() {
		at = a.Position.SeenAt
	}
	v := &StandingView{AsOf: at.UTC(), Lines: []StandingLineView{}}
	for _, l := range a.Lines {
		line := StandingLineView{LineID: l.LineID, Cancelled: l.Cancelled, Rejected: l.Rejected, Restocked: l.Restocked, Places: []StandingPlaceView{}}
		for _, p := range l.Places {
			line.Places = append(line.Places, StandingPlaceView{Location: p.Location, Shipped: p.Shipped, Allocated: p.Allocated})
		}
		v.Lines = append(v.Lines, line)
	}
	return v
}
