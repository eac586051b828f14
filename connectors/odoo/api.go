package odoo

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/stock"
)

// Odoo writes false for every value that is empty, whatever its type, and a link to another record as its id and its name
// (odoo/fields.py, convert_to_read). The types here take that and nothing else.

// text is a text, empty where Odoo says false.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	if empty(b) {
		*t = ""
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

func empty(b []byte) bool { return string(b) == "false" || string(b) == "null" }

// link is a link to another record; its ID is 0 where there is none.
type link struct {
	ID   int64
	Name string
}

// UnmarshalJSON implements json.Unmarshaler: [id, name], or the id alone.
func (l *link) UnmarshalJSON(b []byte) error {
	*l = link{}
	if empty(b) {
		return nil
	}
	if jsontext.Value(b).Kind() != '[' {
		return json.Unmarshal(b, &l.ID)
	}
	var parts []jsontext.Value
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return fmt.Errorf("a link has %d parts, not an id and a name", len(parts))
	}
	var name text
	err := errors.Join(json.Unmarshal(parts[0], &l.ID), json.Unmarshal(parts[1], &name))
	l.Name = string(name)
	return err
}

// number is a quantity as Odoo has it: a binary fraction with the noise of sums, such as 2.9999999999999996.
type number float64

// noise is how far a sum of binary fractions may lie from the whole number that it means. Odoo compares quantities with at
// most six digits (decimal.precision).
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
		return 0, fmt.Errorf("%s is %s %s, which is no whole number: truestock counts whole units; give the product a smaller unit of measure, "+
			"or name its unit in the setting %s", what, strconv.FormatFloat(v, 'f', -1, 64), unit, settingExcludeUnits)
	case math.Abs(near) > float64(stock.MaxQuantity):
		return 0, fmt.Errorf("%s is %g: at most %d is taken", what, v, stock.MaxQuantity)
	}
	return stock.Quantity(near), nil
}

// versionInfo is the answer of common.version (odoo/service/common.py). The first part of version_info is a number, or a
// text such as saas~18 for a version of Odoo Online between two releases.
type versionInfo struct {
	Serie string           `json:"server_serie"`
	Info  []jsontext.Value `json:"server_version_info"`
}

// major is the release, 0 where it is not told.
func (v versionInfo) major() int {
	if len(v.Info) == 0 {
		return 0
	}
	var first string
	if json.Unmarshal(v.Info[0], &first) != nil {
		first = string(v.Info[0])
	}
	for i, r := range first {
		if r >= '0' && r <= '9' {
			n, _ := strconv.Atoi(first[i:])
			return n
		}
	}
	return 0
}

// fault is the error of JSON-RPC, which comes with HTTP 200 (odoo/http.py, JsonRPCDispatcher).
type fault struct {
	Code    int  `json:"code"`
	Message text `json:"message"`
	Data    struct {
		Name    text `json:"name"`
		Message text `json:"message"`
	} `json:"data"`
}

// envelope is an answer of JSON-RPC. A method that returns nothing has neither result nor error.
type envelope struct {
	Version string         `json:"jsonrpc"`
	Result  jsontext.Value `json:"result"`
	Error   *fault         `json:"error"`
}

type productRow struct {
	ID       int64 `json:"id"`
	Code     text  `json:"default_code"`
	Barcode  text  `json:"barcode"`
	Name     text  `json:"display_name"`
	Unit     link  `json:"uom_id"`
	Category link  `json:"categ_id"`
}

type locationRow struct {
	ID     int64 `json:"id"`
	Name   text  `json:"complete_name"`
	Usage  text  `json:"usage"`
	Path   text  `json:"parent_path"`
	Parent link  `json:"location_id"`
}

type warehouseRow struct {
	ID   int64 `json:"id"`
	Name text  `json:"name"`
	View link  `json:"view_location_id"`
}

// groupRow is a row of read_group, which calls a sum by its field, or of formatted_read_group, which says that it is one.
type groupRow struct {
	Product     link    `json:"product_id"`
	Quantity    *number `json:"quantity"`
	Reserved    *number `json:"reserved_quantity"`
	QuantitySum *number `json:"quantity:sum"`
	ReservedSum *number `json:"reserved_quantity:sum"`
}

type productQuantity struct {
	ID        int64   `json:"id"`
	Available *number `json:"qty_available"`
	Free      *number `json:"free_qty"`
}

type orderRow struct {
	ID    int64 `json:"id"`
	Name  text  `json:"name"`
	State text  `json:"state"`
	Ref   text  `json:"client_order_ref"`
}

type lineRow struct {
	ID      int64   `json:"id"`
	Name    text    `json:"name"`
	Product link    `json:"product_id"`
	Ordered *number `json:"product_uom_qty"`
}

// moveRow is a stock.move. Quantity is what is reserved, or done, in 17 and later; before, these are two fields.
type moveRow struct {
	ID       int64   `json:"id"`
	Line     link    `json:"sale_line_id"`
	Product  link    `json:"product_id"`
	State    text    `json:"state"`
	From     link    `json:"location_id"`
	To       link    `json:"location_dest_id"`
	Final    link    `json:"location_final_id"`
	Picking  link    `json:"picking_id"`
	Demand   *number `json:"product_uom_qty"`
	InUnit   *number `json:"product_qty"`
	Quantity *number `json:"quantity"`
	Reserved *number `json:"reserved_availability"`
	Done     *number `json:"quantity_done"`
}

type apiKeyRow struct {
	Name    text `json:"name"`
	Expires text `json:"expiration_date"`
}

// hook is what an automation rule sends: its own three members, and the fields that were ticked (_run_action_webhook in
// odoo/addons/base/models/ir_actions.py).
type hook struct {
	ID        int64  `json:"_id"`
	Model     string `json:"_model"`
	Action    string `json:"_action"`
	WriteDate text   `json:"write_date"`
}
