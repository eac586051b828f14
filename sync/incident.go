package sync

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// IncidentDetail is an incident with what led to it, and of an oversell whom it falls on and how that is made good.
type IncidentDetail struct {
	IncidentView
	// Short and the rest are of an oversell.
	Short    stock.Quantity   `json:"short" doc:"of an oversell: units promised beyond what there is and may be sold, now"`
	Affected []AffectedView   `json:"affected" doc:"of an oversell: the order lines that it falls on, the last accepted first, and those that were made good"`
	Listings []ListingView    `json:"listings" doc:"of an oversell: the listings that depend on the SKU"`
	Timeline []CauseEventView `json:"timeline" doc:"of an oversell: what led to it, the newest first, up to the instant at which it was opened"`
}

// AffectedView is an order line on which an oversell falls, or fell.
type AffectedView struct {
	Connection stock.ConnectionID `json:"connection"`
	OrderID    string             `json:"order_id"`
	LineID     string             `json:"line_id"`
	Item       string             `json:"item,omitempty"`
	AcceptedAt *time.Time         `json:"accepted_at"`
	Units      stock.Quantity     `json:"units" doc:"base units promised to the line"`
	Short      stock.Quantity     `json:"short" doc:"how many of them are missing; 0 once the oversell does not fall on the line any more"`
	Buyer      string             `json:"buyer,omitempty" doc:"the reference by which the channel reaches the buyer"`
	Contact    string             `json:"contact,omitempty" doc:"how to reach the buyer, where the channel told it; only for tokens of scope operate and above"`
	Proposals  []ProposalView     `json:"proposals" doc:"the best first"`
	Remedy     *RemedyView        `json:"remedy" doc:"what was chosen; null while nothing is"`
}

// ProposalView is a way to make a line good.
type ProposalView struct {
	Kind         stock.RemedyKind `json:"kind" enum:"restock,substitute,refund"`
	ReadyAt      *time.Time       `json:"ready_at,omitempty"`
	Substitute   stock.SKU        `json:"substitute,omitempty"`
	Compensation int64            `json:"compensation" doc:"in the smallest unit of the currency"`
}

// RemedyView is a remedy that was chosen.
type RemedyView struct {
	Kind         stock.RemedyKind `json:"kind" enum:"restock,substitute,refund"`
	Units        stock.Quantity   `json:"units"`
	Packs        stock.Quantity   `json:"packs"`
	Substitute   stock.SKU        `json:"substitute,omitempty"`
	ReadyAt      *time.Time       `json:"ready_at,omitempty"`
	Compensation int64            `json:"compensation"`
	Message      string           `json:"message" doc:"for the buyer"`
	State        RemedyState      `json:"state" enum:"chosen,sent,done,failed"`
	ByHand       bool             `json:"by_hand" doc:"a person must carry it out, and then finish it"`
	Reason       string           `json:"reason,omitempty" doc:"why it is by hand, why it failed, or what the last try met"`
	By           string           `json:"by"`
	FinishedBy   string           `json:"finished_by,omitempty" doc:"the person who said what became of it; absent where that was found out"`
	ChosenAt     time.Time        `json:"chosen_at"`
	SentAt       *time.Time       `json:"sent_at"`
	EndedAt      *time.Time       `json:"ended_at"`
}

// CauseEventView is something that led to an oversell.
type CauseEventView struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind" enum:"posting,write"`
	// Text says it to a person; Available is what was available after it, over all locations.
	Text      string          `json:"text"`
	Available *stock.Quantity `json:"available,omitempty" doc:"what was available right after it, over all locations"`
	Event     string          `json:"event,omitempty" doc:"the event of the inbox that caused it"`
}

func incidentView(i Incident) IncidentView {
	return IncidentView{ID: eventReference(i.ID), Kind: i.Kind, Subject: i.Subject, Message: i.Message, OpenedAt: i.OpenedAt.UTC(), ClosedAt: optionalTime(i.ClosedAt)}
}

