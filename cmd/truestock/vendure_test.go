package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/connectors/vendure/vendurelive"
)

// The story of a real Vendure shop, installed from npm, beside a pretend shop that sells the same goods, with a pretend
// warehouse behind both. Each chapter goes on from where the one before it ended.
func TestVendure(t *testing.T) {
	t.Parallel()
	v := openVendure(t)
	s := v.h.start()
	v.hooks.aim(s.url)

	v.mapping(s)
	code := v.order(s)
	other := v.otherShopSells(s)
	shipment := v.shipment(s, code)
	v.receipt(s)
	v.views(s, code)
	v.atRest(s, "20 of TS-MUG", shipment, "order "+other+" of market")

	v.hooks.server.Close() // from here on the plugin's hints go to a dead port
	s, missed := v.downtime(s)
	s, lost := v.lostHints(s)
	v.atRest(s, shipment, "order "+missed+" of vendure", "order "+lost+" of vendure")
}

// vendureHouse is a house with a real Vendure shop in it. Of the shop's articles, mug and six consist of the warehouse's
// TS-MUG, lamp of TS-LAMP, and chair of nothing that anybody has mapped. The pretend shop "market" sells TS-MUG too.
type vendureHouse struct {
	*vendurelive.Shop
	t                     *testing.T
	h                     *house
	hooks                 *hookRelay
	tap                   *adminTap
	mug, lamp, six, chair string // ids of variants
	orders                map[string]int64
}

const vendurePoll = `timings: {look: 200ms, poll: %s, retry_min: 100ms, retry_max: 1s, request: 10s, request_life: 1s}`

func openVendure(t *testing.T) *vendureHouse {
	t.Helper()
	h := newHouse(t)
	// Nothing below is found by asking again and again: what happens, happens because of a webhook.
	h.settings[0] = fmt.Sprintf(vendurePoll, "1h")
	w := h.addWarehouse(fake.WarehouseConfig{Capabilities: open.RecordCapabilities{Levels: fake.OnHand, Positions: true, CompleteLevels: true}})
	for sku, opening := range map[string]int64{"TS-MUG": 20, "TS-LAMP": 7} {
		w.AddItem(open.Item{SKU: sku, Name: sku, Kind: "physical"})
		if err := w.SetOpening(sku, "main", opening); err != nil {
			t.Fatal(err)
		}
	}
	market := h.addShop("market", fake.ShopConfig{Capabilities: open.MarketplaceCapabilities{Shipments: true}}, "orders_to: warehouse")
	market.AddListing(open.Listing{Item: "market mug", Title: "market mug"})

	v := &vendureHouse{t: t, h: h, hooks: newHookRelay(t), orders: map[string]int64{}}
	v.Shop = vendurelive.StartWithWebhooks(t, v.hooks.server.URL+"/webhooks/vendure", h.secret)
	v.tap = newAdminTap(t, v.AdminURL)
	v.mug, v.lamp, v.chair = v.Variants[0].ID, v.Variants[1].ID, v.Variants[2].ID
	v.six = v.CreateVariants(t, 10, "TS-MUG-SIX")[0].ID
	h.connections = append(h.connections, fmt.Sprintf(`  vendure:
    connector: vendure
    role: marketplace
    orders_to: warehouse
    settings: {base_url: %q, username: %q, password: %q, webhook_secrets: %q}
`, v.tap.server.URL+"/admin-api", v.Username, v.Password, h.secret))
	return v
}

// sells waits until a buyer at the shop front can order so many of each article.
func (v *vendureHouse) sells(want map[string]int64) {
	v.t.Helper()
	for _, id := range slices.Sorted(maps.Keys(want)) {
		v.h.eventually(fmt.Sprintf("Vendure sells %d of variant %s", want[id], id), func() error {
			if got := v.Available(v.t, id); got != want[id] {
				return fmt.Errorf("it sells %d", got)
			}
			return nil
		})
	}
}

// holds checks what Vendure has on hand and has allocated to orders.
func (v *vendureHouse) holds(id string, onHand, allocated int64) {
	v.t.Helper()
	var found struct {
		ProductVariant struct {
			StockLevels []struct {
				OnHand    int64 `json:"stockOnHand"`
				Allocated int64 `json:"stockAllocated"`
			} `json:"stockLevels"`
		} `json:"productVariant"`
	}
	v.Admin(v.t, `query($id: ID!) { productVariant(id: $id) { stockLevels { stockOnHand stockAllocated } } }`, map[string]any{"id": id}, &found)
	if l := found.ProductVariant.StockLevels; len(l) != 1 || l[0].OnHand != onHand || l[0].Allocated != allocated {
		v.t.Errorf("Vendure holds %+v of variant %s, want %d on hand and %d allocated", l, id, onHand, allocated)
	}
}

