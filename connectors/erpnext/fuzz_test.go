package erpnext

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// Whatever comes as a webhook, it is refused or becomes a look; a stored one has valid facts.
func FuzzWebhook(f *testing.F) {
	c, err := Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings("http://erp.example"))
	if err != nil {
		f.Fatal(err)
	}
	r := c.(*record)
	for _, body := range []string{`{"doctype": "Delivery Note", "name": "DN-1", "modified": "2026-11-26 06:00:00", "event": "on_submit"}`, `{"doctype": 1}`, `[`,
		`{"doctype":"Delivery Note","name":"DN","modified":"m","event":"on_submit","truestock_shipments":[{"shipment_id":"DN","order_key":"k","lines":[{"line_id":"1","sku":"A","quantity":-1,"location":"W"}]}]}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := r.VerifyWebhook(sign("m", time.Unix(1, 0), body))
		if err == nil && (d.Key == "" || d.Type == "") {
			t.Errorf("the delivery is %+v", d)
		}
		n, err := r.DecodeWebhook(d, body)
		for _, fact := range n.Facts {
			if err == nil && fact.Validate() != nil {
				t.Errorf("%s became %+v", body, fact)
			}
		}
		if err == nil && !n.Pull {
			t.Errorf("%s became %+v", body, n)
		}
	})
}

// Whatever comes as an order, with whatever note, how it stands adds up or is refused. Whatever comes as a failure is
// explained on one line, without markup.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"name":"S1","docstatus":1,"status":"To Deliver","items":[{"name":"r1","item_code":"A","warehouse":"W","qty":3,"delivered_qty":1,"returned_qty":0,"conversion_factor":1,"idx":1}]}`),
		`[{"line":"1","row":"r1","item":"A","ordered":4,"cancelled":1}]`, []byte(`[{"parent":"DN","so_detail":"r1","warehouse":"W","stock_qty":1}]`))
	f.Add([]byte(`{"exc_type":"ValidationError","_server_messages":"[\"{\\\"message\\\":\\\"<b>No</b>\\\"}\"]"}`), `[]`, []byte(`[{"stock_qty":-1e300}]`))
	f.Fuzz(func(t *testing.T, body []byte, note string, notes []byte) {
		if _, detail := explain(body); strings.ContainsAny(detail, "\n\r\t") {
			t.Errorf("the explanation is %q", detail)
		}
		var o orderDoc
		var deliveries []deliveryRow
		if json.Unmarshal(body, &o) != nil || json.Unmarshal(notes, &deliveries) != nil {
			return
		}
		o.note = note
		r := &record{noteField: "truestock_lines"}
		lines, rows, err := r.note("fuzz", &o)
		if err != nil {
			return
		}
		for _, l := range lines {
			told, err := standingOf(&o, l, rows[l.Line], deliveries)
			if err != nil {
				continue
			}
			var gone stock.Quantity
			for _, p := range told.Places {
				gone += p.Shipped
			}
			if told.Cancelled < 0 || told.Rejected < 0 || told.Cancelled > l.Cancelled || gone >= 0 && told.Cancelled+told.Rejected > l.Ordered {
				t.Errorf("%+v of %+v", told, l)
			}
		}
	})
}
