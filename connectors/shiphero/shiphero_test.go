package shiphero_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/shiphero"
	"github.com/truestock/truestock/connectors/signature"
	"github.com/truestock/truestock/stock"
)

func settings(more connectors.Settings) connectors.Settings {
	s := connectors.Settings{"refresh_token": refreshToken, "webhook_secrets": webhookSecret, "levels": "available"}
	maps.Copy(s, more)
	return s
}

func TestConformance(t *testing.T) {
	for _, basis := range []stock.Basis{stock.AvailableBasis, stock.OnHandBasis} {
		t.Run(string(basis), func(t *testing.T) {
			connectortest.RunSystemOfRecord(t, connectortest.Fixture{New: func(t *testing.T) connectortest.Server { return newServer(t, basis) }})
		})
	}
}

func newServer(t *testing.T, basis stock.Basis) connectortest.Server {
	h := newHero(t)
	return connectortest.Server{
		Open: func(env connectors.Env) (connectors.Connection, error) {
			return shiphero.Info().Open(env, connectors.SystemOfRecordRole, settings(connectors.Settings{"levels": string(basis)}))
		},
		Transport: transport{h},
		Secrets:   []string{refreshToken, webhookSecret},
		Writes: func(r *http.Request, body []byte) bool {
			return r.URL.Path == "/graphql" && strings.Contains(string(body), `"query":"mutation`)
		},
		Changes: func() int {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.changes
		},
		SKUs:  slices.Clone(h.skus),
		Level: func(sku string) stock.Quantity { return h.level(sku, basis == stock.OnHandBasis) },
		Receive: func(sku string, quantity stock.Quantity) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.levels[sku][primary].onHand += int64(quantity)
		},
		OrderCount: func() int {
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.orders)
		},
		ShipOrder: h.ship,
		Sign: func(id string, at time.Time, body []byte) connectors.Request {
			header := http.Header{}
			header.Set("X-Shiphero-Hmac-Sha256", signature.Body(webhookSecret, body))
			header.Set("X-Shiphero-Message-ID", id)
			return connectors.Request{Method: http.MethodPost, Header: header, Body: body, At: at}
		},
		Event: []byte(shipment),
	}
}

// shipment is a delivery in the form of https://developer.shiphero.com/webhooks/shipment-update-webhook, of two parcels, and
// with a line that somebody added at ShipHero.
const shipment = `{"test":"0","webhook_type":"Shipment Update","fulfillment":{"shipment_id":315518042,"shipment_uuid":"U2hpcG1lbnQ6MzE1NTE4MDQy",
"warehouse":"Primary","warehouse_id":1,"warehouse_uuid":"V2FyZWhvdXNlOjE=","partner_order_id":"shop:1001","order_number":"1001","tracking_number":"T-0",
"shipping_carrier":"ups","line_items":[
{"id":"shop:1001#3#gid/1","shiphero_id":828656700,"quantity":2,"sku":"SKU-1","package":"Package #1","lot_id":null},
{"id":"shop:1001#3#gid/1","shiphero_id":828656700,"quantity":1,"sku":"SKU-1","package":"Package #2"},
{"id":"somebody-else","quantity":9,"sku":"FLYER","package":"Package #2"}]},
"total_packages":2,"packages":[{"name":"Package #1","shipping_label":{"tracking_number":"T-1","carrier":"ups"}},{"name":"Package #2","tracking_number":"T-2","shipping_carrier":"usps"}]}`

func connect(t *testing.T, h http.Handler, more connectors.Settings) connectors.SystemOfRecord {
	t.Helper()
	c, err := shiphero.Info().Open(connectors.Env{Transport: transport{h}}, connectors.SystemOfRecordRole, settings(more))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(connectors.SystemOfRecord)
}

func TestDocuments(t *testing.T) {
	for name, text := range shiphero.Documents {
		doc, err := parser.ParseQuery(&ast.Source{Name: name, Input: text})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range validator.ValidateWithRules(schema, doc, rules.NewDefaultRules()) {
			t.Errorf("%s: %v", name, e)
		}
		if doc.Operations[0].Name != name {
			t.Errorf("%s is called %s", name, doc.Operations[0].Name)
		}
	}
}

