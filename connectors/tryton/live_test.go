package tryton_test

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/tryton"
	"github.com/truestock/truestock/connectors/tryton/trytonlive"
	"github.com/truestock/truestock/stock"
)

// TestLive runs everything against one real Tryton: the conformance suite, and what only a real one can show.
func TestLive(t *testing.T) {
	l := &live{ERP: trytonlive.Start(t)}
	t.Run("Conformance", l.conformance)
	for _, c := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"BasesMeanWhatTheySay", l.basesMeanWhatTheySay},
		{"OrderIsWhatWasOrdered", l.orderIsWhatWasOrdered},
		{"ShipmentsInParts", l.shipmentsInParts},
		{"CancellationsInParts", l.cancellationsInParts},
		{"CancellationOfTheWhole", l.cancellationOfTheWhole},
		{"CancellationBeforeTheShipment", l.cancellationBeforeTheShipment},
		{"PickedIsTooLateToCancel", l.pickedIsTooLateToCancel},
		{"StaffThatRefusesIsTold", l.staffThatRefuses},
		{"WarningsAreAccepted", l.warnings},
		{"CredentialsAreChecked", l.credentials},
		{"LostSessionIsRenewed", l.lostSession},
		{"WhatIsNotCountedIsLeftOut", l.notCounted},
		{"GoodsThatMoveWhileWeRead", l.goodsThatMove},
	} {
		t.Run(c.name, c.run)
	}
}

type live struct{ *trytonlive.ERP }

func (l *live) settings(changes ...string) connectors.Settings {
	s := connectors.Settings{
		"base_url": l.URL, "database": l.Database, "username": l.Username, "password": l.Password, "customer": trytonlive.Customer,
		"levels": "on_hand", "stage": "processing", "warnings": "accept",
	}
	for i := 0; i < len(changes); i += 2 {
		s[changes[i]] = changes[i+1]
	}
	return s
}

func (l *live) open(t testing.TB, transport http.RoundTripper, changes ...string) record {
	t.Helper()
	conn, err := tryton.Info().Open(connectors.Env{Connection: "live", Transport: transport}, connectors.SystemOfRecordRole, l.settings(changes...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(record)
}

type record interface {
	connectors.SystemOfRecord
	connectors.OrderTeller
}

// forget takes our keys off all sales, so that a case finds a Tryton that knows none of its orders, and counts them.
func (l *live) forget(t testing.TB) int {
	t.Helper()
	sales := l.Sales(t)
	ids := make([]int64, 0, len(sales))
	for _, s := range sales {
		ids = append(ids, s.ID)
	}
	if len(ids) > 0 {
		l.Call(t, "model.sale.sale.write", nil, ids, map[string]any{"reference": "forgotten"})
	}
	return len(ids)
}

// writing finds the calls that change something that people see.
var writing = regexp.MustCompile(`"method":"model\.[a-z.]+\.(create|write|delete|copy|quote|confirm|process|draft|cancel|wait|assign_try)"`)

func (l *live) conformance(t *testing.T) {
	var skus []string
	for i := range 203 { // more than one page
		skus = append(skus, fmt.Sprintf("SUITE-%03d", i))
	}
	l.CreateProducts(t, 0, skus...)
	for _, sku := range skus[:3] {
		l.Receive(t, sku, 100)
	}
	connectortest.RunSystemOfRecord(t, connectortest.Fixture{
		Serial: true,
		New: func(t *testing.T) connectortest.Server {
			before := l.forget(t)
			return connectortest.Server{
				Open: func(env connectors.Env) (connectors.Connection, error) {
					return tryton.Info().Open(env, connectors.SystemOfRecordRole, l.settings())
				},
				Secrets:    []string{l.Password},
				Writes:     func(_ *http.Request, body []byte) bool { return writing.Match(bytes.TrimSpace(body)) },
				Changes:    func() int { return len(l.Sales(t)) },
				SKUs:       skus[:3],
				Level:      func(sku string) stock.Quantity { return stock.Quantity(l.OnHand(t, sku)) },
				Receive:    func(sku string, q stock.Quantity) { l.Receive(t, sku, int64(q)) },
				OrderCount: func() int { return len(l.Sales(t)) - before },
				ShipOrder:  func(key string) stock.Quantity { return stock.Quantity(l.Ship(t, key)) },
			}
		},
	})
}
