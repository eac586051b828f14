package medusa

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The bodies of the admin API (medusa/api/admin). What an answer contains is asked for by name in the query parameter
// fields: default fields change from version to version.

type loginBody struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type locationsAnswer struct {
	StockLocations []named `json:"stock_locations"`
}

type channelsAnswer struct {
	SalesChannels []named `json:"sales_channels"`
}

// levelFields are what a variant's quantity follows from, listingFields also how people know it.
const (
	levelFields = "id,product_id,sku,manage_inventory,allow_backorder," +
		"inventory_items.required_quantity,inventory_items.inventory.id,inventory_items.inventory.variants.id," +
		"inventory_items.inventory.location_levels.location_id,inventory_items.inventory.location_levels.stocked_quantity," +
		"inventory_items.inventory.location_levels.reserved_quantity"
	listingFields = levelFields + ",title,ean,upc,barcode,updated_at,product.title,product.status,product.sales_channels.id"
)

type variantsAnswer struct {
	Variants []variant `json:"variants"`
}

// variant is a product variant. Quantities and switches are pointers, so that a missing one is told from 0 and false.
type variant struct {
	ID              string          `json:"id"`
	ProductID       string          `json:"product_id"`
	SKU             string          `json:"sku"`
	Title           string          `json:"title"`
	EAN             string          `json:"ean"`
	UPC             string          `json:"upc"`
	Barcode         string          `json:"barcode"`
	UpdatedAt       time.Time       `json:"updated_at"`
	ManageInventory *bool           `json:"manage_inventory"`
	AllowBackorder  *bool           `json:"allow_backorder"`
	Product         *product        `json:"product"`
	InventoryItems  []inventoryLink `json:"inventory_items"`
}

type product struct {
	Title         string  `json:"title"`
	Status        string  `json:"status"`
	SalesChannels []named `json:"sales_channels"`
}

// inventoryLink is one of the inventory items that a variant consists of.
type inventoryLink struct {
	RequiredQuantity *atLeast       `json:"required_quantity"`
	Inventory        *inventoryItem `json:"inventory"`
}

type inventoryItem struct {
	ID             string          `json:"id"`
	Variants       []named         `json:"variants"`
	LocationLevels []locationLevel `json:"location_levels"`
}

// locationLevel is rounded to the side on which less is for sale: Medusa takes parts of units.
type locationLevel struct {
	LocationID string   `json:"location_id"`
	Stocked    *atMost  `json:"stocked_quantity"`
	Reserved   *atLeast `json:"reserved_quantity"`
}

// levelInput is one level of the batch route (inventory-items/location-levels/batch).
type levelInput struct {
	InventoryItemID string `json:"inventory_item_id"`
	LocationID      string `json:"location_id"`
	StockedQuantity int64  `json:"stocked_quantity"`
}

type levelsBody struct {
	Create []levelInput `json:"create,omitempty"`
	Update []levelInput `json:"update,omitempty"`
}

type idAnswer struct {
	ID string `json:"id"`
}

type levelsAnswer struct {
	Created []idAnswer `json:"created"`
	Updated []idAnswer `json:"updated"`
}

type itemsAnswer struct {
	InventoryItems []idAnswer `json:"inventory_items"`
}

type linkBody struct {
	InventoryItemID  string `json:"inventory_item_id"`
	RequiredQuantity int64  `json:"required_quantity"`
}

type productAnswer struct {
	Product *idAnswer `json:"product"`
}

// variantBody switches how a variant is sold.
type variantBody struct {
	ManageInventory *bool `json:"manage_inventory,omitempty"`
	AllowBackorder  bool  `json:"allow_backorder"`
}

// orderFields name relations with a star: single fields of items come back as null.
const orderFields = "id,status,version,email,customer_id,created_at,updated_at,*items,*items.detail," +
	"fulfillments.id,fulfillments.metadata,fulfillments.shipped_at,fulfillments.canceled_at"

type ordersAnswer struct {
	Orders []order `json:"orders"`
}

type orderAnswer struct {
	Order *order `json:"order"`
}

type order struct {
	ID           string        `json:"id"`
	Status       string        `json:"status"`
	Payment      string        `json:"payment_status"`
	Version      *int64        `json:"version"`
	Email        string        `json:"email"`
	CustomerID   string        `json:"customer_id"`
	CreatedAt    time.Time     `json:"created_at"`
	UpdatedAt    time.Time     `json:"updated_at"`
	Items        []orderItem   `json:"items"`
	Fulfillments []fulfillment `json:"fulfillments"`
}

type orderItem struct {
	ID         string      `json:"id"`
	VariantID  string      `json:"variant_id"`
	VariantSKU string      `json:"variant_sku"`
	Detail     *itemDetail `json:"detail"`
}

// itemDetail has the running totals of a line (order/models/order-item.js). ReturnReceived came back and was put into
// stock again; what came back damaged is return_dismissed_quantity.
type itemDetail struct {
	Quantity       *atLeast `json:"quantity"`
	Shipped        *atMost  `json:"shipped_quantity"`
	Delivered      *atMost  `json:"delivered_quantity"`
	ReturnReceived *atMost  `json:"return_received_quantity"`
}

type fulfillment struct {
	ID         string                    `json:"id"`
	ShippedAt  *time.Time                `json:"shipped_at"`
	CanceledAt *time.Time                `json:"canceled_at"`
	Metadata   map[string]jsontext.Value `json:"metadata"`
}

type fulfillBody struct {
	Items      []lineQuantity    `json:"items"`
	LocationID string            `json:"location_id"`
	Metadata   map[string]string `json:"metadata"`
}

type shipBody struct {
	Items  []lineQuantity `json:"items"`
	Labels []label        `json:"labels,omitempty"`
}

type lineQuantity struct {
	ID       string `json:"id"`
	Quantity int64  `json:"quantity"`
}

// label needs all three; the addresses may be empty.
type label struct {
	TrackingNumber string `json:"tracking_number"`
	TrackingURL    string `json:"tracking_url"`
	LabelURL       string `json:"label_url"`
}

// atMost and atLeast are numbers of units. Medusa counts in decimal numbers of any length; what is not whole is rounded
// down and up, and what JSON cannot carry exactly is refused.
type (
	atMost  int64
	atLeast int64
)

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (n *atMost) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	f, err := readNumber(d)
	*n = atMost(math.Floor(f))
	return err
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (n *atLeast) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	f, err := readNumber(d)
	*n = atLeast(math.Ceil(f))
	return err
}

func readNumber(d *jsontext.Decoder) (float64, error) {
	v, err := d.ReadValue()
	if err != nil {
		return 0, err
	}
	if v.Kind() != '0' {
		return 0, fmt.Errorf("%s is not a number of units", v)
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.Abs(f) > 1<<53 {
		return 0, fmt.Errorf("%.40s is more units than can be counted", v)
	}
	return f, nil
}
