package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/config"
	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) planCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plan [CONNECTION]",
		Short: "Print what would change at the marketplaces, and write nothing",
		Long: "plan reads what every channel shows, compares it with what it should show, and prints the differences. It writes\n" +
			"neither to a channel nor to the database. Exit code 4 says that there are differences.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), false)
			if err != nil {
				return err
			}
			var only string
			if len(args) > 0 {
				only = args[0]
				if h.config.Connections[connectionID(only)].Role != config.Marketplace {
					return errors.Join(usageError(fmt.Errorf("no marketplace is called %q in the configuration", only)), h.close())
				}
			}
			changes, err := h.engine.PlanNow(cmd.Context(), connectionID(only))
			if err != nil {
				return errors.Join(err, h.close())
			}
			if err := errors.Join(a.printChanges(cmd.OutOrStdout(), changes), h.close()); err != nil {
				return err
			}
			if len(changes) > 0 {
				return notMet()
			}
			return nil
		},
	}
}

func (a *app) printChanges(out io.Writer, changes []stocksync.ChangeView) error {
	if a.json() {
		return printJSON(out, map[string]any{"changes": changes})
	}
	if len(changes) == 0 {
		_, err := fmt.Fprintln(out, "Every listing shows what it should: nothing would change.")
		return err
	}
	rows := make([][]string, 0, len(changes))
	for _, c := range changes {
		rows = append(rows, []string{string(c.Connection), c.Item, c.Place, quantity(c.Have), quantity(c.Target), c.Held})
	}
	return printTable(out, "CONNECTION ITEM PLACE SHOWS SHOULD HELD", rows)
}
