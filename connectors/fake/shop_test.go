package fake

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors/open"
)

// shopOf makes a shop with the listings named, each showing 10.
func shopOf(t *testing.T, c ShopConfig, items ...string) (*Shop, client) {
	t.Helper()
	s := NewShop(c)
	t.Cleanup(s.Close)
	for _, item := range items {
		s.AddListing(open.Listing{Item: item, SKU: "SKU-" + item, Quantity: new(int64(10))})
	}
	return s, speak(t, s)
}

func TestShopRefusesAWrongToken(t *testing.T) {
	_, c := shopOf(t, ShopConfig{Token: "other"})
	if got := code(t, c.want(http.StatusUnauthorized, "GET", "/capabilities", nil)); got != "bad_token" {
		t.Fatalf("code %q", got)
	}
}

func TestShopTellsItsCapabilities(t *testing.T) {
	caps := open.MarketplaceCapabilities{Name: "Shop one", ShopID: "one", BatchSize: 7, ConditionalWrite: true, MaxQuantity: 99, QuantityMeans: MeansGross, StopSale: true}
	s, c := shopOf(t, ShopConfig{Capabilities: caps})
	if got := call[open.MarketplaceCapabilities](c, "GET", "/capabilities", nil); got != caps {
		t.Fatalf("got %+v", got)
	}
	s.SetID("two")
	if got := call[open.MarketplaceCapabilities](c, "GET", "/capabilities", nil); got.ShopID != "two" {
		t.Fatalf("shop_id %q", got.ShopID)
	}
	c.want(http.StatusNotFound, "POST", "/shipments", "{}") // it said that it has none
}

func TestShopListingPagesAreStable(t *testing.T) {
	s, c := shopOf(t, ShopConfig{}, "d", "b", "a", "e", "c")
	s.AddListing(open.Listing{Item: "b", Place: "p2", Quantity: new(int64(1))})
	s.AddListing(open.Listing{Item: "b", Place: "p1", Quantity: new(int64(1))})
	var names []string
	cursor := ""
	for page := 0; ; page++ {
		got := call[open.ListingsPage](c, "GET", "/listings?limit=2&cursor="+url.QueryEscape(cursor), nil)
		for _, l := range got.Listings {
			names = append(names, l.Item+l.Place)
		}
		if got.Next == nil {
			break
		}
		cursor = *got.Next
		if page == 0 {
			s.Delete("a") // behind the cursor: nothing may be skipped or come twice
			s.AddListing(open.Listing{Item: "f", Quantity: new(int64(1))})
		}
	}
	if want := []string{"a", "b", "bp1", "bp2", "c", "d", "e", "f"}; !slices.Equal(names, want) {
		t.Fatalf("listed %v, want %v", names, want)
	}
	c.want(http.StatusBadRequest, "GET", "/listings?cursor=!", nil)
	c.want(http.StatusBadRequest, "GET", "/listings?limit=0", nil)
}

func TestShopWriteAnswersPerLine(t *testing.T) {
	s, c := shopOf(t, ShopConfig{Capabilities: open.MarketplaceCapabilities{MaxQuantity: 100, BatchSize: 4}}, "a", "b", "c")
	got := c.write(open.Write{ID: "1", Item: "a", Quantity: 5}, open.Write{ID: "2", Item: "b", Quantity: 101},
		open.Write{ID: "3", Item: "nowhere", Quantity: 1}, open.Write{ID: "4", Item: "c", Quantity: -1})
	var statuses []string
	for _, r := range got {
		statuses = append(statuses, r.ID+r.Status+r.Code)
	}
	want := []string{"1ok", "2rejectedquantity_too_large", "3not_foundunknown_listing", "4rejectednegative_quantity"}
	if !slices.Equal(statuses, want) {
		t.Fatalf("got %v, want %v", statuses, want)
	}
	if q := c.readOne("a"); q != 5 {
		t.Fatalf("a shows %d", q)
	}
	if q := c.readOne("b"); q != 10 {
		t.Fatalf("b shows %d", q)
	}
	if got := c.read("a", "nowhere", "b"); len(got) != 2 {
		t.Fatalf("%d readings: what is not known is left out", len(got))
	}
	log := s.Writes()
	if len(log) != 4 || log[0].Before != 10 || log[0].After != 5 || log[0].Status != "ok" || log[1].After != 10 || log[2].Item != "nowhere" {
		t.Fatalf("log %+v", log)
	}
	c.want(http.StatusBadRequest, "POST", "/stock/write", open.WriteRequest{Writes: make([]open.Write, 5)})
}

