package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) explainCommand() *cobra.Command {
	var place, at string
	cmd := &cobra.Command{
		Use:     "explain CONNECTION ITEM",
		Short:   "Print the chain of one number, from the warehouse's statement to the read-back",
		Example: "  truestock explain shop 1001\n  truestock explain shop 1001 --at 2026-11-20T08:00:00Z",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var instant time.Time
			if at != "" {
				var err error
				if instant, err = time.Parse(time.RFC3339Nano, at); err != nil {
					return usageError(fmt.Errorf("--at is %q: write an instant such as 2026-11-20T08:00:00Z", at))
				}
			}
			h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), false)
			if err != nil {
				return err
			}
			return errors.Join(a.explain(cmd.Context(), cmd, h, args, place, instant), h.close())
		},
	}
	cmd.Flags().StringVar(&place, "place", "", "the place, for channels with quantities per place")
	cmd.Flags().StringVar(&at, "at", "", "explain the number of that instant instead of now")
	return cmd
}

func (a *app) explain(ctx context.Context, cmd *cobra.Command, h *house, args []string, place string, at time.Time) error {
	x, err := h.engine.Explain(ctx, listingKey(args[0], args[1], place), at)
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), x)
	}
	for _, s := range x.Sentences {
		fmt.Fprintln(cmd.OutOrStdout(), plain(s))
	}
	return nil
}
