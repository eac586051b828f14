package woocommerce

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

const (
	// listOverlap is how many rows a page reads again before its place: as many may be deleted between two pages without a
	// second look.
	listOverlap = 20
	// listLooks is how often a page looks for its place before the list is given up.
	listLooks = 20
	// parentsPerPage bounds the products whose variations are listed in one page: each is a request of its own.
	parentsPerPage = 10
)

// The types of products that matter. Plug-ins add types, such as variable-subscription.
const (
	typeVariable  = "variable"
	typeVariation = "variation"
	typeGrouped   = "grouped"
	typeExternal  = "external"
)

// item is what is known of a product or a variation.
type item struct {
	parent int64 // of a variation
	// shared is a variation that takes its stock from its product; bare is a product that has none of its own: one with
	// variations that have their own, a group, or one that another shop sells.
	shared, bare bool
}

func (i item) holds() bool { return !i.shared && !i.bare }

func (p *product) item() item {
	variable := strings.HasPrefix(p.Type, typeVariable)
	i := item{
		shared: p.ManageStock == managedByParent,
		bare:   variable && p.ManageStock == managedNot || p.Type == typeGrouped || p.Type == typeExternal,
	}
	if p.Type == typeVariation {
		i.parent = p.ParentID
	}
	return i
}

func (s *shop) learn(p *product) {
	s.itemsMu.Lock()
	defer s.itemsMu.Unlock()
	s.items[p.ID] = p.item()
}

func (s *shop) forget(id int64) {
	s.itemsMu.Lock()
	defer s.itemsMu.Unlock()
	delete(s.items, id)
}

func (s *shop) known(id int64) (item, bool) {
	s.itemsMu.Lock()
	defer s.itemsMu.Unlock()
	i, ok := s.items[id]
	return i, ok
}

// valid refuses what no later step could make sense of.
func (p *product) valid() error {
	switch {
	case p.ID <= 0:
		return errors.New("the id of a product")
	case p.ManageStock == "":
		return fmt.Errorf("manage_stock of product %d", p.ID)
	case p.Type == "":
		return fmt.Errorf("the type of product %d", p.ID)
	}
	return nil
}

// stands is what a product sells. What is not managed sells any number, unless it is marked as out of stock.
func (p *product) stands() (quantity stock.Quantity, unlimited bool, err error) {
	if p.ManageStock == managedNot {
		return 0, p.StockStatus != "outofstock", nil
	}
	quantity, err = p.StockQuantity.whole()
	if err != nil {
		err = fmt.Errorf("stock_quantity of product %d: %w", p.ID, err)
	}
	return quantity, false, err
}

// listCursor is the place behind the product last, which was row number skip-1 of the list.
type listCursor struct {
	skip int
	last int64
}

func (c listCursor) encode() connectors.Cursor {
	return connectors.Cursor(fmt.Sprintf("%d:%d", c.skip, c.last))
}

func parseListCursor(from connectors.Cursor) (listCursor, error) {
	if from == "" {
		return listCursor{}, nil
	}
	skip, last, found := strings.Cut(string(from), ":")
	n, err := strconv.ParseInt(skip, 10, 32)
	id, ok := parseID(last)
	if !found || err != nil || n < 1 || !ok {
		return listCursor{}, fmt.Errorf("%q is not a cursor of the listings", string(from))
	}
	return listCursor{skip: int(n), last: id}, nil
}

// parseID reads the id of something in the shop.
func parseID(text string) (int64, bool) {
	id, err := strconv.ParseInt(text, 10, 64)
	return id, err == nil && id > 0 && id <= math.MaxInt64/2 && strconv.FormatInt(id, 10) == text
}

// Listings implements connectors.Marketplace: every product that has stock of its own, by id, and behind each product with
// variations those of them that do.
func (s *shop) Listings(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Listing], error) {
	const op = "list the listings"
	var none, page connectors.Page[connectors.Listing]
	cursor, err := parseListCursor(from)
	if err != nil {
		return none, connectors.Rejectedf(op, "", "%w", err)
	}
	query := url.Values{"status": {"any"}, "_fields": {productFields}}
	rows, start, full, err := s.rows(ctx, op, "/products", query, cursor)
	if err != nil {
		return none, err
	}
	parents := 0
	for i := range rows {
		p := &rows[i]
		if err := p.valid(); err != nil {
			return none, s.missing(op, err.Error())
		}
		if p.ID <= cursor.last {
			continue
		}
		if page.Rows, err = s.list(op, page.Rows, p, p.Name, p.Status); err != nil {
			return none, err
		}
		if !strings.HasPrefix(p.Type, typeVariable) {
			continue
		}
		if page.Rows, err = s.listVariations(ctx, op, page.Rows, p); err != nil {
			return none, err
		}
		if parents++; parents == parentsPerPage && (full || i+1 < len(rows)) {
			page.Next = listCursor{skip: start + i + 1, last: p.ID}.encode()
			return page, nil
		}
	}
	if full {
		page.Next = listCursor{skip: start + len(rows), last: rows[len(rows)-1].ID}.encode()
	}
	return page, nil
}

