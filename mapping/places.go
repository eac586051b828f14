package mapping

import "github.com/truestock/truestock/stock"

// Places says which of our locations stand behind each place of a channel. The key "" is the channel as a whole: for
// its listings without a place, and for every place as long as no place is named. The zero value means that everything
// comes from all locations.
type Places map[string][]stock.LocationID

// Locations returns the locations behind a place; none at all, with ok true, means all locations. ok is false for a
// place that is not named although others are, and for one named with no locations: nothing may be offered there until
// somebody says where its stock is, for two places that offer the same units oversell them.
func (p Places) Locations(place string) (locations []stock.LocationID, ok bool) {
	whole := p[""]
	if place == "" {
		return whole, true
	}
	if locations, named := p[place]; named {
		return locations, len(locations) > 0
	}
	_, hasWhole := p[""]
	othersNamed := len(p) > 1 || len(p) == 1 && !hasWhole
	if othersNamed {
		return nil, false
	}
	return whole, true
}
