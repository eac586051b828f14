package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
)

// maxErrorBody is how much of the body of a failure is read for its explanation, in bytes.
const maxErrorBody = 64 << 10

// unknownOutcome is the kind of a failure that does not tell whether the call took effect.
func unknownOutcome(call Call) connectors.ErrorKind {
	if call.Write {
		return connectors.Uncertain
	}
	return connectors.Retryable
}

// failure makes the error that leaves the client. Of the cause only the redacted text and the fact of a time-out stay:
// the cause itself may hold a URL or a header with a secret.
func (c *Client) failure(kind connectors.ErrorKind, call Call, code string, cause error) *connectors.Error {
	text := c.Redact(cause.Error())
	err := errors.New(text)
	if errors.Is(cause, context.DeadlineExceeded) {
		err = &timeoutError{text}
	}
	return &connectors.Error{Kind: kind, Op: call.Op, Code: c.Redact(code), Err: err}
}

// timeoutError is a redacted text that is still recognised as a time-out.
type timeoutError struct{ text string }

func (e *timeoutError) Error() string { return e.text }
func (e *timeoutError) Unwrap() error { return context.DeadlineExceeded }

func (c *Client) transportFailure(ctx context.Context, call Call, t *trip, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the rest of a url.Error is the URL, which the operation makes clear enough
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer in time: %w", err)
	}
	if !t.left.Load() {
		return c.failure(connectors.Retryable, call, "", fmt.Errorf("nothing was sent: %w", err))
	}
	return c.failure(unknownOutcome(call), call, "", err)
}

func (c *Client) statusFailure(ctx context.Context, call Call, resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, min(maxErrorBody, c.maxBody)))
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	code, detail := explanation(body)
	if c.explain != nil {
		if ownCode, own := c.explain(body); own != "" {
			code, detail = ownCode, own
		}
	}
	if detail == "" {
		detail = c.describe(resp, body)
	}
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode < 400 {
		detail = fmt.Sprintf("redirected to %s, which is not followed; put the right address into base_url", to)
	}
	status := fmt.Sprintf("%s %s answered %d", call.Method, call.Path, resp.StatusCode)
	kind, retryAt := classify(call, resp, time.Now())
	failed := c.failure(kind, call, code, fmt.Errorf("%s: %s", status, detail))
	failed.RetryAt = retryAt
	return failed
}

func classify(call Call, resp *http.Response, now time.Time) (connectors.ErrorKind, time.Time) {
	wait, told := retryAfter(resp.Header, now)
	var at time.Time
	if told {
		at = now.Add(wait).UTC()
	}
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return connectors.Auth, time.Time{}
	case code == http.StatusNotFound:
		return connectors.Unmapped, time.Time{}
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && told:
		return connectors.Throttled, at
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return connectors.Retryable, time.Time{}
	case code >= 500:
		return unknownOutcome(call), time.Time{}
	default:
		return connectors.Rejected, time.Time{}
	}
}

// explanation finds the remote system's own words in the JSON of a failure: the members of problem+json (RFC 9457) and
// those that most systems use in its stead, such as AWS's __type. It is for people, so it takes what it can.
func explanation(body []byte) (code, detail string) {
	var members map[string]jsontext.Value
	if json.Unmarshal(body, &members, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return "", ""
	}
	if list := members["errors"]; list.Kind() == '[' {
		if code, detail := firstOf(list); detail != "" {
			return code, detail
		}
	}
	text := func(name string) string {
		v := members[name]
		switch v.Kind() {
		case '"':
			unquoted, err := jsontext.AppendUnquote(nil, v)
			if err != nil {
				return ""
			}
			return string(unquoted)
		case '0':
			return string(v)
		default:
			return ""
		}
	}
	if inner := members["error"]; inner.Kind() == '{' { // as Google and Microsoft have it
		return explanation(inner)
	}
	title := cmp.Or(text("title"), text("error"))
	detail = cmp.Or(text("detail"), text("message"), text("error_description"))
	return cmp.Or(text("code"), text("__type")), strings.Trim(title+": "+detail, ": ")
}

// firstOf finds the words of the first in a list of explanations, as Amazon and others send it: it is the cause. What it
// has in details stands behind them.
func firstOf(list jsontext.Value) (code, detail string) {
	var several []struct {
		Details jsontext.Value `json:"details"`
	}
	var whole []jsontext.Value
	lenient := []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	if json.Unmarshal(list, &several, lenient...) != nil || json.Unmarshal(list, &whole, lenient...) != nil || len(several) == 0 {
		return "", ""
	}
	code, detail = explanation(whole[0])
	if more, err := jsontext.AppendUnquote(nil, several[0].Details); err == nil && len(more) > 0 && several[0].Details.Kind() == '"' {
		detail += ": " + string(more)
	}
	return code, detail
}

func (c *Client) decodeFailure(call Call, resp *http.Response, body []byte, err error) error {
	if !jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true)) {
		return c.failure(unknownOutcome(call), call, "", fmt.Errorf("the answer is not whole JSON: %s", c.describe(resp, body)))
	}
	return c.failure(misfit(call), call, "", fmt.Errorf("the answer cannot be taken: %w", ExplainJSON(err)))
}

// misfit is the kind of an answer that is whole, but not what was agreed.
func misfit(call Call) connectors.ErrorKind {
	if call.Write {
		return connectors.Uncertain
	}
	return connectors.Rejected
}

// ExplainJSON puts an error of the JSON decoder into the words of the sender of the JSON: what stands where, and what
// should. An error that has nothing to do with a value's type comes back as it is.
func ExplainJSON(err error) error {
	e, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return err
	}
	what := cmp.Or(string(e.JSONValue), e.JSONKind.String())
	where := cmp.Or(string(e.JSONPointer), "the top")
	return fmt.Errorf("%s at %s is not %s", excerpt(what), where, wanted(e))
}

// wanted names in the words of JSON what a Go type takes.
func wanted(e *json.SemanticError) string {
	if e.GoType == nil {
		return "what was agreed"
	}
	switch name := e.GoType.String(); {
	case strings.HasPrefix(name, "int"), strings.HasPrefix(name, "*int"):
		return "a whole number"
	case name == "bool", name == "string":
		return "a " + name
	case strings.HasPrefix(name, "[]"):
		return "an array"
	case name == "time.Time":
		return "an instant in RFC 3339"
	default:
		return "what was agreed"
	}
}

// describe tells what came in the place of what was expected: its type, its size and its first bytes.
func (c *Client) describe(resp *http.Response, body []byte) string {
	kind := cmp.Or(resp.Header.Get("Content-Type"), "no content type")
	if len(body) == 0 {
		return kind + ", an empty body"
	}
	// Redacted before it is cut: half a secret is not recognised.
	return fmt.Sprintf("%s, beginning with %q", kind, excerpt(c.redact.replace(string(body[:min(len(body), maxErrorBody)]))))
}

func excerpt(text string) string {
	const most = 120
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
