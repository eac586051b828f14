package main_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors/open"
)

func (s *server) openIncidents(kind string) (n int) {
	s.h.t.Helper()
	for _, i := range all[incidentView](s, "/incidents?open=true") {
		if i.Kind == kind {
			n++
		}
	}
	return n
}

// wantIncidents waits until so many incidents of a kind are open.
func (s *server) wantIncidents(kind string, want int) {
	s.h.t.Helper()
	s.h.eventually(fmt.Sprintf("%d incidents %s are open", want, kind), func() error {
		if n := s.openIncidents(kind); n != want {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
}

func (s *server) gone() (items []string) {
	s.h.t.Helper()
	for _, l := range all[listingView](s, "/listings?state=gone") {
		items = append(items, l.Item)
	}
	return items
}

func numbered(n int) []string {
	skus := make([]string, n)
	for i := range skus {
		skus[i] = fmt.Sprintf("N-%03d", i)
	}
	return skus
}

// A shop that knows none of its listings makes none of them gone, also when they are asked for one after the other and
// across a restart. When they are back, everything goes on by itself.
func TestVanishedListingsAreNotGone(t *testing.T) {
	t.Parallel()
	skus := numbered(40)
	s, shop, _ := writeHouse(t, open.MarketplaceCapabilities{}, skus...)
	for _, sku := range skus {
		shop.Delete(sku)
	}
	for _, sku := range skus[:3] {
		s.h.receive(sku, 5)
		time.Sleep(300 * time.Millisecond)
	}
	s.wantIncidents("listings_vanished", 1)
	s.kill()
	s = s.h.start()
	for _, sku := range skus {
		s.h.receive(sku, 1)
	}
	time.Sleep(4 * time.Second) // far more than the looks that make a single listing gone
	if gone := s.gone(); len(gone) > 0 || s.openIncidents("listing_gone") > 0 {
		t.Errorf("gone are %v", gone)
	}
	s.wantIncidents("listings_vanished", 1)
	for _, sku := range skus {
		shop.AddListing(open.Listing{Item: sku})
	}
	for i, sku := range skus {
		want := int64(11)
		if i < 3 {
			want = 16
		}
		s.h.shows("shop", sku, want)
	}
	s.wantIncidents("listings_vanished", 0)
	s.settled()
}

// One listing of a hundred that is deleted is gone, after more than one look, and told about; it is hardly asked for
// any more, and taken up again when the shop lists it again.
func TestAGoneListingIsLeftAlone(t *testing.T) {
	t.Parallel()
	skus := numbered(100)
	s, shop, g := writeHouse(t, open.MarketplaceCapabilities{}, skus...)
	var mu sync.Mutex
	calls := 0
	g.set(func(_ http.ResponseWriter, r *http.Request, body []byte, _ http.Handler) bool {
		if strings.HasPrefix(r.URL.Path, "/stock/") && bytes.Contains(body, []byte(`"N-050"`)) {
			mu.Lock()
			calls++
			mu.Unlock()
		}
		return false
	})
	shop.Delete("N-050") // its webhook alone is only a suspicion
	s.wantIncidents("listing_gone", 1)
	mu.Lock()
	looks := calls
	calls = 0
	mu.Unlock()
	if gone := s.gone(); !slices.Equal(gone, []string{"N-050"}) || looks < 3 {
		t.Errorf("gone are %v after %d looks, want N-050 after at least 3", gone, looks)
	}
	for range 3 {
		for _, sku := range skus {
			s.h.receive(sku, 1)
		}
		time.Sleep(time.Second)
	}
	s.settled()
	mu.Lock()
	if calls > 3 {
		t.Errorf("the gone listing was asked for %d times more", calls)
	}
	mu.Unlock()
	shop.AddListing(open.Listing{Item: "N-050"})
	s.deliver("shop", "listed again", event("listing.changed", `{"item":"N-050"}`))
	s.h.shows("shop", "N-050", 13)
	s.settled()
	if gone := s.gone(); len(gone) > 0 {
		t.Errorf("gone are still %v", gone)
	}
}

// A write that finds no listing is one look in vain, no proof: when the shop knows the listing after all, it goes on.
func TestGoneNeedsMoreThanOneWrite(t *testing.T) {
	t.Parallel()
	s, _, g := writeHouse(t, open.MarketplaceCapabilities{}, "X", "Y")
	var once sync.Once
	lied := make(chan struct{})
	g.set(func(w http.ResponseWriter, r *http.Request, body []byte, _ http.Handler) (done bool) {
		if r.URL.Path != "/stock/write" || !slices.Contains(lines(body), "X") {
			return false
		}
		once.Do(func() {
			var req open.WriteRequest
			_ = json.Unmarshal(body, &req) // lines has read it
			var answer open.WriteAnswer
			for _, l := range req.Writes {
				answer.Results = append(answer.Results, open.WriteResult{ID: l.ID, Status: "not_found"})
			}
			w.Header().Set("Content-Type", "application/json")
			writeJSON(w, answer)
			done = true
			close(lied)
		})
		return done
	})
	s.h.receive("X", 5)
	<-lied
	s.h.shows("shop", "X", 15)
	s.settled()
	if incidents := all[incidentView](s, "/incidents"); slices.ContainsFunc(incidents, func(i incidentView) bool { return i.Kind == "listing_gone" }) {
		t.Errorf("the listing was believed to be gone: %+v", incidents)
	}
}

// A connection that leads to another shop while the server runs is paused; nothing is sent there, no listing is gone, and
// no order of the stranger is taken. What a person accepts, over HTTP or on the command line, a running server follows.
func TestAccountOfAnotherShop(t *testing.T) {
	t.Parallel()
	s, shop, _ := writeHouse(t, open.MarketplaceCapabilities{}, numbered(20)...)
	s.stop()
	s.h.settings[0] = strings.Replace(s.h.settings[0], "poll: 20s", "poll: 1s", 1)
	s.h.shopEvents = []string{"none"} // the stranger knows no secret of ours
	s = s.h.start()
	s.settled()
	before := shop.WriteCount()
	paused := func(want bool) {
		t.Helper()
		s.h.eventually(fmt.Sprintf("the connection is paused: %t", want), func() error {
			for _, c := range get[list[struct {
				Name   string `json:"name"`
				Paused string `json:"paused"`
			}]](s, "/connections").Data {
				if c.Name == "shop" && (c.Paused != "") != want {
					return fmt.Errorf("it says %q", c.Paused)
				}
			}
			return nil
		})
	}
	shop.SetID("stranger")
	paused(true)
	s.wantIncidents("wrong_shop", 1)
	id, ok := shop.Buy("N-001", 2)
	if !ok {
		t.Fatal("the stranger sells nothing")
	}
	for _, sku := range numbered(20) {
		s.h.receive(sku, 5)
	}
	time.Sleep(3 * time.Second)
	if n := shop.WriteCount() - before; n > 0 || len(s.gone()) > 0 {
		t.Errorf("%d writes went to a stranger, gone are %v", n, s.gone())
	}
	if a := s.call(http.MethodGet, "/orders/shop/"+id, "", ""); a.status != http.StatusNotFound {
		t.Errorf("a stranger's order is answered %d: %s", a.status, a.body)
	}
	if a := s.call(http.MethodPost, "/connections/shop/account", "application/json", `{"account":"stranger"}`); a.status != http.StatusOK {
		t.Fatalf("accepting is answered %d: %s", a.status, a.body)
	}
	paused(false)
	s.wantIncidents("wrong_shop", 0)
	s.h.shows("shop", "N-002", 15)
	s.h.shows("shop", "N-001", 13)

	shop.SetID("moved")
	paused(true)
	s.h.must(exitOK, "account", "shop", "--accept", "moved")
	paused(false)
	s.h.receive("N-002", 1)
	s.h.shows("shop", "N-002", 16)
	s.wantIncidents("wrong_shop", 0)
}
