package shopify_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-json-experiment/json"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/shopify"
)

const exportHost = "storage.googleapis.com"

// exports is what the pretend shop knows of bulk operations.
type exports struct {
	refused   bool     // no more may run
	states    []string // that are told, one after the other, before COMPLETED
	errorCode string
	url       string // in the place of the right one
	cut       int    // bytes that are missing at the end
	size      string // in the place of the right one

	started, downloads int
	file               []byte
	objects, roots     int
}

// runExport runs the query over all items at once.
func (p *pretend) runExport(version, text string) *object {
	const typ = "BulkOperationRunQueryPayload"
	if p.exports.refused {
		return &object{typ: typ, fields: map[string]any{"bulkOperation": nil, "userErrors": []any{
			userError("BulkOperationUserError", "OPERATION_IN_PROGRESS", "A bulk query operation for this app and shop is already in progress."),
		}}}
	}
	p.exports.started++
	p.exportLines(version, text)
	return &object{typ: typ, fields: map[string]any{"bulkOperation": ref("BulkOperation", "9001"), "userErrors": []any{}}}
}

// exportLines writes the file: each item, and its variants a few lines behind it.
func (p *pretend) exportLines(version, text string) {
	t, ok := p.t.(*testing.T)
	if !ok {
		p.t.Fatal("no test")
	}
	schema := schemaOf(t, version)
	doc, errs := validate(t, schema, "the exported query", text)
	for _, e := range errs {
		p.t.Errorf("the exported query: %v", e)
	}
	root := doc.Operations[0].SelectionSet[0].(*ast.Field)
	set := root.SelectionSet[0].(*ast.Field).SelectionSet[0].(*ast.Field).SelectionSet // edges, node
	match := idAbove.FindStringSubmatch(root.ArgumentMap(nil)["query"].(string))
	if root.Name != "inventoryItems" || match == nil {
		p.t.Errorf("%s is exported", text)
		return
	}
	var plain, lists ast.SelectionSet
	for _, s := range set {
		if strings.HasSuffix(s.(*ast.Field).Definition.Type.Name(), "Connection") {
			lists = append(lists, s)
		} else {
			plain = append(plain, s)
		}
	}
	x := &execution{schema: schema, vars: nil, broken: p.t.Errorf}
	var out bytes.Buffer
	line := func(o *object, set ast.SelectionSet, parent string) {
		values := x.selection(o, set)
		if parent != "" {
			values["__parentId"] = parent
		}
		if err := json.MarshalWrite(&out, values, json.Deterministic(true)); err != nil {
			p.t.Errorf("%v", err)
		}
		out.WriteByte('\n')
		p.exports.objects++
	}
	var late []func()
	p.exports.objects, p.exports.roots = 0, 0
	for _, i := range p.items {
		if atoi(i.id) <= atoi(match[1]) {
			continue
		}
		o := p.itemObject(i)
		line(o, plain, "")
		p.exports.roots++
		for _, l := range lists {
			f := l.(*ast.Field)
			page := o.fields[f.Name].(resolver)(map[string]any{}).(*object)
			for _, child := range page.fields["nodes"].([]any) {
				late = append(late, func() {
					line(child.(*object), f.SelectionSet[0].(*ast.Field).SelectionSet[0].(*ast.Field).SelectionSet, gid("InventoryItem", i.id))
				})
			}
		}
		if len(late) > 2 {
			for _, f := range late {
				f()
			}
			late = nil
		}
	}
	for _, f := range late {
		f()
	}
	p.exports.file = out.Bytes()
}

func (p *pretend) exportState(id string) *object {
	e := &p.exports
	fields := map[string]any{"id": id, "status": "COMPLETED", "errorCode": nil, "url": nil, "fileSize": strconv.Itoa(len(e.file)), "objectCount": strconv.Itoa(e.objects),
		"rootObjectCount": strconv.Itoa(e.roots)}
	if len(e.states) > 0 {
		fields["status"] = e.states[0]
		if len(e.states) > 1 {
			e.states = e.states[1:]
		} else if e.states[0] == "CREATED" || e.states[0] == "RUNNING" {
			e.states = nil
		}
	}
	if e.errorCode != "" {
		fields["errorCode"] = e.errorCode
	}
	if e.size != "" {
		fields["fileSize"] = e.size
	}
	if fields["status"] == "COMPLETED" && e.objects > 0 {
		fields["url"] = "https://" + exportHost + "/shopify/bulk%2Fresult.jsonl?GoogleAccessId=shop&Expires=1999999999&Signature=s1gn%2Bature%3D"
		if e.url != "" {
			fields["url"] = e.url
		}
	}
	return &object{typ: "BulkOperation", fields: fields}
}

