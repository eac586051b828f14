package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) stocktakeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stocktake",
		Short: "Count stock: lists, counts, differences and who approves them",
		Long: "Plans make count lists by the calendar: truestock settings set stocktake NAME ...; new makes one at once. Fill in the exported file, and\n" +
			"enter it with count. What a count found above the limit waits for the approval of somebody who has not counted it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.listStocktakesCommand(), a.newStocktakeCommand(),
		a.inHouse("show ID", "Tell the lines of a stocktake: what was counted, what the books had, and what was decided", cobra.ExactArgs(1), a.showStocktake),
		a.exportStocktakeCommand(), a.countCommand(),
		a.decisionCommand("approve", "Approve differences: what is less counts at once, what is more when the system of record says so", true, func(h *house) decideStocktake { return h.engine.ApproveStocktake }),
		a.decisionCommand("reject", "Reject differences: nothing is posted", false, func(h *house) decideStocktake { return h.engine.RejectStocktake }),
		a.decisionCommand("booked", "Tell that differences were entered at the system of record by hand", false, func(h *house) decideStocktake { return h.engine.BookStocktake }),
	)
	return cmd
}

func statesText(states map[stocksync.StocktakeState]int) string {
	parts := make([]string, 0, len(states))
	for _, s := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%d %s", states[s], s))
	}
	return strings.Join(parts, ", ")
}

func (a *app) listStocktakesCommand() *cobra.Command {
	var open bool
	cmd := a.inHouse("list", "List stocktakes, the newest first", cobra.NoArgs, func(cmd *cobra.Command, h *house, _ []string) error {
		var all []stocksync.StocktakeView
		for before := int64(0); ; {
			page, err := h.engine.Stocktakes(cmd.Context(), open, before, 1000)
			if err != nil {
				return err
			}
			if all = append(all, page...); len(page) < 1000 {
				break
			}
			if before, err = eventID(page[len(page)-1].ID); err != nil {
				return err
			}
		}
		if a.json() {
			return printJSON(cmd.OutOrStdout(), map[string]any{"data": all})
		}
		rows := make([][]string, 0, len(all))
		for _, v := range all {
			rows = append(rows, []string{v.ID, v.State, v.MadeAt.Format(time.RFC3339), v.MadeBy, statesText(v.States)})
		}
		return printTable(cmd.OutOrStdout(), "ID STATE MADE_AT BY LINES", rows)
	})
	cmd.Flags().BoolVar(&open, "open", false, "only those of which a line is not decided")
	return cmd
}

func (a *app) newStocktakeCommand() *cobra.Command {
	var o stocksync.StocktakeOrder
	var locations []string
	var value int64
	cmd := a.inHouse("new [SKU...]", "Make a count list of SKUs, or of everything at --location", cobra.ArbitraryArgs, func(cmd *cobra.Command, h *house, args []string) error {
		for _, s := range args {
			o.SKUs = append(o.SKUs, stock.SKU(s))
		}
		for _, l := range locations {
			o.Locations = append(o.Locations, stock.LocationID(l))
		}
		if cmd.Flags().Changed("approve-value") {
			o.Rule.ApproveValue = &value
		}
		view, bad, err := h.engine.NewStocktake(cmd.Context(), stocksync.Actor{Name: localUser()}, o)
		if err != nil {
			return err
		}
		if len(bad) > 0 {
			rows := make([][]string, 0, len(bad))
			for _, e := range bad {
				rows = append(rows, []string{e.Value, e.Reason})
			}
			if err := printTable(cmd.ErrOrStderr(), "SKU REASON", rows); err != nil {
				return err
			}
			return fmt.Errorf("no list was made: %d of %d SKUs cannot be counted", len(bad), len(args))
		}
		if a.json() {
			return printJSON(cmd.OutOrStdout(), view)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Stocktake %s has %d lines. Its file: truestock stocktake export %s\n", view.ID, len(view.Lines), view.ID)
		return nil
	})
	flags := cmd.Flags()
	flags.StringSliceVar(&locations, "location", nil, "where is counted (default: everywhere)")
	flags.BoolVar(&o.Rule.Blind, "blind", false, "those who count do not see what the books have")
	flags.Int64Var((*int64)(&o.Rule.RecountUnits), "recount-units", 0, "the largest difference that one count is believed with")
	flags.Int64Var(&o.Rule.RecountPermille, "recount-permille", 0, "the same as a part of what is expected; the larger of the two counts")
	flags.BoolVar(&o.Rule.RecountByAnother, "recount-by-another", false, "somebody else counts again")
	flags.Int64Var((*int64)(&o.Rule.ApproveUnits), "approve-units", 0, "the largest difference that counts without a second person")
	flags.Int64Var(&value, "approve-value", 0, "the same in the smallest unit of a currency; an unknown cost is above it")
	return cmd
}

func (a *app) showStocktake(cmd *cobra.Command, h *house, args []string) error {
	id, err := eventID(args[0])
	if err != nil {
		return err
	}
	v, err := h.engine.Stocktake(cmd.Context(), id)
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), v)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Stocktake %s is %s, made at %s by %s: %s.\n", v.ID, v.State, v.MadeAt.Format(time.RFC3339), v.MadeBy, statesText(v.States))
	rows := make([][]string, 0, len(v.Lines))
	for _, l := range v.Lines {
		asOf := ""
		if l.AsOf != nil {
			asOf = l.AsOf.Format(time.RFC3339)
		}
		rows = append(rows, []string{strconv.Itoa(l.Line), string(l.SKU), string(l.Location), string(l.State), quantity(l.Expected), quantity(l.Counted), quantity(l.Difference), asOf,
			l.Counter, l.Reason, l.DecidedBy, string(l.Sent), l.Hint})
	}
	return printTable(cmd.OutOrStdout(), "LINE SKU LOCATION STATE EXPECTED COUNTED DIFFERENCE AS_OF COUNTER REASON DECIDED_BY SENT HINT", rows)
}

