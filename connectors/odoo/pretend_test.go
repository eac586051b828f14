package odoo

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/stock"
)

// pretend is an Odoo that knows as much of itself as the connector needs, and refuses everything else: models, fields,
// methods, arguments and domains that it does not know. It keeps state: quants, reservations, moves, back orders.
//
// It follows the sources named in the package's comment. What they leave to a database's settings, tests set by hand.
type pretend struct {
	major         int
	oldServices   bool // whether /jsonrpc answers
	json2         bool
	confirmKeeps  bool // an approval module: action_confirm succeeds and changes nothing
	lowersNothing bool // deliveries stay as they are when a line is lowered
	locks         bool // Lock Confirmed Sales
	twoSteps      bool // pick, then ship
	forbidden     string

	mu     sync.Mutex
	tables map[string][]row
	dated  map[string]string // what a record was when it got its write_date
	next   int64
	writes int
	calls  []string
}

type row = map[string]any

const (
	pretendDB    = "shop"
	pretendLogin = "truestock@shop.example"
	pretendKey   = "a3f1c05e9d7b42868e11"

	viewWH, stockWH, shelfWH, outputWH, customers, vendors, lossLocation int64 = 7, 8, 9, 10, 5, 4, 14
	shirt, cup, tea, service                                             int64 = 101, 102, 103, 104
)

// schema is every field that can be asked for. A text is char, a link its model, a computed number float.
func (p *pretend) schema() map[string]map[string]string {
	s := map[string]map[string]string{
		"res.partner":       {"id": "integer", "name": "char", "active": "boolean"},
		"res.users.apikeys": {"id": "integer", "name": "char", "expiration_date": "datetime"},
		"stock.warehouse":   {"id": "integer", "name": "char", "view_location_id": "stock.location", "active": "boolean"},
		"stock.location":    {"id": "integer", "complete_name": "char", "usage": "selection", "parent_path": "char", "active": "boolean"},
		"product.product":   {"id": "integer", "default_code": "char", "barcode": "char", "display_name": "char", "uom_id": "uom.uom", "categ_id": "product.category", "active": "boolean", "qty_available": "float", "free_qty": "float"},
		"uom.uom":           {"id": "integer", "display_name": "char"},
		"product.category":  {"id": "integer", "display_name": "char"},
		"stock.quant":       {"write_date": "datetime", "id": "integer", "product_id": "product.product", "location_id": "stock.location", "quantity": "float", "reserved_quantity": "float"},
		"sale.order":        {"write_date": "datetime", "id": "integer", "name": "char", "state": "selection", "client_order_ref": "char", "origin": "char", "partner_id": "res.partner", "warehouse_id": "stock.warehouse"},
		"sale.order.line":   {"id": "integer", "name": "text", "order_id": "sale.order", "product_id": "product.product", "product_uom_qty": "float", "sequence": "integer"},
		"stock.picking":     {"id": "integer", "display_name": "char"},
		"stock.move":        {"write_date": "datetime", "id": "integer", "sale_line_id": "sale.order.line", "product_id": "product.product", "state": "selection", "location_id": "stock.location", "location_dest_id": "stock.location", "picking_id": "stock.picking", "product_uom_qty": "float", "product_qty": "float"},
	}
	if p.major >= 17 {
		s["stock.move"]["quantity"] = "float"
	} else {
		s["stock.move"]["quantity_done"], s["stock.move"]["reserved_availability"] = "float", "float"
	}
	if p.major >= 18 {
		s["product.product"]["is_storable"], s["stock.move"]["location_final_id"] = "boolean", "stock.location"
	} else {
		s["product.product"]["detailed_type"] = "selection"
		if p.major == 17 {
			delete(s["res.users.apikeys"], "expiration_date")
		}
	}
	return s
}

