package woocommerce

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// ReadStock implements connectors.Marketplace. It leaves out what has no stock of its own.
func (s *shop) ReadStock(ctx context.Context, refs []connectors.Ref) ([]connectors.Reading, error) {
	const op = "read stock"
	if err := withinBatch(op, len(refs)); err != nil {
		return nil, err
	}
	at := time.Now().UTC()
	var ids []int64
	for _, r := range refs {
		if id, ok := refID(r); ok {
			ids = append(ids, id)
		}
	}
	found, err := s.lookUp(ctx, op, ids)
	if err != nil {
		return nil, err
	}
	readings := make([]connectors.Reading, 0, len(refs))
	for _, r := range refs {
		id, ok := refID(r)
		p := found[id]
		if !ok || p == nil || !p.item().holds() {
			continue
		}
		quantity, unlimited, err := p.stands()
		if err != nil {
			return nil, s.uncountable(op, err)
		}
		readings = append(readings, connectors.Reading{Ref: r, Quantity: quantity, Unlimited: unlimited, At: at})
	}
	return readings, nil
}

func withinBatch(op string, n int) error {
	if n > batchSize {
		return connectors.Rejectedf(op, "", "%d lines in one call; at most %d are taken, and none was looked at", n, batchSize)
	}
	return nil
}

// refID is the id of the product or variation that a ref names.
func refID(r connectors.Ref) (int64, bool) {
	id, ok := parseID(r.Item)
	return id, ok && r.Place == ""
}

// lookUp reads products and variations that the shop has. Variations are not in the list of products, so they are read from
// the list of their product; where that is not known yet, they are read one by one
// (rest-api/Controllers/Version3/class-wc-rest-products-controller.php, prepare_objects_query).
func (s *shop) lookUp(ctx context.Context, op string, ids []int64) (map[int64]*product, error) {
	found := make(map[int64]*product, len(ids))
	var products []int64
	variations := map[int64][]int64{}
	for _, id := range ids {
		if i, ok := s.known(id); ok && i.parent > 0 {
			variations[i.parent] = append(variations[i.parent], id)
		} else {
			products = append(products, id)
		}
	}
	query := url.Values{"status": {"any"}, "_fields": {productFields}}
	if err := s.include(ctx, op, "/products", query, products, 0, found); err != nil {
		return nil, err
	}
	for _, id := range products {
		if found[id] != nil {
			continue
		}
		p, err := s.one(ctx, op, id)
		if err != nil {
			return nil, err
		}
		if p != nil {
			found[id] = p
		}
	}
	if err := s.lookUpVariations(ctx, op, variations, found); err != nil {
		return nil, err
	}
	for _, id := range ids {
		if p := found[id]; p != nil {
			s.learn(p)
		} else {
			s.forget(id)
		}
	}
	return found, nil
}

func (s *shop) lookUpVariations(ctx context.Context, op string, variations map[int64][]int64, found map[int64]*product) error {
	for _, parent := range slices.Sorted(maps.Keys(variations)) {
		query := url.Values{"_fields": {variationFields}}
		err := s.include(ctx, op, variationsPath(parent), query, variations[parent], parent, found)
		if err != nil && !unknownID(err) {
			return err
		}
	}
	return nil
}

// include reads those of a list that have one of the ids.
func (s *shop) include(ctx context.Context, op, path string, query url.Values, ids []int64, parent int64, found map[int64]*product) error {
	if len(ids) == 0 {
		return nil
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.FormatInt(id, 10)
	}
	query.Set("include", strings.Join(texts, ","))
	query.Set("per_page", strconv.Itoa(batchSize))
	var rows []product
	if err := s.read(ctx, op, path, query, &rows); err != nil {
		return err
	}
	for i := range rows {
		p := &rows[i]
		if parent > 0 {
			p.of(parent)
		}
		if err := p.valid(); err != nil {
			return s.missing(op, err.Error())
		}
		if slices.Contains(ids, p.ID) {
			found[p.ID] = p
		}
	}
	return nil
}

