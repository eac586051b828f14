package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) reconcileCommand() *cobra.Command {
	var dryRun bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Compare every listing with its target now, and heal what differs",
		Long: "reconcile reads all levels of the systems of record and every listing of the channels, names a cause for each\n" +
			"difference that is not on its way, and heals it as the configuration allows. A running server does this by schedule\n" +
			"and on POST /api/v1/reconcile: the command refuses to run beside one, except with --dry-run, which changes nothing\n" +
			"and compares with what the targets would be now. A reconciliation that was cut off goes on where it was.\n" +
			"Exit code 4 says that there was drift.",
		Args:        cobra.NoArgs,
		Annotations: withCSV,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), !dryRun)
			if err != nil {
				return err
			}
			run, err := a.reconcileNow(cmd.Context(), cmd.ErrOrStderr(), h, dryRun, wait)
			if err != nil {
				return errors.Join(err, h.close())
			}
			if err := errors.Join(a.printRun(cmd.Context(), cmd.OutOrStdout(), h, run), h.close()); err != nil {
				return err
			}
			if run.Drifted > 0 || run.State != stocksync.RunDone {
				return notMet()
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "report only: heal nothing")
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Minute, "how long the healing may take after the comparison")
	cmd.AddCommand(a.reconcileListCommand(), a.reconcileShowCommand())
	return cmd
}

func (a *app) reconcileListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List reconciliations, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usageError(fmt.Errorf("--limit is %d: write a number above zero", limit))
			}
			h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), false)
			if err != nil {
				return err
			}
			runs, err := h.engine.Reconciliations(cmd.Context(), 0, limit)
			if err != nil {
				return errors.Join(err, h.close())
			}
			return errors.Join(a.printRuns(cmd.OutOrStdout(), runs), h.close())
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most")
	return cmd
}

func (a *app) reconcileShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "show ID",
		Short:       "Show the report of a reconciliation, all lines",
		Args:        cobra.ExactArgs(1),
		Annotations: withCSV,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id < 1 {
				return usageError(fmt.Errorf("%q is not the number of a reconciliation; truestock reconcile list shows them", args[0]))
			}
			h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), false)
			if err != nil {
				return err
			}
			run, err := h.engine.Reconciliation(cmd.Context(), id)
			if errors.Is(err, stocksync.ErrNotFound) {
				err = fmt.Errorf("there is no reconciliation %d; truestock reconcile list shows them", id)
			}
			if err != nil {
				return errors.Join(err, h.close())
			}
			return errors.Join(a.printRun(cmd.Context(), cmd.OutOrStdout(), h, run), h.close())
		},
	}
}

func (a *app) reconcileNow(ctx context.Context, progress io.Writer, h *house, dryRun bool, wait time.Duration) (stocksync.RunView, error) {
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(progress), progressbar.OptionSetDescription("comparing listings"),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionSetVisibility(!a.json() && isTerminal(progress)))
	run, err := h.engine.ReconcileWatched(ctx, "command", dryRun, func(listed, compared int64) {
		bar.ChangeMax64(max(listed, compared, 1))
		_ = bar.Set64(compared)
	})
	err = errors.Join(err, bar.Close())
	if err != nil || dryRun {
		return run, err
	}
	_, err = a.settle(ctx, progress, h, wait)
	return run, err
}

// wholeReport is the report as JSON, with every line.
type wholeReport struct {
	stocksync.RunView
	Drifts []stocksync.DriftView `json:"drifts"`
}

func (a *app) printRun(ctx context.Context, out io.Writer, h *house, run stocksync.RunView) error {
	id, err := strconv.ParseInt(run.ID, 10, 64)
	if err != nil {
		return err
	}
	switch a.output {
	case outputCSV:
		return h.engine.WriteReport(ctx, id, stocksync.ReportCSV, out)
	case outputJSON:
		whole := wholeReport{RunView: run, Drifts: []stocksync.DriftView{}}
		var after stocksync.ListingKey
		for {
			page, err := h.engine.Drifts(ctx, id, after, 1000)
			if err != nil {
				return err
			}
			whole.Drifts = append(whole.Drifts, page...)
			if len(page) < 1000 {
				return printJSON(out, whole)
			}
			last := page[len(page)-1]
			after = listingKey(string(last.Connection), last.Item, last.Place)
		}
	default:
		return h.engine.WriteReport(ctx, id, stocksync.ReportText, out)
	}
}

func (a *app) printRuns(out io.Writer, runs []stocksync.RunView) error {
	if a.json() {
		return printJSON(out, runs)
	}
	rows := make([][]string, 0, len(runs))
	for _, r := range runs {
		kind := "heals"
		if r.DryRun {
			kind = "dry run"
		}
		rows = append(rows, []string{r.ID, r.StartedAt.UTC().Format(time.RFC3339), r.Job, kind, string(r.State), fmt.Sprint(r.Listings), fmt.Sprint(r.Drifted), r.Message})
	}
	return printTable(out, strings.Join([]string{"ID", "STARTED", "BY", "KIND", "STATE", "LISTINGS", "DRIFTED", "MESSAGE"}, " "), rows)
}
