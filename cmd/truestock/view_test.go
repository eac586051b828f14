package main

import (
	"strings"
	"testing"
)

// TestScreenFits draws more than fits, and looks at what reaches the terminal.
func TestScreenFits(t *testing.T) {
	lines := []string{"short", strings.Repeat("wide ä", 20), "third", "fourth"}
	for _, c := range []struct{ width, height, lines int }{{80, 24, 4}, {10, 3, 2}, {1, 1, 0}, {5, 0, 0}} {
		text, ok := strings.CutPrefix(screen(lines, c.width, c.height), "\x1b[H")
		rows := strings.Split(strings.TrimSuffix(text, "\x1b[J"), "\x1b[K\r\n")
		if !ok || len(rows) != c.lines+1 || rows[c.lines] != "" {
			t.Errorf("%+v: %q", c, rows)
		}
		for _, r := range rows {
			if len([]rune(r)) > c.width {
				t.Errorf("%+v: %q is too wide", c, r)
			}
		}
	}
}