func newPretend(major int) *pretend {
	p := &pretend{major: major, oldServices: true, json2: major >= 19, next: 1000, tables: map[string][]row{}, dated: map[string]string{}}
	add := func(model string, rows ...row) { p.tables[model] = append(p.tables[model], rows...) }
	add("res.partner", row{"id": int64(33), "name": "Marketplaces", "active": true}, row{"id": int64(34), "name": "Gone", "active": false})
	add("res.users.apikeys", row{"id": int64(1), "name": "truestock", "expiration_date": "2099-01-01 00:00:00"})
	add("uom.uom", row{"id": int64(1), "display_name": "Units"}, row{"id": int64(2), "display_name": "kg"})
	add("product.category", row{"id": int64(1), "display_name": "All / Saleable"})
	add("stock.warehouse", row{"id": int64(1), "name": "Main warehouse", "view_location_id": viewWH, "active": true})
	location := func(id int64, name, usage, path string) row {
		return row{"id": id, "complete_name": name, "usage": usage, "parent_path": path, "active": true}
	}
	add("stock.location", location(customers, "Partners/Customers", "customer", "2/5/"), location(vendors, "Partners/Vendors", "supplier", "2/4/"),
		location(viewWH, "WH", "view", "1/7/"), location(stockWH, "WH/Stock", "internal", "1/7/8/"), location(shelfWH, "WH/Stock/Shelf A", "internal", "1/7/8/9/"),
		location(outputWH, "WH/Output", "internal", "1/7/10/"), location(lossLocation, "WH/Loss", "inventory", "1/7/14/"))
	product := func(id int64, code, name string, unit int64, storable bool) row {
		kind := map[bool]string{true: "product", false: "service"}[storable]
		return row{"id": id, "default_code": code, "barcode": "", "display_name": name, "uom_id": unit, "categ_id": int64(1), "active": true, "is_storable": storable, "detailed_type": kind}
	}
	add("product.product", product(shirt, "SHIRT", "[SHIRT] Shirt", 1, true), product(cup, "CUP", "[CUP] Cup \"big\"", 1, true), product(tea, "TEA", "[TEA] Tea", 2, true),
		product(service, "HELP", "[HELP] Help", 1, false), product(service+1, "", "No reference", 1, true))
	p.put(shirt, stockWH, 40)
	p.put(shirt, shelfWH, 2.0000000000000004)
	p.put(cup, shelfWH, 9)
	p.put(cup, lossLocation, 500)
	p.put(cup, customers, 70)
	return p
}

// put makes a quant, as a stocktake or a receipt does.
func (p *pretend) put(product, location int64, quantity float64) {
	p.next++
	p.tables["stock.quant"] = append(p.tables["stock.quant"], row{"id": p.next, "product_id": product, "location_id": location, "quantity": quantity, "reserved_quantity": 0.0})
}

func (p *pretend) get(model string, id int64) row {
	for _, r := range p.tables[model] {
		if r["id"] == id {
			return r
		}
	}
	return nil
}

// oops is an exception of Odoo's.
type oops struct {
	status        int
	name, message string
}

func raise(status int, name, format string, args ...any) {
	panic(oops{status, name, fmt.Sprintf(format, args...)})
}

func userError(format string, args ...any) {
	raise(http.StatusUnprocessableEntity, "odoo.exceptions.UserError", format, args...)
}

// ServeHTTP implements http.Handler. One request is one transaction: an exception undoes what it did.
func (p *pretend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.snapshot()
	switch path := r.URL.Path; {
	case r.Method != http.MethodPost:
		http.Error(w, "<h1>Method Not Allowed</h1>", http.StatusMethodNotAllowed)
	case path == "/jsonrpc" && p.oldServices:
		result, failed := p.try(before, func() any { return p.rpc(body) })
		answer := row{"jsonrpc": "2.0", "id": 1}
		if failed != nil {
			code, text := 200, "Odoo Server Error"
			if failed.status == http.StatusNotFound && strings.HasPrefix(failed.name, "werkzeug") {
				code, text = 404, "404: Not Found"
			}
			answer["error"] = row{"code": code, "message": text, "data": row{"name": failed.name, "message": failed.message, "debug": "Traceback", "arguments": []any{failed.message}, "context": row{}}}
		} else if result != nil {
			answer["result"] = result
		}
		reply(w, http.StatusOK, answer)
	case strings.HasPrefix(path, "/json/2/") && p.json2:
		result, failed := p.try(before, func() any { return p.two(r, strings.Split(strings.TrimPrefix(path, "/json/2/"), "/"), body) })
		if failed != nil {
			reply(w, failed.status, row{"name": failed.name, "message": failed.message, "arguments": []any{failed.message}, "context": row{}, "debug": "Traceback"})
			return
		}
		reply(w, http.StatusOK, result)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<!doctype html><title>404 Not Found</title>")
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, body, json.Deterministic(true))
}

