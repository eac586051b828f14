package open

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/standardwebhooks"
)

// receiver understands the webhooks of the open protocol.
type receiver struct {
	role     connectors.Role
	verifier *standardwebhooks.Verifier
}

// VerifyWebhook implements connectors.WebhookReceiver.
func (r *receiver) VerifyWebhook(req connectors.Request) (connectors.Delivery, error) {
	return r.verifier.Verify(req.Header, req.Body, req.At)
}

// DecodeWebhook implements connectors.WebhookReceiver. Duplicate names are refused at any depth; a quantity is a whole
// number written as one.
func (r *receiver) DecodeWebhook(_ connectors.Delivery, body []byte) (connectors.Notice, error) {
	var e Envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return connectors.Notice{}, fmt.Errorf("the event cannot be read: %w", rest.ExplainJSON(err))
	}
	if connectors.Kind(e.Type) == connectors.StockChanged {
		return decodeChanged(e.Data)
	}
	var at row
	var sent time.Time
	if e.Timestamp != nil {
		sent = at.instant("timestamp", *e.Timestamp)
	}
	if at.err != nil {
		return connectors.Notice{}, at.err
	}
	f, err := decodeFact(r.role, connectors.Kind(e.Type), e.Data, sent)
	if err != nil {
		return connectors.Notice{}, fmt.Errorf("%s: %w", e.Type, err)
	}
	return connectors.Notice{Facts: []connectors.Fact{f}}, nil
}

// decodeChanged asks for a look. Which SKUs changed is a hint that is not passed on: the look is at everything.
func decodeChanged(data jsontext.Value) (connectors.Notice, error) {
	var c Changed
	if len(data) > 0 {
		if err := json.Unmarshal(data, &c); err != nil {
			return connectors.Notice{}, fmt.Errorf("%s: data: %w", connectors.StockChanged, rest.ExplainJSON(err))
		}
	}
	return connectors.Notice{Pull: true}, nil
}
