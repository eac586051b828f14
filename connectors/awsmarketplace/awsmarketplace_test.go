package awsmarketplace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/marketplaceentitlementservice"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/awsmarketplace"
	"github.com/truestock/truestock/connectors/connectortest"
)

func TestConformance(t *testing.T) {
	for name, sign := range map[string]func(id string, at time.Time, body []byte) connectors.Request{
		"EventBridge": func(id string, at time.Time, body []byte) connectors.Request {
			return sent(bytes.ReplaceAll(body, []byte("EVENT-ID"), []byte(id)), at)
		},
		"SNS": func(id string, at time.Time, body []byte) connectors.Request {
			return notification(t, id, "2", string(bytes.ReplaceAll(body, []byte("EVENT-ID"), []byte(id))), at, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			connectortest.RunPlatform(t, connectortest.Fixture{New: func(t *testing.T) connectortest.Server {
				return connectortest.Server{
					Transport:    &service{t: t, pageSize: 25},
					Secrets:      []string{secret, apiKey},
					Open:         func(env connectors.Env) (connectors.Connection, error) { return open(t, env, nil), nil },
					Event:        event("EVENT-ID", "License Updated - Manufacturer", 1, time.Now()),
					BodyUnsigned: true, // where SNS signs it, TestBadDeliveries has the cases
					Sign:         sign,
				}
			}})
		})
	}
}

func received(t *testing.T, p platform, r connectors.Request) (connectors.Delivery, connectors.Notice) {
	t.Helper()
	d, err := p.VerifyWebhook(r)
	if err != nil {
		t.Fatal(err)
	}
	n, err := p.DecodeWebhook(d, d.Body)
	if err != nil {
		t.Fatal(err)
	}
	return d, n
}

func listed(t *testing.T, p platform, since time.Time) map[string]connectors.Order {
	t.Helper()
	all := make(map[string]connectors.Order)
	for from := connectors.Cursor(""); ; {
		page, err := p.Orders(t.Context(), since, from)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Orders {
			all[o.OrderID] = o
		}
		if from = page.Next; from == "" {
			return all
		}
	}
}

func seats(n int) map[string]any { return map[string]any{"IntegerValue": n} }

