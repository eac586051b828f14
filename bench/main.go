// Command bench measures how fast truestock is and how much memory it needs, on the machine that it runs on. Where a
// figure is a ratio, both sides are measured in turn within one run, because the absolute speed of a machine changes from
// minute to minute. docs/performance.md explains every figure.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

// timeout bounds a whole run, whatever hangs.
const timeout = 20 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	cancel()
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// The measurements, in the order in which they run.
var measurements = []struct {
	name    string
	measure func(b *bench, ctx context.Context) error
}{
	{"ready", (*bench).measureServe},
	{"ingest", (*bench).measureIngest},
	{"push", (*bench).measurePush},
	{"flow", (*bench).measureFlow},
	{"reconcile", (*bench).measureReconcile},
	{"hour", (*bench).measureHour},
}

func measurementNames() []string {
	names := make([]string, len(measurements))
	for i, m := range measurements {
		names[i] = m.name
	}
	return names
}

// bench is one run.
type bench struct {
	size   size
	dir    string // of this run alone
	report *progress
	result result
}

// run is the whole program. The benchmark starts itself again for what needs a process of its own: then the first
// argument is the name of that part.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	if len(args) > 0 {
		switch args[0] {
		case loadPart:
			return runLoad(ctx, stdin, stdout)
		case comparePart:
			return runCompare(ctx, stdin, stdout)
		case hourPart:
			return runHour(stdin, stdout)
		}
	}
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return fmt.Errorf("write a profile: %w", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("write a profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	dir, err := os.MkdirTemp(o.dir, "truestock-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the databases: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	b := &bench{size: fullSize, dir: dir, report: newProgress(stderr), result: result{Quick: o.quick, Details: map[string]float64{}}}
	if o.quick {
		b.size = quickSize
	}
	for _, m := range measurements {
		if len(o.only) > 0 && !slices.Contains(o.only, m.name) {
			continue
		}
		if err := m.measure(b, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
	}
	b.report.end()
	return b.result.print(stdout, o.output)
}

type options struct {
	quick                bool
	output, dir, profile string
	only                 []string
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.quick, "quick", false, "fewer rounds and rows, in less than 45 s; the figures scatter more")
	flags.StringVar(&o.output, "output", "table", "form of the result: table or json")
	flags.StringVar(&o.dir, "dir", "", "where the databases are made: on the disk to be measured, not in memory (default: the system's folder for temporary files)")
	flags.StringVar(&only, "only", "", "measure only these, separated by commas: "+strings.Join(measurementNames(), ", "))
	flags.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of this process to the file, for go tool pprof")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag; see -help", flags.Arg(0))
	}
	if o.output != "table" && o.output != "json" {
		return o, fmt.Errorf("-output is %q: write table or json", o.output)
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(measurementNames(), name) {
			return o, fmt.Errorf("-only names %q, which is not measured; there are: %s", name, strings.Join(measurementNames(), ", "))
		}
	}
	return o, nil
}

// size says how much is measured.
type size struct {
	ingestRounds, ingestRequests int
	pushRounds, pushOrders       int
	flowSKUs                     int
	flowRounds, flowEvents       int
	compareRows, compareRounds   int
	hourListings, hourRounds     int
	serveRounds                  int
}

var (
	fullSize = size{
		ingestRounds: 5, ingestRequests: 40_000,
		pushRounds: 10, pushOrders: 900,
		flowSKUs: 100_000, flowRounds: 3, flowEvents: 100_000,
		compareRows: 1_000_000, compareRounds: 3,
		hourListings: 1000, hourRounds: 3,
		serveRounds: 5,
	}
	quickSize = size{
		ingestRounds: 3, ingestRequests: 8_000,
		pushRounds: 5, pushOrders: 450,
		flowSKUs: 20_000, flowRounds: 3, flowEvents: 8_000,
		compareRows: 100_000, compareRounds: 3,
		hourListings: 1000, hourRounds: 1,
		serveRounds: 3,
	}
)

// result is what was measured; a figure that could not be is null.
type result struct {
	IngestRatioSQLite   *float64 `json:"ingest_ratio_sqlite"`
	IngestRatioPostgres *float64 `json:"ingest_ratio_postgres"`
	PushP99             *float64 `json:"push_p99_ms"`
	EndToEnd            *float64 `json:"end_to_end_events_per_s"`
	ReconcileRatio      *float64 `json:"reconcile_ratio"`
	ReconcilePeak       *float64 `json:"reconcile_peak_mib"`
	SimulatedHour       *float64 `json:"simulated_hour_s"`
	Idle                *float64 `json:"idle_mib"`
	Ready               *float64 `json:"ready_ms"`

	Quick bool `json:"quick"`
	// Details are the parts of the figures: see docs/performance.md.
	Details map[string]float64 `json:"details"`
}

// bars are what the product promises for its figures; most says that a figure must not be above its bar.
var bars = []struct {
	name string
	bar  float64
	most bool
	of   func(r result) *float64
}{
	{"ingest_ratio_sqlite", 0.40, false, func(r result) *float64 { return r.IngestRatioSQLite }},
	{"ingest_ratio_postgres", 0.25, false, func(r result) *float64 { return r.IngestRatioPostgres }},
	{"push_p99_ms", 100, true, func(r result) *float64 { return r.PushP99 }},
	{"end_to_end_events_per_s", 4000, false, func(r result) *float64 { return r.EndToEnd }},
	{"reconcile_ratio", 2, true, func(r result) *float64 { return r.ReconcileRatio }},
	{"reconcile_peak_mib", 256, true, func(r result) *float64 { return r.ReconcilePeak }},
	{"simulated_hour_s", 2, true, func(r result) *float64 { return r.SimulatedHour }},
	{"idle_mib", 64, true, func(r result) *float64 { return r.Idle }},
	{"ready_ms", 500, true, func(r result) *float64 { return r.Ready }},
}

func (r result) print(out io.Writer, form string) error {
	if form == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	for _, b := range bars {
		rule, text := "at least", "not measured"
		if b.most {
			rule = "at most"
		}
		if v := b.of(r); v != nil {
			text = fmt.Sprintf("%.4g", *v)
		}
		if _, err := fmt.Fprintf(out, "%-26s %12s   %s %g\n", b.name, text, rule, b.bar); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	for _, name := range sortedNames(r.Details) {
		if _, err := fmt.Fprintf(out, "  %-36s %12.4g\n", name, r.Details[name]); err != nil {
			return err
		}
	}
	return nil
}
