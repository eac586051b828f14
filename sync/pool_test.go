package sync_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// campaign decides a campaign, and returns the error.
func (h *house) campaign(name, value string) error {
	_, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{Name: "tester"},
		[]stocksync.SettingChange{{Kind: stocksync.CampaignSetting, Key: name, Value: []byte(value)}})
	return err
}

func (h *house) mustCampaign(name, value string) {
	h.t.Helper()
	if err := h.campaign(name, value); err != nil {
		h.t.Fatal(err)
	}
}

// setAside checks what is set aside and what is available of a SKU, and that everything stored agrees.
func (h *house) setAside(sku string, reserved, available stock.Quantity) {
	h.t.Helper()
	v, err := h.engine.Item(h.ctx, stock.SKU(sku))
	if err != nil {
		h.t.Fatal(err)
	}
	if v.Reserved != reserved || v.Available != available {
		h.t.Errorf("%s: reserved %d, available %d; want %d, %d", sku, v.Reserved, v.Available, reserved, available)
	}
	if found, err := h.engine.Verify(h.ctx, nil); err != nil || !found.Sound {
		h.t.Errorf("verify: %+v %v", found.Differences, err)
	}
}

func at(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

var twoShops = map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}

func TestAPoolIsSetAsideSoldAndGivenBack(t *testing.T) {
	within(t, houseOptions{positions: true, timings: calm, shops: twoShops}, func(h *house) {
		h.stocked("X", 60)
		h.settled()
		start := time.Now().Add(time.Hour)
		h.mustCampaign("sale", fmt.Sprintf(`{"sku":"X","quantity":50,"channel":"b","start":%q,"end":%q}`, at(start), at(start.Add(24*time.Hour))))
		h.settled()
		h.shows("a", "X", 60)
		h.setAside("X", 0, 60)

		time.Sleep(time.Until(start))
		h.settled()
		h.shows("a", "X", 10)
		h.shows("b", "X", 50)
		h.setAside("X", 50, 10)

		order := h.buy("b", "X", 20)
		h.buy("a", "X", 4)
		h.settled()
		h.shows("a", "X", 6)
		h.shows("b", "X", 30)
		h.setAside("X", 30, 6)
		h.item("X", 60, 24, 6)

		if !h.shops["b"].Cancel(order) {
			t.Fatal("the order cannot be cancelled")
		}
		h.settled()
		h.shows("b", "X", 50)
		h.setAside("X", 50, 6)

		late := h.buy("b", "X", 5)
		h.settled()
		h.warehouse.ShipAll()
		h.settled()
		h.setAside("X", 45, 6)
		h.shows("b", "X", 45)
		kept := h.buy("b", "X", 3)
		_ = late

		time.Sleep(25 * time.Hour)
		h.settled()
		h.setAside("X", 0, 48)
		h.shows("a", "X", 48)
		h.shows("b", "X", 48)
		if !h.shops["b"].Cancel(kept) {
			t.Fatal("the order cannot be cancelled")
		}
		h.settled()
		h.setAside("X", 0, 51) // after the end it goes to the general stock
		h.shows("a", "X", 51)
	})
}

func TestLossesFallOnWhatBelongsToNobodyFirst(t *testing.T) {
	within(t, houseOptions{positions: true, shops: twoShops}, func(h *house) {
		h.stocked("X", 60)
		h.settled()
		end := at(time.Now().Add(24 * time.Hour))
		h.mustCampaign("first", fmt.Sprintf(`{"sku":"X","quantity":30,"channel":"a","start":%q,"end":%q}`, at(time.Now().Add(time.Second)), end))
		h.mustCampaign("second", fmt.Sprintf(`{"sku":"X","quantity":20,"channel":"b","start":%q,"end":%q}`, at(time.Now().Add(2*time.Second)), end))
		time.Sleep(3 * time.Second)
		h.settled()
		h.setAside("X", 50, 10)
		if err := h.warehouse.Adjust("X", "main", -15); err != nil {
			t.Fatal(err)
		}
		h.settled()
		h.shows("a", "X", 30)
		h.shows("b", "X", 15)
		h.setAside("X", 45, 0)
		if err := h.warehouse.Receive("X", "main", 8); err != nil {
			t.Fatal(err)
		}
		h.settled()
		h.shows("b", "X", 20) // its right is whole again; what is more belongs to nobody
		h.setAside("X", 50, 3)
	})
}

