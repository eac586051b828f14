package sync

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// A stocktake is a list of what is to be counted, what was counted, and what was decided about the differences. Each line
// has its own instant: what the books had then is compared, so that what is sold during the count is not booked twice.
//
// The system of record stays the truth. An approved difference below zero is a movement of its number that it does not know
// yet: it lowers what is tracked at once, and goes on doing so until the system of record has booked it. One above zero is
// no movement before that: what is there more waits for the word of the system of record.

// StocktakeSetting is what is counted by the calendar, by a name; its value is a StocktakePlan.
const StocktakeSetting SettingKind = "stocktake"

// StocktakePlan makes count lists. The fields stand side by side, so that a row of a file holds a plan.
type StocktakePlan struct {
	// Period, Zone, Begins, Weekday and Day are the calendar of the lists, as in stock.Calendar.
	Period  stock.Period  `json:"period"`
	Zone    *stock.Zone   `json:"zone"`
	Begins  *stock.Clock  `json:"begins,omitempty"`
	Weekday *time.Weekday `json:"weekday,omitempty"`
	Day     *int          `json:"day,omitempty"`
	// ADays, BDays and CDays are how often articles of each class are counted; 0 leaves a class out.
	ADays int `json:"a_days,omitempty"`
	BDays int `json:"b_days,omitempty"`
	CDays int `json:"c_days,omitempty"`
	// Locations are where is counted; none: everywhere.
	Locations []stock.LocationID `json:"locations,omitempty"`
	// The rule of the lists, as in StocktakeRule.
	Blind            bool           `json:"blind,omitempty"`
	RecountUnits     stock.Quantity `json:"recount_units,omitempty"`
	RecountPermille  int64          `json:"recount_permille,omitempty"`
	RecountByAnother bool           `json:"recount_by_another,omitempty"`
	ApproveUnits     stock.Quantity `json:"approve_units,omitempty"`
	ApproveValue     *int64         `json:"approve_value,omitempty"`
}

// StocktakeRule says how the lines of a list are counted and who decides about them.
type StocktakeRule struct {
	// Blind hides what the books have until a line is counted.
	Blind bool `json:"blind,omitempty"`
	stock.CountRule
	// RecountByAnother has a line counted again by somebody who has not counted it yet.
	RecountByAnother bool `json:"recount_by_another,omitempty"`
	// ApproveValue is the largest value of a difference that is posted without a second person, in the smallest unit of a
	// currency. A difference of an article whose cost is not known is above it.
	ApproveValue *int64 `json:"approve_value,omitempty"`
}

func (r StocktakeRule) validate() error {
	if err := r.CountRule.Validate(); err != nil {
		return err
	}
	if r.ApproveValue != nil && (*r.ApproveValue < 0 || *r.ApproveValue > int64(stock.MaxQuantity)) {
		return &stock.FieldError{Field: "approve_value", Reason: fmt.Sprintf("is %d: it must be from 0 to %d", *r.ApproveValue, stock.MaxQuantity)}
	}
	return nil
}

func (p StocktakePlan) rule() StocktakeRule {
	return StocktakeRule{Blind: p.Blind, RecountByAnother: p.RecountByAnother, ApproveValue: p.ApproveValue,
		CountRule: stock.CountRule{RecountUnits: p.RecountUnits, RecountPermille: p.RecountPermille, ApproveUnits: p.ApproveUnits}}
}

func (p StocktakePlan) calendar(name string) stock.Calendar {
	return stock.Calendar{Resource: name, Period: p.Period, Zone: value(p.Zone), At: value(p.Begins), Weekday: value(p.Weekday), Day: value(p.Day)}
}

func (p StocktakePlan) days() stock.CountPlan {
	return stock.CountPlan{Days: map[stock.ABC]int{stock.ClassA: p.ADays, stock.ClassB: p.BDays, stock.ClassC: p.CDays}}
}

