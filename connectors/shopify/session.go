package shopify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/connectors/rest"
)

const (
	tokenHeader   = "X-Shopify-Access-Token" //nolint:gosec // The name of a header.
	versionHeader = "X-Shopify-API-Version"
	// tokenMargin is how long before its end a token is replaced.
	tokenMargin = 5 * time.Minute
	// longestWait is for how long a call waits by itself for points of query cost, and throttledTries how often.
	longestWait    = 5 * time.Second
	throttledTries = 3
)

type answer[T any] struct {
	Data       *T             `json:"data"`
	Errors     []graphQLError `json:"errors"`
	Extensions struct {
		Cost *cost `json:"cost"`
	} `json:"extensions"`
}

type graphQLError struct {
	Message    string           `json:"message"`
	Path       []jsontext.Value `json:"path"`
	Extensions struct {
		Code           string `json:"code"`
		RequiredAccess string `json:"requiredAccess"`
	} `json:"extensions"`
}

// cost is what an operation costs of the points that the app has at the shop:
// https://shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits.
type cost struct {
	Requested float64 `json:"requestedQueryCost"`
	Status    struct {
		Available float64 `json:"currentlyAvailable"`
		Restore   float64 `json:"restoreRate"`
	} `json:"throttleStatus"`
}

// wait is how long it takes until there are points enough.
func (c *cost) wait() (time.Duration, bool) {
	const most = 24 * time.Hour
	if c == nil || !(c.Status.Restore > 0) {
		return 0, false
	}
	seconds := (c.Requested - c.Status.Available) / c.Status.Restore
	return time.Duration(max(0.1, min(seconds, most.Seconds())) * float64(time.Second)), true
}

// ask makes one operation. What was throttled is tried again where the points are there within seconds: nothing of it
// took place.
func ask[T any](ctx context.Context, s *shop, r graphql.Request) (*T, error) {
	for try := 1; ; try++ {
		data, wait, err := askOnce[T](ctx, s, r)
		if wait <= 0 || wait > longestWait || try == throttledTries {
			return data, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				err = ctx.Err()
			}
			return nil, err
		case <-timer.C:
		}
	}
}

// askOnce renews once a token that the shop no longer takes.
func askOnce[T any](ctx context.Context, s *shop, r graphql.Request) (*T, time.Duration, error) {
	token, err := s.accessToken(ctx, r.Op, "")
	if err != nil {
		return nil, 0, err
	}
	data, wait, err := send[T](ctx, s, r, token)
	if connectors.KindOf(err) != connectors.Auth || s.clientID == "" {
		return data, wait, rest.Without(token, err)
	}
	if token, err = s.accessToken(ctx, r.Op, token); err != nil {
		return nil, 0, err
	}
	data, wait, err = send[T](ctx, s, r, token)
	return data, wait, rest.Without(token, err)
}

// accessToken returns a token that was fetched with the client id, and fetches one when there is none, it ends soon, or it
// is the stale one. It is empty where the settings have a token.
//
// https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/client-credentials-grant
func (s *shop) accessToken(ctx context.Context, op, stale string) (string, error) {
	if s.clientID == "" {
		return "", nil
	}
	s.tokenMu.Lock()
	defer s.tokenMu.Unlock()
	if s.token != stale && time.Now().Before(s.tokenEnds) {
		return s.token, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {s.clientID}, "client_secret": {s.secrets[0]}}
	var status int
	var got tokenAnswer
	err := s.client.Do(ctx, rest.Call{
		Op: op, Method: http.MethodPost, Path: "/oauth/access_token", Status: &status,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte(form.Encode()),
	}, &got)
	if status == http.StatusBadRequest && connectors.KindOf(err) == connectors.Rejected {
		return "", s.client.Refusal(connectors.Auth, op, "", fmt.Sprintf("no token was given for the client id: %v; in the Dev Dashboard, compare %s and %s "+
			"with the app's settings, and see that it is installed on the shop", errors.Unwrap(err), settingClientID, settingSecrets))
	}
	if err != nil {
		return "", s.explain(err, status)
	}
	if got.AccessToken == "" || got.ExpiresIn <= 0 {
		return "", s.missing(op, "the access token or its age")
	}
	life := time.Duration(min(got.ExpiresIn, 7*24*3600)) * time.Second
	s.token, s.tokenEnds = got.AccessToken, time.Now().Add(max(life-tokenMargin, life/2))
	return s.token, nil
}

