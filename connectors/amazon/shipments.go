package amazon

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// carriers are carrier codes of which the spelling is known; for any other carrier the code is Other, and the name is told.
var carriers = []string{"UPS", "USPS", "FedEx", "DHL", "DPD", "GLS", "Royal Mail", "Deutsche Post", "La Poste", "Poste Italiane", "Correos", "PostNL"}

// WriteShipment implements connectors.ShipmentWriter: one package, whose reference is made of the key. What the order says
// of a package with that reference is not told again.
func (m *market) WriteShipment(ctx context.Context, notice connectors.ShipmentNotice) error {
	const op = "write a shipment"
	detail, err := packageOf(op, notice)
	if err != nil {
		return err
	}
	o, err := m.findOrder(ctx, op, notice.OrderID, fulfilled+",PACKAGES")
	if err != nil {
		return err
	}
	for _, p := range o.Packages {
		if p.Reference == detail.Reference {
			return nil
		}
	}
	if err := o.takes(op, detail.Items); err != nil {
		return err
	}
	marketplace := o.SalesChannel.MarketplaceID
	if marketplace == "" {
		marketplace = m.marketplaces[0]
	}
	return m.do(ctx, call{
		op: op, operation: confirmShipment, path: "/orders/v0/orders/" + url.PathEscape(notice.OrderID) + "/shipmentConfirmation",
		body: confirmRequest{MarketplaceID: marketplace, Package: detail}, write: true,
	}, nil)
}

// packageOf translates the notice.
func packageOf(op string, notice connectors.ShipmentNotice) (packageDetail, error) {
	carrier, tracking := strings.TrimSpace(notice.Carrier), strings.TrimSpace(notice.Tracking)
	switch {
	case notice.Key == "":
		return packageDetail{}, connectors.Rejectedf(op, "", "the shipment of order %s has no key", notice.OrderID)
	case carrier == "" || tracking == "":
		return packageDetail{}, connectors.Rejectedf(op, "", "the shipment of order %s lacks its carrier or its tracking number, without which Amazon takes none: "+
			"confirm it in Seller Central → Orders → Manage Orders", notice.OrderID)
	}
	detail := packageDetail{Reference: reference(notice.Key), CarrierCode: "Other", CarrierName: carrier, Tracking: tracking, ShipDate: time.Now().UTC().Format(time.RFC3339)}
	for _, code := range carriers {
		if strings.EqualFold(code, carrier) {
			detail.CarrierCode, detail.CarrierName = code, ""
		}
	}
	at := map[string]int{}
	for _, l := range notice.Lines {
		if l.Quantity < 0 || l.Quantity > math.MaxInt32 {
			return packageDetail{}, connectors.Rejectedf(op, "", "quantity %d of line %s: it must be from 0 to %d", l.Quantity, l.LineID, math.MaxInt32)
		}
		if i, seen := at[l.LineID]; seen {
			detail.Items[i].Quantity += l.Quantity
		} else if l.Quantity > 0 {
			at[l.LineID] = len(detail.Items)
			detail.Items = append(detail.Items, shippedUnits{ItemID: l.LineID, Quantity: l.Quantity})
		}
	}
	if len(detail.Items) == 0 {
		return packageDetail{}, connectors.Rejectedf(op, "", "the shipment of order %s has no units", notice.OrderID)
	}
	return detail, nil
}

// reference makes a package's reference of a key: Amazon takes positive numbers only, as text (PackageReferenceId).
func reference(key string) string {
	sum := sha256.Sum256([]byte(key))
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(sum[:]))+1, 10)
}

// takes refuses a shipment that the order has no room for.
func (o order) takes(op string, units []shippedUnits) error {
	if o.Fulfillment != nil && strings.HasPrefix(o.Fulfillment.Status, "PENDING") {
		return connectors.Rejectedf(op, "", "order %s is still pending: Amazon has not released it for shipment", o.ID)
	}
	for _, u := range units {
		left := stock.Quantity(-1)
		for _, i := range o.Items {
			if i.ID == u.ItemID && amount(i.Ordered) {
				left = *i.Ordered
				if i.Fulfillment != nil && i.Fulfillment.Fulfilled != nil {
					left -= *i.Fulfillment.Fulfilled
				}
			}
		}
		switch {
		case left < 0:
			return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("order %s has no line %s", o.ID, u.ItemID)}
		case u.Quantity > left:
			return connectors.Rejectedf(op, "", "%d units of line %s of order %s are shipped, and only %d are left to ship: compare with Seller Central → Orders → Manage Orders",
				u.Quantity, u.ItemID, o.ID, left)
		}
	}
	return nil
}
