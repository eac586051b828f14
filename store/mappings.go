package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	linksTable = table{"links", texts("connection", "item", "place", "sku"), numbers("units")}
	kitsTable  = table{"kits", texts("sku", "component"), numbers("units")}
	itemsTable = table{"items", texts("sku"), texts("gtin", "name", "kind", "category", "search")}

	saveLinks        = linksTable.upsert()
	removeLinks      = linksTable.remove(3)
	findLinks        = linksTable.find(listingColumns, "")
	findLinksBySKU   = linksTable.find(texts("sku"), "")
	saveKits         = kitsTable.upsert()
	removeKits       = kitsTable.remove(1)
	saveComponents   = componentsTable.upsert()
	removeComponents = componentsTable.remove(3)
	saveItems        = itemsTable.upsert()

	mapListings = bulk(3, listingColumns, `INSERT INTO listings (connection, item, place, mapped)
		{VALUES v.connection, v.item, v.place, TRUE} ON CONFLICT (connection, item, place) DO UPDATE SET mapped = TRUE`)

	// unmapListings leaves what the listing shows, and takes away what it should show.
	unmapListings = bulk(3, join(listingColumns, numbers("at")), `UPDATE listings SET mapped = FALSE, held = '', held_by = 0, target = NULL,
		generation = CASE WHEN listings.target IS NULL THEN listings.generation ELSE listings.generation + 1 END,
		changed_at = CASE WHEN listings.target IS NULL THEN listings.changed_at ELSE v.at END
		{FROM} WHERE `+listingsTable.matches(listingColumns))

	describeListings = bulk(3, join(listingColumns, texts("sku", "gtin", "title", "status")),
		`INSERT INTO listings (connection, item, place, sku, gtin, title, status)
		{VALUES v.connection, v.item, v.place, v.sku, v.gtin, v.title, v.status}
		ON CONFLICT (connection, item, place) DO UPDATE SET sku = excluded.sku, gtin = excluded.gtin, title = excluded.title, status = excluded.status
		WHERE listings.sku <> excluded.sku OR listings.gtin <> excluded.gtin OR listings.title <> excluded.title OR listings.status <> excluded.status`)

	waitingForListings = bulk(3, listingColumns, `SELECT parked_waits.event FROM parked_waits{,}
		WHERE parked_waits.connection = v.connection AND parked_waits.item = v.item AND parked_waits.place = v.place AND parked_waits.connection <> ''`)
	waitingForSKUs = bulk(1, texts("sku"), `SELECT parked_waits.event FROM parked_waits{,} WHERE parked_waits.sku = v.sku AND parked_waits.sku <> ''`)
)

// ImportMapping replaces the mapping of the listings and kits that the table names. Listings that contain one of its
// kits, directly or through another kit, are flattened anew as well. When the kits that are there already and those of
// the table cannot be flattened together, nothing is imported.
func (s *Store) ImportMapping(ctx context.Context, table mapping.Table, at time.Time, acts ...stocksync.AuditEntry) (report stocksync.ImportReport, err error) {
	err = s.act(ctx, "import the mapping", acts, func(t *txn) error {
		touched, err := t.replaceMapping(table)
		if err != nil {
			return err
		}
		if err := t.flatten(touched, at); err != nil {
			return err
		}
		report.Listings = len(table.Links)
		report.Replayed, err = t.replayFor(table)
		return err
	})
	if err != nil {
		return stocksync.ImportReport{}, err
	}
	return report, nil
}

// replaceMapping stores the table's rows and returns the links, as imported, of all listings that this concerns, with
// the kits that there are now.
func (t *txn) replaceMapping(table mapping.Table) (mapping.Table, error) {
	if err := t.replaceKits(table.Kits); err != nil {
		return mapping.Table{}, err
	}
	if err := t.replaceLinks(table.Links); err != nil {
		return mapping.Table{}, err
	}
	kits, err := t.allKits()
	if err != nil {
		return mapping.Table{}, err
	}
	others, err := t.linksWithKits(table.Kits, kits)
	if err != nil {
		return mapping.Table{}, err
	}
	named := make(map[stocksync.ListingKey]bool, len(table.Links))
	links := slices.Clone(table.Links)
	for _, l := range table.Links {
		named[linkKey(l)] = true
	}
	for _, l := range others {
		if !named[linkKey(l)] {
			links = append(links, l)
		}
	}
	return mapping.Table{Links: links, Kits: kits}, nil
}

func linkKey(l mapping.Link) stocksync.ListingKey {
	return stocksync.ListingKey{Connection: l.Connection, Ref: l.Ref}
}

