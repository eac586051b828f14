package rest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors"
)

// serve starts a server and a client of it.
func serve(t *testing.T, c Config, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c.BaseURL = server.URL + "/api/"
	return newClient(t, c)
}

func newClient(t *testing.T, c Config) *Client {
	t.Helper()
	client, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

var (
	read       = Call{Op: "read it", Method: http.MethodGet, Path: "/it"}
	write      = Call{Op: "write it", Method: http.MethodPost, Path: "/it", Body: map[string]int{"n": 1}, Write: true}
	repeatable = Call{Op: "write it", Method: http.MethodPut, Path: "/it", Body: map[string]int{"n": 1}, Write: true, Idempotent: true}
)

type answered struct {
	N    int    `json:"n"`
	Name string `json:"name"`
}

func TestRequestAndAnswer(t *testing.T) {
	c := serve(t, Config{Header: http.Header{"Authorization": {"Bearer a"}}}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.URL.RequestURI(), " ", string(body), " ", r.Header.Get("Authorization"), " ", r.Header.Get("X-Own")))
		_, _ = io.WriteString(w, `{"n": 7, "unknown": null}`)
	})
	var header http.Header
	var status int
	var out answered
	err := c.Do(t.Context(), Call{
		Op: "try", Method: http.MethodPost, Path: "/a%2Fb", Query: map[string][]string{"q": {"x y"}}, Header: http.Header{"x-own": {"1"}},
		Body: answered{N: 3}, ResponseHeader: &header, Status: &status,
	}, &out)
	if err != nil || out.N != 7 || status != 200 {
		t.Fatalf("%v, %+v, %d", err, out, status)
	}
	if got, want := header.Get("X-Seen"), `POST /api/a%2Fb?q=x+y {"n":3,"name":""} Bearer a 1`; got != want {
		t.Errorf("the server saw %s, not %s", got, want)
	}
}

func TestBaseURL(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "empty",
		"shop.example":            "scheme",
		"ftp://shop.example":      "scheme",
		"https://":                "host",
		"https://u:hush@shop.ex":  "credentials",
		"https://shop.ex/?a=1":    "query",
		"https://shop.ex/#a":      "fragment",
		"https://shop.ex:x/hush":  "not a URL",
		"http://[::1]:80/api":     "",
		"https://shop.example/v1": "",
	} {
		_, err := New(Config{BaseURL: text})
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "base_url: ")):
			t.Errorf("%q: the error is %v, without %q", text, err, want)
		case err != nil && strings.Contains(err.Error(), "hush"):
			t.Errorf("%q: the error tells the password: %v", text, err)
		}
	}
}

func TestTries(t *testing.T) {
	for name, row := range map[string]struct {
		call   Call
		status int
		want   int64
	}{
		"read, 500":              {read, 500, 3},
		"read, 501":              {read, 501, 1},
		"read, 400":              {read, 400, 1},
		"read, 429":              {read, 429, 3},
		"write, 500":             {write, 500, 1},
		"write, 429":             {write, 429, 1},
		"idempotent write, 500":  {repeatable, 500, 3},
		"idempotent write, 409":  {repeatable, 409, 1},
		"read, asked for a rest": {read, 503, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tries atomic.Int64
				c := newClient(t, Config{BaseURL: "http://shop.example", Transport: answering(func(r *http.Request) (int, http.Header, string) {
					tries.Add(1)
					if body, _ := io.ReadAll(r.Body); row.call.Body != nil && string(body) != `{"n":1}` {
						t.Errorf("try %d sends %q", tries.Load(), body)
					}
					if row.status == 503 {
						return 503, http.Header{"Retry-After": {"6"}}, ""
					}
					return row.status, nil, ""
				})})
				began := time.Now()
				if err := c.Do(t.Context(), row.call, nil); err == nil {
					t.Error("no error")
				}
				if tries.Load() != row.want {
					t.Errorf("%d tries, not %d", tries.Load(), row.want)
				}
				if took := time.Since(began); row.want == 3 && (took < 400*time.Millisecond || took > 4*time.Second) {
					t.Errorf("three tries took %s", took)
				}
			})
		})
	}
}

// answering is a transport that answers in process, so that it works under a pretended clock.
type answering func(*http.Request) (status int, header http.Header, body string)

