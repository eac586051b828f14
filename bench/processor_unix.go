//go:build unix

package main

import (
	"syscall"
	"time"
)

// processorTime is what this process has used of all processors.
func processorTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // fails only for an unknown question
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
