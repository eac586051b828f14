package open

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// serve opens a connection to a server that answers each path, without its query, with the text given for it.
func serve(t *testing.T, role connectors.Role, answers map[string]string) connectors.Connection {
	t.Helper()
	defaults := map[string]string{
		"/capabilities": `{"batch_size":3,"quantity_means":"available","stop_sale":true,"shipments":true,"levels":"on_hand","positions":true,"order_amend":true}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.EscapedPath()]
		if !ok {
			text = defaults[r.URL.EscapedPath()]
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	conn, err := open(connectors.Env{}, role, connectors.Settings{settingBaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func shopOf(t *testing.T, answers map[string]string) *shop {
	return serve(t, connectors.MarketplaceRole, answers).(*shop)
}

func warehouseOf(t *testing.T, answers map[string]string) *warehouse {
	return serve(t, connectors.SystemOfRecordRole, answers).(*warehouse)
}

// Each of these answers is refused as a whole, with the row and the member named: never a zero, never a row less.
func TestBadRowsAreNamed(t *testing.T) {
	at := time.Now()
	ref := []connectors.Ref{{Item: "I"}}
	calls := map[string]func(t *testing.T, path, answer string) error{
		"/listings": func(t *testing.T, path, answer string) error {
			p, err := shopOf(t, map[string]string{path: answer}).Listings(t.Context(), "")
			return errorAndNothing(t, err, len(p.Rows))
		},
		"/stock/read": func(t *testing.T, path, answer string) error {
			r, err := shopOf(t, map[string]string{path: answer}).ReadStock(t.Context(), ref)
			return errorAndNothing(t, err, len(r))
		},
		"/orders": func(t *testing.T, path, answer string) error {
			p, err := shopOf(t, map[string]string{path: answer}).Orders(t.Context(), at, "")
			return errorAndNothing(t, err, len(p.Orders))
		},
		"/levels": func(t *testing.T, path, answer string) error {
			p, err := warehouseOf(t, map[string]string{path: answer}).Levels(t.Context(), "")
			return errorAndNothing(t, err, len(p.Levels))
		},
		"/items": func(t *testing.T, path, answer string) error {
			p, err := warehouseOf(t, map[string]string{path: answer}).Items(t.Context(), "")
			return errorAndNothing(t, err, len(p.Rows))
		},
		"/locations": func(t *testing.T, path, answer string) error {
			p, err := warehouseOf(t, map[string]string{path: answer}).Locations(t.Context())
			return errorAndNothing(t, err, len(p))
		},
		"/orders/shop:1": func(t *testing.T, path, answer string) error {
			a, err := warehouseOf(t, map[string]string{path: answer,
				"/capabilities": `{"levels":"available","positions":false,"order_status":true}`}).OrderStanding(t.Context(), "shop:1")
			return errorAndNothing(t, err, len(a.Lines))
		},
		"/movements": func(t *testing.T, path, answer string) error {
			p, err := warehouseOf(t, map[string]string{path: answer}).Movements(t.Context(), 5)
			return errorAndNothing(t, err, len(p.Rows))
		},
	}
	for _, row := range []struct{ path, answer, want string }{
		{"/orders/shop:1", `{"key":"shop:2","lines":[]}`, `the answer is about the order "shop:2"`},
		{"/orders/shop:1", `{"key":"shop:1"}`, "lines is missing or null"},
		{"/orders/shop:1", `{"key":"shop:1","lines":[{"line_id":"1","cancelled":0,"locations":[]}]}`, "line 1: rejected is missing or null"},
		{"/orders/shop:1", `{"key":"shop:1","lines":[{"line_id":"1","cancelled":-1,"rejected":0,"locations":[]}]}`, "line 1: cancelled is -1"},
		{"/orders/shop:1", `{"key":"shop:1","lines":[{"line_id":"1","cancelled":0,"rejected":0}]}`, "line 1: locations is missing or null"},
		{"/orders/shop:1", `{"key":"shop:1","lines":[{"line_id":"1","cancelled":0,"rejected":0,"locations":[{"location":"main","shipped":1}]}]}`, "allocated is missing or null"},
		{"/orders/shop:1", `{"key":"shop:1","lines":[{"line_id":"1","cancelled":0,"rejected":0,"locations":[{"location":"main","allocated":1}]}]}`, "shipped is missing or null"},
		{"/orders/shop:1", `{"key":"shop:1","lines":[{"line_id":"1","cancelled":0,"rejected":0,"locations":[]},{"line_id":"1","cancelled":0,"rejected":0,"locations":[]}]}`, "stands twice"},
		{"/orders/shop:1", `{"key":"shop:1","as_of":"1950-01-01T00:00:00Z","lines":[]}`, "is in the year 1950"},
		{"/listings", `{"listings":[{"item":"A","quantity":1,"status":"active"},{"item":"B","status":"active"}]}`, "listing 2 (B): quantity is missing or null"},
		{"/listings", `{"listings":[{"item":"A","quantity":null,"status":"active"}]}`, "listing 1 (A): quantity is missing or null"},
		{"/listings", `{"listings":[{"item":"A","quantity":1,"status":"active"},{"item":"B","quantity":2.5,"status":"active"}]}`, "2.5 at /listings/1/quantity is not a whole number"},
		{"/listings", `{"listings":[{"item":"A","quantity":1000000000001,"status":"active"}]}`, "listing 1 (A): quantity is 1000000000001"},
		{"/listings", `{"listings":[{"item":"A","quantity":1,"status":"new"}]}`, `status "new"`},
		{"/listings", `{"listings":[{"quantity":1,"status":"active"}]}`, "item is missing or empty"},
		{"/listings", `{"listings":[{"item":"A","quantity":1,"status":"active"},{"item":"A","quantity":2,"status":"active"}]}`, "listing 2 (A): it stands twice"},
		{"/listings", `{"next":null}`, "listings is missing or null"},
		{"/listings", `{}`, "listings is missing or null"},
		{"/stock/read", `{"readings":[{"item":"I","quantity":null}]}`, "reading 1 (I): quantity is missing or null"},
		{"/stock/read", `{"readings":[{"item":"I","quantity":1},{"item":"I","quantity":2}]}`, "reading 2 (I): it stands twice"},
		{"/stock/read", `{}`, "readings is missing or null"},
		{"/orders", `{"watermark":"2026-11-23T10:00:00Z","orders":[{"order_id":"O","version":1,"status":"open","lines":[{"line_id":"1","item":"I","quantity":null,"cancelled":0,"shipped":0,"restocked":0}]}]}`, "order 1 (O): line 1: quantity is missing or null"},
		{"/orders", `{"watermark":"2026-11-23T10:00:00Z","orders":[{"order_id":"O","version":1,"status":"open"}]}`, "order 1 (O): lines is missing or null"},
		{"/orders", `{"orders":[]}`, "watermark is missing or null"},
		{"/orders", `{"watermark":"2026-11-23T10:00:00Z"}`, "orders is missing or null"},
		{"/levels", `{"levels":[{"sku":"S","location":"L","quantity":1},{"sku":"T","location":"L"}],"count":2}`, "level 2 (T at L): quantity is missing or null"},
		{"/levels", `{"levels":[{"sku":"S","location":"L","quantity":0.5}],"count":1}`, "0.5 at /levels/0/quantity is not a whole number"},
		{"/levels", `{"levels":[{"sku":"S","location":"L","quantity":1},{"sku":"S","location":"L","quantity":2}],"count":2}`, "level 2 (S at L): it stands twice"},
		{"/levels", `{"levels":[{"sku":"S","location":"L","quantity":1}],"count":0}`, "more rows than the 0 that count tells"},
		{"/levels", `{"levels":[],"count":-1}`, "count is -1"},
		{"/levels", `{"count":0}`, "levels is missing or null"},
		{"/items", `{"items":[{"sku":""}]}`, "item 1: sku is missing or empty"},
		{"/items", `{}`, "items is missing or null"},
		{"/locations", `{"locations":[{"id":"a"},{"name":"b"}]}`, "location 2: id is missing or empty"},
		{"/movements", `{"facts":[{"type":"stock.moved","sku":"S","location":"L","delta":1,"occurred_at":"2026-11-23T10:00:00Z"}]}`, "fact 1: position is missing or null"},
		{"/movements", `{"facts":[{"type":"stock.moved","position":5,"sku":"S","location":"L","delta":1,"occurred_at":"2026-11-23T10:00:00Z"}]}`, "fact 1: position 5 does not follow 5"},
		{"/movements", `{"facts":[{"type":"stock.moved","position":6,"sku":"S","location":"L","delta":null,"occurred_at":"2026-11-23T10:00:00Z"}]}`, "fact 1: position 6, stock.moved: delta is missing or null"},
		{"/movements", `{"facts":[{"type":"stock.unheard_of","position":6}]}`, "not known"},
		{"/movements", `{"facts":[{"type":"order.cancelled","position":6,"order_id":"O","version":1}]}`, "for a marketplace to send"},
		{"/movements", `{"facts":[],"next":5}`, "would never end"},
		{"/movements", `{"facts":[],"next":"more"}`, "not a position"},
		{"/movements", `{}`, "facts is missing or null"},
	} {
		err := calls[row.path](t, row.path, row.answer)
		if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s %s: %v", row.path, row.answer, err)
		}
	}
}

func errorAndNothing(t *testing.T, err error, rows int) error {
	t.Helper()
	if rows > 0 {
		t.Errorf("%d rows of a page that was refused", rows)
	}
	return err
}

func TestPageThatNamesItself(t *testing.T) {
	answers := map[string]string{
		"/listings": `{"listings":[],"next":"same"}`,
		"/items":    `{"items":[],"next":"same"}`,
		"/orders":   `{"orders":[],"next":"same","watermark":"2026-11-23T10:00:00Z"}`,
		"/levels":   `{"levels":[],"next":"same","count":0}`,
	}
	s, w := shopOf(t, answers), warehouseOf(t, answers)
	lists := map[string]func(connectors.Cursor) (connectors.Cursor, error){
		"listings": func(c connectors.Cursor) (connectors.Cursor, error) {
			p, err := s.Listings(t.Context(), c)
			return p.Next, err
		},
		"orders": func(c connectors.Cursor) (connectors.Cursor, error) {
			p, err := s.Orders(t.Context(), time.Now(), c)
			return p.Next, err
		},
		"items": func(c connectors.Cursor) (connectors.Cursor, error) {
			p, err := w.Items(t.Context(), c)
			return p.Next, err
		},
		"levels": func(c connectors.Cursor) (connectors.Cursor, error) {
			p, err := w.Levels(t.Context(), c)
			return p.Next, err
		},
	}
	for name, list := range lists {
		next, err := list("")
		if err != nil || next == "" {
			t.Fatalf("%s: %q, %v", name, next, err)
		}
		if _, err := list(next); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "would never end") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"listings", "orders", "items", "levels"} {
		if _, err := lists[name]("nonsense"); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("%s from a cursor that is not ours: %v", name, err)
		}
	}
}

// A ring of pages is noticed whatever its length and wherever it begins, and a long list without one is not taken for one.
func TestRingOfPagesEnds(t *testing.T) {
	token := func(n int) *string { text := strconv.Itoa(n); return &text }
	for _, c := range []struct{ before, ring int }{{0, 1}, {0, 2}, {3, 1}, {1, 7}, {100, 64}, {999, 1000}} {
		at, pages := trail{}, 0
		for page := 0; ; pages++ {
			next := page + 1
			if next == c.before+c.ring {
				next = c.before
			}
			text, err := makeCursor(at)
			if err != nil {
				t.Fatal(err)
			}
			var read trail
			if err := parseCursor(text, &read); err != nil || read != at {
				t.Fatalf("%+v is read as %+v, %v", at, read, err)
			}
			if at, err = at.on(token(next)); err != nil {
				break
			}
			page = next
			if pages > 3*(c.before+c.ring)+3 {
				t.Errorf("a ring of %d pages behind %d others is not noticed in %d pages", c.ring, c.before, pages)
				break
			}
		}
	}
	at := trail{}
	for n := range 10_000 {
		var err error
		if at, err = at.on(token(n)); err != nil {
			t.Fatalf("page %d of a list without a ring: %v", n, err)
		}
	}
}

// Every cursor that anybody could have changed is refused or read as it is written.
func FuzzCursor(f *testing.F) {
	f.Add([]byte(`{"next":"a","mark":"b","steps":1,"stride":2}`))
	f.Add([]byte(`{"trail":{"next":"a"},"position":{},"count":3,"rows":-1,"watermark":"2026-11-23T10:00:00Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, into := range []any{&trail{}, &ordersCursor{}, &levelsCursor{}} {
			_ = parseCursor(connectors.Cursor(text), into)
		}
		var at trail
		if parseCursor(connectors.Cursor(text), &at) != nil {
			return
		}
		next := "another"
		if to, err := at.on(&next); err == nil && to.Token != next {
			t.Errorf("%+v leads to %+v", at, to)
		}
	})
}

