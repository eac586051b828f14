package main

import (
	"errors"
	"fmt"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Look for contradictions in the ledger: its hash chains, levels, statements and promises",
		Long: "Reads everything that is stored and changes nothing; it may run beside the server. It ends with code 4 when anything\n" +
			"contradicts anything, and prints the first differences.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), false)
			if err != nil {
				return err
			}
			bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(cmd.ErrOrStderr()), progressbar.OptionShowCount(),
				progressbar.OptionSetDescription("verifying"), progressbar.OptionClearOnFinish(),
				progressbar.OptionSetVisibility(!a.json() && isTerminal(cmd.ErrOrStderr())))
			view, err := h.engine.Verify(cmd.Context(), func(done, total int64) {
				bar.ChangeMax64(total)
				_ = bar.Set64(done)
			})
			_ = bar.Finish()
			if err := errors.Join(err, h.close()); err != nil {
				return err
			}
			if err := a.printVerification(cmd, view); err != nil {
				return err
			}
			if !view.Sound {
				return notMet()
			}
			return nil
		},
	}
}

func (a *app) printVerification(cmd *cobra.Command, v stocksync.VerifyView) error {
	out := cmd.OutOrStdout()
	if a.json() {
		return printJSON(out, v)
	}
	fmt.Fprintf(out, "%d postings, %d levels, %d commitments and %d orders read: ", v.Postings, v.Levels, v.Commitments, v.Orders)
	if v.Sound {
		fmt.Fprintln(out, "nothing contradicts anything.")
		return nil
	}
	fmt.Fprintf(out, "%d differences.\n", v.Found)
	rows := make([][]string, 0, len(v.Differences))
	for _, d := range v.Differences {
		rows = append(rows, []string{d.Kind, d.Posting, string(d.SKU), string(d.Location), d.Order, d.Message})
	}
	return printTable(out, "KIND POSTING SKU LOCATION ORDER WHAT", rows)
}
