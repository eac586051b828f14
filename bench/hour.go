package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/truestock/truestock/sync/simtest"
)

// hourPart is the process that simulates an hour: only a process that runs as a test has a clock of its own.
const hourPart = "hour"

// hourOrders is how many orders the shop gets in its hour, each of which is shipped: one every half a minute.
const hourOrders = 120

// hourJob is what the process is told.
type hourJob struct{ Listings, Rounds int }

// hourResult is what it found.
type hourResult struct {
	// Seconds are those of a processor that each round took.
	Seconds    []float64
	Violations []string
}

// measureHour lets the simulator run an hour of a shop where nothing fails: the real engine and the real store on
// SQLite, on a pretended clock.
func (b *bench) measureHour(ctx context.Context) error {
	b.report.step("simulate an hour of a shop with %d listings, %d rounds", b.size.hourListings, b.size.hourRounds)
	r, err := simulateApart(ctx, hourJob{Listings: b.size.hourListings, Rounds: b.size.hourRounds})
	if err != nil {
		return err
	}
	if len(r.Violations) > 0 {
		return fmt.Errorf("the hour ended wrong: %v", r.Violations)
	}
	b.result.SimulatedHour = figure(median(r.Seconds))
	b.detail("simulated_hour_listings", new(float64(b.size.hourListings)))
	return nil
}

func simulateApart(ctx context.Context, job hourJob) (r hourResult, err error) {
	c, err := startChild(ctx, hourPart, job)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.end()) }()
	return r, c.hear(&r)
}

// runHour ends the process.
func runHour(stdin io.Reader, stdout io.Writer) error {
	var job hourJob
	if err := json.NewDecoder(stdin).Decode(&job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	simtest.Standalone(func(t *testing.T) int {
		var r hourResult
		for range job.Rounds {
			took, found := simtest.Hour(t, job.Listings, hourOrders, processorTime)
			r.Seconds = append(r.Seconds, took.Seconds())
			r.Violations = append(r.Violations, found.Violations...)
		}
		if err := json.NewEncoder(stdout).Encode(r); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		return 0
	})
	return nil
}
