package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) incidentsCommand() *cobra.Command {
	var all bool
	var reason string
	cmd := &cobra.Command{
		Use:   "incidents",
		Short: "List what a person must look at; make oversold orders good",
		Long: "While an oversell is open, everything that depends on the SKU shows 0. It ends by itself when there is enough again, or when every\n" +
			"order that it falls on is made good. A remedy is told to the channel where that takes remedies; otherwise it is by hand, and finish says what became of it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	list := a.inHouse("list", "List the open incidents", cobra.NoArgs, func(cmd *cobra.Command, h *house, _ []string) error {
		return a.listIncidents(cmd, h, !all)
	})
	list.Flags().BoolVar(&all, "all", false, "those that are over too")
	finish := a.inHouse("finish ID CONNECTION ORDER LINE done|failed", "Say what became of a remedy that was carried out by hand", cobra.ExactArgs(5), func(cmd *cobra.Command, h *house, args []string) error {
		id, err := eventID(args[0])
		if err != nil {
			return err
		}
		if args[4] != "done" && args[4] != "failed" {
			return usageError(fmt.Errorf("%q is neither done nor failed", args[4]))
		}
		v, err := h.engine.FinishRemedy(cmd.Context(), stocksync.Actor{Name: localUser(), Reason: reason}, id,
			stocksync.OrderKey{Channel: stock.ConnectionID(args[1]), OrderID: args[2]}, args[3], args[4] == "done")
		if err != nil {
			return err
		}
		return a.printIncident(cmd, v)
	})
	finish.Flags().StringVar(&reason, "reason", "", "why; kept in the audit trail")
	cmd.AddCommand(list, finish, a.chooseCommand(),
		a.inHouse("show ID", "Show an incident: what led to it, whom it falls on, and how that is made good", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			id, err := eventID(args[0])
			if err != nil {
				return err
			}
			v, err := h.engine.Incident(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.printIncident(cmd, v)
		}))
	return cmd
}

func (a *app) listIncidents(cmd *cobra.Command, h *house, open bool) error {
	var found []stocksync.IncidentView
	for after := int64(0); ; {
		page, err := h.engine.Incidents(cmd.Context(), open, after, 1000)
		if err != nil {
			return err
		}
		if found = append(found, page...); len(page) < 1000 {
			break
		}
		if after, err = eventID(page[len(page)-1].ID); err != nil {
			return err
		}
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": found})
	}
	rows := make([][]string, 0, len(found))
	for _, i := range found {
		rows = append(rows, []string{i.ID, i.Kind, i.Subject, i.OpenedAt.Format(time.RFC3339), timeText(i.ClosedAt), i.Message})
	}
	return printTable(cmd.OutOrStdout(), "ID KIND SUBJECT OPENED_AT CLOSED_AT MESSAGE", rows)
}

func (a *app) chooseCommand() *cobra.Command {
	var substitute, readyAt, message, reason string
	var compensation int64
	cmd := a.inHouse("choose ID CONNECTION ORDER LINE restock|substitute|refund", "Choose how an affected order line is made good", cobra.ExactArgs(5), func(cmd *cobra.Command, h *house, args []string) error {
		id, err := eventID(args[0])
		if err != nil {
			return err
		}
		choice := stocksync.RemedyChoice{OrderKey: stocksync.OrderKey{Channel: stock.ConnectionID(args[1]), OrderID: args[2]}, LineID: args[3], Kind: stock.RemedyKind(args[4]),
			Substitute: stock.SKU(substitute), Message: message}
		if cmd.Flags().Changed("compensation") {
			choice.Compensation = &compensation
		}
		if readyAt != "" {
			if choice.ReadyAt, err = time.Parse(time.RFC3339, readyAt); err != nil {
				return usageError(fmt.Errorf("--ready-at is %q: write an instant such as 2026-12-01T00:00:00Z", readyAt))
			}
		}
		v, err := h.engine.ChooseRemedy(cmd.Context(), stocksync.Actor{Name: localUser(), Reason: reason}, id, choice)
		if err != nil {
			return err
		}
		return a.printIncident(cmd, v)
	})
	cmd.Flags().StringVar(&substitute, "substitute", "", "the SKU that is sent instead (default: the one that is proposed)")
	cmd.Flags().StringVar(&readyAt, "ready-at", "", "when the delivery will have come (default: as proposed)")
	cmd.Flags().Int64Var(&compensation, "compensation", 0, "paid on top, in the smallest unit of the currency (default: as the settings propose)")
	cmd.Flags().StringVar(&message, "message", "", "what the buyer is told (default: a sentence is written)")
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept in the audit trail")
	return cmd
}

