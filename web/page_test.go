package web_test

import (
	"encoding/base64"
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

// basic is the header by which a browser sends a token.
func basic(token string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+token))}
}

// checkPage checks what holds for every page.
func checkPage(t *testing.T, r reply, lang string) {
	t.Helper()
	if !strings.Contains(r.body, `<html lang="`+lang+`">`) || r.header.Get("Content-Language") != lang {
		t.Errorf("the language is %s, want %s:\n%s", r.header.Get("Content-Language"), lang, r.body)
	}
	policy := r.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") ||
		r.header.Get("X-Content-Type-Options") != "nosniff" || r.header.Get("Referrer-Policy") != "no-referrer" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", r.header)
	}
	if strings.Contains(r.body, "<script") || strings.Contains(r.body, "style=") || strings.Contains(r.body, "://") {
		t.Errorf("the page is not self-contained:\n%s", r.body)
	}
}

func TestLanding(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{Version: `<script>"1"`}, engine)
	for _, c := range []struct{ path, accept, lang string }{
		{"/", "", "en"},
		{"/", "de", "en"},
		{"/", "zh-CN,zh;q=0.9,en;q=0.8", "zh"},
		{"/", "en;q=0.5, zh;q=0.9", "zh"},
		{"/?lang=zh", "en", "zh"},
		{"/?lang=en", "zh", "en"},
		{"/?lang=%22%3E", "zh", "zh"},
	} {
		r := s.send(t, http.MethodGet, c.path, nil, "Accept-Language", c.accept)
		if r.status != http.StatusOK {
			t.Errorf("%s: %d", c.path, r.status)
		}
		checkPage(t, r, c.lang)
		for _, link := range []string{"/api/v1/openapi.yaml", "/livez", "/readyz", "/metrics", "/assets/page.css"} {
			if !strings.Contains(r.body, `"`+link+`"`) {
				t.Errorf("no link to %s", link)
			}
			if got := s.send(t, http.MethodGet, link, nil); got.status != http.StatusOK {
				t.Errorf("%s: %d", link, got.status)
			}
		}
	}
	engine.fail = errors.New("dial postgres://u:hunter2@db")
	if r := s.send(t, http.MethodGet, "/", nil); r.status != http.StatusOK || !strings.Contains(r.body, "does not answer") || strings.Contains(r.body, "hunter2") {
		t.Errorf("without a database: %d %s", r.status, r.body)
	}
	s.send(t, http.MethodGet, "/nothing", nil).problem(t, http.StatusNotFound)
	s.send(t, http.MethodPost, "/", nil).problem(t, http.StatusMethodNotAllowed)
}

// TestPagesNeedAToken asks for the pages that show data without a token and with wrong ones.
func TestPagesNeedAToken(t *testing.T) {
	engine := newEngine(t)
	s := serve(t, web.Config{}, engine)
	for _, path := range []string{"/overview?lang=en", "/find?q=a", "/why?connection=shop&item=a"} {
		for _, headers := range [][]string{nil, basic(""), basic("ts_unknown-canary"), {"Authorization", "Basic !"}, {"Authorization", "Bearer ts_unknown-canary"}, {"Cookie", "token=ts_admin"}} {
			r := s.send(t, http.MethodGet, path, nil, headers...)
			if r.status != http.StatusUnauthorized || !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Basic ") || strings.Contains(r.body, "canary") {
				t.Errorf("%s %v: %d %v %s", path, headers, r.status, r.header, r.body)
			}
			checkPage(t, r, "en")
		}
		if r := s.send(t, http.MethodGet, path+"&token=ts_admin", nil); r.status != http.StatusUnauthorized {
			t.Errorf("a token in the address is taken: %d", r.status)
		}
		s.send(t, http.MethodPost, path, nil, basic("ts_admin")...).problem(t, http.StatusMethodNotAllowed)
	}
	if total(engine) != 0 {
		t.Errorf("a request without a token reached the engine: %v", engine.calls)
	}
	if strings.Contains(s.log.String(), "canary") {
		t.Error("a refused token is in the log")
	}
	for _, headers := range [][]string{basic("ts_read"), {"Authorization", "Bearer ts_read"}} {
		if r := s.send(t, http.MethodGet, "/overview", nil, headers...); r.status != http.StatusOK {
			t.Errorf("%v: %d", headers, r.status)
		}
	}
	// The API takes no token that a browser would send by itself.
	s.send(t, http.MethodPost, "/api/v1/connections/shop/pause", nil, basic("ts_admin")...).problem(t, http.StatusUnauthorized)
}

const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'`

