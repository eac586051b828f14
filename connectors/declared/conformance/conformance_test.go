package conformance_test

import (
	"testing"

	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/declared"
	"github.com/truestock/truestock/connectors/declared/conformance"
)

// The small example of the documentation plays its examples, and passes every case of the suite that applies.
func TestSmallExample(t *testing.T) {
	t.Parallel()
	f, err := declared.Load("../examples/small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, o := range conformance.Check(t.Context(), f, nil, func(connectortest.Outcome) {}) {
		switch o.Verdict {
		case connectortest.Failed:
			t.Errorf("%s: %q", o.Case, o.Messages)
		case connectortest.Skipped:
			t.Logf("%s: %q", o.Case, o.Messages)
		default:
			passed++
		}
	}
	if passed < 25 {
		t.Errorf("%d cases passed", passed)
	}
}
