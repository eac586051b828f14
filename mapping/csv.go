package mapping

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/truestock/truestock/stock"
)

// The bounds of one file.
const (
	// MaxRows is the most rows, the header not counted.
	MaxRows = 1_000_000
	// MaxBytes is the most bytes.
	MaxBytes = 128 << 20
	// MaxField is the most bytes in one field.
	MaxField = 256
)

// The columns of the CSV, in the order in which Write writes them.
const (
	connectionColumn = "connection"
	itemColumn       = "item"
	placeColumn      = "place"
	skuColumn        = "sku"
	unitsColumn      = "units"
)

// columns says of each column whether it must be there.
var columns = []struct {
	name     string
	required bool
}{{connectionColumn, true}, {itemColumn, true}, {placeColumn, false}, {skuColumn, true}, {unitsColumn, false}}

// Connections are the marketplace connections that exist.
type Connections []stock.ConnectionID

// RowError says what is wrong with one row of a file. Line counts from 1, the header included; Field is the column, or
// empty when the row as a whole is wrong; Value is the text found, shortened. Reason says what is wrong and what to do.
type RowError struct {
	Line   int    `json:"line"`
	Field  string `json:"field,omitempty"`
	Value  string `json:"value,omitempty"`
	Reason string `json:"reason"`
}

// Error writes the whole of it in one line.
func (e RowError) Error() string {
	text := "line " + itoa(e.Line) + ": "
	if e.Field != "" {
		text += e.Field + " " + strconv.Quote(e.Value) + ": "
	}
	return text + e.Reason
}

// Parse reads a mapping from CSV: UTF-8 with or without a byte order mark, a header with the columns connection, item,
// place, sku and units in any order, then one row per component. Rows with the same connection, item and place are one
// listing; rows of the connection "kit" describe the kit whose SKU stands in item. The column place may be missing,
// which means no places, and so may units, which means 1.
//
// Nothing is imported by halves: when there is any error the table is the zero value, and the errors, sorted by line,
// tell everything that is wrong with the file as far as it could be read. known are the connections that rows may name.
//
// A leading apostrophe before one of = + - @ ' (or the full-width form of the first four) is removed from a field: it is
// the mark that Write sets. See there.
func Parse(r io.Reader, known Connections) (Table, []RowError) {
	return parse(r, known, MaxRows, MaxBytes)
}

func parse(r io.Reader, known Connections, maxRows int, maxBytes int64) (Table, []RowError) {
	rows, errs := readRows(r, maxRows, maxBytes)
	for _, row := range rows {
		if row.Connection != "" && row.Connection != KitConnection && !slices.Contains(known, row.Connection) {
			errs = append(errs, rowError(row.Line, connectionColumn, string(row.Connection), known.unknown()))
		}
	}
	table, found := NewTable(rows)
	errs = append(errs, found...)
	if len(errs) > 0 {
		sortErrors(errs)
		return Table{}, errs
	}
	return table, nil
}

func (c Connections) unknown() string {
	if len(c) == 0 {
		return "no marketplace connection of this name exists; none is configured"
	}
	names := make([]string, len(c))
	for i, name := range c {
		names[i] = string(name)
	}
	slices.Sort(names)
	return "no marketplace connection of this name exists; there are " + strings.Join(names, ", ") +
		" (and " + string(KitConnection) + ", for the parts of a kit)"
}

// Write writes rows as CSV that Parse reads back to the same rows: sorted, with the columns connection, item, place,
// sku and units, lines ended by a line feed. It refuses rows that NewTable refuses and writes nothing then; the error
// is the first that NewTable tells.
//
// A spreadsheet takes a field that begins with = + - @ (or their full-width forms) for a formula and runs it. Such a
// field, and one that begins with an apostrophe, gets an apostrophe in front, which Parse removes; so the round trip is
// exact and the file is safe to open. A program that reads the file by itself must remove the apostrophe as Parse does.
// A spreadsheet that splits the file at another sign than the comma is not protected.
func Write(w io.Writer, rows []Row) error {
	table, errs := NewTable(rows)
	if len(errs) > 0 {
		return fmt.Errorf("write the mapping: %w", errs[0])
	}
	cw := csv.NewWriter(w)
	// A csv.Writer keeps its first error; Flush and Error report it.
	_ = cw.Write([]string{connectionColumn, itemColumn, placeColumn, skuColumn, unitsColumn})
	for _, r := range table.Rows() {
		_ = cw.Write([]string{mark(string(r.Connection)), mark(r.Item), mark(r.Place), mark(string(r.SKU)), strconv.FormatInt(int64(r.Units), 10)})
	}
	cw.Flush()
	if err := cw.Error(); err != nil {
		return fmt.Errorf("write the mapping: %w", err)
	}
	return nil
}

