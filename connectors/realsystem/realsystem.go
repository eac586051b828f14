// Package realsystem installs and starts real systems for tests: shops and ERPs from public package registries, as
// processes of their own that end with the test. It knows nothing of any of them, and is for tests only.
package realsystem

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	stopTimeout = 5 * time.Second
	// installTimeout bounds npm, which also compiles what has no binary for this machine.
	installTimeout = 10 * time.Minute
	logKept        = 64 << 10
)

// Need skips the test where one of the programs is not installed, and fails it in that case when TRUESTOCK_REQUIRE=all is
// set. what says what cannot be done without them.
func Need(t testing.TB, what string, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			Missing(t, program+" is not installed; "+what)
		}
	}
}

// Missing skips the test for the reason given, and fails it instead when TRUESTOCK_REQUIRE=all is set.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("TRUESTOCK_REQUIRE") == "all" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Folder finds a folder of this repository, from the folder of whichever package is tested.
func Folder(t testing.TB, elements ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(append([]string{dir}, elements...)...)
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the working folder: run the test from its package's folder")
		}
	}
}

// NPM has npm install what the lock file of the folder names, beside package.json, package-lock.json and .npmrc, once per
// lock file and version of node's binary interface, and returns the node_modules folder in the user's cache folder. An
// installation appears as a whole or not at all, so tests that start at the same time do not disturb each other.
func NPM(name, folder string) (modules string, err error) {
	hash := sha256.New()
	abi, err := exec.Command("node", "-p", "process.versions.modules").Output()
	if err != nil {
		return "", fmt.Errorf("ask node for its version: %w", err)
	}
	hash.Write(abi)
	files := []string{"package.json", "package-lock.json", ".npmrc"}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			return "", err
		}
		hash.Write(text)
	}
	target, err := Once(name+"-"+hex.EncodeToString(hash.Sum(nil)[:8]), func(work string) error {
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join(folder, file))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(work, file), text, 0o644); err != nil {
				return err
			}
		}
		return npmInstall(work)
	})
	return filepath.Join(target, "node_modules"), err
}

// Once makes a folder of the user's cache folder by make, which fills an empty folder, unless it is there already. The
// folder appears as a whole or not at all.
func Once(name string, make func(work string) error) (target string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	parent := filepath.Join(cache, "truestock-test")
	target = filepath.Join(parent, name)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(parent, "installing-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := make(work); err != nil {
		return "", err
	}
	err = os.Rename(work, target)
	if _, there := os.Stat(target); there == nil {
		return target, nil // ours, or that of a test that was faster
	}
	return "", err
}

func npmInstall(folder string) error {
	npm := exec.Command("npm", "ci")
	npm.Dir = folder
	var output bytes.Buffer
	npm.Stdout, npm.Stderr = &output, &output
	if err := npm.Start(); err != nil {
		return err
	}
	timer := time.AfterFunc(installTimeout, func() { _ = npm.Process.Kill() })
	defer timer.Stop()
	if err := npm.Wait(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", folder, err, tail(output.Bytes()))
	}
	return nil
}

// Start starts a server that ends with the test, and returns what follows READY in the line by which it says that it is
// ready. The server must end when its standard input closes, so that it dies with the test however that ends. What it
// said is logged when the test fails.
func Start(t testing.TB, server *exec.Cmd, timeout time.Duration) string {
	t.Helper()
	input, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	server.Stderr = log
	if err := server.Start(); err != nil {
		t.Fatalf("start %s: %v", server, err)
	}
	ready := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watch(output, log, ready)
		_ = server.Wait()
	}()
	t.Cleanup(func() {
		_ = input.Close()
		select {
		case <-ended:
		case <-time.After(stopTimeout):
			_ = server.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", server.Path, log.text())
		}
	})
	select {
	case said := <-ready:
		return said
	case <-ended:
		t.Fatalf("%s ended before it was ready", server)
	case <-time.After(timeout):
		t.Fatalf("%s was not ready after %s", server, timeout)
	}
	return ""
}

// watch copies the server's words to the log and picks out what it says of being ready.
func watch(output io.Reader, log io.Writer, ready chan<- string) {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if said, found := strings.CutPrefix(lines.Text(), "READY "); found {
			select {
			case ready <- said:
			default:
			}
			continue
		}
		_, _ = fmt.Fprintln(log, lines.Text())
	}
	if err := lines.Err(); err != nil && !errors.Is(err, fs.ErrClosed) {
		_, _ = fmt.Fprintln(log, err)
	}
	_, _ = io.Copy(io.Discard, output)
}

// logBuffer keeps the last of what is written to it.
type logBuffer struct {
	mu   sync.Mutex
	kept []byte
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = append(b.kept, p...)
	b.kept = tail(b.kept)
	return len(p), nil
}

func (b *logBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.kept)
}

func tail(text []byte) []byte { return text[max(0, len(text)-logKept):] }
