package main_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func exampleFile(t *testing.T, name, old, replacement string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "connectors", "declared", "examples", "small.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%q does not stand in the example", old)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, replacement, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file that declares a system is checked line by line: what passes, what fails with what differs, and what is refused.
func TestCheckOfADeclaredConnector(t *testing.T) {
	t.Parallel()
	h := &house{t: t, dir: t.TempDir()}
	r := h.must(exitOK, "check", "--connector", exampleFile(t, "good.yaml", "", ""))
	for _, line := range []string{"passed   example: levels on two pages\n", "passed   CreateOrderTwiceCreatesOne\n", "skipped  MovementsInOrder\n         the system of record has no positions\n", " 0 failed, "} {
		if !strings.Contains(r.stdout, line) {
			t.Errorf("the output lacks %q:\n%s", line, r.stdout)
		}
	}
	// An order that is not looked up, and not refused the second time, is created twice.
	twice := exampleFile(t, "twice.yaml", "    result: |\n      .order | if . == null then null else", "    result: |\n      null | if . == null then null else")
	r = h.must(exitNotMet, "check", "--connector", twice, "--output", "json")
	var view struct {
		Failed int
		Cases  []struct {
			Case, Verdict string
			Messages      []string
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &view); err != nil || view.Failed == 0 {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	for _, c := range view.Cases {
		if c.Case == "CreateOrderTwiceCreatesOne" && (c.Verdict != "failed" || len(c.Messages) == 0) {
			t.Errorf("%+v", c)
		}
	}
	r = h.must(exitUsage, "check", "--connector", exampleFile(t, "bad.yaml", "ok: .status == \"ok\"", "ok: .status =="))
	if !strings.Contains(r.stderr, "bad.yaml:") || !strings.Contains(r.stderr, "answers.ok: the jq expression is wrong") {
		t.Error(r.stderr)
	}
	h.must(exitUsage, "check", "--live")
	h.must(exitUsage, "check", "shop", "--connector", twice)
}

// A connection names its file from where the configuration is, and takes the settings that the file declares.
func TestDeclaredConnection(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	text, err := os.ReadFile(exampleFile(t, "x.yaml", "", ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "small.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer a-canary-token" {
			_, _ = w.Write([]byte(`{"status":"error","code":"TOKEN","text":"no"}`))
			return
		}
		_, _ = w.Write([]byte(`{"status":"ok","total":2,"more":false,"stock":[{"article":"TEA","pieces":1},{"article":"CUP","pieces":2}],"articles":[{"number":"TEA","title":"a"},{"number":"CUP","title":"b"}]}`))
	}))
	t.Cleanup(there.Close)
	h.connections = append(h.connections, "  erp:\n    connector: declared\n    role: system_of_record\n    settings: {file: small.yaml, base_url: \""+there.URL+"\", token: a-canary-token}\n")
	h.configure()
	h.must(exitOK, "check", "erp")
	r := h.must(exitOK, "check", "--connector", filepath.Join(h.dir, "small.yaml"), "--live")
	if !strings.Contains(r.stdout, "passed   LevelsCoverEveryItem\n") || !strings.Contains(r.stdout, "skipped  CreateOrderTwiceCreatesOne\n") || strings.Contains(r.stdout+r.stderr, "canary") {
		t.Error(r.stdout, r.stderr)
	}
}