// Capabilities and locations are read once and decide much: whatever comes is refused or within bounds.
func FuzzCapabilities(f *testing.F) {
	f.Add([]byte(`{"name":"s","shop_id":"1","batch_size":100,"read_lag_ms":5,"max_quantity":9,"quantity_means":"gross","levels":"on_hand","locations":[{"id":"a"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m MarketplaceCapabilities
		if json.Unmarshal(text, &m) == nil {
			if can, err := marketplaceCapabilities(m); err == nil && (can.BatchSize < 1 || can.BatchSize > maxBatch || can.ReadLag < 0 || can.ReadLag > maxWait || can.MaxQuantity < 0 || can.Class == "") {
				t.Errorf("%+v", can)
			}
		}
		var r RecordCapabilities
		if json.Unmarshal(text, &r) == nil {
			if can, err := recordCapabilities(r, ""); err == nil && can.Basis == "" {
				t.Errorf("%+v", can)
			}
		}
		var l LocationsAnswer
		if json.Unmarshal(text, &l) == nil {
			if locations, err := locationsOf(l); err == nil {
				for _, at := range locations {
					if at.ID == "" {
						t.Errorf("%+v", locations)
					}
				}
			}
		}
	})
}

func TestReadingsAreThoseAsked(t *testing.T) {
	s := shopOf(t, map[string]string{"/stock/read": `{"readings":[{"item":"C","quantity":null},{"item":"B","quantity":2,"as_of":"2026-11-23T10:00:00Z"},{"item":"A","quantity":-1},{"item":"A","place":"p","quantity":9}]}`})
	before := time.Now()
	readings, err := s.ReadStock(t.Context(), []connectors.Ref{{Item: "A"}, {Item: "B"}, {Item: "X"}})
	if err != nil || len(readings) != 2 || readings[0].Ref.Item != "A" || readings[0].Quantity != -1 || readings[1].Quantity != 2 {
		t.Fatalf("%+v, %v", readings, err)
	}
	if readings[0].At.Before(before.Add(-time.Second)) || readings[0].At.After(time.Now()) || !readings[1].At.Equal(sentAt) {
		t.Errorf("the instants are %s and %s", readings[0].At, readings[1].At)
	}
}

func TestWriteResultsAreMatchedByID(t *testing.T) {
	s := shopOf(t, map[string]string{"/stock/write": `{"results":[
		{"id":"3","status":"throttled","retry_after_ms":90000},{"id":"9","status":"ok"},{"id":"1","status":"stale","quantity":4},
		{"id":"1x","status":"ok"}]}`})
	now := time.Now()
	results, err := s.WriteStock(t.Context(), []connectors.Write{{ID: "1", Ref: connectors.Ref{Item: "A"}}, {ID: "2", Ref: connectors.Ref{Item: "B"}}, {ID: "3", Ref: connectors.Ref{Item: "C"}}})
	if err != nil || len(results) != 3 {
		t.Fatalf("%+v, %v", results, err)
	}
	if r := results[0]; r.Outcome != connectors.Stale || r.Quantity == nil || *r.Quantity != 4 {
		t.Errorf("A: %+v", r)
	}
	if r := results[1]; r.Outcome != connectors.Failed || connectors.KindOf(r.Err) != connectors.Uncertain {
		t.Errorf("B, which has no result: %+v", r)
	}
	if r := results[2]; connectors.KindOf(r.Err) != connectors.Throttled || connectors.RetryAt(r.Err).Sub(now).Round(time.Second) != 90*time.Second {
		t.Errorf("C: %+v", r)
	}
	for answer, want := range map[string]connectors.ErrorKind{
		`{"id":"1","status":"ok"},{"id":"1","status":"rejected"}`:         connectors.Uncertain,
		`{"id":"1","status":"done"}`:                                      connectors.Uncertain,
		`{"id":"1"}`:                                                      connectors.Uncertain,
		`{"id":"1","status":"ok","quantity":9999999999999}`:               connectors.Uncertain,
		`{"id":"1","status":"rejected","code":"c","message":"m"}`:         connectors.Rejected,
		`{"id":"1","status":"not_found"}`:                                 connectors.Unmapped,
		`{"id":"1","status":"throttled","retry_after_ms":-5}`:             connectors.Throttled,
		`{"id":"1","status":"throttled","retry_after_ms":90000000000000}`: connectors.Throttled,
	} {
		s := shopOf(t, map[string]string{"/stock/write": `{"results":[` + answer + `]}`})
		results, err := s.WriteStock(t.Context(), []connectors.Write{{ID: "1", Ref: connectors.Ref{Item: "A"}}})
		if err != nil || results[0].Outcome != connectors.Failed || connectors.KindOf(results[0].Err) != want {
			t.Errorf("%s: %+v, %v", answer, results, err)
		}
		if at := connectors.RetryAt(results[0].Err); !at.IsZero() && at.After(time.Now().Add(maxWait+time.Minute)) {
			t.Errorf("%s: RetryAt is %s", answer, at)
		}
	}
}

func TestWritesThatCannotBeMeantStayHere(t *testing.T) {
	var sent atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"batch_size":9,"quantity_means":"available"}`)
			return
		}
		body, _ := io.ReadAll(r.Body)
		sent.Store(string(body))
		_, _ = io.WriteString(w, `{"results":[{"id":"a","status":"ok"}]}`)
	}))
	t.Cleanup(server.Close)
	conn, err := open(connectors.Env{}, connectors.MarketplaceRole, connectors.Settings{settingBaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	item := connectors.Ref{Item: "A"}
	results, err := conn.(*shop).WriteStock(t.Context(), []connectors.Write{
		{ID: "n", Ref: item, Quantity: -1}, {ID: "a", Ref: item, Quantity: 2}, {ID: "a", Ref: item, Quantity: 3}, {Ref: item}, {ID: "i"}, {ID: "h", Ref: item, Quantity: stock.MaxQuantity + 1},
	})
	if err != nil || len(results) != 6 {
		t.Fatalf("%+v, %v", results, err)
	}
	for i, r := range results {
		if want := map[bool]connectors.Outcome{true: connectors.Written, false: connectors.Failed}[i == 1]; r.Outcome != want {
			t.Errorf("write %d: %+v", i, r)
		}
	}
	if got := sent.Load(); got != `{"writes":[{"id":"a","item":"A","quantity":2}]}` {
		t.Errorf("sent %v", got)
	}
}

func TestCapabilitiesAreRememberedAndForgotten(t *testing.T) {
	var asked atomic.Int64
	var answer atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/capabilities" {
			http.Error(w, "{}", http.StatusBadRequest)
			return
		}
		asked.Add(1)
		_, _ = io.WriteString(w, answer.Load().(string))
	}))
	t.Cleanup(server.Close)
	conn, err := open(connectors.Env{}, connectors.MarketplaceRole, connectors.Settings{settingBaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	s := conn.(*shop)
	for _, row := range []struct {
		answer string
		wrong  string
	}{
		{`{"batch_size":0,"quantity_means":"available"}`, "batch_size is 0"},
		{`{"batch_size":1,"quantity_means":""}`, "quantity_means"},
		{`{"batch_size":1,"quantity_means":"gross","read_lag_ms":-1}`, "read_lag_ms"},
		{`{"batch_size":1,"quantity_means":"gross","max_quantity":-1}`, "max_quantity"},
		{`{"batch_size":1,"quantity_means":"gross"}`, ""},
		{`never asked again`, ""},
	} {
		answer.Store(row.answer)
		can, err := s.Capabilities(t.Context())
		switch {
		case row.wrong != "" && (connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), row.wrong)):
			t.Errorf("%s: %v", row.answer, err)
		case row.wrong == "" && (err != nil || can.BatchSize != 1):
			t.Errorf("%s: %+v, %v", row.answer, can, err)
		}
	}
	if n := asked.Load(); n != 5 {
		t.Errorf("asked %d times, not 5", n)
	}
	// A refusal may mean that the marketplace has changed.
	answer.Store(`{"batch_size":2,"quantity_means":"gross"}`)
	if _, err := s.WriteStock(t.Context(), []connectors.Write{{ID: "1", Ref: connectors.Ref{Item: "A"}}}); connectors.KindOf(err) != connectors.Rejected {
		t.Error(err)
	}
	if can, err := s.Capabilities(t.Context()); err != nil || can.BatchSize != 2 {
		t.Errorf("%+v, %v", can, err)
	}
}