// hostileEngine is one whose every text comes from somebody who means harm.
func hostileEngine(t *testing.T) *memoryEngine {
	engine := newEngine(t)
	quantity := stock.Quantity(3)
	l := stocksync.ListingView{Connection: "shop", Item: hostile, Place: hostile, SKU: hostile, Title: hostile, Target: &quantity, State: stocksync.Held,
		HeldReason: hostile, LastError: hostile}
	engine.listings = []stocksync.ListingView{l}
	engine.incidents = []stocksync.IncidentView{{ID: "1", Kind: hostile, Subject: hostile, Message: hostile, OpenedAt: time.Unix(0, 0)}}
	engine.plans = []stocksync.PlanView{{ID: "1", Connection: hostile, State: stocksync.PlanHeld, Reason: hostile}}
	engine.events = []stocksync.EventView{{ID: "1", Connection: hostile, Type: hostile, State: stocksync.EventParked, Reason: hostile}}
	engine.paused["shop"] = hostile
	engine.explained = stocksync.Explanation{Listing: l, Sentences: []string{hostile}, Pushes: []stocksync.PushView{{Outcome: hostile, Error: hostile}}}
	return engine
}

// TestPagesShowHostileTextAsText puts markup into everything that a page shows.
func TestPagesShowHostileTextAsText(t *testing.T) {
	s := serve(t, web.Config{Version: hostile}, hostileEngine(t))
	why := "/why?" + url.Values{"connection": {"shop"}, "item": {hostile}, "place": {hostile}}.Encode()
	for path, times := range map[string]int{
		"/overview": 3 + 2 + 3 + 1, "/find?q=": 6, why: 6, "/find?q=" + url.QueryEscape(hostile): 1,
	} {
		r := s.send(t, http.MethodGet, path, nil, basic("ts_read")...)
		if r.status != http.StatusOK {
			t.Errorf("%s: %d", path, r.status)
		}
		checkPage(t, r, "en")
		if strings.Contains(r.body, "<img") || strings.Count(r.body, "&lt;script&gt;") < times {
			t.Errorf("%s shows %d hostile texts, want %d, and all as text:\n%s", path, strings.Count(r.body, "&lt;script&gt;"), times, r.body)
		}
	}
}

var whyLink = regexp.MustCompile(`href="(/why\?[^"]+)"`)

// TestFindAndWhy finds a listing by a part of its title and follows its link.
func TestFindAndWhy(t *testing.T) {
	engine := newEngine(t)
	for i := range 150 {
		engine.listings = append(engine.listings, stocksync.ListingView{Connection: "shop", Item: "item/" + string(rune('α'+i)), Place: "a b", Title: "Tea", State: stocksync.InSync})
	}
	engine.explained.Sentences = []string{"The warehouse says 7."}
	s := serve(t, web.Config{}, engine)
	ask := func(path string) reply { return s.send(t, http.MethodGet, path, nil, basic("ts_read")...) }

	first := ask("/find?q=Tea&lang=zh")
	checkPage(t, first, "zh")
	links := whyLink.FindAllStringSubmatch(first.body, -1)
	next := regexp.MustCompile(`href="(/find\?[^"]*cursor=[^"]*)"`).FindStringSubmatch(first.body)
	if len(links) != 100 || next == nil {
		t.Fatalf("%d listings and the next page %v", len(links), next)
	}
	second := ask(html.UnescapeString(next[1]))
	checkPage(t, second, "zh")
	if got := whyLink.FindAllString(second.body, -1); len(got) != 50 {
		t.Errorf("%d listings on the second page", len(got))
	}
	why := ask(html.UnescapeString(links[3][1]))
	if why.status != http.StatusOK || !strings.Contains(why.body, "The warehouse says 7.") {
		t.Errorf("%d %s", why.status, why.body)
	}
	want := stocksync.ListingKey{Connection: "shop", Ref: connectors.Ref{Item: engine.listings[3].Item, Place: "a b"}}
	if engine.asked[len(engine.asked)-1] != want {
		t.Errorf("asked about %v, want %v", engine.asked, want)
	}
	if r := ask("/find?q=nothing"); r.status != http.StatusOK || !strings.Contains(r.body, "No listing") {
		t.Errorf("%d %s", r.status, r.body)
	}
	for path, status := range map[string]int{
		"/why?connection=nowhere&item=a":          http.StatusNotFound,
		"/find?cursor=x":                          http.StatusBadRequest,
		"/find?q=a&q=b":                           http.StatusBadRequest,
		"/find?q=%ff":                             http.StatusBadRequest,
		"/find?q=" + strings.Repeat("x", 900):     http.StatusBadRequest,
		"/why?connection=shop&item=%00&place=%ff": http.StatusBadRequest,
	} {
		r := ask(path)
		if r.status != status {
			t.Errorf("%.60s: %d, want %d", path, r.status, status)
		}
		checkPage(t, r, "en")
	}
}

func TestPageWithoutADatabase(t *testing.T) {
	engine := newEngine(t)
	engine.fail = errors.New("dial postgres://u:hunter2@db")
	s := serve(t, web.Config{}, engine)
	for _, path := range []string{"/overview", "/find", "/why?connection=shop&item=a"} {
		r := s.send(t, http.MethodGet, path, nil, basic("ts_read")...)
		if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" || strings.Contains(r.body, "hunter2") {
			t.Errorf("%s: %d %v", path, r.status, r.header)
		}
		checkPage(t, r, "en")
	}
}
