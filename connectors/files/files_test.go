package files_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/files"
	"github.com/truestock/truestock/stock"
)

// warehouse writes files as a system of record does.
type warehouse struct {
	t      testing.TB
	dir    string
	levels map[string]stock.Quantity
	second int
}

func newWarehouse(t testing.TB) *warehouse {
	w := &warehouse{t: t, dir: t.TempDir(), levels: map[string]stock.Quantity{"A": 10, "B": 4}}
	w.export()
	return w
}

var start = time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)

// stamp is the instant of the next file.
func (w *warehouse) stamp() string {
	w.second++
	return start.Add(time.Duration(w.second) * time.Second).Format("20060102T150405Z")
}

// put writes a file into a folder; the instant of its last change lies in the past.
func (w *warehouse) put(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *warehouse) export() {
	rows := "sku,quantity,location\n"
	for _, sku := range []string{"A", "B"} {
		rows += fmt.Sprintf("%s,%d,main\n", sku, w.levels[sku])
	}
	w.put("in/levels-"+w.stamp()+".csv", rows+"#end,2\n")
}

func (w *warehouse) receive(sku string, quantity stock.Quantity) {
	w.levels[sku] += quantity
	w.put("in/events-"+w.stamp()+".csv", fmt.Sprintf("kind,sku,quantity,location\nreceived,%s,%d,main\n", sku, quantity))
	w.export()
}

func (w *warehouse) files(dir string) []string {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (w *warehouse) orders() int {
	n := 0
	for _, name := range w.files("out") {
		if strings.HasPrefix(name, "order-") {
			n++
		}
	}
	return n
}

func settings(folder string) connectors.Settings {
	return connectors.Settings{"folder": folder, "levels": "on_hand", "separator": ",", "end_line": "required", "rest": "10s", "location": "main"}
}

func open(t testing.TB, s connectors.Settings) connectors.SystemOfRecord {
	t.Helper()
	c, err := files.Info().Open(connectors.Env{Connection: "erp", Timeout: 5 * time.Second}, connectors.SystemOfRecordRole, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(connectors.SystemOfRecord)
}

func fixture(folder func(t *testing.T, w *warehouse) connectors.Settings) connectortest.Fixture {
	return connectortest.Fixture{
		Skip: notOverHTTP,
		New: func(t *testing.T) connectortest.Server {
			w := newWarehouse(t)
			s := folder(t, w)
			return connectortest.Server{
				Open: func(env connectors.Env) (connectors.Connection, error) {
					return files.Info().Open(env, connectors.SystemOfRecordRole, s)
				},
				Secrets:    []string{"the-password"},
				SKUs:       []string{"A", "B"},
				Level:      func(sku string) stock.Quantity { return w.levels[sku] },
				Receive:    w.receive,
				OrderCount: w.orders,
				Changes: func() int {
					return len(w.files("out")) + len(w.files("sent")) + len(w.files("archive")) + len(w.files("error"))
				},
			}
		},
	}
}

func TestConformance(t *testing.T) {
	connectortest.RunSystemOfRecord(t, fixture(func(_ *testing.T, w *warehouse) connectors.Settings { return settings(w.dir) }))
}

func TestConformanceOverSFTP(t *testing.T) {
	connectortest.RunSystemOfRecord(t, fixture(func(t *testing.T, w *warehouse) connectors.Settings { return serveSFTP(t, w.dir).settings() }))
}

// The suite makes its faults on HTTP, which files do not use.
var notOverHTTP = func() map[string]string {
	skip := make(map[string]string)
	for _, name := range []string{"AnswerThatIsNone", "StatusToKind", "RetryAfterBecomesThrottled", "TimeoutOnWriteIsUncertain", "BrokenLineOnWriteIsUncertain",
		"RefusedConnectionIsRetryable", "NoSecretInErrorsOrLogs", "RedirectIsNotFollowed", "CancelledContextStops", "CreateOrderAfterLostAnswerCreatesOne"} {
		skip[name] = "the fault is one of HTTP"
	}
	skip["OrderOfUnknownSKU"] = "which articles the system has, only it knows"
	return skip
}()

// server is an SSH server with SFTP, on loopback.
type server struct {
	address, hostKey, folder string
}

func (s server) settings() connectors.Settings {
	out := settings("sftp://erp@" + s.address + filepath.ToSlash(s.folder))
	out["password"], out["host_key"] = "the-password", s.hostKey
	return out
}

func serveSFTP(t *testing.T, dir string) server {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if c.User() != "erp" || string(password) != "the-password" {
			return nil, errors.New("refused")
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn, config)
		}
	}()
	return server{l.Addr().String(), string(ssh.MarshalAuthorizedKey(signer.PublicKey())), dir}
}

