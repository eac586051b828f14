package mapping

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

func TestSuggest(t *testing.T) {
	type listings = []connectors.Listing
	type items = []connectors.Item
	ref := func(item string) connectors.Ref { return connectors.Ref{Item: item} }
	tests := map[string]struct {
		listings listings
		items    items
		want     []Suggestion
	}{
		"by SKU": {
			listings{{Ref: ref("1"), SKU: "A-1", Title: "Lamp"}}, items{{SKU: "A-1", Name: "Lamp, red"}},
			[]Suggestion{{ref("1"), "A-1", BySKU, "Lamp", "Lamp, red"}},
		},
		"by SKU but for writing": {
			listings{{Ref: ref("1"), SKU: " ａ‑_ 1"}}, items{{SKU: "A-1"}, {SKU: "A-2"}},
			[]Suggestion{{ref("1"), "A-1", BySKU, "", ""}},
		},
		"exact before normalised": {
			listings{{Ref: ref("1"), SKU: "a1"}}, items{{SKU: "A1"}, {SKU: "a1"}},
			[]Suggestion{{ref("1"), "a1", BySKU, "", ""}},
		},
		"by GTIN": {
			listings{{Ref: ref("1"), SKU: "x", GTIN: "4006381333931"}}, items{{SKU: "A", GTIN: "04006381333931"}},
			[]Suggestion{{ref("1"), "A", ByGTIN, "", ""}},
		},
		"a GTIN with a wrong check digit": {
			listings{{Ref: ref("1"), GTIN: "4006381333932"}}, items{{SKU: "A", GTIN: "4006381333932"}}, nil,
		},
		"by title": {
			listings{{Ref: ref("1"), Title: "Straße  Lamp"}}, items{{SKU: "A", Name: "STRASSE-LAMP"}},
			[]Suggestion{{ref("1"), "A", ByTitle, "Straße  Lamp", "STRASSE-LAMP"}},
		},
		"SKU before GTIN before title": {
			listings{{Ref: ref("1"), SKU: "A", GTIN: "96385074", Title: "C"}, {Ref: ref("2"), GTIN: "4006381333931", Title: "A"}},
			items{{SKU: "A", Name: "A"}, {SKU: "B", GTIN: "96385074"}, {SKU: "C", Name: "C", GTIN: "4006381333931"}},
			[]Suggestion{{ref("1"), "A", BySKU, "C", "A"}, {ref("2"), "C", ByGTIN, "A", "C"}},
		},
		"blank means nothing": {
			listings{{Ref: ref("1"), SKU: " ", Title: "-"}, {Ref: ref("2")}}, items{{SKU: "A", Name: "_"}, {SKU: " "}, {SKU: "B"}}, nil,
		},
		"two listings, one item": {
			listings{{Ref: ref("1"), SKU: "A"}, {Ref: ref("2"), SKU: "A"}}, items{{SKU: "A"}}, nil,
		},
		"one listing, two items": {
			listings{{Ref: ref("1"), Title: "Lamp"}}, items{{SKU: "A", Name: "Lamp"}, {SKU: "B", Name: "lamp"}}, nil,
		},
		"the same item named twice": {
			listings{{Ref: ref("1"), SKU: "A"}}, items{{SKU: "A"}, {SKU: "A"}},
			[]Suggestion{{ref("1"), "A", BySKU, "", ""}},
		},
		"places of one item": {
			listings{{Ref: connectors.Ref{Item: "1", Place: "b"}, SKU: "A"}, {Ref: connectors.Ref{Item: "1", Place: "a"}, SKU: "A"}}, items{{SKU: "A"}},
			[]Suggestion{{connectors.Ref{Item: "1", Place: "a"}, "A", BySKU, "", ""}, {connectors.Ref{Item: "1", Place: "b"}, "A", BySKU, "", ""}},
		},
		"a weaker rule chooses among those of a stronger": {
			listings{{Ref: ref("1"), SKU: "a1", GTIN: "96385074"}}, items{{SKU: "A-1"}, {SKU: "A1", GTIN: "96385074"}},
			[]Suggestion{{ref("1"), "A1", ByGTIN, "", ""}},
		},
		"a weaker rule does not overrule a stronger": {
			listings{{Ref: ref("1"), SKU: "a1", GTIN: "96385074"}}, items{{SKU: "A-1"}, {SKU: "A1"}, {SKU: "B", GTIN: "96385074"}}, nil,
		},
		"removed listings do not count": {
			listings{{Ref: ref("1"), SKU: "A"}, {Ref: ref("2"), SKU: "A", Status: connectors.StatusRemoved}}, items{{SKU: "A"}},
			[]Suggestion{{ref("1"), "A", BySKU, "", ""}},
		},
		"a ref that stands twice and differs": {
			listings{{Ref: ref("1"), SKU: "A"}, {Ref: ref("1"), SKU: "B"}}, items{{SKU: "A"}, {SKU: "B"}}, nil,
		},
		"a ref that stands twice": {
			listings{{Ref: ref("1"), SKU: "A"}, {Ref: ref("1"), SKU: "A"}}, items{{SKU: "A"}},
			[]Suggestion{{ref("1"), "A", BySKU, "", ""}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for range 4 { // any order of the input gives the same
				got := Suggest(tt.listings, tt.items)
				if len(got)+len(tt.want) > 0 && !reflect.DeepEqual(got, tt.want) {
					t.Errorf("got  %+v\nwant %+v", got, tt.want)
				}
				rand.Shuffle(len(tt.listings), func(i, j int) { tt.listings[i], tt.listings[j] = tt.listings[j], tt.listings[i] })
				rand.Shuffle(len(tt.items), func(i, j int) { tt.items[i], tt.items[j] = tt.items[j], tt.items[i] })
			}
		})
	}
}