func (p *pretend) snapshot() map[string][]row {
	out := make(map[string][]row, len(p.tables))
	for model, rows := range p.tables {
		for _, r := range rows {
			out[model] = append(out[model], maps.Clone(r))
		}
	}
	return out
}

func (p *pretend) try(before map[string][]row, f func() any) (result any, failed *oops) {
	writes := p.writes
	defer func() {
		if caught := recover(); caught != nil {
			o, ok := caught.(oops)
			if !ok {
				panic(caught)
			}
			failed, p.tables, p.writes = &o, before, writes
		}
	}()
	return f(), nil
}

func (p *pretend) rpc(body []byte) any {
	var req struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  struct {
			Service string `json:"service"`
			Method  string `json:"method"`
			Args    []any  `json:"args"`
		} `json:"params"`
		ID int `json:"id"`
	}
	if err := json.Unmarshal(body, &req, json.RejectUnknownMembers(true)); err != nil || req.Version != "2.0" || req.Method != "call" {
		raise(http.StatusBadRequest, "werkzeug.exceptions.BadRequest", "no JSON-RPC: %v", err)
	}
	args := req.Params.Args
	switch req.Params.Service + "." + req.Params.Method {
	case "common.version":
		return row{"server_version": fmt.Sprintf("%d.0", p.major), "server_version_info": []any{p.major, 0, 0, "final", 0, ""}, "server_serie": fmt.Sprintf("%d.0", p.major), "protocol_version": 1}
	case "common.authenticate":
		if len(args) != 4 || args[0] != pretendDB {
			raise(http.StatusInternalServerError, "psycopg2.OperationalError", `FATAL:  database "%v" does not exist`, args[0])
		}
		if args[1] != pretendLogin || args[2] != pretendKey {
			return false
		}
		return int64(6)
	case "object.execute_kw":
		if len(args) != 7 || args[1] != 6.0 || args[2] != pretendKey {
			raise(http.StatusForbidden, "odoo.exceptions.AccessDenied", "Access Denied")
		}
		model, name, positional, named := args[3].(string), args[4].(string), args[5].([]any), args[6].(row)
		call := row{}
		context, _ := named["context"].(row)
		for key := range named {
			if key != "context" {
				raise(http.StatusInternalServerError, "builtins.TypeError", "unexpected keyword argument %q", key)
			}
		}
		names := p.parameters(model, name)
		if recordMethods[name] {
			if len(positional) == 0 {
				raise(http.StatusInternalServerError, "builtins.IndexError", "list index out of range")
			}
			call["ids"], positional = positional[0], positional[1:]
		}
		if len(positional) > len(names) {
			raise(http.StatusInternalServerError, "builtins.TypeError", "%s takes %d arguments and %d were given", name, len(names), len(positional))
		}
		for i, v := range positional {
			call[names[i]] = v
		}
		return p.run(model, name, call, context)
	}
	raise(http.StatusInternalServerError, "builtins.AttributeError", "no %s.%s", req.Params.Service, req.Params.Method)
	return nil
}

