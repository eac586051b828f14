//go:build !unix

package main

import "time"

var began = time.Now()

// processorTime is how long this process runs, where the system does not tell what it used.
func processorTime() time.Duration { return time.Since(began) }
