package sync

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
)

// A sender of webhooks tries again for a while and then gives up, and may drop the subscription. Where nobody listened, or
// nobody could ask, for more than half of that time, what came meanwhile may never come again: the channel is catching up.
// Until its orders were fetched without a gap nothing is raised there; lowers go out at once.

const (
	// leastOverlap is how far before the bookmark a catch-up begins: a list of orders may lag behind its clock.
	leastOverlap = 10 * time.Minute
	// maxPasses is how often a catch-up fetches before it leaves the rest to the next look.
	maxPasses = 10
)

// noticeGap finds out whether the channel was unheard for too long, and since when it is catching up; the zero time where
// it is not.
func (e *Engine) noticeGap(ctx context.Context, c *channelState) (time.Time, error) {
	now := time.Now().UTC()
	c.connectionState.mu.Lock()
	gap, drained := c.gap, c.drainedAt
	c.connectionState.mu.Unlock()
	if !gap.IsZero() {
		return gap, nil
	}
	if drained.IsZero() {
		// Nothing was fetched by this process. The bookmark is by the channel's clock, which is near enough to ours.
		mark, err := e.store.Bookmark(ctx, c.id, ordersFeed)
		if err != nil {
			return time.Time{}, fmt.Errorf("look up how far the orders of %s were read: %w", c.id, err)
		}
		drained, _ = time.Parse(time.RFC3339Nano, mark)
	}
	if drained.IsZero() || now.Sub(drained) <= e.longestGap(c) {
		return time.Time{}, nil // never heard of, so nothing was missed; or heard of lately
	}
	c.connectionState.mu.Lock()
	c.gap = drained
	c.connectionState.mu.Unlock()
	e.log.Info("catching up on orders", "connection", c.id, "since", drained)
	return drained, nil
}

// retryHorizon is for how long the channel tries to deliver a webhook.
func (e *Engine) retryHorizon(c *channelState) time.Duration {
	if caps := e.capabilities(c.id); caps != nil && caps.RetryHorizon > 0 {
		return caps.RetryHorizon
	}
	return e.timings.RetryHorizon
}

// longestGap is for how long a channel may go unheard: half of what its sender goes on trying, but never less than a few of
// our own looks.
func (e *Engine) longestGap(c *channelState) time.Duration {
	return max(e.retryHorizon(c)/2, 3*c.connectionState.poll)
}

// catchingUp is why nothing is raised at a channel that was unheard for too long, empty where it was not. The look that
// ends it is asked for.
func (e *Engine) catchingUp(ctx context.Context, c *channelState) (string, error) {
	gap, err := e.noticeGap(ctx, c)
	if err != nil || gap.IsZero() {
		return "", err
	}
	c.ask()
	return catchingUpText(c, gap), nil
}

func catchingUpText(c *channelState, since time.Time) string {
	return fmt.Sprintf("%s is catching up: its orders since %s are being fetched", c.id, since.UTC().Format(time.RFC3339))
}

// caughtUp ends a catch-up. What has piled up is then pushed batch by batch.
func (e *Engine) caughtUp(c *channelState, drainedAt time.Time, whole bool) {
	c.connectionState.mu.Lock()
	ended := !c.gap.IsZero() && whole
	c.drainedAt = drainedAt
	if ended {
		// What the sources told meanwhile is planned a little later: it is waited for before there is nothing left.
		c.gap, c.recovering, c.recoverTo = time.Time{}, true, time.Now().UTC().Add(3*c.connectionState.poll)
	}
	c.connectionState.mu.Unlock()
	if ended {
		e.log.Info("caught up on orders", "connection", c.id)
		c.wakePush.send()
	}
}

// pushed notes that a channel was given a batch of n, and when the next one may go. After a catch-up it rests in between, so that
// what has piled up does not fall upon it all at once, until nothing is left.
func (c *channelState) pushed(n int, next time.Time) {
	c.connectionState.mu.Lock()
	defer c.connectionState.mu.Unlock()
	if n > 0 {
		c.nextBatch = next
	} else if !time.Now().UTC().Before(c.recoverTo) {
		c.recovering = false
	}
}

