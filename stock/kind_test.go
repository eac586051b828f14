package stock_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestItemRuleValidate(t *testing.T) {
	day := &stock.Calendar{Resource: "r", Period: stock.Daily}
	fifty := new(stock.Quantity(50))
	tests := []struct {
		rule stock.ItemRule
		want string
	}{
		{stock.ItemRule{Kind: stock.Physical, Mode: stock.Finite}, ""},
		{stock.ItemRule{Kind: stock.Physical, Mode: stock.Pooled}, ""},
		{stock.ItemRule{Kind: stock.Licence, Mode: stock.Finite}, ""},
		{stock.ItemRule{Kind: stock.Quota, Mode: stock.Finite, Calendar: day, Cap: fifty}, ""},
		{stock.ItemRule{Kind: stock.Quota, Mode: stock.Unlimited, Calendar: day, Cap: fifty}, ""},
		{stock.ItemRule{Kind: stock.Service, Mode: stock.Finite, Calendar: day}, ""},
		{stock.ItemRule{Kind: "book", Mode: stock.Finite}, `kind is "book": write physical, licence, quota or service`},
		{stock.ItemRule{Kind: stock.Physical, Mode: "endless"}, `mode is "endless": write finite, unlimited or reserved`},
		{stock.ItemRule{Kind: stock.Licence, Mode: stock.Unlimited, Calendar: day, Cap: fifty}, "mode is unlimited for licences: there are as many as there are keys"},
		{stock.ItemRule{Kind: stock.Service, Mode: stock.Unlimited, Calendar: day, Cap: fifty}, "mode is unlimited for a service: its shifts bound it"},
		{stock.ItemRule{Kind: stock.Service, Mode: stock.Finite}, "calendar is missing: a service item is sold by windows"},
		{stock.ItemRule{Kind: stock.Quota, Mode: stock.Finite, Cap: fifty}, "calendar is missing: a quota item is sold by windows"},
		{stock.ItemRule{Kind: stock.Physical, Mode: stock.Unlimited, Cap: fifty}, "calendar is missing: what is unlimited still has an effective cap per window"},
		{stock.ItemRule{Kind: stock.Physical, Mode: stock.Unlimited, Calendar: day}, "cap is missing: say how many may be sold per window"},
		{stock.ItemRule{Kind: stock.Quota, Mode: stock.Finite, Calendar: day, Cap: new(stock.Quantity(-1))}, "cap is -1: it must be from 0 to 1000000000000"},
		{stock.ItemRule{Kind: stock.Quota, Mode: stock.Finite, Calendar: &stock.Calendar{Resource: "r"}, Cap: fifty}, `calendar.period is "": write daily, weekly, monthly or hours`},
	}
	for _, tt := range tests {
		if err := tt.rule.Validate(); tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.rule, err, tt.want)
		}
	}
}

func TestOpenByKindAndMode(t *testing.T) {
	tests := []struct {
		kind stock.Kind
		mode stock.Mode
		want stock.Quantity
	}{
		{stock.Physical, stock.Finite, -2}, {stock.Physical, stock.Unlimited, 7}, {stock.Physical, stock.Pooled, 0},
		{stock.Licence, stock.Finite, -2}, {stock.Quota, stock.Finite, 7}, {stock.Quota, stock.Pooled, 0}, {stock.Service, stock.Finite, -2},
	}
	for _, tt := range tests {
		if got := (stock.ItemRule{Kind: tt.kind, Mode: tt.mode}).Open(-2, 7); got != tt.want {
			t.Errorf("%s %s: %d are open, want %d", tt.kind, tt.mode, got, tt.want)
		}
	}
}

// TestHundredKeys asks 150 lines, each twice, for one key of a hundred.
func TestHundredKeys(t *testing.T) {
	var free []int64
	for n := range int64(100) {
		free = append(free, 1000+n)
	}
	var requests []stock.KeyRequest
	for n := range 300 {
		requests = append(requests, stock.KeyRequest{Line: fmt.Sprint("line ", n%150), Quantity: 1})
	}
	granted, waiting := stock.GrantKeys(free, nil, requests)
	keys, lines := map[int64]bool{}, map[string]bool{}
	for _, g := range granted {
		keys[g.Key], lines[g.Line] = true, true
	}
	if len(granted) != 100 || len(keys) != 100 || len(lines) != 100 || len(waiting) != 50 {
		t.Fatalf("%d grants of %d keys to %d lines, %d wait; want 100, 100, 100 and 50", len(granted), len(keys), len(lines), len(waiting))
	}
	if again, still := stock.GrantKeys(free, granted, requests); len(again) != 0 || len(still) != 50 {
		t.Errorf("asked again: %d more grants, %d wait", len(again), len(still))
	}
}

