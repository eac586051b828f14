package notice_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	svix "github.com/svix/svix-webhooks/go"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/notice"
)

var (
	oldSecret = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("o"), 32))
	newSecret = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("n"), 32))
	low       = connectors.Message{ID: "msg_1", Type: "stock.low", Title: "TEE is low", Text: "TEE is low\n3 are left of 5.", Data: json.RawMessage(`{"sku":"TEE","level":3}`),
		At: time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)}
)

// answers is a transport that takes every request and answers it.
type answers struct {
	status   int
	header   http.Header
	body     string
	fails    error
	requests []*http.Request
	bodies   []string
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	if a.fails != nil {
		return nil, a.fails
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	a.requests, a.bodies = append(a.requests, req), append(a.bodies, string(body))
	header := a.header
	if header == nil {
		header = http.Header{"Content-Type": {"application/json"}}
	}
	return &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Header: header, Body: io.NopCloser(strings.NewReader(a.body)), Request: req, ProtoMajor: 1, ProtoMinor: 1}, nil
}

func notifier(t *testing.T, transport http.RoundTripper, targets map[string]notice.Target, allow ...string) *notice.Notifier {
	t.Helper()
	n, err := notice.New(notice.Config{Targets: targets, Transport: transport, Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	before := http.DefaultTransport
	n.Install()
	t.Cleanup(func() { http.DefaultTransport = before })
	return n
}

func TestWebhookIsVerifiedByAnotherLibrary(t *testing.T) {
	a := &answers{status: http.StatusNoContent}
	n := notifier(t, a, map[string]notice.Target{"hook": {URL: "https://receiver.example/in/here?tenant=7", Secret: oldSecret + "," + newSecret}})
	if err := n.Send(t.Context(), "hook", low); err != nil {
		t.Fatal(err)
	}
	if got := a.requests[0].URL.String(); got != "https://receiver.example/in/here?tenant=7" {
		t.Errorf("sent to %s", got)
	}
	for _, secret := range []string{oldSecret, newSecret} {
		verifier, err := svix.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify([]byte(a.bodies[0]), a.requests[0].Header); err != nil {
			t.Errorf("svix refuses the signature: %v", err)
		}
		if verifier.Verify([]byte(a.bodies[0]+" "), a.requests[0].Header) == nil {
			t.Error("svix takes another body")
		}
	}
	if want := `{"type":"stock.low","timestamp":"2026-11-26T08:00:00Z","data":{"sku":"TEE","level":3}}`; a.bodies[0] != want {
		t.Errorf("body %s, want %s", a.bodies[0], want)
	}
	if got := a.requests[0].Header.Get("Webhook-Id"); got != "msg_1" {
		t.Errorf("id %q", got)
	}
}

// TestDingTalk looks at what goes out, and at refusals within answers that are 200.
func TestDingTalk(t *testing.T) {
	a := &answers{status: http.StatusOK, body: `{"errcode":0,"errmsg":"ok"}`}
	n := notifier(t, a, map[string]notice.Target{"ding": {URL: "dingtalk://token123456", Secret: "this is secret"}})
	if err := n.Send(t.Context(), "ding", low); err != nil {
		t.Fatal(err)
	}
	q := a.requests[0].URL.Query()
	if a.requests[0].URL.Host != "oapi.dingtalk.com" || a.requests[0].URL.Path != "/robot/send" || q.Get("access_token") != "token123456" || q.Get("sign") == "" || len(q.Get("timestamp")) != 13 {
		t.Errorf("sent to %s", a.requests[0].URL)
	}
	if want := `{"msgtype":"text","text":{"content":"TEE is low\n3 are left of 5."}}`; a.bodies[0] != want {
		t.Errorf("body %s, want %s", a.bodies[0], want)
	}
	a.body = `{"errcode":310000,"errmsg":"sign not match"}`
	if err := n.Send(t.Context(), "ding", low); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "sign not match") {
		t.Errorf("a refusal within an answer that is 200: %v", err)
	}
	a.body = `{"errcode":130101,"errmsg":"send too fast"}`
	if err := n.Send(t.Context(), "ding", low); connectors.KindOf(err) != connectors.Throttled {
		t.Errorf("too fast: %v", err)
	}
}

func TestChats(t *testing.T) {
	tests := []struct {
		url, answer, host string
	}{
		{"slack://hook:AAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook", "ok", "hooks.slack.com"},
		{"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1@telegram?chats=42", `{"ok":true,"result":{}}`, "api.telegram.org"},
		{"lark://open.feishu.cn/0123456789abcdef?secret=abcdef123456", `{"code":0}`, "open.feishu.cn"},
		{"wecom://693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa", `{"errcode":0}`, "qyapi.weixin.qq.com"},
		{"teams+https://prod.westeurope.logic.azure.com/workflows/0a1b2c3d/triggers/manual/paths/invoke?api-version=2016-06-01&sig=V2ESyijgAljSoUQHvZoZYzlpAo", "", "prod.westeurope.logic.azure.com"},
	}
	for _, tt := range tests {
		kind, _, _ := strings.Cut(tt.url, ":")
		t.Run(kind, func(t *testing.T) {
			a := &answers{status: http.StatusOK, body: tt.answer}
			n := notifier(t, a, map[string]notice.Target{"chat": {URL: tt.url}})
			if err := n.Send(t.Context(), "chat", low); err != nil {
				t.Fatal(err)
			}
			if len(a.requests) == 0 || a.requests[0].URL.Host != tt.host || !strings.Contains(a.bodies[0], "TEE is low") {
				t.Fatalf("sent %v: %q", a.requests, a.bodies)
			}
			// An answer that never came is no success, whatever the library makes of it.
			a.fails = errors.New("connection reset")
			if err := n.Send(t.Context(), "chat", low); connectors.KindOf(err) != connectors.Retryable && connectors.KindOf(err) != connectors.Uncertain {
				t.Errorf("no answer: %v", err)
			}
			a.fails = nil
			for status, want := range map[int]connectors.ErrorKind{403: connectors.Rejected, 500: connectors.Retryable, 302: connectors.Rejected, 429: connectors.Throttled} {
				a.status, a.header = status, http.Header{"Location": {"http://169.254.169.254/"}, "Retry-After": {"7"}}
				before := len(a.requests)
				err := n.Send(t.Context(), "chat", low)
				kind := connectors.KindOf(err)
				switch kind { // what the library does not tell apart
				case connectors.Uncertain:
					kind = connectors.Retryable
				case connectors.Auth:
					kind = connectors.Rejected
				}
				if kind != want {
					t.Errorf("status %d: %v", status, err)
				}
				if len(a.requests) != before+1 {
					t.Errorf("status %d: %d requests", status, len(a.requests)-before)
				}
				for _, secret := range []string{"AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1", "123456789123456789123456", "0123456789abcdef", "693axxx6", "V2ESyij"} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("the error tells a secret: %v", err)
					}
				}
			}
		})
	}
}