// betweenBatches is how long a channel still rests after a batch; zero when it does not. Lowers do not wait for that.
func (c *channelState) betweenBatches(now time.Time) time.Duration {
	c.connectionState.mu.Lock()
	defer c.connectionState.mu.Unlock()
	if !c.recovering {
		return 0
	}
	return max(0, c.nextBatch.Sub(now))
}

// onlyLowers keeps the due listings whose number falls below what the channel was last known to show.
func onlyLowers(due []Listing) []Listing {
	return slices.DeleteFunc(due, func(l Listing) bool {
		have := cmp.Or(l.Confirmed, l.Published)
		return l.Target == nil || have == nil || *l.Target >= *have
	})
}

// fetchOrders stores every order that changed since the instant given, and returns the watermark. While the channel is
// catching up it begins earlier, and begins anew until a pass finds nothing that the passes before should have found;
// whole is false where that did not come to an end.
func (e *Engine) fetchOrders(ctx context.Context, c *channelState, since time.Time) (watermark time.Time, whole bool, err error) {
	gap, err := e.noticeGap(ctx, c)
	if err != nil {
		return watermark, false, err
	}
	overlap := time.Duration(0)
	if caps := e.capabilities(c.id); caps != nil {
		overlap = caps.OrderOverlap
	}
	if gap.IsZero() {
		watermark, _, err = e.fetchOnce(ctx, c, back(since, overlap), time.Time{})
		return watermark, true, err
	}
	overlap = max(overlap, leastOverlap)
	watermark = since
	for pass := range maxPasses {
		before := watermark
		at, late, err := e.fetchOnce(ctx, c, back(before, overlap), before)
		if err != nil {
			return watermark, false, err
		}
		// The first pass is expected to find much after the bookmark; only what is older than that was missed before.
		if watermark = at; late == 0 && pass > 0 {
			return watermark, true, nil
		}
	}
	return watermark, false, nil
}

func back(since time.Time, overlap time.Duration) time.Time {
	if since.IsZero() {
		return since
	}
	return since.Add(-overlap)
}

// fetchOnce stores every order that changed since an instant. late counts those that were new to us and had changed at or
// before the instant up to which all were thought to be known.
func (e *Engine) fetchOnce(ctx context.Context, c *channelState, since, known time.Time) (watermark time.Time, late int, err error) {
	for from := connectors.Cursor(""); ; {
		page, err := c.Marketplace.Orders(ctx, since, from)
		if err != nil {
			return watermark, late, err
		}
		if watermark.IsZero() || page.Watermark.Before(watermark) {
			watermark = page.Watermark
		}
		receipts, err := e.storeOrders(ctx, c.id, page.Orders)
		if err != nil {
			return watermark, late, err
		}
		for i, r := range receipts {
			if !r.Duplicate && !page.Orders[i].UpdatedAt.After(known) {
				late++
			}
		}
		if page.Next == "" {
			return watermark, late, nil
		}
		from = page.Next
	}
}

// unheard reports whether a system of record was not asked for so long that its levels are read first, before what has
// moved since the last time: what it forgot to tell, or tells no more, is in them.
func (e *Engine) unheard(ctx context.Context, r *recordState) (bool, error) {
	longest := e.timings.RetryHorizon / 2
	if heard := r.lastPoll(); !heard.IsZero() {
		return time.Since(heard) > longest, nil
	}
	mark, err := e.store.Bookmark(ctx, r.id, levelsFeed)
	if err != nil {
		return false, fmt.Errorf("look up when the levels of %s were read: %w", r.id, err)
	}
	read, err := time.Parse(time.RFC3339Nano, mark)
	return err == nil && time.Since(read) > longest, nil
}
