package shipbob_test

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/shipbob"
	"github.com/truestock/truestock/connectors/standardwebhooks"
	"github.com/truestock/truestock/stock"
)

func settings(more connectors.Settings) connectors.Settings {
	s := connectors.Settings{"token": token, "environment": "production", "webhook_secrets": secret, "levels": "available", "shipping_method": "Standard",
		"ship_to": "Packing desk; 100 N Racine Ave; Chicago; IL; 60607; us"}
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
	b := newBob(t)
	return connectortest.Server{
		Open: func(env connectors.Env) (connectors.Connection, error) {
			return shipbob.Info().Open(env, connectors.SystemOfRecordRole, settings(connectors.Settings{"levels": string(basis)}))
		},
		Transport: transport{b},
		Secrets:   []string{token, secret, strings.TrimPrefix(secret, "whsec_")},
		Writes:    func(r *http.Request, _ []byte) bool { return r.Method != http.MethodGet },
		Changes: func() int {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.changes
		},
		SKUs:  slices.Clone(b.skus),
		Level: func(sku string) stock.Quantity { return b.total(sku, basis == stock.OnHandBasis) },
		Receive: func(sku string, quantity stock.Quantity) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.levels[sku][228].onHand += int64(quantity)
		},
		OrderCount: func() int {
			b.mu.Lock()
			defer b.mu.Unlock()
			return len(b.orders)
		},
		ShipOrder: b.ship,
		Sign:      sign,
		Event:     []byte(shipped),
	}
}

func sign(id string, at time.Time, body []byte) connectors.Request {
	v, err := standardwebhooks.Parse(secret)
	if err != nil {
		panic(err)
	}
	header, err := v.Sign(id, at, body)
	if err != nil {
		panic(err)
	}
	header.Set("x-webhook-topic", "order.shipped")
	return connectors.Request{Method: http.MethodPost, Header: header, Body: body, At: at}
}

// shipped is an order in the form of the API, of which one shipment has left and another has not.
const shipped = `{"id":309589638,"reference_id":"shop:1001","status":"PartiallyFulfilled","type":"DTC",
"tags":[{"name":"truestock-line-1","value":"3#gid/1"},{"name":"truestock-line-2","value":"1#2"},{"name":"gift","value":"no"}],
"products":[{"id":1,"reference_id":"SKU-1","quantity":3,"external_line_id":1},{"id":2,"reference_id":"SKU-2","quantity":1,"external_line_id":2}],
"shipments":[
{"id":77,"status":"Completed","location":{"id":228,"name":"Moreno Valley (CA)"},"tracking":{"carrier":"USPS","tracking_number":"9261"},
"products":[{"id":1,"reference_id":"SKU-1","inventory_items":[{"id":5,"quantity":1,"quantity_committed":1,"lot":"A"},{"id":5,"quantity":1,"quantity_committed":1,"lot":"B"}]}]},
{"id":78,"status":"Exception","location":{"id":300,"name":"Cicero (IL)"},"tracking":null,
"products":[{"id":1,"reference_id":"SKU-1","inventory_items":[{"id":5,"quantity":1,"quantity_committed":0}]},{"id":2,"reference_id":"SKU-2","inventory_items":[{"id":6,"quantity":1,"quantity_committed":0}]}]}]}`

func connect(t *testing.T, h http.Handler, more connectors.Settings) connectors.SystemOfRecord {
	t.Helper()
	c, err := shipbob.Info().Open(connectors.Env{Transport: transport{h}}, connectors.SystemOfRecordRole, settings(more))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(connectors.SystemOfRecord)
}

