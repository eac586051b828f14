package sync_test

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/open"
	stocksync "github.com/truestock/truestock/sync"
)

func (h *house) alerts(open bool) []stocksync.AlertView {
	h.t.Helper()
	views, err := h.engine.Alerts(h.ctx, open, 0, 100)
	if err != nil {
		h.t.Fatal(err)
	}
	return views
}

// counted makes the warehouse have so many, and waits until that is told.
func (h *house) counted(sku string, quantity int64) {
	h.t.Helper()
	if err := h.warehouse.Count(sku, "main", quantity); err != nil {
		h.t.Fatal(err)
	}
	h.settled()
	time.Sleep(2 * time.Second)
}

func level(r received) float64 { n, _ := r.data["level"].(float64); return n }

func TestLowIsToldOncePerCrossing(t *testing.T) {
	listening(t, houseOptions{}, `{"types":["stock.low"]}`, func(h *house, r *receiver) {
		h.stocked("TEE", 10)
		h.stocked("HAT", 3)
		h.settled()
		h.set(stocksync.ArticleSetting, "TEE", `{"alert_threshold":5}`)
		h.set(stocksync.AlertSetting, "all", `{"rearm":2}`)
		h.settled()
		h.buy("shop", "TEE", 6)
		h.settled()
		time.Sleep(time.Second)
		if got := r.take(); len(got) != 1 || got[0].kind != "stock.low" || level(got[0]) != 4 || got[0].data["sku"] != "TEE" || got[0].data["threshold"] != 5.0 {
			t.Fatalf("told %+v", got)
		}
		// Around the threshold it swings without a word; at threshold + rearm it has recovered.
		for _, available := range []int64{3, 6, 4, 6, 2} {
			h.counted("TEE", available+6)
		}
		if got := r.take(); len(got) != 0 {
			t.Fatalf("told again: %+v", got)
		}
		if open := h.alerts(true); len(open) != 1 || open[0].Level != 2 || open[0].Notices != 1 || open[0].ToldAt == nil {
			t.Errorf("open %+v", open)
		}
		h.counted("TEE", 13)
		if open := h.alerts(true); len(open) != 0 {
			t.Errorf("open although 7 are there: %+v", open)
		}
		h.restart()
		h.counted("TEE", 7)
		if got := r.take(); len(got) != 1 || level(got[0]) != 1 {
			t.Fatalf("told %+v", got)
		}
		if all := h.alerts(false); len(all) != 2 || all[0].RecoveredAt == nil {
			t.Errorf("all %+v", all)
		}
		// Without a threshold nobody is told: 3 hats are no alert.
		h.set(stocksync.ArticleSetting, "TEE", `{}`)
		h.settled()
		if open := h.alerts(true); len(open) != 0 {
			t.Errorf("open without a threshold: %+v", open)
		}
	})
}

func TestUnknownIsNotLow(t *testing.T) {
	listening(t, houseOptions{}, `{}`, func(h *house, r *receiver) {
		h.link("shop,TEE,,TEE,1")
		h.set(stocksync.AlertSetting, "all", `{"threshold":5}`)
		time.Sleep(10 * time.Minute)
		if got := r.take(); len(got) != 0 {
			t.Errorf("told of a number that nobody has stated: %+v", got)
		}
	})
}

