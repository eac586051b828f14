package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/stock"
)

func noEnv(string) (string, bool) { return "", false }

// env answers from name, value pairs.
func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

const whole = `
listen: 0.0.0.0:80            # webhooks, API, page
metrics_listen: ":9090"
log: {level: debug, format: json}
trusted_proxies: [10.0.0.0/8, "2001:db8::/32"]
database:
  url: postgres://user@db.example:5433/stock
limits: {body_bytes: 2048, requests_per_second: 50, inbox_queue: 10}
timings:
  poll: 10s
  levels: 1h30m
  look: 100ms
  retry_min: 200ms
  retry_max: 1m
  request: 5s
  request_life: 45s
  stale_statement: 12h
  contest_window: 30m
  retry_horizon: 4h
reconcile: {schedule: "30 3 * * 1", zone: Europe/Berlin, policy: lower-only, keep: 720h}
guard: {count: 20, permille: 250, fall_permille: 600, rise_factor: 5, window: 2m}
oversell: {max_permille: 1080, min_orders: 50}
notices:
  allow: [mail.internal, 10.1.2.0/24]
  keep: 240h
  targets:
    hook: {url: "https://ops.example/in", secret: whsec_x}
    team: {url: "slack://token"}
policy: {share_permille: 900, safety_stock: 1, buffer: 2, threshold: 3, cap: 40, minimum: 5}
connections:
  erp:
    connector: open
    role: system_of_record
    settings: {base_url: "https://erp.example", token: "${ERP_TOKEN}"}
    levels_at: {annex: available}
  shop:
    connector: open
    role: marketplace
    settings:
      text: plain
      number: 0123
      float: 1.50
      truth: true
      list: [a, 2, false]
      block: |
        two
        lines
      escaped: $${HOME} costs $5
      mixed: "a${A}b${B}c"
    locations: [main, 7]
    places: {berlin: [B1, B2], 10115: [B1]}
    poll: 1s
    guard: {count: 7, rise_factor: 50}
    heal: observe
    admission: {deadline: 2s, default: admit}
    policy: {buffer: 0, cap: null}
  second: {connector: vendure, role: marketplace, orders_to: erp, policy: {share_permille: null, minimum: 1}}
`

