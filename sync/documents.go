// Package sync is the engine: it takes facts in, keeps the ledger, computes what every listing should show, writes it
// to the channels, reads it back, sends orders to the system of record and shipments to the marketplaces, and
// reconciles. It owns its types and declares what it needs of a store; it knows no database and no HTTP.
//
// Importers name it stocksync, so that the standard library's sync is never renamed.
package sync

import (
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// ListingKey names a listing: the channel and the channel's own name for it.
type ListingKey struct {
	Connection stock.ConnectionID
	connectors.Ref
}

// LevelKey names a level: a SKU at a location.
type LevelKey struct {
	SKU      stock.SKU
	Location stock.LocationID
}

// NewEvent is a delivery to be stored in the inbox. (Connection, Key) is unique.
type NewEvent struct {
	Connection stock.ConnectionID
	Key        string
	Type       string
	// Format says how Body is read again.
	Format     Format
	Body       []byte
	ReceivedAt time.Time
}

// Format says what the body of an event is.
type Format string

// The formats.
const (
	// WebhookFormat is the raw body of a webhook; the connection's connector decodes it.
	WebhookFormat Format = "webhook"
	// FactsFormat is a JSON array of connectors.Fact, from a poll.
	FactsFormat Format = "facts"
)

// Receipt is the inbox's answer for one event. Duplicate: the key is known with the same body. Conflict: the key is
// known with another body; nothing was stored. ID is the id of the event that is in the inbox in any case.
type Receipt struct {
	ID        int64
	Duplicate bool
	Conflict  bool
	// Reply is what the connector answers its system; nil where it leaves that to plain HTTP.
	Reply *connectors.Reply
}

// Event is a stored delivery.
type Event struct {
	ID int64
	NewEvent
}

// EventState is where an event stands.
type EventState string

// The states of an event.
const (
	EventPending EventState = "pending"
	EventApplied EventState = "applied"
	EventParked  EventState = "parked"
)

// Parked says why an event waits for a person or a mapping. Refs and SKUs are what it waits for, so that it can be
// replayed when they become known; both empty means that only a person can replay it.
type Parked struct {
	Event  int64
	Reason string
	At     time.Time
	Refs   []ListingKey
	SKUs   []stock.SKU
}

// Order is an order's document, merged from facts. Any order and any number of deliveries of the same facts gives the
// same document. Quantities of lines are packs, those of components and deductions base units.
type Order struct {
	Channel stock.ConnectionID `json:"channel"`
	OrderID string             `json:"order_id"`
	// Version is that of the newest whole fact; -1 while only a cancellation or a deduction is known.
	Version int64 `json:"version"`
	// Status is the newest one; StatusVersion its version. At equal versions a cancellation wins.
	Status        connectors.OrderStatus `json:"status"`
	StatusVersion int64                  `json:"status_version"`
	PlacedAt      time.Time              `json:"placed_at,omitzero"`
	UpdatedAt     time.Time              `json:"updated_at,omitzero"`
	// AcceptedAt is the instant at which we first recorded the order.
	AcceptedAt time.Time         `json:"accepted_at,omitzero"`
	Buyer      *connectors.Buyer `json:"buyer,omitempty"`
	Lines      []OrderLine       `json:"lines,omitempty"` // sorted by ID
	// Substitutions counts the articles that were replaced by others; with Version it makes the version of an amendment.
	Substitutions int64 `json:"substitutions,omitzero"`
	// Conflict: the channel sent two contents of Version, and no newer one yet.
	Conflict bool `json:"conflict,omitempty"`
	// Deductions are the facts of the system of record about this order, sorted by Key.
	Deductions []Deduction `json:"deductions,omitempty"`
	// Answers are what the system of record said of the order when it was asked, where that was news, the oldest first.
	Answers []OrderAnswer `json:"answers,omitempty"`
	// Acknowledged are the base units of each line that the system of record was told of and has not been told, or not
	// acknowledged, to be cancelled. It is no part of the document: the store fills it in from the order's forward.
	Acknowledged map[string]stock.Quantity `json:"-"`
	// Shipments are the shipments seen, sorted by ID, for the way back to the marketplace.
	Shipments []OrderShipment `json:"shipments,omitempty"`
}

// OrderLine is a line of an Order.
type OrderLine struct {
	ID  string         `json:"id"`
	Ref connectors.Ref `json:"ref"`
	// Version is that of the newest whole fact in which the line stands; when it is older than the order's, the line
	// was taken out of the order.
	Version   int64          `json:"version"`
	Ordered   stock.Quantity `json:"ordered"`
	Cancelled stock.Quantity `json:"cancelled"`
	Shipped   stock.Quantity `json:"shipped"`
	Restocked stock.Quantity `json:"restocked"`
	// Refunded are the packs, of all that were ordered, that a remedy has cancelled, whether or not the channel says so too.
	Refunded stock.Quantity `json:"refunded,omitzero"`
	// Taken is what the line adds to Listing.Taken, in packs.
	Taken stock.Quantity `json:"taken,omitzero"`
	// Components are fixed when the line is first mapped, so that what is released is what was committed, whatever
	// the mapping says later. Empty means not mapped yet.
	Components []LineComponent `json:"components,omitempty"`
}

// LineComponent is the part of an order line that one SKU carries.
type LineComponent struct {
	SKU stock.SKU `json:"sku"`
	// Name is what the SKU was called when the line was mapped, where it was renamed since: the system of record keeps the
	// ids of the lines that it was given.
	Name stock.SKU `json:"name,omitempty"`
	// RecordName is what the system of record calls it, where that is not the SKU: of a window of a service, the service.
	RecordName stock.SKU `json:"record_name,omitempty"`
	// Record is the line's id at the system of record, where it is not the one that follows from the components. Replaced:
	// another component is sent instead, so that none of it is wanted any more.
	Record   string           `json:"record,omitempty"`
	Replaced bool             `json:"replaced,omitempty"`
	Units    stock.Quantity   `json:"units"`
	Location stock.LocationID `json:"location"`
	// Committed is what the ledger holds for it now, in base units.
	Committed stock.Quantity `json:"committed"`
	// Pool is the campaign that it is sold from, fixed with the rest; empty: the general stock. Pooled is what it adds to
	// what the campaign sold, in base units.
	Pool   string         `json:"pool,omitempty"`
	Pooled stock.Quantity `json:"pooled,omitzero"`
	// Counted is what the windows of an article that is sold by windows count for it; Slots are the windows of a service in
	// which it is booked.
	Counted stock.Quantity `json:"counted,omitzero"`
	Slots   []Slot         `json:"slots,omitempty"`
}

// Deduction is one line of a fact of the system of record about an order.
type Deduction struct {
	// Key identifies the fact and the line in it.
	Key    string          `json:"key"`
	Kind   connectors.Kind `json:"kind"`
	LineID string          `json:"line_id"`
	// SKU is empty while the line is not known, or not mapped.
	SKU      stock.SKU        `json:"sku,omitempty"`
	Location stock.LocationID `json:"location"`
	Quantity stock.Quantity   `json:"quantity"`
	Position stock.Position   `json:"position,omitzero"`
}

// OrderShipment is a shipment of an order as its system of record told it.
type OrderShipment struct {
	ID       string `json:"id"`
	Carrier  string `json:"carrier,omitempty"`
	Tracking string `json:"tracking,omitempty"`
	// Sent are the packs per line that this shipment reports to the marketplace; set once, when the shipment's notice
	// is made.
	Sent []connectors.ShippedPacks `json:"sent,omitempty"`
}

// Key is the order's key at the system of record.
func (o *Order) Key() OrderKey { return OrderKey{o.Channel, o.OrderID} }

// OrderKey names an order of a channel.
type OrderKey struct {
	Channel stock.ConnectionID
	OrderID string
}

// Commitment is an open promise, one row per order line and SKU; kept while Quantity or ChannelOpen is above zero.
type Commitment struct {
	OrderKey
	LineID   string
	SKU      stock.SKU
	Location stock.LocationID
	Quantity stock.Quantity // base units
	// Ref and ChannelOpen tell how many packs of the listing the channel itself still counts as open. ChannelOpen
	// stands on the row of the line's first SKU only.
	Ref         connectors.Ref
	ChannelOpen stock.Quantity
	AcceptedAt  time.Time
}

// HeldStatement is the newest statement of a connection about a SKU at a location.
type HeldStatement struct {
	Connection stock.ConnectionID
	LevelKey
	Quantity stock.Quantity
	Position stock.Position
	Event    int64
	At       time.Time // when we took it
}

// HeldMovement is a movement of the system of record's number. Delta counts as long as Covered is false.
type HeldMovement struct {
	Connection stock.ConnectionID
	// Key identifies the fact (and the line in it) at its connection.
	Key string
	LevelKey
	Delta    stock.Quantity
	Position stock.Position
	Covered  bool
	At       time.Time
}

// HeldLevel is a level with the end of its chain of postings.
type HeldLevel struct {
	stock.Level
	// Hash is that of the newest posting; nil before the first.
	Hash []byte
}

// LedgerEntry is a posting in its chain: Hash = SHA-256 of Previous and the posting's canonical form.
type LedgerEntry struct {
	ID int64
	stock.Posting
	Previous, Hash []byte
}

// Listing is what we know of a listing.
type Listing struct {
	ListingKey
	SKU    string // as the channel writes it: for suggestions
	GTIN   string
	Title  string
	Status connectors.ListingStatus // as the channel says; empty before it was seen
	Mapped bool

	// Target is what the listing should show, nil while it cannot be computed; Held says why it is nil, or why a write
	// of it waits. Generation grows with every change of Target.
	Target     *stock.Quantity
	Generation int64
	Held       string

	// Published is the last quantity that a write may have put there, in Generation PublishedGeneration; PublishedAt is
	// when it was answered.
	Published           *stock.Quantity
	PublishedGeneration int64
	PublishedAt         time.Time
	// Confirmed is the last quantity that was read back while the target of ConfirmedGeneration was in force.
	Confirmed           *stock.Quantity
	ConfirmedGeneration int64
	ConfirmedAt         time.Time

	LastError string
	Attempts  int
	// RecheckAt is set after an unknown outcome: by then a late write has either shown or died.
	RecheckAt time.Time
	// Unknown is the write of which we do not know whether it was done. Until RecheckAt a change, at a channel that takes
	// changes, is sent again as it was, and nothing else is; a raise, at a channel that compares, is looked for, and no
	// other one is sent before it shows.
	Unknown *OpenWrite
	// Writes counts the writes of the listing; it makes their ids.
	Writes int64
	// Taken is how many packs the channel has taken from what the listing shows for the orders that we know: ordered and
	// not put back. PublishedTaken and ConfirmedTaken are what it was when Published was written and Confirmed was read,
	// each with the units that were reserved for orders not known yet.
	Taken, PublishedTaken, ConfirmedTaken stock.Quantity
	// Foreign counts the numbers that somebody else put there, the newest at ForeignAt. ContestedAt is when they were too
	// many; zero while they are not.
	Foreign     int
	ForeignAt   time.Time
	ContestedAt time.Time
	// StopWanted: the listing is to be stopped at its channel as well. Stopped: we have stopped it.
	StopWanted, Stopped bool
	// ChangedAt is when Target last changed.
	ChangedAt time.Time
	// Cleared is the generation up to which no guard holds a change back: a person approved it, or orders explain it.
	Cleared int64
	// Peak is the largest quantity that the listing ever showed.
	Peak stock.Quantity
	// MarkedAt is when somebody last asked for a look at the listing; only DuePushes tells it.
	MarkedAt time.Time
}

// ListingState is the one word for where a listing stands.
type ListingState string

// The states of a listing.
const (
	InSync    ListingState = "in_sync"
	Pending   ListingState = "pending"
	Held      ListingState = "held"
	Contested ListingState = "contested"
	Paused    ListingState = "paused"
	Gone      ListingState = "gone"
	Unmapped  ListingState = "unmapped"
)

// State derives the listing's state; paused says whether its connection is paused.
func (l *Listing) State(paused bool) ListingState {
	switch {
	case !l.Mapped:
		return Unmapped
	case l.Status == connectors.StatusRemoved:
		return Gone
	case paused:
		return Paused
	case !l.ContestedAt.IsZero():
		return Contested
	case l.Held != "":
		return Held
	case l.Target != nil && l.Confirmed != nil && *l.Confirmed == *l.Target && l.ConfirmedGeneration == l.Generation:
		return InSync
	default:
		return Pending
	}
}

// OpenWrite is a write that was sent, or was about to be. Taken is what Listing.Taken was then, with the units that were
// reserved.
type OpenWrite struct {
	ID                     string
	Delta, Quantity, Taken stock.Quantity
}

// Reservation is what is set aside for sales of a listing that nothing but a reading tells of: the channel showed fewer
// than it should have by all orders that we knew. It is given back as those orders become known, and wholly once the
// channel has told all orders up to the reading.
type Reservation struct {
	ListingKey
	// Taken is what Listing.Taken would be if every order behind the reading were known; At is the instant of the reading,
	// by the channel's clock. Of several readings the newest counts.
	Taken stock.Quantity
	At    time.Time
	// DrainedTo is the instant up to which the channel has told all its orders.
	DrainedTo time.Time
	Parts     []ReservedPart
}

// ReservedPart is what one SKU carries of a reservation, in base units.
type ReservedPart struct {
	SKU      stock.SKU        `json:"sku"`
	Units    stock.Quantity   `json:"units"`
	Location stock.LocationID `json:"location"`
	Reserved stock.Quantity   `json:"reserved"`
	// Pool is the campaign from which the units are taken to be sold; empty: the general stock.
	Pool string `json:"pool,omitempty"`
}

// open says whether the channel may still tell orders that the reading contains.
func (r *Reservation) open() bool { return r.At.Truncate(time.Millisecond).After(r.DrainedTo) }

// Push is one write to a channel, kept for the chain of causes.
type Push struct {
	ListingKey
	Generation int64
	Quantity   stock.Quantity
	Expect     *stock.Quantity
	Delta      *stock.Quantity
	Outcome    string // ok, accepted, stale, or the kind of error
	Jump       Jump   // what a guard counts it as, empty for most
	Error      string
	At         time.Time
	ShownAt    time.Time // when the channel was found to show Quantity, where it was read back at once; else zero
}

// Incident is something that a person must look at. (Kind, Subject) is unique among the open ones: opening it again
// refreshes Message and At.
type Incident struct {
	ID       int64
	Kind     string
	Subject  string
	Message  string
	OpenedAt time.Time
	ClosedAt time.Time // zero while open
}

// The kinds of incident.
const (
	IncidentOversell        = "oversell"
	IncidentSameKeyOther    = "same_id_other_body"
	IncidentVersionConflict = "order_version_conflict"
	// IncidentUndecided: somebody asked whether he may sell, and the answer was a default.
	IncidentUndecided       = "admission_undecided"
	IncidentWriteRejected   = "write_rejected"
	IncidentOrderRefused    = "order_refused"
	IncidentOrderRejected   = "order_rejected"
	IncidentOrderDiffers    = "order_differs"
	IncidentShipmentRefused = "shipment_refused"
	// IncidentCountRefused: a system of record does not book what a stocktake found.
	IncidentCountRefused = "count_refused"
	IncidentListingGone  = "listing_gone"
	// IncidentListingsVanished: a channel does not know many listings at once.
	IncidentListingsVanished = "listings_vanished"
	IncidentPaused           = "connection_paused"
	// IncidentWrongShop: a connection leads to another account than before.
	IncidentWrongShop = "wrong_shop"
	// IncidentSubscription: a channel's webhook subscription is missing and cannot be made again.
	IncidentSubscription = "subscription_missing"
	// IncidentCommitmentStuck: the system of record has said nothing for long about units that are promised to an order.
	IncidentCommitmentStuck = "commitment_stuck"
	// IncidentReturnOverdue: a channel counts returned goods that the warehouse has not received in time.
	IncidentReturnOverdue = "return_overdue"
	// IncidentSilence: a channel that used to send webhooks has sent none for unusually long.
	IncidentSilence = "webhooks_silent"
	// IncidentSourceSilent: a system of record has not answered for so long that raises wait for it.
	IncidentSourceSilent = "source_silent"
	// IncidentPartialExport: an export is not whole, or makes no sense. IncidentStaleExport: it is older than the last one.
	IncidentPartialExport = "partial_export"
	IncidentStaleExport   = "stale_export"
	// IncidentContested: somebody else keeps changing what a listing shows.
	IncidentContested = "contested_listing"
	// IncidentOverCap: a window has sold more than its cap, or an order of it came long after its end.
	IncidentOverCap = "over_cap"
	// IncidentOverbooked: more of a service is booked than the shifts of its resources allow.
	IncidentOverbooked = "overbooked"
	// IncidentNoticeFailed: a channel of notices takes nothing.
	IncidentNoticeFailed = "notice_failed"
)

// Forward is what the system of record was told of an order. Want grows with every change of the order; the forward
// is due until Done equals Want.
type Forward struct {
	OrderKey
	Connection stock.ConnectionID // the system of record
	Want, Done int64
	// Sent is the content of the creation, fixed before the first attempt so that every attempt is the same.
	Sent   []connectors.OrderLine
	Number string // set once the system of record has the order
	// Told are the running totals of cancelled base units, and Amended the version, that it acknowledged.
	Told     map[string]stock.Quantity
	Amended  int64
	Refused  bool // the system of record will not take it: an incident is open
	Attempts int
	DueAt    time.Time
	Error    string
}

// Acknowledged are the base units of each line that the system of record may still deliver: what it was sent, or may have
// got, less what it has acknowledged as cancelled.
func (f *Forward) Acknowledged() map[string]stock.Quantity {
	if len(f.Sent) == 0 || f.Told[wholeOrder] > 0 || f.Refused && f.Number == "" {
		return nil
	}
	units := make(map[string]stock.Quantity, len(f.Sent))
	for _, l := range f.Sent {
		units[l.LineID] += max(0, l.Quantity-f.Told[l.LineID])
	}
	return units
}

// Notice is a shipment on its way back to a marketplace.
type Notice struct {
	Channel stock.ConnectionID
	connectors.ShipmentNotice
	DueAt    time.Time
	Attempts int
	Done     bool
	Error    string
}

// RunState is where a reconciliation stands.
type RunState string

// The states of a run.
const (
	RunRunning RunState = "running"
	RunDone    RunState = "done"
	RunFailed  RunState = "failed"
)

// Run is one reconciliation and its report.
type Run struct {
	ID        int64
	Job       string // what asked for it: "schedule", "api", "command"
	DryRun    bool
	State     RunState
	StartedAt time.Time
	EndedAt   time.Time
	Listings  int64 // compared
	Drifted   int64
	Unmapped  int64 // enumerated, and mapped to nothing
	Message   string
	// Progress is how far the run has come, in the engine's own words: what a run that was cut off goes on from.
	Progress string
	// Subscriptions are the webhook subscriptions that were missing at a channel, one sentence each.
	Subscriptions []string
}

// Drift is one difference that a reconciliation found.
type Drift struct {
	Run int64
	ListingKey
	Target *stock.Quantity
	Shown  *stock.Quantity // nil: the channel does not list it
	Cause  DriftCause
	// Detail is what the cause was concluded from, for people.
	Detail string
	At     time.Time
}

// DriftCause says why a listing shows another number than its target.
type DriftCause string

// The causes of drift. Of what is in flight no line is kept. Counts tells which of the others a person must know of.
const (
	// CauseInFlight: a newer target, a write or a look is on its way.
	CauseInFlight DriftCause = "in_flight"
	// CausePendingOrder: the channel shows less because of an order that we have not seen yet.
	CausePendingOrder DriftCause = "pending_order"
	// CauseHeld: the change waits for a person, a guard or evidence; the listing says which.
	CauseHeld DriftCause = "held"
	// CauseAwaitingReturn: the channel put returned units up for sale that the warehouse has not received. Past the
	// deadline it is CauseReturnOverdue.
	CauseAwaitingReturn DriftCause = "awaiting_return"
	CauseReturnOverdue  DriftCause = "return_overdue"
	// CauseForeignWrite: the target was read back, and somebody else has changed the number since.
	CauseForeignWrite DriftCause = "manual_edit"
	// CauseLostPush: the channel refused our write, or said yes and does not show it.
	CauseLostPush DriftCause = "lost_push"
	// CauseMapping: the number is right for other units, or for another article, than those of the mapping.
	CauseMapping DriftCause = "mapping_error"
	// CausePolicy: the number is right for the rules that were in force before.
	CausePolicy DriftCause = "policy_change"
	// CauseMissing: the channel does not list what is mapped. CauseUnmapped: it lists what is not mapped.
	CauseMissing  DriftCause = "missing_at_channel"
	CauseUnmapped DriftCause = "unmapped"
	CauseUnknown  DriftCause = "unknown"
)

// Counts reports whether a difference of this cause is drift. The others are on their way, are known, or have no number
// that they should show.
func (c DriftCause) Counts() bool {
	switch c {
	case CauseInFlight, CausePendingOrder, CauseHeld, CauseAwaitingReturn, CauseUnmapped:
		return false
	default:
		return true
	}
}

// Plan is a set of changes that is held back until a person approves or rejects it.
type Plan struct {
	ID         int64
	Connection stock.ConnectionID
	State      PlanState
	Reason     string
	Changes    []Change
	// Facts are those of an export that wait with the plan: its changes are then levels of a system of record, Item the
	// SKU and Place the location. Events are those that they became when the plan was approved.
	Facts     []connectors.Fact
	Events    []int64
	CreatedAt time.Time
	DecidedAt time.Time
	DecidedBy string
}

// PlanState is where a held plan stands.
type PlanState string

// The states of a plan.
const (
	PlanHeld     PlanState = "held"
	PlanApproved PlanState = "approved"
	PlanRejected PlanState = "rejected"
	PlanApplied  PlanState = "applied"
)

// Change is one line of a plan: what a listing shows and what it should show. Have is nil when the channel did not
// tell.
type Change struct {
	connectors.Ref
	Have   *stock.Quantity `json:"have"`
	Target stock.Quantity  `json:"target"`
}

// Token is a bearer token of the API. Only the hash of its secret is stored.
type Token struct {
	ID        int64
	Name      string
	Scope     Scope
	Hash      []byte
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	RevokedAt time.Time // zero: not
	UsedAt    time.Time
}

// Scope is what a token may do; each scope includes those before it.
type Scope string

// The scopes.
const (
	ScopeRead    Scope = "read"
	ScopeOperate Scope = "operate"
	ScopeAdmin   Scope = "admin"
)

// Allows reports whether a token of scope s may do what needs the given scope.
func (s Scope) Allows(needed Scope) bool {
	rank := map[Scope]int{ScopeRead: 1, ScopeOperate: 2, ScopeAdmin: 3}
	return rank[s] > 0 && rank[s] >= rank[needed]
}
