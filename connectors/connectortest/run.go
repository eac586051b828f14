package connectortest

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"

	"github.com/truestock/truestock/connectors"
)

// T is what a case of the suite is told through: a *testing.T under go test, and what Check makes elsewhere. The methods
// are those of testing.T.
type T interface {
	Helper()
	// Context ends before what Cleanup registered is called.
	Context() context.Context
	Cleanup(func())
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skip(args ...any)
	Skipf(format string, args ...any)
	// Run runs a part of the case under its own name.
	Run(name string, part func(T)) bool
}

// tested is the T of go test.
type tested struct{ *testing.T }

// Run implements T.
func (t tested) Run(name string, part func(T)) bool {
	return t.T.Run(name, func(t *testing.T) { part(tested{t}) })
}

// Verdict is what became of a case.
type Verdict string

// The verdicts.
const (
	Passed  Verdict = "passed"
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped"
)

// Outcome is a case with what became of it. Messages say what fails, or why it was not run.
type Outcome struct {
	Case     string   `json:"case"`
	Verdict  Verdict  `json:"verdict"`
	Messages []string `json:"messages,omitempty"`
}

// Subject is what Check puts to the test. New and Skip are as in Fixture; Only, where it is not nil, names the cases that
// are run, and Otherwise says of the others why they are not.
type Subject struct {
	Role      connectors.Role
	New       func(t T) Server
	Skip      map[string]string
	Only      []string
	Otherwise string
	Serial    bool
}

// Check runs the suite outside of go test. done hears of every case when it has ended, one at a time; the outcomes come
// back in the order of the suite. With a cancelled context the cases that have not begun are skipped.
func Check(ctx context.Context, s Subject, done func(Outcome)) []Outcome {
	cases := slices.Concat(recordCases(), failureCases(recordCalls), webhookCases())
	if s.Role == connectors.MarketplaceRole {
		cases = slices.Concat(marketplaceCases(), failureCases(marketplaceCalls), webhookCases())
	}
	f := fixture{new: s.New, skip: s.Skip, serial: s.Serial}
	outcomes := make([]Outcome, len(cases))
	var group sync.WaitGroup
	var mu sync.Mutex
	for i, c := range cases {
		one := func() {
			o := Outcome{Case: c.name, Verdict: Skipped}
			switch reason := s.Skip[c.name]; {
			case reason != "":
				o.Messages = []string{reason}
			case s.Only != nil && !slices.Contains(s.Only, c.name):
				o.Messages = []string{s.Otherwise}
			case ctx.Err() != nil:
				o.Messages = []string{"interrupted"}
			default:
				o = run(ctx, c.name, func(t T) { c.run(t, f) })
			}
			mu.Lock()
			defer mu.Unlock()
			outcomes[i] = o
			done(o)
		}
		if s.Serial {
			one()
		} else {
			group.Go(one)
		}
	}
	group.Wait()
	return outcomes
}

// run runs one case to its end, which may be a panic.
func run(ctx context.Context, name string, body func(T)) Outcome {
	r := &runner{name: name}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer r.clean()
		defer cancel()
		defer r.caught()
		body(r)
	}()
	<-ended
	r.mu.Lock()
	defer r.mu.Unlock()
	o := Outcome{Case: name, Verdict: Passed, Messages: r.messages}
	switch {
	case r.failed:
		o.Verdict = Failed
	case r.skipped:
		o.Verdict = Skipped
	}
	return o
}

// runner is the T of Check.
type runner struct {
	name string
	ctx  context.Context

	mu              sync.Mutex
	failed, skipped bool
	messages        []string
	cleanups        []func()
}

// Helper implements T: a runner names no lines.
func (r *runner) Helper() {}

// Context implements T.
func (r *runner) Context() context.Context { return r.ctx }

// Cleanup implements T.
func (r *runner) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *runner) clean() {
	r.mu.Lock()
	cleanups := r.cleanups
	r.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
}

// caught makes a failure of a panic.
func (r *runner) caught() {
	if p := recover(); p != nil {
		r.note(true, fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
	}
}

func (r *runner) note(failed bool, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed, r.skipped = r.failed || failed, r.skipped || !failed
	r.messages = append(r.messages, message)
}

// Error implements T.
func (r *runner) Error(args ...any) { r.note(true, fmt.Sprint(args...)) }

// Errorf implements T.
func (r *runner) Errorf(format string, args ...any) { r.note(true, fmt.Sprintf(format, args...)) }

// Fatal implements T.
func (r *runner) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

// Fatalf implements T.
func (r *runner) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// Skip implements T.
func (r *runner) Skip(args ...any) {
	r.note(false, fmt.Sprint(args...))
	runtime.Goexit()
}

// Skipf implements T.
func (r *runner) Skipf(format string, args ...any) {
	r.note(false, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// Run implements T. What a part says is said by the whole, with the part's name before it.
func (r *runner) Run(name string, part func(T)) bool {
	o := run(r.ctx, name, part)
	for _, m := range o.Messages {
		if o.Verdict == Failed {
			r.Errorf("%s: %s", name, m)
		}
	}
	return o.Verdict != Failed
}
