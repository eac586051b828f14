// Package tryton is the connector for Tryton, version 6.0, as a system of record. It speaks JSON-RPC, as Tryton's own clients
// do. Tryton sends no webhooks: it is asked. Facts about Tryton cite its sources, trytond and the modules stock and sale, in
// version 6.0.
//
// # What a quantity is
//
// What Tryton says of a product depends on the context of the question: which locations, whether those below them count, and
// up to which date (modules/stock/product.py and move.py, compute_quantities_query). A sale of 3 out of 10 reads, for the
// storage zone of its warehouse:
//
//	                                    sold  assigned  picked  sent
//	quantity, with the output zone        10        10      10     7    on_hand
//	quantity with stock_assign            10         7       7     7    available
//	forecast_quantity                      7         7       7     7    forecast
//
// on_hand is what stands in the warehouse. available lacks what the staff has assigned to shipments; forecast lacks what is
// sold as soon as the sale is processed, and contains what purchases and productions will bring, up to any date.
//
// A location of ours is a warehouse of Tryton's: its storage zone and, for on_hand, its output zone. What stands in the input
// zone is not counted before it is put away.
//
// # How an order is known
//
// A sale of ours has our key as its reference, and each of its lines has our name of the line in its note, with what was
// ordered and what we cancelled. Moves point to their line. So how an order stands is a sum of its moves: done ones were
// sent, others are still to come, and what is in none will not be delivered.
package tryton

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// The settings of a connection.
const (
	settingBaseURL    = "base_url"
	settingDatabase   = "database"
	settingUsername   = "username"
	settingPassword   = "password"
	settingCustomer   = "customer"
	settingWarehouses = "warehouses"
	settingLevels     = "levels"
	settingStage      = "stage"
	settingWarnings   = "warnings"
	settingPace       = "requests_per_second"
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "tryton",
		Title: "Tryton",
		Roles: []connectors.Role{connectors.SystemOfRecordRole},
		Fields: []connectors.Field{
			{Name: settingBaseURL, Required: true, Help: "Address of the Tryton server, such as https://erp.example or http://10.0.0.5:8000."},
			{Name: settingDatabase, Required: true, Help: "Name of the database at the server."},
			{Name: settingUsername, Required: true, Help: "User to log in as; its current company is the one that is kept."},
			{Name: settingPassword, Required: true, Secret: true, Help: "Password of the user."},
			{Name: settingCustomer, Required: true, Help: "Code of the party to whom all orders are sold, with an address."},
			{Name: settingWarehouses, Help: "Names, codes or ids of the warehouses that are read, separated by commas; all active ones when left out."},
			{Name: settingLevels, Default: "on_hand", Help: "What is read: on_hand, what stands in the storage and output zones; available, " +
				"without what is assigned to shipments; forecast, Tryton's forecast quantity, without all that is sold and with all that is on its way in."},
			{Name: settingStage, Default: saleProcessing, Help: "How far an order is taken: quotation, confirmed or processing, which makes the shipment."},
			{Name: settingWarnings, Default: "accept", Help: "What becomes of Tryton's warnings about an order: accept, as a person would click Yes, or refuse."},
			{Name: settingPace, Help: "The most requests a second that the server bears, such as 5 or 0.5; no limit when left out."},
		},
		Open:  open,
		Guide: guide(),
	}
}

func guide() connectors.Guide {
	return connectors.Guide{
		Versions: "Tryton 6.0 with the modules stock and sale",
		Bases:    []stock.Basis{stock.OnHandBasis, stock.AvailableBasis},
		Setup: []string{
			"In Tryton, under Administration → Modules, activate the module sale; it brings stock and product along.",
			"Under Party → Parties, create a party for the buyers of the shops, with a code and an address.",
			"Under Administration → Users, create a user with the groups below, and give it the company.",
			"Give every product that is sold a code of its own, a default unit without digits, a list price, and mark it as salable.",
			"Put the address, the database and the credentials into the configuration, and run `truestock check`.",
			"As Tryton sends no webhooks, it is asked what changed every `timings.poll`, a minute unless set otherwise.",
		},
		Scopes: []string{"Sales", "Stock", "Product Administration is not needed: products are only read"},
		Limits: []string{
			"Levels are read by 200 products a page, with one call per warehouse and one more where there are several.",
			"A sale is told by five calls and one more per line: Tryton itself looks up the price and the taxes.",
			"How an order stands takes two calls, and what changed two.",
		},
		Can: []string{
			"on hand, available and forecast quantities per warehouse",
			"orders, each made once, taken as far as a quotation, a confirmed sale or a shipment; Tryton's warnings are accepted on the way",
			"cancellations in part, of what is not picked yet",
			"how an order stands: what was sent, in how many shipments ever, what is set aside, what will not be delivered",
		},
		Cannot: []string{
			"hear of changes at once: it is asked what changed (create_date, write_date)",
			"keep products without a code, or those that are counted in fractions such as kilograms",
			"set prices: those of the product, with Tryton's price lists and taxes, are taken",
			"tell buyers apart: all orders go to one party, and the buyer stands in the comment",
			"cancel what is picked already: that is told as an incident",
			"book the differences of a stocktake",
			"choose the warehouse of an order: Tryton takes its default",
		},
		Evidence: []connectors.Evidence{
			{By: connectors.LiveTest, What: "the whole suite, and levels, orders, warnings, partial shipments and cancellations, against Tryton 6.0 from Debian 12", Test: "connectors/tryton TestLive"},
			{By: connectors.LiveTest, What: "stock down, order up, shipments in parts and a cancellation, between Tryton, truestock and a real Vendure shop", Test: "cmd/truestock TestTryton"},
			{By: connectors.LiveTest, What: "random orders at real shops, shipments and deliveries in Tryton: nothing oversold, everything settled", Test: "cmd/truestock TestRealSystemsInALoop"},
			{By: connectors.Conformance, What: "answers that are broken, missing, refused or of somebody else, from a pretend server", Test: "connectors/tryton TestBadAnswers"},
		},
		Unproven: []string{"versions after 6.0", "a server with PostgreSQL, and with workers for its queue"},
	}
}

