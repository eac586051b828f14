package googlecloud

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
)

// The types of events that ask. All others only say that something has changed.
const (
	eventCreation   = "ENTITLEMENT_CREATION_REQUESTED"
	eventPlanChange = "ENTITLEMENT_PLAN_CHANGE_REQUESTED"
)

// The states of entitlements. gone is our own word for one that is not there any more.
const (
	stateRequested     = "ENTITLEMENT_ACTIVATION_REQUESTED"
	stateActive        = "ENTITLEMENT_ACTIVE"
	stateEnding        = "ENTITLEMENT_PENDING_CANCELLATION"
	stateCancelled     = "ENTITLEMENT_CANCELLED"
	statePlanChange    = "ENTITLEMENT_PENDING_PLAN_CHANGE"
	statePlanRequested = "ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL"
	stateSuspended     = "ENTITLEMENT_SUSPENDED"
	gone               = "GONE"
)

// push is what Pub/Sub posts: https://cloud.google.com/pubsub/docs/push#receive_push
type push struct {
	Message struct {
		Data      []byte `json:"data"`
		MessageID string `json:"messageId"`
	} `json:"message"`
	Subscription string `json:"subscription"`
}

// event is the message in it.
type event struct {
	EventID     string    `json:"eventId"`
	EventType   string    `json:"eventType"`
	ProviderID  string    `json:"providerId"`
	Entitlement *resource `json:"entitlement"`
	Account     *resource `json:"account"`
}

type resource struct {
	ID         string    `json:"id"`
	UpdateTime time.Time `json:"updateTime"`
}

// stored is an event as it is kept: what it is about, and what Google says of that.
type stored struct {
	Type string `json:"type"`
	// ID is that of the entitlement; empty where the event is about something else.
	ID string `json:"id,omitzero"`
	// Asks: it waits for our decision.
	Asks bool `json:"asks,omitzero"`
	// State is that of the entitlement when it was fetched; empty before.
	State string    `json:"state,omitzero"`
	Item  string    `json:"item,omitzero"`
	Plan  string    `json:"plan,omitzero"`
	Buyer string    `json:"buyer,omitzero"`
	At    time.Time `json:"at,omitzero"`
}

type entitlement struct {
	Name                string    `json:"name"`
	Account             string    `json:"account"`
	Product             string    `json:"product"`
	ProductExternalName string    `json:"productExternalName"`
	Plan                string    `json:"plan"`
	NewPendingPlan      string    `json:"newPendingPlan"`
	NewOfferStartTime   time.Time `json:"newOfferStartTime,omitzero"`
	State               string    `json:"state"`
	CreateTime          time.Time `json:"createTime"`
	UpdateTime          time.Time `json:"updateTime"`
}

// id is the last part of the name.
func (e entitlement) id() string { return e.Name[strings.LastIndexByte(e.Name, '/')+1:] }

// waits says whether it waits for our decision. After an approval a purchase may wait for the start of its offer, which is
// told only then.
func (e entitlement) waits() bool {
	return e.State == stateRequested && e.NewOfferStartTime.IsZero() || e.State == statePlanRequested
}

// item is what is, or will be, sold by it.
func (e entitlement) item() string {
	product, plan := cmp.Or(e.ProductExternalName, e.Product), e.Plan
	if e.State == statePlanRequested || e.State == statePlanChange {
		plan = cmp.Or(e.NewPendingPlan, e.Plan)
	}
	if plan == "" || product == "" {
		return product
	}
	return product + "/" + plan
}

// order is the entitlement as it stands.
func (e entitlement) order() (connectors.Order, error) {
	o := orderOf(e.id(), e.item(), e.Account, e.UpdateTime)
	o.PlacedAt = e.CreateTime.UTC()
	switch e.State {
	case stateCancelled:
		o.Status = connectors.OrderCancelledStatus
	case stateRequested, stateActive, stateEnding, statePlanChange, stateSuspended:
	default:
		return o, fmt.Errorf("the state %.60q is not understood", e.State)
	}
	if e.UpdateTime.IsZero() {
		return o, fmt.Errorf("it has no updateTime")
	}
	return o, connectors.Fact{Kind: connectors.OrderUpserted, Order: &o}.Validate()
}

// orderOf is one of an item. The line is the item's, so that a change of plan takes one line away and brings another.
func orderOf(id, item, account string, at time.Time) connectors.Order {
	o := connectors.Order{OrderID: id, Version: at.UnixMilli(), UpdatedAt: at.UTC(), Status: connectors.OrderOpen,
		Lines: []connectors.ChannelLine{{LineID: item, Ref: connectors.Ref{Item: item}, Quantity: 1}}}
	if account != "" {
		o.Buyer = &connectors.Buyer{Ref: account[strings.LastIndexByte(account, '/')+1:]}
	}
	return o
}

type entitlements struct {
	Entitlements  []entitlement `json:"entitlements"`
	NextPageToken string        `json:"nextPageToken"`
}

// The bodies of decisions.
type (
	approval  struct{}
	rejection struct {
		Reason string `json:"reason"`
	}
	planApproval struct {
		PendingPlanName string `json:"pendingPlanName"`
	}
	planRejection struct {
		PendingPlanName string `json:"pendingPlanName"`
		Reason          string `json:"reason"`
	}
	accountApproval struct {
		ApprovalName string `json:"approvalName"`
	}
)

type account struct {
	Approvals []struct {
		Name  string `json:"name"`
		State string `json:"state"`
	} `json:"approvals"`
}
