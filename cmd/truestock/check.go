package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/config"
)

// checkRow is the outcome for one connection.
type checkRow struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (a *app) checkCommand() *cobra.Command {
	var health bool
	var file fileCheck
	cmd := &cobra.Command{
		Use:   "check [CONNECTION...]",
		Short: "Check the configuration, the database and the credentials of every connection; change nothing outside",
		Long: "Check the configuration, the database and the credentials of every connection; change nothing outside.\n" +
			"With --connector, check a file that declares a system: its examples, and the conformance suite against its pretend server.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, names []string) error {
			switch {
			case health:
				return a.checkHealth(cmd.Context())
			case file.file != "" && len(names) > 0:
				return usageError(errors.New("with --connector no connection is named"))
			case file.file == "" && file.live, file.write && !file.live:
				return usageError(errors.New("--live goes with --connector, and --write with --live"))
			case file.file != "":
				return a.checkFile(cmd, file)
			}
			h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), false)
			if err != nil {
				return err
			}
			return errors.Join(a.checkConnections(cmd.Context(), cmd.OutOrStdout(), h, names), h.close())
		},
	}
	cmd.Flags().BoolVar(&health, "health", false, "ask the running server whether it is ready; for container health checks")
	cmd.Flags().StringVar(&file.file, "connector", "", "check the file of a declared connector (docs/declared.md)")
	cmd.Flags().BoolVar(&file.live, "live", false, "with --connector: read from the account of the connection that uses the file, in the place of the pretend server")
	cmd.Flags().BoolVar(&file.write, "write", false, "with --live: also create and cancel orders there, or write stock; for a test account only")
	return cmd
}

func (a *app) checkConnections(ctx context.Context, out io.Writer, h *house, names []string) error {
	if len(names) == 0 {
		for _, n := range h.config.Names() {
			names = append(names, string(n))
		}
	}
	rows, failed := make([]checkRow, 0, len(names)), false
	for _, n := range names {
		row := checkRow{Name: n, OK: true}
		if err := h.engine.Check(ctx, connectionID(n)); err != nil {
			row.OK, row.Error, failed = false, err.Error(), true
		}
		rows = append(rows, row)
	}
	if a.json() {
		if err := printJSON(out, map[string]any{"database": h.config.Database.String(), "connections": rows}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "database %s: ok\n", h.config.Database)
		for _, r := range rows {
			state := "ok"
			if !r.OK {
				state = plain(r.Error)
			}
			fmt.Fprintf(out, "connection %s: %s\n", r.Name, state)
		}
	}
	if failed {
		return notMet()
	}
	return nil
}

// checkHealth asks the server of this configuration, on this machine, whether it is ready.
func (a *app) checkHealth(ctx context.Context) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	address, err := localAddress(cfg)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server at %s is not ready: it answers %s", address, resp.Status)
	}
	return nil
}

// localAddress is where a server that listens on every address can be reached from its own machine.
func localAddress(cfg config.Config) (string, error) {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return "", usageError(cfg.Problem("listen", err.Error()))
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
