package declared

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/itchyny/gojq"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/signature"
)

// pretend is a small system with a memory, written in jq: what the conformance suite is run against where there is no
// account. It proves that the file agrees with itself and keeps the laws of the contract, not that the vendor does.
type pretend struct {
	Settings map[string]string `yaml:"settings"`
	State    *plain            `yaml:"state"`
	// Answer is given {state, request, now, signed}, and gives {state, status, headers, body}.
	Answer *expression `yaml:"answer"`
	SKUs   []string    `yaml:"skus"`
	Refs   []string    `yaml:"refs"`

	// The rest are hooks of the suite over {state, …}. Those that change give the new state.
	Receive    *expression `yaml:"receive"`
	Level      *expression `yaml:"level"`
	OrderCount *expression `yaml:"order_count"`
	Ship       *expression `yaml:"ship"`
	Sell       *expression `yaml:"sell"`
	Shown      *expression `yaml:"shown"`
	Shipped    *expression `yaml:"shipped"`

	// Deliver are the headers and the query of a webhook, over {id, at, signature, settings}.
	Deliver *delivery `yaml:"deliver"`
}

type delivery struct {
	Headers *template `yaml:"headers"`
	Query   *template `yaml:"query"`
}

func (pr *pretend) check(p *problems, f *File) {
	if !pr.Answer.set() {
		p.at("pretend.answer", "write how the pretend server answers")
	}
	if f.Role == connectors.SystemOfRecordRole && len(pr.SKUs) < 2 {
		p.at("pretend.skus", "name the articles that the pretend server has: all of them, at least two")
	}
	if f.Role == connectors.MarketplaceRole && len(pr.Refs) < 3 {
		p.at("pretend.refs", "name the listings that the pretend server has: all of them, at least three")
	}
}

// Stage is the pretend server of a file, with what the conformance suite needs of it.
type Stage struct {
	file *File

	mu    sync.Mutex
	state any
	wrote int
	// Broken is what the server could not do, because an expression of it is wrong.
	broken error
}

// Stage begins a pretend server anew; false where the file has none.
func (f *File) Stage() (*Stage, bool) {
	if f.Pretend == nil {
		return nil, false
	}
	return &Stage{file: f, state: normal(f.Pretend.State.get())}, true
}

// Open opens a connection to the pretend server.
func (s *Stage) Open(env connectors.Env) (connectors.Connection, error) {
	return s.file.Open(env, s.file.Role, connectors.Settings(s.file.Pretend.Settings))
}

// Secrets are the values of secret settings.
func (s *Stage) Secrets() []string {
	var out []string
	for _, f := range s.file.Settings {
		if v := s.file.Pretend.Settings[f.Name]; f.Secret && v != "" {
			out = append(out, v)
		}
	}
	return out
}

// Changes counts the requests that wrote.
func (s *Stage) Changes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrote
}

// Err is what is wrong with the pretend server itself.
func (s *Stage) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// RoundTrip implements http.RoundTripper.
func (s *Stage) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	body, err := bodyOf(req)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if Writes(req.Context()) {
		s.wrote++
	}
	v, err := s.file.Pretend.Answer.one(context.WithoutCancel(req.Context()), s.input(map[string]any{"request": s.request(req, body), "now": int(time.Now().Unix()), "signed": s.signed(req, body)}), nil)
	said, ok := v.(map[string]any)
	if err == nil && !ok {
		err = fmt.Errorf("%s: it gives %s, and an object with state, status and body is wanted", s.file.Pretend.Answer.where, kindOf(v))
	}
	if err != nil {
		return s.fail(req, err), nil
	}
	if state, told := said["state"]; told {
		s.state = state
	}
	status, headers := http.StatusOK, map[string]string{}
	if n, ok := said["status"].(int); ok {
		status = n
	}
	if h, ok := said["headers"].(map[string]any); ok {
		for name, v := range h {
			headers[name], _ = textOf(v)
		}
	}
	answer, err := gojq.Marshal(said["body"])
	if err != nil {
		return s.fail(req, err), nil
	}
	return respond(req, status, headers, answer), nil
}

// fail answers that the server is broken, and remembers why.
func (s *Stage) fail(req *http.Request, err error) *http.Response {
	s.broken = errors.Join(s.broken, err)
	text, _ := gojq.Marshal(map[string]any{"title": "the pretend server is broken", "detail": err.Error()})
	return respond(req, http.StatusNotImplemented, nil, text)
}

func (s *Stage) input(more map[string]any) map[string]any {
	more["state"] = s.state
	return more
}

// request is what the pretend server sees of a request.
func (s *Stage) request(req *http.Request, body []byte) map[string]any {
	base, _ := url.Parse(s.file.Pretend.Settings[settingBaseURL])
	path := req.URL.EscapedPath()
	if base != nil {
		path = strings.TrimPrefix(path, strings.TrimRight(base.EscapedPath(), "/"))
	}
	headers := map[string]any{}
	for name, v := range req.Header {
		headers[strings.ToLower(name)] = strings.Join(v, ",")
	}
	out := map[string]any{"method": req.Method, "path": path, "query": single(req.URL.Query()), "headers": headers, "form": nil, "json": nil}
	if strings.Contains(req.Header.Get("Content-Type"), "form") {
		form, _ := url.ParseQuery(string(body))
		out["form"] = single(form)
	} else if len(body) > 0 {
		if v, err := value(jsontext.Value(body)); err == nil {
			out["json"] = v
		}
	}
	return out
}

