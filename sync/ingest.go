package sync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// Receive verifies a webhook by its raw bytes and stores it. When it returns without an error the event is durable, or
// it is a duplicate of one that is, or the receipt says Conflict: the key is known with another body, nothing was
// stored and an incident is open. Of a handshake nothing is stored: its receipt has no ID, and the Reply to give.
//
// The errors are ErrUnknownConnection, *MethodError, connectors.ErrSignature, connectors.ErrEnvelope, ErrBusy and
// ErrUnavailable, each wrapped with the reason; where the connector words the answer, it is in an *AnsweredError.
func (e *Engine) Receive(ctx context.Context, id stock.ConnectionID, r connectors.Request) (Receipt, error) {
	c, err := e.connection(id)
	if err != nil {
		return Receipt{}, err
	}
	if c.receiver == nil {
		return Receipt{}, fmt.Errorf("%w: connector %q of connection %q takes no webhooks", ErrUnknownConnection, c.connector, id)
	}
	r.At = time.Now().UTC()
	if h, ok := c.receiver.(connectors.Handshaker); ok {
		if reply, ok := h.Handshake(r); ok {
			return Receipt{Reply: &reply}, nil
		}
	}
	if methods := c.webhookMethods(); !slices.Contains(methods, r.Method) {
		return Receipt{}, &MethodError{Connection: id, Methods: methods, Method: r.Method}
	}
	delivery, err := c.receiver.VerifyWebhook(r)
	if err != nil {
		return Receipt{}, c.answered(err)
	}
	if delivery.Body == nil {
		delivery.Body = r.Body
	}
	if completer, ok := c.receiver.(connectors.WebhookCompleter); ok {
		if delivery, err = completer.CompleteWebhook(ctx, delivery); err != nil {
			return Receipt{}, c.answered(fmt.Errorf("complete the delivery: %w", err))
		}
	}
	receipt, err := e.keep(ctx, c, delivery, r.At)
	if err != nil {
		return Receipt{}, c.answered(err)
	}
	if !receipt.Conflict && c.asks(delivery) {
		if receipt.Reply, err = e.answerQuestion(ctx, c, delivery, receipt.ID); err != nil {
			return Receipt{}, c.answered(err)
		}
		return receipt, nil
	}
	receipt.Reply = c.answer(reception(receipt))
	return receipt, nil
}

// keep stores a verified delivery.
func (e *Engine) keep(ctx context.Context, c *connectionState, delivery connectors.Delivery, now time.Time) (Receipt, error) {
	receipt, err := e.store.Put(ctx, NewEvent{
		Connection: c.id, Key: delivery.Key, Type: delivery.Type, Format: WebhookFormat, Body: delivery.Body, ReceivedAt: now,
	})
	if err != nil {
		return Receipt{}, fmt.Errorf("store the event: %w", err)
	}
	e.count(receipt)
	c.heard(now)
	switch {
	case receipt.Conflict:
		incident := Incident{Kind: IncidentSameKeyOther, Subject: string(c.id) + ":" + delivery.Key, OpenedAt: now,
			Message: fmt.Sprintf("%s sent two different events under the id %q. The first is event %d; the second was refused. Ask the sender to give every event an id of its own, then send the second again.", c.id, delivery.Key, receipt.ID)}
		if err := e.store.OpenIncident(ctx, incident); err != nil {
			return Receipt{}, fmt.Errorf("open an incident about event %d: %w", receipt.ID, err)
		}
	case !receipt.Duplicate:
		e.wakeApply.send()
	}
	return receipt, nil
}

// MethodError says that a request came by another HTTP method than the webhooks of its connection do.
type MethodError struct {
	Connection stock.ConnectionID
	Methods    []string
	Method     string
}

// Error says which methods are right.
func (e *MethodError) Error() string {
	return fmt.Sprintf("the webhooks of connection %q come by %s, not by %s", e.Connection, strings.Join(e.Methods, " or "), e.Method)
}

// AnsweredError is a refusal of a webhook that its connector has worded.
type AnsweredError struct {
	Err   error
	Reply connectors.Reply
}

// Error is the reason.
func (e *AnsweredError) Error() string { return e.Err.Error() }

// Unwrap is the reason.
func (e *AnsweredError) Unwrap() error { return e.Err }

// webhookMethods are the HTTP methods by which the webhooks of the connection come.
func (c *connectionState) webhookMethods() []string {
	if m, ok := c.receiver.(connectors.WebhookMethods); ok {
		return m.WebhookMethods()
	}
	return []string{http.MethodPost}
}

