// Package odoo is the connector for Odoo, as a system of record, of releases 16 and later: JSON-2 from 19 on, JSON-RPC
// before. What it relies on was read in the sources of github.com/odoo/odoo:
//
//	addons/rpc/controllers/json2.py, jsonrpc.py    the two interfaces; odoo/http.py and odoo/exceptions.py their errors
//	addons/stock/models/stock_quant.py             what there is, per product, location, lot, package and owner
//	addons/stock/models/product.py                 qty_available and free_qty, with a location in the context
//	addons/sale_stock/models/sale_order_line.py    the deliveries of an order line, and what a changed quantity does to them
//	odoo/addons/base/models/ir_actions.py          webhooks
//
// A place is a location of the warehouse tree with everything below it; by default each warehouse is one, as Odoo itself
// counts on hand. The order carries our key as its customer reference, and each of its lines our identity, and how much of
// it we cancelled, in the last line of its description: Odoo has no field for either.
package odoo

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
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
	settingBaseURL      = "base_url"
	settingAPI          = "api"
	settingDatabase     = "database"
	settingLogin        = "login"
	settingKey          = "api_key"
	settingKeyName      = "api_key_name"
	settingNumber       = "number"
	settingLocations    = "locations"
	settingSKU          = "sku"
	settingExcludeUnits = "exclude_units"
	settingPartner      = "customer_id"
	settingWarehouse    = "warehouse_id"
	settingWebhookKeys  = "webhook_keys"
	settingPace         = "requests_per_second"
)

// The values of the setting api.
const (
	apiAuto    = "auto"
	apiJSON2   = "json2"
	apiJSONRPC = "jsonrpc"
)

// The values of the setting number: Odoo's own names.
const (
	// quantQuantity is the sum of stock.quant.quantity in internal locations: on hand, whether reserved or not.
	quantQuantity = "quantity"
	// quantAvailable is that less stock.quant.reserved_quantity.
	quantAvailable = "available_quantity"
	// productOnHand and productFree are the fields of product.product, computed by Odoo, for kits from their parts.
	productOnHand = "qty_available"
	productFree   = "free_qty"
)

// bases is what each number means. What is reserved for a delivery is sold and not shipped.
var bases = map[string]stock.Basis{
	quantQuantity:  stock.OnHandBasis,
	productOnHand:  stock.OnHandBasis,
	quantAvailable: stock.AvailableBasis,
	productFree:    stock.AvailableBasis,
}

// The values of the setting sku.
const (
	skuCode    = "default_code"
	skuBarcode = "barcode"
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "odoo",
		Title: "Odoo",
		Roles: []connectors.Role{connectors.SystemOfRecordRole},
		Fields: []connectors.Field{
			{Name: settingBaseURL, Required: true, Help: "Address of Odoo, such as https://mycompany.odoo.com, without /web or /odoo behind it."},
			{Name: settingAPI, Default: apiAuto, Help: "Which interface is used: json2 (19 and later), jsonrpc (16 to 18), or auto, which asks Odoo for its release."},
			{Name: settingDatabase, Help: "Name of the database; needed for jsonrpc, and for json2 where one address serves several databases."},
			{Name: settingLogin, Help: "Login of the user whose API key it is; needed for jsonrpc."},
			{Name: settingKey, Required: true, Secret: true, Help: "API key of the user, from Preferences → Account security."},
			{Name: settingKeyName, Default: "truestock", Help: "The description that the API key got when it was made; by it the connector knows when the key expires."},
			{Name: settingNumber, Default: quantQuantity, Help: "Which number is read: quantity (on hand in internal locations) or available_quantity (that less what is reserved), " +
				"both from stock.quant; qty_available (On Hand) or free_qty (Free to Use) as the product form shows them."},
			{Name: settingLocations, Help: "Places at which stock is counted, each with everything below it: full names of locations such as WH/Stock, separated by commas; " +
				"every warehouse as a whole when left out."},
			{Name: settingSKU, Default: skuCode, Help: "What the SKU of a product is: default_code (Internal Reference) or barcode."},
			{Name: settingExcludeUnits, Help: "Units of measure, separated by commas, whose products are left out because they are sold in fractions, such as kg, m."},
			{Name: settingPartner, Required: true, Help: "The number of the contact that orders are placed for: the last number in the address of the contact's page."},
			{Name: settingWarehouse, Help: "The number of the warehouse that delivers; Odoo's default for the user when left out."},
			{Name: settingWebhookKeys, Secret: true, Help: "A long random word that stands as ?key=… behind the webhook address in Odoo, because Odoo signs nothing; " +
				"more than one, separated by commas or spaces, while it is being replaced."},
			{Name: settingPace, Default: "5", Help: "Most requests per second."},
		},
		Open:  open,
		Guide: guide(),
	}
}

