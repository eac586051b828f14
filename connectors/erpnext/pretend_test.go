package erpnext

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/stock"
)

// pretend is an ERPNext that knows as much of itself as the connector needs, and refuses everything else: documents, fields,
// filters and methods that it does not know. It keeps state: Bins, what is reserved, orders, deliveries, returns.
//
// It follows the sources named in the package's comment.
type pretend struct {
	forbidden string // a document that the user may not read
	noField   bool   // nobody made the custom field
	workflow  bool   // a Workflow: what is submitted or cancelled stays as it is
	stuck     bool   // Update Items succeeds and changes nothing
	lock      string // an exception that the next change meets

	mu     sync.Mutex
	items  []doc
	bins   []doc
	orders []doc
	notes  []doc // rows of Delivery Notes
	next   int
	writes int
	dated  map[string]change
}

// change is what a document was when it got its date.
type change struct{ is, at string }

type doc = map[string]any

const (
	pretendKey    = "9b1f6f0f3c5d4a7"
	pretendSecret = "d03cb2a8e71f4c6"
	stores        = "Stores - TS"
	shopFloor     = "Shop Floor - TS"
)

func newPretend() *pretend {
	p := &pretend{dated: map[string]change{}}
	item := func(code, unit string, more doc) {
		i := doc{"name": code, "item_name": "The " + code, "item_group": "Products", "stock_uom": unit, "is_stock_item": 1, "disabled": 0, "has_variants": 0}
		maps.Copy(i, more)
		p.items = append(p.items, i)
	}
	item("SHIRT", "Nos", nil)
	item("CUP", "Nos", nil)
	item("TEA", "Kg", nil)
	item("HELP", "Nos", doc{"is_stock_item": 0})
	item("GONE", "Nos", doc{"disabled": 1})
	item("TEMPLATE", "Nos", doc{"has_variants": 1})
	p.put("SHIRT", stores, 40)
	p.put("SHIRT", shopFloor, 2.0000000000000004)
	p.put("CUP", stores, 9)
	return p
}

// put changes what there is, as a voucher does.
func (p *pretend) put(item, warehouse string, quantity float64) {
	for _, b := range p.bins {
		if b["item_code"] == item && b["warehouse"] == warehouse {
			b["actual_qty"] = b["actual_qty"].(float64) + quantity
			return
		}
	}
	p.bins = append(p.bins, doc{"name": fmt.Sprintf("bin-%d", len(p.bins)), "item_code": item, "warehouse": warehouse, "actual_qty": quantity, "reserved_qty_for_production": 0.0, "reserved_qty_for_sub_contract": 0.0})
}

// oops is an exception of Frappe's.
type oops struct {
	status        int
	name, message string
}

func raise(status int, name, format string, args ...any) {
	panic(oops{status, name, fmt.Sprintf(format, args...)})
}

func invalid(format string, args ...any) {
	raise(http.StatusExpectationFailed, "ValidationError", format, args...)
}

// ServeHTTP implements http.Handler. An exception undoes what the request did.
func (p *pretend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	orders, writes := p.copyOrders(), p.writes
	defer func() {
		caught := recover()
		if caught == nil {
			return
		}
		o, ok := caught.(oops)
		if !ok {
			panic(caught)
		}
		p.orders, p.writes = orders, writes
		message, _ := json.Marshal(doc{"message": o.message, "title": "Message", "indicator": "red", "raise_exception": 1})
		messages, _ := json.Marshal([]string{string(message)})
		reply(w, o.status, doc{"exception": "frappe.exceptions." + o.name + ": " + o.message, "exc_type": o.name, "exc": "[\"Traceback\"]", "_server_messages": string(messages)})
	}()
	if r.Header.Get("Authorization") != "token "+pretendKey+":"+pretendSecret {
		raise(http.StatusUnauthorized, "AuthenticationError", "Invalid API key or secret")
	}
	path := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for i := range path {
		path[i], _ = url.PathUnescape(path[i])
	}
	var in doc
	if len(body) > 0 {
		if err := json.Unmarshal(body, &in); err != nil {
			raise(http.StatusInternalServerError, "ValueError", "%v", err)
		}
	}
	if len(path) < 3 || path[0] != "api" {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<!DOCTYPE html><title>Not Found</title>")
		return
	}
	switch {
	case path[1] == "method" && len(path) == 3 && r.Method == http.MethodPost:
		reply(w, http.StatusOK, p.method(path[2], in))
	case path[1] == "resource":
		p.mayRead(path[2])
		reply(w, http.StatusOK, doc{"data": p.resource(r.Method, path[2], path[3:], in)})
	default:
		raise(http.StatusNotFound, "DoesNotExistError", "no such route")
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, body, json.Deterministic(true))
}

