package shopify

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/connectors/rest"
)

// The export of listings by a bulk operation: Shopify runs a query over all of its pages, and puts the result into a file of
// JSON lines. One that is not to be had, for whatever reason, is made up for by pages.
//
// https://shopify.dev/docs/api/usage/bulk-operations/queries

const (
	// exportAfter is how many pages are read before the rest is exported: an export takes its time to begin.
	exportAfter  = 50
	exportPrefix = "export:"
	// exportHost is where the files are in all of Shopify's examples. The address comes in an answer, and nothing is asked of
	// another host.
	exportHost = "storage.googleapis.com"
	// exportBytes bounds a file; a listing takes about 500 bytes.
	exportBytes = 256 << 20
	exportTime  = 5 * time.Minute
	// exportRows is how many listings of a file make a page.
	exportRows = 1000
	// exportLook is how often it is asked whether the export is done, looksPerCall how often in one call, and mostLooks how
	// often at all: an hour.
	exportLook   = 2 * time.Second
	looksPerCall = 5
	mostLooks    = 1800
)

// exportCursor is a place in an export: of the items above the id after, at the location with the ordinal, by the bulk operation
// with the number id. Looks is how often it was asked for, and offset how many items of the file were listed.
type exportCursor struct {
	location      int
	after, id     string
	looks, offset int
}

func (c exportCursor) encode() connectors.Cursor {
	return connectors.Cursor(fmt.Sprintf("%s%d:%s:%s:%d:%d", exportPrefix, c.location, c.after, c.id, c.looks, c.offset))
}

func parseExportCursor(text string) (exportCursor, error) {
	bad := fmt.Errorf("%q is not a cursor of an export", text)
	parts := strings.Split(text, ":")
	if len(parts) != 5 || !isNumber(parts[1]) || !isNumber(parts[2]) {
		return exportCursor{}, bad
	}
	c := exportCursor{after: parts[1], id: parts[2]}
	for i, to := range map[int]*int{0: &c.location, 3: &c.looks, 4: &c.offset} {
		n, err := strconv.ParseInt(parts[i], 10, 32)
		if err != nil || n < 0 {
			return exportCursor{}, bad
		}
		*to = int(n)
	}
	if c.location > maxLocations {
		return exportCursor{}, bad
	}
	return c, nil
}

// inPages is the cursor with which the list goes on in pages.
func (c exportCursor) inPages() connectors.Cursor {
	return listingCursor{location: c.location, paged: true, begin: c.after, last: c.after}.encode()
}

// export has Shopify export the items behind a page. Where it will not, because as many exports as it allows are running, the
// list goes on in pages. Nothing in the shop is changed by it, so that it counts as a read.
func (s *shop) export(ctx context.Context, op string, at location, behind listingCursor) (connectors.Cursor, error) {
	data, err := ask[runExportData](ctx, s, graphql.Request{Op: op, Document: runExportDocument, Variables: runExportVariables{
		Query: fmt.Sprintf(exportDocument, behind.last, gid("Location", at.id)),
	}})
	if err != nil {
		return "", err
	}
	behind.paged = true
	made := data.BulkOperationRunQuery
	if made == nil || made.BulkOperation == nil {
		return behind.encode(), nil
	}
	id, ok := number("BulkOperation", made.BulkOperation.ID)
	if !ok {
		return behind.encode(), nil
	}
	return exportCursor{location: behind.location, after: behind.last, id: id}.encode(), nil
}

