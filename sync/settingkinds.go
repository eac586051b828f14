package sync

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	strictjson "github.com/go-json-experiment/json"

	"github.com/truestock/truestock/stock"
)

// The kinds of settings.
const (
	// PolicySetting is what a listing may offer, by PolicyKey; its value is a stock.Override.
	PolicySetting SettingKind = "policy"
	// CampaignSetting sets units aside for a time, by name; its value is a Campaign.
	CampaignSetting SettingKind = "campaign"
)

// settingKinds are the kinds of settings that there are.
var settingKinds = map[SettingKind]settingRules{
	PolicySetting:    {sample: stock.Override{}, parse: parsePolicy, canonical: canonicalPolicyKey, touches: touchedByPolicy, renamed: renamedPolicy},
	ArticleSetting:   {sample: Article{}, parse: parseArticle, touches: touchedByArticle, renamed: renamedArticle},
	CampaignSetting:  {sample: Campaign{}, parse: parseCampaign, touches: func(string) Touch { return Touch{} }, reaches: touchedByCampaign},
	ResourceSetting:  {sample: Resource{}, parse: parseResource, touches: touchesNothing},
	ClearanceSetting: {sample: ClearanceCampaign{}, parse: parseClearance, touches: touchesNothing, renamed: renamedClearance},

	AlertSetting:         {sample: AlertPolicy{}, parse: parseAlertPolicy, canonical: canonicalPolicyKey, touches: touchedByPolicy, renamed: renamedPolicy},
	ReplenishmentSetting: {sample: ReplenishmentPolicy{}, parse: parseReplenishment, touches: touchedByArticle, renamed: renamedArticle},
	NoticeChannelSetting: {sample: NoticeChannel{}, parse: parseNoticeChannel, touches: touchesNothing},
	StopSaleSetting:      {sample: StopSale{}, parse: parseStopSale, canonical: canonicalPolicyKey, touches: touchedByPolicy, renamed: renamedPolicy},
	IncidentSetting:      {sample: IncidentRule{}, parse: parseIncidentRule, canonical: canonicalPolicyKey, touches: touchedByPolicy, renamed: renamedPolicy},
	SubstituteSetting:    {sample: Substitutes{}, parse: parseSubstitutes, touches: touchesNothing, renamed: renamedSubstitutes},
	PurchaseSetting:      {sample: Purchase{}, parse: parsePurchase, touches: touchesNothing, reaches: touchedByPurchase, renamed: renamedPurchase},
	StocktakeSetting:     {sample: StocktakePlan{}, parse: parseStocktake, touches: touchesNothing},
}

// checkName refuses a key that is no name of what it is said to be.
func checkName(what, key string) error {
	if key == "" || strings.TrimSpace(key) != key || len(key) > 100 {
		return &stock.FieldError{Field: "key", Reason: fmt.Sprintf("is %q: %s has a name of up to 100 letters, without space around it", key, what)}
	}
	return nil
}

// readSetting reads a value strictly: unknown and doubled fields are refused by name.
func readSetting[T any](value json.RawMessage) (T, error) {
	var v T
	if err := strictjson.Unmarshal(value, &v, strictjson.RejectUnknownMembers(true)); err != nil {
		return v, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return v, nil
}

func parsePolicy(known isChannel, key string, value json.RawMessage) (any, error) {
	k, err := ParsePolicyKey(key)
	if err != nil {
		return nil, err
	}
	o, err := readSetting[stock.Override](value)
	if err != nil {
		return nil, err
	}
	if k.Channel != "" && !known(k.Channel) {
		return nil, &stock.FieldError{Field: "key", Reason: fmt.Sprintf("names the channel %q, which is not configured", k.Channel)}
	}
	if o.PreferredChannel != nil && !known(*o.PreferredChannel) {
		return nil, &stock.FieldError{Field: "preferred_channel", Reason: fmt.Sprintf("is %q, which is not a configured channel", *o.PreferredChannel)}
	}
	return o, o.Validate()
}

func canonicalPolicyKey(key string) string {
	k, err := ParsePolicyKey(key)
	if err != nil {
		return key // parsePolicy says what is wrong with it
	}
	return k.String()
}

// checkOversell refuses oversell ratios above what the configuration allows, and above what the share of fallen orders of
// every channel that they reach allows.
func (e *Engine) checkOversell(tx PlanTx, versions []NewSetting) error {
	fallen := make(map[stock.ConnectionID]stock.Fallen)
	for _, v := range versions {
		if v.Kind != PolicySetting || v.Value == nil {
			continue
		}
		k, err := ParsePolicyKey(v.Key)
		if err != nil {
			return err
		}
		o, err := readSetting[stock.Override](v.Value)
		if err != nil {
			return err
		}
		if o.OversellPermille == nil || *o.OversellPermille == 1000 {
			continue
		}
		for _, c := range e.sortedChannels() {
			if k.Channel != "" && k.Channel != c.id {
				continue
			}
			f, known := fallen[c.id]
			if !known {
				if f, err = tx.Fallen(c.id); err != nil {
					return err
				}
				fallen[c.id] = f
			}
			if err := e.oversell.Check(*o.OversellPermille, f); err != nil {
				if field, ok := errors.AsType[*stock.FieldError](err); ok {
					err = &stock.FieldError{Field: field.Field, Reason: fmt.Sprintf("%s (%s)", field.Reason, c.id)}
				}
				return fmt.Errorf("%s %s: %w", v.Kind, v.Key, err)
			}
		}
	}
	return nil
}

func touchedByPolicy(key string) Touch {
	k, err := ParsePolicyKey(key)
	switch {
	case err != nil:
		return Touch{}
	case k.SKU != "":
		return Touch{SKUs: []stock.SKU{k.SKU}}
	case k.Ref.Item != "":
		return Touch{Listings: []ListingKey{{k.Channel, k.Ref}}}
	case k.Channel != "":
		return Touch{Connection: k.Channel}
	default:
		return Touch{All: true}
	}
}

func renamedPolicy(key string, value json.RawMessage, from, to stock.SKU) (string, json.RawMessage, bool) {
	k, err := ParsePolicyKey(key)
	if err != nil || k.SKU != from {
		return key, value, false
	}
	return PolicyKey{SKU: to}.String(), value, true
}