func answer(conn net.Conn, config *ssh.ServerConfig) {
	defer func() { _ = conn.Close() }()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		channel, requests, err := ch.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				_ = r.Reply(r.Type == "subsystem", nil)
			}
		}()
		s, err := sftp.NewServer(channel)
		if err != nil {
			return
		}
		go func() { _ = s.Serve() }()
	}
}

func facts(t *testing.T, r connectors.SystemOfRecord, after int64) ([]connectors.Fact, int64) {
	t.Helper()
	var all []connectors.Fact
	for range 100 {
		page, err := r.Movements(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Rows) == 0 {
			return all, after
		}
		all = append(all, page.Rows...)
		last := page.Rows[len(page.Rows)-1].Position.Sequence
		if last <= after {
			t.Fatalf("the page after %d ends at %d", after, last)
		}
		after = last
	}
	t.Fatal("the events never end")
	return nil, 0
}

func TestFilesAreReadOnceAndKept(t *testing.T) {
	w := newWarehouse(t)
	r := open(t, settings(w.dir))
	first, err := r.Levels(t.Context(), "")
	if err != nil || len(first.Levels) != 2 || first.Count != 2 {
		t.Fatalf("%+v, %v", first, err)
	}
	if in, kept := w.files("in"), w.files("archive"); len(in) != 0 || len(kept) != 1 {
		t.Errorf("in %v, archive %v", in, kept)
	}
	if again, err := r.Levels(t.Context(), ""); err != nil || again.Position.Sequence != first.Position.Sequence {
		t.Errorf("without a newer file the levels are of %+v, %v", again.Position, err)
	}
	w.put("in/events-"+w.stamp()+".csv", "kind,id,order_key,line_id,sku,quantity,carrier,tracking\n"+
		"shipped,s1,shop:1,1#A,A,2,DHL,T1\nshipped,s1,shop:1,2#B,B,1,DHL,T1\nadjusted,,,,A,-1,,\n")
	got, after := facts(t, r, first.Position.Sequence)
	if len(got) != 2 || len(got[0].Shipment.Lines) != 2 || got[0].Shipment.Tracking != "T1" || got[1].Movement.Delta != -1 {
		t.Fatalf("%+v", got)
	}
	if in := w.files("in"); len(in) != 0 {
		t.Errorf("what was stored is still there: %v", in)
	}
	w.export()
	second, err := r.Levels(t.Context(), "")
	if err != nil || second.Position.Sequence <= after {
		t.Errorf("levels that were exported after the events are at %d, the events end at %d (%v)", second.Position.Sequence, after, err)
	}
}

// A file that arrives after newer ones were read is told all the same, at its own place.
func TestALateFileIsTold(t *testing.T) {
	w := newWarehouse(t)
	r := open(t, settings(w.dir))
	early := w.stamp()
	w.put("in/events-"+w.stamp()+".csv", "kind,sku,quantity\nreceived,A,1\n")
	_, after := facts(t, r, 0)
	w.put("in/events-"+early+".csv", "kind,sku,quantity\nreceived,B,2\n")
	late, end := facts(t, r, after)
	if len(late) != 2 || late[0].Movement.SKU != "B" || late[0].Position.Sequence >= after || late[1].Kind != connectors.StockChanged {
		t.Fatalf("%+v", late)
	}
	w.put("in/events-"+w.stamp()+".csv", "kind,sku,quantity\nreceived,A,5\n")
	next, _ := facts(t, r, end)
	if len(next) != 1 || next[0].Position.Sequence <= end {
		t.Errorf("after it comes %+v, behind %d", next, end)
	}
}

