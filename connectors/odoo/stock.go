package odoo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// place is a location at which stock is counted, with everything below it.
type place struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	// Path is the ids from the root of the tree down to the location, each with a slash behind it.
	Path string `json:"path"`
}

// places are the locations of the setting, or the top of every warehouse's tree.
func (r *record) places(ctx context.Context, op string, d *dialect) ([]place, error) {
	domain := []any{[]any{"complete_name", "in", r.locations}}
	var names map[int64]string
	if len(r.locations) == 0 {
		var warehouses []warehouseRow
		if err := d.search(ctx, op, "stock.warehouse", []any{}, []string{"id", "name", "view_location_id"}, 0, &warehouses); err != nil {
			return nil, err
		}
		names = make(map[int64]string, len(warehouses))
		var tops []int64
		for _, w := range warehouses {
			names[w.View.ID] = string(w.Name)
			tops = append(tops, w.View.ID)
		}
		if len(tops) == 0 {
			return nil, connectors.Rejectedf(op, "", "the user sees no warehouse: give it the right Inventory: User, or name places in the setting %s", settingLocations)
		}
		domain = []any{[]any{"id", "in", tops}}
	}
	var rows []locationRow
	if err := d.search(ctx, op, "stock.location", domain, []string{"id", "complete_name", "usage", "parent_path"}, 0, &rows); err != nil {
		return nil, err
	}
	out := make([]place, 0, len(rows))
	found := make(map[string]bool, len(rows))
	for _, l := range rows {
		if l.ID <= 0 || !strings.HasSuffix(string(l.Path), fmt.Sprintf("%d/", l.ID)) {
			return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("location %d has the path %.60q, which does not lead to it", l.ID, l.Path))
		}
		if l.Usage != "internal" && l.Usage != "view" {
			return nil, connectors.Rejectedf(op, "", "location %s is of the type %s: only internal locations, and views above them, hold stock", l.Name, l.Usage)
		}
		name := names[l.ID]
		if name == "" {
			name = string(l.Name)
		}
		if found[string(l.Name)] {
			return nil, connectors.Rejectedf(op, "", "two locations are called %s: rename one in Inventory → Configuration → Locations", l.Name)
		}
		found[string(l.Name)] = true
		out = append(out, place{ID: l.ID, Name: name, Path: string(l.Path)})
	}
	for _, name := range r.locations {
		if !found[name] {
			return nil, connectors.Rejectedf(op, "", "there is no location %q: write its full name as in Inventory → Configuration → Locations into %s", name, settingLocations)
		}
	}
	for _, a := range out {
		for _, b := range out {
			if a.ID != b.ID && strings.HasPrefix(b.Path, a.Path) {
				return nil, connectors.Rejectedf(op, "", "%s lies within %s, and would be counted twice: name only one of them in %s", b.Name, a.Name, settingLocations)
			}
		}
	}
	return out, nil
}

func (p place) key() string { return strconv.FormatInt(p.ID, 10) }

// Locations implements connectors.SystemOfRecord. The identity of a place is the number of its location, which a new name
// does not change.
func (r *record) Locations(ctx context.Context) ([]connectors.Location, error) {
	const op = "list locations"
	d, err := r.speak(ctx, op)
	if err != nil {
		return nil, err
	}
	places, err := r.places(ctx, op, d)
	if err != nil {
		return nil, err
	}
	out := make([]connectors.Location, 0, len(places))
	for _, p := range places {
		out = append(out, connectors.Location{ID: p.key(), Name: p.Name})
	}
	return out, nil
}

// pageProducts is how many products are read at once.
const pageProducts = 200

// products reads the products after an id: by the id and not by an offset, so that a product that comes or goes meanwhile
// moves no other onto another page. last is the id to go on after, 0 at the end.
func (r *record) products(ctx context.Context, op string, d *dialect, after int64) (rows []productRow, last int64, err error) {
	domain := []any{[]any{"id", ">", after}, d.storable}
	if err := d.search(ctx, op, "product.product", domain, []string{"id", "default_code", "barcode", "display_name", "uom_id", "categ_id"}, pageProducts, &rows); err != nil {
		return nil, 0, err
	}
	at := after
	for _, p := range rows {
		if p.ID <= at {
			return nil, 0, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("product %d comes after %d: the list is out of order, and might never end", p.ID, at))
		}
		at = p.ID
	}
	if len(rows) >= pageProducts {
		last = at
	}
	return slices.DeleteFunc(rows, func(p productRow) bool { return r.skuOf(p) == "" || r.excluded[p.Unit.Name] }), last, nil
}

func (r *record) skuOf(p productRow) string {
	if r.sku == skuBarcode {
		return string(p.Barcode)
	}
	return string(p.Code)
}

// Items implements connectors.SystemOfRecord: the products of which stock is kept and that have a SKU.
func (r *record) Items(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Item], error) {
	const op = "list items"
	var none, page connectors.Page[connectors.Item]
	var after int64
	if from != "" {
		var err error
		if after, err = strconv.ParseInt(string(from), 10, 64); err != nil {
			return none, connectors.Rejectedf(op, "", "the cursor %.40q is none of ours", from)
		}
	}
	d, err := r.speak(ctx, op)
	if err != nil {
		return none, err
	}
	rows, last, err := r.products(ctx, op, d, after)
	if err != nil {
		return none, err
	}
	for _, p := range rows {
		page.Rows = append(page.Rows, connectors.Item{SKU: r.skuOf(p), GTIN: string(p.Barcode), Name: string(p.Name), Category: p.Category.Name})
	}
	if last > 0 {
		page.Next = connectors.Cursor(strconv.FormatInt(last, 10))
	}
	return page, nil
}

