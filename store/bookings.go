package store

import (
	"math"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	saveBookings = table{"bookings", join(texts("resource"), numbers("starts_at"), texts("channel", "order_id", "line_id", "sku")), numbers("ends_at", "units", "at")}.upsert()
	findBookings = bulk(1, join(texts("resource"), numbers("after", "until")), `SELECT bookings.resource, starts_at, ends_at, CAST(sum(units) AS bigint) FROM bookings{,}
		WHERE bookings.resource = v.resource AND ends_at > v.after AND units <> 0 AND bookings.at <= v.until
		GROUP BY bookings.resource, starts_at, ends_at ORDER BY bookings.resource, starts_at, ends_at`)
	// Windows of a service are named after it with an @ and the start; A is what follows @.
	findWindowSKUs = bulk(1, texts("first", "past"), "SELECT DISTINCT components.sku FROM components{,} WHERE components.sku >= v.first AND components.sku < v.past ORDER BY components.sku")
)

func (t ledgerTx) saveBookings(c stocksync.Changes) error {
	rows := make([][]any, len(c.Bookings))
	for i, b := range c.Bookings {
		rows[i] = []any{b.Resource, nanos(b.Start), string(b.Channel), b.OrderID, b.LineID, string(b.SKU), nanos(b.End), int64(b.Units), nanos(b.At)}
	}
	_, err := t.exec(saveBookings, rows)
	return err
}

// Booked are the bookings of resources, those of one span as one.
func (t *txn) Booked(resources []string, after, madeUntil time.Time) ([]stock.Booking, error) {
	until := int64(math.MaxInt64)
	if !madeUntil.IsZero() {
		until = nanos(madeUntil)
	}
	rows := make([][]any, len(resources))
	for i, name := range resources {
		rows[i] = []any{name, nanos(after), until}
	}
	var found []stock.Booking
	err := t.query(findBookings, rows, func(r row) error {
		found = append(found, stock.Booking{Window: stock.Window{Resource: r.text(0), Start: r.time(1), End: r.time(2)}, Units: r.quantity(3)})
		return nil
	})
	return found, during("load bookings", err)
}

// WindowSKUs are the SKUs of listings that stand for single windows of services.
func (t *txn) WindowSKUs(services []stock.SKU) (found []stock.SKU, err error) {
	rows := make([][]any, len(services))
	for i, sku := range services {
		rows[i] = []any{string(sku) + "@", string(sku) + "A"}
	}
	err = t.query(findWindowSKUs, rows, func(r row) error {
		found = append(found, stock.SKU(r.text(0)))
		return nil
	})
	return found, during("find windows of services", err)
}

// Sold sums the sales of a span.
func (t *txn) Sold(sku stock.SKU, from, until time.Time) (units stock.Quantity, oldest time.Time, err error) {
	err = t.rows(func(r row) error {
		units, oldest = r.quantity(0), r.time(1)
		return nil
	}, `SELECT CAST(coalesce(sum(units), 0) AS bigint), coalesce(min(placed_at), 0) FROM sales
		WHERE sku = ? AND placed_at >= ? AND placed_at < ? AND units > 0`, string(sku), nanos(from), nanos(until))
	return units, oldest, during("sum sales", err)
}
