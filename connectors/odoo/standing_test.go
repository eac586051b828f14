package odoo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// connect opens a connection to a pretend Odoo.
func connect(t *testing.T, p *pretend, changes ...string) *record {
	t.Helper()
	c, err := Info().Open(connectors.Env{Connection: "odoo", Timeout: 10 * time.Second}, connectors.SystemOfRecordRole, settings(p.serve(t), changes...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*record)
}

func order(key string, shirts, cups stock.Quantity) connectors.NewOrder {
	return connectors.NewOrder{Key: key, Channel: "shop", OrderID: "1001", Lines: []connectors.OrderLine{
		{LineID: `l"1`, SKU: "SHIRT", Quantity: shirts}, {LineID: "l2", SKU: "CUP", Quantity: cups}}}
}

// describe writes a standing on one line, for tables.
func describe(s connectors.Standing) string {
	var b strings.Builder
	for _, l := range s.Lines {
		fmt.Fprintf(&b, "%s c%d r%d", l.LineID, l.Cancelled, l.Rejected)
		if *l.Restocked != 0 {
			fmt.Fprintf(&b, " back%d", *l.Restocked)
		}
		for _, p := range l.Places {
			fmt.Fprintf(&b, " @%s s%d a%d", p.Location, p.Shipped, *p.Allocated)
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// What happens to an order in Odoo is told as running totals, in every release.
func TestStanding(t *testing.T) {
	t.Parallel()
	doOne := func(p *pretend, line int, quantity float64, backOrder bool) {
		o := p.orderOf("k")
		for _, m := range p.open(p.linesOf(o["id"].(int64))[line]["id"].(int64)) {
			if p.reserved(m) > 0 {
				p.do(m, quantity, backOrder)
				return
			}
		}
		panic("nothing is reserved")
	}
	tests := []struct {
		name    string
		prepare func(p *pretend)
		after   func(p *pretend)
		want    string
	}{
		{"confirmed", nil, func(*pretend) {}, `l"1 c0 r0 @7 s0 a4; l2 c0 r0 @7 s0 a9`},
		{"a part is sent, the rest is a back order", nil, func(p *pretend) { doOne(p, 0, 3, true) }, `l"1 c0 r0 @7 s3 a1; l2 c0 r0 @7 s0 a9`},
		{"a part is sent, without a back order", nil, func(p *pretend) { doOne(p, 0, 3, false) }, `l"1 c0 r1 @7 s3 a0; l2 c0 r0 @7 s0 a9`},
		{"two part deliveries", nil, func(p *pretend) { doOne(p, 0, 3, true); doOne(p, 0, 1, true) }, `l"1 c0 r0 @7 s4 a0; l2 c0 r0 @7 s0 a9`},
		{"more was sold than is there", func(p *pretend) { p.tables["stock.quant"][2]["quantity"] = 6.0 }, func(*pretend) {}, `l"1 c0 r0 @7 s0 a4; l2 c0 r0 @7 s0 a6`},
		{"picked and not shipped, in two steps", func(p *pretend) { p.twoSteps = true }, func(p *pretend) { doOne(p, 0, 4, true) }, `l"1 c0 r0 @7 s0 a4; l2 c0 r0 @7 s0 a9`},
		{"picked in part, in two steps", func(p *pretend) { p.twoSteps = true }, func(p *pretend) { doOne(p, 0, 3, true) }, `l"1 c0 r0 @7 s0 a4; l2 c0 r0 @7 s0 a9`},
		{"shipped, in two steps", func(p *pretend) { p.twoSteps = true }, func(p *pretend) { doOne(p, 0, 4, true); doOne(p, 0, 4, true) }, `l"1 c0 r0 @7 s4 a0; l2 c0 r0 @7 s0 a9`},
		{"cancelled in Odoo", nil, func(p *pretend) {
			p.cancel(p.orderOf("k")["id"].(int64), row{"disable_cancel_warning": true})
		}, `l"1 c0 r4; l2 c0 r9`},
		{"cancelled in Odoo after a part was sent", nil, func(p *pretend) {
			doOne(p, 1, 2, true)
			p.cancel(p.orderOf("k")["id"].(int64), row{"disable_cancel_warning": true})
		}, `l"1 c0 r4; l2 c0 r7 @7 s2 a0`},
		{"a line is lowered in Odoo", nil, func(p *pretend) {
			o := p.orderOf("k")
			p.setOrdered(o, p.linesOf(o["id"].(int64))[0], 1)
		}, `l"1 c0 r3 @7 s0 a1; l2 c0 r0 @7 s0 a9`},
		{"a delivery came back", nil, func(p *pretend) {
			doOne(p, 0, 4, true)
			p.tables["stock.move"] = append(p.tables["stock.move"], row{"id": int64(9000), "sale_line_id": p.linesOf(p.orderOf("k")["id"].(int64))[0]["id"], "product_id": shirt, "state": "done",
				"location_id": customers, "location_dest_id": stockWH, "picking_id": int64(0), "product_uom_qty": 2.0, "product_qty": 2.0, "quantity": 2.0, "quantity_done": 2.0, "reserved_availability": 0.0})
		}, `l"1 c0 r0 back2 @7 s4 a0; l2 c0 r0 @7 s0 a9`},
	}
	for _, major := range []int{16, 17, 18, 19} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%d %s", major, tt.name), func(t *testing.T) {
				t.Parallel()
				p := newPretend(major)
				if tt.prepare != nil {
					tt.prepare(p)
				}
				r := connect(t, p)
				if _, err := r.CreateOrder(t.Context(), order("k", 4, 9)); err != nil {
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
}

// What we cancelled is not what the warehouse rejected, and both may happen to one line.
func TestCancelledAndRejected(t *testing.T) {
	t.Parallel()
	p := newPretend(18)
	r := connect(t, p)
	if _, err := r.CreateOrder(t.Context(), order("k", 4, 2)); err != nil {
		t.Fatal(err)
	}
	for _, total := range []stock.Quantity{1, 1, 0} { // a repeat, and an older message that comes late, change nothing
		if err := r.CancelOrder(t.Context(), "k", []connectors.CancelLine{{LineID: `l"1`, Cancelled: total}}); err != nil {
			t.Fatal(err)
		}
	}
	o := p.orderOf("k")
	p.setOrdered(o, p.linesOf(o["id"].(int64))[0], 1)
	got, err := r.OrderStanding(t.Context(), "k")
	if text := describe(got); err != nil || text != `l"1 c1 r2 @7 s0 a1; l2 c0 r0 @7 s0 a2` {
		t.Errorf("the order stands at %s (%v)", text, err)
	}
	// The same order again is still the same order, although less of it is to be delivered now.
	if _, err := r.CreateOrder(t.Context(), order("k", 4, 2)); err != nil {
		t.Error(err)
	}
	if err := r.CancelOrder(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	got, err = r.OrderStanding(t.Context(), "k")
	if text := describe(got); err != nil || text != `l"1 c4 r0; l2 c2 r0` {
		t.Errorf("the cancelled order stands at %s (%v)", text, err)
	}
}

// Odoo would cancel an order whose goods have left. We cancel the rest, and say what has left.
func TestWhatHasLeftIsNotCancelled(t *testing.T) {
	t.Parallel()
	p := newPretend(18)
	r := connect(t, p)
	if _, err := r.CreateOrder(t.Context(), order("k", 4, 2)); err != nil {
		t.Fatal(err)
	}
	o := p.orderOf("k")
	p.do(p.open(p.linesOf(o["id"].(int64))[0]["id"].(int64))[0], 3, true)
	for range 2 {
		err := r.CancelOrder(t.Context(), "k", nil)
		if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), `3 of line l"1`) {
			t.Fatalf("the cancellation ended with %v", err)
		}
		got, err := r.OrderStanding(t.Context(), "k")
		if text := describe(got); err != nil || text != `l"1 c1 r0 @7 s3 a0; l2 c2 r0` || o["state"] != "sale" {
			t.Errorf("the order is %s and stands at %s (%v)", o["state"], text, err)
		}
	}
}

// A first try that Odoo was slow with shows up after the second has made the order: one is confirmed, the other is not.
func TestOrderMadeTwiceIsConfirmedOnce(t *testing.T) {
	t.Parallel()
	p := newPretend(19)
	r := connect(t, p)
	first, err := r.CreateOrder(t.Context(), order("k", 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	late := order("k", 1, 1)
	rows, err := r.productsOf(t.Context(), "test", r.dialect, late.Lines)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.dialect.call(t.Context(), method{op: "test", model: "sale.order", name: "create", args: []argument{{"vals_list", []any{r.values(late, rows)}}}, write: true}, nil); err != nil {
		t.Fatal(err)
	}
	again, err := r.CreateOrder(t.Context(), late)
	if err != nil || again != first {
		t.Fatalf("the orders are %s and %s (%v)", first, again, err)
	}
	states := ""
	for _, o := range p.tables["sale.order"] {
		states += o["state"].(string) + " "
	}
	if states != "sale cancel " {
		t.Errorf("the orders are %s", states)
	}
}

// A line that is lowered without its delivery would be sent all the same.
func TestDeliveryThatDoesNotFollow(t *testing.T) {
	t.Parallel()
	p := newPretend(16)
	p.lowersNothing = true
	r := connect(t, p)
	if _, err := r.CreateOrder(t.Context(), order("k", 4, 2)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := r.CancelOrder(t.Context(), "k", []connectors.CancelLine{{LineID: `l"1`, Cancelled: 1}})
		if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "Inventory → Deliveries") {
			t.Errorf("the error is %v", err)
		}
	}
}

// A page of products ends where the next begins, whatever comes and goes meanwhile.
func TestPagesUnderChange(t *testing.T) {
	t.Parallel()
	for _, number := range []string{quantAvailable, productOnHand} {
		p := newPretend(19)
		for i := range int64(2*pageProducts + 3) {
			p.tables["product.product"] = append(p.tables["product.product"], row{"id": 2000 + i, "default_code": fmt.Sprintf("P%d", i), "display_name": "P", "uom_id": int64(1), "categ_id": int64(1), "active": true, "is_storable": true})
		}
		r := connect(t, p, settingNumber, number, settingLocations, "WH/Stock, WH/Output")
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
			p.tables["product.product"] = p.tables["product.product"][1:] // the first one goes
			p.mu.Unlock()
			if from = page.Next; from == "" {
				if pages != 3 {
					t.Errorf("%d pages", pages)
				}
				break
			}
		}
		if len(seen) != 2*pageProducts+5 {
			t.Errorf("%s: %d SKUs were told of, not %d", number, len(seen), 2*pageProducts+5)
		}
		for sku, n := range seen {
			if n != 2 {
				t.Errorf("%s: %s was told %d times for two places", number, sku, n)
			}
		}
	}
}

// Each number is what its name says in Odoo.
func TestNumbers(t *testing.T) {
	t.Parallel()
	cups := map[string]stock.Quantity{quantQuantity: 9, quantAvailable: 8, productOnHand: 9, productFree: 8} // 500 are lost, and 70 with customers
	for number, want := range map[string]stock.Quantity{quantQuantity: 42, quantAvailable: 38, productOnHand: 42, productFree: 38} {
		for _, major := range []int{16, 19} {
			p := newPretend(major)
			r := connect(t, p, settingNumber, number)
			if _, err := r.CreateOrder(t.Context(), order("k", 4, 1)); err != nil {
				t.Fatal(err)
			}
			page, err := r.Levels(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, l := range page.Levels {
				if l.SKU == "SHIRT" {
					found = true
					if l.Quantity != want {
						t.Errorf("Odoo %d: %s is %d, not %d", major, number, l.Quantity, want)
					}
				}
				if l.SKU == "CUP" && l.Quantity != cups[number] {
					t.Errorf("Odoo %d: %s of CUP is %d", major, number, l.Quantity)
				}
				if l.SKU == "TEA" || l.SKU == "HELP" {
					t.Errorf("%s is told of", l.SKU)
				}
			}
			if !found {
				t.Errorf("no level of SHIRT in %+v", page)
			}
		}
	}
}