func (a answering) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req = req.Clone(req.Context())
		req.Body = http.NoBody
	}
	status, header, body := a(req)
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

// failing is a transport that never answers.
type failing func(*http.Request) error

func (f failing) RoundTrip(req *http.Request) (*http.Response, error) { return nil, f(req) }

func TestRetryAfterIsObeyedWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		wait := "3"
		c := newClient(t, Config{BaseURL: "http://shop.example", Transport: answering(func(*http.Request) (int, http.Header, string) {
			if tries++; tries == 1 {
				return 429, http.Header{"Retry-After": {wait}}, ""
			}
			return 200, nil, `{"n":1}`
		})})
		began := time.Now()
		var out answered
		if err := c.Do(t.Context(), read, &out); err != nil || tries != 2 {
			t.Errorf("%v after %d tries", err, tries)
		}
		if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("asked to wait 3 s, it took %s", took)
		}

		// Six seconds are the caller's to wait, as are three when the call may only take two.
		tries, wait = 0, "6"
		wantAt := time.Now().Add(6 * time.Second)
		err := c.Do(t.Context(), read, &out)
		if connectors.KindOf(err) != connectors.Throttled || !connectors.RetryAt(err).Equal(wantAt.UTC()) || tries != 1 {
			t.Errorf("asked to wait 6 s: %v, RetryAt %s, %d tries", err, connectors.RetryAt(err), tries)
		}
		tries, wait = 0, "3"
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := c.Do(ctx, read, &out); connectors.KindOf(err) != connectors.Throttled || tries != 1 {
			t.Errorf("asked to wait 3 s of 2: %v, %d tries", err, tries)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "Mon, 23 Nov 2026 10:01:00 GMT": time.Minute, "Mon, 23 Nov 2026 09:00:00 GMT": 0,
		"4000000000": longestReported, "": -1, "-1": -1, "soon": -1, "1.5": -1, "99999999999999999999": -1,
	} {
		got, told := retryAfter(http.Header{"Retry-After": {text}}, now)
		if told != (want >= 0) || told && got != want {
			t.Errorf("%q: %s, %t", text, got, told)
		}
	}
}

func TestPacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, Config{
			BaseURL: "http://shop.example", RequestsPerSecond: 10, Burst: 1,
			Transport: answering(func(*http.Request) (int, http.Header, string) { return 200, nil, "{}" }),
		})
		began := time.Now()
		for range 21 {
			if err := c.Do(t.Context(), read, nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 1900*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("21 calls at 10 a second took %s", took)
		}
		// No room before the deadline: nothing leaves, and the caller is told at once.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := c.Do(ctx, write, nil); connectors.KindOf(err) != connectors.Retryable {
			t.Errorf("a paced write that never left: %v", err)
		}
	})
}

func TestWhatMayHaveLeft(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
	for name, row := range map[string]struct {
		errs []error
		call Call
		want connectors.ErrorKind
	}{
		"write refused":                      {[]error{dial}, write, connectors.Retryable},
		"write to an unknown host":           {[]error{&net.DNSError{Err: "no such host", Name: "x"}}, write, connectors.Retryable},
		"write reset":                        {[]error{reset}, write, connectors.Uncertain},
		"read reset":                         {[]error{reset}, read, connectors.Retryable},
		"idempotent write refused":           {[]error{dial}, repeatable, connectors.Retryable},
		"idempotent write reset, then not":   {[]error{reset, dial}, repeatable, connectors.Uncertain},
		"idempotent write refused and reset": {[]error{dial, reset}, repeatable, connectors.Uncertain},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				try := 0
				c := newClient(t, Config{BaseURL: "http://shop.example", Transport: failing(func(*http.Request) error {
					err := row.errs[min(try, len(row.errs)-1)]
					try++
					return err
				})})
				if err := c.Do(t.Context(), row.call, nil); connectors.KindOf(err) != row.want {
					t.Errorf("%v is not %s", err, row.want)
				}
			})
		})
	}
}

