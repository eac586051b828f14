package sync_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

var (
	ann = stocksync.Actor{Name: "ann"}
	bob = stocksync.Actor{Name: "bob"}
)

func counted(sku string, n stock.Quantity, at time.Time) stocksync.CountInput {
	return stocksync.CountInput{Row: 1, LevelKey: stocksync.LevelKey{SKU: stock.SKU(sku), Location: "main"}, Counted: n, AsOf: at}
}

// stocktake makes a count list and returns its id.
func (h *house) stocktake(rule stocksync.StocktakeRule, skus ...stock.SKU) int64 {
	h.t.Helper()
	v, bad, err := h.engine.NewStocktake(h.ctx, ann, stocksync.StocktakeOrder{SKUs: skus, Rule: rule})
	if err != nil || len(bad) > 0 {
		h.t.Fatalf("new stocktake: %v %v", bad, err)
	}
	return id(h.t, v.ID)
}

// count enters counts that must be taken.
func (h *house) count(by stocksync.Actor, list int64, counts ...stocksync.CountInput) {
	h.t.Helper()
	if v, err := h.engine.EnterCounts(h.ctx, by, list, counts); err != nil || len(v.Errors) > 0 {
		h.t.Fatalf("count: %+v %v", v.Errors, err)
	}
}

func (h *house) approve(by stocksync.Actor, list int64, send bool) {
	h.t.Helper()
	if v, err := h.engine.ApproveStocktake(h.ctx, by, list, stocksync.StocktakeDecision{Send: send}); err != nil || len(v.Errors) > 0 {
		h.t.Fatalf("approve: %+v %v", v.Errors, err)
	}
	h.settled()
}

// line is a line of a stocktake as it stands now.
func (h *house) line(list int64, n int) stocksync.StocktakeLineView {
	h.t.Helper()
	v, err := h.engine.Stocktake(h.ctx, list)
	if err != nil {
		h.t.Fatal(err)
	}
	return v.Lines[n-1]
}

// found checks a line: its state, what the books had, and the difference.
func (h *house) found(list int64, n int, state stocksync.StocktakeState, expected, difference stock.Quantity) {
	h.t.Helper()
	l := h.line(list, n)
	if l.State != state || l.Expected == nil || *l.Expected != expected || *l.Difference != difference {
		h.t.Errorf("line %d is %s, expected %s, difference %s (%s); want %s, %d, %+d", n, l.State, text(l.Expected), text(l.Difference), l.Hint, state, expected, difference)
	}
}

// later lets some time pass and returns the instant in the middle of it.
func (h *house) later() time.Time {
	time.Sleep(10 * time.Second)
	at := time.Now().UTC()
	time.Sleep(10 * time.Second)
	return at
}

func TestSalesDuringACountAreNotBookedTwice(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"shop": cas}}, func(h *house) {
		h.stocked("TEE", 10)
		h.settled()
		list := h.stocktake(stocksync.StocktakeRule{CountRule: stock.CountRule{RecountUnits: 10}}, "TEE")
		at := h.later() // 10 are expected, 8 are there
		h.warehouse.Ship(orderKey("shop", h.buy("shop", "TEE", 3)))
		h.settled()
		h.warehouse.ShipAll() // 3 leave after the count
		h.settled()
		h.item("TEE", 7, 0, 7)
		h.count(ann, list, counted("TEE", 8, at))
		h.found(list, 1, stocksync.LineVariance, 10, -2)

		// Whoever has counted does not approve; nothing is changed.
		v, err := h.engine.ApproveStocktake(h.ctx, ann, list, stocksync.StocktakeDecision{})
		if err != nil || len(v.Errors) != 1 || !strings.Contains(v.Errors[0].Reason, "another person") {
			t.Errorf("approved by the counter: %+v %v", v, err)
		}
		h.item("TEE", 7, 0, 7)
		h.approve(bob, list, false)
		h.item("TEE", 5, 0, 5) // 7 − 2, and not 8 − 3 − 2
		h.shows("shop", "TEE", 5)
		h.found(list, 1, stocksync.LineApproved, 10, -2)
		h.sound()

		x, err := h.engine.Explain(h.ctx, stocksync.ListingKey{Connection: "shop", Ref: ref("TEE")}, time.Time{})
		if err != nil || !strings.Contains(strings.Join(x.Sentences, "\n"), "A count found -2 at main (stocktake 1, line 1)") {
			t.Errorf("%s (%v)", strings.Join(x.Sentences, "\n"), err)
		}
		h.restart()
		h.settled()
		h.item("TEE", 5, 0, 5)

		// Somebody enters it there by hand. The same difference is not counted twice, whether its webhook comes or not.
		if err := h.warehouse.Adjust("TEE", "main", -2); err != nil {
			t.Fatal(err)
		}
		h.settled()
		h.item("TEE", 5, 0, 5)
		h.found(list, 1, stocksync.LineBooked, 10, -2)
		time.Sleep(24 * time.Hour)
		h.settled()
		h.item("TEE", 5, 0, 5)
		h.sound()
	})
}

