package medusa

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
)

// The webhooks come from the truestock subscriber, in the folder subscriber: Medusa itself has none. They are hints,
// signed by the Standard Webhooks scheme.

// VerifyWebhook implements connectors.WebhookReceiver.
func (s *shop) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	return s.verifier.Verify(r.Header, r.Body, r.At)
}

// DecodeWebhook implements connectors.WebhookReceiver. A hint asks for a look and tells no facts: Medusa's events name
// only ids, and one change can make several.
func (s *shop) DecodeWebhook(_ connectors.Delivery, body []byte) (connectors.Notice, error) {
	var e struct {
		Type string         `json:"type"`
		Data jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return connectors.Notice{}, fmt.Errorf("the hint cannot be read: %w", err)
	}
	switch e.Type {
	case "order.changed", "stock.changed":
		return connectors.Notice{Pull: true}, nil
	default:
		return connectors.Notice{}, fmt.Errorf("type %q is not sent by the truestock subscriber", e.Type)
	}
}
