package amazon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// The types of notifications that the connection needs, and what it calls an order that one of them led to.
const (
	orderChange    = "ORDER_CHANGE"
	quantityChange = "LISTINGS_ITEM_MFN_QUANTITY_CHANGE"
	orderFound     = "order"
)

const (
	// queueBatch is the most messages in one answer of SQS, queueWait for how long it waits for the first of them, and
	// queueHidden for how long what it gave is not given again.
	queueBatch  = 10
	queueWait   = 5 * time.Second
	queueHidden = 2 * time.Minute
	queueCall   = 30 * time.Second
	// retryHorizon is for how long SQS keeps a message where nothing else is set:
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-retention.html.
	retryHorizon = 4 * 24 * time.Hour
	destinations = "/notifications/v1/destinations"
	subscribed   = "/notifications/v1/subscriptions/"
)

// queuedMarket is a connection with a queue.
type queuedMarket struct {
	*market
	queue *queue
}

// queue is the SQS queue that Amazon sends notifications to.
type queue struct {
	client *sqs.Client
	url    string
	arn    string
}

// newQueue makes the reader of a queue from its address, such as https://sqs.eu-west-1.amazonaws.com/123456789012/orders.
func newQueue(address, id, secret string, transport http.RoundTripper) (*queue, error) {
	u, err := url.Parse(address)
	parts := []string{}
	if err == nil {
		parts = strings.Split(strings.Trim(u.Path, "/"), "/")
	}
	host := []string{}
	if err == nil {
		host = strings.Split(u.Hostname(), ".")
	}
	if err != nil || u.Scheme != "https" || len(parts) != 2 || len(host) < 4 || host[0] != "sqs" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("%s is not the address of a queue: copy the URL that the AWS console shows of it, such as https://sqs.eu-west-1.amazonaws.com/123456789012/orders", settingQueue)
	}
	if id == "" || secret == "" {
		return nil, fmt.Errorf("%s is set without %s and %s", settingQueue, settingKeyID, settingKey)
	}
	region := host[1]
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &queue{
		url: address, arn: "arn:aws:sqs:" + region + ":" + parts[0] + ":" + parts[1],
		client: sqs.New(sqs.Options{
			Region: region, BaseEndpoint: aws.String(u.Scheme + "://" + u.Host), RetryMaxAttempts: 2,
			HTTPClient: &http.Client{Transport: transport, Timeout: queueCall},
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, nil
			}),
		}),
	}, nil
}

// FetchDeliveries implements connectors.DeliveryQueue. A notification about an order is a hint: the order is read, and that
// is what is stored. So all that is known of an order is in one form, with one clock, and holds nothing of the buyer. What
// cannot be read now stays in the queue, and comes again.
func (m *queuedMarket) FetchDeliveries(ctx context.Context) ([]connectors.Fetched, error) {
	const op = "read the queue"
	if m.closed.Load() {
		return nil, m.refuse(connectors.Retryable, op, "", "the connection is closed")
	}
	got, err := m.queue.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &m.queue.url, MaxNumberOfMessages: queueBatch, WaitTimeSeconds: int32(queueWait / time.Second), VisibilityTimeout: int32(queueHidden / time.Second),
	})
	if err != nil {
		return nil, m.queueError(ctx, op, err)
	}
	var fetched []connectors.Fetched
	var failed error
	for _, msg := range got.Messages {
		d, err := m.delivery(ctx, msg)
		switch kind := connectors.KindOf(err); {
		case err == nil:
			fetched = append(fetched, connectors.Fetched{Delivery: d, Receipt: aws.ToString(msg.ReceiptHandle)})
		case kind == "": // a shutdown
			return nil, err
		default:
			failed = err // it comes again; the others need not wait for it
		}
	}
	if len(fetched) == 0 {
		return nil, failed
	}
	return fetched, nil
}