// one reads a single product or variation; nil where the shop does not have it, or has it in the trash.
func (s *shop) one(ctx context.Context, op string, id int64) (*product, error) {
	var p product
	err := s.read(ctx, op, "/products/"+strconv.FormatInt(id, 10), url.Values{"_fields": {productFields}}, &p)
	switch {
	case unknownID(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := p.valid(); err != nil {
		return nil, s.missing(op, err.Error())
	}
	if p.ID != id || p.Status == statusTrash {
		return nil, nil
	}
	return &p, nil
}

// unknownID reports whether the shop itself says that it does not have what was asked for; a page for people that says so
// is none of its words.
func unknownID(err error) bool {
	e, ok := errors.AsType[*connectors.Error](err)
	return ok && invalidID(e.Code)
}

func invalidID(code string) bool {
	return strings.HasPrefix(code, "woocommerce_rest_") && (strings.HasSuffix(code, "_invalid_id") ||
		strings.HasPrefix(code, "woocommerce_rest_invalid_") && strings.HasSuffix(code, "_id"))
}

// WriteStock implements connectors.Marketplace. Products are one batch, the variations of each product another. A batch that
// fails as a whole before anything was written fails the call; later ones fail their lines.
func (s *shop) WriteStock(ctx context.Context, writes []connectors.Write) ([]connectors.Result, error) {
	const op = "write stock"
	if err := withinBatch(op, len(writes)); err != nil {
		return nil, err
	}
	if err := s.resolve(ctx, op, writes); err != nil {
		return nil, err
	}
	results := make([]connectors.Result, len(writes))
	batches := map[int64][]int{} // the lines of each product with variations; those of products are of 0
	for i, w := range writes {
		parent, err := s.place(op, w)
		results[i] = connectors.Result{Ref: w.Ref}
		if err != nil {
			results[i] = connectors.Result{Ref: w.Ref, Outcome: connectors.Failed, Err: err}
			continue
		}
		batches[parent] = append(batches[parent], i)
	}
	sent := false
	for _, parent := range slices.Sorted(maps.Keys(batches)) {
		lines := batches[parent]
		err := s.writeBatch(ctx, op, parent, writes, lines, results)
		kind := connectors.KindOf(err)
		if err != nil && !sent && kind != connectors.Rejected && kind != connectors.Unmapped {
			return nil, err
		}
		sent = true
		if err == nil {
			continue
		}
		if kind == "" { // a shutdown, after something was written
			err = &connectors.Error{Kind: connectors.Uncertain, Op: op, Err: ctx.Err()}
		}
		for _, i := range lines {
			results[i] = connectors.Result{Ref: writes[i].Ref, Outcome: connectors.Failed, Err: err}
		}
	}
	return results, nil
}

// resolve looks up what is not known, and what is not known to have stock of its own: a person may have changed that.
func (s *shop) resolve(ctx context.Context, op string, writes []connectors.Write) error {
	var ids []int64
	for _, w := range writes {
		id, ok := refID(w.Ref)
		if !ok || slices.Contains(ids, id) {
			continue
		}
		if i, ok := s.known(id); !ok || !i.holds() {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := s.lookUp(ctx, op, ids)
	return err
}

// place finds out by which product a line is written, 0 for a product itself, and refuses what cannot be written.
func (s *shop) place(op string, w connectors.Write) (parent int64, err error) {
	id, ok := refID(w.Ref)
	i, known := s.known(id)
	switch {
	case !ok || !known:
		return 0, &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the shop has no product and no variation %s", w.Ref)}
	case w.Quantity < 0 || w.Quantity > stock.MaxQuantity:
		return 0, connectors.Rejectedf(op, "", "quantity %d of product %s: it must be from 0 to %d", w.Quantity, w.Ref, stock.MaxQuantity)
	case i.shared:
		return 0, connectors.Rejectedf(op, "", "variation %s takes its stock from product %d: map the product, or tick Manage stock at the variation", w.Ref, i.parent)
	case i.bare:
		return 0, connectors.Rejectedf(op, "", "product %s has no stock of its own: map its variations or parts, or tick Manage stock at the product", w.Ref)
	}
	return i.parent, nil
}

// writeBatch sends some of the writes, all products or all variations of one product, and notes their results. It is not
// repeated: the second try could overwrite an order that came after the first.
func (s *shop) writeBatch(ctx context.Context, op string, parent int64, writes []connectors.Write, lines []int, results []connectors.Result) error {
	path := "/products/batch"
	if parent > 0 {
		path = variationsPath(parent) + "/batch"
	}
	request := batchRequest{Update: make([]stockUpdate, len(lines))}
	for n, i := range lines {
		id, _ := refID(writes[i].Ref)
		request.Update[n] = stockUpdate{ID: id, ManageStock: true, StockQuantity: int64(writes[i].Quantity)}
	}
	var answer batchData
	if err := s.write(ctx, op, http.MethodPost, path, false, request, &answer); err != nil {
		return err
	}
	if answer.Code != "" && len(answer.Update) == 0 {
		return s.client.Refusal(answer.kind(), op, answer.Code, answer.Message)
	}
	for n, i := range lines {
		var row *batchRow
		if n < len(answer.Update) {
			row = &answer.Update[n]
		}
		s.note(op, request.Update[n], parent, row, &results[i])
	}
	return nil
}

// note makes the result of a line from its row of the answer.
func (s *shop) note(op string, asked stockUpdate, parent int64, row *batchRow, result *connectors.Result) {
	fail := func(err error) {
		result.Outcome, result.Err = connectors.Failed, err
	}
	if row == nil || row.ID != asked.ID {
		fail(s.client.Refusal(connectors.Uncertain, op, "", fmt.Sprintf("the answer does not tell what became of product %d", asked.ID)))
		return
	}
	if row.Error != nil {
		if invalidID(row.Error.Code) {
			s.forget(asked.ID)
		}
		fail(s.client.Refusal(row.Error.kind(), op, row.Error.Code, fmt.Sprintf("product %d: %s", asked.ID, row.Error.Message)))
		return
	}
	if parent > 0 {
		row.of(parent)
	}
	if row.ManageStock == managedNot || row.ManageStock == managedByParent {
		fail(connectors.Rejectedf(op, "", "product %d did not take a quantity: switch on Enable stock management under WooCommerce → Settings → Products → Inventory", asked.ID))
		return
	}
	shown, err := row.StockQuantity.whole()
	if err != nil || row.ManageStock == "" {
		fail(s.client.Refusal(connectors.Uncertain, op, "", fmt.Sprintf("the answer does not tell the stock of product %d", asked.ID)))
		return
	}
	result.Outcome, result.Quantity = connectors.Written, &shown
}

// kind is what an error of a single item means. A product that could not be saved may have been, in part.
func (e *itemError) kind() connectors.ErrorKind {
	var data struct {
		Status int `json:"status"`
	}
	if json.Unmarshal(e.Data, &data) != nil {
		data.Status = 0 // some errors have an empty list in its place
	}
	switch {
	case invalidID(e.Code):
		return connectors.Unmapped
	case strings.HasPrefix(e.Code, "woocommerce_rest_cannot_"), data.Status == http.StatusUnauthorized, data.Status == http.StatusForbidden:
		return connectors.Auth
	case data.Status >= http.StatusInternalServerError, strings.HasSuffix(e.Code, "_not_created"):
		return connectors.Uncertain
	default:
		return connectors.Rejected
	}
}
