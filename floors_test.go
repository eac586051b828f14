// Package truestock_test reads the imports of every Go file of the module and refuses those that go up. The table of
// floors below is the map of the house; docs/decisions/0001-floors-and-no-init.md tells why there is one.
package truestock_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/truestock/truestock"

// floors maps a package tree to its floor; the longest tree that contains a package decides. A file imports from the
// floors strictly below its own. "" is the root of the module.
var floors = map[string]int{
	"stock":          0,
	"connectors":     1,
	"config":         1,
	"plot":           1,
	"mapping":        2,
	"sync":           3,
	"store":          4,
	"web":            4,
	"connectors/all": 4,
	"cmd":            6,
	"bench":          6,
	"sync/simtest":   5, // the whole system in one process, for tests and the command simulate
	"docs":           6,
	"scenarios":      6,
	"":               6,
}

// testsOnly are the packages without code.
var testsOnly = []string{"", "docs", "scenarios"}

// namingFloor is the lowest floor, beside connectors/all, that may name single connectors.
const namingFloor = 5

// sharedByConnectors are the packages, beside floor 0, that the code of any connector may import.
var sharedByConnectors = []string{"connectors", "connectors/asksfirst", "connectors/bearer", "connectors/graphql", "connectors/rest", "connectors/signature", "connectors/standardwebhooks"}

// connectorMayImport are the further imports of single connectors.
var connectorMayImport = map[string][]string{
	"connectors/fake":                 {"connectors/open"}, // its shop and warehouse speak the open protocol and share its wire types
	"connectors/declared/conformance": {conformance},       // the suite for files, in the place of tests
	// Each starts a real system for tests.
	"connectors/vendure/vendurelive": {"connectors/realsystem"},
	"connectors/medusa/medusalive":   {"connectors/realsystem"},
	"connectors/tryton/trytonlive":   {"connectors/realsystem"},
}

// owners names the one tree that may import a library.
var owners = map[string]string{
	"gorm.io/":                               "store",
	"github.com/ncruces/go-sqlite3/gormlite": "store",
	"github.com/hashicorp/go-retryablehttp":  "connectors/rest",
	"github.com/nicholas-fedor/shoutrrr":     "connectors/notice",
}

const (
	conformance = "connectors/connectortest"
	engine      = "sync"
	engineName  = "stocksync"
)

func TestImportsGoDown(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped(d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		// Opened through os, so that the test cache notices a changed file. The output of `go list` would not be noticed.
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files++
		for _, violation := range violations(filepath.ToSlash(name), src) {
			t.Error(violation)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 2 {
		t.Fatalf("found %d Go files: the test does not run in the root of the module", files)
	}
}

func skipped(dir string) bool {
	return dir != "." && (strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_") || dir == "testdata" || dir == "node_modules")
}

// violations lists what one file breaks. name is its path from the root of the module, with slashes. A test file may
// import from any floor, because a test of a low floor runs against the real things above it; every other rule binds it.
func violations(name string, src []byte) []string {
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
	if err != nil {
		return []string{fmt.Sprintf("%s cannot be parsed: %v", name, err)}
	}
	pkg := path.Dir(name)
	if pkg == "." {
		pkg = ""
	}
	isTest := strings.HasSuffix(name, "_test.go")
	floor, known := floorOf(pkg)
	var found []string
	add := func(format string, args ...any) { found = append(found, name+": "+fmt.Sprintf(format, args...)) }
	if !known {
		add("the folder %s has no floor; give it one in the table of floors_test.go, or move the file", pkg)
		return found
	}
	if slices.Contains(testsOnly, pkg) && !isTest {
		add("the folder holds tests only; move the file into a package")
	}
	if !isTest {
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				add("declares func init; write a constructor and call it from cmd, connectors are listed in connectors/all")
			}
		}
	}
	for _, spec := range file.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			add("the import %s cannot be read: %v", spec.Path.Value, err)
			continue
		}
		as := ""
		if spec.Name != nil {
			as = spec.Name.Name
		}
		if problem := nameProblem(target, as); problem != "" {
			add("%s", problem)
		}
		if problem := importProblem(pkg, floor, isTest, target); problem != "" {
			add("%s", problem)
		}
	}
	return found
}

// nameProblem keeps the two packages called sync apart.
func nameProblem(target, as string) string {
	switch {
	case target == module+"/"+engine && as != engineName:
		return fmt.Sprintf("imports %s as %q; write %s %q", target, as, engineName, target)
	case target == "sync" && as != "":
		return fmt.Sprintf("renames the standard library's sync to %q; ours is %s, the standard one keeps its name", as, engineName)
	default:
		return ""
	}
}

