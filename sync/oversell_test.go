package sync_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// oversell is the one oversell that is open.
func (h *house) oversell() stocksync.IncidentDetail {
	h.t.Helper()
	rows, err := h.engine.Incidents(h.ctx, true, 0, 100)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, i := range rows {
		if i.Kind == stocksync.IncidentOversell {
			v, err := h.engine.Incident(h.ctx, id(h.t, i.ID))
			if err != nil {
				h.t.Fatal(err)
			}
			return v
		}
	}
	h.t.Fatalf("no oversell is open: %+v", rows)
	return stocksync.IncidentDetail{}
}

func (h *house) incident(number string) stocksync.IncidentDetail {
	h.t.Helper()
	v, err := h.engine.Incident(h.ctx, id(h.t, number))
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// choose chooses a remedy for the affected line n of an incident.
func (h *house) choose(v stocksync.IncidentDetail, n int, kind stock.RemedyKind) (stocksync.IncidentDetail, error) {
	h.t.Helper()
	a := v.Affected[n]
	return h.engine.ChooseRemedy(h.ctx, stocksync.Actor{Name: "ann", Reason: "called the buyer"}, id(h.t, v.ID),
		stocksync.RemedyChoice{OrderKey: stocksync.OrderKey{Channel: a.Connection, OrderID: a.OrderID}, LineID: a.LineID, Kind: kind})
}

var remedying = map[string]open.MarketplaceCapabilities{
	"a": {BatchSize: 50, ConditionalWrite: true, IdempotentWrite: true, Shipments: true, StopSale: true, Remedies: true},
	"b": {BatchSize: 50, ConditionalWrite: true, IdempotentWrite: true, Shipments: true},
}

func TestAnOversellStopsTheSaleEverywhere(t *testing.T) {
	within(t, houseOptions{positions: true, amend: true, shops: remedying}, func(h *house) {
		h.stocked("X", 3)
		h.stocked("Y", 9)
		for _, s := range h.shops {
			s.AddListing(open.Listing{Item: "SET"})
		}
		h.link("a,SET,,X,1", "a,SET,,Y,1")
		h.setting(stocksync.IncidentSetting, "channel:a", `{"stop_listings":true,"compensation":500}`)
		h.settled()
		h.shows("a", "SET", 3)

		h.trouble.setDown("b", true) // b does not hear of it
		h.buy("a", "X", 2)
		time.Sleep(time.Second)
		last := h.buy("b", "X", 3)
		h.trouble.setDown("b", false)
		h.settled()
		v := h.oversell()
		if v.Short != 2 || v.Subject != "X" || len(v.Affected) != 1 || v.Affected[0].OrderID != last || v.Affected[0].Short != 2 || v.Affected[0].Units != 3 {
			t.Fatalf("%+v", v)
		}
		if v.Affected[0].Buyer == "" {
			t.Error("nobody knows how to reach the buyer")
		}
		h.shows("a", "X", 0)
		h.shows("a", "SET", 0)
		h.shows("b", "X", 0)
		if h.shops["a"].Sellable("X", "") != 0 || status(h, "a", "X") != "stopped" || status(h, "a", "SET") != "stopped" || status(h, "b", "X") != "active" {
			t.Errorf("a's listings are %s and %s, b's is %s", status(h, "a", "X"), status(h, "a", "SET"), status(h, "b", "X"))
		}
		x, err := h.engine.Explain(h.ctx, stocksync.ListingKey{Connection: "a", Ref: ref("SET")}, time.Time{})
		if err != nil || !strings.Contains(strings.Join(x.Sentences, "\n"), "sale stopped by incident "+v.ID) {
			t.Errorf("%v %v", x.Sentences, err)
		}
		during := time.Now()
		if len(v.Timeline) == 0 || !strings.Contains(fmt.Sprint(v.Timeline), last) || *v.Timeline[0].Available != -2 {
			t.Errorf("the timeline is %+v", v.Timeline)
		}

		time.Sleep(time.Minute)
		if err := h.warehouse.Receive("X", "main", 2); err != nil {
			t.Fatal(err)
		}
		h.settled()
		if n := h.incidents(stocksync.IncidentOversell); n != 0 {
			t.Errorf("%d oversells are open", n)
		}
		if err := h.warehouse.Receive("X", "main", 4); err != nil {
			t.Fatal(err)
		}
		h.settled()
		h.shows("a", "X", 4)
		h.shows("a", "SET", 4)
		if status(h, "a", "X") != "active" {
			t.Error("the sale is not resumed")
		}
		then, err := h.engine.Explain(h.ctx, stocksync.ListingKey{Connection: "a", Ref: ref("X")}, during)
		if err != nil || !strings.Contains(strings.Join(then.Sentences, "\n"), "sale stopped by incident "+v.ID) {
			t.Errorf("of the past: %v %v", then.Sentences, err)
		}
		h.sound()
	})
}

func status(h *house, shop, item string) string {
	for _, l := range h.shops[shop].Listings() {
		if l.Item == item {
			return l.Status
		}
	}
	return ""
}

func TestARefundCancelsTheLineAndClosesTheOversell(t *testing.T) {
	within(t, houseOptions{positions: true, amend: true, shops: remedying}, func(h *house) {
		h.stocked("X", 2)
		h.settled()
		h.trouble.setDown("a", true)
		h.buy("b", "X", 2)
		time.Sleep(time.Second)
		last := h.buy("a", "X", 2)
		h.trouble.setDown("a", false)
		h.settled()
		v := h.oversell()
		if v.Affected[0].OrderID != last {
			t.Fatalf("%s is affected first, and %s was last", v.Affected[0].OrderID, last)
		}
		for range 2 { // the second time changes nothing
			if _, err := h.choose(v, 0, stock.RemedyRefund); err != nil {
				t.Fatal(err)
			}
		}
		h.settled()
		time.Sleep(time.Minute)
		v = h.incident(v.ID)
		if r := v.Affected[0].Remedy; r == nil || r.State != stocksync.RemedyDone || r.ByHand || r.SentAt == nil || v.ClosedAt == nil {
			t.Errorf("%+v of %+v", r, v)
		}
		if told := h.shops["a"].Remedies(); len(told) != 1 || told[0].Kind != "refund" || told[0].Lines[0].Quantity != 2 {
			t.Errorf("the shop was told %+v", told)
		}
		h.item("X", 2, 2, 0)
		for _, o := range h.warehouse.Orders() {
			if strings.HasSuffix(o.Key, last) && o.Lines[0].Cancelled != 2 {
				t.Errorf("the warehouse has %+v", o)
			}
		}
		entries, err := h.engine.Audit(h.ctx, "incident "+v.ID, 0, 100)
		if err != nil || len(entries) != 1 || entries[0].Action != "remedy chosen" || entries[0].By != "ann" {
			t.Errorf("the audit trail has %+v %v", entries, err)
		}
		h.sound()
	})
}

func TestASubstituteMovesThePromise(t *testing.T) {
	within(t, houseOptions{positions: true, amend: true, shops: remedying}, func(h *house) {
		h.stocked("X", 2)
		h.stocked("BETTER", 5)
		h.stocked("WORSE", 5)
		h.settled()
		h.trouble.setDown("a", true)
		h.buy("b", "X", 2)
		time.Sleep(time.Second)
		last := h.buy("a", "X", 2)
		h.trouble.setDown("a", false)
		h.settled()
		_, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{}, []stocksync.SettingChange{{Kind: stocksync.SubstituteSetting, Key: "X",
			Value: []byte(`{"grade":2,"substitutes":[{"sku":"WORSE","grade":1}]}`)}})
		if f, ok := errors.AsType[*stock.FieldError](err); !ok || f.Field != "substitutes[0].grade" {
			t.Errorf("a lower grade is refused with %v", err)
		}
		h.setting(stocksync.SubstituteSetting, "X", `{"grade":2,"substitutes":[{"sku":"BETTER","grade":3}]}`)
		v := h.oversell()
		v, err = h.choose(v, 0, stock.RemedySubstitute)
		if err != nil {
			t.Fatal(err)
		}
		h.settled()
		time.Sleep(time.Minute)
		h.settled()
		v = h.incident(v.ID)
		if r := v.Affected[0].Remedy; r.State != stocksync.RemedyDone || r.Substitute != "BETTER" || v.ClosedAt == nil {
			t.Errorf("%+v closed %v", r, v.ClosedAt)
		}
		h.item("X", 2, 2, 0)
		h.item("BETTER", 5, 2, 3)
		h.shows("a", "BETTER", 3)
		for _, o := range h.warehouse.Orders() {
			if strings.HasSuffix(o.Key, last) && (len(o.Lines) != 2 || o.Lines[0].Cancelled != 2 || o.Lines[1].SKU != "BETTER" || o.Lines[1].Quantity != 2) {
				t.Errorf("the warehouse has %+v", o)
			}
		}
		h.sound()
		h.warehouse.ShipAll()
		h.settled()
		h.item("X", 0, 0, 0)
		h.item("BETTER", 3, 0, 3)
		h.sound()
	})
}

