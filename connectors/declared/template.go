package declared

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/goccy/go-yaml/ast"
	"github.com/itchyny/gojq"
)

// template is a value of a request: a tree of YAML in which each text that begins with = is a jq expression over the
// context of the call, and everything else stands for itself.
type template struct {
	// One of the four: an expression, a mapping, a list, or a value that stands for itself.
	expression *expression
	members    []member
	elements   []template
	literal    any
	kind       templateKind
}

type templateKind uint8

const (
	absent templateKind = iota
	literalKind
	expressionKind
	mappingKind
	listKind
)

type member struct {
	name  string
	value template
}

// UnmarshalYAML implements yaml.NodeUnmarshalerContext.
func (t *template) UnmarshalYAML(ctx context.Context, n ast.Node) error {
	*t = problemsOf(ctx).template(n)
	return nil
}

func (p *problems) template(n ast.Node) template {
	switch n := n.(type) {
	case *ast.MappingNode:
		t := template{kind: mappingKind}
		for _, v := range n.Values {
			p.member(&t, v)
		}
		return t
	case *ast.MappingValueNode:
		t := template{kind: mappingKind}
		p.member(&t, n)
		return t
	case *ast.SequenceNode:
		t := template{kind: listKind}
		for _, v := range n.Values {
			t.elements = append(t.elements, p.template(v))
		}
		return t
	case *ast.NullNode:
		return template{kind: literalKind}
	case *ast.BoolNode:
		return template{kind: literalKind, literal: n.Value}
	case *ast.IntegerNode, *ast.FloatNode:
		v, err := number(n.GetToken().Value)
		if err != nil {
			p.add(n, "%v; write it in quotes where it is text", err)
		}
		return template{kind: literalKind, literal: v}
	default:
		text, ok := scalar(n)
		if !ok {
			p.add(n, "anchors, aliases and tags are not taken")
			return template{}
		}
		if len(text) > 0 && text[0] == '=' {
			e := p.compile(n, text[1:])
			return template{kind: expressionKind, expression: &e}
		}
		return template{kind: literalKind, literal: text}
	}
}

func (p *problems) member(t *template, v *ast.MappingValueNode) {
	name, ok := scalar(v.Key)
	if !ok {
		p.add(v, "a name is written as text")
		return
	}
	t.members = append(t.members, member{name, p.template(v.Value)})
}

func (t *template) set() bool { return t != nil && t.kind != absent }

// value fills in the template.
func (t *template) value(ctx context.Context, in any) (any, error) {
	switch t.kind {
	case expressionKind:
		return t.expression.one(ctx, in, in)
	case mappingKind:
		out := make(map[string]any, len(t.members))
		for _, m := range t.members {
			v, err := m.value.value(ctx, in)
			if err != nil {
				return nil, err
			}
			out[m.name] = v
		}
		return out, nil
	case listKind:
		out := make([]any, 0, len(t.elements))
		for _, e := range t.elements {
			v, err := e.value(ctx, in)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	default:
		return t.literal, nil
	}
}

// text fills in a template that makes text; null is none.
func (t *template) text(ctx context.Context, in any) (string, error) {
	v, err := t.value(ctx, in)
	if err != nil {
		return "", err
	}
	return textOf(v)
}

// textOf writes a value as a parameter: text as it is, a number and a truth value as in JSON, and whatever has parts as
// compact JSON.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	default:
		data, err := gojq.Marshal(v)
		return string(data), err
	}
}

// parameters fills in a template that makes names and values. A value that is null is left out.
func (t *template) parameters(ctx context.Context, in any, into map[string]string) error {
	if !t.set() {
		return nil
	}
	v, err := t.value(ctx, in)
	if err != nil {
		return err
	}
	members, ok := v.(map[string]any)
	if !ok {
		return errors.New("names and values are wanted")
	}
	for name, v := range members {
		if v == nil {
			continue
		}
		if into[name], err = textOf(v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func values(parameters map[string]string) url.Values {
	out := make(url.Values, len(parameters))
	for name, v := range parameters {
		out.Set(name, v)
	}
	return out
}
