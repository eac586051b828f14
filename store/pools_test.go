package store

import (
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func TestAStepOfACampaignIsStoredOnce(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		pool := &stocksync.PoolState{Campaign: "sale", SKU: "A", Start: t0, StartedAt: t0, Allotted: 5, Opened: 3, Sold: 1, Done: []int{1},
			Parts: []stocksync.PoolPart{{Location: "main", Reserved: 4, Committed: 1}}}
		save := func(c stocksync.Changes) error {
			return s.Post(t.Context(), func(tx stocksync.LedgerTx) error { return tx.Save(c) })
		}
		step := stocksync.PoolStep{Campaign: "sale", N: 1, PlannedAt: t0, At: after(time.Second), Quantity: 3}
		must(t, save(stocksync.Changes{Pools: []*stocksync.PoolState{pool}, PoolSteps: []stocksync.PoolStep{step}, At: t0}))
		more := *pool
		more.Opened = 5
		if err := save(stocksync.Changes{Pools: []*stocksync.PoolState{&more}, PoolSteps: []stocksync.PoolStep{step}, At: t0}); err == nil {
			t.Error("a step is stored twice")
		}
		must(t, s.View(t.Context(), func(tx stocksync.PlanTx) error {
			bySKU := got(tx.Pools([]stock.SKU{"A"}, nil))(t)
			byName := got(tx.Pools(nil, []string{"sale", "other"}))(t)
			same(t, "the pool by its SKU", bySKU, map[string]*stocksync.PoolState{"sale": pool})
			same(t, "the pool by its name", byName, bySKU)
			return nil
		}))
	})
}

func TestFallenOrdersAreThoseCancelledBeforeTheyWereShipped(t *testing.T) {
	on(t, func(t *testing.T, s *Store, _ string) {
		order := func(channel stock.ConnectionID, id string, status connectors.OrderStatus, shipments ...stocksync.OrderShipment) *stocksync.Order {
			return &stocksync.Order{Channel: channel, OrderID: id, Status: status, Shipments: shipments, Lines: []stocksync.OrderLine{{ID: "1", Ordered: 1}}}
		}
		orders := []*stocksync.Order{
			order("shop", "1", connectors.OrderOpen), order("shop", "2", connectors.OrderCancelledStatus), order("shop", "3", connectors.OrderClosed),
			order("shop", "4", connectors.OrderCancelledStatus, stocksync.OrderShipment{ID: "x"}), order("other", "1", connectors.OrderCancelledStatus),
			{Channel: "shop", OrderID: "5", Status: connectors.OrderCancelledStatus}, // left before it was paid: it took nothing
		}
		must(t, s.Post(t.Context(), func(tx stocksync.LedgerTx) error { return tx.Save(stocksync.Changes{Orders: orders, At: t0}) }))
		must(t, s.View(t.Context(), func(tx stocksync.PlanTx) error {
			same(t, "fallen orders", got(tx.Fallen("shop"))(t), stock.Fallen{Orders: 4, Fell: 1})
			return nil
		}))
	})
}
