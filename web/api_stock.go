package web

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// ListingInput names a listing.
type ListingInput struct {
	Connection string `path:"connection"`
	Item       string `path:"item" doc:"the channel's own name for the listing"`
	Place      string `query:"place" doc:"the channel's place; absent where the channel knows none"`
}

func (in ListingInput) key() stocksync.ListingKey {
	return listingKey(in.Connection, in.Item, in.Place)
}

// routeStock registers what reads articles, listings and the state of the whole.
func (s *Server) routeStock(a huma.API) {
	const tag = "stock"
	handle(s, a, operation{
		id: "get-item", method: http.MethodGet, path: "/items/{sku}", tag: tag, scope: stocksync.ScopeRead,
		summary: "One article with its numbers", missing: "no article has this SKU; GET /api/v1/items?search= finds by part of the SKU, GTIN or name",
	}, func(ctx context.Context, in *struct {
		SKU string `path:"sku"`
	}) (*output[stocksync.ItemView], error) {
		return answerWith(s.engine.Item(ctx, stock.SKU(in.SKU)))
	})

	handle(s, a, operation{
		id: "list-items", method: http.MethodGet, path: "/items", tag: tag, scope: stocksync.ScopeRead,
		summary: "Articles by SKU",
	}, func(ctx context.Context, in *struct {
		Search string `query:"search" maxLength:"200" doc:"part of a SKU, GTIN or name; absent for all"`
		PageInput
	}) (*output[page[stocksync.ItemRow]], error) {
		var after string
		if err := decodeCursor(itemCursor, in.Cursor, &after); err != nil {
			return nil, err
		}
		rows, err := s.engine.Items(ctx, in.Search, stock.SKU(after), in.Limit)
		return answerWith(pageOf(rows, in.Limit, func(last stocksync.ItemRow) *string {
			return encodeCursor(itemCursor, string(last.SKU))
		}), err)
	})

	handle(s, a, operation{
		id: "list-listings", method: http.MethodGet, path: "/listings", tag: tag, scope: stocksync.ScopeRead,
		summary: "Listings with what they should show and what they show",
		missing: "no connection has this name; GET /api/v1/connections lists them",
	}, func(ctx context.Context, in *struct {
		Connection string `query:"connection" doc:"only this connection's"`
		State      string `query:"state" enum:"in_sync,pending,held,contested,paused,gone,unmapped" doc:"only those in this state"`
		Search     string `query:"search" maxLength:"200" doc:"only those with this in the item, the channel's SKU, the GTIN or the title"`
		PageInput
	}) (*output[page[stocksync.ListingView]], error) {
		after, err := keyCursor(listingCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, next, err := s.engine.Listings(ctx, stocksync.ListingQuery{
			Connection: stock.ConnectionID(in.Connection), Search: in.Search, After: after, Limit: in.Limit,
		}, stocksync.ListingState(in.State))
		return answerWith(page[stocksync.ListingView]{Data: rows, Next: listingsNext(next)}, err)
	})

	const noListing = "no such listing; GET /api/v1/listings?connection= lists them, and a listing at a place needs ?place="
	handle(s, a, operation{
		id: "get-listing", method: http.MethodGet, path: "/listings/{connection}/{item}", tag: tag, scope: stocksync.ScopeRead,
		summary: "One listing", missing: noListing,
	}, func(ctx context.Context, in *ListingInput) (*output[stocksync.ListingView], error) {
		return answerWith(s.engine.Listing(ctx, in.key()))
	})

	handle(s, a, operation{
		id: "explain", method: http.MethodGet, path: "/explain/{connection}/{item}", tag: tag, scope: stocksync.ScopeRead,
		summary: "Why a listing shows its number", detail: "The chain from the statement of the system of record to the read-back.", missing: noListing,
	}, func(ctx context.Context, in *struct {
		ListingInput
		At time.Time `query:"at" doc:"the instant to explain; absent for now"`
	}) (*output[stocksync.Explanation], error) {
		return answerWith(s.engine.Explain(ctx, in.key(), in.At.UTC()))
	})

	handle(s, a, operation{
		id: "get-status", method: http.MethodGet, path: "/status", tag: tag, scope: stocksync.ScopeRead,
		summary: "Whether anything is left to do",
	}, func(ctx context.Context, _ *struct{}) (*output[stocksync.StatusView], error) {
		return answerWith(s.engine.Status(ctx))
	})
}

// listingsNext is the cursor of the page of listings after next, null at the end.
func listingsNext(next *stocksync.ListingKey) *string {
	if next == nil {
		return nil
	}
	return encodeCursor(listingCursor, string(next.Connection), next.Item, next.Place)
}
