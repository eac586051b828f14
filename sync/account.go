package sync

import (
	"context"
	"fmt"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// checkAccount compares the account that a channel leads to with the one before. Behind another one every listing is
// missing and every order is a stranger's: the connection is paused before anything is concluded from that.
func (e *Engine) checkAccount(ctx context.Context, c *channelState, account string) error {
	if account == "" {
		return nil
	}
	before, err := e.store.Bookmark(ctx, c.id, accountFeed)
	if err != nil {
		return fmt.Errorf("look up the account of %s: %w", c.id, err)
	}
	now := time.Now().UTC()
	switch before {
	case account:
		return e.store.CloseIncident(ctx, IncidentWrongShop, string(c.id), now)
	case "":
		return e.store.SetBookmark(ctx, c.id, accountFeed, account)
	}
	text := fmt.Sprintf("%s leads to the account %q, and to %q before", c.id, account, before)
	err = e.pause(ctx, c.id, text, &Incident{Kind: IncidentWrongShop, Subject: string(c.id), OpenedAt: now,
		Message: text + ". Nothing is sent there and nothing was concluded. Correct the connection and resume it, or accept the new account."})
	if err != nil {
		return err
	}
	return connectors.Rejectedf("check the account", "", "%s", text)
}

// probeAccount asks a channel anew who it is, before it is believed that it does not know a listing.
func (e *Engine) probeAccount(ctx context.Context, c *channelState) error {
	teller, ok := c.Marketplace.(connectors.AccountTeller)
	if !ok {
		return c.Marketplace.Check(ctx)
	}
	account, err := teller.Account(ctx)
	if err != nil {
		return err
	}
	return e.checkAccount(ctx, c, account)
}

// accountEvery is how often a channel is asked who it is: before each regular look, and at least once a minute.
func (e *Engine) accountEvery() time.Duration { return min(time.Minute, e.timings.Poll) }

// knowAccount asks a channel who it is when it has not said so for a while. Nothing of a stranger is taken, and nothing
// is sent to one.
func (e *Engine) knowAccount(ctx context.Context, c *channelState) error {
	teller, ok := c.Marketplace.(connectors.AccountTeller)
	now := time.Now().UTC()
	c.connectionState.mu.Lock()
	fresh := !c.accountAt.IsZero() && now.Sub(c.accountAt) < e.accountEvery()
	c.connectionState.mu.Unlock()
	if !ok || fresh {
		return nil
	}
	account, err := teller.Account(ctx)
	if err != nil {
		return err
	}
	if err := e.checkAccount(ctx, c, account); err != nil {
		return err
	}
	c.connectionState.mu.Lock()
	c.accountAt = now
	c.connectionState.mu.Unlock()
	return nil
}

// askAgain has the channel say who it is before anything else.
func (c *channelState) askAgain() {
	c.connectionState.mu.Lock()
	defer c.connectionState.mu.Unlock()
	c.accountAt = time.Time{}
}

// AcceptAccount makes an account the one that a channel is meant to lead to, and lets the channel go on.
func (e *Engine) AcceptAccount(ctx context.Context, id stock.ConnectionID, account, by string) error {
	c := e.channels[id]
	if c == nil {
		return fmt.Errorf("%w: %q is no marketplace", ErrUnknownConnection, id)
	}
	if account == "" {
		return fmt.Errorf("%w: name the account that %s is meant to lead to", ErrInvalid, id)
	}
	entry := act(time.Now().UTC(), by, "account accepted", "connection "+string(id), nil, account)
	if err := e.store.SetBookmark(ctx, id, accountFeed, account, entry); err != nil {
		return fmt.Errorf("accept the account of %s: %w", id, err)
	}
	if err := e.store.CloseIncident(ctx, IncidentWrongShop, string(id), time.Now().UTC()); err != nil {
		return fmt.Errorf("accept the account of %s: %w", id, err)
	}
	return e.Resume(ctx, id, by)
}
