package declared

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/signature"
)

// webhook says how deliveries are verified, and what they mean.
type webhook struct {
	Methods []string    `yaml:"methods"`
	Verify  verify      `yaml:"verify"`
	Key     *expression `yaml:"key"`
	Type    *expression `yaml:"type"`
	Facts   *expression `yaml:"facts"`
	Taken   *reply      `yaml:"taken"`
	Refused *reply      `yaml:"refused"`
	// Event is an event as the system sends it, for the conformance suite.
	Event string `yaml:"event"`
}

type verify struct {
	Scheme  string    `yaml:"scheme"`
	Secrets *template `yaml:"secrets"`
	// Given is where a signature over the body, or the secret itself, stands in the request.
	Given  *expression `yaml:"given"`
	Of     string      `yaml:"of"`
	Into   string      `yaml:"into"`
	Sorted *sorted     `yaml:"sorted"`
	// Sent is when the delivery was signed, in seconds since 1970; Tolerance is how old it may be.
	Sent      *expression `yaml:"sent"`
	Tolerance duration    `yaml:"tolerance"`
}

type reply struct {
	Status int    `yaml:"status"`
	Body   string `yaml:"body"`
}

// The schemes over the body, and of a shared secret; the others sign sorted parameters.
const (
	bodyBase64  = "body_hmac_sha256"
	bodyHex     = "body_hmac_sha256_hex"
	plainSecret = "secret"
)

func (v *verify) ofBody() bool {
	return v.Scheme == bodyBase64 || v.Scheme == bodyHex || v.Scheme == plainSecret
}

func (v *verify) sign() *sign {
	return &sign{Scheme: v.Scheme, Secret: v.Secrets, Of: v.Of, Into: v.Into, Sorted: v.Sorted}
}

func (f *File) checkWebhook(p *problems) {
	w := f.Webhook
	if w == nil {
		return
	}
	switch v := &w.Verify; {
	case v.Scheme == "":
		p.at("webhook.verify.scheme", "write body_hmac_sha256, body_hmac_sha256_hex, secret, jushuitan, wangdian, alibaba or sorted: a delivery that nobody can verify is not taken")
	case v.ofBody() && !v.Given.set():
		p.at("webhook.verify.given", `write where the signature stands, such as .headers["x-signature"]`)
	case v.ofBody() && !v.Secrets.set():
		p.at("webhook.verify.secrets", "write which setting has the secrets, such as =.settings.webhook_secrets")
	case !v.ofBody():
		checkSign(p, "webhook.verify", v.sign())
	}
	if w.Verify.Sent.set() != (w.Verify.Tolerance > 0) {
		p.at("webhook.verify.tolerance", "sent and tolerance go together")
	}
	if !w.Key.set() || !w.Type.set() || !w.Facts.set() {
		p.at("webhook", "write key, type and facts")
	}
	for name, r := range map[string]*reply{"taken": w.Taken, "refused": w.Refused} {
		if r != nil && (r.Status < 200 || r.Status > 599) {
			p.at("webhook."+name+".status", "write an HTTP status")
		}
	}
	if w.Taken != nil && w.Refused == nil {
		p.at("webhook.refused", "a system that wants its own words for what was taken wants them for what was refused")
	}
}

// receiver understands the webhooks of a declared system.
type receiver struct {
	c       *connection
	webhook *webhook
}

// WebhookMethods implements connectors.WebhookMethods.
func (r *receiver) WebhookMethods() []string {
	if len(r.webhook.Methods) == 0 {
		return []string{http.MethodPost}
	}
	return r.webhook.Methods
}

// AnswerWebhook implements connectors.WebhookAnswerer.
func (r *receiver) AnswerWebhook(became connectors.Reception) connectors.Reply {
	statuses := map[connectors.Reception]int{connectors.ReceivedNew: http.StatusOK, connectors.ReceivedAgain: http.StatusOK, connectors.ReceivedConflict: http.StatusConflict,
		connectors.RefusedSignature: http.StatusUnauthorized, connectors.RefusedEnvelope: http.StatusBadRequest, connectors.RefusedUnavailable: http.StatusServiceUnavailable}
	words := r.webhook.Refused
	if became == connectors.ReceivedNew || became == connectors.ReceivedAgain {
		words = r.webhook.Taken
	}
	if words == nil {
		return connectors.Reply{Status: statuses[became]}
	}
	return connectors.Reply{Status: words.Status, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(words.Body)}
}

