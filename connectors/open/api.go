// Package open is the connector for systems that speak the open protocol of truestock, and the Go form of that
// protocol. One package serves both roles; any system in any language can be on the other side.
package open

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The wire types of the open protocol, both roles. Quantities that must be present are pointers, so that a missing or
// null quantity is told from 0. The pretend shop and warehouse of package fake speak through the same types.

// Envelope is the body of a webhook.
type Envelope struct {
	Type      string         `json:"type"`
	Timestamp *time.Time     `json:"timestamp,omitempty"`
	Data      jsontext.Value `json:"data"`
}

// Order is an order, whole.
type Order struct {
	OrderID   string      `json:"order_id"`
	Version   *int64      `json:"version"`
	PlacedAt  time.Time   `json:"placed_at,omitzero"`
	UpdatedAt time.Time   `json:"updated_at,omitzero"`
	Status    string      `json:"status,omitempty"`
	Buyer     *Buyer      `json:"buyer,omitempty"`
	Lines     []OrderLine `json:"lines,omitempty"`
}

// Buyer is who placed an order.
type Buyer struct {
	Ref     string `json:"ref"`
	Contact string `json:"contact,omitempty"`
}

// OrderLine is a line of an Order: running totals.
type OrderLine struct {
	LineID    string `json:"line_id"`
	Item      string `json:"item"`
	Place     string `json:"place,omitempty"`
	SKU       string `json:"sku,omitempty"`
	Quantity  *int64 `json:"quantity"`
	Cancelled *int64 `json:"cancelled"`
	Shipped   *int64 `json:"shipped"`
	Restocked *int64 `json:"restocked"`
}

// ListingEvent is the data of listing.changed and listing.removed.
type ListingEvent struct {
	Item     string `json:"item"`
	Place    string `json:"place,omitempty"`
	SKU      string `json:"sku,omitempty"`
	Title    string `json:"title,omitempty"`
	Quantity *int64 `json:"quantity,omitempty"`
}

// Level is the data of stock.level and a row of GET /levels.
type Level struct {
	SKU      string     `json:"sku"`
	Location string     `json:"location"`
	Quantity *int64     `json:"quantity"`
	Position *int64     `json:"position,omitempty"`
	AsOf     *time.Time `json:"as_of,omitempty"`
}

// Moved is the data of stock.moved.
type Moved struct {
	SKU        string     `json:"sku"`
	Location   string     `json:"location"`
	Delta      *int64     `json:"delta"`
	Reason     string     `json:"reason"`
	Position   *int64     `json:"position,omitempty"`
	OccurredAt *time.Time `json:"occurred_at"`
	// CorrectionKey is the key of the POST /corrections that the movement books.
	CorrectionKey string `json:"correction_key,omitempty"`
}

// Allocation is the data of order.allocated, order.deallocated and order.rejected.
type Allocation struct {
	OrderKey   string           `json:"order_key"`
	Lines      []AllocationLine `json:"lines"`
	Position   *int64           `json:"position,omitempty"`
	OccurredAt *time.Time       `json:"occurred_at"`
}

// AllocationLine is a line of an Allocation.
type AllocationLine struct {
	LineID   string `json:"line_id"`
	Quantity *int64 `json:"quantity"`
	Location string `json:"location"`
}

// Shipment is the data of shipment.shipped.
type Shipment struct {
	ShipmentID string         `json:"shipment_id"`
	OrderKey   string         `json:"order_key"`
	Lines      []ShipmentLine `json:"lines"`
	Carrier    string         `json:"carrier,omitempty"`
	Tracking   string         `json:"tracking,omitempty"`
	Position   *int64         `json:"position,omitempty"`
	OccurredAt *time.Time     `json:"occurred_at"`
}

// ShipmentLine is a line of a Shipment.
type ShipmentLine struct {
	LineID   string `json:"line_id"`
	SKU      string `json:"sku"`
	Quantity *int64 `json:"quantity"`
	Location string `json:"location"`
}

