package sync

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// A campaign sets units of one SKU aside for the listings that sell from it. What it decides is a setting, whose key is
// its name; what it has sold and holds is a PoolState.

// Campaign is the value of a CampaignSetting.
type Campaign struct {
	SKU      stock.SKU      `json:"sku"`
	Quantity stock.Quantity `json:"quantity"`
	// Purpose says what the units are for: PurposeCampaign, which is also what empty means, PurposeBulkBuyer or
	// PurposeChannel.
	Purpose string `json:"purpose,omitempty"`
	// Channel makes every listing of a channel sell from the pool, Listings only those named, each as the key of a
	// policy: listing:CHANNEL:ITEM or listing:CHANNEL:ITEM:PLACE. With neither the units are held and nobody sells them.
	Channel  stock.ConnectionID `json:"channel,omitempty"`
	Listings []string           `json:"listings,omitempty"`
	// Location is where the units are set aside; empty: wherever there are some.
	Location stock.LocationID `json:"location,omitempty"`
	// Exclusive allows no other campaign of the SKU at the same time.
	Exclusive bool `json:"exclusive,omitempty"`
	// The pool exists from Start up to, and not including, End.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Zone is whose clock the tranches mean; absent: UTC.
	Zone stock.Zone `json:"zone,omitzero"`
	// Tranches open the pool step by step; without any all of it is open from the start.
	Tranches []stock.Tranche `json:"tranches,omitempty"`
}

// What a campaign's units are for.
const (
	PurposeCampaign  = "campaign"
	PurposeBulkBuyer = "bulk_buyer"
	PurposeChannel   = "channel"
)

// campaign is a Campaign that was read and checked.
type campaign struct {
	Campaign
	pool     stock.Pool
	plan     []stock.Release
	listings map[ListingKey]bool
}

// fit says how well a listing fits: 2 when it is named, 1 when its channel is, 0 when it does not sell from the pool.
func (c *campaign) fit(key ListingKey) int {
	switch {
	case c.listings[key] || c.listings[ListingKey{key.Connection, connectors.Ref{Item: key.Item}}]:
		return 2
	case c.Channel != "" && c.Channel == key.Connection && len(c.listings) == 0:
		return 1
	default:
		return 0
	}
}

// opened is how many units the releases made have opened.
func (c *campaign) opened(done []int) stock.Quantity {
	if len(c.plan) == 0 {
		return c.Quantity
	}
	var sum stock.Quantity
	for _, r := range c.plan {
		if slices.Contains(done, r.N) {
			sum += r.Quantity
		}
	}
	return sum
}

func parseCampaign(known isChannel, key string, value json.RawMessage) (any, error) {
	field := func(name, format string, args ...any) error {
		return &stock.FieldError{Field: name, Reason: fmt.Sprintf(format, args...)}
	}
	if err := checkName("a campaign", key); err != nil {
		return nil, err
	}
	value, err := zoneOf(value)
	if err != nil {
		return nil, err
	}
	def, err := readSetting[Campaign](value)
	if err != nil {
		return nil, err
	}
	def.Start, def.End = def.Start.UTC(), def.End.UTC()
	c := &campaign{Campaign: def, listings: make(map[ListingKey]bool),
		pool: stock.Pool{Name: key, Start: def.Start, End: def.End, Allotted: def.Quantity, Exclusive: def.Exclusive}}
	switch {
	case def.SKU == "":
		return nil, field("sku", "is empty: say of which article units are set aside")
	case def.Start.IsZero():
		return nil, field("start", "is missing: say from when on the units are set aside")
	case def.End.IsZero():
		return nil, field("end", "is missing: say when the rest goes back")
	case !slices.Contains([]string{"", PurposeCampaign, PurposeBulkBuyer, PurposeChannel}, def.Purpose):
		return nil, field("purpose", "is %q: write %s, %s or %s", def.Purpose, PurposeCampaign, PurposeBulkBuyer, PurposeChannel)
	case def.Channel != "" && !known(def.Channel):
		return nil, field("channel", "is %q, which is not a configured channel", def.Channel)
	}
	for i, text := range def.Listings {
		name := fmt.Sprintf("listings[%d]", i)
		k, err := ParsePolicyKey(text)
		switch {
		case err != nil || k.Ref.Item == "":
			return nil, field(name, "is %q: write listing:CHANNEL:ITEM or listing:CHANNEL:ITEM:PLACE", text)
		case !known(k.Channel):
			return nil, field(name, "is %q, and %q is not a configured channel", text, k.Channel)
		case def.Channel != "" && def.Channel != k.Channel:
			return nil, field(name, "is %q, and the campaign is for the channel %s", text, def.Channel)
		}
		c.listings[ListingKey{k.Channel, k.Ref}] = true
	}
	if len(def.Tranches) > 0 {
		c.plan, err = stock.Campaign{Pool: c.pool, Zone: def.Zone, Tranches: def.Tranches}.Plan()
	} else {
		err = c.pool.Validate()
	}
	return c, campaignField(err)
}

