package connectortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// RunSystemOfRecord tells the story of a connector to a system of record. It opens and proves itself; it lists
// locations, articles and levels, and what moved since; an order is created, twice, and is one; it is cancelled and
// amended, twice; faults of every kind come between; it is closed, and stays closed. Each case is a subtest with a
// server of its own.
func RunSystemOfRecord(t *testing.T, f Fixture) {
	runAll(tested{t}, f.generic(), slices.Concat(recordCases(), failureCases(recordCalls), webhookCases()))
}

func record(t T, f fixture) (*subject, connectors.SystemOfRecord) {
	t.Helper()
	s := start(t, f, 0)
	r, ok := s.conn.(connectors.SystemOfRecord)
	if !ok {
		t.Fatalf("%T is no SystemOfRecord", s.conn)
	}
	if len(s.SKUs) < 2 {
		t.Fatal("the fixture has fewer than two SKUs")
	}
	return s, r
}

func recordCalls(t T, s *subject) calls {
	r, ok := s.conn.(connectors.SystemOfRecord)
	if !ok {
		t.Fatalf("%T is no SystemOfRecord", s.conn)
	}
	tries := 0
	return calls{
		prepare: func(ctx context.Context) error {
			_, err := r.Capabilities(ctx)
			return err
		},
		read: func(ctx context.Context) error {
			_, err := r.Levels(ctx, "")
			return err
		},
		write: func(ctx context.Context) error {
			tries++
			_, err := r.CreateOrder(ctx, newOrder(s, fmt.Sprintf("suite:try-%d", tries)))
			return err
		},
	}
}

func newOrder(s *subject, key string) connectors.NewOrder {
	key = s.OrderPrefix + key
	return connectors.NewOrder{
		Key: key, Channel: "suite", OrderID: "order of " + key, PlacedAt: time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC),
		Lines: []connectors.OrderLine{
			{LineID: "1", SKU: stock.SKU(s.SKUs[0]), Quantity: 2},
			{LineID: "2", SKU: stock.SKU(s.SKUs[1]), Quantity: 1},
		},
		Buyer: &connectors.Buyer{Ref: "buyer-1"},
	}
}

