// Package koogallery is the connector for Huawei Cloud KooGallery (华为云云商店), as a marketplace that asks first. It
// speaks version 2 of the interface for SaaS products, in which the platform posts one activity after the other to one
// address of the seller and waits five seconds for a result code:
//
//	https://support.huaweicloud.com/accessg-marketplace/zh-cn_topic_0070649476.html and its neighbours
//
// newInstance is the question. It names an order line only; what was bought, and how many, is fetched from the platform
// before the question is stored. The answer 000000 with an instance id sells, 000100 (no instance resource to allocate)
// does not. The id given is the order line's, so that a release leads back to it. Renewal and freezing move no stock.
package koogallery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/asksfirst"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/signature"
)

// The settings of a connection.
const (
	settingKeys      = "keys"
	settingBaseURL   = "base_url"
	settingAccessKey = "access_key"
	settingSecretKey = "secret_key"
	settingFrontEnd  = "front_end_url"
)

const (
	// tolerance is how far the timestamp of a request may be from our clock, as the platform asks.
	tolerance = 60 * time.Second
	// fetching bounds the look at an order: the platform waits five seconds for the whole answer.
	fetching = 2 * time.Second
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "koogallery",
		Title: "Huawei Cloud KooGallery",
		Roles: []connectors.Role{connectors.MarketplaceRole},
		Fields: []connectors.Field{
			{Name: settingKeys, Required: true, Secret: true, Help: "The key of the product's access (accessKey) that requests are signed with; more than one, " +
				"separated by commas or spaces, while it is being replaced."},
			{Name: settingBaseURL, Default: "https://mkt.myhuaweicloud.com", Help: "Address of the platform's own interface: https://mkt.myhuaweicloud.com in China, " +
				"https://mkt-intl.myhuaweicloud.com elsewhere, https://mkt.myhuaweicloud.eu in Europe."},
			{Name: settingAccessKey, Required: true, Help: "Access key id (AK) of the seller's account, with which orders are looked up."},
			{Name: settingSecretKey, Required: true, Secret: true, Help: "Secret access key (SK) to it."},
			{Name: settingFrontEnd, Help: "Address at which buyers find the product; told with every instance when set."},
		},
		Open: open,
		Guide: connectors.Guide{
			Versions: "interface 2.0 for SaaS products",
			Classes:  []connectors.Class{connectors.AsksFirst},
			Batch:    1,
			Setup: []string{
				"In the seller console, under the application access debugging (应用接入调试) of the product, write the webhook address of the connection as its production address, and copy the key into the setting `keys`.",
				"Under My Credentials → Access Keys of the seller's Huawei Cloud account, create an access key for a user who may look up marketplace orders.",
				"Map each product: the item is the skuCode of the specification, or the productId where there is none.",
				"Run the console's debugging of each interface; requests with its test flag are answered and move nothing.",
			},
			Can: []string{"answers newInstance and upgradeInstance from what there is at that moment, with the result code 000100 when there is not enough",
				"releaseInstance gives the units back", "notes renewal and freezing, and answers queryInstance"},
			Cannot: []string{"show or write a quantity: the platform has none", "hand out user names and passwords (appInfo)", "interface 1.0, which takes no new products, and the joint operation kit"},
			Limits: []string{"An answer must come within five seconds, of which up to two go to looking the order up.", "Order look-ups are rate limited by the platform (CBC.0250); the question is then answered as not available now, and comes again."},
			Evidence: []connectors.Evidence{
				{By: connectors.Vectors, What: "the signatures of requests and look-ups, computed apart from the vendor's steps", Test: "connectors/signature TestHuaweiRequest"},
				{By: connectors.Conformance, What: "signatures, questions, replies, releases and bad input", Test: "connectors/koogallery TestConformance"},
			},
			Unproven: []string{"with which key requests are signed, which the documents leave open: the access key of the product is assumed; the console's debugging shows it at once",
				"calls of the platform itself"},
		},
	}
}

// platform is one connection.
type platform struct {
	asksfirst.Platform
	keys     signature.Secrets
	frontEnd string
	client   *rest.Client
}

