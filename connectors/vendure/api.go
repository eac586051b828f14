package vendure

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The GraphQL documents and their answers. The schema is in dist/api/schema of @vendure/core@3.7.3; the options of lists
// (skip, take, sort, filter) are generated at run time from the fields of the listed type
// (api/config/generate-list-options.js).

const loginDocument = `mutation Login($username: String!, $password: String!) {
  login(username: $username, password: $password) {
    ... on CurrentUser { id }
    ... on ErrorResult { errorCode message }
  }
}`

type loginData struct {
	Login outcome `json:"login"`
}

// outcome is a member of a result union: an id where it succeeded, else the error. Such errors come with HTTP 200.
type outcome struct {
	ID        string `json:"id"`
	State     string `json:"state"`
	ErrorCode string `json:"errorCode"`
	Message   string `json:"message"`
	// TransitionError is the reason that FulfillmentStateTransitionError gives beside its message, and HandlerError the
	// one of CreateFulfillmentError.
	TransitionError string `json:"transitionError"`
	HandlerError    string `json:"fulfillmentHandlerError"`
}

const locationsDocument = `query Locations {
  stockLocations(options: {take: 1000, sort: {createdAt: ASC, id: ASC}}) { items { id name } }
}`

type locationsData struct {
	StockLocations struct {
		Items []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"items"`
	} `json:"stockLocations"`
}

const variantFragment = `fragment Stock on ProductVariant {
  id trackInventory outOfStockThreshold useGlobalOutOfStockThreshold
  stockLevels { stockLocationId stockOnHand stockAllocated }
}`

const listingsDocument = `query Listings($options: ProductVariantListOptions!) {
  globalSettings { trackInventory outOfStockThreshold }
  productVariants(options: $options) { items { ...Stock sku name enabled updatedAt product { enabled } } }
}
` + variantFragment

const levelsDocument = `query Levels($options: ProductVariantListOptions!) {
  globalSettings { trackInventory outOfStockThreshold }
  productVariants(options: $options) { items { ...Stock } }
}
` + variantFragment

type variantsData struct {
	GlobalSettings  globalSettings `json:"globalSettings"`
	ProductVariants struct {
		Items []variant `json:"items"`
	} `json:"productVariants"`
}

type globalSettings struct {
	TrackInventory      *bool  `json:"trackInventory"`
	OutOfStockThreshold *int64 `json:"outOfStockThreshold"`
}

// variant is a ProductVariant. Quantities are pointers, so that a missing one is told from 0.
type variant struct {
	ID                           string       `json:"id"`
	SKU                          string       `json:"sku"`
	Name                         string       `json:"name"`
	Enabled                      bool         `json:"enabled"`
	UpdatedAt                    time.Time    `json:"updatedAt"`
	Product                      product      `json:"product"`
	TrackInventory               string       `json:"trackInventory"`
	OutOfStockThreshold          *int64       `json:"outOfStockThreshold"`
	UseGlobalOutOfStockThreshold *bool        `json:"useGlobalOutOfStockThreshold"`
	StockLevels                  []stockLevel `json:"stockLevels"`
}

type product struct {
	Enabled bool `json:"enabled"`
}

type stockLevel struct {
	StockLocationID string `json:"stockLocationId"`
	StockOnHand     *int64 `json:"stockOnHand"`
	StockAllocated  *int64 `json:"stockAllocated"`
}

const writeDocument = `mutation WriteStock($input: [UpdateProductVariantInput!]!) {
  updateProductVariants(input: $input) { ...Stock }
}
` + variantFragment

type writeVariables struct {
	Input []variantInput `json:"input"`
}

type variantInput struct {
	ID             string            `json:"id"`
	TrackInventory string            `json:"trackInventory,omitzero"`
	StockLevels    []stockLevelInput `json:"stockLevels"`
}

type stockLevelInput struct {
	StockLocationID string `json:"stockLocationId"`
	StockOnHand     int64  `json:"stockOnHand"`
}

type writeData struct {
	UpdateProductVariants []*variant `json:"updateProductVariants"`
}

const ordersDocument = `query Orders($options: OrderListOptions!) {
  orders(options: $options) {
    items {
      id code state type orderPlacedAt updatedAt
      customer { id emailAddress }
      lines { id quantity orderPlacedQuantity updatedAt productVariant { id sku } }
      fulfillments { id state method updatedAt lines { orderLineId quantity } }
      history(options: {take: 1000, filter: {type: {eq: "ORDER_CANCELLATION"}}}) { items { data } }
    }
  }
}`

type ordersData struct {
	Orders struct {
		Items []order `json:"items"`
	} `json:"orders"`
}

type order struct {
	ID            string        `json:"id"`
	Code          string        `json:"code"`
	State         string        `json:"state"`
	Type          string        `json:"type"`
	OrderPlacedAt time.Time     `json:"orderPlacedAt"`
	UpdatedAt     time.Time     `json:"updatedAt"`
	Customer      *customer     `json:"customer"`
	Lines         []orderLine   `json:"lines"`
	Fulfillments  []fulfillment `json:"fulfillments"`
	History       struct {
		Items []cancellation `json:"items"`
	} `json:"history"`
}

type customer struct {
	ID           string `json:"id"`
	EmailAddress string `json:"emailAddress"`
}

type orderLine struct {
	ID                  string    `json:"id"`
	Quantity            *int64    `json:"quantity"`
	OrderPlacedQuantity *int64    `json:"orderPlacedQuantity"`
	UpdatedAt           time.Time `json:"updatedAt"`
	ProductVariant      struct {
		ID  string `json:"id"`
		SKU string `json:"sku"`
	} `json:"productVariant"`
}

type fulfillment struct {
	ID        string    `json:"id"`
	State     string    `json:"state"`
	Method    string    `json:"method"`
	UpdatedAt time.Time `json:"updatedAt"`
	Lines     []struct {
		OrderLineID string `json:"orderLineId"`
		Quantity    *int64 `json:"quantity"`
	} `json:"lines"`
}

// cancellation is a history entry of type ORDER_CANCELLATION. Its data is what the server had in hand: ids are the
// database's own, numbers by default (service/helpers/order-modifier/order-modifier.js, cancelOrderByOrderLines).
type cancellation struct {
	Data struct {
		Lines []struct {
			OrderLineID jsontext.Value `json:"orderLineId"`
			Quantity    *int64         `json:"quantity"`
		} `json:"lines"`
	} `json:"data"`
}

const fulfillDocument = `mutation Fulfill($input: FulfillOrderInput!) {
  addFulfillmentToOrder(input: $input) {
    ... on Fulfillment { id state }
    ... on ErrorResult { errorCode message }
    ... on CreateFulfillmentError { fulfillmentHandlerError }
    ... on FulfillmentStateTransitionError { transitionError }
  }
}`

type fulfillVariables struct {
	Input fulfillInput `json:"input"`
}

type fulfillInput struct {
	Lines   []fulfillLine `json:"lines"`
	Handler handlerInput  `json:"handler"`
}

type fulfillLine struct {
	OrderLineID string `json:"orderLineId"`
	Quantity    int64  `json:"quantity"`
}

type handlerInput struct {
	Code      string     `json:"code"`
	Arguments []argument `json:"arguments"`
}

type argument struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type fulfillData struct {
	AddFulfillmentToOrder outcome `json:"addFulfillmentToOrder"`
}

const transitionDocument = `mutation Ship($id: ID!, $state: String!) {
  transitionFulfillmentToState(id: $id, state: $state) {
    ... on Fulfillment { id state }
    ... on ErrorResult { errorCode message }
    ... on FulfillmentStateTransitionError { transitionError }
  }
}`

type transitionData struct {
	TransitionFulfillmentToState outcome `json:"transitionFulfillmentToState"`
}

// listOptions are the options of a list.
type listOptions struct {
	Skip   int               `json:"skip,omitzero"`
	Take   int               `json:"take"`
	Sort   map[string]string `json:"sort,omitempty"`
	Filter map[string]any    `json:"filter,omitempty"`
}

type listVariables struct {
	Options listOptions `json:"options"`
}
