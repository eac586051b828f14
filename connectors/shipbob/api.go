package shipbob

import "github.com/truestock/truestock/stock"

// The wire types of version 2026-01: https://developer.shipbob.com/2026-01/api. Almost every member may be null there.

// page is a list with the address of the page behind.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

type channel struct {
	ID     int64    `json:"id"`
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
}

type center struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

type inventory struct {
	ID      int64  `json:"inventory_id"`
	SKU     string `json:"sku"`
	Name    string `json:"name"`
	Barcode string `json:"barcode"`
	Variant struct {
		Bundle  bool `json:"is_bundle"`
		Digital bool `json:"is_digital"`
	} `json:"variant"`
}

type inventoryLevel struct {
	ID        int64  `json:"inventory_id"`
	SKU       string `json:"sku"`
	Locations []struct {
		ID          int64           `json:"location_id"`
		OnHand      *stock.Quantity `json:"on_hand_quantity"`
		Fulfillable *stock.Quantity `json:"fulfillable_quantity"`
	} `json:"locations"`
}

type newOrder struct {
	ReferenceID    string     `json:"reference_id"`
	OrderNumber    string     `json:"order_number"`
	ShippingMethod string     `json:"shipping_method"`
	Type           string     `json:"type"`
	PurchaseDate   string     `json:"purchase_date,omitempty"`
	Recipient      recipient  `json:"recipient"`
	Products       []newLine  `json:"products"`
	Tags           []orderTag `json:"tags"`
}

type recipient struct {
	Name    string  `json:"name"`
	Email   string  `json:"email,omitempty"`
	Address address `json:"address"`
}

type address struct {
	Address1 string `json:"address1"`
	City     string `json:"city"`
	State    string `json:"state,omitempty"`
	Zip      string `json:"zip_code,omitempty"`
	Country  string `json:"country"`
}

type newLine struct {
	ReferenceID string         `json:"reference_id"`
	Name        string         `json:"name"`
	Quantity    stock.Quantity `json:"quantity"`
	Line        int64          `json:"external_line_id"`
}

type orderTag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type order struct {
	ID          int64      `json:"id"`
	ReferenceID string     `json:"reference_id"`
	Status      string     `json:"status"`
	Products    []product  `json:"products"`
	Shipments   []shipment `json:"shipments"`
	Tags        []orderTag `json:"tags"`
}

type product struct {
	ReferenceID string `json:"reference_id"`
	Line        int64  `json:"external_line_id"`
}

type shipment struct {
	ID       int64  `json:"id"`
	Status   string `json:"status"`
	Location *struct {
		ID int64 `json:"id"`
	} `json:"location"`
	Tracking *struct {
		Carrier string `json:"carrier"`
		Number  string `json:"tracking_number"`
	} `json:"tracking"`
	Products []struct {
		ReferenceID string `json:"reference_id"`
		Inventory   []struct {
			ID        int64           `json:"id"`
			Quantity  *stock.Quantity `json:"quantity"`
			Committed *stock.Quantity `json:"quantity_committed"`
		} `json:"inventory_items"`
	} `json:"products"`
}

// The statuses of an order and of its shipments.
const (
	statusCancelled = "Cancelled"
	statusLabeled   = "LabeledCreated"
	statusCompleted = "Completed"
)

type cancelled struct {
	Status  string `json:"status"`
	Results []struct {
		ShipmentID int64  `json:"shipment_id"`
		Success    bool   `json:"is_success"`
		Reason     string `json:"reason"`
	} `json:"canceled_shipment_results"`
}

// lineItem is one of a shipment, as it is read and written. What is written is the whole list.
type lineItem struct {
	InventoryID int64           `json:"inventory_id"`
	Quantity    *stock.Quantity `json:"quantity"`
	Lot         *lot            `json:"lot,omitempty"`
}

type lot struct {
	Number string `json:"lot_number"`
	Date   string `json:"lot_date"`
}

type lineItems struct {
	Items []writtenItem `json:"items"`
}

type writtenItem struct {
	InventoryID int64          `json:"inventory_id"`
	Quantity    stock.Quantity `json:"quantity"`
	LotNumber   string         `json:"lot_number,omitempty"`
	LotDate     string         `json:"lot_date,omitempty"`
}

type updated struct {
	Success bool `json:"is_success"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error"`
}
