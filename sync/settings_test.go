package sync_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// decide makes a policy the newest version.
func (h *house) decide(key, value string, at time.Time) stocksync.SettingView {
	h.t.Helper()
	views, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{Name: "tester", Reason: "because"},
		[]stocksync.SettingChange{{Kind: stocksync.PolicySetting, Key: key, Value: []byte(value), EffectiveAt: at}})
	if err != nil {
		h.t.Fatal(err)
	}
	return views[0]
}

func TestTheMostParticularPolicyDecidesEachField(t *testing.T) {
	shops := map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}
	within(t, houseOptions{positions: true, shops: shops, policy: stock.Policy{Buffer: 1}}, func(h *house) {
		h.stocked("X", 20)
		h.stocked("Y", 20)
		h.settled()
		h.shows("a", "X", 19)

		h.decide("all", `{"safety_stock":2}`, time.Time{})
		h.decide("channel:a", `{"safety_stock":3}`, time.Time{})
		h.decide("sku:X", `{"safety_stock":5,"cap":12}`, time.Time{})
		h.settled()
		last := h.decide("listing:b:X", `{"safety_stock":8}`, time.Time{})
		h.settled()
		h.shows("a", "Y", 20-3-1)
		h.shows("b", "Y", 20-2-1)
		h.shows("a", "X", 12)     // 20-5-1, capped
		h.shows("b", "X", 20-8-1) // its cap is above

		progress, err := h.engine.SettingChange(h.ctx, id(t, last.ID))
		if err != nil || progress.State != "shown" || progress.Changed != 1 || progress.Shown != 1 || progress.ShownMS == nil || *progress.ShownMS < *progress.AcceptedMS {
			t.Errorf("the change is %+v (%v), want it shown at one listing", progress, err)
		}
		h.decide("sku:X", `null`, time.Time{})
		h.settled()
		h.shows("a", "X", 20-3-1)
		h.restart()
		h.settled()
		h.shows("b", "X", 20-8-1)

		// What was decided since does not change why a number was shown then.
		before := time.Now()
		time.Sleep(time.Second)
		h.decide("listing:b:X", `{"safety_stock":19}`, time.Time{})
		h.settled()
		h.shows("b", "X", 0)
		x, err := h.engine.Explain(h.ctx, stocksync.ListingKey{Connection: "b", Ref: ref("X")}, before)
		if err != nil || x.Components[0].Packs != 20-8-1 {
			t.Errorf("the past is explained with %+v (%v)", x.Components, err)
		}

		trail, err := h.engine.Audit(h.ctx, "policy sku:X", 0, 10)
		if err != nil || len(trail) != 2 || trail[1].Action != "policy removed" || trail[1].By != "tester" || trail[1].Reason != "because" ||
			string(trail[1].Before) != `{"safety_stock":5,"cap":12}` || trail[1].After != nil {
			t.Errorf("the trail is %+v (%v)", trail, err)
		}
	})
}

func TestADecisionComesIntoForceAtItsInstant(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 20)
		h.settled()
		at := time.Now().Add(3 * time.Hour).Add(123 * time.Millisecond)
		change := h.decide("sku:X", `{"cap":4}`, at)
		h.settled()
		h.shows("a", "X", 20)
		if p, err := h.engine.SettingChange(h.ctx, id(t, change.ID)); err != nil || p.State != "saved" {
			t.Errorf("before its instant the change is %+v (%v), want it saved", p, err)
		}
		time.Sleep(time.Until(at) - time.Millisecond)
		h.restart() // a process that was down over it, or not, makes no difference
		h.shows("a", "X", 20)
		time.Sleep(2 * time.Second)
		h.settled()
		h.shows("a", "X", 4)
	})
}

