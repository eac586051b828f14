package declared

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// record is a declared system of record.
type record struct {
	*connection
	// keys keep two calls about one order apart, by a hash of its key: a look-up and the creation after it belong together.
	keys [64]chan struct{}
}

// hearingRecord is a record that sends webhooks.
type hearingRecord struct {
	*record
	*receiver
}

var (
	_ connectors.SystemOfRecord  = (*record)(nil)
	_ connectors.OrderAmender    = (*record)(nil)
	_ connectors.OrderTeller     = (*record)(nil)
	_ connectors.WebhookReceiver = (*hearingRecord)(nil)
)

func openRecord(c *connection, hooks *receiver) connectors.Connection {
	r := &record{connection: c}
	for i := range r.keys {
		r.keys[i] = make(chan struct{}, 1)
	}
	if hooks == nil {
		return r
	}
	return &hearingRecord{r, hooks}
}

// hold waits until no other call about the order is under way.
func (r *record) hold(ctx context.Context, key string) (release func(), err error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	slot := r.keys[h.Sum32()%uint32(len(r.keys))]
	select {
	case slot <- struct{}{}:
		return func() { <-slot }, nil
	case <-ctx.Done():
		return nil, &connectors.Error{Kind: connectors.Retryable, Op: "wait for another call about the order", Err: ctx.Err()}
	}
}

// Check implements connectors.Connection: the operation check, or the first page of the levels.
func (r *record) Check(ctx context.Context) error { return r.check(ctx, r.file.Operations.Levels) }

