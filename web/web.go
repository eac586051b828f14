// Package web is the way in over HTTP: webhooks, the JSON API with its OpenAPI document, health, metrics and a few
// pages to look at. It checks who asks and what is asked, hands it to the engine, and turns the outcome into an answer;
// it decides nothing about stock and knows no database.
package web

import (
	"context"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// Config is what the server is told at the start. Zero values mean the defaults named with each field.
type Config struct {
	// Connections are the names that have a metric label and a request limit of their own. Requests for other names
	// share one of each, so that a stranger cannot grow our memory.
	Connections []stock.ConnectionID
	// RequestsPerSecond is how many verified webhooks of one connection are taken per second, with bursts of Burst
	// (default: one second's worth). Zero: no limit.
	RequestsPerSecond float64
	Burst             int
	// BodyBytes is the largest webhook body; 1 MiB. ImportBytes is the largest mapping file; 32 MiB.
	BodyBytes   int64
	ImportBytes int64
	// TrustedProxies are the addresses whose X-Forwarded-For is believed. None: the client is the peer of the
	// connection, whatever headers say.
	TrustedProxies []netip.Prefix
	// MaxConnections is the most open connections per listener; further ones wait. Zero: no limit.
	MaxConnections int
	// MetricsApart keeps /metrics off this server; ServeMetrics then shows them elsewhere.
	MetricsApart bool
	// Version is shown on the page and in the metrics.
	Version string

	ReadHeaderTimeout time.Duration // 5 s
	ReadTimeout       time.Duration // 15 s, body included
	WriteTimeout      time.Duration // 30 s
	IdleTimeout       time.Duration // 60 s
	// RequestTimeout bounds one API request inside the engine; 25 s.
	RequestTimeout time.Duration
	// DrainDelay is how long requests are still accepted after /readyz turned 503, for a load balancer to notice; 0.
	DrainDelay time.Duration
	// DrainTimeout is how long requests in flight may take after the listener closed; 10 s.
	DrainTimeout time.Duration
}

func (c Config) withDefaults() Config {
	setDefault(&c.BodyBytes, 1<<20)
	setDefault(&c.ImportBytes, 32<<20)
	setDefault(&c.ReadHeaderTimeout, 5*time.Second)
	setDefault(&c.ReadTimeout, 15*time.Second)
	setDefault(&c.WriteTimeout, 30*time.Second)
	setDefault(&c.IdleTimeout, time.Minute)
	setDefault(&c.RequestTimeout, 25*time.Second)
	setDefault(&c.DrainTimeout, 10*time.Second)
	setDefault(&c.Burst, max(1, int(c.RequestsPerSecond)))
	return c
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Engine is what the server asks of the engine. All methods are called from many goroutines at once. The errors acted
// on are those of packages sync and connectors: ErrNotFound, ErrUnknownConnection, ErrInvalid, ErrBusy, ErrUnavailable,
// ErrSignature and ErrEnvelope; any other is answered 500 and logged.
type Engine interface {
	// Receive verifies a webhook and stores it durably. It may keep the body.
	Receive(ctx context.Context, connection stock.ConnectionID, r connectors.Request) (stocksync.Receipt, error)

	Item(ctx context.Context, sku stock.SKU) (stocksync.ItemView, error)
	Items(ctx context.Context, search string, after stock.SKU, limit int) ([]stocksync.ItemRow, error)
	Listings(ctx context.Context, q stocksync.ListingQuery, state stocksync.ListingState) (rows []stocksync.ListingView, next *stocksync.ListingKey, err error)
	Listing(ctx context.Context, key stocksync.ListingKey) (stocksync.ListingView, error)
	Explain(ctx context.Context, key stocksync.ListingKey, at time.Time) (stocksync.Explanation, error)
	Event(ctx context.Context, id int64) (stocksync.EventView, error)
	Events(ctx context.Context, state stocksync.EventState, after int64, limit int) ([]stocksync.EventView, error)
	Order(ctx context.Context, key stocksync.OrderKey) (stocksync.OrderView, error)
	Incidents(ctx context.Context, open bool, after int64, limit int) ([]stocksync.IncidentView, error)
	Incident(ctx context.Context, id int64) (stocksync.IncidentDetail, error)
	ChooseRemedy(ctx context.Context, by stocksync.Actor, incident int64, choice stocksync.RemedyChoice) (stocksync.IncidentDetail, error)
	FinishRemedy(ctx context.Context, by stocksync.Actor, incident int64, key stocksync.OrderKey, lineID string, done bool) (stocksync.IncidentDetail, error)
	Plans(ctx context.Context, state stocksync.PlanState, before int64, limit int) ([]stocksync.PlanView, error)
	Plan(ctx context.Context, id int64) (stocksync.PlanView, error)
	Reconciliation(ctx context.Context, id int64) (stocksync.RunView, error)
	Reconciliations(ctx context.Context, before int64, limit int) ([]stocksync.RunView, error)
	Drifts(ctx context.Context, id int64, after stocksync.ListingKey, limit int) ([]stocksync.DriftView, error)
	WriteReport(ctx context.Context, id int64, format stocksync.ReportFormat, w io.Writer) error
	Connections(ctx context.Context) ([]stocksync.ConnectionView, error)
	Suggestions(ctx context.Context, connection stock.ConnectionID) ([]stocksync.SuggestionView, error)
	Unmapped(ctx context.Context) ([]stocksync.UnmappedView, error)
	ExportMappings(ctx context.Context, w io.Writer) error
	Settings(ctx context.Context, kind stocksync.SettingKind, after string, limit int) ([]stocksync.SettingView, error)
	SettingVersions(ctx context.Context, kind stocksync.SettingKind, key string) ([]stocksync.SettingView, error)
	ExportSettings(ctx context.Context, kind stocksync.SettingKind, w io.Writer) error
	SettingChange(ctx context.Context, id int64) (stocksync.SettingChangeView, error)
	PreviewSettings(ctx context.Context, changes []stocksync.SettingChange, after stocksync.ListingKey, limit int) ([]stocksync.PreviewView, error)
	ReplaySettings(ctx context.Context, changes []stocksync.SettingChange, days int) (stocksync.ReplayView, error)
	Analysis(ctx context.Context, q stocksync.AnalysisQuery) (view stocksync.AnalysisView, next stock.SKU, err error)
	WriteAnalysis(ctx context.Context, q stocksync.AnalysisQuery, w io.Writer) error
	Alerts(ctx context.Context, open bool, after int64, limit int) ([]stocksync.AlertView, error)
	AckAlert(ctx context.Context, by stocksync.Actor, id int64) (stocksync.AlertView, error)
	Replenishments(ctx context.Context, open bool, after int64, limit int) ([]stocksync.ReplenishmentView, error)
	MeasureOf(ctx context.Context, sku stock.SKU) (stocksync.Measure, error)
	Notices(ctx context.Context, q stocksync.NoticeQuery) ([]stocksync.NoticeView, error)
	RetryNotices(ctx context.Context, by stocksync.Actor, channel string) (int, error)
	Campaigns(ctx context.Context, after string, limit int) ([]stocksync.CampaignView, error)
	Campaign(ctx context.Context, name string) (stocksync.CampaignView, error)
	ListKeys(ctx context.Context, sku stock.SKU, after int64, limit int) ([]stocksync.KeyView, error)
	Stocktakes(ctx context.Context, open bool, before int64, limit int) ([]stocksync.StocktakeView, error)
	Stocktake(ctx context.Context, id int64) (stocksync.StocktakeView, error)
	ExportStocktake(ctx context.Context, id int64, w io.Writer) error
	Audit(ctx context.Context, subject string, after int64, limit int) ([]stocksync.AuditView, error)
	Status(ctx context.Context) (stocksync.StatusView, error)
	Ready(ctx context.Context) error

	Replay(ctx context.Context, id int64, by string) error
	DecidePlan(ctx context.Context, id int64, approve bool, by string) (stocksync.PlanView, error)
	StartReconcile(ctx context.Context, job string, dryRun bool) (stocksync.RunView, error)
	Pause(ctx context.Context, connection stock.ConnectionID, by string) error
	Resume(ctx context.Context, connection stock.ConnectionID, by string) error
	AcceptAccount(ctx context.Context, connection stock.ConnectionID, account, by string) error
	// PauseRaises and ResumeRaises are about every channel where connection is empty.
	PauseRaises(ctx context.Context, connection stock.ConnectionID, by string) error
	ResumeRaises(ctx context.Context, connection stock.ConnectionID, by string) error

	ImportMappings(ctx context.Context, csv io.Reader, by string) (stocksync.ImportView, error)
	PreviewMappings(ctx context.Context, csv io.Reader) (stocksync.LinkPreview, error)
	Unlink(ctx context.Context, key stocksync.ListingKey, force bool, by string) error
	RenameSKU(ctx context.Context, from, to stock.SKU, by string) (stocksync.RenameView, error)
	MergeSKU(ctx context.Context, from, to stock.SKU, by string) (stocksync.RenameView, error)
	ImportSettings(ctx context.Context, by stocksync.Actor, kind stocksync.SettingKind, csv io.Reader) (stocksync.SettingsImportView, error)
	ChangeSettings(ctx context.Context, by stocksync.Actor, changes []stocksync.SettingChange) ([]stocksync.SettingView, error)
	ImportKeys(ctx context.Context, by stocksync.Actor, sku stock.SKU, csv io.Reader) (stocksync.KeysImportView, error)
	RevealKey(ctx context.Context, by stocksync.Actor, id int64) (string, error)
	RevokeKey(ctx context.Context, by stocksync.Actor, id int64) error
	NewStocktake(ctx context.Context, by stocksync.Actor, o stocksync.StocktakeOrder) (stocksync.StocktakeView, []stocksync.RowErrorView, error)
	EnterCounts(ctx context.Context, by stocksync.Actor, id int64, counts []stocksync.CountInput, found ...stocksync.RowErrorView) (stocksync.CountsView, error)
	ImportCounts(ctx context.Context, by stocksync.Actor, id int64, csv io.Reader) (stocksync.CountsView, error)
	ApproveStocktake(ctx context.Context, by stocksync.Actor, id int64, d stocksync.StocktakeDecision) (stocksync.CountsView, error)
	RejectStocktake(ctx context.Context, by stocksync.Actor, id int64, d stocksync.StocktakeDecision) (stocksync.CountsView, error)
	BookStocktake(ctx context.Context, by stocksync.Actor, id int64, d stocksync.StocktakeDecision) (stocksync.CountsView, error)
	Authenticate(ctx context.Context, secret string) (stocksync.Token, error)
	CreateToken(ctx context.Context, name string, scope stocksync.Scope, ttl time.Duration, by string) (secret string, view stocksync.TokenView, err error)
	Tokens(ctx context.Context) ([]stocksync.TokenView, error)
	RevokeToken(ctx context.Context, id int64, by string) error
}

var _ Engine = (*stocksync.Engine)(nil)

// Server answers HTTP. Its methods are safe for concurrent use.
type Server struct {
	cfg     Config
	engine  Engine
	log     *slog.Logger
	echo    *echo.Echo
	metrics *metrics
	intakes map[stock.ConnectionID]*intake
	others  *intake
	pages   map[string]*template.Template

	// rare keeps what strangers can cause from filling the log.
	rare     rareLog
	draining atomic.Bool
}

// New makes a server. It does no I/O.
func New(cfg Config, engine Engine, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg.withDefaults(), engine: engine, log: log, rare: newRareLog(log)}
	s.metrics = newMetrics(engine, s.cfg.Version, &s.rare)
	s.intakes = make(map[stock.ConnectionID]*intake, len(cfg.Connections))
	for _, name := range cfg.Connections {
		s.intakes[name] = s.newIntake(string(name))
	}
	s.others = s.newIntake("")

	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(io.Discard)
	e.IPExtractor = ipExtractor(cfg.TrustedProxies)
	e.HTTPErrorHandler = s.handleError
	s.echo = e

	for _, method := range webhookMethods {
		e.Add(method, "/webhooks/:connection", s.recovered(s.webhook))
	}
	s.routeAPI(e)
	s.routeHealth(e)
	s.routePage(e)
	if !cfg.MetricsApart {
		e.GET("/metrics", s.recovered(echo.WrapHandler(s.metrics.handler())))
	}
	return s
}

// Handler answers everything that the server answers, without a listener.
func (s *Server) Handler() http.Handler { return s.echo }

// ipExtractor tells the client's address: the peer's, or, where the peer is a trusted proxy, the nearest address in
// X-Forwarded-For that is not one.
func ipExtractor(trusted []netip.Prefix) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range trusted {
		p = p.Masked()
		options = append(options, echo.TrustIPRange(&net.IPNet{
			IP:   p.Addr().AsSlice(),
			Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}
