package sync

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/truestock/truestock/stock"
)

// reportLines is how many lines of a report its view shows; the rest is paged.
const reportLines = 1000

// Reconciliation is the report of a reconciliation.
func (e *Engine) Reconciliation(ctx context.Context, id int64) (RunView, error) {
	run, err := e.store.Run(ctx, id)
	if err != nil {
		return RunView{}, fmt.Errorf("reconciliation %d: %w", id, err)
	}
	counts, err := e.store.DriftCounts(ctx, id)
	if err != nil {
		return RunView{}, fmt.Errorf("drift of reconciliation %d: %w", id, err)
	}
	drifts, err := e.store.Drifts(ctx, id, ListingKey{}, reportLines)
	if err != nil {
		return RunView{}, fmt.Errorf("drift of reconciliation %d: %w", id, err)
	}
	return runView(run, counts, drifts), nil
}

// Reconciliations lists reconciliations, the newest first, with ids below before; without their lines.
func (e *Engine) Reconciliations(ctx context.Context, before int64, limit int) ([]RunView, error) {
	runs, err := e.store.ListRuns(ctx, "", before, limit)
	if err != nil {
		return nil, fmt.Errorf("list reconciliations: %w", err)
	}
	out := make([]RunView, 0, len(runs))
	for _, r := range runs {
		counts, err := e.store.DriftCounts(ctx, r.ID)
		if err != nil {
			return nil, fmt.Errorf("drift of reconciliation %d: %w", r.ID, err)
		}
		out = append(out, runView(r, counts, nil))
	}
	return out, nil
}

// Drifts pages through the lines of a reconciliation, by listing. ErrNotFound when there is no such reconciliation.
func (e *Engine) Drifts(ctx context.Context, id int64, after ListingKey, limit int) ([]DriftView, error) {
	if _, err := e.store.Run(ctx, id); err != nil {
		return nil, fmt.Errorf("reconciliation %d: %w", id, err)
	}
	drifts, err := e.store.Drifts(ctx, id, after, limit)
	if err != nil {
		return nil, fmt.Errorf("drift of reconciliation %d: %w", id, err)
	}
	out := make([]DriftView, 0, len(drifts))
	for _, d := range drifts {
		out = append(out, driftView(d))
	}
	return out, nil
}

// ReportFormat is the form of an exported report.
type ReportFormat string

// The forms of a report.
const (
	ReportCSV  ReportFormat = "csv"
	ReportText ReportFormat = "text"
)

// WriteReport writes the report of a reconciliation, all lines. ErrNotFound before anything is written when there is no
// such reconciliation.
func (e *Engine) WriteReport(ctx context.Context, id int64, format ReportFormat, w io.Writer) error {
	run, err := e.store.Run(ctx, id)
	if err != nil {
		return fmt.Errorf("reconciliation %d: %w", id, err)
	}
	if format == ReportCSV {
		return e.writeCSV(ctx, id, w)
	}
	counts, err := e.store.DriftCounts(ctx, id)
	if err != nil {
		return fmt.Errorf("drift of reconciliation %d: %w", id, err)
	}
	return e.writeText(ctx, runView(run, counts, nil), id, w)
}

func (e *Engine) eachDrift(ctx context.Context, id int64, each func(DriftView) error) error {
	for after := (ListingKey{}); ; {
		page, err := e.store.Drifts(ctx, id, after, reportLines)
		if err != nil {
			return fmt.Errorf("drift of reconciliation %d: %w", id, err)
		}
		for _, d := range page {
			if err := each(driftView(d)); err != nil {
				return err
			}
			after = d.ListingKey
		}
		if len(page) < reportLines {
			return nil
		}
	}
}

func (e *Engine) writeCSV(ctx context.Context, id int64, w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"connection", "item", "place", "shown", "target", "cause", "counts", "detail", "at"}); err != nil {
		return err
	}
	number := func(q *stock.Quantity) string {
		if q == nil {
			return ""
		}
		return strconv.FormatInt(int64(*q), 10)
	}
	err := e.eachDrift(ctx, id, func(d DriftView) error {
		return out.Write([]string{string(d.Connection), d.Item, d.Place, number(d.Shown), number(d.Target), string(d.Cause),
			strconv.FormatBool(d.Counts), d.Detail, d.At.Format(time.RFC3339)})
	})
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

func (e *Engine) writeText(ctx context.Context, run RunView, id int64, w io.Writer) error {
	if _, err := io.WriteString(w, run.Text()); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	lines := 0
	err := e.eachDrift(ctx, id, func(d DriftView) error {
		if lines++; lines == 1 {
			fmt.Fprintln(t, "CONNECTION\tITEM\tPLACE\tSHOWED\tSHOULD\tCAUSE\tBECAUSE")
		}
		_, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Connection, oneLine(d.Item), oneLine(d.Place), quantityText(d.Shown), quantityText(d.Target), d.Cause, oneLine(d.Detail))
		return err
	})
	if err != nil {
		return err
	}
	return t.Flush()
}

// oneLine keeps what comes from outside from breaking a line or moving a terminal's cursor.
func oneLine(s string) string {
	out := []rune(s)
	for i, r := range out {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			out[i] = ' '
		}
	}
	return string(out)
}

// Text is the head of the report for people.
func (v RunView) Text() string {
	dry := ""
	if v.DryRun {
		dry = " (dry run)"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Reconciliation %s%s: %s. %d listings compared, %d drifted.\n", v.ID, dry, v.State, v.Listings, v.Drifted)
	for _, cause := range slices.Sorted(maps.Keys(v.Causes)) {
		fmt.Fprintf(&text, "  %d %s", v.Causes[cause], cause)
		if cause == CauseUnmapped {
			text.WriteString(": no SKU is known for them; GET /api/v1/listings?state=unmapped lists them, truestock mappings suggest what they may be")
		}
		text.WriteString("\n")
	}
	for _, s := range v.Subscriptions {
		text.WriteString("  " + oneLine(s) + "\n")
	}
	if v.Message != "" {
		text.WriteString(oneLine(v.Message) + "\n")
	}
	return text.String()
}

func runView(run Run, counts map[DriftCause]int64, drifts []Drift) RunView {
	v := RunView{ID: eventReference(run.ID), Job: run.Job, DryRun: run.DryRun, State: run.State, StartedAt: run.StartedAt,
		EndedAt: optionalTime(run.EndedAt), Listings: run.Listings, Drifted: run.Drifted, Message: run.Message, Causes: map[DriftCause]int64{},
		Subscriptions: append([]string{}, run.Subscriptions...), Drifts: []DriftView{}}
	maps.Copy(v.Causes, counts)
	if run.Unmapped > 0 {
		v.Causes[CauseUnmapped] = run.Unmapped
	}
	if run.State == RunRunning {
		v.Drifted = 0
		for cause, n := range counts {
			if cause.Counts() {
				v.Drifted += n
			}
		}
	}
	for _, d := range drifts {
		v.Drifts = append(v.Drifts, driftView(d))
	}
	return v
}

func driftView(d Drift) DriftView {
	return DriftView{Connection: d.Connection, Item: d.Item, Place: d.Place, Target: d.Target, Shown: d.Shown, Cause: d.Cause, Counts: d.Cause.Counts(),
		Detail: d.Detail, At: d.At.UTC()}
}