func TestARestockIsDoneWhenTheDeliveryComes(t *testing.T) {
	within(t, houseOptions{positions: true, timings: calm, shops: remedying}, func(h *house) {
		h.stocked("X", 1)
		h.setting(stocksync.IncidentSetting, "all", `{"compensation":250}`)
		h.settled()
		h.buy("a", "X", 1)
		h.buy("b", "X", 1)
		h.settled()
		v := h.oversell()
		if _, err := h.choose(v, 0, stock.RemedyRestock); err == nil {
			t.Error("a delivery that nobody expects can be chosen")
		}
		due := time.Now().Add(72 * time.Hour).Truncate(time.Second)
		h.setting(stocksync.PurchaseSetting, "PO-1/1", fmt.Sprintf(`{"sku":"X","quantity":5,"expected_at":%q}`, at(due)))
		v = h.oversell()
		if p := v.Affected[0].Proposals; len(p) != 2 || p[0].Kind != stock.RemedyRestock || !p[0].ReadyAt.Equal(due) || p[0].Compensation != 250 || p[1].Kind != stock.RemedyRefund {
			t.Fatalf("proposed: %+v", p)
		}
		v, err := h.choose(v, 0, stock.RemedyRestock)
		if err != nil {
			t.Fatal(err)
		}
		h.settled()
		v = h.incident(v.ID)
		a := v.Affected[0]
		if byHand := a.Connection == "b"; a.Remedy.ByHand != byHand || v.ClosedAt != nil || !strings.Contains(a.Remedy.Message, "2.50") {
			t.Errorf("%+v", a.Remedy)
		}
		time.Sleep(48 * time.Hour)
		if err := h.warehouse.Receive("X", "main", 5); err != nil {
			t.Fatal(err)
		}
		h.settled()
		time.Sleep(time.Hour)
		v = h.incident(v.ID)
		if v.ClosedAt == nil || v.Affected[0].Remedy.State != stocksync.RemedyDone {
			t.Errorf("%+v", v.Affected[0].Remedy)
		}
		h.shows("a", "X", 4)
	})
}

