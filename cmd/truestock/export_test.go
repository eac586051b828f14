package main_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

const exportRows = 40

func exportSKU(i int) string { return fmt.Sprintf("EXP-%02d", i) }

// scripted is a system of record that answers GET /levels as it is told.
type scripted struct {
	positions bool

	mu     sync.Mutex
	levels http.HandlerFunc
	asked  int
}

func (s *scripted) tell(levels http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levels, s.asked = levels, 0
}

// reads is how often the levels were asked for since the last tell.
func (s *scripted) reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// ServeHTTP answers the calls of protocol.md §3.
func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/capabilities":
		_, _ = fmt.Fprintf(w, `{"name":"scripted","levels":"on_hand","positions":%t,"complete_levels":true}`, s.positions)
	case "/locations":
		_, _ = io.WriteString(w, `{"locations":[{"id":"main","name":"Main"}]}`)
	case "/items":
		items := make([]open.Item, exportRows)
		for i := range items {
			items[i].SKU = exportSKU(i)
		}
		writeJSON(w, open.ItemsPage{Items: items})
	case "/movements":
		_, _ = io.WriteString(w, `{"facts":[],"next":null}`)
	case "/levels":
		s.mu.Lock()
		levels := s.levels
		s.asked++
		s.mu.Unlock()
		levels(w, r)
	default:
		http.NotFound(w, r)
	}
}

func writeJSON(w io.Writer, v any) {
	_ = json.MarshalWrite(w, v) // a client that went away
}

// sheet is an export: what stands in the rows, as JSON, and what is said of the whole. It is told in pages of twenty.
type sheet struct {
	rows  []string
	count int
	// place is the position or the instant of the export, as members of a page.
	place string
}

func row(sku, location, quantity string) string {
	return fmt.Sprintf(`{"sku":%q,"location":%q,"quantity":%s}`, sku, location, quantity)
}

// page is the text of one page.
func (s sheet) page(n int) string {
	const size = 20
	rows := s.rows[min(len(s.rows), n*size):min(len(s.rows), (n+1)*size)]
	next := "null"
	if (n+1)*size < len(s.rows) {
		next = fmt.Sprintf(`"page %d"`, n+1)
	}
	return fmt.Sprintf(`{"levels":[%s],"next":%s,%s,"count":%d}`, strings.Join(rows, ","), next, s.place, s.count)
}

func pageOf(r *http.Request) (n int) {
	_, _ = fmt.Sscanf(r.URL.Query().Get("cursor"), "page %d", &n) // without one it is the first
	return n
}

// ServeHTTP tells the export.
func (s sheet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, s.page(pageOf(r)))
}

// each returns the export with the quantities, or whole rows, replaced.
func (s sheet) each(row func(i int, sku string) string) sheet {
	s.rows = slices.Clone(s.rows)
	for i := range s.rows {
		s.rows[i] = row(i, exportSKU(i))
	}
	return s
}

// one returns the export with one row replaced.
func (s sheet) one(i int, row string) sheet {
	s.rows = slices.Clone(s.rows)
	s.rows[i] = row
	return s
}

// The ways in which an export is refused, wholly or in part.
const (
	// asPlan: what is suspicious waits for a person.
	asPlan = "a held plan"
	// asPartial and asStale: an incident tells of it.
	asPartial = "partial_export"
	asStale   = "stale_export"
	// asError: the connection says what went wrong.
	asError = "an error of the connection"
	// asNothing: what is strange about it is no reason to refuse anything.
	asNothing = ""
)

// malformed is one way in which an export goes wrong. tell turns the true one into it.
type malformed struct {
	name    string
	refused string
	tell    func(x exporting, good sheet) http.HandlerFunc
}

func same(quantity string) func(x exporting, good sheet) http.HandlerFunc {
	return func(_ exporting, good sheet) http.HandlerFunc {
		return good.each(func(_ int, sku string) string { return row(sku, "main", quantity) }).ServeHTTP
	}
}

