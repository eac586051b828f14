package open

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/standardwebhooks"
	"github.com/truestock/truestock/stock"
)

// The settings of a connection.
const (
	settingBaseURL        = "base_url"
	settingToken          = "token"
	settingWebhookSecrets = "webhook_secrets"
	settingLevels         = "levels"
	settingPace           = "requests_per_second"
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "open",
		Title: "Open protocol",
		Roles: []connectors.Role{connectors.MarketplaceRole, connectors.SystemOfRecordRole},
		Fields: []connectors.Field{
			{Name: settingBaseURL, Help: "Address of the system's API, such as https://erp.example/truestock; leave it out " +
				"for a system that only sends webhooks."},
			{Name: settingToken, Help: "Bearer token that the system's API asks for.", Secret: true},
			{Name: settingWebhookSecrets, Help: "Secrets that webhooks may be signed with (whsec_…), separated by commas or " +
				"spaces; more than one while a secret is being replaced.", Secret: true},
			{Name: settingLevels, Help: "What the numbers of a system of record mean, on_hand or available: needed without " +
				"base_url, and otherwise checked against what the system says."},
			{Name: settingPace, Help: "The most requests a second that the system bears, such as 5 or 0.5; no limit when left out."},
		},
		Open:  open,
		Guide: guide(),
	}
}

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "the open protocol, docs/open-protocol.yaml",
		Classes: []connectors.Class{connectors.CompareAndSet, connectors.IdempotentDelta, connectors.DeductsSinceUpdate, connectors.DeductsOpenOrders,
			connectors.Overwrite, connectors.AsynchronousFeed},
		Bases: []stock.Basis{stock.OnHandBasis, stock.AvailableBasis},
		Setup: []string{
			"Let the system serve the paths of docs/open-protocol.yaml that it can, and say so at /capabilities; a system that only sends webhooks serves none.",
			"Make a secret with `echo whsec_$(openssl rand -base64 32)` and give it to both sides; let the system post its events to the webhook address of the connection.",
			"Put the address and the bearer token into the configuration, and run `truestock check`.",
		},
		Limits: []string{"What the system declares at /capabilities: batch, pace, largest quantity, read lag."},
		Can:    []string{"everything that truestock can: stock, orders, shipments, stop of sale, subscriptions, movements with positions, amendments of orders"},
		Evidence: []connectors.Evidence{
			{By: connectors.Conformance, What: "every class, against pretend shops behind real HTTP", Test: "connectors/open TestMarketplaceConformance"},
			{By: connectors.Conformance, What: "both bases, with and without positions, against pretend warehouses", Test: "connectors/open TestSystemOfRecordConformance"},
			{By: connectors.Vectors, What: "the signatures of Standard Webhooks", Test: "connectors/standardwebhooks TestOfficialVector"},
		},
	}
}

// The roles' types offer what their capabilities may claim; where a system does not claim a thing, its method is
// Rejected without a call.
var (
	_ connectors.Marketplace     = (*shop)(nil)
	_ connectors.ShipmentWriter  = (*shop)(nil)
	_ connectors.SaleStopper     = (*shop)(nil)
	_ connectors.RemedyWriter    = (*shop)(nil)
	_ connectors.Subscriber      = (*shop)(nil)
	_ connectors.WebhookReceiver = (*shop)(nil)
	_ connectors.SystemOfRecord  = (*warehouse)(nil)
	_ connectors.OrderAmender    = (*warehouse)(nil)
	_ connectors.OrderTeller     = (*warehouse)(nil)
	_ connectors.StockCorrector  = (*warehouse)(nil)
	_ connectors.WebhookReceiver = (*warehouse)(nil)
)

// open checks the settings; it does no I/O. The error names the setting.
func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	verifier, err := standardwebhooks.Parse(s[settingWebhookSecrets])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingWebhookSecrets, err)
	}
	basis, err := parseLevels(role, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingLevels, err)
	}
	conn := &connection{receiver: receiver{role: role, verifier: verifier}}
	if s[settingBaseURL] != "" {
		if conn.client, err = newClient(env, s); err != nil {
			return nil, err
		}
	} else if verifier.Empty() {
		return nil, errors.New("the connection has neither base_url, to ask the system, nor webhook_secrets, to hear from it: set at least one")
	}
	switch role {
	case connectors.MarketplaceRole:
		hooks := webhooks{url: env.WebhookURL}
		if secrets := standardwebhooks.SecretTexts(s[settingWebhookSecrets]); len(secrets) > 0 {
			hooks.secret = secrets[0]
		}
		return &shop{connection: conn, hooks: hooks}, nil
	case connectors.SystemOfRecordRole:
		return &warehouse{connection: conn, basis: basis}, nil
	default:
		return nil, fmt.Errorf("role %q is not one of %s and %s", role, connectors.MarketplaceRole, connectors.SystemOfRecordRole)
	}
}

