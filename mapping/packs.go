package mapping

import (
	"fmt"

	"github.com/truestock/truestock/stock"
)

// Packs is how many whole units of a listing its components allow: the least of what each component allows, never
// negative, and 0 for a listing without components. offer tells how many whole packs of units base units each one SKU
// allows, rounded down; stock.Policy.Offer does.
func Packs(components []Component, offer func(sku stock.SKU, units stock.Quantity) stock.Quantity) stock.Quantity {
	return least(components, func(c Component) stock.Quantity { return offer(c.SKU, c.Units) })
}

// Shipped is how many whole units of a listing have left when shipped holds the base units of each SKU that left for
// it. A bundle has left when all of it has: a part shipped alone counts nothing yet. It is never negative.
func Shipped(components []Component, shipped map[stock.SKU]stock.Quantity) stock.Quantity {
	return least(components, func(c Component) stock.Quantity { return shipped[c.SKU] / max(1, c.Units) })
}

func least(components []Component, packs func(Component) stock.Quantity) stock.Quantity {
	if len(components) == 0 {
		return 0
	}
	fewest := stock.MaxQuantity
	for _, c := range components {
		fewest = min(fewest, packs(c))
	}
	return max(0, fewest)
}

// Part is a number of base units of one SKU.
type Part struct {
	SKU      stock.SKU
	Quantity stock.Quantity
}

// Explode is what packs units of a listing consist of, in the order of the components. It refuses a negative number of
// packs, units that are out of range, and a part above stock.MaxQuantity.
func Explode(components []Component, packs stock.Quantity) ([]Part, error) {
	if packs < 0 {
		return nil, fmt.Errorf("explode %d packs: the number is below 0", packs)
	}
	parts := make([]Part, len(components))
	for i, c := range components {
		if c.Units < 1 || c.Units > stock.MaxUnits {
			return nil, fmt.Errorf("explode %d packs: a pack holds %d units of %s: it must hold from 1 to %d", packs, c.Units, c.SKU, stock.MaxUnits)
		}
		if packs > stock.MaxQuantity/c.Units {
			return nil, fmt.Errorf("explode %d packs of %d units of %s: the sum is above %d", packs, c.Units, c.SKU, stock.MaxQuantity)
		}
		parts[i] = Part{SKU: c.SKU, Quantity: packs * c.Units}
	}
	return parts, nil
}
