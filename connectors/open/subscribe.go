package open

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// webhooks is where a marketplace is to send its events, and the secret that signs them: the first of those that are
// active, which is the newest during a rotation.
type webhooks struct{ url, secret string }

// neededTypes are the events that a marketplace has to tell.
var neededTypes = []string{
	string(connectors.OrderUpserted), string(connectors.OrderCancelled), string(connectors.ListingChanged), string(connectors.ListingRemoved),
}

// MissingSubscriptions implements connectors.Subscriber.
func (s *shop) MissingSubscriptions(ctx context.Context) ([]string, error) {
	const op = "list webhook subscriptions"
	if s.client == nil || s.hooks.url == "" || s.hooks.secret == "" {
		return nil, nil
	}
	can, err := s.Capabilities(ctx)
	if err != nil || !can.Subscriptions {
		return nil, err
	}
	var answer SubscriptionsAnswer
	if err := s.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/webhooks"}, &answer); err != nil {
		s.can.forgetIf(err)
		return nil, err
	}
	if answer.Webhooks == nil {
		return nil, s.rejected(op, errors.New("webhooks is missing or null"))
	}
	var missing []string
	for _, typ := range neededTypes {
		told := func(w Subscription) bool {
			return w.URL == s.hooks.url && (len(w.Types) == 0 || slices.Contains(w.Types, typ))
		}
		if !slices.ContainsFunc(answer.Webhooks, told) {
			missing = append(missing, typ)
		}
	}
	return missing, nil
}

// Subscribe implements connectors.Subscriber. The call states a condition, so that a repeat changes nothing.
func (s *shop) Subscribe(ctx context.Context, types []string) error {
	const op = "subscribe to webhooks"
	if err := s.claims(ctx, op, "subscriptions", func(c connectors.MarketplaceCapabilities) bool { return c.Subscriptions }); err != nil {
		return err
	}
	if s.hooks.url == "" || s.hooks.secret == "" {
		return connectors.Rejectedf(op, "", "the address of our webhooks or their secret is not known: set public_url and webhook_secrets")
	}
	var answer Subscription
	call := rest.Call{Op: op, Method: http.MethodPost, Path: "/webhooks", Write: true, Idempotent: true,
		Body: Subscription{URL: s.hooks.url, Types: types, Secret: s.hooks.secret}}
	return s.do(ctx, call, &answer)
}
