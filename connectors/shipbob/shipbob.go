// Package shipbob is the connector for ShipBob as a system of record: the stock of every fulfillment center, orders, and
// shipments with their tracking, by the REST API and webhooks. ShipBob sends no webhook about stock, so levels are asked for.
//
// https://developer.shipbob.com
package shipbob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/standardwebhooks"
	"github.com/truestock/truestock/stock"
)

// The settings of a connection.
const (
	settingToken       = "token"
	settingEnvironment = "environment"
	settingChannel     = "channel_id"
	settingSecrets     = "webhook_secrets"
	settingLevels      = "levels"
	settingShipTo      = "ship_to"
	settingMethod      = "shipping_method"
)

const (
	version = "/2026-01"
	// perSecond and burst keep within 150 requests in any minute: https://developer.shipbob.com/rate-limit.
	perSecond, burst = 2, 30
	scopeWrite       = "orders_write"
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "shipbob",
		Title: "ShipBob",
		Roles: []connectors.Role{connectors.SystemOfRecordRole},
		Fields: []connectors.Field{
			{Name: settingToken, Required: true, Secret: true, Help: "Personal Access Token."},
			{Name: settingEnvironment, Default: "production", Help: "production or sandbox."},
			{Name: settingChannel, Help: "Number of the channel in whose name orders are made; needed where the token may write for several."},
			{Name: settingSecrets, Secret: true, Help: "Secrets of the webhook subscriptions (whsec_…), separated by commas or spaces."},
			{Name: settingLevels, Default: string(stock.AvailableBasis), Help: "Which number is taken: available (fulfillable_quantity), without what is committed to orders, or on_hand, with it. Take on_hand " +
				"only where every order at ShipBob comes through truestock."},
			{Name: settingShipTo, Help: "Where the orders go that truestock makes: name; street; city; state; postal code; country, separated by semicolons, the state perhaps empty. truestock does not know buyers' " +
				"addresses, and ShipBob takes no order without one. When left out, no orders are made."},
			{Name: settingMethod, Default: "Standard", Help: "Shipping method of those orders, as it is called in ShipBob under Ship Option Mapping."},
		},
		Open:  open,
		Guide: guide(),
	}
}

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "the REST API in the version 2026-01",
		Bases:    []stock.Basis{stock.AvailableBasis, stock.OnHandBasis},
		Setup: []string{
			"In the dashboard, under Integrations → API Tokens, make a Personal Access Token, and copy it into `token`. A sandbox account has its own: set `environment` to sandbox.",
			"Under Integrations → Webhooks → Add Subscription, subscribe the address of the connection's webhooks to order.shipped, order.shipment.delivered, order.shipment.exception, " +
				"order.shipment.on_hold, order.shipment.cancelled and return.completed, and copy the secret of the subscription into `webhook_secrets`.",
			"Decide on `levels`: available, where also others send orders to ShipBob.",
			"Where truestock is to make orders, write the address that all of them go to into `ship_to`, and see that `shipping_method` is mapped under Ship Option Mapping.",
			"Run `truestock check`.",
		},
		Scopes: []string{"channels_read", "inventory_read", "receiving_read", "orders_read", "orders_write"},
		Can: []string{
			"levels of every fulfillment center",
			"new orders, looked for by their reference first, which ShipBob keeps unique",
			"cancellations of whole orders, and of parts of what is not labelled yet",
			"tells how an order stands: shipped, committed, cancelled, rejected",
			"shipments with carrier and tracking number from webhooks that contain the order",
			"stays within 150 requests a minute, and waits as long as ShipBob says",
		},
		Cannot: []string{
			"know buyers' addresses: all orders go to `ship_to`",
			"see articles without a SKU, bundles and digital articles: they have no stock of their own",
			"make the webhook subscriptions: their secrets are told once, and truestock keeps no secrets but those of its configuration",
			"cancel a part of an order that would leave a shipment empty, or of a SKU that stands in two lines",
			"tell a whole order that somebody cancelled in the dashboard from one that we cancelled: the incident `commitment_stuck` tells of it",
		},
		Limits: []string{
			"150 requests in a minute, of all that use the token together; 250 levels cost one.",
			"An order shows in the levels about a minute after it is made.",
			"ShipBob sends nothing when stock changes: levels are as old as the last time they were asked for.",
			"What is committed to an order is heard of when the order is asked for, after `order_status` of silence: until then its units are missing twice, which sells too few and never too many.",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.Conformance, What: "the whole suite with each meaning of levels, against a pretend ShipBob that refuses members its OpenAPI description does not have", Test: "connectors/shipbob TestConformance"},
			{By: connectors.Conformance, What: "refusals, odd answers and answers that say nothing happened", Test: "connectors/shipbob TestBadInput"},
			{By: connectors.Vectors, What: "signatures of the Standard Webhooks scheme", Test: "connectors/standardwebhooks TestOfficialVector"},
		},
		Unproven: []string{
			"calls to an account of ShipBob's, and its sandbox",
			"what webhooks contain: ShipBob does not publish it. They are taken as orders where they have that form with tags, and as hints else",
			"that tags come back as they were written, and that a line item which is left out of an update is taken out of the shipment",
			"when units leave on_hand_quantity: with the pick, the label or the carrier",
			"whether a sold but cleared shipment (CleanSweeped) has left: it is taken for one that has not",
		},
	}
}

