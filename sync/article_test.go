package sync_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// sold puts a listing of an article that no warehouse has into every shop, and decides how it is sold.
func (h *house) sold(sku, article string) {
	h.t.Helper()
	for name, s := range h.shops {
		s.AddListing(open.Listing{Item: sku, Title: sku})
		h.link(name + "," + sku + ",," + sku + ",1")
	}
	h.article(sku, article)
}

func (h *house) article(sku, value string) {
	h.t.Helper()
	_, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{Name: "tester"}, []stocksync.SettingChange{{Kind: stocksync.ArticleSetting, Key: sku, Value: []byte(value)}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.settled()
}

func TestAWindowBeginsAnewAtItsInstant(t *testing.T) {
	within(t, houseOptions{positions: true, timings: calm, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.sold("COURSE", `{"mode":"unlimited","cap":50,"period":"daily","zone":"Europe/Berlin"}`)
		h.shows("a", "COURSE", 50)
		first := h.buy("a", "COURSE", 20)
		h.settled()
		h.shows("a", "COURSE", 30)
		h.restart()
		h.settled()
		h.shows("a", "COURSE", 30)

		midnight := time.Date(2000, 1, 1, 23, 0, 0, 0, time.UTC) // in Berlin
		time.Sleep(time.Until(midnight) - time.Millisecond)
		h.shows("a", "COURSE", 30)
		before := time.Now()
		time.Sleep(time.Second)
		h.settled()
		h.shows("a", "COURSE", 50)

		// What was sold yesterday and is given back is no place of today.
		if !h.shops["a"].Cancel(first) {
			t.Fatal("the order cannot be cancelled")
		}
		h.settled()
		h.shows("a", "COURSE", 50)
		if n := h.incidents(stocksync.IncidentOversell); n != 0 {
			t.Errorf("%d oversells of what has no stock", n)
		}
		x, err := h.engine.Explain(h.ctx, stocksync.ListingKey{Connection: "a", Ref: ref("COURSE")}, before)
		if err != nil || x.Components[0].Steps[0].Rule != "the cap of the window from 1999-12-31T23:00:00Z to 2000-01-01T23:00:00Z" {
			t.Errorf("the past is explained with %+v (%v)", x.Components, err)
		}
	})
}

func TestAHundredBuyersGetFiftyPlaces(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.sold("SEAT", `{"kind":"quota","cap":50,"period":"monthly","day":1,"zone":"UTC"}`)
		var accepted atomic.Int64
		var buyers sync.WaitGroup
		for range 100 {
			buyers.Go(func() {
				if _, ok := h.shops["a"].Buy("SEAT", 1); ok {
					accepted.Add(1)
				}
			})
		}
		buyers.Wait()
		h.settled()
		h.shows("a", "SEAT", 0)
		if n := accepted.Load(); n != 50 {
			t.Errorf("%d of 100 orders were accepted, want 50", n)
		}
	})
}

func TestARateLetsGoWhenItsSalesAreOver(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.sold("IMAGE", `{"mode":"unlimited","cap":1000,"period":"daily","zone":"UTC","per_minute":10}`)
		h.shows("a", "IMAGE", 10)
		h.buy("a", "IMAGE", 8)
		h.settled()
		h.shows("a", "IMAGE", 2)
		time.Sleep(30 * time.Second)
		h.buy("a", "IMAGE", 2)
		h.settled()
		h.shows("a", "IMAGE", 0)
		time.Sleep(31 * time.Second)
		h.settled()
		h.shows("a", "IMAGE", 8)
		time.Sleep(31 * time.Second)
		h.settled()
		h.shows("a", "IMAGE", 10)
	})
}

// orderOf is a webhook about the order of one line of a shop.
func orderOf(id, item string, quantity stock.Quantity) string {
	return fmt.Sprintf(`{"type":"order.upserted","timestamp":%q,"data":{"order_id":%[2]q,"version":1,"placed_at":%[1]q,"updated_at":%[1]q,"status":"open",`+
		`"lines":[{"line_id":"1","item":%[3]q,"quantity":%[4]d,"cancelled":0,"shipped":0,"restocked":0}]}}`, time.Now().UTC().Format(time.RFC3339), id, item, quantity)
}

