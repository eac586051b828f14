package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/standardwebhooks"
)

// webhook posts each message as {type, timestamp, data}, signed by the Standard Webhooks scheme with the message's id.
type webhook struct {
	client *rest.Client
	path   string
	query  url.Values
	keys   *standardwebhooks.Verifier
}

func newWebhook(out way, u *url.URL, secret string, log *slog.Logger) (*webhook, error) {
	if u.Scheme == "http" && out.guarded && !out.guard.named(u.Hostname()) {
		return nil, &TargetError{Field: "url", Reason: "is http: write https, or name the host under notices.allow where it is inside"}
	}
	if u.User != nil || u.Fragment != "" || u.Host == "" {
		return nil, &TargetError{Field: "url", Reason: "has no host, or a user name, a password or a fragment: write https://host/path"}
	}
	keys, err := standardwebhooks.Parse(secret)
	if err != nil {
		return nil, &TargetError{Field: "secret", Reason: err.Error()}
	}
	if keys.Empty() {
		return nil, &TargetError{Field: "secret", Reason: "is missing: a webhook is signed; make one with: echo whsec_$(openssl rand -base64 32)"}
	}
	client, err := newClient(out, u.Scheme+"://"+u.Host, log)
	if err != nil {
		return nil, &TargetError{Field: "url", Reason: err.Error()}
	}
	return &webhook{client: client, path: u.EscapedPath(), query: u.Query(), keys: keys}, nil
}

// newClient is a client of one host. It does not log: what goes over the wire has addresses that are secret.
func newClient(out way, base string, _ *slog.Logger) (*rest.Client, error) {
	return rest.New(rest.Config{BaseURL: base, Transport: out.next, Timeout: sendTimeout, MaxBody: maxAnswer})
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

func (w *webhook) send(ctx context.Context, m connectors.Message) error {
	data := m.Data
	if len(data) == 0 {
		data = json.RawMessage("{}")
	}
	body, err := json.Marshal(struct {
		Type      string          `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}{m.Type, m.At.UTC(), data})
	if err != nil {
		return &connectors.Error{Kind: connectors.Rejected, Op: "send webhook", Err: fmt.Errorf("the message is not JSON: %w", err)}
	}
	header, err := w.keys.Sign(m.ID, time.Now(), body)
	if err != nil {
		return err
	}
	return w.client.Do(ctx, rest.Call{Op: "send webhook", Method: http.MethodPost, Path: w.path, Query: w.query, Header: header, Body: body, Write: true, Idempotent: true}, nil)
}

// answerError is what a chat says of a message in an answer that is 200 all the same.
func answerError(op string, code int64, text string) error {
	return &connectors.Error{Kind: connectors.Rejected, Op: op, Code: fmt.Sprint(code), Err: errors.New(text)}
}
