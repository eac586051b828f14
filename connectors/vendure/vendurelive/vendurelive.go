// Package vendurelive starts a real Vendure shop for tests: installed from npm, everything in memory, on a free port of
// the loopback address. It is for tests only and knows nothing of the connector.
package vendurelive

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
	startTimeout = 90 * time.Second
	stopTimeout  = 5 * time.Second
	// installTimeout bounds npm, which also compiles the database driver where there is no binary for this machine.
	installTimeout = 10 * time.Minute
	logKept        = 64 << 10
)

// Shop is a running shop. Its methods are safe for concurrent use and fail the test that they are given.
type Shop struct {
	// AdminURL and ShopURL are the two GraphQL endpoints.
	AdminURL, ShopURL string
	// Username and Password are those of the administrator, who may do everything.
	Username, Password string
	// Variants are what the shop sells at the start: three, 10 of each on hand.
	Variants []Variant

	mu    sync.Mutex
	token string // of the administrator's session

	products sync.Map // from the id of a variant to that of its product
}

// Variant is one article of a shop.
type Variant struct{ ID, SKU, Name string }

// StartWithWebhooks starts a shop that ends with the test, with the truestock plugin, which posts its hints to url, signed
// with secret. It skips the test where node or npm is missing, and fails it in that case when TRUESTOCK_REQUIRE=all is set.
// The first start on a machine installs Vendure, which takes minutes; what is installed stays in the user's cache folder.
func StartWithWebhooks(t testing.TB, url, secret string) *Shop {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program+" is not installed; a real Vendure shop cannot be started")
		}
	}
	source := sourceFolder(t)
	modules, err := install(filepath.Join(source, "testdata", "shop"))
	if err != nil {
		t.Fatalf("install Vendure: %v", err)
	}
	s := &Shop{Username: "truestock-test", Password: "correct horse battery staple"}
	port := run(t, source, []string{
		"NODE_PATH=" + modules,
		"SHOP_USERNAME=" + s.Username,
		"SHOP_PASSWORD=" + s.Password,
		"SHOP_PLUGIN=" + filepath.Join(source, "plugin"),
		"SHOP_HOOK_URL=" + url,
		"SHOP_HOOK_SECRET=" + secret,
	})
	s.AdminURL = "http://127.0.0.1:" + port + "/admin-api"
	s.ShopURL = "http://127.0.0.1:" + port + "/shop-api"
	s.Variants = s.CreateVariants(t, 10, "TS-MUG", "TS-LAMP", "TS-CHAIR")
	return s
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("TRUESTOCK_REQUIRE") == "all" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// sourceFolder finds connectors/vendure from the folder of whichever package is tested.
func sourceFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "connectors", "vendure")
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the working folder: run the test from its package's folder")
		}
	}
}

// install has npm install what the folder's lock file names, once per lock file and version of node's binary interface,
// and returns the node_modules folder. An installation appears as a whole or not at all, so tests that start at the same
// time do not disturb each other.
func install(folder string) (string, error) {
	hash := sha256.New()
	abi, err := exec.Command("node", "-p", "process.versions.modules").Output()
	if err != nil {
		return "", fmt.Errorf("ask node for its version: %w", err)
	}
	hash.Write(abi)
	files := []string{"package.json", "package-lock.json", ".npmrc"}
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		hash.Write(text)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	parent := filepath.Join(cache, "truestock-test")
	target := filepath.Join(parent, "vendure-"+hex.EncodeToString(hash.Sum(nil)[:8]))
	modules := filepath.Join(target, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(parent, "installing-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(work, name), text, 0o644); err != nil {
			return "", err
		}
	}
	if err := npmInstall(work); err != nil {
		return "", err
	}
	err = os.Rename(work, target)
	if _, there := os.Stat(modules); there == nil {
		return modules, nil // ours, or that of a test that was faster
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

// run starts the server, waits until it is ready and returns its port.
func run(t testing.TB, source string, env []string) string {
	t.Helper()
	server := exec.Command("node", filepath.Join(source, "testdata", "shop", "server.js"))
	server.Env = append(os.Environ(), env...)
	server.Dir = t.TempDir()
	// The server ends when this pipe closes: with the test's cleanup, and with the test's death.
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
		t.Fatalf("start the shop: %v", err)
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
			t.Logf("the shop said:\n%s", log.text())
		}
	})
	select {
	case port := <-ready:
		return port
	case <-ended:
		t.Fatal("the shop ended before it was ready")
	case <-time.After(startTimeout):
		t.Fatalf("the shop was not ready after %s", startTimeout)
	}
	return ""
}

// watch copies the server's words to the log and picks out the port.
func watch(output io.Reader, log io.Writer, ready chan<- string) {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if port, found := strings.CutPrefix(lines.Text(), "READY "); found {
			ready <- port
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
