package declared

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/goccy/go-yaml/ast"
	"github.com/itchyny/gojq"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// Example is a call, the requests as they must be sent, the answers as the vendor documents them, and what comes of it.
type Example struct {
	Name string `yaml:"name"`
	// At is the time of the call, which signatures depend on.
	At       string            `yaml:"at"`
	Settings map[string]string `yaml:"settings"`
	Call     string            `yaml:"call"`
	With     *plain            `yaml:"with"`

	Exchanges []exchange `yaml:"exchanges"`

	Gives *plain   `yaml:"gives"`
	Fails *failing `yaml:"fails"`
}

type exchange struct {
	Request struct {
		Method  string            `yaml:"method"`
		Path    string            `yaml:"path"`
		Query   map[string]string `yaml:"query"`
		Headers map[string]string `yaml:"headers"`
		Form    map[string]string `yaml:"form"`
		JSON    *plain            `yaml:"json"`
	} `yaml:"request"`
	Answer struct {
		Status  int               `yaml:"status"`
		Headers map[string]string `yaml:"headers"`
		Body    *plain            `yaml:"body"`
		Text    string            `yaml:"text"`
	} `yaml:"answer"`
}

type failing struct {
	Kind connectors.ErrorKind `yaml:"kind"`
	Code string               `yaml:"code"`
	Says string               `yaml:"says"`
}

// plain is JSON that is written as YAML.
type plain struct{ value any }

// UnmarshalYAML implements yaml.NodeUnmarshalerContext.
func (v *plain) UnmarshalYAML(ctx context.Context, n ast.Node) error {
	v.value = problemsOf(ctx).plain(n)
	return nil
}

func (p *problems) plain(n ast.Node) any {
	members := func(values []*ast.MappingValueNode) any {
		out := map[string]any{}
		for _, m := range values {
			name, ok := scalar(m.Key)
			if !ok {
				p.add(m, "a name is written as text")
				continue
			}
			out[name] = p.plain(m.Value)
		}
		return out
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return members(n.Values)
	case *ast.MappingValueNode:
		return members([]*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		out := []any{}
		for _, e := range n.Values {
			out = append(out, p.plain(e))
		}
		return out
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode, *ast.FloatNode:
		v, err := number(n.GetToken().Value)
		if err != nil {
			p.add(n, "%v", err)
		}
		return v
	default:
		text, ok := scalar(n)
		if !ok {
			p.add(n, "anchors, aliases and tags are not taken")
		}
		return text
	}
}

func (v *plain) get() any {
	if v == nil {
		return nil
	}
	return v.value
}

// Play plays an example: it makes the call, compares each request with the one that must be sent, and what comes of it
// with what the example says. The error is everything that differs.
func (f *File) Play(ctx context.Context, e Example) error {
	at, err := time.Parse(time.RFC3339, e.At)
	if e.At == "" {
		at, err = time.Unix(0, 0), nil
	}
	if err != nil {
		return fmt.Errorf("at is %.40q: write an instant such as 2026-03-29T01:30:00Z", e.At)
	}
	stage := &stage{base: e.Settings[settingBaseURL], left: e.Exchanges}
	settings := connectors.Settings{settingPace: "10000"} // nobody is there who would be overrun
	maps.Copy(settings, e.Settings)
	conn, err := f.openAt(connectors.Env{Transport: stage}, f.Role, settings, func() time.Time { return at })
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if stage.base == "" {
		stage.base = textSetting(connectionOf(conn).settings, settingBaseURL)
	}
	got, callErr := perform(ctx, conn, e.Call, e.With.get())
	errs := stage.differences
	if n := len(stage.left); n > 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%d requests were not sent; the next would be %s %s", n, stage.left[0].Request.Method, stage.left[0].Request.Path))
	}
	return errors.Join(append(errs, e.compare(got, callErr)...)...)
}

func (e Example) compare(got any, err error) []error {
	var out []error
	switch want := e.Fails; {
	case want == nil && err != nil:
		out = append(out, fmt.Errorf("it fails: %w", err))
	case want == nil:
		if wanted := e.Gives.get(); !same(got, wanted) {
			out = append(out, fmt.Errorf("it gives %s, and the example says %s", show(got), show(wanted)))
		}
	case err == nil:
		out = append(out, fmt.Errorf("it does not fail, and gives %s", show(got)))
	default:
		failed, ok := errors.AsType[*connectors.Error](err)
		if !ok || failed.Kind != want.Kind || want.Code != "" && failed.Code != want.Code || !strings.Contains(err.Error(), want.Says) {
			out = append(out, fmt.Errorf("it fails with %w, and the example says %s %s %q", err, want.Kind, want.Code, want.Says))
		}
	}
	return out
}