// What was told and not stored, because the process ended, is told again.
func TestEventsAreToldUntilTheyAreStored(t *testing.T) {
	w := newWarehouse(t)
	w.put("in/events-"+w.stamp()+".csv", "kind,sku,quantity\nreceived,A,1\n")
	for range 2 {
		r := open(t, settings(w.dir))
		page, err := r.Movements(t.Context(), 0)
		if err != nil || len(page.Rows) != 1 {
			t.Fatalf("%+v, %v", page, err)
		}
	}
	if in := w.files("in"); len(in) != 2 {
		t.Errorf("in %v", in)
	}
}

func TestOnlyWholeFilesAreRead(t *testing.T) {
	w := newWarehouse(t)
	r := open(t, settings(w.dir))
	before, err := r.Levels(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	// Somebody is still writing these.
	path := w.put("in/levels-"+w.stamp()+".csv", "sku,quantity\nA,")
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	w.put("in/levels-"+w.stamp()+".csv.part", "sku,quantity\nA,1\n#end,1\n")
	w.put("in/notes.txt", "hello")
	if now, err := r.Levels(t.Context(), ""); err != nil || now.Position.Sequence != before.Position.Sequence {
		t.Errorf("%+v, %v", now.Position, err)
	}
}

func TestFilesThatMakeNoSenseAreSetAside(t *testing.T) {
	for name, c := range map[string]struct{ content, says string }{
		"empty":               {"", "header"},
		"no end":              {"sku,quantity\nA,1\n", "#end"},
		"fewer rows":          {"sku,quantity\nA,1\n#end,2\n", "2 rows, and there are 1"},
		"cut off in a row":    {"sku,quantity\nA,1\nB", "line 3: it has 1 columns"},
		"a fraction":          {"sku,quantity\nA,1.5\n#end,1\n", `line 2: quantity is "1.5"`},
		"no number":           {"sku,quantity\nA,\n#end,1\n", `line 2: quantity is ""`},
		"another column":      {"sku,stock\nA,1\n#end,1\n", `the column "quantity" is missing`},
		"a row twice":         {"sku,quantity\nA,1\nA,2\n#end,2\n", "stands in line 2 already"},
		"not UTF-8":           {"sku,quantity\nA\xff,1\n#end,1\n", "UTF-8"},
		"a page for people":   {"<!DOCTYPE html><html></html>", "missing"},
		"rows behind the end": {"sku,quantity\nA,1\n#end,1\nB,1\n", "follows"},
		"no sku":              {"sku,quantity\n,1\n#end,1\n", "line 2: sku is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWarehouse(t)
			r := open(t, settings(w.dir))
			good, err := r.Levels(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			bad := "levels-" + w.stamp() + ".csv"
			w.put("in/"+bad, c.content)
			_, err = r.Levels(t.Context(), "")
			if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), bad) {
				t.Errorf("the error is %v", err)
			}
			reasons, readErr := os.ReadFile(filepath.Join(w.dir, "error", bad+".txt"))
			if readErr != nil || !strings.Contains(string(reasons), c.says) {
				t.Errorf("the reasons are %q, %v", reasons, readErr)
			}
			if in := w.files("in"); len(in) != 0 {
				t.Errorf("in %v", in)
			}
			if after, err := r.Levels(t.Context(), ""); err != nil || after.Position.Sequence != good.Position.Sequence || len(after.Levels) != 2 {
				t.Errorf("afterwards the levels are %+v, %v", after, err)
			}
		})
	}
}

