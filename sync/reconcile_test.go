package sync_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// tables dumps every table of the database but those of reports.
func (h *house) tables() map[string]string {
	h.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+h.path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	column := func(query string) (out []string) {
		rows, err := db.QueryContext(h.ctx, query)
		if err != nil {
			h.t.Fatal(err)
		}
		defer rows.Close()
		names, _ := rows.Columns()
		for rows.Next() {
			row := make([]any, len(names))
			for i := range row {
				row[i] = new(any)
			}
			if err := rows.Scan(row...); err != nil {
				h.t.Fatal(err)
			}
			var text strings.Builder
			for _, v := range row {
				fmt.Fprintf(&text, "%v|", *v.(*any))
			}
			out = append(out, text.String())
		}
		if err := rows.Err(); err != nil {
			h.t.Fatal(err)
		}
		return out
	}
	dump := map[string]string{}
	for _, name := range column("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name") {
		name = strings.TrimSuffix(name, "|")
		if name != "runs" && name != "drifts" {
			dump[name] = strings.Join(column("SELECT * FROM "+name), "\n")
		}
	}
	return dump
}

// A dry run changes no table but those of its report, though there are orders, articles and listings that we do not know.
func TestADryRunStoresNothingButItsReport(t *testing.T) {
	within(t, houseOptions{positions: true, silent: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}, timings: stocksync.Timings{Poll: time.Hour}}, func(h *house) {
		h.stocked("X", 30)
		h.stocked("Y", 30)
		h.settled()
		time.Sleep(time.Minute)
		h.buy("a", "X", 2)
		h.shops["a"].SetQuantity("Y", "", 44)
		h.shops["a"].AddListing(open.Listing{Item: "new"})
		h.warehouse.AddItem(open.Item{SKU: "new"})
		before := h.tables()
		writes := h.shops["a"].WriteCount()
		run, err := h.engine.Reconcile(h.ctx, "test", true)
		if err != nil || run.State != stocksync.RunDone {
			t.Fatalf("the dry run: %+v, %v", run, err)
		}
		for name, rows := range h.tables() {
			if rows != before[name] {
				t.Errorf("the table %s was\n%s\nand is\n%s", name, before[name], rows)
			}
		}
		if h.shops["a"].WriteCount() != writes {
			t.Error("the dry run wrote to the shop")
		}
		causes := map[string]stocksync.DriftCause{}
		for _, d := range run.Drifts {
			causes[d.Item] = d.Cause
		}
		if run.Drifted != 1 || causes["X"] != stocksync.CausePendingOrder || causes["Y"] != stocksync.CauseForeignWrite || run.Causes[stocksync.CauseUnmapped] != 1 || causes["new"] != "" {
			t.Errorf("%d drifted, %v, %+v", run.Drifted, run.Causes, run.Drifts)
		}
	})
}

// Each channel has a policy of its own.
func TestEachChannelIsHealedByItsOwnPolicy(t *testing.T) {
	o := houseOptions{silent: true, heal: stocksync.HealFull, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas, "c": cas}}
	own := map[string]stocksync.HealPolicy{"a": stocksync.HealNothing, "b": stocksync.HealLowers}
	want := map[string][2]int64{"a": {99, 3}, "b": {30, 3}, "c": {30, 30}}
	within(t, o, func(h *house) {
		time.Sleep(time.Second)
		h.stop()
		for i, c := range h.config.Channels {
			h.config.Channels[i].Heal = own[string(c.ID)]
		}
		h.start()
		h.stocked("high", 30)
		h.stocked("low", 30)
		h.settled()
		for _, s := range h.shops {
			s.SetQuantity("high", "", 99)
			s.SetQuantity("low", "", 3)
		}
		if run, err := h.engine.Reconcile(h.ctx, "test", false); err != nil || run.Drifted != 6 {
			t.Fatalf("the run: %+v, %v", run, err)
		}
		h.settled()
		for shop, numbers := range want {
			h.shows(shop, "high", numbers[0])
			h.shows(shop, "low", numbers[1])
		}
	})
}

