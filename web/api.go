package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	stocksync "github.com/truestock/truestock/sync"
)

// apiPath is where the API stands; apiVersion grows with its contract, not with the program.
const (
	apiPath    = "/api/v1"
	apiVersion = "1.0.0"
)

// routeAPI registers the API and its OpenAPI document.
func (s *Server) routeAPI(e *echo.Echo) {
	group := e.Group(apiPath)
	a := humaecho.NewV4WithGroup(e, group, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "truestock", Version: apiVersion, Description: apiDescription},
			Servers: []*huma.Server{{URL: apiPath}},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{bearer: {
					Type: "http", Scheme: "bearer",
					Description: "A token made by `truestock token create` or POST /tokens. Its scope is read, operate or admin; each includes those before it.",
				}},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{withoutInternals},
	})
	a.UseMiddleware(s.observed, s.withRecover, plainInput, s.authorized(a))
	s.routeStock(a)
	s.routeEvents(a)
	s.routeWork(a)
	s.routeReconcile(a)
	s.routeConnections(a)
	s.routeMappings(a)
	s.routeSettings(a)
	s.routeNotices(a)
	s.routeCampaigns(a)
	s.routeKeys(a)
	s.routeReports(a)
	s.routeStocktakes(a)
	s.routeTokens(a)
	s.routeDocument(group, a.OpenAPI())
}

const apiDescription = "Reads what truestock knows and tells it what to do. Every request carries a bearer token: GET needs the scope " +
	"read, what sets work going needs operate, mappings and tokens need admin. Quantities are whole numbers, instants RFC 3339 in UTC, " +
	"errors application/problem+json. Lists answer {data, next}: pass next as cursor until it is null; a page may be empty. " +
	"Names in paths are URL-escaped: a slash in an item is %2F."

// jsonFormat reads strictly (no duplicate names, names by case) and writes absent lists as [].
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		return json.MarshalWrite(w, v, jsontext.AllowInvalidUTF8(true))
	},
	Unmarshal: func(data []byte, v any) error { return json.Unmarshal(data, v) },
}

// withoutInternals removes from errors what the client sent, which may be a secret in the wrong place, and what only the
// log should tell.
func withoutInternals(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	for _, e := range m.Errors {
		if e != nil {
			e.Value = nil
		}
	}
	if m.Status >= http.StatusInternalServerError {
		m.Errors = nil
	}
	return m, nil
}

// operation describes one operation of the API. Scope is what a token needs; missing is the detail of a 404.
type operation struct {
	id, method, path string
	summary, detail  string
	tag              string
	scope            stocksync.Scope
	status           int
	missing          string
}

func (o operation) huma() huma.Operation {
	errs := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusServiceUnavailable}
	if o.missing != "" {
		errs = append(errs, http.StatusNotFound)
	}
	return huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, Tags: []string{o.tag},
		Description:   strings.TrimSpace(o.detail + " Needs the scope " + string(o.scope) + "."),
		DefaultStatus: o.status,
		Errors:        errs,
		Security:      []map[string][]string{{bearer: {string(o.scope)}}},
	}
}

// handle registers an operation. The engine gets RequestTimeout; its errors become answers.
func handle[In, Out any](s *Server, a huma.API, o operation, answer func(context.Context, *In) (*Out, error)) {
	huma.Register(a, o.huma(), func(ctx context.Context, in *In) (*Out, error) {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
		defer cancel()
		out, err := answer(ctx, in)
		if err != nil {
			return nil, s.apiError(o.id, o.missing, err)
		}
		return out, nil
	})
}

// output is an answer with a body.
type output[T any] struct{ Body T }

func answerWith[T any](body T, err error) (*output[T], error) {
	return &output[T]{body}, err
}

// page is one page of a list.
type page[T any] struct {
	Data []T     `json:"data"`
	Next *string `json:"next" doc:"the cursor of the next page; null at the end"`
}

