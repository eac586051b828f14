package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) campaignsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "campaigns",
		Short: "Show campaigns: their pools, their steps and how they sell",
		Long:  "A campaign is decided by: truestock settings set campaign NAME sku=SKU quantity=N channel=CHANNEL start=TIME end=TIME",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.inHouse("list", "List campaigns by name, with those that are over", cobra.NoArgs, a.listCampaigns),
		a.inHouse("show NAME", "Show a campaign with every step", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			c, err := h.engine.Campaign(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printCampaign(cmd, c)
		}),
	)
	return cmd
}

func (a *app) listCampaigns(cmd *cobra.Command, h *house, _ []string) error {
	const size = 1000
	all := []stocksync.CampaignView{}
	for after := ""; ; {
		page, err := h.engine.Campaigns(cmd.Context(), after, size)
		if err != nil {
			return err
		}
		if all = append(all, page...); len(page) < size {
			break
		}
		after = page[len(page)-1].Name
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": all})
	}
	rows := make([][]string, 0, len(all))
	for _, c := range all {
		rows = append(rows, []string{c.Name, string(c.SKU), c.State, fmt.Sprint(c.Quantity), fmt.Sprint(c.Opened), fmt.Sprint(c.Sold), fmt.Sprint(c.Returns), permille(c.SoldPermille), permille(c.ElapsedPermille),
			c.Start.Format(time.RFC3339), c.End.Format(time.RFC3339)})
	}
	return printTable(cmd.OutOrStdout(), "NAME SKU STATE UNITS OPENED SOLD RETURNS SOLD_% TIME_% START END", rows)
}

// permille writes thousandths as percent.
func permille(n int64) string { return fmt.Sprintf("%d.%d", n/10, n%10) }

func (a *app) printCampaign(cmd *cobra.Command, c stocksync.CampaignView) error {
	if a.json() {
		return printJSON(cmd.OutOrStdout(), c)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s sets %d of %s aside, %s to %s, and is %s.\n", c.Name, c.Quantity, c.SKU, c.Start.Format(time.RFC3339), c.End.Format(time.RFC3339), c.State)
	fmt.Fprintf(out, "%d are open, %d sold, %d set aside now, %d promised. ", c.Opened, c.Sold, c.Reserved, c.Committed)
	if c.State == stocksync.CampaignOver {
		fmt.Fprintf(out, "%d went back at the end.\n", c.Returns)
	} else {
		fmt.Fprintf(out, "As things are, %d go back at the end.\n", c.Returns)
	}
	fmt.Fprintf(out, "Pace: %s %% sold in %s %% of the time", permille(c.SoldPermille), permille(c.ElapsedPermille))
	if c.SellsOutAt != nil {
		fmt.Fprintf(out, "; at this pace it is sold out at %s", c.SellsOutAt.Format(time.RFC3339))
	}
	fmt.Fprint(out, ".\n\n")
	rows := make([][]string, 0, len(c.Steps))
	for _, s := range c.Steps {
		planned, done, step := "", "", s.Step
		switch {
		case s.PlannedAt != nil:
			planned = s.PlannedAt.Format(time.RFC3339)
		case s.AfterSoldPermille > 0:
			planned = permille(s.AfterSoldPermille) + " % sold"
		}
		if s.DoneAt != nil {
			done = s.DoneAt.Format(time.RFC3339)
		}
		if s.N > 0 {
			step = fmt.Sprintf("%s %d", step, s.N)
		}
		rows = append(rows, []string{step, planned, fmt.Sprint(s.Quantity), s.State, done})
	}
	return printTable(out, "STEP PLANNED UNITS STATE DONE_AT", rows)
}
