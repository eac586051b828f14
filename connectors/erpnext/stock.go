package erpnext

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

const (
	// pageItems is how many items are read at once.
	pageItems = 200
	// mostWarehouses is how many warehouses are understood.
	mostWarehouses = 1000
)

// places are the names of the warehouses that are counted.
func (r *record) places(ctx context.Context, op string) ([]string, error) {
	filters := []any{[]any{"is_group", "=", 0}, []any{"disabled", "=", 0}}
	if r.company != "" {
		filters = append(filters, []any{"company", "=", r.company})
	}
	if len(r.warehouses) > 0 {
		filters = append(filters, []any{"name", "in", r.warehouses})
	}
	rows, err := list[warehouseRow](ctx, r, op, query{DocType: "Warehouse", Fields: []string{"name", "is_group", "disabled"}, Filters: filters, Order: "name asc", Limit: mostWarehouses}, true)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(rows))
	for _, w := range rows {
		if w.Name == "" || w.IsGroup != 0 || w.Disabled != 0 || slices.Contains(names, w.Name) {
			return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("the warehouse %q was not asked for", w.Name))
		}
		names = append(names, w.Name)
	}
	for _, want := range r.warehouses {
		if !slices.Contains(names, want) {
			return nil, connectors.Rejectedf(op, "", "there is no warehouse %q that is neither a group nor disabled: write its full name, with the company's abbreviation, into %s", want, settingWarehouses)
		}
	}
	if len(names) == 0 {
		return nil, connectors.Rejectedf(op, "", "the user sees no warehouse: give it the role Stock User, and look under User Permissions")
	}
	return names, nil
}

// Locations implements connectors.SystemOfRecord.
func (r *record) Locations(ctx context.Context) ([]connectors.Location, error) {
	names, err := r.places(ctx, "list locations")
	if err != nil {
		return nil, err
	}
	out := make([]connectors.Location, 0, len(names))
	for _, n := range names {
		out = append(out, connectors.Location{ID: n, Name: n})
	}
	return out, nil
}

// items reads the items behind a name, by the name and not by an offset, so that an item that comes or goes meanwhile moves
// no other onto another page. last is the name to go on after, empty at the end.
func (r *record) items(ctx context.Context, op, after string) (rows []itemRow, last string, err error) {
	filters := []any{[]any{"is_stock_item", "=", 1}, []any{"disabled", "=", 0}, []any{"has_variants", "=", 0}}
	if after != "" {
		filters = append(filters, []any{"name", ">", after})
	}
	rows, err = list[itemRow](ctx, r, op, query{DocType: "Item", Fields: []string{"name", "item_name", "item_group", "stock_uom"}, Filters: filters, Order: "name asc", Limit: pageItems}, false)
	if err != nil {
		return nil, "", err
	}
	seen := map[string]bool{after: true}
	for _, i := range rows {
		if i.Name == "" || seen[i.Name] {
			return nil, "", r.refuse(connectors.Rejected, op, "", fmt.Sprintf("item %q has no code, or comes a second time: the list might never end", i.Name))
		}
		seen[i.Name] = true
	}
	if len(rows) == pageItems {
		last = rows[len(rows)-1].Name
	}
	return slices.DeleteFunc(rows, func(i itemRow) bool { return r.excluded[i.StockUOM] }), last, nil
}

// Items implements connectors.SystemOfRecord: the items of which stock is kept, without templates. The SKU is the item code.
func (r *record) Items(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Item], error) {
	rows, last, err := r.items(ctx, "list items", string(from))
	if err != nil {
		return connectors.Page[connectors.Item]{}, err
	}
	page := connectors.Page[connectors.Item]{Next: connectors.Cursor(last)}
	for _, i := range rows {
		page.Rows = append(page.Rows, connectors.Item{SKU: i.Name, Name: i.ItemName, Category: i.ItemGroup})
	}
	return page, nil
}

// levelsCursor is a place in an enumeration of levels: the warehouses and the position of its first page hold for all of it.
type levelsCursor struct {
	After      string         `json:"after"`
	Warehouses []string       `json:"warehouses"`
	Position   stock.Position `json:"position"`
}

