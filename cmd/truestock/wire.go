package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/truestock/truestock/config"
	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/all"
	"github.com/truestock/truestock/connectors/notice"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/store"
	stocksync "github.com/truestock/truestock/sync"
)

// loadConfig reads the configuration file. Without one the defaults are in force, unless a file was asked for.
func (a *app) loadConfig() (config.Config, error) {
	path, asked := a.configFile, true
	if path == "" {
		path, asked = os.LookupEnv("TRUESTOCK_CONFIG")
	}
	if path == "" {
		path, asked = defaultFile, false
	}
	if _, err := os.Stat(path); !asked && errors.Is(err, fs.ErrNotExist) {
		return config.Default(), nil
	}
	cfg, err := config.Load(path, os.LookupEnv)
	if err != nil {
		return config.Config{}, usageError(err)
	}
	return cfg, nil
}

// house is everything that is open while a command runs.
type house struct {
	config config.Config
	log    *slog.Logger
	store  *store.Store
	engine *stocksync.Engine
	closes []func() error
}

func (h *house) close() error {
	var errs []error
	for _, c := range slices.Backward(h.closes) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// openHouse reads the configuration, opens the database and joins the engine. exclusive is for commands that change
// what the engine changes: only one process may. A new database gets its schema; an older one is refused.
func (a *app) openHouse(ctx context.Context, logTo io.Writer, exclusive bool) (*house, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	return openHouse(ctx, cfg, newLog(cfg.Log, logTo), exclusive)
}

// openHouse finds every mistake of the configuration before it touches the database.
func openHouse(ctx context.Context, cfg config.Config, log *slog.Logger, exclusive bool) (h *house, err error) {
	h = &house{config: cfg, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	engine, err := engineConfig(cfg, log)
	for _, c := range engine.Channels {
		h.closes = append(h.closes, c.Marketplace.Close)
	}
	for _, r := range engine.Records {
		h.closes = append(h.closes, r.System.Close)
	}
	_, badSchedule := h.schedules()
	if err := errors.Join(err, badSchedule); err != nil {
		return h, usageError(err)
	}
	h.store, err = store.Open(ctx, cfg.Database.URL.Reveal(), store.Options{Exclusive: exclusive, InboxQueue: int(cfg.Limits.InboxQueue)})
	if err != nil {
		return h, fmt.Errorf("open %s: %w", cfg.Database, err)
	}
	h.closes = append(h.closes, h.store.Close)
	if err := checkSchema(ctx, h.store, cfg); err != nil {
		return h, err
	}
	h.engine, err = stocksync.New(engine, h.store)
	return h, err
}

func checkSchema(ctx context.Context, s *store.Store, cfg config.Config) error {
	state, err := s.SchemaState(ctx)
	if err != nil {
		return err
	}
	switch state {
	case store.SchemaEmpty:
		return s.Migrate(ctx)
	case store.SchemaOlder:
		return fmt.Errorf("the database %s has an older schema than this truestock: make a backup, then run: truestock migrate", cfg.Database)
	case store.SchemaNewer:
		return fmt.Errorf("the database %s has a newer schema than this truestock: use the newer truestock that made it", cfg.Database)
	default:
		return nil
	}
}

// engineConfig opens every connection of the configuration. With an error, what was opened is in the result all the
// same, to be closed.
func engineConfig(cfg config.Config, log *slog.Logger) (stocksync.Config, error) {
	t := cfg.Timings
	out := stocksync.Config{
		Log:  log,
		Heal: stocksync.HealPolicy(cfg.Reconcile.Policy), KeepReports: cfg.Reconcile.Keep,
		Timings: stocksync.Timings{Look: t.Look, Poll: t.Poll, Levels: t.Levels, RetryMin: t.RetryMin, RetryMax: t.RetryMax,
			RequestLife: t.RequestLife, StaleStatement: t.StaleStatement, RetryHorizon: t.RetryHorizon, ReturnDeadline: t.ReturnDeadline, StuckCommitment: t.StuckCommitment, Tend: t.Tend, Silence: t.Silence, OrderStatus: t.OrderStatus,
			ContestWindow: t.ContestWindow, GuardWindow: cfg.Guard.Window},
		Guard:     guard(cfg.Guard),
		Oversell:  cfg.Oversell,
		KeySecret: []byte(cfg.KeySecret.Reveal()),
	}
	registry := all.Registry()
	notifier, err := openNotifier(cfg, log)
	errs := []error{err}
	out.Notifier, out.KeepNotices = notifier, cfg.Notices.Keep
	for _, name := range cfg.Names() {
		c := cfg.Connections[name]
		conn, err := openConnection(registry, cfg, string(name), c, log)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		switch c.Role {
		case config.Marketplace:
			marketplace, ok := conn.(connectors.Marketplace)
			if !ok {
				errs = append(errs, errors.Join(fmt.Errorf("connector %s made no marketplace of connection %s", c.Connector, name), conn.Close()))
				continue
			}
			out.Channels = append(out.Channels, stocksync.Channel{ID: name, Connector: c.Connector, Marketplace: marketplace, Policy: c.Policy,
				Places: places(c), OrdersTo: c.OrdersTo, Poll: c.Poll, Heal: stocksync.HealPolicy(c.Heal), Guard: guard(c.Guard),
				Admission: stocksync.AdmissionRules{Deadline: c.Admission.Deadline, Default: connectors.Decision(c.Admission.Default)}})
		case config.SystemOfRecord:
			system, ok := conn.(connectors.SystemOfRecord)
			if !ok {
				errs = append(errs, errors.Join(fmt.Errorf("connector %s made no system of record of connection %s", c.Connector, name), conn.Close()))
				continue
			}
			out.Records = append(out.Records, stocksync.Record{ID: name, Connector: c.Connector, System: system, Bases: c.LevelsAt, Poll: c.Poll, Guard: guard(c.Guard)})
		}
	}
	return out, errors.Join(errs...)
}

// openNotifier makes the way to people, and keeps the library that speaks to chats to the addresses that are allowed.
func openNotifier(cfg config.Config, log *slog.Logger) (stocksync.Notifier, error) {
	if _, err := notice.NewGuard(cfg.Notices.Allow); err != nil {
		return nil, cfg.Problem("notices.allow", err.Error())
	}
	targets := make(map[string]notice.Target, len(cfg.Notices.Targets))
	for name, t := range cfg.Notices.Targets {
		targets[name] = notice.Target{URL: t.URL.Reveal(), Secret: t.Secret.Reveal()}
	}
	n, err := notice.New(notice.Config{Targets: targets, Allow: cfg.Notices.Allow, Log: log})
	if bad, ok := errors.AsType[*notice.TargetError](err); ok {
		return nil, cfg.Problem("notices.targets."+bad.Target+"."+bad.Field, bad.Reason)
	}
	if err != nil {
		return nil, err
	}
	n.Install()
	return n, nil
}

func guard(g config.Guard) stocksync.GuardLimits {
	return stocksync.GuardLimits{Count: g.Count, Permille: g.Permille, FallPermille: g.FallPermille, RiseFactor: g.RiseFactor}
}

// places joins the locations of the whole channel with those of its places.
func places(c config.Connection) mapping.Places {
	p := mapping.Places{}
	maps.Copy(p, c.Places)
	if len(c.Locations) > 0 {
		p[""] = c.Locations
	}
	return p
}

func openConnection(registry connectors.Registry, cfg config.Config, name string, c config.Connection, log *slog.Logger) (connectors.Connection, error) {
	at := "connections." + name
	info, err := registry.Lookup(c.Connector)
	if err != nil {
		return nil, cfg.Problem(at+".connector", err.Error())
	}
	role := connectors.Role(c.Role)
	if !info.Supports(role) {
		return nil, cfg.Problem(at+".role", fmt.Sprintf("connector %s cannot be a %s; it can be: %v", info.Name, role, info.Roles))
	}
	settings := connectors.Settings(c.Settings.Reveal())
	known := make(map[string]bool, len(info.Fields))
	errs := completeSettings(cfg, at, settings, info.Fields, known)
	if info.Further != nil && len(errs) == 0 {
		further, err := info.Further(settings)
		if err != nil {
			return nil, cfg.Problem(at+".settings", err.Error())
		}
		info.Fields = append(slices.Clone(info.Fields), further...)
		errs = completeSettings(cfg, at, settings, further, known)
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if !known[key] {
			errs = append(errs, cfg.Problem(at+".settings."+key, fmt.Sprintf("connector %s has no setting of this name; it has: %s", info.Name, fieldNames(info))))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	conn, err := info.Open(connectors.Env{Connection: connectionID(name), WebhookURL: webhookURL(cfg, name), Log: log.With("connection", name), Timeout: cfg.Timings.Request}, role, settings)
	if err != nil {
		return nil, cfg.Problem(at+".settings", err.Error())
	}
	return conn, nil
}

// completeSettings puts in the defaults of fields, and the folder of the configuration before paths. It notes the fields as
// known, and tells what is missing.
func completeSettings(cfg config.Config, at string, settings connectors.Settings, fields []connectors.Field, known map[string]bool) []error {
	var errs []error
	for _, f := range fields {
		known[f.Name] = true
		if settings[f.Name] == "" {
			if f.Required {
				errs = append(errs, cfg.Problem(at+".settings", fmt.Sprintf("%s is missing: %s", f.Name, f.Help)))
			}
			if f.Default != "" {
				settings[f.Name] = f.Default
			}
		}
		if path := settings[f.Name]; f.Path && path != "" && !filepath.IsAbs(path) {
			settings[f.Name] = filepath.Join(cfg.Dir(), path)
		}
	}
	return errs
}

// webhookURL is where a connection's webhooks are taken, as the outside reaches it.
func webhookURL(cfg config.Config, name string) string {
	if cfg.PublicURL == "" {
		return ""
	}
	return strings.TrimRight(cfg.PublicURL, "/") + "/webhooks/" + name
}

func fieldNames(info connectors.Info) string {
	names := make([]string, len(info.Fields))
	for i, f := range info.Fields {
		names[i] = f.Name
	}
	return strings.Join(names, ", ")
}

func newLog(c config.Log, to io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == config.JSON {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}
