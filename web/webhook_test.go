package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

const event = `{"type":"stock.changed","data":{}}`

func post(t testing.TB, s *site, connection, id, body string) reply {
	t.Helper()
	return s.send(t, http.MethodPost, "/webhooks/"+connection, strings.NewReader(body), signed(t, connection, id, body)...)
}

func TestWebhookIsStoredOnce(t *testing.T) {
	s := serve(t, web.Config{}, newEngine(t))
	for i, want := range []string{`{"id":"1","duplicate":false}`, `{"id":"1","duplicate":true}`} {
		r := post(t, s, "shop", "m1", event)
		if r.status != http.StatusAccepted || strings.TrimSpace(r.body) != want || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("delivery %d: %d %s %q, want 202 %s", i, r.status, r.header.Get("Content-Type"), r.body, want)
		}
	}
	if r := post(t, s, "erp", "m1", event); strings.TrimSpace(r.body) != `{"id":"2","duplicate":false}` {
		t.Errorf("the same id at another connection: %s", r.body)
	}
}

func TestWebhookRefusals(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{BodyBytes: 1000}, engine)
	post(t, s, "shop", "m1", event)
	big := `{"type":"stock.changed","data":"` + strings.Repeat("x", 1000) + `"}`

	for _, c := range []struct {
		name, path string
		status     int
		body       io.Reader
		headers    []string
		says       string
	}{
		{"not JSON", "shop", 400, strings.NewReader("{"), signed(t, "shop", "a", "{"), "type"},
		{"no type", "shop", 400, strings.NewReader("{}"), signed(t, "shop", "b", "{}"), "type"},
		{"empty body", "shop", 400, nil, signed(t, "shop", "b2", ""), "type"},
		{"no signature", "shop", 401, strings.NewReader(event), nil, "secret"},
		{"body changed on the way", "shop", 401, strings.NewReader(event + " "), signed(t, "shop", "c", event), "secret"},
		{"signed by another connection's secret", "shop", 401, strings.NewReader(event), signed(t, "erp", "d", event), "secret"},
		{"unknown connection", "nobody", 404, strings.NewReader(event), signed(t, "shop", "e", event), "configuration"},
		{"path below a connection", "shop/more", 404, strings.NewReader(event), signed(t, "shop", "e", event), "configuration"},
		{"same id, other body", "shop", 409, strings.NewReader(event + "\n"), signed(t, "shop", "m1", event+"\n"), "new id"},
		{"too large", "shop", 413, strings.NewReader(big), signed(t, "shop", "f", big), "1000 bytes"},
		{"too large in chunks", "shop", 413, io.MultiReader(strings.NewReader(big)), signed(t, "shop", "g", big), "1000 bytes"},
		{"compressed", "shop", 415, strings.NewReader(event), append(signed(t, "shop", "h", event), "Content-Encoding", "gzip"), "Content-Encoding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.send(t, http.MethodPost, "/webhooks/"+c.path, c.body, c.headers...)
			if detail := r.problem(t, c.status); !strings.Contains(detail, c.says) {
				t.Errorf("detail %q does not say %q", detail, c.says)
			}
			if len(c.headers) > 0 && strings.Contains(r.body, signatureOf(c.headers)) {
				t.Errorf("the signature is in the answer: %s", r.body)
			}
		})
	}
	if n := len(engine.events); n != 1 {
		t.Errorf("%d events are stored, want 1", n)
	}

	t.Run("chunked and small", func(t *testing.T) {
		r := s.send(t, http.MethodPost, "/webhooks/shop", io.MultiReader(strings.NewReader(event)), signed(t, "shop", "z", event)...)
		if r.status != http.StatusAccepted {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("exactly the limit", func(t *testing.T) {
		body := `{"type":"t","data":"` + strings.Repeat("x", 978) + `"}`
		if len(body) != 1000 {
			t.Fatalf("the test's body has %d bytes", len(body))
		}
		for _, r := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body))} {
			if got := s.send(t, http.MethodPost, "/webhooks/shop", r, signed(t, "shop", "limit", body)...); got.status != http.StatusAccepted {
				t.Errorf("%d %s", got.status, got.body)
			}
		}
	})
	t.Run("other methods", func(t *testing.T) {
		r := s.send(t, http.MethodGet, "/webhooks/shop", nil)
		r.problem(t, http.StatusMethodNotAllowed)
		if !strings.Contains(r.header.Get("Allow"), http.MethodPost) {
			t.Errorf("Allow is %q", r.header.Get("Allow"))
		}
	})
}

