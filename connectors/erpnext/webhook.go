package erpnext

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// Frappe's webhooks are sent by a background job after the commit, at most three times within seconds, without an identity
// and without a content type. The guide has people write the identity into the body: {doctype, name, modified, event}.
// They are hints: the body holds no more than is needed to know a repetition. Of a Delivery Note the shipments are fetched.

const headerSignature = "X-Frappe-Webhook-Signature"

// hinting are the documents of which a change may change what is told of stock and orders.
var hinting = map[string]bool{
	"Stock Ledger Entry": true, "Delivery Note": true, "Sales Order": true, "Sales Invoice": true, "Stock Entry": true, "Stock Reconciliation": true,
	"Purchase Receipt": true, "Purchase Invoice": true, "Work Order": true, "Item": true,
}

// VerifyWebhook implements connectors.WebhookReceiver. The signature is over the body as it came: Python's json.dumps puts
// spaces between members, and what was parsed and written again would no longer fit.
func (r *record) VerifyWebhook(req connectors.Request) (connectors.Delivery, error) {
	ordinal, err := r.hooks.MatchBody(req.Header.Get(headerSignature), req.Body)
	if err != nil {
		return connectors.Delivery{}, err
	}
	h, err := readHook(req.Body)
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	if len(h.Shipments) > 0 {
		return connectors.Delivery{}, fmt.Errorf("%w: truestock_shipments is not for ERPNext to write", connectors.ErrEnvelope)
	}
	return connectors.Delivery{Key: h.DocType + ":" + h.Name + ":" + h.Modified + ":" + h.Event, Type: h.DocType + " " + h.Event, Secret: ordinal}, nil
}

// DecodeWebhook implements connectors.WebhookReceiver.
func (r *record) DecodeWebhook(_ connectors.Delivery, body []byte) (connectors.Notice, error) {
	h, err := readHook(body)
	switch {
	case err != nil:
		return connectors.Notice{}, err
	case h.DocType == "Bin":
		return connectors.Notice{}, errors.New("a webhook on Bin is not called when stock moves, because ERPNext writes Bins past its events: make it on Stock Ledger Entry, After Insert")
	case !hinting[h.DocType]:
		return connectors.Notice{}, fmt.Errorf("a change of %s says nothing about stock: remove the webhook in ERPNext", h.DocType)
	}
	notice := connectors.Notice{Pull: true}
	for i := range h.Shipments {
		fact := connectors.Fact{Kind: connectors.ShipmentShipped, Shipment: &h.Shipments[i]}
		if err := fact.Validate(); err != nil {
			return connectors.Notice{}, err
		}
		notice.Facts = append(notice.Facts, fact)
	}
	return notice, nil
}

// maxMember is the length of the longest member of a hint; names in Frappe have at most 140 characters.
const maxMember = 600

func readHook(body []byte) (hook, error) {
	var h hook
	if err := json.Unmarshal(body, &h); err != nil {
		return hook{}, fmt.Errorf("the hint cannot be read: %w", rest.ExplainJSON(err))
	}
	for _, member := range []string{h.DocType, h.Name, h.Modified, h.Event} {
		if member == "" || len(member) > maxMember {
			return hook{}, errors.New("doctype, name, modified or event is missing: set Request Structure of the webhook to JSON, with the body that the guide gives")
		}
	}
	return h, nil
}
