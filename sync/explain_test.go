package sync_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// Whatever changes later, the statements, the orders, the mapping and the policy: asked for an instant of the past, the
// explanation is the one that was given then.
func TestThePastIsExplainedAsItWas(t *testing.T) {
	within(t, houseOptions{positions: true, policy: stock.Policy{Buffer: 1}}, func(h *house) {
		h.stocked("X", 20)
		h.stocked("Y", 5)
		h.settled()
		key := stocksync.ListingKey{Connection: "shop", Ref: ref("X")}
		explained := func(at time.Time) string {
			t.Helper()
			x, err := h.engine.Explain(h.ctx, key, at)
			if err != nil {
				t.Fatal(err)
			}
			x.Listing.Title = "" // what the channel calls it
			text, err := json.MarshalIndent(x, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		type answer struct {
			what, text string
			at         time.Time
			target     stock.Quantity
		}
		var answers []answer
		note := func(what string, target stock.Quantity) {
			t.Helper()
			h.settled()
			now, err := h.engine.Explain(h.ctx, key, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			at := now.At
			time.Sleep(time.Millisecond)
			then, err := h.engine.Explain(h.ctx, key, at)
			if err != nil {
				t.Fatal(err)
			}
			if text(now.Listing.Target) != text(&target) || text(then.Listing.Target) != text(&target) || text(then.Listing.Confirmed) != text(&target) || then.Listing.State != stocksync.InSync {
				t.Errorf("%s: the target is %s, and for that instant %s, confirmed %s, %s; want %d", what, text(now.Listing.Target), text(then.Listing.Target), text(then.Listing.Confirmed), then.Listing.State, target)
			}
			if a, b := ledgerPart(t, now), ledgerPart(t, then); a != b {
				t.Errorf("%s: explained now:\n%s\nand for the same instant:\n%s", what, a, b)
			}
			answers = append(answers, answer{what, explained(at), at, target})
		}

		note("stocked", 19)
		order := h.buy("shop", "X", 3)
		note("sold", 16)
		if _, ok := h.warehouse.Ship(orderKey("shop", order)); !ok {
			t.Fatal("nothing is allocated")
		}
		note("shipped", 16)
		if err := h.warehouse.Receive("X", "main", 10); err != nil {
			t.Fatal(err)
		}
		note("received", 26)
		h.link("shop,X,,X,2", "shop,X,,Y,1")
		note("a bundle", 4)
		h.stop()
		h.config.Channels[0].Policy = stock.Policy{Buffer: 3}
		h.start()
		note("another policy", 2)
		h.shops["shop"].AddListing(open.Listing{Item: "Z", Title: "Z"})
		h.link("shop,X,,X,1")
		h.buy("shop", "X", 1)
		note("single again", 23)

		for _, a := range answers {
			if got := explained(a.at); got != a.text {
				t.Errorf("%s: asked again after everything changed, the answer is\n%s\nwant\n%s", a.what, got, a.text)
			}
		}
		if v, err := h.engine.Verify(h.ctx, nil); err != nil || !v.Sound {
			t.Errorf("verification: %v %+v", err, v)
		}
	})
}

// ledgerPart is the part of an explanation that the ledger tells; the freshness of a statement is only told of now.
func ledgerPart(t *testing.T, x stocksync.Explanation) string {
	t.Helper()
	for i := range x.Components {
		for j := range x.Components[i].Statements {
			x.Components[i].Statements[j].At, x.Components[i].Statements[j].Position = time.Time{}, nil
		}
	}
	text, err := json.MarshalIndent([]any{x.Components, x.Steps, x.Pushes}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