func oneRow(text string) func(x exporting, good sheet) http.HandlerFunc {
	return func(_ exporting, good sheet) http.HandlerFunc { return good.one(25, text).ServeHTTP }
}

// second answers the first page as it is and the second otherwise.
func second(otherwise http.HandlerFunc) func(x exporting, good sheet) http.HandlerFunc {
	return func(_ exporting, good sheet) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if pageOf(r) == 0 {
				good.ServeHTTP(w, r)
				return
			}
			otherwise(w, r)
		}
	}
}

var malformedExports = []malformed{
	{"empty list", asPartial, func(_ exporting, good sheet) http.HandlerFunc {
		good.rows, good.count = nil, 0
		return good.ServeHTTP
	}},
	{"empty list with the old count", asPartial, func(_ exporting, good sheet) http.HandlerFunc {
		good.rows = nil
		return good.ServeHTTP
	}},
	{"null list", asPartial, func(_ exporting, good sheet) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"levels":null,"next":null,%s,"count":0}`, good.place)
		}
	}},
	{"page 2 does not answer", asError, second(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
	{"page 2 answers 500", asError, second(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{}`, http.StatusInternalServerError) })},
	{"page 2 is page 1 again", asPartial, func(_ exporting, good sheet) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if pageOf(r) == 0 {
				good.ServeHTTP(w, r)
				return
			}
			_, _ = io.WriteString(w, strings.Replace(good.page(0), `"page 1"`, "null", 1))
		}
	}},
	{"pages without an end", asPartial, func(_ exporting, good sheet) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, good.page(0)) }
	}},
	{"null quantity", asPartial, oneRow(row(exportSKU(25), "main", "null"))},
	{"every quantity null", asPartial, same("null")},
	{"missing quantity", asPartial, oneRow(`{"sku":"EXP-25","location":"main"}`)},
	{"negative quantities", asPlan, same("-5")},
	{"fractional quantity", asPartial, oneRow(row(exportSKU(25), "main", "0.5"))},
	{"huge quantity", asPartial, oneRow(row(exportSKU(25), "main", "99999999999999"))},
	{"quantity beyond 64 bits", asPartial, oneRow(row(exportSKU(25), "main", "99999999999999999999999"))},
	{"text as quantity", asPartial, oneRow(row(exportSKU(25), "main", `"0"`))},
	{"wrong location", asPlan, func(_ exporting, good sheet) http.HandlerFunc {
		return good.each(func(_ int, sku string) string { return row(sku, "mian", "0") }).ServeHTTP
	}},
	{"the day before", asStale, func(x exporting, good sheet) http.HandlerFunc {
		good.place = x.place(-1000)
		return good.each(func(_ int, sku string) string { return row(sku, "main", "0") }).ServeHTTP
	}},
	{"column shift", asPlan, same("1")},
	{"all zero", asPlan, same("0")},
	{"another unit", asPlan, same("20000")},
	{"twice the member quantity", asPartial, oneRow(`{"sku":"EXP-25","location":"main","quantity":20,"quantity":0}`)},
	// Names are case-sensitive, and unknown ones are skipped: the quantity is the one that is called so.
	{"a member Quantity beside quantity", asNothing, func(_ exporting, good sheet) http.HandlerFunc {
		return good.each(func(i int, _ string) string {
			return strings.Replace(good.rows[i], "}", `,"Quantity":0,"QUANTITY":0}`, 1)
		}).ServeHTTP
	}},
	{"only a member QUANTITY", asPartial, func(_ exporting, good sheet) http.HandlerFunc {
		return good.each(func(i int, _ string) string { return strings.Replace(good.rows[i], "quantity", "QUANTITY", 1) }).ServeHTTP
	}},
	{"a second document behind the first", asError, func(_ exporting, good sheet) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			good.ServeHTTP(w, r)
			_, _ = io.WriteString(w, `{"levels":[],"next":null,"count":0}`)
		}
	}},
	{"cut off in the middle", asError, func(_ exporting, good sheet) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			text := good.page(pageOf(r))
			_, _ = io.WriteString(w, text[:len(text)/2])
		}
	}},
	{"a page for people", asError, func(exporting, sheet) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<!doctype html><title>Sign in</title><h1>Sign in</h1>")
		}
	}},
	{"an empty answer", asError, func(exporting, sheet) http.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) {}
	}},
	{"half of the articles are missing", asPartial, func(_ exporting, good sheet) http.HandlerFunc {
		good.rows, good.count = good.rows[:exportRows/2], exportRows/2
		return good.ServeHTTP
	}},
	{"page 2 is of an earlier position", asPartial, func(x exporting, good sheet) http.HandlerFunc {
		other := good
		other.place = x.place(-1)
		other = other.each(func(_ int, sku string) string { return row(sku, "main", "0") })
		return second(other.ServeHTTP)(x, good)
	}},
	{"count tells of more", asPartial, func(_ exporting, good sheet) http.HandlerFunc {
		good.count = exportRows + 60
		return good.ServeHTTP
	}},
	{"count tells of fewer", asPartial, func(_ exporting, good sheet) http.HandlerFunc {
		good.count = exportRows - 10
		return good.ServeHTTP
	}},
	{"the same article twice, with two quantities", asPartial, func(_ exporting, good sheet) http.HandlerFunc {
		good.rows = append(slices.Clone(good.rows), row(exportSKU(1), "main", "0"))
		good.count++
		return good.ServeHTTP
	}},
}

