package sync

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// maxCountLines bounds a stocktake.
const maxCountLines = 10_000

// StocktakeOrder asks for a count list that no plan makes.
type StocktakeOrder struct {
	// SKUs are counted at every location, or at Locations. Without SKUs everything at Locations is counted.
	SKUs      []stock.SKU
	Locations []stock.LocationID
	Rule      StocktakeRule
}

// StocktakeView is a stocktake as people and tools see it.
type StocktakeView struct {
	ID               string                 `json:"id"`
	Plan             string                 `json:"plan,omitempty" doc:"the plan that made it; absent for a list that a person asked for"`
	Occurrence       *time.Time             `json:"occurrence" doc:"for when the plan made it"`
	MadeAt           time.Time              `json:"made_at"`
	MadeBy           string                 `json:"made_by"`
	State            string                 `json:"state" enum:"open,closed"`
	ClosedAt         *time.Time             `json:"closed_at"`
	Blind            bool                   `json:"blind"`
	RecountUnits     stock.Quantity         `json:"recount_units"`
	RecountPermille  int64                  `json:"recount_permille"`
	RecountByAnother bool                   `json:"recount_by_another"`
	ApproveUnits     stock.Quantity         `json:"approve_units"`
	ApproveValue     *int64                 `json:"approve_value"`
	States           map[StocktakeState]int `json:"states" doc:"how many lines are in each state"`
	Lines            []StocktakeLineView    `json:"lines,omitempty" doc:"only where one stocktake is asked for"`
}

// StocktakeLineView is a line of a stocktake.
type StocktakeLineView struct {
	Line       int                `json:"line"`
	SKU        stock.SKU          `json:"sku"`
	Location   stock.LocationID   `json:"location"`
	Connection stock.ConnectionID `json:"connection"`
	Basis      stock.Basis        `json:"basis" enum:"on_hand,available" doc:"what is counted: all that is there, or only what is set aside for no order"`
	State      StocktakeState     `json:"state" enum:"open,recount,variance,exact,rejected,approved,booked"`
	Counted    *stock.Quantity    `json:"counted" doc:"by the last count"`
	AsOf       *time.Time         `json:"as_of" doc:"when it was counted"`
	Counter    string             `json:"counter,omitempty"`
	Counts     int                `json:"counts" doc:"how often it was counted"`
	Expected   *stock.Quantity    `json:"expected" doc:"what the books had at that instant; null before it is counted, and in a blind count until no other count is needed"`
	Difference *stock.Quantity    `json:"difference"`
	Reason     string             `json:"reason,omitempty"`
	Note       string             `json:"note,omitempty"`
	DecidedAt  *time.Time         `json:"decided_at"`
	DecidedBy  string             `json:"decided_by,omitempty" doc:"absent where the difference was within the limit"`
	Sent       SendState          `json:"sent,omitempty" enum:"due,sending,sent,refused,by_hand" doc:"how far the difference has come on its way to the system of record"`
	Hint       string             `json:"hint,omitempty" doc:"why it is to be counted again, or was not taken by the system of record"`
}

// CountsView is the outcome of entering counts or of a decision: with any error nothing was changed.
type CountsView struct {
	Stocktake string                 `json:"stocktake"`
	Changed   int                    `json:"changed" doc:"how many lines were changed"`
	States    map[StocktakeState]int `json:"states"`
	Errors    []RowErrorView         `json:"errors"`
}

// CountInput is a count of one line.
type CountInput struct {
	// Row is where it stands, for errors.
	Row int
	LevelKey
	Counted stock.Quantity
	// AsOf is when it was counted.
	AsOf         time.Time
	Reason, Note string
}