// zoneOf names the field of a time zone that is not known.
func zoneOf(value json.RawMessage) (json.RawMessage, error) {
	var named struct {
		Zone *string `json:"zone"`
	}
	if json.Unmarshal(value, &named) == nil && named.Zone != nil {
		if _, err := stock.ParseZone(*named.Zone); err != nil {
			return nil, err
		}
	}
	return value, nil
}

// campaignField says which field of a campaign an error of a pool is about.
func campaignField(err error) error {
	f, ok := errors.AsType[*stock.FieldError](err)
	if !ok {
		return err
	}
	name := f.Field
	if _, rest, inside := strings.Cut(name, "]."); inside && strings.HasPrefix(name, "pools[") {
		name = rest
	}
	name = strings.TrimPrefix(name, "pool.")
	if name == "allotted" {
		name = "quantity"
	}
	return &stock.FieldError{Field: name, Reason: f.Reason}
}

// touchedByCampaign is what a campaign touches: its SKU.
func touchedByCampaign(value json.RawMessage) Touch {
	var c struct {
		SKU stock.SKU `json:"sku"`
	}
	if json.Unmarshal(value, &c) != nil || c.SKU == "" {
		return Touch{}
	}
	return Touch{SKUs: []stock.SKU{c.SKU}}
}

// checkCampaigns refuses campaigns that cannot all be: more units set aside than there are, two at once of which one is
// exclusive, two at once that a listing would sell from, and a change of what has begun or is over.
func (e *Engine) checkCampaigns(tx PlanTx, versions []NewSetting) error {
	wanted := make(map[string]*campaign)
	skus := make(map[stock.SKU]bool)
	for _, v := range versions {
		if v.Kind != CampaignSetting || v.Value == nil {
			continue
		}
		parsed, err := parseCampaign(anyChannel, v.Key, v.Value)
		if err != nil {
			return err
		}
		c := parsed.(*campaign)
		wanted[v.Key], skus[c.SKU] = c, true
	}
	if len(wanted) == 0 {
		return nil
	}
	d, err := e.decisions(tx)
	if err != nil {
		return err
	}
	removed := make(map[string]bool)
	for _, v := range versions {
		removed[v.Key] = removed[v.Key] || v.Kind == CampaignSetting && v.Value == nil
	}
	all := make(map[string]*campaign)
	for name, c := range d.campaigns() {
		if !removed[name] {
			all[name] = c
		}
	}
	maps.Copy(all, wanted)
	list := sortedKeys(skus, cmp.Compare[stock.SKU])
	states, err := tx.Pools(list, sortedKeys(wanted, cmp.Compare[string]))
	if err != nil {
		return err
	}
	levels, err := tx.Levels(list)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(wanted, cmp.Compare[string]) {
		if err := checkCampaign(name, all, states, levels); err != nil {
			return fmt.Errorf("%s %s: %w", CampaignSetting, name, campaignField(err))
		}
	}
	return nil
}

