package store

import (
	"context"
	"strings"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var findCommitments = commitmentsTable.find(commitmentsTable.key, "")

// Audit runs fn on one state of the database.
func (s *Store) Audit(ctx context.Context, fn func(tx stocksync.AuditTx) error) error {
	return s.look(ctx, "audit", func(t *txn) error { return fn(auditTx{t}) })
}

// auditTx is the transaction of Audit.
type auditTx struct{ *txn }

var _ stocksync.AuditTx = auditTx{}

// Size counts postings by their newest id, and orders.
func (t auditTx) Size() (size int64, err error) {
	err = t.rows(func(r row) error {
		size = r.number(0)
		return nil
	}, "SELECT (SELECT coalesce(max(id), 0) FROM postings) + (SELECT count(*) FROM orders)")
	return size, during("count postings and orders", err)
}

// StockedSKUs pages through every SKU that any of the ledger's tables names.
func (t auditTx) StockedSKUs(after stock.SKU, limit int) (skus []stock.SKU, err error) {
	sku := cleanText(string(after))
	err = t.rows(func(r row) error {
		skus = append(skus, stock.SKU(r.text(0)))
		return nil
	}, `SELECT sku FROM (SELECT DISTINCT sku FROM levels WHERE sku > ? ORDER BY sku LIMIT ?) AS a
		UNION SELECT sku FROM (SELECT DISTINCT sku FROM postings WHERE sku > ? ORDER BY sku LIMIT ?) AS b
		UNION SELECT sku FROM (SELECT DISTINCT sku FROM statements WHERE sku > ? ORDER BY sku LIMIT ?) AS c
		UNION SELECT sku FROM (SELECT DISTINCT sku FROM movements WHERE NOT covered AND sku > ? ORDER BY sku LIMIT ?) AS d
		UNION SELECT sku FROM (SELECT DISTINCT sku FROM commitments WHERE sku > ? ORDER BY sku LIMIT ?) AS e
		ORDER BY sku LIMIT ?`, sku, limit, sku, limit, sku, limit, sku, limit, sku, limit, limit)
	return skus, during("list SKUs", err)
}

const selectPostings = "SELECT id, sku, location, from_state, to_state, quantity, at, cause, event, reference, previous, hash FROM postings "

// PostingsOf hands over postings one by one.
func (t auditTx) PostingsOf(first, last stock.SKU, each func(stocksync.LedgerEntry) error) error {
	return during("read postings", t.rows(func(r row) error { return each(r.entry()) },
		selectPostings+"WHERE sku >= ? AND sku <= ? ORDER BY sku, id", string(first), string(last)))
}

// entry reads a row of selectPostings.
func (r row) entry() stocksync.LedgerEntry {
	return stocksync.LedgerEntry{
		ID: r.number(0), Previous: r.blob(10), Hash: r.blob(11),
		Posting: stock.Posting{
			SKU: stock.SKU(r.text(1)), Location: stock.LocationID(r.text(2)), From: stock.State(r.number(3)), To: stock.State(r.number(4)),
			Quantity: r.quantity(5), At: r.time(6), Cause: stock.Cause{Kind: r.text(7), Event: r.number(8), Reference: r.text(9)},
		},
	}
}

// CommitmentsOf pages through the commitments of a SKU.
func (t auditTx) CommitmentsOf(sku stock.SKU, after stocksync.OrderKey, line string, limit int) (found []stocksync.Commitment, err error) {
	err = t.rows(func(r row) error {
		found = append(found, r.commitment())
		return nil
	}, "SELECT "+list("", join(commitmentsTable.key, commitmentsTable.rest))+` FROM commitments WHERE sku = ? AND (channel, order_id, line_id) > (?, ?, ?)
		ORDER BY channel, order_id, line_id LIMIT ?`, string(sku), string(after.Channel), after.OrderID, line, limit)
	return found, during("list commitments", err)
}

// CommitmentsByKey finds commitments.
func (t auditTx) CommitmentsByKey(ids []stocksync.Commitment) (found []stocksync.Commitment, err error) {
	rows := make([][]any, len(ids))
	for i, c := range ids {
		rows[i] = []any{string(c.SKU), string(c.Channel), c.OrderID, c.LineID}
	}
	err = t.query(findCommitments, rows, func(r row) error {
		found = append(found, r.commitment())
		return nil
	})
	return found, during("load commitments", err)
}

// commitment reads all columns of the table.
func (r row) commitment() stocksync.Commitment {
	return stocksync.Commitment{
		SKU: stock.SKU(r.text(0)), OrderKey: stocksync.OrderKey{Channel: stock.ConnectionID(r.text(1)), OrderID: r.text(2)}, LineID: r.text(3),
		Location: stock.LocationID(r.text(4)), Quantity: r.quantity(5), Ref: r.ref(6), ChannelOpen: r.quantity(8), AcceptedAt: r.time(9),
	}
}

// OrdersAfter pages through order documents.
func (t auditTx) OrdersAfter(after stocksync.OrderKey, limit int) (found []*stocksync.Order, err error) {
	err = t.rows(func(r row) error {
		o, err := r.order(0)
		if err == nil {
			found = append(found, o)
		}
		return err
	}, "SELECT orders.doc, "+strings.Replace(forwardOfOrder, "{,}", "", 1)+" WHERE (orders.channel, orders.order_id) > (?, ?) ORDER BY orders.channel, orders.order_id LIMIT ?", string(after.Channel), after.OrderID, limit)
	return found, during("read orders", err)
}