func TestTheLifeOfALicence(t *testing.T) {
	_ = certificate() // made outside the bubble
	synctest.Test(t, func(t *testing.T) {
		s := &service{t: t, pageSize: 2}
		p := open(t, connectors.Env{Transport: s}, connectors.Settings{"product_codes": product + ",other"})
		defer func() { _ = p.Close() }()
		if err := p.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		later := float64(time.Now().Add(48*time.Hour).Unix()) + 0.5
		add := func(n int, code, dimension string, value map[string]any) {
			s.entitlements = append(s.entitlements, entitlement{ProductCode: code, Dimension: dimension, CustomerAWSAccountID: "111122223333", LicenseArn: license(n), Value: value, ExpirationDate: later})
		}
		add(1, product, "seats", seats(5))
		add(2, product, "seats", seats(3))
		add(1, product, "storage", map[string]any{"DoubleValue": 7.0})
		add(3, "other", "seats", seats(1))
		add(1, product, "premium", map[string]any{"BooleanValue": true})
		add(1, product, "tier", map[string]any{"StringValue": "gold"})
		all := listed(t, p, time.Time{})
		one := all[license(1)]
		if len(all) != 3 || len(one.Lines) != 3 || one.Status != connectors.OrderOpen || one.Buyer.Ref != "111122223333" || one.Lines[0].Ref.Item != product+"/premium" || one.Lines[0].Quantity != 1 ||
			one.Lines[1].Ref.Item != product+"/seats" || one.Lines[1].Quantity != 5 || one.Lines[2].Quantity != 7 || all[license(3)].Lines[0].Ref.Item != "other/seats" {
			t.Fatalf("listed: %+v", all)
		}

		// Nothing changed, nothing is told; more seats are a new version; within the hour all is told anew.
		time.Sleep(time.Minute)
		before := time.Now()
		if got := listed(t, p, before); len(got) != 0 {
			t.Errorf("told again: %v", got)
		}
		s.entitlements[0].Value = seats(9)
		if got := listed(t, p, before); len(got) != 1 || got[license(1)].Lines[1].Quantity != 9 || got[license(1)].Version <= one.Version {
			t.Errorf("more seats: %+v", got)
		}
		time.Sleep(61 * time.Minute)
		if got := listed(t, p, time.Now()); len(got) != 3 {
			t.Errorf("within the hour: %v", got)
		}

		// The end is told by an event, by the list, or by the clock.
		at := time.Now()
		d, n := received(t, p, sent(event("e-1", "License Deprovisioned - Manufacturer", 2, at), at))
		if d.Key != "e-1" || d.Secret != 1 || !n.Pull || len(n.Facts) != 1 || n.Facts[0].Kind != connectors.OrderCancelled || n.Facts[0].Order.OrderID != license(2) || n.Facts[0].Order.Version < one.Version {
			t.Errorf("deprovisioned: %+v %+v", d, n)
		}
		time.Sleep(time.Second)
		s.entitlements = append(s.entitlements[:1], s.entitlements[2:]...)
		if got := listed(t, p, at.Add(time.Millisecond)); len(got) != 0 {
			t.Errorf("one look lacks it: %+v", got)
		}
		time.Sleep(time.Minute)
		if got := listed(t, p, at.Add(time.Millisecond)); len(got) != 1 || got[license(2)].Status != connectors.OrderCancelledStatus || got[license(2)].Lines[0].Quantity != 3 {
			t.Errorf("not listed any more: %+v", got)
		}
		time.Sleep(48 * time.Hour)
		if got := listed(t, p, at); got[license(1)].Status != connectors.OrderCancelledStatus || got[license(1)].Lines[1].Quantity != 0 {
			t.Errorf("expired: %+v", got[license(1)])
		}

		// What else is told only makes us look, by either way.
		for _, kind := range []string{"License Updated - Manufacturer", "Purchase Agreement Created - Proposer", "Purchase Agreement Ended - Proposer", "Something New"} {
			if _, n := received(t, p, sent(event("e-"+kind, kind, 1, at), at)); !n.Pull || len(n.Facts) > 0 {
				t.Errorf("%s: %+v", kind, n)
			}
		}
		if _, n := received(t, p, notification(t, "m-1", "1", string(event("e-2", "License Deprovisioned - Manufacturer", 3, at)), time.Now(), nil)); len(n.Facts) != 1 || n.Facts[0].Order.OrderID != license(3) {
			t.Errorf("by SNS: %+v", n)
		}
	})
}

// An older product has no licences: all that a buyer has is one order.
func TestOrdersByCustomer(t *testing.T) {
	s := &service{t: t, pageSize: 25}
	p := open(t, connectors.Env{Transport: s}, connectors.Settings{"orders_by": "customer"})
	s.entitlements = []entitlement{{ProductCode: product, Dimension: "seats", CustomerIdentifier: "c1", Value: seats(2)}, {ProductCode: product, Dimension: "seats", CustomerIdentifier: "c1", Value: seats(3)},
		{ProductCode: product, Dimension: "seats", CustomerIdentifier: "c2", Value: seats(0)}}
	all := listed(t, p, time.Time{})
	if o := all[product+"/c1"]; len(all) != 2 || len(o.Lines) != 1 || o.Lines[0].Quantity != 5 || o.Status != connectors.OrderOpen {
		t.Errorf("%+v", all)
	}
	for action, facts := range map[string]int{"subscribe-success": 0, "subscribe-fail": 0, "unsubscribe-pending": 0, "unsubscribe-success": 1, "entitlement-updated": 0} {
		d, n := received(t, p, notification(t, "m-"+action, "1", fmt.Sprintf(`{"action":%q,"customer-identifier":"c1","product-code":%q,"offer-identifier":"o"}`, action, product), time.Now(), map[string]string{"Subject": "a subject"}))
		if d.Type != action || !n.Pull || len(n.Facts) != facts || facts == 1 && n.Facts[0].Order.OrderID != product+"/c1" {
			t.Errorf("%s: %+v", action, n)
		}
	}
	if s.certificates != 1 {
		t.Errorf("the certificate was fetched %d times", s.certificates)
	}
}

