package fake

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors/open"
)

var errClosed = errors.New("the pretend server is closed")

const (
	maxBody         = 32 << 20
	defaultPageSize = 500
	// precision is that of the instants that lists are asked by.
	precision = time.Millisecond
)

// base is what the shop and the warehouse have in common. Its mutex guards the whole truth of a server.
type base struct {
	mu    sync.Mutex
	name  string
	token string
	in    *injector
	mail  *courier
	mux   *http.ServeMux
	done  chan struct{}
	once  sync.Once
	// last is the newest instant that was given out, and drained the newest watermark: see stamp.
	last, drained time.Time
	// ahead is how far the server's clock is ahead of the right one.
	ahead time.Duration
}

func newBase(name, token string, seed uint64, f Faults) *base {
	b := &base{name: name, token: token, in: newInjector(seed, f), mail: newCourier(), mux: http.NewServeMux(), done: make(chan struct{})}
	b.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerProblem(w, problem(http.StatusNotFound, "not_found", "there is no %s %s here", r.Method, r.URL.Path))
	})
	return b
}

// ServeHTTP answers the calls of the open protocol.
func (b *base) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.mux.ServeHTTP(w, r) }

// SetFaults replaces the faults that chance makes. Those that FailNext asked for stay.
func (b *base) SetFaults(f Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.in.faults = f.withDefaults()
}

// FailNext makes the fault on the next n calls, or events, that it can meet, before any fault of chance.
func (b *base) FailNext(n int, f Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 {
		b.in.script = append(b.in.script, scripted{fault: f, left: n})
	}
}

// Heal ends every fault: none is made from now on, calls that a fault keeps waiting are answered, and webhooks that a
// fault delayed are sent at once, or lost with Faults.DropOnHeal.
func (b *base) Heal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.in.heal()
	b.mail.heal(b.in.faults.DropOnHeal)
}

// Counts tells how often each fault was made, and what became of the webhooks.
func (b *base) Counts() map[Fault]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mail.mu.Lock()
	defer b.mail.mu.Unlock()
	counts := maps.Clone(b.in.counts)
	for f, n := range b.mail.counts {
		counts[f] += n
	}
	return counts
}

// SendWebhooks sends the events from now on to the target. Events from before the first call are lost, as they would
// be at a shop where nobody had subscribed. A later call turns what is still queued to the new target.
func (b *base) SendWebhooks(t Target) error {
	if err := b.mail.aim(t); err != nil {
		return fmt.Errorf("send the webhooks of %s: %w", b.name, err)
	}
	return nil
}

// PendingWebhooks is how many deliveries wait or are on the way.
func (b *base) PendingWebhooks() int { return b.mail.pending() }

// Close stops the webhooks, what is queued is lost, and releases every call that waits. Afterwards calls are answered
// 503. The truth can still be asked.
func (b *base) Close() {
	b.once.Do(func() { close(b.done) })
	b.mail.close()
}

// SetClock makes the server's clock go ahead of the right one by so much, or behind it. Where it is set back, instants
// stand still until it has come to the last that was given out.
func (b *base) SetClock(ahead time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ahead = ahead
}

// now is what the server's clock shows. Call it with the mutex held.
func (b *base) now() time.Time { return time.Now().UTC().Add(b.ahead) }

// stamp returns the instant of something that happens now. Instants never go back, and come after every watermark
// that was given out: otherwise two things of one millisecond, one before and one after a watermark was read, could
// not be told apart. Call it with the mutex held.
func (b *base) stamp() time.Time {
	now := b.now()
	if after := b.drained.Add(precision); !b.drained.IsZero() && now.Before(after) {
		now = after
	}
	if now.Before(b.last) {
		now = b.last
	}
	b.last = now
	return now
}

// watermark returns the instant up to which everything is told that was stamped so far.
func (b *base) watermark() time.Time {
	now := b.now()
	if now.Before(b.last) {
		now = b.last
	}
	b.drained = now.Truncate(precision)
	return b.drained
}

// emit queues an event. Call it with the mutex held, when the truth has changed.
func (b *base) emit(typ string, at time.Time, data any) {
	if !b.mail.wants(typ) {
		return
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return // the wire types always marshal
	}
	body, err := json.Marshal(open.Envelope{Type: typ, Timestamp: &at, Data: jsontext.Value(raw)})
	if err != nil {
		return
	}
	id, other := b.mint(), b.mint()
	fault := b.in.draw(b.in.webhooks, faultsOfWebhooks)
	b.mail.post(id, other, body, fault, b.in.webhooks, b.in.faults.WebhookDelay)
}

// mint makes a webhook-id.
func (b *base) mint() string { return fmt.Sprintf("msg_%s_%016x", b.name, b.in.webhooks.Uint64()) }

// endpoint is one call of the protocol. Its serve does the work with the mutex held; fault is one that the work itself
// has to make, or "".
type endpoint struct {
	pattern string
	faults  []Fault
	serve   func(r *http.Request, body []byte, fault Fault) (any, *open.Problem)
}

