package odoo

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/stock"
)

const hookKey = "b7c1d95e-4a32-4c11"

// settings are complete ones for a pretend Odoo, with changes.
func settings(url string, changes ...string) connectors.Settings {
	s := connectors.Settings{}
	for _, f := range Info().Fields {
		s[f.Name] = f.Default
	}
	s[settingBaseURL], s[settingKey], s[settingPartner], s[settingWebhookKeys], s[settingPace] = url, pretendKey, "33", hookKey, "5000"
	s[settingDatabase], s[settingLogin], s[settingExcludeUnits] = pretendDB, pretendLogin, "kg, m"
	for i := 0; i+1 < len(changes); i += 2 {
		s[changes[i]] = changes[i+1]
	}
	return s
}

func fixture(major int, changes ...string) connectortest.Fixture {
	return connectortest.Fixture{New: func(t *testing.T) connectortest.Server {
		p := newPretend(major)
		url := p.serve(t)
		return connectortest.Server{
			Open: func(env connectors.Env) (connectors.Connection, error) {
				return Info().Open(env, connectors.SystemOfRecordRole, settings(url, changes...))
			},
			Secrets: []string{pretendKey, hookKey},
			Writes:  writes,
			Changes: func() int {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.writes
			},
			SKUs:  []string{"SHIRT", "CUP"},
			Level: p.onHand,
			Receive: func(sku string, quantity stock.Quantity) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.put(map[string]int64{"SHIRT": shirt, "CUP": cup}[sku], stockWH, float64(quantity))
			},
			OrderCount: func() int {
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.tables["sale.order"])
			},
			ShipOrder:    p.ship,
			Sign:         sign,
			Event:        []byte(`{"_action":"truestock(#7)","_id":12,"_model":"stock.quant","write_date":"2026-11-26 06:00:00.123"}`),
			BodyUnsigned: true,
		}
	}}
}

// writes tells the calls that change something by the name of their method, where either interface has it.
func writes(r *http.Request, body []byte) bool {
	for _, name := range []string{"create", "write", "action_confirm", "action_cancel"} {
		if strings.HasSuffix(r.URL.Path, "/"+name) || r.URL.Path == "/jsonrpc" && strings.Contains(string(body), `"sale.order","`+name+`"`) {
			return true
		}
	}
	return false
}

// sign makes a delivery as Odoo sends it: the id stands in write_date, since there is no other.
func sign(id string, at time.Time, body []byte) connectors.Request {
	var members map[string]any
	if json.Unmarshal(body, &members) == nil && members != nil {
		members["write_date"] = id
		body, _ = json.Marshal(members, json.Deterministic(true))
	}
	return connectors.Request{Method: http.MethodPost, RawQuery: "key=" + hookKey, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, At: at}
}

func TestConformanceJSON2(t *testing.T) {
	t.Parallel()
	connectortest.RunSystemOfRecord(t, fixture(19))
}

func TestConformanceJSONRPC(t *testing.T) {
	t.Parallel()
	connectortest.RunSystemOfRecord(t, fixture(16, settingNumber, productFree))
}
