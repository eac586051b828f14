package shiphero

import (
	"github.com/truestock/truestock/stock"
)

// The GraphQL documents and their answers, by https://developer.shiphero.com/schema. Almost every field may be null there.

const accountDocument = `query Account {
  account { request_id complexity data { id warehouses { id identifier } } }
}`

type accountData struct {
	Account *struct {
		Data *struct {
			ID         string `json:"id"`
			Warehouses []*struct {
				ID         string `json:"id"`
				Identifier string `json:"identifier"`
			} `json:"warehouses"`
		} `json:"data"`
	} `json:"account"`
}

// pageVariables are those of a list. Customer is the account of a customer of a 3PL.
type pageVariables struct {
	First    int    `json:"first"`
	After    string `json:"after,omitempty"`
	Customer string `json:"customer,omitempty"`
}

const productsDocument = `query Products($first: Int, $after: String, $customer: String) {
  products(customer_account_id: $customer) { request_id complexity
    data(first: $first, after: $after) { pageInfo { hasNextPage endCursor } edges { node { sku name barcode kit kit_build } } }
  }
}`

type productsData struct {
	Products *struct {
		Data *connection[product] `json:"data"`
	} `json:"products"`
}

type product struct {
	SKU      string `json:"sku"`
	Name     string `json:"name"`
	Barcode  string `json:"barcode"`
	Kit      bool   `json:"kit"`
	KitBuild bool   `json:"kit_build"`
}

const levelsDocument = `query Levels($first: Int, $after: String, $customer: String) {
  warehouse_products(customer_account_id: $customer) { request_id complexity
    data(first: $first, after: $after) { pageInfo { hasNextPage endCursor }
      edges { node { account_id sku warehouse_id on_hand available reserve_inventory } }
    }
  }
}`

type levelsData struct {
	WarehouseProducts *struct {
		Data *connection[warehouseProduct] `json:"data"`
	} `json:"warehouse_products"`
}

// warehouseProduct is an article in a warehouse. Reserve is null where nothing is held back.
type warehouseProduct struct {
	AccountID   string          `json:"account_id"`
	SKU         string          `json:"sku"`
	WarehouseID string          `json:"warehouse_id"`
	OnHand      *stock.Quantity `json:"on_hand"`
	Available   *stock.Quantity `json:"available"`
	Reserve     *stock.Quantity `json:"reserve_inventory"`
}

const orderFragment = `fragment Standing on Order {
  id order_number partner_order_id fulfillment_status tags
  line_items(first: 100) { pageInfo { hasNextPage endCursor }
    edges { node { id partner_line_item_id sku quantity quantity_allocated quantity_shipped } }
  }
  allocations { warehouse_id line_items { line_item_id quantity_allocated } }
  shipments { id warehouse_id line_items(first: 100) { pageInfo { hasNextPage endCursor } edges { node { line_item_id quantity } } } }
}`

const ordersDocument = `query Orders($key: String, $customer: String) {
  orders(partner_order_id: $key, customer_account_id: $customer) { request_id complexity
    data(first: 2) { pageInfo { hasNextPage endCursor } edges { node { ...Standing } } }
  }
}
` + orderFragment

type ordersVariables struct {
	Key      string `json:"key"`
	Customer string `json:"customer,omitempty"`
}

type ordersData struct {
	Orders *struct {
		Data *connection[order] `json:"data"`
	} `json:"orders"`
}

type order struct {
	ID             string               `json:"id"`
	OrderNumber    string               `json:"order_number"`
	PartnerOrderID string               `json:"partner_order_id"`
	Status         string               `json:"fulfillment_status"`
	Tags           []string             `json:"tags"`
	LineItems      connection[lineItem] `json:"line_items"`
	Allocations    []*struct {
		WarehouseID string `json:"warehouse_id"`
		LineItems   []*struct {
			LineItemID string          `json:"line_item_id"`
			Quantity   *stock.Quantity `json:"quantity_allocated"`
		} `json:"line_items"`
	} `json:"allocations"`
	Shipments []*struct {
		ID          string                `json:"id"`
		WarehouseID string                `json:"warehouse_id"`
		LineItems   connection[shippedOf] `json:"line_items"`
	} `json:"shipments"`
}