func TestWhatIsMoreWaitsForTheSystemOfRecord(t *testing.T) {
	for _, positions := range []bool{true, false} {
		t.Run(fmt.Sprintf("positions %t", positions), func(t *testing.T) {
			within(t, houseOptions{positions: positions, corrects: true, timings: calm, shops: map[string]open.MarketplaceCapabilities{"shop": cas}}, func(h *house) {
				h.stocked("LESS", 10)
				h.stocked("MORE", 10)
				h.settled()
				list := h.stocktake(stocksync.StocktakeRule{CountRule: stock.CountRule{RecountUnits: 10}}, "LESS", "MORE")
				at := h.later()
				h.count(ann, list, counted("LESS", 7, at), counted("MORE", 12, at))
				h.found(list, 2, stocksync.LineVariance, 10, 2)
				h.trouble.setDown("erp", true)
				if v, err := h.engine.ApproveStocktake(h.ctx, bob, list, stocksync.StocktakeDecision{Send: true, CountReason: "theft"}); err != nil || len(v.Errors) > 0 {
					t.Fatalf("%+v %v", v, err)
				}
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				h.item("LESS", 7, 0, 7)
				h.item("MORE", 10, 0, 10)
				if s, err := h.engine.Status(h.ctx); err != nil || s.Settled {
					t.Errorf("settled while differences are on their way (%v)", err)
				}
				h.sound()

				h.trouble.setDown("erp", false)
				h.settled()
				time.Sleep(time.Minute) // what is read at the very instant of the booking tells nothing
				h.settled()
				h.item("LESS", 7, 0, 7)
				h.item("MORE", 12, 0, 12)
				h.shows("shop", "LESS", 7)
				h.shows("shop", "MORE", 12)
				if l := h.line(list, 1); l.State != stocksync.LineBooked || l.Sent != stocksync.SendDone || l.Reason != "theft" {
					t.Errorf("%+v", l)
				}
				if h.warehouse.OnHandOf("LESS", "main") != 7 || h.warehouse.OnHandOf("MORE", "main") != 12 {
					t.Errorf("the warehouse has %d and %d", h.warehouse.OnHandOf("LESS", "main"), h.warehouse.OnHandOf("MORE", "main"))
				}
				time.Sleep(24 * time.Hour)
				h.settled()
				h.item("LESS", 7, 0, 7)
				h.item("MORE", 12, 0, 12)
				h.sound()
				if v, err := h.engine.Stocktake(h.ctx, list); err != nil || v.State != "closed" {
					t.Errorf("%+v (%v)", v, err)
				}
			})
		})
	}
}

