package rest_test

import (
	"slices"
	"testing"

	"github.com/truestock/truestock/connectors/rest"
)

func TestTold(t *testing.T) {
	var told rest.Told
	look := func(worked bool, times int, names ...string) (fresh []string) {
		is, done := told.Look(times)
		defer done(worked)
		for _, name := range names {
			if is(name) {
				fresh = append(fresh, name)
			}
		}
		return fresh
	}
	for i, step := range []struct {
		worked      bool
		times       int
		names, want []string
	}{
		{true, 1, []string{"a", "b"}, []string{"a", "b"}},
		{false, 1, []string{"a", "b", "c"}, []string{"c"}},
		{true, 1, []string{"a", "b", "c"}, []string{"c"}}, // that look failed
		{true, 2, []string{"b", "c"}, []string{"c"}},      // told twice and once before
		{true, 1, []string{"a", "c"}, []string{"a"}},      // a was forgotten
	} {
		if got := look(step.worked, step.times, step.names...); !slices.Equal(got, step.want) {
			t.Errorf("look %d tells %v, want %v", i, got, step.want)
		}
	}
}
