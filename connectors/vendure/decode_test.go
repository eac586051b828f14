package vendure

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
	"github.com/truestock/truestock/connectors/graphql"
)

// wireOrder is an order as a shop tells it: 5 placed, 2 of them cancelled, 1 shipped, 1 packed.
const wireOrder = `{"id":"7","code":"T7","state":"PartiallyShipped","type":"Regular","orderPlacedAt":"2026-11-24T10:00:00.000Z",
"updatedAt":"2026-11-24T10:00:05.000Z","customer":null,
"lines":[{"id":"9","quantity":3,"orderPlacedQuantity":5,"updatedAt":"2026-11-24T10:00:07.000Z","productVariant":{"id":"1","sku":"A"}}],
"fulfillments":[{"id":"1","state":"Shipped","method":"Post (ref 00)","updatedAt":"2026-11-24T10:00:06.000Z","lines":[{"orderLineId":"9","quantity":1}]},
{"id":"2","state":"Pending","method":"Post (ref 01)","updatedAt":"2026-11-24T10:00:01.000Z","lines":[{"orderLineId":"9","quantity":1}]}],
"history":{"items":[{"data":{"lines":[{"orderLineId":9,"quantity":1}]}},{"data":{"lines":[{"orderLineId":"9","quantity":1}],"reason":"x"}}]}}`

func TestOrderIsUnderstood(t *testing.T) {
	var o order
	if err := json.Unmarshal([]byte(wireOrder), &o); err != nil {
		t.Fatal(err)
	}
	got, err := o.toOrder()
	if err != nil {
		t.Fatal(err)
	}
	want := connectors.ChannelLine{LineID: "9", Ref: connectors.Ref{Item: "1"}, SKU: "A", Quantity: 5, Cancelled: 2, Shipped: 1}
	if len(got.Lines) != 1 || got.Lines[0] != want || got.Status != connectors.OrderOpen {
		t.Errorf("got %+v", got)
	}
	if changed := time.Date(2026, 11, 24, 10, 0, 7, 0, time.UTC); !got.UpdatedAt.Equal(changed) || got.Version != changed.UnixMilli()*1000+8 {
		t.Errorf("changed at %s, version %d", got.UpdatedAt, got.Version)
	}
}

