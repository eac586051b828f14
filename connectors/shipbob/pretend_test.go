package shipbob_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/stock"
)

const (
	token  = "pat/9f+tok3n=="
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// bob is a pretend ShipBob of the version 2026-01.
type bob struct {
	t  *testing.T
	mu sync.Mutex

	rows     int // of a page
	skus     []string
	levels   map[string]map[int64]*level // from the SKU and the location
	orders   []*orderAt
	channels []map[string]any
	changes  int

	// odd, where set, may answer in the place of the method.
	odd func(w http.ResponseWriter, r *http.Request) bool
	// level and view, where set, may change a row before it leaves.
	level func(row map[string]any)
	view  func(order map[string]any)
}

type level struct{ onHand, committed int64 }

type orderAt struct {
	id                   int64
	reference, cancelled string
	products             []map[string]any
	tags                 []map[string]any
	shipments            []*shipmentAt
}

type shipmentAt struct {
	id, location int64
	status       string
	units        map[string]int64
}

func newBob(t *testing.T) *bob {
	b := &bob{t: t, rows: 2, levels: map[string]map[int64]*level{}}
	for i := range 4 {
		sku := fmt.Sprintf("SKU-%d", i)
		b.skus = append(b.skus, sku)
		b.levels[sku] = map[int64]*level{228: {onHand: int64(10 + i)}, 300: {onHand: int64(i)}}
	}
	b.channels = []map[string]any{
		{"id": 1, "name": "Shopify", "application_name": "Shopify", "scopes": []string{"orders_read"}},
		{"id": 432951, "name": "PAT Channel", "application_name": "SMA", "scopes": []string{"orders_read", "orders_write"}},
	}
	return b
}

func (b *bob) total(sku string, onHand bool) stock.Quantity {
	b.mu.Lock()
	defer b.mu.Unlock()
	var sum int64
	for _, l := range b.levels[sku] {
		sum += l.onHand
		if !onHand {
			sum -= l.committed
		}
	}
	return stock.Quantity(sum)
}

// ServeHTTP implements http.Handler.
func (b *bob) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+token {
		answer(w, http.StatusUnauthorized, map[string]any{"message": "Access denied due to invalid token"})
		return
	}
	if b.odd != nil && b.odd(w, r) {
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/2026-01")
	if !ok {
		http.NotFound(w, r)
		return
	}
	switch {
	case r.Method == http.MethodGet && path == "/channel":
		answer(w, http.StatusOK, map[string]any{"items": b.channels, "next": nil, "prev": nil})
	case r.Method == http.MethodGet && path == "/fulfillment-center":
		answer(w, http.StatusOK, []any{map[string]any{"id": 228, "name": "Moreno Valley (CA)"}, map[string]any{"id": 300, "name": "Cicero (IL)"}})
	case r.Method == http.MethodGet && path == "/inventory":
		rows := []any{map[string]any{"inventory_id": 900, "sku": "BUNDLE", "name": "b", "variant": map[string]any{"is_bundle": true}}, map[string]any{"inventory_id": 901, "sku": nil, "name": "n", "variant": nil}}
		for i, sku := range b.skus {
			if search := r.URL.Query().Get("SearchBy"); strings.Contains(strings.ToLower(sku), strings.ToLower(search)) {
				rows = append(rows, map[string]any{"inventory_id": i + 1, "sku": sku, "name": "Thing", "barcode": "4006381333931", "variant": map[string]any{"is_bundle": false, "is_digital": false}})
			}
		}
		b.page(w, r, rows)
	case r.Method == http.MethodGet && path == "/inventory-level/locations":
		var rows []any
		for i, sku := range b.skus {
			var locations []any
			for _, id := range []int64{228, 300} {
				l := b.levels[sku][id]
				row := map[string]any{"location_id": id, "name": "center", "on_hand_quantity": l.onHand, "fulfillable_quantity": l.onHand - l.committed, "committed_quantity": l.committed}
				if b.level != nil {
					b.level(row)
				}
				locations = append(locations, row)
			}
			rows = append(rows, map[string]any{"inventory_id": i + 1, "sku": sku, "name": "Thing", "locations": locations})
		}
		b.page(w, r, rows)
	case path == "/order":
		b.orderList(w, r)
	default:
		b.one(w, r, path)
	}
}

// page answers with some rows and, as ShipBob does, the whole address of the next.
func (b *bob) page(w http.ResponseWriter, r *http.Request, rows []any) {
	q := r.URL.Query()
	if q.Get("PageSize") != "250" {
		b.t.Errorf("a page of %q rows is asked for", q.Get("PageSize"))
	}
	number, _ := strconv.Atoi(q.Get("Page"))
	start := min(len(rows), number*b.rows)
	end := min(len(rows), start+b.rows)
	next := any(nil)
	if end < len(rows) {
		q.Set("Page", strconv.Itoa(number+1))
		next = "https://elsewhere.example/api?" + q.Encode()
	}
	answer(w, http.StatusOK, map[string]any{"items": rows[start:end], "next": next})
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, value)
}