func (p *pretend) mayRead(doctype string) {
	if doctype == p.forbidden {
		raise(http.StatusForbidden, "PermissionError", "User <strong>truestock@shop.example</strong> does not have doctype access via role permission for document <strong>%s</strong>", doctype)
	}
}

func (p *pretend) copyOrders() []doc {
	var out []doc
	for _, o := range p.orders {
		o = maps.Clone(o)
		var rows []doc
		for _, row := range o["items"].([]doc) {
			rows = append(rows, maps.Clone(row))
		}
		o["items"] = rows
		out = append(out, o)
	}
	return out
}

func (p *pretend) table(doctype string) (rows []doc, fields []string) {
	switch doctype {
	case "Warehouse":
		for _, n := range []string{stores, shopFloor} {
			rows = append(rows, doc{"name": n, "is_group": 0, "disabled": 0, "company": "Truestock"})
		}
		rows = append(rows, doc{"name": "All - TS", "is_group": 1, "disabled": 0, "company": "Truestock"}, doc{"name": "Old - TS", "is_group": 0, "disabled": 1, "company": "Truestock"})
		return rows, []string{"name", "is_group", "disabled", "company"}
	case "Customer":
		return []doc{{"name": "Marketplaces", "disabled": 0}, {"name": "Gone", "disabled": 1}}, []string{"name", "disabled"}
	case "Item":
		return p.items, []string{"name", "item_name", "item_group", "stock_uom", "is_stock_item", "disabled", "has_variants", "creation"}
	case "Bin":
		for _, b := range p.bins {
			b = maps.Clone(b)
			b["reserved_qty"] = p.reserved(b["item_code"].(string), b["warehouse"].(string))
			rows = append(rows, b)
		}
		return rows, []string{"name", "item_code", "warehouse", "actual_qty", "reserved_qty", "reserved_qty_for_production", "reserved_qty_for_sub_contract", "creation"}
	case "Sales Order":
		fields := []string{"name", "docstatus", "status", "po_no", "customer", "creation"}
		if !p.noField {
			fields = append(fields, "truestock_lines")
		}
		return p.orders, fields
	case "Stock Ledger Entry":
		for _, b := range p.bins {
			rows = append(rows, doc{"name": "sle of " + b["name"].(string), "actual_qty": b["actual_qty"]})
		}
		return rows, []string{"name", "actual_qty"}
	case "Delivery Note Item":
		return p.notes, []string{"name", "parent", "so_detail", "against_sales_order", "docstatus", "warehouse", "stock_qty", "creation"}
	}
	raise(http.StatusNotFound, "DoesNotExistError", "DocType %s not found", doctype)
	return nil, nil
}

// date gives what changed since it was last asked for the time of now.
func (p *pretend) date(doctype string, row doc) {
	content := maps.Clone(row)
	delete(content, "modified")
	name, is := doctype+fmt.Sprint(row["name"]), fmt.Sprint(content)
	if p.dated[name].is != is {
		p.dated[name] = change{is, time.Now().Format("2006-01-02 15:04:05.000000")}
	}
	row["modified"] = p.dated[name].at
}

// reserved is get_reserved_qty of stock_balance.py.
func (p *pretend) reserved(item, warehouse string) float64 {
	sum := 0.0
	for _, o := range p.orders {
		if o["docstatus"] != submitted || o["status"] == statusClosed || o["status"] == statusOnHold {
			continue
		}
		for _, row := range o["items"].([]doc) {
			if row["item_code"] == item && row["warehouse"] == warehouse && row["qty"].(float64) >= row["delivered_qty"].(float64) {
				sum += row["qty"].(float64) - row["delivered_qty"].(float64)
			}
		}
	}
	return sum
}

