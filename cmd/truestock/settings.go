package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/connectors"
	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) settingsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "settings",
		Short: "Decide policies and what articles are; see what was decided",
		Long: "Settings are what people decide: policies, articles, campaigns and the rest; docs/settings.md lists the kinds and their fields.\n" +
			"Every change is a new version and stands in the audit trail. A policy is named all, channel:NAME, sku:SKU or listing:CHANNEL:ITEM.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.inHouse("list KIND", "List the settings of a kind", cobra.ExactArgs(1), a.listSettings),
		a.inHouse("show KIND KEY", "Show a setting with all its versions", cobra.ExactArgs(2), a.showSetting),
		a.setCommand(), a.replaySettingCommand(), a.removeSettingCommand(), a.importSettingsCommand(),
		a.inHouse("export KIND", "Write the settings of a kind as CSV", cobra.ExactArgs(1), func(cmd *cobra.Command, h *house, args []string) error {
			return h.engine.ExportSettings(cmd.Context(), stocksync.SettingKind(args[0]), cmd.OutOrStdout())
		}),
		a.inHouse("progress ID", "Tell how far a change has come: saved, accepted by the channels, shown to buyers", cobra.ExactArgs(1), a.changeProgress),
	)
	for _, sub := range cmd.Commands() {
		sub.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var kinds []string
			if len(args) == 0 {
				for _, k := range stocksync.SettingKinds() {
					kinds = append(kinds, string(k))
				}
			}
			return kinds, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return cmd
}

func (a *app) listSettings(cmd *cobra.Command, h *house, args []string) error {
	var all []stocksync.SettingView
	for after := ""; ; after = all[len(all)-1].Key {
		page, err := h.engine.Settings(cmd.Context(), stocksync.SettingKind(args[0]), after, 1000)
		if err != nil {
			return err
		}
		if all = append(all, page...); len(page) < 1000 {
			return a.printSettings(cmd, all)
		}
	}
}

func (a *app) showSetting(cmd *cobra.Command, h *house, args []string) error {
	versions, err := h.engine.SettingVersions(cmd.Context(), stocksync.SettingKind(args[0]), args[1])
	if err != nil {
		return err
	}
	return a.printSettings(cmd, versions)
}

func (a *app) printSettings(cmd *cobra.Command, settings []stocksync.SettingView) error {
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": settings})
	}
	rows := make([][]string, 0, len(settings))
	for _, s := range settings {
		value := string(s.Value)
		if s.Value == nil {
			value = "removed"
		}
		rows = append(rows, []string{s.Key, fmt.Sprint(s.Version), s.EffectiveAt.Format(time.RFC3339), s.By, value, s.Reason})
	}
	return printTable(cmd.OutOrStdout(), "KEY VERSION IN_FORCE_FROM BY VALUE REASON", rows)
}

func (a *app) setCommand() *cobra.Command {
	var at, reason string
	var preview bool
	cmd := a.inHouse("set KIND KEY FIELD=VALUE...", "Change fields of a setting; FIELD= alone unsets a field", cobra.MinimumNArgs(3), func(cmd *cobra.Command, h *house, args []string) error {
		change, err := a.newVersion(cmd, h, args)
		if err != nil {
			return err
		}
		if preview {
			const page = 1000
			var rows []stocksync.PreviewView
			for after := (stocksync.ListingKey{}); ; {
				more, err := h.engine.PreviewSettings(cmd.Context(), []stocksync.SettingChange{change}, after, page)
				if err != nil {
					return err
				}
				if rows = append(rows, more...); len(more) < page {
					return a.printPreview(cmd, rows)
				}
				last := more[page-1]
				after = stocksync.ListingKey{Connection: last.Connection, Ref: connectors.Ref{Item: last.Item, Place: last.Place}}
			}
		}
		if at != "" {
			if change.EffectiveAt, err = time.Parse(time.RFC3339, at); err != nil {
				return usageError(fmt.Errorf("--at is %q: write an instant such as 2026-12-01T00:00:00Z", at))
			}
		}
		return a.changeSetting(cmd, h, change, reason)
	})
	cmd.Flags().StringVar(&at, "at", "", "when it comes into force, such as 2026-12-01T00:00:00+01:00 (default: now)")
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept in the audit trail")
	cmd.Flags().BoolVar(&preview, "preview", false, "only tell what it would do to each listing")
	return cmd
}

