package simtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Shrunk is the smallest failing configuration that was found of a failing seed.
type Shrunk struct {
	Result
	// Runs is how many runs it took.
	Runs int
}

// Shrink looks for a smaller history that still fails: it switches off groups of faults one by one, then takes out
// actions in ever smaller pieces. It makes at most budget runs. A seed that does not fail comes back as it is.
func Shrink(t *testing.T, seed uint64, o Options, budget int) Shrunk {
	best := Shrunk{Result: Run(t, seed, o), Runs: 1}
	if !best.Failed() {
		return best
	}
	o.Exactly = true
	try := func(faults []string, actions []Action) bool {
		if best.Runs >= budget {
			return false
		}
		best.Runs++
		o.Faults, o.Actions = faults, actions
		r := Run(t, seed, o)
		if r.Failed() {
			best.Result = r
		}
		return r.Failed()
	}
	for _, f := range slices.Clone(best.Faults) {
		try(without(best.Faults, f), best.Actions)
	}
	for size := len(best.Actions) / 2; size > 0; size /= 2 {
		for from := 0; from < len(best.Actions); {
			if !try(best.Faults, slices.Delete(slices.Clone(best.Actions), from, min(from+size, len(best.Actions)))) {
				from += size
			}
		}
	}
	o.Trace, o.Faults, o.Actions = true, best.Faults, best.Actions
	best.Result = Run(t, seed, o)
	return best
}

func without(faults []string, f string) []string {
	out := []string{} // not nil, which means all
	for _, other := range faults {
		if other != f {
			out = append(out, other)
		}
	}
	return out
}

// String writes the history for people, with the entry for Found that keeps the seed.
func (s Shrunk) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d after %d runs: faults [%s], %d actions\n", s.Seed, s.Runs, strings.Join(s.Faults, " "), len(s.Actions))
	for _, v := range s.Violations {
		fmt.Fprintf(&b, "  %s\n", v)
	}
	for _, l := range s.Trace {
		fmt.Fprintf(&b, "%s\n", l)
	}
	fmt.Fprintf(&b, "{Seed: %d, Faults: %#v, Says: \"\"},\n", s.Seed, s.Faults)
	return b.String()
}
