package amazon

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

const (
	// pageSize is the most listings in an answer, and in a question by SKU (searchListingsItems).
	pageSize = 20
	// singleReads is up to how many listings are read one by one, from the listing itself; more are searched for.
	singleReads = 10
	// longestList is how many listings a search leads to; it is begun anew behind the last one once anchorPages were read.
	longestList = 1000
	anchorPages = 40
	// merchant is the channel of stock that the seller ships; those of Amazon's own warehouses begin with amazonsOwn.
	merchant   = "DEFAULT"
	amazonsOwn = "AMAZON"
	// sightingLife is for how long it is believed how a listing is fulfilled.
	sightingLife = 10 * time.Minute
)

// standing is what a listing shows, or why that is no number of ours.
type standing struct {
	quantity stock.Quantity
	// byAmazon is true where Amazon ships from its own stock. absent is true where no quantity is told.
	byAmazon, absent bool
}

func (i item) standing() standing {
	at := standing{absent: true}
	for _, a := range i.Availability {
		switch {
		case strings.HasPrefix(a.Channel, amazonsOwn):
			return standing{byAmazon: true}
		case a.Channel == merchant && a.Quantity != nil && *a.Quantity >= 0:
			at = standing{quantity: *a.Quantity}
		}
	}
	return at
}

// why says why the listing cannot be read or written, empty where it can.
func (s standing) why(sku string) string {
	switch {
	case s.byAmazon:
		return fmt.Sprintf("%s is fulfilled by Amazon, from stock that only Amazon counts: take its mapping away here, or change it in Seller Central → Manage All Inventory to \"fulfilled by merchant\"", sku)
	case s.absent:
		return fmt.Sprintf("Amazon tells no quantity of %s: complete its offer in Seller Central → Manage All Inventory", sku)
	}
	return ""
}

// summaryOf is the part of a listing about the marketplace.
func (i item) summaryOf(marketplace string) (summary, bool) {
	for _, s := range i.Summaries {
		if s.MarketplaceID == marketplace {
			return s, true
		}
	}
	return summary{}, false
}

// listingCursor is the page behind a token, or the first, of the search for listings created since begin; pages of it were
// read.
type listingCursor struct {
	begin time.Time
	pages int
	token string
}

func (c listingCursor) encode() connectors.Cursor {
	return connectors.Cursor(fmt.Sprintf("%d:%d:%s", c.begin.UnixMilli(), c.pages, c.token))
}

func parseListingCursor(text connectors.Cursor) (listingCursor, error) {
	if text == "" {
		return listingCursor{begin: time.Unix(0, 0).UTC()}, nil
	}
	begin, rest, one := strings.Cut(string(text), ":")
	pages, token, two := strings.Cut(rest, ":")
	at, errBegin := strconv.ParseInt(begin, 10, 64)
	n, errPages := strconv.Atoi(pages)
	if !one || !two || errBegin != nil || errPages != nil || n < 0 || n > longestList || at < 0 || at > 1<<50 {
		return listingCursor{}, fmt.Errorf("%q is not a cursor of the listings", string(text))
	}
	return listingCursor{begin: time.UnixMilli(at).UTC(), pages: n, token: token}, nil
}

// Listings implements connectors.Marketplace: the listings that the seller ships, by the instant of their creation. Amazon
// lists only the first thousand of a search, so it is begun anew before that, with those created since the last one.
//
// That a search ends after a thousand: https://github.com/amzn/selling-partner-api-models/issues/4544.
func (m *market) Listings(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Listing], error) {
	const op = "list the listings"
	none := connectors.Page[connectors.Listing]{}
	cursor, err := parseListingCursor(from)
	if err != nil {
		return none, connectors.Rejectedf(op, "", "%w", err)
	}
	query := url.Values{
		"marketplaceIds": {m.marketplaces[0]}, "includedData": {"summaries,fulfillmentAvailability"},
		"sortBy": {"createdDate"}, "sortOrder": {"ASC"}, "pageSize": {strconv.Itoa(pageSize)},
	}
	if cursor.begin.Unix() > 0 {
		query.Set("createdAfter", cursor.begin.Format(time.RFC3339Nano))
	}
	if cursor.token != "" {
		query.Set("pageToken", cursor.token)
	}
	var found searchedItems
	status := 0
	err = m.do(ctx, call{op: op, operation: searchListingsItems, path: m.itemsPath(""), query: query, status: &status}, &found)
	if cursor.token != "" && status == http.StatusBadRequest {
		// It says now and then, of a token of its own, that it does not fit the question, and takes it seconds later:
		// https://github.com/amzn/selling-partner-api-models/issues/4977.
		return none, m.refuse(connectors.Retryable, op, "InvalidInput", err.Error())
	}
	if err != nil {
		return none, err
	}
	rows, next, err := cursor.behind(op, found, m.marketplaces[0])
	if err != nil {
		return none, err
	}
	page := connectors.Page[connectors.Listing]{Next: next}
	at := time.Now()
	for _, i := range rows {
		s := i.standing()
		m.sight(i.SKU, s, at)
		if l, ok := i.listing(m.marketplaces[0], s); ok {
			page.Rows = append(page.Rows, l)
		}
	}
	return page, nil
}

