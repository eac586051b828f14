package vendurelive

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Admin runs a GraphQL document at the admin API as the administrator and decodes its data into out. An error of GraphQL
// fails the test; errors that are members of a result union are in the data.
func (s *Shop) Admin(t testing.TB, document string, variables map[string]any, out any) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == "" {
		var login struct {
			Login struct {
				ID string `json:"id"`
			} `json:"login"`
		}
		credentials := map[string]any{"username": s.Username, "password": s.Password}
		post(t, s.AdminURL, &s.token, `mutation($username: String!, $password: String!) {
			login(username: $username, password: $password) { ... on CurrentUser { id } } }`, credentials, &login)
	}
	post(t, s.AdminURL, &s.token, document, variables, out)
}

// post runs a document in the session of the token, and keeps the token that the answer gives.
func post(t testing.TB, url string, token *string, document string, variables map[string]any, out any) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if *token != "" {
		req.Header.Set("Authorization", "Bearer "+*token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("ask the shop: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("ask the shop: %v", err)
	}
	var answer struct {
		Data   jsontext.Value   `json:"data"`
		Errors []jsontext.Value `json:"errors"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || len(answer.Errors) > 0 {
		t.Fatalf("the shop answered %s to %s", text, document)
	}
	if given := resp.Header.Get("vendure-auth-token"); given != "" {
		*token = given
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(answer.Data, out); err != nil {
		t.Fatalf("the shop answered %s: %v", text, err)
	}
}

// CreateVariants makes one product with one variant per SKU, with onHand units of each.
func (s *Shop) CreateVariants(t testing.TB, onHand int, skus ...string) []Variant {
	t.Helper()
	variants := make([]Variant, len(skus))
	const most = 50 // in one document
	for first := 0; first < len(skus); first += most {
		s.createVariants(t, onHand, skus[first:min(len(skus), first+most)], variants[first:])
	}
	return variants
}

func (s *Shop) createVariants(t testing.TB, onHand int, skus []string, variants []Variant) {
	t.Helper()
	var document strings.Builder
	document.WriteString("mutation {")
	for i, sku := range skus {
		slug := strings.ToLower(sku)
		fmt.Fprintf(&document, "p%d: createProduct(input: {enabled: true, translations: [{languageCode: en, name: %q, slug: %q, description: \"\"}]}) { id }\n", i, "Product "+sku, slug)
	}
	document.WriteString("}")
	products := map[string]struct {
		ID string `json:"id"`
	}{}
	s.Admin(t, document.String(), nil, &products)
	input := make([]map[string]any, len(skus))
	for i, sku := range skus {
		input[i] = map[string]any{
			"productId": products["p"+strconv.Itoa(i)].ID, "sku": sku, "price": 1000, "stockOnHand": onHand, "enabled": true,
			"translations": []map[string]any{{"languageCode": "en", "name": "Product " + sku}},
		}
	}
	var made struct {
		Variants []struct {
			ID   string `json:"id"`
			SKU  string `json:"sku"`
			Name string `json:"name"`
		} `json:"createProductVariants"`
	}
	s.Admin(t, `mutation($input: [CreateProductVariantInput!]!) { createProductVariants(input: $input) { id sku name } }`,
		map[string]any{"input": input}, &made)
	for _, v := range made.Variants {
		i := slices.Index(skus, v.SKU)
		variants[i] = Variant{ID: v.ID, SKU: v.SKU, Name: v.Name}
		s.products.Store(v.ID, products["p"+strconv.Itoa(i)].ID)
	}
}

// PlaceOrder buys as a guest through the shop API, pays, and returns the order's code. The order's state is
// PaymentSettled then.
func (s *Shop) PlaceOrder(t testing.TB, quantities map[string]int) string {
	t.Helper()
	return s.buy(t, "settled", quantities)
}

// PlaceAuthorizedOrder is PlaceOrder with a payment that is authorized and not yet settled: PaymentAuthorized.
func (s *Shop) PlaceAuthorizedOrder(t testing.TB, quantities map[string]int) string {
	t.Helper()
	return s.buy(t, "authorized", quantities)
}

func (s *Shop) buy(t testing.TB, method string, quantities map[string]int) string {
	t.Helper()
	var session string
	step := func(document string, variables map[string]any) result {
		t.Helper()
		var answer map[string]result
		post(t, s.ShopURL, &session, document, variables, &answer)
		r := answer["r"]
		if r.ErrorCode != "" {
			t.Fatalf("the shop refused to sell %v: %s: %s %s", quantities, r.ErrorCode, r.Message, r.TransitionError)
		}
		return r
	}
	const either = ` ... on ErrorResult { errorCode message } ... on OrderStateTransitionError { transitionError } } }`
	for _, id := range slices.Sorted(maps.Keys(quantities)) {
		step(`mutation($id: ID!, $quantity: Int!) { r: addItemToOrder(productVariantId: $id, quantity: $quantity) {
			... on Order { code } ... on ErrorResult { errorCode message } } }`, map[string]any{"id": id, "quantity": quantities[id]})
	}
	step(`mutation { r: setCustomerForOrder(input: {firstName: "Test", lastName: "Buyer", emailAddress: "buyer@shop.example"}) {
		... on Order { code } ... on ErrorResult { errorCode message } } }`, nil)
	step(`mutation { r: setOrderShippingAddress(input: {fullName: "Test Buyer", streetLine1: "1 Test Street", city: "Berlin", countryCode: "DE"}) {
		... on Order { code } ... on ErrorResult { errorCode message } } }`, nil)
	var eligible struct {
		Methods []struct {
			ID string `json:"id"`
		} `json:"eligibleShippingMethods"`
	}
	post(t, s.ShopURL, &session, `{ eligibleShippingMethods { id } }`, nil, &eligible)
	if len(eligible.Methods) == 0 {
		t.Fatal("the shop has no shipping method for the order")
	}
	step(`mutation($id: [ID!]!) { r: setOrderShippingMethod(shippingMethodId: $id) {
		... on Order { code } ... on ErrorResult { errorCode message } } }`, map[string]any{"id": []string{eligible.Methods[0].ID}})
	step(`mutation { r: transitionOrderToState(state: "ArrangingPayment") { ... on Order { code }`+either, nil)
	paid := step(`mutation($method: String!) { r: addPaymentToOrder(input: {method: $method, metadata: {}}) { ... on Order { code }`+either,
		map[string]any{"method": method})
	return paid.Code
}

type result struct {
	Code            string `json:"code"`
	ErrorCode       string `json:"errorCode"`
	Message         string `json:"message"`
	TransitionError string `json:"transitionError"`
}

// Available is how many units of a variant a buyer can order, as the shop front tells it.
func (s *Shop) Available(t testing.TB, variantID string) int64 {
	t.Helper()
	var front struct {
		Product struct {
			Variants []struct {
				ID         string `json:"id"`
				StockLevel string `json:"stockLevel"`
			} `json:"variants"`
		} `json:"product"`
	}
	var guest string
	post(t, s.ShopURL, &guest, `query($id: ID!) { product(id: $id) { variants { id stockLevel } } }`,
		map[string]any{"id": s.productOf(t, variantID)}, &front)
	for _, v := range front.Product.Variants {
		if v.ID != variantID {
			continue
		}
		n, err := strconv.ParseInt(v.StockLevel, 10, 64)
		if err != nil {
			t.Fatalf("the shop front shows %q of variant %s", v.StockLevel, variantID)
		}
		return n
	}
	t.Fatalf("the shop front does not show variant %s", variantID)
	return 0
}

// productOf looks up the product that a variant belongs to: the shop front shows variants of products only.
func (s *Shop) productOf(t testing.TB, variantID string) string {
	t.Helper()
	if id, known := s.products.Load(variantID); known {
		return id.(string)
	}
	var owner struct {
		ProductVariant struct {
			ProductID string `json:"productId"`
		} `json:"productVariant"`
	}
	s.Admin(t, `query($id: ID!) { productVariant(id: $id) { productId } }`, map[string]any{"id": variantID}, &owner)
	s.products.Store(variantID, owner.ProductVariant.ProductID)
	return owner.ProductVariant.ProductID
}

// Order is an order as the administrator sees it.
type Order struct {
	ID           string        `json:"id"`
	Code         string        `json:"code"`
	State        string        `json:"state"`
	Lines        []OrderLine   `json:"lines"`
	Fulfillments []Fulfillment `json:"fulfillments"`
}

// OrderLine is a line of an Order. Quantity is what is not cancelled.
type OrderLine struct {
	ID       string `json:"id"`
	Quantity int    `json:"quantity"`
}

// Fulfillment is a shipment of an Order.
type Fulfillment struct {
	ID           string `json:"id"`
	State        string `json:"state"`
	Method       string `json:"method"`
	TrackingCode string `json:"trackingCode"`
}

// Order looks an order up by its code.
func (s *Shop) Order(t testing.TB, code string) Order {
	t.Helper()
	var found struct {
		Orders struct {
			Items []Order `json:"items"`
		} `json:"orders"`
	}
	s.Admin(t, `query($code: String!) { orders(options: {filter: {code: {eq: $code}}}) { items {
		id code state lines { id quantity } fulfillments { id state method trackingCode } } } }`,
		map[string]any{"code": code}, &found)
	if len(found.Orders.Items) != 1 {
		t.Fatalf("the shop has %d orders with the code %s", len(found.Orders.Items), code)
	}
	return found.Orders.Items[0]
}

// OrderState is the state of an order, such as PaymentSettled or Shipped.
func (s *Shop) OrderState(t testing.TB, code string) string {
	t.Helper()
	return s.Order(t, code).State
}

// CancelOrder cancels units of an order's lines, by line id; nil cancels the whole order.
func (s *Shop) CancelOrder(t testing.TB, code string, quantities map[string]int) {
	t.Helper()
	input := map[string]any{"orderId": s.Order(t, code).ID, "reason": "test"}
	if quantities != nil {
		lines := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(quantities)) {
			lines = append(lines, map[string]any{"orderLineId": id, "quantity": quantities[id]})
		}
		input["lines"] = lines
	}
	var answer struct {
		CancelOrder result `json:"cancelOrder"`
	}
	s.Admin(t, `mutation($input: CancelOrderInput!) { cancelOrder(input: $input) {
		... on Order { code } ... on ErrorResult { errorCode message } } }`, map[string]any{"input": input}, &answer)
	if r := answer.CancelOrder; r.ErrorCode != "" {
		t.Fatalf("cancel order %s: %s: %s", code, r.ErrorCode, r.Message)
	}
}
