package medusa

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// writeRounds is how often one call writes a line whose reserved units shrink meanwhile.
const writeRounds = 3

// level is what one variant has at the connection's location.
type level struct {
	// unlimited variants are sold in any number: Medusa does not count them, or sells on when there is none.
	managed, backorder bool
	parts              []part
	productID, sku     string
}

// part is one inventory item of a variant. held is false where the location has no level of it, which means nothing is
// there. shared is true where other variants consist of it too.
type part struct {
	item                        string
	required, stocked, reserved int64
	held, shared                bool
}

func (l level) unlimited() bool { return !l.managed || l.backorder }

// available is what a buyer can order (utils/product/get-variant-availability.js), which may be below 0.
func (l level) available() stock.Quantity {
	if len(l.parts) == 0 {
		return 0
	}
	least := int64(math.MaxInt64)
	for _, p := range l.parts {
		least = min(least, floorDiv(p.stocked-p.reserved, p.required))
	}
	return stock.Quantity(least)
}

func floorDiv(a, b int64) int64 {
	if a < 0 && a%b != 0 {
		return a/b - 1
	}
	return a / b
}

// composed says that the number follows from those of other variants or items, and cannot be written.
func (l level) composed() bool {
	return len(l.parts) > 1 || len(l.parts) == 1 && l.parts[0].shared && l.parts[0].required > 1
}

// at works out the level of a variant. The error names what the answer lacks.
func (v *variant) at(location string) (level, error) {
	if v.ID == "" {
		return level{}, fmt.Errorf("the id of a variant")
	}
	if v.ManageInventory == nil || v.AllowBackorder == nil {
		return level{}, fmt.Errorf("manage_inventory and allow_backorder of variant %s", v.ID)
	}
	l := level{managed: *v.ManageInventory, backorder: *v.AllowBackorder, productID: v.ProductID, sku: v.SKU}
	for _, link := range v.InventoryItems {
		if link.Inventory == nil { // the item was deleted, the link was not
			continue
		}
		p, err := link.at(location)
		if err != nil {
			return level{}, fmt.Errorf("%w of variant %s", err, v.ID)
		}
		l.parts = append(l.parts, p)
	}
	return l, nil
}

func (link inventoryLink) at(location string) (part, error) {
	p := part{item: link.Inventory.ID, shared: len(link.Inventory.Variants) > 1}
	if p.item == "" || link.RequiredQuantity == nil || *link.RequiredQuantity < 1 {
		return p, fmt.Errorf("the id or required_quantity of an inventory item")
	}
	p.required = int64(*link.RequiredQuantity)
	for _, at := range link.Inventory.LocationLevels {
		if at.LocationID != location {
			continue
		}
		if at.Stocked == nil || at.Reserved == nil {
			return p, fmt.Errorf("stocked_quantity or reserved_quantity of inventory item %s", p.item)
		}
		p.stocked, p.reserved, p.held = int64(*at.Stocked), int64(*at.Reserved), true
	}
	return p, nil
}

// ReadStock implements connectors.Marketplace. A variant that Medusa does not count, or sells on order, is unlimited; its
// Quantity is then what there is.
func (s *shop) ReadStock(ctx context.Context, refs []connectors.Ref) ([]connectors.Reading, error) {
	const op = "read stock"
	if err := withinBatch(op, len(refs)); err != nil {
		return nil, err
	}
	at := time.Now().UTC()
	items := make([]string, 0, len(refs))
	for _, r := range refs {
		if r.Place == "" {
			items = append(items, r.Item)
		}
	}
	levels, err := s.levels(ctx, op, items)
	if err != nil {
		return nil, err
	}
	readings := make([]connectors.Reading, 0, len(refs))
	for _, r := range refs {
		l, known := levels[r.Item]
		if !known || r.Place != "" {
			continue
		}
		readings = append(readings, connectors.Reading{Ref: r, Quantity: l.available(), Unlimited: l.unlimited(), At: at})
	}
	return readings, nil
}

func withinBatch(op string, n int) error {
	if n > batchSize {
		return connectors.Rejectedf(op, "", "%d lines in one call; at most %d are taken, and none was looked at", n, batchSize)
	}
	return nil
}

