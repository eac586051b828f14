// Command truestock keeps what marketplaces offer for sale true to what the system of record really has.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // schedules name zones, and a container may have no zone files

	"github.com/spf13/cobra"

	"github.com/truestock/truestock/store"
)

// The exit codes; docs/operations.md tells them to users.
const (
	exitOK      = 0
	exitFailed  = 1 // something went wrong
	exitUsage   = 2 // wrong use, or a wrong configuration
	exitLocked  = 3 // another process has the database
	exitNotMet  = 4 // the command worked, and found what it looks for not to be so: changes, drift, not settled
	defaultFile = "truestock.yaml"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, stop, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program: tests call it. release gives the signals back, so that a second one ends the process at
// once.
func run(ctx context.Context, release func(), args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	go func() {
		<-ctx.Done()
		release()
	}()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		fmt.Fprintln(stderr, "truestock: interrupted")
		return exitFailed
	}
	if !errors.Is(err, errSilent) {
		fmt.Fprintln(stderr, "truestock:", err)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	if coded, ok := errors.AsType[*codedError](err); ok {
		return coded.code
	}
	if errors.Is(err, store.ErrLocked) {
		return exitLocked
	}
	return exitFailed
}

// codedError is an error with an exit code of its own.
type codedError struct {
	code int
	err  error
}

func (c *codedError) Error() string { return c.err.Error() }
func (c *codedError) Unwrap() error { return c.err }

// errSilent ends a command that has said everything already.
var errSilent = errors.New("")

func usageError(err error) error { return &codedError{exitUsage, err} }

// notMet ends a command that worked and has to say no.
func notMet() error { return &codedError{exitNotMet, errSilent} }

// app is what the flags of the root say, for every subcommand.
type app struct {
	configFile string
	output     string
}

func newRoot() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:   "truestock",
		Short: "Keeps what marketplaces offer for sale true to what the system of record really has",
		Long: "truestock takes webhooks from the warehouse and from marketplaces, keeps a ledger, and makes every listing show\n" +
			"what may be sold. Try it with: truestock demo",
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.checkOutput(cmd) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath()))
	})
	flags := root.PersistentFlags()
	flags.StringVarP(&a.configFile, "config", "c", "", "configuration file (default: $TRUESTOCK_CONFIG, else "+defaultFile+")")
	flags.StringVarP(&a.output, "output", "o", outputTable, "form of the answer: table or json; csv where the command says so")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputTable, outputJSON, outputCSV}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(
		a.serveCommand(), a.demoCommand(), a.migrateCommand(), a.checkCommand(), a.planCommand(), a.applyCommand(), a.reconcileCommand(),
		a.explainCommand(), a.mappingsCommand(), a.eventsCommand(), a.replayCommand(), a.plansCommand(), a.incidentsCommand(), a.stopSaleCommand(), a.resumeSaleCommand(), a.accountCommand(), a.tokenCommand(), a.connectorsCommand(), a.versionCommand(),
		a.verifyCommand(), a.settingsCommand(), a.campaignsCommand(), a.keysCommand(), a.stocktakeCommand(), a.noticesCommand(), a.alertsCommand(), a.replenishmentCommand(), a.auditCommand(), a.reportCommand(), a.simulateCommand(),
	)
	wrapUsage(root)
	return root
}

// wrapUsage makes a wrong number of arguments an error of use.
func wrapUsage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError(fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath()))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapUsage(sub)
	}
}

// The forms of an answer.
const (
	outputTable = "table"
	outputJSON  = "json"
	outputCSV   = "csv"
)

// withCSV annotates a command that can answer in CSV.
var withCSV = map[string]string{"output": outputCSV}

func (a *app) checkOutput(cmd *cobra.Command) error {
	switch {
	case a.output == outputTable, a.output == outputJSON:
		return nil
	case cmd.Annotations["output"] != outputCSV:
		return usageError(fmt.Errorf("--output is %q: write table or json", a.output))
	case a.output != outputCSV:
		return usageError(fmt.Errorf("--output is %q: write table, json or csv", a.output))
	}
	return nil
}

func (a *app) json() bool { return a.output == outputJSON }
