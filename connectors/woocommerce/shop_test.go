package woocommerce

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/signature"
	"github.com/truestock/truestock/stock"
)

const (
	testKey    = "ck_5f1e9c27b3a84d60"
	testSecret = "cs_0a9b8c7d6e5f4321"
	hookSecret = "hooksecret1"
	hookURL    = "https://truestock.example/webhooks/woo"
)

// pretend is a shop as WooCommerce's documentation and controllers describe it: its REST API, what orders do to the stock, and
// its webhooks. The controllers are cited where the connector depends on them.
type pretend struct {
	mu       sync.Mutex
	now      func() time.Time
	nextID   int64
	products []*thing
	orders   []*sale
	hooks    []*hook
	changes  int

	readOnly    bool // the key has the permission Read
	manager     bool // the key's user may see the system's status
	managing    bool // the shop-wide switch Enable stock management
	ignoreQuery bool // a cache answers without a look at the parameters
	oneByOne    int  // requests for single products
	asked       []string

	// receive is where webhooks and pings go; it returns the status of the answer.
	receive func(connectors.Request) int
}

// thing is a product or a variation. Its stock stands as JSON, so that it can be anything.
type thing struct {
	id, parent                      int64
	kind, name, sku, status, option string
	manage                          string // true, false or "parent"
	stock                           string
	stockStatus                     string
	modified                        time.Time
}

type sale struct {
	id                                 int64
	status                             string
	created, modified, paid, completed time.Time
	customer                           int64
	email                              string
	lines                              []*saleLine
	refunds                            []saleRefund
	notes                              []note
	meta                               []newMeta
}

type saleLine struct {
	id, product, variation int64
	sku                    string
	quantity               string
	reduced, restocked     int64
}

type saleRefund struct {
	id      int64
	created time.Time
	line    int64
	units   int64
}

type hook struct {
	webhook
	failures, pings int
}

func newPretend() *pretend {
	return &pretend{now: time.Now, nextID: 100, manager: true, managing: true}
}

func (p *pretend) id() int64 {
	p.nextID++
	return p.nextID
}

// product adds a product that manages its stock; change alters it.
func (p *pretend) product(sku string, quantity int64, change ...func(*thing)) *thing {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &thing{
		id: p.id(), kind: "simple", name: "Product " + sku, sku: sku, status: "publish", manage: "true",
		stock: strconv.FormatInt(quantity, 10), stockStatus: "instock", modified: p.now(),
	}
	for _, c := range change {
		c(t)
	}
	p.products = append(p.products, t)
	return t
}

// variable adds a product with variations and no stock of its own.
func (p *pretend) variable(sku string, change ...func(*thing)) *thing {
	return p.product(sku, 0, append([]func(*thing){func(t *thing) { t.kind, t.manage, t.stock = "variable", "false", "null" }}, change...)...)
}

func (p *pretend) variation(parent *thing, option string, quantity int64, change ...func(*thing)) *thing {
	return p.product(parent.sku+"-"+option, quantity, append([]func(*thing){func(t *thing) { t.kind, t.parent, t.option = "variation", parent.id, option }}, change...)...)
}

func (t *thing) ref() connectors.Ref { return connectors.Ref{Item: strconv.FormatInt(t.id, 10)} }

func (p *pretend) find(id int64) *thing {
	i := slices.IndexFunc(p.products, func(t *thing) bool { return t.id == id })
	if i < 0 {
		return nil
	}
	return p.products[i]
}

func (p *pretend) findOrder(id int64) *sale {
	i := slices.IndexFunc(p.orders, func(o *sale) bool { return o.id == id })
	if i < 0 {
		return nil
	}
	return p.orders[i]
}

// shown is the number of a product.
func (p *pretend) shown(r connectors.Ref) stock.Quantity {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, _ := strconv.ParseInt(r.Item, 10, 64)
	n, _ := strconv.ParseInt(p.find(id).stock, 10, 64)
	return stock.Quantity(n)
}

func (p *pretend) changed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changes
}