var (
	_ connectors.Marketplace      = (*platform)(nil)
	_ connectors.WebhookReceiver  = (*platform)(nil)
	_ connectors.WebhookCompleter = (*platform)(nil)
	_ connectors.WebhookAnswerer  = (*platform)(nil)
	_ connectors.Handshaker       = (*platform)(nil)
	_ connectors.Admitter         = (*platform)(nil)
)

func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.MarketplaceRole {
		return nil, fmt.Errorf("a platform such as KooGallery cannot be a %s; its role is %s", role, connectors.MarketplaceRole)
	}
	keys := signature.Parse(s[settingKeys])
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s is empty: write the key of the product's access", settingKeys)
	}
	access, secret := s[settingAccessKey], s[settingSecretKey]
	client, err := rest.New(rest.Config{BaseURL: s[settingBaseURL], Transport: env.Transport, Log: env.Log, Timeout: min(fetching, cmp.Or(env.Timeout, fetching)),
		Secrets:   append([]string{secret}, keys...),
		Authorize: func(r *http.Request) { signature.HuaweiRequest(r, access, secret, time.Now()) }})
	if err != nil {
		return nil, err
	}
	return &platform{keys: keys, frontEnd: s[settingFrontEnd], client: client}, nil
}

// Close implements connectors.Connection.
func (p *platform) Close() error { return p.client.Close() }

// VerifyWebhook implements connectors.WebhookReceiver.
func (p *platform) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	q := r.Query()
	millis, err := strconv.ParseInt(q.Get("timestamp"), 10, 64)
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: there is no timestamp", connectors.ErrSignature)
	}
	sent := time.UnixMilli(millis)
	if millis < 1e11 { // the documents say milliseconds in one place and seconds in another
		sent = time.Unix(millis, 0)
	}
	if err := signature.Fresh(sent, r.At, tolerance); err != nil {
		return connectors.Delivery{}, err
	}
	ordinal, err := p.keys.Match(strings.ToLower(q.Get("signature")), func(key string) string {
		return signature.HuaweiV2(key, q.Get("nonce"), q.Get("timestamp"), r.Body)
	})
	if err != nil {
		return connectors.Delivery{}, err
	}
	var a activity
	if err := json.Unmarshal(r.Body, &a); err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, rest.ExplainJSON(err))
	}
	key, err := a.key()
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	a.BusinessID = "" // it differs from try to try
	body, err := json.Marshal(a, json.Deterministic(true))
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	return connectors.Delivery{Key: key, Type: a.Activity, Secret: ordinal, Body: body}, nil
}

// Handshake answers what moves nothing: the console's tests, and questions about instances that are there. What a request says
// of itself decides only whether it may be one of them; it is answered once it is found to be authentic. Any other is left to
// VerifyWebhook, so that each request is verified once.
func (p *platform) Handshake(r connectors.Request) (connectors.Reply, bool) {
	var a activity
	if json.Unmarshal(r.Body, &a) != nil || a.Activity != activityQuery && a.TestFlag != "1" {
		return connectors.Reply{}, false
	}
	d, err := p.VerifyWebhook(r)
	if err != nil {
		return connectors.Reply{}, false
	}
	switch {
	case a.Activity == activityQuery:
		reply := result{Code: codeOK, Message: "success"}
		for id := range strings.SplitSeq(a.InstanceID, ",") {
			reply.Info = append(reply.Info, instance{InstanceID: strings.TrimSpace(id), AppInfo: p.appInfo()})
		}
		return p.reply(d.Secret, reply), true
	default:
		return p.reply(d.Secret, result{Code: codeOK, Message: "success", InstanceID: cmp.Or(a.InstanceID, a.line()), AppInfo: p.appInfo()}), true
	}
}

