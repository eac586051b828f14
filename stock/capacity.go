package stock

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrFull says that a window or a pool has not enough left.
var ErrFull = errors.New("not enough is left")

// Usage is what one window of a counted pool has given away: so many API calls, gigabytes, hours or seats of at most
// Cap. An order counts in the window that contains the instant at which it was placed, whenever it arrives.
type Usage struct {
	Window Window   `json:"window"`
	Cap    Quantity `json:"cap"`
	Used   Quantity `json:"used"`
}

// Left is what can still be given away, never below zero.
func (u Usage) Left() Quantity { return max(0, u.Cap-u.Used) }

// Admit counts q units that were asked for at an instant, where the window contains it and they fit under the cap; else
// nothing is counted and the error says why. It is ErrFull when they do not fit.
func (u *Usage) Admit(q Quantity, at time.Time) error {
	switch {
	case q < 1 || q > MaxQuantity:
		return refuse("quantity", "is %d: it must be from 1 to %d", q, MaxQuantity)
	case !u.Window.Contains(at):
		return refuse("placed_at", "is %s, outside of the window from %s to %s", utc(at), utc(u.Window.Start), utc(u.Window.End))
	case q > u.Cap-u.Used:
		return fmt.Errorf("%w: %d of %s are asked for and %d of %d are left", ErrFull, q, u.Window.Resource, u.Left(), u.Cap)
	}
	u.Used += q
	return nil
}

// Counted is how an order went into its window.
type Counted struct {
	// Late is true when the window was over when the order arrived.
	Late bool
	// Over is how many units of this order are above the cap.
	Over Quantity
}

// Count books what a channel has sold already and nobody can refuse any more: q units placed at an instant and known
// since now, however many. The window may be over, and the cap may be passed; both are told. A quantity below 1, or an
// instant that is not the window's, is an error.
func (u *Usage) Count(q Quantity, placed, now time.Time) (Counted, error) {
	switch {
	case q < 1:
		return Counted{}, refuse("quantity", "is %d: it must be at least 1", q)
	case !u.Window.Contains(placed):
		return Counted{}, refuse("placed_at", "is %s, outside of the window from %s to %s", utc(placed), utc(u.Window.Start), utc(u.Window.End))
	}
	over := min(q, max(0, u.Used+q-u.Cap))
	u.Used += q
	return Counted{Late: !now.Before(u.Window.End), Over: over}, nil
}

// Return takes back q units that were counted in the window named, and says how many of them can be sold again. It is
// none when they were counted in another window, or when the window is over: yesterday's unit is no unit of today.
func (u *Usage) Return(q Quantity, from WindowID, now time.Time) Quantity {
	if q < 1 || from != u.Window.ID() || !now.Before(u.Window.End) {
		return 0
	}
	q = min(q, u.Used)
	u.Used -= q
	return q
}

// WindowOf finds the window that an order counts in, by the instant at which it was placed. Where the channel does not
// tell it, the instant at which we received the order stands for it, and assumed is true. open is false when the
// calendar has no window then.
func (c Calendar) WindowOf(placed, received time.Time) (w Window, assumed, open bool) {
	at := placed
	if at.IsZero() {
		at, assumed = received, true
	}
	windows := c.Containing(at)
	if len(windows) == 0 {
		return Window{}, assumed, false
	}
	return windows[0], assumed, true
}

// Shift is a span in which a resource (a team, a room, a machine) has a capacity. Shifts of one resource that overlap
// add up.
type Shift struct {
	Window
	Capacity Quantity
}

// Booking is a span for which units of a resource are taken.
type Booking struct {
	Window
	Units Quantity
}

// Need is how many units of a resource one sold unit of a service takes, for the whole of its window.
type Need struct {
	Resource string   `json:"resource"`
	Units    Quantity `json:"units"`
}

// FreeFor is how many units of a resource are free at every instant of the window: at each instant the shifts less the
// bookings, and of all instants the least. It is never below zero.
func FreeFor(resource string, w Window, shifts []Shift, bookings []Booking) Quantity {
	return max(0, balance(resource, w, shifts, bookings))
}

// Lacking is how many units of a resource are booked beyond its shifts at the instant of the window at which most are; 0
// when there are enough at every instant.
func Lacking(resource string, w Window, shifts []Shift, bookings []Booking) Quantity {
	return max(0, -balance(resource, w, shifts, bookings))
}

// balance is the least that shifts less bookings come to at any instant of the window.
func balance(resource string, w Window, shifts []Shift, bookings []Booking) Quantity {
	if !w.Start.Before(w.End) {
		return 0
	}
	// Something begins or ends only at these instants; between two of them nothing changes.
	instants := []time.Time{w.Start}
	inside := func(t time.Time) {
		if t.After(w.Start) && t.Before(w.End) {
			instants = append(instants, t)
		}
	}
	for _, s := range shifts {
		inside(s.Start)
		inside(s.End)
	}
	for _, b := range bookings {
		inside(b.Start)
		inside(b.End)
	}
	least := MaxQuantity
	for _, t := range instants {
		free := Quantity(0)
		for _, s := range shifts {
			if s.Resource == resource && s.Contains(t) {
				free += s.Capacity
			}
		}
		for _, b := range bookings {
			if b.Resource == resource && b.Contains(t) {
				free -= b.Units
			}
		}
		least = min(least, free)
	}
	return least
}

// Slots is how often a service can still be sold in a window: the least that the resources it needs allow, as the least
// component does for a bundle. After the cut-off, and for a service that needs nothing, it is 0.
func Slots(w Window, needs []Need, shifts []Shift, bookings []Booking, cutOff CutOff, zone Zone, now time.Time) Quantity {
	if len(needs) == 0 || !now.Before(cutOff.Of(w, zone)) {
		return 0
	}
	least := MaxQuantity
	for resource, units := range perResource(needs) {
		least = min(least, FreeFor(resource, w, shifts, bookings)/units)
	}
	return least
}

// perResource sums needs of the same resource: two roles that one team fills.
func perResource(needs []Need) map[string]Quantity {
	sums := make(map[string]Quantity, len(needs))
	for _, n := range needs {
		sums[n.Resource] += max(1, n.Units)
	}
	return sums
}

// Bookings are what selling q units of a service in a window takes, in the order of the resources' names.
func Bookings(w Window, needs []Need, q Quantity) []Booking {
	sums := perResource(needs)
	out := make([]Booking, 0, len(sums))
	for resource, units := range sums {
		out = append(out, Booking{Window{resource, w.Start, w.End}, units * q})
	}
	slices.SortFunc(out, func(a, b Booking) int { return cmp.Compare(a.Resource, b.Resource) })
	return out
}
