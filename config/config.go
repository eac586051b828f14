// Package config reads the one configuration file: what is infrastructure. Business data, such as mappings and pools,
// is in the database. The file is YAML, read strictly: an unknown key, a key that stands twice and a value that makes no
// sense are errors that name the file, the line and the key and say what to write instead, and all of them are told at
// once. Values may refer to the environment; secrets are never printed. There is no global configuration: the one value
// is handed down.
package config

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/stock"
)

// Config is a whole configuration, complete with defaults. It is not changed after it was read.
type Config struct {
	// Listen is the address of webhooks, API and page, host:port.
	Listen string
	// PublicURL is how the outside reaches Listen, such as https://stock.example: what webhooks are subscribed to. Empty
	// where it is not known.
	PublicURL string
	// MetricsListen is another address for /metrics; empty serves them on Listen.
	MetricsListen string
	Log           Log
	// TrustedProxies are the networks whose X-Forwarded-For is believed; none by default.
	TrustedProxies []netip.Prefix
	Database       Database
	// KeySecret is what the keys of licences are encrypted with; empty where none are kept.
	KeySecret Secret
	// Notices says where notices may be sent.
	Notices   Notices
	Limits    Limits
	Timings   Timings
	Reconcile Reconcile
	// Guard holds for every connection for which nothing else is said.
	Guard Guard
	// Oversell limits the oversell ratios that policies may have.
	Oversell stock.OversellBound
	// Policy holds for every listing for which nothing else is said.
	Policy      stock.Policy
	Connections map[stock.ConnectionID]Connection

	file      string
	positions map[string]position
}

// Dir is the folder of the configuration file: what paths in it begin with that do not begin with /. It is the folder
// that the process runs in where there is no file.
func (c Config) Dir() string {
	return filepath.Dir(c.file)
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format LogFormat
}

// LogFormat is the form of a log line.
type LogFormat string

// The log formats.
const (
	Text LogFormat = "text"
	JSON LogFormat = "json"
)

// Database says where everything is kept.
type Database struct {
	// URL is sqlite:<path> or postgres://user@host/database. It may contain a password; String leaves it out.
	URL Secret
}

// SQLitePath returns the path of the database file; ok is false where the database is not SQLite.
func (d Database) SQLitePath() (path string, ok bool) {
	return strings.CutPrefix(d.URL.Reveal(), sqlitePrefix)
}

