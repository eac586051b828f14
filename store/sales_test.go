package store

import (
	"testing"
	"time"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s *Store, _ string) {
		entry := func(sku stock.SKU, location stock.LocationID, from, to stock.State, q stock.Quantity, at time.Time) stocksync.LedgerEntry {
			return stocksync.LedgerEntry{Posting: stock.Posting{SKU: sku, Location: location, From: from, To: to, Quantity: q, At: at,
				Cause: stock.Cause{Kind: stock.CauseMovement, Event: 1, Reference: "receipt"}}}
		}
		feed(t, s, stocksync.Changes{At: t0, Entries: []stocksync.LedgerEntry{
			entry("A", "w", stock.Outside, stock.Available, 10, after(-time.Hour)),
			entry("A", "w", stock.Available, stock.Committed, 3, after(-time.Minute)),
			entry("A", "w", stock.Committed, stock.Outside, 1, after(-time.Second)),
			entry("A", "v", stock.Outside, stock.Unavailable, 5, after(-time.Second)),
			entry("B", "w", stock.Outside, stock.Available, 7, after(-time.Hour)),
			entry("A", "w", stock.Available, stock.Committed, 2, t0),
			entry("C", "w", stock.Outside, stock.Available, 9, after(time.Second)),
			entry("A", "w", stock.Committed, stock.Available, 1, after(time.Second)),
			entry("A", "w", stock.Available, stock.Outside, 1, after(time.Minute)),
		}, Levels: []stocksync.HeldLevel{{Level: stock.Level{SKU: "A", Location: "v"}}, {Level: stock.Level{SKU: "A", Location: "w"}}, {Level: stock.Level{SKU: "C", Location: "w"}}}})

		var openings []stocksync.Opening
		var quantities []stock.Quantity
		must(t, s.History(t.Context(), []stock.SKU{"C", "A"}, t0, after(time.Minute), func(o stocksync.Opening) error {
			openings = append(openings, o)
			return nil
		}, func(p stock.Posting) error {
			quantities = append(quantities, p.Quantity)
			return nil
		}))
		same(t, "openings", openings, []stocksync.Opening{
			{LevelKey: stocksync.LevelKey{SKU: "A", Location: "v"}, OnHand: 5},
			{LevelKey: stocksync.LevelKey{SKU: "A", Location: "w"}, Available: 7, OnHand: 9, Committed: 2},
		})
		same(t, "postings", quantities, []stock.Quantity{2, 1, 9})
		same(t, "SKUs", got(s.StockedSKUs(t.Context(), "", 10))(t), []stock.SKU{"A", "C"})
		same(t, "SKUs after A", got(s.StockedSKUs(t.Context(), "A", 10))(t), []stock.SKU{"C"})
	})
}
