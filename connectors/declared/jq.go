package declared

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/goccy/go-yaml/ast"
	"github.com/itchyny/gojq"
)

// What one evaluation of an expression may take and give. An expression has neither the environment, nor files, nor
// further input, nor a clock: of the same values it makes the same.
const (
	evaluationTime = 5 * time.Second
	maxValues      = 1_000_000
)

// withheld takes the place of what jq has that is not the same everywhere and always, or prints.
const withheld = `def now: error("now is not there: the time of a call is .now in a request and $in.now behind its answer");
def localtime: error("localtime is not there: write clock with a zone"); def strflocaltime(f): error("strflocaltime is not there: write clock with a zone");
def debug: .; def debug(f): .; def stderr: .;
`

// expression is a jq expression of a file, compiled when the file is read.
type expression struct {
	source string
	// where is the field of the file, for errors.
	where string
	code  *gojq.Code
}

// UnmarshalYAML implements yaml.NodeUnmarshalerContext. What is wrong goes to the problems of the context.
func (e *expression) UnmarshalYAML(ctx context.Context, n ast.Node) error {
	p := problemsOf(ctx)
	text, ok := scalar(n)
	if !ok {
		p.add(n, "here a jq expression is written as text")
		return nil
	}
	*e = p.compile(n, text)
	return nil
}

func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

// compile compiles an expression; its place is that of the node.
func (p *problems) compile(n ast.Node, source string) expression {
	e := expression{source: source, where: fieldOf(n)}
	_, err := gojq.Parse(source)
	var query *gojq.Query
	if err == nil {
		query, err = gojq.Parse(withheld + source)
	}
	if err == nil {
		e.code, err = gojq.Compile(query, gojq.WithVariables([]string{"$in"}), gojq.WithFunction("whole", 0, 1, whole),
			gojq.WithFunction("clock", 1, 1, clock), gojq.WithFunction("instant", 0, 1, instant))
	}
	if err != nil {
		e.code = nil
		p.add(n, "the jq expression is wrong: %v", err)
	}
	return e
}

// set reports whether the field stands in the file.
func (e *expression) set() bool { return e != nil && e.code != nil }

// all evaluates the expression and returns every value that it gives.
func (e *expression) all(ctx context.Context, input, in any) ([]any, error) {
	bounded, cancel := context.WithTimeout(ctx, evaluationTime)
	defer cancel()
	var out []any
	iter := e.code.RunWithContext(bounded, input, in)
	for {
		v, more := iter.Next()
		if !more {
			return out, nil
		}
		if err, bad := v.(error); bad {
			if halt, ok := errors.AsType[*gojq.HaltError](err); ok && halt.Value() == nil {
				return out, nil
			}
			if ctx.Err() == nil && bounded.Err() != nil {
				err = fmt.Errorf("it does not end within %s", evaluationTime)
			}
			return nil, fmt.Errorf("%s: %w", e.where, err)
		}
		if out = append(out, v); len(out) > maxValues {
			return nil, fmt.Errorf("%s: it gives more than %d values", e.where, maxValues)
		}
	}
}

// one evaluates an expression that gives one value; nothing counts as null.
func (e *expression) one(ctx context.Context, input, in any) (any, error) {
	values, err := e.all(ctx, input, in)
	switch {
	case err != nil:
		return nil, err
	case len(values) == 0:
		return nil, nil
	case len(values) > 1:
		return nil, fmt.Errorf("%s: it gives %d values, and one is wanted", e.where, len(values))
	}
	return values[0], nil
}

// rows evaluates an expression that gives rows: one after the other, or one array of them.
func (e *expression) rows(ctx context.Context, input, in any) ([]any, error) {
	values, err := e.all(ctx, input, in)
	if err != nil {
		return nil, err
	}
	if len(values) == 1 {
		switch v := values[0].(type) {
		case []any:
			return v, nil
		case nil:
			return nil, fmt.Errorf("%s: it gives null, and rows are wanted; write [] where there may be none", e.where)
		}
	}
	return values, nil
}

