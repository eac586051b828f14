package sync

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/truestock/truestock/stock"
)

// ClearanceSetting is a clearance that somebody runs, by its name; its value is a ClearanceCampaign.
const ClearanceSetting SettingKind = "clearance"

// ClearanceCampaign is a clearance that somebody runs; its effect is measured from Start on.
type ClearanceCampaign struct {
	SKU   stock.SKU           `json:"sku"`
	Kind  stock.ClearanceKind `json:"kind"`
	Start time.Time           `json:"start"`
	End   time.Time           `json:"end,omitzero"`
	Note  string              `json:"note,omitempty"`
}

func parseClearance(_ isChannel, key string, value json.RawMessage) (any, error) {
	c, err := readSetting[ClearanceCampaign](value)
	if err != nil {
		return nil, err
	}
	switch {
	case key == "":
		return nil, &stock.FieldError{Field: "key", Reason: "is empty: give the clearance a name"}
	case c.SKU == "":
		return nil, &stock.FieldError{Field: "sku", Reason: "is missing: say what is cleared"}
	case c.Start.IsZero():
		return nil, &stock.FieldError{Field: "start", Reason: "is missing: the effect is measured from it on"}
	case !c.End.IsZero() && !c.End.After(c.Start):
		return nil, &stock.FieldError{Field: "end", Reason: "is not after start: the clearance has no length"}
	}
	switch c.Kind {
	case stock.ClearDiscount, stock.ClearBundle, stock.ClearGift, stock.ClearPromotion:
		return c, nil
	}
	return nil, &stock.FieldError{Field: "kind", Reason: fmt.Sprintf("is %q: write discount, bundle, gift or promotion", c.Kind)}
}

// touchesNothing is for settings that no published number depends on.
func touchesNothing(string) Touch { return Touch{} }

func renamedClearance(key string, value json.RawMessage, from, to stock.SKU) (string, json.RawMessage, bool) {
	c, err := readSetting[ClearanceCampaign](value)
	if err != nil || c.SKU != from {
		return key, value, false
	}
	c.SKU = to
	renamed, err := json.Marshal(c)
	if err != nil {
		return key, value, false
	}
	return key, renamed, true
}
