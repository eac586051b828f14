package shipbob

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// tagPrefix begins the names of the tags by which an order keeps the lines that we gave it: their ids, which ShipBob takes as
// numbers only, and the quantities that were ordered, because ShipBob keeps only those that are left.
const tagPrefix = "truestock-line-"

// line is a line of ours.
type line struct {
	id, sku string
	ordered stock.Quantity
}

// lines reads the lines that an order was made with; none where it is not of ours.
func (o *order) lines() ([]line, error) {
	var lines []line
	for _, t := range o.Tags {
		number, ok := strings.CutPrefix(t.Name, tagPrefix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 32)
		digits, id, whole := strings.Cut(t.Value, "#")
		ordered, quantityErr := strconv.ParseInt(digits, 10, 64)
		at := slices.IndexFunc(o.Products, func(p product) bool { return p.Line == n })
		if err != nil || quantityErr != nil || !whole || id == "" || ordered < 0 || stock.Quantity(ordered) > stock.MaxQuantity || at < 0 || o.Products[at].ReferenceID == "" {
			return nil, fmt.Errorf("the line that the tag %.60q is about", t.Name)
		}
		lines = append(lines, line{id: id, sku: o.Products[at].ReferenceID, ordered: stock.Quantity(ordered)})
	}
	return lines, nil
}

// find looks for the order of our channel with our key. Without one, it is nil.
func (w *warehouse) find(ctx context.Context, op, key string) (*order, error) {
	if strings.Contains(key, ",") {
		return nil, connectors.Rejectedf(op, "", "the order %s cannot be found in ShipBob, which separates references by commas", key)
	}
	header, err := w.onBehalf(ctx, op)
	if err != nil {
		return nil, err
	}
	var orders []order
	call := rest.Call{Op: op, Method: http.MethodGet, Path: "/order", Query: url.Values{"ReferenceIds": {key}, "Limit": {"250"}}, Header: header}
	if err := w.do(ctx, call, &orders); err != nil {
		return nil, err
	}
	if orders == nil {
		return nil, w.missing(op, "the orders")
	}
	for i := range orders {
		if orders[i].ReferenceID == key {
			if orders[i].ID <= 0 {
				return nil, w.missing(op, "the id of an order")
			}
			return &orders[i], nil
		}
	}
	return nil, nil
}

// known finds an order that must be there, and its lines.
func (w *warehouse) known(ctx context.Context, op, key string) (*order, []line, error) {
	o, err := w.find(ctx, op, key)
	if err != nil {
		return nil, nil, err
	}
	if o == nil {
		return nil, nil, &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("ShipBob has no order with the reference %s", key)}
	}
	lines, err := o.lines()
	if err != nil {
		return nil, nil, w.missing(op, err.Error())
	}
	if len(lines) == 0 {
		return nil, nil, w.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("ShipBob's order %d has the reference %s, and was not made by truestock", o.ID, key))
	}
	return o, lines, nil
}

// CreateOrder implements connectors.SystemOfRecord. A reference is unique within a channel: the order is looked for first,
// and where another was quicker, ShipBob refuses the second (422).
//
// https://developer.shipbob.com/guides/build-orders-integration
func (w *warehouse) CreateOrder(ctx context.Context, o connectors.NewOrder) (string, error) {
	const op = "create order"
	if w.shipTo == nil {
		return "", connectors.Rejectedf(op, "", "ShipBob takes no order without an address, and %s is empty", settingShipTo)
	}
	w.ordersMu.Lock()
	defer w.ordersMu.Unlock()
	there, err := w.find(ctx, op, o.Key)
	if err != nil {
		return "", err
	}
	if there != nil {
		return w.same(op, there, o)
	}
	in := newOrder{ReferenceID: o.Key, OrderNumber: o.OrderID, ShippingMethod: w.method, Type: "DTC", Recipient: *w.shipTo}
	if !o.PlacedAt.IsZero() {
		in.PurchaseDate = o.PlacedAt.UTC().Format(time.RFC3339)
	}
	for i, l := range o.Lines {
		if err := w.knowsSKU(ctx, op, string(l.SKU)); err != nil {
			return "", err
		}
		n := int64(i + 1)
		in.Products = append(in.Products, newLine{ReferenceID: string(l.SKU), Name: string(l.SKU), Quantity: l.Quantity, Line: n})
		in.Tags = append(in.Tags, orderTag{Name: tagPrefix + strconv.FormatInt(n, 10), Value: strconv.FormatInt(int64(l.Quantity), 10) + "#" + l.LineID})
	}
	header, err := w.onBehalf(ctx, op)
	if err != nil {
		return "", err
	}
	var made order
	var status int
	err = w.do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: "/order", Header: header, Body: in, Write: true, Status: &status}, &made)
	if status == http.StatusUnprocessableEntity {
		if there, findErr := w.find(ctx, op, o.Key); findErr == nil && there != nil {
			return w.same(op, there, o)
		}
	}
	switch {
	case err != nil:
		return "", err
	case made.ID <= 0:
		return "", w.client.Refusal(connectors.Uncertain, op, "", "the answer does not tell the order")
	}
	return strconv.FormatInt(made.ID, 10), nil
}

