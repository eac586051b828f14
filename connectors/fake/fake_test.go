package fake

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/open"
)

// client speaks to a server in process, as a program outside would.
type client struct {
	t     *testing.T
	h     http.Handler
	token string
}

func speak(t *testing.T, h http.Handler) client { return client{t: t, h: h, token: "token"} }

// raw makes one call and returns the status, the header and the body.
func (c client) raw(ctx context.Context, method, path string, body any) (int, http.Header, []byte, error) {
	c.t.Helper()
	var content []byte
	switch b := body.(type) {
	case nil:
	case string:
		content = []byte(b)
	default:
		var err error
		if content, err = json.Marshal(b); err != nil {
			c.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://fake.invalid"+path, bytes.NewReader(content))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := Transport(c.h).RoundTrip(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer, nil
}

// want makes one call that must be answered with the status, and returns the body.
func (c client) want(status int, method, path string, body any) []byte {
	c.t.Helper()
	got, _, answer, err := c.raw(c.t.Context(), method, path, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if got != status {
		c.t.Fatalf("%s %s: answered %d, want %d: %s", method, path, got, status, answer)
	}
	return answer
}

// call makes one call that must be answered 200 with a T.
func call[T any](c client, method, path string, body any) T {
	c.t.Helper()
	var v T
	answer := c.want(http.StatusOK, method, path, body)
	if err := json.Unmarshal(answer, &v); err != nil {
		c.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
	return v
}

func (c client) write(lines ...open.Write) []open.WriteResult {
	c.t.Helper()
	return call[open.WriteAnswer](c, "POST", "/stock/write", open.WriteRequest{Writes: lines}).Results
}

func (c client) read(items ...string) []open.Reading {
	c.t.Helper()
	var req open.ReadRequest
	for _, item := range items {
		req.Refs = append(req.Refs, open.Ref{Item: item})
	}
	return call[open.ReadAnswer](c, "POST", "/stock/read", req).Readings
}

func (c client) readOne(item string) int64 {
	c.t.Helper()
	got := c.read(item)
	if len(got) != 1 {
		c.t.Fatalf("%d readings of %s, want 1", len(got), item)
	}
	return *got[0].Quantity
}

func code(t *testing.T, body []byte) string {
	t.Helper()
	var p open.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("no problem+json: %v in %s", err, body)
	}
	return p.Code
}

func TestTransportHonoursCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(ended)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://fake.invalid/", nil)
		if _, err := Transport(h).RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v, want the deadline's", err)
		}
		<-ended
		if _, err := Transport(h).RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a call with an ended context: error %v", err)
		}
	})
}

func TestTransportGivesTheWholeAnswer(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Host", r.Host)
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("X-Late", "ignored")
		_, _ = w.Write(body)
	})
	req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://fake.invalid/x?y=1", strings.NewReader("hello"))
	resp, err := Transport(h).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusTeapot || string(body) != "hello" || resp.Header.Get("X-Host") != "fake.invalid" ||
		resp.Header.Get("X-Late") != "" || resp.Request != req {
		t.Fatalf("answer %+v with body %q", resp, body)
	}
	req, _ = http.NewRequestWithContext(t.Context(), "GET", "http://fake.invalid/abort", nil)
	if _, err := Transport(h).RoundTrip(req); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("an aborted answer: error %v", err)
	}
}

func TestServeOnLoopback(t *testing.T) {
	shop := NewShop(ShopConfig{})
	defer shop.Close()
	server, err := Serve(shop)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/capabilities", nil)
	req.Header.Set("Authorization", "Bearer token")
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("answered %d", resp.StatusCode)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(req.Clone(t.Context())); err == nil {
		t.Fatal("a closed server still answers")
	}
}

func benchmarkCall(b *testing.B, h http.Handler, path string, body any) {
	content, err := json.Marshal(body)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), "POST", "http://fake.invalid"+path, bytes.NewReader(content))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer token")
		resp, err := Transport(h).RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			b.Fatalf("answered %d, %v", resp.StatusCode, err)
		}
		_ = resp.Body.Close()
	}
}