func (p *pretend) two(r *http.Request, path []string, body []byte) any {
	if r.Header.Get("Authorization") != "bearer "+pretendKey {
		raise(http.StatusUnauthorized, "werkzeug.exceptions.Unauthorized", "Invalid apikey")
	}
	if r.Header.Get("Content-Type") != "application/json" {
		raise(http.StatusBadRequest, "werkzeug.exceptions.BadRequest", "not application/json")
	}
	if db := r.Header.Get("X-Odoo-Database"); db != "" && db != pretendDB {
		raise(http.StatusNotFound, "werkzeug.exceptions.NotFound", "no database %q", db)
	}
	if len(path) != 2 {
		raise(http.StatusNotFound, "werkzeug.exceptions.NotFound", "Did you mean POST /json/2/<model>/<method>?")
	}
	var call row
	if err := json.Unmarshal(body, &call); err != nil {
		raise(http.StatusBadRequest, "werkzeug.exceptions.BadRequest", "could not parse the body as json: %v", err)
	}
	context, _ := call["context"].(row)
	delete(call, "context")
	names := p.parameters(path[0], path[1])
	for name := range call {
		if !slices.Contains(names, name) && (name != "ids" || !recordMethods[path[1]]) {
			raise(http.StatusUnprocessableEntity, "werkzeug.exceptions.UnprocessableEntity", "got an unexpected keyword argument %q", name)
		}
	}
	return p.run(path[0], path[1], call, context)
}

// recordMethods are those called on records.
var recordMethods = map[string]bool{"read": true, "write": true, "action_confirm": true, "action_cancel": true}

// parameters are the names of a method's arguments, in their order. read_group became formatted_read_group in 19.
func (p *pretend) parameters(model, name string) []string {
	if _, ok := p.schema()[model]; !ok {
		raise(http.StatusNotFound, "werkzeug.exceptions.NotFound", "the model %q does not exist", model)
	}
	all := map[string][]string{
		"search_read": {"domain", "fields", "offset", "limit", "order"}, "fields_get": {"allfields", "attributes"}, "read": {"fields", "load"},
		"create": {"vals_list"}, "write": {"vals"},
	}
	if p.major >= 19 {
		all["formatted_read_group"] = []string{"domain", "groupby", "aggregates", "having", "offset", "limit", "order"}
	} else {
		all["read_group"] = []string{"domain", "fields", "groupby", "offset", "limit", "orderby", "lazy"}
	}
	if model == "sale.order" {
		all["action_confirm"], all["action_cancel"] = []string{}, []string{}
	}
	names, ok := all[name]
	if !ok {
		raise(http.StatusNotFound, "werkzeug.exceptions.NotFound", "the method %s.%s does not exist", model, name)
	}
	return names
}

func (p *pretend) run(model, name string, call, context row) any {
	p.calls = append(p.calls, model+"/"+name)
	if model == p.forbidden {
		raise(http.StatusForbidden, "odoo.exceptions.AccessError", "You are not allowed to access '%s' records.", model)
	}
	switch name {
	case "fields_get":
		out := row{}
		for _, f := range call["allfields"].([]any) {
			if kind, ok := p.schema()[model][f.(string)]; ok {
				out[f.(string)] = row{"type": kind}
			}
		}
		return out
	case "search_read":
		p.date(model)
		found := p.search(model, call["domain"].([]any))
		slices.SortFunc(found, func(a, b row) int { return int(a["id"].(int64) - b["id"].(int64)) })
		switch order, _ := call["order"].(string); order {
		case "id asc":
		case "write_date desc, id desc":
			slices.Reverse(found)
			slices.SortStableFunc(found, func(a, b row) int { return strings.Compare(b["write_date"].(string), a["write_date"].(string)) })
		default:
			raise(http.StatusInternalServerError, "builtins.ValueError", "order %q", order)
		}
		if limit, ok := call["limit"].(float64); ok && int(limit) < len(found) {
			found = found[:int(limit)]
		}
		return p.show(model, found, call["fields"].([]any), context)
	case "read":
		var found []row
		for _, id := range ids(call["ids"]) {
			r := p.get(model, id)
			if r == nil {
				raise(http.StatusNotFound, "odoo.exceptions.MissingError", "Record does not exist or has been deleted. (Record: %s(%d,))", model, id)
			}
			found = append(found, r)
		}
		return p.show(model, found, call["fields"].([]any), context)
	case "read_group":
		return p.group(call["domain"].([]any), call["groupby"].([]any), "")
	case "formatted_read_group":
		return p.group(call["domain"].([]any), call["groupby"].([]any), ":sum")
	}
	p.writes++
	if model != "sale.order" {
		userError("%s cannot be changed", model)
	}
	switch name {
	case "create":
		var made []int64
		for _, v := range call["vals_list"].([]any) {
			made = append(made, p.createOrder(v.(row)))
		}
		return made
	case "write":
		for _, id := range ids(call["ids"]) {
			p.changeOrder(id, call["vals"].(row))
		}
	case "action_confirm":
		for _, id := range ids(call["ids"]) {
			p.confirm(id)
		}
	case "action_cancel":
		for _, id := range ids(call["ids"]) {
			if wizard := p.cancel(id, context); wizard != nil {
				return wizard
			}
		}
	}
	return true
}

