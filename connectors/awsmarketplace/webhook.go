package awsmarketplace

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/asksfirst"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/signature"
)

// The types of messages of SNS.
const (
	typeNotification = "Notification"
	typeConfirmation = "SubscriptionConfirmation"
)

// eventSource is that of all events of agreements and licences.
const eventSource = "aws.agreement-marketplace"

// stored is a delivery as it is kept: what has ended by it, if anything.
type stored struct {
	Type  string    `json:"type"`
	Ended string    `json:"ended,omitzero"` // an order
	At    time.Time `json:"at,omitzero"`
}

// event is an event of EventBridge.
type event struct {
	ID         string    `json:"id"`
	Source     string    `json:"source"`
	DetailType string    `json:"detail-type"`
	Time       time.Time `json:"time"`
	Detail     struct {
		License struct {
			Arn string `json:"arn"`
		} `json:"license"`
	} `json:"detail"`
}

// message is what older products are told by SNS.
type message struct {
	Action             string `json:"action"`
	CustomerIdentifier string `json:"customer-identifier"`
	ProductCode        string `json:"product-code"`
}

// VerifyWebhook implements connectors.WebhookReceiver.
func (a *seller) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	if r.Header.Get("X-Amz-Sns-Message-Type") != "" {
		return a.verifySNS(r)
	}
	ordinal, err := a.events.Match(r.Header.Get(a.header), signature.Plain)
	if err != nil {
		return connectors.Delivery{}, err
	}
	var e event
	if err := json.Unmarshal(r.Body, &e); err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, rest.ExplainJSON(err))
	}
	d, err := a.eventDelivery(e)
	d.Secret = ordinal
	return d, err
}

// eventDelivery is what is kept of an event. A licence that was deprovisioned has ended for good.
func (a *seller) eventDelivery(e event) (connectors.Delivery, error) {
	if e.ID == "" || e.DetailType == "" || e.Source != eventSource {
		return connectors.Delivery{}, fmt.Errorf("%w: it is no event of %s", connectors.ErrEnvelope, eventSource)
	}
	s := stored{Type: e.DetailType}
	if strings.HasPrefix(e.DetailType, "License Deprovisioned") && a.byLicense {
		if s.Ended, s.At = e.Detail.License.Arn, e.Time; s.Ended == "" || s.At.IsZero() {
			return connectors.Delivery{}, fmt.Errorf("%w: %s names no licence, or no time", connectors.ErrEnvelope, e.DetailType)
		}
	}
	return delivery(e.ID, s)
}

func delivery(key string, s stored) (connectors.Delivery, error) {
	body, err := json.Marshal(s, json.Deterministic(true))
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	return connectors.Delivery{Key: key, Type: s.Type, Body: body}, nil
}

// verifySNS takes a message of SNS, of which the content is an event that EventBridge sent to a topic, or a message to an older product.
func (a *seller) verifySNS(r connectors.Request) (connectors.Delivery, error) {
	fields, _, err := a.authentic(r)
	if err != nil {
		return connectors.Delivery{}, err
	}
	if fields["Type"] != typeNotification {
		return connectors.Delivery{}, fmt.Errorf("%w: a message of type %.60q is not taken", connectors.ErrEnvelope, fields["Type"])
	}
	var e event
	if err := json.Unmarshal([]byte(fields["Message"]), &e); err == nil && e.DetailType != "" {
		return a.eventDelivery(e)
	}
	var m message
	if err := json.Unmarshal([]byte(fields["Message"]), &m); err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: Message: %w", connectors.ErrEnvelope, rest.ExplainJSON(err))
	}
	if m.Action == "" || fields["MessageId"] == "" {
		return connectors.Delivery{}, fmt.Errorf("%w: the message has no action, or no MessageId", connectors.ErrEnvelope)
	}
	s := stored{Type: m.Action}
	if m.Action == "unsubscribe-success" && !a.byLicense {
		s.Ended, err = customerOrder(m.ProductCode, m.CustomerIdentifier, "")
		if err != nil {
			return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
		}
		if s.At, err = time.Parse(time.RFC3339, fields["Timestamp"]); err != nil {
			return connectors.Delivery{}, fmt.Errorf("%w: Timestamp is %.40q", connectors.ErrEnvelope, fields["Timestamp"])
		}
	}
	return delivery(fields["MessageId"], s)
}

// authentic reads a message of SNS and checks who signed it: the topic must be ours, and the certificate that of SNS in the
// topic's region. Nothing else of the message is looked at before.
func (a *seller) authentic(r connectors.Request) (map[string]string, *topics, error) {
	refused := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", connectors.ErrSignature, fmt.Errorf(format, args...))
	}
	var fields map[string]any
	if err := json.Unmarshal(r.Body, &fields); err != nil {
		return nil, nil, refused("it is no message of SNS")
	}
	texts := make(map[string]string, len(fields))
	for name, value := range fields {
		if text, ok := value.(string); ok {
			texts[name] = text
		}
	}
	t := a.topics[texts["TopicArn"]]
	if t == nil {
		return nil, nil, refused("the topic %.100q is not in %s", texts["TopicArn"], settingTopics)
	}
	certificate, err := url.Parse(texts["SigningCertURL"])
	if err != nil || certificate.Scheme != "https" || certificate.Host != t.host || certificate.RawQuery != "" || !certificatePath.MatchString(certificate.Path) {
		return nil, nil, refused("its certificate is not at %s", t.host)
	}
	key, err := t.key(context.Background(), certificate.Path, r.At)
	if err != nil {
		return nil, nil, err
	}
	return texts, t, signature.SNS(key, texts["SignatureVersion"], texts, texts["Signature"])
}