// send makes one call. The duration is how long to wait before it is sent again, where the shop throttled it.
func send[T any](ctx context.Context, s *shop, r graphql.Request, token string) (*T, time.Duration, error) {
	var header http.Header
	var status int
	call := r.Call("/api/" + s.version + "/graphql.json")
	call.ResponseHeader, call.Status = &header, &status
	if token != "" {
		call.Header.Set(tokenHeader, token)
	}
	var got answer[T]
	if err := s.client.Do(ctx, call, &got); err != nil {
		return nil, 0, s.explain(err, status)
	}
	s.clock.Note(header)
	if by := header.Get(versionHeader); by != "" && by != s.version {
		kind := connectors.Rejected
		if r.Write {
			kind = connectors.Uncertain
		}
		return nil, 0, s.client.Refusal(kind, r.Op, "", fmt.Sprintf("version %s of the Admin API answered in the place of %s, which has come to its end: set %s to %s, after reading "+
			"Shopify's notes on what changed", by, s.version, settingVersion, cmp.Or(newer(by), versions[len(versions)-1])))
	}
	if len(got.Errors) > 0 {
		return nil, throttled(got.Errors[0], got.Extensions.Cost), s.graphQLFailure(r, got.Errors[0], got.Extensions.Cost)
	}
	if got.Data == nil {
		return nil, 0, s.client.Refusal(r.Unknown(), r.Op, "", "the answer has neither data nor errors; is this the address of a Shopify shop?")
	}
	return got.Data, 0, nil
}

// newer is the version itself, where this package knows it.
func newer(version string) string {
	for _, v := range versions {
		if v == version {
			return v
		}
	}
	return ""
}

const codeThrottled = "THROTTLED"

func throttled(e graphQLError, c *cost) time.Duration {
	if e.Extensions.Code != codeThrottled {
		return 0
	}
	wait, _ := c.wait()
	return wait
}

// explain adds to an error of HTTP what a person does about it in the Shopify admin.
func (s *shop) explain(err error, status int) error {
	hint := map[int]string{
		http.StatusUnauthorized:    "the token is wrong, or the app was taken off the shop: in the Dev Dashboard, install it again, and copy its credentials",
		http.StatusPaymentRequired: "the shop is frozen until its bill is paid: see Settings → Billing in the Shopify admin",
		http.StatusForbidden:       "the app may not do this: in the Dev Dashboard, give a version of it the access scopes of the guide, and install that version",
		http.StatusNotFound:        "no shop has this domain: compare " + settingShop + " with Settings → Domains in the Shopify admin",
		http.StatusLocked:          "Shopify has locked the shop: only Shopify's support can open it",
	}[status]
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || hint == "" {
		return err
	}
	told := *e
	told.Err = fmt.Errorf("%w; %s", e.Err, hint)
	if status == http.StatusPaymentRequired || status == http.StatusLocked {
		told.Kind = connectors.Auth
	}
	return &told
}

// graphQLFailure turns an error of GraphQL, which comes with HTTP 200, into one of ours.
//
// https://shopify.dev/docs/api/admin-graphql#status_and_error_codes
func (s *shop) graphQLFailure(r graphql.Request, e graphQLError, c *cost) error {
	code, text := e.Extensions.Code, cmp.Or(e.Message, "the shop gave no reason")
	kind := connectors.Rejected
	switch code {
	case codeThrottled:
		failed := &connectors.Error{Kind: connectors.Throttled, Op: r.Op, Code: code, Err: errors.New(s.client.Redact(text))}
		if wait, told := c.wait(); told {
			failed.RetryAt = time.Now().Add(wait).UTC()
		}
		return failed
	case "ACCESS_DENIED":
		kind = connectors.Auth
		text += "; in the Dev Dashboard, give a version of the app this access, and install that version on the shop: " + cmp.Or(e.Extensions.RequiredAccess, "the access scopes of the guide")
	case "SHOP_INACTIVE":
		kind = connectors.Auth
	case "INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT", "":
		kind = r.Unknown()
	}
	return r.Failure(s.client, kind, code, text, e.Path)
}

// missing is the error of an answer that lacks what the schema promises.
func (s *shop) missing(op, what string) error {
	return connectors.Rejectedf(op, "", "%s", s.client.Redact(fmt.Sprintf("the answer lacks %s; it is not understood", what)))
}
