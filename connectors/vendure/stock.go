package vendure

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/stock"
)

// listingOverlap is how many listings a page reads again before its place: as many may be deleted between two pages
// without a second look.
const listingOverlap = 20

// writeRounds is how often one call writes a line whose allocation shrinks meanwhile.
const writeRounds = 3

// level is what one variant has at the connection's location.
type level struct {
	onHand, allocated, threshold int64
	tracked                      bool
}

func (l level) available() stock.Quantity {
	return stock.Quantity(l.onHand - l.allocated - l.threshold)
}

// at works out the level of a variant. A location without a row has nothing
// (service/services/stock-level.service.js, getStockLevel).
func (v *variant) at(location string, g globalSettings) (level, error) {
	switch {
	case v.ID == "":
		return level{}, fmt.Errorf("the id of a variant")
	case v.OutOfStockThreshold == nil, v.UseGlobalOutOfStockThreshold == nil, g.OutOfStockThreshold == nil, g.TrackInventory == nil:
		return level{}, fmt.Errorf("the inventory settings of variant %s", v.ID)
	}
	l := level{threshold: *v.OutOfStockThreshold, tracked: v.TrackInventory == "TRUE" || v.TrackInventory == "INHERIT" && *g.TrackInventory}
	if *v.UseGlobalOutOfStockThreshold {
		l.threshold = *g.OutOfStockThreshold
	}
	for _, s := range v.StockLevels {
		if s.StockLocationID != location {
			continue
		}
		if s.StockOnHand == nil || s.StockAllocated == nil {
			return level{}, fmt.Errorf("the stock level of variant %s", v.ID)
		}
		l.onHand, l.allocated = *s.StockOnHand, *s.StockAllocated
	}
	// All numbers are of 32 bits in GraphQL; sums of what is inside that cannot overflow.
	for _, n := range []int64{l.onHand, l.allocated, l.threshold} {
		if n < math.MinInt32 || n > math.MaxInt32 {
			return level{}, fmt.Errorf("a stock level of 32 bits for variant %s", v.ID)
		}
	}
	return l, nil
}

// listingCursor is the place behind the listing last, which was row number skip-1 of the list.
type listingCursor struct {
	skip int
	last string
}

func (c listingCursor) encode() connectors.Cursor {
	return connectors.Cursor(strconv.Itoa(c.skip) + ":" + c.last)
}

func parseListingCursor(from connectors.Cursor) (listingCursor, error) {
	if from == "" {
		return listingCursor{}, nil
	}
	skip, last, found := strings.Cut(string(from), ":")
	n, err := strconv.Atoi(skip)
	if !found || err != nil || n < 1 || n > math.MaxInt32 || last == "" {
		return listingCursor{}, fmt.Errorf("%q is not a cursor of the listings", string(from))
	}
	return listingCursor{skip: n, last: last}, nil
}

// Listings implements connectors.Marketplace: every variant of the channel, by id. The list is paged by number of rows,
// so each page looks for the last row of the one before; rows that were deleted meanwhile hide no others.
func (s *shop) Listings(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Listing], error) {
	const op = "list the listings"
	none := connectors.Page[connectors.Listing]{}
	cursor, err := parseListingCursor(from)
	if err != nil {
		return none, connectors.Rejectedf(op, "", "%w", err)
	}
	location, err := s.stockLocation(ctx, op)
	if err != nil {
		return none, err
	}
	for start := max(0, cursor.skip-listingOverlap); ; start = max(0, start-batchSize) {
		data, err := ask[variantsData](ctx, s, graphql.Request{Op: op, Document: listingsDocument, Variables: listVariables{listOptions{
			Skip: start, Take: batchSize + listingOverlap, Sort: map[string]string{"id": "ASC"},
		}}})
		if err != nil {
			return none, err
		}
		rows := data.ProductVariants.Items
		if start > 0 && (len(rows) == 0 || compareIDs(rows[0].ID, cursor.last) > 0) {
			continue
		}
		return s.listingPage(op, location, data, start, cursor)
	}
}

