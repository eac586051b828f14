package googlecloud_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	_ "google.golang.org/api/googleapi" // the module has the discovery document

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/googlecloud"
)

const (
	audience = "https://us.example/webhooks/google"
	pusher   = "push@project.iam.gserviceaccount.com"
	caller   = "caller@project.iam.gserviceaccount.com"
	partner  = "DEMO-partner"
)

var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

var privateKey = sync.OnceValue(func() string {
	der, err := x509.MarshalPKCS8PrivateKey(key())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
})

// document is the discovery document: https://developers.google.com/discovery/v1/reference/apis
type document struct {
	Schemas    map[string]schema
	Parameters map[string]any
	Resources  map[string]collection
	BaseURL    string
}

type collection struct {
	Methods   map[string]method
	Resources map[string]collection
}

type method struct {
	ID         string
	FlatPath   string
	HTTPMethod string
	Parameters map[string]struct {
		Location, Pattern string
		Required          bool
	}
	Request, Response struct {
		Ref string `json:"$ref"`
	}
}

type schema struct {
	Type, Format         string
	Ref                  string `json:"$ref"`
	Enum                 []string
	Properties           map[string]schema
	Items                *schema
	AdditionalProperties *schema
}

var specification = sync.OnceValue(func() document {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
	if err != nil {
		panic(fmt.Sprint("where is the module google.golang.org/api? ", err))
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "cloudcommerceprocurement", "v1", "cloudcommerceprocurement-api.json"))
	if err != nil {
		panic(err)
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil || len(d.Schemas) == 0 {
		panic(fmt.Sprint("the discovery document cannot be read: ", err))
	}
	return d
})

