package connectortest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
)

// recordings is the folder of a connector's package with what real systems answered, one file for each release.
const recordings = "testdata/recorded"

// exchange is a request of the suite's run against a real system, and the answer. Instants in the request read "<time>":
// they are others on every run.
type exchange struct {
	Request string            `json:"request"` // method, path and query
	Body    string            `json:"body,omitempty"`
	Status  int               `json:"status"`
	Header  map[string]string `json:"header,omitempty"`
	Answer  string            `json:"answer"`
}

var (
	instants = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?`)
	// keptHeaders are those of an answer that a connector reads. Date is answered anew.
	keptHeaders = []string{"Content-Type", "Date", "Link", "Location", "Retry-After", "X-Wp-Total", "X-Wp-Totalpages"}
)

// NotRecorded are the cases that need a system that lives: their faults, their waits and their callers side by side are
// others on every run.
func NotRecorded() map[string]string {
	skip := map[string]string{"ConcurrentUse": "callers side by side ask in another order on every run"}
	for _, c := range failureCases(nil) {
		skip[c.name] = "the suite makes the faults of this case; no system answers them"
	}
	return skip
}

// recorder is the way to a real system, and keeps what goes over it.
type recorder struct {
	next  http.RoundTripper
	scrub *strings.Replacer

	mu  sync.Mutex
	all []exchange
}

// Record is the way to a real system for a run of the cases that are recorded. After a run without a failure it writes
// what went over it to testdata/recorded/NAME.json, with the pairs of scrub replaced: everything that names the system or
// opens it, and what takes its place.
func Record(t *testing.T, name string, scrub ...string) http.RoundTripper {
	t.Helper()
	if filepath.Base(name) != name {
		t.Fatalf("the name of a recording is that of a release, not %q", name)
	}
	r := &recorder{next: &http.Transport{}, scrub: strings.NewReplacer(scrub...)}
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if t.Failed() {
			return
		}
		text, err := json.Marshal(r.all, jsontext.WithIndent("\t"))
		if err == nil {
			err = os.MkdirAll(recordings, 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(recordings, name+".json"), append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Errorf("write the recording: %v", err)
		}
	})
	return r
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	sent, err := readBody(req)
	if err != nil {
		return nil, err
	}
	forward := req.Clone(req.Context())
	forward.Body = io.NopCloser(bytes.NewReader(sent))
	resp, err := r.next.RoundTrip(forward)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	e := exchange{Request: r.scrub.Replace(asked(req)), Body: r.scrub.Replace(without(sent)), Status: resp.StatusCode, Header: map[string]string{}, Answer: r.scrub.Replace(string(answer))}
	for _, name := range keptHeaders {
		if value := resp.Header.Get(name); value != "" {
			e.Header[name] = r.scrub.Replace(value)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
	return resp, nil
}

func asked(req *http.Request) string {
	query, err := url.QueryUnescape(req.URL.RawQuery)
	if err != nil {
		query = req.URL.RawQuery
	}
	return req.Method + " " + req.URL.Path + "?" + instants.ReplaceAllLiteralString(query, "<time>")
}

// without is a body without instants, and with its members in one order.
func without(body []byte) string {
	if value := jsontext.Value(bytes.Clone(body)); value.Canonicalize() == nil {
		body = value
	}
	return instants.ReplaceAllLiteralString(string(body), "<time>")
}

// player answers what a real system answered.
type player struct {
	t *testing.T

	mu   sync.Mutex
	left []exchange
}

// Recordings runs a test on every recording of the package. The way that it is given answers a request as the real system
// answered the same request, each answer once and in the same order; a request that was not recorded, and an answer that
// nobody asked for, fail the test.
func Recordings(t *testing.T, run func(t *testing.T, way http.RoundTripper)) {
	files, err := filepath.Glob(filepath.Join(recordings, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recording is in %s: %v", recordings, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &player{t: t}
			if err := json.Unmarshal(text, &p.left); err != nil {
				t.Fatal(err)
			}
			// This is registered first, and so happens last: what cleans up behind a test asks too.
			t.Cleanup(func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				if len(p.left) > 0 && !t.Failed() {
					t.Errorf("%d answers were not asked for; the first is that of %s", len(p.left), p.left[0].Request)
				}
			})
			run(t, p)
		})
	}
}

// RoundTrip implements http.RoundTripper.
func (p *player) RoundTrip(req *http.Request) (*http.Response, error) {
	sent, err := readBody(req)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	request, body := asked(req), without(sent)
	for i, e := range p.left {
		if e.Request != request || e.Body != body {
			continue
		}
		p.left = append(p.left[:i:i], p.left[i+1:]...)
		header := http.Header{}
		for name, value := range e.Header {
			header.Set(name, value)
		}
		if header.Get("Date") != "" {
			header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		}
		return answer(e.Status, header, e.Answer)(req, nil)
	}
	next := "nothing more"
	if len(p.left) > 0 {
		next = p.left[0].Request + " " + p.left[0].Body
	}
	p.t.Errorf("not recorded: %s %s; recorded next: %s", request, body, next)
	return nil, fmt.Errorf("not recorded: %s", request)
}

// Deliveries looks at every webhook in testdata/delivered: one that a real system sent to us, as it came, with a secret that was
// made for the occasion. Ours knows that secret and others does not; bodyUnsigned is as in Server.
func Deliveries(t *testing.T, ours, others connectors.WebhookReceiver, bodyUnsigned bool) {
	files, err := filepath.Glob("testdata/delivered/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no delivery is in testdata/delivered: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			r := deliveryIn(t, file)
			d, err := ours.VerifyWebhook(r)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := ours.DecodeWebhook(d, r.Body); err != nil || !n.Pull && len(n.Facts) == 0 {
				t.Errorf("it became %+v (%v)", n, err)
			}
			if _, err := others.VerifyWebhook(r); !errors.Is(err, connectors.ErrSignature) {
				t.Errorf("with another secret: %v", err)
			}
			r.Body = append(r.Body, ' ')
			if _, err := ours.VerifyWebhook(r); !bodyUnsigned && !errors.Is(err, connectors.ErrSignature) {
				t.Errorf("changed: %v", err)
			}
		})
	}
}

func deliveryIn(t *testing.T, file string) connectors.Request {
	t.Helper()
	var d struct {
		Path   string            `json:"path"`
		Header map[string]string `json:"header"`
		Body   string            `json:"body"`
	}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(d.Path, "?")
	header := http.Header{}
	for name, value := range d.Header {
		header.Set(name, value)
	}
	return connectors.Request{Method: http.MethodPost, RawQuery: query, Header: header, Body: []byte(d.Body), At: time.Now()}
}
