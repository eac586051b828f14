package vendure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
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

// request is one GraphQL operation.
type request struct {
	// op begins every error.
	op        string
	document  string
	variables any
	// write is true for a mutation that changes more than a session; idempotent is true where it can be repeated.
	write, idempotent bool
}

type body struct {
	Query     string `json:"query"`
	Variables any    `json:"variables,omitempty"`
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
func ask[T any](ctx context.Context, s *shop, r request) (*T, error) {
	token, err := s.session(ctx, r.op, "")
	if err != nil {
		return nil, err
	}
	data, err := send[T](ctx, s, r, token, nil)
	if connectors.KindOf(err) != connectors.Auth || s.apiKey != "" {
		return data, without(token, err)
	}
	if token, err = s.session(ctx, r.op, token); err != nil {
		return nil, err
	}
	data, err = send[T](ctx, s, r, token, nil)
	return data, without(token, err)
}

// without takes the token of a session out of an error: the client knows only the secrets that it began with.
func without(token string, err error) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || token == "" || !strings.Contains(e.Error(), token) {
		return err
	}
	clean := *e
	clean.Code = strings.ReplaceAll(e.Code, token, "redacted")
	clean.Err = errors.New(strings.ReplaceAll(e.Err.Error(), token, "redacted"))
	return &clean
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
	data, err := send[loginData](ctx, s, request{
		op:        op,
		document:  loginDocument,
		variables: map[string]string{"username": s.username, "password": s.password},
	}, "", &header)
	if err != nil {
		return "", err
	}
	if refused := data.Login; refused.ErrorCode != "" {
		return "", s.refuse(connectors.Auth, op, refused.ErrorCode, "the login was refused: "+refused.Message)
	}
	// The token is in the header under the token method "bearer" only (api/common/set-session-token.js).
	s.token = header.Get(sessionTokenHeader)
	if s.token == "" {
		return "", s.refuse(connectors.Auth, op, "", "the login gave no token; add \"bearer\" to authOptions.tokenMethod of the shop, or use an API key")
	}
	return s.token, nil
}

func send[T any](ctx context.Context, s *shop, r request, token string, header *http.Header) (*T, error) {
	if header == nil {
		header = new(http.Header)
	}
	call := rest.Call{
		Op:             r.op,
		Method:         http.MethodPost,
		Header:         http.Header{},
		Body:           body{Query: r.document, Variables: r.variables},
		Write:          r.write,
		Idempotent:     r.idempotent,
		ResponseHeader: header,
	}
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
		return nil, s.refuse(unknown(r), r.op, "", "the answer has neither data nor errors; is this the address of a Vendure admin API?")
	}
	return got.Data, nil
}

// graphQLFailure turns an error of GraphQL, which comes with HTTP 200, into one of ours. The codes are those of
// common/error/errors.js. An error below the mutation's own field is one of the answer: the mutation has happened.
func (s *shop) graphQLFailure(r request, e graphQLError) error {
	code := e.Extensions.Code
	kind := connectors.Rejected
	switch {
	case code == "FORBIDDEN", code == "UNAUTHORIZED", code == "CHANNEL_NOT_FOUND":
		kind = connectors.Auth
	case code == "ENTITY_NOT_FOUND":
		kind = connectors.Unmapped
	case code == "INTERNAL_SERVER_ERROR", code == "":
		kind = unknown(r)
	}
	if r.write && len(e.Path) > 1 {
		kind = connectors.Uncertain
	}
	return s.refuse(kind, r.op, code, cmp.Or(e.Message, "the shop gave no reason"))
}

// unknown is the kind of a failure that does not tell whether the operation took effect.
func unknown(r request) connectors.ErrorKind {
	if r.write {
		return connectors.Uncertain
	}
	return connectors.Retryable
}

func (s *shop) refuse(kind connectors.ErrorKind, op, code, text string) error {
	return &connectors.Error{Kind: kind, Op: op, Code: s.client.Redact(code), Err: errors.New(s.client.Redact(text))}
}

// missing is the error of an answer that lacks what the schema promises.
func (s *shop) missing(op, what string) error {
	return connectors.Rejectedf(op, "", "%s", s.client.Redact(fmt.Sprintf("the answer lacks %s; this version of the shop is not understood", what)))
}
