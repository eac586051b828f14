package shopify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/stock"
)

// WriteShipment implements connectors.ShipmentWriter: fulfillments of what the notice tells, at the locations to which its
// lines are assigned. fulfillmentCreate takes no idempotency key, so what was told before is looked up: by its tracking
// number, or, without one, by a mark of the key behind the carrier. What these fulfillments have of a line is not told
// again.
func (s *shop) WriteShipment(ctx context.Context, notice connectors.ShipmentNotice) error {
	const op = "write a shipment"
	wanted, err := unitsOf(op, notice)
	if err != nil {
		return err
	}
	known, err := s.facts(ctx, op)
	if err != nil {
		return err
	}
	o, err := s.findOrder(ctx, op, notice.OrderID)
	if err != nil {
		return err
	}
	tracking := trackingInput{Company: notice.Carrier, Number: notice.Tracking}
	if tracking.Number == "" {
		tracking.Company = cmp.Or(notice.Carrier, "Shipment") + keyMark(notice.Key)
	}
	told, shipped, err := o.toldUnits(tracking)
	if err != nil {
		return s.missing(op, err.Error())
	}
	lines := map[string]bool{}
	for _, l := range o.LineItems.Nodes {
		lines[l.ID] = true
	}
	due := map[string]stock.Quantity{}
	for _, w := range wanted {
		if !lines[w.line] {
			return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("order %s has no line %s", notice.OrderID, w.line)}
		}
		if units := w.units - told[w.line]; units > 0 {
			due[w.line] = units
		}
	}
	groups, err := s.allocate(op, known, o, due, shipped)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := s.fulfill(ctx, op, g, tracking); err != nil {
			return err
		}
	}
	return nil
}

// lineUnits are the units of a line, by its global id.
type lineUnits struct {
	line  string
	units stock.Quantity
}

// unitsOf adds up the notice by line.
func unitsOf(op string, notice connectors.ShipmentNotice) ([]lineUnits, error) {
	if notice.Key == "" {
		return nil, connectors.Rejectedf(op, "", "the shipment of order %s has no key", notice.OrderID)
	}
	var list []lineUnits
	at := map[string]int{}
	for _, l := range notice.Lines {
		if l.Quantity < 0 || l.Quantity > math.MaxInt32 {
			return nil, connectors.Rejectedf(op, "", "quantity %d of line %s: it must be from 0 to %d", l.Quantity, l.LineID, math.MaxInt32)
		}
		id := gid("LineItem", l.LineID)
		if i, seen := at[id]; seen {
			list[i].units += l.Quantity
		} else if l.Quantity > 0 {
			at[id] = len(list)
			list = append(list, lineUnits{id, l.Quantity})
		}
	}
	if len(list) == 0 {
		return nil, connectors.Rejectedf(op, "", "the shipment of order %s has no units", notice.OrderID)
	}
	return list, nil
}

// keyMark ends the name of the carrier of a fulfillment without a tracking number.
func keyMark(key string) string {
	sum := sha256.Sum256([]byte(key))
	return " (ref " + hex.EncodeToString(sum[:8]) + ")"
}

// toldUnits sums per line what fulfillments have that are known by the tracking number or the mark, and what all have.
// A cancelled or failed one has nothing (FulfillmentStatus).
func (o *order) toldUnits(tracking trackingInput) (told, all map[string]stock.Quantity, err error) {
	told, all = map[string]stock.Quantity{}, map[string]stock.Quantity{}
	for _, f := range o.Fulfillments {
		if f.Status == "CANCELLED" || f.Status == "ERROR" || f.Status == "FAILURE" {
			continue
		}
		ours := false
		for _, t := range f.TrackingInfo {
			if tracking.Number != "" {
				ours = ours || t.Number == tracking.Number
			} else {
				_, mark, _ := strings.Cut(tracking.Company, " (ref ")
				ours = ours || strings.HasSuffix(t.Company, " (ref "+mark)
			}
		}
		for _, l := range f.FulfillmentLineItems.Nodes {
			if !amount(l.Quantity) {
				return nil, nil, fmt.Errorf("the quantity of a fulfillment")
			}
			all[l.LineItem.ID] += *l.Quantity
			if ours {
				told[l.LineItem.ID] += *l.Quantity
			}
		}
	}
	return told, all, nil
}

// allocate finds the fulfillment orders that the units are taken from, and groups them by location: a fulfillment is of
// one. A line that somebody has shipped whole by hand asks for nothing more.
func (s *shop) allocate(op string, known *facts, o *order, due, shipped map[string]stock.Quantity) ([][]fulfillGroup, error) {
	var groups [][]fulfillGroup
	at := map[string]int{}
	var waiting string
	for _, f := range o.FulfillmentOrders.Nodes {
		location, kept, err := known.assigned(f.AssignedLocation.Location)
		if err != nil {
			return nil, s.missing(op, err.Error())
		}
		if !kept {
			continue
		}
		if f.Status != "OPEN" && f.Status != "IN_PROGRESS" {
			if f.Status != "CLOSED" && f.Status != "CANCELLED" {
				waiting = f.Status
			}
			continue
		}
		group := fulfillGroup{FulfillmentOrderID: f.ID}
		for _, l := range f.LineItems.Nodes {
			if !amount(l.RemainingQuantity) {
				return nil, s.missing(op, "the quantities of a fulfillment order")
			}
			if units := min(due[l.LineItem.ID], *l.RemainingQuantity); units > 0 {
				due[l.LineItem.ID] -= units
				group.FulfillmentOrderLineItems = append(group.FulfillmentOrderLineItems, fulfillLine{ID: l.ID, Quantity: units})
			}
		}
		if len(group.FulfillmentOrderLineItems) == 0 {
			continue
		}
		i, seen := at[location]
		if !seen {
			i = len(groups)
			at[location] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], group)
	}
	for _, l := range o.LineItems.Nodes {
		units := due[l.ID]
		if units == 0 || l.CurrentQuantity != nil && shipped[l.ID] >= *l.CurrentQuantity {
			continue
		}
		id, _ := number("LineItem", l.ID)
		text := fmt.Sprintf("%d more units of line %s are shipped than the order still has to ship at the locations of the connection", units, id)
		if waiting != "" {
			text += "; a fulfillment order is " + waiting + ": release it in the Shopify admin"
		}
		return nil, s.client.Refusal(connectors.Rejected, op, "", text)
	}
	return groups, nil
}

// fulfill makes one fulfillment.
func (s *shop) fulfill(ctx context.Context, op string, groups []fulfillGroup, tracking trackingInput) error {
	data, err := ask[fulfillData](ctx, s, graphql.Request{Op: op, Document: fulfillDocument, Write: true, Variables: fulfillVariables{fulfillInput{
		LineItemsByFulfillmentOrder: groups, TrackingInfo: tracking, NotifyCustomer: s.notify,
	}}})
	if err != nil {
		return err
	}
	made := data.FulfillmentCreate
	switch {
	case made == nil:
		return s.client.Refusal(connectors.Uncertain, op, "", "the answer tells nothing of the fulfillment")
	case len(made.UserErrors) > 0:
		return s.client.Refusal(connectors.Rejected, op, made.UserErrors[0].Code, made.UserErrors[0].Message)
	case made.Fulfillment == nil:
		return s.client.Refusal(connectors.Uncertain, op, "", "the answer has neither a fulfillment nor an error")
	}
	return nil
}
