package vendure

import (
	"bytes"
	"cmp"
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

// pretend answers the connector's lists as Vendure pages and sorts them, so that rows can be changed between two pages.
type pretend struct {
	variants []variant
	orders   []order
	behind   time.Duration // its clock
	after    time.Time     // of the last list of orders
	answered func()        // after each page
}

// RoundTrip implements http.RoundTripper.
func (p *pretend) RoundTrip(req *http.Request) (*http.Response, error) {
	var asked struct {
		Query     string `json:"query"`
		Variables struct {
			Options struct {
				Skip   int `json:"skip"`
				Take   int `json:"take"`
				Filter struct {
					UpdatedAt struct {
						After time.Time `json:"after"`
					} `json:"updatedAt"`
				} `json:"filter"`
			} `json:"options"`
		} `json:"variables"`
	}
	if err := json.UnmarshalRead(req.Body, &asked); err != nil {
		return nil, err
	}
	o := asked.Variables.Options
	var data any
	switch {
	case strings.HasPrefix(asked.Query, "query Locations"):
		data = map[string]any{"stockLocations": map[string]any{"items": []map[string]any{{"id": "1", "name": "only"}}}}
	case strings.HasPrefix(asked.Query, "query Listings"):
		data = map[string]any{
			"globalSettings":  map[string]any{"trackInventory": true, "outOfStockThreshold": 0},
			"productVariants": map[string]any{"items": part(p.variants, o.Skip, o.Take)},
		}
		p.answered()
	case strings.HasPrefix(asked.Query, "query Orders"):
		p.after = o.Filter.UpdatedAt.After
		var rows []order
		for _, row := range p.orders {
			if row.UpdatedAt.After(p.after) {
				rows = append(rows, row)
			}
		}
		slices.SortFunc(rows, func(a, b order) int {
			return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), compareIDs(a.ID, b.ID))
		})
		data = map[string]any{"orders": map[string]any{"items": part(rows, o.Skip, o.Take)}}
		p.answered()
	}
	body, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return nil, err
	}
	header := http.Header{"Date": {time.Now().Add(-p.behind).UTC().Format(http.TimeFormat)}}
	return &http.Response{StatusCode: 200, Header: header, Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
}

func part[T any](rows []T, skip, take int) []T {
	return append([]T{}, rows[min(skip, len(rows)):min(skip+take, len(rows))]...)
}

func (p *pretend) open(t testing.TB) connectors.Marketplace {
	t.Helper()
	if p.answered == nil {
		p.answered = func() {}
	}
	conn, err := Info().Open(connectors.Env{Transport: p}, connectors.MarketplaceRole, connectors.Settings{
		settingBaseURL: "http://shop.example/admin-api", settingAPIKey: "key", settingHandler: "manual-fulfillment",
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn.(connectors.Marketplace)
}

// TestListingsSurviveDeletions deletes variants between the pages: every one that stays is listed, once, in order.
func TestListingsSurviveDeletions(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		zero, no := int64(0), false
		p := &pretend{}
		for i := range 450 {
			p.variants = append(p.variants, variant{ID: strconv.Itoa(i + 1), TrackInventory: "INHERIT",
				OutOfStockThreshold: &zero, UseGlobalOutOfStockThreshold: &no})
		}
		p.answered = func() {
			for range random.IntN(3) * random.IntN(40) { // sometimes more than a page overlaps
				i := random.IntN(len(p.variants))
				p.variants = slices.Delete(p.variants, i, i+1)
			}
		}
		m := p.open(t)
		var listed []string
		for cursor, pages := connectors.Cursor(""), 0; pages == 0 || cursor != ""; pages++ {
			page, err := m.Listings(t.Context(), cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range page.Rows {
				listed = append(listed, l.Ref.Item)
			}
			if cursor = page.Next; pages > 100 {
				t.Fatalf("seed %d: the list does not end", seed)
			}
		}
		if !slices.IsSortedFunc(listed, compareIDs) || len(slices.Compact(slices.Clone(listed))) != len(listed) {
			t.Errorf("seed %d: the list is out of order or repeats itself", seed)
		}
		for _, v := range p.variants {
			if !slices.Contains(listed, v.ID) {
				t.Errorf("seed %d: variant %s is not listed", seed, v.ID)
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
			p.orders = append(p.orders, order{ID: strconv.Itoa(i + 1), Code: "O" + strconv.Itoa(i+1), State: "PaymentSettled",
				OrderPlacedAt: base, UpdatedAt: at})
		}
		changes := 5
		p.answered = func() {
			for range changes * 6 {
				p.orders[random.IntN(len(p.orders))].UpdatedAt = base.Add(time.Minute + time.Duration(random.IntN(1000))*time.Millisecond)
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
			if want := version(o.UpdatedAt, 0); seen[o.Code] != want {
				t.Errorf("seed %d: order %s was last seen at version %d, and is at %d", seed, o.Code, seen[o.Code], want)
			}
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
		if latest := since.Add(-max(0, behind) - orderOverlap + 2*time.Second); p.after.After(latest) {
			t.Errorf("with a clock %s behind the orders are listed from %s, after %s", behind, p.after, latest)
		}
	}
}
