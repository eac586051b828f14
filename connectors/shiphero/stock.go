package shiphero

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/stock"
)

// pageRows is how many rows one query reads. It costs about as many credits, of the 4004 that there are at most.
const pageRows = 100

// Locations implements connectors.SystemOfRecord: the warehouses of the account.
func (w *warehouse) Locations(ctx context.Context) ([]connectors.Location, error) {
	const op = "list locations"
	data, err := ask[accountData](ctx, w, graphql.Request{Op: op, Document: accountDocument})
	switch {
	case err != nil:
		return nil, err
	case data.Account == nil || data.Account.Data == nil:
		return nil, w.missing(op, "the account")
	}
	var locations []connectors.Location
	for _, h := range data.Account.Data.Warehouses {
		if h == nil || h.ID == "" {
			return nil, w.missing(op, "the id of a warehouse")
		}
		locations = append(locations, connectors.Location{ID: h.ID, Name: h.Identifier})
	}
	return locations, nil
}

// Items implements connectors.SystemOfRecord. A kit that is put together only as it is shipped has no stock of its own, and
// is left out.
func (w *warehouse) Items(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Item], error) {
	const op = "list items"
	var page connectors.Page[connectors.Item]
	data, err := ask[productsData](ctx, w, graphql.Request{Op: op, Document: productsDocument, Variables: pageVariables{First: pageRows, After: string(from), Customer: w.customer}})
	switch {
	case err != nil:
		return page, err
	case data.Products == nil || data.Products.Data == nil:
		return page, w.missing(op, "the products")
	}
	for _, e := range data.Products.Data.Edges {
		if e == nil || e.Node == nil || e.Node.SKU == "" {
			return connectors.Page[connectors.Item]{}, w.missing(op, "the SKU of a product")
		}
		if !e.Node.Kit || e.Node.KitBuild {
			page.Rows = append(page.Rows, connectors.Item{SKU: e.Node.SKU, GTIN: e.Node.Barcode, Name: e.Node.Name})
		}
	}
	next, err := next(w, op, data.Products.Data, string(from))
	page.Next = connectors.Cursor(next)
	return page, err
}

// next is the cursor of the page behind, empty at the end. A list that leads back to where it was would not end.
func next[T any](w *warehouse, op string, c *connection[T], after string) (string, error) {
	switch p := c.PageInfo; {
	case !p.HasNextPage:
		return "", nil
	case p.EndCursor == "":
		return "", w.missing(op, "the cursor of the next page")
	case p.EndCursor == after:
		return "", w.client.Refusal(connectors.Retryable, op, "", "the list leads from a page to the same page again")
	default:
		return p.EndCursor, nil
	}
}

// levelsCursor is a place in an enumeration of levels: when it began, whose rows it has, and the page.
type levelsCursor struct {
	began   time.Time
	account string
	after   string
}

func (c levelsCursor) encode() connectors.Cursor {
	return connectors.Cursor(fmt.Sprintf("%d:%s:%s", c.began.UnixNano(), c.account, c.after))
}

func parseLevelsCursor(from connectors.Cursor) (levelsCursor, error) {
	if from == "" {
		return levelsCursor{began: time.Now().UTC()}, nil
	}
	parts := strings.SplitN(string(from), ":", 3)
	if len(parts) == 3 && parts[2] != "" {
		if nanos, err := strconv.ParseInt(parts[0], 10, 64); err == nil && nanos > 0 {
			return levelsCursor{began: time.Unix(0, nanos).UTC(), account: parts[1], after: parts[2]}, nil
		}
	}
	return levelsCursor{}, fmt.Errorf("%q is not a cursor of the levels", string(from))
}

// Levels implements connectors.SystemOfRecord. ShipHero does not tell how old its numbers are, so they are placed by when the
// first page was asked for.
func (w *warehouse) Levels(ctx context.Context, from connectors.Cursor) (connectors.LevelPage, error) {
	const op = "list levels"
	none := connectors.LevelPage{}
	at, err := parseLevelsCursor(from)
	if err != nil {
		return none, connectors.Rejectedf(op, "", "%w", err)
	}
	data, err := ask[levelsData](ctx, w, graphql.Request{Op: op, Document: levelsDocument, Variables: pageVariables{First: pageRows, After: at.after, Customer: w.customer}})
	switch {
	case err != nil:
		return none, err
	case data.WarehouseProducts == nil || data.WarehouseProducts.Data == nil:
		return none, w.missing(op, "the products of the warehouses")
	}
	page := connectors.LevelPage{Position: stock.Position{SeenAt: at.began}, Count: -1}
	type key struct{ sku, location string }
	seen := make(map[key]bool)
	for _, e := range data.WarehouseProducts.Data.Edges {
		if e == nil || e.Node == nil {
			return none, w.missing(op, "a product of a warehouse")
		}
		if at.account == "" {
			at.account = strings.ReplaceAll(e.Node.AccountID, ":", "")
		}
		if other := strings.ReplaceAll(e.Node.AccountID, ":", ""); other != at.account {
			return none, connectors.Rejectedf(op, "", "the levels are of several customers (%s and %s), whose SKUs would be mixed up: write the account of one of them into %s",
				w.client.Redact(at.account), w.client.Redact(other), settingCustomer)
		}
		s, err := w.statement(e.Node)
		if err == nil && seen[key{s.SKU, s.Location}] {
			err = fmt.Errorf("one level of %s at warehouse %s: there are two", s.SKU, s.Location)
		}
		if err != nil {
			return none, w.missing(op, err.Error())
		}
		seen[key{s.SKU, s.Location}] = true
		page.Levels = append(page.Levels, s)
	}
	after, err := next(w, op, data.WarehouseProducts.Data, at.after)
	if err != nil {
		return none, err
	}
	if after != "" {
		at.after = after
		page.Next = at.encode()
	}
	return page, nil
}

// statement translates a row. On hand is what lies in sellable bins; available is on hand less what is allocated to open
// orders. What the merchant holds back from sale (Reserve) is part of both, and taken off here, as ShipHero does before it
// tells its own channels; what will be sold ahead of its arrival (Sell Ahead) is part of neither.
//
// https://software-help.shiphero.com/hc/en-us/articles/4419344505229
func (w *warehouse) statement(p *warehouseProduct) (connectors.Statement, error) {
	s := connectors.Statement{SKU: p.SKU, Location: p.WarehouseID}
	quantity, name := p.Available, "available"
	if w.basis == stock.OnHandBasis {
		quantity, name = p.OnHand, "on_hand"
	}
	if quantity == nil {
		return s, fmt.Errorf("%s of SKU %s at warehouse %s", name, p.SKU, p.WarehouseID)
	}
	s.Quantity = *quantity
	if p.Reserve != nil {
		if *p.Reserve < 0 || *p.Reserve > stock.MaxQuantity {
			return s, fmt.Errorf("a reserve that can be, for SKU %s at warehouse %s: it is %d", p.SKU, p.WarehouseID, *p.Reserve)
		}
		s.Quantity -= *p.Reserve
	}
	if err := (connectors.Fact{Kind: connectors.StockLevel, Statement: &s}).Validate(); err != nil {
		return s, fmt.Errorf("a level that can be, for SKU %s: %w", p.SKU, err)
	}
	return s, nil
}

// Movements implements connectors.SystemOfRecord. It is never called: there are no positions.
func (w *warehouse) Movements(context.Context, int64) (connectors.Page[connectors.Fact], error) {
	return connectors.Page[connectors.Fact]{}, connectors.Rejectedf("list movements", "", "ShipHero numbers no movements; nothing was asked")
}