func TestShopRefusesBrokenWrites(t *testing.T) {
	s, c := shopOf(t, ShopConfig{}, "a")
	for _, body := range []string{
		``, `{`, `[]`, `{"writes":[{"id":"1","item":"a"}]}`, `{"writes":[{"id":"1","item":"a","quantity":null}]}`,
		`{"writes":[{"id":"1","item":"a","quantity":1.5}]}`, `{"writes":[{"id":"1","item":"a","quantity":"1"}]}`,
		`{"writes":[{"id":"1","item":"a","quantity":1,"quantity":2}]}`, `{"writes":[{"item":"a","quantity":1}]}`,
	} {
		c.want(http.StatusBadRequest, "POST", "/stock/write", body)
	}
	if q, _ := s.Quantity("a", ""); q != 10 || s.WriteCount() != 0 {
		t.Fatalf("a has %d after broken writes, %d logged", q, s.WriteCount())
	}
}

func TestShopCompareAndSet(t *testing.T) {
	caps := open.MarketplaceCapabilities{ConditionalWrite: true}
	_, c := shopOf(t, ShopConfig{Capabilities: caps}, "a")
	got := c.write(open.Write{ID: "1", Item: "a", Quantity: 5, Expect: new(int64(9))})[0]
	if got.Status != "stale" || got.Quantity == nil || *got.Quantity != 10 || c.readOne("a") != 10 {
		t.Fatalf("got %+v", got)
	}
	if got := c.write(open.Write{ID: "2", Item: "a", Quantity: 5, Expect: new(int64(10))})[0]; got.Status != "ok" || c.readOne("a") != 5 {
		t.Fatalf("got %+v", got)
	}
	_, plain := shopOf(t, ShopConfig{}, "a")
	if got := plain.write(open.Write{ID: "1", Item: "a", Quantity: 5, Expect: new(int64(9))})[0]; got.Status != "ok" {
		t.Fatalf("a shop without conditional writes: %+v", got)
	}
}

func TestShopRemembersWriteIDs(t *testing.T) {
	s, c := shopOf(t, ShopConfig{Capabilities: open.MarketplaceCapabilities{IdempotentWrite: true}}, "a")
	c.write(open.Write{ID: "1", Item: "a", Quantity: 5})
	s.Buy("a", 2)
	if got := c.write(open.Write{ID: "1", Item: "a", Quantity: 5})[0]; got.Status != "ok" || c.readOne("a") != 3 {
		t.Fatalf("the repeat: %+v, shows %d", got, c.readOne("a"))
	}
	if log := s.Writes(); !log[1].Repeated || log[1].Before != 3 || log[1].After != 3 {
		t.Fatalf("log %+v", log[1])
	}
	if got := c.write(open.Write{ID: "1", Item: "a", Quantity: 6})[0]; got.Status != "rejected" || got.Code != "id_reused" {
		t.Fatalf("the id with other content: %+v", got)
	}
	forgetful, c := shopOf(t, ShopConfig{}, "a")
	c.write(open.Write{ID: "1", Item: "a", Quantity: 5})
	forgetful.Buy("a", 2)
	c.write(open.Write{ID: "1", Item: "a", Quantity: 5})
	if q := c.readOne("a"); q != 5 {
		t.Fatalf("a shop without idempotent writes shows %d", q)
	}
}

