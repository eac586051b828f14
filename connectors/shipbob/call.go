package shipbob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// channelHeader names the channel on whose behalf something is written, or whose orders are read.
const channelHeader = "shipbob_channel_id"

// do makes a call. The time after which a throttled call may be tried again stands in a header of ShipBob's own.
//
// https://developer.shipbob.com/rate-limit
func (w *warehouse) do(ctx context.Context, call rest.Call, out any) error {
	var header http.Header
	if call.ResponseHeader == nil {
		call.ResponseHeader = &header
	}
	call.Path = version + call.Path
	err := w.client.Do(ctx, call, out)
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return err
	}
	told := *e
	switch e.Kind {
	case connectors.Throttled:
		seconds, err := strconv.Atoi((*call.ResponseHeader).Get("X-Retry-After"))
		if e.RetryAt.IsZero() && err == nil && seconds > 0 {
			const most = 24 * 60 * 60
			told.RetryAt = time.Now().Add(time.Duration(min(seconds, most)) * time.Second).UTC()
		}
	case connectors.Auth:
		told.Err = fmt.Errorf("%w; in the ShipBob dashboard, under Integrations → API Tokens, look whether the token is still there and has the rights of the guide", e.Err)
	default:
		return err
	}
	return &told
}

// list reads a page. Where the page behind is, ShipBob tells by an address; only its query is taken, so that no answer leads
// to another host.
func list[T any](ctx context.Context, w *warehouse, op, path, first string, from connectors.Cursor) ([]T, connectors.Cursor, error) {
	query, err := url.ParseQuery(first)
	if from != "" {
		query, err = url.ParseQuery(string(from))
	}
	if err != nil {
		return nil, "", connectors.Rejectedf(op, "", "%q is not a cursor of the list", string(from))
	}
	var p page[T]
	if err := w.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: path, Query: query}, &p); err != nil {
		return nil, "", err
	}
	if p.Items == nil {
		return nil, "", w.missing(op, "the items of the list")
	}
	if p.Next == "" {
		return p.Items, "", nil
	}
	next, err := url.Parse(p.Next)
	switch {
	case err != nil || next.RawQuery == "":
		return nil, "", w.missing(op, "an address of the next page that can be read")
	case next.RawQuery == query.Encode() || next.RawQuery == string(from):
		return nil, "", w.client.Refusal(connectors.Retryable, op, "", "the list leads from a page to the same page again")
	}
	return p.Items, connectors.Cursor(next.RawQuery), nil
}

// missing is the error of an answer that lacks what the documentation promises.
func (w *warehouse) missing(op, what string) error {
	return w.client.Refusal(connectors.Rejected, op, "", "the answer lacks "+what+"; it is not understood")
}
