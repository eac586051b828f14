package rest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/time/rate"
)

const (
	retries         = 2
	retryWaitMin    = 200 * time.Millisecond
	retryWaitMax    = 2 * time.Second
	longestObeyed   = 5 * time.Second // a longer Retry-After goes to the caller
	longestReported = 24 * time.Hour  // a Retry-After beyond this is taken for a mistake and cut
	maxRedirects    = 3
)

func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    5 * time.Second,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        60 * time.Second,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

func newRetrying(transport http.RoundTripper, log *wireLog, times int) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		Logger:       log,
		RetryWaitMin: retryWaitMin,
		RetryWaitMax: retryWaitMax,
		RetryMax:     times,
		CheckRetry:   checkRetry,
		Backoff:      backoff,
		// The library's own handler drains the last answer away; it is needed to tell the kind of the failure.
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// checkRedirect follows a redirect of a read on the same host only: credentials never go elsewhere, and a redirected
// write could arrive as a read and look as if it had succeeded. A redirect not followed is classed like any answer.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from := via[0]
	same := req.URL.Host == from.URL.Host && req.URL.Scheme == from.URL.Scheme
	if !same || from.Method != http.MethodGet || len(via) > maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

func checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return !hopeless(err), nil
	}
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		wait, told := retryAfter(resp.Header, time.Now())
		deadline, bounded := ctx.Deadline()
		inTime := !bounded || time.Now().Add(wait).Before(deadline)
		return !told || wait <= longestObeyed && inTime, nil
	case code == http.StatusNotImplemented:
		return false, nil
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return true, nil
	default:
		return code >= 500, nil
	}
}

// hopeless says that the same request would fail in the same way a second later.
func hopeless(err error) bool {
	if _, ok := errors.AsType[*unsentError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok
}

// backoff doubles from shortest to longest and spreads over the upper half of each step, so that the connections that
// failed together do not come back together.
func backoff(shortest, longest time.Duration, attempt int, resp *http.Response) time.Duration {
	wait := min(longest, shortest<<min(attempt, 16))
	wait = max(shortest, wait/2+rand.N(wait/2+1))
	if resp != nil {
		if told, ok := retryAfter(resp.Header, time.Now()); ok {
			return told + rand.N(shortest)
		}
	}
	return wait
}

// retryAfter reads the Retry-After header: whole seconds or an HTTP date (RFC 9110 section 10.2.3). A date in the past
// means now. It tells false where the header is missing or unreadable.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, longestReported), true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return max(0, min(at.Sub(now), longestReported)), true
}

// trip remembers over all tries of one call whether a request can have left this machine.
type trip struct{ left atomic.Bool }

type tripKey struct{}

// withTrip hands the trip to pacedTransport: retryablehttp and net/http offer no other way through.
func withTrip(ctx context.Context, t *trip) context.Context {
	return context.WithValue(ctx, tripKey{}, t)
}

// unsentError is a failure from before the request left.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// pacedTransport waits for the pacer before every try, and marks the trip when a request may have left.
type pacedTransport struct {
	next http.RoundTripper
	pace *rate.Limiter
}

// RoundTrip implements http.RoundTripper.
func (p *pacedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := p.pace.Wait(req.Context()); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &unsentError{fmt.Errorf("requests_per_second leaves no room before the time-out: %w", err)}
	}
	var wanted, got atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { got.Store(true) },
	})
	resp, err := p.next.RoundTrip(req.WithContext(ctx))
	// A transport that tells about its connections is believed. Another one, a simulator's, is believed only when it
	// failed to dial.
	if wanted.Load() && !got.Load() && err != nil || err != nil && failedToDial(err) {
		return resp, err
	}
	if t, ok := req.Context().Value(tripKey{}).(*trip); ok {
		t.left.Store(true)
	}
	return resp, err
}

// CloseIdleConnections passes on what net/http asks of a transport.
func (p *pacedTransport) CloseIdleConnections() {
	if t, ok := p.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

func failedToDial(err error) bool {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// wireLog gives retryablehttp's words to slog, all at debug: whether something is an error is the engine's to say.
type wireLog struct {
	log    *slog.Logger
	redact redactor
}

// Error implements retryablehttp.LeveledLogger.
func (l *wireLog) Error(msg string, pairs ...any) { l.write(msg, pairs) }

// Warn implements retryablehttp.LeveledLogger.
func (l *wireLog) Warn(msg string, pairs ...any) { l.write(msg, pairs) }

// Info implements retryablehttp.LeveledLogger.
func (l *wireLog) Info(msg string, pairs ...any) { l.write(msg, pairs) }

// Debug implements retryablehttp.LeveledLogger.
func (l *wireLog) Debug(msg string, pairs ...any) { l.write(msg, pairs) }

func (l *wireLog) write(msg string, pairs []any) {
	ctx := context.Background()
	if !l.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{slog.String("step", msg)}
	for i := 0; i+1 < len(pairs); i += 2 {
		attrs = append(attrs, slog.String(fmt.Sprint(pairs[i]), oneLine(l.redact.replace(fmt.Sprint(pairs[i+1])))))
	}
	l.log.LogAttrs(ctx, slog.LevelDebug, "outgoing request", attrs...)
}
