package fake

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors/open"
)

// The values of quantity_means.
const (
	// MeansAvailable: a sale takes the units out of the shown quantity at once.
	MeansAvailable = "available"
	// MeansOnHand and MeansGross: the shown quantity contains the units of open orders; what can be bought is the
	// shown quantity less those. Units that are shipped leave both.
	MeansOnHand = "on_hand"
	MeansGross  = "gross"
)

// The statuses of a listing.
const (
	active  = "active"
	stopped = "stopped"
)

// ShopConfig describes a shop.
type ShopConfig struct {
	// Capabilities are what the shop tells of itself, and how it behaves. Empty fields mean: shop_id "shop", the same
	// name, batches of 250, quantities that mean available.
	Capabilities open.MarketplaceCapabilities
	// Token is what clients must bear; empty means "token".
	Token string
	// Seed decides every fault and identifier.
	Seed   uint64
	Faults Faults
	// PageSize is the most rows of a page; zero means 500.
	PageSize int
	// AnswersAccepted makes writes answer accepted instead of ok.
	AnswersAccepted bool
	// FeedDelay makes a write a line of a feed: it is answered accepted, and done only after the delay.
	FeedDelay time.Duration
	// RestocksOnCancel makes the shop put cancelled units back on show by itself.
	RestocksOnCancel bool
	// KeepWrites bounds the log of writes to the newest; zero keeps all, a negative number none.
	KeepWrites int
}

// Shop is a pretend marketplace. All its methods are safe for concurrent use.
type Shop struct {
	*base
	caps     open.MarketplaceCapabilities
	pageSize int
	accepted bool
	restocks bool
	keep     int
	feed     time.Duration
	queue    []queuedWrite

	listings map[open.Ref]*listing
	sorted   []*listing // by item and place; valid while unsorted is false
	unsorted bool
	writes   []WriteRecord
	written  int
	applied  remembered

	orders   map[string]*order
	placed   []*order // in the order of their placing
	changes  []change
	changed  int64 // the number of the newest change
	shipped  map[string]bool
	remedies []open.Remedy
	nextSale int

	subscriptions []open.Subscription
}

// listing is one sale entry. shows is what buyers meet; readers are shown what shows was, where reads lag.
type listing struct {
	open.Listing
	shows int64
	open  int64 // units of open orders; counted where the quantity contains them
	late  []lateChange
	gone  bool
}

// lateChange is a quantity that readers do not see yet.
type lateChange struct {
	before  int64
	visible time.Time
}

// NewShop makes a shop without listings.
func NewShop(c ShopConfig) *Shop {
	caps := c.Capabilities
	caps.ShopID = cmp.Or(caps.ShopID, "shop")
	caps.Name = cmp.Or(caps.Name, caps.ShopID)
	caps.BatchSize = cmp.Or(caps.BatchSize, 250)
	caps.QuantityMeans = cmp.Or(caps.QuantityMeans, MeansAvailable)
	s := &Shop{
		base:     newBase(caps.ShopID, cmp.Or(c.Token, "token"), c.Seed, c.Faults),
		caps:     caps,
		pageSize: cmp.Or(c.PageSize, defaultPageSize),
		accepted: c.AnswersAccepted,
		restocks: c.RestocksOnCancel,
		keep:     c.KeepWrites,
		feed:     c.FeedDelay,
		listings: map[open.Ref]*listing{},
		orders:   map[string]*order{},
		shipped:  map[string]bool{},
		nextSale: 1001,
	}
	s.handle(
		endpoint{"GET /capabilities", faultsOfCalls, s.serveCapabilities},
		endpoint{"GET /listings", faultsOfCalls, s.serveListings},
		endpoint{"POST /stock/read", faultsOfCalls, s.serveRead},
		endpoint{"POST /stock/write", faultsOfWrites, s.serveWrite},
		endpoint{"GET /orders", faultsOfCalls, s.serveOrders},
	)
	if caps.Subscriptions {
		s.handle(endpoint{"GET /webhooks", faultsOfCalls, s.serveSubscriptions},
			endpoint{"POST /webhooks", faultsOfChanges, s.serveSubscribe})
	}
	if caps.Shipments {
		s.handle(endpoint{"POST /shipments", faultsOfChanges, s.serveShipment})
	}
	if caps.Remedies {
		s.handle(endpoint{"POST /remedies", faultsOfChanges, s.serveRemedy})
	}
	if caps.StopSale {
		s.handle(endpoint{"POST /listings/stop", faultsOfChanges, s.serveStatus(stopped)},
			endpoint{"POST /listings/resume", faultsOfChanges, s.serveStatus(active)})
	}
	return s
}

