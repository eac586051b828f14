package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

// counter counts what handlers see.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *counter) value() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// tendLook is twice as long as the credentials are left unproven in TestRevokedCredentials.
const tendLook = 600 * time.Millisecond

// stopped leaves time in which nothing must happen.
func (s *server) stopped(d time.Duration) { <-time.After(d) }

// writeCall is a call of POST /stock/write as a gate sees it.
type writeCall struct {
	at    time.Time
	items []string
}

func writtenItems(t *testing.T, body []byte) (items []string) {
	var call struct {
		Writes []struct {
			Item string `json:"item"`
		} `json:"writes"`
	}
	if err := json.Unmarshal(body, &call); err != nil {
		t.Errorf("the body of a write is no JSON: %v", err)
	}
	for _, w := range call.Writes {
		items = append(items, w.Item)
	}
	return items
}

// A shop that asks to be left alone for a while is left alone with what was asked for until then; a lower of another listing
// goes out meanwhile, and of what has piled up the lowers go first.
func TestRetryAfterIsKeptAndLowersGoFirst(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	skus := numbered(8)
	p := newPost(t, h, "look: 100ms, poll: 1h, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s", open.MarketplaceCapabilities{ConditionalWrite: true, BatchSize: 3}, skus...)
	const wait = 3 * time.Second
	var mu sync.Mutex
	var refusedAt time.Time
	var after []writeCall
	p.atShop.set(func(w http.ResponseWriter, r *http.Request, body []byte, _ http.Handler) bool {
		if r.URL.Path != "/stock/write" {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if refusedAt.IsZero() {
			refusedAt = time.Now()
			w.Header().Set("Retry-After", fmt.Sprint(int(wait/time.Second)))
			return refused(w, http.StatusTooManyRequests)
		}
		after = append(after, writeCall{time.Now(), writtenItems(t, body)})
		return false
	})
	h.receive(skus[0], 5) // the raise that is asked to wait
	h.eventually("the shop asks to be left alone", func() error {
		mu.Lock()
		defer mu.Unlock()
		if refusedAt.IsZero() {
			return fmt.Errorf("nothing was written")
		}
		return nil
	})
	if err := h.warehouse.Adjust(skus[1], "main", -7); err != nil {
		t.Fatal(err)
	}
	h.shows("shop", skus[1], 3)
	if got, _ := p.shop.Quantity(skus[0], ""); got != 10 {
		t.Errorf("the raise did not wait for the lower: %s shows %d", skus[0], got)
	}
	h.shows("shop", skus[0], 15)
	mu.Lock()
	for _, c := range after {
		if strings.Contains(strings.Join(c.items, " "), skus[0]) && c.at.Sub(refusedAt) < wait {
			t.Errorf("%s was written again after %s, and the shop asked for %s", skus[0], c.at.Sub(refusedAt), wait)
		}
	}
	mu.Unlock()
	p.settled()

	// Raises and lowers pile up while the shop is paused, the raises first.
	if a := p.call(http.MethodPost, "/connections/shop/pause", "", ""); a.status != http.StatusOK {
		t.Fatalf("pause is answered %d: %s", a.status, a.body)
	}
	for _, sku := range skus[2:5] {
		h.receive(sku, 5)
	}
	for _, sku := range skus[5:] {
		if err := h.warehouse.Adjust(sku, "main", -4); err != nil {
			t.Fatal(err)
		}
	}
	h.eventually("all targets are known", func() error {
		for i, sku := range skus[2:] {
			want := map[bool]int64{true: 15, false: 6}[i < 3]
			if l := get[listingView](p.server, "/listings/shop/"+sku); l.Target == nil || *l.Target != want {
				return fmt.Errorf("%s is %+v", sku, l)
			}
		}
		return nil
	})
	mu.Lock()
	after = nil
	mu.Unlock()
	if a := p.call(http.MethodPost, "/connections/shop/resume", "", ""); a.status != http.StatusOK {
		t.Fatalf("resume is answered %d: %s", a.status, a.body)
	}
	for i, sku := range skus[2:] {
		h.shows("shop", sku, map[bool]int64{true: 15, false: 6}[i < 3])
	}
	mu.Lock()
	defer mu.Unlock()
	var order []string
	for _, c := range after {
		order = append(order, c.items...)
	}
	if len(order) < 6 || strings.Join(order[:3], " ") != strings.Join(skus[5:], " ") {
		t.Errorf("what had piled up was written in the order %v, want the lowers %v first", order, skus[5:])
	}
}

// What has piled up while nobody ran does not fall upon the shop all at once: after the catch-up its batches are apart by
// retry_min, and a lower that comes meanwhile is not kept waiting by them.
func TestWhatPiledUpGoesOutInBatches(t *testing.T) {
	t.Parallel()
	const rest = 400 * time.Millisecond
	h := newHouse(t)
	skus := numbered(24)
	p := newPost(t, h, "look: 100ms, poll: 700ms, retry_min: 400ms, retry_max: 1s, request: 5s, request_life: 1s",
		open.MarketplaceCapabilities{ConditionalWrite: true, BatchSize: 4, RetryHorizonMS: 1000}, skus...)
	if code := p.stop(); code != exitOK {
		t.Fatalf("the server ended with code %d", code)
	}
	for _, sku := range skus[:20] {
		h.receive(sku, 5)
	}
	p.stopped(2800 * time.Millisecond) // more than half of what the shop goes on trying, and than three looks of ours
	var mu sync.Mutex
	var calls []writeCall
	p.atShop.set(func(_ http.ResponseWriter, r *http.Request, body []byte, _ http.Handler) bool {
		if r.URL.Path == "/stock/write" {
			mu.Lock()
			calls = append(calls, writeCall{time.Now(), writtenItems(t, body)})
			mu.Unlock()
		}
		return false
	})
	p.server = h.start()
	h.eventually("the first batch goes out", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(calls) == 0 {
			return fmt.Errorf("nothing was written")
		}
		return nil
	})
	if err := h.warehouse.Adjust(skus[23], "main", -7); err != nil {
		t.Fatal(err)
	}
	for _, sku := range skus[:20] {
		h.shows("shop", sku, 15)
	}
	h.shows("shop", skus[23], 3)
	mu.Lock()
	defer mu.Unlock()
	last, lower := time.Time{}, -1
	for i, c := range calls {
		if len(c.items) == 1 && c.items[0] == skus[23] {
			lower = i
			continue // a lower does not wait for the rest
		}
		if !last.IsZero() && c.at.Sub(last) < rest*3/4 {
			t.Errorf("batch %d of the raises came %s after the one before, want at least %s between them", i, c.at.Sub(last), rest)
		}
		last = c.at
	}
	if lower < 0 || lower == len(calls)-1 {
		t.Errorf("the lower is call %d of %d, want it before the last raise", lower, len(calls))
	}
}