func TestWhatTheSchemaDoesNotPromiseIsRefused(t *testing.T) {
	for name, change := range map[string][2]string{
		"no quantity":         {`"quantity":3,`, ``},
		"null quantity":       {`"quantity":3,`, `"quantity":null,`},
		"negative":            {`"quantity":3,`, `"quantity":-3,`},
		"huge":                {`"quantity":3,`, `"quantity":3000000000,`},
		"fraction":            {`"quantity":3,`, `"quantity":3.5,`},
		"text":                {`"quantity":3,`, `"quantity":"3",`},
		"no code":             {`"code":"T7"`, `"code":""`},
		"no state":            {`"state":"PartiallyShipped",`, ``},
		"no line id":          {`{"id":"9",`, `{"id":"",`},
		"no time":             {`"updatedAt":"2026-11-24T10:00:05.000Z",`, ``},
		"not placed":          {`"orderPlacedAt":"2026-11-24T10:00:00.000Z",`, `"orderPlacedAt":null,`},
		"fulfillment":         {`{"orderLineId":"9","quantity":1}]},`, `{"orderLineId":"9"}]},`},
		"cancellation":        {`{"orderLineId":9,"quantity":1}`, `{"orderLineId":9,"quantity":-1}`},
		"name stands twice":   {`"id":"7"`, `"id":"7","id":"8"`},
		"id is of other kind": {`"id":"7"`, `"id":7`},
	} {
		text := strings.Replace(wireOrder, change[0], change[1], 1)
		if text == wireOrder {
			t.Fatalf("%s: nothing was changed", name)
		}
		var o order
		err := json.Unmarshal([]byte(text), &o)
		if err == nil {
			_, err = o.toOrder()
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzOrder(f *testing.F) {
	f.Add([]byte(wireOrder))
	f.Add([]byte(strings.ReplaceAll(wireOrder, "PartiallyShipped", "Cancelled")))
	f.Add([]byte(`{"lines":[{}],"history":{"items":[{"data":{"lines":[{"orderLineId":{},"quantity":1}]}}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var o order
		if json.Unmarshal(text, &o) != nil {
			return
		}
		got, err := o.toOrder()
		if err != nil {
			return
		}
		for _, l := range got.Lines {
			if l.Quantity < 0 || l.Cancelled < 0 || l.Shipped < 0 || l.Cancelled > l.Quantity {
				t.Errorf("line %+v", l)
			}
			if l.Shipped <= l.Quantity && l.Shipped+l.Cancelled > l.Quantity {
				t.Errorf("more is shipped and cancelled than ordered: %+v", l)
			}
		}
		if got.Version < 0 {
			t.Errorf("version %d", got.Version)
		}
	})
}

func FuzzVariant(f *testing.F) {
	f.Add([]byte(`{"id":"1","trackInventory":"INHERIT","outOfStockThreshold":-2,"useGlobalOutOfStockThreshold":false,` +
		`"stockLevels":[{"stockLocationId":"1","stockOnHand":5,"stockAllocated":1}]}`))
	f.Add([]byte(`{"id":"1","outOfStockThreshold":0,"useGlobalOutOfStockThreshold":true,"stockLevels":[{"stockLocationId":"1","stockOnHand":9223372036854775807}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var v variant
		if json.Unmarshal(text, &v) != nil {
			return
		}
		tracked, threshold := true, int64(3)
		l, err := v.at("1", globalSettings{TrackInventory: &tracked, OutOfStockThreshold: &threshold})
		if err != nil {
			return
		}
		if q := l.available(); q > 3*math.MaxInt32 || q < 3*math.MinInt32 {
			t.Errorf("available %d", q)
		}
		// What is written makes what is wanted available.
		w := line{wanted: 4, level: l}
		l.onHand = w.onHand()
		if l.available() != 4 {
			t.Errorf("writing 4 makes %d available", l.available())
		}
	})
}

func FuzzCursors(f *testing.F) {
	f.Add("120:77")
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
	})
}

func FuzzHint(f *testing.F) {
	f.Add([]byte(`{"type":"order.changed","timestamp":"2026-11-24T10:00:00.000Z","data":{"order_codes":["A"]}}`))
	f.Add([]byte(`{"type":"stock.changed","data":{"variant_ids":[]}}`))
	f.Add([]byte(`{"type":"stock.changed","type":"order.changed"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := (&shop{}).DecodeWebhook(connectors.Delivery{}, body)
		if len(n.Facts) > 0 || n.Pull != (err == nil) {
			t.Errorf("%+v, %v", n, err)
		}
	})
}

func TestSettingsAreChecked(t *testing.T) {
	good := connectors.Settings{settingBaseURL: "https://shop.example/admin-api", settingUsername: "u", settingPassword: "secret-p", settingHandler: "h"}
	if _, err := open(connectors.Env{}, connectors.MarketplaceRole, good); err != nil {
		t.Fatal(err)
	}
	if _, err := open(connectors.Env{}, connectors.SystemOfRecordRole, good); err == nil {
		t.Error("a shop became a system of record")
	}
	for name, change := range map[string]string{
		settingBaseURL: "shop.example", settingUsername: "", settingPassword: "", settingAPIKey: "secret-k", settingHandler: "",
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

// TestErrorsOfGraphQL: errors come with HTTP 200; one below the field of a mutation is one of its answer.
func TestErrorsOfGraphQL(t *testing.T) {
	for _, c := range []struct {
		error       string
		read, write connectors.ErrorKind
	}{
		{`{"message":"m","path":["f"],"extensions":{"code":"FORBIDDEN"}}`, connectors.Auth, connectors.Auth},
		{`{"message":"m","path":["f"],"extensions":{"code":"CHANNEL_NOT_FOUND"}}`, connectors.Auth, connectors.Auth},
		{`{"message":"m","path":["f"],"extensions":{"code":"ENTITY_NOT_FOUND"}}`, connectors.Unmapped, connectors.Unmapped},
		{`{"message":"m","path":["f"],"extensions":{"code":"USER_INPUT_ERROR"}}`, connectors.Rejected, connectors.Rejected},
		{`{"message":"m","path":["f"],"extensions":{"code":"INTERNAL_SERVER_ERROR"}}`, connectors.Retryable, connectors.Uncertain},
		{`{"message":"m"}`, connectors.Retryable, connectors.Uncertain},
		{`{"message":"m","path":["f",0,"stockLevels"],"extensions":{"code":"FORBIDDEN"}}`, connectors.Auth, connectors.Uncertain},
	} {
		conn, err := open(connectors.Env{Transport: answering(`{"errors":[` + c.error + `],"data":null}`)}, connectors.MarketplaceRole, connectors.Settings{
			settingBaseURL: "http://shop.example", settingAPIKey: "k", settingHandler: "h",
		})
		if err != nil {
			t.Fatal(err)
		}
		for write, want := range map[bool]connectors.ErrorKind{false: c.read, true: c.write} {
			_, err := ask[writeData](t.Context(), conn.(*shop), graphql.Request{Op: "try", Write: write})
			if got := connectors.KindOf(err); got != want {
				t.Errorf("%s (write: %t) is %s, not %s", c.error, write, got, want)
			}
		}
	}
}

// answering is a transport that always gives the same answer.
type answering string

// RoundTrip implements http.RoundTripper.
func (a answering) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(a))), Request: req}, nil
}

// echoing is a shop that repeats every credential that it is given.
type echoing struct{}

// RoundTrip implements http.RoundTripper.
func (echoing) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	given := req.Header.Get("Authorization")
	if given == "" {
		return &http.Response{StatusCode: 200, Header: http.Header{"Vendure-Auth-Token": {"secret-session"}}, Request: req,
			Body: io.NopCloser(strings.NewReader(`{"data":{"login":{"id":"1"}}}`))}, nil
	}
	text, err := json.Marshal(map[string]any{"errors": []any{map[string]any{
		"message": given + string(body), "extensions": map[string]any{"code": "USER_INPUT_ERROR " + given},
	}}})
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Request: req, Body: io.NopCloser(strings.NewReader(string(text)))}, nil
}

func TestSessionIsNotTold(t *testing.T) {
	conn, err := open(connectors.Env{Transport: echoing{}}, connectors.MarketplaceRole, connectors.Settings{
		settingBaseURL: "http://shop.example", settingUsername: "u", settingPassword: "secret-p", settingHandler: "h",
	})
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Check(t.Context())
	if err == nil || strings.Contains(err.Error(), "secret-") {
		t.Errorf("the error is %v", err)
	}
}
