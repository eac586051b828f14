package sync

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/stock"
)

// What people decide about oversells and about stopping a sale.
const (
	// StopSaleSetting stops the sale of what a PolicyKey names, for as long as there is one; its value is a StopSale.
	StopSaleSetting SettingKind = "stop_sale"
	// IncidentSetting says how an oversell is dealt with, by PolicyKey; its value is an IncidentRule.
	IncidentSetting SettingKind = "incident"
	// SubstituteSetting tells what may be sent instead of a SKU, by that SKU; its value is a Substitutes.
	SubstituteSetting SettingKind = "substitute"
	// PurchaseSetting is a line of an open purchase order, by a name of its own; its value is a Purchase.
	PurchaseSetting SettingKind = "purchase"
)

// StopSale is a person's word that something is not sold: its listings show 0.
type StopSale struct {
	// StopListings has the listings stopped too, where their channel can do that.
	StopListings bool `json:"stop_listings,omitempty"`
	// Note is for people.
	Note string `json:"note,omitempty"`
}

// IncidentRule is how an oversell is dealt with. Of several the most particular holds, as a whole.
type IncidentRule struct {
	// StopListings has listings stopped while an oversell is open, where their channel can do that, beside showing 0.
	StopListings bool `json:"stop_listings,omitempty"`
	// Compensation is proposed to who has to wait, or gets something else, in the smallest unit of a currency.
	Compensation int64 `json:"compensation,omitempty"`
}

// Substitutes are the articles that may be sent instead of a SKU, none of a lower grade.
type Substitutes struct {
	Grade       int             `json:"grade"`
	Substitutes []SubstituteFor `json:"substitutes"`
}

// SubstituteFor is one of them: a higher grade is the better article.
type SubstituteFor struct {
	SKU   stock.SKU `json:"sku"`
	Grade int       `json:"grade"`
}

// Purchase is a line of a purchase order that has not arrived.
type Purchase struct {
	SKU        stock.SKU      `json:"sku"`
	Quantity   stock.Quantity `json:"quantity"`
	ExpectedAt time.Time      `json:"expected_at"`
}

