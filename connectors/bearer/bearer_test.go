package bearer_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/bearer"
	"github.com/truestock/truestock/connectors/rest"
)

var (
	first  = sync.OnceValue(newKey)
	second = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// issuer publishes keys and gives tokens. It counts what it is asked.
type issuer struct {
	keys    map[string]*rsa.PrivateKey
	down    bool
	asked   int
	refuses bool
	tokens  int
	last    url.Values
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case i.down:
		i.asked++
		w.WriteHeader(http.StatusBadGateway)
	case r.URL.Path == "/keys":
		i.asked++
		set := map[string]any{"keys": []any{map[string]any{"kty": "unheard of", "kid": "odd"}}}
		for id, key := range i.keys {
			set["keys"] = append(set["keys"].([]any), jose.JSONWebKey{Key: &key.PublicKey, KeyID: id, Use: "sig"})
		}
		_ = json.NewEncoder(w).Encode(set)
	case r.URL.Path == "/token":
		body, _ := io.ReadAll(r.Body)
		i.last, _ = url.ParseQuery(string(body))
		if i.refuses {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"the secret secret-1 has ended"}`)
			break
		}
		i.tokens++
		_, _ = fmt.Fprintf(w, `{"access_token":"token-%d","expires_in":3600}`, i.tokens)
	default:
		if got := r.Header.Get("Authorization"); got != fmt.Sprintf("Bearer token-%d", i.tokens) || i.refuses {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"message":"%s is not taken"}`, got)
			break
		}
		_, _ = io.WriteString(w, `{}`)
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (i *issuer) client(t *testing.T) *rest.Client {
	t.Helper()
	c, err := rest.New(rest.Config{BaseURL: "https://login.example", Transport: i, Secrets: []string{"secret-1"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func claims(at time.Time) map[string]any {
	return map[string]any{"iss": "https://issuer.example", "aud": "us", "iat": at.Unix(), "nbf": at.Unix(), "exp": at.Add(time.Hour).Unix(), "email": "somebody"}
}

func sign(t *testing.T, algorithm jose.SignatureAlgorithm, key any, id string, claims any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

var want = bearer.Expected{Issuers: []string{"https://other.example", "https://issuer.example"}, Audience: "us"}

func TestVerify(t *testing.T) {
	i := &issuer{keys: map[string]*rsa.PrivateKey{"1": first()}}
	keys := bearer.NewKeys(i.client(t), "/keys")
	now := time.Now()
	with := func(name string, value any) map[string]any {
		c := maps.Clone(claims(now))
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	var told struct {
		Email string `json:"email"`
	}
	good := sign(t, jose.RS256, first(), "1", claims(now))
	if err := keys.Verify(t.Context(), "Bearer "+good, want, now, &told); err != nil || told.Email != "somebody" {
		t.Fatalf("%v, %q", err, told.Email)
	}
	parts := strings.Split(good, ".")
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	public, err := json.Marshal(jose.JSONWebKey{Key: &first().PublicKey})
	if err != nil {
		t.Fatal(err)
	}
	digest := crypto.SHA256.New()
	digest.Write([]byte(part(`{"alg":"RS256"}`) + "." + parts[1]))
	bare, err := rsa.SignPKCS1v15(rand.Reader, first(), crypto.SHA256, digest.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, authorization := range map[string]string{
		"none at all":                 "",
		"another scheme":              "Basic " + good,
		"no token":                    "Bearer x",
		"not signed":                  "Bearer " + part(`{"alg":"none","kid":"1"}`) + "." + parts[1] + ".",
		"signature cut off":           "Bearer " + parts[0] + "." + parts[1] + ".",
		"the public key as a secret":  "Bearer " + sign(t, jose.HS256, public, "1", claims(now)),
		"another algorithm":           "Bearer " + sign(t, jose.PS256, first(), "1", claims(now)),
		"somebody else's key":         "Bearer " + sign(t, jose.RS256, second(), "1", claims(now)),
		"a key that is not published": "Bearer " + sign(t, jose.RS256, second(), "2", claims(now)),
		"no name of a key":            "Bearer " + part(`{"alg":"RS256"}`) + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(bare),
		"other claims":                "Bearer " + parts[0] + "." + part(`{"iss":"https://issuer.example","aud":"us","exp":9999999999}`) + "." + parts[2],
		"for somebody else":           "Bearer " + sign(t, jose.RS256, first(), "1", with("aud", []string{"them"})),
		"for nobody":                  "Bearer " + sign(t, jose.RS256, first(), "1", with("aud", nil)),
		"of another issuer":           "Bearer " + sign(t, jose.RS256, first(), "1", with("iss", "https://issuer.example.evil")),
		"of no issuer":                "Bearer " + sign(t, jose.RS256, first(), "1", with("iss", nil)),
		"over":                        "Bearer " + sign(t, jose.RS256, first(), "1", with("exp", now.Add(-10*time.Minute).Unix())),
		"without an end":              "Bearer " + sign(t, jose.RS256, first(), "1", with("exp", nil)),
		"not yet":                     "Bearer " + sign(t, jose.RS256, first(), "1", with("nbf", now.Add(10*time.Minute).Unix())),
		"issued in the future":        "Bearer " + sign(t, jose.RS256, first(), "1", with("iat", now.Add(10*time.Minute).Unix())),
		"an end that is text":         "Bearer " + sign(t, jose.RS256, first(), "1", with("exp", "tomorrow")),
	} {
		err := keys.Verify(t.Context(), authorization, want, now)
		if !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(parts[2]) > 0 && strings.Contains(err.Error(), parts[2]) {
			t.Errorf("%s: the error holds the token", name)
		}
	}
	if err := keys.Verify(t.Context(), "Bearer "+good, bearer.Expected{Issuers: want.Issuers}, now); !errors.Is(err, connectors.ErrSignature) {
		t.Errorf("for nobody that was named: %v", err)
	}
	if i.asked != 1 {
		t.Errorf("the keys were fetched %d times", i.asked)
	}
}

// Keys are fetched when they are old or one is missing, and never because a stranger asks again and again.
func TestKeysAreReplaced(t *testing.T) {
	one, two := first(), second()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: map[string]*rsa.PrivateKey{"1": one}}
		keys := bearer.NewKeys(i.client(t), "/keys")
		verify := func(key *rsa.PrivateKey, id string) error {
			return keys.Verify(t.Context(), "Bearer "+sign(t, jose.RS256, key, id, claims(time.Now())), want, time.Now())
		}
		i.down = true
		if err := verify(one, "1"); errors.Is(err, connectors.ErrSignature) || connectors.KindOf(err) != connectors.Retryable {
			t.Errorf("without keys: %v", err)
		}
		asked := i.asked
		if err := verify(one, "1"); errors.Is(err, connectors.ErrSignature) || err == nil || i.asked != asked {
			t.Errorf("without keys, a moment later: %v, asked %d times", err, i.asked-asked)
		}
		i.down = false
		time.Sleep(11 * time.Second)
		if err := verify(one, "1"); err != nil {
			t.Errorf("with keys: %v", err)
		}
		i.keys = map[string]*rsa.PrivateKey{"2": two}
		asked = i.asked
		for range 50 {
			if err := verify(two, "2"); !errors.Is(err, connectors.ErrSignature) {
				t.Fatalf("a key that we cannot know: %v", err)
			}
		}
		if i.asked != asked {
			t.Errorf("a stranger made us ask %d times", i.asked-asked)
		}
		time.Sleep(6 * time.Minute)
		if err := verify(two, "2"); err != nil || i.asked != asked+1 {
			t.Errorf("the new key: %v, asked %d times", err, i.asked-asked)
		}
		if err := verify(one, "1"); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("the old key: %v", err)
		}
		time.Sleep(7 * time.Hour)
		i.down = true
		if err := verify(two, "2"); err != nil {
			t.Errorf("a known key while no set can be had: %v", err)
		}
		i.down = false
		time.Sleep(time.Minute)
		asked = i.asked
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if err := verify(two, "2"); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if i.asked != asked+1 {
			t.Errorf("an old set was fetched %d times", i.asked-asked)
		}
	})
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		client := i.client(t)
		tokens := bearer.NewTokens(client, "/token", func(now time.Time) (url.Values, error) {
			return url.Values{"grant_type": {"client_credentials"}, "at": {fmt.Sprint(now.Unix())}}, nil
		}, "look at the screen")
		call := func() error {
			return tokens.Do(t.Context(), client, rest.Call{Op: "ask", Method: http.MethodGet, Path: "/thing"}, nil)
		}
		for range 3 {
			if err := call(); err != nil {
				t.Fatal(err)
			}
		}
		if i.tokens != 1 || i.last.Get("grant_type") != "client_credentials" {
			t.Errorf("%d tokens, by %v", i.tokens, i.last)
		}
		time.Sleep(56 * time.Minute)
		if err := call(); err != nil || i.tokens != 2 {
			t.Errorf("before its end: %v, %d tokens", err, i.tokens)
		}
		i.tokens++ // what we hold is no longer taken
		if err := call(); err != nil || i.tokens != 4 {
			t.Errorf("revoked: %v, %d tokens", err, i.tokens)
		}
		time.Sleep(2 * time.Hour)
		i.refuses = true
		err := call()
		if connectors.KindOf(err) != connectors.Auth || !strings.Contains(err.Error(), "look at the screen") || strings.Contains(err.Error(), "secret-1") {
			t.Errorf("refused: %v", err)
		}
	})
}

// An answer that repeats our token brings it into no error.
func TestTheTokenStaysOutOfErrors(t *testing.T) {
	i := &issuer{tokens: 6}
	client := i.client(t)
	tokens := bearer.NewTokens(client, "/token", func(time.Time) (url.Values, error) { return url.Values{}, nil }, "")
	if err := tokens.Do(t.Context(), client, rest.Call{Op: "ask", Method: http.MethodGet, Path: "/thing"}, nil); err != nil {
		t.Fatal(err)
	}
	echo := &echoing{}
	away, err := rest.New(rest.Config{BaseURL: "https://api.example", Transport: echo})
	if err != nil {
		t.Fatal(err)
	}
	err = tokens.Do(t.Context(), away, rest.Call{Op: "ask", Method: http.MethodGet, Path: "/thing"}, nil)
	if echo.asked != 2 || connectors.KindOf(err) != connectors.Auth || strings.Contains(err.Error(), "token-8") {
		t.Errorf("asked %d times: %v", echo.asked, err)
	}
}

type echoing struct{ asked int }

func (e *echoing) RoundTrip(r *http.Request) (*http.Response, error) {
	e.asked++
	w := httptest.NewRecorder()
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = fmt.Fprintf(w, `{"message":"%s"}`, r.Header.Get("Authorization"))
	resp := w.Result()
	resp.Request = r
	return resp, nil
}