func (s *shop) listingPage(op, location string, data *variantsData, start int, after listingCursor) (connectors.Page[connectors.Listing], error) {
	var page connectors.Page[connectors.Listing]
	rows := data.ProductVariants.Items
	for _, v := range rows {
		l, err := v.at(location, data.GlobalSettings)
		if err != nil {
			return connectors.Page[connectors.Listing]{}, s.missing(op, err.Error())
		}
		if after.last != "" && compareIDs(v.ID, after.last) <= 0 {
			continue
		}
		status := connectors.StatusActive
		if !v.Enabled || !v.Product.Enabled {
			status = connectors.StatusStopped
		}
		page.Rows = append(page.Rows, connectors.Listing{
			Ref:       connectors.Ref{Item: v.ID},
			SKU:       v.SKU,
			Title:     v.Name,
			Quantity:  l.available(),
			Unlimited: !l.tracked,
			Status:    status,
			UpdatedAt: utcMillis(v.UpdatedAt),
		})
	}
	if len(rows) == batchSize+listingOverlap {
		page.Next = listingCursor{skip: start + len(rows), last: rows[len(rows)-1].ID}.encode()
	}
	return page, nil
}

// compareIDs orders ids as the shop's database does: numbers by value, as they are by default, anything else, which is
// UUIDs, by bytes.
func compareIDs(a, b string) int {
	m, errA := strconv.ParseUint(a, 10, 64)
	n, errB := strconv.ParseUint(b, 10, 64)
	if errA == nil && errB == nil {
		return cmp.Compare(m, n)
	}
	return cmp.Compare(a, b)
}

// ReadStock implements connectors.Marketplace. A variant whose inventory is not tracked is unlimited; its Quantity is
// then what tracking would show.
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
		readings = append(readings, connectors.Reading{Ref: r, Quantity: l.available(), Unlimited: !l.tracked, At: at})
	}
	return readings, nil
}

func withinBatch(op string, n int) error {
	if n > batchSize {
		return connectors.Rejectedf(op, "", "%d lines in one call; at most %d are taken, and none was looked at", n, batchSize)
	}
	return nil
}

// levels reads the levels of the items that the shop knows.
func (s *shop) levels(ctx context.Context, op string, items []string) (map[string]level, error) {
	location, err := s.stockLocation(ctx, op)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, nil
	}
	data, err := ask[variantsData](ctx, s, graphql.Request{Op: op, Document: levelsDocument, Variables: listVariables{listOptions{
		Take: len(items), Filter: map[string]any{"id": map[string]any{"in": items}},
	}}})
	if err != nil {
		return nil, err
	}
	levels := make(map[string]level, len(items))
	for _, v := range data.ProductVariants.Items {
		if levels[v.ID], err = v.at(location, data.GlobalSettings); err != nil {
			return nil, s.missing(op, err.Error())
		}
	}
	return levels, nil
}

// line is one write of a batch on its way.
type line struct {
	item   string
	wanted stock.Quantity
	level  level // as last seen
	result connectors.Result
}

// input is the on hand that makes wanted available. A quantity makes the variant tracked: without that the shop would
// sell any number.
func (l *line) input(location string) variantInput {
	in := variantInput{ID: l.item, StockLevels: []stockLevelInput{{
		StockLocationID: location,
		StockOnHand:     l.onHand(),
	}}}
	if !l.level.tracked {
		in.TrackInventory = "TRUE"
	}
	return in
}

func (l *line) onHand() int64 { return int64(l.wanted) + l.level.allocated + l.level.threshold }

