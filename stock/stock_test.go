package stock_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/stock"
)

var states = []stock.State{
	stock.Outside, stock.Incoming, stock.Available, stock.Reserved, stock.Committed, stock.Unavailable,
}

func TestParseStateIsTheInverseOfString(t *testing.T) {
	for _, s := range states {
		got, err := stock.ParseState(s.String())
		if err != nil || got != s {
			t.Errorf("ParseState(%q) = %v, %v; want %v", s, got, err, s)
		}
	}
	unknown := stock.Unavailable + 1
	for _, name := range []string{"", "Available", "available ", "sold", unknown.String()} {
		if got, err := stock.ParseState(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("ParseState(%q) = %v, %v; want an error that names it", name, got, err)
		}
	}
	if unknown.String() != "state(6)" {
		t.Errorf("an unknown state is written %q", unknown)
	}
}

// TestLevelTellsAnOrder follows ten units through a receipt, an order of three, damage of one and the shipment.
func TestLevelTellsAnOrder(t *testing.T) {
	l := stock.Level{SKU: "TEE-S", Location: "north"}
	tests := []struct {
		from, to stock.State
		quantity stock.Quantity
		want     stock.Level
		tracked  stock.Quantity
	}{
		{stock.Outside, stock.Incoming, 10, stock.Level{Incoming: 10}, 0},
		{stock.Incoming, stock.Available, 10, stock.Level{Available: 10}, 10},
		{stock.Available, stock.Committed, 3, stock.Level{Available: 7, Committed: 3}, 10},
		{stock.Available, stock.Unavailable, 1, stock.Level{Available: 6, Committed: 3, Unavailable: 1}, 10},
		{stock.Available, stock.Reserved, 2, stock.Level{Available: 4, Reserved: 2, Committed: 3, Unavailable: 1}, 10},
		{stock.Committed, stock.Outside, 3, stock.Level{Available: 4, Reserved: 2, Unavailable: 1}, 7},
		// More promised than there is: the ledger says so.
		{stock.Available, stock.Committed, 9, stock.Level{Available: -5, Reserved: 2, Committed: 9, Unavailable: 1}, 7},
	}
	for i, tt := range tests {
		p := stock.Posting{SKU: l.SKU, Location: l.Location, From: tt.from, To: tt.to, Quantity: tt.quantity}
		if err := l.Apply(p); err != nil {
			t.Fatalf("posting %d: %v", i, err)
		}
		tt.want.SKU, tt.want.Location = l.SKU, l.Location
		if l != tt.want || l.Tracked() != tt.tracked {
			t.Fatalf("after posting %d the level is %+v, tracked %d; want %+v, %d", i, l, l.Tracked(), tt.want, tt.tracked)
		}
	}
	for s, want := range map[stock.State]stock.Quantity{
		stock.Outside: 0, stock.Incoming: 0, stock.Available: -5, stock.Reserved: 2, stock.Committed: 9, stock.Unavailable: 1, stock.State(9): 0,
	} {
		if got := l.Of(s); got != want {
			t.Errorf("Of(%s) = %d, want %d", s, got, want)
		}
	}
}

func TestLevelRefuses(t *testing.T) {
	in := stock.Posting{SKU: "TEE-S", Location: "north", From: stock.Outside, To: stock.Available, Quantity: 1}
	tests := []struct {
		title  string
		change func(*stock.Posting)
		want   string
	}{
		{"another SKU", func(p *stock.Posting) { p.SKU = "TEE-M" }, "TEE-M"},
		{"another location", func(p *stock.Posting) { p.Location = "south" }, "south"},
		{"no units", func(p *stock.Posting) { p.Quantity = 0 }, "moves 0 units"},
		{"negative units", func(p *stock.Posting) { p.Quantity = -1 }, "moves -1 units"},
		{"nowhere to go", func(p *stock.Posting) { p.From = stock.Available }, "to the same state"},
		{"an unknown source", func(p *stock.Posting) { p.From = 6 }, "unknown state"},
		{"an unknown goal", func(p *stock.Posting) { p.To = 255 }, "unknown state"},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			l := stock.Level{SKU: in.SKU, Location: in.Location, Available: 5}
			p, before := in, l
			tt.change(&p)
			if err := l.Apply(p); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not say %q", err, tt.want)
			}
			if l != before {
				t.Errorf("a refused posting changed the level to %+v", l)
			}
		})
	}
}

// FuzzLevelConservesUnits reads postings of three bytes each. Units only move: what lies in the states is what came in
// from outside less what left, each state holds what its own postings say, and the order of postings does not matter.
func FuzzLevelConservesUnits(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 2, 10, 2, 4, 3, 4, 0, 3})
	f.Add([]byte{2, 4, 255, 4, 2, 255, 1, 1, 9, 0, 0, 0, 6, 2, 1, 2, 255, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		forward := stock.Level{SKU: "TEE-S", Location: "north"}
		backward := forward
		sums := map[stock.State]stock.Quantity{}
		var taken []stock.Posting
		for ; len(data) >= 3; data = data[3:] {
			p := stock.Posting{
				SKU: "TEE-S", Location: "north", From: stock.State(data[0]), To: stock.State(data[1]), Quantity: stock.Quantity(int8(data[2])),
			}
			before := forward
			inOrder := p.From <= stock.Unavailable && p.To <= stock.Unavailable && p.From != p.To && p.Quantity > 0
			if err := forward.Apply(p); (err == nil) != inOrder {
				t.Fatalf("posting %+v: %v", p, err)
			}
			if !inOrder {
				if forward != before {
					t.Fatalf("refused posting %+v changed %+v to %+v", p, before, forward)
				}
				continue
			}
			sums[p.From] -= p.Quantity
			sums[p.To] += p.Quantity
			taken = append(taken, p)
		}
		var total stock.Quantity
		for _, s := range states[1:] {
			if forward.Of(s) != sums[s] {
				t.Fatalf("%s holds %d, its postings sum to %d", s, forward.Of(s), sums[s])
			}
			total += forward.Of(s)
		}
		if total != -sums[stock.Outside] {
			t.Fatalf("%d units are here, %d came in", total, -sums[stock.Outside])
		}
		if forward.Tracked() != total-forward.Incoming {
			t.Fatalf("tracked %d of %d with %d incoming", forward.Tracked(), total, forward.Incoming)
		}
		for _, p := range slices.Backward(taken) {
			if err := backward.Apply(p); err != nil {
				t.Fatal(err)
			}
		}
		if backward != forward {
			t.Fatalf("the postings backwards give %+v, forwards %+v", backward, forward)
		}
	})
}

