package woocommerce

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// clock is a shop's clock that is put forward by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func (c *clock) forward(p *pretend, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.at = c.at.Add(d)
}

func orders(t *testing.T, s *shop, since time.Time) (map[string]connectors.Order, time.Time) {
	t.Helper()
	all := map[string]connectors.Order{}
	var at connectors.Cursor
	for range 1000 {
		page, err := s.Orders(t.Context(), since, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Orders {
			if before, ok := all[o.OrderID]; ok && before.Version > o.Version {
				continue
			}
			all[o.OrderID] = o
		}
		if at = page.Next; at == "" {
			return all, page.Watermark
		}
	}
	t.Fatal("the list does not end")
	return nil, time.Time{}
}

// tell writes an order for comparison.
func tell(o connectors.Order) string {
	text := string(o.Status)
	for _, l := range o.Lines {
		text += fmt.Sprintf(" %d/%d/%d/%d", l.Quantity, l.Cancelled, l.Shipped, l.Restocked)
	}
	return text
}

// An order is ours from the moment at which the shop takes its units to the one at which it gives them back, and at every
// moment what the shop shows and what the orders say they took make what there was.
func TestLifeOfAnOrder(t *testing.T) {
	type step struct {
		do   func(p *pretend, o *sale)
		want string
		left int64 // what the shop shows
	}
	become := func(status string) func(*pretend, *sale) {
		return func(p *pretend, o *sale) { p.become(o, status) }
	}
	refund := func(units int64, restock bool) func(*pretend, *sale) {
		return func(p *pretend, o *sale) { p.refund(o, 0, units, restock) }
	}
	for name, steps := range map[string][]step{
		"paid and shipped": {
			{become("pending"), "", 10},
			{become("processing"), "open 5/0/0/0", 5},
			{become("completed"), "closed 5/0/5/0", 5},
			{refund(2, true), "closed 5/0/5/2", 7},
			{refund(1, false), "closed 5/0/5/2", 7},
			{become("refunded"), "closed 5/0/5/2", 7},
		},
		"paid late": {
			{become("pending"), "", 10},
			{become("cancelled"), "cancelled", 10},
			{become("processing"), "open 5/0/0/0", 5},
		},
		"cancelled": {
			{become("on-hold"), "open 5/0/0/0", 5},
			{become("cancelled"), "cancelled", 10},
			{become("processing"), "open 5/0/0/0", 5},
			{become("pending"), "cancelled", 10},
		},
		"refunded in part": {
			{become("processing"), "open 5/0/0/0", 5},
			{refund(2, true), "open 5/2/0/2", 7},
			{refund(1, false), "open 5/3/0/2", 7},
			{become("completed"), "closed 5/3/2/2", 7},
			{refund(1, true), "closed 5/3/2/3", 8},
		},
		"refunded": {
			{become("processing"), "open 5/0/0/0", 5},
			{refund(5, true), "open 5/5/0/5", 10},
			{become("refunded"), "cancelled 5/5/0/5", 10},
		},
		"failed": {
			{become("failed"), "", 10},
			{become("on-hold"), "open 5/0/0/0", 5},
			{become("failed"), "cancelled 5/0/0/0", 5},
			{become("processing"), "open 5/0/0/0", 5},
			{become("pending"), "cancelled", 10},
			{become("failed"), "cancelled", 10},
		},
		"thrown away": {
			{become("processing"), "open 5/0/0/0", 5},
			{become("trash"), "cancelled 5/0/0/0", 5},
			{become("processing"), "open 5/0/0/0", 5},
			{become("cancelled"), "cancelled", 10},
			{become("trash"), "cancelled", 10},
		},
		"sent back": {
			{become("completed"), "closed 5/0/5/0", 5},
			{become("cancelled"), "closed 5/0/5/5", 10},
			{become("trash"), "closed 5/0/5/0", 10},
		},
		"a plug-in's status": {
			{become("awaiting-quote"), "", 10},
			{become("processing"), "open 5/0/0/0", 5},
			{become("packed"), "open 5/0/0/0", 5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPretend()
			c := &clock{at: time.Now().UTC().Truncate(time.Second).Add(-time.Hour)}
			p.now = c.now
			s := connect(t, p)
			thing := p.product("A", 10)
			o := p.order("checkout-draft", 3, want{thing, 5})
			var version int64
			restocked := stock.Quantity(0)
			for i, step := range steps {
				c.forward(p, time.Minute)
				step.do(p, o)
				all, _ := orders(t, s, c.at)
				got, ok := all[strconv.FormatInt(o.id, 10)]
				if step.want == "" {
					if ok || p.shown(thing.ref()) != 10 {
						t.Errorf("step %d: what took nothing is told as %s", i, tell(got))
					}
					continue
				}
				if !ok || tell(got) != step.want {
					t.Fatalf("step %d: it is told (%t) as %s, not %s", i, ok, tell(got), step.want)
				}
				if got.Version <= version || !got.UpdatedAt.Equal(c.at) {
					t.Errorf("step %d: version %d after %d, changed at %s", i, got.Version, version, got.UpdatedAt)
				}
				version = got.Version
				taken := stock.Quantity(0)
				for _, l := range got.Lines {
					restocked = max(restocked, l.Restocked) // a running total does not fall
					taken += l.Quantity - restocked
					if l.Ref != thing.ref() {
						t.Errorf("step %d: it sells %s", i, l.Ref)
					}
				}
				if p.shown(thing.ref()) != stock.Quantity(step.left) || int64(taken) != 10-step.left {
					t.Errorf("step %d: %d are shown, and the order took %d of 10", i, p.shown(thing.ref()), taken)
				}
				if len(got.Lines) > 0 && (got.Buyer == nil || got.Buyer.Ref != "3") || len(got.Lines) == 0 && got.Buyer != nil {
					t.Errorf("step %d: the buyer is %+v", i, got.Buyer)
				}
			}
		})
	}
}

// Of two changes within one second the one that comes later in an order's life is the newer.
func TestVersionsWithinASecond(t *testing.T) {
	p := newPretend()
	c := &clock{at: time.Now().UTC().Truncate(time.Second)}
	p.now = c.now
	s := connect(t, p)
	o := p.order("on-hold", 0, want{p.product("A", 10), 4})
	last := int64(-1)
	for _, change := range []func(){
		func() {}, func() { p.become(o, "processing") }, func() { p.refund(o, 0, 1, true) },
		func() { p.become(o, "completed") }, func() { p.become(o, "refunded") }, func() { p.become(o, "trash") },
	} {
		change()
		all, _ := orders(t, s, c.at)
		got := all[strconv.FormatInt(o.id, 10)]
		if got.Version <= last {
			t.Errorf("%s: version %d after %d", o.status, got.Version, last)
		}
		last = got.Version
	}
}

// Orders are told by the listing that their units came from: a variation, or the product that holds the stock for it.
func TestLinesNameTheListing(t *testing.T) {
	p := newPretend()
	own, whole := p.variable("OWN"), p.product("WHOLE", 9, func(o *thing) { o.kind = "variable" })
	small := p.variation(own, "S", 4)
	shared := p.variation(whole, "S", 0, func(o *thing) { o.manage = `"parent"` })
	gone := p.variation(own, "M", 4)
	o := p.order("processing", 0, want{small, 1}, want{shared, 2}, want{gone, 3}, want{p.product("FREE", 5), 1})
	p.mu.Lock()
	p.products = p.products[:len(p.products)-2]
	o.lines[3].product = 0 // a line that a plug-in made, or whose product is gone
	p.products = append(p.products, small)
	p.mu.Unlock()
	all, _ := orders(t, connect(t, p), time.Now().Add(-time.Minute))
	got := all[strconv.FormatInt(o.id, 10)]
	want := []connectors.Ref{small.ref(), whole.ref(), gone.ref()}
	if len(got.Lines) != 3 {
		t.Fatalf("the lines are %+v", got.Lines)
	}
	for i, l := range got.Lines {
		if l.Ref != want[i] || l.Quantity != stock.Quantity(i+1) || l.LineID != strconv.FormatInt(o.lines[i].id, 10) {
			t.Errorf("line %d is %+v, not of %s", i, l, want[i])
		}
	}
	if got.Buyer == nil || got.Buyer.Ref != "buyer@example.com" {
		t.Errorf("the buyer is %+v", got.Buyer)
	}
}

// The list goes over pages, also of orders of one second, and is asked in GMT, with an overlap.
func TestOrdersGoOverPages(t *testing.T) {
	p := newPretend()
	c := &clock{at: time.Now().UTC().Truncate(time.Second).Add(-time.Hour)}
	p.now = c.now
	thing := p.product("A", 100_000)
	for range 130 {
		p.order("processing", 1, want{thing, 1})
	}
	c.forward(p, time.Second)
	for range 60 {
		p.order("processing", 1, want{thing, 1})
	}
	since := c.at
	s := connect(t, p)
	// The shop's clock is ahead, however slow this test runs: of a clock that is behind, more overlap is asked.
	c.forward(p, time.Hour+time.Minute)
	all, watermark := orders(t, s, since)
	if len(all) != 190 {
		t.Errorf("%d of 190 orders", len(all))
	}
	if age := time.Since(watermark); age < 0 || age > time.Minute {
		t.Errorf("the watermark is %s old", age)
	}
	if all, _ = orders(t, s, since.Add(orderOverlap)); len(all) != 60 {
		t.Errorf("%d orders within the overlap, not 60", len(all))
	}
	if all, _ = orders(t, s, since.Add(orderOverlap+time.Second)); len(all) != 0 {
		t.Errorf("%d orders from before the overlap", len(all))
	}
	if all, _ = orders(t, s, time.Time{}); len(all) != 190 {
		t.Errorf("%d of all orders", len(all))
	}
	for _, bad := range []connectors.Cursor{"x", "0:0:0:0:0", "2:0:0:0:0:0", "0:0:0:-1:0:0", "0:0:0:200000:0:0", "0:0:0:0:0:x"} {
		if _, err := s.Orders(t.Context(), since, bad); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}

// A shop whose clock is behind ours dates its orders earlier than we expect; one that is ahead dates them into the future.
func TestClocksDiffer(t *testing.T) {
	for _, ahead := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		p := newPretend()
		p.now = func() time.Time { return time.Now().Add(ahead) }
		s := connect(t, p)
		began := time.Now()
		o := p.order("processing", 1, want{p.product("A", 10), 1})
		all, watermark := orders(t, s, began)
		if _, ok := all[strconv.FormatInt(o.id, 10)]; !ok {
			t.Errorf("clock %s ahead: the order is not listed", ahead)
		}
		if watermark.After(time.Now()) {
			t.Errorf("clock %s ahead: the watermark is in the future", ahead)
		}
	}
}

// wireOrder is an order as the shop tells it, and wireRefund a refund of it.
const (
	wireOrder = `{"id":727,"status":"processing","date_created_gmt":"2026-11-24T10:00:00","date_modified_gmt":"2026-11-24T10:00:05",
"date_completed_gmt":null,"date_paid_gmt":"2026-11-24T10:00:04","customer_id":0,"billing":{"email":""},"refunds":[{"id":730,"reason":"","total":"-9.00"}],
"meta_data":[{"id":1,"key":"_truestock_shipment_00","value":"315=1"},{"id":2,"key":"is_vat_exempt","value":["no"]}],
"line_items":[{"id":315,"product_id":93,"variation_id":0,"quantity":5,"sku":"A","meta_data":[{"key":"_reduced_stock","value":"4"},{"key":"_restock_refunded_items","value":1}]}]}`
	wireRefund = `{"id":730,"date_created_gmt":"2026-11-24T10:00:05","line_items":[{"id":9,"product_id":93,"quantity":-1,"meta_data":[{"key":"_refunded_item_id","value":"315"}]}]}`
)

func understand(o, r string) (*connectors.Order, error) {
	var in order
	var back refund
	if err := json.Unmarshal([]byte(o), &in); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(r), &back); err != nil {
		return nil, err
	}
	return in.translate([]refund{back}, func(l *orderLine) connectors.Ref { return connectors.Ref{Item: strconv.FormatInt(l.ProductID, 10)} })
}

