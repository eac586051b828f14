package web

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// StocktakeInput is the body of POST /stocktakes.
type StocktakeInput struct {
	SKUs             []string `json:"skus,omitempty" maxItems:"10000" doc:"what is counted, wherever a system of record has stated it; absent: everything at the locations"`
	Locations        []string `json:"locations,omitempty" maxItems:"1000" doc:"where is counted; absent: everywhere"`
	Blind            bool     `json:"blind,omitempty" doc:"those who count do not see what the books have"`
	RecountUnits     int64    `json:"recount_units,omitempty" minimum:"0" doc:"the largest difference that one count is believed with"`
	RecountPermille  int64    `json:"recount_permille,omitempty" minimum:"0" maximum:"1000" doc:"the same as a part of what is expected; the larger of the two counts"`
	RecountByAnother bool     `json:"recount_by_another,omitempty" doc:"somebody else counts again"`
	ApproveUnits     int64    `json:"approve_units,omitempty" minimum:"0" doc:"the largest difference that counts without a second person"`
	ApproveValue     *int64   `json:"approve_value,omitempty" minimum:"0" doc:"the same in the smallest unit of a currency; an unknown cost is above it"`
}

func (in StocktakeInput) order() stocksync.StocktakeOrder {
	o := stocksync.StocktakeOrder{Rule: stocksync.StocktakeRule{Blind: in.Blind, RecountByAnother: in.RecountByAnother, ApproveValue: in.ApproveValue,
		CountRule: stock.CountRule{RecountUnits: stock.Quantity(in.RecountUnits), RecountPermille: in.RecountPermille, ApproveUnits: stock.Quantity(in.ApproveUnits)}}}
	for _, s := range in.SKUs {
		o.SKUs = append(o.SKUs, stock.SKU(s))
	}
	for _, l := range in.Locations {
		o.Locations = append(o.Locations, stock.LocationID(l))
	}
	return o
}

// CountRow is a count of one line.
type CountRow struct {
	SKU      string    `json:"sku"`
	Location string    `json:"location"`
	Counted  int64     `json:"counted"`
	AsOf     time.Time `json:"as_of,omitzero" doc:"when the line was counted; absent: now"`
	Reason   string    `json:"reason,omitempty" doc:"lost, damaged, theft, misplaced, expired, receiving_error, shipping_error, data_error, unknown, or other with a note"`
	Note     string    `json:"note,omitempty" maxLength:"1000"`
}

// StocktakeDecisionInput is the body of a decision about differences.
type StocktakeDecisionInput struct {
	Lines  []int  `json:"lines,omitempty" maxItems:"10000" doc:"the numbers of the lines; absent: all that wait for this"`
	Reason string `json:"reason,omitempty" doc:"replaces the reason of the lines"`
	Note   string `json:"note,omitempty" maxLength:"1000" doc:"replaces the note of the lines"`
	Send   bool   `json:"send,omitempty" doc:"only for approve: has the system of record book the differences"`
}

// countsProblem is the answer to counts, or to a decision, with something wrong: nothing was changed.
type countsProblem struct {
	RowsProblem
	Errors []stocksync.RowErrorView `json:"errors"`
}

func countsAnswer(view stocksync.CountsView, err error) (*output[stocksync.CountsView], error) {
	if err == nil && len(view.Errors) > 0 {
		return nil, &countsProblem{badRows("something is wrong and nothing was changed; errors names each"), view.Errors}
	}
	return answerWith(view, err)
}

