package fake

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/open"
)

// warehouseOf makes a warehouse with positions, two locations, and 10 of each SKU at the first.
func warehouseOf(t *testing.T, c WarehouseConfig, skus ...string) (*Warehouse, client) {
	t.Helper()
	c.Locations = []open.Location{{ID: "east", Name: "East"}, {ID: "west", Name: "West"}}
	w := NewWarehouse(c)
	t.Cleanup(w.Close)
	for _, sku := range skus {
		w.AddItem(open.Item{SKU: sku, Name: "Article " + sku})
		if err := w.SetOpening(sku, "east", 10); err != nil {
			t.Fatal(err)
		}
	}
	return w, speak(t, w)
}

func capable(levels string) open.RecordCapabilities {
	return open.RecordCapabilities{Name: "warehouse", Levels: levels, Positions: true, CompleteLevels: true, OrderAmend: true}
}

func newOrder(key string, lines ...open.NewOrderLine) open.NewOrder {
	return open.NewOrder{Key: key, Channel: "shop", OrderID: "o-" + key, PlacedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Lines: lines}
}

func lineOf(id, sku string, quantity int64) open.NewOrderLine {
	return open.NewOrderLine{LineID: id, SKU: sku, Quantity: quantity}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// levels enumerates the levels as "sku@location=quantity".
func levels(c client, limit int, between func(page int)) (rows []string, position int64) {
	c.t.Helper()
	cursor := ""
	for page := 0; ; page++ {
		got := call[open.LevelsPage](c, "GET", fmt.Sprintf("/levels?limit=%d&cursor=%s", limit, url.QueryEscape(cursor)), nil)
		for _, l := range got.Levels {
			rows = append(rows, fmt.Sprintf("%s@%s=%d", l.SKU, l.Location, *l.Quantity))
		}
		if page > 0 && *got.Position != position {
			c.t.Fatalf("page %d is of position %d, the first of %d", page, *got.Position, position)
		}
		position = *got.Position
		if got.Next == nil {
			if got.Count == nil || got.AsOf == nil {
				c.t.Fatalf("page without count or as_of: %+v", got)
			}
			return rows, position
		}
		cursor = *got.Next
		if between != nil {
			between(page)
		}
	}
}

// movements enumerates the facts after a position as "type" in order, and checks the positions.
func movements(c client, after int) (types []string, facts []map[string]any) {
	c.t.Helper()
	for position := after; ; {
		got := call[open.MovementsPage](c, "GET", fmt.Sprintf("/movements?limit=2&after=%d", position), nil)
		for _, raw := range got.Facts {
			var m open.Movement
			var all map[string]any
			if err := json.Unmarshal(raw, &m); err != nil {
				c.t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &all); err != nil {
				c.t.Fatal(err)
			}
			if *m.Position != int64(after+len(types)+1) {
				c.t.Fatalf("position %d follows %d", *m.Position, after+len(types))
			}
			types, facts = append(types, m.Type), append(facts, all)
		}
		if got.Next == nil {
			return types, facts
		}
		next, err := strconv.Atoi(*got.Next)
		if err != nil {
			c.t.Fatal(err)
		}
		position = next
	}
}

func TestWarehouseTellsItself(t *testing.T) {
	_, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(Available)}, "S2", "S1", "S3")
	if got := call[open.RecordCapabilities](c, "GET", "/capabilities", nil); got != capable(Available) {
		t.Fatalf("got %+v", got)
	}
	if got := call[open.LocationsAnswer](c, "GET", "/locations", nil); len(got.Locations) != 2 || got.Locations[1].ID != "west" {
		t.Fatalf("got %+v", got)
	}
	first := call[open.ItemsPage](c, "GET", "/items?limit=2", nil)
	second := call[open.ItemsPage](c, "GET", "/items?limit=2&cursor="+url.QueryEscape(*first.Next), nil)
	if first.Items[0].SKU != "S1" || first.Items[1].SKU != "S2" || second.Items[0].SKU != "S3" || second.Next != nil {
		t.Fatalf("got %+v, %+v", first, second)
	}
}

