package simtest_test

import (
	"testing"
	"time"

	"github.com/truestock/truestock/sync/simtest"
)

// TestHour runs a small shop for an hour: it must end as right as any other run.
func TestHour(t *testing.T) {
	began := time.Now()
	took, r := simtest.Hour(t, 30, 20, func() time.Duration { return time.Since(began) })
	for _, v := range r.Violations {
		t.Error(v)
	}
	if took <= 0 || r.Orders < 20 || r.Writes == 0 {
		t.Errorf("%s, %d orders, %d writes", took, r.Orders, r.Writes)
	}
}