// Return is the data of return.received.
type Return struct {
	ReturnID   string       `json:"return_id"`
	OrderKey   string       `json:"order_key,omitempty"`
	Lines      []ReturnLine `json:"lines"`
	Position   *int64       `json:"position,omitempty"`
	OccurredAt *time.Time   `json:"occurred_at"`
}

// ReturnLine is a line of a Return.
type ReturnLine struct {
	SKU      string `json:"sku"`
	Quantity *int64 `json:"quantity"`
	Location string `json:"location"`
	Sellable *bool  `json:"sellable"`
}

// Changed is the data of stock.changed.
type Changed struct {
	SKUs []string `json:"skus,omitempty"`
}

// Movement is a fact of GET /movements: the type and position beside the data of that type.
type Movement struct {
	Type     string `json:"type"`
	Position *int64 `json:"position"`
}

// The calls that a marketplace offers.
type (
	// MarketplaceCapabilities answers GET /capabilities.
	MarketplaceCapabilities struct {
		Name             string `json:"name"`
		ShopID           string `json:"shop_id"`
		BatchSize        int    `json:"batch_size"`
		ConditionalWrite bool   `json:"conditional_write"`
		IdempotentWrite  bool   `json:"idempotent_write"`
		ReadLagMS        int64  `json:"read_lag_ms"`
		MaxQuantity      int64  `json:"max_quantity"`
		QuantityMeans    string `json:"quantity_means"`
		StopSale         bool   `json:"stop_sale"`
		Shipments        bool   `json:"shipments"`
		PerPlace         bool   `json:"per_place"`
		// These may be left out, and are then false.
		DeltaWrite        bool  `json:"delta_write,omitzero"`
		DeductsSinceWrite bool  `json:"deducts_since_write,omitzero"`
		AsynchronousWrite bool  `json:"asynchronous_write,omitzero"`
		Subscriptions     bool  `json:"subscriptions,omitzero"`
		RetryHorizonMS    int64 `json:"retry_horizon_ms,omitzero"`
		OrderOverlapMS    int64 `json:"order_overlap_ms,omitzero"`
		Remedies          bool  `json:"remedies,omitzero"`
		Unlimited         bool  `json:"unlimited,omitzero"`
	}
	// Subscription is a row of SubscriptionsAnswer, and the body of POST /webhooks, there with the secret that signs the
	// deliveries. No types means all.
	Subscription struct {
		ID     string   `json:"id,omitempty"`
		URL    string   `json:"url"`
		Types  []string `json:"types,omitempty"`
		Secret string   `json:"secret,omitempty"`
	}
	// SubscriptionsAnswer answers GET /webhooks, without secrets.
	SubscriptionsAnswer struct {
		Webhooks []Subscription `json:"webhooks"`
	}
	// Listing is a row of GET /listings.
	Listing struct {
		Item      string    `json:"item"`
		Place     string    `json:"place,omitempty"`
		SKU       string    `json:"sku,omitempty"`
		GTIN      string    `json:"gtin,omitempty"`
		Title     string    `json:"title,omitempty"`
		Quantity  *int64    `json:"quantity"`
		Unlimited bool      `json:"unlimited,omitzero"`
		Status    string    `json:"status"`
		UpdatedAt time.Time `json:"updated_at"`
	}
	// ListingsPage answers GET /listings.
	ListingsPage struct {
		Listings []Listing `json:"listings"`
		Next     *string   `json:"next"`
	}
	// Ref names a listing.
	Ref struct {
		Item  string `json:"item"`
		Place string `json:"place,omitempty"`
	}
	// ReadRequest is the body of POST /stock/read.
	ReadRequest struct {
		Refs []Ref `json:"refs"`
	}
	// Reading is a row of ReadAnswer.
	Reading struct {
		Item      string    `json:"item"`
		Place     string    `json:"place,omitempty"`
		Quantity  *int64    `json:"quantity"`
		Unlimited bool      `json:"unlimited,omitzero"`
		AsOf      time.Time `json:"as_of"`
	}
	// ReadAnswer answers POST /stock/read.
	ReadAnswer struct {
		Readings []Reading `json:"readings"`
	}
	// Write is a line of WriteRequest.
	Write struct {
		ID        string `json:"id"`
		Item      string `json:"item"`
		Place     string `json:"place,omitempty"`
		Quantity  int64  `json:"quantity"`
		Unlimited bool   `json:"unlimited,omitzero"`
		Expect    *int64 `json:"expect,omitempty"`
		Delta     *int64 `json:"delta,omitempty"`
	}
	// WriteRequest is the body of POST /stock/write.
	WriteRequest struct {
		Writes []Write `json:"writes"`
	}
	// WriteResult is a row of WriteAnswer. Status is ok, accepted, stale, rejected, throttled or not_found.
	WriteResult struct {
		ID           string `json:"id"`
		Status       string `json:"status"`
		Quantity     *int64 `json:"quantity,omitempty"`
		Code         string `json:"code,omitempty"`
		Message      string `json:"message,omitempty"`
		RetryAfterMS int64  `json:"retry_after_ms,omitzero"`
	}
	// WriteAnswer answers POST /stock/write, in the order of the writes.
	WriteAnswer struct {
		Results []WriteResult `json:"results"`
	}
	// OrdersPage answers GET /orders.
	OrdersPage struct {
		Orders    []Order   `json:"orders"`
		Next      *string   `json:"next"`
		Watermark time.Time `json:"watermark"`
	}
	// ShipmentNotice is the body of POST /shipments.
	ShipmentNotice struct {
		Key      string         `json:"key"`
		OrderID  string         `json:"order_id"`
		Lines    []ShippedPacks `json:"lines"`
		Carrier  string         `json:"carrier,omitempty"`
		Tracking string         `json:"tracking,omitempty"`
	}
	// ShippedPacks is a line of a ShipmentNotice.
	ShippedPacks struct {
		LineID   string `json:"line_id"`
		Quantity int64  `json:"quantity"`
	}
	// Remedy is the body of POST /remedies.
	Remedy struct {
		Key     string       `json:"key"`
		OrderID string       `json:"order_id"`
		Kind    string       `json:"kind"`
		Lines   []RemedyLine `json:"lines"`
		// Substitute goes with kind substitute, ReadyAt with kind restock.
		Substitute   string    `json:"substitute,omitempty"`
		ReadyAt      time.Time `json:"ready_at,omitzero"`
		Compensation int64     `json:"compensation,omitzero"`
		Message      string    `json:"message"`
	}
	// RemedyLine is a line of a Remedy.
	RemedyLine struct {
		LineID   string `json:"line_id"`
		Quantity int64  `json:"quantity"`
	}
	// StopRequest is the body of POST /listings/stop and /listings/resume.
	StopRequest struct {
		Items []string `json:"items"`
	}
	// StopResult is a row of StopAnswer.
	StopResult struct {
		Item    string `json:"item"`
		Status  string `json:"status"`
		Code    string `json:"code,omitempty"`
		Message string `json:"message,omitempty"`
	}
	// StopAnswer answers POST /listings/stop and /listings/resume, in the order of the items.
	StopAnswer struct {
		Results []StopResult `json:"results"`
	}
	// Status answers calls that change something and have nothing more to tell.
	Status struct {
		Status string `json:"status"`
	}
)

