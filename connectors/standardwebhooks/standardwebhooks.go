// Package standardwebhooks verifies and signs webhook deliveries by the Standard Webhooks scheme, for every
// connector whose system sends them so: several secrets at a time, and an envelope {type, timestamp, data}. It knows no
// event.
//
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
package standardwebhooks

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	scheme "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/truestock/truestock/connectors"
)

// Tolerance is how far the timestamp of a delivery may be from our clock, before and behind.
const Tolerance = 5 * time.Minute

const (
	// secretPrefix stands before the base64 of a secret.
	secretPrefix = "whsec_"
	// minKey and maxKey bound the bytes of a secret, as the specification asks. Without a lower bound an empty secret
	// would let anybody sign.
	minKey, maxKey = 24, 64
	// maxIdentity bounds webhook-id and type, in bytes: both are keys in the database.
	maxIdentity = 256
)

// Verifier checks the deliveries to one connection against its active secrets. It is safe for concurrent use.
type Verifier struct{ secrets []*scheme.Webhook }

// Parse reads the secrets of a connection: separated by commas or white space, each "whsec_" and the base64 of 24 to 64
// bytes. An empty setting is no error; its Verifier refuses every delivery. The error tells which secret is wrong by its
// ordinal from 1, never by its text.
func Parse(setting string) (*Verifier, error) {
	v := &Verifier{}
	for i, secret := range splitSecrets(setting) {
		key, err := parseSecret(secret)
		if err != nil {
			return nil, fmt.Errorf("secret %d %w", i+1, err)
		}
		w, err := scheme.NewWebhookRaw(key)
		if err != nil {
			return nil, fmt.Errorf("secret %d cannot be used", i+1)
		}
		v.secrets = append(v.secrets, w)
	}
	return v, nil
}

func parseSecret(secret string) ([]byte, error) {
	encoded, found := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case !found || err != nil:
		return nil, errors.New("is not base64 behind " + secretPrefix)
	case len(key) == 0:
		return nil, errors.New("is empty behind " + secretPrefix)
	case len(key) < minKey || len(key) > maxKey:
		return nil, fmt.Errorf("has %d bytes behind %s; it must have from %d to %d, as from: echo %s$(openssl rand -base64 32)",
			len(key), secretPrefix, minKey, maxKey, secretPrefix)
	}
	return key, nil
}

func splitSecrets(setting string) []string {
	return strings.FieldsFunc(setting, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// SecretTexts returns the texts that give a secret of the setting away, to be redacted: each secret with and without
// whsec_.
func SecretTexts(setting string) []string {
	var texts []string
	for _, secret := range splitSecrets(setting) {
		texts = append(texts, secret, strings.TrimPrefix(secret, secretPrefix))
	}
	return texts
}

// Empty reports whether there is no secret, so that every delivery is refused.
func (v *Verifier) Empty() bool { return len(v.secrets) == 0 }

// Verify authenticates a delivery that arrived at the instant given by its raw bytes, and then looks at the envelope. The
// error is connectors.ErrSignature or connectors.ErrEnvelope, wrapped with the reason.
func (v *Verifier) Verify(header http.Header, body []byte, at time.Time) (connectors.Delivery, error) {
	d, err := v.Authenticate(header, body, at)
	if err != nil {
		return connectors.Delivery{}, err
	}
	if d.Type, err = scanEnvelope(body); err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	return d, nil
}

// Authenticate is Verify for a system that signs by the scheme and has an envelope of its own: the Type of the delivery is
// left empty, and the body is not looked at.
func (v *Verifier) Authenticate(header http.Header, body []byte, at time.Time) (connectors.Delivery, error) {
	ordinal, err := v.authenticate(header, body, at)
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrSignature, err)
	}
	id := header.Get(scheme.HeaderWebhookID)
	if len(id) > maxIdentity {
		return connectors.Delivery{}, fmt.Errorf("%w: webhook-id has %d bytes; at most %d are taken", connectors.ErrEnvelope, len(id), maxIdentity)
	}
	return connectors.Delivery{Key: id, Secret: ordinal}, nil
}

// authenticate returns the ordinal of the secret that the delivery was signed with.
func (v *Verifier) authenticate(header http.Header, body []byte, at time.Time) (int, error) {
	if v.Empty() {
		return 0, errors.New("the connection has no webhook_secrets, so no delivery can be checked")
	}
	if header.Get(scheme.HeaderWebhookID) == "" {
		return 0, errors.New("the header webhook-id is missing")
	}
	if err := checkTimestamp(header.Get(scheme.HeaderWebhookTimestamp), at); err != nil {
		return 0, err
	}
	if header.Get(scheme.HeaderWebhookSignature) == "" {
		return 0, errors.New("the header webhook-signature is missing")
	}
	for i, s := range v.secrets {
		// The library's own check of the timestamp reads the clock; at decides here.
		if s.VerifyIgnoringTimestamp(body, header) == nil {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no signature fits any of the %d secrets", len(v.secrets))
}

func checkTimestamp(text string, at time.Time) error {
	if text == "" {
		return errors.New("the header webhook-timestamp is missing")
	}
	// Digits alone, because the library signs the number and not the text.
	seconds, err := strconv.ParseUint(text, 10, 40)
	if err != nil || text[0] == '+' {
		return errors.New("the header webhook-timestamp is not in Unix seconds")
	}
	switch age := at.Sub(time.Unix(int64(seconds), 0)); {
	case age > Tolerance:
		return fmt.Errorf("webhook-timestamp is %s old; at most %s is taken", age.Round(time.Second), Tolerance)
	case age < -Tolerance:
		return fmt.Errorf("webhook-timestamp is %s ahead; at most %s is taken", -age.Round(time.Second), Tolerance)
	}
	return nil
}

// Sign returns the headers of a delivery of our own that goes out at the instant given. It is signed with every active
// secret, so that the receiver may know the old one or the new one.
func (v *Verifier) Sign(id string, at time.Time, body []byte) (http.Header, error) {
	if v.Empty() {
		return nil, errors.New("there is no secret to sign with")
	}
	signatures := make([]string, len(v.secrets))
	for i, s := range v.secrets {
		var err error
		if signatures[i], err = s.Sign(id, at, body); err != nil {
			return nil, fmt.Errorf("sign with secret %d: %w", i+1, err)
		}
	}
	return http.Header{
		http.CanonicalHeaderKey(scheme.HeaderWebhookID):        {id},
		http.CanonicalHeaderKey(scheme.HeaderWebhookTimestamp): {strconv.FormatInt(at.Unix(), 10)},
		http.CanonicalHeaderKey(scheme.HeaderWebhookSignature): {strings.Join(signatures, " ")},
	}, nil
}