// levels reads the levels of the variants that the shop knows.
func (s *shop) levels(ctx context.Context, op string, ids []string) (map[string]level, error) {
	p, err := s.keptPlace(ctx, op)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var got variantsAnswer
	query := url.Values{"id[]": ids, "limit": {strconv.Itoa(len(ids))}, "fields": {levelFields}}
	if err := s.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/admin/product-variants", Query: query}, &got); err != nil {
		return nil, err
	}
	if got.Variants == nil {
		return nil, s.missing(op, "the variants")
	}
	levels := make(map[string]level, len(ids))
	for i := range got.Variants {
		v := &got.Variants[i]
		if levels[v.ID], err = v.at(p.location); err != nil {
			return nil, s.missing(op, err.Error())
		}
	}
	return levels, nil
}

// line is one write of a batch on its way.
type line struct {
	item      string
	wanted    stock.Quantity
	unlimited bool
	level     level // as last seen
	result    connectors.Result
}

// WriteStock implements connectors.Marketplace. What a line expects is compared with what is read here, immediately before
// the write. The shop takes or refuses a batch as a whole (core-flows/inventory/workflows/batch-inventory-item-levels.js);
// when it refuses one, the lines go out one by one.
func (s *shop) WriteStock(ctx context.Context, writes []connectors.Write) ([]connectors.Result, error) {
	const op = "write stock"
	if err := withinBatch(op, len(writes)); err != nil {
		return nil, err
	}
	s.moving.Lock()
	defer s.moving.Unlock()
	ids := make([]string, len(writes))
	for i, w := range writes {
		ids[i] = w.Ref.Item
	}
	levels, err := s.levels(ctx, op, ids)
	if err != nil {
		return nil, err
	}
	lines := make([]*line, len(writes))
	due := make(map[string]*line, len(writes)) // the last write of a variant is the one that counts
	for i, w := range writes {
		lines[i] = prepare(op, w, levels)
		lines[i].expect(w.Expect, due[w.Ref.Item])
		if lines[i].result.Outcome == "" {
			due[w.Ref.Item] = lines[i]
		}
	}
	if err := s.writeLines(ctx, op, dueLines(lines, due)); err != nil {
		return nil, err
	}
	results := make([]connectors.Result, len(writes))
	for i, l := range lines {
		if l.result.Outcome == "" {
			l.result = due[l.item].result
		}
		results[i] = l.result
		results[i].Ref = writes[i].Ref
	}
	return results, nil
}

// dueLines are the lines to write, in the order of the batch.
func dueLines(lines []*line, due map[string]*line) []*line {
	var list []*line
	for _, l := range lines {
		if due[l.item] == l {
			list = append(list, l)
		}
	}
	return list
}

