// Package shiphero is the connector for ShipHero as a system of record: the stock of every warehouse, orders that are put on
// hold until somebody gives them an address, and shipments with their tracking, by the GraphQL Public API and webhooks.
//
// https://developer.shiphero.com
package shiphero

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/signature"
	"github.com/truestock/truestock/stock"
)

// The settings of a connection.
const (
	settingRefreshToken = "refresh_token"
	settingUsername     = "username"
	settingPassword     = "password"
	settingSecrets      = "webhook_secrets"
	settingLevels       = "levels"
	settingCustomer     = "customer_account_id"
)

const baseURL = "https://public-api.shiphero.com"

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "shiphero",
		Title: "ShipHero",
		Roles: []connectors.Role{connectors.SystemOfRecordRole},
		Fields: []connectors.Field{
			{Name: settingRefreshToken, Secret: true, Help: "Refresh token of a user for third-party developers; truestock fetches access tokens with it, each good for 28 days."},
			{Name: settingUsername, Help: "E-mail address of a user, in the place of refresh_token."},
			{Name: settingPassword, Secret: true, Help: "Password of that user."},
			{Name: settingSecrets, Secret: true, Help: "The shared_signature_secret of each webhook, separated by commas or spaces. ShipHero tells each one once, when the webhook is made."},
			{Name: settingLevels, Default: string(stock.AvailableBasis), Help: "Which number is taken: available, without what is allocated to open orders, or on_hand, with it. Take on_hand only where " +
				"every order of the warehouses comes through truestock."},
			{Name: settingCustomer, Help: "Of a 3PL: the account id of the customer whose stock is kept, such as QWNjb3VudDo2MzM0."},
		},
		Open:  open,
		Guide: guide(),
	}
}

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "the GraphQL Public API, which has no versions, as documented in October 2026",
		Bases:    []stock.Basis{stock.AvailableBasis, stock.OnHandBasis},
		Setup: []string{
			"Under My Account → Third-Party Developers, add a user for truestock, and copy its refresh token into `refresh_token`.",
			"Make the webhooks, each with the address of the connection's webhooks as `url`, by running this at public-api.shiphero.com/graphql once for each of the names " +
				"Inventory Update, Shipment Update, Order Allocated, Order Deallocated and Order Canceled: " +
				"`mutation { webhook_create(data: {name: \"Inventory Update\", url: \"…\", shop_name: \"truestock\"}) { webhook { shared_signature_secret } } }`. " +
				"Copy every secret into `webhook_secrets` at once: ShipHero never shows it again. A lost one is replaced by webhook_delete with the same name and shop_name, and webhook_create.",
			"Decide on `levels`: available, where also others send orders to the warehouses.",
			"Give every order that truestock makes its address, and take the operator hold off, by hand or by your own integration: it finds them by the partner order id.",
			"Run `truestock check`.",
		},
		Scopes: []string{"read of products, inventory, orders and shipments; write of orders"},
		Can: []string{
			"levels of every warehouse, less what is held back as Reserve",
			"shipments from webhooks, a parcel at a time, with carrier and tracking number",
			"new orders, looked for by their partner order id first, and put on operator hold",
			"cancellations of whole orders and of parts of lines",
			"tells how an order stands: shipped, allocated, cancelled by us, rejected by the warehouse",
			"waits for credits as long as ShipHero says",
		},
		Cannot: []string{
			"make the webhooks: their secrets are told once, and truestock keeps no secrets but those of its configuration",
			"know buyers' addresses: an order stays on hold until it has one",
			"change the quantities of an order upwards",
			"count what is sold ahead of its arrival (Sell Ahead): only what is there",
			"tell a kit's shipment by its components",
			"read orders of more than 100 lines",
		},
		Limits: []string{
			"4004 credits, of which 60 come back in a second; 100 levels cost about 100. So 10,000 levels take about 3 minutes, and more often they cannot be read.",
			"7000 requests in 5 minutes.",
			"A webhook is tried 5 times, with 10 seconds each.",
			"What is allocated to an order is heard of when the order is asked for, after `order_status` of silence: until then its units are missing twice, which sells too few and never too many.",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.Conformance, What: "the whole suite with each meaning of levels, against a pretend ShipHero that checks every document and its variables by the part of the schema that " +
				"ShipHero's pages tell of these types", Test: "connectors/shiphero TestConformance"},
			{By: connectors.Conformance, What: "credits, tokens, expiry and refusals, as ShipHero documents them", Test: "connectors/shiphero TestBadInput"},
			{By: connectors.Vectors, What: "the signature of webhooks, against a value computed by openssl", Test: "connectors/shiphero TestWebhookVector"},
		},
		Unproven: []string{
			"calls to an account of ShipHero's",
			"that an order without an address is taken, and that stock is allocated to an order on operator hold",
			"that order_update_line_items takes a quantity of 0",
			"how soon an order is found by its partner order id: two processes that make the same order within that time make two",
			"the codes of errors other than 5 (not found) and 30 (credits); all others are taken for refusals",
			"whether an allocation is still listed once its units are shipped: then they are not counted again",
			"that a reserve which is null means that nothing is held back",
			"that X-Shiphero-Message-ID stays the same over the tries of one delivery",
		},
	}
}

