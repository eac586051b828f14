package medusa

import (
	"io"
	"maps"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// wireOrder is an order as a shop tells it: 5 ordered, 3 shipped and 2 of these delivered, 1 came back; and a line that a
// person typed in.
const wireOrder = `{"id":"order_7","status":"pending","version":4,"email":"b@shop.example","customer_id":"cus_1",
"created_at":"2026-11-24T10:00:00.000Z","updated_at":"2026-11-24T10:00:05.123Z",
"items":[{"id":"ordli_9","variant_id":"variant_1","variant_sku":"A","quantity":5,"detail":{"quantity":5,"raw_quantity":{"value":"5","precision":20},
"fulfilled_quantity":4,"shipped_quantity":3,"delivered_quantity":2,"return_received_quantity":1,"return_dismissed_quantity":1}},
{"id":"ordli_10","variant_id":null,"variant_sku":null,"title":"gift wrapping","detail":null}],
"fulfillments":[{"id":"ful_1","shipped_at":"2026-11-24T10:00:04.000Z","canceled_at":null,"metadata":{"truestock_shipment":"k1","other":{"a":1}}},
{"id":"ful_2","shipped_at":null,"canceled_at":null,"metadata":null}]}`

func decodeOrder(text string) (connectors.Order, error) {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return connectors.Order{}, err
	}
	return o.toOrder()
}

func TestOrderIsUnderstood(t *testing.T) {
	got, err := decodeOrder(wireOrder)
	if err != nil {
		t.Fatal(err)
	}
	want := connectors.ChannelLine{LineID: "ordli_9", Ref: connectors.Ref{Item: "variant_1"}, SKU: "A", Quantity: 5, Shipped: 3, Restocked: 1}
	if len(got.Lines) != 1 || got.Lines[0] != want || got.Status != connectors.OrderOpen || got.Version != 16 {
		t.Errorf("got %+v", got)
	}
	if changed := time.Date(2026, 11, 24, 10, 0, 5, 123e6, time.UTC); !got.UpdatedAt.Equal(changed) {
		t.Errorf("changed at %s", got.UpdatedAt)
	}
	if *got.Buyer != (connectors.Buyer{Ref: "cus_1", Contact: "b@shop.example"}) {
		t.Errorf("the buyer is %+v", got.Buyer)
	}
	var o order
	if err := json.Unmarshal([]byte(wireOrder), &o); err != nil {
		t.Fatal(err)
	}
	if f := o.fulfillment("k1"); f == nil || f.ID != "ful_1" || o.fulfillment("k2") != nil || o.fulfillment("") != nil {
		t.Errorf("the fulfillment of k1 is %+v", f)
	}
}

func TestStatusesOfAnOrder(t *testing.T) {
	for _, c := range []struct {
		status, shipped string
		want            connectors.OrderStatus
		cancelled       stock.Quantity
	}{
		{"pending", "5", connectors.OrderOpen, 0},
		{"requires_action", "0", connectors.OrderOpen, 0},
		{"of a later version", "5", connectors.OrderOpen, 0},
		{"completed", "3", connectors.OrderOpen, 0},
		{"completed", "5", connectors.OrderClosed, 0},
		{"archived", "5", connectors.OrderClosed, 0},
		{"canceled", "0", connectors.OrderCancelledStatus, 3}, // 2 are delivered
		{"canceled", "4", connectors.OrderClosed, 1},
	} {
		text := strings.Replace(wireOrder, `"pending"`, `"`+c.status+`"`, 1)
		text = strings.Replace(text, `"shipped_quantity":3`, `"shipped_quantity":`+c.shipped, 1)
		if c.shipped == "0" {
			text = strings.Replace(text, `"delivered_quantity":2`, `"delivered_quantity":0`, 1)
			c.cancelled = map[bool]stock.Quantity{true: 5}[c.status == statusCanceled]
		}
		got, err := decodeOrder(text)
		if err != nil || got.Status != c.want || got.Lines[0].Cancelled != c.cancelled {
			t.Errorf("%s with %s shipped is %s with %d cancelled, %v", c.status, c.shipped, got.Status, got.Lines[0].Cancelled, err)
		}
	}
}