func TestShopWriteIDsAreBounded(t *testing.T) {
	var r remembered
	w := writeLine{Item: "a", Quantity: new(int64(1))}
	for i := range 3 * rememberedHalf {
		w.ID = fmt.Sprint(i)
		r.keep(w)
	}
	if n := len(r.young) + len(r.old); n > 2*rememberedHalf {
		t.Fatalf("%d ids kept", n)
	}
	if _, ok := r.find(fmt.Sprint(3*rememberedHalf - rememberedHalf)); !ok {
		t.Fatal("one of the newest ids is forgotten")
	}
}

func TestShopReadLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := shopOf(t, ShopConfig{Capabilities: open.MarketplaceCapabilities{ReadLagMS: 1000}}, "a")
		c.write(open.Write{ID: "1", Item: "a", Quantity: 5})
		time.Sleep(600 * time.Millisecond)
		c.write(open.Write{ID: "2", Item: "a", Quantity: 7})
		if q := c.readOne("a"); q != 10 {
			t.Fatalf("before the lag: %d", q)
		}
		time.Sleep(500 * time.Millisecond)
		if q := c.readOne("a"); q != 5 {
			t.Fatalf("between the two: %d", q)
		}
		time.Sleep(500 * time.Millisecond)
		if q := c.readOne("a"); q != 7 {
			t.Fatalf("after the lag: %d", q)
		}
		if q, _ := s.Quantity("a", ""); q != 7 {
			t.Fatalf("the truth: %d", q)
		}
	})
}

func TestShopAnswersAccepted(t *testing.T) {
	_, c := shopOf(t, ShopConfig{AnswersAccepted: true}, "a")
	if got := c.write(open.Write{ID: "1", Item: "a", Quantity: 5})[0]; got.Status != "accepted" {
		t.Fatalf("got %+v", got)
	}
}

func TestShopStopsAndResumesSale(t *testing.T) {
	s, c := shopOf(t, ShopConfig{Capabilities: open.MarketplaceCapabilities{StopSale: true}}, "a", "b")
	got := call[open.StopAnswer](c, "POST", "/listings/stop", open.StopRequest{Items: []string{"a", "nowhere"}})
	if len(got.Results) != 2 || got.Results[0].Status != "ok" || got.Results[1].Status != "not_found" {
		t.Fatalf("got %+v", got)
	}
	if _, ok := s.Buy("a", 1); ok {
		t.Fatal("a stopped listing sells")
	}
	if l := call[open.ListingsPage](c, "GET", "/listings", nil).Listings; l[0].Status != "stopped" || l[1].Status != "active" {
		t.Fatalf("listings %+v", l)
	}
	call[open.StopAnswer](c, "POST", "/listings/resume", open.StopRequest{Items: []string{"a"}})
	if _, ok := s.Buy("a", 1); !ok {
		t.Fatal("a resumed listing does not sell")
	}
}

func TestShopSaleWhereQuantityMeansAvailable(t *testing.T) {
	s, c := shopOf(t, ShopConfig{}, "a", "b")
	id, ok := s.Order(BuyLine{Item: "a", Quantity: 4}, BuyLine{Item: "b", Quantity: 1})
	if !ok || c.readOne("a") != 6 || c.readOne("b") != 9 {
		t.Fatalf("sold %v, a %d, b %d", ok, c.readOne("a"), c.readOne("b"))
	}
	if _, ok := s.Buy("a", 7); ok {
		t.Fatal("sold more than is shown")
	}
	if _, ok := s.Order(BuyLine{Item: "b", Quantity: 1}, BuyLine{Item: "a", Quantity: 7}); ok || c.readOne("b") != 9 {
		t.Fatal("an order must be all or nothing")
	}
	if _, ok := s.Order(BuyLine{Item: "a", Quantity: 3}, BuyLine{Item: "a", Quantity: 4}); ok {
		t.Fatal("two lines of one listing sold more than is shown")
	}
	if !s.PartialCancel(id, "1", 1) || c.readOne("a") != 6 {
		t.Fatal("a cancellation put units back on show though the shop does not restock")
	}
	if s.PartialCancel(id, "1", 4) {
		t.Fatal("cancelled more than was ordered")
	}
	if !s.Edit(id, "1", 6) || c.readOne("a") != 4 {
		t.Fatalf("after the edit a shows %d", c.readOne("a"))
	}
	if s.Edit(id, "1", 11) {
		t.Fatal("edited beyond what is shown")
	}
	o := s.Orders()[0]
	if o.Status != "open" || *o.Version != 3 || *o.Lines[0].Quantity != 6 || *o.Lines[0].Cancelled != 1 || o.Lines[0].SKU != "SKU-a" {
		t.Fatalf("order %+v", o)
	}
	if !s.Cancel(id) || s.Cancel(id) {
		t.Fatal("cancelling twice")
	}
	if o := s.Orders()[0]; o.Status != "cancelled" || *o.Lines[0].Cancelled != 6 || *o.Version != 4 {
		t.Fatalf("order %+v", o)
	}
}

