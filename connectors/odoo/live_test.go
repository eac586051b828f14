package odoo

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/stock"
)

// The suite against an Odoo itself, of any release that is understood. It makes a customer, two products and orders of them,
// cancels the orders and archives the products. The user needs the rights Sales: Administrator and Inventory: Administrator,
// in a database for tests. With TRUESTOCK_RECORD, the name of a release, what Odoo answers is kept for TestRecorded.
func TestLive(t *testing.T) {
	o := system{url: os.Getenv("TRUESTOCK_ODOO_URL"), key: os.Getenv("TRUESTOCK_ODOO_KEY"), database: os.Getenv("TRUESTOCK_ODOO_DATABASE"), login: os.Getenv("TRUESTOCK_ODOO_LOGIN")}
	if o.url == "" || o.key == "" {
		t.Skip("TRUESTOCK_ODOO_URL and TRUESTOCK_ODOO_KEY (and below 19 TRUESTOCK_ODOO_DATABASE and TRUESTOCK_ODOO_LOGIN) name no Odoo to try this on")
	}
	release := os.Getenv("TRUESTOCK_RECORD")
	if release == "" {
		o.suite(t, fmt.Sprint(time.Now().Unix()), nil)
		return
	}
	_, host, _ := strings.Cut(strings.TrimRight(o.url, "/"), "://")
	scrub := []string{host, "odoo.example", o.key, recorded.key}
	if o.database != "" {
		scrub = append(scrub, o.database, recorded.database, `"`+o.login+`"`, `"`+recorded.login+`"`)
	}
	o.way = connectortest.Record(t, release, scrub...)
	o.suite(t, release, connectortest.NotRecorded())
}

// recorded is what the recordings call an Odoo.
var recorded = system{url: "https://odoo.example", key: "recorded-key", database: "recorded-database", login: "recorded-login"}

// The suite against what Odoos answered.
func TestRecorded(t *testing.T) {
	connectortest.Recordings(t, func(t *testing.T, way http.RoundTripper) {
		o := recorded
		o.way = way
		_, release, _ := strings.Cut(t.Name(), "/")
		o.suite(t, release, connectortest.NotRecorded())
	})
}

// system is an Odoo, and the way to it; nil means the network.
type system struct {
	url, key, database, login string
	way                       http.RoundTripper
}

// suite runs the suite but for some cases, on products of the run.
func (o system) suite(t *testing.T, run string, but map[string]string) {
	with := settings(o.url, settingKey, o.key, settingDatabase, o.database, settingLogin, o.login, settingPace, "20")
	c, err := Info().Open(connectors.Env{Transport: o.way, Timeout: time.Minute}, connectors.SystemOfRecordRole, with)
	if err != nil {
		t.Fatal(err)
	}
	// What the products left behind is tidied up through it.
	t.Cleanup(func() { _ = c.Close() })
	l := &live{record: c.(*record)}
	if l.d, err = l.speak(t.Context(), "live"); err != nil {
		t.Fatal(err)
	}
	var customers []int64
	l.call(t, "res.partner", "create", nil, nil, &customers, argument{"vals_list", []any{map[string]any{"name": "truestock suite"}}})
	with[settingPartner] = fmt.Sprint(customers[0])
	skus := []string{"TRUESTOCK-A-" + run, "TRUESTOCK-B-" + run}
	products := map[string]int64{}
	for _, sku := range skus {
		products[sku] = l.product(t, sku)
		l.receive(t, products[sku], 100)
	}
	connectortest.RunSystemOfRecord(t, connectortest.Fixture{Serial: true, Skip: but, New: func(t *testing.T) connectortest.Server {
		l.clean(t)
		return connectortest.Server{
			Transport: o.way,
			Open: func(env connectors.Env) (connectors.Connection, error) {
				return Info().Open(env, connectors.SystemOfRecordRole, with)
			},
			Secrets:      []string{o.key, hookKey},
			Writes:       writes,
			SKUs:         skus,
			Level:        func(sku string) stock.Quantity { return l.level(t, products[sku]) },
			Receive:      func(sku string, quantity stock.Quantity) { l.receive(t, products[sku], quantity) },
			OrderCount:   func() int { return len(l.orders(t)) },
			ShipOrder:    func(key string) stock.Quantity { return l.ship(t, key) },
			Sign:         sign,
			Event:        []byte(`{"_action":"truestock(#7)","_id":12,"_model":"stock.quant"}`),
			BodyUnsigned: true,
		}
	}})
}