func TestClass(t *testing.T) {
	for _, row := range []struct {
		means       string
		conditional bool
		class       connectors.Class
		gross       bool
	}{
		{"available", false, connectors.Overwrite, false},
		{"available", true, connectors.CompareAndSet, false},
		{"on_hand", false, connectors.Overwrite, true},
		{"on_hand", true, connectors.CompareAndSet, true},
		{"gross", false, connectors.DeductsOpenOrders, true},
		{"gross", true, connectors.CompareAndSet, true},
	} {
		class, gross, err := classOf(MarketplaceCapabilities{QuantityMeans: row.means, ConditionalWrite: row.conditional})
		if err != nil || class != row.class || gross != row.gross {
			t.Errorf("%+v: %s, %t, %v", row, class, gross, err)
		}
	}
}

func TestOrdersKeepTheFirstWatermark(t *testing.T) {
	first, err := ordersPage(OrdersPage{Orders: []Order{}, Next: new("2"), Watermark: happenedAt}, ordersCursor{})
	if err != nil || !first.Watermark.Equal(happenedAt) {
		t.Fatalf("%+v, %v", first, err)
	}
	var at ordersCursor
	if err := parseCursor(first.Next, &at); err != nil {
		t.Fatal(err)
	}
	for _, told := range []time.Time{sentAt, {}} {
		if page, err := ordersPage(OrdersPage{Orders: []Order{}, Watermark: told}, at); err != nil || !page.Watermark.Equal(happenedAt) || page.Next != "" {
			t.Errorf("%+v, %v", page, err)
		}
	}
}