// A line of two units that has two keys needs none, whichever units they were given to.
func TestGrantKeysCountsTheKeysOfALine(t *testing.T) {
	held := []stock.KeyGrant{{Line: "a", N: 1, Key: 3}, {Line: "a", N: 3, Key: 6}}
	if granted, waiting := stock.GrantKeys([]int64{9}, held, []stock.KeyRequest{{Line: "a", Quantity: 2}}); len(granted) != 0 || len(waiting) != 0 {
		t.Errorf("granted %v, waiting %v", granted, waiting)
	}
	granted, waiting := stock.GrantKeys([]int64{9}, held[1:], []stock.KeyRequest{{Line: "a", Quantity: 2}, {Line: "a", Quantity: 3}})
	if len(granted) != 1 || granted[0] != (stock.KeyGrant{Line: "a", N: 1, Key: 9}) || len(waiting) != 1 || waiting[0] != (stock.KeyRequest{Line: "a", Quantity: 1}) {
		t.Errorf("granted %v, waiting %v", granted, waiting)
	}
}

func TestGrantKeysFillsWhatALineLacks(t *testing.T) {
	held := []stock.KeyGrant{{Line: "a", N: 2, Key: 7}, {Line: "b", N: 1, Key: 8}}
	granted, waiting := stock.GrantKeys([]int64{7, 9}, held, []stock.KeyRequest{{Line: "a", Quantity: 1_000_000_000_000}, {Line: "b", Quantity: 2}})
	if !reflect.DeepEqual(granted, []stock.KeyGrant{{Line: "a", N: 1, Key: 9}}) {
		t.Errorf("granted %v", granted)
	}
	if !reflect.DeepEqual(waiting, []stock.KeyRequest{{Line: "a", Quantity: 999_999_999_998}, {Line: "b", Quantity: 1}}) {
		t.Errorf("waiting %v", waiting)
	}
}

// TestKeysAreGivenOnce grants in random rounds: no key twice, no unit twice, and what waits plus what is held is what
// was asked for.
func TestKeysAreGivenOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var free []int64
		var held []stock.KeyGrant
		asked := map[string]stock.Quantity{}
		for range 6 {
			for range rapid.IntRange(0, 5).Draw(t, "import") {
				free = append(free, int64(len(free)))
			}
			line := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "line")
			asked[line] = max(asked[line], stock.Quantity(rapid.IntRange(1, 6).Draw(t, "quantity")))
			var requests []stock.KeyRequest
			want := stock.Quantity(0)
			for _, l := range []string{"a", "b", "c"} {
				if asked[l] > 0 {
					requests = append(requests, stock.KeyRequest{Line: l, Quantity: asked[l]})
					want += asked[l]
				}
			}
			granted, waiting := stock.GrantKeys(free, held, requests)
			held = append(held, granted...)
			got := stock.Quantity(len(held))
			for _, w := range waiting {
				got += w.Quantity
			}
			keys, units := map[int64]bool{}, map[string]bool{}
			for _, g := range held {
				unit := fmt.Sprint(g.Line, g.N)
				if keys[g.Key] || units[unit] || g.N < 1 || g.N > asked[g.Line] {
					t.Fatalf("grant %v is not the first", g)
				}
				keys[g.Key], units[unit] = true, true
			}
			if got != want || len(waiting) > 0 && len(held) < len(free) {
				t.Fatalf("%d are held or wait, %d were asked for; %d of %d keys are given", got, want, len(held), len(free))
			}
		}
	})
}

func TestCheckKeys(t *testing.T) {
	if err := stock.CheckKeys([]string{"A-1", "A-2"}); err != nil {
		t.Error(err)
	}
	err := stock.CheckKeys([]string{"SECRET-1", "B", "SECRET-1"})
	if err == nil || err.Error() != "keys[3] is the same as keys[1]" || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("a key twice: %v", err)
	}
	if err := stock.CheckKeys([]string{"A", " "}); err == nil || err.Error() != "keys[2] is empty" {
		t.Errorf("an empty key: %v", err)
	}
}
