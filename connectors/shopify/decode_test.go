package shopify

import (
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
)

var two = &facts{account: "1", locations: []location{{"9", "W"}, {"8", "S"}}}

func FuzzOrder(f *testing.F) {
	f.Add([]byte(`{"id":"gid://shopify/Order/1","createdAt":"2026-01-01T00:00:00Z","updatedAt":"2026-01-01T00:00:00Z","cancelledAt":null,
"customer":{"id":"gid://shopify/Customer/4"},"lineItems":{"nodes":[{"id":"gid://shopify/LineItem/2","quantity":5,"currentQuantity":2,"sku":"A",
"variant":{"inventoryItem":{"id":"gid://shopify/InventoryItem/1"}}}]},
"fulfillments":[{"id":"f","status":"SUCCESS","location":{"id":"gid://shopify/Location/9"},"fulfillmentLineItems":{"nodes":[{"quantity":1,"lineItem":{"id":"gid://shopify/LineItem/2"}}]}}],
"refunds":[{"id":"r","refundLineItems":{"nodes":[{"quantity":3,"restockType":"RETURN","restocked":true,"lineItem":{"id":"gid://shopify/LineItem/2"}}]}}],
"fulfillmentOrders":{"nodes":[{"id":"o","status":"OPEN","assignedLocation":{"location":{"id":"gid://shopify/Location/7"}},
"lineItems":{"nodes":[{"id":"x","totalQuantity":3,"remainingQuantity":2,"inventoryItemId":"gid://shopify/InventoryItem/1","lineItem":{"id":"gid://shopify/LineItem/2"}}]}}]}}`))
	f.Add([]byte(`{"id":"gid://shopify/Order/1","fulfillments":[null],"refunds":[null],"fulfillmentOrders":{"nodes":[null]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var o order
		if json.Unmarshal(text, &o) != nil {
			return
		}
		got, err := o.toOrder(two)
		if err != nil {
			return
		}
		for _, l := range got.Lines {
			if l.Quantity < 0 || l.Cancelled < 0 || l.Shipped < 0 || l.Restocked < 0 || l.Cancelled > l.Quantity || l.Restocked > l.Quantity || l.Ref.Item == "" {
				t.Errorf("line %+v", l)
			}
			if l.Shipped <= l.Quantity && l.Shipped+l.Cancelled > l.Quantity {
				t.Errorf("more is shipped and cancelled than ordered: %+v", l)
			}
		}
		if got.Version < 0 {
			t.Errorf("version %d", got.Version)
		}
	})
}

func FuzzItem(f *testing.F) {
	f.Add([]byte(`{"id":"gid://shopify/InventoryItem/1","tracked":true,"inventoryLevel":{"quantities":[{"name":"available","quantity":-4}]},"variants":{"nodes":[{"inventoryPolicy":"CONTINUE"}]}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var i *item
		if json.Unmarshal(text, &i) != nil {
			return
		}
		l, stocked, err := i.listing("9")
		if err != nil {
			return
		}
		if l.Quantity > maxQuantity || l.Quantity < -maxQuantity || !stocked && l.Quantity != 0 || !isNumber(l.Ref.Item) {
			t.Errorf("%+v", l)
		}
	})
}

func FuzzLevel(f *testing.F) {
	f.Add("inventory_levels/update", []byte(`{"inventory_item_id":11,"location_id":21,"available":7}`))
	f.Add("orders/create", []byte(`{"id":1}`))
	f.Fuzz(func(t *testing.T, topic string, body []byte) {
		n, err := (&shop{wanted: []string{"21", "22"}}).DecodeWebhook(connectors.Delivery{Type: topic}, body)
		if err != nil && (n.Pull || len(n.Facts) > 0) {
			t.Errorf("%+v, %v", n, err)
		}
		for _, fact := range n.Facts {
			if err := fact.Validate(); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzCursors(f *testing.F) {
	f.Add("0:17:4242:12:eyJsYXN0X2lkIjo0MiwibGFzdF92YWx1ZSI6IjQyIn0=")
	f.Add("1795477744:1795477744001:12:c:d")
	f.Add("-1:0:0")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := parseListingCursor(connectors.Cursor(text)); err == nil && text != "" {
			if again, err := parseListingCursor(c.encode()); err != nil || again != c {
				t.Errorf("%q is read as %+v, then as %+v, %v", text, c, again, err)
			}
		}
		if c, err := parseOrderCursor(connectors.Cursor(text)); err == nil {
			if again, err := parseOrderCursor(c.encode()); err != nil || again != c {
				t.Errorf("%q is read as %+v, then as %+v, %v", text, c, again, err)
			}
		}
	})
}

func FuzzUserErrors(f *testing.F) {
	f.Add([]byte(`[{"field":["input","quantities","1","quantity"],"message":"m","code":"CHANGE_FROM_QUANTITY_STALE"},{"field":null,"message":"m"}]`))
	f.Add([]byte(`[{"field":["quantities"]},{"field":["quantities","-1"]},{"field":["quantities","99999999999999999999"]}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var errs []userError
		if json.Unmarshal(text, &errs) != nil {
			return
		}
		for _, e := range errs {
			lines := []*line{{}, {}}
			if l := lineOf(lines, e.Field); l != nil && l != lines[0] && l != lines[1] {
				t.Errorf("%v leads to another line", e.Field)
			}
		}
	})
}
