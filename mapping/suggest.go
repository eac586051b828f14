package mapping

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// Rule is what a suggestion rests on.
type Rule string

// The rules, the strongest first.
const (
	BySKU   Rule = "sku"
	ByGTIN  Rule = "gtin"
	ByTitle Rule = "title"
)

// Suggestion is a link that a person may accept: one unit of the SKU per unit of the listing. Title is the listing's and
// Name the item's, so that a person can compare them.
type Suggestion struct {
	Ref   connectors.Ref `json:"ref"`
	SKU   stock.SKU      `json:"sku"`
	By    Rule           `json:"by"`
	Title string         `json:"title,omitempty"`
	Name  string         `json:"name,omitempty"`
}

// Suggest finds, for the listings of one connection, the items of the system of record that they probably sell: by equal
// SKUs, else by SKUs equal but for writing (see Normalize), else by the same valid GTIN, else by titles equal but for
// writing. A rule speaks only where its key is not blank and belongs to one item of the marketplace and one item of ours,
// among all that were handed over; the places of one marketplace item are one. Where a stronger rule found several items,
// a weaker one may only choose among them.
//
// Listings that the marketplace removed are left out. Suggestions are sorted by ref, at most one for each, and do not
// depend on the order of the input.
func Suggest(listings []connectors.Listing, items []connectors.Item) []Suggestion {
	n := newNormalizer()
	rules := []rule{
		{BySKU, func(l connectors.Listing) string { return l.SKU }, func(i connectors.Item) string { return i.SKU }},
		{BySKU, func(l connectors.Listing) string { return n.of(l.SKU) }, func(i connectors.Item) string { return n.of(i.SKU) }},
		{ByGTIN, func(l connectors.Listing) string { return gtin(l.GTIN) }, func(i connectors.Item) string { return gtin(i.GTIN) }},
		{ByTitle, func(l connectors.Listing) string { return n.of(l.Title) }, func(i connectors.Item) string { return n.of(i.Name) }},
	}
	listings, items = sortedListings(listings), sortedItems(items)

	found := make([]Suggestion, len(listings))
	choice := make([][]string, len(listings)) // the SKUs that a stronger rule found, nil where none did
	for _, r := range rules {
		theirs := keyed(listings, r.listing, func(l connectors.Listing) string { return l.Ref.Item })
		ours := keyed(items, r.item, func(i connectors.Item) string { return i.SKU })
		for i, l := range listings {
			key := r.listing(l)
			candidates := ours[key]
			if found[i].SKU != "" || len(candidates) == 0 {
				continue
			}
			unique := len(candidates) == 1 && len(theirs[key]) == 1
			if unique && (choice[i] == nil || among(choice[i], candidates[0])) {
				found[i] = Suggestion{Ref: l.Ref, SKU: stock.SKU(candidates[0]), By: r.by, Title: l.Title}
			} else if choice[i] == nil {
				choice[i] = candidates
			}
		}
	}

	names := make(map[stock.SKU]string, len(items))
	for _, i := range items {
		names[stock.SKU(i.SKU)] = i.Name
	}
	unclear := contested(listings)
	found = slices.DeleteFunc(found, func(s Suggestion) bool { return s.SKU == "" || unclear[s.Ref] })
	found = slices.CompactFunc(found, func(a, b Suggestion) bool { return a.Ref == b.Ref })
	for i, s := range found {
		found[i].Name = names[s.SKU]
	}
	return found
}

// rule compares a key of listings with a key of items; a blank key compares with nothing.
type rule struct {
	by      Rule
	listing func(connectors.Listing) string
	item    func(connectors.Item) string
}

// keyed returns the different identities behind each key that is not blank. The rows are sorted by identity.
func keyed[T any](rows []T, key, identity func(T) string) map[string][]string {
	out := make(map[string][]string, len(rows))
	for _, row := range rows {
		k, id := key(row), identity(row)
		if strings.TrimSpace(k) == "" || id == "" {
			continue
		}
		if ids := out[k]; len(ids) == 0 || ids[len(ids)-1] != id {
			out[k] = append(ids, id)
		}
	}
	return out
}

func among(sorted []string, id string) bool {
	_, ok := slices.BinarySearch(sorted, id)
	return ok
}

