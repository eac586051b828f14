package web

import (
	"bytes"
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// keysProblem is the answer to a file of keys with bad rows: a problem with the rows, none of which shows a key.
type keysProblem struct {
	RowsProblem
	stocksync.KeysImportView
}

// revealedKey is a key in the clear.
type revealedKey struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

// revokedKey names a key that is out of use.
type revokedKey struct {
	ID    string `json:"id"`
	State string `json:"state" enum:"revoked"`
}

// KeyInput names a key, and why something is done to it.
type KeyInput struct {
	ID     int64  `path:"id" minimum:"1"`
	Reason string `query:"reason" maxLength:"1000" doc:"why; kept in the audit trail"`
}

// routeKeys registers the keys of licences. Only reveal shows one.
func (s *Server) routeKeys(a huma.API) {
	const tag, missing = "keys", "no key has this id; GET /api/v1/keys?sku= lists those of an article"
	handle(s, a, operation{
		id: "list-keys", method: http.MethodGet, path: "/keys", tag: tag, scope: stocksync.ScopeRead,
		summary: "The keys of a licence, with what they are assigned to", detail: "Never the keys themselves.",
	}, func(ctx context.Context, in *struct {
		SKU string `query:"sku" required:"true" minLength:"1" doc:"the article"`
		PageInput
	}) (*output[page[stocksync.KeyView]], error) {
		after, err := idCursor(licenceCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.ListKeys(ctx, stock.SKU(in.SKU), after, in.Limit)
		return answerWith(idPage(licenceCursor, rows, in.Limit, func(k stocksync.KeyView) string { return k.ID }), err)
	})
	handle(s, a, operation{
		id: "reveal-key", method: http.MethodPost, path: "/keys/{id}/reveal", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Show an assigned key, once", detail: "The audit trail keeps who took it; a second request is answered 409.", missing: missing,
	}, func(ctx context.Context, in *KeyInput) (*output[revealedKey], error) {
		key, err := s.engine.RevealKey(ctx, stocksync.Actor{Name: caller(ctx).Name, Reason: in.Reason}, in.ID)
		return answerWith(revealedKey{formatID(in.ID), key}, err)
	})
	handle(s, a, operation{
		id: "revoke-key", method: http.MethodPost, path: "/keys/{id}/revoke", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Take a key out of use for ever", detail: "An order line that had it gets another one, or waits until there is one.", missing: missing,
	}, func(ctx context.Context, in *KeyInput) (*output[revokedKey], error) {
		err := s.engine.RevokeKey(ctx, stocksync.Actor{Name: caller(ctx).Name, Reason: in.Reason}, in.ID)
		return answerWith(revokedKey{formatID(in.ID), "revoked"}, err)
	})
	s.routeKeysImport(a, tag)
}

func (s *Server) routeKeysImport(a huma.API, tag string) {
	op := operation{
		id: "import-keys", method: http.MethodPost, path: "/keys/import", tag: tag, scope: stocksync.ScopeAdmin,
		summary: "Import keys of a licence from CSV",
		detail:  "One column, key. With an empty key or one that is there twice, in the file or since an earlier import, nothing is stored, and the answer is 422 with a line number and a reason per bad row.",
	}
	huma.Register(a, s.takesFile(op), func(ctx context.Context, in *struct {
		SKU         string `query:"sku" required:"true" minLength:"1" doc:"the article, whose kind is licence"`
		Reason      string `query:"reason" maxLength:"1000" doc:"why; kept in the audit trail"`
		ContentType string `header:"Content-Type" hidden:"true"`
		RawBody     []byte `contentType:"text/csv"`
	}) (*output[stocksync.KeysImportView], error) {
		if err := csvOnly(in.ContentType); err != nil {
			return nil, err
		}
		view, err := s.engine.ImportKeys(ctx, stocksync.Actor{Name: caller(ctx).Name, Reason: in.Reason}, stock.SKU(in.SKU), bytes.NewReader(in.RawBody))
		if err != nil {
			return nil, s.apiError(op.id, op.missing, err)
		}
		if len(view.Errors) > 0 {
			return nil, &keysProblem{badRows("rows are wrong and no key was stored; errors names each"), view}
		}
		return answerWith(view, nil)
	})
	schema := a.OpenAPI().Components.Schemas.Schema(typeOf[keysProblem](), true, "")
	a.OpenAPI().Paths[op.path].Post.Responses["422"].Content[problemType].Schema = schema
}
