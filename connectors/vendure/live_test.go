package vendure_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/vendure"
	"github.com/truestock/truestock/connectors/vendure/vendurelive"
	"github.com/truestock/truestock/stock"
)

var (
	hookKey    = bytes.Repeat([]byte{7}, 32)
	hookSecret = "whsec_" + base64.StdEncoding.EncodeToString(hookKey)
)

// TestLive runs everything against one real shop: the conformance suite, and what only a real shop can show.
func TestLive(t *testing.T) {
	hooks := newHookServer(t)
	l := &live{Shop: vendurelive.StartWithWebhooks(t, hooks.server.URL, hookSecret)}
	t.Run("HintsArrive", func(t *testing.T) { l.hints(t, hooks) }) // first, while the shop's job queue is empty
	t.Run("Conformance", l.conformance)
	for _, c := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"WrittenStockShowsInTheShop", l.writtenStockShows},
		{"OrderFollowsBothWays", l.orderFollowsBothWays},
		{"OrderBetweenReadAndWriteIsKept", l.orderBetweenReadAndWrite},
		{"OrderBeforeTheWriteMakesItStale", l.orderBeforeTheWrite},
		{"CancellationBetweenReadAndWriteIsCorrected", l.cancellationBetweenReadAndWrite},
		{"ShipmentBetweenReadAndWriteIsCorrected", l.shipmentBetweenReadAndWrite},
		{"ThresholdIsPartOfTheSum", l.thresholds},
		{"UntrackedIsUnlimited", l.untracked},
		{"VariantThatGoesFailsAlone", l.variantThatGoes},
		{"CancellationsAreRunningTotals", l.cancellations},
		{"ShipmentOnce", l.shipmentOnce},
		{"PartialShipments", l.partialShipments},
		{"CredentialsAreChecked", l.credentials},
		{"LostSessionIsRenewedOnce", l.lostSession},
		{"StockLocations", l.stockLocations},
		{"FewPermissionsAreEnough", l.fewPermissions},
	} {
		t.Run(c.name, c.run)
	}
}

type live struct{ *vendurelive.Shop }

func (l *live) settings(changes ...string) connectors.Settings {
	s := connectors.Settings{
		"base_url": l.AdminURL, "username": l.Username, "password": l.Password,
		"fulfillment_handler": "manual-fulfillment", "webhook_secrets": hookSecret,
	}
	for i := 0; i < len(changes); i += 2 {
		s[changes[i]] = changes[i+1]
	}
	return s
}

