package amazon

import (
	"time"

	"github.com/truestock/truestock/stock"
)

// The wire types have what the connector reads; what Amazon sends besides is ignored. Quantities are pointers: one that is
// absent is no 0.

// item is a listing of Listings Items 2021-08-01 (Item).
type item struct {
	SKU          string         `json:"sku"`
	Summaries    []summary      `json:"summaries"`
	Availability []availability `json:"fulfillmentAvailability"`
}

type summary struct {
	MarketplaceID string    `json:"marketplaceId"`
	ItemName      string    `json:"itemName"`
	Status        []string  `json:"status"`
	Created       time.Time `json:"createdDate"`
	Updated       time.Time `json:"lastUpdatedDate"`
}

type availability struct {
	Channel  string          `json:"fulfillmentChannelCode"`
	Quantity *stock.Quantity `json:"quantity"`
}

type searchedItems struct {
	Total      int    `json:"numberOfResults"`
	Items      []item `json:"items"`
	Pagination struct {
		NextToken string `json:"nextToken"`
	} `json:"pagination"`
}

// patchRequest is a ListingsItemPatchRequest, patched its answer (ListingsItemSubmissionResponse).
type patchRequest struct {
	ProductType string  `json:"productType"`
	Patches     []patch `json:"patches"`
}

type patch struct {
	Op    string     `json:"op"`
	Path  string     `json:"path"`
	Value []quantity `json:"value"`
}

type quantity struct {
	Channel  string         `json:"fulfillment_channel_code"`
	Quantity stock.Quantity `json:"quantity"`
}

type patched struct {
	Status string  `json:"status"`
	Issues []issue `json:"issues"`
}

type issue struct {
	MessageID int    `json:"messageId"`
	SKU       string `json:"sku"`
	Code      string `json:"code"`
	Severity  string `json:"severity"`
	Message   string `json:"message"`
}

// feedDocument is the content of a JSON_LISTINGS_FEED (schemas/feeds/listings-feed-schema-v2.json), feedReport its
// processing report (listings-feed-processing-report-schema-v2.json).
type feedDocument struct {
	Header   feedHeader    `json:"header"`
	Messages []feedMessage `json:"messages"`
}

type feedHeader struct {
	SellerID string `json:"sellerId"`
	Version  string `json:"version"`
}

type feedMessage struct {
	MessageID     int     `json:"messageId"`
	SKU           string  `json:"sku"`
	OperationType string  `json:"operationType"`
	ProductType   string  `json:"productType"`
	Patches       []patch `json:"patches"`
}

type feedReport struct {
	Issues []issue `json:"issues"`
}

// The types of Feeds 2021-06-30.
type (
	createDocumentRequest struct {
		ContentType string `json:"contentType"`
	}
	document struct {
		ID          string `json:"feedDocumentId"`
		URL         string `json:"url"`
		Compression string `json:"compressionAlgorithm"`
	}
	createFeedRequest struct {
		FeedType        string   `json:"feedType"`
		MarketplaceIDs  []string `json:"marketplaceIds"`
		InputDocumentID string   `json:"inputFeedDocumentId"`
	}
	feed struct {
		ID               string `json:"feedId"`
		Status           string `json:"processingStatus"`
		ResultDocumentID string `json:"resultFeedDocumentId"`
	}
	feeds struct {
		Feeds []feed `json:"feeds"`
	}
)

// order is one of Orders 2026-01-01 (Order).
type order struct {
	ID           string       `json:"orderId"`
	Created      time.Time    `json:"createdTime"`
	Updated      time.Time    `json:"lastUpdatedTime"`
	SalesChannel salesChannel `json:"salesChannel"`
	Fulfillment  *fulfillment `json:"fulfillment,omitempty"`
	Items        []orderItem  `json:"orderItems"`
	Packages     []orderPack  `json:"packages,omitempty"`
}

type salesChannel struct {
	MarketplaceID string `json:"marketplaceId,omitempty"`
}

