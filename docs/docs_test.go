// Package docs_test holds the documentation to its word: what it shows can be read, and its links lead somewhere.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/truestock/truestock/config"
	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// root is the root of the module as seen from here.
const root = ".."

// TestExamplesWork reads every configuration and every mapping that the documentation shows, as truestock would.
func TestExamplesWork(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	anything := func(string) (string, bool) { return secret, true }

	// The example names secret files of a container; here they are elsewhere.
	secrets := t.TempDir()
	for _, name := range []string{"warehouse_token", "warehouse_webhooks", "shop_token", "shop_webhooks"} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(name, text string) {
		t.Helper()
		c, err := config.Parse(name, []byte(strings.ReplaceAll(text, "file:/run/secrets", "file:"+secrets)), anything)
		if err != nil {
			t.Errorf("%s shows a configuration that is refused:\n%v", name, err)
			return
		}
		for _, id := range c.Names() {
			n := c.Connections[id]
			if n.Connector != "open" {
				t.Errorf("%s: connection %s uses the connector %q; teach this test to open it", name, id, n.Connector)
				continue
			}
			if _, err := open.Info().Open(connectors.Env{Connection: id}, connectors.Role(n.Role), n.Settings.Reveal()); err != nil {
				t.Errorf("%s: connection %s cannot be opened: %v", name, id, err)
			}
		}
	}
	check("truestock.example.yaml", read(t, filepath.Join(root, "truestock.example.yaml")))
	for _, name := range []string{"README.md", "README.zh.md"} {
		text := read(t, filepath.Join(root, name))
		check(name, block(t, name, text, "yaml"))
		if _, errs := mapping.Parse(strings.NewReader(block(t, name, text, "csv")), mapping.Connections{stock.ConnectionID("shop")}); len(errs) > 0 {
			t.Errorf("%s shows a mapping that is refused: %v", name, errs)
		}
	}
}

// block returns the one code block of a language.
func block(t *testing.T, name, text, language string) string {
	t.Helper()
	parts := strings.Split(text, "\n```"+language+"\n")
	if len(parts) != 2 {
		t.Fatalf("%s has %d blocks of %s, want one", name, len(parts)-1, language)
	}
	code, _, closed := strings.Cut(parts[1], "\n```")
	if !closed {
		t.Fatalf("%s: the block of %s is not closed", name, language)
	}
	return code + "\n"
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinksLeadSomewhere follows every relative link of the documentation to a file or a folder.
func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		for _, found := range link.FindAllStringSubmatch(read(t, name), -1) {
			target, _, _ := strings.Cut(found[1], "#")
			if target == "" || strings.Contains(target, ":") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s links to %s, which is not there", name, target)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links == 0 {
		t.Fatal("found no link: the test does not see the documentation")
	}
}

var (
	namedTest   = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	definedTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
)

// TestSecurityNamesRealTests looks for every test that docs/security.md names.
func TestSecurityNamesRealTests(t *testing.T) {
	defined := make(map[string]bool)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		for _, found := range definedTest.FindAllStringSubmatch(read(t, name), -1) {
			defined[found[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := namedTest.FindAllStringSubmatch(read(t, "security.md"), -1)
	for _, found := range named {
		if !defined[found[1]] {
			t.Errorf("security.md names %s, and there is no such test", found[1])
		}
	}
	if len(named) < 30 {
		t.Errorf("security.md names %d tests: this test does not see them", len(named))
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
