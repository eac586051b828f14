package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

const (
	read    = stocksync.ScopeRead
	operate = stocksync.ScopeOperate
	admin   = stocksync.ScopeAdmin
)

type list[T any] struct {
	Data []T     `json:"data"`
	Next *string `json:"next"`
}

// collect follows next from the first page to the end.
func collect[T any](t *testing.T, s *site, path string) (rows []T, pages int) {
	t.Helper()
	cursor := ""
	for pages = 1; ; pages++ {
		p := into[list[T]](t, s.call(t, read, http.MethodGet, path+"&cursor="+cursor, ""))
		rows = append(rows, p.Data...)
		if p.Next == nil {
			return rows, pages
		}
		if *p.Next != url.QueryEscape(*p.Next) {
			t.Fatalf("cursor %q is not URL-safe", *p.Next)
		}
		if pages > 100 {
			t.Fatal("the list does not end")
		}
		cursor = *p.Next
	}
}

func TestLists(t *testing.T) {
	engine := newEngine(t)
	for i := range 250 {
		engine.items = append(engine.items, stocksync.ItemRow{SKU: stock.SKU(fmt.Sprintf("Sku/%03d ü?", i))})
		engine.events = append(engine.events, stocksync.EventView{ID: fmt.Sprint(i + 1), State: stocksync.EventParked, Body: "secret body"})
		engine.plans = append(engine.plans, stocksync.PlanView{ID: fmt.Sprint(i + 1), State: stocksync.PlanHeld})
		engine.listings = append(engine.listings, stocksync.ListingView{Connection: "shop", Item: fmt.Sprintf("%03d", i/2), Place: fmt.Sprint(i % 2), State: stocksync.InSync})
	}
	s := serve(t, web.Config{}, engine)

	if rows, pages := collect[stocksync.ItemRow](t, s, "/items?limit=100"); len(rows) != 250 || pages != 3 || rows[249].SKU != "Sku/249 ü?" {
		t.Errorf("items: %d rows on %d pages", len(rows), pages)
	}
	if rows, _ := collect[stocksync.ItemRow](t, s, "/items?search=24"); len(rows) != 13 {
		t.Errorf("search: %d rows, want 13", len(rows))
	}
	if p := into[list[stocksync.ItemRow]](t, s.call(t, read, http.MethodGet, "/items", "")); len(p.Data) != 100 {
		t.Errorf("the default page has %d rows, want 100", len(p.Data))
	}
	if rows, _ := collect[stocksync.EventView](t, s, "/events?state=parked&limit=60"); len(rows) != 250 || rows[0].Body != "" {
		t.Errorf("events: %d rows, body %q", len(rows), rows[0].Body)
	}
	if rows, _ := collect[stocksync.PlanView](t, s, "/plans?state=held&limit=125"); len(rows) != 250 || rows[0].ID != "250" || rows[249].ID != "1" {
		t.Errorf("plans: %d rows from %s", len(rows), rows[0].ID)
	}
	if rows, _ := collect[stocksync.ListingView](t, s, "/listings?connection=shop&state=in_sync&limit=7"); len(rows) != 250 {
		t.Errorf("listings: %d rows", len(rows))
	}
	if r := s.call(t, read, http.MethodGet, "/listings?connection=erp", ""); strings.TrimSpace(r.body) != `{"data":[],"next":null}` {
		t.Errorf("an empty list is %s", r.body)
	}
}

