// Package erpnext is the connector for ERPNext on Frappe, of versions 14 and later, as a system of record. What it relies on
// was read in the sources of github.com/frappe/frappe and github.com/frappe/erpnext:
//
//	frappe/api/v1.py, frappe/client.py, frappe/exceptions.py    the interface and its errors
//	frappe/integrations/doctype/webhook/webhook.py              webhooks and their signature
//	erpnext/stock/doctype/bin/bin.py, stock_balance.py          what there is and what is reserved, and what reserved means
//	erpnext/selling/doctype/sales_order/sales_order.py          orders: submit, cancel, close
//	erpnext/controllers/accounts_controller.py                  update_child_qty_rate, the button Update Items
//
// The order carries our key as the customer's purchase order number. Which of its rows is which of our lines, what was
// ordered at first and what we cancelled stands as JSON in a custom field of the order: Update Items deletes a row whose
// last unit is cancelled, so that rows cannot carry it.
package erpnext

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/signature"
	"github.com/truestock/truestock/stock"
)

// The settings of a connection.
const (
	settingBaseURL      = "base_url"
	settingKey          = "api_key"
	settingSecret       = "api_secret"
	settingNumber       = "number"
	settingWarehouses   = "warehouses"
	settingCompany      = "company"
	settingCustomer     = "customer"
	settingDeliver      = "delivery_warehouse"
	settingExcludeUnits = "exclude_units"
	settingNoteField    = "note_field"
	settingHookSecrets  = "webhook_secrets"
	settingPace         = "requests_per_second"
)

// The values of the setting number.
const (
	// numberActual is Bin.actual_qty: on hand, with what is ordered and not delivered.
	numberActual = "actual_qty"
	// numberUnreserved is actual_qty - reserved_qty - reserved_qty_for_production - reserved_qty_for_sub_contract: what is
	// ordered and not delivered is not in it, whether there is enough or not.
	numberUnreserved = "unreserved_qty"
)

var bases = map[string]stock.Basis{numberActual: stock.OnHandBasis, numberUnreserved: stock.AvailableBasis}

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "erpnext",
		Title: "ERPNext",
		Roles: []connectors.Role{connectors.SystemOfRecordRole},
		Fields: []connectors.Field{
			{Name: settingBaseURL, Required: true, Help: "Address of the site, such as https://mycompany.frappe.cloud, without /app or /desk behind it."},
			{Name: settingKey, Required: true, Secret: true, Help: "API Key of the user, from the user's page under Settings → API Access."},
			{Name: settingSecret, Required: true, Secret: true, Help: "API Secret that was shown once when the keys were generated."},
			{Name: settingNumber, Default: numberActual, Help: "Which number is read: actual_qty (on hand), or unreserved_qty (actual_qty less reserved_qty and what is reserved for production and subcontracting)."},
			{Name: settingWarehouses, Help: "Warehouses that are counted, by their full names, separated by commas; all that are neither groups nor disabled when left out."},
			{Name: settingCompany, Help: "Company that sells, and whose warehouses are counted; the user's default, and all warehouses, when left out."},
			{Name: settingCustomer, Required: true, Help: "Name (ID) of the customer that orders are placed for."},
			{Name: settingDeliver, Required: true, Help: "Warehouse that orders are delivered from, by its full name."},
			{Name: settingExcludeUnits, Help: "Stock units, separated by commas, whose items are left out because they are sold in fractions, such as Kg, Meter."},
			{Name: settingNoteField, Default: "truestock_lines", Help: "Name of the custom field of Sales Order that belongs to truestock."},
			{Name: settingHookSecrets, Secret: true, Help: "Webhook Secret of the webhooks in ERPNext; more than one, separated by commas or spaces, while it is being replaced."},
			{Name: settingPace, Default: "5", Help: "Most requests per second."},
		},
		Open:  open,
		Guide: guide(),
	}
}

// record is one connection.
type record struct {
	client     *rest.Client
	number     string
	warehouses []string
	company    string
	customer   string
	deliver    string
	noteField  string
	excluded   map[string]bool
	hooks      signature.Secrets

	// orders keeps two calls about one order apart.
	orders [stripes]chan struct{}

	told rest.Told
}

var (
	_ connectors.SystemOfRecord   = (*record)(nil)
	_ connectors.OrderTeller      = (*record)(nil)
	_ connectors.ChangeTeller     = (*record)(nil)
	_ connectors.WebhookReceiver  = (*record)(nil)
	_ connectors.WebhookCompleter = (*record)(nil)
)

