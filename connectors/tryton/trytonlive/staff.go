package trytonlive

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Call calls a method of Tryton as the administrator, such as model.sale.sale.search, and decodes its result into out. The
// context, which Tryton wants as the last parameter, is added. An error of Tryton fails the test.
func (s *ERP) Call(t testing.TB, method string, out any, params ...any) {
	t.Helper()
	s.CallIn(t, map[string]any{"company": s.Company(t)}, method, out, params...)
}

// CallIn is Call in a context of the caller's.
func (s *ERP) CallIn(t testing.TB, within map[string]any, method string, out any, params ...any) {
	t.Helper()
	s.mu.Lock()
	if s.session == "" {
		var login []jsontext.Value
		s.post(t, "", "common.db.login", &login, s.Username, map[string]any{"password": s.Password})
		var token string
		if err := json.Unmarshal(login[1], &token); err != nil {
			t.Fatal(err)
		}
		s.session = "Session " + base64.StdEncoding.EncodeToString([]byte(s.Username+":"+string(login[0])+":"+token))
	}
	session := s.session
	s.mu.Unlock()
	s.post(t, session, method, out, append(params, within)...)
}

func (s *ERP) post(t testing.TB, session, method string, out any, params ...any) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"id": 1, "method": method, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/"+s.Database+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if session != "" {
		req.Header.Set("Authorization", session)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("ask Tryton: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("ask Tryton: %v", err)
	}
	var answer struct {
		Result jsontext.Value `json:"result"`
		Error  jsontext.Value `json:"error"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Error != nil {
		t.Fatalf("Tryton answered %d %s to %s", resp.StatusCode, text, body)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(answer.Result, out); err != nil {
		t.Fatalf("Tryton answered %s: %v", text, err)
	}
}

// client asks for the staff, in the place of a browser.
var client = &http.Client{Timeout: time.Minute}

// once looks an id up by a question, once.
func (s *ERP) once(t testing.TB, question string, ask func() int64) int64 {
	t.Helper()
	if id, known := s.ids.Load(question); known {
		return id.(int64)
	}
	id := ask()
	s.ids.Store(question, id)
	return id
}

// find searches for one record and returns its id.
func (s *ERP) find(t testing.TB, model string, domain ...any) int64 {
	t.Helper()
	return s.once(t, fmt.Sprint(model, domain), func() int64 {
		var ids []int64
		s.CallIn(t, map[string]any{}, "model."+model+".search", &ids, domain)
		if len(ids) != 1 {
			t.Fatalf("Tryton has %d records of %s with %v", len(ids), model, domain)
		}
		return ids[0]
	})
}

// Company is the id of the one company.
func (s *ERP) Company(t testing.TB) int64 {
	t.Helper()
	return s.find(t, "company.company")
}

// Warehouse is the id of the warehouse that Tryton comes with.
func (s *ERP) Warehouse(t testing.TB) int64 {
	t.Helper()
	return s.find(t, "stock.location", []any{"code", "=", "WH"})
}

// storage is where a warehouse keeps its goods.
func (s *ERP) storage(t testing.TB, warehouse int64) int64 {
	t.Helper()
	return s.once(t, fmt.Sprint("storage", warehouse), func() int64 {
		var rows []struct {
			Storage int64 `json:"storage_location"`
		}
		s.Call(t, "model.stock.location.read", &rows, []int64{warehouse}, []string{"storage_location"})
		return rows[0].Storage
	})
}

// AddWarehouse makes another warehouse, and returns its id.
func (s *ERP) AddWarehouse(t testing.TB, name string) int64 {
	t.Helper()
	var ids []int64
	s.Call(t, "model.stock.location.create", &ids, []any{
		map[string]any{"name": name + " in", "type": "storage"},
		map[string]any{"name": name + " out", "type": "storage"},
		map[string]any{"name": name + " storage", "type": "storage"},
	})
	in, out, storage := ids[0], ids[1], ids[2]
	s.Call(t, "model.stock.location.create", &ids, []any{map[string]any{
		"name": name, "type": "warehouse", "input_location": in, "output_location": out, "storage_location": storage,
	}})
	return ids[0]
}

// RemoveWarehouse makes a warehouse inactive.
func (s *ERP) RemoveWarehouse(t testing.TB, warehouse int64) {
	t.Helper()
	s.Call(t, "model.stock.location.write", nil, []int64{warehouse}, map[string]any{"active": false})
}

// CreateProducts makes products that are counted in units, each with so many in the warehouse.
func (s *ERP) CreateProducts(t testing.TB, onHand int64, codes ...string) {
	t.Helper()
	unit := s.find(t, "product.uom", []any{"name", "=", "Unit"})
	rows := make([]any, len(codes))
	for i, code := range codes {
		rows[i] = map[string]any{
			"name": "Product " + code, "type": "goods", "default_uom": unit, "salable": true, "sale_uom": unit,
			"list_price": price("10"),
			"products":   []any{[]any{"create", []any{map[string]any{"suffix_code": code, "cost_price": price("5")}}}},
		}
	}
	s.Call(t, "model.product.template.create", nil, rows)
	if onHand > 0 {
		for _, code := range codes {
			s.Receive(t, code, onHand)
		}
	}
}

func price(amount string) map[string]any {
	return map[string]any{"__class__": "Decimal", "decimal": amount}
}

// Product is the id of a product.
func (s *ERP) Product(t testing.TB, code string) int64 {
	t.Helper()
	return s.find(t, "product.product", []any{"code", "=", code})
}

// Receive makes units come in, or disappear where the quantity is below 0, as if they were found, or lost.
func (s *ERP) Receive(t testing.TB, code string, quantity int64) {
	t.Helper()
	s.ReceiveAt(t, s.Warehouse(t), code, quantity)
}

// ReceiveAt is Receive at a warehouse.
func (s *ERP) ReceiveAt(t testing.TB, warehouse int64, code string, quantity int64) {
	t.Helper()
	lost := s.find(t, "stock.location", []any{"type", "=", "lost_found"})
	s.Move(t, code, quantity, lost, s.storage(t, warehouse))
}

// Transfer moves units from one warehouse to another.
func (s *ERP) Transfer(t testing.TB, code string, quantity int64, from, to int64) {
	t.Helper()
	s.Move(t, code, quantity, s.storage(t, from), s.storage(t, to))
}

// Move moves units between locations, backwards where the quantity is below 0.
func (s *ERP) Move(t testing.TB, code string, quantity int64, from, to int64) {
	t.Helper()
	if quantity < 0 {
		quantity, from, to = -quantity, to, from
	}
	var ids []int64
	s.Call(t, "model.stock.move.create", &ids, []any{map[string]any{
		"product": s.Product(t, code), "uom": s.find(t, "product.uom", []any{"name", "=", "Unit"}), "quantity": float64(quantity),
		"from_location": from, "to_location": to, "company": s.Company(t),
	}})
	s.Call(t, "model.stock.move.do", nil, ids)
}

// Quantity is what Tryton says of a product: field is quantity or forecast_quantity, within adds to the context.
func (s *ERP) Quantity(t testing.TB, code, field string, within map[string]any) int64 {
	t.Helper()
	var rows []map[string]jsontext.Value
	s.CallIn(t, within, "model.product.product.read", &rows, []int64{s.Product(t, code)}, []string{field})
	q, err := strconv.ParseFloat(string(rows[0][field]), 64)
	if err != nil {
		t.Fatalf("Tryton says %s of %s", rows[0][field], code)
	}
	return int64(q)
}

// OnHand is what is in the warehouses with their zones, the goods that are being sent included.
func (s *ERP) OnHand(t testing.TB, code string) (sum int64) {
	t.Helper()
	var warehouses []int64
	s.Call(t, "model.stock.location.search", &warehouses, []any{[]any{"type", "=", "warehouse"}})
	for _, w := range warehouses {
		var rows []struct {
			Storage int64 `json:"storage_location"`
			Output  int64 `json:"output_location"`
		}
		s.Call(t, "model.stock.location.read", &rows, []int64{w}, []string{"storage_location", "output_location"})
		sum += s.Quantity(t, code, "quantity", map[string]any{"locations": []int64{rows[0].Storage, rows[0].Output}, "with_childs": true})
	}
	return sum
}

// Sale is an order as the staff sees it.
type Sale struct {
	ID            int64   `json:"id"`
	Number        string  `json:"number"`
	Reference     string  `json:"reference"`
	State         string  `json:"state"`
	ShipmentState string  `json:"shipment_state"`
	Shipments     []int64 `json:"shipments"`
	Lines         []int64 `json:"lines"`
}

// Sales are the orders, all of them, the oldest first.
func (s *ERP) Sales(t testing.TB) []Sale {
	t.Helper()
	var sales []Sale
	s.Call(t, "model.sale.sale.search_read", &sales, []any{}, 0, nil, []any{[]any{"id", "ASC"}},
		[]string{"number", "reference", "state", "shipment_state", "shipments", "lines"})
	return sales
}

// Sale is the order with a reference.
func (s *ERP) Sale(t testing.TB, reference string) Sale {
	t.Helper()
	var sales []Sale
	s.Call(t, "model.sale.sale.search_read", &sales, []any{[]any{"reference", "=", reference}}, 0, nil, nil,
		[]string{"number", "reference", "state", "shipment_state", "shipments", "lines"})
	if len(sales) != 1 {
		t.Fatalf("Tryton has %d sales with the reference %s", len(sales), reference)
	}
	return sales[0]
}

// Shipment is goods that leave, or have left, for an order.
type Shipment struct {
	ID     int64   `json:"id"`
	Number string  `json:"number"`
	State  string  `json:"state"`
	Moves  []int64 `json:"outgoing_moves"`
}

// Shipments are those of the order with a reference, the oldest first.
func (s *ERP) Shipments(t testing.TB, reference string) []Shipment {
	t.Helper()
	var shipments []Shipment
	ids := s.Sale(t, reference).Shipments
	s.Call(t, "model.stock.shipment.out.read", &shipments, ids, []string{"number", "state", "outgoing_moves"})
	slices.SortFunc(shipments, func(a, b Shipment) int { return int(a.ID - b.ID) })
	return shipments
}

// Press presses a button of shipments, such as draft, wait, assign_try, pick, pack, done or cancel.
func (s *ERP) Press(t testing.TB, button string, shipments ...int64) {
	t.Helper()
	s.Call(t, "model.stock.shipment.out."+button, nil, shipments)
}

// open is the one shipment of an order that has not left.
func (s *ERP) open(t testing.TB, reference string) (Shipment, bool) {
	t.Helper()
	for _, shipment := range s.Shipments(t, reference) {
		if shipment.State != "done" && shipment.State != "cancelled" {
			return shipment, true
		}
	}
	return Shipment{}, false
}

// Assign sets the goods of an order aside.
func (s *ERP) Assign(t testing.TB, reference string) {
	t.Helper()
	shipment, ok := s.open(t, reference)
	if !ok {
		t.Fatalf("nothing of %s is left to assign", reference)
	}
	var assigned bool
	s.Call(t, "model.stock.shipment.out.assign_try", &assigned, []int64{shipment.ID})
	if !assigned {
		t.Fatalf("there is not enough to assign %s", reference)
	}
}

// Ship sends everything of an order that has not left, and returns how many units that is.
func (s *ERP) Ship(t testing.TB, reference string) int64 {
	t.Helper()
	shipment, ok := s.open(t, reference)
	if !ok {
		return 0
	}
	if shipment.State == "waiting" {
		s.Assign(t, reference)
	}
	var sum int64
	for _, m := range s.moves(t, shipment) {
		sum += int64(m.Quantity)
	}
	s.Press(t, "pick", shipment.ID)
	s.Press(t, "pack", shipment.ID)
	s.Press(t, "done", shipment.ID)
	return sum
}

// ShipPart sends so many units of every line of an order that has not left. Tryton makes a shipment of the rest.
func (s *ERP) ShipPart(t testing.TB, reference string, units int64) {
	t.Helper()
	shipment, ok := s.open(t, reference)
	if !ok {
		t.Fatalf("nothing of %s is left to ship", reference)
	}
	s.Press(t, "wait", shipment.ID)
	s.Press(t, "draft", shipment.ID)
	s.Call(t, "model.stock.move.write", nil, shipment.Moves, map[string]any{"quantity": float64(units)})
	s.Press(t, "wait", shipment.ID)
	s.Ship(t, reference)
}

type move struct {
	ID       int64   `json:"id"`
	Quantity float64 `json:"quantity"`
	State    string  `json:"state"`
}

func (s *ERP) moves(t testing.TB, shipment Shipment) []move {
	t.Helper()
	var moves []move
	s.Call(t, "model.stock.move.read", &moves, shipment.Moves, []string{"quantity", "state"})
	return moves
}

// CreateProductsIn makes products that are counted in a unit, such as Kilogram.
func (s *ERP) CreateProductsIn(t testing.TB, unit string, codes ...string) {
	t.Helper()
	id := s.find(t, "product.uom", []any{"name", "=", unit})
	for _, code := range codes {
		s.Call(t, "model.product.template.create", nil, []any{map[string]any{
			"name": "Product " + code, "type": "goods", "default_uom": id, "salable": true, "sale_uom": id, "list_price": price("10"),
			"products": []any{[]any{"create", []any{map[string]any{"suffix_code": code, "cost_price": price("5")}}}},
		}})
	}
}

// IgnoreException decides of all cancelled shipments of a sale that they are not to be made again.
func (s *ERP) IgnoreException(t testing.TB, sale int64) {
	t.Helper()
	const wizard = "wizard.sale.handle.shipment.exception."
	within := map[string]any{"company": s.Company(t), "active_model": "sale.sale", "active_id": sale, "active_ids": []int64{sale}}
	var begun []jsontext.Value
	s.CallIn(t, within, wizard+"create", &begun)
	var shown struct {
		View struct {
			Defaults struct {
				Moves []int64 `json:"domain_moves"`
			} `json:"defaults"`
		} `json:"view"`
	}
	s.CallIn(t, within, wizard+"execute", &shown, begun[0], map[string]any{}, "ask")
	s.CallIn(t, within, wizard+"execute", nil, begun[0], map[string]any{
		"ask": map[string]any{"recreate_moves": []int64{}, "domain_moves": shown.View.Defaults.Moves},
	}, "handle")
	s.CallIn(t, within, wizard+"delete", nil, begun[0])
}

// Logout ends the session of somebody else, by the header Authorization of his calls.
func (s *ERP) Logout(t testing.TB, header string) {
	t.Helper()
	s.post(t, header, "common.db.logout", nil)
}

// Change changes fields of a product, such as salable.
func (s *ERP) Change(t testing.TB, code string, values map[string]any) {
	t.Helper()
	var rows []struct {
		Template int64 `json:"template"`
	}
	s.Call(t, "model.product.product.read", &rows, []int64{s.Product(t, code)}, []string{"template"})
	s.Call(t, "model.product.template.write", nil, []int64{rows[0].Template}, values)
}

// Units is how many units of an order have not left.
func (s *ERP) Units(t testing.TB, reference string) (sum int64) {
	t.Helper()
	if shipment, ok := s.open(t, reference); ok {
		for _, m := range s.moves(t, shipment) {
			sum += int64(m.Quantity)
		}
	}
	return sum
}

// Sent is how many units of an order have left.
func (s *ERP) Sent(t testing.TB, reference string) (sum int64) {
	t.Helper()
	for _, shipment := range s.Shipments(t, reference) {
		for _, m := range s.moves(t, shipment) {
			if m.State == "done" {
				sum += int64(m.Quantity)
			}
		}
	}
	return sum
}