// The calls that a system of record offers.
type (
	// RecordCapabilities answers GET /capabilities.
	RecordCapabilities struct {
		Name           string `json:"name"`
		Levels         string `json:"levels"`
		Positions      bool   `json:"positions"`
		CompleteLevels bool   `json:"complete_levels"`
		OrderAmend     bool   `json:"order_amend,omitzero"`
		OrderStatus    bool   `json:"order_status,omitzero"`
		Corrections    bool   `json:"corrections,omitzero"`
	}
	// Correction is the body of POST /corrections.
	Correction struct {
		Key      string    `json:"key"`
		SKU      string    `json:"sku"`
		Location string    `json:"location"`
		Delta    int64     `json:"delta"`
		Counted  int64     `json:"counted"`
		AsOf     time.Time `json:"as_of"`
		Reason   string    `json:"reason,omitempty"`
		Note     string    `json:"note,omitempty"`
	}
	// CorrectionAnswer answers POST /corrections. Position is that of the movement that books it.
	CorrectionAnswer struct {
		Status   string `json:"status"`
		Position *int64 `json:"position,omitempty"`
	}
	// Location is a row of LocationsAnswer.
	Location struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	// LocationsAnswer answers GET /locations.
	LocationsAnswer struct {
		Locations []Location `json:"locations"`
	}
	// Item is a row of ItemsPage.
	Item struct {
		SKU      string `json:"sku"`
		GTIN     string `json:"gtin,omitempty"`
		Name     string `json:"name,omitempty"`
		Kind     string `json:"kind,omitempty"`
		Category string `json:"category,omitempty"`
	}
	// ItemsPage answers GET /items.
	ItemsPage struct {
		Items []Item  `json:"items"`
		Next  *string `json:"next"`
	}
	// LevelsPage answers GET /levels.
	LevelsPage struct {
		Levels   []Level    `json:"levels"`
		Next     *string    `json:"next"`
		Position *int64     `json:"position,omitempty"`
		AsOf     *time.Time `json:"as_of,omitempty"`
		Count    *int       `json:"count"`
	}
	// MovementsPage answers GET /movements. Each fact is a Movement with the data of its type beside it.
	MovementsPage struct {
		Facts []jsontext.Value `json:"facts"`
		Next  *string          `json:"next"`
	}
	// NewOrder is the body of POST /orders.
	NewOrder struct {
		Key      string         `json:"key"`
		Channel  string         `json:"channel"`
		OrderID  string         `json:"order_id"`
		PlacedAt time.Time      `json:"placed_at"`
		Lines    []NewOrderLine `json:"lines"`
		Buyer    *Buyer         `json:"buyer,omitempty"`
	}
	// NewOrderLine is a line of NewOrder and Amendment.
	NewOrderLine struct {
		LineID   string `json:"line_id"`
		SKU      string `json:"sku"`
		Quantity int64  `json:"quantity"`
	}
	// OrderNumber answers POST /orders.
	OrderNumber struct {
		Number string `json:"number"`
	}
	// Cancellation is the body of POST /orders/{key}/cancel.
	Cancellation struct {
		Lines []CancelLine `json:"lines,omitempty"`
	}
	// CancelLine is a line of a Cancellation: a running total.
	CancelLine struct {
		LineID    string `json:"line_id"`
		Cancelled int64  `json:"cancelled"`
	}
	// Amendment is the body of POST /orders/{key}/amend.
	Amendment struct {
		Version int64          `json:"version"`
		Lines   []NewOrderLine `json:"lines"`
	}
	// OrderStanding answers GET /orders/{key}. All totals are of the instant AsOf.
	OrderStanding struct {
		Key   string         `json:"key"`
		AsOf  *time.Time     `json:"as_of,omitempty"`
		Lines []StandingLine `json:"lines"`
	}
	// StandingLine is a line of an OrderStanding: running totals.
	StandingLine struct {
		LineID    string          `json:"line_id"`
		Cancelled *int64          `json:"cancelled"`
		Rejected  *int64          `json:"rejected"`
		Restocked *int64          `json:"restocked,omitempty"`
		Locations []StandingPlace `json:"locations"`
	}
	// StandingPlace is what was shipped from a location, and is set aside there.
	StandingPlace struct {
		Location  string `json:"location"`
		Shipped   *int64 `json:"shipped"`
		Allocated *int64 `json:"allocated,omitempty"`
	}
)

// Problem is an application/problem+json answer.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code,omitempty"`
}
