package sync

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// An oversell is an incident as long as more of a SKU is promised than there is and than its oversell ratio allows, and
// some order line on which that falls is not made good. It is opened and closed in the transaction that makes it so; while
// it is open every listing that depends on the SKU shows 0.

// Oversells reads what an oversell is judged by.
type Oversells interface {
	Orders(keys []OrderKey) (map[OrderKey]*Order, error)
	// Promised are the open promises of a SKU, the last accepted first, at most limit of them; 0 means all.
	Promised(sku stock.SKU, limit int) ([]Commitment, error)
	// Remedies are those that were chosen for order lines of the SKUs, the oldest incident first.
	Remedies(skus []stock.SKU) ([]Remedy, error)
	// IncidentsAt are the incidents of a kind that are open, by subject; with an instant those that were open then.
	IncidentsAt(kind string, subjects []string, at time.Time) (map[string]int64, error)
}

// affectedLine is an order line that an oversell falls on.
type affectedLine struct {
	Commitment
	order *Order
	short stock.Quantity
}

// component is the part of the line that the SKU carries.
func (a *affectedLine) component() (*OrderLine, *LineComponent) {
	for i := range a.order.Lines {
		l := &a.order.Lines[i]
		for j := range l.Components {
			if c := &l.Components[j]; l.ID == a.LineID && c.SKU == a.SKU {
				return l, c
			}
		}
	}
	return nil, nil
}

// oversell judges one SKU.
type oversell struct {
	engine   *Engine
	settings *decisions
	sku      stock.SKU
	// available is below zero; committed are the promised units, pooled those of them that campaigns have set aside.
	available, committed, pooled stock.Quantity
	// running names the campaigns that hold units.
	running map[string]bool
}

// judge finds out how many units are promised beyond what the ratio allows, and on which lines that falls: those that were
// accepted last. Each order is judged by the ratio that was in force when it was accepted; one for goods that are made or
// bought on order, which a minimum says, is never too much. What was bought from a campaign is affected last, for its units
// are set aside.
func (o oversell) judge(tx Oversells, changed map[commitmentID]Commitment, orders map[OrderKey]*Order) (short stock.Quantity, lines []affectedLine, err error) {
	limit := 0
	if len(o.running) == 0 && !o.settings.any(PolicySetting) {
		limit = int(-o.available) + len(changed)
	}
	stored, err := tx.Promised(o.sku, limit)
	if err != nil {
		return 0, nil, err
	}
	promised := slices.DeleteFunc(stored, func(c Commitment) bool {
		_, newer := changed[commitmentID{c.OrderKey, c.LineID, c.SKU}]
		return newer
	})
	for id, c := range changed {
		if id.sku == o.sku && c.Quantity > 0 {
			promised = append(promised, c)
		}
	}
	slices.SortFunc(promised, func(x, y Commitment) int { return -compareAccepted(x, y) })
	var wanted []OrderKey
	for _, c := range promised {
		if orders[c.OrderKey] == nil {
			wanted = append(wanted, c.OrderKey)
		}
	}
	loaded, err := tx.Orders(wanted)
	if err != nil {
		return 0, nil, err
	}
	var general, fromPools []stock.PromisedLine
	byLine := make(map[[2]string]affectedLine, len(promised))
	committed := o.committed - o.pooled
	there := o.available + committed
	for _, c := range promised {
		a := affectedLine{Commitment: c, order: cmp.Or(orders[c.OrderKey], loaded[c.OrderKey])}
		if a.order == nil {
			continue
		}
		line := stock.PromisedLine{Order: mapping.OrderKey(c.Channel, c.OrderID), Line: c.LineID, AcceptedAt: c.AcceptedAt, Units: c.Quantity}
		byLine[[2]string{line.Order, line.Line}] = a
		if _, part := a.component(); part != nil && o.running[part.Pool] {
			fromPools = append(fromPools, line)
			continue
		}
		p, err := o.policy(ListingKey{c.Channel, c.Ref}, c.AcceptedAt)
		if err != nil {
			return 0, nil, err
		}
		if p.Minimum == 0 {
			short += stock.BeyondRatio(there, committed, c.Quantity, []stock.OversellVersion{{Permille: p.OversellPermille}}, c.AcceptedAt)
			general = append(general, line)
		}
		committed -= c.Quantity
	}
	short += max(0, -there) // what was lost of the units that campaigns had set aside
	rest := short
	for _, ranked := range [][]stock.PromisedLine{general, fromPools} {
		for _, r := range stock.RankAffected(ranked, rest) {
			a := byLine[[2]string{r.Order, r.Line}]
			a.short = r.Short
			rest -= r.Short
			lines = append(lines, a)
		}
	}
	return short, lines, nil
}

// policy is what held for a listing of the SKU at an instant.
func (o oversell) policy(key ListingKey, at time.Time) (stock.Policy, error) {
	c := o.engine.channels[key.Connection]
	if c == nil {
		return stock.Policy{}, nil
	}
	// Without a safety stock: how far a listing may oversell is a part of all that was there.
	p, _, err := o.settings.policy(c.Policy, key, o.sku, nil, at)
	if err != nil {
		return stock.Policy{}, nil // what makes no sense together allows nothing
	}
	return p, nil
}

