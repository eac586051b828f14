package rest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/rest"
)

func TestClock(t *testing.T) {
	var c rest.Clock
	c.Note(http.Header{"Date": {"yesterday"}})
	if c.Seen() || c.Behind() != 0 {
		t.Errorf("without a time: seen %t, behind %s", c.Seen(), c.Behind())
	}
	c.Note(http.Header{"Date": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}})
	if b := c.Behind(); !c.Seen() || b > -time.Hour || b < -time.Hour-time.Minute {
		t.Errorf("an hour behind: seen %t, behind %s", c.Seen(), b)
	}
	c.Note(http.Header{"Date": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}})
	if b := c.Behind(); b != 0 {
		t.Errorf("a clock that is ahead is behind by %s", b)
	}
}

// A list begins earlier by the margin and by what the system's clock is behind, and the time is asked for where none was told.
func TestClockStart(t *testing.T) {
	now := time.Now()
	var c rest.Clock
	failed := errors.New("no answer")
	if _, err := c.Start(t.Context(), now, time.Minute, func(context.Context) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("the error of the question is lost: %v", err)
	}
	asked := 0
	ask := func(context.Context) error {
		asked++
		c.Note(http.Header{"Date": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}})
		return nil
	}
	for range 2 {
		start, err := c.Start(t.Context(), now, time.Minute, ask)
		if early := now.Sub(start); err != nil || early < time.Hour+time.Minute || early > time.Hour+2*time.Minute {
			t.Errorf("an hour behind, with a margin of a minute: %s earlier, %v", early, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked for the time %d times", asked)
	}
	for _, since := range []time.Time{{}, time.Unix(0, 0), time.Unix(30, 0)} {
		if start, err := c.Start(t.Context(), since, time.Minute, ask); err != nil || !start.Equal(time.Unix(0, 0)) {
			t.Errorf("since %s: %s, %v", since, start, err)
		}
	}
}

func TestParsePace(t *testing.T) {
	for text, want := range map[string]float64{"": 0, "5": 5, "0.5": 0.5, "10000": 10_000} {
		if got, err := rest.ParsePace("pace", text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "-1", "10001", "NaN", "fast"} {
		if _, err := rest.ParsePace("pace", text); err == nil || !strings.Contains(err.Error(), "pace is ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
