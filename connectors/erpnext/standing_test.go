package erpnext

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// connect opens a connection to a pretend ERPNext.
func connect(t *testing.T, p *pretend, changes ...string) *record {
	t.Helper()
	c, err := Info().Open(connectors.Env{Connection: "erpnext", Timeout: 10 * time.Second}, connectors.SystemOfRecordRole, settings(p.serve(t), changes...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*record)
}

func newOrderOf(key string, shirts, cups stock.Quantity) connectors.NewOrder {
	return connectors.NewOrder{Key: key, Channel: "shop", OrderID: "1001", Lines: []connectors.OrderLine{
		{LineID: "a", SKU: "SHIRT", Quantity: shirts}, {LineID: "b", SKU: "CUP", Quantity: cups}}}
}

// describe writes a standing on one line, for tables. What was set aside is left out where it is nothing.
func describe(s connectors.Standing) string {
	var b strings.Builder
	for _, l := range s.Lines {
		fmt.Fprintf(&b, "%s c%d r%d", l.LineID, l.Cancelled, l.Rejected)
		if *l.Restocked != 0 {
			fmt.Fprintf(&b, " back%d", *l.Restocked)
		}
		for _, p := range l.Places {
			fmt.Fprintf(&b, " @%s s%d a%d", strings.TrimSuffix(p.Location, " - TS"), p.Shipped, *p.Allocated)
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// What happens to an order in ERPNext is told as running totals.
func TestStanding(t *testing.T) {
	t.Parallel()
	row := func(p *pretend, i int) (doc, doc) { o := p.orderOf("k"); return o, o["items"].([]doc)[i] }
	tests := []struct {
		name  string
		after func(p *pretend)
		want  string
	}{
		{"submitted", func(*pretend) {}, "a c0 r0 @Stores s0 a4; b c0 r0 @Stores s0 a12"},
		{"delivered in two parts, from two warehouses", func(p *pretend) {
			o, r := row(p, 0)
			p.deliver(o, r, 3, stores)
			p.deliver(o, r, 1, shopFloor)
		}, "a c0 r0 @Stores s3 a0 @Shop Floor s1 a0; b c0 r0 @Stores s0 a12"},
		{"delivered in part", func(p *pretend) { o, r := row(p, 0); p.deliver(o, r, 3, stores) }, "a c0 r0 @Stores s3 a1; b c0 r0 @Stores s0 a12"},
		{"delivered by an invoice that moves stock", func(p *pretend) { _, r := row(p, 0); r["delivered_qty"] = 2.0 }, "a c0 r0 @Stores s2 a2; b c0 r0 @Stores s0 a12"},
		{"came back in part", func(p *pretend) { o, r := row(p, 0); p.deliver(o, r, 4, stores); p.deliver(o, r, -1, stores) }, "a c0 r0 back1 @Stores s4 a1; b c0 r0 @Stores s0 a12"},
		{"a note was cancelled", func(p *pretend) {
			o, r := row(p, 0)
			p.deliver(o, r, 4, stores)
			p.notes[0]["docstatus"], r["delivered_qty"] = cancelled, 0.0
		}, "a c0 r0 @Stores s0 a4; b c0 r0 @Stores s0 a12"},
		{"cancelled in ERPNext", func(p *pretend) { o, _ := row(p, 0); p.cancel(o) }, "a c0 r4; b c0 r12"},
		{"closed in ERPNext after a part was delivered", func(p *pretend) { o, r := row(p, 0); p.deliver(o, r, 3, stores); o["status"] = statusClosed }, "a c0 r1 @Stores s3 a0; b c0 r12"},
		{"on hold", func(p *pretend) { o, _ := row(p, 0); o["status"] = statusOnHold }, "a c0 r0; b c0 r0"},
		{"a row is lowered in ERPNext", func(p *pretend) { _, r := row(p, 1); r["qty"] = 5.0 }, "a c0 r0 @Stores s0 a4; b c0 r7 @Stores s0 a5"},
		{"a row is deleted in ERPNext", func(p *pretend) { o, r := row(p, 0); o["items"] = []doc{r} }, "a c0 r0 @Stores s0 a4; b c0 r12"},
		{"amended in ERPNext", func(p *pretend) {
			o, _ := row(p, 0)
			p.cancel(o)
			next := p.copyOrders()[0]
			next["name"], next["docstatus"], next["status"] = o["name"].(string)+"-1", submitted, "To Deliver and Bill"
			for i, r := range next["items"].([]doc) {
				r["name"] = fmt.Sprintf("amended%d", i)
			}
			p.orders = append(p.orders, next)
		}, "a c0 r0 @Stores s0 a4; b c0 r0 @Stores s0 a12"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPretend()
			r := connect(t, p)
			if _, err := r.CreateOrder(t.Context(), newOrderOf("k", 4, 12)); err != nil {
				t.Fatal(err)
			}
			tt.after(p)
			got, err := r.OrderStanding(t.Context(), "k")
			if err != nil {
				t.Fatal(err)
			}
			if text := describe(got); text != tt.want {
				t.Errorf("the order stands at\n%s, not\n%s", text, tt.want)
			}
		})
	}
}

// Cancellations are totals; what is taken out of the order is never what was delivered, and what the warehouse took out
// beside stays its own.
func TestCancel(t *testing.T) {
	t.Parallel()
	p := newPretend()
	r := connect(t, p)
	cancel := func(lines ...connectors.CancelLine) {
		t.Helper()
		if err := r.CancelOrder(t.Context(), "k", lines); err != nil {
			t.Fatal(err)
		}
	}
	stands := func(want string) {
		t.Helper()
		got, err := r.OrderStanding(t.Context(), "k")
		if text := describe(got); err != nil || text != want {
			t.Errorf("the order stands at\n%s (%v), not\n%s", text, err, want)
		}
	}
	if _, err := r.CreateOrder(t.Context(), newOrderOf("k", 4, 2)); err != nil {
		t.Fatal(err)
	}
	cancel(connectors.CancelLine{LineID: "a", Cancelled: 1})
	cancel(connectors.CancelLine{LineID: "a", Cancelled: 1}) // again
	cancel(connectors.CancelLine{LineID: "a", Cancelled: 0}) // an older message comes late
	stands("a c1 r0 @Stores s0 a3; b c0 r0 @Stores s0 a2")
	cancel(connectors.CancelLine{LineID: "b", Cancelled: 2}) // the row is deleted
	cancel(connectors.CancelLine{LineID: "b", Cancelled: 2})
	stands("a c1 r0 @Stores s0 a3; b c2 r0")
	if name, err := r.CreateOrder(t.Context(), newOrderOf("k", 4, 2)); err != nil || len(p.orders) != 1 {
		t.Errorf("the same order again is %s (%v), and %d orders exist", name, err, len(p.orders))
	}
	o := p.orderOf("k")
	row := o["items"].([]doc)[0]
	p.deliver(o, row, 1, stores)
	row["qty"] = 2.0 // the warehouse lowers the row
	stands("a c1 r1 @Stores s1 a1; b c2 r0")
	cancel() // ERPNext refuses to cancel what was delivered in part, so it is closed
	cancel()
	if o["status"] != statusClosed {
		t.Errorf("the order is %v", o["status"])
	}
	stands("a c3 r0 @Stores s1 a0; b c2 r0")
	if left := p.level("SHIRT", true) - p.level("SHIRT", false); left != 0 {
		t.Errorf("%d are still reserved", -left)
	}
}

// The warehouse delivered more than what is left after the cancellation: what is delivered stays, and the row cannot go below.
func TestCancelWhatLeft(t *testing.T) {
	t.Parallel()
	p := newPretend()
	r := connect(t, p)
	if _, err := r.CreateOrder(t.Context(), newOrderOf("k", 4, 2)); err != nil {
		t.Fatal(err)
	}
	o := p.orderOf("k")
	p.deliver(o, o["items"].([]doc)[0], 3, stores)
	if err := r.CancelOrder(t.Context(), "k", []connectors.CancelLine{{LineID: "a", Cancelled: 2}}); err != nil {
		t.Fatal(err)
	}
	if got, err := r.OrderStanding(t.Context(), "k"); err != nil || describe(got) != "a c1 r0 @Stores s3 a0; b c0 r0 @Stores s0 a2" {
		t.Errorf("the order stands at %s (%v)", describe(got), err)
	}
}

// The creation did not come to an end, and the order is to be cancelled.
func TestCancelDraft(t *testing.T) {
	t.Parallel()
	p := newPretend()
	r := connect(t, p)
	units := map[stock.SKU]string{"SHIRT": "Nos", "CUP": "Nos"}
	if err := r.make(t.Context(), "test", newOrderOf("k", 1, 1), units); err != nil {
		t.Fatal(err)
	}
	if got, err := r.OrderStanding(t.Context(), "k"); err != nil || describe(got) != "a c0 r0; b c0 r0" {
		t.Errorf("a draft stands at %s (%v)", describe(got), err)
	}
	if err := r.CancelOrder(t.Context(), "k", nil); err != nil || p.orders[0]["docstatus"] != cancelled {
		t.Errorf("the draft is at %v (%v)", p.orders[0]["docstatus"], err)
	}
}

// MariaDB takes keys for equal that are not.
func TestKeysThatLookAlike(t *testing.T) {
	t.Parallel()
	p := newPretend()
	r := connect(t, p)
	names := map[string]bool{}
	for _, key := range []string{"shop:é1", "shop:E1", "shop:e1"} {
		name, err := r.CreateOrder(t.Context(), newOrderOf(key, 1, 1))
		if err != nil || names[name] {
			t.Errorf("%s is the order %s (%v)", key, name, err)
		}
		names[name] = true
	}
	if err := r.CancelOrder(t.Context(), "shop:É1", nil); connectors.KindOf(err) != connectors.Unmapped {
		t.Errorf("the error is %v", err)
	}
}

// A page of items ends where the next begins, whatever comes and goes meanwhile.
func TestPagesUnderChange(t *testing.T) {
	t.Parallel()
	p := newPretend()
	for i := range 2*pageItems + 3 {
		p.items = append(p.items, doc{"name": fmt.Sprintf("p%04d", i), "item_name": "P", "item_group": "G", "stock_uom": "Nos", "is_stock_item": 1, "disabled": 0, "has_variants": 0})
	}
	r := connect(t, p)
	seen := map[string]int{}
	var from connectors.Cursor
	for pages := 1; ; pages++ {
		page, err := r.Levels(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page.Levels {
			seen[l.SKU]++
		}
		p.mu.Lock()
		p.items = p.items[1:] // the first one goes
		p.mu.Unlock()
		if from = page.Next; from == "" {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	for i := range 2*pageItems + 3 {
		if sku := fmt.Sprintf("p%04d", i); seen[sku] != 2 {
			t.Errorf("%s was told %d times for two warehouses", sku, seen[sku])
		}
	}
	for _, sku := range []string{"TEA", "HELP", "GONE", "TEMPLATE"} {
		if seen[sku] > 0 {
			t.Errorf("%s is told of", sku)
		}
	}
}

// Without webhooks the orders that changed are told too, over pages, and each once.
func TestChangesWithoutWebhooks(t *testing.T) {
	t.Parallel()
	p := newPretend()
	r := connect(t, p, settingHookSecrets, "")
	look := func(mark string) connectors.Changes {
		t.Helper()
		c, err := r.Changes(t.Context(), mark)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	at := look("")
	many := []string{}
	for i := range changesPage + 20 {
		key := fmt.Sprintf("k%d", i)
		p.insert(doc{"po_no": key, "customer": "Marketplaces", "delivery_date": "2026-12-01", "order_type": "Sales", "items": []any{}})
		many = append(many, key)
	}
	at = look(at.Mark)
	slices.Sort(many)
	if got := slices.Sorted(slices.Values(at.OrderKeys)); !slices.Equal(got, many) {
		t.Fatalf("%d orders are told as changed, not %d", len(got), len(many))
	}
	o := p.orderOf("k7")
	o["status"] = statusClosed
	if at = look(at.Mark); at.Stock || !slices.Equal(at.OrderKeys, []string{"k7"}) {
		t.Errorf("one order was closed, and %+v is told", at)
	}
	p.put("CUP", stores, 1)
	if at = look(at.Mark); !at.Stock || len(at.OrderKeys) > 0 {
		t.Errorf("goods came in, and %+v is told", at)
	}
}
