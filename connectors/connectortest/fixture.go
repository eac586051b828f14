// Package connectortest is the conformance suite: what every connector must do, whatever its system. A connector runs
// it against its pretend server, or a real one, through a Fixture of a dozen lines; one that is not green is not listed
// in connectors/all. The suite sits on the wire between the connection and the server, so that it makes the faults by
// itself and no server has to.
package connectortest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// Fixture is what a connector brings to the suite.
type Fixture struct {
	// New starts a fresh server, or cleans the real one. It is called once per case; what it starts ends by t.Cleanup.
	New func(t *testing.T) Server
	// Skip names cases that are not run, each with the reason, which is printed.
	Skip map[string]string
	// Serial runs the cases one after the other, for a real server that all of them share.
	Serial bool
}

// fixture is a Fixture for whatever runs the cases.
type fixture struct {
	new    func(t T) Server
	skip   map[string]string
	serial bool
}

func (f Fixture) generic() fixture {
	return fixture{new: func(t T) Server { return f.New(t.(tested).T) }, skip: f.Skip, serial: f.Serial}
}

// Server is one system on the other side. A hook that a system cannot offer is nil, and the cases that need it are
// skipped by name.
type Server struct {
	// Open opens a connection through env. It must take env.Transport, env.Log and env.Timeout as they are.
	Open func(env connectors.Env) (connectors.Connection, error)
	// Transport is the way to the server; nil means the network.
	Transport http.RoundTripper
	// Secrets are what no error and no log line may contain.
	Secrets []string
	// Writes tells the request that changes something from the one that reads. Nil means that every request of a
	// writing call writes.
	Writes func(r *http.Request, body []byte) bool
	// Changes counts what the server was made to change so far.
	Changes func() int

	// Refs are listings that the marketplace has: all of them, at least three.
	Refs []connectors.Ref
	// Shown is what a listing truly has, in the meaning in which the connector reads and writes it.
	Shown func(connectors.Ref) stock.Quantity
	// Sell places an order of one line and returns its id.
	Sell func(ref connectors.Ref, quantity stock.Quantity) string
	// Shipped counts the units of an order that the marketplace holds for shipped.
	Shipped func(orderID string) stock.Quantity

	// OrderPrefix goes before the keys of the suite's orders: different on every call of New where a real system keeps the
	// orders of the cases before.
	OrderPrefix string
	// SKUs are the articles that the system of record has: all of them, at least two.
	SKUs []string
	// Level is what the system of record truly has of a SKU, over all locations.
	Level func(sku string) stock.Quantity
	// Receive makes goods come in; they change a level and, where there are positions, make a movement.
	Receive func(sku string, quantity stock.Quantity)
	// OrderCount counts the sales orders that the system of record has.
	OrderCount func() int
	// OrdersByWebhook is set where what changed of an order is told by webhooks alone.
	OrdersByWebhook bool
	// ShipOrder ships everything that can be shipped of an order, and returns how many units that is.
	ShipOrder func(key string) stock.Quantity

	// Sign makes a webhook delivery as the system does, with the identity given, wherever that stands.
	Sign func(id string, at time.Time, body []byte) connectors.Request
	// Event is the body of an event that the connector understands.
	Event []byte
	// BodyUnsigned is set where the system's signatures do not cover the body. NotJSON is set where its events are not
	// JSON.
	BodyUnsigned, NotJSON bool
	// SignatureInBody is set where the signature is a part of the body, so that a body alone is signed.
	SignatureInBody bool
}

// wire stands between a connection and its server, and makes the faults.
type wire struct {
	next   http.RoundTripper
	writes func(*http.Request, []byte) bool

	mu       sync.Mutex
	fault    fault
	onlyHits bool // the fault meets writing requests only
	requests int
	met      int
}

