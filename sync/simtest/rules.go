package simtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors/fake"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/stock"
	stocksync "github.com/truestock/truestock/sync"
)

// The rules of sale are parts of the world, each in a group of its own: a policy for a listing, an article, a channel or
// everything, what is sold by windows, campaigns, licence keys, oversell ratios, clearance. People decide about them at
// any time of a run, amid all faults. What is sold by a rule has an article and listings of its own; one listing alone
// sells it, save for the general stock beside a campaign.

// The articles that are sold by rules.
const (
	cappedSKU  = "CAPPED-1"  // unlimited, with a cap per window and a rate
	quotaSKU   = "QUOTA-1"   // a quota per window
	pooledSKU  = "POOLED-1"  // campaigns set units of it aside
	licenceSKU = "LICENCE-1" // sold by keys
	ratioSKU   = "RATIO-1"   // more may be sold than there is
)

// The listings that need a name: one sells from campaigns, one beside them.
const (
	flashItem = "flash"
	dailyItem = "daily"
)

// oversellBound is the highest oversell ratio that the configuration allows.
const oversellBound = 1200

// withRules adds the articles and listings of the rules that a seed uses. Each has a stream of its own.
func (w *world) withRules(seed uint64, has func(string) bool) {
	add := func(group, sku, rule string, least, most int) {
		if !has(group) {
			return
		}
		r := dice(seed, "rule", sku)
		a := article{sku: sku, rule: rule}
		for i := range w.locations {
			opening := int64(0)
			if rule != ruleKeys && (rule != ruleWindow || i == 0) {
				opening = int64(least + r.IntN(most-least+1))
			}
			a.opening = append(a.opening, opening)
		}
		w.articles = append(w.articles, a)
		item := strings.ToLower(sku)
		if sku == pooledSKU {
			w.listings = append(w.listings, listingSpec{shop: len(w.shops) - 1, item: dailyItem, parts: []partSpec{{sku, 1}}, late: true, guarded: true, rule: rule})
			item = flashItem
		}
		units := int64(1)
		if sku == ratioSKU {
			units = int64(1 + r.IntN(2))
		}
		w.listings = append(w.listings, listingSpec{item: item, parts: []partSpec{{sku, units}}, late: true, guarded: true, rule: rule})
	}
	// What no warehouse counts can still be sent by one: there is always enough of it.
	add(FaultWindows, cappedSKU, ruleWindow, 100_000, 100_000)
	add(FaultWindows, quotaSKU, ruleWindow, 100_000, 100_000)
	add(FaultPools, pooledSKU, rulePool, 250, 400)
	add(FaultKeys, licenceSKU, ruleKeys, 0, 0)
	add(FaultRatio, ratioSKU, ruleRatio, 10, 40)
	if has(FaultServices) {
		w.withServices(seed)
	}
	r := dice(seed, "windows")
	w.roll = time.Duration(5+r.IntN(30)) * time.Minute
}

// The rules by which an article is sold; empty: what is there is sold.
const (
	ruleWindow = "window"
	rulePool   = "pool"
	ruleKeys   = "keys"
	ruleRatio  = "ratio"
	// ruleService sells days ahead, up to what people and rooms are there.
	ruleService = "service"
)

// plain are the articles that are sold without a rule of their own.
func (w *world) plain() []article {
	if i := slices.IndexFunc(w.articles, func(a article) bool { return a.rule != "" }); i >= 0 {
		return w.articles[:i]
	}
	return w.articles
}

// stocked are the articles of which the warehouse has units.
func (w *world) stocked() []article {
	if i := slices.IndexFunc(w.articles, func(a article) bool { return a.rule == ruleKeys }); i >= 0 {
		return slices.Delete(slices.Clone(w.articles), i, i+1)
	}
	return w.articles
}

func (w *world) ruleOf(sku string) string {
	i := slices.IndexFunc(w.articles, func(a article) bool { return a.sku == recordSKU(sku) })
	if i < 0 {
		return ""
	}
	return w.articles[i].rule
}

// ruled is what a run remembers of the rules.
type ruled struct {
	set      bool
	versions []version
	// unsure is true once nobody could say whether a decision was stored.
	unsure    bool
	campaigns []*campaignSpec
	clearance map[string]bool
	keys      map[int64]string // the unit that a key was seen with
	imported  int64
	revoked   map[int64]bool
	minted    int
}

