package odoo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/stock"
)

// spoil stands between a connection and a pretend Odoo, and changes the answers to one method.
type spoil struct {
	at   string
	body func(was string) string
	hit  atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (s *spoil) RoundTrip(req *http.Request) (*http.Response, error) {
	sent, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(sent))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || !strings.HasSuffix(req.URL.Path, s.at) && !strings.Contains(string(sent), `"`+strings.ReplaceAll(s.at, "/", `","`)+`"`) {
		return resp, err
	}
	was, _ := io.ReadAll(resp.Body)
	text := s.body(string(was))
	if text != string(was) {
		s.hit.Store(true)
	}
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	resp.Header.Del("Content-Length")
	return resp, nil
}

func is(text string) func(string) string { return func(string) string { return text } }

func swap(from, to string) func(string) string {
	return func(was string) string { return strings.ReplaceAll(was, from, to) }
}

// Bad input is refused with its reason and with what to do, and is never a zero.
func TestBadInput(t *testing.T) {
	t.Parallel()
	levels := func(ctx context.Context, r *record) error { _, err := r.Levels(ctx, ""); return err }
	create := func(ctx context.Context, r *record) error { _, err := r.CreateOrder(ctx, order("k", 1, 1)); return err }
	standing := func(ctx context.Context, r *record) error {
		if _, err := r.CreateOrder(ctx, order("k", 4, 1)); err != nil {
			return err
		}
		_, err := r.OrderStanding(ctx, "k")
		return err
	}
	cancel := func(ctx context.Context, r *record) error {
		if _, err := r.CreateOrder(ctx, order("k", 4, 1)); err != nil {
			return err
		}
		return r.CancelOrder(ctx, "k", nil)
	}
	check := func(ctx context.Context, r *record) error { return r.Check(ctx) }
	tests := []struct {
		name     string
		major    int
		settings []string
		prepare  func(p *pretend)
		spoil    *spoil
		do       func(ctx context.Context, r *record) error
		kind     connectors.ErrorKind
		says     string
	}{
		{name: "wrong key, JSON-2", major: 19, settings: []string{settingKey, "wrong"}, do: check, kind: connectors.Auth, says: "Preferences → Account security"},
		{name: "wrong key, JSON-RPC", major: 18, settings: []string{settingKey, "wrong"}, do: check, kind: connectors.Auth, says: "Preferences → Account security"},
		{name: "wrong database, JSON-RPC", major: 18, settings: []string{settingDatabase, "other"}, do: check, kind: connectors.Retryable, says: "correct the setting database"},
		{name: "wrong database, JSON-2", major: 19, settings: []string{settingDatabase, "other"}, do: check, kind: connectors.Unmapped, says: "no database"},
		{name: "right taken away, JSON-2", major: 19, prepare: func(p *pretend) { p.forbidden = "stock.quant" }, do: levels, kind: connectors.Auth, says: "Inventory: User"},
		{name: "right taken away, JSON-RPC", major: 17, prepare: func(p *pretend) { p.forbidden = "sale.order" }, do: create, kind: connectors.Auth, says: "Sales: User: All Documents"},
		{name: "old services off, with json2", major: 22, prepare: func(p *pretend) { p.oldServices = false }, do: check},
		{name: "old services off, with jsonrpc", major: 22, settings: []string{settingAPI, apiJSONRPC}, prepare: func(p *pretend) { p.oldServices = false }, do: check, kind: connectors.Unmapped, says: "set api to json2"},
		{name: "json2 where there is none", major: 18, settings: []string{settingAPI, apiJSON2}, do: check, kind: connectors.Unmapped, says: "set api to jsonrpc"},
		{name: "too old", major: 15, do: check, kind: connectors.Rejected, says: "Odoo 15"},
		{name: "no login where JSON-RPC needs one", major: 18, settings: []string{settingLogin, ""}, do: check, kind: connectors.Rejected, says: "database and login"},
		{name: "unknown customer", major: 19, settings: []string{settingPartner, "34"}, do: check, kind: connectors.Rejected, says: "archived: correct customer_id"},
		{name: "unknown location", major: 19, settings: []string{settingLocations, "WH/Stok"}, do: check, kind: connectors.Rejected, says: `no location "WH/Stok"`},
		{name: "a location within another", major: 19, settings: []string{settingLocations, "WH/Stock, WH/Stock/Shelf A"}, do: check, kind: connectors.Rejected, says: "counted twice"},
		{name: "a location that holds no stock", major: 19, settings: []string{settingLocations, "Partners/Customers"}, do: check, kind: connectors.Rejected, says: "only internal"},

		{name: "HTML instead of JSON", major: 19, spoil: &spoil{at: "stock.quant/formatted_read_group", body: is("<html>Database selector</html>")}, do: levels, kind: connectors.Retryable, says: "not whole JSON"},
		{name: "cut off", major: 18, spoil: &spoil{at: "stock.quant/read_group", body: func(was string) string { return was[:len(was)/2] }}, do: levels, kind: connectors.Retryable, says: "not whole JSON"},
		{name: "huge", major: 19, spoil: &spoil{at: "product.product/search_read", body: func(string) string { return `[{"id":1,"default_code":"` + strings.Repeat("A", 17<<20) + `"}]` }}, do: levels, kind: connectors.Retryable, says: "larger than"},
		{name: "neither result nor error", major: 18, spoil: &spoil{at: "stock.warehouse/search_read", body: is(`{}`)}, do: levels, kind: connectors.Retryable, says: "neither a result nor an error"},
		{name: "an empty result of JSON-RPC", major: 18, spoil: &spoil{at: "stock.warehouse/search_read", body: is(`{"jsonrpc":"2.0","id":1}`)}, do: levels, kind: connectors.Retryable, says: "neither a result nor an error"},
		{name: "another shape", major: 18, spoil: &spoil{at: "stock.quant/read_group", body: is(`{"jsonrpc":"2.0","id":1,"result":{"a":1}}`)}, do: levels, kind: connectors.Rejected, says: "cannot be taken"},
		{name: "no warehouse", major: 19, spoil: &spoil{at: "stock.warehouse/search_read", body: is(`[]`)}, do: levels, kind: connectors.Rejected, says: "sees no warehouse"},
		{name: "the same page again", major: 19, spoil: &spoil{at: "product.product/search_read", body: is(`[{"id":5,"default_code":"A"},{"id":5,"default_code":"A"}]`)}, do: levels, kind: connectors.Rejected, says: "out of order"},
		{name: "a fraction", major: 19, prepare: func(p *pretend) { p.put(shirt, stockWH, 0.25) }, do: levels, kind: connectors.Rejected, says: "product SHIRT at Main warehouse: quantity is 42.25 Units"},
		{name: "a fraction in a unit that is not excluded", major: 18, settings: []string{settingExcludeUnits, ""}, prepare: func(p *pretend) { p.put(tea, stockWH, 1.5) }, do: levels, kind: connectors.Rejected, says: "1.5 kg"},
		{name: "no quantity", major: 19, spoil: &spoil{at: "stock.quant/formatted_read_group", body: swap(`"quantity:sum"`, `"quantity:count"`)}, do: levels, kind: connectors.Rejected, says: "lack the quantity"},
		{name: "no quantity of a product", major: 19, settings: []string{settingNumber, productFree}, spoil: &spoil{at: "product.product/read", body: is(`[]`)}, do: levels, kind: connectors.Rejected, says: "free_qty is missing"},
		{name: "a product that was not asked for", major: 19, spoil: &spoil{at: "stock.quant/formatted_read_group", body: swap("[102,", "[777,")}, do: levels, kind: connectors.Rejected, says: "not asked for"},
		{name: "too much", major: 19, prepare: func(p *pretend) { p.put(shirt, stockWH, 1e15) }, do: levels, kind: connectors.Rejected, says: "at most"},
		{name: "less than nothing", major: 19, prepare: func(p *pretend) { p.put(shirt, stockWH, -45) }, do: levels},

		{name: "unknown state of an order", major: 19, spoil: &spoil{at: "sale.order/search_read", body: swap(`"state":"draft"`, `"state":"waiting"`)}, do: create, kind: connectors.Rejected, says: `"waiting"`},
		{name: "an order of another key", major: 19, spoil: &spoil{at: "sale.order/search_read", body: swap(`"client_order_ref":"k"`, `"client_order_ref":"kk"`)}, do: create, kind: connectors.Rejected, says: `"kk"`},
		{name: "an order that was made and is not there", major: 19, spoil: &spoil{at: "sale.order/search_read", body: is(`[]`)}, do: create, kind: connectors.Uncertain, says: "All Documents"},
		{name: "an order that waits for approval", major: 19, prepare: func(p *pretend) { p.confirmKeeps = true }, do: create, kind: connectors.Rejected, says: "approval"},
		{name: "two products with one reference", major: 19, prepare: func(p *pretend) { p.tables["product.product"][1]["default_code"] = "SHIRT" }, do: create, kind: connectors.Rejected, says: "both have"},
		{name: "an archived product", major: 16, prepare: func(p *pretend) { p.tables["product.product"][0]["active"] = false }, do: create, kind: connectors.Unmapped, says: "archived"},
		{name: "Odoo refuses", major: 18, spoil: &spoil{at: "sale.order/create", body: is(`{"jsonrpc":"2.0","id":1,"error":{"code":200,"message":"Odoo Server Error","data":{"name":"odoo.exceptions.UserError","message":"The credit limit is exceeded."}}}`)}, do: create, kind: connectors.Rejected, says: "credit limit"},
		{name: "the database gave up", major: 18, spoil: &spoil{at: "sale.order/create", body: is(`{"jsonrpc":"2.0","id":1,"error":{"code":200,"message":"Odoo Server Error","data":{"name":"psycopg2.errors.SerializationFailure","message":"could not serialize"}}}`)}, do: create, kind: connectors.Retryable},
		{name: "the database went away", major: 18, spoil: &spoil{at: "sale.order/create", body: is(`{"jsonrpc":"2.0","id":1,"error":{"code":200,"message":"Odoo Server Error","data":{"name":"psycopg2.InterfaceError","message":"connection already closed"}}}`)}, do: create, kind: connectors.Uncertain},
		{name: "a locked order", major: 18, prepare: func(p *pretend) { p.locks = true }, do: cancel, kind: connectors.Rejected, says: "unlock it"},
		{name: "a dialogue instead of a cancellation", major: 19, spoil: &spoil{at: "sale.order/search_read", body: swap(`"state":"cancel"`, `"state":"sale"`)}, do: cancel, kind: connectors.Rejected, says: "press Cancel"},

		{name: "the last line of the description is gone", major: 19, spoil: &spoil{at: "sale.order.line/search_read", body: swap("truestock ordered", "ordered")}, do: create, kind: connectors.Rejected, says: "removed in Odoo"},
		{name: "the last line of the description was changed", major: 19, spoil: &spoil{at: "sale.order.line/search_read", body: swap("cancelled 0", "cancelled 9")}, do: create, kind: connectors.Rejected, says: "makes no sense"},
		{name: "a kit", major: 19, spoil: &spoil{at: "stock.move/search_read", body: swap("[101,", "[909,")}, do: standing, kind: connectors.Rejected, says: "is a kit"},
		{name: "another unit", major: 18, spoil: &spoil{at: "stock.move/search_read", body: swap(`"product_qty":4`, `"product_qty":48`)}, do: standing, kind: connectors.Rejected, says: "another unit"},
		{name: "a move without a quantity", major: 16, spoil: &spoil{at: "stock.move/search_read", body: swap(`"reserved_availability"`, `"other"`)}, do: standing, kind: connectors.Rejected, says: "is missing"},
		{name: "a location of another company", major: 19, spoil: &spoil{at: "stock.location/search_read", body: swap(`"id":5,`, `"id":55,`)}, do: standing, kind: connectors.Rejected, says: "another company"},
		{name: "a path that leads elsewhere", major: 19, spoil: &spoil{at: "stock.location/search_read", body: swap("1/7/", "1/6/")}, do: levels, kind: connectors.Rejected, says: "does not lead to it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPretend(tt.major)
			if tt.prepare != nil {
				tt.prepare(p)
			}
			var way http.RoundTripper
			if tt.spoil != nil {
				way = tt.spoil
			}
			c, err := Info().Open(connectors.Env{Transport: way, Timeout: 10 * time.Second}, connectors.SystemOfRecordRole, settings(p.serve(t), tt.settings...))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = tt.do(t.Context(), c.(*record))
			if kind := connectors.KindOf(err); kind != tt.kind {
				t.Fatalf("the error is %q (%v), not %q", kind, err, tt.kind)
			}
			if tt.spoil != nil && !tt.spoil.hit.Load() {
				t.Error("nothing was spoilt")
			}
			if tt.kind != "" && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the error is %v, and does not say %q", err, tt.says)
			}
		})
	}
}