// fault answers in place of the server, or after it. forward calls the server.
type fault func(req *http.Request, forward func() (*http.Response, error)) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := readBody(req)
	if err != nil {
		return nil, err
	}
	forward := func() (*http.Response, error) {
		r := req.Clone(req.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		return w.next.RoundTrip(r)
	}
	w.mu.Lock()
	w.requests++
	f := w.fault
	if f != nil && w.onlyHits && w.writes != nil && !w.writes(req, body) {
		f = nil
	}
	if f != nil {
		w.met++
	}
	w.mu.Unlock()
	if f == nil {
		return forward()
	}
	return f(req, forward)
}

func readBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(req.Body)
	return body, errors.Join(err, req.Body.Close())
}

// breakReads makes the fault on every request from now on, breakWrites on those that write; heal ends it.
func (w *wire) breakReads(f fault)  { w.set(f, false) }
func (w *wire) breakWrites(f fault) { w.set(f, true) }
func (w *wire) heal()               { w.set(nil, false) }

func (w *wire) set(f fault, onlyHits bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.onlyHits, w.met = f, onlyHits, 0
}

func (w *wire) count() (requests, met int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests, w.met
}

// answer is a fault: this answer, and nothing reaches the server.
func answer(status int, header http.Header, body string) fault {
	return func(req *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		h := header.Clone()
		if h == nil {
			h = http.Header{}
		}
		if h.Get("Content-Type") == "" {
			h.Set("Content-Type", "application/problem+json")
		}
		return &http.Response{
			Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
		}, nil
	}
}

// echo is a fault: the server refuses, and repeats every header and the given words in its explanation.
func echo(status int, words []string) fault {
	return func(req *http.Request, forward func() (*http.Response, error)) (*http.Response, error) {
		var text strings.Builder
		_ = req.Header.Write(&text)
		detail := strings.NewReplacer("\r", " ", "\n", " ", `"`, "'").Replace(text.String()) + strings.Join(words, " and ")
		return answer(status, nil, `{"title": "no", "code": "`+words[0]+`", "detail": "`+detail+`"}`)(req, forward)
	}
}

// hang is a fault: the server does the work, and its answer never comes.
func hang(req *http.Request, forward func() (*http.Response, error)) (*http.Response, error) {
	if resp, err := forward(); err == nil {
		_ = resp.Body.Close()
	}
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// lose is a fault: the server does the work, and the line breaks before the answer.
func lose(_ *http.Request, forward func() (*http.Response, error)) (*http.Response, error) {
	if resp, err := forward(); err == nil {
		_ = resp.Body.Close()
	}
	return nil, &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
}

// refuse is a fault: nobody listens.
func refuse(*http.Request, func() (*http.Response, error)) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

// truncate is a fault: the server does the work, and half of its answer comes.
func truncate(_ *http.Request, forward func() (*http.Response, error)) (*http.Response, error) {
	resp, err := forward()
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body[:len(body)/2]))
	resp.ContentLength = -1
	resp.Header.Del("Content-Length")
	return resp, nil
}

// subject is an open connection, with the wire that it goes through.
type subject struct {
	Server
	conn connectors.Connection
	wire *wire
	log  *safeBuffer
}