var (
	_ connectors.SystemOfRecord  = (*warehouse)(nil)
	_ connectors.OrderTeller     = (*warehouse)(nil)
	_ connectors.WebhookReceiver = (*warehouse)(nil)
)

// warehouse is one connection.
type warehouse struct {
	client   *rest.Client
	verifier *standardwebhooks.Verifier
	basis    stock.Basis
	shipTo   *recipient
	method   string
	wanted   string // the channel in the settings

	skus sync.Map // those that there are

	// ordersMu is held between looking for an order and making or changing it.
	ordersMu sync.Mutex

	channelMu sync.Mutex
	channel   string // found
}

// open checks the settings; it does no I/O. The error names the setting.
func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.SystemOfRecordRole {
		return nil, fmt.Errorf("ShipBob cannot be a %s; its role is %s", role, connectors.SystemOfRecordRole)
	}
	token := strings.TrimSpace(s[settingToken])
	w := &warehouse{basis: stock.Basis(s[settingLevels]), method: s[settingMethod], wanted: strings.TrimSpace(s[settingChannel])}
	host, err := hostOf(s[settingEnvironment])
	if err != nil {
		return nil, err
	}
	_, channelErr := strconv.ParseUint(w.wanted, 10, 63)
	switch {
	case token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, fmt.Errorf("%s is empty or holds white space: copy the Personal Access Token again", settingToken)
	case w.wanted != "" && channelErr != nil:
		return nil, fmt.Errorf("%s is %q: write the number of a channel", settingChannel, w.wanted)
	case w.basis != stock.AvailableBasis && w.basis != stock.OnHandBasis:
		return nil, fmt.Errorf("%s is %q: write available or on_hand", settingLevels, w.basis)
	case w.method == "":
		return nil, fmt.Errorf("%s is empty: write a shipping method of ShipBob's", settingMethod)
	}
	if w.shipTo, err = parseShipTo(s[settingShipTo]); err != nil {
		return nil, fmt.Errorf("%s: %w", settingShipTo, err)
	}
	if w.verifier, err = standardwebhooks.Parse(s[settingSecrets]); err != nil {
		return nil, fmt.Errorf("%s: %w", settingSecrets, err)
	}
	w.client, err = rest.New(rest.Config{
		BaseURL: host, Header: http.Header{"Authorization": {"Bearer " + token}}, Transport: env.Transport, Log: env.Log, Timeout: env.Timeout,
		RequestsPerSecond: perSecond, Burst: burst, Secrets: append(standardwebhooks.SecretTexts(s[settingSecrets]), token),
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// parseShipTo reads the address of the orders; nil where there is none.
func parseShipTo(text string) (*recipient, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	parts := strings.Split(text, ";")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	if len(parts) != 6 || parts[0] == "" || parts[1] == "" || parts[2] == "" || len(parts[5]) != 2 {
		return nil, errors.New("write name; street; city; state; postal code; country, the country in two letters")
	}
	return &recipient{Name: parts[0], Address: address{Address1: parts[1], City: parts[2], State: parts[3], Zip: parts[4], Country: strings.ToUpper(parts[5])}}, nil
}

// Check implements connectors.Connection. It proves also that there is a channel to write for.
func (w *warehouse) Check(ctx context.Context) error {
	_, err := w.findChannel(ctx, "check the connection")
	return err
}

// Close implements connectors.Connection.
func (w *warehouse) Close() error { return w.client.Close() }

// Capabilities implements connectors.SystemOfRecord.
func (w *warehouse) Capabilities(ctx context.Context) (connectors.RecordCapabilities, error) {
	return connectors.RecordCapabilities{Basis: w.basis, OrderStatus: true}, ctx.Err()
}

// onBehalf is the header that names our channel, which is looked up once.
func (w *warehouse) onBehalf(ctx context.Context, op string) (http.Header, error) {
	w.channelMu.Lock()
	defer w.channelMu.Unlock()
	if w.channel == "" {
		id, err := w.findChannel(ctx, op)
		if err != nil {
			return nil, err
		}
		w.channel = id
	}
	return http.Header{channelHeader: {w.channel}}, nil
}

// findChannel asks for the channel that the token may write for. A token reads the orders of all channels, and another channel
// may have our references too.
func (w *warehouse) findChannel(ctx context.Context, op string) (string, error) {
	var ids, names []string
	for from := connectors.Cursor(""); ; {
		channels, next, err := list[channel](ctx, w, op, "/channel", "RecordsPerPage=50", from)
		if err != nil {
			return "", err
		}
		for _, c := range channels {
			if c.ID > 0 && slices.Contains(c.Scopes, scopeWrite) {
				ids = append(ids, strconv.FormatInt(c.ID, 10))
				names = append(names, fmt.Sprintf("%d (%s)", c.ID, c.Name))
			}
		}
		if from = next; from == "" {
			break
		}
	}
	are := w.client.Redact(strings.Join(names, ", "))
	switch {
	case len(ids) == 0:
		return "", connectors.Rejectedf(op, "", "the token may write for no channel: give it %s in the ShipBob dashboard", scopeWrite)
	case w.wanted != "" && !slices.Contains(ids, w.wanted):
		return "", connectors.Rejectedf(op, "", "%s is %s, and the token may write for %s", settingChannel, w.wanted, are)
	case w.wanted == "" && len(ids) > 1:
		return "", connectors.Rejectedf(op, "", "the token may write for several channels, and %s does not say which is meant: %s", settingChannel, are)
	case w.wanted != "":
		return w.wanted, nil
	}
	return ids[0], nil
}
