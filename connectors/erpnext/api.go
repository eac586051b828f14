package erpnext

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// number is a quantity as ERPNext has it: a decimal of up to nine places, as a binary fraction.
type number float64

// noise is how far sums of such numbers may lie from the whole number that they mean.
const noise = 1e-6

// whole is the quantity as a whole number. unit names what is counted. Absent is an error, never 0.
func (n *number) whole(what, unit string) (stock.Quantity, error) {
	if n == nil {
		return 0, fmt.Errorf("%s is missing", what)
	}
	v := float64(*n)
	near := math.Round(v)
	switch {
	case math.Abs(v-near) > noise:
		return 0, fmt.Errorf("%s is %s %s, which is no whole number: truestock counts whole units; give the item a smaller stock unit and tick "+
			"Must be Whole Number on it, or name the unit in the setting %s", what, strconv.FormatFloat(v, 'f', -1, 64), unit, settingExcludeUnits)
	case math.Abs(near) > float64(stock.MaxQuantity):
		return 0, fmt.Errorf("%s is %g: at most %d is taken", what, v, stock.MaxQuantity)
	}
	return stock.Quantity(near), nil
}

type warehouseRow struct {
	Name     string `json:"name"`
	IsGroup  int    `json:"is_group"`
	Disabled int    `json:"disabled"`
}

type itemRow struct {
	Name      string `json:"name"`
	ItemName  string `json:"item_name"`
	ItemGroup string `json:"item_group"`
	StockUOM  string `json:"stock_uom"`
	Disabled  int    `json:"disabled"`
	Stocked   int    `json:"is_stock_item"`
	Template  int    `json:"has_variants"`
}

// binRow is a Bin: what there is of an item in a warehouse (erpnext/stock/doctype/bin/bin.json).
type binRow struct {
	Item          string  `json:"item_code"`
	Warehouse     string  `json:"warehouse"`
	Actual        *number `json:"actual_qty"`
	Reserved      *number `json:"reserved_qty"`
	ForProduction *number `json:"reserved_qty_for_production"`
	ForSubcontr   *number `json:"reserved_qty_for_sub_contract"`
}

type orderHead struct {
	Name      string `json:"name"`
	DocStatus int    `json:"docstatus"`
	Status    string `json:"status"`
	PONo      string `json:"po_no"`
}

// orderDoc is a Sales Order; note is our custom field.
type orderDoc struct {
	orderHead
	Items []orderItem `json:"items"`
	note  string
}

type orderItem struct {
	Name         string  `json:"name"`
	Item         string  `json:"item_code"`
	Warehouse    string  `json:"warehouse"`
	Quantity     *number `json:"qty"`
	Delivered    *number `json:"delivered_qty"`
	Returned     *number `json:"returned_qty"`
	Factor       *number `json:"conversion_factor"`
	Rate         float64 `json:"rate"`
	UOM          string  `json:"uom"`
	StockUOM     string  `json:"stock_uom"`
	DeliveryDate string  `json:"delivery_date"`
	Description  string  `json:"description"`
	Index        int     `json:"idx"`
}

// deliveryRow is a line of a Delivery Note; that of a return has a quantity below 0.
type deliveryRow struct {
	Parent    string  `json:"parent"`
	OrderItem string  `json:"so_detail"`
	Warehouse string  `json:"warehouse"`
	Quantity  *number `json:"stock_qty"`
}

// hook is the body that the guide has people write into the webhook. Shipments are what CompleteWebhook adds to it; from
// a sender they are refused.
type hook struct {
	DocType   string                `json:"doctype"`
	Name      string                `json:"name"`
	Modified  string                `json:"modified"`
	Event     string                `json:"event"`
	Shipments []connectors.Shipment `json:"truestock_shipments,omitempty"`
}

// explain finds Frappe's words in the body of a failure: the name of the exception, and the messages, each of them JSON in
// a text in a list in a text (frappe/utils/response.py).
func explain(body []byte) (code, detail string) {
	var f struct {
		Type      string `json:"exc_type"`
		Exception string `json:"exception"`
		Messages  string `json:"_server_messages"`
	}
	if json.Unmarshal(body, &f, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return "", ""
	}
	var texts, words []string
	_ = json.Unmarshal([]byte(f.Messages), &texts)
	for _, t := range texts {
		var m struct {
			Message string `json:"message"`
		}
		if json.Unmarshal([]byte(t), &m) == nil && m.Message != "" {
			words = append(words, plain(m.Message))
		}
	}
	return f.Type, cmp.Or(strings.Join(words, "; "), plain(f.Exception), f.Type)
}

var markup = regexp.MustCompile(`<[^>]*>`)

// plain takes the markup out of a message.
func plain(text string) string {
	return strings.Join(strings.Fields(html.UnescapeString(markup.ReplaceAllString(text, " "))), " ")
}
