package shopify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/stock"
)

// The headers of a delivery, in the two families that Shopify sends: those of webhooks begin with X-, those of the newer
// "Events" do not (@shopify/shopify-api, lib/webhooks/validate).
const (
	headerSignature = "Shopify-Hmac-Sha256"
	headerTopic     = "Shopify-Topic"
	headerAction    = "Shopify-Action" // of Events only
	headerShop      = "Shopify-Shop-Domain"
	headerID        = "Shopify-Webhook-Id"
)

// topics are the subscriptions that a connection needs, as the API writes them (WebhookSubscriptionTopic).
var topics = []string{
	"ORDERS_CREATE", "ORDERS_UPDATED", "ORDERS_EDITED", "ORDERS_CANCELLED", "REFUNDS_CREATE", "INVENTORY_LEVELS_UPDATE", "APP_UNINSTALLED",
}

const topicLevels = "inventory_levels/update"

// VerifyWebhook implements connectors.WebhookReceiver. The signature does not cover the headers, so nothing in them is
// believed that the body does not bear out: a delivery is at most a reason to look.
//
// https://shopify.dev/docs/apps/build/webhooks/subscribe/https
func (s *shop) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	family := ""
	if r.Header.Get(headerSignature) == "" {
		family = "X-"
	}
	secret, err := s.secrets.MatchBody(r.Header.Get(family+headerSignature), r.Body)
	if err != nil {
		return connectors.Delivery{}, err
	}
	topic, id, from := r.Header.Get(family+headerTopic), r.Header.Get(family+headerID), r.Header.Get(family+headerShop)
	switch {
	case topic == "" || id == "":
		return connectors.Delivery{}, fmt.Errorf("%w: the headers %s and %s are needed", connectors.ErrEnvelope, family+headerTopic, family+headerID)
	case !strings.EqualFold(from, s.domain):
		return connectors.Delivery{}, fmt.Errorf("%w: it is of the shop %q, and the connection is to %s", connectors.ErrEnvelope, from, s.domain)
	case !jsontext.Value(r.Body).IsValid(jsontext.AllowDuplicateNames(true)):
		return connectors.Delivery{}, fmt.Errorf("%w: the body is not JSON", connectors.ErrEnvelope)
	}
	if action := r.Header.Get(headerAction); family == "" && action != "" {
		topic = strings.ToLower(topic) + "." + action
	}
	return connectors.Delivery{Key: topic + "/" + id, Type: topic, Secret: secret}, nil
}

// DecodeWebhook implements connectors.WebhookReceiver. A changed level tells what the item shows; our own writes come back
// so too, and are recognised by showing what was written. All else that touches orders or stock asks for a look, because
// deliveries come late, twice and out of order. What touches neither says nothing.
func (s *shop) DecodeWebhook(d connectors.Delivery, body []byte) (connectors.Notice, error) {
	if d.Type == topicLevels {
		return s.decodeLevel(body)
	}
	for _, about := range []string{"order", "refund", "return", "fulfillment", "inventory", "product", "variant", "location", "app/uninstalled"} {
		if strings.HasPrefix(strings.ToLower(d.Type), about) {
			return connectors.Notice{Pull: true}, nil
		}
	}
	return connectors.Notice{}, nil
}