func TestShopRestocksOnCancel(t *testing.T) {
	s, c := shopOf(t, ShopConfig{RestocksOnCancel: true}, "a")
	id, _ := s.Buy("a", 4)
	s.PartialCancel(id, "1", 1)
	if o := s.Orders()[0]; c.readOne("a") != 7 || *o.Lines[0].Restocked != 1 {
		t.Fatalf("a shows %d, order %+v", c.readOne("a"), o)
	}
}

func TestShopSaleWhereQuantityContainsOpenOrders(t *testing.T) {
	for _, means := range []string{MeansOnHand, MeansGross} {
		t.Run(means, func(t *testing.T) {
			s, c := shopOf(t, ShopConfig{Capabilities: open.MarketplaceCapabilities{QuantityMeans: means, Shipments: true}}, "a")
			id, _ := s.Buy("a", 4)
			if c.readOne("a") != 10 || s.Sellable("a", "") != 6 {
				t.Fatalf("shows %d, sellable %d", c.readOne("a"), s.Sellable("a", ""))
			}
			if _, ok := s.Buy("a", 7); ok {
				t.Fatal("sold units of open orders again")
			}
			call[open.Status](c, "POST", "/shipments", open.ShipmentNotice{Key: "k", OrderID: id, Lines: []open.ShippedPacks{{LineID: "1", Quantity: 3}}})
			if c.readOne("a") != 7 || s.Sellable("a", "") != 6 {
				t.Fatalf("after shipping: shows %d, sellable %d", c.readOne("a"), s.Sellable("a", ""))
			}
			s.Cancel(id)
			if c.readOne("a") != 7 || s.Sellable("a", "") != 7 {
				t.Fatalf("after cancelling: shows %d, sellable %d", c.readOne("a"), s.Sellable("a", ""))
			}
			if o := s.Orders()[0]; o.Status != "closed" {
				t.Fatalf("status %s", o.Status)
			}
		})
	}
}

func TestShopUnlimitedSells(t *testing.T) {
	s, c := shopOf(t, ShopConfig{}, "a")
	c.write(open.Write{ID: "1", Item: "a", Quantity: 0, Unlimited: true})
	if _, ok := s.Buy("a", 50); !ok || !c.read("a")[0].Unlimited || c.readOne("a") != 0 {
		t.Fatal("an unlimited listing does not sell, or counts")
	}
}

func TestShopShipments(t *testing.T) {
	s, c := shopOf(t, ShopConfig{Capabilities: open.MarketplaceCapabilities{Shipments: true}}, "a")
	id, _ := s.Buy("a", 4)
	notice := open.ShipmentNotice{Key: "k", OrderID: id, Lines: []open.ShippedPacks{{LineID: "1", Quantity: 3}}}
	for range 2 {
		call[open.Status](c, "POST", "/shipments", notice)
	}
	if o := s.Orders()[0]; *o.Lines[0].Shipped != 3 || o.Status != "open" {
		t.Fatalf("order %+v", o)
	}
	notice.Key = "k2"
	if got := code(t, c.want(http.StatusUnprocessableEntity, "POST", "/shipments", notice)); got != "over_shipped" {
		t.Fatalf("code %q", got)
	}
	notice.OrderID = "nowhere"
	c.want(http.StatusNotFound, "POST", "/shipments", notice)
	if !s.MarkShipped(id) || s.MarkShipped(id) || s.Orders()[0].Status != "closed" {
		t.Fatal("marking as shipped")
	}
}

