package stock

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what a unit of a SKU is, and with it how it sells, refills and resets.
type Kind string

// The kinds.
const (
	// Physical goods are counted by the system of record and leave with a shipment.
	Physical Kind = "physical"
	// Licence goods are keys, each of which goes to one order line for ever. Refilled by importing keys; never reset.
	Licence Kind = "licence"
	// Quota goods are units of a quota: API calls, data, hours, seats. Every window of a calendar begins with all.
	Quota Kind = "quota"
	// Service is the capacity of people or machines in a window that lies ahead of the order.
	Service Kind = "service"
)

// Mode says how many units of an item can be sold.
type Mode string

// The modes.
const (
	// Finite sells what is there.
	Finite Mode = "finite"
	// Unlimited sells on without stock, up to an effective cap per window.
	Unlimited Mode = "unlimited"
	// Pooled sells only from pools that are set aside; nothing of it is open for sale otherwise.
	Pooled Mode = "reserved"
)

// ItemRule is how one SKU, or one listing of it, is sold.
type ItemRule struct {
	Kind Kind `json:"kind"`
	Mode Mode `json:"mode"`
	// Calendar makes the windows: of the quota, of the service, or of the effective cap of an unlimited item.
	Calendar *Calendar `json:"calendar,omitempty"`
	// Cap is the most per window; an unlimited or counted item needs one.
	Cap *Quantity `json:"cap,omitempty"`
}

// Validate names the first field that makes no sense, alone or with the others.
func (r ItemRule) Validate() error {
	switch r.Kind {
	case Physical, Licence, Quota, Service:
	default:
		return refuse("kind", "is %q: write physical, licence, quota or service", r.Kind)
	}
	switch r.Mode {
	case Finite, Unlimited, Pooled:
	default:
		return refuse("mode", "is %q: write finite, unlimited or reserved", r.Mode)
	}
	if r.Calendar != nil {
		if err := r.Calendar.Validate(); err != nil {
			return within("calendar", err)
		}
	}
	if r.Cap != nil {
		if err := between("cap", *r.Cap, 0, MaxQuantity); err != nil {
			return err
		}
	}
	switch {
	case r.Kind == Licence && r.Mode == Unlimited:
		return refuse("mode", "is unlimited for licences: there are as many as there are keys")
	case r.Kind == Service && r.Mode == Unlimited:
		return refuse("mode", "is unlimited for a service: its shifts bound it")
	case r.Kind == Service && r.Calendar == nil, r.Kind == Quota && r.Calendar == nil:
		return refuse("calendar", "is missing: a %s item is sold by windows", r.Kind)
	case r.Mode == Unlimited && r.Calendar == nil:
		return refuse("calendar", "is missing: what is unlimited still has an effective cap per window")
	case r.Cap == nil && (r.Mode == Unlimited || r.Kind == Quota):
		return refuse("cap", "is missing: say how many may be sold per window")
	}
	return nil
}

// Open is how many units are open for sale outside of pools: what is there, what is left in the window, or nothing.
// left is what the window has left, for an unlimited or a counted item; atp is what is available to promise, for the
// others: goods on the shelf, keys that nobody has, slots that are free.
func (r ItemRule) Open(atp, left Quantity) Quantity {
	switch {
	case r.Mode == Pooled:
		return 0
	case r.Mode == Unlimited || r.Kind == Quota:
		return max(0, left)
	default:
		return atp
	}
}

// KeyRequest asks for keys for one unit after another of an order line.
type KeyRequest struct {
	Line     string // the order line, unique over all channels
	Quantity Quantity
}

// KeyGrant gives one key, by the place that its row has, to the unit N of an order line, counted from 1. (Line, N) is
// unique, and so is Key: for ever.
type KeyGrant struct {
	Line string
	N    Quantity
	Key  int64
}

// GrantKeys gives free keys to the lines that ask, first come first served. A line that has keys already gets only what
// it lacks, whichever of its units have them, so asking again changes nothing. held are all grants ever made. waiting tells how many units of each line
// found no key, in the order of the requests.
func GrantKeys(free []int64, held []KeyGrant, requests []KeyRequest) (granted []KeyGrant, waiting []KeyRequest) {
	taken := make(map[int64]bool, len(held))
	units := make(map[string]map[Quantity]bool)
	give := func(g KeyGrant) {
		taken[g.Key] = true
		if units[g.Line] == nil {
			units[g.Line] = make(map[Quantity]bool)
		}
		units[g.Line][g.N] = true
	}
	for _, g := range held {
		give(g)
	}
	next := 0
	lacks := func(r KeyRequest) Quantity { return max(0, r.Quantity-Quantity(len(units[r.Line]))) }
	wanted := make(map[string]Quantity, len(requests)) // the same line again asks for the same
	for _, r := range requests {
		wanted[r.Line] = max(wanted[r.Line], r.Quantity)
		for n := Quantity(1); lacks(r) > 0; n++ {
			if units[r.Line][n] {
				continue
			}
			for next < len(free) && taken[free[next]] {
				next++
			}
			if next == len(free) {
				break
			}
			g := KeyGrant{r.Line, n, free[next]}
			give(g)
			granted = append(granted, g)
		}
	}
	for _, r := range requests {
		if lacking := lacks(KeyRequest{r.Line, wanted[r.Line]}); lacking > 0 {
			waiting = append(waiting, KeyRequest{r.Line, lacking})
		}
		wanted[r.Line] = 0
	}
	return granted, waiting
}

// CheckKeys refuses a file of keys with an empty one or one that is there twice. The error names rows, from 1, and never
// a key.
func CheckKeys(keys []string) error {
	seen := make(map[string]int, len(keys))
	for i, key := range keys {
		row := i + 1
		if strings.TrimSpace(key) == "" {
			return refuse(fmt.Sprintf("keys[%d]", row), "is empty")
		}
		if first, twice := seen[key]; twice {
			return refuse(fmt.Sprintf("keys[%d]", row), "is the same as keys[%d]", first)
		}
		seen[key] = row
	}
	return nil
}

// within puts the name of the enclosing field before that of a FieldError.
func within(field string, err error) error {
	if f, ok := errors.AsType[*FieldError](err); ok {
		return &FieldError{Field: field + "." + f.Field, Reason: f.Reason}
	}
	return err
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
