package simtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// Bug is a mistake that can be planted between the engine and the world, to see whether the oracles find it. It lives in
// decorators of this package, so no release can contain it: the engine and the store know nothing of it.
type Bug struct {
	// Name selects the bug; Says describes the naive design that it reproduces; Problem is the section of the problem
	// in docs/correctness.md that it breaks.
	Name, Says, Problem string
	hooks               hooks
	// Peer names where a public project makes the mistake, as far as one was read: the name and the section of its notes.
	Peer string
}

// hooks are the places at which a bug can act; nil leaves the place alone.
type hooks struct {
	save       func(s *sim, c *stocksync.Changes)
	documents  func(s *sim, orders map[stocksync.OrderKey]*stocksync.Order)
	uncovered  func(m []stocksync.HeldMovement) []stocksync.HeldMovement
	dependents func(keys []stocksync.ListingKey) []stocksync.ListingKey
	settle     func(o *stocksync.PushOutcome)
	put        func(r stocksync.Receipt, err error) (stocksync.Receipt, error)

	key       func(s *sim, key string) string
	fact      func(s *sim, f connectors.Fact) (connectors.Fact, bool)
	readings  func(b *buggedShop, refs []connectors.Ref, readings []connectors.Reading) []connectors.Reading
	writes    func(b *buggedShop, writes []connectors.Write)
	results   func(b *buggedShop, writes []connectors.Write, results []connectors.Result, err error) ([]connectors.Result, error)
	orders    func(b *buggedShop, page connectors.OrderPage) connectors.OrderPage
	shop      func(c *connectors.MarketplaceCapabilities)
	shipment  func(s *sim, n *connectors.ShipmentNotice)
	create    func(b *buggedRecord, ctx context.Context, o connectors.NewOrder) (string, error)
	levels    func(s *sim, page *connectors.LevelPage)
	standing  func(a *connectors.Standing)
	movements func(rows []connectors.Fact) []connectors.Fact
	policy    func(p *stock.Policy)

	components func(found map[stocksync.ListingKey][]mapping.Component)
	targets    func(tx stocksync.PlanTx, changes []stocksync.TargetChange) []stocksync.TargetChange
	run        func(r *stocksync.Run)
	booked     func(s *sim, found []stock.Booking) []stock.Booking
	touches    func(versions []stocksync.NewSetting, touches []stocksync.Touch)
	alerts     func(alerts []*stocksync.AlertState)
	delivered  func(deliveries []stocksync.Delivery)
	blind      bool // a reconciliation finds nothing of its own
}

