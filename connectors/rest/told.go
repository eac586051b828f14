package rest

import "sync"

// Told remembers what a connector told as changed, for connectors.ChangeTeller: a look that begins a little before the last one
// ended finds the same again. The zero value has told nothing. It is safe for concurrent use; looks wait for each other.
type Told struct {
	mu     sync.Mutex
	before map[string]int
}

// Look begins a look. Fresh is asked about everything that it finds, by names that say which record changed and when, and reports
// what was told on fewer looks than times. Done ends the look, and must be called: with true what the look did not find is
// forgotten, with false the look failed, and tells again next time.
func (t *Told) Look(times int) (fresh func(name string) bool, done func(told bool)) {
	t.mu.Lock()
	now := map[string]int{}
	fresh = func(name string) bool {
		now[name] = t.before[name] + 1
		return now[name] <= times
	}
	return fresh, func(told bool) {
		if told {
			t.before = now
		}
		t.mu.Unlock()
	}
}
