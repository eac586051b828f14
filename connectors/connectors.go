// Package connectors is the contract between truestock and the outside: what a connector declares of itself, what a
// marketplace and a system of record can be asked, and how each failure is told. It holds no vendor knowledge. A
// connector translates; it never decides, never stores, and retries nothing that takes longer than seconds.
package connectors

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/truestock/truestock/stock"
)

// Role says which side of the synchronisation a connection is on.
type Role string

// The two roles.
const (
	MarketplaceRole    Role = "marketplace"
	SystemOfRecordRole Role = "system_of_record"
)

// Info describes a connector. It is a plain value: building it has no side effects. It drives the configuration
// check, the command line, the documentation and the redaction of secrets.
type Info struct {
	// Name is the word in the configuration file; Title is for people.
	Name, Title string
	// Roles that a connection through this connector can have.
	Roles []Role
	// Fields are the settings that a connection takes, in the order in which a person fills them in.
	Fields []Field
	// Further, where set, are the fields that depend on the values of Fields, complete with defaults. It may read files of
	// this machine.
	Further func(settings Settings) ([]Field, error)
	// Open makes a connection. It does no I/O: a remote system that is down must not keep truestock from starting.
	// The result implements Marketplace for MarketplaceRole and SystemOfRecord for SystemOfRecordRole.
	Open func(env Env, role Role, settings Settings) (Connection, error)
	// Guide is for the person who sets the connection up.
	Guide Guide
}

// Supports reports whether a connection through this connector can have the role.
func (i Info) Supports(role Role) bool {
	return slices.Contains(i.Roles, role)
}

// Field is one setting of a connection.
type Field struct {
	// Name is the key in the configuration, snake case. Help is one sentence for the person who fills it in.
	Name, Help string
	// Default is used when the setting is absent.
	Default  string
	Required bool
	// Secret values are never shown: not in logs, errors, the API or the configuration as printed.
	Secret bool
	// Path values name a file of this machine; one that does not begin with / begins where the configuration file is.
	Path bool
}

// Settings are the values of one connection's Fields, complete with defaults, secrets resolved.
type Settings map[string]string

