package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/truestock/truestock/stock"
)

// maxBytes bounds the configuration file.
const maxBytes = 256 << 10

// Load reads the configuration file at path. env looks up environment variables, as os.LookupEnv does.
func Load(path string, env func(string) (string, bool)) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(path, data, env)
}

// Parse reads a configuration. name is the file's name in errors. Files are read only where a value is written as
// file:/path. The error is every Problem of the file, joined, as far as they can be found at once; the configuration is
// the zero value then. An empty file is Default.
func Parse(name string, data []byte, env func(string) (string, bool)) (Config, error) {
	r := &reader{file: name, env: env, positions: map[string]position{}}
	root, ok := r.document(data)
	if !ok {
		return Config{}, joined(r.problems)
	}
	c := r.config(root)
	if err := joined(r.problems); err != nil {
		return Config{}, err
	}
	c.file, c.positions = name, r.positions
	return c, nil
}

// document parses the file as YAML. The parser's own errors quote the file, which may hold secrets, so only their
// message and position are taken.
func (r *reader) document(data []byte) (value, bool) {
	root := value{at: position{line: 1, column: 1}}
	data = bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF"))
	switch {
	case len(data) > maxBytes:
		r.problem(root, "the file is larger than %d bytes", maxBytes)
		return root, false
	case !utf8.Valid(data):
		r.problem(root, "the file is not UTF-8: save it as UTF-8")
		return root, false
	}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(root, err)
		return root, false
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case root.node != nil:
			r.problem(root, "the file holds several documents: keep one, without --- between")
			return root, false
		default:
			root.node = doc.Body
		}
	}
	return root, true
}

func (r *reader) syntax(root value, err error) {
	syntax, ok := errors.AsType[*yaml.SyntaxError](err)
	if !ok {
		r.problem(root, "the file is not YAML")
		return
	}
	if syntax.Token != nil && syntax.Token.Position != nil {
		root.at = position{line: syntax.Token.Position.Line, column: syntax.Token.Position.Column}
	}
	hint := ""
	if strings.Contains(syntax.Message, "must be specified") {
		hint = `; between { } or [ ], ${NAME} needs quotes: "${NAME}"`
	}
	r.problem(root, "the file is not YAML: %s%s", syntax.Message, hint)
}

func (r *reader) config(root value) Config {
	c := Default()
	top := r.section(root, "listen: 127.0.0.1:8080", "listen", "metrics_listen", "public_url", "log", "trusted_proxies", "database", "limits",
		"timings", "reconcile", "guard", "oversell", "policy", "keys", "notices", "connections")

	top.text("listen", &c.Listen, "127.0.0.1:8080", checkAddress)
	top.text("metrics_listen", &c.MetricsListen, "127.0.0.1:9090", func(text string) error {
		if text == "" {
			return nil
		}
		return checkAddress(text)
	})
	top.text("public_url", &c.PublicURL, `"https://stock.example"`, checkPublicURL)
	if c.MetricsListen == c.Listen {
		r.problem(top.of("metrics_listen"), `%s is the address of listen: write "" to serve /metrics there`, shown(c.MetricsListen))
	}
	r.proxies(top, &c)
	r.log(top.of("log"), &c.Log)
	r.database(top.of("database"), &c.Database)
	r.keys(top.of("keys"), &c.KeySecret)
	r.notices(top.of("notices"), &c.Notices)
	r.limits(top.of("limits"), &c.Limits)
	r.timings(top.of("timings"), &c.Timings)
	r.reconcile(top.of("reconcile"), &c.Reconcile)
	c.Guard = r.guard(top.of("guard"), c.Guard, "window")
	r.oversell(top.of("oversell"), &c.Oversell)
	c.Policy = r.policy(top.of("policy"), c.Policy)
	r.connections(top.of("connections"), &c)
	return c
}

func checkPublicURL(text string) error {
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		return errors.New("is not an address that webhooks can be sent to: write https://host, perhaps with a path")
	}
	return nil
}

func checkAddress(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("is not an address: write host:port, such as 127.0.0.1:8080, or :8080 for every interface")
	}
	return nil
}