// listVariations adds the variations of a product.
func (s *shop) listVariations(ctx context.Context, op string, to []connectors.Listing, parent *product) ([]connectors.Listing, error) {
	query := url.Values{"_fields": {variationFields}}
	var cursor listCursor
	for {
		rows, start, full, err := s.rows(ctx, op, variationsPath(parent.ID), query, cursor)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			v := &rows[i]
			if err := v.of(parent.ID).valid(); err != nil {
				return nil, s.missing(op, err.Error())
			}
			if v.ID <= cursor.last {
				continue
			}
			status := v.Status
			if parent.Status != statusPublished {
				status = parent.Status
			}
			if to, err = s.list(op, to, v, v.title(parent.Name), status); err != nil {
				return nil, err
			}
		}
		if !full {
			return to, nil
		}
		cursor = listCursor{skip: start + len(rows), last: rows[len(rows)-1].ID}
	}
}

func variationsPath(parent int64) string { return fmt.Sprintf("/products/%d/variations", parent) }

// of says of a row from the list of a product that it is a variation of it.
func (p *product) of(parent int64) *product {
	p.ParentID, p.Type = parent, typeVariation
	return p
}

// title is the name of a variation, as the shop makes it: the product's, and what distinguishes the variation.
func (p *product) title(parent string) string {
	var options []string
	for _, a := range p.Attributes {
		if a.Option != "" {
			options = append(options, a.Option)
		}
	}
	if len(options) == 0 {
		return parent
	}
	return parent + " - " + strings.Join(options, ", ")
}

// The statuses of products that matter.
const (
	statusPublished = "publish"
	statusTrash     = "trash"
)

// list adds a product, where it has stock of its own.
func (s *shop) list(op string, to []connectors.Listing, p *product, title, status string) ([]connectors.Listing, error) {
	s.learn(p)
	if !p.item().holds() {
		return to, nil
	}
	quantity, unlimited, err := p.stands()
	if err != nil {
		return nil, s.uncountable(op, err)
	}
	l := connectors.Listing{
		Ref: p.ref(), SKU: p.SKU, GTIN: p.GTIN, Title: title, Quantity: quantity, Unlimited: unlimited,
		Status: connectors.StatusStopped, UpdatedAt: p.ModifiedAt.Time,
	}
	if status == statusPublished {
		l.Status = connectors.StatusActive
	}
	return append(to, l), nil
}

func (p *product) ref() connectors.Ref { return connectors.Ref{Item: strconv.FormatInt(p.ID, 10)} }

func (s *shop) uncountable(op string, err error) error {
	return s.client.Refusal(connectors.Rejected, op, "", err.Error()+"; truestock keeps whole numbers: correct the product under Products → Inventory, or take out the plug-in that sells parts")
}

// rows reads the page of a list behind a place, beginning a little before it. The list is paged by number of rows, so each
// page looks for the last row of the one before: rows that were deleted or came in meanwhile hide no others. A cache that
// takes no notice of the parameters gives the same page for ever; that is found out.
func (s *shop) rows(ctx context.Context, op, path string, query url.Values, after listCursor) (rows []product, start int, full bool, err error) {
	query.Set("orderby", "id")
	query.Set("order", "asc")
	query.Set("per_page", strconv.Itoa(batchSize))
	start = max(0, after.skip-listOverlap)
	for range listLooks {
		query.Set("offset", strconv.Itoa(start))
		rows = nil
		if err := s.read(ctx, op, path, query, &rows); err != nil {
			return nil, 0, false, err
		}
		for i := 1; i < len(rows); i++ {
			if rows[i].ID <= rows[i-1].ID {
				return nil, 0, false, s.client.Refusal(connectors.Rejected, op, "", "the shop does not list by id as it was asked; a plug-in changes the order of the REST API")
			}
		}
		full = len(rows) >= batchSize
		switch {
		case start > 0 && (len(rows) == 0 || rows[0].ID > after.last):
			start = max(0, start-batchSize+listOverlap)
		case full && rows[len(rows)-1].ID <= after.last:
			start += batchSize - listOverlap
		default:
			return rows, start, full, nil
		}
	}
	return nil, 0, false, s.client.Refusal(connectors.Rejected, op, "", "the list does not go on behind "+strconv.FormatInt(after.last, 10)+
		": a cache in front of the shop takes no notice of the page; except /wp-json/ from it")
}