func TestOrderIsUnderstood(t *testing.T) {
	got, err := understand(wireOrder, wireRefund)
	if err != nil {
		t.Fatal(err)
	}
	want := connectors.ChannelLine{LineID: "315", Ref: connectors.Ref{Item: "93"}, SKU: "A", Quantity: 5, Cancelled: 1, Shipped: 1, Restocked: 1}
	if len(got.Lines) != 1 || got.Lines[0] != want || got.Status != connectors.OrderOpen || got.Buyer != nil {
		t.Errorf("got %+v", got)
	}
	changed := time.Date(2026, 11, 24, 10, 0, 5, 0, time.UTC)
	if !got.UpdatedAt.Equal(changed) || got.Version != changed.Unix()*1_000_000+5*100_000+8 {
		t.Errorf("changed at %s, version %d", got.UpdatedAt, got.Version)
	}
}

func TestWhatIsNotPromisedIsRefused(t *testing.T) {
	for name, change := range map[string][2]string{
		"no quantity":       {`"quantity":5,`, ``},
		"null quantity":     {`"quantity":5,`, `"quantity":null,`},
		"negative":          {`"quantity":5,`, `"quantity":-5,`},
		"huge":              {`"quantity":5,`, `"quantity":9223372036854775808,`},
		"fraction":          {`"quantity":5,`, `"quantity":2.5,`},
		"text":              {`"quantity":5,`, `"quantity":"5",`},
		"no id":             {`"id":727,`, ``},
		"no status":         {`"status":"processing",`, ``},
		"no line id":        {`"id":315,`, ``},
		"no time":           {`"date_modified_gmt":"2026-11-24T10:00:05",`, ``},
		"another time":      {`"date_modified_gmt":"2026-11-24T10:00:05",`, `"date_modified_gmt":"yesterday",`},
		"a zone":            {`"date_created_gmt":"2026-11-24T10:00:00",`, `"date_created_gmt":"2026-11-24T10:00:00+02:00",`},
		"lines stand twice": {`"line_items":[`, `"line_items":[{"id":315,"product_id":93,"variation_id":0,"quantity":5},`},
		"name stands twice": {`"id":727`, `"id":727,"id":728`},
		"refund of text":    {`"quantity":-1,`, `"quantity":"-1",`},
		"refund of part":    {`"quantity":-1,`, `"quantity":-0.5,`},
		"refund upwards":    {`"quantity":-1,`, `"quantity":1,`},
	} {
		o, r := strings.Replace(wireOrder, change[0], change[1], 1), strings.Replace(wireRefund, change[0], change[1], 1)
		if o == wireOrder && r == wireRefund {
			t.Fatalf("%s: nothing was changed", name)
		}
		if got, err := understand(o, r); err == nil {
			t.Errorf("%s: taken as %+v", name, got)
		}
	}
	// Orders that do not come as they were asked for could hide others between two pages.
	unsorted := &answers{next: newPretend(), path: "/orders", status: 200, kind: "application/json", body: "[" + wireOrder + "," + strings.Replace(wireOrder, "10:00:05", "10:00:04", 1) + "]"}
	if _, err := connect(t, unsorted).Orders(t.Context(), time.Time{}, ""); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("not sorted: %v", err)
	}
	// Through the connection it is Rejected, and names the order.
	p := newPretend()
	o := p.order("processing", 1, want{p.product("A", 5), 1})
	o.lines[0].quantity = "0.5"
	_, err := connect(t, p).Orders(t.Context(), time.Now().Add(-time.Minute), "")
	if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), strconv.FormatInt(o.id, 10)) {
		t.Errorf("half a unit: %v", err)
	}
}