// Two processes never reconcile at once: the second one says that the first does. A run over HTTP and one on the command line
// know of each other too.
func TestReconciliationsExcludeEachOther(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		p := newPost(t, h, "look: 100ms, poll: 20s, retry_min: 100ms, retry_max: 1s, request: 30s, request_life: 1s", open.MarketplaceCapabilities{ConditionalWrite: true}, "X")
		let, reached := make(chan struct{}), make(chan struct{})
		var once, free sync.Once
		release := func() { free.Do(func() { close(let) }) }
		t.Cleanup(release)
		hold := func(_ http.ResponseWriter, r *http.Request, _ []byte, _ http.Handler) bool {
			if r.URL.Path == "/listings" {
				once.Do(func() { close(reached) })
				<-let
			}
			return false
		}
		p.shop.SetQuantity("X", "", 10) // as it is
		p.atShop.set(hold)
		a := p.call(http.MethodPost, "/reconcile", "", "")
		if a.status != http.StatusAccepted {
			t.Fatalf("the reconciliation is answered %d: %s", a.status, a.body)
		}
		<-reached
		if a := p.call(http.MethodPost, "/reconcile", "", ""); a.status < 400 || a.status >= 500 || !strings.Contains(a.body, "running") {
			t.Errorf("a second reconciliation is answered %d: %s", a.status, a.body)
		}
		if r := h.must(exitFailed, "reconcile", "--dry-run"); !strings.Contains(r.stderr, "running in another process") {
			t.Errorf("a dry run beside a reconciliation of the server says: %s", r.stderr)
		}
		release()
		h.eventually("the first one ends", func() error {
			if runs := get[list[reportView]](p.server, "/reconcile").Data; len(runs) != 1 || runs[0].State != "done" {
				return fmt.Errorf("%+v", runs)
			}
			return nil
		})
		if code := p.stop(); code != exitOK {
			t.Fatalf("the server ended with code %d", code)
		}

		// Two commands: exactly one works.
		let2, reached2 := make(chan struct{}), make(chan struct{})
		var once2 sync.Once
		p.atShop.set(func(_ http.ResponseWriter, r *http.Request, _ []byte, _ http.Handler) bool {
			if r.URL.Path == "/listings" {
				once2.Do(func() { close(reached2) })
				<-let2
			}
			return false
		})
		first := make(chan result, 1)
		go func() { first <- h.run("reconcile") }()
		<-reached2
		second := h.must(exitLocked, "reconcile")
		if !strings.Contains(second.stderr, "in use by another truestock") {
			t.Errorf("the second command says: %s", second.stderr)
		}
		close(let2)
		if r := <-first; r.code != exitOK {
			t.Errorf("the first command ends with %d: %s", r.code, r.stderr)
		}
	})
}

