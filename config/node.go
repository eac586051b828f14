package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// reader collects what is wrong while a file is read, so that all of it can be told at once.
type reader struct {
	file      string
	env       environment
	problems  []Problem
	positions map[string]position
}

// value is what stands behind a key. at is where the key begins, or the element of a list.
type value struct {
	node ast.Node
	key  string
	at   position
}

func (r *reader) problem(v value, format string, args ...any) {
	r.problems = append(r.problems, Problem{File: r.file, Line: v.at.line, Column: v.at.column, Key: v.key, Text: fmt.Sprintf(format, args...)})
}

// section is a mapping whose keys are known, or free.
type section struct {
	r      *reader
	self   value
	names  []string // in the order of the file
	values map[string]value
}

// section reads a mapping with the known keys. An empty value is an empty mapping: its content may be commented out.
func (r *reader) section(v value, example string, known ...string) section {
	s := r.mapping(v, example)
	for _, name := range s.names {
		if !slices.Contains(known, name) {
			r.problem(s.values[name], "there is no such key: %s", choices(name, known))
		}
	}
	return s
}

// mapping reads a mapping with any keys. A key that stands twice is a problem.
func (r *reader) mapping(v value, example string) section {
	s := section{r: r, self: v, values: map[string]value{}}
	var entries []*ast.MappingValueNode
	switch n := v.node.(type) {
	case nil, *ast.NullNode:
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		r.problem(v, "%s stands where keys are expected: write %s", kindOf(v.node), example)
	}
	for _, e := range entries {
		entry := value{node: e.Value, key: v.key, at: positionOf(e.Key)}
		name, ok := keyName(e.Key)
		if !ok {
			r.problem(entry, "%s cannot be a key: write key: value", kindOf(e.Key))
			continue
		}
		if v.key == "" {
			entry.key = name
		} else {
			entry.key += "." + name
		}
		if first, twice := s.values[name]; twice {
			r.problem(entry, "the key stands twice, first on line %d: keep one of them", first.at.line)
			continue
		}
		s.names = append(s.names, name)
		s.values[name] = entry
		r.positions[entry.key] = entry.at
	}
	return s
}

// of is the value of a key; a key that is absent has no node and the position of the section.
func (s section) of(name string) value {
	if v, ok := s.values[name]; ok {
		return v
	}
	key := name
	if s.self.key != "" {
		key = s.self.key + "." + name
	}
	return value{key: key, at: s.self.at}
}

func (s section) has(name string) bool {
	_, ok := s.values[name]
	return ok
}

func keyName(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

func positionOf(n ast.Node) position {
	if token := n.GetToken(); token != nil && token.Position != nil {
		return position{line: token.Position.Line, column: token.Position.Column}
	}
	return position{}
}

// kindOf names what stands in the file, for messages.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode, *ast.MappingKeyNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias (they are not supported)"
	case *ast.TagNode:
		return "a tag (they are not supported)"
	default:
		return "a single value"
	}
}

// scalar is a single value. written is how it stands in the file, for messages; text has the environment put in.
type scalar struct{ written, text string }

// scalar reads a single value and reports anything else.
func (r *reader) scalar(v value, example string) (scalar, bool) {
	written, ok := scalarText(v.node)
	if !ok {
		r.problem(v, "%s stands where a value is expected: write %s", kindOf(v.node), example)
		return scalar{}, false
	}
	text, err := r.env.expand(written)
	if err != nil {
		r.problem(v, "%v", err)
		return scalar{}, false
	}
	return scalar{written: written, text: text}, true
}

// scalarText is the text of a scalar as it is written: 0123 stays 0123.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

// elements reads a list.
func (r *reader) elements(v value, example string) []value {
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		r.problem(v, "%s stands where a list is expected: write %s", kindOf(v.node), example)
		return nil
	}
	elements := make([]value, len(n.Values))
	for i, e := range n.Values {
		elements[i] = value{node: e, key: v.key, at: v.at}
		if e != nil {
			elements[i].at = positionOf(e)
		}
	}
	return elements
}

// The methods below read one key of a section into a variable, and leave it as it is where the key is absent or wrong.

// text reads a value that check accepts; check says what is wrong and what to write.
func (s section) text(name string, to *string, example string, check func(string) error) {
	if !s.has(name) {
		return
	}
	v := s.of(name)
	got, ok := s.r.scalar(v, example)
	if !ok {
		return
	}
	if err := check(got.text); err != nil {
		s.r.problem(v, "%s %v", shown(got.written), err)
		return
	}
	*to = got.text
}

// choice reads one of a few words.
func choice[T ~string](s section, name string, to *T, words ...T) {
	known := make([]string, len(words))
	for i, w := range words {
		known[i] = string(w)
	}
	got := string(*to)
	s.text(name, &got, known[0], func(text string) error {
		if !slices.Contains(known, text) {
			return fmt.Errorf("is not known: %s", choices(text, known))
		}
		return nil
	})
	*to = T(got)
}

// number reads a whole number from least to most.
func number[T ~int64](s section, name string, to *T, least, most T) {
	text := ""
	s.text(name, &text, fmt.Sprint(*to), func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || T(n) < least || T(n) > most {
			return fmt.Errorf("is not a whole number from %d to %d: write one, such as %d", least, most, *to)
		}
		return nil
	})
	if text != "" {
		n, _ := strconv.ParseInt(text, 10, 64) // checked above
		*to = T(n)
	}
}

// duration reads a duration of at least MinDuration.
func (s section) duration(name string, to *time.Duration) {
	text := ""
	s.text(name, &text, short(*to), func(text string) error {
		d, err := time.ParseDuration(text)
		switch {
		case err != nil:
			return fmt.Errorf("is not a duration: write a number with its unit, such as %s (units: ms, s, m, h)", short(*to))
		case d < MinDuration:
			return fmt.Errorf("is too short: write at least %s, such as %s", MinDuration, short(*to))
		}
		return nil
	})
	if text != "" {
		*to, _ = time.ParseDuration(text) // checked above
	}
}

// names reads a list of different names.
func names[T ~string](s section, name string, to *[]T, example string) {
	if !s.has(name) {
		return
	}
	var list []T
	for _, e := range s.r.elements(s.of(name), example) {
		got, ok := s.r.scalar(e, example)
		switch {
		case !ok:
		case strings.TrimSpace(got.text) == "":
			s.r.problem(e, "a name in the list is empty: remove it, or write %s", example)
		case slices.Contains(list, T(got.text)):
			s.r.problem(e, "%s stands twice in the list: keep one", shown(got.written))
		default:
			list = append(list, T(got.text))
		}
	}
	*to = list
}
