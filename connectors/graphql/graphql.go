// Package graphql is what the connectors of GraphQL systems share: an operation, and what the failure of one means. An
// operation fails inside a successful answer of HTTP, so that the status says nothing. The words and codes of the failures
// are each system's own.
package graphql

import (
	"cmp"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// Request is one operation.
type Request struct {
	// Op begins every error.
	Op        string
	Document  string
	Variables any
	// Write is true for a mutation that changes more than a session; Idempotent is true where it can be repeated.
	Write, Idempotent bool
}

type body struct {
	Query     string `json:"query"`
	Variables any    `json:"variables,omitempty"`
}

// Call is the request over HTTP.
func (r Request) Call(path string) rest.Call {
	return rest.Call{
		Op: r.Op, Method: http.MethodPost, Path: path, Header: http.Header{}, Body: body{Query: r.Document, Variables: r.Variables},
		Write: r.Write, Idempotent: r.Idempotent,
	}
}

// Unknown is the kind of a failure that does not tell whether the operation took effect.
func (r Request) Unknown() connectors.ErrorKind {
	if r.Write {
		return connectors.Uncertain
	}
	return connectors.Retryable
}

// Failure is the error that an answer tells, of the kind that its code means. An error below the mutation's own field is
// one of the answer: the mutation has happened.
//
// https://spec.graphql.org/October2021/#sec-Handling-Field-Errors
func (r Request) Failure(c *rest.Client, kind connectors.ErrorKind, code, message string, path []jsontext.Value) error {
	if r.Write && len(path) > 1 {
		kind = connectors.Uncertain
	}
	return c.Refusal(kind, r.Op, code, cmp.Or(message, "no reason was given"))
}
