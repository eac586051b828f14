package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/truestock/truestock/stock"
)

// Schedule is a job that runs by the clock.
type Schedule struct {
	Job string
	// Zone is the zone whose wall clock the specification means.
	Zone *time.Location
	spec cron.Schedule
}

// NewSchedule reads a specification in cron's five fields, such as "0 2 * * *", or one of its words, such as @daily.
func NewSchedule(job, spec string, zone *time.Location) (Schedule, error) {
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q of %s: %w; write five fields, for example \"0 2 * * *\" for two o'clock every night", spec, job, err)
	}
	if _, every := parsed.(cron.ConstantDelaySchedule); every {
		return Schedule{}, fmt.Errorf("schedule %q of %s: @every depends on the moment of the start, so its occurrences have no name; write five fields, for example \"*/30 * * * *\"", spec, job)
	}
	return Schedule{Job: job, Zone: zone, spec: parsed}, nil
}

// Next is the first occurrence after the instant given. An occurrence is a reading of the wall clock of the schedule's
// zone. One that the clock skips happens at the first instant after the gap, one that the clock shows twice happens the
// first time: cron alone would leave out the one and repeat the other.
func (s Schedule) Next(after time.Time) time.Time {
	zone, wall := stock.ZoneOf(s.Zone), after.In(s.Zone)
	// The search runs on a clock without gaps that shows what the zone's clock shows; a day earlier, since the gap or
	// the repeat may lie between.
	clock := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, time.UTC).Add(-25 * time.Hour)
	for range 100_000 {
		clock = s.spec.Next(clock)
		if clock.IsZero() {
			return time.Time{} // the specification names no day that exists
		}
		year, month, day := clock.Date()
		reading := stock.Clock(clock.Hour()*3600 + clock.Minute()*60 + clock.Second())
		if at := zone.Instant(stock.Date{Year: year, Month: month, Day: day}, reading); at.After(after) {
			return at
		}
	}
	return time.Time{}
}

// keepSchedule runs the schedule's job until ctx ends. The clock only wakes it: that an occurrence runs once, over
// restarts, downtime and several processes, is decided by who inserts its row. Occurrences that were missed are claimed
// together and run as one.
func (e *Engine) keepSchedule(ctx context.Context, s Schedule) {
	for ctx.Err() == nil {
		wait, err := e.runDue(ctx, s, time.Now().UTC())
		if err != nil && ctx.Err() == nil {
			e.log.Error("schedule failed, will try again", "job", s.Job, "error", err)
			wait = e.timings.RetryMax
		}
		newSignal().wait(ctx, max(time.Millisecond, min(wait, time.Minute)))
	}
}

// runDue runs the job when an occurrence is due that nobody has claimed, and says how long it is until the next.
func (e *Engine) runDue(ctx context.Context, s Schedule, now time.Time) (time.Duration, error) {
	last, err := e.store.LastOccurrence(ctx, s.Job)
	if err != nil {
		return 0, fmt.Errorf("look up the last occurrence of %s: %w", s.Job, err)
	}
	if last.IsZero() {
		// The first start of all: nothing was missed. The row marks from when on occurrences count.
		last = now
		if _, err := e.store.ClaimOccurrence(ctx, s.Job, now, now); err != nil {
			return 0, fmt.Errorf("begin the schedule of %s: %w", s.Job, err)
		}
	}
	claimed := false
	next := s.Next(last)
	for !next.IsZero() && !next.After(now) {
		ours, err := e.store.ClaimOccurrence(ctx, s.Job, next, now)
		if err != nil {
			return 0, fmt.Errorf("claim an occurrence of %s: %w", s.Job, err)
		}
		claimed = claimed || ours
		next = s.Next(next)
	}
	if claimed {
		for {
			_, err := e.Reconcile(ctx, "schedule "+s.Job, false)
			if err == nil {
				break
			}
			if !errors.Is(err, ErrInvalid) || ctx.Err() != nil {
				return 0, err
			}
			newSignal().wait(ctx, e.timings.RetryMax) // another process reconciles; the occurrence is ours and waits
		}
	}
	if next.IsZero() {
		return time.Hour, nil
	}
	return next.Sub(now), nil
}
