package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke the tokens of the API",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.createTokenCommand(),
		a.inHouse("list", "List the tokens, without their secrets", cobra.NoArgs, a.listTokens),
		a.inHouse("revoke ID", "End a token at once", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			id, err := eventID(args[0])
			if err != nil {
				return err
			}
			if err := h.engine.RevokeToken(cmd.Context(), id, localUser()); err != nil {
				if errors.Is(err, stocksync.ErrNotFound) {
					return fmt.Errorf("no token has the id %d; see: truestock token list", id)
				}
				return err
			}
			if a.json() {
				return printJSON(cmd.OutOrStdout(), map[string]string{"revoked": args[0]})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Token %d works no longer.\n", id)
			return err
		}),
	)
	return cmd
}

func (a *app) createTokenCommand() *cobra.Command {
	var name, scope string
	var ttl time.Duration
	cmd := a.inHouse("create", "Create a token and print its secret, once", cobra.NoArgs, nil)
	cmd.RunE = a.inHouse(cmd.Use, cmd.Short, cmd.Args, func(cmd *cobra.Command, h *house, _ []string) error {
		secret, view, err := h.engine.CreateToken(cmd.Context(), name, stocksync.Scope(scope), ttl, localUser())
		if errors.Is(err, stocksync.ErrInvalid) {
			return usageError(err)
		}
		if err != nil {
			return err
		}
		if a.json() {
			return printJSON(cmd.OutOrStdout(), struct {
				stocksync.TokenView
				Token string `json:"token"`
			}{view, secret})
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "Token %s (%s) may %s. Keep it: it is not shown again.\n", view.ID, view.Name, view.Scope)
		_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
		return err
	}).RunE
	cmd.Flags().StringVar(&name, "name", "command line", "what the token is for")
	cmd.Flags().StringVar(&scope, "scope", "read", "what it may do: read, operate or admin; each includes those before it")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long it works, for example 720h; 0: until it is revoked")
	_ = cmd.RegisterFlagCompletionFunc("scope", cobra.FixedCompletions([]string{"read", "operate", "admin"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) listTokens(cmd *cobra.Command, h *house, _ []string) error {
	tokens, err := h.engine.Tokens(cmd.Context())
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": tokens})
	}
	instant := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Format(time.RFC3339)
	}
	rows := make([][]string, 0, len(tokens))
	for _, t := range tokens {
		rows = append(rows, []string{t.ID, t.Name, string(t.Scope), t.CreatedAt.Format(time.RFC3339), instant(t.ExpiresAt), instant(t.RevokedAt), instant(t.UsedAt)})
	}
	return printTable(cmd.OutOrStdout(), "ID NAME SCOPE CREATED EXPIRES REVOKED USED", rows)
}
