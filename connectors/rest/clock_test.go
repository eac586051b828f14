package rest_test

import (
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
