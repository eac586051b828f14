package rest

import (
	"fmt"
	"strconv"
)

// ParsePace reads the setting of a connection that says how many requests a second its system bears; empty means no limit,
// which is 0. The error names the setting.
func ParsePace(setting, text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	pace, err := strconv.ParseFloat(text, 64)
	if err != nil || !(pace > 0 && pace <= 10_000) {
		return 0, fmt.Errorf("%s is %q: write a number above 0 and at most 10000", setting, text)
	}
	return pace, nil
}
