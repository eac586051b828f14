package sync

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/stock"
)

// ReplenishmentSetting says how much of a SKU is kept for the time in which it is replenished, by that SKU; its value is a
// ReplenishmentPolicy.
const ReplenishmentSetting SettingKind = "replenishment"

// The types of messages about replenishment.
const (
	MessageReplenish   = "replenishment.raised"
	MessageReplenished = "replenishment.cleared"
)

// The ways to a safety stock.
const (
	SafetyFixed        = "fixed"
	SafetyGreatest     = "greatest"
	SafetyServiceLevel = "service_level"
)

// ReplenishmentPolicy is what somebody decided about the safety stock of a SKU.
type ReplenishmentPolicy struct {
	// Method is fixed, greatest or service_level.
	Method string `json:"method"`
	// SafetyStock is the number, where it is fixed.
	SafetyStock *stock.Quantity `json:"safety_stock,omitempty"`
	// LeadDays are the lead times of the replenishments that were measured, in days, where it is not.
	LeadDays []int64 `json:"lead_days,omitempty"`
	// Days is how many of the last days of sales are looked at; 90.
	Days *int64 `json:"days,omitempty"`
	// ServicePermille is how often no sale is to be missed while one waits for a replenishment: 950 in 95 of 100 times.
	ServicePermille *int64 `json:"service_permille,omitempty"`
	// OnOrder are units that are ordered and have not arrived, beside the purchases that are decided.
	OnOrder *stock.Quantity `json:"on_order,omitempty"`
}

func (r ReplenishmentPolicy) days() int {
	if r.Days == nil {
		return 90
	}
	return int(*r.Days)
}

func parseReplenishment(_ isChannel, key string, raw json.RawMessage) (any, error) {
	refuse := func(field, format string, args ...any) (any, error) {
		return nil, &stock.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	if key == "" || len(key) > 200 || strings.TrimSpace(key) != key {
		return refuse("key", "is not a SKU: a replenishment is named by its SKU")
	}
	r, err := readSetting[ReplenishmentPolicy](raw)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name        string
		value       *int64
		least, most int64
	}{
		{"safety_stock", quantityField(r.SafetyStock), 0, int64(stock.MaxQuantity)}, {"on_order", quantityField(r.OnOrder), 0, int64(stock.MaxQuantity)},
		{"days", r.Days, 2, maxSeriesDays - 1}, {"service_permille", r.ServicePermille, 500, 999},
	} {
		if f.value != nil && (*f.value < f.least || *f.value > f.most) {
			return refuse(f.name, "is %d: it must be from %d to %d", *f.value, f.least, f.most)
		}
	}
	for i, days := range r.LeadDays {
		if days < 0 || days > stock.MaxLeadDays {
			return refuse(fmt.Sprintf("lead_days[%d]", i), "is %d: it must be from 0 to %d", days, stock.MaxLeadDays)
		}
	}
	switch {
	case !slices.Contains([]string{SafetyFixed, SafetyGreatest, SafetyServiceLevel}, r.Method):
		return refuse("method", "is %q: write fixed, greatest or service_level", r.Method)
	case (r.Method == SafetyFixed) != (r.SafetyStock != nil):
		return refuse("safety_stock", "belongs to the method fixed, which needs it")
	case r.Method != SafetyFixed && len(r.LeadDays) == 0:
		return refuse("lead_days", "is missing: say in how many days the last replenishments came, such as [3,2]")
	case (r.Method == SafetyServiceLevel) != (r.ServicePermille != nil):
		return refuse("service_permille", "belongs to the method service_level, which needs it")
	}
	return r, nil
}

// replenishment is what was decided about a SKU; ok is false where nothing was.
func (d *decisions) replenishment(sku stock.SKU, at time.Time) (r ReplenishmentPolicy, ok bool) {
	r, ok = d.inForce(ReplenishmentSetting, string(sku), at).(ReplenishmentPolicy)
	return r, ok
}

