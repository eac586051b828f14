package woocommerce

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/stock"
)

// The answers of the REST API, as far as they are needed. The fields of lists are asked for by name, with the parameter
// _fields of WordPress.

const (
	productFields   = "id,parent_id,type,name,status,sku,global_unique_id,date_modified_gmt,manage_stock,stock_quantity,stock_status"
	variationFields = "id,status,sku,global_unique_id,date_modified_gmt,manage_stock,stock_quantity,stock_status,attributes"
	orderFields     = "id,status,date_created_gmt,date_modified_gmt,date_completed_gmt,date_paid_gmt,customer_id,billing,line_items,refunds,meta_data"
	refundFields    = "id,date_created_gmt,line_items"
)

// product is a product, or a variation, which has no type and no parent_id in the list of its product.
type product struct {
	ID            int64       `json:"id"`
	ParentID      int64       `json:"parent_id"`
	Type          string      `json:"type"`
	Name          string      `json:"name"`
	Status        string      `json:"status"`
	SKU           string      `json:"sku"`
	GTIN          string      `json:"global_unique_id"`
	ModifiedAt    instant     `json:"date_modified_gmt"`
	ManageStock   manages     `json:"manage_stock"`
	StockQuantity amount      `json:"stock_quantity"`
	StockStatus   string      `json:"stock_status"`
	Attributes    []attribute `json:"attributes"`
}

type attribute struct {
	Option string `json:"option"`
}

// manages is who manages the stock of a product: the product, nobody, or for a variation its product, which is told as
// "parent" (class-wc-product-variation.php, get_manage_stock).
type manages string

// The values of manages.
const (
	managedNot      manages = "false"
	managedItself   manages = "true"
	managedByParent manages = "parent"
)

// UnmarshalJSON takes a boolean or "parent".
func (m *manages) UnmarshalJSON(text []byte) error {
	switch v := manages(strings.Trim(string(text), `"`)); v {
	case managedNot, managedItself, managedByParent:
		*m = v
		return nil
	default:
		return fmt.Errorf("manage_stock %.40q is neither a boolean nor \"parent\"", text)
	}
}

// amount is a quantity as it is told. Numbers only: a fraction is kept, to be refused with the name of what it is of.
type amount string

// UnmarshalJSON takes a number, or null for none.
func (a *amount) UnmarshalJSON(text []byte) error {
	switch jsontext.Value(text).Kind() {
	case 'n':
		*a = ""
		return nil
	case '0':
		*a = amount(text)
		return nil
	default:
		return fmt.Errorf("%.40s is not a number", text)
	}
}

var errNoQuantity = errors.New("no quantity is told")

// whole is the quantity, which must be there, whole and within bounds.
func (a amount) whole() (stock.Quantity, error) {
	if a == "" {
		return 0, errNoQuantity
	}
	n, err := strconv.ParseInt(string(a), 10, 64)
	if err != nil {
		f, floatErr := strconv.ParseFloat(string(a), 64) // PHP may write 5 as 5.0
		switch {
		case floatErr != nil || math.Abs(f) > float64(stock.MaxQuantity):
			return 0, fmt.Errorf("the quantity %.40s is not one that can be counted", string(a))
		case f != math.Trunc(f):
			return 0, fmt.Errorf("the quantity %.40s is not whole", string(a))
		}
		n = int64(f)
	}
	if n > int64(stock.MaxQuantity) || n < -int64(stock.MaxQuantity) {
		return 0, fmt.Errorf("the quantity %.40s is not one that can be counted", string(a))
	}
	return stock.Quantity(n), nil
}

// instant is a date_…_gmt: UTC to the second, without a zone; zero where it is null.
type instant struct{ time.Time }

const instantLayout = "2006-01-02T15:04:05"

// UnmarshalJSON takes the date-time of the REST API, or null.
func (i *instant) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*i = instant{}
		return nil
	}
	t, err := time.Parse(`"`+instantLayout+`"`, string(text))
	if err != nil {
		return fmt.Errorf("%.40s is not a date-time in GMT", text)
	}
	*i = instant{t.UTC()}
	return nil
}

