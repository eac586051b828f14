package sync

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// The rules by which the reports judge. docs/analysis.md tells them to people.
const (
	recentDays   = 28  // what is sold now
	velocityDays = 90  // the longest velocity
	ageDays      = 181 // receipts older than the last limit of ageLimits need not be known
	zPermille    = 1960
	defaultCover = 90 // days for which a purchase is to last, where the article does not say
	bestSellers  = 20 // whose orders tell what an order leaves
	kindredMost  = 20 // articles of the same category whose buyers are counted
	partnerCover = 28 // days for which a bundle partner must last
)

var (
	ageLimits = []int64{30, 60, 90, 180}
	moverRule = stock.MoverRule{DeadDays: 60, SlowCover: 180}
)

// AnalysisQuery asks for a report.
type AnalysisQuery struct {
	Name string
	// From and To are the first and the last day that count; the zero dates are 90 days until yesterday. A day that has
	// not ended counts as far as it has come.
	From, To stock.Date
	// Zone is whose days they are; the zero zone is UTC.
	Zone stock.Zone
	// SKU is the only one looked at, Channel the only one whose sales count; empty means all.
	SKU     stock.SKU
	Channel stock.ConnectionID
	// After is the last SKU of the page before, Limit how many SKUs a page looks at.
	After stock.SKU
	Limit int
}

// AnalysisView is a report, or a page of it.
type AnalysisView struct {
	Report string           `json:"report"`
	From   stock.Date       `json:"from" doc:"the first day that counts"`
	To     stock.Date       `json:"to" doc:"the last day that counts"`
	Zone   string           `json:"zone"`
	Notes  []string         `json:"notes" doc:"what the figures rest on"`
	Names  []string         `json:"columns" doc:"the fields of the rows, in their order"`
	Data   []map[string]any `json:"data" doc:"the rows; null is a figure that is not known"`
}

// analysis is one report: its columns, how many days it needs, and how the rows of a SKU come about.
type analysis struct {
	columns []string
	days    int
	notes   []string
	// sales, over all SKUs, are needed first.
	sales bool
	rows  func(r *analysisRun, s Series) ([][]any, error)
	// whole makes all rows at once, where a report is not made SKU by SKU.
	whole func(r *analysisRun) ([][]any, error)
	// plot is the column that a plot shows.
	plot string
}

var analyses = map[string]analysis{
	"daily": {columns: []string{"sku", "date", "sold", "received", "closing", "on_hand", "stock_out"}, plot: "sold",
		notes: []string{"sold: by the day on which the order was entered; what is cancelled later is taken off that day"}, rows: (*analysisRun).daily},
	"velocity": {columns: []string{"sku", "sold_7", "days_7", "per_day_7_milli", "sold_28", "days_28", "per_day_28_milli", "sold_90", "days_90", "per_day_90_milli"},
		days: velocityDays, plot: "per_day_28_milli", notes: []string{"days with a stock-out are left out; thousandths of a unit a day"}, rows: (*analysisRun).velocity},
	"turnover": {columns: []string{"sku", "sold", "days", "turnover_permille", "per_year_permille"}, plot: "per_year_permille",
		notes: []string{"sold ÷ mean of what was available at the days' ends, from the first day to the last"}, rows: (*analysisRun).turnover},
	"cover": {columns: []string{"sku", "available", "per_day_28_milli", "cover_days"}, days: recentDays, plot: "cover_days",
		notes: []string{"available at the end of the last day ÷ velocity of 28 days"}, rows: (*analysisRun).cover},
	"ageing": {columns: []string{"sku", "on_hand", "days_0_29", "days_30_59", "days_60_89", "days_90_179", "days_180_up"}, days: ageDays, plot: "days_180_up",
		notes: []string{"what came first leaves first; units that no receipt explains are of the last column"}, rows: (*analysisRun).ageing},
	"movers": {columns: []string{"sku", "mover", "available", "sold_90", "cover_days", "days_without_sale"}, days: velocityDays, plot: "available",
		notes: []string{fmt.Sprintf("dead: there for %d days without a sale; slow: lasts longer than %d days", moverRule.DeadDays, moverRule.SlowCover)}, rows: (*analysisRun).movers},
	"abc": {columns: []string{"sku", "class", "value", "sold"}, plot: "value", sales: true,
		notes: []string{"A until 80 % of the value sold, B until 95 %, then C; the value is sold × price, and the units where the price of a SKU that sold is not known"}, rows: (*analysisRun).abc},
	"forecast": {columns: []string{"sku", "available", "earliest_days", "expected_days", "latest_days", "days"}, days: recentDays, plot: "expected_days",
		notes: []string{"in how many days nothing will be left, with 95 % of chance between earliest and latest; from 28 days without stock-outs"}, rows: (*analysisRun).forecast},
	"overstock": {columns: []string{"sku", "available", "excess", "cover_days", "causes", "why"}, days: 2 * recentDays, plot: "excess",
		notes: []string{"excess: beyond what the target cover needs at the velocity of 28 days; a cause is a hint, with the figures that speak for it"}, rows: (*analysisRun).overstock},
	"clearance": {columns: []string{"sku", "excess", "kind", "price", "discount_permille", "partner", "why"}, days: 2 * recentDays, plot: "excess", sales: true,
		notes: []string{"proposals; a discount goes down to the lowest price that pays"}, rows: (*analysisRun).clearance},
	"stocktake": {columns: []string{"sku", "location", "lines", "exact", "exact_permille", "expected", "counted", "missing", "surplus", "accuracy_permille", "shrinkage_permille", "missing_value", "surplus_value", "unvalued"},
		plot: "missing", notes: []string{"lines counted in that time and decided, without rejected ones; the row without a SKU is their sum", "value: at the unit cost of that time; unvalued: units of a difference whose cost is not known"},
		whole: (*analysisRun).stocktake},
	"effect": {columns: []string{"clearance", "sku", "kind", "start", "end", "before_per_day_milli", "before_days", "after_per_day_milli", "after_days", "lift_permille", "extra"},
		plot: "lift_permille", notes: []string{"the days from the start of each clearance against as many days before it, at most 28; extra: units beyond what the velocity before would have sold"}, rows: (*analysisRun).effect},
}

