// These tests drive the program as its users do: the built binary, over loopback HTTP and its command line, between the
// pretend shop and warehouse of connectors/fake. They see nothing of its insides.
package main_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/store/pgtest"
)

// patience is how long a test waits for something to become true: far longer than it takes, for machines that are busy.
const patience = 60 * time.Second

// The exit codes that docs/operations.md promises.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitLocked = 3
	exitNotMet = 4
)

// program is the binary under test.
var program string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "truestock-e2e-")
	if err != nil {
		return 1, fmt.Errorf("make a folder for the binary: %w", err)
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "truestock")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the binary: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newHouse(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		h.database = pgtest.URL(t)
		test(t, h)
	})
}

// house is one installation: a folder with a configuration, a database, and the pretend systems around it.
type house struct {
	t        *testing.T
	dir      string
	database string
	// listen is the server's address; empty takes any port.
	listen string
	// secret signs every webhook; token is an admin's, made at the first start.
	secret, token string
	// settings are lines for the top of the configuration, connections the blocks under connections.
	settings    []string
	connections []string
	shops       map[string]*fake.Shop
	warehouse   *fake.Warehouse
	// shopEvents limits what the shops send; nil is everything.
	shopEvents []string
	client     *http.Client
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &house{
		t: t, dir: dir, database: "sqlite:" + filepath.Join(dir, "truestock.db"), secret: newSecret(), shops: map[string]*fake.Shop{},
		settings: []string{
			// Polls are far apart, so that what happens at once happened because of a webhook.
			`timings: {look: 200ms, poll: 20s, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s}`,
			`reconcile: {schedule: ""}`,
		},
		client: &http.Client{Transport: transport, Timeout: patience},
	}
}

func newSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// connect adds a connection to the configuration; lines are further keys of it.
func (h *house) connect(name, role, settings string, lines ...string) {
	block := fmt.Sprintf("  %s:\n    connector: open\n    role: %s\n    settings: {%s}\n", name, role, settings)
	for _, l := range lines {
		block += "    " + l + "\n"
	}
	h.connections = append(h.connections, block)
}

// addWarehouse puts a pretend warehouse beside truestock, as the connection "warehouse".
func (h *house) addWarehouse(c fake.WarehouseConfig) *fake.Warehouse {
	h.t.Helper()
	h.warehouse = fake.NewWarehouse(c)
	h.t.Cleanup(h.warehouse.Close)
	h.connect("warehouse", "system_of_record", h.reach(h.warehouse))
	return h.warehouse
}

// addListener adds a warehouse that only sends webhooks: the test speaks for it.
func (h *house) addListener(basis string) {
	h.connect("warehouse", "system_of_record", fmt.Sprintf("levels: %s, webhook_secrets: %q", basis, h.secret))
}

// addShop puts a pretend shop beside truestock; lines are further keys of its connection.
func (h *house) addShop(name string, c fake.ShopConfig, lines ...string) *fake.Shop {
	h.t.Helper()
	c.Capabilities.ShopID = name
	c.Capabilities.ConditionalWrite, c.Capabilities.IdempotentWrite = true, true
	s := fake.NewShop(c)
	h.t.Cleanup(s.Close)
	h.shops[name] = s
	h.connect(name, "marketplace", h.reach(s), lines...)
	return s
}

// reach serves a pretend system and returns the settings of its connection.
func (h *house) reach(handler http.Handler) string {
	h.t.Helper()
	server, err := fake.Serve(handler)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = server.Close() })
	return fmt.Sprintf("base_url: %q, token: token, webhook_secrets: %q", server.URL, h.secret)
}

