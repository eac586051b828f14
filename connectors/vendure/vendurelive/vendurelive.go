// Package vendurelive starts a real Vendure shop for tests: installed from npm, everything in memory, on a free port of
// the loopback address. It is for tests only and knows nothing of the connector.
package vendurelive

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors/realsystem"
)

const startTimeout = 90 * time.Second

// Shop is a running shop. Its methods are safe for concurrent use and fail the test that they are given.
type Shop struct {
	// AdminURL and ShopURL are the two GraphQL endpoints.
	AdminURL, ShopURL string
	// Username and Password are those of the administrator, who may do everything.
	Username, Password string
	// Variants are what the shop sells at the start: three, 10 of each on hand.
	Variants []Variant

	mu    sync.Mutex
	token string // of the administrator's session

	products sync.Map // from the id of a variant to that of its product
}

// Variant is one article of a shop.
type Variant struct{ ID, SKU, Name string }

// StartWithWebhooks starts a shop that ends with the test, with the truestock plugin, which posts its hints to url, signed
// with secret. It skips the test where node or npm is missing, and fails it in that case when TRUESTOCK_REQUIRE=all is set.
// The first start on a machine installs Vendure, which takes minutes; what is installed stays in the user's cache folder.
func StartWithWebhooks(t testing.TB, url, secret string) *Shop {
	t.Helper()
	realsystem.Need(t, "a real Vendure shop cannot be started", "node", "npm")
	source := realsystem.Folder(t, "connectors", "vendure")
	modules, err := realsystem.NPM("vendure", filepath.Join(source, "testdata", "shop"))
	if err != nil {
		t.Fatalf("install Vendure: %v", err)
	}
	s := &Shop{Username: "truestock-test", Password: "correct horse battery staple"}
	server := exec.Command("node", filepath.Join(source, "testdata", "shop", "server.js"))
	server.Dir = t.TempDir()
	server.Env = append(os.Environ(),
		"NODE_PATH="+modules,
		"SHOP_USERNAME="+s.Username,
		"SHOP_PASSWORD="+s.Password,
		"SHOP_PLUGIN="+filepath.Join(source, "plugin"),
		"SHOP_HOOK_URL="+url,
		"SHOP_HOOK_SECRET="+secret,
	)
	port := realsystem.Start(t, server, startTimeout)
	s.AdminURL = "http://127.0.0.1:" + port + "/admin-api"
	s.ShopURL = "http://127.0.0.1:" + port + "/shop-api"
	s.Variants = s.CreateVariants(t, 10, "TS-MUG", "TS-LAMP", "TS-CHAIR")
	return s
}