// order is an order. Its lines are told with every quantity as it stands; what was refunded is told by the refunds.
type order struct {
	ID          int64   `json:"id"`
	Status      string  `json:"status"`
	CreatedAt   instant `json:"date_created_gmt"`
	ModifiedAt  instant `json:"date_modified_gmt"`
	CompletedAt instant `json:"date_completed_gmt"`
	PaidAt      instant `json:"date_paid_gmt"`
	CustomerID  int64   `json:"customer_id"`
	Billing     struct {
		Email string `json:"email"`
	} `json:"billing"`
	Lines   []orderLine `json:"line_items"`
	Refunds []struct {
		ID int64 `json:"id"`
	} `json:"refunds"`
	Meta metas `json:"meta_data"`
}

type orderLine struct {
	ID          int64  `json:"id"`
	ProductID   int64  `json:"product_id"`
	VariationID int64  `json:"variation_id"`
	Quantity    amount `json:"quantity"`
	SKU         string `json:"sku"`
	Meta        metas  `json:"meta_data"`
}

// refund is a part of an order that was paid back; its quantities are below zero. The line that it is of stands in the
// meta data of its own line.
type refund struct {
	ID        int64       `json:"id"`
	CreatedAt instant     `json:"date_created_gmt"`
	Lines     []orderLine `json:"line_items"`
}

// The keys of meta data that are read or written.
const (
	metaReduced  = "_reduced_stock"          // of a line: how many units of it are off the stock
	metaRestock  = "_restock_refunded_items" // of a line: how many units refunds have given back to the stock
	metaRefunded = "_refunded_item_id"       // of a refund's line: the line that it is of
	metaShipment = "_truestock_shipment_"    // of an order, with the mark of a shipment behind it: what it contained
)

type meta struct {
	Key   string         `json:"key"`
	Value jsontext.Value `json:"value"`
}

// metas are meta data; those of plug-ins among them have values of any kind.
type metas []meta

// text is the value of a key as text, empty where there is none or it is neither text nor number.
func (m metas) text(key string) string {
	for _, entry := range m {
		if entry.Key == key {
			return entry.text()
		}
	}
	return ""
}

func (m meta) text() string {
	switch m.Value.Kind() {
	case '0':
		return string(m.Value)
	case '"':
		text, err := jsontext.AppendUnquote(nil, m.Value)
		if err != nil {
			return ""
		}
		return string(text)
	default:
		return ""
	}
}

// count is the value of a key as a whole number above zero, else 0.
func (m metas) count(key string) stock.Quantity {
	n, err := amount(m.text(key)).whole()
	if err != nil {
		return 0
	}
	return max(0, n)
}

// newMeta is an entry to write.
type newMeta struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// stockUpdate sets the stock of one product or variation. Both fields are needed: without manage_stock the shop drops the
// quantity.
type stockUpdate struct {
	ID            int64 `json:"id"`
	ManageStock   bool  `json:"manage_stock"`
	StockQuantity int64 `json:"stock_quantity"`
}

type batchRequest struct {
	Update []stockUpdate `json:"update"`
}

// batchData is the answer to a batch: one row per item in the order of the request, each the item or its error, all of it
// with HTTP 200 (rest-api/Controllers/Version3/class-wc-rest-controller.php, batch_items). A code in their place is an error of
// the whole, which something between us and the shop told with 200.
type batchData struct {
	itemError
	Update []batchRow `json:"update"`
}

type batchRow struct {
	product
	Error *itemError `json:"error"`
}

type itemError struct {
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Data    jsontext.Value `json:"data"`
}

type orderUpdate struct {
	Status string    `json:"status,omitempty"`
	Meta   []newMeta `json:"meta_data"`
}

type note struct {
	Note     string `json:"note"`
	Customer bool   `json:"customer_note"`
}

type webhook struct {
	ID     int64  `json:"id,omitempty"`
	Name   string `json:"name,omitempty"`
	Status string `json:"status,omitempty"`
	Topic  string `json:"topic,omitempty"`
	URL    string `json:"delivery_url,omitempty"`
	Secret string `json:"secret,omitempty"`
}

type statusData struct {
	Environment struct {
		HomeURL string `json:"home_url"`
		SiteURL string `json:"site_url"`
	} `json:"environment"`
}

type indexData struct {
	Home string `json:"home"`
}