func TestBadQuestions(t *testing.T) {
	engine := newEngine(t)
	engine.items = []stocksync.ItemRow{{SKU: "a"}, {SKU: "b"}}
	s := serve(t, web.Config{}, engine)
	itemsCursor := *into[list[stocksync.ItemRow]](t, s.call(t, read, http.MethodGet, "/items?limit=1", "")).Next
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/items?cursor=nonsense", "", 422, "cursor"},
		{"GET", "/items?cursor=" + itemsCursor + "A", "", 422, "cursor"},
		{"GET", "/events?cursor=" + itemsCursor, "", 422, "cursor"},
		{"GET", "/listings?cursor=" + itemsCursor, "", 422, "cursor"},
		{"GET", "/items?cursor=" + strings.Repeat("A", 9000), "", 422, "cursor"},
		{"GET", "/items?limit=0", "", 422, ""},
		{"GET", "/items?limit=1001", "", 422, ""},
		{"GET", "/items?limit=many", "", 422, ""},
		{"GET", "/items?limit=1&limit=2", "", 400, "more than once"},
		{"GET", "/items?serach=x", "", 422, ""},
		{"GET", "/items?search=%zz", "", 400, "well-formed"},
		{"GET", "/items?search=%00", "", 400, "well-formed"},
		{"GET", "/items?search=%ff", "", 400, "well-formed"},
		{"GET", "/items/a%00b", "", 400, "well-formed"},
		{"GET", "/items/%ff%2f", "", 400, "well-formed"},
		{"GET", "/items/unknown", "", 404, "search"},
		{"GET", "/listings?state=lost", "", 422, ""},
		{"GET", "/listings/shop/unknown", "", 404, "place"},
		{"GET", "/explain/shop/x?at=yesterday", "", 422, ""},
		{"GET", "/events/0", "", 422, ""},
		{"GET", "/events/-1", "", 422, ""},
		{"GET", "/events/abc", "", 422, ""},
		{"GET", "/events/99999999999999999999", "", 422, ""},
		{"GET", "/events/99", "", 404, "events"},
		{"GET", "/plans/99", "", 404, "plans"},
		{"POST", "/plans/99/approve", "", 404, "plans"},
		{"POST", "/plans/99/delete", "", 404, "openapi"},
		{"POST", "/connections/nobody/pause", "", 404, "connections"},
		{"GET", "/mappings/suggestions", "", 422, ""},
		{"GET", "/mappings/suggestions?connection=nobody", "", 404, "connections"},
		{"POST", "/reconcile", `{"dry_run":"yes"}`, 422, ""},
		{"POST", "/reconcile", `{"dry-run":true}`, 422, ""},
		{"POST", "/reconcile", `{"dry_run":true,"dry_run":false}`, 400, ""},
		{"POST", "/reconcile", `{`, 400, ""},
		{"POST", "/reconcile?dry_run=true", "", 422, ""},
		{"POST", "/tokens", "", 400, ""},
		{"POST", "/tokens", `{"name":"x","scope":"canary"}`, 422, ""},
		{"POST", "/tokens", `{"name":"x","scope":"read","secret":"canary"}`, 422, ""},
		{"GET", "/events?state=canary", "", 422, ""},
		{"POST", "/tokens", `{"name":"","scope":"read"}`, 422, ""},
		{"POST", "/tokens", `{"name":"a\u0000b","scope":"read"}`, 422, "control"},
		{"POST", "/tokens", `{"name":"x","scope":"read","ttl":"-1h"}`, 422, "ttl"},
		{"DELETE", "/tokens/99", "", 404, "tokens"},
		{"PUT", "/items/a", "", 405, "Allow"},
		{"GET", "/nothing", "", 404, "openapi"},
		{"GET", "", "", 404, "openapi"},
	} {
		r := s.call(t, admin, c.method, c.path, c.body)
		if detail := r.problem(t, c.status); !strings.Contains(detail, c.says) {
			t.Errorf("%s %s: detail %q does not say %q", c.method, c.path, detail, c.says)
		}
		if strings.Contains(r.body, "canary") {
			t.Errorf("%s %s: what was sent is echoed: %s", c.method, c.path, r.body)
		}
	}
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("bad questions are logged as failures:\n%s", s.log)
	}
}