// exported lists what an export has. While Shopify is at work the pages are empty.
func (s *shop) exported(ctx context.Context, op, place string) (connectors.Page[connectors.Listing], error) {
	none := connectors.Page[connectors.Listing]{}
	cursor, err := parseExportCursor(place)
	if err != nil {
		return none, connectors.Rejectedf(op, "", "%w", err)
	}
	known, err := s.facts(ctx, op)
	if err != nil {
		return none, err
	}
	if cursor.location >= len(known.locations) {
		return none, connectors.Rejectedf(op, "", "the list of listings was begun with more locations than there are; begin it anew")
	}
	s.exportMu.Lock()
	defer s.exportMu.Unlock()
	if s.file == nil || s.file.id != cursor.id {
		state, err := s.await(ctx, op, &cursor)
		switch {
		case err != nil:
			return none, err
		case state == nil && cursor.looks < mostLooks:
			return connectors.Page[connectors.Listing]{Next: cursor.encode()}, nil
		case !s.usable(state):
			return connectors.Page[connectors.Listing]{Next: cursor.inPages()}, nil
		}
		if s.file, err = s.download(ctx, op, cursor.id, state); err != nil {
			return none, err
		}
	}
	return s.exportPage(op, known, cursor)
}

// usable reports whether there is a file to be read. What was exported before an operation failed (partialDataUrl) is none.
func (s *shop) usable(state *exportState) bool {
	why := "it did not come to an end in time"
	if state != nil {
		size, err := strconv.ParseUint(state.Size, 10, 63)
		switch u, urlErr := url.Parse(state.URL); {
		case state.Status != "COMPLETED":
			why = "Shopify says " + state.Status + " " + state.ErrorCode
		case state.URL == "":
			return true // without objects there is no file
		case urlErr != nil || u.Scheme != "https" || u.Host != exportHost || u.User != nil:
			why = "it does not lie at https://" + exportHost
		case err == nil && size > exportBytes:
			why = fmt.Sprintf("its %d bytes are more than the %d that are taken", size, exportBytes)
		default:
			return true
		}
	}
	if s.env.Log != nil {
		s.env.Log.Warn("the listings are read in pages: no export is to be had", "connection", s.env.Connection, "reason", s.client.Redact(why))
	}
	return false
}

// exportPage is a page of the file.
func (s *shop) exportPage(op string, known *facts, cursor exportCursor) (connectors.Page[connectors.Listing], error) {
	none := connectors.Page[connectors.Listing]{}
	page := connectors.Page[connectors.Listing]{}
	end := min(len(s.file.items), cursor.offset+exportRows)
	if cursor.offset > end {
		return none, connectors.Rejectedf(op, "", "the cursor lies behind the end of the export; begin the list anew")
	}
	at := known.locations[cursor.location]
	for _, i := range s.file.items[cursor.offset:end] {
		l, stocked, err := i.listing(known.place(at))
		if err != nil {
			return none, s.missing(op, err.Error())
		}
		if stocked || len(known.locations) == 1 {
			page.Rows = append(page.Rows, l)
		}
	}
	switch {
	case end < len(s.file.items):
		cursor.offset = end
		page.Next = cursor.encode()
		return page, nil
	case cursor.location+1 < len(known.locations):
		page.Next = listingCursor{location: cursor.location + 1, begin: "0", last: "0"}.encode()
	}
	s.file = nil
	return page, nil
}

// await asks how the export stands, for some seconds. While it is at work, the state is nil.
func (s *shop) await(ctx context.Context, op string, cursor *exportCursor) (*exportState, error) {
	for look := 0; ; look++ {
		data, err := ask[exportStateData](ctx, s, graphql.Request{Op: op, Document: exportStateDocument, Variables: exportStateVariables{ID: gid("BulkOperation", cursor.id)}})
		if err != nil {
			return nil, err
		}
		state := data.Node
		switch {
		case state == nil:
			return &exportState{Status: "EXPIRED"}, nil
		case state.Status == "FAILED" && state.ErrorCode == "ACCESS_DENIED":
			return nil, s.client.Refusal(connectors.Auth, op, state.ErrorCode, "the app may not export the listings: in the Dev Dashboard, give a version of it the access scopes of the guide, and install that version")
		case state.Status != "CREATED" && state.Status != "RUNNING":
			return state, nil
		}
		cursor.looks++
		if look+1 >= looksPerCall || cursor.looks >= mostLooks {
			return nil, nil
		}
		timer := time.NewTimer(exportLook)
		select {
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, nil // the next call goes on
		case <-timer.C:
		}
	}
}

