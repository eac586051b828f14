package rest

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// Clock remembers how far a system's clock is from ours, as its answers tell. The zero value has heard of nothing. It is
// safe for concurrent use.
type Clock struct {
	// skew is the system's clock minus ours, in nanoseconds.
	skew atomic.Int64
	seen atomic.Bool
}

// Note takes the time in the header Date of an answer that has just come. Without one it changes nothing.
func (c *Clock) Note(header http.Header) {
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	c.skew.Store(int64(time.Until(at)))
	c.seen.Store(true)
}

// Seen reports whether an answer told the time.
func (c *Clock) Seen() bool { return c.seen.Load() }

// Behind is by what the system's clock is behind ours, as a duration of 0 or below: what is asked for by the system's time
// begins so much earlier.
func (c *Clock) Behind() time.Duration { return min(0, time.Duration(c.skew.Load())) }

// Start is where a list of what changed since an instant of ours begins, by the system's clock: margin earlier, and by what
// that clock is behind ours, but not before 1970. Where no answer has told the time yet, ask gets one; its error is
// returned.
func (c *Clock) Start(ctx context.Context, since time.Time, margin time.Duration, ask func(context.Context) error) (time.Time, error) {
	if !c.Seen() {
		if err := ask(ctx); err != nil {
			return time.Time{}, err
		}
	}
	start := time.Unix(0, 0).UTC()
	if earlier := c.Behind() - margin; since.After(start.Add(-earlier)) {
		start = since.Add(earlier).UTC()
	}
	return start, nil
}
