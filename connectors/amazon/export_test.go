package amazon

import (
	"time"

	"github.com/truestock/truestock/connectors"
)

func inside(c connectors.Connection) *market {
	if q, ok := c.(*queuedMarket); ok {
		return q.market
	}
	return c.(*market)
}

// Refill gives an operation its whole burst again, as waiting would.
func Refill(c connectors.Connection, operation string) {
	m := inside(c)
	m.mu.Lock()
	delete(m.buckets, operation)
	m.mu.Unlock()
	m.reading.mu.Lock()
	m.reading.pause = time.Time{}
	m.reading.mu.Unlock()
}

// ForgetFeedLook lets the next write ask for its feeds at once.
func ForgetFeedLook(c connectors.Connection) {
	m := inside(c)
	m.feedTurn.Lock()
	defer m.feedTurn.Unlock()
	m.feeds.mu.Lock()
	defer m.feeds.mu.Unlock()
	for _, f := range m.feeds.flying {
		f.asked = time.Time{}
	}
}

// Reencode reads a cursor of the listings and writes it again.
func Reencode(text string) (string, error) {
	c, err := parseListingCursor(connectors.Cursor(text))
	return string(c.encode()), err
}