func TestAPreviewTellsAndChangesNothing(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		h.stocked("X", 20)
		h.stocked("Y", 3)
		h.settled()
		writes := h.shops["a"].WriteCount()
		rows, err := h.engine.PreviewSettings(h.ctx, []stocksync.SettingChange{{Kind: stocksync.PolicySetting, Key: "all", Value: []byte(`{"safety_stock":5}`)}}, stocksync.ListingKey{}, 10)
		if err != nil || len(rows) != 2 || *rows[0].After != 15 || *rows[1].Before != 3 || *rows[1].After != 0 {
			t.Errorf("the preview is %+v (%v)", rows, err)
		}
		var paged []stocksync.PreviewView
		for after := (stocksync.ListingKey{}); ; {
			page, err := h.engine.PreviewSettings(h.ctx, []stocksync.SettingChange{{Kind: stocksync.PolicySetting, Key: "all", Value: []byte(`{"safety_stock":5}`)}}, after, 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			after = stocksync.ListingKey{Connection: page[0].Connection, Ref: connectors.Ref{Item: page[0].Item, Place: page[0].Place}}
		}
		if !reflect.DeepEqual(paged, rows) {
			t.Errorf("page by page the preview is %+v, at once %+v", paged, rows)
		}
		h.settled()
		h.shows("a", "X", 20)
		if n := h.shops["a"].WriteCount(); n != writes {
			t.Errorf("the preview led to %d writes", n-writes)
		}
	})
}

func TestSettingsThatMakeNoSenseAreRefusedByField(t *testing.T) {
	within(t, houseOptions{shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		for value, field := range map[string]string{
			`{"cap":-1}`:                "cap",
			`{"share_permille":1001}`:   "share_permille",
			`{"oversell_permille":999}`: "oversell_permille",
			`{"last_units":3}`:          "last_units",
			`{"cap":1.5}`:               "",
			`{"cap":1,"cap":2}`:         "",
			`{"safty_stock":1}`:         "",
			`[1]`:                       "",
			`{"preferred_channel":"no","last_units":1}`: "preferred_channel",
		} {
			_, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{}, []stocksync.SettingChange{{Kind: stocksync.PolicySetting, Key: "all", Value: []byte(value)}})
			f, ok := errors.AsType[*stock.FieldError](err)
			if err == nil || field != "" && (!ok || f.Field != field) {
				t.Errorf("%s: error %v, want one about %q", value, err, field)
			}
		}
		for _, key := range []string{"", "sku", "sku:", "chanel:a", "channel:nobody", "listing:a", "listing:a:x:y:z", "all:x"} {
			if _, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{}, []stocksync.SettingChange{{Kind: stocksync.PolicySetting, Key: key, Value: []byte(`{}`)}}); err == nil {
				t.Errorf("the key %q is taken", key)
			}
		}
		two := int64(2)
		changes := []stocksync.SettingChange{
			{Kind: stocksync.PolicySetting, Key: "all", Value: []byte(`{"cap":5}`)},
			{Kind: stocksync.PolicySetting, Key: "sku:X", Value: []byte(`{"cap":5}`), Version: &two},
		}
		if _, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{}, changes); !errors.Is(err, stocksync.ErrConflict) {
			t.Errorf("a change made from a version that is not there: %v", err)
		}
		if _, err := h.engine.ChangeSettings(h.ctx, stocksync.Actor{}, []stocksync.SettingChange{{Kind: stocksync.PolicySetting, Key: "all", Value: []byte(`{}`), EffectiveAt: time.Now().Add(-time.Second)}}); err == nil {
			t.Error("a change of the past is taken")
		}
		if _, err := h.engine.SettingVersions(h.ctx, stocksync.PolicySetting, "all"); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("half of a refused change is stored: %v", err)
		}
	})
}

func TestAKeyIsTheSameHoweverItIsWritten(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		for _, sku := range []string{"Größe M", "A/1", "A+B", "50%", "x:y"} {
			h.stocked(sku, 20)
		}
		h.settled()
		for _, key := range []string{"sku:Größe M", "sku:A/1", "sku:A+B", "sku:50%25", "sku:x%3Ay"} {
			h.decide(key, `{"safety_stock":5}`, time.Time{})
		}
		h.settled()
		for _, sku := range []string{"Größe M", "A/1", "A+B", "50%", "x:y"} {
			h.shows("a", sku, 15)
		}
		h.decide("sku:A%2F1", `{"safety_stock":6}`, time.Time{})
		versions, err := h.engine.SettingVersions(h.ctx, stocksync.PolicySetting, "sku:A/1")
		if err != nil || len(versions) != 2 {
			t.Errorf("another way to write a key is another setting: %+v (%v)", versions, err)
		}
	})
}