func remedyView(r Remedy) *RemedyView {
	return &RemedyView{Kind: r.Kind, Units: r.Units, Packs: r.Packs, Substitute: r.Substitute, ReadyAt: optionalTime(r.ReadyAt), Compensation: r.Compensation, Message: r.Message,
		State: r.State, ByHand: r.ByHand, Reason: r.Error, By: r.By, FinishedBy: r.FinishedBy, ChosenAt: r.ChosenAt.UTC(), SentAt: optionalTime(r.SentAt), EndedAt: optionalTime(r.EndedAt)}
}

// Incident is one incident. ErrNotFound when there is none.
func (e *Engine) Incident(ctx context.Context, id int64) (IncidentDetail, error) {
	i, err := e.store.IncidentByID(ctx, id)
	if err != nil {
		return IncidentDetail{}, fmt.Errorf("incident %d: %w", id, err)
	}
	v := IncidentDetail{IncidentView: incidentView(i), Affected: []AffectedView{}, Listings: []ListingView{}, Timeline: []CauseEventView{}}
	if i.Kind != IncidentOversell {
		return v, nil
	}
	if err := e.addAffected(ctx, &v, i); err != nil {
		return IncidentDetail{}, fmt.Errorf("incident %d: %w", id, err)
	}
	if err := e.addTimeline(ctx, &v, i); err != nil {
		return IncidentDetail{}, fmt.Errorf("incident %d: %w", id, err)
	}
	return v, nil
}

func (e *Engine) addAffected(ctx context.Context, v *IncidentDetail, i Incident) error {
	sku, now := stock.SKU(i.Subject), time.Now().UTC()
	chosen, err := e.store.RemediesOf(ctx, i.ID)
	if err != nil {
		return err
	}
	var keys []ListingKey
	err = e.store.View(ctx, func(tx PlanTx) error {
		if keys, err = tx.Dependents([]stock.SKU{sku}); err != nil {
			return err
		}
		listings, err := tx.Listings(keys)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if l := listings[key]; l != nil {
				v.Listings = append(v.Listings, e.listingView(l))
			}
		}
		settings, err := e.decisions(tx)
		if err != nil {
			return err
		}
		var lines []affectedLine
		if i.ClosedAt.IsZero() {
			judged, err := e.oversellNow(tx, settings, sku)
			if err != nil {
				return err
			}
			if judged.available < 0 {
				if v.Short, lines, err = judged.judge(tx, nil, nil); err != nil {
					return err
				}
			}
		}
		proposals, err := e.proposals(tx, settings, sku, lines, now)
		if err != nil {
			return err
		}
		var keys []OrderKey
		for _, r := range chosen {
			keys = append(keys, r.OrderKey)
		}
		orders, err := tx.Orders(keys)
		if err != nil {
			return err
		}
		for n, a := range lines {
			view := affectedView(a.order, a.OrderKey, a.LineID)
			view.Units, view.Short = a.Quantity, a.short
			compensation := settings.incidentRule(ListingKey{a.Channel, a.Ref}, sku, now).Compensation
			for _, p := range proposals[n].Remedies {
				proposal := ProposalView{Kind: p.Kind, ReadyAt: optionalTime(p.ReadyAt), Substitute: p.Substitute}
				if p.Kind != stock.RemedyRefund {
					proposal.Compensation = compensation
				}
				view.Proposals = append(view.Proposals, proposal)
			}
			v.Affected = append(v.Affected, view)
		}
		for _, r := range chosen {
			at := slices.IndexFunc(v.Affected, func(a AffectedView) bool {
				return a.Connection == r.Channel && a.OrderID == r.OrderID && a.LineID == r.LineID
			})
			if at < 0 {
				at = len(v.Affected)
				v.Affected = append(v.Affected, affectedView(orders[r.OrderKey], r.OrderKey, r.LineID))
			}
			v.Affected[at].Remedy = remedyView(r)
		}
		return nil
	})
	return err
}

