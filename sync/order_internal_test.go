package sync

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// Whatever the order and the number of deliveries, the same facts give the same document.
func TestAnOrderIsAFunctionOfTheSetOfItsFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := drawLife(t)
		want := document(facts)
		seed := rapid.Uint64().Draw(t, "seed")
		rng := rand.New(rand.NewPCG(seed, 1))
		for range 8 {
			shuffled := slices.Clone(facts)
			for range rng.IntN(len(facts) + 1) {
				shuffled = append(shuffled, facts[rng.IntN(len(facts))])
			}
			rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if got := document(shuffled); got != want {
				t.Fatalf("in another order:\n%s\nwant\n%s", got, want)
			}
		}
	})
}

// drawLife draws what a marketplace may tell of one order: growing versions, edits, lines that come and go, totals that
// grow, a cancellation, and two contents under one version.
func drawLife(t *rapid.T) []connectors.Order {
	var facts []connectors.Order
	total := map[string]stock.Quantity{}
	for v := range rapid.IntRange(1, 6).Draw(t, "versions") {
		o := connectors.Order{OrderID: "1", Version: int64(v), Status: connectors.OrderOpen, UpdatedAt: time.Unix(int64(v), 0).UTC()}
		for _, id := range []string{"a", "b", "c"} {
			if rapid.IntRange(0, 3).Draw(t, "stands") == 0 {
				continue
			}
			total[id] += stock.Quantity(rapid.IntRange(0, 1).Draw(t, "cancelled"))
			o.Lines = append(o.Lines, connectors.ChannelLine{LineID: id, Ref: connectors.Ref{Item: id}, Quantity: stock.Quantity(rapid.IntRange(0, 9).Draw(t, "quantity")), Cancelled: total[id]})
		}
		if rapid.IntRange(0, 9).Draw(t, "cancels") == 0 {
			o.Status = connectors.OrderCancelledStatus
		}
		facts = append(facts, o)
		if rapid.IntRange(0, 4).Draw(t, "conflict") == 0 && len(o.Lines) > 0 {
			other := o
			other.Lines = slices.Clone(o.Lines)
			other.Lines[0].Quantity = stock.Quantity(rapid.IntRange(0, 9).Draw(t, "other quantity"))
			facts = append(facts, other)
		}
	}
	return facts
}

func document(facts []connectors.Order) string {
	o := &Order{OrderID: "1", Version: -1, StatusVersion: -1, Status: connectors.OrderOpen}
	for _, f := range facts {
		o.mergeFact(f)
	}
	// What counts is what the lines amount to; the versions of lines that are out of the order do not.
	type line struct {
		ID                      string
		Wanted, Open, Cancelled stock.Quantity
	}
	var lines []line
	for i := range o.Lines {
		l := &o.Lines[i]
		lines = append(lines, line{l.ID, o.wanted(l), o.open(l), l.Cancelled})
	}
	text, err := json.Marshal(struct {
		Version int64
		Status  connectors.OrderStatus
		Lines   []line
	}{o.Version, o.Status, lines})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestACancellationMayComeBeforeItsOrder(t *testing.T) {
	o := &Order{OrderID: "1", Version: -1, StatusVersion: -1, Status: connectors.OrderOpen}
	o.mergeCancellation(connectors.Order{OrderID: "1", Version: 3})
	o.mergeFact(connectors.Order{OrderID: "1", Version: 2, Status: connectors.OrderOpen, Lines: []connectors.ChannelLine{{LineID: "a", Ref: connectors.Ref{Item: "x"}, Quantity: 5}}})
	if open := o.open(&o.Lines[0]); open != 0 {
		t.Errorf("%d packs are open although the order was cancelled", open)
	}
	o.mergeFact(connectors.Order{OrderID: "1", Version: 4, Status: connectors.OrderOpen, Lines: []connectors.ChannelLine{{LineID: "a", Ref: connectors.Ref{Item: "x"}, Quantity: 5}}})
	if open := o.open(&o.Lines[0]); open != 5 {
		t.Errorf("%d packs are open although a newer version opened the order again, want 5", open)
	}
}

// Compare meets every row of both sides once, in order, whatever the sizes of the pages.
func TestCompareMeetsEveryRowOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		refs := rapid.SliceOfDistinct(rapid.StringMatching(`[A-Za-z_é]{1,3}`), func(s string) string { return s })
		left, right := refs.Draw(t, "ours"), refs.Draw(t, "theirs")
		slices.Sort(left)
		slices.Sort(right)
		size := rapid.IntRange(1, 4).Draw(t, "page")
		var pairs []string
		err := Compare(
			func(after connectors.Ref) ([]Listing, error) {
				var page []Listing
				for _, s := range following(left, after, size) {
					page = append(page, Listing{ListingKey: ListingKey{Ref: connectors.Ref{Item: s}}})
				}
				return page, nil
			},
			func(after connectors.Ref) ([]connectors.Reading, error) {
				var page []connectors.Reading
				for _, s := range following(right, after, size) {
					page = append(page, connectors.Reading{Ref: connectors.Ref{Item: s}})
				}
				return page, nil
			},
			func(l *Listing, r *connectors.Reading) error {
				pair := ""
				if l != nil {
					pair = l.Item
				}
				if r != nil {
					pair += "|" + r.Ref.Item
				}
				pairs = append(pairs, pair)
				return nil
			})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, s := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(left), right...)))) {
			pair := ""
			if slices.Contains(left, s) {
				pair = s
			}
			if slices.Contains(right, s) {
				pair += "|" + s
			}
			want = append(want, pair)
		}
		if strings.Join(pairs, " ") != strings.Join(want, " ") {
			t.Fatalf("met %v, want %v", pairs, want)
		}
	})
}

