package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/store"
)

func (a *app) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema to what this version needs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			if err := store.Migrate(cmd.Context(), cfg.Database.URL.Reveal()); err != nil {
				return err
			}
			if a.json() {
				return printJSON(cmd.OutOrStdout(), map[string]string{"database": cfg.Database.String(), "schema": "current"})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s has the schema that this version needs.\n", cfg.Database)
			return nil
		},
	}
}
