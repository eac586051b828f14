package tryton

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// The records, as search_read tells them: of a field that leads to another record, written a.b, the member "a." holds b.

var (
	warehouseFields  = []string{"code", "name", "storage_location", "output_location"}
	productFields    = []string{"code", "rec_name"}
	identifierFields = []string{"product", "code"}
	saleFields       = []string{"number", "reference", "state", "lines.type", "lines.note", "lines.quantity", "lines.product.code"}
	moveFields       = []string{"internal_quantity", "state", "origin", "shipment", "sale_exception_state", "from_location.warehouse", "to_location.type"}
	articleFields    = []string{"code", "default_uom", "default_uom.digits", "salable"}
	partyFields      = []string{"name"}
	shipmentFields   = []string{"number", "state"}
)

// The fields of a product that hold quantities.
const (
	onHandField   = "quantity"
	forecastField = "forecast_quantity"
)

type warehouse struct {
	ID      int64  `json:"id"`
	Code    string `json:"code"`
	Name    string `json:"name"`
	Storage int64  `json:"storage_location"`
	Output  int64  `json:"output_location"`
}

type product struct {
	ID   int64  `json:"id"`
	Code string `json:"code"`
	Name string `json:"rec_name"`
}

type identifier struct {
	Product int64  `json:"product"`
	Code    string `json:"code"`
}

type quantityRow struct {
	ID       int64    `json:"id"`
	Quantity *float64 `json:"quantity"`
	Forecast *float64 `json:"forecast_quantity"`
}

// article is a product as a line of an order needs it.
type article struct {
	ID      int64  `json:"id"`
	Code    string `json:"code"`
	Unit    int64  `json:"default_uom"`
	Salable truth  `json:"salable"`
	UnitIs  struct {
		Digits *int `json:"digits"`
	} `json:"default_uom."`
}

// truth is a Boolean, which Tryton tells as 0 or 1 where its database is SQLite.
type truth bool

// UnmarshalJSON implements json.Unmarshaler.
func (t *truth) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "true", "1":
		*t = true
	case "false", "0", "null":
		*t = false
	default:
		return fmt.Errorf("%.20s is not true or false", text)
	}
	return nil
}

// The states of a sale (modules/sale/sale.py).
const (
	saleDraft      = "draft"
	saleQuotation  = "quotation"
	saleConfirmed  = "confirmed"
	saleProcessing = "processing"
	saleDone       = "done"
	saleCancelled  = "cancelled"
)

type sale struct {
	ID        int64      `json:"id"`
	Number    string     `json:"number"`
	Reference string     `json:"reference"`
	State     string     `json:"state"`
	Lines     []saleLine `json:"lines."`
}

type saleLine struct {
	ID       int64    `json:"id"`
	Type     string   `json:"type"`
	Note     string   `json:"note"`
	Quantity *float64 `json:"quantity"`
	Product  *struct {
		Code string `json:"code"`
	} `json:"product."`
}

// The states of a move (modules/stock/move.py).
const (
	moveStaging   = "staging"
	moveDraft     = "draft"
	moveAssigned  = "assigned"
	moveDone      = "done"
	moveCancelled = "cancelled"
)

// What was decided of a cancelled move (modules/sale/stock.py, sale_exception_state).
const (
	exceptionIgnored   = "ignored"
	exceptionRecreated = "recreated"
)

// move is goods on their way. Origin and Shipment name a record: its model, a comma and its id.
type move struct {
	ID        int64    `json:"id"`
	Quantity  *float64 `json:"internal_quantity"`
	State     string   `json:"state"`
	Origin    string   `json:"origin"`
	Shipment  string   `json:"shipment"`
	Exception string   `json:"sale_exception_state"`
	From      struct {
		Warehouse *int64 `json:"warehouse"`
	} `json:"from_location."`
	To struct {
		Type string `json:"type"`
	} `json:"to_location."`
}

type shipment struct {
	ID     int64  `json:"id"`
	Number string `json:"number"`
	State  string `json:"state"`
}

// partyValues are what a sale takes from its customer, and lineValues what a line takes from its product: the answers to
// on_change, by which Tryton's own clients fill a form in.
type (
	partyValues struct {
		InvoiceAddress  *int64 `json:"invoice_address"`
		ShipmentAddress *int64 `json:"shipment_address"`
		PaymentTerm     *int64 `json:"payment_term"`
	}
	lineValues struct {
		UnitPrice jsontext.Value `json:"unit_price"`
		Taxes     struct {
			// Add are pairs of a place in the list and a record (trytond/model/modelview.py, _changed_values).
			Add [][]jsontext.Value `json:"add"`
		} `json:"taxes"`
	}
)