func (t *txn) replaceKits(kits []mapping.Kit) error {
	var old, rows [][]any
	for _, k := range kits {
		old = append(old, []any{string(k.SKU)})
		for _, c := range k.Components {
			rows = append(rows, []any{string(k.SKU), string(c.SKU), int64(c.Units)})
		}
	}
	if _, err := t.exec(removeKits, old); err != nil {
		return err
	}
	_, err := t.exec(saveKits, rows)
	return err
}

func (t *txn) replaceLinks(links []mapping.Link) error {
	var old, rows [][]any
	for _, l := range links {
		old = append(old, listingRow(linkKey(l)))
		for _, c := range l.Components {
			rows = append(rows, listingRow(linkKey(l), string(c.SKU), int64(c.Units)))
		}
	}
	if _, err := t.exec(removeLinks, old); err != nil {
		return err
	}
	_, err := t.exec(saveLinks, rows)
	return err
}

func (t *txn) allKits() ([]mapping.Kit, error) {
	var kits []mapping.Kit
	err := t.rows(func(r row) error {
		sku := stock.SKU(r.text(0))
		if len(kits) == 0 || kits[len(kits)-1].SKU != sku {
			kits = append(kits, mapping.Kit{SKU: sku})
		}
		k := &kits[len(kits)-1]
		k.Components = append(k.Components, mapping.Component{SKU: stock.SKU(r.text(1)), Units: r.quantity(2)})
		return nil
	}, "SELECT sku, component, units FROM kits ORDER BY sku, component")
	return kits, err
}

