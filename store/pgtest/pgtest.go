// Package pgtest gives tests and the benchmark an empty PostgreSQL database.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// ServerEnv names a server on which databases may be created, such as postgres://postgres@localhost:5432/postgres.
	ServerEnv = "TRUESTOCK_TEST_PG"
	// RequireEnv set to "all", turns a skip for something that is missing into a failure.
	RequireEnv = "TRUESTOCK_REQUIRE"

	startTimeout = 30 * time.Second
)

// URL returns the address of a fresh, empty database, which is dropped when the test ends; see Create. Without a server
// the test is skipped, or fails where TRUESTOCK_REQUIRE=all is set.
func URL(t testing.TB) string {
	t.Helper()
	address, drop, err := Create(context.Background())
	if missing, ok := errors.AsType[*MissingError](err); ok && os.Getenv(RequireEnv) != "all" {
		t.Skip(missing.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Error(err)
		}
	})
	return address
}

// Create makes a fresh, empty database and returns its address and what drops it. It lies on the server that
// TRUESTOCK_TEST_PG names, else on a private one that is started once per process, from the newest PostgreSQL that is
// installed. The error is a *MissingError where there is neither.
//
// The private server listens on a socket in a directory of its own and is durable as any other. A shell watches over
// it: it reads from a pipe that only this process holds, so when the process ends, however it ends, the shell stops the
// server and removes the directory.
func Create(ctx context.Context) (address string, drop func() error, err error) {
	server, err := serverURL()
	if err != nil {
		return "", nil, err
	}
	name := "truestock_test_" + token()
	if err := run(ctx, server, "CREATE DATABASE "+name); err != nil {
		return "", nil, err
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, fmt.Errorf("read the address of the test server: %w", err)
	}
	u.Path = "/" + name
	if os.Getenv(ServerEnv) == "" {
		return u.String(), func() error { return nil }, nil // the private server goes with all that it has
	}
	return u.String(), func() error {
		return run(context.WithoutCancel(ctx), server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	}, nil
}

func run(ctx context.Context, server, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("connect to the test server: %w", err)
	}
	_, err = conn.Exec(ctx, statement)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func token() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// serverURL is the server of this process.
var serverURL = sync.OnceValues(func() (string, error) {
	if u := os.Getenv(ServerEnv); u != "" {
		return u, nil
	}
	return start()
})

// MissingError says what has to be installed.
type MissingError struct{ what string }

// Error is what has to be installed, as a sentence.
func (e *MissingError) Error() string { return e.what }

// supervise runs the server until its own input ends.
const supervise = `
cd "$2"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=300 -c shared_buffers=128MB -c max_wal_size=2GB >"$2/log" 2>&1 &
server=$!
read -r _
kill -QUIT $server 2>/dev/null
wait $server
cd /
rm -rf "$2"
`

func start() (string, error) {
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "truestock-pg-")
	if err != nil {
		return "", fmt.Errorf("start PostgreSQL: %w", err)
	}
	identity, err := unprivileged(dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = dir, identity
	if out, err := initdb.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return "", fmt.Errorf("start PostgreSQL: initdb: %w\n%s", err, out)
	}
	if err := launch(bin, dir, initdb); err != nil {
		return "", err
	}
	server := (&url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres", RawQuery: url.Values{"host": {dir}}.Encode()}).String()
	return server, await(server, dir)
}

// lifeline is the write end of the pipe that keeps the server alive; it closes when the process ends.
//
//nolint:unused // It is held, not read: without it the collector would close the pipe.
var lifeline io.WriteCloser

func launch(bin, dir string, like *exec.Cmd) error {
	shell := exec.Command("/bin/sh", "-c", supervise, "sh", bin, dir)
	shell.Dir, shell.SysProcAttr = dir, like.SysProcAttr
	stdin, err := shell.StdinPipe()
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := shell.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	lifeline = stdin
	return nil
}

func await(server, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, server)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			return fmt.Errorf("start PostgreSQL: it does not answer: %w\n%s", err, log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// binaries finds the directory of initdb and postgres: in the path, else the newest of Debian's.
func binaries() (string, error) {
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if resolved, err := filepath.EvalSymlinks(initdb); err == nil {
			return filepath.Dir(resolved), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is well formed
	newest, version := "", -1
	for _, initdb := range found {
		var v int
		dir := filepath.Dir(initdb)
		if _, err := fmt.Sscanf(strings.TrimPrefix(dir, "/usr/lib/postgresql/"), "%d/bin", &v); err == nil && v > version {
			newest, version = dir, v
		}
	}
	if newest == "" {
		return "", &MissingError{"PostgreSQL is missing: set " + ServerEnv + " to a server, or install initdb and postgres"}
	}
	return newest, nil
}
