package stock_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestUsage(t *testing.T) {
	day := stock.Calendar{Resource: "api-calls", Zone: zone(t, "Europe/Berlin"), Period: stock.Daily}
	placed := at(t, "2026-11-25T22:59:58Z") // 23:59:58 there
	w, assumed, open := day.WindowOf(placed, at(t, "2026-11-25T23:00:20Z"))
	if !open || assumed || !w.End.Equal(at(t, "2026-11-25T23:00:00Z")) {
		t.Fatalf("the order of 23:59:58 belongs to %v, assumed %v, open %v", w, assumed, open)
	}
	if next, assumed, _ := day.WindowOf(time.Time{}, at(t, "2026-11-25T23:00:20Z")); !assumed || !next.Start.Equal(w.End) {
		t.Errorf("without an instant of the order: %v, assumed %v", next, assumed)
	}
	u := stock.Usage{Window: w, Cap: 50}
	accepted := 0
	for range 100 {
		if err := u.Admit(1, placed); err == nil {
			accepted++
		} else if !errors.Is(err, stock.ErrFull) {
			t.Fatal(err)
		}
	}
	if accepted != 50 || u.Left() != 0 {
		t.Errorf("100 orders against a cap of 50: %d accepted, %d left", accepted, u.Left())
	}
	// What a channel sold is counted even so, late or over the cap.
	if got, err := u.Count(3, placed, at(t, "2026-11-25T23:00:20Z")); err != nil || got != (stock.Counted{Late: true, Over: 3}) || u.Used != 53 {
		t.Errorf("a late order counts %+v, %v; used %d", got, err, u.Used)
	}
	if got := u.Return(1, w.ID(), w.End); got != 0 || u.Used != 53 {
		t.Errorf("after the end %d come back", got)
	}
	if got := u.Return(1, stock.WindowID{Resource: "api-calls", Start: w.End}, placed); got != 0 {
		t.Errorf("of another window %d come back", got)
	}
	local := w
	local.Start = local.Start.In(day.Zone.Location())
	if got := u.Return(5, local.ID(), w.End.Add(-1)); got != 5 || u.Used != 48 || u.Left() != 2 {
		t.Errorf("in the window %d come back, used %d", got, u.Used)
	}
	for _, err := range []error{u.Admit(0, placed), u.Admit(1, w.End), u.Admit(1, w.Start.Add(-1)), u.Admit(math.MaxInt64, placed)} {
		if _, ok := errors.AsType[*stock.FieldError](err); !ok {
			t.Errorf("error %v names no field", err)
		}
	}
	if _, err := u.Count(1, w.End, w.End); err == nil || !strings.HasPrefix(err.Error(), "placed_at is ") {
		t.Errorf("an order of another window is counted: %v", err)
	}
	closed := stock.Calendar{Resource: "r", Period: stock.Hours, Openings: []stock.Opening{{Weekday: time.Sunday, From: 0, To: 3600}}}
	if _, _, open := closed.WindowOf(placed, placed); open {
		t.Error("a window is open on Wednesday")
	}
}

// TestUsageNeverPassesTheCap admits and returns at random: what is admitted is never above the cap, and used is what was
// admitted less what came back.
func TestUsageNeverPassesTheCap(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		u := stock.Usage{Window: stock.Window{Resource: "r", Start: start, End: start.Add(time.Hour)}, Cap: stock.Quantity(rapid.Int64Range(0, 60).Draw(t, "cap"))}
		sum := stock.Quantity(0)
		for range 40 {
			q := stock.Quantity(rapid.Int64Range(-1, 30).Draw(t, "q"))
			now := start.Add(time.Duration(rapid.SampledFrom([]int64{-1, 0, 1, int64(time.Hour) - 1, int64(time.Hour), int64(time.Hour) + 1}).Draw(t, "now")))
			if rapid.Bool().Draw(t, "take") {
				if u.Admit(q, now) == nil {
					sum += q
				}
			} else {
				sum -= u.Return(q, u.Window.ID(), now)
			}
			if u.Used != sum || u.Used < 0 || u.Used > u.Cap {
				t.Fatalf("used %d of %d, admitted less returned %d", u.Used, u.Cap, sum)
			}
		}
	})
}

