// Package scenarios_test runs the scenario files of this folder against the real binary: a warehouse and shops speak real
// HTTP to a running truestock, and each file tells, in a merchandiser's words, what must be shown then. README.md lists the
// words that a file may use.
package scenarios_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/itchyny/gojq"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/rogpeppe/go-internal/testscript"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// patience is how long a scenario waits for what must come.
const patience = 60 * time.Second

var updateScripts = flag.Bool("update", false, "rewrite the outputs that scenario files compare with")

func TestScenarios(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "truestock")
	build := exec.Command("go", "build", "-o", binary, "../cmd/truestock")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir: ".", UpdateScripts: *updateScripts, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			s := &scene{dir: env.WorkDir, binary: binary, secret: newSecret(), shops: map[string]*fake.Shop{}, receivers: map[string]*receiver{}, client: &http.Client{Timeout: patience}}
			env.Values[sceneKey{}] = s
			s.setDays(env)
			env.Defer(s.close)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"warehouse": act(1, (*scene).addWarehouse), "shop": act(1, (*scene).addShop), "oldshop": act(1, (*scene).addOldShop), "endlessshop": act(1, (*scene).addEndlessShop), "config": act(1, (*scene).addConfig),
			"serve": act(0, (*scene).serve), "crash": act(0, (*scene).stop),
			"buy": check(3, (*scene).buy), "cancel": act(2, (*scene).cancel), "ship": act(0, (*scene).ship), "receive": act(2, (*scene).receive), "lose": act(2, (*scene).lose),
			"pause": act(1, (*scene).wait), "settled": act(0, (*scene).settled), "days": act(1, (*scene).days),
			"shows": check(3, (*scene).shows), "truestock": check(1, (*scene).run), "api": check(2, (*scene).api), "until": act(4, (*scene).until),
			"listens": act(1, (*scene).addReceiver), "told": act(2, (*scene).told), "silence": act(1, (*scene).silence),
			"field": act(2, (*scene).field), "soon": act(2, (*scene).soon),
		},
	})
}

// setDays sets $ZONE to a zone in which it is about noon, so that no day ends while a scenario runs, and $DAY2 to the
// beginning of its day before yesterday.
func (s *scene) setDays(env *testscript.Env) {
	now := time.Now().UTC()
	east := 12 - now.Hour() // the names of these zones count westwards
	env.Setenv("ZONE", fmt.Sprintf("Etc/GMT%+d", -east))
	zone := time.FixedZone("noon", east*3600)
	year, month, day := now.In(zone).Date()
	for n := range 10 {
		env.Setenv(fmt.Sprintf("DAY%d", n), time.Date(year, month, day-n, 0, 0, 0, 0, zone).UTC().Format(time.RFC3339))
	}
}

// scene is one installation with the pretend systems around it.
type scene struct {
	dir, binary, secret, token string

	warehouse *fake.Warehouse
	shops     map[string]*fake.Shop
	config    []string
	blocks    []string
	mapping   []string
	receivers map[string]*receiver
	servers   []io.Closer

	process *exec.Cmd
	log     lockedBuffer
	url     string
	client  *http.Client
	// last is the newest output of truestock and api.
	last string
}

type sceneKey struct{}

// act makes a word that must succeed.
func act(least int, do func(*scene, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return check(least, func(s *scene, ts *testscript.TestScript, args []string) error {
		if err := do(s, ts, args); err != nil {
			s.tell(ts)
			ts.Fatalf("%v", err)
		}
		return nil
	})
}

// check makes a word that may be expected to fail, with a ! before it.
func check(least int, do func(*scene, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) < least {
			ts.Fatalf("this word takes at least %d arguments", least)
		}
		s := ts.Value(sceneKey{}).(*scene)
		switch err := do(s, ts, args); {
		case err != nil && !neg:
			s.tell(ts)
			ts.Fatalf("%v", err)
		case err == nil && neg:
			ts.Fatalf("this should have been refused")
		case err != nil:
			ts.Logf("refused: %v", err)
		}
	}
}

func newSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// addWarehouse: warehouse SKU=QUANTITY[@LOCATION]...
func (s *scene) addWarehouse(_ *testscript.TestScript, args []string) error {
	s.warehouse = fake.NewWarehouse(fake.WarehouseConfig{Seed: 1, Capabilities: open.RecordCapabilities{Name: "warehouse", Levels: fake.OnHand, Positions: true, CompleteLevels: true, OrderAmend: true, Corrections: true}})
	for _, a := range args {
		sku, rest, ok := strings.Cut(a, "=")
		text, location, _ := strings.Cut(rest, "@")
		quantity, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil {
			return fmt.Errorf("%q is not SKU=QUANTITY", a)
		}
		if location == "" {
			location = "main"
		}
		s.warehouse.AddItem(open.Item{SKU: sku, Name: sku})
		if err := s.warehouse.SetOpening(sku, location, quantity); err != nil {
			return err
		}
	}
	return s.reach("warehouse", "system_of_record", s.warehouse)
}

// addShop: shop NAME ITEM[=SKU*UNITS[+SKU*UNITS]]...
func (s *scene) addShop(_ *testscript.TestScript, args []string) error {
	return s.openShop(args, open.MarketplaceCapabilities{ConditionalWrite: true, IdempotentWrite: true, Shipments: true, StopSale: true, Remedies: true, BatchSize: 50})
}

// addOldShop is addShop of a shop that neither stops listings nor takes remedies.
func (s *scene) addOldShop(_ *testscript.TestScript, args []string) error {
	return s.openShop(args, open.MarketplaceCapabilities{ConditionalWrite: true, IdempotentWrite: true, Shipments: true, BatchSize: 50})
}

// addEndlessShop is addShop of a shop that can show a listing without a limit.
func (s *scene) addEndlessShop(_ *testscript.TestScript, args []string) error {
	return s.openShop(args, open.MarketplaceCapabilities{ConditionalWrite: true, IdempotentWrite: true, Shipments: true, StopSale: true, Unlimited: true, BatchSize: 50})
}

func (s *scene) openShop(args []string, can open.MarketplaceCapabilities) error {
	name := args[0]
	can.ShopID = name
	shop := fake.NewShop(fake.ShopConfig{Seed: 2, Capabilities: can})
	s.shops[name] = shop
	for _, a := range args[1:] {
		item, parts, ok := strings.Cut(a, "=")
		if !ok {
			parts = item
		}
		shop.AddListing(open.Listing{Item: item, Title: item})
		for part := range strings.SplitSeq(parts, "+") {
			sku, units, ok := strings.Cut(part, "*")
			if !ok {
				units = "1"
			}
			s.mapping = append(s.mapping, fmt.Sprintf("%s,%s,,%s,%s", name, item, sku, units))
		}
	}
	return s.reach(name, "marketplace", shop)
}

// addConfig: config LINE... adds lines to the top of the configuration.
func (s *scene) addConfig(_ *testscript.TestScript, args []string) error {
	s.config = append(s.config, args...)
	return nil
}

func (s *scene) reach(name, role string, handler http.Handler) error {
	server, err := fake.Serve(handler)
	if err != nil {
		return err
	}
	s.servers = append(s.servers, server)
	s.blocks = append(s.blocks, fmt.Sprintf("  %s:\n    connector: open\n    role: %s\n    settings: {base_url: %q, token: token, webhook_secrets: %q}\n", name, role, server.URL, s.secret))
	return nil
}

