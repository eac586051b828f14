package sync_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/truestock/truestock/connectors/open"
	stocksync "github.com/truestock/truestock/sync"
)

func TestAScheduleAtTheClocksChanges(t *testing.T) {
	tests := []struct {
		title, spec, zone, after string
		want                     []string // in UTC
	}{
		{"every night", "0 2 * * *", "UTC", "2026-03-01T12:00:00Z", []string{"2026-03-02T02:00:00Z", "2026-03-03T02:00:00Z"}},
		{"the hour that Berlin skips happens after the gap", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"the hour that Berlin repeats happens the first time", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"asked in the repeated hour, the occurrence is over", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26T01:30:00Z"}},
		{"the midnight that Santiago skips", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z",
			[]string{"2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"}},
		{"an hour outside the gap is left alone", "0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"}},
		{"half an hour's shift", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
		{"every half hour through the gap", "*/30 1-3 * * *", "Europe/Berlin", "2026-03-29T00:15:00Z",
			[]string{"2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-29T23:00:00Z"}},
		{"mondays", "0 6 * * 1", "Asia/Shanghai", "2026-11-20T00:00:00Z", []string{"2026-11-22T22:00:00Z", "2026-11-29T22:00:00Z"}},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			s := schedule(t, tt.spec, tt.zone)
			at := instant(t, tt.after)
			for _, want := range tt.want {
				if at = s.Next(at); !at.Equal(instant(t, want)) {
					t.Fatalf("next is %s, want %s", at.Format(time.RFC3339), want)
				}
			}
		})
	}
}

// On every day of every zone a nightly schedule happens exactly once, whatever the clocks do.
func TestANightlyScheduleHappensOnceADayInEveryZone(t *testing.T) {
	from, to := instant(t, "2024-01-01T00:00:00Z"), instant(t, "2031-01-01T00:00:00Z")
	checked := 0
	for _, name := range zones(t) {
		zone, err := time.LoadLocation(name)
		if err != nil {
			continue
		}
		changes := clockChanges(zone, from, to)
		if len(changes) == 0 {
			continue
		}
		checked++
		for _, spec := range []string{"30 2 * * *", "0 0 * * *", "59 1 * * *"} {
			s, err := stocksync.NewSchedule("test", spec, zone)
			if err != nil {
				t.Fatal(err)
			}
			for _, change := range changes {
				days := map[string]int{}
				end := change.Add(72 * time.Hour)
				for at := s.Next(change.Add(-72 * time.Hour)); at.Before(end); at = s.Next(at) {
					days[at.In(zone).Format(time.DateOnly)]++
				}
				for day := change.Add(-48 * time.Hour); day.Before(change.Add(48 * time.Hour)); day = day.Add(6 * time.Hour) {
					date := day.In(zone).Format(time.DateOnly)
					if n := days[date]; n != 1 && !skippedDay(zone, date) {
						t.Errorf("%s in %s happens %d times on %s, around the change at %s", spec, name, n, date, change.Format(time.RFC3339))
					}
				}
			}
		}
	}
	if checked < 100 {
		t.Fatalf("only %d zones change their clocks from 2024 to 2030: is the zone database complete?", checked)
	}
}

func TestASpecificationThatMakesNoSenseIsRefused(t *testing.T) {
	for _, spec := range []string{"", "at two", "61 2 * * *", "0 2 * *", "@every 5m", "0 2 * * * *"} {
		if _, err := stocksync.NewSchedule("reconcile", spec, time.UTC); err == nil {
			t.Errorf("%q is taken", spec)
		}
	}
	never := schedule(t, "0 0 30 2 *", "UTC")
	if at := never.Next(instant(t, "2026-01-01T00:00:00Z")); !at.IsZero() {
		t.Errorf("the thirtieth of February is %s", at)
	}
}

// Restarts and downtime lose no night and double none.
func TestEveryOccurrenceRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}})
		defer h.close()
		h.schedules = []stocksync.Schedule{schedule(t, "0 2 * * *", "UTC")}
		h.start() // at midnight of 2000-01-01
		runs := func() int {
			n := 0
			for id := int64(1); ; id++ {
				if _, err := h.engine.Reconciliation(h.ctx, id); err != nil {
					return n
				}
				n++
			}
		}
		time.Sleep(time.Hour)
		if got := runs(); got != 0 {
			t.Fatalf("%d runs before the first night", got)
		}
		time.Sleep(2 * time.Hour)
		if got := runs(); got != 1 {
			t.Fatalf("%d runs after the first night, want 1", got)
		}
		h.restart()
		time.Sleep(time.Hour)
		if got := runs(); got != 1 {
			t.Fatalf("%d runs after a restart, want still 1", got)
		}
		h.stop()
		time.Sleep(70 * time.Hour) // three nights
		h.start()
		time.Sleep(30 * time.Minute)
		if got := runs(); got != 2 {
			t.Fatalf("%d runs after three missed nights, want one that makes up for them", got)
		}
		time.Sleep(24 * time.Hour)
		if got := runs(); got != 3 {
			t.Fatalf("%d runs after another night, want 3", got)
		}
	})
}

func schedule(t *testing.T, spec, zone string) stocksync.Schedule {
	t.Helper()
	location, err := time.LoadLocation(zone)
	must(t, err)
	s, err := stocksync.NewSchedule("test", spec, location)
	must(t, err)
	return s
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	must(t, err)
	return at
}

// zones lists the zone database of the toolchain or the system.
func zones(t *testing.T) []string {
	t.Helper()
	const root = "/usr/share/zoneinfo"
	var names []string
	for _, area := range []string{"Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Pacific"} {
		_ = filepath.WalkDir(filepath.Join(root, area), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				names = append(names, strings.TrimPrefix(path, root+"/"))
			}
			return nil
		})
	}
	if len(names) == 0 {
		if os.Getenv("TRUESTOCK_REQUIRE") == "all" {
			t.Fatalf("there is no zone database in %s: install tzdata", root)
		}
		t.Skipf("there is no zone database in %s to list the zones", root)
	}
	return names
}

// clockChanges are the instants between from and to at which a zone's offset changes.
func clockChanges(zone *time.Location, from, to time.Time) []time.Time {
	var changes []time.Time
	for at := from; at.Before(to); {
		_, end := at.In(zone).ZoneBounds()
		if end.IsZero() || !end.Before(to) {
			return changes
		}
		changes = append(changes, end)
		at = end
	}
	return changes
}

// skippedDay reports whether a zone's calendar lacks a day, or an hour at its edge that moves an occurrence to the next
// day.
func skippedDay(zone *time.Location, date string) bool {
	day, err := time.ParseInLocation(time.DateOnly, date, zone)
	return err != nil || day.Format(time.DateOnly) != date
}