// linksWithKits finds the listings that contain any of the changed kits, also through other kits.
func (t *txn) linksWithKits(changed, all []mapping.Kit) ([]mapping.Link, error) {
	parents := make(map[stock.SKU][]stock.SKU)
	for _, k := range all {
		for _, c := range k.Components {
			parents[c.SKU] = append(parents[c.SKU], k.SKU)
		}
	}
	concerned := make(map[stock.SKU]bool)
	var reach func(sku stock.SKU)
	reach = func(sku stock.SKU) {
		if concerned[sku] {
			return
		}
		concerned[sku] = true
		for _, p := range parents[sku] {
			reach(p)
		}
	}
	for _, k := range changed {
		reach(k.SKU)
	}
	keys := make(map[stocksync.ListingKey]bool)
	err := t.query(findLinksBySKU, skuRows(order(concerned, cmp.Compare[stock.SKU])), func(r row) error {
		keys[r.listingKey(0)] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	var links []mapping.Link
	err = t.query(findLinks, listingRows(order(keys, compareListings)), func(r row) error {
		links = appendComponent(links, r)
		return nil
	})
	return links, err
}

// appendComponent adds a row of links, which come sorted, to the link that it belongs to.
func appendComponent(links []mapping.Link, r row) []mapping.Link {
	k := r.listingKey(0)
	if len(links) == 0 || linkKey(links[len(links)-1]) != k {
		links = append(links, mapping.Link{Connection: k.Connection, Ref: k.Ref})
	}
	l := &links[len(links)-1]
	l.Components = append(l.Components, mapping.Component{SKU: stock.SKU(r.text(3)), Units: r.quantity(4)})
	return links
}

// flatten stores the components of the table's listings and marks the SKUs that they had and have.
func (t *txn) flatten(table mapping.Table, at time.Time) error {
	flat, err := table.Flatten()
	if err != nil {
		return err
	}
	keys := make([]stocksync.ListingKey, len(flat))
	versions := make([]stocksync.Version, len(flat))
	var rows [][]any
	dirty := make(map[stock.SKU]bool)
	for i, l := range flat {
		keys[i] = linkKey(l)
		versions[i] = stocksync.ComponentsVersion(keys[i], l.Components, at)
		for _, c := range l.Components {
			rows = append(rows, listingRow(keys[i], string(c.SKU), int64(c.Units)))
			dirty[c.SKU] = true
		}
	}
	if err := t.addComponentSKUs(keys, dirty); err != nil {
		return err
	}
	if err := t.saveVersions(versions); err != nil {
		return err
	}
	if err := t.markDirty(order(dirty, cmp.Compare[stock.SKU]), nil); err != nil {
		return err
	}
	if _, err := t.exec(removeComponents, listingRows(keys)); err != nil {
		return err
	}
	if _, err := t.exec(saveComponents, rows); err != nil {
		return err
	}
	_, err = t.exec(mapListings, listingRows(keys))
	return err
}

// addComponentSKUs adds the SKUs that listings consist of until now.
func (t *txn) addComponentSKUs(keys []stocksync.ListingKey, skus map[stock.SKU]bool) error {
	old, err := t.Components(keys)
	for _, components := range old {
		for _, c := range components {
			skus[c.SKU] = true
		}
	}
	return err
}

// replayFor makes the events due that waited for a listing or a SKU of the table.
func (t *txn) replayFor(table mapping.Table) (int, error) {
	skus := make(map[stock.SKU]bool)
	listings := make([]stocksync.ListingKey, len(table.Links))
	for i, l := range table.Links {
		listings[i] = linkKey(l)
		for _, c := range l.Components {
			skus[c.SKU] = true
		}
	}
	for _, k := range table.Kits {
		skus[k.SKU] = true
		for _, c := range k.Components {
			skus[c.SKU] = true
		}
	}
	return t.replay(listings, order(skus, cmp.Compare[stock.SKU]))
}

func (t *txn) replay(listings []stocksync.ListingKey, skus []stock.SKU) (int, error) {
	var events []int64
	collect := func(r row) error {
		events = append(events, r.number(0))
		return nil
	}
	if err := t.query(waitingForListings, listingRows(listings), collect); err != nil {
		return 0, err
	}
	if err := t.query(waitingForSKUs, skuRows(skus), collect); err != nil {
		return 0, err
	}
	return t.unpark(events)
}

// DeleteMapping removes the links of listings: they are unmapped, have no target any more, and nothing is due.
func (s *Store) DeleteMapping(ctx context.Context, keys []stocksync.ListingKey, at time.Time, acts ...stocksync.AuditEntry) error {
	return s.act(ctx, "delete from the mapping", acts, func(t *txn) error {
		if err := t.lock(keys); err != nil {
			return err
		}
		for _, gone := range []*statement{removeLinks, removeComponents, removePushDue} {
			if _, err := t.exec(gone, listingRows(keys)); err != nil {
				return err
			}
		}
		versions := make([]stocksync.Version, len(keys))
		rows := make([][]any, len(keys))
		for i, k := range keys {
			rows[i] = listingRow(k, nanos(at))
			versions[i] = stocksync.ComponentsVersion(k, nil, at)
		}
		if err := t.saveVersions(versions); err != nil {
			return err
		}
		_, err := t.exec(unmapListings, rows)
		return err
	})
}

// MappingTable is the mapping as it was imported.
func (s *Store) MappingTable(ctx context.Context) (table mapping.Table, err error) {
	err = s.look(ctx, "load the mapping", func(t *txn) error {
		if table.Kits, err = t.allKits(); err != nil {
			return err
		}
		return t.rows(func(r row) error {
			table.Links = appendComponent(table.Links, r)
			return nil
		}, "SELECT connection, item, place, sku, units FROM links ORDER BY connection, item, place, sku")
	})
	return table, err
}

// SaveItems stores articles and makes events due that waited for them.
func (s *Store) SaveItems(ctx context.Context, items []connectors.Item, _ time.Time) error {
	return s.change(ctx, "save articles", func(t *txn) error {
		rows := make([][]any, len(items))
		skus := make([]stock.SKU, len(items))
		for i, it := range items {
			rows[i] = []any{it.SKU, it.GTIN, it.Name, it.Kind, it.Category, searchText(it)}
			skus[i] = stock.SKU(it.SKU)
		}
		if _, err := t.exec(saveItems, rows); err != nil {
			return err
		}
		_, err := t.replay(nil, skus)
		return err
	})
}

// searchText is what ListItems searches in: names without regard to case.
func searchText(it connectors.Item) string {
	return strings.ToLower(it.SKU + "\n" + it.GTIN + "\n" + it.Name)
}

// SaveListings stores what a channel says of its listings.
func (s *Store) SaveListings(ctx context.Context, connection stock.ConnectionID, listings []connectors.Listing) error {
	return s.change(ctx, fmt.Sprintf("save listings of %s", connection), func(t *txn) error {
		rows := make([][]any, len(listings))
		for i, l := range listings {
			rows[i] = listingRow(stocksync.ListingKey{Connection: connection, Ref: l.Ref}, l.SKU, l.GTIN, l.Title, string(l.Status))
		}
		_, err := t.exec(describeListings, rows)
		return err
	})
}

// Items pages through the articles.
func (s *Store) Items(ctx context.Context, after stock.SKU, limit int) ([]connectors.Item, error) {
	return s.ListItems(ctx, "", after, limit)
}
