// Package all is the one list of the connectors that truestock contains. A connector is added by one line here.
package all

import (
	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/alibaba"
	"github.com/truestock/truestock/connectors/amazon"
	"github.com/truestock/truestock/connectors/awsmarketplace"
	"github.com/truestock/truestock/connectors/azure"
	"github.com/truestock/truestock/connectors/declared"
	"github.com/truestock/truestock/connectors/erpnext"
	"github.com/truestock/truestock/connectors/files"
	"github.com/truestock/truestock/connectors/googlecloud"
	"github.com/truestock/truestock/connectors/koogallery"
	"github.com/truestock/truestock/connectors/medusa"
	"github.com/truestock/truestock/connectors/odoo"
	"github.com/truestock/truestock/connectors/open"
	"github.com/truestock/truestock/connectors/shipbob"
	"github.com/truestock/truestock/connectors/shiphero"
	"github.com/truestock/truestock/connectors/shopify"
	"github.com/truestock/truestock/connectors/tryton"
	"github.com/truestock/truestock/connectors/vendure"
	"github.com/truestock/truestock/connectors/woocommerce"
)

// Registry returns every connector, in the order in which people see them.
func Registry() connectors.Registry {
	return connectors.Registry{
		open.Info(),
		vendure.Info(),
		medusa.Info(),
		shopify.Info(),
		amazon.Info(),
		woocommerce.Info(),
		tryton.Info(),
		files.Info(),
		odoo.Info(),
		shiphero.Info(),
		shipbob.Info(),
		erpnext.Info(),
		alibaba.Info(),
		koogallery.Info(),
		azure.Info(),
		googlecloud.Info(),
		awsmarketplace.Info(),
		declared.Info(),
	}
}