func ids(v any) []int64 {
	var out []int64
	for _, x := range v.([]any) {
		out = append(out, int64(x.(float64)))
	}
	return out
}

// date gives what changed since it was last asked for the time of now.
func (p *pretend) date(model string) {
	if _, dated := p.schema()[model]["write_date"]; !dated {
		return
	}
	for _, r := range p.tables[model] {
		content := maps.Clone(r)
		delete(content, "write_date")
		name, is := fmt.Sprint(model, r["id"]), fmt.Sprint(content)
		if p.dated[name] != is {
			p.dated[name], r["write_date"] = is, time.Now().UTC().Format(time.DateTime)
		}
	}
}

func (p *pretend) search(model string, domain []any) []row {
	hasActive := false
	for _, leaf := range domain {
		hasActive = hasActive || leaf.([]any)[0] == "active"
	}
	var found []row
	for _, r := range p.tables[model] {
		if active, is := r["active"].(bool); is && !active && !hasActive {
			continue
		}
		fits := true
		for _, leaf := range domain {
			fits = fits && p.fits(model, r, leaf.([]any))
		}
		if fits {
			found = append(found, r)
		}
	}
	return found
}

func (p *pretend) fits(model string, r row, leaf []any) bool {
	field, operator, want := leaf[0].(string), leaf[1].(string), leaf[2]
	head, rest, dotted := strings.Cut(field, ".")
	kind, ok := p.schema()[model][head]
	if !ok {
		raise(http.StatusInternalServerError, "builtins.ValueError", "Invalid field %s.%s in leaf", model, head)
	}
	value := r[head]
	if dotted {
		id, _ := value.(int64)
		return id != 0 && p.fits(kind, p.get(kind, id), []any{rest, operator, want})
	}
	equal := func(w any) bool {
		if n, isNumber := w.(float64); isNumber {
			id, isID := value.(int64)
			return isID && id == int64(n)
		}
		return value == w
	}
	switch operator {
	case "=":
		return equal(want)
	case "in":
		return slices.ContainsFunc(want.([]any), equal)
	case "!=":
		return !equal(want)
	case ">":
		return value.(int64) > int64(want.(float64))
	case ">=":
		return value.(string) >= want.(string)
	case "child_of":
		return slices.ContainsFunc(ids(want), func(top int64) bool {
			return strings.HasPrefix(p.get(kind, value.(int64))["parent_path"].(string), p.get(kind, top)["parent_path"].(string))
		})
	}
	raise(http.StatusInternalServerError, "builtins.ValueError", "Invalid operator %q", operator)
	return false
}

func (p *pretend) show(model string, rows []row, fields []any, context row) []any {
	out := []any{}
	for _, r := range rows {
		shown := row{"id": r["id"]}
		for _, f := range fields {
			name := f.(string)
			kind, ok := p.schema()[model][name]
			if !ok {
				raise(http.StatusInternalServerError, "builtins.ValueError", "Invalid field %q on %q", name, model)
			}
			shown[name] = p.value(kind, name, r, context)
		}
		out = append(out, shown)
	}
	return out
}