// version is what was decided: a policy, or how an article is sold.
type version struct {
	kind, key string
	at        time.Time
	fields    map[string]int64
	channel   string // the preferred one of last_units
	gone      bool
}

// campaignSpec is a campaign as the people who made it know it.
type campaignSpec struct {
	name            string
	quantity, most  int64
	start, end      time.Time
	latest          time.Time // the latest end that it ever had
	nobody, bySales bool
	shares          []int64 // of each tranche that a time opens
	opens           []time.Time
	removed         bool
}

// decide stores a setting. Where nobody can say whether it is stored, that is looked up; where it is not, it is decided
// again, or given up where again is false.
func (s *sim) decide(kind stocksync.SettingKind, key string, value any, at time.Time, stored func(at time.Time), again bool) {
	raw := json.RawMessage("null")
	if value != nil {
		var err error
		if raw, err = json.Marshal(value); err != nil {
			s.violate("write a setting: %v", err)
			return
		}
	}
	if s.engine == nil {
		if again {
			s.after(2*time.Second, "decide", func() { s.decide(kind, key, value, at, stored, again) })
		}
		return
	}
	now := time.Now()
	effective := at
	if !at.After(now) {
		effective, at = time.Time{}, now
	}
	_, err := s.engine.ChangeSettings(s.ctx, stocksync.Actor{Name: "operator"}, []stocksync.SettingChange{{Kind: kind, Key: key, Value: raw, EffectiveAt: effective}})
	s.journal.note("decide %s %s %s from %s: %v", kind, key, raw, at.Sub(s.start), err)
	switch _, wrong := errors.AsType[*stock.FieldError](err); {
	case err == nil:
		stored(at)
		s.passSoon()
	case wrong || errors.Is(err, stocksync.ErrInvalid) || errors.Is(err, stocksync.ErrNotFound): // refused
		return
	default:
		s.ruled.unsure = true
		s.after(2*time.Second, "decide", func() { s.learn(kind, key, value, at, stored, again, now) })
	}
}

// learn finds out whether a setting was stored that nobody confirmed, and decides it again where it was not.
func (s *sim) learn(kind stocksync.SettingKind, key string, value any, at time.Time, stored func(at time.Time), again bool, tried time.Time) {
	if s.engine == nil {
		s.after(2*time.Second, "decide", func() { s.learn(kind, key, value, at, stored, again, tried) })
		return
	}
	versions, err := s.engine.SettingVersions(context.Background(), kind, key)
	if err == nil && slices.ContainsFunc(versions, func(v stocksync.SettingView) bool { return !v.At.Before(tried.Truncate(time.Microsecond)) }) {
		stored(at)
		return
	}
	if again {
		s.decide(kind, key, value, at, stored, again)
	}
}

// setUp decides what the articles of the rules are, and lets them be sold from then on.
func (s *sim) setUp() {
	if s.ruled.set {
		return
	}
	s.ruled.set = true
	s.ruled.clearance, s.ruled.keys, s.ruled.revoked = map[string]bool{}, map[int64]string{}, map[int64]bool{}
	for _, a := range s.world.articles {
		sell := func() {
			for i, l := range s.world.listings {
				if l.parts[0].sku == a.sku {
					s.link(i)
				}
			}
		}
		switch a.rule {
		case ruleWindow:
			r := s.dice("rule", a.sku, "cap")
			s.decideCap(a.sku, int64(10+r.IntN(60)), time.Time{}, sell)
		case ruleKeys:
			s.decide(stocksync.ArticleSetting, a.sku, map[string]any{"kind": "licence"}, time.Time{}, func(time.Time) {
				s.importKeys(12)
				sell()
			}, true)
		case rulePool, ruleRatio:
			sell()
		}
	}
	if len(s.world.services) > 0 {
		s.setUpServices()
	}
	if s.tells() {
		s.setUpNotices()
	}
}

