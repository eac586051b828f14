package main

import (
	"fmt"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) plansCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plans",
		Short: "List plans that a guard holds back; approve or reject them",
		Args:  cobra.NoArgs,
	}
	cmd.RunE = a.inHouse("", "", nil, a.listPlans).RunE
	cmd.AddCommand(
		a.inHouse("show ID", "Show a plan with every change", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			id, err := eventID(args[0])
			if err != nil {
				return err
			}
			p, err := h.engine.Plan(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.printPlan(cmd, p)
		}),
		a.inHouse("approve ID", "Let a held plan be written", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			return a.decide(cmd, h, args[0], true)
		}),
		a.inHouse("reject ID", "Leave the listings of a held plan as they are until their targets change", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			return a.decide(cmd, h, args[0], false)
		}),
	)
	return cmd
}

func (a *app) listPlans(cmd *cobra.Command, h *house, _ []string) error {
	plans, err := h.engine.Plans(cmd.Context(), "", 0, 100)
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": plans})
	}
	rows := make([][]string, 0, len(plans))
	for _, p := range plans {
		rows = append(rows, []string{p.ID, string(p.Connection), string(p.State), fmt.Sprint(len(p.Changes)), p.CreatedAt.Format(time.RFC3339), p.Reason})
	}
	return printTable(cmd.OutOrStdout(), "ID CONNECTION STATE CHANGES HELD_AT REASON", rows)
}

func (a *app) decide(cmd *cobra.Command, h *house, text string, approve bool) error {
	id, err := eventID(text)
	if err != nil {
		return err
	}
	p, err := h.engine.DecidePlan(cmd.Context(), id, approve, localUser())
	if err != nil {
		return err
	}
	return a.printPlan(cmd, p)
}

// localUser is who acts on the command line, for the audit trail.
func localUser() string {
	if u, err := user.Current(); err == nil {
		return "command line, " + u.Username
	}
	return "command line"
}

func (a *app) printPlan(cmd *cobra.Command, p stocksync.PlanView) error {
	if a.json() {
		return printJSON(cmd.OutOrStdout(), p)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Plan %s of %s is %s. %s\n", p.ID, p.Connection, p.State, p.Reason)
	return a.printChanges(cmd.OutOrStdout(), p.Changes)
}