// TestMail sends through a mail server that is there only for it.
func TestMail(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	got := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		say := func(s string) { _, _ = io.WriteString(conn, s+"\r\n") }
		say("220 mail.example")
		var all strings.Builder
		for data := false; ; {
			line, err := r.ReadString('\n')
			if err != nil {
				break
			}
			all.WriteString(line)
			switch {
			case data && line == ".\r\n":
				data = false
				say("250 ok")
			case data:
			case strings.HasPrefix(line, "DATA"):
				data = true
				say("354 go on")
			case strings.HasPrefix(line, "QUIT"):
				say("221 bye")
				got <- all.String()
				return
			default:
				say("250 ok")
			}
		}
	}()
	address := "smtp://" + listener.Addr().String() + "/?from=stock@example.com&to=ops@example.com&starttls=no&encryption=None"
	closed := notifier(t, nil, map[string]notice.Target{"mail": {URL: address}})
	if err := closed.Send(t.Context(), "mail", low); err == nil || !strings.Contains(err.Error(), "public internet") {
		t.Errorf("a mail server inside that nobody has allowed: %v", err)
	}
	n := notifier(t, nil, map[string]notice.Target{"mail": {URL: address}}, "127.0.0.1")
	if err := n.Send(t.Context(), "mail", low); err != nil {
		t.Fatal(err)
	}
	mail := <-got
	if !strings.Contains(mail, "Subject: TEE is low") || !strings.Contains(mail, "RCPT TO:<ops@example.com>") || !strings.Contains(mail, "3 are left of 5.") {
		t.Errorf("the mail:\n%s", mail)
	}
}

