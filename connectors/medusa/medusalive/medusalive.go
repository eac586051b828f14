// Package medusalive starts a real Medusa shop for tests: installed from npm, on a free port of the loopback address, with
// a PostgreSQL database that the test gives it. It is for tests only and knows nothing of the connector.
package medusalive

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/realsystem"
)

const startTimeout = 240 * time.Second

// Shop is a running shop. Its methods are safe for concurrent use and fail the test that they are given.
type Shop struct {
	// URL is where the shop's APIs are: the admin API below /admin, the one of the shop front below /store.
	URL string
	// Email and Password are those of the administrator; APIKey is a secret key of theirs. Either may do everything.
	Email, Password, APIKey string
	// Location is the id of the one stock location, which is named Main, and SalesChannel that of the one sales channel.
	Location, SalesChannel string
	// Variants are what the shop sells at the start: three, 10 of each in stock.
	Variants []Variant

	token                                   string // of the administrator
	publishable                             string // API key of the shop front
	region, shippingProfile, shippingOption string
	product                                 sync.Map // from the id of a variant to that of its product
}

// Variant is one article of a shop. Item is the id of its inventory item.
type Variant struct{ ID, SKU, Title, Item string }

// Start starts a shop that ends with the test, in a database that is empty, named by a URL such as store/pgtest makes. It
// skips the test where node, npm or the programs of PostgreSQL are missing, and fails it in that case when
// TRUESTOCK_REQUIRE=all is set. The first start on a machine installs Medusa, which takes minutes, and makes its tables;
// both stay in the user's cache folder.
func Start(t testing.TB, database string) *Shop {
	t.Helper()
	return StartWithWebhooks(t, database, "", "")
}

// StartWithWebhooks is Start with the truestock subscriber, which posts its hints to url, signed with secret.
func StartWithWebhooks(t testing.TB, database, url, secret string) *Shop {
	t.Helper()
	realsystem.Need(t, "a real Medusa shop cannot be started", "node", "npm", "psql", "pg_dump")
	needNode(t)
	source := realsystem.Folder(t, "connectors", "medusa")
	modules, err := realsystem.NPM("medusa", filepath.Join(source, "testdata", "shop"))
	if err != nil {
		t.Fatalf("install Medusa: %v", err)
	}
	s := &Shop{Email: "admin@shop.example", Password: "correct horse battery staple"}
	project, err := s.project(t.TempDir(), source, modules)
	if err != nil {
		t.Fatal(err)
	}
	node := func(arguments ...string) *exec.Cmd {
		cmd := exec.Command("node", append([]string{"server.js"}, arguments...)...)
		cmd.Dir = project
		cmd.Env = append(os.Environ(),
			"NODE_ENV=production",
			"MEDUSA_DISABLE_TELEMETRY=1",
			"LOG_LEVEL=warn",
			"SHOP_DATABASE_URL="+socketInHost(t, database),
			"SHOP_EMAIL="+s.Email,
			"SHOP_PASSWORD="+s.Password,
			"TRUESTOCK_WEBHOOK_URL="+url,
			"TRUESTOCK_WEBHOOK_SECRET="+secret,
			"TRUESTOCK_WEBHOOK_QUIET_MS=50",
		)
		return cmd
	}
	if err := makeTables(database, filepath.Base(filepath.Dir(modules)), node("migrate")); err != nil {
		t.Fatalf("make the tables of Medusa: %v", err)
	}
	s.URL = "http://127.0.0.1:" + realsystem.Start(t, node(), startTimeout)
	s.furnish(t)
	s.Variants = s.CreateVariants(t, 10, "TS-MUG", "TS-LAMP", "TS-CHAIR")
	return s
}

// needNode wants what @medusajs/medusa names in its engines: ^20.19.0 || >=22.12.0.
func needNode(t testing.TB) {
	t.Helper()
	version, err := exec.Command("node", "-p", "process.versions.node").Output()
	if err != nil {
		t.Fatalf("ask node for its version: %v", err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(version), "%d.%d.", &major, &minor); err != nil {
		t.Fatalf("node says that it is of version %q", version)
	}
	if major < 20 || major == 20 && minor < 19 || major == 21 || major == 22 && minor < 12 {
		realsystem.Missing(t, fmt.Sprintf("node is of version %d.%d, and Medusa needs 20.19, 22.12 or later", major, minor))
	}
}

// project fills a folder as a Medusa project has it, with the subscriber.
func (s *Shop) project(folder, source, modules string) (string, error) {
	subscribers := filepath.Join(folder, "src", "subscribers")
	if err := os.MkdirAll(subscribers, 0o755); err != nil {
		return "", err
	}
	for from, to := range map[string]string{
		"testdata/shop/server.js":        folder,
		"testdata/shop/medusa-config.js": folder,
		"testdata/shop/package.json":     folder,
		"subscriber/truestock.js":        subscribers,
	} {
		text, err := os.ReadFile(filepath.Join(source, filepath.FromSlash(from)))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(from)), text, 0o644); err != nil {
			return "", err
		}
	}
	return folder, os.Symlink(modules, filepath.Join(folder, "node_modules"))
}

// socketInHost writes the address of a database so that Medusa understands it: a folder with a socket stands in the
// place of the host, not in the query.
func socketInHost(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatalf("the address of the database: %v", err)
	}
	folder := u.Query().Get("host")
	if folder == "" {
		return database
	}
	return fmt.Sprintf("postgres://%s@%s%s", u.User, url.QueryEscape(folder), u.Path)
}

