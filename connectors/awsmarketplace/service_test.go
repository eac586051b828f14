package awsmarketplace_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/awsmarketplace"
)

const (
	product  = "prod1abc"
	keyID    = "AKIDEXAMPLE"
	secret   = "wJalrXUtnFEMI/K7MDENG/secret-of-the-seller"
	apiKey   = "a-long-random-value-of-ours"
	topic    = "arn:aws:sns:us-east-1:287250355862:aws-mp-entitlement-notification-prod1abc"
	certPath = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
)

var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// certificate is one of SNS, valid around the year 2026 and in the bubbles of the tests.
var certificate = sync.OnceValue(func() []byte {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key().PublicKey, key())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
})

type entitlement struct {
	ProductCode          string         `json:"ProductCode"`
	Dimension            string         `json:"Dimension"`
	CustomerIdentifier   string         `json:"CustomerIdentifier,omitempty"`
	CustomerAWSAccountID string         `json:"CustomerAWSAccountId,omitempty"`
	LicenseArn           string         `json:"LicenseArn,omitempty"`
	Value                map[string]any `json:"Value,omitempty"`
	ExpirationDate       float64        `json:"ExpirationDate,omitempty"`
}

// service is the pretend entitlement service, with SNS beside it. It checks signatures, knows its fields and pages.
type service struct {
	t testing.TB

	mu           sync.Mutex
	entitlements []entitlement
	pageSize     int
	endless      bool
	asked        int
	certificates int
	confirmed    []string
	fault        func(r *http.Request) (int, string)
}

