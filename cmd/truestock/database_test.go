package main_test

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/truestock/truestock/store/pgtest"
)

// A second server on the same database refuses to start and says who has it; so does every command that changes what
// the server changes.
func TestSecondProcessIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.addListener("on_hand")
		s := h.start()
		what := []string{"in use by another truestock", "stop it, or give this one another database"}
		if path, ok := strings.CutPrefix(h.database, "sqlite:"); ok {
			what = append(what, path, "process "+strconv.Itoa(s.cmd.Process.Pid))
		} else {
			what = append(what, "server process")
		}
		for _, command := range [][]string{{"serve"}, {"apply"}, {"reconcile"}} {
			r := h.must(exitLocked, command...)
			for _, text := range what {
				if !strings.Contains(r.stderr, text) {
					t.Errorf("truestock %s does not say %q: %s", command[0], text, r.stderr)
				}
			}
		}
		s.deliver("warehouse", "still here", event("stock.changed", "{}"))
		if code := s.stop(); code != exitOK {
			t.Errorf("the first server ends with %d: %s", code, s.log)
		}
		h.must(exitOK, "apply")
	})
}

// The commands that only look, and those that leave the work to the server, run beside it.
func TestCommandsBesideTheServer(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA")
		s.deliver("warehouse", "level", levelEvent("TEA", 6, 1))
		parked := s.deliver("warehouse", "broken", event("stock.level", `{"sku":"TEA"}`))
		h.shows("shop", "TEA", 6)
		s.applied()
		h.must(exitOK, "check")
		h.must(exitOK, "migrate")
		h.must(exitOK, "plan")
		h.must(exitOK, "plan", "shop")
		h.must(exitOK, "reconcile", "--dry-run")
		h.must(exitOK, "plans")
		h.must(exitOK, "mappings", "suggest", "shop")
		for _, c := range []struct{ args, want string }{
			{"explain shop TEA", "TEA"}, {"events", "stock.level"}, {"events " + parked.ID, `"data":{"sku":"TEA"}`},
			{"mappings export", "shop,TEA,,TEA,1"}, {"token list", "admin"}, {"replay " + parked.ID, "1 events"}, {"version", "truestock"},
		} {
			if r := h.must(exitOK, strings.Fields(c.args)...); !strings.Contains(r.stdout, c.want) {
				t.Errorf("truestock %s prints %q, want %q in it", c.args, r.stdout, c.want)
			}
		}
		for _, c := range []struct{ args, want string }{
			{"explain shop NOTHING", "NOTHING"}, {"events 999999", "999999"}, {"plan nowhere", "nowhere"}, {"check nowhere", "nowhere"},
		} {
			if r := h.run(strings.Fields(c.args)...); r.code == exitOK || !strings.Contains(r.stdout+r.stderr, c.want) {
				t.Errorf("truestock %s ends with %d and says %q%q, want an error that names %s", c.args, r.code, r.stdout, r.stderr, c.want)
			}
		}
		for _, args := range []string{"explode", "explain shop", "events x", "replay", "serve --port 1", "plan --output xml", "token create --scope root"} {
			if r := h.run(strings.Fields(args)...); r.code != exitUsage || r.stderr == "" {
				t.Errorf("truestock %s ends with %d and says %q, want 2 and a reason", args, r.code, r.stderr)
			}
		}
	})
}