// TestSuggestManyAlike keeps the time in proportion to the input where everything has the same title.
func TestLookAlikes(t *testing.T) {
	got := LookAlikes([]stock.SKU{"TEE 1", "tee-1", "TEE 1", "caf\u00e9", "cafe\u0301", "ＴＥＥ１", "B", "B", "TEE2", "-"})
	want := [][]stock.SKU{{"TEE 1", "tee-1", "ＴＥＥ１"}, {"cafe\u0301", "caf\u00e9"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("look-alikes are %q, want %q", got, want)
	}
}

func TestSuggestManyAlike(t *testing.T) {
	const n = 20_000
	listings := make([]connectors.Listing, n)
	items := make([]connectors.Item, n)
	for i := range n {
		listings[i] = connectors.Listing{Ref: connectors.Ref{Item: "i" + itoa(i)}, SKU: "s" + itoa(i), Title: "lamp"}
		items[i] = connectors.Item{SKU: "S-" + itoa(i), Name: "Lamp"}
	}
	got := Suggest(listings, items)
	if len(got) != n || got[0] != (Suggestion{connectors.Ref{Item: "i0"}, "S-0", BySKU, "lamp", "Lamp"}) {
		t.Errorf("got %d suggestions, the first %+v", len(got), got[0])
	}
}

func TestGTIN(t *testing.T) {
	tests := map[string]string{
		"4006381333931": "04006381333931", "04006381333931": "04006381333931", "96385074": "00000096385074",
		"036000291452": "00036000291452", "978-3-16-148410-0": "09783161484100", "400 6381 333931": "04006381333931",
		"10614141543219": "10614141543219",
		"4006381333932":  "", "": "", "00000000": "", "0000000000000": "", "123": "", "963850749": "", "400638133393X": "",
		"４００６３８１３３３９３１": "", "+4006381333931": "",
	}
	for code, want := range tests {
		if got, ok := GTIN(code); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", code, got, ok, want)
		}
	}
}

func FuzzGTIN(f *testing.F) {
	f.Add("4006381333931")
	f.Add("96385074")
	f.Add("978-3-16-148410-0")
	f.Fuzz(func(t *testing.T, code string) {
		got, ok := GTIN(code)
		if !ok {
			if got != "" {
				t.Fatalf("%q: %q without ok", code, got)
			}
			return
		}
		if len(got) != 14 || strings.Trim(got, "0123456789") != "" {
			t.Fatalf("%q: %q", code, got)
		}
		if again, ok := GTIN(got); !ok || again != got {
			t.Fatalf("%q: %q became %q, %v", code, got, again, ok)
		}
		for i := range got { // one wrong digit is always found
			wrong := []byte(got)
			wrong[i] = '0' + (wrong[i]-'0'+1)%10
			if _, ok := GTIN(string(wrong)); ok {
				t.Fatalf("%q: the wrong %q passes too", code, wrong)
			}
		}
	})
}

func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"A-1", "ｆｕｌｌ　ｗｉｄｔｈ", "ŉ", "ſ\u0323\u0307", "İ", "\u0345\u0301", "ΐ", "e\u200d\u0301", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once := Normalize(text)
		if twice := Normalize(once); twice != once {
			t.Fatalf("%q: %q became %q", text, once, twice)
		}
		if strings.ContainsFunc(once, func(r rune) bool { return significant(r) < 0 }) {
			t.Fatalf("%q: %q", text, once)
		}
	})
}
