package sync

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
)

const (
	// silentGaps is how many times the usual time between two webhooks may pass before a channel counts as silent; the usual
	// time is known after enoughGaps webhooks.
	silentGaps = 20
	enoughGaps = 20
)

// tend looks after every connection at the start and every Timings.Tend, and after those that have gone silent all the time.
func (e *Engine) tend(ctx context.Context) {
	var next time.Time
	look := max(e.timings.Look, min(time.Minute, e.timings.Tend/4, e.timings.Silence/4, e.timings.StaleStatement/4))
	for ctx.Err() == nil {
		if now := time.Now(); !now.Before(next) {
			next = now.Add(e.timings.Tend)
			e.tendAll(ctx)
		}
		for _, c := range e.sortedChannels() {
			if err := e.noticeSilence(ctx, c); err != nil && ctx.Err() == nil {
				e.log.Warn("cannot look after the webhooks of a channel", "connection", c.id, "error", err)
			}
		}
		for _, r := range e.sortedRecords() {
			if err := e.noticeSilentRecord(ctx, r); err != nil && ctx.Err() == nil {
				e.log.Warn("cannot look after the silence of a system of record", "connection", r.id, "error", err)
			}
		}
		newSignal().wait(ctx, look)
	}
}

// Tend looks after the credentials and the subscriptions of every connection once, in the calling goroutine, as Run does
// at its start and every hour. What fails is noted, and left to the next time.
func (e *Engine) Tend(ctx context.Context) { e.tendAll(ctx) }

func (e *Engine) tendAll(ctx context.Context) {
	for _, r := range e.sortedRecords() {
		if !r.can().ListensOnly {
			e.proveCredentials(ctx, &r.connectionState, r.System)
		}
	}
	for _, c := range e.sortedChannels() {
		e.proveCredentials(ctx, &c.connectionState, c.Marketplace)
		if _, err := e.tendSubscriptions(ctx, c, false); err != nil && ctx.Err() == nil {
			e.log.Warn("cannot look after the subscriptions of a channel", "connection", c.id, "error", err)
		}
	}
}

// proveCredentials pauses a connection whose credentials are refused, and lets one go on that was paused for that once they
// are taken again. Any other failure is left to the next call.
func (e *Engine) proveCredentials(ctx context.Context, c *connectionState, at connectors.Connection) {
	reason := e.pausedReason(c.id)
	refused := strings.HasPrefix(reason, credentialsRefused)
	if reason != "" && !refused {
		return
	}
	err := at.Check(ctx)
	switch {
	case err == nil && refused:
		err = e.Resume(ctx, c.id, "truestock")
	case connectors.KindOf(err) == connectors.Auth && !refused:
		err = e.callFailed(ctx, c, err)
	default:
		return
	}
	if err != nil && ctx.Err() == nil {
		e.log.Warn("cannot pause or resume a connection by its credentials", "connection", c.id, "error", err)
	}
}

// tendSubscriptions makes the webhook subscriptions that a channel lacks, and says what was missing, one sentence each. A
// dry run only says it. One that cannot be made is an incident.
func (e *Engine) tendSubscriptions(ctx context.Context, c *channelState, dryRun bool) ([]string, error) {
	s, ok := c.Marketplace.(connectors.Subscriber)
	if !ok || e.pausedReason(c.id) != "" {
		return nil, nil
	}
	missing, err := s.MissingSubscriptions(ctx)
	if err != nil {
		return nil, err
	}
	if dryRun {
		return missingText(c, missing, "a run that heals subscribes again"), nil
	}
	now := time.Now().UTC()
	if len(missing) == 0 {
		return nil, e.store.CloseIncident(ctx, IncidentSubscription, string(c.id), now)
	}
	if err := s.Subscribe(ctx, missing); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		text := fmt.Sprintf("%s sends no webhooks of %s: the subscription is gone and could not be made again (%v). Until it is there, changes are seen by asking every %s only. Subscribe there by hand, or correct what it refuses.",
			c.id, strings.Join(missing, ", "), err, c.connectionState.poll)
		return missingText(c, missing, "could not be subscribed again: "+errorText(err)),
			e.store.OpenIncident(ctx, Incident{Kind: IncidentSubscription, Subject: string(c.id), OpenedAt: now, Message: text})
	}
	e.log.Warn("webhook subscriptions were missing and are made again", "connection", c.id, "types", missing)
	c.ask() // for what was sent to nobody meanwhile
	return missingText(c, missing, "subscribed again"), e.store.CloseIncident(ctx, IncidentSubscription, string(c.id), now)
}

