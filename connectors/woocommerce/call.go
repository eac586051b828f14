package woocommerce

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

const namespace = "/wc/v3"

// read asks for something.
func (s *shop) read(ctx context.Context, op, path string, query url.Values, out any) error {
	return s.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: namespace + path, Query: query}, out)
}

// write changes something. A write that is idempotent can be sent twice without effect.
func (s *shop) write(ctx context.Context, op, method, path string, idempotent bool, body, out any) error {
	return s.do(ctx, rest.Call{Op: op, Method: method, Path: namespace + path, Body: body, Write: true, Idempotent: idempotent}, out)
}

// do makes a call with the credentials. The shop looks at parameters first, then at the header
// (class-wc-rest-authentication.php, perform_basic_authentication).
func (s *shop) do(ctx context.Context, call rest.Call, out any) error {
	if s.inQuery {
		if call.Query == nil {
			call.Query = url.Values{}
		}
		call.Query.Set("consumer_key", s.key)
		call.Query.Set("consumer_secret", s.secret)
	} else {
		call.Header = http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(s.key+":"+s.secret))}}
	}
	var header http.Header
	var status int
	call.ResponseHeader, call.Status = &header, &status
	err := s.client.Do(ctx, call, out)
	s.clock.Note(header)
	return explain(err, status, header)
}

// readIndex asks for the index of the REST API, which is public. It is asked without the credentials: outside its own
// routes WooCommerce does not know them, and WordPress would take them for an application password of its own.
func (s *shop) readIndex(ctx context.Context, op string, out any) error {
	return s.client.Do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/", Query: url.Values{"_fields": {"home"}}}, out)
}

// explain adds to an error what the shop's code, or an answer from before the shop, means, and what to do. The codes are
// those of class-wc-rest-authentication.php, of the controllers and of WordPress.
func explain(err error, status int, header http.Header) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return err
	}
	page := strings.HasPrefix(header.Get("Content-Type"), "text/html")
	out := *e
	say := func(what string) {
		out.Err = fmt.Errorf("%w; %s", e.Err, what)
	}
	switch {
	case e.Code == "woocommerce_rest_authentication_error":
		say("look under WooCommerce → Settings → Advanced → REST API whether the key is still there, and has the permission Read/Write")
	case strings.HasPrefix(e.Code, "woocommerce_rest_cannot_"):
		say("the key's user may not do that, or the key did not arrive: take a user who is a shop manager, and where the web server drops " +
			"the header Authorization, set " + settingInQuery + " to yes")
	case e.Code == "rest_no_route":
		out.Kind = connectors.Rejected // of the whole address, not of one item
		say("WooCommerce is not active at this address, or older than 5.8")
	case e.Code == "woocommerce_rest_request_entity_too_large":
		say("the shop has lowered its limit of 100 lines (woocommerce_rest_batch_items_limit)")
	case page && status == http.StatusForbidden:
		out.Kind = connectors.Retryable // it did not reach the shop
		say("a firewall answered in the place of the shop: let requests to /wp-json/ from this server through")
	case page && status == http.StatusUnauthorized:
		say("the web server in front of the shop asks for a password of its own: let requests to /wp-json/ through")
	case page && status == http.StatusNotFound:
		say("under Settings → Permalinks of WordPress, choose anything but Plain, and check " + settingBaseURL)
	case page && status == http.StatusServiceUnavailable:
		say("the shop is being maintained")
	case page && status == http.StatusOK:
		say("a cache, a firewall or a page for people answered in the place of the shop: except /wp-json/ from it")
	default:
		return err
	}
	return &out
}

// missing is the error of an answer that lacks what the documentation promises.
func (s *shop) missing(op, what string) error {
	return s.client.Refusal(connectors.Rejected, op, "", "the answer lacks "+what+"; this version of the shop is not understood")
}