// behind is the cursor of the next page, and the rows of this one: before the search is begun anew, those that were
// created at the same instant as the last are left to the new one.
func (c listingCursor) behind(op string, found searchedItems, marketplace string) ([]item, connectors.Cursor, error) {
	rows, next := found.Items, found.Pagination.NextToken
	for _, i := range rows {
		if i.SKU == "" {
			return nil, "", connectors.Rejectedf(op, "", "a listing of the list has no SKU; the answer is not understood")
		}
	}
	switch {
	case next == "" && found.Total > longestList && c.pages*pageSize+len(rows) < found.Total:
		return nil, "", connectors.Rejectedf(op, "", "Amazon lists %d of %d listings that were created at once; the list cannot be read to its end", c.pages*pageSize+len(rows), found.Total)
	case next == "":
		return rows, "", nil
	case next == c.token:
		return nil, "", &connectors.Error{Kind: connectors.Retryable, Op: op, Err: fmt.Errorf("the list leads from a page to the same page again")}
	}
	c.pages++
	if c.pages >= anchorPages && len(rows) > 0 {
		created := func(i item) time.Time {
			s, _ := i.summaryOf(marketplace)
			return s.Created
		}
		last := created(rows[len(rows)-1])
		if first := slices.IndexFunc(rows, func(i item) bool { return !created(i).Before(last) }); first > 0 && last.After(c.begin) {
			return rows[:first], listingCursor{begin: last}.encode(), nil
		}
	}
	c.token = next
	return rows, c.encode(), nil
}

// listing translates a listing. One that Amazon ships, or whose offer is not complete, is none of ours.
func (i item) listing(marketplace string, s standing) (connectors.Listing, bool) {
	if s.byAmazon || s.absent {
		return connectors.Listing{}, false
	}
	about, _ := i.summaryOf(marketplace)
	l := connectors.Listing{
		Ref: connectors.Ref{Item: i.SKU}, SKU: i.SKU, Title: about.ItemName, Quantity: s.quantity, Status: connectors.StatusStopped, UpdatedAt: about.Updated.UTC(),
	}
	if slices.Contains(about.Status, "BUYABLE") {
		l.Status = connectors.StatusActive
	}
	return l, true
}

// itemsPath is the path of a listing, or of all.
func (m *market) itemsPath(sku string) string {
	path := "/listings/2021-08-01/items/" + url.PathEscape(m.seller)
	if sku != "" {
		path += "/" + url.PathEscape(sku)
	}
	return path
}

// ReadStock implements connectors.Marketplace.
func (m *market) ReadStock(ctx context.Context, refs []connectors.Ref) ([]connectors.Reading, error) {
	const op = "read stock"
	if err := withinBatch(op, len(refs)); err != nil {
		return nil, err
	}
	at := time.Now().UTC()
	var skus []string
	for _, r := range refs {
		if isSKU(r) && !slices.Contains(skus, r.Item) {
			skus = append(skus, r.Item)
		}
	}
	found, err := m.look(ctx, op, skus)
	if err != nil {
		return nil, err
	}
	readings := make([]connectors.Reading, 0, len(refs))
	for _, r := range refs {
		s, known := found[r.Item]
		if !known || !isSKU(r) {
			continue
		}
		if why := s.why(r.Item); why != "" {
			return nil, connectors.Rejectedf(op, "", "%s", why)
		}
		readings = append(readings, connectors.Reading{Ref: r, Quantity: s.quantity, At: at})
	}
	return readings, nil
}

// isSKU reports whether the ref can name a listing: https://developer-docs.amazon.com/sp-api/docs/listings-items-api has no
// places.
func isSKU(r connectors.Ref) bool { return r.Item != "" && r.Place == "" }

// look reads what the listings show that Amazon knows.
func (m *market) look(ctx context.Context, op string, skus []string) (map[string]standing, error) {
	found := make(map[string]standing, len(skus))
	take := func(i item) {
		found[i.SKU] = i.standing()
		m.sight(i.SKU, found[i.SKU], time.Now())
	}
	single := skus
	if len(skus) > singleReads {
		// A list of SKUs has commas between them, so one with a comma is read by itself.
		var listed []string
		single = nil
		for _, sku := range skus {
			if strings.Contains(sku, ",") {
				single = append(single, sku)
			} else {
				listed = append(listed, sku)
			}
		}
		for some := range slices.Chunk(listed, pageSize) {
			var page searchedItems
			if err := m.do(ctx, call{op: op, operation: searchListingsItems, path: m.itemsPath(""), query: url.Values{
				"marketplaceIds": {m.marketplaces[0]}, "includedData": {"summaries,fulfillmentAvailability"},
				"identifiersType": {"SKU"}, "identifiers": {strings.Join(some, ",")}, "pageSize": {strconv.Itoa(pageSize)},
			}}, &page); err != nil {
				return nil, err
			}
			for _, i := range page.Items {
				if slices.Contains(some, i.SKU) {
					take(i)
				}
			}
		}
	}
	for _, sku := range single {
		var i item
		status := 0
		err := m.do(ctx, call{op: op, operation: getListingsItem, path: m.itemsPath(sku), status: &status, query: url.Values{
			"marketplaceIds": {m.marketplaces[0]}, "includedData": {"summaries,fulfillmentAvailability"},
		}}, &i)
		switch {
		case status == http.StatusNotFound && notFound(err):
		case err != nil:
			return nil, err
		case i.SKU != sku:
			return nil, connectors.Rejectedf(op, "", "asked for the listing %s, Amazon answered with %s; it is not understood", sku, m.client.Redact(i.SKU))
		default:
			take(i)
		}
	}
	return found, nil
}

// sighting is how a listing was when it was last seen.
type sighting struct {
	standing
	at time.Time
}

func (m *market) sight(sku string, s standing, at time.Time) {
	m.seenMu.Lock()
	defer m.seenMu.Unlock()
	m.seen[sku] = sighting{s, at}
}

// seenLately is how a listing was, where that was seen a short while ago.
func (m *market) seenLately(sku string) (standing, bool) {
	m.seenMu.Lock()
	defer m.seenMu.Unlock()
	s, known := m.seen[sku]
	return s.standing, known && time.Since(s.at) < sightingLife
}
