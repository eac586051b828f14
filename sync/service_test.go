package sync_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func (h *house) setting(kind stocksync.SettingKind, key, value string) {
	h.t.Helper()
	_, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{Name: "tester"}, []stocksync.SettingChange{{Kind: kind, Key: key, Value: []byte(value)}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.settled()
}

// listed puts a listing of an article under its own name into every shop.
func (h *house) listed(skus ...string) {
	h.t.Helper()
	for _, sku := range skus {
		for name, s := range h.shops {
			s.AddListing(open.Listing{Item: sku, Title: sku})
			h.link(name + "," + sku + ",," + sku + ",1")
		}
	}
}

// sleepUntil sleeps until an instant.
func sleepUntil(t *testing.T, text string) {
	t.Helper()
	instant, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(instant))
}

// The clock of these tests begins on Saturday, 2000-01-01 00:00 UTC.

func TestWindowsOfAServiceShareStaff(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		// Five fitters from 9 to 17 on Mondays in Berlin, a van more. Mounting takes two fitters and a van, advice one fitter.
		h.setting(stocksync.ResourceSetting, "fitter", `{"zone":"Europe/Berlin","shifts":[{"weekday":1,"from":"09:00","to":"17:00","capacity":5}]}`)
		h.setting(stocksync.ResourceSetting, "van", `{"zone":"Europe/Berlin","period":"daily","capacity":1}`)
		h.listed("MOUNT", "MOUNT@2000-01-03T09:00", "MOUNT@2000-01-03T10:00", "ADVICE")
		h.setting(stocksync.ArticleSetting, "MOUNT", `{"kind":"service","zone":"Europe/Berlin","period":"hours","windows_ahead":2,
			"openings":[{"weekday":1,"from":"09:00","to":"13:00"},{"weekday":1,"from":"13:00","to":"17:00"}],"needs":[{"resource":"fitter","units":2},{"resource":"van","units":1}]}`)
		h.setting(stocksync.ArticleSetting, "ADVICE", `{"kind":"service","zone":"Europe/Berlin","period":"hours","cutoff_minutes":120,
			"openings":[{"weekday":1,"from":"11:00","to":"14:00"}],"needs":[{"resource":"fitter","units":1}]}`)
		// A van allows one in each of the two windows; ⌊5 ÷ 2⌋ fitters would allow two.
		h.shows("a", "MOUNT", 2)
		h.shows("a", "MOUNT@2000-01-03T09:00", 1)
		h.shows("a", "MOUNT@2000-01-03T10:00", 0) // no window begins then
		h.shows("a", "ADVICE", 5)

		first := h.buy("a", "MOUNT@2000-01-03T09:00", 1)
		h.settled()
		h.shows("a", "MOUNT", 1)
		h.shows("a", "MOUNT@2000-01-03T09:00", 0)
		h.shows("a", "ADVICE", 3) // two of the five fitters are mounting from 11 to 13
		second := h.buy("a", "MOUNT", 1)
		h.settled()
		h.shows("a", "MOUNT", 0)
		h.shows("a", "ADVICE", 3) // the other two mount from 13 to 14
		h.restart()
		h.settled()
		h.shows("a", "ADVICE", 3)

		h.shops["a"].Cancel(first)
		h.settled()
		h.shows("a", "MOUNT", 1)
		h.shows("a", "MOUNT@2000-01-03T09:00", 1)
		h.shows("a", "ADVICE", 3) // the least of all instants: from 13 on two are away
		h.shops["a"].Cancel(second)
		h.settled()
		h.shows("a", "MOUNT", 2)
		h.shows("a", "ADVICE", 5)
		if v, err := h.engine.Verify(h.ctx, nil); err != nil || !v.Sound {
			t.Errorf("verification: %+v (%v)", v, err)
		}
		if n := h.incidents(stocksync.IncidentOversell) + h.incidents(stocksync.IncidentOverbooked); n != 0 {
			t.Errorf("%d incidents", n)
		}
	})
}

