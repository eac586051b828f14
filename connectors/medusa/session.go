package medusa

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// basic is a secret key as the admin API takes it: as the user name of basic authentication, with no password
// (framework/http/middlewares/authenticate-middleware.js).
func basic(key string) string { return base64.StdEncoding.EncodeToString([]byte(key + ":")) }

// do makes one call with credentials. A session that the shop no longer knows is renewed once.
func (s *shop) do(ctx context.Context, call rest.Call, out any) error {
	if s.apiKey != "" {
		return s.send(ctx, call, "Basic "+basic(s.apiKey), out)
	}
	token, err := s.session(ctx, call.Op, "")
	if err != nil {
		return err
	}
	err = s.send(ctx, call, "Bearer "+token, out)
	if connectors.KindOf(err) != connectors.Auth {
		return without(token, err)
	}
	if token, err = s.session(ctx, call.Op, token); err != nil {
		return err
	}
	return without(token, s.send(ctx, call, "Bearer "+token, out))
}

// session returns the token of the session, and logs in when there is none or it is the stale one. Medusa's tokens live for
// a day (http.jwtExpiresIn).
func (s *shop) session(ctx context.Context, op, stale string) (string, error) {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if s.token != stale {
		return s.token, nil
	}
	var login struct {
		Token string `json:"token"`
	}
	err := s.send(ctx, rest.Call{
		Op: op, Method: http.MethodPost, Path: "/auth/user/emailpass", Body: loginBody{Email: s.email, Password: s.password},
	}, "", &login)
	if err != nil {
		return "", err
	}
	if login.Token == "" {
		return "", s.refuse(connectors.Auth, op, "", "the login gave no token; use a secret API key where the shop logs users in by another provider than email and password")
	}
	s.token = login.Token
	return s.token, nil
}

// send makes one call and classes Medusa's own failures (framework/http/middlewares/error-handler.js).
func (s *shop) send(ctx context.Context, call rest.Call, authorization string, out any) error {
	var header http.Header
	var status int
	call.ResponseHeader, call.Status = &header, &status
	if authorization != "" {
		call.Header = http.Header{"Authorization": {authorization}}
	}
	err := s.client.Do(ctx, call, out)
	s.clock.Note(header)
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return err
	}
	switch {
	case status == http.StatusConflict && e.Code == "invalid_state_error":
		// Two transactions of the shop were in each other's way; this one was undone.
		again := *e
		again.Kind = connectors.Retryable
		return &again
	case status == http.StatusNotFound && strings.Contains(e.Error(), "Cannot "+call.Method):
		// The words of the server itself, in HTML, for an address that is none.
		wrong := *e
		wrong.Kind = connectors.Rejected
		wrong.Err = fmt.Errorf("%w; put the address of the Medusa server, without /admin, into %s", e.Err, settingBaseURL)
		return &wrong
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		refused := *e
		refused.Err = fmt.Errorf("%w; in Medusa Admin, look at Settings → Secret API Keys whether the key was revoked, or at Settings → Users for the user", e.Err)
		return &refused
	}
	return err
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

func (s *shop) refuse(kind connectors.ErrorKind, op, code, text string) error {
	return &connectors.Error{Kind: kind, Op: op, Code: s.client.Redact(code), Err: errors.New(s.client.Redact(text))}
}

// missing is the error of an answer that lacks what Medusa promises.
func (s *shop) missing(op, what string) error {
	return connectors.Rejectedf(op, "", "%s", s.client.Redact(fmt.Sprintf("the answer lacks %s; this version of the shop is not understood", what)))
}
