package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/truestock/truestock/config"
)

func TestDirIsWhereTheFileIs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "truestock.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, os.LookupEnv)
	if err != nil || c.Dir() != dir {
		t.Errorf("%q, %v", c.Dir(), err)
	}
	if d := config.Default().Dir(); d != "." {
		t.Errorf("without a file: %q", d)
	}
}
