package tryton

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// session is a login at Tryton, which ends by its age and by being left unused (sections session and web of trytond.conf).
type session struct {
	user int64
	// company is the one that the user works for at present; what Tryton tells, and makes, is of this company.
	company int64
	// token is secret; header is what proves it (trytond/protocols/wrappers.py, parse_authorization_header).
	token, header string
}

// request is one call of a method.
type request struct {
	// op begins every error.
	op     string
	method string
	params []any
	// within is put into the context of the call, over company and language.
	within map[string]any
	// write is true for a call that changes more than a session; idempotent is true where it can be repeated.
	write, idempotent bool
}

// the members of a JSON-RPC call and of its answer (trytond/protocols/jsonrpc.py).
type (
	rpcCall struct {
		ID     int    `json:"id"`
		Method string `json:"method"`
		Params []any  `json:"params"`
	}
	rpcAnswer struct {
		Result jsontext.Value `json:"result"`
		Error  jsontext.Value `json:"error"`
	}
)

// maxWarnings is how many warnings of one call are accepted, one after the other.
const maxWarnings = 8

// call makes one call inside a session, and accepts the warnings that Tryton wants accepted first. A session that Tryton no
// longer knows is renewed once: a call that is refused for that was not begun.
func call[T any](ctx context.Context, e *erp, r request) (T, error) {
	for warnings := 0; ; warnings++ {
		out, s, err := inSession[T](ctx, e, r)
		w, warned := errors.AsType[*warning](err)
		if !warned {
			return out, err
		}
		if !e.acceptWarnings || warnings == maxWarnings {
			return out, e.refuse(connectors.Rejected, r.op, "UserWarning", fmt.Sprintf("Tryton wants a person to confirm: %s; do it there, or set %s to accept", w.text, settingWarnings))
		}
		e.log.Info("a warning of Tryton is accepted", "operation", r.op, "warning", w.text)
		if err := e.accept(ctx, s, r.op, w); err != nil {
			return out, err
		}
	}
}

// accept notes that the user has seen a warning, as Tryton's own clients do: the next try of the same call finds the note
// and uses it up (trytond/res/user.py, Warning_.check).
func (e *erp) accept(ctx context.Context, s session, op string, w *warning) error {
	note := map[string]any{"user": s.user, "name": w.name, "always": false}
	_, err := send[jsontext.Value](ctx, e, request{op: op, method: "model.res.user.warning.create", params: []any{[]any{note}}, write: true}, s)
	return err
}

func inSession[T any](ctx context.Context, e *erp, r request) (T, session, error) {
	s, err := e.login(ctx, r.op, "")
	if err != nil {
		var none T
		return none, s, err
	}
	out, err := send[T](ctx, e, r, s)
	if connectors.KindOf(err) != connectors.Auth {
		return out, s, err
	}
	if s, err = e.login(ctx, r.op, s.token); err != nil {
		return out, s, err
	}
	out, err = send[T](ctx, e, r, s)
	return out, s, err
}

// login returns the session, and begins one when there is none or it is the stale one.
func (e *erp) login(ctx context.Context, op, stale string) (session, error) {
	e.sessionMu.Lock()
	defer e.sessionMu.Unlock()
	if e.session.token != stale {
		return e.session, nil
	}
	status := 0
	answer, err := post[[]jsontext.Value](ctx, e, request{op: op, method: "common.db.login"}, []any{e.username, map[string]any{"password": e.password}}, session{}, &status)
	if err != nil {
		return session{}, e.explainLogin(err, status)
	}
	var s session
	if len(answer) != 2 || json.Unmarshal(answer[0], &s.user) != nil || json.Unmarshal(answer[1], &s.token) != nil || s.token == "" {
		return session{}, e.refuse(connectors.Auth, op, "", "the login gave no session; is this the address of a Tryton server?")
	}
	s.header = "Session " + base64.StdEncoding.EncodeToString([]byte(e.username+":"+strconv.FormatInt(s.user, 10)+":"+s.token))
	preferences, err := post[struct {
		Company *int64 `json:"company"`
	}](ctx, e, request{op: op, method: "model.res.user.get_preferences"}, []any{true, map[string]any{}}, s, nil)
	if err != nil {
		return session{}, err
	}
	if preferences.Company == nil {
		return session{}, e.refuse(connectors.Auth, op, "", "the user works for no company: in Tryton, give the user a company under Administration → Users")
	}
	s.company = *preferences.Company
	e.session = s
	return s, nil
}

// explainLogin says of a refused login where to look: Tryton itself gives no reason.
func (e *erp) explainLogin(err error, status int) error {
	failed, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return err
	}
	hint := ""
	switch status {
	case http.StatusUnauthorized:
		hint = "Tryton does not take the user name and password; look at the user under Administration → Users"
	case http.StatusNotFound:
		hint = fmt.Sprintf("Tryton has no database %q at this address", e.database)
	case http.StatusTooManyRequests:
		hint = "Tryton counted too many wrong logins, and takes none for a while"
	default:
		return err
	}
	explained := *failed
	explained.Err = fmt.Errorf("%s: %w", hint, failed.Err)
	return &explained
}

// send makes one call with the context that every method but those of a session takes last.
func send[T any](ctx context.Context, e *erp, r request, s session) (T, error) {
	within := map[string]any{"company": s.company, "language": "en"}
	maps.Copy(within, r.within)
	return post[T](ctx, e, r, append(slices.Clip(r.params), within), s, nil)
}

