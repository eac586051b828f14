package web

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// AffectedLineInput names an order line that an oversell falls on.
type AffectedLineInput struct {
	Connection string `json:"connection" minLength:"1"`
	OrderID    string `json:"order_id" minLength:"1"`
	LineID     string `json:"line_id" minLength:"1"`
	Reason     string `json:"reason,omitempty" maxLength:"1000" doc:"why; kept in the audit trail"`
}

func (in AffectedLineInput) key() stocksync.OrderKey {
	return stocksync.OrderKey{Channel: stock.ConnectionID(in.Connection), OrderID: in.OrderID}
}

// RemedyInput is the body of POST /incidents/{id}/remedies.
type RemedyInput struct {
	AffectedLineInput
	Kind         string    `json:"kind" enum:"restock,substitute,refund"`
	Substitute   string    `json:"substitute,omitempty" doc:"the SKU that is sent instead; absent: the one that is proposed"`
	ReadyAt      time.Time `json:"ready_at,omitzero" doc:"when the delivery will have come; absent: as proposed"`
	Compensation *int64    `json:"compensation,omitempty" minimum:"0" doc:"in the smallest unit of the currency; absent: as proposed"`
	Message      string    `json:"message,omitempty" maxLength:"5000" doc:"for the buyer; absent: a sentence is written"`
}

// RemedyEnd is the body of POST /incidents/{id}/remedies/finish.
type RemedyEnd struct {
	AffectedLineInput
	Outcome string `json:"outcome" enum:"done,failed"`
}

// routeRemedies registers what is told of one incident, and how oversold orders are made good.
func (s *Server) routeRemedies(a huma.API, tag string) {
	const missing = "no incident has this id; GET /api/v1/incidents lists them"
	actor := func(ctx context.Context, reason string) stocksync.Actor {
		return stocksync.Actor{Name: caller(ctx).Name, Reason: reason}
	}
	handle(s, a, operation{
		id: "get-incident", method: http.MethodGet, path: "/incidents/{id}", tag: tag, scope: stocksync.ScopeRead,
		summary: "One incident, and of an oversell the orders that it falls on", missing: missing,
		detail: "The last accepted order is affected first. How to reach a buyer beyond the channel's reference is shown only to tokens of scope operate and above.",
	}, func(ctx context.Context, in *idInput) (*output[stocksync.IncidentDetail], error) {
		v, err := s.engine.Incident(ctx, in.ID)
		if !caller(ctx).Scope.Allows(stocksync.ScopeOperate) {
			for i := range v.Affected {
				v.Affected[i].Contact = ""
				if v.Affected[i].Remedy != nil {
					v.Affected[i].Remedy.Message = ""
				}
			}
		}
		return answerWith(v, err)
	})
	handle(s, a, operation{
		id: "choose-remedy", method: http.MethodPost, path: "/incidents/{id}/remedies", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Choose how an order is made good", missing: missing,
		detail: "The channel is then told, where it takes remedies; otherwise the remedy is by hand. The same choice again changes nothing.",
	}, func(ctx context.Context, in *struct {
		ID   int64 `path:"id" minimum:"1"`
		Body RemedyInput
	}) (*output[stocksync.IncidentDetail], error) {
		b := in.Body
		return answerWith(s.engine.ChooseRemedy(ctx, actor(ctx, b.Reason), in.ID, stocksync.RemedyChoice{OrderKey: b.key(), LineID: b.LineID, Kind: stock.RemedyKind(b.Kind),
			Substitute: stock.SKU(b.Substitute), ReadyAt: b.ReadyAt, Compensation: b.Compensation, Message: b.Message}))
	})
	handle(s, a, operation{
		id: "finish-remedy", method: http.MethodPost, path: "/incidents/{id}/remedies/finish", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Say what became of a remedy that was carried out by hand", missing: missing + "; or no remedy was chosen for this line",
	}, func(ctx context.Context, in *struct {
		ID   int64 `path:"id" minimum:"1"`
		Body RemedyEnd
	}) (*output[stocksync.IncidentDetail], error) {
		b := in.Body
		return answerWith(s.engine.FinishRemedy(ctx, actor(ctx, b.Reason), in.ID, b.key(), b.LineID, b.Outcome == "done"))
	})
}
