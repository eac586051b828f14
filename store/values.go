package store

import (
	"fmt"
	"math"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// Instants are stored as nanoseconds since 1970 in UTC, a bigint: it sorts, compares and comes back exactly, on both
// databases. 0 is the zero time. What lies before 1678 or after 2261 is stored as the nearest instant that fits.

var (
	earliest = time.Unix(0, math.MinInt64)
	latest   = time.Unix(0, math.MaxInt64)
)

func nanos(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Before(earliest):
		return math.MinInt64
	case t.After(latest):
		return math.MaxInt64
	}
	return t.UnixNano()
}

func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// optional is the value of a column that may be null.
func optional(q *stock.Quantity) any {
	if q == nil {
		return nil
	}
	return int64(*q)
}

func (r row) time(i int) time.Time { return instant(r.number(i)) }

func (r row) quantity(i int) stock.Quantity { return stock.Quantity(r.number(i)) }

func (r row) optional(i int) *stock.Quantity {
	n, ok := r[i].(int64)
	if !ok {
		return nil
	}
	q := stock.Quantity(n)
	return &q
}

func (r row) listingKey(i int) stocksync.ListingKey {
	return stocksync.ListingKey{Connection: stock.ConnectionID(r.text(i)), Ref: connectors.Ref{Item: r.text(i + 1), Place: r.text(i + 2)}}
}

func (r row) levelKey(i int) stocksync.LevelKey {
	return stocksync.LevelKey{SKU: stock.SKU(r.text(i)), Location: stock.LocationID(r.text(i + 1))}
}

func (r row) position(i int) stock.Position {
	n := r.number(i)
	return stock.Position{Sequenced: n != unsequenced, Sequence: max(n, 0), SourceAt: r.time(i + 1), SeenAt: r.time(i + 2)}
}

func listingRow(k stocksync.ListingKey, more ...any) []any {
	return append([]any{string(k.Connection), k.Item, k.Place}, more...)
}

func listingRows(keys []stocksync.ListingKey) [][]any {
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = listingRow(k)
	}
	return rows
}

func skuRows(skus []stock.SKU) [][]any {
	rows := make([][]any, len(skus))
	for i, s := range skus {
		rows[i] = []any{string(s)}
	}
	return rows
}

func orderRows(keys []stocksync.OrderKey) [][]any {
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = []any{string(k.Channel), k.OrderID}
	}
	return rows
}

// encode writes a document as JSON text. Broken UTF-8 from outside is replaced rather than refused.
func encode(v any) (string, error) {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return "", fmt.Errorf("write a %T as JSON: %w", v, err)
	}
	return string(b), nil
}

func decode[T any](text string) (T, error) {
	var v T
	if text == "" {
		return v, nil
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return v, fmt.Errorf("read a stored %T: %w", v, err)
	}
	return v, nil
}

// unsequenced stands in a column of positions for a source without a sequence.
const unsequenced = -1

func sequence(p stock.Position) int64 {
	if !p.Sequenced {
		return unsequenced
	}
	return p.Sequence
}
