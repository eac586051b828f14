package sync

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// LinkPreview says what an import of mappings would do. With any error it would do nothing.
type LinkPreview struct {
	Links  []LinkChange   `json:"links" doc:"the listings whose parts would change"`
	Errors []RowErrorView `json:"errors"`
	// Warnings name new SKUs that look like others.
	Warnings []string `json:"warnings"`
}

// LinkChange is one listing that would consist of something else.
type LinkChange struct {
	Connection stock.ConnectionID `json:"connection"`
	Item       string             `json:"item"`
	Place      string             `json:"place,omitempty"`
	Now        *stock.Quantity    `json:"now" doc:"what it should show today; null when it is not mapped or held"`
	Then       *stock.Quantity    `json:"then" doc:"what it would show"`
	Held       string             `json:"held,omitempty" doc:"why it would show nothing new"`
	// Warning is set when the number would change more than tenfold: the units of a pack are easily wrong.
	Warning string `json:"warning,omitempty"`
}

// PreviewMappings says what an import would change, with the number that each link would publish. It changes nothing.
func (e *Engine) PreviewMappings(ctx context.Context, csv io.Reader) (LinkPreview, error) {
	view := LinkPreview{Links: []LinkChange{}, Errors: []RowErrorView{}, Warnings: []string{}}
	table, bad, err := e.parseMappings(ctx, csv)
	if err != nil {
		return view, err
	}
	for _, b := range bad {
		view.Errors = append(view.Errors, RowErrorView{Line: b.Line, Field: b.Field, Value: b.Value, Reason: b.Reason})
	}
	if len(bad) > 0 {
		return view, nil
	}
	if err := e.rememberedCapabilities(ctx); err != nil {
		return view, fmt.Errorf("load what the connections can do: %w", err)
	}
	present, err := e.store.MappingTable(ctx)
	if err != nil {
		return view, fmt.Errorf("load the mapping: %w", err)
	}
	if view.Warnings, err = e.lookAlikes(ctx, table); err != nil {
		return view, err
	}
	before, err := flat(present)
	if err != nil {
		return view, err
	}
	after, err := flat(joined(present, table))
	if err != nil {
		return view, err
	}
	var keys []ListingKey
	for key, components := range after {
		if !slices.Equal(before[key], components) && e.channels[key.Connection] != nil {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareListingKeys)
	for chunk := range slices.Chunk(keys, planBatch) {
		err := e.store.View(ctx, func(tx PlanTx) error {
			p, err := e.loadPlan(linked{tx, after}, chunk)
			if err != nil {
				return err
			}
			for _, key := range chunk {
				view.Links = append(view.Links, p.linkChange(key))
			}
			return nil
		})
		if err != nil {
			return view, fmt.Errorf("compute what the import would publish: %w", err)
		}
	}
	return view, nil
}

func (p *planInput) linkChange(key ListingKey) LinkChange {
	t := p.target(key)
	c := LinkChange{Connection: key.Connection, Item: key.Item, Place: key.Place, Then: t.quantity, Held: t.held}
	if l := p.listings[key]; l != nil {
		c.Now = l.Target
	}
	if c.Now != nil && c.Then != nil && max(*c.Now, *c.Then) > 10*max(1, min(*c.Now, *c.Then)) {
		c.Warning = fmt.Sprintf("%d instead of %d is more than tenfold: look at the units", *c.Then, *c.Now)
	}
	return c
}

func flat(t mapping.Table) (map[ListingKey][]mapping.Component, error) {
	links, err := t.Flatten()
	if err != nil {
		return nil, fmt.Errorf("resolve the kits: %w", err)
	}
	out := make(map[ListingKey][]mapping.Component, len(links))
	for _, l := range links {
		out[ListingKey{l.Connection, l.Ref}] = l.Components
	}
	return out, nil
}

// joined is the mapping after the import of a table: its listings and kits replace those of the same name.
func joined(present, table mapping.Table) mapping.Table {
	links := make(map[ListingKey]bool)
	for _, l := range table.Links {
		links[ListingKey{l.Connection, l.Ref}] = true
	}
	kits := make(map[stock.SKU]bool)
	for _, k := range table.Kits {
		kits[k.SKU] = true
	}
	out := mapping.Table{Links: slices.Clone(table.Links), Kits: slices.Clone(table.Kits)}
	for _, l := range present.Links {
		if !links[ListingKey{l.Connection, l.Ref}] {
			out.Links = append(out.Links, l)
		}
	}
	for _, k := range present.Kits {
		if !kits[k.SKU] {
			out.Kits = append(out.Kits, k)
		}
	}
	return out
}

// parseMappings reads a mapping as CSV, with the SKUs that were renamed since under their present names.
func (e *Engine) parseMappings(ctx context.Context, csv io.Reader) (mapping.Table, []mapping.RowError, error) {
	var known mapping.Connections
	for _, c := range e.sortedChannels() {
		known = append(known, c.id)
	}
	table, bad := mapping.Parse(csv, known)
	if len(bad) > 0 {
		return table, bad, nil
	}
	table, bad, err := e.withNewNames(ctx, table)
	if err != nil {
		return table, nil, fmt.Errorf("look up renamed SKUs: %w", err)
	}
	return table, bad, nil
}

// mostLookAlikes bounds the warnings of an import.
const mostLookAlikes = 20

// lookAlikes warns of SKUs that a table would bring in and that are written almost as others.
func (e *Engine) lookAlikes(ctx context.Context, table mapping.Table) ([]string, error) {
	present, err := e.store.MappingTable(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the mapping: %w", err)
	}
	items, err := e.articles(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[stock.SKU]bool)
	for _, i := range items {
		known[stock.SKU(i.SKU)] = true
	}
	for _, sku := range tableSKUs(present) {
		known[sku] = true
	}
	named := tableSKUs(table)
	warnings := []string{}
	for _, alike := range mapping.LookAlikes(append(sortedKeys(known, cmp.Compare[stock.SKU]), named...)) {
		i := slices.IndexFunc(alike, func(sku stock.SKU) bool { return !known[sku] })
		if i < 0 {
			continue
		}
		if len(warnings) == mostLookAlikes {
			return append(warnings, "more SKUs look like others; they are not listed"), nil
		}
		others := slices.Delete(slices.Clone(alike), i, i+1)
		warnings = append(warnings, fmt.Sprintf("SKU %q is new and looks like %q: they count as different articles. If they are one, correct the file, or rename one to the other", alike[i], others))
	}
	return warnings, nil
}

// tableSKUs are the SKUs that a mapping names.
func tableSKUs(t mapping.Table) []stock.SKU {
	var out []stock.SKU
	for _, r := range t.Rows() {
		out = append(out, r.SKU)
		if r.Connection == mapping.KitConnection {
			out = append(out, stock.SKU(r.Item))
		}
	}
	return out
}

// Unlink takes a listing out of the mapping: it keeps what it shows and is held. While orders of it are open it is
// refused, unless forced: what is promised to them stays promised either way.
func (e *Engine) Unlink(ctx context.Context, key ListingKey, force bool, by string) error {
	l, err := e.listing(ctx, key)
	if err != nil {
		return err
	}
	if !l.Mapped {
		return fmt.Errorf("listing %s is not mapped: %w", listingText(key), ErrNotFound)
	}
	if !force {
		var open stock.Quantity
		err := e.store.View(ctx, func(tx PlanTx) error {
			packs, err := tx.ChannelOpen([]ListingKey{key})
			open = packs[key]
			return err
		})
		if err != nil {
			return fmt.Errorf("count the open orders of %s: %w", listingText(key), err)
		}
		if open > 0 {
			return fmt.Errorf("%w: %d packs of listing %s are in open orders; wait until they are shipped, or force it", ErrInvalid, open, listingText(key))
		}
	}
	now := time.Now().UTC()
	entry := act(now, by, "mapping deleted", "listing "+listingText(key), nil, nil)
	if force {
		entry.Reason = "forced"
	}
	if err := e.store.DeleteMapping(ctx, []ListingKey{key}, now, entry); err != nil {
		return fmt.Errorf("delete the mapping of %s: %w", listingText(key), err)
	}
	return nil
}