func (p *pretend) value(kind, name string, r, context row) any {
	switch {
	case name == "qty_available" || name == "free_qty":
		top, ok := context["location"].(float64)
		if !ok {
			raise(http.StatusInternalServerError, "builtins.ValueError", "no location in the context")
		}
		path, sum := p.get("stock.location", int64(top))["parent_path"].(string), 0.0
		for _, q := range p.tables["stock.quant"] {
			if at := p.get("stock.location", q["location_id"].(int64)); q["product_id"] == r["id"] && strings.HasPrefix(at["parent_path"].(string), path) && at["usage"] == "internal" {
				sum += q["quantity"].(float64)
				if name == "free_qty" {
					sum -= q["reserved_quantity"].(float64)
				}
			}
		}
		return sum
	case strings.Contains(kind, "."):
		id, _ := r[name].(int64)
		if id == 0 {
			return false
		}
		other := p.get(kind, id)
		for _, label := range []string{"display_name", "complete_name", "name"} {
			if text, ok := other[label].(string); ok {
				return []any{id, text}
			}
		}
		return []any{id, false}
	case r[name] == nil || r[name] == "":
		return false
	default:
		return r[name]
	}
}

func (p *pretend) group(domain, by []any, suffix string) []any {
	if len(by) != 1 || by[0] != "product_id" {
		raise(http.StatusInternalServerError, "builtins.ValueError", "groupby %v", by)
	}
	sums := map[int64]row{}
	var order []int64
	for _, q := range p.search("stock.quant", domain) {
		product := q["product_id"].(int64)
		if sums[product] == nil {
			order = append(order, product)
			sums[product] = row{"product_id": []any{product, p.get("product.product", product)["display_name"]}, "quantity" + suffix: 0.0, "reserved_quantity" + suffix: 0.0, "__extra_domain": []any{}}
		}
		for _, f := range []string{"quantity", "reserved_quantity"} {
			sums[product][f+suffix] = sums[product][f+suffix].(float64) + q[f].(float64)
		}
	}
	out := []any{}
	for _, product := range order {
		out = append(out, sums[product])
	}
	return out
}

func (p *pretend) createOrder(v row) int64 {
	known := p.schema()["sale.order"]
	p.next++
	o := row{"id": p.next, "name": fmt.Sprintf("S%05d", p.next), "state": "draft", "locked": false}
	for name, value := range v {
		switch {
		case name == "order_line":
		case known[name] == "":
			raise(http.StatusInternalServerError, "builtins.ValueError", "Invalid field %q on model 'sale.order'", name)
		default:
			if n, is := value.(float64); is {
				value = int64(n)
			}
			o[name] = value
		}
	}
	if partner, _ := o["partner_id"].(int64); p.get("res.partner", partner) == nil {
		raise(http.StatusUnprocessableEntity, "odoo.exceptions.ValidationError", "The operation cannot be completed: Missing required value for the field 'Customer' (partner_id)")
	}
	p.tables["sale.order"] = append(p.tables["sale.order"], o)
	for _, command := range v["order_line"].([]any) {
		c := command.([]any)
		if c[0] != 0.0 {
			userError("command %v in a create", c[0])
		}
		p.next++
		l := row{"id": p.next, "order_id": o["id"]}
		for name, value := range c[2].(row) {
			if p.schema()["sale.order.line"][name] == "" {
				raise(http.StatusInternalServerError, "builtins.ValueError", "Invalid field %q on model 'sale.order.line'", name)
			}
			l[name] = value
		}
		l["product_id"] = int64(l["product_id"].(float64))
		if p.get("product.product", l["product_id"].(int64)) == nil {
			raise(http.StatusNotFound, "odoo.exceptions.MissingError", "Record does not exist or has been deleted.")
		}
		p.tables["sale.order.line"] = append(p.tables["sale.order.line"], l)
	}
	return o["id"].(int64)
}

func (p *pretend) linesOf(order int64) []row {
	return slices.DeleteFunc(slices.Clone(p.tables["sale.order.line"]), func(l row) bool { return l["order_id"] != order })
}

func (p *pretend) confirm(id int64) {
	o := p.get("sale.order", id)
	if o["state"] != "draft" && o["state"] != "sent" {
		userError("Some orders are not in a state requiring confirmation.")
	}
	if p.confirmKeeps {
		return
	}
	o["state"], o["locked"] = "sale", p.locks
	for _, l := range p.linesOf(id) {
		if p.twoSteps && p.major < 18 { // pull rules make the whole chain at once
			p.move(l, outputWH, customers, 0, l["product_uom_qty"].(float64))
			p.move(l, stockWH, outputWH, 0, l["product_uom_qty"].(float64))
		} else if p.twoSteps { // push rules make the next move when the first is done
			p.move(l, stockWH, outputWH, customers, l["product_uom_qty"].(float64))
		} else {
			p.move(l, stockWH, customers, customers, l["product_uom_qty"].(float64))
		}
	}
}

