package amazon_test

import (
	"crypto/md5" //nolint:gosec // SQS tells it of every message.
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/amazon"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/stock"
)

func sum(text string) string {
	s := md5.Sum([]byte(text)) //nolint:gosec // As above.
	return hex.EncodeToString(s[:])
}

func settings(changes ...string) connectors.Settings {
	s := connectors.Settings{
		"region": "eu", "seller_id": seller, "marketplace_ids": germany, "client_id": clientID, "client_secret": clientSecret, "refresh_token": refreshToken,
		"feed_from": "0", "queue_url": "", "aws_access_key_id": "", "aws_secret_access_key": "",
	}
	for i := 0; i < len(changes); i += 2 {
		s[changes[i]] = changes[i+1]
	}
	return s
}

// withQueue are the settings of a connection that has one.
var withQueue = []string{"queue_url", queueURL, "aws_access_key_id", awsKeyID, "aws_secret_access_key", awsKey}

type marketplace interface {
	connectors.Marketplace
	connectors.ShipmentWriter
}

func open(t testing.TB, transport http.RoundTripper, changes ...string) marketplace {
	t.Helper()
	conn, err := amazon.Info().Open(connectors.Env{Connection: "amazon", Transport: transport}, connectors.MarketplaceRole, settings(changes...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(marketplace)
}

// TestConformance runs the suite with single writes, with feeds, and with a queue.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string][]string{"single": nil, "feeds": {"feed_from", "1"}, "queue": withQueue} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.RunMarketplace(t, connectortest.Fixture{New: func(t *testing.T) connectortest.Server { return server(t, changes) }})
		})
	}
}

func server(t *testing.T, changes []string) connectortest.Server {
	items := 45
	if slices.Contains(changes, "feed_from") {
		items = 1005 // more than a batch
	}
	p := newPretend(t, items)
	var refs []connectors.Ref
	for _, i := range p.items {
		refs = append(refs, connectors.Ref{Item: i.sku})
	}
	secrets := []string{clientSecret, refreshToken}
	if slices.Contains(changes, awsKey) {
		secrets = append(secrets, awsKey)
	}
	return connectortest.Server{
		Open: func(env connectors.Env) (connectors.Connection, error) {
			return amazon.Info().Open(env, connectors.MarketplaceRole, settings(changes...))
		},
		Transport: p,
		Secrets:   secrets,
		Writes: func(r *http.Request, _ []byte) bool {
			return r.Method == http.MethodPatch || r.Method == http.MethodPost && (strings.HasSuffix(r.URL.Path, "/feeds") || strings.HasSuffix(r.URL.Path, "/shipmentConfirmation"))
		},
		Changes: func() int {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.changes
		},
		Refs: refs,
		Shown: func(ref connectors.Ref) stock.Quantity {
			p.mu.Lock()
			defer p.mu.Unlock()
			return stock.Quantity(*p.find(ref.Item).quantity)
		},
		Sell: func(ref connectors.Ref, quantity stock.Quantity) string {
			return p.sell(ref.Item, int(quantity), "UNSHIPPED").id
		},
		Shipped: func(id string) stock.Quantity {
			p.mu.Lock()
			defer p.mu.Unlock()
			units := 0
			for _, l := range p.findOrder(id).lines {
				units += l.shipped
			}
			return stock.Quantity(units)
		},
	}
}