func license(n int) string {
	return fmt.Sprintf("arn:aws:license-manager::123456789012:license:l-%032d", n)
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	w := httptest.NewRecorder()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch status, text := s.faulty(r); {
	case status != 0:
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	case r.URL.Host == "entitlement.marketplace.us-east-1.amazonaws.com":
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		s.answer(w, r, body)
	case r.URL.Host == "sns.us-east-1.amazonaws.com" && r.URL.Path == certPath:
		s.certificates++
		_, _ = w.Write(certificate())
	case r.URL.Host == "sns.us-east-1.amazonaws.com" && r.URL.Query().Get("Action") == "ConfirmSubscription":
		s.confirmed = append(s.confirmed, r.URL.Query().Get("Token"))
		_, _ = io.WriteString(w, `<ConfirmSubscriptionResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"/>`)
	case r.URL.Host == "sns.us-east-1.amazonaws.com":
		w.WriteHeader(http.StatusNotFound)
	default:
		s.t.Errorf("a request to %s", r.URL)
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (s *service) faulty(r *http.Request) (int, string) {
	if s.fault == nil {
		return 0, ""
	}
	return s.fault(r)
}

func refuse(w *httptest.ResponseRecorder, code string) {
	w.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprintf(w, `{"__type":"com.amazonaws.marketplace.entitlement#%s","message":"refused by the pretend service"}`, code)
}

func (s *service) answer(w *httptest.ResponseRecorder, r *http.Request, body []byte) {
	s.asked++
	if r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("X-Amz-Target") != "AWSMPEntitlementService.GetEntitlements" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		s.t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if !s.signed(r, body) {
		refuse(w, "InvalidSignatureException")
		return
	}
	var ask struct {
		ProductCode string
		MaxResults  *int
		NextToken   string
		Filter      map[string][]string
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&ask); err != nil || ask.MaxResults != nil && (*ask.MaxResults < 1 || *ask.MaxResults > 25) {
		s.t.Errorf("%s: %v", body, err)
	}
	all := slices.DeleteFunc(slices.Clone(s.entitlements), func(e entitlement) bool { return e.ProductCode != ask.ProductCode })
	from := 0
	_, _ = fmt.Sscanf(ask.NextToken, "from-%d", &from)
	to := min(len(all), from+min(s.pageSize, 25))
	page := map[string]any{"Entitlements": append([]entitlement{}, all[from:to]...)}
	if to < len(all) {
		page["NextToken"] = fmt.Sprintf("from-%d", to)
		if s.endless {
			page["NextToken"] = "from-1"
		}
	}
	_ = json.NewEncoder(w).Encode(page)
}

// signed signs the request anew by AWS's own library, and compares.
func (s *service) signed(r *http.Request, body []byte) bool {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 5*time.Minute {
		return false
	}
	again, err := http.NewRequest(r.Method, r.URL.String(), http.NoBody)
	if err != nil {
		return false
	}
	_, list, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	list, _, _ = strings.Cut(list, ",")
	for name := range strings.SplitSeq(list, ";") {
		if value := r.Header.Get(name); value != "" {
			again.Header.Set(name, value)
		}
	}
	if strings.Contains(list, "content-length") {
		again.ContentLength = int64(len(body))
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(s.t.Context(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, again, hex.EncodeToString(sum[:]), "aws-marketplace", "us-east-1", at); err != nil {
		return false
	}
	return again.Header.Get("Authorization") == r.Header.Get("Authorization")
}

// notification is a message of SNS, signed; changes are made before the signature.
func notification(t testing.TB, id, version, content string, at time.Time, changes map[string]string) connectors.Request {
	fields := map[string]string{"Type": "Notification", "MessageId": id, "TopicArn": topic, "Message": content, "Timestamp": at.UTC().Format("2006-01-02T15:04:05.000Z"),
		"SignatureVersion": version, "SigningCertURL": "https://sns.us-east-1.amazonaws.com" + certPath, "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe"}
	maps.Copy(fields, changes)
	names := []string{"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	var text strings.Builder
	for _, name := range names {
		if value, there := fields[name]; there {
			text.WriteString(name + "\n" + value + "\n")
		}
	}
	one, two := sha1.Sum([]byte(text.String())), sha256.Sum256([]byte(text.String()))
	hash, digest := crypto.SHA1, one[:]
	if version == "2" {
		hash, digest = crypto.SHA256, two[:]
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, key(), hash, digest)
	if err != nil {
		t.Fatal(err)
	}
	fields["Signature"] = base64.StdEncoding.EncodeToString(signature)
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return connectors.Request{Method: http.MethodPost, Header: http.Header{"X-Amz-Sns-Message-Type": {fields["Type"]}, "Content-Type": {"text/plain; charset=UTF-8"}}, Body: body, At: at}
}

// event is one of EventBridge, as AWS's documents show it.
func event(id, kind string, n int, at time.Time) []byte {
	return []byte(fmt.Sprintf(`{"version":"0","id":%q,"detail-type":%q,"source":"aws.agreement-marketplace","account":"123456789012","time":%q,"region":"us-east-1",
		"resources":[],"detail":{"requestId":"r","catalog":"AWSMarketplace","agreement":{"id":"agmt-1"},"acceptor":{"accountId":"111122223333"},
		"product":{"id":"prod-1","code":"prod1abc"},"license":{"arn":%q}}}`, id, kind, at.UTC().Format(time.RFC3339), license(n)))
}

func sent(body []byte, at time.Time) connectors.Request {
	return connectors.Request{Method: http.MethodPost, Header: http.Header{"X-Api-Key": {apiKey}}, Body: body, At: at}
}

func settings() connectors.Settings {
	s := connectors.Settings{"product_codes": product, "access_key_id": keyID, "secret_access_key": secret, "event_secrets": "old-value " + apiKey, "topic_arns": topic}
	for _, f := range awsmarketplace.Info().Fields {
		if f.Default != "" {
			s[f.Name] = f.Default
		}
	}
	return s
}

// platform is everything that a connection is.
type platform interface {
	connectors.Marketplace
	connectors.WebhookReceiver
	connectors.Handshaker
	connectors.WebhookAnswerer
}

func open(t testing.TB, env connectors.Env, changes connectors.Settings) platform {
	t.Helper()
	s := settings()
	maps.Copy(s, changes)
	c, err := awsmarketplace.Info().Open(env, connectors.MarketplaceRole, s)
	if err != nil {
		t.Fatal(err)
	}
	return c.(platform)
}
