package declared_test

import (
	"path/filepath"
	"testing"

	"github.com/truestock/truestock/connectors/declared"
)

func load(t testing.TB, name string) *declared.File {
	t.Helper()
	f, err := declared.Load(filepath.Join("examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The exchanges in the files are sent as they stand there, signatures included.
func TestExamplesPlay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("examples", "*.yaml"))
	if err != nil || len(files) < 1 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		f := load(t, filepath.Base(path))
		if len(f.Examples) < 2 {
			t.Errorf("%s has %d examples", path, len(f.Examples))
		}
		for _, e := range f.Examples {
			if err := f.Play(t.Context(), e); err != nil {
				t.Errorf("%s: %s: %v", path, e.Name, err)
			}
		}
	}
}
