package simtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// The oracles. They know the world by the pretend systems alone, and compute what must be with sums of their own.

// promise is what one order line takes of one article, in base units.
type promise struct {
	order, line, sku string
	shop, id, item   string // where it was ordered, under which id, and what was bought
	wanted           int64  // ordered and not cancelled
	shipped          int64
	rejected         int64
}

// open is what is still owed.
func (p promise) open() int64 { return max(0, p.wanted-p.shipped-p.rejected) }

// promises lists what all shops have promised. known limits it to orders that the engine knows; nil means all.
func (s *sim) promises(known func(key stocksync.OrderKey) bool) []promise {
	records := map[string]fake.RecordedOrder{}
	for _, o := range s.warehouse.Orders() {
		records[o.Key] = o
	}
	var out []promise
	for _, spec := range s.world.shops {
		for _, o := range s.shops[spec.name].Orders() {
			key := mapping.OrderKey(stock.ConnectionID(spec.name), o.OrderID)
			if known != nil && !known(stocksync.OrderKey{Channel: stock.ConnectionID(spec.name), OrderID: o.OrderID}) {
				continue
			}
			record, recorded := records[key]
			for _, l := range o.Lines {
				parts := s.partsOf(spec.name, o.OrderID, l)
				for _, part := range parts {
					p := promise{order: key, line: l.LineID, sku: part.sku, shop: spec.name, id: o.OrderID, item: l.Item, wanted: max(0, *l.Quantity-*l.Cancelled) * part.units}
					if recorded {
						if r := recordLine(record, l.LineID, part.sku, len(parts)); r != nil {
							p.shipped, p.rejected = r.Shipped, r.Rejected
						}
					}
					out = append(out, p)
				}
			}
		}
	}
	return out
}

// partsOf is what a line sells. The mapping at the time at which the engine first met the line decides: where a listing
// was mapped anew, only the engine can tell when that was, and is asked.
func (s *sim) partsOf(shop, orderID string, l open.OrderLine) []partSpec {
	if i, known := s.places[open.Ref{Item: l.Item, Place: shop}]; known {
		if !s.remapped[i] || s.engine == nil {
			return s.parts[i]
		}
		v, err := s.engine.Order(context.Background(), stocksync.OrderKey{Channel: stock.ConnectionID(shop), OrderID: orderID})
		if err != nil {
			return s.parts[i]
		}
		for _, line := range v.Lines {
			if line.LineID == l.LineID && len(line.Components) > 0 {
				var parts []partSpec
				for _, c := range line.Components {
					parts = append(parts, partSpec{string(c.SKU), int64(c.Units)})
				}
				return parts
			}
		}
		return s.parts[i]
	}
	return nil
}

// recordLine finds the line of an order at the warehouse that stands for one article of a line of a shop's order.
func recordLine(o fake.RecordedOrder, lineID, sku string, parts int) *fake.RecordedLine {
	id := lineID
	if parts > 1 {
		id += "/" + sku
	}
	sku = recordSKU(sku)
	for i := range o.Lines {
		if (o.Lines[i].LineID == id || o.Lines[i].LineID == lineID) && o.Lines[i].SKU == sku {
			return &o.Lines[i]
		}
	}
	return nil
}

// watchSold counts what was sold beyond what there is, when it is sold.
func (s *sim) watchSold() {
	sold := map[string]int64{}
	for _, p := range s.promises(nil) {
		sold[p.sku] += max(p.wanted-p.rejected, p.shipped)
	}
	s.watchWindows()
	for _, a := range s.world.articles {
		supply := s.warehouse.StockOf(a.sku).Supply()
		switch a.rule {
		case ruleWindow, ruleKeys, ruleService:
			continue // there is no stock of them that could be sold twice
		case ruleRatio:
			supply = s.most(supply)
		}
		over := max(0, sold[a.sku]-supply)
		if more := over - s.oversold[a.sku]; more > 0 {
			s.journal.note("%d of %s are sold and not there", more, a.sku)
			only := s.world.shops[0].caps
			switch {
			case a.rule == ruleRatio && only.ConditionalWrite && !s.world.shops[0].restocks: // else what is cancelled can be sent and put up again
				s.violate("%d units of %s are sold beyond the highest ratio, although one conditional listing alone sells it", more, a.sku)
			case !a.guarded:
				s.result.OversoldOther += more
			case only.ConditionalWrite:
				s.result.OversoldCAS += more
				s.violate("%d units of %s are sold and not there, although one conditional listing alone sells it", more, a.sku)
			case only.DeltaWrite:
				s.result.OversoldDelta += more
				s.violate("%d units of %s are sold and not there, although one listing alone sells it, which takes changes", more, a.sku)
			case only.QuantityMeans == "":
				s.result.OversoldRaw += more
			default:
				s.result.OversoldOther += more
			}
		}
		s.oversold[a.sku] = over
	}
}

