package simtest

import (
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// act lets something happen in the world.
func (s *sim) act(i int, a Action) {
	spec := s.world.shops[a.A%uint64(len(s.world.shops))]
	shop := s.shops[spec.name]
	switch a.Kind {
	case "buy":
		s.buy(a)
	case "cancel":
		if o, ok := s.someOrder(spec, shop, a.B); ok {
			s.touched[o.OrderID] = true
			s.journal.note("cancel %s: %t", o.OrderID, shop.Cancel(o.OrderID))
		}
	case "cancel_some":
		if o, ok := s.someOrder(spec, shop, a.B); ok {
			line := o.Lines[a.C%uint64(len(o.Lines))]
			s.touched[o.OrderID] = true
			s.journal.note("cancel one of %s line %s: %t", o.OrderID, line.LineID, shop.PartialCancel(o.OrderID, line.LineID, 1))
		}
	case "edit":
		if o, ok := s.someOrder(spec, shop, a.B); ok {
			line := o.Lines[a.C%uint64(len(o.Lines))]
			if s.ruledLine(spec, line) {
				return // in which window, of which pool or with which key more is sold, the first order decides
			}
			q := 1 + int64(a.C>>8%4)
			s.touched[o.OrderID] = true
			s.journal.note("edit %s line %s to %d: %t", o.OrderID, line.LineID, q, shop.Edit(o.OrderID, line.LineID, q))
			s.watchSold()
		}
	case "hand":
		s.editByHand(a)
	case "map":
		if i := s.someListing(a, func(i int) bool { return !s.mapped[i] }); i >= 0 {
			s.journal.note("map %s", s.listingName(i))
			s.link(i)
		}
	case "remap":
		s.remap(a)
	case "outage":
		s.outage(a)
	case "crash":
		s.crashIn = 1 + int(a.B%60)
		s.journal.note("crash in %d", s.crashIn)
	case "snatch":
		s.snatches = append(s.snatches, a)
	case "swizzle":
		s.swizzle(a)
	case "rival":
		s.rival(a)
	case "vanish":
		s.vanish(a)
	case "export":
		for range 1 + a.A%3 {
			s.exports = append(s.exports, a.B)
		}
	case "late":
		host := s.host(a.A)
		s.late[host]++
	case "pause":
		s.pause(a)
	case "reconcile":
		s.reconcile()
	case "stocktake":
		s.stocktake(a)
	default:
		if !s.actRuled(a) && !s.actFaulty(a) {
			s.actWarehouse(a)
		}
	}
}

// ruledLine reports whether a line is of what is sold by a rule.
func (s *sim) ruledLine(spec shopSpec, line open.OrderLine) bool {
	for _, l := range s.world.listings {
		if l.rule != "" && l.item == line.Item && s.world.shops[l.shop].name == spec.name {
			return true
		}
	}
	return false
}

// buy is a customer: mostly one line, sometimes two, more often of the guarded listings.
func (s *sim) buy(a Action) {
	first := s.world.listings[a.B%uint64(len(s.world.listings))]
	if a.C%3 == 0 {
		first = s.world.listings[a.B%2]
	}
	spec := s.world.shops[first.shop]
	lines := []fake.BuyLine{{Item: first.item, Quantity: 1 + int64(a.C>>4%4)}}
	if a.C>>8%5 == 0 {
		if second := s.world.listings[a.C>>12%uint64(len(s.world.listings))]; second.shop == first.shop && second.item != first.item {
			lines = append(lines, fake.BuyLine{Item: second.item, Quantity: 1 + int64(a.C>>20%2)})
		}
	}
	id, ok := s.shops[spec.name].Order(lines...)
	s.journal.note("buy at %s %v: %s %t", spec.name, lines, id, ok)
	if ok {
		s.result.Orders++
		s.watchSold()
	}
}

// snatch lets a customer who has waited for the moment buy at a shop that the engine is about to call: between a
// reading and the orders, or between the orders and the write.
func (s *sim) snatch(host, path string) {
	if len(s.snatches) == 0 || s.shops[host] == nil {
		return
	}
	a := s.snatches[0]
	if path != []string{"/stock/write", "/stock/write", "/orders", "/stock/read"}[a.B%4] {
		return
	}
	var here []listingSpec
	for _, l := range s.world.listings {
		if s.world.shops[l.shop].name == host {
			here = append(here, l)
			if l.guarded {
				here = append(here, l, l, l, l)
			}
		}
	}
	if len(here) == 0 {
		return
	}
	s.snatches = s.snatches[1:]
	l := here[a.A%uint64(len(here))]
	id, ok := s.shops[host].Buy(l.item, 1+int64(a.C%3))
	s.journal.note("snatch %s at %s before %s: %s %t", l.item, host, path, id, ok)
	if ok {
		s.result.Orders++
		s.watchSold()
	}
}

// someOrder picks an order that may still change. Where a shop puts cancelled units back on sale by itself, an order of
// which the warehouse has sent or rejected something is left alone: the shop would put up what is not there, and no
// other system can keep it from that.
func (s *sim) someOrder(spec shopSpec, shop *fake.Shop, n uint64) (open.Order, bool) {
	var orders []open.Order
	for _, o := range shop.Orders() {
		if o.Status == "open" && !(spec.restocks && s.begun(spec, o)) {
			orders = append(orders, o)
		}
	}
	if len(orders) == 0 {
		return open.Order{}, false
	}
	return orders[n%uint64(len(orders))], true
}

func (s *sim) begun(spec shopSpec, o open.Order) bool {
	for _, r := range s.warehouse.Orders() {
		if r.Key != mapping.OrderKey(stock.ConnectionID(spec.name), o.OrderID) {
			continue
		}
		for _, l := range r.Lines {
			if l.Shipped > 0 || l.Rejected > 0 {
				return true
			}
		}
	}
	return false
}

// someListing picks one of the listings that fit, -1 where none does.
func (s *sim) someListing(a Action, fits func(i int) bool) int {
	var found []int
	for i, l := range s.world.listings {
		if !l.guarded && fits(i) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return -1
	}
	return found[a.B%uint64(len(found))]
}

// editByHand is a person who changes a quantity at a shop.
func (s *sim) editByHand(a Action) {
	i := s.someListing(a, func(int) bool { return true })
	l := s.world.listings[i]
	q := int64(a.C % 12)
	s.journal.note("somebody sets %s to %d", s.listingName(i), q)
	s.shops[s.world.shops[l.shop].name].SetQuantity(l.item, "", q)
}

// remap changes how many units are in a pack, while orders may be open.
func (s *sim) remap(a Action) {
	i := s.someListing(a, func(i int) bool { return s.mapped[i] })
	if i < 0 || s.engine == nil {
		return
	}
	parts := make([]partSpec, 0, len(s.parts[i]))
	for _, p := range s.parts[i] {
		parts = append(parts, partSpec{p.sku, 1 + int64(a.C%3)})
	}
	s.parts[i], s.remapped[i] = parts, true
	s.journal.note("map %s anew: %v", s.listingName(i), parts)
	s.link(i)
}

// host picks a shop or the warehouse.
func (s *sim) host(n uint64) string {
	if i := n % uint64(len(s.world.shops)+1); i < uint64(len(s.world.shops)) {
		return s.world.shops[i].name
	}
	return recordName
}

func (s *sim) outage(a Action) {
	host := s.host(a.A)
	long := time.Duration(5+a.B%60) * time.Second
	if a.C%3 == 0 {
		long = time.Duration(1+a.B%15) * time.Minute
	}
	s.journal.note("%s is not reached for %s", host, long)
	s.outages[host]++
	s.after(long, "outage ends", func() {
		if s.outages[host] > 0 {
			s.outages[host]--
		}
	})
}

func (s *sim) pause(a Action) {
	if s.engine == nil {
		return
	}
	host := s.host(a.A)
	s.journal.note("pause %s: %v", host, s.engine.Pause(s.ctx, stock.ConnectionID(host), "operator"))
	s.resumeLater(host)
}

// actWarehouse is what people in the warehouse do. What nobody can foresee never befalls a guarded article.
func (s *sim) actWarehouse(a Action) {
	w := s.warehouse
	stocked, plain := s.world.stocked(), s.world.plain()
	any := stocked[a.A%uint64(len(stocked))]
	free := plain[2+a.A%uint64(len(plain)-2)]
	at := s.world.locations[a.B%uint64(len(s.world.locations))].ID
	few := 1 + int64(a.C%6)
	var err error
	switch a.Kind {
	case "receive":
		err = w.Receive(any.sku, at, few)
		s.journal.note("receive %d of %s at %s: %v", few, any.sku, at, err)
	case "ship":
		s.journal.note("ship all: %d", w.ShipAll())
	case "ship_one":
		s.shipOne(a)
	case "return":
		sellable := a.C>>8%2 == 0
		key, sku := s.sent(a)
		if sku == "" {
			return
		}
		if !s.world.positions && s.world.guards(sku) {
			sellable = true // a warehouse without positions counts a broken unit before it says that it is broken
		}
		err = w.ReturnGoods(key, sku, at, 1, sellable)
		s.journal.note("one of %s comes back to %s, sellable %t: %v", sku, at, sellable, err)
	case "adjust":
		delta := few - 4
		if delta != 0 {
			err = w.Adjust(free.sku, at, delta)
		}
		s.journal.note("adjust %s at %s by %d: %v", free.sku, at, delta, err)
	case "count":
		err = w.Count(free.sku, at, few*3)
		s.journal.note("count %s at %s: %d %v", free.sku, at, few*3, err)
	case "damage":
		if w.OnHandOf(free.sku, at) > few {
			err = w.Damage(free.sku, at, few)
		}
		s.journal.note("damage %d of %s at %s: %v", few, free.sku, at, err)
	case "transfer":
		to := s.world.locations[0].ID
		if to != at && w.OnHandOf(any.sku, at) > few {
			err = w.Transfer(any.sku, at, to, few)
		}
		s.journal.note("move %d of %s from %s: %v", few, any.sku, at, err)
	case "reject":
		if orders := w.Orders(); len(orders) > 0 {
			o := orders[a.B%uint64(len(orders))]
			s.journal.note("the warehouse rejects %s: %t", o.Key, w.Reject(o.Key))
		}
	default:
		s.violate("nobody knows how to %q", a.Kind)
	}
	if err != nil {
		s.violate("%s: %v", a.Kind, err)
	}
}

// shipOne sends a part of one order.
func (s *sim) shipOne(a Action) {
	orders := s.warehouse.Orders()
	if len(orders) == 0 {
		return
	}
	o := orders[a.B%uint64(len(orders))]
	l := o.Lines[a.C%uint64(len(o.Lines))]
	id, ok := s.warehouse.Ship(o.Key, fake.ShippedLine{LineID: l.LineID, Quantity: 1})
	s.journal.note("ship one of %s line %s: %s %t", o.Key, l.LineID, id, ok)
}

// sent finds something that was sent and can come back.
func (s *sim) sent(a Action) (key, sku string) {
	type parcel struct{ key, sku string }
	var out []parcel
	for _, o := range s.warehouse.Orders() {
		for _, l := range o.Lines {
			if l.Shipped > 0 {
				out = append(out, parcel{o.Key, l.SKU})
			}
		}
	}
	if len(out) == 0 {
		return "", ""
	}
	p := out[a.B%uint64(len(out))]
	return p.key, p.sku
}
