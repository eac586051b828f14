package shopify

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/stock"
)

const (
	// pageSize is how many listings one query reads, and readSize how many levels. Each costs 7 points and 6: a page that
	// is waited for is there within seconds.
	pageSize = 60
	readSize = 60
	// writeRounds is how many calls one batch makes at most: each refusal of lines leaves the others to be sent again.
	writeRounds = 8
	// reason is what the history of an item shows for our writes.
	reason    = "correction"
	available = "available"
)

// shown is what an item shows at a location. An item without a level is not stocked there, and shows 0: a buyer gets
// none from there.
type shown struct {
	quantity stock.Quantity
	tracked  bool
	// oversells is true where the variant goes on selling at 0.
	oversells bool
}

func (s shown) unlimited() bool { return !s.tracked || s.oversells }

// shown reads what an item shows. The error names what is missing.
func (i *item) shown() (shown, error) {
	if i.Tracked == nil {
		return shown{}, fmt.Errorf("whether item %s is tracked", i.ID)
	}
	s := shown{tracked: *i.Tracked}
	if i.Variants != nil {
		for _, v := range i.Variants.Nodes {
			s.oversells = s.oversells || v.InventoryPolicy == "CONTINUE"
		}
	}
	if i.InventoryLevel == nil {
		return s, nil
	}
	for _, q := range i.InventoryLevel.Quantities {
		if q.Name == available && q.Quantity != nil && *q.Quantity >= -maxQuantity && *q.Quantity <= maxQuantity {
			s.quantity = *q.Quantity
			return s, nil
		}
	}
	return shown{}, fmt.Errorf("the available quantity of item %s", i.ID)
}

// listingCursor is the page behind the cursor after, at the location with the ordinal, of the list of items whose ids are
// above begin; pages of it were read. Last is the greatest id so far, and empty once the ids did not come in their order.
type listingCursor struct {
	location    int
	paged       bool // to the end: no export was to be had
	begin, last string
	pages       int
	after       string
}

// pagedMark stands behind the location in the cursor of a list that goes on in pages.
const pagedMark = "p"

func (c listingCursor) encode() connectors.Cursor {
	how := ""
	if c.paged {
		how = pagedMark
	}
	return connectors.Cursor(fmt.Sprintf("%d%s:%s:%s:%d:%s", c.location, how, c.begin, c.last, c.pages, c.after))
}

func parseListingCursor(from connectors.Cursor) (listingCursor, error) {
	if from == "" {
		return listingCursor{begin: "0", last: "0"}, nil
	}
	parts := strings.SplitN(string(from), ":", 5)
	bad := fmt.Errorf("%q is not a cursor of the listings", string(from))
	if len(parts) != 5 {
		return listingCursor{}, bad
	}
	c := listingCursor{begin: parts[1], last: parts[2], after: parts[4]}
	var errLocation, errPages error
	parts[0], c.paged = strings.CutSuffix(parts[0], pagedMark)
	c.location, errLocation = strconv.Atoi(parts[0])
	c.pages, errPages = strconv.Atoi(parts[3])
	if errLocation != nil || errPages != nil || c.location < 0 || c.location > maxLocations || c.pages < 0 || c.pages > math.MaxInt32 ||
		!isNumber(c.begin) || c.last != "" && !isNumber(c.last) {
		return listingCursor{}, bad
	}
	return c, nil
}

// behind is the cursor of the page behind one with these rows. The list is begun anew with the ids above the last one,
// before it ends too early; only where all ids came in their order are none of those that are left below it.
func (c listingCursor) behind(rows []*item, next string) listingCursor {
	c.after = next
	c.pages++
	for _, i := range rows {
		id, _ := number("InventoryItem", i.ID)
		if c.last == "" || !above(id, c.last) {
			c.last = ""
			return c
		}
		c.last = id
	}
	if c.pages >= anchorPages {
		c.begin, c.pages, c.after = c.last, 0, ""
	}
	return c
}

// above compares two numbers without leading zeros.
func above(a, b string) bool {
	return len(a) > len(b) || len(a) == len(b) && a > b
}