// order places an order in a status.
func (p *pretend) order(status string, customer int64, wants ...want) *sale {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := &sale{id: p.id(), status: "pending", created: p.now(), modified: p.now(), customer: customer, email: "buyer@example.com"}
	for _, w := range wants {
		l := &saleLine{id: p.id(), product: w.of.id, sku: w.of.sku, quantity: strconv.FormatInt(w.units, 10)}
		if w.of.kind == "variation" {
			l.product, l.variation = w.of.parent, w.of.id
		}
		o.lines = append(o.lines, l)
	}
	p.orders = append(p.orders, o)
	p.turn(o, status)
	return o
}

type want struct {
	of    *thing
	units int64
}

// become changes the status of an order.
func (p *pretend) become(o *sale, status string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(o, status)
}

// turn does what wc-stock-functions.php does when the status of an order changes.
func (p *pretend) turn(o *sale, status string) {
	o.status, o.modified = status, p.now()
	switch status {
	case "processing", "on-hold", "completed":
		for _, l := range o.lines {
			if t := p.holder(l); l.reduced == 0 && t != nil {
				n, _ := strconv.ParseInt(l.quantity, 10, 64)
				l.reduced = n
				t.add(-n)
			}
		}
		if status == "processing" && o.paid.IsZero() {
			o.paid = p.now()
		}
		if status == "completed" {
			o.completed = p.now()
		}
	case "cancelled", "pending":
		for _, l := range o.lines {
			if t := p.holder(l); l.reduced > 0 && t != nil {
				t.add(l.reduced)
				l.reduced = 0
			}
		}
	}
}

// holder is the product or variation from which a line takes its units; nil where that manages no stock.
func (p *pretend) holder(l *saleLine) *thing {
	t := p.find(l.product)
	if l.variation > 0 {
		if v := p.find(l.variation); v != nil && v.manage != `"parent"` {
			t = v
		}
	}
	if t == nil || t.manage != "true" {
		return nil
	}
	return t
}

func (t *thing) add(n int64) {
	have, _ := strconv.ParseInt(t.stock, 10, 64)
	t.stock = strconv.FormatInt(have+n, 10)
}

// refund pays back units of a line, as wc_create_refund and wc_restock_refunded_items do.
func (p *pretend) refund(o *sale, line int, units int64, restock bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := o.lines[line]
	o.refunds = append(o.refunds, saleRefund{id: p.id(), created: p.now(), line: l.id, units: units})
	if t := p.holder(l); restock && l.reduced > 0 && t != nil {
		t.add(units)
		l.reduced -= units
		l.restocked += units
	}
	o.modified = p.now()
}

// fire tells all active webhooks of a topic, and disables those that fail too often (class-wc-webhook.php, failed_delivery).
func (p *pretend) fire(topic, body string) {
	p.mu.Lock()
	hooks := slices.Clone(p.hooks)
	p.mu.Unlock()
	for _, h := range hooks {
		if h.Topic != topic || h.Status != "active" {
			continue
		}
		status := p.receive(delivery("d1", topic, h.Secret, []byte(body)))
		switch {
		case status >= 200 && status <= 302:
			h.failures = 0
		case h.failures > 5:
			h.Status = "disabled"
		default:
			h.failures++
		}
	}
}

func (p *pretend) ping(h *hook) {
	if p.receive != nil && p.receive(pingOf(h.ID)) == http.StatusOK {
		h.pings++
	}
}

func pingOf(id int64) connectors.Request {
	return connectors.Request{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte("webhook_id=" + strconv.FormatInt(id, 10))}
}

// delivery is a webhook as the shop sends it.
func delivery(id, topic, secret string, body []byte) connectors.Request {
	h := http.Header{}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "X-WC-Webhook-Source": "https://shop.example/", "X-WC-Webhook-Topic": topic,
		"X-WC-Webhook-Signature": signature.Body(secret, body), "X-WC-Webhook-ID": "7", "X-WC-Webhook-Delivery-ID": id,
	} {
		h.Set(name, value)
	}
	return connectors.Request{Method: http.MethodPost, Header: h, Body: body, At: time.Now()}
}

