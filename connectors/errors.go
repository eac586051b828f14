package connectors

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrorKind says what a failure means for the engine. There are six; the zero value is no failure.
type ErrorKind string

// The kinds of error.
const (
	// Retryable: nothing happened out there; try again, with back-off.
	Retryable ErrorKind = "retryable"
	// Throttled: asked to slow down; try again at RetryAt. Does not count as a try.
	Throttled ErrorKind = "throttled"
	// Rejected: understood and refused; trying the same again is useless. A person must look.
	Rejected ErrorKind = "rejected"
	// Auth: our credentials fail; the whole connection is paused.
	Auth ErrorKind = "auth"
	// Unmapped: the SKU, listing or place is not known there, or not to us.
	Unmapped ErrorKind = "unmapped"
	// Uncertain: it may have happened. Read back before anything else.
	Uncertain ErrorKind = "uncertain"
)

// Error is the only type of error that leaves a connector, apart from a cancelled context. Its text never contains a
// secret.
type Error struct {
	Kind ErrorKind
	// Op is what was tried, in a few words, such as "write stock".
	Op string
	// Code is the remote system's own word for the failure, empty where it has none.
	Code string
	// RetryAt is set for Throttled where the remote system said when.
	RetryAt time.Time
	Err     error
}

// Error tells what was tried and what the remote system answered.
func (e *Error) Error() string {
	text := e.Op + ": " + string(e.Kind)
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first Error in err's tree: "" for nil and for a cancelled context, which is a
// shutdown and no failure, and Retryable for any other error.
func KindOf(err error) ErrorKind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if errors.Is(err, context.Canceled) {
		return ""
	}
	return Retryable
}

// RetryAt returns when a throttled call may be tried again, the zero time where nobody said.
func RetryAt(err error) time.Time {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAt
	}
	return time.Time{}
}

// Rejectedf makes a Rejected error.
func Rejectedf(op, code, format string, args ...any) *Error {
	return &Error{Kind: Rejected, Op: op, Code: code, Err: fmt.Errorf(format, args...)}
}