// compareAccepted orders promises by the instant of acceptance, then by the names of order and line.
func compareAccepted(a, b Commitment) int {
	return cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), cmp.Compare(mapping.OrderKey(a.Channel, a.OrderID), mapping.OrderKey(b.Channel, b.OrderID)), cmp.Compare(a.LineID, b.LineID))
}

// oversellOf is what the book knows of a SKU.
func (b *book) oversellOf(sku stock.SKU) oversell {
	o := oversell{engine: b.engine, settings: b.settings, sku: sku, running: make(map[string]bool)}
	for _, l := range b.bySKU[sku] {
		o.available += l.Available
		o.committed += l.Committed
	}
	for _, p := range b.pools[sku] {
		if p.state.running() {
			_, committed := p.state.sums(everywhere)
			o.pooled += committed
			o.running[p.name] = true
		}
	}
	return o
}

// watchOversells opens an incident when more of a SKU is promised than there is and than the ratio allows, and closes it
// when that is over, or when every line on which it falls is made good.
func (b *book) watchOversells(tx Oversells) error {
	skus := make(map[stock.SKU]bool)
	for sku, before := range b.before {
		if before < 0 || b.available(sku) < 0 {
			skus[sku] = true
		}
	}
	for sku := range b.rejudged {
		skus[sku] = true
	}
	for _, sku := range sortedKeys(skus, cmp.Compare[stock.SKU]) {
		o := b.oversellOf(sku)
		over := o.available >= 0 || b.settings.article(sku, b.now).windowed() || b.isService(sku) // of which there is no stock that could be sold twice
		if !over {
			short, lines, err := o.judge(tx, b.commitments, b.orders)
			if err != nil {
				return err
			}
			remedies, err := tx.Remedies([]stock.SKU{sku})
			if err != nil {
				return err
			}
			left := len(lines)
			for _, a := range lines {
				if r := b.remedyOf(remedies, a.Commitment); r != nil && r.State == RemedyDone && r.FinishedBy != "" {
					left--
				}
			}
			over = short == 0 || left == 0 && len(lines) > 0
			if !over {
				b.incidents = append(b.incidents, oversellIncident(sku, short, left, b.now))
				b.dirty[sku] = true
			}
		}
		if over {
			b.closed = append(b.closed, Incident{Kind: IncidentOversell, Subject: string(sku), ClosedAt: b.now})
			b.dirty[sku] = true
		}
	}
	return nil
}

func oversellIncident(sku stock.SKU, short stock.Quantity, lines int, at time.Time) Incident {
	text := fmt.Sprintf("%d more units of %s are promised than there are and may be sold. Its sale is stopped everywhere", short, sku)
	if lines > 0 {
		text += fmt.Sprintf("; %d order lines are affected and not made good", lines)
	}
	return Incident{Kind: IncidentOversell, Subject: string(sku), OpenedAt: at, Message: text + ": see truestock incidents."}
}

// remedyOf is the newest remedy of a line, as the book will leave it.
func (b *book) remedyOf(stored []Remedy, c Commitment) *Remedy {
	for i := range b.remedies {
		if b.remedies[i].concerns(c) {
			return &b.remedies[i]
		}
	}
	return newestRemedy(stored, c)
}

func newestRemedy(stored []Remedy, c Commitment) *Remedy {
	for i := range slices.Backward(stored) {
		if stored[i].concerns(c) {
			return &stored[i]
		}
	}
	return nil
}

// oversoldSKUs are the open oversells of SKUs, or those that were open at an instant.
func oversoldSKUs(tx Oversells, skus []stock.SKU, at time.Time) (map[stock.SKU]int64, error) {
	subjects := make([]string, len(skus))
	for i, sku := range skus {
		subjects[i] = string(sku)
	}
	open, err := tx.IncidentsAt(IncidentOversell, subjects, at)
	if err != nil {
		return nil, err
	}
	out := make(map[stock.SKU]int64, len(open))
	for subject, id := range open {
		out[stock.SKU(subject)] = id
	}
	return out, nil
}

// stop is why a listing is not sold; listing says that it is to be stopped at its channel too.
type stop struct {
	rule     string
	byPerson bool
	listing  bool
}

// stopped tells why the sale of a listing is stopped; nil: it is not.
func (p *planInput) stopped(key ListingKey, components []mapping.Component) *stop {
	var found *stop
	if p.onSale {
		return nil
	}
	add := func(s stop) {
		if found == nil {
			found = &s
		}
		found.byPerson = found.byPerson || s.byPerson
		found.listing = found.listing || s.listing
	}
	if p.settings.any(StopSaleSetting) {
		for _, c := range components {
			for _, k := range p.settings.policyKeys(key, c.SKU, p.at) {
				if s, ok := p.settings.inForce(StopSaleSetting, k.String(), p.at).(StopSale); ok {
					add(stop{rule: "sale stopped by a person: stop_sale " + k.String(), byPerson: true, listing: s.StopListings})
				}
			}
		}
	}
	for _, c := range components {
		if id, open := p.oversold[c.SKU]; open {
			add(stop{rule: fmt.Sprintf("sale stopped by incident %d: more of %s is promised than there is", id, c.SKU), listing: p.settings.incidentRule(key, c.SKU, p.at).StopListings})
		}
	}
	return found
}
