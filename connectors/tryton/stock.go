package tryton

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

const (
	// pageProducts is how many products are on a page of items or levels.
	pageProducts = 200
	// readings is how often a page of levels is read while goods move between warehouses, before it is left for later.
	readings = 3
)

// Locations implements connectors.SystemOfRecord: the warehouses.
func (e *erp) Locations(ctx context.Context) ([]connectors.Location, error) {
	warehouses, err := e.findWarehouses(ctx, "list warehouses")
	if err != nil {
		return nil, err
	}
	locations := make([]connectors.Location, 0, len(warehouses))
	for _, w := range warehouses {
		locations = append(locations, connectors.Location{ID: w.location(), Name: w.Name})
	}
	return locations, nil
}

// findWarehouses are those that the settings name, or all active ones.
func (e *erp) findWarehouses(ctx context.Context, op string) ([]warehouse, error) {
	all, err := call[[]warehouse](ctx, e, request{op: op, method: "model.stock.location.search_read", params: []any{
		[]any{[]any{"type", "=", "warehouse"}}, 0, nil, []any{[]any{"id", "ASC"}}, warehouseFields,
	}})
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		if w.ID == 0 || w.Storage == 0 || w.Output == 0 {
			return nil, connectors.Rejectedf(op, "", "warehouse %q has no storage or output zone; set them under Inventory & Stock → Locations", w.Name)
		}
	}
	if len(all) == 0 {
		return nil, connectors.Rejectedf(op, "", "Tryton has no active warehouse; make one under Inventory & Stock → Locations")
	}
	if len(e.warehouses) == 0 {
		return all, nil
	}
	var wanted []warehouse
	for _, name := range e.warehouses {
		found := false
		for _, w := range all {
			if w.Name == name || w.Code == name || w.location() == name {
				wanted, found = append(wanted, w), true
				break
			}
		}
		if !found {
			return nil, connectors.Rejectedf(op, "", "%s names %q, and Tryton has no active warehouse with that name, code or id", settingWarehouses, name)
		}
	}
	return wanted, nil
}

// counted is the domain of the products that are counted in whole units, and that can be named.
func counted(more ...any) []any {
	return append([]any{
		[]any{"type", "in", []string{"goods", "assets"}},
		[]any{"default_uom.digits", "=", 0},
		[]any{"code", "!=", nil},
		[]any{"code", "!=", ""},
	}, more...)
}

// products reads a page of products, by rising id: products that come in between do not shift the pages.
func (e *erp) products(ctx context.Context, op string, after, last int64) ([]product, error) {
	return call[[]product](ctx, e, request{op: op, method: "model.product.product.search_read", params: []any{
		counted([]any{"id", ">", after}, []any{"id", "<=", last}), 0, pageProducts, []any{[]any{"id", "ASC"}}, productFields,
	}})
}

// checkProducts refuses what nobody could tell apart. Of active products Tryton itself wants each code once, as of 6.0.
func (e *erp) checkProducts(op string, page []product, after int64) error {
	codes := make(map[string]int64, len(page))
	for _, p := range page {
		switch other, twice := codes[p.Code]; {
		case p.ID <= after:
			return connectors.Rejectedf(op, "", "the page does not go on: product %d comes after %d", p.ID, after)
		case p.Code == "":
			return connectors.Rejectedf(op, "", "product %d comes without its code", p.ID)
		case twice:
			return e.codeTwice(op, p.Code, other, p.ID)
		}
		after = p.ID
		codes[p.Code] = p.ID
	}
	return nil
}

func (e *erp) codeTwice(op, code string, one, other int64) error {
	return e.refuse(connectors.Rejected, op, "", fmt.Sprintf("products %d and %d have the same code %s; give each its own under Products → Variants", one, other, code))
}

// listCursor is a place in an enumeration of products: what its first page found out holds for all of it.
type listCursor struct {
	After int64 `json:"after"`
	Last  int64 `json:"last"`
	Count int   `json:"count"`
	// SeenAt is when the enumeration began, by our clock.
	SeenAt time.Time `json:"seen_at"`
}