func ship(o *sale, key string, units ...stock.Quantity) connectors.ShipmentNotice {
	n := connectors.ShipmentNotice{Key: key, OrderID: strconv.FormatInt(o.id, 10), Carrier: "Post", Tracking: "T-1"}
	for i, u := range units {
		n.Lines = append(n.Lines, connectors.ShippedPacks{LineID: strconv.FormatInt(o.lines[i].id, 10), Quantity: u})
	}
	return n
}

// An order is completed by the shipment after which nothing is left; until then what was shipped is known from our entries.
func TestShipmentsInPart(t *testing.T) {
	p := newPretend()
	s := connect(t, p)
	o := p.order("processing", 1, want{p.product("A", 10), 5}, want{p.product("B", 10), 1})
	p.refund(o, 0, 1, true)
	id := strconv.FormatInt(o.id, 10)
	for _, step := range []struct {
		notice connectors.ShipmentNotice
		want   string
		status string
		notes  int
	}{
		{ship(o, "one", 2, 0), "open 5/1/2/1 1/0/0/0", "processing", 1},
		{ship(o, "one", 2, 0), "open 5/1/2/1 1/0/0/0", "processing", 1},
		{ship(o, "two", 0, 1), "open 5/1/2/1 1/0/1/0", "processing", 2},
		{ship(o, "three", 2, 0), "closed 5/1/4/1 1/0/1/0", "completed", 3},
		{ship(o, "three", 2, 0), "closed 5/1/4/1 1/0/1/0", "completed", 3},
	} {
		if err := s.WriteShipment(t.Context(), step.notice); err != nil {
			t.Fatal(err)
		}
		all, _ := orders(t, s, time.Now().Add(-time.Minute))
		if tell(all[id]) != step.want || o.status != step.status || len(o.notes) != step.notes {
			t.Errorf("%s: %s, %s, %d notes; not %+v", step.notice.Key, tell(all[id]), o.status, len(o.notes), step)
		}
	}
	if n := o.notes[0]; !strings.Contains(n.Note, "Post") || !strings.Contains(n.Note, "T-1") || n.Customer {
		t.Errorf("the note is %+v", n)
	}
}