// Levels implements connectors.SystemOfRecord. A page is a number of items, each with its quantity in every warehouse, read
// in one transaction. An item that never was in a warehouse has no Bin there: that is how ERPNext says 0. The position is
// only the instant before the reading.
func (r *record) Levels(ctx context.Context, from connectors.Cursor) (connectors.LevelPage, error) {
	const op = "list levels"
	var at levelsCursor
	if from != "" {
		if err := json.Unmarshal([]byte(from), &at); err != nil {
			return connectors.LevelPage{}, connectors.Rejectedf(op, "", "the cursor %.40q is none of ours", from)
		}
	} else {
		at.Position.SeenAt = time.Now().UTC()
		var err error
		if at.Warehouses, err = r.places(ctx, op); err != nil {
			return connectors.LevelPage{}, err
		}
	}
	rows, last, err := r.items(ctx, op, at.After)
	if err != nil {
		return connectors.LevelPage{}, err
	}
	page := connectors.LevelPage{Position: at.Position, Count: -1}
	if page.Levels, err = r.levelsOf(ctx, op, rows, at.Warehouses); err != nil {
		return connectors.LevelPage{}, err
	}
	if last != "" {
		at.After = last
		next, err := json.Marshal(at)
		if err != nil {
			return connectors.LevelPage{}, connectors.Rejectedf(op, "", "the place in the list cannot be noted: %w", err)
		}
		page.Next = connectors.Cursor(next)
	}
	return page, nil
}

type cell struct{ item, warehouse string }

func (r *record) levelsOf(ctx context.Context, op string, rows []itemRow, warehouses []string) ([]connectors.Statement, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	codes := make([]string, 0, len(rows))
	for _, i := range rows {
		codes = append(codes, i.Name)
	}
	bins, err := list[binRow](ctx, r, op, query{DocType: "Bin", Order: "creation asc", Limit: len(codes)*len(warehouses) + 1,
		Fields:  []string{"item_code", "warehouse", "actual_qty", "reserved_qty", "reserved_qty_for_production", "reserved_qty_for_sub_contract"},
		Filters: []any{[]any{"item_code", "in", codes}, []any{"warehouse", "in", warehouses}}}, true)
	if err != nil {
		return nil, err
	}
	have := make(map[cell]binRow, len(bins))
	for _, b := range bins {
		at := cell{b.Item, b.Warehouse}
		if _, twice := have[at]; twice || !slices.Contains(codes, b.Item) || !slices.Contains(warehouses, b.Warehouse) {
			return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("the Bin of %q in %q was not asked for, or is there twice", b.Item, b.Warehouse))
		}
		have[at] = b
	}
	out := make([]connectors.Statement, 0, len(codes)*len(warehouses))
	for _, i := range rows {
		for _, w := range warehouses {
			var q stock.Quantity
			if b, ok := have[cell{i.Name, w}]; ok {
				if q, err = r.level(b, i.StockUOM); err != nil {
					return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("item %s in %s: %v", i.Name, w, err))
				}
			}
			out = append(out, connectors.Statement{SKU: i.Name, Location: w, Quantity: q})
		}
	}
	return out, nil
}

// level is the number of a Bin that the connection reads.
func (r *record) level(b binRow, unit string) (stock.Quantity, error) {
	if r.number == numberActual {
		return b.Actual.whole("actual_qty", unit)
	}
	for name, n := range map[string]*number{"reserved_qty": b.Reserved, "reserved_qty_for_production": b.ForProduction, "reserved_qty_for_sub_contract": b.ForSubcontr} {
		if n == nil {
			return 0, fmt.Errorf("%s is missing", name)
		}
	}
	if b.Actual == nil {
		return 0, fmt.Errorf("actual_qty is missing")
	}
	left := *b.Actual - *b.Reserved - *b.ForProduction - *b.ForSubcontr
	return left.whole("what is not reserved", unit)
}
