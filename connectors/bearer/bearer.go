// Package bearer is what the connectors share of platforms that prove by bearer tokens who calls (RFC 6750). Keys checks
// the JSON Web Tokens of requests that come in; Tokens holds the access token of calls that go out. Both fetch what they
// need through connectors/rest, seldom, and keep it.
package bearer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

const (
	// keysAge is how old a set of keys may be before it is fetched anew; new keys are published days before they sign.
	keysAge = 6 * time.Hour
	// keysPause is the least time between two fetches because of a key that is not known, so that invented tokens cannot
	// make us ask; keysTrouble that after a fetch that failed.
	keysPause, keysTrouble = 5 * time.Minute, 10 * time.Second
	// leeway is how far the clocks of those who sign may be from ours.
	leeway = 5 * time.Minute
)

// Keys are the published keys of somebody who signs tokens (a JWK set, RFC 7517). It is safe for concurrent use.
type Keys struct {
	client *rest.Client
	path   string

	mu      sync.Mutex
	set     jose.JSONWebKeySet
	fetched time.Time // the last fetch that worked
	tried   time.Time // the last one at all
}

// NewKeys makes a set that is fetched by the client from the path, when it is first needed.
func NewKeys(client *rest.Client, path string) *Keys { return &Keys{client: client, path: path} }

// Expected is what a token must say: one of the issuers, and the audience.
type Expected struct {
	Issuers  []string
	Audience string
}

// Verify checks the token in the header Authorization of a request: its signature by RS256 and no other way, who issued it, for
// whom, and that it is valid at the instant given. Further claims are decoded into what is given. The error is connectors.ErrSignature, wrapped, or that
// of a call, where the keys cannot be had.
func (k *Keys) Verify(ctx context.Context, authorization string, want Expected, at time.Time, claims ...any) error {
	refused := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", connectors.ErrSignature, fmt.Errorf(format, args...))
	}
	scheme, raw, found := strings.Cut(authorization, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return refused("there is no bearer token")
	}
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return refused("the bearer token is no JSON Web Token that is signed by RS256")
	}
	if len(token.Headers) != 1 || token.Headers[0].KeyID == "" {
		return refused("the token does not name its key")
	}
	key, known, err := k.key(ctx, token.Headers[0].KeyID)
	if err != nil {
		return err
	}
	if !known {
		return refused("the token is signed by a key that its issuer does not publish")
	}
	var standard jwt.Claims
	if err := token.Claims(key, append([]any{&standard}, claims...)...); err != nil {
		return refused("the token's signature is wrong, or its claims cannot be read")
	}
	if standard.Expiry == nil {
		return refused("the token has no end")
	}
	if !slices.Contains(want.Issuers, standard.Issuer) {
		return refused("the token was issued by %.100q, not by %s", standard.Issuer, strings.Join(want.Issuers, " or "))
	}
	if want.Audience == "" || !standard.Audience.Contains(want.Audience) {
		return refused("the token is for %.100q, not for %s", []string(standard.Audience), want.Audience)
	}
	if err := standard.ValidateWithLeeway(jwt.Expected{Time: at}, leeway); err != nil {
		return refused("the token is not valid now (%w); compare this machine's clock", err)
	}
	return nil
}

// key finds the key with the id, and fetches the set where it is old or does not have it. While a fetch runs, others wait
// for it.
func (k *Keys) key(ctx context.Context, id string) (key any, known bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	held, known := find(k.set, id)
	now := time.Now()
	pause := keysPause
	if k.fetched.IsZero() || k.fetched.Before(k.tried) {
		pause = keysTrouble
	}
	if known && now.Sub(k.fetched) < keysAge || !k.tried.IsZero() && now.Sub(k.tried) < pause {
		if !known && k.fetched.IsZero() {
			return nil, false, &connectors.Error{Kind: connectors.Retryable, Op: "fetch the keys of tokens", Err: errors.New("they could not be fetched a moment ago")}
		}
		return held, known, nil
	}
	k.tried = now
	set, err := k.fetch(ctx)
	if err != nil {
		if known {
			return held, true, nil // keys live longer than we keep them
		}
		return nil, false, err
	}
	k.set, k.fetched = set, now
	held, known = find(k.set, id)
	return held, known, nil
}

