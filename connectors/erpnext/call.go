package erpnext

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// query is a question for documents, by frappe.client.get_list (frappe/client.py). It goes by POST, so that it can be longer
// than an address.
type query struct {
	DocType string   `json:"doctype"`
	Parent  string   `json:"parent,omitempty"`
	Fields  []string `json:"fields"`
	Filters []any    `json:"filters"`
	Order   string   `json:"order_by"`
	Start   int      `json:"limit_start,omitzero"`
	Limit   int      `json:"limit_page_length"`
}

// list asks for documents. An answer as long as the limit is refused where all is meant to be whole: something may be cut.
func list[T any](ctx context.Context, r *record, op string, q query, whole bool) ([]T, error) {
	var got struct {
		Message *[]T `json:"message"`
	}
	err := r.do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: "/api/method/frappe.client.get_list", Body: q}, q.DocType, &got)
	if err != nil {
		return nil, err
	}
	switch {
	case got.Message == nil:
		return nil, r.refuse(connectors.Retryable, op, "", "the answer has no message; is this the address of an ERPNext?")
	case len(*got.Message) > q.Limit, whole && len(*got.Message) == q.Limit:
		return nil, r.refuse(connectors.Rejected, op, "", fmt.Sprintf("there are %d or more of %s; fewer are understood", len(*got.Message), q.DocType))
	}
	return *got.Message, nil
}

// resource makes a call of the resource interface (frappe/api/v1.py), and gives the document that comes back.
func (r *record) resource(ctx context.Context, op, method, doctype, name string, body any) (jsontext.Value, error) {
	path := "/api/resource/" + url.PathEscape(doctype)
	if name != "" {
		path += "/" + url.PathEscape(name)
	}
	write := method != http.MethodGet
	var got struct {
		Data jsontext.Value `json:"data"`
	}
	if err := r.do(ctx, rest.Call{Op: op, Method: method, Path: path, Body: body, Write: write}, doctype, &got); err != nil {
		return nil, err
	}
	if got.Data.Kind() != '{' {
		kind := connectors.Retryable
		if write {
			kind = connectors.Uncertain
		}
		return nil, r.refuse(kind, op, "", "the answer has no data; is this the address of an ERPNext?")
	}
	return got.Data, nil
}

// order makes a call about a Sales Order, and reads it as it then stands.
func (r *record) order(ctx context.Context, op, method, name string, body any) (*orderDoc, error) {
	data, err := r.resource(ctx, op, method, "Sales Order", name, body)
	if err != nil {
		return nil, err
	}
	kind := connectors.Rejected // the same answer would come again
	if method != http.MethodGet {
		kind = connectors.Uncertain
	}
	var doc orderDoc
	var all map[string]jsontext.Value
	if err := errors.Join(json.Unmarshal(data, &doc), json.Unmarshal(data, &all)); err != nil {
		return nil, r.refuse(kind, op, "", "the answer cannot be taken: "+rest.ExplainJSON(err).Error())
	}
	if doc.Name == "" || doc.Items == nil {
		return nil, r.refuse(kind, op, "", "the answer lacks the order's name or items")
	}
	if note := all[r.noteField]; note.Kind() == '"' {
		_ = json.Unmarshal(note, &doc.note)
	}
	return &doc, nil
}

// run calls a method that gives nothing back.
func (r *record) run(ctx context.Context, op, name, doctype string, body any) error {
	return r.do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: "/api/method/" + name, Body: body, Write: true}, doctype, new(jsontext.Value))
}

// The exceptions of Frappe (frappe/exceptions.py) that mean more than their HTTP status says. By these the transaction was
// given up because of another one.
var passing = map[string]bool{"TimestampMismatchError": true, "QueryDeadlockError": true, "QueryTimeoutError": true, "DocumentLockedError": true}

// do makes a call and words its failure.
func (r *record) do(ctx context.Context, call rest.Call, doctype string, out any) error {
	var status int
	var header http.Header
	call.Status, call.ResponseHeader = &status, &header
	err := r.client.Do(ctx, call, out)
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return err
	}
	worded := *e
	say := func(what string) { worded.Err = fmt.Errorf("%w; %s", e.Err, what) }
	page := strings.HasPrefix(header.Get("Content-Type"), "text/html")
	switch {
	case passing[e.Code]:
		worded.Kind = connectors.Retryable
		say("somebody changed the document at the same time")
	case status == http.StatusUnauthorized:
		say("the API key or secret is refused: in ERPNext open the user, and under Settings → API Access press Generate Keys; the secret is shown once, and the one before ends")
	case status == http.StatusForbidden && page:
		worded.Kind = connectors.Retryable // it did not reach ERPNext
		say("a firewall answered in the place of ERPNext: let requests to /api/ from this server through")
	case status == http.StatusForbidden:
		say("the user of the API key may not do that with " + doctype + ": give it the roles Sales User, Stock User and Item Manager, and look under User Permissions whether it is kept to another company")
	case status == http.StatusNotFound && page:
		say("no site of this name is served there: correct " + settingBaseURL)
	case status == http.StatusExpectationFailed && e.Code == "LinkValidationError":
		say("correct the setting that names it, or the record in ERPNext")
	case status == http.StatusServiceUnavailable:
		say("the site is in maintenance, or being updated")
	default:
		return err
	}
	return &worded
}

func (r *record) refuse(kind connectors.ErrorKind, op, code, text string) error {
	return &connectors.Error{Kind: kind, Op: op, Code: r.client.Redact(code), Err: errors.New(r.client.Redact(text))}
}
