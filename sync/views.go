package sync

import (
	"time"

	"github.com/truestock/truestock/stock"
)

// The views are what the API, the command line and the pages show; their JSON is the contract of protocol.md §4.
// Quantities of items are base units, those of listings are packs.

// ItemView is an article with its numbers over all locations.
type ItemView struct {
	SKU         stock.SKU       `json:"sku" doc:"the seller's own article number"`
	Name        string          `json:"name,omitempty"`
	Kind        string          `json:"kind" doc:"physical, licence or quota as decided by the setting article, else what the system of record calls it"`
	Mode        string          `json:"mode" enum:"finite,unlimited,reserved" doc:"finite sells what is there, unlimited what its window has left, reserved only from pools"`
	OnHand      stock.Quantity  `json:"on_hand" doc:"what the statements and the movements after them say there is"`
	Committed   stock.Quantity  `json:"committed" doc:"promised to order lines"`
	Reserved    stock.Quantity  `json:"reserved" doc:"set aside"`
	Unavailable stock.Quantity  `json:"unavailable" doc:"here, but not sellable"`
	Available   stock.Quantity  `json:"available" doc:"promised to nobody; negative is an oversell"`
	ATP         stock.Quantity  `json:"atp" doc:"available to promise: available, never below zero"`
	Statements  []StatementView `json:"statements"`
	Levels      []LevelView     `json:"levels" doc:"the same numbers per location"`
}

// StatementView is the statement that is held about an item at a location.
type StatementView struct {
	Connection stock.ConnectionID `json:"connection"`
	Location   stock.LocationID   `json:"location"`
	Quantity   stock.Quantity     `json:"quantity"`
	Position   *int64             `json:"position" doc:"the statement's place in its source's sequence; null where it has none"`
	At         time.Time          `json:"at" doc:"the instant that the statement is of"`
}

// LevelView is an item at one location.
type LevelView struct {
	Location    stock.LocationID `json:"location"`
	OnHand      stock.Quantity   `json:"on_hand"`
	Committed   stock.Quantity   `json:"committed"`
	Reserved    stock.Quantity   `json:"reserved"`
	Unavailable stock.Quantity   `json:"unavailable"`
	Available   stock.Quantity   `json:"available"`
}

// ItemRow is an article in a list.
type ItemRow struct {
	SKU      stock.SKU `json:"sku"`
	GTIN     string    `json:"gtin,omitempty"`
	Name     string    `json:"name,omitempty"`
	Kind     string    `json:"kind,omitempty"`
	Category string    `json:"category,omitempty"`
}

// ListingView is a listing.
type ListingView struct {
	Connection  stock.ConnectionID `json:"connection"`
	Item        string             `json:"item" doc:"the channel's own name for the listing"`
	Place       string             `json:"place,omitempty"`
	SKU         string             `json:"sku,omitempty" doc:"as the channel writes it; a hint"`
	Title       string             `json:"title,omitempty"`
	Target      *stock.Quantity    `json:"target" doc:"what it should show; null while that cannot be computed"`
	Generation  int64              `json:"generation" doc:"grows with every change of the target"`
	Published   *stock.Quantity    `json:"published" doc:"what was last written; null before the first write"`
	Confirmed   *stock.Quantity    `json:"confirmed" doc:"what was last read back and agreed with the target of that time"`
	ConfirmedAt *time.Time         `json:"confirmed_at"`
	State       ListingState       `json:"state" enum:"in_sync,pending,held,contested,paused,gone,unmapped"`
	HeldReason  string             `json:"held_reason"`
	LastError   string             `json:"last_error"`
	Stopped     bool               `json:"stopped" doc:"stopped at its channel as well, because its sale is stopped"`
}

// EventView is an event of the inbox.
type EventView struct {
	ID         string             `json:"id"`
	Connection stock.ConnectionID `json:"connection"`
	Key        string             `json:"key" doc:"the sender's identity for the delivery"`
	Type       string             `json:"type"`
	State      EventState         `json:"state" enum:"pending,applied,parked"`
	Reason     string             `json:"reason" doc:"why it is parked"`
	ReceivedAt time.Time          `json:"received_at"`
	// Body is the stored body, in the answer for one event only.
	Body string `json:"body,omitempty"`
}