func TestSubscriptionsAreConfirmed(t *testing.T) {
	s := &service{t: t, pageSize: 25}
	p := open(t, connectors.Env{Transport: s}, nil)
	confirmation := func(changes map[string]string) connectors.Request {
		fields := map[string]string{"Type": "SubscriptionConfirmation", "Token": "tok-1", "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=tok-1"}
		maps.Copy(fields, changes)
		return notification(t, "m-1", "2", "You have chosen to subscribe", time.Now(), fields)
	}
	if r, ok := p.Handshake(confirmation(nil)); !ok || r.Status != http.StatusOK || len(s.confirmed) != 1 || s.confirmed[0] != "tok-1" {
		t.Errorf("%t, %d, confirmed %v", ok, r.Status, s.confirmed)
	}
	changed := confirmation(nil)
	changed.Body = bytes.ReplaceAll(changed.Body, []byte("tok-1"), []byte("tok-2"))
	for name, r := range map[string]connectors.Request{
		"changed on the way":      changed,
		"at another host":         confirmation(map[string]string{"SubscribeURL": "https://sns.us-east-1.amazonaws.com.evil.example/?Action=ConfirmSubscription"}),
		"not by TLS":              confirmation(map[string]string{"SubscribeURL": "http://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription"}),
		"of another topic":        confirmation(map[string]string{"TopicArn": "arn:aws:sns:us-east-1:999999999999:theirs"}),
		"a certificate elsewhere": confirmation(map[string]string{"SigningCertURL": "https://evil.example" + certPath}),
	} {
		if reply, ok := p.Handshake(r); ok {
			t.Errorf("%s: answered %d", name, reply.Status)
		}
		if _, err := p.VerifyWebhook(r); err == nil {
			t.Errorf("%s: taken for a delivery", name)
		}
	}
	if len(s.confirmed) != 1 {
		t.Errorf("confirmed %v", s.confirmed)
	}
	s.fault = func(r *http.Request) (int, string) {
		if r.URL.Path == "/" {
			return 500, "down"
		}
		return 0, ""
	}
	if r, ok := p.Handshake(confirmation(nil)); !ok || r.Status != http.StatusServiceUnavailable {
		t.Errorf("SNS is down: %t, %d", ok, r.Status)
	}
	if _, ok := p.Handshake(notification(t, "m", "2", "x", time.Now(), nil)); ok {
		t.Error("a notification is a handshake")
	}
}