// newVersion is the newest version of a setting with the fields of the command line changed.
func (a *app) newVersion(cmd *cobra.Command, h *house, args []string) (stocksync.SettingChange, error) {
	change := stocksync.SettingChange{Kind: stocksync.SettingKind(args[0]), Key: args[1], Version: new(int64)}
	value := map[string]json.RawMessage{}
	versions, err := h.engine.SettingVersions(cmd.Context(), change.Kind, change.Key)
	switch {
	case errors.Is(err, stocksync.ErrNotFound):
	case err != nil:
		return change, err
	default:
		*change.Version = versions[0].Version
		if versions[0].Value != nil {
			if err := json.Unmarshal(versions[0].Value, &value); err != nil {
				return change, fmt.Errorf("read %s %s: %w", change.Kind, change.Key, err)
			}
		}
	}
	for _, arg := range args[2:] {
		field, text, ok := strings.Cut(arg, "=")
		if !ok || field == "" {
			return change, usageError(fmt.Errorf("%q is not FIELD=VALUE", arg))
		}
		if text == "" {
			delete(value, field)
			continue
		}
		raw, err := stocksync.SettingCell(change.Kind, field, text)
		if err != nil {
			return change, usageError(err)
		}
		value[field] = raw
	}
	change.Value, err = json.Marshal(value)
	return change, err
}

func (a *app) changeSetting(cmd *cobra.Command, h *house, change stocksync.SettingChange, reason string) error {
	views, err := h.engine.ChangeSettings(cmd.Context(), stocksync.Actor{Name: localUser(), Reason: reason}, []stocksync.SettingChange{change})
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), views[0])
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s is saved as version %d, in force from %s. How far it has come: truestock settings progress %s\n",
		views[0].Kind, views[0].Key, views[0].Version, views[0].EffectiveAt.Format(time.RFC3339), views[0].ID)
	return nil
}

func (a *app) printPreview(cmd *cobra.Command, rows []stocksync.PreviewView) error {
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": rows})
	}
	if len(rows) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "No listing would show another number.")
		return nil
	}
	table := make([][]string, 0, len(rows))
	for _, r := range rows {
		table = append(table, []string{string(r.Connection), r.Item, r.Place, quantity(r.Before), quantity(r.After), r.HeldAfter})
	}
	return printTable(cmd.OutOrStdout(), "CONNECTION ITEM PLACE NOW THEN HELD", table)
}

func (a *app) replaySettingCommand() *cobra.Command {
	days := 28
	cmd := a.inHouse("replay KIND KEY FIELD=VALUE...", "Tell what the last days would have been under a changed policy: stock-outs and oversells caused or avoided", cobra.MinimumNArgs(3), func(cmd *cobra.Command, h *house, args []string) error {
		change, err := a.newVersion(cmd, h, args)
		if err != nil {
			return err
		}
		view, err := h.engine.ReplaySettings(cmd.Context(), []stocksync.SettingChange{change}, days)
		if err != nil {
			return err
		}
		if a.json() {
			return printJSON(cmd.OutOrStdout(), view)
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "From %s to %s, before → after the change. Nothing is saved. It assumes:\n", view.From.Format(time.RFC3339), view.To.Format(time.RFC3339))
		for _, note := range view.Assumptions {
			fmt.Fprintln(out, "-", note)
		}
		rows := make([][]string, 0, len(view.Data))
		for _, r := range view.Data {
			to := func(before, after any) string { return fmt.Sprintf("%v → %v", before, after) }
			rows = append(rows, []string{string(r.Connection), r.Item, r.Place, fmt.Sprint(r.Orders), to(r.Before.LostOrders, r.After.LostOrders),
				to(r.Before.StockOuts, r.After.StockOuts), to(r.Before.OutMinutes, r.After.OutMinutes), to(r.Before.OversoldUnits, r.After.OversoldUnits)})
		}
		return printTable(out, "CONNECTION ITEM PLACE ORDERS LOST STOCK_OUTS OUT_MINUTES OVERSOLD_UNITS", rows)
	})
	cmd.Flags().IntVar(&days, "days", days, "how many days back")
	return cmd
}