// TestQuietEscalatedAcknowledged: low at 22:00 in Berlin, told at 07:00, again after an hour and after three, unless somebody
// acknowledges.
func TestQuietEscalatedAcknowledged(t *testing.T) {
	listening(t, houseOptions{timings: calm}, `{"types":["stock.low","stock.low.escalation"]}`, func(h *house, r *receiver) {
		began := time.Now().UTC() // midnight in UTC, 1 o'clock in Berlin
		h.stocked("TEE", 10)
		h.stocked("HAT", 10)
		h.settled()
		h.set(stocksync.AlertSetting, "all", `{"threshold":5,"escalation":["1h","3h"],"quiet_zone":"Europe/Berlin","quiet_from":"22:00","quiet_to":"07:00"}`)
		h.settled()
		h.counted("TEE", 4)
		h.counted("HAT", 4)
		h.counted("HAT", 9) // has recovered before anybody was told
		if got := r.take(); len(got) != 0 {
			t.Fatalf("told at night: %+v", got)
		}
		h.restart()
		time.Sleep(time.Until(began.Add(6 * time.Hour)))
		time.Sleep(time.Second)
		got := r.take()
		if kinds(got) != "stock.low" || got[0].at.Sub(began) < 6*time.Hour || got[0].at.Sub(began) > 6*time.Hour+2*time.Second {
			t.Fatalf("told %+v, %s after the beginning", got, got[0].at.Sub(began))
		}
		time.Sleep(time.Hour)
		if got := r.take(); kinds(got) != "stock.low.escalation" || got[0].data["step"] != 1.0 {
			t.Fatalf("an hour later: %+v", got)
		}
		id, err := strconv.ParseInt(h.alerts(true)[0].ID, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		acked, err := h.engine.AckAlert(h.ctx, stocksync.Actor{Name: "ann", Reason: "ordered"}, id)
		if err != nil || acked.AcknowledgedAt == nil || acked.AcknowledgedBy != "ann" {
			t.Fatalf("%+v %v", acked, err)
		}
		time.Sleep(5 * time.Hour)
		if got := r.take(); len(got) != 0 {
			t.Errorf("told after it was acknowledged: %+v", got)
		}
		if again, err := h.engine.AckAlert(h.ctx, stocksync.Actor{Name: "bob"}, id); err != nil || again.AcknowledgedBy != "ann" {
			t.Errorf("acknowledged again: %+v %v", again, err)
		}
		if _, err := h.engine.AckAlert(h.ctx, stocksync.Actor{Name: "ann"}, 99); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("an alert that is not there: %v", err)
		}
		trail, err := h.engine.Audit(h.ctx, "alert "+strconv.FormatInt(id, 10), 0, 10)
		if err != nil || len(trail) != 2 || trail[0].By != "ann" || trail[0].Reason != "ordered" {
			t.Errorf("the audit trail: %+v %v", trail, err)
		}
	})
}

func TestListingHasAThresholdOfItsOwn(t *testing.T) {
	listening(t, houseOptions{}, `{}`, func(h *house, r *receiver) {
		h.stocked("TEE", 10)
		h.settled()
		h.set(stocksync.AlertSetting, "listing:shop:TEE", `{"threshold":8}`)
		h.set(stocksync.PolicySetting, "listing:shop:TEE", `{"buffer":3}`)
		h.settled()
		time.Sleep(2 * time.Second)
		got := r.take()
		if kinds(got) != "stock.low" || got[0].data["subject"] != "listing:shop:TEE" || level(got[0]) != 7 {
			t.Fatalf("told %+v", got)
		}
	})
}