func recordCases() []testCase {
	return []testCase{
		{"ClaimsMatchMethods", func(t T, f fixture) {
			s, r := record(t, f)
			can := must2(t, r.Capabilities)
			if can.Basis != stock.OnHandBasis && can.Basis != stock.AvailableBasis {
				t.Errorf("the basis is %q", can.Basis)
			}
			amender, amends := r.(connectors.OrderAmender)
			if can.AmendOrders && !amends {
				t.Error("AmendOrders is claimed, and the connection is no OrderAmender")
			}
			if !can.AmendOrders && amends {
				before, _ := s.wire.count()
				wantKind(t, amender.AmendOrder(t.Context(), connectors.Amendment{Key: "k", Version: 1}), connectors.Rejected)
				if after, _ := s.wire.count(); after != before {
					t.Errorf("what is not claimed sent %d requests", after-before)
				}
			}
			teller, tells := r.(connectors.OrderTeller)
			if can.OrderStatus && !tells {
				t.Error("OrderStatus is claimed, and the connection is no OrderTeller")
			}
			if _, tells := r.(connectors.ChangeTeller); can.Changes && !tells {
				t.Error("Changes is claimed, and the connection is no ChangeTeller")
			}
			if !can.OrderStatus && tells {
				before, _ := s.wire.count()
				_, err := teller.OrderStanding(t.Context(), "k")
				wantKind(t, err, connectors.Rejected)
				if after, _ := s.wire.count(); after != before {
					t.Errorf("what is not claimed sent %d requests", after-before)
				}
			}
		}},
		{"CorrectionsMatchTheirClaim", func(t T, f fixture) {
			s, r := record(t, f)
			can := must2(t, r.Capabilities)
			corrector, corrects := r.(connectors.StockCorrector)
			if can.CorrectStock && !corrects {
				t.Fatal("CorrectStock is claimed, and the connection is no StockCorrector")
			}
			if !corrects {
				return
			}
			locations := must2(t, r.Locations)
			c := connectors.StockCorrection{Key: "suite:count:1", SKU: stock.SKU(s.SKUs[0]), Location: stock.LocationID(locations[0].ID), Delta: 2, Counted: 2,
				AsOf: time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC), Reason: "misplaced"}
			if !can.CorrectStock {
				before, _ := s.wire.count()
				_, err := corrector.CorrectStock(t.Context(), c)
				wantKind(t, err, connectors.Rejected)
				if after, _ := s.wire.count(); after != before {
					t.Errorf("what is not claimed sent %d requests", after-before)
				}
				return
			}
			level := func() stock.Quantity {
				sums, _ := levels(t, r)
				return sums[s.SKUs[0]]
			}
			before := level()
			for range 2 {
				if _, err := corrector.CorrectStock(t.Context(), c); err != nil {
					t.Fatalf("correct: %v", err)
				}
			}
			if after := level(); after != before+2 {
				t.Errorf("a correction by 2, told twice, changed the level from %d to %d", before, after)
			}
			c.Delta = 3
			_, err := corrector.CorrectStock(t.Context(), c)
			wantKind(t, err, connectors.Rejected)
		}},
		{"CheckTouchesNothing", func(t T, f fixture) {
			s, r := record(t, f)
			need(t, s.Changes != nil, "Changes")
			before := s.Changes()
			if err := r.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := s.Changes() - before; n != 0 {
				t.Errorf("Check changed %d things", n)
			}
		}},
		{"LocationsAndItems", func(t T, f fixture) {
			s, r := record(t, f)
			if locations := must2(t, r.Locations); len(locations) == 0 || locations[0].ID == "" {
				t.Errorf("the locations are %+v", locations)
			}
			var skus []string
			var at connectors.Cursor
			for range maxPages {
				page, err := r.Items(t.Context(), at)
				must(t, "list items", page, err)
				for _, it := range page.Rows {
					skus = append(skus, it.SKU)
				}
				if at = page.Next; at == "" {
					break
				}
			}
			for _, sku := range s.SKUs {
				if n := count(skus, sku); n != 1 {
					t.Errorf("item %s is listed %d times", sku, n)
				}
			}
		}},
		{"LevelsCoverEveryItem", levelsCoverEveryItem},
		// What is received, or counted, is a level from then on, and its position lies behind.
		{"CountIsALevel", func(t T, f fixture) {
			s, r := record(t, f)
			need(t, s.Receive != nil && s.Level != nil, "Receive with Level")
			before, first := levels(t, r)
			s.Receive(s.SKUs[0], 7)
			after, second := levels(t, r)
			if got := after[s.SKUs[0]] - before[s.SKUs[0]]; got != 7 {
				t.Errorf("7 units came in, and the level grew by %d", got)
			}
			if !second.Supersedes(first) {
				t.Errorf("position %+v does not lie behind %+v", second, first)
			}
		}},
		{"MovementsInOrder", movementsInOrder},
		// The law of CreateOrder: a repeat after silence creates nothing new.
		{"CreateOrderTwiceCreatesOne", func(t T, f fixture) {
			s, r := record(t, f)
			o := newOrder(s, "suite:order/1 ä")
			first, err := r.CreateOrder(t.Context(), o)
			must(t, "create", first, err)
			second, err := r.CreateOrder(t.Context(), o)
			must(t, "create again", second, err)
			if first == "" || first != second {
				t.Errorf("the numbers are %q and %q", first, second)
			}
			if s.OrderCount != nil && s.OrderCount() != 1 {
				t.Errorf("%d orders exist", s.OrderCount())
			}
			o.Lines = slices.Clone(o.Lines)
			o.Lines[0].Quantity++
			_, err = r.CreateOrder(t.Context(), o)
			wantKind(t, err, connectors.Rejected)
		}},
		// The answer is lost, the caller does not know, and asks again.
		{"CreateOrderAfterLostAnswerCreatesOne", func(t T, f fixture) {
			s, r := record(t, f)
			need(t, s.OrderCount != nil, "OrderCount")
			o := newOrder(s, "suite:lost")
			must2(t, r.Capabilities)
			s.wire.breakWrites(lose)
			_, err := r.CreateOrder(t.Context(), o)
			wantKind(t, err, connectors.Uncertain)
			s.wire.heal()
			number, err := r.CreateOrder(t.Context(), o)
			must(t, "create again", number, err)
			if n := s.OrderCount(); n != 1 {
				t.Errorf("%d orders exist", n)
			}
		}},
		{"OrderOfUnknownSKU", func(t T, f fixture) {
			s, r := record(t, f)
			o := newOrder(s, "suite:unknown")
			o.Lines[0].SKU = "suite-no-such-sku"
			_, err := r.CreateOrder(t.Context(), o)
			wantKind(t, err, connectors.Unmapped, connectors.Rejected)
		}},
		{"CancelAndAmendRepeatSafely", func(t T, f fixture) {
			s, r := record(t, f)
			o := newOrder(s, "suite:order-2")
			number, err := r.CreateOrder(t.Context(), o)
			must(t, "create", number, err)
			if amender, ok := r.(connectors.OrderAmender); ok && must2(t, r.Capabilities).AmendOrders {
				for range 2 {
					lines := []connectors.OrderLine{{LineID: "1", SKU: stock.SKU(s.SKUs[0]), Quantity: 3}, {LineID: "2", SKU: stock.SKU(s.SKUs[1]), Quantity: 1}}
					if err := amender.AmendOrder(t.Context(), connectors.Amendment{Key: o.Key, Version: 2, Lines: lines}); err != nil {
						t.Fatalf("amend: %v", err)
					}
				}
			}
			for _, lines := range [][]connectors.CancelLine{{{LineID: "1", Cancelled: 1}}, {{LineID: "1", Cancelled: 1}}, nil, nil} {
				if err := r.CancelOrder(t.Context(), o.Key, lines); err != nil {
					t.Fatalf("cancel %v: %v", lines, err)
				}
			}
			wantKind(t, r.CancelOrder(t.Context(), "suite:no-such-order", nil), connectors.Unmapped, connectors.Rejected)
		}},
		{"OrderStandsAsItStands", orderStands},
		{"ChangesAreTold", changesAreTold},
		{"ConcurrentUse", func(t T, f fixture) {
			s, r := record(t, f)
			var group sync.WaitGroup
			for i := range 8 {
				group.Go(func() {
					if _, err := r.CreateOrder(t.Context(), newOrder(s, fmt.Sprintf("suite:c-%d", i%4))); err != nil {
						t.Errorf("create: %v", err)
					}
					if _, err := r.Levels(t.Context(), ""); err != nil {
						t.Errorf("levels: %v", err)
					}
				})
			}
			group.Wait()
			if s.OrderCount != nil && s.OrderCount() != 4 {
				t.Errorf("%d orders exist, not 4", s.OrderCount())
			}
		}},
		{"CloseIsFinal", func(t T, f fixture) {
			s, r := record(t, f)
			must2(t, r.Capabilities)
			if err := errors.Join(r.Close(), r.Close()); err != nil {
				t.Errorf("Close, twice: %v", err)
			}
			before, _ := s.wire.count()
			_, levelErr := r.Levels(t.Context(), "")
			_, orderErr := r.CreateOrder(t.Context(), newOrder(s, "suite:late"))
			for name, err := range map[string]error{"Check": r.Check(t.Context()), "Levels": levelErr, "CreateOrder": orderErr} {
				if err == nil {
					t.Errorf("%s works after Close", name)
				}
			}
			if after, _ := s.wire.count(); after != before {
				t.Errorf("%d requests after Close", after-before)
			}
		}},
	}
}

