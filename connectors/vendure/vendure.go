// Package vendure is the connector for Vendure shops, version 3.6 and later, as a marketplace. It speaks the admin API:
// GraphQL over HTTP. Facts about Vendure cite the sources of the npm package @vendure/core@3.7.3 below dist/.
//
// # What a quantity is
//
// Vendure keeps, per variant and stock location, the units on hand and the units allocated to orders. A buyer can order
//
//	available = on hand − allocated − out-of-stock threshold
//
// units (service/services/product-variant.service.js, getSaleableStockLevel); the threshold is the variant's own or the
// global one, and may be negative, which lets the shop sell what it does not have. The connector speaks of available
// only: a reading is computed so, and a write sets
//
//	on hand = quantity + allocated + threshold
//
// from allocated as read immediately before. The numbers are those of one stock location. Other locations of the same
// channel add to what the shop sells: leave them empty, or make a connection for each.
//
// An order is allocated when it is placed (config/order/default-stock-allocation-strategy.js): on hand stays, allocated
// rises, available falls by itself.
//
// # Why a write is compare-and-set
//
// Vendure has no conditional write. WriteStock reads, compares with Write.Expect, and writes at once; a line whose variant
// shows another quantity is connectors.Stale. That leaves the moment between this reading and the writing, which differs
// from other shops in that on hand is written and available is meant:
//
//   - An order placed in the moment harms nothing: the shop subtracts its allocation from whatever on hand is written, so
//     the buyer's units are off what the next buyer sees, and the result tells the lower number.
//   - A cancellation in the moment makes allocated smaller, so that more would be shown than was meant. The answer to the
//     write shows that, and the connector writes again.
//   - A fulfillment in the moment takes as much off on hand as off allocated, and what is written puts it back on hand. That
//     is the same: the answer shows it, and the connector writes again. Its own fulfillments wait for its writes.
//   - What a person types into on hand in the moment is lost, as it would be with the next write.
//
// So no unit that is sold comes back for sale by a write that expects what the engine read before it fetched the orders.
// The class is therefore connectors.CompareAndSet.
package vendure

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/standardwebhooks"
	"github.com/truestock/truestock/stock"
)

// The settings of a connection.
const (
	settingBaseURL        = "base_url"
	settingUsername       = "username"
	settingPassword       = "password"
	settingAPIKey         = "api_key"
	settingChannelToken   = "channel_token"
	settingStockLocation  = "stock_location"
	settingHandler        = "fulfillment_handler"
	settingWebhookSecrets = "webhook_secrets"
	settingPace           = "requests_per_second"
)

const (
	// batchSize bounds the variants of one call; the shop itself allows 1000 (apiOptions.adminListQueryLimit).
	batchSize = 100
	// maxQuantity leaves room for allocated and the threshold: on hand is a GraphQL Int of 32 bits.
	maxQuantity stock.Quantity = 2_000_000_000
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "vendure",
		Title: "Vendure",
		Roles: []connectors.Role{connectors.MarketplaceRole},
		Fields: []connectors.Field{
			{Name: settingBaseURL, Required: true, Help: "Address of the shop's admin API, such as https://shop.example/admin-api."},
			{Name: settingUsername, Help: "Administrator to log in as, with the permissions to read and update products and " +
				"orders and to read stock locations; the shop's authOptions.tokenMethod must contain \"bearer\"."},
			{Name: settingPassword, Help: "Password of the administrator.", Secret: true},
			{Name: settingAPIKey, Help: "API key, in the place of username and password; the shop's authOptions.tokenMethod " +
				"must contain \"api-key\".", Secret: true},
			{Name: settingChannelToken, Help: "Token of the shop's channel; the default channel when left out.", Secret: true},
			{Name: settingStockLocation, Help: "Id or name of the stock location whose stock is kept; the oldest one of the " +
				"channel when left out."},
			{Name: settingHandler, Default: "manual-fulfillment", Help: "Code of the fulfillment handler that shipments go " +
				"through; it must take the arguments method and trackingCode."},
			{Name: settingWebhookSecrets, Help: "Secrets that the truestock plugin may sign its webhooks with (whsec_…), " +
				"separated by commas or spaces; more than one while a secret is being replaced.", Secret: true},
			{Name: settingPace, Help: "The most requests a second that the shop bears, such as 5 or 0.5; no limit when left out."},
		},
		Open:  open,
		Guide: guide(),
	}
}

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "Vendure 3.6 and later",
		Classes:  []connectors.Class{connectors.CompareAndSet},
		Batch:    batchSize,
		Setup: []string{
			"In the shop's Vendure configuration, let authOptions.tokenMethod contain \"bearer\" (for a user name and password) or \"api-key\" (for a key).",
			"In the Admin UI, under Settings → Administrators, create an administrator with a role that has the rights below, for the channel that is to be kept; or, in its profile, create an API key.",
			"Put the address of the admin API and the credentials into the configuration, and run `truestock check`.",
			"To hear of orders and stock at once, install the plugin of connectors/vendure/plugin in the shop and give it the webhook address of the connection and a secret; without it the shop is polled.",
		},
		Scopes: []string{"ReadCatalog", "UpdateCatalog", "ReadOrder", "UpdateOrder", "ReadStockLocation"},
		Limits: []string{
			"One stock location per connection; the shop itself adds up all locations of a channel.",
			"On hand is a number of 32 bits: at most 2,000,000,000 are shown.",
		},
		Can: []string{"reads and writes stock", "orders, with cancellations in part", "shipments with tracking", "hears of changes through its plugin"},
		Cannot: []string{
			"stop the sale of a listing other than by 0",
			"see that a part of a partly shipped order was shipped before the next change of the order: Vendure does not touch its time of change",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.LiveTest, What: "the whole suite, and stock, orders, fulfilments and hints, against Vendure 3.7.3 from npm", Test: "connectors/vendure TestLive"},
			{By: connectors.LiveTest, What: "a shop, a warehouse and truestock between them", Test: "cmd/truestock TestVendure"},
		},
		Unproven: []string{"versions before and after 3.7.3"},
	}
}