// AnalysisNames lists the reports that there are.
func AnalysisNames() []string { return slices.Sorted(maps.Keys(analyses)) }

// AnalysisPlot is the column that a plot of a report shows.
func AnalysisPlot(name string) string { return analyses[name].plot }

// analysisRun is one report being made.
type analysisRun struct {
	engine   *Engine
	ctx      context.Context
	q        AnalysisQuery
	from     stock.Date // that was asked for; the series may begin before
	end      time.Time  // of the last day, or now where that is earlier
	settings *decisions
	effects  map[stock.SKU][]keyedClearance
	// Of all SKUs, where the report needs them.
	classes map[stock.SKU]stock.ABC
	values  map[stock.SKU]int64
	sellers map[stock.SKU]stock.Partner
	basket  int64
	kindred map[string][]stock.SKU // by category
	of      map[stock.SKU]string   // the category
}

// Analysis makes a page of a report. next is the SKU to go on after, empty at the end.
func (e *Engine) Analysis(ctx context.Context, q AnalysisQuery) (view AnalysisView, next stock.SKU, err error) {
	a, ok := analyses[q.Name]
	if !ok {
		return view, "", fmt.Errorf("report %q: %w", q.Name, ErrNotFound)
	}
	if q.Channel != "" && e.channels[q.Channel] == nil {
		return view, "", fmt.Errorf("%w: %q is not a configured channel", ErrInvalid, q.Channel)
	}
	now := time.Now().UTC()
	today := q.Zone.DateOf(now)
	if q.To == (stock.Date{}) {
		q.To = today.Add(-1)
	}
	if dateAfter(q.To, today) {
		return view, "", &stock.FieldError{Field: "to", Reason: fmt.Sprintf("is %s, which has not come yet", q.To)}
	}
	if q.From == (stock.Date{}) {
		q.From = q.To.Add(1 - velocityDays)
	}
	if dateAfter(q.From, q.To) {
		return view, "", &stock.FieldError{Field: "from", Reason: fmt.Sprintf("is %s, after to, %s", q.From, q.To)}
	}
	r := &analysisRun{engine: e, ctx: ctx, q: q, from: q.From, end: q.Zone.Instant(q.To.Add(1), 0)}
	if now.Before(r.end) {
		r.end = now
	}
	if first := q.To.Add(1 - a.days); dateAfter(q.From, first) {
		r.q.From = first
	}
	if err := e.store.View(ctx, func(tx PlanTx) (err error) {
		r.settings, err = e.decisions(tx)
		return err
	}); err != nil {
		return view, "", fmt.Errorf("load what was decided: %w", err)
	}
	view = AnalysisView{Report: q.Name, From: q.From, To: q.To, Zone: q.Zone.String(), Notes: a.notes, Names: a.columns, Data: []map[string]any{}}
	if q.Name == "effect" {
		if err := r.findClearances(); err != nil {
			return view, "", err
		}
	}
	if a.sales {
		if err := r.allSales(); err != nil {
			return view, "", err
		}
	}
	add := func(rows [][]any) {
		for _, cells := range rows {
			row := make(map[string]any, len(cells))
			for i, c := range cells {
				row[a.columns[i]] = c
			}
			view.Data = append(view.Data, row)
		}
	}
	if a.whole != nil {
		rows, err := a.whole(r)
		if err != nil {
			return view, "", fmt.Errorf("report %s: %w", q.Name, err)
		}
		add(rows)
		return view, "", nil
	}
	skus := []stock.SKU{q.SKU}
	if q.SKU == "" {
		if skus, err = e.store.StockedSKUs(ctx, q.After, q.Limit); err != nil {
			return view, "", err
		}
		if len(skus) == q.Limit && q.Limit > 0 {
			next = skus[len(skus)-1]
		}
	}
	// A query within the rows would need a second connection while the first is read: the rows are made after each SKU is read.
	var all []Series
	flush := func() error {
		for _, s := range all {
			rows, err := a.rows(r, s)
			if err != nil {
				return err
			}
			add(rows)
		}
		all = all[:0]
		return nil
	}
	for page := range slices.Chunk(skus, 100) {
		err := e.series(ctx, SeriesQuery{SKUs: page, From: r.q.From, To: q.To, Zone: q.Zone, Channel: q.Channel}, func(s Series) error {
			all = append(all, s)
			return nil
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return view, "", fmt.Errorf("report %s: %w", q.Name, err)
		}
	}
	return view, next, nil
}

// asked are the days of a series from the one that was asked for.
func (r *analysisRun) asked(s Series) []SeriesDay {
	i := 0
	for i < len(s.Days) && dateAfter(r.from, s.Days[i].Date) {
		i++
	}
	return s.Days[i:]
}

func plainDays(days []SeriesDay) []stock.Day { return Series{Days: days}.days() }

// closing is what was available when the last day ended; known is false where the ledger knew nothing yet.
func closing(s Series) (q stock.Quantity, known bool) {
	if len(s.Days) == 0 {
		return 0, false
	}
	return s.Days[len(s.Days)-1].Closing, true
}

func perDay(v stock.Velocity) any {
	if v.Days == 0 {
		return nil
	}
	return int64(v.UnitsPerDay)
}

func known[T any](v T, ok bool) any {
	if !ok {
		return nil
	}
	return v
}

func (r *analysisRun) daily(s Series) ([][]any, error) {
	var rows [][]any
	for _, d := range r.asked(s) {
		rows = append(rows, []any{string(s.SKU), d.Date.String(), int64(d.Sold), int64(d.Received), int64(d.Closing), int64(d.OnHand), d.StockOut})
	}
	return rows, nil
}

func (r *analysisRun) velocity(s Series) ([][]any, error) {
	row := []any{string(s.SKU)}
	for _, span := range []int{7, recentDays, velocityDays} {
		v := stock.VelocityOf(s.days(), span)
		row = append(row, int64(v.Sold), v.Days, perDay(v))
	}
	return [][]any{row}, nil
}

func (r *analysisRun) turnover(s Series) ([][]any, error) {
	days := plainDays(r.asked(s))
	sold := stock.Quantity(0)
	for _, d := range days {
		sold += d.Sold
	}
	t := stock.TurnoverOf(days)
	return [][]any{{string(s.SKU), int64(sold), len(days), known(t.Permille, t.Known), known(t.PerYear, t.Known)}}, nil
}

func (r *analysisRun) cover(s Series) ([][]any, error) {
	available, there := closing(s)
	v := stock.VelocityOf(s.days(), recentDays)
	cover, ok := stock.DaysOfCover(available, v.UnitsPerDay)
	return [][]any{{string(s.SKU), known(int64(available), there), perDay(v), known(cover, ok)}}, nil
}

func (r *analysisRun) ageing(s Series) ([][]any, error) {
	if len(s.Days) == 0 {
		return nil, nil
	}
	onHand := s.Days[len(s.Days)-1].OnHand
	row := []any{string(s.SKU), int64(onHand)}
	for _, b := range stock.AgesOf(onHand, s.arrivals, ageLimits, r.end) {
		row = append(row, int64(b.Quantity))
	}
	return [][]any{row}, nil
}

func (r *analysisRun) movers(s Series) ([][]any, error) {
	available, there := closing(s)
	if !there {
		return nil, nil
	}
	days := s.days()
	v := stock.VelocityOf(days, velocityDays)
	cover, ok := stock.DaysOfCover(available, v.UnitsPerDay)
	idle := 0
	for i := len(days) - 1; i >= 0 && days[i].Sold <= 0; i-- {
		idle++
	}
	return [][]any{{string(s.SKU), string(moverRule.Of(days, available)), int64(available), int64(v.Sold), known(cover, ok), idle}}, nil
}

func (r *analysisRun) abc(s Series) ([][]any, error) {
	sold := stock.Quantity(0)
	for _, d := range r.asked(s) {
		sold += d.Sold
	}
	return [][]any{{string(s.SKU), string(r.classes[s.SKU]), r.values[s.SKU], int64(sold)}}, nil
}

func (r *analysisRun) forecast(s Series) ([][]any, error) {
	available, there := closing(s)
	days := s.days()
	f := stock.ForecastStockOut(available, days[max(0, len(days)-recentDays):], zPermille)
	in := func(n int) any { return known(n, f.Known && n < stock.ForecastDays) }
	return [][]any{{string(s.SKU), known(int64(available), there), in(f.Earliest), in(f.Expected), in(f.Latest), f.Days}}, nil
}

// article is what was decided about a SKU at an instant.
func (r *analysisRun) article(sku stock.SKU, at time.Time) Article {
	return r.settings.article(sku, at)
}

// facts are what is known about an overstock; ok is false where it cannot be judged, because no recent day counts.
func (r *analysisRun) facts(s Series) (o stock.Overstock, ok bool) {
	available, there := closing(s)
	days := s.days()
	recent := days[max(0, len(days)-recentDays):]
	before := days[:len(days)-len(recent)]
	now := stock.VelocityOf(recent, recentDays)
	if !there || now.Days == 0 {
		return o, false
	}
	a, then := r.article(s.SKU, r.end), r.article(s.SKU, r.q.Zone.Instant(r.q.To.Add(1-recentDays), 0).Add(-1))
	o = stock.Overstock{Available: available, Planned: stock.Rate(value(a.PlannedPerDay)), Before: stock.VelocityOf(before, recentDays).UnitsPerDay, Recent: now.UnitsPerDay,
		TargetCover: value(a.TargetCoverDays), PriceBefore: value(then.Price), Price: value(a.Price), OtherPrice: value(a.PriceElsewhere)}
	if o.TargetCover == 0 {
		o.TargetCover = defaultCover
	}
	if n := len(s.arrivals); n > 0 {
		o.LastPurchase = s.arrivals[n-1].Units
	}
	return o, true
}

func (r *analysisRun) overstock(s Series) ([][]any, error) {
	o, ok := r.facts(s)
	if !ok || o.Excess() == 0 {
		return nil, nil
	}
	var causes, why []string
	for _, h := range o.Hints() {
		causes, why = append(causes, string(h.Cause)), append(why, h.Why)
	}
	cover, moves := stock.DaysOfCover(o.Available, o.Recent)
	return [][]any{{string(s.SKU), int64(o.Available), int64(o.Excess()), known(cover, moves), strings.Join(causes, " "), strings.Join(why, "; ")}}, nil
}

func (r *analysisRun) clearance(s Series) ([][]any, error) {
	o, ok := r.facts(s)
	if !ok || o.Excess() == 0 {
		return nil, nil
	}
	a := r.article(s.SKU, r.end)
	f := stock.ClearanceFacts{Overstock: o, Margin: stock.Margin{UnitCost: value(a.UnitCost), FeePermille: value(a.FeePermille), Least: value(a.LeastMargin)}, Rule: stock.PartnerRule{LeastCover: partnerCover},
		BasketMargin: r.basket, GiftPermille: value(a.GiftPermille), LeastAudience: value(a.PromotionAudience)}
	own, err := r.engine.store.OrdersByKey(r.ctx, s.orders)
	if err != nil {
		return nil, err
	}
	together, buyers := make(map[stock.SKU]int64), make(map[string]bool)
	for _, order := range own {
		buyers[buyerOf(order)] = true
		for sku := range unitsOf(order) {
			together[sku]++
		}
	}
	for sku, p := range r.sellers {
		if sku != s.SKU {
			p.Together = together[sku]
			f.Partners = append(f.Partners, p)
		}
	}
	slices.SortFunc(f.Partners, func(a, b stock.Partner) int { return strings.Compare(string(a.SKU), string(b.SKU)) })
	if value(a.PromotionAudience) > 0 {
		if f.Audience, err = r.audience(s.SKU, buyers); err != nil {
			return nil, err
		}
	}
	if a.UnitCost == nil {
		// Without a cost there is no price that pays, and no gift that is affordable.
		f.Price, f.GiftPermille = 0, 0
	}
	var rows [][]any
	for _, c := range stock.ProposeClearance(f) {
		rows = append(rows, []any{string(s.SKU), int64(o.Excess()), string(c.Kind), known(c.Price, c.Kind == stock.ClearDiscount),
			known(c.DiscountPermille, c.Kind == stock.ClearDiscount), known(string(c.Partner), c.Partner != ""), c.Why})
	}
	return rows, nil
}

// audience counts the buyers of articles of the same category who have not bought this one.
func (r *analysisRun) audience(sku stock.SKU, own map[string]bool) (int64, error) {
	var skus []stock.SKU
	for _, k := range r.kindred[r.of[sku]] {
		if k != sku && len(skus) < kindredMost {
			skus = append(skus, k)
		}
	}
	others := make(map[string]bool)
	err := r.eachOrder(skus, func(order *Order) {
		if b := buyerOf(order); b != "" && !own[b] {
			others[b] = true
		}
	})
	return int64(len(others)), err
}

// eachOrder hands over the newest orders of SKUs.
func (r *analysisRun) eachOrder(skus []stock.SKU, each func(*Order)) error {
	keys := make(map[OrderKey]bool)
	err := r.engine.series(r.ctx, SeriesQuery{SKUs: skus, From: r.q.From, To: r.q.To, Zone: r.q.Zone, Channel: r.q.Channel}, func(s Series) error {
		for _, k := range s.orders {
			keys[k] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for page := range slices.Chunk(sortedKeys(keys, compareOrderKeys), maxBatch) {
		orders, err := r.engine.store.OrdersByKey(r.ctx, page)
		if err != nil {
			return err
		}
		for _, key := range page {
			if o := orders[key]; o != nil {
				each(o)
			}
		}
	}
	return nil
}

// buyerOf is the channel's name for a buyer, "" where it tells none.
func buyerOf(o *Order) string {
	if o.Buyer == nil || o.Buyer.Ref == "" {
		return ""
	}
	return mapping.OrderKey(o.Channel, o.Buyer.Ref)
}

// unitsOf are the units of each SKU that an order has open.
func unitsOf(o *Order) map[stock.SKU]stock.Quantity {
	units := make(map[stock.SKU]stock.Quantity)
	for i := range o.Lines {
		l := &o.Lines[i]
		for _, c := range l.Components {
			if n := o.openUnits(l, &c); n > 0 {
				units[c.SKU] += n
			}
		}
	}
	return units
}

// allSales goes over every SKU once and keeps a few numbers of each.
func (r *analysisRun) allSales() error {
	e := r.engine
	sold := make(map[stock.SKU]stock.Quantity)
	r.sellers = make(map[stock.SKU]stock.Partner)
	for after := stock.SKU(""); ; {
		skus, err := e.store.StockedSKUs(r.ctx, after, maxBatch)
		if err != nil {
			return err
		}
		err = e.series(r.ctx, SeriesQuery{SKUs: skus, From: r.q.From, To: r.q.To, Zone: r.q.Zone, Channel: r.q.Channel}, func(s Series) error {
			for _, d := range r.asked(s) {
				sold[s.SKU] += d.Sold
			}
			available, _ := closing(s)
			r.sellers[s.SKU] = stock.Partner{SKU: s.SKU, UnitsPerDay: stock.VelocityOf(s.days(), recentDays).UnitsPerDay, Available: available}
			return nil
		})
		if err != nil {
			return err
		}
		if len(skus) < maxBatch {
			break
		}
		after = skus[len(skus)-1]
	}
	r.value(sold)
	if r.q.Name != "clearance" {
		return nil
	}
	if err := r.categories(); err != nil {
		return err
	}
	return r.baskets()
}

// value puts a value on what was sold, and classes on the SKUs.
func (r *analysisRun) value(sold map[stock.SKU]stock.Quantity) {
	priced := true
	for sku, n := range sold {
		priced = priced && (n <= 0 || value(r.article(sku, r.end).Price) > 0)
	}
	r.values = make(map[stock.SKU]int64, len(sold))
	var items []stock.Valued
	for sku, n := range sold {
		v := int64(max(0, min(n, stock.MaxQuantity)))
		if priced {
			v *= value(r.article(sku, r.end).Price)
		}
		r.values[sku] = v
		items = append(items, stock.Valued{SKU: sku, Value: v})
	}
	r.classes = stock.ClassifyABC(items)
}

func (r *analysisRun) categories() error {
	r.kindred, r.of = make(map[string][]stock.SKU), make(map[stock.SKU]string)
	for after := stock.SKU(""); ; {
		items, err := r.engine.store.ListItems(r.ctx, "", after, maxBatch)
		if err != nil {
			return err
		}
		for _, i := range items {
			after = stock.SKU(i.SKU)
			if i.Category != "" {
				r.of[after] = i.Category
				r.kindred[i.Category] = append(r.kindred[i.Category], after)
			}
		}
		if len(items) < maxBatch {
			return nil
		}
	}
}

// baskets finds what an average order of the best sellers leaves, of the orders of which every price and cost is known.
func (r *analysisRun) baskets() error {
	best := slices.SortedFunc(maps.Values(r.sellers), func(a, b stock.Partner) int {
		if a.UnitsPerDay != b.UnitsPerDay {
			return int(max(-1, min(1, b.UnitsPerDay-a.UnitsPerDay)))
		}
		return strings.Compare(string(a.SKU), string(b.SKU))
	})
	var skus []stock.SKU
	for _, p := range best[:min(len(best), bestSellers)] {
		skus = append(skus, p.SKU)
	}
	var sum, orders int64
	err := r.eachOrder(skus, func(o *Order) {
		left, units := int64(0), unitsOf(o)
		for sku, n := range units {
			a := r.article(sku, r.end)
			if value(a.Price) == 0 || a.UnitCost == nil {
				return
			}
			left += int64(n) * (*a.Price*(1000-value(a.FeePermille))/1000 - *a.UnitCost)
		}
		if len(units) > 0 {
			sum, orders = sum+left, orders+1
		}
	})
	if orders > 0 {
		r.basket = max(0, sum/orders)
	}
	return err
}

// findClearances sorts the clearances by their SKU and lets the series begin early enough.
func (r *analysisRun) findClearances() error {
	r.effects = make(map[stock.SKU][]keyedClearance)
	for after := ""; ; {
		page, err := r.engine.store.ListSettings(r.ctx, ClearanceSetting, after, maxBatch)
		if err != nil {
			return err
		}
		for _, s := range page {
			after = s.Key
			var c ClearanceCampaign
			if err := json.Unmarshal(s.Value, &c); err != nil {
				return fmt.Errorf("clearance %s: %w", s.Key, err)
			}
			if !c.Start.Before(r.end) {
				continue
			}
			r.effects[c.SKU] = append(r.effects[c.SKU], keyedClearance{s.Key, c})
			if first := r.q.Zone.DateOf(c.Start).Add(-recentDays); dateAfter(r.q.From, first) && !dateAfter(r.q.To.Add(-maxSeriesDays), first) {
				r.q.From = first
			}
		}
		if len(page) < maxBatch {
			return nil
		}
	}
}

type keyedClearance struct {
	key string
	ClearanceCampaign
}

func (r *analysisRun) effect(s Series) ([][]any, error) {
	var rows [][]any
	for _, c := range r.effects[s.SKU] {
		start, end := r.q.Zone.DateOf(c.Start), r.q.To
		if !c.End.IsZero() {
			if last := r.q.Zone.DateOf(c.End.Add(-1)); dateAfter(end, last) {
				end = last
			}
		}
		var before, after []stock.Day
		for _, d := range s.Days {
			switch {
			case dateAfter(d.Date, end):
			case !dateAfter(start, d.Date):
				after = append(after, d.Day)
			case !dateAfter(start.Add(-recentDays), d.Date):
				before = append(before, d.Day)
			}
		}
		before = before[max(0, len(before)-max(1, len(after))):]
		m := stock.MeasureEffect(before, after)
		measured := m.Before.Days > 0 && m.After.Days > 0
		rows = append(rows, []any{c.key, string(s.SKU), string(c.Kind), c.Start.UTC().Format(time.RFC3339), known(c.End.UTC().Format(time.RFC3339), !c.End.IsZero()),
			perDay(m.Before), m.Before.Days, perDay(m.After), m.After.Days, known(m.LiftPermille, m.Known), known(int64(m.Extra), measured)})
	}
	return rows, nil
}

// countedSum sums up lines of stocktakes.
type countedSum struct {
	variances                            []stock.Variance
	expected, counted                    stock.Quantity
	missingValue, surplusValue, unvalued int64
}

func (c *countedSum) add(v stock.Variance, cost *int64) {
	c.variances = append(c.variances, v)
	c.expected, c.counted = c.expected+v.Expected, c.counted+v.Counted
	switch {
	case cost == nil:
		c.unvalued += int64(max(v.Difference, -v.Difference))
	case v.Difference < 0:
		c.missingValue += valueOf(-v.Difference, *cost)
	default:
		c.surplusValue += valueOf(v.Difference, *cost)
	}
}

func (c *countedSum) row(sku, location any) []any {
	r := stock.ReportCount(c.variances)
	return []any{sku, location, r.Lines, r.Lines - c.differing(), r.ExactPermille, int64(c.expected), int64(c.counted), int64(r.Missing), int64(r.Surplus),
		r.AccuracyPermille, r.ShrinkagePermille, c.missingValue, c.surplusValue, c.unvalued}
}

func (c *countedSum) differing() (n int) {
	for _, v := range c.variances {
		if v.Difference != 0 {
			n++
		}
	}
	return n
}

// stocktake sums up what was counted, by SKU and location, and in all.
func (r *analysisRun) stocktake() (rows [][]any, err error) {
	var total, here countedSum
	var key LevelKey
	flush := func() {
		if len(here.variances) > 0 {
			rows = append(rows, here.row(string(key.SKU), string(key.Location)))
		}
		here = countedSum{}
	}
	err = r.engine.store.DecidedLines(r.ctx, r.q.Zone.Instant(r.from, 0), r.end, func(l *StocktakeLine) error {
		if r.q.SKU != "" && l.SKU != r.q.SKU {
			return nil
		}
		if l.LevelKey != key {
			flush()
			key = l.LevelKey
		}
		last := *l.last()
		v, cost := stock.Variance{CountedLine: last, Expected: l.Expected, Difference: l.Difference}, r.article(l.SKU, last.AsOf).UnitCost
		here.add(v, cost)
		total.add(v, cost)
		return nil
	})
	if flush(); err == nil && len(total.variances) > 0 {
		rows = append(rows, total.row(nil, nil))
	}
	return rows, err
}

// WriteAnalysis writes a whole report as CSV. Texts that a spreadsheet would take for a formula get an apostrophe in front.
func (e *Engine) WriteAnalysis(ctx context.Context, q AnalysisQuery, w io.Writer) error {
	out := csv.NewWriter(w)
	q.Limit = maxBatch
	for first := true; ; first = false {
		view, next, err := e.Analysis(ctx, q)
		if err != nil {
			return err
		}
		if first {
			if err := out.Write(view.Names); err != nil {
				return err
			}
		}
		for _, row := range view.Data {
			if err := out.Write(view.Cells(row, true)); err != nil {
				return err
			}
		}
		if q.After = next; next == "" {
			out.Flush()
			return out.Error()
		}
	}
}

// Cells are the texts of a row in the order of the columns; what is not known is empty. guarded makes them safe for a
// spreadsheet.
func (v AnalysisView) Cells(row map[string]any, guarded bool) []string {
	cells := make([]string, len(v.Names))
	for i, name := range v.Names {
		switch c := row[name].(type) {
		case nil:
		case string:
			if cells[i] = oneLine(c); guarded {
				cells[i] = mapping.Mark(cells[i])
			}
		default:
			cells[i] = fmt.Sprint(c)
		}
	}
	return cells
}