func TestSettings(t *testing.T) {
	for name, try := range map[string]struct {
		settings connectors.Settings
		role     connectors.Role
		want     string
	}{
		"as marketplace":  {settings(nil), connectors.MarketplaceRole, "role"},
		"no credentials":  {connectors.Settings{"levels": "available"}, connectors.SystemOfRecordRole, "refresh_token"},
		"no password":     {connectors.Settings{"levels": "available", "username": "a@b.example"}, connectors.SystemOfRecordRole, "password"},
		"two credentials": {settings(connectors.Settings{"username": "a@b.example"}), connectors.SystemOfRecordRole, "username"},
		"unknown basis":   {settings(connectors.Settings{"levels": "sellable"}), connectors.SystemOfRecordRole, "levels"},
	} {
		if _, err := shiphero.Info().Open(connectors.Env{}, try.role, try.settings); err == nil || !strings.Contains(err.Error(), try.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is held back is taken off, and nothing else: what is sold ahead is not there.
func TestLevels(t *testing.T) {
	h := newHero(t)
	h.levels["SKU-1"][secondary] = &level{onHand: 20, allocated: 7, reserve: 5}
	for basis, want := range map[string]stock.Quantity{"available": 8, "on_hand": 15} {
		r := connect(t, h, connectors.Settings{"levels": basis})
		found := false
		for at := connectors.Cursor(""); ; {
			page, err := r.Levels(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range page.Levels {
				if l.SKU == "SKU-1" && l.Location == secondary {
					found = true
					if l.Quantity != want {
						t.Errorf("%s is %d, not %d", basis, l.Quantity, want)
					}
				}
			}
			if at = page.Next; at == "" {
				break
			}
		}
		if !found {
			t.Error("the level is not told")
		}
	}
}

func TestShipmentsByParcel(t *testing.T) {
	r := connect(t, newHero(t), nil).(connectors.WebhookReceiver)
	n, err := r.DecodeWebhook(connectors.Delivery{Type: "Shipment Update"}, []byte(shipment))
	if err != nil || len(n.Facts) != 2 || !n.Pull {
		t.Fatalf("%+v, %v", n, err)
	}
	for i, want := range []connectors.Shipment{
		{ShipmentID: "U2hpcG1lbnQ6MzE1NTE4MDQy/Package #1", OrderKey: "shop:1001", Carrier: "ups", Tracking: "T-1",
			Lines: []connectors.ShipmentLine{{LineID: "gid/1", SKU: "SKU-1", Quantity: 2, Location: primary}}},
		{ShipmentID: "U2hpcG1lbnQ6MzE1NTE4MDQy/Package #2", OrderKey: "shop:1001", Carrier: "usps", Tracking: "T-2",
			Lines: []connectors.ShipmentLine{{LineID: "gid/1", SKU: "SKU-1", Quantity: 1, Location: primary}}},
	} {
		got := n.Facts[i].Shipment
		if got.ShipmentID != want.ShipmentID || got.OrderKey != want.OrderKey || got.Carrier != want.Carrier || got.Tracking != want.Tracking || !slices.Equal(got.Lines, want.Lines) {
			t.Errorf("parcel %d is %+v", i+1, got)
		}
	}
	one := strings.NewReplacer("Package #2", "Package #1", `"name":"Package #2"`, `"name":"Package #1"`).Replace(shipment)
	one = one[:strings.Index(one, `,"packages"`)] + "}"
	if n, err = r.DecodeWebhook(connectors.Delivery{Type: "Shipment Update"}, []byte(one)); err != nil || len(n.Facts) != 1 || n.Facts[0].Shipment.ShipmentID != "U2hpcG1lbnQ6MzE1NTE4MDQy" ||
		n.Facts[0].Shipment.Tracking != "T-0" {
		t.Errorf("one parcel: %+v, %v", n, err)
	}
	foreign := strings.ReplaceAll(shipment, "shop:1001", "1001")
	foreign = strings.ReplaceAll(foreign, "1001#3#", "x")
	if n, err = r.DecodeWebhook(connectors.Delivery{Type: "Shipment Update"}, []byte(foreign)); err != nil || len(n.Facts) != 0 || !n.Pull {
		t.Errorf("an order of somebody else: %+v, %v", n, err)
	}
	test := strings.Replace(shipment, `"test":"0"`, `"test":"1"`, 1)
	if n, err = r.DecodeWebhook(connectors.Delivery{Type: "Shipment Update"}, []byte(test)); err != nil || len(n.Facts) != 0 || n.Pull {
		t.Errorf("a test: %+v, %v", n, err)
	}
	for _, typ := range []string{"Inventory Update", "Order Allocated", "Order Canceled", "Something New"} {
		if n, err = r.DecodeWebhook(connectors.Delivery{Type: typ}, []byte(`{"webhook_type":"x"}`)); err != nil || len(n.Facts) != 0 || !n.Pull {
			t.Errorf("%s: %+v, %v", typ, n, err)
		}
	}
	for name, change := range map[string][2]string{
		"no quantity":       {`"quantity":2,`, ``},
		"negative quantity": {`"quantity":2,`, `"quantity":-2,`},
		"half a unit":       {`"quantity":2,`, `"quantity":2.5,`},
		"quantity in words": {`"quantity":2,`, `"quantity":"two",`},
		"no SKU":            {`"sku":"SKU-1","package":"Package #1"`, `"package":"Package #1"`},
		"no warehouse":      {`"warehouse_uuid":"V2FyZWhvdXNlOjE=",`, ``},
		"no shipment":       {`"shipment_uuid":"U2hpcG1lbnQ6MzE1NTE4MDQy",`, `"shipment_uuid":null,`},
		"no fulfillment":    {`"fulfillment":{`, `"other":{`},
		"cut off":           {`"total_packages"`, `"total`},
	} {
		bad := strings.Replace(shipment, change[0], change[1], 1)
		if name == "no shipment" {
			bad = strings.NewReplacer(`,"packages":[`, `,"other":[`, `Package #2`, `Package #1`).Replace(bad)
		}
		if n, err = r.DecodeWebhook(connectors.Delivery{Type: "Shipment Update"}, []byte(bad)); err == nil || len(n.Facts) > 0 {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
}

// The signature of a body under a secret, computed by: printf '%s' BODY | openssl dgst -sha256 -hmac SECRET -binary | base64.
func TestWebhookVector(t *testing.T) {
	const body, want = `{"webhook_type":"Inventory Update","inventory":[]}`, "USRc3Kkz9cQG9fEkQXdn/m0y2YaFIOKEW353dAbpIE8="
	r := connect(t, newHero(t), connectors.Settings{"webhook_secrets": "old-one, " + webhookSecret}).(connectors.WebhookReceiver)
	header := http.Header{}
	header.Set("x-shiphero-hmac-sha256", want)
	d, err := r.VerifyWebhook(connectors.Request{Header: header, Body: []byte(body)})
	if err != nil || d.Type != "Inventory Update" || d.Secret != 1 || !strings.HasPrefix(d.Key, "sha256:") {
		t.Errorf("%+v, %v", d, err)
	}
	for _, bad := range []string{"", "A" + want[1:], want + "="} {
		header.Set("x-shiphero-hmac-sha256", bad)
		if _, err := r.VerifyWebhook(connectors.Request{Header: header, Body: []byte(body)}); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAnswersInItsWords(t *testing.T) {
	r := connect(t, newHero(t), nil).(connectors.WebhookAnswerer)
	for became, status := range map[connectors.Reception]int{
		connectors.ReceivedNew: 200, connectors.ReceivedAgain: 200, connectors.ReceivedConflict: 409, connectors.RefusedSignature: 401,
		connectors.RefusedEnvelope: 400, connectors.RefusedUnavailable: 503,
	} {
		reply := r.AnswerWebhook(became)
		var body struct{ Code, Message, Status string }
		if err := json.Unmarshal(reply.Body, &body, json.MatchCaseInsensitiveNames(true)); err != nil || reply.Status != status || body.Code != fmt.Sprint(status) ||
			(body.Message == "Success") != (status == 200) || body.Status != body.Message {
			t.Errorf("%s: %d %s (%v)", became, reply.Status, reply.Body, err)
		}
	}
}

// An order that the warehouse cancels is rejected; one that we cancel is not, in whole and in parts.
func TestWhoCancelled(t *testing.T) {
	h := newHero(t)
	r := connect(t, h, nil)
	o := connectors.NewOrder{Key: "shop:7", Channel: "shop", OrderID: "7", Lines: []connectors.OrderLine{{LineID: "a#1", SKU: "SKU-1", Quantity: 4}, {LineID: "b", SKU: "SKU-2", Quantity: 1}}}
	create := func(key string) string {
		o.Key, o.OrderID = key, key
		if _, err := r.CreateOrder(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		return key
	}
	ask := func(key string) (cancelled, rejected, allocated stock.Quantity) {
		s, err := r.(connectors.OrderTeller).OrderStanding(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range s.Lines {
			cancelled += l.Cancelled
			rejected += l.Rejected
			for _, p := range l.Places {
				allocated += *p.Allocated
			}
		}
		return cancelled, rejected, allocated
	}
	key := create("shop:7")
	if c, x, a := ask(key); c != 0 || x != 0 || a != 5 {
		t.Errorf("new: %d cancelled, %d rejected, %d allocated", c, x, a)
	}
	if err := r.CancelOrder(t.Context(), key, []connectors.CancelLine{{LineID: "a#1", Cancelled: 3}}); err != nil {
		t.Fatal(err)
	}
	if c, x, a := ask(key); c != 3 || x != 0 || a != 2 {
		t.Errorf("in part: %d cancelled, %d rejected, %d allocated", c, x, a)
	}
	h.mu.Lock()
	h.orders[0].status = "canceled"
	h.mu.Unlock()
	if c, x, a := ask(key); c != 3 || x != 2 || a != 0 {
		t.Errorf("by the warehouse: %d cancelled, %d rejected, %d allocated", c, x, a)
	}
	key = create("shop:8")
	for range 2 {
		if err := r.CancelOrder(t.Context(), key, []connectors.CancelLine{{LineID: "a#1", Cancelled: 4}, {LineID: "b", Cancelled: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if c, x, a := ask(key); c != 5 || x != 0 || a != 0 {
		t.Errorf("by us: %d cancelled, %d rejected, %d allocated", c, x, a)
	}
	key = create("shop:9")
	h.ship(key)
	if err := r.CancelOrder(t.Context(), key, []connectors.CancelLine{{LineID: "b", Cancelled: 1}}); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("what is shipped was cancelled: %v", err)
	}
	if err := r.CancelOrder(t.Context(), key, []connectors.CancelLine{{LineID: "c", Cancelled: 1}}); connectors.KindOf(err) != connectors.Unmapped {
		t.Errorf("a line that there is not was cancelled: %v", err)
	}
}

// Each bad answer is told as what it is, and none becomes a number.
func TestBadInput(t *testing.T) {
	data := func(answer map[string]any, field string) map[string]any {
		return answer["data"].(map[string]any)[field].(map[string]any)["data"].(map[string]any)
	}
	row := func(answer map[string]any) map[string]any {
		return data(answer, "warehouse_products")["edges"].([]any)[0].(map[string]any)["node"].(map[string]any)
	}
	fail := func(e map[string]any) func(string, map[string]any) {
		return func(_ string, answer map[string]any) { answer["errors"] = []any{e} }
	}
	for name, try := range map[string]struct {
		after func(string, map[string]any)
		want  connectors.ErrorKind
		text  string
	}{
		"no available":     {func(_ string, a map[string]any) { row(a)["available"] = nil }, connectors.Rejected, "available"},
		"half a unit":      {func(_ string, a map[string]any) { row(a)["available"] = 1.5 }, connectors.Rejected, "/available is not"},
		"number in words":  {func(_ string, a map[string]any) { row(a)["available"] = "7" }, connectors.Rejected, "/available is not"},
		"out of range":     {func(_ string, a map[string]any) { row(a)["available"] = int64(1) << 62 }, connectors.Rejected, "quantity"},
		"negative reserve": {func(_ string, a map[string]any) { row(a)["reserve_inventory"] = -1 }, connectors.Rejected, "reserve"},
		"no SKU":           {func(_ string, a map[string]any) { row(a)["sku"] = nil }, connectors.Rejected, "sku"},
		"no warehouse":     {func(_ string, a map[string]any) { row(a)["warehouse_id"] = "" }, connectors.Rejected, "location"},
		"another customer": {func(_ string, a map[string]any) { row(a)["account_id"] = "other" }, connectors.Rejected, "customer_account_id"},
		"a row twice":      {func(_ string, a map[string]any) { row(a)["warehouse_id"] = secondary }, connectors.Rejected, "there are two"},
		"null row":         {func(_ string, a map[string]any) { data(a, "warehouse_products")["edges"].([]any)[0] = nil }, connectors.Rejected, "lacks"},
		"null data":        {func(_ string, a map[string]any) { a["data"] = map[string]any{"warehouse_products": nil} }, connectors.Rejected, "lacks"},
		"nothing":          {func(_ string, a map[string]any) { delete(a, "data") }, connectors.Retryable, "neither"},
		"no cursor": {func(_ string, a map[string]any) {
			data(a, "warehouse_products")["pageInfo"] = map[string]any{"hasNextPage": true}
		}, connectors.Rejected, "cursor"},
		"unknown code":         {fail(map[string]any{"code": 99, "message": "no"}), connectors.Rejected, "99"},
		"no code":              {fail(map[string]any{"message": "Unexpected"}), connectors.Retryable, "Unexpected"},
		"not found":            {fail(map[string]any{"code": 5, "message": "gone"}), connectors.Unmapped, "gone"},
		"no credits, in words": {fail(map[string]any{"code": 30, "message": "not enough credits. In 18 seconds you will have enough"}), connectors.Throttled, "credits"},
		"no credits, minutes":  {fail(map[string]any{"code": 30, "message": "no", "time_remaining": "2 minutes"}), connectors.Throttled, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHero(t)
			h.after = try.after
			page, err := connect(t, h, nil).Levels(t.Context(), "")
			if connectors.KindOf(err) != try.want || err != nil && !strings.Contains(err.Error(), try.text) {
				t.Errorf("%v", err)
			}
			if len(page.Levels) > 0 {
				t.Errorf("%d levels came out of it", len(page.Levels))
			}
			if wait := time.Until(connectors.RetryAt(err)); try.want == connectors.Throttled && (wait < 15*time.Second || wait > 2*time.Minute) {
				t.Errorf("to be tried again in %s", wait)
			}
		})
	}
	t.Run("the same page again", func(t *testing.T) {
		h := newHero(t)
		h.after = func(_ string, a map[string]any) {
			data(a, "warehouse_products")["pageInfo"] = map[string]any{"hasNextPage": true, "endCursor": "c:3"}
		}
		r := connect(t, h, nil)
		page, err := r.Levels(t.Context(), "")
		if err == nil {
			_, err = r.Levels(t.Context(), page.Next)
		}
		if connectors.KindOf(err) != connectors.Retryable {
			t.Errorf("%v", err)
		}
	})
	t.Run("cursors", func(t *testing.T) {
		r := connect(t, newHero(t), nil)
		for _, c := range []connectors.Cursor{"x", "1:2", "0:a:b", "-1:a:b", "1:a:", "99999999999999999999:a:b"} {
			if _, err := r.Levels(t.Context(), c); connectors.KindOf(err) != connectors.Rejected {
				t.Errorf("%q: %v", c, err)
			}
		}
	})
	t.Run("wrong credentials", func(t *testing.T) {
		err := connect(t, newHero(t), connectors.Settings{"refresh_token": "revoked"}).Check(t.Context())
		if connectors.KindOf(err) != connectors.Auth || !strings.Contains(err.Error(), "Third-Party Developers") {
			t.Errorf("%v", err)
		}
	})
	t.Run("order without a line that was made here", func(t *testing.T) {
		h := newHero(t)
		h.orders = []*orderAt{{id: "X", number: "55", key: "shop:55", status: "pending", lines: []*lineAt{{id: "L", partner: "theirs", sku: "SKU-1", quantity: 1}}}}
		r := connect(t, h, nil)
		_, err := r.CreateOrder(t.Context(), connectors.NewOrder{Key: "shop:55", OrderID: "55", Lines: []connectors.OrderLine{{LineID: "1", SKU: "SKU-1", Quantity: 1}}})
		if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "55") {
			t.Errorf("create: %v", err)
		}
		if err := r.CancelOrder(t.Context(), "shop:55", nil); connectors.KindOf(err) != connectors.Rejected || h.changes > 0 {
			t.Errorf("cancel: %v", err)
		}
	})
	t.Run("two orders with one key", func(t *testing.T) {
		h := newHero(t)
		for _, id := range []string{"A", "B"} {
			h.orders = append(h.orders, &orderAt{id: id, number: id, key: "shop:1", status: "pending"})
		}
		if _, err := connect(t, h, nil).(connectors.OrderTeller).OrderStanding(t.Context(), "shop:1"); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "two orders") {
			t.Errorf("%v", err)
		}
	})
}

// A token is fetched once, again before it ends, and again when it is refused; nothing is asked with a wrong one twice.
func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHero(t)
		r := connect(t, h, nil)
		check := func(logins int) {
			t.Helper()
			if err := r.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if h.logins != logins {
				t.Errorf("%d tokens were fetched, not %d", h.logins, logins)
			}
		}
		check(1)
		check(1)
		h.token += 100 // revoked
		check(2)
		time.Sleep(28*24*time.Hour - 30*time.Minute)
		check(3)
	})
}

// ShipHero's own words may repeat the token that they are about.
func TestNoTokenInErrors(t *testing.T) {
	h := newHero(t)
	h.after = func(_ string, a map[string]any) {
		a["errors"] = []any{map[string]any{"code": 3, "message": "access-t0ken-1 may not do this"}}
	}
	err := connect(t, h, nil).Check(t.Context())
	if err == nil || strings.Contains(err.Error(), "t0ken") || !strings.Contains(err.Error(), "may not do this") {
		t.Errorf("%v", err)
	}
}

// Too few credits are waited for where that takes seconds; longer is the caller's business.
func TestCredits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHero(t)
		h.credits = 50
		r := connect(t, h, nil)
		began := time.Now()
		err := r.Check(t.Context())
		if connectors.KindOf(err) != connectors.Throttled || time.Since(began) > time.Second || connectors.RetryAt(err).Sub(began) < 18*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		tries := 0
		h.credits = 0
		h.after = func(_ string, a map[string]any) {
			if tries++; tries < 3 {
				a["errors"] = []any{map[string]any{"code": 30, "message": "no", "time_remaining": "2 seconds"}}
			}
		}
		if err := r.Check(t.Context()); err != nil || tries != 3 || time.Since(began) < 4*time.Second {
			t.Errorf("%d tries after %s: %v", tries, time.Since(began), err)
		}
	})
}

func FuzzDecodeWebhook(f *testing.F) {
	f.Add("Shipment Update", []byte(shipment))
	f.Add("Inventory Update", []byte(`{"webhook_type":"Inventory Update","inventory":[{"sku":"a","updated_warehouse":{"inventory":"13"}}]}`))
	f.Add("Shipment Update", []byte(`{"fulfillment":{"line_items":[{"id":"k#1#l","quantity":1e3}],"partner_order_id":"k"}}`))
	c, err := shiphero.Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings(nil))
	if err != nil {
		f.Fatal(err)
	}
	r := c.(connectors.WebhookReceiver)
	f.Fuzz(func(t *testing.T, typ string, body []byte) {
		n, err := r.DecodeWebhook(connectors.Delivery{Type: typ}, body)
		if err != nil && len(n.Facts) > 0 {
			t.Errorf("%d facts beside the error %v", len(n.Facts), err)
		}
		for _, fact := range n.Facts {
			if err := fact.Validate(); err != nil {
				t.Error(err)
			}
		}
		header := http.Header{}
		header.Set("X-Shiphero-Hmac-Sha256", signature.Body(webhookSecret, body))
		if _, err := r.VerifyWebhook(connectors.Request{Header: header, Body: body}); err != nil && !errors.Is(err, connectors.ErrEnvelope) && len(body) > 0 {
			t.Errorf("well signed: %v", err)
		}
	})
}
