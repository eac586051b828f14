package alibaba_test

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/alibaba"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/signature"
)

const key = "isvkey"

func open(t *testing.T, env connectors.Env) connectors.Connection {
	t.Helper()
	c, err := alibaba.Info().Open(env, connectors.MarketplaceRole, connectors.Settings{"keys": "old " + key, "quantity_parameter": "Count"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// call is a request as the platform makes it.
func call(parameters map[string]string) connectors.Request {
	all := maps.Clone(parameters)
	all["token"] = signature.Alibaba(key, parameters)
	query := url.Values{}
	for name, value := range all {
		query.Set(name, value)
	}
	return connectors.Request{Method: http.MethodGet, RawQuery: query.Encode(), Header: http.Header{}, At: time.Now()}
}

// create is the example of the platform's documentation, for three.
func create() map[string]string {
	return map[string]string{"action": "createInstance", "aliUid": "123456789", "orderBizId": "1", "orderId": "205060317920890", "productCode": "cmgj000001",
		"skuId": "yuncode000001", "trial": "false", "expiredOn": "2013-01-01 01:01:01", "Count": "3"}
}

func TestConformance(t *testing.T) {
	connectortest.RunPlatform(t, connectortest.Fixture{New: func(t *testing.T) connectortest.Server {
		return connectortest.Server{
			Open:         func(env connectors.Env) (connectors.Connection, error) { return open(t, env), nil },
			Event:        []byte("createInstance"),
			BodyUnsigned: true,
			NotJSON:      true,
			Sign: func(id string, at time.Time, _ []byte) connectors.Request {
				parameters := create()
				parameters["orderBizId"] = id
				r := call(parameters)
				r.At = at
				return r
			},
		}
	}})
}

func TestTheLifeOfAnOrder(t *testing.T) {
	c := open(t, connectors.Env{}).(interface {
		connectors.WebhookReceiver
		connectors.Admitter
		connectors.WebhookAnswerer
	})
	read := func(parameters map[string]string) (connectors.Delivery, connectors.Notice) {
		t.Helper()
		d, err := c.VerifyWebhook(call(parameters))
		if err != nil {
			t.Fatal(err)
		}
		n, err := c.DecodeWebhook(d, d.Body)
		if err != nil {
			t.Fatal(err)
		}
		return d, n
	}
	d, n := read(create())
	order := n.Facts[0].Order
	if d.Secret != 1 || order.OrderID != "1" || order.Buyer.Ref != "123456789" || len(order.Lines) != 1 || order.Lines[0].Ref.Item != "yuncode000001" || order.Lines[0].Quantity != 3 {
		t.Errorf("secret %d, order %+v", d.Secret, order)
	}
	if strings.Contains(string(d.Body), "token") {
		t.Errorf("the token is stored: %s", d.Body)
	}
	for decision, want := range map[connectors.Decision]string{connectors.Admit: `{"instanceId":"1"}`, connectors.Refuse: `{"instanceId":"0"}`} {
		if got := c.AnswerAdmission(d, connectors.Admission{Decision: decision}); string(got.Body) != want || got.Status != http.StatusOK {
			t.Errorf("%s: %d %s", decision, got.Status, got.Body)
		}
	}

	for _, action := range []string{"renewInstance", "expiredInstance"} {
		if _, n := read(map[string]string{"action": action, "instanceId": "1", "orderId": "2"}); n.Asks || len(n.Facts) > 0 {
			t.Errorf("%s says %+v", action, n)
		}
	}
	_, n = read(map[string]string{"action": "releaseInstance", "instanceId": "1", "isRefund": "true"})
	if len(n.Facts) != 1 || n.Facts[0].Kind != connectors.OrderCancelled || n.Facts[0].Order.OrderID != "1" || n.Facts[0].Order.Version <= order.Version {
		t.Errorf("a release says %+v", n)
	}
	if got := c.AnswerWebhook(connectors.ReceivedNew); string(got.Body) != `{"success":"true"}` {
		t.Errorf("%s", got.Body)
	}

	trial := create()
	trial["trial"] = "true"
	if _, n := read(trial); n.Facts[0].Order.Lines[0].Ref.Item != "yuncode000001:trial" {
		t.Errorf("a trial is of %s", n.Facts[0].Order.Lines[0].Ref)
	}
}

func TestBadCalls(t *testing.T) {
	c := open(t, connectors.Env{}).(connectors.WebhookReceiver)
	changed := call(create())
	changed.RawQuery = strings.Replace(changed.RawQuery, "Count=3", "Count=300", 1)
	twice := call(create())
	twice.RawQuery += "&Count=4"
	for name, r := range map[string]connectors.Request{"changed on the way": changed, "a parameter twice": twice,
		"no token": {Method: http.MethodGet, RawQuery: "action=createInstance", Header: http.Header{}}} {
		if _, err := c.VerifyWebhook(r); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, parameters := range map[string]map[string]string{"unknown action": {"action": "upgradeInstance", "instanceId": "1"}, "no order": {"action": "createInstance"},
		"no instance": {"action": "releaseInstance"}} {
		if _, err := c.VerifyWebhook(call(parameters)); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, count := range []string{"0", "-1", "1.5", "many", "9999999999999999999"} {
		parameters := create()
		parameters["Count"] = count
		d, err := c.VerifyWebhook(call(parameters))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.DecodeWebhook(d, d.Body); err == nil {
			t.Errorf("%s became %+v", count, n.Facts[0].Order)
		}
	}
}

func FuzzDecodeWebhook(f *testing.F) {
	c, err := alibaba.Info().Open(connectors.Env{}, connectors.MarketplaceRole, connectors.Settings{"keys": key, "quantity_parameter": "Count"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"action":"createInstance","orderBizId":"1","skuId":"s","Count":"3"}`))
	f.Add([]byte(`{"action":"releaseInstance","instanceId":"1"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := c.(connectors.WebhookReceiver).DecodeWebhook(connectors.Delivery{}, body)
		if err != nil {
			return
		}
		for _, fact := range n.Facts {
			if o := fact.Order; fact.Kind == connectors.OrderUpserted && (fact.Validate() != nil || o.Lines[0].Quantity < 1) {
				t.Errorf("%q became %+v", body, o)
			}
		}
	})
}
