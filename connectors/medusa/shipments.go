package medusa

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// The keys of a fulfillment's metadata. The first tells our shipments from each other and from other people's; Medusa has
// no field for a carrier.
const (
	metadataKey     = "truestock_shipment"
	metadataCarrier = "carrier"
)

// WriteShipment implements connectors.ShipmentWriter: a fulfillment of the order, and its shipment with the tracking
// number. The fulfillment carries the key in its metadata; one with the key is not made again, whatever became of it since.
//
// Making a fulfillment takes its units off stocked and off reserved, so available stays.
func (s *shop) WriteShipment(ctx context.Context, notice connectors.ShipmentNotice) error {
	const op = "write a shipment"
	lines, err := unitsOf(op, notice)
	if err != nil {
		return err
	}
	p, err := s.keptPlace(ctx, op)
	if err != nil {
		return err
	}
	s.moving.Lock()
	defer s.moving.Unlock()
	path := "/admin/orders/" + url.PathEscape(notice.OrderID)
	found, err := s.order(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: path})
	if err != nil {
		return err
	}
	f := found.fulfillment(notice.Key)
	if f == nil {
		if err := belongs(op, found, lines); err != nil {
			return err
		}
		body := fulfillBody{Items: lines, LocationID: p.location, Metadata: map[string]string{metadataKey: notice.Key}}
		if notice.Carrier != "" {
			body.Metadata[metadataCarrier] = notice.Carrier
		}
		made, err := s.order(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: path + "/fulfillments", Body: body, Write: true})
		if err != nil {
			return waitsForStock(err)
		}
		if f = made.fulfillment(notice.Key); f == nil {
			return s.refuse(connectors.Uncertain, op, "", "the answer does not tell the fulfillment of order "+notice.OrderID)
		}
	}
	if f.ShippedAt != nil || f.CanceledAt != nil {
		return nil
	}
	body := shipBody{Items: lines}
	if notice.Tracking != "" {
		body.Labels = []label{{TrackingNumber: notice.Tracking}}
	}
	_, err = s.order(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: path + "/fulfillments/" + url.PathEscape(f.ID) + "/shipments", Body: body, Write: true})
	return err
}

// waitsForStock makes the refusal of a part of a line one to try again. Medusa takes the part's units off stocked first, and
// then shrinks the line's reservation, which it refuses while available is below 0: so a part can only be told while as many
// units are for sale. What is the rest of a line deletes the reservation, and always goes through
// (core-flows/order/workflows/create-fulfillment.js, inventory/services/inventory-module.js).
func waitsForStock(err error) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || e.Kind != connectors.Rejected || !strings.Contains(e.Error(), "Not enough stock available") {
		return err
	}
	again := *e
	again.Kind = connectors.Retryable
	again.Err = fmt.Errorf("%w; Medusa takes a part of a line only while as many units are for sale: it is told as soon as some are", e.Err)
	return &again
}

// unitsOf are the lines of a notice that have units.
func unitsOf(op string, notice connectors.ShipmentNotice) ([]lineQuantity, error) {
	if notice.Key == "" {
		return nil, connectors.Rejectedf(op, "", "the shipment of order %s has no key", notice.OrderID)
	}
	if notice.OrderID == "" {
		return nil, connectors.Rejectedf(op, "", "the shipment %s has no order", notice.Key)
	}
	var lines []lineQuantity
	for _, l := range notice.Lines {
		if l.Quantity < 0 || l.Quantity > maxQuantity {
			return nil, connectors.Rejectedf(op, "", "quantity %d of line %s: it must be from 0 to %d", l.Quantity, l.LineID, maxQuantity)
		}
		if l.Quantity > 0 {
			lines = append(lines, lineQuantity{ID: l.LineID, Quantity: int64(l.Quantity)})
		}
	}
	if len(lines) == 0 {
		return nil, connectors.Rejectedf(op, "", "the shipment of order %s has no units", notice.OrderID)
	}
	return lines, nil
}

// order makes a call whose answer is an order.
func (s *shop) order(ctx context.Context, call rest.Call) (*order, error) {
	var got orderAnswer
	call.Query = url.Values{"fields": {orderFields}}
	if err := s.do(ctx, call, &got); err != nil {
		return nil, err
	}
	if got.Order == nil || got.Order.ID == "" {
		if call.Write {
			return nil, s.refuse(connectors.Uncertain, call.Op, "", "the answer has no order")
		}
		return nil, s.missing(call.Op, "the order")
	}
	return got.Order, nil
}

// fulfillment finds the one that was made for a key.
func (o *order) fulfillment(key string) *fulfillment {
	for i := range o.Fulfillments {
		text, err := jsontext.AppendUnquote(nil, o.Fulfillments[i].Metadata[metadataKey])
		if err == nil && string(text) == key {
			return &o.Fulfillments[i]
		}
	}
	return nil
}

// belongs refuses lines of another order.
func belongs(op string, o *order, lines []lineQuantity) error {
	known := make(map[string]bool, len(o.Items))
	for _, i := range o.Items {
		known[i.ID] = true
	}
	for _, l := range lines {
		if !known[l.ID] {
			return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("order %s has no line %s", o.ID, l.ID)}
		}
	}
	return nil
}
