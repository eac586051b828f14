package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) accountCommand() *cobra.Command {
	var account string
	cmd := a.inHouse("account CONNECTION", "Accept the account that a marketplace connection leads to now", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
		if err := h.engine.AcceptAccount(cmd.Context(), connectionID(args[0]), account, localUser()); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is meant to lead to %s from now on. A server that runs learns of it by itself.\n", args[0], account)
		return nil
	})
	cmd.Flags().StringVar(&account, "accept", "", "the account, as the incident wrong_shop names it")
	return cmd
}