// Bugs returns every bug that can be planted.
func Bugs() []Bug {
	old := func(p stock.Position) stock.Position {
		if p.Sequenced {
			p.Sequence = 0
		}
		if !p.SourceAt.IsZero() {
			p.SourceAt = time.Unix(1, 0)
		}
		p.SeenAt = time.Unix(1, 0)
		return p
	}
	uncertain := func(err error) bool { return connectors.KindOf(err) == connectors.Uncertain }
	return []Bug{
		{"release_at_shipment", "a shipment ends the promise although the held statement does not contain it yet", "4a", hooks{
			fact: func(_ *sim, f connectors.Fact) (connectors.Fact, bool) {
				if f.Shipment != nil {
					f.Position = old(f.Position)
				}
				return f, true
			}}, ""},
		{"release_at_allocation", "an allocation ends the promise although the held statement does not contain it yet", "4a", hooks{
			fact: func(_ *sim, f connectors.Fact) (connectors.Fact, bool) {
				if f.Kind == connectors.OrderAllocated {
					f.Position = old(f.Position)
				}
				return f, true
			}}, ""},
		{"never_release", "shipments do not end promises", "4a", hooks{
			fact: func(_ *sim, f connectors.Fact) (connectors.Fact, bool) { return f, f.Shipment == nil }}, ""},
		{"forget_uncovered", "movements after the statement are forgotten with the next one", "4a", hooks{
			uncovered: func([]stocksync.HeldMovement) []stocksync.HeldMovement { return nil }}, ""},
		{"ignore_rejection", "an order that the warehouse rejects keeps its units", "4a", hooks{
			fact: func(_ *sim, f connectors.Fact) (connectors.Fact, bool) { return f, f.Kind != connectors.OrderRejected }}, ""},
		{"late_statement", "a statement counts from its arrival, not from the instant that it is of", "4a", hooks{
			fact: func(s *sim, f connectors.Fact) (connectors.Fact, bool) {
				if f.Statement != nil {
					f.Position = stock.Position{SourceAt: time.Now().UTC()}
				}
				return f, true
			}}, ""},
		{"never_ask", "what the warehouse says of an order when it is asked is thrown away", "4a", hooks{
			standing: func(a *connectors.Standing) { a.Lines = nil }}, ""},
		{"answers_add_up", "what the warehouse says of an order counts beside what its webhooks told before", "4a", hooks{
			standing: func(a *connectors.Standing) { a.AsOf = time.Unix(1, 0).UTC() }}, ""},
		{"skip_drain", "a raise does not fetch the orders first", "4b", hooks{
			readings: func(b *buggedShop, _ []connectors.Ref, readings []connectors.Reading) []connectors.Reading {
				b.justRead = true
				return readings
			},
			orders: func(b *buggedShop, page connectors.OrderPage) connectors.OrderPage {
				if b.justRead {
					b.justRead = false
					return connectors.OrderPage{Watermark: time.Now().UTC()}
				}
				return page
			}}, ""},
		{"raw_write", "a write does not say what it expects", "4b", hooks{
			writes: func(_ *buggedShop, writes []connectors.Write) {
				for i := range writes {
					writes[i].Expect = nil
				}
			}}, "frappe"},
		{"ignore_stale", "a write that was refused as stale counts as done", "4b", hooks{
			results: func(b *buggedShop, writes []connectors.Write, results []connectors.Result, err error) ([]connectors.Result, error) {
				for i := range results {
					if results[i].Outcome == connectors.Stale {
						results[i].Outcome = connectors.Written
						b.believed[writes[i].Ref] = writes[i].Quantity
					}
				}
				return results, err
			}, readings: believe}, ""},
		{"net_for_gross", "the channel's own open orders are left out where it subtracts them itself", "4b", hooks{
			shop: func(c *connectors.MarketplaceCapabilities) { c.ShowsGross = false }}, ""},
		{"fresh_keys", "duplicates are not recognised", "4c", hooks{
			key: func(s *sim, key string) string { s.minted++; return fmt.Sprintf("%s#%d", key, s.minted) }}, "frappe"},
		{"newest_arrival", "the version that arrives last is taken for the newest", "4c", hooks{
			fact: func(_ *sim, f connectors.Fact) (connectors.Fact, bool) {
				if f.Kind == connectors.OrderUpserted {
					f.Order.Version = time.Now().UnixMicro()
				}
				return f, true
			}}, ""},
		{"ignore_cancel", "cancellations of orders do not count", "4c", hooks{
			fact: func(_ *sim, f connectors.Fact) (connectors.Fact, bool) { return f, f.Kind != connectors.OrderCancelled },
			orders: func(_ *buggedShop, page connectors.OrderPage) connectors.OrderPage {
				page.Orders = slices.DeleteFunc(page.Orders, func(o connectors.Order) bool { return o.Status == connectors.OrderCancelledStatus })
				return page
			}}, ""},
		{"partial_cancel", "partial cancellations do not count", "4n", hooks{
			fact: func(_ *sim, f connectors.Fact) (connectors.Fact, bool) { return uncancelled(f), true },
			orders: func(_ *buggedShop, page connectors.OrderPage) connectors.OrderPage {
				for i := range page.Orders {
					uncancelled(connectors.Fact{Order: &page.Orders[i]})
				}
				return page
			}}, ""},
		{"unsellable_return", "what comes back broken is sold again", "4n", hooks{
			fact: func(_ *sim, f connectors.Fact) (connectors.Fact, bool) {
				if f.Return != nil {
					for i := range f.Return.Lines {
						f.Return.Lines[i].Sellable = true
					}
				}
				return f, true
			}}, ""},
		{"channel_is_truth", "what a channel shows is taken for stock", "4d", hooks{
			levels: func(s *sim, page *connectors.LevelPage) {
				l := s.world.listings[1]
				shown, _ := s.shops[s.world.shops[l.shop].name].Quantity(l.item, "")
				for i := range page.Levels {
					if page.Levels[i].SKU == l.parts[0].sku && page.Levels[i].Location == "main" {
						page.Levels[i].Quantity = stock.Quantity(shown)
					}
				}
			}}, "OCA connector-shopify"},
		{"deaf_to_changes", "what a channel says about its listings is not looked at", "4d", hooks{
			save: func(_ *sim, c *stocksync.Changes) { c.Look = nil }}, ""},
		{"trust_writes", "what was written counts as shown; nothing is read back", "4e", hooks{
			results: func(b *buggedShop, writes []connectors.Write, results []connectors.Result, err error) ([]connectors.Result, error) {
				for i := range results {
					if results[i].Outcome == connectors.Written || results[i].Outcome == connectors.Accepted {
						b.believed[writes[i].Ref] = writes[i].Quantity
					}
				}
				return results, err
			}, readings: believe}, ""},
		{"resend_body", "a write without an answer is sent again as it was, when the number has long changed", "4e", hooks{
			results: func(b *buggedShop, writes []connectors.Write, results []connectors.Result, err error) ([]connectors.Result, error) {
				if uncertain(err) {
					b.resend(writes)
				}
				return results, err
			}}, "OpenLinker"},
		{"no_recheck", "a write without an answer is not looked for again when it may still arrive", "4e", hooks{
			settle: func(o *stocksync.PushOutcome) { o.RecheckAt = time.Time{} }}, ""},
		{"forget_failure", "the mark that something is to be written is deleted before it has taken effect", "4e", hooks{
			settle: func(o *stocksync.PushOutcome) {
				if o.Write != nil && o.Confirmed == nil {
					o.DueAt = time.Time{}
				}
			}}, "OCA connector-magento"},
		{"two_orders", "an order without an answer is created again under another key", "4e", hooks{
			create: func(b *buggedRecord, ctx context.Context, o connectors.NewOrder) (string, error) {
				number, err := b.SystemOfRecord.CreateOrder(ctx, o)
				if uncertain(err) {
					o.Key += "-again"
					return b.SystemOfRecord.CreateOrder(ctx, o)
				}
				return number, err
			}}, ""},
		{"no_answer_is_no", "an order without an answer counts as refused", "4e", hooks{
			create: func(b *buggedRecord, ctx context.Context, o connectors.NewOrder) (string, error) {
				number, err := b.SystemOfRecord.CreateOrder(ctx, o)
				if uncertain(err) {
					return "", connectors.Rejectedf("create order", "", "no answer")
				}
				return number, err
			}}, ""},
		{"shipment_keys", "a shipment is told under another key on every try", "4e", hooks{
			shipment: func(s *sim, n *connectors.ShipmentNotice) { s.minted++; n.Key = fmt.Sprintf("%s#%d", n.Key, s.minted) }}, ""},
		{"ack_before_commit", "a webhook is answered 2xx although the database did not take it", "4f", hooks{
			put: func(r stocksync.Receipt, err error) (stocksync.Receipt, error) {
				if err != nil {
					return stocksync.Receipt{ID: 1 << 40}, nil
				}
				return r, nil
			}}, "nexus-inventory"},
		{"lost_dirty", "the mark that a number must be computed anew is lost with an order", "4f", hooks{
			save: func(_ *sim, c *stocksync.Changes) {
				if len(c.Orders) > 0 {
					c.Dirty = nil
				}
			}}, "OpenLinker"},
		{"missing_posting", "a change of the level is not in the ledger", "4f", hooks{
			save: func(_ *sim, c *stocksync.Changes) {
				if len(c.Entries) > 2 {
					c.Entries = c.Entries[:len(c.Entries)-1]
				}
			}}, ""},
		{"missing_is_zero", "a row that is missing in an export counts as zero", "4h", hooks{levels: zeroMissing}, "OpenLinker"},
		{"first_dependent", "only one of the listings that share an article is computed anew", "4i", hooks{
			dependents: func(keys []stocksync.ListingKey) []stocksync.ListingKey { return keys[:min(1, len(keys))] }}, ""},
		{"no_maximum", "the most that a channel takes is ignored", "4m", hooks{
			shop: func(c *connectors.MarketplaceCapabilities) { c.MaxQuantity = 0 }}, ""},
		{"no_buffer", "the buffer is not withheld", "4i", hooks{policy: func(p *stock.Policy) { p.Buffer = 0 }}, ""},
		{"new_components", "an open order is released by the mapping of now, not by that of its acceptance", "4i", hooks{
			documents: func(s *sim, orders map[stocksync.OrderKey]*stocksync.Order) {
				for key, o := range orders {
					for i := range o.Lines {
						s.remapLine(string(key.Channel), &o.Lines[i])
					}
				}
			}}, ""},
		{"lose_parked", "an order for a listing that is not mapped is dropped", "4k", hooks{
			save: func(_ *sim, c *stocksync.Changes) { c.Parked = nil }}, ""},
		{"forward_once", "changes of an order are not told to the warehouse", "4n", hooks{
			save: func(_ *sim, c *stocksync.Changes) {
				versions := map[stocksync.OrderKey]int64{}
				for _, o := range c.Orders {
					versions[o.Key()] = o.Version
				}
				c.Forwards = slices.DeleteFunc(c.Forwards, func(f stocksync.Forward) bool { return versions[f.OrderKey] > 1 })
			}}, ""},
		{"bookmark_ahead", "the bookmark of a feed is set to a time after the reading", "4p", hooks{
			orders: func(_ *buggedShop, page connectors.OrderPage) connectors.OrderPage {
				page.Watermark = page.Watermark.Add(2 * time.Minute)
				return page
			}}, "frappe"},
		{"first_page", "only the first page of a list is read", "4p", hooks{
			orders: func(_ *buggedShop, page connectors.OrderPage) connectors.OrderPage {
				page.Next = ""
				return page
			}}, ""},
		{"repeated_ids", "the identity of a write is made of the listing and the quantity, so that 5, 4 and 5 again says the same thing twice", "4e", hooks{
			writes: func(_ *buggedShop, writes []connectors.Write) {
				for i := range writes {
					writes[i].ID = fmt.Sprintf("%s/%d", writes[i].Ref, writes[i].Quantity)
				}
			}}, "OpenLinker"},
		{"failed_is_done", "what was computed is taken for sent before it is, and a failure changes nothing about that", "4e", hooks{
			settle: func(o *stocksync.PushOutcome) {
				if o.Confirmed == nil && o.Held == "" && o.Status == "" {
					o.DueAt, o.RecheckAt = time.Time{}, time.Time{}
				}
			}}, "OCA connector-magento"},
		{"batch_poison", "one bad line fails the whole batch", "4e", hooks{
			results: func(_ *buggedShop, _ []connectors.Write, results []connectors.Result, err error) ([]connectors.Result, error) {
				for _, r := range results {
					if r.Outcome == connectors.Failed && connectors.KindOf(r.Err) == connectors.Rejected {
						for i := range results {
							results[i].Outcome, results[i].Err = connectors.Failed, r.Err
						}
						break
					}
				}
				return results, err
			}}, "Business Central"},
		{"new_orders_only", "orders are fetched once, when they are new; what becomes of them later is not", "4p", hooks{
			orders: func(b *buggedShop, page connectors.OrderPage) connectors.OrderPage {
				page.Orders = slices.DeleteFunc(page.Orders, func(o connectors.Order) bool {
					seen := b.sim.fetched[o.OrderID]
					b.sim.fetched[o.OrderID] = true
					return seen
				})
				return page
			}}, "Tryton"},
		{"unique_job", "while a number waits to be written, a newer one is not taken", "4e", hooks{
			targets: func(tx stocksync.PlanTx, changes []stocksync.TargetChange) []stocksync.TargetChange {
				return slices.DeleteFunc(changes, func(c stocksync.TargetChange) bool {
					held, err := tx.Listings([]stocksync.ListingKey{c.ListingKey})
					l := held[c.ListingKey]
					return err == nil && l != nil && l.Target != nil && (l.Confirmed == nil || *l.Confirmed != *l.Target)
				})
			}}, "nexus-inventory"},
		{"pack_as_piece", "a pack is offered as if it were one piece", "4i", hooks{
			components: func(found map[stocksync.ListingKey][]mapping.Component) {
				for _, parts := range found {
					for i := range parts {
						parts[i].Units = 1
					}
				}
			}}, ""},
		{"first_component", "a bundle is offered by its first component alone", "4i", hooks{
			components: func(found map[stocksync.ListingKey][]mapping.Component) {
				for key, parts := range found {
					found[key] = parts[:min(1, len(parts))]
				}
			}}, "Openship"},
		{"apart", "what is there and what is promised are cut to whole packs one by one, which overstates by one", "4i", hooks{targets: cutApart}, "frappe"},
		{"whole_percents", "a share is kept in tenths, rounded up", "4l", hooks{policy: func(p *stock.Policy) {
			if p.SharePermille != nil {
				p.SharePermille = new((*p.SharePermille + 99) / 100 * 100)
			}
		}}, ""},
		{"blind_comparison", "a reconciliation looks at nothing but what has failed", "4g", hooks{blind: true}, ""},
		{"miscounted_drift", "a reconciliation reports less than it found", "4g", hooks{run: func(r *stocksync.Run) { r.Drifted = 0 }}, ""},
		{"silent_oversell", "nobody is told that more is promised than there is", "4l", hooks{
			save: func(_ *sim, c *stocksync.Changes) {
				c.Incidents = slices.DeleteFunc(c.Incidents, func(i stocksync.Incident) bool { return i.Kind == stocksync.IncidentOversell })
			}}, ""},
		{"double_posting", "a change is posted twice when its batch is applied", "4f", hooks{
			save: func(_ *sim, c *stocksync.Changes) {
				if len(c.Entries) > 0 {
					c.Entries = append(c.Entries, c.Entries[len(c.Entries)-1])
				}
			}}, ""},
		{"two_writers", "two nodes have the turn of a channel at once, and both write what they have rendered", "4j", hooks{
			results: func(b *buggedShop, writes []connectors.Write, results []connectors.Result, err error) ([]connectors.Result, error) {
				b.secondWriter(writes)
				return results, err
			}}, ""},
		{"one_look", "a listing that is not found once is given up", "4o", hooks{
			settle: func(o *stocksync.PushOutcome) {
				if o.Status == "" && strings.Contains(o.LastError, "does not know this listing") {
					o.Status, o.DueAt = connectors.StatusRemoved, time.Time{}
				}
			}}, "frappe"},
		{"skip_movement", "the first row of a page is taken for the last one of the page before", "4p", hooks{
			movements: func(rows []connectors.Fact) []connectors.Fact {
				if len(rows) > 1 {
					return rows[1:]
				}
				return rows
			}}, ""},
		{"own_bookings", "a service does not see what others have booked of the people that they share", "4m", hooks{
			booked: func(s *sim, found []stock.Booking) []stock.Booking {
				return slices.DeleteFunc(found, func(b stock.Booking) bool { return b.Start.Sub(s.world.epoch)%day != 0 })
			}}, ""},
		{"kept_bookings", "what is cancelled of a service keeps its place", "4m", hooks{
			save: func(_ *sim, c *stocksync.Changes) {
				c.Bookings = slices.DeleteFunc(c.Bookings, func(b stocksync.Booking) bool { return b.Units == 0 })
			}}, ""},
		{"late_stop", "that a sale is stopped counts when the number is computed next, and does not have it computed", "L1", hooks{
			touches: func(versions []stocksync.NewSetting, touches []stocksync.Touch) {
				for i, v := range versions {
					if v.Kind == stocksync.StopSaleSetting {
						touches[i] = stocksync.Touch{}
					}
				}
			}}, ""},
		{"alert_each_look", "a number that is low is told each time that it is looked at", "4f", hooks{
			alerts: func(alerts []*stocksync.AlertState) {
				for _, a := range alerts {
					if a.ClosedAt.IsZero() {
						a.ClosedAt = a.LowAt
					}
				}
			}}, ""},
		{"told_is_sent", "a notice counts as told when it is sent, whether or not it arrives", "4f", hooks{
			delivered: func(deliveries []stocksync.Delivery) {
				for i := range deliveries {
					deliveries[i].State = stocksync.DeliverySent
				}
			}}, ""},
	}
}

