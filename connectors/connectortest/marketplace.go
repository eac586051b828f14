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

// RunMarketplace tells the story of a marketplace connector. It opens and proves itself; it lists what is for sale,
// writes and reads back; it is given bad writes, batches at the limit, faults of every kind, and two callers at once;
// orders come and are listed again; it is closed, and stays closed. Each case is a subtest with a server of its own.
func RunMarketplace(t *testing.T, f Fixture) {
	runAll(tested{t}, f.generic(), slices.Concat(marketplaceCases(), failureCases(marketplaceCalls), webhookCases()))
}

func shop(t T, f fixture) (*subject, connectors.Marketplace) {
	t.Helper()
	s := start(t, f, 0)
	m, ok := s.conn.(connectors.Marketplace)
	if !ok {
		t.Fatalf("%T is no Marketplace", s.conn)
	}
	if len(s.Refs) < 3 {
		t.Fatal("the fixture has fewer than three Refs")
	}
	return s, m
}

func marketplaceCalls(t T, s *subject) calls {
	m, ok := s.conn.(connectors.Marketplace)
	if !ok {
		t.Fatalf("%T is no Marketplace", s.conn)
	}
	tries := 0
	return calls{
		prepare: func(ctx context.Context) error {
			_, capsErr := m.Capabilities(ctx)
			_, readErr := m.ReadStock(ctx, s.Refs[:1])
			return errors.Join(capsErr, readErr)
		},
		read: func(ctx context.Context) error {
			_, err := m.Listings(ctx, "")
			return err
		},
		write: func(ctx context.Context) error {
			tries++
			results, err := m.WriteStock(ctx, []connectors.Write{{Ref: s.Refs[0], Quantity: 5, ID: fmt.Sprintf("try-%d", tries)}})
			if err != nil && len(results) > 0 {
				return errors.New("the call has an error and results too")
			}
			if err == nil && len(results) == 1 {
				return results[0].Err // a connector may tell the failure per line
			}
			return err
		},
	}
}