var (
	_ connectors.Marketplace     = (*shop)(nil)
	_ connectors.ShipmentWriter  = (*shop)(nil)
	_ connectors.WebhookReceiver = (*shop)(nil)
)

// shop is one connection.
type shop struct {
	client             *rest.Client
	verifier           *standardwebhooks.Verifier
	username, password string
	apiKey             string
	wantedLocation     string
	handler            string

	// clock is the shop's, as of the last answer.
	clock rest.Clock

	sessionMu sync.Mutex
	token     string // of the session

	locationMu sync.Mutex
	location   string // id of the stock location, once known

	// moving is held while on hand is read and written, and while a shipment takes units off it: of our own doing
	// nothing changes on hand in between.
	moving sync.Mutex
}

// open checks the settings; it does no I/O. The error names the setting.
func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.MarketplaceRole {
		return nil, fmt.Errorf("a Vendure shop cannot be a %s; its role is %s", role, connectors.MarketplaceRole)
	}
	if err := checkCredentials(s); err != nil {
		return nil, err
	}
	pace, err := rest.ParsePace(settingPace, s[settingPace])
	if err != nil {
		return nil, err
	}
	verifier, err := standardwebhooks.Parse(s[settingWebhookSecrets])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingWebhookSecrets, err)
	}
	sh := &shop{
		verifier:       verifier,
		username:       s[settingUsername],
		password:       s[settingPassword],
		apiKey:         s[settingAPIKey],
		wantedLocation: s[settingStockLocation],
		handler:        s[settingHandler],
	}
	sh.client, err = rest.New(rest.Config{
		BaseURL:           s[settingBaseURL],
		Header:            fixedHeader(s),
		Transport:         env.Transport,
		Log:               env.Log,
		Timeout:           env.Timeout,
		RequestsPerSecond: pace,
		Secrets: append(standardwebhooks.SecretTexts(s[settingWebhookSecrets]),
			s[settingPassword], s[settingAPIKey], s[settingChannelToken]),
	})
	if err != nil {
		return nil, err
	}
	return sh, nil
}

func checkCredentials(s connectors.Settings) error {
	login, key := s[settingUsername] != "" && s[settingPassword] != "", s[settingAPIKey] != ""
	half := s[settingUsername] != "" || s[settingPassword] != ""
	switch {
	case key && half:
		return fmt.Errorf("%s is set beside %s or %s: set the key alone, or user name and password", settingAPIKey, settingUsername, settingPassword)
	case !key && !login:
		return fmt.Errorf("no credentials: set %s and %s, or %s", settingUsername, settingPassword, settingAPIKey)
	case s[settingHandler] == "":
		return fmt.Errorf("%s is empty: write the code of a fulfillment handler, such as manual-fulfillment", settingHandler)
	}
	return nil
}

// Check implements connectors.Connection. It proves also that the stock location exists.
func (s *shop) Check(ctx context.Context) error {
	_, err := s.findLocation(ctx, "check the connection")
	return err
}

// Close implements connectors.Connection. The session at the shop ends by its own age.
func (s *shop) Close() error { return s.client.Close() }

// Capabilities implements connectors.Marketplace.
func (s *shop) Capabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	if err := ctx.Err(); err != nil {
		return connectors.MarketplaceCapabilities{}, err
	}
	return connectors.MarketplaceCapabilities{
		Class:       connectors.CompareAndSet,
		BatchSize:   batchSize,
		MaxQuantity: maxQuantity,
		Shipments:   true,
	}, nil
}

// stockLocation returns the id of the location that the connection keeps, and remembers it.
func (s *shop) stockLocation(ctx context.Context, op string) (string, error) {
	s.locationMu.Lock()
	defer s.locationMu.Unlock()
	if s.location != "" {
		return s.location, nil
	}
	id, err := s.findLocation(ctx, op)
	if err == nil {
		s.location = id
	}
	return id, err
}

// findLocation looks the setting up among the locations of the channel. Without one it takes the oldest, as the shop
// itself does (service/services/stock-location.service.js, defaultStockLocation).
func (s *shop) findLocation(ctx context.Context, op string) (string, error) {
	answer, err := ask[locationsData](ctx, s, graphql.Request{Op: op, Document: locationsDocument})
	if err != nil {
		return "", err
	}
	locations := answer.StockLocations.Items
	if len(locations) == 0 {
		return "", connectors.Rejectedf(op, "", "the shop's channel has no stock location; make one and assign it to the channel")
	}
	if s.wantedLocation == "" {
		return locations[0].ID, nil
	}
	for _, l := range locations {
		if l.ID == s.wantedLocation || l.Name == s.wantedLocation {
			return l.ID, nil
		}
	}
	return "", connectors.Rejectedf(op, "", "%s %q is neither the id nor the name of one of the %d stock locations of the channel",
		settingStockLocation, s.wantedLocation, len(locations))
}

// utcMillis is the precision in which the shop tells instants.
func utcMillis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