func TestAPersonStopsAndResumesASale(t *testing.T) {
	within(t, houseOptions{positions: true, shops: remedying}, func(h *house) {
		h.stocked("X", 7)
		h.settled()
		h.setting(stocksync.StopSaleSetting, "sku:X", `{"stop_listings":true,"note":"recall"}`)
		h.settled()
		h.shows("a", "X", 0)
		h.shows("b", "X", 0)
		if status(h, "a", "X") != "stopped" {
			t.Error("the listing is not stopped")
		}
		h.setting(stocksync.StopSaleSetting, "sku:X", "")
		h.settled()
		h.shows("a", "X", 7)
		h.shows("b", "X", 7)
		if status(h, "a", "X") != "active" {
			t.Error("the listing is not resumed")
		}
		h.setting(stocksync.StopSaleSetting, "listing:b:X", `{}`)
		h.settled()
		h.shows("a", "X", 7)
		h.shows("b", "X", 0)
	})
}

// oversold makes an oversell: b sells first, and a, which did not hear of it, sells the same units again.
func (h *house) oversold(sku string, units int64) (first, last string) {
	h.t.Helper()
	h.trouble.setDown("a", true)
	first = h.buy("b", sku, units)
	time.Sleep(time.Second)
	last = h.buy("a", sku, units)
	time.Sleep(time.Second)
	h.trouble.setDown("a", false)
	return first, last
}

