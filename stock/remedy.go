package stock

import (
	"cmp"
	"slices"
	"time"
)

// PromisedLine is an order line to which units of a SKU are promised and not shipped.
type PromisedLine struct {
	Order      string    `json:"order"` // unique over all channels
	Line       string    `json:"line"`
	AcceptedAt time.Time `json:"accepted_at"`
	Units      Quantity  `json:"units"`
	// Buyer is the reference by which the channel reaches the buyer.
	Buyer string `json:"buyer,omitempty"`
}

// AffectedLine is a line that cannot be served in full.
type AffectedLine struct {
	PromisedLine
	Short Quantity `json:"short"`
}

// RankAffected finds the lines that an oversell of short units falls on: who ordered last is affected first, and of two
// at the same instant the one whose order and line sort later. The last of them may be short of a part only.
func RankAffected(lines []PromisedLine, short Quantity) []AffectedLine {
	ranked := slices.Clone(lines)
	slices.SortFunc(ranked, func(a, b PromisedLine) int {
		return -cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), cmp.Compare(a.Order, b.Order), cmp.Compare(a.Line, b.Line))
	})
	var out []AffectedLine
	for _, l := range ranked {
		if short <= 0 {
			break
		}
		if l.Units <= 0 {
			continue
		}
		missing := min(l.Units, short)
		short -= missing
		out = append(out, AffectedLine{l, missing})
	}
	return out
}

// Arrival is a delivery that is expected.
type Arrival struct {
	At    time.Time `json:"at"`
	Units Quantity  `json:"units"`
}

// Substitute is a SKU that may be sent instead of another, with its grade: a higher one is the better article.
type Substitute struct {
	SKU       SKU      `json:"sku"`
	Grade     int      `json:"grade"`
	Available Quantity `json:"available"`
}

// RemedyKind is a way to make an oversold line good.
type RemedyKind string

// The kinds of remedy.
const (
	RemedyRestock    RemedyKind = "restock"    // wait for a delivery
	RemedySubstitute RemedyKind = "substitute" // send another article
	RemedyRefund     RemedyKind = "refund"     // give the money back
)

// Remedy is a proposal.
type Remedy struct {
	Kind RemedyKind `json:"kind"`
	// ReadyAt is, of a restock, the instant at which enough will have arrived.
	ReadyAt time.Time `json:"ready_at,omitzero"`
	// Substitute is, of a substitute, what would be sent.
	Substitute SKU `json:"substitute,omitempty"`
}

// RemedyProposal is what can be proposed for one affected line, the best first; a refund is always the last.
type RemedyProposal struct {
	AffectedLine
	Remedies []Remedy `json:"remedies"`
}

// ProposeRemedies proposes for every affected line the delivery that will cover it, a substitute of equal or higher grade
// of which enough is there, and a refund. Who ordered first is served first: by the deliveries, and by the
// substitutes, each unit of which is proposed once. Of several substitutes that suffice it is the one of the lowest grade,
// then of the most available, then of the first name. Proposals keep the order of affected. grade is that of the SKU
// that is missing.
func ProposeRemedies(affected []AffectedLine, grade int, arrivals []Arrival, substitutes []Substitute, now time.Time) []RemedyProposal {
	arrivals = slices.Clone(arrivals)
	slices.SortStableFunc(arrivals, func(a, b Arrival) int { return a.At.Compare(b.At) })
	substitutes = slices.DeleteFunc(slices.Clone(substitutes), func(s Substitute) bool { return s.Grade < grade })
	slices.SortFunc(substitutes, func(a, b Substitute) int {
		return cmp.Or(cmp.Compare(a.Grade, b.Grade), cmp.Compare(b.Available, a.Available), cmp.Compare(a.SKU, b.SKU))
	})
	out := make([]RemedyProposal, len(affected))
	arriving, needed := Quantity(0), Quantity(0)
	next, readyAt := 0, time.Time{}
	for i, line := range slices.Backward(affected) {
		out[i].AffectedLine = line
		needed += line.Short
		for arriving < needed && next < len(arrivals) {
			if a := arrivals[next]; a.At.After(now) && a.Units > 0 {
				arriving += a.Units
				readyAt = a.At.UTC()
			}
			next++
		}
		if arriving >= needed {
			out[i].Remedies = append(out[i].Remedies, Remedy{Kind: RemedyRestock, ReadyAt: readyAt})
		}
		for s := range substitutes {
			if substitutes[s].Available >= line.Short {
				substitutes[s].Available -= line.Short
				out[i].Remedies = append(out[i].Remedies, Remedy{Kind: RemedySubstitute, Substitute: substitutes[s].SKU})
				break
			}
		}
		out[i].Remedies = append(out[i].Remedies, Remedy{Kind: RemedyRefund})
	}
	return out
}