// prepare refuses what cannot be written.
func prepare(op string, w connectors.Write, levels map[string]level) *line {
	l := &line{item: w.Ref.Item, wanted: w.Quantity, unlimited: w.Unlimited}
	var known bool
	l.level, known = levels[w.Ref.Item]
	switch {
	case !known || w.Ref.Place != "":
		l.fail(&connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the shop has no variant %s", w.Ref)})
	case !w.Unlimited && (w.Quantity < 0 || w.Quantity > maxQuantity):
		l.fail(connectors.Rejectedf(op, "", "quantity %d of variant %s: it must be from 0 to %d", w.Quantity, w.Ref, maxQuantity))
	}
	return l
}

// expect makes the line stale where the shop shows another quantity than the write expects: what an earlier line of the
// batch sets, else what was read. An unlimited variant shows no quantity.
func (l *line) expect(want *stock.Quantity, earlier *line) {
	if want == nil || l.result.Outcome == connectors.Failed {
		return
	}
	shown, limited := l.level.available(), !l.level.unlimited()
	if earlier != nil {
		shown, limited = earlier.wanted, !earlier.unlimited
	}
	switch {
	case !limited:
		l.result = connectors.Result{Outcome: connectors.Stale}
	case shown != *want:
		l.result = connectors.Result{Outcome: connectors.Stale, Quantity: &shown}
	}
}

func (l *line) fail(err error) {
	l.result = connectors.Result{Outcome: connectors.Failed, Err: err}
}

// written notes what the shop shows.
func (l *line) written() {
	shown := l.level.available()
	l.result = connectors.Result{Outcome: connectors.Written, Quantity: &shown}
}

// writeLines brings the lines to what they want: first how each is sold, then how many. Its error is about the first try
// of all lines; afterwards each line has its own.
func (s *shop) writeLines(ctx context.Context, op string, lines []*line) error {
	lines, err := s.switchSale(ctx, op, lines)
	if err != nil {
		return err
	}
	lines = composedApart(op, lines)
	for round := range writeRounds {
		if len(lines) == 0 {
			return nil
		}
		err := s.writeOnce(ctx, op, lines)
		switch kind := connectors.KindOf(err); {
		case err == nil:
		case len(lines) > 1 && (kind == connectors.Rejected || kind == connectors.Unmapped):
			if err := s.writeEach(ctx, op, lines); err != nil {
				return err
			}
		case kind == "": // a shutdown
			return err
		case round == 0 && kind != connectors.Rejected && kind != connectors.Unmapped:
			return err
		default:
			for _, l := range lines {
				l.fail(err)
			}
		}
		if lines, err = s.lookAgain(ctx, op, lines); err != nil {
			return err
		}
	}
	for _, l := range lines {
		shown := l.level.available()
		l.fail(&connectors.Error{Kind: connectors.Retryable, Op: op, Err: fmt.Errorf("variant %s shows %d in the place of %d, "+
			"because its stock kept changing while it was written", l.item, shown, l.wanted)})
	}
	return nil
}

// switchSale changes how variants are sold, where a line asks for it, and returns the lines that still need a number. A
// number is for variants that are counted and not sold on order; without a limit a variant is sold on order, and still
// counted: orders that reserve nothing cannot be fulfilled once it is counted again
// (core-flows/order/workflows/create-fulfillment.js). Medusa makes the inventory item of a variant that it begins to count
// (core-flows/product/workflows/update-product-variants.js).
func (s *shop) switchSale(ctx context.Context, op string, lines []*line) ([]*line, error) {
	var numbers, switched []*line
	for _, l := range lines {
		if l.unlimited && l.level.unlimited() {
			l.result = connectors.Result{Outcome: connectors.Written}
			continue
		}
		if l.unlimited || l.level.unlimited() {
			err := s.switchOne(ctx, op, l)
			switch {
			case err != nil && connectors.KindOf(err) == "": // a shutdown
				return nil, err
			case err != nil:
				l.fail(err)
				continue
			case l.unlimited:
				l.result = connectors.Result{Outcome: connectors.Written}
				continue
			}
			switched = append(switched, l)
		}
		numbers = append(numbers, l)
	}
	if len(switched) == 0 {
		return numbers, nil
	}
	if err := s.look(ctx, op, switched); err != nil {
		if connectors.KindOf(err) == "" {
			return nil, err
		}
		for _, l := range switched {
			l.fail(err)
		}
	}
	return numbers, nil
}

// switchOne sets how one variant is sold.
func (s *shop) switchOne(ctx context.Context, op string, l *line) error {
	body := variantBody{AllowBackorder: l.unlimited}
	path := "/admin/products/" + url.PathEscape(l.level.productID) + "/variants/" + url.PathEscape(l.item)
	if !l.unlimited && !l.level.managed {
		yes := true
		body.ManageInventory = &yes
		if err := s.linkAgain(ctx, op, path, l.level); err != nil {
			return err
		}
	}
	var got productAnswer
	if err := s.do(ctx, rest.Call{
		Op: op, Method: http.MethodPost, Path: path, Query: url.Values{"fields": {"id"}}, Body: body, Write: true, Idempotent: true,
	}, &got); err != nil {
		return err
	}
	if got.Product == nil {
		return s.refuse(connectors.Uncertain, op, "", "the answer does not tell the product of variant "+l.item)
	}
	return nil
}

// linkAgain gives a variant its inventory item back, if it has none. Medusa takes it away when it ceases to count the
// variant, and keeps the item; making another one of the same SKU fails
// (core-flows/product/steps/create-product-variants-default-inventory.js).
func (s *shop) linkAgain(ctx context.Context, op, variantPath string, l level) error {
	if len(l.parts) > 0 || l.sku == "" {
		return nil
	}
	var found itemsAnswer
	query := url.Values{"sku": {l.sku}, "limit": {"1"}, "fields": {"id"}}
	if err := s.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/admin/inventory-items", Query: query}, &found); err != nil {
		return err
	}
	if len(found.InventoryItems) == 0 {
		return nil
	}
	body := linkBody{InventoryItemID: found.InventoryItems[0].ID, RequiredQuantity: 1}
	return s.do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: variantPath + "/inventory-items", Body: body, Write: true}, nil)
}