func post[T any](ctx context.Context, e *erp, r request, params []any, s session, status *int) (T, error) {
	var out T
	c := rest.Call{
		Op: r.op, Method: http.MethodPost, Path: "/", Header: http.Header{}, Body: rpcCall{ID: 1, Method: r.method, Params: params},
		Write: r.write, Idempotent: r.idempotent, Status: status,
	}
	if s.header != "" {
		c.Header.Set("Authorization", s.header)
	}
	var got rpcAnswer
	if err := e.client.Do(ctx, c, &got); err != nil {
		return out, s.without(err)
	}
	switch {
	case got.Error != nil:
		return out, s.without(e.rpcFailure(r, got.Error))
	case got.Result == nil:
		return out, e.refuse(unknown(r), r.op, "", "the answer has neither a result nor an error; is this the address of a Tryton server?")
	}
	if err := json.Unmarshal(got.Result, &out); err != nil {
		kind := connectors.Rejected
		if r.write {
			kind = connectors.Uncertain
		}
		return out, s.without(e.refuse(kind, r.op, "", fmt.Sprintf("the answer to %s cannot be taken: %v", r.method, rest.ExplainJSON(err))))
	}
	return out, nil
}

// without takes the session out of an error: the client knows only the secrets that it began with.
func (s session) without(err error) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || s.token == "" {
		return err
	}
	_, encoded, _ := strings.Cut(s.header, " ")
	words := strings.NewReplacer(s.token, "redacted", encoded, "redacted")
	text := e.Err.Error()
	if words.Replace(text+e.Code) == text+e.Code {
		return err
	}
	clean := *e
	clean.Code, clean.Err = words.Replace(e.Code), errors.New(words.Replace(text))
	return &clean
}

// warning is Tryton's wish to have a warning accepted before it does what was asked. It does not leave the package.
type warning struct{ name, text string }

func (w *warning) Error() string { return w.text }

// rpcFailure turns an error of JSON-RPC, which comes with HTTP 200, into one of ours. Tryton rolls back whatever the call had
// changed, but for a failure that it does not know by name: that may have come after the commit.
func (e *erp) rpcFailure(r request, raw jsontext.Value) error {
	name, details, err := parseFailure(raw)
	if err != nil {
		return e.refuse(unknown(r), r.op, "", fmt.Sprintf("the error of the answer is not understood: %v", err))
	}
	first := func(i int) string {
		if i < len(details) {
			return details[i]
		}
		return ""
	}
	switch name {
	case "UserError":
		text := strings.TrimSuffix(first(0)+": "+first(1), ": ")
		if deniesAccess(first(0)) {
			return e.refuse(connectors.Auth, r.op, name, text+" Give the user the group that may, under Administration → Users.")
		}
		return e.refuse(connectors.Rejected, r.op, name, text)
	case "UserWarning":
		return &warning{name: first(0), text: strings.TrimSuffix(first(1)+": "+first(2), ": ")}
	case "ConcurrencyException":
		return e.refuse(connectors.Retryable, r.op, name, cmp.Or(first(0), "somebody else changed the records meanwhile"))
	case "LoginException":
		return e.refuse(connectors.Auth, r.op, name, "Tryton asks for more than a password; use a user that logs in by password alone")
	}
	if r.method == "common.db.login" && strings.HasSuffix(name, "doesn't exist!") {
		return e.refuse(connectors.Unmapped, r.op, "", fmt.Sprintf("Tryton has no database %q at this address", e.database)) // with SQLite
	}
	if model := modelOf(r.method); name == "'"+model+"'" {
		return e.refuse(connectors.Rejected, r.op, "KeyError", fmt.Sprintf("Tryton has no %s: activate the modules sale and stock under Administration → Modules", model))
	}
	return e.refuse(unknown(r), r.op, "", "Tryton failed: "+cmp.Or(name, "it gave no reason; its log has more"))
}

// parseFailure reads what is in the place of a result: the name of one of Tryton's exceptions with its arguments, or the text
// of any other one with a traceback (trytond/exceptions.py, trytond/protocols/jsonrpc.py).
func parseFailure(raw jsontext.Value) (name string, details []string, err error) {
	var parts []jsontext.Value
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", nil, rest.ExplainJSON(err)
	}
	if len(parts) == 0 {
		return "", nil, errors.New("it is empty")
	}
	if err := json.Unmarshal(parts[0], &name); err != nil {
		return "", nil, rest.ExplainJSON(err)
	}
	if len(parts) == 1 {
		return name, nil, nil
	}
	var args []jsontext.Value
	if json.Unmarshal(parts[1], &args) != nil {
		args = parts[1:] // one argument, which is no list
	}
	for _, a := range args {
		var text string
		if json.Unmarshal(a, &text) != nil {
			text = ""
		}
		details = append(details, text)
	}
	return name, details, nil
}

// deniesAccess recognises the refusals for want of rights by their English texts (trytond/ir/message.xml); Tryton has no code
// for them. A refusal by a rule about single records is none: it is also the answer about a record that is gone.
func deniesAccess(text string) bool {
	return strings.HasPrefix(text, "You are not allowed to access ") || strings.HasPrefix(text, "You are not allowed to execute ") || strings.HasPrefix(text, "Calling button ")
}

// modelOf is the model that a method belongs to: sale.sale of model.sale.sale.read.
func modelOf(method string) string {
	_, rest, _ := strings.Cut(method, ".")
	if i := strings.LastIndexByte(rest, '.'); i >= 0 {
		return rest[:i]
	}
	return rest
}

// unknown is the kind of a failure that does not tell whether the call took effect.
func unknown(r request) connectors.ErrorKind {
	if r.write {
		return connectors.Uncertain
	}
	return connectors.Retryable
}

func (e *erp) refuse(kind connectors.ErrorKind, op, code, text string) error {
	return &connectors.Error{Kind: kind, Op: op, Code: e.client.Redact(code), Err: errors.New(e.client.Redact(text))}
}
