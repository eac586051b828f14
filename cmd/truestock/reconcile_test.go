package main_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

const (
	trafficListings = 10_000
	trafficAltered  = 40
)

// reportView is a reconciliation with what the tests of reports look at.
type reportView struct {
	ID            string           `json:"id"`
	State         string           `json:"state"`
	Listings      int64            `json:"listings"`
	Drifted       int64            `json:"drifted"`
	Causes        map[string]int64 `json:"causes"`
	Subscriptions []string         `json:"subscriptions"`
	Message       string           `json:"message"`
}

// While people buy, somebody alters forty of ten thousand numbers at the shop. The reconciliation is killed in the middle and
// goes on; it finds those forty, once each, and nothing else, and nobody is sold what is not there.
func TestReconcileUnderTraffic(t *testing.T) {
	if testing.Short() {
		t.Skip("compares 10,000 listings amid orders")
	}
	onBoth(t, func(t *testing.T, h *house) {
		warehouse := h.addWarehouse(fake.WarehouseConfig{Capabilities: open.RecordCapabilities{Positions: true, CompleteLevels: true}})
		shop := h.addShop("shop", fake.ShopConfig{KeepWrites: -1, Faults: fake.Faults{Permille: map[fake.Fault]int{fake.APIDelay: 1000}, APIDelay: 60 * time.Millisecond}})
		h.shopEvents = []string{"order.upserted", "order.cancelled"} // what somebody alters is not told
		rows := make([]string, trafficListings)
		for i := range rows {
			sku := trafficSKU(i)
			warehouse.AddItem(open.Item{SKU: sku})
			if err := warehouse.SetOpening(sku, "main", 50); err != nil {
				t.Fatal(err)
			}
			shop.AddListing(open.Listing{Item: sku, Quantity: new(int64(50))})
			rows[i] = fmt.Sprintf("shop,%s,,%s,1", sku, sku)
		}
		s := h.start()
		s.imports(rows...)
		s.settled()
		for i := range trafficAltered {
			shop.SetQuantity(trafficSKU(i*250+7), "", 99)
		}

		var group sync.WaitGroup
		stop := make(chan struct{})
		sold := make([]int64, trafficListings)
		group.Go(func() {
			random := rand.New(rand.NewPCG(3, 3))
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				if i := random.IntN(trafficListings); i%250 != 7 {
					if _, ok := shop.Buy(trafficSKU(i), 1); ok {
						sold[i]++
					}
				}
			}
		})
		a := s.call(http.MethodPost, "/reconcile", "", "")
		var run reportView
		if err := json.Unmarshal([]byte(a.body), &run); a.status != http.StatusAccepted || err != nil {
			t.Fatalf("reconcile is answered %d: %s", a.status, a.body)
		}
		first := run.ID
		h.eventually("a part is compared", func() (err error) {
			if run, err = tryGet[reportView](s, "/reconcile/"+first); err == nil && run.Listings == 0 {
				err = fmt.Errorf("%+v", run)
			}
			return err
		})
		s.kill()
		revived := &killRun{h: h}
		revived.server.Store(s)
		s = revived.revive()
		h.aim(s)
		// It rests between its calls and lets pushes go first, so amid traffic on a busy machine it takes its time: what
		// must go on is the count.
		for compared := int64(-1); run.State == "running" && run.Listings > compared; {
			compared = run.Listings
			h.eventually("the reconciliation goes on", func() (err error) {
				if run, err = tryGet[reportView](s, "/reconcile/"+first); err == nil && run.State == "running" && run.Listings == compared {
					err = fmt.Errorf("%+v", run)
				}
				return err
			})
		}
		close(stop)
		group.Wait()
		if run.State != "done" || run.Listings != trafficListings || run.Drifted != trafficAltered {
			t.Errorf("it ended as %+v, want done with %d listings and %d drifted", run, trafficListings, trafficAltered)
		}
		s.settled()
		for i := range trafficListings {
			if got, _ := shop.Quantity(trafficSKU(i), ""); got != 50-sold[i] {
				t.Fatalf("%s shows %d and sold %d of 50", trafficSKU(i), got, sold[i])
			}
		}
		for _, i := range all[incidentView](s, "/incidents") {
			if i.Kind == "oversell" {
				t.Errorf("oversold: %s", i.Message)
			}
		}

		// The report is kept, whole, in every form.
		if lines := len(all[driftLine](s, "/reconcile/"+first+"/drifts")); int64(lines) != sum(run.Causes) {
			t.Errorf("%d lines, and the causes count %v", lines, run.Causes)
		}
		csv := s.call(http.MethodGet, "/reconcile/"+first+"?format=csv", "", "")
		if n := strings.Count(csv.body, ",manual_edit,true,"); n != trafficAltered {
			t.Errorf("the CSV has %d lines of manual_edit, want %d", n, trafficAltered)
		}
		if r := h.must(exitOK, "reconcile", "show", first, "--output", "csv"); r.stdout != csv.body {
			t.Errorf("the command prints another CSV than the API: %.300s", r.stdout)
		}
		if r := h.must(exitOK, "reconcile", "show", first); strings.Count(r.stdout, "manual_edit") < trafficAltered {
			t.Errorf("the command prints %.300s", r.stdout)
		}
		if r := h.must(exitOK, "reconcile", "list", "--output", "json"); !strings.Contains(r.stdout, `"drifted": 40`) {
			t.Errorf("the list is %s", r.stdout)
		}
		h.must(exitUsage, "reconcile", "list", "--output", "csv")
		h.must(exitFailed, "reconcile", "show", "999")
	})
}

type driftLine struct {
	Item  string `json:"item"`
	Cause string `json:"cause"`
}