// buys places an order at the shop front, of so many base units at the warehouse.
func (v *vendureHouse) buys(units int64, quantities map[string]int) (code string) {
	v.t.Helper()
	code = v.PlaceOrder(v.t, quantities)
	v.orders["vendure:"+code] = units
	return code
}

// mapping links by suggestion what has the same SKU on both sides, and by hand what has not.
func (v *vendureHouse) mapping(s *server) {
	v.t.Helper()
	type suggestion struct {
		Item, SKU, By string
		WouldPublish  int64 `json:"would_publish"`
	}
	var found []suggestion
	v.h.eventually("the listings of Vendure are suggested a mapping", func() error {
		var list struct {
			Suggestions []suggestion `json:"suggestions"`
		}
		out := v.h.must(exitOK, "mappings", "suggest", "vendure", "--output", "json").stdout
		if err := json.Unmarshal([]byte(out), &list, json.MatchCaseInsensitiveNames(true)); err != nil || len(list.Suggestions) < 2 {
			return fmt.Errorf("%w: %s", err, out)
		}
		found = list.Suggestions
		return nil
	})
	want := []suggestion{{v.mug, "TS-MUG", "sku", 20}, {v.lamp, "TS-LAMP", "sku", 7}}
	if !slices.Equal(found, want) {
		v.t.Fatalf("suggested are %+v, want %+v", found, want)
	}
	rows := []string{"vendure," + v.six + ",,TS-MUG,6", "market,market mug,,TS-MUG,1"}
	for _, f := range found {
		rows = append(rows, fmt.Sprintf("vendure,%s,,%s,1", f.Item, f.SKU))
	}
	r := v.h.runWith(strings.NewReader(mappingCSV(rows...)), "mappings", "import", "-")
	if r.code != exitOK || !strings.Contains(r.stdout, "4 listings linked") {
		v.t.Fatalf("the import ends with %d: %s%s", r.code, r.stdout, r.stderr)
	}
	v.sells(map[string]int64{v.mug: 20, v.lamp: 7, v.six: 3})
	v.h.shows("market", "market mug", 20)
	s.settled()
}

// order: a buyer orders at Vendure, which allocates the units by itself. What is left for sale there is subtracted once.
func (v *vendureHouse) order(s *server) (code string) {
	v.t.Helper()
	// Of lamps nobody else takes any: Vendure shows the target without a write.
	v.buys(2, map[string]int{v.lamp: 2})
	v.recorded()
	v.sells(map[string]int64{v.lamp: 5})
	s.settled()
	v.holds(v.lamp, 7, 2)
	if n := len(v.tap.written(v.lamp)); n != 1 {
		v.t.Errorf("the lamp was written %d times, want once: when it was mapped", n)
	}

	// Three mugs and a pack of six are nine of the twenty: more than Vendure takes off either article by itself.
	code = v.buys(9, map[string]int{v.mug: 3, v.six: 1})
	v.sells(map[string]int64{v.mug: 11, v.six: 1})
	v.h.shows("market", "market mug", 11)
	v.recorded()
	s.settled()
	v.sells(map[string]int64{v.mug: 11, v.six: 1})
	v.holds(v.mug, 14, 3)
	v.holds(v.six, 2, 1)
	if got := get[itemView](s, "/items/TS-MUG"); got != (itemView{OnHand: 20, Committed: 9, Available: 11, ATP: 11}) {
		v.t.Errorf("TS-MUG is %+v, want 9 of 20 committed", got)
	}
	return code
}

// recorded waits until the warehouse has every order that was placed, and checks that it has each once.
func (v *vendureHouse) recorded() {
	v.t.Helper()
	v.h.eventually("the warehouse has the orders", func() error {
		if n := len(v.h.warehouse.Orders()); n < len(v.orders) {
			return fmt.Errorf("it has %d of %d", n, len(v.orders))
		}
		return nil
	})
	got := map[string]int64{}
	for _, o := range v.h.warehouse.Orders() {
		if _, twice := got[o.Key]; twice {
			v.t.Errorf("the warehouse has the order %s twice", o.Key)
		}
		for _, l := range o.Lines {
			got[o.Key] += l.Quantity
		}
	}
	if !maps.Equal(got, v.orders) {
		v.t.Errorf("the warehouse has the orders %v, want %v", got, v.orders)
	}
}

// otherShopSells: what another channel sells is taken off at Vendure, whose own open order stays allocated.
func (v *vendureHouse) otherShopSells(s *server) (order string) {
	v.t.Helper()
	order, ok := v.h.shops["market"].Buy("market mug", 2)
	if !ok {
		v.t.Fatal("the market refuses the order")
	}
	v.orders["market:"+order] = 2
	v.sells(map[string]int64{v.mug: 9, v.six: 1})
	v.recorded()
	s.settled()
	v.holds(v.mug, 12, 3)
	return order
}

