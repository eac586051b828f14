package azure

import (
	"errors"
	"fmt"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// The actions of operations. Subscribe stands in the documents, not in the OpenAPI document.
const (
	actionChangePlan     = "ChangePlan"
	actionChangeQuantity = "ChangeQuantity"
)

// known are the actions that are understood; more may come.
var known = map[string]bool{actionChangePlan: true, actionChangeQuantity: true, "Subscribe": true, "Renew": true, "Suspend": true, "Reinstate": true, "Unsubscribe": true}

// The statuses of operations.
const (
	operationNotStarted = "NotStarted"
	operationInProgress = "InProgress"
	operationSucceeded  = "Succeeded"
	operationFailed     = "Failed"
	operationConflict   = "Conflict"
)

// operation is what a webhook is about, as a webhook and the interface tell it, and as it is stored. A stored question has
// no Status.
type operation struct {
	ID             string    `json:"id"`
	SubscriptionID string    `json:"subscriptionId"`
	OfferID        string    `json:"offerId,omitzero"`
	PlanID         string    `json:"planId,omitzero"`
	Quantity       *int64    `json:"quantity,omitzero"`
	Action         string    `json:"action"`
	Status         string    `json:"status,omitzero"`
	TimeStamp      time.Time `json:"timeStamp,omitzero"`
}

// changes says whether the operation is of a kind that the seller may refuse.
func (o operation) changes() bool {
	return o.Action == actionChangeQuantity || o.Action == actionChangePlan
}

// asks says whether a stored operation is a question.
func (o operation) asks() bool { return o.changes() && o.Status == "" }

// order is the subscription as it would stand.
func (o operation) order() (*connectors.Order, error) {
	if o.Action == actionChangeQuantity && o.Quantity == nil {
		return nil, errors.New("the operation changes the quantity and does not say to what")
	}
	if o.TimeStamp.IsZero() {
		return nil, errors.New("the operation has no timeStamp")
	}
	line, err := line(o.OfferID, o.PlanID, o.Quantity)
	if err != nil {
		return nil, err
	}
	order := &connectors.Order{OrderID: o.SubscriptionID, Version: o.TimeStamp.UnixMilli(), UpdatedAt: o.TimeStamp.UTC(), Status: connectors.OrderOpen,
		Lines: []connectors.ChannelLine{line}}
	return order, connectors.Fact{Kind: connectors.OrderUpserted, Order: order}.Validate()
}

// line is what a subscription is for. A plan at a flat rate has no quantity: a subscription of it is one. The line is the
// plan's, so that a change of plan takes one line away and brings another.
func line(offer, plan string, quantity *int64) (connectors.ChannelLine, error) {
	if offer == "" || plan == "" {
		return connectors.ChannelLine{}, errors.New("offerId or planId is missing")
	}
	n := stock.Quantity(1)
	if quantity != nil {
		n = stock.Quantity(*quantity)
	}
	if n < 1 || n > stock.MaxQuantity {
		return connectors.ChannelLine{}, fmt.Errorf("quantity is %d: it must be a whole number above 0", n)
	}
	item := offer + "/" + plan
	return connectors.ChannelLine{LineID: item, Ref: connectors.Ref{Item: item}, Quantity: n}, nil
}

// The statuses of subscriptions.
const (
	statusNotStarted   = "NotStarted"
	statusPending      = "PendingFulfillmentStart"
	statusSubscribed   = "Subscribed"
	statusSuspended    = "Suspended"
	statusUnsubscribed = "Unsubscribed"
)

type subscription struct {
	ID          string    `json:"id"`
	OfferID     string    `json:"offerId"`
	PlanID      string    `json:"planId"`
	Quantity    *int64    `json:"quantity"`
	Status      string    `json:"saasSubscriptionStatus"`
	Created     time.Time `json:"created"`
	Beneficiary *identity `json:"beneficiary"`
}

type identity struct {
	EmailID  string `json:"emailId"`
	ObjectID string `json:"objectId"`
	TenantID string `json:"tenantId"`
}

// order is the subscription as it stands, without its version.
func (s subscription) order() (connectors.Order, error) {
	o := connectors.Order{OrderID: s.ID, PlacedAt: s.Created.UTC(), Status: connectors.OrderOpen}
	switch s.Status {
	case statusPending, statusSubscribed, statusSuspended:
	case statusUnsubscribed:
		o.Status = connectors.OrderCancelledStatus
	default:
		return o, fmt.Errorf("saasSubscriptionStatus is %.40q, which is not understood", s.Status)
	}
	if s.Beneficiary != nil && s.Beneficiary.ObjectID != "" {
		o.Buyer = &connectors.Buyer{Ref: s.Beneficiary.ObjectID, Contact: s.Beneficiary.EmailID}
	}
	line, err := line(s.OfferID, s.PlanID, s.Quantity)
	if err != nil {
		return o, err
	}
	o.Lines = []connectors.ChannelLine{line}
	return o, connectors.Fact{Kind: connectors.OrderUpserted, Order: &o}.Validate()
}

type subscriptions struct {
	Subscriptions []subscription `json:"subscriptions"`
	NextLink      string         `json:"@nextLink"`
}

// decision tells the outcome of an operation.
type decision struct {
	PlanID   string `json:"planId,omitzero"`
	Quantity *int64 `json:"quantity,omitzero"`
	Status   string `json:"status"`
}

// activation is what a subscription is activated for.
type activation struct {
	PlanID   string `json:"planId"`
	Quantity *int64 `json:"quantity,omitzero"`
}