// decodeLevel reads an InventoryLevel of the REST API. Which locations are kept is known from the setting alone, as far as
// it has ids: else the level only asks for a look.
func (s *shop) decodeLevel(body []byte) (connectors.Notice, error) {
	var level struct {
		InventoryItemID jsontext.Value  `json:"inventory_item_id"`
		LocationID      jsontext.Value  `json:"location_id"`
		Available       *stock.Quantity `json:"available"`
	}
	if err := json.Unmarshal(body, &level); err != nil {
		return connectors.Notice{}, fmt.Errorf("the level cannot be read: %w", err)
	}
	item, location := string(level.InventoryItemID), string(level.LocationID)
	ref := connectors.Ref{Item: item}
	switch {
	case !isNumber(item) || !isNumber(location):
		return connectors.Notice{}, errors.New("the level has no number of an item and a location")
	case level.Available != nil && (*level.Available < -maxQuantity || *level.Available > maxQuantity):
		return connectors.Notice{}, fmt.Errorf("the level is %d, which is out of range", *level.Available)
	case slices.Contains(s.wanted, location):
		if len(s.wanted) > 1 {
			ref.Place = location
		}
	case slices.ContainsFunc(s.wanted, func(text string) bool { return !isNumber(text) }):
		return connectors.Notice{Pull: true}, nil
	case len(s.wanted) > 0:
		return connectors.Notice{}, nil // of a location that is not kept
	}
	return connectors.Notice{Facts: []connectors.Fact{{Kind: connectors.ListingChanged, Observation: &connectors.Observation{
		Ref: ref, Quantity: level.Available,
	}}}}, nil
}

// MissingSubscriptions implements connectors.Subscriber. Subscriptions of the app's own configuration are not listed by
// Shopify; where the app has some, each event comes twice.
func (s *shop) MissingSubscriptions(ctx context.Context) ([]string, error) {
	const op = "list webhook subscriptions"
	if s.webhookURL == "" || len(s.secrets) == 0 {
		return nil, nil
	}
	missing := slices.Clone(topics)
	after := ""
	for more := true; more; {
		data, err := ask[subscriptionsData](ctx, s, graphql.Request{Op: op, Document: subscriptionsDocument, Variables: subscriptionsVariables{URI: s.webhookURL, After: after}})
		if err != nil {
			return nil, err
		}
		for _, n := range data.WebhookSubscriptions.Nodes {
			if n.URI == s.webhookURL && n.Format == "JSON" {
				missing = slices.DeleteFunc(missing, func(topic string) bool { return topic == n.Topic })
			}
		}
		if after, more, err = s.next(op, data.WebhookSubscriptions.PageInfo, after); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// Subscribe implements connectors.Subscriber. A subscription that is there already is not made again. Of an order no more
// is sent than its id and when it changed: no names and addresses.
func (s *shop) Subscribe(ctx context.Context, types []string) error {
	const op = "subscribe to webhooks"
	if s.webhookURL == "" || len(s.secrets) == 0 {
		return connectors.Rejectedf(op, "", "the address of our webhooks or their secret is not known: set public_url and %s", settingSecrets)
	}
	missing, err := s.MissingSubscriptions(ctx)
	if err != nil {
		return err
	}
	for _, topic := range types {
		if !slices.Contains(topics, topic) {
			return connectors.Rejectedf(op, "", "%q is none of the topics %v", topic, topics)
		}
		if !slices.Contains(missing, topic) {
			continue
		}
		input := subscriptionInput{URI: s.webhookURL, Format: "JSON", IncludeFields: []string{"id", "updated_at"}}
		if topic == "INVENTORY_LEVELS_UPDATE" {
			input.IncludeFields = []string{"inventory_item_id", "location_id", "available", "updated_at"}
		}
		data, err := ask[subscribeData](ctx, s, graphql.Request{Op: op, Document: subscribeDocument, Write: true, Variables: subscribeVariables{Topic: topic, Subscription: input}})
		if err != nil {
			return err
		}
		made := data.WebhookSubscriptionCreate
		switch {
		case made == nil:
			return s.client.Refusal(connectors.Uncertain, op, "", "the answer tells nothing of the subscription to "+topic)
		case len(made.UserErrors) > 0:
			return s.client.Refusal(connectors.Rejected, op, made.UserErrors[0].Code, topic+": "+made.UserErrors[0].Message)
		case made.WebhookSubscription == nil:
			return s.client.Refusal(connectors.Uncertain, op, "", "the answer has neither a subscription to "+topic+" nor an error")
		}
	}
	return nil
}
