package sync

import (
	"slices"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// A channel that can show a listing without a limit is told so while an unlimited article has plenty left. Within the
// engine such a listing shows Endless, a number like any other: it is planned, written, read back and compared as one,
// and becomes finite by an ordinary lower.

// Endless stands for a listing that is shown without a limit.
const Endless = stock.MaxQuantity

// defaultNativePermille is how much of the cap must be left for a listing to be shown without a limit.
const defaultNativePermille = 500

// roomy reports whether so much of the effective cap is left, and no rate so near, that no limit need be shown.
func (a Article) roomy(left, effective stock.Quantity, surge bool) bool {
	share := int64(defaultNativePermille)
	if a.NativePermille != nil {
		share = *a.NativePermille
	}
	return a.Mode == stock.Unlimited && share > 0 && !surge && left > 0 && int64(left)*1000 >= int64(effective)*share
}

// native reports whether a listing is shown without a limit: the channel can, every component has plenty, and no policy
// allows less than what is left.
func (p *planInput) native(key ListingKey, caps *connectors.MarketplaceCapabilities, parts []part) bool {
	if caps == nil || !caps.Unlimited || caps.ShowsGross {
		return false
	}
	return !slices.ContainsFunc(parts, func(c part) bool {
		d, windowed := p.demand[c.SKU]
		return !windowed || !d.roomy || p.poolOf(key, c.SKU) != nil || c.offer.Quantity != c.atp/c.Units
	})
}

// nativeStep tells why a listing is shown without a limit, whatever number that would be.
func nativeStep(left stock.Quantity) stock.Step {
	return stock.Step{Rule: "nothing is near its limit: the channel shows none", Before: left, After: Endless}
}

// inOneNumber makes readings of a channel that can show no limit comparable: what has none shows Endless.
func inOneNumber(caps connectors.MarketplaceCapabilities, readings []connectors.Reading) []connectors.Reading {
	if caps.Unlimited {
		for i := range readings {
			if readings[i].Unlimited {
				readings[i].Quantity, readings[i].Unlimited = Endless, false
			}
		}
	}
	return readings
}
