package mapping

import (
	"fmt"
	"strings"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// OrderKey is the key under which an order of a channel is known at the system of record: "<channel>:<orderID>". Two
// orders never share a key, because a connection's name contains no colon.
func OrderKey(channel stock.ConnectionID, orderID string) string {
	return string(channel) + ":" + orderID
}

// ParseOrderKey is the inverse of OrderKey: it splits at the first colon. ok is false for a key that OrderKey does not
// make: without a colon, without a channel or without an order.
func ParseOrderKey(key string) (channel stock.ConnectionID, orderID string, ok bool) {
	name, id, ok := strings.Cut(key, ":")
	if !ok || name == "" || id == "" {
		return "", "", false
	}
	return stock.ConnectionID(name), id, true
}

// RecordLineID is the id of a line at the system of record. A channel's line whose listing has one component keeps its
// own line id; a bundle becomes one line per component, each called "<lineID>/<sku>". components is the number of
// components of the flattened listing.
//
// Ids made so can collide within an order when a channel's line ids or the SKUs contain slashes. RecordLines refuses
// such an order.
func RecordLineID(lineID string, components int, sku stock.SKU) string {
	if components == 1 {
		return lineID
	}
	return lineID + "/" + string(sku)
}

// SoldLine is one line of a channel's order: so many packs of a flattened listing.
type SoldLine struct {
	LineID     string
	Components []Component
	Packs      stock.Quantity
}

// RecordLines are the lines of a channel's order as the system of record gets them: base units of SKUs, in the order of
// the lines and their components. It refuses what Explode refuses, a line without components, and an order in which two
// lines would have the same id.
func RecordLines(lines []SoldLine) ([]connectors.OrderLine, error) {
	var out []connectors.OrderLine
	from := make(map[string]string, len(lines))
	for _, l := range lines {
		if len(l.Components) == 0 {
			return nil, fmt.Errorf("line %s sells a listing without components: map the listing first", l.LineID)
		}
		parts, err := Explode(l.Components, l.Packs)
		if err != nil {
			return nil, fmt.Errorf("line %s: %w", l.LineID, err)
		}
		for _, p := range parts {
			id := RecordLineID(l.LineID, len(l.Components), p.SKU)
			if other, taken := from[id]; taken {
				return nil, fmt.Errorf("lines %q and %q would both be called %q at the system of record", other, l.LineID, id)
			}
			from[id] = l.LineID
			out = append(out, connectors.OrderLine{LineID: id, SKU: p.SKU, Quantity: p.Quantity})
		}
	}
	return out, nil
}
