package stock_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestRemedies(t *testing.T) {
	now := at(t, "2026-11-25T12:00:00Z")
	line := func(order string, minutes int, units stock.Quantity) stock.PromisedLine {
		return stock.PromisedLine{Order: order, Line: "1", AcceptedAt: now.Add(time.Duration(minutes-100) * time.Minute), Units: units}
	}
	affected := stock.RankAffected([]stock.PromisedLine{line("b", 2, 3), line("a", 1, 9), line("d", 3, 2), line("c", 3, 1), line("e", 4, 0)}, 5)
	ranks := ""
	for _, a := range affected {
		ranks += fmt.Sprintf("%s:%d ", a.Order, a.Short)
	}
	// Last in, first affected: d and c at one instant, then 2 of the 3 of b; a is safe.
	if ranks != "d:2 c:1 b:2 " {
		t.Fatalf("affected are %s", ranks)
	}
	arrivals := []stock.Arrival{{At: now.Add(72 * time.Hour), Units: 1}, {At: now.Add(-time.Hour), Units: 50}, {At: now.Add(24 * time.Hour), Units: 2}}
	substitutes := []stock.Substitute{{"luxury", 9, 50}, {"poor", 1, 50}, {"same", 5, 3}}
	got := ""
	for _, p := range stock.ProposeRemedies(affected, 5, arrivals, substitutes, now) {
		got += p.Order + ":"
		for _, r := range p.Remedies {
			got += " " + string(r.Kind)
			if !r.ReadyAt.IsZero() {
				got += " " + r.ReadyAt.Sub(now).String()
			}
			if r.Substitute != "" {
				got += " " + string(r.Substitute)
			}
		}
		got += "\n"
	}
	// b ordered first: it gets the first delivery and two of the three of the same grade; c gets the next of both.
	want := "d: substitute luxury refund\nc: restock 72h0m0s substitute same refund\nb: restock 24h0m0s substitute same refund\n"
	if got != want {
		t.Errorf("proposed\n%swant\n%s", got, want)
	}
}

// TestRemediesPromiseNothingTwice ranks and proposes at random: what is short adds up, and neither deliveries nor
// substitutes are promised beyond what there is.
func TestRemediesPromiseNothingTwice(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		var lines []stock.PromisedLine
		promised := stock.Quantity(0)
		for i := range rapid.IntRange(0, 12).Draw(t, "lines") {
			l := stock.PromisedLine{Order: fmt.Sprint(i), AcceptedAt: now.Add(time.Duration(rapid.IntRange(-5, 0).Draw(t, "at"))), Units: stock.Quantity(rapid.IntRange(1, 5).Draw(t, "units"))}
			promised += l.Units
			lines = append(lines, l)
		}
		short := stock.Quantity(rapid.Int64Range(0, 40).Draw(t, "short"))
		affected := stock.RankAffected(lines, short)
		sum := stock.Quantity(0)
		for i, a := range affected {
			sum += a.Short
			if a.Short < 1 || a.Short > a.Units || i < len(affected)-1 && a.Short != a.Units {
				t.Fatalf("line %d of %d is short of %d", i, len(affected), a.Short)
			}
			if i > 0 && a.AcceptedAt.After(affected[i-1].AcceptedAt) {
				t.Fatal("an earlier order is affected before a later one")
			}
		}
		if sum != min(short, promised) {
			t.Fatalf("%d are short, the lines say %d", short, sum)
		}
		arriving := stock.Quantity(rapid.Int64Range(0, 20).Draw(t, "arriving"))
		substitute := stock.Substitute{SKU: "s", Grade: 2, Available: stock.Quantity(rapid.Int64Range(0, 20).Draw(t, "available"))}
		grade := rapid.IntRange(1, 3).Draw(t, "grade")
		restocked, replaced := stock.Quantity(0), stock.Quantity(0)
		for _, p := range stock.ProposeRemedies(affected, grade, []stock.Arrival{{At: now.Add(1), Units: arriving}}, []stock.Substitute{substitute}, now) {
			if p.Remedies[len(p.Remedies)-1].Kind != stock.RemedyRefund {
				t.Fatal("a refund is not the last resort")
			}
			for _, r := range p.Remedies {
				switch r.Kind {
				case stock.RemedyRestock:
					restocked += p.Short
				case stock.RemedySubstitute:
					replaced += p.Short
					if grade > 2 {
						t.Fatal("a lower grade is proposed")
					}
				}
			}
		}
		if restocked > arriving || replaced > substitute.Available {
			t.Fatalf("%d of %d arriving and %d of %d substitutes are promised", restocked, arriving, replaced, substitute.Available)
		}
	})
}
