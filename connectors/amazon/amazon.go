// Package amazon is the connector for sellers on Amazon as a marketplace, by the Selling Partner API. Facts about Amazon
// cite the vendor's models, https://github.com/amzn/selling-partner-api-models, by the name of an operation or type, or a
// page of developer-docs.amazon.com.
//
// # What a quantity is
//
// A listing that the seller ships has one quantity, fulfillment_availability of the channel DEFAULT, which Amazon lowers
// with each order, a pending one too. It is one for all marketplaces of an account's region. What lies in Amazon's own
// warehouses (FBA) is counted by Amazon alone: such listings are neither listed nor written, because a written quantity
// would make them listings that the seller ships.
//
// # How a write becomes true
//
// patchListingsItem answers ACCEPTED, and so does a feed; the quantity shows later, or never: only a reading confirms it.
// There is neither a condition nor an idempotency key. The class is therefore connectors.AsynchronousFeed.
//
// # How orders become known
//
// By notifications in an SQS queue, within seconds; each leads to one order, which is read whole. searchOrders is allowed
// every three minutes, and heals what the queue lost. A raise waits for it, a lower never does.
package amazon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// The settings of a connection.
const (
	settingRegion       = "region"
	settingSeller       = "seller_id"
	settingMarketplaces = "marketplace_ids"
	settingClientID     = "client_id"
	settingClientSecret = "client_secret"
	settingRefreshToken = "refresh_token"
	settingFeedFrom     = "feed_from"
	settingQueue        = "queue_url"
	settingKeyID        = "aws_access_key_id"
	settingKey          = "aws_secret_access_key"
)

// hosts are the addresses of the API by region: https://developer-docs.amazon.com/sp-api/docs/sp-api-endpoints.
var hosts = map[string]string{
	"na": "https://sellingpartnerapi-na.amazon.com",
	"eu": "https://sellingpartnerapi-eu.amazon.com",
	"fe": "https://sellingpartnerapi-fe.amazon.com",
}