// routeStocktakes registers count lists, counts and decisions.
func (s *Server) routeStocktakes(a huma.API) {
	const tag, missing = "stocktakes", "no stocktake has this id; GET /api/v1/stocktakes lists them"
	handle(s, a, operation{
		id: "list-stocktakes", method: http.MethodGet, path: "/stocktakes", tag: tag, scope: stocksync.ScopeRead,
		summary: "Count lists, the newest first",
	}, func(ctx context.Context, in *struct {
		Open bool `query:"open" doc:"only those of which a line is not decided"`
		PageInput
	}) (*output[page[stocksync.StocktakeView]], error) {
		before, err := idCursor(stocktakeCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.Stocktakes(ctx, in.Open, before, in.Limit)
		return answerWith(idPage(stocktakeCursor, rows, in.Limit, func(v stocksync.StocktakeView) string { return v.ID }), err)
	})
	made := operation{
		id: "create-stocktake", method: http.MethodPost, path: "/stocktakes", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Make a count list", detail: "Plans make theirs by themselves: see the settings of kind stocktake.",
	}
	handle(s, a, made, func(ctx context.Context, in *struct{ Body StocktakeInput }) (*output[stocksync.StocktakeView], error) {
		view, bad, err := s.engine.NewStocktake(ctx, stocksync.Actor{Name: caller(ctx).Name}, in.Body.order())
		if err == nil && len(bad) > 0 {
			return nil, &countsProblem{badRows("articles cannot be counted and no list was made; errors names each by its number"), bad}
		}
		return answerWith(view, err)
	})
	handle(s, a, operation{
		id: "get-stocktake", method: http.MethodGet, path: "/stocktakes/{id}", tag: tag, scope: stocksync.ScopeRead,
		summary: "A count list with its lines", detail: "Differences that are not decided are computed from the ledger as it is now.", missing: missing,
	}, func(ctx context.Context, in *idInput) (*output[stocksync.StocktakeView], error) {
		return answerWith(s.engine.Stocktake(ctx, in.ID))
	})
	s.routeCountFiles(a, tag, missing)
	counts := operation{
		id: "enter-counts", method: http.MethodPost, path: "/stocktakes/{id}/counts", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Enter counts", detail: "All or none. The token's name is kept as the one who counted. A difference within the limit counts at once.", missing: missing,
	}
	handle(s, a, counts, func(ctx context.Context, in *struct {
		ID   int64 `path:"id" minimum:"1"`
		Body struct {
			Counts []CountRow `json:"counts" minItems:"1" maxItems:"10000"`
		}
	}) (*output[stocksync.CountsView], error) {
		rows := make([]stocksync.CountInput, len(in.Body.Counts))
		for i, c := range in.Body.Counts {
			if c.AsOf.IsZero() {
				c.AsOf = time.Now().UTC()
			}
			rows[i] = stocksync.CountInput{Row: i + 1, LevelKey: stocksync.LevelKey{SKU: stock.SKU(c.SKU), Location: stock.LocationID(c.Location)},
				Counted: stock.Quantity(c.Counted), AsOf: c.AsOf, Reason: c.Reason, Note: c.Note}
		}
		return countsAnswer(s.engine.EnterCounts(ctx, stocksync.Actor{Name: caller(ctx).Name}, in.ID, rows))
	})
	refusals := []operation{made, counts}
	for _, d := range []struct {
		verb, summary, detail string
		decide                func(ctx context.Context, by stocksync.Actor, id int64, d stocksync.StocktakeDecision) (stocksync.CountsView, error)
	}{
		{"approve", "Approve differences", "Nobody approves what they have counted. What is less counts at once; what is more waits for the word of the system of record.", s.engine.ApproveStocktake},
		{"reject", "Reject differences", "Nothing is posted.", s.engine.RejectStocktake},
		{"booked", "Tell that differences were entered at the system of record by hand", "What it states from then on contains them.", s.engine.BookStocktake},
	} {
		op := operation{
			id: d.verb + "-stocktake", method: http.MethodPost, path: "/stocktakes/{id}/" + d.verb, tag: tag, scope: stocksync.ScopeOperate,
			summary: d.summary, detail: d.detail + " All lines or none.", missing: missing,
		}
		refusals = append(refusals, op)
		handle(s, a, op, func(ctx context.Context, in *struct {
			ID   int64 `path:"id" minimum:"1"`
			Body StocktakeDecisionInput
		}) (*output[stocksync.CountsView], error) {
			return countsAnswer(d.decide(ctx, stocksync.Actor{Name: caller(ctx).Name, Reason: in.Body.Note}, in.ID,
				stocksync.StocktakeDecision{Lines: in.Body.Lines, CountReason: in.Body.Reason, Note: in.Body.Note, Send: in.Body.Send}))
		})
	}
	schema := a.OpenAPI().Components.Schemas.Schema(typeOf[countsProblem](), true, "")
	for _, op := range append(refusals, operation{path: "/stocktakes/{id}/import"}) {
		a.OpenAPI().Paths[op.path].Post.Responses["422"].Content[problemType].Schema = schema
	}
}

// routeCountFiles registers count lists as files.
func (s *Server) routeCountFiles(a huma.API, tag, missing string) {
	op := operation{
		id: "import-counts", method: http.MethodPost, path: "/stocktakes/{id}/import", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Enter counts from CSV", missing: missing,
		detail: "The columns of the export; sku, location, counted and as_of are needed, and rows with nothing in counted are left out. All or none: the answer to a bad row is 422 with a line number and a reason.",
	}
	huma.Register(a, s.takesFile(op), func(ctx context.Context, in *struct {
		ID          int64  `path:"id" minimum:"1"`
		ContentType string `header:"Content-Type" hidden:"true"`
		RawBody     []byte `contentType:"text/csv"`
	}) (*output[stocksync.CountsView], error) {
		if err := csvOnly(in.ContentType); err != nil {
			return nil, err
		}
		out, err := countsAnswer(s.engine.ImportCounts(ctx, stocksync.Actor{Name: caller(ctx).Name}, in.ID, bytes.NewReader(in.RawBody)))
		if err != nil {
			return nil, s.apiError(op.id, op.missing, err)
		}
		return out, nil
	})
	export := operation{
		id: "export-stocktake", method: http.MethodGet, path: "/stocktakes/{id}/csv", tag: tag, scope: stocksync.ScopeRead,
		summary: "The lines that are still to be counted as CSV", detail: "Fill in counted and as_of, and send it to the import.", missing: missing,
	}
	h := export.huma()
	h.Middlewares = huma.Middlewares{allowLong}
	h.Responses = map[string]*huma.Response{"200": {
		Description: "OK", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	huma.Register(a, h, func(ctx context.Context, in *idInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			s.writeFile(ctx, a, hctx, export, file{csvType, "stocktake.csv", func(ctx context.Context, w io.Writer) error {
				return s.engine.ExportStocktake(ctx, in.ID, w)
			}})
		}}, nil
	})
}
