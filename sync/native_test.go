package sync_test

import (
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/open"
	stocksync "github.com/truestock/truestock/sync"
)

// limited checks what a shop shows of an item: a number, or no limit.
func (h *house) limited(shop, item string, want int64) {
	h.t.Helper()
	got, ok := h.shops[shop].Quantity(item, "")
	endless := h.shops[shop].Unlimited(item, "")
	if !ok || endless != (want < 0) || want >= 0 && got != want {
		h.t.Errorf("%s shows %d of %s (unlimited %t), want %d\n%s", shop, got, item, endless, want, h.describe())
	}
}

const endless = -1

// What is sold without stock is shown without a limit while there is plenty, whatever the class of the channel's writes;
// no limit is a number like any other to all that compares, and nobody's units are reserved when it goes.
func TestUnlimitedIsShownWithoutALimitWhereAChannelCan(t *testing.T) {
	for name, caps := range map[string]open.MarketplaceCapabilities{
		"conditional": {ConditionalWrite: true, Unlimited: true}, "overwrite": {Unlimited: true, MaxQuantity: 999},
		"delta": {DeltaWrite: true, IdempotentWrite: true, Unlimited: true}, "lag": {ConditionalWrite: true, Unlimited: true, ReadLagMS: 5000},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": caps, "b": {}}}, func(h *house) {
				for shop := range h.shops {
					h.shops[shop].AddListing(open.Listing{Item: "COURSE", Title: "COURSE"})
					h.link(shop + ",COURSE,,COURSE,1")
				}
				h.set(stocksync.ArticleSetting, "COURSE", `{"mode":"unlimited","cap":100,"period":"monthly","day":1,"zone":"UTC","per_minute":30}`)
				h.settled()
				h.limited("a", "COURSE", endless)
				h.limited("b", "COURSE", 30) // what is borne in a minute

				h.buy("a", "COURSE", 10)
				h.settled()
				h.limited("a", "COURSE", endless)
				run, err := h.engine.Reconcile(h.ctx, "test", false)
				if err != nil || run.Drifted != 0 {
					t.Errorf("a reconciliation finds %+v, %v", run.Drifts, err)
				}

				// A surge of the last minute makes it a number, and its end takes that back.
				h.buy("b", "COURSE", 18)
				h.settled()
				h.limited("a", "COURSE", 2)
				time.Sleep(2 * time.Minute)
				h.settled()
				h.limited("a", "COURSE", endless)

				// Somebody types a number over it.
				h.shops["a"].SetQuantity("COURSE", "", 5)
				h.settled()
				if _, err := h.engine.Reconcile(h.ctx, "test", false); err != nil {
					t.Error(err)
				}
				h.settled()
				h.limited("a", "COURSE", endless)

				// When less than half of the cap is left, it is a number for the rest of the window.
				h.buy("a", "COURSE", 25)
				time.Sleep(2 * time.Minute)
				h.settled()
				h.limited("a", "COURSE", 30)
				h.buy("a", "COURSE", 30)
				time.Sleep(2 * time.Minute)
				h.settled()
				h.limited("a", "COURSE", 17)
				h.limited("b", "COURSE", 17)
				item, err := h.engine.Item(h.ctx, "COURSE")
				if err != nil || item.Reserved != 0 {
					t.Errorf("%d are reserved, %v", item.Reserved, err)
				}
				if v, err := h.engine.Verify(h.ctx, nil); err != nil || !v.Sound {
					t.Errorf("%+v, %v", v.Differences, err)
				}
			})
		})
	}
}
