package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ncruces/go-sqlite3"
)

// kind is the PostgreSQL type of a column in a bulk statement.
type kind string

const (
	number kind = "bigint"
	text   kind = "text"
	blob   kind = "bytea"
	flag   kind = "boolean"
)

// column is a column of the rows that a bulk statement is given.
type column struct {
	name string
	kind kind
}

func numbers(names ...string) []column { return columns(number, names) }
func texts(names ...string) []column   { return columns(text, names) }
func blobs(names ...string) []column   { return columns(blob, names) }
func flags(names ...string) []column   { return columns(flag, names) }

func columns(k kind, names []string) []column {
	out := make([]column, len(names))
	for i, n := range names {
		out[i] = column{n, k}
	}
	return out
}

// statement is one SQL statement over many given rows, written once for both databases. Its text names a column of the
// given rows as v.column, and says where their set belongs with {FROM}, {USING} or {,}; {VALUES a, b} stands for the rows
// that an INSERT takes. On PostgreSQL the set is an unnest of one array per column, so that any number of rows is one
// statement; on SQLite it vanishes, v.column becomes a parameter, and the prepared statement runs once per row. Both are
// what was measured fastest there.
type statement struct {
	columns  []column
	keys     int
	sqlite   string
	postgres string
}

var (
	setPlace    = regexp.MustCompile(`\{(FROM|USING|,)\}`)
	valuesPlace = regexp.MustCompile(`\{VALUES ([^}]*)\}`)
	givenColumn = regexp.MustCompile(`\bv\.([a-z_]+)`)
)

// bulk compiles a statement over rows of the columns. The first keys columns are the rows' key: rows are sorted by it
// before they run, so that two transactions lock in the same order, and of equal keys the last row wins. With no keys
// the rows run as they are given.
func bulk(keys int, columns []column, text string) *statement {
	names := make([]string, len(columns))
	arrays := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
		arrays[i] = fmt.Sprintf("$%d::%s[]", i+1, c.kind)
	}
	set := "unnest(" + strings.Join(arrays, ", ") + ") AS v(" + strings.Join(names, ", ") + ")"
	inSQLite := valuesPlace.ReplaceAllString(setPlace.ReplaceAllString(text, ""), "VALUES ($1)")
	return &statement{
		columns: columns,
		keys:    keys,
		sqlite: givenColumn.ReplaceAllStringFunc(inSQLite, func(name string) string {
			return "?" + strconv.Itoa(1+slices.Index(names, strings.TrimPrefix(name, "v.")))
		}),
		postgres: setPlace.ReplaceAllStringFunc(valuesPlace.ReplaceAllString(text, "SELECT $1 {FROM}"), func(place string) string {
			return strings.Trim(place, "{}") + " " + set
		}),
	}
}

// table describes a table for the statements that every table needs.
type table struct {
	name string
	key  []column
	rest []column
}

// upsert inserts rows of all columns, and replaces the rest of those whose key is there.
func (t table) upsert() *statement {
	set := make([]string, len(t.rest))
	for i, c := range t.rest {
		set[i] = c.name + " = excluded." + c.name
	}
	return t.insert("ON CONFLICT (" + list("", t.key) + ") DO UPDATE SET " + strings.Join(set, ", "))
}

// add inserts rows of all columns and leaves alone those whose key is there.
func (t table) add() *statement { return t.insert("ON CONFLICT (" + list("", t.key) + ") DO NOTHING") }

func (t table) insert(conflict string) *statement {
	all := slices.Concat(t.key, t.rest)
	return bulk(len(t.key), all, "INSERT INTO "+t.name+" ("+list("", all)+") {VALUES "+list("v.", all)+"} "+conflict)
}

// remove deletes the rows whose first n key columns are given.
func (t table) remove(n int) *statement {
	return bulk(n, t.key[:n], "DELETE FROM "+t.name+" {USING} WHERE "+t.matches(t.key[:n]))
}

// find selects all columns of the rows whose given columns match, in the order of the key. suffix is added to the
// condition.
func (t table) find(by []column, suffix string) *statement {
	all := slices.Concat(t.key, t.rest)
	return bulk(len(by), by, "SELECT "+list(t.name+".", all)+" FROM "+t.name+"{,} WHERE "+t.matches(by)+suffix+
		" ORDER BY "+list(t.name+".", t.key))
}

func (t table) matches(by []column) string {
	terms := make([]string, len(by))
	for i, c := range by {
		terms[i] = t.name + "." + c.name + " = v." + c.name
	}
	return strings.Join(terms, " AND ")
}

func list(prefix string, columns []column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = prefix + c.name
	}
	return strings.Join(names, ", ")
}

// arrange sorts rows by their key and keeps the last of equal ones. It may reorder the slice that it is given.
func (s *statement) arrange(rows [][]any) [][]any {
	if s.keys == 0 || len(rows) < 2 {
		return rows
	}
	slices.SortStableFunc(rows, s.compare)
	kept := rows[:0]
	for i, r := range rows {
		if i+1 < len(rows) && s.compare(r, rows[i+1]) == 0 {
			continue
		}
		kept = append(kept, r)
	}
	return kept
}

