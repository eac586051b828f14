package sync

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// truth is what a warehouse did with one line, a step in each minute.
type truth struct {
	facts   []Deduction
	answers []OrderAnswer
	told    []bool // which facts were told
	// deducted, shipped and rejected are the totals after each minute.
	deducted, shipped, rejected []stock.Quantity
}

func drawTruth(t *rapid.T, basis stock.Basis) truth {
	var w truth
	at := func(minute int) stock.Position {
		when := time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC)
		return stock.Position{SourceAt: when, SeenAt: when.Add(time.Second)}
	}
	places := []stock.LocationID{"main", "south"}
	held, sent := map[stock.LocationID]stock.Quantity{}, map[stock.LocationID]stock.Quantity{}
	var deducted, shipped, rejected stock.Quantity
	for minute := range rapid.IntRange(1, 12).Draw(t, "minutes") {
		place := places[rapid.IntRange(0, 1).Draw(t, "place")]
		units := stock.Quantity(rapid.IntRange(1, 3).Draw(t, "units"))
		kind := connectors.Kind("")
		switch step := rapid.IntRange(0, 4).Draw(t, "step"); {
		case step == 0:
			kind, rejected = connectors.OrderRejected, rejected+units
		case step == 1 && basis == stock.AvailableBasis:
			kind = connectors.OrderAllocated
			held[place] += units
			deducted += units
		case step == 2 && held[place] > 0:
			kind, units = connectors.OrderDeallocated, min(units, held[place])
			held[place] -= units
			deducted -= units
		case step == 3 && (basis == stock.OnHandBasis || held[place] > 0):
			kind = connectors.ShipmentShipped
			if basis == stock.AvailableBasis {
				units = min(units, held[place])
				held[place] -= units
			} else {
				deducted += units
			}
			shipped += units
			sent[place] += units
		case step == 4:
			line := connectors.StandingLine{LineID: "1", Rejected: rejected}
			for _, p := range places {
				allocated := held[p]
				line.Places = append(line.Places, connectors.StandingPlace{Location: string(p), Shipped: sent[p], Allocated: &allocated})
			}
			w.answers = append(w.answers, OrderAnswer{Position: at(minute), Lines: []connectors.StandingLine{line}})
		}
		if kind != "" {
			w.facts = append(w.facts, Deduction{Key: string(rune('a' + minute)), Kind: kind, LineID: "1", SKU: "S", Location: place, Quantity: units, Position: at(minute)})
			w.told = append(w.told, rapid.Bool().Draw(t, "told"))
		}
		w.deducted, w.shipped, w.rejected = append(w.deducted, deducted), append(w.shipped, shipped), append(w.rejected, rejected)
	}
	return w
}

func minuteOf(p stock.Position) int { return p.SourceAt.Minute() }

// What the system of record told and what it answered when it was asked come to what is true, whatever was lost before the
// newest answer, whatever came late, and in whatever order; and what stands for lost messages is in all as much as they told.
func TestAnswersHealWhatWasLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		basis := rapid.SampledFrom([]stock.Basis{stock.OnHandBasis, stock.AvailableBasis}).Draw(t, "basis")
		w := drawTruth(t, basis)
		if len(w.answers) == 0 {
			return
		}
		last := minuteOf(w.answers[len(w.answers)-1].Position)
		var known []Deduction
		for i, f := range w.facts {
			if w.told[i] || minuteOf(f.Position) > last {
				known = append(known, f) // after the newest answer everything arrives
			}
		}
		all := func(stock.LocationID) stock.Basis { return basis }
		end := len(w.deducted) - 1
		for _, late := range []bool{false, true} {
			if late {
				known = w.facts // what was taken for lost comes after all
			}
			o := documentOf(t, known, w.answers)
			l := &o.Lines[0]
			c := &l.Components[0]
			if got := o.deducted(l, c, all); got != w.deducted[end] {
				t.Fatalf("late %t: deducted are %d, truly %d", late, got, w.deducted[end])
			}
			if got := o.shipped(l, c, anywhere); got != w.shipped[end] {
				t.Fatalf("late %t: shipped are %d, truly %d", late, got, w.shipped[end])
			}
			if got := o.rejected(l, c); got != w.rejected[end] {
				t.Fatalf("late %t: rejected are %d, truly %d", late, got, w.rejected[end])
			}
			for _, place := range o.answeredPlaces(l, c) {
				parts, missing := o.unexplainedShipped(l, c, place)
				var sum stock.Quantity
				for _, p := range parts {
					if p.units < 0 {
						t.Fatalf("a movement that stands for lost messages is of %d units", p.units)
					}
					sum += p.units
				}
				if sum != max(0, missing) || late && sum != 0 {
					t.Fatalf("late %t: %d units stand for lost messages, %d are missing", late, sum, missing)
				}
			}
		}
	})
}

// documentOf joins facts and answers in a drawn order.
func documentOf(t *rapid.T, facts []Deduction, answers []OrderAnswer) *Order {
	o := &Order{Channel: "shop", OrderID: "1", Status: connectors.OrderOpen,
		Lines: []OrderLine{{ID: "1", Ordered: 100, Components: []LineComponent{{SKU: "S", Units: 1, Location: "main"}}}}}
	var join []func()
	for range 2 { // everything twice
		for _, f := range facts {
			join = append(join, func() { o.addDeduction(f) })
		}
		for _, a := range answers {
			join = append(join, func() { o.addAnswer(a) })
		}
	}
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1))
	rng.Shuffle(len(join), func(i, j int) { join[i], join[j] = join[j], join[i] })
	for _, do := range join {
		do()
	}
	return o
}

// An answer without an instant takes every fact for a part of its totals: it never counts one twice. A fact that is dated
// within the second after an answer is taken so too, since instants may be cut to seconds.
func TestAnAnswerNeverCountsAFactTwice(t *testing.T) {
	at := func(second, millisecond int) time.Time {
		return time.Date(2026, 1, 1, 0, 0, second, millisecond*1e6, time.UTC)
	}
	shipment := Deduction{Key: "s", Kind: connectors.ShipmentShipped, LineID: "1", SKU: "S", Location: "main", Quantity: 2, Position: stock.Position{SourceAt: at(5, 900), SeenAt: at(6, 0)}}
	for name, test := range map[string]struct {
		asOf time.Time
		want stock.Quantity
	}{
		"no instant":     {time.Time{}, 2},
		"cut to seconds": {at(5, 0), 2},
		"later":          {at(30, 0), 2},
		"long before":    {at(1, 0), 4},
	} {
		t.Run(name, func(t *testing.T) {
			o := &Order{Lines: []OrderLine{{ID: "1", Ordered: 9, Components: []LineComponent{{SKU: "S", Units: 1, Location: "main"}}}}, Deductions: []Deduction{shipment},
				Answers: []OrderAnswer{{Position: stock.Position{SourceAt: test.asOf, SeenAt: at(40, 0)},
					Lines: []connectors.StandingLine{{LineID: "1", Places: []connectors.StandingPlace{{Location: "main", Shipped: 2}}}}}}}
			onHand := func(stock.LocationID) stock.Basis { return stock.OnHandBasis }
			if got := o.deducted(&o.Lines[0], &o.Lines[0].Components[0], onHand); got != test.want {
				t.Errorf("deducted are %d, want %d", got, test.want)
			}
		})
	}
}
