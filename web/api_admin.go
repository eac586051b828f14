package web

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// AccountRequest is the body of POST /connections/{name}/account.
type AccountRequest struct {
	Account string `json:"account" minLength:"1" maxLength:"200" doc:"the account, as the incident wrong_shop names it"`
}

// routeConnections registers the list of connections and their switch.
func (s *Server) routeConnections(a huma.API) {
	const tag, noConnection = "connections", "no connection has this name; GET /api/v1/connections lists them"
	handle(s, a, operation{
		id: "list-connections", method: http.MethodGet, path: "/connections", tag: tag, scope: stocksync.ScopeRead,
		summary: "The connections and how they are",
	}, func(ctx context.Context, _ *struct{}) (*output[page[stocksync.ConnectionView]], error) {
		rows, err := s.engine.Connections(ctx)
		return answerWith(page[stocksync.ConnectionView]{Data: rows}, err)
	})

	type nameInput struct {
		Name   string `path:"name"`
		Raises bool   `query:"raises" doc:"only raises of the numbers that the channel shows; lowers go on"`
	}
	handle(s, a, operation{
		id: "pause-connection", method: http.MethodPost, path: "/connections/{name}/pause", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Stop all traffic to a connection", detail: "Its webhooks are still taken. The token's name is kept as the one who paused.", missing: noConnection,
	}, func(ctx context.Context, in *nameInput) (*output[stocksync.ConnectionView], error) {
		name := stock.ConnectionID(in.Name)
		pause := s.engine.Pause
		if in.Raises {
			pause = s.engine.PauseRaises
		}
		if err := pause(ctx, name, caller(ctx).Name); err != nil {
			return nil, err
		}
		return answerWith(s.connection(ctx, name))
	})
	handle(s, a, operation{
		id: "resume-connection", method: http.MethodPost, path: "/connections/{name}/resume", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Let a paused connection go on", missing: noConnection,
	}, func(ctx context.Context, in *nameInput) (*output[stocksync.ConnectionView], error) {
		name := stock.ConnectionID(in.Name)
		resume := s.engine.Resume
		if in.Raises {
			resume = s.engine.ResumeRaises
		}
		if err := resume(ctx, name, caller(ctx).Name); err != nil {
			return nil, err
		}
		return answerWith(s.connection(ctx, name))
	})
	handle(s, a, operation{
		id: "accept-account", method: http.MethodPost, path: "/connections/{name}/account", tag: tag, scope: stocksync.ScopeAdmin,
		summary: "Accept the account that a marketplace connection leads to now", missing: noConnection,
		detail: "After the incident wrong_shop: the account becomes the one that the connection is meant to lead to, and the connection goes on.",
	}, func(ctx context.Context, in *struct {
		Name string `path:"name"`
		Body AccountRequest
	}) (*output[stocksync.ConnectionView], error) {
		name := stock.ConnectionID(in.Name)
		if err := s.engine.AcceptAccount(ctx, name, in.Body.Account, caller(ctx).Name); err != nil {
			return nil, err
		}
		return answerWith(s.connection(ctx, name))
	})
	handle(s, a, operation{
		id: "pause-raises", method: http.MethodPost, path: "/raises/pause", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Raise no number on any channel", detail: "Lowers go on. Each raise that waits says so.",
	}, func(ctx context.Context, _ *struct{}) (*output[page[stocksync.ConnectionView]], error) {
		if err := s.engine.PauseRaises(ctx, "", caller(ctx).Name); err != nil {
			return nil, err
		}
		rows, err := s.engine.Connections(ctx)
		return answerWith(page[stocksync.ConnectionView]{Data: rows}, err)
	})
	handle(s, a, operation{
		id: "resume-raises", method: http.MethodPost, path: "/raises/resume", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Let raises go on", detail: "A channel whose raises were paused by itself stays so.",
	}, func(ctx context.Context, _ *struct{}) (*output[page[stocksync.ConnectionView]], error) {
		if err := s.engine.ResumeRaises(ctx, "", caller(ctx).Name); err != nil {
			return nil, err
		}
		rows, err := s.engine.Connections(ctx)
		return answerWith(page[stocksync.ConnectionView]{Data: rows}, err)
	})
}

