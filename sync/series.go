package sync

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// Sales reads the history of the ledger for reports. It writes nothing.
type Sales interface {
	// StockedSKUs pages through the SKUs that the ledger has levels of, by name.
	StockedSKUs(ctx context.Context, after stock.SKU, limit int) ([]stock.SKU, error)
	// History hands over what each of the SKUs had at its locations before the span from up to, and not including, to; then
	// every posting of the span, by SKU and in the order in which they were made. The postings come one by one and are
	// not gathered.
	History(ctx context.Context, skus []stock.SKU, from, to time.Time, opening func(Opening) error, each func(stock.Posting) error) error
	// OrdersByKey loads order documents.
	OrdersByKey(ctx context.Context, keys []OrderKey) (map[OrderKey]*Order, error)
}

// Opening is what was at a location before the first instant of a span.
type Opening struct {
	LevelKey
	Available, OnHand, Committed stock.Quantity
}

// maxSeriesDays is the longest series.
const maxSeriesDays = 1100

// SeriesDay is one day of a SKU.
type SeriesDay struct {
	Date stock.Date `json:"date"`
	stock.Day
	// Received is what came in from outside: receipts, and what a statement had more than was known. Returns and transfers
	// between locations are none.
	Received stock.Quantity `json:"received"`
	// OnHand is what was physically there at the day's end.
	OnHand stock.Quantity `json:"on_hand"`
}

// Series are the days of a SKU, the oldest first. It begins on the first day of which the ledger knows anything, so it may
// be shorter than what was asked for, and empty.
//
// A unit counts as sold on the day on which its order was entered in the ledger. What is cancelled or refused later is
// taken off that day, not off the day of the cancellation. A day with a moment at which nothing was available over all
// locations has a stock-out; what several postings of one instant pass through is no moment.
type Series struct {
	SKU  stock.SKU
	Days []SeriesDay
	// arrivals are the receipts, those of a day together at the instant of the first.
	arrivals []stock.Arrival
	// orders are the orders of the series' sales, the newest last, at most maxSeriesOrders of them.
	orders []OrderKey
}

// maxSeriesOrders is how many of its newest orders a series names.
const maxSeriesOrders = 2000

// Days are those of the series for the sums of package stock.
func (s Series) days() []stock.Day {
	days := make([]stock.Day, len(s.Days))
	for i, d := range s.Days {
		days[i] = d.Day
	}
	return days
}

// SeriesQuery says which days of which SKUs are read.
type SeriesQuery struct {
	SKUs []stock.SKU
	// From and To are the first and the last day.
	From, To stock.Date
	// Zone is whose days they are; the zero zone is UTC.
	Zone stock.Zone
	// Channel counts only what was sold there; empty means all channels. What is received and what is there is of all.
	Channel stock.ConnectionID
}

// bounds are the instants at which the days begin, and the one at which the last ends.
func (q SeriesQuery) bounds() ([]time.Time, error) {
	days := int(q.Zone.Instant(q.To, 0).Sub(q.Zone.Instant(q.From, 0))/(24*time.Hour)) + 2
	if days < 1 || days > maxSeriesDays+2 || dateAfter(q.From, q.To) {
		return nil, &stock.FieldError{Field: "from", Reason: fmt.Sprintf("%s and to %s are not a span of 1 to %d days", q.From, q.To, maxSeriesDays)}
	}
	var at []time.Time
	for d := q.From; !dateAfter(d, q.To); d = d.Add(1) {
		at = append(at, q.Zone.Instant(d, 0))
	}
	return append(at, q.Zone.Instant(q.To.Add(1), 0)), nil
}

func dateAfter(a, b stock.Date) bool { return a.String() > b.String() }