// same returns the number of the order that has our key already, where it has our lines too.
func (w *warehouse) same(op string, there *order, o connectors.NewOrder) (string, error) {
	lines, err := there.lines()
	if err != nil {
		return "", w.missing(op, err.Error())
	}
	equal := len(lines) == len(o.Lines)
	for _, l := range o.Lines {
		equal = equal && slices.Contains(lines, line{id: l.LineID, sku: string(l.SKU), ordered: l.Quantity})
	}
	if !equal {
		return "", w.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("ShipBob has the order %s already, with other lines: see its order %d", o.Key, there.ID))
	}
	return strconv.FormatInt(there.ID, 10), nil
}

// CancelOrder implements connectors.SystemOfRecord. A part is cancelled by lowering what the shipments contain to what is left,
// which changes nothing when it is repeated.
func (w *warehouse) CancelOrder(ctx context.Context, key string, cancelled []connectors.CancelLine) error {
	const op = "cancel order"
	w.ordersMu.Lock()
	defer w.ordersMu.Unlock()
	o, lines, err := w.known(ctx, op, key)
	if err != nil {
		return err
	}
	if o.Status == statusCancelled {
		return nil
	}
	left := stock.Quantity(0)
	target := make(map[string]stock.Quantity) // from the SKU to what is left of it
	for _, c := range cancelled {
		at := slices.IndexFunc(lines, func(l line) bool { return l.id == c.LineID })
		if at < 0 {
			return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("ShipBob's order %d has no line %s", o.ID, c.LineID)}
		}
		target[lines[at].sku] = max(0, lines[at].ordered-c.Cancelled)
	}
	for _, l := range lines {
		if q, ok := target[l.sku]; ok {
			if twice := slices.ContainsFunc(lines, func(other line) bool { return other.sku == l.sku && other.id != l.id }); twice {
				return w.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("ShipBob's order %d has the SKU %s in two lines, which cannot be told apart there: cancel the units in the ShipBob dashboard", o.ID, l.sku))
			}
			left += q
		} else {
			left += l.ordered
		}
	}
	if len(cancelled) == 0 || left == 0 {
		return w.cancelAll(ctx, op, o)
	}
	for sku, units := range target {
		if err := w.lower(ctx, op, o, sku, units); err != nil {
			return err
		}
	}
	return nil
}

// cancelAll cancels the order. A success of HTTP may say that nothing happened.
func (w *warehouse) cancelAll(ctx context.Context, op string, o *order) error {
	var told cancelled
	call := rest.Call{Op: op, Method: http.MethodPost, Path: "/order/" + strconv.FormatInt(o.ID, 10) + ":cancel", Write: true, Idempotent: true}
	if err := w.do(ctx, call, &told); err != nil {
		return err
	}
	if told.Status == "Success" {
		return nil
	}
	reasons := []string{fmt.Sprintf("order %d: %s", o.ID, cmp.Or(told.Status, "no word of success"))}
	for _, r := range told.Results {
		if !r.Success {
			reasons = append(reasons, fmt.Sprintf("shipment %d: %s", r.ShipmentID, cmp.Or(r.Reason, "no reason")))
		}
	}
	return w.client.Refusal(connectors.Rejected, op, told.Status, strings.Join(reasons, "; "))
}

// gone reports whether a shipment has left, or is labelled to leave; open, whether something can still be changed in it.
func (s *shipment) gone() bool { return s.Status == statusLabeled || s.Status == statusCompleted }
func (s *shipment) open() bool { return !s.gone() && s.Status != statusCancelled }

// units are those of a SKU in a shipment, and how many of them are committed from stock.
func (s *shipment) units(sku string) (units, committed stock.Quantity, err error) {
	for _, p := range s.Products {
		if p.ReferenceID != sku {
			continue
		}
		for _, i := range p.Inventory {
			if i.Quantity == nil || i.Committed == nil || *i.Quantity < 0 || *i.Committed < 0 || *i.Quantity > stock.MaxQuantity || *i.Committed > stock.MaxQuantity {
				return 0, 0, fmt.Errorf("the quantity of SKU %s in shipment %d", sku, s.ID)
			}
			units += *i.Quantity
			committed += *i.Committed
		}
	}
	return units, committed, nil
}

// lower takes units of a SKU out of the open shipments of an order, until so many are left.
func (w *warehouse) lower(ctx context.Context, op string, o *order, sku string, left stock.Quantity) error {
	var total stock.Quantity
	for i := range o.Shipments {
		if o.Shipments[i].Status == statusCancelled {
			continue
		}
		units, _, err := o.Shipments[i].units(sku)
		if err != nil {
			return w.missing(op, err.Error())
		}
		total += units
	}
	surplus := total - left
	for i := range slices.Backward(o.Shipments) {
		s := &o.Shipments[i]
		if surplus <= 0 || !s.open() {
			continue
		}
		taken, err := w.take(ctx, op, s, sku, surplus)
		if err != nil {
			return err
		}
		surplus -= taken
	}
	if surplus > 0 {
		return connectors.Rejectedf(op, "", "%d units of SKU %s of order %d are labelled or shipped already", surplus, sku, o.ID)
	}
	return nil
}

