package medusa

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
)

// pretend answers the connector's lists as Medusa pages and sorts them, so that rows can be changed between two pages.
type pretend struct {
	variants []string // ids
	orders   []orderRow
	behind   time.Duration // its clock
	from     time.Time     // of the last list of orders
	answered func()        // after each page
}

type orderRow struct {
	ID        string    `json:"id"`
	Status    string    `json:"status"`
	Payment   string    `json:"payment_status,omitempty"`
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Items     []string  `json:"items"`
}

// RoundTrip implements http.RoundTripper.
func (p *pretend) RoundTrip(req *http.Request) (*http.Response, error) {
	query := req.URL.Query()
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil {
		return nil, fmt.Errorf("the limit: %w", err)
	}
	offset, _ := strconv.Atoi(query.Get("offset"))
	var data any
	switch req.URL.Path {
	case "/admin/stock-locations":
		data = map[string]any{"stock_locations": []map[string]any{{"id": "sloc_1", "name": "only"}}}
	case "/admin/product-variants":
		rows := []map[string]any{}
		for _, id := range section(p.variants, offset, limit) {
			rows = append(rows, map[string]any{"id": id, "manage_inventory": true, "allow_backorder": false, "product": map[string]any{"status": "published"}})
		}
		data = map[string]any{"variants": rows}
		p.answered()
	case "/admin/orders":
		if p.from, err = time.Parse(time.RFC3339Nano, query.Get("updated_at[$gte]")); err != nil {
			return nil, err
		}
		var rows []orderRow
		for _, row := range p.orders {
			if !row.UpdatedAt.Before(p.from) {
				rows = append(rows, row)
			}
		}
		slices.SortFunc(rows, func(a, b orderRow) int {
			return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), strings.Compare(a.ID, b.ID))
		})
		data = map[string]any{"orders": section(rows, offset, limit)}
		p.answered()
	}
	body, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Date": {time.Now().Add(-p.behind).UTC().Format(http.TimeFormat)}, "Content-Type": {"application/json"}}
	return &http.Response{StatusCode: 200, Header: header, Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
}

func section[T any](rows []T, skip, take int) []T {
	return append([]T{}, rows[min(skip, len(rows)):min(skip+take, len(rows))]...)
}

func (p *pretend) open(t testing.TB) connectors.Marketplace {
	t.Helper()
	if p.answered == nil {
		p.answered = func() {}
	}
	conn, err := Info().Open(connectors.Env{Transport: p}, connectors.MarketplaceRole, connectors.Settings{
		settingBaseURL: "http://shop.example", settingAPIKey: "sk_key",
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn.(connectors.Marketplace)
}

// TestListingsSurviveDeletions deletes variants between the pages: every one that stays is listed; and where nothing is
// deleted, each is listed once.
func TestListingsSurviveDeletions(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		p := &pretend{}
		for i := range 450 {
			p.variants = append(p.variants, fmt.Sprintf("variant_%04d", i))
		}
		p.answered = func() {
			for range random.IntN(int(seed)+1) / 2 { // up to what a page overlaps
				i := random.IntN(len(p.variants))
				p.variants = slices.Delete(p.variants, i, i+1)
			}
		}
		m := p.open(t)
		listed := map[string]int{}
		for cursor, pages := connectors.Cursor(""), 0; pages == 0 || cursor != ""; pages++ {
			page, err := m.Listings(t.Context(), cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range page.Rows {
				listed[l.Ref.Item]++
			}
			if cursor = page.Next; pages > 100 {
				t.Fatalf("seed %d: the list does not end", seed)
			}
		}
		for _, id := range p.variants {
			if n := listed[id]; n == 0 || seed < 2 && n != 1 {
				t.Errorf("seed %d: variant %s is listed %d times", seed, id, n)
			}
		}
	}
}

// TestOrdersSurviveChanges changes orders between the pages, many of them within the same instant: the last state of
// every order is listed, and the list ends.
func TestOrdersSurviveChanges(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 2))
		base := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
		p := &pretend{}
		for i := range 330 {
			at := base
			if seed%2 == 0 { // else all in one instant
				at = base.Add(time.Duration(random.IntN(60)) * time.Second)
			}
			p.orders = append(p.orders, orderRow{ID: "order_" + strconv.Itoa(i+1), Status: "pending", Version: 1, CreatedAt: base, UpdatedAt: at, Items: []string{}})
		}
		changes := 5
		p.answered = func() {
			for range changes * 6 {
				o := &p.orders[random.IntN(len(p.orders))]
				o.UpdatedAt = base.Add(time.Minute + time.Duration(random.IntN(1000))*time.Millisecond)
				o.Version++
			}
			changes = max(0, changes-1)
		}
		m := p.open(t)
		seen := map[string]int64{}
		watermark := time.Time{}
		for cursor, pages := connectors.Cursor(""), 0; pages == 0 || cursor != ""; pages++ {
			page, err := m.Orders(t.Context(), base, cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range page.Orders {
				seen[o.OrderID] = max(seen[o.OrderID], o.Version)
			}
			if watermark.IsZero() {
				watermark = page.Watermark
			}
			if !page.Watermark.Equal(watermark) || watermark.After(time.Now()) {
				t.Errorf("seed %d: page %d has the watermark %s", seed, pages, page.Watermark)
			}
			if cursor = page.Next; pages > 100 {
				t.Fatalf("seed %d: the list does not end", seed)
			}
		}
		for _, o := range p.orders {
			if want := o.Version * 4; seen[o.ID] != want {
				t.Errorf("seed %d: order %s was last seen at version %d, and is at %d", seed, o.ID, seen[o.ID], want)
			}
		}
	}
}