// record is one connection.
type record struct {
	client     *rest.Client
	log        *slog.Logger
	chosen     string
	database   string
	login, key string
	keyName    string
	number     string
	locations  []string
	sku        string
	excluded   map[string]bool
	partner    int64
	warehouse  int64
	hooks      signature.Secrets

	speakMu sync.Mutex
	dialect *dialect

	// mu is held for the two instants: when the last hint came, and when the key expires, as far as it was told.
	mu       sync.Mutex
	hintedAt time.Time
	expireAt time.Time

	told rest.Told

	// orders keeps two calls about one order apart.
	orders [stripes]chan struct{}
}

var (
	_ connectors.SystemOfRecord  = (*record)(nil)
	_ connectors.OrderTeller     = (*record)(nil)
	_ connectors.ChangeTeller    = (*record)(nil)
	_ connectors.WebhookReceiver = (*record)(nil)
)

func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.SystemOfRecordRole {
		return nil, fmt.Errorf("an Odoo cannot be a %s; its role is %s", role, connectors.SystemOfRecordRole)
	}
	r := &record{log: env.Log, chosen: s[settingAPI], database: s[settingDatabase], login: s[settingLogin], key: s[settingKey], keyName: s[settingKeyName],
		number: s[settingNumber], locations: list(s[settingLocations]), sku: s[settingSKU], excluded: map[string]bool{}, hooks: signature.Parse(s[settingWebhookKeys])}
	for i := range r.orders {
		r.orders[i] = make(chan struct{}, 1)
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	for _, u := range list(s[settingExcludeUnits]) {
		r.excluded[u] = true
	}
	if err := r.checkChoices(); err != nil {
		return nil, err
	}
	var err error
	if r.partner, err = numberOf(settingPartner, s[settingPartner]); err != nil {
		return nil, err
	}
	if s[settingWarehouse] != "" {
		if r.warehouse, err = numberOf(settingWarehouse, s[settingWarehouse]); err != nil {
			return nil, err
		}
	}
	pace, err := rest.ParsePace(settingPace, s[settingPace])
	if err != nil {
		return nil, err
	}
	r.client, err = rest.New(rest.Config{
		BaseURL: s[settingBaseURL], Transport: env.Transport, Log: env.Log, Timeout: env.Timeout, RequestsPerSecond: pace,
		Header: http.Header{"Cache-Control": {"no-cache"}}, Secrets: append([]string{r.key}, r.hooks...),
	})
	return r, err
}

func (r *record) checkChoices() error {
	switch r.chosen {
	case apiAuto, apiJSON2:
	case apiJSONRPC:
		if r.database == "" || r.login == "" {
			return fmt.Errorf("%s is %s, which needs %s and %s too", settingAPI, apiJSONRPC, settingDatabase, settingLogin)
		}
	default:
		return fmt.Errorf("%s is %q: write %s, %s or %s", settingAPI, r.chosen, apiAuto, apiJSON2, apiJSONRPC)
	}
	if r.key == "" {
		return fmt.Errorf("%s is empty: make one in Odoo under Preferences → Account security → New API key", settingKey)
	}
	if bases[r.number] == "" {
		return fmt.Errorf("%s is %q: write %s, %s, %s or %s", settingNumber, r.number, quantQuantity, quantAvailable, productOnHand, productFree)
	}
	if r.sku != skuCode && r.sku != skuBarcode {
		return fmt.Errorf("%s is %q: write %s or %s", settingSKU, r.sku, skuCode, skuBarcode)
	}
	for _, k := range r.hooks {
		if len(k) < minHookKey {
			return fmt.Errorf("a word of %s has %d characters: write at least %d, because whoever guesses it can make truestock read", settingWebhookKeys, len(k), minHookKey)
		}
	}
	return nil
}