func (r *reader) proxies(top section, c *Config) {
	const example = "[10.0.0.0/8]"
	if !top.has("trusted_proxies") {
		return
	}
	for _, e := range r.elements(top.of("trusted_proxies"), example) {
		got, ok := r.scalar(e, "10.0.0.0/8")
		if !ok {
			continue
		}
		prefix, err := netip.ParsePrefix(got.text)
		addr, addrErr := netip.ParseAddr(got.text)
		switch {
		case err == nil && prefix != prefix.Masked():
			r.problem(e, "%s has bits set behind its mask: write the network itself", shown(got.written))
		case err == nil:
			c.TrustedProxies = append(c.TrustedProxies, prefix)
		case addrErr == nil:
			r.problem(e, "%s is one address: write the network, with /%d behind it for this address alone", shown(got.written), addr.BitLen())
		default:
			r.problem(e, "%s is not a network: write address/bits, such as 10.0.0.0/8", shown(got.written))
		}
	}
}

func (r *reader) log(v value, to *Log) {
	s := r.section(v, "{level: info, format: text}", "level", "format")
	level := "info"
	choice(s, "level", &level, "debug", "info", "warn", "error")
	to.Level = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[level]
	choice(s, "format", &to.Format, Text, JSON)
}

func (r *reader) database(v value, to *Database) {
	const example = "sqlite:truestock.db or postgres://user@host/database"
	s := r.section(v, "{url: sqlite:truestock.db}", "url")
	if !s.has("url") {
		return
	}
	secret, ok := r.secret(s.of("url"), example)
	if !ok {
		return
	}
	// The value may contain a password, so no message shows it.
	scheme, rest, _ := strings.Cut(secret.Reveal(), ":")
	var err error
	switch scheme {
	case "sqlite":
		if rest == "" || strings.HasPrefix(rest, "//") {
			err = errors.New("the path of the SQLite file is missing or begins with two slashes: write sqlite:truestock.db or sqlite:/var/lib/truestock.db")
		}
	case "postgres", "postgresql":
		u, bad := url.Parse(secret.Reveal())
		if bad != nil || !strings.HasPrefix(rest, "//") || strings.Trim(u.Path, "/") == "" {
			err = errors.New("it is not a PostgreSQL URL: write postgres://user@host/database; give the password in the variable PGPASSWORD, or percent-encode it")
		}
	default:
		err = fmt.Errorf("it names no database that is known: write %s", example)
	}
	if err != nil {
		r.problem(s.of("url"), "%v", err)
		return
	}
	to.URL = secret
}

// leastKeySecret is how many characters a secret for keys has at least.
const leastKeySecret = 16

func (r *reader) keys(v value, to *Secret) {
	const example = "file:/run/secrets/truestock-keys"
	s := r.section(v, "{secret: file:/run/secrets/truestock-keys}", "secret")
	if !s.has("secret") {
		return
	}
	secret, ok := r.secret(s.of("secret"), example)
	if ok && len(secret.Reveal()) < leastKeySecret {
		r.problem(s.of("secret"), "it is shorter than %d characters: make one with openssl rand -base64 32", leastKeySecret)
		return
	}
	if ok {
		*to = secret
	}
}

// notices reads where notices may be sent. Whether an address is one that can be sent to, its sender checks.
func (r *reader) notices(v value, to *Notices) {
	s := r.section(v, `{targets: {ops: {url: "${OPS_URL}"}}}`, "targets", "allow", "keep")
	names(s, "allow", &to.Allow, "[mail.internal]")
	s.duration("keep", &to.Keep)
	targets := r.mapping(s.of("targets"), `{ops: {url: "${OPS_URL}"}}`)
	for _, name := range targets.names {
		if !connectionName.MatchString(name) {
			r.problem(targets.values[name], "%s cannot name a target: write up to 63 of a-z, 0-9, - and _, a letter first", shown(name))
		}
		t := r.section(targets.values[name], `{url: "${OPS_URL}"}`, "url", "secret")
		var target NoticeTarget
		if !t.has("url") {
			r.problem(t.of("url"), `the key is missing: write where it leads, such as url: "${OPS_URL}"`)
		} else {
			target.URL, _ = r.secret(t.of("url"), `"${OPS_URL}"`)
		}
		if t.has("secret") {
			target.Secret, _ = r.secret(t.of("secret"), `"${OPS_SECRET}"`)
		}
		to.Targets[name] = target
	}
}

