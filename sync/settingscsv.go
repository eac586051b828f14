package sync

import (
	"context"
	"encoding"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/truestock/truestock/stock"
)

// A file of settings has one row per setting: the column key, and one column per field. An empty cell leaves the field
// unset; text stands as it is, everything else as JSON.

// maxSettingRows bounds a file of settings, which is one change.
const maxSettingRows = 100_000

// ImportSettings makes every row of a file the newest version of its setting. With any bad row nothing is changed, and
// the view lists every bad row; the error is then nil.
func (e *Engine) ImportSettings(ctx context.Context, by Actor, kind SettingKind, in io.Reader) (SettingsImportView, error) {
	rules, ok := settingKinds[kind]
	if !ok {
		return SettingsImportView{}, fmt.Errorf("settings of kind %q: %w", kind, ErrNotFound)
	}
	view := SettingsImportView{Errors: []RowErrorView{}}
	bad := func(line int, field, value string, reason error) {
		view.Errors = append(view.Errors, RowErrorView{Line: line, Field: field, Value: value, Reason: reason.Error()})
	}
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		bad(1, "", "", errors.New("the first row must name the columns: key, and fields of the setting"))
		return view, nil
	}
	columns, fields := slices.Clone(header), settingFields(rules.sample)
	for i, c := range columns {
		columns[i] = strings.TrimSpace(strings.TrimPrefix(c, "\ufeff"))
		if _, known := fields[columns[i]]; !known && columns[i] != "key" {
			bad(1, columns[i], "", fmt.Errorf("is no field of a %s; there are: %s", kind, strings.Join(slices.Sorted(maps.Keys(fields)), ", ")))
		}
	}
	if !slices.Contains(columns, "key") {
		bad(1, "key", "", errors.New("is missing: it says which setting a row is"))
	}
	if len(view.Errors) > 0 {
		return view, nil
	}
	var changes []SettingChange
	seen := make(map[string]int)
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, reason := unreadable(err)
			bad(line, "", "", reason)
			return view, nil
		}
		line, _ := r.FieldPos(0)
		change, field, err := settingRow(kind, columns, fields, row)
		change.Key = canonicalKey(kind, change.Key)
		if err == nil {
			_, err = rules.parse(e.isChannel, change.Key, change.Value)
		}
		if err == nil && seen[change.Key] > 0 {
			field, err = "key", fmt.Errorf("stands in line %d already", seen[change.Key])
		}
		if err != nil {
			if f, ok := errors.AsType[*stock.FieldError](err); ok {
				field, err = f.Field, errors.New(f.Reason)
			}
			bad(line, field, change.Key, err)
		}
		seen[change.Key] = line
		if changes = append(changes, change); len(changes) > maxSettingRows {
			bad(line, "", "", fmt.Errorf("the file has more than %d rows: import it in parts", maxSettingRows))
			return view, nil
		}
	}
	if len(view.Errors) > 0 {
		return view, nil
	}
	if changes, err = e.newOnly(ctx, kind, changes); err != nil || len(changes) == 0 {
		return view, err
	}
	if _, err := e.ChangeSettings(ctx, by, changes); err != nil {
		return view, err
	}
	view.Settings = len(changes)
	return view, nil
}

// newOnly leaves out the changes that decide what is decided already.
func (e *Engine) newOnly(ctx context.Context, kind SettingKind, changes []SettingChange) ([]SettingChange, error) {
	decided := make(map[string]string)
	for after := ""; ; {
		rows, err := e.store.ListSettings(ctx, kind, after, maxBatch)
		if err != nil {
			return nil, fmt.Errorf("list settings: %w", err)
		}
		for _, s := range rows {
			after = s.Key
			decided[s.Key] = canonicalValue(s.Value)
		}
		if len(rows) < maxBatch {
			break
		}
	}
	return slices.DeleteFunc(changes, func(c SettingChange) bool {
		held, ok := decided[c.Key]
		return ok && held == canonicalValue(c.Value)
	}), nil
}

// canonicalValue writes a JSON object with its fields in order; what is none is left as it is.
func canonicalValue(value json.RawMessage) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(value, &fields) != nil {
		return string(value)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return string(value)
	}
	return string(text)
}