// Measure is what the ledger told of the sales of a SKU on the days before an instant, and what follows from it.
type Measure struct {
	SKU stock.SKU `json:"sku"`
	At  time.Time `json:"at"`
	// Velocity is that of the last 28 days; Days is 0 where nothing is known.
	Velocity stock.Velocity `json:"velocity"`
	// Safety is the safety stock by Method, nil where it is not asked for or cannot be told; Problem says why.
	Safety  *stock.Quantity `json:"safety_stock"`
	Method  string          `json:"method,omitempty"`
	Problem string          `json:"problem,omitempty"`
	// The rest is what it was computed from.
	Days            int            `json:"days,omitempty" doc:"how many days of sales"`
	Greatest        stock.Quantity `json:"greatest_daily_sale,omitempty"`
	LeadDays        []int64        `json:"lead_days,omitempty"`
	ServicePermille int64          `json:"service_permille,omitempty"`
	Explanation     string         `json:"explanation,omitempty"`
}

// measure computes what follows from the days of a SKU, the oldest first.
func measure(sku stock.SKU, days []stock.Day, r ReplenishmentPolicy, asked bool, now time.Time) Measure {
	m := Measure{SKU: sku, At: now, Velocity: stock.VelocityOf(days, 28)}
	if !asked || r.Method == SafetyFixed {
		return m
	}
	if n := r.days(); len(days) > n {
		days = days[len(days)-n:]
	}
	m.Method, m.Days, m.LeadDays, m.ServicePermille = r.Method, len(days), r.LeadDays, value(r.ServicePermille)
	daily := make([]stock.Quantity, len(days))
	for i, d := range days {
		daily[i] = max(0, d.Sold)
		m.Greatest = max(m.Greatest, daily[i])
	}
	var safety stock.Quantity
	var err error
	switch r.Method {
	case SafetyGreatest:
		if safety, err = stock.GreatestSafetyStock(daily, r.LeadDays); err == nil {
			m.Explanation = fmt.Sprintf("greatest daily sale of %d days %d × longest lead time %d days = %d", len(days), m.Greatest, slices.Max(r.LeadDays), safety)
		}
	default:
		var z int64
		if z, err = stock.ServiceFactor(value(r.ServicePermille)); err == nil {
			safety, err = stock.ServiceLevelSafetyStock(daily, r.LeadDays, z)
		}
		if err == nil {
			m.Explanation = fmt.Sprintf("service level of %d ‰ over %d days of sales and %d lead times = %d", value(r.ServicePermille), len(days), len(r.LeadDays), safety)
		}
	}
	if err != nil {
		m.Problem = err.Error()
		return m
	}
	m.Safety = &safety
	return m
}

// same reports whether two measures say the same.
func (m Measure) same(o *Measure) bool {
	if o == nil {
		return false
	}
	return m.Velocity == o.Velocity && sameQuantity(m.Safety, o.Safety) && m.Method == o.Method && m.Problem == o.Problem && m.Days == o.Days && m.Greatest == o.Greatest &&
		slices.Equal(m.LeadDays, o.LeadDays) && m.ServicePermille == o.ServicePermille
}

// safety is the safety stock that is computed for a SKU, with how; nil where none is.
func (p *planInput) safety(sku stock.SKU) (*stock.Quantity, string) {
	r, ok := p.settings.replenishment(sku, p.at)
	if !ok {
		return nil, ""
	}
	if r.Method == SafetyFixed {
		return r.SafetyStock, "safety stock for replenishment, fixed"
	}
	if m := p.measures[sku]; m != nil && m.Method == r.Method && m.Safety != nil {
		return m.Safety, "safety stock: " + m.Explanation
	}
	return nil, ""
}

// loadMeasures loads what was measured of the SKUs of the listings.
func (p *planInput) loadMeasures(tx PlanTx) error {
	if !p.settings.any(ReplenishmentSetting) && !p.settings.any(PolicySetting) {
		return nil
	}
	wanted := make(map[stock.SKU]bool)
	for _, components := range p.components {
		for _, c := range components {
			wanted[c.SKU] = true
		}
	}
	var err error
	p.measures, err = tx.Measures(sortedKeys(wanted, cmp.Compare[stock.SKU]), p.at)
	return err
}

// ReplenishmentState is an urgent replenishment: from the instant at which too few were there and on order, until enough are.
type ReplenishmentState struct {
	ID       int64
	SKU      stock.SKU
	RaisedAt time.Time
	// ClearedAt is zero while it is open; Change says by what it was cleared.
	ClearedAt time.Time
	Change    stock.ReplenishmentChange
	// Point is safety stock + alert threshold; Total is there and promised to nobody, OnOrder will arrive, Missing is to be ordered.
	Safety, Threshold, Point, Total, OnOrder, Missing stock.Quantity
}