const (
	loginHost = "https://api.amazon.com"
	// mostMarketplaces is how many searchOrders takes (marketplaceIds).
	mostMarketplaces = 50
	// mostMessages is how many messages a feed takes (listings-feed-schema-v2).
	mostMessages = 25_000
	// readLag is how long an accepted quantity may take to show. How long it takes is not documented; a notification of the
	// change has the listing looked at earlier.
	readLag = 5 * time.Minute
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "amazon",
		Title: "Amazon",
		Roles: []connectors.Role{connectors.MarketplaceRole},
		Fields: []connectors.Field{
			{Name: settingRegion, Required: true, Help: "Region of the seller account: na (the Americas), eu (Europe, Middle East, India, South Africa) or fe (Japan, Australia, Singapore)."},
			{Name: settingSeller, Required: true, Help: "The seller's Merchant Token, such as A2EXAMPLE1234."},
			{Name: settingMarketplaces, Required: true, Help: "Marketplace ids, separated by commas: listings are read in the first, orders of all. Name every marketplace of the region in which the " +
				"account sells, as they share one quantity."},
			{Name: settingClientID, Required: true, Help: "LWA client id of the application (amzn1.application-oa2-client.…)."},
			{Name: settingClientSecret, Required: true, Secret: true, Help: "LWA client secret of the application."},
			{Name: settingRefreshToken, Required: true, Secret: true, Help: "Refresh token (Atzr|…) that the seller's authorization of the application gave."},
			{Name: settingFeedFrom, Default: "200", Help: "From how many listings at once on they are written as a feed, which takes minutes, in the place of one by one, 5 a second; 0 for never."},
			{Name: settingQueue, Help: "URL of an SQS queue of the connection's own, to which Amazon sends notifications. Without one, orders are found by asking every three minutes at best."},
			{Name: settingKeyID, Help: "Access key id of an AWS user that may receive and delete messages of the queue."},
			{Name: settingKey, Secret: true, Help: "Secret access key of that user."},
		},
		Open:  open,
		Guide: guide(),
	}
}

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "the Selling Partner API: Listings Items 2021-08-01, Feeds 2021-06-30, Orders 2026-01-01, confirmShipment of Orders v0, Notifications v1, Sellers v1",
		Classes:  []connectors.Class{connectors.AsynchronousFeed},
		Batch:    batchSize,
		Setup: []string{
			"In Seller Central, under Apps and Services → Develop Apps, make an application for your own account with the roles below. Open View at LWA credentials, and copy them into `client_id` and `client_secret`.",
			"In the menu beside the application, take Authorize app, and copy the refresh token into `refresh_token`.",
			"Copy Settings → Account Info → Your Merchant Token into `seller_id`, and the ids of the marketplaces in which you sell into `marketplace_ids`.",
			"In the AWS console, make a standard SQS queue, in any region, for this connection alone. In its access policy, let the account 437568002678 sqs:SendMessage and sqs:GetQueueAttributes. Copy its URL into `queue_url`.",
			"In IAM, make a user that may sqs:ReceiveMessage and sqs:DeleteMessage on that queue, and copy an access key of it into `aws_access_key_id` and `aws_secret_access_key`.",
			"Give the connection a `poll` of 15m: the queue tells of orders, and asking more often uses up what Amazon allows.",
			"Run `truestock check`. The subscriptions are made by truestock.",
		},
		Scopes: []string{"Product Listing", "Inventory and Order Tracking", "Amazon's roles that name personal data are not needed: nothing of buyers is read"},
		Can: []string{
			"reads and writes the quantity of listings that the seller ships, and leaves their handling time and restock date alone",
			"writes many listings at once as a feed, whose report tells the refused ones; a listing is never in a feed and written beside it at the same time",
			"orders, pending ones too, with shipments and cancellations as running totals, from an SQS queue within seconds, and by asking",
			"shipments with carrier and tracking, once each",
			"makes the destination and the subscriptions, and makes them again when they are gone",
			"keeps to each operation's rate, as Amazon tells it in its answers",
		},
		Cannot: []string{
			"write listings that Amazon fulfils (FBA), or count Amazon's stock: a mapping of one is refused, with the reason",
			"tell a system of record that an order is still pending, so that its payment may fail: it is told like any order, and cancelled later",
			"raise a quantity while the orders cannot be asked for, as at most one page every three minutes is allowed after twenty at once: the raise waits, a lower does not",
			"ship without a carrier and a tracking number",
			"see orders that last changed more than 30 days before the first start",
			"cancel orders or refund them",
			"read a queue that several connections or other programs share",
		},
		Limits: []string{
			"5 listings are written a second, 5 a second are read, 20 in a search.",
			"A feed takes up to 25,000 listings; truestock sends up to 1000 at a time, one feed every two minutes after fifteen at once.",
			"The list of orders: 100 a page, one page every three minutes after twenty at once. A first start with 10,000 orders in 30 days takes 4 hours, during which raises wait.",
			"A single order: one every two seconds, after thirty at once.",
			"The client secret ends after 180 days and the seller's authorization after a year; both are told when they do.",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.VendorSpecification, What: "every operation's requests, and the pretend Amazon's answers, pass Prism without a violation: by Amazon's models, and for the two operations of Orders 2026-01-01 by a " +
				"description of our own", Test: "connectors/amazon TestSpecification"},
			{By: connectors.Vectors, What: "the static sandbox's answers to all operations but those of Orders 2026-01-01 are understood or classed", Test: "connectors/amazon TestSandboxPairs"},
			{By: connectors.Conformance, What: "events leave the queue after they are stored", Test: "sync TestQueueIsAcknowledgedAfterStoring"},
			{By: connectors.Conformance, What: "the quota of the list of orders", Test: "connectors/amazon TestOrdersWithinTheQuota"},
			{By: connectors.Conformance, What: "the whole suite against a pretend Amazon, with single writes and with feeds", Test: "connectors/amazon TestConformance"},
		},
		Unproven: []string{
			"calls to Amazon itself: nothing was tried against a seller account or its sandbox",
			"Orders 2026-01-01 against Amazon's own model: no package that the tests can install carries it, so its two operations are checked by a description that was written by hand from it",
			"that the models of the npm package @selling-partner-api/models 0.4.0, which is not Amazon's, are those of today",
			"how long an accepted quantity takes to show: 5 minutes are given before it is written again; feeds that were stuck for days were reported (amzn/selling-partner-api-models#2633)",
			"how Amazon tells single cancelled units of an order that goes on: what is neither shipped nor to be shipped is taken for cancelled",
			"that a pending order's units are in what orders tell, as they are gone from what the listing shows",
			"by how much a feed that is under way and a single write interfere: they are never mixed",
			"which carrier codes Amazon takes beside Other",
			"the account number 437568002678 that the queue's policy names, and the steps in Seller Central: both from other people's notes",
			"that the search by SKU is as fresh as a single listing, which is asked where there are up to 10",
		},
	}
}

var (
	_ connectors.Marketplace    = (*market)(nil)
	_ connectors.ShipmentWriter = (*market)(nil)
	_ connectors.Subscriber     = (*queuedMarket)(nil)
	_ connectors.DeliveryQueue  = (*queuedMarket)(nil)
)

// market is one connection.
type market struct {
	session
	seller       string
	marketplaces []string
	feedFrom     int
	queued       bool

	// transport, log and timeout are for documents at addresses that Amazon gives.
	transport http.RoundTripper
	log       *slog.Logger
	timeout   time.Duration

	closed atomic.Bool

	feedTurn sync.Mutex
	feeds    flights
	reading  reading

	seenMu sync.Mutex
	seen   map[string]sighting
}

