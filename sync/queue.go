package sync

import (
	"context"
	"fmt"
	"time"

	"github.com/truestock/truestock/connectors"
)

// readQueue fetches once what waits in a channel's queue, stores it as webhooks are stored, and then takes it out of the
// queue. A queue that cannot be read is an incident, and stops nothing else: orders are still asked for, and lowers go out.
func (e *Engine) readQueue(ctx context.Context, c *channelState, queue connectors.DeliveryQueue) (time.Duration, error) {
	if e.pausedReason(c.id) != "" {
		return e.timings.Look, nil
	}
	fetched, err := queue.FetchDeliveries(ctx)
	if err != nil {
		return e.queueFailed(ctx, c, err)
	}
	now := time.Now().UTC()
	for _, f := range fetched {
		if _, err := e.keep(ctx, &c.connectionState, f.Delivery, now); err != nil {
			return 0, err // what was not stored is not acknowledged, and comes again
		}
	}
	if len(fetched) > 0 {
		if err := queue.Acknowledge(ctx, fetched); err != nil {
			return e.queueFailed(ctx, c, err)
		}
	}
	if c.queueFailures > 0 {
		if err := e.store.CloseIncident(ctx, IncidentSubscription, queueSubject(c), now); err != nil {
			return 0, fmt.Errorf("close the incident about the queue of %s: %w", c.id, err)
		}
		c.queueFailures = 0
	}
	if len(fetched) > 0 {
		return 0, nil
	}
	return e.timings.Look, nil
}

// queueFailed opens the incident, and says how long to wait before the queue is read again.
func (e *Engine) queueFailed(ctx context.Context, c *channelState, err error) (time.Duration, error) {
	if connectors.KindOf(err) == "" {
		return 0, err
	}
	c.queueFailures++
	if c.queueFailures == 1 {
		e.log.Info("cannot read a queue", "connection", c.id, "error", err)
		text := fmt.Sprintf("the queue of %s cannot be read (%v). Until it can, changes there are seen by asking every %s only; it is tried again by itself.", c.id, err, c.connectionState.poll)
		if err := e.store.OpenIncident(ctx, Incident{Kind: IncidentSubscription, Subject: queueSubject(c), OpenedAt: time.Now().UTC(), Message: text}); err != nil {
			return 0, fmt.Errorf("open the incident about the queue of %s: %w", c.id, err)
		}
	}
	return e.backoff(c.queueFailures), nil
}

// queueSubject tells the incident about a channel's queue from the one about its subscriptions.
func queueSubject(c *channelState) string { return string(c.id) + " queue" }