// levelsCursor is a place in an enumeration of levels: the places and the position of its first page hold for all of it.
type levelsCursor struct {
	After    int64          `json:"after"`
	Places   []place        `json:"places"`
	Position stock.Position `json:"position"`
}

// Levels implements connectors.SystemOfRecord. A page is a number of products, each with its quantity at every place, read
// in one transaction per place. A product of which a place has no quant has none there: that is how Odoo says 0. The
// position is only the instant before the reading: what Odoo dates, it dates before it commits.
func (r *record) Levels(ctx context.Context, from connectors.Cursor) (connectors.LevelPage, error) {
	const op = "list levels"
	var at levelsCursor
	d, err := r.speak(ctx, op)
	if err != nil {
		return connectors.LevelPage{}, err
	}
	if from != "" {
		if err := json.Unmarshal([]byte(from), &at); err != nil {
			return connectors.LevelPage{}, connectors.Rejectedf(op, "", "the cursor %.40q is none of ours", from)
		}
	} else {
		if err := r.settle(ctx, d); err != nil {
			return connectors.LevelPage{}, err
		}
		at.Position.SeenAt = time.Now().UTC()
		if at.Places, err = r.places(ctx, op, d); err != nil {
			return connectors.LevelPage{}, err
		}
	}
	rows, last, err := r.products(ctx, op, d, at.After)
	if err != nil {
		return connectors.LevelPage{}, err
	}
	page := connectors.LevelPage{Position: at.Position, Count: -1}
	for _, p := range at.Places {
		levels, err := r.levelsAt(ctx, op, d, p, rows)
		if err != nil {
			return connectors.LevelPage{}, err
		}
		page.Levels = append(page.Levels, levels...)
	}
	if last > 0 {
		at.After = last
		next, err := json.Marshal(at)
		if err != nil {
			return connectors.LevelPage{}, connectors.Rejectedf(op, "", "the place in the list cannot be noted: %w", err)
		}
		page.Next = connectors.Cursor(next)
	}
	return page, nil
}

func (r *record) levelsAt(ctx context.Context, op string, d *dialect, p place, rows []productRow) ([]connectors.Statement, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	ids := make([]int64, 0, len(rows))
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	ask := r.fromQuants
	if r.number == productOnHand || r.number == productFree {
		ask = r.fromProducts
	}
	numbers, err := ask(ctx, op, d, p, ids)
	if err != nil {
		return nil, err
	}
	out := make([]connectors.Statement, 0, len(rows))
	for _, row := range rows {
		q, err := numbers(row.ID).whole(r.number, row.Unit.Name)
		if err != nil {
			return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("product %s at %s: %v", r.skuOf(row), p.Name, err))
		}
		out = append(out, connectors.Statement{SKU: r.skuOf(row), Location: p.key(), Quantity: q})
	}
	return out, nil
}

// fromQuants sums the quants of internal locations. Lots, packages and owners are summed up.
func (r *record) fromQuants(ctx context.Context, op string, d *dialect, p place, ids []int64) (func(id int64) *number, error) {
	domain := []any{[]any{"product_id", "in", ids}, []any{"location_id", "child_of", []int64{p.ID}}, []any{"location_id.usage", "=", "internal"}}
	m := method{op: op, model: "stock.quant", name: "read_group", args: []argument{
		{"domain", domain}, {"fields", []string{"quantity", "reserved_quantity"}}, {"groupby", []string{"product_id"}}}}
	if d.major >= firstWithJSON2 {
		m.name = "formatted_read_group"
		m.args = []argument{{"domain", domain}, {"groupby", []string{"product_id"}}, {"aggregates", []string{"quantity:sum", "reserved_quantity:sum"}}}
	}
	var rows []groupRow
	if err := d.call(ctx, m, &rows); err != nil {
		return nil, err
	}
	sums := make(map[int64]*number, len(rows))
	for _, row := range rows {
		quantity, reserved := row.Quantity, row.Reserved
		if d.major >= firstWithJSON2 {
			quantity, reserved = row.QuantitySum, row.ReservedSum
		}
		switch {
		case !slices.Contains(ids, row.Product.ID) || sums[row.Product.ID] != nil:
			return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("the sums of %s name product %d, which was not asked for or is there twice", p.Name, row.Product.ID))
		case quantity == nil || reserved == nil:
			return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("the sums of %s lack the quantity of %s", p.Name, row.Product.Name))
		}
		n := *quantity
		if r.number == quantAvailable {
			n -= *reserved
		}
		sums[row.Product.ID] = &n
	}
	return func(id int64) *number {
		if n := sums[id]; n != nil {
			return n
		}
		return new(number)
	}, nil
}

// fromProducts reads a field that Odoo computes for the place in the context.
func (r *record) fromProducts(ctx context.Context, op string, d *dialect, p place, ids []int64) (func(id int64) *number, error) {
	var rows []productQuantity
	m := method{op: op, model: "product.product", name: "read", ids: ids, args: []argument{{"fields", []string{r.number}}}, context: map[string]any{"location": p.ID}}
	if err := d.call(ctx, m, &rows); err != nil {
		return nil, err
	}
	numbers := make(map[int64]*number, len(rows))
	for _, row := range rows {
		numbers[row.ID] = row.Available
		if r.number == productFree {
			numbers[row.ID] = row.Free
		}
	}
	return func(id int64) *number { return numbers[id] }, nil
}

// Movements implements connectors.SystemOfRecord. It is never called, since there are no positions.
func (r *record) Movements(context.Context, int64) (connectors.Page[connectors.Fact], error) {
	return connectors.Page[connectors.Fact]{}, connectors.Rejectedf("list movements", "", "Odoo has no sequence of movements that grows by commits; nothing was asked")
}