// Listings implements connectors.Marketplace: every inventory item, location by location. Where there are several
// locations, an item is listed at those where it is stocked. Of a big shop, what is behind the first pages is exported by
// Shopify in one file.
func (s *shop) Listings(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Listing], error) {
	const op = "list the listings"
	none := connectors.Page[connectors.Listing]{}
	if place, ok := strings.CutPrefix(string(from), exportPrefix); ok {
		return s.exported(ctx, op, place)
	}
	cursor, err := parseListingCursor(from)
	if err != nil {
		return none, connectors.Rejectedf(op, "", "%w", err)
	}
	known, err := s.facts(ctx, op)
	if err != nil {
		return none, err
	}
	if cursor.location >= len(known.locations) {
		return none, connectors.Rejectedf(op, "", "the list of listings was begun with more locations than there are; begin it anew")
	}
	at := known.locations[cursor.location]
	data, err := ask[listingsData](ctx, s, graphql.Request{Op: op, Document: listingsDocument, Variables: listingsVariables{
		First: pageSize, After: cursor.after, Query: "id:>" + cursor.begin, Location: gid("Location", at.id),
	}})
	if err != nil {
		return none, err
	}
	page := connectors.Page[connectors.Listing]{}
	for _, i := range data.InventoryItems.Nodes {
		l, stocked, err := i.listing(known.place(at))
		if err != nil {
			return none, s.missing(op, err.Error())
		}
		if stocked || len(known.locations) == 1 {
			page.Rows = append(page.Rows, l)
		}
	}
	next, more, err := s.next(op, data.InventoryItems.PageInfo, cursor.after)
	switch {
	case err != nil:
		return none, err
	case more:
		behind := cursor.behind(data.InventoryItems.Nodes, next)
		if behind.last == "" && (behind.pages+1)*pageSize > longestList {
			return none, connectors.Rejectedf(op, "", "the shop has more items than Shopify lists at a time, %d, and does not list them by their ids", longestList)
		}
		page.Next = behind.encode()
		if s.bulk && !behind.paged && behind.last != "" && behind.pages >= exportAfter {
			page.Next, err = s.export(ctx, op, at, behind)
			if err != nil {
				return none, err
			}
		}
	case cursor.location+1 < len(known.locations):
		page.Next = listingCursor{location: cursor.location + 1, begin: "0", last: "0"}.encode()
	}
	return page, nil
}

// next is the cursor of the page behind, where there is one. A list that leads back to where it was would not end.
func (s *shop) next(op string, p pageInfo, after string) (string, bool, error) {
	switch {
	case !p.HasNextPage:
		return "", false, nil
	case p.EndCursor == "":
		return "", false, s.missing(op, "the cursor of the next page")
	case p.EndCursor == after:
		return "", false, s.client.Refusal(connectors.Retryable, op, "", "the list leads from a page to the same page again")
	}
	return p.EndCursor, true, nil
}

// listing translates an item, and says whether it is stocked at the location.
func (i *item) listing(place string) (l connectors.Listing, stocked bool, err error) {
	if i == nil {
		return l, false, errors.New("an item of the list")
	}
	id, ok := number("InventoryItem", i.ID)
	if !ok {
		return l, false, errors.New("the id of an item")
	}
	s, err := i.shown()
	if err != nil {
		return l, false, err
	}
	l = connectors.Listing{
		Ref: connectors.Ref{Item: id, Place: place}, SKU: i.SKU, Quantity: s.quantity, Unlimited: s.unlimited(),
		Status: connectors.StatusStopped, UpdatedAt: i.UpdatedAt.UTC(),
	}
	if i.InventoryLevel != nil && i.InventoryLevel.UpdatedAt.After(i.UpdatedAt) {
		l.UpdatedAt = i.InventoryLevel.UpdatedAt.UTC()
	}
	if i.Variants != nil && len(i.Variants.Nodes) > 0 {
		v := i.Variants.Nodes[0]
		l.Title, l.GTIN = v.DisplayName, v.Barcode
		if v.Product.Status != "DRAFT" && v.Product.Status != "ARCHIVED" {
			l.Status = connectors.StatusActive
		}
	}
	return l, i.InventoryLevel != nil, nil
}

// ReadStock implements connectors.Marketplace.
func (s *shop) ReadStock(ctx context.Context, refs []connectors.Ref) ([]connectors.Reading, error) {
	const op = "read stock"
	if err := withinBatch(op, len(refs)); err != nil {
		return nil, err
	}
	at := time.Now().UTC()
	levels, err := s.levels(ctx, op, refs)
	if err != nil {
		return nil, err
	}
	readings := make([]connectors.Reading, 0, len(refs))
	for _, r := range refs {
		if l, known := levels[r]; known {
			readings = append(readings, connectors.Reading{Ref: r, Quantity: l.quantity, Unlimited: l.unlimited(), At: at})
		}
	}
	return readings, nil
}

