package standardwebhooks_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/standardwebhooks"
)

var (
	first  = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	second = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, 24))
	now    = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
)

// The official vector of Standard Webhooks, as in libraries/go/webhook_test.go of its repository.
const (
	vectorSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTimestamp = 1614265330
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

// signed makes the headers of a delivery straight from the specification, without the library that verifies them.
func signed(t testing.TB, secret, id string, at time.Time, body string) http.Header {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "." + body))
	return http.Header{
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {timestamp},
		"Webhook-Signature": {"v1,AAAA v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
}

func verifier(t testing.TB, secrets ...string) *standardwebhooks.Verifier {
	t.Helper()
	v, err := standardwebhooks.Parse(strings.Join(secrets, ", "))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func headers(id, timestamp, signature string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", signature)
	return h
}

func TestOfficialVector(t *testing.T) {
	v := verifier(t, vectorSecret)
	good := headers(vectorID, strconv.Itoa(vectorTimestamp), vectorSignature)
	at := time.Unix(vectorTimestamp, 0)
	// The body of the vector has no type, so it is authentic and no event.
	if _, err := v.Verify(good, []byte(vectorBody), at); !errors.Is(err, connectors.ErrEnvelope) {
		t.Errorf("the vector: %v", err)
	}
	for name, change := range map[string]func(http.Header){
		"id":              func(h http.Header) { h.Set("webhook-id", "msg_other") },
		"no id":           func(h http.Header) { h.Del("webhook-id") },
		"no timestamp":    func(h http.Header) { h.Del("webhook-timestamp") },
		"no signature":    func(h http.Header) { h.Del("webhook-signature") },
		"timestamp":       func(h http.Header) { h.Set("webhook-timestamp", strconv.Itoa(vectorTimestamp+1)) },
		"plus timestamp":  func(h http.Header) { h.Set("webhook-timestamp", "+"+strconv.Itoa(vectorTimestamp)) },
		"empty timestamp": func(h http.Header) { h.Set("webhook-timestamp", "") },
		"huge timestamp":  func(h http.Header) { h.Set("webhook-timestamp", "9223372036854775807") },
		"signature":       func(h http.Header) { h.Set("webhook-signature", "v1,"+strings.Repeat("A", 43)+"=") },
		"version":         func(h http.Header) { h.Set("webhook-signature", "v2"+vectorSignature[2:]) },
		"bare signature":  func(h http.Header) { h.Set("webhook-signature", vectorSignature[3:]) },
	} {
		h := good.Clone()
		change(h)
		if _, err := v.Verify(h, []byte(vectorBody), at); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, d := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
		if _, err := v.Verify(good, []byte(vectorBody), at.Add(d)); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s away: %v", d, err)
		}
	}
	for _, d := range []time.Duration{5*time.Minute + time.Second, -5*time.Minute - time.Second, 1000 * time.Hour} {
		if _, err := v.Verify(good, []byte(vectorBody), at.Add(d)); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%s away: %v", d, err)
		}
	}
}