var certificatePath = regexp.MustCompile(`^/SimpleNotificationService-[0-9a-f]{16,64}\.pem$`)

// topics is SNS in one region, with its certificates.
type topics struct {
	host   string
	client *rest.Client

	mu    sync.Mutex
	keys  map[string]*x509.Certificate // by path
	tried time.Time
}

const (
	// certificatePause is the least time between two fetches, so that invented messages cannot make us ask.
	certificatePause = 10 * time.Second
	// mostCertificates are kept; SNS uses one or two at a time.
	mostCertificates = 16
)

// key is the public key of the certificate at the path.
func (t *topics) key(ctx context.Context, path string, at time.Time) (*rsa.PublicKey, error) {
	const op = "fetch the certificate of SNS"
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.keys[path]
	if c == nil {
		now := time.Now()
		if now.Sub(t.tried) < certificatePause {
			return nil, &connectors.Error{Kind: connectors.Throttled, Op: op, Err: errors.New("another one was fetched a moment ago")}
		}
		t.tried = now
		var text []byte
		if err := t.client.Do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: path}, &text); err != nil {
			return nil, err
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, &connectors.Error{Kind: connectors.Retryable, Op: op, Err: errors.New("the answer is no certificate")}
		}
		var err error
		if c, err = x509.ParseCertificate(block.Bytes); err != nil {
			return nil, &connectors.Error{Kind: connectors.Retryable, Op: op, Err: errors.New("the certificate cannot be read")}
		}
		if t.keys == nil || len(t.keys) >= mostCertificates {
			t.keys = make(map[string]*x509.Certificate)
		}
		t.keys[path], t.tried = c, time.Time{}
	}
	key, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok || at.Before(c.NotBefore) || at.After(c.NotAfter) {
		return nil, fmt.Errorf("%w: the certificate is not valid now, or not of RSA", connectors.ErrSignature)
	}
	return key, nil
}

// Handshake confirms that a topic may send to us, as SNS asks once. Only our topics are confirmed, and only at SNS itself.
//
// https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-and-unsubscribe-confirmation-json-formats.html
func (a *seller) Handshake(r connectors.Request) (connectors.Reply, bool) {
	if r.Header.Get("X-Amz-Sns-Message-Type") != typeConfirmation {
		return connectors.Reply{}, false
	}
	fields, t, err := a.authentic(r)
	if err != nil || fields["Type"] != typeConfirmation {
		return connectors.Reply{}, false
	}
	at, err := url.Parse(fields["SubscribeURL"])
	if err != nil || at.Scheme != "https" || at.Host != t.host {
		return connectors.Reply{}, false
	}
	const op = "confirm the subscription"
	var answer []byte
	if err := t.client.Do(context.Background(), rest.Call{Op: op, Method: http.MethodGet, Path: "/", Query: at.Query()}, &answer); err != nil {
		return a.AnswerWebhook(connectors.RefusedUnavailable), true
	}
	return a.AnswerWebhook(connectors.ReceivedNew), true
}

// DecodeWebhook implements connectors.WebhookReceiver.
func (a *seller) DecodeWebhook(_ connectors.Delivery, body []byte) (connectors.Notice, error) {
	var s stored
	if err := json.Unmarshal(body, &s); err != nil {
		return connectors.Notice{}, fmt.Errorf("the event cannot be read: %w", rest.ExplainJSON(err))
	}
	if s.Type == "" {
		return connectors.Notice{}, errors.New("the event has no type")
	}
	n := connectors.Notice{Pull: true}
	if s.Ended != "" {
		f := connectors.Fact{Kind: connectors.OrderCancelled, Order: &connectors.Order{OrderID: s.Ended, Version: s.At.UnixMilli()}}
		if err := f.Validate(); err != nil {
			return connectors.Notice{}, err
		}
		n.Facts = []connectors.Fact{f}
	}
	return n, nil
}

// AnswerWebhook implements connectors.WebhookAnswerer: SNS and EventBridge read the status only, and send again what is not 2xx.
func (a *seller) AnswerWebhook(became connectors.Reception) connectors.Reply {
	status := http.StatusBadRequest
	switch became {
	case connectors.ReceivedNew, connectors.ReceivedAgain:
		return asksfirst.JSON(http.StatusOK, map[string]string{"status": "received"})
	case connectors.RefusedSignature:
		status = http.StatusForbidden
	case connectors.ReceivedConflict:
		status = http.StatusConflict
	case connectors.RefusedUnavailable:
		status = http.StatusServiceUnavailable
	}
	return asksfirst.JSON(status, map[string]string{"status": string(became)})
}
