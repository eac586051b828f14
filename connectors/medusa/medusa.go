// Package medusa is the connector for Medusa shops, version 2, as a marketplace. It speaks the admin API: JSON over HTTP.
// Facts about Medusa cite the sources of the npm packages @medusajs/…@2.21.2, below dist/.
//
// # What a quantity is
//
// Medusa counts stock per inventory item and stock location, and links a variant to inventory items, with the number of
// units that one variant takes (required_quantity); by default to one item of its own, one to one. A buyer can order
//
//	available = (stocked − reserved) / required_quantity
//
// of a variant, the least of these where it has several items. The connector speaks of available only: a reading is
// computed so, and a write sets
//
//	stocked = quantity × required_quantity + reserved
//
// from reserved as read immediately before. The numbers are those of one stock location. Other locations of the same sales
// channel add to what the shop sells: leave them empty, or make a connection for each.
//
// An order reserves its units when it is placed: stocked stays, reserved rises, available falls by itself. A fulfillment
// takes them off both (core-flows/order/workflows/create-fulfillment.js).
//
// The number of a variant that is put together of several items, or of several units of an item that other variants use
// too, follows from the numbers of its parts. It is read, and never written.
//
// # Why a write is compare-and-set
//
// Medusa has no conditional write. WriteStock reads, compares with Write.Expect, and writes at once; a line whose variant
// shows another quantity is connectors.Stale. That leaves the moment between this reading and the writing, which differs
// from other shops in that stocked is written and available is meant:
//
//   - An order placed in the moment harms nothing: the shop adds its units to reserved whatever stocked is, so the buyer's
//     units are off what the next buyer sees, and the result tells the lower number.
//   - A cancellation in the moment makes reserved smaller, so that more would be shown than was meant. The connector reads
//     again after every write, sees that, and writes again. (The answer to the write itself does not show it: its
//     available_quantity is from before the write.)
//   - A fulfillment in the moment takes as much off stocked as off reserved, and what is written puts it back into stocked.
//     That is the same: the reading shows it, and the connector writes again. Its own fulfillments wait for its writes.
//   - What a person types into the stock in the moment is lost, as it would be with the next write.
//   - A fulfillment that Medusa makes for a person, or takes back, reads stocked, adds to it and writes the sum, under a lock
//     that its admin API for levels does not take (core-flows/inventory/steps/adjust-inventory-levels.js,
//     update-inventory-levels.js). If the connector's write falls between, it is lost: the reading after it, or the next look
//     at the listing, shows the difference.
//
// So no unit that is sold comes back for sale by a write that expects what the engine read before it fetched the orders.
// The class is therefore connectors.CompareAndSet.
package medusa

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/standardwebhooks"
	"github.com/truestock/truestock/stock"
)

// The settings of a connection.
const (
	settingBaseURL        = "base_url"
	settingAPIKey         = "api_key"
	settingEmail          = "email"
	settingPassword       = "password"
	settingStockLocation  = "stock_location"
	settingSalesChannel   = "sales_channel"
	settingWebhookSecrets = "webhook_secrets"
	settingPace           = "requests_per_second"
)

