package woocommerce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
)

// The headers of a delivery (class-wc-webhook.php, deliver).
const (
	headerSignature = "X-WC-Webhook-Signature"
	headerTopic     = "X-WC-Webhook-Topic"
	headerDelivery  = "X-WC-Webhook-Delivery-ID"
)

// VerifyWebhook implements connectors.WebhookReceiver. The shop's delivery id is a hash of the webhook and the second, so that
// two events can share it; with the topic and the body it is the identity of a delivery.
func (s *shop) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	ordinal, err := s.hooks.MatchBody(r.Header.Get(headerSignature), r.Body)
	if err != nil {
		return connectors.Delivery{}, err
	}
	topic, id := r.Header.Get(headerTopic), r.Header.Get(headerDelivery)
	if topic == "" || id == "" || len(topic) > 100 || len(id) > 64 {
		return connectors.Delivery{}, fmt.Errorf("%w: the headers %s and %s are missing or too long", connectors.ErrEnvelope, headerTopic, headerDelivery)
	}
	if body := jsontext.Value(r.Body); body.Kind() != '{' || !body.IsValid() {
		return connectors.Delivery{}, fmt.Errorf("%w: the body is not a JSON object", connectors.ErrEnvelope)
	}
	sum := sha256.Sum256(r.Body)
	return connectors.Delivery{Key: id + ":" + topic + ":" + hex.EncodeToString(sum[:]), Type: topic, Secret: ordinal}, nil
}

// DecodeWebhook implements connectors.WebhookReceiver. The body is made when it is sent, of what there is then, without the
// quantities of refunds: so an event asks for a look, and tells no facts.
func (s *shop) DecodeWebhook(d connectors.Delivery, body []byte) (connectors.Notice, error) {
	var e struct {
		ID int64 `json:"id"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return connectors.Notice{}, fmt.Errorf("the event cannot be read: %w", err)
	}
	resource, _, _ := strings.Cut(d.Type, ".")
	switch {
	case resource != "order" && resource != "product":
		return connectors.Notice{}, nil // somebody sends us more than we need
	case e.ID <= 0:
		return connectors.Notice{}, fmt.Errorf("the event %q has no id; the user who made the webhook may not see what it is about", d.Type)
	default:
		return connectors.Notice{Pull: true}, nil
	}
}

// Handshake implements connectors.Handshaker: the ping that the shop sends when a webhook is made or enabled, a form without a
// signature. It wants 200 and nothing else (class-wc-webhook.php, deliver_ping).
func (s *shop) Handshake(r connectors.Request) (connectors.Reply, bool) {
	if r.Method != http.MethodPost || r.Header.Get(headerSignature) != "" || len(r.Body) > 64 {
		return connectors.Reply{}, false
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil || len(form) != 1 {
		return connectors.Reply{}, false
	}
	if _, err := strconv.ParseUint(form.Get("webhook_id"), 10, 63); err != nil {
		return connectors.Reply{}, false
	}
	return answer(http.StatusOK, "ping"), true
}

// AnswerWebhook implements connectors.WebhookAnswerer. The shop takes 200 to 302 for success, and counts everything else
// towards disabling the webhook; it sends nothing again.
func (s *shop) AnswerWebhook(became connectors.Reception) connectors.Reply {
	switch became {
	case connectors.ReceivedNew, connectors.ReceivedAgain:
		return answer(http.StatusOK, "taken")
	case connectors.ReceivedConflict:
		return answer(http.StatusConflict, "another content under a known id")
	case connectors.RefusedSignature:
		return answer(http.StatusUnauthorized, "the signature is refused")
	case connectors.RefusedEnvelope:
		return answer(http.StatusBadRequest, "this is not an event")
	default:
		return answer(http.StatusServiceUnavailable, "it cannot be stored now")
	}
}

func answer(status int, text string) connectors.Reply {
	return connectors.Reply{Status: status, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, Body: []byte(text + "\n")}
}

// neededTopics are what the shop has to tell. order.updated comes with refunds too, and the product.… ones with variations.
var neededTopics = []string{
	"order.created", "order.updated", "order.deleted", "order.restored",
	"product.created", "product.updated", "product.deleted", "product.restored",
}

const webhookActive = "active"

// MissingSubscriptions implements connectors.Subscriber. A webhook that the shop disabled after failures tells nothing.
func (s *shop) MissingSubscriptions(ctx context.Context) ([]string, error) {
	if s.hookURL == "" || len(s.hooks) == 0 {
		return nil, nil
	}
	ours, err := s.webhooks(ctx, "list the webhooks")
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, topic := range neededTopics {
		told := slices.ContainsFunc(ours, func(w webhook) bool { return w.Topic == topic && w.Status == webhookActive })
		if !told {
			missing = append(missing, topic)
		}
	}
	return missing, nil
}

// webhooks lists those that lead to us.
func (s *shop) webhooks(ctx context.Context, op string) ([]webhook, error) {
	var ours []webhook
	for page := 1; page <= listLooks; page++ {
		var rows []webhook
		query := url.Values{"per_page": {strconv.Itoa(batchSize)}, "page": {strconv.Itoa(page)}, "_fields": {"id,status,topic,delivery_url"}}
		if err := s.read(ctx, op, "/webhooks", query, &rows); err != nil {
			return nil, err
		}
		for _, w := range rows {
			if w.URL == s.hookURL {
				ours = append(ours, w)
			}
		}
		if len(rows) < batchSize {
			return ours, nil
		}
	}
	return nil, s.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("the shop has more than %d webhooks, or a cache in front of it repeats a page", listLooks*batchSize))
}

// Subscribe implements connectors.Subscriber. A webhook that is there is enabled again, with the first of our secrets; where
// there is none one is made. Those that tell already are left alone.
func (s *shop) Subscribe(ctx context.Context, types []string) error {
	const op = "subscribe to webhooks"
	if s.hookURL == "" || len(s.hooks) == 0 {
		return connectors.Rejectedf(op, "", "the address of our webhooks or their secret is not known: set public_url and %s", settingWebhookSecrets)
	}
	ours, err := s.webhooks(ctx, op)
	if err != nil {
		return err
	}
	for _, topic := range types {
		if err := s.subscribe(ctx, op, ours, topic); err != nil {
			return err
		}
	}
	return nil
}

func (s *shop) subscribe(ctx context.Context, op string, ours []webhook, topic string) error {
	var silent *webhook
	for i, w := range ours {
		switch {
		case w.Topic != topic:
		case w.Status == webhookActive:
			return nil
		case silent == nil:
			silent = &ours[i]
		}
	}
	if silent != nil {
		body := webhook{Status: webhookActive, Secret: s.hooks[0]}
		return s.write(ctx, op, http.MethodPut, "/webhooks/"+strconv.FormatInt(silent.ID, 10), true, body, nil)
	}
	body := webhook{Name: "truestock " + topic, Status: webhookActive, Topic: topic, URL: s.hookURL, Secret: s.hooks[0]}
	return s.write(ctx, op, http.MethodPost, "/webhooks", false, body, nil)
}