func TestLevelsAreOfOnePosition(t *testing.T) {
	began := time.Now().UTC()
	row := []Level{{SKU: "S", Location: "L", Quantity: new(int64(1))}}
	first, err := levelsPage(LevelsPage{Levels: row, Next: new("2"), Position: new(int64(8)), AsOf: &happenedAt, Count: new(2)}, levelsCursor{}, began)
	if err != nil || first.Count != 2 || first.Position != (stock.Position{Sequenced: true, Sequence: 8, SourceAt: happenedAt, SeenAt: began}) {
		t.Fatalf("%+v, %v", first, err)
	}
	var at levelsCursor
	if err := parseCursor(first.Next, &at); err != nil {
		t.Fatal(err)
	}
	second, err := levelsPage(LevelsPage{Levels: row}, at, began.Add(time.Minute))
	if err != nil || second.Position != first.Position || second.Count != 2 || second.Next != "" {
		t.Errorf("%+v, %v", second, err)
	}
	for name, page := range map[string]LevelsPage{
		"another position": {Levels: row, Position: new(int64(9))},
		"another count":    {Levels: row, Count: new(3)},
		"too many rows":    {Levels: []Level{row[0], {SKU: "T", Location: "L", Quantity: new(int64(1))}}},
	} {
		if got, err := levelsPage(page, at, began); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if page, err := levelsPage(LevelsPage{Levels: row}, levelsCursor{}, began); err != nil || page.Count != -1 {
		t.Errorf("without a count: %+v, %v", page, err)
	}
}

func TestMovementsNext(t *testing.T) {
	fact := `{"type":"stock.moved","position":6,"sku":"S","location":"L","delta":1,"reason":"receipt","occurred_at":"2026-11-23T10:00:00Z"}`
	for next, want := range map[string]connectors.Cursor{`null`: "", `""`: "", `6`: "6", `"6"`: "6", `"opaque"`: "6"} {
		w := warehouseOf(t, map[string]string{"/movements": `{"facts":[` + fact + `],"next":` + next + `}`})
		page, err := w.Movements(t.Context(), 5)
		if err != nil || page.Next != want || len(page.Rows) != 1 || page.Rows[0].Position.Sequence != 6 {
			t.Errorf("next %s: %+v, %v", next, page, err)
		}
	}
	w := warehouseOf(t, map[string]string{"/movements": `{"facts":[],"next":"9"}`})
	if page, err := w.Movements(t.Context(), 5); err != nil || page.Next != "9" {
		t.Errorf("a gap: %+v, %v", page, err)
	}
}

func TestOrderAnswers(t *testing.T) {
	w := warehouseOf(t, map[string]string{"/orders": `{"number":""}`, "/orders/a%2Fb/cancel": `{"status":"ok"}`, "/orders/%2E%2E/cancel": `{}`, "/orders/k/amend": `{"status":"rejected"}`})
	if _, err := w.CreateOrder(t.Context(), connectors.NewOrder{Key: "k"}); connectors.KindOf(err) != connectors.Uncertain {
		t.Errorf("no number: %v", err)
	}
	if err := w.CancelOrder(t.Context(), "a/b", nil); err != nil {
		t.Error(err)
	}
	if err := w.CancelOrder(t.Context(), "..", nil); connectors.KindOf(err) != connectors.Uncertain {
		t.Errorf("no status: %v", err)
	}
	if err := w.AmendOrder(t.Context(), connectors.Amendment{Key: "k"}); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("rejected: %v", err)
	}
}

