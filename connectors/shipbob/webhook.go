package shipbob

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// headerTopic says what a delivery is about. It is not signed.
const (
	headerTopic = "X-Webhook-Topic"
	maxTopic    = 256
)

// VerifyWebhook implements connectors.WebhookReceiver: the Standard Webhooks scheme, without its envelope.
//
// https://developer.shipbob.com/webhooks
func (w *warehouse) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	d, err := w.verifier.Authenticate(r.Header, r.Body, r.At)
	if err != nil {
		return connectors.Delivery{}, err
	}
	d.Type = r.Header.Get(headerTopic)
	switch {
	case d.Type == "" || len(d.Type) > maxTopic:
		return connectors.Delivery{}, fmt.Errorf("%w: the header %s has %d bytes; from 1 to %d are taken", connectors.ErrEnvelope, headerTopic, len(d.Type), maxTopic)
	case !jsontext.Value(r.Body).IsValid(jsontext.AllowDuplicateNames(true)):
		return connectors.Delivery{}, fmt.Errorf("%w: the body is not JSON", connectors.ErrEnvelope)
	}
	return d, nil
}

// DecodeWebhook implements connectors.WebhookReceiver. ShipBob does not say what its deliveries contain. One that is an order of
// ours in the form of the API, with the tags by which its lines are known, tells what has been shipped of it; any other is a
// reason to look. What is only about money says nothing.
func (w *warehouse) DecodeWebhook(d connectors.Delivery, body []byte) (connectors.Notice, error) {
	if strings.HasPrefix(d.Type, "billing.") {
		return connectors.Notice{}, nil
	}
	n := connectors.Notice{Pull: true}
	var head struct {
		Tags      []orderTag       `json:"tags"`
		Shipments []jsontext.Value `json:"shipments"`
	}
	if json.Unmarshal(body, &head) != nil || len(head.Tags) == 0 || len(head.Shipments) == 0 {
		return n, nil
	}
	var o order
	if err := json.Unmarshal(body, &o); err != nil {
		return connectors.Notice{}, fmt.Errorf("the order cannot be read: %w", rest.ExplainJSON(err))
	}
	facts, err := o.shipped()
	if err != nil {
		return connectors.Notice{}, err
	}
	n.Facts = facts
	return n, nil
}

// shipped are the shipments of an order of ours that have left.
func (o *order) shipped() ([]connectors.Fact, error) {
	lines, err := o.lines()
	if err != nil {
		return nil, fmt.Errorf("the order lacks %w", err)
	}
	var facts []connectors.Fact
	left := make([]stock.Quantity, len(lines))
	for i, l := range lines {
		left[i] = l.ordered
	}
	for i := range o.Shipments {
		s := &o.Shipments[i]
		if !s.gone() || len(lines) == 0 {
			continue
		}
		if s.Location == nil || s.ID <= 0 {
			return nil, fmt.Errorf("shipment %d has no location or no id", s.ID)
		}
		told := &connectors.Shipment{ShipmentID: strconv.FormatInt(s.ID, 10), OrderKey: o.ReferenceID}
		if s.Tracking != nil {
			told.Carrier, told.Tracking = s.Tracking.Carrier, s.Tracking.Number
		}
		seen := make(map[string]stock.Quantity) // from the SKU to the units of it that lines before have
		for n, l := range lines {
			units, _, err := s.units(l.sku)
			if err != nil {
				return nil, err
			}
			mine := min(units-seen[l.sku], left[n])
			if mine <= 0 {
				continue
			}
			seen[l.sku] += mine
			left[n] -= mine
			told.Lines = append(told.Lines, connectors.ShipmentLine{LineID: l.id, SKU: l.sku, Quantity: mine, Location: strconv.FormatInt(s.Location.ID, 10)})
		}
		fact := connectors.Fact{Kind: connectors.ShipmentShipped, Shipment: told}
		if err := fact.Validate(); err != nil {
			return nil, fmt.Errorf("shipment %d: %w", s.ID, err)
		}
		if len(told.Lines) > 0 {
			facts = append(facts, fact)
		}
	}
	return facts, nil
}

// hosts are where the API is, by the setting environment.
var hosts = map[string]string{"production": "https://api.shipbob.com", "sandbox": "https://sandbox-api.shipbob.com"}

func hostOf(environment string) (string, error) {
	host := hosts[cmp.Or(environment, "production")]
	if host == "" {
		return "", fmt.Errorf("%s is %q: write production or sandbox", settingEnvironment, environment)
	}
	return host, nil
}
