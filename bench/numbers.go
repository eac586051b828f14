package main

import (
	"maps"
	"math"
	"slices"
)

// median of what was measured, nil of nothing.
func median(values []float64) *float64 { return quantile(values, 0.5) }

// quantile is the smallest value that the given share of all values does not exceed.
func quantile(values []float64, share float64) *float64 {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	at := int(math.Ceil(share*float64(len(sorted)))) - 1
	return &sorted[min(max(at, 0), len(sorted)-1)]
}

func sortedNames(m map[string]float64) []string { return slices.Sorted(maps.Keys(m)) }

// detail keeps a part of a figure, rounded to what can be told apart.
func (b *bench) detail(name string, value *float64) {
	if value != nil {
		b.result.Details[name] = rounded(*value)
	}
}

// figure rounds a figure to four digits: more would pretend a precision that no run has.
func figure(value *float64) *float64 {
	if value == nil {
		return nil
	}
	r := rounded(*value)
	return &r
}

func rounded(v float64) float64 {
	if v == 0 {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}
