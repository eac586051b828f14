package shopify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// list reads all orders.
func list(t *testing.T, m connectors.Marketplace, since time.Time) []connectors.Order {
	t.Helper()
	var all []connectors.Order
	for at, pages := connectors.Cursor(""), 0; pages == 0 || at != ""; pages++ {
		page, err := m.Orders(t.Context(), since, at)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, page.Orders...); pages > 100 {
			t.Fatal("the list does not end")
		}
		at = page.Next
	}
	return all
}

// TestTotals: what happened to an order of 5, and what is told of it.
func TestTotals(t *testing.T) {
	schemaOf(t, "2026-07")
	type totals struct{ quantity, cancelled, shipped, restocked stock.Quantity }
	for name, c := range map[string]struct {
		happens func(o *pretendOrder, elsewhere string)
		want    totals
		status  connectors.OrderStatus
	}{
		"placed": {func(*pretendOrder, string) {}, totals{5, 0, 0, 0}, connectors.OrderOpen},
		"two refunded before they were shipped, and put back": {func(o *pretendOrder, _ string) {
			o.remove(2, "CANCEL", true)
		}, totals{5, 2, 0, 2}, connectors.OrderOpen},
		"two refunded before they were shipped, and not put back": {func(o *pretendOrder, _ string) {
			o.remove(2, "NO_RESTOCK", false)
		}, totals{5, 2, 0, 0}, connectors.OrderOpen},
		"two taken off by an edit": {func(o *pretendOrder, _ string) {
			o.lines[0].current, o.fulfillmentOrders[0].lines[0].total, o.fulfillmentOrders[0].lines[0].remaining = 3, 3, 3
		}, totals{5, 2, 0, 0}, connectors.OrderOpen},
		"two shipped": {func(o *pretendOrder, _ string) { o.ship(2, "SUCCESS") }, totals{5, 0, 2, 0}, connectors.OrderOpen},
		"two wait for a carrier": {func(o *pretendOrder, _ string) {
			o.ship(2, "PENDING")
		}, totals{5, 0, 0, 0}, connectors.OrderOpen},
		"a shipment of two was cancelled": {func(o *pretendOrder, _ string) {
			o.ship(2, "CANCELLED")
			o.fulfillmentOrders[0].lines[0].remaining = 5
		}, totals{5, 0, 0, 0}, connectors.OrderOpen},
		"all shipped, two came back": {func(o *pretendOrder, _ string) {
			o.ship(5, "SUCCESS")
			o.refund(2, "RETURN", true)
			o.closed = true
		}, totals{5, 0, 5, 2}, connectors.OrderClosed},
		"two shipped, one of them came back, one of the others cancelled": {func(o *pretendOrder, _ string) {
			o.ship(2, "SUCCESS")
			o.refund(1, "RETURN", true)
			o.remove(1, "CANCEL", true)
		}, totals{5, 1, 2, 2}, connectors.OrderOpen},
		"two shipped, the price of one given back": {func(o *pretendOrder, _ string) {
			o.ship(2, "SUCCESS")
			o.refund(1, "NO_RESTOCK", false)
		}, totals{5, 0, 2, 0}, connectors.OrderOpen},
		"cancelled": {func(o *pretendOrder, _ string) {
			o.remove(5, "CANCEL", true)
			o.cancelled = true
		}, totals{5, 5, 0, 5}, connectors.OrderCancelledStatus},
		"cancelled, and the lines still stand": {func(o *pretendOrder, _ string) {
			o.cancelled = true
		}, totals{5, 5, 0, 0}, connectors.OrderCancelledStatus},
		"cancelled after two were shipped": {func(o *pretendOrder, _ string) {
			o.ship(2, "SUCCESS")
			o.remove(3, "NO_RESTOCK", false)
			o.cancelled = true
		}, totals{5, 3, 2, 0}, connectors.OrderClosed},
		"two go from elsewhere": {func(o *pretendOrder, elsewhere string) {
			o.move(2, elsewhere)
		}, totals{3, 0, 0, 0}, connectors.OrderOpen},
		"two left from elsewhere": {func(o *pretendOrder, elsewhere string) {
			o.move(2, elsewhere)
			f := o.fulfillmentOrders[1]
			f.status, f.lines[0].remaining = "CLOSED", 0
			o.fulfillments = append(o.fulfillments, &pretendFulfillment{id: "91", location: elsewhere, status: "SUCCESS", lines: []lineCount{{o.lines[0].id, 2}}})
		}, totals{3, 0, 0, 0}, connectors.OrderOpen},
		"the fulfillment order that was moved away keeps its numbers": {func(o *pretendOrder, elsewhere string) {
			moved := *o.fulfillmentOrders[0]
			moved.id, moved.location, moved.status = "92", elsewhere, "CLOSED"
			o.fulfillmentOrders = append(o.fulfillmentOrders, &moved)
		}, totals{5, 0, 0, 0}, connectors.OrderOpen},
		"all go from elsewhere":   {func(o *pretendOrder, elsewhere string) { o.fulfillmentOrders[0].location = elsewhere }, totals{0, 0, 0, 0}, connectors.OrderOpen},
		"nothing is assigned yet": {func(o *pretendOrder, _ string) { o.fulfillmentOrders = nil }, totals{5, 0, 0, 0}, connectors.OrderOpen},
		"on hold":                 {func(o *pretendOrder, _ string) { o.fulfillmentOrders[0].status = "ON_HOLD" }, totals{5, 0, 0, 0}, connectors.OrderOpen},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPretend(t, 1)
			elsewhere := p.addLocation("Elsewhere")
			o := p.order(p.items[0], p.locations[0].id, 5)
			m := open(t, p, "locations", "Warehouse")
			before := list(t, m, time.Time{})[0].Version
			c.happens(o, elsewhere)
			o.updated = o.updated.Add(time.Second)
			got := list(t, m, time.Time{})[0]
			l := got.Lines[0]
			if told := (totals{l.Quantity, l.Cancelled, l.Shipped, l.Restocked}); told != c.want || got.Status != c.status {
				t.Errorf("told are %+v and %s, not %+v and %s", told, got.Status, c.want, c.status)
			}
			if l.Ref != (connectors.Ref{Item: p.items[0].id}) || l.SKU != p.items[0].sku || got.Version <= before {
				t.Errorf("line %+v, version %d after %d", l, got.Version, before)
			}
			if err := (connectors.Fact{Kind: connectors.OrderUpserted, Order: &got}).Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

// remove refunds units that were not shipped, or takes them off.
func (o *pretendOrder) remove(n int, typ string, restocked bool) {
	o.refund(n, typ, restocked)
	l := o.fulfillmentOrders[0].lines[0]
	l.total -= n
	l.remaining -= n
}

func (o *pretendOrder) refund(n int, typ string, restocked bool) {
	o.lines[0].current -= n
	o.refunds = append(o.refunds, &pretendRefund{id: fmt.Sprint(len(o.refunds) + 50), lines: []refundCount{{o.lines[0].id, typ, restocked, n}}})
}

func (o *pretendOrder) ship(n int, status string) {
	l := o.fulfillmentOrders[0].lines[0]
	l.remaining -= n
	if l.remaining == 0 {
		o.fulfillmentOrders[0].status = "CLOSED"
	}
	o.fulfillments = append(o.fulfillments, &pretendFulfillment{id: fmt.Sprint(len(o.fulfillments) + 70), location: o.fulfillmentOrders[0].location, status: status,
		lines: []lineCount{{o.lines[0].id, n}}})
}

// move has units go from another location.
func (o *pretendOrder) move(n int, to string) {
	l := o.fulfillmentOrders[0].lines[0]
	l.total -= n
	l.remaining -= n
	o.fulfillmentOrders = append(o.fulfillmentOrders, &pretendFulfillmentOrder{id: "90", location: to, status: "OPEN",
		lines: []*pretendFulfillable{{id: "900", line: l.line, item: l.item, total: n, remaining: n}}})
}

// TestChangesWithinASecond: Shopify's times are whole seconds; the later of two states has the greater version.
func TestChangesWithinASecond(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	o := p.order(p.items[0], p.locations[0].id, 5)
	m := open(t, p)
	var seen []int64
	for _, happens := range []func(){func() {}, func() { o.ship(1, "SUCCESS") }, func() { o.remove(1, "CANCEL", true) }, func() { o.ship(3, "SUCCESS") }, func() { o.closed = true }} {
		happens()
		seen = append(seen, list(t, m, time.Time{})[0].Version)
	}
	if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
		t.Errorf("the versions are %v", seen)
	}
}

// TestOrderOfManyParts: what does not come with the order is fetched.
func TestOrderOfManyParts(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 25)
	second := p.addLocation("Second")
	o := p.order(p.items[0], p.locations[0].id, 9)
	for _, i := range p.items[1:] {
		l := &pretendLine{id: p.nextID(), sku: i.sku, item: i, quantity: 9, current: 9}
		o.lines = append(o.lines, l)
		o.fulfillmentOrders[0].lines = append(o.fulfillmentOrders[0].lines, &pretendFulfillable{id: p.nextID(), line: l.id, item: i.id, total: 9, remaining: 9})
	}
	for n := range 3 { // each ships and refunds one of each line
		f, r := &pretendFulfillment{id: p.nextID(), location: p.locations[0].id, status: "SUCCESS"}, &pretendRefund{id: p.nextID()}
		for i, l := range o.lines {
			f.lines = append(f.lines, lineCount{l.id, 1})
			r.lines = append(r.lines, refundCount{l.id, "CANCEL", true, 1})
			l.current--
			o.fulfillmentOrders[0].lines[i].total--
			o.fulfillmentOrders[0].lines[i].remaining -= 2
		}
		o.fulfillments, o.refunds = append(o.fulfillments, f), append(o.refunds, r)
		o.fulfillmentOrders = append(o.fulfillmentOrders, &pretendFulfillmentOrder{id: p.nextID(), location: second, status: "OPEN",
			lines: []*pretendFulfillable{{id: p.nextID(), line: o.lines[n].id, item: p.items[n].id, total: 1, remaining: 1}}})
	}
	got := list(t, open(t, p, "locations", "Warehouse"), time.Time{})[0]
	if len(got.Lines) != 25 {
		t.Fatalf("%d lines", len(got.Lines))
	}
	for i, l := range got.Lines {
		want := stock.Quantity(9)
		if i < 3 {
			want = 8 // one of each goes from the second location
		}
		if l.Quantity != want || l.Shipped != 3 || l.Restocked != 3 || l.Cancelled > 3 || l.Cancelled < 2 {
			t.Errorf("line %d is %+v", i, l)
		}
	}
}