func missingText(c *channelState, missing []string, what string) []string {
	var out []string
	for _, m := range missing {
		out = append(out, fmt.Sprintf("%s: no subscription to %s: %s", c.id, m, what))
	}
	return out
}

// heard takes note of a webhook, and of the usual time between two.
func (c *connectionState) heard(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.heardAt.IsZero() {
		if gap := now.Sub(c.heardAt); c.gaps == 0 {
			c.usualGap = gap
		} else {
			c.usualGap += (gap - c.usualGap) / 8
		}
		c.gaps++
	}
	c.heardAt = now
}

// silentSince is when the last webhook came, where none has come for unusually long; else the zero time.
func (c *connectionState) silentSince(now time.Time, least time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gaps < enoughGaps || now.Sub(c.heardAt) < max(least, silentGaps*c.usualGap) {
		return time.Time{}
	}
	return c.heardAt
}

// noticeSilence has a channel looked at whose webhooks have stopped coming, once per silence, and opens an incident. The
// next webhook closes it.
func (e *Engine) noticeSilence(ctx context.Context, c *channelState) error {
	now := time.Now().UTC()
	since := c.silentSince(now, e.timings.Silence)
	c.connectionState.mu.Lock()
	before, heard := c.silence, !c.heardAt.IsZero()
	c.silence = since
	c.connectionState.mu.Unlock()
	switch {
	case since.IsZero() && heard && !c.quieted:
		err := e.store.CloseIncident(ctx, IncidentSilence, string(c.id), now)
		c.quieted = err == nil
		return err
	case since.Equal(before), since.IsZero():
		return nil
	}
	c.quieted = false
	c.ask()
	if _, err := e.tendSubscriptions(ctx, c, false); err != nil && ctx.Err() == nil {
		e.log.Warn("cannot look after the subscriptions of a channel", "connection", c.id, "error", err)
	}
	return e.store.OpenIncident(ctx, Incident{Kind: IncidentSilence, Subject: string(c.id), OpenedAt: now,
		Message: fmt.Sprintf("%s has sent no webhook since %s, which is unusually long. It was asked for news and its subscriptions were looked after; its orders are found by asking every %s. If it is not simply quiet there, look at its log of deliveries.",
			c.id, since.Format(time.RFC3339), c.connectionState.poll)})
}

// noticeSilentRecord opens an incident about a system of record that has not answered for so long that raises wait for it, and
// closes it when it answers again.
func (e *Engine) noticeSilentRecord(ctx context.Context, r *recordState) error {
	if !r.tried() {
		return nil // what was heard last, an earlier process has heard
	}
	silent, heard, err := e.silent(ctx, r)
	if err != nil || r.toldSilent != nil && silent == *r.toldSilent {
		return err
	}
	now := time.Now().UTC()
	if !silent {
		err = e.store.CloseIncident(ctx, IncidentSourceSilent, string(r.id), now)
	} else {
		since := "never answered"
		if !heard.IsZero() {
			since = "not answered since " + heard.Format(time.RFC3339)
		}
		err = e.store.OpenIncident(ctx, Incident{Kind: IncidentSourceSilent, Subject: string(r.id), OpenedAt: now,
			Message: fmt.Sprintf("%s has %s. Its last word holds: lowers go out, raises wait until it answers. Look whether it runs and can be reached; it is asked every %s.", r.id, since, r.connectionState.poll)})
	}
	if err == nil {
		r.toldSilent = &silent
	}
	return err
}

// tried reports whether this process has asked the connection, with or without an answer.
func (c *connectionState) tried() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.polledAt.IsZero() || c.failures > 0
}