// importProblem says why a file of pkg may not import target, or nothing.
func importProblem(pkg string, floor int, isTest bool, target string) string {
	for library, owner := range owners {
		if strings.HasPrefix(target+"/", library) && !within(pkg, owner) {
			return fmt.Sprintf("(floor %d) imports %s, which only %s may; ask for what you need through an interface of the floor that calls it", floor, target, owner)
		}
	}
	ours, isOurs := strings.CutPrefix(target, module+"/")
	switch {
	case isTest:
		return ""
	case !isOurs:
		if floor == 0 && strings.Contains(firstElement(target), ".") {
			return fmt.Sprintf("(floor 0) imports %s; floor 0 uses the standard library only: do it on a floor above", target)
		}
		return ""
	case ours == pkg:
		return ""
	case ours == conformance && !slices.Contains(connectorMayImport[pkg], ours):
		return fmt.Sprintf("(floor %d) imports %s, which is for tests; move the use to a _test.go file", floor, ours)
	}
	below, known := floorOf(ours)
	switch {
	case !known:
		return fmt.Sprintf("imports %s, a folder without a floor; give it one in the table of floors_test.go", ours)
	case isConnector(pkg):
		if below == 0 || connectorOf(ours) == connectorOf(pkg) || slices.Contains(sharedByConnectors, ours) || slices.Contains(connectorMayImport[pkg], ours) {
			return ""
		}
		return fmt.Sprintf("(floor %d, a connector) imports %s (floor %d); a connector sees stock and %s: translate, and leave the rest to the engine",
			floor, ours, below, strings.Join(sharedByConnectors, ", "))
	case isConnector(ours) && floor < namingFloor && pkg != "connectors/all":
		return fmt.Sprintf("(floor %d) imports the connector %s; only connectors/all, cmd and bench name connectors: use the interfaces of package connectors", floor, ours)
	case below < floor:
		return ""
	case below == floor && treeOf(pkg) == treeOf(ours):
		return ""
	case below == floor:
		return fmt.Sprintf("(floor %d) imports %s on the same floor; let the lower floor declare an interface, satisfy it here, and join the two in cmd", floor, ours)
	default:
		return fmt.Sprintf("(floor %d) imports %s (floor %d), which is above it; declare an interface here and let %s satisfy it", floor, ours, below, ours)
	}
}

// floorOf returns the floor of a package, by the longest tree that contains it.
func floorOf(pkg string) (int, bool) {
	floor, known := floors[treeOf(pkg)]
	return floor, known && (pkg == "" || treeOf(pkg) != "")
}

func treeOf(pkg string) string {
	longest := ""
	for tree := range floors {
		if tree != "" && within(pkg, tree) && len(tree) > len(longest) {
			longest = tree
		}
	}
	return longest
}

// within reports whether pkg is tree or lies in it.
func within(pkg, tree string) bool { return pkg == tree || strings.HasPrefix(pkg, tree+"/") }

// isConnector reports whether pkg belongs to the concrete packages beside the contract.
func isConnector(pkg string) bool {
	return strings.HasPrefix(pkg, "connectors/") && pkg != "connectors/all"
}