// OrderView is an order with what became of it.
type OrderView struct {
	Connection stock.ConnectionID `json:"connection"`
	OrderID    string             `json:"order_id"`
	OrderKey   string             `json:"order_key" doc:"the key at the system of record"`
	Version    int64              `json:"version"`
	Status     string             `json:"status"`
	PlacedAt   *time.Time         `json:"placed_at"`
	AcceptedAt *time.Time         `json:"accepted_at"`
	Lines      []OrderLineView    `json:"lines"`
	Record     *RecordView        `json:"record" doc:"the order at the system of record; null when it is not sent there"`
	Shipments  []ShipmentView     `json:"shipments"`
	Standing   *StandingView      `json:"standing" doc:"what the system of record said when it was asked for the order, and that was news; null when it never was"`
}

// OrderLineView is a line of an order. Ordered, cancelled, shipped and restocked are packs, as the channel counts.
type OrderLineView struct {
	LineID     string              `json:"line_id"`
	Item       string              `json:"item"`
	Place      string              `json:"place,omitempty"`
	Ordered    stock.Quantity      `json:"ordered"`
	Cancelled  stock.Quantity      `json:"cancelled"`
	Shipped    stock.Quantity      `json:"shipped"`
	Restocked  stock.Quantity      `json:"restocked"`
	Components []LineComponentView `json:"components" doc:"empty while the listing is not mapped"`
}

// LineComponentView is what one SKU carries of a line, in base units.
type LineComponentView struct {
	SKU       stock.SKU        `json:"sku"`
	Units     stock.Quantity   `json:"units" doc:"base units in one pack"`
	Location  stock.LocationID `json:"location"`
	Committed stock.Quantity   `json:"committed"`
	Deducted  stock.Quantity   `json:"deducted" doc:"subtracted by the system of record"`
}

// RecordView is an order at the system of record.
type RecordView struct {
	Connection stock.ConnectionID `json:"connection"`
	Number     string             `json:"number" doc:"empty until the system of record has the order"`
	State      string             `json:"state" enum:"waiting,sent,refused"`
	Attempts   int                `json:"attempts"`
	LastError  string             `json:"last_error"`
}

// StandingView is how an order stands at the system of record, by its own word. Quantities are base units.
type StandingView struct {
	AsOf  time.Time          `json:"as_of"`
	Lines []StandingLineView `json:"lines"`
}

// StandingLineView is a line of a StandingView.
type StandingLineView struct {
	LineID    string              `json:"line_id" doc:"as the system of record was given it"`
	Cancelled stock.Quantity      `json:"cancelled"`
	Rejected  stock.Quantity      `json:"rejected"`
	Restocked *stock.Quantity     `json:"restocked" doc:"null where the system cannot tell"`
	Places    []StandingPlaceView `json:"locations"`
}

// StandingPlaceView is what happened to a line at one location.
type StandingPlaceView struct {
	Location  string          `json:"location"`
	Shipped   stock.Quantity  `json:"shipped"`
	Allocated *stock.Quantity `json:"allocated" doc:"set aside and not shipped; null where the system cannot tell"`
}

// ShipmentView is a shipment of an order.
type ShipmentView struct {
	ShipmentID string `json:"shipment_id"`
	Carrier    string `json:"carrier,omitempty"`
	Tracking   string `json:"tracking,omitempty"`
}

// IncidentView is something that a person must look at.
type IncidentView struct {
	ID       string     `json:"id"`
	Kind     string     `json:"kind"`
	Subject  string     `json:"subject"`
	Message  string     `json:"message"`
	OpenedAt time.Time  `json:"opened_at"`
	ClosedAt *time.Time `json:"closed_at"`
}

// PlanView is a plan that is, or was, held back.
type PlanView struct {
	ID         string             `json:"id"`
	Connection stock.ConnectionID `json:"connection"`
	State      PlanState          `json:"state" enum:"held,approved,rejected,applied"`
	Reason     string             `json:"reason"`
	Changes    []ChangeView       `json:"changes"`
	CreatedAt  time.Time          `json:"created_at"`
	DecidedAt  *time.Time         `json:"decided_at"`
	DecidedBy  string             `json:"decided_by,omitempty"`
}

// ChangeView is one line of a plan.
type ChangeView struct {
	Connection stock.ConnectionID `json:"connection"`
	Item       string             `json:"item"`
	Place      string             `json:"place,omitempty"`
	Have       *stock.Quantity    `json:"have" doc:"what the channel shows; null when it does not tell"`
	Target     *stock.Quantity    `json:"target"`
	// Held says why the change would wait, empty when it would go at once.
	Held string `json:"held,omitempty"`
}