// NewStocktake makes a count list. With an unknown SKU, one that is there twice, or one that nobody has stated, nothing is
// stored; the rows of the errors count the SKUs from 1.
func (e *Engine) NewStocktake(ctx context.Context, by Actor, o StocktakeOrder) (StocktakeView, []RowErrorView, error) {
	if err := o.Rule.validate(); err != nil {
		return StocktakeView{}, nil, err
	}
	if len(o.SKUs) == 0 && len(o.Locations) == 0 {
		return StocktakeView{}, nil, fmt.Errorf("%w: name SKUs, or the locations at which everything is counted", ErrInvalid)
	}
	wanted := make(map[stock.SKU]int, len(o.SKUs))
	var bad []RowErrorView
	for i, sku := range o.SKUs {
		if first := wanted[sku]; first > 0 {
			bad = append(bad, RowErrorView{Line: i + 1, Field: "sku", Value: string(sku), Reason: fmt.Sprintf("is the same as number %d", first)})
			continue
		}
		wanted[sku] = i + 1
	}
	found := make(map[stock.SKU]bool)
	var levels []CountedLevel
	err := e.countable(ctx, o.Locations, func(l CountedLevel) {
		if len(wanted) == 0 || wanted[l.SKU] > 0 {
			found[l.SKU] = true
			levels = append(levels, l)
		}
	})
	if err != nil {
		return StocktakeView{}, nil, err
	}
	for i, sku := range o.SKUs {
		if !found[sku] {
			bad = append(bad, RowErrorView{Line: i + 1, Field: "sku", Value: string(sku), Reason: "is not known there: no system of record has stated how much there is of it, so there is nothing to compare a count with"})
		}
	}
	switch {
	case len(bad) > 0:
		slices.SortStableFunc(bad, func(a, b RowErrorView) int { return cmp.Compare(a.Line, b.Line) })
		return StocktakeView{}, bad, nil
	case len(levels) == 0:
		return StocktakeView{}, nil, fmt.Errorf("%w: nothing is stated at %v, so there is nothing to count", ErrInvalid, o.Locations)
	case len(levels) > maxCountLines:
		return StocktakeView{}, nil, fmt.Errorf("%w: these are %d lines, and a list has at most %d: name fewer SKUs or locations", ErrInvalid, len(levels), maxCountLines)
	}
	now := time.Now().UTC()
	s := Stocktake{Rule: o.Rule, MadeAt: now, MadeBy: by.Name, Lines: linesOf(levels)}
	id, err := e.store.MakeStocktake(ctx, s, "", act(now, by.Name, "stocktake made", "stocktake", nil, map[string]any{"lines": len(levels)}))
	if err != nil {
		return StocktakeView{}, nil, fmt.Errorf("make a stocktake: %w", err)
	}
	view, err := e.Stocktake(ctx, id)
	return view, nil, err
}

// countable hands over what can be counted: what exactly one system of record has stated, and it is not kept by truestock.
func (e *Engine) countable(ctx context.Context, locations []stock.LocationID, each func(CountedLevel)) error {
	var held []CountedLevel // of one level
	flush := func() {
		if len(held) == 1 && e.records[held[0].Connection] != nil && (len(locations) == 0 || slices.Contains(locations, held[0].Location)) {
			each(held[0])
		}
		held = held[:0]
	}
	for after := (CountedLevel{}); ; {
		page, err := e.store.StatedLevels(ctx, after, maxBatch)
		if err != nil {
			return fmt.Errorf("list what can be counted: %w", err)
		}
		for _, l := range page {
			if len(held) > 0 && held[0].LevelKey != l.LevelKey {
				flush()
			}
			held = append(held, l)
		}
		if len(page) < maxBatch {
			flush()
			return nil
		}
		after = page[len(page)-1]
	}
}

func linesOf(levels []CountedLevel) []*StocktakeLine {
	lines := make([]*StocktakeLine, len(levels))
	for i, l := range levels {
		lines[i] = &StocktakeLine{N: i + 1, LevelKey: l.LevelKey, Connection: l.Connection, State: LineOpen}
	}
	return lines
}

// Stocktakes lists stocktakes, the newest first, with an id below before (0: from the newest).
func (e *Engine) Stocktakes(ctx context.Context, open bool, before int64, limit int) ([]StocktakeView, error) {
	rows, states, err := e.store.ListStocktakes(ctx, open, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list stocktakes: %w", err)
	}
	views := make([]StocktakeView, len(rows))
	for i := range rows {
		views[i] = stocktakeView(&rows[i], states[i])
	}
	return views, nil
}