// find is the method that a request calls.
func (d document) find(r *http.Request) (method, bool) {
	var look func(c collection) (method, bool)
	look = func(c collection) (method, bool) {
		for _, m := range c.Methods {
			pattern := "^/" + regexp.MustCompile(`\\\{[A-Za-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(m.FlatPath), `[^/:]+`) + "$"
			if m.HTTPMethod == r.Method && regexp.MustCompile(pattern).MatchString(r.URL.EscapedPath()) {
				return m, true
			}
		}
		for _, sub := range c.Resources {
			if m, ok := look(sub); ok {
				return m, true
			}
		}
		return method{}, false
	}
	return look(collection{Resources: d.Resources})
}

// fits says what of a value is not as the schema has it.
func (d document) fits(s schema, v any, where string) error {
	if s.Ref != "" {
		referred, ok := d.Schemas[s.Ref]
		if !ok {
			return fmt.Errorf("%s: no schema %s", where, s.Ref)
		}
		return d.fits(referred, v, where)
	}
	wrong := fmt.Errorf("%s: %v is no %s %s", where, v, s.Type, s.Format)
	switch s.Type {
	case "any":
	case "object":
		members, ok := v.(map[string]any)
		if !ok {
			return wrong
		}
		for name, member := range members {
			of, known := s.Properties[name]
			if !known && s.AdditionalProperties == nil {
				return fmt.Errorf("%s has no %s", where, name)
			}
			if !known {
				of = *s.AdditionalProperties
			}
			if err := d.fits(of, member, where+"."+name); err != nil {
				return err
			}
		}
	case "array":
		values, ok := v.([]any)
		if !ok {
			return wrong
		}
		for _, value := range values {
			if err := d.fits(*s.Items, value, where+"[]"); err != nil {
				return err
			}
		}
	case "string":
		text, ok := v.(string)
		if !ok || len(s.Enum) > 0 && !slices.Contains(s.Enum, text) {
			return wrong
		}
		if s.Format == "google-datetime" {
			if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
				return wrong
			}
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return wrong
		}
	default:
		return fmt.Errorf("%s: the type %q is not checked", where, s.Type)
	}
	return nil
}

// marketplace is the pretend marketplace, with the addresses of tokens and keys beside it. Every request to it and every
// answer of it must fit the discovery document.
type marketplace struct {
	t testing.TB

	mu           sync.Mutex
	order        []string
	entitlements map[string]map[string]any
	accounts     map[string]string // the state of their sign-up
	pageSize     int
	endless      bool
	tokens       int
	bearer       string
	requests     []string
	fault        func(r *http.Request) (int, string)
	lose         bool // do what is asked, and break the line
}

func newMarketplace(t testing.TB) *marketplace {
	return &marketplace{t: t, entitlements: map[string]map[string]any{}, accounts: map[string]string{"E-1": "APPROVED"}, pageSize: 2}
}

func instant() string { return time.Now().UTC().Format(time.RFC3339Nano) }

func (m *marketplace) set(id string, changes map[string]any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setLocked(id, changes)
}

func (m *marketplace) setLocked(id string, changes map[string]any) {
	e := m.entitlements[id]
	if e == nil {
		e = map[string]any{"name": "providers/" + partner + "/entitlements/" + id, "provider": partner, "account": "providers/" + partner + "/accounts/E-1",
			"product": "product", "productExternalName": "product.example", "createTime": instant()}
		m.entitlements[id] = e
		m.order = append(m.order, id)
	}
	for name, value := range changes {
		if e[name] = value; value == nil {
			delete(e, name)
		}
	}
	e["updateTime"] = instant()
}

// buy makes an entitlement that waits.
func (m *marketplace) buy(id, plan string) {
	m.set(id, map[string]any{"plan": plan, "state": "ENTITLEMENT_ACTIVATION_REQUESTED"})
}

func (m *marketplace) state(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entitlements[id] == nil {
		return ""
	}
	return m.entitlements[id]["state"].(string)
}

// message is a push as Pub/Sub makes it.
func message(t testing.TB, eventID, eventType, entitlement string, at time.Time) connectors.Request {
	data := []byte(fmt.Sprintf(`{"eventId":%q,"eventType":%q,"providerId":%q,"entitlement":{"id":%q,"updateTime":%q,"newOfferDuration":"P2Y3M"}}`,
		eventID, eventType, partner, entitlement, at.UTC().Format(time.RFC3339Nano)))
	return pushed(t, data, at, nil)
}

// pushed is a push of any data; changes are those of the token's claims.
func pushed(t testing.TB, data []byte, at time.Time, changes map[string]any) connectors.Request {
	body, err := json.Marshal(map[string]any{"message": map[string]any{"data": data, "messageId": "m-" + fmt.Sprint(len(data)), "message_id": "m", "publishTime": instant(), "attributes": map[string]string{}},
		"subscription": "projects/p/subscriptions/s", "deliveryAttempt": 1})
	if err != nil {
		t.Fatal(err)
	}
	return signed(t, body, at, changes)
}

func signed(t testing.TB, body []byte, at time.Time, changes map[string]any) connectors.Request {
	claims := map[string]any{"iss": "https://accounts.google.com", "aud": audience, "azp": "1", "sub": "1", "email": pusher, "email_verified": true, "iat": at.Unix(), "exp": at.Add(time.Hour).Unix()}
	maps.Copy(claims, changes)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key()}, (&jose.SignerOptions{}).WithHeader("kid", "google-1"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return connectors.Request{Method: http.MethodPost, Header: http.Header{"Authorization": {"Bearer " + token}}, Body: body, At: at}
}

func (m *marketplace) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, r.Method+" "+r.URL.Path)
	switch r.URL.Host {
	case "www.googleapis.com":
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key().PublicKey, KeyID: "google-1", Use: "sig"}}})
	case "oauth2.googleapis.com":
		m.login(w, body)
	case "cloudcommerceprocurement.googleapis.com":
		m.api(w, r, body)
	default:
		m.t.Errorf("a request to %s", r.URL)
	}
	if m.lose && r.Method == http.MethodPost && r.URL.Host == "cloudcommerceprocurement.googleapis.com" {
		return nil, io.ErrUnexpectedEOF
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// login checks the assertion as https://developers.google.com/identity/protocols/oauth2/service-account has it.
func (m *marketplace) login(w *httptest.ResponseRecorder, body []byte) {
	form, _ := url.ParseQuery(string(body))
	token, err := jwt.ParseSigned(form.Get("assertion"), []jose.SignatureAlgorithm{jose.RS256})
	var claims struct {
		jwt.Claims
		Scope string `json:"scope"`
	}
	if err == nil {
		err = token.Claims(&key().PublicKey, &claims)
	}
	if err != nil || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || claims.Issuer != caller || !claims.Audience.Contains("https://oauth2.googleapis.com/token") ||
		claims.Scope != "https://www.googleapis.com/auth/cloud-platform" || claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > time.Hour {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`)
		return
	}
	m.tokens++
	m.bearer = fmt.Sprintf("ya29.token-%d", m.tokens)
	_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":3599,"token_type":"Bearer"}`, m.bearer)
}

func (m *marketplace) api(w *httptest.ResponseRecorder, r *http.Request, body []byte) {
	called, ok := specification().find(r)
	if !ok {
		m.t.Errorf("%s %s is not in the discovery document", r.Method, r.URL)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for name := range r.URL.Query() {
		if _, known := specification().Parameters[name]; !known && called.Parameters[name].Location != "query" {
			m.t.Errorf("%s has no parameter %s", called.ID, name)
		}
	}
	if len(body) > 0 || called.Request.Ref != "" {
		if err := m.check(called.Request.Ref, body); err != nil {
			m.t.Errorf("%s: %v", called.ID, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	if m.fault != nil {
		if status, text := m.fault(r); status != 0 {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return
		}
	}
	if m.bearer == "" || r.Header.Get("Authorization") != "Bearer "+m.bearer {
		refuse(w, http.StatusUnauthorized, "UNAUTHENTICATED")
		return
	}
	m.answer(w, r, called, body)
	if w.Code != http.StatusOK {
		return
	}
	if err := m.check(called.Response.Ref, w.Body.Bytes()); err != nil {
		m.t.Errorf("the pretend answer of %s: %v", called.ID, err)
	}
}

func (m *marketplace) check(ref string, body []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	return specification().fits(schema{Ref: ref}, v, ref)
}

func refuse(w *httptest.ResponseRecorder, status int, code string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"message":"refused by the pretend marketplace","status":%q}}`, status, code)
}

func (m *marketplace) answer(w *httptest.ResponseRecorder, r *http.Request, called method, body []byte) {
	write := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	last, _, _ := strings.Cut(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], ":")
	if called.ID == "cloudcommerceprocurement.providers.entitlements.list" {
		from, token := 0, r.URL.Query().Get("pageToken")
		_, _ = fmt.Sscanf(token, "from-%d", &from)
		to := min(len(m.order), from+m.pageSize)
		page := map[string]any{}
		for _, id := range m.order[from:to] {
			if page["entitlements"] == nil {
				page["entitlements"] = []any{}
			}
			page["entitlements"] = append(page["entitlements"].([]any), m.entitlements[id])
		}
		if to < len(m.order) {
			page["nextPageToken"] = fmt.Sprintf("from-%d", to)
			if m.endless {
				page["nextPageToken"] = "from-2"
			}
		}
		write(page)
		return
	}
	if strings.Contains(called.ID, ".accounts.") {
		state, known := m.accounts[last]
		switch {
		case !known:
			refuse(w, http.StatusNotFound, "NOT_FOUND")
		case strings.HasSuffix(called.ID, ".get"):
			write(map[string]any{"name": "providers/" + partner + "/accounts/" + last, "state": "ACCOUNT_ACTIVE", "approvals": []any{map[string]any{"name": "signup", "state": state}}})
		case strings.HasSuffix(called.ID, ".approve"):
			m.accounts[last] = "APPROVED"
			write(map[string]any{})
		}
		return
	}
	e := m.entitlements[last]
	if e == nil {
		refuse(w, http.StatusNotFound, "NOT_FOUND")
		return
	}
	var sent struct{ PendingPlanName, Reason string }
	_ = json.Unmarshal(body, &sent)
	name := called.ID[strings.LastIndexByte(called.ID, '.')+1:]
	waits := "ENTITLEMENT_ACTIVATION_REQUESTED"
	if strings.Contains(name, "PlanChange") {
		waits = "ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL"
	}
	switch {
	case name == "get":
		write(e)
		return
	case e["state"] != waits || waits != "ENTITLEMENT_ACTIVATION_REQUESTED" && sent.PendingPlanName != e["newPendingPlan"]:
		refuse(w, http.StatusBadRequest, "FAILED_PRECONDITION")
		return
	case name == "approve":
		if m.accounts["E-1"] != "APPROVED" {
			refuse(w, http.StatusBadRequest, "FAILED_PRECONDITION")
			return
		}
		m.setLocked(last, map[string]any{"state": "ENTITLEMENT_ACTIVE"})
	case name == "reject":
		delete(m.entitlements, last) // what is not approved is removed
		m.order = slices.DeleteFunc(m.order, func(id string) bool { return id == last })
	case name == "approvePlanChange":
		m.setLocked(last, map[string]any{"state": "ENTITLEMENT_PENDING_PLAN_CHANGE"})
	case name == "rejectPlanChange":
		m.setLocked(last, map[string]any{"state": "ENTITLEMENT_ACTIVE", "newPendingPlan": nil})
	}
	if strings.HasPrefix(name, "reject") && (sent.Reason == "" || len(sent.Reason) > 256) {
		m.t.Errorf("the reason is %q", sent.Reason)
	}
	write(map[string]any{})
}

// asked counts the requests that begin and end so.
func (m *marketplace) asked(prefix, suffix string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, r := range m.requests {
		if strings.HasPrefix(r, prefix) && strings.HasSuffix(r, suffix) {
			n++
		}
	}
	return n
}

func settings() connectors.Settings {
	file, err := json.Marshal(map[string]string{"type": "service_account", "project_id": "project", "private_key_id": "k1", "private_key": privateKey(), "client_email": caller,
		"token_uri": "https://oauth2.googleapis.com/token"})
	if err != nil {
		panic(err)
	}
	s := connectors.Settings{"provider_id": partner, "credentials": string(file), "push_account": pusher, "audience": audience}
	for _, f := range googlecloud.Info().Fields {
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
	connectors.WebhookCompleter
	connectors.Admitter
	connectors.AdmissionWriter
	connectors.WebhookAnswerer
}

func open(t testing.TB, env connectors.Env, changes connectors.Settings) platform {
	t.Helper()
	s := settings()
	maps.Copy(s, changes)
	c, err := googlecloud.Info().Open(env, connectors.MarketplaceRole, s)
	if err != nil {
		t.Fatal(err)
	}
	return c.(platform)
}