func (r *reader) limits(v value, to *Limits) {
	s := r.section(v, "{body_bytes: 1048576}", "body_bytes", "requests_per_second", "inbox_queue")
	number(s, "body_bytes", &to.BodyBytes, 1024, 1<<30)
	number(s, "requests_per_second", &to.RequestsPerSecond, 0, 1_000_000)
	number(s, "inbox_queue", &to.InboxQueue, 1, 1_000_000)
}

func (r *reader) timings(v value, to *Timings) {
	s := r.section(v, "{poll: 30s}", "poll", "levels", "look", "retry_min", "retry_max", "request", "request_life", "stale_statement", "contest_window", "retry_horizon", "return_deadline", "stuck_commitment", "tend", "silence", "order_status")
	s.duration("poll", &to.Poll)
	s.duration("levels", &to.Levels)
	s.duration("look", &to.Look)
	s.duration("retry_min", &to.RetryMin)
	s.duration("retry_max", &to.RetryMax)
	s.duration("request", &to.Request)
	s.duration("request_life", &to.RequestLife)
	s.duration("stale_statement", &to.StaleStatement)
	s.duration("contest_window", &to.ContestWindow)
	s.duration("retry_horizon", &to.RetryHorizon)
	s.duration("return_deadline", &to.ReturnDeadline)
	s.duration("stuck_commitment", &to.StuckCommitment)
	s.duration("tend", &to.Tend)
	s.duration("silence", &to.Silence)
	s.duration("order_status", &to.OrderStatus)
	if to.RetryMin > to.RetryMax {
		key := "retry_min"
		if !s.has(key) {
			key = "retry_max"
		}
		r.problem(s.of(key), "retry_min is %s and retry_max %s: the first must not be longer than the second", short(to.RetryMin), short(to.RetryMax))
	}
}

func (r *reader) reconcile(v value, to *Reconcile) {
	s := r.section(v, `{schedule: "0 2 * * *"}`, "schedule", "zone", "policy", "keep")
	s.text("schedule", &to.Schedule, `"0 2 * * *"`, func(string) error { return nil })
	zone := "UTC"
	s.text("zone", &zone, "UTC", func(text string) error {
		// Empty and Local are zones to time.LoadLocation; the second differs from machine to machine.
		if _, err := time.LoadLocation(text); err != nil || text == "" || text == "Local" {
			return errors.New("is not a time zone: write UTC or a name such as Europe/Berlin")
		}
		return nil
	})
	if loaded, err := time.LoadLocation(zone); err == nil {
		to.Zone = loaded
	}
	choice(s, "policy", &to.Policy, Observe, LowerOnly, Full)
	s.duration("keep", &to.Keep)
}

// guard puts the keys of a guard over base; more are keys that only the guard for all connections has.
func (r *reader) guard(v value, base Guard, more ...string) Guard {
	s := r.section(v, "{count: 10}", append([]string{"count", "permille", "fall_permille", "rise_factor"}, more...)...)
	number(s, "count", &base.Count, 2, 1_000_000)
	number(s, "permille", &base.Permille, 1, 1000)
	number(s, "fall_permille", &base.FallPermille, 1, 1000)
	number(s, "rise_factor", &base.RiseFactor, 2, 1_000_000)
	if len(more) > 0 {
		s.duration("window", &base.Window)
	}
	return base
}

func (r *reader) oversell(v value, to *stock.OversellBound) {
	s := r.section(v, "{max_permille: 1050}", "max_permille", "min_orders")
	number(s, "max_permille", &to.MaxPermille, 1000, stock.MaxOversellPermille)
	number(s, "min_orders", &to.MinOrders, 1, 1_000_000)
}