// An order that was shipped is refunded, and the shop puts the units up for sale again by itself, before the warehouse has
// received anything: no stock moves, a reconciliation names the cause and does not count it as drift, and the units are taken
// off again. When the warehouse has received them, they are offered.
func TestUnitsOnTheirWayBackAreNotSold(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		p := newPost(t, h, "look: 100ms, poll: 1h, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s", open.MarketplaceCapabilities{ConditionalWrite: true}, "X")
		order, _ := p.shop.Buy("X", 2)
		h.eventually("the warehouse ships", func() error {
			if _, ok := h.warehouse.Ship("shop:" + order); !ok {
				return fmt.Errorf("nothing is allocated")
			}
			return nil
		})
		h.eventually("two have left", func() error {
			if got := get[itemView](p.server, "/items/X"); got != (itemView{OnHand: 8, Available: 8, ATP: 8}) {
				return fmt.Errorf("%+v", got)
			}
			return nil
		})
		p.settled()
		p.shop.SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.WebhookDrop: 1000}})
		p.atShop.set(func(w http.ResponseWriter, r *http.Request, _ []byte, _ http.Handler) bool {
			return r.URL.Path == "/stock/write" && refused(w, http.StatusServiceUnavailable)
		})
		p.shop.SetQuantity("X", "", 10)
		p.deliver("shop", "refund", event("order.upserted", fmt.Sprintf(
			`{"order_id":%q,"version":1000,"placed_at":"2026-01-05T10:00:00Z","updated_at":%q,"status":"closed","lines":[{"line_id":"1","item":"X","quantity":2,"cancelled":0,"shipped":2,"restocked":2}]}`,
			order, instant())))
		p.applied()
		if got := get[itemView](p.server, "/items/X"); got.OnHand != 8 {
			t.Errorf("the refund has moved stock: %+v", got)
		}
		a := p.call(http.MethodPost, "/reconcile", "", "")
		var run reportView
		if err := json.Unmarshal([]byte(a.body), &run); err != nil || a.status != http.StatusAccepted {
			t.Fatalf("the reconciliation is answered %d: %s", a.status, a.body)
		}
		h.eventually("the reconciliation ends", func() error {
			if run = get[reportView](p.server, "/reconcile/"+run.ID); run.State != "done" {
				return fmt.Errorf("%+v", run)
			}
			return nil
		})
		if run.Causes["awaiting_return"] != 1 || run.Drifted != 0 {
			t.Errorf("the reconciliation finds %+v, want one listing that awaits a return, which is no drift", run)
		}
		p.atShop.set(nil)
		h.shows("shop", "X", 8)
		if err := h.warehouse.ReturnGoods("shop:"+order, "X", "main", 2, true); err != nil {
			t.Fatal(err)
		}
		h.shows("shop", "X", 10)
		p.settled()
		if got := get[itemView](p.server, "/items/X"); got != (itemView{OnHand: 10, Available: 10, ATP: 10}) {
			t.Errorf("after the return X is %+v", got)
		}
		verified(p.server)
	})
}