func (a *app) printIncident(cmd *cobra.Command, v stocksync.IncidentDetail) error {
	out := cmd.OutOrStdout()
	if a.json() {
		return printJSON(out, v)
	}
	fmt.Fprintf(out, "%s %s %s, opened %s", v.ID, v.Kind, v.Subject, v.OpenedAt.Format(time.RFC3339))
	if v.ClosedAt != nil {
		fmt.Fprintf(out, ", closed %s", timeText(v.ClosedAt))
	}
	fmt.Fprintf(out, "\n%s\n", v.Message)
	if len(v.Affected) > 0 {
		rows := make([][]string, 0, len(v.Affected))
		for _, l := range v.Affected {
			proposed, remedy := make([]string, 0, len(l.Proposals)), "-"
			for _, p := range l.Proposals {
				proposed = append(proposed, strings.TrimSpace(string(p.Kind)+" "+string(p.Substitute)+" "+timeText(p.ReadyAt)))
			}
			if r := l.Remedy; r != nil {
				remedy = string(r.Kind) + " " + string(r.State)
				if r.ByHand {
					remedy += ", by hand: " + r.Reason
				}
			}
			rows = append(rows, []string{string(l.Connection), l.OrderID, l.LineID, timeText(l.AcceptedAt), fmt.Sprint(l.Units), fmt.Sprint(l.Short), l.Buyer, strings.Join(proposed, ", "), remedy})
		}
		fmt.Fprintln(out)
		if err := printTable(out, "CONNECTION ORDER LINE ACCEPTED_AT UNITS SHORT BUYER PROPOSED REMEDY", rows); err != nil {
			return err
		}
	}
	if len(v.Timeline) > 0 {
		rows := make([][]string, 0, len(v.Timeline))
		for _, c := range v.Timeline {
			available := ""
			if c.Available != nil {
				available = fmt.Sprint(*c.Available)
			}
			rows = append(rows, []string{c.At.Format(time.RFC3339), available, c.Text})
		}
		fmt.Fprintln(out)
		return printTable(out, "AT AVAILABLE WHAT", rows)
	}
	return nil
}

// timeText is an instant for a table, empty where there is none.
func timeText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (a *app) stopSaleCommand() *cobra.Command {
	var reason, note string
	var listings bool
	cmd := a.inHouse("stop-sale KEY", "Stop the sale of sku:SKU, listing:CHANNEL:ITEM, channel:NAME or all: its listings show 0", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
		change, err := a.newVersion(cmd, h, []string{string(stocksync.StopSaleSetting), args[0], fmt.Sprintf("stop_listings=%t", listings), "note=" + note})
		if err != nil {
			return err
		}
		return a.changeSetting(cmd, h, change, reason)
	})
	cmd.Flags().BoolVar(&listings, "stop-listings", false, "have the listings stopped too, where their channel can do that")
	cmd.Flags().StringVar(&note, "note", "", "for people; kept with the stop")
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept in the audit trail")
	return cmd
}

func (a *app) resumeSaleCommand() *cobra.Command {
	var reason string
	cmd := a.inHouse("resume-sale KEY", "Resume a sale that stop-sale stopped", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
		return a.changeSetting(cmd, h, stocksync.SettingChange{Kind: stocksync.StopSaleSetting, Key: args[0]}, reason)
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept in the audit trail")
	return cmd
}
