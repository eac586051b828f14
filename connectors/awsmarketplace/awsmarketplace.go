// Package awsmarketplace is the connector for AWS Marketplace, as a marketplace that only tells what it has sold. AWS asks
// nothing before it sells a contract of a SaaS product, and takes no refusal after: an entitlement is an order, and what is
// not there to fulfil it is an oversell.
//
//	https://docs.aws.amazon.com/marketplace/latest/userguide/saas-eventbridge-integration.html
//	https://docs.aws.amazon.com/marketplacemetering/latest/APIReference/API_marketplace-entitlements_GetEntitlements.html
//
// # What is told
//
// GetEntitlements lists what the buyers of a product are entitled to: a whole number of a dimension, until an instant. All
// that one licence, or one buyer, has is one order. There is no instant of the last change, so that an order's version is that of the look
// that found it changed; and what two looks do not find any more is cancelled.
//
// Two ways of AWS say when to look: events of EventBridge (source aws.agreement-marketplace), which products listed since June 2026 have,
// by an API destination with a secret of ours; and messages of SNS, which older ones have, signed by AWS. Nothing of either is
// used but that a licence has ended.
package awsmarketplace

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/asksfirst"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/signature"
)

// The settings of a connection.
const (
	settingProducts = "product_codes"
	settingKeyID    = "access_key_id"
	settingSecret   = "secret_access_key" //nolint:gosec // The name of a setting.
	settingOrdersBy = "orders_by"
	settingEvents   = "event_secrets"
	settingHeader   = "event_header"
	settingTopics   = "topic_arns"
	settingBaseURL  = "base_url"
)

// What makes an order.
const (
	byLicense  = "license"
	byCustomer = "customer"
)

// The service that is called, and where it is.
const (
	region  = "us-east-1"
	service = "aws-marketplace"
)

// Info describes the connector.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "awsmarketplace",
		Title: "AWS Marketplace",
		Roles: []connectors.Role{connectors.MarketplaceRole},
		Fields: []connectors.Field{
			{Name: settingProducts, Required: true, Help: "Product codes of the SaaS products, as AWS Marketplace Management Portal shows them, separated by commas or spaces."},
			{Name: settingKeyID, Required: true, Help: "Access key id of an IAM user of the seller's account."},
			{Name: settingSecret, Required: true, Secret: true, Help: "Secret access key to it."},
			{Name: settingOrdersBy, Default: byLicense, Help: "license: what each licence entitles to is an order, as products with concurrent agreements have it; customer: all that a buyer has of a product is one, for older products."},
			{Name: settingEvents, Secret: true, Help: "The value of the API key of the EventBridge connection; more than one, separated by commas or spaces, while it is being replaced."},
			{Name: settingHeader, Default: "x-api-key", Help: "The name of that API key: the header in which EventBridge sends it."},
			{Name: settingTopics, Help: "ARNs of the product's SNS topics, separated by commas or spaces; messages of other topics are refused."},
			{Name: settingBaseURL, Default: "https://entitlement.marketplace.us-east-1.amazonaws.com", Help: "Address of the Marketplace Entitlement Service."},
		},
		Open:  open,
		Guide: guide(),
	}
}

// seller is one connection.
type seller struct {
	asksfirst.Platform
	products    []string
	byLicense   bool
	events      signature.Secrets
	header      string
	topics      map[string]*topics // by the ARN of a topic
	client      *rest.Client
	address     string
	credentials aws.Credentials
	looks       asksfirst.Looks // AWS tells no instants of change
}

var (
	_ connectors.Marketplace     = (*seller)(nil)
	_ connectors.WebhookReceiver = (*seller)(nil)
	_ connectors.Handshaker      = (*seller)(nil)
	_ connectors.WebhookAnswerer = (*seller)(nil)
)

var (
	productCode = regexp.MustCompile(`^[-a-zA-Z0-9/=:_.@]{1,200}$`)
	topicARN    = regexp.MustCompile(`^arn:aws:sns:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]+$`)
)