// makeTables brings the tables of Medusa into an empty database. Medusa itself makes them once per installation, which
// takes long; what it made is kept, and copied.
func makeTables(database, installation string, migrate *exec.Cmd) error {
	migrated := false
	kept, err := realsystem.Once(installation+"-database", func(work string) error {
		if err := run(migrate); err != nil {
			return err
		}
		migrated = true
		return run(exec.Command("pg_dump", "--no-owner", "--file", filepath.Join(work, "dump.sql"), database))
	})
	if err != nil || migrated {
		return err
	}
	return run(exec.Command("psql", "--quiet", "--no-psqlrc", "--single-transaction", "--set", "ON_ERROR_STOP=1",
		"--output", os.DevNull, "--file", filepath.Join(kept, "dump.sql"), database))
}

func run(cmd *exec.Cmd) error {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, output.Bytes()[max(0, output.Len()-4096):])
	}
	return nil
}

// furnish gives the empty shop what an order needs: a region, a stock location, a way to ship and keys.
func (s *Shop) furnish(t testing.TB) {
	t.Helper()
	var login struct {
		Token string `json:"token"`
	}
	s.call(t, http.MethodPost, "/auth/user/emailpass", nil, map[string]any{"email": s.Email, "password": s.Password}, &login)
	s.token = login.Token
	var found struct {
		SalesChannels []named `json:"sales_channels"`
		APIKeys       []struct {
			Token string `json:"token"`
		} `json:"api_keys"`
	}
	s.Admin(t, http.MethodGet, "/admin/sales-channels", nil, &found)
	s.Admin(t, http.MethodGet, "/admin/api-keys?type=publishable", nil, &found)
	if len(found.SalesChannels) != 1 || len(found.APIKeys) != 1 {
		t.Fatalf("a new shop has %+v", found)
	}
	s.SalesChannel, s.publishable = found.SalesChannels[0].ID, found.APIKeys[0].Token

	s.APIKey = s.CreateAPIKey(t)
	var made struct {
		Region          named `json:"region"`
		ShippingProfile named `json:"shipping_profile"`
		ShippingOption  named `json:"shipping_option"`
		FulfillmentSet  struct {
			ServiceZones []named `json:"service_zones"`
		} `json:"fulfillment_set"`
	}
	s.Admin(t, http.MethodPost, "/admin/regions", map[string]any{
		"name": "Europe", "currency_code": "eur", "countries": []string{"de"}, "payment_providers": []string{"pp_system_default"},
	}, &made)
	s.Admin(t, http.MethodPost, "/admin/shipping-profiles", map[string]any{"name": "Default", "type": "default"}, &made)
	s.region, s.shippingProfile = made.Region.ID, made.ShippingProfile.ID
	s.Location = s.CreateLocation(t, "Main")

	var location struct {
		StockLocation struct {
			FulfillmentSets []named `json:"fulfillment_sets"`
		} `json:"stock_location"`
	}
	at := "/admin/stock-locations/" + s.Location
	s.Admin(t, http.MethodPost, at+"/fulfillment-providers", map[string]any{"add": []string{"manual_manual"}}, nil)
	s.Admin(t, http.MethodPost, at+"/fulfillment-sets?fields=*fulfillment_sets", map[string]any{"name": "Delivery", "type": "shipping"}, &location)
	s.Admin(t, http.MethodPost, "/admin/fulfillment-sets/"+location.StockLocation.FulfillmentSets[0].ID+"/service-zones", map[string]any{
		"name": "Germany", "geo_zones": []map[string]any{{"type": "country", "country_code": "de"}},
	}, &made)
	s.Admin(t, http.MethodPost, "/admin/shipping-options", map[string]any{
		"name": "Post", "service_zone_id": made.FulfillmentSet.ServiceZones[0].ID, "shipping_profile_id": s.shippingProfile,
		"provider_id": "manual_manual", "price_type": "flat", "rules": []any{},
		"type":   map[string]any{"label": "Post", "description": "Post", "code": "post"},
		"prices": []map[string]any{{"currency_code": "eur", "amount": 5}},
	}, &made)
	s.shippingOption = made.ShippingOption.ID
}

type named struct {
	ID string `json:"id"`
}

// CreateLocation makes a stock location that the sales channel sells from, and returns its id.
func (s *Shop) CreateLocation(t testing.TB, name string) string {
	t.Helper()
	var made struct {
		StockLocation named `json:"stock_location"`
	}
	s.Admin(t, http.MethodPost, "/admin/stock-locations", map[string]any{"name": name}, &made)
	s.Admin(t, http.MethodPost, "/admin/stock-locations/"+made.StockLocation.ID+"/sales-channels", map[string]any{"add": []string{s.SalesChannel}}, nil)
	return made.StockLocation.ID
}

// CreateAPIKey makes a secret API key. A shop has one per user that is not revoked.
func (s *Shop) CreateAPIKey(t testing.TB) string {
	t.Helper()
	var made struct {
		APIKey struct {
			Token string `json:"token"`
		} `json:"api_key"`
	}
	s.Admin(t, http.MethodPost, "/admin/api-keys", map[string]any{"title": "truestock", "type": "secret"}, &made)
	return made.APIKey.Token
}
