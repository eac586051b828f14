package vendure

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
)

// WriteShipment implements connectors.ShipmentWriter: a fulfillment of the order that is at once Shipped. The fulfillment
// carries a mark of the key in its method, "<carrier> (ref <mark>)", since Vendure has no other field for it; a
// fulfillment with the mark is not made again, whatever became of it since.
//
// Making a fulfillment takes its units off on hand and off allocated (stock movement SALE), so available stays.
func (s *shop) WriteShipment(ctx context.Context, notice connectors.ShipmentNotice) error {
	const op = "write a shipment"
	input, err := s.fulfillment(op, notice)
	if err != nil {
		return err
	}
	s.moving.Lock()
	defer s.moving.Unlock()
	o, err := s.findOrder(ctx, op, notice.OrderID)
	if err != nil {
		return err
	}
	for _, f := range o.Fulfillments {
		if strings.HasSuffix(f.Method, keyMark(notice.Key)) {
			return s.ship(ctx, op, f.ID, f.State)
		}
	}
	if err := belongs(op, o, input.Lines); err != nil {
		return err
	}
	data, err := ask[fulfillData](ctx, s, graphql.Request{Op: op, Document: fulfillDocument, Variables: fulfillVariables{input}, Write: true})
	if err != nil {
		return err
	}
	made := data.AddFulfillmentToOrder
	if err := s.refusal(op, made); err != nil {
		return err
	}
	return s.ship(ctx, op, made.ID, made.State)
}

func (s *shop) fulfillment(op string, notice connectors.ShipmentNotice) (fulfillInput, error) {
	input := fulfillInput{Handler: handlerInput{Code: s.handler, Arguments: []argument{
		{Name: "method", Value: cmp.Or(notice.Carrier, "Shipment") + keyMark(notice.Key)},
		{Name: "trackingCode", Value: notice.Tracking},
	}}}
	if notice.Key == "" {
		return input, connectors.Rejectedf(op, "", "the shipment of order %s has no key", notice.OrderID)
	}
	for _, l := range notice.Lines {
		if l.Quantity < 0 || l.Quantity > maxQuantity {
			return input, connectors.Rejectedf(op, "", "quantity %d of line %s: it must be from 0 to %d", l.Quantity, l.LineID, maxQuantity)
		}
		if l.Quantity > 0 {
			input.Lines = append(input.Lines, fulfillLine{OrderLineID: l.LineID, Quantity: int64(l.Quantity)})
		}
	}
	if len(input.Lines) == 0 {
		return input, connectors.Rejectedf(op, "", "the shipment of order %s has no units", notice.OrderID)
	}
	return input, nil
}

// keyMark ends the method of a fulfillment. It is cut to a length that fits beside a carrier on a page of the shop.
func keyMark(key string) string {
	sum := sha256.Sum256([]byte(key))
	return " (ref " + hex.EncodeToString(sum[:8]) + ")"
}

func (s *shop) findOrder(ctx context.Context, op, code string) (*order, error) {
	data, err := ask[ordersData](ctx, s, graphql.Request{Op: op, Document: ordersDocument, Variables: listVariables{listOptions{
		Take: 1, Filter: map[string]any{"code": map[string]any{"eq": code}},
	}}})
	if err != nil {
		return nil, err
	}
	for i := range data.Orders.Items {
		if o := &data.Orders.Items[i]; o.Code == code {
			return o, nil
		}
	}
	return nil, &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the shop's channel has no order %s", code)}
}

// belongs refuses lines of another order: the shop would take them, as it looks the order up by the lines.
func belongs(op string, o *order, lines []fulfillLine) error {
	known := make(map[string]bool, len(o.Lines))
	for _, l := range o.Lines {
		known[l.ID] = true
	}
	for _, l := range lines {
		if !known[l.OrderLineID] {
			return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("order %s has no line %s", o.Code, l.OrderLineID)}
		}
	}
	return nil
}

// ship brings a fulfillment to Shipped, where it is not yet there or past it. Created is a fulfillment whose transition
// to Pending was refused.
func (s *shop) ship(ctx context.Context, op, id, state string) error {
	if state != "Pending" && state != "Created" {
		return nil
	}
	data, err := ask[transitionData](ctx, s, graphql.Request{Op: op, Document: transitionDocument, Variables: map[string]string{"id": id, "state": "Shipped"}, Write: true})
	if err != nil {
		return err
	}
	return s.refusal(op, data.TransitionFulfillmentToState)
}

// refusal is the error of a member of a result union, in the shop's own words.
func (s *shop) refusal(op string, o outcome) error {
	switch {
	case o.ErrorCode != "":
		detail := cmp.Or(o.TransitionError, o.HandlerError)
		return s.client.Refusal(connectors.Rejected, op, o.ErrorCode, strings.TrimSuffix(o.Message+": "+detail, ": "))
	case o.ID == "":
		return s.client.Refusal(connectors.Uncertain, op, "", "the answer has neither a result nor an error")
	}
	return nil
}