func TestARemedyIsToldOnceWhateverHappensMeanwhile(t *testing.T) {
	faults := fake.Faults{Permille: map[fake.Fault]int{fake.ServerErrorApplied: 150, fake.TimeoutApplied: 100, fake.ServerError: 150}}
	within(t, houseOptions{positions: true, amend: true, shops: remedying, faults: faults}, func(h *house) {
		h.stocked("X", 6)
		h.settled()
		h.oversold("X", 6)
		h.settled()
		v := h.oversell()
		if _, err := h.choose(v, 0, stock.RemedyRefund); err != nil {
			t.Fatal(err)
		}
		for range 8 { // the process ends at one instant after the other
			h.restart()
			time.Sleep(70 * time.Millisecond)
		}
		h.settled()
		time.Sleep(10 * time.Minute)
		h.settled()
		v = h.incident(v.ID)
		if r := v.Affected[0].Remedy; r.State != stocksync.RemedyDone || v.ClosedAt == nil {
			t.Errorf("%+v closed %v", r, v.ClosedAt)
		}
		if told := h.shops["a"].Remedies(); len(told) != 1 {
			t.Errorf("the shop was told %+v", told)
		}
		h.item("X", 6, 6, 0)
		h.sound()
	})
}

func TestWhatARatioOrAMinimumAllowsIsNoOversell(t *testing.T) {
	within(t, houseOptions{positions: true, shops: remedying, oversell: stock.OversellBound{MaxPermille: 1100, MinOrders: 1}}, func(h *house) {
		h.stocked("FILLER", 100)
		h.stocked("X", 20)
		h.stocked("MADE", 0)
		h.settled()
		for _, shop := range []string{"a", "b"} { // half of the orders fall
			h.shops[shop].Cancel(h.buy(shop, "FILLER", 1))
			h.buy(shop, "FILLER", 1)
		}
		h.settled()
		h.setting(stocksync.PolicySetting, "sku:X", `{"oversell_permille":1050}`)
		h.setting(stocksync.PolicySetting, "sku:MADE", `{"minimum":3}`)
		h.settled()
		h.shows("a", "X", 21) // floor(20 × 1.05)
		h.buy("a", "X", 21)
		h.settled()
		h.buy("a", "MADE", 2)
		h.settled()
		h.item("X", 20, 21, -1)
		h.item("MADE", 0, 2, -2)
		h.shows("a", "MADE", 3)
		if n := h.incidents(stocksync.IncidentOversell); n != 0 {
			t.Errorf("%d oversells although the policies allow it", n)
		}
		// A ratio that is taken back makes no oversell of what was accepted before; less stock does: floor(18 × 1.05) = 18 of 21.
		h.setting(stocksync.PolicySetting, "sku:X", `{"oversell_permille":1000}`)
		h.settled()
		if n := h.incidents(stocksync.IncidentOversell); n != 0 {
			t.Errorf("%d oversells by a ratio that was taken back", n)
		}
		if err := h.warehouse.Adjust("X", "main", -2); err != nil {
			t.Fatal(err)
		}
		h.settled()
		if v := h.oversell(); v.Subject != "X" || v.Short != 3 || v.Affected[0].Short != 3 {
			t.Errorf("%+v", v)
		}
	})
}

