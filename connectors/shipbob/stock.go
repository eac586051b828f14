package shipbob

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// firstPage is the query of a list's first page: as many rows as ShipBob gives at once.
const firstPage = "PageSize=250"

// Locations implements connectors.SystemOfRecord: the fulfillment centers of the account.
func (w *warehouse) Locations(ctx context.Context) ([]connectors.Location, error) {
	const op = "list locations"
	var centers []center
	if err := w.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/fulfillment-center"}, &centers); err != nil {
		return nil, err
	}
	if centers == nil {
		return nil, w.missing(op, "the fulfillment centers")
	}
	locations := make([]connectors.Location, 0, len(centers))
	for _, c := range centers {
		if c.ID <= 0 {
			return nil, w.missing(op, "the id of a fulfillment center")
		}
		locations = append(locations, connectors.Location{ID: strconv.FormatInt(c.ID, 10), Name: c.Name})
	}
	return locations, nil
}

// Items implements connectors.SystemOfRecord. Digital articles and bundles have no stock of their own, and what has no SKU
// cannot be named: both are left out.
func (w *warehouse) Items(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Item], error) {
	const op = "list items"
	var out connectors.Page[connectors.Item]
	rows, next, err := list[inventory](ctx, w, op, "/inventory", firstPage, from)
	if err != nil {
		return out, err
	}
	for _, i := range rows {
		if i.SKU != "" && !i.Variant.Bundle && !i.Variant.Digital {
			out.Rows = append(out.Rows, connectors.Item{SKU: i.SKU, GTIN: i.Barcode, Name: i.Name})
		}
	}
	out.Next = next
	return out, nil
}

// Levels implements connectors.SystemOfRecord. On hand is everything that is stocked at a center; fulfillable is on hand less
// what is committed to orders. ShipBob does not tell how old its numbers are, so they are placed by when the first page was
// asked for.
//
// https://developer.shipbob.com/guides
func (w *warehouse) Levels(ctx context.Context, from connectors.Cursor) (connectors.LevelPage, error) {
	const op = "list levels"
	none := connectors.LevelPage{}
	began, rest := time.Now().UTC(), ""
	if from != "" {
		nanos, query, ok := strings.Cut(string(from), ":")
		n, err := strconv.ParseInt(nanos, 10, 64)
		if !ok || err != nil || n <= 0 || query == "" {
			return none, connectors.Rejectedf(op, "", "%q is not a cursor of the levels", string(from))
		}
		began, rest = time.Unix(0, n).UTC(), query
	}
	rows, next, err := list[inventoryLevel](ctx, w, op, "/inventory-level/locations", firstPage, connectors.Cursor(rest))
	if err != nil {
		return none, err
	}
	out := connectors.LevelPage{Position: stock.Position{SeenAt: began}, Count: -1}
	type key struct{ sku, location string }
	seen := make(map[key]bool)
	for _, i := range rows {
		if i.SKU == "" {
			continue
		}
		for _, l := range i.Locations {
			quantity, name := l.Fulfillable, "fulfillable_quantity"
			if w.basis == stock.OnHandBasis {
				quantity, name = l.OnHand, "on_hand_quantity"
			}
			if quantity == nil || l.ID <= 0 {
				return none, w.missing(op, fmt.Sprintf("the %s or the location of SKU %s", name, i.SKU))
			}
			s := connectors.Statement{SKU: i.SKU, Location: strconv.FormatInt(l.ID, 10), Quantity: *quantity}
			if err := (connectors.Fact{Kind: connectors.StockLevel, Statement: &s}).Validate(); err != nil {
				return none, w.missing(op, fmt.Sprintf("a level that can be, for SKU %s: %v", i.SKU, err))
			}
			at := key{s.SKU, s.Location}
			if seen[at] {
				return none, w.client.Refusal(connectors.Rejected, op, "", fmt.Sprintf("two inventory items have the SKU %s: in the ShipBob dashboard, merge them or rename one", s.SKU))
			}
			seen[at] = true
			out.Levels = append(out.Levels, s)
		}
	}
	if next != "" {
		out.Next = connectors.Cursor(fmt.Sprintf("%d:%s", began.UnixNano(), next))
	}
	return out, nil
}

// Movements implements connectors.SystemOfRecord. It is never called: there are no positions.
func (w *warehouse) Movements(context.Context, int64) (connectors.Page[connectors.Fact], error) {
	return connectors.Page[connectors.Fact]{}, connectors.Rejectedf("list movements", "", "ShipBob numbers no movements; nothing was asked")
}

// knowsSKU looks whether there is an article with the SKU. ShipBob makes a new one of a name that it does not know, and the
// order would wait for it for ever.
func (w *warehouse) knowsSKU(ctx context.Context, op string, sku string) error {
	if _, ok := w.skus.Load(sku); ok {
		return nil
	}
	// Part of a SKU is enough to be found, so that there may be several pages.
	first := url.Values{"SearchBy": {sku}, "PageSize": {"250"}}.Encode()
	for from := connectors.Cursor(""); ; {
		rows, next, err := list[inventory](ctx, w, op, "/inventory", first, from)
		if err != nil {
			return err
		}
		for _, i := range rows {
			if i.SKU == sku {
				w.skus.Store(sku, true)
				return nil
			}
		}
		if from = next; from == "" {
			return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("ShipBob has no inventory item with the SKU %s", sku)}
		}
	}
}
