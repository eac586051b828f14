// Package woocommerce is the connector for WooCommerce shops, version 5.8 and later, as a marketplace. It speaks the REST
// API wc/v3. Facts about WooCommerce cite the plugin's sources below plugins/woocommerce/includes of
// https://github.com/woocommerce/woocommerce, and https://woocommerce.github.io/woocommerce-rest-api-docs.
//
// # What a quantity is
//
// WooCommerce keeps one number per product, or per variation of a product, where manage_stock is set: stock_quantity, what
// can still be bought. Without manage_stock the shop sells any number, unless its stock_status says outofstock. A variation
// can take its stock from its product; then the product is the listing, and orders of the variation are orders of it. The
// number falls below zero where backorders are allowed, and is read so.
//
// An order takes its units off the number when it becomes processing, on-hold or completed, and gives them back when it
// becomes cancelled or pending (wc-stock-functions.php, wc_maybe_reduce_stock_levels and wc_maybe_increase_stock_levels). An
// unpaid, pending order takes nothing. A refund gives back what it says it restocks (wc-order-functions.php,
// wc_restock_refunded_items).
//
// # Why a write overwrites
//
// stock_quantity is set to what is written, whatever it was: there is no condition, no version and no key
// (rest-api/Controllers/Version3/class-wc-rest-products-controller.php, prepare_object_for_database). The undocumented
// inventory_delta is no way out, because the shop reads, adds and writes, and knows no key. An order between the last look
// and the write is overwritten, so the class is connectors.Overwrite.
package woocommerce

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/signature"
)

// The settings of a connection.
const (
	settingBaseURL        = "base_url"
	settingKey            = "consumer_key"
	settingSecret         = "consumer_secret"
	settingInQuery        = "credentials_in_query"
	settingWebhookSecrets = "webhook_secrets"
	settingNotes          = "shipment_notes"
	settingPace           = "requests_per_second"
)

// The values of settingNotes.
const (
	notesPrivate  = "private"
	notesCustomer = "customer"
)

