package sync

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/truestock/truestock/mapping"
	"github.com/truestock/truestock/stock"
)

const (
	// verifyBatch is how many SKUs or orders are looked at together.
	verifyBatch = 256
	// mostDifferences is how many differences a verification tells; it counts all.
	mostDifferences = 20
)

// VerifyProgress is told how many postings and orders were looked at, of how many.
type VerifyProgress func(done, total int64)

// Verify looks for contradictions in what is stored: that every posting continues the chain of its SKU and location and
// hashes to what it says, that levels are the sums of their postings, that tracked units are what the newest statements
// and the movements after them amount to, that commitments are the open lines of the orders, and that what is reserved is
// what campaigns and readings that lack units hold. It reads one state of
// the database, changes nothing, and holds no more than a few hundred SKUs or orders at a time.
func (e *Engine) Verify(ctx context.Context, progress VerifyProgress) (VerifyView, error) {
	if err := e.rememberedCapabilities(ctx); err != nil {
		return VerifyView{}, fmt.Errorf("load what the connections can do: %w", err)
	}
	v := verifier{engine: e, progress: progress, view: VerifyView{Differences: []DifferenceView{}}}
	err := e.store.Audit(ctx, func(tx AuditTx) error {
		var err error
		if v.total, err = tx.Size(); err != nil {
			return err
		}
		if err := v.holdings(tx); err != nil {
			return err
		}
		if err := v.stock(tx); err != nil {
			return err
		}
		if err := v.orders(tx); err != nil {
			return err
		}
		v.campaigns()
		return nil
	})
	if err != nil {
		return VerifyView{}, fmt.Errorf("verify: %w", err)
	}
	v.view.Sound = v.view.Found == 0
	return v.view, nil
}

// verifier is one verification under way.
type verifier struct {
	engine      *Engine
	progress    VerifyProgress
	done, total int64
	view        VerifyView

	pools []*PoolState
	// reserved is what pools and reservations hold, taken what lines of orders and reservations have of pools.
	reserved map[LevelKey]stock.Quantity
	taken    map[string]*PoolState
}

// holdings loads who holds reserved units.
func (v *verifier) holdings(tx AuditTx) error {
	v.reserved, v.taken = make(map[LevelKey]stock.Quantity), make(map[string]*PoolState)
	var err error
	if v.pools, err = tx.AllPools(); err != nil {
		return err
	}
	for _, p := range v.pools {
		for _, part := range p.Parts {
			v.reserved[LevelKey{p.SKU, part.Location}] += part.Reserved
		}
	}
	return tx.AllReservations(func(r *Reservation) error {
		for _, part := range r.Parts {
			v.reserved[LevelKey{part.SKU, part.Location}] += part.Reserved
			if part.Pool != "" {
				v.takenOf(part.Pool).Sold += part.Reserved
			}
		}
		return nil
	})
}

func (v *verifier) takenOf(pool string) *PoolState {
	if v.taken[pool] == nil {
		v.taken[pool] = &PoolState{Campaign: pool}
	}
	return v.taken[pool]
}

// campaigns compares what each campaign sold with the lines of the orders.
func (v *verifier) campaigns() {
	for _, p := range v.pools {
		have, want := p, v.takenOf(p.Campaign)
		same := have.Sold == want.Sold
		for _, part := range slices.Concat(have.Parts, want.Parts) {
			same = same && have.part(part.Location).Committed == want.part(part.Location).Committed
		}
		_, promised := have.sums(everywhere)
		_, carried := want.sums(everywhere)
		if !same {
			v.differs(DifferenceView{Kind: DifferentReserved, SKU: p.SKU,
				Message: fmt.Sprintf("the campaign %s has sold %d and %d of it are promised, by what orders and readings say %d and %d", p.Campaign, have.Sold, promised, want.Sold, carried)})
		}
	}
}

func everywhere(stock.LocationID) bool { return true }

func (v *verifier) differs(d DifferenceView) {
	v.view.Found++
	if len(v.view.Differences) < mostDifferences {
		v.view.Differences = append(v.view.Differences, d)
	}
}

func (v *verifier) look() {
	v.done++
	if v.progress != nil && v.done%verifyBatch == 0 {
		v.progress(v.done, max(v.done, v.total))
	}
}