// TestAWindowThatWasShippedIsTold: the system of record knows the service and none of its windows, and what it says of an order
// is about the window all the same.
func TestAWindowThatWasShippedIsTold(t *testing.T) {
	for _, basis := range []string{fake.OnHand, fake.Available} {
		t.Run(basis, func(t *testing.T) {
			within(t, houseOptions{positions: true, levels: basis, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
				h.stocked("VISIT", 100)
				h.setting(stocksync.ResourceSetting, "crew", `{"zone":"UTC","period":"daily","capacity":5}`)
				h.setting(stocksync.ArticleSetting, "VISIT", `{"kind":"service","zone":"UTC","period":"daily","needs":[{"resource":"crew","units":1}]}`)
				h.listed("VISIT@2000-01-03T00:00")
				h.settled()
				h.shows("a", "VISIT@2000-01-03T00:00", 5)
				order := h.buy("a", "VISIT@2000-01-03T00:00", 2)
				h.settled()
				if basis == fake.OnHand {
					h.item("VISIT@2000-01-03T00:00", 0, 2, -2)
				} else { // it is set aside as soon as it is ordered
					h.item("VISIT@2000-01-03T00:00", 0, 0, 0)
				}
				h.warehouse.ShipAll()
				h.settled()
				h.item("VISIT@2000-01-03T00:00", 0, 0, 0)
				h.item("VISIT", 98, 0, 98)
				if sent := *h.shops["a"].Orders()[0].Lines[0].Shipped; sent != 2 {
					t.Errorf("%d of 2 of order %s are told as shipped", sent, order)
				}
				h.shows("a", "VISIT@2000-01-03T00:00", 3) // they are booked all the same
				h.sound()
				rejected := h.buy("a", "VISIT@2000-01-03T00:00", 1)
				h.settled()
				h.warehouse.Reject("a:" + rejected)
				h.settled()
				h.item("VISIT@2000-01-03T00:00", 0, 0, 0)
			})
		})
	}
}

func TestAServiceClosesAtItsCutOffOnce(t *testing.T) {
	within(t, houseOptions{positions: true, timings: calm, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		// Three projects a week from Monday on; a week is sold until Thursday, 12:00 in Berlin, before it.
		h.setting(stocksync.ResourceSetting, "projects", `{"zone":"Europe/Berlin","period":"weekly","weekday":1,"capacity":3}`)
		h.listed("PROJECT")
		h.setting(stocksync.ArticleSetting, "PROJECT", `{"kind":"service","zone":"Europe/Berlin","period":"weekly","weekday":1,"cutoff_days":4,"cutoff_at":"12:00","needs":[{"resource":"projects","units":1}]}`)
		h.shows("a", "PROJECT", 3) // the week of the 10th: that of the 3rd closed on 30 December
		order := h.buy("a", "PROJECT", 2)
		h.settled()
		h.shows("a", "PROJECT", 1)

		sleepUntil(t, "2000-01-06T10:59:59Z")
		h.shows("a", "PROJECT", 1)
		time.Sleep(2 * time.Second)
		h.settled()
		h.shows("a", "PROJECT", 3) // the week of the 17th
		// What is given back of a week that is no longer sold is no place of the next.
		h.shops["a"].Cancel(order)
		h.settled()
		h.shows("a", "PROJECT", 3)
		h.stop()
		time.Sleep(20 * 24 * time.Hour) // three cut-offs while nobody runs
		h.start()
		time.Sleep(5 * time.Hour)
		h.settled()
		h.shows("a", "PROJECT", 3)
	})
}