// TestReplenishment computes 20 a day × 3 days = 60, with a threshold of 10: below 70 it is to be ordered.
func TestReplenishment(t *testing.T) {
	listening(t, houseOptions{timings: calm}, `{"types":["replenishment.raised","replenishment.cleared"]}`, func(h *house, r *receiver) {
		h.stocked("TEE", 200)
		h.settled()
		for range 2 { // 20 and 20, then a day of 15
			h.buy("shop", "TEE", 20)
			h.settled()
			time.Sleep(24 * time.Hour)
		}
		h.buy("shop", "TEE", 15)
		h.settled()
		time.Sleep(24 * time.Hour)
		h.set(stocksync.ArticleSetting, "TEE", `{"alert_threshold":10}`)
		h.set(stocksync.ReplenishmentSetting, "TEE", `{"method":"greatest","lead_days":[2,3,1]}`)
		h.settled()
		m, err := h.engine.MeasureOf(h.ctx, "TEE")
		if err != nil || m.Safety == nil || *m.Safety != 60 || m.Greatest != 20 || !strings.Contains(m.Explanation, "20 × longest lead time 3 days = 60") {
			t.Fatalf("measured %+v: %v", m, err)
		}
		h.shows("shop", "TEE", 145-60)
		if got := r.take(); len(got) != 0 {
			t.Fatalf("told although 145 are there: %+v", got)
		}
		h.buy("shop", "TEE", 76) // 69 left
		h.settled()
		time.Sleep(time.Second)
		got := r.take()
		if kinds(got) != "replenishment.raised" || got[0].data["reorder_point"] != 70.0 || got[0].data["missing"] != 1.0 || got[0].data["total"] != 69.0 {
			t.Fatalf("told %+v", got)
		}
		h.buy("shop", "TEE", 5)
		h.settled()
		open, err := h.engine.Replenishments(h.ctx, true, 0, 10)
		if err != nil || len(open) != 1 || open[0].Missing != 6 || open[0].Explanation == "" {
			t.Fatalf("open %+v %v", open, err)
		}
		// It is on order.
		h.set(stocksync.ReplenishmentSetting, "TEE", `{"method":"greatest","lead_days":[2,3,1],"on_order":6}`)
		h.settled()
		time.Sleep(time.Second)
		if got := r.take(); kinds(got) != "replenishment.cleared" || got[0].data["change"] != "on_order" {
			t.Fatalf("told %+v", got)
		}
		// It has not come after all, and is missed again; then it arrives.
		h.set(stocksync.ReplenishmentSetting, "TEE", `{"method":"greatest","lead_days":[2,3,1]}`)
		h.settled()
		if err := h.warehouse.Receive("TEE", "main", 100); err != nil {
			t.Fatal(err)
		}
		h.settled()
		time.Sleep(time.Second)
		if got := r.take(); kinds(got) != "replenishment.raised replenishment.cleared" || got[1].data["change"] != "arrived" {
			t.Fatalf("told %+v", got)
		}
		// A purchase counts as on order from the moment at which it is decided until it is taken back.
		h.buy("shop", "TEE", 100)
		h.settled()
		h.set(stocksync.PurchaseSetting, "PO-1", `{"sku":"TEE","quantity":200,"expected_at":"2000-02-01T00:00:00Z"}`)
		h.settled()
		h.set(stocksync.PurchaseSetting, "PO-1", "")
		h.settled()
		time.Sleep(time.Second)
		if got := r.take(); kinds(got) != "replenishment.raised replenishment.cleared replenishment.raised" || got[1].data["change"] != "on_order" || got[1].data["on_order"] != 200.0 {
			t.Fatalf("told %+v", got)
		}
		// At night the greater sale of the day counts: 181 × 3.
		time.Sleep(25 * time.Hour)
		if m, err := h.engine.MeasureOf(h.ctx, "TEE"); err != nil || m.Safety == nil || *m.Safety != 543 {
			t.Errorf("measured at night: %+v: %v", m, err)
		}
	})
}

func TestCapacityNearIsAskedForOncePerWindow(t *testing.T) {
	listening(t, houseOptions{timings: calm}, `{"types":["capacity.near"]}`, func(h *house, r *receiver) {
		h.link("shop,COURSE,,COURSE,1")
		h.shops["shop"].AddListing(open.Listing{Item: "COURSE", Title: "COURSE"})
		h.set(stocksync.ArticleSetting, "COURSE", `{"mode":"unlimited","cap":10,"period":"daily","zone":"UTC","scale_out_permille":600}`)
		h.settled()
		h.buy("shop", "COURSE", 5)
		h.settled()
		time.Sleep(time.Second)
		if got := r.take(); len(got) != 0 {
			t.Fatalf("told at 5 of 10: %+v", got)
		}
		for range 3 {
			h.buy("shop", "COURSE", 1)
			h.settled()
		}
		time.Sleep(time.Second)
		if got := r.take(); kinds(got) != "capacity.near" || got[0].data["used"] != 6.0 || got[0].data["effective_cap"] != 10.0 {
			t.Fatalf("told %+v", got)
		}
		time.Sleep(24 * time.Hour)
		h.buy("shop", "COURSE", 7)
		h.settled()
		time.Sleep(time.Second)
		if got := r.take(); kinds(got) != "capacity.near" || got[0].data["used"] != 7.0 {
			t.Fatalf("the next day: %+v", got)
		}
	})
}

