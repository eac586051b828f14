package stock

import (
	"fmt"
	"time"
)

// Zone is a time zone under the name by which it is stored: an IANA id such as Europe/Berlin, or UTC.
type Zone struct {
	location *time.Location
}

// ParseZone finds a zone by its id, in the table of zones that the program carries or the machine has. It refuses the
// empty id and Local, which mean another zone on another machine.
func ParseZone(id string) (Zone, error) {
	if id == "" || id == "Local" {
		return Zone{}, refuse("zone", "is %q: write UTC or a name such as Europe/Berlin", id)
	}
	location, err := time.LoadLocation(id)
	if err != nil {
		return Zone{}, refuse("zone", "is %q, which is not a time zone: write UTC or a name such as Europe/Berlin", id)
	}
	return Zone{location}, nil
}

// ZoneOf is the zone of the time package's location; nil is UTC.
func ZoneOf(location *time.Location) Zone { return Zone{location} }

// Location is the zone for the time package; that of the zero Zone is UTC.
func (z Zone) Location() *time.Location {
	if z.location == nil {
		return time.UTC
	}
	return z.location
}

// String returns the id.
func (z Zone) String() string { return z.Location().String() }

// MarshalText writes the id.
func (z Zone) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// UnmarshalText reads an id.
func (z *Zone) UnmarshalText(text []byte) (err error) {
	*z, err = ParseZone(string(text))
	return err
}

// Date is a day of the calendar, the same in every zone.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf is the day that the zone's calendar shows at t.
func (z Zone) DateOf(t time.Time) Date {
	year, month, day := t.In(z.Location()).Date()
	return Date{year, month, day}
}

// Add is the day a number of days later.
func (d Date) Add(days int) Date {
	year, month, day := time.Date(d.Year, d.Month, d.Day+days, 0, 0, 0, 0, time.UTC).Date()
	return Date{year, month, day}
}

// Weekday is the day's place in the week.
func (d Date) Weekday() time.Weekday {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Weekday()
}

// String writes the day as 2026-03-29.
func (d Date) String() string {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// MarshalText writes the day as String does.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a day that String wrote.
func (d *Date) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return refuse("date", "is %q: write it as 2026-03-29", text)
	}
	d.Year, d.Month, d.Day = t.Date()
	return nil
}

// Clock is a reading of a wall clock, in seconds since its midnight, from 0 to 86400; the last is the midnight at which
// the day ends.
type Clock int

// EndOfDay is the midnight at which a day ends, written 24:00.
const EndOfDay Clock = 86_400

// ParseClock reads 14:30 or 14:30:15, up to 24:00.
func ParseClock(text string) (Clock, error) {
	if text == "24:00" || text == "24:00:00" {
		return EndOfDay, nil
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil && len(text) == len(layout) {
			return Clock(t.Hour()*3600 + t.Minute()*60 + t.Second()), nil
		}
	}
	return 0, refuse("clock", "is %q: write it as 14:30 or 14:30:15, up to 24:00", text)
}

// String writes the reading as ParseClock reads it.
func (c Clock) String() string {
	if c%60 != 0 {
		return fmt.Sprintf("%02d:%02d:%02d", c/3600, c/60%60, c%60)
	}
	return fmt.Sprintf("%02d:%02d", c/3600, c/60%60)
}

// MarshalText writes the reading as String does.
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what ParseClock reads.
func (c *Clock) UnmarshalText(text []byte) (err error) {
	*c, err = ParseClock(string(text))
	return err
}

// ClockOf is what the zone's wall clock shows at t, in whole seconds.
func (z Zone) ClockOf(t time.Time) Clock {
	hour, minute, second := t.In(z.Location()).Clock()
	return Clock(hour*3600 + minute*60 + second)
}

// Instant is the first instant at which the zone's wall clock has reached a reading, in UTC. A reading that the clock
// skips is reached at the first instant after the gap; one that it shows twice is reached the first time. So a later
// reading is never reached at an earlier instant, and every day has one instant for every reading.
func (z Zone) Instant(d Date, c Clock) time.Time {
	// The reading as if the zone were UTC. The clock of no zone is more than a day off, so the search through the spans
	// of constant offset begins two days before.
	wall := time.Date(d.Year, d.Month, d.Day, 0, 0, int(c), 0, time.UTC).Unix()
	at := time.Unix(wall, 0).Add(-48 * time.Hour).In(z.Location())
	for {
		start, end := at.ZoneBounds()
		if !end.IsZero() && !end.After(at) {
			// Where a zone goes on by rule, package time ends the last span of a leap year at the beginning of 31 December.
			end = at.Add(24 * time.Hour)
		}
		_, offset := at.Zone()
		reached := time.Unix(wall-int64(offset), 0)
		switch {
		case !start.IsZero() && reached.Before(start):
			return start.UTC()
		case end.IsZero() || reached.Before(end):
			return reached.UTC()
		}
		at = end
	}
}
