package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/all"
	"github.com/truestock/truestock/stock"
)

// connectorView is a connector as `truestock connectors` shows it.
type connectorView struct {
	Connector string                `json:"connector"`
	Title     string                `json:"title"`
	Roles     []connectors.Role     `json:"roles"`
	Versions  string                `json:"versions"`
	Classes   []connectors.Class    `json:"classes,omitempty"`
	Bases     []stock.Basis         `json:"bases,omitempty"`
	Batch     int                   `json:"batch,omitempty"`
	Limits    []string              `json:"limits,omitempty"`
	Can       []string              `json:"can"`
	Cannot    []string              `json:"cannot,omitempty"`
	Evidence  []connectors.Evidence `json:"evidence"`
	Unproven  []string              `json:"unproven,omitempty"`
}

func (a *app) connectorsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connectors [NAME]",
		Short: "Show the systems that truestock speaks to, what each can, and by what that is proven",
		Long:  "Show the systems that truestock speaks to, what each can, and by what that is proven.\nWith a name, show what to do in that system, its settings and its limits.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			registry := all.Registry()
			if len(args) == 0 {
				return a.listConnectors(cmd, registry)
			}
			info, err := registry.Lookup(args[0])
			if err != nil {
				return usageError(err)
			}
			if a.json() {
				return printJSON(cmd.OutOrStdout(), connectorOf(info))
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), info.Page())
			return err
		},
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, i := range all.Registry() {
			names = append(names, i.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

func (a *app) listConnectors(cmd *cobra.Command, registry connectors.Registry) error {
	views := make([]connectorView, 0, len(registry))
	rows := make([][]string, 0, len(registry))
	for _, i := range registry {
		views = append(views, connectorOf(i))
		batch := "as told"
		if i.Guide.Batch > 0 {
			batch = fmt.Sprint(i.Guide.Batch)
		}
		rows = append(rows, []string{i.Name, joined(i.Roles, ","), joined(i.Guide.Classes, ","), joined(i.Guide.Bases, ","), batch,
			joined(i.Guide.Strongest(), ","), fmt.Sprint(len(i.Guide.Unproven))})
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"data": views})
	}
	return printTable(cmd.OutOrStdout(), "CONNECTOR ROLES CLASSES BASES BATCH EVIDENCE UNPROVEN", rows)
}

func connectorOf(i connectors.Info) connectorView {
	g := i.Guide
	return connectorView{Connector: i.Name, Title: i.Title, Roles: i.Roles, Versions: g.Versions, Classes: g.Classes, Bases: g.Bases, Batch: g.Batch,
		Limits: g.Limits, Can: g.Can, Cannot: g.Cannot, Evidence: g.Evidence, Unproven: g.Unproven}
}

// joined writes words one behind the other, and - where there are none.
func joined[T ~string](values []T, between string) string {
	if len(values) == 0 {
		return "-"
	}
	texts := make([]string, 0, len(values))
	for _, v := range values {
		texts = append(texts, string(v))
	}
	return strings.Join(texts, between)
}
