package sync_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func (h *house) report(q stocksync.AnalysisQuery) []map[string]any {
	h.t.Helper()
	q.Limit = 1000
	view, _, err := h.engine.Analysis(h.ctx, q)
	if err != nil {
		h.t.Fatal(err)
	}
	return view.Data
}

func TestDailySeriesFollowTheLedger(t *testing.T) {
	within(t, houseOptions{positions: true, timings: calm, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
		h.stocked("X", 100)
		h.settled()
		start := time.Now()
		// A hundred are there; 1, 2, 3, … of them are sold at one shop on four days, and one a day at the other. What leaves the house
		// was sold before.
		for day := range 4 {
			h.buy("a", "X", int64(day+1))
			h.settled()
			h.buy("b", "X", 1)
			h.settled()
			h.warehouse.ShipAll()
			h.settled()
			time.Sleep(24*time.Hour - time.Since(start)%(24*time.Hour))
		}
		series, err := h.engine.DailySeries(h.ctx, []stock.SKU{"X", "Y"}, start, start.Add(96*time.Hour))
		if err != nil || len(series) != 1 {
			t.Fatalf("the series are %+v (%v)", series, err)
		}
		left := stock.Quantity(100)
		for i, d := range series["X"].Days[:4] {
			left -= stock.Quantity(i + 2)
			if d.Sold != stock.Quantity(i+2) || d.Closing != left || d.OnHand != left || d.StockOut || d.Received != map[bool]stock.Quantity{true: 100}[i == 0] {
				t.Errorf("day %d is %+v, want %d sold and %d left", i, d, i+2, left)
			}
		}
		utc := stock.Zone{}
		rows := h.report(stocksync.AnalysisQuery{Name: "velocity", Channel: "b", To: utc.DateOf(start).Add(3)})
		if len(rows) != 1 || rows[0]["sold_28"] != int64(4) || rows[0]["per_day_28_milli"] != int64(1000) {
			t.Errorf("shop b sold %v", rows)
		}
		if _, _, err := h.engine.Analysis(h.ctx, stocksync.AnalysisQuery{Name: "velocity", To: utc.DateOf(time.Now()).Add(1)}); err == nil {
			t.Error("a day that has not come is reported")
		}
		if _, _, err := h.engine.Analysis(h.ctx, stocksync.AnalysisQuery{Name: "velocity", From: utc.DateOf(start).Add(5), To: utc.DateOf(start)}); err == nil {
			t.Error("a span that ends before it begins is reported")
		}
		if _, _, err := h.engine.Analysis(h.ctx, stocksync.AnalysisQuery{Name: "nothing"}); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("an unknown report: %v", err)
		}
	})
}

func TestReportsComeInPages(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		for i := range 7 {
			h.stocked(fmt.Sprintf("=X%d", i), 5)
		}
		h.settled()
		q := stocksync.AnalysisQuery{Name: "cover", To: stock.Zone{}.DateOf(time.Now()), Limit: 3}
		seen := 0
		for pages := 0; ; pages++ {
			view, next, err := h.engine.Analysis(h.ctx, q)
			if err != nil || len(view.Data) > 3 || pages > 3 {
				t.Fatalf("page %d: %+v (%v)", pages, view.Data, err)
			}
			for _, row := range view.Data {
				if row["sku"] != fmt.Sprintf("=X%d", seen) {
					t.Errorf("row %d is %v", seen, row)
				}
				seen++
			}
			if q.After = next; next == "" {
				break
			}
		}
		var b bytes.Buffer
		if err := h.engine.WriteAnalysis(h.ctx, q, &b); err != nil || seen != 7 || bytes.Count(b.Bytes(), []byte("\n'=X")) != 7 {
			t.Errorf("%d rows; the file is %q (%v)", seen, b.String(), err)
		}
	})
}

func TestAReplayTellsWhichOversellsAPolicyAvoids(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 10)
		h.link("a,PAIR,,X,2")
		h.shops["a"].AddListing(open.Listing{Item: "PAIR", Title: "PAIR"})
		h.settled()
		h.buy("a", "X", 2)
		h.settled()
		h.buy("a", "PAIR", 3)
		h.settled()
		// Of the two that are left and the eight that are promised, five are found broken.
		if err := h.warehouse.Adjust("X", "main", -5); err != nil {
			t.Fatal(err)
		}
		h.settled()
		h.item("X", 5, 8, -3)
		time.Sleep(time.Hour)
		replay := func(key, value string) []stocksync.ReplayListing {
			view, err := h.engine.ReplaySettings(h.ctx, []stocksync.SettingChange{{Kind: stocksync.PolicySetting, Key: key, Value: []byte(value)}}, 7)
			if err != nil || len(view.Data) != 2 || view.Data[0].Item != "PAIR" || view.Data[1].Item != "X" {
				t.Fatalf("%s %s: %+v (%v)", key, value, view.Data, err)
			}
			return view.Data
		}
		// Three units of the pairs, which were sold last, are not there. Before the correction two were left; since then none.
		rows := replay("sku:X", `{"safety_stock":4}`)
		if b := rows[0].Before; b.OversoldUnits != 3 || b.LostOrders != 0 || b.StockOuts != 1 || b.OutMinutes < 60 {
			t.Errorf("before: %+v", b)
		}
		// 10 - 2 = 8 less 4 withheld are 2 pairs: the order of 3 is lost, 8 - 5 = 3 are there and withheld.
		if a := rows[0].After; a.OversoldUnits != 0 || a.LostOrders != 1 || a.LostPacks != 3 || a.StockOuts != 1 {
			t.Errorf("after: %+v", a)
		}
		if x := rows[1]; x.Before.OversoldUnits+x.After.OversoldUnits != 0 || x.After.LostOrders != 0 || x.Orders != 1 {
			t.Errorf("X: %+v", x)
		}
		// A policy that changes nothing changes nothing.
		for _, row := range replay("sku:X", `{}`) {
			if row.Before != row.After {
				t.Errorf("without a change: %+v", row)
			}
		}
		h.item("X", 5, 8, -3)
		h.shows("a", "X", 0)
	})
}