type fulfillment struct {
	Status      string `json:"fulfillmentStatus"`
	FulfilledBy string `json:"fulfilledBy,omitempty"`
}

type orderItem struct {
	ID          string           `json:"orderItemId"`
	Ordered     *stock.Quantity  `json:"quantityOrdered"`
	Product     product          `json:"product"`
	Fulfillment *itemFulfillment `json:"fulfillment,omitempty"`
}

type product struct {
	ASIN string `json:"asin,omitempty"`
	SKU  string `json:"sellerSku,omitempty"`
}

type itemFulfillment struct {
	Fulfilled   *stock.Quantity `json:"quantityFulfilled,omitempty"`
	Unfulfilled *stock.Quantity `json:"quantityUnfulfilled,omitempty"`
}

type orderPack struct {
	Reference string         `json:"packageReferenceId"`
	Items     []shippedUnits `json:"packageItems"`
}

type shippedUnits struct {
	ItemID   string         `json:"orderItemId"`
	Quantity stock.Quantity `json:"quantity"`
}

type searchedOrders struct {
	Orders     []order `json:"orders"`
	Pagination struct {
		NextToken string `json:"nextToken"`
	} `json:"pagination"`
	UpdatedBefore time.Time `json:"lastUpdatedBefore"`
}

type foundOrder struct {
	Order *order `json:"order"`
}

// confirmRequest is a ConfirmShipmentRequest of Orders v0.
type confirmRequest struct {
	MarketplaceID string        `json:"marketplaceId"`
	Package       packageDetail `json:"packageDetail"`
}

type packageDetail struct {
	Reference   string         `json:"packageReferenceId"`
	CarrierCode string         `json:"carrierCode"`
	CarrierName string         `json:"carrierName,omitempty"`
	Tracking    string         `json:"trackingNumber"`
	ShipDate    string         `json:"shipDate"`
	Items       []shippedUnits `json:"orderItems"`
}

// The types of Sellers v1 and Notifications v1, which wrap what they answer.
type (
	wrapped[T any] struct {
		Payload T `json:"payload"`
	}
	participation struct {
		Marketplace struct {
			ID string `json:"id"`
		} `json:"marketplace"`
		Participation struct {
			Participates bool `json:"isParticipating"`
		} `json:"participation"`
	}
	destination struct {
		ID       string   `json:"destinationId"`
		Resource resource `json:"resource"`
	}
	resource struct {
		SQS *sqsResource `json:"sqs,omitempty"`
	}
	sqsResource struct {
		ARN string `json:"arn"`
	}
	createDestinationRequest struct {
		Name     string   `json:"name"`
		Resource resource `json:"resourceSpecification"`
	}
	subscription struct {
		ID            string `json:"subscriptionId"`
		DestinationID string `json:"destinationId"`
	}
	subscribeRequest struct {
		PayloadVersion string               `json:"payloadVersion"`
		DestinationID  string               `json:"destinationId"`
		Directive      *processingDirective `json:"processingDirective,omitempty"`
	}
	processingDirective struct {
		Filter eventFilter `json:"eventFilter"`
	}
	eventFilter struct {
		Type        string   `json:"eventFilterType"`
		ChangeTypes []string `json:"orderChangeTypes"`
	}
)

// notification is what stands in the queue (schemas/notifications).
type notification struct {
	Type     string `json:"NotificationType"`
	Metadata struct {
		ID string `json:"NotificationId"`
	} `json:"NotificationMetadata"`
	Payload struct {
		Order *struct {
			SellerID string `json:"SellerId"`
			OrderID  string `json:"AmazonOrderId"`
		} `json:"OrderChangeNotification"`
		SellerID string          `json:"SellerId"`
		Channel  string          `json:"FulfillmentChannelCode"`
		SKU      string          `json:"Sku"`
		Quantity *stock.Quantity `json:"Quantity"`
	} `json:"Payload"`
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
}