// ID is the shop's own name for itself.
func (s *Shop) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.caps.ShopID
}

// SetID makes the shop answer as another one, as credentials of the wrong account do.
func (s *Shop) SetID(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.caps.ShopID = id
}

// AddListing puts a listing up, or replaces it. An empty status means active, no quantity 0. It sends nothing.
func (s *Shop) AddListing(l open.Listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := &listing{Listing: l}
	if l.Quantity != nil {
		added.shows = *l.Quantity
	}
	added.Quantity = nil
	added.Status = cmp.Or(l.Status, active)
	added.UpdatedAt = s.stamp()
	ref := open.Ref{Item: l.Item, Place: l.Place}
	if old := s.listings[ref]; old != nil {
		old.gone = true
		added.open = old.open
	}
	s.listings[ref] = added
	s.sorted = append(s.sorted, added)
	s.unsorted = true
}

// Delete takes a listing down, all of its places, and tells so.
func (s *Shop) Delete(item string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for ref, l := range s.listings {
		if ref.Item == item {
			l.gone, found = true, true
			delete(s.listings, ref)
		}
	}
	if found {
		s.unsorted = true
		s.emit("listing.removed", s.stamp(), open.ListingEvent{Item: item})
	}
	return found
}

// SetQuantity is a person who edits the quantity at the shop.
func (s *Shop) SetQuantity(item, place string, quantity int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work()
	l := s.listings[open.Ref{Item: item, Place: place}]
	if l == nil {
		return false
	}
	l.Unlimited = false
	s.show(l, quantity, s.stamp(), "")
	return true
}

// Quantity is what the listing truly has, whatever readers are shown.
func (s *Shop) Quantity(item, place string) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work()
	if l := s.listings[open.Ref{Item: item, Place: place}]; l != nil {
		return l.shows, true
	}
	return 0, false
}

// Unlimited reports whether a listing is shown without a limit.
func (s *Shop) Unlimited(item, place string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work()
	l := s.listings[open.Ref{Item: item, Place: place}]
	return l != nil && l.Unlimited
}

// Sellable is how many a buyer could buy now.
func (s *Shop) Sellable(item, place string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work()
	if l := s.listings[open.Ref{Item: item, Place: place}]; l != nil {
		return s.sellable(l)
	}
	return 0
}

// Listings returns every listing with its true quantity, by item and place.
func (s *Shop) Listings() []open.Listing {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work()
	all := make([]open.Listing, 0, len(s.listings))
	for _, l := range s.inOrder() {
		all = append(all, l.wire(l.shows))
	}
	return all
}

func (s *Shop) inOrder() []*listing {
	if s.unsorted {
		s.sorted = slices.DeleteFunc(s.sorted, func(l *listing) bool { return l.gone })
		slices.SortFunc(s.sorted, func(a, b *listing) int {
			return cmp.Or(strings.Compare(a.Item, b.Item), strings.Compare(a.Place, b.Place))
		})
		s.unsorted = false
	}
	return s.sorted
}

func (l *listing) wire(quantity int64) open.Listing {
	out := l.Listing
	out.Quantity = &quantity
	return out
}

// containsOpen says whether shown quantities contain the units of open orders.
func (s *Shop) containsOpen() bool { return s.caps.QuantityMeans != MeansAvailable }

func (s *Shop) sellable(l *listing) int64 {
	switch {
	case l.Status != active:
		return 0
	case s.containsOpen():
		return l.shows - l.open
	default:
		return l.shows
	}
}

// show changes what a listing has, late for readers where the shop or the fault says so, and tells the change.
func (s *Shop) show(l *listing, quantity int64, now time.Time, fault Fault) {
	lag := time.Duration(s.caps.ReadLagMS) * time.Millisecond
	if fault == LateRead {
		lag = max(lag, s.in.faults.ReadLag)
	}
	l.late = slices.DeleteFunc(l.late, func(c lateChange) bool { return !c.visible.After(now) })
	if visible := now.Add(lag); lag > 0 || len(l.late) > 0 {
		if n := len(l.late); n > 0 && visible.Before(l.late[n-1].visible) {
			visible = l.late[n-1].visible // changes become visible in their order
		}
		l.late = append(l.late, lateChange{before: l.shows, visible: visible})
	}
	changed := l.shows != quantity
	l.shows, l.UpdatedAt = quantity, now
	if changed {
		s.tellListing(l, now)
	}
}