func stocktakeView(s *Stocktake, states map[StocktakeState]int) StocktakeView {
	v := StocktakeView{ID: eventReference(s.ID), Plan: s.Plan, Occurrence: optionalTime(s.Occurrence), MadeAt: s.MadeAt.UTC(), MadeBy: s.MadeBy, State: "open",
		ClosedAt: optionalTime(s.ClosedAt), Blind: s.Rule.Blind, RecountUnits: s.Rule.RecountUnits, RecountPermille: s.Rule.RecountPermille,
		RecountByAnother: s.Rule.RecountByAnother, ApproveUnits: s.Rule.ApproveUnits, ApproveValue: s.Rule.ApproveValue, States: states}
	if v.ClosedAt != nil {
		v.State = "closed"
	}
	return v
}

// Stocktake is one stocktake with its lines, those that are not decided as the ledger has it now.
func (e *Engine) Stocktake(ctx context.Context, id int64) (v StocktakeView, err error) {
	if err := e.rememberedCapabilities(ctx); err != nil {
		return v, fmt.Errorf("load what the connections can do: %w", err)
	}
	err = e.store.ViewStocktake(ctx, id, func(tx StocktakeTx, s *Stocktake) error {
		lines := make([]StocktakeLineView, len(s.Lines))
		for i, l := range s.Lines {
			doubtful, err := l.look(tx, s.Rule)
			if err != nil {
				return err
			}
			lines[i] = e.lineView(l, s.Rule, doubtful)
		}
		v = stocktakeView(s, statesOf(s.Lines))
		v.Lines = lines
		return nil
	})
	if err != nil {
		return v, fmt.Errorf("stocktake %d: %w", id, err)
	}
	return v, nil
}

func statesOf(lines []*StocktakeLine) map[StocktakeState]int {
	states := make(map[StocktakeState]int)
	for _, l := range lines {
		states[l.State]++
	}
	return states
}

func (e *Engine) lineView(l *StocktakeLine, r StocktakeRule, doubtful string) StocktakeLineView {
	v := StocktakeLineView{Line: l.N, SKU: l.SKU, Location: l.Location, Connection: l.Connection, State: l.State, Counts: len(l.Counts), Reason: l.Reason, Note: l.Note,
		DecidedAt: optionalTime(l.DecidedAt), DecidedBy: l.DecidedBy, Sent: l.Send, Hint: cmp.Or(l.Error, doubtful)}
	if rec := e.records[l.Connection]; rec != nil {
		v.Basis = rec.basisAt(l.Location)
	}
	if c := l.last(); c != nil {
		v.Counted, v.AsOf, v.Counter = &c.Counted, optionalTime(c.AsOf), c.Counter
		if !r.Blind || l.State != LineRecount {
			v.Expected, v.Difference = &l.Expected, &l.Difference
		}
	}
	if r.Blind && l.State == LineRecount {
		v.Hint = "" // it may tell what the books have
	}
	return v
}

// The columns of a count list as a file. What people fill in comes last.
var (
	countColumns  = []string{"line", "sku", "location", "expected", "counted", "as_of", "reason", "note"}
	neededColumns = []string{"sku", "location", "counted", "as_of"}
)