// delivery makes an event of a message. Of one that is not understood it makes one too: a person finds it in the inbox.
func (m *queuedMarket) delivery(ctx context.Context, msg types.Message) (connectors.Delivery, error) {
	const op = "read an order that changed"
	body := []byte(aws.ToString(msg.Body))
	d := connectors.Delivery{Key: "message:" + aws.ToString(msg.MessageId), Type: "not understood", Body: body}
	var n notification
	if json.Unmarshal(body, &n) != nil || n.Type == "" || n.Metadata.ID == "" {
		return d, nil
	}
	d.Key, d.Type = n.Metadata.ID, n.Type
	if n.Type != orderChange || n.Payload.Order == nil || n.Payload.Order.SellerID != m.seller {
		return d, nil
	}
	o, err := m.findOrder(ctx, op, n.Payload.Order.OrderID, fulfilled)
	if notFound(err) || connectors.KindOf(err) == connectors.Rejected {
		return d, nil // decoding it asks for a look at all orders
	}
	if err != nil {
		return d, err
	}
	if d.Body, err = json.Marshal(o); err != nil {
		return d, connectors.Rejectedf(op, "", "order %s cannot be written down: %w", o.ID, err)
	}
	d.Type, d.Key = orderFound, orderFound+":"+o.ID+":"+contentKey(d.Body)
	return d, nil
}

// Acknowledge implements connectors.DeliveryQueue.
func (m *queuedMarket) Acknowledge(ctx context.Context, stored []connectors.Fetched) error {
	const op = "take what is stored out of the queue"
	for some := range slices.Chunk(stored, queueBatch) {
		entries := make([]types.DeleteMessageBatchRequestEntry, len(some))
		for i, f := range some {
			entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(f.Receipt)}
		}
		// Entries that it could not take out come again, and are recognised.
		if _, err := m.queue.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &m.queue.url, Entries: entries}); err != nil {
			return m.queueError(ctx, op, err)
		}
	}
	return nil
}

// queueError classes an error of SQS.
func (m *queuedMarket) queueError(ctx context.Context, op string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	failed := &connectors.Error{Kind: connectors.Retryable, Op: op}
	text := err.Error()
	if said, ok := errors.AsType[smithy.APIError](err); ok {
		failed.Code = m.client.Redact(said.ErrorCode())
		text = said.ErrorMessage()
		switch code := said.ErrorCode(); {
		case strings.Contains(code, "Throttl"):
			failed.Kind = connectors.Throttled
		case strings.Contains(code, "NonExistentQueue"), strings.Contains(code, "QueueDoesNotExist"):
			failed.Kind = connectors.Unmapped
			text += "; in the AWS console, compare " + settingQueue + " with the URL of the queue"
		case strings.Contains(code, "AccessDenied"), strings.Contains(code, "InvalidClientTokenId"), strings.Contains(code, "Signature"),
			strings.Contains(code, "InvalidSecurity"), strings.Contains(code, "UnrecognizedClient"), strings.Contains(code, "ExpiredToken"):
			failed.Kind = connectors.Auth
			text += "; in the AWS console, give the user of " + settingKeyID + " sqs:ReceiveMessage and sqs:DeleteMessage on the queue, and compare its keys"
		case said.ErrorFault() == smithy.FaultClient:
			failed.Kind = connectors.Rejected
		}
	}
	failed.Err = errors.New(m.client.Redact(text))
	return failed
}

// DecodeWebhook implements connectors.DeliveryQueue.
func (m *queuedMarket) DecodeWebhook(d connectors.Delivery, body []byte) (connectors.Notice, error) {
	switch d.Type {
	case orderFound:
		var o order
		if err := json.Unmarshal(body, &o); err != nil {
			return connectors.Notice{}, fmt.Errorf("the order cannot be read: %w", rest.ExplainJSON(err))
		}
		told, ours, err := o.toOrder(m.marketplaces)
		if err != nil || !ours {
			return connectors.Notice{}, err
		}
		return connectors.Notice{Facts: []connectors.Fact{{Kind: connectors.OrderUpserted, Order: &told}}}, nil
	case orderChange, quantityChange:
		var n notification
		if err := json.Unmarshal(body, &n); err != nil {
			return connectors.Notice{}, fmt.Errorf("the notification cannot be read: %w", rest.ExplainJSON(err))
		}
		seller := n.Payload.SellerID
		if n.Payload.Order != nil {
			seller = n.Payload.Order.SellerID
		}
		switch {
		case seller != m.seller:
			return connectors.Notice{}, fmt.Errorf("it is about the seller %q, not %q: give each connection a queue of its own, as it takes out all that is in it", seller, m.seller)
		case d.Type == orderChange:
			return connectors.Notice{Pull: true}, nil
		case n.Payload.SKU == "" || !amount(n.Payload.Quantity):
			return connectors.Notice{}, errors.New("the notification lacks its SKU or a whole quantity")
		case n.Payload.Channel != merchant:
			return connectors.Notice{}, nil
		}
		return connectors.Notice{Facts: []connectors.Fact{{Kind: connectors.ListingChanged, Observation: &connectors.Observation{
			Ref: connectors.Ref{Item: n.Payload.SKU}, SKU: n.Payload.SKU, Quantity: n.Payload.Quantity,
		}}}}, nil
	default:
		return connectors.Notice{}, fmt.Errorf("the queue holds %q, which is no notification that was subscribed to: %s must name a queue of its own", d.Type, settingQueue)
	}
}