// noBug plants the decorators without a mistake in them, which changes nothing.
const noBug = "none"

// bugNamed finds a bug; the zero value plants nothing.
func bugNamed(name string) (Bug, bool) {
	if name == noBug {
		return Bug{Name: name}, true
	}
	i := slices.IndexFunc(Bugs(), func(b Bug) bool { return b.Name == name })
	if i < 0 {
		return Bug{}, name == ""
	}
	return Bugs()[i], true
}

// Caught says in which seed a planted bug was found.
type Caught struct {
	Bug
	Seed uint64 // 0: in none
	// Tried is how many seeds were run; Violation what the oracles said.
	Tried     int
	Violation string
}

// Hunt runs seeds with a bug planted until an oracle finds it in a seed that is in order without the bug.
func Hunt(t *testing.T, b Bug, from uint64, seeds int, o Options) Caught {
	c := Caught{Bug: b}
	for i := range seeds {
		seed := from + uint64(i)
		c.Tried++
		o.Bug, o.First = b.Name, true
		r := Run(t, seed, o)
		if !r.Failed() {
			continue
		}
		o.Bug, o.First = "", false
		if clean := Run(t, seed, o); clean.Failed() {
			continue
		}
		c.Seed, c.Violation = seed, r.Violations[0]
		return c
	}
	return c
}