// RoundTrip implements http.RoundTripper.
func (p *pretend) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, req)
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// ServeHTTP implements http.Handler.
func (p *pretend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Date", p.now().UTC().Format(http.TimeFormat))
	path, ok := strings.CutPrefix(r.URL.Path, "/wp-json/")
	if !ok {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("<!DOCTYPE html><title>Page not found</title>"))
		return
	}
	p.asked = append(p.asked, r.Method+" "+path)
	if path == "" {
		if r.Header.Get("Authorization") != "" {
			p.fail(w, http.StatusUnauthorized, "invalid_username", "Unknown username.")
			return
		}
		p.tell(w, r, http.StatusOK, map[string]any{"name": "Shop", "home": "https://shop.example", "url": "https://shop.example/wp"})
		return
	}
	path, ok = strings.CutPrefix(path, "wc/v3/")
	if !ok {
		p.fail(w, http.StatusNotFound, "rest_no_route", "No route was found matching the URL and request method.")
		return
	}
	if !p.admit(w, r) {
		return
	}
	p.route(w, r, strings.Split(path, "/"))
}

// admit is class-wc-rest-authentication.php.
func (p *pretend) admit(w http.ResponseWriter, r *http.Request) bool {
	key, secret := r.URL.Query().Get("consumer_key"), r.URL.Query().Get("consumer_secret")
	if text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Basic "); ok && key == "" {
		plain, _ := base64.StdEncoding.DecodeString(text)
		key, secret, _ = strings.Cut(string(plain), ":")
	}
	switch {
	case key != testKey:
		p.fail(w, http.StatusUnauthorized, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")
	case secret != testSecret:
		p.fail(w, http.StatusUnauthorized, "woocommerce_rest_authentication_error", "Consumer secret is invalid.")
	case p.readOnly && r.Method != http.MethodGet:
		p.fail(w, http.StatusUnauthorized, "woocommerce_rest_authentication_error", "The API key provided does not have write permissions.")
	default:
		return true
	}
	return false
}

func (p *pretend) route(w http.ResponseWriter, r *http.Request, path []string) {
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(path[i], 10, 64)
		return n
	}
	is := func(method string, parts ...string) bool {
		return r.Method == method && len(parts) == len(path) && match(parts, path)
	}
	switch {
	case is("GET", "system_status"):
		if !p.manager {
			p.fail(w, http.StatusForbidden, "woocommerce_rest_cannot_view", "Sorry, you cannot view this resource.")
			return
		}
		p.tell(w, r, http.StatusOK, map[string]any{"environment": map[string]any{"home_url": "https://shop.example", "site_url": "https://shop.example/wp"}})
	case is("GET", "products"):
		p.list(w, r, p.productRows(func(t *thing) bool { return t.parent == 0 }, r))
	case is("POST", "products", "batch"):
		p.batch(w, r, 0)
	case is("GET", "products", "#"):
		p.oneByOne++
		if t := p.find(number(1)); t != nil {
			p.tell(w, r, http.StatusOK, t.wire(p))
			return
		}
		p.fail(w, http.StatusNotFound, "woocommerce_rest_product_invalid_id", "Invalid ID.")
	case is("GET", "products", "#", "variations"):
		p.list(w, r, p.productRows(func(t *thing) bool { return t.parent == number(1) }, r))
	case is("POST", "products", "#", "variations", "batch"):
		p.batch(w, r, number(1))
	case is("GET", "orders"):
		p.list(w, r, p.orderRows(r))
	case is("GET", "webhooks"):
		var rows []map[string]any
		for _, h := range p.hooks {
			rows = append(rows, h.wire())
		}
		p.list(w, r, rows)
	case is("POST", "webhooks"):
		h := &hook{webhook: webhook{ID: p.id()}}
		p.setHook(w, r, h, http.StatusCreated)
		p.hooks = append(p.hooks, h)
	case is("PUT", "webhooks", "#"):
		for _, h := range p.hooks {
			if h.ID == number(1) {
				p.setHook(w, r, h, http.StatusOK)
				return
			}
		}
		p.fail(w, http.StatusBadRequest, "woocommerce_rest_shop_webhook_invalid_id", "ID is invalid.")
	case len(path) >= 2 && path[0] == "orders":
		o := p.findOrder(number(1))
		if o == nil {
			p.fail(w, http.StatusNotFound, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
			return
		}
		p.routeOrder(w, r, o, path[2:])
	default:
		p.fail(w, http.StatusNotFound, "rest_no_route", "No route was found matching the URL and request method.")
	}
}

