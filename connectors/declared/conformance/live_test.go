package conformance_test

import (
	"net/http"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/declared"
	"github.com/truestock/truestock/connectors/declared/conformance"
)

// A live account is only read, unless writing is allowed: what writes is skipped with the reason, and nothing that writes
// arrives there.
func TestLiveOnlyReads(t *testing.T) {
	t.Parallel()
	f, err := declared.Load("../examples/small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	account := func() *declared.Stage { s, _ := f.Stage(); return s }
	settings := connectors.Settings{"base_url": "https://erp.example/api", "token": "secret-token", "pace": "10000"}
	count := func(outcomes []conformance.Outcome) map[conformance.Verdict]int {
		n := map[conformance.Verdict]int{}
		for _, o := range outcomes {
			n[o.Verdict]++
			if o.Verdict == conformance.Failed || o.Verdict == conformance.Skipped && len(o.Messages) == 0 {
				t.Errorf("%s %s: %q", o.Verdict, o.Case, o.Messages)
			}
		}
		return n
	}
	there := account()
	n := count(conformance.Check(t.Context(), f, &conformance.Live{Settings: settings, Transport: there}, func(conformance.Outcome) {}))
	if there.Changes() != 0 || n[conformance.Passed] < 6 || n[conformance.Skipped] < 20 {
		t.Errorf("%d changes, %v", there.Changes(), n)
	}
	there = account()
	n = count(conformance.Check(t.Context(), f, &conformance.Live{Settings: settings, Transport: there, Write: true}, func(conformance.Outcome) {}))
	if there.Changes() == 0 || n[conformance.Passed] < 20 {
		t.Errorf("with --write: %d changes, %v", there.Changes(), n)
	}
}

// Wrong credentials are told as what they are, by every case that needs the account.
func TestLiveWithWrongCredentials(t *testing.T) {
	t.Parallel()
	f, err := declared.Load("../examples/small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var there http.RoundTripper
	there, _ = f.Stage()
	settings := connectors.Settings{"base_url": "https://erp.example/api", "token": "another-token"}
	failed := 0
	for _, o := range conformance.Check(t.Context(), f, &conformance.Live{Settings: settings, Transport: there}, func(conformance.Outcome) {}) {
		if o.Verdict == conformance.Failed {
			failed++
		}
	}
	if failed < 3 {
		t.Errorf("%d cases failed", failed)
	}
}
