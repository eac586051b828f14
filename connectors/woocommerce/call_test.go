package woocommerce

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// losing does what it is asked, and loses the first answers to a method.
type losing struct {
	next   http.RoundTripper
	method string
	times  int
}

// RoundTrip implements http.RoundTripper.
func (l *losing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	if err != nil || req.Method != l.method || l.times == 0 {
		return resp, err
	}
	l.times--
	_ = resp.Body.Close()
	return nil, &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
}

func TestSettingsAreChecked(t *testing.T) {
	if _, err := open(connectors.Env{}, connectors.SystemOfRecordRole, settings()); err == nil {
		t.Error("a shop became a system of record")
	}
	for name, values := range map[string][]string{
		settingBaseURL: {"", "shop.example", "http://shop.example", "ftp://shop.example", "https://u:secret-p@shop.example", "https://shop.example?x=1", "http://127.0.0.1.example"},
		settingKey:     {"", " "}, settingSecret: {""}, settingInQuery: {"maybe"}, settingPace: {"fast", "0", "NaN"}, settingNotes: {"loud"},
		settingWebhookSecrets: {"secret-&amp;", `good secret-"`},
	} {
		for _, value := range values {
			_, err := open(connectors.Env{}, connectors.MarketplaceRole, settings(name, value))
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %q: the error does not name the setting: %v", name, value, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret-") {
				t.Errorf("%s: the error tells a secret: %v", name, err)
			}
		}
	}
	for given, want := range map[string]string{
		"https://shop.example": "https://shop.example/wp-json", " https://shop.example/shop/ ": "https://shop.example/shop/wp-json",
		"https://shop.example/wp-json/wc/v3/": "https://shop.example/wp-json", "http://localhost:8080": "http://localhost:8080/wp-json", "http://[::1]:8080": "http://[::1]:8080/wp-json",
	} {
		if got, err := parseBase(given); err != nil || got != want {
			t.Errorf("%q becomes %q, %v", given, got, err)
		}
	}
}

// The credentials go into the header, and into the address only where the setting says so.
func TestCredentialsInQuery(t *testing.T) {
	for _, inQuery := range []string{"no", "yes"} {
		p := newPretend()
		p.product("A", 1)
		seen := &watching{next: p}
		s := connect(t, seen, settingInQuery, inQuery)
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Listings(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if seen.queries == 0 != (inQuery == "no") || seen.headers == 0 != (inQuery == "yes") {
			t.Errorf("credentials_in_query %s: %d times in the address, %d in the header", inQuery, seen.queries, seen.headers)
		}
	}
}

type watching struct {
	next             http.RoundTripper
	queries, headers int
}

// RoundTrip implements http.RoundTripper.
func (w *watching) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.Contains(req.URL.RawQuery, testSecret) {
		w.queries++
	}
	if req.Header.Get("Authorization") != "" {
		w.headers++
	}
	return w.next.RoundTrip(req)
}

// The account is the shop's own address, also for a user who may not see the system's status.
func TestAccount(t *testing.T) {
	p := newPretend()
	for _, manager := range []bool{true, false} {
		p.manager = manager
		s := connect(t, p)
		account, err := s.Account(t.Context())
		if err != nil || account != "shop.example" {
			t.Errorf("manager %t: the account is %q, %v", manager, account, err)
		}
		if can, err := s.Capabilities(t.Context()); err != nil || can.Account != account || can.Class != connectors.Overwrite {
			t.Errorf("%+v, %v", can, err)
		}
	}
	for name, body := range map[string]string{"none": `{"environment":{}}`, "nothing": `{}`, "no address": `{"environment":{"home_url":"shop"}}`} {
		s := connect(t, &answers{next: p, path: "/system_status", status: 200, kind: "application/json", body: body})
		if account, err := s.Account(t.Context()); err == nil {
			t.Errorf("%s: the account is %q", name, account)
		}
	}
}

// Wrong credentials and a key that may only read are told apart, with what to do about them.
func TestCredentialsAreRefused(t *testing.T) {
	p := newPretend()
	one := p.product("A", 1)
	for name, c := range map[string]struct{ setting, value, says string }{
		"wrong key":    {settingKey, "ck_other", settingInQuery},
		"wrong secret": {settingSecret, "cs_other", "REST API"},
	} {
		err := connect(t, p, c.setting, c.value).Check(t.Context())
		if connectors.KindOf(err) != connectors.Auth || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.readOnly = true
	s := connect(t, p)
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("a key that may only read: %v", err)
	}
	_, err := s.WriteStock(t.Context(), []connectors.Write{{Ref: one.ref(), Quantity: 5, ID: "w"}})
	if connectors.KindOf(err) != connectors.Auth || !strings.Contains(err.Error(), "Read/Write") || p.shown(one.ref()) != 1 {
		t.Errorf("writing with a key that may only read: %v", err)
	}
}