func TestAnyItemNameInAPath(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{}, engine)
	for _, item := range []string{"a", "a/b", "/", "a%2Fb", "100%", "a b", "ü/é", "货号 1", "?x=1", "a+b", "..", "a;b", "a\nb", `"'<>`} {
		engine.listings = []stocksync.ListingView{{Connection: "shop", Item: item, Place: "Depot 1/2", State: stocksync.Pending}}
		got := into[stocksync.ListingView](t, s.call(t, read, http.MethodGet, "/listings/shop/"+url.PathEscape(item)+"?place=Depot%201%2F2", ""))
		if got.Item != item {
			t.Errorf("asked for %q, got %q", item, got.Item)
		}
		order := into[stocksync.OrderView](t, s.call(t, read, http.MethodGet, "/orders/shop/"+url.PathEscape(item), ""))
		if order.OrderID != item {
			t.Errorf("asked for order %q, got %q", item, order.OrderID)
		}
		engine.items = []stocksync.ItemRow{{SKU: stock.SKU(item)}}
		if got := into[stocksync.ItemView](t, s.call(t, read, http.MethodGet, "/items/"+url.PathEscape(item), "")); string(got.SKU) != item {
			t.Errorf("asked for SKU %q, got %q", item, got.SKU)
		}
	}
	into[stocksync.Explanation](t, s.call(t, read, http.MethodGet, "/explain/shop/a%2Fb?place=p&at=2026-01-02T03:04:05%2B01:00", ""))
	if last := engine.asked[len(engine.asked)-1]; last != (stocksync.ListingKey{Connection: "shop", Ref: connectors.Ref{Item: "a/b", Place: "p"}}) {
		t.Errorf("explain asked for %v", last)
	}
	if want := time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC); !engine.at.Equal(want) {
		t.Errorf("explain at %v, want %v", engine.at, want)
	}
	into[stocksync.Explanation](t, s.call(t, read, http.MethodGet, "/explain/shop/a", ""))
	if !engine.at.IsZero() {
		t.Errorf("explain without at asked for %v, want the zero time", engine.at)
	}
}

func TestEventBodyNeedsOperate(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{}, engine)
	post(t, s, "shop", "1", event)
	if v := into[stocksync.EventView](t, s.call(t, read, http.MethodGet, "/events/1", "")); v.Body != "" || v.Type != "stock.changed" {
		t.Errorf("a reader sees %+v", v)
	}
	if v := into[stocksync.EventView](t, s.call(t, operate, http.MethodGet, "/events/1", "")); v.Body != event {
		t.Errorf("an operator sees %+v", v)
	}
	if v := into[stocksync.EventView](t, s.call(t, operate, http.MethodPost, "/events/1/replay", "")); v.State != stocksync.EventPending {
		t.Errorf("after a replay the event is %+v", v)
	}
}

func TestWork(t *testing.T) {
	engine := newEngine(t)
	engine.plans = []stocksync.PlanView{{ID: "1", State: stocksync.PlanHeld}, {ID: "2", State: stocksync.PlanHeld}}
	s := serve(t, web.Config{}, engine)
	if p := into[stocksync.PlanView](t, s.call(t, operate, http.MethodPost, "/plans/1/approve", "")); p.State != stocksync.PlanApproved || p.DecidedBy != "the operate token" {
		t.Errorf("approved: %+v", p)
	}
	if p := into[stocksync.PlanView](t, s.call(t, operate, http.MethodPost, "/plans/2/reject", "")); p.State != stocksync.PlanRejected {
		t.Errorf("rejected: %+v", p)
	}
	if detail := s.call(t, operate, http.MethodPost, "/plans/2/approve", "").problem(t, 422); !strings.Contains(detail, "rejected already") {
		t.Errorf("deciding twice: %s", detail)
	}
	if p := into[stocksync.PlanView](t, s.call(t, read, http.MethodGet, "/plans/2", "")); p.ID != "2" {
		t.Errorf("plan: %+v", p)
	}

	for _, c := range []struct {
		body   string
		dryRun bool
	}{{"", false}, {"{}", false}, {`{"dry_run":true}`, true}} {
		r := s.call(t, operate, http.MethodPost, "/reconcile", c.body)
		if r.status != http.StatusAccepted || r.header.Get("Location") != "/api/v1/reconcile/7" || engine.dryRun != c.dryRun {
			t.Errorf("reconcile %q: %d %q, dry run %v", c.body, r.status, r.header.Get("Location"), engine.dryRun)
		}
	}
	if run := into[stocksync.RunView](t, s.call(t, read, http.MethodGet, "/reconcile/7", "")); run.State != stocksync.RunDone {
		t.Errorf("run: %+v", run)
	}

	c := into[stocksync.ConnectionView](t, s.call(t, operate, http.MethodPost, "/connections/shop/pause", ""))
	if c.Paused != "paused by the operate token" {
		t.Errorf("paused: %+v", c)
	}
	if c := into[stocksync.ConnectionView](t, s.call(t, operate, http.MethodPost, "/connections/shop/resume", "")); c.Paused != "" {
		t.Errorf("resumed: %+v", c)
	}
	for _, path := range []string{"/connections/shop/pause?raises=true", "/connections/shop/resume?raises=true", "/raises/pause", "/raises/resume"} {
		s.call(t, operate, http.MethodPost, path, "")
		c := into[list[stocksync.ConnectionView]](t, s.call(t, operate, http.MethodGet, "/connections", "")).Data
		for _, one := range c {
			if one.Name == "shop" && (one.RaisesPaused == "raises are paused by the operate token") != strings.Contains(path, "pause") {
				t.Errorf("after %s: %+v", path, one)
			}
		}
	}
	if n := len(into[list[stocksync.IncidentView]](t, s.call(t, read, http.MethodGet, "/incidents", "")).Data); n != 1 {
		t.Errorf("%d incidents", n)
	}
	if n := len(into[list[stocksync.IncidentView]](t, s.call(t, read, http.MethodGet, "/incidents?open=true", "")).Data); n != 0 {
		t.Errorf("%d open incidents", n)
	}
}

