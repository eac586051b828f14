package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

const problemType = "application/problem+json"

// Seconds after which a request that could not be served now is worth another try.
const (
	retryBusy        = 1
	retryUnavailable = 5
)

// writeProblem answers with problem+json (RFC 9457). retryAfter is in seconds; zero sends no Retry-After.
func writeProblem(c echo.Context, status int, detail string, retryAfter int) error {
	body, err := json.Marshal(problem(status, detail), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return err
	}
	if retryAfter > 0 {
		c.Response().Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	return c.Blob(status, problemType, append(body, '\n'))
}

func problem(status int, detail string) *huma.ErrorModel {
	return &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}
}

// handleError answers what no handler answered: unknown paths and methods, and errors that nobody expected.
func (s *Server) handleError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	known, ok := errors.AsType[*echo.HTTPError](err)
	if !ok {
		s.fail(c, err)
		return
	}
	detail := http.StatusText(known.Code)
	switch known.Code {
	case http.StatusNotFound:
		detail = "there is nothing at this path; /api/v1/openapi.yaml lists the API's"
	case http.StatusMethodNotAllowed:
		detail = "this path does not take this method; the header Allow names those that it takes"
	}
	_ = writeProblem(c, known.Code, detail, 0) // only fails when the client is gone
}

// fail logs an unexpected error and answers 500 with the id under which the log has it. The answer tells nothing else.
func (s *Server) fail(c echo.Context, err error) {
	id := s.logFailure(c.Request().Method+" "+c.Path(), err)
	_ = writeProblem(c, http.StatusInternalServerError, unexpected(id), 0) // only fails when the client is gone
}

func (s *Server) logFailure(operation string, err error, details ...any) (id string) {
	id = rand.Text()[:12]
	s.log.Error("request failed", append([]any{"error_id", id, "operation", operation, "error", err}, details...)...)
	return id
}

func unexpected(id string) string {
	return "something unexpected went wrong here; the server's log tells it under error_id " + id
}

// recovered turns a panic of next into one log line and an answer 500, or, where the answer has already begun, into a
// closed connection, so that nobody takes half an answer for a whole one.
func (s *Server) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		defer func() {
			r := recover()
			if r == nil {
				return
			}
			if err, ok := r.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(r)
			}
			id := s.logFailure(c.Request().Method+" "+c.Path(), fmt.Errorf("panic: %v", r), "stack", string(debug.Stack()))
			if c.Response().Committed {
				panic(http.ErrAbortHandler)
			}
			_ = writeProblem(c, http.StatusInternalServerError, unexpected(id), 0) // only fails when the client is gone
		}()
		return next(c)
	}
}

// apiError is the answer of an API operation to an error of the engine. missing is the detail of a 404.
func (s *Server) apiError(operation, missing string, err error) error {
	if _, ok := errors.AsType[huma.StatusError](err); ok {
		return err
	}
	switch {
	case errors.Is(err, stocksync.ErrNotFound):
		return problem(http.StatusNotFound, missing)
	case errors.Is(err, stocksync.ErrUnknownConnection):
		return problem(http.StatusNotFound, "no connection has this name; GET /api/v1/connections lists them")
	case errors.Is(err, stocksync.ErrConflict):
		return problem(http.StatusConflict, err.Error()+"; look at it as it is now, and decide again")
	case isFieldError(err):
		return problem(http.StatusUnprocessableEntity, err.Error())
	case errors.Is(err, stocksync.ErrInvalid):
		return problem(http.StatusUnprocessableEntity, err.Error())
	case errors.Is(err, stocksync.ErrBusy):
		return retryLater(retryBusy, "there is too much to do just now; try again")
	case errors.Is(err, stocksync.ErrUnavailable):
		return retryLater(retryUnavailable, "the database does not answer; try again")
	case errors.Is(err, context.DeadlineExceeded):
		return retryLater(retryUnavailable, "this took too long and was given up; try again")
	case errors.Is(err, context.Canceled):
		return retryLater(retryBusy, "the request was cancelled")
	}
	return problem(http.StatusInternalServerError, unexpected(s.logFailure(operation, err)))
}

func retryLater(seconds int, detail string) error {
	return huma.ErrorWithHeaders(problem(http.StatusServiceUnavailable, detail),
		http.Header{"Retry-After": {strconv.Itoa(seconds)}})
}

// rareLog writes a few lines at first and then one a second at most.
type rareLog struct {
	log  *slog.Logger
	some *rate.Sometimes
}

func newRareLog(log *slog.Logger) rareLog {
	return rareLog{log, &rate.Sometimes{First: 10, Interval: time.Second}}
}

func (r *rareLog) sometimes(write func(log *slog.Logger)) {
	r.some.Do(func() { write(r.log) })
}

func isFieldError(err error) bool {
	_, ok := errors.AsType[*stock.FieldError](err)
	return ok
}
