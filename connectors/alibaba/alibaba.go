// Package alibaba is the connector for Alibaba Cloud Marketplace (阿里云云市场), as a marketplace that asks first. The
// platform calls one address of the seller by GET, for each step in the life of what a buyer bought:
//
//	https://help.aliyun.com/zh/marketplace/createinstance and its neighbours renewinstance, expiredinstance, releaseinstance
//
// createInstance is the question: the reply with an instance id sells, the id 0 says that there is none yet, and has the
// platform ask again, up to 120 times. The id given is the platform's own orderBizId, as it recommends, so that a release
// leads back to the order. releaseInstance ends the order and gives its units back. Renewal and expiry move no stock.
//
// A token is the MD5 of all parameters and the seller's key. It covers no time, so what a stranger has seen he can send
// again; to do so changes nothing, because the order is known by then.
package alibaba

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/asksfirst"
	"github.com/truestock/truestock/connectors/signature"
)

// The settings of a connection.
const (
	settingKeys     = "keys"
	settingQuantity = "quantity_parameter"
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "alibaba",
		Title: "Alibaba Cloud Marketplace",
		Roles: []connectors.Role{connectors.MarketplaceRole},
		Fields: []connectors.Field{
			{Name: settingKeys, Required: true, Secret: true, Help: "The seller's key (isvKey) that tokens are made with; more than one, " +
				"separated by commas or spaces, while it is being replaced."},
			{Name: settingQuantity, Help: "Name of the parameter that says how many a buyer takes, as the specification of the product names its " +
				"billing item, such as Count or AccountQuantity; each order is for one when left out."},
		},
		Open: open,
		Guide: connectors.Guide{
			Versions: "the SPI of Alibaba Cloud Marketplace for SaaS products",
			Classes:  []connectors.Class{connectors.AsksFirst},
			Batch:    1,
			Setup: []string{
				"In the seller console (卖家中心), open the product's access information (接入信息) and write the webhook address of the connection as its production address (生产地址).",
				"Copy the key (isvKey) of the same page into the setting `keys`.",
				"Map each product: the item is the skuId, or the productCode where a product has no specifications.",
				"Run the console's interface test (接口调试); it calls every step once.",
			},
			Can: []string{"answers createInstance from what there is at that moment", "releaseInstance gives the units back", "notes renewal and expiry"},
			Cannot: []string{
				"show or write a quantity: the platform has none",
				"sign buyers in (verify), or hand out addresses and passwords (appInfo): these are the product's own",
				"change of specification (upgradeInstance) is refused, because the platform's documents do not say what it then holds",
			},
			Limits: []string{"The platform asks again up to 120 times while the answer is 0. The same order has the same answer, so what was refused stays refused: the buyer is to be refunded, or orders anew."},
			Evidence: []connectors.Evidence{
				{By: connectors.Vectors, What: "the token of the vendor's documentation", Test: "connectors/signature TestSchemes"},
				{By: connectors.Conformance, What: "tokens, questions, replies, releases and bad input", Test: "connectors/alibaba TestConformance"},
			},
			Unproven: []string{"whether values are decoded before the token is made, which the documents leave open: decoded is what their examples suggest", "calls of the platform itself"},
		},
	}
}

// platform is one connection.
type platform struct {
	asksfirst.Platform
	keys     signature.Secrets
	quantity string
}

var (
	_ connectors.Marketplace     = (*platform)(nil)
	_ connectors.WebhookReceiver = (*platform)(nil)
	_ connectors.WebhookMethods  = (*platform)(nil)
	_ connectors.WebhookAnswerer = (*platform)(nil)
	_ connectors.Admitter        = (*platform)(nil)
)

func open(_ connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.MarketplaceRole {
		return nil, fmt.Errorf("a platform such as Alibaba Cloud Marketplace cannot be a %s; its role is %s", role, connectors.MarketplaceRole)
	}
	keys := signature.Parse(s[settingKeys])
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s is empty: write the seller's key of the product's access information", settingKeys)
	}
	return &platform{keys: keys, quantity: s[settingQuantity]}, nil
}

// WebhookMethods implements connectors.WebhookMethods.
func (p *platform) WebhookMethods() []string { return []string{http.MethodGet} }

