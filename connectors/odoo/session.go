package odoo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// api is a way to call methods of Odoo's models. One call is one transaction there: what fails with an explanation of
// Odoo's own has changed nothing.
type api interface {
	call(ctx context.Context, m method, out any) error
}

// method is one call. Its arguments have a name and a place: JSON-2 takes names, and JSON-RPC places, because releases
// before 19 name the same argument differently from module to module.
type method struct {
	op, model, name string
	// ids are the records that the method is called on; none for a method of the model.
	ids     []int64
	args    []argument
	context map[string]any
	// write is true where the call changes something.
	write bool
}

type argument struct {
	name  string
	value any
}

// dialect is what differs between releases.
type dialect struct {
	api
	// major is the release, such as 18.
	major int
	// storable is the condition on products of which stock is kept.
	storable []any
	// moveFields are the fields of a move that this release has.
	moveFields []string
	// oneQuantity is true where a move has one quantity, reserved or done by its state (17 and later).
	oneQuantity bool
}

// firstWithJSON2 is the first release with JSON-2, with formatted_read_group, and with webhooks that are sent after the
// commit.
const firstWithJSON2 = 19

// speak finds out once how to speak to this Odoo.
func (r *record) speak(ctx context.Context, op string) (*dialect, error) {
	r.speakMu.Lock()
	d := r.dialect
	r.speakMu.Unlock()
	if d != nil {
		return d, nil
	}
	d, err := r.greet(ctx, op)
	if err != nil {
		return nil, err
	}
	r.speakMu.Lock()
	r.dialect = d
	r.speakMu.Unlock()
	return d, nil
}

// greet asks for the release, which needs no credentials, and for the fields whose names differ.
func (r *record) greet(ctx context.Context, op string) (*dialect, error) {
	d := &dialect{major: firstWithJSON2}
	if r.chosen != apiJSON2 {
		major, err := r.askVersion(ctx, op)
		switch {
		case connectors.KindOf(err) == connectors.Unmapped && r.chosen == apiAuto: // the old services are gone: 22 or later
		case err != nil:
			return nil, err
		default:
			d.major = major
		}
	}
	if d.major < 16 {
		return nil, connectors.Rejectedf(op, "", "this is Odoo %d; 16 and later are understood", d.major)
	}
	if r.chosen == apiJSONRPC || r.chosen == apiAuto && d.major < firstWithJSON2 {
		if r.database == "" || r.login == "" {
			return nil, connectors.Rejectedf(op, "", "Odoo %d is spoken to by JSON-RPC, which needs the settings %s and %s", d.major, settingDatabase, settingLogin)
		}
		d.api = &jsonRPC{record: r}
	} else {
		d.api = &json2{record: r}
	}
	return d, r.learnFields(ctx, op, d)
}

func (r *record) askVersion(ctx context.Context, op string) (int, error) {
	var v versionInfo
	if err := r.rpc(ctx, rest.Call{Op: op}, "common", "version", []any{}, &v); err != nil {
		return 0, err
	}
	if v.major() == 0 {
		return 0, connectors.Rejectedf(op, "", "the answer tells no version; is this the address of an Odoo?")
	}
	return v.major(), nil
}

func (r *record) learnFields(ctx context.Context, op string, d *dialect) error {
	fields := func(model string, names ...string) (map[string]jsontext.Value, error) {
		var got map[string]jsontext.Value
		err := d.call(ctx, method{op: op, model: model, name: "fields_get", args: []argument{{"allfields", names}, {"attributes", []string{"type"}}}}, &got)
		return got, err
	}
	product, err := fields("product.product", "is_storable", "detailed_type")
	if err != nil {
		return err
	}
	move, err := fields("stock.move", "quantity", "quantity_done", "reserved_availability", "location_final_id", "sale_line_id")
	if err != nil {
		return err
	}
	switch {
	case product["is_storable"] != nil:
		d.storable = []any{"is_storable", "=", true}
	case product["detailed_type"] != nil:
		d.storable = []any{"detailed_type", "=", "product"}
	default:
		return connectors.Rejectedf(op, "", "products have neither is_storable nor detailed_type: the app Inventory is not installed")
	}
	if move["sale_line_id"] == nil {
		return connectors.Rejectedf(op, "", "deliveries do not name their order line: the app Sales is not installed beside Inventory (module sale_stock)")
	}
	d.moveFields = []string{"id", "sale_line_id", "product_id", "state", "location_id", "location_dest_id", "picking_id", "product_uom_qty", "product_qty"}
	d.oneQuantity = move["quantity_done"] == nil
	if d.oneQuantity {
		d.moveFields = append(d.moveFields, "quantity")
	} else {
		d.moveFields = append(d.moveFields, "quantity_done", "reserved_availability")
	}
	if move["location_final_id"] != nil {
		d.moveFields = append(d.moveFields, "location_final_id")
	}
	return nil
}