func TestStaffThatIsMissingIsTold(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
		shift := `{"zone":"UTC","shifts":[{"weekday":3,"from":"08:00","to":"12:00","capacity":%d}]%s}`
		h.setting(stocksync.ResourceSetting, "trainer", fmt.Sprintf(shift, 2, ""))
		h.listed("LESSON")
		h.setting(stocksync.ArticleSetting, "LESSON", `{"kind":"service","zone":"UTC","period":"hours","openings":[{"weekday":3,"from":"08:00","to":"12:00"}],"needs":[{"resource":"trainer","units":1}]}`)
		h.shows("a", "LESSON", 2)
		// Both shops sell what each shows.
		h.trouble.setDown("a/stock/write", true)
		h.trouble.setDown("b/stock/write", true)
		h.buy("a", "LESSON", 2)
		last := h.buy("b", "LESSON", 2)
		h.trouble.setDown("a/stock/write", false)
		h.trouble.setDown("b/stock/write", false)
		h.settled()
		h.shows("a", "LESSON", 0)
		if n := h.incidents(stocksync.IncidentOverbooked); n != 1 {
			t.Errorf("%d incidents of a window that is sold twice, want 1", n)
		}
		h.shops["b"].Cancel(last)
		h.settled()
		if n := h.incidents(stocksync.IncidentOverbooked); n != 0 {
			t.Errorf("%d incidents after the cancellation", n)
		}
		// A trainer falls ill, and comes back.
		h.setting(stocksync.ResourceSetting, "trainer", fmt.Sprintf(shift, 2, `,"away":[{"start":"2000-01-05T00:00:00Z","end":"2000-01-06T00:00:00Z","units":1}]`))
		if n := h.incidents(stocksync.IncidentOverbooked); n != 1 {
			t.Errorf("%d incidents of a trainer who is ill, want 1", n)
		}
		h.setting(stocksync.ResourceSetting, "trainer", fmt.Sprintf(shift, 3, ""))
		if n := h.incidents(stocksync.IncidentOverbooked); n != 0 {
			t.Errorf("%d incidents with three trainers", n)
		}
		h.shows("a", "LESSON", 1)
	})
}

func TestResourcesThatMakeNoSenseAreRefusedByField(t *testing.T) {
	within(t, houseOptions{shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.setting(stocksync.ResourceSetting, "room", `{"zone":"UTC","period":"daily","capacity":1}`)
		h.setting(stocksync.ArticleSetting, "S", `{"kind":"service","zone":"UTC","period":"daily","needs":[{"resource":"room","units":1}]}`)
		for _, c := range []struct {
			kind              stocksync.SettingKind
			key, value, field string
		}{
			{stocksync.ResourceSetting, "r", `{}`, "zone"},
			{stocksync.ResourceSetting, "r", `{"zone":"Mars/Olympus","period":"daily","capacity":1}`, "zone"},
			{stocksync.ResourceSetting, "r", `{"zone":"UTC"}`, "shifts"},
			{stocksync.ResourceSetting, "r", `{"zone":"UTC","period":"daily"}`, "capacity"},
			{stocksync.ResourceSetting, "r", `{"zone":"UTC","period":"daily","capacity":-1}`, "capacity"},
			{stocksync.ResourceSetting, "r", `{"zone":"UTC","period":"monthly","day":32,"capacity":1}`, "day"},
			{stocksync.ResourceSetting, "r", `{"zone":"UTC","shifts":[{"weekday":1,"from":"09:00","to":"09:00","capacity":1}]}`, "shifts[0]"},
			{stocksync.ResourceSetting, "r", `{"zone":"UTC","shifts":[{"weekday":7,"from":"09:00","to":"10:00","capacity":1}]}`, "shifts[0].weekday"},
			{stocksync.ResourceSetting, "r", `{"zone":"UTC","shifts":[{"weekday":1,"from":"09:00","to":"10:00","capacity":-1}]}`, "shifts[0].capacity"},
			{stocksync.ResourceSetting, "r", `{"zone":"UTC","period":"daily","capacity":1,"away":[{"start":"2000-01-02T00:00:00Z","end":"2000-01-02T00:00:00Z","units":1}]}`, "away[0].end"},
			{stocksync.ResourceSetting, "r", `{"zone":"UTC","period":"daily","capacity":1,"away":[{"start":"2000-01-02T00:00:00Z","end":"2000-01-03T00:00:00Z","units":0}]}`, "away[0].units"},
			{stocksync.ResourceSetting, "room", `null`, "key"},
			{stocksync.ArticleSetting, "S", `{"kind":"service","zone":"UTC","period":"daily"}`, "needs"},
			{stocksync.ArticleSetting, "S", `{"kind":"service","needs":[{"resource":"room","units":1}]}`, "period"},
			{stocksync.ArticleSetting, "S", `{"kind":"service","zone":"UTC","period":"daily","needs":[{"resource":"room","units":0}]}`, "needs[0].units"},
			{stocksync.ArticleSetting, "S", `{"kind":"service","zone":"UTC","period":"daily","needs":[{"resource":"nobody","units":1}]}`, "needs[0].resource"},
			{stocksync.ArticleSetting, "S", `{"kind":"service","zone":"UTC","period":"daily","cap":4,"needs":[{"resource":"room","units":1}]}`, "cap"},
			{stocksync.ArticleSetting, "S", `{"kind":"service","zone":"UTC","period":"daily","windows_ahead":0,"needs":[{"resource":"room","units":1}]}`, "windows_ahead"},
			{stocksync.ArticleSetting, "S", `{"kind":"service","zone":"UTC","period":"daily","cutoff_minutes":-1,"needs":[{"resource":"room","units":1}]}`, "cutoff_minutes"},
			{stocksync.ArticleSetting, "S", `{"kind":"service","zone":"UTC","period":"daily","cutoff_days":1,"needs":[{"resource":"room","units":1}]}`, "cutoff_days"},
			{stocksync.ArticleSetting, "S", `{"kind":"service","mode":"unlimited","zone":"UTC","period":"daily","needs":[{"resource":"room","units":1}]}`, "mode"},
			{stocksync.ArticleSetting, "S", `{"kind":"service","zone":"UTC","period":"hours","openings":[{"weekday":1,"from":"09:00","to":"09:00"}],"needs":[{"resource":"room","units":1}]}`, "openings[0]"},
			{stocksync.ArticleSetting, "S", `{"windows_ahead":1}`, "windows_ahead"},
		} {
			_, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{Name: "tester"}, []stocksync.SettingChange{{Kind: c.kind, Key: c.key, Value: []byte(c.value)}})
			if f, ok := errors.AsType[*stock.FieldError](err); !ok || f.Field != c.field {
				t.Errorf("%s: %v, want the field %s refused", c.value, err, c.field)
			}
		}
	})
}