// actRuled is what people decide, and what they buy of what is sold by rules.
func (s *sim) actRuled(a Action) bool {
	switch a.Kind {
	case "policy":
		s.decidePolicy(a)
	case "cap":
		sku := []string{cappedSKU, quotaSKU}[a.A%2]
		s.decideCap(sku, int64(5+a.B%60), time.Now().Add(time.Duration(a.C%4)*time.Duration(a.C>>8%150)*time.Second), nil)
	case "campaign":
		s.beginCampaign(a)
	case "campaign_change":
		s.changeCampaign(a)
	case "import_keys":
		s.importKeys(1 + int(a.B%6))
	case "use_key":
		s.useKey(a)
	case "ratio":
		s.decideRatio(a)
	case "clear":
		s.clear(a)
	case "capacity":
		s.changeCapacity(a)
	case "stop_sale":
		s.stopSale(a)
	case "receiver":
		s.actNotices(a)
	default:
		group, buys := strings.CutPrefix(a.Kind, "buy_")
		if buys {
			s.buyRuled(group, a)
		}
		return buys
	}
	return true
}

// buyRuled is a customer of what is sold by a rule.
func (s *sim) buyRuled(rule string, a Action) {
	var here []listingSpec
	for _, l := range s.world.listings {
		if l.rule == rule {
			here = append(here, l)
		}
	}
	if len(here) == 0 {
		return
	}
	l := here[a.A%uint64(len(here))]
	name := s.world.shops[l.shop].name
	q := 1 + int64(a.B%3)
	if a.B>>8%6 == 0 {
		q += int64(a.B >> 16 % 12)
	}
	id, ok := s.shops[name].Order(fake.BuyLine{Item: l.item, Quantity: q})
	s.journal.note("buy %d of %s at %s: %s %t", q, l.item, name, id, ok)
	if ok {
		s.result.Orders++
		s.watchSold()
	}
}

// --- policies -------------------------------------------------------------------------------------------------------

// decidePolicy sets or removes a policy of any scope, at once or later.
func (s *sim) decidePolicy(a Action) {
	spec := s.world.shops[a.A%uint64(len(s.world.shops))]
	r := s.dice("policy", a.A, a.B, a.C)
	var key string
	switch r.IntN(5) {
	case 0:
		key = "all"
	case 1:
		key = "channel:" + spec.name
	case 2:
		plain := s.world.plain()
		key = "sku:" + plain[r.IntN(len(plain))].sku
	default:
		var items []string
		for _, l := range s.world.listings {
			if s.world.shops[l.shop].name == spec.name && l.rule == "" {
				items = append(items, l.item)
			}
		}
		if len(items) == 0 {
			return
		}
		key = "listing:" + spec.name + ":" + items[r.IntN(len(items))]
	}
	v := version{kind: "policy", key: key, fields: map[string]int64{}}
	value := map[string]any{}
	set := func(field string, n int) { v.fields[field], value[field] = int64(n), n }
	for range 1 + r.IntN(3) {
		switch r.IntN(6) {
		case 0:
			set("share_permille", 200+r.IntN(801))
		case 1:
			set("safety_stock", r.IntN(6))
		case 2:
			set("buffer", r.IntN(4))
		case 3:
			set("threshold", r.IntN(6))
		case 4:
			set("cap", 1+r.IntN(40))
		case 5:
			set("last_units", 1+r.IntN(5))
			v.channel = s.world.shops[r.IntN(len(s.world.shops))].name
			value["preferred_channel"] = v.channel
		}
	}
	at := time.Now()
	if r.IntN(2) == 0 {
		at = at.Add(time.Duration(1+r.IntN(480)) * time.Second)
	}
	if v.gone = r.IntN(5) == 0; v.gone {
		value, v.fields = nil, nil
	}
	keep := func(at time.Time) {
		v.at = at
		s.ruled.versions = append(s.ruled.versions, v)
	}
	if v.gone {
		s.decide(stocksync.PolicySetting, key, nil, at, keep, true)
		return
	}
	s.decide(stocksync.PolicySetting, key, value, at, keep, true)
}

// inForce is what was decided last of what is in force at an instant.
func (s *sim) inForce(kind, key string, at time.Time) (found version, ok bool) {
	for _, v := range s.ruled.versions {
		if v.kind == kind && v.key == key && !v.at.After(at) && (!ok || !v.at.Before(found.at)) {
			found, ok = v, true
		}
	}
	return found, ok
}

