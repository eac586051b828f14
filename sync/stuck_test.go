package sync_test

import (
	"strings"
	"testing"
	"time"

	stocksync "github.com/truestock/truestock/sync"
)

// An order of which the warehouse says nothing for two days becomes an incident, and the word, late as it is, closes it.
// One that goes its way, and one that is cancelled, never do, or no longer.
func TestOldCommitmentsAreAskedAbout(t *testing.T) {
	within(t, houseOptions{timings: stocksync.Timings{Poll: 5 * time.Minute}}, func(h *house) {
		h.stocked("TEA", 20)
		h.settled()
		silent, cancelled := h.buy("shop", "TEA", 3), h.buy("shop", "TEA", 2)
		h.settled()
		time.Sleep(47 * time.Hour)
		h.settled()
		if n := h.incidents(stocksync.IncidentCommitmentStuck); n != 0 {
			t.Fatalf("%d incidents before the time", n)
		}
		time.Sleep(4 * time.Hour)
		h.settled()
		open, err := h.engine.Incidents(h.ctx, true, 0, 10)
		if err != nil || len(open) != 2 {
			t.Fatalf("after 51 h %d incidents are open (%v), want 2: %+v", len(open), err, open)
		}
		for _, i := range open {
			if i.Kind != stocksync.IncidentCommitmentStuck || !strings.Contains(i.Message, "units of TEA for 5") {
				t.Errorf("the incident is %+v", i)
			}
		}
		if !h.shops["shop"].Cancel(cancelled) {
			t.Fatal("the shop does not cancel")
		}
		h.settled()
		if n := h.incidents(stocksync.IncidentCommitmentStuck); n != 1 {
			t.Errorf("after the cancellation %d incidents are open, want 1", n)
		}
		if _, ok := h.warehouse.Ship(orderKey("shop", silent)); !ok {
			t.Fatal("the warehouse ships nothing")
		}
		h.settled()
		if n := h.incidents(stocksync.IncidentCommitmentStuck); n != 0 {
			t.Errorf("after the shipment %d incidents are open, want none", n)
		}
		h.item("TEA", 17, 0, 17)
	})
}