// sampleUntil takes the samples that are due before an instant.
func (s *sim) sampleUntil(end time.Time) {
	for {
		at := s.start.Add(time.Duration(s.sampled+1) * sampleEvery)
		if s.healed || !at.Before(end) {
			return
		}
		s.sampled++
		time.Sleep(time.Until(at))
		s.sample()
	}
}

// sample compares what the listings of guarded articles offer with what somebody would offer who knows everything.
func (s *sim) sample() {
	s.watchStops()
	free := s.free(nil)
	for i := range 2 {
		l := s.world.listings[i]
		spec := s.world.shops[l.shop]
		ideal := s.offer(i, free)
		if most := spec.caps.MaxQuantity; most > 0 {
			ideal = min(ideal, most)
		}
		s.result.Ideal += ideal
		s.result.Missing += max(0, ideal-s.shops[spec.name].Sellable(l.item, ""))
	}
}

// free is what is there of every article, can be sold and is promised to nobody.
func (s *sim) free(known func(stocksync.OrderKey) bool) map[string]int64 {
	free := map[string]int64{}
	for _, a := range s.world.articles {
		free[a.sku] = s.warehouse.StockOf(a.sku).Sellable
	}
	for _, p := range s.promises(known) {
		free[p.sku] -= p.open()
	}
	for _, a := range s.world.articles {
		switch a.rule {
		case ruleWindow:
			free[a.sku] = s.leftOf(a.sku)
		case rulePool:
			free[a.sku] -= s.setAside()
		case ruleKeys:
			if s.engine != nil {
				free[a.sku] = s.keysFree()
			}
		}
	}
	for _, l := range s.world.listings {
		if l.rule == ruleService {
			free[l.parts[0].sku] = s.slotsNow(l.parts[0].sku)
		}
	}
	return free
}

// promised is what of an article counts as promised and still there, where more may be sold than there is.
func (s *sim) promised(sku string) (units int64) {
	for _, p := range s.promises(s.known()) {
		if p.sku == sku {
			units += p.open()
		}
	}
	if s.world.basis == fake.Available {
		units -= s.warehouse.StockOf(sku).Allocated
	}
	return units
}

// offer is what a listing may offer of what is free, in packs: the least over its parts, each by the policy.
func (s *sim) offer(i int, free map[string]int64) int64 {
	l := s.world.listings[i]
	if _, stopped := s.stoppedAt(i, time.Now()); stopped {
		return 0
	}
	least := int64(-1)
	for _, part := range s.parts[i] {
		units, committed := free[part.sku], int64(0)
		if c := s.flash(); c != nil && l.item == flashItem && l.rule == rulePool {
			units = max(0, min(c.opened(time.Now()), c.quantity)-s.soldOf(c))
		}
		policy := s.policyAt(i, part.sku, time.Now())
		if policy.OversellPermille > 1000 {
			committed = s.promised(part.sku)
		}
		n := offered(policy, s.world.shops[l.shop].name, units, committed) / (1_000_000 * part.units)
		if least < 0 || n < least {
			least = n
		}
	}
	return max(0, least)
}

// offered applies a policy to base units that are free, besides those that are committed; the answer is in millionths.
func offered(p stock.Policy, shop string, units, committed int64) int64 {
	share := int64(1000)
	if p.SharePermille != nil {
		share = *p.SharePermille
	}
	m := units * 1_000_000
	if units > 0 {
		m = units * 1000 * share
	}
	withheld := 1_000_000 * int64(p.SafetyStock+p.Buffer)
	m -= withheld
	if p.OversellPermille > 1000 {
		m += max(0, (units+max(0, committed))*1000*share-withheld) / 1000 * (p.OversellPermille - 1000)
	}
	if m < 1_000_000*int64(p.Threshold) {
		m = 0
	}
	if p.LastUnits > 0 && shop != string(p.PreferredChannel) && units-int64(p.SafetyStock) <= int64(p.LastUnits) {
		m = 0
	}
	m = max(m, 0, 1_000_000*int64(p.Minimum))
	if p.Cap != nil {
		m = min(m, 1_000_000*int64(*p.Cap))
	}
	return m
}