// start opens a connection to a fresh server. Timeout bounds its calls; 0 means plenty.
func start(t T, f fixture, timeout time.Duration) *subject {
	t.Helper()
	s := f.new(t)
	next := s.Transport
	if next == nil {
		own := &http.Transport{}
		t.Cleanup(own.CloseIdleConnections)
		next = own
	}
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	w := &wire{next: next, writes: s.Writes}
	log := &safeBuffer{}
	conn, err := s.Open(connectors.Env{
		Connection: "suite", Transport: w, Timeout: timeout,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if n, _ := w.count(); n > 0 {
		t.Fatalf("Open sent %d requests; it does no I/O", n)
	}
	return &subject{Server: s, conn: conn, wire: w, log: log}
}

// safeBuffer is a log that many goroutines write.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns what was written so far.
func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// testCase is one chapter of the story.
type testCase struct {
	name string
	run  func(t T, f fixture)
}

func runAll(t T, f fixture, cases []testCase) {
	known := make(map[string]bool, len(cases))
	for _, c := range cases {
		known[c.name] = true
	}
	for name := range f.skip {
		if !known[name] {
			t.Errorf("Skip names the case %q, which there is not", name)
		}
	}
	together(t, f, cases)
}

// together runs cases side by side. They mostly wait for time-outs and back-offs, so they do not wait for a processor
// either, as t.Parallel would.
func together(t T, f fixture, cases []testCase) {
	var group sync.WaitGroup
	for _, c := range cases {
		run := func() {
			t.Run(c.name, func(t T) {
				if reason := f.skip[c.name]; reason != "" {
					t.Skip(reason)
				}
				c.run(t, f)
			})
		}
		if f.serial {
			run()
			continue
		}
		group.Go(run)
	}
	group.Wait()
}

// need skips a case whose hook the fixture does not have.
func need(t T, has bool, hook string) {
	t.Helper()
	if !has {
		t.Skipf("the fixture has no hook %s", hook)
	}
}

// wantKind checks that err is an *Error of one of the kinds, and tells what was tried.
func wantKind(t T, err error, kinds ...connectors.ErrorKind) {
	t.Helper()
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		t.Errorf("the error is %T (%v), not a *connectors.Error of kind %v", err, err, kinds)
		return
	}
	if slices.Contains(kinds, e.Kind) {
		if e.Op == "" {
			t.Errorf("the error %q does not tell what was tried", err)
		}
		return
	}
	t.Errorf("the error is %s (%v), not %v", e.Kind, err, kinds)
}

func must[V any](t T, what string, v V, err error) V {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return v
}

// statuses is the table from an HTTP status to the kind of error, on a read and on a write.
var statuses = []struct {
	status      int
	header      http.Header
	read, write connectors.ErrorKind
}{
	{http.StatusBadRequest, nil, connectors.Rejected, connectors.Rejected},
	{http.StatusUnauthorized, nil, connectors.Auth, connectors.Auth},
	{http.StatusForbidden, nil, connectors.Auth, connectors.Auth},
	{http.StatusNotFound, nil, connectors.Unmapped, connectors.Unmapped},
	{http.StatusConflict, nil, connectors.Rejected, connectors.Rejected},
	{http.StatusGone, nil, connectors.Rejected, connectors.Rejected},
	{http.StatusRequestEntityTooLarge, nil, connectors.Rejected, connectors.Rejected},
	{http.StatusUnprocessableEntity, nil, connectors.Rejected, connectors.Rejected},
	{http.StatusTooManyRequests, http.Header{"Retry-After": {"60"}}, connectors.Throttled, connectors.Throttled},
	{http.StatusInternalServerError, nil, connectors.Retryable, connectors.Uncertain},
	{http.StatusBadGateway, nil, connectors.Retryable, connectors.Uncertain},
	{http.StatusServiceUnavailable, nil, connectors.Retryable, connectors.Uncertain},
	{http.StatusServiceUnavailable, http.Header{"Retry-After": {"60"}}, connectors.Throttled, connectors.Throttled},
	{http.StatusGatewayTimeout, nil, connectors.Retryable, connectors.Uncertain},
}

// calls are a read and a write of a connection, as the cases about failures need them. prepare makes the calls that a
// connection makes only once, so that a fault meets what is meant.
type calls struct {
	prepare, read, write func(ctx context.Context) error
}

// failureCases are the same for both roles.
func failureCases(of func(t T, s *subject) calls) []testCase {
	return []testCase{
		// Every HTTP status means one thing to the engine, the same for all connectors.
		{"StatusToKind", func(t T, f fixture) {
			var rows []testCase
			for _, row := range statuses {
				name := http.StatusText(row.status)
				if row.header != nil {
					name += " with Retry-After"
				}
				refused := answer(row.status, row.header, `{"title": "refused", "detail": "the suite says no"}`)
				rows = append(rows, testCase{name, func(t T, f fixture) {
					s := start(t, f, 0)
					c := of(t, s)
					_ = s.try(t, c, "read", refused, row.read)
					_ = s.try(t, c, "write", refused, row.write)
				}})
			}
			together(t, f, rows)
		}},
		// Asked to wait a minute, a connector says so at once: it does not sit and wait.
		{"RetryAfterBecomesThrottled", func(t T, f fixture) {
			s := start(t, f, 0)
			c := of(t, s)
			for name, value := range map[string]string{
				"seconds": "60", "date": time.Now().Add(time.Minute).UTC().Format(http.TimeFormat),
			} {
				began := time.Now()
				err := s.try(t, c, "write", answer(http.StatusTooManyRequests, http.Header{"Retry-After": {value}}, "{}"), connectors.Throttled)
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("Retry-After in %s: the call took %s", name, took)
				}
				if wait := connectors.RetryAt(err).Sub(began); wait < 55*time.Second || wait > 65*time.Second {
					t.Errorf("Retry-After in %s: RetryAt is %s away, not a minute", name, wait)
				}
			}
		}},
		// Silence after a write left is no failure and no success: it may have happened.
		{"TimeoutOnWriteIsUncertain", func(t T, f fixture) {
			s := start(t, f, 2*time.Second)
			c := of(t, s)
			_ = s.try(t, c, "write", hang, connectors.Uncertain)
			_ = s.try(t, c, "read", hang, connectors.Retryable)
			// The caller's own deadline says no more. It passes when the write has left: what a connector reads before it
			// writes may take its time.
			s = start(t, f, 0)
			c = of(t, s)
			if err := c.prepare(t.Context()); err != nil {
				t.Fatalf("before the fault: %v", err)
			}
			ctx := expiring{Context: t.Context(), passed: make(chan struct{})}
			pass := sync.OnceFunc(func() { close(ctx.passed) })
			s.wire.breakWrites(func(req *http.Request, forward func() (*http.Response, error)) (*http.Response, error) {
				return hang(req, func() (*http.Response, error) {
					defer pass()
					return forward()
				})
			})
			defer s.wire.heal()
			wantKind(t, c.write(ctx), connectors.Uncertain)
		}},
		{"BrokenLineOnWriteIsUncertain", func(t T, f fixture) {
			s := start(t, f, 0)
			_ = s.try(t, of(t, s), "write", lose, connectors.Uncertain)
			_ = s.try(t, of(t, s), "read", lose, connectors.Retryable)
		}},
		// When nobody listens nothing was written, and the engine may simply try again.
		{"RefusedConnectionIsRetryable", func(t T, f fixture) {
			s := start(t, f, 0)
			_ = s.try(t, of(t, s), "write", refuse, connectors.Retryable)
			_ = s.try(t, of(t, s), "read", refuse, connectors.Retryable)
		}},
		// A proxy that answers 200 with a page for people has told nothing.
		{"AnswerThatIsNone", func(t T, f fixture) {
			s := start(t, f, 0)
			c := of(t, s)
			page := answer(http.StatusOK, http.Header{"Content-Type": {"text/html"}}, "<!doctype html><title>One moment</title>")
			for _, broken := range []fault{page, answer(http.StatusOK, nil, ""), truncate} {
				_ = s.try(t, c, "read", broken, connectors.Retryable)
				_ = s.try(t, c, "write", broken, connectors.Uncertain)
			}
		}},
		// A redirect to another host would carry the credentials there.
		{"RedirectIsNotFollowed", func(t T, f fixture) {
			s := start(t, f, 0)
			c := of(t, s)
			away := answer(http.StatusFound, http.Header{"Location": {"https://elsewhere.example/"}}, "")
			watched := func(req *http.Request, forward func() (*http.Response, error)) (*http.Response, error) {
				if strings.Contains(req.URL.Host, "elsewhere") {
					t.Errorf("the connector followed the redirect to %s", req.URL.Host)
				}
				return away(req, forward)
			}
			_ = s.try(t, c, "read", watched, connectors.Rejected)
			_ = s.try(t, c, "write", watched, connectors.Rejected)
		}},
		// A shutdown is no failure: the context's own error comes back, and soon.
		{"CancelledContextStops", func(t T, f fixture) {
			s := start(t, f, 0)
			c := of(t, s)
			if err := c.prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name, call := range map[string]func(context.Context) error{"read": c.read, "write": c.write} {
				ctx, cancel := context.WithCancel(t.Context())
				reached := make(chan struct{}, 8)
				stop := func(req *http.Request, forward func() (*http.Response, error)) (*http.Response, error) {
					reached <- struct{}{}
					<-req.Context().Done()
					return nil, req.Context().Err()
				}
				s.wire.breakWrites(stop)
				if name == "read" {
					s.wire.breakReads(stop)
				}
				result := make(chan error, 1)
				go func() { result <- call(ctx) }()
				select {
				case <-reached:
				case err := <-result:
					cancel()
					t.Fatalf("%s: the call ended before it sent what is to be stopped: %v", name, err)
				}
				cancel()
				select {
				case err := <-result:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("%s: the error is %v, not the context's", name, err)
					}
					if kind := connectors.KindOf(err); kind != "" {
						t.Errorf("%s: a shutdown counts as %s", name, kind)
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("%s: still running 10 s after the context was cancelled", name)
				}
				s.wire.heal()
			}
		}},
		// Errors and logs go to screens, tickets and chats. Even a server that repeats our credentials does not bring
		// them there.
		{"NoSecretInErrorsOrLogs", func(t T, f fixture) {
			s := start(t, f, 2*time.Second)
			need(t, len(s.Secrets) > 0, "Secrets")
			c := of(t, s)
			var texts []string
			for _, status := range []int{400, 401, 404, 409, 422, 429, 500, 200} {
				for _, name := range []string{"read", "write"} {
					kinds := []connectors.ErrorKind{
						connectors.Rejected, connectors.Auth, connectors.Unmapped, connectors.Throttled, connectors.Retryable, connectors.Uncertain,
					}
					fails := echo(status, s.Secrets)
					if status == 200 { // a body that is not JSON is quoted in the error
						fails = answer(200, http.Header{"Content-Type": {"text/plain"}}, "not JSON: "+strings.Join(s.Secrets, " "))
					}
					texts = append(texts, everyText(s.try(t, c, name, fails, kinds...))...)
				}
			}
			texts = append(texts, s.log.String())
			for n, secret := range s.Secrets {
				for _, text := range texts {
					if i := strings.Index(text, secret); i >= 0 {
						t.Fatalf("secret %d stands in: …%s", n, strings.ReplaceAll(text[max(0, i-80):i], secret, "redacted"))
					}
				}
			}
		}},
	}
}

