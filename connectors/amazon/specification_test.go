package amazon_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/amazon"
	"github.com/truestock/truestock/connectors/realsystem"
	"github.com/truestock/truestock/stock"
)

// models are Amazon's models, as the npm package @selling-partner-api/models joins them into one OpenAPI document. Only
// Orders 2026-01-01 is newer than the package: its two operations are described by hand, in testdata.
type models struct {
	OpenAPI    string                               `json:"openapi"`
	Info       jsontext.Value                       `json:"info"`
	Paths      map[string]map[string]jsontext.Value `json:"paths"`
	Components map[string]map[string]jsontext.Value `json:"components"`
}

var modules = sync.OnceValues(func() (string, error) { return realsystem.NPM("amazon", filepath.Join("testdata", "prism")) })

// readModels reads the package. It skips the test where npm or node is missing, and fails it in that case when
// TRUESTOCK_REQUIRE=all is set.
func readModels(t testing.TB) (m models, folder string) {
	t.Helper()
	realsystem.Need(t, "Amazon's models and Prism cannot be had", "npm", "node")
	folder, err := modules()
	if err != nil {
		t.Fatal(err)
	}
	read := func(file string, into any) {
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	read(filepath.Join(folder, "@selling-partner-api", "models", "src", "merged.json"), &m)
	return m, folder
}

// used is the part of the models that the connector uses, with the orders described by hand.
func (m models) used(t testing.TB) []byte {
	t.Helper()
	var own models
	text, err := os.ReadFile(filepath.Join("testdata", "orders_2026-01-01.json"))
	if err == nil {
		err = json.Unmarshal(text, &own)
	}
	if err != nil {
		t.Fatal(err)
	}
	paths, components := map[string]map[string]jsontext.Value{}, map[string]map[string]jsontext.Value{}
	for _, r := range routes {
		found := false
		for _, from := range []models{m, own} {
			for path, methods := range from.Paths {
				if _, ok := match(r.path, strings.NewReplacer("{", "", "}", "").Replace(path)); !ok || methods[strings.ToLower(r.method)] == nil {
					continue
				}
				if strings.Count(path, "{") != strings.Count(r.path, "{") {
					continue
				}
				found = true
				if paths[path] == nil {
					paths[path] = map[string]jsontext.Value{}
				}
				paths[path][strings.ToLower(r.method)] = methods[strings.ToLower(r.method)]
				from.follow(methods[strings.ToLower(r.method)], components)
			}
		}
		if !found {
			t.Fatalf("the models have no %s %s", r.method, r.path)
		}
	}
	out, err := json.Marshal(map[string]any{"openapi": m.OpenAPI, "info": m.Info, "paths": paths, "components": components})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// follow copies what a part of the models refers to.
func (m models) follow(part jsontext.Value, into map[string]map[string]jsontext.Value) {
	const ref = `"#/components/`
	for text := string(part); ; {
		_, rest, found := strings.Cut(text, ref)
		if !found {
			return
		}
		name, after, _ := strings.Cut(rest, `"`)
		text = after
		kind, key, _ := strings.Cut(name, "/")
		if into[kind] == nil {
			into[kind] = map[string]jsontext.Value{}
		}
		if into[kind][key] == nil {
			into[kind][key] = m.Components[kind][key]
			m.follow(m.Components[kind][key], into)
		}
	}
}

// prism sends what is meant for the API through Prism, and keeps what it complains of.
type prism struct {
	*pretend
	address *url.URL

	mu         sync.Mutex
	passed     map[string]int
	violations []string
}

// RoundTrip implements http.RoundTripper.
func (p *prism) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != apiHost {
		return p.pretend.RoundTrip(r)
	}
	through := r.Clone(r.Context())
	through.URL.Scheme, through.URL.Host, through.Host = p.address.Scheme, p.address.Host, p.address.Host
	resp, err := http.DefaultTransport.RoundTrip(through)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, route := range routes {
		if _, ok := match(route.path, r.URL.EscapedPath()); ok && route.method == r.Method {
			p.passed[route.name]++
		}
	}
	if v := resp.Header.Get("Sl-Violations"); v != "" {
		p.violations = append(p.violations, fmt.Sprintf("%s %s: %s", r.Method, r.URL, v))
	}
	return resp, nil
}

// startPrism puts Prism between the connector and a pretend Amazon: it checks each request and each answer.
func startPrism(t *testing.T, p *pretend) *prism {
	t.Helper()
	m, folder := readModels(t)
	file := filepath.Join(t.TempDir(), "amazon.json")
	if err := os.WriteFile(file, m.used(t), 0o600); err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(p)
	t.Cleanup(upstream.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	_ = listener.Close()
	server := exec.Command("node", filepath.Join("testdata", "prism", "serve.js"), file, port, upstream.URL)
	server.Env = append(os.Environ(), "NODE_PATH="+folder)
	address, err := url.Parse(realsystem.Start(t, server, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return &prism{pretend: p, address: address, passed: map[string]int{}}
}

// TestSpecification: every request of the connector, and every answer of the pretend Amazon that all tests here rest on, is
// right by Amazon's own models, as Prism sees it.
func TestSpecification(t *testing.T) {
	t.Parallel()
	p := newPretend(t, 45)
	through := startPrism(t, p)
	// Prism finds what is wrong.
	wrong, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, "https://"+apiHost+"/listings/2021-08-01/items/A/B", strings.NewReader(`{"productType":"PRODUCT","patches":[{"op":"swap","path":"/a"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	wrong.Header.Set("Content-Type", "application/json")
	p.t = &tolerant{TB: t}
	resp, err := through.RoundTrip(wrong)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if all := strings.Join(through.violations, " "); !strings.Contains(all, "marketplaceids") && !strings.Contains(all, "marketplaceIds") || !strings.Contains(all, "op") {
		t.Fatalf("Prism does not see a wrong operation and a missing marketplace: %s", all)
	}
	through.violations, p.t = nil, t

	m := open(t, through, withQueue...).(queuedMarketplace)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	must("check", m.Check(t.Context()))
	must("subscribe", m.Subscribe(t.Context(), []string{"ORDER_CHANGE", "LISTINGS_ITEM_MFN_QUANTITY_CHANGE"}))
	missing, err := m.MissingSubscriptions(t.Context())
	must("look after the subscriptions", err)
	if len(missing) > 0 {
		t.Errorf("missing: %v", missing)
	}
	var refs []connectors.Ref
	for at := connectors.Cursor(""); ; {
		page, err := m.Listings(t.Context(), at)
		must("list", err)
		for _, l := range page.Rows {
			refs = append(refs, l.Ref)
		}
		if at = page.Next; at == "" || err != nil {
			break
		}
	}
	for _, some := range [][]connectors.Ref{refs[:2], refs} {
		readings, err := m.ReadStock(t.Context(), some)
		must("read", err)
		if len(readings) != len(some) {
			t.Errorf("%d of %d listings are read", len(readings), len(some))
		}
	}
	if got := write(t, m, refs[0].Item, 7); got.Outcome != connectors.Accepted {
		t.Errorf("a single write: %+v", got)
	}
	feeding := open(t, through, "feed_from", "2")
	p.do(func() { p.items[1].invalid = "'size' is required but not supplied." })
	for range 2 {
		results, err := feeding.WriteStock(t.Context(), []connectors.Write{{Ref: refs[1], Quantity: 8}, {Ref: refs[2], Quantity: 9}})
		must("write a feed", err)
		amazon.ForgetFeedLook(feeding)
		t.Logf("a feed: %+v", results)
	}
	o := p.sell(refs[3].Item, 3, "UNSHIPPED")
	page, err := m.Orders(t.Context(), time.Now().Add(-time.Hour), "")
	must("list the orders", err)
	if len(page.Orders) != 1 {
		t.Errorf("%d orders", len(page.Orders))
	}
	p.notify(orderChanged(seller, o.id, "n-1"))
	if fetched, err := m.FetchDeliveries(t.Context()); err != nil || len(fetched) != 1 || fetched[0].Type != "order" {
		t.Errorf("the queue: %+v, %v", fetched, err)
	}
	for range 2 {
		must("ship", m.WriteShipment(t.Context(), connectors.ShipmentNotice{Key: "s", OrderID: o.id, Carrier: "DHL", Tracking: "T", Lines: []connectors.ShippedPacks{{LineID: o.lines[0].id, Quantity: 2}}}))
	}
	for _, v := range through.violations {
		t.Error(v)
	}
	for _, r := range routes {
		if through.passed[r.name] == 0 {
			t.Errorf("%s was not tried", r.name)
		}
	}
}

// tolerant takes the complaints of the pretend Amazon about a request that is wrong on purpose.
type tolerant struct{ testing.TB }

// Errorf implements testing.TB.
func (*tolerant) Errorf(string, ...any) {}

// pair is one of the static sandbox's: a request, and what is answered.
type pair struct {
	Request struct {
		Parameters map[string]struct {
			Value jsontext.Value `json:"value"`
		} `json:"parameters"`
	} `json:"request"`
	Response jsontext.Value `json:"response"`
}

// TestSandboxPairs: Amazon's own examples of answers, which its sandbox gives, are understood, and refusals are classed.
func TestSandboxPairs(t *testing.T) {
	m, _ := readModels(t)
	replayed := map[string]int{}
	for _, r := range routes {
		for path, methods := range m.Paths {
			if _, ok := match(r.path, strings.NewReplacer("{", "", "}", "").Replace(path)); !ok || strings.Count(path, "{") != strings.Count(r.path, "{") || methods[strings.ToLower(r.method)] == nil {
				continue
			}
			var operation struct {
				Responses map[string]struct {
					Sandbox struct {
						Static []pair `json:"static"`
					} `json:"x-amzn-api-sandbox"`
				} `json:"responses"`
			}
			if err := json.Unmarshal(methods[strings.ToLower(r.method)], &operation); err != nil {
				t.Fatal(err)
			}
			for status, response := range operation.Responses {
				for n, pair := range response.Sandbox.Static {
					replayed[r.name]++
					t.Run(fmt.Sprintf("%s %s %d", r.name, status, n), func(t *testing.T) { replay(t, r, status, pair) })
				}
			}
		}
	}
	for _, r := range routes {
		if replayed[r.name] == 0 && !slices.Contains([]string{"searchOrders", "getOrder"}, r.name) {
			t.Errorf("the models have no pair of %s", r.name)
		}
	}
}

// replay answers one operation with the pair's answer, and makes the call of the connector that leads to it.
func replay(t *testing.T, r route, status string, given pair) {
	p := newPretend(t, 3)
	var named struct {
		SKU    string `json:"sku"`
		Status string `json:"status"`
	}
	_ = json.Unmarshal(given.Response, &named)
	sku := cmp.Or(named.SKU, "GM-ZDPI-9B4E")
	p.items[0].sku = sku
	o := p.sell(sku, 3, "UNSHIPPED")
	p.strange = func(operation string, w http.ResponseWriter) bool {
		if operation != r.name {
			return false
		}
		code := http.StatusOK
		_, _ = fmt.Sscan(status, &code)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		if code != http.StatusNoContent {
			_, _ = w.Write(bytes.TrimSpace(given.Response))
		}
		return true
	}
	changes := slices.Clone(withQueue)
	if strings.Contains(strings.ToLower(r.name), "feed") {
		changes = append(changes, "feed_from", "1")
		p.feedLag = 1
	}
	m := open(t, p, append(changes, "marketplace_ids", "ATVPDKIKX0DER")...).(queuedMarketplace)
	p.do(func() { o.marketplace = "ATVPDKIKX0DER" })
	var err error
	switch r.name {
	case "getListingsItem":
		var readings []connectors.Reading
		readings, err = m.ReadStock(t.Context(), []connectors.Ref{ref(sku)})
		if err == nil && (len(readings) != 1 || readings[0].Quantity != 100) {
			t.Errorf("it reads as %+v", readings)
		}
	case "searchListingsItems":
		var page connectors.Page[connectors.Listing]
		page, err = m.Listings(t.Context(), "")
		if err == nil && (len(page.Rows) == 0 || page.Rows[0].SKU != "GM-ZDPI-9B4E" || page.Rows[0].Title == "" || page.Next == "") {
			t.Errorf("it lists %+v", page)
		}
	case "patchListingsItem":
		var results []connectors.Result
		results, err = m.WriteStock(t.Context(), []connectors.Write{{Ref: ref(sku), Quantity: 3}})
		if err != nil {
			break
		}
		want := map[string]connectors.ErrorKind{"ACCEPTED": "", "INVALID": connectors.Rejected, "VALID": connectors.Uncertain, "": connectors.Rejected}[named.Status]
		if connectors.KindOf(results[0].Err) != want {
			t.Errorf("%s became %+v", named.Status, results[0])
		}
		return
	case "createFeedDocument", "createFeed":
		_, err = m.WriteStock(t.Context(), []connectors.Write{{Ref: ref(sku), Quantity: 3}})
		if r.name == "createFeedDocument" && err != nil && strings.Contains(err.Error(), "404") {
			err = nil // the example's address leads nowhere
		}
	case "getFeed", "getFeeds", "getFeedDocument":
		// What cannot be asked about a feed holds no write of another listing back for good.
		for _, q := range []stock.Quantity{3, 4} {
			_, err = m.WriteStock(t.Context(), []connectors.Write{{Ref: ref(sku), Quantity: q}})
			amazon.ForgetFeedLook(m)
			if err != nil {
				t.Errorf("%d: %v", q, err)
			}
		}
		return
	case "getMarketplaceParticipations":
		err = m.Check(t.Context())
	case "confirmShipment":
		err = m.WriteShipment(t.Context(), connectors.ShipmentNotice{Key: "s", OrderID: o.id, Carrier: "FedEx", Tracking: "112345678", Lines: []connectors.ShippedPacks{{LineID: o.lines[0].id, Quantity: 1}}})
	case "getDestinations", "getSubscription":
		_, err = m.MissingSubscriptions(t.Context())
	case "createDestination", "createSubscription":
		err = m.Subscribe(t.Context(), []string{"ORDER_CHANGE"})
	default:
		t.Fatalf("no call leads to %s", r.name)
	}
	want := connectors.ErrorKind("")
	if strings.HasPrefix(status, "4") {
		want = connectors.Rejected
	}
	if connectors.KindOf(err) != want {
		t.Errorf("the answer %s became %v", status, err)
	}
}