func TestParse(t *testing.T) {
	got, err := Parse("t.yaml", []byte(whole), env("ERP_TOKEN", "s3cret ${A}", "A", "x", "B", ""))
	if err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	base := stock.Policy{SharePermille: new(int64(900)), SafetyStock: 1, Buffer: 2, Threshold: 3, Cap: new(stock.Quantity(40)), Minimum: 5}
	shop, second := base, base
	shop.Buffer, shop.Cap = 0, nil
	second.SharePermille, second.Minimum = nil, 1
	guard := Guard{Count: 20, Permille: 250, FallPermille: 600, RiseFactor: 5, Window: 2 * time.Minute}
	shopGuard := guard
	shopGuard.Count, shopGuard.RiseFactor = 7, 50
	want := Config{
		Listen: "0.0.0.0:80", MetricsListen: ":9090",
		Log:            Log{Level: slog.LevelDebug, Format: JSON},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
		Database:       Database{URL: "postgres://user@db.example:5433/stock"},
		Limits:         Limits{BodyBytes: 2048, RequestsPerSecond: 50, InboxQueue: 10},
		Timings: Timings{
			Poll: 10 * time.Second, Levels: 90 * time.Minute, Look: 100 * time.Millisecond, RetryMin: 200 * time.Millisecond,
			RetryMax: time.Minute, Request: 5 * time.Second, RequestLife: 45 * time.Second, StaleStatement: 12 * time.Hour, ContestWindow: 30 * time.Minute,
			RetryHorizon: 4 * time.Hour, ReturnDeadline: 14 * 24 * time.Hour, StuckCommitment: 48 * time.Hour, Tend: time.Hour, Silence: 10 * time.Minute, OrderStatus: time.Hour,
		},
		Reconcile: Reconcile{Schedule: "30 3 * * 1", Zone: berlin, Policy: LowerOnly, Keep: 720 * time.Hour},
		Guard:     guard,
		Oversell:  stock.OversellBound{MaxPermille: 1080, MinOrders: 50},
		Notices: Notices{Allow: []string{"mail.internal", "10.1.2.0/24"}, Keep: 240 * time.Hour,
			Targets: map[string]NoticeTarget{"hook": {URL: "https://ops.example/in", Secret: "whsec_x"}, "team": {URL: "slack://token"}}},
		Policy: base,
		Connections: map[stock.ConnectionID]Connection{
			"erp": {
				Connector: "open", Role: SystemOfRecord, Poll: 10 * time.Second, Guard: guard,
				Settings: Settings{"base_url": "https://erp.example", "token": "s3cret ${A}"},
				LevelsAt: map[stock.LocationID]stock.Basis{"annex": stock.AvailableBasis},
			},
			"shop": {
				Connector: "open", Role: Marketplace, Poll: time.Second, OrdersTo: "erp", Heal: Observe, Policy: shop, Guard: shopGuard, Admission: Admission{2 * time.Second, Admit},
				Settings: Settings{
					"text": "plain", "number": "0123", "float": "1.50", "truth": "true", "list": "a,2,false",
					"block": "two\nlines\n", "escaped": "${HOME} costs $5", "mixed": "axbc",
				},
				Locations: []stock.LocationID{"main", "7"},
				Places:    map[string][]stock.LocationID{"berlin": {"B1", "B2"}, "10115": {"B1"}},
			},
			"second": {Connector: "vendure", Role: Marketplace, Poll: 10 * time.Second, OrdersTo: "erp", Heal: LowerOnly, Policy: second, Guard: guard, Admission: Admission{4 * time.Second, Refuse}, Settings: Settings{}},
		},
	}
	if names := got.Names(); !slices.Equal(names, []stock.ConnectionID{"erp", "second", "shop"}) {
		t.Errorf("names: %v", names)
	}
	got.file, got.positions = "", nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%#v\nwant\n%#v", got, want)
		for name := range want.Connections {
			t.Log(name, got.Connections[name].Settings.Reveal())
		}
	}
}

func TestDefault(t *testing.T) {
	for name, data := range map[string]string{
		"empty": "", "comments": "# nothing\n", "document": "---\n", "byte order mark": "\xEF\xBB\xBF# nothing",
		"empty sections": "log:\ntimings:\r\n  # poll: 1s\r\nconnections:\npolicy: ~\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("t.yaml", []byte(data), noEnv)
			if err != nil {
				t.Fatal(err)
			}
			got.file, got.positions = "", nil
			if want := Default(); !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%v\nwant\n%v", got, want)
			}
		})
	}
}