// json2 is the interface of 19 and later: addons/rpc/controllers/json2.py.
type json2 struct{ *record }

func (j *json2) call(ctx context.Context, m method, out any) error {
	body := make(map[string]any, len(m.args)+2)
	for _, a := range m.args {
		body[a.name] = a.value
	}
	if m.ids != nil {
		body["ids"] = m.ids
	}
	if m.context != nil {
		body["context"] = m.context
	}
	header := http.Header{"Authorization": {"bearer " + j.key}}
	if j.database != "" {
		header.Set("X-Odoo-Database", j.database)
	}
	if out == nil {
		out = new(jsontext.Value) // what comes must be JSON all the same
	}
	var status int
	call := rest.Call{Op: m.op, Method: http.MethodPost, Path: "/json/2/" + m.model + "/" + m.name, Header: header, Body: body, Write: m.write, Status: &status}
	err := j.client.Do(ctx, call, out)
	switch status {
	case http.StatusUnauthorized:
		return j.hint(err, j.aboutKey())
	case http.StatusForbidden:
		return j.hint(err, aboutRights(m.model))
	case http.StatusNotFound:
		return j.hint(err, "where every call says so, the app that it belongs to is not installed, or this Odoo is older than 19: then set "+settingAPI+" to "+apiJSONRPC)
	}
	return err
}

// jsonRPC is the interface of the releases before 19: odoo/addons/base/controllers/rpc.py, later addons/rpc/controllers/jsonrpc.py.
type jsonRPC struct {
	*record
	mu  sync.Mutex
	uid int64
}

func (j *jsonRPC) call(ctx context.Context, m method, out any) error {
	uid, err := j.signIn(ctx, m.op)
	if err != nil {
		return err
	}
	args := make([]any, 0, len(m.args)+1)
	if m.ids != nil {
		args = append(args, m.ids)
	}
	for _, a := range m.args {
		args = append(args, a.value)
	}
	named := map[string]any{}
	if m.context != nil {
		named["context"] = maps.Clone(m.context)
	}
	err = j.rpc(ctx, rest.Call{Op: m.op, Write: m.write}, "object", "execute_kw", []any{j.database, uid, j.key, m.model, m.name, args, named}, out)
	if e, ok := errors.AsType[*connectors.Error](err); ok && e.Code == accessError {
		return j.hint(err, aboutRights(m.model))
	}
	return err
}

