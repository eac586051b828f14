package shiphero

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

const (
	headerSignature = "X-Shiphero-Hmac-Sha256"
	headerMessage   = "X-Shiphero-Message-Id"

	typeShipment = "Shipment Update"
	maxType      = 256
)

// VerifyWebhook implements connectors.WebhookReceiver. What happened stands in the body alone. A delivery without a message
// id is known by its content: the same content again says nothing new.
//
// https://developer.shiphero.com/webhooks/
func (w *warehouse) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	secret, err := w.secrets.MatchBody(r.Header.Get(headerSignature), r.Body)
	if err != nil {
		return connectors.Delivery{}, err
	}
	var head struct {
		Type string `json:"webhook_type"`
	}
	switch err := json.Unmarshal(r.Body, &head, jsontext.AllowDuplicateNames(true)); {
	case err != nil:
		return connectors.Delivery{}, fmt.Errorf("%w: the body is not JSON, or its webhook_type no text", connectors.ErrEnvelope)
	case head.Type == "" || len(head.Type) > maxType:
		return connectors.Delivery{}, fmt.Errorf("%w: webhook_type has %d bytes; from 1 to %d are taken", connectors.ErrEnvelope, len(head.Type), maxType)
	}
	digest := sha256.Sum256(r.Body)
	id := cmp.Or(r.Header.Get(headerMessage), "sha256:"+hex.EncodeToString(digest[:]))
	if len(id) > maxType {
		return connectors.Delivery{}, fmt.Errorf("%w: %s has %d bytes; at most %d are taken", connectors.ErrEnvelope, headerMessage, len(id), maxType)
	}
	return connectors.Delivery{Key: id, Type: head.Type, Secret: secret}, nil
}

// AnswerWebhook implements connectors.WebhookAnswerer: ShipHero's pages show the member that says Success under two names.
//
// https://developer.shiphero.com/webhooks/shipment-update-webhook
func (w *warehouse) AnswerWebhook(became connectors.Reception) connectors.Reply {
	status, word := http.StatusOK, "Success"
	switch became {
	case connectors.ReceivedNew, connectors.ReceivedAgain:
	case connectors.ReceivedConflict:
		status, word = http.StatusConflict, "This message came before with another content"
	case connectors.RefusedSignature:
		status, word = http.StatusUnauthorized, "The signature is refused"
	case connectors.RefusedUnavailable:
		status, word = http.StatusServiceUnavailable, "Not available now; send it again"
	default:
		status, word = http.StatusBadRequest, "This is not an event"
	}
	body := fmt.Sprintf(`{"code":"%d","Message":%q,"Status":%q}`, status, word, word)
	return connectors.Reply{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)}
}

// shipmentUpdate tells that something left: https://developer.shiphero.com/webhooks/shipment-update-webhook.
type shipmentUpdate struct {
	Test        string `json:"test"`
	Fulfillment *struct {
		ShipmentUUID   string        `json:"shipment_uuid"`
		WarehouseUUID  string        `json:"warehouse_uuid"`
		PartnerOrderID string        `json:"partner_order_id"`
		Tracking       string        `json:"tracking_number"`
		Carrier        string        `json:"shipping_carrier"`
		LineItems      []shippedLine `json:"line_items"`
	} `json:"fulfillment"`
	Packages []parcel `json:"packages"`
}

type shippedLine struct {
	// ID is the partner_line_item_id of the order's line.
	ID       string          `json:"id"`
	SKU      string          `json:"sku"`
	Quantity *stock.Quantity `json:"quantity"`
	// Package is the name of the parcel.
	Package string `json:"package"`
}

type parcel struct {
	Name     string `json:"name"`
	Tracking string `json:"tracking_number"`
	Carrier  string `json:"shipping_carrier"`
	Label    struct {
		Tracking string `json:"tracking_number"`
		Carrier  string `json:"carrier"`
	} `json:"shipping_label"`
}

// DecodeWebhook implements connectors.WebhookReceiver. Only a shipment of an order of ours is told as it is. Deliveries of
// stock and of allocations say no instant and come out of order, so they, and all others, are a reason to look.
func (w *warehouse) DecodeWebhook(d connectors.Delivery, body []byte) (connectors.Notice, error) {
	if d.Type != typeShipment {
		return connectors.Notice{Pull: true}, nil
	}
	var u shipmentUpdate
	if err := json.Unmarshal(body, &u); err != nil {
		return connectors.Notice{}, fmt.Errorf("the shipment cannot be read: %w", rest.ExplainJSON(err))
	}
	if u.Test == "1" {
		return connectors.Notice{}, nil
	}
	facts, err := u.facts()
	if err != nil {
		return connectors.Notice{}, err
	}
	return connectors.Notice{Facts: facts, Pull: true}, nil
}

// facts are the shipments of lines of ours, one for each parcel, because each has its own tracking number.
func (u *shipmentUpdate) facts() ([]connectors.Fact, error) {
	f := u.Fulfillment
	if f == nil {
		return nil, fmt.Errorf("the member fulfillment is missing")
	}
	var facts []connectors.Fact
	at := make(map[string]int) // from the name of a parcel to its fact
	for _, l := range f.LineItems {
		lineID, _, ours := parseMark(f.PartnerOrderID, l.ID)
		if !ours {
			continue
		}
		if l.Quantity == nil {
			return nil, fmt.Errorf("line %s has no quantity", lineID)
		}
		i, there := at[l.Package]
		if !there {
			i = len(facts)
			at[l.Package] = i
			facts = append(facts, connectors.Fact{Kind: connectors.ShipmentShipped, Shipment: u.parcel(l.Package)})
		}
		s := facts[i].Shipment
		s.Lines = append(s.Lines, connectors.ShipmentLine{LineID: lineID, SKU: l.SKU, Quantity: *l.Quantity, Location: f.WarehouseUUID})
	}
	for _, fact := range facts {
		if err := fact.Validate(); err != nil {
			return nil, fmt.Errorf("the shipment: %w", err)
		}
	}
	return facts, nil
}

// parcel is the shipment of a parcel, without its lines.
func (u *shipmentUpdate) parcel(name string) *connectors.Shipment {
	f := u.Fulfillment
	s := &connectors.Shipment{ShipmentID: f.ShipmentUUID, OrderKey: f.PartnerOrderID, Carrier: f.Carrier, Tracking: f.Tracking}
	if len(u.Packages) > 1 && name != "" {
		s.ShipmentID += "/" + name
	}
	for _, p := range u.Packages {
		if p.Name == name {
			s.Tracking = cmp.Or(p.Tracking, p.Label.Tracking, s.Tracking)
			s.Carrier = cmp.Or(p.Carrier, p.Label.Carrier, s.Carrier)
		}
	}
	return s
}
