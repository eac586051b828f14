package main_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

// gate stands before a pretend shop and does to calls what a test says.
type gate struct {
	mu   sync.Mutex
	next http.Handler
	// each sees every call with its body, and answers it itself where it returns true.
	each func(w http.ResponseWriter, r *http.Request, body []byte, next http.Handler) bool
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.mu.Lock()
	each := g.each
	g.mu.Unlock()
	if each != nil && each(w, r, body, g.next) {
		return
	}
	g.next.ServeHTTP(w, r)
}

func (g *gate) set(each func(http.ResponseWriter, *http.Request, []byte, http.Handler) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.each = each
}

// writeHouse is a warehouse and a shop with the capabilities, which sells the articles, each of which is there ten times.
func writeHouse(t *testing.T, caps open.MarketplaceCapabilities, skus ...string) (*server, *fake.Shop, *gate) {
	t.Helper()
	h := newHouse(t)
	h.settings = []string{
		`timings: {look: 200ms, poll: 20s, retry_min: 100ms, retry_max: 1s, request: 1s, request_life: 3s}`,
		`reconcile: {schedule: ""}`,
	}
	w := h.addWarehouse(fake.WarehouseConfig{Capabilities: open.RecordCapabilities{Name: "warehouse", Levels: "on_hand", Positions: true, CompleteLevels: true}})
	caps.ShopID = "shop"
	shop := fake.NewShop(fake.ShopConfig{Capabilities: caps})
	t.Cleanup(shop.Close)
	h.shops["shop"] = shop
	g := &gate{next: shop}
	h.connect("shop", "marketplace", h.reach(g))
	rows := make([]string, 0, len(skus))
	for _, sku := range skus {
		w.AddItem(open.Item{SKU: sku})
		if err := w.SetOpening(sku, "main", 10); err != nil {
			t.Fatal(err)
		}
		shop.AddListing(open.Listing{Item: sku, Title: sku})
		rows = append(rows, "shop,"+sku+",,"+sku+",1")
	}
	s := h.start()
	s.imports(rows...)
	for _, sku := range skus {
		h.shows("shop", sku, 10)
	}
	s.settled()
	return s, shop, g
}

func (h *house) receive(sku string, quantity int64) {
	h.t.Helper()
	if err := h.warehouse.Receive(sku, "main", quantity); err != nil {
		h.t.Fatal(err)
	}
}

