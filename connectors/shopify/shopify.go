// Package shopify is the connector for Shopify shops as a marketplace. It speaks the GraphQL Admin API of one version,
// which each connection pins. Facts about Shopify cite the vendor's own schema, as the npm package @shopify/dev-mcp@1.16.0
// holds it, or a page of shopify.dev.
//
// # What a quantity is
//
// Shopify keeps, per inventory item and location, quantities in states: on hand is the sum of available, committed (to
// orders), reserved, damaged, safety stock and quality control. The connector reads and writes available, which is what a
// buyer can order: an order moves its units from available to committed by itself.
//
//	https://shopify.dev/docs/apps/build/orders-fulfillment/inventory-management-apps/manage-quantities-states
//
// An item of the connector is an inventory item, not a variant: quantities belong to it, order lines lead to it, and
// several variants can share one. It is written as its number, as the admin and the webhooks do. With one location a
// listing has no place; with several, each location is a place. An item that is not tracked, or whose variant goes on
// selling when it is out of stock, is unlimited.
//
// # Why a write is compare-and-set
//
// inventorySetQuantities takes changeFromQuantity, the quantity that must still be there; Shopify compares and sets in one
// step, and refuses with CHANGE_FROM_QUANTITY_STALE. The class is therefore connectors.CompareAndSet. Each call carries
// the directive @idempotent with a key made of the writes in it, so that the same writes again are answered from memory
// for a day. The directive is the second line of defence: the comparison alone keeps a repeat from doing harm.
//
// # Versions
//
// Versions from 2026-01 on have changeFromQuantity and @idempotent, and from 2026-04 on demand both. The fields
// compareQuantity and ignoreCompareQuantity are deprecated in the schema of 2026-01, in favour of changeFromQuantity, and
// gone from the next: so all versions are written to in one way. 2025-10 has neither, and is not supported.
package shopify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/signature"
	"github.com/truestock/truestock/stock"
)

// The settings of a connection.
const (
	settingShop      = "shop"
	settingToken     = "access_token"
	settingClientID  = "client_id"
	settingSecrets   = "client_secrets"
	settingVersion   = "api_version"
	settingLocations = "locations"
	settingNotify    = "notify_buyer"
	settingBuyers    = "buyers"
	settingBulk      = "bulk"
)

const (
	// batchSize is the most elements that Shopify takes in any array argument: https://shopify.dev/docs/api/usage/limits.
	batchSize = 250
	// maxQuantity is where INVALID_QUANTITY_TOO_HIGH begins (InventorySetQuantitiesUserErrorCode).
	maxQuantity stock.Quantity = 1_000_000_000
	// retryHorizon is for how long Shopify tries to deliver a webhook:
	// https://shopify.dev/changelog/updates-to-webhook-retry-mechanism.
	retryHorizon = 4 * time.Hour
	// orderOverlap covers that orders are found through a search index, which Shopify fills after the order is stored. How
	// much later is not documented.
	orderOverlap = 2 * time.Minute
	// longestList is how many objects Shopify lists at most: https://shopify.dev/docs/api/usage/limits. A list is begun anew
	// where it has come to after anchorPages.
	longestList = 25_000
	anchorPages = 300
	// maxLocations bounds the locations of one connection.
	maxLocations = 50
)

// defaultVersion is the newest that the schemas of @shopify/dev-mcp@1.16.0 call stable.
const defaultVersion = "2026-07"

