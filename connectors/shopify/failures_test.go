package shopify_test

import (
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/shopify"
)

// canned answers everything with one status and body, but the question for the shop and its locations, which is answered
// well where it is not what is meant.
type canned struct {
	status int
	body   string
	all    bool
}

const shopAnswer = `{"data":{"shop":{"id":"gid://shopify/Shop/77","myshopifyDomain":"suite.myshopify.com"},"locations":{"nodes":[{"id":"gid://shopify/Location/9","name":"W","isActive":true}]}}}`

// RoundTrip implements http.RoundTripper.
func (c canned) RoundTrip(req *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	status, body := c.status, c.body
	if !c.all && strings.Contains(string(text), "query Shop ") {
		status, body = 200, shopAnswer
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}, Request: req, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// TestErrorsOfGraphQL: errors come with HTTP 200; one below the field of a mutation is one of its answer.
func TestErrorsOfGraphQL(t *testing.T) {
	for _, c := range []struct {
		error       string
		read, write connectors.ErrorKind
	}{
		{`{"message":"m","path":["f"],"extensions":{"code":"ACCESS_DENIED","requiredAccess":"read_x"}}`, connectors.Auth, connectors.Auth},
		{`{"message":"m","extensions":{"code":"SHOP_INACTIVE"}}`, connectors.Auth, connectors.Auth},
		{`{"message":"m","extensions":{"code":"THROTTLED"}}`, connectors.Throttled, connectors.Throttled},
		{`{"message":"m","extensions":{"code":"MAX_COST_EXCEEDED"}}`, connectors.Rejected, connectors.Rejected},
		{`{"message":"m","extensions":{"code":"BAD_REQUEST"}}`, connectors.Rejected, connectors.Rejected},
		{`{"message":"m","extensions":{"code":"undefinedField"}}`, connectors.Rejected, connectors.Rejected},
		{`{"message":"m","extensions":{"code":"INTERNAL_SERVER_ERROR"}}`, connectors.Retryable, connectors.Uncertain},
		{`{"message":"m"}`, connectors.Retryable, connectors.Uncertain},
		{`{"message":"m","path":["f","userErrors"],"extensions":{"code":"ACCESS_DENIED"}}`, connectors.Auth, connectors.Uncertain},
	} {
		m := open(t, canned{status: 200, body: `{"errors":[` + c.error + `],"data":null}`})
		_, readErr := m.Listings(t.Context(), "")
		_, writeErr := m.WriteStock(t.Context(), []connectors.Write{write(connectors.Ref{Item: "1"}, 1, 2)})
		if connectors.KindOf(readErr) != c.read || connectors.KindOf(writeErr) != c.write {
			t.Errorf("%s: reading %v, writing %v", c.error, readErr, writeErr)
		}
	}
}

// TestBadAnswers: what Shopify would not send is refused on reading, and leaves a write uncertain; nothing becomes 0.
func TestBadAnswers(t *testing.T) {
	const (
		item  = `{"data":{"inventoryItems":{"nodes":[{"id":"gid://shopify/InventoryItem/1","tracked":true,"updatedAt":"2026-01-01T00:00:00Z","inventoryLevel":{"updatedAt":"2026-01-01T00:00:00Z","quantities":[{"name":"available","quantity":4}]},"variants":{"nodes":[{"inventoryPolicy":"DENY","displayName":"D","product":{"status":"ACTIVE"}}]}}],"pageInfo":{"hasNextPage":false,"endCursor":"c"}}}}`
		order = `{"data":{"orders":{"nodes":[{"id":"gid://shopify/Order/1","createdAt":"2026-01-01T00:00:00Z","updatedAt":"2026-01-01T00:00:00Z","closed":false,"lineItems":{"nodes":[{"id":"gid://shopify/LineItem/2","quantity":5,"currentQuantity":5,"sku":"A","variant":{"inventoryItem":{"id":"gid://shopify/InventoryItem/1"}}}],"pageInfo":{"hasNextPage":false}},"fulfillments":[{"id":"gid://shopify/Fulfillment/3","status":"SUCCESS","fulfillmentLineItems":{"nodes":[{"quantity":1,"lineItem":{"id":"gid://shopify/LineItem/2"}}]}}],"refunds":[],"fulfillmentOrders":{"nodes":[]}}],"pageInfo":{"hasNextPage":false}}}}`
	)
	listings := func(m marketplace) error { _, err := m.Listings(t.Context(), ""); return err }
	orders := func(m marketplace) error { _, err := m.Orders(t.Context(), time.Time{}, ""); return err }
	for name, c := range map[string]struct {
		text string
		call func(marketplace) error
		old  string
		now  string
		kind connectors.ErrorKind
	}{
		"as it should be":            {item, listings, `4`, `4`, ""},
		"negative":                   {item, listings, `"quantity":4`, `"quantity":-4`, ""}, // a shop may oversell
		"fraction":                   {item, listings, `"quantity":4`, `"quantity":4.5`, connectors.Rejected},
		"text":                       {item, listings, `"quantity":4`, `"quantity":"4"`, connectors.Rejected},
		"no quantity":                {item, listings, `"quantity":4`, `"quantity":null`, connectors.Rejected},
		"huge":                       {item, listings, `"quantity":4`, `"quantity":4000000000`, connectors.Rejected},
		"another state":              {item, listings, `"available"`, `"on_hand"`, connectors.Rejected},
		"not said whether tracked":   {item, listings, `"tracked":true,`, ``, connectors.Rejected},
		"another kind of id":         {item, listings, `InventoryItem/1`, `ProductVariant/1`, connectors.Rejected},
		"an id that is no number":    {item, listings, `InventoryItem/1`, `InventoryItem/x`, connectors.Rejected},
		"an item that is null":       {item, listings, `"nodes":[{"id":"gid`, `"nodes":[null,{"id":"gid`, connectors.Rejected},
		"unknown policy and status":  {item, listings, `"ACTIVE"`, `"NEW"`, ""},
		"a page without a cursor":    {item, listings, `false,"endCursor":"c"`, `true,"endCursor":""`, connectors.Rejected},
		"names that stand twice":     {item, listings, `"tracked":true`, `"tracked":true,"tracked":false`, connectors.Rejected},
		"order as it should be":      {order, orders, `5`, `5`, ""},
		"a year in the future":       {order, orders, `"updatedAt":"2026`, `"updatedAt":"2126`, ""},
		"negative ordered":           {order, orders, `"quantity":5`, `"quantity":-5`, connectors.Rejected},
		"more left than ordered":     {order, orders, `"currentQuantity":5`, `"currentQuantity":6`, connectors.Rejected},
		"fraction ordered":           {order, orders, `"quantity":5`, `"quantity":5.5`, connectors.Rejected},
		"no current quantity":        {order, orders, `"currentQuantity":5,`, ``, connectors.Rejected},
		"negative shipped":           {order, orders, `"quantity":1`, `"quantity":-1`, connectors.Rejected},
		"shipped without a quantity": {order, orders, `"quantity":1`, `"quantity":null`, connectors.Rejected},
		"a location of another kind": {order, orders, `"SUCCESS",`, `"SUCCESS","location":{"id":"gid://shopify/Shop/1"},`, connectors.Rejected},
		"an unknown status":          {order, orders, `"SUCCESS"`, `"TELEPORTED"`, ""},
		"no time":                    {order, orders, `"updatedAt":"2026-01-01T00:00:00Z",`, ``, connectors.Rejected},
		"an order that is null":      {order, orders, `"nodes":[{"id":"gid://shopify/Order`, `"nodes":[null,{"id":"gid://shopify/Order`, connectors.Rejected},
		"a refund that is null":      {order, orders, `"refunds":[]`, `"refunds":[null]`, connectors.Rejected},
	} {
		text := strings.Replace(c.text, c.old, c.now, 1)
		if text == c.text && c.old != c.now {
			t.Fatalf("%s: nothing was changed", name)
		}
		if err := c.call(open(t, canned{status: 200, body: text})); connectors.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnswersThatSayNothing: a 200 without a result is no success.
func TestAnswersThatSayNothing(t *testing.T) {
	for _, body := range []string{
		`{"data":{"inventorySetQuantities":null}}`, `{"data":{}}`, `{}`, `{"data":null}`, `[]`, `{"errors":"no"}`,
	} {
		m := open(t, canned{status: 200, body: body})
		_, err := m.WriteStock(t.Context(), []connectors.Write{write(connectors.Ref{Item: "1"}, 1, 2)})
		if connectors.KindOf(err) != connectors.Uncertain {
			t.Errorf("%s: writing %v", body, err)
		}
	}
	m := open(t, canned{status: 200, body: `{"data":{"inventorySetQuantities":{"userErrors":[{"message":"no","code":"BRAND_NEW"}]}}}`})
	results, err := m.WriteStock(t.Context(), []connectors.Write{write(connectors.Ref{Item: "1"}, 1, 2)})
	if err != nil || connectors.KindOf(results[0].Err) != connectors.Rejected {
		t.Errorf("an unknown code: %+v, %v", results, err)
	}
	m = open(t, canned{status: 200, body: `{"data":{"inventorySetQuantities":{"userErrors":[{"field":["input","quantities","0"],"message":"no","code":"IDEMPOTENCY_CONCURRENT_REQUEST"}]}}}`})
	if results, err = m.WriteStock(t.Context(), []connectors.Write{write(connectors.Ref{Item: "1"}, 1, 2)}); err != nil || connectors.KindOf(results[0].Err) != connectors.Uncertain {
		t.Errorf("the same request is at work: %+v, %v", results, err)
	}
}

// TestRepeatedPage: a list that leads back to the page it comes from is told, not followed for ever.
func TestRepeatedPage(t *testing.T) {
	m := open(t, canned{status: 200, body: `{"data":{"inventoryItems":{"nodes":[],"pageInfo":{"hasNextPage":true,"endCursor":"c"}},"orders":{"nodes":[],"pageInfo":{"hasNextPage":true,"endCursor":"c"}},"webhookSubscriptions":{"nodes":[],"pageInfo":{"hasNextPage":true,"endCursor":"c"}}}}`})
	page, err := m.Listings(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = m.Listings(t.Context(), page.Next); connectors.KindOf(err) != connectors.Retryable {
		t.Errorf("listings: %v", err)
	}
	orders, err := m.Orders(t.Context(), time.Time{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = m.Orders(t.Context(), time.Time{}, orders.Next); connectors.KindOf(err) != connectors.Retryable {
		t.Errorf("orders: %v", err)
	}
	if _, err = m.MissingSubscriptions(t.Context()); connectors.KindOf(err) != connectors.Retryable {
		t.Errorf("subscriptions: %v", err)
	}
	for _, cursor := range []connectors.Cursor{"x", "-1:0:0:1:c", "99:0:0:1:c", "1:0:0:1:c", "0:x:0:1:c", "0:0:x:1:c", "0:0:0:-1:c", "0:0:0:1"} {
		if _, err := m.Listings(t.Context(), cursor); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("%s: %v", cursor, err)
		}
	}
	for _, cursor := range []connectors.Cursor{"x", "-1:2:3:c", "1:-2:3:c", "1:2:-3:c", "1:2:x:c", "1:2:3", "99999999999999999999:2:3:c"} {
		if _, err := m.Orders(t.Context(), time.Time{}, cursor); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("%s: %v", cursor, err)
		}
	}
}

// TestWhatAPersonDoes: the text says what to do in Shopify's own screens.
func TestWhatAPersonDoes(t *testing.T) {
	for status, c := range map[int]struct {
		kind connectors.ErrorKind
		text string
	}{
		401: {connectors.Auth, "install it again"}, 402: {connectors.Auth, "Billing"}, 403: {connectors.Auth, "access scopes"},
		404: {connectors.Unmapped, "Domains"}, 423: {connectors.Auth, "support"},
	} {
		err := open(t, canned{status: status, body: `{"errors":"no"}`, all: true}).Check(t.Context())
		if connectors.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%d: %v", status, err)
		}
	}
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	p.scopes["orders"] = true
	_, err := open(t, p).Orders(t.Context(), time.Time{}, "")
	if connectors.KindOf(err) != connectors.Auth || !strings.Contains(err.Error(), "read_orders") {
		t.Errorf("a revoked scope: %v", err)
	}
	if err := open(t, p, "access_token", "shpat_wrong").Check(t.Context()); connectors.KindOf(err) != connectors.Auth {
		t.Errorf("a wrong token: %v", err)
	}
	if err := open(t, p, "shop", "other.myshopify.com").Check(t.Context()); connectors.KindOf(err) != connectors.Unmapped {
		t.Errorf("another shop: %v", err)
	}
	alias := open(t, canned{status: 200, body: shopAnswer}, "shop", "old-name.myshopify.com")
	if err := alias.Check(t.Context()); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), domain) {
		t.Errorf("an old name of the shop: %v", err)
	}
}

// TestVersionThatAnswers: a version that came to its end is answered for by another, which is told, and not believed.
func TestVersionThatAnswers(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	m := open(t, p, "api_version", "2026-04")
	if err := m.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	ref := connectors.Ref{Item: p.items[0].id}
	if _, err := m.ReadStock(t.Context(), []connectors.Ref{ref}); err != nil {
		t.Fatal(err)
	}
	p.version = "2026-07"
	_, err := m.ReadStock(t.Context(), []connectors.Ref{ref})
	if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "2026-07") || !strings.Contains(err.Error(), "api_version") {
		t.Errorf("reading: %v", err)
	}
	if _, err = m.WriteStock(t.Context(), []connectors.Write{write(ref, 1, 10)}); connectors.KindOf(err) != connectors.Uncertain {
		t.Errorf("writing: %v", err)
	}
}