// An order is asked for as it was created, after a part was cancelled and the rest shipped: totals of one instant, and
// each instant not before the last. Where levels mean available, what is set aside is told.
func orderStands(t T, f fixture) {
	s, r := record(t, f)
	can := must2(t, r.Capabilities)
	teller, ok := r.(connectors.OrderTeller)
	if !ok || !can.OrderStatus {
		t.Skip("the system of record does not tell how orders stand")
	}
	_, err := teller.OrderStanding(t.Context(), "suite:no-such-order")
	wantKind(t, err, connectors.Unmapped)
	o := newOrder(s, "suite:standing/1 ä")
	number, err := r.CreateOrder(t.Context(), o)
	must(t, "create", number, err)
	var last time.Time
	ask := func() (cancelled, shipped stock.Quantity) {
		t.Helper()
		a, err := teller.OrderStanding(t.Context(), o.Key)
		must(t, "ask", a, err)
		if err := a.Validate(); err != nil {
			t.Fatalf("the answer %+v: %v", a, err)
		}
		if a.OrderKey != o.Key || a.AsOf.Before(last) || a.AsOf.After(time.Now().Add(time.Second)) {
			t.Errorf("the answer is about %q as of %s, the last one as of %s", a.OrderKey, a.AsOf, last)
		}
		last = a.AsOf
		told := map[string]int{}
		for _, l := range a.Lines {
			told[l.LineID]++
			cancelled += l.Cancelled
			if l.Rejected != 0 || l.Restocked != nil && *l.Restocked != 0 {
				t.Errorf("line %s is %+v, and nobody rejected or returned anything", l.LineID, l)
			}
			for _, p := range l.Places {
				shipped += p.Shipped
				if can.Basis == stock.AvailableBasis && p.Allocated == nil {
					t.Errorf("line %s does not tell what is set aside at %s", l.LineID, p.Location)
				}
			}
		}
		for _, l := range o.Lines {
			if told[l.LineID] != 1 {
				t.Errorf("line %s is told %d times", l.LineID, told[l.LineID])
			}
		}
		return cancelled, shipped
	}
	if cancelled, shipped := ask(); cancelled != 0 || shipped != 0 {
		t.Errorf("of a new order %d units are cancelled and %d shipped", cancelled, shipped)
	}
	if err := r.CancelOrder(t.Context(), o.Key, []connectors.CancelLine{{LineID: "1", Cancelled: 1}}); err != nil {
		t.Fatalf("cancel: %v", err)
	}
	if cancelled, shipped := ask(); cancelled != 1 || shipped != 0 {
		t.Errorf("1 unit was cancelled, and %d are cancelled and %d shipped", cancelled, shipped)
	}
	need(t, s.ShipOrder != nil, "ShipOrder")
	sent := s.ShipOrder(o.Key)
	for range 2 { // asking changes nothing
		if cancelled, shipped := ask(); cancelled != 1 || shipped != sent || sent == 0 {
			t.Errorf("%d units were shipped, and %d are cancelled and %d shipped", sent, cancelled, shipped)
		}
	}
}