// versions are those that the documents of this package are valid in, the oldest first.
var versions = []string{"2026-01", "2026-04", defaultVersion, "2026-10"}

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "shopify",
		Title: "Shopify",
		Roles: []connectors.Role{connectors.MarketplaceRole},
		Fields: []connectors.Field{
			{Name: settingShop, Required: true, Help: "The shop's own domain, such as my-shop.myshopify.com."},
			{Name: settingToken, Secret: true, Help: "Access token of the app (shpat_…). Leave it out for an app of the Dev Dashboard, and set " +
				"client_id and client_secrets."},
			{Name: settingClientID, Help: "Client id of an app of the Dev Dashboard that belongs to the same organization as the shop; truestock then " +
				"fetches access tokens by itself, each good for a day."},
			{Name: settingSecrets, Secret: true, Help: "Client secrets of the app, separated by commas or spaces: webhooks are signed with one of them, " +
				"and access tokens fetched with the first. More than one while a secret is being replaced."},
			{Name: settingVersion, Default: defaultVersion, Help: "Version of the Admin API: one of " + strings.Join(versions, ", ") + "."},
			{Name: settingLocations, Help: "Ids or names of the locations whose stock is kept, separated by commas; the only one of the shop when left " +
				"out. With several, each is a place, by its id."},
			{Name: settingNotify, Default: "false", Help: "Whether Shopify tells the buyer of each shipment by e-mail: true or false."},
			{Name: settingBuyers, Default: "false", Help: "Whether orders are read with the buyer's customer number and e-mail address, which needs read_customers: true " +
				"or false."},
			{Name: settingBulk, Default: "true", Help: "Whether the listings of a big shop, those behind the first 3000, are exported by Shopify in one file (a bulk operation): true or false."},
		},
		Open:  open,
		Guide: guide(),
	}
}

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "the GraphQL Admin API in the versions " + strings.Join(versions, ", "),
		Classes:  []connectors.Class{connectors.CompareAndSet},
		Batch:    batchSize,
		Setup: []string{
			"In the Dev Dashboard, create an app, give a version of it the access scopes below, and install it on the shop.",
			"From the app's settings, copy the client id and the secret into `client_id` and `client_secrets`. For an app that was made in the Shopify " +
				"admin before 2026, copy its Admin API access token into `access_token`, and its API secret key into `client_secrets`.",
			"Write the shop's domain ending in .myshopify.com into `shop`. Under Settings → Locations, open each location that is to be kept: the number " +
				"at the end of its address is its id for `locations`.",
			"In each product, tick \"Track quantity\" and leave \"Continue selling when out of stock\" unticked: other listings are unlimited, and are not written.",
			"Run `truestock check`. The webhook subscriptions are made by truestock, once public_url is set.",
		},
		Scopes: []string{
			"read_inventory", "write_inventory", "read_locations", "read_products", "read_orders",
			"read_all_orders, only to see orders older than 60 days", "read_customers, only with `buyers`", "read_merchant_managed_fulfillment_orders", "write_merchant_managed_fulfillment_orders",
		},
		Can: []string{
			"reads and writes what is available at one or several locations, 250 lines in a call, each on the condition that nothing was sold since",
			"stocks an item at a location where it is not stocked yet",
			"orders, with cancellations, refunds, restocking and shipments as running totals",
			"shipments with tracking, once each",
			"makes webhook subscriptions, and makes them again when Shopify has deleted them",
			"slows down as the cost that Shopify tells in each answer demands",
			"reads the listings of a big shop by a bulk operation: 50,000 by less than a tenth of the calls that pages take",
		},
		Cannot: []string{
			"begin to track an item, or stop a variant from selling beyond 0: that is told, and done in the Shopify admin",
			"tell two shipments of an order apart that have the same tracking number, the same lines and the same quantities",
			"tell a line in parts: where several kept locations share a line, it is told at the one that has most of it",
			"fetch tokens by an OAuth redirect, as public apps of the App Store need",
		},
		Limits: []string{
			"100 to 2000 points of query cost a second, by the shop's plan; a listing that is read costs about 7.",
			"Quantities up to 1,000,000,000.",
			"Webhooks are tried 8 times over 4 hours; then Shopify deletes the subscription.",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.VendorSpecification, What: "every document is valid in Shopify's own schema of each version", Test: "connectors/shopify TestDocuments"},
			{By: connectors.VendorSpecification, What: "stock, orders, shipments and subscriptions in each version, against a pretend shop that checks queries, variables and its own answers by that schema",
				Test: "connectors/shopify TestVersions"},
			{By: connectors.Conformance, What: "the whole suite against that pretend shop, with one location and with two", Test: "connectors/shopify TestConformance"},
			{By: connectors.Conformance, What: "comparison, idempotency, throttling in the body and refusals of single lines, as Shopify documents them", Test: "connectors/shopify TestRefusedLinesSpareTheRest"},
			{By: connectors.Conformance, What: "50,000 listings by export and by pages, with the number of calls; exports that fail, expire, are cut off or lie elsewhere", Test: "connectors/shopify TestExportCalls"},
			{By: connectors.Vectors, What: "the signature of webhooks", Test: "connectors/shopify TestWebhookVector"},
		},
		Unproven: []string{
			"calls to a shop of Shopify's own",
			"whether a call with one refused line changes the others: both are understood",
			"what 2026-10 does with an item that is not stocked at the location: its schema lost the code ITEM_NOT_STOCKED_AT_LOCATION, so a write is taken to stock it",
			"the HTTP status of a throttled answer: 200 and 429 are understood",
			"that inventory items are listed by their ids: where they are not, more than 25,000 cannot be listed, and that is told",
			"by how much the list of orders lags behind the orders",
			"that exports lie at storage.googleapis.com, as in Shopify's examples, and that their counts are of all lines and of the items: where they are not, " +
				"listings are not read until `bulk` is set to false",
			"whether an order's time of change is touched when it moves to another location: else that is seen with its next change",
			"the bodies of Shopify's newer \"Events\", which are only taken as hints",
		},
	}
}