// uncancelled takes the partial cancellations out of an order.
func uncancelled(f connectors.Fact) connectors.Fact {
	if f.Order != nil && f.Order.Status != connectors.OrderCancelledStatus {
		for i := range f.Order.Lines {
			f.Order.Lines[i].Cancelled = 0
		}
	}
	return f
}

// cutApart raises a target by what is gained when what is there and what is promised are cut to packs one by one.
func cutApart(tx stocksync.PlanTx, changes []stocksync.TargetChange) []stocksync.TargetChange {
	for i := range changes {
		c := &changes[i]
		found, err := tx.Components([]stocksync.ListingKey{c.ListingKey})
		if err != nil || len(found[c.ListingKey]) != 1 || c.Target == nil {
			continue
		}
		part := found[c.ListingKey][0]
		levels, err := tx.Levels([]stock.SKU{part.SKU})
		if err != nil {
			continue
		}
		var there, promised stock.Quantity
		for _, l := range levels {
			there += l.Tracked()
			promised += l.Committed
		}
		c.Target = new(*c.Target + there/part.Units - promised/part.Units - max(0, there-promised)/part.Units)
	}
	return changes
}

// believe answers readings from what was written.
func believe(b *buggedShop, _ []connectors.Ref, readings []connectors.Reading) []connectors.Reading {
	for i := range readings {
		if q, ok := b.believed[readings[i].Ref]; ok {
			readings[i].Quantity = q
		}
	}
	return readings
}

