package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/truestock/truestock/store/pgtest"
)

// TestMain lets the test binary be the processes that the benchmark starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == loadPart || os.Args[1] == comparePart || os.Args[1] == hourPart) {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestMeasures runs everything but the building of truestock, small: that the product still does what is measured. The
// measurements themselves fail when a webhook is refused, an order leads to no write, or a shop ends with a wrong number.
func TestMeasures(t *testing.T) {
	b := &bench{
		dir: t.TempDir(), report: newProgress(t.Output()), result: result{Details: map[string]float64{}},
		size: size{
			ingestRounds: 1, ingestRequests: 500, pushRounds: 2, pushOrders: 60, flowSKUs: 300, flowRounds: 2, flowEvents: 600,
			compareRows: 2000, compareRounds: 1, hourListings: 20, hourRounds: 1,
		},
	}
	for _, m := range measurements {
		if m.name == "ready" {
			continue
		}
		if err := m.measure(b, t.Context()); err != nil {
			t.Fatalf("measure %s: %v", m.name, err)
		}
	}
	for name, value := range map[string]*float64{
		"ingest_ratio_sqlite": b.result.IngestRatioSQLite, "push_p99_ms": b.result.PushP99, "end_to_end_events_per_s": b.result.EndToEnd,
		"reconcile_ratio": b.result.ReconcileRatio, "simulated_hour_s": b.result.SimulatedHour,
	} {
		if value == nil || *value <= 0 {
			t.Errorf("%s was not measured", name)
		}
	}
	if b.result.IngestRatioPostgres == nil {
		if os.Getenv(pgtest.RequireEnv) == "all" {
			t.Error("ingest_ratio_postgres was not measured")
		}
		t.Skip("PostgreSQL is missing: ingest_ratio_postgres was not measured")
	}
}

func TestResultAsJSONNamesEveryFigure(t *testing.T) {
	var out bytes.Buffer
	if err := (result{Ready: new(12.5), Details: map[string]float64{"part": 1}}).print(&out, "json"); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, b := range bars {
		value, found := got[b.name]
		if !found {
			t.Errorf("%s is missing", b.name)
		}
		if b.name == "ready_ms" && value != 12.5 || b.name != "ready_ms" && value != nil {
			t.Errorf("%s is %v", b.name, value)
		}
	}
}

func TestQuantile(t *testing.T) {
	if quantile(nil, 0.5) != nil {
		t.Error("nothing has a median")
	}
	values := []float64{5, 1, 4, 2, 3}
	for share, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := *quantile(values, share); got != want {
			t.Errorf("quantile %g is %g, want %g", share, got, want)
		}
	}
	if values[0] != 5 {
		t.Error("the values were reordered")
	}
}

func TestRounded(t *testing.T) {
	for value, want := range map[float64]float64{0: 0, 0.123456: 0.1235, 12345.6: 12350, 7: 7, 99.996: 100} {
		if got := rounded(value); got != want {
			t.Errorf("rounded(%g) is %g, want %g", value, got, want)
		}
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-output", "xml"}, {"-only", "speed"}, {"more"}} {
		err := run(t.Context(), args, strings.NewReader(""), t.Output(), t.Output())
		if err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}