// match compares a path with a pattern, in which # is a number.
func match(pattern, path []string) bool {
	for i, part := range pattern {
		if _, err := strconv.ParseInt(path[i], 10, 64); part != path[i] && !(part == "#" && err == nil) {
			return false
		}
	}
	return true
}

func (p *pretend) routeOrder(w http.ResponseWriter, r *http.Request, o *sale, path []string) {
	switch what := r.Method + " " + strings.Join(path, "/"); what {
	case "GET ":
		p.tell(w, r, http.StatusOK, o.wire())
	case "PUT ":
		var u orderUpdate
		if json.UnmarshalRead(r.Body, &u) != nil {
			p.fail(w, http.StatusBadRequest, "rest_invalid_json", "Invalid JSON body passed.")
			return
		}
		p.changes++
		for _, m := range u.Meta {
			o.meta = append(slices.DeleteFunc(o.meta, func(old newMeta) bool { return old.Key == m.Key }), m)
		}
		if u.Status != "" && u.Status != o.status {
			p.turn(o, u.Status)
		}
		o.modified = p.now()
		p.tell(w, r, http.StatusOK, o.wire())
	case "GET refunds":
		var rows []map[string]any
		for _, f := range o.refunds {
			rows = append(rows, f.wire(o))
		}
		p.list(w, r, rows)
	case "GET notes":
		rows := []map[string]any{}
		for i, n := range o.notes {
			rows = append(rows, map[string]any{"id": i + 1, "note": n.Note, "customer_note": n.Customer})
		}
		p.tell(w, r, http.StatusOK, rows)
	case "POST notes":
		var n note
		if json.UnmarshalRead(r.Body, &n) != nil {
			p.fail(w, http.StatusBadRequest, "rest_invalid_json", "Invalid JSON body passed.")
			return
		}
		p.changes++
		o.notes = append(o.notes, n)
		p.tell(w, r, http.StatusCreated, map[string]any{"id": len(o.notes), "note": n.Note, "customer_note": n.Customer})
	default:
		p.fail(w, http.StatusNotFound, "rest_no_route", "No route was found matching the URL and request method.")
	}
}

// batch is batch_items of class-wc-rest-controller.php.
func (p *pretend) batch(w http.ResponseWriter, r *http.Request, parent int64) {
	var request batchRequest
	if json.UnmarshalRead(r.Body, &request) != nil {
		p.fail(w, http.StatusBadRequest, "rest_invalid_json", "Invalid JSON body passed.")
		return
	}
	if len(request.Update) > 100 {
		p.fail(w, http.StatusRequestEntityTooLarge, "woocommerce_rest_request_entity_too_large", "Unable to accept more than 100 items for this request.")
		return
	}
	rows := []any{}
	for _, u := range request.Update {
		rows = append(rows, p.update(u, parent))
	}
	p.tell(w, r, http.StatusOK, map[string]any{"update": rows})
}

func (p *pretend) update(u stockUpdate, parent int64) any {
	problem := func(code, message string, status int) any {
		return map[string]any{"id": u.ID, "error": map[string]any{"code": code, "message": message, "data": map[string]any{"status": status}}}
	}
	t := p.find(u.ID)
	switch {
	case t == nil && parent > 0, t != nil && parent > 0 && t.parent != parent:
		return problem("woocommerce_rest_product_variation_invalid_id", "Invalid ID.", 400)
	case t == nil:
		return problem("woocommerce_rest_product_invalid_id", "Invalid ID.", 400)
	case parent == 0 && t.kind == "variation":
		return problem("woocommerce_rest_invalid_product_id", "To manipulate product variations you should use the /products/&lt;product_id&gt;/variations/&lt;id&gt; endpoint.", 404)
	}
	p.changes++
	t.modified = p.now()
	if u.ManageStock {
		t.manage, t.stock = "true", strconv.FormatInt(u.StockQuantity, 10)
	}
	row := t.wire(p)
	if parent > 0 {
		delete(row, "parent_id")
		delete(row, "type")
	}
	return row
}