// target is what a shop must show for a listing.
func (s *sim) target(i int, free map[string]int64) int64 {
	l := s.world.listings[i]
	spec := s.world.shops[l.shop]
	q := s.offer(i, free)
	if spec.caps.QuantityMeans == fake.MeansGross || spec.caps.QuantityMeans == fake.MeansOnHand {
		for _, o := range s.shops[spec.name].Orders() {
			for _, line := range o.Lines {
				if line.Item == l.item {
					q += *line.Quantity - *line.Cancelled - *line.Shipped
				}
			}
		}
	}
	if most := spec.caps.MaxQuantity; most > 0 {
		q = min(q, most)
	}
	return q
}

// known tells whether the engine knows an order. Of a dead shop it cannot know all.
func (s *sim) known() func(stocksync.OrderKey) bool {
	if len(s.dead) == 0 {
		return nil
	}
	return func(key stocksync.OrderKey) bool {
		if !s.dead[string(key.Channel)] {
			return true
		}
		v, err := s.engine.Order(context.Background(), key)
		return err == nil && v.Version > 0
	}
}

// checkListings demands that every listing shows its target. spared leaves out what only a comparison can find.
func (s *sim) checkListings(when string, spared bool) {
	if s.engine == nil {
		return
	}
	free := s.free(s.known())
	for i, l := range s.world.listings {
		name := s.world.shops[l.shop].name
		if s.dead[name] || spared && s.unseen[s.listingName(i)] {
			continue
		}
		got, _ := s.shops[name].Quantity(l.item, "")
		if want := s.target(i, free); got != want {
			s.violate("%s %s shows %d, must show %d: %s", when, s.listingName(i), got, want, s.describe(i))
		}
	}
}

// key names a listing as the engine does.
func (s *sim) key(i int) stocksync.ListingKey {
	l := s.world.listings[i]
	return stocksync.ListingKey{Connection: stock.ConnectionID(s.world.shops[l.shop].name), Ref: connectors.Ref{Item: l.item}}
}

// describe says what the engine thinks of a listing.
func (s *sim) describe(i int) string {
	v, err := s.engine.Listing(context.Background(), s.key(i))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("target %s, published %s, confirmed %s, %s %s %s", text((*int64)(v.Target)), text((*int64)(v.Published)), text((*int64)(v.Confirmed)), v.State, v.HeldReason, v.LastError)
}

// check asks every oracle when all is quiet.
func (s *sim) check() {
	if s.engine == nil {
		s.violate("the engine is not running although everything is healed")
		return
	}
	s.checkListings("in the end", false)
	s.checkInbox()
	s.checkLedger()
	s.checkItems()
	s.checkOrders()
	s.checkWork()
	s.checkExplained()
	s.checkPast()
	s.checkLooked()
	s.checkAlarms()
	s.checkRules()
	s.checkNotices()
	s.checkSubscribed()
	if len(s.dead) == 0 {
		status, err := s.engine.Status(context.Background())
		if err != nil || !status.Settled {
			s.violate("not settled: %+v %v", status, err)
		}
	}
}

// checkInbox (G1): every webhook that was answered 2xx is stored once, as it came, and was applied.
func (s *sim) checkInbox() {
	byID := map[string]acceptance{}
	for _, a := range s.accepted {
		first, again := byID[a.from+" "+a.id]
		if again && first.event != a.event {
			s.violate("webhook %s of %s is in the inbox twice, as %d and %d", a.id, a.from, first.event, a.event)
		}
		byID[a.from+" "+a.id] = a
		e, state, parked, err := s.store.EventByID(context.Background(), a.event)
		switch {
		case err != nil:
			s.violate("webhook %s of %s was accepted as event %d: %v", a.id, a.from, a.event, err)
		case sha256.Sum256(e.Body) != a.sum || string(e.Connection) != a.from:
			s.violate("event %d is not the webhook %s that was accepted as it", a.event, a.id)
		case state == stocksync.EventParked:
			s.violate("event %d of %s is parked although everything it needs is known: %s", a.event, a.from, parked.Reason)
		case state != stocksync.EventApplied && len(s.dead) == 0:
			s.violate("event %d of %s is %s", a.event, a.from, state)
		}
		if len(s.result.Violations) >= 20 {
			return
		}
	}
}