// The webhook of a booking may come first, or never.
func TestABookingCountsOnceWhateverArrives(t *testing.T) {
	for _, lost := range []bool{true, false} {
		t.Run(fmt.Sprintf("webhook lost %t", lost), func(t *testing.T) {
			within(t, houseOptions{corrects: true, shops: map[string]open.MarketplaceCapabilities{"shop": cas}}, func(h *house) {
				h.stocked("TEE", 10)
				h.settled()
				list := h.stocktake(stocksync.StocktakeRule{CountRule: stock.CountRule{RecountUnits: 10}}, "TEE")
				at := h.later()
				h.trouble.setLost("stock.moved", lost)
				h.count(ann, list, counted("TEE", 6, at))
				h.approve(bob, list, true)
				time.Sleep(time.Minute) // what is read at the very instant of the booking tells nothing
				for range 30 {
					h.settled()
					h.item("TEE", 6, 0, 6)
					time.Sleep(time.Minute)
				}
				h.found(list, 1, stocksync.LineBooked, 10, -4)
				h.sound()
			})
		})
	}
}

// A shipment from before the count whose message comes after the approval was already missing when it was counted.
func TestAFactFromBeforeTheCountThatComesLate(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"shop": cas}}, func(h *house) {
		h.stocked("TEE", 10)
		h.settled()
		h.buy("shop", "TEE", 3)
		h.settled()
		list := h.stocktake(stocksync.StocktakeRule{CountRule: stock.CountRule{RecountUnits: 10, ApproveUnits: 5}}, "TEE")
		h.later()
		h.trouble.setLost("shipment.shipped", true)
		h.trouble.setDown("erp", true)
		h.warehouse.ShipAll()
		at := h.later()
		h.count(ann, list, counted("TEE", 7, at))
		h.item("TEE", 10, 3, 7)
		time.Sleep(time.Second)
		synctest.Wait()
		h.item("TEE", 7, 3, 4) // within the limit: it counts at once
		h.trouble.setDown("erp", false)
		time.Sleep(time.Hour)
		h.settled()
		h.item("TEE", 7, 0, 7)
		h.found(list, 1, stocksync.LineBooked, 7, 0)
		h.sound()
	})
}

func TestALineIsCountedAgain(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"shop": cas}}, func(h *house) {
		h.stocked("TEE", 10)
		h.settled()
		list := h.stocktake(stocksync.StocktakeRule{Blind: true, RecountByAnother: true, CountRule: stock.CountRule{RecountUnits: 1}}, "TEE")
		if l := h.line(list, 1); l.Expected != nil {
			t.Errorf("a blind list tells that %d are expected", *l.Expected)
		}
		var file bytes.Buffer
		if err := h.engine.ExportStocktake(h.ctx, list, &file); err != nil || !strings.Contains(file.String(), "1,TEE,main,,,,,\n") {
			t.Errorf("%s (%v)", file.String(), err)
		}
		h.count(ann, list, counted("TEE", 7, h.later()))
		if l := h.line(list, 1); l.State != stocksync.LineRecount || l.Expected != nil || l.Difference != nil {
			t.Errorf("%+v", l)
		}
		v, err := h.engine.EnterCounts(h.ctx, ann, list, []stocksync.CountInput{counted("TEE", 7, h.later())})
		if err != nil || len(v.Errors) != 1 || !strings.Contains(v.Errors[0].Reason, "another person") {
			t.Errorf("%+v %v", v, err)
		}
		h.count(bob, list, counted("TEE", 7, h.later()))
		h.found(list, 1, stocksync.LineVariance, 10, -3)
		// Both have counted it: neither approves.
		for _, by := range []stocksync.Actor{ann, bob} {
			if v, err := h.engine.ApproveStocktake(h.ctx, by, list, stocksync.StocktakeDecision{}); err != nil || len(v.Errors) != 1 {
				t.Errorf("%s: %+v %v", by.Name, v, err)
			}
		}
		if v, err := h.engine.RejectStocktake(h.ctx, stocksync.Actor{Name: "cy"}, list, stocksync.StocktakeDecision{Note: "found in the other aisle"}); err != nil || v.States[stocksync.LineRejected] != 1 {
			t.Errorf("%+v %v", v, err)
		}
		h.settled()
		h.item("TEE", 10, 0, 10)
		audit, err := h.engine.Audit(h.ctx, fmt.Sprintf("stocktake %d", list), 0, 100)
		var actions []string
		for _, a := range audit {
			actions = append(actions, a.By+" "+a.Action)
		}
		if want := "ann stocktake made, ann stocktake counted, bob stocktake counted, cy stocktake rejected"; err != nil || strings.Join(actions, ", ") != want {
			t.Errorf("%v (%v)", actions, err)
		}
	})
}

