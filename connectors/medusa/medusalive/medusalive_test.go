package medusalive_test

import (
	"testing"

	"github.com/truestock/truestock/connectors/medusa/medusalive"
	"github.com/truestock/truestock/store/pgtest"
)

// A buyer orders at the shop front: units are reserved, fewer can be ordered, and a cancellation gives them back.
func TestShop(t *testing.T) {
	s := medusalive.Start(t, pgtest.URL(t))
	mug := s.Variants[0]
	id := s.PlaceOrder(t, map[string]int{mug.ID: 3})
	if got, front := s.Level(t, mug.Item), s.Available(t, mug.ID); got != (medusalive.Level{Stocked: 10, Reserved: 3}) || front != 7 {
		t.Errorf("after an order of 3 of 10 the level is %+v, and %d can be ordered", got, front)
	}
	o := s.Order(t, id)
	if o.Status != "pending" || len(o.Items) != 1 || o.Items[0].Quantity != 3 || o.Items[0].VariantID != mug.ID {
		t.Errorf("the order is %+v", o)
	}
	s.CancelOrder(t, id)
	if got, status := s.Level(t, mug.Item), s.Order(t, id).Status; got != (medusalive.Level{Stocked: 10}) || status != "canceled" {
		t.Errorf("the cancelled order is %s, and the level %+v", status, got)
	}
}
