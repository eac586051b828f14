package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/config"
	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run: take webhooks, keep every listing true, reconcile by schedule",
		Long: "serve runs until it gets SIGINT or SIGTERM. It then takes no new work, finishes what is in flight within bounds and\n" +
			"ends; a second signal ends it at once. Either is safe: what was accepted is stored.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), true)
			if err != nil {
				return err
			}
			return errors.Join(h.serve(cmd.Context()), h.close())
		},
	}
}

// serve runs the engine and the server until ctx ends.
func (h *house) serve(ctx context.Context) error {
	schedules, err := h.schedules()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", h.config.Listen)
	if err != nil {
		return usageError(h.config.Problem("listen", fmt.Sprintf("cannot listen on %s: %v", h.config.Listen, err)))
	}
	var metrics net.Listener
	if h.config.MetricsListen != "" {
		if metrics, err = net.Listen("tcp", h.config.MetricsListen); err != nil {
			return errors.Join(usageError(h.config.Problem("metrics_listen", fmt.Sprintf("cannot listen on %s: %v", h.config.MetricsListen, err))), listener.Close())
		}
	}
	h.log.Info("serving", "config", h.config, "version", version(), "address", listener.Addr().String())
	if len(h.config.Connections) == 0 {
		h.log.Warn("no connections are configured: nothing will be synchronised; see the README for a configuration file, or try: truestock demo")
	}
	return h.run(ctx, listener, metrics, schedules)
}

// run serves on the listeners until ctx ends: first the server drains, then the engine stops, so that what a late
// request stored is at least durable.
func (h *house) run(ctx context.Context, listener, metrics net.Listener, schedules []stocksync.Schedule) error {
	server := web.New(webConfig(h.config), h.engine, h.log)
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()

	var group sync.WaitGroup
	var engineErr, metricsErr error
	serveCtx, stopServing := context.WithCancel(ctx)
	defer stopServing()
	group.Go(func() {
		engineErr = h.engine.Run(engineCtx, schedules)
		stopServing() // an engine that cannot run must not leave a server that looks alive
	})
	if metrics != nil {
		group.Go(func() { metricsErr = server.ServeMetrics(serveCtx, metrics) })
	}
	serveErr := server.Serve(serveCtx, listener)
	stopServing()
	stopEngine()
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		// Every step is safe to cut off; waiting longer serves nobody.
		return errors.Join(serveErr, errors.New("the engine did not stop within 20s and was cut off; it takes up its work at the next start"))
	}
	return errors.Join(serveErr, engineErr, metricsErr)
}

func (h *house) schedules() ([]stocksync.Schedule, error) {
	if h.config.Reconcile.Schedule == "" {
		return nil, nil
	}
	s, err := stocksync.NewSchedule("reconcile", h.config.Reconcile.Schedule, h.config.Reconcile.Zone)
	if err != nil {
		return nil, usageError(h.config.Problem("reconcile.schedule", err.Error()))
	}
	return []stocksync.Schedule{s}, nil
}

// maxConnections keeps a flood of connections from taking every file that the process may open; further ones wait until
// one of them ends or is cut.
const maxConnections = 8192

func webConfig(c config.Config) web.Config {
	return web.Config{
		MaxConnections:    maxConnections,
		Connections:       c.Names(),
		RequestsPerSecond: float64(c.Limits.RequestsPerSecond),
		BodyBytes:         c.Limits.BodyBytes,
		TrustedProxies:    c.TrustedProxies,
		MetricsApart:      c.MetricsListen != "",
		Version:           version(),
	}
}