func (p *pretend) setHook(w http.ResponseWriter, r *http.Request, h *hook, status int) {
	var in webhook
	if json.UnmarshalRead(r.Body, &in) != nil {
		p.fail(w, http.StatusBadRequest, "rest_invalid_json", "Invalid JSON body passed.")
		return
	}
	p.changes++
	id := h.ID
	if status == http.StatusCreated {
		h.webhook = in
		h.ID = id
		defer p.ping(h)
	}
	if in.Secret != "" {
		h.Secret = in.Secret
	}
	if in.Status != "" {
		h.Status, h.failures = in.Status, 0
	}
	p.tell(w, r, status, h.wire())
}

func (h *hook) wire() map[string]any {
	return map[string]any{"id": h.ID, "name": h.Name, "status": h.Status, "topic": h.Topic, "delivery_url": h.URL}
}

func gmt(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(instantLayout)
}

type rawJSON string

// MarshalJSON implements json.Marshaler.
func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

func (t *thing) wire(p *pretend) map[string]any {
	manage, number := t.manage, t.stock
	if manage == `"parent"` {
		if parent := p.find(t.parent); parent != nil {
			number = parent.stock
		}
	}
	if !p.managing {
		manage = "false"
	}
	row := map[string]any{
		"id": t.id, "name": t.name, "status": t.status, "sku": t.sku, "global_unique_id": "", "date_modified_gmt": gmt(t.modified),
		"manage_stock": rawJSON(manage), "stock_quantity": rawJSON(number), "stock_status": t.stockStatus, "attributes": []any{},
		"type": t.kind, "parent_id": t.parent, "price": "10.00", "meta_data": []any{},
	}
	if t.option != "" {
		row["attributes"] = []any{map[string]any{"id": 1, "name": "Size", "option": t.option}}
	}
	return row
}

func (o *sale) wire() map[string]any {
	lines, refunds, metas := []any{}, []any{}, []any{}
	for _, l := range o.lines {
		own := []any{map[string]any{"id": 1, "key": "engraving", "value": map[string]any{"text": "x"}, "display_key": "engraving"}}
		if l.reduced > 0 || l.restocked > 0 {
			own = append(own, map[string]any{"id": 2, "key": "_reduced_stock", "value": strconv.FormatInt(l.reduced, 10)})
		}
		if l.restocked > 0 {
			own = append(own, map[string]any{"id": 3, "key": "_restock_refunded_items", "value": strconv.FormatInt(l.restocked, 10)})
		}
		lines = append(lines, map[string]any{"id": l.id, "name": "x", "product_id": l.product, "variation_id": l.variation, "quantity": rawJSON(l.quantity), "sku": l.sku, "meta_data": own})
	}
	for _, f := range o.refunds {
		refunds = append(refunds, map[string]any{"id": f.id, "reason": "", "total": "-10.00"})
	}
	for i, m := range o.meta {
		metas = append(metas, map[string]any{"id": i + 1, "key": m.Key, "value": m.Value})
	}
	return map[string]any{
		"id": o.id, "status": o.status, "date_created_gmt": gmt(o.created), "date_modified_gmt": gmt(o.modified), "date_paid_gmt": gmt(o.paid),
		"date_completed_gmt": gmt(o.completed), "customer_id": o.customer, "billing": map[string]any{"email": o.email, "city": "X"},
		"line_items": lines, "refunds": refunds, "meta_data": metas, "total": "10.00",
	}
}

func (f saleRefund) wire(o *sale) map[string]any {
	line := o.lines[slices.IndexFunc(o.lines, func(l *saleLine) bool { return l.id == f.line })]
	return map[string]any{"id": f.id, "date_created_gmt": gmt(f.created), "amount": "10.00", "line_items": []any{map[string]any{
		"id": f.id + 1, "product_id": line.product, "variation_id": line.variation, "quantity": -f.units, "sku": line.sku,
		"meta_data": []any{map[string]any{"id": 9, "key": "_refunded_item_id", "value": strconv.FormatInt(f.line, 10)}},
	}}}
}

// productRows are products by id.
func (p *pretend) productRows(which func(*thing) bool, r *http.Request) []map[string]any {
	include := strings.FieldsFunc(r.URL.Query().Get("include"), func(c rune) bool { return c == ',' })
	var rows []map[string]any
	for _, t := range p.products {
		if !which(t) || t.status == "trash" || len(include) > 0 && !slices.Contains(include, strconv.FormatInt(t.id, 10)) {
			continue
		}
		row := t.wire(p)
		if t.parent > 0 {
			delete(row, "parent_id")
			delete(row, "type")
		}
		rows = append(rows, row)
	}
	return rows
}

