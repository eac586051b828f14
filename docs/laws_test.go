package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testName  = regexp.MustCompile(`^Test[A-Z]\w*$`)
	testFunc  = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	firstCell = regexp.MustCompile(`(?m)^\| ([a-z_]+) \|`)
)

// testsBelow are the names of the tests of packages.
func testsBelow(t *testing.T, folders ...string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no tests (%v)", folder, err)
		}
		for _, file := range files {
			for _, m := range testFunc.FindAllStringSubmatch(read(t, file), -1) {
				names[m[1]] = true
			}
		}
	}
	return names
}

// TestLawsAreKept checks that every law and every problem has a rule, is simulated or tested beside its rule, and is tested
// from outside, and that all that is named exists.
func TestLawsAreKept(t *testing.T) {
	simulated := map[string]bool{}
	for _, m := range firstCell.FindAllStringSubmatch(read(t, "correctness.md"), -1) {
		simulated[m[1]] = true
	}
	inside, outside := testsBelow(t, "sync", "store", "stock"), testsBelow(t, "cmd/truestock")
	want := map[string]bool{}
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14"} {
		want["L"+n] = true
	}
	for c := 'a'; c <= 'p'; c++ {
		want["4"+string(c)] = true
	}
	split := func(cell string) []string {
		return strings.FieldsFunc(cell, func(r rune) bool { return strings.ContainsRune(", ()", r) })
	}
	for line := range strings.Lines(read(t, "laws.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 5 || strings.HasPrefix(cells[0], "-") || slices.Contains([]string{"law", "problem"}, cells[0]) {
			continue
		}
		name := cells[0]
		if !want[name] {
			t.Errorf("%s stands twice, or is no law and no problem", name)
		}
		delete(want, name)
		for i, column := range []string{"name", "meaning", "rule", "simulation", "test"} {
			if cells[i] == "" {
				t.Errorf("%s has no %s", name, column)
			}
		}
		for _, file := range split(cells[2]) {
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: its rule is in %s: %v", name, file, err)
			}
		}
		for _, s := range split(cells[3]) {
			if testName.MatchString(s) && !inside[s] || !testName.MatchString(s) && !simulated[s] {
				t.Errorf("%s: %s is neither a fault or a planted bug of correctness.md nor a test of sync, store or stock", name, s)
			}
		}
		for _, s := range split(cells[4]) {
			if _, err := os.Stat(filepath.Join(root, "scenarios", s+".txtar")); err != nil && !outside[s] {
				t.Errorf("%s: %s is neither a test of cmd/truestock nor a scenario", name, s)
			}
		}
	}
	for name := range want {
		t.Errorf("%s is missing in laws.md", name)
	}
}