// listOrders enumerates orders since an instant, page by page.
func listOrders(c client, since time.Time, limit int, between func(page int)) (ids []string, versions map[string]int64, watermark time.Time) {
	versions = map[string]int64{}
	path := fmt.Sprintf("/orders?limit=%d", limit)
	if !since.IsZero() {
		path += "&updated_since=" + url.QueryEscape(since.Format(time.RFC3339Nano))
	}
	cursor := ""
	for page := 0; ; page++ {
		got := call[open.OrdersPage](c, "GET", path+cursor, nil)
		for _, o := range got.Orders {
			ids = append(ids, o.OrderID)
			versions[o.OrderID] = *o.Version
		}
		watermark = got.Watermark
		if got.Next == nil {
			return ids, versions, watermark
		}
		cursor = "&cursor=" + url.QueryEscape(*got.Next)
		if between != nil {
			between(page)
		}
	}
}

func TestShopOrdersTiesAtOneMillisecondAcrossPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := shopOf(t, ShopConfig{}, "a")
		for range 5 {
			s.Buy("a", 1)
		}
		all := s.Orders()
		for _, o := range all {
			if !o.UpdatedAt.Equal(all[0].UpdatedAt) {
				t.Fatal("the orders are not of one instant: the test proves nothing")
			}
		}
		ids, _, watermark := listOrders(c, all[0].UpdatedAt, 2, nil)
		if want := []string{"shop-1001", "shop-1002", "shop-1003", "shop-1004", "shop-1005"}; !slices.Equal(ids, want) {
			t.Fatalf("listed %v, want %v", ids, want)
		}
		if watermark.Before(all[0].UpdatedAt) {
			t.Fatalf("watermark %v is before the orders of %v", watermark, all[0].UpdatedAt)
		}
	})
}

func TestShopOrdersWatermark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := shopOf(t, ShopConfig{}, "a")
		first, _ := s.Buy("a", 1)
		_, _, watermark := listOrders(c, time.Time{}, 10, nil)
		// The clock stands still: this order is of the same instant as the watermark, but was not in what it covers.
		second, _ := s.Buy("a", 1)
		if o := s.Orders()[1]; !o.UpdatedAt.After(watermark) {
			t.Fatalf("an order of %v came after the watermark %v was given out", o.UpdatedAt, watermark)
		}
		if at := c.read("a")[0].AsOf; !at.After(watermark) {
			t.Fatalf("a reading of %v, after the watermark %v was given out", at, watermark)
		}
		ids, _, next := listOrders(c, watermark, 10, nil)
		if !slices.Equal(ids, []string{first, second}) { // the instant is inclusive
			t.Fatalf("since the watermark: %v", ids)
		}
		if next.Before(s.Orders()[1].UpdatedAt) {
			t.Fatalf("the next watermark %v does not cover what was returned", next)
		}
		time.Sleep(time.Second)
		if ids, _, _ := listOrders(c, next.Add(time.Millisecond), 10, nil); len(ids) != 0 {
			t.Fatalf("after the watermark: %v", ids)
		}
		s.Cancel(first)
		if ids, versions, _ := listOrders(c, next.Add(time.Millisecond), 10, nil); !slices.Equal(ids, []string{first}) || versions[first] != 2 {
			t.Fatalf("after a change: %v %v", ids, versions)
		}
	})
}

func TestShopOrdersThatChangeWhilePaging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := shopOf(t, ShopConfig{}, "a")
		var placed []string
		for range 4 {
			id, _ := s.Buy("a", 1)
			placed = append(placed, id)
			time.Sleep(time.Second)
		}
		_, versions, _ := listOrders(c, time.Time{}, 2, func(page int) {
			if page == 0 {
				s.Cancel(placed[0]) // given already: it comes again
				s.Cancel(placed[2]) // not given yet: it must not fall out
			}
		})
		want := map[string]int64{placed[0]: 2, placed[1]: 1, placed[2]: 2, placed[3]: 1}
		if !reflect.DeepEqual(versions, want) {
			t.Fatalf("got %v, want %v", versions, want)
		}
	})
}

