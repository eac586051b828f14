package shiphero_test

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"github.com/truestock/truestock/stock"
)

//go:embed testdata/schema.graphql
var schemaText string

var schema = gqlparser.MustLoadSchema(&ast.Source{Name: "schema.graphql", Input: schemaText})

const (
	refreshToken  = "refresh/tok3n+a27=="
	webhookSecret = "hook-s3cret-7"
	account       = "QWNjb3VudDo2MzM0"
	primary       = "V2FyZWhvdXNlOjE="
	secondary     = "V2FyZWhvdXNlOjI="
)

// hero is a pretend ShipHero.
type hero struct {
	t  *testing.T
	mu sync.Mutex

	token   int // the current access token
	expires int64
	logins  int
	changes int
	// credits, where above 0, are what is left; a query costs its first rows.
	credits int
	rows    int // of a page

	skus   []string
	levels map[string]map[string]*level // from the SKU and the warehouse
	orders []*orderAt

	// after, where set, may change an answer before it leaves.
	after func(operation string, answer map[string]any)
}

type level struct{ onHand, allocated, reserve int64 }

type orderAt struct {
	id, number, key, status, warehouse string
	tags                               []string
	lines                              []*lineAt
	shipments                          []any
}

type lineAt struct {
	id, partner, sku             string
	quantity, allocated, shipped int64
}

func newHero(t *testing.T) *hero {
	h := &hero{t: t, expires: 2419200, rows: 3, levels: map[string]map[string]*level{}}
	for i := range 4 {
		sku := fmt.Sprintf("SKU-%d", i)
		h.skus = append(h.skus, sku)
		h.levels[sku] = map[string]*level{primary: {onHand: int64(10 + i)}, secondary: {onHand: int64(i), reserve: 1}}
	}
	return h
}

func (h *hero) level(sku string, onHand bool) stock.Quantity {
	h.mu.Lock()
	defer h.mu.Unlock()
	var sum int64
	for _, l := range h.levels[sku] {
		sum += l.onHand - l.reserve
		if !onHand {
			sum -= l.allocated
		}
	}
	return stock.Quantity(sum)
}

// ServeHTTP implements http.Handler.
func (h *hero) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	switch r.URL.Path {
	case "/auth/refresh":
		var in struct {
			RefreshToken string `json:"refresh_token"`
		}
		if json.Unmarshal(body, &in) != nil || in.RefreshToken != refreshToken {
			write(w, http.StatusUnauthorized, map[string]any{"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."})
			return
		}
		h.token++
		h.logins++
		write(w, http.StatusOK, map[string]any{"access_token": h.accessToken(), "expires_in": h.expires, "scope": "openid", "token_type": "Bearer"})
	case "/graphql":
		if r.Header.Get("Authorization") != "Bearer "+h.accessToken() {
			write(w, http.StatusUnauthorized, map[string]any{"message": "Unauthorized"})
			return
		}
		h.graphql(w, body)
	default:
		http.NotFound(w, r)
	}
}

func (h *hero) accessToken() string { return fmt.Sprintf("access-t0ken-%d", h.token) }

func write(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, value)
}

// refusal is an error of ShipHero's, in an answer of HTTP 200.
type refusal map[string]any

