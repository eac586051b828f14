package mapping

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

var known = Connections{"shop", "market"}

func TestParse(t *testing.T) {
	single := Table{Links: []Link{{Connection: "shop", Ref: connectors.Ref{Item: "i1"}, Components: []Component{{"A", 1}}}}}
	tests := map[string]struct {
		in   string
		want Table
	}{
		"header only":        {"connection,item,place,sku,units\n", Table{}},
		"one article":        {"connection,item,place,sku,units\nshop,i1,,A,1\n", single},
		"no line feed":       {"connection,item,place,sku,units\nshop,i1,,A,1", single},
		"byte order mark":    {"\xEF\xBB\xBFconnection,item,place,sku,units\nshop,i1,,A,1\n", single},
		"CRLF":               {"connection,item,place,sku,units\r\nshop,i1,,A,1\r\n", single},
		"quoted":             {"\"connection\",item,place,sku,units\n\"shop\",\"i1\",\"\",\"A\",\"1\"\n", single},
		"other order":        {"units,sku,connection,item\n1,A,shop,i1\n", single},
		"no place, no units": {"connection,item,sku\nshop,i1,A\n", single},
		"blank lines":        {"connection,item,sku\n\nshop,i1,A\n\n", single},
		"bundle, pack, places, kit": {
			"connection,item,place,sku,units\n" +
				"shop,set,,B,2\nmarket,\"a,\"\"b\"\"\",berlin,A,6\nkit,B,,C,3\nshop,set,,A,1\nmarket,\"a,\"\"b\"\"\",munich,A,6\n",
			Table{
				Links: []Link{
					{"market", connectors.Ref{Item: `a,"b"`, Place: "berlin"}, []Component{{"A", 6}}},
					{"market", connectors.Ref{Item: `a,"b"`, Place: "munich"}, []Component{{"A", 6}}},
					{"shop", connectors.Ref{Item: "set"}, []Component{{"A", 1}, {"B", 2}}},
				},
				Kits: []Kit{{"B", []Component{{"C", 3}}}},
			},
		},
		"marks removed": {
			"connection,item,sku\nshop,'=1+1,'-A\n",
			Table{Links: []Link{{"shop", connectors.Ref{Item: "=1+1"}, []Component{{"-A", 1}}}}},
		},
		"other apostrophes stay": {
			"connection,item,sku\nshop,'s,O'A\n",
			Table{Links: []Link{{"shop", connectors.Ref{Item: "'s"}, []Component{{"O'A", 1}}}}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, errs := Parse(strings.NewReader(tt.in), known)
			if errs != nil {
				t.Fatal(errs)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	const header = "connection,item,place,sku,units\n"
	long := strings.Repeat("ü", 129)
	tests := map[string]struct {
		in   string
		want []string
	}{
		"empty": {"", []string{`line 1: the file is empty: the first line names the columns connection,item,place,sku,units`}},
		"unknown column": {"connection,item,SKU,sku\n", []string{
			`line 1: the header names the column "SKU"; the columns are connection,item,place,sku,units`}},
		"columns missing": {"place,units\n", []string{
			`line 1: connection "": the column is missing from the header; the columns are connection,item,place,sku,units`,
			`line 1: item "": the column is missing from the header; the columns are connection,item,place,sku,units`,
			`line 1: sku "": the column is missing from the header; the columns are connection,item,place,sku,units`}},
		"column twice": {"connection,item,sku,sku\n", []string{`line 1: sku "sku": the column stands twice in the header`}},
		"semicolons": {"connection;item;sku\n", []string{
			`line 1: the header names the column "connection;item;sku"; the columns are connection,item,place,sku,units: separate them by commas`,
			`line 1: connection "": the column is missing from the header; the columns are connection,item,place,sku,units`,
			`line 1: item "": the column is missing from the header; the columns are connection,item,place,sku,units`,
			`line 1: sku "": the column is missing from the header; the columns are connection,item,place,sku,units`}},
		"unknown connection": {header + "shpo,i,,A,1\n", []string{
			`line 2: connection "shpo": no marketplace connection of this name exists; there are market, shop (and kit, for the parts of a kit)`}},
		"every row, every field": {header + ",,,,\nshop,i,,A,0\n", []string{
			`line 2: units "": the field is empty: write 1 where a pack holds one unit`,
			`line 2: connection "": the field is empty`,
			`line 2: item "": the field is empty`,
			`line 2: sku "": the field is empty`,
			`line 3: units "0": a pack holds from 1 to 1000000 units`}},
		"units": {header + "shop,i,,A,1.0\nshop,i,,B,-1\nshop,i,,C,1e3\nshop,i,,D,1000001\nshop,i,,E,99999999999999999999\nshop,i,,F, 1\nshop,i,,G,-\nshop,i,,H,١\n",
			[]string{
				`line 2: units "1.0": not a whole number: write digits only, such as 6`,
				`line 3: units "-1": a pack holds from 1 to 1000000 units`,
				`line 4: units "1e3": not a whole number: write digits only, such as 6`,
				`line 5: units "1000001": a pack holds from 1 to 1000000 units`,
				`line 6: units "99999999999999999999": a pack holds from 1 to 1000000 units`,
				`line 7: units " 1": not a whole number: write digits only, such as 6`,
				`line 8: units "-": not a whole number: write digits only, such as 6`,
				`line 9: units "١": not a whole number: write digits only, such as 6`,
			}},
		"component twice": {header + "shop,i,,A,1\nshop,j,,A,1\nshop,i,,A,2\n", []string{
			`line 4: sku "A": the component stands twice in the listing i of shop: keep one row with the sum of the units; the other is on line 2`}},
		"too many fields": {header + "shop,i,,A,1,x\nshop,i\n", []string{
			`line 2: the row has 6 fields and the header 5`, `line 3: the row has 2 fields and the header 5`}},
		"not UTF-8": {header + "shop,i\xff,,A,1\n", []string{"line 2: item \"i\uFFFD\": the field is not UTF-8: save the file as UTF-8"}},
		"UTF-16": {"\xff\xfec\x00o\x00", []string{
			"line 1: the header names the column \"\uFFFDc\\x00o\\x00\"; the columns are connection,item,place,sku,units: save the file as UTF-8",
			`line 1: connection "": the column is missing from the header; the columns are connection,item,place,sku,units`,
			`line 1: item "": the column is missing from the header; the columns are connection,item,place,sku,units`,
			`line 1: sku "": the column is missing from the header; the columns are connection,item,place,sku,units`}},
		"too long": {header + "shop," + long + ",,A,1\n", []string{
			`line 2: item "` + strings.Repeat("ü", 32) + `…": the field has 258 bytes: at most 256 are taken`}},
		"control characters": {header + "shop,\"i\nj\",,A\x00,1\n", []string{
			`line 2: item "i\nj": the field contains a control character, such as a tab or a line break: remove it`,
			`line 2: sku "A\x00": the field contains a control character, such as a tab or a line break: remove it`}},
		"edges": {header + "shop, i,\u00A0,A\u200B,1\n", []string{
			`line 2: item " i": the field begins or ends with a space or an invisible character: remove it`,
			`line 2: place "\u00a0": the field begins or ends with a space or an invisible character: remove it`,
			`line 2: sku "A\u200b": the field begins or ends with a space or an invisible character: remove it`}},
		"quotes": {header + "shop,i\"j,,A,1\nshop,\"k\" ,,A,1\nshop,i,,A,0\nshop,\"open,,A,1\n", []string{
			`line 2: a quote stands inside a field that does not begin with one: write the field as "…" and double the quotes inside`,
			`line 3: a field that begins with a quote does not end with one: close it, and double the quotes inside`,
			`line 4: units "0": a pack holds from 1 to 1000000 units`,
			`line 5: a field that begins with a quote does not end with one: close it, and double the quotes inside`}},
		"kit with place": {header + "kit,K,berlin,A,1\n", []string{`line 2: place "berlin": a kit has no place: leave the field empty`}},
		"kit in itself":  {header + "kit,K,,K,1\n", []string{`line 2: item "K": kits contain each other in a cycle: K → K`}},
		"cycle, once": {header + "shop,i,,C,1\nkit,C,,B,1\nkit,B,,A,1\nkit,A,,C,1\nkit,Z,,C,1\n", []string{
			`line 5: item "A": kits contain each other in a cycle: A → C → B → A`}},
		"units of a kit": {header + "kit,K,,A,1000000\nkit,L,,K,2\nshop,i,,K,1\n", []string{
			`line 3: item "L": flattened, it holds 2000000 units of A: at most 1000000 are taken`}},
		"units of a listing": {header + "kit,K,,A,1000000\nshop,i,,K,1\nshop,i,,A,1\n", []string{
			`line 3: item "i": flattened, it holds 1000001 units of A: at most 1000000 are taken`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			table, errs := Parse(strings.NewReader(tt.in), known)
			if !reflect.DeepEqual(table, Table{}) {
				t.Errorf("the table is not empty: %+v", table)
			}
			var got []string
			for _, e := range errs {
				got = append(got, e.Error())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
		})
	}
}

func TestParseWithoutConnections(t *testing.T) {
	_, errs := Parse(strings.NewReader("connection,item,sku\nshop,i,A\n"), nil)
	if len(errs) != 1 || errs[0].Reason != "no marketplace connection of this name exists; none is configured" {
		t.Errorf("got %v", errs)
	}
}

func TestParseBounds(t *testing.T) {
	const in = "connection,item,sku\nshop,i,A\nshop,j,A\n"
	if table, errs := parse(strings.NewReader(in), known, 2, int64(len(in))); errs != nil || len(table.Links) != 2 {
		t.Errorf("just within: got %v, %v", table, errs)
	}
	broken := io.MultiReader(strings.NewReader(in), iotest.ErrReader(errors.New("the line dropped")))
	tests := map[string]struct {
		r     io.Reader
		rows  int
		bytes int64
		want  string
	}{
		"rows":   {strings.NewReader(in), 1, MaxBytes, "line 3: the file has more than 1 rows: split it"},
		"bytes":  {strings.NewReader(in), MaxRows, int64(len(in)) - 1, "line 3: the file could not be read to its end: it is larger than 37 bytes: split it"},
		"reader": {broken, MaxRows, MaxBytes, "line 4: the file could not be read to its end: the line dropped"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			table, errs := parse(tt.r, known, tt.rows, tt.bytes)
			if len(errs) != 1 || errs[0].Error() != tt.want || !reflect.DeepEqual(table, Table{}) {
				t.Errorf("got %v, %v, want %s", table, errs, tt.want)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	rows := []Row{
		{Connection: "shop", Item: "=cmd|' /C calc'!A0", SKU: "'quoted", Units: 12},
		{Connection: "market", Item: "a,b", Place: "@home", SKU: `say "hi"`, Units: 1},
		{Connection: "shop", Item: "+1", SKU: "-A", Units: 1},
		{Connection: "kit", Item: "K", SKU: "＝A", Units: 2},
	}
	var out bytes.Buffer
	if err := Write(&out, rows); err != nil {
		t.Fatal(err)
	}
	const want = "connection,item,place,sku,units\n" +
		"kit,K,,'＝A,2\n" +
		"market,\"a,b\",'@home,\"say \"\"hi\"\"\",1\n" +
		"shop,'+1,,'-A,1\n" +
		"shop,'=cmd|' /C calc'!A0,,''quoted,12\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	table, errs := Parse(&out, known)
	if errs != nil {
		t.Fatal(errs)
	}
	slices.SortFunc(rows, Row.compare)
	if got := table.Rows(); !reflect.DeepEqual(got, rows) {
		t.Errorf("read back\n%+v\nwant\n%+v", got, rows)
	}
}

func TestWriteRefuses(t *testing.T) {
	var out bytes.Buffer
	err := Write(&out, []Row{{Connection: "shop", Item: "i", SKU: "A", Units: 1}, {Connection: "shop", Item: "i", SKU: "A", Units: 1}})
	const want = `write the mapping: line 0: sku "A": the component stands twice in the listing i of shop: keep one row with the sum of the units`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if out.Len() != 0 {
		t.Errorf("wrote %q", out.String())
	}
	full := errors.New("no space")
	if err := Write(failing{full}, nil); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"connection,item,place,sku,units\nshop,i1,,A,1\nkit,A,,B,2\n",
		"\xEF\xBB\xBFunits,sku,connection,item\r\n1,\"A,\"\"b\",shop,'=i\r\n",
		"connection,item,sku\nshop,''x,'+\nshop,i,\u00e9\n",
		"connection,item,sku\nkit,A,B\nkit,B,A\n",
		"connection,item,sku\nshop,\"a\r\nb\",A\n", "\xff\xfe", "a;b", "\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		table, errs := Parse(strings.NewReader(in), known)
		if len(errs) > 0 {
			if !reflect.DeepEqual(table, Table{}) {
				t.Fatalf("half imported: %+v with %v", table, errs)
			}
			for _, e := range errs {
				if e.Line < 1 || e.Reason == "" {
					t.Fatalf("error without line or reason: %+v", e)
				}
			}
			return
		}
		var first bytes.Buffer
		if err := Write(&first, table.Rows()); err != nil {
			t.Fatalf("parsed but not written: %v", err)
		}
		text := first.String()
		again, errs := Parse(&first, known)
		if errs != nil || !reflect.DeepEqual(again, table) {
			t.Fatalf("round trip: %v\n%+v\n%+v", errs, table, again)
		}
		var second bytes.Buffer
		if err := Write(&second, again.Rows()); err != nil || second.String() != text {
			t.Fatalf("second writing differs: %v\n%s\n%s", err, text, second.String())
		}
		if _, err := table.Flatten(); err != nil {
			t.Fatalf("parsed but not flattened: %v", err)
		}
	})
}

// FuzzRoundTrip checks that any row that is accepted comes back unchanged.
func FuzzRoundTrip(f *testing.F) {
	f.Add("i", "", "A", int64(1))
	f.Add("=1", "'-", "''", int64(stock.MaxUnits))
	f.Add(`"`, ",", "\u200d", int64(-1))
	f.Fuzz(func(t *testing.T, item, place, sku string, units int64) {
		rows := []Row{{Connection: "shop", Item: item, Place: place, SKU: stock.SKU(sku), Units: stock.Quantity(units)}}
		var out bytes.Buffer
		if Write(&out, rows) != nil {
			return
		}
		table, errs := Parse(&out, known)
		if errs != nil || !reflect.DeepEqual(table.Rows(), rows) {
			t.Fatalf("%+v came back as %+v, %v", rows, table.Rows(), errs)
		}
	})
}
