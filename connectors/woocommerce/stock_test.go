package woocommerce

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

func listings(t *testing.T, s *shop) []connectors.Listing {
	t.Helper()
	var all []connectors.Listing
	var at connectors.Cursor
	for range 1000 {
		page, err := s.Listings(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Rows...)
		if at = page.Next; at == "" {
			return all
		}
	}
	t.Fatal("the list does not end")
	return nil
}

// What has stock of its own is a listing, and nothing else.
func TestWhatIsSold(t *testing.T) {
	p := newPretend()
	kind := func(kind string) func(*thing) { return func(o *thing) { o.kind = kind } }
	unmanaged := func(status string) func(*thing) {
		return func(o *thing) { o.manage, o.stock, o.stockStatus = "false", "null", status }
	}
	own := p.variable("OWN")
	small := p.variation(own, "S", 4)
	hidden := p.variation(own, "M", 5, func(o *thing) { o.status = "private" })
	whole := p.product("WHOLE", 9, kind("variable"))
	shared := p.variation(whole, "S", 0, func(o *thing) { o.manage = `"parent"` })
	draft := p.product("DRAFT", 1, func(o *thing) { o.status = "draft" })
	want := map[connectors.Ref]string{
		p.product("SIMPLE", 7).ref():                                    "Product SIMPLE 7 false active",
		p.product("OVERSOLD", -2).ref():                                 "Product OVERSOLD -2 false active",
		p.product("ENDLESS", 0, unmanaged("instock")).ref():             "Product ENDLESS 0 true active",
		p.product("LATER", 0, unmanaged("onbackorder")).ref():           "Product LATER 0 true active",
		p.product("GONE", 0, unmanaged("outofstock")).ref():             "Product GONE 0 false active",
		p.product("FLOAT", 0, func(o *thing) { o.stock = "5.0" }).ref(): "Product FLOAT 5 false active",
		draft.ref():  "Product DRAFT 1 false stopped",
		small.ref():  "Product OWN - S 4 false active",
		hidden.ref(): "Product OWN - M 5 false stopped",
		whole.ref():  "Product WHOLE 9 false active",
	}
	none := []connectors.Ref{own.ref(), shared.ref(), p.product("GROUP", 1, kind("grouped")).ref(), p.product("ELSEWHERE", 1, kind("external")).ref(),
		p.product("TRASH", 1, func(o *thing) { o.status = "trash" }).ref(), {Item: "999999"}, {Item: "x"}, {Item: "0101"}, {Item: small.ref().Item, Place: "here"}}
	var refs []connectors.Ref
	for ref := range want {
		refs = append(refs, ref)
	}
	refs = append(refs, none...)

	fresh := connect(t, p) // which has not listed anything
	for name, s := range map[string]*shop{"not listed": fresh, "listed": connect(t, p)} {
		if name == "listed" {
			got := map[connectors.Ref]string{}
			for _, l := range listings(t, s) {
				got[l.Ref] = fmt.Sprint(l.Title, " ", l.Quantity, " ", l.Unlimited, " ", l.Status)
				if l.UpdatedAt.IsZero() || l.SKU == "" {
					t.Errorf("%s is listed without a time or a SKU", l.Ref)
				}
			}
			for ref, text := range want {
				if got[ref] != text {
					t.Errorf("%s is listed as %q, not %q", ref, got[ref], text)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d listings, not %d: %v", len(got), len(want), got)
			}
		}
		readings, err := s.ReadStock(t.Context(), refs)
		if err != nil || len(readings) != len(want) {
			t.Fatalf("%s: %d readings of %d, %v", name, len(readings), len(want), err)
		}
		for _, r := range readings {
			if text := want[r.Ref]; !strings.Contains(text, fmt.Sprint(" ", r.Quantity, " ", r.Unlimited, " ")) {
				t.Errorf("%s: %s reads %d, %t; it is %s", name, r.Ref, r.Quantity, r.Unlimited, text)
			}
		}
	}
	// What is known needs no request of its own.
	p.mu.Lock()
	p.oneByOne = 0
	p.mu.Unlock()
	if _, err := fresh.ReadStock(t.Context(), []connectors.Ref{small.ref(), hidden.ref()}); err != nil || p.oneByOne != 0 {
		t.Errorf("%d variations were looked up again, %v", p.oneByOne, err)
	}
}

// A quantity that cannot be counted is refused by name; it never becomes another number.
func TestUncountableStock(t *testing.T) {
	for _, text := range []string{"1.5", "null", "1e30", "99999999999999999999"} {
		p := newPretend()
		odd := p.product("ODD", 0, func(o *thing) { o.stock = text })
		s := connect(t, p)
		_, listErr := s.Listings(t.Context(), "")
		_, readErr := s.ReadStock(t.Context(), []connectors.Ref{odd.ref()})
		for _, err := range []error{listErr, readErr} {
			if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), odd.ref().Item) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	for _, text := range []string{`"7"`, `[]`, `true`} { // not what the documentation promises
		p := newPretend()
		p.product("ODD", 0, func(o *thing) { o.stock = text })
		if _, err := connect(t, p).Listings(t.Context(), ""); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The list goes over pages of products and of variations, while products come and go.
func TestListingsGoOverPages(t *testing.T) {
	p := newPretend()
	var want []connectors.Ref
	for i := range 250 {
		want = append(want, p.product("A"+strconv.Itoa(i), 1).ref())
	}
	for i := range 12 {
		parent := p.variable("V" + strconv.Itoa(i))
		count := 1
		if i == 3 {
			count = 120
		}
		for j := range count {
			want = append(want, p.variation(parent, strconv.Itoa(j), 1).ref())
		}
	}
	for i := range 30 {
		want = append(want, p.product("B"+strconv.Itoa(i), 1).ref())
	}
	s := connect(t, p)
	check := func(got []connectors.Listing) {
		t.Helper()
		var refs []connectors.Ref
		for _, l := range got {
			refs = append(refs, l.Ref)
		}
		for _, ref := range want {
			if n := len(slices.DeleteFunc(slices.Clone(refs), func(r connectors.Ref) bool { return r != ref })); n != 1 {
				t.Fatalf("%s is listed %d times", ref, n)
			}
		}
	}
	check(listings(t, s))

	// Between two pages 40 products are deleted from the first one, more than a page reads again.
	first, err := s.Listings(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.products = p.products[40:]
	p.mu.Unlock()
	rest := first.Rows
	for at := first.Next; at != ""; {
		page, err := s.Listings(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		rest, at = append(rest, page.Rows...), page.Next
	}
	check(rest)

	// 90 products with low ids come back from the trash behind the first page's place.
	second, err := s.Listings(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	var back []*thing
	for i := range int64(90) {
		back = append(back, &thing{id: 1 + i, kind: "simple", name: "x", sku: "x", status: "publish", manage: "true", stock: "1"})
	}
	p.products = append(back, p.products...)
	p.mu.Unlock()
	want = want[40:]
	rest = second.Rows
	for at := second.Next; at != ""; {
		page, err := s.Listings(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		rest, at = append(rest, page.Rows...), page.Next
	}
	check(rest)

	for _, bad := range []connectors.Cursor{"x", "1", "0:5", "-1:5", "1:0", "1:x", "1:5:9"} {
		if _, err := s.Listings(t.Context(), bad); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}

// A cache that gives the same page for ever is found out, for products and for orders.
func TestRepeatedPages(t *testing.T) {
	p := newPretend()
	thing := p.product("A", 10_000)
	for i := range 150 {
		p.product("B"+strconv.Itoa(i), 1)
		p.order("processing", 1, want{thing, 1})
	}
	p.ignoreQuery = true
	s := connect(t, p)
	var err error
	var at connectors.Cursor
	for pages := 0; err == nil; pages++ {
		var page connectors.Page[connectors.Listing]
		if page, err = s.Listings(t.Context(), at); err == nil && (page.Next == "" || pages > 10) {
			t.Fatalf("the list of products ended, or went on for %d pages", pages)
		}
		at = page.Next
	}
	if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "cache") {
		t.Errorf("products: %v", err)
	}
	at, err = "", nil
	for pages := 0; err == nil; pages++ {
		var page connectors.OrderPage
		if page, err = s.Orders(t.Context(), p.now().AddDate(0, 0, -1), at); err == nil && (page.Next == "" || pages > 10) {
			t.Fatalf("the list of orders ended, or went on for %d pages", pages)
		}
		at = page.Next
	}
	if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "cache") {
		t.Errorf("orders: %v", err)
	}
}

func write(t *testing.T, s *shop, writes ...connectors.Write) []connectors.Result {
	t.Helper()
	results, err := s.WriteStock(t.Context(), writes)
	if err != nil || len(results) != len(writes) {
		t.Fatalf("%d results of %d, %v", len(results), len(writes), err)
	}
	return results
}

// One call writes products, and variations of several products; each line has its own result.
func TestWriteGoesByProduct(t *testing.T) {
	p := newPretend()
	simple := p.product("A", 1)
	v, w := p.variable("V"), p.variable("W")
	vs, ws := p.variation(v, "S", 1), p.variation(w, "S", 1)
	whole := p.product("WHOLE", 9, func(o *thing) { o.kind = "variable" })
	shared := p.variation(whole, "S", 0, func(o *thing) { o.manage = `"parent"` })
	endless := p.product("ENDLESS", 0, func(o *thing) { o.manage, o.stock = "false", "null" })
	s := connect(t, p)
	set := func(ref connectors.Ref, q stock.Quantity) connectors.Write {
		return connectors.Write{Ref: ref, Quantity: q, ID: "w"}
	}
	got := write(t, s, set(ws.ref(), 31), set(simple.ref(), 32), set(vs.ref(), 33), set(connectors.Ref{Item: "999"}, 1), set(endless.ref(), 34),
		set(shared.ref(), 1), set(v.ref(), 1), set(whole.ref(), 35), set(simple.ref(), -1))
	kinds := []connectors.ErrorKind{"", "", "", connectors.Unmapped, "", connectors.Rejected, connectors.Rejected, "", connectors.Rejected}
	for i, r := range got {
		if connectors.KindOf(r.Err) != kinds[i] || (kinds[i] == "") != (r.Outcome == connectors.Written) {
			t.Errorf("line %d: %s, %v", i, r.Outcome, r.Err)
		}
	}
	for ref, q := range map[connectors.Ref]stock.Quantity{ws.ref(): 31, simple.ref(): 32, vs.ref(): 33, endless.ref(): 34, whole.ref(): 35} {
		if p.shown(ref) != q {
			t.Errorf("%s shows %d, not %d", ref, p.shown(ref), q)
		}
	}
	if shared.manage != `"parent"` || v.manage != "false" {
		t.Error("a refused line changed who manages the stock")
	}
	// A variation that began to have stock of its own is written as such.
	p.mu.Lock()
	shared.manage = "true"
	p.mu.Unlock()
	write(t, s, set(shared.ref(), 3))
	if p.shown(shared.ref()) != 3 || p.shown(whole.ref()) != 35 {
		t.Errorf("the variation shows %d, its product %d", p.shown(shared.ref()), p.shown(whole.ref()))
	}
	// What was deleted since it was listed fails alone.
	p.mu.Lock()
	p.products = slices.DeleteFunc(p.products, func(o *thing) bool { return o == simple || o == vs })
	p.mu.Unlock()
	got = write(t, s, set(simple.ref(), 1), set(vs.ref(), 1), set(ws.ref(), 41))
	if connectors.KindOf(got[0].Err) != connectors.Unmapped || connectors.KindOf(got[1].Err) != connectors.Unmapped || got[2].Outcome != connectors.Written {
		t.Errorf("after the deletion: %+v", got)
	}
	// A shop that manages no stock at all takes the write and keeps nothing.
	p.mu.Lock()
	p.managing = false
	p.mu.Unlock()
	if got = write(t, s, set(ws.ref(), 5)); connectors.KindOf(got[0].Err) != connectors.Rejected || !strings.Contains(got[0].Err.Error(), "Enable stock management") {
		t.Errorf("not managing: %+v", got)
	}
}

// answers is a transport that gives fixed answers to the calls whose path contains the key, and leads elsewhere for others.
type answers struct {
	next   http.RoundTripper
	path   string
	method string
	status int
	kind   string
	body   string
	times  int
}

// RoundTrip implements http.RoundTripper.
func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.Contains(req.URL.Path, a.path) || a.method != "" && req.Method != a.method {
		return a.next.RoundTrip(req)
	}
	a.times++
	return &http.Response{StatusCode: a.status, Header: http.Header{"Content-Type": {a.kind}}, Body: io.NopCloser(strings.NewReader(a.body)), Request: req}, nil
}

// A batch that succeeds can hold errors of its items, and nothing at all.
func TestErrorsInsideABatch(t *testing.T) {
	p := newPretend()
	one := p.product("A", 1)
	id := one.ref().Item
	failed := func(code string, data string) string {
		return `{"update":[{"id":` + id + `,"error":{"code":"` + code + `","message":"m","data":` + data + `}}]}`
	}
	for name, c := range map[string]struct {
		body string
		want connectors.ErrorKind
	}{
		"unknown":          {failed("woocommerce_rest_product_invalid_id", `{"status":400}`), connectors.Unmapped},
		"variation":        {failed("woocommerce_rest_invalid_product_id", `{"status":404}`), connectors.Unmapped},
		"not allowed":      {failed("woocommerce_rest_cannot_edit", `{"status":403}`), connectors.Auth},
		"refused":          {failed("product_invalid_sku", `{"status":400,"resource_id":3}`), connectors.Rejected},
		"strange data":     {failed("some_plugin", `[]`), connectors.Rejected},
		"no data":          {failed("some_plugin", `null`), connectors.Rejected},
		"broken":           {failed("some_plugin", `{"status":500}`), connectors.Uncertain},
		"half saved":       {failed("woocommerce_rest_product_not_created", `{"status":400}`), connectors.Uncertain},
		"nothing":          {`{}`, connectors.Uncertain},
		"an empty list":    {`{"update":[]}`, connectors.Uncertain},
		"null":             {`null`, connectors.Uncertain},
		"another item":     {`{"update":[{"id":1,"manage_stock":true,"stock_quantity":5}]}`, connectors.Uncertain},
		"no quantity":      {`{"update":[{"id":` + id + `,"manage_stock":true}]}`, connectors.Uncertain},
		"fraction":         {`{"update":[{"id":` + id + `,"manage_stock":true,"stock_quantity":4.5}]}`, connectors.Uncertain},
		"not said who":     {`{"update":[{"id":` + id + `,"stock_quantity":5}]}`, connectors.Uncertain},
		"an error as 200":  {`{"code":"woocommerce_rest_cannot_edit","message":"no","data":{"status":401}}`, connectors.Auth},
		"a refusal as 200": {`{"code":"some_plugin","message":"closed today"}`, connectors.Rejected},
		"a list":           {`[]`, connectors.Uncertain},
		"manages nothing":  {`{"update":[{"id":` + id + `,"manage_stock":false,"stock_quantity":null}]}`, connectors.Rejected},
		"unknown manager":  {`{"update":[{"id":` + id + `,"manage_stock":"sister","stock_quantity":5}]}`, connectors.Uncertain},
	} {
		a := &answers{next: p, path: "/batch", status: 200, kind: "application/json", body: c.body}
		s := connect(t, a)
		results, err := s.WriteStock(t.Context(), []connectors.Write{{Ref: one.ref(), Quantity: 5, ID: "w"}})
		if err == nil {
			err = results[0].Err
		}
		if connectors.KindOf(err) != c.want || a.times != 1 {
			t.Errorf("%s: %v after %d tries, not %s", name, err, a.times, c.want)
		}
	}
}

// A write whose outcome is not known is not sent again by itself: an order may have come in between.
func TestWriteIsNotRepeated(t *testing.T) {
	p := newPretend()
	one := p.product("A", 1)
	a := &answers{next: p, path: "/batch", status: 502, kind: "text/html", body: "<html>Bad gateway"}
	_, err := connect(t, a).WriteStock(t.Context(), []connectors.Write{{Ref: one.ref(), Quantity: 5, ID: "w"}})
	if connectors.KindOf(err) != connectors.Uncertain || a.times != 1 {
		t.Errorf("%v after %d tries", err, a.times)
	}
}

// The second batch of a call fails its own lines, and not those that are written.
func TestLaterBatchFailsAlone(t *testing.T) {
	p := newPretend()
	one := p.product("A", 1)
	parent := p.variable("V")
	two := p.variation(parent, "S", 1)
	for status, want := range map[int]connectors.ErrorKind{502: connectors.Uncertain, 429: connectors.Throttled, 401: connectors.Auth, 400: connectors.Rejected} {
		a := &answers{next: p, path: "/variations/batch", status: status, kind: "application/json", body: `{}`}
		got := write(t, connect(t, a), connectors.Write{Ref: two.ref(), Quantity: 8, ID: "w"}, connectors.Write{Ref: one.ref(), Quantity: 9, ID: "w"})
		if connectors.KindOf(got[0].Err) != want || got[1].Outcome != connectors.Written || p.shown(one.ref()) != 9 {
			t.Errorf("%d: %+v", status, got)
		}
	}
}

// Stock may have fallen below 0 by backorders: that is read as it is, and written over.
func TestNegativeStock(t *testing.T) {
	p := newPretend()
	one := p.product("A", -3)
	s := connect(t, p)
	readings, err := s.ReadStock(t.Context(), []connectors.Ref{one.ref()})
	if err != nil || len(readings) != 1 || readings[0].Quantity != -3 {
		t.Errorf("%+v, %v", readings, err)
	}
	if page, err := s.Listings(t.Context(), ""); err != nil || len(page.Rows) != 1 || page.Rows[0].Quantity != -3 {
		t.Errorf("%+v, %v", page.Rows, err)
	}
	if got := write(t, s, connectors.Write{Ref: one.ref(), Quantity: 4, ID: "w"}); got[0].Outcome != connectors.Written || p.shown(one.ref()) != 4 {
		t.Errorf("%+v", got)
	}
}

// A shop takes 100 lines in a call: so many are one request, and one more none.
func TestBatchOfHundred(t *testing.T) {
	p := newPretend()
	var writes []connectors.Write
	for i := range 101 {
		writes = append(writes, connectors.Write{Ref: p.product("S"+strconv.Itoa(i), 1).ref(), Quantity: 7, ID: "w"})
	}
	s := connect(t, p)
	if _, err := s.Capabilities(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(p.asked)
	if _, err := s.WriteStock(t.Context(), writes); connectors.KindOf(err) != connectors.Rejected || len(p.asked) != before {
		t.Errorf("101 lines: %v, after %d requests", err, len(p.asked)-before)
	}
	results, err := s.WriteStock(t.Context(), writes[:100])
	batches := 0
	for _, asked := range p.asked[before:] {
		if strings.Contains(asked, "batch") {
			batches++
		}
	}
	if err != nil || len(results) != 100 || batches != 1 {
		t.Errorf("100 lines: %d results of %d batches, %v", len(results), batches, err)
	}
}