func (s *Server) connection(ctx context.Context, name stock.ConnectionID) (stocksync.ConnectionView, error) {
	all, err := s.engine.Connections(ctx)
	if err != nil {
		return stocksync.ConnectionView{}, err
	}
	i := slices.IndexFunc(all, func(c stocksync.ConnectionView) bool { return c.Name == name })
	if i < 0 {
		return stocksync.ConnectionView{}, stocksync.ErrUnknownConnection
	}
	return all[i], nil
}

// RowsProblem is the answer to a file with bad rows; what embeds it adds the rows.
type RowsProblem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// Error is the detail.
func (p RowsProblem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p RowsProblem) GetStatus() int { return p.Status }

// ContentType makes the answer a problem.
func (p RowsProblem) ContentType(string) string { return problemType }

func badRows(detail string) RowsProblem {
	return RowsProblem{Title: http.StatusText(http.StatusUnprocessableEntity), Status: http.StatusUnprocessableEntity, Detail: detail}
}

// importProblem is the answer to a mapping file with bad rows: a problem with the rows.
type importProblem struct {
	RowsProblem
	stocksync.ImportView
}

// routeMappings registers the exchange of mappings as CSV and the suggestions.
func (s *Server) routeMappings(a huma.API) {
	const tag = "mappings"
	s.routeImport(a, tag)
	s.routeMoves(a, tag)
	s.routeUnmapped(a, tag)
	s.routeExport(a, tag)
	handle(s, a, operation{
		id: "suggest-mappings", method: http.MethodGet, path: "/mappings/suggestions", tag: tag, scope: stocksync.ScopeRead,
		summary: "Links proposed for unmapped listings", missing: "no connection has this name; GET /api/v1/connections lists them",
	}, func(ctx context.Context, in *struct {
		Connection string `query:"connection" required:"true"`
	}) (*output[page[stocksync.SuggestionView]], error) {
		rows, err := s.engine.Suggestions(ctx, stock.ConnectionID(in.Connection))
		return answerWith(page[stocksync.SuggestionView]{Data: rows}, err)
	})
}

// routeUnmapped registers the demand that no mapping covers.
func (s *Server) routeUnmapped(a huma.API, tag string) {
	handle(s, a, operation{
		id: "list-unmapped", method: http.MethodGet, path: "/mappings/unmapped", tag: tag, scope: stocksync.ScopeRead,
		summary: "Unmapped listings that were sold, the longest waiting first",
		detail:  "How many orders wait for the mapping, what they have open, and which article looks alike. When a listing is mapped its orders are applied in the order in which they came.",
	}, func(ctx context.Context, _ *struct{}) (*output[page[stocksync.UnmappedView]], error) {
		rows, err := s.engine.Unmapped(ctx)
		return answerWith(page[stocksync.UnmappedView]{Data: rows}, err)
	})
}

func (s *Server) routeImport(a huma.API, tag string) {
	op := operation{
		id: "import-mappings", method: http.MethodPost, path: "/mappings/import", tag: tag, scope: stocksync.ScopeAdmin,
		summary: "Import mappings from CSV",
		detail:  "Columns connection,item,place,sku,units; one row per component. With any bad row nothing is imported, and the answer is 422 with a line number and a reason per bad row.",
	}
	huma.Register(a, s.takesFile(op), func(ctx context.Context, in *csvInput) (*output[stocksync.ImportView], error) {
		if err := csvOnly(in.ContentType); err != nil {
			return nil, err
		}
		view, err := s.engine.ImportMappings(ctx, bytes.NewReader(in.RawBody), caller(ctx).Name)
		if err != nil {
			return nil, s.apiError(op.id, "", err)
		}
		if len(view.Errors) > 0 {
			return nil, &importProblem{badRows("rows are wrong and nothing was imported; errors names each"), view}
		}
		return answerWith(view, nil)
	})
	schema := a.OpenAPI().Components.Schemas.Schema(typeOf[importProblem](), true, "")
	a.OpenAPI().Paths[op.path].Post.Responses["422"].Content[problemType].Schema = schema

	preview := operation{
		id: "preview-mappings", method: http.MethodPost, path: "/mappings/preview", tag: tag, scope: stocksync.ScopeRead,
		summary: "Say what an import of mappings would change", detail: "Takes what the import takes and changes nothing. The listings that would change, each with what it would show, and the bad rows.",
	}
	huma.Register(a, s.takesFile(preview), func(ctx context.Context, in *csvInput) (*output[stocksync.LinkPreview], error) {
		if err := csvOnly(in.ContentType); err != nil {
			return nil, err
		}
		view, err := s.engine.PreviewMappings(ctx, bytes.NewReader(in.RawBody))
		if err != nil {
			return nil, s.apiError(preview.id, "", err)
		}
		return answerWith(view, nil)
	})
}

