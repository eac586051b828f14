package main_test

import (
	"testing"

	"github.com/go-json-experiment/json"
)

// TestSimulate: the built program runs the simulation outside go test, and the same seed gives the same answer.
func TestSimulate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	type answer struct {
		Seeds          int     `json:"seeds"`
		Violations     int     `json:"violations"`
		FirstFailing   *uint64 `json:"first_failing_seed"`
		SimulatedHours float64 `json:"simulated_hours"`
		OversoldCAS    int64   `json:"oversold_units_cas"`
		Under          int64   `json:"under_published_permille"`
	}
	run := func() answer {
		var a answer
		out := h.must(exitOK, "simulate", "--seeds", "2", "--from", "4", "--output", "json").stdout
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return a
	}
	first, second := run(), run()
	if first != second {
		t.Errorf("the same seeds answer %+v and then %+v", first, second)
	}
	if first.Seeds != 2 || first.Violations != 0 || first.FirstFailing != nil || first.SimulatedHours < 2 {
		t.Errorf("the simulation answers %+v", first)
	}
	h.must(exitUsage, "simulate", "--faults", "sunspots")
	h.must(exitUsage, "simulate", "--mode", "hope")
}