func TestLocations(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	first := p.locations[0].id
	p.locations[0].active = false
	if err := open(t, p).Check(t.Context()); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("no active location: %v", err)
	}
	p.locations[0].active = true
	second := p.addLocation("Second")
	for wanted, good := range map[string]bool{
		"": false, first: true, "Warehouse": true, "warehouse": false, first + "," + second: true, first + ",Second": true, "Warehouse," + first: true, "9": false, second + ",9": false,
	} {
		err := open(t, p, "locations", wanted).Check(t.Context())
		if good != (err == nil) || !good && (connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), second+" (Second)")) {
			t.Errorf("%q: %v", wanted, err)
		}
	}
}

// TestFetchedTokens: an app of the Dev Dashboard has no token of its own. One that is refused is fetched anew, once.
func TestFetchedTokens(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	p.client = true
	m := open(t, p, "access_token", "", "client_id", "client", "client_secrets", secret+" shpss_old")
	for range 2 {
		if err := m.Check(t.Context()); err != nil || p.fetched != 1 {
			t.Fatalf("%d fetched, %v", p.fetched, err)
		}
	}
	p.live = "shpat_revoked"
	if err := m.Check(t.Context()); err != nil || p.fetched != 2 {
		t.Errorf("%d fetched, %v", p.fetched, err)
	}
	wrong := open(t, p, "access_token", "", "client_id", "client", "client_secrets", "shpss_wrong")
	if err := wrong.Check(t.Context()); connectors.KindOf(err) != connectors.Auth || strings.Contains(err.Error(), "shpss_wrong") || !strings.Contains(err.Error(), "Dev Dashboard") {
		t.Errorf("a wrong secret: %v", err)
	}
	gone := open(t, canned{status: 200, body: `{"access_token":"shpat_echo","expires_in":10,"errors":[{"message":"shpat_echo","extensions":{"code":"BAD_REQUEST"}}]}`, all: true},
		"access_token", "", "client_id", "client")
	if err := gone.Check(t.Context()); err == nil || strings.Contains(err.Error(), "shpat_echo") {
		t.Errorf("a token in the error: %v", err)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	info := shopify.Info()
	if _, err := info.Open(connectors.Env{}, connectors.SystemOfRecordRole, settings()); err == nil {
		t.Error("a shop became a system of record")
	}
	if _, err := info.Open(connectors.Env{}, connectors.MarketplaceRole, settings()); err != nil {
		t.Error(err)
	}
	var many []string
	for i := range 51 {
		many = append(many, strconv.Itoa(i))
	}
	for _, c := range []struct{ setting, value, names string }{
		{"shop", "", "shop"}, {"shop", "https://suite.myshopify.com", "shop"}, {"shop", "suite.myshopify.com/admin", "shop"},
		{"shop", "user:secret-p@suite.myshopify.com", "shop"}, {"access_token", "", "access_token"}, {"access_token", "secret-a secret-b", "access_token"},
		{"client_id", "c", "client_id"}, {"api_version", "2025-10", "api_version"}, {"api_version", "", "api_version"}, {"notify_buyer", "yes", "notify_buyer"}, {"buyers", "", "buyers"},
		{"locations", strings.Join(many, ","), "locations"},
	} {
		s := connectors.Settings{}
		maps.Copy(s, settings())
		s[c.setting] = c.value
		_, err := info.Open(connectors.Env{}, connectors.MarketplaceRole, s)
		if err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s %q: %v", c.setting, c.value, err)
		}
		if err != nil && c.setting != "shop" && strings.Contains(err.Error(), "secret-") {
			t.Errorf("%s: the error tells a secret: %v", c.setting, err)
		}
	}
}
