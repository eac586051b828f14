package tryton_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/tryton"
)

// canned is a server that answers each method with what the test says: a body, or a result to put into one.
type canned map[string]string

// healthy are the answers of a Tryton with one warehouse, one product and one order.
func healthy() canned {
	return canned{
		"common.db.login":                      `[7,"0123456789abcdef0123456789abcdef"]`,
		"model.res.user.get_preferences":       `{"company":1,"language":"en"}`,
		"model.stock.location.search_read":     `[{"id":5,"code":"WH","name":"Warehouse","storage_location":3,"output_location":2}]`,
		"model.product.product.search":         `[1]`,
		"model.product.product.search_count":   `1`,
		"model.product.product.search_read":    `[{"id":1,"code":"MUG","rec_name":"Mug","quantity":10.0,"default_uom":1,"default_uom.":{"id":1,"digits":0},"salable":true}]`,
		"model.product.identifier.search_read": `[]`,
		"model.party.party.search_read":        `[{"id":2,"name":"Shops"}]`,
		"model.sale.sale.search_read":          `[{"id":9,"number":"12","reference":"k","state":"processing","lines.":[{"id":4,"type":"line","note":"truestock line \"1\": ordered 3, cancelled 0","quantity":3.0,"product.":{"id":1,"code":"MUG"}}]}]`,
		"model.stock.move.search_read":         `[{"id":6,"internal_quantity":3.0,"state":"draft","origin":"sale.line,4","shipment":"stock.shipment.out,8","sale_exception_state":"","from_location.":{"id":2,"warehouse":5},"to_location.":{"id":7,"type":"customer"}}]`,
		"model.stock.shipment.out.search_read": `[{"id":8,"number":"1","state":"waiting"}]`,
		"model.sale.sale.on_change":            `[{"invoice_address":1,"shipment_address":1}]`,
		"model.sale.sale.default_get":          `{"currency":1}`,
		"model.sale.line.on_change":            `[{"unit_price":{"__class__":"Decimal","decimal":"10.00"}}]`,
		"model.sale.sale.create":               `[9]`,
		"model.sale.sale.process":              `null`,
		"model.stock.move.copy":                `[10]`,
		"model.stock.move.search_count":        `1`,
	}
}