func parseStocktake(_ isChannel, key string, raw json.RawMessage) (any, error) {
	refuse := func(field, reason string) error { return &stock.FieldError{Field: field, Reason: reason} }
	if err := checkName("a plan", key); err != nil {
		return nil, err
	}
	raw, err := zoneOf(raw)
	if err != nil {
		return nil, err
	}
	p, err := readSetting[StocktakePlan](raw)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Zone == nil:
		return nil, refuse("zone", "is missing: say by which clock lists are made, such as Europe/Berlin or UTC")
	case p.Period == stock.Hours:
		return nil, refuse("period", "is hours: write daily, weekly or monthly")
	case p.ADays == 0 && p.BDays == 0 && p.CDays == 0:
		return nil, refuse("a_days", "is 0, as b_days and c_days are: say after how many days articles of at least one class are counted again")
	}
	for name, days := range map[string]int{"a_days": p.ADays, "b_days": p.BDays, "c_days": p.CDays} {
		if days < 0 || days > 3660 {
			return nil, refuse(name, fmt.Sprintf("is %d: it must be from 0 to 3660", days))
		}
	}
	for i, l := range p.Locations {
		if l == "" || slices.Contains(p.Locations[:i], l) {
			return nil, refuse(fmt.Sprintf("locations[%d]", i), "is empty, or there twice")
		}
	}
	if err := p.rule().validate(); err != nil {
		return nil, err
	}
	return p, articleField(p.calendar(key).Validate())
}

// CountReasons are why a count can differ from the books. Other needs a note.
var CountReasons = []string{"lost", "damaged", "theft", "misplaced", "expired", "receiving_error", "shipping_error", "data_error", "unknown", otherReason}

const (
	otherReason   = "other"
	unknownReason = "unknown"
)

// Stocktake is a list of what is to be counted.
type Stocktake struct {
	ID int64
	// Plan and Occurrence say which plan made it, for when; empty and zero for a list that a person asked for.
	Plan       string
	Occurrence time.Time
	Rule       StocktakeRule
	MadeAt     time.Time
	MadeBy     string
	// ClosedAt is when the last of its lines was decided; zero while some are not.
	ClosedAt time.Time
	Lines    []*StocktakeLine
}

// StocktakeState is where a line of a stocktake stands.
type StocktakeState string

// The states of a line.
const (
	// LineOpen: it was not counted yet. LineRecount: it must be counted once more.
	LineOpen    StocktakeState = "open"
	LineRecount StocktakeState = "recount"
	// LineVariance: its difference waits for somebody to approve or reject it.
	LineVariance StocktakeState = "variance"
	// LineExact: it was counted, and there is no difference. LineRejected: the difference is not believed.
	LineExact    StocktakeState = "exact"
	LineRejected StocktakeState = "rejected"
	// LineApproved: the difference counts, and the system of record does not contain it yet. LineBooked: it does.
	LineApproved StocktakeState = "approved"
	LineBooked   StocktakeState = "booked"
)

func (s StocktakeState) decided() bool {
	return s == LineExact || s == LineRejected || s == LineApproved || s == LineBooked
}

// SendState is how far a difference has come on its way to the system of record.
type SendState string

// The states of a difference on its way. Empty: nobody asked for it to be sent.
const (
	SendDue     SendState = "due"
	SendBegun   SendState = "sending" // it may have arrived; its content is fixed
	SendDone    SendState = "sent"
	SendRefused SendState = "refused"
	// SendByHand: a person says that they have entered it there.
	SendByHand SendState = "by_hand"
)

