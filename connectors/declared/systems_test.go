package declared_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/stock"
)

const (
	secretJST = "jushuitan-app-secret"
	secretWDT = "wangdian-app-secret"
)

// The signatures of the pretend systems are made here a second time, apart from the package that the connector uses.
func md5Of(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func joined(p map[string]string, equals, between string, skipEmpty bool) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if name != "sign" && (p[name] != "" || !skipEmpty) {
			pairs = append(pairs, name+equals+p[name])
		}
	}
	return strings.Join(pairs, between)
}

func joinedWithLengths(p map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if name != "sign" {
			pairs = append(pairs, fmt.Sprintf("%02d-%s:%04d-%s", len(name), name, utf8.RuneCountInString(p[name]), p[name]))
		}
	}
	return strings.Join(pairs, ";")
}

func jushuitanSettings() connectors.Settings {
	return connectors.Settings{"app_key": "ak", "app_secret": secretJST, "shop_id": "7", "since": since(), "pace": "10000"}
}

func wangdianSettings() connectors.Settings {
	return connectors.Settings{"sid": "test2", "appkey": "test-ot", "appsecret": secretWDT, "shop_no": "1", "since": since(), "pace": "10000"}
}

func TestJushuitan(t *testing.T) {
	t.Parallel()
	f := load(t, "jushuitan.yaml")
	connectortest.RunSystemOfRecord(t, connectortest.Fixture{Skip: f.Skip, New: func(t *testing.T) connectortest.Server {
		return newERP(t, f).server(jushuitanSettings(), secretJST)
	}})
}

func TestWangdian(t *testing.T) {
	t.Parallel()
	f := load(t, "wangdian.yaml")
	connectortest.RunSystemOfRecord(t, connectortest.Fixture{Skip: f.Skip, New: func(t *testing.T) connectortest.Server {
		return newERP(t, f).server(wangdianSettings(), secretWDT)
	}})
}

// systems runs a test against both.
func systems(t *testing.T, run func(t *testing.T, e *erp, r connectors.SystemOfRecord)) {
	for name, settings := range map[string]connectors.Settings{"jushuitan.yaml": jushuitanSettings(), "wangdian.yaml": wangdianSettings()} {
		t.Run(name, func(t *testing.T) {
			e := newERP(t, load(t, name))
			r, err := e.open(connectors.Env{}, settings)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Close() })
			run(t, e, r)
		})
	}
}

func order(key string) connectors.NewOrder {
	return connectors.NewOrder{Key: key, Channel: "shop", OrderID: key, PlacedAt: time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC),
		Lines: []connectors.OrderLine{{LineID: "1", SKU: "TEA", Quantity: 2}, {LineID: "2", SKU: "CUP", Quantity: 1}}}
}

// What is cancelled as a whole stays cancelled when it is cancelled again; a part is refused with what a person does.
func TestWholeOrdersAreCancelled(t *testing.T) {
	systems(t, func(t *testing.T, e *erp, r connectors.SystemOfRecord) {
		if _, err := r.CreateOrder(t.Context(), order("shop:1")); err != nil {
			t.Fatal(err)
		}
		err := r.CancelOrder(t.Context(), "shop:1", []connectors.CancelLine{{LineID: "1", Cancelled: 1}})
		if connectors.KindOf(err) != connectors.Rejected || !strings.Contains(err.Error(), "by hand") {
			t.Errorf("a part: %v", err)
		}
		for range 2 {
			if err := r.CancelOrder(t.Context(), "shop:1", nil); err != nil {
				t.Fatal(err)
			}
		}
		s, err := r.(connectors.OrderTeller).OrderStanding(t.Context(), "shop:1")
		if err != nil || len(s.Lines) != 2 || s.Lines[0].Cancelled != 2 || s.Lines[1].Cancelled != 1 {
			t.Errorf("%+v, %v", s, err)
		}
		if err := r.CancelOrder(t.Context(), "shop:2", nil); connectors.KindOf(err) != connectors.Unmapped {
			t.Errorf("an order that there is not: %v", err)
		}
	})
}

