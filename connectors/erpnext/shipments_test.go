package erpnext

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
)

// A Delivery Note becomes one shipment for each of our orders in it; what is of no order of ours, a return, and a note that
// cannot be fetched are a look and no more.
func TestShipments(t *testing.T) {
	t.Parallel()
	p := newPretend()
	r := connect(t, p)
	for _, key := range []string{"k1", "k2"} {
		if _, err := r.CreateOrder(t.Context(), newOrderOf(key, 4, 2)); err != nil {
			t.Fatal(err)
		}
	}
	rows := func(key string) (doc, []doc) { o := p.orderOf(key); return o, o["items"].([]doc) }
	first, firstRows := rows("k1")
	second, secondRows := rows("k2")
	p.deliver(first, firstRows[0], 2, stores)
	p.deliver(first, firstRows[0], 1, stores) // another batch
	p.deliver(first, firstRows[1], 1, shopFloor)
	p.deliver(second, secondRows[0], 3, stores)
	p.deliver(second, secondRows[0], -1, stores)
	for i := range 4 {
		p.notes[i]["parent"] = "DN-1"
	}
	p.notes[4]["parent"] = "DN-2"
	people := p.copyOrders()[0]
	people["name"], people["truestock_lines"], people["po_no"] = "SAL-ORD-PEOPLE", "", "their own"
	p.orders = append(p.orders, people)
	p.notes = append(p.notes, doc{"parent": "DN-3", "docstatus": submitted, "against_sales_order": "SAL-ORD-PEOPLE", "so_detail": "x", "warehouse": stores, "stock_qty": 1.0})

	tell := func(name, event string) (connectors.Delivery, connectors.Notice) {
		t.Helper()
		d, err := r.VerifyWebhook(sign("2026-11-26 06:00:00", time.Now(), []byte(`{"doctype": "Delivery Note", "name": "`+name+`", "modified": "m", "event": "`+event+`"}`)))
		if err != nil {
			t.Fatal(err)
		}
		d.Body = sign("2026-11-26 06:00:00", time.Now(), []byte(`{"doctype": "Delivery Note", "name": "`+name+`", "modified": "m", "event": "`+event+`"}`)).Body
		if d, err = r.CompleteWebhook(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		n, err := r.DecodeWebhook(d, d.Body)
		if err != nil || !n.Pull {
			t.Fatalf("%+v (%v)", n, err)
		}
		return d, n
	}
	d, n := tell("DN-1", "on_submit")
	var told []string
	for _, f := range n.Facts {
		text, err := json.Marshal(f.Shipment)
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, string(text))
	}
	want := `{"shipment_id":"DN-1/SAL-ORD-2026-00001","order_key":"k1","lines":[{"line_id":"a","sku":"SHIRT","quantity":3,"location":"Stores - TS"},{"line_id":"b","sku":"CUP","quantity":1,"location":"Shop Floor - TS"}],"carrier":"Parcels","tracking":"1Z999"}
{"shipment_id":"DN-1/SAL-ORD-2026-00004","order_key":"k2","lines":[{"line_id":"a","sku":"SHIRT","quantity":3,"location":"Stores - TS"}],"carrier":"Parcels","tracking":"1Z999"}`
	if got := strings.Join(told, "\n"); got != want {
		t.Errorf("told is\n%s, not\n%s", got, want)
	}
	again, _ := tell("DN-1", "on_submit")
	if again.Key != d.Key || string(again.Body) != string(d.Body) {
		t.Errorf("the same delivery is %s and %s", d.Key, again.Key)
	}
	for name, event := range map[string]string{"DN-2": "on_submit", "DN-3": "on_submit", "DN-4": "on_submit", "DN-1": "on_cancel"} {
		if _, n := tell(name, event); len(n.Facts) != 0 {
			t.Errorf("%s %s became %+v", name, event, n.Facts)
		}
	}
	p.notes[0]["stock_qty"] = 0.5
	if _, n := tell("DN-1", "on_submit"); len(n.Facts) != 0 {
		t.Errorf("half a unit became %+v", n.Facts)
	}
}