// zeroMissing completes the last page of an export that is shorter than announced.
func zeroMissing(s *sim, page *connectors.LevelPage) {
	for _, l := range page.Levels {
		s.exported[l.SKU+" "+l.Location] = true
	}
	if page.Next != "" {
		return
	}
	for _, a := range s.world.articles {
		for _, l := range s.world.locations {
			if !s.exported[a.sku+" "+l.ID] {
				page.Levels = append(page.Levels, connectors.Statement{SKU: a.sku, Location: l.ID})
			}
		}
	}
	clear(s.exported)
}

// remapLine gives a line the units of the mapping of now.
func (s *sim) remapLine(shop string, line *stocksync.OrderLine) {
	for i, l := range s.world.listings {
		if s.world.shops[l.shop].name != shop || l.item != line.Ref.Item {
			continue
		}
		for j := range line.Components {
			for _, p := range s.parts[i] {
				if p.sku == string(line.Components[j].SKU) {
					line.Components[j].Units = stock.Quantity(p.units)
				}
			}
		}
	}
}

// --- the decorators -------------------------------------------------------------------------------------------------

func (s *sim) planted(st stocksync.Store) stocksync.Store {
	if s.o.Bug == "" {
		return st
	}
	return &buggedStore{st, s}
}

func (s *sim) plantedShop(name string, m connectors.Marketplace) connectors.Marketplace {
	if s.o.Bug == "" {
		return m
	}
	return &buggedShop{Marketplace: m, sim: s, name: name, believed: map[connectors.Ref]stock.Quantity{}}
}