// Env is what a connection gets from the house. Transport is the only way out: tests and the simulator put their own
// there; nil means the network.
type Env struct {
	Connection stock.ConnectionID
	// WebhookURL is where the connection's webhooks are taken, as the outside reaches it; empty where that is not known.
	WebhookURL string
	Transport  http.RoundTripper
	Log        *slog.Logger
	// Timeout bounds one HTTP call, retries included. Zero means DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout bounds one HTTP call of a connector when nothing else is configured.
const DefaultTimeout = 15 * time.Second

// Class says how safe a write to a marketplace is against sales that we have not seen yet.
type Class string

// The classes, from the safest to the most careful handling.
const (
	// CompareAndSet (C1): a write names the value that it expects and fails when the channel shows another.
	CompareAndSet Class = "C1"
	// IdempotentDelta (C2): a write is a change with a key; the same key again does nothing.
	IdempotentDelta Class = "C2"
	// DeductsSinceUpdate (C3): the platform subtracts the orders placed after our last write.
	DeductsSinceUpdate Class = "C3"
	// DeductsOpenOrders (C4): the platform subtracts all of its own open orders from what we write.
	DeductsOpenOrders Class = "C4"
	// Overwrite (C5): a write replaces whatever is there.
	Overwrite Class = "C5"
	// AsynchronousFeed (C6): a write is accepted now and shows, or fails, later.
	AsynchronousFeed Class = "C6"
	// AsksFirst (C0): the platform shows no quantity and takes none; it asks before each sale, and the answer is decided
	// by what there is at that moment. Nothing is read, written or compared there.
	AsksFirst Class = "C0"
	// OrdersOnly (C7): the platform shows no quantity, takes none and asks nothing: it sells, and tells. Nothing there can be
	// kept from being sold.
	OrdersOnly Class = "C7"
)

// Shelf reports whether the channel shows a quantity, so that there is something to read, write and compare.
func (c Class) Shelf() bool { return c != AsksFirst && c != OrdersOnly }

// MarketplaceCapabilities says what a marketplace connection can do. The conformance suite fails a connector that can
// do more than it says, or less.
type MarketplaceCapabilities struct {
	// Class says how a write behaves against unseen orders; shown to operators.
	Class Class
	// Account names the account behind the credentials, as the marketplace does; empty where it does not tell.
	Account string
	// BatchSize is the most writes, or readings, in one call; at least 1.
	BatchSize int
	// ReadLag is how long a read may still show the value from before a write.
	ReadLag time.Duration
	// MaxQuantity is the largest quantity the channel takes, in packs; 0 means no limit is known.
	MaxQuantity stock.Quantity
	// ShowsGross is true where the quantity written and read contains the channel's own open orders (on hand or
	// gross), so that ours must be raised by them. A connector whose platform keeps the two apart converts by itself
	// and leaves this false.
	ShowsGross bool
	// IdempotentWrite is true where a write with the same ID can be repeated without effect.
	IdempotentWrite bool
	// StopSale and Shipments say that the connection implements SaleStopper and ShipmentWriter.
	StopSale, Shipments bool
	// Remedies is true where the connection implements RemedyWriter.
	Remedies bool
	// Unlimited is true where a listing can be shown without a limit: Write.Unlimited is understood, and a reading tells.
	Unlimited bool
	// PerPlace is true where one item has a quantity per place.
	PerPlace bool
	// Subscriptions is true where the webhook subscriptions can be listed and made: the connection implements Subscriber.
	Subscriptions bool
	// RetryHorizon is for how long the channel tries to deliver a webhook; 0 means it is not known.
	RetryHorizon time.Duration
	// OrderOverlap is by how much the list of orders may lag behind its own clock: it is asked that much earlier.
	OrderOverlap time.Duration
}

// AccountTeller is implemented by a marketplace connection that can tell, at any time, which account it leads to.
type AccountTeller interface {
	// Account asks anew; nothing remembered answers it.
	Account(ctx context.Context) (string, error)
}

// RecordCapabilities says what a system of record can do.
type RecordCapabilities struct {
	// Basis is what its numbers mean.
	Basis stock.Basis
	// Positions is true where facts carry a sequence, and Movements can be asked.
	Positions bool
	// CompleteLevels is true where Levels tells how many rows the whole answer has.
	CompleteLevels bool
	// AmendOrders is true where the connection implements OrderAmender.
	AmendOrders bool
	// OrderStatus is true where the connection implements OrderTeller.
	OrderStatus bool
	// Changes is true where the connection implements ChangeTeller.
	Changes bool
	// CorrectStock is true where the connection implements StockCorrector.
	CorrectStock bool
	// ListensOnly is true where the system only sends webhooks: it is asked nothing and told nothing.
	ListensOnly bool
}

// Ref names an item as the outside system names it: opaque to all but its connector. The mapping, alone, turns it
// into SKUs. Place is empty where the channel knows no places.
type Ref struct {
	Item  string `json:"item"`
	Place string `json:"place,omitempty"`
}

// String writes the ref for people: the item, and the place behind an @ where there is one.
func (r Ref) String() string {
	if r.Place == "" {
		return r.Item
	}
	return r.Item + "@" + r.Place
}

// Compare orders refs by item, then place, by bytes.
func (r Ref) Compare(o Ref) int {
	switch {
	case r.Item < o.Item, r.Item == o.Item && r.Place < o.Place:
		return -1
	case r == o:
		return 0
	default:
		return 1
	}
}

// Cursor is a connector's own bookmark in a list. The empty cursor is the beginning; it survives a restart.
type Cursor string

// Page is one part of a list. Next is the cursor of the next page, empty at the end.
type Page[T any] struct {
	Rows []T
	Next Cursor
}

// Connection is an open account at one outside system. All methods of a connection are safe for concurrent use and
// return nil, an *Error, or the context's error.
type Connection interface {
	// Check proves that the credentials work. It touches nothing.
	Check(ctx context.Context) error
	// Close ends the connection; afterwards every call fails.
	Close() error
}

// Marketplace is a channel that offers our stock for sale.
type Marketplace interface {
	Connection
	// Capabilities may ask the remote system, and remembers the answer.
	Capabilities(ctx context.Context) (MarketplaceCapabilities, error)
	// Listings enumerates every listing, in the same order on every call.
	Listings(ctx context.Context, from Cursor) (Page[Listing], error)
	// ReadStock reads what the channel shows. It leaves out what the channel does not know. At most BatchSize refs.
	ReadStock(ctx context.Context, refs []Ref) ([]Reading, error)
	// WriteStock returns one result per write, in order. Its error is about the whole call; then there are no results,
	// and unless its kind is Uncertain no write took place. At most BatchSize writes.
	WriteStock(ctx context.Context, writes []Write) ([]Result, error)
	// Orders lists the orders that changed at or after since, the instant inclusive.
	Orders(ctx context.Context, since time.Time, from Cursor) (OrderPage, error)
}

// SystemOfRecord is the ERP or WMS whose word on stock is the truth.
type SystemOfRecord interface {
	Connection
	// Capabilities may ask the remote system, and remembers the answer.
	Capabilities(ctx context.Context) (RecordCapabilities, error)
	// Locations lists the places at which stock is counted.
	Locations(ctx context.Context) ([]Location, error)
	// Items lists the articles.
	Items(ctx context.Context, from Cursor) (Page[Item], error)
	// Levels lists what the system has of every SKU at every location.
	Levels(ctx context.Context, from Cursor) (LevelPage, error)
	// Movements lists facts with a sequence after the given one, oldest first. It is called only where
	// RecordCapabilities.Positions is true.
	Movements(ctx context.Context, after int64) (Page[Fact], error)
	// CreateOrder makes a sales order. The same key with the same content creates nothing new and returns the same
	// number; with other content it is Rejected.
	CreateOrder(ctx context.Context, o NewOrder) (number string, err error)
	// CancelOrder tells how much of each line is cancelled, as running totals, so that a repeat changes nothing. No
	// lines means the whole order.
	CancelOrder(ctx context.Context, key string, lines []CancelLine) error
}

// The optional interfaces; each is matched by a capability.
type (
	// ShipmentWriter tells a marketplace what was shipped. The same key again does nothing.
	ShipmentWriter interface {
		WriteShipment(ctx context.Context, s ShipmentNotice) error
	}
	// SaleStopper stops and resumes the sale of listings.
	SaleStopper interface {
		StopSale(ctx context.Context, refs []Ref) ([]Result, error)
		ResumeSale(ctx context.Context, refs []Ref) ([]Result, error)
	}
	// RemedyWriter makes good at a marketplace what was sold and is not there: it cancels units and pays them back, or tells the
	// buyer what comes instead, or when. The same key again does nothing.
	RemedyWriter interface {
		WriteRemedy(ctx context.Context, r RemedyNotice) error
	}
	// Subscriber looks after the webhook subscriptions of a marketplace.
	Subscriber interface {
		// MissingSubscriptions names the types of events that the connection needs to be told of and is not. It is empty
		// where that cannot be said: the address of our webhooks is not known, or the marketplace keeps no list.
		MissingSubscriptions(ctx context.Context) ([]string, error)
		// Subscribe has the types sent to us. A repeat changes nothing.
		Subscribe(ctx context.Context, types []string) error
	}
	// OrderAmender changes the ordered quantities of an order at the system of record.
	OrderAmender interface {
		AmendOrder(ctx context.Context, a Amendment) error
	}
	// OrderTeller says how one of our orders stands at the system of record. It is what heals a lost webhook where there
	// are no positions.
	OrderTeller interface {
		// OrderStanding asks for an order by the key that we gave it; nothing remembered answers it. A key that the system
		// does not know is Unmapped. A line that the answer leaves out is one of which nothing is told.
		OrderStanding(ctx context.Context, key string) (Standing, error)
	}
	// ChangeTeller says what changed where there are no positions, so that levels are read and orders are asked for when
	// something happened, and not only when it is their turn.
	ChangeTeller interface {
		// Changes tells what may have changed since a mark, that of an answer before. With the empty one, and with one that is
		// not understood, it begins anew: nothing counts as changed then. Too much may be told, and the same a second time.
		Changes(ctx context.Context, mark string) (Changes, error)
	}
	// StockCorrector books at the system of record by how much a count differed from its books. The same key again does
	// nothing. The position is that of the booking, as far as the system tells it: a statement at it, or after it, contains
	// the booking. The movement that the system tells of it has the key in Movement.CorrectionKey, where it can.
	StockCorrector interface {
		CorrectStock(ctx context.Context, c StockCorrection) (stock.Position, error)
	}
)

// Listing is one sale entry as the marketplace enumerates it.
type Listing struct {
	Ref       Ref
	SKU       string
	GTIN      string
	Title     string
	Quantity  stock.Quantity
	Unlimited bool
	Status    ListingStatus
	UpdatedAt time.Time
}

// ListingStatus is what the marketplace says of a listing.
type ListingStatus string

// The statuses.
const (
	StatusActive  ListingStatus = "active"
	StatusStopped ListingStatus = "stopped"
	StatusRemoved ListingStatus = "removed"
)

// Reading is what a channel shows of one listing. At is the instant of the reading by the source's clock where it
// tells one, else by ours from before the call.
type Reading struct {
	Ref       Ref
	Quantity  stock.Quantity
	Unlimited bool
	At        time.Time
}

// Write is what a listing should show. ID is the same on every try of the same write. Expect, where the class is
// CompareAndSet, is what the channel must still show for the write to take place. Delta, where the class is
// IdempotentDelta and only there, makes it a change: what the listing shows grows by Delta, once per ID, and Quantity is
// what that leads to when nothing is sold meanwhile.
type Write struct {
	Ref      Ref
	Quantity stock.Quantity
	Expect   *stock.Quantity
	Delta    *stock.Quantity
	// Unlimited asks for no limit at all; Quantity is without meaning then. It is set only where the capability is.
	Unlimited bool
	ID        string
}

// Outcome says what became of one write.
type Outcome string

// The outcomes.
const (
	Written  Outcome = "ok"       // the channel says that it shows the quantity
	Accepted Outcome = "accepted" // it will show later
	Stale    Outcome = "stale"    // it showed another quantity than expected: Result.Quantity, where it is told
	Failed   Outcome = "failed"   // Result.Err says how
)

// Result is the outcome of one line of a batch. Err is set when the outcome is Failed, and its kind tells what to do
// with this line alone.
type Result struct {
	Ref      Ref
	Outcome  Outcome
	Quantity *stock.Quantity
	Err      error
}

// OrderPage is one page of orders. Watermark is set on every page: every order changed at or before it is in what the
// whole enumeration returned. Where pages differ, the earliest one counts.
type OrderPage struct {
	Orders    []Order
	Next      Cursor
	Watermark time.Time
}

// LevelPage is one page of statements. All pages of one enumeration are of one position. Count is the number of rows
// of the whole enumeration, -1 where the source does not tell it.
type LevelPage struct {
	Levels   []Statement
	Next     Cursor
	Position stock.Position
	Count    int
}

// Location is a place of the system of record.
type Location struct{ ID, Name string }

// Item is an article of the system of record.
type Item struct {
	SKU      string `json:"sku"`
	GTIN     string `json:"gtin,omitempty"`
	Name     string `json:"name,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Category string `json:"category,omitempty"`
}

// NewOrder is what is created at the system of record. Quantities are base units of our SKUs.
type NewOrder struct {
	Key      string             `json:"key"`
	Channel  stock.ConnectionID `json:"channel"`
	OrderID  string             `json:"order_id"`
	PlacedAt time.Time          `json:"placed_at"`
	Lines    []OrderLine        `json:"lines"`
	Buyer    *Buyer             `json:"buyer,omitempty"`
}

// OrderLine is a line of an order at the system of record.
type OrderLine struct {
	LineID   string         `json:"line_id"`
	SKU      stock.SKU      `json:"sku"`
	Quantity stock.Quantity `json:"quantity"`
}

// Changes is what may have changed at a system of record: levels, and the orders of ours with these keys. Mark is where to go
// on; it is never empty.
type Changes struct {
	Stock     bool
	OrderKeys []string
	Mark      string
}

// CancelLine tells how much of a line is cancelled, as a running total in base units.
type CancelLine struct {
	LineID    string         `json:"line_id"`
	Cancelled stock.Quantity `json:"cancelled"`
}

// Amendment tells the ordered quantities of an order as they stand now.
type Amendment struct {
	Key     string
	Version int64
	Lines   []OrderLine
}

// Standing is how one of our orders stands at a system of record. Quantities are base units and running totals, all of
// one instant: they contain everything that the system told of the order, or should have told, until then.
type Standing struct {
	OrderKey string `json:"order_key"`
	// AsOf is the instant that the totals are of, by the clock that dates the system's facts and levels; zero where it
	// does not tell. It must not be earlier than anything that the totals contain. A fact carries it in its position.
	AsOf  time.Time      `json:"-"`
	Lines []StandingLine `json:"lines"`
}

// StandingLine is a line of a Standing. LineID is the one that we gave in NewOrder.
type StandingLine struct {
	LineID string `json:"line_id"`
	// Cancelled is what will not be delivered because we said so; Rejected what the system will not deliver by its own
	// decision.
	Cancelled stock.Quantity `json:"cancelled"`
	Rejected  stock.Quantity `json:"rejected"`
	// Restocked is what came back and can be sold again; nil where the system cannot tell.
	Restocked *stock.Quantity `json:"restocked,omitempty"`
	// Places are where units of the line were shipped from, or are set aside; a place that is left out has neither.
	Places []StandingPlace `json:"places,omitempty"`
}

// StandingPlace is what happened to units of a line at one location.
type StandingPlace struct {
	Location string `json:"location"`
	// Shipped is what has left.
	Shipped stock.Quantity `json:"shipped"`
	// Allocated is what is set aside and has not left: with Shipped it is what levels that mean available lack. Nil where
	// the system cannot tell.
	Allocated *stock.Quantity `json:"allocated,omitempty"`
}

// StockCorrection is by how much a count differed from the books, in base units. Whatever moved after AsOf is not in it.
type StockCorrection struct {
	Key      string
	SKU      stock.SKU
	Location stock.LocationID
	Delta    stock.Quantity
	// Counted is what was there at AsOf.
	Counted      stock.Quantity
	AsOf         time.Time
	Reason, Note string
}

// ShipmentNotice tells a marketplace what left. Quantities are in the listing's packs.
type ShipmentNotice struct {
	Key      string         `json:"key"`
	OrderID  string         `json:"order_id"`
	Lines    []ShippedPacks `json:"lines"`
	Carrier  string         `json:"carrier,omitempty"`
	Tracking string         `json:"tracking,omitempty"`
}

// ShippedPacks is a line of a ShipmentNotice.
type ShippedPacks struct {
	LineID   string         `json:"line_id"`
	Quantity stock.Quantity `json:"quantity"`
}

// RemedyNotice tells a marketplace how an order is made good. Quantities are in the listing's packs.
type RemedyNotice struct {
	Key     string
	OrderID string
	Kind    stock.RemedyKind
	Lines   []RemedyLine
	// Substitute is what is sent instead, ReadyAt when the delivery that is waited for will have come; each with its kind.
	Substitute stock.SKU
	ReadyAt    time.Time
	// Compensation is paid on top, in the smallest unit of the currency.
	Compensation int64
	// Message is for the buyer.
	Message string
}

// RemedyLine is a line of a RemedyNotice.
type RemedyLine struct {
	LineID   string
	Quantity stock.Quantity
}

// Registry is the list of the connectors that a binary contains, in the order in which people see them.
type Registry []Info

// Lookup finds a connector by name. The error names those that there are.
func (r Registry) Lookup(name string) (Info, error) {
	names := make([]string, 0, len(r))
	for _, i := range r {
		if i.Name == name {
			return i, nil
		}
		names = append(names, i.Name)
	}
	return Info{}, fmt.Errorf("no connector is called %q; there are %v", name, names)
}