func checkCampaign(name string, all map[string]*campaign, states map[string]*PoolState, levels map[LevelKey]*HeldLevel) error {
	c, now := all[name], time.Now().UTC()
	if s := states[name]; s != nil {
		switch {
		case !s.EndedAt.IsZero():
			return &stock.FieldError{Field: "key", Reason: fmt.Sprintf("is %s, a campaign that is over: give the new one another name", name)}
		case s.SKU != c.SKU:
			return &stock.FieldError{Field: "sku", Reason: fmt.Sprintf("is %s, and the campaign has begun with %s", c.SKU, s.SKU)}
		case !s.Start.Equal(c.Start):
			return &stock.FieldError{Field: "start", Reason: "cannot be changed any more: the campaign has begun at " + s.Start.Format(time.RFC3339)}
		}
	}
	if !c.End.After(now) {
		return &stock.FieldError{Field: "end", Reason: "lies in the past"}
	}
	// What may be set aside is available, or set aside already.
	stocked := make(map[stock.LocationID]stock.Quantity)
	var total stock.Quantity
	for key, l := range levels {
		if key.SKU == c.SKU {
			stocked[key.Location] += l.Available
			total += l.Available
		}
	}
	var others, here []stock.Pool
	for _, other := range sortedKeys(all, cmp.Compare[string]) {
		o := all[other]
		if o.SKU != c.SKU || !o.End.After(now) {
			continue
		}
		pool := o.pool
		if s := states[other]; s != nil {
			if !s.EndedAt.IsZero() {
				continue
			}
			pool.Allotted = max(1, pool.Allotted-s.Sold)
			for _, part := range s.Parts {
				stocked[part.Location] += part.Reserved
				total += part.Reserved
			}
		}
		if other == name {
			c.pool.Allotted = pool.Allotted
			continue
		}
		if o.Location == c.Location {
			here = append(here, pool)
		}
		others = append(others, pool)
		if c.Start.Before(o.End) && o.Start.Before(c.End) {
			if key, both := c.shares(o); both {
				return &stock.FieldError{Field: "listings", Reason: fmt.Sprintf("contain %s, which sells from %s at the same time", key, other)}
			}
		}
	}
	pool := c.pool
	c.pool.Allotted = c.Quantity
	if err := stock.CheckPools(total, append(others, pool)); err != nil || c.Location == "" {
		return err
	}
	return stock.CheckPools(stocked[c.Location], append(here, pool))
}

// shares tells what two campaigns both sell through.
func (c *campaign) shares(o *campaign) (string, bool) {
	for _, key := range sortedKeys(c.listings, compareListingKeys) {
		if o.fit(key) == 2 {
			return PolicyKey{Channel: key.Connection, Ref: key.Ref}.String(), true
		}
	}
	if c.Channel != "" && c.Channel == o.Channel && len(c.listings) == 0 && len(o.listings) == 0 {
		return "every listing of " + string(c.Channel), true
	}
	return "", false
}

// campaigns are the newest versions of all campaigns that are not removed, in force already or not.
func (d *decisions) campaigns() map[string]*campaign {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[string]*campaign, len(d.values[CampaignSetting]))
	for name, versions := range d.values[CampaignSetting] {
		newest := versions[0]
		for _, v := range versions {
			if v.Version > newest.Version {
				newest = v
			}
		}
		if c, ok := newest.value.(*campaign); ok {
			out[name] = c
		}
	}
	return out
}

// campaignsAt are the campaigns in force at an instant, by name, and the next instant at which one of them changes
// by itself; zero: never. A campaign that is removed is there as nil.
func (d *decisions) campaignsAt(at time.Time) (found map[string]*campaign, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found = make(map[string]*campaign, len(d.values[CampaignSetting]))
	soon := func(t time.Time) {
		if t.After(at) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for name, versions := range d.values[CampaignSetting] {
		found[name] = nil
		for _, v := range versions {
			soon(v.EffectiveAt)
			c, _ := v.value.(*campaign)
			if c != nil {
				soon(c.Start)
				soon(c.End)
				for _, r := range c.plan {
					soon(r.At)
				}
			}
			if !v.EffectiveAt.After(at) {
				found[name] = c
			}
		}
	}
	return found, next
}