// sortedListings returns the listings that are for sale, sorted.
func sortedListings(listings []connectors.Listing) []connectors.Listing {
	listings = slices.DeleteFunc(slices.Clone(listings), func(l connectors.Listing) bool { return l.Status == connectors.StatusRemoved })
	slices.SortFunc(listings, func(a, b connectors.Listing) int {
		return cmp.Or(a.Ref.Compare(b.Ref), cmp.Compare(a.SKU, b.SKU), cmp.Compare(a.GTIN, b.GTIN), cmp.Compare(a.Title, b.Title))
	})
	return listings
}

func sortedItems(items []connectors.Item) []connectors.Item {
	items = slices.Clone(items)
	slices.SortFunc(items, func(a, b connectors.Item) int {
		return cmp.Or(cmp.Compare(a.SKU, b.SKU), cmp.Compare(a.GTIN, b.GTIN), cmp.Compare(a.Name, b.Name))
	})
	return items
}

// contested are the refs that stand several times in sorted listings with different content: nobody knows which is true.
func contested(listings []connectors.Listing) map[connectors.Ref]bool {
	refs := make(map[connectors.Ref]bool)
	for i := 1; i < len(listings); i++ {
		a, b := listings[i-1], listings[i]
		if a.Ref == b.Ref && (a.SKU != b.SKU || a.GTIN != b.GTIN || a.Title != b.Title) {
			refs[a.Ref] = true
		}
	}
	return refs
}

// Normalize removes from a SKU or a title what people write differently and mean the same: it applies Unicode NFKC and
// case folding and drops white space, hyphens and dashes, underscores and invisible characters. It is idempotent.
func Normalize(text string) string { return newNormalizer().of(text) }

// LookAlikes are the SKUs that are written differently and mean the same to a reader (see Normalize), in sorted groups. To
// everything else they are different articles: a SKU is its bytes.
func LookAlikes(skus []stock.SKU) [][]stock.SKU {
	n := newNormalizer()
	alike := make(map[string][]stock.SKU)
	for _, sku := range skus {
		if key := n.of(string(sku)); key != "" {
			alike[key] = append(alike[key], sku)
		}
	}
	var groups [][]stock.SKU
	for _, group := range alike {
		slices.Sort(group)
		if group = slices.Compact(group); len(group) > 1 {
			groups = append(groups, group)
		}
	}
	slices.SortFunc(groups, func(a, b []stock.SKU) int { return cmp.Compare(a[0], b[0]) })
	return groups
}

// normalizer is not safe for concurrent use, because a cases.Caser is not.
type normalizer struct{ fold cases.Caser }

func newNormalizer() *normalizer { return &normalizer{fold: cases.Fold()} }

func (n *normalizer) of(text string) string {
	// Folding can undo NFKC and the other way round, and what is dropped may have kept characters apart; a second pass
	// settles it.
	for range 2 {
		text = strings.Map(significant, norm.NFKC.String(n.fold.String(norm.NFKC.String(text))))
	}
	return text
}

func significant(r rune) rune {
	const minus = '\u2212'
	if invisible(r) || r == '_' || r == minus || unicode.Is(unicode.Pd, r) {
		return -1
	}
	return r
}

// GTIN returns the 14-digit form of a GTIN-8, -12, -13 or -14, zeros in front. Spaces and hyphens between the digits are
// ignored. ok is false for anything else: another length, another character, a wrong check digit, or zeros only.
//
// Source of the check digit: https://www.gs1.org/services/how-calculate-check-digit-manually
func GTIN(code string) (gtin14 string, ok bool) {
	digits := strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, code)
	switch len(digits) {
	case 8, 12, 13, 14:
	default:
		return "", false
	}
	padded := strings.Repeat("0", 14-len(digits)) + digits
	sum := 0
	for i, c := range []byte(padded) {
		if c < '0' || c > '9' {
			return "", false
		}
		weight := 3 - 2*(i%2) // 3, 1, 3, … from the left of fourteen; the check digit itself weighs 1
		sum += weight * int(c-'0')
	}
	if sum == 0 || sum%10 != 0 {
		return "", false
	}
	return padded, true
}

func gtin(code string) string {
	padded, _ := GTIN(code)
	return padded
}