// StocktakeLine is a line of a stocktake.
type StocktakeLine struct {
	Stocktake int64 `json:"-"`
	// N counts from 1 within the stocktake.
	N        int `json:"-"`
	LevelKey `json:"-"`
	// Connection is the system of record whose number is counted.
	Connection stock.ConnectionID `json:"-"`
	State      StocktakeState     `json:"-"`
	// DueAt is when the difference is to be sent; zero when it is not.
	DueAt time.Time `json:"-"`

	// Counts are the counts so far, the oldest first.
	Counts []stock.CountedLine `json:"counts,omitempty"`
	Reason string              `json:"reason,omitempty"`
	Note   string              `json:"note,omitempty"`
	// Expected and Difference are those of the last count, as they were known when the line was last looked at; fixed once
	// it is decided, but for what a fact from before the count adds that comes late.
	Expected   stock.Quantity `json:"expected,omitzero"`
	Difference stock.Quantity `json:"difference,omitzero"`
	// DecidedBy is empty where the difference was within the limit.
	DecidedAt time.Time `json:"decided_at,omitzero"`
	DecidedBy string    `json:"decided_by,omitempty"`

	Send     SendState `json:"send,omitempty"`
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// correctionKey is the identity of the difference of a line at its system of record.
func correctionKey(stocktake int64, n int) string {
	return fmt.Sprintf("%s%d:%d", correctionPrefix, stocktake, n)
}

const correctionPrefix = "count:"

func (l *StocktakeLine) key() string { return correctionKey(l.Stocktake, l.N) }

// held is by how much the difference changes what is tracked before the system of record has booked it: only down.
func (l *StocktakeLine) held() stock.Quantity { return min(l.Difference, 0) }

func (l *StocktakeLine) last() *stock.CountedLine {
	if len(l.Counts) == 0 {
		return nil
	}
	return &l.Counts[len(l.Counts)-1]
}

// LevelHistory is what the ledger knows of a level since an instant.
type LevelHistory struct {
	Tracked stock.Quantity
	// Posted is by how much postings since have changed what is tracked.
	Posted stock.Quantity
	// Movements are those that were recorded, or that their source says happened, since.
	Movements []HeldMovement
	// StatedAt is of when the newest statement is.
	StatedAt time.Time
	// CorrectedAt is when the newest difference of a stocktake was approved there, zero when none was; lines of the
	// stocktake Except do not count.
	CorrectedAt time.Time
}

// StocktakeTx is what a change of a stocktake sees.
type StocktakeTx interface {
	// LevelHistory loads what is known of a level since an instant; except is a stocktake whose own differences are left out.
	LevelHistory(key LevelKey, since time.Time, except int64) (LevelHistory, error)
	// KnownSKUs tells which SKUs are articles.
	KnownSKUs(skus []stock.SKU) (map[stock.SKU]bool, error)
	SettingsSince(id int64) ([]Setting, error)
}

// StocktakeChange is what becomes of a stocktake.
type StocktakeChange struct {
	Lines    []*StocktakeLine
	ClosedAt time.Time // set to close it
	Events   []NewEvent
	Acts     []AuditEntry
}

// LineKey names a line of a stocktake.
type LineKey struct {
	Stocktake int64
	N         int
}

// CountedLevel is a level that can be counted: what one system of record has stated.
type CountedLevel struct {
	LevelKey
	Connection stock.ConnectionID
}

// Stocktakes keeps stocktakes.
type Stocktakes interface {
	// MakeStocktake stores a list with its lines and claims the occurrence of the job, in one transaction; with an occurrence
	// that is claimed already it stores nothing and returns 0. A list without lines only claims. Without a job there is
	// nothing to claim.
	MakeStocktake(ctx context.Context, s Stocktake, job string, acts ...AuditEntry) (id int64, err error)
	// ChangeStocktake runs fn on a stocktake with its lines while nothing else is applied, and stores what it returns.
	// ErrNotFound when there is none.
	ChangeStocktake(ctx context.Context, id int64, fn func(tx StocktakeTx, s *Stocktake) (StocktakeChange, error)) error
	// ViewStocktake runs fn on a stocktake with its lines and one state of the ledger.
	ViewStocktake(ctx context.Context, id int64, fn func(tx StocktakeTx, s *Stocktake) error) error
	// ListStocktakes lists the newest first, without their lines but with their number by state, with an id below before (0:
	// from the newest). open leaves out those that are closed.
	ListStocktakes(ctx context.Context, open bool, before int64, limit int) ([]Stocktake, []map[StocktakeState]int, error)
	// StatedLevels pages through what systems of record have stated, by SKU, location and connection.
	StatedLevels(ctx context.Context, after CountedLevel, limit int) ([]CountedLevel, error)
	// ListedAt is, of every level that lists of a plan had, the occurrence of the newest.
	ListedAt(ctx context.Context, plan string) (map[LevelKey]time.Time, error)
	// DueCorrections are the differences to be sent to a system of record, the longest due first.
	DueCorrections(ctx context.Context, connection stock.ConnectionID, now time.Time, limit int) ([]*StocktakeLine, error)
	// DecidedLines hands over the lines that were counted as of the span from up to, and not including, to, and are exact,
	// approved or booked, by SKU and location.
	DecidedLines(ctx context.Context, from, to time.Time, each func(*StocktakeLine) error) error
}

// variance compares a count with what the books had at its instant. doubtful tells why the books cannot be compared: then
// the line is counted again.
func (h LevelHistory) variance(c stock.CountedLine) (v stock.Variance, doubtful string) {
	var moved []stock.Moved
	var corrections []stock.Quantity
	var arrived stock.Quantity
	for _, m := range h.Movements {
		if strings.HasPrefix(m.Key, correctionPrefix) {
			continue // posted before the count, else CorrectedAt says so
		}
		at := m.Position.SourceAt
		if at.IsZero() {
			at = m.At
		}
		moved = append(moved, stock.Moved{At: at, Delta: m.Delta})
		if m.At.After(c.AsOf) {
			arrived += m.Delta
		}
		if at.After(c.AsOf) && correcting(m) {
			corrections = append(corrections, m.Delta)
		}
	}
	// What statements changed and no movement tells: nobody knows when it happened, other than before the statement.
	unexplained := h.Posted - arrived
	if unexplained != 0 {
		moved = append(moved, stock.Moved{At: h.StatedAt, Delta: unexplained})
	}
	v = stock.VarianceOf(c, h.Tracked, moved)
	switch {
	case h.CorrectedAt.After(c.AsOf):
		doubtful = fmt.Sprintf("another stocktake has corrected it at %s, after it was counted", h.CorrectedAt.UTC().Format(time.RFC3339))
	case unexplained != 0 && h.StatedAt.After(c.AsOf) && v.Difference != 0 && (unexplained < 0) == (v.Difference < 0):
		doubtful = fmt.Sprintf("the system of record has itself changed the number by %+d since, and no movement tells when", unexplained)
	}
	for _, delta := range corrections {
		if delta != 0 && v.Difference != 0 && (delta < 0) == (v.Difference < 0) {
			doubtful = fmt.Sprintf("the system of record has itself booked %+d since", delta)
		}
	}
	return v, doubtful
}

// correcting reports whether a movement may stand for what a count found: it belongs to no order and is no return.
func correcting(m HeldMovement) bool {
	if strings.HasPrefix(m.Key, "mov:") {
		return true
	}
	_, err := strconv.Atoi(m.Key[strings.LastIndex(m.Key, ":")+1:])
	return strings.HasPrefix(m.Key, "evt:") && err != nil // an allocation ends with the number of its line
}

// look brings an undecided line to what its counts and the ledger say. It returns why it has to be counted again, where
// that is not its rule's doing.
func (l *StocktakeLine) look(tx StocktakeTx, r StocktakeRule) (doubtful string, err error) {
	if l.State.decided() || len(l.Counts) == 0 {
		return "", nil
	}
	counts := l.Counts[max(0, len(l.Counts)-2):]
	variances := make([]stock.Variance, len(counts))
	for i, c := range counts {
		h, err := tx.LevelHistory(l.LevelKey, c.AsOf, l.Stocktake)
		if err != nil {
			return "", err
		}
		variances[i], doubtful = h.variance(c)
	}
	last := variances[len(variances)-1]
	l.Expected, l.Difference = last.Expected, last.Difference
	switch {
	case doubtful != "" || r.NeedsRecount(variances):
		l.State = LineRecount
	case last.Difference == 0:
		l.State = LineExact
	default:
		l.State = LineVariance
	}
	return doubtful, nil
}

// withinLimit reports whether a difference is posted without a second person.
func (l *StocktakeLine) withinLimit(r StocktakeRule, settings *decisions) bool {
	if r.NeedsApproval(stock.Variance{Difference: l.Difference}) {
		return false
	}
	if r.ApproveValue == nil {
		return true
	}
	cost := settings.article(l.SKU, l.last().AsOf).UnitCost
	return cost != nil && valueOf(max(l.Difference, -l.Difference), *cost) <= *r.ApproveValue
}

// valueOf is what units cost; more than MaxQuantity is MaxQuantity, so that sums stay within 64 bits.
func valueOf(units stock.Quantity, cost int64) int64 {
	if units > 0 && cost > int64(stock.MaxQuantity)/int64(units) {
		return int64(stock.MaxQuantity)
	}
	return int64(units) * cost
}

// countedEvent is the event that makes an approved difference count.
func countedEvent(l *StocktakeLine) (NewEvent, error) {
	return lineEvent(l, connectors.Fact{Kind: connectors.StockCounted})
}

// bookedEvent is the event that tells when the system of record has booked a difference.
func bookedEvent(l *StocktakeLine, position stock.Position) (NewEvent, error) {
	return lineEvent(l, connectors.Fact{Kind: connectors.StockBooked, Position: position})
}

func lineEvent(l *StocktakeLine, f connectors.Fact) (NewEvent, error) {
	f.Counted = &connectors.Counted{Stocktake: l.Stocktake, Line: l.N, SKU: string(l.SKU), Location: string(l.Location)}
	events, err := factEvents(l.Connection, [][]connectors.Fact{{f}}, func(int) string { return string(f.Kind) + ":" + l.key() })
	if err != nil {
		return NewEvent{}, err
	}
	return events[0], nil
}