// A server whose database goes away under load answers 503, is not ready, and is alive. When the database is back the
// server goes on by itself, and everything that was answered 202 is there.
func TestDatabaseGoesAwayUnderLoad(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	wire := newWire(t, pgtest.URL(t))
	h.database = wire.database
	s := smallHouse(t, h, "on_hand", "TEA")
	s.deliver("warehouse", "level", levelEvent("TEA", 1000, 1))
	h.shows("shop", "TEA", 1000)

	load := newLoad(s, func(n int64) webhook {
		return webhook{connection: "warehouse", id: fmt.Sprint("move ", n), body: movedEvent("TEA", 1, n+1)}
	})
	defer load.end()
	for round := range 3 {
		load.waitFor(h, http.StatusAccepted)
		wire.cut()
		load.waitFor(h, http.StatusServiceUnavailable)
		h.eventually("the server is not ready", func() error { return s.wants(http.MethodGet, "/readyz", http.StatusServiceUnavailable) })
		if err := s.wants(http.MethodGet, "/livez", http.StatusOK); err != nil {
			t.Error(err)
		}
		if a := s.call(http.MethodGet, "/status", "", ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("round %d: the API answers %d without a database: %s", round, a.status, a.body)
		}
		wire.mend()
		h.eventually("the server is ready again", func() error { return s.wants(http.MethodGet, "/readyz", http.StatusOK) })
	}
	load.waitFor(h, http.StatusAccepted)
	taken := load.end()
	for _, wrong := range load.wrong {
		t.Error(wrong)
	}
	s.settled()
	checkTaken(t, s, taken)
	want := int64(1000)
	for _, e := range all[eventView](s, "/events?state=applied") {
		if e.Type == "stock.moved" {
			want++
		}
	}
	if got := get[itemView](s, "/items/TEA"); got.OnHand != want {
		t.Errorf("TEA is %+v, want 1000 and one for every stored movement: %d", got, want)
	}
	if s.ended() {
		t.Error("the server has ended")
	}
}

// A database that is silent is no better than one that is gone.
func TestDatabaseThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	wire := newWire(t, pgtest.URL(t))
	h.database = wire.database
	h.addListener("on_hand")
	s := h.start()
	wire.freeze()
	h.eventually("the server is not ready", func() error { return s.wants(http.MethodGet, "/readyz", http.StatusServiceUnavailable) })
	if err := s.wants(http.MethodGet, "/livez", http.StatusOK); err != nil {
		t.Error(err)
	}
	wire.mend()
	h.eventually("the server is ready again", func() error { return s.wants(http.MethodGet, "/readyz", http.StatusOK) })
	s.deliver("warehouse", "after", event("stock.changed", "{}"))
}

// Without a database nothing starts, and the reason is told without the password.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.database = "postgres://someone:open-sesame@127.0.0.1:1/truestock"
	h.configure()
	for _, command := range []string{"serve", "check", "plan", "migrate"} {
		if r := h.must(exitFailed, command); strings.Contains(r.stderr, "open-sesame") || !strings.Contains(r.stderr, "127.0.0.1") {
			t.Errorf("truestock %s says %q, want the address without the password", command, r.stderr)
		}
	}
	h.database = "sqlite:" + filepath.Join(h.dir, "missing", "truestock.db")
	h.configure()
	if r := h.must(exitFailed, "serve"); !strings.Contains(r.stderr, "missing") {
		t.Errorf("serve says %q, want the path", r.stderr)
	}
}

// load sends webhooks as fast as they are answered, each until it is taken, and remembers what was taken.
type load struct {
	mu     sync.Mutex
	taken  map[string]string // inbox ids by webhook id
	counts map[int]int
	wrong  []string
	stop   chan struct{}
	once   sync.Once
	group  sync.WaitGroup
}

const loadSenders = 8

