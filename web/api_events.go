package web

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// idInput names a thing by its number.
type idInput struct {
	ID int64 `path:"id" minimum:"1"`
}

// idPage is a page of a list that is ordered by number.
func idPage[T any](list byte, rows []T, limit int, id func(T) string) page[T] {
	return pageOf(rows, limit, func(last T) *string { return encodeCursor(list, id(last)) })
}

// routeEvents registers what reads events and orders, and the replay of an event.
func (s *Server) routeEvents(a huma.API) {
	const tag, noEvent = "events", "no event has this id; GET /api/v1/events lists them"
	handle(s, a, operation{
		id: "get-event", method: http.MethodGet, path: "/events/{id}", tag: tag, scope: stocksync.ScopeRead,
		summary: "One event of the inbox", detail: "Its body may hold personal data and is shown only to tokens of scope operate and above.", missing: noEvent,
	}, func(ctx context.Context, in *idInput) (*output[stocksync.EventView], error) {
		event, err := s.engine.Event(ctx, in.ID)
		if !caller(ctx).Scope.Allows(stocksync.ScopeOperate) {
			event.Body = ""
		}
		return answerWith(event, err)
	})

	handle(s, a, operation{
		id: "list-events", method: http.MethodGet, path: "/events", tag: tag, scope: stocksync.ScopeRead,
		summary: "Events of the inbox, without their bodies",
	}, func(ctx context.Context, in *struct {
		State string `query:"state" enum:"pending,applied,parked" doc:"only those in this state"`
		PageInput
	}) (*output[page[stocksync.EventView]], error) {
		after, err := idCursor(eventCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.Events(ctx, stocksync.EventState(in.State), after, in.Limit)
		for i := range rows {
			rows[i].Body = ""
		}
		return answerWith(idPage(eventCursor, rows, in.Limit, func(e stocksync.EventView) string { return e.ID }), err)
	})

	handle(s, a, operation{
		id: "replay-event", method: http.MethodPost, path: "/events/{id}/replay", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Apply a parked event again", detail: "Answers the event as it stands right after; it is applied in the background.", missing: noEvent,
	}, func(ctx context.Context, in *idInput) (*output[stocksync.EventView], error) {
		if err := s.engine.Replay(ctx, in.ID, caller(ctx).Name); err != nil {
			return nil, err
		}
		event, err := s.engine.Event(ctx, in.ID)
		event.Body = ""
		return answerWith(event, err)
	})

	handle(s, a, operation{
		id: "get-order", method: http.MethodGet, path: "/orders/{connection}/{order_id}", tag: tag, scope: stocksync.ScopeRead,
		summary: "One order with what became of it", missing: "no such order at this connection",
	}, func(ctx context.Context, in *struct {
		Connection string `path:"connection"`
		OrderID    string `path:"order_id"`
	}) (*output[stocksync.OrderView], error) {
		return answerWith(s.engine.Order(ctx, stocksync.OrderKey{Channel: stock.ConnectionID(in.Connection), OrderID: in.OrderID}))
	})
}

// routeWork registers what waits for people: incidents and held plans.
func (s *Server) routeWork(a huma.API) {
	const tag, noPlan = "work", "no plan has this id; GET /api/v1/plans lists them"
	handle(s, a, operation{
		id: "list-incidents", method: http.MethodGet, path: "/incidents", tag: tag, scope: stocksync.ScopeRead,
		summary: "What a person must look at",
	}, func(ctx context.Context, in *struct {
		Open bool `query:"open" doc:"only those that are still open"`
		PageInput
	}) (*output[page[stocksync.IncidentView]], error) {
		after, err := idCursor(incidentCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.Incidents(ctx, in.Open, after, in.Limit)
		return answerWith(idPage(incidentCursor, rows, in.Limit, func(i stocksync.IncidentView) string { return i.ID }), err)
	})

	s.routeRemedies(a, tag)

	handle(s, a, operation{
		id: "list-plans", method: http.MethodGet, path: "/plans", tag: tag, scope: stocksync.ScopeRead,
		summary: "Plans that are or were held back, newest first",
	}, func(ctx context.Context, in *struct {
		State string `query:"state" enum:"held,approved,rejected,applied" doc:"only those in this state"`
		PageInput
	}) (*output[page[stocksync.PlanView]], error) {
		before, err := idCursor(planCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.Plans(ctx, stocksync.PlanState(in.State), before, in.Limit)
		return answerWith(idPage(planCursor, rows, in.Limit, func(p stocksync.PlanView) string { return p.ID }), err)
	})

	handle(s, a, operation{
		id: "get-plan", method: http.MethodGet, path: "/plans/{id}", tag: tag, scope: stocksync.ScopeRead,
		summary: "One plan", missing: noPlan,
	}, func(ctx context.Context, in *idInput) (*output[stocksync.PlanView], error) {
		return answerWith(s.engine.Plan(ctx, in.ID))
	})
	for _, decision := range []struct {
		verb, summary string
		approve       bool
	}{{"approve", "Let a held plan go out", true}, {"reject", "Drop a held plan", false}} {
		handle(s, a, operation{
			id: decision.verb + "-plan", method: http.MethodPost, path: "/plans/{id}/" + decision.verb, tag: tag, scope: stocksync.ScopeOperate,
			summary: decision.summary, detail: "The token's name is kept as the one who decided.", missing: noPlan,
		}, func(ctx context.Context, in *idInput) (*output[stocksync.PlanView], error) {
			return answerWith(s.engine.DecidePlan(ctx, in.ID, decision.approve, caller(ctx).Name))
		})
	}
}

// routeReconcile registers reconciliations and their reports.
func (s *Server) routeReconcile(a huma.API) {
	const tag, noRun = "work", "no reconciliation has this id; GET /api/v1/reconcile lists them"
	handle(s, a, operation{
		id: "start-reconcile", method: http.MethodPost, path: "/reconcile", tag: tag, scope: stocksync.ScopeOperate, status: http.StatusAccepted,
		summary: "Start a reconciliation", detail: "Answers at once; GET /reconcile/{id} tells how it goes. One that was cut off is taken up again instead of a new one.",
	}, func(ctx context.Context, in *struct{ Body *ReconcileRequest }) (*reconcileStarted, error) {
		dryRun := in.Body != nil && in.Body.DryRun
		run, err := s.engine.StartReconcile(ctx, "api", dryRun)
		return &reconcileStarted{Location: apiPath + "/reconcile/" + run.ID, Body: run}, err
	})
	handle(s, a, operation{
		id: "list-reconcile", method: http.MethodGet, path: "/reconcile", tag: tag, scope: stocksync.ScopeRead,
		summary: "Reconciliations, newest first, without their lines",
	}, func(ctx context.Context, in *struct{ PageInput }) (*output[page[stocksync.RunView]], error) {
		before, err := idCursor(runCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.Reconciliations(ctx, before, in.Limit)
		return answerWith(idPage(runCursor, rows, in.Limit, func(r stocksync.RunView) string { return r.ID }), err)
	})
	handle(s, a, operation{
		id: "list-drifts", method: http.MethodGet, path: "/reconcile/{id}/drifts", tag: tag, scope: stocksync.ScopeRead,
		summary: "All lines of a reconciliation, by listing", missing: noRun,
	}, func(ctx context.Context, in *struct {
		ID int64 `path:"id" minimum:"1"`
		PageInput
	}) (*output[page[stocksync.DriftView]], error) {
		after, err := keyCursor(driftCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.Drifts(ctx, in.ID, after, in.Limit)
		return answerWith(pageOf(rows, in.Limit, func(last stocksync.DriftView) *string {
			return encodeCursor(driftCursor, string(last.Connection), last.Item, last.Place)
		}), err)
	})
	s.routeReport(a, operation{
		id: "get-reconcile", method: http.MethodGet, path: "/reconcile/{id}", tag: tag, scope: stocksync.ScopeRead,
		summary: "One reconciliation with its report", missing: noRun,
		detail: "As JSON with the first thousand lines, or whole as CSV or readable text: by format, else by the header Accept.",
	})
}

// reportFormats are the forms of a report beside JSON, with their media types.
var reportFormats = []struct {
	format stocksync.ReportFormat
	accept string
}{{stocksync.ReportCSV, "text/csv"}, {stocksync.ReportText, "text/plain"}}

// routeReport registers the report, which has a form of the caller's choice.
func (s *Server) routeReport(a huma.API, op operation) {
	h := op.huma()
	h.Middlewares = huma.Middlewares{allowLong}
	run := a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[stocksync.RunView](), true, "RunView")
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	h.Responses = map[string]*huma.Response{"200": {
		Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: run}, "text/csv": text, "text/plain": text},
	}}
	huma.Register(a, h, func(ctx context.Context, in *struct {
		ID     int64  `path:"id" minimum:"1"`
		Format string `query:"format" enum:"json,csv,text" doc:"the form of the report; absent: as the header Accept says, else JSON"`
		Accept string `header:"Accept"`
	}) (*huma.StreamResponse, error) {
		format := stocksync.ReportFormat(in.Format)
		for _, f := range reportFormats {
			if format == "" && strings.HasPrefix(in.Accept, f.accept) {
				format = f.format
			}
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			hctx.SetHeader("Vary", "Accept")
			s.writeFile(ctx, a, hctx, op, s.report(in.ID, format))
		}}, nil
	})
}

func (s *Server) report(id int64, format stocksync.ReportFormat) file {
	write := func(ctx context.Context, w io.Writer) error { return s.engine.WriteReport(ctx, id, format, w) }
	switch format {
	case stocksync.ReportCSV:
		return file{csvType, "reconciliation-" + formatID(id) + ".csv", write}
	case stocksync.ReportText:
		return file{"text/plain; charset=utf-8", "", write}
	}
	return file{"application/json", "", func(ctx context.Context, w io.Writer) error {
		view, err := s.engine.Reconciliation(ctx, id)
		if err != nil {
			return err
		}
		return jsonFormat.Marshal(w, view)
	}}
}

// ReconcileRequest is the body of POST /reconcile, which may be absent.
type ReconcileRequest struct {
	DryRun bool `json:"dry_run,omitempty" doc:"only report, write nothing"`
}

type reconcileStarted struct {
	Location string `header:"Location"`
	Body     stocksync.RunView
}

// formatID writes an id as the views do.
func formatID(id int64) string { return strconv.FormatInt(id, 10) }