func refuseField(field, format string, args ...any) error {
	return &stock.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// checkPolicyKey refuses a key that is none of a policy's, or names a channel that is not configured.
func checkPolicyKey(known isChannel, key string) error {
	k, err := ParsePolicyKey(key)
	if err != nil {
		return err
	}
	if k.Channel != "" && !known(k.Channel) {
		return refuseField("key", "names the channel %q, which is not configured", k.Channel)
	}
	return nil
}

func parseStopSale(known isChannel, key string, value json.RawMessage) (any, error) {
	if err := checkPolicyKey(known, key); err != nil {
		return nil, err
	}
	return readSetting[StopSale](value)
}

func parseIncidentRule(known isChannel, key string, value json.RawMessage) (any, error) {
	if err := checkPolicyKey(known, key); err != nil {
		return nil, err
	}
	r, err := readSetting[IncidentRule](value)
	if err != nil {
		return nil, err
	}
	return r, checkCompensation(r.Compensation)
}

func checkCompensation(amount int64) error {
	if amount < 0 || amount > stock.MaxMoney {
		return refuseField("compensation", "is %d: it must be from 0 to %d", amount, stock.MaxMoney)
	}
	return nil
}

func parseSubstitutes(_ isChannel, key string, value json.RawMessage) (any, error) {
	if key == "" {
		return nil, refuseField("key", "is empty: it is the SKU that is replaced")
	}
	s, err := readSetting[Substitutes](value)
	if err != nil {
		return nil, err
	}
	if len(s.Substitutes) == 0 {
		return nil, refuseField("substitutes", "is empty: name at least one article, or remove the setting")
	}
	seen := make(map[stock.SKU]bool)
	for i, o := range s.Substitutes {
		field := fmt.Sprintf("substitutes[%d]", i)
		switch {
		case o.SKU == "" || string(o.SKU) == key:
			return nil, refuseField(field+".sku", "is %q: name another article than %s", o.SKU, key)
		case seen[o.SKU]:
			return nil, refuseField(field+".sku", "is %s, which stands there already", o.SKU)
		case o.Grade < s.Grade:
			return nil, refuseField(field+".grade", "is %d, and %s has %d: only an article of equal or higher grade may be sent instead", o.Grade, key, s.Grade)
		}
		seen[o.SKU] = true
	}
	return s, nil
}

// touchedByPurchase: what is on order decides whether an article is to be ordered at once.
func touchedByPurchase(value json.RawMessage) Touch {
	p, err := readSetting[Purchase](value)
	if value == nil || err != nil || p.SKU == "" {
		return Touch{}
	}
	return Touch{SKUs: []stock.SKU{p.SKU}}
}

func parsePurchase(_ isChannel, key string, value json.RawMessage) (any, error) {
	p, err := readSetting[Purchase](value)
	if err != nil {
		return nil, err
	}
	switch {
	case key == "":
		return nil, refuseField("key", "is empty: give the line of the purchase order a name, such as its number")
	case p.SKU == "":
		return nil, refuseField("sku", "is missing: say what was ordered")
	case p.Quantity < 1 || p.Quantity > stock.MaxQuantity:
		return nil, refuseField("quantity", "is %d: it must be from 1 to %d", p.Quantity, stock.MaxQuantity)
	case p.ExpectedAt.IsZero():
		return nil, refuseField("expected_at", "is missing: say when it will arrive")
	}
	p.ExpectedAt = p.ExpectedAt.UTC()
	return p, nil
}

func renamedSubstitutes(key string, value json.RawMessage, from, to stock.SKU) (string, json.RawMessage, bool) {
	own, about := key, key == string(from)
	if about {
		own = string(to)
	}
	s, err := readSetting[Substitutes](value)
	if err != nil {
		return own, value, about
	}
	for i := range s.Substitutes {
		if s.Substitutes[i].SKU == from {
			s.Substitutes[i].SKU, about = to, true
		}
	}
	// What has become the article itself, or another of the list, is none of its own any more.
	seen := make(map[stock.SKU]bool)
	s.Substitutes = slices.DeleteFunc(s.Substitutes, func(o SubstituteFor) bool {
		again := seen[o.SKU] || string(o.SKU) == own
		seen[o.SKU] = true
		return again
	})
	if len(s.Substitutes) == 0 {
		return key, value, false // it has become its own substitute, and the setting is about nothing any more
	}
	renamed, err := json.Marshal(s)
	if err != nil {
		return own, value, about
	}
	return own, renamed, about
}

func renamedPurchase(key string, value json.RawMessage, from, to stock.SKU) (string, json.RawMessage, bool) {
	p, err := readSetting[Purchase](value)
	if err != nil || p.SKU != from {
		return key, value, false
	}
	p.SKU = to
	renamed, err := json.Marshal(p)
	if err != nil {
		return key, value, false
	}
	return key, renamed, true
}

// valuesOf are the values in force of all settings of a kind, by key.
func valuesOf[T any](d *decisions, kind SettingKind, at time.Time) map[string]T {
	d.mu.Lock()
	keys := make([]string, 0, len(d.values[kind]))
	for key := range d.values[kind] {
		keys = append(keys, key)
	}
	d.mu.Unlock()
	out := make(map[string]T)
	for _, key := range keys {
		if v, ok := d.inForce(kind, key, at).(T); ok {
			out[key] = v
		}
	}
	return out
}

// policyKeys are the names by which settings reach one component of a listing, the most particular first. What is said of a
// service is said of each of its windows too.
func (d *decisions) policyKeys(key ListingKey, sku stock.SKU, at time.Time) []PolicyKey {
	keys := []PolicyKey{{Channel: key.Connection, Ref: key.Ref}, {SKU: sku}}
	if s, is := d.service(sku, at); is && s.article != sku {
		keys = append(keys, PolicyKey{SKU: s.article})
	}
	return append(keys, PolicyKey{Channel: key.Connection}, PolicyKey{})
}

// incidentRule is how oversells of a SKU at a listing are dealt with.
func (d *decisions) incidentRule(key ListingKey, sku stock.SKU, at time.Time) IncidentRule {
	if d == nil || !d.any(IncidentSetting) {
		return IncidentRule{}
	}
	for _, k := range d.policyKeys(key, sku, at) {
		if r, ok := d.inForce(IncidentSetting, k.String(), at).(IncidentRule); ok {
			return r
		}
	}
	return IncidentRule{}
}

// arrivals are the deliveries of a SKU that are expected.
func (d *decisions) arrivals(sku stock.SKU, at time.Time) []stock.Arrival {
	var out []stock.Arrival
	purchases := valuesOf[Purchase](d, PurchaseSetting, at)
	for _, name := range sortedKeys(purchases, cmp.Compare[string]) {
		if p := purchases[name]; p.SKU == sku {
			out = append(out, stock.Arrival{At: p.ExpectedAt, Units: p.Quantity})
		}
	}
	return out
}

// substitutes are the articles that may be sent instead of a SKU.
func (d *decisions) substitutes(sku stock.SKU, at time.Time) Substitutes {
	s, _ := d.inForce(SubstituteSetting, string(sku), at).(Substitutes)
	return s
}