// MissingSubscriptions implements connectors.Subscriber.
func (m *queuedMarket) MissingSubscriptions(ctx context.Context) ([]string, error) {
	const op = "look after the subscriptions"
	ours, err := m.findDestination(ctx, op)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, name := range []string{orderChange, quantityChange} {
		s, err := m.findSubscription(ctx, op, name)
		if err != nil {
			return nil, err
		}
		if s.ID == "" || ours == "" || s.DestinationID != ours {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// findDestination is the id of our queue among the destinations of the application, empty where it is none.
func (m *queuedMarket) findDestination(ctx context.Context, op string) (string, error) {
	var list wrapped[[]destination]
	if err := m.do(ctx, call{op: op, operation: getDestinations, path: destinations, grantless: true}, &list); err != nil {
		return "", err
	}
	for _, d := range list.Payload {
		if d.Resource.SQS != nil && d.Resource.SQS.ARN == m.queue.arn {
			return d.ID, nil
		}
	}
	return "", nil
}

// findSubscription is the subscription of the seller to a type, without an id where there is none.
func (m *queuedMarket) findSubscription(ctx context.Context, op, name string) (subscription, error) {
	var found wrapped[subscription]
	err := m.do(ctx, call{op: op, operation: getSubscription, path: subscribed + name, query: url.Values{"payloadVersion": {"1.0"}}}, &found)
	if notFound(err) {
		return subscription{}, nil
	}
	return found.Payload, err
}

// Subscribe implements connectors.Subscriber.
func (m *queuedMarket) Subscribe(ctx context.Context, names []string) error {
	const op = "subscribe"
	ours, err := m.findDestination(ctx, op)
	if err != nil {
		return err
	}
	if ours == "" {
		var made wrapped[destination]
		if err := m.do(ctx, call{op: op, operation: createDestination, path: destinations, grantless: true, write: true, body: createDestinationRequest{
			Name: "truestock-" + contentKey([]byte(m.queue.arn)), Resource: resource{SQS: &sqsResource{ARN: m.queue.arn}},
		}}, &made); err != nil {
			return m.explainDestination(err)
		}
		ours = made.Payload.ID
	}
	for _, name := range names {
		if err := m.subscribe(ctx, op, name, ours); err != nil {
			return err
		}
	}
	return nil
}

// explainDestination says what Amazon needs to be allowed at the queue.
func (m *queuedMarket) explainDestination(err error) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || e.Kind != connectors.Rejected {
		return err
	}
	told := *e
	told.Err = fmt.Errorf("%w; in the AWS console, let the account 437568002678 sqs:SendMessage and sqs:GetQueueAttributes in the access policy of the queue %s, which must be a standard queue", e.Err, m.queue.arn)
	return &told
}

func (m *queuedMarket) subscribe(ctx context.Context, op, name, to string) error {
	request := subscribeRequest{PayloadVersion: "1.0", DestinationID: to}
	if name == orderChange {
		request.Directive = &processingDirective{Filter: eventFilter{Type: orderChange, ChangeTypes: []string{"OrderStatusChange", "BuyerRequestedChange"}}}
	}
	status := 0
	err := m.do(ctx, call{op: op, operation: createSubscription, path: subscribed + name, body: request, write: true, status: &status}, nil)
	if status != http.StatusConflict {
		return err
	}
	there, err := m.findSubscription(ctx, op, name)
	if err != nil || there.DestinationID == to {
		return err
	}
	return connectors.Rejectedf(op, "", "the application already sends %s of this seller to another destination, %s: delete that subscription, %s, or name its queue in %s",
		name, m.client.Redact(there.DestinationID), m.client.Redact(there.ID), settingQueue)
}