func TestSettings(t *testing.T) {
	const m, r = connectors.MarketplaceRole, connectors.SystemOfRecordRole
	for _, row := range []struct {
		role     connectors.Role
		settings connectors.Settings
		want     string
	}{
		{m, connectors.Settings{}, "neither base_url"},
		{m, connectors.Settings{"base_url": "shop.example"}, "base_url: "},
		{m, connectors.Settings{"base_url": "https://shop.example", "requests_per_second": "fast"}, "requests_per_second"},
		{m, connectors.Settings{"base_url": "https://shop.example", "requests_per_second": "0"}, "requests_per_second"},
		{m, connectors.Settings{"base_url": "https://shop.example", "requests_per_second": "NaN"}, "requests_per_second"},
		{m, connectors.Settings{"base_url": "https://shop.example", "webhook_secrets": "whsec_"}, "webhook_secrets: secret 1 is empty"},
		{m, connectors.Settings{"base_url": "https://shop.example", "levels": "on_hand"}, "levels: "},
		{r, connectors.Settings{"base_url": "https://shop.example", "levels": "gross"}, "levels: "},
		{r, connectors.Settings{"webhook_secrets": vectorSecret}, "levels: without base_url"},
		{"clerk", connectors.Settings{"base_url": "https://shop.example"}, `role "clerk"`},
		{r, connectors.Settings{"webhook_secrets": vectorSecret, "levels": "available"}, ""},
		{m, connectors.Settings{"webhook_secrets": vectorSecret}, ""},
		{r, connectors.Settings{"base_url": "https://shop.example", "requests_per_second": "0.5", "token": "t"}, ""},
	} {
		_, err := Info().Open(connectors.Env{}, row.role, row.settings)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s %v: %v", row.role, row.settings, err)
		}
	}
}