// A listing that was gone and is listed again gets the whole protocol before its first raise: it is read, the orders are
// fetched past the reading, and only then the raise goes out, on the condition that it still shows what was read.
func TestARelistedListingIsReadAndDrainedFirst(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := newPost(t, h, "look: 100ms, poll: 1h, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s", open.MarketplaceCapabilities{ConditionalWrite: true}, numbered(20)...)
	const item = "N-007"
	p.shop.Delete(item)
	p.wantIncidents("listing_gone", 1)
	p.atShop.set(func(w http.ResponseWriter, r *http.Request, _ []byte, _ http.Handler) bool {
		return r.URL.Path == "/orders" && refused(w, http.StatusServiceUnavailable)
	})
	before := len(p.shop.Writes())
	three := int64(3)
	p.shop.AddListing(open.Listing{Item: item, Quantity: &three})
	p.deliver("shop", "listed again", event("listing.changed", fmt.Sprintf(`{"item":%q}`, item)))
	p.held(item, "until it has told its orders")
	for _, w := range p.shop.Writes()[before:] {
		if w.Item == item {
			t.Errorf("it was written before the orders were there: %+v", w)
		}
	}
	sold, ok := p.shop.Buy(item, 2) // what its webhook tells is not the drained list
	if !ok {
		t.Fatal("the shop refuses the order")
	}
	p.atShop.set(nil)
	h.shows("shop", item, 8)
	p.settled()
	p.orderIsKnown(sold)
	for _, w := range p.shop.Writes()[before:] {
		if w.Item == item && w.Quantity > w.Before && (w.Expect == nil || w.After > 8) {
			t.Errorf("a raise without a condition, or above what is there: %+v", w)
		}
	}
}

// A number that a policy has just decided otherwise is told as that by a dry run, not as somebody's edit.
func TestADecisionIsACauseOfItsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := newPost(t, h, "look: 100ms, poll: 1h, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s", open.MarketplaceCapabilities{ConditionalWrite: true}, "X", "Y")
	if code := p.stop(); code != exitOK {
		t.Fatalf("the server ended with code %d", code)
	}
	h.must(exitOK, "settings", "set", "policy", "sku:X", "safety_stock=4") // nobody plans it yet
	p.shop.SetQuantity("Y", "", 44)
	r := h.must(exitNotMet, "reconcile", "--dry-run", "--output", "json")
	var run struct {
		Drifts []struct{ Item, Cause string } `json:"drifts"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &run); err != nil {
		t.Fatalf("the report is %q: %v", r.stdout, err)
	}
	causes := map[string]string{}
	for _, d := range run.Drifts {
		causes[d.Item] = d.Cause
	}
	if causes["X"] != "policy_change" || causes["Y"] != "manual_edit" {
		t.Errorf("the causes are %v, want a policy change of X and an edit by hand of Y", causes)
	}
	p.server = h.start()
	h.shows("shop", "X", 6)
	h.shows("shop", "Y", 10)
}

// The reports of reconciliations are kept for as long as the configuration says; a listing that nobody mapped is counted in
// each, and listed on request.
func TestOldReportsAreForgotten(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.settings[1] = `reconcile: {schedule: "", keep: 100ms}`
	p := newPost(t, h, "look: 100ms, poll: 1h, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s", open.MarketplaceCapabilities{ConditionalWrite: true}, "X")
	p.shop.AddListing(open.Listing{Item: "stranger"})
	p.shop.SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.WebhookDrop: 1000}})
	p.shop.SetQuantity("X", "", 44)
	var first reportView
	for n, drifted := range []int64{1, 0} {
		if a := p.call(http.MethodPost, "/reconcile", "", ""); a.status != http.StatusAccepted {
			t.Fatalf("the reconciliation is answered %d: %s", a.status, a.body)
		}
		h.eventually("the reconciliation ends, and no older one is left", func() error {
			runs := get[list[reportView]](p.server, "/reconcile").Data
			if len(runs) != 1 || runs[0].State != "done" || runs[0].Drifted != drifted || runs[0].Causes["unmapped"] != 1 || n > 0 && runs[0].ID == first.ID {
				return fmt.Errorf("%+v", runs)
			}
			first = runs[0]
			return nil
		})
		h.shows("shop", "X", 10)
		p.settled()
		p.stopped(200 * time.Millisecond)
	}
	if lines := all[struct{ Item, Cause string }](p.server, "/reconcile/"+first.ID+"/drifts"); len(lines) != 0 {
		t.Errorf("the report has the lines %+v, want none: the unmapped listing is only counted", lines)
	}
	if rows := all[listingView](p.server, "/listings?state=unmapped"); len(rows) != 1 || rows[0].Item != "stranger" {
		t.Errorf("the unmapped listings are %+v", rows)
	}
}