func (h *hero) graphql(w http.ResponseWriter, body []byte) {
	var in struct {
		Query     string         `json:"query"`
		Variables map[string]any `json:"variables"`
	}
	if err := json.Unmarshal(body, &in, json.RejectUnknownMembers(true)); err != nil {
		h.t.Errorf("the request %s: %v", body, err)
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	doc, err := parser.ParseQuery(&ast.Source{Input: in.Query})
	if err == nil {
		if errs := validator.ValidateWithRules(schema, doc, rules.NewDefaultRules()); len(errs) > 0 {
			err = errs
		}
	}
	var vars map[string]any
	if err == nil {
		if v, e := validator.VariableValues(schema, doc.Operations[0], in.Variables); e != nil {
			err = e
		} else {
			vars = v
		}
	}
	if err != nil {
		h.t.Errorf("ShipHero's schema refuses %s with %v: %v", in.Query, in.Variables, err)
		write(w, http.StatusBadRequest, map[string]any{"errors": []any{map[string]any{"message": err.Error()}}})
		return
	}
	name := doc.Operations[0].Name
	field := doc.Operations[0].SelectionSet[0].(*ast.Field).Name
	value, refused := h.resolve(name, vars)
	if refused != nil {
		refused["operation"], refused["field"], refused["request_id"] = field, field, "5da7dc13f3079f0def208711"
		write(w, http.StatusOK, map[string]any{"errors": []any{refused}, "data": map[string]any{field: nil}})
		return
	}
	value["request_id"], value["complexity"] = "5da7dc13f3079f0def208711", 101
	answer := map[string]any{"data": map[string]any{field: value}}
	if h.after != nil {
		h.after(name, answer)
	}
	write(w, http.StatusOK, answer)
}

func (h *hero) resolve(name string, vars map[string]any) (map[string]any, refusal) {
	if h.credits > 0 {
		if h.credits < 101 {
			return nil, refusal{"code": 30, "message": "There are not enough credits to perform the requested operation", "required_credits": 101,
				"remaining_credits": h.credits, "time_remaining": "18 seconds"}
		}
		h.credits -= 101
	}
	switch name {
	case "Account":
		return map[string]any{"data": map[string]any{"id": account, "warehouses": []any{
			map[string]any{"id": primary, "identifier": "Primary"}, map[string]any{"id": secondary, "identifier": "Secondary"},
		}}}, nil
	case "Products":
		nodes := []any{map[string]any{"sku": "KIT", "name": "a kit", "barcode": nil, "kit": true, "kit_build": false}}
		for _, sku := range h.skus {
			nodes = append(nodes, map[string]any{"sku": sku, "name": "Thing " + sku, "barcode": "4006381333931", "kit": false, "kit_build": false})
		}
		return map[string]any{"data": h.page(nodes, vars)}, nil
	case "Levels":
		var nodes []any
		for _, sku := range h.skus {
			for _, warehouse := range []string{primary, secondary} {
				l := h.levels[sku][warehouse]
				node := map[string]any{"account_id": account, "sku": sku, "warehouse_id": warehouse, "on_hand": l.onHand, "available": l.onHand - l.allocated, "reserve_inventory": nil}
				if l.reserve != 0 {
					node["reserve_inventory"] = l.reserve
				}
				nodes = append(nodes, node)
			}
		}
		return map[string]any{"data": h.page(nodes, vars)}, nil
	case "Orders":
		var nodes []any
		for _, o := range h.orders {
			if o.key == vars["key"] {
				nodes = append(nodes, o.view())
			}
		}
		return map[string]any{"data": connection(nodes)}, nil
	}
	return h.mutate(name, vars["data"].(map[string]any))
}

// page gives rows behind the cursor after.
func (h *hero) page(nodes []any, vars map[string]any) map[string]any {
	start := 0
	if after, ok := vars["after"].(string); ok {
		start, _ = strconv.Atoi(strings.TrimPrefix(after, "c:"))
	}
	end := min(len(nodes), start+h.rows)
	page := connection(nodes[start:end])
	page["pageInfo"] = map[string]any{"hasNextPage": end < len(nodes), "endCursor": fmt.Sprintf("c:%d", end)}
	return page
}

func connection(nodes []any) map[string]any {
	edges := make([]any, 0, len(nodes))
	for _, n := range nodes {
		edges = append(edges, map[string]any{"node": n})
	}
	return map[string]any{"pageInfo": map[string]any{"hasNextPage": false, "endCursor": nil}, "edges": edges}
}

func (o *orderAt) view() map[string]any {
	var lines, allocated []any
	for _, l := range o.lines {
		lines = append(lines, map[string]any{"id": l.id, "partner_line_item_id": l.partner, "sku": l.sku, "quantity": l.quantity, "quantity_allocated": l.allocated, "quantity_shipped": l.shipped})
		if l.allocated > 0 {
			allocated = append(allocated, map[string]any{"line_item_id": l.id, "quantity_allocated": l.allocated})
		}
	}
	view := map[string]any{"id": o.id, "order_number": o.number, "partner_order_id": o.key, "fulfillment_status": o.status, "tags": o.tags,
		"line_items": connection(lines), "allocations": []any{}, "shipments": o.shipments}
	if len(allocated) > 0 {
		view["allocations"] = []any{map[string]any{"warehouse_id": o.warehouse, "line_items": allocated}}
	}
	return view
}

func (h *hero) mutate(name string, data map[string]any) (map[string]any, refusal) {
	if name == "Create" {
		return h.create(data)
	}
	at := slices.IndexFunc(h.orders, func(o *orderAt) bool { return o.id == data["order_id"] })
	if at < 0 {
		return nil, refusal{"code": 5, "message": "Order not found"}
	}
	o := h.orders[at]
	h.changes++
	switch name {
	case "Tag":
		o.tags = nil
		for _, tag := range data["tags"].([]any) {
			o.tags = append(o.tags, tag.(string))
		}
	case "Cancel":
		for _, l := range o.lines {
			if l.shipped > 0 {
				return nil, refusal{"code": 7, "message": "The order has completed shipments"}
			}
			h.allocate(o, l, 0)
		}
		o.status = "canceled"
	case "Lines":
		for _, v := range data["line_items"].([]any) {
			in := v.(map[string]any)
			i := slices.IndexFunc(o.lines, func(l *lineAt) bool { return l.id == in["id"] })
			if i < 0 {
				return nil, refusal{"code": 5, "message": "Line item not found"}
			}
			o.lines[i].quantity = whole(in["quantity"])
			h.allocate(o, o.lines[i], o.lines[i].quantity-o.lines[i].shipped)
		}
	}
	return map[string]any{"order": map[string]any{"id": o.id}}, nil
}

func (h *hero) create(data map[string]any) (map[string]any, refusal) {
	o := &orderAt{key: data["partner_order_id"].(string), number: data["order_number"].(string), status: data["fulfillment_status"].(string), warehouse: primary}
	if holds, ok := data["holds"].(map[string]any); !ok || holds["operator_hold"] != true {
		h.t.Error("an order without an address was made without a hold")
	}
	for i, v := range data["line_items"].([]any) {
		in := v.(map[string]any)
		sku := in["sku"].(string)
		if h.levels[sku] == nil {
			return nil, refusal{"code": 5, "message": "Product not found: " + sku}
		}
		o.lines = append(o.lines, &lineAt{id: fmt.Sprintf("L%d-%d", len(h.orders), i), partner: in["partner_line_item_id"].(string), sku: sku, quantity: whole(in["quantity"])})
	}
	o.id = fmt.Sprintf("T3JkZXI6%d", len(h.orders))
	h.orders = append(h.orders, o)
	h.changes++
	for _, l := range o.lines {
		h.allocate(o, l, l.quantity)
	}
	return map[string]any{"order": map[string]any{"id": o.id, "order_number": o.number, "partner_order_id": o.key}}, nil
}

func (h *hero) allocate(o *orderAt, l *lineAt, units int64) {
	h.levels[l.sku][o.warehouse].allocated += units - l.allocated
	l.allocated = units
}

// ship ships everything of an order.
func (h *hero) ship(key string) stock.Quantity {
	h.mu.Lock()
	defer h.mu.Unlock()
	var sum int64
	for _, o := range h.orders {
		if o.key != key {
			continue
		}
		var lines []any
		for _, l := range o.lines {
			units := l.allocated
			h.allocate(o, l, 0)
			h.levels[l.sku][o.warehouse].onHand -= units
			l.shipped += units
			sum += units
			lines = append(lines, map[string]any{"line_item_id": l.id, "quantity": units})
		}
		o.status = "fulfilled"
		o.shipments = append(o.shipments, map[string]any{"id": "U1", "warehouse_id": o.warehouse, "line_items": connection(lines)})
	}
	return stock.Quantity(sum)
}

func whole(v any) int64 {
	switch n := v.(type) {
	case float64:
		if n == math.Trunc(n) {
			return int64(n)
		}
	case int64:
		return n
	case int:
		return int64(n)
	}
	panic(fmt.Sprintf("%v (%T) is no whole number", v, v))
}

// transport leads to the handler, whatever the host.
type transport struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "public-api.shiphero.com" || r.URL.Scheme != "https" {
		return nil, fmt.Errorf("a request left for %s", r.URL)
	}
	rec := httptest.NewRecorder()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.Body = io.NopCloser(bytes.NewReader(body))
	t.ServeHTTP(rec, in)
	res := rec.Result()
	res.Request = r
	return res, nil
}
