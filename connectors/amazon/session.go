package amazon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

const (
	tokenHeader = "X-Amz-Access-Token" //nolint:gosec // The name of a header.
	limitHeader = "X-Amzn-RateLimit-Limit"
	// tokenMargin is how long before its end a token is replaced; tokenYoung is an age at which one that is refused is not
	// refused for its age.
	tokenMargin = 5 * time.Minute
	tokenYoung  = time.Minute
	// longestWait is for how long a call waits for its turn; what must wait longer is told.
	longestWait = 5 * time.Second
	// scopeNotifications is asked for by the operations that no seller has to grant.
	scopeNotifications = "sellingpartnerapi::notifications"
)

// operation is one of the API, with the calls a second and the burst that its usage plan allows by default, as the models'
// descriptions have them. The header x-amzn-RateLimit-Limit tells what is in force.
type operation struct {
	name   string
	rate   float64
	burst  int
	method string
}

var (
	patchListingsItem   = operation{"patchListingsItem", 5, 5, http.MethodPatch}
	getListingsItem     = operation{"getListingsItem", 5, 10, http.MethodGet}
	searchListingsItems = operation{"searchListingsItems", 5, 5, http.MethodGet}
	createFeedDocument  = operation{"createFeedDocument", 0.5, 15, http.MethodPost}
	createFeed          = operation{"createFeed", 0.0083, 15, http.MethodPost}
	getFeed             = operation{"getFeed", 2, 15, http.MethodGet}
	getFeeds            = operation{"getFeeds", 0.0222, 10, http.MethodGet}
	getFeedDocument     = operation{"getFeedDocument", 0.0222, 10, http.MethodGet}
	searchOrders        = operation{"searchOrders", 0.0056, 20, http.MethodGet}
	getOrder            = operation{"getOrder", 0.5, 30, http.MethodGet}
	confirmShipment     = operation{"confirmShipment", 2, 10, http.MethodPost}
	getParticipations   = operation{"getMarketplaceParticipations", 0.016, 15, http.MethodGet}
	getDestinations     = operation{"getDestinations", 1, 5, http.MethodGet}
	createDestination   = operation{"createDestination", 1, 5, http.MethodPost}
	getSubscription     = operation{"getSubscription", 1, 5, http.MethodGet}
	createSubscription  = operation{"createSubscription", 1, 5, http.MethodPost}
)

// session makes the calls of one connection: with a token that is valid, no faster than Amazon allows.
type session struct {
	client, login                        *rest.Client
	clientID, clientSecret, refreshToken string

	// seller and grantless are the two tokens.
	seller, grantless heldToken

	// clock is Amazon's, as of the last answer.
	clock rest.Clock

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

// call is one call of an operation.
type call struct {
	// op begins every error.
	op        string
	operation operation
	path      string
	query     url.Values
	body      any
	// write is true where something is changed.
	write bool
	// grantless calls are made for the application, not for the seller.
	grantless bool
	// status, where set, receives the HTTP status.
	status *int
}

// do makes the call. A token that Amazon no longer takes is renewed once: nothing of the call took place then.
func (s *session) do(ctx context.Context, c call, out any) error {
	if err := s.await(ctx, c); err != nil {
		return err
	}
	held := &s.seller
	if c.grantless {
		held = &s.grantless
	}
	token, age, err := held.get(ctx, s, c.op, c.grantless, "")
	if err != nil {
		return err
	}
	err = s.send(ctx, c, token, out)
	if connectors.KindOf(err) != connectors.Auth || age < tokenYoung && !strings.Contains(err.Error(), "access token") {
		return err
	}
	if token, _, err = held.get(ctx, s, c.op, c.grantless, token); err != nil {
		return err
	}
	return s.send(ctx, c, token, out)
}

// send makes the call once.
func (s *session) send(ctx context.Context, c call, token string, out any) error {
	var header http.Header
	var status int
	err := s.client.Do(ctx, rest.Call{
		Op: c.op, Method: c.operation.method, Path: c.path, Query: c.query, Header: http.Header{tokenHeader: {token}}, Body: c.body,
		Write: c.write, ResponseHeader: &header, Status: &status,
	}, out)
	if c.status != nil {
		*c.status = status
	}
	s.clock.Note(header)
	bucket := s.bucket(c.operation)
	const most = 1000
	if limit, bad := strconv.ParseFloat(header.Get(limitHeader), 64); bad == nil && limit > 0 && limit <= most {
		bucket.SetLimit(rate.Limit(limit))
	}
	return without(token, s.explain(c, err, status, bucket))
}

// bucket is the token bucket of an operation: https://developer-docs.amazon.com/sp-api/docs/usage-plans-and-rate-limits.
func (s *session) bucket(o operation) *rate.Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[o.name]
	if b == nil {
		b = rate.NewLimiter(rate.Limit(o.rate), o.burst)
		s.buckets[o.name] = b
	}
	return b
}