// stock verifies chains, levels, tracked units and the sums of commitments, SKU by SKU.
func (v *verifier) stock(tx AuditTx) error {
	var after stock.SKU
	for {
		skus, err := tx.StockedSKUs(after, verifyBatch)
		if err != nil || len(skus) == 0 {
			return err
		}
		after = skus[len(skus)-1]
		if err := v.skus(tx, skus); err != nil {
			return err
		}
	}
}

// chain is what the postings of one SKU at one location come to.
type chain struct {
	level  stock.Level
	hash   []byte
	broken bool // told already: what follows from it says nothing new
}

func (v *verifier) skus(tx AuditTx, skus []stock.SKU) error {
	chains := make(map[LevelKey]*chain)
	err := tx.PostingsOf(skus[0], skus[len(skus)-1], func(p LedgerEntry) error {
		v.view.Postings++
		v.look()
		v.posting(chains, p)
		return nil
	})
	if err != nil {
		return err
	}
	levels, err := tx.Levels(skus)
	if err != nil {
		return err
	}
	v.view.Levels += int64(len(levels))
	v.levels(chains, levels)
	for _, key := range sortedKeys(levels, compareLevelKeys) {
		if have, want := levels[key].Reserved, v.reserved[key]; have != want {
			v.differs(DifferenceView{Kind: DifferentReserved, SKU: key.SKU, Location: key.Location,
				Message: fmt.Sprintf("%d of %s at %s are reserved, but campaigns and readings that lack units hold %d", have, key.SKU, key.Location, want)})
		}
	}
	if err := v.tracked(tx, skus, levels); err != nil {
		return err
	}
	return v.committed(tx, skus, levels)
}

func (v *verifier) posting(chains map[LevelKey]*chain, p LedgerEntry) {
	key := LevelKey{p.SKU, p.Location}
	c := chains[key]
	if c == nil {
		c = &chain{level: stock.Level{SKU: p.SKU, Location: p.Location}}
		chains[key] = c
	}
	d := DifferenceView{Kind: DifferentPosting, Posting: eventReference(p.ID), SKU: p.SKU, Location: p.Location}
	switch {
	case !bytes.Equal(p.Previous, c.hash):
		d.Message = fmt.Sprintf("posting %d does not continue the one before it: a posting of %s at %s was changed, removed or put in between", p.ID, p.SKU, p.Location)
		v.differs(d)
		c.broken = true
	case !bytes.Equal(p.Hash, ChainHash(p.Previous, p.Posting)):
		d.Message = fmt.Sprintf("posting %d (%d of %s at %s, %s to %s) is not what was recorded: its hash is of something else", p.ID, p.Quantity, p.SKU, p.Location, p.From, p.To)
		v.differs(d)
		c.broken = true
	}
	if err := c.level.Apply(p.Posting); err != nil && !c.broken {
		d.Message = fmt.Sprintf("posting %d moves nothing that can be moved: %v", p.ID, err)
		v.differs(d)
		c.broken = true
	}
	c.hash = p.Hash
}

func (v *verifier) levels(chains map[LevelKey]*chain, levels map[LevelKey]*HeldLevel) {
	keys := make(map[LevelKey]bool, len(levels))
	for key := range levels {
		keys[key] = true
	}
	for key := range chains {
		keys[key] = true
	}
	for _, key := range sortedKeys(keys, compareLevelKeys) {
		c, l := chains[key], levels[key]
		if c == nil {
			c = &chain{level: stock.Level{SKU: key.SKU, Location: key.Location}}
		}
		if l == nil {
			l = &HeldLevel{Level: stock.Level{SKU: key.SKU, Location: key.Location}}
		}
		switch {
		case l.Level != c.level:
			v.differs(DifferenceView{Kind: DifferentLevel, SKU: key.SKU, Location: key.Location,
				Message: fmt.Sprintf("the level of %s at %s is %s, its postings sum to %s", key.SKU, key.Location, stateText(&l.Level), stateText(&c.level))})
		case !bytes.Equal(l.Hash, c.hash) && !c.broken:
			v.differs(DifferenceView{Kind: DifferentLevel, SKU: key.SKU, Location: key.Location,
				Message: fmt.Sprintf("the level of %s at %s ends with another posting than its chain: the newest postings are missing", key.SKU, key.Location)})
		}
	}
}