// What was sent comes back by line and place, and the levels fall.
func TestShipmentsComeBack(t *testing.T) {
	systems(t, func(t *testing.T, e *erp, r connectors.SystemOfRecord) {
		if _, err := r.CreateOrder(t.Context(), order("shop:1")); err != nil {
			t.Fatal(err)
		}
		teller := r.(connectors.OrderTeller)
		s, err := teller.OrderStanding(t.Context(), "shop:1")
		if err != nil || shipped(s) != 0 {
			t.Errorf("before: %+v, %v", s, err)
		}
		if n := e.ship("shop:1"); n != 3 {
			t.Fatalf("%d units are shipped", n)
		}
		s, err = teller.OrderStanding(t.Context(), "shop:1")
		if err != nil || shipped(s) != 3 || s.Lines[0].LineID != "1" || s.Lines[0].Places[0].Shipped != 2 {
			t.Errorf("after: %+v, %v", s, err)
		}
		page, err := r.Levels(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page.Levels {
			if l.SKU == "TEA" && l.Quantity != 38 {
				t.Errorf("the level is %+v", l)
			}
		}
		if _, err := teller.OrderStanding(t.Context(), "shop:9"); connectors.KindOf(err) != connectors.Unmapped {
			t.Errorf("an order that there is not: %v", err)
		}
	})
}

func shipped(s connectors.Standing) stock.Quantity {
	var n stock.Quantity
	for _, l := range s.Lines {
		for _, p := range l.Places {
			n += p.Shipped
		}
	}
	return n
}

// A status 200 whose code says that nothing happened is what the code says, with what a person is to do.
func TestCodesInAnswers(t *testing.T) {
	for name, codes := range map[string]map[int]connectors.ErrorKind{
		"jushuitan.yaml": {10: connectors.Auth, 110: connectors.Auth, 140: connectors.Retryable, 150: connectors.Auth, 170: connectors.Rejected, 190: connectors.Auth,
			199: connectors.Throttled, 200: connectors.Throttled, 9999: connectors.Rejected},
		"wangdian.yaml": {1012: connectors.Throttled, 1013: connectors.Throttled, 1020: connectors.Retryable, 1060: connectors.Auth, 9999: connectors.Rejected},
	} {
		settings := map[string]connectors.Settings{"jushuitan.yaml": jushuitanSettings(), "wangdian.yaml": wangdianSettings()}[name]
		for code, kind := range codes {
			e := newERP(t, load(t, name))
			r, err := e.open(connectors.Env{}, settings)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Check(t.Context()); err != nil { // the token is there
				t.Fatal(err)
			}
			e.busy(code, 1)
			_, err = r.Levels(t.Context(), "")
			if connectors.KindOf(err) != kind || !strings.Contains(err.Error(), fmt.Sprint(code)) {
				t.Errorf("%s: code %d: %v", name, code, err)
			}
			if wait := time.Until(connectors.RetryAt(err)); kind == connectors.Throttled && (wait < time.Second || wait > 2*time.Minute) {
				t.Errorf("%s: code %d: wait %s", name, code, wait)
			}
		}
	}
}

// A token that the system no longer knows is renewed once by the refresh token, and the call goes on; so does an order.
func TestTokensAreRenewed(t *testing.T) {
	e := newERP(t, load(t, "jushuitan.yaml"))
	r, err := e.open(connectors.Env{}, jushuitanSettings())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := r.CreateOrder(t.Context(), order(fmt.Sprintf("shop:%d", i))); err != nil {
			t.Fatal(err)
		}
		e.mu.Lock()
		clear(e.tokens)
		e.mu.Unlock()
	}
	if e.renewed != 2 || e.calls["/openWeb/auth/getInitToken"] != 1 || len(e.orders) != 3 {
		t.Errorf("%d renewals, %d first tokens, %d orders", e.renewed, e.calls["/openWeb/auth/getInitToken"], len(e.orders))
	}
}

// An order that was pushed and not yet taken over by the ERP is not found; pushed again it is the same one.
func TestAnOrderThatIsNotFoundYetIsNoSecondOne(t *testing.T) {
	e := newERP(t, load(t, "wangdian.yaml"))
	e.late = true
	r, err := e.open(connectors.Env{}, wangdianSettings())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if number, err := r.CreateOrder(t.Context(), order("shop:1")); err != nil || number != "shop:1" {
			t.Fatalf("%q, %v", number, err)
		}
	}
	if len(e.orders) != 1 {
		t.Errorf("%d orders", len(e.orders))
	}
}

// An article that changes while the windows are read is told once, with what it has at the end.
func TestWhatChangesMeanwhileIsToldOnce(t *testing.T) {
	systems(t, func(t *testing.T, e *erp, r connectors.SystemOfRecord) {
		first, err := r.Levels(t.Context(), "")
		if err != nil || len(first.Levels) != 3 {
			t.Fatalf("%+v, %v", first, err)
		}
		e.mu.Lock()
		e.stock["TEA"].quantity, e.stock["TEA"].changed = 5, time.Now()
		e.mu.Unlock()
		page, err := r.Levels(t.Context(), "")
		if err != nil || len(page.Levels) != 3 {
			t.Fatalf("%+v, %v", page, err)
		}
		for _, l := range page.Levels {
			if l.SKU == "TEA" && l.Quantity != 5 {
				t.Errorf("%+v", l)
			}
		}
	})
}
