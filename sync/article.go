package sync

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/truestock/truestock/stock"
)

// ArticleSetting is what an article is and how it is sold, by its SKU; its value is an Article.
const ArticleSetting SettingKind = "article"

// Article is what people decided about a SKU. The fields stand side by side, so that a row of a file holds an article.
type Article struct {
	// Kind and Mode are physical and finite where they are not given.
	Kind stock.Kind `json:"kind,omitempty"`
	Mode stock.Mode `json:"mode,omitempty"`
	// AlertThreshold is the number below which somebody is to be told.
	AlertThreshold *stock.Quantity `json:"alert_threshold,omitempty"`

	// Cap is the most that may be sold per window. Period, Zone, Begins, Weekday, Day and Openings are the calendar that
	// makes the windows, as in stock.Calendar.
	Cap      *stock.Quantity `json:"cap,omitempty"`
	Period   stock.Period    `json:"period,omitempty"`
	Zone     *stock.Zone     `json:"zone,omitempty"`
	Begins   *stock.Clock    `json:"begins,omitempty"`
	Weekday  *time.Weekday   `json:"weekday,omitempty"`
	Day      *int            `json:"day,omitempty"`
	Openings []stock.Opening `json:"openings,omitempty"`

	// Needs are the resources that one unit of a service takes for the whole of its window. WindowsAhead is how many of the
	// next windows are for sale, one where it is not given, and the cut-off is until when, as in stock.CutOff.
	Needs         []stock.Need `json:"needs,omitempty"`
	WindowsAhead  *int         `json:"windows_ahead,omitempty"`
	CutoffMinutes *int64       `json:"cutoff_minutes,omitempty"`
	CutoffDays    *int         `json:"cutoff_days,omitempty"`
	CutoffAt      *stock.Clock `json:"cutoff_at,omitempty"`

	// PerSecond, PerMinute and PerDay are what the service behind the article bears.
	PerSecond *stock.Quantity `json:"per_second,omitempty"`
	PerMinute *stock.Quantity `json:"per_minute,omitempty"`
	PerDay    *stock.Quantity `json:"per_day,omitempty"`
	// ScaleOutPermille is at which part of its cap, or of a rate, the service is asked to grow; 700.
	ScaleOutPermille *int64 `json:"scale_out_permille,omitempty"`

	// NativePermille is how much of the effective cap must be left for a channel that can to show no limit at all; 500. 0: never.
	NativePermille *int64 `json:"native_permille,omitempty"`

	// Money is in the smallest unit of one currency; Budget is per window.
	UnitCost    *int64 `json:"unit_cost,omitempty"`
	Price       *int64 `json:"price,omitempty"`
	FeePermille *int64 `json:"fee_permille,omitempty"`
	Budget      *int64 `json:"budget,omitempty"`

	// PriceElsewhere is what the same article costs at others, and LeastMargin what a sale must leave after fee and cost.
	PriceElsewhere *int64 `json:"price_elsewhere,omitempty"`
	LeastMargin    *int64 `json:"least_margin,omitempty"`
	// PlannedPerDay is the rate that the purchase was made for, in thousandths, and TargetCoverDays for how long it is to last.
	PlannedPerDay   *int64 `json:"planned_per_day_milli,omitempty"`
	TargetCoverDays *int64 `json:"target_cover_days,omitempty"`
	// GiftPermille is the part of what an order leaves that a gift may cost, and PromotionAudience how many buyers make a
	// promotion worth while; without them none is proposed.
	GiftPermille      *int64 `json:"gift_permille,omitempty"`
	PromotionAudience *int64 `json:"promotion_audience,omitempty"`
}