// String names the database for people: the file, or the host and the database, without user, password and parameters.
func (d Database) String() string {
	if path, ok := d.SQLitePath(); ok {
		return sqlitePrefix + path
	}
	u, err := url.Parse(d.URL.Reveal())
	if err != nil {
		return redacted
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

const sqlitePrefix = "sqlite:"

// Notices says where notices may be sent. Who is told what is decided in settings, which name these targets.
type Notices struct {
	Targets map[string]NoticeTarget
	// Allow are hosts and networks that are not of the public internet and may be sent to all the same, unchecked here.
	Allow []string
	// Keep is for how long what people were told is kept.
	Keep time.Duration
}

// NoticeTarget is an address of notices, unchecked here. All of it may be secret.
type NoticeTarget struct {
	URL, Secret Secret
}

// Limits bound what comes in.
type Limits struct {
	// BodyBytes is the largest body of a request.
	BodyBytes int64
	// RequestsPerSecond is the most requests taken in a second; 0 means no limit.
	RequestsPerSecond int64
	// InboxQueue is how many deliveries may wait to be stored; more are answered 503.
	InboxQueue int64
}

// Timings are the durations of the engine, each at least MinDuration.
type Timings struct {
	// Poll is how often orders and movements are asked for, the backstop of webhooks. A connection may have its own.
	Poll time.Duration
	// Levels is how often all levels are read, besides reconciliation.
	Levels time.Duration
	// Look is how often each controller looks for work by itself.
	Look time.Duration
	// RetryMin and RetryMax are the first and the longest wait between tries.
	RetryMin, RetryMax time.Duration
	// Request bounds one call to an outside system.
	Request time.Duration
	// RequestLife is the longest time for which a call that we gave up may still be applied out there.
	RequestLife time.Duration
	// StaleStatement is the age from which a statement of the system of record no longer allows raises.
	StaleStatement time.Duration
	// ContestWindow is how long a listing that somebody else keeps changing must be left alone before it is raised again.
	ContestWindow time.Duration
	// RetryHorizon is for how long senders try to deliver a webhook, where the connector does not know it.
	RetryHorizon time.Duration
	// ReturnDeadline is within how long the warehouse receives what a channel says was returned.
	ReturnDeadline time.Duration
	// StuckCommitment is the age from which promised units that the system of record says nothing about are an incident.
	StuckCommitment time.Duration
	// Tend is how often the credentials of every connection and the webhook subscriptions of every channel are looked after,
	// besides the start and reconciliations.
	Tend time.Duration
	// Silence is the shortest time without a webhook after which a channel that used to send many counts as silent.
	Silence time.Duration
	// OrderStatus is after how long of silence an unfinished order is asked for, where the system of record can tell.
	OrderStatus time.Duration
}

// MinDuration is the shortest duration that can be configured.
const MinDuration = 100 * time.Millisecond

// Reconcile says when everything is compared and what is done about differences.
type Reconcile struct {
	// Schedule is a cron expression, unchecked here; empty means only on demand.
	Schedule string
	// Zone is the time zone of the schedule.
	Zone   *time.Location
	Policy Healing
	// Keep is for how long reports are kept.
	Keep time.Duration
}

// Guard says what looks like a mistake of a source, so that a person is asked first: at least Count numbers, and more
// than Permille of them all, that within Window fall by FallPermille of what they were or more, or rise to RiseFactor
// times the largest so far or more.
type Guard struct {
	Count, Permille, FallPermille, RiseFactor int64
	// Window is one for all connections.
	Window time.Duration
}

// Healing says which differences reconciliation may correct.
type Healing string

// The kinds of healing.
const (
	Observe   Healing = "observe"    // none: only report
	LowerOnly Healing = "lower-only" // only where the channel shows too much
	Full      Healing = "full"       // all
)

// Connection is one configured account at one outside system.
type Connection struct {
	// Connector is the name of the connector; whether there is such a connector is not checked here.
	Connector string
	Role      Role
	Settings  Settings
	// Poll is how often the connection is asked: its own value, or Timings.Poll.
	Poll time.Duration
	// Guard is the default guard with the connection's own keys put over it.
	Guard Guard

	// LevelsAt says, for a system of record, what its numbers mean at the locations where they mean something else than
	// it says of itself.
	LevelsAt map[stock.LocationID]stock.Basis

	// The rest is for marketplaces only.

	// Locations are those that its stock comes from; none means all.
	Locations []stock.LocationID
	// Places says, for a channel with quantities per place, which locations stand behind each place.
	Places map[string][]stock.LocationID
	// OrdersTo is the system of record that gets its orders; empty where there is no system of record.
	OrdersTo stock.ConnectionID
	// Heal says what reconciliation may write there: its own value, or Reconcile.Policy.
	Heal Healing
	// Policy is the default policy with the connection's own keys put over it.
	Policy stock.Policy
	// Admission says how a marketplace is answered that asks before it sells.
	Admission Admission
}

// Admission is for marketplaces that ask before each sale.
type Admission struct {
	// Deadline is how long an answer may take; Default is the answer when it takes longer, or is not known.
	Deadline time.Duration
	Default  AdmissionDefault
}

// AdmissionDefault is an answer to somebody who asks before he sells.
type AdmissionDefault string

// The answers.
const (
	Refuse AdmissionDefault = "refuse"
	Admit  AdmissionDefault = "admit"
)

// Role says which side of the synchronisation a connection is on.
type Role string

// The roles.
const (
	Marketplace    Role = "marketplace"
	SystemOfRecord Role = "system_of_record"
)

// Settings are the values of a connection, by the names that its connector gives them. Any of them may be a secret.
type Settings map[string]Secret

// Reveal returns the values as they are.
func (s Settings) Reveal() map[string]string {
	values := make(map[string]string, len(s))
	for name, value := range s {
		values[name] = value.Reveal()
	}
	return values
}

// Secret is a text that is never shown: printed, logged and marshalled it reads "redacted".
type Secret string

const redacted = "redacted"

// Reveal returns the text as it is.
func (s Secret) Reveal() string { return string(s) }

// Format writes "redacted", whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue is "redacted".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText writes "redacted".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Default is the configuration of an empty file.
func Default() Config {
	return Config{
		Listen:   "127.0.0.1:8080",
		Log:      Log{Level: slog.LevelInfo, Format: Text},
		Database: Database{URL: "sqlite:truestock.db"},
		Notices:  Notices{Targets: map[string]NoticeTarget{}, Keep: 90 * 24 * time.Hour},
		Limits:   Limits{BodyBytes: 1 << 20, InboxQueue: 4096},
		Timings: Timings{
			Poll: 30 * time.Second, Levels: 24 * time.Hour, Look: time.Second,
			RetryMin: time.Second, RetryMax: 5 * time.Minute,
			Request: 15 * time.Second, RequestLife: time.Minute, StaleStatement: 48 * time.Hour, ContestWindow: time.Hour,
			RetryHorizon: time.Hour, ReturnDeadline: 14 * 24 * time.Hour, StuckCommitment: 48 * time.Hour,
			Tend: time.Hour, Silence: 10 * time.Minute, OrderStatus: time.Hour,
		},
		Reconcile:   Reconcile{Schedule: "0 2 * * *", Zone: time.UTC, Policy: Full, Keep: 90 * 24 * time.Hour},
		Guard:       Guard{Count: 10, Permille: 300, FallPermille: 500, RiseFactor: 10, Window: 10 * time.Minute},
		Oversell:    stock.OversellBound{MaxPermille: 1000, MinOrders: 200},
		Connections: map[stock.ConnectionID]Connection{},
	}
}

// Names are the names of the connections, sorted.
func (c Config) Names() []stock.ConnectionID {
	return slices.Sorted(maps.Keys(c.Connections))
}

// Problem makes an error about a key of the file, such as "connections.shop.settings.token", for what only the caller
// can check. It carries the position of the key, or of the nearest key around it that is in the file.
func (c Config) Problem(key, text string) error {
	p := Problem{File: c.file, Key: key, Text: text}
	for path := key; ; {
		if at, ok := c.positions[path]; ok {
			p.Line, p.Column = at.line, at.column
			return p
		}
		cut := strings.LastIndexByte(path, '.')
		if cut < 0 {
			return p
		}
		path = path[:cut]
	}
}

// String is the configuration as it is in force, defaults included, in the form of the file. Settings are redacted, and
// so is what may be secret in the database's URL.
func (c Config) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("listen: %q", c.Listen)
	line("metrics_listen: %q", c.MetricsListen)
	line("public_url: %q", c.PublicURL)
	line("log: {level: %s, format: %s}", strings.ToLower(c.Log.Level.String()), c.Log.Format)
	line("trusted_proxies: %s", list(c.TrustedProxies))
	line("database: {url: %q}", c.Database)
	line("limits: {body_bytes: %d, requests_per_second: %d, inbox_queue: %d}", c.Limits.BodyBytes, c.Limits.RequestsPerSecond, c.Limits.InboxQueue)
	t := c.Timings
	line("timings: {poll: %s, levels: %s, look: %s, retry_min: %s, retry_max: %s, request: %s, request_life: %s, stale_statement: %s, contest_window: %s, retry_horizon: %s, return_deadline: %s, stuck_commitment: %s, tend: %s, silence: %s, order_status: %s}",
		short(t.Poll), short(t.Levels), short(t.Look), short(t.RetryMin), short(t.RetryMax), short(t.Request), short(t.RequestLife), short(t.StaleStatement), short(t.ContestWindow),
		short(t.RetryHorizon), short(t.ReturnDeadline), short(t.StuckCommitment), short(t.Tend), short(t.Silence), short(t.OrderStatus))
	line("reconcile: {schedule: %q, zone: %q, policy: %s, keep: %s}", c.Reconcile.Schedule, c.Reconcile.Zone, c.Reconcile.Policy, short(c.Reconcile.Keep))
	line("guard: {%s, window: %s}", c.Guard, short(c.Guard.Window))
	line("oversell: {max_permille: %d, min_orders: %d}", c.Oversell.MaxPermille, c.Oversell.MinOrders)
	line("policy: %s", policyText(c.Policy))
	line("notices: {allow: %s, keep: %s, targets: {%s}}", list(c.Notices.Allow), short(c.Notices.Keep), pairs(c.Notices.Targets, func(NoticeTarget) string { return "{url: " + redacted + ", secret: " + redacted + "}" }))
	line("connections:")
	for _, name := range c.Names() {
		n := c.Connections[name]
		line("  %s:", name)
		line("    connector: %q", n.Connector)
		line("    role: %s", n.Role)
		line("    poll: %s", short(n.Poll))
		line("    guard: {%s}", n.Guard)
		line("    settings: {%s}", pairs(n.Settings, func(Secret) string { return redacted }))
		if n.Role != Marketplace {
			if len(n.LevelsAt) > 0 {
				line("    levels_at: {%s}", pairs(n.LevelsAt, func(b stock.Basis) string { return string(b) }))
			}
			continue
		}
		line("    locations: %s", list(n.Locations))
		line("    places: {%s}", pairs(n.Places, list[stock.LocationID]))
		if n.OrdersTo != "" {
			line("    orders_to: %s", n.OrdersTo)
		}
		line("    heal: %s", n.Heal)
		line("    policy: %s", policyText(n.Policy))
		line("    admission: {deadline: %s, default: %s}", short(n.Admission.Deadline), n.Admission.Default)
	}
	return b.String()
}

// LogValue tells what a person needs at the start: where it listens, what it keeps its data in, and its connections.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("listen", c.Listen),
		slog.String("database", c.Database.String()),
		slog.Any("connections", c.Names()),
	)
}

// String writes the limits as the file has them, without the window.
func (g Guard) String() string {
	return fmt.Sprintf("count: %d, permille: %d, fall_permille: %d, rise_factor: %d", g.Count, g.Permille, g.FallPermille, g.RiseFactor)
}

func policyText(p stock.Policy) string {
	share, most := int64(1000), "null"
	if p.SharePermille != nil {
		share = *p.SharePermille
	}
	if p.Cap != nil {
		most = fmt.Sprint(*p.Cap)
	}
	return fmt.Sprintf("{share_permille: %d, safety_stock: %d, buffer: %d, threshold: %d, cap: %s, minimum: %d}",
		share, p.SafetyStock, p.Buffer, p.Threshold, most, p.Minimum)
}

// short writes a duration as people do: 24h, not 24h0m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func list[T any](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprintf("%q", fmt.Sprint(v))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func pairs[K ~string, V any](values map[K]V, text func(V) string) string {
	texts := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		texts = append(texts, fmt.Sprintf("%q: %s", name, text(values[name])))
	}
	return strings.Join(texts, ", ")
}
