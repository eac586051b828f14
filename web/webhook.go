package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// answer is what became of one webhook request.
type answer int

const (
	answerStored answer = iota
	answerDuplicate
	answerMalformed
	answerSlow
	answerUnsigned
	answerUnknown
	answerConflict
	answerHandshake
	answerMethod
	answerTooLarge
	answerCompressed
	answerTooFast
	answerBusy
	answerUnavailable
	answerError
	answerCount
)

// answerLabels are the answers as the metrics name them.
var answerLabels = [answerCount]string{"stored", "duplicate", "malformed", "slow", "unsigned", "unknown_connection",
	"conflict", "handshake", "wrong_method", "too_large", "compressed", "too_fast", "busy", "unavailable", "error"}

// intake is what the server keeps about the webhooks of one connection.
type intake struct {
	// limit is nil where there is none.
	limit  *rate.Limiter
	counts [answerCount]prometheus.Counter
}

func (s *Server) newIntake(label string) *intake {
	in := &intake{}
	for a, name := range answerLabels {
		in.counts[a] = s.metrics.webhooks.WithLabelValues(label, name)
	}
	if s.cfg.RequestsPerSecond > 0 {
		in.limit = rate.NewLimiter(rate.Limit(s.cfg.RequestsPerSecond), s.cfg.Burst)
	}
	return in
}

// jsonType is shared by all answers; net/http only reads it.
var jsonType = []string{"application/json"}

// webhook takes one delivery. The route has no middleware: what it costs beside the engine is paid by every event.
func (s *Server) webhook(c echo.Context) error {
	start := time.Now()
	name := connectionParam(c)
	in, ok := s.intakes[name]
	if !ok {
		in = s.others
	}
	outcome := answerError
	defer func() {
		in.counts[outcome].Inc()
		s.metrics.ack.Observe(time.Since(start).Seconds())
	}()

	if encoding := c.Request().Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		outcome = answerCompressed
		c.Response().Header().Set("Accept-Encoding", "identity")
		return writeProblem(c, http.StatusUnsupportedMediaType, "the body is compressed; send it as it was signed, without Content-Encoding", 0)
	}
	if wait := in.wait(start); wait > 0 {
		outcome = answerTooFast
		return writeProblem(c, http.StatusTooManyRequests, "this connection sends faster than it may; nothing was stored, send it again after the seconds in Retry-After", wait)
	}
	body, err := readBody(c, s.cfg.BodyBytes)
	if err != nil {
		outcome, err = s.refuseBody(c, err)
		return err
	}
	r := c.Request()
	receipt, err := s.engine.Receive(r.Context(), name, connectors.Request{Method: r.Method, RawQuery: r.URL.RawQuery, Header: r.Header, Body: body})
	if err != nil {
		outcome, err = s.refuse(c, name, err)
		return err
	}
	if receipt.ID == 0 && receipt.Reply != nil {
		outcome = answerHandshake
		return writeReply(c, *receipt.Reply)
	}
	in.take(start)
	outcome = receiptAnswer(receipt)
	if receipt.Reply != nil {
		return writeReply(c, *receipt.Reply)
	}
	if receipt.Conflict {
		return writeProblem(c, http.StatusConflict, "an event with this id was stored before with another body; this one was not applied and an incident is open: send a changed event under a new id", 0)
	}
	return writeReceipt(c, receipt)
}

// webhookMethods are the HTTP methods that any connector takes webhooks or handshakes by; which of them are right for a
// connection, the engine knows.
var webhookMethods = []string{http.MethodPost, http.MethodPut, http.MethodGet, http.MethodOptions}

func receiptAnswer(r stocksync.Receipt) answer {
	switch {
	case r.Conflict:
		return answerConflict
	case r.Duplicate:
		return answerDuplicate
	default:
		return answerStored
	}
}

// connectionParam is the connection in the path. Echo leaves a path escaped where its escapes carry meaning.
func connectionParam(c echo.Context) stock.ConnectionID {
	name := c.Param("connection")
	if c.Request().URL.RawPath != "" {
		if plain, err := url.PathUnescape(name); err == nil {
			name = plain
		}
	}
	return stock.ConnectionID(name)
}

// wait is the number of seconds after which the connection may send again; zero when it may now. It takes nothing from
// the connection's share: only what proves to be signed does, so that a stranger cannot use the share up.
func (in *intake) wait(now time.Time) int {
	if in.limit == nil {
		return 0
	}
	short := 1 - in.limit.TokensAt(now)
	if short <= 0 {
		return 0
	}
	return int(math.Ceil(max(1, short/float64(in.limit.Limit()))))
}

