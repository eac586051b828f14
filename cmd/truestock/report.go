package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/plot"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) reportCommand() *cobra.Command {
	var from, to, zone, sku, channel, picture string
	cmd := a.inHouse("report NAME", "Tell what sells, what lies, what will run out and what to do about it", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
		q := stocksync.AnalysisQuery{Name: args[0], SKU: stock.SKU(sku), Channel: connectionID(channel), Limit: 1000}
		if err := readSpan(&q, from, to, zone); err != nil {
			return usageError(err)
		}
		if a.output == outputCSV && picture == "" {
			return reportError(h.engine.WriteAnalysis(cmd.Context(), q, cmd.OutOrStdout()))
		}
		view, err := wholeAnalysis(cmd, h, q)
		if err != nil {
			return reportError(err)
		}
		if picture != "" {
			svg, err := plot.SVG(plot.Of(plot.Report{Name: view.Report, Column: stocksync.AnalysisPlot(q.Name), Zone: view.Zone, From: view.From, To: view.To, Rows: view.Data}))
			if err != nil {
				return err
			}
			return os.WriteFile(picture, svg, 0o600)
		}
		if a.json() {
			return printJSON(cmd.OutOrStdout(), view)
		}
		rows := make([][]string, len(view.Data))
		for i, row := range view.Data {
			rows[i] = view.Cells(row, false)
			for j, cell := range rows[i] {
				if cell == "" {
					rows[i][j] = "-"
				}
			}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s from %s to %s, days of %s. %s\n", view.Report, view.From, view.To, view.Zone, strings.Join(view.Notes, ". "))
		return printTable(cmd.OutOrStdout(), strings.ToUpper(strings.Join(view.Names, " ")), rows)
	})
	cmd.Long = "The reports are: " + strings.Join(stocksync.AnalysisNames(), ", ") + ".\n" +
		"They are computed from the ledger when they are asked for; docs/analysis.md has the formulas. What needs a price or a cost takes\n" +
		"it from the settings of kind article. --plot writes a picture instead, as SVG."
	cmd.Annotations = withCSV
	cmd.ValidArgsFunction = cobra.FixedCompletions(stocksync.AnalysisNames(), cobra.ShellCompDirectiveNoFileComp)
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "the first day, such as 2026-03-01 (default: 90 days before --to)")
	flags.StringVar(&to, "to", "", "the last day, or today (default: yesterday)")
	flags.StringVar(&zone, "zone", "UTC", "whose days, such as Europe/Berlin")
	flags.StringVar(&sku, "sku", "", "only this SKU")
	flags.StringVar(&channel, "channel", "", "only what this channel sold")
	flags.StringVar(&picture, "plot", "", "write a plot to this file, as SVG")
	return cmd
}

func reportError(err error) error {
	if errors.Is(err, stocksync.ErrNotFound) {
		return usageError(fmt.Errorf("%w; the reports are: %s", err, strings.Join(stocksync.AnalysisNames(), ", ")))
	}
	return err
}

// readSpan reads the days of a report.
func readSpan(q *stocksync.AnalysisQuery, from, to, zone string) (err error) {
	if q.Zone, err = stock.ParseZone(zone); err != nil {
		return err
	}
	if to == "today" {
		q.To, to = q.Zone.DateOf(time.Now()), ""
	}
	if from != "" {
		if err := q.From.UnmarshalText([]byte(from)); err != nil {
			return err
		}
	}
	if to != "" {
		return q.To.UnmarshalText([]byte(to))
	}
	return nil
}

// wholeAnalysis joins the pages of a report.
func wholeAnalysis(cmd *cobra.Command, h *house, q stocksync.AnalysisQuery) (stocksync.AnalysisView, error) {
	var whole stocksync.AnalysisView
	for {
		view, next, err := h.engine.Analysis(cmd.Context(), q)
		if err != nil {
			return whole, err
		}
		view.Data = append(whole.Data, view.Data...)
		whole = view
		if q.After = next; next == "" {
			return whole, nil
		}
	}
}