func marketplaceCases() []testCase {
	return []testCase{
		{"ClaimsMatchMethods", claimsMatchMethods},
		{"CheckTouchesNothing", func(t T, f fixture) {
			s, m := shop(t, f)
			need(t, s.Changes != nil, "Changes")
			before := s.Changes()
			if err := m.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := s.Changes() - before; n != 0 {
				t.Errorf("Check changed %d things", n)
			}
		}},
		{"ListingsStableAndComplete", listingsStableAndComplete},
		{"ReadLeavesOutTheUnknown", func(t T, f fixture) {
			s, m := shop(t, f)
			unknown := connectors.Ref{Item: "suite-no-such-item", Place: s.Refs[0].Place}
			readings, err := m.ReadStock(t.Context(), []connectors.Ref{s.Refs[0], unknown, s.Refs[1]})
			must(t, "read", readings, err)
			for _, r := range readings {
				if r.Ref == unknown {
					t.Errorf("what the channel does not know reads as %d", r.Quantity)
				}
				if r.At.IsZero() {
					t.Errorf("the reading of %s has no instant", r.Ref)
				}
			}
			if len(readings) != 2 {
				t.Errorf("%d readings of two known listings", len(readings))
			}
			none, err := m.ReadStock(t.Context(), nil)
			if must(t, "read nothing", none, err); len(none) != 0 {
				t.Errorf("asked for nothing, %d readings came", len(none))
			}
		}},
		// A write is absolute: doing it twice is doing it once.
		{"WriteThenReadAgreesTwice", func(t T, f fixture) {
			s, m := shop(t, f)
			for range 2 {
				writes := []connectors.Write{{Ref: s.Refs[0], Quantity: 17, ID: "w-1"}, {Ref: s.Refs[1], Quantity: 4, ID: "w-2"}}
				apply(t, s, m, writes)
				expect(t, s, m, writes)
			}
		}},
		// What was planned and applied leaves nothing to plan: else two systems correct each other for ever.
		{"PlanIsEmptyAfterApply", func(t T, f fixture) {
			s, m := shop(t, f)
			var writes []connectors.Write
			for i, ref := range s.Refs[:3] {
				writes = append(writes, connectors.Write{Ref: ref, Quantity: stock.Quantity(30 + i), ID: fmt.Sprintf("w-%d", i)})
			}
			apply(t, s, m, writes)
			expect(t, s, m, writes)
			shown := map[connectors.Ref]stock.Quantity{}
			for _, l := range every(t, m) {
				shown[l.Ref] = l.Quantity
			}
			for _, w := range writes {
				if shown[w.Ref] != w.Quantity {
					t.Errorf("listing %s lists %d after %d was written", w.Ref, shown[w.Ref], w.Quantity)
				}
			}
		}},
		// A listing without a limit says so, and gets a limit back by a number.
		{"NoLimitIsShown", func(t T, f fixture) {
			s, m := shop(t, f)
			if !must2(t, m.Capabilities).Unlimited {
				t.Skip("the channel shows every listing with a number")
			}
			endless := connectors.Write{Ref: s.Refs[0], Quantity: stock.MaxQuantity, Unlimited: true, ID: "w-1"}
			for range 2 {
				results, err := m.WriteStock(t.Context(), []connectors.Write{endless})
				must(t, "write", results, err)
				if results[0].Err != nil {
					t.Fatalf("without a limit: %v", results[0].Err)
				}
				<-time.After(must2(t, m.Capabilities).ReadLag)
				readings, err := m.ReadStock(t.Context(), []connectors.Ref{s.Refs[0]})
				must(t, "read", readings, err)
				if len(readings) != 1 || !readings[0].Unlimited {
					t.Errorf("it reads as %+v", readings)
				}
			}
			finite := []connectors.Write{{Ref: s.Refs[0], Quantity: 3, ID: "w-2"}}
			apply(t, s, m, finite)
			expect(t, s, m, finite)
			readings, err := m.ReadStock(t.Context(), []connectors.Ref{s.Refs[0]})
			if must(t, "read", readings, err); len(readings) != 1 || readings[0].Unlimited {
				t.Errorf("with a limit it reads as %+v", readings)
			}
		}},
		{"OneBadWriteSparesTheRest", func(t T, f fixture) {
			s, m := shop(t, f)
			good := []connectors.Write{{Ref: s.Refs[0], Quantity: 21, ID: "w-1"}, {Ref: s.Refs[1], Quantity: 22, ID: "w-3"}}
			bad := connectors.Write{Ref: connectors.Ref{Item: "suite-no-such-item", Place: s.Refs[0].Place}, Quantity: 1, ID: "w-2"}
			negative := connectors.Write{Ref: s.Refs[2], Quantity: -1, ID: "w-4"}
			results, err := m.WriteStock(t.Context(), []connectors.Write{good[0], bad, good[1], negative})
			must(t, "write", results, err)
			if len(results) != 4 {
				t.Fatalf("%d results of 4 writes", len(results))
			}
			for i, want := range []bool{true, false, true, false} {
				if done := results[i].Outcome != connectors.Failed; done != want {
					t.Errorf("write %d: outcome %s, %v", i, results[i].Outcome, results[i].Err)
				}
			}
			wantKind(t, results[1].Err, connectors.Unmapped, connectors.Rejected)
			wantKind(t, results[3].Err, connectors.Rejected)
			expect(t, s, m, good)
		}},
		{"ResultsInOrder", func(t T, f fixture) {
			s, m := shop(t, f)
			refs := slices.Clone(s.Refs[:3])
			slices.Reverse(refs)
			var writes []connectors.Write
			for i, ref := range refs {
				writes = append(writes, connectors.Write{Ref: ref, Quantity: stock.Quantity(i), ID: fmt.Sprintf("w-%d", i)})
			}
			results, err := m.WriteStock(t.Context(), writes)
			must(t, "write", results, err)
			for i, r := range results {
				if r.Ref != refs[i] {
					t.Errorf("result %d is of %s, not of %s", i, r.Ref, refs[i])
				}
			}
			readings, err := m.ReadStock(t.Context(), refs)
			must(t, "read", readings, err)
			for _, r := range readings {
				if !slices.Contains(refs, r.Ref) {
					t.Errorf("reading of %s, which was not asked", r.Ref)
				}
			}
		}},
		{"BatchAtAndOverLimit", batchAtAndOverLimit},
		{"ZeroAndLargeQuantities", func(t T, f fixture) {
			s, m := shop(t, f)
			can := must2(t, m.Capabilities)
			most := can.MaxQuantity
			if most == 0 {
				most = 1_000_000
			}
			for i, q := range []stock.Quantity{most, 0, 1} {
				writes := []connectors.Write{{Ref: s.Refs[0], Quantity: q, ID: fmt.Sprintf("w-%d", i)}}
				apply(t, s, m, writes)
				expect(t, s, m, writes)
			}
		}},
		// The safest class: a write that expects another value than the channel shows changes nothing.
		{"StaleExpectationChangesNothing", func(t T, f fixture) {
			s, m := shop(t, f)
			if class := must2(t, m.Capabilities).Class; class != connectors.CompareAndSet {
				t.Skipf("the class is %s, not compare-and-set", class)
			}
			apply(t, s, m, []connectors.Write{{Ref: s.Refs[0], Quantity: 8, ID: "w-1"}})
			wrong, right := stock.Quantity(7), stock.Quantity(8)
			results, err := m.WriteStock(t.Context(), []connectors.Write{{Ref: s.Refs[0], Quantity: 3, Expect: &wrong, ID: "w-2"}})
			must(t, "write", results, err)
			if results[0].Outcome != connectors.Stale {
				t.Errorf("the outcome is %s (%v), not stale", results[0].Outcome, results[0].Err)
			}
			if q := results[0].Quantity; q != nil && *q != 8 {
				t.Errorf("the stale result tells %d, and 8 is shown", *q)
			}
			expect(t, s, m, []connectors.Write{{Ref: s.Refs[0], Quantity: 8}})
			apply(t, s, m, []connectors.Write{{Ref: s.Refs[0], Quantity: 3, Expect: &right, ID: "w-3"}})
		}},
		{"OrdersRepeatSafely", ordersRepeatSafely},
		{"ShipmentTwiceShipsOnce", shipmentTwiceShipsOnce},
		{"RefundTwiceCancelsOnce", refundTwiceCancelsOnce},
		{"StopAndResumeSale", stopAndResumeSale},
		{"ConcurrentUse", func(t T, f fixture) {
			s, m := shop(t, f)
			var group sync.WaitGroup
			for i := range 8 {
				group.Go(func() {
					ref := s.Refs[i%3]
					_, err := m.WriteStock(t.Context(), []connectors.Write{{Ref: ref, Quantity: 9, ID: fmt.Sprintf("w-%d", i)}})
					if err != nil {
						t.Errorf("write: %v", err)
					}
					if _, err := m.ReadStock(t.Context(), []connectors.Ref{ref}); err != nil {
						t.Errorf("read: %v", err)
					}
					if _, err := m.Capabilities(t.Context()); err != nil {
						t.Errorf("capabilities: %v", err)
					}
				})
			}
			group.Wait()
		}},
		{"CloseIsFinal", func(t T, f fixture) {
			s, m := shop(t, f)
			must2(t, m.Capabilities)
			if err := errors.Join(m.Close(), m.Close()); err != nil {
				t.Errorf("Close, twice: %v", err)
			}
			before, _ := s.wire.count()
			_, listErr := m.Listings(t.Context(), "")
			_, writeErr := m.WriteStock(t.Context(), []connectors.Write{{Ref: s.Refs[0], Quantity: 1, ID: "w-1"}})
			_, orderErr := m.Orders(t.Context(), time.Time{}, "")
			for name, err := range map[string]error{"Check": m.Check(t.Context()), "Listings": listErr, "WriteStock": writeErr, "Orders": orderErr} {
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

// claimsMatchMethods: what is claimed is there, and what is not claimed refuses without a request.
func claimsMatchMethods(t T, f fixture) {
	s, m := shop(t, f)
	can := must2(t, m.Capabilities)
	if can.BatchSize < 1 || can.ReadLag < 0 || can.MaxQuantity < 0 {
		t.Errorf("the capabilities make no sense: %+v", can)
	}
	switch can.Class {
	case connectors.CompareAndSet, connectors.IdempotentDelta, connectors.DeductsSinceUpdate, connectors.DeductsOpenOrders,
		connectors.Overwrite, connectors.AsynchronousFeed:
	default:
		t.Errorf("the class %q is none of C1 to C6", can.Class)
	}
	stopper, stops := m.(connectors.SaleStopper)
	shipper, ships := m.(connectors.ShipmentWriter)
	if can.StopSale && !stops {
		t.Error("StopSale is claimed, and the connection is no SaleStopper")
	}
	if can.Shipments && !ships {
		t.Error("Shipments is claimed, and the connection is no ShipmentWriter")
	}
	remedier, makesGood := m.(connectors.RemedyWriter)
	if can.Remedies && !makesGood {
		t.Error("Remedies is claimed, and the connection is no RemedyWriter")
	}
	before, _ := s.wire.count()
	if !can.StopSale && stops {
		_, err := stopper.StopSale(t.Context(), s.Refs[:1])
		wantKind(t, err, connectors.Rejected)
	}
	if !can.Shipments && ships {
		err := shipper.WriteShipment(t.Context(), connectors.ShipmentNotice{Key: "k", OrderID: "o", Lines: []connectors.ShippedPacks{{LineID: "1", Quantity: 1}}})
		wantKind(t, err, connectors.Rejected)
	}
	if !can.Remedies && makesGood {
		err := remedier.WriteRemedy(t.Context(), connectors.RemedyNotice{Key: "k", OrderID: "o", Kind: stock.RemedyRefund, Lines: []connectors.RemedyLine{{LineID: "1", Quantity: 1}}})
		wantKind(t, err, connectors.Rejected)
	}
	if after, _ := s.wire.count(); after != before {
		t.Errorf("what is not claimed sent %d requests", after-before)
	}
}

func listingsStableAndComplete(t T, f fixture) {
	s, m := shop(t, f)
	first, second := every(t, m), every(t, m)
	if len(first) != len(second) {
		t.Fatalf("%d listings, then %d", len(first), len(second))
	}
	seen := map[connectors.Ref]bool{}
	for i, l := range first {
		if seen[l.Ref] {
			t.Errorf("%s is listed twice", l.Ref)
		}
		seen[l.Ref] = true
		if l.Ref != second[i].Ref {
			t.Errorf("row %d is %s, and %s the second time", i, l.Ref, second[i].Ref)
		}
		if s.Shown != nil && slices.Contains(s.Refs, l.Ref) && l.Quantity != s.Shown(l.Ref) {
			t.Errorf("%s is listed with %d and has %d", l.Ref, l.Quantity, s.Shown(l.Ref))
		}
	}
	for _, ref := range s.Refs {
		if !seen[ref] {
			t.Errorf("%s is not listed", ref)
		}
	}
}

func batchAtAndOverLimit(t T, f fixture) {
	s, m := shop(t, f)
	can := must2(t, m.Capabilities)
	if len(s.Refs) <= can.BatchSize {
		t.Skipf("the fixture has %d Refs, and a batch takes %d", len(s.Refs), can.BatchSize)
	}
	var writes []connectors.Write
	for i, ref := range s.Refs[:can.BatchSize+1] {
		writes = append(writes, connectors.Write{Ref: ref, Quantity: stock.Quantity(50 + i), ID: fmt.Sprintf("w-%d", i)})
	}
	apply(t, s, m, writes[:can.BatchSize])
	expect(t, s, m, writes[:can.BatchSize])
	for i := range writes {
		writes[i].Quantity, writes[i].ID = 1, "over-"+writes[i].ID
	}
	results, err := m.WriteStock(t.Context(), writes)
	wantKind(t, err, connectors.Rejected)
	if len(results) != 0 {
		t.Errorf("the call was refused, and has %d results", len(results))
	}
	if s.Shown != nil && s.Shown(writes[0].Ref) == 1 {
		t.Error("the call was refused, and a write took place")
	}
	_, err = m.ReadStock(t.Context(), s.Refs[:can.BatchSize+1])
	wantKind(t, err, connectors.Rejected)
}

// ordersRepeatSafely: since is inclusive, so the newest order comes again; it is the same one, told the same way.
func ordersRepeatSafely(t T, f fixture) {
	s, m := shop(t, f)
	need(t, s.Sell != nil, "Sell")
	apply(t, s, m, []connectors.Write{{Ref: s.Refs[0], Quantity: 20, ID: "w-1"}})
	began := time.Now().Add(-time.Minute)
	ids := []string{s.Sell(s.Refs[0], 1), s.Sell(s.Refs[0], 2), s.Sell(s.Refs[0], 3)}
	first, watermark := drain(t, m, began)
	if watermark.IsZero() || watermark.After(time.Now().Add(time.Minute)) {
		t.Errorf("the watermark is %s", watermark)
	}
	var newest time.Time
	for i, id := range ids {
		o, ok := first[id]
		if !ok {
			t.Fatalf("order %s is not listed", id)
		}
		if len(o.Lines) != 1 || o.Lines[0].Quantity != stock.Quantity(i+1) || o.Lines[0].Ref != s.Refs[0] {
			t.Errorf("order %s is listed with the lines %+v", id, o.Lines)
		}
		if o.UpdatedAt.After(newest) {
			newest = o.UpdatedAt
		}
	}
	second, _ := drain(t, m, newest)
	for id, o := range second {
		if o.UpdatedAt.Equal(newest) {
			newest = time.Time{}
		}
		if before, ok := first[id]; ok && before.Version == o.Version && len(before.Lines) != len(o.Lines) {
			t.Errorf("order %s is told in two ways with the same version", id)
		}
	}
	if !newest.IsZero() {
		t.Errorf("asked for the orders since %s, the one of that instant does not come", newest)
	}
	none, _ := drain(t, m, time.Now().Add(24*time.Hour))
	if len(none) != 0 {
		t.Errorf("%d orders changed tomorrow", len(none))
	}
}

func shipmentTwiceShipsOnce(t T, f fixture) {
	s, m := shop(t, f)
	shipper, ok := m.(connectors.ShipmentWriter)
	if !ok || !must2(t, m.Capabilities).Shipments {
		t.Skip("the marketplace takes no shipments")
	}
	need(t, s.Sell != nil && s.Shipped != nil, "Sell with Shipped")
	apply(t, s, m, []connectors.Write{{Ref: s.Refs[0], Quantity: 20, ID: "w-1"}})
	id := s.Sell(s.Refs[0], 3)
	orders, _ := drain(t, m, time.Time{})
	o, ok := orders[id]
	if !ok {
		t.Fatalf("order %s is not listed", id)
	}
	notice := connectors.ShipmentNotice{
		Key: "shipment-1", OrderID: id, Carrier: "Post", Tracking: "T-1",
		Lines: []connectors.ShippedPacks{{LineID: o.Lines[0].LineID, Quantity: 3}},
	}
	for range 2 {
		if err := shipper.WriteShipment(t.Context(), notice); err != nil {
			t.Fatal(err)
		}
		if n := s.Shipped(id); n != 3 {
			t.Errorf("%d units are shipped, not 3", n)
		}
	}
}

func refundTwiceCancelsOnce(t T, f fixture) {
	s, m := shop(t, f)
	remedier, ok := m.(connectors.RemedyWriter)
	if !ok || !must2(t, m.Capabilities).Remedies {
		t.Skip("the marketplace takes no remedies")
	}
	need(t, s.Sell != nil, "Sell")
	apply(t, s, m, []connectors.Write{{Ref: s.Refs[0], Quantity: 20, ID: "w-1"}})
	id := s.Sell(s.Refs[0], 3)
	orders, _ := drain(t, m, time.Time{})
	notice := connectors.RemedyNotice{Key: "remedy-1", OrderID: id, Kind: stock.RemedyRefund, Message: "sold out",
		Lines: []connectors.RemedyLine{{LineID: orders[id].Lines[0].LineID, Quantity: 1}}}
	for range 2 {
		if err := remedier.WriteRemedy(t.Context(), notice); err != nil {
			t.Fatal(err)
		}
		orders, _ = drain(t, m, time.Time{})
		if l := orders[id].Lines[0]; l.Quantity != 3 || l.Cancelled != 1 {
			t.Errorf("of %d units %d are cancelled, not 1 of 3", l.Quantity, l.Cancelled)
		}
	}
	notice.Key, notice.Lines[0].Quantity = "remedy-2", 3
	wantKind(t, remedier.WriteRemedy(t.Context(), notice), connectors.Rejected)
}

func stopAndResumeSale(t T, f fixture) {
	s, m := shop(t, f)
	stopper, ok := m.(connectors.SaleStopper)
	if !ok || !must2(t, m.Capabilities).StopSale {
		t.Skip("the marketplace cannot stop a sale")
	}
	for _, step := range []struct {
		call func(context.Context, []connectors.Ref) ([]connectors.Result, error)
		want connectors.ListingStatus
	}{{stopper.StopSale, connectors.StatusStopped}, {stopper.StopSale, connectors.StatusStopped}, {stopper.ResumeSale, connectors.StatusActive}} {
		results, err := step.call(t.Context(), s.Refs[:2])
		must(t, "call", results, err)
		if len(results) != 2 || results[0].Ref != s.Refs[0] || results[1].Ref != s.Refs[1] {
			t.Fatalf("the results are %+v", results)
		}
		for _, l := range every(t, m) {
			if slices.Contains(s.Refs[:2], l.Ref) && l.Status != step.want {
				t.Errorf("%s is %s, not %s", l.Ref, l.Status, step.want)
			}
		}
	}
}

// maxPages bounds a list: one that does not end is a failure, not a hanging test.
const maxPages = 10_000

func every(t T, m connectors.Marketplace) []connectors.Listing {
	t.Helper()
	var all []connectors.Listing
	var at connectors.Cursor
	for range maxPages {
		page, err := m.Listings(t.Context(), at)
		must(t, "list listings", page, err)
		all = append(all, page.Rows...)
		if at = page.Next; at == "" {
			return all
		}
	}
	t.Fatal("the list of listings does not end")
	return nil
}

func drain(t T, m connectors.Marketplace, since time.Time) (map[string]connectors.Order, time.Time) {
	t.Helper()
	all := map[string]connectors.Order{}
	var at connectors.Cursor
	for range maxPages {
		page, err := m.Orders(t.Context(), since, at)
		must(t, "list orders", page, err)
		for _, o := range page.Orders {
			all[o.OrderID] = o
		}
		if at = page.Next; at == "" {
			return all, page.Watermark
		}
	}
	t.Fatal("the list of orders does not end")
	return nil, time.Time{}
}

// apply writes and wants every write done.
func apply(t T, s *subject, m connectors.Marketplace, writes []connectors.Write) {
	t.Helper()
	results, err := m.WriteStock(t.Context(), writes)
	must(t, "write stock", results, err)
	if len(results) != len(writes) {
		t.Fatalf("%d results of %d writes", len(results), len(writes))
	}
	for i, r := range results {
		if r.Ref != writes[i].Ref || r.Outcome != connectors.Written && r.Outcome != connectors.Accepted {
			t.Fatalf("write of %d to %s: %s of %s, %v", writes[i].Quantity, writes[i].Ref, r.Outcome, r.Ref, r.Err)
		}
	}
}

// expect waits, up to the channel's lag, until it shows what was written, and looks at the server's truth.
func expect(t T, s *subject, m connectors.Marketplace, writes []connectors.Write) {
	t.Helper()
	var refs []connectors.Ref
	for _, w := range writes {
		refs = append(refs, w.Ref)
	}
	deadline := time.Now().Add(must2(t, m.Capabilities).ReadLag + 5*time.Second)
	for {
		readings, err := m.ReadStock(t.Context(), refs)
		must(t, "read stock", readings, err)
		wrong := differs(writes, readings)
		if wrong == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
		<-time.After(20 * time.Millisecond)
	}
	for _, w := range writes {
		if s.Shown != nil && s.Shown(w.Ref) != w.Quantity {
			t.Errorf("%s truly shows %d, not %d", w.Ref, s.Shown(w.Ref), w.Quantity)
		}
	}
}

func differs(writes []connectors.Write, readings []connectors.Reading) string {
	shown := map[connectors.Ref]stock.Quantity{}
	for _, r := range readings {
		shown[r.Ref] = r.Quantity
	}
	for _, w := range writes {
		if q, ok := shown[w.Ref]; !ok || q != w.Quantity {
			return fmt.Sprintf("%s reads %d (told: %t), not %d", w.Ref, q, ok, w.Quantity)
		}
	}
	return ""
}

func must2[V any](t T, call func(context.Context) (V, error)) V {
	t.Helper()
	v, err := call(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}
