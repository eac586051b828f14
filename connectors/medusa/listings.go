package medusa

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// listingOverlap is how many listings a page reads again before its place: as many may be deleted between two pages
// without a second look.
const listingOverlap = 20

// listingCursor is the place behind the variant last, which was row number skip-1 of the list.
type listingCursor struct {
	skip int
	last string
}

func (c listingCursor) encode() connectors.Cursor {
	return connectors.Cursor(strconv.Itoa(c.skip) + ":" + c.last)
}

func parseListingCursor(from connectors.Cursor) (listingCursor, error) {
	if from == "" {
		return listingCursor{}, nil
	}
	skip, last, found := strings.Cut(string(from), ":")
	n, err := strconv.Atoi(skip)
	if !found || err != nil || n < 1 || n > math.MaxInt32 || last == "" {
		return listingCursor{}, fmt.Errorf("%q is not a cursor of the listings", string(from))
	}
	return listingCursor{skip: n, last: last}, nil
}

// Listings implements connectors.Marketplace: every variant, by id. The list is paged by number of rows, so each page looks
// for the last row of the one before. Where that row was deleted meanwhile, rows from before it come again rather than that
// one is left out.
func (s *shop) Listings(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Listing], error) {
	const op = "list the listings"
	none := connectors.Page[connectors.Listing]{}
	cursor, err := parseListingCursor(from)
	if err != nil {
		return none, connectors.Rejectedf(op, "", "%w", err)
	}
	p, err := s.keptPlace(ctx, op)
	if err != nil {
		return none, err
	}
	start := max(0, cursor.skip-listingOverlap)
	rows, err := s.variants(ctx, op, start)
	if err != nil {
		return none, err
	}
	seen := slices.IndexFunc(rows, func(v variant) bool { return v.ID == cursor.last })
	if cursor.last != "" && seen < 0 {
		start = max(0, start-batchSize)
		if rows, err = s.variants(ctx, op, start); err != nil {
			return none, err
		}
	}
	var page connectors.Page[connectors.Listing]
	for i := range rows[seen+1:] {
		v := &rows[seen+1+i]
		l, err := v.listing(p)
		if err != nil {
			return none, s.missing(op, err.Error())
		}
		if p.channel == "" || v.soldIn(p.channel) {
			page.Rows = append(page.Rows, l)
		}
	}
	if len(rows) == batchSize+listingOverlap {
		page.Next = listingCursor{skip: start + len(rows), last: rows[len(rows)-1].ID}.encode()
	}
	return page, nil
}

// variants reads one page of the list.
func (s *shop) variants(ctx context.Context, op string, offset int) ([]variant, error) {
	var got variantsAnswer
	query := url.Values{
		"order": {"id"}, "limit": {strconv.Itoa(batchSize + listingOverlap)}, "offset": {strconv.Itoa(offset)}, "fields": {listingFields},
	}
	if err := s.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/admin/product-variants", Query: query}, &got); err != nil {
		return nil, err
	}
	if got.Variants == nil {
		return nil, s.missing(op, "the variants")
	}
	return got.Variants, nil
}

func (v *variant) listing(p place) (connectors.Listing, error) {
	l, err := v.at(p.location)
	if err != nil {
		return connectors.Listing{}, err
	}
	if v.Product == nil {
		return connectors.Listing{}, fmt.Errorf("the product of variant %s", v.ID)
	}
	status := connectors.StatusActive
	if v.Product.Status != "published" {
		status = connectors.StatusStopped
	}
	return connectors.Listing{
		Ref:       connectors.Ref{Item: v.ID},
		SKU:       v.SKU,
		GTIN:      cmp.Or(v.EAN, v.UPC, v.Barcode),
		Title:     strings.TrimSuffix(v.Product.Title+" – "+v.Title, " – "),
		Quantity:  l.available(),
		Unlimited: l.unlimited(),
		Status:    status,
		UpdatedAt: utcMillis(v.UpdatedAt),
	}, nil
}

func (v *variant) soldIn(channel string) bool {
	return slices.ContainsFunc(v.Product.SalesChannels, func(n named) bool { return n.ID == channel })
}