// live does in an Odoo what people do there.
type live struct {
	*record
	d *dialect
}

func (l *live) call(t *testing.T, model, name string, ids []int64, with map[string]any, out any, args ...argument) {
	t.Helper()
	if err := l.d.call(context.Background(), method{op: "live", model: model, name: name, ids: ids, args: args, context: with, write: true}, out); err != nil {
		t.Fatalf("%s.%s: %v", model, name, err)
	}
}

func (l *live) find(t *testing.T, model string, fields []string, out any, domain ...any) {
	t.Helper()
	if err := l.d.search(context.Background(), "live", model, domain, fields, 0, out); err != nil {
		t.Fatalf("search %s: %v", model, err)
	}
}

func (l *live) product(t *testing.T, sku string) int64 {
	values := map[string]any{"name": sku, "default_code": sku, l.d.storable[0].(string): l.d.storable[2]}
	if l.d.storable[0] == "is_storable" {
		values["type"] = "consu"
	}
	var made []int64
	l.call(t, "product.product", "create", nil, nil, &made, argument{"vals_list", []any{values}})
	t.Cleanup(func() {
		l.call(t, "product.product", "write", made, nil, nil, argument{"vals", map[string]any{"active": false}})
	})
	return made[0]
}

// receive counts so many more at the stock location of the first warehouse.
func (l *live) receive(t *testing.T, product int64, quantity stock.Quantity) {
	var warehouses []struct {
		Stock link `json:"lot_stock_id"`
	}
	l.find(t, "stock.warehouse", []string{"lot_stock_id"}, &warehouses)
	var made []int64
	l.call(t, "stock.quant", "create", nil, map[string]any{"inventory_mode": true}, &made, argument{"vals_list", []any{map[string]any{
		"product_id": product, "location_id": warehouses[0].Stock.ID, "inventory_quantity": l.level(t, product) + quantity}}})
	l.call(t, "stock.quant", "action_apply_inventory", made, nil, nil)
}

func (l *live) level(t *testing.T, product int64) stock.Quantity {
	var rows []productQuantity
	l.call(t, "product.product", "read", []int64{product}, nil, &rows, argument{"fields", []string{productOnHand}})
	q, err := rows[0].Available.whole("qty_available", "units")
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func (l *live) orders(t *testing.T) []orderRow {
	var rows []orderRow
	l.find(t, "sale.order", []string{"id", "name", "state", "client_order_ref"}, &rows, []any{"client_order_ref", "=like", "suite:%"})
	return rows
}

// clean takes our keys from the orders of the case before.
func (l *live) clean(t *testing.T) {
	for _, o := range l.orders(t) {
		l.call(t, "sale.order", "write", []int64{o.ID}, nil, nil, argument{"vals", map[string]any{"client_order_ref": "cleaned " + string(o.Ref)}})
		l.call(t, "sale.order", "action_cancel", []int64{o.ID}, map[string]any{"disable_cancel_warning": true}, nil)
	}
}

// ship sends everything that is reserved for an order.
func (l *live) ship(t *testing.T, key string) stock.Quantity {
	var moves []struct {
		ID      int64   `json:"id"`
		Picking link    `json:"picking_id"`
		Demand  *number `json:"product_uom_qty"`
	}
	l.find(t, "stock.move", []string{"id", "picking_id", "product_uom_qty"}, &moves, []any{"sale_line_id.order_id.client_order_ref", "=", key}, []any{"state", "=", "assigned"})
	var sent stock.Quantity
	pickings := map[int64]bool{}
	for _, m := range moves {
		q, err := m.Demand.whole("demand", "units")
		if err != nil {
			t.Fatal(err)
		}
		done := map[string]any{"quantity": q, "picked": true}
		if !l.d.oneQuantity {
			done = map[string]any{"quantity_done": q}
		}
		l.call(t, "stock.move", "write", []int64{m.ID}, nil, nil, argument{"vals", done})
		sent += q
		pickings[m.Picking.ID] = true
	}
	for id := range pickings {
		var answer any
		l.call(t, "stock.picking", "button_validate", []int64{id}, map[string]any{"skip_backorder": true, "skip_immediate": true, "skip_sms": true}, &answer)
		if _, dialogue := answer.(map[string]any); dialogue {
			t.Fatalf("the delivery asks something: %s", strings.TrimSpace(fmt.Sprint(answer)))
		}
	}
	return sent
}
