package asksfirst_test

import (
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/asksfirst"
	"github.com/truestock/truestock/stock"
)

func TestLooks(t *testing.T) {
	var l asksfirst.Looks
	began := time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)
	order := func(n int64) connectors.Order {
		return connectors.Order{OrderID: "o", Status: connectors.OrderOpen, Lines: []connectors.ChannelLine{{LineID: "1", Ref: connectors.Ref{Item: "x"}, Quantity: stock.Quantity(n)}}}
	}
	for _, row := range []struct {
		name  string
		after time.Duration
		order connectors.Order
		want  time.Duration // the version, as an instant
		has   connectors.Order
	}{
		{"found", 0, order(1), 0, order(1)},
		{"the same", time.Minute, order(1), 0, order(1)},
		{"changed", 2 * time.Minute, order(2), 2 * time.Minute, order(2)},
		{"a look that began earlier comes later", time.Minute, order(1), 2 * time.Minute, order(2)},
		{"the same, an hour later", 62 * time.Minute, order(2), 62 * time.Minute, order(2)},
	} {
		got := l.Found("g", row.order, began.Add(row.after))
		if got.Version != began.Add(row.want).UnixMilli() || got.UpdatedAt.UnixMilli() != got.Version || got.Lines[0] != row.has.Lines[0] {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
	for _, row := range []struct {
		group string
		after time.Duration
		gone  int
	}{{"g", 62 * time.Minute, 0}, {"other", 70 * time.Minute, 0}, {"g", 70 * time.Minute, 0}, {"g", 70*time.Minute + 30*time.Second, 0}, {"g", 71 * time.Minute, 1}, {"g", 80 * time.Minute, 1}} {
		gone := l.Gone(row.group, began.Add(row.after))
		if len(gone) != row.gone || row.gone == 1 && (gone[0].Status != connectors.OrderCancelledStatus || gone[0].Version != began.Add(71*time.Minute).UnixMilli()) {
			t.Errorf("%s after %s: %+v", row.group, row.after, gone)
		}
	}
	if got := l.Found("g", order(2), began.Add(90*time.Minute)); got.Status != connectors.OrderOpen || got.Version != began.Add(90*time.Minute).UnixMilli() {
		t.Errorf("found again: %+v", got)
	}
	if gone := l.Gone("g", began.Add(100*time.Minute)); len(gone) != 0 {
		t.Errorf("missing once: %+v", gone)
	}
}