// TestDefaultIsValid reads what Default prints.
func TestDefaultIsValid(t *testing.T) {
	got, err := Parse("t.yaml", []byte(Default().String()), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != Default().String() {
		t.Errorf("got\n%s\nwant\n%s", got, Default())
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	large := filepath.Join(dir, "large")
	writeFile(t, empty, "\n")
	writeFile(t, large, strings.Repeat("x", maxFileBytes+1))
	const shop = "connections:\n  shop:\n    connector: open\n    role: marketplace\n    "

	tests := map[string]struct {
		in   string
		want string
	}{
		"unknown keys": {"lisen: :80\ncolour: red\nlog: {levl: info}\ntimings:\n  pol: 1s\n", `
t.yaml:1:1: lisen: there is no such key: did you mean listen?
t.yaml:2:1: colour: there is no such key: write listen, metrics_listen, public_url, log, trusted_proxies, database, limits, timings, reconcile, guard, oversell, policy, keys, notices or connections
t.yaml:3:7: log.levl: there is no such key: did you mean level?
t.yaml:5:3: timings.pol: there is no such key: did you mean poll?`},
		"a short secret for keys": {"keys: {secret: hunter2}\n", `
t.yaml:1:8: keys.secret: it is shorter than 16 characters: make one with openssl rand -base64 32`},
		"keys twice": {"listen: :80\nlog: {level: info, level: warn}\nlisten: :81\n", `
t.yaml:2:20: log.level: the key stands twice, first on line 2: keep one of them
t.yaml:3:1: listen: the key stands twice, first on line 1: keep one of them`},
		"connection twice": {"connections:\n  a: {connector: open, role: marketplace}\n  a: {connector: open, role: marketplace}\n", `
t.yaml:3:3: connections.a: the key stands twice, first on line 2: keep one of them`},
		"not YAML": {"listen: \":80\n", `
t.yaml:1:9: the file is not YAML: could not find end character of double-quoted text`},
		"variable in braces": {"connections:\n  a: {settings: {token: ${T}}}\n", `
t.yaml:2:26: the file is not YAML: ',' or '}' must be specified; between { } or [ ], ${NAME} needs quotes: "${NAME}"`},
		"not UTF-8":     {"listen: \xff", "\nt.yaml:1:1: the file is not UTF-8: save it as UTF-8"},
		"too large":     {strings.Repeat("#", maxBytes+1), "\nt.yaml:1:1: the file is larger than 262144 bytes"},
		"two documents": {"listen: :80\n---\nlog: {level: info}\n", "\nt.yaml:1:1: the file holds several documents: keep one, without --- between"},
		"a list":        {"- a\n", "\nt.yaml:1:1: a list stands where keys are expected: write listen: 127.0.0.1:8080"},
		"wrong kinds": {"listen: [a]\nlog: info\ntrusted_proxies: 10.0.0.0/8\nmetrics_listen:\nlimits: [1]\n", `
t.yaml:1:1: listen: a list stands where a value is expected: write 127.0.0.1:8080
t.yaml:2:1: log: a single value stands where keys are expected: write {level: info, format: text}
t.yaml:3:1: trusted_proxies: a single value stands where a list is expected: write [10.0.0.0/8]
t.yaml:4:1: metrics_listen: nothing stands where a value is expected: write 127.0.0.1:9090
t.yaml:5:1: limits: a list stands where keys are expected: write {body_bytes: 1048576}`},
		"anchors, tags, merges": {"policy: &p {buffer: 1}\nlisten: !!str a\nlog: *p\ntimings:\n  <<: *p\n? database\n: {}\n", `
t.yaml:1:1: policy: an anchor or alias (they are not supported) stands where keys are expected: write {buffer: 2}
t.yaml:2:1: listen: a tag (they are not supported) stands where a value is expected: write 127.0.0.1:8080
t.yaml:3:1: log: an anchor or alias (they are not supported) stands where keys are expected: write {level: info, format: text}
t.yaml:5:3: timings: an anchor or alias (they are not supported) cannot be a key: write key: value
t.yaml:6:1: a mapping cannot be a key: write key: value`},
		"addresses": {"listen: localhost\nmetrics_listen: :99999\n", `
t.yaml:1:1: listen: "localhost" is not an address: write host:port, such as 127.0.0.1:8080, or :8080 for every interface
t.yaml:2:1: metrics_listen: ":99999" is not an address: write host:port, such as 127.0.0.1:8080, or :8080 for every interface`},
		"one address for both": {"metrics_listen: 127.0.0.1:8080\n", `
t.yaml:1:1: metrics_listen: "127.0.0.1:8080" is the address of listen: write "" to serve /metrics there`},
		"words": {"log: {level: warning, format: xml}\nreconcile: {policy: lower}\n", `
t.yaml:1:7: log.level: "warning" is not known: write debug, info, warn or error
t.yaml:1:23: log.format: "xml" is not known: write text or json
t.yaml:2:13: reconcile.policy: "lower" is not known: write observe, lower-only or full`},
		"proxies": {"trusted_proxies: [10.0.0.1, 10.0.0.1/8, ten, [a]]\n", `
t.yaml:1:19: trusted_proxies: "10.0.0.1" is one address: write the network, with /32 behind it for this address alone
t.yaml:1:29: trusted_proxies: "10.0.0.1/8" has bits set behind its mask: write the network itself
t.yaml:1:41: trusted_proxies: "ten" is not a network: write address/bits, such as 10.0.0.0/8
t.yaml:1:46: trusted_proxies: a list stands where a value is expected: write 10.0.0.0/8`},
		"database": {"database: {url: truestock.db}\n", `
t.yaml:1:12: database.url: it names no database that is known: write sqlite:truestock.db or postgres://user@host/database`},
		"sqlite": {"database: {url: sqlite://truestock.db}\n", `
t.yaml:1:12: database.url: the path of the SQLite file is missing or begins with two slashes: write sqlite:truestock.db or sqlite:/var/lib/truestock.db`},
		"postgres": {"database: {url: \"postgres://u:pa ss%@h/db\"}\n", `
t.yaml:1:12: database.url: it is not a PostgreSQL URL: write postgres://user@host/database; give the password in the variable PGPASSWORD, or percent-encode it`},
		"postgres without a database": {"database: {url: \"postgres://h\"}\n", `
t.yaml:1:12: database.url: it is not a PostgreSQL URL: write postgres://user@host/database; give the password in the variable PGPASSWORD, or percent-encode it`},
		"numbers": {"limits: {body_bytes: 1MB, requests_per_second: -1, inbox_queue: 1.5}\n", `
t.yaml:1:10: limits.body_bytes: "1MB" is not a whole number from 1024 to 1073741824: write one, such as 1048576
t.yaml:1:27: limits.requests_per_second: "-1" is not a whole number from 0 to 1000000: write one, such as 0
t.yaml:1:52: limits.inbox_queue: "1.5" is not a whole number from 1 to 1000000: write one, such as 4096`},
		"durations": {"timings: {poll: 30, levels: 1d, look: 99ms, request: -5s}\n", `
t.yaml:1:11: timings.poll: "30" is not a duration: write a number with its unit, such as 30s (units: ms, s, m, h)
t.yaml:1:21: timings.levels: "1d" is not a duration: write a number with its unit, such as 24h (units: ms, s, m, h)
t.yaml:1:33: timings.look: "99ms" is too short: write at least 100ms, such as 1s
t.yaml:1:45: timings.request: "-5s" is too short: write at least 100ms, such as 15s`},
		"back-off": {"timings: {retry_max: 500ms}\n", `
t.yaml:1:11: timings.retry_max: retry_min is 1s and retry_max 500ms: the first must not be longer than the second`},
		"guards": {"guard: {count: 1, permille: 30%, window: 1s}\nconnections: {shop: {connector: open, role: marketplace, guard: {rise_factor: 1, window: 1m}}}\n", `
t.yaml:1:9: guard.count: "1" is not a whole number from 2 to 1000000: write one, such as 10
t.yaml:1:19: guard.permille: "30%" is not a whole number from 1 to 1000: write one, such as 300
t.yaml:2:66: connections.shop.guard.rise_factor: "1" is not a whole number from 2 to 1000000: write one, such as 10
t.yaml:2:82: connections.shop.guard.window: there is no such key: write count, permille, fall_permille or rise_factor`},
		"zones": {"reconcile: {zone: Berlin}\n", `
t.yaml:1:13: reconcile.zone: "Berlin" is not a time zone: write UTC or a name such as Europe/Berlin`},
		"the machine's zone": {"reconcile: {zone: Local}\n", `
t.yaml:1:13: reconcile.zone: "Local" is not a time zone: write UTC or a name such as Europe/Berlin`},
		"policy": {"policy: {share_permille: 1001, buffer: -1, cap: many}\n", `
t.yaml:1:10: policy.share_permille: "1001" is not a whole number from 0 to 1000: write one, such as 100
t.yaml:1:32: policy.buffer: "-1" is not a whole number from 0 to 1000000000000: write one, such as 0
t.yaml:1:44: policy.cap: "many" is not a whole number from 0 to 1000000000000: write one, such as 100`},
		"policy of both": {"policy: {cap: 3}\n" + shop + "policy: {minimum: 5}\n", `
t.yaml:6:14: connections.shop.policy.minimum: minimum 5 is above cap 3`},
		"policy of both, by the default": {"policy: {minimum: 5}\n" + shop + "policy: {cap: 3}\n", `
t.yaml:6:5: connections.shop.policy: minimum 5 is above cap 3`},
		"names of connections": {"connections:\n  Shop: {connector: open, role: marketplace}\n  kit: {connector: open, role: marketplace}\n", `
t.yaml:2:3: connections.Shop: "Shop" cannot name a connection: write up to 63 of a-z, 0-9, - and _, a letter first
t.yaml:3:3: connections.kit: the name kit is reserved for the kits of the mapping: write another`},
		"keys missing": {"connections:\n  shop:\n", `
t.yaml:2:3: connections.shop.connector: the key is missing: write which connector speaks to it, such as connector: open
t.yaml:2:3: connections.shop.role: the key is missing: write role: marketplace or role: system_of_record`},
		"role": {"connections:\n  shop: {connector: \"\", role: markteplace}\n", `
t.yaml:2:10: connections.shop.connector: "" is empty: write a name
t.yaml:2:25: connections.shop.role: "markteplace" is not known: did you mean marketplace?`},
		"keys of the other role": {"connections:\n  erp: {connector: open, role: system_of_record, locations: [a], places: {}, orders_to: erp, policy: {}}\n", `
t.yaml:2:50: connections.erp.locations: only a marketplace takes the key: remove it from this system_of_record
t.yaml:2:66: connections.erp.places: only a marketplace takes the key: remove it from this system_of_record
t.yaml:2:78: connections.erp.orders_to: only a marketplace takes the key: remove it from this system_of_record
t.yaml:2:94: connections.erp.policy: only a marketplace takes the key: remove it from this system_of_record`},
		"levels at locations": {"connections:\n  erp: {connector: open, role: system_of_record, levels_at: {annex: on hand, \"\": available}}\n", `
t.yaml:2:62: connections.erp.levels_at.annex: "on hand" is not known: did you mean on_hand?
t.yaml:2:78: connections.erp.levels_at.: a location has no name: write the location's id at the system of record`},
		"levels at locations of a marketplace": {shop + "levels_at: {annex: available}\n", `
t.yaml:5:5: connections.shop.levels_at: only a system_of_record takes the key: remove it from this marketplace`},
		"locations": {shop + "locations: [a, a, \"\"]\n    places: {b: [], \"\": [a], c: d}\n", `
t.yaml:5:20: connections.shop.locations: "a" stands twice in the list: keep one
t.yaml:5:23: connections.shop.locations: a name in the list is empty: remove it, or write [main]
t.yaml:6:14: connections.shop.places.b: the place has no locations: name at least one, such as [B1], or remove the place
t.yaml:6:21: connections.shop.places.: a place has no name: write the locations of the whole channel under locations
t.yaml:6:30: connections.shop.places.c: a single value stands where a list is expected: write [B1, B2]`},
		"orders to nowhere": {shop + "orders_to: epr\n  erp: {connector: open, role: system_of_record}\n", `
t.yaml:5:5: connections.shop.orders_to: no connection is called "epr": did you mean erp?`},
		"orders to itself": {shop + "orders_to: shop\n", `
t.yaml:5:5: connections.shop.orders_to: "shop" is not a system of record: there is none`},
		"orders to one of two": {shop + "poll: 1s\n  erp: {connector: open, role: system_of_record}\n  wms: {connector: open, role: system_of_record}\n", `
t.yaml:2:3: connections.shop.orders_to: there are several systems of record: write which one gets the orders, erp or wms`},
		"variables": {"listen: ${LISTEN}\nlog: {level: \"${LEVEL}\"}\n" + shop + "settings: {a: \"${1}\", b: \"x${\", c: \"${}\"}\n", `
t.yaml:1:1: listen: the environment variable LISTEN is not set: set it, or write the value here
t.yaml:2:7: log.level: "${LEVEL}" is not known: write debug, info, warn or error
t.yaml:7:16: connections.shop.settings.a: a ${ is not followed by the name of an environment variable and }: write ${NAME}, or $${ for the characters themselves
t.yaml:7:27: connections.shop.settings.b: a ${ is not followed by the name of an environment variable and }: write ${NAME}, or $${ for the characters themselves
t.yaml:7:37: connections.shop.settings.c: a ${ is not followed by the name of an environment variable and }: write ${NAME}, or $${ for the characters themselves`},
		"settings": {shop + "settings: {a: {b: c}, d: null, e: [[x]], f: [\"x,y\"]}\n", `
t.yaml:5:16: connections.shop.settings.a: a mapping stands where a value is expected: write text, a number, true or false, or a list of these
t.yaml:5:27: connections.shop.settings.d: nothing stands where a value is expected: write text, a number, true or false, or a list of these
t.yaml:5:40: connections.shop.settings.e: a list stands where a value is expected: write text, a number, true or false, or a list of these
t.yaml:5:50: connections.shop.settings.f: an element of the list contains a comma, and the list is joined by commas: write the elements apart`},
		"files": {shop + "settings:\n      a: file:token\n      b: file:/nowhere/token\n      c: file:" + dir + "\n      d: file:" + empty + "\n      e: file:" + large + "\n", `
t.yaml:6:7: connections.shop.settings.a: "file:token" is not an absolute path: write file:/path/to/file
t.yaml:7:7: connections.shop.settings.b: "file:/nowhere/token" cannot be read: no such file or directory
t.yaml:8:7: connections.shop.settings.c: "file:` + dir + `" is not a file
t.yaml:9:7: connections.shop.settings.d: "file:` + empty + `" is empty
t.yaml:10:7: connections.shop.settings.e: "file:` + large + `" holds more than 65536 bytes`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("t.yaml", []byte(tt.in), env("LEVEL", "loud"))
			if err == nil {
				t.Fatalf("no error, but\n%s", got)
			}
			if "\n"+err.Error() != tt.want {
				t.Errorf("got\n%v\nwant%s", err, tt.want)
			}
			if !reflect.DeepEqual(got, Config{}) {
				t.Errorf("a configuration beside the error: %v", got)
			}
			if _, ok := errors.AsType[Problem](err); !ok {
				t.Errorf("no Problem in %#v", err)
			}
		})
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	writeFile(t, token, "s3cret ${NOT_A_VARIABLE}\r\n")
	path := filepath.Join(dir, "truestock.yaml")
	writeFile(t, path, "database: {url: \"file:"+filepath.Join(dir, "url")+"\"}\nconnections:\n  shop:\n    connector: open\n    role: marketplace\n"+
		"    settings: {token: \"file:${DIR}/token\", other: \"${OTHER}\"}\n")
	writeFile(t, filepath.Join(dir, "url"), "postgres://u:p@h/d\n")

	c, err := Load(path, env("DIR", dir, "OTHER", "file:"+token))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"token": "s3cret ${NOT_A_VARIABLE}", "other": "file:" + token}
	if got := c.Connections["shop"].Settings.Reveal(); !reflect.DeepEqual(got, want) {
		t.Errorf("settings: got %q, want %q", got, want)
	}
	if got := c.Database.URL.Reveal(); got != "postgres://u:p@h/d" {
		t.Errorf("database: got %q", got)
	}

	_, err = Load(filepath.Join(dir, "none.yaml"), noEnv)
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "read the configuration: open "+dir) {
		t.Errorf("no file: got %v", err)
	}
}