// What is bought and cancelled before either was applied is no sale, and holds up nothing.
func TestAnOrderAndItsCancellationAtOnce(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.sold("SEAT", `{"kind":"quota","cap":50,"period":"monthly","day":1,"zone":"UTC"}`)
		h.stop()
		h.startAfter(func() {
			h.deliver("a", orderOf("taken-back", "SEAT", 3))
			time.Sleep(time.Millisecond)
			h.deliver("a", `{"type":"order.cancelled","timestamp":"2000-01-01T00:00:00Z","data":{"order_id":"taken-back","version":2}}`)
		})
		h.settled()
		h.shows("a", "SEAT", 50)
		h.buy("a", "SEAT", 20)
		h.settled()
		h.shows("a", "SEAT", 30)
	})
}

// More than anybody can count is sold of a window all the same, and holds up nothing.
func TestAnOrderOfMoreThanCanBeCounted(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.shops["a"].AddListing(open.Listing{Item: "BLOCK", Title: "BLOCK"})
		h.link("a,BLOCK,,CALLS,1000")
		h.sold("CALLS", `{"kind":"quota","cap":50,"period":"monthly","day":1,"zone":"UTC"}`)
		h.shows("a", "CALLS", 50)
		h.deliver("a", orderOf("huge", "BLOCK", stock.MaxQuantity))
		h.settled()
		h.shows("a", "CALLS", 0)
	})
}

func TestAnArticleIsPreviewedUnderItsNewRule(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 20)
		h.settled()
		rows, err := h.engine.PreviewSettings(h.ctx, []stocksync.SettingChange{{Kind: stocksync.ArticleSetting, Key: "X",
			Value: []byte(`{"mode":"unlimited","cap":70,"period":"weekly","weekday":1,"zone":"UTC","unit_cost":300,"price":500,"budget":6300}`)}}, stocksync.ListingKey{}, 10)
		if err != nil || len(rows) != 1 || *rows[0].Before != 20 || *rows[0].After != 20+1 {
			t.Errorf("the preview is %+v (%v), want ⌊6300 ÷ 300⌋ = 21", rows, err)
		}
		h.shows("a", "X", 20)
		h.article("X", `{"mode":"reserved"}`)
		h.shows("a", "X", 0)
		item, err := h.engine.Item(h.ctx, "X")
		if err != nil || item.Mode != "reserved" || item.Kind != "physical" {
			t.Errorf("the article is %+v (%v)", item, err)
		}
		h.article("X", `null`)
		h.shows("a", "X", 20)
	})
}

func TestArticlesThatMakeNoSenseAreRefusedByField(t *testing.T) {
	within(t, houseOptions{shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		for value, field := range map[string]string{
			`{"kind":"thing"}`:                                   "kind",
			`{"kind":"service"}`:                                 "needs",
			`{"mode":"endless"}`:                                 "mode",
			`{"alert_threshold":-1}`:                             "alert_threshold",
			`{"per_minute":-1}`:                                  "per_minute",
			`{"mode":"unlimited"}`:                               "period",
			`{"kind":"quota","cap":4}`:                           "period",
			`{"zone":"UTC"}`:                                     "period",
			`{"period":"daily"}`:                                 "zone",
			`{"period":"yearly","zone":"UTC"}`:                   "period",
			`{"zone":"Mars","period":"daily"}`:                   "zone",
			`{"kind":"licence","mode":"reserved","cap":-1}`:      "cap",
			`{"period":"monthly","day":32,"zone":"UTC"}`:         "day",
			`{"unit_cost":5}`:                                    "price",
			`{"budget":5}`:                                       "unit_cost",
			`{"unit_cost":0,"price":1,"budget":5}`:               "unit_cost",
			`{"unit_cost":1,"price":1,"fee_permille":1001}`:      "fee_permille",
			`{"mode":"unlimited","period":"daily","zone":"UTC"}`: "cap",
			`{"mode":"unlimited","kind":"licence","cap":1,"period":"daily","zone":"UTC"}`: "mode",
		} {
			_, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{Name: "tester"}, []stocksync.SettingChange{{Kind: stocksync.ArticleSetting, Key: "X", Value: []byte(value)}})
			if f, ok := errors.AsType[*stock.FieldError](err); !ok || f.Field != field {
				t.Errorf("%s: %v, want the field %s refused", value, err, field)
			}
		}
	})
}