func (w *watch) watchReplenishments(tx PlanTx, skus []stock.SKU, levels map[stock.SKU]total, known map[stock.SKU]bool) error {
	if !w.settings.any(ReplenishmentSetting) {
		return nil
	}
	open, err := tx.OpenReplenishments(skus)
	if err != nil {
		return err
	}
	// What no listing contains was not loaded with the listings.
	measures, err := tx.Measures(skus, w.at)
	if err != nil {
		return err
	}
	p := *w.planInput
	p.measures = measures
	var changed []*ReplenishmentState
	changes := make(map[*ReplenishmentState]stock.ReplenishmentChange)
	for _, sku := range skus {
		r, asked := w.settings.replenishment(sku, w.now)
		safety, _ := p.safety(sku)
		if !asked || safety == nil || !known[sku] {
			if s := open[sku]; s != nil && !asked { // nobody wants to know any more
				s.ClearedAt = w.now
				changed = append(changed, s)
			}
			continue
		}
		threshold := value(w.settings.alertPolicy(sku, nil, w.now).Threshold)
		point := stock.ReorderPoint(*safety, threshold)
		var before stock.Replenishment
		s := open[sku]
		if s != nil {
			before = stock.Replenishment{Raised: true, RaisedAt: s.RaisedAt}
		} else {
			s = &ReplenishmentState{SKU: sku, RaisedAt: w.now}
		}
		onOrder := levels[sku].incoming + value(r.OnOrder)
		for _, a := range w.settings.arrivals(sku, w.now) {
			onOrder += a.Units
		}
		_, change, missing := before.Next(levels[sku].unpromised, onOrder, point, w.now)
		now := ReplenishmentState{ID: s.ID, SKU: sku, RaisedAt: s.RaisedAt, Safety: *safety, Threshold: threshold, Point: point, Total: levels[sku].unpromised, OnOrder: onOrder, Missing: missing}
		switch change {
		case stock.ReplenishmentUnchanged:
			if !before.Raised || now == *s {
				continue
			}
		case stock.ReplenishmentRaised:
		default:
			now.ClearedAt, now.Change = w.now, change
		}
		*s = now
		changed = append(changed, s)
		changes[s] = change
	}
	if len(changed) == 0 {
		return nil
	}
	if err := tx.SaveReplenishments(changed); err != nil {
		return err
	}
	for _, s := range changed {
		if change := changes[s]; change != stock.ReplenishmentUnchanged {
			w.messages = append(w.messages, s.message(change, w.now))
		}
	}
	return nil
}

func (s *ReplenishmentState) message(change stock.ReplenishmentChange, now time.Time) Message {
	id := eventReference(s.ID)
	kind, title := MessageReplenish, fmt.Sprintf("Order %d of %s at once", s.Missing, s.SKU)
	text := fmt.Sprintf("%d of %s are there and %d on order, which is below the reorder point of %d: safety stock %d + alert threshold %d. Order at least %d.", s.Total, s.SKU, s.OnOrder, s.Point, s.Safety, s.Threshold, s.Missing)
	switch change {
	case stock.ReplenishmentArrived:
		kind, title, text = MessageReplenished, fmt.Sprintf("%s is replenished", s.SKU), fmt.Sprintf("%d of %s are there, and the reorder point is %d.", s.Total, s.SKU, s.Point)
	case stock.ReplenishmentOnOrder:
		kind, title, text = MessageReplenished, fmt.Sprintf("%s is on order", s.SKU), fmt.Sprintf("%d of %s are there and %d on order, and the reorder point is %d.", s.Total, s.SKU, s.OnOrder, s.Point)
	}
	return newMessage(names("replenishment", id, string(change)), kind, string(s.SKU), title, text, now, struct {
		Replenishment string                    `json:"replenishment"`
		SKU           stock.SKU                 `json:"sku"`
		Change        stock.ReplenishmentChange `json:"change"`
		Safety        stock.Quantity            `json:"safety_stock"`
		Threshold     stock.Quantity            `json:"alert_threshold"`
		Point         stock.Quantity            `json:"reorder_point"`
		Total         stock.Quantity            `json:"total"`
		OnOrder       stock.Quantity            `json:"on_order"`
		Missing       stock.Quantity            `json:"missing"`
	}{id, s.SKU, change, s.Safety, s.Threshold, s.Point, s.Total, s.OnOrder, s.Missing})
}

