package koogallery

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// The activities of interface 2.0.
const (
	activityNew     = "newInstance"
	activityQuery   = "queryInstance"
	activityRefresh = "refreshInstance"
	activityStatus  = "updateInstanceStatus"
	activityRelease = "releaseInstance"
	activityUpgrade = "upgradeInstance"
)

// The result codes of interface 2.0.
const (
	codeOK          = "000000"
	codeAuth        = "000001"
	codeParameters  = "000002"
	codeInternal    = "000005"
	codeNothingLeft = "000100"
)

// lookedUpOK is the result code of an order that was found.
const lookedUpOK = "MKT.0000"

// activity is a request of the platform. Bought and Buyer are added by us before it is stored.
type activity struct {
	Activity       string    `json:"activity"`
	BusinessID     string    `json:"businessId,omitzero"`
	OrderID        string    `json:"orderId,omitzero"`
	OrderLineID    string    `json:"orderLineId,omitzero"`
	InstanceID     string    `json:"instanceId,omitzero"`
	InstanceStatus string    `json:"instanceStatus,omitzero"`
	Scene          string    `json:"scene,omitzero"`
	ProductID      string    `json:"productId,omitzero"`
	ExpireTime     string    `json:"expireTime,omitzero"`
	TestFlag       string    `json:"testFlag,omitzero"`
	Bought         []product `json:"bought,omitzero"`
	Buyer          string    `json:"buyer,omitzero"`
}

// product is what an order line is for, as the platform tells it.
type product struct {
	SkuCode     string `json:"skuCode,omitzero"`
	ProductID   string `json:"productId,omitzero"`
	LinearValue *int64 `json:"linearValue,omitzero"`
}

// line identifies the order line; it is also the id of the instance.
func (a activity) line() string { return cmp.Or(a.OrderLineID, a.OrderID) }

// about is the instance that an activity is about: an upgrade names it, a new one gets the order line's id.
func (a activity) about() string { return cmp.Or(a.InstanceID, a.line()) }

// key identifies the request over all tries.
func (a activity) key() (string, error) {
	switch a.Activity {
	case activityNew, activityUpgrade:
		if a.OrderID == "" {
			return "", fmt.Errorf("%s has no orderId", a.Activity)
		}
		if a.Activity == activityUpgrade && a.InstanceID == "" {
			return "", fmt.Errorf("%s has no instanceId", a.Activity)
		}
	case activityRelease, activityRefresh, activityStatus, activityQuery:
		if a.InstanceID == "" {
			return "", fmt.Errorf("%s has no instanceId", a.Activity)
		}
	default:
		return "", fmt.Errorf("the activity %.40q is not understood", a.Activity)
	}
	return fmt.Sprintf("%s:%s:%s:%s:%s:%s:%s", a.Activity, a.OrderID, a.OrderLineID, a.InstanceID, a.InstanceStatus, a.Scene, a.ExpireTime), nil
}

// The platform tells no versions: an instance is created, perhaps upgraded, and released.
const (
	created  = 1
	upgraded = 2
	released = 3
)

// order is what the activity asks for.
func (a activity) order() (*connectors.Order, error) {
	if len(a.Bought) == 0 {
		return nil, errors.New("what was bought is not known")
	}
	o := &connectors.Order{OrderID: a.about(), Version: created, Status: connectors.OrderOpen, Buyer: &connectors.Buyer{Ref: a.Buyer}}
	if a.Activity == activityUpgrade {
		o.Version = upgraded
	}
	for i, b := range a.Bought {
		quantity := stock.Quantity(1)
		if b.LinearValue != nil {
			quantity = stock.Quantity(*b.LinearValue)
		}
		if quantity < 1 || quantity > stock.MaxQuantity {
			return nil, fmt.Errorf("linearValue is %d: it must be a whole number above 0", quantity)
		}
		o.Lines = append(o.Lines, connectors.ChannelLine{LineID: fmt.Sprint(i + 1), Ref: connectors.Ref{Item: cmp.Or(b.SkuCode, b.ProductID)}, Quantity: quantity})
	}
	return o, connectors.Fact{Kind: connectors.OrderUpserted, Order: o}.Validate()
}

// lookedUp is the answer of the platform about an order.
type lookedUp struct {
	ResultCode string `json:"resultCode"`
	ResultMsg  string `json:"resultMsg"`
	OrderInfo  struct {
		BuyerInfo struct {
			CustomerID string `json:"customerId"`
		} `json:"buyerInfo"`
		OrderLine []struct {
			OrderLineID string    `json:"orderLineId"`
			ProductInfo []product `json:"productInfo"`
		} `json:"orderLine"`
	} `json:"orderInfo"`
}

// bought is what the line is for; of an order with one line, that line's.
func (l lookedUp) bought(line string) ([]product, error) {
	for _, o := range l.OrderInfo.OrderLine {
		if o.OrderLineID == line || line == "" && len(l.OrderInfo.OrderLine) == 1 {
			if len(o.ProductInfo) == 0 {
				break
			}
			return o.ProductInfo, nil
		}
	}
	return nil, fmt.Errorf("the platform does not say what the line %q is for", line)
}

// result is an answer to the platform.
type result struct {
	Code       string     `json:"resultCode"`
	Message    string     `json:"resultMsg"`
	InstanceID string     `json:"instanceId,omitzero"`
	AppInfo    *appInfo   `json:"appInfo,omitzero"`
	Info       []instance `json:"info,omitzero"`
}

type instance struct {
	InstanceID string   `json:"instanceId"`
	AppInfo    *appInfo `json:"appInfo,omitzero"`
}

type appInfo struct {
	FrontEndURL string `json:"frontEndUrl"`
}
