package main_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every mistake in the configuration is told with file, line and key, and with what to write instead.
func TestConfigurationErrors(t *testing.T) {
	t.Parallel()
	const warehouse = "connections:\n  wms:\n    connector: open\n    role: system_of_record\n"
	// want is how the message begins, after the name of the file.
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "listn: :8080\n", `1:1: listn: there is no such key: did you mean listen?`},
		{"unknown key inside", "database:\n  uri: sqlite:x.db\n", `2:3: database.uri: there is no such key: did you mean url?`},
		{"key twice", "listen: :8080\nlisten: :8081\n", `2:1: listen: the key stands twice, first on line 1: keep one of them`},
		{"no YAML", "listen: [\n", `1:9: the file is not YAML: `},
		{"bad address", "listen: 8080\n", `1:1: listen: "8080" is not an address: write host:port, such as 127.0.0.1:8080`},
		{"bad duration", "timings:\n  poll: fast\n", `2:3: timings.poll: "fast" is not a duration: write a number with its unit, such as 30s (units: ms, s, m, h)`},
		{"short duration", "timings:\n  poll: 5ms\n", `2:3: timings.poll: "5ms" is too short: write at least 100ms`},
		{"number as duration", "timings:\n  poll: 30\n", `2:3: timings.poll: "30" is not a duration: write a number with its unit`},
		{"bad zone", "reconcile:\n  zone: Mars/Olympus\n", `2:3: reconcile.zone: "Mars/Olympus" is not a time zone: write UTC or a name such as Europe/Berlin`},
		{"bad cron", "reconcile:\n  schedule: \"61 2 * * *\"\n", `2:3: reconcile.schedule: schedule "61 2 * * *" of reconcile: end of range (61) above maximum (59): 61; write five fields, for example "0 2 * * *"`},
		{"cron with seconds", "reconcile:\n  schedule: \"0 0 2 * * *\"\n", `2:3: reconcile.schedule: schedule "0 0 2 * * *" of reconcile: expected exactly 5 fields, found 6`},
		{"bad policy", "reconcile:\n  policy: fool\n", `2:3: reconcile.policy: "fool" is not known: write observe, lower-only or full`},
		{"bad database", "database:\n  url: mysql://x\n", `2:3: database.url: it names no database that is known: write sqlite:truestock.db or postgres://user@host/database`},
		{"unset variable", "database:\n  url: ${NOWHERE_SET}\n", `2:3: database.url: the environment variable NOWHERE_SET is not set: set it, or write the value here`},
		{"missing secret file", "database:\n  url: file:/nowhere/at/all\n", `2:3: database.url: "file:/nowhere/at/all" cannot be read`},
		{"limit out of range", "limits:\n  body_bytes: 1\n", `2:3: limits.body_bytes: "1" is not a whole number from 1024 to 1073741824: write one, such as 1048576`},
		{"negative stock", "policy:\n  buffer: -2\n", `2:3: policy.buffer: "-2" is not a whole number from 0 to `},
		{"no connector", "connections:\n  shop:\n    role: marketplace\n", `2:3: connections.shop.connector: the key is missing: write which connector speaks to it, such as connector: open`},
		{"unknown connector", "connections:\n  shop:\n    connector: opne\n    role: marketplace\n", `3:5: connections.shop.connector: no connector is called "opne"; there are [`},
		{"unknown role", "connections:\n  shop:\n    connector: open\n    role: shop\n", `4:5: connections.shop.role: "shop" is not known: write marketplace or system_of_record`},
		{"role that the connector lacks", "connections:\n  shop:\n    connector: vendure\n    role: system_of_record\n", `4:5: connections.shop.role: connector vendure cannot be a system_of_record; it can be: [marketplace]`},
		{"missing setting", "connections:\n  shop:\n    connector: vendure\n    role: marketplace\n    settings: {}\n", `5:5: connections.shop.settings: base_url is missing: `},
		{"unknown setting", warehouse + "    settings:\n      bas_url: http://x\n", `6:7: connections.wms.settings.bas_url: connector open has no setting of this name; it has: base_url, token, webhook_secrets`},
		{"bad setting", warehouse + "    settings:\n      base_url: not an address\n", `5:5: connections.wms.settings: base_url: its scheme is ""; write http:// or https:// before the host`},
		{"bad secret", warehouse + "    settings:\n      levels: on_hand\n      webhook_secrets: whsec_canary-that-is-no-base64\n", `5:5: connections.wms.settings: webhook_secrets: `},
		{"no way to the system", warehouse + "    settings: {}\n", `5:5: connections.wms.settings: `},
		{"key of the other role", warehouse + "    orders_to: wms\n", `5:5: connections.wms.orders_to: only a marketplace takes the key: remove it from this system_of_record`},
		{"orders to nowhere", warehouse + "  shop: {connector: open, role: marketplace, orders_to: wsm}\n", `5:46: connections.shop.orders_to: no connection is called "wsm": did you mean wms?`},
		{"bad name", "connections:\n  My Shop: {connector: open, role: marketplace}\n", `2:3: connections.My Shop: "My Shop" cannot name a connection: write up to 63 of a-z, 0-9, - and _, a letter first`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := &house{t: t, dir: t.TempDir()}
			if err := os.WriteFile(filepath.Join(h.dir, "truestock.yaml"), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"check", "serve"} {
				r := h.run(command)
				want := "truestock: " + filepath.Join(h.dir, "truestock.yaml") + ":" + c.want
				if r.code != exitUsage || !strings.HasPrefix(r.stderr, want) || r.stdout != "" {
					t.Errorf("truestock %s ends with %d and says %s\n%s\nwant 2 and\n%s", command, r.code, r.stdout, r.stderr, want)
				}
				if strings.Contains(r.stderr, "canary") {
					t.Errorf("the message shows a secret: %s", r.stderr)
				}
			}
			if _, err := os.Stat(filepath.Join(h.dir, "truestock.db")); err == nil {
				t.Error("a database was made although the configuration is wrong")
			}
		})
	}
}

func TestSeveralConfigurationErrorsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	h := &house{t: t, dir: t.TempDir()}
	text := "listen: 8080\nlog: {level: loud}\nconnections:\n  a: {connector: open, role: shop}\n"
	if err := os.WriteFile(filepath.Join(h.dir, "truestock.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := h.must(exitUsage, "check")
	for _, key := range []string{"truestock.yaml:1:1: listen: ", "truestock.yaml:2:7: log.level: ", "truestock.yaml:4:24: connections.a.role: "} {
		if !strings.Contains(r.stderr, key) {
			t.Errorf("the message lacks %q: %s", key, r.stderr)
		}
	}
}

func TestMissingConfiguration(t *testing.T) {
	t.Parallel()
	h := &house{t: t, dir: t.TempDir()}
	if r := h.must(exitUsage, "check"); !strings.Contains(r.stderr, "truestock.yaml") {
		t.Errorf("the message does not name the file: %s", r.stderr)
	}
}

// A port that is taken is a mistake of the configuration too.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for key, line := range map[string]string{
		"listen":         "listen: " + taken.Addr().String() + "\n",
		"metrics_listen": "listen: 127.0.0.1:0\nmetrics_listen: " + taken.Addr().String() + "\n",
	} {
		h := &house{t: t, dir: t.TempDir()}
		if err := os.WriteFile(filepath.Join(h.dir, "truestock.yaml"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		r := h.must(exitUsage, "serve")
		for _, text := range []string{"truestock.yaml:", key + ": cannot listen on " + taken.Addr().String(), "address already in use"} {
			if !strings.Contains(r.stderr, text) {
				t.Errorf("the message lacks %q: %s", text, r.stderr)
			}
		}
	}
}

// check asks every connection whether its credentials work, and check --health asks the running server.
func TestCheck(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tradingHouse(t, h)
	h.configure()
	r := h.must(exitOK, "check")
	for _, text := range []string{"connection a: ok", "connection b: ok", "connection warehouse: ok"} {
		if !strings.Contains(r.stdout, text) {
			t.Errorf("check does not say %q: %s", text, r.stdout)
		}
	}
	h.connections[1] = strings.Replace(h.connections[1], "token: token", "token: canary-of-a-token", 1)
	h.configure()
	if r := h.must(exitNotMet, "check"); !strings.Contains(r.stdout, "connection b: ok") || strings.Contains(r.stdout, "connection a: ok") || strings.Contains(r.stdout+r.stderr, "canary") {
		t.Errorf("with a wrong token for a, check prints %s%s", r.stdout, r.stderr)
	}
	h.must(exitNotMet, "check", "a")
	h.must(exitOK, "check", "b")
	if r := h.run("check", "--health"); r.code != exitFailed {
		t.Errorf("check --health of no server ends with %d: %s", r.code, r.stderr)
	}
}

// A command that is used wrongly, or asks for what is not there, says what to do instead.
func TestWrongUse(t *testing.T) {
	t.Parallel()
	h := &house{t: t, dir: t.TempDir()}
	file := "database: {url: \"sqlite:" + filepath.Join(h.dir, "truestock.db") + "\"}\n"
	if err := os.WriteFile(filepath.Join(h.dir, "truestock.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"bogus", exitUsage, "truestock --help"},
		{"plan --nope", exitUsage, "truestock plan --help"},
		{"serve x", exitUsage, "truestock serve --help"},
		{"version -o xml", exitUsage, "table or json"},
		{"token create --scope king", exitUsage, "read, operate or admin"},
		{"token revoke x", exitUsage, "whole numbers"},
		{"token revoke 99", exitFailed, "truestock token list"},
		{"events --state nope", exitUsage, "pending, applied or parked"},
		{"events --limit -3", exitUsage, "--limit"},
		{"events 5", exitFailed, "truestock events"},
		{"replay 7", exitFailed, "truestock events --state parked"},
		{"replay", exitUsage, "--parked"},
		{"plan nowhere", exitUsage, "nowhere"},
	} {
		if r := h.run(strings.Fields(c.args)...); r.code != c.code || !strings.Contains(r.stderr, c.says) || r.stdout != "" {
			t.Errorf("truestock %s ends with %d, %q; want %d and %q", c.args, r.code, r.stderr, c.code, c.says)
		}
	}
}
