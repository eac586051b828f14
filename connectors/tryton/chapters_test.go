package tryton_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

func wantKind(t testing.TB, err error, kind connectors.ErrorKind, words ...string) {
	t.Helper()
	if got := connectors.KindOf(err); got != kind {
		t.Errorf("the error is of kind %q, not %q: %v", got, kind, err)
	}
	for _, word := range words {
		if err != nil && !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not mention %q: %v", word, err)
		}
	}
}

// order makes an order of one line per SKU, and returns the number of the sale.
func order(t testing.TB, r record, key string, quantities ...any) string {
	t.Helper()
	number, err := r.CreateOrder(t.Context(), newOrder(key, quantities...))
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func newOrder(key string, quantities ...any) connectors.NewOrder {
	o := connectors.NewOrder{Key: key, Channel: "shop", OrderID: key, Buyer: &connectors.Buyer{Ref: "buyer 7"}}
	for i := 0; i < len(quantities); i += 2 {
		o.Lines = append(o.Lines, connectors.OrderLine{
			LineID: strconv.Itoa(i/2 + 1), SKU: stock.SKU(quantities[i].(string)), Quantity: stock.Quantity(quantities[i+1].(int)),
		})
	}
	return o
}

// level reads everything, and returns what there is of one SKU, over all warehouses.
func level(t testing.TB, r record, sku string) (sum stock.Quantity) {
	t.Helper()
	found := false
	for at := connectors.Cursor(""); ; {
		page, err := r.Levels(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Levels {
			if s.SKU == sku {
				sum, found = sum+s.Quantity, true
			}
		}
		if at = page.Next; at == "" {
			break
		}
	}
	if !found {
		t.Errorf("no level of %s", sku)
	}
	return sum
}

// stands writes how an order stands, line by line: cancelled, rejected, and shipped and allocated over all places.
func stands(t testing.TB, r record, key string) string {
	t.Helper()
	s, err := r.OrderStanding(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Errorf("the answer makes no sense: %v", err)
	}
	var lines []string
	for _, l := range s.Lines {
		var shipped, allocated stock.Quantity
		for _, p := range l.Places {
			shipped += p.Shipped
			allocated += *p.Allocated
		}
		lines = append(lines, fmt.Sprintf("%s: cancelled %d, rejected %d, shipped %d, allocated %d", l.LineID, l.Cancelled, l.Rejected, shipped, allocated))
	}
	return strings.Join(lines, "; ")
}

func wantStands(t testing.TB, r record, key, want string) {
	t.Helper()
	if got := stands(t, r, key); got != want {
		t.Errorf("order %s stands as\n%s, want\n%s", key, got, want)
	}
}

// Every basis is read on the way of an order of 3 out of 10, and what is told to be set aside is what the levels lack.
func (l *live) basesMeanWhatTheySay(t *testing.T) {
	l.CreateProducts(t, 10, "BASIS")
	meanings := []string{"on_hand", "available", "forecast"}
	records := make([]record, len(meanings))
	for i, meaning := range meanings {
		records[i] = l.open(t, nil, "levels", meaning)
	}
	shipment := func() int64 { return l.Shipments(t, "basis")[0].ID }
	for _, step := range []struct {
		name                 string
		do                   func()
		levels, set, shipped [3]stock.Quantity
	}{
		{"before", func() {}, [3]stock.Quantity{10, 10, 10}, [3]stock.Quantity{}, [3]stock.Quantity{}},
		{"sold", func() { order(t, records[0], "basis", "BASIS", 3) }, [3]stock.Quantity{10, 10, 7}, [3]stock.Quantity{0, 0, 3}, [3]stock.Quantity{}},
		{"assigned", func() { l.Assign(t, "basis") }, [3]stock.Quantity{10, 7, 7}, [3]stock.Quantity{3, 3, 3}, [3]stock.Quantity{}},
		{"picked", func() { l.Press(t, "pick", shipment()) }, [3]stock.Quantity{10, 7, 7}, [3]stock.Quantity{3, 3, 3}, [3]stock.Quantity{}},
		{"packed", func() { l.Press(t, "pack", shipment()) }, [3]stock.Quantity{10, 7, 7}, [3]stock.Quantity{3, 3, 3}, [3]stock.Quantity{}},
		{"sent", func() { l.Press(t, "done", shipment()) }, [3]stock.Quantity{7, 7, 7}, [3]stock.Quantity{}, [3]stock.Quantity{3, 3, 3}},
	} {
		step.do()
		for i, meaning := range meanings {
			if got := level(t, records[i], "BASIS"); got != step.levels[i] {
				t.Errorf("%s: %s is %d, want %d", step.name, meaning, got, step.levels[i])
			}
			if step.name != "before" {
				wantStands(t, records[i], "basis", fmt.Sprintf("1: cancelled 0, rejected 0, shipped %d, allocated %d", step.shipped[i], step.set[i]))
			}
		}
	}
}

// The sale says whose order it is and which, in the product's unit, at the product's price, with its taxes.
func (l *live) orderIsWhatWasOrdered(t *testing.T) {
	l.CreateProducts(t, 10, "WHAT-1", "WHAT-2")
	var types, accounts, taxes, categories []int64
	l.Call(t, "model.account.account.type.create", &types, []any{map[string]any{"name": "Tax", "company": l.Company(t), "statement": "balance"}})
	l.Call(t, "model.account.account.create", &accounts, []any{map[string]any{"name": "Tax", "company": l.Company(t), "type": types[0]}})
	l.Call(t, "model.account.tax.create", &taxes, []any{map[string]any{
		"name": "Tax", "description": "Tax", "type": "percentage", "rate": map[string]any{"__class__": "Decimal", "decimal": "0.19"}, "company": l.Company(t),
		"invoice_account": accounts[0], "credit_note_account": accounts[0],
	}})
	l.Call(t, "model.product.category.create", &categories, []any{map[string]any{
		"name": "Taxed", "accounting": true, "customer_taxes": []any{[]any{"add", taxes}},
	}})
	l.Change(t, "WHAT-2", map[string]any{"account_category": categories[0]})

	r := l.open(t, nil)
	o := newOrder("shop:what/1 ä", "WHAT-1", 2, "WHAT-2", 3)
	number, err := r.CreateOrder(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.CreateOrder(t.Context(), o); err != nil || again != number {
		t.Errorf("the same order again is %q, %v, not %q", again, err, number)
	}
	sale := l.Sale(t, o.Key)
	if sale.Number != number || sale.State != "processing" || len(sale.Shipments) != 1 {
		t.Errorf("the sale is %+v, and the number told %q", sale, number)
	}
	var lines []struct {
		Quantity  float64 `json:"quantity"`
		Taxes     []int64 `json:"taxes"`
		UnitPrice struct {
			Decimal string `json:"decimal"`
		} `json:"unit_price"`
		Product struct {
			Code string `json:"code"`
		} `json:"product."`
		Sale struct {
			Comment, Description string
		} `json:"sale."`
	}
	l.Call(t, "model.sale.line.search_read", &lines, []any{[]any{"sale", "=", sale.ID}}, 0, nil, []any{[]any{"sequence", "ASC"}},
		[]string{"quantity", "taxes", "unit_price", "product.code", "sale.comment", "sale.description"})
	if len(lines) != 2 || lines[0].Product.Code != "WHAT-1" || lines[0].Quantity != 2 || len(lines[0].Taxes) != 0 ||
		lines[1].Product.Code != "WHAT-2" || lines[1].Quantity != 3 || len(lines[1].Taxes) != 1 || lines[1].UnitPrice.Decimal != "10.0000" {
		t.Errorf("the lines are %+v", lines)
	}

	o.Lines[1].Quantity = 4
	_, err = r.CreateOrder(t.Context(), o)
	wantKind(t, err, connectors.Rejected, number, "line 2 was 3 of WHAT-2")
	_, err = r.CreateOrder(t.Context(), newOrder("what-2", "NOWHERE", 1))
	wantKind(t, err, connectors.Unmapped, "NOWHERE")
	l.Change(t, "WHAT-1", map[string]any{"salable": false})
	_, err = r.CreateOrder(t.Context(), newOrder("what-3", "WHAT-1", 1))
	wantKind(t, err, connectors.Rejected, "salable")
}

func (l *live) shipmentsInParts(t *testing.T) {
	l.CreateProducts(t, 10, "PART-1", "PART-2")
	r := l.open(t, nil)
	order(t, r, "part", "PART-1", 3, "PART-2", 5)
	wantStands(t, r, "part", "1: cancelled 0, rejected 0, shipped 0, allocated 0; 2: cancelled 0, rejected 0, shipped 0, allocated 0")
	l.ShipPart(t, "part", 1)
	wantStands(t, r, "part", "1: cancelled 0, rejected 0, shipped 1, allocated 0; 2: cancelled 0, rejected 0, shipped 1, allocated 0")
	l.Assign(t, "part")
	wantStands(t, r, "part", "1: cancelled 0, rejected 0, shipped 1, allocated 2; 2: cancelled 0, rejected 0, shipped 1, allocated 4")
	l.Ship(t, "part")
	wantStands(t, r, "part", "1: cancelled 0, rejected 0, shipped 3, allocated 0; 2: cancelled 0, rejected 0, shipped 5, allocated 0")
	if got := level(t, r, "PART-2"); got != 5 {
		t.Errorf("%d are left", got)
	}
	if n := len(l.Shipments(t, "part")); n != 2 {
		t.Errorf("there are %d shipments, want two", n)
	}
}

func cancel(t testing.TB, r record, key string, line string, cancelled int) {
	t.Helper()
	for range 2 { // told twice
		if err := r.CancelOrder(t.Context(), key, []connectors.CancelLine{{LineID: line, Cancelled: stock.Quantity(cancelled)}}); err != nil {
			t.Fatal(err)
		}
	}
}

// Units are cancelled before and after the staff has assigned the shipment, which stays assigned; the rest is sent.
func (l *live) cancellationsInParts(t *testing.T) {
	l.CreateProducts(t, 10, "CUT-1", "CUT-2")
	r := l.open(t, nil, "levels", "available")
	order(t, r, "cut", "CUT-1", 4, "CUT-2", 2)
	cancel(t, r, "cut", "1", 1)
	wantStands(t, r, "cut", "1: cancelled 1, rejected 0, shipped 0, allocated 0; 2: cancelled 0, rejected 0, shipped 0, allocated 0")
	l.Assign(t, "cut")
	cancel(t, r, "cut", "1", 2)
	wantStands(t, r, "cut", "1: cancelled 2, rejected 0, shipped 0, allocated 2; 2: cancelled 0, rejected 0, shipped 0, allocated 2")
	cancel(t, r, "cut", "2", 2)
	wantStands(t, r, "cut", "1: cancelled 2, rejected 0, shipped 0, allocated 2; 2: cancelled 2, rejected 0, shipped 0, allocated 0")
	if one, two := level(t, r, "CUT-1"), level(t, r, "CUT-2"); one != 8 || two != 10 {
		t.Errorf("available are %d and %d, want 8 and 10", one, two)
	}
	if sent := l.Ship(t, "cut"); sent != 2 {
		t.Errorf("%d units were sent, want 2", sent)
	}
	wantStands(t, r, "cut", "1: cancelled 2, rejected 0, shipped 2, allocated 0; 2: cancelled 2, rejected 0, shipped 0, allocated 0")
	if sale := l.Sale(t, "cut"); sale.State != "done" || sale.ShipmentState != "sent" {
		t.Errorf("the sale is %+v, and nothing is left of it", sale)
	}
	wantKind(t, r.CancelOrder(t.Context(), "cut", []connectors.CancelLine{{LineID: "7", Cancelled: 1}}), connectors.Unmapped, "line 7")
	wantKind(t, r.CancelOrder(t.Context(), "cut", []connectors.CancelLine{{LineID: "1", Cancelled: 5}}), connectors.Rejected, "4 were ordered")
}

func (l *live) cancellationOfTheWhole(t *testing.T) {
	l.CreateProducts(t, 10, "WHOLE-1", "WHOLE-2")
	r := l.open(t, nil, "levels", "forecast")
	order(t, r, "whole", "WHOLE-1", 4, "WHOLE-2", 2)
	l.Assign(t, "whole")
	for range 2 {
		if err := r.CancelOrder(t.Context(), "whole", nil); err != nil {
			t.Fatal(err)
		}
	}
	wantStands(t, r, "whole", "1: cancelled 4, rejected 0, shipped 0, allocated 0; 2: cancelled 2, rejected 0, shipped 0, allocated 0")
	if one, two := level(t, r, "WHOLE-1"), level(t, r, "WHOLE-2"); one != 10 || two != 10 {
		t.Errorf("the forecasts are %d and %d, want 10 and 10", one, two)
	}
	if sale := l.Sale(t, "whole"); sale.ShipmentState == "exception" || sale.ShipmentState == "waiting" {
		t.Errorf("the sale still waits for somebody: %+v", sale)
	}
	for _, shipment := range l.Shipments(t, "whole") {
		if shipment.State != "cancelled" {
			t.Errorf("shipment %s is %s", shipment.Number, shipment.State)
		}
	}
}

// Where orders are taken to a quotation or to a confirmed sale only, they are cancelled in the sale itself.
func (l *live) cancellationBeforeTheShipment(t *testing.T) {
	l.CreateProducts(t, 10, "EARLY")
	r := l.open(t, nil, "stage", "quotation")
	key := "early"
	number := order(t, r, key, "EARLY", 4)
	if sale := l.Sale(t, key); sale.State != "quotation" || sale.Number != number {
		t.Errorf("the sale is %+v, want the quotation %s", sale, number)
	}
	cancel(t, r, key, "1", 3)
	wantStands(t, r, key, "1: cancelled 3, rejected 0, shipped 0, allocated 0")
	if sale := l.Sale(t, key); sale.State != "quotation" || sale.Number != number {
		t.Errorf("after a part was cancelled the sale is %+v, want the quotation %s", sale, number)
	}
	cancel(t, r, key, "1", 4)
	if sale := l.Sale(t, key); sale.State != "cancelled" {
		t.Errorf("after all was cancelled the sale is %s", sale.State)
	}
	wantStands(t, r, key, "1: cancelled 4, rejected 0, shipped 0, allocated 0")
	if again := order(t, r, key, "EARLY", 4); again != number {
		t.Errorf("a late repeat of the cancelled order made sale %s beside %s", again, number)
	}
}

func (l *live) pickedIsTooLateToCancel(t *testing.T) {
	l.CreateProducts(t, 10, "LATE")
	r := l.open(t, nil)
	order(t, r, "late", "LATE", 3)
	l.Assign(t, "late")
	l.Press(t, "pick", l.Shipments(t, "late")[0].ID)
	wantKind(t, r.CancelOrder(t.Context(), "late", []connectors.CancelLine{{LineID: "1", Cancelled: 1}}), connectors.Rejected, "picked or sent")
	wantStands(t, r, "late", "1: cancelled 0, rejected 0, shipped 0, allocated 3")
	l.Ship(t, "late")
	wantKind(t, r.CancelOrder(t.Context(), "late", nil), connectors.Rejected, "picked or sent")
	wantStands(t, r, "late", "1: cancelled 0, rejected 0, shipped 3, allocated 0")
}

// The staff cancels a shipment. As long as nobody has decided what becomes of it, nothing is told; then it is rejected.
func (l *live) staffThatRefuses(t *testing.T) {
	l.CreateProducts(t, 10, "REFUSED")
	r := l.open(t, nil)
	order(t, r, "refused", "REFUSED", 3)
	l.ShipPart(t, "refused", 1)
	rest := l.Shipments(t, "refused")[1]
	l.Press(t, "cancel", rest.ID)
	wantStands(t, r, "refused", "1: cancelled 0, rejected 0, shipped 1, allocated 0")
	sale := l.Sale(t, "refused")
	l.IgnoreException(t, sale.ID)
	wantStands(t, r, "refused", "1: cancelled 0, rejected 2, shipped 1, allocated 0")
	if state := l.Sale(t, "refused").State; state != "done" {
		t.Errorf("the sale is %s", state)
	}
}

func (l *live) warnings(t *testing.T) {
	l.CreateProducts(t, 10, "WARN")
	key := "warn-quote warn-confirm"
	_, err := l.open(t, nil, "warnings", "refuse").CreateOrder(t.Context(), newOrder(key, "WARN", 1))
	wantKind(t, err, connectors.Rejected, "Do you really want to quote this?")
	number := order(t, l.open(t, nil), key, "WARN", 1)
	if sale := l.Sale(t, key); sale.State != "processing" || sale.Number != number {
		t.Errorf("with its warnings accepted the sale is %+v", sale)
	}
}

func (l *live) credentials(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes []string
		kind    connectors.ErrorKind
		words   string
	}{
		{"wrong password", []string{"password", "not this one"}, connectors.Auth, "Administration → Users"},
		{"unknown user", []string{"username", "nobody"}, connectors.Auth, "user name and password"},
		{"unknown database", []string{"database", "elsewhere"}, connectors.Unmapped, `no database "elsewhere"`},
		{"unknown customer", []string{"customer", "NOBODY"}, connectors.Rejected, "NOBODY"},
		{"unknown warehouse", []string{"warehouses", "WH, Moon"}, connectors.Rejected, "Moon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantKind(t, l.open(t, nil, c.changes...).Check(t.Context()), c.kind, c.words)
		})
	}
	if err := l.open(t, nil, "warehouses", "WH").Check(t.Context()); err != nil {
		t.Error(err)
	}
	t.Run("a user without rights", func(t *testing.T) {
		l.Call(t, "model.res.user.create", nil, []any{map[string]any{
			"name": "Clerk", "login": "clerk", "password": "Tr0ub4dor&3-xyz", "companies": []any{[]any{"add", []int64{l.Company(t)}}}, "company": l.Company(t),
		}})
		wantKind(t, l.open(t, nil, "username", "clerk", "password", "Tr0ub4dor&3-xyz").Check(t.Context()), connectors.Auth, "not allowed")
	})
}

// recorder remembers the header that the calls of a connection are authorised by.
type recorder struct {
	mu     sync.Mutex
	header string
	logins int
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	if header := req.Header.Get("Authorization"); header != "" {
		r.header = header
	}
	if bytes.Contains(body, []byte("common.db.login")) {
		r.logins++
	}
	r.mu.Unlock()
	again := req.Clone(req.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(again)
}

// A session that ended is renewed, once, also for a call that writes.
func (l *live) lostSession(t *testing.T) {
	l.CreateProducts(t, 10, "SESSION")
	wire := &recorder{}
	r := l.open(t, wire)
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Logout(t, wire.header)
	order(t, r, "session", "SESSION", 1)
	if wire.logins != 2 {
		t.Errorf("%d logins, want 2", wire.logins)
	}
}

func (l *live) notCounted(t *testing.T) {
	l.CreateProducts(t, 0, "COUNTED", "NAMELESS")
	l.Call(t, "model.product.product.write", nil, []int64{l.Product(t, "NAMELESS")}, map[string]any{"suffix_code": nil})
	r := l.open(t, nil)
	l.CreateProductsIn(t, "Kilogram", "WEIGHED")
	page := items(t, r)
	for sku, want := range map[string]int{"COUNTED": 1, "WEIGHED": 0, "": 0} {
		if page[sku] != want {
			t.Errorf("%q is listed %d times, want %d", sku, page[sku], want)
		}
	}
	_, err := r.CreateOrder(t.Context(), newOrder("weighed", "WEIGHED", 1))
	wantKind(t, err, connectors.Unmapped, "whole units")
}

func items(t testing.TB, r record) map[string]int {
	t.Helper()
	found := map[string]int{}
	for at := connectors.Cursor(""); ; {
		page, err := r.Items(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Rows {
			found[it.SKU]++
		}
		if at = page.Next; at == "" {
			return found
		}
	}
}

// meddler does something once, right before a call whose body has the words is sent.
type meddler struct {
	words string
	skip  int
	do    func()
}

// RoundTrip implements http.RoundTripper.
func (m *meddler) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if m.do != nil && bytes.Contains(body, []byte(m.words)) {
		if m.skip--; m.skip < 0 {
			m.do()
			m.do = nil
		}
	}
	again := req.Clone(req.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(again)
}

// Goods move from one warehouse to another between the reading of the two, and are counted once all the same. What comes in
// while pages are read is in the numbers or is not; the position says that it need not be.
func (l *live) goodsThatMove(t *testing.T) {
	l.CreateProducts(t, 10, "MOVES")
	annex := l.AddWarehouse(t, "Annex")
	defer func() {
		l.Transfer(t, "MOVES", 6, annex, l.Warehouse(t))
		l.RemoveWarehouse(t, annex)
	}()
	m := &meddler{words: `"quantity"`, skip: 2 * ((len(items(t, l.open(t, nil))) - 1) / 200), do: nil}
	moved := false
	r := l.open(t, m)
	m.skip++ // the first warehouse was read, of the page that the product is on
	m.do = func() { l.Transfer(t, "MOVES", 6, l.Warehouse(t), annex); moved = true }
	if got := level(t, r, "MOVES"); got != 10 || !moved {
		t.Errorf("6 of 10 moved while they were read (%t), and %d are counted", moved, got)
	}
	locations, err := r.Locations(t.Context())
	if err != nil || len(locations) != 2 || locations[1].Name != "Annex" {
		t.Errorf("the locations are %+v, %v", locations, err)
	}
	if got := level(t, l.open(t, nil, "warehouses", "Annex"), "MOVES"); got != 6 {
		t.Errorf("the annex has %d, want 6", got)
	}
}