// shipment: the warehouse ships. Vendure hears of it and takes the units off on hand; what it sells stays.
func (v *vendureHouse) shipment(s *server, code string) (shipment string) {
	v.t.Helper()
	writes := v.tap.count()
	shipment, ok := v.h.warehouse.Ship("vendure:" + code)
	if !ok {
		v.t.Fatal("nothing is allocated to the order")
	}
	v.h.eventually("Vendure's order is shipped", func() error {
		if state := v.OrderState(v.t, code); state != "Shipped" {
			return fmt.Errorf("it is %s", state)
		}
		return nil
	})
	s.settled()
	f := v.Order(v.t, code).Fulfillments
	if len(f) != 1 || f[0].State != "Shipped" || f[0].TrackingCode != "TR"+shipment || !strings.HasPrefix(f[0].Method, "pretend (ref ") {
		v.t.Errorf("the fulfillments are %+v, want one of the carrier pretend with the warehouse's tracking", f)
	}
	v.holds(v.mug, 9, 0)
	v.holds(v.six, 1, 0)
	v.sells(map[string]int64{v.mug: 9, v.six: 1})
	if n := v.tap.count() - writes; n != 0 {
		v.t.Errorf("the shipment caused %d writes of stock, and changed nothing for sale", n)
	}
	if got := get[itemView](s, "/items/TS-MUG"); got != (itemView{OnHand: 11, Committed: 2, Available: 9, ATP: 9}) {
		v.t.Errorf("after the shipment TS-MUG is %+v, want 2 of 11 committed", got)
	}
	return shipment
}

// receipt: goods come in, and are for sale everywhere.
func (v *vendureHouse) receipt(s *server) {
	v.t.Helper()
	if err := v.h.warehouse.Receive("TS-MUG", "main", 5); err != nil {
		v.t.Fatal(err)
	}
	v.sells(map[string]int64{v.mug: 14, v.six: 2})
	v.h.shows("market", "market mug", 14)
	s.settled()
}

// views: the API tells what became of the order and of the hints.
func (v *vendureHouse) views(s *server, code string) {
	v.t.Helper()
	type view struct {
		Record struct{ Number, State string }
		Lines  []struct {
			Item                        string
			Ordered, Cancelled, Shipped int64
		}
		Shipments []struct{ Tracking string }
	}
	var o view
	a := s.call(http.MethodGet, "/orders/vendure/"+code, "", "")
	if err := json.Unmarshal([]byte(a.body), &o, json.MatchCaseInsensitiveNames(true)); err != nil {
		v.t.Fatalf("the order answers %d: %s", a.status, a.body)
	}
	if o.Record.State != "sent" || o.Record.Number == "" || len(o.Lines) != 2 || len(o.Shipments) != 1 {
		v.t.Errorf("the order is shown as %s", a.body)
	}
	hint := func(e eventView) bool { return e.Type == "order.changed" && e.State == "applied" }
	if events := all[eventView](s, "/events"); !slices.ContainsFunc(events, hint) {
		v.t.Errorf("no hint of the plugin about an order was applied; the events are %+v", events)
	}
	if n := v.hooks.taken(); n == 0 {
		v.t.Error("no hint of the plugin was answered 202")
	}
}

// atRest: nothing is left to change, nothing waits for a person, and the chain of the mug's number is told.
func (v *vendureHouse) atRest(s *server, chain ...string) {
	v.t.Helper()
	s.settled()
	if r := v.h.must(exitOK, "plan"); !strings.Contains(r.stdout, "nothing would change") {
		v.t.Errorf("plan prints %q", r.stdout)
	}
	if r := v.h.must(exitOK, "plan", "--output", "json"); strings.Join(strings.Fields(r.stdout), "") != `{"changes":[]}` {
		v.t.Errorf("plan prints %q", r.stdout)
	}
	v.h.must(exitOK, "reconcile", "--dry-run")
	told := v.h.must(exitOK, "explain", "vendure", v.mug).stdout
	for _, word := range append(chain, "warehouse says", "So it should show", "Written at", "Read back at", "in_sync") {
		if !strings.Contains(told, word) {
			v.t.Errorf("explain does not mention %s:\n%s", word, told)
		}
	}
	if incidents := all[incidentView](s, "/incidents"); len(incidents) != 0 {
		v.t.Errorf("there are incidents: %+v", incidents)
	}
	if parked := all[eventView](s, "/events?state=parked"); len(parked) != 0 {
		v.t.Errorf("there are parked events: %+v", parked)
	}
	if got := v.Available(v.t, v.chair); got != 10 || len(v.tap.written(v.chair)) > 0 {
		v.t.Errorf("the article that is not mapped sells %d, and was written %v", got, v.tap.written(v.chair))
	}
}