func TestTranchesOpenByTheClockAndBySales(t *testing.T) {
	within(t, houseOptions{positions: true, timings: calm, shops: twoShops}, func(h *house) {
		h.stocked("X", 120)
		h.settled()
		start := time.Now().UTC().Truncate(24 * time.Hour).Add(48 * time.Hour)
		day := start.Format(time.DateOnly)
		h.mustCampaign("sale", fmt.Sprintf(`{"sku":"X","quantity":101,"channel":"b","start":%q,"end":%q,"tranches":[
			{"share_permille":333,"date":%q,"clock":"06:00"},{"share_permille":333,"after_sold_permille":800},{"share_permille":334,"date":%q,"clock":"18:00"}]}`,
			at(start), at(start.Add(48*time.Hour)), day, day))
		time.Sleep(time.Until(start))
		h.settled()
		h.shows("b", "X", 0)
		h.setAside("X", 101, 19)

		time.Sleep(time.Until(start.Add(6 * time.Hour)))
		h.settled()
		h.shows("b", "X", 33)
		h.buy("b", "X", 26) // 787 ‰ of 33
		h.settled()
		h.shows("b", "X", 7)
		again := h.buy("b", "X", 1) // 818 ‰
		h.settled()
		h.shows("b", "X", 6+34)
		h.shops["b"].Cancel(again)
		h.settled()
		h.shows("b", "X", 7+34) // a tranche is not taken back

		time.Sleep(time.Until(start.Add(18*time.Hour - time.Second)))
		h.stop()
		time.Sleep(3 * time.Hour)
		h.start()
		h.settled()
		h.shows("b", "X", 7+34+34)
		h.restart()
		h.settled()
		h.shows("b", "X", 7+34+34)
		h.setAside("X", 101-26, 19)
	})
}

func TestTranchesOnDaysWhenTheClockIsChanged(t *testing.T) {
	for day, want := range map[string]string{ // the test's clock begins in the year 2000
		"2000-03-26": "2000-03-26T01:00:00Z", // 02:30 is skipped: the first instant after the gap
		"2000-10-29": "2000-10-29T00:30:00Z", // 02:30 is shown twice: the first time
	} {
		within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
			h.stocked("X", 10)
			h.settled()
			opens, err := time.Parse(time.RFC3339, want)
			if err != nil {
				t.Fatal(err)
			}
			h.mustCampaign("sale", fmt.Sprintf(`{"sku":"X","quantity":10,"channel":"a","start":%q,"end":%q,"zone":"Europe/Berlin","tranches":[{"share_permille":1000,"date":%q,"clock":"02:30"}]}`,
				at(opens.Add(-6*time.Hour)), at(opens.Add(24*time.Hour)), day))
			h.stop()
			time.Sleep(time.Until(opens.Add(-time.Hour)))
			h.start()
			h.settled()
			time.Sleep(time.Until(opens.Add(-time.Second)))
			h.shows("a", "X", 0)
			time.Sleep(2 * time.Second)
			h.settled()
			h.shows("a", "X", 10)
		})
	}
}

func TestCampaignsThatCannotBeAreRefused(t *testing.T) {
	within(t, houseOptions{positions: true, shops: twoShops}, func(h *house) {
		h.stocked("X", 20)
		h.settled()
		begin, end := at(time.Now().Add(time.Hour)), at(time.Now().Add(2*time.Hour))
		h.mustCampaign("held", fmt.Sprintf(`{"sku":"X","quantity":5,"exclusive":true,"listings":["listing:a:X"],"start":%q,"end":%q}`, at(time.Now().Add(3*time.Hour)), at(time.Now().Add(4*time.Hour))))
		for value, field := range map[string]string{
			fmt.Sprintf(`{"sku":"X","quantity":21,"channel":"b","start":%q,"end":%q}`, begin, end):                                          "quantity",
			fmt.Sprintf(`{"sku":"X","quantity":0,"channel":"b","start":%q,"end":%q}`, begin, end):                                           "quantity",
			fmt.Sprintf(`{"sku":"Y","quantity":1,"channel":"b","start":%q,"end":%q}`, begin, end):                                           "quantity",
			fmt.Sprintf(`{"sku":"X","quantity":1,"channel":"b","start":%q,"end":%q}`, end, end):                                             "end",
			fmt.Sprintf(`{"sku":"X","quantity":1,"channel":"nobody","start":%q,"end":%q}`, begin, end):                                      "channel",
			fmt.Sprintf(`{"sku":"X","quantity":1,"listings":["a:X"],"start":%q,"end":%q}`, begin, end):                                      "listings[0]",
			fmt.Sprintf(`{"sku":"X","quantity":1,"channel":"b","zone":"Mars","start":%q,"end":%q}`, begin, end):                             "zone",
			fmt.Sprintf(`{"sku":"X","quantity":1,"channel":"b","start":%q,"end":%q}`, begin, at(time.Now().Add(200*time.Minute))):           "exclusive",
			fmt.Sprintf(`{"sku":"X","quantity":1,"purpose":"fun","start":%q,"end":%q}`, begin, end):                                         "purpose",
			fmt.Sprintf(`{"sku":"X","quantity":1,"channel":"b","start":%q}`, begin):                                                         "end",
			fmt.Sprintf(`{"sku":"X","quantity":1,"start":%q,"end":%q,"tranches":[{"share_permille":600,"date":"2026-01-01"}]}`, begin, end): "tranches[0].date",
		} {
			err := h.campaign("sale", value)
			f, ok := errors.AsType[*stock.FieldError](err)
			if !ok || f.Field != field {
				t.Errorf("%s: error %v, want one about %q", value, err, field)
			}
		}
		if _, err := h.engine.SettingVersions(h.ctx, stocksync.CampaignSetting, "sale"); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("a refused campaign is stored: %v", err)
		}
	})
}

