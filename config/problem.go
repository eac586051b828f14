package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is one thing wrong with a configuration file. Line and Column count from 1; 0 means that the place is not
// known. Key is the path of the key from the top, joined by dots, empty for the file as a whole. Text says what is wrong
// and what to write instead; it never contains the value of a setting or of an environment variable.
type Problem struct {
	File         string
	Line, Column int
	Key          string
	Text         string
}

// Error is "file:line:column: key: text".
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File + ":")
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if p.Key != "" {
		b.WriteString(" " + p.Key + ":")
	}
	b.WriteString(" " + p.Text)
	return b.String()
}

type position struct{ line, column int }

// joined is all problems as one error, in the order of the file; nil where there are none.
func joined(problems []Problem) error {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

// Nearest returns the known word that word was probably meant to be, ok false where none is near.
func Nearest(word string, known []string) (nearest string, ok bool) {
	best := 1 + max(1, utf8.RuneCountInString(word)/3)
	for _, k := range known {
		if d := distance([]rune(word), []rune(k), best); d < best {
			nearest, best = k, d
		}
	}
	return nearest, nearest != ""
}

// distance is the number of letters to insert, remove, replace or swap with the next to make a into b. It gives up at
// most.
func distance(a, b []rune, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// choices says what can be written, and which of it was probably meant.
func choices(word string, known []string) string {
	if near, ok := Nearest(word, known); ok {
		return "did you mean " + near + "?"
	}
	switch len(known) {
	case 0:
		return "there is none"
	case 1:
		return "write " + known[0]
	default:
		return "write " + strings.Join(known[:len(known)-1], ", ") + " or " + known[len(known)-1]
	}
}

// shown is a value as it stands in the file, fit for a message.
func shown(text string) string {
	const most = 64
	if len(text) > most {
		end := most
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "…"
	}
	return fmt.Sprintf("%q", text)
}