// A system that only sends webhooks cannot be asked.
func TestWebhooksOnly(t *testing.T) {
	conn, err := open(connectors.Env{}, connectors.SystemOfRecordRole, connectors.Settings{"webhook_secrets": vectorSecret, "levels": "available"})
	if err != nil {
		t.Fatal(err)
	}
	w := conn.(*warehouse)
	if can, err := w.Capabilities(t.Context()); err != nil || can != (connectors.RecordCapabilities{Basis: stock.AvailableBasis, ListensOnly: true}) {
		t.Errorf("%+v, %v", can, err)
	}
	if err := w.Check(t.Context()); err != nil {
		t.Error(err)
	}
	_, levelErr := w.Levels(t.Context(), "")
	_, orderErr := w.CreateOrder(t.Context(), connectors.NewOrder{})
	for _, err := range []error{levelErr, orderErr, w.CancelOrder(t.Context(), "k", nil), w.AmendOrder(t.Context(), connectors.Amendment{})} {
		if connectors.KindOf(err) != connectors.Rejected {
			t.Error(err)
		}
	}
	_ = w.Close()
	if err := w.Check(t.Context()); err == nil {
		t.Error("Check works after Close")
	}
	body, now := event("stock.level", `{"sku":"S","location":"L","quantity":1}`), time.Now()
	if _, err := w.VerifyWebhook(connectors.Request{Header: signed(t, vectorSecret, "m", now, body), Body: body, At: now}); err != nil {
		t.Error(err)
	}
}