// csvInput is a request whose body is a CSV file.
type csvInput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	RawBody     []byte `contentType:"text/csv"`
}

// csvOnly refuses a body of another type.
func csvOnly(contentType string) error {
	if media, _, _ := mime.ParseMediaType(contentType); media != "text/csv" {
		return problem(http.StatusUnsupportedMediaType, "send the file with Content-Type: text/csv")
	}
	return nil
}

// takesFile is an operation whose body may be long.
func (s *Server) takesFile(o operation) huma.Operation {
	h := o.huma()
	h.MaxBodyBytes = s.cfg.ImportBytes + 1 // huma refuses a body of exactly this size
	h.BodyReadTimeout = longTimeout
	h.Middlewares = huma.Middlewares{allowLong}
	h.Errors = append(h.Errors, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	return h
}

// RenameRequest is the body of POST /mappings/rename and of POST /mappings/merge.
type RenameRequest struct {
	From string `json:"from" minLength:"1" doc:"the SKU as it is called now"`
	To   string `json:"to" minLength:"1" doc:"its new name, or the SKU that it is joined to"`
}

// routeMoves registers what is done to single SKUs and links.
func (s *Server) routeMoves(a huma.API, tag string) {
	const noSKU = "nothing is known of this SKU; GET /api/v1/items lists the articles"
	for _, move := range []struct {
		verb, summary, detail string
		do                    func(ctx context.Context, from, to stock.SKU, by string) (stocksync.RenameView, error)
	}{
		{"rename", "Give an article its new SKU", "Its orders, statements and links go over, and whoever uses the old name means the new one from then on.", s.engine.RenameSKU},
		{"merge", "Join an article to another", "What is there and what is promised is added, until the system of record states the sum.", s.engine.MergeSKU},
	} {
		handle(s, a, operation{
			id: move.verb + "-sku", method: http.MethodPost, path: "/mappings/" + move.verb, tag: tag, scope: stocksync.ScopeAdmin,
			summary: move.summary, detail: move.detail, missing: noSKU,
		}, func(ctx context.Context, in *struct{ Body RenameRequest }) (*output[stocksync.RenameView], error) {
			if !isText(in.Body.From) || !isText(in.Body.To) {
				return nil, problem(http.StatusUnprocessableEntity, "a SKU is text without NUL")
			}
			return answerWith(move.do(ctx, stock.SKU(in.Body.From), stock.SKU(in.Body.To), caller(ctx).Name))
		})
	}
	handle(s, a, operation{
		id: "delete-mapping", method: http.MethodDelete, path: "/mappings/{connection}/{item}", tag: tag, scope: stocksync.ScopeAdmin, status: http.StatusNoContent,
		summary: "Take a listing out of the mapping",
		detail:  "It keeps what it shows and is held. While orders of it are open this is refused, unless forced; what is promised to them stays promised.",
		missing: "no such mapped listing; GET /api/v1/listings lists them",
	}, func(ctx context.Context, in *struct {
		Connection string `path:"connection"`
		Item       string `path:"item"`
		Place      string `query:"place" doc:"for channels with quantities per place"`
		Force      bool   `query:"force" doc:"although orders of the listing are open"`
	}) (*struct{}, error) {
		key := stocksync.ListingKey{Connection: stock.ConnectionID(in.Connection), Ref: connectors.Ref{Item: in.Item, Place: in.Place}}
		return nil, s.engine.Unlink(ctx, key, in.Force, caller(ctx).Name)
	})
}

func (s *Server) routeExport(a huma.API, tag string) {
	op := operation{
		id: "export-mappings", method: http.MethodGet, path: "/mappings/export", tag: tag, scope: stocksync.ScopeRead,
		summary: "Export all mappings as CSV", detail: "The same columns as the import.",
	}
	h := op.huma()
	h.Middlewares = huma.Middlewares{allowLong}
	h.Responses = map[string]*huma.Response{"200": {
		Description: "OK", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	huma.Register(a, h, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			s.writeFile(ctx, a, hctx, op, file{csvType, "mappings.csv", s.engine.ExportMappings})
		}}, nil
	})
}

const csvType = "text/csv; charset=utf-8"

