package mapping

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/truestock/truestock/stock"
)

const (
	// MaxDepth is how deep kits may be nested: a kit of plain SKUs has depth 1.
	MaxDepth = 32
	// MaxComponents is the most different SKUs in one listing or kit after flattening.
	MaxComponents = 256
)

// Flatten replaces the kits in the table's listings by what they finally consist of: nested kits are resolved, units
// multiplied, and the same SKU from several branches summed. The result has the links of the table in the same order,
// the components of each sorted by SKU and none of them a kit. The table is unchanged.
//
// A table that came from Parse or NewTable can always be flattened. The error of any other names every listing that
// cannot, and why: a cycle as "A → B → A", a nesting deeper than MaxDepth, more than MaxComponents SKUs, or more than
// stock.MaxUnits units of one SKU.
func (t Table) Flatten() ([]Link, error) {
	f := newFlattener(t.Kits)
	links := make([]Link, len(t.Links))
	var errs []error
	for i, l := range t.Links {
		components, err := f.flatten(l.Components)
		if err != nil {
			errs = append(errs, fmt.Errorf("flatten listing %s of %s: %w", l.Ref, l.Connection, err))
			continue
		}
		l.Components = components
		links[i] = l
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return links, nil
}

// flattener resolves kits and remembers those that it resolved.
type flattener struct {
	kits map[stock.SKU][]Component
	done map[stock.SKU]flatKit
	path []stock.SKU // the kits being resolved, outermost first
}

// flatKit is a resolved kit. depth counts the levels of kits from it downwards, itself included.
type flatKit struct {
	components []Component
	depth      int
}

func newFlattener(kits []Kit) *flattener {
	f := &flattener{kits: make(map[stock.SKU][]Component, len(kits)), done: make(map[stock.SKU]flatKit, len(kits))}
	for _, k := range kits {
		f.kits[k.SKU] = k.Components
	}
	return f
}

// kitError says why a kit or a listing cannot be flattened, and which kits are to blame.
type kitError struct {
	reason string
	// first is the kit under which the error is reported: the smallest SKU of a cycle, the kit itself otherwise; empty
	// for a listing.
	first stock.SKU
}

func (e *kitError) Error() string { return e.reason }

// concerns reports whether the error is of the kit itself and not only of another kit that it contains or leads to.
func (e *kitError) concerns(sku stock.SKU) bool { return e.first == sku }

// flatten resolves the components of a listing.
func (f *flattener) flatten(components []Component) ([]Component, *kitError) {
	flat, err := f.expand("", components)
	return flat.components, err
}

// kit resolves one kit.
func (f *flattener) kit(sku stock.SKU) (flatKit, *kitError) {
	if flat, ok := f.done[sku]; ok {
		return flat, nil
	}
	if at := slices.Index(f.path, sku); at >= 0 {
		return flatKit{}, cycleError(f.path[at:])
	}
	if len(f.path) == MaxDepth {
		root := f.path[0]
		return flatKit{}, &kitError{first: root, reason: fmt.Sprintf("kit %s is nested more than %d levels deep", root, MaxDepth)}
	}
	f.path = append(f.path, sku)
	flat, err := f.expand(sku, f.kits[sku])
	f.path = f.path[:len(f.path)-1]
	if err != nil {
		return flatKit{}, err
	}
	flat.depth++
	if flat.depth > MaxDepth {
		return flatKit{}, &kitError{first: sku, reason: fmt.Sprintf("kit %s is nested more than %d levels deep", sku, MaxDepth)}
	}
	f.done[sku] = flat
	return flat, nil
}

// expand sums what components finally consist of. owner is the kit that they belong to, empty for a listing. The depth
// of the result is that of the deepest component.
func (f *flattener) expand(owner stock.SKU, components []Component) (flatKit, *kitError) {
	sums := make(map[stock.SKU]stock.Quantity, len(components))
	add := func(c Component) *kitError {
		sums[c.SKU] += c.Units
		switch {
		case sums[c.SKU] > stock.MaxUnits:
			return &kitError{first: owner, reason: fmt.Sprintf("flattened, it holds %d units of %s: at most %d are taken", sums[c.SKU], c.SKU, stock.MaxUnits)}
		case len(sums) > MaxComponents:
			return &kitError{first: owner, reason: fmt.Sprintf("flattened, it holds more than %d different SKUs", MaxComponents)}
		}
		return nil
	}
	depth := 0
	for _, c := range components {
		if reason := checkUnits(c.Units); reason != "" {
			return flatKit{}, &kitError{first: owner, reason: fmt.Sprintf("it holds %d units of %s: %s", c.Units, c.SKU, reason)}
		}
		if _, ok := f.kits[c.SKU]; !ok {
			if err := add(c); err != nil {
				return flatKit{}, err
			}
			continue
		}
		inner, err := f.kit(c.SKU)
		if err != nil {
			return flatKit{}, err
		}
		depth = max(depth, inner.depth)
		for _, part := range inner.components {
			if err := add(Component{SKU: part.SKU, Units: part.Units * c.Units}); err != nil {
				return flatKit{}, err
			}
		}
	}
	return flatKit{components: sorted(sums), depth: depth}, nil
}

func sorted(sums map[stock.SKU]stock.Quantity) []Component {
	components := make([]Component, 0, len(sums))
	for sku, units := range sums {
		components = append(components, Component{SKU: sku, Units: units})
	}
	slices.SortFunc(components, func(a, b Component) int { return cmp.Compare(a.SKU, b.SKU) })
	return components
}

// cycleError names a cycle from its smallest SKU on, so that it reads the same wherever it is entered.
func cycleError(cycle []stock.SKU) *kitError {
	start := slices.Index(cycle, slices.Min(cycle))
	var text strings.Builder
	for i := range cycle {
		text.WriteString(string(cycle[(start+i)%len(cycle)]) + " → ")
	}
	text.WriteString(string(cycle[start]))
	return &kitError{first: cycle[start], reason: "kits contain each other in a cycle: " + text.String()}
}