// batchSize is what the shop takes in one call, unless a filter of the shop's own lowers it
// (rest-api/Controllers/Version3/class-wc-rest-controller.php, check_batch_limit), and the most rows of a page.
const batchSize = 100

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "woocommerce",
		Title: "WooCommerce",
		Roles: []connectors.Role{connectors.MarketplaceRole},
		Fields: []connectors.Field{
			{Name: settingBaseURL, Required: true, Help: "Address of the shop, such as https://shop.example; https, except on this machine."},
			{Name: settingKey, Required: true, Secret: true, Help: "Consumer key of the REST API (ck_…), with the permission Read/Write."},
			{Name: settingSecret, Required: true, Secret: true, Help: "Consumer secret that belongs to the key (cs_…)."},
			{Name: settingInQuery, Default: "no", Help: "yes sends key and secret as parameters of the address, for a web server that drops the " +
				"header Authorization; they then stand in that server's logs."},
			{Name: settingWebhookSecrets, Secret: true, Help: "Secrets that the shop may sign its webhooks with, separated by commas or spaces; the " +
				"first one is given to new webhooks. Letters and digits."},
			{Name: settingNotes, Default: notesPrivate, Help: "Who sees the note about a shipment: private is the shop's staff, customer mails it to the buyer."},
			{Name: settingPace, Help: "The most requests a second that the shop bears, such as 5 or 0.5; no limit when left out."},
		},
		Open:  open,
		Guide: guide(),
	}
}

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "WooCommerce 5.8 and later, REST API wc/v3",
		Classes:  []connectors.Class{connectors.Overwrite},
		Batch:    batchSize,
		Setup: []string{
			"Under Settings → Permalinks of WordPress, choose anything but Plain: without that there is no REST API.",
			"Under WooCommerce → Settings → Products → Inventory, switch on Enable stock management.",
			"Under WooCommerce → Settings → Advanced → REST API, add a key with the permission Read/Write, for a user who is an administrator or a shop manager; copy both values at once, the secret is shown only then.",
			"Put the address of the shop and both values into the configuration, and run `truestock check`.",
			"To hear of orders at once, set public_url and `webhook_secrets`: the webhooks are made by themselves, are enabled again when the shop disables them, and stand under WooCommerce → Settings → Advanced → Webhooks.",
			"Set backorders of the products to Do not allow: with backorders the shop goes on selling at 0.",
		},
		Scopes: []string{"REST API key with the permission Read/Write", "its user: the capability manage_woocommerce, as administrators and shop managers have it"},
		Limits: []string{
			"Webhooks are sent by the shop's own scheduler, which runs when somebody visits the shop, and are not sent again; after more than five failures in a row the shop disables them. Polling heals both.",
			"Variations are written by their products: a batch costs one request, and one more per product with variations.",
			"After a start, a variation that was not listed yet is looked up by a request of its own.",
			"An order line with part of a unit is refused, and so is stock in parts of a unit: truestock counts whole units.",
		},
		Can: []string{
			"reads and writes stock of products and variations, and tells what is sold without a limit",
			"orders from the moment at which the shop takes their units, with refunds in part, cancellation and the trash",
			"shipments: a note with carrier and number, and the status completed when all is shipped",
			"webhooks: made, listed and enabled again",
		},
		Cannot: []string{
			"stop the sale of a listing other than by 0",
			"write on a condition: an order between the last look and a write is overwritten, and found out by the look after it",
			"see orders that were deleted for good, without the trash",
			"see at once that an unpaid order, of which nothing is off the stock, was put back from on-hold to pending or failed: it stays open until its next status",
			"complete an order with lines that nobody ships, such as downloads that are not mapped: a person does",
			"leave a paused webhook paused: take public_url away instead",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.Recorded, What: "the suite against a shop of WooCommerce 7.1.1 on WordPress 6.1.9; with its faults and callers side by side it was run there too", Test: "connectors/woocommerce TestRecorded"},
			{By: connectors.Conformance, What: "the whole suite, with products and variations, against a pretend shop written from the sources of WooCommerce", Test: "connectors/woocommerce TestConformance"},
			{By: connectors.Conformance, What: "orders from pending to refunded: what they tell and what the shop shows add up after every step", Test: "connectors/woocommerce TestLifeOfAnOrder"},
			{By: connectors.Conformance, What: "errors of single items inside HTTP 200", Test: "connectors/woocommerce TestErrorsInsideABatch"},
			{By: connectors.Conformance, What: "the shop's error codes, firewalls, caches and answers that are none", Test: "connectors/woocommerce TestErrorsOfTheShop"},
			{By: connectors.Conformance, What: "webhooks that are made, disabled by the shop and enabled again", Test: "connectors/woocommerce TestSubscriptions"},
			{By: connectors.Recorded, What: "webhooks that a shop of WooCommerce 7.1.1 sent", Test: "connectors/woocommerce TestDelivered"},
			{By: connectors.Vectors, What: "the signature of a webhook", Test: "connectors/woocommerce TestWebhookVector"},
		},
		Unproven: []string{
			"later releases of WooCommerce: TestLive runs the suite against a shop that TRUESTOCK_WOOCOMMERCE_URL, _KEY and _SECRET name",
			"plug-ins that change quantities, statuses or the REST API",
		},
	}
}

var (
	_ connectors.Marketplace     = (*shop)(nil)
	_ connectors.AccountTeller   = (*shop)(nil)
	_ connectors.ShipmentWriter  = (*shop)(nil)
	_ connectors.Subscriber      = (*shop)(nil)
	_ connectors.WebhookReceiver = (*shop)(nil)
	_ connectors.Handshaker      = (*shop)(nil)
	_ connectors.WebhookAnswerer = (*shop)(nil)
)

// shop is one connection.
type shop struct {
	client      *rest.Client
	key, secret string
	inQuery     bool
	hooks       signature.Secrets
	hookURL     string
	notes       string

	// clock is the shop's, as of the last answer.
	clock rest.Clock

	capsMu sync.Mutex
	caps   *connectors.MarketplaceCapabilities

	itemsMu sync.Mutex
	items   map[int64]item // what is known of products and variations

	// shipping is held while an order is read and its shipments are written: what is shipped in all decides its status.
	shipping sync.Mutex
}

