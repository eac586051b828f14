package azure_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/azure"
)

const (
	tenant   = "11111111-2222-3333-4444-555555555555"
	client   = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	secret   = "client~secret.of.the.application"
	issuerV1 = "https://sts.windows.net/" + tenant + "/"
	issuerV2 = "https://login.microsoftonline.com/" + tenant + "/v2.0"
)

var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// specification is the OpenAPI document of what is used.
var specification = sync.OnceValue(func() routers.Router {
	openapi3.DefineStringFormatValidator("uuid", openapi3.NewRegexpFormatValidator(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`))
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromFile("testdata/saas-fulfilment.yaml")
	if err != nil {
		panic(err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		panic(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	return router
})

// marketplace is the pretend marketplace, with the login beside it. Every request to it and every answer of it must fit
// the specification.
type marketplace struct {
	t testing.TB

	mu            sync.Mutex
	order         []string // of the subscriptions
	subscriptions map[string]*subscription
	operations    map[string]*operation
	pageSize      int
	endless       bool
	bearer        string
	tokens        int
	requests      []string
	fault         func(r *http.Request) (status int, body string)
}

type subscription struct {
	ID          string            `json:"id"`
	PublisherID string            `json:"publisherId"`
	OfferID     string            `json:"offerId"`
	PlanID      string            `json:"planId"`
	Quantity    *int              `json:"quantity,omitempty"`
	Status      string            `json:"saasSubscriptionStatus"`
	Created     string            `json:"created"`
	Beneficiary map[string]string `json:"beneficiary"`
}

type operation struct {
	ID             string `json:"id"`
	SubscriptionID string `json:"subscriptionId"`
	PublisherID    string `json:"publisherId"`
	OfferID        string `json:"offerId"`
	PlanID         string `json:"planId"`
	Quantity       *int   `json:"quantity,omitempty"`
	Action         string `json:"action"`
	TimeStamp      string `json:"timeStamp"`
	Status         string `json:"status"`
}

func newMarketplace(t testing.TB) *marketplace {
	return &marketplace{t: t, subscriptions: map[string]*subscription{}, operations: map[string]*operation{}, pageSize: 2}
}

// buy makes a subscription that waits for its activation.
func (m *marketplace) buy(n int, plan string, quantity *int) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := fmt.Sprintf("50b00000-0000-0000-0000-%012d", n)
	m.subscriptions[id] = &subscription{ID: id, PublisherID: "contoso", OfferID: "offer", PlanID: plan, Quantity: quantity, Status: "PendingFulfillmentStart",
		Created: "2026-11-20T10:00:00.1234567Z", Beneficiary: map[string]string{"emailId": "buyer@example.com", "objectId": "b0000000-0000-0000-0000-000000000001", "tenantId": tenant, "puid": "1"}}
	m.order = append(m.order, id)
	return id
}

// ask makes an operation that waits for its answer.
func (m *marketplace) ask(id, subscription, action, plan string, quantity *int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.operations[id] = &operation{ID: id, SubscriptionID: subscription, PublisherID: "contoso", OfferID: "offer", PlanID: plan, Quantity: quantity, Action: action,
		TimeStamp: time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z"), Status: "InProgress"}
}

// settle ends an operation: what was accepted, or not answered in time, takes place.
func (m *marketplace) settle(id, status string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settleLocked(id, status)
}

func (m *marketplace) settleLocked(id, status string) {
	o := m.operations[id]
	o.Status = status
	if s := m.subscriptions[o.SubscriptionID]; status == "Succeeded" {
		switch o.Action {
		case "ChangeQuantity", "ChangePlan":
			s.PlanID, s.Quantity = o.PlanID, o.Quantity
		case "Unsubscribe":
			s.Status = "Unsubscribed"
		case "Suspend":
			s.Status = "Suspended"
		case "Reinstate":
			s.Status = "Subscribed"
		}
	}
}

// webhook is the request in which an operation is told.
func (m *marketplace) webhook(id string, at time.Time) connectors.Request {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.operations[id]
	body, err := json.Marshal(map[string]any{"id": o.ID, "activityId": o.ID, "publisherId": o.PublisherID, "offerId": o.OfferID, "planId": o.PlanID, "quantity": o.Quantity,
		"subscriptionId": o.SubscriptionID, "timeStamp": o.TimeStamp, "action": o.Action, "status": "InProgress", "operationRequestSource": "Azure",
		"subscription": map[string]any{"id": o.SubscriptionID, "saasSubscriptionStatus": "Subscribed", "term": map[string]any{"termUnit": "P1M"}}})
	if err != nil {
		m.t.Fatal(err)
	}
	return signed(m.t, body, at, issuerV1, client)
}

func signed(t testing.TB, body []byte, at time.Time, issuer, audience string) connectors.Request {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key()}, (&jose.SignerOptions{}).WithHeader("kid", "key-1"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{"iss": issuer, "aud": audience, "iat": at.Unix(), "nbf": at.Unix(), "exp": at.Add(time.Hour).Unix(), "tid": tenant}).Serialize()
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
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, r.Method+" "+r.URL.Path)
	switch {
	case r.URL.Host == "login.microsoftonline.com":
		m.login(w, r, body)
	case r.URL.Host == "marketplaceapi.microsoft.com":
		m.api(w, r, body)
	default:
		m.t.Errorf("a request to %s", r.URL)
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (m *marketplace) login(w *httptest.ResponseRecorder, r *http.Request, body []byte) {
	switch r.URL.Path {
	case "/" + tenant + "/discovery/v2.0/keys":
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key().PublicKey, KeyID: "key-1", Use: "sig"}}})
	case "/" + tenant + "/oauth2/v2.0/token":
		form, _ := url.ParseQuery(string(body))
		if form.Get("client_id") != client || form.Get("client_secret") != secret || form.Get("grant_type") != "client_credentials" ||
			form.Get("scope") != "20e940b3-4c77-4b0b-9a53-9e16a1b010a7/.default" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided: %s"}`, form.Get("client_secret"))
			return
		}
		m.tokens++
		m.bearer = fmt.Sprintf("access-token-%d", m.tokens)
		_, _ = fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":%q}`, m.bearer)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (m *marketplace) api(w *httptest.ResponseRecorder, r *http.Request, body []byte) {
	r = r.Clone(context.Background())
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	route, path, err := specification().FindRoute(r)
	if err != nil {
		m.t.Errorf("%s %s is not in the specification: %v", r.Method, r.URL, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	input := &openapi3filter.RequestValidationInput{Request: r, PathParams: path, Route: route}
	if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
		m.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.Header.Get("X-Ms-Requestid") == "" {
		m.t.Errorf("%s %s has no x-ms-requestid", r.Method, r.URL)
	}
	if m.fault != nil {
		if status, text := m.fault(r); status != 0 {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return
		}
	}
	if r.Header.Get("Authorization") != "Bearer "+m.bearer {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	m.answer(w, r.URL.Query().Get("continuationToken"), route.Operation.OperationID, path, body)
	response := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: w.Code, Header: w.Header(),
		Options: &openapi3filter.Options{IncludeResponseStatus: true}}
	response.SetBodyBytes(w.Body.Bytes())
	if err := openapi3filter.ValidateResponse(context.Background(), response); err != nil {
		m.t.Errorf("the pretend answer to %s %s: %v", r.Method, r.URL, err)
	}
}

func (m *marketplace) answer(w *httptest.ResponseRecorder, token, operationID string, path map[string]string, body []byte) {
	write := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	s, o := m.subscriptions[path["subscriptionId"]], m.operations[path["operationId"]]
	switch operationID {
	case "FulfillmentOperations_ListSubscriptions":
		from := 0
		_, _ = fmt.Sscanf(token, "from=%d", &from)
		to := min(len(m.order), from+m.pageSize)
		page := map[string]any{"subscriptions": []any{}}
		for _, id := range m.order[from:to] {
			page["subscriptions"] = append(page["subscriptions"].([]any), m.subscriptions[id])
		}
		if to < len(m.order) {
			next := fmt.Sprintf("from=%d", to)
			if m.endless {
				next = "from=2"
			}
			page["@nextLink"] = "https://marketplaceapi.microsoft.com/api/saas/subscriptions/?api-version=2018-08-31&continuationToken=" + url.QueryEscape(next)
		}
		write(page)
	case "FulfillmentOperations_GetSubscription":
		if s == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		write(s)
	case "FulfillmentOperations_ActivateSubscription":
		var sent struct {
			PlanID   string `json:"planId"`
			Quantity *int   `json:"quantity"`
		}
		_ = json.Unmarshal(body, &sent)
		switch {
		case s == nil:
			w.WriteHeader(http.StatusNotFound)
		case s.Status != "PendingFulfillmentStart" || sent.PlanID != s.PlanID || (s.Quantity == nil) != (sent.Quantity == nil) || s.Quantity != nil && *s.Quantity != *sent.Quantity:
			w.WriteHeader(http.StatusBadRequest)
		default:
			s.Status = "Subscribed"
			w.Header().Del("Content-Type")
		}
	case "SubscriptionOperations_GetOperationStatus":
		if o == nil || o.SubscriptionID != path["subscriptionId"] {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		write(o)
	case "SubscriptionOperations_UpdateOperationStatus":
		var sent struct {
			Status string `json:"status"`
		}
		_ = json.Unmarshal(body, &sent)
		switch {
		case o == nil:
			w.WriteHeader(http.StatusNotFound)
		case o.Status != "InProgress":
			w.WriteHeader(http.StatusConflict)
		case sent.Status == "Success":
			m.settleLocked(o.ID, "Succeeded")
			w.Header().Del("Content-Type")
		default:
			m.settleLocked(o.ID, "Failed")
			w.Header().Del("Content-Type")
		}
	}
}

// asked counts the requests that begin so.
func (m *marketplace) asked(prefix string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, r := range m.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

func settings() connectors.Settings {
	s := connectors.Settings{"tenant_id": tenant, "client_id": client, "client_secret": secret}
	for _, f := range azure.Info().Fields {
		if f.Default != "" {
			s[f.Name] = f.Default
		}
	}
	return s
}

// account is everything that a connection is.
type account interface {
	connectors.Marketplace
	connectors.ShipmentWriter
	connectors.WebhookReceiver
	connectors.WebhookCompleter
	connectors.Admitter
	connectors.AdmissionWriter
	connectors.WebhookAnswerer
}

func open(t testing.TB, env connectors.Env) account {
	t.Helper()
	c, err := azure.Info().Open(env, connectors.MarketplaceRole, settings())
	if err != nil {
		t.Fatal(err)
	}
	return c.(account)
}