func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if role != connectors.MarketplaceRole {
		return nil, fmt.Errorf("a platform such as AWS Marketplace cannot be a %s; its role is %s", role, connectors.MarketplaceRole)
	}
	a := &seller{products: signature.Parse(s[settingProducts]), byLicense: s[settingOrdersBy] == byLicense, events: signature.Parse(s[settingEvents]), header: s[settingHeader],
		topics: make(map[string]*topics), credentials: aws.Credentials{AccessKeyID: s[settingKeyID], SecretAccessKey: s[settingSecret]}}
	switch {
	case len(a.products) == 0 || slices.ContainsFunc(a.products, func(p string) bool { return !productCode.MatchString(p) }):
		return nil, fmt.Errorf("%s holds no product codes: copy them from AWS Marketplace Management Portal, Products → SaaS → the product", settingProducts)
	case s[settingKeyID] == "":
		return nil, fmt.Errorf("%s is empty: in the IAM console, make an access key", settingKeyID)
	case s[settingSecret] == "":
		return nil, fmt.Errorf("%s is empty: it is shown once, when the access key is made", settingSecret)
	case s[settingOrdersBy] != byLicense && s[settingOrdersBy] != byCustomer:
		return nil, fmt.Errorf("%s is %.40q: write %s or %s", settingOrdersBy, s[settingOrdersBy], byLicense, byCustomer)
	case a.header == "":
		return nil, fmt.Errorf("%s is empty: write the API key name of the EventBridge connection", settingHeader)
	}
	config := rest.Config{BaseURL: s[settingBaseURL], Transport: env.Transport, Log: env.Log, Timeout: env.Timeout, Secrets: append([]string{s[settingSecret]}, a.events...)}
	a.address = strings.TrimRight(s[settingBaseURL], "/")
	var err error
	if a.client, err = rest.New(config); err != nil {
		return nil, fmt.Errorf("%s: %w", settingBaseURL, err)
	}
	regions := make(map[string]*topics)
	for _, arn := range signature.Parse(s[settingTopics]) {
		parts := topicARN.FindStringSubmatch(arn)
		if parts == nil {
			return nil, fmt.Errorf("%s: %.100q is not the ARN of an SNS topic, such as arn:aws:sns:us-east-1:287250355862:aws-mp-entitlement-notification-…", settingTopics, arn)
		}
		if regions[parts[1]] == nil {
			config.BaseURL = "https://" + hostOf(parts[1])
			client, err := rest.New(config)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", settingTopics, err)
			}
			regions[parts[1]] = &topics{host: hostOf(parts[1]), client: client}
		}
		a.topics[arn] = regions[parts[1]]
	}
	return a, nil
}

// Close implements connectors.Connection.
func (a *seller) Close() error {
	for _, t := range a.topics {
		_ = t.client.Close()
	}
	return a.client.Close()
}

// Check implements connectors.Connection.
func (a *seller) Check(ctx context.Context) error {
	_, err := a.page(ctx, "check", getEntitlements{ProductCode: a.products[0], MaxResults: 1})
	return err
}

// Capabilities implements connectors.Marketplace.
func (a *seller) Capabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	return connectors.MarketplaceCapabilities{Class: connectors.OrdersOnly, BatchSize: 1}, ctx.Err()
}

// WriteStock implements connectors.Marketplace.
func (a *seller) WriteStock(context.Context, []connectors.Write) ([]connectors.Result, error) {
	return nil, connectors.Rejectedf("write stock", "", "AWS Marketplace takes no quantities, and sells without asking")
}

// classify gives an error of AWS its kind: nearly all come with status 400.
//
// https://docs.aws.amazon.com/marketplacemetering/latest/APIReference/CommonErrors.html
func classify(err error) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return err
	}
	told := *e
	told.Code = e.Code[strings.LastIndexByte(e.Code, '#')+1:]
	is := func(codes ...string) bool { return slices.Contains(codes, told.Code) }
	switch {
	case is("ThrottlingException", "Throttling", "RequestLimitExceeded", "TooManyRequestsException"):
		told.Kind = connectors.Throttled
	case is("InternalServiceErrorException", "InternalFailure", "ServiceUnavailable"):
		told.Kind = connectors.Retryable
	case e.Kind == connectors.Auth, is("AccessDeniedException", "NotAuthorized", "OptInRequired"):
		told.Kind = connectors.Auth
		told.Err = fmt.Errorf("%w; in the IAM console, give the user the action aws-marketplace:GetEntitlements, in the account that sells the product", e.Err)
	case is("UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "ExpiredTokenException", "RequestExpired"):
		told.Kind = connectors.Auth
		told.Err = fmt.Errorf("%w; in the IAM console, see that the access key is active, copy it anew into %s and %s, and compare this machine's clock", e.Err, settingKeyID, settingSecret)
	case is("InvalidParameterException", "ValidationError"):
		told.Err = fmt.Errorf("%w; compare %s with AWS Marketplace Management Portal", e.Err, settingProducts)
	}
	return &told
}

func hostOf(region string) string { return "sns." + region + ".amazonaws.com" }