// signed reports whether the signature of the request is right, where the file signs.
func (s *Stage) signed(req *http.Request, body []byte) bool {
	sign := s.file.Auth.Sign
	if sign == nil {
		return false
	}
	from := req.URL.Query()
	if sign.Of == inForm {
		from, _ = url.ParseQuery(string(body))
	}
	parameters := map[string]string{}
	for name := range from {
		parameters[name] = from.Get(name)
	}
	given := parameters[sign.Into]
	delete(parameters, sign.Into)
	settings := map[string]any{}
	for name, v := range s.file.Pretend.Settings {
		settings[name] = v
	}
	secret, err := sign.Secret.text(context.Background(), map[string]any{"settings": settings})
	if err != nil {
		return false
	}
	f, err := sign.function()
	return err == nil && f(secret, parameters) == given
}

// Has reports whether the pretend server has a hook: receive, level, order_count, ship, sell, shown or shipped.
func (s *Stage) Has(hook string) bool { return s.hook(hook).set() }

func (s *Stage) hook(name string) *expression {
	p := s.file.Pretend
	return map[string]*expression{"receive": p.Receive, "level": p.Level, "order_count": p.OrderCount, "ship": p.Ship, "sell": p.Sell, "shown": p.Shown, "shipped": p.Shipped}[name]
}

// Ask evaluates a hook that gives a number.
func (s *Stage) Ask(hook string, with map[string]any) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.hook(hook).one(context.Background(), s.input(with), nil)
	n, ok := whole(v, nil).(int)
	if err != nil || !ok {
		s.broken = errors.Join(s.broken, err, fmt.Errorf("pretend.%s gives no number", hook))
	}
	return n
}

// Change evaluates a hook that gives {state, result}.
func (s *Stage) Change(hook string, with map[string]any) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	with["now"] = int(time.Now().Unix())
	v, err := s.hook(hook).one(context.Background(), s.input(with), nil)
	said, ok := v.(map[string]any)
	if err != nil || !ok {
		s.broken = errors.Join(s.broken, err, fmt.Errorf("pretend.%s gives no object with state", hook))
		return nil
	}
	s.state = said["state"]
	return said["result"]
}

// Refs are the listings of the pretend server, each written as item or item@place.
func (s *Stage) Refs() []connectors.Ref {
	var refs []connectors.Ref
	for _, text := range s.file.Pretend.Refs {
		item, place, _ := strings.Cut(text, "@")
		refs = append(refs, connectors.Ref{Item: item, Place: place})
	}
	return refs
}

// SKUs are the articles of the pretend server.
func (s *Stage) SKUs() []string { return s.file.Pretend.SKUs }

// Event is an event as the system sends it, with {id} where its identity stands; nil where the file shows none.
func (s *Stage) Event() []byte {
	if w := s.file.Webhook; w != nil && s.file.Pretend.Deliver != nil {
		return []byte(w.Event)
	}
	return nil
}

// EventForm reports of the events whether their signature covers the body, and whether they are JSON.
func (s *Stage) EventForm() (bodySigned, isJSON bool) {
	w := s.file.Webhook
	if w == nil {
		return true, true
	}
	return w.Verify.Scheme != plainSecret && (w.Verify.ofBody() || w.Verify.Of == inForm), jsontext.Value(w.Event).IsValid()
}

// Deliver makes a webhook delivery as the system does.
func (s *Stage) Deliver(id string, at time.Time, body []byte) connectors.Request {
	v := &s.file.Webhook.Verify
	body = []byte(strings.ReplaceAll(string(body), "{id}", id))
	req := connectors.Request{Method: http.MethodPost, Header: http.Header{}, Body: body, At: at}
	scope := map[string]any{"id": id, "at": int(at.Unix()), "settings": anyMap(s.file.Pretend.Settings), "signature": nil}
	err := s.sign(v, scope, &req)
	for _, part := range []struct {
		of   *template
		into func(name, value string)
	}{{s.file.Pretend.Deliver.Headers, func(name, value string) { req.Header.Set(name, value) }}, {s.file.Pretend.Deliver.Query, func(name, value string) {
		if req.RawQuery != "" {
			req.RawQuery += "&"
		}
		req.RawQuery += url.QueryEscape(name) + "=" + url.QueryEscape(value)
	}}} {
		parameters := map[string]string{}
		err = errors.Join(err, part.of.parameters(context.Background(), scope, parameters))
		for name, value := range parameters {
			part.into(name, value)
		}
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = errors.Join(s.broken, err)
	}
	return req
}

// sign signs a delivery with the first of the secrets.
func (s *Stage) sign(v *verify, scope map[string]any, req *connectors.Request) error {
	text, err := v.Secrets.text(context.Background(), scope)
	secrets := signature.Parse(text)
	if err != nil || len(secrets) == 0 {
		return errors.Join(err, errors.New("webhook.verify.secrets gives no secret"))
	}
	switch v.Scheme {
	case plainSecret:
		scope["signature"] = secrets[0]
		return nil
	case bodyBase64, bodyHex:
		scope["signature"] = signature.Body(secrets[0], req.Body)
		if v.Scheme == bodyHex {
			raw, err := base64.StdEncoding.DecodeString(signature.Body(secrets[0], req.Body))
			scope["signature"] = hex.EncodeToString(raw)
			return err
		}
		return nil
	}
	f, err := v.sign().function()
	if err != nil {
		return err
	}
	values, err := url.ParseQuery(string(req.Body))
	if err != nil {
		return err
	}
	parameters := map[string]string{}
	for name := range values {
		parameters[name] = values.Get(name)
	}
	values.Set(v.Into, f(secrets[0], parameters))
	if v.Of == inQuery {
		req.RawQuery, req.Body = values.Encode(), nil
	} else {
		req.Body = []byte(values.Encode())
	}
	return nil
}