// --- measuring ----------------------------------------------------------------------------------------------------------

// measuredFeed is the day on which everything was last measured; lagFeed is in what time a channel shows a change.
const (
	measuredFeed = "measured"
	lagFeed      = "lag"
)

// measureLoop measures everything once a day, after midnight in UTC.
func (e *Engine) measureLoop(ctx context.Context) (time.Duration, error) {
	var utc stock.Zone
	today := utc.DateOf(time.Now()).String()
	day, err := e.store.Bookmark(ctx, "", measuredFeed)
	if err != nil || day == today {
		return e.timings.Look, err
	}
	if _, err := e.MeasureAll(ctx, nil); err != nil {
		return 0, err
	}
	return e.timings.Look, e.store.SetBookmark(ctx, "", measuredFeed, today)
}

// MeasureAll measures the sales of SKUs, of all of them where none are named, and the lag of every channel, and stores what
// is another than before. It returns how many SKUs have a new measure.
func (e *Engine) MeasureAll(ctx context.Context, skus []stock.SKU) (int, error) {
	settings, err := e.settingsNow(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range e.sortedChannels() {
		if err := e.measureLag(ctx, c); err != nil {
			return 0, err
		}
	}
	if !settings.any(ReplenishmentSetting) && !settings.any(PolicySetting) {
		return 0, nil
	}
	changed := 0
	page := skus
	for after := stock.SKU(""); ; {
		if len(skus) == 0 {
			if page, err = e.store.StockedSKUs(ctx, after, maxBatch); err != nil {
				return changed, fmt.Errorf("list what is measured: %w", err)
			}
		}
		n, err := e.measureSKUs(ctx, settings, page)
		changed += n
		if err != nil || len(skus) > 0 || len(page) < maxBatch {
			return changed, err
		}
		after = page[len(page)-1]
	}
}

func (e *Engine) measureSKUs(ctx context.Context, settings *decisions, skus []stock.SKU) (int, error) {
	if len(skus) == 0 {
		return 0, nil
	}
	now := time.Now().UTC()
	today := now.Truncate(24 * time.Hour)
	span := 90
	for _, sku := range skus {
		if r, ok := settings.replenishment(sku, now); ok {
			span = max(span, r.days())
		}
	}
	series, err := e.DailySeries(ctx, skus, today.AddDate(0, 0, -span), today)
	if err != nil {
		return 0, err
	}
	before, err := e.store.MeasuresAt(ctx, skus, now)
	if err != nil {
		return 0, fmt.Errorf("look at the last measures: %w", err)
	}
	var changed []Measure
	for _, sku := range skus {
		r, asked := settings.replenishment(sku, now)
		if m := measure(sku, series[sku].days(), r, asked, now); !m.same(before[sku]) {
			changed = append(changed, m)
		}
	}
	if len(changed) == 0 {
		return 0, nil
	}
	if err := e.store.SaveMeasures(ctx, changed); err != nil {
		return 0, fmt.Errorf("store measures: %w", err)
	}
	e.wakePlan.send()
	return len(changed), nil
}

// lagPermille is of how many changes of a channel the lag is the longest.
const lagPermille = 950

// measureLag measures in what time a channel shows a change, over the last week.
func (e *Engine) measureLag(ctx context.Context, c *channelState) error {
	lag, n, err := e.store.ShownWithin(ctx, c.id, time.Now().Add(-7*24*time.Hour), lagPermille)
	if err != nil {
		return fmt.Errorf("measure the lag of %s: %w", c.id, err)
	}
	if n == 0 {
		return nil // what was measured before still holds
	}
	lag = max(lag, time.Millisecond)
	c.lag.Store(int64(lag))
	return e.store.SetBookmark(ctx, c.id, lagFeed, lag.String())
}

// readLags reads what was measured before the start.
func (e *Engine) readLags(ctx context.Context) error {
	for _, c := range e.sortedChannels() {
		text, err := e.store.Bookmark(ctx, c.id, lagFeed)
		if err != nil {
			return fmt.Errorf("load the lag of %s: %w", c.id, err)
		}
		if lag, err := time.ParseDuration(text); err == nil {
			c.lag.Store(int64(lag))
		}
	}
	return nil
}

// lagOf is in what time a channel shows a sale elsewhere. Until that was measured it is the time in which the channel is asked.
func (e *Engine) lagOf(id stock.ConnectionID) time.Duration {
	c := e.channels[id]
	if c == nil {
		return 0
	}
	return cmp.Or(time.Duration(c.lag.Load()), c.connectionState.poll)
}

// measureChanged measures at once what was decided about replenishment. What cannot be measured now is measured at night.
func (e *Engine) measureChanged(ctx context.Context, changes []SettingChange) {
	var skus []stock.SKU
	for _, c := range changes {
		if c.Kind == ReplenishmentSetting && c.Value != nil {
			skus = append(skus, stock.SKU(c.Key))
		}
	}
	if len(skus) == 0 {
		return
	}
	if _, err := e.MeasureAll(ctx, skus); err != nil && !errors.Is(err, context.Canceled) {
		e.log.Warn("the change is stored; its safety stock is computed later", "error", err)
	}
}

// --- what people ask ----------------------------------------------------------------------------------------------------

// ReplenishmentView is an urgent replenishment as people and tools see it.
type ReplenishmentView struct {
	ID          string                    `json:"id"`
	SKU         stock.SKU                 `json:"sku"`
	State       string                    `json:"state" enum:"raised,cleared"`
	Change      stock.ReplenishmentChange `json:"change,omitempty" doc:"by what it was cleared: arrived or on_order"`
	Missing     stock.Quantity            `json:"missing" doc:"how many are to be ordered at least"`
	Total       stock.Quantity            `json:"total" doc:"there, and promised to nobody"`
	OnOrder     stock.Quantity            `json:"on_order"`
	Point       stock.Quantity            `json:"reorder_point" doc:"safety stock + alert threshold"`
	Safety      stock.Quantity            `json:"safety_stock"`
	Threshold   stock.Quantity            `json:"alert_threshold"`
	RaisedAt    time.Time                 `json:"raised_at"`
	ClearedAt   *time.Time                `json:"cleared_at"`
	Explanation string                    `json:"explanation,omitempty" doc:"how the safety stock was computed"`
}

// Replenishments lists urgent replenishments by id, those that are not cleared or all.
func (e *Engine) Replenishments(ctx context.Context, open bool, after int64, limit int) ([]ReplenishmentView, error) {
	rows, err := e.store.ListReplenishments(ctx, open, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list replenishments: %w", err)
	}
	var skus []stock.SKU
	for _, s := range rows {
		skus = append(skus, s.SKU)
	}
	slices.Sort(skus)
	measures, err := e.store.MeasuresAt(ctx, slices.Compact(skus), time.Now().UTC())
	if err != nil {
		return nil, fmt.Errorf("list replenishments: %w", err)
	}
	views := make([]ReplenishmentView, len(rows))
	for i, s := range rows {
		views[i] = ReplenishmentView{ID: eventReference(s.ID), SKU: s.SKU, State: "raised", Change: s.Change, Missing: s.Missing, Total: s.Total, OnOrder: s.OnOrder, Point: s.Point,
			Safety: s.Safety, Threshold: s.Threshold, RaisedAt: s.RaisedAt.UTC(), ClearedAt: optionalTime(s.ClearedAt)}
		if !s.ClearedAt.IsZero() {
			views[i].State = "cleared"
		}
		if m := measures[s.SKU]; m != nil && sameQuantity(m.Safety, &s.Safety) {
			views[i].Explanation = m.Explanation
		}
	}
	return views, nil
}

// MeasureOf is what was last measured of a SKU. ErrNotFound when nothing was.
func (e *Engine) MeasureOf(ctx context.Context, sku stock.SKU) (Measure, error) {
	found, err := e.store.MeasuresAt(ctx, []stock.SKU{sku}, time.Now().UTC())
	if err != nil {
		return Measure{}, fmt.Errorf("measure of %s: %w", sku, err)
	}
	if found[sku] == nil {
		return Measure{}, fmt.Errorf("measure of %s: %w", sku, ErrNotFound)
	}
	return *found[sku], nil
}

// rateText writes a rate for people.
func rateText(r stock.Rate) string {
	return strconv.FormatFloat(float64(r)/1000, 'f', -1, 64)
}