// What the shop, and what stands in front of it, answers to a read and a write.
func TestErrorsOfTheShop(t *testing.T) {
	const page, data = "text/html; charset=UTF-8", "application/json; charset=UTF-8"
	vendor := func(code string, status int) string {
		return `{"code":"` + code + `","message":"m","data":{"status":` + strconv.Itoa(status) + `}}`
	}
	for name, c := range map[string]struct {
		status      int
		kind, body  string
		read, write connectors.ErrorKind
		says        string
	}{
		"revoked key":        {401, data, vendor("woocommerce_rest_authentication_error", 401), connectors.Auth, connectors.Auth, "REST API"},
		"revoked scope":      {401, data, vendor("woocommerce_rest_cannot_view", 401), connectors.Auth, connectors.Auth, "shop manager"},
		"user may not":       {403, data, vendor("woocommerce_rest_cannot_batch", 403), connectors.Auth, connectors.Auth, "shop manager"},
		"another site":       {404, data, vendor("rest_no_route", 404), connectors.Rejected, connectors.Rejected, "WooCommerce is not active"},
		"plain permalinks":   {404, page, "<html>Not found", connectors.Unmapped, connectors.Unmapped, "Permalinks"},
		"firewall":           {403, page, "<html>Attention required", connectors.Retryable, connectors.Retryable, "firewall"},
		"password in front":  {401, page, "<html>401", connectors.Auth, connectors.Auth, "web server"},
		"maintenance":        {503, page, "<html>Briefly unavailable for scheduled maintenance.", connectors.Retryable, connectors.Uncertain, "maintained"},
		"fatal error":        {500, data, vendor("internal_server_error", 500), connectors.Retryable, connectors.Uncertain, "internal_server_error"},
		"lower limit":        {413, data, vendor("woocommerce_rest_request_entity_too_large", 413), connectors.Rejected, connectors.Rejected, "limit"},
		"wrong parameter":    {400, data, vendor("rest_invalid_param", 400), connectors.Rejected, connectors.Rejected, "rest_invalid_param"},
		"a page":             {200, page, "<html>One moment", connectors.Retryable, connectors.Uncertain, "cache"},
		"cut off":            {200, data, `[{"id":1,"type":"sim`, connectors.Retryable, connectors.Uncertain, "JSON"},
		"huge":               {200, data, "[" + strings.Repeat(" ", rest.DefaultMaxBody) + "]", connectors.Retryable, connectors.Uncertain, "larger"},
		"an object":          {200, data, vendor("whatever", 200), connectors.Rejected, connectors.Rejected, ""},
		"a list of nothings": {200, data, `[null]`, connectors.Rejected, connectors.Uncertain, ""},
		"without an id":      {200, data, `[{"type":"simple","manage_stock":true}]`, connectors.Rejected, connectors.Uncertain, ""},
		"without a manager":  {200, data, `[{"id":1,"type":"simple"}]`, connectors.Rejected, connectors.Uncertain, ""},
		"out of order":       {200, data, `[{"id":2},{"id":1}]`, connectors.Rejected, connectors.Uncertain, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPretend()
			one := p.product("A", 1)
			a := &answers{next: p, path: "/products", status: c.status, kind: c.kind, body: c.body}
			s := connect(t, a)
			_, err := s.Listings(t.Context(), "")
			if connectors.KindOf(err) != c.read || !strings.Contains(err.Error(), c.says) {
				t.Errorf("read: %v, not %s with %q", err, c.read, c.says)
			}
			a.path = "/batch"
			results, err := s.WriteStock(t.Context(), []connectors.Write{{Ref: one.ref(), Quantity: 5, ID: "w"}})
			if err == nil {
				err = results[0].Err
			}
			if connectors.KindOf(err) != c.write {
				t.Errorf("write: %v, not %s", err, c.write)
			}
			if p.shown(one.ref()) != 1 {
				t.Error("something was written")
			}
		})
	}
}

