package web

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// RetryResult says how many notices are tried again.
type RetryResult struct {
	Retried int `json:"retried"`
}

// ReasonInput is why somebody does something.
type ReasonInput struct {
	Reason string `json:"reason,omitempty" maxLength:"1000" doc:"why; kept in the audit trail"`
}

// routeNotices registers what people were told.
func (s *Server) routeNotices(a huma.API) {
	const tag = "notices"
	handle(s, a, operation{
		id: "list-notices", method: http.MethodGet, path: "/notices", tag: tag, scope: stocksync.ScopeRead,
		summary: "What people were told, and are to be told: the newest first", detail: "One row for each message and channel. The address of a channel is in the configuration alone and is not told.",
	}, func(ctx context.Context, in *struct {
		Channel string `query:"channel" doc:"only this channel of notices"`
		State   string `query:"state" enum:"due,sent,given_up,needless" doc:"only those in this state"`
		PageInput
	}) (*output[page[stocksync.NoticeView]], error) {
		var id, after string
		if err := decodeCursor(noticeCursor, in.Cursor, &id, &after); err != nil {
			return nil, err
		}
		q := stocksync.NoticeQuery{Channel: in.Channel, State: stocksync.DeliveryState(in.State), After: after, Limit: in.Limit}
		if id != "" {
			var err error
			if q.Before, err = strconv.ParseInt(id, 10, 64); err != nil {
				return nil, badCursor()
			}
		}
		rows, err := s.engine.Notices(ctx, q)
		return answerWith(pageOf(rows, in.Limit, func(last stocksync.NoticeView) *string { return encodeCursor(noticeCursor, last.ID, last.Channel) }), err)
	})
	handle(s, a, operation{
		id: "retry-notices", method: http.MethodPost, path: "/notices/{channel}/retry", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Try again what was given up at a channel of notices", missing: "no such channel of notices",
	}, func(ctx context.Context, in *struct {
		Channel string `path:"channel"`
		Body    *ReasonInput
	}) (*output[RetryResult], error) {
		by := stocksync.Actor{Name: caller(ctx).Name}
		if in.Body != nil {
			by.Reason = in.Body.Reason
		}
		n, err := s.engine.RetryNotices(ctx, by, in.Channel)
		return answerWith(RetryResult{n}, err)
	})
	handle(s, a, operation{
		id: "list-alerts", method: http.MethodGet, path: "/alerts", tag: tag, scope: stocksync.ScopeRead,
		summary: "Low numbers: each fall below a threshold, until the number has recovered",
	}, func(ctx context.Context, in *struct {
		Open bool `query:"open" doc:"only those that have not recovered"`
		PageInput
	}) (*output[page[stocksync.AlertView]], error) {
		after, err := idCursor(alertCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.Alerts(ctx, in.Open, after, in.Limit)
		return answerWith(idPage(alertCursor, rows, in.Limit, func(v stocksync.AlertView) string { return v.ID }), err)
	})
	handle(s, a, operation{
		id: "acknowledge-alert", method: http.MethodPost, path: "/alerts/{id}/ack", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Say that somebody has seen a low number", detail: "Nothing more is told of it until it has recovered. The token's name is kept; who came first stays.", missing: "no alert with this id is open",
	}, func(ctx context.Context, in *struct {
		ID   int64 `path:"id" minimum:"1"`
		Body *ReasonInput
	}) (*output[stocksync.AlertView], error) {
		by := stocksync.Actor{Name: caller(ctx).Name}
		if in.Body != nil {
			by.Reason = in.Body.Reason
		}
		return answerWith(s.engine.AckAlert(ctx, by, in.ID))
	})
	handle(s, a, operation{
		id: "list-replenishments", method: http.MethodGet, path: "/replenishments", tag: tag, scope: stocksync.ScopeRead,
		summary: "What is to be ordered at once, because it is below safety stock + alert threshold",
	}, func(ctx context.Context, in *struct {
		Open bool `query:"open" doc:"only those that are not cleared"`
		PageInput
	}) (*output[page[stocksync.ReplenishmentView]], error) {
		after, err := idCursor(orderAnew, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.Replenishments(ctx, in.Open, after, in.Limit)
		return answerWith(idPage(orderAnew, rows, in.Limit, func(v stocksync.ReplenishmentView) string { return v.ID }), err)
	})
	handle(s, a, operation{
		id: "get-measure", method: http.MethodGet, path: "/measures/{sku}", tag: tag, scope: stocksync.ScopeRead,
		summary: "What was measured of the sales of an article, and the safety stock that follows", detail: "Measured every night, and when its replenishment is decided.", missing: "nothing was measured of this article",
	}, func(ctx context.Context, in *struct {
		SKU string `path:"sku"`
	}) (*output[stocksync.Measure], error) {
		return answerWith(s.engine.MeasureOf(ctx, stock.SKU(in.SKU)))
	})
}
