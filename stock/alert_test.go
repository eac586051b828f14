package stock_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestQuiet(t *testing.T) {
	night := stock.Quiet{Zone: zone(t, "Europe/Berlin"), From: 22 * 3600, To: 7 * 3600}
	for now, want := range map[string]string{
		"2026-11-25T20:59:59.999999999Z": "2026-11-25T20:59:59.999999999Z",
		"2026-11-25T21:00:00Z":           "2026-11-26T06:00:00Z",
		"2026-11-26T03:00:00Z":           "2026-11-26T06:00:00Z",
		"2026-11-26T05:59:59.999999999Z": "2026-11-26T06:00:00Z",
		"2026-11-26T06:00:00Z":           "2026-11-26T06:00:00Z",
		"2026-03-29T00:30:00Z":           "2026-03-29T05:00:00Z", // the clocks change in this night
		"2026-10-25T00:30:00Z":           "2026-10-25T06:00:00Z",
	} {
		if got := night.Until(at(t, now)); !got.Equal(at(t, want)) {
			t.Errorf("at %s it is quiet until %v, want %s", now, got, want)
		}
	}
	noon := stock.Quiet{From: 12 * 3600, To: 13 * 3600}
	if got := noon.Until(at(t, "2026-11-25T12:30:00Z")); !got.Equal(at(t, "2026-11-25T13:00:00Z")) {
		t.Errorf("at half past twelve it is quiet until %v", got)
	}
	if err := (stock.Quiet{From: 3600, To: 3600}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "quiet is from 01:00 to 01:00") {
		t.Errorf("a quiet time of no length: %v", err)
	}
}

func TestAlertRuleValidate(t *testing.T) {
	for want, r := range map[string]stock.AlertRule{
		"threshold is -1: it must be from 0 to 1000000000000":                            {Threshold: -1},
		"rearm is -1: it must be from 0 to 1000000000000":                                {Rearm: -1},
		"escalation has 1h0m0s as step 2: every step comes later than the one before it": {Escalation: []time.Duration{time.Hour, time.Hour}},
		"escalation has 0s as step 1: every step comes later than the one before it":     {Escalation: []time.Duration{0}},
		"quiet.to is 24:00:01: it must be from 00:00 to 24:00":                           {Quiet: &stock.Quiet{From: 1, To: stock.EndOfDay + 1}},
	} {
		if err := r.Validate(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestObserve(t *testing.T) {
	quiet := &stock.Quiet{From: 22 * 3600, To: 7 * 3600}
	escalating := []time.Duration{time.Hour, 4 * time.Hour}
	type look struct {
		at    string // on 25 or 26 November
		level stock.Quantity
		told  string // crossing and step
	}
	tests := []struct {
		title string
		rule  stock.AlertRule
		looks []look
	}{
		{"one crossing is one notice", stock.AlertRule{Threshold: 10, Rearm: 5}, []look{
			{"25T12:00", 10, ""}, {"25T12:01", 9, "1/0"}, {"25T12:02", 8, ""}, {"25T12:03", 10, ""}, {"25T12:04", 9, ""},
			{"25T12:05", 14, ""}, {"25T12:06", 9, ""}, {"25T12:07", 15, ""}, {"25T12:08", 9, "2/0"}, {"25T12:09", -3, ""}}},
		{"a quiet night", stock.AlertRule{Threshold: 10, Quiet: quiet}, []look{
			{"25T21:59", 10, ""}, {"25T22:00", 9, ""}, {"26T06:59", 9, ""}, {"26T07:00", 9, "1/0"}, {"26T07:01", 8, ""}}},
		{"over before the morning", stock.AlertRule{Threshold: 10, Quiet: quiet}, []look{
			{"25T22:00", 9, ""}, {"26T05:00", 10, ""}, {"26T07:00", 10, ""}, {"26T08:00", 9, "2/0"}}},
		{"escalation", stock.AlertRule{Threshold: 10, Escalation: escalating}, []look{
			{"25T12:00", 9, "1/0"}, {"25T12:59", 9, ""}, {"25T13:00", 9, "1/1"}, {"25T15:59", 9, ""}, {"25T16:00", 9, "1/2"}, {"25T23:00", 9, ""}}},
		{"after an outage only the last step", stock.AlertRule{Threshold: 10, Escalation: escalating}, []look{
			{"25T12:00", 9, "1/0"}, {"25T20:00", 9, "1/2"}, {"25T21:00", 9, ""}}},
		{"escalation waits for the morning", stock.AlertRule{Threshold: 10, Escalation: escalating, Quiet: quiet}, []look{
			{"25T21:30", 9, "1/0"}, {"25T22:30", 9, ""}, {"26T07:00", 9, "1/2"}}},
		{"acknowledged", stock.AlertRule{Threshold: 10, Escalation: escalating}, []look{
			{"25T12:00", 9, "1/0"}, {"25T12:30", 9, "acknowledge"}, {"25T20:00", 9, ""}, {"25T20:01", 10, ""}, {"25T20:02", 9, "2/0"}, {"25T21:02", 9, "2/1"}}},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			if err := tt.rule.Validate(); err != nil {
				t.Fatal(err)
			}
			var a stock.Alert
			for _, l := range tt.looks {
				if l.told == "acknowledge" {
					a = a.Acknowledge()
					continue
				}
				now := at(t, "2026-11-"+l.at+":00Z")
				next, notice := tt.rule.Observe(a, l.level, now)
				told := ""
				if notice != nil {
					told = string(rune('0'+notice.Crossing)) + "/" + string(rune('0'+notice.Step))
					if notice.Level != l.level || notice.LowAt.After(now) {
						t.Errorf("at %s the notice is %+v", l.at, notice)
					}
				}
				if told != l.told {
					t.Errorf("at %s with %d: told %q, want %q", l.at, l.level, told, l.told)
				}
				if due, any := tt.rule.NextAt(next); any && !due.After(now) {
					t.Errorf("at %s the next notice is due at %v already", l.at, due)
				}
				a = next
			}
		})
	}
}

// TestNeitherStormNorSilence follows random levels: every step of a crossing is told once, no more is told than crossings
// and their steps allow, and a number that is low in the daytime has been told.
func TestNeitherStormNorSilence(t *testing.T) {
	start := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		r := stock.AlertRule{Threshold: 10, Rearm: stock.Quantity(rapid.Int64Range(0, 5).Draw(t, "rearm")),
			Escalation: []time.Duration{30 * time.Minute, 2 * time.Hour}, Quiet: &stock.Quiet{From: 22 * 3600, To: 7 * 3600}}
		var a stock.Alert
		now := start
		told := map[[2]int64]bool{}
		for range 60 {
			now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
			level := stock.Quantity(rapid.Int64Range(4, 18).Draw(t, "level"))
			next, notice := r.Observe(a, level, now)
			quiet := r.Quiet.Until(now).After(now)
			if notice != nil {
				key := [2]int64{notice.Crossing, int64(notice.Step)}
				if told[key] || quiet {
					t.Fatalf("%v is told twice or in the night", key)
				}
				told[key] = true
			}
			if next.Low && next.Sent == 0 && !quiet {
				t.Fatalf("low by day and not told: %+v", next)
			}
			if next.Low != (level < 10 || a.Low && level < 10+r.Rearm) {
				t.Fatalf("at %d it is low: %v", level, next.Low)
			}
			if next.Crossing != a.Crossing && (a.Low || next.Crossing != a.Crossing+1) {
				t.Fatalf("crossing %d after %d", next.Crossing, a.Crossing)
			}
			a = next
		}
	})
}