func (s *statement) compare(a, b []any) int {
	for i := range s.keys {
		if c := compareValues(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

func compareValues(a, b any) int {
	switch a := a.(type) {
	case string:
		return strings.Compare(a, b.(string))
	case int64:
		return cmp.Compare(a, b.(int64))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	default:
		return 0
	}
}

// arrays turns rows into one array per column.
func (s *statement) arrays(rows [][]any) []any {
	out := make([]any, len(s.columns))
	for i, c := range s.columns {
		switch c.kind {
		case number:
			out[i] = array[int64](rows, i)
		case flag:
			out[i] = array[bool](rows, i)
		case text:
			out[i] = array[string](rows, i)
		case blob:
			a := make([][]byte, len(rows))
			for j, r := range rows {
				a[j], _ = r[i].([]byte)
			}
			out[i] = a
		}
	}
	return out
}

// array collects a column; a nil stays a null.
func array[T any](rows [][]any, i int) []*T {
	values := make([]T, len(rows))
	out := make([]*T, len(rows))
	for j, r := range rows {
		if v, ok := r[i].(T); ok {
			values[j] = v
			out[j] = &values[j]
		}
	}
	return out
}

// exec runs a statement over rows and returns how many rows of the table changed.
func (t *txn) exec(s *statement, rows [][]any) (int64, error) {
	rows = s.arrange(clean(rows))
	if len(rows) == 0 {
		return 0, nil
	}
	if t.dialect == sqlite {
		return t.loop(s, rows, nil)
	}
	result, err := t.tx.ExecContext(t.ctx, s.postgres, s.arrays(rows)...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// query runs a statement over rows and hands over every row that it returns.
func (t *txn) query(s *statement, rows [][]any, each func(r row) error) error {
	rows = s.arrange(clean(rows))
	if len(rows) == 0 {
		return nil
	}
	if t.dialect == sqlite {
		_, err := t.loop(s, rows, each)
		return err
	}
	return scan(each)(t.tx.QueryContext(t.ctx, s.postgres, s.arrays(rows)...))
}

// rows runs a query, whose parameters are written as ?, and hands over every row that it returns.
func (t *txn) rows(each func(r row) error, query string, args ...any) error {
	if t.dialect == sqlite {
		return t.direct(func(conn *sqlite3.Conn) error {
			stmt, err := t.prepare(conn, query)
			if err != nil {
				return err
			}
			return errors.Join(runOnce(stmt, args, nil, make(row, stmt.ColumnCount()), each), stmt.Reset(), stmt.ClearBindings())
		})
	}
	return scan(each)(t.tx.QueryContext(t.ctx, numbered(query), args...))
}

// rows is txn.rows outside of any transaction.
func (s *Store) rows(ctx context.Context, each func(r row) error, query string, args ...any) error {
	if s.dialect == sqlite {
		return s.run(ctx, s.read, &sql.TxOptions{ReadOnly: true}, func(t *txn) error { return t.rows(each, query, args...) })
	}
	return scan(each)(s.readDB.QueryContext(ctx, numbered(query), args...))
}

// numbered writes parameters as PostgreSQL wants them. Queries contain no other question mark.
func numbered(query string) string {
	var b strings.Builder
	n := 0
	for _, part := range strings.SplitAfter(query, "?") {
		if before, found := strings.CutSuffix(part, "?"); found {
			n++
			part = before + "$" + strconv.Itoa(n)
		}
		b.WriteString(part)
	}
	return b.String()
}

// scan reads result rows to their end.
func scan(each func(r row) error) func(rows *sql.Rows, err error) error {
	return func(rows *sql.Rows, err error) error {
		if err != nil {
			return err
		}
		defer rows.Close()
		var values row
		var pointers []any
		for rows.Next() {
			if values == nil {
				names, err := rows.Columns()
				if err != nil {
					return err
				}
				values, pointers = make(row, len(names)), make([]any, len(names))
				for i := range values {
					pointers[i] = &values[i]
				}
			}
			if err := rows.Scan(pointers...); err != nil {
				return err
			}
			if err := each(values); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

// row holds the values of one result row. It is only valid until the next one.
type row []any

func (r row) text(i int) string  { s, _ := r[i].(string); return s }
func (r row) number(i int) int64 { n, _ := r[i].(int64); return n }
func (r row) blob(i int) []byte  { b, _ := r[i].([]byte); return b }

func (r row) flag(i int) bool {
	switch v := r[i].(type) {
	case bool:
		return v
	case int64: // SQLite, where the column is an expression
		return v != 0
	default:
		return false
	}
}

// clean makes every text fit for both databases: PostgreSQL takes neither a zero byte nor broken UTF-8, and one such
// name from outside must not keep a whole batch from being stored. A key that was changed matches nothing, which is
// what an impossible name should do.
func clean(rows [][]any) [][]any {
	for _, r := range rows {
		for i, v := range r {
			if s, ok := v.(string); ok && !storable(s) {
				r[i] = cleanText(s)
			}
		}
	}
	return rows
}

func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func cleanText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