func (b *base) handle(endpoints ...endpoint) {
	for _, e := range endpoints {
		b.mux.HandleFunc(e.pattern, func(w http.ResponseWriter, r *http.Request) { b.call(w, r, e) })
	}
}

// call is the way of every call: who asks, which fault, the work, the answer.
func (b *base) call(w http.ResponseWriter, r *http.Request, e endpoint) {
	if p := b.refused(r); p != nil {
		answerProblem(w, p)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		answerProblem(w, problem(http.StatusBadRequest, "bad_body", "the body cannot be read: %v", err))
		return
	}
	d := b.drawn(e)
	if d.refuse(w) {
		return
	}
	if d.fault == APIDelay && !b.wait(r.Context(), d.delay, d.healed) {
		return
	}
	answer, p := b.work(r, body, e, d.fault)
	if p != nil {
		answerProblem(w, p)
		return
	}
	switch d.fault {
	case TimeoutApplied:
		if b.wait(r.Context(), d.faults.Hang, d.healed) {
			answerProblem(w, problem(http.StatusGatewayTimeout, "timeout", "the answer did not come in time"))
		}
	case ServerErrorApplied:
		answerProblem(w, problem(http.StatusInternalServerError, "internal", "something went wrong"))
	default:
		answerJSON(w, http.StatusOK, "application/json", answer, d.fault)
	}
}

func (b *base) refused(r *http.Request) *open.Problem {
	select {
	case <-b.done:
		return problem(http.StatusServiceUnavailable, "closed", "%v", errClosed)
	default:
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(b.token)) != 1 {
		return problem(http.StatusUnauthorized, "bad_token", "the bearer token is missing or wrong")
	}
	return nil
}

// draw is what chance decided for one call.
type draw struct {
	fault  Fault
	faults Faults
	delay  time.Duration
	healed <-chan struct{}
}

func (b *base) drawn(e endpoint) draw {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := draw{fault: b.in.draw(b.in.calls, e.faults), faults: b.in.faults, healed: b.in.healed}
	if d.fault == APIDelay {
		d.delay = upTo(b.in.calls, d.faults.APIDelay)
	}
	return d
}

// refuse answers in place of the work, where the fault is of that sort.
func (d draw) refuse(w http.ResponseWriter) bool {
	switch d.fault {
	case WrongToken:
		answerProblem(w, problem(http.StatusUnauthorized, "bad_token", "the bearer token is missing or wrong"))
	case TooManyRequests:
		setRetryAfter(w, d.faults.RetryAfter)
		answerProblem(w, problem(http.StatusTooManyRequests, "too_fast", "too many requests"))
	case Unavailable:
		setRetryAfter(w, d.faults.RetryAfter)
		answerProblem(w, problem(http.StatusServiceUnavailable, "unavailable", "down for a moment"))
	case ServerError:
		answerProblem(w, problem(http.StatusInternalServerError, "internal", "something went wrong"))
	case HTMLBody:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>One moment</title><p>We will be back soon.</p>")
	default:
		return false
	}
	return true
}

func (b *base) work(r *http.Request, body []byte, e endpoint, fault Fault) (any, *open.Problem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault == AppliedTwice {
		if _, p := e.serve(r, body, fault); p != nil {
			return nil, p
		}
	}
	return e.serve(r, body, fault)
}

// wait waits until the time is over or the server is healed or closed; false means that the client gave up.
func (b *base) wait(ctx context.Context, d time.Duration, healed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-healed:
	case <-b.done:
	}
	return true
}

func setRetryAfter(w http.ResponseWriter, d time.Duration) {
	w.Header().Set("Retry-After", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
}

func problem(status int, code, format string, args ...any) *open.Problem {
	return &open.Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func answerProblem(w http.ResponseWriter, p *open.Problem) {
	answerJSON(w, p.Status, "application/problem+json", p, "")
}

func answerJSON(w http.ResponseWriter, status int, contentType string, answer any, fault Fault) {
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "the answer cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	switch fault {
	case EmptyBody:
		body = nil
	case TruncatedBody:
		body = body[:len(body)/2]
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone needs no answer
}

// decode reads a body strictly.
func decode[T any](body []byte) (T, *open.Problem) {
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		return v, problem(http.StatusBadRequest, "bad_body", "the body is not what this call takes: %v", err)
	}
	return v, nil
}

// pageOf reads the limit of a list, within the most that the server gives at once.
func pageOf(r *http.Request, most int) (int, *open.Problem) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return most, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, problem(http.StatusBadRequest, "bad_limit", "limit %q is not a whole number above 0", text)
	}
	return min(n, most), nil
}

func badCursor(text string) *open.Problem {
	return problem(http.StatusBadRequest, "bad_cursor", "cursor %q is not one of ours, or too old: begin again without one", text)
}
