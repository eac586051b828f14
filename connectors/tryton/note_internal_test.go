package tryton

import "testing"

// What we write into a note is read back as it was, whatever the name of the line, and people may write below it.
func TestLineNote(t *testing.T) {
	for _, line := range []string{"1", "a b", `quoted "x"`, "ä\n%d", "line: ordered 5, cancelled 1"} {
		n := lineNote{line: line, ordered: 3, cancelled: 1}
		got, below, ok := parseNote(n.String() + "\ncall before\ndelivery")
		if !ok || got != n || below != "call before\ndelivery" {
			t.Errorf("%q is read back as %+v, %q, %t", n, got, below, ok)
		}
	}
	for _, text := range []string{"", "call before delivery", `truestock line "": ordered 3, cancelled 0`, `truestock line "1": ordered -3, cancelled 0`,
		`truestock line "1": ordered 3`, `truestock line "1": ordered 99999999999999999999, cancelled 0`, `truestock line 1: ordered 3, cancelled 0`} {
		if n, _, ok := parseNote(text); ok {
			t.Errorf("%q is taken for %+v", text, n)
		}
	}
}
