package amazon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/amazon"
	"github.com/truestock/truestock/stock"
)

func ref(item string) connectors.Ref { return connectors.Ref{Item: item} }

func write(t testing.TB, m connectors.Marketplace, item string, q stock.Quantity) connectors.Result {
	t.Helper()
	results, err := m.WriteStock(t.Context(), []connectors.Write{{Ref: ref(item), Quantity: q, ID: "w"}})
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

func (p *pretend) count(operation string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, a := range p.asked {
		if a == operation {
			n++
		}
	}
	return n
}

// set changes the pretend Amazon between calls.
func (p *pretend) do(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func says(t testing.TB, err error, kind connectors.ErrorKind, words ...string) {
	t.Helper()
	if connectors.KindOf(err) != kind || err == nil {
		t.Errorf("the error is %v, not %s", err, kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

// A token is fetched once for all who need it, again when Amazon no longer takes it, and a withdrawn authorization is told
// with what to click.
func TestTokens(t *testing.T) {
	p := newPretend(t, 3)
	m := open(t, p)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := m.ReadStock(t.Context(), []connectors.Ref{ref(p.items[0].sku)}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if p.logins != 1 {
		t.Errorf("%d tokens are fetched for 8 callers", p.logins)
	}
	p.do(func() { clear(p.tokens) })
	for range 4 {
		group.Go(func() { _ = write(t, m, p.items[0].sku, 4) })
	}
	group.Wait()
	if p.logins != 2 || *p.items[0].quantity != 4 {
		t.Errorf("a token that is taken no more: %d fetched, and %d is shown", p.logins, *p.items[0].quantity)
	}
	p.do(func() { clear(p.tokens); p.revoked = true })
	says(t, m.Check(t.Context()), connectors.Auth, "invalid_grant", "Manage Your Apps", "refresh_token")
	says(t, open(t, p, "client_secret", "old").Check(t.Context()), connectors.Auth, "invalid_client", "LWA credentials")
}

func TestCheckNamesTheMarketplace(t *testing.T) {
	p := newPretend(t, 3)
	if err := open(t, p).Check(t.Context()); err != nil {
		t.Error(err)
	}
	says(t, open(t, p, "marketplace_ids", germany+","+france).Check(t.Context()), connectors.Rejected, france, "marketplace_ids", germany)
	says(t, open(t, p, "seller_id", "A1OTHER").Check(t.Context()), connectors.Auth, "Merchant Token")
}

// What Amazon ships from its own stock is neither listed, read nor written: a written quantity would change who ships it.
func TestFulfilledByAmazonIsLeftAlone(t *testing.T) {
	p := newPretend(t, 4)
	p.items[1].channel, p.items[1].quantity = "AMAZON_EU", nil
	p.items[2].quantity = nil // an offer that is not complete
	for name, changes := range map[string][]string{"single": nil, "feeds": {"feed_from", "1"}} {
		m := open(t, p, changes...)
		page, err := m.Listings(t.Context(), "")
		if err != nil || len(page.Rows) != 2 {
			t.Errorf("%s: %d listings, %v", name, len(page.Rows), err)
		}
		_, err = m.ReadStock(t.Context(), []connectors.Ref{ref(p.items[0].sku), ref(p.items[1].sku)})
		says(t, err, connectors.Rejected, p.items[1].sku, "fulfilled by Amazon")
		_, err = m.ReadStock(t.Context(), []connectors.Ref{ref(p.items[2].sku)})
		says(t, err, connectors.Rejected, p.items[2].sku, "no quantity")
		results, err := open(t, p, changes...).WriteStock(t.Context(), []connectors.Write{{Ref: ref(p.items[1].sku), Quantity: 3}, {Ref: ref(p.items[0].sku), Quantity: 3}})
		if err != nil || results[1].Outcome != connectors.Accepted {
			t.Fatalf("%s: %+v, %v", name, results, err)
		}
		says(t, results[0].Err, connectors.Rejected, "fulfilled by Amazon")
	}
}

// A refusal of the content comes with Amazon's reason, at once or in the report of a feed.
func TestInvalidListing(t *testing.T) {
	p := newPretend(t, 3)
	p.items[0].invalid = "'size' is required but not supplied."
	says(t, write(t, open(t, p), p.items[0].sku, 5).Err, connectors.Rejected, "90220", "'size' is required", "Manage All Inventory")

	p.feedLag = 2
	m := open(t, p, "feed_from", "1")
	if got := write(t, m, p.items[0].sku, 5); got.Outcome != connectors.Accepted {
		t.Fatalf("the feed: %+v", got)
	}
	says(t, write(t, m, p.items[0].sku, 5).Err, connectors.Throttled, "feed-", "has not processed yet")
	if patched, made := p.count("patchListingsItem"), len(p.feeds); patched != 1 || made != 1 {
		t.Errorf("beside the feed: %d patches, %d feeds", patched, made)
	}
	p.do(func() { p.process(p.feeds[0]) })
	amazon.ForgetFeedLook(m)
	says(t, write(t, m, p.items[0].sku, 5).Err, connectors.Rejected, "in feed feed-", "'size' is required")
	if got := write(t, m, p.items[0].sku, 6); got.Outcome != connectors.Accepted {
		t.Errorf("another quantity is held back by an old report: %+v", got)
	}
}

// Feeds of an earlier process are found, and hold everything until they are over.
func TestFeedOfAnEarlierProcess(t *testing.T) {
	p := newPretend(t, 3)
	p.feedLag = 1000
	_ = write(t, open(t, p, "feed_from", "1"), p.items[0].sku, 5)
	m := open(t, p, "feed_from", "2")
	says(t, write(t, m, p.items[1].sku, 5).Err, connectors.Throttled, "is about to change")
	p.do(func() { p.process(p.feeds[0]) })
	amazon.ForgetFeedLook(m)
	if got := write(t, m, p.items[1].sku, 5); got.Outcome != connectors.Accepted || p.count("patchListingsItem") != 1 {
		t.Errorf("after the feed: %+v", got)
	}
}

// One below the bound goes one by one, at the bound as one feed; what a feed did shows in the next reading.
func TestFeedFrom(t *testing.T) {
	p := newPretend(t, 30)
	m := open(t, p, "feed_from", "25")
	for n, want := range map[int]int{24: 0, 25: 1} {
		var writes []connectors.Write
		for _, i := range p.items[:n] {
			writes = append(writes, connectors.Write{Ref: ref(i.sku), Quantity: stock.Quantity(n)})
		}
		before := len(p.feeds)
		results, err := m.WriteStock(t.Context(), writes)
		if err != nil || slices.ContainsFunc(results, func(r connectors.Result) bool { return r.Outcome != connectors.Accepted }) {
			t.Fatalf("%d: %+v, %v", n, results, err)
		}
		if made := len(p.feeds) - before; made != want {
			t.Errorf("%d listings make %d feeds", n, made)
		}
		amazon.ForgetFeedLook(m)
	}
}

// A document's address that has ended says nothing of the credentials, and a report that cannot be had holds nothing back.
func TestDocumentsThatCannotBeHad(t *testing.T) {
	p := newPretend(t, 3)
	p.feedLag = 1000
	m := open(t, &refusing{next: p, method: http.MethodPut}, "feed_from", "1")
	_, err := m.WriteStock(t.Context(), []connectors.Write{{Ref: ref(p.items[0].sku), Quantity: 5}})
	says(t, err, connectors.Retryable, "403")
	m = open(t, &refusing{next: p, method: http.MethodGet}, "feed_from", "1")
	_ = write(t, m, p.items[0].sku, 5)
	p.do(func() { p.process(p.feeds[0]) })
	amazon.ForgetFeedLook(m)
	if got := write(t, m, p.items[0].sku, 6); got.Outcome != connectors.Accepted {
		t.Errorf("a feed that is over holds the listing: %+v", got)
	}
}

// refusing answers 403 where a document is asked for by a method.
type refusing struct {
	next   http.RoundTripper
	method string
}

func (f *refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == documentHost && r.Method == f.method {
		w := httptest.NewRecorder()
		w.WriteHeader(http.StatusForbidden)
		return w.Result(), nil
	}
	return f.next.RoundTrip(r)
}

// A call without an answer may have made a feed: it is looked for before anything else is written.
func TestFeedWithoutAnAnswer(t *testing.T) {
	p := newPretend(t, 3)
	p.feedLag = 1000
	lost := &losing{next: p, path: "/feeds/2021-06-30/feeds"}
	m := open(t, lost, "feed_from", "1")
	_, err := m.WriteStock(t.Context(), []connectors.Write{{Ref: ref(p.items[0].sku), Quantity: 5}})
	says(t, err, connectors.Uncertain)
	says(t, write(t, m, p.items[1].sku, 6).Err, connectors.Throttled, "is about to change")
}

// losing loses the answers to what is posted to a path.
type losing struct {
	next http.RoundTripper
	path string
}

func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && r.URL.Path == l.path {
		_ = resp.Body.Close()
		return nil, errors.New("connection reset by peer")
	}
	return resp, err
}

// Amazon allows twenty pages at once, then one every three minutes. The list is read on, and promises nothing until it is
// whole; a shop that has no turn left is no failure.
func TestOrdersWithinTheQuota(t *testing.T) {
	p := newPretend(t, 3)
	p.limits["searchOrders"] = ""
	p.orderPage = 1
	began := time.Now().Add(-time.Minute)
	for range 25 {
		p.sell(p.items[0].sku, 1, "UNSHIPPED")
	}
	m := open(t, p)
	page, err := m.Orders(t.Context(), began, "")
	if err != nil || len(page.Orders) != 20 || !page.Watermark.Before(began) || page.Next != "" {
		t.Fatalf("what the quota allows: %d orders, watermark %s, %v", len(page.Orders), page.Watermark, err)
	}
	if again, err := m.Orders(t.Context(), began, ""); err != nil || len(again.Orders) != 20 || p.count("searchOrders") != 20 {
		t.Errorf("without quota: %d orders by %d calls, %v", len(again.Orders), p.count("searchOrders"), err)
	}
	amazon.Refill(m, "searchOrders")
	p.do(func() { p.orderPage = 100 })
	page, err = m.Orders(t.Context(), began, "")
	if err != nil || len(page.Orders) != 25 || page.Watermark.Before(began) {
		t.Errorf("read on: %d orders, watermark %s, %v", len(page.Orders), page.Watermark, err)
	}
	if n := p.count("searchOrders"); n != 21 {
		t.Errorf("%d calls for 21 pages", n)
	}
	// Amazon counts for itself, and says so.
	p.do(func() { p.spent["searchOrders"] = true })
	for range 2 {
		page, err = m.Orders(t.Context(), began, "")
		if err != nil || len(page.Orders) != 0 || !page.Watermark.Before(began) {
			t.Errorf("refused for the rate: %d orders, watermark %s, %v", len(page.Orders), page.Watermark, err)
		}
	}
}

// A token that has ended, or a list that leads back to itself, begins the list anew.
func TestOrdersBeginAnew(t *testing.T) {
	p := newPretend(t, 3)
	p.orderPage = 1
	began := time.Now().Add(-time.Minute)
	p.sell(p.items[0].sku, 1, "UNSHIPPED")
	p.sell(p.items[0].sku, 1, "UNSHIPPED")
	m := open(t, p)
	p.strange = func(operation string, w http.ResponseWriter) bool {
		if operation == "searchOrders" && p.asked[len(p.asked)-1] == operation && len(p.asked) == 2 {
			refuse(w, http.StatusBadRequest, "InvalidInput", "The token has expired.")
			return true
		}
		return false
	}
	_, err := m.Orders(t.Context(), began, "")
	says(t, err, connectors.Retryable, "The token has expired")
	if page, err := m.Orders(t.Context(), began, ""); err != nil || len(page.Orders) != 2 {
		t.Errorf("anew: %+v, %v", page, err)
	}
	p.do(func() {
		p.strange = func(operation string, w http.ResponseWriter) bool {
			answer(w, http.StatusOK, map[string]any{"orders": []any{}, "pagination": map[string]any{"nextToken": "same"}})
			return true
		}
	})
	_, err = m.Orders(t.Context(), began, "")
	says(t, err, connectors.Retryable, "same page again")
}

// The list of orders lags two minutes behind, which the next one covers; by more, it promises no more than it holds.
func TestOrdersLag(t *testing.T) {
	p := newPretend(t, 3)
	m := open(t, p)
	for lag, late := range map[time.Duration]time.Duration{2 * time.Minute: 0, time.Hour: 55 * time.Minute} {
		p.do(func() { p.orderLag = lag })
		page, err := m.Orders(t.Context(), time.Now().Add(-24*time.Hour), "")
		if behind := time.Since(page.Watermark) - late; err != nil || behind < -time.Second || behind > time.Minute {
			t.Errorf("a lag of %s: the watermark is %s ago, %v", lag, time.Since(page.Watermark), err)
		}
	}
	caps, err := m.Capabilities(t.Context())
	if err != nil || caps.OrderOverlap < 2*time.Minute {
		t.Errorf("the overlap is %s, %v", caps.OrderOverlap, err)
	}
}

// What Amazon tells of an order, as running totals.
func TestOrderStates(t *testing.T) {
	p := newPretend(t, 3)
	m := open(t, p)
	for _, row := range []struct {
		status                      string
		ordered, shipped, unshipped int
		want                        connectors.OrderStatus
		cancelled                   stock.Quantity
	}{
		{"PENDING", 3, 0, 0, connectors.OrderOpen, 0},
		{"PENDING_AVAILABILITY", 3, 0, 0, connectors.OrderOpen, 0},
		{"UNSHIPPED", 3, 0, 3, connectors.OrderOpen, 0},
		{"UNSHIPPED", 3, 0, 2, connectors.OrderOpen, 1},
		{"PARTIALLY_SHIPPED", 3, 1, 2, connectors.OrderOpen, 0},
		{"SHIPPED", 3, 3, 0, connectors.OrderClosed, 0},
		{"SHIPPED", 3, 2, 0, connectors.OrderClosed, 1},
		{"CANCELLED", 3, 0, 0, connectors.OrderCancelledStatus, 3},
		{"CANCELLED", 0, 0, 0, connectors.OrderCancelledStatus, 0},
		{"CANCELLED", 3, 1, 0, connectors.OrderClosed, 2},
		{"SOMETHING_NEW", 3, 0, 0, connectors.OrderOpen, 0},
	} {
		o := p.sell(p.items[0].sku, row.ordered, row.status)
		p.do(func() {
			o.lines[0].shipped, o.lines[0].unshipped = row.shipped, row.unshipped
			p.orders = []*pretendOrder{o}
		})
		page, err := m.Orders(t.Context(), time.Now().Add(-time.Hour), "")
		if err != nil || len(page.Orders) != 1 {
			t.Fatalf("%+v: %d orders, %v", row, len(page.Orders), err)
		}
		got := page.Orders[0]
		if l := got.Lines[0]; got.Status != row.want || l.Cancelled != row.cancelled || l.Shipped != stock.Quantity(row.shipped) || l.Quantity != stock.Quantity(row.ordered) || l.Ref != ref(p.items[0].sku) {
			t.Errorf("%+v became %s, %+v", row, got.Status, got.Lines[0])
		}
		if err := (connectors.Fact{Kind: connectors.OrderUpserted, Order: &got}).Validate(); err != nil {
			t.Error(err)
		}
		amazon.Refill(m, "searchOrders")
	}
	o := p.sell(p.items[0].sku, 1, "UNSHIPPED")
	p.do(func() { o.by = "AMAZON" })
	if page, err := m.Orders(t.Context(), time.Now().Add(-time.Hour), ""); err != nil || slices.ContainsFunc(page.Orders, func(told connectors.Order) bool { return told.OrderID == o.id }) {
		t.Errorf("an order that Amazon ships is told: %v", err)
	}
}

// A search ends after a thousand listings, and goes on with those created since; none is listed twice.
func TestListingsBeyondAThousand(t *testing.T) {
	p := newPretend(t, 2345)
	p.limits["searchListingsItems"] = "1000"
	m := open(t, p)
	seen := map[string]bool{}
	var at connectors.Cursor
	for {
		page, err := m.Listings(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page.Rows {
			if seen[l.SKU] {
				t.Fatalf("%s is listed twice", l.SKU)
			}
			seen[l.SKU] = true
		}
		if at = page.Next; at == "" {
			break
		}
	}
	if len(seen) != len(p.items) {
		t.Errorf("%d of %d listings", len(seen), len(p.items))
	}
	p.do(func() {
		for _, i := range p.items {
			i.created = p.items[0].created
		}
	})
	for at = ""; ; {
		page, err := m.Listings(t.Context(), at)
		if err != nil {
			says(t, err, connectors.Rejected, "1000 of 2345 listings")
			break
		}
		if at = page.Next; at == "" {
			t.Fatal("a list that cannot be read whole ends as if it were")
		}
	}
}

// A package that Amazon knows is not told again, and one that the order has no room for is refused before it is sent.
func TestShipments(t *testing.T) {
	p := newPretend(t, 3)
	m := open(t, p)
	o := p.sell(p.items[0].sku, 3, "UNSHIPPED")
	notice := func(change func(*connectors.ShipmentNotice)) connectors.ShipmentNotice {
		n := connectors.ShipmentNotice{Key: "s-1", OrderID: o.id, Carrier: "fedex", Tracking: "T1", Lines: []connectors.ShippedPacks{{LineID: o.lines[0].id, Quantity: 2}}}
		change(&n)
		return n
	}
	for name, row := range map[string]struct {
		change func(*connectors.ShipmentNotice)
		kind   connectors.ErrorKind
		words  string
	}{
		"no tracking":   {func(n *connectors.ShipmentNotice) { n.Tracking = "" }, connectors.Rejected, "Manage Orders"},
		"no carrier":    {func(n *connectors.ShipmentNotice) { n.Carrier = " " }, connectors.Rejected, "carrier"},
		"no key":        {func(n *connectors.ShipmentNotice) { n.Key = "" }, connectors.Rejected, "no key"},
		"no units":      {func(n *connectors.ShipmentNotice) { n.Lines[0].Quantity = 0 }, connectors.Rejected, "no units"},
		"below 0":       {func(n *connectors.ShipmentNotice) { n.Lines[0].Quantity = -1 }, connectors.Rejected, "-1"},
		"too many":      {func(n *connectors.ShipmentNotice) { n.Lines[0].Quantity = 4 }, connectors.Rejected, "only 3 are left"},
		"another line":  {func(n *connectors.ShipmentNotice) { n.Lines[0].LineID = "x" }, connectors.Unmapped, "no line x"},
		"another order": {func(n *connectors.ShipmentNotice) { n.OrderID = "302-0" }, connectors.Unmapped, "no such order"},
	} {
		if err := m.WriteShipment(t.Context(), notice(row.change)); connectors.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 3 {
		if err := m.WriteShipment(t.Context(), notice(func(*connectors.ShipmentNotice) {})); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(o.packages); n != 1 || o.lines[0].shipped != 2 {
		t.Errorf("%d packages, %d units", n, o.lines[0].shipped)
	}
	p.do(func() { o.status = "PENDING" })
	says(t, m.WriteShipment(t.Context(), notice(func(n *connectors.ShipmentNotice) { n.Key = "s-2"; n.Lines[0].Quantity = 1 })), connectors.Rejected, "pending")
}

type queuedMarketplace interface {
	marketplace
	connectors.Subscriber
	connectors.DeliveryQueue
}

func orderChanged(seller, order, id string) string {
	return fmt.Sprintf(`{"NotificationVersion":"1.0","NotificationType":"ORDER_CHANGE","PayloadVersion":"1.0","EventTime":"2026-01-01T00:00:00Z",
		"Payload":{"OrderChangeNotification":{"NotificationLevel":"OrderLevel","SellerId":%q,"AmazonOrderId":%q,"OrderChangeType":"OrderStatusChange"}},
		"NotificationMetadata":{"ApplicationId":"a","SubscriptionId":"s","PublishTime":"2026-01-01T00:00:00Z","NotificationId":%q}}`, seller, order, id)
}

func quantityChanged(seller, sku string, quantity string) string {
	return fmt.Sprintf(`{"NotificationVersion":"1.0","NotificationType":"LISTINGS_ITEM_MFN_QUANTITY_CHANGE","PayloadVersion":"1.0","EventTime":"2026-01-01T00:00:00Z",
		"Payload":{"SellerId":%q,"FulfillmentChannelCode":"DEFAULT","Sku":%q,"Quantity":%s},
		"NotificationMetadata":{"ApplicationId":"a","SubscriptionId":"s","PublishTime":"2026-01-01T00:00:00Z","NotificationId":"n-%s"}}`, seller, sku, quantity, quantity)
}

// A message leads to its order, is in the queue until it is acknowledged, and says the same again.
func TestQueue(t *testing.T) {
	p := newPretend(t, 3)
	m := open(t, p, withQueue...).(queuedMarketplace)
	o := p.sell(p.items[0].sku, 2, "PENDING")
	p.notify(orderChanged(seller, o.id, "n-1"))
	p.notify(quantityChanged(seller, p.items[1].sku, "7"))
	p.notify(orderChanged(seller, "302-unknown", "n-2"))
	p.notify(orderChanged("A1OTHER", o.id, "n-3"))
	p.notify("not JSON")
	fetched, err := m.FetchDeliveries(t.Context())
	if err != nil || len(fetched) != 5 {
		t.Fatalf("%d fetched, %v", len(fetched), err)
	}
	for i, want := range []struct {
		kind connectors.Kind
		pull bool
		err  string
	}{{connectors.OrderUpserted, false, ""}, {connectors.ListingChanged, false, ""}, {"", true, ""}, {"", false, "a queue of its own"}, {"", false, "a queue of its own"}} {
		notice, err := m.DecodeWebhook(fetched[i].Delivery, fetched[i].Body)
		if fetched[i].Key == "" || fetched[i].Receipt == "" || (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("message %d: %+v, %v", i, fetched[i], err)
		}
		if notice.Pull != want.pull || (len(notice.Facts) == 1) != (want.kind != "") {
			t.Errorf("message %d says %+v", i, notice)
		}
		for _, f := range notice.Facts {
			if err := f.Validate(); err != nil || f.Kind != want.kind {
				t.Errorf("message %d: %s, %v", i, f.Kind, err)
			}
		}
	}
	page, err := m.Orders(t.Context(), time.Now().Add(-time.Hour), "")
	notice, _ := m.DecodeWebhook(fetched[0].Delivery, fetched[0].Body)
	if err != nil || len(page.Orders) != 1 || page.Orders[0].Version != notice.Facts[0].Order.Version {
		t.Errorf("the list tells the order otherwise than the queue: %+v, %+v, %v", page.Orders, notice.Facts, err)
	}
	if len(p.messages) != 5 {
		t.Errorf("%d messages are left before anything is acknowledged", len(p.messages))
	}
	if err := m.Acknowledge(t.Context(), fetched[:4]); err != nil || len(p.messages) != 1 {
		t.Errorf("acknowledged: %d messages are left, %v", len(p.messages), err)
	}
	// The last one comes again, with the same key.
	p.do(func() { p.messages[0].hidden = false })
	again, err := m.FetchDeliveries(t.Context())
	if err != nil || len(again) != 1 || again[0].Key != fetched[4].Key || again[0].Receipt == fetched[4].Receipt {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// An order that cannot be read now stays in the queue.
func TestQueueWaitsForTheOrder(t *testing.T) {
	p := newPretend(t, 3)
	m := open(t, p, withQueue...).(queuedMarketplace)
	o := p.sell(p.items[0].sku, 2, "UNSHIPPED")
	p.notify(orderChanged(seller, o.id, "n-1"))
	p.notify(quantityChanged(seller, p.items[1].sku, "7"))
	p.do(func() { p.spent["getOrder"] = true })
	fetched, err := m.FetchDeliveries(t.Context())
	if err != nil || len(fetched) != 1 || fetched[0].Type != "LISTINGS_ITEM_MFN_QUANTITY_CHANGE" {
		t.Errorf("%d fetched, %v", len(fetched), err)
	}
	p.do(func() { p.messages[0].hidden = false })
	_, err = m.FetchDeliveries(t.Context())
	says(t, err, connectors.Throttled, "You exceeded your quota")
	p.do(func() { p.messages[0].hidden = false; clear(p.spent) })
	if fetched, err = m.FetchDeliveries(t.Context()); err != nil || len(fetched) != 1 {
		t.Errorf("%d fetched, %v", len(fetched), err)
	}
}

func TestQueueRefused(t *testing.T) {
	p := newPretend(t, 3)
	for _, row := range []struct {
		changes []string
		kind    connectors.ErrorKind
		words   string
	}{
		{[]string{"aws_access_key_id", "AKIAOTHER"}, connectors.Auth, "sqs:ReceiveMessage"},
		{[]string{"queue_url", "https://sqs.eu-west-1.amazonaws.com/123456789012/other"}, connectors.Unmapped, "queue_url"},
	} {
		m := open(t, p, append(slices.Clone(withQueue), row.changes...)...).(queuedMarketplace)
		_, err := m.FetchDeliveries(t.Context())
		says(t, err, row.kind, row.words)
	}
	m := open(t, p, withQueue...).(queuedMarketplace)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.FetchDeliveries(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a shutdown: %v", err)
	}
	_ = m.Close()
	if _, err := m.FetchDeliveries(t.Context()); err == nil {
		t.Error("the queue is read after Close")
	}
}

// Subscriptions are made once, and one that leads elsewhere is told.
func TestSubscriptions(t *testing.T) {
	p := newPretend(t, 3)
	m := open(t, p, withQueue...).(queuedMarketplace)
	both := []string{"ORDER_CHANGE", "LISTINGS_ITEM_MFN_QUANTITY_CHANGE"}
	missing, err := m.MissingSubscriptions(t.Context())
	if err != nil || !slices.Equal(missing, both) {
		t.Fatalf("missing: %v, %v", missing, err)
	}
	for range 2 {
		if err := m.Subscribe(t.Context(), both); err != nil {
			t.Fatal(err)
		}
	}
	if missing, err = m.MissingSubscriptions(t.Context()); err != nil || len(missing) != 0 || len(p.destinations) != 1 {
		t.Errorf("after it: %v, %d destinations, %v", missing, len(p.destinations), err)
	}
	if p.directives["ORDER_CHANGE"] == nil || fmt.Sprint(p.destinations[0]["resource"]) != fmt.Sprint(map[string]any{"sqs": map[string]any{"arn": queueARN}}) {
		t.Errorf("the destination is %v, the directives %v", p.destinations, p.directives)
	}
	p.do(func() { p.subscriptions["ORDER_CHANGE"] = "elsewhere" })
	if missing, err = m.MissingSubscriptions(t.Context()); err != nil || !slices.Equal(missing, both[:1]) {
		t.Errorf("one that leads elsewhere: %v, %v", missing, err)
	}
	says(t, m.Subscribe(t.Context(), missing), connectors.Rejected, "elsewhere", "queue_url")
}

func TestSettings(t *testing.T) {
	for setting, values := range map[string][]string{
		"region":                {"", "us", "EU"},
		"seller_id":             {"", "A 1"},
		"marketplace_ids":       {"", "a1", "A1PA6795UKMFR9,,", "Amazon.de", strings.Repeat("A", 1) + strings.Join(many(51), ",")},
		"client_id":             {""},
		"client_secret":         {"", "ü"},
		"refresh_token":         {"", "Atzr|a b"},
		"feed_from":             {"", "-1", "many", "25001"},
		"queue_url":             {"orders", "http://sqs.eu-west-1.amazonaws.com/1/orders", "https://example.com/1/orders", "https://sqs.eu-west-1.amazonaws.com/orders", "https://u:p@sqs.eu-west-1.amazonaws.com/1/o"},
		"aws_access_key_id":     {""},
		"aws_secret_access_key": {""},
	} {
		for _, value := range values {
			s := settings(append(slices.Clone(withQueue), setting, value)...)
			_, err := amazon.Info().Open(connectors.Env{}, connectors.MarketplaceRole, s)
			if err == nil || !strings.Contains(err.Error(), setting) || strings.Contains(err.Error(), clientSecret) {
				t.Errorf("%s %q: %v", setting, value, err)
			}
		}
	}
	if _, err := amazon.Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings()); err == nil {
		t.Error("Amazon opens as a system of record")
	}
}

func many(n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("A%d", i))
	}
	return ids
}

// TestBadInput: answers that are none, or lack what they promise, are classed and never become a number.
func TestBadInput(t *testing.T) {
	listing := func(rest string) string { return `{"sku":"SKU 000/ä",` + rest + `}` }
	search := func(rest string) string {
		return `{"orders":[{"orderId":"1","createdTime":"2026-01-01T00:00:00Z","lastUpdatedTime":"2026-01-01T00:00:00Z",` + rest + `}]}`
	}
	const line = `"fulfillment":{"fulfillmentStatus":"UNSHIPPED"},"orderItems":[{"orderItemId":"1","product":{"sellerSku":"a"},"quantityOrdered":`
	read := func(m marketplace) error {
		_, err := m.ReadStock(t.Context(), []connectors.Ref{ref("SKU 000/ä")})
		return err
	}
	orders := func(m marketplace) error {
		_, err := m.Orders(t.Context(), time.Now().Add(-time.Hour), "")
		return err
	}
	patch := func(m marketplace) error {
		results, err := m.WriteStock(t.Context(), []connectors.Write{{Ref: ref("SKU 000/ä"), Quantity: 3}})
		if err != nil {
			return err
		}
		return results[0].Err
	}
	for name, row := range map[string]struct {
		operation, body string
		status          int
		call            func(marketplace) error
		kind            connectors.ErrorKind
	}{
		"HTML":                      {"getListingsItem", "<!doctype html><p>Sorry", 200, read, connectors.Retryable},
		"truncated":                 {"getListingsItem", `{"sku":"SKU 000/ä","fulfill`, 200, read, connectors.Retryable},
		"huge":                      {"getListingsItem", `{"sku":"` + strings.Repeat("x", 17<<20) + `"}`, 200, read, connectors.Retryable},
		"no quantity":               {"getListingsItem", listing(`"fulfillmentAvailability":[{"fulfillmentChannelCode":"DEFAULT"}]`), 200, read, connectors.Rejected},
		"null quantity":             {"getListingsItem", listing(`"fulfillmentAvailability":[{"fulfillmentChannelCode":"DEFAULT","quantity":null}]`), 200, read, connectors.Rejected},
		"negative quantity":         {"getListingsItem", listing(`"fulfillmentAvailability":[{"fulfillmentChannelCode":"DEFAULT","quantity":-1}]`), 200, read, connectors.Rejected},
		"half a unit":               {"getListingsItem", listing(`"fulfillmentAvailability":[{"fulfillmentChannelCode":"DEFAULT","quantity":1.5}]`), 200, read, connectors.Rejected},
		"no availability":           {"getListingsItem", listing(`"summaries":[]`), 200, read, connectors.Rejected},
		"another listing":           {"getListingsItem", `{"sku":"other"}`, 200, read, connectors.Rejected},
		"nothing":                   {"getListingsItem", `{}`, 200, read, connectors.Rejected},
		"a role is missing":         {"getListingsItem", `{"errors":[{"code":"Unauthorized","message":"Access to requested resource is denied."}]}`, 403, read, connectors.Auth},
		"quota":                     {"getListingsItem", `{"errors":[{"code":"QuotaExceeded","message":"You exceeded your quota."}]}`, 429, read, connectors.Throttled},
		"a patch that says nothing": {"patchListingsItem", `{}`, 200, patch, connectors.Uncertain},
		"an unknown status":         {"patchListingsItem", `{"status":"PONDERING"}`, 200, patch, connectors.Uncertain},
		"only validated":            {"patchListingsItem", `{"status":"VALID"}`, 200, patch, connectors.Uncertain},
		"HTML after a patch":        {"patchListingsItem", `<p>`, 200, patch, connectors.Uncertain},
		"no orders":                 {"searchOrders", `{"orders":null}`, 200, orders, ""},
		"no status":                 {"searchOrders", search(`"orderItems":[]`), 200, orders, connectors.Rejected},
		"no ordered quantity":       {"searchOrders", search(line + `null}]`), 200, orders, connectors.Rejected},
		"ordered below 0":           {"searchOrders", search(line + `-1}]`), 200, orders, connectors.Rejected},
		"half a unit ordered":       {"searchOrders", search(line + `0.5}]`), 200, orders, connectors.Rejected},
		"shipped below 0":           {"searchOrders", search(line + `1,"fulfillment":{"quantityFulfilled":-1}}]`), 200, orders, connectors.Rejected},
		"more shipped than ordered": {"searchOrders", search(line + `1,"fulfillment":{"quantityFulfilled":5}}]`), 200, orders, ""},
		"no times":                  {"searchOrders", `{"orders":[{"orderId":"1"}]}`, 200, orders, connectors.Rejected},
		"a line without a listing":  {"searchOrders", search(`"fulfillment":{"fulfillmentStatus":"UNSHIPPED"},"orderItems":[{"orderItemId":"1","quantityOrdered":1}]`), 200, orders, connectors.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPretend(t, 1)
			p.strange = func(operation string, w http.ResponseWriter) bool {
				if operation != row.operation {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(row.status)
				_, _ = w.Write([]byte(row.body))
				return true
			}
			if err := row.call(open(t, p)); connectors.KindOf(err) != row.kind {
				t.Errorf("%v is not %q", err, row.kind)
			}
		})
	}
}

// FuzzDecode: whatever is in the queue never panics, and becomes no fact that is not valid.
func FuzzDecode(f *testing.F) {
	f.Add("order", []byte(`{"orderId":"1","createdTime":"2026-01-01T00:00:00Z","lastUpdatedTime":"2026-01-01T00:00:00Z","salesChannel":{},"fulfillment":{"fulfillmentStatus":"CANCELLED"},"orderItems":[{"orderItemId":"1","quantityOrdered":3,"product":{"sellerSku":"a"},"fulfillment":{"quantityFulfilled":1,"quantityUnfulfilled":1}}]}`))
	f.Add("ORDER_CHANGE", []byte(orderChanged(seller, "302-1", "n")))
	f.Add("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", []byte(quantityChanged(seller, "a", "7")))
	f.Add("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", []byte(quantityChanged(seller, "a", "null")))
	f.Add("not understood", []byte("x"))
	m := open(f, newPretend(f, 0), withQueue...).(queuedMarketplace)
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		notice, err := m.DecodeWebhook(connectors.Delivery{Key: "k", Type: kind}, body)
		if err != nil && len(notice.Facts) > 0 {
			t.Error("an error with facts")
		}
		for _, fact := range notice.Facts {
			if o := fact.Order; o != nil && len(o.Lines) > 0 {
				for _, l := range o.Lines {
					if l.Cancelled+l.Shipped > l.Quantity {
						t.Errorf("%+v", l)
					}
				}
			}
			_ = fact.Validate()
		}
	})
}

// FuzzListingCursor: any text is a cursor or an error, and a cursor reads back.
func FuzzListingCursor(f *testing.F) {
	for _, seed := range []string{"", "0:1:page", "1704067200000:39:a:b", "x", "::", "-1:0:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		again, err := amazon.Reencode(text)
		if err == nil && text != "" && again != text {
			if twice, err := amazon.Reencode(again); err != nil || twice != again {
				t.Errorf("%q became %q and %q, %v", text, again, twice, err)
			}
		}
	})
}