// policyAt is what holds for an article of a listing at an instant: field by field what the configuration says, then what
// was decided for everything, for the channel, for the article and for the listing, each over the one before.
func (s *sim) policyAt(i int, sku string, at time.Time) stock.Policy {
	l := s.world.listings[i]
	spec := s.world.shops[l.shop]
	p := spec.policy
	if len(s.ruled.versions) == 0 {
		return p
	}
	for _, key := range []string{"all", "channel:" + spec.name, "sku:" + sku, "listing:" + spec.name + ":" + l.item} {
		v, ok := s.inForce("policy", key, at)
		if !ok || v.gone {
			continue
		}
		for field, n := range v.fields {
			switch q := stock.Quantity(n); field {
			case "share_permille":
				p.SharePermille = &n
			case "safety_stock":
				p.SafetyStock = q
			case "buffer":
				p.Buffer = q
			case "threshold":
				p.Threshold = q
			case "cap":
				p.Cap = &q
			case "last_units":
				p.LastUnits, p.PreferredChannel = q, stock.ConnectionID(v.channel)
			case "oversell_permille":
				p.OversellPermille = n
			}
		}
	}
	return p
}

// --- oversell ratios ------------------------------------------------------------------------------------------------

// decideRatio sets how much more may be sold than there is, or more than is allowed, or takes it back.
func (s *sim) decideRatio(a Action) {
	key := "listing:" + s.world.shops[0].name + ":" + strings.ToLower(ratioSKU)
	v := version{kind: "policy", key: key}
	keep := func(at time.Time) {
		v.at = at
		s.ruled.versions = append(s.ruled.versions, v)
		if ratio := v.fields["oversell_permille"]; ratio > oversellBound {
			s.violate("an oversell ratio of %d was taken, the configuration allows %d", ratio, oversellBound)
		} else if ratio > 1000 && s.fallen() == 0 {
			s.violate("an oversell ratio of %d was taken, and not one order has ever been cancelled", ratio)
		}
	}
	if a.A%5 == 0 {
		v.gone = true
		s.decide(stocksync.PolicySetting, key, nil, time.Now(), keep, true)
		return
	}
	ratio := []int64{1010, 1030, 1050, 1080, 1100, 1150, 1200, 1210, 1500}[a.B%9]
	v.fields = map[string]int64{"oversell_permille": ratio}
	s.decide(stocksync.PolicySetting, key, map[string]any{"oversell_permille": ratio}, time.Now().Add(time.Duration(a.C%3)*time.Minute), keep, true)
}

// fallen is how many orders of the first shop have anything cancelled.
func (s *sim) fallen() (n int) {
	for _, o := range s.shops[s.world.shops[0].name].Orders() {
		if o.Status == "cancelled" || slices.ContainsFunc(o.Lines, func(l open.OrderLine) bool { return *l.Cancelled > 0 }) {
			n++
		}
	}
	return n
}

// most is how many of so many units may be sold under the highest ratio that was ever decided.
func (s *sim) most(supply int64) int64 {
	ratio := int64(1000)
	for _, v := range s.ruled.versions {
		ratio = max(ratio, v.fields["oversell_permille"])
	}
	return supply * ratio / 1000
}

// --- windows --------------------------------------------------------------------------------------------------------

// decideCap says how much of an article may be sold per window. Its windows are days that begin during the traffic, by a
// clock that is half an hour off.
func (s *sim) decideCap(sku string, most int64, at time.Time, then func()) {
	offset, zone := 5*time.Hour+30*time.Minute, "Asia/Kolkata"
	begins := (s.world.roll + offset) % (24 * time.Hour)
	value := map[string]any{"cap": most, "period": "daily", "zone": zone, "begins": fmt.Sprintf("%02d:%02d", int(begins.Hours()), int(begins.Minutes())%60)}
	v := version{kind: "article", key: sku, fields: map[string]int64{"cap": most}}
	if sku == cappedSKU {
		value["mode"] = "unlimited"
		v.fields["per_minute"] = int64(3 + s.dice("rate").IntN(12))
		value["per_minute"] = v.fields["per_minute"]
	} else {
		value["kind"] = "quota"
	}
	s.decide(stocksync.ArticleSetting, sku, value, at, func(at time.Time) {
		v.at = at
		s.ruled.versions = append(s.ruled.versions, v)
		if then != nil {
			then()
		}
	}, true)
}