// formulaStart are the first characters that a spreadsheet takes for a formula, and the mark itself. Source:
// https://owasp.org/www-community/attacks/CSV_Injection (tabs and line breaks, also named there, are refused by
// checkText).
const formulaStart = "=+-@'＝＋－＠"

// Mark makes a field safe to open in a spreadsheet, as Write does: what begins like a formula gets an apostrophe in front.
func Mark(field string) string { return mark(field) }

// Unmark takes away what Mark put in front.
func Unmark(field string) string { return unmark(field) }

func mark(field string) string {
	if startsFormula(field) {
		return "'" + field
	}
	return field
}

func unmark(field string) string {
	if rest, marked := strings.CutPrefix(field, "'"); marked && startsFormula(rest) {
		return rest
	}
	return field
}

func startsFormula(field string) bool {
	r, _ := utf8.DecodeRuneInString(field)
	return field != "" && strings.ContainsRune(formulaStart, r)
}

// readRows reads the rows that have the form of a row; the errors tell of the rest.
func readRows(r io.Reader, maxRows int, maxBytes int64) ([]Row, []RowError) {
	cr := csv.NewReader(withoutMark(&bounded{r: r, most: maxBytes, left: maxBytes}))
	cr.FieldsPerRecord = -1
	cr.ReuseRecord = true

	header, err := cr.Read()
	if errors.Is(err, io.EOF) {
		return nil, []RowError{rowError(1, "", "", "the file is empty: the first line names the columns "+columnNames())}
	}
	if err != nil {
		return nil, []RowError{readError(0, err)}
	}
	layout, errs := readHeader(header)
	if len(errs) > 0 {
		return nil, errs
	}

	var rows []Row
	line := 1
	for n := 1; ; n++ {
		record, err := cr.Read()
		if errors.Is(err, io.EOF) {
			return rows, errs
		}
		if err != nil {
			errs = append(errs, readError(line, err))
			if _, broken := errors.AsType[*csv.ParseError](err); !broken {
				return rows, errs
			}
			continue
		}
		line, _ = cr.FieldPos(0)
		if n > maxRows {
			return rows, append(errs, rowError(line, "", "", fmt.Sprintf("the file has more than %d rows: split it", maxRows)))
		}
		row, found := layout.row(line, record)
		if len(found) > 0 {
			errs = append(errs, found...)
			continue
		}
		rows = append(rows, row)
	}
}

// readError tells why a record could not be read. last is the line on which the record before it begins.
func readError(last int, err error) RowError {
	broken, ok := errors.AsType[*csv.ParseError](err)
	switch {
	case !ok:
		return rowError(last+1, "", "", "the file could not be read to its end: "+err.Error())
	case errors.Is(broken.Err, csv.ErrBareQuote):
		return rowError(broken.StartLine, "", "", `a quote stands inside a field that does not begin with one: write the field as "…" and double the quotes inside`)
	default:
		return rowError(broken.StartLine, "", "", `a field that begins with a quote does not end with one: close it, and double the quotes inside`)
	}
}

// layout holds the index of each column in a record, -1 for one that is missing.
type layout struct {
	connection, item, place, sku, units int
	fields                              int
}

func readHeader(header []string) (layout, []RowError) {
	var errs []RowError
	at := make(map[string]int, len(header))
	for i, name := range header {
		switch _, twice := at[name]; {
		case twice:
			errs = append(errs, rowError(1, name, name, "the column stands twice in the header"))
		case !isColumn(name):
			errs = append(errs, rowError(1, "", "", unknownColumn(name)))
		}
		at[name] = i
	}
	index := func(name string) int {
		if i, ok := at[name]; ok {
			return i
		}
		return -1
	}
	for _, c := range columns {
		if c.required && index(c.name) < 0 {
			errs = append(errs, rowError(1, c.name, "", "the column is missing from the header; the columns are "+columnNames()))
		}
	}
	return layout{index(connectionColumn), index(itemColumn), index(placeColumn), index(skuColumn), index(unitsColumn), len(header)}, errs
}

func isColumn(name string) bool {
	for _, c := range columns {
		if c.name == name {
			return true
		}
	}
	return false
}

func unknownColumn(name string) string {
	reason := fmt.Sprintf("the header names the column %q; the columns are %s", shorten(name), columnNames())
	switch {
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		reason += ": save the file as UTF-8"
	case strings.ContainsAny(name, ";\t"):
		reason += ": separate them by commas"
	}
	return reason
}

func columnNames() string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ",")
}

