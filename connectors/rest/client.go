// Package rest is the one HTTP client of the connectors. It paces, retries for seconds at most, bounds what it reads,
// and turns every failure into a connectors.Error whose kind says whether anything can have happened out there. It
// knows no vendor.
package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/time/rate"

	"github.com/truestock/truestock/connectors"
)

// DefaultMaxBody is the size of the largest answer that is read when nothing else is configured, in bytes.
const DefaultMaxBody = 16 << 20

// Config is what a Client needs. Only BaseURL is required.
type Config struct {
	// BaseURL is what the paths of all calls are appended to: http or https, a host, perhaps a path. It holds no
	// credentials, query or fragment.
	BaseURL string
	// Header goes with every call: the place for Authorization.
	Header http.Header
	// Authorize, where set, is called for every call after all headers are set, for credentials that change.
	Authorize func(*http.Request)
	// Transport is the way out; nil means a network transport that belongs to this client alone.
	Transport http.RoundTripper
	// Log gets what happens on the wire, at debug; nil means nobody.
	Log *slog.Logger
	// Timeout bounds one call of Do, retries and pacing included; 0 means connectors.DefaultTimeout.
	Timeout time.Duration
	// MaxBody is the size of the largest answer that is read, in bytes; 0 means DefaultMaxBody.
	MaxBody int64
	// RequestsPerSecond paces every try of every call through this client; 0 means no pacing. Burst is how many tries
	// may leave at once after a pause; 0 means one second's worth.
	RequestsPerSecond float64
	Burst             int
	// Secrets are replaced by "redacted" in every error and log line.
	Secrets []string
	// Explain, where set, finds the system's own code and words in the body of a failure, for systems that write them
	// elsewhere than most. Where it finds no words, they are looked for in the usual places.
	Explain func(body []byte) (code, detail string)
}

// Call is one request. The zero value of a field means that it is not needed.
type Call struct {
	// Op is what is tried, in a few words, such as "write stock". It begins every error.
	Op string
	// Method is an HTTP method; Path is appended to the base URL as it is, so its segments are escaped already.
	Method, Path string
	Query        url.Values
	Header       http.Header
	// Body is sent as JSON; a []byte is sent as it is.
	Body any
	// Write is true where the call changes something out there: then a failure after it left is Uncertain. It does not
	// follow from the method, as many systems read by POST.
	Write bool
	// Idempotent is true where a Write can be repeated without effect; only then is a write tried again.
	Idempotent bool
	// Read, where set, takes the body of a 2xx answer as it comes, in the place of decoding it: for answers that are not one
	// JSON value. It is called at most once for each answer, and reads to the end. Its error is returned as it is; one of the
	// line, or of the size, counts before it.
	Read func(io.Reader) error
	// ResponseHeader and Status, where set, receive the headers and the HTTP status of the last answer, of a failure too.
	// They are left alone where no answer came.
	ResponseHeader *http.Header
	Status         *int
}

// Client makes calls to one outside system for one connection. It is safe for concurrent use.
type Client struct {
	base      string
	host      string
	header    http.Header
	authorize func(*http.Request)
	timeout   time.Duration
	maxBody   int64
	redact    redactor
	explain   func(body []byte) (code, detail string)
	transport http.RoundTripper
	closed    atomic.Bool

	// Two clients, because retryablehttp does not tell the method to CheckRetry when there is no response.
	repeated, once *retryablehttp.Client
}

// New checks the configuration and makes a client. It does no I/O. The error names the setting that is wrong.
func New(c Config) (*Client, error) {
	base, err := parseBase(c.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("base_url: %w", err)
	}
	if c.RequestsPerSecond < 0 || c.RequestsPerSecond != c.RequestsPerSecond {
		return nil, fmt.Errorf("requests_per_second is %v: it must be 0 or more", c.RequestsPerSecond)
	}
	if c.Burst < 0 || c.MaxBody < 0 || c.Timeout < 0 {
		return nil, errors.New("burst, body size and time-out must be 0 or more")
	}
	cl := &Client{
		base:      strings.TrimRight(base.String(), "/"),
		host:      base.Host,
		header:    c.Header.Clone(),
		authorize: c.Authorize,
		timeout:   orDefault(c.Timeout, connectors.DefaultTimeout),
		maxBody:   orDefault(c.MaxBody, DefaultMaxBody),
		redact:    newRedactor(c.Secrets),
		explain:   c.Explain,
		transport: c.Transport,
	}
	if cl.transport == nil {
		cl.transport = newTransport()
	}
	paced := &pacedTransport{next: cl.transport, pace: newPacer(c.RequestsPerSecond, c.Burst)}
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cl.repeated = newRetrying(paced, &wireLog{log: log, redact: cl.redact}, retries)
	cl.once = newRetrying(paced, &wireLog{log: log, redact: cl.redact}, 0)
	return cl, nil
}

func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, errors.New("it is empty; write something like https://shop.example/api")
	case err != nil:
		// The text of a parse error holds the URL, and that may hold a password.
		return nil, errors.New("it is not a URL; write something like https://shop.example/api")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("its scheme is %q; write http:// or https:// before the host", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("it names no host; write something like https://shop.example/api")
	case u.User != nil:
		return nil, errors.New("it holds a user name or password; take them out and use the setting for credentials")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("it has a query or a fragment; end it after the path")
	}
	return u, nil
}