func newLoad(s *server, next func(n int64) webhook) *load {
	l := &load{taken: map[string]string{}, counts: map[int]int{}, stop: make(chan struct{})}
	var n atomic.Int64
	for range loadSenders {
		l.group.Go(func() {
			for {
				w := next(n.Add(1))
				for !l.send(s, w) {
					select {
					case <-l.stop:
						return
					case <-time.After(5 * time.Millisecond):
					}
				}
				select {
				case <-l.stop:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	return l
}

// send sends once and reports whether the webhook was taken.
func (l *load) send(s *server, w webhook) bool {
	a, err := s.try(w)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.counts[0]++
		return false
	}
	l.counts[a.status]++
	switch a.status {
	case http.StatusAccepted:
		r, err := accepted(a)
		if err != nil {
			l.wrong = append(l.wrong, err.Error())
		}
		l.taken[w.id] = r.ID
		return true
	case http.StatusServiceUnavailable:
		if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
			l.wrong = append(l.wrong, fmt.Sprintf("503 with Retry-After %q: %s", a.header.Get("Retry-After"), a.body))
		}
	default:
		l.wrong = append(l.wrong, fmt.Sprintf("%s is answered %d: %s", w.id, a.status, a.body))
	}
	return false
}

// waitFor waits for twenty more answers of a status.
func (l *load) waitFor(h *house, status int) {
	h.t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.counts[status]
	}
	enough := count() + 20
	h.eventually(fmt.Sprintf("webhooks are answered %d", status), func() error {
		if got := count(); got < enough {
			l.mu.Lock()
			defer l.mu.Unlock()
			return fmt.Errorf("the answers so far: %v", l.counts)
		}
		return nil
	})
}

// end stops the senders and returns what was taken.
func (l *load) end() map[string]string {
	l.once.Do(func() { close(l.stop) })
	l.group.Wait()
	return l.taken
}

// checkTaken expects everything that was answered 202 once in the inbox, under the id that was told.
func checkTaken(t *testing.T, s *server, taken map[string]string) {
	t.Helper()
	stored := map[string]string{}
	for _, e := range all[eventView](s, "/events") {
		if _, twice := stored[e.Key]; twice {
			t.Errorf("event %s is stored twice", e.Key)
		}
		stored[e.Key] = e.ID
	}
	for key, id := range taken {
		if stored[key] != id {
			t.Errorf("event %s was answered 202 with the id %s and is stored as %q", key, id, stored[key])
		}
	}
	if len(taken) == 0 {
		t.Error("nothing was taken: the test shows nothing")
	}
}

// wire stands between truestock and a PostgreSQL server, and can be cut.
type wire struct {
	// database is the address by which the database is reached through the wire.
	database string

	network, address string
	mu               sync.Mutex
	down             bool
	frozen           chan struct{} // closed while bytes flow
	open             map[net.Conn]bool
}

func newWire(t *testing.T, database string) *wire {
	t.Helper()
	config, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Del("host")
	query.Set("sslmode", "disable")
	query.Set("connect_timeout", "5")
	u.Host, u.RawQuery = listener.Addr().String(), query.Encode()
	w := &wire{database: u.String(), frozen: make(chan struct{}), open: map[net.Conn]bool{}}
	close(w.frozen)
	w.network, w.address = pgconn.NetworkAddress(config.Host, config.Port)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go w.join(c)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		w.cut()
	})
	return w
}

// join carries one connection.
func (w *wire) join(c net.Conn) {
	defer c.Close()
	far, err := net.Dial(w.network, w.address)
	if err != nil {
		return
	}
	defer far.Close()
	w.mu.Lock()
	if w.down {
		w.mu.Unlock()
		return
	}
	w.open[c] = true
	w.mu.Unlock()
	ended := make(chan struct{}, 2)
	carry := func(to, from net.Conn) {
		defer func() { ended <- struct{}{} }()
		buffer := make([]byte, 16<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				w.mu.Lock()
				flows := w.frozen
				w.mu.Unlock()
				<-flows
				if _, err := to.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go carry(far, c)
	go carry(c, far)
	<-ended
	w.mu.Lock()
	delete(w.open, c)
	w.mu.Unlock()
}

// cut ends every connection, whatever is on the way, and lets none begin.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for c := range w.open {
		_ = c.Close()
	}
}

// freeze stops the bytes, and keeps the connections.
func (w *wire) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen = make(chan struct{})
}

// mend lets connections begin and bytes flow again.
func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
	select {
	case <-w.frozen:
	default:
		close(w.frozen)
	}
}
