package web_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

// idleEngine stores nothing.
type idleEngine struct{ *memoryEngine }

func (idleEngine) Receive(context.Context, stock.ConnectionID, connectors.Request) (stocksync.Receipt, error) {
	return stocksync.Receipt{ID: 123456}, nil
}

// BenchmarkWebhook measures the route over loopback, beside a bare Echo with the same time-outs that reads the body and answers
// the same: the difference is what the route costs. The clients share the processor.
func BenchmarkWebhook(b *testing.B) {
	b.Run("route", func(b *testing.B) {
		flood(b, serve(b, web.Config{}, idleEngine{newEngine(b)}).addr)
	})
	b.Run("bare", func(b *testing.B) {
		e := echo.New()
		e.POST("/webhooks/:connection", func(c echo.Context) error {
			if _, err := io.ReadAll(c.Request().Body); err != nil {
				return err
			}
			return c.JSONBlob(http.StatusAccepted, []byte(`{"id":"123456","duplicate":false}`+"\n"))
		})
		server := httptest.NewUnstartedServer(e)
		server.Config.ReadHeaderTimeout, server.Config.ReadTimeout = 5*time.Second, 15*time.Second
		server.Config.WriteTimeout, server.Config.IdleTimeout = 30*time.Second, time.Minute
		server.Start()
		defer server.Close()
		flood(b, server.Listener.Addr().String())
	})
}

// flood sends the same request over 16 connections.
func flood(b *testing.B, addr string) {
	request := fmt.Appendf(nil, "POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(event), event)
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		answer := make([]byte, 4096)
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			// An answer fits into one segment.
			n, err := conn.Read(answer)
			if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 202 ")) || answer[n-2] != '}' {
				b.Errorf("%v: %s", err, answer[:n])
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

// BenchmarkWebhookHandler measures what the route itself costs.
func BenchmarkWebhookHandler(b *testing.B) {
	handler := web.New(web.Config{Connections: []stock.ConnectionID{"shop"}}, idleEngine{newEngine(b)}, nil).Handler()
	body := bytes.NewReader(nil)
	r, err := http.NewRequest(http.MethodPost, "/webhooks/shop", body)
	if err != nil {
		b.Fatal(err)
	}
	r.ContentLength = int64(len(event))
	w := &countingWriter{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset([]byte(event))
		r.Body = io.NopCloser(body)
		w.body = w.body[:0]
		handler.ServeHTTP(w, r)
	}
	if w.status != http.StatusAccepted {
		b.Fatalf("status %d", w.status)
	}
}