// A single product that a page for people says is not there is not taken for unknown.
func TestOnlyTheShopSaysUnknown(t *testing.T) {
	p := newPretend()
	one := p.variation(p.variable("V"), "S", 1) // looked up by itself
	for kind, body := range map[string]string{"text/html": "<html>Not found", "application/json": `{"code":"rest_no_route","message":"m","data":{"status":404}}`} {
		s := connect(t, &answers{next: p, path: "/products/", status: 404, kind: kind, body: body})
		if readings, err := s.ReadStock(t.Context(), []connectors.Ref{one.ref()}); err == nil {
			t.Errorf("%s: %d readings", kind, len(readings))
		}
	}
}

func FuzzProduct(f *testing.F) {
	f.Add([]byte(`[{"id":1,"type":"simple","manage_stock":true,"stock_quantity":5,"stock_status":"instock","date_modified_gmt":"2026-11-24T10:00:00"}]`))
	f.Add([]byte(`[{"id":1,"type":"variation","parent_id":2,"manage_stock":"parent","stock_quantity":null,"attributes":[{"option":"S"}]}]`))
	f.Add([]byte(`[{"id":1,"type":"simple","manage_stock":false,"stock_quantity":1e300}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var rows []product
		if json.Unmarshal(text, &rows) != nil {
			return
		}
		for i := range rows {
			p := &rows[i]
			if p.valid() != nil {
				continue
			}
			quantity, unlimited, err := p.stands()
			if err == nil && (quantity > stock.MaxQuantity || quantity < -stock.MaxQuantity || unlimited && quantity != 0) {
				t.Errorf("%+v stands at %d, %t", p, quantity, unlimited)
			}
			if err == nil && p.ManageStock != managedNot && p.StockQuantity == "" {
				t.Errorf("a quantity that is not told became %d", quantity)
			}
			_ = p.item()
		}
	})
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"update":[{"id":7,"manage_stock":true,"stock_quantity":5}]}`))
	f.Add([]byte(`{"update":[{"id":7,"error":{"code":"x","message":"m","data":{"status":400}}}]}`))
	f.Add([]byte(`{"code":"x","data":[]}`))
	p := newPretend()
	p.nextID = 6
	one := p.product("A", 1)
	a := &answers{next: p, path: "/batch", status: 200, kind: "application/json"}
	s := connect(f, a)
	f.Fuzz(func(t *testing.T, text []byte) {
		a.body = string(text)
		results, err := s.WriteStock(t.Context(), []connectors.Write{{Ref: one.ref(), Quantity: 5, ID: "w"}})
		if err == nil && len(results) != 1 {
			t.Fatalf("%d results", len(results))
		}
		if err == nil && (results[0].Outcome == connectors.Written) != (results[0].Err == nil) {
			t.Errorf("%+v", results[0])
		}
		if err == nil && results[0].Outcome == connectors.Written && results[0].Quantity == nil {
			t.Error("written, and no quantity is told")
		}
	})
}

func FuzzOrder(f *testing.F) {
	f.Add([]byte(wireOrder), []byte(wireRefund))
	f.Add([]byte(strings.ReplaceAll(wireOrder, "processing", "cancelled")), []byte(wireRefund))
	f.Add([]byte(strings.ReplaceAll(wireOrder, `"date_completed_gmt":null`, `"date_completed_gmt":"2026-11-24T10:00:05"`)), []byte(`{}`))
	f.Fuzz(func(t *testing.T, o, r []byte) {
		got, err := understand(string(o), string(r))
		if err != nil {
			return
		}
		for _, l := range got.Lines {
			if l.Cancelled+l.Shipped > l.Quantity || l.Restocked > l.Quantity || l.Cancelled < 0 || l.Shipped < 0 {
				t.Errorf("line %+v", l)
			}
		}
		if got.Version < 0 {
			t.Errorf("version %d", got.Version)
		}
	})
}

func FuzzCursors(f *testing.F) {
	f.Add("120:77")
	f.Add("0:1795477744:1795477745:25:9:1795477744001")
	f.Add("-1:0:0")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := parseListCursor(connectors.Cursor(text)); err == nil && text != "" {
			if again, err := parseListCursor(c.encode()); err != nil || again != c {
				t.Errorf("%q is read as %+v, then as %+v, %v", text, c, again, err)
			}
		}
		if c, err := parseOrderCursor(connectors.Cursor(text)); err == nil {
			if again, err := parseOrderCursor(c.encode()); err != nil || again != c {
				t.Errorf("%q is read as %+v, then as %+v, %v", text, c, again, err)
			}
			_ = c.query()
		}
	})
}