func TestBadDeliveries(t *testing.T) {
	s := &service{t: t, pageSize: 25}
	p := open(t, connectors.Env{Transport: s}, nil)
	now := time.Now()
	good := event("e-1", "License Updated - Manufacturer", 1, now)
	wrong := sent(good, now)
	wrong.Header = http.Header{"X-Api-Key": {"a-wrong-value"}}
	bare := sent(good, now)
	bare.Header = http.Header{}
	changed := notification(t, "m-1", "2", string(good), now, nil)
	changed.Body = bytes.ReplaceAll(changed.Body, []byte("prod1abc"), []byte("prod2abc"))
	asOther := notification(t, "m-1", "2", string(good), now, nil)
	asOther.Body = bytes.ReplaceAll(asOther.Body, []byte(`"SignatureVersion":"2"`), []byte(`"SignatureVersion":"1"`))
	old := notification(t, "m-1", "2", string(good), time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC), nil)
	rows := map[string]connectors.Request{"no key": bare, "a wrong key": wrong, "changed on the way": changed, "as another version": asOther, "after the certificate's end": old,
		"nothing signed": {Method: http.MethodPost, Header: http.Header{"X-Amz-Sns-Message-Type": {"Notification"}}, Body: good, At: now}}
	for name, at := range map[string]string{"another host": "https://evil.example" + certPath, "a host that begins so": "https://sns.us-east-1.amazonaws.com.evil.example" + certPath,
		"another region": "https://sns.eu-west-1.amazonaws.com" + certPath, "a bucket": "https://s3.amazonaws.com" + certPath, "not by TLS": "http://sns.us-east-1.amazonaws.com" + certPath,
		"another path": "https://sns.us-east-1.amazonaws.com/x.pem", "a query": "https://sns.us-east-1.amazonaws.com" + certPath + "?x=1", "a user": "https://u@evil.example" + certPath, "nowhere": ""} {
		rows["a certificate at "+name] = notification(t, "m-1", "2", string(good), now, map[string]string{"SigningCertURL": at})
	}
	for name, r := range rows {
		if _, err := p.VerifyWebhook(r); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, body := range []string{``, `{`, `[]`, `null`, `{}`, `{"id":"x","detail-type":"License Updated","source":"somebody.else"}`, `{"id":"x","source":"aws.agreement-marketplace"}`,
		`{"id":"x","detail-type":"License Deprovisioned - Manufacturer","source":"aws.agreement-marketplace"}`, `{"id":"x","detail-type":"y","source":"aws.agreement-marketplace","time":"yesterday"}`} {
		if _, err := p.VerifyWebhook(sent([]byte(body), now)); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s: %v", body, err)
		}
	}
	for _, content := range []string{``, `hello`, `{}`, `[]`, `{"customer-identifier":"c"}`} {
		if _, err := p.VerifyWebhook(notification(t, "m-1", "2", content, now, nil)); !errors.Is(err, connectors.ErrEnvelope) {
			t.Errorf("%s: %v", content, err)
		}
	}
	if _, err := p.VerifyWebhook(notification(t, "m-1", "2", "x", now, map[string]string{"Type": "UnsubscribeConfirmation", "Token": "t", "SubscribeURL": "u"})); !errors.Is(err, connectors.ErrEnvelope) {
		t.Errorf("unsubscribed: %v", err)
	}

	// Invented certificates do not make us ask again and again, and known ones are used meanwhile.
	before := s.certificates
	invented := func(n int) connectors.Request {
		return notification(t, "m-1", "2", string(good), now, map[string]string{"SigningCertURL": fmt.Sprintf("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-%032x.pem", n)})
	}
	asked := 0
	s.fault = func(*http.Request) (int, string) { asked++; return 404, "" }
	for n := range 20 {
		if _, err := p.VerifyWebhook(invented(n)); err == nil || errors.Is(err, connectors.ErrSignature) {
			t.Errorf("an invented certificate: %v", err)
		}
	}
	if _, err := p.VerifyWebhook(notification(t, "m-1", "2", string(good), now, nil)); err != nil || asked != 1 || s.certificates != before {
		t.Errorf("%v, asked %d times", err, asked)
	}
	for became, status := range map[connectors.Reception]int{connectors.ReceivedNew: 200, connectors.ReceivedAgain: 200, connectors.RefusedSignature: 403,
		connectors.RefusedEnvelope: 400, connectors.ReceivedConflict: 409, connectors.RefusedUnavailable: 503} {
		if r := p.AnswerWebhook(became); r.Status != status {
			t.Errorf("%s is answered %d", became, r.Status)
		}
	}
}

