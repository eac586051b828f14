package sync

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/truestock/truestock/stock"
)

// The states of a campaign.
const (
	CampaignPlanned = "planned"
	CampaignRunning = "running"
	CampaignOver    = "over"
)

// CampaignView is a campaign with what became of it.
type CampaignView struct {
	Name      string             `json:"name"`
	SKU       stock.SKU          `json:"sku"`
	State     string             `json:"state" enum:"planned,running,over"`
	Purpose   string             `json:"purpose,omitempty" enum:"campaign,bulk_buyer,channel"`
	Channel   stock.ConnectionID `json:"channel,omitempty"`
	Listings  []string           `json:"listings" doc:"the listings that sell from it; none: every one of its channel, or nobody"`
	Location  stock.LocationID   `json:"location,omitempty"`
	Exclusive bool               `json:"exclusive"`
	Start     time.Time          `json:"start"`
	End       time.Time          `json:"end"`
	Quantity  stock.Quantity     `json:"quantity" doc:"what is decided to be set aside"`
	Opened    stock.Quantity     `json:"opened" doc:"what its tranches have opened for sale"`
	Sold      stock.Quantity     `json:"sold"`
	Reserved  stock.Quantity     `json:"reserved" doc:"what is set aside now"`
	Committed stock.Quantity     `json:"committed" doc:"what is promised to its buyers and not shipped"`
	Returns   stock.Quantity     `json:"returns" doc:"what goes back to the general stock at the end as things are, or went back"`
	// Pace compares the part sold with the part of the time that has passed.
	SoldPermille    int64              `json:"sold_permille"`
	ElapsedPermille int64              `json:"elapsed_permille"`
	SellsOutAt      *time.Time         `json:"sells_out_at" doc:"at the pace so far; null when nothing is sold or it is too far to say"`
	Steps           []CampaignStepView `json:"steps" doc:"its start, its tranches and its end"`
}

// CampaignStepView is the start, a tranche or the end of a campaign.
type CampaignStepView struct {
	Step              string         `json:"step" enum:"start,tranche,end"`
	N                 int            `json:"n,omitempty" doc:"of a tranche, from 1"`
	PlannedAt         *time.Time     `json:"planned_at" doc:"null when it waits for sales"`
	AfterSoldPermille int64          `json:"after_sold_permille,omitempty" doc:"how much of what is open must be sold"`
	Quantity          stock.Quantity `json:"quantity" doc:"units set aside, opened or given back; of an end to come as things are"`
	Sum               stock.Quantity `json:"sum,omitempty" doc:"opened with all tranches before"`
	State             string         `json:"state" enum:"waiting,done"`
	DoneAt            *time.Time     `json:"done_at"`
	LateMS            *int64         `json:"late_ms" doc:"from the instant planned to the instant done"`
}

