package notice

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/truestock/truestock/connectors"
)

// shouted are the services of shoutrrr that can be kept to the guard: those that reach out by http.DefaultTransport, and
// e-mail. Feishu is lark://open.feishu.cn/TOKEN.
var shouted = []string{"discord", "googlechat", "lark", "slack", "smtp", "telegram", "wecom"}

// shout sends by shoutrrr 0.13.2. The library takes no context, its services reach out by http.DefaultTransport without a
// time-out, follow redirects, and tell failures in words that hold their addresses; Telegram takes an answer that never
// came for success (pkg/services/chat/telegram/telegram_client.go). So what http.DefaultTransport is must be the one of
// Install, which bounds and guards each call and knows what came of it.
type shout struct {
	service types.Service
	kind    string
	host    string // of the mail server
	guard   Guard
	guarded bool
	titled  string // the parameter that takes the title, empty where none does
}

func newShout(out way, u *url.URL) (*shout, error) {
	if !slices.Contains(shouted, u.Scheme) {
		return nil, &TargetError{Field: "url", Reason: fmt.Sprintf("begins with %s://, which is not known: write https, teams+https, dingtalk, %s", u.Scheme, strings.Join(shouted, ", "))}
	}
	// What an address may say of itself is left to those who write the configuration, but for what weakens it.
	for _, weak := range []string{"skiptlsverify", "disabletls"} {
		for name := range u.Query() {
			if strings.EqualFold(name, weak) {
				return nil, &TargetError{Field: "url", Reason: "has " + weak + ": certificates are verified"}
			}
		}
	}
	service, err := (&router.ServiceRouter{}).Locate(u.String())
	if err != nil {
		// The library's error may hold the address.
		return nil, &TargetError{Field: "url", Reason: "is not what shoutrrr understands as the address of " + u.Scheme + "; see https://shoutrrr.nickfedor.com"}
	}
	s := &shout{service: service, kind: u.Scheme, guard: out.guard, guarded: out.guarded}
	if u.Scheme == "smtp" {
		s.host, s.titled = u.Hostname(), "subject"
	}
	return s, nil
}

// shouting lets one message at a time out by the library, so that what the transport saw is what became of it.
var shouting sync.Mutex

func (s *shout) send(ctx context.Context, m connectors.Message) error {
	if s.host != "" && s.guarded {
		// The library dials by itself, so the address is checked before. The name is one of the configuration file.
		if err := s.guard.checkHost(ctx, s.host); err != nil {
			return &connectors.Error{Kind: connectors.Retryable, Op: "send by smtp", Err: err}
		}
	}
	kept, ok := http.DefaultTransport.(*Kept)
	if !ok && s.host == "" {
		return &connectors.Error{Kind: connectors.Rejected, Op: "send by " + s.kind, Err: errors.New("the way out of the library is not guarded")}
	}
	params, text := types.Params{}, plain(m)
	if s.titled != "" {
		params[s.titled], text = m.Title, m.Text
	}
	done := make(chan error, 1)
	go func() {
		shouting.Lock()
		defer shouting.Unlock()
		if ctx.Err() != nil {
			done <- ctx.Err() // nobody waits any more
			return
		}
		if s.host != "" {
			done <- s.service.Send(text, &params)
			return
		}
		kept.begin()
		err := s.service.Send(text, &params)
		done <- cmp.Or(kept.outcome("send by "+s.kind), err)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return &connectors.Error{Kind: connectors.Uncertain, Op: "send by " + s.kind, Err: errors.New("no answer in time")}
	}
}

// plain is a message for a chat.
func plain(m connectors.Message) string {
	if m.Title == "" || strings.HasPrefix(m.Text, m.Title) {
		return m.Text
	}
	return m.Title + "\n" + m.Text
}

// Install makes the way out of the library, http.DefaultTransport, one that goes through the guard. Whoever starts the
// process calls it before anything is sent; nothing else in this house uses that transport.
func (n *Notifier) Install() { http.DefaultTransport = &Kept{next: n.out.next} }

// Kept is a transport for code that bounds nothing itself. It gives each request a time-out, follows no redirect, takes https
// alone, and remembers the last failure since begin.
type Kept struct {
	next http.RoundTripper

	mu     sync.Mutex
	failed *connectors.Error
}

func (k *Kept) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed = nil
}

func (k *Kept) outcome(op string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed == nil {
		return nil
	}
	k.failed.Op = op
	return k.failed
}

func (k *Kept) fail(kind connectors.ErrorKind, code string, retryAt time.Time, err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed = &connectors.Error{Kind: kind, Code: code, RetryAt: retryAt, Err: err}
	return err
}

var errRedirected = errors.New("the answer leads elsewhere, which is not followed")

// RoundTrip implements http.RoundTripper.
func (k *Kept) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, k.fail(connectors.Rejected, "", time.Time{}, errors.New("the address is not https"))
	}
	ctx, cancel := context.WithTimeout(req.Context(), sendTimeout)
	defer cancel()
	resp, err := k.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, k.fail(connectors.Retryable, "", time.Time{}, err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	if err != nil {
		return nil, k.fail(connectors.Uncertain, "", time.Time{}, err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		return nil, k.fail(connectors.Rejected, strconv.Itoa(code), time.Time{}, errRedirected)
	case code == http.StatusTooManyRequests:
		var at time.Time
		if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
			at = time.Now().Add(time.Duration(seconds) * time.Second)
		}
		_ = k.fail(connectors.Throttled, "429", at, errors.New(resp.Status))
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		_ = k.fail(connectors.Retryable, strconv.Itoa(code), time.Time{}, errors.New(resp.Status))
	case code >= 400:
		_ = k.fail(connectors.Rejected, strconv.Itoa(code), time.Time{}, fmt.Errorf("%s: %s", resp.Status, body[:min(len(body), 200)]))
	}
	return resp, nil
}
