package stock

import (
	"fmt"
	"math/bits"
	"time"
)

// FieldError refuses a value that a person or a program gave: the field as the API and the files name it, and why. Its
// text begins with the field.
type FieldError struct {
	Field  string
	Reason string
}

// Error returns field and reason as one sentence.
func (e *FieldError) Error() string { return e.Field + " " + e.Reason }

// refuse makes the FieldError of one field.
func refuse(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// between refuses a number that is outside of least and most.
func between[T ~int | ~int64](field string, value, least, most T) error {
	if value < least || value > most {
		return refuse(field, "is %v: it must be from %v to %v", value, least, most)
	}
	return nil
}

// firstOf returns the first error, so that a list of checks reads as a list.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// scale is floor(n × by / over) for n and by of at least 0 and over above 0. The product has 128 bits; a result above
// MaxQuantity is MaxQuantity.
func scale(n Quantity, by, over int64) Quantity {
	q, _ := divide(int64(n), by, over)
	return q
}

// scaleUp is ceil(n × by / over) under the same terms.
func scaleUp(n Quantity, by, over int64) Quantity {
	q, rest := divide(int64(n), by, over)
	if rest {
		q = min(q+1, MaxQuantity)
	}
	return q
}

// divide returns the whole part of n × by / over and whether there is a rest.
func divide(n, by, over int64) (q Quantity, rest bool) {
	high, low := bits.Mul64(uint64(max(0, n)), uint64(max(0, by)))
	if high >= uint64(over) {
		return MaxQuantity, false
	}
	whole, remainder := bits.Div64(high, low, uint64(over))
	if whole >= uint64(MaxQuantity) {
		return MaxQuantity, false
	}
	return Quantity(whole), remainder > 0
}

// PermilleOf is how many thousandths of whole the part is, rounded down; 0 when whole is not above 0.
func PermilleOf(part, whole Quantity) int64 {
	if whole <= 0 {
		return 0
	}
	return int64(scale(part, 1000, int64(whole)))
}

// partOf is how many thousandths of a time have passed, rounded down; 1000 for a time of no length.
func partOf(passed, whole time.Duration) int64 {
	if passed >= whole {
		return 1000
	}
	high, low := bits.Mul64(uint64(max(0, passed)), 1000)
	part, _ := bits.Div64(high, low, uint64(whole))
	return int64(part)
}