func show(v any) string {
	text, _ := textOf(v)
	if len(text) > 400 {
		text = text[:400] + "…"
	}
	return text
}

// same compares values as JSON does.
func same(a, b any) bool { return reflect.DeepEqual(normal(a), normal(b)) }

func normal(v any) any {
	data, err := gojq.Marshal(v)
	if err != nil {
		return err
	}
	out, err := value(data)
	if err != nil {
		return err
	}
	return out
}

func connectionOf(c connectors.Connection) *connection {
	switch c := c.(type) {
	case *record:
		return c.connection
	case *hearingRecord:
		return c.record.connection
	case *marketplace:
		return c.connection
	case *hearingMarketplace:
		return c.marketplace.connection
	}
	return nil
}

// stage answers the requests of an example, in their order.
type stage struct {
	base        string
	left        []exchange
	differences []error
}

// RoundTrip implements http.RoundTripper.
func (s *stage) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := bodyOf(req)
	if err != nil {
		return nil, err
	}
	if len(s.left) == 0 {
		s.differences = append(s.differences, fmt.Errorf("the request %s %s is one too many", req.Method, req.URL.Path))
		return respond(req, http.StatusTeapot, nil, nil), nil
	}
	want := s.left[0]
	s.left = s.left[1:]
	s.compare(req, body, want)
	status := want.Answer.Status
	if status == 0 {
		status = http.StatusOK
	}
	answer := []byte(want.Answer.Text)
	if want.Answer.Body != nil {
		if answer, err = gojq.Marshal(want.Answer.Body.value); err != nil {
			return nil, err
		}
	}
	return respond(req, status, want.Answer.Headers, answer), nil
}

func bodyOf(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(req.Body)
	return body, errors.Join(err, req.Body.Close())
}

func respond(req *http.Request, status int, headers map[string]string, body []byte) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for name, v := range headers {
		h.Set(name, v)
	}
	return &http.Response{Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req}
}

// compare notes every difference between a request and the one that must be sent. Headers that the example does not name
// are not compared.
func (s *stage) compare(req *http.Request, body []byte, want exchange) {
	w, where := want.Request, fmt.Sprintf("request %s %s", want.Request.Method, want.Request.Path)
	differs := func(what string, got, want any) {
		if !same(got, want) {
			s.differences = append(s.differences, fmt.Errorf("%s: %s is %s, and must be %s", where, what, show(got), show(want)))
		}
	}
	base, _ := url.Parse(s.base)
	prefix := ""
	if base != nil {
		prefix = strings.TrimRight(base.EscapedPath(), "/")
	}
	differs("the method", req.Method, w.Method)
	differs("the path", strings.TrimPrefix(req.URL.EscapedPath(), prefix), w.Path)
	differs("the query", single(req.URL.Query()), anyMap(w.Query))
	for name, v := range w.Headers {
		differs("the header "+name, req.Header.Get(name), v)
	}
	switch {
	case w.Form != nil:
		form, err := url.ParseQuery(string(body))
		if err != nil {
			s.differences = append(s.differences, fmt.Errorf("%s: the body is no form", where))
			return
		}
		differs("the form", single(form), anyMap(w.Form))
	case w.JSON != nil:
		v, err := value(jsontext.Value(body))
		if err != nil {
			s.differences = append(s.differences, fmt.Errorf("%s: the body is no JSON", where))
			return
		}
		differs("the JSON", v, w.JSON.value)
	case len(body) > 0:
		differs("the body", string(body), "")
	}
}

func anyMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for name, v := range m {
		out[name] = v
	}
	return out
}

// perform makes the call that an example names, and tells what came of it as JSON does.
func perform(ctx context.Context, conn connectors.Connection, call string, with any) (any, error) {
	input, err := inputOf(with)
	if err != nil {
		return nil, err
	}
	if call == "check" {
		return nil, conn.Check(ctx)
	}
	if r, ok := conn.(connectors.SystemOfRecord); ok {
		return performRecord(ctx, r, call, input)
	}
	m, ok := conn.(connectors.Marketplace)
	if !ok {
		return nil, fmt.Errorf("%T has no calls", conn)
	}
	return performMarketplace(ctx, m, call, input)
}

