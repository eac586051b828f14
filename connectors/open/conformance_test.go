package open_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
)

const (
	token  = "tok-5f1e/9c+a27=="
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// Kinds of marketplace that the protocol can describe; the suite runs against each.
var shops = map[string]open.MarketplaceCapabilities{
	"overwrite, on hand": {BatchSize: 5, QuantityMeans: fake.MeansOnHand},
	"compare and set": {
		BatchSize: 5, QuantityMeans: fake.MeansAvailable, ConditionalWrite: true, IdempotentWrite: true,
		MaxQuantity: 9999, ReadLagMS: 30, StopSale: true, Shipments: true, Remedies: true, PerPlace: true, Unlimited: true,
	},
}

func TestMarketplaceConformance(t *testing.T) {
	for name, can := range shops {
		t.Run(name, func(t *testing.T) {
			connectortest.RunMarketplace(t, connectortest.Fixture{New: func(t *testing.T) connectortest.Server { return newShop(t, can) }})
		})
	}
}

func newShop(t *testing.T, can open.MarketplaceCapabilities) connectortest.Server {
	s := fake.NewShop(fake.ShopConfig{Capabilities: can, Token: token, PageSize: 3})
	t.Cleanup(s.Close)
	var refs []connectors.Ref
	for i := range 7 {
		quantity := int64(i)
		ref := connectors.Ref{Item: "I-" + strconv.Itoa(i)}
		if can.PerPlace {
			ref.Place = "store " + strconv.Itoa(i%2)
		}
		refs = append(refs, ref)
		s.AddListing(open.Listing{Item: ref.Item, Place: ref.Place, SKU: "SKU-" + strconv.Itoa(i), Title: "Thing", Quantity: &quantity})
	}
	return connectortest.Server{
		Open:    opener(serve(t, s), connectors.MarketplaceRole),
		Secrets: []string{token, secret, strings.TrimPrefix(secret, "whsec_")},
		Changes: s.WriteCount,
		Writes: func(r *http.Request, _ []byte) bool {
			return r.Method == http.MethodPost && r.URL.Path != "/stock/read"
		},
		Refs: refs,
		Shown: func(ref connectors.Ref) stock.Quantity {
			q, _ := s.Quantity(ref.Item, ref.Place)
			return stock.Quantity(q)
		},
		Sell: func(ref connectors.Ref, quantity stock.Quantity) string {
			id, ok := s.Order(fake.BuyLine{Item: ref.Item, Place: ref.Place, Quantity: int64(quantity)})
			if !ok {
				t.Errorf("the shop cannot sell %d of %s", quantity, ref)
			}
			return id
		},
		Shipped: func(orderID string) stock.Quantity {
			var n int64
			for _, o := range s.Orders() {
				for _, l := range o.Lines {
					if o.OrderID == orderID {
						n += *l.Shipped
					}
				}
			}
			return stock.Quantity(n)
		},
		Sign:  sign,
		Event: []byte(`{"type":"order.cancelled","timestamp":"2026-11-23T10:00:00Z","data":{"order_id":"O-1","version":2}}`),
	}
}

// Kinds of system of record that the protocol can describe.
var records = map[string]open.RecordCapabilities{
	"on hand, nothing more": {Levels: fake.OnHand},
	"available, everything": {Levels: fake.Available, Positions: true, CompleteLevels: true, OrderAmend: true, OrderStatus: true, Corrections: true},
	"on hand, answers":      {Levels: fake.OnHand, OrderStatus: true},
}

func TestSystemOfRecordConformance(t *testing.T) {
	for name, can := range records {
		t.Run(name, func(t *testing.T) {
			connectortest.RunSystemOfRecord(t, connectortest.Fixture{New: func(t *testing.T) connectortest.Server { return newWarehouse(t, can) }})
		})
	}
}

func newWarehouse(t *testing.T, can open.RecordCapabilities) connectortest.Server {
	w := fake.NewWarehouse(fake.WarehouseConfig{Capabilities: can, Token: token, PageSize: 2, Locations: []open.Location{{ID: "main", Name: "Main"}, {ID: "annex", Name: "Annex"}}})
	t.Cleanup(w.Close)
	skus := []string{"A", "B/1 ü", "C", "D", "E"}
	for i, sku := range skus {
		w.AddItem(open.Item{SKU: sku})
		for _, location := range []string{"main", "annex"} {
			if err := w.SetOpening(sku, location, int64(10*(i+1))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return connectortest.Server{
		Open:    opener(serve(t, w), connectors.SystemOfRecordRole),
		Secrets: []string{token, secret},
		Changes: func() int { return len(w.Orders()) },
		SKUs:    skus,
		Level: func(sku string) stock.Quantity {
			var n int64
			for _, l := range w.Levels() {
				if l.SKU == sku {
					n += *l.Quantity
				}
			}
			return stock.Quantity(n)
		},
		Receive: func(sku string, quantity stock.Quantity) {
			if err := w.Receive(sku, "main", int64(quantity)); err != nil {
				t.Error(err)
			}
		},
		OrderCount: func() int { return len(w.Orders()) },
		ShipOrder: func(key string) stock.Quantity {
			w.Ship(key)
			var n int64
			for _, o := range w.Orders() {
				for _, l := range o.Lines {
					if o.Key == key {
						n += l.Shipped
					}
				}
			}
			return stock.Quantity(n)
		},
		Sign: sign,
		Event: []byte(`{"type":"stock.moved","timestamp":"2026-11-23T10:00:00Z","data":{"sku":"A","location":"main","delta":-2,` +
			`"reason":"damage","position":7,"occurred_at":"2026-11-23T09:59:59Z"}}`),
	}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server, err := fake.Serve(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server.URL
}

func opener(url string, role connectors.Role) func(connectors.Env) (connectors.Connection, error) {
	return func(env connectors.Env) (connectors.Connection, error) {
		return open.Info().Open(env, role, connectors.Settings{"base_url": url, "token": token, "webhook_secrets": secret})
	}
}

func sign(id string, at time.Time, body []byte) connectors.Request {
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		panic(err)
	}
	signature, err := signer.Sign(id, at, body)
	if err != nil {
		panic(err)
	}
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	h.Set("webhook-signature", signature)
	return connectors.Request{Method: http.MethodPost, Header: h, Body: body, At: at}
}