func TestWhatAPersonFinishesIsMadeGood(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": remedying["b"], "b": remedying["b"]}}, func(h *house) {
		h.stocked("X", 2)
		h.stocked("Y", 9)
		h.setting(stocksync.SubstituteSetting, "X", `{"grade":1,"substitutes":[{"sku":"Y","grade":1}]}`)
		h.settled()
		_, last := h.oversold("X", 2)
		h.settled()
		v := h.oversell()
		if _, err := h.choose(v, 0, stock.RemedyRefund); err != nil {
			t.Fatal(err)
		}
		h.settled()
		v = h.incident(v.ID)
		if r := v.Affected[0].Remedy; !r.ByHand || r.State != stocksync.RemedyChosen {
			t.Fatalf("%+v", r)
		}
		// By hand it can still be decided otherwise. The warehouse cannot change an order: it lets go of X, and Y is a person's work.
		if _, err := h.choose(v, 0, stock.RemedySubstitute); err != nil {
			t.Fatal(err)
		}
		h.settled()
		h.item("X", 2, 2, 0)
		h.item("Y", 9, 2, 7)
		if n := h.incidents(stocksync.IncidentOrderDiffers); n != 1 {
			t.Errorf("%d incidents say that the order differs", n)
		}
		v, err := h.engine.FinishRemedy(h.ctx, stocksync.Actor{Name: "bob"}, id(t, v.ID), stocksync.OrderKey{Channel: "a", OrderID: last}, "1", true)
		if err != nil || v.Affected[0].Remedy.State != stocksync.RemedyDone || v.Affected[0].Remedy.FinishedBy != "bob" || v.ClosedAt == nil {
			t.Errorf("%+v %v", v.Affected, err)
		}
		h.sound()

		// A buyer who agrees to wait without a date is made good too, and a refund by hand cancels here.
		if err := h.warehouse.Adjust("X", "main", -1); err != nil {
			t.Fatal(err)
		}
		h.settled()
		v = h.oversell()
		if _, err := h.choose(v, 0, stock.RemedyRefund); err != nil {
			t.Fatal(err)
		}
		h.settled()
		a := v.Affected[0]
		if a.Short != 1 || a.Connection != "b" {
			t.Fatalf("%+v", a)
		}
		if _, err := h.engine.FinishRemedy(h.ctx, stocksync.Actor{Name: "bob"}, id(t, v.ID), stocksync.OrderKey{Channel: "b", OrderID: a.OrderID}, a.LineID, true); err != nil {
			t.Fatal(err)
		}
		h.settled()
		h.item("X", 1, 1, 0)
		if v := h.incident(v.ID); v.ClosedAt == nil {
			t.Error("the oversell is not over")
		}
		h.sound()
		if !h.shops["b"].PartialCancel(a.OrderID, a.LineID, 1) {
			t.Fatal("the shop cancels nothing")
		}
		h.settled()
		h.item("X", 1, 1, 0) // the same unit, and not another one
	})
}

func TestADisputedVersionIsSettledByTheNext(t *testing.T) {
	within(t, houseOptions{positions: true, silent: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 9)
		h.settled()
		order := func(version int64, quantity stock.Quantity) {
			body, err := json.Marshal([]connectors.Fact{{Kind: connectors.OrderUpserted, Order: &connectors.Order{OrderID: "O-1", Version: version, PlacedAt: time.Now(), UpdatedAt: time.Now(),
				Status: connectors.OrderOpen, Lines: []connectors.ChannelLine{{LineID: "1", Ref: ref("X"), Quantity: quantity}}}}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.store.Put(h.ctx, stocksync.NewEvent{Connection: "a", Key: fmt.Sprintf("o-%d-%d", version, quantity), Type: "order.upserted", Format: stocksync.FactsFormat, Body: body, ReceivedAt: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		order(1, 2)
		order(1, 3)
		h.settled()
		if n := h.incidents(stocksync.IncidentVersionConflict); n != 1 {
			t.Errorf("%d disputes", n)
		}
		order(2, 3)
		h.settled()
		if n := h.incidents(stocksync.IncidentVersionConflict); n != 0 {
			t.Errorf("%d disputes after the next version", n)
		}
	})
}