// orderRows are orders by their last change, those of one second by id.
func (p *pretend) orderRows(r *http.Request) []map[string]any {
	q := r.URL.Query()
	after, err := time.Parse(instantLayout, q.Get("modified_after"))
	if err != nil || q.Get("dates_are_gmt") != "true" {
		after = time.Time{}
	}
	orders := slices.Clone(p.orders)
	slices.SortStableFunc(orders, func(a, b *sale) int {
		return a.modified.Truncate(time.Second).Compare(b.modified.Truncate(time.Second))
	})
	var rows []map[string]any
	for _, o := range orders {
		if o.modified.Truncate(time.Second).After(after) && (o.status == "trash") == (q.Get("status") == "trash") {
			rows = append(rows, o.wire())
		}
	}
	return rows
}

// list is a page of a collection (class-wc-rest-crud-controller.php, get_collection_params).
func (p *pretend) list(w http.ResponseWriter, r *http.Request, rows []map[string]any) {
	q := r.URL.Query()
	if p.ignoreQuery {
		q = map[string][]string{"per_page": {q.Get("per_page")}, "_fields": {q.Get("_fields")}}
	}
	number := func(name string, fallback int) int {
		n, err := strconv.Atoi(q.Get(name))
		if err != nil {
			return fallback
		}
		return n
	}
	size := number("per_page", 10)
	orderby, order := q.Get("orderby"), q.Get("order")
	switch {
	case size < 1 || size > 100:
		p.fail(w, http.StatusBadRequest, "rest_invalid_param", "Invalid parameter(s): per_page")
		return
	case orderby != "" && !slices.Contains([]string{"date", "id", "include", "title", "slug", "modified"}, orderby), order != "" && order != "asc" && order != "desc":
		p.fail(w, http.StatusBadRequest, "rest_invalid_param", "Invalid parameter(s): orderby")
		return
	}
	from := min(len(rows), number("offset", (number("page", 1)-1)*size))
	w.Header().Set("X-WP-Total", strconv.Itoa(len(rows)))
	page := rows[from:min(len(rows), from+size)]
	out := make([]any, 0, len(page))
	for _, row := range page {
		out = append(out, fields(row, q.Get("_fields")))
	}
	p.write(w, http.StatusOK, out)
}

// fields keeps the members that are asked for by _fields.
func fields(row map[string]any, names string) map[string]any {
	if names == "" {
		return row
	}
	out := map[string]any{}
	for name := range strings.SplitSeq(names, ",") {
		top, _, _ := strings.Cut(name, ".")
		if v, ok := row[top]; ok {
			out[top] = v
		}
	}
	return out
}

func (p *pretend) tell(w http.ResponseWriter, r *http.Request, status int, v any) {
	if row, ok := v.(map[string]any); ok {
		v = fields(row, r.URL.Query().Get("_fields"))
	}
	p.write(w, status, v)
}

func (p *pretend) write(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(fmt.Sprintf("the pretend shop cannot write its answer: %v", err))
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

func (p *pretend) fail(w http.ResponseWriter, status int, code, message string) {
	p.write(w, status, map[string]any{"code": code, "message": message, "data": map[string]any{"status": status}})
}

func settings(changes ...string) connectors.Settings {
	s := connectors.Settings{
		settingBaseURL: "https://shop.example", settingKey: testKey, settingSecret: testSecret, settingInQuery: "no",
		settingWebhookSecrets: hookSecret, settingNotes: notesPrivate,
	}
	for i := 0; i < len(changes); i += 2 {
		s[changes[i]] = changes[i+1]
	}
	return s
}

// connect opens a connection that leads to a transport.
func connect(t testing.TB, transport http.RoundTripper, changes ...string) *shop {
	t.Helper()
	conn, err := open(connectors.Env{Connection: "woo", Transport: transport, WebhookURL: hookURL}, connectors.MarketplaceRole, settings(changes...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*shop)
}