// A shipment whose answers are lost is written once in the end.
func TestShipmentSurvivesLostAnswers(t *testing.T) {
	for _, lost := range []string{"POST", "PUT"} {
		p := newPretend()
		o := p.order("processing", 1, want{p.product("A", 10), 1})
		l := &losing{next: p, method: lost, times: 3}
		s := connect(t, l, settingNotes, notesCustomer)
		for range 5 {
			if err := s.WriteShipment(t.Context(), ship(o, "k", 1)); err == nil {
				break
			} else if connectors.KindOf(err) != connectors.Uncertain {
				t.Fatal(err)
			}
		}
		if len(o.notes) != 1 || o.status != "completed" || len(o.meta) != 1 || !o.notes[0].Customer {
			t.Errorf("lost %s: %d notes, %s, %d entries", lost, len(o.notes), o.status, len(o.meta))
		}
	}
}

func TestShipmentsThatAreRefused(t *testing.T) {
	p := newPretend()
	s := connect(t, p)
	o := p.order("cancelled", 1, want{p.product("A", 10), 1})
	if err := s.WriteShipment(t.Context(), ship(o, "late", 1)); err != nil || o.status != "cancelled" || len(o.notes) != 1 {
		t.Errorf("a cancelled order became %s, with %d notes, %v", o.status, len(o.notes), err)
	}
	line := ship(o, "k", 1)
	line.Lines[0].LineID = "1"
	text := ship(o, "k", 1)
	text.Lines[0].LineID = "x"
	other := ship(o, "k", 1)
	other.OrderID = "12345"
	named := ship(o, "k", 1)
	named.OrderID = "#12"
	before := p.changed()
	for name, c := range map[string]struct {
		notice connectors.ShipmentNotice
		want   connectors.ErrorKind
	}{
		"no key": {ship(o, "", 1), connectors.Rejected}, "no units": {ship(o, "k", 0), connectors.Rejected}, "negative": {ship(o, "k", -1), connectors.Rejected},
		"unknown line": {line, connectors.Unmapped}, "no line": {text, connectors.Unmapped}, "unknown order": {other, connectors.Unmapped}, "no order": {named, connectors.Unmapped},
	} {
		if err := s.WriteShipment(t.Context(), c.notice); connectors.KindOf(err) != c.want {
			t.Errorf("%s: %v, not %s", name, err, c.want)
		}
	}
	if n := p.changed() - before; n != 0 {
		t.Errorf("what was refused changed %d things", n)
	}
}
