package main_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
)

// tradingHouse is a warehouse with teas and pots, and two shops that sell them: single, in packs of six, and as a set.
func tradingHouse(t *testing.T, h *house) {
	t.Helper()
	w := h.addWarehouse(fake.WarehouseConfig{Capabilities: open.RecordCapabilities{Levels: fake.OnHand, Positions: true, CompleteLevels: true, OrderAmend: true}})
	for sku, opening := range map[string]int64{"TEA": 10, "POT": 4} {
		w.AddItem(open.Item{SKU: sku, Name: sku, Kind: "physical"})
		if err := w.SetOpening(sku, "main", opening); err != nil {
			t.Fatal(err)
		}
	}
	a := h.addShop("a", fake.ShopConfig{Capabilities: open.MarketplaceCapabilities{Shipments: true}}, "orders_to: warehouse")
	for _, item := range []string{"single", "six", "set"} {
		a.AddListing(open.Listing{Item: item, Title: item})
	}
	b := h.addShop("b", fake.ShopConfig{Capabilities: open.MarketplaceCapabilities{Shipments: true}}, "orders_to: warehouse")
	b.AddListing(open.Listing{Item: "b single", Title: "with a space/and a slash"})
	// What a person edits at a shop is then found by a look, not told by the shop.
	h.shopEvents = []string{"order.upserted", "order.cancelled"}
}

var tradingMapping = []string{"a,single,,TEA,1", "a,six,,TEA,6", "a,set,,TEA,2", "a,set,,POT,1", "b,b single,,TEA,1"}

func TestMainJob(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		tradingHouse(t, h)
		s := h.start()
		shop, warehouse := h.shops["a"], h.warehouse

		// A warehouse event comes in; every listing that depends on it shows the new target.
		s.imports(tradingMapping...)
		if err := warehouse.Count("TEA", "main", 14); err != nil {
			t.Fatal(err)
		}
		h.shows("a", "single", 14)
		h.shows("a", "six", 2)
		h.shows("a", "set", 4)
		h.shows("b", "b single", 14)

		// A buyer orders at one shop; the other is lowered, and the warehouse gets the order once.
		order, ok := shop.Order(fake.BuyLine{Item: "single", Quantity: 3}, fake.BuyLine{Item: "set", Quantity: 1})
		if !ok {
			t.Fatal("the shop refuses the order")
		}
		h.shows("b", "b single", 9)
		h.shows("a", "single", 9)
		h.shows("a", "six", 1)
		h.shows("a", "set", 3)
		key := "a:" + order
		h.eventually("the warehouse has the order", func() error {
			if len(warehouse.Orders()) == 0 {
				return errors.New("it has none")
			}
			return nil
		})

		// The warehouse ships; the shop hears of it.
		h.eventually("the warehouse ships", func() error {
			if _, ok := warehouse.Ship(key); !ok {
				return errors.New("nothing is allocated")
			}
			return nil
		})
		h.eventually("the shop knows of the shipment", func() error {
			if o := shop.Orders()[0]; o.Status != "closed" || *o.Lines[0].Shipped != 3 || *o.Lines[1].Shipped != 1 {
				return fmt.Errorf("the order is %s, %d and %d units shipped", o.Status, *o.Lines[0].Shipped, *o.Lines[1].Shipped)
			}
			return nil
		})
		s.settled()
		recorded := warehouse.Orders()
		if len(recorded) != 1 || recorded[0].Key != key || recorded[0].Channel != "a" || recorded[0].OrderID != order || len(recorded[0].Lines) != 3 {
			t.Fatalf("the warehouse has the orders %+v, want one with the key %s and three lines", recorded, key)
		}
		if got := get[itemView](s, "/items/TEA"); got != (itemView{OnHand: 9, Available: 9, ATP: 9}) {
			t.Errorf("after the shipment TEA is %+v, want 9 on hand and available", got)
		}
		checkOrderView(t, s, order, recorded[0].Number)
		checkExplanation(t, s, order)
		checkListingView(t, s)
		checkPlanAndReconcile(t, s)
	})
}