// changesAreTold sees that what happens after a mark is told with it: goods that come in, and an order that is sent.
func changesAreTold(t T, f fixture) {
	s, r := record(t, f)
	teller, tells := r.(connectors.ChangeTeller)
	if !tells || !must2(t, r.Capabilities).Changes {
		t.Skip("the system of record does not tell what changed")
	}
	need(t, s.Receive != nil && s.ShipOrder != nil, "Receive with ShipOrder")
	look := func(mark string) connectors.Changes {
		t.Helper()
		c, err := teller.Changes(t.Context(), mark)
		if must(t, "ask what changed", c, err); c.Mark == "" {
			t.Fatal("the answer has no mark to go on from")
		}
		return c
	}
	first := look("")
	if first.Stock || len(first.OrderKeys) > 0 {
		t.Errorf("with the first mark %+v is told as changed", first)
	}
	var quiet connectors.Changes
	for range 3 {
		quiet = look(first.Mark)
	}
	if quiet.Stock || len(quiet.OrderKeys) > 0 {
		t.Errorf("nothing happens, and %+v is told as changed again and again", quiet)
	}
	s.Receive(s.SKUs[0], 5)
	came := look(quiet.Mark)
	if !came.Stock {
		t.Error("goods came in, and no level is told as changed")
	}
	o := newOrder(s, "suite:changed")
	if _, err := r.CreateOrder(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if s.ShipOrder(o.Key) == 0 {
		t.Fatal("nothing of the order could be sent")
	}
	if sent := look(came.Mark); !sent.Stock || !s.OrdersByWebhook && !slices.Contains(sent.OrderKeys, o.Key) {
		t.Errorf("an order was sent, and %+v is told as changed", sent)
	}
	if anew := look("no mark of ours"); anew.Stock || len(anew.OrderKeys) > 0 {
		t.Errorf("with a mark that makes no sense %+v is told as changed", anew)
	}
}

func count(list []string, want string) int {
	n := 0
	for _, s := range list {
		if s == want {
			n++
		}
	}
	return n
}

func levelsCoverEveryItem(t T, f fixture) {
	s, r := record(t, f)
	sums, position := levels(t, r)
	if position == (stock.Position{}) {
		t.Error("the levels have no position at all")
	}
	for _, sku := range s.SKUs {
		q, ok := sums[sku]
		if !ok {
			t.Errorf("no level of %s", sku)
		}
		if s.Level != nil && q != s.Level(sku) {
			t.Errorf("the level of %s is %d, and truly %d", sku, q, s.Level(sku))
		}
	}
}

// levels sums the statements of each SKU, and checks that all pages are of one position and as many as they say.
func levels(t T, r connectors.SystemOfRecord) (map[string]stock.Quantity, stock.Position) {
	t.Helper()
	can := must2(t, r.Capabilities)
	began := time.Now()
	sums := map[string]stock.Quantity{}
	var first connectors.LevelPage
	var at connectors.Cursor
	rows := 0
	for i := range maxPages {
		page, err := r.Levels(t.Context(), at)
		must(t, "list levels", page, err)
		if i == 0 {
			first = page
		}
		if page.Position != first.Position || page.Count != first.Count {
			t.Errorf("page %d is of %+v with count %d; the first of %+v with %d", i+1, page.Position, page.Count, first.Position, first.Count)
		}
		for _, l := range page.Levels {
			sums[l.SKU] += l.Quantity
			rows++
		}
		if at = page.Next; at == "" {
			break
		}
	}
	if at != "" {
		t.Fatal("the list of levels does not end")
	}
	if can.CompleteLevels && first.Count != rows {
		t.Errorf("count is %d, and %d rows came", first.Count, rows)
	}
	if seen := first.Position.SeenAt; !seen.IsZero() && (seen.Before(began.Add(-time.Second)) || seen.After(time.Now())) {
		t.Errorf("SeenAt is %s, and the read began at %s", seen, began)
	}
	return sums, first.Position
}

func movementsInOrder(t T, f fixture) {
	s, r := record(t, f)
	if !must2(t, r.Capabilities).Positions {
		t.Skip("the system of record has no positions")
	}
	need(t, s.Receive != nil, "Receive")
	_, position := levels(t, r)
	for i := range 3 {
		s.Receive(s.SKUs[0], stock.Quantity(i+1))
	}
	var moved stock.Quantity
	after := position.Sequence
	for range maxPages {
		page, err := r.Movements(t.Context(), after)
		must(t, "list movements", page, err)
		for _, fact := range page.Rows {
			if fact.Position.Sequence <= after {
				t.Fatalf("position %d comes after %d", fact.Position.Sequence, after)
			}
			after = fact.Position.Sequence
			if err := fact.Validate(); err != nil {
				t.Errorf("fact at %d: %v", after, err)
			}
			if fact.Kind == connectors.StockMoved && fact.Movement.SKU == s.SKUs[0] {
				moved += fact.Movement.Delta
			}
		}
		if page.Next == "" {
			break
		}
	}
	if moved != 6 {
		t.Errorf("the movements after the levels sum up to %d, and 6 units came in", moved)
	}
	again, err := r.Movements(t.Context(), after)
	if must(t, "list movements", again, err); len(again.Rows) != 0 || again.Next != "" {
		t.Errorf("after the last position %d facts come, next %q", len(again.Rows), again.Next)
	}
}
