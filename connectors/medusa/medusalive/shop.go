package medusalive

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// client bears that the shop is slow on a busy machine.
var client = &http.Client{Timeout: 2 * time.Minute}

// Admin makes a call of the admin API as the administrator and decodes the answer into out, unless that is nil. An answer
// other than 200 fails the test.
func (s *Shop) Admin(t testing.TB, method, path string, body, out any) {
	t.Helper()
	s.call(t, method, path, http.Header{"Authorization": {"Bearer " + s.token}}, body, out)
}

// store makes a call of the API of the shop front.
func (s *Shop) store(t testing.TB, method, path string, body, out any) {
	t.Helper()
	s.call(t, method, path, http.Header{"X-Publishable-Api-Key": {s.publishable}}, body, out)
}

func (s *Shop) call(t testing.TB, method, path string, header http.Header, body, out any) {
	t.Helper()
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, sent)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("ask the shop: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("ask the shop: %v", err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the shop answered %d to %s %s: %.2000s", resp.StatusCode, method, path, text)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatalf("the shop answered %.2000s: %v", text, err)
	}
}

// CreateVariants makes one product with one variant per SKU, with stocked units of each at the stock location.
func (s *Shop) CreateVariants(t testing.TB, stocked int, skus ...string) []Variant {
	t.Helper()
	var products []map[string]any
	for _, sku := range skus {
		products = append(products, map[string]any{
			"title": "Product " + sku, "status": "published", "shipping_profile_id": s.shippingProfile,
			"sales_channels": []map[string]any{{"id": s.SalesChannel}},
			"options":        []map[string]any{{"title": "Kind", "values": []string{"one"}}},
			"variants": []map[string]any{{
				"title": "one", "sku": sku, "manage_inventory": true, "options": map[string]any{"Kind": "one"},
				"prices": []map[string]any{{"currency_code": "eur", "amount": 10}},
			}},
		})
	}
	s.Admin(t, http.MethodPost, "/admin/products/batch", map[string]any{"create": products}, nil)
	type inventory struct {
		ItemID string `json:"inventory_item_id"`
	}
	var found struct {
		Variants []struct {
			ID             string      `json:"id"`
			SKU            string      `json:"sku"`
			Title          string      `json:"title"`
			ProductID      string      `json:"product_id"`
			InventoryItems []inventory `json:"inventory_items"`
		} `json:"variants"`
	}
	query := url.Values{"sku[]": skus, "limit": {"1000"}, "fields": {"id,sku,title,product_id,inventory_items.inventory_item_id"}}
	s.Admin(t, http.MethodGet, "/admin/product-variants?"+query.Encode(), nil, &found)
	if len(found.Variants) != len(skus) {
		t.Fatalf("%d variants were made, of %d", len(found.Variants), len(skus))
	}
	variants := make([]Variant, len(skus))
	var levels []map[string]any
	for _, v := range found.Variants {
		item := v.InventoryItems[0].ItemID
		variants[slices.Index(skus, v.SKU)] = Variant{ID: v.ID, SKU: v.SKU, Title: v.Title, Item: item}
		s.product.Store(v.ID, v.ProductID)
		levels = append(levels, map[string]any{"inventory_item_id": item, "location_id": s.Location, "stocked_quantity": stocked})
	}
	s.Admin(t, http.MethodPost, "/admin/inventory-items/location-levels/batch", map[string]any{"create": levels}, nil)
	return variants
}