// A reconciliation that is cut off in the middle goes on at the next start: the same run, every listing compared once, the
// drift found before and after counted once.
func TestAReconciliationThatIsCutOffGoesOn(t *testing.T) {
	const listings = 2300
	within(t, houseOptions{silent: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		var rows []string
		for i := range listings {
			sku := fmt.Sprintf("S%04d", i)
			h.warehouse.AddItem(open.Item{SKU: sku})
			if err := h.warehouse.SetOpening(sku, "main", 10); err != nil {
				t.Fatal(err)
			}
			h.shops["a"].AddListing(open.Listing{Item: sku, Quantity: new(int64(10))})
			rows = append(rows, "a,"+sku+",,"+sku+",1")
		}
		h.link(rows...)
		h.settled()
		drifted := []string{"S0005", "S0999", "S1000", "S1500", "S2299"}
		for _, sku := range drifted {
			h.shops["a"].SetQuantity(sku, "", 77)
		}
		var cutBefore func(reads int)
		cutBefore = func(reads int) {
			h.trouble.before("a/stock/read", func() {
				if reads == 1 {
					h.trouble.setDown("a/stock/read", true)
				} else {
					cutBefore(reads - 1)
				}
			})
		}
		cutBefore(15)
		first, err := h.engine.StartReconcile(h.ctx, "test", false)
		if err != nil {
			t.Fatal(err)
		}
		h.until("a page is compared", func() bool { return h.run(first.ID).Listings > 0 })
		time.Sleep(2 * time.Second)
		cut := h.run(first.ID)
		if cut.State != stocksync.RunRunning || cut.Listings == 0 || cut.Listings == listings {
			t.Fatalf("it was not cut in the middle: %+v", cut)
		}
		if _, err := h.engine.StartReconcile(h.ctx, "test", false); err == nil {
			t.Error("a second reconciliation started beside the first")
		}
		h.stop()
		h.trouble.setDown("a/stock/read", false)
		h.start()
		h.until("the run has ended", func() bool { return h.run(first.ID).State != stocksync.RunRunning })
		run := h.run(first.ID)
		if run.State != stocksync.RunDone || run.Listings != listings || run.Drifted != int64(len(drifted)) {
			t.Fatalf("the run ended as %s with %d listings and %d drifted, want done, %d and %d: %s", run.State, run.Listings, run.Drifted, listings, len(drifted), run.Message)
		}
		var found []string
		for _, d := range run.Drifts {
			found = append(found, d.Item)
		}
		if !slices.Equal(found, drifted) {
			t.Errorf("it found %v, want %v", found, drifted)
		}
		runs, err := h.engine.Reconciliations(h.ctx, 0, 10)
		if err != nil || len(runs) != 1 {
			t.Errorf("there are %d runs, want the one: %v", len(runs), err)
		}
		h.settled()
		for _, sku := range drifted {
			h.shows("a", sku, 10)
		}
	})
}

func (h *house) run(run string) stocksync.RunView {
	h.t.Helper()
	v, err := h.engine.Reconciliation(h.ctx, id(h.t, run))
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func (h *house) until(what string, is func() bool) {
	h.t.Helper()
	for range 100_000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.t.Fatalf("%s: not so\n%s", what, h.describe())
}

// After a silence longer than half of what senders go on trying, nothing is raised before the orders were fetched without
// a gap. What must be lowered is lowered at once.
func TestACatchUpRaisesNothingBeforeTheOrdersAreThere(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		for _, sku := range []string{"up", "down", "sold"} {
			h.stocked(sku, 30)
		}
		h.settled()
		h.stop()
		h.shops["a"].DropSubscriptions()
		time.Sleep(3 * time.Hour)
		for range 5 {
			h.buy("a", "sold", 2)
		}
		h.shops["a"].SetQuantity("up", "", 20) // two hours ago somebody bought ten of which no list tells yet
		must(t, h.warehouse.Receive("up", "main", 50))
		must(t, h.warehouse.Count("down", "main", 4))
		h.trouble.setDown("a/orders", true)
		h.start()
		time.Sleep(30 * time.Second)
		h.shows("a", "up", 20)
		h.shows("a", "down", 4)
		connections, err := h.engine.Connections(h.ctx)
		if err != nil || !strings.Contains(connections[0].CatchingUp, "catching up") {
			t.Errorf("the connection does not say that it is catching up: %+v, %v", connections, err)
		}
		l, err := h.engine.Listing(h.ctx, stocksync.ListingKey{Connection: "a", Ref: ref("up")})
		if err != nil || l.State != stocksync.Held || !strings.Contains(l.HeldReason, "catching up") {
			t.Errorf("the raise is %s with the reason %q, want held by the catch-up (%v)", l.State, l.HeldReason, err)
		}
		h.trouble.setDown("a/orders", false)
		h.settled()
		h.shows("a", "up", 80)
		h.shows("a", "sold", 20)
		h.item("sold", 30, 10, 20)
		if connections, err = h.engine.Connections(h.ctx); err != nil || connections[0].CatchingUp != "" {
			t.Errorf("the connection still says that it is catching up: %+v, %v", connections, err)
		}
	})
}