func TestSlots(t *testing.T) {
	window := func(resource string, from, to int) stock.Window {
		day := at(t, "2026-11-30T00:00:00Z")
		return stock.Window{Resource: resource, Start: day.Add(time.Duration(from) * time.Hour), End: day.Add(time.Duration(to) * time.Hour)}
	}
	shifts := []stock.Shift{{window("fitters", 8, 17), 4}, {window("fitters", 12, 20), 2}, {window("vans", 8, 20), 3}}
	installation := []stock.Need{{"fitters", 2}, {"vans", 1}}
	bookings := []stock.Booking{{window("fitters", 10, 12), 1}, {window("vans", 14, 15), 2}}
	early := at(t, "2026-11-29T00:00:00Z")
	tests := []struct {
		title    string
		from, to int
		want     stock.Quantity
	}{
		{"four fitters, three vans", 8, 10, 2},
		{"one fitter is away for part of the time", 9, 11, 1},
		{"both teams, three vans", 12, 14, 3},
		{"one van in the second hour", 13, 15, 1},
		{"only the late team", 17, 20, 1},
		{"nobody in the last hour", 19, 21, 0},
	}
	for _, tt := range tests {
		if got := stock.Slots(window("installation", tt.from, tt.to), installation, shifts, bookings, stock.CutOff{}, stock.Zone{}, early); got != tt.want {
			t.Errorf("%s: %d slots, want %d", tt.title, got, tt.want)
		}
	}
	// Two overlapping windows share the fitters: what is sold in one is missing in the other.
	sold := stock.Bookings(window("installation", 8, 10), installation, 2)
	if got := stock.Slots(window("installation", 9, 11), installation, shifts, append(sold, bookings...), stock.CutOff{}, stock.Zone{}, early); got != 0 {
		t.Errorf("beside a window that is sold out there are %d slots", got)
	}
	cut := stock.CutOff{Lead: 2 * time.Hour}
	for now, want := range map[string]stock.Quantity{"2026-11-30T05:59:59.999999999Z": 2, "2026-11-30T06:00:00Z": 0} {
		if got := stock.Slots(window("installation", 8, 10), installation, shifts, nil, cut, stock.Zone{}, at(t, now)); got != want {
			t.Errorf("at %s there are %d slots, want %d", now, got, want)
		}
	}
	if got := stock.Slots(window("x", 8, 10), nil, shifts, nil, stock.CutOff{}, stock.Zone{}, early); got != 0 {
		t.Errorf("a service that needs nothing has %d slots", got)
	}
	if got := stock.FreeFor("vans", window("x", 8, 8), shifts, nil); got != 0 {
		t.Errorf("in a window of no length %d are free", got)
	}
}

// TestSlotsNeverOverbook sells random overlapping windows as long as there are slots, and then looks at every hour.
func TestSlotsNeverOverbook(t *testing.T) {
	day := time.Unix(1_800_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		span := func(resource string) stock.Window {
			from := rapid.IntRange(0, 20).Draw(t, "from")
			return stock.Window{Resource: resource, Start: day.Add(time.Duration(from) * time.Hour), End: day.Add(time.Duration(from+rapid.IntRange(1, 6).Draw(t, "hours")) * time.Hour)}
		}
		resources := []string{"a", "b"}
		var shifts []stock.Shift
		for range 5 {
			shifts = append(shifts, stock.Shift{Window: span(rapid.SampledFrom(resources).Draw(t, "of")), Capacity: stock.Quantity(rapid.IntRange(0, 9).Draw(t, "capacity"))})
		}
		needs := []stock.Need{{Resource: "a", Units: stock.Quantity(rapid.IntRange(1, 3).Draw(t, "need"))}, {Resource: "b", Units: 1}}
		var bookings []stock.Booking
		for range 8 {
			w := span("service")
			if slots := stock.Slots(w, needs, shifts, bookings, stock.CutOff{}, stock.Zone{}, day.Add(-1)); slots > 0 {
				bookings = append(bookings, stock.Bookings(w, needs, stock.Quantity(rapid.Int64Range(1, int64(slots)).Draw(t, "sold")))...)
			}
		}
		for h := range 27 {
			now := day.Add(time.Duration(h) * time.Hour)
			for _, r := range resources {
				free := stock.Quantity(0)
				for _, s := range shifts {
					if s.Resource == r && s.Contains(now) {
						free += s.Capacity
					}
				}
				for _, b := range bookings {
					if b.Resource == r && b.Contains(now) {
						free -= b.Units
					}
				}
				if free < 0 {
					t.Fatalf("at hour %d %s is overbooked by %d", h, r, -free)
				}
			}
		}
	})
}

func TestLackingIsWhatIsBookedBeyondTheShifts(t *testing.T) {
	day := func(from, to int) stock.Window {
		at := func(hour int) time.Time { return time.Date(2026, 5, 4, hour, 0, 0, 0, time.UTC) }
		return stock.Window{Resource: "team", Start: at(from), End: at(to)}
	}
	shifts := []stock.Shift{{Window: day(8, 16), Capacity: 3}, {Window: day(10, 12), Capacity: 1}}
	bookings := []stock.Booking{{Window: day(8, 12), Units: 2}, {Window: day(11, 14), Units: 3}}
	for _, c := range []struct {
		w    stock.Window
		want stock.Quantity
	}{
		{day(8, 11), 0},  // 3 - 2
		{day(8, 12), 1},  // from 11 on 4 - 5
		{day(12, 14), 0}, // 3 - 3
		{day(13, 17), 0}, // at 16 nothing is there and nothing is booked
		{day(9, 9), 0},
	} {
		if got := stock.Lacking("team", c.w, shifts, bookings); got != c.want {
			t.Errorf("%d are lacking from %s to %s, want %d", got, c.w.Start, c.w.End, c.want)
		}
	}
}