func withinBatch(op string, n int) error {
	if n > batchSize {
		return connectors.Rejectedf(op, "", "%d lines in one call; at most %d are taken, and none was looked at", n, batchSize)
	}
	return nil
}

// levels reads what the refs that the shop knows show, location by location.
func (s *shop) levels(ctx context.Context, op string, refs []connectors.Ref) (map[connectors.Ref]shown, error) {
	known, err := s.facts(ctx, op)
	if err != nil {
		return nil, err
	}
	levels := make(map[connectors.Ref]shown, len(refs))
	for _, at := range known.locations {
		place := known.place(at)
		var ids []string
		for _, r := range refs {
			if id := gid("InventoryItem", r.Item); r.Place == place && isNumber(r.Item) && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		for some := range slices.Chunk(ids, readSize) {
			data, err := ask[levelsData](ctx, s, graphql.Request{Op: op, Document: levelsDocument, Variables: levelsVariables{IDs: some, Location: gid("Location", at.id)}})
			if err != nil {
				return nil, err
			}
			for _, i := range data.Nodes {
				if i == nil || i.ID == "" {
					continue
				}
				id, ok := number("InventoryItem", i.ID)
				if !ok {
					return nil, s.missing(op, "the id of an item")
				}
				if levels[connectors.Ref{Item: id, Place: place}], err = i.shown(); err != nil {
					return nil, s.missing(op, err.Error())
				}
			}
		}
	}
	return levels, nil
}

// line is one write on its way.
type line struct {
	write     connectors.Write
	location  location
	activated bool // the item was stocked at the location for this write
	result    connectors.Result
}

func (l *line) done() bool { return l.result.Outcome != "" }

func (l *line) fail(err error) {
	l.result = connectors.Result{Outcome: connectors.Failed, Err: err}
}

// WriteStock implements connectors.Marketplace. Where Shopify refuses a line, the others are sent again in a call of
// their own: a refusal leaves the whole call without effect.
//
// A write that expects nothing is of a listing of which nothing is known: it is looked at first, because a number that is
// written to an unlimited listing limits nothing.
func (s *shop) WriteStock(ctx context.Context, writes []connectors.Write) ([]connectors.Result, error) {
	const op = "write stock"
	if err := withinBatch(op, len(writes)); err != nil {
		return nil, err
	}
	known, err := s.facts(ctx, op)
	if err != nil {
		return nil, err
	}
	lines := make([]*line, len(writes))
	var unseen []connectors.Ref
	for i, w := range writes {
		lines[i] = prepare(op, known, w)
		if !lines[i].done() && w.Expect == nil {
			unseen = append(unseen, w.Ref)
		}
	}
	if len(unseen) > 0 {
		levels, err := s.levels(ctx, op, unseen)
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			if !l.done() && l.write.Expect == nil {
				l.limited(op, levels)
			}
		}
	}
	if err := s.writeLines(ctx, op, lines); err != nil {
		return nil, err
	}
	results := make([]connectors.Result, len(lines))
	for i, l := range lines {
		results[i] = l.result
		results[i].Ref = l.write.Ref
	}
	return results, nil
}

// prepare refuses what cannot be written.
func prepare(op string, known *facts, w connectors.Write) *line {
	l := &line{write: w}
	var kept bool
	l.location, kept = known.at(w.Ref.Place)
	switch {
	case !isNumber(w.Ref.Item):
		l.fail(&connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("there is no inventory item %s: %w", w.Ref, errNotANumber)})
	case !kept:
		l.fail(&connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the connection keeps no location %q, as %s needs it; %s says which it keeps",
			w.Ref.Place, w.Ref, settingLocations)})
	case w.Quantity < 0 || w.Quantity > maxQuantity:
		l.fail(connectors.Rejectedf(op, "", "quantity %d of item %s: it must be from 0 to %d", w.Quantity, w.Ref, maxQuantity))
	}
	return l
}