// DailySeries are the days of SKUs in UTC, from the day of the one instant up to that of the other, which does not count
// when it is the instant at which it begins. SKUs of which the ledger knows nothing are left out.
func (e *Engine) DailySeries(ctx context.Context, skus []stock.SKU, from, to time.Time) (map[stock.SKU]Series, error) {
	var utc stock.Zone
	out := make(map[stock.SKU]Series, len(skus))
	for page := range slices.Chunk(skus, maxBatch) {
		err := e.series(ctx, SeriesQuery{SKUs: page, From: utc.DateOf(from), To: utc.DateOf(to.Add(-1))}, func(s Series) error {
			out[s.SKU] = s
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// series hands over the series of each SKU of which the ledger knows anything, by SKU. It holds one of them at a time.
func (e *Engine) series(ctx context.Context, q SeriesQuery, each func(Series) error) error {
	at, err := q.bounds()
	if err != nil {
		return err
	}
	skus := slices.Sorted(slices.Values(q.SKUs))
	openings := make(map[stock.SKU]*Opening, len(skus))
	var open *daybook
	next := 0
	finish := func() error {
		if open == nil {
			return nil
		}
		s := open.close()
		open = nil
		return each(s)
	}
	// upTo closes what is open and hands over the SKUs before one that had no posting in the span.
	upTo := func(sku stock.SKU, all bool) error {
		if err := finish(); err != nil {
			return err
		}
		for ; next < len(skus) && (all || skus[next] < sku); next++ {
			if o := openings[skus[next]]; o != nil {
				if err := each(newDaybook(q, at, skus[next], o).close()); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err = e.store.History(ctx, skus, at[0], at[len(at)-1], func(o Opening) error {
		sum := openings[o.SKU]
		if sum == nil {
			sum = &Opening{}
			openings[o.SKU] = sum
		}
		sum.Available += o.Available
		sum.OnHand += o.OnHand
		return nil
	}, func(p stock.Posting) error {
		if open == nil || open.series.SKU != p.SKU {
			if err := upTo(p.SKU, false); err != nil {
				return err
			}
			next++
			open = newDaybook(q, at, p.SKU, openings[p.SKU])
		}
		open.post(p)
		return nil
	})
	if err == nil {
		err = upTo("", true)
	}
	if err != nil {
		return fmt.Errorf("read the daily series: %w", err)
	}
	return nil
}

// daybook makes the days of one SKU from its postings.
type daybook struct {
	q    SeriesQuery
	at   []time.Time // when each day begins, and the last ends
	days []SeriesDay
	day  int // the present one
	// known is true from the first posting on, which lies on the day first.
	known bool
	first int
	// instant is that of the newest posting; since then available and onHand are there.
	instant           time.Time
	available, onHand stock.Quantity

	series Series
	sales  map[string][]sale
}

// sale is what one order took on a day of the series.
type sale struct {
	day   int
	units stock.Quantity
}

func newDaybook(q SeriesQuery, at []time.Time, sku stock.SKU, o *Opening) *daybook {
	b := &daybook{q: q, at: at, days: make([]SeriesDay, len(at)-1), series: Series{SKU: sku}, sales: make(map[string][]sale)}
	for i := range b.days {
		b.days[i].Date = q.From.Add(i)
	}
	if o != nil {
		b.known, b.available, b.onHand, b.instant = true, o.Available, o.OnHand, at[0]
	}
	return b
}

// pass lets the time go on until an instant, with what is there staying as it is.
func (b *daybook) pass(to time.Time) {
	if !to.After(b.instant) {
		return
	}
	b.instant = to
	nothing := b.known && b.available <= 0
	b.days[b.day].StockOut = b.days[b.day].StockOut || nothing
	for b.day < len(b.days) && !to.Before(b.at[b.day+1]) {
		b.days[b.day].Closing, b.days[b.day].OnHand = b.available, b.onHand
		b.day++
		if b.day < len(b.days) && to.After(b.at[b.day]) {
			b.days[b.day].StockOut = nothing
		}
	}
}

func (b *daybook) post(p stock.Posting) {
	b.pass(p.At)
	if !b.known {
		b.known, b.first = true, b.day
	}
	d := &b.days[b.day]
	switch {
	case p.To == stock.Available:
		b.available += p.Quantity
	case p.From == stock.Available:
		b.available -= p.Quantity
	}
	physical := func(s stock.State) bool { return s >= stock.Available }
	switch {
	case physical(p.From) && !physical(p.To):
		b.onHand -= p.Quantity
	case physical(p.To) && !physical(p.From):
		b.onHand += p.Quantity
		if p.Cause.Kind == stock.CauseStatement || p.Cause.Kind == stock.CauseMovement && p.Cause.Reference != transferReason {
			d.Received += p.Quantity
			if n := len(b.series.arrivals); n > 0 && !b.series.arrivals[n-1].At.Before(b.at[b.day]) {
				b.series.arrivals[n-1].Units += p.Quantity
			} else {
				b.series.arrivals = append(b.series.arrivals, stock.Arrival{At: p.At, Units: p.Quantity})
			}
		}
	}
	b.sell(p)
}

// transferReason is the reason of a movement between two locations.
const transferReason = "transfer"

// sell counts what an order took, and takes off what it gave back where it was counted.
func (b *daybook) sell(p stock.Posting) {
	channel, id, ok := mapping.ParseOrderKey(p.Cause.Reference)
	promised := p.Cause.Kind == stock.CauseCommitment || p.Cause.Kind == stock.CauseRejection
	if !promised || !ok || b.q.Channel != "" && channel != b.q.Channel {
		return
	}
	// What is sold from a pool was reserved for it.
	open := func(s stock.State) bool { return s == stock.Available || s == stock.Reserved }
	sales := b.sales[p.Cause.Reference]
	switch {
	case open(p.From) && p.To == stock.Committed:
		if len(sales) == 0 {
			b.series.orders = append(b.series.orders, OrderKey{channel, id})
		}
		if len(b.series.orders) > 2*maxSeriesOrders {
			b.series.orders = slices.Clone(b.series.orders[maxSeriesOrders:])
		}
		b.days[b.day].Sold += p.Quantity
		b.sales[p.Cause.Reference] = append(sales, sale{b.day, p.Quantity})
	case p.From == stock.Committed && open(p.To):
		for left := p.Quantity; left > 0 && len(sales) > 0; {
			s := &sales[len(sales)-1]
			back := min(left, s.units)
			b.days[s.day].Sold -= back
			s.units, left = s.units-back, left-back
			if s.units == 0 {
				sales = sales[:len(sales)-1]
			}
		}
		b.sales[p.Cause.Reference] = sales
	}
}

func (b *daybook) close() Series {
	b.pass(b.at[len(b.at)-1])
	b.series.Days = b.days[b.first:]
	b.series.orders = b.series.orders[max(0, len(b.series.orders)-maxSeriesOrders):]
	return b.series
}
