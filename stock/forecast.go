package stock

import (
	"math/big"
	"sort"
)

// ForecastDays is how far a stock-out is foreseen. A forecast of as many days means: then, or later, or never.
const ForecastDays = 3660

// Forecast is in how many days from now a stock will be gone: Expected at the mean of the sales, and between Earliest and
// Latest as far as chance goes.
type Forecast struct {
	Earliest int `json:"earliest"`
	Expected int `json:"expected"`
	Latest   int `json:"latest"`
	// Days is how many days of sales the forecast rests on; below two there is none, and Known is false.
	Days  int  `json:"days"`
	Known bool `json:"known"`
}

// ForecastStockOut foresees when the available units will be sold, from daily sales without the days of a stock-out.
// Of T days the sales have the mean d·T and, the days being independent, the standard deviation σ·√T; Earliest and Latest
// are the first T at which d·T + zσ√T and d·T − zσ√T reach what is available. z is in thousandths: 1960 takes in 95 % of
// chance. The arithmetic is exact.
func ForecastStockOut(available Quantity, days []Day, zPermille int64) Forecast {
	var sold []int64
	for _, d := range days {
		if !d.StockOut {
			sold = append(sold, int64(max(0, min(d.Sold, MaxQuantity))))
		}
	}
	f := Forecast{Days: len(sold)}
	if len(sold) < 2 {
		return f
	}
	f.Known = true
	mean, variance := moments(sold)
	z := big.NewRat(max(0, zPermille), 1000)
	spread := new(big.Rat).Mul(variance, new(big.Rat).Mul(z, z)) // of one day
	stock := new(big.Rat).SetInt64(int64(max(0, min(available, MaxQuantity))))
	// excess is d·T − available, and chance is z²σ²T.
	excess := func(t int) *big.Rat {
		e := new(big.Rat).Mul(mean, new(big.Rat).SetInt64(int64(t)))
		return e.Sub(e, stock)
	}
	against := func(e *big.Rat, t int) int { // e² against chance
		return new(big.Rat).Mul(e, e).Cmp(new(big.Rat).Mul(spread, new(big.Rat).SetInt64(int64(t))))
	}
	f.Earliest = sort.Search(ForecastDays, func(t int) bool {
		e := excess(t)
		return e.Sign() >= 0 || against(e, t) <= 0
	})
	f.Expected = sort.Search(ForecastDays, func(t int) bool { return excess(t).Sign() >= 0 })
	f.Latest = sort.Search(ForecastDays, func(t int) bool {
		e := excess(t)
		return e.Sign() >= 0 && against(e, t) >= 0
	})
	return f
}
