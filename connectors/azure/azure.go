// Package azure is the connector for Microsoft's commercial marketplace (Azure Marketplace and AppSource), as a marketplace
// that asks first. It speaks version 2 of the SaaS fulfilment interface:
//
//	https://learn.microsoft.com/partner-center/marketplace-offers/pc-saas-fulfillment-webhook
//	https://learn.microsoft.com/partner-center/marketplace-offers/pc-saas-fulfillment-operations-api
//	https://learn.microsoft.com/partner-center/marketplace-offers/pc-saas-fulfillment-subscription-api
//
// # What is asked
//
// A buyer who wants other seats or another plan makes Microsoft post an operation to us, ChangeQuantity or ChangePlan. For ten
// seconds the seller may say no: by a status from 400 to 499, or by a PATCH of the operation with Failure. Silence is yes.
// We do both, the PATCH first. The request proves by a token of Microsoft Entra who sends it; what the operation is about is
// fetched from Microsoft all the same, before it is stored, and is what is decided.
//
// A new purchase is not asked about: it stands in the list of subscriptions as one that waits for its activation. It is an
// order like any other, activated when the system of record ships it.
//
// # What is told
//
// All else (Subscribe, Renew, Suspend, Reinstate, Unsubscribe, and an operation that is over) only makes us look at the list of
// subscriptions, which has the seats of each as a running total. A suspended subscription keeps its seats; an ended one gives them back.
package azure

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/asksfirst"
	"github.com/truestock/truestock/connectors/bearer"
	"github.com/truestock/truestock/connectors/rest"
)

// The settings of a connection.
const (
	settingTenant   = "tenant_id"
	settingClient   = "client_id"
	settingSecret   = "client_secret" //nolint:gosec // The name of a setting.
	settingBaseURL  = "base_url"
	settingLoginURL = "login_url"
)

const (
	// resource is the marketplace's own application in Microsoft Entra, the same for every publisher.
	resource = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7"
	// apiVersion is the only version of the interface.
	apiVersion = "2018-08-31"
	// answering bounds each call that a question waits for: the keys of its token, our own token, the operation and the
	// PATCH. With the deadline of the decision, four seconds, they fit into the ten that Microsoft waits.
	answering = 1500 * time.Millisecond
	// retryHorizon is for how long Microsoft repeats a webhook: 500 times over eight hours.
	retryHorizon = 8 * time.Hour
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "azure",
		Title: "Microsoft commercial marketplace (Azure Marketplace, AppSource)",
		Roles: []connectors.Role{connectors.MarketplaceRole},
		Fields: []connectors.Field{
			{Name: settingTenant, Required: true, Help: "Microsoft Entra tenant ID of the offer's technical configuration in Partner Center."},
			{Name: settingClient, Required: true, Help: "Microsoft Entra application (client) ID of the same page: who we are, and for whom Microsoft's tokens are."},
			{Name: settingSecret, Required: true, Secret: true, Help: "A client secret of that application."},
			{Name: settingBaseURL, Default: "https://marketplaceapi.microsoft.com/api", Help: "Address of the fulfilment interface."},
			{Name: settingLoginURL, Default: "https://login.microsoftonline.com", Help: "Address of Microsoft Entra, where tokens and keys come from."},
		},
		Open:  open,
		Guide: guide(),
	}
}

// account is one connection.
type account struct {
	asksfirst.Platform
	client, fast, login *rest.Client // fast is for what a question waits for
	tokens              *bearer.Tokens
	keys                *bearer.Keys
	expected            bearer.Expected
	looks               asksfirst.Looks // Microsoft tells no instants of change
	log                 *slog.Logger
}

var (
	_ connectors.Marketplace      = (*account)(nil)
	_ connectors.ShipmentWriter   = (*account)(nil)
	_ connectors.WebhookReceiver  = (*account)(nil)
	_ connectors.WebhookCompleter = (*account)(nil)
	_ connectors.WebhookAnswerer  = (*account)(nil)
	_ connectors.Admitter         = (*account)(nil)
	_ connectors.AdmissionWriter  = (*account)(nil)
)

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.MarketplaceRole {
		return nil, fmt.Errorf("a platform such as the Microsoft marketplace cannot be a %s; its role is %s", role, connectors.MarketplaceRole)
	}
	for _, name := range []string{settingTenant, settingClient} {
		if !guid.MatchString(s[name]) {
			return nil, fmt.Errorf("%s is not a GUID: copy it from the technical configuration of the offer in Partner Center", name)
		}
	}
	secret, tenant := s[settingSecret], s[settingTenant]
	if secret == "" {
		return nil, fmt.Errorf("%s is empty: make one in Microsoft Entra, App registrations → the application → Certificates & secrets", settingSecret)
	}
	config := rest.Config{BaseURL: s[settingBaseURL], Transport: env.Transport, Log: env.Log, Timeout: env.Timeout, Secrets: []string{secret},
		Header: http.Header{"Content-Type": {"application/json"}}}
	client, err := rest.New(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingBaseURL, err)
	}
	config.Timeout = min(answering, cmp.Or(env.Timeout, answering))
	fast, err := rest.New(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingBaseURL, err)
	}
	config.BaseURL, config.Header = s[settingLoginURL], nil
	login, err := rest.New(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingLoginURL, err)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {s[settingClient]}, "client_secret": {secret}, "scope": {resource + "/.default"}}
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &account{client: client, fast: fast, login: login, log: log,
		tokens: bearer.NewTokens(login, "/"+tenant+"/oauth2/v2.0/token", func(time.Time) (url.Values, error) { return form, nil },
			"in Microsoft Entra, App registrations → the application, see that the client secret has not ended, and compare "+settingTenant+" and "+settingClient),
		keys: bearer.NewKeys(login, "/"+tenant+"/discovery/v2.0/keys"),
		// Of either version of token, as the application's manifest asks for.
		expected: bearer.Expected{Audience: s[settingClient], Issuers: []string{"https://sts.windows.net/" + tenant + "/", "https://login.microsoftonline.com/" + tenant + "/v2.0"}},
	}, nil
}

// Close implements connectors.Connection.
func (a *account) Close() error {
	for _, c := range []*rest.Client{a.client, a.fast, a.login} {
		_ = c.Close()
	}
	return nil
}

// Check implements connectors.Connection.
func (a *account) Check(ctx context.Context) error {
	_, err := a.page(ctx, "check", a.client, "")
	return err
}

// Capabilities implements connectors.Marketplace.
func (a *account) Capabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	return connectors.MarketplaceCapabilities{Class: connectors.AsksFirst, BatchSize: 1, Shipments: true, RetryHorizon: retryHorizon}, ctx.Err()
}
