package main_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"

	"github.com/truestock/truestock/connectors/fake"
)

func TestTokenScopes(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA")
		s.deliver("warehouse", "broken", event("stock.level", `{"sku":"TEA","note":"for eyes that may see it"}`))
		s.applied()
		parked := parkedWith(s, "quantity is missing")
		tokens := map[string]string{"": "", "wrong": "ts_" + strings.Repeat("A", 43)}
		for _, scope := range []string{"read", "operate", "admin"} {
			tokens[scope] = h.newToken(scope)
		}
		const none, read, operate, admin = http.StatusUnauthorized, "read", "operate", "admin"
		rank := map[string]int{read: 1, operate: 2, admin: 3}
		for _, c := range []struct{ method, path, contentType, body, needs string }{
			{"GET", "/status", "", "", read}, {"GET", "/items/TEA", "", "", read}, {"GET", "/items", "", "", read}, {"GET", "/listings", "", "", read},
			{"GET", "/listings/shop/TEA", "", "", read}, {"GET", "/explain/shop/TEA", "", "", read}, {"GET", "/events", "", "", read},
			{"GET", "/incidents", "", "", read}, {"GET", "/plans", "", "", read}, {"GET", "/connections", "", "", read}, {"GET", "/mappings/export", "", "", read},
			{"POST", "/events/" + parked.ID + "/replay", "", "", operate}, {"POST", "/reconcile", "application/json", `{"dry_run":true}`, operate},
			{"POST", "/connections/shop/pause", "", "", operate}, {"POST", "/connections/shop/resume", "", "", operate}, {"POST", "/plans/1/approve", "", "", operate},
			{"POST", "/mappings/import", "text/csv", mappingCSV("shop,TEA,,TEA,1"), admin}, {"GET", "/tokens", "", "", admin},
			{"POST", "/tokens", "application/json", `{"name":"x","scope":"read"}`, admin}, {"DELETE", "/tokens/999999", "", "", admin},
		} {
			for name, token := range tokens {
				a, err := s.send(c.method, "/api/v1"+c.path, token, c.contentType, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case rank[name] == 0:
					wantProblem(t, a, none, "token")
					if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
						t.Errorf("%s %s without a token does not ask for one", c.method, c.path)
					}
				case rank[name] < rank[c.needs]:
					wantProblem(t, a, http.StatusForbidden, c.needs)
				case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || a.status >= 500:
					t.Errorf("%s %s with the scope %s is answered %d: %s", c.method, c.path, name, a.status, a.body)
				}
			}
		}
		// The body of an event may hold personal data.
		for scope, visible := range map[string]bool{read: false, operate: true} {
			a, err := s.send(http.MethodGet, "/api/v1/events/"+parked.ID, tokens[scope], "", nil)
			if err != nil || a.status != http.StatusOK || strings.Contains(a.body, "for eyes that may see it") != visible {
				t.Errorf("with the scope %s the event is shown as %d %s, %v", scope, a.status, a.body, err)
			}
		}
	})
}

func TestRevokedTokenEndsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.addListener("on_hand")
		s := h.start()
		status := func(token string) int {
			a, err := s.send(http.MethodGet, "/api/v1/status", token, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			return a.status
		}
		var made struct {
			Token string `json:"token"`
			ID    string `json:"id"`
		}
		out := h.must(exitOK, "token", "create", "--name", "short-lived", "--output", "json").stdout
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			t.Fatalf("token create prints %s: %v", out, err)
		}
		if got := status(made.Token); got != http.StatusOK {
			t.Fatalf("the new token is answered %d", got)
		}
		if listed := h.must(exitOK, "token", "list").stdout; !strings.Contains(listed, "short-lived") || strings.Contains(listed, made.Token) {
			t.Errorf("token list prints %s", listed)
		}
		h.must(exitOK, "token", "revoke", made.ID)
		if got := status(made.Token); got != http.StatusUnauthorized {
			t.Errorf("right after its revocation by the command line the token is answered %d", got)
		}

		var second struct {
			Secret string `json:"secret"`
			Token  struct {
				ID string `json:"id"`
			} `json:"token"`
		}
		a := s.call(http.MethodPost, "/tokens", "application/json", `{"name":"by api","scope":"read","ttl":"1h"}`)
		if err := json.Unmarshal([]byte(a.body), &second); a.status != http.StatusCreated || err != nil {
			t.Fatalf("POST /tokens is answered %d: %s", a.status, a.body)
		}
		if got := status(second.Secret); got != http.StatusOK {
			t.Errorf("the token made over the API is answered %d", got)
		}
		if a := s.call(http.MethodDelete, "/tokens/"+second.Token.ID, "", ""); a.status != http.StatusNoContent {
			t.Errorf("DELETE is answered %d: %s", a.status, a.body)
		}
		if got := status(second.Secret); got != http.StatusUnauthorized {
			t.Errorf("right after its revocation over the API the token is answered %d", got)
		}
		brief := strings.TrimSpace(h.must(exitOK, "token", "create", "--ttl", "1ms").stdout)
		h.eventually("the token has expired", func() error {
			if got := status(brief); got != http.StatusUnauthorized {
				return fmt.Errorf("it is answered %d", got)
			}
			return nil
		})
	})
}