type lineItem struct {
	ID        string          `json:"id"`
	Partner   string          `json:"partner_line_item_id"`
	SKU       string          `json:"sku"`
	Quantity  *stock.Quantity `json:"quantity"`
	Allocated *stock.Quantity `json:"quantity_allocated"`
	Shipped   *stock.Quantity `json:"quantity_shipped"`
}

type shippedOf struct {
	LineItemID string          `json:"line_item_id"`
	Quantity   *stock.Quantity `json:"quantity"`
}

const createDocument = `mutation Create($data: CreateOrderInput!) {
  order_create(data: $data) { request_id complexity order { id order_number partner_order_id } }
}`

type dataVariables[T any] struct {
	Data T `json:"data"`
}

type createInput struct {
	Customer       string       `json:"customer_account_id,omitempty"`
	OrderNumber    string       `json:"order_number"`
	PartnerOrderID string       `json:"partner_order_id"`
	ShopName       string       `json:"shop_name"`
	Status         string       `json:"fulfillment_status"`
	OrderDate      string       `json:"order_date,omitempty"`
	Email          string       `json:"email,omitempty"`
	Address        addressInput `json:"shipping_address"`
	LineItems      []lineInput  `json:"line_items"`
	Holds          *holdsInput  `json:"holds,omitempty"`
}

type addressInput struct {
	FirstName string `json:"first_name,omitempty"`
	Address1  string `json:"address1,omitempty"`
	City      string `json:"city,omitempty"`
	State     string `json:"state,omitempty"`
	Zip       string `json:"zip,omitempty"`
	Country   string `json:"country,omitempty"`
}

type holdsInput struct {
	Operator bool `json:"operator_hold"`
}

type lineInput struct {
	Partner  string         `json:"partner_line_item_id"`
	SKU      string         `json:"sku"`
	Quantity stock.Quantity `json:"quantity"`
	Price    string         `json:"price"`
	Pending  stock.Quantity `json:"quantity_pending_fulfillment"`
}

type createData struct {
	Created *mutated `json:"order_create"`
}

// mutated is the answer of a mutation of an order.
type mutated struct {
	Order *struct {
		ID             string `json:"id"`
		OrderNumber    string `json:"order_number"`
		PartnerOrderID string `json:"partner_order_id"`
	} `json:"order"`
}

const tagDocument = `mutation Tag($data: UpdateOrderInput!) {
  order_update(data: $data) { request_id complexity order { id } }
}`

type tagInput struct {
	Customer string   `json:"customer_account_id,omitempty"`
	OrderID  string   `json:"order_id"`
	Tags     []string `json:"tags"`
}

type tagData struct {
	Updated *mutated `json:"order_update"`
}

const cancelDocument = `mutation Cancel($data: CancelOrderInput!) {
  order_cancel(data: $data) { request_id complexity order { id } }
}`

type cancelInput struct {
	Customer string `json:"customer_account_id,omitempty"`
	OrderID  string `json:"order_id"`
	Reason   string `json:"reason"`
}

type cancelData struct {
	Cancelled *mutated `json:"order_cancel"`
}

const linesDocument = `mutation Lines($data: UpdateLineItemsInput!) {
  order_update_line_items(data: $data) { request_id complexity order { id } }
}`

type linesInput struct {
	Customer string      `json:"customer_account_id,omitempty"`
	OrderID  string      `json:"order_id"`
	Lines    []lineLower `json:"line_items"`
}

type lineLower struct {
	ID       string         `json:"id"`
	Quantity stock.Quantity `json:"quantity"`
	Pending  stock.Quantity `json:"quantity_pending_fulfillment"`
}

type linesData struct {
	Updated *mutated `json:"order_update_line_items"`
}

// connection is a page of a list.
type connection[T any] struct {
	PageInfo struct {
		HasNextPage bool   `json:"hasNextPage"`
		EndCursor   string `json:"endCursor"`
	} `json:"pageInfo"`
	Edges []*struct {
		Node *T `json:"node"`
	} `json:"edges"`
}

// Documents are all of them, by their names.
var documents = map[string]string{
	"Account": accountDocument, "Products": productsDocument, "Levels": levelsDocument, "Orders": ordersDocument, "Create": createDocument,
	"Tag": tagDocument, "Cancel": cancelDocument, "Lines": linesDocument,
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	// ExpiresIn is in seconds.
	ExpiresIn int64 `json:"expires_in"`
}
