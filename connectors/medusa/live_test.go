package medusa_test

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
	"github.com/truestock/truestock/connectors/medusa"
	"github.com/truestock/truestock/connectors/medusa/medusalive"
	"github.com/truestock/truestock/stock"
	"github.com/truestock/truestock/store/pgtest"
)

var (
	hookKey    = bytes.Repeat([]byte{7}, 32)
	hookSecret = "whsec_" + base64.StdEncoding.EncodeToString(hookKey)
)

// TestLive runs everything against one real shop: the conformance suite, and what only a real shop can show.
func TestLive(t *testing.T) {
	hooks := newHookServer(t)
	l := &live{Shop: medusalive.StartWithWebhooks(t, pgtest.URL(t), hooks.server.URL, hookSecret)}
	t.Run("HintsArrive", func(t *testing.T) { l.hints(t, hooks) })
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
		{"WithoutALimitAndBack", l.withoutALimit},
		{"ComposedVariantsFollowTheirParts", l.composed},
		{"PacksOfAnItemOfTheirOwn", l.packs},
		{"VariantThatGoesFailsAlone", l.variantThatGoes},
		{"EditsCancellationsAndReturns", l.editsAndCancellations},
		{"FulfillmentTakenBack", l.fulfillmentTakenBack},
		{"ShipmentOnce", l.shipmentOnce},
		{"ShipmentGoesOnAfterItsFirstHalf", l.shipmentSecondHalf},
		{"PartialShipments", l.partialShipments},
		{"CredentialsAreChecked", l.credentials},
		{"LostSessionIsRenewedOnce", l.lostSession},
		{"LocationsAndChannels", l.locationsAndChannels},
	} {
		t.Run(c.name, c.run)
	}
}

type live struct{ *medusalive.Shop }

func (l *live) settings(changes ...string) connectors.Settings {
	s := connectors.Settings{"base_url": l.URL, "api_key": l.APIKey, "stock_location": "Main", "webhook_secrets": hookSecret}
	for i := 0; i < len(changes); i += 2 {
		s[changes[i]] = changes[i+1]
	}
	return s
}

func (l *live) login() []string {
	return []string{"api_key", "", "email", l.Email, "password", l.Password}
}