// Campaigns lists campaigns by name, after the one given, with those that are over.
func (e *Engine) Campaigns(ctx context.Context, after string, limit int) ([]CampaignView, error) {
	views := []CampaignView{}
	err := e.store.View(ctx, func(tx PlanTx) error {
		d, err := e.decisions(tx)
		if err != nil {
			return err
		}
		d.mu.Lock()
		names := slices.Sorted(maps.Keys(d.values[CampaignSetting]))
		d.mu.Unlock()
		from, found := slices.BinarySearch(names, after)
		if found {
			from++
		}
		for chunk := range slices.Chunk(names[from:], max(1, limit)) {
			more, err := e.campaignViews(tx, d, chunk)
			if err != nil {
				return err
			}
			if views = append(views, more...); len(views) >= limit {
				views = views[:limit]
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list campaigns: %w", err)
	}
	return views, nil
}

// Campaign tells of one campaign. ErrNotFound when there never was one of the name, or it was removed before it began.
func (e *Engine) Campaign(ctx context.Context, name string) (CampaignView, error) {
	var views []CampaignView
	err := e.store.View(ctx, func(tx PlanTx) error {
		d, err := e.decisions(tx)
		if err == nil {
			views, err = e.campaignViews(tx, d, []string{name})
		}
		return err
	})
	if err == nil && len(views) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return CampaignView{}, fmt.Errorf("campaign %s: %w", name, err)
	}
	return views[0], nil
}

// campaignViews leaves out those that were removed before they began.
func (e *Engine) campaignViews(tx PlanTx, d *decisions, names []string) ([]CampaignView, error) {
	states, err := tx.Pools(nil, names)
	if err != nil {
		return nil, err
	}
	steps, err := tx.PoolSteps(names)
	if err != nil {
		return nil, err
	}
	decided, now := d.campaigns(), time.Now().UTC()
	var views []CampaignView
	for _, name := range names {
		if def, state := decided[name], states[name]; def != nil || state != nil {
			views = append(views, campaignView(name, def, state, steps[name], now))
		}
	}
	return views, nil
}

func campaignView(name string, def *campaign, state *PoolState, done []PoolStep, now time.Time) CampaignView {
	v := CampaignView{Name: name, State: CampaignPlanned, Listings: []string{}, Steps: []CampaignStepView{}}
	var plan []stock.Release
	if def != nil {
		v.SKU, v.Purpose, v.Channel, v.Location, v.Exclusive = def.SKU, def.Purpose, def.Channel, def.Location, def.Exclusive
		v.Listings = append(v.Listings, def.Listings...)
		v.Start, v.End, v.Quantity = def.Start, def.End, def.Quantity
		if plan = def.plan; len(plan) == 0 {
			plan = []stock.Release{{N: 1, At: def.Start, Quantity: def.Quantity, Sum: def.Quantity}}
		}
		if !now.Before(def.End) {
			v.State = CampaignOver
		}
	}
	until := now
	if state != nil {
		v.State, v.SKU, v.Start = CampaignRunning, state.SKU, state.Start.UTC()
		v.Opened, v.Sold = state.Opened, state.Sold
		v.Reserved, v.Committed = state.sums(everywhere)
		if def == nil {
			v.Quantity, v.End = state.Allotted, state.EndedAt.UTC()
		}
		if !state.running() {
			v.State, until = CampaignOver, state.EndedAt
		}
	}
	v.Returns = max(0, v.Quantity-v.Sold)
	happened := make(map[int]PoolStep, len(done))
	for _, s := range done {
		happened[s.N] = s
	}
	if end, over := happened[PoolEnd]; over {
		v.Returns = end.Quantity
		if end.PlannedAt.Before(v.End) {
			v.End = end.PlannedAt.UTC() // it was removed
		}
	}
	pace := stock.Pool{Name: name, Start: v.Start, End: v.End, Allotted: v.Quantity}.Pace(v.Sold, until)
	v.SoldPermille, v.ElapsedPermille, v.SellsOutAt = pace.SoldPermille, pace.ElapsedPermille, optionalTime(pace.SellsOutAt)

	add := func(step string, n int, planned time.Time, s CampaignStepView) {
		s.Step, s.N, s.PlannedAt, s.State = step, max(0, n), optionalTime(planned), "waiting"
		if was, ok := happened[n]; ok {
			s.State, s.DoneAt, s.Quantity = "done", optionalTime(was.At), was.Quantity
			if s.PlannedAt = optionalTime(was.PlannedAt); s.PlannedAt != nil {
				s.LateMS = new(max(0, was.At.Sub(was.PlannedAt).Milliseconds()))
			}
			delete(happened, n)
		}
		v.Steps = append(v.Steps, s)
	}
	add("start", 0, v.Start, CampaignStepView{Quantity: v.Quantity})
	for _, r := range plan {
		s := CampaignStepView{AfterSoldPermille: r.AfterSoldPermille, Quantity: r.Quantity, Sum: r.Sum}
		if def != nil && len(def.plan) == 0 && state != nil {
			// All is open from the start on: that is no step of its own.
			s.State, s.DoneAt = "done", optionalTime(state.StartedAt)
			s.Step, s.N, s.PlannedAt, s.LateMS = "tranche", r.N, optionalTime(r.At), new(max(0, state.StartedAt.Sub(r.At).Milliseconds()))
			v.Steps = append(v.Steps, s)
			continue
		}
		add("tranche", r.N, r.At, s)
	}
	for _, n := range sortedKeys(happened, cmp.Compare[int]) { // of a plan that was changed since
		if n > 0 {
			add("tranche", n, time.Time{}, CampaignStepView{})
		}
	}
	add("end", PoolEnd, v.End, CampaignStepView{Quantity: v.Returns})
	return v
}