func TestAnswersThatAreNotUnderstood(t *testing.T) {
	s := &service{t: t, pageSize: 25}
	p := open(t, connectors.Env{Transport: s}, nil)
	one := func(rest string) string {
		return `{"Entitlements":[{"ProductCode":"prod1abc","Dimension":"seats","LicenseArn":"arn:1"` + rest + `}]}`
	}
	for _, row := range []struct {
		name   string
		status int
		body   string
		want   connectors.ErrorKind
		says   string
	}{
		{"no list", 200, `{}`, connectors.Rejected, "base_url"},
		{"no value", 200, one(``), connectors.Rejected, "no value"},
		{"an empty value", 200, one(`,"Value":{}`), connectors.Rejected, "not understood"},
		{"below nothing", 200, one(`,"Value":{"IntegerValue":-1}`), connectors.Rejected, "below 0"},
		{"a fraction", 200, one(`,"Value":{"IntegerValue":1.5}`), connectors.Rejected, "whole number"},
		{"a fraction of a double", 200, one(`,"Value":{"DoubleValue":1.5}`), connectors.Rejected, "whole number"},
		{"too many", 200, one(`,"Value":{"DoubleValue":1e300}`), connectors.Rejected, "whole number"},
		{"no licence", 200, `{"Entitlements":[{"ProductCode":"prod1abc","Dimension":"seats","Value":{"IntegerValue":1}}]}`, connectors.Rejected, "orders_by"},
		{"no dimension", 200, `{"Entitlements":[{"ProductCode":"prod1abc","LicenseArn":"arn:1","Value":{"IntegerValue":1}}]}`, connectors.Rejected, "dimension"},
		{"another product", 200, `{"Entitlements":[{"ProductCode":"theirs","Dimension":"seats","LicenseArn":"arn:1","Value":{"IntegerValue":1}}]}`, connectors.Rejected, "theirs"},
		{"a page for people", 200, `<html>`, connectors.Retryable, "html"},
		{"cut off", 200, one(`,"Value":{"IntegerValue":1}`)[:50], connectors.Retryable, "not whole"},
		{"huge", 200, `{"Entitlements":[],"x":"` + strings.Repeat("x", 17<<20) + `"}`, connectors.Retryable, "larger"},
		{"throttled", 400, `{"__type":"ThrottlingException","message":"slow down"}`, connectors.Throttled, "slow down"},
		{"not allowed", 400, `{"__type":"AccessDeniedException","Message":"no"}`, connectors.Auth, "GetEntitlements"},
		{"an ended key", 403, `{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"no"}`, connectors.Auth, "IAM console"},
		{"a wrong secret", 400, `{"__type":"InvalidSignatureException","message":"no"}`, connectors.Auth, "access key is active"},
		{"an unknown product", 400, `{"__type":"InvalidParameterException","message":"no"}`, connectors.Rejected, "product_codes"},
		{"down", 500, `{"__type":"InternalServiceErrorException","message":"down"}`, connectors.Retryable, ""},
	} {
		s.mu.Lock()
		s.fault = func(*http.Request) (int, string) { return row.status, row.body }
		s.mu.Unlock()
		if _, err := p.Orders(t.Context(), time.Time{}, ""); connectors.KindOf(err) != row.want || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, not %s with %q", row.name, err, row.want, row.says)
		}
	}
	s.fault = nil
	for _, cursor := range []connectors.Cursor{"x", "1 7", "1 -1", "1"} {
		if _, err := p.Orders(t.Context(), time.Time{}, cursor); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("the cursor %q: %v", cursor, err)
		}
	}
	s.endless, s.pageSize = true, 1
	for n := range 4 {
		s.entitlements = append(s.entitlements, entitlement{ProductCode: product, Dimension: "seats", LicenseArn: license(n), Value: seats(1)})
	}
	if _, err := p.Orders(t.Context(), time.Time{}, ""); connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("the same page again and again: %v", err)
	}
}

func TestSettings(t *testing.T) {
	for name, values := range map[string][]string{"product_codes": {"", "a b!"}, "access_key_id": {""}, "secret_access_key": {""}, "orders_by": {"", "order"}, "event_header": {""},
		"topic_arns": {"arn:aws:sqs:us-east-1:287250355862:queue", "arn:aws:sns:evil.example/:287250355862:t"}, "base_url": {""}} {
		for _, value := range values {
			s := settings()
			s[name] = value
			if _, err := awsmarketplace.Info().Open(connectors.Env{}, connectors.MarketplaceRole, s); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %q: %v", name, value, err)
			}
		}
	}
	if _, err := awsmarketplace.Info().Open(connectors.Env{}, connectors.SystemOfRecordRole, settings()); err == nil {
		t.Error("it is no system of record")
	}
	s := &service{t: t, pageSize: 25}
	err := open(t, connectors.Env{Transport: s}, connectors.Settings{"secret_access_key": "an-outdated-secret"}).Check(t.Context())
	if connectors.KindOf(err) != connectors.Auth || strings.Contains(err.Error(), "an-outdated-secret") {
		t.Errorf("a wrong secret: %v", err)
	}
	if _, err := open(t, connectors.Env{Transport: s}, connectors.Settings{"event_secrets": "", "topic_arns": ""}).VerifyWebhook(sent(event("e", "License Updated", 1, time.Now()), time.Now())); !errors.Is(err, connectors.ErrSignature) {
		t.Errorf("without a secret: %v", err)
	}
}