// configure writes the configuration file and returns its path.
func (h *house) configure() string {
	h.t.Helper()
	text := fmt.Sprintf("listen: %s\n", cmp.Or(h.listen, "127.0.0.1:0")) + fmt.Sprintf("database: {url: %q}\n", h.database) + strings.Join(h.settings, "\n") + "\n"
	if len(h.connections) > 0 {
		text += "connections:\n" + strings.Join(h.connections, "")
	}
	path := filepath.Join(h.dir, "truestock.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// server is a running truestock.
type server struct {
	h    *house
	cmd  *exec.Cmd
	url  string
	log  *output
	done chan struct{} // closed when the process has ended
}

// start starts the server, waits until it is ready, and points every pretend system's webhooks at it.
func (h *house) start() *server {
	h.t.Helper()
	s := h.launch(exec.Command(program, "serve", "--config", h.configure()))
	h.token = h.newToken("admin")
	h.aim(s)
	return s
}

// launch starts a command that serves, and waits until it is ready.
func (h *house) launch(cmd *exec.Cmd) *server {
	h.t.Helper()
	s := h.serve(cmd)
	if !s.ready() {
		h.t.Fatalf("the server ended with code %d:\n%s", s.code(), s.log)
	}
	return s
}

// serve starts a command that serves. The process ends with the test.
func (h *house) serve(cmd *exec.Cmd) *server {
	h.t.Helper()
	s := &server{h: h, cmd: cmd, log: &output{}, done: make(chan struct{})}
	cmd.Dir, cmd.Stderr, cmd.Stdout = h.dir, s.log, s.log
	if err := cmd.Start(); err != nil {
		h.t.Fatalf("start the server: %v", err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(s.done)
	}()
	h.t.Cleanup(func() {
		if h.t.Failed() {
			s.tell()
		}
		s.kill()
	})
	return s
}

// ready waits until the server is ready, or has ended.
func (s *server) ready() bool {
	s.h.t.Helper()
	s.h.eventually("the server is ready", func() error {
		if s.ended() {
			return nil
		}
		address := addressInLog.FindStringSubmatch(s.log.String())
		if address == nil {
			return errors.New("it does not listen")
		}
		s.url = "http://" + address[1]
		return s.wants(http.MethodGet, "/readyz", http.StatusOK)
	})
	return !s.ended()
}

var addressInLog = regexp.MustCompile(`msg=serving .*address=(\S+)`)

// aim points the webhooks of the pretend systems at a server.
func (h *house) aim(s *server) {
	h.t.Helper()
	send := func(name string, target interface{ SendWebhooks(fake.Target) error }, types []string) {
		err := target.SendWebhooks(fake.Target{URL: s.url + "/webhooks/" + name, Secret: h.secret, Types: types})
		if err != nil {
			h.t.Fatal(err)
		}
	}
	if h.warehouse != nil {
		send("warehouse", h.warehouse, nil)
	}
	for name, shop := range h.shops {
		send(name, shop, h.shopEvents)
	}
}

// tell logs what the server knows, for a test that failed.
func (s *server) tell() {
	if s.ended() {
		return
	}
	s.h.t.Logf("the end of the server's log:\n%s", s.log.tail(4000))
	for _, path := range []string{"/status", "/connections", "/incidents", "/listings?limit=20", "/events?state=parked&limit=20"} {
		if a, err := s.send(http.MethodGet, "/api/v1"+path, s.h.token, "", nil); err == nil {
			s.h.t.Logf("%s: %d %.4000s", path, a.status, a.body)
		}
	}
}

func (s *server) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// kill ends the process as a power cut would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended already
	<-s.done
}

// stop asks the process to end, and returns its exit code.
func (s *server) stop() int {
	s.h.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.h.t.Fatalf("signal the server: %v", err)
	}
	return s.code()
}

// code waits for the end of the process.
func (s *server) code() int {
	s.h.t.Helper()
	select {
	case <-s.done:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		s.h.t.Fatalf("the server has not ended after %s", patience)
		return -1
	}
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write adds to the output.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String is everything so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) tail(n int) string {
	text := o.String()
	return text[max(0, len(text)-n):]
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a command of the program to its end, with the house's configuration.
func (h *house) run(args ...string) result {
	h.t.Helper()
	return h.runWith(nil, args...)
}

func (h *house) runWith(stdin io.Reader, args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append(args, "--config", filepath.Join(h.dir, "truestock.yaml"))...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = h.dir, stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		h.t.Fatalf("run truestock %v: %v", args, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must runs a command that has to end with the code.
func (h *house) must(code int, args ...string) result {
	h.t.Helper()
	r := h.run(args...)
	if r.code != code {
		h.t.Fatalf("truestock %s ended with code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

func (h *house) newToken(scope string) string {
	h.t.Helper()
	return strings.TrimSpace(h.must(exitOK, "token", "create", "--scope", scope).stdout)
}

// eventually tries check until it returns nil.
func (h *house) eventually(what string, check func() error) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: not so after %s: %v", what, patience, err)
		}
		<-tick.C
	}
}

// answer is an HTTP answer, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request; the error is that of the network.
func (s *server) send(method, path, token, contentType string, body io.Reader) (answer, error) {
	req, err := http.NewRequest(method, s.url+path, body)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return s.h.do(req)
}

func (h *house) do(req *http.Request) (answer, error) {
	resp, err := h.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// wants checks the status of a request that carries nothing.
func (s *server) wants(method, path string, status int) error {
	a, err := s.send(method, path, "", "", nil)
	if err == nil && a.status != status {
		err = fmt.Errorf("%s %s answers %d, want %d: %s", method, path, a.status, status, a.body)
	}
	return err
}

// call calls the API as the admin.
func (s *server) call(method, path, contentType, body string) answer {
	s.h.t.Helper()
	a, err := s.send(method, "/api/v1"+path, s.h.token, contentType, strings.NewReader(body))
	if err != nil {
		s.h.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// get reads from the API.
func get[T any](s *server, path string) T {
	s.h.t.Helper()
	v, err := tryGet[T](s, path)
	if err != nil {
		s.h.t.Fatal(err)
	}
	return v
}

// tryGet reads from the API what may not be there yet.
func tryGet[T any](s *server, path string) (v T, err error) {
	a, err := s.send(http.MethodGet, "/api/v1"+path, s.h.token, "", nil)
	switch {
	case err != nil:
		return v, err
	case a.status != http.StatusOK:
		return v, fmt.Errorf("GET %s answers %d: %s", path, a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		return v, fmt.Errorf("GET %s: %w: %s", path, err, a.body)
	}
	return v, nil
}

// The views as protocol.md §4 has them, as far as tests look at them.
type (
	list[T any] struct {
		Data []T     `json:"data"`
		Next *string `json:"next"`
	}
	itemView struct {
		OnHand      int64 `json:"on_hand"`
		Committed   int64 `json:"committed"`
		Reserved    int64 `json:"reserved"`
		Unavailable int64 `json:"unavailable"`
		Available   int64 `json:"available"`
		ATP         int64 `json:"atp"`
	}
	listingView struct {
		Item       string `json:"item"`
		Target     *int64 `json:"target"`
		Generation int64  `json:"generation"`
		Published  *int64 `json:"published"`
		Confirmed  *int64 `json:"confirmed"`
		State      string `json:"state"`
		HeldReason string `json:"held_reason"`
	}
	eventView struct {
		ID     string `json:"id"`
		Key    string `json:"key"`
		Type   string `json:"type"`
		State  string `json:"state"`
		Reason string `json:"reason"`
		Body   string `json:"body"`
	}
	statusView struct {
		InboxPending int64 `json:"inbox_pending"`
		InboxParked  int64 `json:"inbox_parked"`
		Dirty        int64 `json:"dirty"`
		Unconfirmed  int64 `json:"unconfirmed"`
		Settled      bool  `json:"settled"`
	}
	receipt struct {
		ID        string `json:"id"`
		Duplicate bool   `json:"duplicate"`
	}
	incidentView struct {
		Kind    string `json:"kind"`
		Subject string `json:"subject"`
		Message string `json:"message"`
	}
)

// all reads every page of a list.
func all[T any](s *server, path string) []T {
	s.h.t.Helper()
	var rows []T
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	for cursor := ""; ; {
		page := get[list[T]](s, path+separator+"limit=1000"+cursor)
		rows = append(rows, page.Data...)
		if page.Next == nil {
			return rows
		}
		cursor = "&cursor=" + *page.Next
	}
}

// webhook is one delivery. Empty fields are filled in when it is sent.
type webhook struct {
	connection, id, body, secret string
	at                           time.Time
}

// request makes the signed request of a delivery, by the scheme of https://www.standardwebhooks.com, written out here so
// that no code is shared with the receiver.
func (s *server) request(w webhook) *http.Request {
	if w.secret == "" {
		w.secret = s.h.secret
	}
	if w.at.IsZero() {
		w.at = time.Now()
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(w.secret, "whsec_"))
	if err != nil {
		panic(err) // a secret of the test's own
	}
	stamp := fmt.Sprint(w.at.Unix())
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, w.id+"."+stamp+"."+w.body) // it never fails
	req, err := http.NewRequest(http.MethodPost, s.url+"/webhooks/"+w.connection, strings.NewReader(w.body))
	if err != nil {
		panic(err) // an address of the test's own
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("webhook-id", w.id)
	req.Header.Set("webhook-timestamp", stamp)
	req.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return req
}

// try delivers a webhook; the error is that of the network.
func (s *server) try(w webhook) (answer, error) { return s.h.do(s.request(w)) }

// deliver delivers a webhook that has to be stored.
func (s *server) deliver(connection, id, body string) receipt {
	s.h.t.Helper()
	a, err := s.try(webhook{connection: connection, id: id, body: body})
	if err != nil {
		s.h.t.Fatalf("deliver %s: %v", id, err)
	}
	r, err := accepted(a)
	if err != nil {
		s.h.t.Fatalf("deliver %s to %s: %v", id, connection, err)
	}
	return r
}

// accepted reads the answer to a webhook that was stored.
func accepted(a answer) (r receipt, err error) {
	if a.status != http.StatusAccepted {
		return r, fmt.Errorf("it is answered %d, want 202: %s", a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &r, json.RejectUnknownMembers(true)); err != nil || r.ID == "" {
		return r, fmt.Errorf("the answer %q is not {id, duplicate}: %w", a.body, err)
	}
	return r, nil
}

// settled waits until nothing is left to do.
func (s *server) settled() {
	s.h.t.Helper()
	s.h.eventually("everything is settled", func() error {
		status, err := tryGet[statusView](s, "/status")
		if err == nil && !status.Settled {
			err = fmt.Errorf("%+v", status)
		}
		return err
	})
}

// applied waits until every stored event is applied or parked.
func (s *server) applied() {
	s.h.t.Helper()
	s.h.eventually("every event is applied", func() error {
		status, err := tryGet[statusView](s, "/status")
		if err == nil && status.InboxPending > 0 {
			err = fmt.Errorf("%+v", status)
		}
		return err
	})
}

// shows waits until a listing of a pretend shop shows a quantity.
func (h *house) shows(shop, item string, want int64) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("%s shows %d of %s", shop, want, item), func() error {
		if got, ok := h.shops[shop].Quantity(item, ""); !ok || got != want {
			return fmt.Errorf("it shows %d", got)
		}
		return nil
	})
}

// imports imports a mapping, whose rows are without the header, over the API.
func (s *server) imports(rows ...string) {
	s.h.t.Helper()
	a := s.call(http.MethodPost, "/mappings/import", "text/csv", mappingCSV(rows...))
	if a.status != http.StatusOK {
		s.h.t.Fatalf("the mapping is answered %d: %s", a.status, a.body)
	}
}

func mappingCSV(rows ...string) string {
	return "connection,item,place,sku,units\n" + strings.Join(rows, "\n") + "\n"
}

// event is the body of a webhook.
func event(kind, data string) string {
	return fmt.Sprintf(`{"type":%q,"timestamp":%q,"data":%s}`, kind, instant(), data)
}

// instant is now, as the protocol writes it.
func instant() string { return time.Now().UTC().Format(time.RFC3339Nano) }

func levelEvent(sku string, quantity, position int64) string {
	return event("stock.level", fmt.Sprintf(`{"sku":%q,"location":"main","quantity":%d,"position":%d}`, sku, quantity, position))
}

func movedEvent(sku string, delta, position int64) string {
	return event("stock.moved", fmt.Sprintf(`{"sku":%q,"location":"main","delta":%d,"reason":"adjustment","position":%d,"occurred_at":%q}`, sku, delta, position, instant()))
}

// orderEvent is an order of one line.
func orderEvent(id string, version int64, item string, quantity, cancelled, shipped int64) string {
	return event("order.upserted", fmt.Sprintf(
		`{"order_id":%q,"version":%d,"placed_at":"2026-01-05T10:00:00Z","updated_at":%q,"status":"open","lines":[{"line_id":"1","item":%q,"quantity":%d,"cancelled":%d,"shipped":%d,"restocked":0}]}`,
		id, version, instant(), item, quantity, cancelled, shipped))
}
