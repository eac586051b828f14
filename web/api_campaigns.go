package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	stocksync "github.com/truestock/truestock/sync"
)

// routeCampaigns registers what reads campaigns; they are decided as settings.
func (s *Server) routeCampaigns(a huma.API) {
	const tag = "campaigns"
	handle(s, a, operation{
		id: "list-campaigns", method: http.MethodGet, path: "/campaigns", tag: tag, scope: stocksync.ScopeRead,
		summary: "The campaigns, by name, with what became of each", detail: "Those that are over too. A campaign is decided by PUT /settings/campaign/{name}.",
	}, func(ctx context.Context, in *PageInput) (*output[page[stocksync.CampaignView]], error) {
		var after string
		if err := decodeCursor(campaignCursor, in.Cursor, &after); err != nil {
			return nil, err
		}
		rows, err := s.engine.Campaigns(ctx, after, in.Limit)
		return answerWith(pageOf(rows, in.Limit, func(last stocksync.CampaignView) *string { return encodeCursor(campaignCursor, last.Name) }), err)
	})
	handle(s, a, operation{
		id: "get-campaign", method: http.MethodGet, path: "/campaigns/{name}", tag: tag, scope: stocksync.ScopeRead,
		summary: "A campaign: its pool, its steps and how it sells", missing: "no campaign has this name; GET /api/v1/campaigns lists them",
	}, func(ctx context.Context, in *struct {
		Name string `path:"name"`
	}) (*output[stocksync.CampaignView], error) {
		return answerWith(s.engine.Campaign(ctx, in.Name))
	})
}