// svix, which wrote the scheme, signs and verifies on its own.
func TestAgreesWithSvix(t *testing.T) {
	theirs, err := svix.NewWebhook(vectorSecret)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"type":"order.cancelled","timestamp":"2026-11-23T10:00:00Z","data":{"order_id":"ö","version":1}}`)
	now := time.Now()
	signature, err := theirs.Sign("msg_1", now, body)
	if err != nil {
		t.Fatal(err)
	}
	h := headers("msg_1", strconv.FormatInt(now.Unix(), 10), signature)
	if _, err := verifier(t, vectorSecret).Verify(h, body, now); err != nil {
		t.Errorf("what svix signs: %v", err)
	}
	if err := theirs.Verify(body, signed(t, vectorSecret, "msg_2", now, string(body))); err != nil {
		t.Errorf("svix refuses our signature: %v", err)
	}
}

func TestVerifyTakesEveryActiveSecret(t *testing.T) {
	v := verifier(t, first, second)
	for i, secret := range []string{first, second} {
		body := `{"type":"stock.changed","data":{}}`
		d, err := v.Verify(signed(t, secret, "msg_1", now, body), []byte(body), now)
		if err != nil {
			t.Fatalf("secret %d: %v", i, err)
		}
		if want := (connectors.Delivery{Key: "msg_1", Type: "stock.changed", Secret: i}); !reflect.DeepEqual(d, want) {
			t.Errorf("secret %d: got %+v, want %+v", i, d, want)
		}
	}
	// A sender that rotates signs with both; one that fits is enough.
	both := signed(t, second, "msg_1", now, `{"type":"stock.changed"}`)
	both.Set("webhook-signature", "v1a,nonsense v1,AAAA "+both.Get("webhook-signature"))
	if d, err := v.Verify(both, []byte(`{"type":"stock.changed"}`), now); err != nil || d.Secret != 1 {
		t.Errorf("signed with both: %+v, %v", d, err)
	}
}

func TestVerifyRefusesWhatIsNotAuthentic(t *testing.T) {
	const body = `{"type":"stock.changed"}`
	good := func() http.Header { return signed(t, first, "msg_1", now, body) }
	for name, c := range map[string]struct {
		header http.Header
		body   string
		at     time.Time
		v      *standardwebhooks.Verifier
	}{
		"other body":        {good(), body + " ", now, verifier(t, first)},
		"other secret":      {good(), body, now, verifier(t, second)},
		"no secret":         {good(), body, now, verifier(t)},
		"too old":           {good(), body, now.Add(5*time.Minute + time.Second), verifier(t, first)},
		"from the future":   {good(), body, now.Add(-5*time.Minute - time.Second), verifier(t, first)},
		"no headers":        {http.Header{}, body, now, verifier(t, first)},
		"other id":          {with(good(), "Webhook-Id", "msg_2"), body, now, verifier(t, first)},
		"empty id":          {with(good(), "Webhook-Id", ""), body, now, verifier(t, first)},
		"wild time":         {with(good(), "Webhook-Timestamp", "9223372036854775807"), body, now, verifier(t, first)},
		"time in words":     {with(good(), "Webhook-Timestamp", "now"), body, now, verifier(t, first)},
		"empty signature":   {with(good(), "Webhook-Signature", "v1,"), body, now, verifier(t, first)},
		"unknown version":   {with(good(), "Webhook-Signature", "v2,abc"), body, now, verifier(t, first)},
		"not JSON, forged":  {good(), "{", now, verifier(t, first)},
		"whole other world": {http.Header{"X-Hub-Signature": {"sha256=00"}}, body, now, verifier(t, first)},
	} {
		if _, err := c.v.Verify(c.header, []byte(c.body), c.at); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%s: got %v, want ErrSignature", name, err)
		}
	}
}

func with(h http.Header, name, value string) http.Header {
	h.Set(name, value)
	return h
}

// deliver verifies a body that is signed as it should be.
func deliver(t testing.TB, body string) (connectors.Delivery, error) {
	t.Helper()
	return verifier(t, first).Verify(signed(t, first, "msg_1", now, body), []byte(body), now)
}

func TestEnvelope(t *testing.T) {
	for body, want := range map[string]string{
		`{"type":"a.b"}`:     "a.b",
		` {"type" : "a.b"} `: "a.b",
		`{"timestamp":"2026-11-23T10:00:00.5+01:00","data":{},"type":"x","more":[{"a":1,"a":2}]}`: "x",
		`{"type":"x","data":{"quantity":1,"quantity":2}}`:                                         "x", // for the connector to refuse
		`{"type":"\u0061"}`: "a",
	} {
		if d, err := deliver(t, body); err != nil || d.Type != want {
			t.Errorf("%s: %+v, %v", body, d, err)
		}
	}
	for _, body := range []string{
		"", " ", "null", "[]", "7", `"x"`, "{", `{"type":"x"`, `{"type":"x"} {}`, `{"type":"x"}x`, `{"type":"x",}`, `{"data":{}}`,
		`{"type":""}`, `{"type":null}`, `{"type":1}`, `{"type":{}}`, `{"type":"x","type":"y"}`, `{"type":"x","data":{},"data":{}}`,
		`{"type":"x","\u0074ype":"y"}`, `{"type":"x","data":[]}`, `{"type":"x","data":null}`, `{"type":"x","data":{"a":}}`,
		`{"type":"x","timestamp":1}`, `{"type":"x","timestamp":null}`, `{"type":"x","timestamp":"yesterday"}`,
		"{\"type\":\"x\xff\"}", `{"type":"` + strings.Repeat("x", 257) + `"}`, `{"Type":"x"}`, `{type:"x"}`,
	} {
		if d, err := deliver(t, body); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%.80q is taken as %+v, %v", body, d, err)
		}
	}
	var many bytes.Buffer
	many.WriteString(`{"type":"x"`)
	for i := range 1000 {
		many.WriteString(`,"n` + strconv.Itoa(i) + `":0`)
	}
	many.WriteString("}")
	if _, err := deliver(t, many.String()); !errors.Is(err, connectors.ErrEnvelope) {
		t.Errorf("an envelope of a thousand members: %v", err)
	}
}

func TestLongIdentity(t *testing.T) {
	const body = `{"type":"stock.changed"}`
	id := strings.Repeat("i", 257)
	if _, err := verifier(t, first).Verify(signed(t, first, id, now, body), []byte(body), now); !errors.Is(err, connectors.ErrEnvelope) {
		t.Errorf("an id of 257 bytes: %v", err)
	}
}

func TestParseRefusesWeakSecrets(t *testing.T) {
	for _, secret := range []string{"whsec_", "whsec_AAAA", "secret", "whsec_!!!!", strings.TrimPrefix(first, "whsec_"),
		"whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65))} {
		_, err := standardwebhooks.Parse(first + " " + secret)
		if err == nil {
			t.Errorf("%q was taken", secret)
			continue
		}
		if !strings.Contains(err.Error(), "secret 2") {
			t.Errorf("%q: the error does not name the second secret: %v", secret, err)
		}
		if len(secret) > 10 && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

func TestSecretTexts(t *testing.T) {
	bare := strings.TrimPrefix(first, "whsec_")
	got := standardwebhooks.SecretTexts("\t" + first + ",\n ,")
	if !slices.Equal(got, []string{first, bare}) {
		t.Errorf("%q", got)
	}
	if v := verifier(t); !v.Empty() || len(standardwebhooks.SecretTexts(" , ")) != 0 {
		t.Error("a setting without secrets is not empty")
	}
	if verifier(t, first).Empty() {
		t.Error("a setting with a secret is empty")
	}
}

func FuzzVerify(f *testing.F) {
	body := `{"type":"stock.changed","data":{}}`
	good := signed(f, first, "msg_1", now, body)
	f.Add("msg_1", good.Get("Webhook-Timestamp"), good.Get("Webhook-Signature"), []byte(body))
	f.Add("", "-1", "v1,", []byte("{"))
	f.Add("a", "1e9", " , v1a,x v1,y", []byte(`{"type":"\ud800"}`))
	v := verifier(f, first, second)
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		header := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature}}
		d, err := v.Verify(header, body, now)
		if err == nil && (d.Key != id || d.Type == "") {
			t.Errorf("taken with key %q and type %q", d.Key, d.Type)
		}
		if err != nil && !errors.Is(err, connectors.ErrSignature) && !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("an error of its own: %v", err)
		}
	})
}

// Of whatever is signed, exactly JSON objects with a type are events.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"type":"stock.level","timestamp":"2026-11-23T11:00:00+01:00","data":{"sku":"S","location":"L","quantity":0}}`))
	f.Add([]byte(vectorBody))
	f.Add([]byte(`{"type":"x","data":{"a":1,"a":2}} `))
	v := verifier(f, first)
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := v.Verify(signed(t, first, "m", now, string(body)), body, now)
		var e map[string]jsontext.Value
		valid := json.Unmarshal(body, &e, jsontext.AllowDuplicateNames(true)) == nil && e != nil
		switch {
		case err == nil && (!valid || e["type"].Kind() != '"' || d.Type == "" || d.Key != "m"):
			t.Errorf("%q is taken as %+v", body, d)
		case err != nil && !errors.Is(err, connectors.ErrEnvelope):
			t.Errorf("%q: %v", body, err)
		}
		forged := headers("m", strconv.FormatInt(now.Unix(), 10), "v1,"+base64.StdEncoding.EncodeToString(make([]byte, 32)))
		if _, err := v.Verify(forged, body, now); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("forged: %v", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	var lines []string
	for i := range 5 {
		lines = append(lines, `{"line_id":"`+strconv.Itoa(i)+`","item":"ITEM-10042","sku":"SKU-10042-BLUE","quantity":3,"cancelled":0,"shipped":0,"restocked":0}`)
	}
	body := []byte(`{"type":"order.upserted","timestamp":"2026-11-23T11:00:00+01:00","data":{"order_id":"O-100234","version":3,"placed_at":"2026-11-23T08:00:00Z","status":"open","lines":[` + strings.Join(lines, ",") + `]}}`)
	h := signed(b, first, "msg_p5jXN8AQM9LWM0D4loKWxJek", now, string(body))
	v := verifier(b, first)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(h, body, now); err != nil {
			b.Fatal(err)
		}
	}
}
