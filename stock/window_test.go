package stock_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestCalendarValidate(t *testing.T) {
	tests := []struct {
		calendar stock.Calendar
		want     string
	}{
		{stock.Calendar{Period: stock.Daily}, "resource is empty: say what the calendar counts"},
		{stock.Calendar{Resource: "api"}, `period is "": write daily, weekly, monthly or hours`},
		{stock.Calendar{Resource: "api", Period: stock.Daily, At: stock.EndOfDay}, "at is 24:00: it must be from 00:00 to 23:59:59"},
		{stock.Calendar{Resource: "api", Period: stock.Weekly, Weekday: 7}, "weekday is %!Weekday(7): it must be from Sunday to Saturday"},
		{stock.Calendar{Resource: "api", Period: stock.Monthly}, "day is 0: it must be from 1 to 31"},
		{stock.Calendar{Resource: "api", Period: stock.Hours}, "openings is empty: a calendar of hours has at least one"},
		{stock.Calendar{Resource: "api", Period: stock.Hours, Openings: []stock.Opening{{Weekday: 1, From: 3600, To: 3600}}},
			"openings[0] is from 01:00 to 01:00: a window has a length"},
		{stock.Calendar{Resource: "api", Period: stock.Hours, Openings: []stock.Opening{{Weekday: 1, From: 3600, To: 7200}, {Weekday: 1, From: 3600, To: 7200}}},
			"openings[1] is there twice"},
		{stock.Calendar{Resource: "api", Period: stock.Hours, Openings: []stock.Opening{{Weekday: 1, From: 3600, To: 7200}, {Weekday: 1, From: 3600, To: 9000}}},
			"openings[1] begins with another at 01:00 on Monday: the start is a window's identity"},
		{stock.Calendar{Resource: "api", Period: stock.Hours, Openings: []stock.Opening{{Weekday: 1, From: -1, To: 7200}}},
			"openings[0].from is 00:00:-1: it must be from 00:00 to 23:59:59"},
	}
	for _, tt := range tests {
		if err := tt.calendar.Validate(); err == nil || err.Error() != tt.want {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

func TestBetween(t *testing.T) {
	monthly := func(day int, c stock.Clock) stock.Calendar {
		return stock.Calendar{Resource: "r", Period: stock.Monthly, Day: day, At: c}
	}
	berlin := zone(t, "Europe/Berlin")
	tests := []struct {
		title      string
		calendar   stock.Calendar
		start, end string
		want       []string // start/end
	}{
		{"the 23 hours of a day", stock.Calendar{Resource: "r", Zone: berlin, Period: stock.Daily}, "2026-03-29T12:00:00Z", "2026-03-29T12:00:01Z",
			[]string{"2026-03-28T23:00:00Z/2026-03-29T22:00:00Z"}},
		{"the 25 hours of a day", stock.Calendar{Resource: "r", Zone: berlin, Period: stock.Daily}, "2026-10-25T12:00:00Z", "2026-10-25T12:00:01Z",
			[]string{"2026-10-24T22:00:00Z/2026-10-25T23:00:00Z"}},
		{"a day that begins in the gap", stock.Calendar{Resource: "r", Zone: berlin, Period: stock.Daily, At: 9000}, "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z",
			[]string{"2026-03-28T01:30:00Z/2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z/2026-03-30T00:30:00Z"}},
		{"a day that begins in the doubled hour begins the first time", stock.Calendar{Resource: "r", Zone: berlin, Period: stock.Daily, At: 9000}, "2026-10-25T00:29:59Z", "2026-10-25T01:31:00Z",
			[]string{"2026-10-24T00:30:00Z/2026-10-25T00:30:00Z", "2026-10-25T00:30:00Z/2026-10-26T01:30:00Z"}},
		{"the skipped day of Samoa has no window", stock.Calendar{Resource: "r", Zone: zone(t, "Pacific/Apia"), Period: stock.Daily}, "2011-12-29T12:00:00Z", "2011-12-30T12:00:00Z",
			[]string{"2011-12-29T10:00:00Z/2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z/2011-12-31T10:00:00Z"}},
		{"weeks", stock.Calendar{Resource: "r", Period: stock.Weekly, Weekday: time.Monday}, "2026-11-25T00:00:00Z", "2026-11-30T00:00:00.000000001Z",
			[]string{"2026-11-23T00:00:00Z/2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z/2026-12-07T00:00:00Z"}},
		{"months from the 31st", monthly(31, 0), "2028-02-28T00:00:00Z", "2028-03-31T00:00:00Z",
			[]string{"2028-01-31T00:00:00Z/2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z/2028-03-31T00:00:00Z"}},
		{"a month over the year", monthly(15, 3600), "2026-12-20T00:00:00Z", "2027-01-15T01:00:00Z",
			[]string{"2026-12-15T01:00:00Z/2027-01-15T01:00:00Z"}},
		{"hours that overlap, and a night", stock.Calendar{Resource: "r", Period: stock.Hours, Openings: []stock.Opening{
			{Weekday: time.Monday, From: 9 * 3600, To: 13 * 3600}, {Weekday: time.Monday, From: 11 * 3600, To: 15 * 3600},
			{Weekday: time.Sunday, From: 22 * 3600, To: 6 * 3600}, {Weekday: time.Saturday, From: 20 * 3600, To: stock.EndOfDay}}},
			"2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z",
			[]string{"2026-11-22T22:00:00Z/2026-11-23T06:00:00Z", "2026-11-23T09:00:00Z/2026-11-23T13:00:00Z", "2026-11-23T11:00:00Z/2026-11-23T15:00:00Z",
				"2026-11-28T20:00:00Z/2026-11-29T00:00:00Z", "2026-11-29T22:00:00Z/2026-11-30T06:00:00Z"}},
		{"hours inside of the gap are not there", stock.Calendar{Resource: "r", Zone: berlin, Period: stock.Hours, Openings: []stock.Opening{{Weekday: time.Sunday, From: 2 * 3600, To: 3 * 3600}}},
			"2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z", nil},
		{"two that the gap moves to one start are the longer", stock.Calendar{Resource: "r", Zone: berlin, Period: stock.Hours, Openings: []stock.Opening{
			{Weekday: time.Sunday, From: 9000, To: 4 * 3600}, {Weekday: time.Sunday, From: 2 * 3600, To: 5 * 3600}}},
			"2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z", []string{"2026-03-29T01:00:00Z/2026-03-29T03:00:00Z"}},
		{"nothing between", stock.Calendar{Resource: "r", Period: stock.Daily}, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", nil},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			if err := tt.calendar.Validate(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range tt.calendar.Between(at(t, tt.start), at(t, tt.end)) {
				got = append(got, w.Start.Format(time.RFC3339)+"/"+w.End.Format(time.RFC3339))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("windows\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestEveryInstantHasOneWindow takes every zone around each of its clock changes from 2024 to 2030, a nanosecond and a
// second to either side of each boundary: every instant lies in exactly one window, the windows join without a gap, and
// each rolls over once.
func TestEveryInstantHasOneWindow(t *testing.T) {
	from, to := at(t, "2024-01-01T00:00:00Z"), at(t, "2031-01-01T00:00:00Z")
	boundaries := 0
	for i, id := range strings.Fields(zoneIDs) {
		z := zone(t, id)
		for change := from; ; {
			_, end := change.In(z.Location()).ZoneBounds()
			if end.IsZero() || !end.Before(to) {
				break
			}
			change = end
			calendars := []stock.Calendar{
				{Resource: "r", Zone: z, Period: stock.Daily},
				{Resource: "r", Zone: z, Period: stock.Daily, At: z.ClockOf(change)},
				{Resource: "r", Zone: z, Period: stock.Daily, At: z.ClockOf(change.Add(-30 * time.Minute))},
				{Resource: "r", Zone: z, Period: stock.Weekly, Weekday: z.DateOf(change).Weekday(), At: 9000},
				{Resource: "r", Zone: z, Period: stock.Monthly, Day: z.DateOf(change).Day, At: 9000},
			}
			// Two of the calendars for each zone: all five for all zones cost seconds and tell no more.
			for _, c := range []stock.Calendar{calendars[i%5], calendars[(i+2)%5]} {
				windows := c.Between(change.Add(-50*time.Hour), change.Add(50*time.Hour))
				for n, w := range windows {
					if n > 0 && !windows[n-1].End.Equal(w.Start) {
						t.Fatalf("%s %s: a window ends at %v and the next begins at %v", id, c.Period, windows[n-1].End, w.Start)
					}
					boundaries++
					for _, jump := range []time.Duration{-time.Second, -1, 0, 1, time.Second} {
						instant := w.Start.Add(jump)
						in := c.Containing(instant)
						if len(in) != 1 || !in[0].Contains(instant) {
							t.Fatalf("%s %s: %v lies in %v", id, c.Period, instant, in)
						}
						if begun := c.Begun(instant.Add(-1), instant); len(begun) != map[bool]int{true: 1}[jump == 0] {
							t.Fatalf("%s %s: at %v begins %v", id, c.Period, instant, begun)
						}
					}
				}
			}
		}
	}
	if boundaries < 10_000 {
		t.Fatalf("only %d boundaries were seen", boundaries)
	}
}

// TestRollOverIsAskedInAnyStep asks for the windows that began in any steps, with restarts and downtime: they are those
// of one question over all the time.
func TestRollOverIsAskedInAnyStep(t *testing.T) {
	ids := strings.Fields(zoneIDs)
	rapid.Check(t, func(t *rapid.T) {
		c := stock.Calendar{Resource: "r", Zone: zone(t, rapid.SampledFrom(ids).Draw(t, "zone")), Period: stock.Hours}
		for _, o := range rapid.SliceOfNDistinct(rapid.IntRange(0, 7*24-1), 1, 6, rapid.ID[int]).Draw(t, "openings") {
			from := stock.Clock(o % 24 * 3600)
			c.Openings = append(c.Openings, stock.Opening{Weekday: time.Weekday(o / 24), From: from, To: (from + 5400) % stock.EndOfDay})
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		start := time.Unix(rapid.Int64Range(1_704_067_200, 1_924_992_000).Draw(t, "start"), 0)
		now, got := start, []stock.Window(nil)
		for range 12 {
			next := now.Add(time.Duration(rapid.Int64Range(0, int64(60*time.Hour)).Draw(t, "step")))
			got = append(got, c.Begun(now, next)...)
			now = next
		}
		if want := c.Begun(start, now); !slices.Equal(got, want) {
			t.Fatalf("in steps %v, at once %v", got, want)
		}
	})
}

func TestCutOff(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	w := stock.Window{Resource: "visit", Start: at(t, "2026-03-30T08:00:00Z"), End: at(t, "2026-03-30T10:00:00Z")} // 10:00 there
	six := stock.Clock(18 * 3600)
	tests := []struct {
		cutOff stock.CutOff
		want   string
	}{
		{stock.CutOff{}, "2026-03-30T08:00:00Z"},
		{stock.CutOff{Lead: 36 * time.Hour}, "2026-03-28T20:00:00Z"},
		{stock.CutOff{Days: 1, At: &six}, "2026-03-29T16:00:00Z"},
		{stock.CutOff{Days: 2, At: &six}, "2026-03-28T17:00:00Z"}, // winter time
		{stock.CutOff{Days: 1, At: &six, Lead: 36 * time.Hour}, "2026-03-28T20:00:00Z"},
		{stock.CutOff{At: &six}, "2026-03-30T08:00:00Z"}, // never after the start
		{stock.CutOff{Days: 1, At: new(stock.Clock(9000))}, "2026-03-29T01:00:00Z"},
	}
	for _, tt := range tests {
		if err := tt.cutOff.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := tt.cutOff.Of(w, berlin); !got.Equal(at(t, tt.want)) {
			t.Errorf("%+v closes at %v, want %s", tt.cutOff, got, tt.want)
		}
	}
	for want, c := range map[string]stock.CutOff{
		"lead is -1s: it must not be negative":                               {Lead: -time.Second},
		"days is 1 without at: say at what time of that day the sale closes": {Days: 1},
		"days is -1: it must be from 0 to 3660":                              {Days: -1, At: &six},
		"at is 24:00:01: it must be from 00:00 to 24:00":                     {At: new(stock.EndOfDay + 1)},
	} {
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if err := (stock.Window{Resource: "r", Start: w.Start, End: w.Start}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "end is ") {
		t.Errorf("a window of no length: %v", err)
	}
}

// TestCalendarsAtEveryClockChange holds the windows of daily, weekly and monthly calendars, and of hours, against their
// definition around each clock change of every zone from 2024 to 2030: they follow each other without a gap, begin at the
// reading that the calendar names, and every instant lies in one.
func TestCalendarsAtEveryClockChange(t *testing.T) {
	from, to := at(t, "2024-01-01T00:00:00Z"), at(t, "2031-01-01T00:00:00Z")
	changes := 0
	for id := range strings.FieldsSeq(zoneIDs) {
		z := zone(t, id)
		for change := from; ; {
			_, end := change.In(z.Location()).ZoneBounds()
			if end.IsZero() || !end.Before(to) {
				break
			}
			change = end
			changes++
			for _, c := range []stock.Calendar{
				{Period: stock.Daily, At: z.ClockOf(change)}, {Period: stock.Daily, At: 2*3600 + 1800}, {Period: stock.Daily},
				{Period: stock.Weekly, Weekday: z.DateOf(change).Weekday()}, {Period: stock.Monthly, Day: 31},
			} {
				c.Resource, c.Zone = "r", z
				windows := c.Between(change.Add(-50*time.Hour), change.Add(50*time.Hour))
				for i, w := range windows {
					if i > 0 && !w.Start.Equal(windows[i-1].End) {
						t.Fatalf("%s: %s window from %v follows one until %v", id, c.Period, w.Start, windows[i-1].End)
					}
					if !w.Start.Equal(z.Instant(z.DateOf(w.Start), c.At)) && !w.Start.Equal(z.Instant(z.DateOf(w.Start).Add(-1), c.At)) {
						t.Fatalf("%s: %s window begins at %v, which is not the first instant of %v", id, c.Period, w.Start.In(z.Location()), c.At)
					}
					if l := w.Length(); c.Period == stock.Daily && (l < 20*time.Hour || l > 28*time.Hour) {
						t.Fatalf("%s: a day of %v from %v", id, l, w.Start)
					}
				}
				for _, instant := range []time.Time{change.Add(-time.Second), change, change.Add(time.Second)} {
					if n := len(c.Containing(instant)); n != 1 {
						t.Fatalf("%s: %v lies in %d %s windows", id, instant, n, c.Period)
					}
				}
			}
			// A shift over the change lasts as long as really passes, and a cut-off is never after the start.
			shift := stock.Calendar{Resource: "r", Zone: z, Period: stock.Hours, Openings: []stock.Opening{{Weekday: z.DateOf(change.Add(-6 * time.Hour)).Weekday(), From: 22 * 3600, To: 6 * 3600}}}
			for _, w := range shift.Between(change.Add(-24*time.Hour), change.Add(24*time.Hour)) {
				day := z.DateOf(w.Start)
				if !w.Start.Equal(z.Instant(day, 22*3600)) || !w.End.Equal(z.Instant(day.Add(1), 6*3600)) {
					t.Fatalf("%s: the night shift is from %v to %v", id, w.Start, w.End)
				}
				night := stock.Clock(2*3600 + 1800)
				for _, cut := range []stock.CutOff{{Lead: time.Hour}, {At: &night}, {Days: 1, At: &night, Lead: time.Hour}} {
					if closes := cut.Of(w, z); closes.After(w.Start) {
						t.Fatalf("%s: the sale of a window from %v closes at %v", id, w.Start, closes)
					}
				}
			}
		}
	}
	if changes < 2000 {
		t.Fatalf("only %d clock changes were seen", changes)
	}
}
