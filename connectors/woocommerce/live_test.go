package woocommerce

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/stock"
)

// The suite against a shop of WooCommerce itself. It makes products, and orders of them, and deletes both. With
// TRUESTOCK_RECORD, the name of a release, what the shop answers is kept for TestRecorded.
func TestLive(t *testing.T) {
	shop := &liveShop{url: strings.TrimRight(os.Getenv("TRUESTOCK_WOOCOMMERCE_URL"), "/"), key: os.Getenv("TRUESTOCK_WOOCOMMERCE_KEY"), secret: os.Getenv("TRUESTOCK_WOOCOMMERCE_SECRET")}
	if shop.url == "" || shop.key == "" || shop.secret == "" {
		t.Skip("TRUESTOCK_WOOCOMMERCE_URL, TRUESTOCK_WOOCOMMERCE_KEY and TRUESTOCK_WOOCOMMERCE_SECRET name no shop to try this on")
	}
	if release := os.Getenv("TRUESTOCK_RECORD"); release != "" {
		_, host, _ := strings.Cut(shop.url, "://")
		shop.way = connectortest.Record(t, release, host, "shop.example", shop.key, recordedShop.key, shop.secret, recordedShop.secret)
		shop.suite(t, connectortest.NotRecorded())
		return
	}
	shop.suite(t, nil)
}

// recordedShop is what the recordings call the shop.
var recordedShop = liveShop{url: "https://shop.example", key: "ck_recorded", secret: "cs_recorded"}

// The suite against what shops of WooCommerce answered.
func TestRecorded(t *testing.T) {
	connectortest.Recordings(t, func(t *testing.T, way http.RoundTripper) {
		shop := recordedShop
		shop.way = way
		shop.suite(t, connectortest.NotRecorded())
	})
}

// suite runs the suite but for some cases.
func (l *liveShop) suite(t *testing.T, but map[string]string) {
	s := connectortest.Server{
		Transport: l.way,
		Open: func(env connectors.Env) (connectors.Connection, error) {
			return Info().Open(env, connectors.MarketplaceRole, settings(settingBaseURL, l.url, settingKey, l.key, settingSecret, l.secret))
		},
		Secrets: []string{l.key, l.secret, hookSecret},
		Writes:  func(r *http.Request, _ []byte) bool { return r.Method != http.MethodGet },
		Refs:    []connectors.Ref{l.product(t, nil), l.product(t, nil)},
		Shown: func(ref connectors.Ref) stock.Quantity {
			var p product
			l.call(t, http.MethodGet, "/products/"+ref.Item, nil, &p)
			n, err := p.StockQuantity.whole()
			if err != nil {
				t.Errorf("product %s: %v", ref, err)
			}
			return n
		},
		Sell: func(ref connectors.Ref, quantity stock.Quantity) string {
			var p product
			l.call(t, http.MethodGet, "/products/"+ref.Item, nil, &p)
			line := map[string]any{"product_id": p.ID, "quantity": quantity}
			if p.ParentID > 0 {
				line = map[string]any{"product_id": p.ParentID, "variation_id": p.ID, "quantity": quantity}
			}
			var o order
			l.call(t, http.MethodPost, "/orders", map[string]any{"status": orderProcessing, "set_paid": true, "line_items": []any{line}}, &o)
			id := strconv.FormatInt(o.ID, 10)
			l.deleteLater(t, "/orders/"+id)
			return id
		},
		Shipped: func(id string) stock.Quantity {
			var o order
			l.call(t, http.MethodGet, "/orders/"+id, nil, &o)
			if o.Status != orderCompleted {
				return 0
			}
			n, err := o.Lines[0].Quantity.whole()
			if err != nil {
				t.Errorf("order %s: %v", id, err)
			}
			return n
		},
		Sign: func(id string, at time.Time, body []byte) connectors.Request {
			r := delivery(id, "order.updated", hookSecret, body)
			r.At = at
			return r
		},
		Event: []byte(`{"id":727}`),
	}
	s.Refs = append(s.Refs, l.variation(t))
	connectortest.RunMarketplace(t, connectortest.Fixture{Serial: true, Skip: but, New: func(*testing.T) connectortest.Server { return s }})
}

// liveShop is a shop, and the way to it; nil means the network.
type liveShop struct {
	url, key, secret string
	way              http.RoundTripper
}

// product makes a product that manages its stock.
func (l *liveShop) product(t *testing.T, change map[string]any) connectors.Ref {
	body := map[string]any{"name": "truestock suite", "type": "simple", "regular_price": "1.00", "manage_stock": true, "stock_quantity": 10}
	maps.Copy(body, change)
	var p product
	l.call(t, http.MethodPost, "/products", body, &p)
	l.deleteLater(t, "/products/"+strconv.FormatInt(p.ID, 10))
	return p.ref()
}

// variation makes a product with one variation, and is that.
func (l *liveShop) variation(t *testing.T) connectors.Ref {
	parent := l.product(t, map[string]any{"type": "variable", "manage_stock": false, "attributes": []any{
		map[string]any{"name": "Size", "visible": true, "variation": true, "options": []string{"S"}},
	}})
	var v product
	l.call(t, http.MethodPost, "/products/"+parent.Item+"/variations", map[string]any{
		"regular_price": "1.00", "manage_stock": true, "stock_quantity": 10, "attributes": []any{map[string]any{"name": "Size", "option": "S"}},
	}, &v)
	return v.ref()
}

func (l *liveShop) deleteLater(t *testing.T, path string) {
	t.Cleanup(func() { l.call(t, http.MethodDelete, path+"?force=true", nil, nil) })
}

// call asks the shop past the connector. It outlives the test's own context, to clean up.
func (l *liveShop) call(t *testing.T, method, path string, body, out any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, method, l.url+"/wp-json"+namespace+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(l.key, l.secret)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: l.way}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode < 200 || resp.StatusCode > 299) {
		err = fmt.Errorf("%s %s answered %d: %.300s", method, path, resp.StatusCode, answer)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}
