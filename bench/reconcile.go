package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	"github.com/truestock/truestock/store"
	stocksync "github.com/truestock/truestock/sync"
)

// comparePart is the process that compares, alone, so that its memory can be told.
const comparePart = "compare"

const (
	// compareRun is the reconciliation that the readings are staged for.
	compareRun = 1
	// comparePage is how many rows of a side are in memory at a time, as in a reconciliation.
	comparePage = 1000
	// driftEvery is how often a reading differs from its listing.
	driftEvery = 100
)

// compareJob is what the process is told.
type compareJob struct {
	Database   string
	Connection stock.ConnectionID
	Rounds     int
}

// compareResult is what it found.
type compareResult struct {
	Rows, Differences int
	// Read and Compared are seconds of each round.
	Read, Compared []float64
	// PeakMiB is the most memory that the process had; 0 where the system does not tell.
	PeakMiB float64
}

// measureReconcile compares as many listings with as many readings, both from the database, and measures it against only
// reading both. A quarter of the rows must take the same memory.
func (b *bench) measureReconcile(ctx context.Context) error {
	database := filepath.Join(b.dir, "reconcile.db")
	rows := map[stock.ConnectionID]int{shopA: b.size.compareRows, shopB: b.size.compareRows / 4}
	for _, id := range []stock.ConnectionID{shopA, shopB} {
		b.report.step("stage %d listings and readings", rows[id])
		if err := stageRows(ctx, database, id, rows[id]); err != nil {
			return err
		}
	}
	results := make(map[stock.ConnectionID]compareResult)
	for _, id := range []stock.ConnectionID{shopA, shopB} {
		b.report.step("reconcile %d listings", rows[id])
		r, err := compareApart(ctx, compareJob{Database: database, Connection: id, Rounds: b.size.compareRounds})
		if err != nil {
			return err
		}
		if want := rows[id] / driftEvery; r.Rows != rows[id] || r.Differences != want {
			return fmt.Errorf("%d rows and %d differences were found, and there are %d and %d", r.Rows, r.Differences, rows[id], want)
		}
		results[id] = r
	}
	all, quarter := results[shopA], results[shopB]
	var ratios []float64
	for i := range all.Read {
		ratios = append(ratios, all.Compared[i]/all.Read[i])
	}
	b.result.ReconcileRatio = figure(median(ratios))
	b.detail("reconcile_rows", new(float64(all.Rows)))
	b.detail("reconcile_read_s", median(all.Read))
	b.detail("reconcile_compare_s", median(all.Compared))
	if all.PeakMiB > 0 {
		b.result.ReconcilePeak = figure(&all.PeakMiB)
		b.detail("reconcile_quarter_peak_mib", &quarter.PeakMiB)
	} else {
		b.report.note("reconcile_peak_mib is not measured: this system has no /proc")
	}
	return nil
}

// stageRows fills both sides.
func stageRows(ctx context.Context, database string, id stock.ConnectionID, rows int) (err error) {
	s, err := openStore(ctx, "sqlite:"+database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	const batch = 10_000
	now := time.Now().UTC()
	for from := 0; from < rows; from += batch {
		var listings []connectors.Listing
		var readings []connectors.Reading
		for i := from; i < min(from+batch, rows); i++ {
			ref := connectors.Ref{Item: itemName(i)}
			listings = append(listings, connectors.Listing{Ref: ref, SKU: skuName(i), Title: "Article " + itemName(i), Status: connectors.StatusActive})
			readings = append(readings, connectors.Reading{Ref: ref, Quantity: readingOf(i), At: now})
		}
		if err := s.SaveListings(ctx, id, listings); err != nil {
			return err
		}
		if err := s.AddReadings(ctx, compareRun, id, readings); err != nil {
			return err
		}
	}
	return nil
}

// readingOf is what the pretend channel shows: 5, and now and then something else.
func readingOf(i int) stock.Quantity {
	if i%driftEvery == 0 {
		return 6
	}
	return 5
}

func compareApart(ctx context.Context, job compareJob) (r compareResult, err error) {
	c, err := startChild(ctx, comparePart, job)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.end()) }()
	return r, c.hear(&r)
}

func runCompare(ctx context.Context, stdin io.Reader, stdout io.Writer) (err error) {
	var job compareJob
	if err := json.NewDecoder(stdin).Decode(&job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	s, err := store.Open(ctx, "sqlite:"+job.Database, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ours := func(after connectors.Ref) ([]stocksync.Listing, error) {
		return s.ListingsAfter(ctx, job.Connection, after, comparePage)
	}
	theirs := func(after connectors.Ref) ([]connectors.Reading, error) {
		return s.ReadingsAfter(ctx, compareRun, job.Connection, after, comparePage)
	}
	readBoth := func() error {
		if err := readAll(ours, func(l stocksync.Listing) connectors.Ref { return l.Ref }); err != nil {
			return err
		}
		return readAll(theirs, func(r connectors.Reading) connectors.Ref { return r.Ref })
	}
	if err := readBoth(); err != nil { // warms up, for both sides of the ratio
		return err
	}
	var r compareResult
	for range job.Rounds {
		began := time.Now()
		if err := readBoth(); err != nil {
			return err
		}
		r.Read = append(r.Read, time.Since(began).Seconds())

		began, r.Rows, r.Differences = time.Now(), 0, 0
		err := stocksync.Compare(ours, theirs, func(l *stocksync.Listing, reading *connectors.Reading) error {
			r.Rows++
			if l == nil || reading == nil || reading.Quantity != 5 {
				r.Differences++
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.Compared = append(r.Compared, time.Since(began).Seconds())
	}
	r.PeakMiB, _ = memory("self", "VmHWM")
	return json.NewEncoder(stdout).Encode(r)
}

// readAll reads a side to its end.
func readAll[T any](page func(after connectors.Ref) ([]T, error), ref func(T) connectors.Ref) error {
	var after connectors.Ref
	for {
		rows, err := page(after)
		if err != nil || len(rows) == 0 {
			return err
		}
		after = ref(rows[len(rows)-1])
	}
}
