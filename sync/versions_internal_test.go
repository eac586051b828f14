package sync

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// What a version keeps, with its subject and its key, is what was kept, whatever the names contain.
func TestVersionsTellWhatWasKept(t *testing.T) {
	when := rapid.Custom(func(t *rapid.T) time.Time {
		if n := rapid.Int64Range(math.MinInt64+1, math.MaxInt64).Draw(t, "nanoseconds"); n != 0 {
			return time.Unix(0, n).UTC()
		}
		return time.Time{}
	})
	name := rapid.StringOfN(rapid.RuneFrom([]rune("ab \x1f/é")), 0, 6, -1)
	position := rapid.Custom(func(t *rapid.T) stock.Position {
		return stock.Position{Sequenced: rapid.Bool().Draw(t, "sequenced"), Sequence: rapid.Int64().Draw(t, "sequence"), SourceAt: when.Draw(t, "source"), SeenAt: when.Draw(t, "seen")}
	})
	units := rapid.Custom(func(t *rapid.T) stock.Quantity { return stock.Quantity(rapid.Int64().Draw(t, "units")) })
	rapid.Check(t, func(t *rapid.T) {
		sku, at := stock.SKU(name.Draw(t, "sku")), when.Draw(t, "now")
		level := LevelKey{sku, stock.LocationID(name.Draw(t, "location"))}
		s := HeldStatement{Connection: "erp", LevelKey: level, Quantity: units.Draw(t, "quantity"), Position: position.Draw(t, "position"), Event: rapid.Int64().Draw(t, "event"), At: when.Draw(t, "at")}
		m := HeldMovement{Connection: "erp", Key: name.Draw(t, "key"), LevelKey: level, Delta: units.Filter(func(q stock.Quantity) bool { return q != 0 }).Draw(t, "delta"), Position: position.Draw(t, "position"), At: when.Draw(t, "at")}
		c := Commitment{OrderKey: OrderKey{"shop", name.Draw(t, "order")}, LineID: name.Draw(t, "line"), SKU: sku, Location: level.Location, Quantity: units.Filter(func(q stock.Quantity) bool { return q != 0 }).Draw(t, "quantity"),
			Ref: connectors.Ref{Item: name.Draw(t, "item"), Place: name.Draw(t, "place")}, ChannelOpen: units.Draw(t, "open"), AcceptedAt: when.Draw(t, "accepted")}
		b := newBook(nil, at)
		b.keepStatement(&s)
		b.keepMovement(&m)
		b.keepCommitment(c)
		for _, v := range b.versions {
			if v.Subject != SKUSubject(sku) || !v.At.Equal(at) {
				t.Errorf("kept for %q at %s", v.Subject, v.At)
			}
			var got, want any
			var ks keptStatement
			var km keptMovement
			var kc keptCommitment
			var err error
			switch kind, named, _ := strings.Cut(v.Key, "\x1f"); kind {
			case statementKey:
				err = json.Unmarshal([]byte(v.Value), &ks)
				got, want = ks.statement(sku, named), s
			case openMovementKey:
				err = json.Unmarshal([]byte(v.Value), &km)
				got, want = km.movement(sku, named), m
			case commitmentKey:
				err = json.Unmarshal([]byte(v.Value), &kc)
				got, want = kc.commitment(sku, named), c
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("kept %+v and read %+v: %v", want, got, err)
			}
		}
		if len(b.versions) != 3 {
			t.Errorf("%d versions were kept", len(b.versions))
		}
	})
}