func (s *sim) plantedRecord(r connectors.SystemOfRecord) connectors.SystemOfRecord {
	if s.o.Bug == "" {
		return r
	}
	return &buggedRecord{r, s}
}

func (s *sim) plantedPolicy(p stock.Policy) stock.Policy {
	if f := s.hooks.policy; f != nil {
		f(&p)
	}
	return p
}

type buggedStore struct {
	stocksync.Store
	sim *sim
}

func (b *buggedStore) Put(ctx context.Context, e stocksync.NewEvent) (stocksync.Receipt, error) {
	r, err := b.Store.Put(ctx, e)
	if f := b.sim.hooks.put; f != nil {
		return f(r, err)
	}
	return r, err
}

func (b *buggedStore) Settle(ctx context.Context, outcomes []stocksync.PushOutcome, incidents []stocksync.Incident) error {
	if f := b.sim.hooks.settle; f != nil {
		for i := range outcomes {
			f(&outcomes[i])
		}
	}
	return b.Store.Settle(ctx, outcomes, incidents)
}

func (b *buggedStore) Apply(ctx context.Context, limit int, fn func(stocksync.LedgerTx, []stocksync.Event) error) (int, error) {
	return b.Store.Apply(ctx, limit, func(tx stocksync.LedgerTx, events []stocksync.Event) error {
		return fn(buggedLedger{tx, b.sim}, events)
	})
}

func (b *buggedStore) Plan(ctx context.Context, limit int, fn func(stocksync.PlanTx, []stock.SKU) error) (int, error) {
	return b.Store.Plan(ctx, limit, func(tx stocksync.PlanTx, skus []stock.SKU) error { return fn(buggedPlan{tx, b.sim}, skus) })
}

func (b *buggedStore) ChangeSettings(ctx context.Context, versions []stocksync.NewSetting, touches []stocksync.Touch, check func(stocksync.PlanTx) error) ([]stocksync.Setting, error) {
	if f := b.sim.hooks.touches; f != nil {
		f(versions, touches)
	}
	return b.Store.ChangeSettings(ctx, versions, touches, check)
}

func (b *buggedStore) SaveDeliveries(ctx context.Context, deliveries []stocksync.Delivery, opened, closed []stocksync.Incident, at time.Time) error {
	if f := b.sim.hooks.delivered; f != nil {
		f(deliveries)
	}
	return b.Store.SaveDeliveries(ctx, deliveries, opened, closed, at)
}

func (b *buggedStore) SaveRun(ctx context.Context, r stocksync.Run) error {
	if f := b.sim.hooks.run; f != nil {
		f(&r)
	}
	return b.Store.SaveRun(ctx, r)
}

func (b *buggedStore) ListingsAfter(ctx context.Context, id stock.ConnectionID, after connectors.Ref, limit int) ([]stocksync.Listing, error) {
	if b.sim.hooks.blind {
		return nil, nil
	}
	return b.Store.ListingsAfter(ctx, id, after, limit)
}

type buggedLedger struct {
	stocksync.LedgerTx
	sim *sim
}

func (b buggedLedger) Orders(keys []stocksync.OrderKey) (map[stocksync.OrderKey]*stocksync.Order, error) {
	orders, err := b.LedgerTx.Orders(keys)
	if f := b.sim.hooks.documents; f != nil {
		f(b.sim, orders)
	}
	return orders, err
}

func (b buggedLedger) Uncovered(skus []stock.SKU) ([]stocksync.HeldMovement, error) {
	found, err := b.LedgerTx.Uncovered(skus)
	if f := b.sim.hooks.uncovered; f != nil {
		found = f(found)
	}
	return found, err
}