// open checks the settings; it does no I/O. The error names the setting.
func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.MarketplaceRole {
		return nil, fmt.Errorf("an Amazon account cannot be a %s; its role is %s", role, connectors.MarketplaceRole)
	}
	m := &market{
		session: session{
			clientID: strings.TrimSpace(s[settingClientID]), clientSecret: strings.TrimSpace(s[settingClientSecret]), refreshToken: strings.TrimSpace(s[settingRefreshToken]),
			buckets: map[string]*rate.Limiter{},
		},
		seller: strings.TrimSpace(s[settingSeller]), transport: env.Transport, log: env.Log, timeout: env.Timeout,
		seen: map[string]sighting{}, feeds: flights{verdicts: map[string]verdict{}},
	}
	if err := m.check(s); err != nil {
		return nil, err
	}
	config := rest.Config{
		BaseURL: hosts[s[settingRegion]], Transport: env.Transport, Log: env.Log, Timeout: env.Timeout,
		Secrets: []string{m.clientSecret, m.refreshToken, s[settingKey]},
	}
	var err error
	if m.client, err = rest.New(config); err != nil {
		return nil, err
	}
	config.BaseURL = loginHost
	if m.login, err = rest.New(config); err != nil {
		return nil, err
	}
	if s[settingQueue] == "" {
		return m, nil
	}
	m.queued = true
	q, err := newQueue(s[settingQueue], s[settingKeyID], s[settingKey], env.Transport)
	if err != nil {
		return nil, err
	}
	return &queuedMarket{m, q}, nil
}

// check checks the settings, and reads the marketplaces.
func (m *market) check(s connectors.Settings) error {
	if hosts[s[settingRegion]] == "" {
		return fmt.Errorf("%s is %q: write na, eu or fe", settingRegion, s[settingRegion])
	}
	for name, value := range map[string]string{settingSeller: m.seller, settingClientID: m.clientID, settingClientSecret: m.clientSecret, settingRefreshToken: m.refreshToken} {
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("%s is empty, or holds white space or letters that it never has: copy it again", name)
		}
	}
	for text := range strings.SplitSeq(s[settingMarketplaces], ",") {
		text = strings.TrimSpace(text)
		if text == "" || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			return fmt.Errorf("%s is %q: write marketplace ids, such as A1PA6795UKMFR9, separated by commas", settingMarketplaces, s[settingMarketplaces])
		}
		if !slices.Contains(m.marketplaces, text) {
			m.marketplaces = append(m.marketplaces, text)
		}
	}
	if len(m.marketplaces) > mostMarketplaces {
		return fmt.Errorf("%s names %d marketplaces: at most %d are taken", settingMarketplaces, len(m.marketplaces), mostMarketplaces)
	}
	var err error
	if m.feedFrom, err = strconv.Atoi(s[settingFeedFrom]); err != nil || m.feedFrom < 0 || m.feedFrom > mostMessages {
		return fmt.Errorf("%s is %q: write a number from 0 to %d", settingFeedFrom, s[settingFeedFrom], mostMessages)
	}
	return nil
}

// Check implements connectors.Connection. It proves also that the listings are the account's own, and that it sells in the
// marketplaces.
func (m *market) Check(ctx context.Context) error {
	const op = "check the connection"
	if err := m.do(ctx, call{op: op, operation: searchListingsItems, path: m.itemsPath(""), query: url.Values{
		"marketplaceIds": {m.marketplaces[0]}, "pageSize": {"1"},
	}}, &searchedItems{}); err != nil {
		return err
	}
	var list wrapped[[]participation]
	if err := m.do(ctx, call{op: op, operation: getParticipations, path: "/sellers/v1/marketplaceParticipations"}, &list); err != nil {
		if connectors.KindOf(err) == connectors.Throttled {
			return nil // it is allowed once a minute, and a refusal for the rate is none of the credentials
		}
		return err
	}
	var sells []string
	for _, p := range list.Payload {
		if p.Participation.Participates {
			sells = append(sells, p.Marketplace.ID)
		}
	}
	for _, id := range m.marketplaces {
		if !slices.Contains(sells, id) {
			return connectors.Rejectedf(op, "", "%s names %s, in which the account does not sell; it sells in %s: compare %s and %s with Seller Central → Settings → Account Info",
				settingMarketplaces, id, m.client.Redact(strings.Join(sells, ", ")), settingMarketplaces, settingRegion)
		}
	}
	return nil
}

// Close implements connectors.Connection.
func (m *market) Close() error {
	m.closed.Store(true)
	_ = m.login.Close()
	return m.client.Close()
}

// Capabilities implements connectors.Marketplace. It asks nothing.
func (m *market) Capabilities(context.Context) (connectors.MarketplaceCapabilities, error) {
	caps := connectors.MarketplaceCapabilities{
		Class:         connectors.AsynchronousFeed,
		BatchSize:     batchSize,
		ReadLag:       readLag,
		MaxQuantity:   maxQuantity,
		Shipments:     true,
		Subscriptions: m.queued,
		OrderOverlap:  orderOverlap,
	}
	if m.queued {
		caps.RetryHorizon = retryHorizon
	}
	return caps, nil
}

// contentKey is a short name of a content.
func contentKey(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}
