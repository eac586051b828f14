package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

func TestHealth(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{}, engine)
	for _, path := range []string{"/livez", "/readyz"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if r := s.send(t, method, path, nil); r.status != http.StatusOK {
				t.Errorf("%s %s: %d", method, path, r.status)
			}
		}
	}
	engine.fail = errors.New("dial postgres://u:hunter2@db")
	r := s.send(t, http.MethodGet, "/readyz", nil)
	r.problem(t, http.StatusServiceUnavailable)
	if strings.Contains(r.body, "hunter2") {
		t.Errorf("internals: %s", r.body)
	}
	if r := s.send(t, http.MethodGet, "/livez", nil); r.status != http.StatusOK {
		t.Errorf("alive without a database: %d", r.status)
	}
}

func TestDrain(t *testing.T) {
	engine := newEngine(t)
	engine.block, engine.inside = make(chan struct{}), make(chan struct{}, 1)
	s := serve(t, web.Config{DrainDelay: 300 * time.Millisecond}, engine)
	answered := make(chan reply, 1)
	go func() { answered <- post(t, s, "shop", "1", event) }()
	<-engine.inside
	ended := make(chan error, 1)
	go func() { ended <- s.stop() }()

	until := time.Now().Add(5 * time.Second)
	for s.send(t, http.MethodGet, "/readyz", nil).status != http.StatusServiceUnavailable {
		if time.Now().After(until) {
			t.Fatal("/readyz does not turn 503")
		}
	}
	waitClosed(t, s.addr)
	select {
	case err := <-ended:
		t.Fatalf("the server ended with a request in flight: %v", err)
	default:
	}
	close(engine.block)
	if r := <-answered; r.status != http.StatusAccepted {
		t.Errorf("the request in flight: %d %s", r.status, r.body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// waitClosed waits until nobody listens at addr.
func waitClosed(t *testing.T, addr string) {
	t.Helper()
	for until := time.Now().Add(5 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(until) {
			t.Fatal("the listener stays open")
		}
	}
}

func TestDrainIsBounded(t *testing.T) {
	engine := newEngine(t)
	engine.block, engine.inside = make(chan struct{}), make(chan struct{}, 1)
	s := serve(t, web.Config{DrainTimeout: 100 * time.Millisecond}, engine)
	headers := signed(t, "shop", "1", event)
	failed := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/webhooks/shop", strings.NewReader(event))
		if err == nil {
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			var resp *http.Response
			if resp, err = s.client.Do(r); err == nil {
				resp.Body.Close()
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		failed <- err
	}()
	<-engine.inside
	start := time.Now()
	if err := s.stop(); err == nil || !strings.Contains(err.Error(), "cut") {
		t.Errorf("Serve returned %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if err := <-failed; err == nil || strings.Contains(err.Error(), "status 202") {
		t.Errorf("the request that was cut: %v", err)
	}
}

func TestSlowClientsAreCut(t *testing.T) {
	s := serve(t, web.Config{ReadHeaderTimeout: 100 * time.Millisecond, ReadTimeout: 200 * time.Millisecond}, newEngine(t))
	for name, sent := range map[string]string{
		"header": "POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"body":   "POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); err != nil || strings.Contains(string(answer), " 202 ") {
			t.Errorf("slow %s: %v %q", name, err, answer)
		}
	}
}

func TestLargeHeaderIsRefused(t *testing.T) {
	s := serve(t, web.Config{}, newEngine(t))
	r := s.send(t, http.MethodGet, "/livez", nil, "X-Large", strings.Repeat("x", 32<<10))
	if r.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d, want 431", r.status)
	}
}

func TestConnectionLimit(t *testing.T) {
	s := serve(t, web.Config{MaxConnections: 1}, newEngine(t))
	ask := func(conn net.Conn, patience time.Duration) error {
		if _, err := fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	first, second := dial(), dial()
	defer second.Close()
	if err := ask(first, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := ask(second, 100*time.Millisecond); err == nil {
		t.Error("a second connection is served at once")
	}
	first.Close()
	if err := ask(second, 5*time.Second); err != nil {
		t.Errorf("the second connection, after the first closed: %v", err)
	}
}

// TestClientAddress reads the address in the log of who changed something.
func TestClientAddress(t *testing.T) {
	for _, c := range []struct {
		name, trusted, forwarded, want string
	}{
		{"no proxy is trusted", "", "203.0.113.9", "127.0.0.1"},
		{"another proxy is trusted", "10.0.0.0/8", "203.0.113.9", "127.0.0.1"},
		{"the proxy is trusted", "127.0.0.0/8", "203.0.113.9", "203.0.113.9"},
		{"a client before the trusted proxy lies", "127.0.0.0/8", "198.51.100.1, 203.0.113.9", "203.0.113.9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := web.Config{}
			if c.trusted != "" {
				cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(c.trusted)}
			}
			s := serve(t, cfg, newEngine(t))
			s.send(t, http.MethodPost, "/api/v1/reconcile", nil, "Authorization", "Bearer ts_operate",
				"X-Forwarded-For", c.forwarded, "X-Real-Ip", c.forwarded, "Forwarded", "for="+c.forwarded)
			if log := s.log.String(); !strings.Contains(log, "client_ip="+c.want+"\n") || !strings.Contains(log, "the operate token") {
				t.Errorf("want client_ip=%s in the log:\n%s", c.want, log)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	engine := newEngine(t)
	engine.items = []stocksync.ItemRow{{SKU: "canary-sku"}}
	s := serve(t, web.Config{Version: "1.2.3"}, engine)
	post(t, s, "shop", "1", event)
	post(t, s, "shop", "1", event)
	post(t, s, "stranger-1", "1", event)
	post(t, s, "stranger-2", "1", event)
	s.call(t, read, http.MethodGet, "/items/canary-sku", "")
	s.call(t, read, http.MethodGet, "/canary-path", "")
	text := s.send(t, http.MethodGet, "/metrics", nil).body
	for _, line := range []string{
		`truestock_webhook_requests_total{answer="stored",connection="shop"} 1`,
		`truestock_webhook_requests_total{answer="duplicate",connection="shop"} 1`,
		`truestock_webhook_requests_total{answer="unknown_connection",connection=""} 2`,
		`truestock_webhook_ack_seconds_count 4`,
		`truestock_api_requests_total{method="GET",route="/items/{sku}",status="200"} 1`,
		`truestock_inbox_pending 3`,
		`truestock_oldest_unconfirmed_seconds 1.5`,
		`truestock_settled 1`,
		`truestock_status_readable 1`,
		`truestock_build_info{version="1.2.3"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if !strings.Contains(text, "go_goroutines") || strings.Contains(text, "stranger") || strings.Contains(text, "canary") {
		t.Errorf("the labels are wrong:\n%s", text)
	}

	apart := serve(t, web.Config{MetricsApart: true}, engine)
	apart.send(t, http.MethodGet, "/metrics", nil).problem(t, http.StatusNotFound)
	if strings.Contains(apart.send(t, http.MethodGet, "/", nil).body, "/metrics") {
		t.Error("the page links to metrics that are elsewhere")
	}
	engine.fail = errors.New("down")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- apart.server.ServeMetrics(ctx, l) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(b), "truestock_status_readable 0\n") || strings.Contains(string(b), "truestock_inbox_pending ") {
		t.Errorf("%v: numbers that are not known are shown:\n%s", err, b)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
