package web

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/truestock/truestock/plot"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// ReportInput asks for a report.
type ReportInput struct {
	Name    string `path:"name" doc:"daily, velocity, turnover, cover, ageing, movers, abc, forecast, overstock, clearance, effect or stocktake"`
	From    string `query:"from" format:"date" doc:"the first day; absent: 90 days until the last"`
	To      string `query:"to" format:"date" doc:"the last day, not in the future; absent: yesterday"`
	Zone    string `query:"zone" default:"UTC" doc:"whose days, such as Europe/Berlin"`
	SKU     string `query:"sku" doc:"only this SKU"`
	Channel string `query:"channel" doc:"only what this channel sold"`
}

func (in ReportInput) query() (q stocksync.AnalysisQuery, err error) {
	q = stocksync.AnalysisQuery{Name: in.Name, SKU: stock.SKU(in.SKU), Channel: stock.ConnectionID(in.Channel)}
	if q.Zone, err = stock.ParseZone(in.Zone); err != nil {
		return q, err
	}
	if in.From != "" {
		if err := q.From.UnmarshalText([]byte(in.From)); err != nil {
			return q, err
		}
	}
	if in.To != "" {
		err = q.To.UnmarshalText([]byte(in.To))
	}
	return q, err
}

// reportPage is a page of a report.
type reportPage struct {
	stocksync.AnalysisView
	Next *string `json:"next" doc:"the cursor of the next page; null at the end"`
}

// routeReports registers what is computed from the history of the ledger.
func (s *Server) routeReports(a huma.API) {
	const tag, missing = "reports", "there is no such report; docs/analysis.md lists them"
	handle(s, a, operation{
		id: "get-report", method: http.MethodGet, path: "/reports/{name}", tag: tag, scope: stocksync.ScopeRead,
		summary: "What sells, what lies, what will run out and what to do about it", detail: "Computed from the ledger; a page looks at limit articles. docs/analysis.md has the formulas.", missing: missing,
	}, func(ctx context.Context, in *struct {
		ReportInput
		PageInput
	}) (*output[reportPage], error) {
		q, err := in.query()
		if err != nil {
			return nil, err
		}
		var after string
		if err := decodeCursor(reportCursor, in.Cursor, &after); err != nil {
			return nil, err
		}
		q.After, q.Limit = stock.SKU(after), in.Limit
		view, next, err := s.engine.Analysis(ctx, q)
		p := reportPage{AnalysisView: view}
		if next != "" {
			p.Next = encodeCursor(reportCursor, string(next))
		}
		return answerWith(p, err)
	})
	s.routeReportFile(a, operation{
		id: "export-report", method: http.MethodGet, path: "/reports/{name}/csv", tag: tag, scope: stocksync.ScopeRead,
		summary: "A whole report as CSV", detail: "A text that a spreadsheet would take for a formula has an apostrophe in front.", missing: missing,
	}, "text/csv", func(q stocksync.AnalysisQuery) file {
		return file{csvType, q.Name + ".csv", func(ctx context.Context, w io.Writer) error { return s.engine.WriteAnalysis(ctx, q, w) }}
	})
	s.routeReportFile(a, operation{
		id: "plot-report", method: http.MethodGet, path: "/reports/{name}/plot.svg", tag: tag, scope: stocksync.ScopeRead,
		summary: "A report as a picture", detail: "The articles with the largest figures; of the report daily the sum of each day.", missing: missing,
	}, svgType, func(q stocksync.AnalysisQuery) file {
		return file{svgType, "", func(ctx context.Context, w io.Writer) error { return s.plotReport(ctx, q, w) }}
	})
}

const svgType = "image/svg+xml"

func (s *Server) routeReportFile(a huma.API, op operation, media string, of func(stocksync.AnalysisQuery) file) {
	h := op.huma()
	h.Middlewares = huma.Middlewares{allowLong}
	h.Responses = map[string]*huma.Response{"200": {
		Description: "OK", Content: map[string]*huma.MediaType{media: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	huma.Register(a, h, func(ctx context.Context, in *ReportInput) (*huma.StreamResponse, error) {
		q, err := in.query()
		if err != nil {
			return nil, s.apiError(op.id, op.missing, err)
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) { s.writeFile(ctx, a, hctx, op, of(q)) }}, nil
	})
}

// plotReport draws all pages of a report.
func (s *Server) plotReport(ctx context.Context, q stocksync.AnalysisQuery, w io.Writer) error {
	r := plot.Report{Name: q.Name, Column: stocksync.AnalysisPlot(q.Name)}
	q.Limit = 1000
	for {
		view, next, err := s.engine.Analysis(ctx, q)
		if err != nil {
			return err
		}
		r.From, r.To, r.Zone, r.Rows = view.From, view.To, view.Zone, append(r.Rows, view.Data...)
		if q.After = next; next == "" {
			break
		}
	}
	svg, err := plot.SVG(plot.Of(r))
	if err != nil {
		return err
	}
	_, err = w.Write(svg)
	return err
}