func (l *live) open(t testing.TB, transport http.RoundTripper, changes ...string) marketplace {
	t.Helper()
	conn, err := vendure.Info().Open(connectors.Env{Connection: "live", Transport: transport}, connectors.MarketplaceRole, l.settings(changes...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(marketplace)
}

type marketplace interface {
	connectors.Marketplace
	connectors.ShipmentWriter
	connectors.WebhookReceiver
}

// variant makes an article of the test's own, so that tests do not disturb each other.
func (l *live) variant(t testing.TB, sku string) connectors.Ref {
	t.Helper()
	return connectors.Ref{Item: l.CreateVariants(t, 10, sku)[0].ID}
}

// write sets one quantity and wants it done.
func write(t testing.TB, m connectors.Marketplace, ref connectors.Ref, quantity stock.Quantity) connectors.Result {
	t.Helper()
	results, err := m.WriteStock(t.Context(), []connectors.Write{{Ref: ref, Quantity: quantity, ID: "w"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Outcome != connectors.Written || results[0].Ref != ref {
		t.Fatalf("the results are %+v", results)
	}
	return results[0]
}

func read(t testing.TB, m connectors.Marketplace, ref connectors.Ref) connectors.Reading {
	t.Helper()
	readings, err := m.ReadStock(t.Context(), []connectors.Ref{ref})
	if err != nil || len(readings) != 1 {
		t.Fatalf("%d readings, %v", len(readings), err)
	}
	return readings[0]
}

// expect compares what the shop front shows, and what the connector reads, with what should be there.
func (l *live) expect(t testing.TB, m connectors.Marketplace, ref connectors.Ref, want stock.Quantity) {
	t.Helper()
	if got := l.Available(t, ref.Item); got != int64(want) {
		t.Errorf("the shop front shows %d, not %d", got, want)
	}
	if got := read(t, m, ref).Quantity; got != want {
		t.Errorf("the connector reads %d, not %d", got, want)
	}
}

// find lists the orders of the last minute and picks one out.
func find(t testing.TB, m connectors.Marketplace, id string) connectors.Order {
	t.Helper()
	for cursor, page := connectors.Cursor(""), 0; ; page++ {
		p, err := m.Orders(t.Context(), time.Now().Add(-time.Minute), cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range p.Orders {
			if o.OrderID == id {
				return o
			}
		}
		if cursor = p.Next; cursor == "" || page > 100 {
			t.Fatalf("order %s is not listed", id)
		}
	}
}

func wantKind(t testing.TB, err error, kind connectors.ErrorKind) {
	t.Helper()
	if got := connectors.KindOf(err); got != kind {
		t.Errorf("the error is of kind %q, not %q: %v", got, kind, err)
	}
}

func (l *live) conformance(t *testing.T) {
	var skus []string
	for i := range 105 { // more than one batch and one page of listings
		skus = append(skus, fmt.Sprintf("TS-SUITE-%03d", i))
	}
	refs := []connectors.Ref{}
	for _, v := range append(l.Variants, l.CreateVariants(t, 10, skus...)...) {
		refs = append(refs, connectors.Ref{Item: v.ID})
	}
	connectortest.RunMarketplace(t, connectortest.Fixture{
		Serial: true,
		New: func(t *testing.T) connectortest.Server {
			return connectortest.Server{
				Open: func(env connectors.Env) (connectors.Connection, error) {
					return vendure.Info().Open(env, connectors.MarketplaceRole, l.settings())
				},
				Secrets: []string{l.Password, hookSecret},
				Writes: func(_ *http.Request, body []byte) bool {
					return bytes.Contains(body, []byte("mutation")) && !bytes.Contains(body, []byte("mutation Login"))
				},
				Changes: func() int { return l.changes(t, refs[0]) },
				Refs:    refs,
				Shown:   func(r connectors.Ref) stock.Quantity { return stock.Quantity(l.Available(t, r.Item)) },
				Sell: func(r connectors.Ref, q stock.Quantity) string {
					return l.PlaceOrder(t, map[string]int{r.Item: int(q)})
				},
				Shipped: func(id string) stock.Quantity { return l.shipped(t, id) },
				Sign:    sign,
				Event:   []byte(`{"type":"order.changed","timestamp":"2026-11-24T10:00:00.000Z","data":{"order_codes":["A"]}}`),
			}
		},
	})
}

// changes counts the stock movements of a variant, and the orders.
func (l *live) changes(t testing.TB, ref connectors.Ref) int {
	t.Helper()
	type list struct {
		TotalItems int `json:"totalItems"`
	}
	var found struct {
		Orders         list `json:"orders"`
		ProductVariant struct {
			StockMovements list `json:"stockMovements"`
		} `json:"productVariant"`
	}
	l.Admin(t, `query($id: ID!) { orders { totalItems } productVariant(id: $id) { stockMovements { totalItems } } }`,
		map[string]any{"id": ref.Item}, &found)
	return found.Orders.TotalItems + found.ProductVariant.StockMovements.TotalItems
}

// shipped counts the units of an order in fulfillments that left.
func (l *live) shipped(t testing.TB, code string) stock.Quantity {
	t.Helper()
	var found struct {
		Orders struct {
			Items []struct {
				Fulfillments []struct {
					State string `json:"state"`
					Lines []struct {
						Quantity stock.Quantity `json:"quantity"`
					} `json:"lines"`
				} `json:"fulfillments"`
			} `json:"items"`
		} `json:"orders"`
	}
	l.Admin(t, `query($code: String!) { orders(options: {filter: {code: {eq: $code}}}) { items {
		fulfillments { state lines { quantity } } } } }`, map[string]any{"code": code}, &found)
	var sum stock.Quantity
	for _, f := range found.Orders.Items[0].Fulfillments {
		for _, line := range f.Lines {
			if f.State == "Shipped" {
				sum += line.Quantity
			}
		}
	}
	return sum
}

func sign(id string, at time.Time, body []byte) connectors.Request {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, hookKey)
	mac.Write([]byte(id + "." + timestamp + "." + string(body)))
	header := http.Header{
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {timestamp},
		"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
	return connectors.Request{Method: http.MethodPost, Header: header, Body: body, At: at}
}

func (l *live) writtenStockShows(t *testing.T) {
	m, ref := l.open(t, nil), l.variant(t, "SHOWS")
	for _, q := range []stock.Quantity{7, 0, 2_000_000_000, 3, 3} {
		r := write(t, m, ref, q)
		if r.Quantity == nil || *r.Quantity != q {
			t.Errorf("the result of writing %d is %+v", q, r)
		}
		l.expect(t, m, ref, q)
	}
}

func (l *live) orderFollowsBothWays(t *testing.T) {
	m := l.open(t, nil)
	one, other := l.variant(t, "FOLLOW-1"), l.variant(t, "FOLLOW-2")
	write(t, m, one, 20)
	write(t, m, other, 5)
	began := time.Now().Add(-time.Second)
	code := l.PlaceOrder(t, map[string]int{one.Item: 4, other.Item: 1})
	authorized := l.PlaceAuthorizedOrder(t, map[string]int{one.Item: 1})
	l.expect(t, m, one, 15) // by the shop's own doing
	l.expect(t, m, other, 4)

	o := find(t, m, code)
	if o.Status != connectors.OrderOpen || o.PlacedAt.Before(began) || o.Buyer == nil || o.Buyer.Contact != "buyer@shop.example" {
		t.Errorf("the order is %+v", o)
	}
	quantities := map[connectors.Ref]stock.Quantity{}
	for _, line := range o.Lines {
		quantities[line.Ref] = line.Quantity
	}
	if len(quantities) != 2 || quantities[one] != 4 || quantities[other] != 1 {
		t.Errorf("the order's lines are %+v", o.Lines)
	}
	if err := (connectors.Fact{Kind: connectors.OrderUpserted, Order: &o}).Validate(); err != nil {
		t.Error(err)
	}
	if find(t, m, authorized).Status != connectors.OrderOpen {
		t.Error("an order with an authorized payment is not open")
	}

	write(t, m, one, 15) // nothing changes: on hand stays above what is allocated
	l.expect(t, m, one, 15)
	write(t, m, one, 0)
	l.expect(t, m, one, 0)
	if err := m.WriteShipment(t.Context(), notice("follow", o, 4, 1)); err != nil {
		t.Fatalf("what is allocated cannot be shipped after 0 was written: %v", err)
	}
	l.expect(t, m, one, 0)
	if state := l.OrderState(t, code); state != "Shipped" {
		t.Errorf("the order is %s", state)
	}
}

// notice ships the given quantities of an order's lines, in their order.
func notice(key string, o connectors.Order, quantities ...stock.Quantity) connectors.ShipmentNotice {
	n := connectors.ShipmentNotice{Key: key, OrderID: o.OrderID, Carrier: "Post", Tracking: "TRACK-" + key}
	for i, q := range quantities {
		n.Lines = append(n.Lines, connectors.ShippedPacks{LineID: o.Lines[i].LineID, Quantity: q})
	}
	return n
}

// before is a transport that does something once, before the first request whose body contains a text.
type before struct {
	text string
	do   func()
	once sync.Once
}

// RoundTrip implements http.RoundTripper.
func (b *before) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	_ = req.Body.Close()
	if bytes.Contains(body, []byte(b.text)) {
		b.once.Do(b.do)
	}
	again := req.Clone(req.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(again)
}

// orderBetweenReadAndWrite is the one moment that the comparison leaves: the shop itself takes the order off what is
// written.
func (l *live) orderBetweenReadAndWrite(t *testing.T) {
	ref, expect := l.variant(t, "BETWEEN-1"), stock.Quantity(10)
	m := l.open(t, &before{text: "mutation WriteStock", do: func() { l.PlaceOrder(t, map[string]int{ref.Item: 3}) }})
	r := writeIf(t, m, connectors.Write{Ref: ref, Quantity: 14, Expect: &expect})
	l.expect(t, m, ref, 11)
	if r.Outcome != connectors.Written || r.Quantity == nil || *r.Quantity != 11 {
		t.Errorf("the result does not tell that 11 are shown: %+v", r)
	}
}

// orderBeforeTheWrite: whoever computed a quantity before an order came must compute again.
func (l *live) orderBeforeTheWrite(t *testing.T) {
	m, ref := l.open(t, nil), l.variant(t, "BEFORE-1")
	seen := read(t, m, ref).Quantity
	l.PlaceOrder(t, map[string]int{ref.Item: 3})
	r := writeIf(t, m, connectors.Write{Ref: ref, Quantity: 14, Expect: &seen})
	if r.Outcome != connectors.Stale || r.Quantity == nil || *r.Quantity != 7 || r.Err != nil {
		t.Errorf("the result is %+v, not stale with 7", r)
	}
	l.expect(t, m, ref, 7)

	other, seven := stock.Quantity(5), stock.Quantity(7)
	results, err := m.WriteStock(t.Context(), []connectors.Write{
		{Ref: ref, Quantity: 5, Expect: &seven}, {Ref: ref, Quantity: 6, Expect: &seven}, {Ref: ref, Quantity: 4, Expect: &other}, {Ref: ref, Quantity: 3, Expect: &seven},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []connectors.Outcome{connectors.Written, connectors.Stale, connectors.Written, connectors.Stale} {
		if results[i].Outcome != want {
			t.Errorf("line %d of one batch is %s, not %s", i, results[i].Outcome, want)
		}
	}
	l.expect(t, m, ref, 4)

	l.configure(t, ref, "trackInventory: FALSE")
	four := stock.Quantity(4)
	if r := writeIf(t, m, connectors.Write{Ref: ref, Quantity: 2, Expect: &four}); r.Outcome != connectors.Stale || r.Quantity != nil {
		t.Errorf("a variant that sells any number is not stale: %+v", r)
	}
}

func (l *live) cancellationBetweenReadAndWrite(t *testing.T) {
	ref := l.variant(t, "BETWEEN-3")
	code := l.PlaceOrder(t, map[string]int{ref.Item: 3})
	expect := stock.Quantity(7)
	m := l.open(t, &before{text: "mutation WriteStock", do: func() { l.CancelOrder(t, code, nil) }})
	if r := writeIf(t, m, connectors.Write{Ref: ref, Quantity: 4, Expect: &expect}); r.Outcome != connectors.Written {
		t.Errorf("the result is %+v", r)
	}
	l.expect(t, m, ref, 4)
}

// writeIf makes one write and returns what became of it.
func writeIf(t testing.TB, m connectors.Marketplace, w connectors.Write) connectors.Result {
	t.Helper()
	results, err := m.WriteStock(t.Context(), []connectors.Write{w})
	if err != nil || len(results) != 1 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	return results[0]
}

func (l *live) shipmentBetweenReadAndWrite(t *testing.T) {
	ref := l.variant(t, "BETWEEN-2")
	other := l.open(t, nil)
	o := find(t, other, l.PlaceOrder(t, map[string]int{ref.Item: 3}))
	m := l.open(t, &before{text: "mutation WriteStock", do: func() {
		if err := other.WriteShipment(t.Context(), notice("between", o, 3)); err != nil {
			t.Error(err)
		}
	}})
	write(t, m, ref, 4)
	l.expect(t, m, ref, 4)
}

func (l *live) configure(t testing.TB, ref connectors.Ref, input string) {
	t.Helper()
	l.Admin(t, fmt.Sprintf(`mutation { updateProductVariants(input: [{id: %q, %s}]) { id } }`, ref.Item, input), nil, nil)
}

func (l *live) thresholds(t *testing.T) {
	m, ref := l.open(t, nil), l.variant(t, "THRESHOLD")
	for _, threshold := range []int{3, -2} {
		l.configure(t, ref, fmt.Sprintf("useGlobalOutOfStockThreshold: false, outOfStockThreshold: %d", threshold))
		write(t, m, ref, 5)
		l.expect(t, m, ref, 5)
		l.PlaceOrder(t, map[string]int{ref.Item: 1})
		l.expect(t, m, ref, 4)
	}
	l.Admin(t, `mutation { updateGlobalSettings(input: {outOfStockThreshold: 2}) { __typename } }`, nil, nil)
	defer l.Admin(t, `mutation { updateGlobalSettings(input: {outOfStockThreshold: 0}) { __typename } }`, nil, nil)
	l.configure(t, ref, "useGlobalOutOfStockThreshold: true")
	write(t, m, ref, 5)
	l.expect(t, m, ref, 5)
}

func (l *live) untracked(t *testing.T) {
	m, ref := l.open(t, nil), l.variant(t, "UNTRACKED")
	l.configure(t, ref, "trackInventory: FALSE")
	if !read(t, m, ref).Unlimited {
		t.Error("a variant without tracking does not read as unlimited")
	}
	write(t, m, ref, 6)
	if read(t, m, ref).Unlimited {
		t.Error("a quantity was written, and the variant is still unlimited")
	}
	l.expect(t, m, ref, 6)
}

func (l *live) variantThatGoes(t *testing.T) {
	first, gone, last := l.variant(t, "GOES-1"), l.variant(t, "GOES-2"), l.variant(t, "GOES-3")
	m := l.open(t, &before{text: "mutation WriteStock", do: func() {
		l.Admin(t, fmt.Sprintf(`mutation { deleteProductVariant(id: %q) { result } }`, gone.Item), nil, nil)
	}})
	results, err := m.WriteStock(t.Context(), []connectors.Write{
		{Ref: first, Quantity: 1}, {Ref: connectors.Ref{Item: "999999"}, Quantity: 1}, {Ref: gone, Quantity: 2}, {Ref: last, Quantity: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []connectors.Outcome{connectors.Written, connectors.Failed, connectors.Failed, connectors.Written} {
		if results[i].Outcome != want {
			t.Errorf("line %d is %s, not %s: %v", i, results[i].Outcome, want, results[i].Err)
		}
	}
	wantKind(t, results[1].Err, connectors.Unmapped)
	wantKind(t, results[2].Err, connectors.Unmapped)
	l.expect(t, m, first, 1)
	l.expect(t, m, last, 3)
}

func (l *live) cancellations(t *testing.T) {
	m, ref := l.open(t, nil), l.variant(t, "CANCEL")
	code := l.PlaceOrder(t, map[string]int{ref.Item: 5})
	o := find(t, m, code)
	line := o.Lines[0].LineID
	for i, want := range []connectors.ChannelLine{
		{Quantity: 5, Cancelled: 2},
		{Quantity: 5, Cancelled: 3},
	} {
		l.CancelOrder(t, code, map[string]int{line: 2 - i})
		next := find(t, m, code)
		if got := next.Lines[0]; got.Quantity != want.Quantity || got.Cancelled != want.Cancelled {
			t.Errorf("after cancellation %d the line is %+v", i+1, got)
		}
		if next.Version <= o.Version {
			t.Errorf("cancellation %d left the version at %d", i+1, next.Version)
		}
		o = next
	}
	l.modify(t, code, line, 4)
	next := find(t, m, code)
	if got := next.Lines[0]; got.Quantity != 7 || got.Cancelled != 3 {
		t.Errorf("raised to 4 after 3 were cancelled, the line is %+v", got)
	}
	if next.Version <= o.Version {
		t.Errorf("the raise left the version at %d", next.Version)
	}
	l.expect(t, m, ref, 6)
	l.CancelOrder(t, code, nil)
	last := find(t, m, code)
	if got := last.Lines[0]; last.Status != connectors.OrderCancelledStatus || got.Quantity != 7 || got.Cancelled != 7 || last.Version <= next.Version {
		t.Errorf("the cancelled order is %+v, after version %d", last, next.Version)
	}
	l.expect(t, m, ref, 10)
}

// modify sets the quantity of a line of an order that was paid for well enough before.
func (l *live) modify(t testing.TB, code, line string, quantity int) {
	t.Helper()
	id := l.Order(t, code).ID
	for _, step := range []string{
		fmt.Sprintf(`transitionOrderToState(id: %q, state: "Modifying")`, id),
		fmt.Sprintf(`modifyOrder(input: {dryRun: false, orderId: %q, adjustOrderLines: [{orderLineId: %q, quantity: %d}]})`, id, line, quantity),
		fmt.Sprintf(`transitionOrderToState(id: %q, state: "ArrangingAdditionalPayment")`, id),
		fmt.Sprintf(`transitionOrderToState(id: %q, state: "PaymentSettled")`, id),
	} {
		var answer struct {
			R struct {
				ErrorCode string `json:"errorCode"`
				Message   string `json:"message"`
			} `json:"r"`
		}
		l.Admin(t, "mutation { r: "+step+" { __typename ... on ErrorResult { errorCode message } } }", nil, &answer)
		if answer.R.ErrorCode != "" {
			t.Fatalf("%s: %s", step, answer.R.Message)
		}
	}
}

func (l *live) shipmentOnce(t *testing.T) {
	m, ref := l.open(t, nil), l.variant(t, "ONCE")
	code := l.PlaceOrder(t, map[string]int{ref.Item: 4})
	o := find(t, m, code)
	connections := []marketplace{m, m, l.open(t, nil)}
	for range 2 {
		var group sync.WaitGroup
		for _, c := range connections[:2] {
			group.Go(func() {
				if err := c.WriteShipment(t.Context(), notice("once", o, 2)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		connections = connections[1:] // after a restart the key is known by the shop alone
	}
	got := l.Order(t, code)
	if len(got.Fulfillments) != 1 || got.State != "PartiallyShipped" {
		t.Fatalf("the order is %+v", got)
	}
	f := got.Fulfillments[0]
	if f.State != "Shipped" || f.TrackingCode != "TRACK-once" || !strings.HasPrefix(f.Method, "Post (ref ") {
		t.Errorf("the fulfillment is %+v", f)
	}
	l.expect(t, m, ref, 6)

	wantKind(t, m.WriteShipment(t.Context(), notice("more than there is", o, 3)), connectors.Rejected)
	strange := notice("strange", o, 1)
	strange.OrderID = "NO-SUCH-ORDER"
	wantKind(t, m.WriteShipment(t.Context(), strange), connectors.Unmapped)
	elsewhere := notice("elsewhere", o, 1)
	elsewhere.OrderID = l.PlaceOrder(t, map[string]int{ref.Item: 1})
	wantKind(t, m.WriteShipment(t.Context(), elsewhere), connectors.Unmapped)
	wantKind(t, l.open(t, nil, "fulfillment_handler", "none").WriteShipment(t.Context(), notice("handler", o, 1)), connectors.Rejected)
	if got := l.Order(t, code); len(got.Fulfillments) != 1 {
		t.Errorf("a refused shipment left %d fulfillments", len(got.Fulfillments))
	}
}

func (l *live) partialShipments(t *testing.T) {
	m, ref := l.open(t, nil), l.variant(t, "PARTIAL")
	code := l.PlaceOrder(t, map[string]int{ref.Item: 3})
	o := find(t, m, code)
	for i, want := range []stock.Quantity{1, 2, 3} {
		if err := m.WriteShipment(t.Context(), notice(fmt.Sprintf("part %d", i), o, 1)); err != nil {
			t.Fatal(err)
		}
		next := find(t, m, code)
		if got := next.Lines[0]; got.Shipped != want || got.Quantity != 3 || got.Cancelled != 0 {
			t.Errorf("after %d shipments the line is %+v", i+1, got)
		}
		if next.Version <= o.Version {
			t.Errorf("shipment %d left the version at %d", i+1, next.Version)
		}
		o = next
	}
	// What is cancelled after it was shipped is a return.
	l.CancelOrder(t, code, nil)
	last := find(t, m, code)
	if got := last.Lines[0]; last.Status != connectors.OrderClosed || got.Shipped != 3 || got.Cancelled != 0 || got.Quantity != 3 {
		t.Errorf("the order that was cancelled after it was shipped is %+v", last)
	}
}

func (l *live) credentials(t *testing.T) {
	// With a single channel the shop does not look at the token (service/services/channel.service.js, getChannelFromToken).
	l.Admin(t, `mutation { createChannel(input: {code: "second", token: "second-channel", defaultLanguageCode: en, pricesIncludeTax: false,
		defaultCurrencyCode: USD, defaultTaxZoneId: "1", defaultShippingZoneId: "1"}) { __typename } }`, nil, nil)
	for name, changes := range map[string][]string{
		"password": {"password", "wrong"},
		"username": {"username", "nobody"},
		"api key":  {"username", "", "password", "", "api_key", "1.wrong"},
		"channel":  {"channel_token", "wrong-channel"},
	} {
		m := l.open(t, nil, changes...)
		err := m.Check(t.Context())
		if wantKind(t, err, connectors.Auth); err != nil && strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: the error tells the credential: %v", name, err)
		}
		results, err := m.WriteStock(t.Context(), []connectors.Write{{Ref: connectors.Ref{Item: "1"}, Quantity: 1}})
		if wantKind(t, err, connectors.Auth); results != nil {
			t.Errorf("%s: results and an error", name)
		}
	}
	if err := l.open(t, nil).Check(t.Context()); err != nil {
		t.Error(err)
	}
	var made struct {
		CreateAPIKey struct {
			APIKey string `json:"apiKey"`
		} `json:"createApiKey"`
	}
	l.Admin(t, `mutation { createApiKey(input: {roleIds: ["1"], translations: [{languageCode: en, name: "truestock"}]}) { apiKey } }`, nil, &made)
	m := l.open(t, nil, "username", "", "password", "", "api_key", made.CreateAPIKey.APIKey)
	if err := m.Check(t.Context()); err != nil {
		t.Errorf("with an API key: %v", err)
	}
	if _, err := m.Orders(t.Context(), time.Now(), ""); err != nil {
		t.Errorf("with an API key: %v", err)
	}
}

// fewPermissions does all there is to do as an administrator with the permissions that the help text of username names.
func (l *live) fewPermissions(t *testing.T) {
	var role struct {
		CreateRole struct {
			ID string `json:"id"`
		} `json:"createRole"`
	}
	l.Admin(t, `mutation { createRole(input: {code: "truestock", description: "truestock", permissions:
		[ReadProduct, UpdateProduct, ReadOrder, UpdateOrder, ReadStockLocation]}) { id } }`, nil, &role)
	l.Admin(t, `mutation($role: ID!) { createAdministrator(input: {firstName: "t", lastName: "s", emailAddress: "sync@shop.example",
		password: "few permissions", roleIds: [$role]}) { id } }`, map[string]any{"role": role.CreateRole.ID}, nil)
	m, ref := l.open(t, nil, "username", "sync@shop.example", "password", "few permissions"), l.variant(t, "FEW")
	if err := m.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Listings(t.Context(), ""); err != nil {
		t.Error(err)
	}
	write(t, m, ref, 5)
	o := find(t, m, l.PlaceOrder(t, map[string]int{ref.Item: 2}))
	if err := m.WriteShipment(t.Context(), notice("few", o, 2)); err != nil {
		t.Error(err)
	}
	l.expect(t, m, ref, 3)
}

// lostSession spoils the session: what the shop forgets is asked for again, once.
func (l *live) lostSession(t *testing.T) {
	ref := l.variant(t, "SESSION")
	spoil := &spoiler{}
	m := l.open(t, spoil)
	write(t, m, ref, 5)
	spoil.set(1)
	write(t, m, ref, 6)
	if n := spoil.logins(); n != 2 {
		t.Errorf("%d logins, not 2", n)
	}
	l.expect(t, m, ref, 6)
	spoil.set(1000)
	_, err := m.ReadStock(t.Context(), []connectors.Ref{ref})
	wantKind(t, err, connectors.Auth)
	if n := spoil.logins(); n != 3 {
		t.Errorf("%d logins, not 3: a refused session is renewed once", n)
	}
	spoil.set(0)
	l.expect(t, m, ref, 6)
}

// spoiler is a transport that makes the next so many sessions unknown to the shop, and counts logins.
type spoiler struct {
	mu    sync.Mutex
	times int
	count int
}

func (s *spoiler) set(times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times = times
}

func (s *spoiler) logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// RoundTrip implements http.RoundTripper.
func (s *spoiler) RoundTrip(req *http.Request) (*http.Response, error) {
	again := req.Clone(req.Context())
	s.mu.Lock()
	if again.Header.Get("Authorization") == "" {
		s.count++
	} else if s.times > 0 {
		s.times--
		again.Header.Set("Authorization", "Bearer forgotten")
	}
	s.mu.Unlock()
	return http.DefaultTransport.RoundTrip(again)
}

func (l *live) stockLocations(t *testing.T) {
	var made struct {
		Location struct {
			ID string `json:"id"`
		} `json:"createStockLocation"`
	}
	l.Admin(t, `mutation { createStockLocation(input: {name: "Second"}) { id } }`, nil, &made)
	first, byName, byID := l.open(t, nil), l.open(t, nil, "stock_location", "Second"), l.open(t, nil, "stock_location", made.Location.ID)
	ref := l.variant(t, "LOCATED")
	write(t, first, ref, 4)
	if q := read(t, byName, ref).Quantity; q != 0 {
		t.Errorf("the second location has %d of what it never had", q)
	}
	write(t, byName, ref, 6)
	if a, b := read(t, byID, ref).Quantity, read(t, first, ref).Quantity; a != 6 || b != 4 {
		t.Errorf("the locations have %d and %d, not 6 and 4", a, b)
	}
	wantKind(t, l.open(t, nil, "stock_location", "Nowhere").Check(t.Context()), connectors.Rejected)
}

// hookServer keeps what the plugin sends.
type hookServer struct {
	server *httptest.Server
	got    chan hook
}

type hook struct {
	header http.Header
	body   []byte
}

func newHookServer(t *testing.T) *hookServer {
	h := &hookServer{got: make(chan hook, 10_000)}
	h.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		select {
		case h.got <- hook{header: r.Header, body: body}:
		default:
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(h.server.Close)
	return h
}

// hints: the plugin's deliveries verify, and an order makes one of each type.
func (l *live) hints(t *testing.T, hooks *hookServer) {
	m, ref := l.open(t, nil), l.variant(t, "HINT")
	code := l.PlaceOrder(t, map[string]int{ref.Item: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	var order, stocks bool
	for !order || !stocks {
		select {
		case h := <-hooks.got:
			d, err := m.VerifyWebhook(connectors.Request{Method: http.MethodPost, Header: h.header, Body: h.body, At: time.Now()})
			if err != nil {
				t.Fatalf("%s: %v", h.body, err)
			}
			n, err := m.DecodeWebhook(d, h.body)
			if err != nil || !n.Pull || len(n.Facts) > 0 {
				t.Errorf("%s is understood as %+v, %v", h.body, n, err)
			}
			order = order || d.Type == "order.changed" && bytes.Contains(h.body, []byte(code))
			stocks = stocks || d.Type == "stock.changed" && bytes.Contains(h.body, []byte(`"`+ref.Item+`"`))
			h.body = append(h.body, ' ')
			if _, err := m.VerifyWebhook(connectors.Request{Method: http.MethodPost, Header: h.header, Body: h.body, At: time.Now()}); !errors.Is(err, connectors.ErrSignature) {
				t.Errorf("a changed body is taken: %v", err)
			}
		case <-ctx.Done():
			t.Fatalf("no hint of order %s (%t) or of variant %s (%t)", code, order, ref.Item, stocks)
		}
	}
}
