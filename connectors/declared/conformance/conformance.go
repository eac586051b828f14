// Package conformance puts a declared connector to the test without Go: it plays the examples of its file and runs the
// suite of connectortest, against the file's pretend server or a live account.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/declared"
	"github.com/truestock/truestock/stock"
)

// Outcome is a case with what became of it.
type Outcome = connectortest.Outcome

// Verdict is what became of it.
type Verdict = connectortest.Verdict

// The verdicts.
const (
	Passed  = connectortest.Passed
	Failed  = connectortest.Failed
	Skipped = connectortest.Skipped
)

// Live is an account that the suite is run against.
type Live struct {
	Settings connectors.Settings
	// Write allows the cases that create and cancel orders, or write stock.
	Write bool
	// Transport is the way out; nil means the network.
	Transport http.RoundTripper
}

// reading are the cases that only read, and need no hook of a pretend server.
var reading = []string{"ClaimsMatchMethods", "LocationsAndItems", "LevelsCoverEveryItem", "ListingsStableAndComplete", "ReadLeavesOutTheUnknown", "RefusedConnectionIsRetryable"}

// Check plays the examples and runs the suite. done hears of every case when it has ended. live is nil for the pretend
// server of the file.
func Check(ctx context.Context, f *declared.File, live *Live, done func(Outcome)) []Outcome {
	var out []Outcome
	for _, e := range f.Examples {
		o := Outcome{Case: "example: " + e.Name, Verdict: Passed}
		if err := f.Play(ctx, e); err != nil {
			o.Verdict, o.Messages = Failed, lines(err)
		}
		done(o)
		out = append(out, o)
	}
	s := connectortest.Subject{Role: f.Role, Skip: f.Skip}
	if live != nil {
		return append(out, onLive(ctx, f, s, *live, done)...)
	}
	if _, has := f.Stage(); !has {
		s.Only, s.Otherwise = []string{}, "the file has no pretend server: write one under pretend, or try a live account with --live"
		return append(out, connectortest.Check(ctx, s, done)...)
	}
	s.New = func(t connectortest.T) connectortest.Server {
		stage, _ := f.Stage()
		t.Cleanup(func() {
			if err := stage.Err(); err != nil {
				t.Errorf("the pretend server: %v", err)
			}
		})
		return Server(f, stage)
	}
	return append(out, connectortest.Check(ctx, s, done)...)
}

func lines(err error) []string {
	if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the parts of a joined error, each on its line
		var out []string
		for _, e := range many.Unwrap() {
			out = append(out, lines(e)...)
		}
		return out
	}
	return []string{err.Error()}
}

// Server is a pretend server as the suite wants it. A hook that the file does not have is nil.
func Server(f *declared.File, stage *declared.Stage) connectortest.Server {
	s := connectortest.Server{
		Open: stage.Open, Transport: stage, Secrets: stage.Secrets(), Changes: stage.Changes, SKUs: stage.SKUs(), Refs: stage.Refs(),
		Writes: func(r *http.Request, _ []byte) bool { return declared.Writes(r.Context()) },
	}
	if event := stage.Event(); len(event) > 0 {
		bodySigned, isJSON := stage.EventForm()
		s.Sign, s.Event, s.BodyUnsigned, s.NotJSON = stage.Deliver, event, !bodySigned, !isJSON
		s.SignatureInBody = bodySigned && !isJSON
	}
	ref := func(r connectors.Ref) map[string]any { return map[string]any{"item": r.Item, "place": r.Place} }
	if stage.Has("receive") {
		s.Receive = func(sku string, q stock.Quantity) {
			stage.Change("receive", map[string]any{"sku": sku, "quantity": int(q)})
		}
	}
	if stage.Has("level") {
		s.Level = func(sku string) stock.Quantity {
			return stock.Quantity(stage.Ask("level", map[string]any{"sku": sku}))
		}
	}
	if stage.Has("order_count") {
		s.OrderCount = func() int { return stage.Ask("order_count", map[string]any{}) }
	}
	if stage.Has("ship") {
		s.ShipOrder = func(key string) stock.Quantity {
			return quantity(stage.Change("ship", map[string]any{"key": key}))
		}
	}
	if stage.Has("shown") {
		s.Shown = func(r connectors.Ref) stock.Quantity { return stock.Quantity(stage.Ask("shown", ref(r))) }
	}
	if stage.Has("sell") {
		s.Sell = func(r connectors.Ref, q stock.Quantity) string {
			with := ref(r)
			with["quantity"] = int(q)
			return fmt.Sprint(stage.Change("sell", with))
		}
	}
	if stage.Has("shipped") {
		s.Shipped = func(id string) stock.Quantity {
			return stock.Quantity(stage.Ask("shipped", map[string]any{"order_id": id}))
		}
	}
	return s
}

func quantity(v any) stock.Quantity {
	n, _ := v.(int)
	return stock.Quantity(n)
}

// onLive runs the suite against an account. What writes is not run unless that is allowed, and no request that writes
// leaves then.
func onLive(ctx context.Context, f *declared.File, s connectortest.Subject, live Live, done func(Outcome)) []Outcome {
	s.Serial = true
	if !live.Write {
		s.Only, s.Otherwise = reading, "it would write, or needs a hook that a live account has not: --write allows what writes"
	}
	known, err := stockOf(ctx, f, live)
	began, opened := time.Now().Unix(), 0 // the cases run one after the other
	s.New = func(t connectortest.T) connectortest.Server {
		if err != nil {
			t.Fatalf("the account cannot be read: %v", err)
		}
		known.Open = func(env connectors.Env) (connectors.Connection, error) {
			return f.Open(env, f.Role, live.Settings)
		}
		opened++
		known.OrderPrefix = fmt.Sprintf("%x.%d.", began, opened)
		known.Transport = &guard{next: live.Transport, write: live.Write}
		known.Writes = func(r *http.Request, _ []byte) bool { return declared.Writes(r.Context()) }
		for _, field := range f.Fields() {
			if v := live.Settings[field.Name]; field.Secret && v != "" && !slices.Contains(known.Secrets, v) {
				known.Secrets = append(known.Secrets, v)
			}
		}
		return known
	}
	return connectortest.Check(ctx, s, done)
}

// stockOf asks the account what it has.
func stockOf(ctx context.Context, f *declared.File, live Live) (connectortest.Server, error) {
	var s connectortest.Server
	conn, err := f.Open(connectors.Env{Transport: &guard{next: live.Transport}}, f.Role, live.Settings)
	if err != nil {
		return s, err
	}
	defer func() { _ = conn.Close() }()
	switch c := conn.(type) {
	case connectors.SystemOfRecord:
		page, err := c.Levels(ctx, "")
		for _, l := range page.Levels {
			if !slices.Contains(s.SKUs, l.SKU) && len(s.SKUs) < 2 {
				s.SKUs = append(s.SKUs, l.SKU)
			}
		}
		return s, err
	case connectors.Marketplace:
		page, err := c.Listings(ctx, "")
		for _, l := range page.Rows {
			s.Refs = append(s.Refs, l.Ref)
		}
		return s, err
	}
	return s, fmt.Errorf("%T is neither a marketplace nor a system of record", conn)
}

// guard keeps requests that write from leaving.
type guard struct {
	next  http.RoundTripper
	write bool
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if !g.write && declared.Writes(r.Context()) {
		return nil, errors.New("a request that writes was held back: it was not allowed")
	}
	if g.next == nil {
		own := http.DefaultTransport
		return own.RoundTrip(r)
	}
	return g.next.RoundTrip(r)
}