func TestWarehouseLevelPagesAreOfOnePosition(t *testing.T) {
	w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(OnHand)}, "S1", "S2", "S3")
	ok(t, w.Receive("S1", "west", 1))
	rows, position := levels(c, 2, func(page int) {
		ok(t, w.Receive("S3", "east", 5)) // after the first page
		w.AddItem(open.Item{SKU: fmt.Sprint("S0", page)})
	})
	want := []string{"S1@east=10", "S1@west=1", "S2@east=10", "S2@west=0", "S3@east=10", "S3@west=0"}
	if !slices.Equal(rows, want) || position != 1 {
		t.Fatalf("got %v at %d, want %v at 1", rows, position, want)
	}
	rows, position = levels(c, 100, nil)
	if len(rows) != 10 || !slices.Contains(rows, "S3@east=20") || position != 3 {
		t.Fatalf("got %v at %d", rows, position)
	}
	c.want(http.StatusBadRequest, "GET", "/levels?cursor=99.1", nil)
}

func TestWarehouseSnapshotsAreBounded(t *testing.T) {
	w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(OnHand)}, "S1", "S2")
	first := call[open.LevelsPage](c, "GET", "/levels?limit=1", nil)
	for range 3 * maxSnapshots {
		call[open.LevelsPage](c, "GET", "/levels?limit=1", nil)
	}
	if n := len(w.snapshots); n != maxSnapshots {
		t.Fatalf("%d snapshots kept", n)
	}
	c.want(http.StatusBadRequest, "GET", "/levels?cursor="+*first.Next, nil)
}

func TestWarehouseWithoutPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := warehouseOf(t, WarehouseConfig{Capabilities: open.RecordCapabilities{}}, "S1")
		in := subscribe(t, w)
		ok(t, w.Receive("S1", "east", 3))
		synctest.Wait()
		if m := data[open.Moved](t, in.all()[0]); m.Position != nil || *m.Delta != 3 || m.OccurredAt == nil {
			t.Fatalf("got %+v", m)
		}
		if got := call[open.LevelsPage](c, "GET", "/levels", nil); got.Position != nil || got.Count != nil || got.AsOf == nil || len(got.Levels) != 2 {
			t.Fatalf("got %+v", got)
		}
		c.want(http.StatusNotFound, "GET", "/movements", nil)
		c.want(http.StatusNotFound, "POST", "/orders/k/amend", "{}")
		c.want(http.StatusNotFound, "GET", "/orders/k", nil)
	})
}

// An order is told by running totals of the instant of the answer, place by place.
func TestWarehouseTellsHowAnOrderStands(t *testing.T) {
	w, c := warehouseOf(t, WarehouseConfig{Capabilities: open.RecordCapabilities{Levels: Available, OrderStatus: true}}, "S1", "S2")
	ok(t, w.Receive("S1", "west", 5))
	call[open.OrderNumber](c, "POST", "/orders", newOrder("k", lineOf("1", "S1", 14), lineOf("2", "S2", 3)))
	call[open.Status](c, "POST", "/orders/k/cancel", open.Cancellation{Lines: []open.CancelLine{{LineID: "1", Cancelled: 1}}})
	if _, shipped := w.Ship("k", ShippedLine{LineID: "1", Quantity: 11}); !shipped {
		t.Fatal("nothing is shipped")
	}
	ok(t, w.ReturnGoods("k", "S1", "east", 2, true))
	if !w.Reject("k") {
		t.Fatal("nothing is rejected")
	}
	before := time.Now()
	got := call[open.OrderStanding](c, "GET", "/orders/k", nil)
	var rows []string
	for _, l := range got.Lines {
		rows = append(rows, fmt.Sprintf("%s: cancelled %d, rejected %d, restocked %d", l.LineID, *l.Cancelled, *l.Rejected, *l.Restocked))
		for _, p := range l.Locations {
			rows = append(rows, fmt.Sprintf("%s shipped %d, allocated %d", p.Location, *p.Shipped, *p.Allocated))
		}
	}
	want := []string{"1: cancelled 1, rejected 2, restocked 2", "east shipped 10, allocated 0", "west shipped 1, allocated 0",
		"2: cancelled 0, rejected 3, restocked 0", "east shipped 0, allocated 0"}
	if !slices.Equal(rows, want) || got.Key != "k" || got.AsOf == nil || got.AsOf.Before(before.Add(-time.Minute)) {
		t.Errorf("the order %s stands as of %v:\n%q\nwant\n%q", got.Key, got.AsOf, rows, want)
	}
	c.want(http.StatusNotFound, "GET", "/orders/other", nil)
}

func TestWarehouseStockFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(OnHand)}, "S1")
		in := subscribe(t, w)
		ok(t, w.Receive("S1", "east", 5))
		ok(t, w.Adjust("S1", "east", -1))
		ok(t, w.Damage("S1", "east", 2))
		ok(t, w.Transfer("S1", "east", "west", 4))
		ok(t, w.Count("S1", "east", 7))
		ok(t, w.ReturnGoods("", "S1", "west", 1, true))
		ok(t, w.ReturnGoods("k", "S1", "west", 2, false))
		synctest.Wait()
		want := []string{"stock.moved", "stock.moved", "stock.moved", "stock.moved", "stock.moved", "stock.level", "return.received", "return.received"}
		types, facts := movements(c, 0)
		if !slices.Equal(types, want) || !slices.Equal(in.types(), want) {
			t.Fatalf("listed %v, sent %v, want %v", types, in.types(), want)
		}
		var sum float64
		for i, reason := range []string{"receipt", "adjustment", "damage", "transfer", "transfer"} {
			if facts[i]["reason"] != reason {
				t.Fatalf("fact %v, want a %s", facts[i], reason)
			}
			sum += facts[i]["delta"].(float64)
		}
		if sum != 2 || facts[4]["location"] != "west" || facts[5]["quantity"] != 7.0 || facts[5]["position"] != 6.0 {
			t.Fatalf("facts %v", facts)
		}
		if w.OnHandOf("S1", "east") != 7 || w.OnHandOf("S1", "west") != 7 {
			t.Fatalf("on hand %d and %d", w.OnHandOf("S1", "east"), w.OnHandOf("S1", "west"))
		}
		if got := w.StockOf("S1"); got != (Stock{Sellable: 12, Unsellable: 2, Received: 5}) || got.Supply() != 12 {
			t.Fatalf("stock %+v", got)
		}
		if types, _ := movements(c, 7); len(types) != 1 {
			t.Fatalf("after 7: %v", types)
		}
		if types, _ := movements(c, 99); len(types) != 0 {
			t.Fatalf("after the end: %v", types)
		}
		for _, err := range []error{w.Receive("S9", "east", 1), w.Receive("S1", "north", 1), w.Receive("S1", "east", 0), w.Transfer("S1", "east", "north", 1)} {
			if err == nil {
				t.Fatal("an impossible booking was taken")
			}
		}
	})
}

func TestWarehouseTellsLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(Available), TellsLevels: true}, "S1")
		in := subscribe(t, w, "stock.level")
		ok(t, w.Receive("S1", "east", 5))
		call[open.OrderNumber](c, "POST", "/orders", newOrder("k", lineOf("1", "S1", 3)))
		w.Ship("k")
		synctest.Wait()
		var got []string
		for _, r := range in.all() {
			l := data[open.Level](t, r)
			got = append(got, fmt.Sprintf("%d at %d", *l.Quantity, *l.Position))
		}
		if want := []string{"15 at 1", "12 at 2"}; !slices.Equal(got, want) { // shipping changes nothing that is available
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestWarehouseOrderKeys(t *testing.T) {
	w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(OnHand)}, "S1")
	first := call[open.OrderNumber](c, "POST", "/orders", newOrder("k", lineOf("1", "S1", 3)))
	again := call[open.OrderNumber](c, "POST", "/orders", newOrder("k", lineOf("1", "S1", 3)))
	if first.Number == "" || again != first || len(w.Orders()) != 1 || w.StockOf("S1").Allocated != 3 {
		t.Fatalf("numbers %v and %v, orders %+v", first, again, w.Orders())
	}
	if got := code(t, c.want(http.StatusConflict, "POST", "/orders", newOrder("k", lineOf("1", "S1", 4)))); got != "key_reused" {
		t.Fatalf("code %q", got)
	}
	other := call[open.OrderNumber](c, "POST", "/orders", newOrder("k2", lineOf("1", "S1", 4)))
	if other == first {
		t.Fatal("two orders have one number")
	}
	for name, o := range map[string]open.NewOrder{
		"no lines":     newOrder("x"),
		"no key":       newOrder("", lineOf("1", "S1", 1)),
		"unknown SKU":  newOrder("x", lineOf("1", "S9", 1)),
		"nothing":      newOrder("x", lineOf("1", "S1", 0)),
		"negative":     newOrder("x", lineOf("1", "S1", -1)),
		"a line twice": newOrder("x", lineOf("1", "S1", 1), lineOf("1", "S1", 1)),
	} {
		if status, _, body, _ := c.raw(t.Context(), "POST", "/orders", o); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: answered %d %s", name, status, body)
		}
	}
	w.FailNext(1, AppliedTwice)
	twice := call[open.OrderNumber](c, "POST", "/orders", newOrder("k3", lineOf("1", "S1", 1)))
	if n := len(w.Orders()); n != 3 || twice.Number != w.Orders()[2].Number {
		t.Fatalf("%d orders after a call that was done twice", n)
	}
}

