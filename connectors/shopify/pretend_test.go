package shopify_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

const (
	token  = "shpat_secret_token"
	secret = "shpss_secret_one"
	domain = "suite.myshopify.com"
)

// pretend is a shop that answers by Shopify's own schema, and behaves as Shopify's documents say: a query that is not valid,
// or that costs more than one may, fails the test.
type pretend struct {
	t testing.TB

	mu                sync.Mutex
	version           string // that answers, whatever was asked for; empty for the one that was
	locations         []*pretendLocation
	items             []*pretendItem
	orders            []*pretendOrder
	subscriptions     []map[string]any
	keys              map[string]*attempt
	spoiled           *attempt // what the next key was used for before, whatever it is
	changes           int
	lastID            int
	clock             func() time.Time
	partial           bool              // a refused line leaves the others of its call in effect
	fails             map[string]string // from a mutation to an error of its next call
	scopes            map[string]bool   // that were revoked
	bucket            float64           // points; below 0 for plenty
	refuseFulfillment int               // the ordinal of one that is refused
	restore           float64           // points a second
	asked             []string          // operations, in order
	client            bool              // tokens are fetched
	live              string            // the token that is taken then
	fetched           int
	lines             []any // of the last write
	exports           exports
}

type pretendLocation struct {
	id, name string
	active   bool
}

type pretendItem struct {
	id, sku, title string
	tracked        bool
	policy, status string
	levels         map[string]*int // by location
	updated        time.Time
}

type pretendOrder struct {
	id                string
	created, updated  time.Time
	cancelled, closed bool
	lines             []*pretendLine
	fulfillments      []*pretendFulfillment
	refunds           []*pretendRefund
	fulfillmentOrders []*pretendFulfillmentOrder
}

type pretendLine struct {
	id, sku           string
	item              *pretendItem
	quantity, current int
}

type pretendFulfillment struct {
	id, location, status, company, number string
	lines                                 []lineCount
}

type lineCount struct {
	line  string
	count int
}

type pretendRefund struct {
	id    string
	lines []refundCount
}

type refundCount struct {
	line, typ string
	restocked bool
	count     int
}

type pretendFulfillmentOrder struct {
	id, location, status string
	lines                []*pretendFulfillable
}

type pretendFulfillable struct {
	id, line, item   string
	total, remaining int
}

// attempt is what became of a call with an idempotency key.
type attempt struct {
	content [32]byte
	any     bool // the content is the same, whatever it is
	failed  bool
	payload func() *object
}

// newPretend has one location and n items with 10 units each.
func newPretend(t testing.TB, n int) *pretend {
	p := &pretend{t: t, keys: map[string]*attempt{}, lastID: 1000, clock: time.Now, bucket: -1, restore: 100, fails: map[string]string{}, scopes: map[string]bool{}}
	p.addLocation("Warehouse")
	for i := range n {
		p.addItem(fmt.Sprintf("SKU-%03d", i))
	}
	return p
}

func (p *pretend) nextID() string {
	p.lastID++
	return strconv.Itoa(p.lastID)
}

func (p *pretend) addLocation(name string) string {
	l := &pretendLocation{id: p.nextID(), name: name, active: true}
	p.locations = append(p.locations, l)
	return l.id
}

// addItem makes an item with 10 units at the first location.
func (p *pretend) addItem(sku string) *pretendItem {
	i := &pretendItem{id: p.nextID(), sku: sku, title: "Title of " + sku, tracked: true, policy: "DENY", status: "ACTIVE", levels: map[string]*int{}, updated: p.clock()}
	i.levels[p.locations[0].id] = new(10)
	p.items = append(p.items, i)
	return i
}

func (p *pretend) item(id string) *pretendItem {
	i := slices.IndexFunc(p.items, func(i *pretendItem) bool { return i.id == id })
	if i < 0 {
		return nil
	}
	return p.items[i]
}

// order places an order of one line that is assigned to the location.
func (p *pretend) order(item *pretendItem, location string, quantity int) *pretendOrder {
	now := p.clock()
	o := &pretendOrder{id: p.nextID(), created: now, updated: now}
	l := &pretendLine{id: p.nextID(), sku: item.sku, item: item, quantity: quantity, current: quantity}
	o.lines = append(o.lines, l)
	o.fulfillmentOrders = []*pretendFulfillmentOrder{{id: p.nextID(), location: location, status: "OPEN",
		lines: []*pretendFulfillable{{id: p.nextID(), line: l.id, item: item.id, total: quantity, remaining: quantity}}}}
	if level := item.levels[location]; level != nil {
		*level -= quantity
	}
	p.orders = append(p.orders, o)
	p.changes++
	return o
}

