package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/truestock/truestock/sync/simtest"
)

// simulation is what truestock simulate is asked for.
type simulation struct {
	seeds   int
	from    uint64
	faults  string
	mode    string
	planted bool
	shrink  int
	workers int
}

// bugSeeds is within how many seeds a planted bug must be caught.
const bugSeeds = 200

func (a *app) simulateCommand() *cobra.Command {
	var s simulation
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run the whole system between pretend shops on a pretended clock, under faults, and check the outcome",
		Long: "simulate runs the real engine on a real database between pretend shops and a pretend warehouse. Each seed is a world, a\n" +
			"history and faults of its own; the same seed always runs the same. It touches nothing but a temporary folder.\n" +
			"With --planted, known mistakes are planted one by one, to show that the checks would find them.\n\n" +
			"Groups of faults: " + strings.Join(simtest.Faults(), ", ") + ".\n" +
			"Exit code 4 says that a seed found something wrong, or that a planted mistake was not found.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := s.options()
			if err != nil {
				return usageError(err)
			}
			simtest.Standalone(func(t *testing.T) int {
				return a.simulate(cmd.Context(), t, cmd.OutOrStdout(), cmd.ErrOrStderr(), s, o)
			})
			return nil
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&s.seeds, "seeds", 100, "how many seeds to run")
	flags.Uint64Var(&s.from, "from", 1, "the first seed")
	flags.StringVar(&s.faults, "faults", "", "run every seed with exactly these groups of faults, separated by commas; none for no faults (default: each seed draws some)")
	flags.StringVar(&s.mode, "mode", string(simtest.Safety), "safety: all faults end, then everything must be right; liveness: one shop stays dead for ever")
	flags.BoolVar(&s.planted, "planted", false, "also plant known mistakes and see whether they are caught")
	flags.IntVar(&s.shrink, "shrink", 0, "how many runs to spend on a smaller history of the first failing seed")
	flags.IntVar(&s.workers, "workers", runtime.GOMAXPROCS(0), "how many runs go on at the same time")
	return cmd
}

func (s simulation) options() (simtest.Options, error) {
	o := simtest.Options{Mode: simtest.Mode(s.mode)}
	if o.Mode != simtest.Safety && o.Mode != simtest.Liveness {
		return o, fmt.Errorf("--mode is %q: write safety or liveness", s.mode)
	}
	if s.seeds < 0 || s.workers < 1 {
		return o, fmt.Errorf("--seeds is %d and --workers %d: they must be at least 0 and 1", s.seeds, s.workers)
	}
	if s.faults == "" {
		return o, nil
	}
	o.Exactly, o.Faults = true, []string{}
	if s.faults == "none" {
		return o, nil
	}
	for name := range strings.SplitSeq(s.faults, ",") {
		if !slices.Contains(simtest.Faults(), name) {
			return o, fmt.Errorf("--faults names %q: there are %s", name, strings.Join(simtest.Faults(), ", "))
		}
		o.Faults = append(o.Faults, name)
	}
	return o, nil
}

// simulationView is the answer of truestock simulate.
type simulationView struct {
	Seeds int `json:"seeds"`
	// Violations are the seeds that found something wrong.
	Violations       int     `json:"violations"`
	FirstFailingSeed *uint64 `json:"first_failing_seed"`
	// FailingSeeds are all of them, sorted.
	FailingSeeds   []uint64 `json:"failing_seeds"`
	SimulatedHours float64  `json:"simulated_hours"`
	// OversoldUnitsCAS are units sold that were not there, of articles that one conditional listing alone sells;
	// OversoldUnitsOther those of articles that several listings or an unconditional one sell.
	OversoldUnitsCAS       int64   `json:"oversold_units_cas"`
	OversoldUnitsOther     int64   `json:"oversold_units_other"`
	UnderPublishedPermille int64   `json:"under_published_permille"`
	Planted                int     `json:"planted"`
	Caught                 int     `json:"caught"`
	Seconds                float64 `json:"seconds"`

	ideal, missing int64
	first          simtest.Result
	missed         []string
}