func trafficSKU(i int) string { return fmt.Sprintf("T-%05d", i) }

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// watched is a pretend shop that takes note of the order of calls: of raises before the first enumeration of its orders
// came to its end.
type watched struct {
	shop http.Handler

	mu      sync.Mutex
	numbers map[string]int64 // what each listing showed
	whole   bool             // the orders were enumerated to the end
	early   []string         // raises before that
	raises  int
}

// ServeHTTP passes a call on.
func (w *watched) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.URL.Path == "/stock/write" {
		w.noteWrites(body)
	}
	answer := httptest.NewRecorder()
	w.shop.ServeHTTP(answer, r)
	if r.URL.Path == "/orders" {
		var page open.OrdersPage
		if json.Unmarshal(answer.Body.Bytes(), &page) == nil && answer.Code == http.StatusOK && page.Next == nil {
			w.mu.Lock()
			w.whole = true
			w.mu.Unlock()
		}
	}
	maps.Copy(to.Header(), answer.Header())
	to.WriteHeader(answer.Code)
	_, _ = to.Write(answer.Body.Bytes())
}

func (w *watched) noteWrites(body []byte) {
	var request open.WriteRequest
	if json.Unmarshal(body, &request) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range request.Writes {
		if line.Quantity > w.numbers[line.Item] {
			w.raises++
			if !w.whole {
				w.early = append(w.early, fmt.Sprintf("%s to %d", line.Item, line.Quantity))
			}
		}
	}
}

// begin takes what the shop shows now as the beginning.
func (w *watched) begin(shop *fake.Shop) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole, w.early, w.raises, w.numbers = false, nil, 0, map[string]int64{}
	for _, l := range shop.Listings() {
		w.numbers[l.Item] = *l.Quantity
	}
}

// Nobody listens while five hundred orders are placed, many in the same millisecond, the webhooks are lost and the shop drops
// the subscription. After the start nothing is raised before the last order was fetched; every order is there once, and the
// subscription is made again.
func TestCatchUpAfterDowntime(t *testing.T) {
	const skus, orders = 10, 500
	onBoth(t, func(t *testing.T, h *house) {
		warehouse := h.addWarehouse(fake.WarehouseConfig{Capabilities: open.RecordCapabilities{Positions: true, CompleteLevels: true}})
		shop := fake.NewShop(fake.ShopConfig{PageSize: 7, Capabilities: open.MarketplaceCapabilities{ShopID: "shop", ConditionalWrite: true, IdempotentWrite: true,
			Subscriptions: true, RetryHorizonMS: 1000}})
		t.Cleanup(shop.Close)
		h.shops["shop"] = shop
		w := &watched{shop: shop, numbers: map[string]int64{}}
		h.connect("shop", "marketplace", h.reach(w), "orders_to: warehouse")
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		h.listen = free.Addr().String()
		if err := free.Close(); err != nil {
			t.Fatal(err)
		}
		h.settings = append(h.settings, fmt.Sprintf("public_url: http://%s", h.listen))
		h.settings[0] = `timings: {look: 200ms, poll: 500ms, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s}`
		var rows []string
		for i := range skus {
			warehouse.AddItem(open.Item{SKU: trafficSKU(i)})
			if err := warehouse.SetOpening(trafficSKU(i), "main", 100); err != nil {
				t.Fatal(err)
			}
			shop.AddListing(open.Listing{Item: trafficSKU(i)})
			rows = append(rows, fmt.Sprintf("shop,%s,,%s,1", trafficSKU(i), trafficSKU(i)))
		}
		s := h.start()
		s.imports(rows...)
		for i := range skus {
			h.shows("shop", trafficSKU(i), 100)
		}
		s.settled()
		if code := s.stop(); code != exitOK {
			t.Fatalf("the server ended with code %d", code)
		}

		shop.DropSubscriptions()
		placed := map[string]bool{}
		for i := range orders {
			id, ok := shop.Buy(trafficSKU(i%skus), 1)
			if !ok {
				t.Fatalf("order %d is refused", i)
			}
			placed[id] = true
		}
		for i := range skus {
			if err := warehouse.Receive(trafficSKU(i), "main", 30); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(3 * time.Second) // more than half of what the shop goes on trying, and than three looks of ours
		w.begin(shop)
		s = h.launch(exec.Command(program, "serve", "--config", h.configure()))
		for i := range skus {
			h.shows("shop", trafficSKU(i), 100-orders/skus+30)
		}
		s.settled()
		w.mu.Lock()
		if len(w.early) > 0 || w.raises == 0 {
			t.Errorf("%d raises, of which before the orders were fetched: %v", w.raises, w.early)
		}
		w.mu.Unlock()
		for id := range placed {
			if a, err := s.send(http.MethodGet, "/api/v1/orders/shop/"+id, h.token, "", nil); err != nil || a.status != http.StatusOK {
				t.Fatalf("order %s is answered %d %v", id, a.status, err)
			}
		}
		for i := range skus {
			if got := get[itemView](s, "/items/"+trafficSKU(i)); got.Committed != orders/skus || got.OnHand != 130 {
				t.Errorf("%s is %+v, want %d committed of 130", trafficSKU(i), got, orders/skus)
			}
		}
		h.eventually("the subscription is made again", func() error {
			for _, sub := range shop.Subscriptions() {
				if sub.URL == s.url+"/webhooks/shop" {
					return nil
				}
			}
			return fmt.Errorf("%+v", shop.Subscriptions())
		})
		if n := len(shop.Subscriptions()); n != 1 {
			t.Errorf("there are %d subscriptions, want one", n)
		}
		id, _ := shop.Buy(trafficSKU(0), 1)
		h.eventually("an order is told again", func() error {
			a, err := s.send(http.MethodGet, "/api/v1/orders/shop/"+id, h.token, "", nil)
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%d", a.status)
			}
			return err
		})
	})
}
