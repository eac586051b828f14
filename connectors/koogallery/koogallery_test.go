package koogallery_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/koogallery"
	"github.com/truestock/truestock/connectors/signature"
)

const (
	key       = "ACCESSKEY"
	secretKey = "SECRETKEY-of-the-seller"
)

// order is the example of the platform's documentation, cut to what is read.
const order = `{"resultCode":"MKT.0000","resultMsg":"Success","orderInfo":{"orderId":"CS2207261447AUY4H","orderType":"NEW","createTime":"20220726064736",
	"orderLine":[{"orderLineId":"CS2207261447AUY4H-000001","chargingMode":"PERIOD","periodType":"year","periodNumber":1,"expireTime":"20230726155959",
	"productInfo":[{"skuCode":"d0f8a8a0-seats","productId":"OFFI1","linearValue":3}]}],"buyerInfo":{"customerId":"customer-1"}}}`

// answering is the platform's own interface, which gives every look-up the same answer.
func answering(status int, body string) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature=") {
			status, body = http.StatusUnauthorized, `{"resultCode":"MKT.0154","resultMsg":"Illegal token"}`
		}
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return w.Result(), nil
	})
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func open(t testing.TB, env connectors.Env) connectors.Connection {
	t.Helper()
	c, err := koogallery.Info().Open(env, connectors.MarketplaceRole, connectors.Settings{"keys": "old " + key, "base_url": "https://mkt.example",
		"access_key": "AK", "secret_key": secretKey, "front_end_url": "https://product.example"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// call is a request as the platform makes it.
func call(body string, at time.Time) connectors.Request {
	timestamp := strconv.FormatInt(at.UnixMilli(), 10)
	query := url.Values{"timestamp": {timestamp}, "nonce": {"NONCE"}, "signature": {strings.ToUpper(signature.HuaweiV2(key, "NONCE", timestamp, []byte(body)))}}
	return connectors.Request{Method: http.MethodPost, RawQuery: query.Encode(), Header: http.Header{}, Body: []byte(body), At: at}
}

// platform is everything that a connection is.
type platform interface {
	connectors.WebhookReceiver
	connectors.WebhookCompleter
	connectors.Handshaker
	connectors.Admitter
	connectors.WebhookAnswerer
}

func TestConformance(t *testing.T) {
	connectortest.RunPlatform(t, connectortest.Fixture{New: func(t *testing.T) connectortest.Server {
		return connectortest.Server{
			Transport: answering(http.StatusOK, order),
			Secrets:   []string{key, secretKey},
			Open: func(env connectors.Env) (connectors.Connection, error) {
				return open(t, env), nil
			},
			Event: []byte(`{"activity":"newInstance","orderId":"CS2207261447AUY4H","orderLineId":"CS2207261447AUY4H-000001","businessId":"b-1"}`),
			Sign: func(id string, at time.Time, body []byte) connectors.Request {
				return call(strings.ReplaceAll(string(body), "newInstance\",\"orderId\":\"CS2207261447AUY4H\"", "newInstance\",\"orderId\":\""+id+"\""), at)
			},
		}
	}})
}

func TestTheLifeOfAnInstance(t *testing.T) {
	p := open(t, connectors.Env{Transport: answering(http.StatusOK, order)}).(platform)
	now := time.Now()
	read := func(body string) (connectors.Delivery, connectors.Notice) {
		t.Helper()
		d, err := p.VerifyWebhook(call(body, now))
		if err != nil {
			t.Fatal(err)
		}
		if d, err = p.CompleteWebhook(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		n, err := p.DecodeWebhook(d, d.Body)
		if err != nil {
			t.Fatal(err)
		}
		return d, n
	}
	ask := `{"activity":"newInstance","orderId":"CS2207261447AUY4H","orderLineId":"CS2207261447AUY4H-000001","businessId":"1"}`
	d, n := read(ask)
	o := n.Facts[0].Order
	if !n.Asks || o.OrderID != "CS2207261447AUY4H-000001" || o.Buyer.Ref != "customer-1" || len(o.Lines) != 1 || o.Lines[0].Ref.Item != "d0f8a8a0-seats" || o.Lines[0].Quantity != 3 {
		t.Errorf("%+v", n)
	}
	if again, _ := read(strings.Replace(ask, `"businessId":"1"`, `"businessId":"2"`, 1)); again.Key != d.Key || string(again.Body) != string(d.Body) {
		t.Errorf("the same question is %s and then %s", d.Body, again.Body)
	}
	yes := p.AnswerAdmission(d, connectors.Admission{Decision: connectors.Admit})
	if want := `{"resultCode":"000000","resultMsg":"success","instanceId":"CS2207261447AUY4H-000001","appInfo":{"frontEndUrl":"https://product.example"}}`; string(yes.Body) != want ||
		yes.Header.Get("Body-Sign") != signature.HuaweiReply(key, yes.Body) {
		t.Errorf("%s %v", yes.Body, yes.Header)
	}
	if no := p.AnswerAdmission(d, connectors.Admission{Decision: connectors.Refuse}); !strings.Contains(string(no.Body), `"resultCode":"000100"`) {
		t.Errorf("%s", no.Body)
	}
	if _, n := read(`{"activity":"refreshInstance","instanceId":"i","scene":"RENEWAL","expireTime":"20270101000000"}`); n.Asks || len(n.Facts) > 0 {
		t.Errorf("a renewal says %+v", n)
	}
	if _, n := read(`{"activity":"upgradeInstance","instanceId":"CS2207261447AUY4H-000001","orderId":"CS2","orderLineId":"CS2207261447AUY4H-000001"}`); !n.Asks || n.Facts[0].Order.OrderID != o.OrderID || n.Facts[0].Order.Version <= o.Version {
		t.Errorf("an upgrade says %+v", n)
	}
	if _, n := read(`{"activity":"releaseInstance","instanceId":"CS2207261447AUY4H-000001"}`); len(n.Facts) != 1 || n.Facts[0].Kind != connectors.OrderCancelled || n.Facts[0].Order.OrderID != o.OrderID {
		t.Errorf("a release says %+v", n)
	}
}

func TestWhatMovesNothingIsAnsweredAtOnce(t *testing.T) {
	p := open(t, connectors.Env{Transport: answering(http.StatusInternalServerError, "")}).(platform)
	for body, want := range map[string]string{
		`{"activity":"newInstance","orderId":"MOCKONETIMENEW","orderLineId":"MOCKONETIMENEW-000001","testFlag":"1"}`: `"instanceId":"MOCKONETIMENEW-000001"`,
		`{"activity":"queryInstance","instanceId":"a, b"}`:                                                           `"info":[{"instanceId":"a","appInfo":{"frontEndUrl":"https://product.example"}},{"instanceId":"b"`,
	} {
		reply, ok := p.Handshake(call(body, time.Now()))
		if !ok || !strings.Contains(string(reply.Body), want) {
			t.Errorf("%s: %t %s", body, ok, reply.Body)
		}
		unsigned := call(body, time.Now())
		unsigned.Body = append(unsigned.Body, ' ')
		if _, ok := p.Handshake(unsigned); ok {
			t.Errorf("%s is answered unsigned", body)
		}
	}
	if _, ok := p.Handshake(call(`{"activity":"newInstance","orderId":"CS1"}`, time.Now())); ok {
		t.Error("a question is taken for a test")
	}
}

func TestBadCalls(t *testing.T) {
	p := open(t, connectors.Env{}).(platform)
	now := time.Now()
	old := call(`{"activity":"newInstance","orderId":"CS1"}`, now.Add(-2*time.Minute))
	old.At = now
	if _, err := p.VerifyWebhook(old); !errors.Is(err, connectors.ErrSignature) {
		t.Errorf("an old request: %v", err)
	}
	for _, body := range []string{`{"activity":"somethingElse","instanceId":"i"}`, `{"activity":"newInstance"}`, `{"activity":"releaseInstance"}`, `[]`, `null`, `{"activity":"newInstance","orderId":1}`} {
		if _, err := p.VerifyWebhook(call(body, now)); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestLookUpsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   connectors.ErrorKind
	}{
		"too often":         {http.StatusNotAcceptable, `{"resultCode":"MKT.0250","resultMsg":"Access frequency overlimit"}`, connectors.Throttled},
		"not ours":          {http.StatusUnauthorized, `{"resultCode":"MKT.0151","resultMsg":"No authority"}`, connectors.Auth},
		"refused":           {http.StatusOK, `{"resultCode":"MKT.0199","resultMsg":"Request parameter error"}`, connectors.Rejected},
		"without the line":  {http.StatusOK, `{"resultCode":"MKT.0000","orderInfo":{"orderLine":[]}}`, connectors.Rejected},
		"a page for people": {http.StatusOK, `<html>`, connectors.Retryable},
		"down":              {http.StatusBadGateway, ``, connectors.Retryable},
	} {
		p := open(t, connectors.Env{Transport: answering(c.status, c.body)}).(platform)
		d, err := p.VerifyWebhook(call(`{"activity":"newInstance","orderId":"CS1","orderLineId":"CS1-1"}`, time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.CompleteWebhook(t.Context(), d); connectors.KindOf(err) != c.want {
			t.Errorf("%s: %v, not %s", name, err, c.want)
		}
	}
}

func FuzzDecodeWebhook(f *testing.F) {
	p := open(f, connectors.Env{}).(platform)
	f.Add([]byte(`{"activity":"newInstance","orderId":"CS1","bought":[{"skuCode":"s","linearValue":3}]}`))
	f.Add([]byte(`{"activity":"releaseInstance","instanceId":"i"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := p.DecodeWebhook(connectors.Delivery{}, body)
		if err != nil {
			return
		}
		for _, fact := range n.Facts {
			if fact.Kind == connectors.OrderUpserted && fact.Validate() != nil {
				t.Errorf("%q became %+v", body, fact.Order)
			}
		}
	})
}
