package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	stocksync "github.com/truestock/truestock/sync"
)

// SettingInput is the body of PUT /settings/{kind}/{key}.
type SettingInput struct {
	Value       json.RawMessage `json:"value" doc:"the whole new value: an object of the kind's fields"`
	EffectiveAt time.Time       `json:"effective_at,omitzero" doc:"when it comes into force; absent: now"`
	Version     *int64          `json:"version,omitempty" doc:"the version that the change was made from, 0 for none; with another one there the answer is 409"`
	Reason      string          `json:"reason,omitempty" maxLength:"1000" doc:"why; kept in the audit trail"`
}

// PreviewInput is one change of a preview.
type PreviewInput struct {
	Kind  string          `json:"kind"`
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value,omitempty" doc:"the whole new value; absent: removed"`
}

func settingChanges(in []PreviewInput) []stocksync.SettingChange {
	changes := make([]stocksync.SettingChange, len(in))
	for i, c := range in {
		changes[i] = stocksync.SettingChange{Kind: stocksync.SettingKind(c.Kind), Key: c.Key, Value: c.Value}
	}
	return changes
}

// SettingPath names a setting.
type SettingPath struct {
	Kind string `path:"kind"`
	Key  string `path:"key"`
}

func (p SettingPath) change() stocksync.SettingChange {
	return stocksync.SettingChange{Kind: stocksync.SettingKind(p.Kind), Key: p.Key}
}

// settingHistory is a setting with everything that it was.
type settingHistory struct {
	Versions []stocksync.SettingView `json:"versions" doc:"the newest first"`
}

