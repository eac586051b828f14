package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// A server that is asked to end answers what it has begun to receive, takes nothing new, and ends with 0.
func TestSignalDrains(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			onBoth(t, func(t *testing.T, h *house) {
				h.addListener("on_hand")
				s := h.start()
				body := event("stock.changed", "{}")
				slow := beginDelivery(t, s, webhook{connection: "warehouse", id: "slow", body: body})
				if err := s.cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				h.eventually("no connection is taken any more", func() error {
					c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
					if err != nil {
						return nil
					}
					c.Close()
					return errors.New("one is taken")
				})
				if s.ended() {
					t.Fatalf("the server has ended with a request in flight:\n%s", s.log)
				}
				a := slow.finish(t)
				if _, err := accepted(a); err != nil {
					t.Errorf("the request in flight: %v", err)
				}
				if code := s.code(); code != exitOK {
					t.Errorf("the server ends with %d:\n%s", code, s.log)
				}
				s = h.start()
				if again := s.deliver("warehouse", "slow", body); !again.Duplicate {
					t.Error("what was answered 202 while draining is gone")
				}
			})
		})
	}
}

// Under load, whatever a server that ends answered 202 is there when the next one starts.
func TestEndUnderLoad(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.addListener("on_hand")
		s := h.start()
		load := newLoad(s, func(n int64) webhook {
			return webhook{connection: "warehouse", id: fmt.Sprint("event ", n), body: event("stock.changed", "{}")}
		})
		defer load.end()
		load.waitFor(h, http.StatusAccepted)
		if code := s.stop(); code != exitOK {
			t.Errorf("the server ends with %d:\n%s", code, s.log)
		}
		taken := load.end()
		for _, wrong := range load.wrong {
			t.Error(wrong)
		}
		s = h.start()
		checkTaken(t, s, taken)
	})
}

// A second signal ends the process at once, whatever it waits for.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.addListener("on_hand")
	s := h.start()
	beginDelivery(t, s, webhook{connection: "warehouse", id: "slow", body: event("stock.changed", "{}")})
	for range 2 {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-time.After(300 * time.Millisecond) // two signals that come together are one
	}
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
		t.Error("the server still runs five seconds after the second signal, waiting for a request that never ends")
	}
}

// slowDelivery is a delivery of which half the body is sent.
type slowDelivery struct {
	conn net.Conn
	rest string
}

// beginDelivery sends the first half of a delivery and waits until the server reads it.
func beginDelivery(t *testing.T, s *server, w webhook) *slowDelivery {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	req := s.request(w)
	var head strings.Builder
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: truestock\r\nExpect: 100-continue\r\nContent-Length: %d\r\n", req.URL.Path, len(w.body))
	if err := req.Header.Write(&head); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(conn, head.String()+"\r\n"); err != nil {
		t.Fatal(err)
	}
	// The server asks for the body when it begins to read it: from then on the request is in flight.
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("the server answers %q, %v before it has the body", line, err)
	}
	half := len(w.body) / 2
	if _, err := fmt.Fprint(conn, w.body[:half]); err != nil {
		t.Fatal(err)
	}
	return &slowDelivery{conn, w.body[half:]}
}

// finish sends the rest of the delivery and reads the answer.
func (d *slowDelivery) finish(t *testing.T) answer {
	t.Helper()
	if _, err := fmt.Fprint(d.conn, d.rest); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(d.conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatalf("the request in flight is not answered: %v", err)
	}
	defer resp.Body.Close()
	var body strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&body); err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, body.String()}
}

// The demo ends with its summary as JSON, and nothing else, on standard output, and with nothing left behind.
func TestDemo(t *testing.T) {
	t.Parallel()
	h := &house{t: t, dir: t.TempDir()}
	cmd := exec.CommandContext(t.Context(), program, "demo", "--for", "3s", "--output", "json", "--seed", "7", "--listings", "25")
	var stdout, stderr strings.Builder
	cmd.Dir, cmd.Stdout, cmd.Stderr = h.dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), "TMPDIR="+h.dir)
	if err := cmd.Run(); err != nil {
		t.Fatalf("the demo ends with %v\n%s%s", err, stdout.String(), stderr.String())
	}
	var summary struct {
		Events         *int64 `json:"events"`
		Duplicates     *int64 `json:"duplicates"`
		Parked         *int64 `json:"parked"`
		Pushes         *int64 `json:"pushes"`
		Oversold       *int64 `json:"oversold_units"`
		Settled        *bool  `json:"settled"`
		Listings       *int64 `json:"listings"`
		Shown          *int64 `json:"listings_shown_equal_target"`
		Orders         *int64 `json:"orders"`
		OrdersRecorded *int64 `json:"orders_at_system_of_record"`
	}
	if err := json.Unmarshal([]byte(stdout.String()), &summary, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("the summary cannot be read: %v\n%s", err, stdout.String())
	}
	for name, v := range map[string]*int64{"events": summary.Events, "duplicates": summary.Duplicates, "parked": summary.Parked, "pushes": summary.Pushes,
		"oversold_units": summary.Oversold, "listings": summary.Listings, "listings_shown_equal_target": summary.Shown, "orders": summary.Orders,
		"orders_at_system_of_record": summary.OrdersRecorded} {
		if v == nil {
			t.Fatalf("%s is missing: %s", name, stdout.String())
		}
	}
	if summary.Settled == nil || !*summary.Settled || *summary.Oversold != 0 || *summary.Listings != 50 || *summary.Shown != 50 ||
		*summary.Orders == 0 || *summary.Orders != *summary.OrdersRecorded || *summary.Events == 0 || *summary.Pushes == 0 {
		t.Errorf("the demo ends with %s", stdout.String())
	}
	if stderr.String() != "" {
		t.Errorf("the demo says %q beside its summary", stderr.String())
	}
	if left, err := filepath.Glob(filepath.Join(h.dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("the demo leaves %v, %v", left, err)
	}
	for _, args := range []string{"demo --for 0s", "demo --listings 0", "demo --for soon"} {
		if r := h.run(strings.Fields(args)...); r.code != exitUsage || r.stderr == "" {
			t.Errorf("truestock %s ends with %d: %s", args, r.code, r.stderr)
		}
	}
}

// Who interrupts the demo still gets a summary in order: the faults end, everything settles.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "demo", "--for", "10m", "--listings", "10")
	var stdout strings.Builder
	cmd.Dir, cmd.Stdout = dir, &stdout
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), "orders") {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(stdout.String(), "nothing was sold twice") {
		t.Errorf("the interrupted demo ends with %v\n%s\n%s", err, strings.Join(said, "\n"), stdout.String())
	}
	if len(said) < 2 || !strings.Contains(said[0], "/overview") {
		t.Errorf("the demo says %q, want first where to look inside", said)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("the demo leaves %v, %v", left, err)
	}
}