func checkOrderView(t *testing.T, s *server, order, number string) {
	t.Helper()
	type view struct {
		OrderKey string `json:"order_key"`
		Status   string `json:"status"`
		Record   struct {
			Number string `json:"number"`
			State  string `json:"state"`
		} `json:"record"`
		Shipments []struct {
			ShipmentID string `json:"shipment_id"`
			Tracking   string `json:"tracking"`
		} `json:"shipments"`
	}
	// The shop tells of the shipment that it was told, so that the order is looked at once more.
	s.h.eventually("the order is shown as sent", func() error {
		v, err := tryGet[view](s, "/orders/a/"+order)
		if err == nil && (v.OrderKey != "a:"+order || v.Record.Number != number || v.Record.State != "sent" || len(v.Shipments) != 1 || v.Shipments[0].Tracking == "") {
			err = fmt.Errorf("it is shown as %+v; want the warehouse's number %s, sent, and one shipment with its tracking", v, number)
		}
		return err
	})
}

// checkExplanation expects the whole chain, from the statement to the read-back, from the API and from the command line.
func checkExplanation(t *testing.T, s *server, order string) {
	t.Helper()
	a := s.call(http.MethodGet, "/explain/a/set", "", "")
	var v struct {
		Components []struct {
			SKU        string           `json:"sku"`
			Units      int64            `json:"units"`
			Statements []map[string]any `json:"statements"`
			Movements  []map[string]any `json:"movements"`
			ATP        int64            `json:"atp"`
			Packs      int64            `json:"packs"`
			Postings   []map[string]any `json:"postings"`
		} `json:"components"`
		Steps   []map[string]any `json:"steps"`
		Listing listingView      `json:"listing"`
		Pushes  []struct {
			Quantity int64  `json:"quantity"`
			Outcome  string `json:"outcome"`
		} `json:"pushes"`
		Sentences []string `json:"sentences"`
	}
	if err := json.Unmarshal([]byte(a.body), &v); a.status != http.StatusOK || err != nil {
		t.Fatalf("explain answers %d, %v: %s", a.status, err, a.body)
	}
	if len(v.Components) != 2 || len(v.Steps) == 0 || len(v.Pushes) == 0 || v.Listing.Confirmed == nil || *v.Listing.Confirmed != 3 {
		t.Fatalf("a link of the chain is missing: %s", a.body)
	}
	for _, c := range v.Components {
		if len(c.Statements) == 0 || len(c.Postings) == 0 {
			t.Errorf("component %s has no statement or no postings: %s", c.SKU, a.body)
		}
	}
	if !strings.Contains(a.body, "a:"+order) {
		t.Errorf("the explanation does not name the order %s: %s", order, a.body)
	}
	cli := s.h.must(exitOK, "explain", "a", "set").stdout
	for _, sentence := range v.Sentences {
		if !strings.Contains(cli, sentence) {
			t.Errorf("truestock explain does not say %q:\n%s", sentence, cli)
		}
	}
	for _, word := range []string{"TEA", "POT", "warehouse"} {
		if !strings.Contains(cli, word) {
			t.Errorf("truestock explain does not mention %s:\n%s", word, cli)
		}
	}
	var printed struct {
		Sentences []string `json:"sentences"`
	}
	if out := s.h.must(exitOK, "explain", "a", "set", "--output", "json").stdout; json.Unmarshal([]byte(out), &printed) != nil || len(printed.Sentences) == 0 {
		t.Errorf("truestock explain --output json prints %s", out)
	}
	// The number of an instant before the import: there was no statement yet, and nothing was written.
	if past := s.call(http.MethodGet, "/explain/a/set?at=2020-01-01T00:00:00Z", "", ""); past.status != http.StatusOK {
		t.Errorf("explain of the past answers %d: %s", past.status, past.body)
	}
	if missing := s.call(http.MethodGet, "/explain/a/nothing", "", ""); missing.status != http.StatusNotFound {
		t.Errorf("explain of no listing answers %d: %s", missing.status, missing.body)
	}
}

// checkListingView expects the members of protocol.md §4.
func checkListingView(t *testing.T, s *server) {
	t.Helper()
	for _, path := range []string{"/listings/a/single", "/listings/b/b%20single"} {
		a := s.call(http.MethodGet, path, "", "")
		wantMembers(t, path, a, "target", "generation", "published", "confirmed", "confirmed_at", "state", "held_reason", "last_error")
		if !strings.Contains(a.body, `"state":"in_sync"`) {
			t.Errorf("%s is not in sync: %s", path, a.body)
		}
	}
	wantMembers(t, "/status", s.call(http.MethodGet, "/status", "", ""), "inbox_pending", "inbox_parked", "dirty", "unconfirmed", "oldest_unconfirmed_ms", "settled")
	wantMembers(t, "/items/TEA", s.call(http.MethodGet, "/items/TEA", "", ""),
		"sku", "kind", "mode", "on_hand", "committed", "reserved", "unavailable", "available", "atp", "statements")
	for _, path := range []string{"/listings?connection=a&state=in_sync", "/events?state=parked", "/incidents", "/plans"} {
		wantMembers(t, path, s.call(http.MethodGet, path, "", ""), "data", "next")
	}
	if rows := all[listingView](s, "/listings?connection=a"); len(rows) != 3 {
		t.Errorf("the listings of a are %+v, want 3", rows)
	}
}