// open checks the settings; it does no I/O. The error names the setting.
func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.MarketplaceRole {
		return nil, fmt.Errorf("a WooCommerce shop cannot be a %s; its role is %s", role, connectors.MarketplaceRole)
	}
	base, err := parseBase(s[settingBaseURL])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingBaseURL, err)
	}
	inQuery, err := parseAnswer(settingInQuery, s[settingInQuery])
	if err != nil {
		return nil, err
	}
	pace, err := rest.ParsePace(settingPace, s[settingPace])
	if err != nil {
		return nil, err
	}
	hooks, err := parseHooks(s[settingWebhookSecrets])
	if err != nil {
		return nil, err
	}
	sh := &shop{
		key: strings.TrimSpace(s[settingKey]), secret: strings.TrimSpace(s[settingSecret]), inQuery: inQuery,
		hooks: hooks, hookURL: env.WebhookURL, notes: s[settingNotes], items: map[int64]item{},
	}
	switch {
	case sh.key == "":
		return nil, fmt.Errorf("%s is empty: write the key from WooCommerce → Settings → Advanced → REST API", settingKey)
	case sh.secret == "":
		return nil, fmt.Errorf("%s is empty: write the secret that was shown when the key was made", settingSecret)
	case sh.notes != "" && sh.notes != notesPrivate && sh.notes != notesCustomer:
		return nil, fmt.Errorf("%s is %q: write %s or %s", settingNotes, sh.notes, notesPrivate, notesCustomer)
	}
	sh.client, err = rest.New(rest.Config{
		BaseURL:           base,
		Transport:         env.Transport,
		Log:               env.Log,
		Timeout:           env.Timeout,
		RequestsPerSecond: pace,
		Secrets:           append([]string{sh.key, sh.secret, sh.key + ":" + sh.secret}, hooks...),
	})
	if err != nil {
		return nil, err
	}
	return sh, nil
}

// parseBase makes the address of the REST API from that of the shop. Key and secret go through in the clear, so only
// https will do; the shop itself takes them in no other way (class-wc-rest-authentication.php, authenticate).
func parseBase(text string) (string, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "/")
	text = strings.TrimSuffix(strings.TrimSuffix(text, "/wc/v3"), "/wp-json")
	u, err := url.Parse(text)
	if err != nil || text == "" {
		return "", errors.New("it is not a URL; write the address of the shop, such as https://shop.example")
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	if u.Scheme == "http" && host != "localhost" && !(ip != nil && ip.IsLoopback()) {
		return "", errors.New("it begins with http://, which would show the secret to everybody on the way; write https://")
	}
	return text + "/wp-json", nil
}

func parseAnswer(name, text string) (bool, error) {
	switch text {
	case "yes":
		return true, nil
	case "no", "":
		return false, nil
	default:
		return false, fmt.Errorf("%s is %q: write yes or no", name, text)
	}
}

// parseHooks refuses what the shop would change: it decodes the entities of HTML in a secret before it signs
// (class-wc-webhook.php, generate_signature).
func parseHooks(text string) (signature.Secrets, error) {
	secrets := signature.Parse(text)
	for _, secret := range secrets {
		if strings.ContainsAny(secret, `&<>"'\`) {
			return nil, fmt.Errorf("%s: a secret contains one of &<>\"'\\, which the shop would change; take letters and digits", settingWebhookSecrets)
		}
	}
	return secrets, nil
}

// Check implements connectors.Connection. It proves that products and orders can be read; whether the key may write is
// known only to a write.
func (s *shop) Check(ctx context.Context) error {
	const op = "check the connection"
	for _, path := range []string{"/products", "/orders"} {
		var rows []struct {
			ID int64 `json:"id"`
		}
		query := url.Values{"per_page": {"1"}, "_fields": {"id"}}
		if err := s.read(ctx, op, path, query, &rows); err != nil {
			return err
		}
	}
	return nil
}

// Close implements connectors.Connection.
func (s *shop) Close() error { return s.client.Close() }

// Capabilities implements connectors.Marketplace.
func (s *shop) Capabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	s.capsMu.Lock()
	defer s.capsMu.Unlock()
	if s.caps != nil {
		return *s.caps, ctx.Err()
	}
	account, err := s.Account(ctx)
	if err != nil {
		return connectors.MarketplaceCapabilities{}, err
	}
	s.caps = &connectors.MarketplaceCapabilities{
		Class:         connectors.Overwrite,
		Account:       account,
		BatchSize:     batchSize,
		Shipments:     true,
		Subscriptions: true,
	}
	return *s.caps, nil
}

// Account implements connectors.AccountTeller: the address of the shop, without its scheme, as the shop itself tells it.
// A user who may not see the system's status leaves the public index of the REST API.
func (s *shop) Account(ctx context.Context) (string, error) {
	const op = "ask which shop it is"
	var status statusData
	err := s.read(ctx, op, "/system_status", url.Values{"_fields": {"environment.home_url,environment.site_url"}}, &status)
	told := status.Environment.HomeURL
	if told == "" {
		told = status.Environment.SiteURL
	}
	if connectors.KindOf(err) == connectors.Auth {
		var index indexData
		if s.readIndex(ctx, op, &index) != nil {
			return "", err
		}
		told, err = index.Home, nil
	}
	if err != nil {
		return "", err
	}
	u, err := url.Parse(told)
	if err != nil || u.Host == "" {
		return "", s.missing(op, "the address of the shop")
	}
	return u.Host + strings.TrimRight(u.Path, "/"), nil
}