func following(sorted []string, after connectors.Ref, size int) []string {
	i, _ := slices.BinarySearch(sorted, after.Item)
	for i < len(sorted) && sorted[i] <= after.Item {
		i++
	}
	return sorted[i:min(i+size, len(sorted))]
}

func TestTheChainOfPostingsNoticesAnyChange(t *testing.T) {
	p := stock.Posting{SKU: "X", Location: "main", From: stock.Available, To: stock.Committed, Quantity: 3, At: time.Unix(1, 0), Cause: stock.Cause{Kind: stock.CauseCommitment, Event: 7, Reference: "a:1"}}
	hash := string(ChainHash([]byte("before"), p))
	changes := map[string]func(*stock.Posting){
		"sku": func(p *stock.Posting) { p.SKU = "Y" }, "location": func(p *stock.Posting) { p.Location = "other" },
		"from": func(p *stock.Posting) { p.From = stock.Reserved }, "to": func(p *stock.Posting) { p.To = stock.Outside },
		"quantity": func(p *stock.Posting) { p.Quantity = 4 }, "at": func(p *stock.Posting) { p.At = p.At.Add(time.Nanosecond) },
		"cause": func(p *stock.Posting) { p.Cause.Kind = stock.CauseMovement }, "event": func(p *stock.Posting) { p.Cause.Event = 8 },
		"reference": func(p *stock.Posting) { p.Cause.Reference = "a:2" },
	}
	for what, change := range changes {
		q := p
		change(&q)
		if string(ChainHash([]byte("before"), q)) == hash {
			t.Errorf("the chain does not notice another %s", what)
		}
	}
	if string(ChainHash([]byte("elsewhere"), p)) == hash {
		t.Error("the chain does not notice another predecessor")
	}
}

func TestWhatLosesAConflictAddsNothing(t *testing.T) {
	at := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	content := func(updated time.Time, ids ...string) connectors.Order {
		f := connectors.Order{OrderID: "1", Version: 3, Status: connectors.OrderOpen, PlacedAt: at, UpdatedAt: updated}
		for _, id := range ids {
			f.Lines = append(f.Lines, connectors.ChannelLine{LineID: id, Ref: connectors.Ref{Item: id}, Quantity: 1})
		}
		return f
	}
	stands, loses := content(at.Add(2*time.Minute), "x"), content(at.Add(time.Minute), "x", "y")
	for _, order := range [][]connectors.Order{{stands, loses}, {loses, stands}} {
		o := &Order{Version: -1, StatusVersion: -1, Status: connectors.OrderOpen}
		for _, f := range order {
			o.mergeFact(f)
		}
		for i := range o.Lines {
			want := map[string]stock.Quantity{"x": 1}[o.Lines[i].ID]
			if got := o.wanted(&o.Lines[i]); got != want {
				t.Errorf("line %s is wanted %d times, want %d", o.Lines[i].ID, got, want)
			}
		}
	}
	same := content(at, "1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
	o := &Order{Version: -1, StatusVersion: -1, Status: connectors.OrderOpen}
	o.mergeFact(same)
	if o.mergeFact(same) {
		t.Error("the same content with ten lines is called a conflict")
	}
}