// rule is how the article is sold, with the defaults filled in.
func (a Article) rule(sku stock.SKU) stock.ItemRule {
	r := stock.ItemRule{Kind: a.Kind, Mode: a.Mode, Cap: a.Cap}
	if r.Kind == "" {
		r.Kind = stock.Physical
	}
	if r.Mode == "" {
		r.Mode = stock.Finite
	}
	if a.Period != "" {
		r.Calendar = &stock.Calendar{Resource: string(sku), Period: a.Period, Zone: value(a.Zone), At: value(a.Begins), Weekday: value(a.Weekday), Day: value(a.Day), Openings: a.Openings}
	}
	return r
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// windowed reports whether the article is sold by what its window has left, whatever stock there is.
func (a Article) windowed() bool { return a.Mode == stock.Unlimited || a.Kind == stock.Quota }

// limits are the bounds of an article that is sold by windows.
func (a Article) limits() stock.UnlimitedRule {
	u := stock.UnlimitedRule{Cap: value(a.Cap), ScaleOutPermille: value(a.ScaleOutPermille)}
	for _, ability := range []struct {
		most *stock.Quantity
		per  time.Duration
	}{{a.PerSecond, time.Second}, {a.PerMinute, time.Minute}, {a.PerDay, 24 * time.Hour}} {
		if ability.most != nil {
			u.Abilities = append(u.Abilities, stock.Ability{Most: *ability.most, Per: ability.per})
		}
	}
	if a.UnitCost != nil {
		u.Cost = &stock.Cost{UnitCost: *a.UnitCost, Price: value(a.Price), FeePermille: value(a.FeePermille), Budget: a.Budget}
	}
	return u
}

// validate names the first field that makes no sense, alone or with the others.
func (a Article) validate(sku stock.SKU) error {
	refuse := func(field, reason string) error { return &stock.FieldError{Field: field, Reason: reason} }
	for _, f := range []struct {
		name  string
		value *int64
	}{
		{"alert_threshold", quantityField(a.AlertThreshold)}, {"per_second", quantityField(a.PerSecond)}, {"per_minute", quantityField(a.PerMinute)},
		{"per_day", quantityField(a.PerDay)}, {"scale_out_permille", a.ScaleOutPermille}, {"native_permille", a.NativePermille}, {"unit_cost", a.UnitCost}, {"price", a.Price}, {"budget", a.Budget},
	} {
		if f.value != nil && (*f.value < 0 || *f.value > int64(stock.MaxQuantity)) {
			return refuse(f.name, fmt.Sprintf("is %d: it must be from 0 to %d", *f.value, stock.MaxQuantity))
		}
	}
	if a.NativePermille != nil && *a.NativePermille > 1000 {
		return refuse("native_permille", fmt.Sprintf("is %d: it must be from 0 to 1000", *a.NativePermille))
	}
	if err := a.validateTrade(); err != nil {
		return err
	}
	if err := a.validateService(); err != nil {
		return err
	}
	switch {
	case a.UnitCost != nil && a.Price == nil:
		return refuse("price", "is missing: whether a unit that costs something pays, its price tells")
	case a.UnitCost == nil && a.Budget != nil:
		return refuse("unit_cost", "is missing: how many units the budget pays, their cost tells")
	case a.Budget != nil && *a.UnitCost == 0:
		return refuse("unit_cost", "is 0: a budget bounds only what costs something")
	case a.Period == "" && (a.Zone != nil || a.Begins != nil || a.Weekday != nil || a.Day != nil || a.Openings != nil):
		return refuse("period", "is missing: say how often a window begins, daily, weekly, monthly or hours")
	case a.Period != "" && a.Zone == nil:
		return refuse("zone", "is missing: say by which clock the windows begin, such as Europe/Berlin or UTC")
	}
	if err := a.rule(sku).Validate(); err != nil {
		return articleField(err)
	}
	return articleField(a.limits().Validate())
}

// validateTrade checks what only reports read.
func (a Article) validateTrade() error {
	for _, f := range []struct {
		name        string
		value       *int64
		least, most int64
	}{
		{"fee_permille", a.FeePermille, 0, 999}, {"price_elsewhere", a.PriceElsewhere, 0, stock.MaxMoney}, {"least_margin", a.LeastMargin, -stock.MaxMoney, stock.MaxMoney},
		{"planned_per_day_milli", a.PlannedPerDay, 0, int64(stock.MaxRate)}, {"target_cover_days", a.TargetCoverDays, 1, stock.MaxLeadDays},
		{"gift_permille", a.GiftPermille, 0, 1000}, {"promotion_audience", a.PromotionAudience, 0, int64(stock.MaxQuantity)},
	} {
		if f.value != nil && (*f.value < f.least || *f.value > f.most) {
			return &stock.FieldError{Field: f.name, Reason: fmt.Sprintf("is %d: it must be from %d to %d", *f.value, f.least, f.most)}
		}
	}
	return nil
}

func quantityField(q *stock.Quantity) *int64 { return (*int64)(q) }

// articleField gives an error the name that the field has in an Article.
func articleField(err error) error {
	f, ok := errors.AsType[*stock.FieldError](err)
	if !ok {
		return err
	}
	name := strings.TrimPrefix(strings.TrimPrefix(f.Field, "calendar."), "cost.")
	switch name {
	case "calendar":
		name = "period"
	case "at":
		name = "begins"
	}
	return &stock.FieldError{Field: name, Reason: f.Reason}
}

func parseArticle(_ isChannel, key string, value json.RawMessage) (any, error) {
	if key == "" || len(key) > 200 || strings.TrimSpace(key) != key {
		return nil, &stock.FieldError{Field: "key", Reason: "is not a SKU: an article is named by its SKU"}
	}
	a, err := readSetting[Article](value)
	if err != nil {
		return nil, err
	}
	return a, a.validate(stock.SKU(key))
}

func touchedByArticle(key string) Touch { return Touch{SKUs: []stock.SKU{stock.SKU(key)}} }

func renamedArticle(key string, value json.RawMessage, from, to stock.SKU) (string, json.RawMessage, bool) {
	if key != string(from) {
		return key, value, false
	}
	return string(to), value, true
}

// article is what was decided about a SKU at an instant.
func (d *decisions) article(sku stock.SKU, at time.Time) Article {
	if d == nil {
		return Article{}
	}
	a, _ := d.inForce(ArticleSetting, string(sku), at).(Article)
	return a
}

// Sale is what an order line wants of an article that is sold by windows or by keys, and when it was placed: a function of the
// order's document. Where the channel does not tell when, the instant at which the order was accepted stands for it.
type Sale struct {
	OrderKey
	LineID string
	SKU    stock.SKU
	Units  stock.Quantity
	At     time.Time
}

// noteSale counts a line of an article that is sold by windows, or by keys.
func (b *book) noteSale(o *Order, l *OrderLine, c *LineComponent) {
	id := commitmentID{o.Key(), l.ID, c.SKU}
	if _, service := b.settings.service(c.SKU, b.now); service || len(c.Slots) > 0 {
		b.booked[id] = true
		return
	}
	windowed := b.settings.article(c.SKU, b.now).windowed()
	if !windowed && !b.isLicence(c.SKU) {
		return
	}
	units := o.openUnits(l, c)
	if b.isLicence(c.SKU) {
		units = max(0, units-o.rejected(l, c)) // what the system of record will not deliver wants no key, and keeps the one it has
	}
	s := Sale{OrderKey: o.Key(), LineID: l.ID, SKU: c.SKU, Units: units, At: o.orderedAt()}
	b.sales[id], b.saleEvents[id] = s, b.event
	if windowed && s.Units != c.Counted {
		b.counted[id] += s.Units - c.Counted
		c.Counted = s.Units
	}
}

// lateTolerance is how long after the end of its window an order may reach us before that is told.
const lateTolerance = 5 * time.Minute

// watchCaps opens an incident where the batch sold more of a window than its cap, or sold of a window that was long over.
// What a channel has sold already is counted in the window in which it was placed, whatever the cap.
func (b *book) watchCaps(tx LedgerTx) error {
	type window struct {
		sku   stock.SKU
		start time.Time
	}
	usages, grown := make(map[window]*stock.Usage), make(map[window]stock.Counted)
	var windows []window
	for _, id := range sortedKeys(b.counted, compareCommitments) {
		more, s := b.counted[id], b.sales[id]
		a := b.settings.article(s.SKU, b.now)
		w, _, open := a.rule(s.SKU).Calendar.WindowOf(s.At, b.now)
		if !open {
			if more > 0 {
				b.incidents = append(b.incidents, Incident{Kind: IncidentOverCap, Subject: string(s.SKU), OpenedAt: b.now,
					Message: fmt.Sprintf("order %s of %s took %d of %s at %s, when no window of it was open. Find out whether they can be served, or tell the buyer.",
						id.OrderID, id.Channel, more, s.SKU, s.At.UTC().Format(time.RFC3339))})
			}
			continue
		}
		key := window{s.SKU, w.Start.UTC()}
		u := usages[key]
		if u == nil {
			used, _, err := tx.Sold(s.SKU, w.Start, w.End)
			if err != nil {
				return err
			}
			most, _ := a.limits().EffectiveCap(w.Length())
			u = &stock.Usage{Window: w, Cap: most, Used: used}
			usages[key], windows = u, append(windows, key)
		}
		if more <= 0 {
			u.Used += more
			continue
		}
		counted, err := u.Count(more, s.At, b.now.Add(-lateTolerance))
		if err != nil {
			return err
		}
		sum := grown[key]
		grown[key] = stock.Counted{Late: sum.Late || counted.Late, Over: sum.Over + counted.Over}
	}
	for _, key := range windows {
		u, c := usages[key], grown[key]
		span := fmt.Sprintf("the window of %s from %s to %s", key.sku, u.Window.Start.UTC().Format(time.RFC3339), u.Window.End.UTC().Format(time.RFC3339))
		over := min(c.Over, u.Used-u.Cap)
		var message string
		switch {
		case over > 0 && c.Late:
			message = fmt.Sprintf("%s was over when an order of it came, and has sold %d of %d. Its orders stand; serve the %d that are too many out of another window, or tell their buyers.", span, u.Used, u.Cap, u.Used-u.Cap)
		case over > 0:
			message = fmt.Sprintf("%s has sold %d of %d. Nothing more is offered; raise the cap, or tell the buyers of the %d that are too many.", span, u.Used, u.Cap, u.Used-u.Cap)
		case c.Late:
			message = fmt.Sprintf("%s was over when an order of it came; it is counted there, %d of %d. See whether its buyer was served.", span, u.Used, u.Cap)
		default:
			continue
		}
		b.incidents = append(b.incidents, Incident{Kind: IncidentOverCap, Subject: string(key.sku), OpenedAt: b.now, Message: message})
	}
	return nil
}

// demand is what an article that is sold by windows has left at an instant.
type demand struct {
	left  stock.Quantity
	steps []stock.Step
	// next is when the number changes by the passing of time alone.
	next time.Time
	// opened are incidents that there are from now on; over names those that are over when they were opened before OpenedAt.
	opened, over []Incident
	// roomy is true while a channel may show no limit.
	roomy bool
	// near is set while the cap of the window, or a rate, is near.
	near *nearCap
}

// loadDemand works out what the articles that are sold by windows have left.
func (p *planInput) loadDemand(tx PlanTx) error {
	p.demand = make(map[stock.SKU]demand)
	if !p.settings.any(ArticleSetting) {
		return nil
	}
	for _, key := range p.keys {
		for _, c := range p.components[key] {
			if _, done := p.demand[c.SKU]; done {
				continue
			}
			var d demand
			var err error
			if s, service := p.settings.service(c.SKU, p.at); service {
				d, err = p.capacityOf(tx, s)
			} else if a := p.settings.article(c.SKU, p.at); a.windowed() {
				d, err = p.demandOf(tx, c.SKU, a)
			} else {
				continue
			}
			if err != nil {
				return err
			}
			p.demand[c.SKU] = d
		}
	}
	return nil
}

// comingWindows is how far ahead the next window is looked for: every calendar begins one within it.
const comingWindows = 32 * 24 * time.Hour

func (p *planInput) demandOf(tx PlanTx, sku stock.SKU, a Article) (demand, error) {
	calendar, limits := a.rule(sku).Calendar, a.limits()
	w, _, open := calendar.WindowOf(p.at, p.at)
	if !open {
		d := demand{steps: []stock.Step{{Rule: "no window is open now", Before: limits.Cap, After: 0}}}
		if coming := calendar.Between(p.at, p.at.Add(comingWindows)); len(coming) > 0 {
			d.next = coming[0].Start
		}
		return d, nil
	}
	// What the past showed is told by the orders placed until then; what is shown now counts an order also where the
	// clock of its channel is ahead of ours.
	until := func(end time.Time) time.Time {
		if now := p.at.Add(1); p.rules != nil && now.Before(end) {
			return now
		}
		return end
	}
	effective, reasons := limits.EffectiveCap(w.Length())
	used, _, err := tx.Sold(sku, w.Start, until(w.End))
	if err != nil {
		return demand{}, err
	}
	measured := stock.Demand{Usage: stock.Usage{Window: w, Cap: effective, Used: used}}
	d := demand{next: w.End, over: []Incident{{Kind: IncidentOverCap, Subject: string(sku), OpenedAt: w.Start}}}
	var expiries []time.Time
	for _, ability := range limits.Abilities {
		recent, oldest, err := tx.Sold(sku, p.at.Add(-ability.Per).Add(1), until(p.at.Add(ability.Per)))
		if err != nil {
			return demand{}, err
		}
		measured.Recent = append(measured.Recent, recent)
		expiries = append(expiries, oldest.Add(ability.Per))
	}
	published := limits.Publish(measured)
	d.left = published.Quantity
	d.roomy = a.roomy(measured.Usage.Left(), effective, published.Surge)
	if published.ScaleOut {
		d.near = &nearCap{Window: w, Used: used, Cap: effective, Left: d.left}
	}

	d.steps = append(d.steps, stock.Step{Rule: fmt.Sprintf("the cap of the window from %s to %s", w.Start.UTC().Format(time.RFC3339), w.End.UTC().Format(time.RFC3339)), Before: limits.Cap, After: limits.Cap})
	number := limits.Cap
	step := func(rule string, most stock.Quantity) {
		d.steps = append(d.steps, stock.Step{Rule: rule, Before: number, After: min(number, most)})
		number = min(number, most)
	}
	for _, r := range reasons[1:] {
		step(r.Reason, r.Most)
	}
	step(fmt.Sprintf("%d sold in the window", used), measured.Usage.Left())
	for i, r := range published.Bounds[1:] {
		reason := r.Reason
		if published.Surge {
			reason += ", amid a surge"
		}
		step(reason, r.Most)
		// A rate that bounds the number lets go of it when its oldest sale is that long ago.
		if measured.Recent[i] > 0 && r.Most == d.left && expiries[i].Before(d.next) {
			d.next = expiries[i]
		}
	}
	return d, nil
}

// later are the instants at which the numbers of SKUs change by themselves.
func (p *planInput) later() map[stock.SKU]time.Time {
	later := make(map[stock.SKU]time.Time)
	for sku, d := range p.demand {
		if !d.next.IsZero() {
			later[sku] = d.next
		}
	}
	return later
}