func (p *pretend) findOrder(id string) *pretendOrder {
	i := slices.IndexFunc(p.orders, func(o *pretendOrder) bool { return o.id == id })
	if i < 0 {
		return nil
	}
	return p.orders[i]
}

// RoundTrip implements http.RoundTripper.
func (p *pretend) RoundTrip(req *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	p.ServeHTTP(recorder, req)
	resp := recorder.Result()
	resp.Request = req
	return resp, nil
}

var apiPath = regexp.MustCompile(`^/admin/api/(\d{4}-\d{2})/graphql\.json$`)

// ServeHTTP implements http.Handler.
func (p *pretend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Date", p.clock().UTC().Format(http.TimeFormat))
	if r.URL.Host == exportHost {
		p.serveExport(w, r)
		return
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Errorf("read the request: %v", err)
	}
	if r.URL.Path == "/admin/oauth/access_token" {
		p.serveToken(w, text)
		return
	}
	match := apiPath.FindStringSubmatch(r.URL.Path)
	if r.URL.Host != domain || match == nil || r.Method != http.MethodPost {
		p.answer(w, 404, `{"errors":"Not Found"}`)
		return
	}
	if given := r.Header.Get("X-Shopify-Access-Token"); given != p.token() || given == "" {
		p.answer(w, 401, `{"errors":"[API] Invalid API key or access token (unrecognized login or wrong password)"}`)
		return
	}
	version := cmp.Or(p.version, match[1])
	w.Header().Set("X-Shopify-API-Version", version)
	p.serveGraphQL(w, version, text)
}

func (p *pretend) token() string {
	if p.client {
		return p.live
	}
	return token
}

// serveToken answers as https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/client-credentials-grant says.
func (p *pretend) serveToken(w http.ResponseWriter, text []byte) {
	form, err := url.ParseQuery(string(text))
	if err != nil || form.Get("grant_type") != "client_credentials" || form.Get("client_id") != "client" || form.Get("client_secret") != secret {
		p.answer(w, 400, `{"error":"invalid_client","error_description":"unknown client"}`)
		return
	}
	p.fetched++
	p.live = "shpat_fetched_" + strconv.Itoa(p.fetched)
	p.answer(w, 200, `{"access_token":"`+p.live+`","scope":"read_orders","expires_in":86399}`)
}

func (p *pretend) answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (p *pretend) serveGraphQL(w http.ResponseWriter, version string, text []byte) {
	var asked struct {
		Query     string         `json:"query"`
		Variables map[string]any `json:"variables"`
	}
	if err := json.Unmarshal(text, &asked); err != nil {
		p.t.Errorf("the request is no JSON: %v", err)
	}
	schema := schemaOf(p.t, version)
	doc, err := parser.ParseQuery(&ast.Source{Input: asked.Query})
	if err != nil {
		p.t.Errorf("the query cannot be parsed: %v\n%s", err, asked.Query)
		return
	}
	if errs := validator.ValidateWithRules(schema, doc, rules.NewDefaultRules()); len(errs) > 0 {
		p.t.Errorf("the query is not valid in %s: %v\n%s", version, errs, asked.Query)
		return
	}
	op := doc.Operations[0]
	vars, err := validator.VariableValues(schema, op, integers(asked.Variables).(map[string]any))
	if err != nil {
		p.t.Errorf("the variables of %s are not valid in %s: %v\n%s", op.Name, version, err, text)
		return
	}
	p.asked = append(p.asked, op.Name)
	x := &execution{schema: schema, vars: vars, broken: p.t.Errorf}
	cost := x.cost(op.SelectionSet)
	if op.Operation == ast.Mutation {
		cost += 10
	}
	if cost > 1000 {
		p.t.Errorf("%s costs %d points, and 1000 is the most", op.Name, cost)
	}
	throttled := p.bucket >= 0 && float64(cost) > p.bucket
	extensions := map[string]any{"cost": map[string]any{"requestedQueryCost": cost, "actualQueryCost": nil,
		"throttleStatus": map[string]any{"maximumAvailable": 1000.0, "currentlyAvailable": p.bucket, "restoreRate": p.restore}}}
	if throttled {
		p.bucket += 200 // what comes back meanwhile
		p.write(w, map[string]any{"errors": []any{graphError("Throttled", "THROTTLED")}, "extensions": extensions})
		return
	}
	root := &object{typ: schema.Query.Name, fields: p.queries()}
	if op.Operation == ast.Mutation {
		root = &object{typ: schema.Mutation.Name, fields: p.mutations(version)}
		for _, s := range op.SelectionSet {
			if failed := p.refusesMutation(version, s.(*ast.Field), vars); failed != nil {
				p.write(w, map[string]any{"errors": []any{failed}, "extensions": extensions})
				return
			}
		}
	}
	for scope := range p.scopes {
		if strings.Contains(asked.Query, scope) {
			failed := graphError("Access denied for "+scope+" field.", "ACCESS_DENIED")
			failed["extensions"].(map[string]any)["requiredAccess"] = "`read_" + scope + "` access scope."
			failed["path"] = []any{scope}
			p.write(w, map[string]any{"errors": []any{failed}, "data": nil, "extensions": extensions})
			return
		}
	}
	p.write(w, map[string]any{"data": x.selection(root, op.SelectionSet), "extensions": extensions})
}