// PageInput is what every list takes.
type PageInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"the most rows in the answer"`
	Cursor string `query:"cursor" doc:"next of the page before; absent for the first page"`
}

// pageOf makes a page of rows; cursor tells the key of the last one. A page that is full has a next one, which may be
// empty.
func pageOf[T any](rows []T, limit int, cursor func(last T) *string) page[T] {
	p := page[T]{Data: rows}
	if len(rows) > 0 && len(rows) >= limit {
		p.Next = cursor(rows[len(rows)-1])
	}
	return p
}

const bearer = "bearer"

// callerKey is the key of the caller's token in a request's context.
type callerKey struct{}

// caller is the token that the request came with.
func caller(ctx context.Context) stocksync.Token {
	t, _ := ctx.Value(callerKey{}).(stocksync.Token)
	return t
}

// authorized lets a request through whose token is known and has the scope that the operation's Security names. Tokens
// are asked for at every request: a revoked one is refused from then on.
func (s *Server) authorized(a huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		refuse := func(status int, challenge, detail string) {
			ctx.SetHeader("WWW-Authenticate", challenge)
			_ = huma.WriteErr(a, ctx, status, detail) // only fails when the client is gone
		}
		needed := neededScope(ctx.Operation())
		secret, ok := bearerSecret(ctx.Header("Authorization"))
		if !ok {
			refuse(http.StatusUnauthorized, `Bearer realm="truestock"`, "a token is needed: send Authorization: Bearer and a token made by truestock token create")
			return
		}
		c := humaecho.UnwrapV4(ctx)
		within, cancel := context.WithTimeout(ctx.Context(), s.cfg.RequestTimeout)
		token, err := s.engine.Authenticate(within, secret)
		cancel()
		switch {
		case errors.Is(err, stocksync.ErrNotFound):
			s.rare.sometimes(func(log *slog.Logger) {
				log.Info("token refused", "operation", ctx.Operation().OperationID, "client_ip", c.RealIP())
			})
			refuse(http.StatusUnauthorized, `Bearer realm="truestock", error="invalid_token"`, "this token is unknown, expired or revoked")
		case err != nil:
			s.writeAPIError(a, ctx, s.apiError("authenticate", "", err))
		case !token.Scope.Allows(needed):
			refuse(http.StatusForbidden, `Bearer realm="truestock", error="insufficient_scope", scope="`+string(needed)+`"`,
				"this needs a token of scope "+string(needed)+"; yours has "+string(token.Scope))
		default:
			c.Set(callerName, token.Name)
			next(huma.WithValue(ctx, callerKey{}, token))
		}
	}
}

// neededScope is what an operation's Security names. An operation that names nothing needs everything.
func neededScope(op *huma.Operation) stocksync.Scope {
	for _, requirement := range op.Security {
		if scopes := requirement[bearer]; len(scopes) == 1 {
			return stocksync.Scope(scopes[0])
		}
	}
	return stocksync.ScopeAdmin
}

// bearerSecret reads the header Authorization (RFC 6750).
func bearerSecret(header string) (secret string, ok bool) {
	scheme, secret, found := strings.Cut(header, " ")
	secret = strings.TrimSpace(secret)
	return secret, found && strings.EqualFold(scheme, "Bearer") && secret != ""
}

// writeAPIError answers with an error of apiError from a middleware.
func (s *Server) writeAPIError(a huma.API, ctx huma.Context, err error) {
	if h, ok := errors.AsType[huma.HeadersError](err); ok {
		for name, values := range h.GetHeaders() {
			ctx.SetHeader(name, values[0])
		}
	}
	if m, ok := errors.AsType[*huma.ErrorModel](err); ok {
		_ = huma.WriteErr(a, ctx, m.Status, m.Detail) // only fails when the client is gone
	}
}

// callerName is where the name of the caller's token stands in Echo's context, for the log.
const callerName = "caller"

// observed counts a request, sets the headers of every API answer, and logs who changed something.
func (s *Server) observed(ctx huma.Context, next func(huma.Context)) {
	c := humaecho.UnwrapV4(ctx)
	apiHeaders(c)
	next(ctx)
	op, r, status := ctx.Operation(), c.Request(), c.Response().Status
	s.metrics.countAPI(op.Method, op.Path, status)
	if op.Method != http.MethodGet && status < http.StatusBadRequest {
		s.log.Info("changed through the api", "operation", op.OperationID, "path", r.URL.EscapedPath(), "token", c.Get(callerName), "client_ip", c.RealIP())
	}
}

func apiHeaders(c echo.Context) {
	header := c.Response().Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
}

// withRecover is recovered for operations of the API.
func (s *Server) withRecover(ctx huma.Context, next func(huma.Context)) {
	c := humaecho.UnwrapV4(ctx)
	if err := s.recovered(func(echo.Context) error { next(ctx); return nil })(c); err != nil {
		s.handleError(err, c)
	}
}

// plainInput unescapes the names in the path, which Echo leaves escaped where the escapes carry meaning, and refuses
// text that no name or search can contain.
func plainInput(ctx huma.Context, next func(huma.Context)) {
	c := humaecho.UnwrapV4(ctx)
	if detail := plainParams(c); detail != "" {
		_ = writeProblem(c, http.StatusBadRequest, detail, 0) // only fails when the client is gone
		return
	}
	next(ctx)
}

// plainParams unescapes the names in the path in place, and returns what is wrong with them or with the query.
func plainParams(c echo.Context) (wrong string) {
	const badText = "the path or the query is not well-formed: escape names as UTF-8, without NUL"
	address := c.Request().URL
	values := c.ParamValues()
	for i, v := range values {
		if address.RawPath != "" {
			plain, err := url.PathUnescape(v)
			if err != nil {
				return badText
			}
			values[i] = plain
		}
		if !isText(values[i]) {
			return badText
		}
	}
	query, err := url.ParseQuery(address.RawQuery)
	if err != nil {
		return badText
	}
	for name, list := range query {
		switch {
		case len(list) > 1:
			return "a query parameter is given more than once"
		case !isText(name) || !isText(list[0]):
			return badText
		}
	}
	return ""
}

func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// allowLong gives a request that moves a large file five minutes for its bodies.
func allowLong(ctx huma.Context, next func(huma.Context)) {
	control := http.NewResponseController(humaecho.UnwrapV4(ctx).Response())
	until := time.Now().Add(longTimeout)
	// A writer without deadlines, as tests use, needs none.
	_ = control.SetReadDeadline(until)
	_ = control.SetWriteDeadline(until)
	next(ctx)
}

const longTimeout = 5 * time.Minute