// ExportStocktake writes the lines that are still to be counted as CSV, to be filled in and imported. What the books have
// now stands in the column expected, for people to see that they are at the right shelf; a blind list leaves it empty.
func (e *Engine) ExportStocktake(ctx context.Context, id int64, w io.Writer) error {
	out := csv.NewWriter(w)
	err := e.store.ViewStocktake(ctx, id, func(tx StocktakeTx, s *Stocktake) error {
		if err := out.Write(countColumns); err != nil {
			return err
		}
		now := time.Now().UTC()
		for _, l := range s.Lines {
			if _, err := l.look(tx, s.Rule); err != nil {
				return err
			}
			if l.State != LineOpen && l.State != LineRecount {
				continue
			}
			expected := ""
			if !s.Rule.Blind {
				h, err := tx.LevelHistory(l.LevelKey, now, s.ID)
				if err != nil {
					return err
				}
				expected = strconv.FormatInt(int64(h.Tracked), 10)
			}
			if err := out.Write([]string{strconv.Itoa(l.N), mapping.Mark(string(l.SKU)), mapping.Mark(string(l.Location)), expected, "", "", "", ""}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("export stocktake %d: %w", id, err)
	}
	out.Flush()
	return out.Error()
}

// ImportCounts enters the counts of a file. Rows with nothing in the column counted are left out. With any bad row nothing
// is changed, and the view lists every bad row; the error is then nil.
func (e *Engine) ImportCounts(ctx context.Context, by Actor, id int64, in io.Reader) (CountsView, error) {
	view := CountsView{Stocktake: eventReference(id), States: map[StocktakeState]int{}, Errors: []RowErrorView{}}
	bad := func(line int, field, value, reason string) {
		view.Errors = append(view.Errors, RowErrorView{Line: line, Field: field, Value: value, Reason: reason})
	}
	r := csv.NewReader(in)
	header, err := r.Read()
	if err != nil {
		bad(1, "", "", "the first row must name the columns: "+strings.Join(countColumns, ", "))
		return view, nil
	}
	at := make(map[string]int, len(header))
	for i, c := range header {
		name := strings.TrimSpace(strings.TrimPrefix(c, "\ufeff"))
		if _, twice := at[name]; twice || !slices.Contains(countColumns, name) {
			bad(1, name, "", "is there twice, or no column of a count list; there are: "+strings.Join(countColumns, ", "))
		}
		at[name] = i
	}
	for _, name := range neededColumns {
		if _, ok := at[name]; !ok {
			bad(1, name, "", "is missing")
		}
	}
	if len(view.Errors) > 0 {
		return view, nil
	}
	var counts []CountInput
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, reason := unreadable(err)
			bad(line, "", "", reason.Error())
			return view, nil
		}
		line, _ := r.FieldPos(0)
		cell := func(name string) string {
			i, ok := at[name]
			if !ok {
				return ""
			}
			return strings.TrimSpace(row[i])
		}
		if cell("counted") == "" {
			continue
		}
		c := CountInput{Row: line, LevelKey: LevelKey{stock.SKU(mapping.Unmark(cell("sku"))), stock.LocationID(mapping.Unmark(cell("location")))}, Reason: cell("reason"), Note: cell("note")}
		n, err := strconv.ParseInt(cell("counted"), 10, 64)
		if err != nil {
			bad(line, "counted", cell("counted"), "is not a whole number")
			continue
		}
		c.Counted = stock.Quantity(n)
		if c.AsOf, err = time.Parse(time.RFC3339, cell("as_of")); err != nil {
			bad(line, "as_of", cell("as_of"), "is not an instant: write when the line was counted, such as 2026-03-29T14:05:00+02:00")
			continue
		}
		counts = append(counts, c)
	}
	entered, err := e.EnterCounts(ctx, by, id, counts, view.Errors...)
	if err == nil {
		slices.SortStableFunc(entered.Errors, func(a, b RowErrorView) int { return cmp.Compare(a.Line, b.Line) })
	}
	return entered, err
}

// EnterCounts enters counts, all or none; with errors already found only more are looked for. A difference within the limit
// counts at once; one above it waits for somebody else.
func (e *Engine) EnterCounts(ctx context.Context, by Actor, id int64, counts []CountInput, found ...RowErrorView) (CountsView, error) {
	view := CountsView{Stocktake: eventReference(id), States: map[StocktakeState]int{}, Errors: append([]RowErrorView{}, found...)}
	now := time.Now().UTC()
	err := e.changeStocktake(ctx, id, &view, func(tx StocktakeTx, s *Stocktake) (c lineChange, err error) {
		byLevel := make(map[LevelKey]*StocktakeLine, len(s.Lines))
		for _, l := range s.Lines {
			byLevel[l.LevelKey] = l
			if _, err := l.look(tx, s.Rule); err != nil {
				return c, err
			}
		}
		seen := make(map[LevelKey]int, len(counts))
		touched := make(map[int]bool, len(counts))
		for _, in := range counts {
			l := byLevel[in.LevelKey]
			field, value, reason := checkCount(in, l, s, by.Name, now)
			if first := seen[in.LevelKey]; first > 0 {
				field, value, reason = "sku", string(in.SKU), fmt.Sprintf("stands in row %d already", first)
			}
			if reason != "" {
				view.Errors = append(view.Errors, RowErrorView{Line: in.Row, Field: field, Value: value, Reason: reason})
				continue
			}
			seen[in.LevelKey] = in.Row
			l.Counts = append(l.Counts, stock.CountedLine{SKU: in.SKU, Location: in.Location, AsOf: in.AsOf.UTC(), Counted: in.Counted, Counter: by.Name})
			l.Reason, l.Note = cmp.Or(in.Reason, l.Reason), cmp.Or(in.Note, l.Note)
			touched[l.N] = true
		}
		entry := act(now, by.Name, "stocktake counted", stocktakeSubject(id), nil, countsOf(s.Lines, touched))
		entry.Reason = by.Reason
		return lineChange{touched: touched, acts: []AuditEntry{entry}}, nil
	})
	return view, err
}

// checkCount says what is wrong with a count; an empty reason says that nothing is.
func checkCount(c CountInput, l *StocktakeLine, s *Stocktake, by string, now time.Time) (field, value, reason string) {
	at := c.AsOf.UTC().Format(time.RFC3339)
	switch {
	case l == nil:
		return "sku", string(c.SKU), fmt.Sprintf("is not on the list at location %q", c.Location)
	case c.Counted < 0 || c.Counted > stock.MaxQuantity:
		return "counted", fmt.Sprint(c.Counted), fmt.Sprintf("must be a whole number from 0 to %d", stock.MaxQuantity)
	case c.AsOf.IsZero():
		return "as_of", "", "is missing: say when the line was counted"
	case c.AsOf.After(now):
		return "as_of", at, "lies in the future"
	case c.AsOf.Before(s.MadeAt.Truncate(time.Second)):
		return "as_of", at, "is before the list was made, at " + s.MadeAt.UTC().Format(time.RFC3339)
	case c.Reason != "" && !slices.Contains(CountReasons, c.Reason):
		return "reason", c.Reason, "is none of " + strings.Join(CountReasons, ", ")
	case c.Reason == otherReason && c.Note == "":
		return "note", "", "is missing: the reason other needs one"
	case l.State.decided():
		return "sku", string(c.SKU), fmt.Sprintf("is decided already (%s)", l.State)
	case l.last() != nil && !c.AsOf.After(l.last().AsOf):
		return "as_of", at, "is not after the count before it, of " + l.last().AsOf.UTC().Format(time.RFC3339)
	case s.Rule.RecountByAnother && slices.ContainsFunc(l.Counts, func(done stock.CountedLine) bool { return done.Counter == by }):
		return "sku", string(c.SKU), fmt.Sprintf("was counted by %s before: another person counts it again", by)
	}
	return "", "", ""
}

func stocktakeSubject(id int64) string { return "stocktake " + eventReference(id) }

// countsOf is what the audit trail keeps of the lines touched.
func countsOf(lines []*StocktakeLine, touched map[int]bool) []stock.CountedLine {
	var out []stock.CountedLine
	for _, l := range lines {
		if touched[l.N] {
			out = append(out, *l.last())
		}
	}
	return out
}

// lineChange is what somebody did to the lines of a stocktake.
type lineChange struct {
	touched map[int]bool
	acts    []AuditEntry
	events  []NewEvent
}

// changeStocktake runs a change of lines, brings every line to what its counts say, posts what is within the limit and
// closes the list when nothing is open. With errors in the view nothing is stored.
func (e *Engine) changeStocktake(ctx context.Context, id int64, view *CountsView, change func(tx StocktakeTx, s *Stocktake) (lineChange, error)) error {
	errNothing := errors.New("nothing is changed")
	err := e.store.ChangeStocktake(ctx, id, func(tx StocktakeTx, s *Stocktake) (StocktakeChange, error) {
		settings, err := e.decisions(tx)
		if err != nil {
			return StocktakeChange{}, err
		}
		before := make(map[int]StocktakeState, len(s.Lines))
		for _, l := range s.Lines {
			before[l.N] = l.State
		}
		made, err := change(tx, s)
		if err != nil {
			return StocktakeChange{}, err
		}
		if len(view.Errors) > 0 {
			return StocktakeChange{}, errNothing
		}
		touched := made.touched
		c := StocktakeChange{Acts: made.acts, Events: made.events}
		now := time.Now().UTC()
		open := false
		for _, l := range s.Lines {
			if _, err := l.look(tx, s.Rule); err != nil {
				return StocktakeChange{}, err
			}
			if l.State == LineVariance && touched[l.N] && l.withinLimit(s.Rule, settings) {
				l.decide(LineApproved, now, "")
			}
			if l.State == LineExact && before[l.N] != LineExact {
				l.DecidedAt = now
			}
			if l.State == LineApproved && before[l.N] != LineApproved {
				ev, err := countedEvent(l)
				if err != nil {
					return StocktakeChange{}, err
				}
				c.Events = append(c.Events, ev)
			}
			if touched[l.N] || before[l.N] != l.State {
				c.Lines = append(c.Lines, l)
			}
			open = open || !l.State.decided()
		}
		if !open && s.ClosedAt.IsZero() {
			c.ClosedAt = now
		}
		view.Changed, view.States = len(touched), statesOf(s.Lines)
		return c, nil
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stocktake %d: %w", id, err)
	}
	e.wakeApply.send()
	for _, r := range e.sortedRecords() {
		r.wakeForward.send()
	}
	return nil
}

func (l *StocktakeLine) decide(state StocktakeState, at time.Time, by string) {
	l.State, l.DecidedAt, l.DecidedBy = state, at, by
	l.Reason = cmp.Or(l.Reason, unknownReason)
}

// StocktakeDecision is what somebody decides about differences.
type StocktakeDecision struct {
	// Lines are those decided; none: all that wait for it.
	Lines []int
	// CountReason and Note replace those of the lines, where they are given.
	CountReason, Note string
	// Send has approved differences booked by the system of record.
	Send bool
}

// ApproveStocktake makes differences count. Nobody approves what they have counted. With Send, differences that count already
// and are not on their way are sent too. With any error nothing is changed; the lines of the errors are those of the list.
func (e *Engine) ApproveStocktake(ctx context.Context, by Actor, id int64, d StocktakeDecision) (CountsView, error) {
	return e.decideStocktake(ctx, by, id, d, "stocktake approved", func(l *StocktakeLine, now time.Time, _ *lineChange) string {
		if l.State == LineApproved && d.Send && (l.Send == "" || l.Send == SendRefused) {
			return e.sendLine(l, now)
		}
		if l.State != LineVariance {
			return fmt.Sprintf("is %s: there is no difference to approve", l.State)
		}
		for _, c := range l.Counts {
			if err := stock.CheckApproval(stock.Variance{CountedLine: c}, by.Name); err != nil {
				if f, ok := errors.AsType[*stock.FieldError](err); ok {
					return f.Reason
				}
				return err.Error()
			}
		}
		l.decide(LineApproved, now, by.Name)
		if d.Send {
			return e.sendLine(l, now)
		}
		return ""
	}, func(l *StocktakeLine) bool {
		return l.State == LineVariance || d.Send && l.State == LineApproved && l.Send == ""
	})
}

// sendLine puts a difference on its way; it returns why that cannot be.
func (e *Engine) sendLine(l *StocktakeLine, now time.Time) string {
	if r := e.records[l.Connection]; r == nil || !r.can().CorrectStock {
		return fmt.Sprintf("cannot be sent: %s takes no corrections; approve it without, enter it there by hand, then tell that it is booked", l.Connection)
	}
	l.Send, l.DueAt, l.Error = SendDue, now, ""
	return ""
}

// RejectStocktake drops differences: nothing is posted, and the books stand.
func (e *Engine) RejectStocktake(ctx context.Context, by Actor, id int64, d StocktakeDecision) (CountsView, error) {
	return e.decideStocktake(ctx, by, id, d, "stocktake rejected", func(l *StocktakeLine, now time.Time, _ *lineChange) string {
		if l.State != LineVariance && l.State != LineRecount {
			return fmt.Sprintf("is %s: there is no difference to reject", l.State)
		}
		l.decide(LineRejected, now, by.Name)
		return ""
	}, func(l *StocktakeLine) bool { return l.State == LineVariance })
}

// BookStocktake notes that somebody has entered differences at the system of record by hand: what it states from now on
// contains them.
func (e *Engine) BookStocktake(ctx context.Context, by Actor, id int64, d StocktakeDecision) (CountsView, error) {
	return e.decideStocktake(ctx, by, id, d, "stocktake booked by hand", func(l *StocktakeLine, now time.Time, made *lineChange) string {
		if l.State != LineApproved || l.Send != "" && l.Send != SendRefused {
			return fmt.Sprintf("is %s%s: there is nothing that a person has to enter", l.State, suffix(", ", string(l.Send)))
		}
		ev, err := bookedEvent(l, stock.Position{SeenAt: now})
		if err != nil {
			return err.Error()
		}
		l.Send, l.Error = SendByHand, ""
		made.events = append(made.events, ev)
		return ""
	}, func(l *StocktakeLine) bool {
		return l.State == LineApproved && (l.Send == "" || l.Send == SendRefused)
	})
}

// decideStocktake decides lines. decide changes a line, or says why it cannot be decided so; waits says which lines are
// meant when none are named.
func (e *Engine) decideStocktake(ctx context.Context, by Actor, id int64, d StocktakeDecision, action string, decide func(l *StocktakeLine, now time.Time, made *lineChange) string, waits func(l *StocktakeLine) bool) (CountsView, error) {
	view := CountsView{Stocktake: eventReference(id), States: map[StocktakeState]int{}, Errors: []RowErrorView{}}
	if err := e.rememberedCapabilities(ctx); err != nil {
		return view, fmt.Errorf("load what the connections can do: %w", err)
	}
	switch {
	case d.CountReason != "" && !slices.Contains(CountReasons, d.CountReason):
		return view, &stock.FieldError{Field: "reason", Reason: fmt.Sprintf("is %q: write one of %s", d.CountReason, strings.Join(CountReasons, ", "))}
	case d.CountReason == otherReason && d.Note == "":
		return view, &stock.FieldError{Field: "note", Reason: "is missing: the reason other needs one"}
	}
	now := time.Now().UTC()
	err := e.changeStocktake(ctx, id, &view, func(tx StocktakeTx, s *Stocktake) (made lineChange, err error) {
		byN := make(map[int]*StocktakeLine, len(s.Lines))
		for _, l := range s.Lines {
			byN[l.N] = l
			if _, err := l.look(tx, s.Rule); err != nil {
				return made, err
			}
		}
		lines := d.Lines
		if len(lines) == 0 {
			for _, l := range s.Lines {
				if waits(l) {
					lines = append(lines, l.N)
				}
			}
			if len(lines) == 0 {
				return made, fmt.Errorf("%w: no line waits for this", ErrInvalid)
			}
		}
		made.touched = make(map[int]bool, len(lines))
		var done []map[string]any
		for _, n := range lines {
			l, reason := byN[n], ""
			switch {
			case l == nil:
				reason = "is not on the list"
			case made.touched[n]:
				reason = "is named twice"
			default:
				l.Reason, l.Note = cmp.Or(d.CountReason, l.Reason), cmp.Or(d.Note, l.Note)
				reason = decide(l, now, &made)
			}
			if reason != "" {
				view.Errors = append(view.Errors, RowErrorView{Line: n, Field: "line", Reason: reason})
				continue
			}
			made.touched[n] = true
			done = append(done, map[string]any{"line": n, "sku": l.SKU, "location": l.Location, "difference": l.Difference, "reason": l.Reason, "note": l.Note, "send": l.Send})
		}
		entry := act(now, by.Name, action, stocktakeSubject(id), nil, done)
		entry.Reason = by.Reason
		made.acts = []AuditEntry{entry}
		return made, nil
	})
	return view, err
}

// --- plans ----------------------------------------------------------------------------------------------------------

// stocktakePass makes the count lists that are due. That an occurrence makes one list, over restarts, downtime and several
// processes, is decided by its row, which is stored with the list. It returns how long it is until the next.
func (e *Engine) stocktakePass(ctx context.Context) (time.Duration, error) {
	d, err := e.settingsNow(ctx)
	if err != nil {
		return 0, err
	}
	now := time.Now().UTC()
	wait := e.timings.Look
	for name, versions := range d.versionsOf(StocktakeSetting) {
		last, err := e.store.LastOccurrence(ctx, stocktakeJob(name))
		if err != nil {
			return 0, fmt.Errorf("look up the last list of the plan %s: %w", name, err)
		}
		for i, v := range versions {
			plan, ok := v.value.(StocktakePlan)
			if !ok || v.EffectiveAt.After(now) {
				continue
			}
			since, until := later(last, v.EffectiveAt), now
			if i+1 < len(versions) && !versions[i+1].EffectiveAt.After(now) {
				until = versions[i+1].EffectiveAt.Add(-1)
			}
			calendar := plan.calendar(name)
			for _, w := range calendar.Begun(since, until) {
				if err := e.makePlanned(ctx, name, plan, w.Start.UTC()); err != nil {
					return 0, err
				}
			}
			for _, w := range calendar.Containing(now) {
				if until := w.End.Sub(now); i == len(versions)-1 && until < wait {
					wait = max(until, time.Millisecond)
				}
			}
		}
	}
	return wait, nil
}

func stocktakeJob(plan string) string { return "stocktake " + plan }

// versionsOf are all versions of each setting of a kind, by the instant from which they are in force; of several from the
// same instant only the newest.
func (d *decisions) versionsOf(kind SettingKind) map[string][]decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[string][]decision, len(d.values[kind]))
	for key, versions := range d.values[kind] {
		var kept []decision
		for _, v := range versions {
			if n := len(kept); n > 0 && kept[n-1].EffectiveAt.Equal(v.EffectiveAt) {
				kept = kept[:n-1]
			}
			kept = append(kept, v)
		}
		out[key] = kept
	}
	return out
}