// await waits for the call's turn. Where that is too far off, the error says when it is.
func (s *session) await(ctx context.Context, c call) error {
	turn := s.bucket(c.operation).Reserve()
	wait := turn.Delay()
	if wait == 0 {
		return nil
	}
	if wait > longestWait {
		turn.Cancel()
		return &connectors.Error{Kind: connectors.Throttled, Op: c.op, Code: "QuotaExceeded", RetryAt: time.Now().Add(wait).UTC(),
			Err: fmt.Errorf("nothing was sent: the limit that Amazon sets for %s is used up for %s", c.operation.name, wait.Round(time.Second))}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		turn.Cancel()
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return &connectors.Error{Kind: connectors.Retryable, Op: c.op, Err: fmt.Errorf("no turn for %s in time; nothing was sent: %w", c.operation.name, ctx.Err())}
	}
}

// explain adds to an error what a person does about it in Seller Central, and to a refusal for the rate when it ends.
func (s *session) explain(c call, err error, status int, bucket *rate.Limiter) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return err
	}
	told := *e
	switch {
	case e.Kind == connectors.Throttled:
		// What we counted is not what Amazon counts, as after a restart.
		if told.RetryAt.IsZero() {
			told.RetryAt = time.Now().Add(time.Duration(float64(time.Second) / max(0.001, float64(bucket.Limit())))).UTC()
		}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		told.Err = fmt.Errorf("%w; Amazon does not let the application do %s: in Seller Central, under Apps and Services → Develop Apps, give it the roles of the guide, "+
			"then authorize it again under Apps and Services → Manage Your Apps, and copy the new refresh token into %s. Compare %s with Settings → Account Info → Your Merchant Token",
			e.Err, c.operation.name, settingRefreshToken, settingSeller)
	}
	return &told
}

// without takes a token out of an error: the client knows only the secrets that it began with.
func without(token string, err error) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || token == "" || !strings.Contains(e.Error(), token) {
		return err
	}
	clean := *e
	clean.Code = strings.ReplaceAll(e.Code, token, "redacted")
	clean.Err = errors.New(strings.ReplaceAll(e.Err.Error(), token, "redacted"))
	return &clean
}

// heldToken is an access token, and is renewed by one caller for all that wait for it.
type heldToken struct {
	mu          sync.Mutex
	token       string
	since, ends time.Time
}

// get returns the token and its age, and fetches one when there is none, it ends soon, or it is the stale one.
//
// https://developer-docs.amazon.com/sp-api/docs/connect-to-the-selling-partner-api
func (h *heldToken) get(ctx context.Context, s *session, op string, grantless bool, stale string) (string, time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.token != "" && h.token != stale && now.Before(h.ends) {
		return h.token, now.Sub(h.since), nil
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.refreshToken}, "client_id": {s.clientID}, "client_secret": {s.clientSecret}}
	if grantless {
		form = url.Values{"grant_type": {"client_credentials"}, "scope": {scopeNotifications}, "client_id": {s.clientID}, "client_secret": {s.clientSecret}}
	}
	var status int
	var got tokenAnswer
	err := s.login.Do(ctx, rest.Call{
		Op: op, Method: http.MethodPost, Path: "/auth/o2/token", Status: &status,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded;charset=UTF-8"}}, Body: []byte(form.Encode()),
	}, &got)
	if err != nil {
		return "", 0, explainLogin(err, status)
	}
	if got.AccessToken == "" || got.ExpiresIn <= 0 {
		return "", 0, connectors.Rejectedf(op, "", "Login with Amazon gave no access token, or did not say for how long; it is not understood")
	}
	life := time.Duration(min(got.ExpiresIn, 24*3600)) * time.Second
	h.token, h.since, h.ends = got.AccessToken, now, now.Add(max(life-tokenMargin, life/2))
	return h.token, 0, nil
}

// explainLogin says what a refusal by Login with Amazon means. The codes are those of RFC 6749 section 5.2.
func explainLogin(err error, status int) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || status != http.StatusBadRequest && status != http.StatusUnauthorized {
		return err
	}
	told := *e
	told.Kind = connectors.Auth
	hint := "compare " + settingClientID + ", " + settingClientSecret + " and " + settingRefreshToken + " with Seller Central → Apps and Services → Develop Apps"
	switch text := e.Error(); {
	case strings.Contains(text, "invalid_grant"):
		hint = "the seller has withdrawn the authorization, or it has ended after a year: in Seller Central, under Apps and Services → Manage Your Apps, " +
			"authorize the application again, and copy the new refresh token into " + settingRefreshToken
	case strings.Contains(text, "invalid_client"), strings.Contains(text, "unauthorized_client"):
		hint = "the client secret was replaced, or has ended after 180 days: in Seller Central, under Apps and Services → Develop Apps, open View at " +
			"LWA credentials, and copy them into " + settingClientID + " and " + settingClientSecret
	}
	told.Err = fmt.Errorf("%w; %s", e.Err, hint)
	return &told
}

// refuse makes an error of what Amazon said inside a successful answer.
func (s *session) refuse(kind connectors.ErrorKind, op, code, text string) error {
	return &connectors.Error{Kind: kind, Op: op, Code: s.client.Redact(code), Err: errors.New(s.client.Redact(text))}
}