// TestLinesOfNothingInStock: tips are left out; of a deleted variant all that is known is told.
func TestLinesOfNothingInStock(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	o := p.order(p.items[0], p.locations[0].id, 1)
	o.lines[0].item = nil // deleted; the fulfillment order still knows
	o.lines = append(o.lines, &pretendLine{id: "31", quantity: 1, current: 1}, &pretendLine{id: "32", sku: "GONE", quantity: 1, current: 1})
	got := list(t, open(t, p), time.Time{})[0]
	if len(got.Lines) != 2 || got.Lines[0].Ref.Item != p.items[0].id || got.Lines[1].Ref.Item != "sku:GONE" || got.Buyer != nil {
		t.Errorf("%+v", got)
	}
}

// TestPlaceOfALine: where a line is split, it is told at the place that has most of it.
func TestPlaceOfALine(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	first, store := p.locations[0].id, p.addLocation("Store")
	m := open(t, p, "locations", first+","+store)
	for moved, want := range map[int]string{0: first, 2: first, 3: store} {
		p.orders = nil
		o := p.order(p.items[0], first, 5)
		if moved > 0 {
			o.move(moved, store)
		}
		if l := list(t, m, time.Time{})[0].Lines[0]; l.Ref.Place != want || l.Quantity != 5 {
			t.Errorf("%d of 5 moved: %+v", moved, l)
		}
	}
}