// windowOf is the window that an instant lies in.
func (s *sim) windowOf(at time.Time) (start, end time.Time) {
	start = s.world.epoch.Add(s.world.roll)
	for start.After(at) {
		start = start.Add(-24 * time.Hour)
	}
	return start, start.Add(24 * time.Hour)
}

// soldWithin is how many units of an article were ordered, and not cancelled, from one instant up to another.
func (s *sim) soldWithin(sku string, from, to time.Time) (units int64) {
	for i, l := range s.world.listings {
		if l.parts[0].sku != sku {
			continue
		}
		for _, o := range s.shops[s.world.shops[l.shop].name].Orders() {
			if o.PlacedAt.Before(from) || !o.PlacedAt.Before(to) {
				continue
			}
			for _, line := range o.Lines {
				if line.Item == l.item {
					units += max(0, *line.Quantity-*line.Cancelled) * s.parts[i][0].units
				}
			}
		}
	}
	return units
}

// leftOf is what an article that is sold by windows has left now.
func (s *sim) leftOf(sku string) int64 {
	now := time.Now()
	v, ok := s.inForce("article", sku, now)
	if !ok {
		return 0
	}
	start, end := s.windowOf(now)
	left := v.fields["cap"] - s.soldWithin(sku, start, end)
	if rate := v.fields["per_minute"]; rate > 0 {
		left = min(left, rate-s.soldWithin(sku, now.Add(-time.Minute).Add(1), end))
	}
	return max(0, left)
}

// watchWindows demands that no more is sold in a window than its cap, nor in any minute more than the rate, where one
// conditional listing alone sells and its shop does not put up by itself what was cancelled.
func (s *sim) watchWindows() {
	spec := s.world.shops[0]
	now := time.Now()
	if !spec.caps.ConditionalWrite || spec.restocks || s.healed {
		return
	}
	for _, a := range s.world.articles {
		if a.rule != ruleWindow {
			continue
		}
		start, end := s.windowOf(now)
		var most, rate int64
		for _, v := range s.ruled.versions {
			if v.kind == "article" && v.key == a.sku {
				most, rate = max(most, v.fields["cap"]), v.fields["per_minute"]
			}
		}
		if sold := s.soldWithin(a.sku, start, end); sold > most {
			s.violate("%d of %s are sold in the window from %s, its cap was never above %d", sold, a.sku, start.Sub(s.start), most)
		}
		if sold := s.soldWithin(a.sku, now.Add(-time.Minute).Add(1), end); rate > 0 && sold > rate {
			s.violate("%d of %s are sold within a minute, which bears %d", sold, a.sku, rate)
		}
	}
}

// --- campaigns ------------------------------------------------------------------------------------------------------

// beginCampaign sets units aside from one of the next minutes on. Some campaigns outlast the run.
func (s *sim) beginCampaign(a Action) {
	r := s.dice("campaign", a.A, a.B, a.C)
	s.ruled.minted++
	c := &campaignSpec{name: fmt.Sprintf("campaign-%d", s.ruled.minted), quantity: int64(5 + r.IntN(30)), nobody: r.IntN(5) == 0}
	c.start = time.Now().Truncate(time.Minute).Add(time.Duration(2+r.IntN(5)) * time.Minute)
	long := 3 + r.IntN(12)
	c.end = c.start.Add(time.Duration(long) * time.Minute)
	if r.IntN(4) == 0 {
		c.end, long = c.start.Add(5*time.Hour), 10
	}
	c.most, c.latest = c.quantity, c.end
	value := map[string]any{"sku": pooledSKU, "quantity": c.quantity, "start": c.start, "end": c.end, "zone": "UTC"}
	if !c.nobody {
		value["listings"] = []string{"listing:" + s.world.shops[0].name + ":" + flashItem}
	}
	if steps := r.IntN(3); steps > 0 {
		var tranches []map[string]any
		at, left := c.start, int64(1000)
		for range steps {
			share := 1 + int64(r.IntN(int(left)))
			left -= share
			tranches = append(tranches, map[string]any{"share_permille": share, "date": at.Format(time.DateOnly), "clock": at.Format("15:04")})
			c.shares, c.opens = append(c.shares, share), append(c.opens, at)
			at = at.Add(time.Duration(1+r.IntN(max(1, long/3))) * time.Minute)
			if left == 0 {
				break
			}
		}
		// When sales open something depends on when the engine heard of them: a campaign whose end is not seen is without.
		if c.bySales = left > 0 && r.IntN(2) == 0 && c.end.Sub(c.start) < time.Hour; c.bySales {
			tranches = append(tranches, map[string]any{"share_permille": left, "after_sold_permille": 1 + r.IntN(1000)})
		}
		value["tranches"] = tranches
	}
	s.decide(stocksync.CampaignSetting, c.name, value, time.Now(), func(at time.Time) {
		s.ruled.campaigns = append(s.ruled.campaigns, c)
		if !at.Before(c.start) {
			s.violate("the campaign %s was stored at %s, after its start", c.name, at.Sub(s.start))
		}
	}, false)
}

