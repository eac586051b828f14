package open

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	scheme "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/standardwebhooks"
	"github.com/truestock/truestock/stock"
)

const (
	vectorSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret  = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

func newReceiver(t testing.TB, role connectors.Role, secrets string) *receiver {
	t.Helper()
	verifier, err := standardwebhooks.Parse(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return &receiver{role: role, verifier: verifier}
}

func signed(t testing.TB, secret, id string, at time.Time, body []byte) http.Header {
	t.Helper()
	signer, err := scheme.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signer.Sign(id, at, body)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	h.Set("webhook-signature", signature)
	return h
}

// What a delivery must be is shown in connectors/standardwebhooks; this is that the connection asks for it.
func TestVerifyWebhook(t *testing.T) {
	body, now := []byte(`{"type":"stock.changed"}`), time.Now()
	r := newReceiver(t, connectors.MarketplaceRole, otherSecret+", "+vectorSecret)
	for i, secret := range []string{otherSecret, vectorSecret} {
		d, err := r.VerifyWebhook(connectors.Request{Header: signed(t, secret, "m1", now, body), Body: body, At: now})
		if err != nil || d.Key != "m1" || d.Type != "stock.changed" || d.Secret != i || d.Body != nil {
			t.Errorf("%+v, %v", d, err)
		}
	}
	if _, err := r.VerifyWebhook(connectors.Request{Header: signed(t, otherSecret, "m1", now, body), Body: []byte(`{"type":"stock.level"}`), At: now}); !errors.Is(err, connectors.ErrSignature) {
		t.Errorf("another body than was signed: %v", err)
	}
	if _, err := r.VerifyWebhook(connectors.Request{Header: signed(t, otherSecret, "m1", now, []byte(`{}`)), Body: []byte(`{}`), At: now}); !errors.Is(err, connectors.ErrEnvelope) {
		t.Errorf("no type: %v", err)
	}
	if _, err := newReceiver(t, connectors.MarketplaceRole, "").VerifyWebhook(connectors.Request{Header: signed(t, otherSecret, "m1", now, body), Body: body, At: now}); !errors.Is(err, connectors.ErrSignature) {
		t.Errorf("without secrets: %v", err)
	}
}

var (
	sentAt     = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	happenedAt = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
)

// event is a body with the envelope of sentAt.
func event(kind, data string) []byte {
	return []byte(`{"type":"` + kind + `","timestamp":"2026-11-23T11:00:00+01:00","data":` + data + `}`)
}

// good is one event of every type, with the fact that it means.
var good = []struct {
	role connectors.Role
	kind connectors.Kind
	data string
	want connectors.Fact
}{
	{
		connectors.MarketplaceRole, connectors.OrderUpserted,
		`{"order_id":"O1","version":3,"placed_at":"2026-11-23T08:00:00Z","updated_at":"2026-11-23T09:00:00Z","status":"open","buyer":{"ref":"b"},
		"lines":[{"line_id":"1","item":"I","place":"P","sku":"S","quantity":5,"cancelled":1,"shipped":2,"restocked":0,"gift":true}]}`,
		connectors.Fact{Position: stock.Position{SourceAt: happenedAt}, Order: &connectors.Order{
			OrderID: "O1", Version: 3, PlacedAt: happenedAt.Add(-time.Hour), UpdatedAt: happenedAt, Status: "open", Buyer: &connectors.Buyer{Ref: "b"},
			Lines: []connectors.ChannelLine{{LineID: "1", Ref: connectors.Ref{Item: "I", Place: "P"}, SKU: "S", Quantity: 5, Cancelled: 1, Shipped: 2}},
		}},
	},
	{
		connectors.MarketplaceRole, connectors.OrderUpserted, `{"order_id":"O1","version":0,"status":"closed","lines":[]}`,
		connectors.Fact{Position: stock.Position{SourceAt: sentAt}, Order: &connectors.Order{OrderID: "O1", PlacedAt: sentAt, Status: "closed", Lines: []connectors.ChannelLine{}}},
	},
	{
		connectors.MarketplaceRole, connectors.OrderCancelled, `{"order_id":"O1","version":4}`,
		connectors.Fact{Position: stock.Position{SourceAt: sentAt}, Order: &connectors.Order{OrderID: "O1", Version: 4}},
	},
	{
		connectors.MarketplaceRole, connectors.ListingChanged, `{"item":"I","sku":"S","title":"T","quantity":-2}`,
		connectors.Fact{Position: stock.Position{SourceAt: sentAt}, Observation: &connectors.Observation{Ref: connectors.Ref{Item: "I"}, SKU: "S", Title: "T", Quantity: new(stock.Quantity(-2))}},
	},
	{
		connectors.MarketplaceRole, connectors.ListingRemoved, `{"item":"I"}`,
		connectors.Fact{Position: stock.Position{SourceAt: sentAt}, Observation: &connectors.Observation{Ref: connectors.Ref{Item: "I"}}},
	},
	{
		connectors.SystemOfRecordRole, connectors.StockLevel, `{"sku":"S","location":"L","quantity":0,"position":9,"as_of":"2026-11-23T09:00:00Z"}`,
		connectors.Fact{Position: stock.Position{Sequenced: true, Sequence: 9, SourceAt: happenedAt}, Statement: &connectors.Statement{SKU: "S", Location: "L"}},
	},
	{
		connectors.SystemOfRecordRole, connectors.StockLevel, `{"sku":"S","location":"L","quantity":-7}`,
		connectors.Fact{Position: stock.Position{SourceAt: sentAt}, Statement: &connectors.Statement{SKU: "S", Location: "L", Quantity: -7}},
	},
	{
		connectors.SystemOfRecordRole, connectors.StockMoved, `{"sku":"S","location":"L","delta":-3,"reason":"damage","position":10,"occurred_at":"2026-11-23T09:00:00Z"}`,
		connectors.Fact{Position: stock.Position{Sequenced: true, Sequence: 10, SourceAt: happenedAt}, Movement: &connectors.Movement{SKU: "S", Location: "L", Delta: -3, Reason: "damage"}},
	},
	{
		connectors.SystemOfRecordRole, connectors.OrderAllocated, `{"order_key":"K","lines":[{"line_id":"1","quantity":2,"location":"L"}],"occurred_at":"2026-11-23T09:00:00Z"}`,
		connectors.Fact{Position: stock.Position{SourceAt: happenedAt}, Allocation: &connectors.Allocation{OrderKey: "K", Lines: []connectors.AllocationLine{{LineID: "1", Quantity: 2, Location: "L"}}}},
	},
	{
		connectors.SystemOfRecordRole, connectors.ShipmentShipped,
		`{"shipment_id":"X","order_key":"K","lines":[{"line_id":"1","sku":"S","quantity":2,"location":"L"}],"carrier":"c","tracking":"t","position":1,"occurred_at":"2026-11-23T09:00:00Z"}`,
		connectors.Fact{Position: stock.Position{Sequenced: true, Sequence: 1, SourceAt: happenedAt}, Shipment: &connectors.Shipment{
			ShipmentID: "X", OrderKey: "K", Carrier: "c", Tracking: "t", Lines: []connectors.ShipmentLine{{LineID: "1", SKU: "S", Quantity: 2, Location: "L"}},
		}},
	},
	{
		connectors.SystemOfRecordRole, connectors.ReturnReceived,
		`{"return_id":"R","lines":[{"sku":"S","quantity":1,"location":"L","sellable":false}],"occurred_at":"2026-11-23T09:00:00Z"}`,
		connectors.Fact{Position: stock.Position{SourceAt: happenedAt}, Return: &connectors.Return{ReturnID: "R", Lines: []connectors.ReturnLine{{SKU: "S", Quantity: 1, Location: "L"}}}},
	},
}

func TestDecode(t *testing.T) {
	for _, g := range good {
		want := g.want
		want.Kind = g.kind
		r := receiver{role: g.role}
		n, err := r.DecodeWebhook(connectors.Delivery{}, event(string(g.kind), g.data))
		if err != nil || len(n.Facts) != 1 || n.Pull {
			t.Errorf("%s: %+v, %v", g.kind, n, err)
			continue
		}
		got, wanted := text(t, n.Facts[0]), text(t, want)
		if got != wanted {
			t.Errorf("%s: %s\nnot %s", g.kind, got, wanted)
		}
		// The other side has no business sending it.
		other := receiver{role: map[connectors.Role]connectors.Role{
			connectors.MarketplaceRole: connectors.SystemOfRecordRole, connectors.SystemOfRecordRole: connectors.MarketplaceRole,
		}[g.role]}
		if _, err := other.DecodeWebhook(connectors.Delivery{}, event(string(g.kind), g.data)); err == nil {
			t.Errorf("%s is taken from a %s", g.kind, other.role)
		}
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDecodeChanged(t *testing.T) {
	r := receiver{role: connectors.MarketplaceRole}
	for _, body := range []string{`{"type":"stock.changed"}`, `{"type":"stock.changed","data":{}}`, `{"type":"stock.changed","data":{"skus":["A","B"]}}`} {
		if n, err := r.DecodeWebhook(connectors.Delivery{}, []byte(body)); err != nil || !n.Pull || len(n.Facts) != 0 {
			t.Errorf("%s: %+v, %v", body, n, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, row := range []struct {
		kind connectors.Kind
		data string
		want string
	}{
		{connectors.StockLevel, `{"sku":"S","location":"L"}`, "quantity is missing or null"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":null}`, "quantity is missing or null"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":1.0}`, "1.0 at /quantity is not a whole number"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":1.5}`, "1.5 at /quantity is not a whole number"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":1e2}`, "1e2 at /quantity is not a whole number"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":"5"}`, "/quantity"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":1000000000001}`, "quantity is 1000000000001"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":99999999999999999999}`, "/quantity"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":1,"quantity":2}`, "duplicate"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":1,"x":{"y":1,"y":2}}`, "duplicate"},
		{connectors.StockLevel, `{"sku":"","location":"L","quantity":1}`, "sku is missing or empty"},
		{connectors.StockLevel, `{"sku":"S","quantity":1}`, "location is missing or empty"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":1,"position":-1}`, "position is -1"},
		{connectors.StockLevel, `{"SKU":"S","location":"L","quantity":1}`, "sku is missing or empty"},
		{connectors.StockLevel, `{"sku":"S","location":"L","quantity":1,"as_of":"0999-01-01T00:00:00Z"}`, "in the year 999"},
		{connectors.StockMoved, `{"sku":"S","location":"L","delta":null,"occurred_at":"2026-11-23T09:00:00Z"}`, "delta is missing or null"},
		{connectors.StockMoved, `{"sku":"S","location":"L","delta":1}`, "occurred_at is missing or null"},
		{connectors.OrderRejected, `{"order_key":"K","lines":[],"occurred_at":"2026-11-23T09:00:00Z"}`, "lines is missing or empty"},
		{connectors.OrderRejected, `{"order_key":"K","lines":[{"line_id":"1","quantity":-1,"location":"L"}],"occurred_at":"2026-11-23T09:00:00Z"}`, "line 1: quantity is -1"},
		{connectors.ReturnReceived, `{"return_id":"R","lines":[{"sku":"S","quantity":1,"location":"L"}],"occurred_at":"2026-11-23T09:00:00Z"}`, "line 1: sellable is missing or null"},
		{connectors.ShipmentShipped, `{"shipment_id":"X","order_key":"K","lines":[{"line_id":"1","sku":"S","location":"L"}],"occurred_at":"2026-11-23T09:00:00Z"}`, "line 1: quantity is missing or null"},
		{connectors.ShipmentShipped, `[]`, "the top"},
		{"stock.unheard_of", `{}`, `type "stock.unheard_of" is not known`},
	} {
		n, err := (&receiver{role: connectors.SystemOfRecordRole}).DecodeWebhook(connectors.Delivery{}, event(string(row.kind), row.data))
		if err == nil || !strings.Contains(err.Error(), row.want) || len(n.Facts) != 0 {
			t.Errorf("%s %s: %+v, %v", row.kind, row.data, n, err)
		}
	}
	for data, want := range map[string]string{
		`{"order_id":"O","version":1,"status":"open"}`:                                                                                            "lines is missing or null",
		`{"order_id":"O","status":"open","lines":[]}`:                                                                                             "version is missing or null",
		`{"order_id":"O","version":1.5,"status":"open","lines":[]}`:                                                                               "1.5 at /version",
		`{"order_id":"O","version":-1,"status":"open","lines":[]}`:                                                                                "version -1 is below 0",
		`{"order_id":"O","version":1,"status":"paid","lines":[]}`:                                                                                 `status "paid"`,
		`{"order_id":"O","version":1,"status":"open","lines":[{"line_id":"1","item":"I","quantity":1}]}`:                                          "line 1: cancelled is missing or null",
		`{"order_id":"O","version":1,"status":"open","lines":[{"line_id":"1","item":"I","quantity":1,"cancelled":0,"shipped":0,"restocked":-1}]}`: "line 1: restocked is -1",
	} {
		n, err := (&receiver{role: connectors.MarketplaceRole}).DecodeWebhook(connectors.Delivery{}, event("order.upserted", data))
		if err == nil || !strings.Contains(err.Error(), want) || len(n.Facts) != 0 {
			t.Errorf("%s: %+v, %v", data, n, err)
		}
	}
	for _, body := range []string{``, `{}`, `[]`, `{"type":"stock.level"}`, `{"type":"stock.changed","data":{"skus":1}}`, `{"type":"stock.changed","type":"x"}`} {
		if n, err := (&receiver{role: connectors.SystemOfRecordRole}).DecodeWebhook(connectors.Delivery{}, []byte(body)); err == nil {
			t.Errorf("%s: %+v", body, n)
		}
	}
}

func FuzzDecodeWebhook(f *testing.F) {
	for _, g := range good {
		f.Add(event(string(g.kind), g.data))
	}
	f.Add([]byte(`{"type":"stock.changed","data":{"skus":["A"]}}`))
	f.Add([]byte(`{"type":"stock.level","data":{"sku":"S","location":"L","quantity":1e999}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, role := range []connectors.Role{connectors.MarketplaceRole, connectors.SystemOfRecordRole} {
			r := receiver{role: role}
			n, err := r.DecodeWebhook(connectors.Delivery{}, body)
			if err != nil {
				if len(n.Facts) > 0 || n.Pull {
					t.Errorf("an error and a notice too: %+v", n)
				}
				continue
			}
			for _, fact := range n.Facts {
				if err := fact.Validate(); err != nil {
					t.Errorf("%s: %v", body, err)
				}
			}
			// What is an event to decode is an envelope to verify; else it could not have been stored.
			now := time.Now()
			verifier := newReceiver(t, role, vectorSecret)
			if d, err := verifier.VerifyWebhook(connectors.Request{Header: signed(t, vectorSecret, "m", now, body), Body: body, At: now}); err != nil && !bytes.Contains(body, []byte("null")) {
				t.Errorf("%s decodes, and its envelope is refused: %+v, %v", body, d, err)
			}
		}
	})
}