func newClient(env connectors.Env, s connectors.Settings) (*rest.Client, error) {
	pace, err := rest.ParsePace(settingPace, s[settingPace])
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if token := s[settingToken]; token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return rest.New(rest.Config{
		BaseURL:           s[settingBaseURL],
		Header:            header,
		Transport:         env.Transport,
		Log:               env.Log,
		Timeout:           env.Timeout,
		RequestsPerSecond: pace,
		Secrets:           append(standardwebhooks.SecretTexts(s[settingWebhookSecrets]), s[settingToken]),
	})
}

func parseLevels(role connectors.Role, s connectors.Settings) (stock.Basis, error) {
	switch basis := stock.Basis(s[settingLevels]); {
	case role != connectors.SystemOfRecordRole && basis != "":
		return "", errors.New("it is for a system of record; take it out")
	case basis == "" && role == connectors.SystemOfRecordRole && s[settingBaseURL] == "":
		return "", errors.New("without base_url the system cannot be asked what its numbers mean; write on_hand or available")
	case basis != "" && basis != stock.OnHandBasis && basis != stock.AvailableBasis:
		return "", fmt.Errorf("it is %q; write on_hand or available", string(basis))
	default:
		return basis, nil
	}
}

// connection is what both roles share. Its client is nil where the system only sends webhooks: then every call is
// Rejected, except Check, which has no credentials to prove, and the Capabilities of a system of record, which are
// what the setting levels says.
type connection struct {
	receiver
	client *rest.Client
	closed atomic.Bool
}

// Close implements connectors.Connection.
func (c *connection) Close() error {
	c.closed.Store(true)
	if c.client == nil {
		return nil
	}
	return c.client.Close()
}

func (c *connection) do(ctx context.Context, call rest.Call, out any) error {
	if c.client == nil {
		return connectors.Rejectedf(call.Op, "", "the connection has no base_url, so it only receives webhooks; set base_url to ask the system")
	}
	return c.client.Do(ctx, call, out)
}

// ready answers for what needs no call.
func (c *connection) ready(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.closed.Load() {
		return &connectors.Error{Kind: connectors.Retryable, Op: op, Err: errors.New("the connection is closed")}
	}
	return nil
}

// rejected is a page or an answer that cannot be taken. Nothing of it is: a row left out would read as a listing that
// is gone or a level that is zero.
func (c *connection) rejected(op string, err error) error {
	return connectors.Rejectedf(op, "", "%s", c.redact(err.Error()))
}

func (c *connection) redact(text string) string {
	if c.client == nil {
		return text
	}
	return c.client.Redact(text)
}

// remembered keeps the capabilities of the other side once they were told.
type remembered[T any] struct {
	mu    sync.Mutex
	value *T
}

// get returns what is remembered, or asks. A failure is not remembered.
func (r *remembered[T]) get(ask func() (T, error)) (T, error) {
	r.mu.Lock()
	known := r.value
	r.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	v, err := ask()
	if err == nil {
		r.mu.Lock()
		r.value = &v
		r.mu.Unlock()
	}
	return v, err
}

// forgetIf drops what is remembered when a call was Rejected: the system may have changed what it can do.
func (r *remembered[T]) forgetIf(err error) {
	if connectors.KindOf(err) != connectors.Rejected {
		return
	}
	r.mu.Lock()
	r.value = nil
	r.mu.Unlock()
}

// trail is a place in a list of pages, and what it takes to notice that the pages go round in a ring: the token of one
// earlier page, which is moved on after 1, 2, 4, … pages (Brent's algorithm).
type trail struct {
	Token  string `json:"next"`
	Mark   string `json:"mark,omitempty"`
	Steps  int    `json:"steps,omitzero"`
	Stride int    `json:"stride,omitzero"`
}

// on is the place after a page whose member next is given; without a token it is the end. A page that leads back to an
// earlier one is an error: the list would be asked for without end. A ring is noticed before its pages came three times.
func (t trail) on(next *string) (trail, error) {
	if next == nil || *next == "" {
		return trail{}, nil
	}
	if *next == t.Token || *next == t.Mark {
		return trail{}, fmt.Errorf("next is %q, the cursor of an earlier page: the list would never end", *next)
	}
	to := trail{Token: *next, Mark: t.Mark, Steps: t.Steps + 1, Stride: max(1, t.Stride)}
	if to.Steps >= to.Stride {
		to.Mark, to.Steps, to.Stride = to.Token, 0, 2*to.Stride
	}
	return to, nil
}

// cursor is the cursor of the place; empty at the end.
func (t trail) cursor() (connectors.Cursor, error) {
	if t.Token == "" {
		return "", nil
	}
	return makeCursor(t)
}

// segment escapes one segment of a path, the segments with a meaning of their own included.
func segment(s string) string {
	switch s {
	case ".", "..":
		return strings.ReplaceAll(s, ".", "%2E")
	default:
		return url.PathEscape(s)
	}
}

// utc is t in UTC, and the zero time for no time.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}