func refused(w http.ResponseWriter, status int) bool {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"title":"no","status":%d}`, status)
	return true
}

// A sale whose webhook never comes, between the reading and a raise: the shop never shows more than there is where it
// can check (C1) or takes changes (C2); where it overwrites, no more than was ordered meanwhile, and not for long.
func TestASaleDuringARaise(t *testing.T) {
	for class, caps := range map[string]open.MarketplaceCapabilities{
		"C1": {ConditionalWrite: true}, "C2": {DeltaWrite: true, IdempotentWrite: true}, "C5": {},
	} {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			s, shop, g := writeHouse(t, caps, "X")
			shop.SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.WebhookDrop: 1000}})
			var once sync.Once
			g.set(func(_ http.ResponseWriter, r *http.Request, _ []byte, _ http.Handler) bool {
				if r.URL.Path == "/stock/write" {
					once.Do(func() { shop.Buy("X", 3) })
				}
				return false
			})
			s.h.receive("X", 5)
			s.h.shows("shop", "X", 12)
			s.settled()
			for _, w := range shop.Writes() {
				if most := map[bool]int64{true: 15, false: 12}[class == "C5"]; w.After > most {
					t.Errorf("after the write %+v the shop showed %d, want at most %d", w, w.After, most)
				}
			}
		})
	}
}

// Where the platform takes its own open orders away, they are added to what is written.
func TestAGrossChannelGetsItsOpenOrdersAdded(t *testing.T) {
	t.Parallel()
	s, shop, _ := writeHouse(t, open.MarketplaceCapabilities{QuantityMeans: fake.MeansGross}, "X")
	shop.Buy("X", 3)
	s.settled()
	s.h.receive("X", 5)
	s.h.shows("shop", "X", 15)
	s.settled()
	if got := shop.Sellable("X", ""); got != 12 {
		t.Errorf("%d can be bought, want 12", got)
	}
	for _, c := range get[list[struct{ Name, Class string }]](s, "/connections").Data {
		if c.Name == "shop" && c.Class != "C4" {
			t.Errorf("the class shown is %s, want C4", c.Class)
		}
	}
}

// With the order list down a lower goes out, a raise is held with the reason, and what left the shop unseen is reserved.
func TestLowersPassAndRaisesWaitWhileTheOrdersAreDown(t *testing.T) {
	onBoth(t, func(t *testing.T, _ *house) {
		s, shop, g := writeHouse(t, open.MarketplaceCapabilities{}, "X", "Y")
		g.set(func(w http.ResponseWriter, r *http.Request, _ []byte, _ http.Handler) bool {
			return r.URL.Path == "/orders" && refused(w, http.StatusServiceUnavailable)
		})
		if err := s.h.warehouse.Adjust("X", "main", -8); err != nil {
			t.Fatal(err)
		}
		s.h.shows("shop", "X", 2)
		s.h.receive("X", 5)
		held := func(item, reason string) func() error {
			return func() error {
				l, err := tryGet[listingView](s, "/listings/shop/"+item)
				if err == nil && (l.State != "held" || !strings.Contains(l.HeldReason, reason)) {
					err = fmt.Errorf("it is %+v", l)
				}
				return err
			}
		}
		s.h.eventually("the raise is held", held("X", "orders of shop cannot be fetched"))

		shop.SetQuantity("Y", "", 6) // as a sale does of which only the listing's webhook comes
		s.h.eventually("four are reserved", func() error {
			i, err := tryGet[itemView](s, "/items/Y")
			if err == nil && (i.Reserved != 4 || i.ATP != 6) {
				err = fmt.Errorf("it is %+v", i)
			}
			return err
		})
		s.h.eventually("the listing says so", held("Y", "4 packs"))
		g.set(nil)
		s.h.shows("shop", "X", 7)
		s.h.shows("shop", "Y", 10)
		s.settled()
		if i := get[itemView](s, "/items/Y"); i.Reserved != 0 {
			t.Errorf("Y is %+v although every order is known", i)
		}
	})
}

// A second writer who flips a listing is told to a person, and answered with few writes.
func TestASecondWriterIsContested(t *testing.T) {
	t.Parallel()
	s, shop, _ := writeHouse(t, open.MarketplaceCapabilities{ConditionalWrite: true}, "X")
	before := shop.WriteCount()
	for range 60 {
		shop.SetQuantity("X", "", 99)
		time.Sleep(100 * time.Millisecond)
	}
	s.h.eventually("an incident is open", func() error {
		for _, i := range get[list[incidentView]](s, "/incidents?open=true").Data {
			if i.Kind == "contested_listing" && i.Subject == "shop:X" {
				return nil
			}
		}
		return fmt.Errorf("none")
	})
	if l := get[listingView](s, "/listings/shop/X"); l.State != "contested" {
		t.Errorf("the listing is %+v", l)
	}
	if n := shop.WriteCount() - before; n > 8 {
		t.Errorf("%d writes against a writer who wrote sixty times", n)
	}
}

// Every write is told back up to three times, late: nothing is written because of it.
func TestEchoesCauseNoWrites(t *testing.T) {
	t.Parallel()
	s, shop, _ := writeHouse(t, open.MarketplaceCapabilities{}, "X")
	shop.SetFaults(fake.Faults{Permille: map[fake.Fault]int{fake.WebhookRemint: 500, fake.WebhookDuplicate: 500, fake.WebhookDelay: 500}, WebhookDelay: time.Second})
	for range 5 {
		s.h.receive("X", 1)
		time.Sleep(100 * time.Millisecond)
	}
	s.h.shows("shop", "X", 15)
	time.Sleep(2 * time.Second)
	s.settled()
	before := shop.WriteCount()
	time.Sleep(4 * time.Second)
	if n := shop.WriteCount() - before; n != 0 {
		t.Errorf("%d writes after everything was true", n)
	}
}

// lines are the items of a write.
func lines(body []byte) (items []string) {
	var req open.WriteRequest
	_ = json.Unmarshal(body, &req) // what is no write has no items
	for _, w := range req.Writes {
		items = append(items, w.Item)
	}
	return items
}

// A hundred lines with every kind of answer in one 200: each line has its own fate.
func TestABatchWithMixedResults(t *testing.T) {
	t.Parallel()
	skus := make([]string, 100)
	for i := range skus {
		skus[i] = fmt.Sprintf("S-%03d", i)
	}
	s, shop, g := writeHouse(t, open.MarketplaceCapabilities{BatchSize: 100}, skus...)
	shop.Delete("S-001")
	s.settled()
	var throttled sync.Map
	g.set(func(w http.ResponseWriter, r *http.Request, body []byte, next http.Handler) bool {
		items := lines(body)
		if r.URL.Path != "/stock/write" {
			return false
		}
		var req open.WriteRequest
		_ = json.Unmarshal(body, &req)
		var pass open.WriteRequest
		var answer open.WriteAnswer
		for i, item := range items {
			_, before := throttled.LoadOrStore(item, true)
			switch {
			case item == "S-002":
				answer.Results = append(answer.Results, open.WriteResult{ID: req.Writes[i].ID, Status: "rejected", Code: "no", Message: "not this one"})
			case item == "S-003" && !before:
				answer.Results = append(answer.Results, open.WriteResult{ID: req.Writes[i].ID, Status: "throttled", RetryAfterMS: 300})
			default:
				pass.Writes = append(pass.Writes, req.Writes[i])
			}
		}
		inner, _ := json.Marshal(pass)
		r2 := r.Clone(r.Context())
		r2.Body, r2.ContentLength = io.NopCloser(bytes.NewReader(inner)), int64(len(inner))
		rec := &recorder{header: http.Header{}}
		next.ServeHTTP(rec, r2)
		var done open.WriteAnswer
		if err := json.Unmarshal(rec.body.Bytes(), &done); err != nil && len(pass.Writes) > 0 {
			return refused(w, http.StatusInternalServerError)
		}
		answer.Results = append(answer.Results, done.Results...)
		w.Header().Set("Content-Type", "application/json")
		_ = json.MarshalWrite(w, answer)
		return true
	})
	for _, sku := range skus {
		s.h.receive(sku, 5)
	}
	for i, sku := range skus {
		if i == 1 || i == 2 {
			continue
		}
		s.h.shows("shop", sku, 15)
	}
	s.settled()
	if l := get[listingView](s, "/listings/shop/S-001"); l.State != "gone" {
		t.Errorf("the deleted listing is %+v", l)
	}
	if l := get[listingView](s, "/listings/shop/S-002"); l.State != "held" || !strings.Contains(l.HeldReason, "not this one") || l.Confirmed == nil || *l.Confirmed != 10 {
		t.Errorf("the refused listing is %+v", l)
	}
}

type recorder struct {
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
func (r *recorder) WriteHeader(int)             {}

// A write that takes effect long after its sender gave up is found and put right; a write that is done twice, or done and
// then silent, ends where it must. Changes are done once.
func TestUnknownOutcomesEndAtTheNewestTarget(t *testing.T) {
	for class, caps := range map[string]open.MarketplaceCapabilities{"C2": {DeltaWrite: true, IdempotentWrite: true}, "C5": {}} {
		for _, way := range []string{"silent after doing it", "twice", "late"} {
			t.Run(class+" "+way, func(t *testing.T) {
				t.Parallel()
				s, _, g := writeHouse(t, caps, "X")
				var once sync.Once
				g.set(func(w http.ResponseWriter, r *http.Request, body []byte, next http.Handler) (answered bool) {
					if r.URL.Path != "/stock/write" {
						return false
					}
					do := func() {
						again, err := http.NewRequest(http.MethodPost, "http://shop/stock/write", bytes.NewReader(body))
						if err != nil {
							t.Error(err)
							return
						}
						again.Header = r.Header.Clone()
						next.ServeHTTP(&recorder{header: http.Header{}}, again)
					}
					once.Do(func() {
						switch way {
						case "twice":
							do()
						case "late":
							time.AfterFunc(2*time.Second, do)
							<-r.Context().Done()
							answered = true
						default:
							do()
							<-r.Context().Done()
							answered = true
						}
					})
					return answered
				})
				s.h.receive("X", 10)
				time.Sleep(1200 * time.Millisecond)
				if err := s.h.warehouse.Adjust("X", "main", -15); err != nil {
					t.Fatal(err)
				}
				time.Sleep(4 * time.Second)
				s.settled()
				s.h.shows("shop", "X", 5)
				l := get[listingView](s, "/listings/shop/X")
				if l.State != "in_sync" || *l.Confirmed != 5 {
					t.Errorf("the listing is %+v", l)
				}
			})
		}
	}
}

// A line that is throttled for an hour holds up neither a lower of another listing, nor is the poison of one listing that
// makes the shop answer 500 anybody else's.
func TestOneListingHoldsUpNoOther(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, req open.WriteRequest){
		"throttled": func(w http.ResponseWriter, _ open.WriteRequest) {
			w.Header().Set("Retry-After", "3600")
			refused(w, http.StatusTooManyRequests)
		},
		"a poisoned line": func(w http.ResponseWriter, _ open.WriteRequest) { refused(w, http.StatusInternalServerError) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, g := writeHouse(t, open.MarketplaceCapabilities{}, "bad", "good")
			g.set(func(w http.ResponseWriter, r *http.Request, body []byte, _ http.Handler) bool {
				var req open.WriteRequest
				_ = json.Unmarshal(body, &req)
				if r.URL.Path != "/stock/write" || !strings.Contains(string(body), `"bad"`) {
					return false
				}
				answer(w, req)
				return true
			})
			s.h.receive("bad", 1)
			s.h.receive("good", 3)
			if name == "a poisoned line" {
				s.h.shows("shop", "good", 13)
			}
			time.Sleep(time.Second)
			began := time.Now()
			if err := s.h.warehouse.Adjust("good", "main", -6); err != nil {
				t.Fatal(err)
			}
			if shown, _ := s.h.shops["shop"].Quantity("good", ""); shown < 7 {
				t.Errorf("good shows %d", shown)
			}
			s.h.shows("shop", "good", 7)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the lower took %s, want at most 10 s", took)
			}
			s.h.shows("shop", "bad", 10)
		})
	}
}

// Raises are switched off and on by the API.
func TestRaisesAreSwitchedOff(t *testing.T) {
	t.Parallel()
	s, _, _ := writeHouse(t, open.MarketplaceCapabilities{ConditionalWrite: true}, "X")
	for _, path := range []string{"/connections/shop/%s?raises=true", "/raises/%s"} {
		shown, _ := s.h.shops["shop"].Quantity("X", "")
		if a := s.call(http.MethodPost, fmt.Sprintf(path, "pause"), "", ""); a.status != http.StatusOK {
			t.Fatalf("pause: %d %s", a.status, a.body)
		}
		s.h.receive("X", 5)
		s.h.eventually("the raise is held", func() error {
			l, err := tryGet[listingView](s, "/listings/shop/X")
			if err == nil && !strings.Contains(l.HeldReason, "raises are paused") {
				err = fmt.Errorf("%+v", l)
			}
			return err
		})
		if err := s.h.warehouse.Adjust("X", "main", -7); err != nil {
			t.Fatal(err)
		}
		s.h.shows("shop", "X", shown-2)
		if a := s.call(http.MethodPost, fmt.Sprintf(path, "resume"), "", ""); a.status != http.StatusOK {
			t.Fatalf("resume: %d %s", a.status, a.body)
		}
		s.h.receive("X", 1)
		s.h.shows("shop", "X", shown-1)
	}
}
