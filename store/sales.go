package store

import (
	"context"
	"fmt"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// The statements that History runs: of each SKU what the postings before an instant sum to, and the postings of a span.
var (
	sumBefore = bulk(1, join(texts("sku"), numbers("starts")), fmt.Sprintf(`SELECT postings.sku, postings.location,
		CAST(sum(CASE WHEN to_state = %[1]d THEN quantity WHEN from_state = %[1]d THEN -quantity ELSE 0 END) AS bigint),
		CAST(sum(CASE WHEN from_state < %[1]d AND to_state >= %[1]d THEN quantity WHEN from_state >= %[1]d AND to_state < %[1]d THEN -quantity ELSE 0 END) AS bigint),
		CAST(sum(CASE WHEN to_state = %[2]d THEN quantity WHEN from_state = %[2]d THEN -quantity ELSE 0 END) AS bigint)
		FROM postings{,} WHERE postings.sku = v.sku AND postings.at < v.starts GROUP BY postings.sku, postings.location
		ORDER BY postings.sku, postings.location`, stock.Available, stock.Committed))
	findSpan = bulk(1, join(texts("sku"), numbers("starts", "ends")), `SELECT postings.sku, postings.location, from_state, to_state, quantity, postings.at, cause, event, reference
		FROM postings{,} WHERE postings.sku = v.sku AND postings.at >= v.starts AND postings.at < v.ends ORDER BY postings.sku, postings.id`)
)

// StockedSKUs pages through the SKUs that the ledger has levels of.
func (s *Store) StockedSKUs(ctx context.Context, after stock.SKU, limit int) ([]stock.SKU, error) {
	var skus []stock.SKU
	err := s.rows(ctx, func(r row) error {
		skus = append(skus, stock.SKU(r.text(0)))
		return nil
	}, "SELECT DISTINCT sku FROM levels WHERE sku > ? ORDER BY sku LIMIT ?", cleanText(string(after)), limit)
	return skus, during("list the SKUs of the ledger", err)
}

// History hands over what the SKUs had before the span and every posting of it, both of one state of the database.
func (s *Store) History(ctx context.Context, skus []stock.SKU, from, to time.Time, opening func(stocksync.Opening) error, each func(stock.Posting) error) error {
	return s.look(ctx, "read the history of the ledger", func(t *txn) error {
		before, span := make([][]any, len(skus)), make([][]any, len(skus))
		for i, sku := range skus {
			before[i], span[i] = []any{string(sku), nanos(from)}, []any{string(sku), nanos(from), nanos(to)}
		}
		err := t.query(sumBefore, before, func(r row) error {
			return opening(stocksync.Opening{LevelKey: r.levelKey(0), Available: r.quantity(2), OnHand: r.quantity(3), Committed: r.quantity(4)})
		})
		if err != nil {
			return err
		}
		return t.query(findSpan, span, func(r row) error {
			return each(stock.Posting{SKU: stock.SKU(r.text(0)), Location: stock.LocationID(r.text(1)), From: stock.State(r.number(2)), To: stock.State(r.number(3)),
				Quantity: r.quantity(4), At: r.time(5), Cause: stock.Cause{Kind: r.text(6), Event: r.number(7), Reference: r.text(8)}})
		})
	})
}

// OrdersByKey loads order documents.
func (s *Store) OrdersByKey(ctx context.Context, keys []stocksync.OrderKey) (orders map[stocksync.OrderKey]*stocksync.Order, err error) {
	err = s.look(ctx, "load orders", func(t *txn) error {
		orders, err = t.Orders(keys)
		return err
	})
	return orders, err
}