func TestWarehouseAllocatesAndShips(t *testing.T) {
	for _, basis := range []string{OnHand, Available} {
		t.Run(basis, func(t *testing.T) {
			w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(basis)}, "S1", "S2")
			ok(t, w.Receive("S1", "west", 2))
			call[open.OrderNumber](c, "POST", "/orders", newOrder("k", lineOf("1", "S1", 11), lineOf("2", "S2", 1)))
			call[open.OrderNumber](c, "POST", "/orders", newOrder("late", lineOf("1", "S1", 4)))
			if got := w.StockOf("S1"); got.Allocated != 12 || got.Sellable != 12 {
				t.Fatalf("stock %+v", got)
			}
			if _, sent := w.Ship("k", ShippedLine{LineID: "1", Quantity: 3}); !sent {
				t.Fatal("a part was not shipped")
			}
			if id, sent := w.Ship("k"); !sent || id != "SH-000002" {
				t.Fatalf("shipment %q, %v", id, sent)
			}
			if _, sent := w.Ship("k"); sent {
				t.Fatal("shipped more than was ordered")
			}
			w.Ship("late") // the one unit that was left for it
			ok(t, w.Receive("S1", "east", 5))
			w.Ship("late")
			if got := w.StockOf("S1"); got != (Stock{Sellable: 2, Received: 7, Shipped: 15}) || got.Supply() != 17 {
				t.Fatalf("stock %+v", got)
			}
			want := []string{"stock.moved", "order.allocated", "order.allocated", "shipment.shipped", "shipment.shipped", "shipment.shipped", "stock.moved", "order.allocated", "shipment.shipped"}
			if basis == OnHand {
				want = slices.DeleteFunc(want, func(s string) bool { return s == "order.allocated" })
			}
			types, facts := movements(c, 0)
			if !slices.Equal(types, want) {
				t.Fatalf("facts %v, want %v", types, want)
			}
			if last := facts[len(facts)-1]; last["order_key"] != "late" || last["shipment_id"] != "SH-000004" {
				t.Fatalf("fact %v", last)
			}
			rows, _ := levels(c, 100, nil)
			if want := []string{"S1@east=2", "S1@west=0", "S2@east=9", "S2@west=0"}; !slices.Equal(rows, want) {
				t.Fatalf("levels %v, want %v", rows, want)
			}
		})
	}
}

func TestWarehouseLevelsFollowTheBasis(t *testing.T) {
	for basis, want := range map[string][]string{OnHand: {"10", "10", "6", "8"}, Available: {"10", "6", "6", "6"}} {
		t.Run(basis, func(t *testing.T) {
			w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(basis)}, "S1")
			var got []string
			note := func() { got = append(got, fmt.Sprint(*w.Levels()[0].Quantity)) }
			note()
			call[open.OrderNumber](c, "POST", "/orders", newOrder("k", lineOf("1", "S1", 4)))
			note()
			w.Ship("k")
			note()
			ok(t, w.ReturnGoods("k", "S1", "east", 2, false))
			note()
			if !slices.Equal(got, want) {
				t.Fatalf("levels %v, want %v", got, want)
			}
		})
	}
}

func TestWarehouseShipDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := warehouseOf(t, WarehouseConfig{ShipDelay: time.Minute}, "S1")
		call[open.OrderNumber](c, "POST", "/orders", newOrder("k", lineOf("1", "S1", 4)))
		if n := w.ShipAll(); n != 0 {
			t.Fatalf("%d shipments before the delay", n)
		}
		time.Sleep(time.Minute)
		if n := w.ShipAll(); n != 1 {
			t.Fatalf("%d shipments after the delay", n)
		}
		if n := w.ShipAll(); n != 0 {
			t.Fatalf("%d shipments of nothing", n)
		}
	})
}

func TestWarehouseCancel(t *testing.T) {
	w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(Available)}, "S1")
	call[open.OrderNumber](c, "POST", "/orders", newOrder("a/b:1", lineOf("1", "S1", 8)))
	call[open.OrderNumber](c, "POST", "/orders", newOrder("waits", lineOf("1", "S1", 4)))
	path := "/orders/" + url.PathEscape("a/b:1") + "/cancel"
	body := open.Cancellation{Lines: []open.CancelLine{{LineID: "1", Cancelled: 3}}}
	for range 2 { // a running total: the repeat changes nothing
		if got := call[open.Status](c, "POST", path, body); got.Status != "ok" {
			t.Fatalf("got %+v", got)
		}
	}
	if o := w.Orders(); o[0].Lines[0].Cancelled != 3 || o[0].Lines[0].Allocated != 5 || o[1].Lines[0].Allocated != 4 {
		t.Fatalf("orders %+v", o)
	}
	w.Ship("a/b:1", ShippedLine{LineID: "1", Quantity: 2})
	if got := call[open.Status](c, "POST", path, nil); got.Status != "too_late" { // the whole order
		t.Fatalf("got %+v", got)
	}
	if o := w.Orders()[0].Lines[0]; o.Cancelled != 6 || o.Shipped != 2 || o.Allocated != 0 {
		t.Fatalf("line %+v", o)
	}
	types, facts := movements(c, 0)
	want := []string{"order.allocated", "order.allocated", "order.deallocated", "order.allocated", "shipment.shipped", "order.deallocated"}
	if !slices.Equal(types, want) || facts[2]["order_key"] != "a/b:1" {
		t.Fatalf("facts %v, want %v", types, want)
	}
	c.want(http.StatusNotFound, "POST", "/orders/nowhere/cancel", nil)
	c.want(http.StatusUnprocessableEntity, "POST", path, open.Cancellation{Lines: []open.CancelLine{{LineID: "1", Cancelled: 9}}})
	c.want(http.StatusUnprocessableEntity, "POST", path, open.Cancellation{Lines: []open.CancelLine{{LineID: "2", Cancelled: 1}}})
}

func TestWarehouseAmend(t *testing.T) {
	w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(Available)}, "S1", "S2")
	call[open.OrderNumber](c, "POST", "/orders", newOrder("k", lineOf("1", "S1", 4)))
	amend := func(version int64, lines ...open.NewOrderLine) {
		t.Helper()
		call[open.Status](c, "POST", "/orders/k/amend", open.Amendment{Version: version, Lines: lines})
	}
	amend(2, lineOf("1", "S1", 6), lineOf("2", "S2", 1))
	amend(1, lineOf("1", "S1", 5)) // older: ignored
	if o := w.Orders()[0].Lines; o[0].Allocated != 6 || o[1].Allocated != 1 {
		t.Fatalf("lines %+v", o)
	}
	amend(3, lineOf("1", "S1", 2))
	if o := w.Orders()[0].Lines; o[0].Allocated != 2 || o[1].Allocated != 1 {
		t.Fatalf("lines %+v", o)
	}
	w.Ship("k")
	amend(4, lineOf("2", "S2", 2))
	if n := w.ShipAll(); n != 1 {
		t.Fatalf("%d shipments of what was added", n)
	}
	c.want(http.StatusConflict, "POST", "/orders/k/amend", open.Amendment{Version: 5, Lines: []open.NewOrderLine{lineOf("1", "S1", 1)}})
	c.want(http.StatusNotFound, "POST", "/orders/nowhere/amend", open.Amendment{Version: 1})
	// The content that it was created with still is the same order.
	call[open.OrderNumber](c, "POST", "/orders", newOrder("k", lineOf("1", "S1", 4)))
}

