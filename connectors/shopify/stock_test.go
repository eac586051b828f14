package shopify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// TestRefusedLinesSpareTheRest: Shopify may refuse a call for one line, or do the rest of it. Both lead to the same.
func TestRefusedLinesSpareTheRest(t *testing.T) {
	schemaOf(t, "2026-07")
	for name, partial := range map[string]bool{"the whole call is refused": false, "the other lines take effect": true} {
		t.Run(name, func(t *testing.T) {
			p := newPretend(t, 6)
			p.partial = partial
			p.items[2].status = "BUNDLE"
			p.items[3].levels = map[string]*int{}
			p.items[4].levels, p.items[4].status = map[string]*int{}, "STUCK"
			m := open(t, p)
			ref := func(i int) connectors.Ref { return connectors.Ref{Item: p.items[i].id} }
			results, err := m.WriteStock(t.Context(), []connectors.Write{
				write(ref(0), 3, 10), write(ref(1), 3, 9), write(connectors.Ref{Item: "4242"}, 3, 9), write(connectors.Ref{Item: "4243"}, 3, -1), write(ref(2), 3, 10),
				write(ref(3), 3, 0), write(ref(4), 3, 0), write(ref(0), 2, 3), write(ref(5), 1_000_000_001, 10), write(ref(5), -1, 10),
				write(connectors.Ref{Item: p.items[5].id, Place: "nowhere"}, 1, 10), write(ref(5), 6, 10),
			})
			if err != nil {
				t.Fatal(err)
			}
			wantOutcome(t, results[0], connectors.Written, 3)
			wantOutcome(t, results[1], connectors.Stale, -1)
			for i, kind := range map[int]connectors.ErrorKind{2: connectors.Unmapped, 3: connectors.Unmapped, 4: connectors.Rejected, 6: connectors.Rejected,
				8: connectors.Rejected, 9: connectors.Rejected, 10: connectors.Unmapped} {
				if r := results[i]; r.Outcome != connectors.Failed || connectors.KindOf(r.Err) != kind {
					t.Errorf("line %d: %s, %v", i, r.Outcome, r.Err)
				}
			}
			wantOutcome(t, results[5], connectors.Written, 3)
			wantOutcome(t, results[7], connectors.Written, 2)
			wantOutcome(t, results[11], connectors.Written, 6)
			var shows []int
			for _, i := range p.items {
				if level := i.levels[p.locations[0].id]; level != nil {
					shows = append(shows, *level)
				}
			}
			if want := []int{2, 10, 10, 3, 6}; !slices.Equal(shows, want) {
				t.Errorf("the shop shows %v, not %v", shows, want)
			}
		})
	}
}

// TestManyRefusals: however many lines are refused one after the other, the batch comes to an end.
func TestManyRefusals(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	m := open(t, p)
	var batch []connectors.Write
	for i := range 20 {
		batch = append(batch, write(connectors.Ref{Item: p.items[0].id}, stock.Quantity(i), -1))
	}
	results, err := m.WriteStock(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if written := r.Outcome == connectors.Written; written != (i < 8) || !written && connectors.KindOf(r.Err) != connectors.Retryable {
			t.Errorf("line %d: %s, %v", i, r.Outcome, r.Err)
		}
	}
}

func TestIdempotency(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	m := open(t, p)
	ref, level := connectors.Ref{Item: p.items[0].id}, p.items[0].levels[p.locations[0].id]
	w := write(ref, 7, 10)
	wantResult(t, m, w, connectors.Written, 7)
	*level = 4 // sold
	wantResult(t, m, w, connectors.Written, 7)
	if *level != 4 {
		t.Errorf("the same write again set %d", *level)
	}
	other := w
	other.ID = "another"
	wantResult(t, m, other, connectors.Stale, -1)

	// A key that is spent without effect gives way to another.
	p.spoiled = &attempt{any: true, failed: true}
	wantResult(t, m, write(ref, 5, 4), connectors.Written, 5)
	if len(p.keys) != 3 {
		t.Errorf("%d keys were used", len(p.keys))
	}
}

