package odoo

import (
	"net/http"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// Whatever comes as a webhook, it is refused or becomes a look, and never a fact.
func FuzzWebhook(f *testing.F) {
	c, err := Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings("http://odoo.example"))
	if err != nil {
		f.Fatal(err)
	}
	r := c.(*record)
	for _, body := range []string{`{"_action":"a(#1)","_id":12,"_model":"stock.quant","write_date":"2026-11-26 06:00:00"}`, `{"_id":1e99,"_model":false}`, `{"_id":1,"_model":"stock.move","write_date":false}`, `[`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := r.VerifyWebhook(connectors.Request{Method: http.MethodPost, RawQuery: "key=" + hookKey, Body: body, At: time.Unix(1, 0)})
		if err != nil {
			return
		}
		if d.Key == "" || d.Type == "" || len(d.Key) > 256 {
			t.Errorf("the delivery is %+v", d)
		}
		if n, err := r.DecodeWebhook(d, body); err == nil && (len(n.Facts) > 0 || !n.Pull) {
			t.Errorf("%s became %+v", body, n)
		}
	})
}

// Whatever comes as an answer, it decodes without a panic, and a quantity is whole or refused. What is written into a
// description is read back from it.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"error":{"code":200,"message":"m","data":{"name":"odoo.exceptions.UserError","message":false}}}`,
		`{"jsonrpc":"2.0","id":1,"result":[{"id":7,"name":"[SHIRT] Shirt\ntruestock ordered 2 cancelled 1 line \"1\"","product_id":[3,"x"],"product_uom_qty":1.0}]}`,
		`{"jsonrpc":"2.0","result":[{"product_id":[101,"x"],"quantity:sum":2.9999999999999996,"reserved_quantity:sum":1e300}]}`,
		`{"jsonrpc":"2.0","result":[{"id":1,"sale_line_id":[1],"state":"done","location_id":5,"quantity":-0.5}]}`,
		`{"jsonrpc":"2.0","result":{"server_version_info":["saas~18",4,0,"final",0,""]}}`,
	} {
		f.Add([]byte(body), `l"1`)
	}
	f.Fuzz(func(t *testing.T, body []byte, lineID string) {
		var got envelope
		if json.Unmarshal(body, &got) == nil && got.Error == nil {
			var lines []lineRow
			if json.Unmarshal(got.Result, &lines) == nil {
				for _, row := range lines {
					if l, ours, err := parseLine(row); err == nil && ours && (l.cancelled > l.ordered || l.lineID == "") {
						t.Errorf("%+v is a line", l)
					}
				}
			}
			var groups []groupRow
			if json.Unmarshal(got.Result, &groups) == nil {
				for _, row := range groups {
					if q, err := row.QuantitySum.whole("quantity", "units"); err == nil && (q > stock.MaxQuantity || q < -stock.MaxQuantity || row.QuantitySum == nil) {
						t.Errorf("%v became %d", row.QuantitySum, q)
					}
				}
			}
			var moves []moveRow
			_ = json.Unmarshal(got.Result, &moves)
			var version versionInfo
			if json.Unmarshal(got.Result, &version) == nil && version.major() < 0 {
				t.Errorf("the release is %d", version.major())
			}
		}
		if lineID == "" || json.Unmarshal([]byte(`"`+lineID+`"`), new(string)) != nil {
			return
		}
		wrote := orderLine{id: 1, lineID: lineID, ordered: 7, cancelled: 3, description: "Shirt\ntruestock ordered 1 cancelled 1 line \"x\"", now: 4}
		four := number(4)
		read, ours, err := parseLine(lineRow{ID: 1, Name: text(wrote.text()), Ordered: &four})
		if err != nil || !ours || read != wrote {
			t.Errorf("%+v was written, and %+v is read (%v)", wrote, read, err)
		}
	})
}