// begin finds out how many products there are, and the last of them: one that comes later is left to the next enumeration.
func (e *erp) begin(ctx context.Context, op string, from connectors.Cursor) (listCursor, error) {
	at := listCursor{SeenAt: time.Now().UTC()}
	if from != "" {
		if err := json.Unmarshal([]byte(from), &at); err != nil {
			return at, connectors.Rejectedf(op, "", "the cursor %.80q is not one of this connector", from)
		}
		return at, nil
	}
	newest, err := call[[]int64](ctx, e, request{op: op, method: "model.product.product.search", params: []any{counted(), 0, 1, []any{[]any{"id", "DESC"}}}})
	if err != nil || len(newest) == 0 {
		return at, err
	}
	at.Last = newest[0]
	at.Count, err = call[int](ctx, e, request{op: op, method: "model.product.product.search_count", params: []any{counted([]any{"id", "<=", at.Last})}})
	return at, err
}

// next is the cursor behind a page, empty at the end.
func (at listCursor) next(page []product) (connectors.Cursor, error) {
	if len(page) < pageProducts {
		return "", nil
	}
	at.After = page[len(page)-1].ID
	text, err := json.Marshal(at)
	return connectors.Cursor(text), err
}

// Items implements connectors.SystemOfRecord.
func (e *erp) Items(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Item], error) {
	const op = "list products"
	var none connectors.Page[connectors.Item]
	at, err := e.begin(ctx, op, from)
	if err != nil {
		return none, err
	}
	products, err := e.products(ctx, op, at.After, at.Last)
	if err != nil || len(products) == 0 {
		return none, err
	}
	if err := e.checkProducts(op, products, at.After); err != nil {
		return none, err
	}
	ids := make([]int64, 0, len(products))
	for _, p := range products {
		ids = append(ids, p.ID)
	}
	numbers, err := call[[]identifier](ctx, e, request{op: op, method: "model.product.identifier.search_read", params: []any{
		[]any{[]any{"product", "in", ids}, []any{"type", "=", "ean"}}, 0, nil, []any{[]any{"id", "ASC"}}, identifierFields,
	}})
	if err != nil {
		return none, err
	}
	gtin := make(map[int64]string, len(numbers))
	for _, n := range numbers {
		if gtin[n.Product] == "" {
			gtin[n.Product] = n.Code
		}
	}
	page := connectors.Page[connectors.Item]{Rows: make([]connectors.Item, 0, len(products))}
	for _, p := range products {
		page.Rows = append(page.Rows, connectors.Item{SKU: p.Code, GTIN: gtin[p.ID], Name: p.Name, Kind: string(stock.Physical)})
	}
	page.Next, err = at.next(products)
	return page, err
}

// Levels implements connectors.SystemOfRecord. Tryton tells no instant with its numbers: a page is of the instant at which
// its enumeration began.
func (e *erp) Levels(ctx context.Context, from connectors.Cursor) (connectors.LevelPage, error) {
	const op = "list levels"
	at, err := e.begin(ctx, op, from)
	if err != nil {
		return connectors.LevelPage{}, err
	}
	warehouses, err := e.findWarehouses(ctx, op)
	if err != nil {
		return connectors.LevelPage{}, err
	}
	page := connectors.LevelPage{Position: stock.Position{SeenAt: at.SeenAt}, Count: at.Count * len(warehouses)}
	products, err := e.products(ctx, op, at.After, at.Last)
	if err != nil || len(products) == 0 {
		return page, err
	}
	if err := e.checkProducts(op, products, at.After); err != nil {
		return connectors.LevelPage{}, err
	}
	quantities, err := e.settledQuantities(ctx, op, products, warehouses)
	if err != nil {
		return connectors.LevelPage{}, err
	}
	for i, p := range products {
		for j, w := range warehouses {
			page.Levels = append(page.Levels, connectors.Statement{SKU: p.Code, Location: w.location(), Quantity: quantities[j][i]})
		}
	}
	page.Next, err = at.next(products)
	return page, err
}