// seen is what a reader is shown: the value from before the first change that is not visible yet.
func (l *listing) seen(now time.Time) int64 {
	for _, c := range l.late {
		if c.visible.After(now) {
			return c.before
		}
	}
	return l.shows
}

func (s *Shop) tellListing(l *listing, now time.Time) {
	if !s.mail.wants("listing.changed") {
		return
	}
	quantity := l.shows
	s.emit("listing.changed", now, open.ListingEvent{Item: l.Item, Place: l.Place, SKU: l.SKU, Title: l.Title, Quantity: &quantity})
}

func (s *Shop) serveCapabilities(*http.Request, []byte, Fault) (any, *open.Problem) {
	return s.caps, nil
}

func (s *Shop) serveListings(r *http.Request, _ []byte, _ Fault) (any, *open.Problem) {
	limit, p := pageOf(r, s.pageSize)
	if p != nil {
		return nil, p
	}
	all, from := s.inOrder(), 0
	if text := r.URL.Query().Get("cursor"); text != "" {
		last, ok := parseListingCursor(text)
		if !ok {
			return nil, badCursor(text)
		}
		at, found := slices.BinarySearchFunc(all, last, func(l *listing, ref open.Ref) int {
			return cmp.Or(strings.Compare(l.Item, ref.Item), strings.Compare(l.Place, ref.Place))
		})
		if from = at; found {
			from++
		}
	}
	s.work()
	page := open.ListingsPage{Listings: []open.Listing{}}
	now := s.stamp()
	for _, l := range all[from:min(from+limit, len(all))] {
		page.Listings = append(page.Listings, l.wire(l.seen(now)))
	}
	if from+limit < len(all) {
		next := listingCursor(all[from+limit-1])
		page.Next = &next
	}
	return page, nil
}

func listingCursor(l *listing) string {
	return base64.RawURLEncoding.EncodeToString([]byte(l.Item + "\x00" + l.Place))
}

func parseListingCursor(text string) (open.Ref, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return open.Ref{}, false
	}
	item, place, ok := strings.Cut(string(raw), "\x00")
	return open.Ref{Item: item, Place: place}, ok
}

func (s *Shop) serveRead(_ *http.Request, body []byte, _ Fault) (any, *open.Problem) {
	req, p := decode[open.ReadRequest](body)
	if p != nil {
		return nil, p
	}
	if p := s.tooMany(len(req.Refs)); p != nil {
		return nil, p
	}
	s.work()
	now := s.stamp()
	answer := open.ReadAnswer{Readings: make([]open.Reading, 0, len(req.Refs))}
	for _, ref := range req.Refs {
		if l := s.listings[ref]; l != nil {
			quantity := l.seen(now)
			answer.Readings = append(answer.Readings, open.Reading{Item: ref.Item, Place: ref.Place, Quantity: &quantity, Unlimited: l.Unlimited, AsOf: now})
		}
	}
	return answer, nil
}

func (s *Shop) tooMany(n int) *open.Problem {
	if n > s.caps.BatchSize {
		return problem(http.StatusBadRequest, "batch_too_large", "%d lines in one call; at most %d are taken", n, s.caps.BatchSize)
	}
	return nil
}

func (s *Shop) serveStatus(status string) func(*http.Request, []byte, Fault) (any, *open.Problem) {
	return func(_ *http.Request, body []byte, _ Fault) (any, *open.Problem) {
		req, p := decode[open.StopRequest](body)
		if p != nil {
			return nil, p
		}
		if p := s.tooMany(len(req.Items)); p != nil {
			return nil, p
		}
		answer := open.StopAnswer{Results: make([]open.StopResult, 0, len(req.Items))}
		for _, item := range req.Items {
			answer.Results = append(answer.Results, s.setStatus(item, status))
		}
		return answer, nil
	}
}

func (s *Shop) setStatus(item, status string) open.StopResult {
	now := s.stamp()
	result := open.StopResult{Item: item, Status: "not_found", Code: "unknown_item", Message: fmt.Sprintf("no listing is called %q", item)}
	all := s.inOrder()
	at, _ := slices.BinarySearchFunc(all, item, func(l *listing, item string) int { return strings.Compare(l.Item, item) })
	for ; at < len(all) && all[at].Item == item; at++ {
		l := all[at]
		if l.Status != status {
			l.Status, l.UpdatedAt = status, now
			s.tellListing(l, now)
		}
		result = open.StopResult{Item: item, Status: "ok"}
	}
	return result
}
