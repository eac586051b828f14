package simtest_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/sync/simtest"
)

var (
	seeds   = flag.Int("seeds", usual(20, 2), "how many seeds to run")
	from    = flag.Uint64("from", 1, "the first seed")
	mode    = flag.String("mode", "safety", "safety or liveness")
	shrink  = flag.Int("shrink", 0, "how many runs to spend on making the history of a failing seed smaller")
	bug     = flag.String("bug", "", "hunt one planted bug; all means every one")
	update  = flag.Bool("update", false, "with -bug all: write the table into docs/correctness.md")
	journal = flag.Bool("journal", false, "print what happened")
)

// usual is how many runs a test makes without being told, less with the race detector.
func usual(n, withRace int) int {
	if raced {
		return withRace
	}
	return n
}

func TestSeeds(t *testing.T) {
	for i := range uint64(*seeds) {
		t.Run(fmt.Sprint(*from+i), func(t *testing.T) {
			t.Parallel()
			check(t, *from+i, simtest.Options{Mode: simtest.Mode(*mode), Trace: *journal})
		})
	}
}

// TestFoundSeeds runs what once failed, for ever.
func TestFoundSeeds(t *testing.T) {
	for _, f := range simtest.Found()[:usual(len(simtest.Found()), 1)] {
		t.Run(fmt.Sprint(f.Seed), func(t *testing.T) {
			t.Parallel()
			o := f.Options()
			o.Trace = *journal
			check(t, f.Seed, o)
		})
	}
}

// TestLiveness: one shop is dead for ever, and all others become right.
func TestLiveness(t *testing.T) {
	for seed := uint64(1); seed <= uint64(usual(3, 1)); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			check(t, seed, simtest.Options{Mode: simtest.Liveness})
		})
	}
}

func check(t *testing.T, seed uint64, o simtest.Options) {
	t.Helper()
	r := simtest.Run(t, seed, o)
	for _, l := range r.Trace {
		t.Log(l)
	}
	if !r.Failed() {
		t.Logf("%d orders, %d events, %d writes, %d crashes, %d oversold elsewhere, %d ‰ under-published", r.Orders, r.Events, r.Writes, r.Crashes, r.OversoldOther, r.UnderPublishedPermille())
		return
	}
	t.Errorf("seed %d, faults %v:\n  %s", seed, r.Faults, strings.Join(r.Violations, "\n  "))
	if *shrink > 0 {
		t.Log(simtest.Shrink(t, seed, o, *shrink).String())
	}
}

// TestSameSeedSameRun: everything that happens, with its instants, is decided by the seed.
func TestSameSeedSameRun(t *testing.T) {
	for seed := *from; seed < *from+uint64(usual(2, 1)); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			first := simtest.Run(t, seed, simtest.Options{Trace: true})
			second := simtest.Run(t, seed, simtest.Options{Trace: true})
			if first.TraceHash == second.TraceHash {
				return
			}
			for i := range first.Trace {
				if i >= len(second.Trace) || first.Trace[i] != second.Trace[i] {
					t.Fatalf("seed %d differs at line %d:\n%s\n%s", seed, i, first.Trace[i], second.Trace[min(i, len(second.Trace)-1)])
				}
			}
			t.Fatalf("seed %d: the hashes differ and the journals do not", seed)
		})
	}
}

// TestDecoratorsChangeNothing: what lets bugs be planted lets everything through as it is. Else a bug would be caught that
// nobody has planted.
func TestDecoratorsChangeNothing(t *testing.T) {
	for seed := uint64(1); seed <= uint64(usual(3, 1)); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			o := simtest.Options{Faults: simtest.Faults(), Exactly: true, Traffic: 15 * time.Minute}
			plain := simtest.Run(t, seed, o)
			o.Bug = "none"
			if decorated := simtest.Run(t, seed, o); decorated.TraceHash != plain.TraceHash {
				t.Errorf("the runs differ; violations without: %q, with: %q", plain.Violations, decorated.Violations)
			}
		})
	}
}

// TestPlanted plants bugs and demands that they are caught: a few that are caught at once, or those of -bug.
func TestPlanted(t *testing.T) {
	few := map[string]bool{"never_release": true, "lost_dirty": true, "missing_posting": true}
	if raced {
		few = nil
	}
	var mu sync.Mutex
	found := map[string]simtest.Caught{}
	t.Cleanup(func() {
		if !*update || *bug != "all" {
			return
		}
		var caught []simtest.Caught
		for _, b := range simtest.Bugs() {
			caught = append(caught, found[b.Name])
		}
		if err := os.WriteFile("../../docs/correctness.md", []byte(simtest.Report(caught)), 0o644); err != nil {
			t.Error(err)
		}
	})
	for _, b := range simtest.Bugs() {
		if !few[b.Name] && *bug == "" || *bug != "" && *bug != "all" && *bug != b.Name {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			c := simtest.Hunt(t, b, *from, 200, simtest.Options{})
			mu.Lock()
			found[b.Name] = c
			mu.Unlock()
			if c.Seed == 0 {
				t.Errorf("%s is not caught in %d seeds", b.Name, c.Tried)
				return
			}
			t.Logf("seed %d, try %d: %s", c.Seed, c.Tried, c.Violation)
		})
	}
}
