// Package trytonlive starts a real Tryton for tests: the Debian packages, a database in SQLite that every test gets a copy
// of, on a free port of the loopback address. It is for tests only and knows nothing of the connector.
package trytonlive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/realsystem"
)

const (
	startTimeout   = 90 * time.Second
	prepareTimeout = 10 * time.Minute
	// python is Debian's: another one on the path does not see Debian's packages.
	python   = "/usr/bin/python3"
	database = "truestock"
	// fresh is the database before its first start.
	fresh = database + ".sqlite"
	// Customer is the code of the party to whom everything is sold.
	Customer = "SHOPS"
)

// ERP is a running Tryton. Its methods are safe for concurrent use and fail the test that they are given.
type ERP struct {
	// URL is the address of the server, Database the name of the database there.
	URL, Database string
	// Username and Password are those of the administrator, who may do everything.
	Username, Password string

	mu      sync.Mutex
	session string // the header Authorization

	ids sync.Map // what is looked up once, by the question
}

// Start starts a Tryton that ends with the test: a company, the warehouse that Tryton comes with, one customer, no
// products. It skips the test where Tryton is missing, and fails it in that case when TRUESTOCK_REQUIRE=all is set. The
// first start on a machine makes the database, which takes a minute; it stays in the user's cache folder.
func Start(t testing.TB) *ERP {
	t.Helper()
	realsystem.Need(t, "a real Tryton cannot be started", python, "trytond")
	s := &ERP{Database: database, Username: "admin", Password: "correct horse battery staple"}
	scripts := realsystem.Folder(t, "connectors", "tryton", "testdata")
	prepared, err := prepare(scripts, s.Password)
	if err != nil {
		t.Fatalf("make a database of Tryton: %v", err)
	}
	folder := t.TempDir()
	if err := copyFile(filepath.Join(folder, fresh), filepath.Join(prepared, fresh)); err != nil {
		t.Fatal(err)
	}
	server := script(context.Background(), scripts, "serve.py", folder)
	port := realsystem.Start(t, server, startTimeout)
	s.URL = "http://127.0.0.1:" + port
	return s
}

func script(ctx context.Context, folder, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, python, append([]string{"-W", "ignore", filepath.Join(folder, name)}, args...)...)
	c.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	return c
}

// prepare makes the database, once per version of Debian's packages and of our script.
func prepare(scripts, password string) (string, error) {
	hash := sha256.New()
	versions, err := exec.Command("dpkg-query", "--show", "tryton-*").Output()
	if err != nil {
		return "", fmt.Errorf("ask dpkg for the versions of Tryton: %w", err)
	}
	hash.Write(versions)
	for _, name := range []string{"prepare.py", "database.py", "passlib.ini"} {
		text, err := os.ReadFile(filepath.Join(scripts, name))
		if err != nil {
			return "", err
		}
		hash.Write(text)
	}
	return realsystem.Once("tryton-"+hex.EncodeToString(hash.Sum(nil)[:8]), func(work string) error {
		ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
		defer cancel()
		c := script(ctx, scripts, "prepare.py", work)
		c.Env = append(c.Env, "TRYTON_PASSWORD="+password)
		if output, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("prepare.py: %w\n%s", err, output)
		}
		return nil
	})
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if e := target.Close(); err == nil {
		err = e
	}
	return err
}