func (b buggedLedger) Save(c stocksync.Changes) error {
	if f := b.sim.hooks.save; f != nil {
		f(b.sim, &c)
	}
	return b.LedgerTx.Save(c)
}

type buggedPlan struct {
	stocksync.PlanTx
	sim *sim
}

func (b buggedPlan) Components(keys []stocksync.ListingKey) (map[stocksync.ListingKey][]mapping.Component, error) {
	found, err := b.PlanTx.Components(keys)
	if f := b.sim.hooks.components; f != nil && err == nil {
		f(found)
	}
	return found, err
}

func (b buggedPlan) Booked(resources []string, after, madeUntil time.Time) ([]stock.Booking, error) {
	found, err := b.PlanTx.Booked(resources, after, madeUntil)
	if f := b.sim.hooks.booked; f != nil {
		found = f(b.sim, found)
	}
	return found, err
}

func (b buggedPlan) SaveAlerts(alerts []*stocksync.AlertState) error {
	if f := b.sim.hooks.alerts; f != nil {
		f(alerts)
	}
	return b.PlanTx.SaveAlerts(alerts)
}

func (b buggedPlan) SaveTargets(changes []stocksync.TargetChange) error {
	if f := b.sim.hooks.targets; f != nil {
		changes = f(b.PlanTx, changes)
	}
	return b.PlanTx.SaveTargets(changes)
}

func (b buggedPlan) Dependents(skus []stock.SKU) ([]stocksync.ListingKey, error) {
	keys, err := b.PlanTx.Dependents(skus)
	if f := b.sim.hooks.dependents; f != nil {
		keys = f(keys)
	}
	return keys, err
}

// buggedShop is a marketplace connection with a bug in front of it.
type buggedShop struct {
	connectors.Marketplace
	sim      *sim
	believed map[connectors.Ref]stock.Quantity
	justRead bool
	name     string
}

func (b *buggedShop) Capabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	c, err := b.Marketplace.Capabilities(ctx)
	if f := b.sim.hooks.shop; f != nil {
		f(&c)
	}
	return c, err
}

func (b *buggedShop) ReadStock(ctx context.Context, refs []connectors.Ref) ([]connectors.Reading, error) {
	readings, err := b.Marketplace.ReadStock(ctx, refs)
	if f := b.sim.hooks.readings; f != nil && err == nil {
		readings = f(b, refs, readings)
	}
	return readings, err
}

func (b *buggedShop) WriteStock(ctx context.Context, writes []connectors.Write) ([]connectors.Result, error) {
	if f := b.sim.hooks.writes; f != nil {
		f(b, writes)
	}
	results, err := b.Marketplace.WriteStock(ctx, writes)
	if f := b.sim.hooks.results; f != nil {
		return f(b, writes, results, err)
	}
	return results, err
}

// resend sends a batch again when it is old.
func (b *buggedShop) resend(writes []connectors.Write) {
	again := slices.Clone(writes)
	for i := range again {
		again[i].Expect = nil
		again[i].ID += "-again"
	}
	b.sim.after(40*time.Second, "resend", func() {
		_, err := b.Marketplace.WriteStock(context.Background(), again)
		b.sim.journal.note("sent again: %v", err)
	})
}

// secondWriter is another node that has rendered the same batch at the same time, and is a little slower.
func (b *buggedShop) secondWriter(writes []connectors.Write) {
	theirs := slices.Clone(writes)
	for i := range theirs {
		theirs[i].ID += "-other"
	}
	b.sim.after(2*time.Second, "second writer", func() {
		_, err := b.Marketplace.WriteStock(context.Background(), theirs)
		b.sim.journal.note("the other node has written: %v", err)
	})
}

func (b *buggedShop) Orders(ctx context.Context, since time.Time, from connectors.Cursor) (connectors.OrderPage, error) {
	page, err := b.Marketplace.Orders(ctx, since, from)
	if f := b.sim.hooks.orders; f != nil && err == nil {
		page = f(b, page)
	}
	return page, err
}

func (b *buggedShop) WriteShipment(ctx context.Context, n connectors.ShipmentNotice) error {
	if f := b.sim.hooks.shipment; f != nil {
		f(b.sim, &n)
	}
	return b.Marketplace.(connectors.ShipmentWriter).WriteShipment(ctx, n)
}

// Account implements connectors.AccountTeller.
func (b *buggedShop) Account(ctx context.Context) (string, error) {
	return b.Marketplace.(connectors.AccountTeller).Account(ctx)
}

// MissingSubscriptions implements connectors.Subscriber.
func (b *buggedShop) MissingSubscriptions(ctx context.Context) ([]string, error) {
	return b.Marketplace.(connectors.Subscriber).MissingSubscriptions(ctx)
}

// Subscribe implements connectors.Subscriber.
func (b *buggedShop) Subscribe(ctx context.Context, types []string) error {
	return b.Marketplace.(connectors.Subscriber).Subscribe(ctx, types)
}

