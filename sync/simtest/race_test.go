//go:build race

package simtest_test

// raced: the race detector makes a run ten times slower, and a run has one goroutine that decides anything.
const raced = true