func TestMappings(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{ImportBytes: 2000}, engine)
	send := func(body, contentType string) reply {
		return s.send(t, http.MethodPost, "/api/v1/mappings/import", strings.NewReader(body),
			"Authorization", "Bearer ts_admin", "Content-Type", contentType)
	}
	const good = "connection,item,place,sku,units\nshop,a,,A,1\n"
	if v := into[stocksync.ImportView](t, send(good, "text/csv; charset=utf-8")); v.Listings != 2 || engine.imported != good {
		t.Errorf("imported %+v from %q", v, engine.imported)
	}
	bad := send(good+"shop,b,,B,wrong\n", "text/csv")
	bad.problem(t, http.StatusUnprocessableEntity)
	var rows stocksync.ImportView
	if err := json.Unmarshal([]byte(bad.body), &rows); err != nil || len(rows.Errors) != 1 || rows.Errors[0].Line != 2 {
		t.Errorf("%v: %s", err, bad.body)
	}
	send(good, "application/x-www-form-urlencoded").problem(t, http.StatusUnsupportedMediaType)
	send(strings.Repeat("x", 2001), "text/csv").problem(t, http.StatusRequestEntityTooLarge)
	if r := send(strings.Repeat("x", 2000), "text/csv"); r.status != http.StatusOK {
		t.Errorf("a file of exactly the limit: %d %s", r.status, r.body)
	}

	r := s.call(t, read, http.MethodGet, "/mappings/export", "")
	if r.status != http.StatusOK || !strings.HasPrefix(r.header.Get("Content-Type"), "text/csv") || strings.Count(r.body, "\n") != 1000 {
		t.Errorf("export: %d %s, %d lines", r.status, r.header.Get("Content-Type"), strings.Count(r.body, "\n"))
	}
	if n := len(into[list[stocksync.SuggestionView]](t, s.call(t, read, http.MethodGet, "/mappings/suggestions?connection=shop", "")).Data); n != 1 {
		t.Errorf("%d suggestions", n)
	}
}

func TestExportThatFailsIsNotAFile(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{}, engine)
	engine.fail = stocksync.ErrUnavailable
	s.call(t, read, http.MethodGet, "/mappings/export", "").problem(t, http.StatusServiceUnavailable)

	engine.fail, engine.panics = nil, true // half-way
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/mappings/export", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer ts_read")
	resp, err := s.client.Do(r)
	if err == nil {
		buf := make([]byte, 1<<20)
		for err == nil {
			_, err = resp.Body.Read(buf)
		}
		resp.Body.Close()
		if err.Error() == "EOF" {
			t.Error("half an export ends like a whole one")
		}
	}
}

func TestTokens(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{}, engine)
	r := s.call(t, admin, http.MethodPost, "/tokens", `{"name":"till 3","scope":"read","ttl":"1h"}`)
	made := into[web.NewToken](t, r)
	if r.status != http.StatusCreated || made.Secret == "" || made.Token.ExpiresAt == nil || r.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %+v", r.status, made)
	}
	status := func() int {
		return s.send(t, http.MethodGet, "/api/v1/status", nil, "Authorization", "Bearer "+made.Secret).status
	}
	if got := status(); got != http.StatusOK {
		t.Errorf("the new token: %d", got)
	}
	if body := s.call(t, admin, http.MethodGet, "/tokens", "").body; strings.Contains(body, made.Secret) || !strings.Contains(body, "till 3") {
		t.Errorf("the list: %s", body)
	}
	if r := s.call(t, admin, http.MethodDelete, "/tokens/"+made.Token.ID, ""); r.status != http.StatusNoContent {
		t.Errorf("revoke: %d %s", r.status, r.body)
	}
	if got := status(); got != http.StatusUnauthorized {
		t.Errorf("right after its revocation the token is answered %d", got)
	}
	if strings.Contains(s.log.String(), made.Secret) {
		t.Error("the secret is in the log")
	}
}