var (
	_ connectors.Marketplace     = (*shop)(nil)
	_ connectors.AccountTeller   = (*shop)(nil)
	_ connectors.ShipmentWriter  = (*shop)(nil)
	_ connectors.Subscriber      = (*shop)(nil)
	_ connectors.WebhookReceiver = (*shop)(nil)
)

// shop is one connection.
type shop struct {
	client     *rest.Client
	domain     string
	version    string
	clientID   string
	secrets    signature.Secrets
	webhookURL string
	wanted     []string // locations by id or name, empty for the only one
	notify     bool
	buyers     bool
	bulk       bool
	env        connectors.Env // for downloads, which come from another host

	// clock is the shop's, as of the last answer.
	clock rest.Clock

	tokenMu   sync.Mutex
	token     string // fetched with the client id
	tokenEnds time.Time

	knownMu sync.Mutex
	known   *facts

	exportMu sync.Mutex
	file     *exportFile // the last that was downloaded
}

// facts are what a connection asks once and remembers.
type facts struct {
	account   string
	locations []location
}

// open checks the settings; it does no I/O. The error names the setting.
func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.MarketplaceRole {
		return nil, fmt.Errorf("a Shopify shop cannot be a %s; its role is %s", role, connectors.MarketplaceRole)
	}
	sh := &shop{
		domain:     strings.ToLower(strings.TrimSpace(s[settingShop])),
		version:    s[settingVersion],
		clientID:   s[settingClientID],
		secrets:    signature.Parse(s[settingSecrets]),
		webhookURL: env.WebhookURL,
		notify:     s[settingNotify] == "true",
		buyers:     s[settingBuyers] == "true",
		bulk:       s[settingBulk] == "true",
		env:        env,
	}
	if err := sh.check(s); err != nil {
		return nil, err
	}
	header := http.Header{}
	if token := s[settingToken]; token != "" {
		header.Set(tokenHeader, token)
	}
	var err error
	sh.client, err = rest.New(rest.Config{
		BaseURL:   "https://" + sh.domain + "/admin",
		Header:    header,
		Transport: env.Transport,
		Log:       env.Log,
		Timeout:   env.Timeout,
		Secrets:   append(slices.Clone(sh.secrets), s[settingToken]),
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingShop, err)
	}
	return sh, nil
}

// check checks the settings, and reads the locations.
func (s *shop) check(settings connectors.Settings) error {
	token := settings[settingToken]
	switch {
	case s.domain == "" || strings.ContainsAny(s.domain, "/:@?# \t"):
		return fmt.Errorf("%s is %q: write the shop's domain alone, such as my-shop.myshopify.com", settingShop, settings[settingShop])
	case token != "" && s.clientID != "":
		return fmt.Errorf("%s is set beside %s: set the one or the other", settingToken, settingClientID)
	case token == "" && (s.clientID == "" || len(s.secrets) == 0):
		return fmt.Errorf("no credentials: set %s, or %s and %s", settingToken, settingClientID, settingSecrets)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%s holds white space or letters that no token has: copy it again", settingToken)
	case !slices.Contains(versions, s.version):
		return fmt.Errorf("%s is %q: write one of %s", settingVersion, s.version, strings.Join(versions, ", "))
	}
	for _, name := range []string{settingNotify, settingBuyers, settingBulk} {
		if text := settings[name]; text != "true" && text != "false" {
			return fmt.Errorf("%s is %q: write true or false", name, text)
		}
	}
	for text := range strings.SplitSeq(settings[settingLocations], ",") {
		if text = strings.TrimSpace(text); text != "" && !slices.Contains(s.wanted, text) {
			s.wanted = append(s.wanted, text)
		}
	}
	if len(s.wanted) > maxLocations {
		return fmt.Errorf("%s names %d locations: at most %d are kept by one connection", settingLocations, len(s.wanted), maxLocations)
	}
	return nil
}

// Check implements connectors.Connection. It proves also that the locations exist.
func (s *shop) Check(ctx context.Context) error {
	_, err := s.findFacts(ctx, "check the connection")
	return err
}

// Close implements connectors.Connection.
func (s *shop) Close() error { return s.client.Close() }