// row reads one record. Only its form is checked here; checkRow checks what it says.
func (l layout) row(line int, record []string) (Row, []RowError) {
	if len(record) != l.fields {
		return Row{}, []RowError{rowError(line, "", "", fmt.Sprintf("the row has %d fields and the header %d", len(record), l.fields))}
	}
	field := func(i int) string {
		if i < 0 {
			return ""
		}
		return unmark(record[i])
	}
	row := Row{
		Line: line, Connection: stock.ConnectionID(field(l.connection)), Item: field(l.item), Place: field(l.place),
		SKU: stock.SKU(field(l.sku)), Units: 1,
	}
	if l.units < 0 {
		return row, nil
	}
	units, reason := parseUnits(record[l.units])
	if reason != "" {
		errs := []RowError{rowError(line, unitsColumn, record[l.units], reason)}
		return Row{}, append(errs, checkTexts(row)...)
	}
	row.Units = units
	return row, nil
}

func parseUnits(text string) (units stock.Quantity, reason string) {
	if text == "" {
		return 0, "the field is empty: write 1 where a pack holds one unit"
	}
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, "not a whole number: write digits only, such as 6"
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, unitsOutOfRange()
	}
	if reason := checkUnits(stock.Quantity(n)); reason != "" {
		return 0, reason
	}
	return stock.Quantity(n), ""
}

func checkUnits(units stock.Quantity) (reason string) {
	if units < 1 || units > stock.MaxUnits {
		return unitsOutOfRange()
	}
	return ""
}

func unitsOutOfRange() string {
	return fmt.Sprintf("a pack holds from 1 to %d units", stock.MaxUnits)
}

// checkRow checks all that one row says by itself.
func checkRow(r Row) []RowError {
	errs := checkTexts(r)
	if reason := checkUnits(r.Units); reason != "" {
		errs = append(errs, rowError(r.Line, unitsColumn, strconv.FormatInt(int64(r.Units), 10), reason))
	}
	if r.Connection == KitConnection && r.Place != "" {
		errs = append(errs, rowError(r.Line, placeColumn, r.Place, "a kit has no place: leave the field empty"))
	}
	return errs
}

func checkTexts(r Row) []RowError {
	var errs []RowError
	check := func(field, value string, required bool) {
		if reason := checkText(value, required); reason != "" {
			errs = append(errs, rowError(r.Line, field, value, reason))
		}
	}
	check(connectionColumn, string(r.Connection), true)
	check(itemColumn, r.Item, true)
	check(placeColumn, r.Place, false)
	check(skuColumn, string(r.SKU), true)
	return errs
}

// checkText says what is wrong with a name. Space and invisible characters at its ends are refused, for nobody sees
// them and the name would match nothing.
func checkText(value string, required bool) (reason string) {
	switch {
	case value == "" && required:
		return "the field is empty"
	case len(value) > MaxField:
		return fmt.Sprintf("the field has %d bytes: at most %d are taken", len(value), MaxField)
	case !utf8.ValidString(value):
		return "the field is not UTF-8: save the file as UTF-8"
	case strings.ContainsFunc(value, unicode.IsControl):
		return "the field contains a control character, such as a tab or a line break: remove it"
	case strings.TrimFunc(value, invisible) != value:
		return "the field begins or ends with a space or an invisible character: remove it"
	}
	return ""
}

func invisible(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }

func rowError(line int, field, value, reason string) RowError {
	return RowError{Line: line, Field: field, Value: shorten(value), Reason: reason}
}

// shorten keeps a value fit for a message: valid UTF-8 of at most 64 bytes and a mark.
func shorten(value string) string {
	const most = 64
	if len(value) > most {
		end := most
		for end > most-utf8.UTFMax && !utf8.RuneStart(value[end]) {
			end--
		}
		value = value[:end] + "…"
	}
	return strings.ToValidUTF8(value, "\uFFFD")
}

func sortErrors(errs []RowError) {
	slices.SortStableFunc(errs, func(a, b RowError) int { return cmp.Compare(a.Line, b.Line) })
}

func itoa(n int) string { return strconv.Itoa(n) }

// withoutMark skips a byte order mark at the beginning.
func withoutMark(r io.Reader) io.Reader {
	br := bufio.NewReader(r)
	if start, _ := br.Peek(3); bytes.Equal(start, []byte("\xEF\xBB\xBF")) {
		_, _ = br.Discard(3)
	}
	return br
}

// bounded reads at most most bytes and fails at the next.
type bounded struct {
	r          io.Reader
	most, left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, fmt.Errorf("it is larger than %d bytes: split it", b.most)
	}
	return n, err
}