func TestBasisIsChecked(t *testing.T) {
	for _, row := range []struct {
		told     string
		expected stock.Basis
		ok       bool
	}{{"on_hand", "", true}, {"on_hand", "on_hand", true}, {"on_hand", "available", false}, {"", "", false}, {"gross", "", false}} {
		if can, err := recordCapabilities(RecordCapabilities{Levels: row.told}, row.expected); (err == nil) != row.ok {
			t.Errorf("%+v: %+v, %v", row, can, err)
		}
	}
}

// fuzzPage checks a page decoder: whatever comes, rows are whole or there are none.
func fuzzPage[T any](f *testing.F, seeds []string, decode func(T) ([]error, error)) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var page T
		if json.Unmarshal(body, &page) != nil {
			return
		}
		rows, err := decode(page)
		if err != nil && len(rows) > 0 {
			t.Errorf("%s: %d rows and the error %v", body, len(rows), err)
		}
		for _, err := range rows {
			if err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
	})
}

func inBounds(name string, q stock.Quantity) error {
	if name == "" || q < -stock.MaxQuantity || q > stock.MaxQuantity {
		return fmt.Errorf("row %q has %d", name, q)
	}
	return nil
}

func FuzzListingsPage(f *testing.F) {
	fuzzPage(f, []string{`{"listings":[{"item":"A","quantity":1,"status":"active"}],"next":"x"}`, `{"listings":[{"item":"A","unlimited":true,"status":"removed"}]}`},
		func(p ListingsPage) (rows []error, err error) {
			page, err := listingsPage(p, trail{Token: "x"})
			for _, l := range page.Rows {
				rows = append(rows, inBounds(l.Ref.Item, l.Quantity))
			}
			return rows, err
		})
}

