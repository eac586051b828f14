package erpnext

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/signature"
)

// spoil stands between a connection and a pretend ERPNext, and changes the answers to the requests that hold a text.
type spoil struct {
	at     string
	status int
	kind   string
	body   func(was string) string
	hit    atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (s *spoil) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		sent, _ = io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || !strings.Contains(req.Method+" "+req.URL.Path+" "+string(sent), s.at) {
		return resp, err
	}
	was, _ := io.ReadAll(resp.Body)
	text := s.body(string(was))
	if text != string(was) || s.status != 0 {
		s.hit.Store(true)
	}
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	resp.Header.Del("Content-Length")
	if s.status != 0 {
		resp.StatusCode = s.status
	}
	if s.kind != "" {
		resp.Header.Set("Content-Type", s.kind)
	}
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
	create := func(ctx context.Context, r *record) error {
		_, err := r.CreateOrder(ctx, newOrderOf("k", 4, 1))
		return err
	}
	standing := func(ctx context.Context, r *record) error {
		if err := create(ctx, r); err != nil {
			return err
		}
		_, err := r.OrderStanding(ctx, "k")
		return err
	}
	cancel := func(lines ...connectors.CancelLine) func(context.Context, *record) error {
		return func(ctx context.Context, r *record) error {
			if err := create(ctx, r); err != nil {
				return err
			}
			return r.CancelOrder(ctx, "k", lines)
		}
	}
	check := func(ctx context.Context, r *record) error { return r.Check(ctx) }
	const bins, orders, order = `"doctype":"Bin"`, `"doctype":"Sales Order"`, "GET /api/resource/Sales Order/"
	tests := []struct {
		name     string
		settings []string
		prepare  func(p *pretend)
		spoil    *spoil
		do       func(ctx context.Context, r *record) error
		kind     connectors.ErrorKind
		says     string
	}{
		{name: "all is well", do: check},
		{name: "wrong secret", settings: []string{settingSecret, "wrong"}, do: check, kind: connectors.Auth, says: "Generate Keys"},
		{name: "role taken away", prepare: func(p *pretend) { p.forbidden = "Bin" }, do: levels, kind: connectors.Auth, says: "may not do that with Bin"},
		{name: "role taken away, orders", prepare: func(p *pretend) { p.forbidden = "Sales Order" }, do: create, kind: connectors.Auth, says: "User truestock@shop.example does not have doctype access"},
		{name: "a firewall", spoil: &spoil{at: bins, status: 403, kind: "text/html", body: is("<html>Blocked</html>")}, do: levels, kind: connectors.Retryable, says: "a firewall answered"},
		{name: "another site", spoil: &spoil{at: "Warehouse", status: 404, kind: "text/html", body: is("<html>site does not exist</html>")}, do: levels, kind: connectors.Unmapped, says: "correct base_url"},
		{name: "unknown customer", settings: []string{settingCustomer, "Gone"}, do: check, kind: connectors.Rejected, says: "disabled: correct customer"},
		{name: "unknown warehouse", settings: []string{settingWarehouses, "Stores"}, do: check, kind: connectors.Rejected, says: `no warehouse "Stores"`},
		{name: "a group of warehouses", settings: []string{settingWarehouses, "All - TS"}, do: check, kind: connectors.Rejected, says: "neither a group"},
		{name: "no custom field", prepare: func(p *pretend) { p.noField = true }, do: check, kind: connectors.Rejected, says: "the custom field truestock_lines?"},
		{name: "an order without the custom field", prepare: func(p *pretend) { p.noField = true }, do: create, kind: connectors.Rejected, says: "make it as the guide says"},
		{name: "too many requests", spoil: &spoil{at: bins, status: 429, body: is(`{"exc_type":"TooManyRequestsError","exception":"frappe.exceptions.TooManyRequestsError"}`)}, do: levels, kind: connectors.Throttled},
		{name: "maintenance", spoil: &spoil{at: bins, status: 503, body: is(`{"exc_type":"SessionStopped","exception":"frappe.exceptions.SessionStopped"}`)}, do: levels, kind: connectors.Retryable, says: "maintenance"},

		{name: "HTML instead of JSON", spoil: &spoil{at: bins, kind: "text/html", body: is("<html>Login</html>")}, do: levels, kind: connectors.Retryable, says: "not whole JSON"},
		{name: "cut off", spoil: &spoil{at: bins, body: func(was string) string { return was[:len(was)/2] }}, do: levels, kind: connectors.Retryable, says: "not whole JSON"},
		{name: "huge", spoil: &spoil{at: bins, body: func(string) string { return `{"message":[{"item_code":"` + strings.Repeat("A", 17<<20) + `"}]}` }}, do: levels, kind: connectors.Retryable, says: "larger than"},
		{name: "no message", spoil: &spoil{at: bins, body: is(`{}`)}, do: levels, kind: connectors.Retryable, says: "no message"},
		{name: "another shape", spoil: &spoil{at: bins, body: is(`{"message":{"a":1}}`)}, do: levels, kind: connectors.Rejected, says: "cannot be taken"},
		{name: "no warehouse", spoil: &spoil{at: "Warehouse", body: is(`{"message":[]}`)}, do: levels, kind: connectors.Rejected, says: "sees no warehouse"},
		{name: "the same item again", spoil: &spoil{at: `"doctype":"Item"`, body: is(`{"message":[{"name":"A"},{"name":"A"}]}`)}, do: levels, kind: connectors.Rejected, says: "comes a second time"},
		{name: "the same Bin again", spoil: &spoil{at: bins, body: swap(shopFloor, stores)}, do: levels, kind: connectors.Rejected, says: "there twice"},
		{name: "more Bins than there can be", spoil: &spoil{at: bins, body: is(`{"message":[{},{},{},{},{},{},{},{},{}]}`)}, do: levels, kind: connectors.Rejected, says: "fewer are understood"},
		{name: "a fraction", prepare: func(p *pretend) { p.put("SHIRT", stores, 0.25) }, do: levels, kind: connectors.Rejected, says: "item SHIRT in " + stores + ": actual_qty is 40.25 Nos"},
		{name: "a fraction in a unit that is not excluded", settings: []string{settingExcludeUnits, ""}, prepare: func(p *pretend) { p.put("TEA", stores, 1.5) }, do: levels, kind: connectors.Rejected, says: "1.5 Kg"},
		{name: "no quantity", spoil: &spoil{at: bins, body: swap(`"actual_qty":`, `"actual":`)}, do: levels, kind: connectors.Rejected, says: "actual_qty is missing"},
		{name: "no quantity, available", settings: []string{settingNumber, numberUnreserved}, spoil: &spoil{at: bins, body: swap(`"actual_qty":`, `"actual":`)}, do: levels, kind: connectors.Rejected, says: "actual_qty is missing"},
		{name: "nothing of what is reserved", settings: []string{settingNumber, numberUnreserved}, spoil: &spoil{at: bins, body: swap(`"reserved_qty":`, `"reserved":`)}, do: levels, kind: connectors.Rejected, says: "reserved_qty is missing"},
		{name: "null", spoil: &spoil{at: bins, body: swap(`"actual_qty":9`, `"actual_qty":null`)}, do: levels, kind: connectors.Rejected, says: "actual_qty is missing"},
		{name: "too much", prepare: func(p *pretend) { p.put("SHIRT", stores, 1e15) }, do: levels, kind: connectors.Rejected, says: "at most"},
		{name: "less than nothing", prepare: func(p *pretend) { p.put("SHIRT", stores, -45) }, do: levels},

		{name: "a disabled item", prepare: func(p *pretend) { p.items[0]["disabled"] = 1 }, do: create, kind: connectors.Unmapped, says: "disabled"},
		{name: "unknown docstatus", spoil: &spoil{at: orders, body: swap(`"docstatus":0`, `"docstatus":7`)}, do: create, kind: connectors.Rejected, says: "docstatus 7"},
		{name: "an order that was made and is not there", spoil: &spoil{at: orders, body: is(`{"message":[]}`)}, prepare: func(*pretend) {}, do: create, kind: connectors.Uncertain, says: "User Permissions"},
		{name: "an order that waits for approval", prepare: func(p *pretend) { p.workflow = true }, do: create, kind: connectors.Rejected, says: "Workflow"},
		{name: "a warehouse that there is not", spoil: &spoil{at: "POST /api/resource", status: 417, body: is(`{"exc_type":"LinkValidationError","_server_messages":"[\"{\\\"message\\\": \\\"Could not find Set Source Warehouse: <strong>X</strong>\\\"}\"]"}`)}, do: create, kind: connectors.Rejected, says: "Could not find Set Source Warehouse: X; correct the setting"},
		{name: "the credit limit", spoil: &spoil{at: "PUT /api/resource", status: 417, body: is(`{"exc_type":"ValidationError","exception":"frappe.exceptions.ValidationError: Credit limit has been crossed"}`)}, do: create, kind: connectors.Rejected, says: "Credit limit"},
		{name: "a duplicate", spoil: &spoil{at: "POST /api/resource", status: 409, body: is(`{"exc_type":"DuplicateEntryError","exception":"x"}`)}, do: create, kind: connectors.Rejected, says: "DuplicateEntryError"},
		{name: "somebody else at the same time", prepare: func(p *pretend) { p.lock = "TimestampMismatchError" }, do: create, kind: connectors.Retryable, says: "at the same time"},
		{name: "a deadlock", spoil: &spoil{at: "POST /api/resource", status: 500, body: is(`{"exc_type":"QueryDeadlockError","exception":"x"}`)}, do: create, kind: connectors.Retryable, says: "at the same time"},
		{name: "an error nobody knows", spoil: &spoil{at: "POST /api/resource", status: 500, body: is(`{"exc_type":"KeyError","exception":"KeyError: 'x'"}`)}, do: create, kind: connectors.Uncertain, says: "KeyError: 'x'"},
		{name: "a 200 that says nothing", spoil: &spoil{at: "POST /api/resource", body: is(`{}`)}, do: create, kind: connectors.Uncertain, says: "no data"},
		{name: "an order without items", spoil: &spoil{at: order, body: is(`{"data":{"name":"x"}}`)}, do: create, kind: connectors.Rejected, says: "lacks the order's name or items"},
		{name: "a note that was changed", spoil: &spoil{at: order, body: swap(`\"ordered\":4`, `\"ordered\":-4`)}, do: create, kind: connectors.Rejected, says: "makes no sense"},

		{name: "Update Items that does nothing", prepare: func(p *pretend) { p.stuck = true }, do: cancel(connectors.CancelLine{LineID: "a", Cancelled: 1}), kind: connectors.Rejected, says: "did not make it"},
		{name: "more cancelled than ordered", do: cancel(connectors.CancelLine{LineID: "a", Cancelled: 5}), kind: connectors.Rejected, says: "only 4 were ordered"},
		{name: "a line that there is not", do: cancel(connectors.CancelLine{LineID: "z", Cancelled: 1}), kind: connectors.Rejected, says: "no line z"},
		{name: "something hangs on the order", prepare: func(p *pretend) {
			p.notes = append(p.notes, doc{"docstatus": submitted, "against_sales_order": "SAL-ORD-2026-00001", "parent": "PICK-1", "so_detail": "other", "warehouse": stores, "stock_qty": 1.0})
		}, do: cancel(), kind: connectors.Rejected, says: "is linked with Delivery Note PICK-1"},

		{name: "another unit", spoil: &spoil{at: order, body: swap(`"conversion_factor":1`, `"conversion_factor":12`)}, do: standing, kind: connectors.Rejected, says: "change it to the stock unit"},
		{name: "a fraction was delivered", prepare: nil, spoil: &spoil{at: order, body: swap(`"delivered_qty":0`, `"delivered_qty":0.5`)}, do: standing, kind: connectors.Rejected, says: "0.5 Nos"},
		{name: "nothing said of what was delivered", spoil: &spoil{at: order, body: swap(`"delivered_qty"`, `"delivered"`)}, do: standing, kind: connectors.Rejected, says: "delivered_qty of SHIRT is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPretend()
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

// Settings that cannot work are refused at the start, by name.
func TestSettings(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		settingBaseURL: "erp.example", settingKey: "", settingSecret: "a:b", settingNumber: "projected_qty", settingCustomer: "", settingDeliver: "", settingNoteField: "", settingPace: "0",
	} {
		if _, err := Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings("http://erp.example", name, value)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s %q: the error is %v", name, value, err)
		}
	}
	if _, err := Info().Open(connectors.Env{}, connectors.MarketplaceRole, settings("http://erp.example")); err == nil {
		t.Error("ERPNext became a marketplace")
	}
}

// What ERPNexts sent is known as theirs, and makes us look.
func TestDelivered(t *testing.T) {
	connectortest.Deliveries(t, connect(t, newPretend(), settingHookSecrets, "recordedsecret"), connect(t, newPretend(), settingHookSecrets, "another"), false)
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	r := connect(t, newPretend(), settingHookSecrets, "secret, "+hookSecret)
	request := func(body, sum string) connectors.Request {
		return connectors.Request{Method: http.MethodPost, Header: http.Header{headerSignature: {sum}}, Body: []byte(body), At: time.Now()}
	}
	// Computed apart from this code, over the text that Python's json.dumps makes. It is authentic, and not what the guide asks for.
	if _, err := r.VerifyWebhook(request(`{"name": "BIN-1", "qty": 3.0}`, "LrlmjhPr10+t1KywFlQ933MjwV727VDQAUSVVMGcgRw=")); !errors.Is(err, connectors.ErrEnvelope) {
		t.Errorf("the error is %v", err)
	}
	signed := func(body string) connectors.Request { return request(body, signature.Body(hookSecret, []byte(body))) }
	const note = `{"doctype": "Stock Ledger Entry", "name": "SLE-\u00e4", "modified": "2026-11-26 06:00:00.123456", "event": "after_insert"}`
	d, err := r.VerifyWebhook(signed(note))
	if err != nil || d.Secret != 1 || d.Key != "Stock Ledger Entry:SLE-ä:2026-11-26 06:00:00.123456:after_insert" {
		t.Errorf("the delivery is %+v (%v)", d, err)
	}
	if n, err := r.DecodeWebhook(d, []byte(note)); err != nil || !n.Pull || len(n.Facts) > 0 {
		t.Errorf("the hint became %+v (%v)", n, err)
	}
	compact := request(strings.ReplaceAll(note, ": ", ":"), signature.Body(hookSecret, []byte(note)))
	if _, err := r.VerifyWebhook(compact); !errors.Is(err, connectors.ErrSignature) {
		t.Errorf("written again without spaces: the error is %v", err)
	}
	for _, body := range []string{`{}`, `[]`, `null`, `{"doctype": "Item", "name": "A", "modified": "", "event": "on_update"}`, `{"doctype": "Item", "name": 1, "modified": "m", "event": "e"}`} {
		if _, err := r.VerifyWebhook(signed(body)); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s: the error is %v", body, err)
		}
	}
	for doctype, says := range map[string]string{"Bin": "Stock Ledger Entry", "Customer": "remove the webhook"} {
		if _, err := r.DecodeWebhook(d, []byte(strings.Replace(note, "Stock Ledger Entry", doctype, 1))); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: the error is %v", doctype, err)
		}
	}
}
