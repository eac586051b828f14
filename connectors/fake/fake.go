// Package fake is a pretend shop and a pretend warehouse: real HTTP servers that speak the open protocol and nothing
// else, hold the ground truth, and make faults on demand. The demo, the tests, the benchmark and the simulator drive
// them. It is not for production and keeps everything in memory.
//
// A server is deterministic: the same seed and the same calls in the same order give the same answers, identifiers
// and faults. It reads the clock by time.Now alone, so a test under testing/synctest decides what time it is; there a
// client reaches it through Transport, because a socket would stop the pretended clock.
package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Server is an HTTP server on the loopback interface.
type Server struct {
	// URL is the base URL, without a slash at the end.
	URL string

	http *http.Server
	done chan struct{}
}

// Serve serves h on a free port of the loopback interface until Close.
func Serve(h http.Handler) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen on the loopback interface: %w", err)
	}
	s := &Server{
		URL:  "http://" + l.Addr().String(),
		http: &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		// Serve always ends with an error: the one of Close, or of a listener that broke, which callers see as a
		// refused connection.
		_ = s.http.Serve(l)
	}()
	return s, nil
}

// Close ends the listener and every connection. It returns when the server no longer serves.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}

// Transport calls h in process instead of the network. The request's context ends the call with its error, whether or
// not h has answered; the context that h sees ends with the call.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ handler http.Handler }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		closeBody(req)
		return nil, err
	}
	ctx, cancel := context.WithCancel(req.Context())
	inbound := asReceived(ctx, req)
	answer := &recorder{header: http.Header{}}
	finished := make(chan error, 1)
	go func() {
		defer cancel()
		defer closeBody(req)
		defer func() { finished <- aborted(recover()) }()
		t.handler.ServeHTTP(answer, inbound)
	}()
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case err := <-finished:
		if err != nil {
			return nil, err
		}
		return answer.response(req), nil
	}
}

// aborted turns the panic by which a handler breaks off an answer into what a client sees; any other panic goes on.
func aborted(v any) error {
	switch err, _ := v.(error); {
	case v == nil:
		return nil
	case errors.Is(err, http.ErrAbortHandler):
		return io.ErrUnexpectedEOF
	default:
		panic(v)
	}
}

// asReceived makes the request of a client into the one that a server sees.
func asReceived(ctx context.Context, req *http.Request) *http.Request {
	r := req.Clone(ctx)
	r.RequestURI = req.URL.RequestURI()
	r.RemoteAddr = "127.0.0.1:0"
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	return r
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// recorder is a ResponseWriter that keeps the answer.
type recorder struct {
	header http.Header
	sent   http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code, r.sent = code, r.header.Clone()
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// Flush is there for handlers that stream; the answer is whole when the handler returns.
func (r *recorder) Flush() { r.WriteHeader(http.StatusOK) }

func (r *recorder) response(req *http.Request) *http.Response {
	r.WriteHeader(http.StatusOK)
	return &http.Response{
		Status:        strconv.Itoa(r.code) + " " + http.StatusText(r.code),
		StatusCode:    r.code,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        r.sent,
		Body:          io.NopCloser(bytes.NewReader(r.body.Bytes())),
		ContentLength: int64(r.body.Len()),
		Request:       req,
	}
}