func stateText(l *stock.Level) string {
	return fmt.Sprintf("%d available, %d reserved, %d committed, %d unavailable", l.Available, l.Reserved, l.Committed, l.Unavailable)
}

// tracked compares what the ledger tracks with the newest statements and the movements that they do not contain.
func (v *verifier) tracked(tx AuditTx, skus []stock.SKU, levels map[LevelKey]*HeldLevel) error {
	statements, err := tx.Statements(skus)
	if err != nil {
		return err
	}
	uncovered, err := tx.Uncovered(skus)
	if err != nil {
		return err
	}
	sums := make(map[LevelKey]stock.Quantity)
	for key := range levels {
		sums[key] = 0
	}
	for _, s := range statements {
		sums[s.LevelKey] += s.Quantity
	}
	for _, m := range uncovered {
		sums[m.LevelKey] += m.Delta
	}
	for _, key := range sortedKeys(sums, compareLevelKeys) {
		var have stock.Quantity
		if l := levels[key]; l != nil {
			have = l.Tracked()
		}
		if have != sums[key] {
			v.differs(DifferenceView{Kind: DifferentTracked, SKU: key.SKU, Location: key.Location,
				Message: fmt.Sprintf("%d of %s at %s are tracked, but the statements and the movements after them amount to %d", have, key.SKU, key.Location, sums[key])})
		}
	}
	return nil
}

// committed compares each commitment with its order's line, and their sums with the levels.
func (v *verifier) committed(tx AuditTx, skus []stock.SKU, levels map[LevelKey]*HeldLevel) error {
	sums := make(map[LevelKey]stock.Quantity)
	for key := range levels {
		sums[key] = 0
	}
	for _, sku := range skus {
		var after commitmentID
		for {
			page, err := tx.CommitmentsOf(sku, after.OrderKey, after.lineID, verifyBatch)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			last := page[len(page)-1]
			after = commitmentID{last.OrderKey, last.LineID, last.SKU}
			v.view.Commitments += int64(len(page))
			if err := v.promises(tx, page); err != nil {
				return err
			}
			for _, c := range page {
				sums[LevelKey{c.SKU, c.Location}] += c.Quantity
			}
		}
	}
	for _, key := range sortedKeys(sums, compareLevelKeys) {
		var have stock.Quantity
		if l := levels[key]; l != nil {
			have = l.Committed
		}
		if have != sums[key] {
			v.differs(DifferenceView{Kind: DifferentCommitment, SKU: key.SKU, Location: key.Location,
				Message: fmt.Sprintf("%d of %s at %s are committed, but the promises sum to %d", have, key.SKU, key.Location, sums[key])})
		}
	}
	return nil
}

// promises finds commitments without a line that would need them.
func (v *verifier) promises(tx AuditTx, page []Commitment) error {
	keys := make(map[OrderKey]bool, len(page))
	for _, c := range page {
		keys[c.OrderKey] = true
	}
	orders, err := tx.Orders(sortedKeys(keys, compareOrderKeys))
	if err != nil {
		return err
	}
	for _, c := range page {
		if o := orders[c.OrderKey]; o == nil || !o.carries(c) {
			v.differs(DifferenceView{Kind: DifferentCommitment, SKU: c.SKU, Location: c.Location, Order: mapping.OrderKey(c.Channel, c.OrderID),
				Message: fmt.Sprintf("%d of %s are promised to line %s of order %s, which has no such line", c.Quantity, c.SKU, c.LineID, mapping.OrderKey(c.Channel, c.OrderID))})
		}
	}
	return nil
}

// carries reports whether a line of the order has the commitment's SKU at its location.
func (o *Order) carries(c Commitment) bool {
	for i := range o.Lines {
		if o.Lines[i].ID != c.LineID {
			continue
		}
		for _, part := range o.Lines[i].Components {
			if part.SKU == c.SKU && part.Location == c.Location {
				return true
			}
		}
	}
	return false
}

// orders verifies that every order has exactly the commitments that its open lines need.
func (v *verifier) orders(tx AuditTx) error {
	var after OrderKey
	for {
		page, err := tx.OrdersAfter(after, verifyBatch)
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].Key()
		var ids []Commitment
		for _, o := range page {
			for _, l := range o.Lines {
				for _, c := range l.Components {
					ids = append(ids, Commitment{OrderKey: o.Key(), LineID: l.ID, SKU: c.SKU})
				}
			}
		}
		rows, err := tx.CommitmentsByKey(ids)
		if err != nil {
			return err
		}
		held := make(map[commitmentID]Commitment, len(rows))
		for _, c := range rows {
			held[commitmentID{c.OrderKey, c.LineID, c.SKU}] = c
		}
		for _, o := range page {
			v.view.Orders++
			v.look()
			v.order(o, held)
		}
	}
}