// checkLedger (G2): every chain is whole, and every level is the sum of its postings.
func (s *sim) checkLedger() {
	if s.store == nil {
		return
	}
	ctx := context.Background()
	for _, a := range s.world.articles {
		entries, err := s.store.Entries(ctx, stock.SKU(a.sku), time.Now().Add(time.Hour), 1_000_000)
		if err != nil {
			s.violate("read the ledger of %s: %v", a.sku, err)
			return
		}
		slices.Reverse(entries)
		last := map[stock.LocationID][]byte{}
		sums := map[stock.LocationID]*stock.Level{}
		for _, e := range entries {
			if !bytes.Equal(e.Previous, last[e.Location]) || !bytes.Equal(e.Hash, stocksync.ChainHash(last[e.Location], e.Posting)) {
				s.violate("the chain of %s at %s is broken at posting %d", a.sku, e.Location, e.ID)
				break
			}
			last[e.Location] = e.Hash
			if sums[e.Location] == nil {
				sums[e.Location] = &stock.Level{SKU: stock.SKU(a.sku), Location: e.Location}
			}
			if err := sums[e.Location].Apply(e.Posting); err != nil {
				s.violate("posting %d: %v", e.ID, err)
			}
		}
		report, err := s.store.Item(ctx, stock.SKU(a.sku))
		if err != nil {
			s.violate("read %s: %v", a.sku, err)
			return
		}
		for _, l := range report.Levels {
			sum := stock.Level{SKU: l.SKU, Location: l.Location}
			if sums[l.Location] != nil {
				sum = *sums[l.Location]
			}
			if l != sum {
				s.violate("the level of %s at %s is %+v, its postings sum to %+v", a.sku, l.Location, l, sum)
			}
		}
		var ends []byte
		for _, location := range slices.Sorted(maps.Keys(last)) {
			ends = append(ends, last[location]...)
		}
		s.journal.note("ledger of %s: %d postings, ends %x", a.sku, len(entries), ends)
	}
}

// checkItems (G2, G4): on hand is what the warehouse has, committed is what is open.
func (s *sim) checkItems() {
	open := map[string]int64{}
	for _, p := range s.promises(s.known()) {
		open[p.sku] += p.open()
	}
	levels := map[string]int64{}
	for _, l := range s.warehouse.Levels() {
		levels[l.SKU] += *l.Quantity
	}
	for _, a := range s.world.articles {
		v, err := s.engine.Item(context.Background(), stock.SKU(a.sku))
		if err != nil {
			s.violate("%s: %v", a.sku, err)
			continue
		}
		owed := open[a.sku]
		if a.rule == ruleKeys {
			continue // truestock keeps them itself
		}
		if s.world.basis == fake.Available {
			owed -= s.warehouse.StockOf(a.sku).Allocated
		}
		if int64(v.OnHand) != levels[a.sku] {
			s.violate("%s: on hand %d, the warehouse says %d", a.sku, v.OnHand, levels[a.sku])
		}
		committed := int64(v.Committed)
		for _, l := range s.world.listings { // of the days of a service the warehouse tells as of the service
			if sku := l.parts[0].sku; l.rule == ruleService && sku != a.sku && recordSKU(sku) == a.sku {
				owed += open[sku]
				if v, err := s.engine.Item(context.Background(), stock.SKU(sku)); err == nil {
					committed += int64(v.Committed)
				}
			}
		}
		if committed != owed {
			s.violate("%s: committed %d, open and not deducted are %d", a.sku, committed, owed)
		}
	}
}

// checkOrders (G4): the warehouse has every order that must be there, once, as it stands at the shop, and no other; and
// the shops know what was sent.
func (s *sim) checkOrders() {
	keys := map[string]fake.RecordedOrder{}
	for _, o := range s.warehouse.Orders() {
		name := o.Channel + " " + o.OrderID
		if _, twice := keys[name]; twice {
			s.violate("order %s of %s is at the warehouse twice", o.OrderID, o.Channel)
		}
		keys[name] = o
	}
	for _, spec := range s.world.shops {
		if s.dead[spec.name] {
			continue
		}
		for _, o := range s.shops[spec.name].Orders() {
			record, there := keys[spec.name+" "+o.OrderID]
			delete(keys, spec.name+" "+o.OrderID)
			s.checkOrder(spec, o, record, there)
		}
	}
	for name, o := range keys {
		if !s.dead[o.Channel] {
			s.violate("the warehouse has an order %s that no shop has", name)
		}
	}
}