// What the warehouse itself corrects after the count is not corrected once more.
func TestTheWarehouseCorrectsItselfMeanwhile(t *testing.T) {
	for name, correct := range map[string]func(h *house) error{
		"by a movement":  func(h *house) error { return h.warehouse.Adjust("TEE", "main", -2) },
		"by a statement": func(h *house) error { return h.warehouse.Count("TEE", "main", 8) },
	} {
		t.Run(name, func(t *testing.T) {
			within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"shop": cas}}, func(h *house) {
				h.stocked("TEE", 10)
				h.settled()
				list := h.stocktake(stocksync.StocktakeRule{CountRule: stock.CountRule{RecountUnits: 10}}, "TEE")
				h.count(ann, list, counted("TEE", 8, h.later()))
				h.found(list, 1, stocksync.LineVariance, 10, -2)
				if err := correct(h); err != nil {
					t.Fatal(err)
				}
				h.settled()
				h.item("TEE", 8, 0, 8)
				if l := h.line(list, 1); l.State != stocksync.LineRecount || !strings.Contains(l.Hint, "itself") {
					t.Errorf("%+v", l)
				}
				v, err := h.engine.ApproveStocktake(h.ctx, bob, list, stocksync.StocktakeDecision{Lines: []int{1}})
				if err != nil || len(v.Errors) != 1 {
					t.Errorf("%+v %v", v, err)
				}
				h.count(ann, list, counted("TEE", 8, h.later()))
				h.found(list, 1, stocksync.LineExact, 8, 0)
				h.sound()
			})
		})
	}
}