func (p *pretend) serveExport(w http.ResponseWriter, r *http.Request) {
	for name := range r.Header {
		if strings.Contains(name, "Shopify") || name == "Authorization" {
			p.t.Errorf("the header %s goes to another host", name)
		}
	}
	if r.Method != http.MethodGet || r.URL.EscapedPath() != "/shopify/bulk%2Fresult.jsonl" || r.URL.Query().Get("Signature") != "s1gn+ature=" {
		p.answer(w, 403, "<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code></Error>")
		return
	}
	p.exports.downloads++
	w.Header().Set("Content-Type", "application/jsonl")
	_, _ = w.Write(p.exports.file[:len(p.exports.file)-p.exports.cut])
}

// catalogue lists everything from a cursor on.
func catalogue(t *testing.T, m marketplace, at connectors.Cursor) ([]connectors.Listing, error) {
	t.Helper()
	var out []connectors.Listing
	for {
		page, err := m.Listings(t.Context(), at)
		if err != nil {
			return out, err
		}
		out = append(out, page.Rows...)
		if at = page.Next; at == "" {
			return out, nil
		}
	}
}

// behind is the cursor of the last page before the rest is exported.
func behind(p *pretend) connectors.Cursor {
	last := p.items[49*60-1].id
	return connectors.Cursor(fmt.Sprintf("0:0:%s:49:cursor-gid://shopify/InventoryItem/%s", last, last))
}

// TestExportCalls lists 50,000 listings by export and by pages: the same listings, by less than a tenth of the calls.
func TestExportCalls(t *testing.T) {
	t.Parallel()
	schemaOf(t, "2026-07")
	const items = 50_000
	p := newPretend(t, items)
	calls := map[string]int{}
	lists := map[string][]connectors.Listing{}
	for _, bulk := range []string{"true", "false"} {
		synctest.Test(t, func(t *testing.T) {
			p.asked, p.exports.states = nil, []string{"CREATED", "RUNNING", "RUNNING"}
			var err error
			if lists[bulk], err = catalogue(t, open(t, p, "bulk", bulk), ""); err != nil {
				t.Fatal(err)
			}
			calls[bulk] = len(p.asked)
		})
	}
	calls["true"] += p.exports.downloads
	t.Logf("%d listings: %d calls by export, %d by pages", items, calls["true"], calls["false"])
	if calls["true"]*10 > calls["false"] || p.exports.started != 1 || p.exports.downloads != 1 {
		t.Errorf("%d calls by export, %d by pages; %d exports were started and %d downloaded", calls["true"], calls["false"], p.exports.started, p.exports.downloads)
	}
	if len(lists["false"]) != items || !slices.Equal(lists["true"], lists["false"]) {
		t.Errorf("%d listings by export, %d by pages, or they differ", len(lists["true"]), len(lists["false"]))
	}
}