// Real sockets, because a transport of the network tells by its connections what left.
func TestNetworkFailures(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	_ = l.Close()
	c := newClient(t, Config{BaseURL: nobody})
	if err := c.Do(t.Context(), write, nil); connectors.KindOf(err) != connectors.Retryable || !strings.Contains(err.Error(), "nothing was sent") {
		t.Errorf("nobody listens: %v", err)
	}

	release := make(chan struct{})
	silent := serve(t, Config{Timeout: 100 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	err = silent.Do(t.Context(), write, nil)
	if connectors.KindOf(err) != connectors.Uncertain || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silence after a write: %v", err)
	}
	if err := silent.Do(t.Context(), read, nil); connectors.KindOf(err) != connectors.Retryable {
		t.Errorf("silence after a read: %v", err)
	}

	hangUp := serve(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	if err := hangUp.Do(t.Context(), write, nil); connectors.KindOf(err) != connectors.Uncertain {
		t.Errorf("hung up on a write: %v", err)
	}

	// A certificate that nobody vouches for is found out before anything is sent, and trying again does not help.
	var connections atomic.Int64
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	untrusted.StartTLS()
	defer untrusted.Close()
	suspicious := newClient(t, Config{BaseURL: untrusted.URL})
	if err := suspicious.Do(t.Context(), repeatable, nil); connectors.KindOf(err) != connectors.Retryable || !strings.Contains(err.Error(), "nothing was sent") {
		t.Errorf("untrusted certificate: %v", err)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("an untrusted certificate was met %d times", n)
	}
}

func TestBodies(t *testing.T) {
	for name, row := range map[string]struct {
		body        string
		read, write connectors.ErrorKind
		text        string
	}{
		"HTML":          {"<!doctype html><p>We will be back", connectors.Retryable, connectors.Uncertain, `"<!doctype html><p>We will be back"`},
		"empty":         {"", connectors.Retryable, connectors.Uncertain, "an empty body"},
		"truncated":     {`{"n": 1, "na`, connectors.Retryable, connectors.Uncertain, "not whole JSON"},
		"two values":    {`{"n": 1}{"n": 2}`, connectors.Retryable, connectors.Uncertain, "not whole JSON"},
		"too large":     {`{"n": 1, "name": "` + strings.Repeat("x", 200) + `"}`, connectors.Retryable, connectors.Uncertain, "larger than 100 bytes"},
		"fraction":      {`{"n": 1.0}`, connectors.Rejected, connectors.Uncertain, "1.0 at /n is not a whole number"},
		"exponent":      {`{"n": 1e3}`, connectors.Rejected, connectors.Uncertain, "1e3 at /n is not a whole number"},
		"too many":      {`{"n": 9999999999999999999}`, connectors.Rejected, connectors.Uncertain, "/n"},
		"string":        {`{"n": "1"}`, connectors.Rejected, connectors.Uncertain, `/n`},
		"list":          {`[1]`, connectors.Rejected, connectors.Uncertain, "the top"},
		"twice":         {`{"n": 1, "n": 2}`, connectors.Rejected, connectors.Uncertain, "duplicate"},
		"twice, inside": {`{"x": [{"n": 1, "n": 2}]}`, connectors.Rejected, connectors.Uncertain, "duplicate"},
		"fraction, cut": {`{"n": 1.5, "na`, connectors.Retryable, connectors.Uncertain, "not whole JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, Config{BaseURL: "http://shop.example", MaxBody: 100, Transport: answering(func(*http.Request) (int, http.Header, string) {
				return 200, http.Header{"Content-Type": {"text/plain"}}, row.body
			})})
			for _, try := range []struct {
				call Call
				want connectors.ErrorKind
			}{{read, row.read}, {write, row.write}} {
				err := c.Do(t.Context(), try.call, new(answered))
				if connectors.KindOf(err) != try.want || !strings.Contains(err.Error(), strings.ReplaceAll(row.text, `"`, "")) && !strings.Contains(err.Error(), row.text) {
					t.Errorf("%s: %v", try.call.Op, err)
				}
			}
		})
	}
}

// A *[]byte receives the body as it is, within the same bounds.
func TestRawBodies(t *testing.T) {
	body := "-----BEGIN"
	c := newClient(t, Config{BaseURL: "http://shop.example", MaxBody: 20, Transport: answering(func(*http.Request) (int, http.Header, string) {
		return 200, nil, body
	})})
	var raw []byte
	if err := c.Do(t.Context(), read, &raw); err != nil || string(raw) != body {
		t.Errorf("%q, %v", raw, err)
	}
	body = strings.Repeat("x", 21)
	if err := c.Do(t.Context(), read, &raw); connectors.KindOf(err) != connectors.Retryable {
		t.Errorf("too large: %v", err)
	}
}