func TestACampaignIsShownWithItsStepsAndItsPace(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
		h.stocked("X", 100)
		h.settled()
		view := func() stocksync.CampaignView {
			t.Helper()
			v, err := h.engine.Campaign(h.ctx, "sale")
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		// From 01:00 to 05:00: 20 of 40 at once, 20 when 80 % are sold.
		h.mustCampaign("sale", `{"sku":"X","quantity":40,"channel":"a","start":"2000-01-01T01:00:00Z","end":"2000-01-01T05:00:00Z",
			"tranches":[{"share_permille":500,"date":"2000-01-01","clock":"01:00"},{"share_permille":500,"after_sold_permille":800}]}`)
		if v := view(); v.State != "planned" || v.Quantity != 40 || v.Returns != 40 || len(v.Steps) != 4 || v.Steps[1].State != "waiting" || v.Steps[1].Quantity != 20 || v.Steps[2].Sum != 40 {
			t.Errorf("before: %+v", v)
		}
		time.Sleep(time.Until(time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC)))
		h.settled()
		h.buy("a", "X", 10)
		h.settled()
		v := view()
		// 10 of 40 are sold in a quarter of the time: sold out after four hours.
		if v.State != "running" || v.Opened != 20 || v.Sold != 10 || v.Reserved != 30 || v.Committed != 10 || v.Returns != 30 || v.SoldPermille != 250 || v.ElapsedPermille != 250 {
			t.Errorf("running: %+v", v)
		}
		if v.SellsOutAt == nil || v.SellsOutAt.Before(time.Date(2000, 1, 1, 5, 0, 0, 0, time.UTC)) || v.SellsOutAt.After(time.Date(2000, 1, 1, 5, 10, 0, 0, time.UTC)) {
			t.Errorf("it is sold out at %v, want at about 05:00", v.SellsOutAt)
		}
		if s := v.Steps[1]; s.State != "done" || s.DoneAt == nil || *s.LateMS != 0 || v.Steps[2].State != "waiting" || v.Steps[2].PlannedAt != nil || v.Steps[2].AfterSoldPermille != 800 {
			t.Errorf("the tranches are %+v", v.Steps)
		}
		h.buy("a", "X", 6)
		h.settled()
		if v := view(); v.Opened != 40 || v.Steps[2].State != "done" || v.Steps[2].Quantity != 20 {
			t.Errorf("16 of 20 are 80 %%: %+v", v)
		}
		time.Sleep(time.Until(time.Date(2000, 1, 1, 6, 0, 0, 0, time.UTC)))
		h.settled()
		if v := view(); v.State != "over" || v.Returns != 24 || v.Steps[3].State != "done" || v.Steps[3].Quantity != 24 || v.ElapsedPermille != 1000 {
			t.Errorf("over: %+v", v)
		}
		h.mustCampaign("later", `{"sku":"X","quantity":5,"start":"2000-02-01T00:00:00Z","end":"2000-03-01T00:00:00Z"}`)
		all, err := h.engine.Campaigns(h.ctx, "", 10)
		if err != nil || len(all) != 2 || all[0].Name != "later" || all[0].Steps[1].State != "waiting" {
			t.Errorf("all: %+v (%v)", all, err)
		}
		if all, _ := h.engine.Campaigns(h.ctx, "later", 1); len(all) != 1 || all[0].Name != "sale" {
			t.Errorf("after the first: %+v", all)
		}
		if _, err := h.engine.Campaign(h.ctx, "none"); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("one that there never was: %v", err)
		}
	})
}