func (c *connection) check(ctx context.Context, instead *operation) error {
	const what = "check the connection"
	o := c.file.Operations.Check
	switch {
	case c.closed.Load():
		return &connectors.Error{Kind: connectors.Retryable, Op: what, Err: errors.New("the connection is closed")}
	case c.client == nil:
		return ctx.Err()
	case o != nil:
		_, err := c.ask(ctx, o, what, false, nil)
		return err
	}
	if err := c.list(ctx, instead, what, nil, func([]any, answer) error { return errEnough }); !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

// Capabilities implements connectors.SystemOfRecord: what the file declares.
func (r *record) Capabilities(ctx context.Context) (connectors.RecordCapabilities, error) {
	o := r.file.Operations
	can := connectors.RecordCapabilities{Basis: r.file.Basis, ListensOnly: r.file.listensOnly(), Positions: o.Movements != nil, OrderStatus: o.OrderStatus.works(), AmendOrders: o.AmendOrder.works()}
	if o.Levels != nil {
		can.CompleteLevels = o.Levels.Count.set()
	}
	return can, ctx.Err()
}

// works reports whether the file has the operation, and does not only say why not.
func (o *operation) works() bool { return o != nil && o.Refusal == "" }

// refused is the answer to what the system cannot do.
func (o *operation) refused(what string) error {
	if o == nil {
		return connectors.Rejectedf(what, "", "the system's file has no such operation; nothing was sent")
	}
	return connectors.Rejectedf(what, "", "%s", o.Refusal)
}

// Locations implements connectors.SystemOfRecord.
func (r *record) Locations(ctx context.Context) ([]connectors.Location, error) {
	const what = "list locations"
	o := r.file.Operations.Locations
	if !o.works() {
		return nil, o.refused(what)
	}
	var out []connectors.Location
	err := r.list(ctx, o, what, nil, func(rows []any, _ answer) error {
		taken, err := takeRows(rows, func(l *locationRow) error { return nameCheck("id", l.ID) })
		for _, l := range taken {
			out = append(out, connectors.Location{ID: l.ID, Name: l.Name})
		}
		return err
	})
	return out, err
}

// Items implements connectors.SystemOfRecord. An article that stands on several pages is told once.
func (r *record) Items(ctx context.Context, _ connectors.Cursor) (connectors.Page[connectors.Item], error) {
	const what = "list items"
	var page connectors.Page[connectors.Item]
	o := r.file.Operations.Items
	if !o.works() {
		return page, o.refused(what)
	}
	seen := map[string]int{}
	err := r.list(ctx, o, what, nil, func(rows []any, _ answer) error {
		taken, err := takeRows(rows, func(i *connectors.Item) error { return nameCheck("sku", i.SKU) })
		for _, i := range taken {
			if at, known := seen[i.SKU]; known {
				page.Rows[at] = i
				continue
			}
			seen[i.SKU] = len(page.Rows)
			page.Rows = append(page.Rows, i)
		}
		return err
	})
	return page, err
}

// Levels implements connectors.SystemOfRecord. In windows a row that changes meanwhile comes again, and the later one
// counts; without windows the same row twice is an error.
func (r *record) Levels(ctx context.Context, _ connectors.Cursor) (connectors.LevelPage, error) {
	const what = "list levels"
	o := r.file.Operations.Levels
	if !o.works() {
		return connectors.LevelPage{}, o.refused(what)
	}
	page := connectors.LevelPage{Count: -1, Position: stock.Position{SeenAt: r.now().UTC()}}
	type place struct{ sku, location string }
	seen := map[place]int{}
	pages, told := 0, 0
	err := r.list(ctx, o, what, nil, func(rows []any, a answer) error {
		pages++
		taken, err := takeRows(rows, func(s *connectors.Statement) error {
			return connectors.Fact{Kind: connectors.StockLevel, Statement: s}.Validate()
		})
		if err != nil {
			return err
		}
		told += len(taken)
		if pages == 1 {
			if err := o.head(ctx, a, &page); err != nil {
				return err
			}
		}
		for _, s := range taken {
			at, known := seen[place{s.SKU, s.Location}]
			switch {
			case known && o.Windows == nil && page.Levels[at].Quantity != s.Quantity:
				return fmt.Errorf("%s at %s stands twice, with %d and %d", s.SKU, s.Location, page.Levels[at].Quantity, s.Quantity)
			case known:
				page.Levels[at] = s
			default:
				seen[place{s.SKU, s.Location}] = len(page.Levels)
				page.Levels = append(page.Levels, s)
			}
		}
		return nil
	})
	if err == nil && page.Count >= 0 {
		if told != page.Count {
			return connectors.LevelPage{}, r.rejected(what, fmt.Errorf("the system counts %d rows and gave %d: the list changed while it was read, or is not whole", page.Count, told))
		}
		page.Count = len(page.Levels)
	}
	if err != nil {
		return connectors.LevelPage{}, err
	}
	return page, nil
}

// head reads what the first page says of the whole.
func (o *operation) head(ctx context.Context, a answer, page *connectors.LevelPage) error {
	if o.Count.set() {
		n, err := o.Count.number(ctx, a)
		if err != nil || n < 0 {
			return errors.Join(err, fmt.Errorf("%s: it gives %d", o.Count.where, n))
		}
		page.Count = int(n)
	}
	if o.AsOf.set() {
		n, err := o.AsOf.number(ctx, a)
		if err != nil {
			return err
		}
		page.Position.SourceAt = time.Unix(n, 0).UTC()
	}
	if o.Position.set() {
		n, err := o.Position.number(ctx, a)
		if err != nil {
			return err
		}
		page.Position.Sequenced, page.Position.Sequence = true, n
	}
	return nil
}

// number evaluates an expression that gives a whole number.
func (e *expression) number(ctx context.Context, a answer) (int64, error) {
	v, err := e.one(ctx, a.body, a.in)
	if err != nil {
		return 0, err
	}
	switch n := whole(v, nil).(type) {
	case int:
		return int64(n), nil
	case error:
		return 0, fmt.Errorf("%s: %w", e.where, n)
	}
	return 0, nil
}

// Movements implements connectors.SystemOfRecord.
func (r *record) Movements(ctx context.Context, after int64) (connectors.Page[connectors.Fact], error) {
	const what = "list movements"
	var page connectors.Page[connectors.Fact]
	o := r.file.Operations.Movements
	if !o.works() {
		return page, o.refused(what)
	}
	last := after
	err := r.list(ctx, o, what, inputs{"after": int(after)}, func(rows []any, _ answer) error {
		taken, err := takeRows(rows, func(f *connectors.Fact) error {
			if !f.Position.Sequenced || f.Position.Sequence <= last {
				return fmt.Errorf("its position is %d, and the one before is %d: each needs a sequence that grows", f.Position.Sequence, last)
			}
			last = f.Position.Sequence
			return f.Validate()
		})
		page.Rows = append(page.Rows, taken...)
		return err
	})
	if err != nil {
		return connectors.Page[connectors.Fact]{}, err
	}
	return page, nil
}

// lookUp asks for one of our orders. raw is what the file made of it, nil where there is no such order.
func (r *record) lookUp(ctx context.Context, what, key string) (o *orderRow, raw any, err error) {
	op := r.file.Operations.Order
	if !op.works() {
		return nil, nil, op.refused(what)
	}
	a, err := r.ask(ctx, op, what+": look it up", false, inputs{"key": key})
	if err != nil {
		return nil, nil, err
	}
	raw, err = op.Result.one(ctx, a.body, a.in)
	if err != nil || raw == nil {
		if err != nil {
			err = r.rejected(what, err)
		}
		return nil, nil, err
	}
	found, err := take[orderRow](raw)
	if err == nil {
		err = found.check()
	}
	if err != nil {
		return nil, nil, r.rejected(what, fmt.Errorf("%s: %w", op.Result.where, err))
	}
	return &found, raw, nil
}

func (o *orderRow) check() error {
	if err := nameCheck("number", o.Number); err != nil {
		return err
	}
	for i, l := range o.Lines {
		if err := errors.Join(nameCheck("sku", l.SKU), quantityCheck("quantity", l.Quantity, 0), quantityCheck("cancelled", l.Cancelled, 0)); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return nil
}

// CreateOrder implements connectors.SystemOfRecord: the order is looked up before it is created, and after that where the
// answer has no number.
func (r *record) CreateOrder(ctx context.Context, o connectors.NewOrder) (string, error) {
	const what = "create order"
	op := r.file.Operations.CreateOrder
	if !op.works() {
		return "", op.refused(what)
	}
	release, err := r.hold(ctx, o.Key)
	if err != nil {
		return "", err
	}
	defer release()
	found, _, err := r.lookUp(ctx, what, o.Key)
	if err != nil {
		return "", err
	}
	if found != nil {
		if !found.is(o) {
			return "", connectors.Rejectedf(what, "", "the system has the order %s under this key, with other lines; compare the two there", found.Number)
		}
		return found.Number, nil
	}
	lines := make([]any, 0, len(o.Lines))
	for _, l := range o.Lines {
		lines = append(lines, map[string]any{"line_id": l.LineID, "sku": string(l.SKU), "quantity": int(l.Quantity)})
	}
	buyer := map[string]any{"ref": nil, "contact": nil}
	if o.Buyer != nil {
		buyer = map[string]any{"ref": o.Buyer.Ref, "contact": o.Buyer.Contact}
	}
	a, err := r.ask(ctx, op, what, true, inputs{"key": o.Key, "channel": string(o.Channel), "order_id": o.OrderID, "placed_at": int(o.PlacedAt.Unix()), "lines": lines, "buyer": buyer})
	if err != nil {
		return "", err
	}
	v, err := op.Result.one(ctx, a.body, a.in)
	if err != nil {
		return "", r.misfit(what, true, err)
	}
	if number, _ := textOf(v); number != "" {
		return number, nil
	}
	if found, _, err = r.lookUp(ctx, what, o.Key); err != nil || found == nil {
		return "", &connectors.Error{Kind: connectors.Uncertain, Op: what, Err: errors.New(r.redact(fmt.Sprintf("the system took the order, told no number and does not find it yet (%v)", err)))}
	}
	return found.Number, nil
}

// is reports whether an order has the lines that we would give it.
func (o *orderRow) is(n connectors.NewOrder) bool {
	withIDs := !slices.ContainsFunc(o.Lines, func(l orderRowLine) bool { return l.LineID == "" })
	form := func(id, sku string, q stock.Quantity) string {
		if !withIDs {
			id = ""
		}
		return fmt.Sprintf("%q %q %d", id, sku, q)
	}
	var theirs, ours []string
	for _, l := range o.Lines {
		theirs = append(theirs, form(l.LineID, l.SKU, l.Quantity))
	}
	for _, l := range n.Lines {
		ours = append(ours, form(l.LineID, string(l.SKU), l.Quantity))
	}
	slices.Sort(theirs)
	slices.Sort(ours)
	return slices.Equal(theirs, ours)
}

// CancelOrder implements connectors.SystemOfRecord.
func (r *record) CancelOrder(ctx context.Context, key string, lines []connectors.CancelLine) error {
	const what = "cancel order"
	op := r.file.Operations.CancelOrder
	if !op.works() {
		return op.refused(what)
	}
	release, err := r.hold(ctx, key)
	if err != nil {
		return err
	}
	defer release()
	found, raw, err := r.lookUp(ctx, what, key)
	switch {
	case err != nil:
		return err
	case found == nil:
		return unknownOrder(what, key)
	}
	cancelled := make([]any, 0, len(lines))
	totals := map[string]stock.Quantity{}
	for _, l := range lines {
		cancelled = append(cancelled, map[string]any{"line_id": l.LineID, "cancelled": int(l.Cancelled)})
		totals[l.LineID] = l.Cancelled
	}
	whole := true
	for _, l := range found.Lines {
		whole = whole && (len(lines) == 0 || totals[l.LineID] >= l.Quantity)
	}
	if !whole && !op.Partial {
		return connectors.Rejectedf(what, "", "the system's file can only cancel whole orders; cancel the units of order %s there by hand", found.Number)
	}
	return r.change(ctx, op, what, inputs{"key": key, "order": raw, "lines": cancelled, "whole": whole})
}

// change makes the request of a cancellation or amendment, unless nothing is left to do.
func (r *record) change(ctx context.Context, op *operation, what string, with inputs) error {
	if op.Done.set() {
		done, err := op.Done.value(ctx, r.scope(op.name, with))
		if err != nil {
			return r.rejected(what, err)
		}
		if done == true {
			return nil
		}
	}
	_, err := r.ask(ctx, op, what, true, with)
	return err
}

func unknownOrder(what, key string) error {
	return &connectors.Error{Kind: connectors.Unmapped, Op: what, Err: fmt.Errorf("the system has no order with the key %q", key)}
}

// AmendOrder implements connectors.OrderAmender.
func (r *record) AmendOrder(ctx context.Context, a connectors.Amendment) error {
	const what = "amend order"
	op := r.file.Operations.AmendOrder
	if !op.works() {
		return op.refused(what)
	}
	release, err := r.hold(ctx, a.Key)
	if err != nil {
		return err
	}
	defer release()
	found, raw, err := r.lookUp(ctx, what, a.Key)
	switch {
	case err != nil:
		return err
	case found == nil:
		return unknownOrder(what, a.Key)
	}
	lines := make([]any, 0, len(a.Lines))
	for _, l := range a.Lines {
		lines = append(lines, map[string]any{"line_id": l.LineID, "sku": string(l.SKU), "quantity": int(l.Quantity)})
	}
	return r.change(ctx, op, what, inputs{"key": a.Key, "order": raw, "lines": lines, "version": int(a.Version)})
}

// OrderStanding implements connectors.OrderTeller.
func (r *record) OrderStanding(ctx context.Context, key string) (connectors.Standing, error) {
	const what = "ask for an order"
	op := r.file.Operations.OrderStatus
	if !op.works() {
		return connectors.Standing{}, op.refused(what)
	}
	found, raw, err := r.lookUp(ctx, what, key)
	switch {
	case err != nil:
		return connectors.Standing{}, err
	case found == nil:
		return connectors.Standing{}, unknownOrder(what, key)
	}
	a, err := r.ask(ctx, op, what, false, inputs{"key": key, "order": raw})
	if err != nil {
		return connectors.Standing{}, err
	}
	v, err := op.Result.one(ctx, a.body, a.in)
	if err != nil {
		return connectors.Standing{}, r.rejected(what, err)
	}
	if v == nil {
		return connectors.Standing{}, unknownOrder(what, key)
	}
	row, err := take[standingRow](v)
	s := connectors.Standing{OrderKey: key, Lines: row.Lines}
	if row.AsOf != 0 {
		s.AsOf = time.Unix(row.AsOf, 0).UTC()
	}
	if err == nil {
		err = s.Validate()
	}
	if err == nil && r.file.Basis == stock.AvailableBasis {
		err = allocationsTold(s)
	}
	if err != nil {
		return connectors.Standing{}, r.rejected(what, fmt.Errorf("%s: %w", op.Result.where, err))
	}
	return s, nil
}

// allocationsTold checks that what is set aside is told, which levels that mean available lack.
func allocationsTold(s connectors.Standing) error {
	for _, l := range s.Lines {
		for _, p := range l.Places {
			if p.Allocated == nil {
				return fmt.Errorf("line %s does not tell what is allocated at %s, and levels mean available", l.LineID, p.Location)
			}
		}
	}
	return nil
}
