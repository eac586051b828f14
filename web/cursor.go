package web

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strconv"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// A cursor is a list's letter and the key of the last row that was shown, as length-prefixed parts in URL-safe base64.
// Its content is no contract: clients hand back what they were given.
const (
	itemCursor      = 'i'
	listingCursor   = 'l'
	eventCursor     = 'e'
	incidentCursor  = 'n'
	planCursor      = 'p'
	runCursor       = 'r'
	driftCursor     = 'd'
	settingCursor   = 's'
	auditCursor     = 'a'
	reportCursor    = 'R'
	noticeCursor    = 'N'
	licenceCursor   = 'k'
	campaignCursor  = 'c'
	alertCursor     = 'A'
	orderAnew       = 'O'
	stocktakeCursor = 'C'
)

// maxCursor is the longest cursor that is looked at, in bytes.
const maxCursor = 8 << 10

func encodeCursor(list byte, parts ...string) *string {
	raw := []byte{list}
	for _, p := range parts {
		raw = binary.AppendUvarint(raw, uint64(len(p)))
		raw = append(raw, p...)
	}
	text := base64.RawURLEncoding.EncodeToString(raw)
	return &text
}

// decodeCursor fills parts from a cursor of the list. An empty cursor is the beginning: parts stay empty. Any text that
// encodeCursor does not write for this list and this number of parts is an error.
func decodeCursor(list byte, text string, parts ...*string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxCursor {
		return badCursor()
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) == 0 {
		return badCursor()
	}
	raw = raw[1:]
	values := make([]string, len(parts))
	for i := range parts {
		size, n := binary.Uvarint(raw)
		if n <= 0 || size > uint64(len(raw)-n) {
			return badCursor()
		}
		values[i] = string(raw[n : n+int(size)])
		raw = raw[n+int(size):]
	}
	// The same key has one cursor: this refuses another list's, a rest, a size in more bytes than needed and line breaks.
	if *encodeCursor(list, values...) != text {
		return badCursor()
	}
	for i, p := range parts {
		*p = values[i]
	}
	return nil
}

func badCursor() error {
	return problem(http.StatusUnprocessableEntity, "this cursor was not given by this list; pass the value of next from its last answer, or none to begin")
}

// idCursor reads a cursor of a list that is ordered by a number; 0 is the beginning.
func idCursor(list byte, text string) (int64, error) {
	var part string
	if err := decodeCursor(list, text, &part); err != nil || text == "" {
		return 0, err
	}
	id, err := strconv.ParseInt(part, 10, 64)
	if err != nil || id < 1 || formatID(id) != part {
		return 0, badCursor()
	}
	return id, nil
}

func keyCursor(list byte, text string) (stocksync.ListingKey, error) {
	var connection, item, place string
	err := decodeCursor(list, text, &connection, &item, &place)
	return listingKey(connection, item, place), err
}

func listingKey(connection, item, place string) stocksync.ListingKey {
	return stocksync.ListingKey{Connection: stock.ConnectionID(connection), Ref: connectors.Ref{Item: item, Place: place}}
}