func TestOrdersAreToldOnce(t *testing.T) {
	w := newWarehouse(t)
	r := open(t, settings(w.dir))
	o := connectors.NewOrder{Key: "shop:1", Channel: "shop", OrderID: "1", PlacedAt: start, Buyer: &connectors.Buyer{Ref: "=cmd()"},
		Lines: []connectors.OrderLine{{LineID: "1#A", SKU: "A", Quantity: 2}}}
	for range 2 {
		if number, err := r.CreateOrder(t.Context(), o); err != nil || number != "shop:1" {
			t.Fatalf("%s, %v", number, err)
		}
	}
	out := w.files("out")
	if len(out) != 1 {
		t.Fatalf("out %v", out)
	}
	content, err := os.ReadFile(filepath.Join(w.dir, "out", out[0]))
	if err != nil || !strings.Contains(string(content), "shop:1,shop,1,2026-11-26T01:00:00Z,'=cmd(),,1#A,A,2") {
		t.Errorf("%q, %v", content, err)
	}
	// The warehouse takes it away; a second try is still known.
	if err := os.Remove(filepath.Join(w.dir, "out", out[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := r.CreateOrder(t.Context(), o); err != nil || len(w.files("out")) != 0 {
		t.Errorf("told again: %v, %v", w.files("out"), err)
	}
	o.Lines[0].Quantity = 3
	if _, err := r.CreateOrder(t.Context(), o); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("with another content: %v", err)
	}
}

func TestAFolderThatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not mounted")
	r := open(t, settings(dir))
	if _, err := r.Levels(t.Context(), ""); connectors.KindOf(err) != connectors.Retryable || !strings.Contains(err.Error(), "not mounted") {
		t.Errorf("levels: %v", err)
	}
	if _, err := r.CreateOrder(t.Context(), connectors.NewOrder{Key: "k"}); connectors.KindOf(err) != connectors.Retryable {
		t.Errorf("order: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made, where a disk belongs")
	}
}

func TestTheServerIsTheRightOne(t *testing.T) {
	w := newWarehouse(t)
	s := serveSFTP(t, w.dir)
	wrong := s.settings()
	wrong["password"] = "another"
	if err := open(t, wrong).Check(t.Context()); connectors.KindOf(err) != connectors.Auth || strings.Contains(err.Error(), "another") {
		t.Errorf("wrong password: %v", err)
	}
	wrong = s.settings()
	wrong["host_key"] = serveSFTP(t, w.dir).hostKey
	if err := open(t, wrong).Check(t.Context()); connectors.KindOf(err) != connectors.Auth {
		t.Errorf("another server: %v", err)
	}
	down := s.settings()
	down["folder"] = "sftp://erp@127.0.0.1:1/"
	if err := open(t, down).Check(t.Context()); connectors.KindOf(err) != connectors.Retryable {
		t.Errorf("no server: %v", err)
	}
	missing := s
	missing.folder = filepath.Join(w.dir, "missing")
	if err := open(t, missing.settings()).Check(t.Context()); connectors.KindOf(err) != connectors.Rejected {
		t.Errorf("no folder: %v", err)
	}
}

func TestOpenNamesTheSetting(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(block))
	for name, change := range map[string]connectors.Settings{
		"folder":      {"folder": ""},
		"levels":      {"levels": "gross"},
		"separator":   {"separator": "|"},
		"end_line":    {"end_line": "maybe"},
		"rest":        {"rest": "soon"},
		"location":    {"location": ""},
		"host_key":    {"folder": "sftp://erp@host/x", "password": "p"},
		"private_key": {"folder": "sftp://erp@host/x", "private_key": "x", "host_key": "y"},
		"password":    {"folder": "sftp://erp@host/x", "password": "p", "private_key": private},
	} {
		s := settings("/tmp")
		maps.Copy(s, change)
		if _, err := files.Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, s); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, folder := range []string{"sftp://host/x", "sftp://erp:secret@host/x", "ftp://erp@host/x"} {
		s := settings(folder)
		if _, err := files.Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, s); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", folder, err)
		}
	}
}

func TestACancelledCallIsNoFailure(t *testing.T) {
	w := newWarehouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, settings(w.dir)).Levels(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func FuzzFiles(f *testing.F) {
	f.Add("sku,quantity\nA,1\n#end,1\n", "kind,sku,quantity\nreceived,A,1\n")
	f.Add("sku,quantity,location\n\"A\",-0,x\n", "kind,id,order_key,line_id,sku,quantity\nshipped,s,k,1,A,1\nrejected,,k,1,A,1\n")
	f.Add("sku,quantity\nA,\"1", "kind,sku,quantity\nreceived,A\"B,1\n")
	f.Fuzz(func(t *testing.T, levels, events string) {
		w := newWarehouse(t)
		w.put("in/levels-"+w.stamp()+".csv", levels)
		w.put("in/events-"+w.stamp()+".csv", events)
		s := settings(w.dir)
		s["end_line"] = "optional"
		r := open(t, s)
		if page, err := r.Levels(t.Context(), ""); err == nil {
			for i := range page.Levels {
				if err := (connectors.Fact{Kind: connectors.StockLevel, Statement: &page.Levels[i]}).Validate(); err != nil {
					t.Error(err)
				}
			}
		}
		if page, err := r.Movements(t.Context(), 0); err == nil {
			for _, fact := range page.Rows {
				if err := fact.Validate(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