// take lowers a SKU in one shipment by at most so many units, and tells by how many.
func (w *warehouse) take(ctx context.Context, op string, s *shipment, sku string, most stock.Quantity) (stock.Quantity, error) {
	path := "/shipment/" + strconv.FormatInt(s.ID, 10)
	var items []lineItem
	if err := w.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: path + ":getLineItems"}, &items); err != nil {
		return 0, err
	}
	ids := make(map[int64]bool)
	for _, p := range s.Products {
		for _, i := range p.Inventory {
			ids[i.ID] = ids[i.ID] || p.ReferenceID == sku
		}
	}
	var taken stock.Quantity
	var in lineItems
	for _, i := range items {
		if i.Quantity == nil || *i.Quantity < 0 {
			return 0, w.missing(op, fmt.Sprintf("the quantity of a line of shipment %d", s.ID))
		}
		out := writtenItem{InventoryID: i.InventoryID, Quantity: *i.Quantity}
		if i.Lot != nil {
			out.LotNumber, out.LotDate = i.Lot.Number, i.Lot.Date
		}
		if ids[i.InventoryID] {
			units := min(most-taken, out.Quantity)
			out.Quantity -= units
			taken += units
		}
		if out.Quantity > 0 {
			in.Items = append(in.Items, out)
		}
	}
	switch {
	case taken == 0:
		return 0, nil
	case len(in.Items) == 0:
		// Cancelled, it could not be told from one that ShipBob cancelled.
		return 0, connectors.Rejectedf(op, "", "nothing would be left of shipment %d: cancel it in the ShipBob dashboard", s.ID)
	}
	var told updated
	err := w.do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: path + ":updateLineItems", Body: in, Write: true, Idempotent: true}, &told)
	if err == nil && !told.Success {
		reason := "no reason"
		if told.Error != nil {
			reason = cmp.Or(told.Error.Message, reason)
		}
		err = w.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("shipment %d: %s", s.ID, reason))
	}
	return taken, err
}

// OrderStanding implements connectors.OrderTeller. AsOf stays empty: ShipBob does not say of when its answer is.
func (w *warehouse) OrderStanding(ctx context.Context, key string) (connectors.Standing, error) {
	const op = "ask for an order"
	o, lines, err := w.known(ctx, op, key)
	if err != nil {
		return connectors.Standing{}, err
	}
	s, err := o.standing(lines)
	if err == nil {
		s.OrderKey = key
		err = s.Validate()
	}
	if err != nil {
		return connectors.Standing{}, w.missing(op, err.Error())
	}
	return s, nil
}

// standing tells how the lines stand. A shipment names SKUs, not lines: of two lines with one SKU the first is served first.
//
// What was taken out of the shipments was taken out by us. What a cancelled shipment contains will not be delivered by ShipBob's
// decision, or by somebody's in its dashboard, unless the whole order is cancelled: that is what we do.
func (o *order) standing(lines []line) (connectors.Standing, error) {
	var s connectors.Standing
	served := make(map[string]stock.Quantity) // from the SKU to the units that lines before have
	for _, l := range lines {
		out := connectors.StandingLine{LineID: l.id}
		want, told := l.ordered, stock.Quantity(0)
		skip := served[l.sku]
		share := func(units stock.Quantity) stock.Quantity {
			before := min(skip, units)
			skip -= before
			mine := min(units-before, want-told)
			told += mine
			return mine
		}
		for i := range o.Shipments {
			sh := &o.Shipments[i]
			units, committed, err := sh.units(l.sku)
			if err != nil {
				return s, err
			}
			if units == 0 {
				continue
			}
			mine := share(units)
			switch {
			case sh.Status == statusCancelled && o.Status == statusCancelled:
				out.Cancelled += mine
			case sh.Status == statusCancelled:
				out.Rejected += mine
			case sh.Location == nil || sh.Location.ID <= 0:
				if sh.gone() {
					return s, fmt.Errorf("the location of shipment %d", sh.ID)
				}
			case sh.gone():
				place(&out, sh.Location.ID).Shipped += mine
			default:
				*place(&out, sh.Location.ID).Allocated += min(mine, committed)
			}
		}
		out.Cancelled += l.ordered - told
		served[l.sku] += l.ordered
		s.Lines = append(s.Lines, out)
	}
	return s, nil
}

// place finds or adds what happened to a line at a location.
func place(l *connectors.StandingLine, id int64) *connectors.StandingPlace {
	name := strconv.FormatInt(id, 10)
	for i := range l.Places {
		if l.Places[i].Location == name {
			return &l.Places[i]
		}
	}
	l.Places = append(l.Places, connectors.StandingPlace{Location: name, Allocated: new(stock.Quantity)})
	return &l.Places[len(l.Places)-1]
}