const secretive = `
database: {url: "postgres://someone:hush@db.example:5433/stock?sslpassword=hush"}
connections:
  shop:
    connector: open
    role: marketplace
    settings: {token: hush, list: [hush, hush], number: 4711}
    places: {"a \"place\"": [B1]}
`

func TestSecretsAreNotShown(t *testing.T) {
	c, err := Parse("t.yaml", []byte(secretive), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	marshalled, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("start", "config", c, "settings", c.Connections["shop"].Settings, "token", c.Connections["shop"].Settings["token"])
	slog.New(slog.NewTextHandler(&log, nil)).Info("start", "config", c, "settings", c.Connections["shop"].Settings, "connections", c.Connections)
	texts := []string{c.String(), string(marshalled), log.String(), c.Database.String(), c.Problem("connections.shop.settings.token", "x").Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{c, &c, c.Connections, c.Connections["shop"], c.Connections["shop"].Settings, c.Database.URL} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
	}
	for _, text := range texts {
		for _, bad := range []string{"hush", "68757368", "4711"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s is shown in %s", bad, text)
			}
		}
	}
	if got, want := c.Database.String(), "postgres://db.example:5433/stock"; got != want {
		t.Errorf("database: got %s, want %s", got, want)
	}

	// What is printed is a configuration again, equal but for what was redacted.
	again, err := Parse("t.yaml", []byte(c.String()), noEnv)
	if err != nil {
		t.Fatalf("%v in\n%s", err, c)
	}
	if again.String() != c.String() {
		t.Errorf("printed again:\n%s\ninstead of\n%s", again, c)
	}
}

