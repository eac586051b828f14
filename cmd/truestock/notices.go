package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) noticesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notices",
		Short: "See what people were told, and try again what did not arrive",
		Long: "Notices go to the addresses under notices.targets of the configuration. Who is told what is decided by:\n" +
			"truestock settings set notice_channel NAME types='[\"stock.low\"]'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var channel, state, reason string
	var limit int
	list := a.inHouse("list", "List notices, the newest first", cobra.NoArgs, func(cmd *cobra.Command, h *house, _ []string) error {
		rows, err := h.engine.Notices(cmd.Context(), stocksync.NoticeQuery{Channel: channel, State: stocksync.DeliveryState(state), Limit: limit})
		if err != nil {
			return err
		}
		return a.printNotices(cmd, rows)
	})
	list.Flags().StringVar(&channel, "channel", "", "only this channel of notices")
	list.Flags().StringVar(&state, "state", "", "only those in this state: due, sent, given_up or needless")
	list.Flags().IntVar(&limit, "limit", 100, "the most rows")
	retry := a.inHouse("retry CHANNEL", "Try again what was given up at a channel of notices", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
		n, err := h.engine.RetryNotices(cmd.Context(), stocksync.Actor{Name: localUser(), Reason: reason}, args[0])
		if err != nil {
			return err
		}
		if a.json() {
			return printJSON(cmd.OutOrStdout(), map[string]int{"retried": n})
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d notices are tried again.\n", n)
		return nil
	})
	retry.Flags().StringVar(&reason, "reason", "", "why; kept in the audit trail")
	cmd.AddCommand(list, retry,
		a.inHouse("test TARGET", "Send a test to an address of the configuration, and tell whether it arrived", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			if err := h.engine.TestNotice(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("the test did not arrive: %w", err)
			}
			if a.json() {
				return printJSON(cmd.OutOrStdout(), map[string]string{"target": args[0], "state": "sent"})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s has taken the test.\n", args[0])
			return nil
		}))
	return cmd
}

func (a *app) printNotices(cmd *cobra.Command, notices []stocksync.NoticeView) error {
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": notices})
	}
	rows := make([][]string, 0, len(notices))
	for _, n := range notices {
		rows = append(rows, []string{n.ID, n.Channel, string(n.State), n.Type, n.At.Format(time.RFC3339), fmt.Sprint(n.Attempts), n.Title, n.Error})
	}
	return printTable(cmd.OutOrStdout(), "ID CHANNEL STATE TYPE AT TRIES TITLE ERROR", rows)
}
