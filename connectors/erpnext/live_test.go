package erpnext

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// The suite against an ERPNext itself. It makes two items, counts them, and makes orders and deliveries of them, which stay. The user
// needs the roles Sales Manager, Stock Manager and Item Manager, on a site for tests that has the
// custom field. With TRUESTOCK_RECORD, the name of a release, what ERPNext answers is kept for TestRecorded.
func TestLive(t *testing.T) {
	with := map[string]string{}
	for setting, name := range map[string]string{settingBaseURL: "URL", settingKey: "KEY", settingSecret: "SECRET", settingCompany: "COMPANY", settingCustomer: "CUSTOMER", settingDeliver: "WAREHOUSE"} {
		if with[setting] = os.Getenv("TRUESTOCK_ERPNEXT_" + name); with[setting] == "" {
			t.Skip("TRUESTOCK_ERPNEXT_URL, _KEY, _SECRET, _COMPANY, _CUSTOMER and _WAREHOUSE name no ERPNext to try this on")
		}
	}
	run, release := fmt.Sprint(time.Now().Unix()), os.Getenv("TRUESTOCK_RECORD")
	if release == "" {
		suite(t, with, nil, run, nil)
		return
	}
	scrub := []string{run, recordedRun}
	for setting, value := range with {
		if setting == settingBaseURL {
			_, host, _ := strings.Cut(strings.TrimRight(value, "/"), "://")
			scrub = append(scrub, host, "erpnext.example")
			continue
		}
		scrub = append(scrub, value, recorded[setting])
	}
	suite(t, with, connectortest.Record(t, release, scrub...), run, connectortest.NotRecorded())
}

// recorded are the settings by which the recordings call an ERPNext.
var recorded = map[string]string{settingBaseURL: "https://erpnext.example", settingKey: "recorded-key", settingSecret: "recorded-secret",
	settingCompany: "Recorded", settingCustomer: "Marketplaces", settingDeliver: "Stores - R"}

// recordedRun is what the recordings call the run in which they were made.
const recordedRun = "recorded"

// The suite against what ERPNexts answered.
func TestRecorded(t *testing.T) {
	connectortest.Recordings(t, func(t *testing.T, way http.RoundTripper) {
		suite(t, recorded, way, recordedRun, connectortest.NotRecorded())
	})
}

// suite runs the suite but for some cases, on items of the run. The way is the one to ERPNext; nil means the network.
func suite(t *testing.T, reach map[string]string, way http.RoundTripper, run string, but map[string]string) {
	with := settings(reach[settingBaseURL], settingPace, "20")
	maps.Copy(with, reach)
	c, err := Info().Open(connectors.Env{Transport: way, Timeout: time.Minute}, connectors.SystemOfRecordRole, with)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := &live{record: c.(*record)}
	skus := []string{"TRUESTOCK-A-" + run, "TRUESTOCK-B-" + run}
	for _, sku := range skus {
		l.create(t, "Item", map[string]any{"item_code": sku, "item_name": sku, "item_group": "All Item Groups", "stock_uom": "Nos", "is_stock_item": 1})
		l.receive(t, sku, 100)
	}
	cases := 0
	connectortest.RunSystemOfRecord(t, connectortest.Fixture{Serial: true, Skip: but, New: func(t *testing.T) connectortest.Server {
		cases++ // ERPNext keeps what is cancelled under its key
		prefix := fmt.Sprintf("%s/%d/", run, cases)
		return connectortest.Server{
			Transport: way,
			Open: func(env connectors.Env) (connectors.Connection, error) {
				return Info().Open(env, connectors.SystemOfRecordRole, with)
			},
			Secrets:         []string{with[settingSecret], hookSecret},
			Writes:          writes,
			SKUs:            skus,
			Level:           func(sku string) stock.Quantity { return l.level(t, sku) },
			Receive:         func(sku string, quantity stock.Quantity) { l.receive(t, sku, quantity) },
			OrderPrefix:     prefix,
			OrderCount:      func() int { return l.orders(t, prefix) },
			OrdersByWebhook: true,
			ShipOrder:       func(key string) stock.Quantity { return l.ship(t, key) },
			Sign:            sign,
			Event:           []byte(`{"doctype": "Delivery Note", "name": "DN-1", "modified": "m", "event": "on_submit"}`),
		}
	}})
}

// live does in an ERPNext what people do there.
type live struct{ *record }

func (l *live) create(t *testing.T, doctype string, body map[string]any) jsontext.Value {
	t.Helper()
	made, err := l.resource(context.Background(), "live", http.MethodPost, doctype, "", body)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// receive books a receipt at the warehouse that delivers.
func (l *live) receive(t *testing.T, sku string, quantity stock.Quantity) {
	l.create(t, "Stock Entry", map[string]any{"stock_entry_type": "Material Receipt", "company": l.company, "docstatus": submitted,
		"items": []any{map[string]any{"item_code": sku, "qty": quantity, "t_warehouse": l.deliver, "basic_rate": 1, "allow_zero_valuation_rate": 1}}})
}

func (l *live) level(t *testing.T, sku string) stock.Quantity {
	rows, err := list[binRow](context.Background(), l.record, "live", query{DocType: "Bin", Fields: []string{"item_code", "warehouse", "actual_qty"}, Filters: []any{[]any{"item_code", "=", sku}}, Order: "creation asc", Limit: 100}, true)
	if err != nil {
		t.Fatal(err)
	}
	var sum stock.Quantity
	for _, b := range rows {
		q, err := b.Actual.whole("actual_qty", "Nos")
		if err != nil {
			t.Fatal(err)
		}
		sum += q
	}
	return sum
}

func (l *live) orders(t *testing.T, prefix string) int {
	rows, err := list[orderHead](context.Background(), l.record, "live", query{DocType: "Sales Order", Fields: []string{"name", "docstatus", "status", "po_no"},
		Filters: []any{[]any{"po_no", "like", prefix + "%"}, []any{"docstatus", "<", cancelled}}, Order: "creation asc", Limit: 500}, true)
	if err != nil {
		t.Fatal(err)
	}
	return len(rows)
}

// ship delivers everything that is open of an order.
func (l *live) ship(t *testing.T, key string) stock.Quantity {
	head, err := l.find(context.Background(), "live", key)
	if err != nil || head == nil {
		t.Fatalf("%v: %v", head, err)
	}
	var made struct {
		Message jsontext.Value `json:"message"`
	}
	call := rest.Call{Op: "live", Method: http.MethodPost, Path: "/api/method/erpnext.selling.doctype.sales_order.sales_order.make_delivery_note", Body: map[string]string{"source_name": head.Name}, Write: true}
	if err := l.do(context.Background(), call, "Delivery Note", &made); err != nil {
		t.Fatal(err)
	}
	var note map[string]any
	var rows struct {
		Items []deliveryRow `json:"items"`
	}
	if err := json.Unmarshal(made.Message, &note); err != nil {
		t.Fatal(err)
	}
	note["docstatus"] = submitted
	if err := json.Unmarshal(l.create(t, "Delivery Note", note), &rows); err != nil {
		t.Fatal(err)
	}
	var sent stock.Quantity
	for _, d := range rows.Items {
		q, err := d.Quantity.whole("stock_qty", "Nos")
		if err != nil {
			t.Fatal(err)
		}
		sent += q
	}
	return sent
}