func TestExplanation(t *testing.T) {
	for body, want := range map[string]string{
		`{"title":"Bad","status":400,"detail":"no such thing","code":"nope"}`: "(nope): GET /it answered 400: Bad: no such thing",
		`{"error":"invalid","message":"wrong","code":17}`:                     "(17): GET /it answered 400: invalid: wrong",
		`{"error":{"code":400,"message":"gone","status":"NO"}}`:               "(400): GET /it answered 400: gone",
		`{"__type":"ThrottlingException","message":"slow"}`:                   "(ThrottlingException): GET /it answered 400: slow",
		`{"code":{"a":1},"detail":null}`:                                      "GET /it answered 400: text/plain, beginning with",
		`oops` + "\x00\n" + `x`:                                               `beginning with "oops\x00\nx"`,
		``:                                                                    "an empty body",
		`{"errors":[{"code":"QuotaExceeded","message":"too often","details":"wait"},{"code":"x"}]}`: "(QuotaExceeded): GET /it answered 400: too often: wait",
		`{"errors":[{"code":"QuotaExceeded","message":"too often","details":7}]}`:                   "(QuotaExceeded): GET /it answered 400: too often",
		`{"errors":{"a":["b"]},"message":"m"}`:                                                      "GET /it answered 400: m",
		`{"errors":["a"],"message":"m"}`:                                                            "GET /it answered 400: m",
		`{"errors":[[]]}`:                                                                           "GET /it answered 400: text/plain, beginning with",
	} {
		c := newClient(t, Config{BaseURL: "http://shop.example", Transport: answering(func(*http.Request) (int, http.Header, string) {
			return 400, http.Header{"Content-Type": {"text/plain"}}, body
		})})
		err := c.Do(t.Context(), read, nil)
		if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, without %s", body, err, want)
		}
	}
}

// A system that writes its explanations in its own way is understood, and still tells no secret.
func TestExplanationOfItsOwn(t *testing.T) {
	body := `{"exc_type": "NoStock", "message": "usual"}`
	c := serve(t, Config{Secrets: []string{"hush"}, Explain: func(body []byte) (string, string) {
		if strings.Contains(string(body), "NoStock") {
			return "NoStock", "none is left, says hush"
		}
		return "", ""
	}}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusExpectationFailed)
		_, _ = io.WriteString(w, body)
	})
	err := c.Do(t.Context(), write, nil)
	if e, ok := errors.AsType[*connectors.Error](err); !ok || e.Code != "NoStock" || !strings.HasSuffix(e.Error(), "answered 417: none is left, says redacted") {
		t.Errorf("the error is %v", err)
	}
	body = `{"message": "usual"}`
	if err = c.Do(t.Context(), write, nil); !strings.HasSuffix(err.Error(), "answered 417: usual") {
		t.Errorf("the error is %v", err)
	}
}

func TestRedirects(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	c := serve(t, Config{Header: http.Header{"X-Token": {"hush"}}}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/near":
			http.Redirect(w, r, "/api/it", http.StatusFound)
		case "/api/far":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/api/round":
			http.Redirect(w, r, "/api/round", http.StatusFound)
		default:
			_, _ = io.WriteString(w, `{"n":1}`)
		}
	})
	var out answered
	if err := c.Do(t.Context(), Call{Op: "read", Method: http.MethodGet, Path: "/near"}, &out); err != nil || out.N != 1 {
		t.Errorf("a read on the same host: %v", err)
	}
	for _, call := range []Call{
		{Op: "far", Method: http.MethodGet, Path: "/far"},
		{Op: "round", Method: http.MethodGet, Path: "/round"},
		{Op: "far", Method: http.MethodPost, Path: "/far", Body: 1, Write: true},
		{Op: "near", Method: http.MethodPost, Path: "/near", Body: 1, Write: true},
	} {
		if err := c.Do(t.Context(), call, &out); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "redirected to") {
			t.Errorf("%s %s: %v", call.Method, call.Path, err)
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went to another host", n)
	}
}

