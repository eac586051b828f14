package declared

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/itchyny/gojq"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// What expressions give is taken by the members of our own types, strictly: a member that is not known is an error, and
// so is one that is missing or null, unless its type says that it may be. A quantity that is not there is never 0.

// take makes a T of what an expression gave.
func take[T any](v any) (T, error) {
	var out T
	if err := present(reflect.TypeFor[T](), v, ""); err != nil {
		return out, err
	}
	data, err := gojq.Marshal(v)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(data, &out, json.RejectUnknownMembers(true)); err != nil {
		return out, rest.ExplainJSON(err)
	}
	return out, nil
}

// present checks that every member is there that the type does not say may be left out.
func present(t reflect.Type, v any, at string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return fmt.Errorf("%s is %s, and a list is wanted", named(at), kindOf(v))
		}
		for i, e := range list {
			if err := present(t.Elem(), e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case t.Kind() == reflect.Struct && t.PkgPath() != "time":
		members, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %s, and an object is wanted", named(at), kindOf(v))
		}
		var known []string
		for field := range t.Fields() {
			tag := field.Tag.Get("json")
			name, options, _ := strings.Cut(tag, ",")
			if name == "-" {
				continue
			}
			known = append(known, name)
			m := members[name]
			if m == nil {
				if !strings.Contains(options, "omit") {
					return fmt.Errorf("%s is missing or null", strings.TrimPrefix(at+"."+name, "."))
				}
				continue
			}
			if err := present(field.Type, m, at+"."+name); err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if !slices.Contains(known, name) {
				return fmt.Errorf("%s is not known; there are %s", strings.TrimPrefix(at+"."+name, "."), strings.Join(known, ", "))
			}
		}
	}
	return nil
}

func named(at string) string {
	if at = strings.TrimPrefix(at, "."); at != "" {
		return at
	}
	return "it"
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case string:
		return "text"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	default:
		return "a number"
	}
}

// takeRows makes rows of what an expression gave. The error names the row.
func takeRows[T any](rows []any, check func(*T) error) ([]T, error) {
	out := make([]T, 0, len(rows))
	for i, v := range rows {
		row, err := take[T](v)
		if err == nil && check != nil {
			err = check(&row)
		}
		if err != nil {
			text, _ := textOf(v)
			return nil, fmt.Errorf("row %d: %w (the row is %.200s)", i+1, err, text)
		}
		out = append(out, row)
	}
	return out, nil
}

// The rows that have no type of the contract with these names.
type (
	locationRow struct {
		ID   string `json:"id"`
		Name string `json:"name,omitempty"`
	}
	listingRow struct {
		Item      string                   `json:"item"`
		Place     string                   `json:"place,omitempty"`
		SKU       string                   `json:"sku,omitempty"`
		GTIN      string                   `json:"gtin,omitempty"`
		Title     string                   `json:"title,omitempty"`
		Quantity  stock.Quantity           `json:"quantity"`
		Status    connectors.ListingStatus `json:"status,omitempty"`
		UpdatedAt int64                    `json:"updated_at,omitempty"`
	}
	readingRow struct {
		Item     string         `json:"item"`
		Place    string         `json:"place,omitempty"`
		Quantity stock.Quantity `json:"quantity"`
	}
	outcomeRow struct {
		Item    string             `json:"item"`
		Place   string             `json:"place,omitempty"`
		Outcome connectors.Outcome `json:"outcome"`
		Code    string             `json:"code,omitempty"`
		Message string             `json:"message,omitempty"`
	}
	// orderRow is one of our orders as the system has it.
	orderRow struct {
		Number string         `json:"number"`
		Lines  []orderRowLine `json:"lines"`
	}
	orderRowLine struct {
		LineID   string         `json:"line_id,omitempty"`
		SKU      string         `json:"sku"`
		Quantity stock.Quantity `json:"quantity"`
		// Cancelled is what of Quantity is cancelled.
		Cancelled stock.Quantity `json:"cancelled,omitempty"`
	}
	standingRow struct {
		AsOf  int64                     `json:"as_of,omitempty"`
		Lines []connectors.StandingLine `json:"lines"`
	}
)

func nameCheck(what, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("%s is empty", what)
	case len(value) > 256:
		return fmt.Errorf("%s has %d bytes; at most 256 are taken", what, len(value))
	}
	return nil
}

func quantityCheck(what string, q, least stock.Quantity) error {
	if q < least || q > stock.MaxQuantity {
		return fmt.Errorf("%s is %d: it must be from %d to %d", what, q, least, stock.MaxQuantity)
	}
	return nil
}

func (r *listingRow) check() error {
	if err := errors.Join(nameCheck("item", r.Item), quantityCheck("quantity", r.Quantity, -stock.MaxQuantity)); err != nil {
		return err
	}
	switch r.Status {
	case "":
		r.Status = connectors.StatusActive
	case connectors.StatusActive, connectors.StatusStopped, connectors.StatusRemoved:
	default:
		return fmt.Errorf("status is %.40q: it must be active, stopped or removed", string(r.Status))
	}
	return nil
}