// changeCampaign ends one early, moves its end or changes how many units it has.
func (s *sim) changeCampaign(a Action) {
	var still []*campaignSpec
	for _, c := range s.ruled.campaigns {
		if !c.removed && c.end.After(time.Now().Add(time.Minute)) {
			still = append(still, c)
		}
	}
	if len(still) == 0 {
		return
	}
	c := still[a.A%uint64(len(still))]
	if a.B%3 == 0 {
		s.decide(stocksync.CampaignSetting, c.name, nil, time.Now(), func(time.Time) { c.removed = true }, true)
		return
	}
	quantity, end := c.quantity, c.end
	if a.B%3 == 1 {
		quantity = int64(5 + a.C%40)
	} else if now := time.Now(); len(c.shares) == 0 {
		end = now.Truncate(time.Minute).Add(time.Duration(2+a.C%10) * time.Minute)
		if !end.After(c.start) {
			return
		}
	}
	value := map[string]any{"sku": pooledSKU, "quantity": quantity, "start": c.start, "end": end, "zone": "UTC"}
	if !c.nobody {
		value["listings"] = []string{"listing:" + s.world.shops[0].name + ":" + flashItem}
	}
	var tranches []map[string]any
	left := int64(1000)
	for i, share := range c.shares {
		left -= share
		tranches = append(tranches, map[string]any{"share_permille": share, "date": c.opens[i].Format(time.DateOnly), "clock": c.opens[i].Format("15:04")})
	}
	if c.bySales {
		tranches = append(tranches, map[string]any{"share_permille": left, "after_sold_permille": 500})
	}
	if tranches != nil {
		value["tranches"] = tranches
	}
	s.decide(stocksync.CampaignSetting, c.name, value, time.Now(), func(time.Time) {
		c.quantity, c.end = quantity, end
		c.most = max(c.most, quantity)
		if end.After(c.latest) {
			c.latest = end
		}
	}, true)
}

// runs reports whether a campaign holds units at an instant.
func (c *campaignSpec) runs(at time.Time) bool {
	return !c.removed && !at.Before(c.start) && at.Before(c.end)
}

// sold is what buyers took of a campaign: what they ordered in its time, without what was cancelled or will not come.
func (s *sim) soldOf(c *campaignSpec) (units int64) {
	if c.nobody {
		return 0
	}
	shop := s.world.shops[0].name
	orders := map[string]bool{}
	for _, o := range s.shops[shop].Orders() {
		if !o.PlacedAt.Before(c.start) && o.PlacedAt.Before(c.end) {
			orders[o.OrderID] = true
		}
	}
	for _, p := range s.promises(s.known()) {
		if p.sku == pooledSKU && p.shop == shop && orders[p.id] && p.item == flashItem {
			units += max(0, p.wanted-p.rejected)
		}
	}
	return units
}

// opened is what the times have opened of a campaign.
func (c *campaignSpec) opened(at time.Time) int64 {
	if len(c.shares) == 0 {
		return c.quantity
	}
	sum := int64(0)
	for i, share := range c.shares {
		if !at.Before(c.opens[i]) {
			sum += share
		}
	}
	return c.quantity * sum / 1000
}

