package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) alertsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "List low numbers, and say that they were seen",
		Long: "A number is low below the threshold of: truestock settings set alert sku:SKU threshold=5 (or alert_threshold of the article).\n" +
			"Each fall is told once, and again by its escalation until somebody acknowledges it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var all bool
	list := a.inHouse("list", "List the numbers that are low", cobra.NoArgs, func(cmd *cobra.Command, h *house, _ []string) error {
		rows, err := everyID(func(after int64, limit int) ([]stocksync.AlertView, error) {
			return h.engine.Alerts(cmd.Context(), !all, after, limit)
		},
			func(v stocksync.AlertView) string { return v.ID })
		if err != nil {
			return err
		}
		return a.printAlerts(cmd, rows)
	})
	list.Flags().BoolVar(&all, "all", false, "also those that have recovered")
	var reason string
	ack := a.inHouse("ack ID", "Say that a low number was seen: nothing more is told of it until it has recovered", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
		id, err := eventID(args[0])
		if err != nil {
			return err
		}
		v, err := h.engine.AckAlert(cmd.Context(), stocksync.Actor{Name: localUser(), Reason: reason}, id)
		if err != nil {
			return err
		}
		return a.printAlerts(cmd, []stocksync.AlertView{v})
	})
	ack.Flags().StringVar(&reason, "reason", "", "why; kept in the audit trail")
	cmd.AddCommand(list, ack)
	return cmd
}

// everyID gathers all pages of a list that is paged by id.
func everyID[T any](page func(after int64, limit int) ([]T, error), id func(T) string) ([]T, error) {
	const limit = 1000
	all := []T{}
	for after := int64(0); ; {
		rows, err := page(after, limit)
		if err != nil {
			return nil, err
		}
		if all = append(all, rows...); len(rows) < limit {
			return all, nil
		}
		if after, err = eventID(id(rows[len(rows)-1])); err != nil {
			return nil, err
		}
	}
}

func (a *app) printAlerts(cmd *cobra.Command, alerts []stocksync.AlertView) error {
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": alerts})
	}
	rows := make([][]string, 0, len(alerts))
	for _, v := range alerts {
		rows = append(rows, []string{v.ID, v.Subject, fmt.Sprint(v.Level), fmt.Sprint(v.Threshold), v.LowAt.Format(time.RFC3339), fmt.Sprint(v.Notices), v.AcknowledgedBy, instantText(v.RecoveredAt)})
	}
	return printTable(cmd.OutOrStdout(), "ID SUBJECT LEVEL THRESHOLD LOW_SINCE NOTICES ACKNOWLEDGED_BY RECOVERED_AT", rows)
}

func instantText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339)
}

func (a *app) replenishmentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replenishment",
		Short: "List what is to be ordered at once; compute safety stocks",
		Long: "An article is to be ordered when fewer are there and on order than its safety stock and its alert threshold together. Its safety\n" +
			"stock is decided by: truestock settings set replenishment SKU method=greatest 'lead_days=[3,2]'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var all bool
	list := a.inHouse("list", "List what is to be ordered at once", cobra.NoArgs, func(cmd *cobra.Command, h *house, _ []string) error {
		found, err := everyID(func(after int64, limit int) ([]stocksync.ReplenishmentView, error) {
			return h.engine.Replenishments(cmd.Context(), !all, after, limit)
		}, func(v stocksync.ReplenishmentView) string { return v.ID })
		if err != nil {
			return err
		}
		if a.json() {
			return printJSON(cmd.OutOrStdout(), map[string]any{"data": found})
		}
		rows := make([][]string, 0, len(found))
		for _, v := range found {
			rows = append(rows, []string{v.ID, string(v.SKU), v.State, fmt.Sprint(v.Missing), fmt.Sprint(v.Total), fmt.Sprint(v.OnOrder), fmt.Sprint(v.Point), fmt.Sprint(v.Safety), fmt.Sprint(v.Threshold),
				v.RaisedAt.Format(time.RFC3339), instantText(v.ClearedAt)})
		}
		return printTable(cmd.OutOrStdout(), "ID SKU STATE MISSING TOTAL ON_ORDER REORDER_POINT SAFETY_STOCK THRESHOLD RAISED_AT CLEARED_AT", rows)
	})
	list.Flags().BoolVar(&all, "all", false, "also those that are cleared")
	cmd.AddCommand(list,
		a.inHouse("compute [SKU...]", "Compute the safety stocks of articles now, of all where none are named; every night it happens by itself", cobra.ArbitraryArgs, func(cmd *cobra.Command, h *house, args []string) error {
			skus := make([]stock.SKU, len(args))
			for i, s := range args {
				skus[i] = stock.SKU(s)
			}
			n, err := h.engine.MeasureAll(cmd.Context(), skus)
			if err != nil {
				return err
			}
			if a.json() {
				return printJSON(cmd.OutOrStdout(), map[string]int{"changed": n})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d articles have other numbers than before.\n", n)
			return nil
		}),
		a.inHouse("show SKU", "Show what was last measured of an article, and how its safety stock follows", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			m, err := h.engine.MeasureOf(cmd.Context(), stock.SKU(args[0]))
			if err != nil {
				return err
			}
			if a.json() {
				return printJSON(cmd.OutOrStdout(), m)
			}
			safety := "none: " + m.Problem
			switch {
			case m.Safety != nil:
				safety = fmt.Sprintf("%d: %s", *m.Safety, m.Explanation)
			case m.Method == "":
				safety = "not computed: no method but fixed is decided"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "measured at  %s\nsold         %d on %d of the last 28 days without a stock-out\nsafety stock %s\n", m.At.Format(time.RFC3339), m.Velocity.Sold, m.Velocity.Days, safety)
			return nil
		}))
	return cmd
}