// recording keeps the last request, and forwards it.
type recording struct {
	next   http.RoundTripper
	last   *http.Request
	body   []byte
	header http.Header
}

func (r *recording) RoundTrip(request *http.Request) (*http.Response, error) {
	r.body, _ = io.ReadAll(request.Body)
	r.last, r.header = request, request.Header.Clone()
	request.Body = io.NopCloser(bytes.NewReader(r.body))
	return r.next.RoundTrip(request)
}

// AWS's own client is the machine-readable description of the service.
func TestOurRequestsAreThoseOfTheSDK(t *testing.T) {
	s := &service{t: t, pageSize: 25, entitlements: []entitlement{{ProductCode: product, Dimension: "seats", CustomerIdentifier: "c1", LicenseArn: license(1), Value: seats(5), ExpirationDate: 4000000000.5}}}
	wire := &recording{next: s}
	theirs := marketplaceentitlementservice.New(marketplaceentitlementservice.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: wire},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, nil
		})})
	most := int32(25)
	got, err := theirs.GetEntitlements(t.Context(), &marketplaceentitlementservice.GetEntitlementsInput{ProductCode: aws.String(product), MaxResults: &most})
	if err != nil {
		t.Fatal(err)
	}
	want, wantHeader, wantURL := wire.body, wire.header, wire.last.URL.String()
	if e := got.Entitlements[0]; *e.Value.IntegerValue != 5 || *e.Dimension != "seats" || e.ExpirationDate.Unix() != 4000000000 {
		t.Errorf("the SDK reads the pretend answer as %+v", e)
	}
	if all := listed(t, open(t, connectors.Env{Transport: wire}, nil), time.Time{}); all[license(1)].Lines[0].Quantity != 5 {
		t.Errorf("we read it as %+v", all)
	}
	var ours, sdk map[string]any
	if err := errors.Join(json.Unmarshal(wire.body, &ours), json.Unmarshal(want, &sdk)); err != nil || !reflect.DeepEqual(ours, sdk) {
		t.Errorf("we send %s, the SDK %s", wire.body, want)
	}
	if wire.last.URL.String() != wantURL {
		t.Errorf("we ask %s, the SDK %s", wire.last.URL, wantURL)
	}
	for _, name := range []string{"Content-Type", "X-Amz-Target"} {
		if wire.header.Get(name) != wantHeader.Get(name) {
			t.Errorf("%s: %q, the SDK %q", name, wire.header.Get(name), wantHeader.Get(name))
		}
	}
	scope := func(h http.Header) string {
		credential, _, _ := strings.Cut(h.Get("Authorization"), ",")
		return credential
	}
	if scope(wire.header) != scope(wantHeader) {
		t.Errorf("we sign for %s, the SDK for %s", scope(wire.header), scope(wantHeader))
	}
}

func FuzzDecodeWebhook(f *testing.F) {
	p := open(f, connectors.Env{Transport: &service{t: f}}, nil)
	f.Add([]byte(`{"type":"License Deprovisioned - Manufacturer","ended":"arn:1","at":"2026-11-26T06:00:00Z"}`))
	f.Add([]byte(`{"type":"License Updated - Manufacturer"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := p.DecodeWebhook(connectors.Delivery{}, body)
		if err != nil {
			return
		}
		for _, fact := range n.Facts {
			if n.Asks || fact.Kind != connectors.OrderCancelled || fact.Validate() != nil {
				t.Errorf("%q became %+v", body, fact.Order)
			}
		}
	})
}