// WriteStock implements connectors.Marketplace. What a line expects is compared with what is read here, immediately before
// the write. The shop takes or refuses a batch as a whole, in one transaction (api/resolvers/admin/product.resolver.js:
// updateProductVariants); when it refuses one, the lines go out one by one.
func (s *shop) WriteStock(ctx context.Context, writes []connectors.Write) ([]connectors.Result, error) {
	const op = "write stock"
	if err := withinBatch(op, len(writes)); err != nil {
		return nil, err
	}
	s.moving.Lock()
	defer s.moving.Unlock()
	items := make([]string, len(writes))
	for i, w := range writes {
		items[i] = w.Ref.Item
	}
	levels, err := s.levels(ctx, op, items)
	if err != nil {
		return nil, err
	}
	lines := make([]*line, len(writes))
	due := make(map[string]*line, len(writes)) // the last write of an item is the one that counts
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
	l := &line{item: w.Ref.Item, wanted: w.Quantity}
	var known bool
	l.level, known = levels[w.Ref.Item]
	switch {
	case !known || w.Ref.Place != "":
		l.fail(&connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the shop's channel has no variant %s", w.Ref)})
	case w.Quantity < 0 || w.Quantity > maxQuantity:
		l.fail(connectors.Rejectedf(op, "", "quantity %d of variant %s: it must be from 0 to %d", w.Quantity, w.Ref, maxQuantity))
	case l.onHand() > math.MaxInt32:
		l.fail(connectors.Rejectedf(op, "", "quantity %d of variant %s, with %d allocated and a threshold of %d, is more than the shop can count",
			w.Quantity, w.Ref, l.level.allocated, l.level.threshold))
	}
	return l
}

// expect makes the line stale where the shop shows another quantity than the write expects: what an earlier line of the
// batch sets, else what was read. A variant whose inventory is not tracked shows no quantity.
func (l *line) expect(want *stock.Quantity, earlier *line) {
	if want == nil || l.result.Outcome == connectors.Failed {
		return
	}
	shown, tracked := l.level.available(), l.level.tracked
	if earlier != nil {
		shown, tracked = earlier.wanted, true
	}
	switch {
	case !tracked:
		l.result = connectors.Result{Outcome: connectors.Stale}
	case shown != *want:
		l.result = connectors.Result{Outcome: connectors.Stale, Quantity: &shown}
	}
}

func (l *line) fail(err error) {
	l.result = connectors.Result{Outcome: connectors.Failed, Err: err}
}

// writeLines writes until the shop shows no more than is wanted. Its error is about the first try of all lines;
// afterwards each line has its own.
func (s *shop) writeLines(ctx context.Context, op string, lines []*line) error {
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
		lines = above(lines)
	}
	for _, l := range lines {
		shown := l.level.available()
		l.fail(&connectors.Error{Kind: connectors.Retryable, Op: op, Err: fmt.Errorf("variant %s shows %d in the place of %d, "+
			"because its stock kept changing while it was written", l.item, shown, l.wanted)})
	}
	return nil
}

// above are the lines that were written and show more than is wanted. A line that shows less was ordered meanwhile: that
// is right.
func above(lines []*line) []*line {
	var list []*line
	for _, l := range lines {
		if l.result.Outcome == connectors.Written && l.level.available() > l.wanted {
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

// writeOnce sends the lines in one call and notes what the shop shows afterwards. On an error no line has changed,
// unless the error is Uncertain.
func (s *shop) writeOnce(ctx context.Context, op string, lines []*line) error {
	location, err := s.stockLocation(ctx, op)
	if err != nil {
		return err
	}
	input := make([]variantInput, len(lines))
	for i, l := range lines {
		input[i] = l.input(location)
	}
	data, err := ask[writeData](ctx, s, graphql.Request{Op: op, Document: writeDocument, Variables: writeVariables{input}, Write: true})
	if err != nil {
		return err
	}
	shown := make(map[string]*variant, len(lines))
	for _, v := range data.UpdateProductVariants {
		if v != nil {
			shown[v.ID] = v
		}
	}
	for _, l := range lines {
		l.note(op, shown[l.item], location)
	}
	return nil
}

// note takes the answer to a write. The threshold is the one read before: the answer does not tell the global one.
func (l *line) note(op string, v *variant, location string) {
	if v == nil {
		l.fail(&connectors.Error{Kind: connectors.Uncertain, Op: op, Err: fmt.Errorf("the answer does not tell variant %s", l.item)})
		return
	}
	tracked := true
	after, err := v.at(location, globalSettings{TrackInventory: &tracked, OutOfStockThreshold: &l.level.threshold})
	if err != nil {
		l.fail(&connectors.Error{Kind: connectors.Uncertain, Op: op, Err: fmt.Errorf("the answer lacks %w", err)})
		return
	}
	l.level = after
	quantity := after.available()
	l.result = connectors.Result{Outcome: connectors.Written, Quantity: &quantity}
}