// CompleteWebhook implements connectors.WebhookCompleter: it adds what the order line is for.
func (p *platform) CompleteWebhook(ctx context.Context, d connectors.Delivery) (connectors.Delivery, error) {
	const op = "look up the order"
	if d.Type != activityNew && d.Type != activityUpgrade {
		return d, nil
	}
	var a activity
	if err := json.Unmarshal(d.Body, &a); err != nil {
		return d, connectors.Rejectedf(op, "", "the activity cannot be read: %w", err)
	}
	query := url.Values{"orderId": {a.OrderID}}
	if a.OrderLineID != "" {
		query.Set("orderLineId", a.OrderLineID)
	}
	var found lookedUp
	var status int
	err := p.client.Do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/api/mkp-openapi-public/global/v1/order/query", Query: query, Status: &status}, &found)
	if refused, ok := errors.AsType[*connectors.Error](err); ok && status == http.StatusNotAcceptable {
		refused.Kind = connectors.Throttled // by which the platform says: too often
	}
	if err != nil {
		return d, err
	}
	if found.ResultCode != lookedUpOK {
		return d, connectors.Rejectedf(op, p.client.Redact(found.ResultCode), "%s", p.client.Redact(cmp.Or(found.ResultMsg, "the platform gave no reason")))
	}
	bought, err := found.bought(a.OrderLineID)
	if err != nil {
		return d, connectors.Rejectedf(op, "", "order %s: %w", p.client.Redact(a.OrderID), err)
	}
	a.Bought, a.Buyer = bought, found.OrderInfo.BuyerInfo.CustomerID
	d.Body, err = json.Marshal(a, json.Deterministic(true))
	if err != nil {
		return d, connectors.Rejectedf(op, "", "the order cannot be stored: %w", err)
	}
	return d, nil
}

// DecodeWebhook implements connectors.WebhookReceiver.
func (p *platform) DecodeWebhook(_ connectors.Delivery, body []byte) (connectors.Notice, error) {
	var a activity
	if err := json.Unmarshal(body, &a); err != nil {
		return connectors.Notice{}, fmt.Errorf("the activity cannot be read: %w", rest.ExplainJSON(err))
	}
	switch a.Activity {
	case activityNew, activityUpgrade:
		order, err := a.order()
		if err != nil {
			return connectors.Notice{}, err
		}
		return connectors.Notice{Asks: true, Facts: []connectors.Fact{{Kind: connectors.OrderUpserted, Order: order}}}, nil
	case activityRelease:
		return connectors.Notice{Facts: []connectors.Fact{{Kind: connectors.OrderCancelled, Order: &connectors.Order{OrderID: a.InstanceID, Version: released}}}}, nil
	case activityRefresh, activityStatus, activityQuery:
		return connectors.Notice{}, nil
	default:
		return connectors.Notice{}, fmt.Errorf("the activity %.40q is not understood", a.Activity)
	}
}

// AnswerAdmission implements connectors.Admitter.
func (p *platform) AnswerAdmission(d connectors.Delivery, decided connectors.Admission) connectors.Reply {
	var a activity
	if err := json.Unmarshal(d.Body, &a); err != nil || decided.Decision != connectors.Admit {
		return p.reply(d.Secret, result{Code: codeNothingLeft, Message: "no instance resource to allocate"})
	}
	return p.reply(d.Secret, result{Code: codeOK, Message: "success", InstanceID: a.about(), AppInfo: p.appInfo()})
}

// AnswerWebhook implements connectors.WebhookAnswerer.
func (p *platform) AnswerWebhook(became connectors.Reception) connectors.Reply {
	switch became {
	case connectors.ReceivedNew, connectors.ReceivedAgain:
		return p.reply(0, result{Code: codeOK, Message: "success"})
	case connectors.RefusedSignature:
		return p.reply(0, result{Code: codeAuth, Message: "authentication failed"})
	case connectors.RefusedUnavailable:
		return p.reply(0, result{Code: codeInternal, Message: "not available now"})
	default:
		return p.reply(0, result{Code: codeParameters, Message: "the parameters are invalid"})
	}
}

// reply signs the answer with the key that the request was signed with.
func (p *platform) reply(key int, r result) connectors.Reply {
	reply := asksfirst.JSON(http.StatusOK, r)
	if key >= 0 && key < len(p.keys) {
		reply.Header.Set("Body-Sign", signature.HuaweiReply(p.keys[key], reply.Body))
	}
	return reply
}

func (p *platform) appInfo() *appInfo {
	if p.frontEnd == "" {
		return nil
	}
	return &appInfo{FrontEndURL: p.frontEnd}
}