func TestALateOrderCountsInItsOwnWindowAndIsTold(t *testing.T) {
	within(t, houseOptions{positions: true, timings: calm, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
		h.sold("CALLS", `{"kind":"quota","cap":10,"period":"daily","zone":"UTC"}`)
		h.shows("a", "CALLS", 10)
		// Two shops sell on while neither hears of the other.
		h.trouble.setDown("a/stock/write", true)
		h.trouble.setDown("b/stock/write", true)
		h.buy("a", "CALLS", 8)
		h.buy("b", "CALLS", 6)
		h.trouble.setDown("a/stock/write", false)
		h.trouble.setDown("b/stock/write", false)
		h.settled()
		h.shows("a", "CALLS", 0)
		if n := h.incidents(stocksync.IncidentOverCap); n != 1 {
			t.Errorf("%d incidents of 14 sold of 10, want 1", n)
		}
		// The next window begins with all, and what was told is over with it.
		sleepUntil(t, "2000-01-02T00:00:01Z")
		h.settled()
		h.shows("a", "CALLS", 10)
		if n := h.incidents(stocksync.IncidentOverCap); n != 0 {
			t.Errorf("%d incidents in the next window", n)
		}
		// An order of before midnight comes half an hour after it: it takes nothing of today, and is told.
		sleepUntil(t, "2000-01-02T23:59:58Z")
		h.trouble.setDown("a/orders", true)
		h.trouble.setLost("order.upserted", true)
		h.buy("a", "CALLS", 3)
		sleepUntil(t, "2000-01-03T00:30:00Z")
		h.trouble.setDown("a/orders", false)
		h.trouble.setLost("order.upserted", false)
		time.Sleep(5 * time.Hour)
		h.settled()
		h.shows("b", "CALLS", 10)
		if n := h.incidents(stocksync.IncidentOverCap); n != 1 {
			t.Errorf("%d incidents of an order that came late, want 1", n)
		}
	})
}