// StopSale implements connectors.SaleStopper.
func (b *buggedShop) StopSale(ctx context.Context, refs []connectors.Ref) ([]connectors.Result, error) {
	return b.Marketplace.(connectors.SaleStopper).StopSale(ctx, refs)
}

// ResumeSale implements connectors.SaleStopper.
func (b *buggedShop) ResumeSale(ctx context.Context, refs []connectors.Ref) ([]connectors.Result, error) {
	return b.Marketplace.(connectors.SaleStopper).ResumeSale(ctx, refs)
}

// VerifyWebhook and DecodeWebhook let every delivery through the bug.
func (b *buggedShop) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	return b.sim.verify(b.Marketplace, r)
}

func (b *buggedShop) DecodeWebhook(d connectors.Delivery, body []byte) (connectors.Notice, error) {
	return b.sim.decode(b.Marketplace, d, body)
}

// buggedRecord is a connection to the warehouse with a bug in front of it.
type buggedRecord struct {
	connectors.SystemOfRecord
	sim *sim
}

func (b *buggedRecord) CreateOrder(ctx context.Context, o connectors.NewOrder) (string, error) {
	if f := b.sim.hooks.create; f != nil {
		return f(b, ctx, o)
	}
	return b.SystemOfRecord.CreateOrder(ctx, o)
}

func (b *buggedRecord) AmendOrder(ctx context.Context, a connectors.Amendment) error {
	return b.SystemOfRecord.(connectors.OrderAmender).AmendOrder(ctx, a)
}

func (b *buggedRecord) OrderStanding(ctx context.Context, key string) (connectors.Standing, error) {
	a, err := b.SystemOfRecord.(connectors.OrderTeller).OrderStanding(ctx, key)
	if f := b.sim.hooks.standing; f != nil && err == nil {
		f(&a)
	}
	return a, err
}

// CorrectStock implements connectors.StockCorrector.
func (b *buggedRecord) CorrectStock(ctx context.Context, c connectors.StockCorrection) (stock.Position, error) {
	return b.SystemOfRecord.(connectors.StockCorrector).CorrectStock(ctx, c)
}

func (b *buggedRecord) Levels(ctx context.Context, from connectors.Cursor) (connectors.LevelPage, error) {
	page, err := b.SystemOfRecord.Levels(ctx, from)
	if f := b.sim.hooks.levels; f != nil && err == nil {
		f(b.sim, &page)
	}
	return page, err
}

func (b *buggedRecord) Movements(ctx context.Context, after int64) (connectors.Page[connectors.Fact], error) {
	page, err := b.SystemOfRecord.Movements(ctx, after)
	if err != nil {
		return page, err
	}
	if f := b.sim.hooks.movements; f != nil {
		page.Rows = f(page.Rows)
	}
	page.Rows = b.sim.through(page.Rows)
	return page, nil
}

func (b *buggedRecord) VerifyWebhook(r connectors.Request) (connectors.Delivery, error) {
	return b.sim.verify(b.SystemOfRecord, r)
}

func (b *buggedRecord) DecodeWebhook(d connectors.Delivery, body []byte) (connectors.Notice, error) {
	return b.sim.decode(b.SystemOfRecord, d, body)
}

func (s *sim) verify(c connectors.Connection, r connectors.Request) (connectors.Delivery, error) {
	d, err := c.(connectors.WebhookReceiver).VerifyWebhook(r)
	if f := s.hooks.key; f != nil {
		d.Key = f(s, d.Key)
	}
	return d, err
}

func (s *sim) decode(c connectors.Connection, d connectors.Delivery, body []byte) (connectors.Notice, error) {
	n, err := c.(connectors.WebhookReceiver).DecodeWebhook(d, body)
	n.Facts = s.through(n.Facts)
	return n, err
}

func (s *sim) through(facts []connectors.Fact) []connectors.Fact {
	f := s.hooks.fact
	if f == nil {
		return facts
	}
	out := facts[:0]
	for _, fact := range facts {
		if changed, keep := f(s, fact); keep {
			out = append(out, changed)
		}
	}
	return out
}

var (
	_ connectors.AccountTeller   = (*buggedShop)(nil)
	_ connectors.ShipmentWriter  = (*buggedShop)(nil)
	_ connectors.SaleStopper     = (*buggedShop)(nil)
	_ connectors.Subscriber      = (*buggedShop)(nil)
	_ connectors.WebhookReceiver = (*buggedShop)(nil)
	_ connectors.OrderAmender    = (*buggedRecord)(nil)
	_ connectors.OrderTeller     = (*buggedRecord)(nil)
	_ connectors.StockCorrector  = (*buggedRecord)(nil)
	_ connectors.WebhookReceiver = (*buggedRecord)(nil)
)