func graphError(message, code string) map[string]any {
	return map[string]any{"message": message, "extensions": map[string]any{"code": code}}
}

func (p *pretend) write(w http.ResponseWriter, answer map[string]any) {
	text, err := json.Marshal(answer)
	if err != nil {
		p.t.Errorf("write the answer: %v", err)
	}
	p.answer(w, 200, string(text))
}

// integers makes whole numbers of what JSON has as floats, as GraphQL tells them apart.
func integers(v any) any {
	switch v := v.(type) {
	case nil:
		return map[string]any{}
	case map[string]any:
		for name, inner := range v {
			if inner != nil {
				v[name] = integers(inner)
			}
		}
		return v
	case []any:
		for i, inner := range v {
			v[i] = integers(inner)
		}
		return v
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return v
}

// refusesMutation is what Shopify refuses before a mutation is looked at: from 2026-04 on, the key and the comparison must
// be said (shopify.dev/changelog, "Making changeFromQuantity field required").
func (p *pretend) refusesMutation(version string, f *ast.Field, vars map[string]any) map[string]any {
	if message := p.fails[f.Name]; message != "" {
		delete(p.fails, f.Name)
		code, text, _ := strings.Cut(message, ": ")
		return graphError(text, code)
	}
	if f.Name != "inventorySetQuantities" && f.Name != "inventoryActivate" || version < "2026-04" {
		return nil
	}
	if keyOf(f, vars) == "" {
		return graphError("The @idempotent directive is required for this mutation but was not provided.", "BAD_REQUEST")
	}
	if f.Name == "inventorySetQuantities" {
		for _, q := range f.ArgumentMap(vars)["input"].(map[string]any)["quantities"].([]any) {
			if _, said := q.(map[string]any)["changeFromQuantity"]; !said {
				return graphError("The changeFromQuantity argument is required on InventoryQuantityInput.", "INVALID_FIELD_ARGUMENTS")
			}
		}
	}
	return nil
}

func keyOf(f *ast.Field, vars map[string]any) string {
	d := f.Directives.ForName("idempotent")
	if d == nil {
		return ""
	}
	key, _ := d.ArgumentMap(vars)["key"].(string)
	return strings.TrimSpace(key)
}

// idempotent does something once per key. The payload of a repeat is made anew.
//
// https://shopify.dev/docs/api/usage/implementing-idempotency
func (p *pretend) idempotent(key string, content any, failed func(code, message string) *object, do func() (func() *object, bool)) *object {
	text, err := json.Marshal(content, json.Deterministic(true))
	if err != nil {
		p.t.Errorf("%v", err)
	}
	sum := sha256.Sum256(text)
	before := p.keys[key]
	if p.spoiled != nil {
		before, p.spoiled = p.spoiled, nil
	}
	if before != nil {
		switch {
		case before.content != sum && !before.any:
			return failed("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", "The same idempotency key cannot be used with different operation parameters.")
		case before.failed:
			return failed("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "A previous request with this idempotency key failed. Retry with a new idempotency key.")
		}
		return before.payload()
	}
	payload, ok := do()
	p.keys[key] = &attempt{content: sum, failed: !ok, payload: payload}
	return payload()
}

func number(kind string, v any) string {
	id, ok := strings.CutPrefix(fmt.Sprint(v), "gid://shopify/"+kind+"/")
	if !ok {
		return ""
	}
	return id
}

func gid(kind, id string) string { return "gid://shopify/" + kind + "/" + id }

func instant(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// page is a connection: the objects behind the cursor, which is the id of the last one.
func page(typ string, all []*object, args map[string]any) *object {
	start := 0
	if after, ok := args["after"].(string); ok && after != "" {
		start = 1 + slices.IndexFunc(all, func(o *object) bool { return "cursor-"+o.fields["id"].(string) == after })
	}
	first, ok := whole(args["first"])
	if !ok {
		first = len(all)
	}
	end := min(len(all), start+first)
	nodes := []any{}
	for _, o := range all[start:end] {
		nodes = append(nodes, o)
	}
	info := &object{typ: "PageInfo", fields: map[string]any{"hasNextPage": end < len(all), "endCursor": nil}}
	if end > start {
		info.fields["endCursor"] = "cursor-" + all[end-1].fields["id"].(string)
	}
	return &object{typ: typ, fields: map[string]any{"nodes": nodes, "pageInfo": info}}
}

// window is page for long lists, of which Shopify lists the first 25,000 only.
func window[T any](typ string, list []T, id func(T) string, of func(T) *object, args map[string]any) *object {
	const longest = 25_000
	list = list[:min(len(list), longest)]
	if after, ok := args["after"].(string); ok && after != "" {
		number := after[strings.LastIndexByte(after, '/')+1:]
		list = list[1+slices.IndexFunc(list, func(v T) bool { return id(v) == number }):]
	}
	first, _ := whole(args["first"])
	delete(args, "after")
	return page(typ, each(list[:min(len(list), first+1)], of), args) // one more than is asked for, so that there is a next page
}

func atoi(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

func connection(typ string, all func() []*object) resolver {
	return func(args map[string]any) any { return page(typ, all(), args) }
}

// some is a list that has no further pages.
func some(all []*object) resolver {
	return func(args map[string]any) any {
		list := []any{}
		first, ok := whole(args["first"])
		for i, o := range all {
			if !ok || i < first {
				list = append(list, o)
			}
		}
		return list
	}
}

func each[T any](list []T, of func(T) *object) []*object {
	out := make([]*object, len(list))
	for i, v := range list {
		out[i] = of(v)
	}
	return out
}

var idAbove = regexp.MustCompile(`^id:>(\d+)$`)

var updatedAt = regexp.MustCompile(`^updated_at:>='([^']+)'$`)

func (p *pretend) queries() map[string]any {
	return map[string]any{
		"shop":      &object{typ: "Shop", fields: map[string]any{"id": gid("Shop", "77"), "myshopifyDomain": domain}},
		"locations": connection("LocationConnection", func() []*object { return each(p.locations, locationObject) }),
		"inventoryItems": resolver(func(args map[string]any) any {
			match := idAbove.FindStringSubmatch(args["query"].(string))
			if match == nil {
				p.t.Errorf("items are asked for by %v", args)
				return nil
			}
			above, err := strconv.Atoi(match[1])
			if err != nil {
				p.t.Errorf("%v", err)
			}
			items := p.items
			if above > 0 {
				items = slices.DeleteFunc(slices.Clone(items), func(i *pretendItem) bool { return atoi(i.id) <= above })
			}
			return window("InventoryItemConnection", items, func(i *pretendItem) string { return i.id }, p.itemObject, args)
		}),
		"nodes": resolver(func(args map[string]any) any {
			var out []any
			for _, id := range args["ids"].([]any) {
				if i := p.item(number("InventoryItem", id)); i != nil {
					out = append(out, p.itemObject(i))
				} else {
					out = append(out, nil)
				}
			}
			return out
		}),
		"node": resolver(func(args map[string]any) any { return p.part(args["id"].(string)) }),
		"orders": resolver(func(args map[string]any) any {
			match := updatedAt.FindStringSubmatch(args["query"].(string))
			if match == nil || args["sortKey"] != "UPDATED_AT" {
				p.t.Errorf("orders are asked for by %v", args)
				return nil
			}
			since, err := time.Parse(time.RFC3339, match[1])
			if err != nil {
				p.t.Errorf("%v", err)
			}
			list := slices.DeleteFunc(slices.Clone(p.orders), func(o *pretendOrder) bool { return o.updated.Truncate(time.Second).Before(since) })
			slices.SortStableFunc(list, func(a, b *pretendOrder) int {
				return a.updated.Truncate(time.Second).Compare(b.updated.Truncate(time.Second))
			})
			return window("OrderConnection", list, func(o *pretendOrder) string { return o.id }, p.orderObject, args)
		}),
		"order": resolver(func(args map[string]any) any {
			if o := p.findOrder(number("Order", args["id"])); o != nil {
				return p.orderObject(o)
			}
			return nil
		}),
		"webhookSubscriptions": resolver(func(args map[string]any) any {
			var list []*object
			for i, s := range p.subscriptions {
				if args["uri"] == nil || args["uri"] == s["uri"] {
					list = append(list, &object{typ: "WebhookSubscription", fields: map[string]any{"id": gid("WebhookSubscription", strconv.Itoa(i)), "topic": s["topic"], "uri": s["uri"], "format": s["format"]}})
				}
			}
			return page("WebhookSubscriptionConnection", list, args)
		}),
	}
}

func locationObject(l *pretendLocation) *object {
	return &object{typ: "Location", fields: map[string]any{"id": gid("Location", l.id), "name": l.name, "isActive": l.active}}
}

func (p *pretend) itemObject(i *pretendItem) *object {
	v := &object{typ: "ProductVariant", fields: map[string]any{"id": gid("ProductVariant", "1"+i.id), "inventoryPolicy": i.policy, "displayName": i.title, "barcode": nil,
		"product": &object{typ: "Product", fields: map[string]any{"status": i.status}}}}
	return &object{typ: "InventoryItem", fields: map[string]any{
		"id": gid("InventoryItem", i.id), "sku": i.sku, "tracked": i.tracked, "updatedAt": instant(i.updated),
		"variants": connection("ProductVariantConnection", func() []*object { return []*object{v} }),
		"inventoryLevel": resolver(func(args map[string]any) any {
			level := i.levels[number("Location", args["locationId"])]
			if level == nil {
				return nil
			}
			return &object{typ: "InventoryLevel", fields: map[string]any{"id": gid("InventoryLevel", i.id), "updatedAt": instant(i.updated),
				"quantities": resolver(func(args map[string]any) any {
					var out []any
					for _, name := range args["names"].([]any) {
						if name != "available" {
							p.t.Errorf("quantities named %v", name)
						}
						out = append(out, &object{typ: "InventoryQuantity", fields: map[string]any{"name": name, "quantity": *level}})
					}
					return out
				})}}
		}),
	}}
}

func ref(typ, id string) *object {
	return &object{typ: typ, fields: map[string]any{"id": gid(typ, id)}}
}

func (p *pretend) orderObject(o *pretendOrder) *object {
	fields := map[string]any{
		"id": gid("Order", o.id), "createdAt": instant(o.created), "updatedAt": instant(o.updated), "cancelledAt": nil, "closed": o.closed,
		"lineItems":         connection("LineItemConnection", func() []*object { return each(o.lines, lineObject) }),
		"fulfillments":      some(each(o.fulfillments, fulfillmentObject)),
		"refunds":           some(each(o.refunds, refundObject)),
		"fulfillmentOrders": connection("FulfillmentOrderConnection", func() []*object { return each(o.fulfillmentOrders, fulfillmentOrderObject) }),
	}
	if o.cancelled {
		fields["cancelledAt"] = instant(o.updated)
	}
	fields["customer"] = &object{typ: "Customer", fields: map[string]any{"id": gid("Customer", "5"),
		"defaultEmailAddress": &object{typ: "CustomerEmailAddress", fields: map[string]any{"emailAddress": "buyer@shop.example"}}}}
	return &object{typ: "Order", fields: fields}
}

func lineObject(l *pretendLine) *object {
	fields := map[string]any{"id": gid("LineItem", l.id), "quantity": l.quantity, "currentQuantity": l.current, "sku": l.sku, "variant": nil}
	if l.sku == "" {
		fields["sku"] = nil
	}
	if l.item != nil {
		fields["variant"] = &object{typ: "ProductVariant", fields: map[string]any{"inventoryItem": ref("InventoryItem", l.item.id)}}
	}
	return &object{typ: "LineItem", fields: fields}
}

func fulfillmentObject(f *pretendFulfillment) *object {
	tracking := &object{typ: "FulfillmentTrackingInfo", fields: map[string]any{"company": f.company, "number": f.number}}
	lines := connection("FulfillmentLineItemConnection", func() []*object {
		return each(f.lines, func(l lineCount) *object {
			return &object{typ: "FulfillmentLineItem", fields: map[string]any{"id": f.id + l.line, "quantity": l.count, "lineItem": ref("LineItem", l.line)}}
		})
	})
	return &object{typ: "Fulfillment", fields: map[string]any{"id": gid("Fulfillment", f.id), "status": f.status, "location": ref("Location", f.location),
		"trackingInfo": some([]*object{tracking}), "fulfillmentLineItems": lines}}
}

func refundObject(r *pretendRefund) *object {
	return &object{typ: "Refund", fields: map[string]any{"id": gid("Refund", r.id), "refundLineItems": connection("RefundLineItemConnection", func() []*object {
		return each(r.lines, func(l refundCount) *object {
			return &object{typ: "RefundLineItem", fields: map[string]any{"id": r.id + l.line, "quantity": l.count, "restockType": l.typ, "restocked": l.restocked, "lineItem": ref("LineItem", l.line)}}
		})
	})}}
}

func fulfillmentOrderObject(f *pretendFulfillmentOrder) *object {
	assigned := &object{typ: "FulfillmentOrderAssignedLocation", fields: map[string]any{"location": ref("Location", f.location)}}
	return &object{typ: "FulfillmentOrder", fields: map[string]any{"id": gid("FulfillmentOrder", f.id), "status": f.status, "assignedLocation": assigned,
		"lineItems": connection("FulfillmentOrderLineItemConnection", func() []*object {
			return each(f.lines, func(l *pretendFulfillable) *object {
				return &object{typ: "FulfillmentOrderLineItem", fields: map[string]any{"id": gid("FulfillmentOrderLineItem", l.id), "totalQuantity": l.total,
					"remainingQuantity": l.remaining, "inventoryItemId": gid("InventoryItem", l.item), "lineItem": ref("LineItem", l.line)}}
			})
		})}}
}

// part finds a part of an order by its global id.
func (p *pretend) part(id string) any {
	if number("BulkOperation", id) != "" {
		return p.exportState(id)
	}
	for _, o := range p.orders {
		for _, f := range o.fulfillments {
			if gid("Fulfillment", f.id) == id {
				return fulfillmentObject(f)
			}
		}
		for _, r := range o.refunds {
			if gid("Refund", r.id) == id {
				return refundObject(r)
			}
		}
		for _, f := range o.fulfillmentOrders {
			if gid("FulfillmentOrder", f.id) == id {
				return fulfillmentOrderObject(f)
			}
		}
	}
	return nil
}

// userError is a refusal inside an answer. Mutations whose type of errors has no code leave it out.
func userError(typ, code, message string, path ...any) *object {
	fields := map[string]any{"message": message, "field": path}
	if path == nil {
		fields["field"] = nil
	}
	if code != "" {
		fields["code"] = code
	}
	return &object{typ: typ, fields: fields}
}

func (p *pretend) mutations(version string) map[string]any {
	return map[string]any{
		"bulkOperationRunQuery": resolver(func(args map[string]any) any { return p.runExport(version, args["query"].(string)) }),
		"inventorySetQuantities": resolver(func(args map[string]any) any {
			return p.setQuantities(version, args[idempotencyKey].(string), args["input"].(map[string]any))
		}),
		"inventoryActivate": resolver(p.activate),
		"fulfillmentCreate": resolver(func(args map[string]any) any { return p.fulfill(args["fulfillment"].(map[string]any)) }),
		"webhookSubscriptionCreate": resolver(func(args map[string]any) any {
			input := args["webhookSubscription"].(map[string]any)
			made := map[string]any{"topic": args["topic"], "uri": input["uri"], "format": input["format"], "fields": input["includeFields"]}
			payload := map[string]any{"webhookSubscription": nil, "userErrors": []any{}}
			if slices.ContainsFunc(p.subscriptions, func(s map[string]any) bool { return s["topic"] == made["topic"] && s["uri"] == made["uri"] }) {
				payload["userErrors"] = []any{userError("UserError", "", "Address for this topic has already been taken", "webhookSubscription", "callbackUrl")}
			} else {
				p.subscriptions = append(p.subscriptions, made)
				p.changes++
				payload["webhookSubscription"] = ref("WebhookSubscription", strconv.Itoa(len(p.subscriptions)))
			}
			return &object{typ: "WebhookSubscriptionCreatePayload", fields: payload}
		}),
	}
}

func (p *pretend) setQuantities(version, key string, input map[string]any) *object {
	const typ = "InventorySetQuantitiesUserError"
	payload := func(group *object, errs []any) *object {
		return &object{typ: "InventorySetQuantitiesPayload", fields: map[string]any{"inventoryAdjustmentGroup": group, "userErrors": errs}}
	}
	p.lines = input["quantities"].([]any)
	failed := func(code, message string) *object { return payload(nil, []any{userError(typ, code, message)}) }
	return p.idempotent(key, input, failed, func() (func() *object, bool) {
		switch {
		case input["name"] != "available" && input["name"] != "on_hand":
			return func() *object {
				return failed("INVALID_NAME", "The quantity name must be either 'available' or 'on_hand'.")
			}, false
		case !uriScheme.MatchString(fmt.Sprint(input["referenceDocumentUri"])):
			return func() *object {
				return failed("INVALID_REFERENCE_DOCUMENT", "The specified reference document is invalid.")
			}, false
		case input["reason"] != "correction":
			return func() *object { return failed("INVALID_REASON", "The specified reason is invalid.") }, false
		case len(p.lines) > 250:
			p.t.Errorf("%d quantities in one call", len(p.lines))
		}
		errs, valid := p.checkQuantities(version, p.lines)
		if len(errs) > 0 && !p.partial {
			return func() *object { return payload(nil, errs) }, false
		}
		var changed []*object
		for _, q := range valid {
			if level := q.item.levels[q.location]; *level != q.quantity {
				*level = q.quantity
				q.item.updated = p.clock()
				p.changes++
				changed = append(changed, &object{typ: "InventoryChange", fields: map[string]any{"name": "available", "quantityAfterChange": q.quantity,
					"item": ref("InventoryItem", q.item.id), "location": ref("Location", q.location)}})
			}
		}
		return func() *object {
			return payload(&object{typ: "InventoryAdjustmentGroup", fields: map[string]any{"changes": resolver(func(map[string]any) any {
				out := []any{}
				for _, c := range changed {
					out = append(out, c)
				}
				return out
			})}}, errs)
		}, len(errs) == 0
	})
}

var uriScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://`)

type setLine struct {
	item     *pretendItem
	location string
	quantity int
}

// checkQuantities is one refusal per line that has one, and the lines that have none.
func (p *pretend) checkQuantities(version string, lines []any) (errs []any, valid []setLine) {
	const typ = "InventorySetQuantitiesUserError"
	errs = []any{}
	seen := map[string]bool{}
	for i, l := range lines {
		q := l.(map[string]any)
		at := func(field string) []any { return []any{"input", "quantities", strconv.Itoa(i), field} }
		item, location := p.item(number("InventoryItem", q["inventoryItemId"])), number("Location", q["locationId"])
		quantity, _ := whole(q["quantity"])
		pair := fmt.Sprint(q["inventoryItemId"], q["locationId"])
		from, compares := whole(q["changeFromQuantity"])
		switch {
		case seen[pair]:
			errs = append(errs, userError(typ, "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR", "The combination of inventoryItemId and locationId must be unique.", at("inventoryItemId")...))
		case item == nil:
			errs = append(errs, userError(typ, "INVALID_INVENTORY_ITEM", "The specified inventory item could not be found.", at("inventoryItemId")...))
		case !slices.ContainsFunc(p.locations, func(l *pretendLocation) bool { return l.id == location && l.active }):
			errs = append(errs, userError(typ, "INVALID_LOCATION", "The specified location could not be found.", at("locationId")...))
		case quantity > 1_000_000_000:
			errs = append(errs, userError(typ, "INVALID_QUANTITY_TOO_HIGH", "The total quantity can't be higher than 1,000,000,000.", at("quantity")...))
		case item.status == "BUNDLE":
			errs = append(errs, userError(typ, "NON_MUTABLE_INVENTORY_ITEM", "The specified inventory item is not allowed to be adjusted via API.", at("inventoryItemId")...))
		case item.levels[location] == nil && version >= "2026-10": // the code is gone from that version's schema
			item.levels[location] = new(0)
			valid = append(valid, setLine{item, location, quantity})
		case item.levels[location] == nil:
			errs = append(errs, userError(typ, "ITEM_NOT_STOCKED_AT_LOCATION", "The specified inventory item is not stocked at the location.", at("locationId")...))
		case compares && from != *item.levels[location]:
			errs = append(errs, userError(typ, "CHANGE_FROM_QUANTITY_STALE", "The changeFromQuantity argument no longer matches the persisted quantity.", at("changeFromQuantity")...))
		default:
			valid = append(valid, setLine{item, location, quantity})
		}
		seen[pair] = true
	}
	return errs, valid
}

func (p *pretend) activate(args map[string]any) any {
	payload := map[string]any{"inventoryLevel": nil, "userErrors": []any{}}
	item, location := p.item(number("InventoryItem", args["inventoryItemId"])), number("Location", args["locationId"])
	if item == nil || item.status == "STUCK" {
		payload["userErrors"] = []any{userError("UserError", "", "The product couldn't be stocked there.", "inventoryItemId")}
	} else {
		if item.levels[location] == nil {
			item.levels[location] = new(0)
			p.changes++
		}
		payload["inventoryLevel"] = ref("InventoryLevel", item.id)
	}
	return &object{typ: "InventoryActivatePayload", fields: payload}
}

func (p *pretend) fulfill(input map[string]any) *object {
	refuse := func(text string) *object {
		return &object{typ: "FulfillmentCreatePayload", fields: map[string]any{"fulfillment": nil, "userErrors": []any{userError("UserError", "", text, "fulfillment")}}}
	}
	if p.refuseFulfillment > 0 {
		if p.refuseFulfillment--; p.refuseFulfillment == 0 {
			return refuse("The fulfillment could not be made.")
		}
	}
	tracking, _ := input["trackingInfo"].(map[string]any)
	made := &pretendFulfillment{id: p.nextID(), status: "SUCCESS"}
	made.company, _ = tracking["company"].(string)
	made.number, _ = tracking["number"].(string)
	var of *pretendOrder
	type taken struct {
		line *pretendFulfillable
		n    int
	}
	var all []taken
	for _, g := range input["lineItemsByFulfillmentOrder"].([]any) {
		group := g.(map[string]any)
		o, f := p.fulfillmentOrder(number("FulfillmentOrder", group["fulfillmentOrderId"]))
		switch {
		case f == nil || of != nil && of != o:
			return refuse("Fulfillment order does not exist.")
		case f.status != "OPEN" && f.status != "IN_PROGRESS":
			return refuse("Fulfillment order " + f.id + " has an unfulfillable status= " + strings.ToLower(f.status) + ".")
		case made.location != "" && made.location != f.location:
			return refuse("All fulfillment orders must be assigned to the same location.")
		}
		of, made.location = o, f.location
		for _, l := range group["fulfillmentOrderLineItems"].([]any) {
			line := l.(map[string]any)
			n, _ := whole(line["quantity"])
			at := slices.IndexFunc(f.lines, func(f *pretendFulfillable) bool { return f.id == number("FulfillmentOrderLineItem", line["id"]) })
			if at < 0 || n < 1 || f.lines[at].remaining < n {
				return refuse("Invalid fulfillment order line item quantity requested.")
			}
			all = append(all, taken{f.lines[at], n})
		}
	}
	for _, t := range all {
		t.line.remaining -= t.n
		made.lines = append(made.lines, lineCount{t.line.line, t.n})
	}
	for _, f := range of.fulfillmentOrders {
		if !slices.ContainsFunc(f.lines, func(l *pretendFulfillable) bool { return l.remaining > 0 }) {
			f.status = "CLOSED"
		}
	}
	of.fulfillments = append(of.fulfillments, made)
	of.updated = p.clock()
	p.changes++
	return &object{typ: "FulfillmentCreatePayload", fields: map[string]any{"fulfillment": ref("Fulfillment", made.id), "userErrors": []any{}}}
}

func (p *pretend) fulfillmentOrder(id string) (*pretendOrder, *pretendFulfillmentOrder) {
	for _, o := range p.orders {
		for _, f := range o.fulfillmentOrders {
			if f.id == id {
				return o, f
			}
		}
	}
	return nil, nil
}

// writes tells a mutation from a query.
func writes(_ *http.Request, body []byte) bool {
	var asked struct {
		Query string `json:"query"`
	}
	return json.Unmarshal(body, &asked, jsontext.AllowDuplicateNames(true)) == nil && bytes.HasPrefix([]byte(asked.Query), []byte("mutation"))
}