// exportFile is an export, read and found to be whole.
type exportFile struct {
	id    string
	items []*item
}

// download reads the file of a completed export. One with fewer lines than Shopify counted was cut off: it is not used.
func (s *shop) download(ctx context.Context, op, id string, state *exportState) (*exportFile, error) {
	objects, errObjects := strconv.ParseUint(state.Objects, 10, 63)
	roots, errRoots := strconv.ParseUint(state.Roots, 10, 63)
	switch {
	case errObjects != nil || errRoots != nil:
		return nil, s.missing(op, "the numbers of the objects of an export")
	case state.URL == "" && objects == 0:
		return &exportFile{id: id}, nil
	case state.URL == "":
		return nil, s.missing(op, "the address of an export")
	}
	u, err := url.Parse(state.URL)
	if err != nil {
		return nil, s.missing(op, "the address of an export")
	}
	// The address is a secret: it opens the file.
	client, err := rest.New(rest.Config{BaseURL: "https://" + exportHost, Transport: s.env.Transport, Log: s.env.Log, Timeout: exportTime, MaxBody: exportBytes,
		Secrets: secretsOf(u)})
	if err != nil {
		return nil, connectors.Rejectedf(op, "", "%w", err)
	}
	if s.env.Transport == nil {
		defer func() { _ = client.Close() }()
	}
	var file *exportFile
	err = client.Do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: u.EscapedPath(), Query: u.Query(), Read: func(r io.Reader) error {
		lines, read, err := readExport(r)
		switch {
		case err != nil:
			return s.client.Refusal(connectors.Retryable, op, "", "the export cannot be read: "+err.Error())
		case lines != objects || uint64(len(read)) != roots:
			return s.client.Refusal(connectors.Retryable, op, "", fmt.Sprintf("the export has %d lines and %d items, and Shopify counted %d and %d: it was cut off; where that stays so, set %s to false",
				lines, len(read), objects, roots, settingBulk))
		}
		file = &exportFile{id: id, items: read}
		return nil
	}}, nil)
	return file, err
}

// secretsOf are the parts of an address that no error and no log line may contain.
func secretsOf(u *url.URL) []string {
	secrets := []string{u.RawQuery}
	for _, values := range u.Query() {
		for _, v := range values {
			const short = 8 // a word such as a version, which may stand anywhere
			if len(v) > short {
				secrets = append(secrets, v)
			}
		}
	}
	return secrets
}

// exportLine is an item, or, with a parent, a variant of one.
type exportLine struct {
	item
	Parent string `json:"__parentId"`
	variant
}

// readExport reads the lines of a file. A variant comes behind its item, but not always right behind it.
func readExport(r io.Reader) (lines uint64, items []*item, err error) {
	const longest = 1 << 20
	byID := make(map[string]*item)
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 64<<10), longest)
	for in.Scan() {
		lines++
		var l exportLine
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return lines, nil, fmt.Errorf("line %d: %w", lines, rest.ExplainJSON(err))
		}
		if l.Parent == "" {
			i := l.item
			if _, ok := number("InventoryItem", i.ID); !ok || byID[i.ID] != nil {
				return lines, nil, fmt.Errorf("line %d is of no item, or of one that was there before", lines)
			}
			byID[i.ID] = &i
			items = append(items, &i)
			continue
		}
		parent := byID[l.Parent]
		if parent == nil {
			return lines, nil, fmt.Errorf("line %d belongs to an item that was not there", lines)
		}
		parent.addVariant(l.variant)
	}
	if err := in.Err(); err != nil {
		return lines, nil, cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return lines, slices.Clip(items), nil
}