func wantMembers(t *testing.T, path string, a answer, names ...string) {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); a.status != http.StatusOK || err != nil {
		t.Errorf("%s answers %d: %s", path, a.status, a.body)
		return
	}
	for _, name := range names {
		if _, ok := v[name]; !ok {
			t.Errorf("%s has no member %s: %s", path, name, a.body)
		}
	}
}

type runView struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Drifted int64  `json:"drifted"`
	Drifts  []struct {
		Item   string `json:"item"`
		Target *int64 `json:"target"`
		Shown  *int64 `json:"shown"`
		Cause  string `json:"cause"`
	} `json:"drifts"`
}

// checkPlanAndReconcile edits a number by hand: plan shows it and writes nothing, reconcile names the cause and heals it.
func checkPlanAndReconcile(t *testing.T, s *server) {
	t.Helper()
	h := s.h
	// Told that something changed, truestock asks the shop for its orders. From then on nothing has a reason to write.
	now := time.Now().Truncate(time.Millisecond)
	s.deliver("a", "look again", event("stock.changed", "{}"))
	s.ordersSeen("a", now)
	s.settled()
	if r := h.must(exitOK, "plan"); !strings.Contains(r.stdout, "nothing would change") {
		t.Errorf("plan prints %q although nothing differs", r.stdout)
	}
	if r := h.must(exitOK, "plan", "--output", "json"); strings.Join(strings.Fields(r.stdout), "") != `{"changes":[]}` {
		t.Errorf("plan prints %q although nothing differs", r.stdout)
	}
	writes := h.shops["a"].WriteCount()
	if !h.shops["a"].SetQuantity("single", "", 77) {
		t.Fatal("the listing is not there")
	}
	plan := h.must(exitNotMet, "plan").stdout
	if row := fieldsOf(plan, "single"); fmt.Sprint(row) != "[a single 77 9]" {
		t.Errorf("plan shows %v, want the listing with 77 and 9:\n%s", row, plan)
	}
	h.must(exitOK, "plan", "b")
	dry := reconcile(s, `{"dry_run":true}`)
	if dry.Drifted != 1 || len(dry.Drifts) != 1 {
		t.Errorf("the dry run finds %+v, want one drift", dry)
	}
	if r := h.must(exitNotMet, "reconcile", "--dry-run"); !strings.Contains(r.stdout, "manual_edit") {
		t.Errorf("truestock reconcile --dry-run prints %q, want manual_edit", r.stdout)
	}
	if got, _ := h.shops["a"].Quantity("single", ""); got != 77 || h.shops["a"].WriteCount() != writes {
		t.Fatalf("plan or the dry run wrote: the listing shows %d", got)
	}

	run := reconcile(s, "")
	if run.Drifted != 1 || len(run.Drifts) != 1 || run.Drifts[0].Item != "single" || run.Drifts[0].Cause != "manual_edit" || *run.Drifts[0].Shown != 77 {
		t.Errorf("reconcile finds %+v, want the listing single with the cause manual_edit", run)
	}
	h.shows("a", "single", 9)
	s.settled()
	h.must(exitOK, "plan")
	h.must(exitOK, "reconcile", "--dry-run")
}

// ordersSeen waits until the orders of a shop were asked for at or after the instant.
func (s *server) ordersSeen(shop string, after time.Time) {
	s.h.t.Helper()
	type connection struct {
		Name         string    `json:"name"`
		OrdersSeenTo time.Time `json:"orders_seen_to"`
	}
	s.h.eventually("the orders of "+shop+" are asked for", func() error {
		rows, err := tryGet[list[connection]](s, "/connections")
		for _, c := range rows.Data {
			if c.Name == shop && !c.OrdersSeenTo.Before(after) {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("%+v", rows))
	})
}

// reconcile runs a reconciliation to its end.
func reconcile(s *server, body string) (run runView) {
	s.h.t.Helper()
	contentType := ""
	if body != "" {
		contentType = "application/json"
	}
	a := s.call(http.MethodPost, "/reconcile", contentType, body)
	if err := json.Unmarshal([]byte(a.body), &run); a.status != http.StatusAccepted || err != nil {
		s.h.t.Fatalf("reconcile is answered %d: %s", a.status, a.body)
	}
	s.h.eventually("the reconciliation has ended", func() (err error) {
		if run, err = tryGet[runView](s, "/reconcile/"+run.ID); err == nil && run.State == "running" {
			err = errors.New("it is running")
		}
		return err
	})
	if run.State != "done" {
		s.h.t.Fatalf("the reconciliation ended as %+v", run)
	}
	return run
}

// fieldsOf returns the fields of the line of a table that has the word.
func fieldsOf(table, word string) []string {
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == word {
			return fields
		}
	}
	return nil
}