// answer is what the connector says to its system; nil where it leaves that to plain HTTP.
func (c *connectionState) answer(became connectors.Reception) *connectors.Reply {
	a, ok := c.receiver.(connectors.WebhookAnswerer)
	if !ok {
		return nil
	}
	reply := a.AnswerWebhook(became)
	return &reply
}

func (c *connectionState) answered(err error) error {
	became := connectors.RefusedUnavailable
	switch {
	case errors.Is(err, connectors.ErrSignature):
		became = connectors.RefusedSignature
	case errors.Is(err, connectors.ErrEnvelope):
		became = connectors.RefusedEnvelope
	}
	if reply := c.answer(became); reply != nil {
		return &AnsweredError{Err: err, Reply: *reply}
	}
	return err
}

func reception(r Receipt) connectors.Reception {
	switch {
	case r.Conflict:
		return connectors.ReceivedConflict
	case r.Duplicate:
		return connectors.ReceivedAgain
	default:
		return connectors.ReceivedNew
	}
}

// ingestFacts stores what a poll found, through the same inbox as webhooks, so that it is deduplicated, applied and
// explained like them. Each batch becomes one event; its key names the content, so that the same answer of the source
// is stored once.
func (e *Engine) ingestFacts(ctx context.Context, id stock.ConnectionID, batches [][]connectors.Fact, name func(i int) string) ([]Receipt, error) {
	events, err := factEvents(id, batches, name)
	if err != nil {
		return nil, err
	}
	receipts, err := e.store.PutAll(ctx, events)
	if err != nil {
		return nil, fmt.Errorf("store what %s told: %w", id, err)
	}
	for _, r := range receipts {
		if !r.Duplicate {
			e.events.Add(1)
			e.wakeApply.send()
		}
	}
	return receipts, nil
}

// factEvents makes an event of each batch of facts.
func factEvents(id stock.ConnectionID, batches [][]connectors.Fact, name func(i int) string) ([]NewEvent, error) {
	events := make([]NewEvent, 0, len(batches))
	for i, facts := range batches {
		body, err := json.Marshal(facts)
		if err != nil {
			return nil, fmt.Errorf("encode facts of %s: %w", id, err)
		}
		sum := sha256.Sum256(body)
		kind := "poll"
		if len(facts) > 0 {
			kind = string(facts[0].Kind)
		}
		events = append(events, NewEvent{
			Connection: id, Key: factsKey + name(i) + ":" + hex.EncodeToString(sum[:12]), Type: kind, Format: FactsFormat, Body: body,
			ReceivedAt: time.Now().UTC(),
		})
	}
	return events, nil
}

// maxAhead is how far a source's clock may be ahead of ours.
const maxAhead = 5 * time.Minute

// decoded is an event in the outside's words.
type decoded struct {
	Event
	facts []connectors.Fact
	pull  bool
	asks  bool
	err   error // why it cannot be understood
}

// decode reads a stored event again.
func (e *Engine) decode(ev Event) decoded {
	d := decoded{Event: ev}
	switch ev.Format {
	case FactsFormat:
		if err := json.Unmarshal(ev.Body, &d.facts); err != nil {
			d.err = fmt.Errorf("the stored facts cannot be read: %w", err)
		}
	default:
		c, err := e.connection(ev.Connection)
		if err != nil || c.decoder == nil {
			d.err = fmt.Errorf("connection %q is not configured any more, or takes no webhooks", ev.Connection)
			return d
		}
		notice, err := c.decoder.DecodeWebhook(connectors.Delivery{Key: ev.Key, Type: ev.Type}, ev.Body)
		d.facts, d.pull, d.asks, d.err = notice.Facts, notice.Pull, notice.Asks, err
	}
	for i := range d.facts {
		if d.err != nil {
			break
		}
		if err := d.facts[i].Validate(); err != nil {
			d.err = err
		}
		if at := d.facts[i].Position; d.facts[i].Order == nil && d.facts[i].Observation == nil && !at.Sequenced && at.SourceAt.After(ev.ReceivedAt.Add(maxAhead)) {
			d.err = fmt.Errorf("the fact is of %s, and came at %s: nothing later would ever be newer; correct the clock of its source", at.SourceAt.Format(time.RFC3339), ev.ReceivedAt.Format(time.RFC3339))
		}
		// Without a sequence and a time of its own, a fact is placed by the instant at which we recorded it. A statement
		// that was sent to us is not: only a read that we began says how old it can be.
		if d.facts[i].Kind != connectors.StockLevel && d.facts[i].Position.SeenAt.IsZero() {
			d.facts[i].Position.SeenAt = ev.ReceivedAt
		}
	}
	if d.err != nil {
		d.facts = nil
	}
	return d
}

func eventReference(id int64) string { return strconv.FormatInt(id, 10) }