// expiring is a context whose deadline passes when the channel is closed.
type expiring struct {
	context.Context
	passed chan struct{}
}

// Done implements context.Context.
func (e expiring) Done() <-chan struct{} { return e.passed }

// Err implements context.Context.
func (e expiring) Err() error {
	select {
	case <-e.passed:
		return context.DeadlineExceeded
	default:
		return e.Context.Err()
	}
}

// try makes one call under a fault and checks the kind of its error.
func (s *subject) try(t T, c calls, name string, f fault, kinds ...connectors.ErrorKind) error {
	t.Helper()
	s.wire.heal()
	if err := c.prepare(t.Context()); err != nil {
		t.Fatalf("before the fault: %v", err)
	}
	call := c.write
	if name == "read" {
		call = c.read
		s.wire.breakReads(f)
	} else {
		s.wire.breakWrites(f)
	}
	err := call(t.Context())
	_, met := s.wire.count()
	s.wire.heal()
	if met == 0 {
		t.Fatalf("%s: the call sent nothing that the fault could meet", name)
	}
	wantKind(t, err, kinds...)
	return err
}

// everyText is the text of an error and of all that it wraps, with their fields.
func everyText(err error) []string {
	var texts []string
	if e, ok := errors.AsType[*connectors.Error](err); ok {
		texts = append(texts, e.Op, e.Code)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		texts = append(texts, err.Error())
	}
	return texts
}