func TestSettings(t *testing.T) {
	for name, try := range map[string]struct {
		more connectors.Settings
		role connectors.Role
		want string
	}{
		"as marketplace":      {nil, connectors.MarketplaceRole, "role"},
		"no token":            {connectors.Settings{"token": " "}, connectors.SystemOfRecordRole, "token"},
		"unknown environment": {connectors.Settings{"environment": "test"}, connectors.SystemOfRecordRole, "environment"},
		"channel in words":    {connectors.Settings{"channel_id": "mine"}, connectors.SystemOfRecordRole, "channel_id"},
		"unknown basis":       {connectors.Settings{"levels": "sellable"}, connectors.SystemOfRecordRole, "levels"},
		"short address":       {connectors.Settings{"ship_to": "Desk; Street 1; Town"}, connectors.SystemOfRecordRole, "ship_to"},
		"country in words":    {connectors.Settings{"ship_to": "Desk; Street 1; Town; ; 1; Germany"}, connectors.SystemOfRecordRole, "ship_to"},
		"weak secret":         {connectors.Settings{"webhook_secrets": "whsec_AAAA"}, connectors.SystemOfRecordRole, "webhook_secrets"},
		"no method":           {connectors.Settings{"shipping_method": ""}, connectors.SystemOfRecordRole, "shipping_method"},
	} {
		if _, err := shipbob.Info().Open(connectors.Env{}, try.role, settings(try.more)); err == nil || !strings.Contains(err.Error(), try.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShipmentsFromWebhooks(t *testing.T) {
	r := connect(t, newBob(t), nil).(connectors.WebhookReceiver)
	decode := func(topic, body string) (connectors.Notice, error) {
		return r.DecodeWebhook(connectors.Delivery{Type: topic}, []byte(body))
	}
	n, err := decode("order.shipped", shipped)
	if err != nil || len(n.Facts) != 1 || !n.Pull {
		t.Fatalf("%+v, %v", n, err)
	}
	got := n.Facts[0].Shipment
	if got.ShipmentID != "77" || got.OrderKey != "shop:1001" || got.Carrier != "USPS" || got.Tracking != "9261" ||
		!slices.Equal(got.Lines, []connectors.ShipmentLine{{LineID: "gid/1", SKU: "SKU-1", Quantity: 2, Location: "228"}}) {
		t.Errorf("the shipment is %+v", got)
	}
	for name, body := range map[string]string{
		"a shipment alone":     `{"id":77,"order_id":1,"reference_id":"shop:1001","status":"Completed","tracking":{"tracking_number":"9261"}}`,
		"somebody else's":      strings.ReplaceAll(shipped, "truestock-line-", "their-line-"),
		"tracking received":    `{"event_time":"2025-10-23T15:55:09.3614767Z","order_id":100000001,"reference_id":"shop:1001","status":"LabelCreated"}`,
		"tags of another kind": `{"tags":"all","shipments":7}`,
	} {
		if n, err = decode("order.shipped", body); err != nil || len(n.Facts) != 0 || !n.Pull {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
	if n, err = decode("billing.charge.created", `{}`); err != nil || len(n.Facts) != 0 || n.Pull {
		t.Errorf("a bill: %+v, %v", n, err)
	}
	for name, change := range map[string][2]string{
		"no quantity":        {`"quantity":1,"quantity_committed":1,"lot":"A"`, `"quantity_committed":1`},
		"negative quantity":  {`"quantity":1,"quantity_committed":1,"lot":"A"`, `"quantity":-1,"quantity_committed":1`},
		"half a unit":        {`"quantity":1,"quantity_committed":1,"lot":"A"`, `"quantity":0.5,"quantity_committed":1`},
		"no location":        {`"location":{"id":228,"name":"Moreno Valley (CA)"},`, ``},
		"no shipment id":     {`"id":77`, `"id":0`},
		"line of nothing":    {`"external_line_id":1`, `"external_line_id":9`},
		"no ordered number":  {`"value":"3#gid/1"`, `"value":"gid/1"`},
		"negative ordered":   {`"value":"3#gid/1"`, `"value":"-3#gid/1"`},
		"reference missing":  {`"reference_id":"shop:1001"`, `"reference_id":null`},
		"product in numbers": {`"reference_id":"SKU-2","quantity"`, `"reference_id":2,"quantity"`},
	} {
		bad := strings.Replace(shipped, change[0], change[1], 1)
		if bad == shipped {
			t.Errorf("%s changes nothing", name)
		}
		if n, err = decode("order.shipped", bad); err == nil || len(n.Facts) > 0 {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
	request := sign("evt_1", time.Now(), []byte(shipped))
	request.Header.Del("x-webhook-topic")
	if _, err := r.VerifyWebhook(request); !errors.Is(err, connectors.ErrEnvelope) {
		t.Errorf("no topic: %v", err)
	}
}

// An order splits, and the warehouse cancels a part: what we cancelled is not what it rejects.
func TestWhoCancelled(t *testing.T) {
	b := newBob(t)
	r := connect(t, b, nil)
	key := "shop:7"
	create := func() error {
		_, err := r.CreateOrder(t.Context(), connectors.NewOrder{Key: key, Channel: "shop", OrderID: "7", Lines: []connectors.OrderLine{{LineID: "a#1", SKU: "SKU-1", Quantity: 4}, {LineID: "b", SKU: "SKU-2", Quantity: 1}}})
		return err
	}
	if err := create(); err != nil {
		t.Fatal(err)
	}
	ask := func(want ...connectors.StandingLine) {
		t.Helper()
		s, err := r.(connectors.OrderTeller).OrderStanding(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(s.Lines, json.Deterministic(true))
		wanted, _ := json.Marshal(want, json.Deterministic(true))
		if string(got) != string(wanted) {
			t.Errorf("it stands\n%s, not\n%s", got, wanted)
		}
	}
	at := func(location string, shipped, allocated stock.Quantity) connectors.StandingPlace {
		return connectors.StandingPlace{Location: location, Shipped: shipped, Allocated: &allocated}
	}
	ask(connectors.StandingLine{LineID: "a#1", Places: []connectors.StandingPlace{at("228", 0, 4)}}, connectors.StandingLine{LineID: "b", Places: []connectors.StandingPlace{at("228", 0, 1)}})
	for range 2 {
		if err := r.CancelOrder(t.Context(), key, []connectors.CancelLine{{LineID: "a#1", Cancelled: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	ask(connectors.StandingLine{LineID: "a#1", Cancelled: 1, Places: []connectors.StandingPlace{at("228", 0, 3)}}, connectors.StandingLine{LineID: "b", Places: []connectors.StandingPlace{at("228", 0, 1)}})
	b.mu.Lock()
	o := b.orders[0]
	o.shipments[0].units["SKU-1"] = 2
	o.shipments = append(o.shipments, &shipmentAt{id: 9999, location: 300, status: "Cancelled", units: map[string]int64{"SKU-1": 1}})
	b.levels["SKU-1"][228].committed--
	b.mu.Unlock()
	ask(connectors.StandingLine{LineID: "a#1", Cancelled: 1, Rejected: 1, Places: []connectors.StandingPlace{at("228", 0, 2)}}, connectors.StandingLine{LineID: "b", Places: []connectors.StandingPlace{at("228", 0, 1)}})
	b.ship(key)
	ask(connectors.StandingLine{LineID: "a#1", Cancelled: 1, Rejected: 1, Places: []connectors.StandingPlace{at("228", 2, 0)}}, connectors.StandingLine{LineID: "b", Places: []connectors.StandingPlace{at("228", 1, 0)}})
	if err := r.CancelOrder(t.Context(), key, []connectors.CancelLine{{LineID: "a#1", Cancelled: 3}}); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("what is shipped was cancelled: %v", err)
	}
	// A success of HTTP that says that nothing happened.
	if err := r.CancelOrder(t.Context(), key, nil); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "labelled") {
		t.Errorf("the whole order: %v", err)
	}
	if err := r.CancelOrder(t.Context(), key, []connectors.CancelLine{{LineID: "c", Cancelled: 1}}); connectors.KindOf(err) != connectors.Unmapped {
		t.Errorf("a line that there is not: %v", err)
	}
}

// Another process was quicker: the second order is refused, and the first is ours.
func TestSameOrderFromElsewhere(t *testing.T) {
	b := newBob(t)
	r := connect(t, b, nil)
	o := connectors.NewOrder{Key: "shop:8", Channel: "shop", OrderID: "8", Lines: []connectors.OrderLine{{LineID: "a", SKU: "SKU-1", Quantity: 1}}}
	number, err := r.CreateOrder(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	hidden := true
	b.odd = func(w http.ResponseWriter, r *http.Request) bool {
		if hidden && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/order") {
			hidden = false
			answer(w, http.StatusOK, []any{})
			return true
		}
		return false
	}
	again, err := r.CreateOrder(t.Context(), o)
	if err != nil || again != number || hidden || len(b.orders) != 1 {
		t.Errorf("%q, not %q: %v", again, number, err)
	}
}

// Each bad answer is told as what it is, and none becomes a number.
func TestBadInput(t *testing.T) {
	levels := func(t *testing.T, b *bob) error {
		page, err := connect(t, b, nil).Levels(t.Context(), "")
		if err != nil && len(page.Levels) > 0 {
			t.Errorf("%d levels came out of it", len(page.Levels))
		}
		return err
	}
	for name, try := range map[string]struct {
		level func(map[string]any)
		text  string
	}{
		"no quantity":     {func(l map[string]any) { delete(l, "fulfillable_quantity") }, "fulfillable_quantity"},
		"null quantity":   {func(l map[string]any) { l["fulfillable_quantity"] = nil }, "fulfillable_quantity"},
		"half a unit":     {func(l map[string]any) { l["fulfillable_quantity"] = 2.5 }, "fulfillable_quantity"},
		"number in words": {func(l map[string]any) { l["fulfillable_quantity"] = "2" }, "fulfillable_quantity"},
		"out of range":    {func(l map[string]any) { l["fulfillable_quantity"] = int64(1) << 61 }, "quantity"},
		"no location":     {func(l map[string]any) { l["location_id"] = nil }, "location"},
		"one location":    {func(l map[string]any) { l["location_id"] = 1 }, "two inventory items"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBob(t)
			b.level = try.level
			if err := levels(t, b); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), try.text) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("negative levels are told", func(t *testing.T) {
		b := newBob(t)
		b.level = func(l map[string]any) { l["fulfillable_quantity"] = -3 }
		if err := levels(t, b); err != nil {
			t.Error(err)
		}
	})
	for name, try := range map[string]struct {
		body string
		want connectors.ErrorKind
	}{
		"no items":      {`{"next":null}`, connectors.Rejected},
		"null items":    {`{"items":null}`, connectors.Rejected},
		"a list":        {`[]`, connectors.Rejected},
		"cut off":       {`{"items":[`, connectors.Retryable},
		"the same page": {`{"items":[],"next":"https://api.shipbob.com/2026-01/x?PageSize=250"}`, connectors.Retryable},
		"no query":      {`{"items":[],"next":"https://api.shipbob.com/2026-01/x"}`, connectors.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBob(t)
			b.odd = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(try.body))
				return true
			}
			if err := levels(t, b); connectors.KindOf(err) != try.want {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("too many requests", func(t *testing.T) {
		b := newBob(t)
		b.odd = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("x-retry-after", "25")
			answer(w, http.StatusTooManyRequests, map[string]any{"statusCode": 429, "message": "Rate limit is exceeded. Try again in 25 seconds."})
			return true
		}
		err := levels(t, b)
		if wait := time.Until(connectors.RetryAt(err)); connectors.KindOf(err) != connectors.Throttled || wait < 20*time.Second || wait > 25*time.Second {
			t.Errorf("in %s: %v", wait, err)
		}
	})
	t.Run("wrong token", func(t *testing.T) {
		err := connect(t, newBob(t), connectors.Settings{"token": "revoked"}).Check(t.Context())
		if connectors.KindOf(err) != connectors.Auth || !strings.Contains(err.Error(), "API Tokens") {
			t.Errorf("%v", err)
		}
	})
	for name, try := range map[string]struct {
		wanted   string
		channels []map[string]any
		text     string
	}{
		"no channel to write for": {"", []map[string]any{{"id": 1, "name": "a", "scopes": []string{"orders_read"}}}, "no channel"},
		"two channels":            {"", []map[string]any{{"id": 1, "name": "a", "scopes": []string{"orders_write"}}, {"id": 2, "name": "b", "scopes": []string{"orders_write"}}}, "1 (a), 2 (b)"},
		"another channel":         {"3", []map[string]any{{"id": 1, "name": "a", "scopes": []string{"orders_write"}}}, "1 (a)"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBob(t)
			b.channels = try.channels
			err := connect(t, b, connectors.Settings{"channel_id": try.wanted}).Check(t.Context())
			if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), try.text) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("cursors", func(t *testing.T) {
		r := connect(t, newBob(t), nil)
		for _, c := range []connectors.Cursor{"x", "0:a=b", "1:", "1:%zz", "99999999999999999999:a"} {
			if _, err := r.Levels(t.Context(), c); connectors.KindOf(err) != connectors.Rejected {
				t.Errorf("%q: %v", c, err)
			}
		}
	})
	t.Run("orders that cannot be made", func(t *testing.T) {
		b := newBob(t)
		o := connectors.NewOrder{Key: "shop:1", OrderID: "1", Lines: []connectors.OrderLine{{LineID: "1", SKU: "SKU-1", Quantity: 1}}}
		if _, err := connect(t, b, connectors.Settings{"ship_to": ""}).CreateOrder(t.Context(), o); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "ship_to") {
			t.Errorf("without an address: %v", err)
		}
		o.Key = "shop:1,2"
		if _, err := connect(t, b, nil).CreateOrder(t.Context(), o); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "comma") {
			t.Errorf("with a comma: %v", err)
		}
		o.Key, o.Lines[0].SKU = "shop:3", "SKU"
		if _, err := connect(t, b, nil).CreateOrder(t.Context(), o); connectors.KindOf(err) != connectors.Unmapped {
			t.Errorf("of a SKU that is only a part of others: %v", err)
		}
		if b.changes > 0 {
			t.Errorf("%d changes", b.changes)
		}
		b.orders = []*orderAt{{id: 5, reference: "shop:5"}}
		o.Key, o.Lines[0].SKU = "shop:5", "SKU-1"
		if _, err := connect(t, b, nil).CreateOrder(t.Context(), o); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("that somebody else made: %v", err)
		}
		if err := connect(t, b, nil).CancelOrder(t.Context(), "shop:5", nil); connectors.KindOf(err) != connectors.Rejected || b.changes > 0 {
			t.Errorf("cancelling somebody else's: %v", err)
		}
	})
}

func FuzzDecodeWebhook(f *testing.F) {
	f.Add("order.shipped", []byte(shipped))
	f.Add("order.shipment.delivered", []byte(`{"id":77,"reference_id":"a","tracking":{}}`))
	f.Add("order.shipped", []byte(`{"tags":[{"name":"truestock-line-1","value":"1#a"}],"products":[{"reference_id":"s","external_line_id":1}],"shipments":[{"id":1,"status":"Completed"}]}`))
	c, err := shipbob.Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings(nil))
	if err != nil {
		f.Fatal(err)
	}
	r := c.(connectors.WebhookReceiver)
	f.Fuzz(func(t *testing.T, topic string, body []byte) {
		n, err := r.DecodeWebhook(connectors.Delivery{Type: topic}, body)
		if err != nil && len(n.Facts) > 0 {
			t.Errorf("%d facts beside the error %v", len(n.Facts), err)
		}
		for _, fact := range n.Facts {
			if err := fact.Validate(); err != nil {
				t.Error(err)
			}
		}
	})
}
