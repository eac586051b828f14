package shiphero

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/connectors/rest"
)

const (
	// tokenMargin is how long before its end an access token is replaced. It lives for 28 days:
	// https://developer.shiphero.com/getting-started/.
	tokenMargin = time.Hour
	// longestWait is for how long a call waits by itself for credits, and throttledTries how often.
	longestWait    = 5 * time.Second
	throttledTries = 3
	// restoreRate is how many credits come back in a second.
	restoreRate = 60
)

type answer[T any] struct {
	Data   *T         `json:"data"`
	Errors []apiError `json:"errors"`
}

// apiError is what ShipHero says in the place of, or beside, data: https://developer.shiphero.com/troubleshooting/error-glossary/.
type apiError struct {
	Message   string           `json:"message"`
	Code      int64            `json:"code"`
	RequestID string           `json:"request_id"`
	Path      []jsontext.Value `json:"path"`
	// Of codeCredits alone.
	Required  float64 `json:"required_credits"`
	Remaining float64 `json:"remaining_credits"`
	// TimeRemaining is in words, such as "18 seconds".
	TimeRemaining string `json:"time_remaining"`
}

const (
	codeNotFound = 5
	// codeCredits: the operation costs more credits than there are now.
	codeCredits = 30
)

var inWords = regexp.MustCompile(`(\d+)\s*(second|minute|hour)`)

// wait is how long it takes until there are credits enough: as the error tells it, else by the rate at which they come back.
func (e apiError) wait() time.Duration {
	const most = 24 * time.Hour
	for _, text := range []string{e.TimeRemaining, e.Message} {
		if found := inWords.FindStringSubmatch(text); found != nil {
			n, err := strconv.ParseInt(found[1], 10, 32)
			if err == nil {
				unit := map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour}[found[2]]
				return max(time.Second, min(most, time.Duration(n)*unit))
			}
		}
	}
	seconds := (e.Required - e.Remaining) / restoreRate
	return time.Duration(max(1, min(seconds, most.Seconds())) * float64(time.Second))
}

// ask makes one operation. What was throttled is tried again where the credits are there within seconds: nothing of it
// took place.
func ask[T any](ctx context.Context, w *warehouse, r graphql.Request) (*T, error) {
	for try := 1; ; try++ {
		data, wait, err := askOnce[T](ctx, w, r)
		if wait <= 0 || wait > longestWait || try == throttledTries {
			return data, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				err = ctx.Err()
			}
			return nil, err
		case <-timer.C:
		}
	}
}

// askOnce renews once a token that ShipHero no longer takes.
func askOnce[T any](ctx context.Context, w *warehouse, r graphql.Request) (*T, time.Duration, error) {
	token, err := w.accessToken(ctx, r.Op, "")
	if err != nil {
		return nil, 0, err
	}
	data, wait, err := send[T](ctx, w, r, token)
	if connectors.KindOf(err) != connectors.Auth {
		return data, wait, rest.Without(token, err)
	}
	stale := token
	if token, err = w.accessToken(ctx, r.Op, stale); err != nil {
		return nil, 0, rest.Without(stale, err)
	}
	data, wait, err = send[T](ctx, w, r, token)
	return data, wait, rest.Without(token, err)
}

// accessToken returns an access token, and fetches one when there is none, it ends soon, or it is the stale one.
//
// https://developer.shiphero.com/getting-started/#authentication
func (w *warehouse) accessToken(ctx context.Context, op, stale string) (string, error) {
	w.tokenMu.Lock()
	defer w.tokenMu.Unlock()
	if w.token != stale && time.Now().Before(w.tokenEnds) {
		return w.token, nil
	}
	path, body := "/auth/refresh", map[string]string{"refresh_token": w.refreshToken}
	if w.refreshToken == "" {
		path, body = "/auth/token", map[string]string{"username": w.username, "password": w.password}
	}
	var got tokenAnswer
	err := w.client.Do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: path, Body: body}, &got)
	switch {
	case connectors.KindOf(err) == connectors.Auth:
		return "", w.client.Refusal(connectors.Auth, op, "", fmt.Sprintf("ShipHero gave no access token: %v; in ShipHero, under My Account → Third-Party Developers, make a new "+
			"user for truestock, and copy its refresh token into %s", errors.Unwrap(err), settingRefreshToken))
	case err != nil:
		return "", err
	case got.AccessToken == "" || got.ExpiresIn <= 0:
		return "", w.missing(op, "the access token or its age")
	}
	life := time.Duration(min(got.ExpiresIn, 60*24*3600)) * time.Second
	w.token, w.tokenEnds = got.AccessToken, time.Now().Add(max(life-tokenMargin, life/2))
	return w.token, nil
}

// send makes one call. The duration is how long to wait before it is sent again, where there were too few credits.
func send[T any](ctx context.Context, w *warehouse, r graphql.Request, token string) (*T, time.Duration, error) {
	call := r.Call("/graphql")
	call.Header.Set("Authorization", "Bearer "+token)
	var got answer[T]
	if err := w.client.Do(ctx, call, &got); err != nil {
		return nil, 0, explain(err)
	}
	if len(got.Errors) > 0 {
		wait, err := w.failure(r, got.Errors[0])
		return nil, wait, err
	}
	if got.Data == nil {
		return nil, 0, w.client.Refusal(r.Unknown(), r.Op, "", "the answer has neither data nor errors")
	}
	return got.Data, 0, nil
}

// explain adds to an error of HTTP what a person does about it in ShipHero.
func explain(err error) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || e.Kind != connectors.Auth {
		return err
	}
	told := *e
	told.Err = fmt.Errorf("%w; the user of the token was taken away or may not do this: look under My Account → Users and My Account → Third-Party Developers in ShipHero", e.Err)
	return &told
}

// failure turns an error inside an answer, which comes with HTTP 200, into one of ours.
func (w *warehouse) failure(r graphql.Request, e apiError) (time.Duration, error) {
	kind, code := connectors.Rejected, ""
	if e.Code != 0 {
		code = strconv.FormatInt(e.Code, 10)
	}
	text := cmp.Or(e.Message, "ShipHero gave no reason")
	if e.RequestID != "" {
		text += "; ShipHero's support finds it as request " + e.RequestID
	}
	switch e.Code {
	case codeCredits:
		wait := e.wait()
		failed := w.client.Refusal(connectors.Throttled, r.Op, code, text)
		failed.RetryAt = time.Now().Add(wait).UTC()
		return wait, failed
	case codeNotFound:
		kind = connectors.Unmapped
	case 0:
		kind = r.Unknown()
	}
	return 0, r.Failure(w.client, kind, code, text, e.Path)
}

// missing is the error of an answer that lacks what the schema promises.
func (w *warehouse) missing(op, what string) error {
	return w.client.Refusal(connectors.Rejected, op, "", "the answer lacks "+what+"; it is not understood")
}