// webhookCases are the same for both roles.
func webhookCases() []testCase {
	receiver := func(t T, f fixture) (*subject, connectors.WebhookReceiver) {
		s := start(t, f, 0)
		r, ok := s.conn.(connectors.WebhookReceiver)
		if !ok {
			t.Skip("the connection receives no webhooks")
		}
		need(t, s.Sign != nil && len(s.Event) > 0, "Sign with Event")
		return s, r
	}
	return []testCase{
		// What is not signed by the system is refused before anything reads it.
		{"BadSignatureRefused", func(t T, f fixture) {
			s, r := receiver(t, f)
			now := time.Now()
			good := s.Sign("evt_1", now, s.Event)
			bare := connectors.Request{Method: good.Method, Header: http.Header{}, Body: good.Body, At: now}
			garbage := good
			garbage.Body = []byte("\xff{")
			changed := good
			changed.Body = append(bytes.Clone(good.Body), ' ')
			tries := map[string]connectors.Request{"garbage, not signed": {Method: good.Method, Header: http.Header{}, Body: garbage.Body, At: now}}
			if !s.SignatureInBody {
				tries["not signed"] = bare
			}
			if !s.BodyUnsigned {
				tries["another body"], tries["garbage"] = changed, garbage
			}
			for name, try := range tries {
				if _, err := r.VerifyWebhook(try); !errors.Is(err, connectors.ErrSignature) {
					t.Errorf("%s: the error is %v, not ErrSignature", name, err)
				}
			}
			if s.NotJSON {
				return
			}
			if _, err := r.VerifyWebhook(s.Sign("evt_2", now, []byte("not JSON"))); !errors.Is(err, connectors.ErrEnvelope) {
				t.Errorf("well signed, not JSON: the error is %v, not ErrEnvelope", err)
			}
		}},
		// The same delivery has the same key on every try: that is what duplicates are known by.
		{"WebhookReplaySameKey", func(t T, f fixture) {
			s, r := receiver(t, f)
			now := time.Now()
			first, err := r.VerifyWebhook(s.Sign("evt_1", now, s.Event))
			must(t, "first try", first, err)
			later := now.Add(time.Minute)
			second, err := r.VerifyWebhook(s.Sign("evt_1", later, s.Event))
			must(t, "second try", second, err)
			other, err := r.VerifyWebhook(s.Sign("evt_2", now, s.Event))
			must(t, "another event", other, err)
			if first.Key == "" || first.Key != second.Key || first.Key == other.Key {
				t.Errorf("the keys are %q and %q for the same event, %q for another", first.Key, second.Key, other.Key)
			}
			if first.Type == "" {
				t.Error("the delivery has no type")
			}
		}},
		// A stored event can be decoded again, and says the same again; its facts are valid.
		{"DecodeIsPure", func(t T, f fixture) {
			s, r := receiver(t, f)
			now := time.Now()
			d, err := r.VerifyWebhook(s.Sign("evt_1", now, s.Event))
			must(t, "verify", d, err)
			d = whole(t, s, d, s.Sign("evt_1", now, s.Event))
			body := bytes.Clone(d.Body)
			first, err := r.DecodeWebhook(d, body)
			must(t, "decode", first, err)
			second, err := r.DecodeWebhook(d, body)
			must(t, "decode again", second, err)
			if !bytes.Equal(body, d.Body) || len(first.Facts) != len(second.Facts) || first.Pull != second.Pull {
				t.Error("decoding changes the body, or says another thing the second time")
			}
			if len(first.Facts) == 0 && !first.Pull {
				t.Error("the event says nothing")
			}
			for _, fact := range first.Facts {
				if err := fact.Validate(); err != nil {
					t.Errorf("fact %s: %v", fact.Kind, err)
				}
			}
		}},
		// A type that nobody knows is told or ignored; it never becomes a fact.
		{"WebhookUnknownTypeIsNoFact", func(t T, f fixture) {
			_, r := receiver(t, f)
			for _, body := range []string{`{"type":"suite.unheard_of","data":{}}`, `{}`, `[]`, `null`, ``} {
				n, err := r.DecodeWebhook(connectors.Delivery{Key: "evt_1", Type: "suite.unheard_of"}, []byte(body))
				if err == nil && len(n.Facts) > 0 {
					t.Errorf("%q became %d facts", body, len(n.Facts))
				}
			}
		}},
	}
}