func TestEngineTrouble(t *testing.T) {
	engine := newEngine(t)
	engine.items = []stocksync.ItemRow{{SKU: "a"}}
	s := serve(t, web.Config{}, engine)
	engine.fail = fmt.Errorf("items: %w", stocksync.ErrUnavailable)
	r := s.call(t, read, http.MethodGet, "/items/a", "")
	r.problem(t, http.StatusServiceUnavailable)
	if r.header.Get("Retry-After") != "5" {
		t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
	}

	engine.fail = fmt.Errorf("dial postgres://u:hunter2@db")
	detail := s.call(t, read, http.MethodGet, "/items/a", "").problem(t, http.StatusInternalServerError)
	if strings.Contains(detail, "hunter2") || strings.Count(s.log.String(), "hunter2") != 1 {
		t.Errorf("detail %q; the log:\n%s", detail, s.log)
	}
	_, id, _ := strings.Cut(detail, "error_id ")
	if id == "" || !strings.Contains(s.log.String(), id) {
		t.Errorf("the log does not have %q", id)
	}

	engine.fail, engine.panics = nil, true
	r = s.call(t, read, http.MethodGet, "/items/a", "")
	r.problem(t, http.StatusInternalServerError)
	if strings.Contains(r.body, "internals") || strings.Count(s.log.String(), "the internals") != 1 {
		t.Errorf("answer %s; the log has the panic %d times", r.body, strings.Count(s.log.String(), "the internals"))
	}
}

// A report comes in the form that is asked for, by the query or by the header, and its lines and the reports page.
func TestReconciliationReports(t *testing.T) {
	s := serve(t, web.Config{}, newEngine(t))
	for _, c := range []struct{ query, accept, contentType, body string }{
		{"", "", "application/json", ""},
		{"", "application/json", "application/json", ""},
		{"", "text/csv", "text/csv; charset=utf-8", "csv of 7\n"},
		{"", "text/plain;q=0.9", "text/plain; charset=utf-8", "text of 7\n"},
		{"?format=csv", "text/plain", "text/csv; charset=utf-8", "csv of 7\n"},
		{"?format=text", "", "text/plain; charset=utf-8", "text of 7\n"},
		{"?format=json", "text/csv", "application/json", ""},
	} {
		r := s.send(t, http.MethodGet, "/api/v1/reconcile/7"+c.query, nil, "Authorization", "Bearer ts_read", "Accept", c.accept)
		if r.status != http.StatusOK || r.header.Get("Content-Type") != c.contentType || c.body != "" && r.body != c.body {
			t.Errorf("%q %q: %d %q %q", c.query, c.accept, r.status, r.header.Get("Content-Type"), r.body)
		}
	}
	lines := into[list[stocksync.DriftView]](t, s.call(t, read, http.MethodGet, "/reconcile/7/drifts?limit=2", ""))
	if len(lines.Data) != 2 || lines.Next == nil {
		t.Fatalf("the first page of lines: %+v", lines)
	}
	if rest := into[list[stocksync.DriftView]](t, s.call(t, read, http.MethodGet, "/reconcile/7/drifts?limit=2&cursor="+*lines.Next, "")); len(rest.Data) != 1 || rest.Data[0].Item != "c" {
		t.Errorf("the second page of lines: %+v", rest)
	}
	runs := into[list[stocksync.RunView]](t, s.call(t, read, http.MethodGet, "/reconcile?limit=3", ""))
	if len(runs.Data) != 3 || runs.Next == nil {
		t.Fatalf("the first page of reconciliations: %+v", runs)
	}
	if rest := into[list[stocksync.RunView]](t, s.call(t, read, http.MethodGet, "/reconcile?limit=3&cursor="+*runs.Next, "")); len(rest.Data) != 3 || rest.Data[0].ID != "4" {
		t.Errorf("the second page of reconciliations: %+v", rest)
	}
}