// RunView is a reconciliation.
type RunView struct {
	ID        string     `json:"id"`
	Job       string     `json:"job"`
	DryRun    bool       `json:"dry_run"`
	State     RunState   `json:"state" enum:"running,done,failed"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Listings  int64      `json:"listings" doc:"listings compared"`
	Drifted   int64      `json:"drifted" doc:"listings that showed another number than their target, for no reason that is on its way"`
	Message   string     `json:"message"`
	// Causes counts by cause, also what is no drift.
	Causes        map[DriftCause]int64 `json:"causes" doc:"by cause, also what is no drift; unmapped listings are only counted, GET /listings?state=unmapped lists them"`
	Subscriptions []string             `json:"subscriptions" doc:"webhook subscriptions that were missing, one sentence each"`
	Drifts        []DriftView          `json:"drifts" doc:"the first thousand lines; GET /reconcile/{id}/drifts pages through all"`
}

// DriftView is one difference.
type DriftView struct {
	Connection stock.ConnectionID `json:"connection"`
	Item       string             `json:"item"`
	Place      string             `json:"place,omitempty"`
	Target     *stock.Quantity    `json:"target"`
	Shown      *stock.Quantity    `json:"shown"`
	Cause      DriftCause         `json:"cause"`
	Counts     bool               `json:"counts" doc:"whether it is drift; false for what is on its way, is known, or has no number that it should show"`
	Detail     string             `json:"detail" doc:"what the cause was concluded from"`
	At         time.Time          `json:"at"`
}

// StatusView says whether anything is left to do.
type StatusView struct {
	InboxPending        int64 `json:"inbox_pending"`
	InboxParked         int64 `json:"inbox_parked"`
	Dirty               int64 `json:"dirty" doc:"SKUs whose listings are to be planned"`
	Unconfirmed         int64 `json:"unconfirmed" doc:"listings that do not yet show, confirmed, what they should, and wait for no person"`
	OldestUnconfirmedMS int64 `json:"oldest_unconfirmed_ms"`
	OrdersWaiting       int64 `json:"orders_waiting" doc:"orders that the system of record has not yet taken"`
	ShipmentsWaiting    int64 `json:"shipments_waiting" doc:"shipments that the marketplace has not yet taken"`
	RemediesWaiting     int64 `json:"remedies_waiting" doc:"remedies that were chosen and that the marketplace has not yet been told of"`
	HeldPlans           int64 `json:"held_plans" doc:"plans that a guard holds back until a person decides"`
	OldestHeldPlanMS    int64 `json:"oldest_held_plan_ms"`
	OpenIncidents       int64 `json:"open_incidents"`
	Settled             bool  `json:"settled" doc:"nothing is left to do except what waits for a person"`
}

// ConnectionView is a connection as operators see it.
type ConnectionView struct {
	Name         stock.ConnectionID `json:"name"`
	Connector    string             `json:"connector"`
	Role         string             `json:"role"`
	Class        string             `json:"class,omitempty" doc:"how a write behaves against sales that we have not seen: C1 to C6, or C0: it asks first"`
	Paused       string             `json:"paused" doc:"the reason, empty while it is not"`
	RaisesPaused string             `json:"raises_paused,omitempty" doc:"why raises are not written, absent while they are"`
	LastError    string             `json:"last_error"`
	CatchingUp   string             `json:"catching_up" doc:"the channel was unheard for so long that nothing is raised before its orders were fetched without a gap; empty otherwise"`
	OrdersSeenTo *time.Time         `json:"orders_seen_to,omitempty" doc:"every order changed until then was fetched"`
}

// Explanation is the chain of one number, from the statement to the read-back.
type Explanation struct {
	Connection stock.ConnectionID     `json:"connection"`
	Item       string                 `json:"item"`
	Place      string                 `json:"place,omitempty"`
	At         time.Time              `json:"at"`
	Components []ComponentExplanation `json:"components"`
	// Steps are those of the component that allows the fewest packs, then what follows for the listing as a whole.
	Steps     []stock.Step `json:"steps"`
	Listing   ListingView  `json:"listing"`
	Pushes    []PushView   `json:"pushes" doc:"the newest writes, newest first"`
	Sentences []string     `json:"sentences" doc:"the same for people, one line a step"`
}

// ComponentExplanation is the chain of one SKU of a listing.
type ComponentExplanation struct {
	SKU         stock.SKU        `json:"sku"`
	Units       stock.Quantity   `json:"units"`
	Statements  []StatementView  `json:"statements"`
	Movements   []MovementView   `json:"movements" doc:"movements that no statement contains yet"`
	Commitments []CommitmentView `json:"commitments" doc:"open promises"`
	Levels      []LevelView      `json:"levels"`
	Pools       []PoolView       `json:"pools" doc:"campaigns that hold units of it"`
	ATP         stock.Quantity   `json:"atp" doc:"available over the channel's locations"`
	Steps       []stock.Step     `json:"steps" doc:"the policy chain"`
	Packs       stock.Quantity   `json:"packs"`
	Postings    []PostingView    `json:"postings" doc:"the newest postings, newest first"`
}

// PoolView is what a campaign has of a SKU.
type PoolView struct {
	Campaign  string         `json:"campaign"`
	Allotted  stock.Quantity `json:"allotted" doc:"how many units it was given"`
	Opened    stock.Quantity `json:"opened" doc:"how many of them its tranches have opened"`
	Sold      stock.Quantity `json:"sold" doc:"bought and not cancelled"`
	Reserved  stock.Quantity `json:"reserved" doc:"set aside now"`
	Committed stock.Quantity `json:"committed" doc:"promised to its buyers and still there"`
	StartedAt time.Time      `json:"started_at"`
}

// MovementView is a movement of the system of record's number.
type MovementView struct {
	Key      string           `json:"key"`
	Location stock.LocationID `json:"location"`
	Delta    stock.Quantity   `json:"delta"`
	Position *int64           `json:"position"`
	At       time.Time        `json:"at"`
}

// CommitmentView is an open promise.
type CommitmentView struct {
	Connection stock.ConnectionID `json:"connection"`
	OrderID    string             `json:"order_id"`
	LineID     string             `json:"line_id"`
	Location   stock.LocationID   `json:"location"`
	Quantity   stock.Quantity     `json:"quantity"`
}

// PostingView is a posting of the ledger.
type PostingView struct {
	ID        string           `json:"id"`
	Location  stock.LocationID `json:"location"`
	From      string           `json:"from"`
	To        string           `json:"to"`
	Quantity  stock.Quantity   `json:"quantity"`
	At        time.Time        `json:"at"`
	Cause     string           `json:"cause"`
	Reference string           `json:"reference"`
	Event     string           `json:"event,omitempty"`
}

// PushView is a write to a channel.
type PushView struct {
	Generation int64           `json:"generation"`
	Quantity   stock.Quantity  `json:"quantity"`
	Expect     *stock.Quantity `json:"expect"`
	Outcome    string          `json:"outcome"`
	Error      string          `json:"error,omitempty"`
	At         time.Time       `json:"at"`
}

// SuggestionView proposes a link between a listing and an article.
type SuggestionView struct {
	Connection stock.ConnectionID `json:"connection"`
	Item       string             `json:"item"`
	Place      string             `json:"place,omitempty"`
	Title      string             `json:"title,omitempty"`
	SKU        stock.SKU          `json:"sku"`
	By         string             `json:"by" doc:"sku, gtin or title"`
	// WouldPublish is what the listing would show with the link in place.
	WouldPublish stock.Quantity `json:"would_publish"`
}

// ImportView is the outcome of a mapping import. With any error nothing was imported.
type ImportView struct {
	Listings int            `json:"listings"`
	Replayed int            `json:"replayed" doc:"parked events that are applied again"`
	Errors   []RowErrorView `json:"errors"`
	Warnings []string       `json:"warnings" doc:"new SKUs that look like others; they are imported all the same"`
}

// RowErrorView is one bad row.
type RowErrorView struct {
	Line   int    `json:"line"`
	Field  string `json:"field,omitempty"`
	Value  string `json:"value,omitempty"`
	Reason string `json:"reason"`
}

// TokenView is a token without its secret.
type TokenView struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Scope     Scope      `json:"scope"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
	RevokedAt *time.Time `json:"revoked_at"`
	UsedAt    *time.Time `json:"used_at"`
}