// downtime: while truestock is down, Vendure sells four mugs and six more come in. The raise that follows from the receipt
// must not give the four back.
func (v *vendureHouse) downtime(s *server) (up *server, order string) {
	v.t.Helper()
	if code := s.stop(); code != exitOK {
		v.t.Fatalf("the server ends with code %d", code)
	}
	order = v.buys(4, map[string]int{v.mug: 4})
	if err := v.h.warehouse.Receive("TS-MUG", "main", 6); err != nil {
		v.t.Fatal(err)
	}
	known := len(v.tap.written(v.mug))
	up = v.h.start()
	v.sells(map[string]int64{v.mug: 16, v.six: 2})
	v.h.shows("market", "market mug", 16)
	v.recorded()
	up.settled()
	v.holds(v.mug, 20, 4)
	for _, onHand := range v.tap.written(v.mug)[known:] {
		if onHand > 20 {
			v.t.Errorf("%d was written on hand: the order that was placed meanwhile was not known when the number was raised", onHand)
		}
	}
	return up, order
}

// lostHints: no hint arrives any more. The next look finds the order all the same.
func (v *vendureHouse) lostHints(s *server) (up *server, order string) {
	v.t.Helper()
	if code := s.stop(); code != exitOK {
		v.t.Fatalf("the server ends with code %d", code)
	}
	v.h.settings[0] = fmt.Sprintf(vendurePoll, "500ms")
	up = v.h.start()
	up.settled()
	taken := v.hooks.taken()
	order = v.buys(5, map[string]int{v.mug: 5})
	v.h.shows("market", "market mug", 11)
	v.sells(map[string]int64{v.mug: 11, v.six: 1})
	v.recorded()
	up.settled()
	v.holds(v.mug, 20, 9)
	if n := v.hooks.taken() - taken; n != 0 {
		v.t.Errorf("%d hints arrived: the test shows nothing", n)
	}
	return up, order
}

// hookRelay is the address that the plugin in the shop posts to: the shop starts before truestock has a port. It hands
// each delivery on as it came.
type hookRelay struct {
	server *httptest.Server
	mu     sync.Mutex
	target string
	count  int
}

func newHookRelay(t *testing.T) *hookRelay {
	t.Helper()
	r := &hookRelay{}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *hookRelay) aim(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}

// taken counts the deliveries that truestock answered with 202.
func (r *hookRelay) taken() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// ServeHTTP implements http.Handler.
func (r *hookRelay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	to, err := url.Parse(target)
	if err != nil || target == "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) },
		ModifyResponse: func(answer *http.Response) error {
			if answer.StatusCode == http.StatusAccepted {
				r.mu.Lock()
				r.count++
				r.mu.Unlock()
			}
			return nil
		},
	}
	proxy.ServeHTTP(w, req)
}

// adminTap lies between truestock and the shop's admin API, and keeps what is written.
type adminTap struct {
	server *httptest.Server
	mu     sync.Mutex
	onHand map[string][]int64 // by id of the variant, in the order of the writes
}

func newAdminTap(t *testing.T, adminURL string) *adminTap {
	t.Helper()
	to, err := url.Parse(adminURL)
	if err != nil {
		t.Fatal(err)
	}
	tap := &adminTap{onHand: map[string][]int64{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: to.Scheme, Host: to.Host})
	}}
	tap.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if err := tap.note(body); err != nil {
			t.Errorf("a call of the admin API: %v: %.500s", err, body)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(tap.server.Close)
	return tap
}

func (a *adminTap) note(body []byte) error {
	if !bytes.Contains(body, []byte("updateProductVariants")) {
		return nil
	}
	var call struct {
		Variables struct {
			Input []struct {
				ID          string `json:"id"`
				StockLevels []struct {
					StockOnHand int64 `json:"stockOnHand"`
				} `json:"stockLevels"`
			} `json:"input"`
		} `json:"variables"`
	}
	if err := json.Unmarshal(body, &call); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, in := range call.Variables.Input {
		if len(in.StockLevels) != 1 {
			return errors.New("a write of stock is not of one location")
		}
		a.onHand[in.ID] = append(a.onHand[in.ID], in.StockLevels[0].StockOnHand)
	}
	return nil
}

// written is what on hand of a variant was set to, write by write.
func (a *adminTap) written(id string) []int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.onHand[id])
}

// count is the number of writes so far, of all variants.
func (a *adminTap) count() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, list := range a.onHand {
		n += len(list)
	}
	return n
}
