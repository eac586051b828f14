package stock

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Window is a span of time for which a resource is counted: from Start up to, and not including, End. Resource and
// Start are its identity: however often it is computed, it is the same window.
type Window struct {
	Resource string    `json:"resource"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
}

// WindowID is the identity of a window. Start is in UTC, so that two ids of one window are equal.
type WindowID struct {
	Resource string
	Start    time.Time
}

// ID returns the window's identity.
func (w Window) ID() WindowID { return WindowID{w.Resource, w.Start.UTC()} }

// Contains reports whether t lies in the window.
func (w Window) Contains(t time.Time) bool { return !t.Before(w.Start) && t.Before(w.End) }

// Length is the time that really passes in the window: 23 or 25 hours on the days on which the clocks change.
func (w Window) Length() time.Duration { return w.End.Sub(w.Start) }

// Overlaps reports whether two windows share an instant.
func (w Window) Overlaps(o Window) bool { return w.Start.Before(o.End) && o.Start.Before(w.End) }

// Validate refuses a window without a resource or without length.
func (w Window) Validate() error {
	switch {
	case w.Resource == "":
		return refuse("resource", "is empty: say what the window counts")
	case !w.Start.Before(w.End):
		return refuse("end", "is %s and start is %s: a window ends after its start", w.End.UTC().Format(time.RFC3339), w.Start.UTC().Format(time.RFC3339))
	}
	return nil
}

// Period is how often a calendar begins a new window.
type Period string

// The periods. Under Hours the windows are those of the calendar's list, with time between them or overlapping;
// under the others each window ends where the next begins.
const (
	Daily   Period = "daily"
	Weekly  Period = "weekly"
	Monthly Period = "monthly"
	Hours   Period = "hours"
)

// Opening is a window of the week: from a reading of the clock on a weekday to a later one, which is on the next day
// when it is not after the first.
type Opening struct {
	Weekday time.Weekday `json:"weekday"`
	From    Clock        `json:"from"`
	To      Clock        `json:"to"`
}

// Calendar makes the windows of one resource. Its readings are of the zone's wall clock.
type Calendar struct {
	Resource string `json:"resource"`
	Zone     Zone   `json:"zone"`
	Period   Period `json:"period"`
	// At is the reading at which a daily, weekly or monthly window begins, 00:00 to 23:59:59.
	At Clock `json:"at,omitempty"`
	// Weekday is the day on which a weekly window begins.
	Weekday time.Weekday `json:"weekday,omitempty"`
	// Day is the day on which a monthly window begins, from 1 to 31: in a shorter month its last day.
	Day int `json:"day,omitempty"`
	// Openings are the windows under Hours.
	Openings []Opening `json:"openings,omitempty"`
}

// Validate names the first field that makes no sense.
func (c Calendar) Validate() error {
	if c.Resource == "" {
		return refuse("resource", "is empty: say what the calendar counts")
	}
	if err := between("at", c.At, 0, EndOfDay-1); err != nil {
		return err
	}
	switch c.Period {
	case Daily:
	case Weekly:
		return between("weekday", c.Weekday, time.Sunday, time.Saturday)
	case Monthly:
		return between("day", int64(c.Day), 1, 31)
	case Hours:
		if len(c.Openings) == 0 {
			return refuse("openings", "is empty: a calendar of hours has at least one")
		}
		for i, o := range c.Openings {
			field := fmt.Sprintf("openings[%d]", i)
			if err := firstOf(
				between(field+".weekday", o.Weekday, time.Sunday, time.Saturday),
				between(field+".from", o.From, 0, EndOfDay-1),
				between(field+".to", o.To, 0, EndOfDay),
			); err != nil {
				return err
			}
			switch {
			case o.From == o.To:
				return refuse(field, "is from %s to %s: a window has a length", o.From, o.To)
			case slices.Contains(c.Openings[:i], o):
				return refuse(field, "is there twice")
			}
			for _, other := range c.Openings[:i] {
				if other.Weekday == o.Weekday && other.From == o.From {
					return refuse(field, "begins with another at %s on %s: the start is a window's identity", o.From, o.Weekday)
				}
			}
		}
	default:
		return refuse("period", "is %q: write daily, weekly, monthly or hours", c.Period)
	}
	return nil
}

// Between lists the windows that share an instant with the span from start up to end, by their start. A window that the
// zone leaves no time for, because its clock skips all of it, is not there. The calendar passes Validate.
func (c Calendar) Between(start, end time.Time) []Window {
	if !start.Before(end) {
		return nil
	}
	span := Window{Start: start, End: end}
	var out []Window
	add := func(from, to time.Time) {
		w := Window{Resource: c.Resource, Start: from, End: to}
		if w.Start.Before(w.End) && w.Overlaps(span) {
			out = append(out, w)
		}
	}
	// A window begins at most a period before the span; a margin of days bears every zone's offset.
	first, last := c.Zone.DateOf(start).Add(-2), c.Zone.DateOf(end).Add(2)
	if c.Period == Hours {
		for d := first; !after(d, last); d = d.Add(1) {
			for _, o := range c.Openings {
				if o.Weekday != d.Weekday() {
					continue
				}
				ends := d
				if o.To <= o.From {
					ends = d.Add(1)
				}
				add(c.Zone.Instant(d, o.From), c.Zone.Instant(ends, o.To))
			}
		}
	} else {
		for d := c.begin(first); !after(d, last); {
			next := c.next(d)
			add(c.Zone.Instant(d, c.At), c.Zone.Instant(next, c.At))
			d = next
		}
	}
	slices.SortStableFunc(out, func(a, b Window) int {
		return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End))
	})
	// Two openings that a gap of the clock moves to one start are one window, as long as the longer.
	merged := out[:0]
	for _, w := range out {
		if n := len(merged); n > 0 && merged[n-1].Start.Equal(w.Start) {
			merged[n-1] = w
			continue
		}
		merged = append(merged, w)
	}
	return merged
}

// Containing lists the windows that contain t: one under Daily, Weekly and Monthly, any number under Hours.
func (c Calendar) Containing(t time.Time) []Window { return c.Between(t, t.Add(1)) }

// begin is the day on which the window that contains the day d begins.
func (c Calendar) begin(d Date) Date {
	switch c.Period {
	case Weekly:
		return d.Add(-int((d.Weekday() - c.Weekday + 7) % 7))
	case Monthly:
		if b := c.inMonth(d.Year, d.Month); !after(b, d) {
			return b
		}
		return c.inMonth(d.Year, d.Month-1)
	default:
		return d
	}
}

// next is the day on which the window after the one that begins on d begins.
func (c Calendar) next(d Date) Date {
	switch c.Period {
	case Weekly:
		return d.Add(7)
	case Monthly:
		return c.inMonth(d.Year, d.Month+1)
	default:
		return d.Add(1)
	}
}

// inMonth is the day of a month on which a monthly window begins.
func (c Calendar) inMonth(year int, month time.Month) Date {
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC)
	y, m, d := last.Date()
	return Date{y, m, min(d, c.Day)}
}

func after(a, b Date) bool {
	return cmp.Or(cmp.Compare(a.Year, b.Year), cmp.Compare(a.Month, b.Month), cmp.Compare(a.Day, b.Day)) > 0
}

// Begun lists the windows that began after the instant since and not after now, by their start: what is to be rolled over.
// Asked again from where it was asked to, it lists none of them again and leaves none out.
func (c Calendar) Begun(since, now time.Time) []Window {
	windows := c.Between(since, now.Add(1))
	return slices.DeleteFunc(windows, func(w Window) bool { return !w.Start.After(since) || w.Start.After(now) })
}

// CutOff is until when a window can still be sold before it begins. The zero value sells until the start.
type CutOff struct {
	// Lead is real time before the start.
	Lead time.Duration `json:"lead,omitempty"`
	// Days and At close the sale at a reading of the clock a number of days before the day on which the window begins;
	// nil means that only Lead counts. Where both are given, the earlier one counts.
	Days int    `json:"days,omitempty"`
	At   *Clock `json:"at,omitempty"`
}

// Validate names the first field that makes no sense.
func (c CutOff) Validate() error {
	if c.Lead < 0 {
		return refuse("lead", "is %s: it must not be negative", c.Lead)
	}
	if c.At == nil && c.Days != 0 {
		return refuse("days", "is %d without at: say at what time of that day the sale closes", c.Days)
	}
	if c.At != nil {
		return firstOf(between("at", *c.At, 0, EndOfDay), between("days", int64(c.Days), 0, 3660))
	}
	return nil
}

// Of is the instant from which a window is no longer sold. It is never after the window's start.
func (c CutOff) Of(w Window, zone Zone) time.Time {
	closes := w.Start.Add(-c.Lead)
	if c.At != nil {
		if at := zone.Instant(zone.DateOf(w.Start).Add(-c.Days), *c.At); at.Before(closes) {
			closes = at
		}
	}
	return closes.UTC()
}