// VerifyWebhook implements connectors.WebhookReceiver. What is signed in the query is stored as the body.
func (r *receiver) VerifyWebhook(req connectors.Request) (connectors.Delivery, error) {
	ctx := context.Background()
	d := connectors.Delivery{}
	v := &r.webhook.Verify
	secrets, err := v.Secrets.text(ctx, r.c.scope("webhook", nil))
	if err != nil {
		return d, fmt.Errorf("%w: the secrets cannot be found", connectors.ErrSignature)
	}
	form, _ := url.ParseQuery(string(req.Body))
	headers := map[string]any{}
	for name, values := range req.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	// Nothing of the body is read as JSON before it is known from whom it is.
	seen := map[string]any{"method": req.Method, "query": single(req.Query()), "headers": headers, "form": single(form)}
	if d.Secret, err = v.match(ctx, signature.Parse(secrets), req, seen); err != nil {
		return d, err
	}
	if v.Sent.set() {
		at, err := v.Sent.number(ctx, answer{seen, seen})
		if err != nil {
			return d, fmt.Errorf("%w: it does not tell when it was signed", connectors.ErrSignature)
		}
		if err := signature.Fresh(time.Unix(at, 0), req.At, time.Duration(v.Tolerance)); err != nil {
			return d, err
		}
	}
	body := req.Body
	if v.Of == inQuery && !v.ofBody() {
		body, d.Body = []byte(req.RawQuery), []byte(req.RawQuery)
	}
	event, err := contents(body)
	if err != nil {
		return d, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	event["query"], event["headers"] = seen["query"], seen["headers"]
	for _, part := range []struct {
		e    *expression
		into *string
	}{{r.webhook.Key, &d.Key}, {r.webhook.Type, &d.Type}} {
		v, err := part.e.one(ctx, event, event)
		if err == nil {
			*part.into, err = textOf(v)
		}
		if err == nil {
			err = nameCheck("it", *part.into)
		}
		if err != nil {
			return d, fmt.Errorf("%w: %s: %w", connectors.ErrEnvelope, part.e.where, err)
		}
	}
	return d, nil
}

func (v *verify) match(ctx context.Context, secrets signature.Secrets, req connectors.Request, seen map[string]any) (int, error) {
	if !v.ofBody() {
		f, err := v.sign().function()
		if err != nil {
			return 0, fmt.Errorf("%w: %w", connectors.ErrSignature, err)
		}
		parameters := map[string]string{}
		from, _ := seen[v.Of].(map[string]any)
		for name, p := range from {
			parameters[name], _ = p.(string)
		}
		given := parameters[v.Into]
		delete(parameters, v.Into)
		return secrets.Match(given, func(secret string) string { return f(secret, parameters) })
	}
	found, err := v.Given.one(ctx, seen, seen)
	if err != nil {
		return 0, fmt.Errorf("%w: there is no signature", connectors.ErrSignature)
	}
	given, _ := found.(string)
	switch v.Scheme {
	case bodyBase64:
		return secrets.MatchBody(given, req.Body)
	case bodyHex:
		raw, err := hex.DecodeString(given)
		if err != nil {
			return 0, fmt.Errorf("%w: the signature is not hexadecimal", connectors.ErrSignature)
		}
		return secrets.MatchBody(base64.StdEncoding.EncodeToString(raw), req.Body)
	default:
		return secrets.Match(given, signature.Plain)
	}
}

// single takes the first of several values of a name.
func single(values url.Values) map[string]any {
	out := make(map[string]any, len(values))
	for name, v := range values {
		out[name] = v[0]
	}
	return out
}

// contents reads what is stored of a delivery: JSON, or a form.
func contents(body []byte) (map[string]any, error) {
	if raw := jsontext.Value(body); raw.IsValid() {
		v, err := value(raw)
		if err != nil {
			return nil, err
		}
		return map[string]any{"body": v, "form": nil}, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !strings.Contains(string(body), "=") {
		return nil, errors.New("it is neither JSON nor a form")
	}
	return map[string]any{"body": nil, "form": single(form)}, nil
}

// DecodeWebhook implements connectors.WebhookReceiver.
func (r *receiver) DecodeWebhook(d connectors.Delivery, body []byte) (connectors.Notice, error) {
	var n connectors.Notice
	event, err := contents(body)
	if err != nil {
		return n, err
	}
	event["type"], event["key"] = d.Type, d.Key
	rows, err := r.webhook.Facts.rows(context.Background(), event, map[string]any{"settings": r.c.settings})
	if err != nil {
		return n, err
	}
	facts, err := takeRows(rows, func(f *connectors.Fact) error { return f.Validate() })
	if err != nil {
		return n, err
	}
	n.Pull = slices.ContainsFunc(facts, func(f connectors.Fact) bool { return f.Kind == connectors.StockChanged })
	n.Facts = slices.DeleteFunc(facts, func(f connectors.Fact) bool { return f.Kind == connectors.StockChanged })
	return n, nil
}