func TestPosition(t *testing.T) {
	at := func(second int) time.Time { return time.Date(2026, 3, 1, 10, 0, second, 0, time.UTC) }
	type position = stock.Position
	tests := []struct {
		title              string
		statement, other   position
		covers, supersedes bool
	}{
		{"a later sequence", position{Sequenced: true, Sequence: 8}, position{Sequenced: true, Sequence: 7}, true, true},
		{"the same sequence", position{Sequenced: true, Sequence: 7}, position{Sequenced: true, Sequence: 7}, true, false},
		{"an earlier sequence", position{Sequenced: true, Sequence: 6}, position{Sequenced: true, Sequence: 7}, false, false},
		{"the sequence outweighs both times", position{Sequenced: true, Sequence: 6, SourceAt: at(9), SeenAt: at(9)}, position{Sequenced: true, Sequence: 7, SourceAt: at(1), SeenAt: at(1)}, false, false},
		{"the sequence outweighs an older time", position{Sequenced: true, Sequence: 8, SourceAt: at(1), SeenAt: at(1)}, position{Sequenced: true, Sequence: 7, SourceAt: at(9), SeenAt: at(9)}, true, true},
		{"later by the source", position{SourceAt: at(2)}, position{SourceAt: at(1)}, true, true},
		{"at the same instant of the source", position{SourceAt: at(2)}, position{SourceAt: at(2)}, true, false},
		{"earlier by the source", position{SourceAt: at(1)}, position{SourceAt: at(2)}, false, false},
		{"the source's time outweighs ours", position{SourceAt: at(1), SeenAt: at(9)}, position{SourceAt: at(2), SeenAt: at(1)}, false, false},
		{"one sequence is not enough", position{Sequenced: true, Sequence: 8, SourceAt: at(1)}, position{SourceAt: at(2)}, false, false},
		{"one source time is not enough", position{SourceAt: at(9), SeenAt: at(1)}, position{SeenAt: at(2)}, false, false},
		{"read begun after", position{SeenAt: at(2)}, position{SeenAt: at(1)}, true, true},
		{"read begun at the same instant proves nothing", position{SeenAt: at(1)}, position{SeenAt: at(1)}, false, false},
		{"read begun before", position{SeenAt: at(1)}, position{SeenAt: at(2)}, false, false},
		{"nothing known", position{}, position{}, false, false},
		{"nothing known of the statement", position{}, position{SeenAt: at(1)}, false, false},
		// Not a proof that the fact is contained, but reason enough to replace a statement of which nothing is known.
		{"nothing known of the other", position{SeenAt: at(1)}, position{}, false, true},
		{"nothing in common", position{Sequenced: true, Sequence: 9}, position{SourceAt: at(1)}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			if got := tt.statement.Covers(tt.other, 1); got != tt.covers {
				t.Errorf("covers: %v, want %v", got, tt.covers)
			}
			if got := tt.statement.Supersedes(tt.other); got != tt.supersedes {
				t.Errorf("supersedes: %v, want %v", got, tt.supersedes)
			}
		})
	}
}

func TestAtTheSameInstantARiseIsContainedAndAFallIsNot(t *testing.T) {
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	statement, movement := stock.Position{SourceAt: at}, stock.Position{SourceAt: at}
	if !statement.Covers(movement, 5) {
		t.Error("a receipt at the instant of the statement would be added twice")
	}
	if statement.Covers(movement, -5) {
		t.Error("a shipment at the instant of the statement might never be subtracted")
	}
	first := stock.Position{Sequenced: true, Sequence: 0}
	if first.Covers(stock.Position{Sequenced: true, Sequence: 1, SourceAt: at}, 5) {
		t.Error("a statement from before the first fact contains the first fact")
	}
}

func TestPositionSurvivesStorage(t *testing.T) {
	at := time.Date(2026, 3, 1, 10, 0, 0, 123456789, time.UTC)
	for text, p := range map[string]stock.Position{
		`{}`:                              {},
		`{"sequenced":true,"sequence":7}`: {Sequenced: true, Sequence: 7},
		`{"sequenced":true,"sequence":7,"source_at":"2026-03-01T10:00:00.123456789Z","seen_at":"2026-03-01T10:00:00.123456789Z"}`: {Sequenced: true, Sequence: 7, SourceAt: at, SeenAt: at},
	} {
		written, err := json.Marshal(p)
		if err != nil || string(written) != text {
			t.Errorf("%+v is written %s, %v; want %s", p, written, err, text)
		}
		var read stock.Position
		if err := json.Unmarshal([]byte(text), &read); err != nil || read != p {
			t.Errorf("%s is read as %+v, %v; want %+v", text, read, err, p)
		}
	}
}
