package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// printJSON writes one JSON value, indented, with a line end.
func printJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// printTable writes rows under a header, in columns.
func printTable(w io.Writer, header string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(header, " ", "\t"))
	for _, r := range rows {
		for i, cell := range r {
			r[i] = plain(cell)
		}
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// plain keeps what comes from outside from moving the cursor or breaking the columns.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

func quantity(q *stock.Quantity) string {
	switch {
	case q == nil:
		return "-"
	case *q == stocksync.Endless:
		return "unlimited"
	}
	return fmt.Sprint(*q)
}

func connectionID(name string) stock.ConnectionID { return stock.ConnectionID(name) }

// listingKey reads the arguments CONNECTION ITEM of a command, with the place from its flag.
func listingKey(connection, item, place string) stocksync.ListingKey {
	return stocksync.ListingKey{Connection: connectionID(connection), Ref: connectors.Ref{Item: item, Place: place}}
}