// RoundTrip implements http.RoundTripper.
func (c canned) RoundTrip(req *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var call struct {
		Method string `json:"method"`
	}
	if err := json.Unmarshal(text, &call); err != nil {
		return nil, err
	}
	status, body := http.StatusOK, ""
	switch answer, known := c[call.Method]; {
	case !known:
		body = `{"id":1,"result":null}`
	case strings.HasPrefix(answer, "body "):
		body = strings.TrimPrefix(answer, "body ")
	case strings.HasPrefix(answer, "error "):
		body = `{"id":1,"error":` + strings.TrimPrefix(answer, "error ") + `}`
	case strings.HasPrefix(answer, "forbidden"):
		status, body = http.StatusForbidden, "<!doctype html><title>403 Forbidden</title>"
	default:
		body = `{"id":1,"result":` + answer + `}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

func (c canned) open(t testing.TB) record {
	t.Helper()
	conn, err := tryton.Info().Open(connectors.Env{Connection: "canned", Transport: c}, connectors.SystemOfRecordRole, cannedSettings())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(record)
}

func cannedSettings() connectors.Settings {
	return connectors.Settings{
		"base_url": "http://tryton.example", "database": "erp", "username": "truestock", "password": "a secret of the tests", "customer": "SHOPS",
		"levels": "on_hand", "stage": "processing", "warnings": "accept",
	}
}

// The calls that the rows of the table make.
var (
	levelsCall   = func(t *testing.T, r record) error { _, err := r.Levels(t.Context(), ""); return err }
	itemsCall    = func(t *testing.T, r record) error { _, err := r.Items(t.Context(), ""); return err }
	standingCall = func(t *testing.T, r record) error { _, err := r.OrderStanding(t.Context(), "k"); return err }
	orderCall    = func(t *testing.T, r record) error {
		_, err := r.CreateOrder(t.Context(), newOrder("k", "MUG", 3))
		return err
	}
	cancelCall = func(t *testing.T, r record) error { return r.CancelOrder(t.Context(), "k", nil) }
)

func TestHealthyAnswers(t *testing.T) {
	for name, call := range map[string]func(*testing.T, record) error{"levels": levelsCall, "items": itemsCall, "standing": standingCall, "order": orderCall, "cancel": cancelCall} {
		if err := call(t, healthy().open(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever Tryton, or something in its place, answers: an error of the right kind that says where to look, and never a number
// that was not told.
func TestBadAnswers(t *testing.T) {
	const (
		products  = "model.product.product.search_read"
		sales     = "model.sale.sale.search_read"
		moves     = "model.stock.move.search_read"
		locations = "model.stock.location.search_read"
	)
	create := func(answer string) canned {
		c := healthy()
		c[sales], c["model.sale.sale.create"] = `[]`, answer
		return c
	}
	with := func(method, answer string) canned {
		c := healthy()
		c[method] = answer
		return c
	}
	for _, c := range []struct {
		name   string
		server canned
		call   func(*testing.T, record) error
		kind   connectors.ErrorKind
		words  string
	}{
		{"a quantity is missing", with(products, `[{"id":1,"code":"MUG"}]`), levelsCall, connectors.Rejected, "missing"},
		{"a quantity is null", with(products, `[{"id":1,"code":"MUG","quantity":null}]`), levelsCall, connectors.Rejected, "missing"},
		{"a quantity is a fraction", with(products, `[{"id":1,"code":"MUG","quantity":2.5}]`), levelsCall, connectors.Rejected, "2.5"},
		{"a quantity is a text", with(products, `[{"id":1,"code":"MUG","quantity":"10"}]`), levelsCall, connectors.Rejected, "quantity"},
		{"a quantity is out of range", with(products, `[{"id":1,"code":"MUG","quantity":1e300}]`), levelsCall, connectors.Rejected, "range"},
		{"a quantity is no number", with(products, `[{"id":1,"code":"MUG","quantity":NaN}]`), levelsCall, connectors.Retryable, "JSON"},
		{"a product without a code", with(products, `[{"id":1,"code":null,"quantity":1.0}]`), levelsCall, connectors.Rejected, "without its code"},
		{"a code twice", with(products, `[{"id":1,"code":"MUG"},{"id":2,"code":"MUG"}]`), itemsCall, connectors.Rejected, "same code"},
		{"a page that does not go on", with(products, `[{"id":0,"code":"MUG"}]`), itemsCall, connectors.Rejected, "does not go on"},
		{"no warehouse", with(locations, `[]`), levelsCall, connectors.Rejected, "Locations"},
		{"a warehouse without a zone", with(locations, `[{"id":5,"name":"WH","storage_location":null,"output_location":2}]`), levelsCall, connectors.Rejected, "zone"},
		{"a page for people", with(products, "body <!doctype html><title>Log in</title>"), levelsCall, connectors.Retryable, "JSON"},
		{"an answer cut off", with(products, `body {"id":1,"result":[{"id":1`), levelsCall, connectors.Retryable, "JSON"},
		{"a huge answer", with(products, `"`+strings.Repeat("x", 17<<20)+`"`), levelsCall, connectors.Retryable, "larger"},
		{"neither a result nor an error", with(products, `body {"id":1}`), levelsCall, connectors.Retryable, "neither"},
		{"nothing at a write", create(`body {"id":1}`), orderCall, connectors.Uncertain, "neither"},
		{"no id at a write", create(`[]`), orderCall, connectors.Uncertain, "one sale"},
		{"a login without a session", with("common.db.login", `null`), levelsCall, connectors.Auth, "session"},
		{"a user without a company", with("model.res.user.get_preferences", `{"company":null}`), levelsCall, connectors.Auth, "company"},
		{"a login that asks for more", with("common.db.login", `error ["LoginException",["sms","Code","char"]]`), levelsCall, connectors.Auth, "password alone"},
		{"a method that is not there", with(products, "forbidden"), levelsCall, connectors.Auth, "403"},
		{"a right that is missing", with(products, `error ["UserError",["You are not allowed to access \"Product\".","",null]]`), levelsCall, connectors.Auth, "Administration → Users"},
		{"a button that is not allowed", with("model.sale.sale.process", `error ["UserError",["Calling button \"Process on \"Sale\" is not allowed.","",null]]`), cancelCall, connectors.Auth, "Administration → Users"},
		{"a record that is gone", with(products, `error ["UserError",["You are not allowed to read records \"1\" of \"Product\" because of at least one of these rules:\nx","",null]]`), levelsCall, connectors.Rejected, "rules"},
		{"a module that is missing", with(sales, `error ["'sale.sale'",""]`), standingCall, connectors.Rejected, "Administration → Modules"},
		{"a user error at a write", create(`error ["UserError",["The value is not valid.","Choose another.",null]]`), orderCall, connectors.Rejected, "Choose another."},
		{"somebody was faster", create(`error ["ConcurrencyException","Records were modified in the meanwhile"]`), orderCall, connectors.Retryable, "meanwhile"},
		{"a failure without a name", create(`error ["database is locked",""]`), orderCall, connectors.Uncertain, "database is locked"},
		{"a failure without a name at a read", with(products, `error ["",""]`), levelsCall, connectors.Retryable, "no reason"},
		{"an error that is none", with(products, `error {}`), levelsCall, connectors.Retryable, "not understood"},
		{"a warning again and again", with("model.sale.sale.process", `error ["UserWarning",["w","Really?",""]]`), cancelCall, connectors.Rejected, "Really?"},
		{"a state that is not known", with(moves, `[{"id":6,"internal_quantity":3.0,"state":"lost","origin":"sale.line,4","from_location.":{"warehouse":5},"to_location.":{"type":"customer"}}]`), standingCall, connectors.Rejected, `"lost"`},
		{"a move without a quantity", with(moves, `[{"id":6,"internal_quantity":null,"state":"done","origin":"sale.line,4","from_location.":{"warehouse":5},"to_location.":{"type":"customer"}}]`), standingCall, connectors.Rejected, "missing"},
		{"a move from nowhere", with(moves, `[{"id":6,"internal_quantity":3.0,"state":"done","origin":"sale.line,4","from_location.":{"warehouse":null},"to_location.":{"type":"customer"}}]`), standingCall, connectors.Rejected, "warehouse"},
		{"an order that is not there", with(sales, `[]`), standingCall, connectors.Unmapped, "reference k"},
		{"two sales of one key", with(sales, `[{"id":9,"number":"12"},{"id":10,"number":"13"}]`), orderCall, connectors.Rejected, "such as 12 and 13"},
		{"a sale whose notes are gone", with(sales, `[{"id":9,"number":"12","state":"processing","lines.":[{"id":4,"type":"line","note":"call first","quantity":3.0,"product.":{"code":"MUG"}}]}]`), orderCall, connectors.Rejected, "0 lines"},
		{"a party that is not there", func() canned { c := create(`[9]`); c["model.party.party.search_read"] = `[]`; return c }(), orderCall, connectors.Rejected, "Party → Parties"},
		{"a party without an address", func() canned { c := create(`[9]`); c["model.sale.sale.on_change"] = `[{}]`; return c }(), orderCall, connectors.Rejected, "address"},
		{"a product without a price", func() canned { c := create(`[9]`); c["model.sale.line.on_change"] = `[{"unit_price":null}]`; return c }(), orderCall, connectors.Rejected, "list price"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.call(t, c.server.open(t))
			wantKind(t, err, c.kind, c.words)
			if e, ok := errors.AsType[*connectors.Error](err); ok && (e.Op == "" || strings.Contains(err.Error(), "0123456789abcdef0123456789abcdef")) {
				t.Errorf("the error does not tell what was tried, or tells the session: %v", err)
			}
		})
	}
}

// The settings are checked before anything is sent, and the error names the one that is wrong.
func TestSettings(t *testing.T) {
	for setting, value := range map[string]string{
		"base_url": "tryton.example", "database": "", "username": "", "password": "", "customer": "", "levels": "free", "stage": "done", "warnings": "maybe", "requests_per_second": "fast",
	} {
		s := cannedSettings()
		s[setting] = value
		if _, err := tryton.Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, s); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s %q: the error is %v", setting, value, err)
		}
	}
	if _, err := tryton.Info().Open(connectors.Env{}, connectors.MarketplaceRole, cannedSettings()); err == nil {
		t.Error("it opens as a marketplace")
	}
}

// FuzzAnswers puts anything in the place of what Tryton tells: no panic, and what comes through is valid.
func FuzzAnswers(f *testing.F) {
	for method, answer := range healthy() {
		f.Add(method, answer)
	}
	f.Add("model.stock.move.search_read", `[{"id":6,"internal_quantity":-3.0,"state":"done","origin":"sale.line,4","from_location.":{"warehouse":5},"to_location.":{"type":"customer"}}]`)
	f.Add("model.sale.line.on_change", `[{"unit_price":{},"taxes":{"add":[[0,{"id":1}]]}}]`)
	f.Add("model.product.product.search", `error ["UserError",[1,2]]`)
	f.Fuzz(func(t *testing.T, method, answer string) {
		if answer == "forbidden" || len(answer) > 1<<12 {
			return
		}
		server := healthy()
		server[method] = answer
		r := server.open(t)
		ok := func(err error) bool {
			if _, typed := errors.AsType[*connectors.Error](err); err != nil && !typed {
				t.Errorf("the error is %T: %v", err, err)
			}
			return err == nil
		}
		if page, err := r.Levels(t.Context(), ""); ok(err) {
			for _, s := range page.Levels {
				if err := (connectors.Fact{Kind: connectors.StockLevel, Statement: &s}).Validate(); err != nil && len(s.SKU) <= 256 {
					t.Errorf("the statement %+v: %v", s, err)
				}
			}
		}
		_, err := r.Items(t.Context(), "")
		ok(err)
		if s, err := r.OrderStanding(t.Context(), "k"); ok(err) {
			if err := s.Validate(); err != nil {
				t.Errorf("the answer %+v: %v", s, err)
			}
		}
		_, err = r.CreateOrder(t.Context(), newOrder("k", "MUG", 3))
		ok(err)
		ok(r.CancelOrder(t.Context(), "k", []connectors.CancelLine{{LineID: "1", Cancelled: 1}}))
	})
}