func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.SystemOfRecordRole {
		return nil, fmt.Errorf("an ERPNext cannot be a %s; its role is %s", role, connectors.SystemOfRecordRole)
	}
	for _, name := range []string{settingKey, settingSecret, settingCustomer, settingDeliver, settingNoteField} {
		if s[name] == "" {
			return nil, fmt.Errorf("%s is empty", name)
		}
	}
	if strings.ContainsAny(s[settingKey]+s[settingSecret], ": \t\n") {
		return nil, fmt.Errorf("%s and %s hold a colon or a space: write each by itself", settingKey, settingSecret)
	}
	r := &record{number: s[settingNumber], warehouses: split(s[settingWarehouses]), company: s[settingCompany], customer: s[settingCustomer], deliver: s[settingDeliver],
		noteField: s[settingNoteField], excluded: map[string]bool{}, hooks: signature.Parse(s[settingHookSecrets])}
	for i := range r.orders {
		r.orders[i] = make(chan struct{}, 1)
	}
	for _, u := range split(s[settingExcludeUnits]) {
		r.excluded[u] = true
	}
	if bases[r.number] == "" {
		return nil, fmt.Errorf("%s is %q: write %s or %s", settingNumber, r.number, numberActual, numberUnreserved)
	}
	pace, err := rest.ParsePace(settingPace, s[settingPace])
	if err != nil {
		return nil, err
	}
	r.client, err = rest.New(rest.Config{
		BaseURL: s[settingBaseURL], Transport: env.Transport, Log: env.Log, Timeout: env.Timeout, RequestsPerSecond: pace,
		Header:  http.Header{"Authorization": {"token " + s[settingKey] + ":" + s[settingSecret]}},
		Secrets: append([]string{s[settingKey] + ":" + s[settingSecret], s[settingSecret], s[settingKey]}, r.hooks...),
		Explain: explain,
	})
	return r, err
}

func split(setting string) []string {
	var out []string
	for part := range strings.SplitSeq(setting, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// Close implements connectors.Connection.
func (r *record) Close() error { return r.client.Close() }

// Capabilities implements connectors.SystemOfRecord. There are no positions: the names and dates of ERPNext's entries are
// given before the commit, and entries can be dated back.
func (r *record) Capabilities(ctx context.Context) (connectors.RecordCapabilities, error) {
	return connectors.RecordCapabilities{Basis: bases[r.number], OrderStatus: true, Changes: true}, ctx.Err()
}

// Check implements connectors.Connection. It proves the keys, the rights to everything that the connector reads, the
// warehouses, the customer, and the custom field.
func (r *record) Check(ctx context.Context) error {
	const op = "check ERPNext"
	if _, err := r.places(ctx, op); err != nil {
		return err
	}
	customers, err := list[orderHead](ctx, r, op, query{DocType: "Customer", Fields: []string{"name"}, Filters: []any{[]any{"name", "=", r.customer}, []any{"disabled", "=", 0}}, Order: "name asc", Limit: 2}, false)
	if err != nil {
		return err
	}
	if len(customers) == 0 {
		return connectors.Rejectedf(op, "", "there is no customer %q, or it is disabled: correct %s", r.customer, settingCustomer)
	}
	for _, q := range []query{
		{DocType: "Item", Fields: []string{"name"}}, {DocType: "Bin", Fields: []string{"item_code"}},
		{DocType: "Delivery Note Item", Parent: "Delivery Note", Fields: []string{"so_detail"}},
	} {
		q.Filters, q.Order, q.Limit = []any{}, "creation asc", 1
		if _, err := list[orderHead](ctx, r, op, q, false); err != nil {
			return err
		}
	}
	q := query{DocType: "Sales Order", Fields: []string{"name", r.noteField}, Filters: []any{}, Order: "creation asc", Limit: 1}
	_, err = list[orderHead](ctx, r, op, q, false)
	if e, ok := errors.AsType[*connectors.Error](err); ok && e.Kind != connectors.Throttled && e.Kind != connectors.Auth {
		asked := *e
		asked.Err = fmt.Errorf("%w; has Sales Order the custom field %s?", e.Err, r.noteField)
		return &asked
	}
	return err
}

// Movements implements connectors.SystemOfRecord. It is never called, since there are no positions.
func (r *record) Movements(context.Context, int64) (connectors.Page[connectors.Fact], error) {
	return connectors.Page[connectors.Fact]{}, connectors.Rejectedf("list movements", "", "ERPNext has no sequence of movements that grows by commits; nothing was asked")
}
