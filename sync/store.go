package sync

import (
	"context"
	"errors"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

// The errors of a store that a caller acts on.
var (
	// ErrUnavailable: the database cannot store or answer now; nothing was changed.
	ErrUnavailable = errors.New("the database is not available")
	// ErrBusy: the inbox queue is full.
	ErrBusy = errors.New("the inbox is full")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
)

// Store is what the engine needs remembered. Every method is safe for concurrent use. Instants come from the caller;
// a store never asks a clock for business time. All lists are sorted, so that the same state gives the same answers.
type Store interface {
	Inbox
	Ledger
	Planner
	Pusher
	Forwarder
	Bookmarks
	Mappings
	Guard
	Reconciler
	Reports
	Sales
	Auditor
	Versions
	Renamer
	Admissions
	Tokens
	Settings
	Keys
	Outbox
	Remedies
	Alerts
	Stocktakes
}

// Inbox keeps what came in.
type Inbox interface {
	// Put stores an event and makes it due, in one commit that it may share with others; it returns after the commit.
	// Concurrent Puts of one key: exactly one is not a duplicate. ErrBusy when the queue is full, ErrUnavailable when
	// the database does not take it.
	Put(ctx context.Context, e NewEvent) (Receipt, error)
	// PutAll stores many events in one transaction.
	PutAll(ctx context.Context, events []NewEvent) ([]Receipt, error)
	// Replay makes a parked event due again, at the instant at. ErrNotFound when it is not parked.
	Replay(ctx context.Context, id int64, at time.Time, acts ...AuditEntry) error
}

// Ledger applies events.
type Ledger interface {
	// Apply runs fn in one transaction over the oldest due events, at most limit of them. What fn saves and the
	// removal of the events from the due list commit together. It returns how many events fn was given; with none fn
	// is not called. When fn fails nothing is changed.
	Apply(ctx context.Context, limit int, fn func(tx LedgerTx, events []Event) error) (int, error)
	// Post runs fn in one transaction that changes the ledger without an event, never beside one of Apply.
	// The acts are stored with it.
	Post(ctx context.Context, fn func(tx LedgerTx) error, acts ...AuditEntry) error
}

// Settled reads what people decided, and what became of it.
type Settled interface {
	// SettingsSince lists the versions of settings that were stored after the one with the id given, by id.
	SettingsSince(id int64) ([]Setting, error)
	// Pools loads the pools of the SKUs and those of the campaigns named, by campaign.
	Pools(skus []stock.SKU, campaigns []string) (map[string]*PoolState, error)
	// PoolSteps lists what happened to campaigns, by instant.
	PoolSteps(campaigns []string) (map[string][]PoolStep, error)
}

// Sold reads what windows have sold.
type Sold interface {
	// Sold sums the sales of an article that is sold by windows that were placed from an instant up to, and not including,
	// another; oldest is the first of them.
	Sold(sku stock.SKU, from, until time.Time) (units stock.Quantity, oldest time.Time, err error)
}

// Booked reads what is booked of resources.
type Booked interface {
	// Booked are the bookings of resources that end after an instant and were made until another.
	Booked(resources []string, after, madeUntil time.Time) ([]stock.Booking, error)
	// WindowSKUs are the SKUs of listings that stand for single windows of services.
	WindowSKUs(services []stock.SKU) ([]stock.SKU, error)
}

// LedgerTx is what Apply's function sees: bulk loads, then one save. The maps hold only what exists.
type LedgerTx interface {
	// Components resolves listings to SKUs, bundles and kits flattened.
	Components(keys []ListingKey) (map[ListingKey][]mapping.Component, error)
	// Aliases tells which of the names stand for another SKU since a rename or a merge.
	Aliases(skus []stock.SKU) (map[stock.SKU]stock.SKU, error)
	// KnownSKUs tells which SKUs are articles: listed by a system of record or named in the mapping.
	KnownSKUs(skus []stock.SKU) (map[stock.SKU]bool, error)
	Orders(keys []OrderKey) (map[OrderKey]*Order, error)
	// Levels, Statements and Uncovered load all locations of the SKUs. Uncovered are the movements that no held
	// statement covers.
	Levels(skus []stock.SKU) (map[LevelKey]*HeldLevel, error)
	Statements(skus []stock.SKU) ([]HeldStatement, error)
	Uncovered(skus []stock.SKU) ([]HeldMovement, error)
	// Movements finds movements by their keys, covered or not.
	Movements(connection stock.ConnectionID, keys []string) ([]HeldMovement, error)
	Listings(keys []ListingKey) (map[ListingKey]*Listing, error)
	Reservations(keys []ListingKey) (map[ListingKey]*Reservation, error)
	Settled
	Oversells
	// KeyGrants are the keys that lines have, without those that are revoked.
	KeyGrants(lines []Sale) ([]KeyGrant, error)
	// FreeKeys are the oldest keys of a SKU that are neither assigned nor revoked.
	FreeKeys(sku stock.SKU, limit int) ([]int64, error)
	Sold
	Booked
	// WaitingForKeys are the lines of a SKU that want more keys than they have, and those of which a key was revoked.
	// Revoked keys are not had.
	WaitingForKeys(sku stock.SKU) ([]Sale, error)
	// Only limits the batch to its first n events; the others stay due.
	Only(n int)
	// Admission finds the decision on an event; ok is false while there is none.
	Admission(event int64) (a Admission, ok bool, err error)
	// Planning shows what plans are made from, in the same transaction.
	Planning() PlanTx
	// Corrections are the lines of stocktakes whose differences were approved: those of the SKUs that are not booked yet, and
	// those named, which may be; by stocktake and line.
	Corrections(skus []stock.SKU, keys []LineKey) ([]*StocktakeLine, error)
	Save(c Changes) error
}

// Changes is everything that one batch of events changes.
type Changes struct {
	Orders      []*Order        // inserted or replaced
	Commitments []Commitment    // inserted or replaced; deleted when Quantity and ChannelOpen are zero
	Sales       []Sale          // inserted or replaced, by order line and SKU
	Bookings    []Booking       // inserted or replaced, by resource, start and order line
	KeyGrants   []KeyGrant      // of keys that are free, else nothing is saved
	Statements  []HeldStatement // inserted or replaced
	Movements   []HeldMovement  // inserted or replaced, by (Connection, Key, SKU, Location)
	Entries     []LedgerEntry   // appended; ID is assigned by the store, ascending in this order
	Levels      []HeldLevel     // inserted or replaced
	// Dirty SKUs are to be planned; Stated are those of them whose numbers a system of record changed, by a statement or a
	// movement.
	Dirty        []stock.SKU
	Stated       []stock.SKU
	Reservations []*Reservation   // inserted or replaced
	Pools        []*PoolState     // inserted or replaced
	CountLines   []*StocktakeLine // replaced
	PoolSteps    []PoolStep       // appended; a step that is there already fails the batch
	// Taken is by how much Listing.Taken grows.
	Taken map[ListingKey]stock.Quantity
	// Look are listings to be read at the channel, because of what it said about them; Seen are listings that were not
	// known before: inserted when they are missing.
	Look []ListingKey
	Seen []Listing
	// Forwards are orders whose system of record must hear of a change: Want grows by one and the forward is due at
	// the instant given here.
	Forwards []Forward
	// Notices are inserted when their (Channel, Key) is new.
	Notices []Notice
	// Admissions are inserted; one that is there already fails the batch.
	Admissions []Admission
	Parked     []Parked // the event leaves the due list and waits; replaces an earlier reason
	Incidents  []Incident
	// Closed names incidents (Kind, Subject) that are over.
	Closed   []Incident
	Remedies []Remedy // inserted or replaced
	// Versions are kept for the past; replaced when the subject, the key and the instant are the same.
	Versions []Version
	// At is the instant of all of this.
	At time.Time
}

// Admission is the decision on an event that asks.
type Admission struct {
	Event int64
	connectors.Admission
}

// Admissions keeps the decisions on events that ask.
type Admissions interface {
	// Admission finds the decision on an event; ok is false while there is none.
	Admission(ctx context.Context, event int64) (a Admission, ok bool, err error)
	// Decide stores a decision where there is none yet, with the incidents about it, and returns the one that holds.
	Decide(ctx context.Context, a Admission, incidents ...Incident) (Admission, error)
}

// Planner turns dirty SKUs into targets.
type Planner interface {
	// Plan runs fn in one transaction over at most limit dirty SKUs, and unmarks those that were not marked again
	// meanwhile. It returns how many there were; with none fn is not called.
	Plan(ctx context.Context, limit int, fn func(tx PlanTx, skus []stock.SKU) error) (int, error)
	// DirtyConnection marks every SKU that a connection's listings depend on.
	DirtyConnection(ctx context.Context, connection stock.ConnectionID) error
	// Ripen marks the SKUs dirty whose time has come by now, and tells the instant of the next; zero when there is none.
	Ripen(ctx context.Context, now time.Time) (next time.Time, err error)
	// View runs fn on one consistent state without changing it; SaveTargets refuses.
	View(ctx context.Context, fn func(tx PlanTx) error) error
}

// PlanTx is what Plan's function sees.
type PlanTx interface {
	// Dependents are the listings that contain any of the SKUs: the one dependency closure.
	Dependents(skus []stock.SKU) ([]ListingKey, error)
	Components(keys []ListingKey) (map[ListingKey][]mapping.Component, error)
	Listings(keys []ListingKey) (map[ListingKey]*Listing, error)
	Levels(skus []stock.SKU) (map[LevelKey]*HeldLevel, error)
	Statements(skus []stock.SKU) ([]HeldStatement, error)
	// ChannelOpen sums the packs that channels still count as open, per listing.
	ChannelOpen(keys []ListingKey) (map[ListingKey]stock.Quantity, error)
	// Stated are those of the SKUs whose numbers a system of record changed since they were last planned, by a statement
	// or a movement.
	Stated(skus []stock.SKU) map[stock.SKU]bool
	Watched
	// Touched are the SKUs that a setting touches.
	Touched(t Touch) ([]stock.SKU, error)
	Settled
	Sold
	Booked
	// SaveIncidents opens incidents, and closes those that were opened before the instant that over has as OpenedAt.
	SaveIncidents(opened, over []Incident, at time.Time) error
	Oversells
	// PlanLater marks SKUs to be planned when a time comes.
	PlanLater(at map[stock.SKU]time.Time) error
	// Fallen counts a channel's orders that have ever had a line, and those of them that were cancelled before anything was
	// shipped.
	Fallen(channel stock.ConnectionID) (stock.Fallen, error)
	// SaveTargets stores Target, Generation, Held and ChangedAt of the listings, and makes those with Push set due.
	SaveTargets(targets []TargetChange) error
}

// TargetChange is the outcome of planning one listing.
type TargetChange struct {
	ListingKey
	Target     *stock.Quantity
	Generation int64
	Held       string
	At         time.Time
	// Push asks for a push at the instant At. Lower lets it go before raises.
	Push  bool
	Lower bool
	// Explained clears the generation as a person does that approves it: orders, policies or mappings changed the target
	// and no system of record did, so no guard may hold the change back.
	Explained bool
	// Stop, where it is set, says whether the listing is to be stopped at its channel. SaleOnly: nothing else changes.
	Stop     *bool
	SaleOnly bool
}

// Settings keeps what people decided, and who decided it.
type Settings interface {
	// ChangeSettings stores new versions with an entry each in the audit trail, and marks what they touch to be planned
	// when the version with the same index comes into force; all in one transaction. ErrConflict when a setting has
	// another version than the change was made from.
	//
	// check is given the state before the change; when it fails nothing is stored. No other change comes between. It may
	// complete touches.
	ChangeSettings(ctx context.Context, versions []NewSetting, touches []Touch, check func(tx PlanTx) error) ([]Setting, error)
	// ListSettings lists the newest version of each setting of a kind, by key, without those that are removed.
	ListSettings(ctx context.Context, kind SettingKind, after string, limit int) ([]Setting, error)
	// SettingVersions lists every version of a setting, the newest first.
	SettingVersions(ctx context.Context, kind SettingKind, key string) ([]Setting, error)
	// SettingByID loads a version with what became of it. ErrNotFound when there is none.
	SettingByID(ctx context.Context, id int64) (Setting, SettingProgress, error)
	// AddAudit appends to the audit trail what is not a change of a setting.
	AddAudit(ctx context.Context, entry AuditEntry) error
	// AuditTrail lists entries by id, after the one given; an empty subject means any.
	AuditTrail(ctx context.Context, subject string, after int64, limit int) ([]AuditEntry, error)
}

// NewSetting is a version to be stored; its ID and Version are assigned by the store. From is the version that it was
// made from; nil does not look.
type NewSetting struct {
	Setting
	From *int64
}

// SettingProgress is what became of a version of a setting at the listings that it touched.
type SettingProgress struct {
	// Planning says that some of them are still to be planned.
	Planning bool
	// Touched counts the listings. Changed are those whose target is another one since; Accepted those of them of which the
	// channel took a target from after the change, Shown those of which one was read back.
	Touched, Changed, Accepted, Shown int
	// AcceptedAt and ShownAt are when the last of those was; zero when there is none.
	AcceptedAt, ShownAt time.Time
}

// Touch is what a setting touches.
type Touch struct {
	SKUs       []stock.SKU
	Listings   []ListingKey
	Connection stock.ConnectionID // everything of it
	All        bool               // everything there is
}

// Pusher brings targets to the channels.
type Pusher interface {
	// DuePushes lists the listings of a connection that are due at now, lowers first, then the longest due.
	DuePushes(ctx context.Context, connection stock.ConnectionID, now time.Time, limit int) ([]Listing, error)
	// NextPush is the earliest instant at which a listing of the connection is due; false when none is.
	NextPush(ctx context.Context, connection stock.ConnectionID) (time.Time, bool, error)
	ListingsByKey(ctx context.Context, keys []ListingKey) (map[ListingKey]*Listing, error)
	// Intend stores writes that are about to be sent, with the instant until which they may arrive, and counts them.
	Intend(ctx context.Context, writes map[ListingKey]OpenWrite, recheckAt time.Time) error
	// OpenReservations lists the reservations of a connection for which the channel may still tell orders.
	OpenReservations(ctx context.Context, connection stock.ConnectionID) ([]*Reservation, error)
	// Settle stores what became of a batch, in one transaction.
	Settle(ctx context.Context, outcomes []PushOutcome, incidents []Incident) error
	// MarkDue makes listings due at the instant at, those that are due earlier stay so.
	MarkDue(ctx context.Context, keys []ListingKey, at time.Time) error
}

// PushOutcome is what became of one due listing.
type PushOutcome struct {
	ListingKey
	// Generation is the one that was handled. When the listing has a newer one by now, it stays due at once,
	// Confirmed is not stored, and the rest is.
	Generation int64
	// Write is set when a write was made; Noted when Intend has stored and counted it.
	Write *Push
	Noted bool
	// Published is set when the write took place or may have.
	Published *stock.Quantity
	// Confirmed is set when the channel was read and shows the target.
	Confirmed *stock.Quantity
	// Taken belongs to Published and Confirmed.
	Taken stock.Quantity
	// Unknown is the write whose outcome is not known.
	Unknown *OpenWrite
	// Contest replaces Foreign, ForeignAt and ContestedAt where it is set.
	Contest *Contest
	// Stopped, where it is set, says that the channel has stopped the listing, or resumed it.
	Stopped   *bool
	Held      string
	LastError string
	Attempts  int
	Status    connectors.ListingStatus // set to change it
	RecheckAt time.Time
	// DueAt is when to look again; zero: not before the target changes.
	DueAt time.Time
	At    time.Time
}

// Contest is what is known of somebody else who writes to a listing.
type Contest struct {
	Foreign                int
	ForeignAt, ContestedAt time.Time
}

// Forwarder carries orders to the system of record and shipments to the marketplaces.
type Forwarder interface {
	// DueForwards lists forwards of a system of record that are due at now, with their orders.
	DueForwards(ctx context.Context, connection stock.ConnectionID, now time.Time, limit int) ([]Forward, []*Order, error)
	// FixForward stores what is going to be sent, unless Want has grown since the forward was loaded: then it reports false.
	FixForward(ctx context.Context, f Forward) (newest bool, err error)
	// SaveForward stores everything of a forward but Want; it stays due, at once, while Want is newer than Done.
	// The events are stored in the same transaction.
	SaveForward(ctx context.Context, f Forward, incidents []Incident, events ...NewEvent) error
	// OldCommitments hands to fn the orders that a system of record has, and of which something was promised before an
	// instant and still is, by channel and order id after the one given, and opens the incidents that it returns. Nothing
	// else is applied meanwhile. It returns how many orders there were, and the last.
	OldCommitments(ctx context.Context, connection stock.ConnectionID, before time.Time, after OrderKey, limit int, fn func([]*Order) []Incident) (n int, last OrderKey, err error)
	// UnfinishedOrders lists the orders that a system of record has, that were accepted before an instant, and of which
	// anything is promised or open at the channel, by channel and order id after the one given. Fewer than limit are all.
	UnfinishedOrders(ctx context.Context, connection stock.ConnectionID, before time.Time, after OrderKey, limit int) ([]*Order, error)
	DueNotices(ctx context.Context, channel stock.ConnectionID, now time.Time, limit int) ([]Notice, error)
	SaveNotice(ctx context.Context, n Notice, incidents []Incident) error
}

// Bookmarks remember how far a feed was read, and which connections are paused.
type Bookmarks interface {
	Bookmark(ctx context.Context, connection stock.ConnectionID, feed string) (string, error) // "" when there is none
	SetBookmark(ctx context.Context, connection stock.ConnectionID, feed, value string, acts ...AuditEntry) error
	// Pauses are the paused connections with the reason.
	Pauses(ctx context.Context) (map[stock.ConnectionID]string, error)
	// SetPause pauses a connection, with the incident that says why where there is one, or resumes it with the reason "" and
	// closes that incident; all in one transaction.
	SetPause(ctx context.Context, connection stock.ConnectionID, reason string, at time.Time, incident *Incident, acts ...AuditEntry) error
}

// Mappings keep links between listings and SKUs.
type Mappings interface {
	// ImportMapping replaces the rows of every listing and kit that the table names, flattens anew, marks the SKUs of
	// every touched listing dirty and makes events that waited for them due, in one transaction.
	ImportMapping(ctx context.Context, table mapping.Table, at time.Time, acts ...AuditEntry) (ImportReport, error)
	// DeleteMapping removes the links of listings.
	DeleteMapping(ctx context.Context, keys []ListingKey, at time.Time, acts ...AuditEntry) error
	MappingTable(ctx context.Context) (mapping.Table, error)
	// SaveItems stores articles of a system of record and makes events that waited for them due.
	SaveItems(ctx context.Context, items []connectors.Item, at time.Time) error
	// SaveListings stores what a channel enumerates: SKU, GTIN, title and status; not quantities.
	SaveListings(ctx context.Context, connection stock.ConnectionID, listings []connectors.Listing) error
	// Items and UnmappedListings page by key, for suggestions and lists.
	Items(ctx context.Context, after stock.SKU, limit int) ([]connectors.Item, error)
}

// ImportReport says what an import did.
type ImportReport struct {
	Listings int `json:"listings"` // listings whose links were set
	Replayed int `json:"replayed"` // parked events made due again
}

// Guard holds back plans that look like a mistake.
type Guard interface {
	// Jumps tells what is about to fall or rise by a lot at a channel, and what did since the instant given.
	Jumps(ctx context.Context, connection stock.ConnectionID, limits GuardLimits, since time.Time) (Jumps, error)
	// Showing is how many listings of a channel show more than zero.
	Showing(ctx context.Context, connection stock.ConnectionID) (int64, error)
	// HoldPlan stores a held plan, sets Held of its listings to its reason and takes them off the due list. A plan with
	// Facts concerns no listings.
	HoldPlan(ctx context.Context, p Plan) (int64, error)
	// DecidePlan stores the decision. Approved clears Held and the present generation of the plan's listings, and makes
	// them due, and stores the events given, which its facts become; Rejected leaves listings held until their target
	// changes. ErrNotFound when the plan is not held.
	DecidePlan(ctx context.Context, id int64, state PlanState, by string, at time.Time, events []NewEvent, acts ...AuditEntry) error
	PlanByID(ctx context.Context, id int64) (Plan, error)
	// PlansOf lists the plans of a connection in a state, the oldest first. FinishPlan makes an approved one applied.
	PlansOf(ctx context.Context, connection stock.ConnectionID, state PlanState) ([]Plan, error)
	FinishPlan(ctx context.Context, id int64) error
	// LastPlan is the newest plan of a connection in a state. ErrNotFound when there is none.
	LastPlan(ctx context.Context, connection stock.ConnectionID, state PlanState) (Plan, error)
	// CountStatements counts the statements held of a system of record.
	CountStatements(ctx context.Context, connection stock.ConnectionID) (int64, error)
	// ListPlans lists the newest plans first, with an id below before (0: from the newest); state "" means any.
	ListPlans(ctx context.Context, state PlanState, before int64, limit int) ([]Plan, error)
}

// Jumps are the changes by a lot of a channel's listings. What a listing shows is Confirmed, or Published where nothing
// was confirmed yet.
type Jumps struct {
	// Falls and Rises are the due listings whose target jumps, and whose generation is not cleared.
	Falls, Rises []Change
	// RecentFalls and RecentRises are how many listings jumped by a push.
	RecentFalls, RecentRises int64
	// Showing is how many listings show more than zero.
	Showing int64
}

// Reconciler keeps reconciliations.
type Reconciler interface {
	// ClaimOccurrence inserts (job, occurrence); false when it is there already. It decides that an occurrence of a
	// schedule runs exactly once.
	ClaimOccurrence(ctx context.Context, job string, occurrence, at time.Time) (bool, error)
	// LastOccurrence is the newest claimed occurrence of a job, zero when there is none.
	LastOccurrence(ctx context.Context, job string) (time.Time, error)
	StartRun(ctx context.Context, r Run) (int64, error)
	SaveRun(ctx context.Context, r Run) error
	Run(ctx context.Context, id int64) (Run, error)
	// ListRuns lists the newest runs first, with an id below before (0: from the newest); state "" means any.
	ListRuns(ctx context.Context, state RunState, before int64, limit int) ([]Run, error)
	// DropRuns forgets the runs that ended before an instant, with their lines.
	DropRuns(ctx context.Context, before time.Time) error
	// LockRuns lets one process at a time reconcile. ErrBusy while another one does; a process that dies lets go.
	LockRuns(ctx context.Context) (RunLock, error)
	// OnTheWay tells which of the listings are due, and when.
	OnTheWay(ctx context.Context, keys []ListingKey) (map[ListingKey]time.Time, error)
	// RestockedOrders are the channel's orders, changed since the instant given, of which it put more units up for sale
	// again than were cancelled: goods on their way back.
	RestockedOrders(ctx context.Context, channel stock.ConnectionID, since time.Time) ([]*Order, error)
	// AddReadings stages what a channel enumerates; ReadingsAfter and ListingsAfter page both sides in the order of
	// their keys, bytewise. DropReadings forgets the stage.
	AddReadings(ctx context.Context, run int64, connection stock.ConnectionID, readings []connectors.Reading) error
	ReadingsAfter(ctx context.Context, run int64, connection stock.ConnectionID, after connectors.Ref, limit int) ([]connectors.Reading, error)
	ListingsAfter(ctx context.Context, connection stock.ConnectionID, after connectors.Ref, limit int) ([]Listing, error)
	DropReadings(ctx context.Context, run int64) error
	AddDrifts(ctx context.Context, drifts []Drift) error
	Drifts(ctx context.Context, run int64, after ListingKey, limit int) ([]Drift, error)
	// DriftCounts counts the differences of a run by cause.
	DriftCounts(ctx context.Context, run int64) (map[DriftCause]int64, error)
}

// RunLock is held while a process reconciles.
type RunLock interface {
	// Check fails when the lock was lost.
	Check(ctx context.Context) error
	Release() error
}

// Reports answer questions of people and tools. A cursor is the key of the last row that the caller has; the zero
// value begins.
type Reports interface {
	EventByID(ctx context.Context, id int64) (Event, EventState, *Parked, error)
	Events(ctx context.Context, q EventQuery) ([]EventRow, error)
	// WaitingForListings pages through the events that are parked for a listing, by id.
	WaitingForListings(ctx context.Context, after int64, limit int) ([]Event, error)
	Item(ctx context.Context, sku stock.SKU) (ItemReport, error)
	ListItems(ctx context.Context, search string, after stock.SKU, limit int) ([]connectors.Item, error)
	ListListings(ctx context.Context, q ListingQuery) ([]Listing, error)
	OrderByKey(ctx context.Context, key OrderKey) (*Order, *Forward, error)
	// Entries are the newest postings of a SKU until the instant at, newest first.
	Entries(ctx context.Context, sku stock.SKU, at time.Time, limit int) ([]LedgerEntry, error)
	// LevelsAt sums the postings of a SKU until the instant at.
	LevelsAt(ctx context.Context, sku stock.SKU, at time.Time) ([]stock.Level, error)
	// UncoveredMovements are the movements that no held statement contains.
	UncoveredMovements(ctx context.Context, sku stock.SKU) ([]HeldMovement, error)
	OpenCommitments(ctx context.Context, sku stock.SKU, limit int) ([]Commitment, error)
	// Pushes are the newest writes to a listing until the instant at, newest first.
	Pushes(ctx context.Context, key ListingKey, at time.Time, limit int) ([]Push, error)
	// ReadBack is the newest write until the instant at that the channel was found to show at once, nil when there is none.
	ReadBack(ctx context.Context, key ListingKey, at time.Time) (*Push, error)
	Incidents(ctx context.Context, open bool, after int64, limit int) ([]Incident, error)
	OpenIncident(ctx context.Context, i Incident) error
	CloseIncident(ctx context.Context, kind, subject string, at time.Time) error
	// Backlog counts what is left to do, leaving out what is for the connections given: they are paused, and wait for a
	// person.
	Backlog(ctx context.Context, paused []stock.ConnectionID) (Backlog, error)
	// Ping proves that the database answers and has the schema of this binary.
	Ping(ctx context.Context) error
}

// EventQuery selects events. State "" means any.
type EventQuery struct {
	State EventState
	After int64
	Limit int
}

// EventRow is an event without its body.
type EventRow struct {
	ID         int64
	Connection stock.ConnectionID
	Key, Type  string
	State      EventState
	Reason     string
	ReceivedAt time.Time
}

// ListingQuery selects listings; the zero values mean any. State is decided by the caller, who knows the pauses.
type ListingQuery struct {
	Connection stock.ConnectionID
	// Search is a part of the item, the channel's SKU, the GTIN or the title, in any case.
	Search string
	After  ListingKey
	Limit  int
}

// ItemReport is everything about a SKU.
type ItemReport struct {
	connectors.Item
	Levels     []stock.Level
	Statements []HeldStatement
}

// Backlog counts what is left to do.
type Backlog struct {
	InboxPending int64
	InboxParked  int64
	Dirty        int64
	// Unconfirmed are mapped listings with a push due that no person has to release.
	Unconfirmed       int64
	OldestUnconfirmed time.Time // ChangedAt of the oldest, zero when there is none
	Forwards, Notices int64     // due, not refused
	Remedies          int64     // chosen, and not yet told to their channels
	Corrections       int64     // differences of stocktakes on their way to a system of record
	// HeldPlans wait for a person since OldestHeldPlan, zero when there is none; OpenIncidents too.
	HeldPlans, OpenIncidents int64
	OldestHeldPlan           time.Time
}

// Tokens keeps bearer tokens.
type Tokens interface {
	// AddToken completes the subjects of the acts with the token's id.
	AddToken(ctx context.Context, t Token, acts ...AuditEntry) (int64, error)
	TokenByHash(ctx context.Context, hash []byte) (Token, error)
	ListTokens(ctx context.Context) ([]Token, error)
	RevokeToken(ctx context.Context, id int64, at time.Time, acts ...AuditEntry) error
	TouchToken(ctx context.Context, id int64, at time.Time) error
}