func TestVelocityBufferIsOfWhatWasMeasured(t *testing.T) {
	// A channel of which nothing was measured yet is taken to lag by its poll: less than one unit, rounded up, either way.
	timings := stocksync.Timings{Look: 4 * time.Minute, Poll: 5 * time.Minute}
	listening(t, houseOptions{timings: timings}, `{}`, func(h *house, _ *receiver) {
		h.stocked("TEE", 1000)
		h.settled()
		h.buy("shop", "TEE", 240)
		h.settled()
		time.Sleep(24 * time.Hour)
		// 240 a day, and a channel that was measured to show a change at once: less than one unit, rounded up.
		h.set(stocksync.PolicySetting, "all", `{"velocity_buffer_permille":1000}`)
		if _, err := h.engine.MeasureAll(h.ctx, nil); err != nil {
			t.Fatal(err)
		}
		h.settled()
		x, err := h.engine.Explain(h.ctx, stocksync.ListingKey{Connection: "shop", Ref: ref("TEE")}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		var rules []string
		for _, s := range x.Steps {
			rules = append(rules, s.Rule)
		}
		if text := strings.Join(rules, "; "); !strings.Contains(text, "sells 240 a day") || !strings.Contains(text, "velocity buffer") {
			t.Errorf("explained by %s", text)
		}
		h.shows("shop", "TEE", 759)
	})
}

func TestAlertsAndReplenishmentsAreChecked(t *testing.T) {
	within(t, houseOptions{}, func(h *house) {
		for _, bad := range []struct {
			kind              stocksync.SettingKind
			key, value, field string
		}{
			{stocksync.AlertSetting, "all", `{"threshold":-1}`, "threshold"},
			{stocksync.AlertSetting, "all", `{"threshold":5,"rearm":-1}`, "rearm"},
			{stocksync.AlertSetting, "all", `{"escalation":["soon"]}`, "escalation[0]"},
			{stocksync.AlertSetting, "all", `{"escalation":["2h","1h"]}`, "escalation"},
			{stocksync.AlertSetting, "all", `{"quiet_from":"22:00"}`, "quiet_from"},
			{stocksync.AlertSetting, "all", `{"quiet_from":"22:00","quiet_to":"22:00","quiet_zone":"UTC"}`, "quiet"},
			{stocksync.AlertSetting, "all", `{"quiet_from":"22:00","quiet_to":"07:00","quiet_zone":"Mars/Olympus"}`, "Mars"},
			{stocksync.AlertSetting, "channel:nowhere", `{"threshold":5}`, "key"},
			{stocksync.ReplenishmentSetting, "TEE", `{"method":"guess"}`, "method"},
			{stocksync.ReplenishmentSetting, "TEE", `{"method":"fixed"}`, "safety_stock"},
			{stocksync.ReplenishmentSetting, "TEE", `{"method":"fixed","safety_stock":-1}`, "safety_stock"},
			{stocksync.ReplenishmentSetting, "TEE", `{"method":"greatest"}`, "lead_days"},
			{stocksync.ReplenishmentSetting, "TEE", `{"method":"greatest","lead_days":[3,-1]}`, "lead_days[1]"},
			{stocksync.ReplenishmentSetting, "TEE", `{"method":"service_level","lead_days":[3]}`, "service_permille"},
			{stocksync.ReplenishmentSetting, "TEE", `{"method":"service_level","lead_days":[3],"service_permille":1000}`, "service_permille"},
			{stocksync.ArticleSetting, "TEE", `{"scale_out_permille":-1}`, "scale_out_permille"},
		} {
			_, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{Name: "ann"}, []stocksync.SettingChange{{Kind: bad.kind, Key: bad.key, Value: json.RawMessage(bad.value)}})
			if err == nil || !strings.Contains(err.Error(), bad.field) {
				t.Errorf("%s %s: %v", bad.key, bad.value, err)
			}
		}
	})
}

// calm are the timings of a house that looks by itself now and then, for tests that take days.
var calm = stocksync.Timings{Look: 5 * time.Minute, Poll: 4 * time.Hour}
