package web

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	stocksync "github.com/truestock/truestock/sync"
)

// metrics are the server's numbers for Prometheus. Labels are connections, answers and routes, never a SKU: their
// number does not grow with what is sold or sent.
type metrics struct {
	registry *prometheus.Registry
	webhooks *prometheus.CounterVec
	ack      prometheus.Histogram
	api      *prometheus.CounterVec
}

func newMetrics(engine Engine, version string, rare *rareLog) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "truestock_webhook_requests_total",
			Help: "Webhook requests by connection and answer; the connection is empty for names that are not configured.",
		}, []string{"connection", "answer"}),
		ack: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "truestock_webhook_ack_seconds",
			Help:    "Time from the request's header to the answer of a webhook.",
			Buckets: []float64{.001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		api: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "truestock_api_requests_total",
			Help: "API requests by method, route and status.",
		}, []string{"method", "route", "status"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "truestock_build_info", Help: "Always 1; the label is the version.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.webhooks, m.ack, m.api, build, newStatusCollector(engine, rare),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) countAPI(method, route string, status int) {
	m.api.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

const (
	// statusTimeout bounds what one scrape may ask of the database.
	statusTimeout = 2 * time.Second
	// statusAge is how old an answer may be that several scrapes share.
	statusAge = time.Second
)

// statusGauge is one number of the engine's status.
type statusGauge struct {
	desc  *prometheus.Desc
	value func(stocksync.StatusView) float64
}

// statusCollector reads the engine's status when it is scraped.
type statusCollector struct {
	engine   Engine
	rare     *rareLog
	readable *prometheus.Desc
	gauges   []statusGauge

	mu     sync.Mutex
	readAt time.Time
	status stocksync.StatusView
	err    error
}

func newStatusCollector(engine Engine, rare *rareLog) *statusCollector {
	gauge := func(name, help string, value func(stocksync.StatusView) float64) statusGauge {
		return statusGauge{prometheus.NewDesc("truestock_"+name, help, nil, nil), value}
	}
	return &statusCollector{
		engine: engine, rare: rare,
		readable: prometheus.NewDesc("truestock_status_readable", "1 when the numbers of the state could be read; 0 when they are missing.", nil, nil),
		gauges: []statusGauge{
			gauge("inbox_pending", "Events that are stored and not yet applied.", func(v stocksync.StatusView) float64 { return float64(v.InboxPending) }),
			gauge("inbox_parked", "Events that wait for a person or a mapping.", func(v stocksync.StatusView) float64 { return float64(v.InboxParked) }),
			gauge("dirty_skus", "SKUs whose listings are to be planned.", func(v stocksync.StatusView) float64 { return float64(v.Dirty) }),
			gauge("unconfirmed_listings", "Listings that do not yet show, confirmed, what they should.", func(v stocksync.StatusView) float64 { return float64(v.Unconfirmed) }),
			gauge("oldest_unconfirmed_seconds", "Age of the oldest change that no channel has confirmed.", func(v stocksync.StatusView) float64 { return float64(v.OldestUnconfirmedMS) / 1000 }),
			gauge("orders_waiting", "Orders that the system of record has not yet taken.", func(v stocksync.StatusView) float64 { return float64(v.OrdersWaiting) }),
			gauge("shipments_waiting", "Shipments that the marketplace has not yet taken.", func(v stocksync.StatusView) float64 { return float64(v.ShipmentsWaiting) }),
			gauge("held_plans", "Plans that a guard holds back until a person decides.", func(v stocksync.StatusView) float64 { return float64(v.HeldPlans) }),
			gauge("oldest_held_plan_seconds", "Age of the plan that waits longest.", func(v stocksync.StatusView) float64 { return float64(v.OldestHeldPlanMS) / 1000 }),
			gauge("open_incidents", "Incidents that a person must look at.", func(v stocksync.StatusView) float64 { return float64(v.OpenIncidents) }),
			gauge("settled", "1 when nothing is left to do except what waits for a person.", func(v stocksync.StatusView) float64 {
				if v.Settled {
					return 1
				}
				return 0
			}),
		},
	}
}

// Describe names the gauges.
func (c *statusCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.readable
	for _, g := range c.gauges {
		out <- g.desc
	}
}

// Collect reads the status and sends the gauges, or, where it cannot be read, only that fact: a number that is not
// known must not look like 0.
func (c *statusCollector) Collect(out chan<- prometheus.Metric) {
	status, err := c.read()
	if err != nil {
		out <- prometheus.MustNewConstMetric(c.readable, prometheus.GaugeValue, 0)
		return
	}
	out <- prometheus.MustNewConstMetric(c.readable, prometheus.GaugeValue, 1)
	for _, g := range c.gauges {
		out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(status))
	}
}

// read asks the engine, at most once a second however many scrape.
func (c *statusCollector) read() (stocksync.StatusView, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.readAt) < statusAge {
		return c.status, c.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	c.status, c.err = c.engine.Status(ctx)
	c.readAt = time.Now()
	if c.err != nil {
		c.rare.sometimes(func(log *slog.Logger) { log.Warn("status not readable", "error", c.err) })
	}
	return c.status, c.err
}