func (p *pretend) method(name string, in doc) any {
	switch name {
	case "frappe.client.get_list":
		return doc{"message": p.list(in)}
	case "erpnext.selling.doctype.sales_order.sales_order.update_status":
		p.change()
		o := p.order(in["name"].(string))
		if o["docstatus"] != submitted {
			invalid("cannot set the status")
		}
		o["status"] = in["status"]
		return doc{}
	case "erpnext.controllers.accounts_controller.update_child_qty_rate":
		p.change()
		if !p.stuck {
			p.updateItems(in)
		}
		return doc{}
	}
	raise(http.StatusExpectationFailed, "ValidationError", "Failed to get method for command %s", name)
	return nil
}

func (p *pretend) change() {
	p.writes++
	if p.lock != "" {
		name := p.lock
		p.lock = ""
		raise(http.StatusExpectationFailed, name, "Document has been modified after you have opened it")
	}
}

func (p *pretend) list(in doc) []doc {
	for name := range in {
		if !slices.Contains([]string{"doctype", "parent", "fields", "filters", "order_by", "limit_start", "limit_page_length"}, name) {
			raise(http.StatusInternalServerError, "TypeError", "unexpected keyword argument %q", name)
		}
	}
	doctype := in["doctype"].(string)
	p.mayRead(doctype)
	if (doctype == "Delivery Note Item") != (in["parent"] == "Delivery Note") {
		raise(http.StatusForbidden, "PermissionError", "no parent")
	}
	rows, known := p.table(doctype)
	known = append(known, "creation", "modified")
	for _, row := range rows {
		p.date(doctype, row)
	}
	asked := slices.Clone(in["fields"].([]any))
	for _, f := range in["filters"].([]any) {
		asked = append(asked, f.([]any)[0])
	}
	for _, f := range asked {
		if !slices.Contains(known, f.(string)) {
			invalid("Field not permitted in query: %s", f)
		}
	}
	out := []doc{}
	for _, row := range rows {
		fits := true
		for _, f := range in["filters"].([]any) {
			leaf := f.([]any)
			fits = fits && matches(row[leaf[0].(string)], leaf[1].(string), leaf[2])
		}
		if !fits {
			continue
		}
		shown := doc{}
		for _, f := range in["fields"].([]any) {
			shown[f.(string)] = row[f.(string)]
		}
		out = append(out, shown)
	}
	switch in["order_by"] {
	case "name asc":
		slices.SortStableFunc(out, func(a, b doc) int { return strings.Compare(fold(a["name"]), fold(b["name"])) })
	case "creation asc":
	case "modified desc":
		slices.Reverse(out)
		slices.SortStableFunc(out, func(a, b doc) int { return strings.Compare(b["modified"].(string), a["modified"].(string)) })
	default:
		invalid("order_by %v", in["order_by"])
	}
	if start, ok := in["limit_start"].(float64); ok {
		out = out[min(int(start), len(out)):]
	}
	if limit := int(in["limit_page_length"].(float64)); limit > 0 && limit < len(out) {
		out = out[:limit]
	}
	return out
}

// fold is how MariaDB compares texts: without regard to case and accents.
func fold(v any) string {
	return strings.NewReplacer("ä", "a", "é", "e").Replace(strings.ToLower(fmt.Sprint(v)))
}

func matches(value any, operator string, want any) bool {
	equal := func(w any) bool {
		if n, is := w.(float64); is {
			return value == int(n)
		}
		return fold(value) == fold(w)
	}
	switch operator {
	case "=":
		return equal(want)
	case "in":
		return slices.ContainsFunc(want.([]any), equal)
	case ">":
		return fold(value) > fold(want)
	}
	invalid("operator %s", operator)
	return false
}

func (p *pretend) order(name string) doc {
	for _, o := range p.orders {
		if o["name"] == name {
			return o
		}
	}
	raise(http.StatusNotFound, "DoesNotExistError", "Sales Order %s not found", name)
	return nil
}

