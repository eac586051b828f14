package shopify

import (
	"fmt"
	"time"

	"github.com/truestock/truestock/stock"
)

// The GraphQL documents and their answers. Each costs at most 1000 points as requested, the most that one query may:
// a scalar is free, an object costs 1, a connection 2 and its objects, a mutation 10.
//
// https://shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits

// documents are all of them, by name.
var documents = map[string]string{
	"Account": accountDocument, "Shop": shopDocument, "Listings": listingsDocument, "Levels": levelsDocument, "WriteStock": writeDocument,
	"Activate": activateDocument, "Orders": ordersDocument, "Order": orderDocument, "OrderLines": orderLinesDocument,
	"OrderFulfillments": orderFulfillmentsDocument, "OrderRefunds": orderRefundsDocument, "OrderFulfillmentOrders": orderFulfillmentOrdersDocument,
	"FulfillmentLines": fulfillmentLinesDocument, "RefundLines": refundLinesDocument, "FulfillmentOrderLines": fulfillmentOrderLinesDocument,
	"RunExport": runExportDocument, "ExportState": exportStateDocument, "Export": fmt.Sprintf(exportDocument, "0", gidPrefix+"Location/1"),
	"Fulfill": fulfillDocument, "Subscriptions": subscriptionsDocument, "Subscribe": subscribeDocument,
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
}

type pageInfo struct {
	HasNextPage bool   `json:"hasNextPage"`
	EndCursor   string `json:"endCursor"`
}

// list is a connection in the sense of Relay.
type list[T any] struct {
	Nodes    []T      `json:"nodes"`
	PageInfo pageInfo `json:"pageInfo"`
}

type node struct {
	ID string `json:"id"`
}

const accountDocument = `query Account { shop { id } }`

type accountData struct {
	Shop node `json:"shop"`
}

const shopDocument = `query Shop {
  shop { id myshopifyDomain }
  locations(first: 250) { nodes { id name isActive } }
}`

type shopData struct {
	Shop struct {
		ID              string `json:"id"`
		MyshopifyDomain string `json:"myshopifyDomain"`
	} `json:"shop"`
	Locations struct {
		Nodes []locationNode `json:"nodes"`
	} `json:"locations"`
}

type locationNode struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	IsActive bool   `json:"isActive"`
}

const levelFields = `inventoryLevel(locationId: $location) ` + levelSelection

const levelSelection = `{ updatedAt quantities(names: ["available"]) { name quantity } }`

const listingsDocument = `query Listings($first: Int!, $after: String, $query: String!, $location: ID!) {
  inventoryItems(first: $first, after: $after, query: $query) {
    nodes {
      id sku tracked updatedAt
      variants(first: 1) { nodes { inventoryPolicy displayName barcode product { status } } }
      ` + levelFields + `
    }
    pageInfo { hasNextPage endCursor }
  }
}`

type listingsVariables struct {
	First    int    `json:"first"`
	After    string `json:"after,omitempty"`
	Query    string `json:"query"`
	Location string `json:"location"`
}

type listingsData struct {
	InventoryItems list[*item] `json:"inventoryItems"`
}

// exportDocument is what is exported in bulk, with the id that the items are above and the location. It has no variables.
const exportDocument = `query Export {
  inventoryItems(query: "id:>%s") { edges { node {
    id sku tracked updatedAt
    variants { edges { node { id inventoryPolicy displayName barcode product { status } } } }
    inventoryLevel(locationId: "%s") ` + levelSelection + `
  } } }
}`

const runExportDocument = `mutation RunExport($query: String!) {
  bulkOperationRunQuery(query: $query) { bulkOperation { id } userErrors { field message code } }
}`

type runExportVariables struct {
	Query string `json:"query"`
}

type runExportData struct {
	BulkOperationRunQuery *struct {
		BulkOperation *node       `json:"bulkOperation"`
		UserErrors    []userError `json:"userErrors"`
	} `json:"bulkOperationRunQuery"`
}

const exportStateDocument = `query ExportState($id: ID!) {
  node(id: $id) { ... on BulkOperation { id status errorCode url fileSize objectCount rootObjectCount } }
}`

type exportStateVariables struct {
	ID string `json:"id"`
}

type exportStateData struct {
	Node *exportState `json:"node"`
}

// exportState is how an export stands. Its counts are numbers in texts (UnsignedInt64).
type exportState struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	ErrorCode string `json:"errorCode"`
	URL       string `json:"url"`
	Size      string `json:"fileSize"`
	Objects   string `json:"objectCount"`
	Roots     string `json:"rootObjectCount"`
}

