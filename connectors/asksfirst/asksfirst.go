// Package asksfirst is what the connectors of platforms share that show no quantity and ask before each sale: cloud
// marketplaces, which sell licences, seats and quotas, and push their orders.
package asksfirst

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// Platform is the part of a connection that says so: it lists nothing, and nothing can be read or written. What was
// sold was asked for, so that there are no orders to fetch.
type Platform struct{}

// Check implements connectors.Connection. There is nobody to ask: whether the secrets are right shows with the first
// question, or with the platform's own test call.
func (Platform) Check(ctx context.Context) error { return ctx.Err() }

// Close implements connectors.Connection.
func (Platform) Close() error { return nil }

// Capabilities implements connectors.Marketplace.
func (Platform) Capabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	return connectors.MarketplaceCapabilities{Class: connectors.AsksFirst, BatchSize: 1}, ctx.Err()
}

// Listings implements connectors.Marketplace.
func (Platform) Listings(ctx context.Context, _ connectors.Cursor) (connectors.Page[connectors.Listing], error) {
	return connectors.Page[connectors.Listing]{}, ctx.Err()
}

// ReadStock implements connectors.Marketplace.
func (Platform) ReadStock(ctx context.Context, _ []connectors.Ref) ([]connectors.Reading, error) {
	return nil, ctx.Err()
}

// WriteStock implements connectors.Marketplace.
func (Platform) WriteStock(context.Context, []connectors.Write) ([]connectors.Result, error) {
	return nil, connectors.Rejectedf("write stock", "", "the platform takes no quantities; it asks before each sale")
}

// Orders implements connectors.Marketplace.
func (Platform) Orders(ctx context.Context, _ time.Time, _ connectors.Cursor) (connectors.OrderPage, error) {
	return connectors.OrderPage{Watermark: time.Now().UTC()}, ctx.Err()
}

// Parameters reads the query of a request, in which each name may stand once. The error is connectors.ErrEnvelope,
// wrapped.
func Parameters(r connectors.Request) (map[string]string, error) {
	out := make(map[string]string)
	for name, values := range r.Query() {
		if len(values) != 1 {
			return nil, fmt.Errorf("%w: the parameter %.40q stands %d times", connectors.ErrEnvelope, name, len(values))
		}
		out[name] = values[0]
	}
	return out, nil
}

// Quantity reads the quantity of a line: a whole number above 0; absent means 1.
func Quantity(name, text string) (stock.Quantity, error) {
	if text == "" {
		return 1, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || stock.Quantity(n) > stock.MaxQuantity {
		return 0, fmt.Errorf("%s is %.40q: it must be a whole number above 0", name, text)
	}
	return stock.Quantity(n), nil
}

// JSON is a reply of a JSON value. What cannot be written is a mistake of the program.
func JSON(status int, value any) connectors.Reply {
	body, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return connectors.Reply{Status: status, Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, Body: body}
}