// Whatever becomes of an export, every listing is told as it is, or an error is.
func TestExportThatFails(t *testing.T) {
	schemaOf(t, "2026-07")
	const items = 3100 // more than are read in pages
	for name, try := range map[string]struct {
		exports   exports
		kind      connectors.ErrorKind
		text      string
		downloads int
	}{
		"refused":               {exports: exports{refused: true}},
		"failed":                {exports: exports{states: []string{"RUNNING", "FAILED"}, errorCode: "INTERNAL_SERVER_ERROR"}},
		"timed out":             {exports: exports{states: []string{"FAILED"}, errorCode: "TIMEOUT"}},
		"cancelled":             {exports: exports{states: []string{"CANCELING"}}},
		"expired":               {exports: exports{states: []string{"EXPIRED"}}},
		"elsewhere":             {exports: exports{url: "https://elsewhere.example/shopify/bulk%2Fresult.jsonl?Signature=s1gn%2Bature%3D"}},
		"in the clear":          {exports: exports{url: "http://" + exportHost + "/shopify/bulk%2Fresult.jsonl?Signature=s1gn%2Bature%3D"}},
		"with a user":           {exports: exports{url: "https://" + exportHost + "@elsewhere.example/"}},
		"too large":             {exports: exports{size: strconv.Itoa(1 << 40)}},
		"for ever at work":      {exports: exports{states: slices.Repeat([]string{"RUNNING"}, 2000)}},
		"not allowed":           {exports: exports{states: []string{"FAILED"}, errorCode: "ACCESS_DENIED"}, kind: connectors.Auth, text: "access scopes"},
		"cut off at a line":     {exports: exports{cut: -1}, kind: connectors.Retryable, text: "cut off", downloads: 1},
		"cut off within a line": {exports: exports{cut: 9}, kind: connectors.Retryable, text: "cannot be read", downloads: 1},
		"empty":                 {exports: exports{cut: -2}, kind: connectors.Retryable, text: "0 lines", downloads: 1},
		"address that is old":   {exports: exports{url: "https://" + exportHost + "/shopify/bulk%2Fresult.jsonl?Signature=o1d"}, kind: connectors.Auth, text: "403"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPretend(t, items)
				p.exports = try.exports
				m := open(t, p, "bulk", "true")
				if p.exports.cut < 0 { // known only once there is a file
					whole := p.exports.cut == -2
					p.exports.cut = 0
					p.exportLines("2026-07", fmt.Sprintf(shopify.ExportDocument, p.items[2999].id, gid("Location", p.locations[0].id)))
					p.exports.cut = len(p.exports.file)
					if !whole {
						p.exports.cut -= 1 + bytes.LastIndexByte(p.exports.file[:len(p.exports.file)-1], '\n')
					}
				}
				listings, err := catalogue(t, m, behind(p))
				if connectors.KindOf(err) != try.kind || err != nil && !strings.Contains(err.Error(), try.text) {
					t.Errorf("%v", err)
				}
				if err != nil && strings.Contains(err.Error(), "Signature=") {
					t.Errorf("the address of the file stands in: %v", err)
				}
				if want := map[bool]int{true: items - 49*60, false: 60}[err == nil]; len(listings) != want || p.exports.downloads != try.downloads {
					t.Errorf("%d listings, not %d, after %d downloads", len(listings), want, p.exports.downloads)
				}
				for _, l := range listings {
					if l.Quantity != 10 {
						t.Fatalf("%s shows %d", l.Ref, l.Quantity)
					}
				}
			})
		})
	}
}

// Each location is exported by itself, and where there are several, only what is stocked there is listed.
func TestExportOfLocations(t *testing.T) {
	schemaOf(t, "2026-07")
	synctest.Test(t, func(t *testing.T) {
		const items = 3070
		p := newPretend(t, items)
		second := p.addLocation("Shop")
		for n, i := range p.items {
			if n%2 == 0 {
				q := n
				i.levels[second] = &q
			}
		}
		listings, err := catalogue(t, open(t, p, "bulk", "true", "locations", p.locations[0].id+","+second), "")
		if err != nil || len(listings) != items+items/2 || p.exports.started != 2 || p.exports.downloads != 2 {
			t.Errorf("%d listings, %d exports: %v", len(listings), p.exports.started, err)
		}
		for _, l := range listings {
			if n := atoi(strings.TrimPrefix(l.SKU, "SKU-")); l.Ref.Place == second && int(l.Quantity) != n {
				t.Fatalf("%s shows %d, not %d", l.Ref, l.Quantity, n)
			}
		}
	})
}

func TestExportCursors(t *testing.T) {
	p := newPretend(t, 3)
	schemaOf(t, "2026-07")
	m := open(t, p, "bulk", "true")
	for _, at := range []connectors.Cursor{"export:", "export:0:1:2:3", "export:9:1:2:0:0", "export:-1:1:2:0:0", "export:0:x:2:0:0", "export:0:1:y:0:0", "export:0:1:2:-1:0", "export:0:1:2:0:99999999999", "export:0:1:2:0:0:0"} {
		if _, err := m.Listings(t.Context(), at); connectors.KindOf(err) != connectors.Rejected {
			t.Errorf("%q: %v", at, err)
		}
	}
}

// FuzzExport reads any file without a panic, and never tells more items than lines.
func FuzzExport(f *testing.F) {
	f.Add([]byte(`{"id":"gid://shopify/InventoryItem/1","sku":"A","tracked":true,"updatedAt":"2026-01-01T00:00:00Z","inventoryLevel":null}` + "\n" +
		`{"id":"gid://shopify/ProductVariant/2","inventoryPolicy":"DENY","displayName":"a","barcode":null,"product":{"status":"ACTIVE"},"__parentId":"gid://shopify/InventoryItem/1"}` + "\n"))
	f.Add([]byte("{}\n[]\n"))
	f.Add([]byte(`{"id":"gid://shopify/InventoryItem/1","quantity":1e309}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		lines, items, err := shopify.ReadExport(bytes.NewReader(file))
		if uint64(items) > lines || err != nil && items > 0 {
			t.Errorf("%d items of %d lines, %v", items, lines, err)
		}
	})
}