func (v *verifier) order(o *Order, held map[commitmentID]Commitment) {
	name := mapping.OrderKey(o.Channel, o.OrderID)
	for i := range o.Lines {
		l := &o.Lines[i]
		for j := range l.Components {
			c := &l.Components[j]
			if c.Pool != "" {
				v.takenOf(c.Pool).Sold += o.pooled(l, c)
				v.takenOf(c.Pool).part(c.Location).Committed += c.Committed
			}
			row := held[commitmentID{o.Key(), l.ID, c.SKU}]
			want := o.promised(l, c, v.engine.basesOf(o.Channel))
			var open stock.Quantity
			if j == 0 {
				open = o.channelOpen(l)
			}
			if want == row.Quantity && want == c.Committed && open == row.ChannelOpen {
				continue
			}
			v.differs(DifferenceView{Kind: DifferentCommitment, SKU: c.SKU, Location: c.Location, Order: name,
				Message: fmt.Sprintf("line %s of order %s has %d of %s still to be promised (%d packs open at the channel); promised are %d (%d), and its document says %d",
					l.ID, name, want, c.SKU, open, row.Quantity, row.ChannelOpen, c.Committed)})
		}
	}
}

// AuditTx reads one state of the database, in the order of keys.
type AuditTx interface {
	// Size is how many postings and orders there are, roughly.
	Size() (int64, error)
	// StockedSKUs are the SKUs after the one given of which anything is stored.
	StockedSKUs(after stock.SKU, limit int) ([]stock.SKU, error)
	// PostingsOf hands over the postings of the SKUs from first to last, SKU by SKU, the oldest first.
	PostingsOf(first, last stock.SKU, each func(LedgerEntry) error) error
	Levels(skus []stock.SKU) (map[LevelKey]*HeldLevel, error)
	Statements(skus []stock.SKU) ([]HeldStatement, error)
	Uncovered(skus []stock.SKU) ([]HeldMovement, error)
	// CommitmentsOf pages through the commitments of a SKU by order and line.
	CommitmentsOf(sku stock.SKU, after OrderKey, line string, limit int) ([]Commitment, error)
	// CommitmentsByKey finds commitments by order, line and SKU.
	CommitmentsByKey(ids []Commitment) ([]Commitment, error)
	Orders(keys []OrderKey) (map[OrderKey]*Order, error)
	OrdersAfter(after OrderKey, limit int) ([]*Order, error)
	// AllPools lists what became of every campaign, AllReservations hands over every reservation.
	AllPools() ([]*PoolState, error)
	AllReservations(each func(*Reservation) error) error
}

// Auditor reads everything that is stored, to look for contradictions.
type Auditor interface {
	// Audit runs fn on one state of the database, beside whoever works on it.
	Audit(ctx context.Context, fn func(tx AuditTx) error) error
}

// The kinds of difference that a verification finds.
const (
	DifferentPosting    = "posting"
	DifferentLevel      = "level"
	DifferentTracked    = "tracked"
	DifferentCommitment = "commitment"
	DifferentReserved   = "reserved"
)

// VerifyView is the outcome of a verification.
type VerifyView struct {
	Sound       bool             `json:"sound" doc:"nothing contradicts anything"`
	Postings    int64            `json:"postings"`
	Levels      int64            `json:"levels"`
	Commitments int64            `json:"commitments"`
	Orders      int64            `json:"orders"`
	Found       int64            `json:"found" doc:"how many differences there are"`
	Differences []DifferenceView `json:"differences" doc:"the first of them"`
}

// DifferenceView is one contradiction.
type DifferenceView struct {
	Kind     string           `json:"kind" enum:"posting,level,tracked,commitment,reserved"`
	Posting  string           `json:"posting,omitempty"`
	SKU      stock.SKU        `json:"sku"`
	Location stock.LocationID `json:"location"`
	Order    string           `json:"order,omitempty"`
	Message  string           `json:"message"`
}