// minHookKey is the length of the shortest word that stands in for a signature.
const minHookKey = 16

func list(setting string) []string {
	var out []string
	for part := range strings.SplitSeq(setting, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func numberOf(setting, value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s is %q: write the number that stands last in the address of its page in Odoo", setting, value)
	}
	return n, nil
}

// Close implements connectors.Connection.
func (r *record) Close() error { return r.client.Close() }

// Capabilities implements connectors.SystemOfRecord. The basis is that of the number chosen. There are no positions: ids
// and dates of Odoo's records are given before the commit, so that a later one can become visible earlier.
func (r *record) Capabilities(ctx context.Context) (connectors.RecordCapabilities, error) {
	return connectors.RecordCapabilities{Basis: bases[r.number], OrderStatus: true, Changes: true}, ctx.Err()
}

// Check implements connectors.Connection. It proves the key, the rights to everything that the connector needs, the
// customer, and the locations; and it looks up when the key expires.
func (r *record) Check(ctx context.Context) error {
	const op = "check Odoo"
	d, err := r.speak(ctx, op)
	if err != nil {
		return err
	}
	var partners, some []struct {
		ID int64 `json:"id"`
	}
	if err := d.search(ctx, op, "res.partner", []any{[]any{"id", "=", r.partner}}, []string{"id"}, 1, &partners); err != nil {
		return err
	}
	if len(partners) == 0 {
		return connectors.Rejectedf(op, "", "there is no contact %d, or it is archived: correct %s", r.partner, settingPartner)
	}
	for _, model := range []string{"stock.quant", "stock.move", "sale.order", "sale.order.line"} {
		if err := d.search(ctx, op, model, []any{}, []string{"id"}, 1, &some); err != nil {
			return err
		}
	}
	if _, err := r.places(ctx, op, d); err != nil {
		return err
	}
	return r.lookAtKey(ctx, op, d)
}

// soon is how long before the end of a key its end is told.
const soon = 14 * 24 * time.Hour

// lookAtKey finds out when the key expires. Odoo gives a key at most three months, and tells a user the dates of the own
// keys, but not which one is in use: that is known by its description.
func (r *record) lookAtKey(ctx context.Context, op string, d *dialect) error {
	var keys []apiKeyRow
	if err := d.search(ctx, op, "res.users.apikeys", []any{[]any{"name", "=", r.keyName}}, []string{"name", "expiration_date"}, 2, &keys); err != nil {
		if kind := connectors.KindOf(err); kind == connectors.Rejected || kind == connectors.Unmapped || kind == connectors.Auth {
			return nil // before 18 keys have no such date; the credentials are proven by then
		}
		return err
	}
	if len(keys) != 1 || keys[0].Expires == "" {
		return nil
	}
	at, err := time.Parse(time.DateTime, string(keys[0].Expires))
	if err != nil {
		return r.refuse(connectors.Rejected, op, "", fmt.Sprintf("the API key expires at %.40q, which is no date", keys[0].Expires))
	}
	r.mu.Lock()
	r.expireAt = at
	r.mu.Unlock()
	if left := time.Until(at); left < soon {
		r.log.Warn("the API key of Odoo expires soon: make a new one under Preferences → Account security, and write it into api_key", "expires_at", at, "name", r.keyName)
	}
	return nil
}

func (r *record) expiry() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.expireAt
}
