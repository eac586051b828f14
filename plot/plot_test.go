package plot_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/truestock/truestock/plot"
	"github.com/truestock/truestock/stock"
)

// texts are the texts of an SVG that is well-formed, and its elements.
func texts(t *testing.T, svg []byte) (all []string, elements map[string]int) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	elements = map[string]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all, elements
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			elements[token.Name.Local]++
		case xml.CharData:
			all = append(all, strings.TrimSpace(string(token)))
		}
	}
}

func TestTheLargestFiguresAreDrawn(t *testing.T) {
	hostile := `<script>alert("&")</script>`
	rows := []map[string]any{{"sku": "unknown", "n": nil}, {"sku": hostile, "n": int64(1000)}}
	for i := range 25 {
		rows = append(rows, map[string]any{"sku": "S" + strconv.Itoa(i), "n": int64(i)})
	}
	svg, err := plot.SVG(plot.Of(plot.Report{Name: "velocity", Column: "n", Zone: "UTC", From: stock.Date{Year: 2026, Month: 1, Day: 1}, To: stock.Date{Year: 2026, Month: 1, Day: 9}, Rows: rows}))
	if err != nil {
		t.Fatal(err)
	}
	all, elements := texts(t, svg)
	joined := "\n" + strings.Join(all, "\n") + "\n"
	for _, want := range []string{hostile, "S24", "S6", "velocity"} {
		if !strings.Contains(joined, "\n"+want+"\n") {
			t.Errorf("%q is not in the picture", want)
		}
	}
	for _, not := range []string{"S5", "unknown"} {
		if strings.Contains(joined, "\n"+not+"\n") {
			t.Errorf("%q is in the picture", not)
		}
	}
	if elements["script"] > 0 || elements["svg"] != 1 {
		t.Errorf("the elements are %v", elements)
	}
}

func TestDaysAndNothing(t *testing.T) {
	first, last := stock.Date{Year: 2026, Month: 1, Day: 1}, stock.Date{Year: 2026, Month: 1, Day: 3}
	rows := []map[string]any{
		{"date": "2026-01-01", "sold": int64(2), "closing": int64(9)}, {"date": "2026-01-01", "sold": int64(3), "closing": int64(1)},
		{"date": "2026-01-03", "sold": int64(4), "closing": int64(5)},
	}
	p := plot.Of(plot.Report{Name: "daily", Column: "sold", From: first, To: last, Rows: rows})
	if len(p.Labels) != 3 || p.Series[0].Values[0] != 5 || p.Series[0].Values[1] != 0 || p.Series[1].Values[0] != 10 || p.Series[1].Values[2] != 5 {
		t.Errorf("the days are %+v", p)
	}
	for _, p := range []plot.Picture{p, plot.Of(plot.Report{Name: "velocity", From: first, To: last}), plot.Of(plot.Report{Name: "daily", From: last, To: first})} {
		svg, err := plot.SVG(p)
		if err != nil {
			t.Fatal(err)
		}
		texts(t, svg)
	}
}