// PlaceOrder buys as a guest through the API of the shop front, by id of the variant, pays, and returns the order's id.
// The payment is authorized and not captured.
func (s *Shop) PlaceOrder(t testing.TB, quantities map[string]int) string {
	t.Helper()
	var items []map[string]any
	for _, id := range slices.Sorted(maps.Keys(quantities)) {
		items = append(items, map[string]any{"variant_id": id, "quantity": quantities[id]})
	}
	var made struct {
		Cart              named  `json:"cart"`
		PaymentCollection named  `json:"payment_collection"`
		Type              string `json:"type"`
		Order             named  `json:"order"`
		Error             struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	s.store(t, http.MethodPost, "/store/carts", map[string]any{
		"region_id": s.region, "sales_channel_id": s.SalesChannel, "email": "buyer@shop.example", "items": items,
		"shipping_address": map[string]any{
			"first_name": "Test", "last_name": "Buyer", "address_1": "1 Test Street", "city": "Berlin", "postal_code": "10115", "country_code": "de",
		},
	}, &made)
	cart := "/store/carts/" + made.Cart.ID
	s.store(t, http.MethodPost, cart+"/shipping-methods", map[string]any{"option_id": s.shippingOption}, nil)
	s.store(t, http.MethodPost, "/store/payment-collections", map[string]any{"cart_id": made.Cart.ID}, &made)
	s.store(t, http.MethodPost, "/store/payment-collections/"+made.PaymentCollection.ID+"/payment-sessions",
		map[string]any{"provider_id": "pp_system_default"}, nil)
	s.store(t, http.MethodPost, cart+"/complete", map[string]any{}, &made)
	if made.Type != "order" {
		t.Fatalf("the shop refused to sell %v: %s", quantities, made.Error.Message)
	}
	return made.Order.ID
}

// Available is how many units of a variant a buyer can order, as the shop front tells it.
func (s *Shop) Available(t testing.TB, variantID string) int64 {
	t.Helper()
	var front struct {
		Product struct {
			Variants []struct {
				ID       string `json:"id"`
				Quantity *int64 `json:"inventory_quantity"`
			} `json:"variants"`
		} `json:"product"`
	}
	s.store(t, http.MethodGet, "/store/products/"+s.Product(t, variantID)+"?fields=id,%2Bvariants.inventory_quantity", nil, &front)
	for _, v := range front.Product.Variants {
		if v.ID == variantID && v.Quantity != nil {
			return *v.Quantity
		}
	}
	t.Fatalf("the shop front does not show variant %s: %+v", variantID, front)
	return 0
}

// Product looks up the id of the product that a variant belongs to: the shop front shows variants of products only.
func (s *Shop) Product(t testing.TB, variantID string) string {
	t.Helper()
	if id, known := s.product.Load(variantID); known {
		return id.(string)
	}
	var found struct {
		Variants []struct {
			ProductID string `json:"product_id"`
		} `json:"variants"`
	}
	s.Admin(t, http.MethodGet, "/admin/product-variants?fields=id,product_id&id="+url.QueryEscape(variantID), nil, &found)
	if len(found.Variants) != 1 {
		t.Fatalf("the shop has no variant %s", variantID)
	}
	s.product.Store(variantID, found.Variants[0].ProductID)
	return found.Variants[0].ProductID
}

// UpdateVariant changes a variant's settings, such as allow_backorder.
func (s *Shop) UpdateVariant(t testing.TB, variantID string, changes map[string]any) {
	t.Helper()
	s.Admin(t, http.MethodPost, "/admin/products/"+s.Product(t, variantID)+"/variants/"+variantID, changes, nil)
}

// Level is what an inventory item has at the stock location.
type Level struct {
	Stocked  int64 `json:"stocked_quantity"`
	Reserved int64 `json:"reserved_quantity"`
}

// Level tells what an inventory item has in stock, and reserved, at the stock location.
func (s *Shop) Level(t testing.TB, item string) Level {
	t.Helper()
	var found struct {
		Levels []Level `json:"inventory_levels"`
	}
	s.Admin(t, http.MethodGet, "/admin/inventory-items/"+item+"/location-levels?location_id="+s.Location, nil, &found)
	if len(found.Levels) != 1 {
		t.Fatalf("inventory item %s has %d levels at the stock location", item, len(found.Levels))
	}
	return found.Levels[0]
}

// SetStocked types a number of units in stock in, as a person would.
func (s *Shop) SetStocked(t testing.TB, item string, stocked int64) {
	t.Helper()
	s.Admin(t, http.MethodPost, "/admin/inventory-items/"+item+"/location-levels/"+s.Location, map[string]any{"stocked_quantity": stocked}, nil)
}

// Order is an order as the administrator sees it.
type Order struct {
	ID                string        `json:"id"`
	Status            string        `json:"status"`
	FulfillmentStatus string        `json:"fulfillment_status"`
	Items             []OrderItem   `json:"items"`
	Fulfillments      []Fulfillment `json:"fulfillments"`
}

// OrderItem is a line of an Order.
type OrderItem struct {
	ID        string `json:"id"`
	VariantID string `json:"variant_id"`
	Quantity  int64  `json:"quantity"`
	Detail    struct {
		Fulfilled int64 `json:"fulfilled_quantity"`
		Shipped   int64 `json:"shipped_quantity"`
	} `json:"detail"`
}

// Fulfillment is a parcel of an Order. ShippedAt and CanceledAt are empty until it is.
type Fulfillment struct {
	ID         string         `json:"id"`
	ShippedAt  string         `json:"shipped_at"`
	CanceledAt string         `json:"canceled_at"`
	Metadata   map[string]any `json:"metadata"`
	Labels     []struct {
		TrackingNumber string `json:"tracking_number"`
	} `json:"labels"`
}

// Order looks an order up by its id.
func (s *Shop) Order(t testing.TB, id string) Order {
	t.Helper()
	var found struct {
		Order Order `json:"order"`
	}
	s.Admin(t, http.MethodGet, "/admin/orders/"+id+"?fields=id,status,fulfillment_status,*items,*items.detail,*fulfillments,*fulfillments.labels", nil, &found)
	return found.Order
}

// CancelOrder cancels a whole order, which Medusa does only while nothing of it is fulfilled.
func (s *Shop) CancelOrder(t testing.TB, id string) {
	t.Helper()
	s.Admin(t, http.MethodPost, "/admin/orders/"+id+"/cancel", map[string]any{}, nil)
}

// SetQuantity changes how many units of a line an order is for, by an edit of the order that is confirmed at once.
func (s *Shop) SetQuantity(t testing.TB, order, line string, quantity int) {
	t.Helper()
	s.Admin(t, http.MethodPost, "/admin/order-edits", map[string]any{"order_id": order}, nil)
	edit := "/admin/order-edits/" + order
	s.Admin(t, http.MethodPost, edit+"/items/item/"+line, map[string]any{"quantity": quantity}, nil)
	s.Admin(t, http.MethodPost, edit+"/request", map[string]any{}, nil)
	s.Admin(t, http.MethodPost, edit+"/confirm", map[string]any{}, nil)
}

// Fulfill makes a fulfillment of units of an order's lines, by id, and returns its id.
func (s *Shop) Fulfill(t testing.TB, order string, quantities map[string]int) string {
	t.Helper()
	s.Admin(t, http.MethodPost, "/admin/orders/"+order+"/fulfillments", map[string]any{"location_id": s.Location, "items": lines(quantities)}, nil)
	made := s.Order(t, order).Fulfillments
	return slices.MaxFunc(made, func(a, b Fulfillment) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) }).ID
}

// CancelFulfillment takes a fulfillment back.
func (s *Shop) CancelFulfillment(t testing.TB, order, fulfillment string) {
	t.Helper()
	s.Admin(t, http.MethodPost, "/admin/orders/"+order+"/fulfillments/"+fulfillment+"/cancel", map[string]any{}, nil)
}

func lines(quantities map[string]int) []map[string]any {
	var rows []map[string]any
	for _, id := range slices.Sorted(maps.Keys(quantities)) {
		rows = append(rows, map[string]any{"id": id, "quantity": quantities[id]})
	}
	return rows
}
