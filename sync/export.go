package sync

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// export is everything that a system of record told when it was asked for all of its levels. It is gathered whole before
// anything of it is taken, since only the whole shows whether it is one to believe.
type export struct {
	rows     []connectors.Statement
	position stock.Position
	count    int // how many rows the source announced; negative: it announced nothing
	began    time.Time
}

// newerExport is who ends a held plan whose export a newer one replaced.
const newerExport = "truestock, because a newer export says otherwise"

// factsKey begins the keys of events that we make of what we asked for; approvedName goes on in those whose facts were
// held back and then approved by a person.
const (
	factsKey     = "poll:"
	approvedName = "plan:"
)

// approvedFacts says that a person approved what an event tells: no guard asks about it again.
func approvedFacts(ev NewEvent) bool {
	return ev.Format == FactsFormat && strings.HasPrefix(ev.Key, factsKey+approvedName)
}

// takeExport stores the rows of an export, each for itself: a row that is missing says nothing, least of all zero. An
// export of an older position than the one before says nothing new; one that is not whole opens an incident; rows that
// many at once fall, rise or move to another location wait as a held plan for a person.
func (e *Engine) takeExport(ctx context.Context, r *recordState, x export) error {
	older, err := e.olderExport(ctx, r, x)
	if err != nil || older {
		return err
	}
	rows, contradictions := distinct(x.rows)
	if err := e.judgeExport(ctx, r, x, len(rows), contradictions); err != nil {
		return err
	}
	taken, plan, err := e.guardExport(ctx, r, x, rows)
	if err != nil {
		return err
	}
	if err := e.storeLevels(ctx, r.id, taken, x.position, x.began); err != nil {
		return err
	}
	if err := e.holdExport(ctx, r, plan); err != nil {
		return err
	}
	mark, err := json.Marshal(x.position)
	if err != nil {
		return fmt.Errorf("encode the position of the export of %s: %w", r.id, err)
	}
	if err := e.store.SetBookmark(ctx, r.id, exportFeed, string(mark)); err != nil {
		return fmt.Errorf("note the position of the export of %s: %w", r.id, err)
	}
	return nil
}

// olderExport reports whether an export is of an older position than the one before: that of the day before, or of a
// backup. Everything in it was overtaken, and an incident is open about it until a newer one comes.
func (e *Engine) olderExport(ctx context.Context, r *recordState, x export) (bool, error) {
	mark, err := e.store.Bookmark(ctx, r.id, exportFeed)
	if err != nil {
		return false, fmt.Errorf("look up the position of the last export of %s: %w", r.id, err)
	}
	var last stock.Position
	if mark != "" {
		if err := json.Unmarshal([]byte(mark), &last); err != nil {
			return false, fmt.Errorf("read the position of the last export of %s: %w", r.id, err)
		}
	}
	if !last.Supersedes(x.position) || last == (stock.Position{}) {
		return false, e.store.CloseIncident(ctx, IncidentStaleExport, string(r.id), x.began)
	}
	return true, e.store.OpenIncident(ctx, Incident{Kind: IncidentStaleExport, Subject: string(r.id), OpenedAt: x.began,
		Message: fmt.Sprintf("%s delivered levels of an older position (%s) than before (%s). Nothing of them was taken. Look at the export there, then reconcile again.",
			r.id, positionText(r.id, x.position), positionText(r.id, last))})
}

// distinct leaves one row of each article and location. Where the same one stands there twice with two quantities,
// neither is believed.
func distinct(all []connectors.Statement) (rows []connectors.Statement, contradictions int) {
	said := make(map[LevelKey]stock.Quantity, len(all))
	wrong := make(map[LevelKey]bool)
	for _, s := range all {
		key := levelOf(s)
		before, twice := said[key]
		said[key] = s.Quantity
		if twice && before != s.Quantity {
			wrong[key] = true
		}
		if !twice {
			rows = append(rows, s)
		}
	}
	return slices.DeleteFunc(rows, func(s connectors.Statement) bool { return wrong[levelOf(s)] }), len(wrong)
}

func levelOf(s connectors.Statement) LevelKey {
	return LevelKey{stock.SKU(s.SKU), stock.LocationID(s.Location)}
}

// judgeExport opens an incident about an export that is not whole, and closes it after one that is.
func (e *Engine) judgeExport(ctx context.Context, r *recordState, x export, rows, contradictions int) error {
	known, err := e.store.CountStatements(ctx, r.id)
	if err != nil {
		return fmt.Errorf("count the statements of %s: %w", r.id, err)
	}
	text := ""
	switch {
	case contradictions > 0:
		text = fmt.Sprintf("names two different quantities for %d articles", contradictions)
	case x.count >= 0 && rows < x.count:
		text = fmt.Sprintf("announced %d levels and delivered %d", x.count, rows)
	case rows == 0 && known > 0, r.limits.many(known-int64(rows), known):
		text = fmt.Sprintf("delivered %d levels, after %d that it has stated so far", rows, known)
	default:
		return e.store.CloseIncident(ctx, IncidentPartialExport, string(r.id), x.began)
	}
	return e.openExportIncident(ctx, r, x.began, text)
}

func (e *Engine) openExportIncident(ctx context.Context, r *recordState, at time.Time, text string) error {
	return e.store.OpenIncident(ctx, Incident{Kind: IncidentPartialExport, Subject: string(r.id), OpenedAt: at,
		Message: fmt.Sprintf("%s %s. Nothing was concluded from what is missing. Look at the export there, then reconcile again.", r.id, text)})
}

// suspects are rows of an export that change a number in one way, among the rows that could.
type suspects struct {
	rows []connectors.Statement
	of   int64
	what string
}