func newPacer(perSecond float64, burst int) *rate.Limiter {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	if burst == 0 {
		burst = max(1, int(min(perSecond, 1<<20)))
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// Close makes every later call fail and drops idle connections. Calls under way end by themselves.
func (c *Client) Close() error {
	c.closed.Store(true)
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return nil
}

// Redact replaces the client's secrets in text, and makes it one printable line of bounded length: for what a remote
// system says of a single line inside a successful answer.
func (c *Client) Redact(text string) string { return oneLine(c.redact.replace(text)) }

// Refusal is the error of what a remote system says inside a successful answer, in its own words, which are redacted.
func (c *Client) Refusal(kind connectors.ErrorKind, op, code, text string) *connectors.Error {
	return &connectors.Error{Kind: kind, Op: op, Code: c.Redact(code), Err: errors.New(c.Redact(text))}
}

// Without takes a token out of an error that was fetched during the connection: a client knows only the secrets that it
// began with.
func Without(token string, err error) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || token == "" || !strings.Contains(e.Error(), token) {
		return err
	}
	clean := *e
	clean.Code = strings.ReplaceAll(e.Code, token, redacted)
	clean.Err = errors.New(strings.ReplaceAll(e.Err.Error(), token, redacted))
	return &clean
}

// Do makes the call and decodes the JSON of a 2xx answer into out; nil ignores the body, and a *[]byte receives it as it
// is. Duplicate names in the answer
// are refused, unknown names ignored. The error is the context's own when it was cancelled, and otherwise a
// *connectors.Error:
//
//   - 401, 403: Auth. 404: Unmapped. 429, and 503 with Retry-After: Throttled, with the time. 408 and 425, by which a
//     server says that it did not process the request: Retryable. Any other 4xx, and a redirect that is not followed:
//     Rejected.
//   - Other 5xx, a time-out, a lost connection, or a 2xx answer that is truncated, too large or not JSON: Retryable on a
//     read, Uncertain on a write.
//   - A refused connection, an unknown host, a failed TLS handshake, or the time running out before the request left:
//     Retryable on a write too.
//   - A 2xx answer in JSON that does not fit out, or has duplicate names: Rejected on a read, because the same answer
//     would come again, and Uncertain on a write. The text names the place.
func (c *Client) Do(ctx context.Context, call Call, out any) error {
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return err
	}
	if c.closed.Load() {
		return c.failure(connectors.Retryable, call, "", errors.New("the connection is closed; nothing was sent"))
	}
	body, err := encode(call.Body)
	if err != nil {
		return c.failure(connectors.Rejected, call, "", fmt.Errorf("the request cannot be written as JSON: %w", err))
	}
	trip := &trip{}
	bounded, cancel := context.WithTimeout(withTrip(ctx, trip), c.timeout)
	defer cancel()
	req, err := c.request(bounded, call, body)
	if err != nil {
		return c.failure(connectors.Rejected, call, "", err)
	}
	resp, err := c.retrying(call).Do(req)
	if resp != nil {
		defer func() { _ = resp.Body.Close() }()
	}
	if err != nil {
		return c.transportFailure(ctx, call, trip, err)
	}
	if call.ResponseHeader != nil {
		*call.ResponseHeader = resp.Header
	}
	if call.Status != nil {
		*call.Status = resp.StatusCode
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return c.statusFailure(ctx, call, resp)
	}
	return c.decode(ctx, call, resp, out)
}

func (c *Client) retrying(call Call) *retryablehttp.Client {
	if call.Write && !call.Idempotent {
		return c.once
	}
	return c.repeated
}

func encode(body any) ([]byte, error) {
	switch b := body.(type) {
	case nil:
		return nil, nil
	case []byte:
		return b, nil
	default:
		return json.Marshal(b)
	}
}

func (c *Client) request(ctx context.Context, call Call, body []byte) (*retryablehttp.Request, error) {
	target := c.base + call.Path
	if len(call.Query) > 0 {
		target += "?" + call.Query.Encode()
	}
	var raw any
	if body != nil {
		raw = body
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, call.Method, target, raw)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "truestock")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range []http.Header{c.header, call.Header} {
		for name, values := range h {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	if c.authorize != nil {
		c.authorize(req.Request)
	}
	if req.URL.Host != c.host {
		return nil, fmt.Errorf("the path %q leads to another host", call.Path)
	}
	return req, nil
}

// stream gives the body of an answer to call.Read.
func (c *Client) stream(ctx context.Context, call Call, resp *http.Response) error {
	body := &bounded{from: resp.Body, left: c.maxBody}
	err := call.Read(body)
	switch {
	case body.err != nil && errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case body.err != nil:
		return c.failure(unknownOutcome(call), call, "", fmt.Errorf("the answer broke off after %d bytes: %w", c.maxBody-body.left, body.err))
	case body.left < 0:
		return c.failure(unknownOutcome(call), call, "", fmt.Errorf("the answer is larger than %d bytes", c.maxBody))
	}
	return err
}

// bounded reads at most so many bytes, and one more by which it is known that there are more. It keeps the error of the line.
type bounded struct {
	from io.Reader
	left int64
	err  error
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left+1)])
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

func (c *Client) decode(ctx context.Context, call Call, resp *http.Response, out any) error {
	if call.Read != nil {
		return c.stream(ctx, call, resp)
	}
	if out == nil {
		// Read a little further, so that the connection can be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBody)
		return nil
	}
	var buf bytes.Buffer
	_, err := io.Copy(&buf, io.LimitReader(resp.Body, c.maxBody+1))
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case err != nil:
		return c.failure(unknownOutcome(call), call, "", fmt.Errorf("the answer broke off after %d bytes: %w", buf.Len(), err))
	case int64(buf.Len()) > c.maxBody:
		return c.failure(unknownOutcome(call), call, "", fmt.Errorf("the answer is larger than %d bytes", c.maxBody))
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = buf.Bytes()
		return nil
	}
	if err := json.Unmarshal(buf.Bytes(), out); err != nil {
		return c.decodeFailure(call, resp, buf.Bytes(), err)
	}
	return nil
}