// No secret shows: not in the log, at its most talkative, not in answers, not in what commands print, not in the
// database. Tokens are there as hashes only.
func TestSecretsNeverShow(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.settings = append(h.settings, "log: {level: debug}")
		tradingHouse(t, h)
		webhookKey := []byte("canary-key-of-the-webhooks-00001")
		rotated := "whsec_" + base64.StdEncoding.EncodeToString([]byte("canary-key-of-the-webhooks-00002"))
		h.secret = "whsec_" + base64.StdEncoding.EncodeToString(webhookKey)
		for i := range h.connections {
			h.connections[i] = withSecrets(h.connections[i], h.secret, rotated)
		}
		// The pretend systems want another token than the one that is configured: their refusal must not show it.
		h.connections[1] = strings.Replace(h.connections[1], "token: token", "token: canary-token-of-a-shop", 1)
		s := h.start()
		s.imports(tradingMapping...)
		h.shows("b", "b single", 10)
		// Everything that can go wrong with a secret in it.
		h.shops["b"].FailNext(2, fake.ServerError)
		h.shops["b"].FailNext(2, fake.HTMLBody)
		if err := h.warehouse.Receive("TEA", "main", 1); err != nil {
			t.Fatal(err)
		}
		h.shows("b", "b single", 11)
		guessed := "canary-guessed-token"
		var said strings.Builder
		for _, w := range []webhook{
			{connection: "warehouse", id: "1", body: levelEvent("TEA", 1, 1), secret: "whsec_" + base64.StdEncoding.EncodeToString([]byte("canary-key-of-somebody-else-0003"))},
			{connection: "warehouse", id: "2", body: `{`},
			{connection: "warehouse", id: "3", body: event("stock.level", `{"sku":null}`)},
		} {
			a, err := s.try(w)
			if err != nil {
				t.Fatal(err)
			}
			said.WriteString(a.body)
		}
		for _, path := range []string{"/status", "/connections", "/incidents", "/tokens", "/openapi.json", "/explain/a/single"} {
			said.WriteString(s.call(http.MethodGet, path, "", "").body)
			if a, err := s.send(http.MethodGet, "/api/v1"+path, guessed, "", nil); err == nil {
				said.WriteString(a.body)
			}
		}
		if a, err := s.send(http.MethodGet, "/metrics", "", "", nil); err == nil {
			said.WriteString(a.body)
		}
		for _, args := range []string{"check", "token list", "events", "plan b", "explain a single", "serve"} {
			r := h.run(strings.Fields(args)...)
			said.WriteString(r.stdout + r.stderr)
		}
		paused := s.call(http.MethodGet, "/connections", "", "").body
		if !strings.Contains(paused, `"paused":"`) || strings.Count(paused, `"paused":""`) != 2 {
			t.Errorf("the shop that refuses the token is not paused: %s", paused)
		}
		secrets := map[string]string{
			"the webhook secret": strings.TrimPrefix(h.secret, "whsec_"), "the rotated webhook secret": strings.TrimPrefix(rotated, "whsec_"),
			"the key of the webhook secret": string(webhookKey), "the token of a connection": "canary-token-of-a-shop", "a guessed token": guessed,
			"an API token": h.token, "an API token without its prefix": strings.TrimPrefix(h.token, "ts_"),
		}
		if code := s.stop(); code != exitOK {
			t.Errorf("the server ends with %d", code)
		}
		stored := databaseText(t, h)
		for name, secret := range secrets {
			for place, text := range map[string]string{"the log": s.log.String(), "an answer": said.String(), "the database": stored} {
				if at := strings.Index(text, secret); at >= 0 {
					t.Errorf("%s stands in %s: …%.200q", name, place, text[max(0, at-100):])
				}
			}
		}
		if !strings.Contains(s.log.String(), "level=DEBUG") || !strings.Contains(stored, "TEA") {
			t.Error("the log has no debug lines, or the database is empty: the test shows nothing")
		}
	})
}

// withSecrets puts other secrets in place of those of a connection's block.
func withSecrets(block string, secrets ...string) string {
	before, _, _ := strings.Cut(block, "webhook_secrets:")
	_, after, _ := strings.Cut(block, "}")
	return before + `webhook_secrets: ["` + strings.Join(secrets, `", "`) + `"]}` + after
}

// databaseText is everything in the database: the bytes of the files, or every row as text.
func databaseText(t *testing.T, h *house) string {
	t.Helper()
	var text strings.Builder
	if path, ok := strings.CutPrefix(h.database, "sqlite:"); ok {
		files, err := filepath.Glob(path + "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(data)
		}
		return text.String()
	}
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, h.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, _ := conn.Query(ctx, "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		rows, _ := conn.Query(ctx, "SELECT t::text FROM "+table+" AS t")
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(strings.Join(lines, "\n"))
	}
	rows, _ = conn.Query(ctx, "SELECT convert_from(body, 'UTF8') FROM inbox")
	bodies, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	text.WriteString(strings.Join(bodies, "\n"))
	return text.String()
}