// An order for a listing that nobody has mapped waits, and goes on by itself when the mapping comes.
func TestUnmappedOrderWaitsForItsMapping(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		tradingHouse(t, h)
		h.shops["a"].AddListing(open.Listing{Item: "new", Quantity: new(int64(5))})
		s := h.start()
		s.imports(tradingMapping...)
		h.shows("b", "b single", 10)

		order, ok := h.shops["a"].Buy("new", 2)
		if !ok {
			t.Fatal("the shop refuses the order")
		}
		parked := parkedWith(s, "is not mapped to any SKU")
		if event := get[eventView](s, "/events/"+parked.ID); !strings.Contains(event.Body, order) || event.State != "parked" {
			t.Errorf("the parked event is %+v, want the order %s", event, order)
		}
		if r := h.must(exitOK, "events", "--state", "parked"); !strings.Contains(r.stdout, "not mapped") {
			t.Errorf("truestock events prints %q, want the reason", r.stdout)
		}
		s.settled() // what waits for a person does not count
		if orders := h.warehouse.Orders(); len(orders) != 0 {
			t.Fatalf("the warehouse has %+v before the mapping came", orders)
		}

		r := h.runWith(strings.NewReader(mappingCSV(append(tradingMapping, "a,new,,TEA,3")...)), "mappings", "import", "-")
		if r.code != exitOK || !strings.Contains(r.stdout, "parked events are applied again") {
			t.Fatalf("the import ends with %d: %s%s", r.code, r.stdout, r.stderr)
		}
		h.shows("b", "b single", 4)
		h.shows("a", "single", 4)
		h.shows("a", "new", 1)
		s.settled()
		if orders := h.warehouse.Orders(); len(orders) != 1 || orders[0].Lines[0].SKU != "TEA" || orders[0].Lines[0].Quantity != 6 {
			t.Errorf("the warehouse has %+v, want one order of 6 TEA", orders)
		}
		if left := all[eventView](s, "/events?state=parked"); len(left) != 0 {
			t.Errorf("still parked: %+v", left)
		}
	})
}

// parkedWith waits for a parked event whose reason contains the text.
func parkedWith(s *server, reason string) (found eventView) {
	s.h.t.Helper()
	s.h.eventually("an event is parked because it "+reason, func() error {
		page, err := tryGet[list[eventView]](s, "/events?state=parked&limit=1000")
		if err != nil {
			return err
		}
		for _, e := range page.Data {
			if strings.Contains(e.Reason, reason) {
				found = e
				return nil
			}
		}
		return fmt.Errorf("parked are %+v", page.Data)
	})
	return found
}

// A mapping with a bad row is refused whole, with the line and the reason, by the API and by the command line.
func TestBadMappingImportsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		tradingHouse(t, h)
		s := h.start()
		bad := mappingCSV("a,single,,TEA,1", "a,six,,TEA,none", "nowhere,x,,TEA,1")
		a := s.call(http.MethodPost, "/mappings/import", "text/csv", bad)
		var answer struct {
			Errors []struct {
				Line   int    `json:"line"`
				Reason string `json:"reason"`
			} `json:"errors"`
		}
		if err := json.Unmarshal([]byte(a.body), &answer); err != nil || a.status != http.StatusUnprocessableEntity || len(answer.Errors) != 2 ||
			answer.Errors[0].Line != 3 || answer.Errors[1].Line != 4 || answer.Errors[0].Reason == "" || answer.Errors[1].Reason == "" {
			t.Errorf("the bad mapping is answered %d: %s; want 422 with lines 3 and 4 and their reasons", a.status, a.body)
		}
		if r := h.runWith(strings.NewReader(bad), "mappings", "import", "-"); r.code != exitFailed || !strings.Contains(r.stderr, "nothing was imported") {
			t.Errorf("the command ends with %d: %s", r.code, r.stderr)
		}
		if got := h.must(exitOK, "mappings", "export").stdout; got != "connection,item,place,sku,units\n" {
			t.Errorf("after the bad import the mapping is %q, want none", got)
		}
		s.imports(tradingMapping...)
		exported := h.must(exitOK, "mappings", "export").stdout
		if a := s.call(http.MethodGet, "/mappings/export", "", ""); a.body != exported || strings.Count(exported, "\n") != 1+len(tradingMapping) {
			t.Errorf("the exports of API and command line are\n%s\nand\n%s\nwant the %d rows of the import in both", a.body, exported, len(tradingMapping))
		}
	})
}