// The check tells when the key ends, and a key that was refused after that day is said to have expired.
func TestKeyThatExpires(t *testing.T) {
	t.Parallel()
	for _, major := range []int{18, 19} {
		p := newPretend(major)
		p.tables["res.users.apikeys"][0]["expiration_date"] = time.Now().UTC().Add(1200 * time.Millisecond).Format(time.DateTime)
		var log strings.Builder
		c, err := Info().Open(connectors.Env{Log: slog.New(slog.NewTextHandler(&log, nil))}, connectors.SystemOfRecordRole, settings(p.serve(t)))
		if err != nil {
			t.Fatal(err)
		}
		r := c.(*record)
		if err := r.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "expires soon") || !strings.Contains(log.String(), "Account security") {
			t.Errorf("the log says %q", log.String())
		}
		r.key = "refused by now"
		r.expireAt = time.Now().Add(-time.Hour)
		err = r.Check(t.Context())
		if connectors.KindOf(err) != connectors.Auth || !strings.Contains(err.Error(), "it was to expire on "+r.expireAt.Format(time.DateOnly)) {
			t.Errorf("Odoo %d: the error is %v", major, err)
		}
	}
}

// Settings that cannot work are refused at the start, by name.
func TestSettings(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		settingBaseURL: "odoo.example", settingAPI: "xmlrpc", settingKey: "", settingNumber: "virtual_available", settingSKU: "name",
		settingPartner: "Marketplaces", settingWarehouse: "-1", settingWebhookKeys: "short", settingPace: "0",
	} {
		if _, err := Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings("http://odoo.example", name, value)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s %q: the error is %v", name, value, err)
		}
	}
	if _, err := Info().Open(connectors.Env{}, connectors.MarketplaceRole, settings("http://odoo.example")); err == nil {
		t.Error("Odoo became a marketplace")
	}
	if _, err := Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings("http://odoo.example", settingAPI, apiJSONRPC, settingLogin, "")); err == nil {
		t.Error("JSON-RPC without a login was taken")
	}
}