const (
	// batchSize bounds the variants of one call: their ids stand in the address of the reading, which servers and proxies
	// bound, some at 4 KB.
	batchSize = 50
	// maxQuantity leaves room for reserved units: Medusa answers with JSON numbers, which are exact up to 2⁵³.
	maxQuantity stock.Quantity = 1_000_000_000
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "medusa",
		Title: "Medusa",
		Roles: []connectors.Role{connectors.MarketplaceRole},
		Fields: []connectors.Field{
			{Name: settingBaseURL, Required: true, Help: "Address of the Medusa server, without /admin, such as https://shop.example."},
			{Name: settingAPIKey, Help: "Secret API key (sk_…).", Secret: true},
			{Name: settingEmail, Help: "Email address of an admin user to log in as, in the place of the API key."},
			{Name: settingPassword, Help: "Password of the admin user.", Secret: true},
			{Name: settingStockLocation, Help: "Id or name of the stock location whose stock is kept; may be left out where there is only one."},
			{Name: settingSalesChannel, Help: "Id or name of the sales channel whose products and orders are meant; all when left out."},
			{Name: settingWebhookSecrets, Help: "Secrets that the truestock subscriber may sign its webhooks with (whsec_…), " +
				"separated by commas or spaces; more than one while a secret is being replaced.", Secret: true},
			{Name: settingPace, Help: "The most requests a second that the shop bears, such as 5 or 0.5; no limit when left out."},
		},
		Open:  open,
		Guide: guide(),
	}
}

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "Medusa 2, tried with 2.21.2",
		Classes:  []connectors.Class{connectors.CompareAndSet},
		Batch:    batchSize,
		Setup: []string{
			"In Medusa Admin, under Settings → Secret API Keys, create a key, and copy it: it is shown once. Medusa allows a user one secret key; where it is in use elsewhere, invite a user of its own for truestock.",
			"Under Settings → Locations & Shipping, look up the name of the location whose stock is kept, and see that the sales channel is connected to it.",
			"Put the address of the server, the key and the location into the configuration, and run `truestock check`.",
			"To hear of orders and stock at once, copy connectors/medusa/subscriber/truestock.js into src/subscribers of the Medusa project, give the server the webhook address of the connection and a secret in TRUESTOCK_WEBHOOK_URL and TRUESTOCK_WEBHOOK_SECRET, and start it anew; without it the shop is polled.",
		},
		Limits: []string{
			"One stock location per connection; the shop itself adds up all locations of a sales channel.",
			"At most 1,000,000,000 are shown.",
		},
		Can: []string{
			"reads and writes stock, and sells without a limit (allow_backorder)",
			"orders, with edits, cancellations and returns",
			"shipments with tracking",
			"hears of changes through its subscriber",
		},
		Cannot: []string{
			"stop the sale of a listing other than by 0",
			"write the number of a variant that is put together of several inventory items: it follows from their numbers",
			"tell a part of an order's line while fewer units are for sale than the part has: Medusa refuses it then, and it is told again later; the whole line always goes through",
			"ship in one notice what needs shipping and what does not, or what belongs to several shipping profiles: Medusa wants a fulfillment for each",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.LiveTest, What: "the whole suite, and stock, orders, fulfillments and hints, against Medusa 2.21.2 from npm", Test: "connectors/medusa TestLive"},
			{By: connectors.LiveTest, What: "a shop, a warehouse and truestock between them", Test: "cmd/truestock TestMedusa"},
			{By: connectors.LiveTest, What: "orders and shipments beside a real Vendure shop, with a real Tryton behind both", Test: "cmd/truestock TestRealSystemsInALoop"},
		},
		Unproven: []string{
			"versions before and after 2.21.2",
			"a shop with its roles and permissions switched on (the feature flag rbac)",
		},
	}
}

var (
	_ connectors.Marketplace     = (*shop)(nil)
	_ connectors.ShipmentWriter  = (*shop)(nil)
	_ connectors.WebhookReceiver = (*shop)(nil)
)

// shop is one connection.
type shop struct {
	client                        *rest.Client
	verifier                      *standardwebhooks.Verifier
	apiKey                        string
	email, password               string
	wantedLocation, wantedChannel string

	// clock is the shop's, as of the last answer.
	clock rest.Clock

	sessionMu sync.Mutex
	token     string // of the session

	placeMu sync.Mutex
	place   place // once known

	// moving is held while stock is read and written, and while a shipment takes units off it: of our own doing nothing
	// changes stock in between.
	moving sync.Mutex
}

// place is what the connection keeps. The ids are the shop's; channel is empty where all channels are meant.
type place struct{ location, channel string }

