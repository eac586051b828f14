package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) mappingsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mappings",
		Short: "Say which listing sells which SKUs",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.importCommand(),
		a.deleteCommand(),
		a.inHouse("export", "Write all links as CSV", cobra.NoArgs, func(cmd *cobra.Command, h *house, _ []string) error {
			return h.engine.ExportMappings(cmd.Context(), cmd.OutOrStdout())
		}),
		a.inHouse("rename OLD NEW", "Give an article its new SKU; its orders, statements and links go over", cobra.ExactArgs(2), a.renameSKU(false)),
		a.inHouse("merge SKU INTO", "Join an article to another; what is there and what is promised is added", cobra.ExactArgs(2), a.renameSKU(true)),
		a.inHouse("unmapped", "Show what was sold of listings without any link, and what waits for one", cobra.NoArgs, a.unmappedDemand),
		a.inHouse("suggest CONNECTION", "Propose links for listings without any, with what each would publish", cobra.ExactArgs(1), a.suggestMappings),
	)
	return cmd
}

// inHouse makes a command that works beside a running server.
func (a *app) inHouse(use, short string, args cobra.PositionalArgs, do func(*cobra.Command, *house, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), false)
		if err != nil {
			return err
		}
		return errors.Join(do(cmd, h, args), h.close())
	}}
}

func (a *app) importCommand() *cobra.Command {
	dryRun := false
	cmd := a.inHouse("import FILE", "Import links from a CSV file (- for standard input) with the columns connection,item,place,sku,units; one row per component", cobra.ExactArgs(1),
		func(cmd *cobra.Command, h *house, args []string) error { return a.importMappings(cmd, h, args, dryRun) })
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "import nothing: print which listings would change, and what each would publish")
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	force, place := false, ""
	cmd := a.inHouse("delete CONNECTION ITEM", "Take a listing out of the mapping; it keeps what it shows", cobra.ExactArgs(2),
		func(cmd *cobra.Command, h *house, args []string) error {
			return h.engine.Unlink(cmd.Context(), listingKey(args[0], args[1], place), force, localUser())
		})
	cmd.Flags().StringVar(&place, "place", "", "the place, for channels with quantities per place")
	cmd.Flags().BoolVar(&force, "force", false, "although orders of the listing are open; what is promised to them stays promised")
	return cmd
}

// preview prints what an import would do.
func (a *app) preview(cmd *cobra.Command, h *house, in io.Reader, file string) error {
	view, err := h.engine.PreviewMappings(cmd.Context(), in)
	if err != nil {
		return err
	}
	if err := a.printImported(cmd, file, view.Errors, view); err != nil || a.json() {
		return err
	}
	warn(cmd, view.Warnings)
	rows := make([][]string, 0, len(view.Links))
	for _, l := range view.Links {
		rows = append(rows, []string{string(l.Connection), l.Item, l.Place, quantity(l.Now), quantity(l.Then), l.Warning + l.Held})
	}
	return printTable(cmd.OutOrStdout(), "CONNECTION ITEM PLACE NOW THEN WARNING", rows)
}

func (a *app) importMappings(cmd *cobra.Command, h *house, args []string, dryRun bool) error {
	in, size := cmd.InOrStdin(), int64(-1)
	if args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return usageError(err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		in = f
	}
	if dryRun {
		return a.preview(cmd, h, in, args[0])
	}
	bar := progressbar.NewOptions64(size, progressbar.OptionSetWriter(cmd.ErrOrStderr()), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription("reading "+args[0]), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetVisibility(!a.json() && isTerminal(cmd.ErrOrStderr())))
	view, err := h.engine.ImportMappings(cmd.Context(), io.TeeReader(in, bar), localUser())
	_ = bar.Finish()
	if err != nil {
		return err
	}
	if err := a.printImported(cmd, args[0], view.Errors, view); err != nil {
		return err
	}
	if !a.json() {
		warn(cmd, view.Warnings)
		fmt.Fprintf(cmd.OutOrStdout(), "%d listings linked; %d parked events are applied again.\n", view.Listings, view.Replayed)
	}
	return nil
}

func warn(cmd *cobra.Command, warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "Warning: %s.\n", w)
	}
}

// printImported tells the outcome of an import as JSON, or its bad rows as a table; with bad rows it returns an error.
func (a *app) printImported(cmd *cobra.Command, file string, bad []stocksync.RowErrorView, view any) error {
	if a.json() {
		if err := printJSON(cmd.OutOrStdout(), view); err != nil {
			return err
		}
	}
	if len(bad) == 0 {
		return nil
	}
	if !a.json() {
		rows := make([][]string, 0, len(bad))
		for _, e := range bad {
			rows = append(rows, []string{strconv.Itoa(e.Line), e.Field, e.Value, e.Reason})
		}
		if err := printTable(cmd.ErrOrStderr(), "LINE FIELD VALUE REASON", rows); err != nil {
			return err
		}
	}
	return fmt.Errorf("nothing was imported: %d rows of %s are wrong", len(bad), file)
}

// renameSKU makes the commands that move everything known of one SKU to another.
func (a *app) renameSKU(merge bool) func(*cobra.Command, *house, []string) error {
	return func(cmd *cobra.Command, h *house, args []string) error {
		move, done := h.engine.RenameSKU, "renamed to"
		if merge {
			move, done = h.engine.MergeSKU, "merged into"
		}
		view, err := move(cmd.Context(), stock.SKU(args[0]), stock.SKU(args[1]), localUser())
		if err != nil {
			return err
		}
		if a.json() {
			return printJSON(cmd.OutOrStdout(), view)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is %s %s: %d orders with %d promised units went over, in %d ledger entries.\n",
			plain(args[0]), done, plain(args[1]), view.Orders, view.Committed, view.Postings)
		return nil
	}
}

func (a *app) unmappedDemand(cmd *cobra.Command, h *house, _ []string) error {
	demand, err := h.engine.Unmapped(cmd.Context())
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": demand})
	}
	rows := make([][]string, 0, len(demand))
	for _, d := range demand {
		sku, by := "-", "-"
		if d.Suggestion != nil {
			sku, by = string(d.Suggestion.SKU), d.Suggestion.By
		}
		rows = append(rows, []string{string(d.Connection), d.Item, d.Place, strconv.Itoa(d.Orders), fmt.Sprint(d.Packs),
			time.Since(d.OldestAt).Round(time.Second).String(), sku, by, d.Title})
	}
	return printTable(cmd.OutOrStdout(), "CONNECTION ITEM PLACE ORDERS PACKS WAITING LOOKS_LIKE BY TITLE", rows)
}

func (a *app) suggestMappings(cmd *cobra.Command, h *house, args []string) error {
	suggestions, err := h.engine.Suggestions(cmd.Context(), connectionID(args[0]))
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"suggestions": suggestions})
	}
	rows := make([][]string, 0, len(suggestions))
	for _, s := range suggestions {
		rows = append(rows, []string{string(s.Connection), s.Item, s.Place, string(s.SKU), s.By, fmt.Sprint(s.WouldPublish), s.Title})
	}
	return printTable(cmd.OutOrStdout(), "CONNECTION ITEM PLACE SKU BY WOULD_PUBLISH TITLE", rows)
}

// isTerminal reports whether progress would be seen by a person.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