func (a *app) simulate(ctx context.Context, t *testing.T, out, errout io.Writer, s simulation, o simtest.Options) int {
	view := simulationView{FailingSeeds: []uint64{}}
	began := time.Now()
	seeds := make([]func(t *testing.T) func(), s.seeds)
	for i := range seeds {
		seeds[i] = func(t *testing.T) func() {
			r := simtest.Run(t, s.from+uint64(i), o)
			return func() { view.add(r) }
		}
	}
	a.inParallel(ctx, t, errout, "simulating", s.workers, seeds)
	if s.planted {
		var hunts []func(t *testing.T) func()
		for _, bug := range simtest.Bugs() {
			hunts = append(hunts, func(t *testing.T) func() {
				c := simtest.Hunt(t, bug, s.from, bugSeeds, o)
				return func() { view.addBug(c) }
			})
		}
		a.inParallel(ctx, t, errout, "hunting planted mistakes", s.workers, hunts)
	}
	view.Seconds = time.Since(began).Seconds()
	if view.ideal > 0 {
		view.UnderPublishedPermille = view.missing * 1000 / view.ideal
	}
	if ctx.Err() != nil {
		fmt.Fprintln(errout, "truestock: interrupted")
		return exitFailed
	}
	if view.FirstFailingSeed != nil {
		describeFailure(t, errout, view.first, o, s.shrink)
	}
	for _, name := range view.missed {
		fmt.Fprintf(errout, "the planted mistake %s was not caught in %d seeds\n", name, bugSeeds)
	}
	if err := a.printSimulation(out, view); err != nil {
		fmt.Fprintln(errout, "truestock:", err)
		return exitFailed
	}
	if view.Violations > 0 || view.Caught < view.Planted {
		return exitNotMet
	}
	return exitOK
}

// inParallel does jobs, several at the same time, and lets each take note of its outcome alone.
func (a *app) inParallel(ctx context.Context, t *testing.T, progress io.Writer, what string, workers int, jobs []func(t *testing.T) func()) {
	bar := progressbar.NewOptions(len(jobs), progressbar.OptionSetWriter(progress), progressbar.OptionSetDescription(what),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetVisibility(isTerminal(progress)))
	todo := make(chan int)
	var mu sync.Mutex
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range todo {
				var note func()
				t.Run(strconv.Itoa(i), func(t *testing.T) { note = jobs[i](t) })
				mu.Lock()
				note()
				_ = bar.Add(1) // a bar that cannot be drawn is no reason to stop
				mu.Unlock()
			}
		})
	}
	for i := range jobs {
		if ctx.Err() != nil {
			break
		}
		todo <- i
	}
	close(todo)
	group.Wait()
	_ = bar.Finish()
}

func (v *simulationView) add(r simtest.Result) {
	v.Seeds++
	v.SimulatedHours += r.Simulated.Hours()
	v.OversoldUnitsCAS += r.OversoldCAS
	v.OversoldUnitsOther += r.OversoldOther
	v.ideal += r.Ideal
	v.missing += r.Missing
	if !r.Failed() {
		return
	}
	v.Violations++
	at, _ := slices.BinarySearch(v.FailingSeeds, r.Seed)
	v.FailingSeeds = slices.Insert(v.FailingSeeds, at, r.Seed)
	if v.FirstFailingSeed == nil || r.Seed < *v.FirstFailingSeed {
		v.FirstFailingSeed, v.first = &r.Seed, r
	}
}

func (v *simulationView) addBug(c simtest.Caught) {
	v.Planted++
	if c.Seed > 0 {
		v.Caught++
		return
	}
	v.missed = append(v.missed, c.Name)
}

// describeFailure tells what the first failing seed found and, where runs may be spent on it, a smaller history.
func describeFailure(t *testing.T, w io.Writer, r simtest.Result, o simtest.Options, budget int) {
	fmt.Fprintf(w, "seed %d, faults %s:\n", r.Seed, strings.Join(r.Faults, ","))
	for _, v := range r.Violations {
		fmt.Fprintln(w, " ", plain(v))
	}
	if budget > 0 {
		fmt.Fprint(w, simtest.Shrink(t, r.Seed, o, budget))
	}
}

func (a *app) printSimulation(out io.Writer, v simulationView) error {
	if a.json() {
		return printJSON(out, v)
	}
	fmt.Fprintf(out, "%d seeds, %.0f simulated hours in %.0f seconds: %d found something wrong.\n", v.Seeds, v.SimulatedHours, v.Seconds, v.Violations)
	fmt.Fprintf(out, "Sold and not there: %d units where one conditional listing sells alone, %d elsewhere. Offered too little: %d ‰.\n",
		v.OversoldUnitsCAS, v.OversoldUnitsOther, v.UnderPublishedPermille)
	if v.Planted > 0 {
		fmt.Fprintf(out, "Planted mistakes: %d of %d caught.\n", v.Caught, v.Planted)
	}
	return nil
}