// connectorOf cuts the path of a package to the connector that it belongs to.
func connectorOf(pkg string) string {
	parts := strings.SplitN(pkg, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func firstElement(target string) string {
	head, _, _ := strings.Cut(target, "/")
	return head
}

// TestViolationsAreFound plants one violation per rule, so that the check above cannot go blind unnoticed.
func TestViolationsAreFound(t *testing.T) {
	ours := func(pkg string) string { return strconv.Quote(module + "/" + pkg) }
	importing := func(specs ...string) string {
		return "package x\n\nimport (\n\t" + strings.Join(specs, "\n\t") + "\n)\n"
	}
	tests := []struct {
		title, file, src string
		want             []string // parts of the one message; nil when the file is in order
	}{
		{"a floor below", "mapping/x.go", importing(ours("stock"), ours("connectors")), nil},
		{"a floor above", "mapping/x.go", importing(engineName + " " + ours("sync")),
			[]string{"mapping/x.go", "(floor 2)", "imports sync (floor 3)", "declare an interface"}},
		{"the words know nothing", "stock/x.go", importing(ours("connectors")), []string{"stock/x.go", "(floor 0)", "connectors (floor 1)"}},
		{"the words have no library", "stock/x.go", importing(`"golang.org/x/time/rate"`), []string{"standard library only"}},
		{"the words use the standard library", "stock/x.go", importing(`"encoding/json"`), nil},
		{"the same floor", "web/x.go", importing(ours("store")), []string{"(floor 4)", "imports store on the same floor", "join the two in cmd"}},
		{"config and connectors", "config/x.go", importing(ours("connectors")), []string{"(floor 1)", "same floor"}},
		{"the contract and its parts", "connectors/x.go", importing(ours("connectors/rest")), []string{"(floor 1)", "imports the connector connectors/rest"}},
		{"the same tree", "store/migrations/x.go", importing(ours("store/dialect")), nil},
		{"everything from the top", "cmd/truestock/x.go",
			importing(ours("store"), ours("web"), ours("connectors/all"), ours("connectors/fake"), engineName+" "+ours("sync")), nil},
		{"the simulation of it all", "sync/simtest/x.go", importing(ours("store"), ours("connectors/open"), engineName+" "+ours("sync")), nil},
		{"the simulation from the top", "cmd/truestock/x.go", importing(ours("sync/simtest")), nil},
		{"the simulation from below", "sync/x.go", importing(ours("sync/simtest")), []string{"(floor 3)", "imports sync/simtest (floor 5)"}},
		{"nothing imports the top", "web/x.go", importing(ours("cmd/truestock")), []string{"cmd/truestock (floor 6)"}},
		{"a connector and the shared part", "connectors/open/x.go", importing(ours("connectors"), ours("connectors/rest"), ours("stock")), nil},
		{"a connector and the configuration", "connectors/open/x.go", importing(ours("config")), []string{"a connector", "imports config"}},
		{"a connector and another", "connectors/open/x.go", importing(ours("connectors/vendure")), []string{"a connector", "connectors/vendure"}},
		{"the parts of one connector", "connectors/vendure/vendurelive/x.go", importing(ours("connectors/vendure")), nil},
		{"fake and open", "connectors/fake/x.go", importing(ours("connectors/open")), nil},
		{"open and fake", "connectors/open/x.go", importing(ours("connectors/fake")), []string{"connectors/fake"}},
		{"the engine names no connector", "sync/x.go", importing(ours("connectors/open")), []string{"(floor 3)", "imports the connector connectors/open"}},
		{"the list names connectors", "connectors/all/x.go", importing(ours("connectors/open"), ours("connectors")), nil},
		{"the list is above the engine", "sync/x.go", importing(ours("connectors/all")), []string{"connectors/all (floor 4)"}},
		{"conformance in code", "connectors/all/x.go", importing(ours(conformance)), []string{"is for tests"}},
		{"conformance of declared connectors", "connectors/declared/conformance/x.go", importing(ours(conformance), ours("connectors/declared")), nil},
		{"conformance in a test", "connectors/open/x_test.go", importing(ours(conformance)), nil},
		{"a test against the real store", "sync/x_test.go", importing(ours("store"), ours("connectors/fake")), nil},
		{"the engine without its name", "store/x.go", importing(ours("sync")), []string{"stocksync", `as ""`}},
		{"the engine under another name", "web/x_test.go", importing("engine " + ours("sync")), []string{"stocksync", `as "engine"`}},
		{"the standard sync renamed", "store/x.go", importing(`gosync "sync"`), []string{`"gosync"`, "keeps its name"}},
		{"both called sync", "store/x.go", importing(`"sync"`, engineName+" "+ours("sync")), nil},
		{"GORM in the store", "store/x.go", importing(`"gorm.io/gorm"`, `"github.com/ncruces/go-sqlite3/gormlite"`), nil},
		{"GORM in the engine", "sync/x.go", importing(`"gorm.io/gorm/clause"`), []string{"(floor 3)", "only store may"}},
		{"GORM in a test elsewhere", "web/x_test.go", importing(`"gorm.io/driver/postgres"`), []string{"only store may"}},
		{"the SQLite dialect elsewhere", "bench/x.go", importing(`"github.com/ncruces/go-sqlite3/gormlite"`), []string{"only store may"}},
		{"retryablehttp in rest", "connectors/rest/x.go", importing(`"github.com/hashicorp/go-retryablehttp"`), nil},
		{"retryablehttp in a connector", "connectors/open/x.go", importing(`"github.com/hashicorp/go-retryablehttp"`), []string{"only connectors/rest may"}},
		{"shoutrrr in notice", "connectors/notice/x.go", importing(`"github.com/nicholas-fedor/shoutrrr/pkg/router"`), nil},
		{"shoutrrr in the engine", "sync/x.go", importing(`"github.com/nicholas-fedor/shoutrrr"`), []string{"only connectors/notice may"}},
		{"init in code", "web/x.go", "package x\n\nfunc init() {}\n", []string{"func init", "constructor"}},
		{"init in a test", "web/x_test.go", "package x\n\nfunc init() {}\n", nil},
		{"a method called init", "web/x.go", "package x\n\ntype t struct{}\n\nfunc (t) init() {}\n", nil},
		{"a folder without a floor", "util/x.go", "package x\n", []string{"util", "has no floor"}},
		{"a folder that only begins like one", "stocks/x.go", "package x\n", []string{"stocks", "has no floor"}},
		{"an import without a floor", "web/x.go", importing(ours("util")), []string{"util", "without a floor"}},
		{"code in the root", "x.go", "package truestock\n", []string{"x.go", "tests only"}},
		{"code in the documentation", "docs/x.go", "package docs\n", []string{"docs/x.go", "tests only"}},
		{"a file that is no Go", "web/x.go", "pakage x\n", []string{"cannot be parsed"}},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			found := violations(tt.file, []byte(tt.src))
			if tt.want == nil {
				if len(found) > 0 {
					t.Fatalf("the file is in order, and yet: %q", found)
				}
				return
			}
			if len(found) != 1 {
				t.Fatalf("want one violation, found %q", found)
			}
			for _, part := range tt.want {
				if !strings.Contains(found[0], part) {
					t.Errorf("message %q does not say %q", found[0], part)
				}
			}
		})
	}
}

func TestEveryFloorExists(t *testing.T) {
	for tree := range floors {
		if _, err := os.Stat(filepath.FromSlash(tree + "/.")); tree != "" && err != nil {
			t.Errorf("the table of floors names %s, which is not there: remove the row", tree)
		}
	}
}