// composedApart settles the lines whose number cannot be written, and returns the others. The number of a composed variant
// is right as soon as those of its parts are, so a wrong one is tried again.
func composedApart(op string, lines []*line) []*line {
	var list []*line
	for _, l := range lines {
		switch {
		case l.result.Outcome == connectors.Failed:
		case len(l.level.parts) == 0:
			l.fail(connectors.Rejectedf(op, "", "variant %s has no inventory item; in Medusa Admin, open the variant and add one under Inventory items", l.item))
		case l.level.composed() && l.level.available() == l.wanted:
			l.written()
		case l.level.composed():
			l.fail(&connectors.Error{Kind: connectors.Retryable, Op: op, Err: fmt.Errorf("variant %s shows %d in the place of %d: it is put together "+
				"of %d inventory items, and shows what they make possible; map the listings of its parts as well", l.item, l.level.available(), l.wanted, len(l.level.parts))})
		default:
			list = append(list, l)
		}
	}
	return list
}

// writeEach sends each line in a call of its own and gives each its own failure.
func (s *shop) writeEach(ctx context.Context, op string, lines []*line) error {
	for _, l := range lines {
		err := s.writeOnce(ctx, op, []*line{l})
		if err != nil && connectors.KindOf(err) == "" {
			return err
		}
		if err != nil {
			l.fail(err)
		}
	}
	return nil
}

// writeOnce sends the lines in one call. On an error no line has changed, unless the error is Uncertain.
func (s *shop) writeOnce(ctx context.Context, op string, lines []*line) error {
	p, err := s.keptPlace(ctx, op)
	if err != nil {
		return err
	}
	var body levelsBody
	for _, l := range lines {
		of := l.level.parts[0]
		stocked, err := l.stocked(op)
		if err != nil {
			return err
		}
		in := levelInput{InventoryItemID: of.item, LocationID: p.location, StockedQuantity: stocked}
		if of.held {
			body.Update = append(body.Update, in)
		} else {
			body.Create = append(body.Create, in)
		}
	}
	var got levelsAnswer
	if err := s.do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: "/admin/inventory-items/location-levels/batch", Body: body, Write: true}, &got); err != nil {
		return err
	}
	if n := len(got.Created) + len(got.Updated); n != len(lines) {
		return s.refuse(connectors.Uncertain, op, "", fmt.Sprintf("the answer tells of %d levels, and %d were written", n, len(lines)))
	}
	return nil
}

// stocked is what makes the wanted quantity available. It is exact as a JSON number.
func (l *line) stocked(op string) (int64, error) {
	of := l.level.parts[0]
	const most = 1 << 53
	if l.wanted > 0 && of.required > most/int64(l.wanted)-of.reserved {
		return 0, connectors.Rejectedf(op, "", "quantity %d of variant %s, which takes %d units of its inventory item each, is more than the shop can count",
			l.wanted, l.item, of.required)
	}
	return max(0, int64(l.wanted)*of.required+of.reserved), nil
}

// lookAgain reads the lines that were written, notes what they show, and returns those that show more than is wanted. A
// line that shows less was ordered meanwhile: that is right.
func (s *shop) lookAgain(ctx context.Context, op string, lines []*line) ([]*line, error) {
	var sent []*line
	for _, l := range lines {
		if l.result.Outcome != connectors.Failed {
			sent = append(sent, l)
		}
	}
	err := s.look(ctx, op, sent)
	if connectors.KindOf(err) == "" && err != nil {
		return nil, err
	}
	var above []*line
	for _, l := range sent {
		if err != nil {
			// The write was answered, so it took place; whether it is right could not be seen.
			l.fail(&connectors.Error{Kind: connectors.Uncertain, Op: op, Err: fmt.Errorf("variant %s was written and could not be read back: %w", l.item, err)})
			continue
		}
		if l.result.Outcome == connectors.Failed {
			continue
		}
		l.written()
		if l.level.available() > l.wanted {
			above = append(above, l)
		}
	}
	return above, nil
}

// look reads the levels of the lines anew. A line whose variant is gone fails.
func (s *shop) look(ctx context.Context, op string, lines []*line) error {
	ids := make([]string, len(lines))
	for i, l := range lines {
		ids[i] = l.item
	}
	levels, err := s.levels(ctx, op, ids)
	if err != nil {
		return err
	}
	for _, l := range lines {
		level, known := levels[l.item]
		if !known {
			l.fail(&connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the shop has no variant %s any more", l.item)})
			continue
		}
		l.level = level
	}
	return nil
}