// take counts a verified request against the connection's share.
func (in *intake) take(now time.Time) {
	if in.limit != nil {
		in.limit.ReserveN(now, 1)
	}
}

var errTooLarge = errors.New("body too large")

// readBody reads the whole body in one allocation where its length is told. The buffer is not reused: the engine may
// keep it after a request was given up.
func readBody(c echo.Context, limit int64) ([]byte, error) {
	r := c.Request()
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	if r.ContentLength >= 0 {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = errTooLarge
	}
	return body, err
}

func (s *Server) refuseBody(c echo.Context, err error) (answer, error) {
	// What is left of the body is not worth reading.
	c.Response().Header().Set("Connection", "close")
	switch {
	case errors.Is(err, errTooLarge):
		return answerTooLarge, writeProblem(c, http.StatusRequestEntityTooLarge,
			"the body is larger than "+strconv.FormatInt(s.cfg.BodyBytes, 10)+" bytes; nothing was stored, send less at once", 0)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return answerSlow, writeProblem(c, http.StatusRequestTimeout, "the body came too slowly; nothing was stored, send it again", 0)
	default:
		return answerMalformed, writeProblem(c, http.StatusBadRequest, "the body ended before it was complete; nothing was stored, send it again", 0)
	}
}

// refuse answers an event that was not stored: in the connector's words where it has any.
func (s *Server) refuse(c echo.Context, name stock.ConnectionID, err error) (answer, error) {
	if wrong, ok := errors.AsType[*stocksync.MethodError](err); ok {
		c.Response().Header().Set("Allow", strings.Join(wrong.Methods, ", "))
		return answerMethod, writeProblem(c, http.StatusMethodNotAllowed, wrong.Error(), 0)
	}
	outcome, status, detail, wait := s.explainRefusal(name, err)
	if answered, ok := errors.AsType[*stocksync.AnsweredError](err); ok {
		return outcome, writeReply(c, answered.Reply)
	}
	return outcome, writeProblem(c, status, detail, wait)
}

// explainRefusal is what a refusal counts as, and how plain HTTP says it; wait is in seconds.
func (s *Server) explainRefusal(name stock.ConnectionID, err error) (outcome answer, status int, detail string, wait int) {
	switch {
	case errors.Is(err, connectors.ErrSignature):
		return answerUnsigned, http.StatusUnauthorized, err.Error() + "; nothing was stored: check the secret that the sender signs with, its clock, and that nothing changes the body on the way", 0
	case errors.Is(err, connectors.ErrEnvelope):
		return answerMalformed, http.StatusBadRequest, err.Error() + "; nothing was stored: correct the body and send it again", 0
	case errors.Is(err, stocksync.ErrUnknownConnection):
		return answerUnknown, http.StatusNotFound, "no connection of this name takes webhooks; the path is /webhooks/ and the name of a connection in the configuration", 0
	case errors.Is(err, stocksync.ErrBusy):
		return answerBusy, http.StatusServiceUnavailable, "more events come than can be stored; nothing was stored, send it again after the seconds in Retry-After", retryBusy
	case errors.Is(err, context.Canceled): // the sender is gone and will send it again
		return answerUnavailable, http.StatusServiceUnavailable, "the request was cancelled", retryBusy
	default: // whatever it was, the event is not known to be stored
		s.rare.sometimes(func(log *slog.Logger) { log.Error("webhook not stored", "connection", name, "error", err) })
		return answerUnavailable, http.StatusServiceUnavailable, "the event cannot be stored now; send it again after the seconds in Retry-After", retryUnavailable
	}
}

// writeReply answers in the words of a connector.
func writeReply(c echo.Context, reply connectors.Reply) error {
	w := c.Response()
	for name, values := range reply.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(reply.Status)
	_, err := w.Write(reply.Body)
	return err
}

// writeReceipt answers 202 with the id of the event in the inbox.
func writeReceipt(c echo.Context, receipt stocksync.Receipt) error {
	var space [64]byte
	b := append(space[:0], `{"id":"`...)
	b = strconv.AppendInt(b, receipt.ID, 10)
	b = append(b, `","duplicate":`...)
	b = strconv.AppendBool(b, receipt.Duplicate)
	b = append(b, '}', '\n')
	w := c.Response()
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(http.StatusAccepted)
	_, err := w.Write(b)
	return err
}