// move makes a move of an order line, and reserves for it what there is.
func (p *pretend) move(l row, from, to, final int64, demand float64) row {
	p.next += 2
	p.tables["stock.picking"] = append(p.tables["stock.picking"], row{"id": p.next - 1, "display_name": fmt.Sprintf("WH/OUT/%05d", p.next)})
	m := row{"id": p.next, "sale_line_id": l["id"], "product_id": l["product_id"], "state": "confirmed", "location_id": from, "location_dest_id": to, "picking_id": p.next - 1,
		"product_uom_qty": demand, "product_qty": demand, "quantity": 0.0, "quantity_done": 0.0, "reserved_availability": 0.0}
	if final != 0 {
		m["location_final_id"] = final
	}
	p.tables["stock.move"] = append(p.tables["stock.move"], m)
	p.reserve(m)
	return m
}

// reserve sets aside what a move asks for, as far as it is there; a lower demand gives back.
func (p *pretend) reserve(m row) {
	path := p.get("stock.location", m["location_id"].(int64))["parent_path"].(string)
	missing := m["product_uom_qty"].(float64) - p.reserved(m)
	for _, q := range p.tables["stock.quant"] {
		if q["product_id"] != m["product_id"] || !strings.HasPrefix(p.get("stock.location", q["location_id"].(int64))["parent_path"].(string), path) {
			continue
		}
		take := min(missing, q["quantity"].(float64)-q["reserved_quantity"].(float64))
		if missing < 0 {
			take = max(missing, -q["reserved_quantity"].(float64))
		}
		q["reserved_quantity"] = q["reserved_quantity"].(float64) + take
		p.setReserved(m, p.reserved(m)+take)
		missing -= take
	}
	m["state"] = "confirmed"
	if p.reserved(m) > 0 {
		m["state"] = "assigned"
	}
}

func (p *pretend) reserved(m row) float64 {
	if p.major >= 17 {
		return m["quantity"].(float64)
	}
	return m["reserved_availability"].(float64)
}

func (p *pretend) setReserved(m row, n float64) {
	if p.major >= 17 {
		m["quantity"] = n
	} else {
		m["reserved_availability"] = n
	}
}

func (p *pretend) open(line int64) []row {
	return slices.DeleteFunc(slices.Clone(p.tables["stock.move"]), func(m row) bool {
		return m["sale_line_id"] != line || m["state"] == "done" || m["state"] == "cancel"
	})
}

func (p *pretend) changeOrder(id int64, vals row) {
	o := p.get("sale.order", id)
	if o["locked"] == true {
		userError("It is forbidden to modify the following fields in a locked order:\nDescription\nQuantity")
	}
	for name, value := range vals {
		if name != "order_line" {
			raise(http.StatusInternalServerError, "builtins.ValueError", "Invalid field %q", name)
		}
		for _, command := range value.([]any) {
			c := command.([]any)
			l := p.get("sale.order.line", int64(c[1].(float64)))
			if c[0] != 1.0 || l == nil || l["order_id"] != id {
				userError("command %v", c)
			}
			for field, v := range c[2].(row) {
				switch field {
				case "name":
					l["name"] = v
				case "product_uom_qty":
					p.setOrdered(o, l, v.(float64))
				default:
					raise(http.StatusInternalServerError, "builtins.ValueError", "Invalid field %q", field)
				}
			}
		}
	}
}

// setOrdered changes what a line orders, by whomever.
func (p *pretend) setOrdered(o, l row, quantity float64) {
	delivered := 0.0
	for _, m := range p.tables["stock.move"] {
		if m["sale_line_id"] == l["id"] && m["state"] == "done" && m["location_dest_id"] == customers {
			delivered += p.moved(m)
		}
	}
	if quantity < delivered {
		userError("The ordered quantity of a sale order line cannot be decreased below the amount already delivered. Instead, create a return in your inventory.")
	}
	l["product_uom_qty"] = quantity
	if o["state"] != "sale" || p.lowersNothing {
		return
	}
	for _, m := range p.open(l["id"].(int64)) {
		m["product_uom_qty"], m["product_qty"] = quantity-delivered, quantity-delivered
		p.reserve(m)
		if quantity == delivered {
			m["state"] = "cancel"
		}
	}
}

