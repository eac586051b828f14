package all_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/all"
)

var update = flag.Bool("update", false, "write the pages of docs/connectors anew")

// The page of every connector in docs/connectors is what its Info says.
func TestPages(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "connectors")
	pages := map[string]string{"README.md": index()}
	for _, info := range all.Registry() {
		pages[info.Name+".md"] = info.Page()
	}
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range pages {
		path := filepath.Join(dir, name)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not what the connector says (%v): go test ./connectors/all -update", path, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != len(pages) {
		t.Errorf("docs/connectors has %d files for %d pages (%v)", len(files), len(pages), err)
	}
}

func index() string {
	b := &strings.Builder{}
	b.WriteString("# Connectors\n\nThese pages are written by `go test ./connectors/all -update` from what each connector says of itself; " +
		"`truestock connectors` prints the same.\n\n| connector | roles | evidence |\n|---|---|---|\n")
	for _, i := range all.Registry() {
		var roles, proofs []string
		for _, r := range i.Roles {
			roles = append(roles, strings.ReplaceAll(string(r), "_", " "))
		}
		for _, p := range i.Guide.Strongest() {
			proofs = append(proofs, string(p))
		}
		b.WriteString("| [" + i.Title + "](" + i.Name + ".md) | " + strings.Join(roles, ", ") + " | " + strings.Join(proofs, ", ") + " |\n")
	}
	return b.String()
}

// Nothing is claimed without evidence, and the test that is named for it exists.
func TestEvidenceExists(t *testing.T) {
	for _, info := range all.Registry() {
		g := info.Guide
		if g.Versions == "" || len(g.Setup) == 0 || len(g.Can) == 0 || len(g.Evidence) == 0 {
			t.Errorf("%s: the guide lacks versions, setup, what it can, or evidence", info.Name)
		}
		for _, r := range info.Roles {
			if r == connectors.MarketplaceRole && len(g.Classes) == 0 || r == connectors.SystemOfRecordRole && len(g.Bases) == 0 {
				t.Errorf("%s: the guide does not say what a write or a number is as %s", info.Name, r)
			}
		}
		for _, e := range g.Evidence {
			if !testExists(t, e.Test) {
				t.Errorf("%s: there is no test %q", info.Name, e.Test)
			}
		}
	}
}

func testExists(t *testing.T, name string) bool {
	t.Helper()
	dir, test, ok := strings.Cut(name, " ")
	if !ok {
		return false
	}
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(test) + `\(`)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if declared.Match(source) {
			return true
		}
	}
	return false
}
