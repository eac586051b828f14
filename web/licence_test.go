package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	stocksync "github.com/truestock/truestock/sync"
	"github.com/truestock/truestock/web"
)

func TestKeysAreShownByRevealAloneAndOnce(t *testing.T) {
	s := serve(t, web.Config{ImportBytes: 2000}, newEngine(t))
	rows, pages := collect[stocksync.KeyView](t, s, "/keys?sku=APP&limit=1")
	if len(rows) != 2 || pages < 2 || rows[1].ID != "2" {
		t.Errorf("%d keys on %d pages: %+v", len(rows), pages, rows)
	}
	if r := s.call(t, read, http.MethodGet, "/keys?sku=APP", ""); strings.Contains(r.body, "KEY-") {
		t.Errorf("the list shows keys: %s", r.body)
	}
	s.call(t, read, http.MethodGet, "/keys", "").problem(t, http.StatusUnprocessableEntity)

	shown := s.call(t, operate, http.MethodPost, "/keys/1/reveal?reason=sent", "")
	if v := into[map[string]string](t, shown); v["id"] != "1" || v["key"] != "KEY-1" || shown.header.Get("Cache-Control") != "no-store" {
		t.Errorf("revealed %v, cached %q", v, shown.header.Get("Cache-Control"))
	}
	if detail := s.call(t, operate, http.MethodPost, "/keys/1/reveal", "").problem(t, http.StatusConflict); !strings.Contains(detail, "was revealed to") || strings.Contains(detail, "KEY-1") {
		t.Errorf("revealed again: %s", detail)
	}
	s.call(t, operate, http.MethodPost, "/keys/9/reveal", "").problem(t, http.StatusNotFound)
	s.call(t, operate, http.MethodPost, "/keys/9/revoke", "").problem(t, http.StatusNotFound)
	if v := into[map[string]string](t, s.call(t, operate, http.MethodPost, "/keys/2/revoke", "")); v["state"] != "revoked" {
		t.Errorf("revoked: %v", v)
	}

	load := func(body, contentType string) reply {
		return s.send(t, http.MethodPost, "/api/v1/keys/import?sku=APP", strings.NewReader(body), "Authorization", "Bearer ts_admin", "Content-Type", contentType)
	}
	if v := into[stocksync.KeysImportView](t, load("key\nA\nB\n", "text/csv")); v.Keys != 2 || v.SKU != "APP" {
		t.Errorf("imported %+v", v)
	}
	bad := load("key\nKEY-1\n", "text/csv")
	bad.problem(t, http.StatusUnprocessableEntity)
	var view stocksync.KeysImportView
	if err := json.Unmarshal([]byte(bad.body), &view); err != nil || len(view.Errors) != 1 || view.Errors[0].Line != 2 || strings.Contains(bad.body, "KEY-1") {
		t.Errorf("%v: %s", err, bad.body)
	}
	load("key\nA\n", "application/json").problem(t, http.StatusUnsupportedMediaType)
	load(strings.Repeat("x", 2001), "text/csv").problem(t, http.StatusRequestEntityTooLarge)
	if strings.Contains(s.log.String(), "KEY-") {
		t.Error("the log shows keys")
	}
}

func TestCampaigns(t *testing.T) {
	s := serve(t, web.Config{}, newEngine(t))
	rows, pages := collect[stocksync.CampaignView](t, s, "/campaigns?limit=1")
	if len(rows) != 2 || pages < 2 || rows[1].Name != "spring" {
		t.Errorf("%d campaigns on %d pages", len(rows), pages)
	}
	if v := into[stocksync.CampaignView](t, s.call(t, read, http.MethodGet, "/campaigns/friday", "")); v.State != "running" {
		t.Errorf("one: %+v", v)
	}
	s.call(t, read, http.MethodGet, "/campaigns/none", "").problem(t, http.StatusNotFound)
}
