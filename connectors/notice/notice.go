// Package notice brings messages to people and machines: by e-mail, by the chats that the library shoutrrr speaks, by
// Teams and DingTalk, and by webhooks signed by the Standard Webhooks scheme. Where a message goes is in the configuration file
// alone, and never an address inside the own network unless it is allowed there. It decides nothing about who is told what.
package notice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
)

// sendTimeout bounds one try of one message.
const sendTimeout = 15 * time.Second

// Target is an address that messages can be brought to.
type Target struct {
	// URL is https://… for a signed webhook, teams+https://… for a flow of Teams, dingtalk://TOKEN, or what shoutrrr understands, such as slack://… or smtp://….
	URL string
	// Secret signs: whsec_… for a webhook, several of them separated by commas while one replaces another; SEC… for DingTalk.
	Secret string
}

// Config is what a Notifier is told at the start.
type Config struct {
	Targets map[string]Target
	// Allow are hosts and networks that are not of the public internet and may be sent to.
	Allow []string
	Log   *slog.Logger
	// Transport replaces the network in tests; the guard is not asked then.
	Transport http.RoundTripper
}

// sender brings messages to one target.
type sender interface {
	send(ctx context.Context, m connectors.Message) error
}

// Notifier brings messages to the targets of the configuration. It is safe for concurrent use.
type Notifier struct {
	out     way
	senders map[string]sender
	kinds   map[string]string
	redact  *strings.Replacer
}

// TargetError says what is wrong with a target; it holds nothing of its address or secret.
type TargetError struct{ Target, Field, Reason string }

// Error names the target and the field.
func (e *TargetError) Error() string { return e.Target + "." + e.Field + ": " + e.Reason }

// New checks every target. It does no I/O. The errors are *TargetError, joined, and those of NewGuard.
func New(c Config) (*Notifier, error) {
	guard, err := NewGuard(c.Allow)
	if err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	out := way{next: c.Transport, guard: guard, guarded: c.Transport == nil}
	if out.next == nil {
		out.next = guard.transport()
	}
	n := &Notifier{out: out, senders: make(map[string]sender), kinds: make(map[string]string)}
	var errs []error
	var secrets []string
	for _, name := range slices.Sorted(maps.Keys(c.Targets)) {
		t := c.Targets[name]
		kind, s, err := newSender(out, t, c.Log)
		if err != nil {
			if bad, ok := errors.AsType[*TargetError](err); ok {
				bad.Target = name
			}
			errs = append(errs, err)
			continue
		}
		n.senders[name], n.kinds[name] = s, kind
		secrets = append(secrets, secretTexts(t)...)
	}
	n.redact = replacer(secrets)
	return n, errors.Join(errs...)
}

// way is the way out.
type way struct {
	next    http.RoundTripper
	guard   Guard
	guarded bool
}

func newSender(out way, t Target, log *slog.Logger) (kind string, s sender, err error) {
	u, err := url.Parse(t.URL)
	if err != nil || u.Scheme == "" {
		// The text of a parse error holds the URL.
		return "", nil, &TargetError{Field: "url", Reason: "is not an address: write https://…, teams+https://…, dingtalk://TOKEN, slack://…, telegram://…, lark://…, wecom://… or smtp://…"}
	}
	switch u.Scheme {
	case "https", "http":
		s, err = newWebhook(out, u, t.Secret, log)
		return "webhook", s, err
	case "teams+https":
		s, err = newTeams(out, u, log)
	case "dingtalk":
		s, err = newDingTalk(out, u, t.Secret, log)
	default:
		if t.Secret != "" {
			return "", nil, &TargetError{Field: "secret", Reason: "is for webhooks and DingTalk: the address of a " + u.Scheme + " holds its own"}
		}
		s, err = newShout(out, u)
	}
	return u.Scheme, s, err
}

// secretTexts are what must never be shown of a target: everything that it says, but the host of a webhook or a mail server.
func secretTexts(t Target) []string {
	texts := []string{t.URL, t.Secret}
	if u, err := url.Parse(t.URL); err == nil {
		texts = append(texts, u.EscapedPath(), strings.Trim(u.Path, "/"), u.RawQuery)
		texts = append(texts, strings.Split(strings.Trim(u.Path, "/"), "/")...)
		if u.User != nil {
			password, _ := u.User.Password()
			texts = append(texts, u.User.String(), u.User.Username(), password)
		}
		if !strings.HasSuffix(u.Scheme, "https") && u.Scheme != "http" && u.Scheme != "smtp" {
			texts = append(texts, u.Host)
		}
		for _, values := range u.Query() {
			texts = append(texts, values...)
		}
	}
	return texts
}

// leastRedacted is the length below which a text is too common to be replaced everywhere.
const leastRedacted = 6

func replacer(secrets []string) *strings.Replacer {
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range slices.Compact(secrets) {
		if len(s) >= leastRedacted {
			pairs = append(pairs, s, "redacted")
		}
	}
	return strings.NewReplacer(pairs...)
}

// Targets tells the kind of each target, by its name.
func (n *Notifier) Targets() map[string]string { return n.kinds }

// Send brings a message to a target. The error is a *connectors.Error, or the context's own. Rejected, Auth and Unmapped
// mean that the same message would be refused again; anything else is worth another try.
func (n *Notifier) Send(ctx context.Context, target string, m connectors.Message) error {
	s := n.senders[target]
	if s == nil {
		return &connectors.Error{Kind: connectors.Unmapped, Op: "send notice", Err: fmt.Errorf("the configuration has no target %q under notices.targets", target)}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := s.send(ctx, m)
	if err == nil || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return err
	}
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return &connectors.Error{Kind: connectors.Retryable, Op: "send notice", Err: errors.New(n.Redact(err.Error()))}
	}
	clean := *e
	if e.Err != nil {
		clean.Err = errors.New(n.Redact(e.Err.Error()))
	}
	return &clean
}

// Redact replaces everything that is secret about the targets.
func (n *Notifier) Redact(text string) string {
	return n.redact.Replace(strings.Join(strings.Fields(text), " "))
}
