package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/text/language"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

//go:embed assets
var assets embed.FS

// pagePolicy lets a page load its own style sheet and nothing else, send its search to this server alone, and be shown
// in no frame.
const pagePolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Bounds of what one page shows.
const (
	pageIncidents = 50
	pagePlans     = 20
	pageParked    = 20
	pageListings  = 100
)

var pageLanguages = language.NewMatcher([]language.Tag{language.English, language.Chinese})

// pageTemplates are the pages inside the layout that they share, by name.
func pageTemplates() map[string]*template.Template {
	layout := template.Must(template.New("layout.html").Funcs(template.FuncMap{
		"instant":  instantText,
		"quantity": quantityText,
		"millis": func(ms int64) string {
			return (time.Duration(ms) * time.Millisecond).Round(100 * time.Millisecond).String()
		},
	}).ParseFS(assets, "assets/layout.html"))
	pages := make(map[string]*template.Template)
	for _, name := range []string{"landing", "overview", "find", "why", "notice"} {
		pages[name] = template.Must(template.Must(layout.Clone()).ParseFS(assets, "assets/"+name+".html"))
	}
	return pages
}

// instantText writes a time.Time or a *time.Time; what is unknown is a dash.
func instantText(at any) string {
	const layout = "2006-01-02 15:04:05 UTC"
	switch t := at.(type) {
	case time.Time:
		return t.UTC().Format(layout)
	case *time.Time:
		if t != nil {
			return t.UTC().Format(layout)
		}
	}
	return "–"
}

// quantityText writes a quantity; one that is not known is a dash and not 0.
func quantityText(q *stock.Quantity) string {
	if q == nil {
		return "–"
	}
	return strconv.FormatInt(int64(*q), 10)
}

// view is what every template gets. Data is the page's own.
type view struct {
	Text    *pageText
	Title   string
	Version string
	// Asked is the language that the address names, empty where the browser's decides.
	Asked string
	// Inside is true on pages that only the bearer of a token sees.
	Inside bool
	Query  string
	// Other is this page in the other language.
	Other string
	Data  any
}