// setAside is what all campaigns hold of an article now.
func (s *sim) setAside() (units int64) {
	now := time.Now()
	for _, c := range s.ruled.campaigns {
		if c.runs(now) {
			units += max(0, c.quantity-s.soldOf(c))
		}
	}
	return units
}

// flash is the campaign from which the flash listing sells now, nil when it sells from the general stock.
func (s *sim) flash() *campaignSpec {
	for _, c := range s.ruled.campaigns {
		if !c.nobody && c.runs(time.Now()) {
			return c
		}
	}
	return nil
}

// checkPool demands of a number that was raised for the flash listing amid a campaign that it is not above what the
// campaign has opened and not sold. What was sent before the campaign began may still arrive for a while.
func (s *sim) checkPool(spec shopSpec, w fake.WriteRecord) {
	if w.Item != flashItem || spec.name != s.world.shops[0].name || !spec.caps.ConditionalWrite || w.Status != "ok" || w.After <= w.Before || s.ruled.unsure {
		return
	}
	for _, c := range s.ruled.campaigns {
		if c.nobody || c.removed || !c.runs(w.At) || w.At.Sub(c.start) < 2*requestLife || !c.end.Equal(c.latest) {
			continue
		}
		most := c.most
		if !c.bySales && c.most == c.quantity {
			most = c.opened(w.At)
		}
		if left := most - s.soldOf(c); w.After > max(0, left) {
			s.violate("%s is raised to %d amid %s, which has opened %d and has %d left", flashItem, w.After, c.name, most, left)
		}
	}
}

// --- keys -----------------------------------------------------------------------------------------------------------

// importKeys brings keys in. A file of which nobody knows whether it was taken is brought in again; then its keys are
// there already, or they are not.
func (s *sim) importKeys(n int) {
	first := s.ruled.minted
	s.ruled.minted += n
	var file strings.Builder
	file.WriteString("key\n")
	for i := range n {
		fmt.Fprintf(&file, "SECRET-%d-%06d\n", s.seed, first+i)
	}
	s.importFile(file.String(), n)
}

func (s *sim) importFile(file string, n int) {
	again := func() { s.after(2*time.Second, "keys", func() { s.importFile(file, n) }) }
	if s.engine == nil {
		again()
		return
	}
	v, err := s.engine.ImportKeys(s.ctx, stocksync.Actor{Name: "operator"}, licenceSKU, strings.NewReader(file))
	s.journal.note("import %d keys: %d, %d errors, %v", n, v.Keys, len(v.Errors), err)
	switch {
	case err != nil:
		s.ruled.unsure = true
		again()
	case len(v.Errors) == 0 || len(v.Errors) == n: // they are there now, or were already
		s.ruled.imported += int64(n)
		s.passSoon()
	default:
		s.violate("a file of %d new keys has %d errors", n, len(v.Errors))
	}
}

// useKey reveals a key that a line has, or takes one out of use.
func (s *sim) useKey(a Action) {
	if s.engine == nil {
		return
	}
	keys, err := s.engine.ListKeys(s.ctx, licenceSKU, 0, 10_000)
	if err != nil || len(keys) == 0 {
		return
	}
	k := keys[a.A%uint64(len(keys))]
	id := keyID(k)
	if a.B%4 > 0 {
		_, err := s.engine.RevealKey(s.ctx, stocksync.Actor{Name: "operator"}, id)
		s.journal.note("reveal key %d, which is %s: %v", id, k.State, err)
		if err == nil && k.State != "assigned" {
			s.violate("key %d, which was %s, is revealed", id, k.State)
		}
		return
	}
	s.journal.note("revoke key %d, which is %s: %v", id, k.State, s.engine.RevokeKey(s.ctx, stocksync.Actor{Name: "operator"}, id))
	s.passSoon()
}

func keyID(k stocksync.KeyView) (id int64) {
	_, _ = fmt.Sscan(k.ID, &id) // zero names none
	return id
}