// Capabilities implements connectors.Marketplace.
func (s *shop) Capabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	known, err := s.facts(ctx, "ask what the shop can")
	if err != nil {
		return connectors.MarketplaceCapabilities{}, err
	}
	return connectors.MarketplaceCapabilities{
		Class:           connectors.CompareAndSet,
		Account:         known.account,
		BatchSize:       batchSize,
		MaxQuantity:     maxQuantity,
		IdempotentWrite: true,
		Shipments:       true,
		PerPlace:        len(known.locations) > 1,
		Subscriptions:   true,
		RetryHorizon:    retryHorizon,
		OrderOverlap:    orderOverlap,
	}, nil
}

// Account implements connectors.AccountTeller: the shop's number, which outlives its names.
func (s *shop) Account(ctx context.Context) (string, error) {
	const op = "ask for the account"
	data, err := ask[accountData](ctx, s, graphql.Request{Op: op, Document: accountDocument})
	if err != nil {
		return "", err
	}
	id, ok := number("Shop", data.Shop.ID)
	if !ok {
		return "", s.missing(op, "the id of the shop")
	}
	return id, nil
}

// facts returns what findFacts found, and remembers it.
func (s *shop) facts(ctx context.Context, op string) (*facts, error) {
	s.knownMu.Lock()
	defer s.knownMu.Unlock()
	if s.known != nil {
		return s.known, nil
	}
	known, err := s.findFacts(ctx, op)
	if err == nil {
		s.known = known
	}
	return known, err
}

// findFacts asks for the shop and its locations.
func (s *shop) findFacts(ctx context.Context, op string) (*facts, error) {
	data, err := ask[shopData](ctx, s, graphql.Request{Op: op, Document: shopDocument})
	if err != nil {
		return nil, err
	}
	account, ok := number("Shop", data.Shop.ID)
	if !ok {
		return nil, s.missing(op, "the id of the shop")
	}
	if own := data.Shop.MyshopifyDomain; !strings.EqualFold(own, s.domain) {
		return nil, connectors.Rejectedf(op, "", "%s is %q, and leads to the shop %q, which signs its webhooks with that name: write %q",
			settingShop, s.domain, s.client.Redact(own), s.client.Redact(own))
	}
	locations, err := s.choose(op, data.Locations.Nodes)
	if err != nil {
		return nil, err
	}
	return &facts{account: account, locations: locations}, nil
}

// choose looks the setting up among the active locations of the shop.
func (s *shop) choose(op string, nodes []locationNode) ([]location, error) {
	var active []location
	var names []string
	for _, n := range nodes {
		id, ok := number("Location", n.ID)
		if !ok {
			return nil, s.missing(op, "the id of a location")
		}
		if n.IsActive {
			active = append(active, location{id: id, name: n.Name})
			names = append(names, fmt.Sprintf("%s (%s)", id, n.Name))
		}
	}
	are := s.client.Redact(strings.Join(names, ", "))
	if len(s.wanted) == 0 {
		if len(active) != 1 {
			return nil, connectors.Rejectedf(op, "", "the shop has %d active locations, and %s does not say which are meant: %s", len(active), settingLocations, are)
		}
		return active, nil
	}
	var chosen []location
	for _, text := range s.wanted {
		at := slices.IndexFunc(active, func(l location) bool { return l.id == text || l.name == text })
		if at < 0 {
			return nil, connectors.Rejectedf(op, "", "%s: %q is neither the id nor the name of an active location of the shop; there are %s", settingLocations, text, are)
		}
		if !slices.Contains(chosen, active[at]) {
			chosen = append(chosen, active[at])
		}
	}
	return chosen, nil
}

// location is one that the connection keeps.
type location struct{ id, name string }

// place is how a location is written in a ref: with only one there is no need to.
func (f *facts) place(l location) string {
	if len(f.locations) == 1 {
		return ""
	}
	return l.id
}

// at finds the location of a place.
func (f *facts) at(place string) (location, bool) {
	for _, l := range f.locations {
		if f.place(l) == place {
			return l, true
		}
	}
	return location{}, false
}

// keeps reports whether the connection keeps the location with the id.
func (f *facts) keeps(id string) bool {
	return slices.ContainsFunc(f.locations, func(l location) bool { return l.id == id })
}

const gidPrefix = "gid://shopify/"

// gid is the global id of a number, and number the way back. Only digits are taken: an id goes into queries.
func gid(kind, id string) string { return gidPrefix + kind + "/" + id }

func number(kind, text string) (string, bool) {
	id, ok := strings.CutPrefix(text, gidPrefix+kind+"/")
	return id, ok && isNumber(id)
}

func isNumber(id string) bool {
	const most = 20
	return id != "" && len(id) <= most && strings.Trim(id, "0123456789") == ""
}

var errNotANumber = errors.New("it is not a number, as Shopify's ids are")