// Webhooks are a help, not a need: what they lose, the polls find.
func TestLostWebhooksAreFoundByPolling(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		tradingHouse(t, h)
		h.settings[0] = `timings: {look: 200ms, poll: 300ms, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s}`
		lost := fake.Faults{Permille: map[fake.Fault]int{fake.WebhookDrop: 1000}}
		h.warehouse.SetFaults(lost)
		h.shops["a"].SetFaults(lost)
		s := h.start()
		s.imports(tradingMapping...)
		h.shows("b", "b single", 10)
		if err := h.warehouse.Receive("TEA", "main", 5); err != nil {
			t.Fatal(err)
		}
		h.shows("b", "b single", 15)
		order, ok := h.shops["a"].Buy("single", 4)
		if !ok {
			t.Fatal("the shop refuses the order")
		}
		h.shows("b", "b single", 11)
		h.eventually("the warehouse ships", func() error {
			if _, ok := h.warehouse.Ship("a:" + order); !ok {
				return errors.New("nothing is allocated")
			}
			return nil
		})
		h.eventually("the shop knows of the shipment", func() error {
			if o := h.shops["a"].Orders()[0]; o.Status != "closed" {
				return fmt.Errorf("the order is %s", o.Status)
			}
			return nil
		})
		h.eventually("the ledger has the shipment", func() error {
			if got, err := tryGet[itemView](s, "/items/TEA"); err != nil || got != (itemView{OnHand: 11, Available: 11, ATP: 11}) {
				return fmt.Errorf("TEA is %+v, %w", got, err)
			}
			return nil
		})
		if delivered := h.warehouse.Counts()[fake.WebhookDelivered] + h.shops["a"].Counts()[fake.WebhookDelivered]; delivered > 0 {
			t.Errorf("%d webhooks were delivered: the test shows nothing", delivered)
		}
	})
}

// A paused connection gets no traffic; what it missed is made up for when it is resumed.
func TestPauseAndResume(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		tradingHouse(t, h)
		s := h.start()
		s.imports(tradingMapping...)
		h.shows("b", "b single", 10)
		if a := s.call(http.MethodPost, "/connections/b/pause", "", ""); a.status != http.StatusOK {
			t.Fatalf("pause is answered %d: %s", a.status, a.body)
		}
		writes := h.shops["b"].WriteCount()
		if err := h.warehouse.Receive("TEA", "main", 1); err != nil {
			t.Fatal(err)
		}
		h.shows("a", "single", 11)
		if l := get[listingView](s, "/listings/b/b%20single"); l.State != "paused" || *l.Target != 11 {
			t.Errorf("the listing of the paused connection is %+v, want paused with the target 11", l)
		}
		if h.shops["b"].WriteCount() != writes {
			t.Error("the paused connection was written to")
		}
		if a := s.call(http.MethodPost, "/connections/b/resume", "", ""); a.status != http.StatusOK {
			t.Fatalf("resume is answered %d: %s", a.status, a.body)
		}
		h.shows("b", "b single", 11)
		if a := s.call(http.MethodPost, "/connections/nowhere/pause", "", ""); a.status != http.StatusNotFound {
			t.Errorf("pause of no connection is answered %d: %s", a.status, a.body)
		}
	})
}

// A cron schedule that is due reconciles without being asked.
func TestScheduledReconciliation(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the next minute")
	}
	t.Parallel()
	h := newHouse(t)
	tradingHouse(t, h)
	h.settings[1] = `reconcile: {schedule: "* * * * *", zone: Europe/Berlin}`
	s := h.start()
	s.imports(tradingMapping...)
	h.shows("a", "single", 10)
	s.settled()
	h.shops["a"].SetQuantity("single", "", 99)
	deadline := time.Now().Add(100 * time.Second)
	for got, _ := h.shops["a"].Quantity("single", ""); got != 10; got, _ = h.shops["a"].Quantity("single", "") {
		if time.Now().After(deadline) {
			t.Fatalf("the schedule of every minute has not healed the listing, which shows %d", got)
		}
		<-time.After(200 * time.Millisecond)
	}
}