// Some systems want their answers in their own words, or ask first whether somebody listens.
func TestWebhookAnswersOfConnectors(t *testing.T) {
	s := serve(t, web.Config{}, newEngine(t))
	for _, c := range []struct {
		name, method, query string
		headers             []string
		status              int
		body                string
	}{
		{"handshake by OPTIONS", http.MethodOptions, "ping", nil, 200, "pong"},
		{"handshake by GET", http.MethodGet, "ping", nil, 200, "pong"},
		{"taken", http.MethodPost, "worded", signed(t, "shop", "m1", event), 200, "000000"},
		{"refused", http.MethodPost, "worded", nil, 200, "000001"},
		{"another method", http.MethodGet, "", nil, 405, ""},
	} {
		r := s.send(t, c.method, "/webhooks/shop?"+c.query, strings.NewReader(event), c.headers...)
		if r.status != c.status || c.body != "" && r.body != c.body {
			t.Errorf("%s: %d %q", c.name, r.status, r.body)
		}
		if c.query == "ping" && r.header.Get("X-Echo") != c.method {
			t.Errorf("%s: the headers are %v", c.name, r.header)
		}
	}
}

func TestWebhookBodyCutShort(t *testing.T) {
	s := serve(t, web.Config{}, newEngine(t))
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, want 400", resp.StatusCode)
	}
}

func TestWebhookThatCannotBeStored(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{}, engine)
	for _, c := range []struct {
		err   error
		retry string
	}{
		{stocksync.ErrBusy, "1"},
		{fmt.Errorf("insert: %w", stocksync.ErrUnavailable), "5"},
		{context.DeadlineExceeded, "5"},
		{errors.New("dial tcp 10.0.0.1: password=hunter2"), "5"},
	} {
		engine.fail = c.err
		r := post(t, s, "shop", "m1", event)
		r.problem(t, http.StatusServiceUnavailable)
		if got := r.header.Get("Retry-After"); got != c.retry {
			t.Errorf("%v: Retry-After %q, want %q", c.err, got, c.retry)
		}
		if strings.Contains(r.body, "hunter2") {
			t.Errorf("internals in the answer: %s", r.body)
		}
	}
}

func TestRequestLimit(t *testing.T) {
	s := serve(t, web.Config{RequestsPerSecond: 0.5, Burst: 2}, newEngine(t))
	// Requests that are not signed take nothing from the connection's share.
	for range 10 {
		s.send(t, http.MethodPost, "/webhooks/shop", strings.NewReader(event)).problem(t, http.StatusUnauthorized)
	}
	for i := range 2 {
		if r := post(t, s, "shop", strconv.Itoa(i), event); r.status != http.StatusAccepted {
			t.Fatalf("request %d: %d %s", i, r.status, r.body)
		}
	}
	r := post(t, s, "shop", "more", event)
	r.problem(t, http.StatusTooManyRequests)
	if after, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || after < 1 || after > 2 {
		t.Errorf("Retry-After %q, want 1 or 2", r.header.Get("Retry-After"))
	}
	if r := post(t, s, "erp", "1", event); r.status != http.StatusAccepted {
		t.Errorf("another connection is limited too: %d", r.status)
	}
}

func TestEscapedConnectionName(t *testing.T) {
	s := serve(t, web.Config{}, newEngine(t))
	r := s.send(t, http.MethodPost, "/webhooks/sh%6fp", strings.NewReader(event), signed(t, "shop", "1", event)...)
	if r.status != http.StatusAccepted {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func FuzzWebhook(f *testing.F) {
	for _, seed := range []string{event, "", "{", `{"type":null}`, `{"type":"a","type":"b"}`, "\x00", `{"type":"x","data":{"quantity":1e400}}`} {
		f.Add("shop", "id", seed)
	}
	handler := web.New(web.Config{BodyBytes: 1 << 12}, newEngine(f), nil).Handler()
	f.Fuzz(func(t *testing.T, connection, id, body string) {
		h := http.Header{}
		h.Set("webhook-id", id)
		h.Set("webhook-signature", "v1,"+id)
		w := &countingWriter{header: http.Header{}}
		r, err := http.NewRequest(http.MethodPost, "/webhooks/x", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header, r.URL.Path = h, "/webhooks/"+connection
		handler.ServeHTTP(w, r)
		if w.status == http.StatusInternalServerError || w.status == http.StatusAccepted {
			t.Errorf("status %d for an unsigned request", w.status)
		}
		if w.status >= 400 {
			var p map[string]any
			if err := json.Unmarshal(w.body, &p); err != nil {
				t.Errorf("%v: %q", err, w.body)
			}
		}
	})
}

// countingWriter is a response writer without a connection.
type countingWriter struct {
	header http.Header
	status int
	body   []byte
}

func (w *countingWriter) Header() http.Header { return w.header }
func (w *countingWriter) WriteHeader(s int)   { w.status = s }
func (w *countingWriter) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}