func FuzzReadings(f *testing.F) {
	fuzzPage(f, []string{`{"readings":[{"item":"A","quantity":1,"as_of":"2026-11-23T10:00:00Z"},{"item":"B","quantity":-1}]}`},
		func(a ReadAnswer) (rows []error, err error) {
			readings, err := readingsOf(a, []connectors.Ref{{Item: "A"}, {Item: "B"}, {Item: "A"}}, sentAt)
			for _, r := range readings {
				rows = append(rows, inBounds(r.Ref.Item, r.Quantity))
			}
			return rows, err
		})
}

func FuzzWriteAnswer(f *testing.F) {
	f.Add([]byte(`{"results":[{"id":"a","status":"ok","quantity":1},{"id":"b","status":"throttled","retry_after_ms":1}]}`))
	f.Add([]byte(`{"results":[{"id":"a","status":"stale"},{"id":"a","status":"ok"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var a WriteAnswer
		if json.Unmarshal(body, &a) != nil {
			return
		}
		writes := []connectors.Write{{ID: "a"}, {ID: "b"}}
		results := (&shop{connection: &connection{}}).writeResults(writes, nil, a, sentAt)
		if len(results) != 2 {
			t.Fatalf("%d results", len(results))
		}
		for _, r := range results {
			if (r.Outcome == connectors.Failed) != (r.Err != nil) {
				t.Errorf("%s: %+v", body, r)
			}
		}
	})
}

func FuzzOrdersPage(f *testing.F) {
	fuzzPage(f, []string{`{"orders":[{"order_id":"O","version":1,"status":"open","lines":[{"line_id":"1","item":"I","quantity":1,"cancelled":0,"shipped":0,"restocked":0}]}],"next":"n","watermark":"2026-11-23T10:00:00Z"}`},
		func(p OrdersPage) (rows []error, err error) {
			page, err := ordersPage(p, ordersCursor{})
			for _, o := range page.Orders {
				rows = append(rows, connectors.Fact{Kind: connectors.OrderUpserted, Order: &o}.Validate())
			}
			return rows, err
		})
}

func FuzzLevelsPage(f *testing.F) {
	fuzzPage(f, []string{`{"levels":[{"sku":"S","location":"L","quantity":-1}],"next":"n","position":3,"as_of":"2026-11-23T10:00:00Z","count":1}`},
		func(p LevelsPage) (rows []error, err error) {
			page, err := levelsPage(p, levelsCursor{}, sentAt)
			for _, l := range page.Levels {
				rows = append(rows, inBounds(l.SKU, l.Quantity))
			}
			return rows, err
		})
}

func FuzzItemsPage(f *testing.F) {
	fuzzPage(f, []string{`{"items":[{"sku":"S","gtin":"1"}],"next":null}`},
		func(p ItemsPage) (rows []error, err error) {
			page, err := itemsPage(p, trail{})
			for _, it := range page.Rows {
				rows = append(rows, inBounds(it.SKU, 0))
			}
			return rows, err
		})
}

func FuzzMovementsPage(f *testing.F) {
	fuzzPage(f, []string{`{"facts":[{"type":"stock.moved","position":6,"sku":"S","location":"L","delta":1,"occurred_at":"2026-11-23T10:00:00Z"}],"next":6}`, `{"facts":[],"next":"\u0037"}`},
		func(p movementsAnswer) (rows []error, err error) {
			page, err := movementsPage(p, 5)
			for _, fact := range page.Rows {
				rows = append(rows, fact.Validate())
			}
			return rows, err
		})
}