// settledQuantities reads what each warehouse has of each product. Tryton adds up locations in one call, but tells them apart
// only call by call; goods that move from one warehouse to another in between would count twice. So the sum of all is read
// last, and must be the sum of what was read.
func (e *erp) settledQuantities(ctx context.Context, op string, products []product, warehouses []warehouse) ([][]stock.Quantity, error) {
	for range readings {
		each := make([][]stock.Quantity, len(warehouses))
		var everywhere []int64
		for j, w := range warehouses {
			locations := e.levels.locations(w)
			everywhere = append(everywhere, locations...)
			var err error
			if each[j], err = e.quantities(ctx, op, products, locations); err != nil {
				return nil, err
			}
		}
		if len(warehouses) == 1 {
			return each, nil
		}
		sums, err := e.quantities(ctx, op, products, everywhere)
		if err != nil {
			return nil, err
		}
		settled := true
		for i := range products {
			for j := range warehouses {
				sums[i] -= each[j][i]
			}
			settled = settled && sums[i] == 0
		}
		if settled {
			return each, nil
		}
	}
	return nil, &connectors.Error{Kind: connectors.Retryable, Op: op, Err: errors.New("goods moved while the warehouses were read, again and again")}
}

// quantities reads what is in the locations, and in those below them, of each product.
func (e *erp) quantities(ctx context.Context, op string, products []product, locations []int64) ([]stock.Quantity, error) {
	ids := make([]int64, 0, len(products))
	for _, p := range products {
		ids = append(ids, p.ID)
	}
	within := map[string]any{"locations": locations, "with_childs": true, "active_test": false}
	if e.levels.assigned {
		within["stock_assign"] = true
	}
	rows, err := call[[]quantityRow](ctx, e, request{op: op, within: within, method: "model.product.product.search_read", params: []any{
		[]any{[]any{"id", "in", ids}}, 0, nil, []any{[]any{"id", "ASC"}}, []string{e.levels.field},
	}})
	if err != nil {
		return nil, err
	}
	if len(rows) != len(ids) {
		return nil, &connectors.Error{Kind: connectors.Retryable, Op: op, Err: fmt.Errorf("%d products were asked for and %d came: some were deleted meanwhile", len(ids), len(rows))}
	}
	quantities := make([]stock.Quantity, len(rows))
	for i, row := range rows {
		told := row.Quantity
		if e.levels.field == forecastField {
			told = row.Forecast
		}
		if row.ID != ids[i] {
			return nil, connectors.Rejectedf(op, "", "product %d was asked for, and %d came in its place", ids[i], row.ID)
		}
		if quantities[i], err = whole(told); err != nil {
			return nil, connectors.Rejectedf(op, "", "%s of product %s: %v", e.levels.field, products[i].Code, err)
		}
	}
	return quantities, nil
}

// location is the name of a warehouse in our words. Tryton's codes and names can be changed; ids cannot.
func (w warehouse) location() string { return strconv.FormatInt(w.ID, 10) }

// whole makes a number of units of one of Tryton's, which are floats.
func whole(told *float64) (stock.Quantity, error) {
	if told == nil {
		return 0, errors.New("it is missing or null")
	}
	q := stock.Quantity(*told)
	switch {
	case *told > float64(stock.MaxQuantity) || *told < -float64(stock.MaxQuantity):
		return 0, fmt.Errorf("%v is out of range", *told)
	case float64(q) != *told:
		return 0, fmt.Errorf("%v is not a whole number; only products that are counted in whole units are kept", strings.TrimSpace(strconv.FormatFloat(*told, 'f', -1, 64)))
	}
	return q, nil
}

// units is whole of what cannot be below 0.
func units(told *float64) (stock.Quantity, error) {
	q, err := whole(told)
	if err == nil && q < 0 {
		err = fmt.Errorf("%d is below 0", q)
	}
	return q, err
}
