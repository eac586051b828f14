package stock_test

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/stock"
)

func TestOversellLimit(t *testing.T) {
	for _, tt := range []struct {
		n        stock.Quantity
		permille int64
		want     stock.Quantity
	}{
		{10, 1050, 10}, {19, 1050, 19}, {20, 1050, 21}, {100, 1150, 115}, {0, 2000, 0}, {-5, 1050, 0}, {7, 1000, 7}, {7, 0, 7},
		{stock.MaxQuantity, 2000, stock.MaxQuantity}, {999_999_999_999, 1001, stock.MaxQuantity},
	} {
		if got := stock.OversellLimit(tt.n, tt.permille); got != tt.want {
			t.Errorf("%d at %d ‰ is %d, want %d", tt.n, tt.permille, got, tt.want)
		}
	}
	if stock.OversellLeft(20, 20, 1050) != 1 || stock.OversellLeft(20, 21, 1050) != 0 || stock.OversellLeft(20, 30, 1050) != 0 {
		t.Error("what is left does not stop at the bound")
	}
	rapid.Check(t, func(t *rapid.T) {
		n, permille := rapid.Int64Range(0, int64(stock.MaxQuantity)).Draw(t, "n"), rapid.Int64Range(1000, 2000).Draw(t, "ratio")
		exact := new(big.Int).Mul(big.NewInt(n), big.NewInt(permille))
		exact.Div(exact, big.NewInt(1000))
		if want := min(exact.Int64(), int64(stock.MaxQuantity)); int64(stock.OversellLimit(stock.Quantity(n), permille)) != want {
			t.Fatalf("%d at %d ‰", n, permille)
		}
	})
}

func TestOversellBound(t *testing.T) {
	b := stock.OversellBound{MaxPermille: 1100, MinOrders: 200}
	tests := []struct {
		permille int64
		fallen   stock.Fallen
		want     string
	}{
		{1000, stock.Fallen{}, ""},
		{1050, stock.Fallen{Orders: 200, Fell: 10}, ""}, // 50 ‰
		{1051, stock.Fallen{Orders: 200, Fell: 10}, "oversell_permille is 1051 and may be at most 1050: 10 of 200 orders fell, which is 50 ‰"},
		{1050, stock.Fallen{Orders: 199, Fell: 60}, "oversell_permille is 1050 and may be at most 1000: 199 orders were measured and 200 are needed"},
		{1100, stock.Fallen{Orders: 200, Fell: 60}, ""},
		{1101, stock.Fallen{Orders: 200, Fell: 60}, "oversell_permille is 1101 and may be at most 1100: the configuration allows no more; 60 of 200 orders fell"},
		{1001, stock.Fallen{Orders: 300, Fell: 301}, "oversell_permille is 1001 and may be at most 1000: the measurement says that 301 of 300 orders fell"},
		{999, stock.Fallen{Orders: 300, Fell: 30}, "oversell_permille is 999: it must be from 1000 to 2000"},
		{2001, stock.Fallen{Orders: 300, Fell: 30}, "oversell_permille is 2001: it must be from 1000 to 2000"},
	}
	for _, tt := range tests {
		if err := b.Check(tt.permille, tt.fallen); tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
	for _, bad := range []stock.OversellBound{{MaxPermille: 999, MinOrders: 1}, {MaxPermille: 1000}, {MaxPermille: 2001, MinOrders: 1}} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "must be from") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestOversellVersions(t *testing.T) {
	from := at(t, "2026-11-01T00:00:00Z")
	versions := []stock.OversellVersion{{from.Add(48 * time.Hour), 1000}, {from, 1100}, {from, 1050}}
	for after, want := range map[time.Duration]int64{-1: 1000, 0: 1050, 48*time.Hour - 1: 1050, 48 * time.Hour: 1000, 1000 * time.Hour: 1000} {
		if got := stock.OversellAt(versions, from.Add(after)); got != want {
			t.Errorf("%v after the first version: %d, want %d", after, got, want)
		}
	}
	// The 21st of 20 was right while 1050 was in force, and is not an incident since it is 1000.
	if got := stock.BeyondRatio(20, 21, 1, versions, from.Add(time.Hour)); got != 0 {
		t.Errorf("%d units are an incident", got)
	}
	if got := stock.BeyondRatio(20, 23, 5, versions, from.Add(time.Hour)); got != 2 {
		t.Errorf("%d units are an incident, want 2", got)
	}
	if got := stock.BeyondRatio(20, 23, 1, versions, from.Add(72*time.Hour)); got != 1 {
		t.Errorf("%d units are an incident, want no more than the order", got)
	}
}