func TestDigests(t *testing.T) {
	morning := stock.Calendar{Resource: "digest", Zone: zone(t, "Europe/Berlin"), Period: stock.Daily, At: 8 * 3600}
	messages := []stock.Message{
		{"bo", at(t, "2026-11-25T12:00:00Z"), "second"}, {"ann", at(t, "2026-11-25T10:00:00Z"), "first"},
		{"ann", at(t, "2026-11-26T06:59:59Z"), "third"}, {"ann", at(t, "2026-11-26T07:00:00Z"), "tomorrow"},
	}
	texts := func(digests []stock.Digest) (out []string) {
		for _, d := range digests {
			line := d.Recipient + " at " + d.Window.End.Format(time.RFC3339) + ":"
			for _, m := range d.Messages {
				line += " " + m.Text
			}
			out = append(out, line)
		}
		return out
	}
	for now, want := range map[string][]string{
		"2026-11-26T06:59:59.999999999Z": nil,
		"2026-11-26T07:00:00Z":           {"ann at 2026-11-26T07:00:00Z: first third", "bo at 2026-11-26T07:00:00Z: second"},
		"2026-11-27T07:00:00Z":           {"ann at 2026-11-26T07:00:00Z: first third", "bo at 2026-11-26T07:00:00Z: second", "ann at 2026-11-27T07:00:00Z: tomorrow"},
	} {
		if got := texts(stock.Digests(messages, morning, at(t, now))); !slices.Equal(got, want) {
			t.Errorf("at %s: %q, want %q", now, got, want)
		}
	}
	office := stock.Calendar{Resource: "digest", Period: stock.Hours, Openings: []stock.Opening{{Weekday: time.Thursday, From: 9 * 3600, To: 10 * 3600}}}
	got := texts(stock.Digests(messages[:2], office, at(t, "2026-11-26T10:00:00Z")))
	if want := []string{"ann at 2026-11-26T10:00:00Z: first", "bo at 2026-11-26T10:00:00Z: second"}; !slices.Equal(got, want) {
		t.Errorf("outside of the windows: %q, want %q", got, want)
	}
}