// keysNow tells which keys are free and how many each line has, and demands that a key stays with the unit that it was
// given to, that no unit has two, and that only units that were ordered have one.
func (s *sim) keysNow() (free int64, lines map[string]int64) {
	lines = map[string]int64{}
	keys, err := s.engine.ListKeys(context.Background(), licenceSKU, 0, 10_000)
	if err != nil {
		s.violate("list the keys: %v", err)
		return 0, lines
	}
	ordered := map[string]int64{}
	for _, o := range s.shops[s.world.shops[0].name].Orders() {
		for _, l := range o.Lines {
			ordered[o.OrderID+" "+l.LineID] = *l.Quantity
		}
	}
	units := map[string]bool{}
	for _, k := range keys {
		line := k.OrderID + " " + k.LineID
		unit := ""
		if k.Unit > 0 {
			unit = fmt.Sprint(line, " ", k.Unit)
			if k.RevokedAt == nil { // another one takes the place of one that was revoked
				lines[line]++
				if units[unit] {
					s.violate("unit %d of line %s has two keys", k.Unit, line)
				}
				units[unit] = true
			}
			if most, there := ordered[line]; !there || int64(k.Unit) > most {
				s.violate("key %s is given to unit %d of line %s, of which %d were ordered", k.ID, k.Unit, line, most)
			}
		} else if k.State == "free" {
			free++
		}
		id := keyID(k)
		if was := s.ruled.keys[id]; was != "" && was != unit {
			s.violate("key %d was given to %s, and now it is %q", id, was, unit)
		}
		s.ruled.keys[id] = unit
	}
	if int64(len(keys)) < s.ruled.imported {
		s.violate("%d keys were imported, %d are there", s.ruled.imported, len(keys))
	}
	return free, lines
}

// keysFree is how many keys can still be sold: those that are free, less the units that wait for one.
func (s *sim) keysFree() int64 {
	free, lines := s.keysNow()
	for _, p := range s.promises(s.known()) {
		if p.sku == licenceSKU {
			free -= max(0, p.open()-lines[p.id+" "+p.line])
		}
	}
	return free
}

// --- clearance ------------------------------------------------------------------------------------------------------

// clear notes a clearance, which changes no number.
func (s *sim) clear(a Action) {
	plain := s.world.plain()
	name := fmt.Sprintf("clearance-%d", a.B%4)
	start := time.Now().Add(time.Duration(a.C%5) * time.Minute)
	value := map[string]any{"sku": plain[a.A%uint64(len(plain))].sku, "kind": []string{"discount", "bundle", "gift", "promotion"}[a.C%4], "start": start,
		"end": start.Add(time.Duration(1+a.C>>4%20) * time.Minute)}
	s.decide(stocksync.ClearanceSetting, name, value, time.Now(), func(time.Time) { s.ruled.clearance[name] = true }, true)
}

// checkRules asks what only rules can break, when all is quiet.
func (s *sim) checkRules() {
	if len(s.world.articles) > len(s.world.plain()) || len(s.ruled.versions) > 0 || len(s.ruled.clearance) > 0 {
		if v, err := s.engine.Verify(context.Background(), nil); err != nil || !v.Sound {
			s.violate("what is stored contradicts itself: %+v %v", v.Differences, err)
		}
	}
	if s.ruled.clearance != nil {
		kept, err := s.engine.Settings(context.Background(), stocksync.ClearanceSetting, "", 100)
		if err != nil || len(kept) != len(s.ruled.clearance) {
			s.violate("%d clearances were decided, %d are kept (%v)", len(s.ruled.clearance), len(kept), err)
		}
	}
	for _, a := range s.world.articles {
		switch a.rule {
		case ruleKeys:
			free, lines := s.keysNow()
			for _, p := range s.promises(s.known()) {
				if p.sku == licenceSKU && free > 0 && p.open() > lines[p.id+" "+p.line] {
					s.violate("line %s of order %s waits for %d keys while %d are free", p.line, p.id, p.open()-lines[p.id+" "+p.line], free)
				}
			}
		case rulePool:
			v, err := s.engine.Item(context.Background(), pooledSKU)
			if aside := s.setAside(); err != nil || int64(v.Reserved) != aside {
				s.violate("%d of %s are set aside, the campaigns have a right to %d (%v)", v.Reserved, pooledSKU, aside, err)
			}
		}
	}
}
