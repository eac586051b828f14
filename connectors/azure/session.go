package azure

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// do makes one call of the interface. Each has an id, by which Microsoft's support finds it.
func (a *account) do(ctx context.Context, client *rest.Client, call rest.Call, out any) error {
	id := requestID()
	call.Header = http.Header{"X-Ms-Requestid": {id}, "X-Ms-Correlationid": {id}}
	if call.Query == nil {
		call.Query = url.Values{}
	}
	call.Query.Set("api-version", apiVersion)
	var status int
	if call.Status == nil {
		call.Status = &status
	}
	return explain(a.tokens.Do(ctx, client, call, out), *call.Status, id)
}

// requestID is a random GUID (RFC 9562, version 4).
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// explain adds to an error of HTTP what a person does about it.
func explain(err error, status int, id string) error {
	hint := map[int]string{
		http.StatusUnauthorized: "Microsoft does not take our token: compare tenant_id and client_id with the technical configuration of the offer in Partner Center",
		http.StatusForbidden: "the application is not the one of this publisher's offers: in Partner Center, technical configuration, set it, and run " +
			"`az ad sp create --id " + resource + "` once in the tenant",
		http.StatusNotFound: "Microsoft does not know it for this publisher: see the offer's publisher account in Partner Center",
	}[status]
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return err
	}
	told := *e
	told.Err = fmt.Errorf("%w (x-ms-requestid %s)", e.Err, id)
	if hint != "" {
		told.Err = fmt.Errorf("%w; %s", told.Err, hint)
	}
	return &told
}

func (a *account) subscription(ctx context.Context, op, id string) (subscription, error) {
	var s subscription
	err := a.do(ctx, a.client, rest.Call{Op: op, Method: http.MethodGet, Path: "/saas/subscriptions/" + url.PathEscape(id)}, &s)
	return s, err
}

func operationPath(o operation) string {
	return "/saas/subscriptions/" + url.PathEscape(o.SubscriptionID) + "/operations/" + url.PathEscape(o.ID)
}
