package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) keysCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Keep the keys of licences: import, list, reveal, revoke",
		Long: "Keys are encrypted with keys.secret of the configuration. Each goes to one unit of one order line, for ever; nothing but reveal shows one,\n" +
			"and each only once. The audit trail says who took it. An article is a licence by: truestock settings set article SKU kind=licence",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	actor := func() stocksync.Actor { return stocksync.Actor{Name: localUser(), Reason: reason} }
	cmd.AddCommand(
		a.inHouse("import SKU FILE", "Import keys from a CSV file (- for standard input) with the column key; a key that is there twice refuses the file", cobra.ExactArgs(2),
			func(cmd *cobra.Command, h *house, args []string) error { return a.importKeys(cmd, h, args, actor()) }),
		a.inHouse("list SKU", "List keys with what they are assigned to, never the keys themselves", cobra.ExactArgs(1), a.listKeys),
		a.inHouse("reveal ID", "Print an assigned key, once", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			id, err := eventID(args[0])
			if err != nil {
				return err
			}
			key, err := h.engine.RevealKey(cmd.Context(), actor(), id)
			if err != nil {
				return err
			}
			if a.json() {
				return printJSON(cmd.OutOrStdout(), map[string]string{"id": args[0], "key": key})
			}
			fmt.Fprintln(cmd.OutOrStdout(), key)
			return nil
		}),
		a.inHouse("revoke ID", "Take a key out of use for ever; an order line that had it gets another one, or waits", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			id, err := eventID(args[0])
			if err != nil {
				return err
			}
			return h.engine.RevokeKey(cmd.Context(), actor(), id)
		}),
	)
	for _, sub := range cmd.Commands() {
		if sub.Name() != "list" {
			sub.Flags().StringVar(&reason, "reason", "", "why; kept in the audit trail")
		}
	}
	return cmd
}

func (a *app) importKeys(cmd *cobra.Command, h *house, args []string, by stocksync.Actor) error {
	in := cmd.InOrStdin()
	if args[1] != "-" {
		f, err := os.Open(args[1])
		if err != nil {
			return usageError(err)
		}
		defer f.Close()
		in = io.Reader(f)
	}
	view, err := h.engine.ImportKeys(cmd.Context(), by, stock.SKU(args[0]), in)
	if err != nil {
		return err
	}
	if err := a.printImported(cmd, args[1], view.Errors, view); err != nil {
		return err
	}
	if !a.json() {
		fmt.Fprintf(cmd.OutOrStdout(), "%d keys of %s imported.\n", view.Keys, view.SKU)
	}
	return nil
}

func (a *app) listKeys(cmd *cobra.Command, h *house, args []string) error {
	var all []stocksync.KeyView
	for after := int64(0); ; {
		page, err := h.engine.ListKeys(cmd.Context(), stock.SKU(args[0]), after, 1000)
		if err != nil {
			return err
		}
		if all = append(all, page...); len(page) < 1000 {
			break
		}
		if after, err = eventID(page[len(page)-1].ID); err != nil {
			return err
		}
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": all})
	}
	rows := make([][]string, 0, len(all))
	for _, k := range all {
		rows = append(rows, []string{k.ID, k.State, string(k.Connection), k.OrderID, k.LineID, fmt.Sprint(k.Unit), k.ImportedAt.Format(time.RFC3339)})
	}
	return printTable(cmd.OutOrStdout(), "ID STATE CONNECTION ORDER LINE UNIT IMPORTED_AT", rows)
}
