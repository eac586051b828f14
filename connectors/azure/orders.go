package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// Orders implements connectors.Marketplace: every subscription, with its seats as they stand.
func (a *account) Orders(ctx context.Context, since time.Time, from connectors.Cursor) (connectors.OrderPage, error) {
	const op = "list the subscriptions"
	began, token := time.Now().UTC().Truncate(time.Millisecond), ""
	if from != "" {
		millis, rest, found := strings.Cut(string(from), " ")
		n, err := strconv.ParseInt(millis, 10, 64)
		if err != nil || !found {
			return connectors.OrderPage{}, connectors.Rejectedf(op, "", "the cursor %.40q is not one of this connector", from)
		}
		began, token = time.UnixMilli(n).UTC(), rest
	}
	got, err := a.page(ctx, op, a.client, token)
	if err != nil {
		return connectors.OrderPage{}, err
	}
	page := connectors.OrderPage{Watermark: began}
	for _, s := range got.Subscriptions {
		if s.Status == statusNotStarted {
			continue // not bought yet
		}
		o, err := s.order()
		if err != nil {
			return connectors.OrderPage{}, connectors.Rejectedf(op, "", "subscription %.40q: %w", a.client.Redact(s.ID), err)
		}
		if o = a.looks.Found("", o, began); o.Version >= since.UnixMilli() {
			page.Orders = append(page.Orders, o)
		}
	}
	if got.NextLink == "" {
		return page, nil
	}
	next, err := url.Parse(got.NextLink)
	if err != nil || next.Query().Get("continuationToken") == "" {
		return connectors.OrderPage{}, connectors.Rejectedf(op, "", "the link to the next page has no continuationToken; it is not understood")
	}
	if next.Query().Get("continuationToken") == token {
		return connectors.OrderPage{}, connectors.Rejectedf(op, "", "the next page is this page again; Microsoft's list does not end")
	}
	page.Next = connectors.Cursor(fmt.Sprint(began.UnixMilli(), " ", next.Query().Get("continuationToken")))
	return page, nil
}

// page fetches one page of the list.
func (a *account) page(ctx context.Context, op string, client *rest.Client, token string) (subscriptions, error) {
	query := url.Values{}
	if token != "" {
		query.Set("continuationToken", token)
	}
	var got subscriptions
	err := a.do(ctx, client, rest.Call{Op: op, Method: http.MethodGet, Path: "/saas/subscriptions/", Query: query}, &got)
	if err == nil && got.Subscriptions == nil {
		err = connectors.Rejectedf(op, "", "the answer has no list of subscriptions; is base_url the address of the fulfilment interface?")
	}
	return got, err
}

// WriteShipment implements connectors.ShipmentWriter: the first shipment of a new subscription activates it, whole, by which Microsoft
// begins to bill. One that is active already is left alone.
func (a *account) WriteShipment(ctx context.Context, n connectors.ShipmentNotice) error {
	const op = "activate the subscription"
	s, err := a.subscription(ctx, op, n.OrderID)
	if err != nil {
		return err
	}
	switch s.Status {
	case statusSubscribed, statusSuspended:
		return nil
	case statusPending:
	case statusUnsubscribed:
		return connectors.Rejectedf(op, "", "subscription %s has ended at Microsoft: in Partner Center, Usage, see why; what was shipped for it is to be taken back", n.OrderID)
	default:
		return connectors.Rejectedf(op, "", "subscription %s has the status %.40q, in which it cannot be activated", n.OrderID, a.client.Redact(s.Status))
	}
	if _, err := line(s.OfferID, s.PlanID, s.Quantity); err != nil {
		return connectors.Rejectedf(op, "", "subscription %s: %w", n.OrderID, err)
	}
	err = a.do(ctx, a.client, rest.Call{Op: op, Method: http.MethodPost, Path: "/saas/subscriptions/" + url.PathEscape(n.OrderID) + "/activate",
		Body: activation{PlanID: s.PlanID, Quantity: s.Quantity}, Write: true, Idempotent: true}, nil)
	if e, ok := errors.AsType[*connectors.Error](err); ok && e.Kind == connectors.Rejected {
		e.Err = fmt.Errorf("%w; see the subscription in Partner Center: a purchase that is not activated within 30 days is cancelled", e.Err)
	}
	return err
}
