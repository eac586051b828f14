package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/truestock/truestock/config"
	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/all"
	"github.com/truestock/truestock/connectors/declared"
	"github.com/truestock/truestock/connectors/declared/conformance"
)

// fileCheck is `truestock check --connector`.
type fileCheck struct {
	file        string
	live, write bool
}

// fileView is what was found of a file.
type fileView struct {
	File      string                `json:"file"`
	Connector string                `json:"connector"`
	Passed    int                   `json:"passed"`
	Failed    int                   `json:"failed"`
	Skipped   int                   `json:"skipped"`
	Cases     []conformance.Outcome `json:"cases"`
}

// checkFile reads a file, plays its examples and runs the conformance suite.
func (a *app) checkFile(cmd *cobra.Command, c fileCheck) error {
	f, err := declared.Load(c.file)
	if err != nil {
		return usageError(err)
	}
	var live *conformance.Live
	if c.live {
		if live, err = a.liveAccount(f, c); err != nil {
			return err
		}
	}
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(cmd.ErrOrStderr()), progressbar.OptionSetDescription("running the conformance suite"),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionSetVisibility(!a.json() && isTerminal(cmd.ErrOrStderr())))
	view := fileView{File: c.file, Connector: f.Name}
	view.Cases = conformance.Check(cmd.Context(), f, live, func(conformance.Outcome) { _ = bar.Add(1) }) // a bar that cannot be drawn is no reason to stop
	_ = bar.Finish()
	for _, o := range view.Cases {
		switch o.Verdict {
		case conformance.Failed:
			view.Failed++
		case conformance.Skipped:
			view.Skipped++
		default:
			view.Passed++
		}
	}
	if a.json() {
		err = printJSON(cmd.OutOrStdout(), view)
	} else {
		err = printFileCheck(cmd.OutOrStdout(), view)
	}
	switch {
	case err != nil:
		return err
	case cmd.Context().Err() != nil:
		return context.Canceled
	case view.Failed > 0:
		return notMet()
	}
	return nil
}

func printFileCheck(w io.Writer, view fileView) error {
	for _, o := range view.Cases {
		if _, err := fmt.Fprintf(w, "%-7s  %s\n", o.Verdict, plain(o.Case)); err != nil {
			return err
		}
		for _, m := range o.Messages {
			for line := range strings.Lines(m) {
				if _, err := fmt.Fprintf(w, "         %s\n", plain(strings.TrimRight(line, "\n"))); err != nil {
					return err
				}
			}
		}
	}
	_, err := fmt.Fprintf(w, "%s (%s): %d passed, %d failed, %d skipped\n", view.File, view.Connector, view.Passed, view.Failed, view.Skipped)
	return err
}

// liveAccount finds the connection of the configuration that uses the file.
func (a *app) liveAccount(f *declared.File, c fileCheck) (*conformance.Live, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	want, err := filepath.Abs(c.file)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", c.file, err)
	}
	for _, name := range cfg.Names() {
		n := cfg.Connections[name]
		path := n.Settings["file"].Reveal()
		if n.Connector != declared.Info().Name || path == "" {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(cfg.Dir(), path)
		}
		if at, err := filepath.Abs(path); err != nil || at != want {
			continue
		}
		settings, err := liveSettings(cfg, string(name), n)
		if err != nil {
			return nil, usageError(err)
		}
		return &conformance.Live{Settings: settings, Write: c.write}, nil
	}
	return nil, usageError(fmt.Errorf("no connection of the configuration has connector: %s and the setting file: %s; --live takes the settings of %s from there", declared.Info().Name, c.file, f.Name))
}

// liveSettings are the settings of a connection, complete and checked by opening it.
func liveSettings(cfg config.Config, name string, n config.Connection) (connectors.Settings, error) {
	conn, err := openConnection(all.Registry(), cfg, name, n, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	settings := connectors.Settings(n.Settings.Reveal())
	return settings, conn.Close()
}