// file is an answer that is streamed; name is what a browser saves it as, empty where it is to be shown.
type file struct {
	contentType, name string
	write             func(context.Context, io.Writer) error
}

// writeFile streams a file. One that fails half-way ends in a cut connection, never in a file that looks whole.
func (s *Server) writeFile(ctx context.Context, a huma.API, hctx huma.Context, op operation, f file) {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	w := &lateWriter{start: func() io.Writer {
		hctx.SetHeader("Content-Type", f.contentType)
		if f.name != "" {
			hctx.SetHeader("Content-Disposition", `attachment; filename="`+f.name+`"`)
		}
		hctx.SetStatus(http.StatusOK)
		return hctx.BodyWriter()
	}}
	err := f.write(ctx, w)
	switch {
	case err == nil:
		_, _ = w.Write(nil) // an empty file has headers too
	case w.to == nil:
		s.writeAPIError(a, hctx, s.apiError(op.id, op.missing, err))
	default:
		if humaecho.UnwrapV4(hctx).Request().Context().Err() == nil {
			s.logFailure(op.id, err)
		}
		panic(http.ErrAbortHandler)
	}
}

// lateWriter begins the answer with the first byte, so that an error before it can still be told.
type lateWriter struct {
	start func() io.Writer
	to    io.Writer
}

// Write starts the answer if need be and writes p.
func (w *lateWriter) Write(p []byte) (int, error) {
	if w.to == nil {
		w.to = w.start()
	}
	return w.to.Write(p)
}

// TokenRequest is the body of POST /tokens.
type TokenRequest struct {
	Name  string `json:"name" minLength:"1" maxLength:"100" doc:"who or what uses the token; shown wherever it did something"`
	Scope string `json:"scope" enum:"read,operate,admin"`
	TTL   string `json:"ttl,omitempty" example:"720h" doc:"how long the token lives, such as 720h or 90m; absent: until it is revoked"`
}

// NewToken answers POST /tokens.
type NewToken struct {
	Secret string              `json:"secret" doc:"what goes behind Bearer; shown this once only"`
	Token  stocksync.TokenView `json:"token"`
}

func (r TokenRequest) ttl() (time.Duration, error) {
	if r.TTL == "" {
		return 0, nil
	}
	ttl, err := time.ParseDuration(r.TTL)
	if err != nil || ttl <= 0 {
		return 0, problem(http.StatusUnprocessableEntity, "ttl must be a duration above zero, such as 720h or 90m")
	}
	return ttl, nil
}

// routeTokens registers the keeping of tokens.
func (s *Server) routeTokens(a huma.API) {
	const tag = "tokens"
	handle(s, a, operation{
		id: "list-tokens", method: http.MethodGet, path: "/tokens", tag: tag, scope: stocksync.ScopeAdmin,
		summary: "The tokens, without their secrets",
	}, func(ctx context.Context, _ *struct{}) (*output[page[stocksync.TokenView]], error) {
		rows, err := s.engine.Tokens(ctx)
		return answerWith(page[stocksync.TokenView]{Data: rows}, err)
	})
	handle(s, a, operation{
		id: "create-token", method: http.MethodPost, path: "/tokens", tag: tag, scope: stocksync.ScopeAdmin, status: http.StatusCreated,
		summary: "Make a token", detail: "The secret is in this answer and nowhere else.",
	}, func(ctx context.Context, in *struct{ Body TokenRequest }) (*output[NewToken], error) {
		ttl, err := in.Body.ttl()
		if err != nil {
			return nil, err
		}
		if strings.ContainsFunc(in.Body.Name, unicode.IsControl) || strings.TrimSpace(in.Body.Name) == "" {
			return nil, problem(http.StatusUnprocessableEntity, "name must be readable text, without control characters")
		}
		secret, view, err := s.engine.CreateToken(ctx, in.Body.Name, stocksync.Scope(in.Body.Scope), ttl, caller(ctx).Name)
		return answerWith(NewToken{secret, view}, err)
	})
	handle(s, a, operation{
		id: "revoke-token", method: http.MethodDelete, path: "/tokens/{id}", tag: tag, scope: stocksync.ScopeAdmin, status: http.StatusNoContent,
		summary: "Revoke a token", detail: "It is refused from the next request on.", missing: "no token has this id; GET /api/v1/tokens lists them",
	}, func(ctx context.Context, in *idInput) (*struct{}, error) {
		return nil, s.engine.RevokeToken(ctx, in.ID, caller(ctx).Name)
	})
}