// VerifyWebhook implements connectors.WebhookReceiver. A call is known by its action and by what it is about; what is
// stored of it are its parameters without the token.
func (p *platform) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	parameters, err := asksfirst.Parameters(r)
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrSignature, err)
	}
	ordinal, err := p.keys.Match(parameters["token"], func(key string) string { return signature.Alibaba(key, parameters) })
	if err != nil {
		return connectors.Delivery{}, err
	}
	delete(parameters, "token")
	key, err := keyOf(parameters)
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	body, err := json.Marshal(parameters, json.Deterministic(true))
	if err != nil {
		return connectors.Delivery{}, fmt.Errorf("%w: %w", connectors.ErrEnvelope, err)
	}
	return connectors.Delivery{Key: key, Type: parameters["action"], Secret: ordinal, Body: body}, nil
}

// The actions that are understood.
const (
	actionCreate  = "createInstance"
	actionRenew   = "renewInstance"
	actionExpired = "expiredInstance"
	actionRelease = "releaseInstance"
)

func keyOf(parameters map[string]string) (string, error) {
	action := parameters["action"]
	about := "instanceId"
	switch action {
	case actionCreate:
		about = "orderBizId"
	case actionRenew, actionExpired, actionRelease:
	default:
		return "", fmt.Errorf("the action %.40q is not understood", action)
	}
	if parameters[about] == "" {
		return "", fmt.Errorf("%s has no %s", action, about)
	}
	return action + ":" + parameters[about] + ":" + parameters["orderId"] + ":" + parameters["expiredOn"], nil
}

// DecodeWebhook implements connectors.WebhookReceiver.
func (p *platform) DecodeWebhook(_ connectors.Delivery, body []byte) (connectors.Notice, error) {
	var parameters map[string]string
	if err := json.Unmarshal(body, &parameters); err != nil {
		return connectors.Notice{}, fmt.Errorf("the call cannot be read: %w", err)
	}
	switch parameters["action"] {
	case actionCreate:
		order, err := p.order(parameters)
		if err != nil {
			return connectors.Notice{}, err
		}
		return connectors.Notice{Asks: true, Facts: []connectors.Fact{{Kind: connectors.OrderUpserted, Order: order}}}, nil
	case actionRelease:
		return connectors.Notice{Facts: []connectors.Fact{{Kind: connectors.OrderCancelled, Order: &connectors.Order{OrderID: parameters["instanceId"], Version: released}}}}, nil
	case actionRenew, actionExpired:
		return connectors.Notice{}, nil
	default:
		return connectors.Notice{}, fmt.Errorf("the action %.40q is not understood", parameters["action"])
	}
}

// The platform tells no versions: an order is created, and released.
const (
	created  = 1
	released = 2
)

// order is what createInstance asks for.
func (p *platform) order(parameters map[string]string) (*connectors.Order, error) {
	item := parameters["skuId"]
	if item == "" {
		item = parameters["productCode"]
	}
	quantity, err := asksfirst.Quantity(p.quantity, parameters[p.quantity])
	if err != nil {
		return nil, err
	}
	if trial, err := strconv.ParseBool(parameters["trial"]); err == nil && trial {
		item += trialSuffix
	}
	o := &connectors.Order{OrderID: parameters["orderBizId"], Version: created, Status: connectors.OrderOpen,
		Buyer: &connectors.Buyer{Ref: parameters["aliUid"]}, Lines: []connectors.ChannelLine{{LineID: "1", Ref: connectors.Ref{Item: item}, Quantity: quantity}}}
	return o, connectors.Fact{Kind: connectors.OrderUpserted, Order: o}.Validate()
}

// trialSuffix makes trials an item of their own, which can be mapped to another article, or to none.
const trialSuffix = ":trial"

// AnswerAdmission implements connectors.Admitter.
func (p *platform) AnswerAdmission(d connectors.Delivery, a connectors.Admission) connectors.Reply {
	var parameters map[string]string
	instance := "0"
	if err := json.Unmarshal(d.Body, &parameters); err == nil && a.Decision == connectors.Admit {
		instance = parameters["orderBizId"]
	}
	return asksfirst.JSON(http.StatusOK, map[string]string{"instanceId": instance})
}

// AnswerWebhook implements connectors.WebhookAnswerer.
func (p *platform) AnswerWebhook(became connectors.Reception) connectors.Reply {
	switch became {
	case connectors.ReceivedNew, connectors.ReceivedAgain:
		return asksfirst.JSON(http.StatusOK, map[string]string{"success": "true"})
	case connectors.RefusedUnavailable:
		return asksfirst.JSON(http.StatusServiceUnavailable, map[string]string{"success": "false"})
	default:
		return asksfirst.JSON(http.StatusOK, map[string]string{"success": "false"})
	}
}