func TestBadCountsAreRefusedByRow(t *testing.T) {
	within(t, houseOptions{positions: true}, func(h *house) {
		h.stocked("TEE", 10)
		h.stocked("MUG", 10)
		h.settled()
		if _, bad, err := h.engine.NewStocktake(h.ctx, ann, stocksync.StocktakeOrder{SKUs: []stock.SKU{"TEE", "NONE", "TEE"}}); err != nil || len(bad) != 2 || bad[0].Line != 2 || bad[1].Line != 3 {
			t.Errorf("%+v %v", bad, err)
		}
		list := h.stocktake(stocksync.StocktakeRule{CountRule: stock.CountRule{RecountUnits: 10}}, "TEE", "MUG")
		good := h.later().Format(time.RFC3339)
		rows := []string{"line,sku,location,expected,counted,as_of,reason,note", "1,TEE,main,,9," + good + ",lost,", "2,MUG,main,,,,,", ",NONE,main,,9," + good + ",,", ",MUG,main,,-1," + good + ",,", ",MUG,main,,1.5," + good + ",,",
			",MUG,main,,1,2999-01-01T00:00:00Z,,", ",MUG,main,,1,1999-01-01T00:00:00Z,,", ",MUG,main,,1,,,", ",TEE,main,,9," + good + ",,", ",MUG,main,,1," + good + ",bad luck,", ",MUG,main,,1," + good + ",other,"}
		v, err := h.engine.ImportCounts(h.ctx, ann, list, strings.NewReader(strings.Join(rows, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range v.Errors {
			got = append(got, fmt.Sprint(e.Line, " ", e.Field))
		}
		if want := "4 sku, 5 counted, 6 counted, 7 as_of, 8 as_of, 9 as_of, 10 sku, 11 reason, 12 note"; strings.Join(got, ", ") != want {
			t.Errorf("the errors are %v", v.Errors)
		}
		if l := h.line(list, 1); l.State != stocksync.LineOpen {
			t.Errorf("half of a bad file was stored: %+v", l)
		}
		v, err = h.engine.ImportCounts(h.ctx, ann, list, strings.NewReader(rows[0]+"\n"+rows[1]+"\n,\"MUG"))
		if err != nil || v.Changed != 0 || len(v.Errors) != 1 || v.Errors[0].Line != 3 {
			t.Errorf("a quote that does not end: %+v %v", v, err)
		}
		v, err = h.engine.ImportCounts(h.ctx, ann, list, strings.NewReader(strings.Join(rows[:3], "\n")))
		if err != nil || len(v.Errors) > 0 || v.Changed != 1 {
			t.Errorf("%+v %v", v, err)
		}
		if _, err := h.engine.Stocktake(h.ctx, 99); !errors.Is(err, stocksync.ErrNotFound) {
			t.Error(err)
		}
	})
}

func TestAnOccurrenceMakesOneList(t *testing.T) {
	within(t, houseOptions{positions: true, timings: calm}, func(h *house) {
		h.stocked("BEST", 1000)
		h.stocked("REST", 1000)
		h.settled()
		h.buy("shop", "BEST", 90) // class A: 80 % are reached with it
		h.settled()
		// 2000-01-01 is a Saturday: the first list is of Monday, the 3rd.
		h.planned("weekly", `{"period":"weekly","weekday":1,"begins":"06:00","zone":"Europe/Berlin","a_days":7,"c_days":28}`)
		lists := func() (all []string) {
			rows, err := h.engine.Stocktakes(h.ctx, false, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range rows {
				all = append(all, fmt.Sprintf("%s: %d", v.Occurrence.Format("01-02 15:04"), v.States[stocksync.LineOpen]))
			}
			return all
		}
		until := func(date string) {
			at, err := time.Parse(time.DateOnly, date)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(at))
			synctest.Wait()
		}
		until("2000-01-04")
		if got := lists(); fmt.Sprint(got) != "[01-03 05:00: 2]" {
			t.Errorf("%v", got)
		}
		h.restart()
		until("2000-01-11")
		h.stop()
		until("2000-01-26") // two Mondays while it is down
		h.start()
		h.settled()
		until("2000-02-01")
		h.restart()
		h.settled()
		// After four weeks the other article is due again.
		if got := lists(); fmt.Sprint(got) != "[01-31 05:00: 2 01-24 05:00: 1 01-17 05:00: 1 01-10 05:00: 1 01-03 05:00: 2]" {
			t.Errorf("%v", got)
		}
	})
}

// planned decides a plan of stocktakes.
func (h *house) planned(name, value string) {
	h.t.Helper()
	if _, err := h.engine.ChangeSettings(h.ctx, ann, []stocksync.SettingChange{{Kind: stocksync.StocktakeSetting, Key: name, Value: []byte(value)}}); err != nil {
		h.t.Fatal(err)
	}
}

func TestPlansThatMakeNoSense(t *testing.T) {
	within(t, houseOptions{}, func(h *house) {
		for value, field := range map[string]string{
			`{"period":"weekly","a_days":7}`:                                          "zone",
			`{"period":"weekly","zone":"Europe/Atlantis","a_days":7}`:                 "zone",
			`{"period":"weekly","zone":"UTC"}`:                                        "a_days",
			`{"period":"hours","zone":"UTC","a_days":7}`:                              "period",
			`{"period":"monthly","zone":"UTC","a_days":7}`:                            "day",
			`{"period":"weekly","zone":"UTC","a_days":-1}`:                            "a_days",
			`{"period":"weekly","zone":"UTC","a_days":7,"recount_units":-1}`:          "recount_units",
			`{"period":"weekly","zone":"UTC","a_days":7,"approve_value":-1}`:          "approve_value",
			`{"period":"weekly","zone":"UTC","a_days":7,"locations":["main","main"]}`: "locations[1]",
		} {
			_, err := h.engine.ChangeSettings(h.ctx, ann, []stocksync.SettingChange{{Kind: stocksync.StocktakeSetting, Key: "p", Value: []byte(value)}})
			if f, ok := errors.AsType[*stock.FieldError](err); !ok || f.Field != field {
				t.Errorf("%s: %v", value, err)
			}
		}
	})
}
