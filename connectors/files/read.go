package files

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// endMark begins the line that proves that a file is whole.
const endMark = "#end"

// levelsFile is a file of levels that was read.
type levelsFile struct {
	name     string
	at       time.Time
	sequence int64
	rows     []connectors.Statement
	count    int // -1 where the file does not tell
}

// Levels implements connectors.SystemOfRecord. The newest whole file is the answer, on one page. What was read goes to
// the archive, and is read there again until a newer one comes: the same position says nothing new.
func (r *record) Levels(ctx context.Context, _ connectors.Cursor) (connectors.LevelPage, error) {
	began := time.Now().UTC()
	l, err := r.newestLevels(ctx, "list levels")
	if err != nil {
		return connectors.LevelPage{}, err
	}
	return connectors.LevelPage{Levels: l.rows, Count: l.count,
		Position: stock.Position{Sequenced: true, Sequence: l.sequence * rowsPerFile, SourceAt: l.at, SeenAt: began}}, nil
}

// newestLevels reads the newest file of levels, wherever it is.
func (r *record) newestLevels(ctx context.Context, op string) (levelsFile, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	came, err := r.folder.list(ctx, inFolder)
	if err != nil {
		return levelsFile{}, failure(op, false, err)
	}
	kept, err := r.folder.list(ctx, archiveFolder)
	if err != nil {
		return levelsFile{}, failure(op, false, err)
	}
	fresh, old := restful(came, levelsPrefix, r.rest, time.Now()), restful(kept, levelsPrefix, 0, time.Now())
	var from string
	switch {
	case len(fresh) == 0 && len(old) == 0:
		return levelsFile{}, failure(op, false, errors.New("there is no file "+inFolder+"/"+levelsPrefix+"YYYYMMDDTHHMMSSZ.csv yet; let the system of record export its levels there"))
	case len(fresh) == 0 || len(old) > 0 && newer(old[len(old)-1], fresh[len(fresh)-1]):
		from = path.Join(archiveFolder, old[len(old)-1].name)
	default:
		from = path.Join(inFolder, fresh[len(fresh)-1].name)
	}
	data, err := r.folder.read(ctx, from)
	if err != nil {
		return levelsFile{}, failure(op, false, err)
	}
	l, problems := r.parseLevels(path.Base(from), data)
	if len(problems) > 0 {
		return levelsFile{}, r.setAside(ctx, op, from, problems)
	}
	for _, f := range fresh { // what is older than the one that was read says nothing any more
		if err := r.folder.move(ctx, path.Join(inFolder, f.name), path.Join(archiveFolder, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return levelsFile{}, failure(op, false, err)
		}
	}
	return l, nil
}

func newer(a, b file) bool {
	_, x, _ := stamp(a.name, levelsPrefix)
	_, y, _ := stamp(b.name, levelsPrefix)
	return x > y
}

// setAside moves a file that makes no sense to the errors, beside a file with the reasons.
func (r *record) setAside(ctx context.Context, op, from string, problems []string) error {
	name := path.Base(from)
	if err := r.folder.write(ctx, path.Join(errorFolder, name+".txt"), []byte(strings.Join(problems, "\n")+"\n")); err != nil {
		return failure(op, false, err)
	}
	if err := r.folder.move(ctx, from, path.Join(errorFolder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failure(op, false, err)
	}
	return connectors.Rejectedf(op, "", "%s was not used and is in %s/ now: %s; %s/%s.txt names every line. Correct the export, and put a whole file into %s/ under a newer instant",
		name, errorFolder, problems[0], errorFolder, name, inFolder)
}

// table is a CSV file that was read: each row by the names of its columns.
type table struct {
	rows  []map[string]string
	lines []int
	end   int // the number behind the end mark; -1 where there is none
}

// parseTable reads a whole file. problems tell, by line, what is wrong.
func (r *record) parseTable(data []byte, needed ...string) (t table, problems []string) {
	t.end = -1
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) {
		return t, []string{"the file is not in UTF-8: export it so"}
	}
	c := csv.NewReader(bytes.NewReader(data))
	c.Comma, c.FieldsPerRecord = r.comma, -1
	header, err := c.Read()
	if err != nil {
		return t, []string{"the file has no header: its first line must name its columns, such as " + strings.Join(needed, string(r.comma))}
	}
	columns := make(map[string]int, len(header))
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := columns[name]; twice && name != "" {
			problems = append(problems, fmt.Sprintf("line 1: the column %q stands twice", name))
		}
		columns[name] = i
	}
	for _, name := range needed {
		if _, ok := columns[name]; !ok {
			problems = append(problems, fmt.Sprintf("line 1: the column %q is missing", name))
		}
	}
	for len(problems) == 0 || len(problems) < maxProblems {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("it is not CSV: %v", err)) // names the line
			break
		}
		line, _ := c.FieldPos(0)
		if record[0] == endMark {
			if t.end, err = strconv.Atoi(strings.TrimSpace(last(record))); err != nil || len(record) < 2 || t.end < 0 {
				problems = append(problems, fmt.Sprintf("line %d: behind %s stands the number of rows", line, endMark))
			}
			if more, err := c.Read(); !errors.Is(err, io.EOF) {
				problems = append(problems, fmt.Sprintf("something follows the line %s: %.40q", endMark, more))
			}
			break
		}
		if len(record) != len(header) {
			problems = append(problems, fmt.Sprintf("line %d: it has %d columns, and the header has %d", line, len(record), len(header)))
			continue
		}
		row := make(map[string]string, len(columns))
		for name, i := range columns {
			row[name] = strings.TrimSpace(record[i])
		}
		t.rows, t.lines = append(t.rows, row), append(t.lines, line)
	}
	if t.end >= 0 && t.end != len(t.rows) && len(problems) == 0 {
		problems = append(problems, fmt.Sprintf("%s says %d rows, and there are %d", endMark, t.end, len(t.rows)))
	}
	return t, problems
}