// halfDay is how much earlier than its days after the last list a line is due: two lists at one reading of the clock are
// not always whole days apart.
const halfDay = 12 * time.Hour

// makePlanned makes the list of an occurrence.
func (e *Engine) makePlanned(ctx context.Context, name string, plan StocktakePlan, occurrence time.Time) error {
	classes, err := e.classes(ctx, value(plan.Zone))
	if err != nil {
		return err
	}
	listed, err := e.store.ListedAt(ctx, name)
	if err != nil {
		return fmt.Errorf("look up the lists of the plan %s: %w", name, err)
	}
	from := make(map[LevelKey]CountedLevel)
	var items []stock.Countable
	err = e.countable(ctx, plan.Locations, func(l CountedLevel) {
		class := classes[l.SKU]
		if class == "" {
			class = stock.ClassC
		}
		from[l.LevelKey] = l
		items = append(items, stock.Countable{SKU: l.SKU, Location: l.Location, Class: class, CountedAt: listed[l.LevelKey]})
	})
	if err != nil {
		return err
	}
	due := plan.days().DueFor(items, occurrence.Add(halfDay))
	due = due[:min(len(due), maxCountLines)]
	levels := make([]CountedLevel, len(due))
	for i, item := range due {
		levels[i] = from[LevelKey{item.SKU, item.Location}]
	}
	slices.SortFunc(levels, func(a, b CountedLevel) int {
		return cmp.Or(cmp.Compare(a.Location, b.Location), cmp.Compare(a.SKU, b.SKU))
	})
	s := Stocktake{Plan: name, Occurrence: occurrence, Rule: plan.rule(), MadeAt: time.Now().UTC(), MadeBy: "plan " + name, Lines: linesOf(levels)}
	if _, err := e.store.MakeStocktake(ctx, s, stocktakeJob(name)); err != nil {
		return fmt.Errorf("make the list of the plan %s for %s: %w", name, occurrence.Format(time.RFC3339), err)
	}
	return nil
}

// classes are the ABC classes by what was sold on the last 90 days of a zone; what was not sold has none.
func (e *Engine) classes(ctx context.Context, zone stock.Zone) (map[stock.SKU]stock.ABC, error) {
	now := time.Now().UTC()
	q := AnalysisQuery{Name: "abc", Zone: zone, To: zone.DateOf(now)}
	q.From = q.To.Add(1 - velocityDays)
	r := &analysisRun{engine: e, ctx: ctx, q: q, from: q.From, end: now}
	var err error
	if r.settings, err = e.settingsNow(ctx); err != nil {
		return nil, err
	}
	if err := r.allSales(); err != nil {
		return nil, fmt.Errorf("sort the articles into classes: %w", err)
	}
	return r.classes, nil
}