// policy puts the keys of a policy over base.
func (r *reader) policy(v value, base stock.Policy) stock.Policy {
	s := r.section(v, "{buffer: 2}", "share_permille", "safety_stock", "buffer", "threshold", "cap", "minimum")
	p := base
	before := len(r.problems)
	optional(s, "share_permille", &p.SharePermille, 1000)
	number(s, "safety_stock", &p.SafetyStock, 0, stock.MaxQuantity)
	number(s, "buffer", &p.Buffer, 0, stock.MaxQuantity)
	number(s, "threshold", &p.Threshold, 0, stock.MaxQuantity)
	optional(s, "cap", &p.Cap, stock.MaxQuantity)
	number(s, "minimum", &p.Minimum, 0, stock.MaxQuantity)
	if len(r.problems) > before {
		return base
	}
	if err := p.Validate(); err != nil {
		// The text begins with the key.
		key, _, _ := strings.Cut(err.Error(), " ")
		at := s.self
		if s.has(key) {
			at = s.of(key)
		}
		r.problem(at, "%v", err)
		return base
	}
	return p
}

// optional reads a number from 0 to most; null means none.
func optional[T ~int64](s section, name string, to **T, most T) {
	if !s.has(name) {
		return
	}
	switch s.of(name).node.(type) {
	case nil, *ast.NullNode:
		*to = nil
	default:
		n := T(100) // the example, should the value be wrong
		number(s, name, &n, 0, most)
		*to = &n
	}
}

var connectionName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// reservedName is what the mapping calls the rows that describe kits.
const reservedName = "kit"

func (r *reader) connections(v value, c *Config) {
	s := r.mapping(v, "shop: {connector: open, role: marketplace}")
	for _, name := range s.names {
		switch {
		case name == reservedName:
			r.problem(s.values[name], "the name %s is reserved for the kits of the mapping: write another", reservedName)
		case !connectionName.MatchString(name):
			r.problem(s.values[name], "%s cannot name a connection: write up to 63 of a-z, 0-9, - and _, a letter first", shown(name))
		}
		c.Connections[stock.ConnectionID(name)] = r.connection(s.values[name], *c)
	}
	r.destinations(s, c)
}

func (r *reader) connection(v value, c Config) Connection {
	s := r.section(v, "{connector: open, role: marketplace}", "connector", "role", "settings", "poll", "guard", "levels_at", "locations", "places", "orders_to", "heal", "policy", "admission")
	n := Connection{Settings: Settings{}, Poll: c.Timings.Poll}
	if !s.has("connector") {
		r.problem(s.of("connector"), "the key is missing: write which connector speaks to it, such as connector: open")
	}
	s.text("connector", &n.Connector, "open", notEmpty)
	if !s.has("role") {
		r.problem(s.of("role"), "the key is missing: write role: %s or role: %s", Marketplace, SystemOfRecord)
	}
	choice(s, "role", &n.Role, Marketplace, SystemOfRecord)
	s.duration("poll", &n.Poll)
	n.Guard = r.guard(s.of("guard"), c.Guard)

	settings := r.mapping(s.of("settings"), `{base_url: "https://shop.example"}`)
	for _, name := range settings.names {
		if secret, ok := r.setting(settings.values[name]); ok {
			n.Settings[name] = secret
		}
	}
	if n.Role == SystemOfRecord {
		for _, key := range []string{"locations", "places", "orders_to", "heal", "policy", "admission"} {
			if s.has(key) {
				r.problem(s.of(key), "only a %s takes the key: remove it from this %s", Marketplace, SystemOfRecord)
			}
		}
		r.levelsAt(s, &n)
		return n
	}
	if s.has("levels_at") {
		r.problem(s.of("levels_at"), "only a %s takes the key: remove it from this %s", SystemOfRecord, Marketplace)
	}
	names(s, "locations", &n.Locations, "[main]")
	places := r.mapping(s.of("places"), "{berlin: [B1, B2]}")
	for _, name := range places.names {
		r.place(places, name, &n)
	}
	n.Heal = c.Reconcile.Policy
	choice(s, "heal", &n.Heal, Observe, LowerOnly, Full)
	n.Policy = r.policy(s.of("policy"), c.Policy)
	n.Admission = Admission{Deadline: 4 * time.Second, Default: Refuse}
	admission := r.section(s.of("admission"), "{deadline: 4s, default: refuse}", "deadline", "default")
	admission.duration("deadline", &n.Admission.Deadline)
	choice(admission, "default", &n.Admission.Default, Refuse, Admit)
	orders := ""
	s.text("orders_to", &orders, "erp", notEmpty)
	n.OrdersTo = stock.ConnectionID(orders)
	return n
}