// TestKeyErrors are the errors of the idempotency directive.
func TestKeyErrors(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	m := open(t, p)
	ref := connectors.Ref{Item: p.items[0].id}
	p.spoiled = &attempt{}
	results, err := m.WriteStock(t.Context(), []connectors.Write{write(ref, 5, 10)})
	if err != nil || connectors.KindOf(results[0].Err) != connectors.Rejected || !strings.Contains(results[0].Err.Error(), "IDEMPOTENCY_KEY_PARAMETER_MISMATCH") {
		t.Errorf("a key with other parameters: %+v, %v", results, err)
	}
}

// TestUnlimited: what limits nothing is not written to, and the person is told what to tick.
func TestUnlimited(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 3)
	p.items[0].tracked = false
	p.items[1].policy = "CONTINUE"
	m := open(t, p)
	page, err := m.Listings(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range page.Rows {
		if l.Unlimited != (i < 2) || l.Title != p.items[i].title || l.SKU != p.items[i].sku || l.Status != connectors.StatusActive {
			t.Errorf("%+v", l)
		}
	}
	for i, tick := range []string{"Track quantity", "Continue selling"} {
		results, err := m.WriteStock(t.Context(), []connectors.Write{write(page.Rows[i].Ref, 1, -1)})
		if err != nil || connectors.KindOf(results[0].Err) != connectors.Rejected || !strings.Contains(results[0].Err.Error(), tick) {
			t.Errorf("%+v, %v", results, err)
		}
	}
	for _, status := range []string{"DRAFT", "ARCHIVED"} {
		p.items[2].status = status
		if page, err = m.Listings(t.Context(), ""); err != nil || page.Rows[2].Status != connectors.StatusStopped {
			t.Errorf("%s: %+v, %v", status, page.Rows[2], err)
		}
	}
}

// TestPlaces: each location is a place of its own; one that is not stocked shows 0, and is not listed.
func TestPlaces(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 130)
	store := p.addLocation("Store, front")
	p.addLocation("Not kept")
	first := p.locations[0].id
	p.items[0].levels[store] = new(3)
	m := open(t, p, "locations", first+" , "+store)
	can, err := m.Capabilities(t.Context())
	if err != nil || !can.PerPlace {
		t.Fatalf("%+v, %v", can, err)
	}
	listed := map[connectors.Ref]stock.Quantity{}
	for at, pages := connectors.Cursor(""), 0; pages == 0 || at != ""; pages++ {
		page, err := m.Listings(t.Context(), at)
		if err != nil || pages > 10 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, l := range page.Rows {
			listed[l.Ref] = l.Quantity
		}
		at = page.Next
	}
	item := p.items[0].id
	if len(listed) != 131 || listed[connectors.Ref{Item: item, Place: first}] != 10 || listed[connectors.Ref{Item: item, Place: store}] != 3 {
		t.Errorf("%d listings", len(listed))
	}
	wantResult(t, m, write(connectors.Ref{Item: item, Place: store}, 8, 3), connectors.Written, 8)
	wantResult(t, m, write(connectors.Ref{Item: p.items[1].id, Place: store}, 2, 0), connectors.Written, 2)
	readings, err := m.ReadStock(t.Context(), []connectors.Ref{{Item: item, Place: store}, {Item: p.items[2].id, Place: store}, {Item: item}, {Item: item, Place: "9"}})
	if err != nil || len(readings) != 2 || readings[0].Quantity != 8 || readings[1].Quantity != 0 {
		t.Errorf("%+v, %v", readings, err)
	}
}