// find returns the public key itself, so that nothing else of what was published has a say.
func find(set jose.JSONWebKeySet, id string) (any, bool) {
	for _, k := range set.Key(id) {
		if k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig") {
			return k.Key, true
		}
	}
	return nil, false
}

// fetch gets the set. A key of a kind that is not understood is left out, as RFC 7517 section 5 has it.
func (k *Keys) fetch(ctx context.Context) (jose.JSONWebKeySet, error) {
	const op = "fetch the keys of tokens"
	var got struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := k.client.Do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: k.path}, &got); err != nil {
		return jose.JSONWebKeySet{}, err
	}
	var set jose.JSONWebKeySet
	for _, raw := range got.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil {
			set.Keys = append(set.Keys, key)
		}
	}
	if len(set.Keys) == 0 {
		return set, &connectors.Error{Kind: connectors.Retryable, Op: op, Err: errors.New("the set has no key that is understood")}
	}
	return set, nil
}

// tokenMargin is how long before its end an access token is replaced.
const tokenMargin = 5 * time.Minute

// Tokens holds the access token of a connection (OAuth 2.0, RFC 6749). It is safe for concurrent use.
type Tokens struct {
	client *rest.Client
	path   string
	form   func(now time.Time) (url.Values, error)
	hint   string

	mu    sync.Mutex
	token string
	ends  time.Time
}

// NewTokens makes the holder of a token that is fetched by the client: the form is posted to the path. The hint tells a
// person what to do when no token is given.
func NewTokens(client *rest.Client, path string, form func(now time.Time) (url.Values, error), hint string) *Tokens {
	return &Tokens{client: client, path: path, form: form, hint: hint}
}

// Do makes a call of the client with the token. A token that is no longer taken is replaced once.
func (t *Tokens) Do(ctx context.Context, client *rest.Client, call rest.Call, out any) error {
	token, err := t.access(ctx, call.Op, "")
	if err != nil {
		return err
	}
	var status int
	told := call.Status
	if call.Status == nil {
		told = &status
	}
	for again := false; ; again = true {
		with := call
		with.Status = told
		with.Header = call.Header.Clone()
		if with.Header == nil {
			with.Header = http.Header{}
		}
		with.Header.Set("Authorization", "Bearer "+token)
		err := rest.Without(token, client.Do(ctx, with, out))
		if again || *told != http.StatusUnauthorized || connectors.KindOf(err) != connectors.Auth {
			return err
		}
		if token, err = t.access(ctx, call.Op, token); err != nil {
			return err
		}
	}
}

// access returns a token, and fetches one where there is none, it ends soon, or it is the stale one.
func (t *Tokens) access(ctx context.Context, op, stale string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.token != "" && t.token != stale && now.Before(t.ends) {
		return t.token, nil
	}
	form, err := t.form(now)
	if err != nil {
		return "", &connectors.Error{Kind: connectors.Auth, Op: op, Err: fmt.Errorf("no access token can be asked for: %w", err)}
	}
	var got struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	var status int
	err = t.client.Do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: t.path, Status: &status,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte(form.Encode())}, &got)
	if e, ok := errors.AsType[*connectors.Error](err); ok && (status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden) {
		return "", &connectors.Error{Kind: connectors.Auth, Op: op, Code: e.Code, Err: fmt.Errorf("no access token was given: %w; %s", e.Err, t.hint)}
	}
	if err != nil {
		return "", err
	}
	if got.AccessToken == "" || got.ExpiresIn <= 0 {
		return "", connectors.Rejectedf(op, "", "the answer lacks the access token or its age; it is not understood")
	}
	life := time.Duration(min(got.ExpiresIn, 24*3600)) * time.Second
	t.token, t.ends = got.AccessToken, now.Add(max(life-tokenMargin, life/2))
	return t.token, nil
}
