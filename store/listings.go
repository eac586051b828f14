package store

import (
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	listingColumns = texts("connection", "item", "place")

	listingsTable = table{"listings", listingColumns, join(texts("sku", "gtin", "title", "status"), flags("mapped"),
		numbers("target", "generation"), texts("held"), numbers("published", "published_generation", "published_at",
			"confirmed", "confirmed_generation", "confirmed_at"), texts("last_error"),
		numbers("attempts", "recheck_at", "changed_at", "cleared", "peak", "writes", "taken", "published_taken", "confirmed_taken",
			"foreign_count", "foreign_at", "contested_at"), texts("unknown_id"), numbers("unknown_delta", "unknown_quantity", "unknown_taken"), flags("stop_wanted", "stopped"))}

	// selectListings is the beginning of every query for whole listings; row.listing reads its rows.
	selectListings = "SELECT " + list("listings.", join(listingsTable.key, listingsTable.rest)) + " FROM "

	// selectDue reads listings that are due and, behind the columns of each, when it was marked.
	selectDue = "SELECT " + list("listings.", join(listingsTable.key, listingsTable.rest)) + `, next.marked_at FROM
		(SELECT connection, item, place, due_at, marked_at FROM push_due WHERE connection = ? AND lower = ? AND due_at <= ?
		ORDER BY due_at, item, place LIMIT ?) AS next JOIN listings ON listings.connection = next.connection
		AND listings.item = next.item AND listings.place = next.place ORDER BY next.due_at, next.item, next.place`

	findListings = listingsTable.find(listingColumns, "")

	addListings = bulk(3, join(listingColumns, texts("sku", "gtin", "title", "status")),
		`INSERT INTO listings (connection, item, place, sku, gtin, title, status)
		{VALUES v.connection, v.item, v.place, v.sku, v.gtin, v.title, v.status} ON CONFLICT (connection, item, place) DO NOTHING`)

	// lockListings makes a transaction wait for another one that has any of the listings. Whoever changes what a listing
	// should show, or when it is due, takes its row first; so two of them never wait for each other. SQLite has one writer
	// and needs no locks.
	lockListings = bulk(3, listingColumns, `SELECT 1 FROM listings{,} WHERE `+listingsTable.matches(listingColumns)+
		` ORDER BY listings.connection, listings.item, listings.place FOR UPDATE OF listings`)

	pushDueTable  = table{"push_due", listingColumns, join(flags("lower"), numbers("due_at", "marked_at"))}
	removePushDue = pushDueTable.remove(3)

	// markPushDue makes listings due, but for those that a person holds; one that is due earlier stays so, and keeps its
	// place among lowers and raises.
	markPushDue = bulk(3, join(listingColumns, numbers("at")),
		`INSERT INTO push_due (connection, item, place, lower, due_at, marked_at)
		SELECT listings.connection, listings.item, listings.place, FALSE, v.at, v.at FROM listings{,} WHERE `+listingsTable.matches(listingColumns)+` AND listings.held_by = 0
		ON CONFLICT (connection, item, place) DO UPDATE SET
		due_at = CASE WHEN excluded.due_at < push_due.due_at THEN excluded.due_at ELSE push_due.due_at END,
		marked_at = CASE WHEN excluded.marked_at > push_due.marked_at THEN excluded.marked_at ELSE push_due.marked_at END`)
)

func (r row) listing() *stocksync.Listing {
	l := &stocksync.Listing{
		ListingKey: r.listingKey(0), SKU: r.text(3), GTIN: r.text(4), Title: r.text(5),
		Status: connectors.ListingStatus(r.text(6)), Mapped: r.flag(7),
		Target: r.optional(8), Generation: r.number(9), Held: r.text(10),
		Published: r.optional(11), PublishedGeneration: r.number(12), PublishedAt: r.time(13),
		Confirmed: r.optional(14), ConfirmedGeneration: r.number(15), ConfirmedAt: r.time(16),
		LastError: r.text(17), Attempts: int(r.number(18)), RecheckAt: r.time(19), ChangedAt: r.time(20), Cleared: r.number(21), Peak: r.quantity(22),
		Writes: r.number(23), Taken: r.quantity(24), PublishedTaken: r.quantity(25), ConfirmedTaken: r.quantity(26),
		Foreign: int(r.number(27)), ForeignAt: r.time(28), ContestedAt: r.time(29),
	}
	l.StopWanted, l.Stopped = r.flag(34), r.flag(35)
	if id := r.text(30); id != "" {
		l.Unknown = &stocksync.OpenWrite{ID: id, Delta: r.quantity(31), Quantity: r.quantity(32), Taken: r.quantity(33)}
	}
	return l
}

// listingWidth is how many columns row.listing reads.
var listingWidth = len(listingsTable.key) + len(listingsTable.rest)

// Listings loads listings.
func (t *txn) Listings(keys []stocksync.ListingKey) (map[stocksync.ListingKey]*stocksync.Listing, error) {
	found := make(map[stocksync.ListingKey]*stocksync.Listing, len(keys))
	err := t.query(findListings, listingRows(keys), func(r row) error {
		l := r.listing()
		found[l.ListingKey] = l
		return nil
	})
	return found, during("load listings", err)
}

// lock takes the rows of listings.
func (t *txn) lock(keys []stocksync.ListingKey) error {
	if t.dialect != postgres {
		return nil
	}
	return t.query(lockListings, listingRows(keys), func(row) error { return nil })
}

func (t *txn) markDue(keys []stocksync.ListingKey, at time.Time) error {
	if err := t.lock(keys); err != nil {
		return err
	}
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = listingRow(k, nanos(at))
	}
	_, err := t.exec(markPushDue, rows)
	return err
}

// shown is what a listing shows as far as we know: confirmed, or published where nothing was confirmed yet.
func shown(l *stocksync.Listing) *stock.Quantity {
	if l.Confirmed != nil {
		return l.Confirmed
	}
	return l.Published
}

func showsMore(l *stocksync.Listing) bool {
	q := shown(l)
	return q != nil && *q > 0
}