// signIn gets the number of the user, which does not change.
func (j *jsonRPC) signIn(ctx context.Context, op string) (int64, error) {
	j.mu.Lock()
	uid := j.uid
	j.mu.Unlock()
	if uid != 0 {
		return uid, nil
	}
	var who link
	if err := j.rpc(ctx, rest.Call{Op: op}, "common", "authenticate", []any{j.database, j.login, j.key, map[string]any{}}, &who); err != nil {
		return 0, err
	}
	if who.ID == 0 {
		return 0, j.hint(&connectors.Error{Kind: connectors.Auth, Op: op, Err: errors.New("the sign-in was refused")}, j.aboutKey())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.uid = who.ID
	return who.ID, nil
}

type rpcRequest struct {
	Version string    `json:"jsonrpc"`
	Method  string    `json:"method"`
	Params  rpcParams `json:"params"`
	ID      int       `json:"id"`
}

type rpcParams struct {
	Service string `json:"service"`
	Method  string `json:"method"`
	Args    []any  `json:"args"`
}

// rpc makes one call of JSON-RPC. out is left alone where the method returned nothing.
func (r *record) rpc(ctx context.Context, call rest.Call, service, name string, args []any, out any) error {
	var status int
	call.Method, call.Path, call.Status = http.MethodPost, "/jsonrpc", &status
	call.Body = rpcRequest{Version: "2.0", Method: "call", Params: rpcParams{service, name, args}, ID: 1}
	var got envelope
	if err := r.client.Do(ctx, call, &got); err != nil {
		if status == http.StatusNotFound {
			return r.hint(err, aboutOldServices)
		}
		return err
	}
	if got.Error != nil {
		return r.faulty(call, got.Error)
	}
	if got.Version != "2.0" || len(got.Result) == 0 && !call.Write {
		return r.refuse(unknown(call.Write), call.Op, "", "the answer is neither a result nor an error of JSON-RPC; is this the address of an Odoo?")
	}
	if out == nil || len(got.Result) == 0 {
		return nil
	}
	if err := json.Unmarshal(got.Result, out); err != nil {
		kind := connectors.Rejected // the same answer would come again
		if call.Write {
			kind = connectors.Uncertain
		}
		return r.refuse(kind, call.Op, "", "the answer cannot be taken: "+rest.ExplainJSON(err).Error())
	}
	return nil
}

// The names by which Odoo tells its errors (odoo/exceptions.py).
const (
	accessDenied = "odoo.exceptions.AccessDenied"
	accessError  = "odoo.exceptions.AccessError"
	missingError = "odoo.exceptions.MissingError"
	lockError    = "odoo.exceptions.LockError"
)

// faulty turns an error of JSON-RPC into one of ours. An error of Odoo's own rolled the transaction back; one of the
// database's may have come at the commit.
func (r *record) faulty(call rest.Call, f *fault) error {
	name, message := string(f.Data.Name), string(f.Data.Message)
	if message == "" {
		message = string(f.Message)
	}
	switch {
	case name == accessDenied:
		return r.hint(r.refuse(connectors.Auth, call.Op, name, message), r.aboutKey())
	case name == accessError:
		return r.refuse(connectors.Auth, call.Op, name, message)
	case name == missingError:
		return r.refuse(connectors.Unmapped, call.Op, name, message)
	case f.Code == http.StatusNotFound:
		return r.hint(r.refuse(connectors.Unmapped, call.Op, name, message), aboutOldServices)
	case name == lockError, strings.HasPrefix(name, "psycopg2.errors.") && rolledBack(name):
		return r.refuse(connectors.Retryable, call.Op, name, message)
	case strings.HasPrefix(name, "psycopg2."):
		return r.hint(r.refuse(unknown(call.Write), call.Op, name, message), "where it says that the database does not exist, correct the setting "+settingDatabase)
	case strings.HasPrefix(name, "odoo."), strings.HasPrefix(name, "builtins."):
		return r.refuse(connectors.Rejected, call.Op, name, message)
	default:
		return r.refuse(unknown(call.Write), call.Op, name, message)
	}
}

// rolledBack knows the errors by which PostgreSQL gives up a transaction that ran into another.
func rolledBack(name string) bool {
	for _, s := range []string{"SerializationFailure", "LockNotAvailable", "DeadlockDetected"} {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}

const aboutOldServices = "Odoo's old services are switched off: from 19 on set " + settingAPI + " to " + apiJSON2 +
	"; else look whether " + settingBaseURL + " is the address of Odoo, without /web or /odoo behind it"

// aboutKey says what to do about a key that is refused.
func (r *record) aboutKey() string {
	expired := ""
	if at := r.expiry(); !at.IsZero() && !at.After(time.Now()) {
		expired = fmt.Sprintf("it was to expire on %s; ", at.Format(time.DateOnly))
	}
	return "the API key is refused: " + expired + "make a new one in Odoo, signed in as the same user, under Preferences → Account security → New API key, " +
		"and write it into " + settingKey + "; where the login was wrong, correct " + settingLogin + " or " + settingDatabase
}

func aboutRights(model string) string {
	app := "Inventory: User"
	if strings.HasPrefix(model, "sale.") || strings.HasPrefix(model, "res.") {
		app = "Sales: User: All Documents"
	}
	return "the user of the API key may not do that with " + model + ": under Settings → Users, give it the right " + app
}

// hint adds to an error what to do.
func (r *record) hint(err error, what string) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return err
	}
	out := *e
	out.Err = fmt.Errorf("%w; %s", e.Err, what)
	return &out
}

// unknown is the kind of a failure that does not tell whether the call took effect.
func unknown(write bool) connectors.ErrorKind {
	if write {
		return connectors.Uncertain
	}
	return connectors.Retryable
}

func (r *record) refuse(kind connectors.ErrorKind, op, code, text string) error {
	return &connectors.Error{Kind: kind, Op: op, Code: r.client.Redact(code), Err: errors.New(r.client.Redact(text))}
}

// search reads records that fit a domain, in the order of their ids. A limit of 0 means all.
func (d *dialect) search(ctx context.Context, op, model string, domain []any, fields []string, limit int, out any) error {
	return d.sorted(ctx, op, model, domain, fields, "id asc", limit, out)
}

// sorted reads records that fit a domain in the order given. A limit of 0 means all.
func (d *dialect) sorted(ctx context.Context, op, model string, domain []any, fields []string, order string, limit int, out any) error {
	var most any
	if limit > 0 {
		most = limit
	}
	return d.call(ctx, method{op: op, model: model, name: "search_read", args: []argument{
		{"domain", domain}, {"fields", fields}, {"offset", 0}, {"limit", most}, {"order", order}}}, out)
}