func TestPathNeverLeavesTheHost(t *testing.T) {
	c := newClient(t, Config{BaseURL: "http://shop.example", Transport: failing(func(r *http.Request) error {
		return fmt.Errorf("sent to %s", r.URL.Host)
	})})
	for _, path := range []string{"@evil.example/", ".evil.example/", ":99/"} {
		err := c.Do(t.Context(), Call{Op: "read", Method: http.MethodGet, Path: path}, nil)
		if connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestRedaction(t *testing.T) {
	secret := `p"ss w/rd+ü`
	forms := []string{secret, "p%22ss+w%2Frd%2B%C3%BC", "p%22ss%20w%2Frd+%C3%BC", `p\"ss w/rd+ü`, base64.StdEncoding.EncodeToString([]byte(secret))}
	var lines bytes.Buffer
	c := newClient(t, Config{
		BaseURL: "http://shop.example", Secrets: []string{"", secret}, Log: slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Transport: answering(func(*http.Request) (int, http.Header, string) {
			return 400, nil, strings.Repeat("x", 110) + strings.Join(forms, " | ")
		}),
	})
	call := read
	call.Query = map[string][]string{"token": {secret}}
	err := c.Do(t.Context(), call, nil)
	for _, text := range []string{err.Error(), lines.String(), c.Redact(strings.Join(forms, " "))} {
		for _, form := range forms {
			if strings.Contains(text, form) || strings.Contains(text, form[:6]) {
				t.Errorf("%q stands in %s", form, text)
			}
		}
	}
	if !strings.Contains(lines.String(), "outgoing request") || !strings.Contains(lines.String(), "step=") {
		t.Errorf("the log is %q", lines.String())
	}
	if got := c.Redact("a\nb\x1b[31m"); got != "a b [31m" {
		t.Errorf("control characters stay: %q", got)
	}
}

func TestCancelled(t *testing.T) {
	c := newClient(t, Config{BaseURL: "http://shop.example", Transport: failing(func(r *http.Request) error {
		<-r.Context().Done()
		return r.Context().Err()
	})})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := c.Do(ctx, write, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if err := c.Do(ctx, write, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
}

func TestClosed(t *testing.T) {
	c := serve(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	if err := c.Do(t.Context(), read, nil); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := c.Do(t.Context(), read, nil); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}

func FuzzExplanation(f *testing.F) {
	f.Add([]byte(`{"title":"t","detail":"d","code":1}`))
	f.Add([]byte("{\"code\":\"\xff\",\"code\":2}"))
	f.Add([]byte("<html>"))
	c, err := New(Config{BaseURL: "http://shop.example", Secrets: []string{"hush-hush"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		code, detail := explanation(body)
		for _, text := range []string{c.Redact(code), c.Redact(detail), c.describe(&http.Response{Header: http.Header{}}, body)} {
			if strings.Contains(text, "hush-hush") || len(text) > 2048 || strings.ContainsAny(text, "\n\r\x00") {
				t.Errorf("%q", text)
			}
		}
	})
}

// A body that is read as it comes counts for broken, too large or whole, whatever its reader says of it.
func TestRead(t *testing.T) {
	for name, try := range map[string]struct {
		body  string
		cut   bool
		says  error
		kind  connectors.ErrorKind
		text  string
		whole bool
	}{
		"whole":     {body: "a\nb\n", whole: true},
		"no sense":  {body: "a\nb\n", says: connectors.Rejectedf("try", "", "makes no sense"), kind: connectors.Rejected, text: "makes no sense", whole: true},
		"broken":    {body: "a\nb\n", cut: true, kind: connectors.Retryable, text: "broke off"},
		"too large": {body: strings.Repeat("a", 101), kind: connectors.Retryable, text: "larger than 100"},
		"just fits": {body: strings.Repeat("a", 100), whole: true},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if try.cut {
				w.Header().Set("Content-Length", "1000")
			}
			_, _ = io.WriteString(w, try.body)
		}))
		t.Cleanup(server.Close)
		c, err := New(Config{BaseURL: server.URL, MaxBody: 100})
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		err = c.Do(t.Context(), Call{Op: "try", Method: http.MethodGet, Read: func(r io.Reader) error {
			var err error
			if got, err = io.ReadAll(r); err != nil {
				return err
			}
			return try.says
		}}, nil)
		if connectors.KindOf(err) != try.kind || err != nil && !strings.Contains(err.Error(), try.text) || try.whole && string(got) != try.body {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
