// Package googlecloud is the connector for Google Cloud Marketplace, as a marketplace that asks first. It speaks the Cloud
// Commerce Partner Procurement API, version 1, whose discovery document is in the Go module google.golang.org/api:
//
//	https://cloud.google.com/marketplace/docs/partners/integrated-saas/manage-entitlements
//	https://cloud.google.com/marketplace/docs/partners/commerce-procurement-api/reference/rest
//
// # What is asked
//
// A purchase makes an entitlement that waits, and a message in Pub/Sub, ENTITLEMENT_CREATION_REQUESTED; a change of plan another,
// ENTITLEMENT_PLAN_CHANGE_REQUESTED. The message says of which entitlement, and no more is taken from it: what is bought is
// fetched. The decision is a call, approve or reject. The reply to Pub/Sub only says that the message came, so a message is
// taken when its decision is told, and comes again until then.
//
// # How many
//
// An entitlement has no quantity: it is one of its plan. A plan of fifty seats is mapped as a pack of fifty.
package googlecloud

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/asksfirst"
	"github.com/truestock/truestock/connectors/bearer"
	"github.com/truestock/truestock/connectors/rest"
)

// The settings of a connection.
const (
	settingProvider    = "provider_id"
	settingCredentials = "credentials"
	settingAudience    = "audience"
	settingPusher      = "push_account"
	settingAccounts    = "approve_accounts"
	settingBaseURL     = "base_url"
	settingTokenURL    = "token_url"
	settingKeysURL     = "keys_url"
)

// answering bounds each call that a question waits for. Pub/Sub waits ten seconds for a push unless it is told otherwise.
const answering = 1500 * time.Millisecond

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "googlecloud",
		Title: "Google Cloud Marketplace",
		Roles: []connectors.Role{connectors.MarketplaceRole},
		Fields: []connectors.Field{
			{Name: settingProvider, Required: true, Help: "Partner ID, as Producer Portal and the integration details of the product show it."},
			{Name: settingCredentials, Required: true, Secret: true, Help: "The key file (JSON) of the service account that is linked to the product: the whole content."},
			{Name: settingPusher, Required: true, Help: "E-mail address of the service account that the push subscription signs its requests as."},
			{Name: settingAudience, Help: "Audience that the push subscription signs for; the webhook address of the connection when left out, as Pub/Sub does."},
			{Name: settingAccounts, Default: "no", Help: "yes: the buyer's account (approval `signup`) is approved with the first purchase that is admitted; no: the product's own sign-up page does that."},
			{Name: settingBaseURL, Default: "https://cloudcommerceprocurement.googleapis.com", Help: "Address of the Partner Procurement API."},
			{Name: settingTokenURL, Default: "https://oauth2.googleapis.com", Help: "Address where access tokens are given."},
			{Name: settingKeysURL, Default: "https://www.googleapis.com", Help: "Address of the keys that Pub/Sub's tokens are signed with."},
		},
		Open:  open,
		Guide: guide(),
	}
}

// provider is one connection.
type provider struct {
	asksfirst.Platform
	name            string // providers/{id}
	client, fast    *rest.Client
	login, keyring  *rest.Client
	tokens          *bearer.Tokens
	keys            *bearer.Keys
	expected        bearer.Expected
	pusher          string
	approveAccounts bool
	log             *slog.Logger
}

var (
	_ connectors.Marketplace      = (*provider)(nil)
	_ connectors.WebhookReceiver  = (*provider)(nil)
	_ connectors.WebhookCompleter = (*provider)(nil)
	_ connectors.WebhookAnswerer  = (*provider)(nil)
	_ connectors.Admitter         = (*provider)(nil)
	_ connectors.AdmissionWriter  = (*provider)(nil)
)