// serve starts truestock; the first time it imports the mapping, and waits until nothing is left to do.
func (s *scene) serve(ts *testscript.TestScript, _ []string) error {
	text := "listen: 127.0.0.1:0\ndatabase: {url: \"sqlite:truestock.db\"}\nreconcile: {schedule: \"\"}\n" +
		"timings: {look: 100ms, poll: 1s, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s}\n" +
		strings.Join(s.config, "\n") + s.notices() + "\nconnections:\n" + strings.Join(s.blocks, "")
	if err := os.WriteFile(s.file(), []byte(text), 0o600); err != nil {
		return err
	}
	s.process = exec.Command(s.binary, "serve", "--config", s.file())
	s.process.Dir, s.process.Stdout, s.process.Stderr = s.dir, &s.log, &s.log
	s.log.Reset()
	if err := s.process.Start(); err != nil {
		return err
	}
	address := regexp.MustCompile(`msg=serving .*address=(\S+)`)
	err := s.eventually(func() error {
		m := address.FindStringSubmatch(s.log.String())
		if m == nil {
			return errors.New("truestock does not listen")
		}
		s.url = "http://" + m[1]
		resp, err := s.client.Get(s.url + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz answers %s", resp.Status)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.token == "" {
		if err := s.begin(ts); err != nil {
			return err
		}
	}
	aim := func(name string, to interface{ SendWebhooks(fake.Target) error }) error {
		return to.SendWebhooks(fake.Target{URL: s.url + "/webhooks/" + name, Secret: s.secret})
	}
	if s.warehouse != nil {
		if err := aim("warehouse", s.warehouse); err != nil {
			return err
		}
	}
	for name, shop := range s.shops {
		if err := aim(name, shop); err != nil {
			return err
		}
	}
	return s.settled(ts, nil)
}

// begin makes a token and imports the mapping.
func (s *scene) begin(ts *testscript.TestScript) error {
	if err := s.run(ts, []string{"token", "create", "--name", "scenario", "--scope", "admin", "--output", "json"}); err != nil {
		return err
	}
	var made struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal([]byte(s.last), &made); err != nil {
		return err
	}
	s.token = made.Token
	if len(s.mapping) == 0 {
		return nil
	}
	_, err := s.ask(http.MethodPost, "/mappings/import", "text/csv", "connection,item,place,sku,units\n"+strings.Join(s.mapping, "\n")+"\n")
	return err
}

// stop ends truestock as a power cut would.
func (s *scene) stop(*testscript.TestScript, []string) error {
	if s.process == nil {
		return nil
	}
	_ = s.process.Process.Kill() // it may have ended already
	_ = s.process.Wait()
	s.process = nil
	return nil
}

func (s *scene) close() {
	_ = s.stop(nil, nil)
	for _, c := range s.servers {
		_ = c.Close()
	}
	for _, shop := range s.shops {
		shop.Close()
	}
	if s.warehouse != nil {
		s.warehouse.Close()
	}
}

func (s *scene) file() string { return filepath.Join(s.dir, "truestock.yaml") }

// receiver takes webhooks of notices, as a seller's own system would: it verifies each with the library of another maker.
type receiver struct {
	url    string
	secret string
	mu     sync.Mutex
	seen   map[string]bool
	got    []string // the envelopes that told has not asked for yet
	bad    error
}

// ServeHTTP takes a delivery; one that it has already it does not take twice.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	verifier, bad := svix.NewWebhook(r.secret)
	if err == nil && bad == nil {
		err = verifier.Verify(body, req.Header)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(err, bad); err != nil {
		r.bad = err
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if id := req.Header.Get("Webhook-Id"); !r.seen[id] {
		r.seen[id] = true
		r.got = append(r.got, string(body))
	}
	w.WriteHeader(http.StatusNoContent)
}

// addReceiver: listens NAME starts a system that takes signed webhooks, and makes it a target of notices.
func (s *scene) addReceiver(_ *testscript.TestScript, args []string) error {
	r := &receiver{secret: newSecret(), seen: map[string]bool{}}
	server, err := fake.Serve(r)
	if err != nil {
		return err
	}
	s.servers = append(s.servers, server)
	r.url = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	s.receivers[args[0]] = r
	return nil
}

// notices is the part of the configuration that names the receivers.
func (s *scene) notices() string {
	if len(s.receivers) == 0 {
		return ""
	}
	var targets []string
	for name, r := range s.receivers {
		targets = append(targets, fmt.Sprintf("%s: {url: %q, secret: %q}", name, r.url, r.secret))
	}
	return "\nnotices: {allow: [localhost], targets: {" + strings.Join(targets, ", ") + "}}"
}

// told: told NAME TYPE waits until the system was told something of the type; field then looks at it.
func (s *scene) told(ts *testscript.TestScript, args []string) error {
	r := s.receivers[args[0]]
	if r == nil {
		return fmt.Errorf("no system called %s listens", args[0])
	}
	return s.eventually(func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i, body := range r.got {
			if err := matches(body, ".type", args[1]); err == nil {
				r.got = append(r.got[:i:i], r.got[i+1:]...)
				s.last = body
				ts.Logf("%s was told: %s", args[0], body)
				return nil
			}
		}
		return fmt.Errorf("%s was not told %s; of what it was told there is left: %v; it refused: %s", args[0], args[1], r.got, fmt.Sprint(r.bad))
	})
}

// silence: silence NAME looks whether the system was told anything that told has not asked for.
func (s *scene) silence(_ *testscript.TestScript, args []string) error {
	r := s.receivers[args[0]]
	if r == nil {
		return fmt.Errorf("no system called %s listens", args[0])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) > 0 || r.bad != nil {
		return fmt.Errorf("%s was told more: %v; it refused: %s", args[0], r.got, fmt.Sprint(r.bad))
	}
	return nil
}

// buy: buy SHOP ITEM QUANTITY [NAME] places an order and calls it NAME.
func (s *scene) buy(ts *testscript.TestScript, args []string) error {
	shop, n, err := s.shopAnd(args[0], args[2])
	if err != nil {
		return err
	}
	id, ok := shop.Buy(args[1], n)
	if !ok {
		return fmt.Errorf("%s refuses to sell %d of %s", args[0], n, args[1])
	}
	if len(args) > 3 {
		ts.Setenv(args[3], id)
	}
	return nil
}

// cancel: cancel SHOP ORDER
func (s *scene) cancel(_ *testscript.TestScript, args []string) error {
	if shop := s.shops[args[0]]; shop == nil || !shop.Cancel(args[1]) {
		return fmt.Errorf("%s has no open order %s", args[0], args[1])
	}
	return nil
}

func (s *scene) ship(*testscript.TestScript, []string) error {
	s.warehouse.ShipAll()
	return nil
}

// receive: receive SKU QUANTITY [LOCATION]
func (s *scene) receive(_ *testscript.TestScript, args []string) error {
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	location := "main"
	if len(args) > 2 {
		location = args[2]
	}
	return s.warehouse.Receive(args[0], location, n)
}

// lose: lose SKU QUANTITY is a count at the warehouse that finds so many fewer.
func (s *scene) lose(_ *testscript.TestScript, args []string) error {
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	return s.warehouse.Adjust(args[0], "main", -n)
}

// wait: pause DURATION
func (s *scene) wait(_ *testscript.TestScript, args []string) error {
	d, err := time.ParseDuration(args[0])
	time.Sleep(d)
	return err
}

// soon: soon NAME DURATION sets $NAME to the instant that is so far away, and $NAME_DATE and $NAME_CLOCK to what UTC's
// calendar and clock show then.
func (s *scene) soon(ts *testscript.TestScript, args []string) error {
	d, err := time.ParseDuration(args[1])
	at := time.Now().UTC().Add(d).Truncate(time.Second)
	ts.Setenv(args[0], at.Format(time.RFC3339))
	ts.Setenv(args[0]+"_DATE", at.Format(time.DateOnly))
	ts.Setenv(args[0]+"_CLOCK", at.Format(time.TimeOnly))
	return err
}

// days: days N lets N days go by. What the ledger has was entered, and what was decided came into force, so much earlier.
func (s *scene) days(ts *testscript.TestScript, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if err := s.stop(ts, nil); err != nil {
		return err
	}
	if err := s.age(time.Duration(n) * 24 * time.Hour); err != nil {
		return fmt.Errorf("let %d days go by: %w", n, err)
	}
	return s.serve(ts, nil)
}

// age moves the postings and the decisions back, and makes the hash chains of the postings anew.
func (s *scene) age(by time.Duration) error {
	db, err := driver.Open("file:" + filepath.Join(s.dir, "truestock.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit it does nothing
	rows, err := tx.Query("SELECT id, sku, location, from_state, to_state, quantity, at, cause, event, reference FROM postings ORDER BY id")
	if err != nil {
		return err
	}
	defer rows.Close()
	type aged struct {
		id int64
		stock.Posting
	}
	var all []aged
	for rows.Next() {
		var p aged
		var at int64
		if err := rows.Scan(&p.id, &p.SKU, &p.Location, &p.From, &p.To, &p.Quantity, &at, &p.Cause.Kind, &p.Cause.Event, &p.Cause.Reference); err != nil {
			return err
		}
		p.At = time.Unix(0, at).UTC().Add(-by)
		all = append(all, p)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	last := make(map[stocksync.LevelKey][]byte)
	for _, p := range all {
		key := stocksync.LevelKey{SKU: p.SKU, Location: p.Location}
		hash := stocksync.ChainHash(last[key], p.Posting)
		if _, err := tx.Exec("UPDATE postings SET at = ?, previous = ?, hash = ? WHERE id = ?", p.At.UnixNano(), last[key], hash, p.id); err != nil {
			return err
		}
		last[key] = hash
	}
	for key, hash := range last {
		if _, err := tx.Exec("UPDATE levels SET hash = ? WHERE sku = ? AND location = ?", hash, string(key.SKU), string(key.Location)); err != nil {
			return err
		}
	}
	if _, err := tx.Exec("UPDATE settings SET at = at - ?1, effective_at = effective_at - ?1", int64(by)); err != nil {
		return err
	}
	return tx.Commit()
}

// settled waits until nothing is left to do except what waits for a person.
func (s *scene) settled(ts *testscript.TestScript, _ []string) error {
	return s.until(ts, []string{"GET", "/status", ".settled", "true"})
}

// shows: shows SHOP ITEM QUANTITY waits until the shop shows the number.
func (s *scene) shows(ts *testscript.TestScript, args []string) error {
	if args[2] == "unlimited" {
		return s.showsNoLimit(ts, args[0], args[1])
	}
	shop, want, err := s.shopAnd(args[0], args[2])
	if err != nil {
		return err
	}
	err = s.eventually(func() error {
		if got, ok := shop.Quantity(args[1], ""); !ok || got != want || shop.Unlimited(args[1], "") {
			return fmt.Errorf("%s of %s: expected %d, shown %d", args[1], args[0], want, got)
		}
		return nil
	})
	if err == nil {
		ts.Logf("%s of %s: expected %d, shown %d", args[1], args[0], want, want)
	}
	return err
}

func (s *scene) showsNoLimit(ts *testscript.TestScript, name, item string) error {
	shop := s.shops[name]
	if shop == nil {
		return fmt.Errorf("no shop is called %s", name)
	}
	err := s.eventually(func() error {
		if !shop.Unlimited(item, "") {
			got, _ := shop.Quantity(item, "")
			return fmt.Errorf("%s of %s: expected unlimited, shown %d", item, name, got)
		}
		return nil
	})
	if err == nil {
		ts.Logf("%s of %s: expected unlimited, shown unlimited", item, name)
	}
	return err
}

func (s *scene) shopAnd(name, quantity string) (*fake.Shop, int64, error) {
	n, err := strconv.ParseInt(quantity, 10, 64)
	if s.shops[name] == nil {
		return nil, 0, fmt.Errorf("no shop is called %s", name)
	}
	return s.shops[name], n, err
}

// run: truestock ARGUMENT... runs a command beside the server. Its output can be looked at with stdout, stderr and field.
func (s *scene) run(ts *testscript.TestScript, args []string) error {
	cmd := exec.Command(s.binary, append([]string{"--config", s.file()}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &stdout, &stderr
	err := cmd.Run()
	s.last = stdout.String()
	fmt.Fprint(ts.Stdout(), stdout.String())
	fmt.Fprint(ts.Stderr(), stderr.String())
	if err != nil {
		return fmt.Errorf("%w: %s", err, stderr.String())
	}
	return nil
}

// api: api METHOD PATH [BODY|@FILE] asks the API; an answer that is not 2xx is a failure.
func (s *scene) api(ts *testscript.TestScript, args []string) error {
	body := strings.Join(args[2:], " ")
	if file, ok := strings.CutPrefix(body, "@"); ok {
		body = ts.ReadFile(file)
	}
	kind := "application/json"
	if body != "" && !strings.HasPrefix(strings.TrimSpace(body), "{") {
		kind = "text/csv"
	}
	answer, err := s.ask(args[0], args[1], kind, body)
	fmt.Fprint(ts.Stdout(), answer)
	return err
}

func (s *scene) ask(method, path, kind, body string) (string, error) {
	path = strings.ReplaceAll(path, "+", "%2B") // a plus is meant as one, as in Etc/GMT+1
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	if body != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	s.last = string(answer)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return s.last, err
}

// until: until METHOD PATH JQ VALUE asks until the expression gives the value.
func (s *scene) until(ts *testscript.TestScript, args []string) error {
	err := s.eventually(func() error {
		answer, err := s.ask(args[0], args[1], "application/json", "")
		if err != nil {
			return err
		}
		return matches(answer, args[2], args[3])
	})
	if err == nil {
		ts.Logf("%s %s: %s is %s", args[0], args[1], args[2], args[3])
	}
	return err
}

// field: field JQ VALUE looks at the newest output of truestock or api.
func (s *scene) field(ts *testscript.TestScript, args []string) error {
	if err := matches(s.last, args[0], args[1]); err != nil {
		return err
	}
	ts.Logf("%s: expected %s, is %s", args[0], args[1], args[1])
	return nil
}

func matches(answer, expression, want string) error {
	query, err := gojq.Parse(expression)
	if err != nil {
		return fmt.Errorf("%s: %w", expression, err)
	}
	var input any
	if err := json.Unmarshal([]byte(answer), &input); err != nil {
		return fmt.Errorf("not JSON: %w: %s", err, answer)
	}
	value, ok := query.Run(input).Next()
	if err, failed := value.(error); !ok || failed {
		return fmt.Errorf("%s: %w", expression, err)
	}
	got, isText := value.(string)
	if !isText {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		got = string(text)
	}
	if got != want {
		return fmt.Errorf("%s: expected %s, is %s", expression, want, got)
	}
	return nil
}

func (s *scene) eventually(look func() error) error {
	end := time.Now().Add(patience)
	for {
		err := look()
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// tell shows what truestock knows, for a scenario that failed.
func (s *scene) tell(ts *testscript.TestScript) {
	log := s.log.String()
	ts.Logf("the end of the log:\n%s", log[max(0, len(log)-3000):])
	if s.url == "" {
		return
	}
	for _, path := range []string{"/status", "/incidents", "/listings?limit=20", "/events?state=parked&limit=20"} {
		if answer, err := s.ask(http.MethodGet, path, "", ""); err == nil {
			ts.Logf("%s: %s", path, answer[:min(len(answer), 3000)])
		}
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write adds to the log.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is the log so far.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Reset empties the log.
func (b *lockedBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Reset()
}
