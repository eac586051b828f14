// Package mapping is the one crossing from the outside's references to our SKUs: which SKUs a listing sells and how
// many base units of each, which of our locations a channel's place stands for, and under which keys an order and its
// lines are known at the system of record. It is pure given its tables: it does no I/O beyond the reader or writer it
// is handed, reads no clock and keeps no state. It never guesses; a suggestion is for a person to accept.
package mapping

import (
	"cmp"
	"slices"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// Component is one SKU of a listing or a kit. Units counts base units of the SKU in one unit of the listing or kit, from
// 1 to stock.MaxUnits: a pack of six is Units 6.
type Component struct {
	SKU   stock.SKU
	Units stock.Quantity
}

// Link says what one listing sells. A listing with one component is a single article or a pack; with several it is a
// bundle, sold only when every component is there. Several listings may name the same SKU.
type Link struct {
	Connection stock.ConnectionID
	Ref        connectors.Ref
	Components []Component
}

// Kit is a SKU that consists of other SKUs, which may be kits again.
type Kit struct {
	SKU        stock.SKU
	Components []Component
}

// Table is a mapping whose rows passed every check of NewTable. Links are sorted by connection and ref, kits by SKU,
// and the components of each by SKU, so that equal mappings are equal values. Links may name kits: Flatten resolves
// them.
type Table struct {
	Links []Link
	Kits  []Kit
}

// KitConnection is the reserved connection name of the rows that describe kits. No connection can be called so.
const KitConnection stock.ConnectionID = "kit"

// Row is one component of one listing, as the CSV has it. A row of KitConnection is one component of the kit whose SKU
// stands in Item; its Place is empty.
type Row struct {
	// Line is the line of the file on which the row begins, from 1; 0 where the row does not come from a file.
	Line       int
	Connection stock.ConnectionID
	Item       string
	Place      string
	SKU        stock.SKU
	Units      stock.Quantity
}

// compare orders rows as Write writes them. Line does not count.
func (r Row) compare(o Row) int {
	return cmp.Or(r.compareOwner(o), cmp.Compare(r.SKU, o.SKU))
}

// compareOwner orders rows by the listing or kit that they belong to.
func (r Row) compareOwner(o Row) int {
	return cmp.Or(cmp.Compare(r.Connection, o.Connection), cmp.Compare(r.Item, o.Item), cmp.Compare(r.Place, o.Place))
}

// owner names the listing or kit of the row, for people.
func (r Row) owner() string {
	if r.Connection == KitConnection {
		return "kit " + r.Item
	}
	return "listing " + connectors.Ref{Item: r.Item, Place: r.Place}.String() + " of " + string(r.Connection)
}

// NewTable groups rows into listings and kits. It checks every row by itself, that no component stands twice, and that
// the kits can be flattened: no cycle, no more than MaxDepth levels, no sum above stock.MaxUnits. When it returns any
// error the table is the zero value. The errors are sorted by line. It does not check that the connections exist; Parse
// does.
//
// An import that adds to an existing mapping hands over the rows of both, because kits of one may be named in the other.
func NewTable(rows []Row) (Table, []RowError) {
	var errs []RowError
	good := make([]Row, 0, len(rows))
	for _, r := range rows {
		if found := checkRow(r); len(found) > 0 {
			errs = append(errs, found...)
			continue
		}
		good = append(good, r)
	}
	slices.SortStableFunc(good, Row.compare)
	errs = append(errs, duplicates(good)...)

	table, first := group(good)
	errs = append(errs, checkKits(table, first)...)
	if len(errs) > 0 {
		sortErrors(errs)
		return Table{}, errs
	}
	return table, nil
}

// Rows is the inverse of NewTable: the rows of the table, sorted, without lines.
func (t Table) Rows() []Row {
	var rows []Row
	for _, l := range t.Links {
		for _, c := range l.Components {
			rows = append(rows, Row{Connection: l.Connection, Item: l.Ref.Item, Place: l.Ref.Place, SKU: c.SKU, Units: c.Units})
		}
	}
	for _, k := range t.Kits {
		for _, c := range k.Components {
			rows = append(rows, Row{Connection: KitConnection, Item: string(k.SKU), SKU: c.SKU, Units: c.Units})
		}
	}
	slices.SortFunc(rows, Row.compare)
	return rows
}

// duplicates finds the components that stand twice in sorted rows. Each repeat is an error on its own line.
func duplicates(rows []Row) []RowError {
	var errs []RowError
	for i := 1; i < len(rows); i++ {
		if rows[i].compare(rows[i-1]) != 0 {
			continue
		}
		reason := "the component stands twice in the " + rows[i].owner() + ": keep one row with the sum of the units"
		if line := rows[i-1].Line; line > 0 {
			reason += "; the other is on line " + itoa(line)
		}
		errs = append(errs, rowError(rows[i].Line, "sku", string(rows[i].SKU), reason))
	}
	return errs
}

// group builds the table from sorted rows. first holds the first row of each listing and kit, in the order of links
// and then of kits.
func group(rows []Row) (table Table, first owners) {
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].compareOwner(rows[0]) == 0 {
			n++
		}
		components := make([]Component, n)
		line := rows[0].Line
		for i, r := range rows[:n] {
			components[i] = Component{SKU: r.SKU, Units: r.Units}
			line = min(line, r.Line)
		}
		r := rows[0]
		if r.Connection == KitConnection {
			table.Kits = append(table.Kits, Kit{SKU: stock.SKU(r.Item), Components: components})
			first.kits = append(first.kits, line)
		} else {
			ref := connectors.Ref{Item: r.Item, Place: r.Place}
			table.Links = append(table.Links, Link{Connection: r.Connection, Ref: ref, Components: components})
			first.links = append(first.links, line)
		}
		rows = rows[n:]
	}
	return table, first
}

// owners holds the lines on which the links and kits of a table begin, in the table's order.
type owners struct{ links, kits []int }

// checkKits reports what keeps the table from being flattened. A cycle is reported once, at the kit where its name
// begins.
func checkKits(table Table, first owners) []RowError {
	var errs []RowError
	f := newFlattener(table.Kits)
	for i, k := range table.Kits {
		_, err := f.kit(k.SKU)
		if err == nil || !err.concerns(k.SKU) {
			continue
		}
		errs = append(errs, rowError(first.kits[i], "item", string(k.SKU), err.Error()))
	}
	if len(errs) > 0 {
		return errs
	}
	for i, l := range table.Links {
		if _, err := f.flatten(l.Components); err != nil {
			errs = append(errs, rowError(first.links[i], "item", l.Ref.Item, err.Error()))
		}
	}
	return errs
}