// TestThrottled: what is there within seconds is waited for; what is not is told, with the time.
func TestThrottled(t *testing.T) {
	schemaOf(t, "2026-07")
	synctest.Test(t, func(t *testing.T) {
		p := newPretend(t, 60)
		m := open(t, p)
		if err := m.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.bucket = 300 // a page of listings costs 420 and a little
		began := time.Now()
		if _, err := m.Listings(t.Context(), ""); err != nil {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took < time.Second || took > 3*time.Second {
			t.Errorf("125 points at 100 a second took %s", took)
		}
		began = time.Now()
		p.bucket, p.restore = 0, 1
		_, err := m.WriteStock(t.Context(), []connectors.Write{write(connectors.Ref{Item: p.items[0].id}, 5, 10)})
		if connectors.KindOf(err) != connectors.Throttled || time.Since(began) > time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if wait := connectors.RetryAt(err).Sub(began); wait < 9*time.Second || wait > time.Minute {
			t.Errorf("to be tried again in %s", wait)
		}
		if n := *p.items[0].levels[p.locations[0].id]; n != 10 {
			t.Errorf("the throttled write set %d", n)
		}
	})
}

// TestOneItemStandsInACallOnce: the second write of an item goes by what the first made of it.
func TestOneItemStandsInACallOnce(t *testing.T) {
	schemaOf(t, "2026-07")
	p := newPretend(t, 1)
	m := open(t, p)
	ref := connectors.Ref{Item: p.items[0].id}
	results, err := m.WriteStock(t.Context(), []connectors.Write{write(ref, 1, 10), write(ref, 2, 1), write(ref, 3, 1)})
	if err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, results[0], connectors.Written, 1)
	wantOutcome(t, results[1], connectors.Written, 2)
	wantOutcome(t, results[2], connectors.Stale, -1)
	if got := fmt.Sprint(p.asked); strings.Count(got, "WriteStock") != 3 {
		t.Errorf("the calls are %s", got)
	}
}

// TestLargeCatalogue: a list is begun anew before Shopify ends it. Where items do not come by their ids that cannot be done
// without missing some, and is told.
func TestLargeCatalogue(t *testing.T) {
	schemaOf(t, "2026-07")
	const items = 25_200
	p := newPretend(t, items)
	m := open(t, p)
	// from lists what is behind a number of pages; inOrder says that the items of those came by their ids.
	from := func(pages int, inOrder bool) (seen map[string]bool, anew int, err error) {
		last := p.items[60*pages-1].id
		at := connectors.Cursor(fmt.Sprintf("0:0:%s:%d:cursor-gid://shopify/InventoryItem/%s", last, pages, last))
		if !inOrder {
			at = connectors.Cursor(fmt.Sprintf("0:0::%d:cursor-gid://shopify/InventoryItem/%s", pages, last))
		}
		for seen = map[string]bool{}; at != ""; {
			page, err := m.Listings(t.Context(), at)
			if err != nil {
				return seen, anew, err
			}
			for _, l := range page.Rows {
				if seen[l.Ref.Item] {
					t.Errorf("%s is listed twice", l.Ref)
				}
				seen[l.Ref.Item] = true
			}
			if at = page.Next; strings.HasSuffix(string(at), ":0:") {
				anew++
			}
		}
		return seen, anew, nil
	}
	if seen, anew, err := from(295, true); err != nil || len(seen) != items-295*60 || anew != 1 {
		t.Errorf("%d of the last %d items were listed, the list was begun anew %d times, %v", len(seen), items-295*60, anew, err)
	}
	if seen, anew, err := from(410, false); connectors.KindOf(err) != connectors.Rejected || anew != 0 {
		t.Errorf("%d items out of order were listed, %v", len(seen), err)
	}
	p.items[60*410], p.items[60*410+1] = p.items[60*410+1], p.items[60*410]
	if seen, anew, err := from(410, true); connectors.KindOf(err) != connectors.Rejected || anew != 0 {
		t.Errorf("%d items out of order were listed, %v", len(seen), err)
	}
}