// TestOrdersSurviveChanges: an order that changes while the list is read comes again, and no other is missed.
func TestOrdersSurviveChanges(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	base := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	for i := range 22 {
		p.order(p.items[0], p.locations[0].id, 1).updated = base.Add(time.Duration(i/3) * time.Second)
	}
	m := open(t, p)
	seen := map[string]int{}
	var mark time.Time
	for at, pages := connectors.Cursor(""), 0; pages == 0 || at != ""; pages++ {
		page, err := m.Orders(t.Context(), base, at)
		if err != nil || pages > 20 {
			t.Fatalf("page %d: %v", pages, err)
		}
		if pages == 0 {
			mark = page.Watermark
		}
		if !page.Watermark.Equal(mark) || mark.After(time.Now()) {
			t.Errorf("page %d has the watermark %s", pages, page.Watermark)
		}
		for _, o := range page.Orders {
			seen[o.OrderID]++
		}
		if pages == 1 {
			p.findOrder(page.Orders[0].OrderID).updated = base.Add(time.Hour)
		}
		at = page.Next
	}
	if len(seen) != 22 {
		t.Errorf("%d of 22 orders were listed", len(seen))
	}
}

// TestLongList: a list is begun anew before Shopify ends it, and misses nothing.
func TestLongList(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	base := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	for i := range 1300 {
		p.order(p.items[0], p.locations[0].id, 1).updated = base.Add(time.Duration(i/3) * time.Second)
	}
	m := open(t, p)
	const pages = 290 // that were read
	at := connectors.Cursor(fmt.Sprintf("%d:%d:%d:cursor-gid://shopify/Order/%s", base.Unix(), base.UnixMilli(), pages, p.orders[4*pages-1].id))
	seen := map[string]bool{}
	for anew := 0; at != ""; {
		page, err := m.Orders(t.Context(), base, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Orders {
			seen[o.OrderID] = true
		}
		if at = page.Next; strings.HasSuffix(string(at), ":0:") {
			anew++
		}
		if at == "" && anew != 1 {
			t.Errorf("the list was begun anew %d times", anew)
		}
	}
	for _, o := range p.orders[4*pages:] {
		if !seen[o.id] {
			t.Errorf("order %s is not listed", o.id)
		}
	}
}

// TestOrdersOfASlowClock: the shop's times of change are by its own clock, since is by ours.
func TestOrdersOfASlowClock(t *testing.T) {
	schemaOf(t, "2026-07")
	for _, behind := range []time.Duration{0, time.Minute, -time.Minute} {
		p := newPretend(t, 1)
		p.clock = func() time.Time { return time.Now().Add(-behind) }
		m := open(t, p)
		since := time.Now()
		p.order(p.items[0], p.locations[0].id, 1)
		if got := list(t, m, since); len(got) != 1 {
			t.Errorf("with a clock %s behind, %d orders are listed", behind, len(got))
		}
	}
}

func TestShipments(t *testing.T) {
	schemaOf(t, "2026-07")
	notice := func(o *pretendOrder, key, tracking string, units stock.Quantity) connectors.ShipmentNotice {
		return connectors.ShipmentNotice{Key: key, OrderID: o.id, Carrier: "Post", Tracking: tracking, Lines: []connectors.ShippedPacks{{LineID: o.lines[0].id, Quantity: units}}}
	}
	shipped := func(o *pretendOrder) (n int) {
		for _, f := range o.fulfillments {
			for _, l := range f.lines {
				n += l.count
			}
		}
		return n
	}
	for _, tracked := range []bool{true, false} {
		p := newPretend(t, 1)
		o := p.order(p.items[0], p.locations[0].id, 5)
		m := open(t, p)
		for i, units := range []stock.Quantity{2, 1, 2} {
			tracking := ""
			if tracked {
				tracking = fmt.Sprint("T-", i)
			}
			for range 2 {
				if err := m.WriteShipment(t.Context(), notice(o, fmt.Sprint("key-", i), tracking, units)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if shipped(o) != 5 || len(o.fulfillments) != 3 || o.fulfillments[0].company == "" || tracked && o.fulfillments[1].number != "T-1" {
			t.Errorf("tracked %t: %d shipped in %d", tracked, shipped(o), len(o.fulfillments))
		}
	}

	p := newPretend(t, 1)
	elsewhere, second := p.addLocation("Elsewhere"), p.addLocation("Second")
	m := open(t, p, "locations", "Warehouse,Second")
	split := p.order(p.items[0], p.locations[0].id, 5)
	split.move(2, second)
	// The first half is told, and the second fails: the repeat tells the second alone.
	p.refuseFulfillment = 2
	if err := m.WriteShipment(t.Context(), notice(split, "k", "T", 5)); connectors.KindOf(err) != connectors.Rejected || shipped(split) != 3 {
		t.Errorf("%d shipped, %v", shipped(split), err)
	}
	if err := m.WriteShipment(t.Context(), notice(split, "k", "T", 5)); err != nil || shipped(split) != 5 || len(split.fulfillments) != 2 {
		t.Errorf("%d shipped in %d, %v", shipped(split), len(split.fulfillments), err)
	}

	byHand := p.order(p.items[0], p.locations[0].id, 2)
	byHand.ship(2, "SUCCESS")
	if err := m.WriteShipment(t.Context(), notice(byHand, "k", "T", 2)); err != nil || shipped(byHand) != 2 {
		t.Errorf("shipped by hand: %d, %v", shipped(byHand), err)
	}

	hold := p.order(p.items[0], p.locations[0].id, 2)
	hold.fulfillmentOrders[0].status = "ON_HOLD"
	if err := m.WriteShipment(t.Context(), notice(hold, "k", "T", 2)); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "ON_HOLD") {
		t.Errorf("on hold: %v", err)
	}
	fine := p.order(p.items[0], p.locations[0].id, 2)
	away := p.order(p.items[0], elsewhere, 2)
	line := fine.lines[0].id
	for name, c := range map[string]struct {
		notice connectors.ShipmentNotice
		kind   connectors.ErrorKind
	}{
		"too many":       {notice(fine, "k", "T", 3), connectors.Rejected},
		"from elsewhere": {notice(away, "k", "T", 2), connectors.Rejected},
		"no key":         {notice(fine, "", "T", 1), connectors.Rejected},
		"no units":       {notice(fine, "k", "T", 0), connectors.Rejected},
		"negative":       {notice(fine, "k", "T", -1), connectors.Rejected},
		"unknown line":   {connectors.ShipmentNotice{Key: "k", OrderID: fine.id, Lines: []connectors.ShippedPacks{{LineID: "1", Quantity: 1}}}, connectors.Unmapped},
		"unknown order":  {connectors.ShipmentNotice{Key: "k", OrderID: "1", Lines: []connectors.ShippedPacks{{LineID: line, Quantity: 1}}}, connectors.Unmapped},
		"no order":       {connectors.ShipmentNotice{Key: "k", OrderID: "#1001", Lines: []connectors.ShippedPacks{{LineID: line, Quantity: 1}}}, connectors.Unmapped},
	} {
		if err := m.WriteShipment(t.Context(), c.notice); connectors.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if shipped(fine)+shipped(away) != 0 {
		t.Error("what was refused was shipped")
	}
}