// open checks the settings; it does no I/O. The error names the setting.
func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.MarketplaceRole {
		return nil, fmt.Errorf("a Medusa shop cannot be a %s; its role is %s", role, connectors.MarketplaceRole)
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
		apiKey:         s[settingAPIKey],
		email:          s[settingEmail],
		password:       s[settingPassword],
		wantedLocation: s[settingStockLocation],
		wantedChannel:  s[settingSalesChannel],
	}
	sh.client, err = rest.New(rest.Config{
		BaseURL:           s[settingBaseURL],
		Transport:         env.Transport,
		Log:               env.Log,
		Timeout:           env.Timeout,
		RequestsPerSecond: pace,
		Secrets: append(standardwebhooks.SecretTexts(s[settingWebhookSecrets]),
			s[settingPassword], s[settingAPIKey], basic(s[settingAPIKey])),
	})
	if err != nil {
		return nil, err
	}
	return sh, nil
}

func checkCredentials(s connectors.Settings) error {
	login, key := s[settingEmail] != "" && s[settingPassword] != "", s[settingAPIKey] != ""
	half := s[settingEmail] != "" || s[settingPassword] != ""
	switch {
	case key && half:
		return fmt.Errorf("%s is set beside %s or %s: set the key alone, or email and password", settingAPIKey, settingEmail, settingPassword)
	case !key && !login:
		return fmt.Errorf("no credentials: set %s, or %s and %s", settingAPIKey, settingEmail, settingPassword)
	}
	return nil
}

// Check implements connectors.Connection. It proves also that the stock location and the sales channel exist.
func (s *shop) Check(ctx context.Context) error {
	_, err := s.findPlace(ctx, "check the connection")
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
		Unlimited:   true,
	}, nil
}

// keptPlace returns the place that the connection keeps, and remembers it.
func (s *shop) keptPlace(ctx context.Context, op string) (place, error) {
	s.placeMu.Lock()
	defer s.placeMu.Unlock()
	if s.place.location != "" {
		return s.place, nil
	}
	found, err := s.findPlace(ctx, op)
	if err == nil {
		s.place = found
	}
	return found, err
}

// findPlace looks the settings up among the locations and channels of the shop.
func (s *shop) findPlace(ctx context.Context, op string) (place, error) {
	var p place
	locations, err := listNamed(ctx, s, op, "stock-locations", func(a *locationsAnswer) []named { return a.StockLocations })
	if err != nil {
		return p, err
	}
	if p.location, err = pick(op, settingStockLocation, "stock location", s.wantedLocation, locations); err != nil {
		return p, err
	}
	if s.wantedChannel == "" {
		return p, nil
	}
	channels, err := listNamed(ctx, s, op, "sales-channels", func(a *channelsAnswer) []named { return a.SalesChannels })
	if err != nil {
		return p, err
	}
	p.channel, err = pick(op, settingSalesChannel, "sales channel", s.wantedChannel, channels)
	return p, err
}

// pick finds the wanted one by id or name. Without a wish the only one is taken.
func pick(op, setting, what, wanted string, list []named) (string, error) {
	switch {
	case len(list) == 0:
		return "", connectors.Rejectedf(op, "", "the shop has no %s; make one in Medusa Admin, under Settings", what)
	case wanted == "" && len(list) == 1:
		return list[0].ID, nil
	case wanted == "":
		return "", connectors.Rejectedf(op, "", "the shop has %d %ss; write the name of the one that is meant into %s", len(list), what, setting)
	}
	for _, n := range list {
		if n.ID == wanted || n.Name == wanted {
			return n.ID, nil
		}
	}
	return "", connectors.Rejectedf(op, "", "%s %q is neither the id nor the name of one of the %d %ss of the shop", setting, wanted, len(list), what)
}

// mostNamed bounds the locations and channels that are looked through.
const mostNamed = 1000

func listNamed[A any](ctx context.Context, s *shop, op, kind string, rows func(*A) []named) ([]named, error) {
	query := url.Values{"limit": {strconv.Itoa(mostNamed)}, "order": {"created_at"}, "fields": {"id,name"}}
	got := new(A)
	if err := s.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/admin/" + kind, Query: query}, got); err != nil {
		return nil, err
	}
	list := rows(got)
	if list == nil {
		return nil, s.missing(op, "the list of "+kind)
	}
	for _, n := range list {
		if n.ID == "" {
			return nil, s.missing(op, "the id of one of the "+kind)
		}
	}
	return list, nil
}

// utcMillis is the precision in which the shop tells instants.
func utcMillis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