func (s *sim) checkOrder(spec shopSpec, o open.Order, record fake.RecordedOrder, there bool) {
	for _, l := range o.Lines {
		wanted := *l.Quantity - *l.Cancelled
		if !there {
			if wanted > 0 {
				s.violate("order %s with %d open is not at the warehouse", o.OrderID, wanted)
			}
			continue
		}
		parts := s.partsOf(spec.name, o.OrderID, l)
		sent := int64(-1)
		for _, part := range parts {
			r := recordLine(record, l.LineID, part.sku, len(parts))
			if r == nil {
				if wanted > 0 {
					s.violate("line %s of order %s, %s, is not at the warehouse", l.LineID, o.OrderID, part.sku)
				}
				continue
			}
			due := max(wanted*part.units, r.Shipped+r.Rejected)
			got := r.Quantity - r.Cancelled
			// Without amendments more than was first ordered cannot be told: an incident says so.
			if got != due && !(got < due && !s.world.amend) {
				s.violate("line %s of order %s: the warehouse has %d of %s (ordered %d, cancelled %d, rejected %d, shipped %d), must have %d", l.LineID, o.OrderID, got, part.sku, r.Quantity, r.Cancelled, r.Rejected, r.Shipped, due)
			}
			packs := r.Shipped / part.units
			if sent < 0 || packs < sent {
				sent = packs
			}
		}
		// A shop does not take the news of packs that are not in the order when it comes.
		if sent >= 0 && (*l.Shipped > sent || *l.Shipped < sent && !s.touched[o.OrderID]) {
			s.violate("line %s of order %s: %d packs were sent, the shop knows of %d", l.LineID, o.OrderID, sent, *l.Shipped)
		}
	}
}

func (s *sim) writeCounts() map[string]int {
	counts := map[string]int{}
	for name, shop := range s.shops {
		if !s.dead[name] {
			counts[name] = shop.WriteCount()
		}
	}
	return counts
}

// checkWork (G11): writes are bounded by what happened.
func (s *sim) checkWork() {
	for _, spec := range s.world.shops {
		shop := s.shops[spec.name]
		var faults, generations int
		for _, n := range shop.Counts() {
			faults += n
		}
		for i, l := range s.world.listings {
			if s.world.shops[l.shop].name != spec.name {
				continue
			}
			if v, err := s.engine.Listing(context.Background(), s.key(i)); err == nil {
				generations += int(v.Generation)
			}
		}
		bound := 50 + 3*generations + 5*faults + 3*len(shop.Orders()) + 3*len(s.result.Actions)
		if n := shop.WriteCount(); n > bound && !s.dead[spec.name] {
			s.violate("%s got %d writes; %d would be enough", spec.name, n, bound)
		}
		s.result.Writes += shop.WriteCount()
	}
}

// checkWrite (h1): the article of which there is always plenty is never lowered below what is there for certain. Raises
// may stay below: an article that was told for one of its places only is offered with what is known.
func (s *sim) checkWrite(spec shopSpec, w fake.WriteRecord) {
	if spec.caps.ConditionalWrite && w.Expect == nil && w.Quantity > w.Before {
		s.violate("%s is raised from %d to %d for %s without saying what it must still show, which it could check", spec.name, w.Before, w.Quantity, w.Item)
	}
	s.checkPool(spec, w)
	s.checkSlots(spec, w)
	l := s.world.listings[1]
	if w.Item != l.item || s.world.shops[l.shop].name != spec.name || s.ruled.unsure || s.stoppedLately(1) {
		return
	}
	if s.flights.raises[w.ID] {
		return // it was a raise when it was made, and has come late
	}
	certain := s.world.articles[1].opening[0] - 2*s.everOrdered(l)*l.parts[0].units
	least := offered(s.policyAt(1, l.parts[0].sku, time.Now()), spec.name, certain, 0)
	for _, v := range s.ruled.versions { // what was sent under an earlier one may arrive now
		if !v.at.After(time.Now()) {
			least = min(least, offered(s.policyAt(1, l.parts[0].sku, v.at.Add(-1)), spec.name, certain, 0), offered(s.policyAt(1, l.parts[0].sku, v.at), spec.name, certain, 0))
		}
	}
	least /= 1_000_000 * l.parts[0].units
	if most := spec.caps.MaxQuantity; most > 0 {
		least = min(least, most)
	}
	if w.Quantity < least && w.Before >= least {
		s.violate("%s was told to show %d of %s instead of %d; at least %d are there for certain", spec.name, w.Quantity, w.Item, w.Before, least)
	}
}

// everOrdered is more than all packs of a listing in every order ever, cancelled or not.
func (s *sim) everOrdered(l listingSpec) (packs int64) {
	for _, o := range s.shops[s.world.shops[l.shop].name].Orders() {
		for _, line := range o.Lines {
			if line.Item == l.item {
				packs += *line.Quantity + *line.Cancelled + 4
			}
		}
	}
	return packs
}
