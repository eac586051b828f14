package erpnext

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/signature"
	"github.com/truestock/truestock/stock"
)

const hookSecret = "k8s0d7f2h4"

// settings are complete ones for a pretend ERPNext, with changes.
func settings(url string, changes ...string) connectors.Settings {
	s := connectors.Settings{}
	for _, f := range Info().Fields {
		s[f.Name] = f.Default
	}
	s[settingBaseURL], s[settingKey], s[settingSecret], s[settingHookSecrets], s[settingPace] = url, pretendKey, pretendSecret, hookSecret, "5000"
	s[settingCustomer], s[settingDeliver], s[settingExcludeUnits] = "Marketplaces", stores, "Kg, Meter"
	for i := 0; i+1 < len(changes); i += 2 {
		s[changes[i]] = changes[i+1]
	}
	return s
}

func fixture(changes ...string) connectortest.Fixture {
	return connectortest.Fixture{New: func(t *testing.T) connectortest.Server {
		p := newPretend()
		url := p.serve(t)
		with := settings(url, changes...)
		return connectortest.Server{
			Open: func(env connectors.Env) (connectors.Connection, error) {
				return Info().Open(env, connectors.SystemOfRecordRole, with)
			},
			Secrets: []string{pretendKey, pretendSecret, hookSecret},
			Writes:  writes,
			Changes: func() int {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.writes
			},
			SKUs:  []string{"SHIRT", "CUP"},
			Level: func(sku string) stock.Quantity { return p.level(sku, with[settingNumber] == numberUnreserved) },
			Receive: func(sku string, quantity stock.Quantity) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.put(sku, stores, float64(quantity))
			},
			OrderCount: func() int {
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.orders)
			},
			OrdersByWebhook: true,
			ShipOrder:       p.ship,
			Sign:            sign,
			Event:           []byte(`{"doctype": "Delivery Note", "name": "MAT-DN-2026-00001", "modified": "2026-11-26 06:00:00.123456", "event": "on_submit"}`),
		}
	}}
}

// writes tells the calls that change something.
func writes(r *http.Request, _ []byte) bool {
	return r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "get_list")
}

// sign makes a delivery as Frappe does: the identity given stands in modified.
func sign(id string, at time.Time, body []byte) connectors.Request {
	var h hook
	if json.Unmarshal(body, &h) == nil && h.DocType != "" {
		body = fmt.Appendf(nil, `{"doctype": %q, "name": %q, "modified": %q, "event": %q}`, h.DocType, h.Name, id, h.Event)
	}
	return connectors.Request{Method: http.MethodPost, Header: http.Header{headerSignature: {signature.Body(hookSecret, body)}}, Body: body, At: at}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("on hand", func(t *testing.T) {
		t.Parallel()
		connectortest.RunSystemOfRecord(t, fixture())
	})
	t.Run("available", func(t *testing.T) {
		t.Parallel()
		connectortest.RunSystemOfRecord(t, fixture(settingNumber, numberUnreserved, settingWarehouses, stores+", "+shopFloor))
	})
}
