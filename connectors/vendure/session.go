package vendure

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/connectors/rest"
)

// The headers by which Vendure knows a caller, by their default names (@vendure/common/lib/shared-constants.js).
const (
	sessionTokenHeader = "vendure-auth-token"
	apiKeyHeader       = "vendure-api-key"
	channelTokenHeader = "vendure-token"
)

func fixedHeader(s connectors.Settings) http.Header {
	header := http.Header{}
	if key := s[settingAPIKey]; key != "" {
		header.Set(apiKeyHeader, key)
	}
	if token := s[settingChannelToken]; token != "" {
		header.Set(channelTokenHeader, token)
	}
	return header
}

type answer[T any] struct {
	Data   *T             `json:"data"`
	Errors []graphQLError `json:"errors"`
}

type graphQLError struct {
	Message    string           `json:"message"`
	Path       []jsontext.Value `json:"path"`
	Extensions struct {
		Code string `json:"code"`
	} `json:"extensions"`
}

// ask makes one operation inside a session. A session that the shop no longer knows is renewed once.
func ask[T any](ctx context.Context, s *shop, r graphql.Request) (*T, error) {
	token, err := s.session(ctx, r.Op, "")
	if err != nil {
		return nil, err
	}
	data, err := send[T](ctx, s, r, token, nil)
	if connectors.KindOf(err) != connectors.Auth || s.apiKey != "" {
		return data, rest.Without(token, err)
	}
	if token, err = s.session(ctx, r.Op, token); err != nil {
		return nil, err
	}
	data, err = send[T](ctx, s, r, token, nil)
	return data, rest.Without(token, err)
}

// session returns the token of the session, and logs in when there is none or it is the stale one. With an API key there
// are no sessions.
func (s *shop) session(ctx context.Context, op, stale string) (string, error) {
	if s.apiKey != "" {
		return "", nil
	}
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if s.token != stale {
		return s.token, nil
	}
	var header http.Header
	data, err := send[loginData](ctx, s, graphql.Request{
		Op:        op,
		Document:  loginDocument,
		Variables: map[string]string{"username": s.username, "password": s.password},
	}, "", &header)
	if err != nil {
		return "", err
	}
	if refused := data.Login; refused.ErrorCode != "" {
		return "", s.client.Refusal(connectors.Auth, op, refused.ErrorCode, "the login was refused: "+refused.Message)
	}
	// The token is in the header under the token method "bearer" only (api/common/set-session-token.js).
	s.token = header.Get(sessionTokenHeader)
	if s.token == "" {
		return "", s.client.Refusal(connectors.Auth, op, "", "the login gave no token; add \"bearer\" to authOptions.tokenMethod of the shop, or use an API key")
	}
	return s.token, nil
}

func send[T any](ctx context.Context, s *shop, r graphql.Request, token string, header *http.Header) (*T, error) {
	if header == nil {
		header = new(http.Header)
	}
	call := r.Call("")
	call.ResponseHeader = header
	if token != "" {
		call.Header.Set("Authorization", "Bearer "+token)
	}
	var got answer[T]
	if err := s.client.Do(ctx, call, &got); err != nil {
		return nil, err
	}
	s.clock.Note(*header)
	if len(got.Errors) > 0 {
		return nil, s.graphQLFailure(r, got.Errors[0])
	}
	if got.Data == nil {
		return nil, s.client.Refusal(r.Unknown(), r.Op, "", "the answer has neither data nor errors; is this the address of a Vendure admin API?")
	}
	return got.Data, nil
}

// graphQLFailure turns an error of GraphQL, which comes with HTTP 200, into one of ours. The codes are those of
// common/error/errors.js.
func (s *shop) graphQLFailure(r graphql.Request, e graphQLError) error {
	code := e.Extensions.Code
	kind := connectors.Rejected
	switch {
	case code == "FORBIDDEN", code == "UNAUTHORIZED", code == "CHANNEL_NOT_FOUND":
		kind = connectors.Auth
	case code == "ENTITY_NOT_FOUND":
		kind = connectors.Unmapped
	case code == "INTERNAL_SERVER_ERROR", code == "":
		kind = r.Unknown()
	}
	return r.Failure(s.client, kind, code, e.Message, e.Path)
}

// missing is the error of an answer that lacks what the schema promises.
func (s *shop) missing(op, what string) error {
	return connectors.Rejectedf(op, "", "%s", s.client.Redact(fmt.Sprintf("the answer lacks %s; this version of the shop is not understood", what)))
}