// TestOrdersBeingPlaced: Medusa stores an order before it reserves its units and has its payment authorized, and deletes it
// again if one of these fails. Until then it is not told, and the watermark stays before it.
func TestOrdersBeingPlaced(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, test := range []struct {
		status, payment string
		version         int64
		age             time.Duration
		told            bool
	}{
		{"pending", "not_paid", 1, time.Second, false},
		{"pending", "awaiting", 1, 30 * time.Second, false},
		{"pending", "requires_action", 1, time.Second, false},
		{"pending", "authorized", 1, time.Second, true},
		{"pending", "captured", 1, time.Second, true},
		{"pending", "", 1, time.Second, true},
		{"canceled", "not_paid", 1, time.Second, true},
		{"pending", "awaiting", 2, time.Second, true},
		{"pending", "not_paid", 1, 2 * time.Minute, true},
	} {
		at := now.Add(-test.age)
		row := orderRow{ID: "order_new", Status: test.status, Payment: test.payment, Version: test.version, CreatedAt: at, UpdatedAt: at, Items: []string{}}
		p := &pretend{}
		for i := range orderPage { // the order is on the second page
			p.orders = append(p.orders, orderRow{ID: "order_" + strconv.Itoa(i), Status: "pending", Payment: "captured", Version: 1, CreatedAt: at.Add(-time.Hour), UpdatedAt: at.Add(-time.Minute), Items: []string{}})
		}
		p.orders = append(p.orders, row)
		m := p.open(t)
		told := false
		var last connectors.OrderPage
		for cursor, pages := connectors.Cursor(""), 0; pages == 0 || cursor != ""; pages++ {
			page, err := m.Orders(t.Context(), now.Add(-time.Hour), cursor)
			if err != nil {
				t.Fatal(err)
			}
			told = told || slices.ContainsFunc(page.Orders, func(o connectors.Order) bool { return o.OrderID == row.ID })
			cursor, last = page.Next, page
		}
		if told != test.told {
			t.Errorf("a %s order, payment %q, %s old: told %v", test.status, test.payment, test.age, told)
		}
		if last.Watermark.Before(at) == test.told {
			t.Errorf("a %s order, payment %q, %s old: the watermark is %s after it", test.status, test.payment, test.age, last.Watermark.Sub(at))
		}
	}
}

// TestOrdersOfASlowClock: the shop's times of change are by its own clock, since is by ours.
func TestOrdersOfASlowClock(t *testing.T) {
	since := time.Now()
	for _, behind := range []time.Duration{0, time.Minute, -time.Minute} {
		p := &pretend{behind: behind}
		if _, err := p.open(t).Orders(t.Context(), since, ""); err != nil {
			t.Fatal(err)
		}
		if latest := since.Add(-max(0, behind) - orderOverlap + 2*time.Second); p.from.After(latest) {
			t.Errorf("with a clock %s behind the orders are listed from %s, after %s", behind, p.from, latest)
		}
	}
}