func TestShopOrdersSurviveCompaction(t *testing.T) {
	s, c := shopOf(t, ShopConfig{}, "a")
	s.SetQuantity("a", "", 1<<30)
	first, _ := s.Buy("a", 1)
	second, _ := s.Buy("a", 1)
	for i := range int64(5000) {
		s.Edit(second, "1", i+2)
	}
	if n := len(s.changes); n > 1100 {
		t.Fatalf("the log of two orders has %d entries", n)
	}
	if ids, _, _ := listOrders(c, time.Time{}, 1, nil); !slices.Equal(ids, []string{first, second}) {
		t.Fatalf("listed %v", ids)
	}
}

func TestShopKeepsTheNewestWrites(t *testing.T) {
	s, c := shopOf(t, ShopConfig{KeepWrites: 3}, "a")
	for i := range int64(20) {
		c.write(open.Write{ID: fmt.Sprint(i), Item: "a", Quantity: i})
	}
	if log := s.Writes(); len(log) != 3 || log[2].Quantity != 19 || s.WriteCount() != 20 {
		t.Fatalf("%d kept of %d", len(log), s.WriteCount())
	}
	silent, c := shopOf(t, ShopConfig{KeepWrites: -1}, "a")
	c.write(open.Write{ID: "1", Item: "a", Quantity: 1})
	if len(silent.Writes()) != 0 || silent.WriteCount() != 1 {
		t.Fatal("a shop that keeps no writes")
	}
}

func TestShopDelete(t *testing.T) {
	s, c := shopOf(t, ShopConfig{}, "a", "b")
	id, _ := s.Buy("a", 1)
	if !s.Delete("a") || s.Delete("a") {
		t.Fatal("deleting twice")
	}
	if got := c.write(open.Write{ID: "1", Item: "a", Quantity: 1})[0]; got.Status != "not_found" {
		t.Fatalf("got %+v", got)
	}
	if l := s.Listings(); len(l) != 1 || l[0].Item != "b" {
		t.Fatalf("listings %+v", l)
	}
	if !s.Cancel(id) {
		t.Fatal("the order of a deleted listing cannot be cancelled")
	}
}

func TestShopConcurrentUse(t *testing.T) {
	s, c := shopOf(t, ShopConfig{Capabilities: open.MarketplaceCapabilities{ConditionalWrite: true}}, "a", "b")
	s.SetQuantity("a", "", 1000)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if id, ok := s.Buy("a", 1); ok {
					s.PartialCancel(id, "1", 1)
				}
				c.write(open.Write{ID: "x", Item: "b", Quantity: 3})
				listOrders(c, time.Time{}, 1000, nil)
				s.Counts()
				s.Writes()
			}
		})
	}
	wg.Wait()
	if q, _ := s.Quantity("a", ""); q != 800 {
		t.Fatalf("a has %d after 200 sales of 1 out of 1000", q)
	}
}

func BenchmarkShopWrite250(b *testing.B) {
	s := NewShop(ShopConfig{KeepWrites: -1})
	defer s.Close()
	var req open.WriteRequest
	for i := range 250 {
		item := fmt.Sprintf("item-%d", i)
		s.AddListing(open.Listing{Item: item, Quantity: new(int64(10))})
		req.Writes = append(req.Writes, open.Write{ID: item, Item: item, Quantity: int64(i)})
	}
	benchmarkCall(b, s, "/stock/write", req)
}

func BenchmarkShopRead250(b *testing.B) {
	s := NewShop(ShopConfig{})
	defer s.Close()
	var req open.ReadRequest
	for i := range 250 {
		item := fmt.Sprintf("item-%d", i)
		s.AddListing(open.Listing{Item: item, Quantity: new(int64(10))})
		req.Refs = append(req.Refs, open.Ref{Item: item})
	}
	benchmarkCall(b, s, "/stock/read", req)
}
