package simtest

import (
	"slices"
	"strconv"
	"time"

	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// withStocktakes adds people who count. They have a stream of their own, so that the rest of a history is what it would be
// without them.
func withStocktakes(seed uint64, history []Action, traffic time.Duration) []Action {
	r := dice(seed, "stocktakes")
	for range r.IntN(6) {
		history = append(history, Action{At: time.Duration(r.Int64N(int64(traffic))), Kind: "stocktake", A: r.Uint64(), B: r.Uint64(), C: r.Uint64()})
	}
	slices.SortStableFunc(history, func(a, b Action) int { return int(a.At - b.At) })
	return history
}

// stocktake has one shelf counted, sometimes wrongly, while everything goes on, and the difference approved by somebody
// else: at once or a little later. It is booked by the warehouse on request or, where that cannot be asked, by hand.
func (s *sim) stocktake(a Action) {
	if s.engine == nil {
		return
	}
	plain := s.world.plain()
	free := plain[2+a.A%uint64(len(plain)-2)]
	at := s.world.locations[a.B%uint64(len(s.world.locations))].ID
	counter, approver := stocksync.Actor{Name: "counter"}, stocksync.Actor{Name: "approver"}
	v, bad, err := s.engine.NewStocktake(s.ctx, counter, stocksync.StocktakeOrder{SKUs: []stock.SKU{stock.SKU(free.sku)}, Locations: []stock.LocationID{stock.LocationID(at)},
		Rule: stocksync.StocktakeRule{CountRule: stock.CountRule{RecountUnits: 1000, ApproveUnits: stock.Quantity(a.C % 2)}}})
	if err != nil || len(bad) > 0 {
		s.journal.note("stocktake of %s at %s: %v %v", free.sku, at, bad, err)
		return
	}
	list, _ := strconv.ParseInt(v.ID, 10, 64)
	there := s.levelOf(free.sku, at)
	if a.C>>8%3 == 0 {
		there += int64(a.C>>12%7) - 3
	}
	entries := []stocksync.CountInput{{Row: 1, LevelKey: stocksync.LevelKey{SKU: stock.SKU(free.sku), Location: stock.LocationID(at)},
		Counted: stock.Quantity(max(0, there)), AsOf: time.Now().UTC()}}
	found, err := s.engine.EnterCounts(s.ctx, counter, list, entries)
	s.journal.note("stocktake %d: %d of %s at %s counted: %v %v %v", list, there, free.sku, at, found.States, found.Errors, err)
	s.passSoon()
	if err != nil {
		return
	}
	s.after(time.Duration(1+a.C>>16%20)*time.Second, "approval", func() { s.approve(approver, list) })
}

func (s *sim) approve(by stocksync.Actor, list int64) {
	if s.engine == nil { // what counts already must be booked in the end
		s.after(2*time.Second, "approval", func() { s.approve(by, list) })
		return
	}
	before, err := s.engine.Stocktake(s.ctx, list)
	if err != nil {
		s.journal.note("stocktake %d: %v", list, err)
		return
	}
	v, err := s.engine.ApproveStocktake(s.ctx, by, list, stocksync.StocktakeDecision{Send: s.world.corrects})
	s.journal.note("stocktake %d approved: %v %v %v", list, v.States, v.Errors, err)
	s.passSoon()
	l := before.Lines[0]
	if s.world.corrects || l.State != stocksync.LineVariance && l.State != stocksync.LineApproved || l.Difference == nil || *l.Difference == 0 {
		return
	}
	if err == nil && len(v.Errors) > 0 {
		return
	}
	after, err := s.engine.Stocktake(s.ctx, list)
	if err != nil || after.Lines[0].State != stocksync.LineApproved {
		return
	}
	delta := *after.Lines[0].Difference
	err = s.warehouse.Adjust(string(l.SKU), string(l.Location), int64(delta))
	s.journal.note("somebody books %+d of %s at %s: %v", delta, l.SKU, l.Location, err)
	booked, err := s.engine.BookStocktake(s.ctx, by, list, stocksync.StocktakeDecision{})
	s.journal.note("stocktake %d booked by hand: %v %v %v", list, booked.States, booked.Errors, err)
	s.passSoon()
}

// levelOf is what the warehouse has, as its levels mean it.
func (s *sim) levelOf(sku, location string) int64 {
	i := slices.IndexFunc(s.warehouse.Levels(), func(l open.Level) bool { return l.SKU == sku && l.Location == location })
	return *s.warehouse.Levels()[i].Quantity
}