// basis is a meaning of levels: which field is asked for, in which context, of which zones.
type basis struct {
	// is what the engine has to know of it.
	is    stock.Basis
	field string
	// assigned asks for what is assigned to be subtracted; promised tells that all that is sold is.
	assigned, promised bool
	// output adds the output zone, where goods stand until they are sent.
	output bool
}

var bases = map[string]basis{
	"on_hand":   {is: stock.OnHandBasis, field: onHandField, output: true},
	"available": {is: stock.AvailableBasis, field: onHandField, assigned: true},
	"forecast":  {is: stock.AvailableBasis, field: forecastField, promised: true},
}

// locations are the zones of a warehouse that are read.
func (b basis) locations(w warehouse) []int64 {
	if b.output && w.Output != w.Storage {
		return []int64{w.Storage, w.Output}
	}
	return []int64{w.Storage}
}

var (
	_ connectors.SystemOfRecord = (*erp)(nil)
	_ connectors.OrderTeller    = (*erp)(nil)
	_ connectors.ChangeTeller   = (*erp)(nil)
)

// erp is one connection.
type erp struct {
	client             *rest.Client
	log                *slog.Logger
	database           string
	username, password string
	customer           string
	warehouses         []string
	levels             basis
	stage              string
	acceptWarnings     bool

	sessionMu sync.Mutex
	session   session

	// ordering is held while an order is looked up and made or changed: two calls for one key make one order.
	ordering sync.Mutex

	told rest.Told
}

// open checks the settings; it does no I/O. The error names the setting.
func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.SystemOfRecordRole {
		return nil, fmt.Errorf("a Tryton server cannot be a %s; its role is %s", role, connectors.SystemOfRecordRole)
	}
	for _, name := range []string{settingDatabase, settingUsername, settingPassword, settingCustomer} {
		if s[name] == "" {
			return nil, fmt.Errorf("%s is empty", name)
		}
	}
	e := &erp{log: env.Log, database: s[settingDatabase], username: s[settingUsername], password: s[settingPassword], customer: s[settingCustomer], stage: s[settingStage]}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	var known bool
	if e.levels, known = bases[s[settingLevels]]; !known {
		return nil, fmt.Errorf("%s is %q: write on_hand, available or forecast", settingLevels, s[settingLevels])
	}
	switch e.stage {
	case saleQuotation, saleConfirmed, saleProcessing:
	default:
		return nil, fmt.Errorf("%s is %q: write quotation, confirmed or processing", settingStage, e.stage)
	}
	switch s[settingWarnings] {
	case "accept":
		e.acceptWarnings = true
	case "refuse":
	default:
		return nil, fmt.Errorf("%s is %q: write accept or refuse", settingWarnings, s[settingWarnings])
	}
	for name := range strings.SplitSeq(s[settingWarehouses], ",") {
		if name = strings.TrimSpace(name); name != "" {
			e.warehouses = append(e.warehouses, name)
		}
	}
	pace, err := rest.ParsePace(settingPace, s[settingPace])
	if err != nil {
		return nil, err
	}
	if s[settingBaseURL] == "" {
		return nil, fmt.Errorf("%s is empty: write the address of the server, such as https://erp.example", settingBaseURL)
	}
	e.client, err = rest.New(rest.Config{
		BaseURL:           strings.TrimRight(s[settingBaseURL], "/") + "/" + url.PathEscape(e.database),
		Transport:         env.Transport,
		Log:               env.Log,
		Timeout:           env.Timeout,
		RequestsPerSecond: pace,
		Secrets:           []string{e.password},
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Check implements connectors.Connection. It proves also that the warehouses and the customer exist, and that sales can be
// read.
func (e *erp) Check(ctx context.Context) error {
	const op = "check the connection"
	if _, err := e.findWarehouses(ctx, op); err != nil {
		return err
	}
	if _, err := e.findCustomer(ctx, op); err != nil {
		return err
	}
	_, err := e.findSale(ctx, op, "truestock")
	return err
}

// Close implements connectors.Connection. The session at the server ends by its own age.
func (e *erp) Close() error { return e.client.Close() }

// Capabilities implements connectors.SystemOfRecord. It logs in, so that what is wrong with the credentials is told first.
func (e *erp) Capabilities(ctx context.Context) (connectors.RecordCapabilities, error) {
	if err := ctx.Err(); err != nil {
		return connectors.RecordCapabilities{}, err
	}
	if _, err := e.login(ctx, "log in", ""); err != nil {
		return connectors.RecordCapabilities{}, err
	}
	return connectors.RecordCapabilities{Basis: e.levels.is, CompleteLevels: true, OrderStatus: true, Changes: true}, nil
}

// Movements implements connectors.SystemOfRecord. Tryton's moves have no sequence: they become true in another order than
// they are made in.
func (e *erp) Movements(context.Context, int64) (connectors.Page[connectors.Fact], error) {
	return connectors.Page[connectors.Fact]{}, connectors.Rejectedf("list movements", "", "Tryton has no positions; it is asked for levels and orders instead")
}