func TestGuard(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	send := func(address string, allow ...string) error {
		n, err := notice.New(notice.Config{Targets: map[string]notice.Target{"hook": {URL: address, Secret: oldSecret}}, Allow: allow})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return n.Send(ctx, "hook", low)
	}
	if err := send("https://127.0.0.1:" + u.Port() + "/"); err == nil || !strings.Contains(err.Error(), "public internet") {
		t.Errorf("loopback: %v", err)
	}
	if err := send(server.URL); err == nil || !strings.Contains(err.Error(), "http") {
		t.Errorf("http without allowance: %v", err)
	}
	if err := send("http://localhost:"+u.Port(), "localhost"); err != nil {
		t.Errorf("a host that is allowed by name: %v", err)
	}
	if err := send("https://localhost:"+u.Port(), "10.0.0.0/8"); err == nil {
		t.Error("another network does not allow it")
	}
	for _, bad := range []string{"10.0.0.1/8", "http://x", "", "*.internal"} {
		if _, err := notice.NewGuard([]string{bad}); err == nil {
			t.Errorf("allow %q is taken", bad)
		}
	}
}

func TestRedirectOfAWebhookIsNotFollowed(t *testing.T) {
	inside := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/inside" {
			inside = true
		}
		http.Redirect(w, r, "/inside", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	n, err := notice.New(notice.Config{Targets: map[string]notice.Target{"hook": {URL: strings.Replace(server.URL, "127.0.0.1", "localhost", 1), Secret: oldSecret}}, Allow: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Send(t.Context(), "hook", low); connectors.KindOf(err) != connectors.Rejected || inside {
		t.Errorf("followed: %t, %v", inside, err)
	}
}

func TestBadTargets(t *testing.T) {
	for _, tt := range []struct{ title, url, secret, want string }{
		{"no secret", "https://x.example", "", "secret: is missing"},
		{"a short secret", "https://x.example", "whsec_c2hvcnQ=", "secret: secret 1 has 5 bytes"},
		{"credentials", "https://user:pass@x.example", oldSecret, "url: has no host"},
		{"plain http", "http://x.example", oldSecret, "url: is http"},
		{"no scheme", "hooks.slack.com/AAA", "", "url: is not an address"},
		{"an unknown service", "gopher://x", "", "url: begins with gopher"},
		{"a service that dials by itself", "mattermost://host/token", "", "url: begins with mattermost"},
		{"a broken address", "slack://x", "", "url: is not what shoutrrr understands"},
		{"a certificate that nobody verifies", "smtp://mail.example/?from=a@x.example&to=b@x.example&skiptlsverify=yes", "", "certificates are verified"},
		{"a secret for a chat", "wecom://693axxx6-7aoc", "s", "secret: is for webhooks"},
		{"a robot without token", "dingtalk://", "", "url: is not dingtalk"},
	} {
		t.Run(tt.title, func(t *testing.T) {
			_, err := notice.New(notice.Config{Targets: map[string]notice.Target{"ops": {URL: tt.url, Secret: tt.secret}}})
			if bad, ok := errors.AsType[*notice.TargetError](err); !ok || bad.Target != "ops" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	n := notifier(t, &answers{}, nil)
	if err := n.Send(t.Context(), "gone", low); connectors.KindOf(err) != connectors.Unmapped {
		t.Errorf("an unknown target: %v", err)
	}
}