// routeSettings registers what people decide: policies, articles and the rest, and the trail of it.
func (s *Server) routeSettings(a huma.API) {
	const tag, missing = "settings", "no such setting; GET /api/v1/settings/{kind} lists those of a kind"
	handle(s, a, operation{
		id: "list-settings", method: http.MethodGet, path: "/settings/{kind}", tag: tag, scope: stocksync.ScopeRead,
		summary: "The settings of a kind, by key", detail: "Each as its newest version, which may come into force later.", missing: "there are no settings of this kind; see docs/settings.md",
	}, func(ctx context.Context, in *struct {
		Kind string `path:"kind"`
		PageInput
	}) (*output[page[stocksync.SettingView]], error) {
		var after string
		if err := decodeCursor(settingCursor, in.Cursor, &after); err != nil {
			return nil, err
		}
		rows, err := s.engine.Settings(ctx, stocksync.SettingKind(in.Kind), after, in.Limit)
		return answerWith(pageOf(rows, in.Limit, func(last stocksync.SettingView) *string { return encodeCursor(settingCursor, last.Key) }), err)
	})
	handle(s, a, operation{
		id: "get-setting", method: http.MethodGet, path: "/settings/{kind}/{key}", tag: tag, scope: stocksync.ScopeRead,
		summary: "A setting with all its versions", missing: missing,
	}, func(ctx context.Context, in *SettingPath) (*output[settingHistory], error) {
		rows, err := s.engine.SettingVersions(ctx, stocksync.SettingKind(in.Kind), in.Key)
		return answerWith(settingHistory{rows}, err)
	})
	handle(s, a, operation{
		id: "put-setting", method: http.MethodPut, path: "/settings/{kind}/{key}", tag: tag, scope: stocksync.ScopeAdmin,
		summary: "Decide a setting", detail: "A new version is stored, and every listing that depends on it is planned anew when it comes into force. " +
			"GET /changes/{id} then tells when the change was accepted and when it was shown.", missing: missing,
	}, func(ctx context.Context, in *struct {
		SettingPath
		Body SettingInput
	}) (*output[stocksync.SettingView], error) {
		change := in.change()
		change.Value, change.EffectiveAt, change.Version = in.Body.Value, in.Body.EffectiveAt, in.Body.Version
		return s.changeSetting(ctx, change, in.Body.Reason)
	})
	handle(s, a, operation{
		id: "preview-settings", method: http.MethodPost, path: "/settings/preview", tag: tag, scope: stocksync.ScopeRead,
		summary: "What changes would do to each listing", detail: "Nothing is stored. Only listings whose number or state would be another one are told, by connection and item.",
	}, func(ctx context.Context, in *struct {
		PageInput
		Body struct {
			Changes []PreviewInput `json:"changes" minItems:"1" maxItems:"1000"`
		}
	}) (*output[page[stocksync.PreviewView]], error) {
		after, err := keyCursor(listingCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.PreviewSettings(ctx, settingChanges(in.Body.Changes), after, in.Limit)
		return answerWith(pageOf(rows, in.Limit, func(last stocksync.PreviewView) *string {
			return encodeCursor(listingCursor, string(last.Connection), last.Item, last.Place)
		}), err)
	})
	handle(s, a, operation{
		id: "replay-settings", method: http.MethodPost, path: "/settings/replay", tag: tag, scope: stocksync.ScopeRead,
		summary: "What the last days would have been under changed policies", detail: "Per listing: stock-outs, lost orders and oversold units before and after. Nothing is stored.",
	}, func(ctx context.Context, in *struct {
		Body struct {
			Changes []PreviewInput `json:"changes" minItems:"1" maxItems:"1000"`
			Days    int            `json:"days,omitempty" default:"28" minimum:"1" maximum:"366" doc:"how many days back"`
		}
	}) (*output[stocksync.ReplayView], error) {
		return answerWith(s.engine.ReplaySettings(ctx, settingChanges(in.Body.Changes), in.Body.Days))
	})
	handle(s, a, operation{
		id: "get-change", method: http.MethodGet, path: "/changes/{id}", tag: tag, scope: stocksync.ScopeRead,
		summary: "How far a change has come", detail: "Saved, accepted by the channels, shown: read back at every listing that it changes.", missing: "no change has this id; every answer to a change tells its id",
	}, func(ctx context.Context, in *idInput) (*output[stocksync.SettingChangeView], error) {
		return answerWith(s.engine.SettingChange(ctx, in.ID))
	})
	handle(s, a, operation{
		id: "delete-setting", method: http.MethodDelete, path: "/settings/{kind}/{key}", tag: tag, scope: stocksync.ScopeAdmin,
		summary: "Remove a setting", detail: "Its versions are kept.", missing: missing,
	}, func(ctx context.Context, in *struct {
		SettingPath
		Reason string `query:"reason" maxLength:"1000"`
	}) (*output[stocksync.SettingView], error) {
		return s.changeSetting(ctx, in.change(), in.Reason)
	})
	s.routeSettingsImport(a, tag)
	s.routeSettingsExport(a, tag)
	handle(s, a, operation{
		id: "list-audit", method: http.MethodGet, path: "/audit", tag: tag, scope: stocksync.ScopeOperate,
		summary: "Who did what, when and why, the oldest first",
	}, func(ctx context.Context, in *struct {
		Subject string `query:"subject" doc:"only what was done to this: a kind and a key, such as policy sku:TEE-RED"`
		PageInput
	}) (*output[page[stocksync.AuditView]], error) {
		after, err := idCursor(auditCursor, in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := s.engine.Audit(ctx, in.Subject, after, in.Limit)
		return answerWith(idPage(auditCursor, rows, in.Limit, func(a stocksync.AuditView) string { return a.ID }), err)
	})
}

// settingsProblem is the answer to a file of settings with bad rows: a problem with the rows.
type settingsProblem struct {
	RowsProblem
	stocksync.SettingsImportView
}

func (s *Server) routeSettingsImport(a huma.API, tag string) {
	op := operation{
		id: "import-settings", method: http.MethodPost, path: "/settings/{kind}/import", tag: tag, scope: stocksync.ScopeAdmin,
		summary: "Decide many settings from CSV",
		detail:  "The column key and one per field; one row per setting. With any bad row nothing is changed, and the answer is 422 with a line number and a reason per bad row.",
		missing: "there are no settings of this kind; see docs/settings.md",
	}
	huma.Register(a, s.takesFile(op), func(ctx context.Context, in *struct {
		Kind        string `path:"kind"`
		Reason      string `query:"reason" maxLength:"1000" doc:"why; kept in the audit trail"`
		ContentType string `header:"Content-Type" hidden:"true"`
		RawBody     []byte `contentType:"text/csv"`
	}) (*output[stocksync.SettingsImportView], error) {
		if err := csvOnly(in.ContentType); err != nil {
			return nil, err
		}
		view, err := s.engine.ImportSettings(ctx, stocksync.Actor{Name: caller(ctx).Name, Reason: in.Reason}, stocksync.SettingKind(in.Kind), bytes.NewReader(in.RawBody))
		if err != nil {
			return nil, s.apiError(op.id, op.missing, err)
		}
		if len(view.Errors) > 0 {
			return nil, &settingsProblem{badRows("rows are wrong and nothing was changed; errors names each"), view}
		}
		return answerWith(view, nil)
	})
	schema := a.OpenAPI().Components.Schemas.Schema(typeOf[settingsProblem](), true, "")
	a.OpenAPI().Paths[op.path].Post.Responses["422"].Content[problemType].Schema = schema
}

func (s *Server) routeSettingsExport(a huma.API, tag string) {
	op := operation{
		id: "export-settings", method: http.MethodGet, path: "/settings/{kind}/export", tag: tag, scope: stocksync.ScopeRead,
		summary: "Export the settings of a kind as CSV", detail: "The same columns as the import.", missing: "there are no settings of this kind; see docs/settings.md",
	}
	h := op.huma()
	h.Middlewares = huma.Middlewares{allowLong}
	h.Responses = map[string]*huma.Response{"200": {
		Description: "OK", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	huma.Register(a, h, func(ctx context.Context, in *struct {
		Kind string `path:"kind"`
	}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			s.writeFile(ctx, a, hctx, op, file{csvType, in.Kind + ".csv", func(ctx context.Context, w io.Writer) error {
				return s.engine.ExportSettings(ctx, stocksync.SettingKind(in.Kind), w)
			}})
		}}, nil
	})
}

func (s *Server) changeSetting(ctx context.Context, change stocksync.SettingChange, reason string) (*output[stocksync.SettingView], error) {
	views, err := s.engine.ChangeSettings(ctx, stocksync.Actor{Name: caller(ctx).Name, Reason: reason}, []stocksync.SettingChange{change})
	if err != nil {
		return nil, err
	}
	return answerWith(views[0], nil)
}