// maxProblems is how many problems of a file are told.
const maxProblems = 1000

func last(record []string) string { return record[len(record)-1] }

// parseLevels reads a file of levels, whole or not at all.
func (r *record) parseLevels(name string, data []byte) (levelsFile, []string) {
	at, sequence, _ := stamp(name, levelsPrefix)
	l := levelsFile{name: name, at: at, sequence: sequence}
	t, problems := r.parseTable(data, "sku", "quantity")
	if r.endLine && t.end < 0 && len(problems) == 0 {
		problems = append(problems, "the last line is not "+endMark+" with the number of rows: the file may be cut off")
	}
	type key struct{ sku, location string }
	seen := make(map[key]int)
	for i, row := range t.rows {
		s := connectors.Statement{SKU: row["sku"], Location: row["location"]}
		if s.Location == "" {
			s.Location = r.location
		}
		q, err := whole(row["quantity"])
		s.Quantity = q
		if err == nil {
			err = connectors.Fact{Kind: connectors.StockLevel, Statement: &s}.Validate()
		}
		if before, twice := seen[key{s.SKU, s.Location}]; twice && err == nil {
			err = fmt.Errorf("%s at %s stands in line %d already", s.SKU, s.Location, before)
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("line %d: %v", t.lines[i], err))
			continue
		}
		seen[key{s.SKU, s.Location}] = t.lines[i]
		l.rows = append(l.rows, s)
	}
	l.count = t.end
	return l, problems
}

// whole reads a whole number of base units; 3.0 is one, 3.5 is not, and neither is nothing.
func whole(text string) (stock.Quantity, error) {
	digits, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || strings.Trim(fraction, "0") != "" {
		return 0, fmt.Errorf("quantity is %.40q: it must be a whole number", text)
	}
	return stock.Quantity(n), nil
}

// Movements implements connectors.SystemOfRecord: the facts of one file of events at a time, the oldest first. A file
// goes to the archive once it is asked for what comes after it: then its facts are stored. One that arrives late, with
// an instant before others that were read, is told with its own, old positions; behind it comes a look at everything.
func (r *record) Movements(ctx context.Context, after int64) (connectors.Page[connectors.Fact], error) {
	const op = "list movements"
	r.mu.Lock()
	defer r.mu.Unlock()
	var page connectors.Page[connectors.Fact]
	came, err := r.folder.list(ctx, inFolder)
	if err != nil {
		return page, failure(op, false, err)
	}
	waiting := restful(came, eventsPrefix, r.rest, time.Now())
	for i, f := range waiting {
		if until, told := r.told[f.name]; told && until <= after {
			if err := r.archive(ctx, f.name); err != nil {
				return page, failure(op, false, err)
			}
			continue
		}
		facts, err := r.readEvents(ctx, op, f.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return page, err
		}
		if len(facts) == 0 {
			if err := r.archive(ctx, f.name); err != nil {
				return page, failure(op, false, err)
			}
			continue
		}
		if facts[len(facts)-1].Position.Sequence <= after {
			facts = append(facts, connectors.Fact{Kind: connectors.StockChanged, Position: stock.Position{Sequenced: true, Sequence: after + 1}})
		}
		page.Rows = facts
		r.told[f.name] = facts[len(facts)-1].Position.Sequence
		if i+1 < len(waiting) {
			page.Next = connectors.Cursor(strconv.FormatInt(r.told[f.name], 10))
		}
		return page, nil
	}
	return page, nil
}

func (r *record) archive(ctx context.Context, name string) error {
	delete(r.told, name)
	if err := r.folder.move(ctx, path.Join(inFolder, name), path.Join(archiveFolder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (r *record) readEvents(ctx context.Context, op, name string) ([]connectors.Fact, error) {
	from := path.Join(inFolder, name)
	data, err := r.folder.read(ctx, from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		return nil, failure(op, false, err)
	}
	facts, problems := r.parseEvents(name, data)
	if len(problems) > 0 {
		return nil, r.setAside(ctx, op, from, problems)
	}
	return facts, nil
}
