package sync

import (
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// The cause of a difference follows from what is recorded, whatever the order in which it came to be known.
func TestTheCauseOfADifference(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	q := func(n stock.Quantity) *stock.Quantity { return &n }
	// base is a listing that was read back with 12 packs of one unit and that shows 9 now.
	base := func(change func(f *finding)) *finding {
		l := Listing{ListingKey: ListingKey{"shop", connectors.Ref{Item: "X"}}, Mapped: true, Target: q(12), Generation: 3,
			Published: q(12), PublishedGeneration: 3, PublishedAt: at.Add(-2 * time.Hour),
			Confirmed: q(12), ConfirmedGeneration: 3, ConfirmedAt: at.Add(-time.Hour), ChangedAt: at.Add(-2 * time.Hour)}
		f := &finding{before: &l, now: &l, target: 12, would: target{quantity: q(12), parts: []part{{Component: mapping.Component{SKU: "X", Units: 1}, atp: 12}}},
			shown: &connectors.Reading{Ref: l.Ref, Quantity: 9, At: at}, known: orderKnowledge{complete: true}, at: at, patience: time.Minute, deadline: 24 * time.Hour}
		change(f)
		return f
	}
	unconfirmed := func(f *finding) { f.now.ConfirmedGeneration, f.now.Confirmed = 2, q(30) }
	for _, c := range []struct {
		name   string
		change func(f *finding)
		want   DriftCause
	}{
		{"equal", func(f *finding) { f.shown.Quantity = 12 }, ""},
		{"not told", func(f *finding) { f.shown = nil }, CauseMissing},
		{"changed there", func(*finding) {}, CauseForeignWrite},
		{"unlimited there", func(f *finding) { f.shown.Unlimited = true }, CauseForeignWrite},
		{"orders not told yet", func(f *finding) { f.known.complete = false }, CausePendingOrder},
		{"orders not told yet, but it shows more", func(f *finding) { f.known.complete, f.shown.Quantity = false, 20 }, CauseForeignWrite},
		{"an order that a dry run has not taken in", func(f *finding) { f.known.unseen = map[connectors.Ref]bool{f.now.Ref: true} }, CausePendingOrder},
		{"a push is due", func(f *finding) { f.due = true }, CauseInFlight},
		{"written long ago, tried again", func(f *finding) { unconfirmed(f); f.due = true }, CauseLostPush},
		{"written just now", func(f *finding) { unconfirmed(f); f.due = true; f.now.PublishedAt = at.Add(-time.Second) }, CauseInFlight},
		{"written, never read back", unconfirmed, CauseLostPush},
		{"refused", func(f *finding) { unconfirmed(f); f.now.Held, f.now.LastError = "refused", "refused" }, CauseLostPush},
		{"held by a guard", func(f *finding) { unconfirmed(f); f.now.Held = "too many" }, CauseHeld},
		{"never written", func(f *finding) { unconfirmed(f); f.now.Published = nil }, CauseUnknown},
		{"base units instead of packs", func(f *finding) { f.would.parts[0].Units, f.shown.Quantity = 6, 72 }, CauseMapping},
		{"packs of packs", func(f *finding) { f.would.parts[0].Units, f.shown.Quantity = 6, 2 }, CauseMapping},
		{"base units with a rest", func(f *finding) { f.would.parts[0].Units, f.would.parts[0].atp, f.shown.Quantity = 6, 75, 75 }, CauseMapping},
		{"another article's number", func(f *finding) { f.other = "Y" }, CauseMapping},
		{"a return on its way", func(f *finding) {
			f.shown.Quantity, f.returned = 14, &returned{order: "1", packs: 2, at: at.Add(-time.Hour)}
		}, CauseAwaitingReturn},
		{"a return that does not arrive", func(f *finding) {
			f.shown.Quantity, f.returned = 14, &returned{order: "1", packs: 2, at: at.Add(-25 * time.Hour)}
		}, CauseReturnOverdue},
		{"more than is returned", func(f *finding) {
			f.shown.Quantity, f.returned = 15, &returned{order: "1", packs: 2, at: at.Add(-time.Hour)}
		}, CauseForeignWrite},
		{"the number of the rules before", func(f *finding) {
			unconfirmed(f)
			f.shown.Quantity, f.rules.changedAt, f.now.ChangedAt = 30, at.Add(-30*time.Minute), at.Add(-20*time.Minute)
		}, CausePolicy},
		{"the number before, but the rules are older", func(f *finding) {
			unconfirmed(f)
			f.shown.Quantity, f.rules.changedAt, f.now.ChangedAt = 30, at.Add(-30*time.Hour), at.Add(-20*time.Minute)
		}, CauseLostPush},
		{"a dry run under other rules", func(f *finding) { f.dryRun, f.target, f.rules.differ, f.shown.Quantity = true, 6, true, 12 }, CausePolicy},
		{"a dry run before a plan", func(f *finding) { f.dryRun, f.target, f.shown.Quantity = true, 6, 12 }, CauseInFlight},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, detail := base(c.change).cause(); got != c.want {
				t.Errorf("the cause is %q (%s), want %q", got, detail, c.want)
			}
		})
	}
}

// What changed while it was looked at is looked at again.
func TestWhatMovesIsNoDrift(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	q := func(n stock.Quantity) *stock.Quantity { return &n }
	l := Listing{Target: q(5), Generation: 2, PublishedAt: at, ConfirmedAt: at}
	for name, change := range map[string]func(l *Listing){
		"a new target": func(l *Listing) { l.Generation++ },
		"a write":      func(l *Listing) { l.PublishedAt = at.Add(time.Second) },
		"a reading":    func(l *Listing) { l.ConfirmedAt = at.Add(time.Second) },
		"a plan":       func(l *Listing) { l.Target = q(6) },
	} {
		now := l
		change(&now)
		if f := (finding{before: &l, now: &now, would: target{quantity: q(5)}}); !f.changed() {
			t.Errorf("%s between two looks is not noticed", name)
		}
	}
	if f := (finding{before: &l, now: &l, would: target{quantity: q(5)}}); f.changed() {
		t.Error("nothing changed, and it is taken for a change")
	}
}