func TestWhatWasDecidedHoldsWithoutAChannelThatItNames(t *testing.T) {
	within(t, houseOptions{positions: true, shops: map[string]open.MarketplaceCapabilities{"a": cas, "b": cas}}, func(h *house) {
		h.stocked("X", 20)
		h.decide("all", `{"safety_stock":5,"last_units":1,"preferred_channel":"b"}`, time.Time{})
		h.settled()
		h.shows("a", "X", 15)
		all := h.config.Channels
		for _, c := range all {
			if c.ID == "a" {
				h.config.Channels = []stocksync.Channel{c}
			}
		}
		h.restart()
		h.settled()
		if err := h.warehouse.Receive("X", "main", 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.settled()
		h.shows("a", "X", 16)
		h.config.Channels = all
	})
}

func TestSettingsInAndOutAsCSV(t *testing.T) {
	within(t, houseOptions{shops: map[string]open.MarketplaceCapabilities{"a": cas}}, func(h *house) {
		in := "key,safety_stock,cap,last_units,preferred_channel\nall,2,,,\nsku:a%3Ab,,7,1,a\n"
		v, err := h.engine.ImportSettings(h.ctx, stocksync.Actor{Name: "tester"}, stocksync.PolicySetting, strings.NewReader(in))
		if err != nil || v.Settings != 2 || len(v.Errors) > 0 {
			t.Fatalf("%+v %v", v, err)
		}
		var out strings.Builder
		if err := h.engine.ExportSettings(h.ctx, stocksync.PolicySetting, &out); err != nil {
			t.Fatal(err)
		}
		again, err := h.engine.ImportSettings(h.ctx, stocksync.Actor{}, stocksync.PolicySetting, strings.NewReader(out.String()))
		if err != nil || again.Settings != 0 || len(again.Errors) > 0 {
			t.Errorf("what was exported decides something new: %+v %v\n%s", again, err, out.String())
		}
		bad := "key,cap,safety_stock\nall,x,\nsku:A,-1,\nsku:B,1,1\nsku:B,2,\n,3,\n"
		v, err = h.engine.ImportSettings(h.ctx, stocksync.Actor{}, stocksync.PolicySetting, strings.NewReader(bad))
		var lines []int
		for _, e := range v.Errors {
			lines = append(lines, e.Line)
		}
		if err != nil || v.Settings != 0 || len(lines) != 4 || lines[0] != 2 || lines[1] != 3 || lines[2] != 5 || lines[3] != 6 {
			t.Errorf("bad rows: %+v %v", v, err)
		}
		if _, err := h.engine.SettingVersions(h.ctx, stocksync.PolicySetting, "sku:B"); !errors.Is(err, stocksync.ErrNotFound) {
			t.Errorf("half of a refused file is stored: %v", err)
		}
		v, err = h.engine.ImportSettings(h.ctx, stocksync.Actor{}, stocksync.PolicySetting, strings.NewReader("key,cap\nall,1\nsku:A,\"2"))
		if err != nil || v.Settings != 0 || len(v.Errors) != 1 || v.Errors[0].Line != 3 {
			t.Errorf("a quote that does not end: %+v %v", v, err)
		}
	})
}

func TestPolicyKeysSayWhatTheyAreRead(t *testing.T) {
	for _, key := range []stocksync.PolicyKey{{}, {SKU: "a:b/c %"}, {Channel: "shop"}, {Channel: "shop", Ref: ref("x:y")}, {Channel: "s", Ref: ref("ü")}} {
		back, err := stocksync.ParsePolicyKey(key.String())
		if err != nil || back != key {
			t.Errorf("%+v is written %s and read %+v (%v)", key, key, back, err)
		}
	}
}