const levelsDocument = `query Levels($ids: [ID!]!, $location: ID!) {
  nodes(ids: $ids) { ... on InventoryItem { id tracked variants(first: 1) { nodes { inventoryPolicy } } ` + levelFields + ` } }
}`

type levelsVariables struct {
	IDs      []string `json:"ids"`
	Location string   `json:"location"`
}

type levelsData struct {
	Nodes []*item `json:"nodes"`
}

// item is an InventoryItem. What must not be missing is a pointer, so that it is told from 0 and false.
type item struct {
	ID             string     `json:"id"`
	SKU            string     `json:"sku"`
	Tracked        *bool      `json:"tracked"`
	UpdatedAt      time.Time  `json:"updatedAt"`
	InventoryLevel *itemLevel `json:"inventoryLevel"`
	Variants       *variants  `json:"variants"`
}

type variants struct {
	Nodes []variant `json:"nodes"`
}

func (i *item) addVariant(v variant) {
	if i.Variants == nil {
		i.Variants = &variants{}
	}
	i.Variants.Nodes = append(i.Variants.Nodes, v)
}

type variant struct {
	InventoryPolicy string `json:"inventoryPolicy"`
	DisplayName     string `json:"displayName"`
	Barcode         string `json:"barcode"`
	Product         struct {
		Status string `json:"status"`
	} `json:"product"`
}

type itemLevel struct {
	UpdatedAt  time.Time `json:"updatedAt"`
	Quantities []struct {
		Name     string          `json:"name"`
		Quantity *stock.Quantity `json:"quantity"`
	} `json:"quantities"`
}

const writeDocument = `mutation WriteStock($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { changes(quantityNames: ["available"]) { name quantityAfterChange item { id } location { id } } }
    userErrors { field message code }
  }
}`

type writeVariables struct {
	Input writeInput `json:"input"`
	Key   string     `json:"key"`
}

type writeInput struct {
	Name                 string          `json:"name"`
	Reason               string          `json:"reason"`
	ReferenceDocumentURI string          `json:"referenceDocumentUri"`
	Quantities           []quantityInput `json:"quantities"`
}

// quantityInput is one line. ChangeFromQuantity is sent also where it is null: it must be said that nothing is compared.
type quantityInput struct {
	InventoryItemID    string          `json:"inventoryItemId"`
	LocationID         string          `json:"locationId"`
	Quantity           stock.Quantity  `json:"quantity"`
	ChangeFromQuantity *stock.Quantity `json:"changeFromQuantity"`
}

type writeData struct {
	InventorySetQuantities *struct {
		InventoryAdjustmentGroup *struct {
			Changes []change `json:"changes"`
		} `json:"inventoryAdjustmentGroup"`
		UserErrors []userError `json:"userErrors"`
	} `json:"inventorySetQuantities"`
}

type change struct {
	Name                string          `json:"name"`
	QuantityAfterChange *stock.Quantity `json:"quantityAfterChange"`
	Item                *node           `json:"item"`
	Location            *node           `json:"location"`
}

// userError says why a mutation was refused, or a line of it. Many mutations give no code.
type userError struct {
	Field   []string `json:"field"`
	Message string   `json:"message"`
	Code    string   `json:"code"`
}

const activateDocument = `mutation Activate($item: ID!, $location: ID!, $key: String!) {
  inventoryActivate(inventoryItemId: $item, locationId: $location) @idempotent(key: $key) {
    inventoryLevel { id }
    userErrors { field message }
  }
}`

type activateVariables struct {
	Item     string `json:"item"`
	Location string `json:"location"`
	Key      string `json:"key"`
}

type activateData struct {
	InventoryActivate *struct {
		InventoryLevel *node       `json:"inventoryLevel"`
		UserErrors     []userError `json:"userErrors"`
	} `json:"inventoryActivate"`
}

// The parts of an order. orderFragment has what all but a few orders need; of the others, the rest is fetched list by list.
const (
	fewLines = 10 // in each list of lines
	fewParts = 2  // fulfillments, refunds and fulfillment orders

	lineFields             = `id quantity currentQuantity sku variant { inventoryItem { id } }`
	fulfillmentFields      = `id status location { id } trackingInfo(first: 1) { company number }`
	fulfillmentLineFields  = `quantity lineItem { id }`
	refundLineFields       = `quantity restockType restocked lineItem { id }`
	fulfillmentOrderFields = `id status assignedLocation { location { id } }`
	fulfillableFields      = `id totalQuantity remainingQuantity inventoryItemId lineItem { id }`
	more                   = ` pageInfo { hasNextPage endCursor }`
)