// guardExport parts the rows of an export that are taken from those that a person must see first.
func (e *Engine) guardExport(ctx context.Context, r *recordState, x export, rows []connectors.Statement) (taken []connectors.Statement, plan Plan, err error) {
	plan = Plan{Connection: r.id, State: PlanHeld, CreatedAt: x.began}
	held, have, err := e.suspectRows(ctx, r, rows)
	if err != nil {
		return nil, plan, err
	}
	waits := make(map[LevelKey]bool)
	for _, kind := range held {
		if !r.limits.many(int64(len(kind.rows)), kind.of) {
			continue
		}
		if plan.Reason != "" {
			plan.Reason += " "
		}
		plan.Reason += fmt.Sprintf("%d of %d levels of %s would have %s in one export: that looks like a mistake of the source. Approve it if it is true, reject it if not.", len(kind.rows), kind.of, r.id, kind.what)
		for _, s := range kind.rows {
			waits[levelOf(s)] = true
		}
	}
	for _, s := range rows {
		key := levelOf(s)
		if !waits[key] {
			taken = append(taken, s)
			continue
		}
		plan.Changes = append(plan.Changes, Change{Ref: connectors.Ref{Item: s.SKU, Place: s.Location}, Have: have[key], Target: s.Quantity})
		plan.Facts = append(plan.Facts, connectors.Fact{Kind: connectors.StockLevel, Position: x.position, Statement: &s})
	}
	return taken, plan, nil
}

// suspectRows compares the rows of an export with what is known. What orders have taken is no fall: a number is compared
// with what is available.
func (e *Engine) suspectRows(ctx context.Context, r *recordState, rows []connectors.Statement) (found []suspects, have map[LevelKey]*stock.Quantity, err error) {
	falls := suspects{what: fmt.Sprintf("fallen to zero or by %d of 1000 and more", r.limits.FallPermille)}
	rises := suspects{what: fmt.Sprintf("risen to %d times what they were, or more", r.limits.RiseFactor)}
	moves := suspects{what: "moved to a location that they never were at"}
	have = make(map[LevelKey]*stock.Quantity, len(rows))
	present := make(map[LevelKey]bool, len(rows))
	for _, s := range rows {
		present[levelOf(s)] = true
	}
	for chunk := range slices.Chunk(rows, comparePage) {
		skus := make(map[stock.SKU]bool, len(chunk))
		for _, s := range chunk {
			skus[stock.SKU(s.SKU)] = true
		}
		var levels map[LevelKey]*HeldLevel
		elsewhere := make(map[stock.SKU]bool) // stated so far, but at no location that the export names
		err := e.store.View(ctx, func(tx PlanTx) (err error) {
			sorted := sortedKeys(skus, cmp.Compare[stock.SKU])
			if levels, err = tx.Levels(sorted); err != nil {
				return err
			}
			statements, err := tx.Statements(sorted)
			named := make(map[stock.SKU]bool)
			for _, s := range statements {
				if s.Connection == r.id {
					have[s.LevelKey] = new(s.Quantity)
					elsewhere[s.SKU] = true
					named[s.SKU] = named[s.SKU] || present[s.LevelKey]
				}
			}
			for sku := range named {
				elsewhere[sku] = !named[sku]
			}
			return err
		})
		if err != nil {
			return nil, nil, fmt.Errorf("compare the export of %s with what is known: %w", r.id, err)
		}
		for _, s := range chunk {
			key := levelOf(s)
			if have[key] == nil {
				moves.of++
				if elsewhere[key.SKU] {
					moves.rows = append(moves.rows, s)
				}
				continue
			}
			level := levels[key]
			if level == nil {
				continue
			}
			if level.Available > 0 {
				falls.of++
				if r.limits.falls(level.Available, s.Quantity) {
					falls.rows = append(falls.rows, s)
				}
			}
			if norm := max(*have[key], level.Tracked()); norm > 0 {
				rises.of++
				if r.limits.rises(norm, s.Quantity) {
					rises.rows = append(rises.rows, s)
				}
			}
		}
	}
	return []suspects{falls, rises, moves}, have, nil
}

// holdExport holds the suspicious rows of the newest export, in place of those of an earlier one. What a person was
// shown already is not shown again: a held plan stays, and what was rejected stays rejected until it changes.
func (e *Engine) holdExport(ctx context.Context, r *recordState, plan Plan) error {
	held, err := e.store.PlansOf(ctx, r.id, PlanHeld)
	if err != nil {
		return fmt.Errorf("look for held plans of %s: %w", r.id, err)
	}
	for _, p := range held {
		if slices.EqualFunc(p.Changes, plan.Changes, sameChange) {
			return nil
		}
	}
	for _, p := range held {
		if err := e.store.DecidePlan(ctx, p.ID, PlanRejected, newerExport, plan.CreatedAt, nil); err != nil {
			return fmt.Errorf("replace plan %d of %s: %w", p.ID, r.id, err)
		}
	}
	if len(plan.Changes) == 0 {
		return nil
	}
	rejected, err := e.store.LastPlan(ctx, r.id, PlanRejected)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("look for the last rejected plan of %s: %w", r.id, err)
	}
	if err == nil && rejected.DecidedBy != newerExport && slices.EqualFunc(rejected.Changes, plan.Changes, sameChange) {
		return nil
	}
	id, err := e.store.HoldPlan(ctx, plan)
	if err != nil {
		return fmt.Errorf("hold a plan of %s: %w", r.id, err)
	}
	e.log.Warn("plan held", "connection", r.id, "plan", id, "levels", len(plan.Changes))
	return nil
}

func sameChange(a, b Change) bool {
	return a.Ref == b.Ref && a.Target == b.Target && sameQuantity(a.Have, b.Have)
}