var (
	_ connectors.SystemOfRecord  = (*warehouse)(nil)
	_ connectors.OrderTeller     = (*warehouse)(nil)
	_ connectors.WebhookReceiver = (*warehouse)(nil)
	_ connectors.WebhookAnswerer = (*warehouse)(nil)
)

// warehouse is one connection.
type warehouse struct {
	client             *rest.Client
	refreshToken       string
	username, password string
	secrets            signature.Secrets
	basis              stock.Basis
	customer           string

	tokenMu   sync.Mutex
	token     string
	tokenEnds time.Time

	// ordersMu is held between looking for an order and making or changing it.
	ordersMu sync.Mutex
}

// open checks the settings; it does no I/O. The error names the setting.
func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.SystemOfRecordRole {
		return nil, fmt.Errorf("ShipHero cannot be a %s; its role is %s", role, connectors.SystemOfRecordRole)
	}
	w := &warehouse{
		refreshToken: strings.TrimSpace(s[settingRefreshToken]), username: strings.TrimSpace(s[settingUsername]), password: s[settingPassword],
		secrets: signature.Parse(s[settingSecrets]), basis: stock.Basis(s[settingLevels]), customer: strings.TrimSpace(s[settingCustomer]),
	}
	switch {
	case w.refreshToken == "" && (w.username == "" || w.password == ""):
		return nil, fmt.Errorf("no credentials: set %s, or %s and %s", settingRefreshToken, settingUsername, settingPassword)
	case w.refreshToken != "" && w.username != "":
		return nil, fmt.Errorf("%s is set beside %s: set the one or the other", settingUsername, settingRefreshToken)
	case w.basis != stock.AvailableBasis && w.basis != stock.OnHandBasis:
		return nil, fmt.Errorf("%s is %q: write available or on_hand", settingLevels, w.basis)
	}
	var err error
	w.client, err = rest.New(rest.Config{
		BaseURL: baseURL, Transport: env.Transport, Log: env.Log, Timeout: env.Timeout,
		Secrets: append(slices.Clone(w.secrets), w.refreshToken, w.password),
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Check implements connectors.Connection.
func (w *warehouse) Check(ctx context.Context) error {
	const op = "check the connection"
	locations, err := w.Locations(ctx)
	if err == nil && len(locations) == 0 {
		err = connectors.Rejectedf(op, "", "the account has no warehouse")
	}
	return err
}

// Close implements connectors.Connection.
func (w *warehouse) Close() error { return w.client.Close() }

// Capabilities implements connectors.SystemOfRecord.
func (w *warehouse) Capabilities(ctx context.Context) (connectors.RecordCapabilities, error) {
	return connectors.RecordCapabilities{Basis: w.basis, OrderStatus: true}, ctx.Err()
}