const orderFragment = `fragment Whole on Order {
  id createdAt updatedAt cancelledAt closed customer @include(if: $buyers) { id defaultEmailAddress { emailAddress } }
  lineItems(first: 10) { nodes { ` + lineFields + ` }` + more + ` }
  fulfillments(first: 2) { ` + fulfillmentFields + ` fulfillmentLineItems(first: 10) { nodes { ` + fulfillmentLineFields + ` }` + more + ` } }
  refunds(first: 2) { id refundLineItems(first: 10) { nodes { ` + refundLineFields + ` }` + more + ` } }
  fulfillmentOrders(first: 2) { nodes { ` + fulfillmentOrderFields + ` lineItems(first: 10) { nodes { ` + fulfillableFields + ` }` + more + ` } }` + more + ` }
}`

const ordersDocument = `query Orders($query: String!, $after: String, $buyers: Boolean!) {
  orders(first: 4, after: $after, query: $query, sortKey: UPDATED_AT) { nodes { ...Whole } pageInfo { hasNextPage endCursor } }
}
` + orderFragment

type ordersVariables struct {
	Query  string `json:"query"`
	After  string `json:"after,omitempty"`
	Buyers bool   `json:"buyers"`
}

type ordersData struct {
	Orders list[*order] `json:"orders"`
}

const orderDocument = `query Order($id: ID!, $buyers: Boolean!) { order(id: $id) { ...Whole } }
` + orderFragment

type orderVariables struct {
	ID     string `json:"id"`
	Buyers bool   `json:"buyers"`
}

type idVariables struct {
	ID    string `json:"id"`
	After string `json:"after,omitempty"`
}

type orderData struct {
	Order *order `json:"order"`
}

type order struct {
	ID                string                  `json:"id"`
	CreatedAt         time.Time               `json:"createdAt"`
	UpdatedAt         time.Time               `json:"updatedAt"`
	CancelledAt       *time.Time              `json:"cancelledAt"`
	Closed            bool                    `json:"closed"`
	Customer          *customer               `json:"customer"`
	LineItems         list[orderLine]         `json:"lineItems"`
	Fulfillments      []*fulfillment          `json:"fulfillments"`
	Refunds           []*refund               `json:"refunds"`
	FulfillmentOrders list[*fulfillmentOrder] `json:"fulfillmentOrders"`
}

type customer struct {
	ID                  string `json:"id"`
	DefaultEmailAddress *struct {
		EmailAddress string `json:"emailAddress"`
	} `json:"defaultEmailAddress"`
}

type orderLine struct {
	ID              string          `json:"id"`
	Quantity        *stock.Quantity `json:"quantity"`
	CurrentQuantity *stock.Quantity `json:"currentQuantity"`
	SKU             string          `json:"sku"`
	Variant         *struct {
		InventoryItem node `json:"inventoryItem"`
	} `json:"variant"`
}

type fulfillment struct {
	ID           string `json:"id"`
	Status       string `json:"status"`
	Location     *node  `json:"location"`
	TrackingInfo []struct {
		Company string `json:"company"`
		Number  string `json:"number"`
	} `json:"trackingInfo"`
	FulfillmentLineItems list[fulfillmentLine] `json:"fulfillmentLineItems"`
}

type fulfillmentLine struct {
	Quantity *stock.Quantity `json:"quantity"`
	LineItem node            `json:"lineItem"`
}

type refund struct {
	ID              string           `json:"id"`
	RefundLineItems list[refundLine] `json:"refundLineItems"`
}

type refundLine struct {
	Quantity    *stock.Quantity `json:"quantity"`
	RestockType string          `json:"restockType"`
	Restocked   bool            `json:"restocked"`
	LineItem    node            `json:"lineItem"`
}

type fulfillmentOrder struct {
	ID               string `json:"id"`
	Status           string `json:"status"`
	AssignedLocation struct {
		Location *node `json:"location"`
	} `json:"assignedLocation"`
	LineItems list[fulfillable] `json:"lineItems"`
}

type fulfillable struct {
	ID                string          `json:"id"`
	TotalQuantity     *stock.Quantity `json:"totalQuantity"`
	RemainingQuantity *stock.Quantity `json:"remainingQuantity"`
	InventoryItemID   string          `json:"inventoryItemId"`
	LineItem          node            `json:"lineItem"`
}