// exampleInput is what an example calls with.
type exampleInput struct {
	Key      string                    `json:"key"`
	After    int64                     `json:"after"`
	Since    time.Time                 `json:"since"`
	Order    connectors.NewOrder       `json:"order"`
	Cancel   []connectors.CancelLine   `json:"cancel"`
	Refs     []connectors.Ref          `json:"refs"`
	Writes   []exampleWrite            `json:"writes"`
	Shipment connectors.ShipmentNotice `json:"shipment"`
}

type exampleWrite struct {
	connectors.Ref
	Quantity stock.Quantity `json:"quantity"`
	ID       string         `json:"id"`
}

func inputOf(with any) (exampleInput, error) {
	var in exampleInput
	if with == nil {
		return in, nil
	}
	data, err := gojq.Marshal(with)
	if err != nil {
		return in, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return in, fmt.Errorf("with: %w", err)
	}
	return in, nil
}

func performRecord(ctx context.Context, r connectors.SystemOfRecord, call string, in exampleInput) (any, error) {
	switch call {
	case "locations":
		rows, err := r.Locations(ctx)
		out := []any{}
		for _, l := range rows {
			out = append(out, map[string]any{"id": l.ID, "name": l.Name})
		}
		return out, err
	case "items":
		page, err := r.Items(ctx, "")
		return jsonOf(page.Rows, err)
	case "levels":
		page, err := r.Levels(ctx, "")
		return jsonOf(page.Levels, err)
	case "movements":
		page, err := r.Movements(ctx, in.After)
		return jsonOf(page.Rows, err)
	case "create_order":
		number, err := r.CreateOrder(ctx, in.Order)
		return number, err
	case "cancel_order":
		return nil, r.CancelOrder(ctx, in.Key, in.Cancel)
	case "order_status":
		teller, ok := r.(connectors.OrderTeller)
		if !ok {
			return nil, errors.New("orders cannot be asked for")
		}
		s, err := teller.OrderStanding(ctx, in.Key)
		return jsonOf(s.Lines, err)
	}
	return nil, fmt.Errorf("there is no call %q of a system of record that an example can show", call)
}

func performMarketplace(ctx context.Context, m connectors.Marketplace, call string, in exampleInput) (any, error) {
	out := []any{}
	switch call {
	case "listings":
		page, err := m.Listings(ctx, "")
		for _, l := range page.Rows {
			out = append(out, map[string]any{"item": l.Ref.Item, "place": l.Ref.Place, "sku": l.SKU, "quantity": int(l.Quantity), "status": string(l.Status)})
		}
		return out, err
	case "read_stock":
		rows, err := m.ReadStock(ctx, in.Refs)
		for _, r := range rows {
			out = append(out, map[string]any{"item": r.Ref.Item, "place": r.Ref.Place, "quantity": int(r.Quantity)})
		}
		return out, err
	case "write_stock":
		var writes []connectors.Write
		for _, w := range in.Writes {
			writes = append(writes, connectors.Write{Ref: w.Ref, Quantity: w.Quantity, ID: w.ID})
		}
		results, err := m.WriteStock(ctx, writes)
		for _, r := range results {
			out = append(out, map[string]any{"item": r.Ref.Item, "outcome": string(r.Outcome), "kind": string(connectors.KindOf(r.Err))})
		}
		return out, err
	case "orders":
		page, err := m.Orders(ctx, in.Since, "")
		return jsonOf(page.Orders, err)
	case "write_shipment":
		shipper, ok := m.(connectors.ShipmentWriter)
		if !ok {
			return nil, errors.New("the marketplace takes no shipments")
		}
		return nil, shipper.WriteShipment(ctx, in.Shipment)
	}
	return nil, fmt.Errorf("there is no call %q of a marketplace that an example can show", call)
}

// jsonOf makes plain JSON of rows; no rows are an empty list.
func jsonOf[T any](rows []T, err error) (any, error) {
	if err != nil || len(rows) == 0 {
		return []any{}, err
	}
	data, err := json.Marshal(rows)
	if err != nil {
		return nil, err
	}
	return value(data)
}