// whole is the jq function that makes a whole number of a number or of a decimal text such as "12.0000", times a factor
// where there is one. What is no whole number is an error: nothing is rounded.
func whole(v any, args []any) any {
	n, err := rational(v)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		factor, err := rational(args[0])
		if err != nil {
			return fmt.Errorf("the factor of whole: %w", err)
		}
		n.Mul(n, factor)
	}
	if !n.IsInt() {
		return fmt.Errorf("%s is not a whole number", n.RatString())
	}
	if !n.Num().IsInt64() {
		return fmt.Errorf("%s is too large", n.RatString())
	}
	return int(n.Num().Int64())
}

func rational(v any) (*big.Rat, error) {
	switch v := v.(type) {
	case nil:
		return nil, errors.New("there is no number: null is not 0")
	case int:
		return big.NewRat(int64(v), 1), nil
	case *big.Int:
		return new(big.Rat).SetInt(v), nil
	case float64:
		if n := new(big.Rat).SetFloat64(v); n != nil {
			return n, nil
		}
	case string:
		text := strings.TrimSpace(v)
		if len(text) <= 40 && !strings.ContainsAny(text, "/eExXpP_") {
			if n, ok := new(big.Rat).SetString(text); ok {
				return n, nil
			}
		}
	}
	return nil, fmt.Errorf("%.60q is not a number", fmt.Sprint(v))
}

// layout is how most systems that do not use RFC 3339 write an instant.
const layout = "2006-01-02 15:04:05"

// clock is the jq function that writes seconds since 1970 as 2006-01-02 15:04:05 at an offset such as +08:00 or in a
// zone such as Asia/Shanghai.
func clock(v any, args []any) any {
	n, err := rational(v)
	if err != nil {
		return err
	}
	zone, err := zoneOf(args[0])
	if err != nil {
		return err
	}
	seconds, _ := n.Float64()
	if math.Abs(seconds) > 1e11 {
		return fmt.Errorf("%s is not a number of seconds since 1970", n.RatString())
	}
	return time.Unix(int64(math.Floor(seconds)), 0).In(zone).Format(layout)
}

// instant is the jq function that reads an instant: RFC 3339, or 2006-01-02 15:04:05 in the zone that is given, or seconds
// since 1970. It gives seconds since 1970; what is no instant is an error.
func instant(v any, args []any) any {
	if text, ok := v.(string); ok {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return int(at.Unix())
		}
		if len(args) == 1 {
			zone, err := zoneOf(args[0])
			if err != nil {
				return err
			}
			for _, l := range []string{layout, time.DateOnly} {
				if at, err := time.ParseInLocation(l, text, zone); err == nil {
					return int(at.Unix())
				}
			}
		}
		return fmt.Errorf("%.40q is not an instant", text)
	}
	n, err := rational(v)
	if err != nil {
		return err
	}
	f, _ := n.Float64()
	if math.Abs(f) > 1e11 {
		return fmt.Errorf("%s is not a number of seconds since 1970", n.RatString())
	}
	return int(math.Floor(f))
}

func zoneOf(v any) (*time.Location, error) {
	name, ok := v.(string)
	if !ok {
		return nil, errors.New("a zone is a text such as +08:00 or Asia/Shanghai")
	}
	if at, err := time.Parse("-07:00", name); err == nil {
		_, offset := at.Zone()
		return time.FixedZone(name, offset), nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("%.40q is not a zone: write an offset such as +08:00 or a name such as Asia/Shanghai", name)
	}
	return zone, nil
}

// maxDepth bounds how deep the JSON of an answer goes.
const maxDepth = 200

// value makes of JSON what an expression takes. Numbers that are written as whole numbers stay whole, however large.
func value(raw jsontext.Value) (any, error) {
	d := jsontext.NewDecoder(strings.NewReader(string(raw)))
	v, err := decodeValue(d, 0)
	if err != nil {
		return nil, err
	}
	return v, nil
}

func decodeValue(d *jsontext.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		return number(token.String())
	case '[':
		out := []any{}
		for d.PeekKind() != ']' {
			v, err := decodeValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		_, err := d.ReadToken()
		return out, err
	default:
		out := map[string]any{}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String()
			if out[key], err = decodeValue(d, depth+1); err != nil {
				return nil, err
			}
		}
		_, err := d.ReadToken()
		return out, err
	}
}

func number(text string) (any, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return n, nil
	}
	if n, ok := new(big.Int).SetString(text, 10); ok {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("the number %.40s cannot be read", text)
	}
	return f, nil
}