// levelsAt reads what the numbers of a system of record mean at single locations.
func (r *reader) levelsAt(s section, n *Connection) {
	locations := r.mapping(s.of("levels_at"), "{annex: available}")
	for _, name := range locations.names {
		if name == "" {
			r.problem(locations.of(name), "a location has no name: write the location's id at the system of record")
			continue
		}
		var basis stock.Basis
		choice(locations, name, &basis, stock.OnHandBasis, stock.AvailableBasis)
		if n.LevelsAt == nil {
			n.LevelsAt = map[stock.LocationID]stock.Basis{}
		}
		n.LevelsAt[stock.LocationID(name)] = basis
	}
}

func notEmpty(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("is empty: write a name")
	}
	return nil
}

func (r *reader) place(places section, name string, n *Connection) {
	if name == "" {
		r.problem(places.of(name), "a place has no name: write the locations of the whole channel under locations")
		return
	}
	before := len(r.problems)
	var locations []stock.LocationID
	names(places, name, &locations, "[B1, B2]")
	if len(locations) == 0 && len(r.problems) == before {
		r.problem(places.of(name), "the place has no locations: name at least one, such as [B1], or remove the place")
	}
	if n.Places == nil {
		n.Places = map[string][]stock.LocationID{}
	}
	n.Places[name] = locations
}

// setting reads the value of a setting: a scalar, or a list of scalars, which is joined by commas.
func (r *reader) setting(v value) (Secret, bool) {
	const example = "text, a number, true or false, or a list of these"
	if _, isList := v.node.(*ast.SequenceNode); !isList {
		return r.secret(v, example)
	}
	var texts []string
	good := true
	for _, e := range r.elements(v, example) {
		got, ok := r.scalar(e, example)
		if ok && strings.Contains(got.text, ",") {
			r.problem(e, "an element of the list contains a comma, and the list is joined by commas: write the elements apart")
		}
		good = good && ok
		texts = append(texts, got.text)
	}
	return Secret(strings.Join(texts, ",")), good
}

// secret reads a single value that no message may show. Where it is written as file:/path it is the content of the file.
func (r *reader) secret(v value, example string) (Secret, bool) {
	got, ok := r.scalar(v, example)
	if !ok {
		return "", false
	}
	if !strings.HasPrefix(got.written, filePrefix) {
		return Secret(got.text), true
	}
	content, err := readSecret(strings.TrimPrefix(got.text, filePrefix))
	if err != nil {
		r.problem(v, "%s %v", shown(got.written), err)
		return "", false
	}
	return Secret(content), true
}

// destinations finds the system of record of every marketplace.
func (r *reader) destinations(s section, c *Config) {
	var records []string
	for _, name := range c.Names() {
		if c.Connections[name].Role == SystemOfRecord {
			records = append(records, string(name))
		}
	}
	for _, name := range c.Names() {
		n := c.Connections[name]
		if n.Role != Marketplace {
			continue
		}
		v := s.values[string(name)]
		v.key += ".orders_to"
		at, written := r.positions[v.key]
		if written {
			v.at = at
		}
		to, exists := c.Connections[n.OrdersTo]
		switch {
		case !written && len(records) == 1:
			n.OrdersTo = stock.ConnectionID(records[0])
			c.Connections[name] = n
		case !written && len(records) > 1:
			r.problem(v, "there are several systems of record: write which one gets the orders, %s", strings.Join(records, " or "))
		case n.OrdersTo == "": // there is none, or what is written was refused already
		case !exists:
			r.problem(v, "no connection is called %s: %s", shown(string(n.OrdersTo)), choices(string(n.OrdersTo), records))
		case to.Role == Marketplace:
			r.problem(v, "%s is not a system of record: %s", shown(string(n.OrdersTo)), choices(string(n.OrdersTo), records))
		}
	}
}