type created struct {
	ReferenceID    string           `json:"reference_id"`
	OrderNumber    string           `json:"order_number"`
	ShippingMethod string           `json:"shipping_method"`
	Type           string           `json:"type"`
	PurchaseDate   string           `json:"purchase_date"`
	Tags           []map[string]any `json:"tags"`
	Products       []struct {
		ReferenceID string `json:"reference_id"`
		Name        string `json:"name"`
		Quantity    int64  `json:"quantity"`
		Line        int64  `json:"external_line_id"`
	} `json:"products"`
	Recipient struct {
		Name    string `json:"name"`
		Email   string `json:"email"`
		Address struct {
			Address1 string `json:"address1"`
			City     string `json:"city"`
			State    string `json:"state"`
			Zip      string `json:"zip_code"`
			Country  string `json:"country"`
		} `json:"address"`
	} `json:"recipient"`
}

func (b *bob) orderList(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("shipbob_channel_id") != "432951" {
		b.t.Errorf("the channel is %q", r.Header.Get("shipbob_channel_id"))
	}
	if r.Method == http.MethodGet {
		out := []any{}
		for _, o := range b.orders {
			if slices.Contains(strings.Split(r.URL.Query().Get("ReferenceIds"), ","), o.reference) {
				out = append(out, b.show(o))
			}
		}
		answer(w, http.StatusOK, out)
		return
	}
	var in created
	if err := json.UnmarshalRead(r.Body, &in, json.RejectUnknownMembers(true)); err != nil {
		b.t.Errorf("the order is not what the description says: %v", err)
		answer(w, http.StatusBadRequest, map[string]any{"": []string{err.Error()}})
		return
	}
	if slices.ContainsFunc(b.orders, func(o *orderAt) bool { return o.reference == in.ReferenceID }) {
		answer(w, http.StatusUnprocessableEntity, map[string]any{"reference_id": []string{"Order with the same reference exists"}})
		return
	}
	a := in.Recipient.Address
	if in.Recipient.Name == "" || a.Address1 == "" || a.City == "" || a.Country == "" || in.ShippingMethod == "" || in.Type != "DTC" {
		answer(w, http.StatusBadRequest, map[string]any{"recipient": []string{"required"}})
		return
	}
	o := &orderAt{id: int64(1000 + len(b.orders)), reference: in.ReferenceID, tags: in.Tags}
	s := &shipmentAt{id: int64(5000 + len(b.orders)*10), location: 228, status: "Processing", units: map[string]int64{}}
	for _, p := range in.Products {
		if b.levels[p.ReferenceID] == nil {
			b.t.Errorf("a new product is made of the SKU %s", p.ReferenceID)
			b.levels[p.ReferenceID] = map[int64]*level{228: {}, 300: {}}
		}
		o.products = append(o.products, map[string]any{"id": 1, "reference_id": p.ReferenceID, "quantity": p.Quantity, "external_line_id": p.Line})
		s.units[p.ReferenceID] += p.Quantity
		b.levels[p.ReferenceID][228].committed += p.Quantity
	}
	o.shipments = []*shipmentAt{s}
	b.orders = append(b.orders, o)
	b.changes++
	answer(w, http.StatusCreated, b.show(o))
}

func (b *bob) show(o *orderAt) map[string]any {
	status := "Processing"
	if o.cancelled != "" {
		status = "Cancelled"
	}
	shipments := []any{}
	for _, s := range o.shipments {
		products := []any{}
		for _, sku := range b.skus {
			if units, ok := s.units[sku]; ok {
				committed := units
				if s.status != "Processing" {
					committed = 0
				}
				products = append(products, map[string]any{"id": 1, "reference_id": sku, "sku": sku, "inventory_items": []any{map[string]any{"id": b.inventoryID(sku), "quantity": units, "quantity_committed": committed}}})
			}
		}
		view := map[string]any{"id": s.id, "order_id": o.id, "status": s.status, "location": map[string]any{"id": s.location, "name": "center"}, "products": products, "tracking": nil}
		if s.status == "Completed" {
			view["tracking"] = map[string]any{"carrier": "USPS", "tracking_number": "92612"}
		}
		shipments = append(shipments, view)
	}
	view := map[string]any{"id": o.id, "reference_id": o.reference, "status": status, "products": o.products, "tags": o.tags, "shipments": shipments}
	if b.view != nil {
		b.view(view)
	}
	return view
}

