package googlecloud

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// pageSize is what Google gives when nothing is said.
const pageSize = "200"

// Orders implements connectors.Marketplace: the entitlements that changed since. What waits for a decision is left out: it is
// told by its question. Google's list knows no filter by time.
func (p *provider) Orders(ctx context.Context, since time.Time, from connectors.Cursor) (connectors.OrderPage, error) {
	const op = "list the entitlements"
	page := connectors.OrderPage{Watermark: time.Now().UTC()}
	query := url.Values{"pageSize": {pageSize}}
	if from != "" {
		query.Set("pageToken", string(from))
	}
	var got entitlements
	if err := p.do(ctx, p.client, rest.Call{Op: op, Method: http.MethodGet, Path: "/v1/" + p.name + "/entitlements", Query: query}, &got); err != nil {
		return connectors.OrderPage{}, err
	}
	for _, e := range got.Entitlements {
		if e.waits() || e.UpdateTime.Before(since) && !e.UpdateTime.IsZero() {
			continue
		}
		o, err := e.order()
		if err != nil {
			return connectors.OrderPage{}, connectors.Rejectedf(op, "", "entitlement %.60q: %w", p.client.Redact(e.Name), err)
		}
		page.Orders = append(page.Orders, o)
	}
	if got.NextPageToken != "" && got.NextPageToken == string(from) {
		return connectors.OrderPage{}, connectors.Rejectedf(op, "", "the next page is this page again; Google's list does not end")
	}
	page.Next = connectors.Cursor(got.NextPageToken)
	return page, nil
}