// exporting is a house whose system of record only tells exports, and whose shop has forty listings.
type exporting struct {
	t      *testing.T
	h      *house
	s      *server
	source *scripted
	shop   *fake.Shop
	told   *int // how many good exports were told
	began  time.Time
}

func newExporting(t *testing.T, h *house, positions bool) exporting {
	t.Helper()
	x := exporting{t: t, h: h, source: &scripted{positions: positions}, told: new(int), began: time.Now().UTC()}
	h.connect("warehouse", "system_of_record", h.reach(x.source))
	x.shop = h.addShop("shop", fake.ShopConfig{})
	rows := make([]string, exportRows)
	for i := range rows {
		x.shop.AddListing(open.Listing{Item: exportSKU(i)})
		rows[i] = fmt.Sprintf("shop,%s,,%s,1", exportSKU(i), exportSKU(i))
	}
	x.source.tell(x.next().ServeHTTP)
	x.s = h.start()
	x.s.imports(rows...)
	x.healed()
	return x
}

// place is where an export stands, so many good ones after the newest, as members of a page.
func (x exporting) place(after int) string {
	if x.source.positions {
		return fmt.Sprintf(`"position":%d`, 5000+*x.told*10+after)
	}
	at := x.began.Add(-time.Hour + time.Duration(*x.told*10+after)*time.Second)
	return fmt.Sprintf(`"as_of":%q`, at.Format(time.RFC3339Nano))
}

// quantity is what the newest good export says: near what the one before said.
func (x exporting) quantity() int64 { return 20 + int64(*x.told%3) }

// next is the export that comes next, as it should be.
func (x exporting) next() sheet {
	*x.told++
	s := sheet{rows: make([]string, exportRows), count: exportRows, place: x.place(0)}
	return s.each(func(_ int, sku string) string { return row(sku, "main", fmt.Sprint(x.quantity())) })
}

// exportRun is how a reconciliation went that read the export.
type exportRun struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Message string `json:"message"`
}

