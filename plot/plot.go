// Package plot draws the reports as SVG.
package plot

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-analyze/charts"

	"github.com/truestock/truestock/stock"
)

// Picture is what is drawn: a bar for each label, or lines where there is more than one series.
type Picture struct {
	Title, Subtitle string
	Labels          []string
	Series          []Line
	// Bars draws bars instead of lines.
	Bars bool
}

// Line is one series of a picture.
type Line struct {
	Name   string
	Values []float64
}

// Report is a report whose rows have the fields sku and Column; of the report daily they have date, sold and closing.
type Report struct {
	Name, Column, Zone string
	From, To           stock.Date
	Rows               []map[string]any
}

// mostBars is how many bars a picture has: the largest.
const mostBars = 20

// Of chooses what a picture of a report shows: of days the units sold and available, of everything else the articles with
// the largest figures of one column. What is not known is not drawn.
func Of(v Report) Picture {
	p := Picture{Title: v.Name, Subtitle: fmt.Sprintf("%s, %s to %s (%s)", v.Column, v.From, v.To, v.Zone), Bars: true}
	if v.Name == "daily" {
		return days(v, p)
	}
	type bar struct {
		label string
		value float64
	}
	var bars []bar
	for _, row := range v.Rows {
		if row["sku"] == nil {
			continue // a sum
		}
		if value, err := strconv.ParseFloat(fmt.Sprint(row[v.Column]), 64); err == nil {
			bars = append(bars, bar{fmt.Sprint(row["sku"]), value})
		}
	}
	slices.SortStableFunc(bars, func(a, b bar) int { return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.label, b.label)) })
	line := Line{Name: v.Column}
	// Horizontal bars are drawn from below.
	for _, b := range slices.Backward(bars[:min(len(bars), mostBars)]) {
		p.Labels, line.Values = append(p.Labels, b.label), append(line.Values, b.value)
	}
	p.Series = []Line{line}
	return p
}

// days sums the articles of each day.
func days(v Report, p Picture) Picture {
	sold, closing := make(map[string]float64), make(map[string]float64)
	for _, row := range v.Rows {
		date := fmt.Sprint(row["date"])
		n, _ := row["sold"].(int64)
		there, _ := row["closing"].(int64)
		sold[date] += float64(n)
		closing[date] += float64(there)
	}
	p.Bars, p.Subtitle = false, fmt.Sprintf("units a day, %s to %s (%s)", v.From, v.To, v.Zone)
	p.Series = []Line{{Name: "sold"}, {Name: "available at the day's end"}}
	for d := v.From; d.String() <= v.To.String(); d = d.Add(1) {
		p.Labels = append(p.Labels, d.String()[len("2026-"):])
		p.Series[0].Values = append(p.Series[0].Values, sold[d.String()])
		p.Series[1].Values = append(p.Series[1].Values, closing[d.String()])
	}
	return p
}

// SVG draws a picture. Names from outside stay text: the library escapes them.
func SVG(p Picture) ([]byte, error) {
	labels := make([]string, len(p.Labels))
	for i, l := range p.Labels {
		if r := []rune(l); len(r) > 40 {
			l = string(r[:39]) + "…"
		}
		labels[i] = l
	}
	options := []charts.OptionFunc{charts.SVGOutputOptionFunc(), charts.TitleTextOptionFunc(p.Title, p.Subtitle), charts.PaddingOptionFunc(charts.NewBoxEqual(20))}
	values := make([][]float64, len(p.Series))
	var names []string
	for i, s := range p.Series {
		values[i], names = s.Values, append(names, s.Name)
	}
	empty := len(labels) == 0
	if empty {
		labels, values = []string{"no data"}, [][]float64{{0}}
	}
	draw, height := charts.LineRender, 480
	if p.Bars || empty {
		draw, height = charts.HorizontalBarRender, 160+28*len(labels)
		options = append(options, charts.YAxisLabelsOptionFunc(labels), charts.SeriesShowLabel(true))
	} else {
		options = append(options, charts.XAxisLabelsOptionFunc(labels), charts.LegendLabelsOptionFunc(names))
	}
	painter, err := draw(values, append(options, charts.DimensionsOptionFunc(960, height))...)
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", p.Title, err)
	}
	return painter.Bytes()
}
