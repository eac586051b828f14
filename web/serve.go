package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// Serve answers on l until ctx ends, and closes l. Then /readyz turns 503, DrainDelay passes, l closes, and requests in
// flight get DrainTimeout to end. The error is nil when all of them did.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, s.echo, s.cfg.DrainDelay)
}

// ServeMetrics shows the metrics on a listener of their own until ctx ends, and closes it.
func (s *Server) ServeMetrics(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, s.metrics.handler(), 0)
}

func (s *Server) serve(ctx context.Context, l net.Listener, handler http.Handler, delay time.Duration) error {
	if s.cfg.MaxConnections > 0 {
		l = netutil.LimitListener(l, s.cfg.MaxConnections)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
		ReadTimeout:       s.cfg.ReadTimeout,
		WriteTimeout:      s.cfg.WriteTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    16 << 10,
		// What net/http tells here is mostly what clients do wrong.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-time.After(delay):
	}
	return s.drain(context.WithoutCancel(ctx), server)
}

// drain closes the listener, waits for the requests in flight, and cuts those that take too long.
func (s *Server) drain(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(fmt.Errorf("requests still in flight after %s were cut", s.cfg.DrainTimeout), server.Close())
	}
	return err
}