func (p *pretend) moved(m row) float64 {
	if p.major >= 17 {
		return m["quantity"].(float64)
	}
	return m["quantity_done"].(float64)
}

func (p *pretend) cancel(id int64, context row) any {
	o := p.get("sale.order", id)
	if o["locked"] == true {
		userError("You cannot cancel a locked order. Please unlock it first.")
	}
	if o["state"] != "draft" && o["state"] != "cancel" && context["disable_cancel_warning"] != true {
		return row{"type": "ir.actions.act_window", "res_model": "sale.order.cancel", "target": "new"}
	}
	o["state"] = "cancel"
	for _, l := range p.linesOf(id) {
		for _, m := range p.open(l["id"].(int64)) {
			m["product_uom_qty"] = 0.0
			p.reserve(m)
			m["state"] = "cancel"
		}
	}
	return nil
}

// do validates a move for a part of what is reserved; the rest becomes a back order, or is given up.
func (p *pretend) do(m row, quantity float64, backOrder bool) {
	demand := m["product_uom_qty"].(float64)
	m["product_uom_qty"] = 0.0
	p.reserve(m)
	for rest := quantity; rest > 0; {
		for _, q := range p.tables["stock.quant"] {
			if q["product_id"] == m["product_id"] && strings.HasPrefix(p.get("stock.location", q["location_id"].(int64))["parent_path"].(string), p.get("stock.location", m["location_id"].(int64))["parent_path"].(string)) {
				take := min(rest, max(0, q["quantity"].(float64)))
				q["quantity"] = q["quantity"].(float64) - take
				rest -= take
			}
		}
	}
	p.put(m["product_id"].(int64), m["location_dest_id"].(int64), quantity)
	m["product_uom_qty"], m["product_qty"], m["state"] = quantity, quantity, "done"
	if p.major >= 17 {
		m["quantity"] = quantity
	} else {
		m["quantity_done"], m["reserved_availability"] = quantity, 0.0
	}
	line := p.get("sale.order.line", m["sale_line_id"].(int64))
	final, _ := m["location_final_id"].(int64)
	if demand > quantity && backOrder {
		p.move(line, m["location_id"].(int64), m["location_dest_id"].(int64), final, demand-quantity)
	}
	if p.twoSteps && m["location_dest_id"] == outputWH {
		if p.major >= 18 {
			p.move(line, outputWH, customers, customers, quantity)
			return
		}
		for _, next := range p.open(line["id"].(int64)) {
			if next["location_id"] == outputWH {
				p.reserve(next)
			}
		}
	}
}

// orderOf finds an order by our key.
func (p *pretend) orderOf(key string) row {
	for _, o := range p.tables["sale.order"] {
		if o["client_order_ref"] == key && o["state"] != "cancel" {
			return o
		}
	}
	return nil
}

// ship validates everything that can be sent of an order.
func (p *pretend) ship(key string) stock.Quantity {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent := 0.0
	for _, l := range p.linesOf(p.orderOf(key)["id"].(int64)) {
		for _, m := range p.open(l["id"].(int64)) {
			if n := p.reserved(m); n > 0 && m["location_dest_id"] == customers {
				p.do(m, n, true)
				sent += n
			}
		}
	}
	return stock.Quantity(sent)
}

func (p *pretend) onHand(sku string) stock.Quantity {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := 0.0
	for _, q := range p.tables["stock.quant"] {
		at := p.get("stock.location", q["location_id"].(int64))
		if p.get("product.product", q["product_id"].(int64))["default_code"] == sku && at["usage"] == "internal" {
			sum += q["quantity"].(float64)
		}
	}
	return stock.Quantity(sum + 0.5)
}

func (p *pretend) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return server.URL
}