func (l *live) open(t testing.TB, transport http.RoundTripper, changes ...string) marketplace {
	t.Helper()
	conn, err := medusa.Info().Open(connectors.Env{Connection: "live", Transport: transport, Timeout: time.Minute}, connectors.MarketplaceRole, l.settings(changes...))
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

// article is a variant of a test's own, so that tests do not disturb each other.
type article struct {
	medusalive.Variant
	ref connectors.Ref
}

func (l *live) variant(t testing.TB, sku string) article {
	t.Helper()
	v := l.CreateVariants(t, 10, sku)[0]
	return article{v, connectors.Ref{Item: v.ID}}
}

// write sets one quantity and wants it done.
func write(t testing.TB, m connectors.Marketplace, ref connectors.Ref, quantity stock.Quantity) connectors.Result {
	t.Helper()
	r := writeIf(t, m, connectors.Write{Ref: ref, Quantity: quantity, ID: "w"})
	if r.Outcome != connectors.Written || r.Ref != ref {
		t.Fatalf("the result is %+v", r)
	}
	return r
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

// find lists the orders of the last minutes and picks one out.
func find(t testing.TB, m connectors.Marketplace, id string) connectors.Order {
	t.Helper()
	for cursor, page := connectors.Cursor(""), 0; ; page++ {
		p, err := m.Orders(t.Context(), time.Now().Add(-10*time.Minute), cursor)
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
	for i := range 55 { // more than one batch and one page of listings
		skus = append(skus, fmt.Sprintf("TS-SUITE-%03d", i))
	}
	variants := append(l.Variants, l.CreateVariants(t, 10, skus...)...)
	refs, item := []connectors.Ref{}, map[connectors.Ref]string{}
	for _, v := range variants {
		ref := connectors.Ref{Item: v.ID}
		refs, item[ref] = append(refs, ref), v.Item
	}
	connectortest.RunMarketplace(t, connectortest.Fixture{
		Serial: true,
		New: func(t *testing.T) connectortest.Server {
			return connectortest.Server{
				Open: func(env connectors.Env) (connectors.Connection, error) {
					return medusa.Info().Open(env, connectors.MarketplaceRole, l.settings())
				},
				Secrets: []string{l.APIKey, hookSecret},
				Writes:  func(r *http.Request, _ []byte) bool { return r.Method == http.MethodPost },
				Changes: func() int { return l.changes(t, variants[0]) },
				Refs:    refs,
				Shown: func(r connectors.Ref) stock.Quantity {
					level := l.Level(t, item[r]) // the shop front shows the same, as other tests see, and takes longer
					return stock.Quantity(level.Stocked - level.Reserved)
				},
				Sell: func(r connectors.Ref, q stock.Quantity) string {
					return l.PlaceOrder(t, map[string]int{r.Item: int(q)})
				},
				Shipped: func(id string) (units stock.Quantity) {
					for _, i := range l.Order(t, id).Items {
						units += stock.Quantity(i.Detail.Shipped)
					}
					return units
				},
				Sign:  sign,
				Event: []byte(`{"type":"order.changed","timestamp":"2026-11-24T10:00:00.000Z","data":{"order_ids":["A"]}}`),
			}
		},
	})
}

// changes counts the orders, and the milliseconds until a level was last changed.
func (l *live) changes(t testing.TB, v medusalive.Variant) int {
	t.Helper()
	var orders struct {
		Count int `json:"count"`
	}
	l.Admin(t, http.MethodGet, "/admin/orders?limit=1&fields=id", nil, &orders)
	var found struct {
		Levels []struct {
			UpdatedAt time.Time `json:"updated_at"`
		} `json:"inventory_levels"`
	}
	l.Admin(t, http.MethodGet, "/admin/inventory-items/"+v.Item+"/location-levels?location_id="+l.Location, nil, &found)
	return orders.Count + int(found.Levels[0].UpdatedAt.UnixMilli())
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
	m, a := l.open(t, nil), l.variant(t, "SHOWS")
	for _, q := range []stock.Quantity{7, 0, 1_000_000_000, 3, 3} {
		r := write(t, m, a.ref, q)
		if r.Quantity == nil || *r.Quantity != q {
			t.Errorf("the result of writing %d is %+v", q, r)
		}
		l.expect(t, m, a.ref, q)
	}
}

func (l *live) orderFollowsBothWays(t *testing.T) {
	m := l.open(t, nil)
	one, other := l.variant(t, "FOLLOW-1"), l.variant(t, "FOLLOW-2")
	write(t, m, one.ref, 20)
	write(t, m, other.ref, 5)
	began := time.Now().Add(-time.Second)
	id := l.PlaceOrder(t, map[string]int{one.ID: 4, other.ID: 1})
	l.expect(t, m, one.ref, 16) // by the shop's own doing
	l.expect(t, m, other.ref, 4)

	o := find(t, m, id)
	if o.Status != connectors.OrderOpen || o.PlacedAt.Before(began) || o.Buyer == nil || o.Buyer.Contact != "buyer@shop.example" || o.Buyer.Ref == "" {
		t.Errorf("the order is %+v", o)
	}
	quantities := map[connectors.Ref]stock.Quantity{}
	for _, line := range o.Lines {
		quantities[line.Ref] = line.Quantity
	}
	if len(quantities) != 2 || quantities[one.ref] != 4 || quantities[other.ref] != 1 {
		t.Errorf("the order's lines are %+v", o.Lines)
	}
	if err := (connectors.Fact{Kind: connectors.OrderUpserted, Order: &o}).Validate(); err != nil {
		t.Error(err)
	}

	write(t, m, one.ref, 16) // nothing changes: stocked stays above what is reserved
	l.expect(t, m, one.ref, 16)
	write(t, m, one.ref, 0)
	l.expect(t, m, one.ref, 0)
	if err := m.WriteShipment(t.Context(), notice("follow", o, 4, 1)); err != nil && o.Lines[0].Ref == one.ref {
		t.Fatalf("what is reserved cannot be shipped after 0 was written: %v", err)
	} else if err != nil {
		if err := m.WriteShipment(t.Context(), notice("follow", o, 1, 4)); err != nil {
			t.Fatalf("what is reserved cannot be shipped after 0 was written: %v", err)
		}
	}
	l.expect(t, m, one.ref, 0)
	if status := l.Order(t, id).FulfillmentStatus; status != "shipped" {
		t.Errorf("the order is %s", status)
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

// before is a transport that does something once, before the first request whose path ends so.
type before struct {
	end  string
	do   func()
	once sync.Once
}

// RoundTrip implements http.RoundTripper.
func (b *before) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, b.end) {
		b.once.Do(b.do)
	}
	return http.DefaultTransport.RoundTrip(req)
}

const stockRoute = "/location-levels/batch"

func (l *live) orderBetweenReadAndWrite(t *testing.T) {
	a := l.variant(t, "BETWEEN-ORDER")
	m := l.open(t, &before{end: stockRoute, do: func() { l.PlaceOrder(t, map[string]int{a.ID: 3}) }})
	expect := stock.Quantity(10)
	r := writeIf(t, m, connectors.Write{Ref: a.ref, Quantity: 8, Expect: &expect, ID: "w"})
	if r.Outcome != connectors.Written || r.Quantity == nil || *r.Quantity != 5 {
		t.Errorf("the result is %+v", r)
	}
	l.expect(t, m, a.ref, 5)
}

func (l *live) orderBeforeTheWrite(t *testing.T) {
	m, a := l.open(t, nil), l.variant(t, "STALE")
	l.PlaceOrder(t, map[string]int{a.ID: 3})
	expect := stock.Quantity(10)
	r := writeIf(t, m, connectors.Write{Ref: a.ref, Quantity: 12, Expect: &expect, ID: "w"})
	if r.Outcome != connectors.Stale || r.Quantity == nil || *r.Quantity != 7 {
		t.Errorf("the result is %+v", r)
	}
	l.expect(t, m, a.ref, 7)
}

func (l *live) cancellationBetweenReadAndWrite(t *testing.T) {
	a := l.variant(t, "BETWEEN-CANCEL")
	id := l.PlaceOrder(t, map[string]int{a.ID: 3})
	expect := stock.Quantity(7)
	m := l.open(t, &before{end: stockRoute, do: func() { l.CancelOrder(t, id) }})
	if r := writeIf(t, m, connectors.Write{Ref: a.ref, Quantity: 4, Expect: &expect}); r.Outcome != connectors.Written {
		t.Errorf("the result is %+v", r)
	}
	l.expect(t, m, a.ref, 4)
}

func (l *live) shipmentBetweenReadAndWrite(t *testing.T) {
	a := l.variant(t, "BETWEEN-SHIP")
	other := l.open(t, nil)
	o := find(t, other, l.PlaceOrder(t, map[string]int{a.ID: 3}))
	m := l.open(t, &before{end: stockRoute, do: func() {
		if err := other.WriteShipment(t.Context(), notice("between", o, 3)); err != nil {
			t.Error(err)
		}
	}})
	write(t, m, a.ref, 4)
	l.expect(t, m, a.ref, 4)
}

// withoutALimit: a variant is sold on order, keeps counting, and gets a number again; so does one that was never counted.
func (l *live) withoutALimit(t *testing.T) {
	m, a := l.open(t, nil), l.variant(t, "ENDLESS")
	endless := connectors.Write{Ref: a.ref, Quantity: stock.MaxQuantity, Unlimited: true, ID: "w"}
	for range 2 {
		if r := writeIf(t, m, endless); r.Outcome != connectors.Written {
			t.Fatalf("the result is %+v", r)
		}
		if !read(t, m, a.ref).Unlimited {
			t.Error("it does not read as unlimited")
		}
	}
	id := l.PlaceOrder(t, map[string]int{a.ID: 25}) // of 10
	write(t, m, a.ref, 6)
	if read(t, m, a.ref).Unlimited {
		t.Error("a number was written, and the variant is still unlimited")
	}
	l.expect(t, m, a.ref, 6)
	if got := l.Level(t, a.Item); got != (medusalive.Level{Stocked: 31, Reserved: 25}) {
		t.Errorf("the level is %+v", got)
	}
	if err := m.WriteShipment(t.Context(), notice("endless", find(t, m, id), 25)); err != nil {
		t.Errorf("what was sold without a limit cannot be shipped: %v", err)
	}
	l.expect(t, m, a.ref, 6)

	free := l.variant(t, "UNCOUNTED")
	l.UpdateVariant(t, free.ID, map[string]any{"manage_inventory": false})
	if !read(t, m, free.ref).Unlimited {
		t.Error("a variant that is not counted does not read as unlimited")
	}
	expect := stock.Quantity(10)
	if r := writeIf(t, m, connectors.Write{Ref: free.ref, Quantity: 3, Expect: &expect}); r.Outcome != connectors.Stale {
		t.Errorf("expecting a number where there is none, the result is %+v", r)
	}
	write(t, m, free.ref, 3)
	if read(t, m, free.ref).Unlimited {
		t.Error("a number was written, and the variant is still unlimited")
	}
	l.expect(t, m, free.ref, 3)

	never := l.variant(t, "NEVER-COUNTED")
	l.UpdateVariant(t, never.ID, map[string]any{"manage_inventory": false})
	l.Admin(t, http.MethodDelete, "/admin/inventory-items/"+never.Item, nil, nil)
	write(t, m, never.ref, 4)
	l.expect(t, m, never.ref, 4)
}

// link makes a variant consist of so many units of an inventory item, beside what it consists of.
func (l *live) link(t testing.TB, a article, item string, required int) {
	t.Helper()
	product := l.Product(t, a.ID)
	l.Admin(t, http.MethodPost, "/admin/products/"+product+"/variants/"+a.ID+"/inventory-items",
		map[string]any{"inventory_item_id": item, "required_quantity": required}, nil)
}

// unlink takes an inventory item out of a variant.
func (l *live) unlink(t testing.TB, a article, item string) {
	t.Helper()
	l.Admin(t, http.MethodDelete, "/admin/products/"+l.Product(t, a.ID)+"/variants/"+a.ID+"/inventory-items/"+item, nil, nil)
}

func (l *live) composed(t *testing.T) {
	m := l.open(t, nil)
	cup, saucer, set, six := l.variant(t, "CUP"), l.variant(t, "SAUCER"), l.variant(t, "SET"), l.variant(t, "CUP-SIX")
	l.link(t, set, cup.Item, 2)
	l.link(t, set, saucer.Item, 1)
	l.unlink(t, set, set.Item)
	l.link(t, six, cup.Item, 6)
	l.unlink(t, six, six.Item)
	l.expect(t, m, set.ref, 5) // 10 cups, two each
	l.expect(t, m, six.ref, 1)
	for _, a := range []article{set, six} {
		r := writeIf(t, m, connectors.Write{Ref: a.ref, Quantity: 9})
		wantKind(t, r.Err, connectors.Retryable)
	}
	l.expect(t, m, cup.ref, 10)
	write(t, m, cup.ref, 14)
	write(t, m, saucer.ref, 3)
	write(t, m, set.ref, 3) // as it follows
	write(t, m, six.ref, 2)
	l.PlaceOrder(t, map[string]int{set.ID: 2})
	l.expect(t, m, cup.ref, 10)
	l.expect(t, m, saucer.ref, 1)
	l.expect(t, m, set.ref, 1)
	l.expect(t, m, six.ref, 1)
}

// packs: a variant takes four units of an inventory item that nothing else takes.
func (l *live) packs(t *testing.T) {
	m, a := l.open(t, nil), l.variant(t, "PACK")
	l.unlink(t, a, a.Item)
	l.link(t, a, a.Item, 4)
	l.expect(t, m, a.ref, 2)
	l.PlaceOrder(t, map[string]int{a.ID: 2})
	write(t, m, a.ref, 3)
	l.expect(t, m, a.ref, 3)
	if got := l.Level(t, a.Item); got != (medusalive.Level{Stocked: 20, Reserved: 8}) {
		t.Errorf("the level is %+v", got)
	}
	l.SetStocked(t, a.Item, 19) // a person types in what is no whole number of packs
	l.expect(t, m, a.ref, 2)
}

func (l *live) variantThatGoes(t *testing.T) {
	first, gone, last := l.variant(t, "GOES-1"), l.variant(t, "GOES-2"), l.variant(t, "GOES-3")
	m := l.open(t, &before{end: stockRoute, do: func() {
		l.Admin(t, http.MethodDelete, "/admin/inventory-items/"+gone.Item, nil, nil)
		l.Admin(t, http.MethodDelete, "/admin/products/"+l.Product(t, gone.ID), nil, nil)
	}})
	results, err := m.WriteStock(t.Context(), []connectors.Write{
		{Ref: first.ref, Quantity: 1}, {Ref: connectors.Ref{Item: "variant_none"}, Quantity: 1}, {Ref: gone.ref, Quantity: 2}, {Ref: last.ref, Quantity: 3},
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
	l.expect(t, m, first.ref, 1)
	l.expect(t, m, last.ref, 3)
}

func (l *live) editsAndCancellations(t *testing.T) {
	m, a := l.open(t, nil), l.variant(t, "EDITED")
	id := l.PlaceOrder(t, map[string]int{a.ID: 5})
	o := find(t, m, id)
	line := o.Lines[0].LineID
	for _, quantity := range []int{3, 6} {
		l.SetQuantity(t, id, line, quantity)
		next := find(t, m, id)
		if got := next.Lines[0]; got.Quantity != stock.Quantity(quantity) || got.Cancelled != 0 || got.LineID != line {
			t.Errorf("after an edit to %d the line is %+v", quantity, got)
		}
		if next.Version <= o.Version {
			t.Errorf("the edit to %d left the version at %d", quantity, next.Version)
		}
		l.expect(t, m, a.ref, stock.Quantity(10-quantity))
		o = next
	}
	l.CancelOrder(t, id)
	last := find(t, m, id)
	if got := last.Lines[0]; last.Status != connectors.OrderCancelledStatus || got.Quantity != 6 || got.Cancelled != 6 || last.Version <= o.Version {
		t.Errorf("the cancelled order is %+v, after version %d", last, o.Version)
	}
	l.expect(t, m, a.ref, 10)
}

// fulfillmentTakenBack: what a person packs and unpacks is not shipped.
func (l *live) fulfillmentTakenBack(t *testing.T) {
	m, a := l.open(t, nil), l.variant(t, "UNPACKED")
	id := l.PlaceOrder(t, map[string]int{a.ID: 4})
	o := find(t, m, id)
	f := l.Fulfill(t, id, map[string]int{o.Lines[0].LineID: 4})
	packed := find(t, m, id)
	if got := packed.Lines[0]; got.Shipped != 0 || packed.Version <= o.Version {
		t.Errorf("the packed order is %+v", packed)
	}
	l.expect(t, m, a.ref, 6)
	l.CancelFulfillment(t, id, f)
	l.expect(t, m, a.ref, 6)
	if got := l.Level(t, a.Item); got != (medusalive.Level{Stocked: 10, Reserved: 4}) {
		t.Errorf("the level is %+v", got)
	}
	if err := m.WriteShipment(t.Context(), notice("unpacked", o, 4)); err != nil {
		t.Error(err)
	}
	if got := find(t, m, id); got.Lines[0].Shipped != 4 || got.Version <= packed.Version {
		t.Errorf("the shipped order is %+v", got)
	}
}

func (l *live) shipmentOnce(t *testing.T) {
	m, a := l.open(t, nil), l.variant(t, "ONCE")
	id := l.PlaceOrder(t, map[string]int{a.ID: 4})
	o := find(t, m, id)
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
	got := l.Order(t, id)
	if len(got.Fulfillments) != 1 || got.FulfillmentStatus != "partially_shipped" {
		t.Fatalf("the order is %+v", got)
	}
	f := got.Fulfillments[0]
	if f.ShippedAt == "" || len(f.Labels) != 1 || f.Labels[0].TrackingNumber != "TRACK-once" || f.Metadata["carrier"] != "Post" {
		t.Errorf("the fulfillment is %+v", f)
	}
	l.expect(t, m, a.ref, 6)

	wantKind(t, m.WriteShipment(t.Context(), notice("more than there is", o, 3)), connectors.Rejected)
	strange := notice("strange", o, 1)
	strange.OrderID = "order_none"
	wantKind(t, m.WriteShipment(t.Context(), strange), connectors.Unmapped)
	elsewhere := notice("elsewhere", o, 1)
	elsewhere.OrderID = l.PlaceOrder(t, map[string]int{a.ID: 1})
	wantKind(t, m.WriteShipment(t.Context(), elsewhere), connectors.Unmapped)
	if got := l.Order(t, id); len(got.Fulfillments) != 1 {
		t.Errorf("a refused shipment left %d fulfillments", len(got.Fulfillments))
	}
}

// shipmentSecondHalf: the connection breaks after the fulfillment was made. The next try makes its shipment, and no second
// fulfillment.
func (l *live) shipmentSecondHalf(t *testing.T) {
	a := l.variant(t, "HALF")
	id := l.PlaceOrder(t, map[string]int{a.ID: 2})
	o := find(t, l.open(t, nil), id)
	for _, end := range []string{"/fulfillments", "/shipments"} {
		broken := l.open(t, cut(end))
		wantKind(t, broken.WriteShipment(t.Context(), notice("half", o, 2)), connectors.Uncertain)
	}
	if err := l.open(t, nil).WriteShipment(t.Context(), notice("half", o, 2)); err != nil {
		t.Fatal(err)
	}
	got := l.Order(t, id)
	if len(got.Fulfillments) != 1 || got.FulfillmentStatus != "shipped" || got.Items[0].Detail.Shipped != 2 {
		t.Errorf("the order is %+v", got)
	}
}

// cut is a transport that loses the answers of requests whose path ends so.
type cut string

// RoundTrip implements http.RoundTripper.
func (c cut) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, string(c)) {
		_ = resp.Body.Close()
		return nil, errors.New("the line was cut")
	}
	return resp, err
}

func (l *live) partialShipments(t *testing.T) {
	m, a := l.open(t, nil), l.variant(t, "PARTIAL")
	id := l.PlaceOrder(t, map[string]int{a.ID: 3})
	o := find(t, m, id)
	for i, want := range []stock.Quantity{1, 2, 3} {
		if err := m.WriteShipment(t.Context(), notice(fmt.Sprintf("part %d", i), o, 1)); err != nil {
			t.Fatal(err)
		}
		next := find(t, m, id)
		if got := next.Lines[0]; got.Shipped != want || got.Quantity != 3 || got.Cancelled != 0 {
			t.Errorf("after %d shipments the line is %+v", i+1, got)
		}
		if next.Version <= o.Version {
			t.Errorf("shipment %d left the version at %d", i+1, next.Version)
		}
		o = next
	}
	if o.Status != connectors.OrderOpen {
		t.Errorf("the shipped order is %s", o.Status)
	}
	l.Admin(t, http.MethodPost, "/admin/orders/"+id+"/complete", map[string]any{}, nil)
	done := find(t, m, id)
	if done.Status != connectors.OrderClosed || done.Version <= o.Version {
		t.Errorf("the completed order is %s, of version %d after %d", done.Status, done.Version, o.Version)
	}
	early := l.PlaceOrder(t, map[string]int{a.ID: 1})
	l.Admin(t, http.MethodPost, "/admin/orders/"+early+"/complete", map[string]any{}, nil)
	if o := find(t, m, early); o.Status != connectors.OrderOpen {
		t.Errorf("an order that was completed before it was shipped is %s", o.Status)
	}
}

func (l *live) credentials(t *testing.T) {
	for name, changes := range map[string][]string{
		"key":      {"api_key", "sk_wrong"},
		"password": append(l.login(), "password", "wrong"),
		"email":    append(l.login(), "email", "nobody@shop.example"),
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
	for _, m := range []marketplace{l.open(t, nil), l.open(t, nil, l.login()...)} {
		if err := m.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wrong := l.open(t, nil, "base_url", l.URL+"/admin").Check(t.Context())
	if wantKind(t, wrong, connectors.Rejected); wrong != nil && !strings.Contains(wrong.Error(), "without /admin") {
		t.Errorf("a wrong address is refused with %v", wrong)
	}
}

// lostSession spoils the session: what the shop forgets is asked for again, once.
func (l *live) lostSession(t *testing.T) {
	a := l.variant(t, "SESSION")
	spoil := &spoiler{}
	m := l.open(t, spoil, l.login()...)
	write(t, m, a.ref, 5)
	spoil.set(1)
	write(t, m, a.ref, 6)
	if n := spoil.logins(); n != 2 {
		t.Errorf("%d logins, not 2", n)
	}
	spoil.set(1000)
	_, err := m.ReadStock(t.Context(), []connectors.Ref{a.ref})
	wantKind(t, err, connectors.Auth)
	if n := spoil.logins(); n != 3 {
		t.Errorf("%d logins, not 3: a refused session is renewed once", n)
	}
	spoil.set(0)
	l.expect(t, m, a.ref, 6)
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

func (l *live) locationsAndChannels(t *testing.T) {
	second := l.CreateLocation(t, "Second")
	wantKind(t, l.open(t, nil, "stock_location", "").Check(t.Context()), connectors.Rejected)
	wantKind(t, l.open(t, nil, "stock_location", "Nowhere").Check(t.Context()), connectors.Rejected)
	wantKind(t, l.open(t, nil, "sales_channel", "Nowhere").Check(t.Context()), connectors.Rejected)
	first, byName, byID := l.open(t, nil), l.open(t, nil, "stock_location", "Second"), l.open(t, nil, "stock_location", second)
	a := l.variant(t, "LOCATED")
	write(t, first, a.ref, 4)
	if q := read(t, byName, a.ref).Quantity; q != 0 {
		t.Errorf("the second location has %d of what it never had", q)
	}
	write(t, byName, a.ref, 6)
	if one, two := read(t, first, a.ref).Quantity, read(t, byID, a.ref).Quantity; one != 4 || two != 6 {
		t.Errorf("the locations have %d and %d, not 4 and 6", one, two)
	}
	write(t, byName, a.ref, 0)

	var made struct {
		Channel struct {
			ID string `json:"id"`
		} `json:"sales_channel"`
	}
	l.Admin(t, http.MethodPost, "/admin/sales-channels", map[string]any{"name": "Empty"}, &made)
	id := l.PlaceOrder(t, map[string]int{a.ID: 1})
	empty, full := l.open(t, nil, "sales_channel", "Empty"), l.open(t, nil, "sales_channel", l.SalesChannel)
	if find(t, full, id).OrderID != id {
		t.Error("the order is not told of its own sales channel")
	}
	page, err := empty.Orders(t.Context(), time.Now().Add(-time.Hour), "")
	if err != nil || len(page.Orders) > 0 {
		t.Errorf("%d orders of an empty sales channel, %v", len(page.Orders), err)
	}
	listings, err := empty.Listings(t.Context(), "")
	if err != nil || len(listings.Rows) > 0 {
		t.Errorf("%d listings of an empty sales channel, %v", len(listings.Rows), err)
	}
	listings, err = full.Listings(t.Context(), "")
	if err != nil || len(listings.Rows) < 50 {
		t.Errorf("%d listings of the sales channel, %v", len(listings.Rows), err)
	}
}

// hookServer keeps what the subscriber sends.
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

// hints: the subscriber's deliveries verify, and an order makes one of each type.
func (l *live) hints(t *testing.T, hooks *hookServer) {
	m, a := l.open(t, nil), l.variant(t, "HINT")
	id := l.PlaceOrder(t, map[string]int{a.ID: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
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
			order = order || d.Type == "order.changed" && bytes.Contains(h.body, []byte(`"`+id+`"`))
			stocks = stocks || d.Type == "stock.changed" && bytes.Contains(h.body, []byte(`"resitem_`))
			h.body = append(h.body, ' ')
			if _, err := m.VerifyWebhook(connectors.Request{Method: http.MethodPost, Header: h.header, Body: h.body, At: time.Now()}); !errors.Is(err, connectors.ErrSignature) {
				t.Errorf("a changed body is taken: %v", err)
			}
		case <-ctx.Done():
			t.Fatalf("no hint of order %s (%t) or of a reservation (%t)", id, order, stocks)
		}
	}
}
