package woocommerce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// WriteShipment implements connectors.ShipmentWriter. WooCommerce has no shipments, so one is a note at the order, for people,
// and an entry of the order's meta data under a mark of the key, for us. The note comes first: an order with the entry has
// both, and a note with the mark is not written again. With the shipment after which nothing is left the order becomes
// completed, in the same call as the entry; an order that is neither processing nor on hold keeps its status.
//
// None of that moves stock.
func (s *shop) WriteShipment(ctx context.Context, notice connectors.ShipmentNotice) error {
	const op = "write a shipment"
	packs, err := shippedPacks(op, notice)
	if err != nil {
		return err
	}
	id, ok := parseID(notice.OrderID)
	if !ok {
		return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the shop has no order %q", notice.OrderID)}
	}
	s.shipping.Lock()
	defer s.shipping.Unlock()
	path := "/orders/" + strconv.FormatInt(id, 10)
	var o order
	if err := s.read(ctx, op, path, url.Values{"_fields": {orderFields}}, &o); err != nil {
		return err
	}
	mark := keyMark(notice.Key)
	if o.Meta.text(metaShipment+mark) != "" {
		return nil
	}
	for line := range packs {
		if !o.has(line) {
			return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("order %d has no line %d", id, line)}
		}
	}
	if err := s.writeNote(ctx, op, path, noteText(notice, mark)); err != nil {
		return err
	}
	update := orderUpdate{Meta: []newMeta{{Key: metaShipment + mark, Value: encodePacks(&o, packs)}}}
	done, err := s.completes(ctx, op, &o, packs)
	if err != nil {
		return err
	}
	if done {
		update.Status = orderCompleted
	}
	var after order
	if err := s.write(ctx, op, http.MethodPut, path, true, update, &after); err != nil {
		return err
	}
	if after.Meta.text(metaShipment+mark) == "" {
		return s.client.Refusal(connectors.Uncertain, op, "", fmt.Sprintf("the answer does not show the shipment at order %d; a plug-in may drop meta data", id))
	}
	return nil
}

// shippedPacks are the units of a notice by line.
func shippedPacks(op string, notice connectors.ShipmentNotice) (map[int64]stock.Quantity, error) {
	if notice.Key == "" {
		return nil, connectors.Rejectedf(op, "", "the shipment of order %s has no key", notice.OrderID)
	}
	packs := map[int64]stock.Quantity{}
	for _, l := range notice.Lines {
		if l.Quantity < 0 || l.Quantity > stock.MaxQuantity {
			return nil, connectors.Rejectedf(op, "", "quantity %d of line %s: it must be from 0 to %d", l.Quantity, l.LineID, stock.MaxQuantity)
		}
		id, ok := parseID(l.LineID)
		if !ok {
			return nil, &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("order %s has no line %q", notice.OrderID, l.LineID)}
		}
		if l.Quantity > 0 {
			packs[id] = min(stock.MaxQuantity, packs[id]+l.Quantity)
		}
	}
	if len(packs) == 0 {
		return nil, connectors.Rejectedf(op, "", "the shipment of order %s has no units", notice.OrderID)
	}
	return packs, nil
}

// keyMark is what stands for the key of a shipment in the shop.
func keyMark(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

func noteText(notice connectors.ShipmentNotice, mark string) string {
	text := "Shipped"
	if notice.Carrier != "" {
		text += " with " + notice.Carrier
	}
	if notice.Tracking != "" {
		text += ", tracking number " + notice.Tracking
	}
	return text + ". (ref " + mark + ")"
}

func (o *order) has(line int64) bool {
	for _, l := range o.Lines {
		if l.ID == line {
			return true
		}
	}
	return false
}

// writeNote adds a note to an order, unless it is there already. The list of notes has no pages.
func (s *shop) writeNote(ctx context.Context, op, path, text string) error {
	var notes []note
	if err := s.read(ctx, op, path+"/notes", url.Values{"_fields": {"id,note"}}, &notes); err != nil {
		return err
	}
	mark := text[strings.LastIndex(text, "(ref "):]
	for _, n := range notes {
		if strings.Contains(n.Note, mark) {
			return nil
		}
	}
	return s.write(ctx, op, http.MethodPost, path+"/notes", false, note{Note: text, Customer: s.notes == notesCustomer}, nil)
}

// encodePacks writes the units of a shipment as line=units, separated by spaces, in the order of the lines.
func encodePacks(o *order, packs map[int64]stock.Quantity) string {
	var parts []string
	for _, l := range o.Lines {
		if n := packs[l.ID]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d=%d", l.ID, n))
		}
	}
	return strings.Join(parts, " ")
}

// marked sums per line what the shipments in the meta data of an order contained.
func (o *order) marked() map[int64]stock.Quantity {
	sums := map[int64]stock.Quantity{}
	for _, m := range o.Meta {
		if !strings.HasPrefix(m.Key, metaShipment) {
			continue
		}
		for part := range strings.FieldsSeq(m.text()) {
			line, units, _ := strings.Cut(part, "=")
			id, ok := parseID(line)
			n, err := amount(units).whole()
			if ok && err == nil && n > 0 {
				sums[id] = min(stock.MaxQuantity, sums[id]+n)
			}
		}
	}
	return sums
}

// completes reports whether nothing of an order is left once the packs are shipped.
func (s *shop) completes(ctx context.Context, op string, o *order, packs map[int64]stock.Quantity) (bool, error) {
	if o.Status != orderProcessing && o.Status != orderOnHold {
		return false, nil
	}
	now, err := s.toOrder(ctx, op, o)
	if err != nil {
		return false, err
	}
	for _, l := range now.Lines {
		id, _ := parseID(l.LineID)
		if l.Shipped+packs[id] < l.Quantity-l.Cancelled {
			return false, nil
		}
	}
	return true, nil
}