// read has the export read that the source tells now, to its end or to its failure.
func (x exporting) read() (run exportRun) {
	x.t.Helper()
	x.h.eventually("no other reconciliation is running", func() error {
		a := x.s.call(http.MethodPost, "/reconcile", "", "")
		if a.status != http.StatusAccepted {
			return fmt.Errorf("it is answered %d: %s", a.status, a.body)
		}
		return json.Unmarshal([]byte(a.body), &run)
	})
	x.h.eventually("the export was read", func() (err error) {
		if run, err = tryGet[exportRun](x.s, "/reconcile/"+run.ID); err == nil && run.State == "running" {
			err = errors.New("the reconciliation is running")
		}
		return err
	})
	if x.source.reads() == 0 {
		x.t.Error("the levels were not asked for")
	}
	x.s.applied()
	x.s.settled()
	return run
}

// healed waits until every listing shows what the newest good export says.
func (x exporting) healed() {
	x.t.Helper()
	x.h.eventually("a good export puts everything right", func() error {
		for i := range exportRows {
			if shown, _ := x.shop.Quantity(exportSKU(i), ""); shown != x.quantity() {
				return fmt.Errorf("%s shows %d, want %d", exportSKU(i), shown, x.quantity())
			}
		}
		return nil
	})
	x.s.settled()
}

// quiet checks that since the write given nothing was zeroed, and nothing fell by half and more.
func (x exporting) quiet(since int) {
	x.t.Helper()
	for _, w := range x.shop.Writes()[since:] {
		if w.Quantity == 0 || w.After*2 <= w.Before {
			x.t.Errorf("the shop was told %d of %s, which showed %d", w.Quantity, w.Item, w.Before)
		}
	}
}

func (x exporting) heldPlans() []planView {
	x.t.Helper()
	return get[list[planView]](x.s, "/plans?state=held").Data
}

// refusal checks that a person is told what was refused.
func (x exporting) refusal(as string, run exportRun) {
	x.t.Helper()
	incidents := make(map[string]string)
	for _, i := range all[incidentView](x.s, "/incidents?open=true") {
		if i.Subject == "warehouse" {
			incidents[i.Kind] = i.Message
		}
	}
	switch plans := x.heldPlans(); as {
	case asPlan:
		if len(plans) != 1 || len(plans[0].Changes) != exportRows || !strings.Contains(plans[0].Reason, "mistake") {
			x.t.Errorf("held are %d plans, want one with %d changes", len(plans), exportRows)
		}
	case asPartial, asStale:
		if incidents[as] == "" {
			x.t.Errorf("no incident %s is open: %v", as, incidents)
		}
	case asError:
		if run.State != "failed" || !strings.Contains(run.Message, "warehouse") {
			x.t.Errorf("nobody is told: the reconciliation is %+v", run)
		}
	default:
		if len(plans) > 0 || len(incidents) > 0 {
			x.t.Errorf("refused were %+v and %v, want nothing", plans, incidents)
		}
	}
}

// bothKinds runs a test with a source that numbers its positions, on both databases, and with one that tells an instant.
func bothKinds(t *testing.T, test func(t *testing.T, x exporting)) {
	t.Helper()
	onBoth(t, func(t *testing.T, h *house) { test(t, newExporting(t, h, true)) })
	t.Run("instants", func(t *testing.T) {
		t.Parallel()
		test(t, newExporting(t, newHouse(t), false))
	})
}

// No malformed export zeroes a listing or lets many fall; somebody is told of it; the next good one puts everything right.
func TestMassZeroExports(t *testing.T) {
	bothKinds(t, func(t *testing.T, x exporting) {
		for _, m := range malformedExports {
			t.Run(m.name, func(t *testing.T) {
				x := x
				x.t = t
				since := x.shop.WriteCount()
				good := x.next()
				x.source.tell(m.tell(x, good))
				run := x.read()
				x.quiet(since)
				x.refusal(m.refused, run)
				x.source.tell(x.next().ServeHTTP)
				run = x.read()
				x.healed()
				x.quiet(since)
				x.refusal(asNothing, run)
			})
		}
	})
}