func (a *app) exportStocktakeCommand() *cobra.Command {
	cmd := a.inHouse("export ID", "Write the lines that are still to be counted as CSV, to be filled in", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
		id, err := eventID(args[0])
		if err != nil {
			return err
		}
		return h.engine.ExportStocktake(cmd.Context(), id, cmd.OutOrStdout())
	})
	cmd.Annotations = withCSV
	return cmd
}

func (a *app) countCommand() *cobra.Command {
	var asOf, reason, note string
	cmd := a.inHouse("count ID FILE | count ID SKU LOCATION QUANTITY", "Enter counts: a file as exported (- for standard input), or one line", cobra.RangeArgs(2, 4), func(cmd *cobra.Command, h *house, args []string) error {
		id, err := eventID(args[0])
		if err != nil {
			return err
		}
		by, name := stocksync.Actor{Name: localUser()}, args[1]
		var view stocksync.CountsView
		switch len(args) {
		case 2:
			in := cmd.InOrStdin()
			if name != "-" {
				f, err := os.Open(name)
				if err != nil {
					return usageError(err)
				}
				defer f.Close()
				in = io.Reader(f)
			}
			view, err = h.engine.ImportCounts(cmd.Context(), by, id, in)
		case 4:
			c := stocksync.CountInput{Row: 1, LevelKey: stocksync.LevelKey{SKU: stock.SKU(args[1]), Location: stock.LocationID(args[2])}, AsOf: time.Now().UTC(), Reason: reason, Note: note}
			n, err := strconv.ParseInt(args[3], 10, 64)
			if err != nil {
				return usageError(fmt.Errorf("%q is not a whole number of units", args[3]))
			}
			c.Counted = stock.Quantity(n)
			if asOf != "" {
				if c.AsOf, err = time.Parse(time.RFC3339, asOf); err != nil {
					return usageError(fmt.Errorf("--as-of is %q: write an instant such as 2026-12-01T14:05:00+01:00", asOf))
				}
			}
			if view, err = h.engine.EnterCounts(cmd.Context(), by, id, []stocksync.CountInput{c}); err != nil {
				return err
			}
			name = "the counts"
		default:
			return usageError(fmt.Errorf("give a file, or a SKU, a location and a quantity"))
		}
		if err != nil {
			return err
		}
		return a.printCounts(cmd, name, view, "counted")
	})
	cmd.Flags().StringVar(&asOf, "as-of", "", "when the line was counted (default: now)")
	cmd.Flags().StringVar(&reason, "reason", "", "why it differs: "+strings.Join(stocksync.CountReasons, ", "))
	cmd.Flags().StringVar(&note, "note", "", "in your own words")
	return cmd
}

func (a *app) printCounts(cmd *cobra.Command, name string, view stocksync.CountsView, done string) error {
	if err := a.printImported(cmd, name, view.Errors, view); err != nil {
		return err
	}
	if !a.json() {
		fmt.Fprintf(cmd.OutOrStdout(), "%d lines of stocktake %s %s; now there are %s.\n", view.Changed, view.Stocktake, done, statesText(view.States))
	}
	return nil
}

type decideStocktake func(ctx context.Context, by stocksync.Actor, id int64, d stocksync.StocktakeDecision) (stocksync.CountsView, error)

func (a *app) decisionCommand(verb, short string, sends bool, of func(h *house) decideStocktake) *cobra.Command {
	var d stocksync.StocktakeDecision
	cmd := a.inHouse(verb+" ID [LINE...]", short+"; without lines all that wait for it", cobra.MinimumNArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
		id, err := eventID(args[0])
		if err != nil {
			return err
		}
		for _, text := range args[1:] {
			n, err := strconv.Atoi(text)
			if err != nil {
				return usageError(fmt.Errorf("%q is not the number of a line", text))
			}
			d.Lines = append(d.Lines, n)
		}
		view, err := of(h)(cmd.Context(), stocksync.Actor{Name: localUser(), Reason: d.Note}, id, d)
		if err != nil {
			return err
		}
		if len(view.Errors) > 0 && !a.json() {
			rows := make([][]string, 0, len(view.Errors))
			for _, e := range view.Errors {
				rows = append(rows, []string{strconv.Itoa(e.Line), e.Reason})
			}
			if err := printTable(cmd.ErrOrStderr(), "LINE REASON", rows); err != nil {
				return err
			}
			return fmt.Errorf("nothing was changed: %d lines cannot be decided so", len(view.Errors))
		}
		return a.printCounts(cmd, "the lines", view, map[string]string{"approve": "approved", "reject": "rejected", "booked": "booked"}[verb])
	})
	cmd.Flags().StringVar(&d.CountReason, "reason", "", "why it differs, instead of what was said with the count: "+strings.Join(stocksync.CountReasons, ", "))
	cmd.Flags().StringVar(&d.Note, "note", "", "in your own words; kept in the audit trail")
	if sends {
		cmd.Flags().BoolVar(&d.Send, "send", false, "have the system of record book the differences")
	}
	return cmd
}
