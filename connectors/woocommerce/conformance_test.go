package woocommerce

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/stock"
)

// The suite, against a shop with products, variations, and more of both than fit into a batch.
func TestConformance(t *testing.T) {
	connectortest.RunMarketplace(t, connectortest.Fixture{New: newServer})
}

func newServer(*testing.T) connectortest.Server {
	p := newPretend()
	var refs []connectors.Ref
	refs = append(refs, p.product("A", 3).ref())
	parent := p.variable("V")
	refs = append(refs, p.variation(parent, "S", 4).ref(), p.variation(parent, "M", 5).ref())
	for i := range 100 {
		refs = append(refs, p.product("P"+strconv.Itoa(i), int64(i)).ref())
	}
	return connectortest.Server{
		Open: func(env connectors.Env) (connectors.Connection, error) {
			return Info().Open(env, connectors.MarketplaceRole, settings())
		},
		Transport: p,
		Secrets:   []string{testKey, testSecret, hookSecret},
		Writes:    func(r *http.Request, _ []byte) bool { return r.Method != http.MethodGet },
		Changes:   p.changed,
		Refs:      refs,
		Shown:     p.shown,
		Sell: func(ref connectors.Ref, quantity stock.Quantity) string {
			id, _ := strconv.ParseInt(ref.Item, 10, 64)
			p.mu.Lock()
			of := p.find(id)
			p.mu.Unlock()
			return strconv.FormatInt(p.order("processing", 0, want{of, int64(quantity)}).id, 10)
		},
		Shipped: func(orderID string) stock.Quantity {
			p.mu.Lock()
			defer p.mu.Unlock()
			id, _ := strconv.ParseInt(orderID, 10, 64)
			o := p.findOrder(id)
			if o.status != "completed" || len(o.notes) != 1 {
				return -1
			}
			n, _ := strconv.ParseInt(o.lines[0].quantity, 10, 64)
			return stock.Quantity(n)
		},
		Sign: func(id string, at time.Time, body []byte) connectors.Request {
			r := delivery(id, "order.updated", hookSecret, body)
			r.At = at
			return r
		},
		Event: []byte(`{"id":727,"status":"processing","line_items":[]}`),
	}
}