// SettingsImportView is the outcome of an import of settings.
type SettingsImportView struct {
	Settings int            `json:"settings" doc:"how many were decided"`
	Errors   []RowErrorView `json:"errors"`
}

// unreadable tells where a file stops being CSV and why, without the text of the row. An error of the reading itself has no line.
func unreadable(err error) (line int, reason error) {
	if broken, ok := errors.AsType[*csv.ParseError](err); ok {
		return broken.StartLine, broken.Err
	}
	return 0, err
}

func settingRow(kind SettingKind, columns []string, isText map[string]bool, row []string) (c SettingChange, field string, err error) {
	c.Kind = kind
	value := make(map[string]json.RawMessage, len(columns))
	for i, name := range columns {
		cell := strings.TrimSpace(row[i])
		switch {
		case name == "key":
			c.Key = cell
		case cell == "":
		default:
			if value[name], err = cellValue(cell, isText[name]); err != nil {
				return c, name, err
			}
		}
	}
	if c.Key == "" {
		return c, "key", errors.New("is empty: it says which setting the row is")
	}
	c.Value, err = json.Marshal(value)
	return c, "", err
}

func cellValue(cell string, isText bool) (json.RawMessage, error) {
	if isText {
		return json.Marshal(cell)
	}
	if !json.Valid([]byte(cell)) {
		return nil, fmt.Errorf("%q is neither a number nor JSON", cell)
	}
	return json.RawMessage(cell), nil
}

// SettingCell turns the text that a person writes for a field of a setting into its JSON.
func SettingCell(kind SettingKind, field, text string) (json.RawMessage, error) {
	rules, ok := settingKinds[kind]
	if !ok {
		return nil, fmt.Errorf("there are no settings of kind %q; there are: %v", kind, SettingKinds())
	}
	fields := settingFields(rules.sample)
	isText, ok := fields[field]
	if !ok {
		return nil, fmt.Errorf("%s is no field of a %s; there are: %s", field, kind, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
	}
	value, err := cellValue(text, isText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return value, nil
}

// settingFields are the JSON names of a struct's fields, with whether each is written as text.
func settingFields(sample any) map[string]bool {
	fields := make(map[string]bool)
	t := reflect.TypeOf(sample)
	marshaler := reflect.TypeFor[encoding.TextMarshaler]()
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		of := field.Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if name != "" && name != "-" {
			fields[name] = of.Kind() == reflect.String || of.Implements(marshaler)
		}
	}
	return fields
}

// ExportSettings writes the newest versions of a kind as ImportSettings reads them.
func (e *Engine) ExportSettings(ctx context.Context, kind SettingKind, out io.Writer) error {
	rules, ok := settingKinds[kind]
	if !ok {
		return fmt.Errorf("settings of kind %q: %w", kind, ErrNotFound)
	}
	isText := settingFields(rules.sample)
	names := slices.Sorted(maps.Keys(isText))
	w := csv.NewWriter(out)
	if err := w.Write(append([]string{"key"}, names...)); err != nil {
		return fmt.Errorf("export settings: %w", err)
	}
	for after := ""; ; {
		rows, err := e.store.ListSettings(ctx, kind, after, maxBatch)
		if err != nil {
			return fmt.Errorf("export settings: %w", err)
		}
		for _, s := range rows {
			after = s.Key
			var value map[string]json.RawMessage
			if err := json.Unmarshal(s.Value, &value); err != nil {
				return fmt.Errorf("export %s %s: %w", kind, s.Key, err)
			}
			record := []string{s.Key}
			for _, name := range names {
				cell := string(value[name])
				if isText[name] && cell != "" {
					if err := json.Unmarshal(value[name], &cell); err != nil {
						return fmt.Errorf("export %s %s: %w", kind, s.Key, err)
					}
				}
				record = append(record, cell)
			}
			if err := w.Write(record); err != nil {
				return fmt.Errorf("export settings: %w", err)
			}
		}
		if len(rows) < maxBatch {
			w.Flush()
			return w.Error()
		}
	}
}
