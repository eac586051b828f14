package stock_test

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

// zoneIDs are the ids of the IANA database, links included.
//
//go:embed testdata/zones.txt
var zoneIDs string

func zone(t interface {
	Helper()
	Fatal(...any)
}, id string) stock.Zone {
	t.Helper()
	z, err := stock.ParseZone(id)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func at(t interface {
	Helper()
	Fatal(...any)
}, text string) time.Time {
	t.Helper()
	instant, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return instant
}

func TestParseZoneRefuses(t *testing.T) {
	for _, id := range []string{"", "Local", "Europe/Atlantis", "CEST2", "../etc/passwd"} {
		if z, err := stock.ParseZone(id); err == nil || !strings.HasPrefix(err.Error(), "zone is ") {
			t.Errorf("zone %q is taken as %v, error %v", id, z, err)
		}
	}
	if (stock.Zone{}).String() != "UTC" {
		t.Error("the zero zone is not UTC")
	}
}

func TestClock(t *testing.T) {
	for text, want := range map[string]stock.Clock{"00:00": 0, "14:30": 52_200, "14:30:15": 52_215, "23:59:59": 86_399, "24:00": stock.EndOfDay} {
		got, err := stock.ParseClock(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s is read as %d (%v), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "7:30", "24:01", "12:60", "12:30:60", "12", "12:30 "} {
		if got, err := stock.ParseClock(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestZoneDateAndClockAreWrittenAndRead(t *testing.T) {
	type all struct {
		Zone  stock.Zone
		Date  stock.Date
		Clock stock.Clock
	}
	const text = `{"Zone":"Asia/Shanghai","Date":"2028-02-29","Clock":"08:00"}`
	var read all
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	if written, err := json.Marshal(read); err != nil || string(written) != text {
		t.Errorf("written %s, %v", written, err)
	}
	for _, bad := range []string{`{"Zone":"Mars"}`, `{"Date":"2026-02-29"}`, `{"Clock":"25:00"}`} {
		if err := json.Unmarshal([]byte(bad), &read); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestInstant(t *testing.T) {
	tests := []struct{ zone, date, clock, want string }{
		{"UTC", "2026-03-29", "02:30", "2026-03-29T02:30:00Z"},
		{"Europe/Berlin", "2026-03-28", "02:30", "2026-03-28T01:30:00Z"},
		// The clock goes from 02:00 to 03:00.
		{"Europe/Berlin", "2026-03-29", "01:59:59", "2026-03-29T00:59:59Z"},
		{"Europe/Berlin", "2026-03-29", "02:00", "2026-03-29T01:00:00Z"},
		{"Europe/Berlin", "2026-03-29", "02:30", "2026-03-29T01:00:00Z"},
		{"Europe/Berlin", "2026-03-29", "03:00", "2026-03-29T01:00:00Z"},
		{"Europe/Berlin", "2026-03-29", "03:30", "2026-03-29T01:30:00Z"},
		// From 03:00 back to 02:00: 02:30 comes twice, the first time in summer time.
		{"Europe/Berlin", "2026-10-25", "02:30", "2026-10-25T00:30:00Z"},
		{"Europe/Berlin", "2026-10-25", "03:00", "2026-10-25T02:00:00Z"},
		// There is no midnight on this day.
		{"America/Santiago", "2026-09-06", "00:00", "2026-09-06T04:00:00Z"},
		{"America/Santiago", "2026-09-06", "00:30", "2026-09-06T04:00:00Z"},
		{"America/Santiago", "2026-09-05", "24:00", "2026-09-06T04:00:00Z"},
		// Half an hour forward.
		{"Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30:00Z"},
		// A whole day that the calendar skips.
		{"Pacific/Apia", "2011-12-30", "12:00", "2011-12-30T10:00:00Z"},
		{"Pacific/Apia", "2011-12-31", "00:00", "2011-12-30T10:00:00Z"},
		{"Asia/Shanghai", "2026-11-11", "00:00", "2026-11-10T16:00:00Z"},
	}
	for _, tt := range tests {
		var d stock.Date
		if err := d.UnmarshalText([]byte(tt.date)); err != nil {
			t.Fatal(err)
		}
		c, err := stock.ParseClock(tt.clock)
		if err != nil {
			t.Fatal(err)
		}
		if got := zone(t, tt.zone).Instant(d, c); !got.Equal(at(t, tt.want)) || got.Location() != time.UTC {
			t.Errorf("%s on %s in %s is %v, want %s", tt.clock, tt.date, tt.zone, got, tt.want)
		}
	}
}

// reading is what a wall clock shows, as seconds on a line without gaps.
func reading(z stock.Zone, t time.Time) int64 {
	_, offset := t.In(z.Location()).Zone()
	return t.Unix() + int64(offset)
}

// TestInstantInEveryZone holds Instant against its definition around each clock change of every zone from 2024 to 2030:
// at the instant the clock has reached the reading, and never before it, back to two days before.
func TestInstantInEveryZone(t *testing.T) {
	from, to := at(t, "2024-01-01T00:00:00Z"), at(t, "2031-01-01T00:00:00Z")
	zones, changes := 0, 0
	for id := range strings.FieldsSeq(zoneIDs) {
		z := zone(t, id)
		zones++
		for change := from; ; {
			_, end := change.In(z.Location()).ZoneBounds()
			if end.IsZero() || !end.Before(to) {
				break
			}
			change = end
			changes++
			before, after := reading(z, change.Add(-time.Second))+1, reading(z, change)
			low, high := min(before, after), max(before, after)
			var last time.Time
			var readings []int64
			for _, edge := range []int64{low - 86_400, low, (low + high) / 2, high, high + 3600, high + 86_400} {
				readings = append(readings, edge-1, edge, edge+1)
			}
			slices.Sort(readings)
			for _, r := range readings {
				wall := time.Unix(r, 0).UTC()
				y, m, d := wall.Date()
				clock := stock.Clock(wall.Hour()*3600 + wall.Minute()*60 + wall.Second())
				got := z.Instant(stock.Date{Year: y, Month: m, Day: d}, clock)
				if reading(z, got) < wall.Unix() {
					t.Fatalf("%s: at %v the clock has not reached %v", id, got, wall)
				}
				for _, earlier := range []time.Duration{1, time.Second, 30 * time.Minute, time.Hour, 24 * time.Hour, 48 * time.Hour} {
					if e := got.Add(-earlier); reading(z, e) >= wall.Unix() {
						t.Fatalf("%s: the clock has reached %v at %v, before %v", id, wall, e, got)
					}
				}
				if got.Before(last) {
					t.Fatalf("%s: a later reading %v is reached earlier: %v, then %v", id, wall, last, got)
				}
				last = got
			}
		}
	}
	if zones < 500 || changes < 2000 {
		t.Fatalf("only %d zones with %d clock changes were seen", zones, changes)
	}
}

func TestInstantOnTheLastDayOfALeapYear(t *testing.T) {
	for _, id := range []string{"CET", "Pacific/Auckland", "America/New_York"} {
		z := zone(t, id)
		day := stock.Date{Year: 2040, Month: 12, Day: 31}
		if got, want := z.Instant(day, 12*3600), time.Date(2040, 12, 31, 12, 0, 0, 0, z.Location()); !got.Equal(want) {
			t.Errorf("noon of %v in %s is %v, want %v", day, id, got, want.UTC())
		}
	}
}

func TestInstantIsMonotonic(t *testing.T) {
	ids := strings.Fields(zoneIDs)
	rapid.Check(t, func(t *rapid.T) {
		z := zone(t, rapid.SampledFrom(ids).Draw(t, "zone"))
		start := stock.Date{Year: rapid.IntRange(1900, 2100).Draw(t, "year"), Month: 1, Day: 1}.Add(rapid.IntRange(0, 365).Draw(t, "day"))
		clocks := rapid.SliceOfN(rapid.IntRange(0, 86_400), 2, 2).Draw(t, "clocks")
		a := z.Instant(start, stock.Clock(min(clocks[0], clocks[1])))
		b := z.Instant(start, stock.Clock(max(clocks[0], clocks[1])))
		next := z.Instant(start.Add(1), 0)
		if b.Before(a) || next.Before(b) {
			t.Fatalf("on %v in %v: %v, %v, %v", start, z, a, b, next)
		}
		if !z.Instant(start, stock.EndOfDay).Equal(next) {
			t.Fatalf("%v ends at another instant than the next day begins", start)
		}
	})
}