func (p *pretend) resource(method, doctype string, rest []string, in doc) any {
	if doctype == "Delivery Note" && method == http.MethodGet && len(rest) == 1 {
		return p.deliveryNote(rest[0])
	}
	if doctype != "Sales Order" || len(rest) > 1 {
		raise(http.StatusForbidden, "PermissionError", "no %s by this way", doctype)
	}
	switch {
	case method == http.MethodGet && len(rest) == 1:
		return p.order(rest[0])
	case method == http.MethodPost && len(rest) == 0:
		p.change()
		return p.insert(in)
	case method == http.MethodPut && len(rest) == 1:
		p.change()
		return p.save(p.order(rest[0]), in)
	}
	raise(http.StatusMethodNotAllowed, "ValidationError", "method not allowed")
	return nil
}

func (p *pretend) deliveryNote(name string) doc {
	note := doc{"name": name, "modified": "2026-11-26 06:00:01.000001", "docstatus": submitted, "is_return": 0, "lr_no": "1Z999", "transporter_name": "Parcels", "items": []doc{}}
	for _, n := range p.notes {
		if n["parent"] != name {
			continue
		}
		row := maps.Clone(n)
		for _, o := range p.orders {
			for _, r := range o["items"].([]doc) {
				if r["name"] == n["so_detail"] {
					row["item_code"], row["stock_uom"] = r["item_code"], r["stock_uom"]
				}
			}
		}
		if n["stock_qty"].(float64) < 0 {
			note["is_return"] = 1
		}
		note["docstatus"], note["items"] = n["docstatus"], append(note["items"].([]doc), row)
	}
	if len(note["items"].([]doc)) == 0 {
		raise(http.StatusNotFound, "DoesNotExistError", "Delivery Note %s not found", name)
	}
	return note
}

func (p *pretend) insert(in doc) doc {
	if in["customer"] != "Marketplaces" {
		raise(http.StatusExpectationFailed, "LinkValidationError", "Could not find Customer: %v", in["customer"])
	}
	if in["delivery_date"] == nil || in["order_type"] != "Sales" {
		invalid("Please enter Delivery Date")
	}
	if len(in["po_no"].(string)) > 140 {
		raise(http.StatusExpectationFailed, "CharacterLengthExceededError", "Customer's Purchase Order will get truncated, as max characters allowed is 140")
	}
	p.next++
	o := doc{"name": fmt.Sprintf("SAL-ORD-2026-%05d", p.next), "docstatus": draft, "status": "Draft", "po_no": in["po_no"], "customer": in["customer"], "items": []doc{}}
	if note, ok := in["truestock_lines"]; ok && !p.noField {
		o["truestock_lines"] = note
	}
	var rows []doc
	for i, v := range in["items"].([]any) {
		row := v.(doc)
		at := slices.IndexFunc(p.items, func(it doc) bool { return it["name"] == row["item_code"] })
		if at < 0 {
			raise(http.StatusExpectationFailed, "LinkValidationError", "Could not find Row #%d: Item Code: %v", i+1, row["item_code"])
		}
		if row["warehouse"] == nil || row["warehouse"] == "" {
			invalid("Delivery warehouse required for stock item %v", row["item_code"])
		}
		p.next++
		rows = append(rows, doc{"name": fmt.Sprintf("row%06d", p.next), "idx": i + 1, "item_code": row["item_code"], "qty": row["qty"], "delivered_qty": 0.0, "returned_qty": 0.0, "warehouse": row["warehouse"],
			"uom": row["uom"], "stock_uom": p.items[at]["stock_uom"], "conversion_factor": 1.0, "rate": 12.5, "delivery_date": row["delivery_date"], "description": "The " + row["item_code"].(string)})
	}
	o["items"] = rows
	p.orders = append(p.orders, o)
	return o
}

func (p *pretend) save(o, in doc) doc {
	if o["docstatus"] == cancelled {
		raise(http.StatusExpectationFailed, "ValidationError", "Cannot edit cancelled document")
	}
	for name, v := range in {
		switch name {
		case "truestock_lines":
			if !p.noField {
				o[name] = v
			}
		case "docstatus":
			from, to := o["docstatus"].(int), int(v.(float64))
			switch {
			case p.workflow, from == to:
			case from == draft && to == submitted:
				o["docstatus"], o["status"] = submitted, "To Deliver and Bill"
			case from == submitted && to == cancelled:
				p.cancel(o)
			default:
				raise(http.StatusExpectationFailed, "DocstatusTransitionError", "Cannot change docstatus from %d to %d", from, to)
			}
		default:
			raise(http.StatusExpectationFailed, "UpdateAfterSubmitError", "Not allowed to change %s after submission", name)
		}
	}
	return o
}

