package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) applyCommand() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Do everything that is due, once, and end: for machines without a running server",
		Long: "apply asks every connection for news, applies what is stored, brings every listing to what it should show, sends\n" +
			"orders and shipments, and ends when nothing is left to do. A running server does this by itself: apply refuses to\n" +
			"run beside one. Exit code 4 says that something was still left at the end of --wait.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), true)
			if err != nil {
				return err
			}
			status, err := a.settle(cmd.Context(), cmd.ErrOrStderr(), h, wait)
			if err != nil {
				return errors.Join(err, h.close())
			}
			if err := errors.Join(a.printStatus(cmd.OutOrStdout(), status), h.close()); err != nil {
				return err
			}
			if !status.Settled {
				return notMet()
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", time.Minute, "how long to go on while something is left to do")
	return cmd
}

// settle runs the engine until nothing is left to do, or the time is up.
func (a *app) settle(ctx context.Context, progress io.Writer, h *house, wait time.Duration) (stocksync.StatusView, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- h.engine.Run(running, nil) }()
	status, err := a.watch(ctx, progress, h.engine)
	stop()
	return status, errors.Join(err, <-ended)
}

// watch shows how much is left until nothing is. Connections are asked once before that can be believed.
func (a *app) watch(ctx context.Context, progress io.Writer, engine *stocksync.Engine) (stocksync.StatusView, error) {
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(progress), progressbar.OptionSetDescription("bringing listings to their targets"),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetVisibility(!a.json() && isTerminal(progress)))
	defer func() { _ = bar.Close() }()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for quiet := 0; ; {
		status, err := engine.Status(context.WithoutCancel(ctx))
		if err != nil {
			return status, err
		}
		left := status.InboxPending + status.Dirty + status.Unconfirmed + status.OrdersWaiting + status.ShipmentsWaiting
		bar.Describe(fmt.Sprintf("bringing listings to their targets, %d steps left", left))
		_ = bar.Add(1)
		quiet++
		if !status.Settled || !engine.Asked() {
			quiet = 0
		}
		if quiet >= 5 {
			return status, nil
		}
		select {
		case <-ctx.Done():
			return status, nil
		case <-ticker.C:
		}
	}
}

func (a *app) printStatus(out io.Writer, s stocksync.StatusView) error {
	if a.json() {
		return printJSON(out, s)
	}
	if s.Settled {
		_, err := fmt.Fprintf(out, "Settled: nothing is left to do except what waits for a person (%d parked events).\n", s.InboxParked)
		return err
	}
	_, err := fmt.Fprintf(out, "Not settled: %d events to apply, %d articles to plan, %d listings to confirm, %d orders and %d shipments to send.\n",
		s.InboxPending, s.Dirty, s.Unconfirmed, s.OrdersWaiting, s.ShipmentsWaiting)
	return err
}
