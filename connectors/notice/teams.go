package notice

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// teams posts an Adaptive Card to a flow of Teams' Workflows that begins with "When a Teams webhook request is received". The
// connectors that shoutrrr 0.13.2 speaks (webhook.office.com) were retired by Microsoft in May 2026.
//
// https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook and
// https://devblogs.microsoft.com/microsoft365dev/retirement-of-office-365-connectors-within-microsoft-teams/
type teams struct {
	client *rest.Client
	path   string
	query  url.Values
}

func newTeams(out way, u *url.URL, log *slog.Logger) (*teams, error) {
	if u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, &TargetError{Field: "url", Reason: "is not teams+ and the https address of the flow"}
	}
	client, err := newClient(out, "https://"+u.Host, log)
	if err != nil {
		return nil, &TargetError{Field: "url", Reason: err.Error()}
	}
	return &teams{client: client, path: u.EscapedPath(), query: u.Query()}, nil
}

type (
	cardMessage struct {
		Type        string           `json:"type"`
		Attachments []cardAttachment `json:"attachments"`
	}
	cardAttachment struct {
		ContentType string       `json:"contentType"`
		Content     adaptiveCard `json:"content"`
	}
	adaptiveCard struct {
		Schema  string      `json:"$schema"`
		Type    string      `json:"type"`
		Version string      `json:"version"`
		Body    []textBlock `json:"body"`
	}
	textBlock struct {
		Type   string `json:"type"`
		Text   string `json:"text"`
		Weight string `json:"weight,omitempty"`
		Wrap   bool   `json:"wrap"`
	}
)

func (t *teams) send(ctx context.Context, m connectors.Message) error {
	card := adaptiveCard{Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.2", Body: []textBlock{
		{Type: "TextBlock", Text: m.Title, Weight: "Bolder", Wrap: true}, {Type: "TextBlock", Text: m.Text, Wrap: true},
	}}
	// It has no key against repeats, so it is sent once per try of the outbox.
	return t.client.Do(ctx, rest.Call{Op: "send to teams", Method: http.MethodPost, Path: t.path, Query: t.query, Write: true,
		Body: cardMessage{Type: "message", Attachments: []cardAttachment{{ContentType: "application/vnd.microsoft.card.adaptive", Content: card}}}}, nil)
}