// What Odoos sent is known by the word behind the address, and makes us look.
func TestDelivered(t *testing.T) {
	connectortest.Deliveries(t, connect(t, newPretend(18), settingWebhookKeys, "averylongrandomword"), connect(t, newPretend(18)), true)
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	r := connect(t, newPretend(18))
	now := time.Now()
	request := func(key, body string) connectors.Request {
		return connectors.Request{Method: http.MethodPost, RawQuery: "key=" + key, Body: []byte(body), At: now}
	}
	const quant = `{"_action":"Tell truestock(#9)","_id":12,"_model":"stock.quant","quantity":999.0,"write_date":"2026-11-26 06:00:00.5"}`
	first, err := r.VerifyWebhook(request(hookKey, quant))
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.VerifyWebhook(request(hookKey, quant)) // Odoo sends the creation of a record twice
	if err != nil || again.Key != first.Key {
		t.Errorf("the keys are %q and %q (%v)", first.Key, again.Key, err)
	}
	other, err := r.VerifyWebhook(request(hookKey, strings.Replace(quant, "999", "998", 1))) // two writes of one transaction have one date
	if err != nil || other.Key == first.Key {
		t.Errorf("another content has the key %q (%v)", other.Key, err)
	}
	notice, err := r.DecodeWebhook(first, []byte(quant))
	if err != nil || !notice.Pull || len(notice.Facts) != 0 {
		t.Errorf("the hint became %+v (%v): what it says may never be committed", notice, err)
	}
	bare := request(hookKey, `{"_id":12,"_model":"stock.quant","_action":"a"}`)
	one, err1 := r.VerifyWebhook(bare)
	bare.At = now.Add(time.Second)
	two, err2 := r.VerifyWebhook(bare)
	if err1 != nil || err2 != nil || one.Key == two.Key {
		t.Errorf("without write_date two changes have one key, %q (%v, %v)", one.Key, err1, err2)
	}
	for _, body := range []string{`{"_id":12}`, `{"_id":0,"_model":"stock.quant"}`, `{"_id":"12","_model":"stock.quant"}`, `[]`, `null`, `<xml/>`} {
		if _, err := r.VerifyWebhook(request(hookKey, body)); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s: the error is %v", body, err)
		}
	}
	if _, err := r.VerifyWebhook(request("b7c1d95e-4a32-4c12", quant)); !errors.Is(err, connectors.ErrSignature) {
		t.Errorf("the error is %v", err)
	}
	if _, err := connect(t, newPretend(18), settingWebhookKeys, "").VerifyWebhook(request("", quant)); !errors.Is(err, connectors.ErrSignature) {
		t.Errorf("without a word the error is %v", err)
	}
	if _, err := r.DecodeWebhook(first, []byte(`{"_id":12,"_model":"res.partner","_action":"Contacts(#3)"}`)); err == nil || !strings.Contains(err.Error(), "Contacts(#3)") {
		t.Errorf("a hint about a contact: %v", err)
	}
}

// Odoo 18 tells of a change half a second before it commits: levels that are read on the hint contain it all the same.
func TestHintBeforeCommit(t *testing.T) {
	t.Parallel()
	p := newPretend(18)
	r := connect(t, p)
	if _, err := r.Levels(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.VerifyWebhook(sign("2026-11-26 06:00:00", time.Now(), []byte(`{"_id":12,"_model":"stock.quant","_action":"a"}`))); err != nil {
		t.Fatal(err)
	}
	committed := time.AfterFunc(500*time.Millisecond, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.put(shirt, stockWH, 13)
	})
	defer committed.Stop()
	page, err := r.Levels(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range page.Levels {
		if l.SKU == "SHIRT" && l.Quantity != stock.Quantity(55) {
			t.Errorf("the level is %d, and 55 was committed", l.Quantity)
		}
	}
}