const (
	orderLinesDocument = `query OrderLines($id: ID!, $after: String) {
  order(id: $id) { lineItems(first: 100, after: $after) { nodes { ` + lineFields + ` }` + more + ` } }
}`
	orderFulfillmentsDocument = `query OrderFulfillments($id: ID!) {
  order(id: $id) { fulfillments(first: 200) { ` + fulfillmentFields + ` } }
}`
	orderRefundsDocument = `query OrderRefunds($id: ID!) {
  order(id: $id) { refunds(first: 200) { id } }
}`
	orderFulfillmentOrdersDocument = `query OrderFulfillmentOrders($id: ID!, $after: String) {
  order(id: $id) { fulfillmentOrders(first: 100, after: $after) { nodes { ` + fulfillmentOrderFields + ` }` + more + ` } }
}`
	fulfillmentLinesDocument = `query FulfillmentLines($id: ID!, $after: String) {
  node(id: $id) { ... on Fulfillment { fulfillmentLineItems(first: 100, after: $after) { nodes { ` + fulfillmentLineFields + ` }` + more + ` } } }
}`
	refundLinesDocument = `query RefundLines($id: ID!, $after: String) {
  node(id: $id) { ... on Refund { refundLineItems(first: 100, after: $after) { nodes { ` + refundLineFields + ` }` + more + ` } } }
}`
	fulfillmentOrderLinesDocument = `query FulfillmentOrderLines($id: ID!, $after: String) {
  node(id: $id) { ... on FulfillmentOrder { lineItems(first: 100, after: $after) { nodes { ` + fulfillableFields + ` }` + more + ` } } }
}`
	// mostParts is the first of the lists of an order that have no further pages.
	mostParts = 200
)

type nodeData[T any] struct {
	Node *T `json:"node"`
}

const fulfillDocument = `mutation Fulfill($fulfillment: FulfillmentInput!) {
  fulfillmentCreate(fulfillment: $fulfillment) { fulfillment { id } userErrors { field message } }
}`

type fulfillVariables struct {
	Fulfillment fulfillInput `json:"fulfillment"`
}

type fulfillInput struct {
	LineItemsByFulfillmentOrder []fulfillGroup `json:"lineItemsByFulfillmentOrder"`
	TrackingInfo                trackingInput  `json:"trackingInfo"`
	NotifyCustomer              bool           `json:"notifyCustomer"`
}

type fulfillGroup struct {
	FulfillmentOrderID        string        `json:"fulfillmentOrderId"`
	FulfillmentOrderLineItems []fulfillLine `json:"fulfillmentOrderLineItems"`
}

type fulfillLine struct {
	ID       string         `json:"id"`
	Quantity stock.Quantity `json:"quantity"`
}

type trackingInput struct {
	Company string `json:"company,omitempty"`
	Number  string `json:"number,omitempty"`
}

type fulfillData struct {
	FulfillmentCreate *struct {
		Fulfillment *node       `json:"fulfillment"`
		UserErrors  []userError `json:"userErrors"`
	} `json:"fulfillmentCreate"`
}

const subscriptionsDocument = `query Subscriptions($uri: String!, $after: String) {
  webhookSubscriptions(first: 100, after: $after, uri: $uri) { nodes { topic uri format } pageInfo { hasNextPage endCursor } }
}`

type subscriptionsVariables struct {
	URI   string `json:"uri"`
	After string `json:"after,omitempty"`
}

type subscriptionsData struct {
	WebhookSubscriptions list[subscription] `json:"webhookSubscriptions"`
}

type subscription struct {
	Topic  string `json:"topic"`
	URI    string `json:"uri"`
	Format string `json:"format"`
}

const subscribeDocument = `mutation Subscribe($topic: WebhookSubscriptionTopic!, $subscription: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $subscription) { webhookSubscription { id } userErrors { field message } }
}`

type subscribeVariables struct {
	Topic        string            `json:"topic"`
	Subscription subscriptionInput `json:"subscription"`
}

type subscriptionInput struct {
	URI           string   `json:"uri"`
	Format        string   `json:"format"`
	IncludeFields []string `json:"includeFields"`
}

type subscribeData struct {
	WebhookSubscriptionCreate *struct {
		WebhookSubscription *node       `json:"webhookSubscription"`
		UserErrors          []userError `json:"userErrors"`
	} `json:"webhookSubscriptionCreate"`
}