func (b *bob) inventoryID(sku string) int64 { return int64(slices.Index(b.skus, sku) + 1) }

// one answers what is about a single order or shipment.
func (b *bob) one(w http.ResponseWriter, r *http.Request, path string) {
	for _, o := range b.orders {
		if r.Method == http.MethodPost && path == fmt.Sprintf("/order/%d:cancel", o.id) {
			results := []any{}
			for _, s := range o.shipments {
				ok := s.status == "Processing"
				if ok {
					b.release(s)
					s.status = "Cancelled"
				}
				results = append(results, map[string]any{"shipment_id": s.id, "action": "Cancel", "is_success": ok, "reason": "it is labelled"})
			}
			b.changes++
			if slices.ContainsFunc(o.shipments, func(s *shipmentAt) bool { return s.status != "Cancelled" }) {
				answer(w, http.StatusOK, map[string]any{"order_id": o.id, "status": "Failure", "canceled_shipment_results": results})
				return
			}
			o.cancelled = "us"
			answer(w, http.StatusOK, map[string]any{"order_id": o.id, "status": "Success", "canceled_shipment_results": results})
			return
		}
		for _, s := range o.shipments {
			switch {
			case r.Method == http.MethodGet && path == fmt.Sprintf("/shipment/%d:getLineItems", s.id):
				items := []any{}
				for _, sku := range b.skus {
					if units, ok := s.units[sku]; ok {
						items = append(items, map[string]any{"inventory_id": b.inventoryID(sku), "quantity": units, "committed_quantity": units, "lot": nil})
					}
				}
				answer(w, http.StatusOK, items)
				return
			case r.Method == http.MethodPost && path == fmt.Sprintf("/shipment/%d:updateLineItems", s.id):
				b.update(w, r, s)
				return
			}
		}
	}
	answer(w, http.StatusNotFound, map[string]any{"message": "not found"})
}

func (b *bob) release(s *shipmentAt) {
	for sku, units := range s.units {
		b.levels[sku][s.location].committed -= units
	}
}

func (b *bob) update(w http.ResponseWriter, r *http.Request, s *shipmentAt) {
	var in struct {
		Items []struct {
			InventoryID int64  `json:"inventory_id"`
			Quantity    int64  `json:"quantity"`
			LotNumber   string `json:"lot_number"`
			LotDate     string `json:"lot_date"`
		} `json:"items"`
	}
	if err := json.UnmarshalRead(r.Body, &in, json.RejectUnknownMembers(true)); err != nil || len(in.Items) == 0 || s.status != "Processing" {
		answer(w, http.StatusOK, map[string]any{"id": s.id, "is_success": false, "error": map[string]any{"code": "InvalidStatus", "message": "the shipment cannot be changed"}})
		return
	}
	b.release(s)
	s.units = map[string]int64{}
	for _, i := range in.Items {
		sku := b.skus[i.InventoryID-1]
		s.units[sku] = i.Quantity
		b.levels[sku][s.location].committed += i.Quantity
	}
	b.changes++
	answer(w, http.StatusOK, map[string]any{"id": s.id, "is_success": true, "shipment_line_items": []any{}})
}

// ship ships everything of an order.
func (b *bob) ship(key string) stock.Quantity {
	b.mu.Lock()
	defer b.mu.Unlock()
	var sum int64
	for _, o := range b.orders {
		if o.reference != key {
			continue
		}
		for _, s := range o.shipments {
			if s.status != "Processing" {
				continue
			}
			b.release(s)
			for sku, units := range s.units {
				b.levels[sku][s.location].onHand -= units
				sum += units
			}
			s.status = "Completed"
		}
	}
	return stock.Quantity(sum)
}

// transport leads to the handler.
type transport struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "api.shipbob.com" && r.URL.Host != "sandbox-api.shipbob.com" || r.URL.Scheme != "https" {
		return nil, fmt.Errorf("a request left for %s", r.URL)
	}
	body := []byte(nil)
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	rec := httptest.NewRecorder()
	in := r.Clone(r.Context())
	in.Body = io.NopCloser(bytes.NewReader(body))
	t.ServeHTTP(rec, in)
	res := rec.Result()
	res.Request = r
	return res, nil
}
