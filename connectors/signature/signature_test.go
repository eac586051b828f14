package signature_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/signature"
)

// The vectors were computed by hand, or stand in the vendor's documentation: Alibaba's string, 旺店通's and the secret of
// both do.
func TestSchemes(t *testing.T) {
	for name, v := range map[string]struct{ got, want string }{
		"Shopify":     {signature.Body("hush", []byte(`{"id":1}`)), "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY="},
		"WooCommerce": {signature.Body("secret", []byte(`{"id":1}`)), "A971iWIMgT8Zj9A9eWfikrFj7wQ16/Qwcc4OlRl2PLc="},
		"Frappe":      {signature.Body("secret", []byte(`{"name": "BIN-1", "qty": 3.0}`)), "LrlmjhPr10+t1KywFlQ933MjwV727VDQAUSVVMGcgRw="},
		"Alibaba": {signature.Alibaba("isvkey", map[string]string{"p3": "3", "p1": "1", "token": "ignored", "p2": "2"}),
			"691b1c2be27485a87fb000de6f89f1d3"},
		"Tencent": {signature.Tencent("tok", "1529981569", "1447906768"), "c071696646c7dceea210771de7de64dba89619a77919c72238bd4dd9f0b10f1f"},
		"Huawei v1": {signature.HuaweiV1("KEY", map[string]string{"p1": "1", "p2": "2", "p3": "3", "timeStamp": "201706211855321", "authToken": "ignored"}),
			"M1KattDPK0SefnEAkNTgtCNIoRfD1wQDTvRLoaaznOA="},
		"Huawei v2": {signature.HuaweiV2("ACCESSKEY", "NONCE", "1680508066618", []byte(`{"activity":"newInstance"}`)),
			"7892295017b519c8c551cbb1337ef753525432abd3af5ca8869fc92bc3332414"},
		"旺店通": {signature.Wangdian("12345", map[string]string{"sid": "test2", "appkey": "test-ot", "timestamp": "1514739600", "start_time": "2018-01-01 00:00:00", "sign": "ignored"}),
			"afe87d1e8297ec8767113aa748f47314"},
		"聚水潭": {signature.Jushuitan("sec", map[string]string{"app_key": "ak", "timestamp": "1700000000", "charset": "utf-8", "version": "2", "access_token": "tok",
			"biz": `{"page_index":1}`, "empty": "", "sign": "ignored"}), "3b998ef564f3e0fbd96555b28fd9a35f"},
		"sorted, as TOP": {signature.Joining{Hash: "md5", Before: true, After: true, Upper: true}.Sorted("sec", map[string]string{"app_key": "ak", "method": "m.q", "v": "2.0", "e": "", "sign": "ignored"}, "sign"),
			"7297BDFA7B44CCD2A5BAFAAD92296C95"},
		"sorted, as a query": {signature.Joining{Hash: "hmac-sha256", Equals: "=", Between: "&", SkipEmpty: true}.Sorted("sec", map[string]string{"app_key": "ak", "method": "m.q", "v": "2.0", "e": ""}, "sign"),
			"3ff85020fb29e67ad156a0f514c6d67a5ced0ba0ea82a3209da5dc77dcee3167"},
	} {
		if v.got != v.want {
			t.Errorf("%s: %s, not %s", name, v.got, v.want)
		}
	}
}

// The lengths of 旺店通's scheme are characters, not bytes: the text is 02-名字:0002-茶杯s.
func TestWangdianCountsCharacters(t *testing.T) {
	if got, want := signature.Wangdian("s", map[string]string{"名字": "茶杯"}), "45763d698f65a5514e1efaf2ec6a67ca"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

// The signature was computed apart, from the steps of the vendor's documentation.
func TestHuaweiRequest(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, "https://mkt.myhuaweicloud.com/api/mkp-openapi-public/global/v1/order/query?orderLineId=CS1-000001&orderId=CS1", nil)
	if err != nil {
		t.Fatal(err)
	}
	signature.HuaweiRequest(r, "ACCESS", "SECRET", time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC))
	want := "SDK-HMAC-SHA256 Access=ACCESS, SignedHeaders=host;x-sdk-date, Signature=b23382cbb9fdbb3ac6db824fce857fd2ea79ed6b2aede36bfa4a6d004acd678e"
	if got := r.Header.Get("Authorization"); got != want || r.Header.Get("X-Sdk-Date") != "20261126T010203Z" {
		t.Errorf("%s at %s", got, r.Header.Get("X-Sdk-Date"))
	}
}

func TestMatch(t *testing.T) {
	body := []byte(`{"id":1}`)
	secrets := signature.Parse(" old,\n new ")
	for i, secret := range []string{"old", "new"} {
		if got, err := secrets.MatchBody(signature.Body(secret, body), body); err != nil || got != i {
			t.Errorf("secret %q: %d, %v", secret, got, err)
		}
	}
	for name, err := range map[string]error{
		"another secret": second(secrets.MatchBody(signature.Body("other", body), body)),
		"another body":   second(secrets.MatchBody(signature.Body("old", body), []byte(`{"id":2}`))),
		"no signature":   second(secrets.MatchBody("", body)),
		"empty body":     second(secrets.MatchBody(signature.Body("old", nil), nil)),
		"no secret":      second(signature.Parse(" , ").MatchBody(signature.Body("", body), body)),
		"plain":          second(secrets.Match("ol", signature.Plain)),
	} {
		if !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ int, err error) error { return err }

func TestFresh(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for age, ok := range map[time.Duration]bool{0: true, time.Minute: true, -time.Minute: true, 61 * time.Second: false, -61 * time.Second: false} {
		if err := signature.Fresh(now.Add(-age), now, time.Minute); (err == nil) != ok || err != nil && !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%s: %v", age, err)
		}
	}
}

func TestJoiningsThatSignNothingAreRefused(t *testing.T) {
	for name, j := range map[string]signature.Joining{
		"no secret": {Hash: "md5"}, "no hash": {Before: true}, "another hash": {Hash: "sha1", After: true},
	} {
		if j.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := (signature.Joining{Hash: "hmac-md5"}).Validate(); err != nil {
		t.Error(err)
	}
}