func (p *pretend) cancel(o doc) {
	if o["status"] == statusClosed {
		invalid("Closed order cannot be cancelled. Unclose to cancel.")
	}
	for _, n := range p.notes {
		if n["against_sales_order"] == o["name"] && n["docstatus"] == submitted {
			raise(http.StatusExpectationFailed, "LinkExistsError", "Cannot delete or cancel because Sales Order <a href=\"#\">%v</a> is linked with Delivery Note %v", o["name"], n["parent"])
		}
	}
	o["docstatus"], o["status"] = cancelled, "Cancelled"
}

// updateItems is update_child_qty_rate: rows that are left out are deleted, the others changed.
func (p *pretend) updateItems(in doc) {
	o := p.order(in["parent_doctype_name"].(string))
	var wanted []doc
	if err := json.Unmarshal([]byte(in["trans_items"].(string)), &wanted); err != nil || in["parent_doctype"] != "Sales Order" || in["child_docname"] != "items" || o["docstatus"] != submitted {
		invalid("cannot update items: %v", err)
	}
	var kept []doc
	for _, row := range o["items"].([]doc) {
		i := slices.IndexFunc(wanted, func(w doc) bool { return w["docname"] == row["name"] })
		if i < 0 {
			if row["delivered_qty"].(float64) > 0 {
				invalid("Row #%v: Cannot delete item %v which has already been delivered", row["idx"], row["item_code"])
			}
			continue
		}
		w := wanted[i]
		switch qty := w["qty"].(float64); {
		case qty == 0:
			invalid("Row #%v:Quantity for Item <b>%v</b> cannot be zero.", row["idx"], row["item_code"])
		case qty < row["delivered_qty"].(float64):
			invalid("Row #%v:Cannot set quantity less than delivered quantity.", row["idx"])
		case w["rate"] != row["rate"] || w["description"] != row["description"] || w["delivery_date"] != row["delivery_date"]:
			invalid("more than the quantity changes")
		default:
			row["qty"] = qty
		}
		kept = append(kept, row)
	}
	o["items"] = kept
}

// deliver submits a Delivery Note for a part of a row; a quantity below 0 is a return.
func (p *pretend) deliver(o, row doc, quantity float64, warehouse string) {
	p.next++
	p.notes = append(p.notes, doc{"name": fmt.Sprintf("dni%05d", p.next), "parent": fmt.Sprintf("MAT-DN-2026-%05d", p.next), "docstatus": submitted, "against_sales_order": o["name"], "so_detail": row["name"], "warehouse": warehouse, "stock_qty": quantity})
	row["delivered_qty"] = row["delivered_qty"].(float64) + quantity
	if quantity < 0 {
		row["returned_qty"] = row["returned_qty"].(float64) - quantity
	}
	p.put(row["item_code"].(string), warehouse, -quantity)
}

func (p *pretend) orderOf(key string) doc {
	for _, o := range p.orders {
		if o["po_no"] == key && o["docstatus"] != cancelled {
			return o
		}
	}
	return nil
}

func (p *pretend) ship(key string) stock.Quantity {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent := 0.0
	o := p.orderOf(key)
	for _, row := range o["items"].([]doc) {
		if rest := row["qty"].(float64) - row["delivered_qty"].(float64); rest > 0 {
			p.deliver(o, row, rest, row["warehouse"].(string))
			sent += rest
		}
	}
	return stock.Quantity(sent)
}

func (p *pretend) level(item string, unreserved bool) stock.Quantity {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := 0.0
	for _, b := range p.bins {
		if b["item_code"] == item {
			sum += b["actual_qty"].(float64)
			if unreserved {
				sum -= p.reserved(item, b["warehouse"].(string))
			}
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