// oversellNow is what is stored of a SKU.
func (e *Engine) oversellNow(tx PlanTx, settings *decisions, sku stock.SKU) (oversell, error) {
	b := newBook(e, time.Now().UTC())
	b.settings = settings
	levels, err := tx.Levels([]stock.SKU{sku})
	if err != nil {
		return oversell{}, err
	}
	for _, key := range sortedKeys(levels, compareLevelKeys) {
		b.noteLevel(levels[key])
	}
	pools, err := tx.Pools([]stock.SKU{sku}, nil)
	if err != nil {
		return oversell{}, err
	}
	for _, name := range sortedKeys(pools, cmp.Compare[string]) {
		b.addPool(sku, &heldPool{name: name, state: pools[name]})
	}
	return b.oversellOf(sku), nil
}

func affectedView(o *Order, key OrderKey, lineID string) AffectedView {
	v := AffectedView{Connection: key.Channel, OrderID: key.OrderID, LineID: lineID, Proposals: []ProposalView{}}
	if o == nil {
		return v
	}
	v.AcceptedAt = optionalTime(o.AcceptedAt)
	if o.Buyer != nil {
		v.Buyer, v.Contact = o.Buyer.Ref, o.Buyer.Contact
	}
	for i := range o.Lines {
		if l := &o.Lines[i]; l.ID == lineID {
			v.Item = l.Ref.String()
			for _, c := range l.Components {
				v.Units = max(v.Units, c.Committed)
			}
		}
	}
	return v
}

// How much of the past a timeline tells: postings of the SKU, and writes of each of the first listings.
const (
	timelinePostings = 50
	timelineListings = 20
	timelineWrites   = 5
)

// addTimeline tells what led to an oversell. It is a function of what was recorded until the instant at which it was opened.
func (e *Engine) addTimeline(ctx context.Context, v *IncidentDetail, i Incident) error {
	sku := stock.SKU(i.Subject)
	levels, err := e.store.LevelsAt(ctx, sku, i.OpenedAt)
	if err != nil {
		return err
	}
	var available stock.Quantity
	for _, l := range levels {
		available += l.Available
	}
	entries, err := e.store.Entries(ctx, sku, i.OpenedAt, timelinePostings)
	if err != nil {
		return err
	}
	for _, p := range entries {
		after := available
		switch {
		case p.To == stock.Available:
			available -= p.Quantity
		case p.From == stock.Available:
			available += p.Quantity
		}
		c := CauseEventView{At: p.At.UTC(), Kind: "posting", Available: &after, Text: causeText(p)}
		if p.Cause.Event > 0 {
			c.Event = eventReference(p.Cause.Event)
		}
		v.Timeline = append(v.Timeline, c)
	}
	for _, l := range v.Listings[:min(len(v.Listings), timelineListings)] {
		pushes, err := e.store.Pushes(ctx, ListingKey{l.Connection, connectors.Ref{Item: l.Item, Place: l.Place}}, i.OpenedAt, timelineWrites)
		if err != nil {
			return err
		}
		for _, p := range pushes {
			v.Timeline = append(v.Timeline, CauseEventView{At: p.At.UTC(), Kind: "write", Text: fmt.Sprintf("%d was written to %s of %s, answer %s%s", p.Quantity, p.Ref, p.Connection, p.Outcome, suffix(": ", p.Error))})
		}
	}
	slices.SortStableFunc(v.Timeline, func(a, b CauseEventView) int { return b.At.Compare(a.At) })
	return nil
}

// causeText tells a posting to a person.
func causeText(p LedgerEntry) string {
	what := map[string]string{
		stock.CauseStatement: "the system of record stated its level", stock.CauseMovement: "the system of record moved units", stock.CauseCommitment: "order",
		stock.CauseDeduction: "the system of record took units for", stock.CauseRejection: "the system of record refused units for", stock.CauseReturn: "a return came in",
		stock.CauseReserve: "units were set aside",
	}[p.Cause.Kind]
	if what == "" {
		what = p.Cause.Kind
	}
	return fmt.Sprintf("%s%s: %d at %s from %s to %s", what, suffix(" ", p.Cause.Reference), p.Quantity, p.Location, p.From, p.To)
}