func (a *app) removeSettingCommand() *cobra.Command {
	var reason string
	cmd := a.inHouse("remove KIND KEY", "Remove a setting; its versions are kept", cobra.ExactArgs(2), func(cmd *cobra.Command, h *house, args []string) error {
		if _, err := h.engine.SettingVersions(cmd.Context(), stocksync.SettingKind(args[0]), args[1]); err != nil {
			return err
		}
		return a.changeSetting(cmd, h, stocksync.SettingChange{Kind: stocksync.SettingKind(args[0]), Key: args[1]}, reason)
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept in the audit trail")
	return cmd
}

func (a *app) importSettingsCommand() *cobra.Command {
	var reason string
	cmd := a.inHouse("import KIND FILE", "Decide many settings from a CSV file (- for standard input): the column key and one per field", cobra.ExactArgs(2), func(cmd *cobra.Command, h *house, args []string) error {
		in := cmd.InOrStdin()
		if args[1] != "-" {
			f, err := os.Open(args[1])
			if err != nil {
				return usageError(err)
			}
			defer f.Close()
			in = f
		}
		view, err := h.engine.ImportSettings(cmd.Context(), stocksync.Actor{Name: localUser(), Reason: reason}, stocksync.SettingKind(args[0]), in)
		if err != nil {
			return err
		}
		if err := a.printImported(cmd, args[1], view.Errors, view); err != nil {
			return err
		}
		if !a.json() {
			fmt.Fprintf(cmd.OutOrStdout(), "%d settings decided.\n", view.Settings)
		}
		return nil
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept in the audit trail")
	return cmd
}

func (a *app) changeProgress(cmd *cobra.Command, h *house, args []string) error {
	id, err := eventID(args[0])
	if err != nil {
		return err
	}
	v, err := h.engine.SettingChange(cmd.Context(), id)
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), v)
	}
	took := func(ms *int64) string {
		if ms == nil {
			return "not yet"
		}
		return "after " + (time.Duration(*ms) * time.Millisecond).String()
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s, version %d: saved at %s, accepted %s, shown %s; it changes %d of the %d listings that it touches, %d of them show it.\n",
		v.Kind, v.Key, v.Version, v.At.Format(time.RFC3339), took(v.AcceptedMS), took(v.ShownMS), v.Changed, v.Touched, v.Shown)
	return nil
}

func (a *app) auditCommand() *cobra.Command {
	var subject string
	cmd := a.inHouse("audit", "Tell who did what, when and why, the oldest first", cobra.NoArgs, func(cmd *cobra.Command, h *house, _ []string) error {
		var all []stocksync.AuditView
		for after := int64(0); ; {
			page, err := h.engine.Audit(cmd.Context(), subject, after, 1000)
			if err != nil {
				return err
			}
			all = append(all, page...)
			if len(page) < 1000 {
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
		for _, e := range all {
			rows = append(rows, []string{e.ID, e.At.Format(time.RFC3339), e.By, e.Action, e.Subject, auditDifference(e), e.Reason})
		}
		return printTable(cmd.OutOrStdout(), "ID AT BY ACTION SUBJECT CHANGE REASON", rows)
	})
	cmd.Flags().StringVar(&subject, "subject", "", `only what was done to this: a kind and a key, such as "policy sku:TEE-RED"`)
	return cmd
}

// auditDifference names the fields that differ between before and after; of what has no fields it tells both as they are.
func auditDifference(e stocksync.AuditView) string {
	var before, after map[string]json.RawMessage
	if json.Unmarshal(e.Before, &before) != nil && e.Before != nil || json.Unmarshal(e.After, &after) != nil && e.After != nil {
		return fmt.Sprintf("%s → %s", orNothing(e.Before), orNothing(e.After))
	}
	names := slices.Sorted(maps.Keys(after))
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var parts []string
	for _, name := range names {
		if string(before[name]) != string(after[name]) {
			parts = append(parts, fmt.Sprintf("%s: %s → %s", name, orNothing(before[name]), orNothing(after[name])))
		}
	}
	return strings.Join(parts, ", ")
}

func orNothing(value json.RawMessage) string {
	if value == nil {
		return "-"
	}
	return string(value)
}