// limited refuses a line whose listing sells without limit.
func (l *line) limited(op string, levels map[connectors.Ref]shown) {
	at, known := levels[l.write.Ref]
	switch {
	case !known:
		l.fail(&connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the shop has no inventory item %s", l.write.Ref)})
	case !at.tracked:
		l.fail(connectors.Rejectedf(op, "", "item %s is not tracked, so no quantity limits its sale: in the Shopify admin, open the variant and tick \"Track quantity\"", l.write.Ref))
	case at.oversells:
		l.fail(connectors.Rejectedf(op, "", "item %s is sold beyond its quantity: in the Shopify admin, open the variant and untick \"Continue selling when out of stock\"", l.write.Ref))
	}
}

// writeLines sends the lines until each has a result. Its error is about the first call of all lines; afterwards each line
// has its own.
func (s *shop) writeLines(ctx context.Context, op string, lines []*line) error {
	for round := range writeRounds {
		due := dueLines(lines)
		if len(due) == 0 {
			return nil
		}
		err := s.writeOnce(ctx, op, due)
		switch {
		case err == nil:
		case round == 0 || connectors.KindOf(err) == "": // a shutdown
			return err
		default:
			for _, l := range due {
				if !l.done() {
					l.fail(err)
				}
			}
		}
	}
	for _, l := range lines {
		if !l.done() {
			l.fail(&connectors.Error{Kind: connectors.Retryable, Op: op, Err: fmt.Errorf("item %s was not written: so many other lines of its batch were refused", l.write.Ref)})
		}
	}
	return nil
}

// dueLines are the lines without a result, in the order of the batch. One item at one location stands in a call once
// (NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR), so a second write of it waits for the next.
func dueLines(lines []*line) []*line {
	var due []*line
	seen := make(map[connectors.Ref]bool, len(lines))
	for _, l := range lines {
		if !l.done() && !seen[l.write.Ref] {
			seen[l.write.Ref] = true
			due = append(due, l)
		}
	}
	return due
}

// writeOnce sends the lines in one call, and gives results to those of which it is known what became of them. On an error
// no line has changed, unless the error is Uncertain.
func (s *shop) writeOnce(ctx context.Context, op string, lines []*line) error {
	key := keyOf(lines, "")
	data, err := s.set(ctx, op, lines, key)
	if err != nil {
		return err
	}
	if answer := data.InventorySetQuantities; answer != nil && slices.ContainsFunc(answer.UserErrors, func(e userError) bool { return e.Code == "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED" }) {
		// The key is spent, and nothing was written under it.
		if data, err = s.set(ctx, op, lines, keyOf(lines, rand.Text())); err != nil {
			return err
		}
	}
	answer := data.InventorySetQuantities
	if answer == nil {
		return s.client.Refusal(connectors.Uncertain, op, "", "the answer tells nothing of the writes")
	}
	var changes []change
	applied := answer.InventoryAdjustmentGroup != nil
	if applied {
		changes = answer.InventoryAdjustmentGroup.Changes
	}
	if len(answer.UserErrors) == 0 {
		for _, l := range lines {
			l.written(changes)
		}
		return nil
	}
	if err := s.refused(ctx, op, lines, answer.UserErrors); err != nil {
		return err
	}
	for _, l := range lines {
		if applied && !l.done() && !l.activated {
			l.written(changes)
		}
	}
	return nil
}

// set makes the call.
func (s *shop) set(ctx context.Context, op string, lines []*line, key string) (*writeData, error) {
	quantities := make([]quantityInput, len(lines))
	for i, l := range lines {
		quantities[i] = quantityInput{
			InventoryItemID: gid("InventoryItem", l.write.Ref.Item), LocationID: gid("Location", l.location.id),
			Quantity: l.write.Quantity, ChangeFromQuantity: l.write.Expect,
		}
	}
	return ask[writeData](ctx, s, graphql.Request{Op: op, Document: writeDocument, Write: true, Idempotent: true, Variables: writeVariables{Key: key, Input: writeInput{
		Name: available, Reason: reason, ReferenceDocumentURI: "gid://truestock/Write/" + key, Quantities: quantities,
	}}})
}

// keyOf is the key of a call, in the form of a UUID: the same for the same writes, and for no others.
func keyOf(lines []*line, salt string) string {
	hash := sha256.New()
	hash.Write([]byte(salt))
	for _, l := range lines {
		expect := "any"
		if l.write.Expect != nil {
			expect = strconv.FormatInt(int64(*l.write.Expect), 10)
		}
		fmt.Fprintf(hash, "\n%q %q %s %d %s %t", l.write.ID, l.write.Ref.Item, l.location.id, l.write.Quantity, expect, l.activated)
	}
	sum := hex.EncodeToString(hash.Sum(nil)[:16])
	return sum[:8] + "-" + sum[8:12] + "-" + sum[12:16] + "-" + sum[16:20] + "-" + sum[20:]
}

// written takes the quantity that the answer tells of the line. A line that it leaves out had that quantity before.
func (l *line) written(changes []change) {
	l.result = connectors.Result{Outcome: connectors.Written}
	for _, c := range changes {
		if c.Name == available && c.QuantityAfterChange != nil && c.Item != nil && c.Item.ID == gid("InventoryItem", l.write.Ref.Item) &&
			c.Location != nil && c.Location.ID == gid("Location", l.location.id) {
			l.result.Quantity = c.QuantityAfterChange
		}
	}
}

// refused gives each refused line its result. An error of no line is one of them all. Its error is a shutdown.
func (s *shop) refused(ctx context.Context, op string, lines []*line, refusals []userError) error {
	for _, e := range refusals {
		l := lineOf(lines, e.Field)
		if l == nil {
			for _, l := range lines {
				if !l.done() {
					s.refuseLine(op, l, e)
				}
			}
			continue
		}
		if l.done() || e.Code != "ITEM_NOT_STOCKED_AT_LOCATION" || l.activated {
			if !l.done() {
				s.refuseLine(op, l, e)
			}
			continue
		}
		if err := s.activate(ctx, op, l); err != nil {
			if connectors.KindOf(err) == "" {
				return err
			}
			l.fail(err)
		}
	}
	return nil
}

// lineOf finds the line that the path of a user error leads to, such as input, quantities, 3, quantity.
func lineOf(lines []*line, path []string) *line {
	at := slices.Index(path, "quantities")
	if at < 0 || at+1 >= len(path) {
		return nil
	}
	n, err := strconv.Atoi(path[at+1])
	if err != nil || n < 0 || n >= len(lines) {
		return nil
	}
	return lines[n]
}

// refuseLine classes a refusal (InventorySetQuantitiesUserErrorCode).
func (s *shop) refuseLine(op string, l *line, e userError) {
	kind := connectors.Rejected
	switch e.Code {
	case "CHANGE_FROM_QUANTITY_STALE", "COMPARE_QUANTITY_STALE":
		l.result = connectors.Result{Outcome: connectors.Stale}
		return
	case "INVALID_INVENTORY_ITEM", "INVALID_LOCATION", "ITEM_NOT_STOCKED_AT_LOCATION":
		kind = connectors.Unmapped
	case "IDEMPOTENCY_CONCURRENT_REQUEST":
		kind = connectors.Uncertain // the first request is still at work
	case "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED":
		kind = connectors.Retryable
	}
	l.fail(s.client.Refusal(kind, op, e.Code, fmt.Sprintf("item %s: %s", l.write.Ref, e.Message)))
}

// activate stocks the line's item at its location, with nothing there; the line is then sent again.
func (s *shop) activate(ctx context.Context, op string, l *line) error {
	data, err := ask[activateData](ctx, s, graphql.Request{Op: op, Document: activateDocument, Write: true, Idempotent: true, Variables: activateVariables{
		Item: gid("InventoryItem", l.write.Ref.Item), Location: gid("Location", l.location.id), Key: keyOf([]*line{l}, "activate"),
	}})
	if err != nil {
		return err
	}
	answer := data.InventoryActivate
	switch {
	case answer == nil:
		return s.client.Refusal(connectors.Uncertain, op, "", "the answer does not say whether the item is stocked now")
	case len(answer.UserErrors) > 0:
		return s.client.Refusal(connectors.Rejected, op, answer.UserErrors[0].Code, fmt.Sprintf("item %s is not stocked at location %s, and could not be: %s", l.write.Ref, l.location.name, answer.UserErrors[0].Message))
	case answer.InventoryLevel == nil:
		return s.client.Refusal(connectors.Uncertain, op, "", "the answer has neither a level nor an error")
	}
	l.activated = true
	return nil
}