func TestWarehouseRejects(t *testing.T) {
	w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(Available)}, "S1")
	w.FailNext(1, RejectOrder)
	call[open.OrderNumber](c, "POST", "/orders", newOrder("k", lineOf("1", "S1", 4)))
	types, facts := movements(c, 0)
	if want := []string{"order.allocated", "order.deallocated", "order.rejected"}; !slices.Equal(types, want) {
		t.Fatalf("facts %v, want %v", types, want)
	}
	if facts[2]["order_key"] != "k" || w.StockOf("S1").Allocated != 0 || w.Orders()[0].Lines[0].Rejected != 4 {
		t.Fatalf("fact %v, orders %+v", facts[2], w.Orders())
	}
	if w.Reject("k") || w.Reject("nowhere") {
		t.Fatal("rejected nothing")
	}
}

func TestWarehouseTakesAllocationsBack(t *testing.T) {
	w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(Available)}, "S1")
	call[open.OrderNumber](c, "POST", "/orders", newOrder("old", lineOf("1", "S1", 4)))
	call[open.OrderNumber](c, "POST", "/orders", newOrder("new", lineOf("1", "S1", 4)))
	ok(t, w.Damage("S1", "east", 5))
	if o := w.Orders(); o[0].Lines[0].Allocated != 4 || o[1].Lines[0].Allocated != 1 || *w.Levels()[0].Quantity != 0 {
		t.Fatalf("orders %+v, level %d", o, *w.Levels()[0].Quantity)
	}
	ok(t, w.Receive("S1", "west", 9))
	if o := w.Orders(); o[1].Lines[0].Allocated != 4 {
		t.Fatalf("orders %+v", o)
	}
	types, _ := movements(c, 2)
	if want := []string{"stock.moved", "order.deallocated", "stock.moved", "order.allocated"}; !slices.Equal(types, want) {
		t.Fatalf("facts %v, want %v", types, want)
	}
}

func TestFaultPartialLevels(t *testing.T) {
	w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(OnHand)}, "S1", "S2", "S3", "S4")
	w.FailNext(1, PartialLevels)
	got := call[open.LevelsPage](c, "GET", "/levels", nil)
	if len(got.Levels) >= 8 || *got.Count != 8 || got.Next != nil {
		t.Fatalf("%d rows of %d", len(got.Levels), *got.Count)
	}
}

// TestLevelsAreOpeningPlusFacts replays the log: at every position the level must be what the facts up to it say.
func TestLevelsAreOpeningPlusFacts(t *testing.T) {
	for _, basis := range []string{OnHand, Available} {
		w, c := warehouseOf(t, WarehouseConfig{Capabilities: capable(basis)}, "S1")
		ok(t, w.Receive("S1", "west", 6))
		for i := range 6 {
			key := fmt.Sprint("k", i)
			call[open.OrderNumber](c, "POST", "/orders", newOrder(key, lineOf("1", "S1", int64(i+1))))
			if i%3 == 1 {
				call[open.Status](c, "POST", "/orders/"+key+"/cancel", nil)
			}
			if i%2 == 0 {
				w.Ship(key)
			}
			ok(t, w.Adjust("S1", "east", int64(1-i)))
		}
		_, facts := movements(c, 0)
		sum := map[string]float64{"east": 10}
		for _, f := range facts {
			sign := -1.0
			switch f["type"] {
			case "stock.moved":
				sum[f["location"].(string)] += f["delta"].(float64)
				continue
			case "order.deallocated":
				sign = 1
			case "shipment.shipped":
				if basis == Available {
					continue
				}
			}
			for _, l := range f["lines"].([]any) {
				line := l.(map[string]any)
				sum[line["location"].(string)] += sign * line["quantity"].(float64)
			}
		}
		for _, l := range w.Levels() {
			if float64(*l.Quantity) != sum[l.Location] {
				t.Errorf("%s: level at %s is %d, the facts say %v", basis, l.Location, *l.Quantity, sum[l.Location])
			}
		}
	}
}