// What an export had held back goes out once a person approves it.
func TestMassZeroExportApproved(t *testing.T) {
	bothKinds(t, func(t *testing.T, x exporting) {
		since := x.shop.WriteCount()
		bad := x.next().each(func(_ int, sku string) string { return row(sku, "main", "0") })
		x.source.tell(bad.ServeHTTP)
		x.read()
		x.quiet(since)
		plans := x.heldPlans()
		if len(plans) != 1 || len(plans[0].Changes) != exportRows {
			t.Fatalf("held is %+v, want one plan of %d changes", plans, exportRows)
		}
		// The same export again asks nobody a second time.
		bad.place = x.place(1)
		x.source.tell(bad.ServeHTTP)
		x.read()
		if again := x.heldPlans(); len(again) != 1 || again[0].ID != plans[0].ID {
			t.Errorf("held is %+v, want only plan %s", again, plans[0].ID)
		}
		x.h.must(exitOK, "plans", "approve", plans[0].ID)
		for i := range exportRows {
			x.h.shows("shop", exportSKU(i), 0)
		}
		x.s.settled()
		x.h.eventually("the plan is applied", func() error {
			p, err := tryGet[planView](x.s, "/plans/"+plans[0].ID)
			if err == nil && p.State != "applied" {
				err = fmt.Errorf("it is %s", p.State)
			}
			return err
		})
		x.source.tell(x.next().ServeHTTP)
		x.read()
		x.healed()
	})
}

// What a person rejected is not asked again while the export says the same, and nothing of it goes out.
func TestMassZeroExportRejected(t *testing.T) {
	bothKinds(t, func(t *testing.T, x exporting) {
		since := x.shop.WriteCount()
		bad := x.next().each(func(_ int, sku string) string { return row(sku, "main", "1") })
		x.source.tell(bad.ServeHTTP)
		x.read()
		plans := x.heldPlans()
		if len(plans) != 1 || len(plans[0].Changes) != exportRows {
			t.Fatalf("held is %+v, want one plan of %d changes", plans, exportRows)
		}
		if a := x.s.call(http.MethodPost, "/plans/"+plans[0].ID+"/reject", "", ""); a.status != http.StatusOK {
			t.Fatalf("reject is answered %d: %s", a.status, a.body)
		}
		for again := range 2 {
			bad.place = x.place(again + 1)
			x.source.tell(bad.ServeHTTP)
			x.read()
			if held := x.heldPlans(); len(held) > 0 {
				t.Errorf("a person is asked again about what was rejected: %+v", held)
			}
		}
		// Something else is a new question.
		other := x.next().each(func(_ int, sku string) string { return row(sku, "main", "0") })
		x.source.tell(other.ServeHTTP)
		x.read()
		if held := x.heldPlans(); len(held) != 1 {
			t.Errorf("held is %+v, want one plan about the zeroes", held)
		}
		x.quiet(since)
		x.source.tell(x.next().ServeHTTP)
		x.read()
		x.healed()
		x.quiet(since)
		if held := x.heldPlans(); len(held) > 0 {
			t.Errorf("held is still %+v after a good export", held)
		}
	})
}

// One article that is sold out is no mistake: it goes to zero at once, whether a webhook or an export says so.
func TestMassZeroGuardPassesOne(t *testing.T) {
	bothKinds(t, func(t *testing.T, x exporting) {
		*x.told++
		data := fmt.Sprintf(`{"sku":%q,"location":"main","quantity":0,%s}`, exportSKU(7), x.place(0))
		x.s.deliver("warehouse", "sold out", event("stock.level", data))
		x.h.shows("shop", exportSKU(7), 0)
		x.source.tell(x.next().one(7, row(exportSKU(7), "main", "0")).one(8, row(exportSKU(8), "main", "0")).ServeHTTP)
		x.read()
		x.h.shows("shop", exportSKU(8), 0)
		x.h.shows("shop", exportSKU(9), x.quantity())
		if held := x.heldPlans(); len(held) > 0 {
			t.Errorf("held is %+v, want nothing", held)
		}
	})
}
