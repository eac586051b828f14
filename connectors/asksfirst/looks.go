package asksfirst

import (
	"reflect"
	"sync"
	"time"

	"github.com/truestock/truestock/connectors"
)

// retelling is after how long an order that has not changed is told anew: so that what was admitted and came to nothing at the
// platform does not stand for ever.
const retelling = time.Hour

// Looks gives versions to the orders of a platform that tells no instants of change: the version is the instant of the look
// at which an order was found changed. The zero value is ready; it is safe for concurrent use. It is forgotten with the
// process: the first look after that tells every order anew.
type Looks struct {
	mu   sync.Mutex
	told map[string]*look // by order
}

type look struct {
	group   string
	order   connectors.Order // without its version
	version int64
	seen    time.Time
	missed  time.Time // the first look since then that did not have it
}

// certainty is how far apart two looks are that together mean that an order is gone: one alone may be a list that was cut short.
const certainty = time.Minute

// Found is an order of a group as the look that began at the instant has it, with its version. The order comes without one.
func (l *Looks) Found(group string, o connectors.Order, began time.Time) connectors.Order {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told == nil {
		l.told = make(map[string]*look)
	}
	version := began.UnixMilli()
	last, known := l.told[o.OrderID]
	switch {
	case !known:
		last = &look{group: group, order: o, version: version}
		l.told[o.OrderID] = last
	case version < last.version: // a look that began later came earlier
	case reflect.DeepEqual(last.order, o) && version-last.version < retelling.Milliseconds():
	default:
		last.order, last.version = o, version
	}
	if began.After(last.seen) {
		last.seen = began
	}
	return last.told()
}

// Gone are the orders of a group that earlier looks have found and this whole look, which began at the instant, has not, and
// one at least a minute before had not either: they are told as cancelled.
func (l *Looks) Gone(group string, began time.Time) []connectors.Order {
	l.mu.Lock()
	defer l.mu.Unlock()
	var gone []connectors.Order
	for _, last := range l.told {
		if last.group != group || !last.seen.Before(began) {
			continue
		}
		if !last.missed.After(last.seen) {
			last.missed = began
		}
		if began.Sub(last.missed) < certainty {
			continue
		}
		if last.order.Status != connectors.OrderCancelledStatus {
			last.order.Status, last.version = connectors.OrderCancelledStatus, began.UnixMilli()
		}
		gone = append(gone, last.told())
	}
	return gone
}

func (l *look) told() connectors.Order {
	o := l.order
	o.Version, o.UpdatedAt = l.version, time.UnixMilli(l.version).UTC()
	return o
}
