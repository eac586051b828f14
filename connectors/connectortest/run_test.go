package connectortest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors"
)

// A case that fails, skips, panics or ends is told as what it is, and what it registered is cleaned up.
func TestRunTellsWhatBecameOfACase(t *testing.T) {
	for name, tt := range map[string]struct {
		body func(T)
		want Verdict
		says string
	}{
		"passes":         {func(T) {}, Passed, ""},
		"fails":          {func(t T) { t.Errorf("the level is %d", 3) }, Failed, "the level is 3"},
		"ends":           {func(t T) { end := t.Fatal; end("no"); panic("goes on") }, Failed, "no"},
		"is skipped":     {func(t T) { t.Skipf("the fixture has no hook %s", "Sell"); panic("goes on") }, Skipped, "no hook Sell"},
		"panics":         {func(T) { panic("boom") }, Failed, "panic: boom"},
		"fails in parts": {func(t T) { t.Run("part", func(t T) { t.Fatal("broken") }) }, Failed, "part: broken"},
	} {
		cleaned := 0
		o := run(t.Context(), name, func(t T) {
			t.Cleanup(func() { cleaned++ })
			t.Cleanup(func() {
				if t.Context().Err() == nil {
					panic("the context outlives the case")
				}
				cleaned++
			})
			tt.body(t)
		})
		if o.Verdict != tt.want || !strings.Contains(strings.Join(o.Messages, "\n"), tt.says) || cleaned != 2 {
			t.Errorf("%s: %+v, cleaned %d", name, o, cleaned)
		}
	}
}

// Every case has an outcome, in the order of the suite, also when nothing can be opened.
func TestCheckTellsOfEveryCase(t *testing.T) {
	heard := 0
	s := Subject{Role: connectors.SystemOfRecordRole, Skip: map[string]string{"CloseIsFinal": "said so"}, New: func(T) Server {
		return Server{Transport: http.DefaultTransport, Open: func(connectors.Env) (connectors.Connection, error) {
			return nil, errors.New("it cannot be opened")
		}}
	}}
	outcomes := Check(t.Context(), s, func(Outcome) { heard++ })
	if heard != len(outcomes) || len(outcomes) < 20 || outcomes[0].Case != "ClaimsMatchMethods" {
		t.Fatalf("%d heard of %d: %+v", heard, len(outcomes), outcomes)
	}
	for _, o := range outcomes {
		want := Failed
		if o.Case == "CloseIsFinal" {
			want = Skipped
		}
		if o.Verdict != want || len(o.Messages) == 0 {
			t.Errorf("%+v", o)
		}
	}
	s.Only, s.Otherwise = []string{"ClaimsMatchMethods"}, "it would write"
	outcomes = Check(t.Context(), s, func(Outcome) {})
	if n := slices.IndexFunc(outcomes, func(o Outcome) bool { return o.Verdict == Failed }); n != 0 || outcomes[1].Messages[0] != "it would write" {
		t.Errorf("%+v", outcomes[:2])
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if outcomes := Check(ctx, s, func(Outcome) {}); outcomes[0].Verdict != Skipped {
		t.Errorf("%+v", outcomes[0])
	}
}