func TestWhatMedusaDoesNotPromiseIsRefused(t *testing.T) {
	for name, change := range map[string][2]string{
		"no quantity":         {`{"quantity":5,`, `{`},
		"null quantity":       {`{"quantity":5,`, `{"quantity":null,`},
		"negative":            {`{"quantity":5,`, `{"quantity":-3,`},
		"huge":                {`{"quantity":5,`, `{"quantity":1e300,`},
		"text":                {`{"quantity":5,`, `{"quantity":"5",`},
		"no shipped":          {`"shipped_quantity":3,`, ``},
		"no returned":         {`"return_received_quantity":1,`, ``},
		"no detail":           {`"detail":{"quantity":5,`, `"detail":null,"x":{"quantity":5,`},
		"no id":               {`"id":"order_7"`, `"id":""`},
		"no status":           {`"status":"pending",`, ``},
		"no version":          {`"version":4,`, ``},
		"no line id":          {`{"id":"ordli_9",`, `{"id":"",`},
		"no time":             {`"updated_at":"2026-11-24T10:00:05.123Z",`, ``},
		"time without a zone": {`"2026-11-24T10:00:05.123Z"`, `"2026-11-24 10:00:05"`},
		"name stands twice":   {`"id":"order_7"`, `"id":"order_7","id":"order_8"`},
		"id is of other kind": {`"id":"order_7"`, `"id":7`},
	} {
		text := strings.Replace(wireOrder, change[0], change[1], 1)
		if text == wireOrder {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := decodeOrder(text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	// Parts of units are rounded so that no unit is sold twice.
	got, err := decodeOrder(strings.Replace(strings.Replace(wireOrder, `{"quantity":5,`, `{"quantity":4.5,`, 1), `"shipped_quantity":3`, `"shipped_quantity":3.5`, 1))
	if err != nil || got.Lines[0].Quantity != 5 || got.Lines[0].Shipped != 3 {
		t.Errorf("parts of units are %+v, %v", got.Lines, err)
	}
}

const wireVariant = `{"id":"variant_1","product_id":"prod_1","manage_inventory":true,"allow_backorder":false,"inventory_items":[
{"required_quantity":2,"inventory":{"id":"iitem_1","variants":[{"id":"variant_1"}],"location_levels":[
{"location_id":"sloc_2","stocked_quantity":99,"reserved_quantity":0},{"location_id":"sloc_1","stocked_quantity":9,"reserved_quantity":2}]}}]}`

func decodeLevel(text string) (level, error) {
	var v variant
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return level{}, err
	}
	return v.at("sloc_1")
}

func TestLevelIsUnderstood(t *testing.T) {
	for name, c := range map[string]struct {
		from, to  string
		available stock.Quantity
		unlimited bool
		composed  bool
	}{
		"plain":             {``, ``, 3, false, false},
		"sold on order":     {`"allow_backorder":false`, `"allow_backorder":true`, 3, true, false},
		"not counted":       {`"manage_inventory":true`, `"manage_inventory":false`, 3, true, false},
		"oversold":          {`"reserved_quantity":2`, `"reserved_quantity":12`, -2, false, false},
		"parts of units":    {`"stocked_quantity":9`, `"stocked_quantity":9.9`, 3, false, false},
		"parts reserved":    {`"reserved_quantity":2`, `"reserved_quantity":3.1`, 2, false, false},
		"not at this place": {`"sloc_1"`, `"sloc_3"`, 0, false, false},
		"no item":           {`"inventory_items":[`, `"inventory_items":[],"x":[`, 0, false, false},
		"deleted item":      {`"inventory_items":[`, `"inventory_items":[{"required_quantity":1,"inventory":null},`, 3, false, false},
		"shared":            {`[{"id":"variant_1"}]`, `[{"id":"variant_1"},{"id":"variant_2"}]`, 3, false, true},
		"two items": {`"inventory_items":[`, `"inventory_items":[{"required_quantity":1,"inventory":{"id":"iitem_2","location_levels":[
			{"location_id":"sloc_1","stocked_quantity":1,"reserved_quantity":0}]}},`, 1, false, true},
	} {
		l, err := decodeLevel(strings.Replace(wireVariant, c.from, c.to, 1))
		if err != nil || l.available() != c.available || l.unlimited() != c.unlimited || l.composed() != c.composed {
			t.Errorf("%s: %d available, unlimited %t, composed %t, %v", name, l.available(), l.unlimited(), l.composed(), err)
		}
	}
	for name, change := range map[string][2]string{
		"no stocked":     {`"stocked_quantity":9,`, ``},
		"null reserved":  {`"reserved_quantity":2`, `"reserved_quantity":null`},
		"text":           {`"stocked_quantity":9,`, `"stocked_quantity":"9",`},
		"huge":           {`"stocked_quantity":9,`, `"stocked_quantity":1e19,`},
		"no switch":      {`"manage_inventory":true,`, ``},
		"no other":       {`"allow_backorder":false,`, ``},
		"nothing needed": {`"required_quantity":2`, `"required_quantity":0`},
		"no item id":     {`"id":"iitem_1"`, `"id":""`},
		"no id":          {`"id":"variant_1","product_id"`, `"id":"","product_id"`},
	} {
		text := strings.Replace(wireVariant, change[0], change[1], 1)
		if text == wireVariant {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := decodeLevel(text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzAnswers: no answer of a shop makes a panic, or a quantity below 0 in an order, or a write that does not show what is
// wanted.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(wireOrder))
	f.Add([]byte(wireVariant))
	f.Add([]byte(strings.Replace(wireOrder, "pending", "canceled", 1)))
	f.Add([]byte(`{"id":"v","manage_inventory":true,"allow_backorder":true,"inventory_items":[{"required_quantity":9007199254740991,"inventory":{"id":"i"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := decodeOrder(string(text)); err == nil {
			for _, l := range got.Lines {
				if l.Quantity < 0 || l.Cancelled < 0 || l.Shipped < 0 || l.Restocked < 0 || l.Cancelled > l.Quantity {
					t.Errorf("line %+v", l)
				}
			}
			if got.Version < 0 {
				t.Errorf("version %d", got.Version)
			}
		}
		l, err := decodeLevel(string(text))
		if err != nil {
			return
		}
		if q := l.available(); q > 1<<55 || q < -(1<<55) {
			t.Errorf("available %d", q)
		}
		if len(l.parts) != 1 {
			return
		}
		w := line{wanted: 4, level: l}
		if stocked, err := w.stocked("try"); err == nil {
			l.parts[0].stocked = stocked
			if l.available() != 4 && stocked > 0 {
				t.Errorf("writing 4 makes %d available", l.available())
			}
		}
	})
}

func FuzzCursors(f *testing.F) {
	f.Add("120:variant_77")
	f.Add("1795477744000:25:1795477744001")
	f.Add("-1:0:0")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := parseListingCursor(connectors.Cursor(text)); err == nil && text != "" {
			if again, err := parseListingCursor(c.encode()); err != nil || again != c {
				t.Errorf("%q is read as %+v, then as %+v, %v", text, c, again, err)
			}
		}
		if c, err := parseOrderCursor(connectors.Cursor(text)); err == nil {
			if again, err := parseOrderCursor(c.encode()); err != nil || again != c {
				t.Errorf("%q is read as %+v, then as %+v, %v", text, c, again, err)
			}
		}
		n, err := (&shop{}).DecodeWebhook(connectors.Delivery{}, []byte(text))
		if len(n.Facts) > 0 || n.Pull != (err == nil) {
			t.Errorf("%+v, %v", n, err)
		}
	})
}

func TestSettingsAreChecked(t *testing.T) {
	good := connectors.Settings{settingBaseURL: "https://shop.example", settingEmail: "u@shop.example", settingPassword: "secret-p"}
	if _, err := open(connectors.Env{}, connectors.MarketplaceRole, good); err != nil {
		t.Fatal(err)
	}
	if _, err := open(connectors.Env{}, connectors.SystemOfRecordRole, good); err == nil {
		t.Error("a shop became a system of record")
	}
	for name, change := range map[string]string{
		settingBaseURL: "shop.example", settingEmail: "", settingPassword: "", settingAPIKey: "secret-k",
		settingWebhookSecrets: "whsec_c2VjcmV0", settingPace: "fast",
	} {
		s := connectors.Settings{}
		maps.Copy(s, good)
		s[name] = change
		_, err := open(connectors.Env{}, connectors.MarketplaceRole, s)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error does not name the setting: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret-") || strings.Contains(err.Error(), "c2VjcmV0")) {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
}

// answering is a transport that always gives the same answer.
type answering struct {
	status int
	kind   string
	body   string
}

// RoundTrip implements http.RoundTripper.
func (a answering) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{"Content-Type": {a.kind}}, Body: io.NopCloser(strings.NewReader(a.body)), Request: req}, nil
}

// TestBadAnswers: every failure is of the right kind, and tells a person what to do.
func TestBadAnswers(t *testing.T) {
	const page, data = "text/html; charset=utf-8", "application/json; charset=utf-8"
	for name, c := range map[string]struct {
		answer answering
		kind   connectors.ErrorKind
		says   string
	}{
		"revoked key":         {answering{401, data, `{"message":"Unauthorized"}`}, connectors.Auth, "Settings → Secret API Keys"},
		"rights":              {answering{403, data, `{"type":"forbidden","message":"no"}`}, connectors.Auth, "Settings → Users"},
		"wrong address":       {answering{404, page, "<pre>Cannot GET /admin/admin/stock-locations</pre>"}, connectors.Rejected, "without /admin"},
		"shop of nobody":      {answering{200, data, `{"stock_locations":[]}`}, connectors.Rejected, "no stock location"},
		"several locations":   {answering{200, data, `{"stock_locations":[{"id":"a","name":"A"},{"id":"b","name":"B"}]}`}, connectors.Rejected, "stock_location"},
		"location without id": {answering{200, data, `{"stock_locations":[{"name":"A"}]}`}, connectors.Rejected, "lacks the id"},
		"another system":      {answering{200, data, `{"data":null}`}, connectors.Rejected, "lacks the list"},
		"HTML":                {answering{200, page, "<!doctype html>"}, connectors.Retryable, "not whole JSON"},
		"truncated":           {answering{200, data, `{"stock_locations":[{"id":"a`}, connectors.Retryable, "not whole JSON"},
		"empty":               {answering{200, data, ""}, connectors.Retryable, "empty body"},
		"huge":                {answering{200, data, `{"x":"` + strings.Repeat("x", 17<<20) + `"}`}, connectors.Retryable, "larger than"},
		"of another kind":     {answering{200, data, `{"stock_locations":{"id":"a"}}`}, connectors.Rejected, "cannot be taken"},
		"conflict":            {answering{409, data, `{"code":"invalid_state_error","type":"conflict","message":"m"}`}, connectors.Retryable, ""},
		"database":            {answering{500, data, `{"code":"api_error","type":"database_error","message":"m"}`}, connectors.Retryable, ""},
	} {
		conn, err := open(connectors.Env{Transport: c.answer}, connectors.MarketplaceRole, connectors.Settings{settingBaseURL: "http://shop.example", settingAPIKey: "sk_secret"})
		if err != nil {
			t.Fatal(err)
		}
		err = conn.Check(t.Context())
		if got := connectors.KindOf(err); got != c.kind || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %s, not %s with %q: %v", name, got, c.kind, c.says, err)
		}
	}
}

// echoing is a shop that repeats every credential that it is given.
type echoing struct{}

// RoundTrip implements http.RoundTripper.
func (echoing) RoundTrip(req *http.Request) (*http.Response, error) {
	given := req.Header.Get("Authorization")
	if given == "" {
		return answering{200, "application/json", `{"token":"secret-session"}`}.RoundTrip(req)
	}
	text, err := json.Marshal(map[string]any{"type": "invalid_data", "code": given, "message": "you gave " + given})
	if err != nil {
		return nil, err
	}
	return answering{400, "application/json", string(text)}.RoundTrip(req)
}

func TestCredentialsAreNotTold(t *testing.T) {
	for _, s := range []connectors.Settings{
		{settingBaseURL: "http://shop.example", settingEmail: "u@shop.example", settingPassword: "secret-p"},
		{settingBaseURL: "http://shop.example", settingAPIKey: "secret-k"},
	} {
		conn, err := open(connectors.Env{Transport: echoing{}}, connectors.MarketplaceRole, s)
		if err != nil {
			t.Fatal(err)
		}
		err = conn.Check(t.Context())
		if err == nil || strings.Contains(err.Error(), "secret-") || strings.Contains(err.Error(), basic("secret-k")) {
			t.Errorf("the error is %v", err)
		}
	}
}

// A quantity that Medusa cannot count exactly is refused before anything is sent.
func TestStockedIsBounded(t *testing.T) {
	l := line{item: "variant_1", wanted: maxQuantity, level: level{parts: []part{{item: "i", required: math.MaxInt32 << 20, reserved: 1}}}}
	if _, err := l.stocked("try"); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("the error is %v", err)
	}
}