// Link is an address on this server, with its parameters as name, value, …; it keeps the language that was asked for.
func (v view) Link(path string, pairs ...string) string {
	query := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	if v.Asked != "" {
		query.Set("lang", v.Asked)
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// Why is the address of the page that explains a listing's number.
func (v view) Why(l stocksync.ListingView) string {
	pairs := []string{"connection", string(l.Connection), "item", l.Item}
	if l.Place != "" {
		pairs = append(pairs, "place", l.Place)
	}
	return v.Link("/why", pairs...)
}

// routePage registers the pages and their style sheet. The page at the root is for everybody; the others need a token of
// scope read, as the password of HTTP Basic, which every browser asks for by itself. They only read.
func (s *Server) routePage(e *echo.Echo) {
	s.pages = pageTemplates()
	style, err := assets.ReadFile("assets/page.css")
	if err != nil { // it is embedded
		panic(err)
	}
	e.GET("/", s.recovered(s.landingPage))
	e.GET("/overview", s.recovered(s.inside(s.overviewPage)))
	e.GET("/find", s.recovered(s.inside(s.findPage)))
	e.GET("/why", s.recovered(s.inside(s.whyPage)))
	e.GET("/assets/page.css", s.recovered(func(c echo.Context) error {
		pageHeaders(c)
		c.Response().Header().Set("Cache-Control", "public, max-age=300")
		return c.Blob(http.StatusOK, "text/css; charset=utf-8", style)
	}))
}

func pageHeaders(c echo.Context) {
	h := c.Response().Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// newView begins a page in the language that the address or the browser asks for.
func (s *Server) newView(c echo.Context) view {
	asked := c.QueryParam("lang")
	_, chosen := language.MatchStrings(pageLanguages, asked, c.Request().Header.Get("Accept-Language"))
	v := view{Text: &pageTexts[chosen], Version: s.cfg.Version, Query: c.QueryParam("q")}
	if asked == v.Text.Lang {
		v.Asked = asked
	}
	other := c.QueryParams()
	other.Set("lang", v.Text.OtherLang)
	v.Other = c.Request().URL.Path + "?" + other.Encode()
	return v
}

// show writes a page.
func (s *Server) show(c echo.Context, status int, page string, v view) error {
	var body bytes.Buffer
	if err := s.pages[page].Execute(&body, v); err != nil {
		return err
	}
	pageHeaders(c)
	h := c.Response().Header()
	h.Set("Content-Language", v.Text.Lang)
	h.Set("Vary", "Accept-Language, Authorization")
	h.Set("Cache-Control", "no-store")
	return c.HTMLBlob(status, body.Bytes())
}

// notice writes a page that says one thing.
func (s *Server) notice(c echo.Context, status int, v view, title, text string) error {
	v.Title, v.Data = title, text
	return s.show(c, status, "notice", v)
}

func (s *Server) landingPage(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyTimeout)
	defer cancel()
	v := s.newView(c)
	v.Title = "truestock"
	v.Data = struct{ Ready, Metrics bool }{!s.draining.Load() && s.engine.Ready(ctx) == nil, !s.cfg.MetricsApart}
	return s.show(c, http.StatusOK, "landing", v)
}

// inside lets a request through that bears a token of scope read, as the password of HTTP Basic or behind Bearer. Tokens
// are asked for at every request, as in the API.
func (s *Server) inside(next func(context.Context, echo.Context, view) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		v := s.newView(c)
		ctx, cancel := context.WithTimeout(c.Request().Context(), s.cfg.RequestTimeout)
		defer cancel()
		err := stocksync.ErrNotFound
		if secret, ok := pageSecret(c.Request()); ok {
			_, err = s.engine.Authenticate(ctx, secret)
		}
		switch {
		case errors.Is(err, stocksync.ErrNotFound):
			if c.Request().Header.Get("Authorization") != "" {
				s.rare.sometimes(func(log *slog.Logger) { log.Info("token refused", "operation", c.Path(), "client_ip", c.RealIP()) })
			}
			c.Response().Header().Set("WWW-Authenticate", `Basic realm="truestock", charset="UTF-8"`)
			return s.notice(c, http.StatusUnauthorized, v, v.Text.NeedsToken, v.Text.EnterHow+" truestock token create --name me --scope read")
		case err == nil && plainParams(c) != "":
			return s.notice(c, http.StatusBadRequest, v, v.Text.BadAddress, v.Text.BadAddressText)
		case err == nil:
			v.Inside = true
			err = next(ctx, c, v)
		}
		if err == nil {
			return nil
		}
		s.rare.sometimes(func(log *slog.Logger) { log.Warn("page not shown", "path", c.Path(), "error", err) })
		c.Response().Header().Set("Retry-After", strconv.Itoa(retryUnavailable))
		return s.notice(c, http.StatusServiceUnavailable, v, v.Text.Trouble, v.Text.TroubleText)
	}
}

// pageSecret is the token of a request for a page.
func pageSecret(r *http.Request) (secret string, ok bool) {
	if _, secret, ok = r.BasicAuth(); ok {
		return secret, secret != ""
	}
	return bearerSecret(r.Header.Get("Authorization"))
}

func (s *Server) overviewPage(ctx context.Context, c echo.Context, v view) error {
	var data struct {
		Status                    stocksync.StatusView
		Connections               []stocksync.ConnectionView
		Incidents                 []stocksync.IncidentView
		Plans                     []stocksync.PlanView
		Parked                    []stocksync.EventView
		MoreIncidents, MoreParked bool
	}
	var err [5]error
	data.Status, err[0] = s.engine.Status(ctx)
	data.Connections, err[1] = s.engine.Connections(ctx)
	data.Incidents, err[2] = s.engine.Incidents(ctx, true, 0, pageIncidents+1)
	data.Plans, err[3] = s.engine.Plans(ctx, stocksync.PlanHeld, 0, pagePlans)
	data.Parked, err[4] = s.engine.Events(ctx, stocksync.EventParked, 0, pageParked+1)
	if err := errors.Join(err[:]...); err != nil {
		return err
	}
	data.Incidents, data.MoreIncidents = atMost(data.Incidents, pageIncidents)
	data.Parked, data.MoreParked = atMost(data.Parked, pageParked)
	v.Title, v.Data = "truestock · "+v.Text.Overview, data
	return s.show(c, http.StatusOK, "overview", v)
}

// atMost cuts rows to what a page shows, and tells whether there are more.
func atMost[T any](rows []T, most int) ([]T, bool) {
	return rows[:min(len(rows), most)], len(rows) > most
}

func (s *Server) findPage(ctx context.Context, c echo.Context, v view) error {
	after, err := keyCursor(listingCursor, c.QueryParam("cursor"))
	if err != nil || len(v.Query) > maxSearch {
		return s.notice(c, http.StatusBadRequest, v, v.Text.BadAddress, v.Text.BadAddressText)
	}
	rows, next, err := s.engine.Listings(ctx, stocksync.ListingQuery{Search: v.Query, After: after, Limit: pageListings}, "")
	if err != nil {
		return err
	}
	v.Title = v.Text.Listings
	v.Data = struct {
		Rows []stocksync.ListingView
		Next *string
	}{rows, listingsNext(next)}
	return s.show(c, http.StatusOK, "find", v)
}

// maxSearch is the longest text that is searched for, in bytes.
const maxSearch = 800

func (s *Server) whyPage(ctx context.Context, c echo.Context, v view) error {
	key := listingKey(c.QueryParam("connection"), c.QueryParam("item"), c.QueryParam("place"))
	x, err := s.engine.Explain(ctx, key, time.Time{})
	switch {
	case errors.Is(err, stocksync.ErrNotFound), errors.Is(err, stocksync.ErrUnknownConnection):
		return s.notice(c, http.StatusNotFound, v, v.Text.NoListing, v.Text.NoListingText)
	case err != nil:
		return err
	}
	v.Title = string(key.Connection) + " · " + connectors.Ref{Item: key.Item, Place: key.Place}.String()
	v.Data = x
	return s.show(c, http.StatusOK, "why", v)
}