var providerID = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.MarketplaceRole {
		return nil, fmt.Errorf("a platform such as Google Cloud Marketplace cannot be a %s; its role is %s", role, connectors.MarketplaceRole)
	}
	if !providerID.MatchString(s[settingProvider]) {
		return nil, fmt.Errorf("%s is not the partner ID, such as my-company or DEMO-my-company: copy it from Producer Portal", settingProvider)
	}
	if !strings.Contains(s[settingPusher], "@") {
		return nil, fmt.Errorf("%s is not the e-mail address of a service account: copy it from the push subscription, Authentication", settingPusher)
	}
	audience := cmp.Or(s[settingAudience], env.WebhookURL)
	if audience == "" {
		return nil, fmt.Errorf("%s is empty and the address of the webhooks is not known: copy the audience of the push subscription", settingAudience)
	}
	if a := s[settingAccounts]; a != "yes" && a != "no" {
		return nil, fmt.Errorf("%s is %.40q: write yes or no", settingAccounts, a)
	}
	account, err := parseCredentials(s[settingCredentials])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingCredentials, err)
	}
	p := &provider{name: "providers/" + s[settingProvider], pusher: s[settingPusher], approveAccounts: s[settingAccounts] == "yes", log: env.Log}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	secrets := []string{s[settingCredentials], account.PrivateKey}
	for line := range strings.Lines(account.PrivateKey) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") && line != "" {
			secrets = append(secrets, line) // a text is redacted by what it holds of it, too
		}
	}
	bounded := min(answering, cmp.Or(env.Timeout, answering))
	for _, c := range []struct {
		into    **rest.Client
		setting string
		timeout time.Duration
	}{{&p.client, settingBaseURL, env.Timeout}, {&p.fast, settingBaseURL, bounded}, {&p.login, settingTokenURL, bounded}, {&p.keyring, settingKeysURL, bounded}} {
		*c.into, err = rest.New(rest.Config{BaseURL: s[c.setting], Transport: env.Transport, Log: env.Log, Timeout: c.timeout, Secrets: secrets})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.setting, err)
		}
	}
	const tokenPath = "/token" //nolint:gosec // The path of an address.
	endpoint := strings.TrimRight(s[settingTokenURL], "/") + tokenPath
	p.tokens = bearer.NewTokens(p.login, tokenPath, func(now time.Time) (url.Values, error) { return account.grant(endpoint, now) },
		"in the Google Cloud console, IAM & Admin → Service Accounts, see that the account and its key are there and enabled, and that this machine's clock is right")
	p.keys = bearer.NewKeys(p.keyring, "/oauth2/v3/certs")
	p.expected = bearer.Expected{Issuers: []string{"https://accounts.google.com", "accounts.google.com"}, Audience: audience}
	return p, nil
}

// credentials are what is needed of the key file of a service account.
type credentials struct {
	Type         string `json:"type"`
	ClientEmail  string `json:"client_email"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"`

	key *rsa.PrivateKey
}

// parseCredentials reads a key file. No error repeats any of it.
func parseCredentials(text string) (credentials, error) {
	var c credentials
	if json.Unmarshal([]byte(text), &c) != nil {
		return c, errors.New("it is not the JSON of a key file: in the Google Cloud console, IAM & Admin → Service Accounts → the account → Keys, make a key of type JSON")
	}
	if c.Type != "service_account" || c.ClientEmail == "" {
		return c, errors.New("it is not the key of a service account")
	}
	block, _ := pem.Decode([]byte(c.PrivateKey))
	if block == nil {
		return c, errors.New("its private_key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return c, errors.New("its private_key cannot be read")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return c, errors.New("its private_key is not one of RSA")
	}
	c.key = key
	return c, nil
}

// scope is the only one that the API knows.
const scope = "https://www.googleapis.com/auth/cloud-platform"

// grant asks for a token in the account's own name.
//
// https://developers.google.com/identity/protocols/oauth2/service-account#httprest
func (c credentials) grant(endpoint string, now time.Time) (url.Values, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: c.key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", c.PrivateKeyID))
	if err != nil {
		return nil, errors.New("the private key cannot sign")
	}
	assertion, err := jwt.Signed(signer).Claims(map[string]any{"iss": c.ClientEmail, "scope": scope, "aud": endpoint, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}).Serialize()
	if err != nil {
		return nil, errors.New("the private key cannot sign")
	}
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}, nil
}

// Close implements connectors.Connection.
func (p *provider) Close() error {
	for _, c := range []*rest.Client{p.client, p.fast, p.login, p.keyring} {
		_ = c.Close()
	}
	return nil
}

// Check implements connectors.Connection.
func (p *provider) Check(ctx context.Context) error {
	var got entitlements
	return p.do(ctx, p.client, rest.Call{Op: "check", Method: http.MethodGet, Path: "/v1/" + p.name + "/entitlements", Query: url.Values{"pageSize": {"1"}}}, &got)
}

// retryHorizon is for how long Pub/Sub keeps what is not taken, when the subscription is left as it is made.
const retryHorizon = 7 * 24 * time.Hour

// orderOverlap makes up for clocks that differ: instants are Google's, and the list is asked for by ours.
const orderOverlap = 5 * time.Minute

// Capabilities implements connectors.Marketplace.
func (p *provider) Capabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	return connectors.MarketplaceCapabilities{Class: connectors.AsksFirst, BatchSize: 1, RetryHorizon: retryHorizon, OrderOverlap: orderOverlap}, ctx.Err()
}

// do makes one call of the API, and adds to its error what a person does about it.
func (p *provider) do(ctx context.Context, client *rest.Client, call rest.Call, out any) error {
	var status int
	if call.Status == nil {
		call.Status = &status
	}
	err := p.tokens.Do(ctx, client, call, out)
	hint := map[int]string{
		http.StatusUnauthorized: "Google does not take our token: see that the service account is enabled",
		http.StatusForbidden: "the service account may not do this: in Producer Portal, link it to the product under Backend integration, and give it the role " +
			"that Google's set-up guide names in the project of the product",
		http.StatusNotFound: "Google does not know it: compare " + settingProvider + " with Producer Portal",
	}[*call.Status]
	if e, ok := errors.AsType[*connectors.Error](err); ok && hint != "" {
		told := *e
		told.Err = fmt.Errorf("%w; %s", e.Err, hint)
		return &told
	}
	return err
}