func TestString(t *testing.T) {
	c, err := Parse("t.yaml", []byte(whole), env("ERP_TOKEN", "s3cret", "A", "", "B", ""))
	if err != nil {
		t.Fatal(err)
	}
	const want = `listen: "0.0.0.0:80"
metrics_listen: ":9090"
public_url: ""
log: {level: debug, format: json}
trusted_proxies: ["10.0.0.0/8", "2001:db8::/32"]
database: {url: "postgres://db.example:5433/stock"}
limits: {body_bytes: 2048, requests_per_second: 50, inbox_queue: 10}
timings: {poll: 10s, levels: 1h30m, look: 100ms, retry_min: 200ms, retry_max: 1m, request: 5s, request_life: 45s, stale_statement: 12h, contest_window: 30m, retry_horizon: 4h, return_deadline: 336h, stuck_commitment: 48h, tend: 1h, silence: 10m, order_status: 1h}
reconcile: {schedule: "30 3 * * 1", zone: "Europe/Berlin", policy: lower-only, keep: 720h}
guard: {count: 20, permille: 250, fall_permille: 600, rise_factor: 5, window: 2m}
oversell: {max_permille: 1080, min_orders: 50}
policy: {share_permille: 900, safety_stock: 1, buffer: 2, threshold: 3, cap: 40, minimum: 5}
notices: {allow: ["mail.internal", "10.1.2.0/24"], keep: 240h, targets: {"hook": {url: redacted, secret: redacted}, "team": {url: redacted, secret: redacted}}}
connections:
  erp:
    connector: "open"
    role: system_of_record
    poll: 10s
    guard: {count: 20, permille: 250, fall_permille: 600, rise_factor: 5}
    settings: {"base_url": redacted, "token": redacted}
    levels_at: {"annex": available}
  second:
    connector: "vendure"
    role: marketplace
    poll: 10s
    guard: {count: 20, permille: 250, fall_permille: 600, rise_factor: 5}
    settings: {}
    locations: []
    places: {}
    orders_to: erp
    heal: lower-only
    policy: {share_permille: 1000, safety_stock: 1, buffer: 2, threshold: 3, cap: 40, minimum: 1}
    admission: {deadline: 4s, default: refuse}
  shop:
    connector: "open"
    role: marketplace
    poll: 1s
    guard: {count: 7, permille: 250, fall_permille: 600, rise_factor: 50}
    settings: {"block": redacted, "escaped": redacted, "float": redacted, "list": redacted, "mixed": redacted, "number": redacted, "text": redacted, "truth": redacted}
    locations: ["main", "7"]
    places: {"10115": ["B1"], "berlin": ["B1", "B2"]}
    orders_to: erp
    heal: observe
    policy: {share_permille: 900, safety_stock: 1, buffer: 0, threshold: 3, cap: null, minimum: 5}
    admission: {deadline: 2s, default: admit}
`
	if got := c.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestProblem(t *testing.T) {
	c, err := Parse("t.yaml", []byte("reconcile:\n  schedule: nightly\nconnections:\n  shop:\n    connector: open\n    role: marketplace\n    settings:\n      token: x\n"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"reconcile.schedule":              "t.yaml:2:3: reconcile.schedule: no",
		"connections.shop.settings.token": "t.yaml:8:7: connections.shop.settings.token: no",
		"connections.shop.settings.url":   "t.yaml:7:5: connections.shop.settings.url: no",
		"database.url":                    "t.yaml: database.url: no",
	} {
		if got := c.Problem(key, "no").Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestDatabase(t *testing.T) {
	for url, want := range map[Secret]struct {
		path   string
		sqlite bool
		shown  string
	}{
		"sqlite:truestock.db":           {"truestock.db", true, "sqlite:truestock.db"},
		"sqlite:/var/lib/truestock.db":  {"/var/lib/truestock.db", true, "sqlite:/var/lib/truestock.db"},
		"postgres://u:p@h/d?password=p": {"postgres://u:p@h/d?password=p", false, "postgres://h/d"},
		"postgres://%":                  {"postgres://%", false, "redacted"},
	} {
		d := Database{URL: url}
		path, ok := d.SQLitePath()
		if path != want.path || ok != want.sqlite || d.String() != want.shown {
			t.Errorf("%s: got %s, %v, %s", url.Reveal(), path, ok, d)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"listen", "log", "limits", "share_permille"}
	for word, want := range map[string]string{
		"lisen": "listen", "Listen": "listen", "lsiten": "listen", "limit": "limits", "lg": "log", "share_permile": "share_permille",
		"share-permille": "share_permille", "listening": "listen", "colour": "", "x": "", "": "",
	} {
		if got, ok := Nearest(word, known); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", word, got, ok, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add(secretive)
	f.Add(Default().String())
	for _, seed := range []string{
		"a: &x *x", "<<: {a: b}", "? a\n: b", "!!str a: b", "log:\n\tlevel: info", "- - -", "a: |\n b", "{", "connections: {a: {places: {\"\": []}}}",
		"listen: $${A}${B}", "policy: {cap: ~}", "---\n---\n", "%YAML 1.2\n---\nlisten: :1",
	} {
		f.Add(seed)
	}
	values := env("ERP_TOKEN", "hush", "A", "x", "B", ":80")
	f.Fuzz(func(t *testing.T, in string) {
		// The YAML parser's time and memory grow with the square of the nesting.
		if len(in) > 4096 || strings.Contains(in, filePrefix) {
			t.Skip()
		}
		c, err := Parse("t.yaml", []byte(in), values)
		if err != nil {
			if !reflect.DeepEqual(c, Config{}) {
				t.Fatalf("a configuration beside the error %v", err)
			}
			return
		}
		if err := c.Policy.Validate(); err != nil {
			t.Fatal(err)
		}
		for name, n := range c.Connections {
			if err := n.Policy.Validate(); err != nil || n.Poll < MinDuration || n.Role == "" || n.Connector == "" || !connectionName.MatchString(string(name)) {
				t.Fatalf("%s: %+v, %v", name, n, err)
			}
		}
		again, err := Parse("t.yaml", []byte(strings.ReplaceAll(c.String(), "${", "$${")), values)
		if err != nil {
			t.Fatalf("what is printed is refused: %v\n%s", err, c)
		}
		if again.String() != c.String() {
			t.Fatalf("printed again:\n%s\ninstead of\n%s", again, c)
		}
	})
}
