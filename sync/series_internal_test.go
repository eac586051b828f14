package sync

import (
	"testing"
	"time"

	"github.com/truestock/truestock/stock"
)

func day(y, m, d int) stock.Date { return stock.Date{Year: y, Month: time.Month(m), Day: d} }

// TestADaybook follows an article over five days by hand, in a zone of which a day has 25 hours.
func TestADaybook(t *testing.T) {
	berlin, err := stock.ParseZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	q := SeriesQuery{From: day(2026, 10, 23), To: day(2026, 10, 27), Zone: berlin}
	at, err := q.bounds()
	if err != nil || len(at) != 6 || at[3].Sub(at[2]) != 25*time.Hour {
		t.Fatalf("the days begin at %v (%v)", at, err)
	}
	b := newDaybook(q, at, "X", nil)
	post := func(at time.Time, from, to stock.State, units stock.Quantity, cause, reference string) {
		b.post(stock.Posting{SKU: "X", From: from, To: to, Quantity: units, At: at, Cause: stock.Cause{Kind: cause, Reference: reference}})
	}
	hour := func(day, hour int) time.Time { return at[day].Add(time.Duration(hour) * time.Hour) }

	post(hour(1, 9), stock.Outside, stock.Available, 10, stock.CauseStatement, "")
	post(hour(1, 10), stock.Available, stock.Committed, 4, stock.CauseCommitment, "shop:1")
	post(hour(1, 11), stock.Committed, stock.Outside, 4, stock.CauseDeduction, "s1")
	// All is sold, and more comes three hours later: a day with a stock-out.
	post(hour(2, 10), stock.Available, stock.Committed, 6, stock.CauseCommitment, "shop:2")
	post(hour(2, 13), stock.Outside, stock.Available, 20, stock.CauseMovement, "receipt")
	// What is brought from another location at the instant at which it leaves the first is no moment without any.
	post(hour(3, 8), stock.Available, stock.Outside, 20, stock.CauseMovement, "transfer")
	post(hour(3, 8), stock.Outside, stock.Available, 20, stock.CauseMovement, "transfer")
	// Two of the six are cancelled a day later: they were not sold on their day. Three come back after delivery.
	post(hour(3, 9), stock.Committed, stock.Available, 2, stock.CauseCommitment, "shop:2")
	post(hour(3, 10), stock.Outside, stock.Available, 3, stock.CauseReturn, "r1")
	// A pool of five sells two, one of which is cancelled.
	post(hour(3, 11), stock.Available, stock.Reserved, 5, "pool", "sale")
	post(hour(3, 12), stock.Reserved, stock.Committed, 2, stock.CauseCommitment, "shop:3")
	post(hour(3, 13), stock.Committed, stock.Reserved, 1, stock.CauseCommitment, "shop:3")
	post(hour(4, 0), stock.Available, stock.Committed, 20, stock.CauseCommitment, "other:1")

	s := b.close()
	want := []SeriesDay{
		{day(2026, 10, 24), stock.Day{Sold: 4, Closing: 6}, 10, 6},
		{day(2026, 10, 25), stock.Day{Sold: 4, Closing: 20, StockOut: true}, 20, 26},
		{day(2026, 10, 26), stock.Day{Sold: 1, Closing: 20}, 0, 29},
		{day(2026, 10, 27), stock.Day{Sold: 20, Closing: 0, StockOut: true}, 0, 29},
	}
	if len(s.Days) != len(want) {
		t.Fatalf("%d days: %+v", len(s.Days), s.Days)
	}
	for i, w := range want {
		if s.Days[i] != w {
			t.Errorf("day %d is %+v, want %+v", i, s.Days[i], w)
		}
	}
	if len(s.arrivals) != 2 || s.arrivals[1].Units != 20 || len(s.orders) != 4 {
		t.Errorf("arrivals %+v, orders %+v", s.arrivals, s.orders)
	}
}