// A subscription that the shop dropped is made again within the hour, and a run reports the next one; where it cannot be
// made again a person is told.
func TestDroppedSubscriptionsAreMadeAgain(t *testing.T) {
	caps := cas
	caps.Subscriptions = true
	within(t, houseOptions{shops: map[string]open.MarketplaceCapabilities{"a": caps}}, func(h *house) {
		h.stocked("X", 30)
		h.settled()
		if n := len(h.shops["a"].Subscriptions()); n != 1 {
			t.Fatalf("after the start there are %d subscriptions, want one", n)
		}
		h.shops["a"].DropSubscriptions()
		time.Sleep(61 * time.Minute)
		if n := len(h.shops["a"].Subscriptions()); n != 1 {
			t.Errorf("an hour after it was dropped there are %d subscriptions, want one", n)
		}
		h.shops["a"].DropSubscriptions()
		dry, err := h.engine.Reconcile(h.ctx, "test", true)
		if err != nil || len(dry.Subscriptions) == 0 || len(h.shops["a"].Subscriptions()) != 0 {
			t.Errorf("the dry run reports %v and leaves %d subscriptions, want a report and none (%v)", dry.Subscriptions, len(h.shops["a"].Subscriptions()), err)
		}
		run, err := h.engine.Reconcile(h.ctx, "test", false)
		if err != nil || len(run.Subscriptions) == 0 || !strings.Contains(run.Subscriptions[0], "subscribed again") || len(h.shops["a"].Subscriptions()) != 1 {
			t.Errorf("the run reports %v and leaves %d subscriptions (%v)", run.Subscriptions, len(h.shops["a"].Subscriptions()), err)
		}
		// What is sold from now on is told again.
		h.buy("a", "X", 1)
		time.Sleep(time.Second)
		h.item("X", 30, 1, 29)
	})
}

// TestReconciliationThatCannotStart: the database answers one question and not the next; the lock is given back.
func TestReconciliationThatCannotStart(t *testing.T) {
	within(t, houseOptions{positions: true}, func(h *house) {
		over, cancel := context.WithCancel(h.ctx)
		cancel()
		if _, err := h.engine.StartReconcile(over, "test", false); !errors.Is(err, context.Canceled) {
			t.Errorf("a reconciliation started without a database: %v", err)
		}
		if run, err := h.engine.Reconcile(h.ctx, "test", false); err != nil || run.State != stocksync.RunDone {
			t.Errorf("the next one is %s (%v)", run.State, err)
		}
	})
}

// TestARefusedWriteOfWhatIsShownAnyway: a late reading made the engine write what the shop showed already, and the shop
// refused it; the next reconciliation finds the number, and it counts as confirmed.
func TestARefusedWriteOfWhatIsShownAnyway(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("TEE", 9)
		h.settled()
		h.shows("a", "TEE", 9)
		h.trouble.before("a/stock/write", func() {
			h.shops["a"].FailNext(1, fake.WebhookDrop)
			h.shops["a"].SetQuantity("TEE", "", 7)
			h.shops["a"].FailNext(1, fake.RejectLines)
		})
		if err := h.warehouse.Adjust("TEE", "main", -2); err != nil {
			t.Fatal(err)
		}
		h.settled()
		key := stocksync.ListingKey{Connection: "a", Ref: connectors.Ref{Item: "TEE"}}
		confirmed := func() stock.Quantity {
			v, err := h.engine.Listing(h.ctx, key)
			if err != nil || v.Confirmed == nil {
				t.Fatalf("the listing is %+v (%v)", v, err)
			}
			return *v.Confirmed
		}
		if got := confirmed(); got != 9 {
			t.Fatalf("%d are confirmed, and nobody has read anything but 9", got)
		}
		if _, err := h.engine.Reconcile(h.ctx, "test", false); err != nil {
			t.Fatal(err)
		}
		h.settled()
		if got := confirmed(); got != 7 {
			t.Errorf("%d are confirmed, the shop shows 7", got)
		}
	})
}
