package open

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// warehouse is a system of record that speaks the open protocol. basis is what the setting levels says, empty where it
// is left out.
type warehouse struct {
	*connection
	basis stock.Basis
	can   remembered[connectors.RecordCapabilities]
}

// Check implements connectors.Connection.
func (w *warehouse) Check(ctx context.Context) error {
	if err := w.ready(ctx, "check the system of record"); err != nil || w.client == nil {
		return err
	}
	_, err := w.askCapabilities(ctx)
	return err
}

// Capabilities implements connectors.SystemOfRecord. A system that only sends webhooks can do no more than its setting
// levels says.
func (w *warehouse) Capabilities(ctx context.Context) (connectors.RecordCapabilities, error) {
	if w.client == nil {
		return connectors.RecordCapabilities{Basis: w.basis, ListensOnly: true}, w.ready(ctx, "read capabilities")
	}
	return w.can.get(func() (connectors.RecordCapabilities, error) { return w.askCapabilities(ctx) })
}

func (w *warehouse) askCapabilities(ctx context.Context) (connectors.RecordCapabilities, error) {
	const op = "read capabilities"
	var answer RecordCapabilities
	if err := w.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/capabilities"}, &answer); err != nil {
		return connectors.RecordCapabilities{}, err
	}
	can, err := recordCapabilities(answer, w.basis)
	if err != nil {
		return connectors.RecordCapabilities{}, w.rejected(op, err)
	}
	return can, nil
}

func recordCapabilities(a RecordCapabilities, expected stock.Basis) (connectors.RecordCapabilities, error) {
	basis := stock.Basis(a.Levels)
	switch {
	case basis != stock.OnHandBasis && basis != stock.AvailableBasis:
		return connectors.RecordCapabilities{}, fmt.Errorf("levels is %q: a system of record says on_hand or available", a.Levels)
	case expected != "" && basis != expected:
		return connectors.RecordCapabilities{}, fmt.Errorf("the system says that its levels are %s, and the setting levels says %s: find out which is true and correct the other", basis, expected)
	}
	return connectors.RecordCapabilities{
		Basis: basis, Positions: a.Positions, CompleteLevels: a.CompleteLevels, AmendOrders: a.OrderAmend, OrderStatus: a.OrderStatus, CorrectStock: a.Corrections,
	}, nil
}

// Locations implements connectors.SystemOfRecord.
func (w *warehouse) Locations(ctx context.Context) ([]connectors.Location, error) {
	const op = "list locations"
	var answer LocationsAnswer
	if err := w.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/locations"}, &answer); err != nil {
		return nil, err
	}
	locations, err := locationsOf(answer)
	if err != nil {
		return nil, w.rejected(op, err)
	}
	return locations, nil
}

func locationsOf(a LocationsAnswer) ([]connectors.Location, error) {
	if a.Locations == nil {
		return nil, errors.New("locations is missing or null")
	}
	locations := make([]connectors.Location, 0, len(a.Locations))
	for i, l := range a.Locations {
		var r row
		r.name("id", l.ID)
		if r.err != nil {
			return nil, fmt.Errorf("location %d: %w", i+1, r.err)
		}
		locations = append(locations, connectors.Location{ID: l.ID, Name: l.Name})
	}
	return locations, nil
}

// Items implements connectors.SystemOfRecord.
func (w *warehouse) Items(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Item], error) {
	const op = "list items"
	var at trail
	if err := parseCursor(from, &at); err != nil {
		return connectors.Page[connectors.Item]{}, w.rejected(op, err)
	}
	query := url.Values{}
	if at.Token != "" {
		query.Set("cursor", at.Token)
	}
	var answer ItemsPage
	if err := w.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/items", Query: query}, &answer); err != nil {
		return connectors.Page[connectors.Item]{}, err
	}
	page, err := itemsPage(answer, at)
	if err != nil {
		return connectors.Page[connectors.Item]{}, w.rejected(op, err)
	}
	return page, nil
}

func itemsPage(a ItemsPage, at trail) (connectors.Page[connectors.Item], error) {
	var none connectors.Page[connectors.Item]
	if a.Items == nil {
		return none, errors.New("items is missing or null")
	}
	to, err := at.on(a.Next)
	if err != nil {
		return none, err
	}
	page := connectors.Page[connectors.Item]{Rows: make([]connectors.Item, 0, len(a.Items))}
	if page.Next, err = to.cursor(); err != nil {
		return none, err
	}
	for i, it := range a.Items {
		var r row
		r.name("sku", it.SKU)
		if r.err != nil {
			return none, fmt.Errorf("item %d: %w", i+1, r.err)
		}
		page.Rows = append(page.Rows, connectors.Item{SKU: it.SKU, GTIN: it.GTIN, Name: it.Name, Kind: it.Kind, Category: it.Category})
	}
	return page, nil
}

// levelsCursor is a place in an enumeration of levels: what its first page said holds for all of it.
type levelsCursor struct {
	Trail    trail          `json:"trail"`
	Position stock.Position `json:"position"`
	Count    int            `json:"count"`
	// Rows is how many rows the pages so far had.
	Rows int `json:"rows"`
}

// Levels implements connectors.SystemOfRecord. Position.SeenAt is the instant before the first page was asked for. Pages
// of two positions, and more rows than count, are Rejected: the second also ends a list that would never end.
func (w *warehouse) Levels(ctx context.Context, from connectors.Cursor) (connectors.LevelPage, error) {
	const op = "list levels"
	var at levelsCursor
	if err := parseCursor(from, &at); err != nil {
		return connectors.LevelPage{}, w.rejected(op, err)
	}
	began := time.Now().UTC()
	var answer LevelsPage
	if err := w.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/levels", Query: pageQuery(at.Trail.Token)}, &answer); err != nil {
		return connectors.LevelPage{}, err
	}
	page, err := levelsPage(answer, at, began)
	if err != nil {
		return connectors.LevelPage{}, w.rejected(op, err)
	}
	return page, nil
}

func levelsPage(a LevelsPage, at levelsCursor, began time.Time) (connectors.LevelPage, error) {
	if a.Levels == nil {
		return connectors.LevelPage{}, errors.New("levels is missing or null")
	}
	here, err := levelsHead(a, at, began)
	if err != nil {
		return connectors.LevelPage{}, err
	}
	if here.Trail, err = at.Trail.on(a.Next); err != nil {
		return connectors.LevelPage{}, err
	}
	page := connectors.LevelPage{Levels: make([]connectors.Statement, 0, len(a.Levels)), Position: here.Position, Count: here.Count}
	if here.Trail.Token != "" {
		if page.Next, err = makeCursor(here); err != nil {
			return connectors.LevelPage{}, err
		}
	}
	type key struct{ sku, location string }
	seen := make(map[key]bool, len(a.Levels))
	for i, l := range a.Levels {
		s, err := levelRow(l)
		if err == nil && seen[key{l.SKU, l.Location}] {
			err = errors.New("it stands twice on the page")
		}
		if err != nil {
			return connectors.LevelPage{}, fmt.Errorf("level %d (%s at %s): %w", i+1, l.SKU, l.Location, err)
		}
		seen[key{l.SKU, l.Location}] = true
		page.Levels = append(page.Levels, *s)
	}
	return page, nil
}

// levelsHead reads what a page says of the whole enumeration. Of a later page it may be left out.
func levelsHead(a LevelsPage, at levelsCursor, began time.Time) (levelsCursor, error) {
	var r row
	told := r.position(a.Position, a.AsOf)
	here := levelsCursor{Position: told, Count: -1}
	here.Position.SeenAt = began
	if a.Count != nil {
		if here.Count = *a.Count; here.Count < 0 {
			r.wrong("count is %d: it must be 0 or more", here.Count)
		}
	}
	if at.Trail.Token != "" {
		here.Position, here.Count = at.Position, at.Count
		if told.Sequenced && told.Sequence != at.Position.Sequence {
			r.wrong("the page is of position %d and the first one of %d: the list changed while it was read; read it again", told.Sequence, at.Position.Sequence)
		}
		if !told.SourceAt.IsZero() && told.SourceAt.Before(at.Position.SourceAt) {
			r.wrong("the page is as of %s, which is before the first one's %s: it does not belong to the same list", told.SourceAt.Format(time.RFC3339Nano), at.Position.SourceAt.Format(time.RFC3339Nano))
		}
		if a.Count != nil && *a.Count != at.Count {
			r.wrong("count is %d here and %d on the first page", *a.Count, at.Count)
		}
	}
	here.Rows = at.Rows + len(a.Levels)
	if here.Count >= 0 && here.Rows > here.Count {
		r.wrong("there are more rows than the %d that count tells", here.Count)
	}
	return here, r.err
}

func levelRow(l Level) (*connectors.Statement, error) {
	var r row
	s := levelFact(&l, &r)
	if r.err != nil {
		return nil, r.err
	}
	return s, connectors.Fact{Kind: connectors.StockLevel, Statement: s}.Validate()
}

// movementsAnswer is a MovementsPage whose next may be a number, as positions are numbers.
type movementsAnswer struct {
	Facts []jsontext.Value `json:"facts"`
	Next  jsontext.Value   `json:"next"`
}

// Movements implements connectors.SystemOfRecord. Next, where there is more, is the position to ask after.
func (w *warehouse) Movements(ctx context.Context, after int64) (connectors.Page[connectors.Fact], error) {
	const op = "list movements"
	query := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(pageRows)}}
	var answer movementsAnswer
	if err := w.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/movements", Query: query}, &answer); err != nil {
		return connectors.Page[connectors.Fact]{}, err
	}
	page, err := movementsPage(answer, after)
	if err != nil {
		return connectors.Page[connectors.Fact]{}, w.rejected(op, err)
	}
	return page, nil
}

func movementsPage(a movementsAnswer, after int64) (connectors.Page[connectors.Fact], error) {
	var none connectors.Page[connectors.Fact]
	if a.Facts == nil {
		return none, errors.New("facts is missing or null")
	}
	page := connectors.Page[connectors.Fact]{Rows: make([]connectors.Fact, 0, len(a.Facts))}
	last := after
	for i, raw := range a.Facts {
		f, err := movementRow(raw, last)
		if err != nil {
			return none, fmt.Errorf("fact %d: %w", i+1, err)
		}
		last = f.Position.Sequence
		page.Rows = append(page.Rows, f)
	}
	more, err := moreMovements(a.Next, last, len(a.Facts) == 0)
	if err != nil {
		return none, err
	}
	if more > 0 {
		page.Next = connectors.Cursor(strconv.FormatInt(more, 10))
	}
	return page, nil
}

func movementRow(raw jsontext.Value, previous int64) (connectors.Fact, error) {
	var m Movement
	if err := json.Unmarshal(raw, &m); err != nil {
		return connectors.Fact{}, rest.ExplainJSON(err)
	}
	var r row
	position := r.number("position", m.Position)
	if r.err != nil {
		return connectors.Fact{}, r.err
	}
	if position <= previous {
		return connectors.Fact{}, fmt.Errorf("position %d does not follow %d", position, previous)
	}
	f, err := decodeFact(connectors.SystemOfRecordRole, connectors.Kind(m.Type), raw, time.Time{})
	if err != nil {
		return connectors.Fact{}, fmt.Errorf("position %d, %s: %w", position, m.Type, err)
	}
	return f, nil
}

// moreMovements is the position to ask after next, 0 at the end: that of the last fact. Only a page without facts needs
// what next says, and there it must lead on, or the list would never end.
func moreMovements(next jsontext.Value, last int64, empty bool) (int64, error) {
	text := string(next)
	switch next.Kind() {
	case 0, 'n':
		return 0, nil
	case '"':
		var err error
		if text, err = unquote(next); err != nil || text == "" {
			return 0, err
		}
	}
	if !empty {
		return last, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("next is %.40q on a page without facts, and that is not a position", text)
	case n <= last:
		return 0, fmt.Errorf("next is %d on a page without facts, which does not lead past %d: the list would never end", n, last)
	}
	return n, nil
}

func unquote(v jsontext.Value) (string, error) {
	text, err := jsontext.AppendUnquote(nil, v)
	return string(text), err
}

// CreateOrder implements connectors.SystemOfRecord. The key makes it safe to repeat.
func (w *warehouse) CreateOrder(ctx context.Context, o connectors.NewOrder) (string, error) {
	const op = "create order"
	body := NewOrder{
		Key: o.Key, Channel: string(o.Channel), OrderID: o.OrderID, PlacedAt: o.PlacedAt.UTC(), Lines: orderLines(o.Lines),
	}
	if o.Buyer != nil {
		body.Buyer = &Buyer{Ref: o.Buyer.Ref, Contact: o.Buyer.Contact}
	}
	var answer OrderNumber
	call := rest.Call{Op: op, Method: http.MethodPost, Path: "/orders", Body: body, Write: true, Idempotent: true}
	if err := w.do(ctx, call, &answer); err != nil {
		return "", err
	}
	if answer.Number == "" {
		return "", &connectors.Error{Kind: connectors.Uncertain, Op: op, Err: errors.New("the answer has no number")}
	}
	return answer.Number, nil
}

func orderLines(lines []connectors.OrderLine) []NewOrderLine {
	out := make([]NewOrderLine, 0, len(lines))
	for _, l := range lines {
		out = append(out, NewOrderLine{LineID: l.LineID, SKU: string(l.SKU), Quantity: int64(l.Quantity)})
	}
	return out
}

// CancelOrder implements connectors.SystemOfRecord. Running totals make it safe to repeat.
func (w *warehouse) CancelOrder(ctx context.Context, key string, lines []connectors.CancelLine) error {
	const op = "cancel order"
	var body Cancellation
	for _, l := range lines {
		body.Lines = append(body.Lines, CancelLine{LineID: l.LineID, Cancelled: int64(l.Cancelled)})
	}
	return w.change(ctx, op, "/orders/"+segment(key)+"/cancel", body)
}

// AmendOrder implements connectors.OrderAmender. It tells quantities as they stand, so that it is safe to repeat.
func (w *warehouse) AmendOrder(ctx context.Context, a connectors.Amendment) error {
	const op = "amend order"
	can, err := w.Capabilities(ctx)
	if err != nil {
		return err
	}
	if !can.AmendOrders {
		return connectors.Rejectedf(op, "", "the system does not say order_amend in its capabilities; nothing was sent")
	}
	err = w.change(ctx, op, "/orders/"+segment(a.Key)+"/amend", Amendment{Version: a.Version, Lines: orderLines(a.Lines)})
	w.can.forgetIf(err)
	return err
}

// CorrectStock implements connectors.StockCorrector. The key makes it safe to repeat.
func (w *warehouse) CorrectStock(ctx context.Context, c connectors.StockCorrection) (stock.Position, error) {
	const op = "correct stock"
	can, err := w.Capabilities(ctx)
	if err != nil {
		return stock.Position{}, err
	}
	if !can.CorrectStock {
		return stock.Position{}, connectors.Rejectedf(op, "", "the system does not say corrections in its capabilities; nothing was sent")
	}
	body := Correction{Key: c.Key, SKU: string(c.SKU), Location: string(c.Location), Delta: int64(c.Delta), Counted: int64(c.Counted), AsOf: c.AsOf.UTC(),
		Reason: c.Reason, Note: c.Note}
	var answer CorrectionAnswer
	err = w.do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: "/corrections", Body: body, Write: true, Idempotent: true}, &answer)
	w.can.forgetIf(err)
	if err == nil {
		err = statusError(op, w.redact(answer.Status))
	}
	if err != nil {
		return stock.Position{}, err
	}
	position := stock.Position{SeenAt: time.Now().UTC()}
	if answer.Position != nil {
		position.Sequenced, position.Sequence = true, *answer.Position
	}
	return position, nil
}

func (w *warehouse) change(ctx context.Context, op, path string, body any) error {
	if w.client == nil {
		return w.do(ctx, rest.Call{Op: op}, nil)
	}
	var answer Status
	if err := w.do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: path, Body: body, Write: true, Idempotent: true}, &answer); err != nil {
		return err
	}
	return statusError(op, w.redact(answer.Status))
}

// OrderStanding implements connectors.OrderTeller.
func (w *warehouse) OrderStanding(ctx context.Context, key string) (connectors.Standing, error) {
	const op = "ask for an order"
	can, err := w.Capabilities(ctx)
	if err != nil {
		return connectors.Standing{}, err
	}
	if !can.OrderStatus {
		return connectors.Standing{}, connectors.Rejectedf(op, "", "the system does not say order_status in its capabilities; nothing was asked")
	}
	var answer OrderStanding
	err = w.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/orders/" + segment(key)}, &answer)
	w.can.forgetIf(err)
	if err != nil {
		return connectors.Standing{}, err
	}
	standing, err := orderStanding(answer, key, can.Basis)
	if err != nil {
		return connectors.Standing{}, w.rejected(op, err)
	}
	return standing, nil
}

// orderStanding reads an answer. Where levels mean available, what is set aside is part of what they lack, and must be
// told.
func orderStanding(a OrderStanding, key string, basis stock.Basis) (connectors.Standing, error) {
	s := connectors.Standing{OrderKey: key}
	var head row
	if a.Key != key {
		head.wrong("the answer is about the order %.40q", a.Key)
	}
	if a.Lines == nil {
		head.wrong("lines is missing or null")
	}
	s.AsOf = head.position(nil, a.AsOf).SourceAt
	if head.err != nil {
		return connectors.Standing{}, head.err
	}
	for i, l := range a.Lines {
		r := row{line: i + 1}
		line := connectors.StandingLine{LineID: l.LineID, Cancelled: r.quantity("cancelled", l.Cancelled), Rejected: r.quantity("rejected", l.Rejected), Restocked: r.optional("restocked", l.Restocked)}
		if l.Locations == nil {
			r.wrong("locations is missing or null")
		}
		for _, p := range l.Locations {
			if basis == stock.AvailableBasis && p.Allocated == nil {
				r.wrong("allocated is missing or null at location %q, and levels mean available", p.Location)
			}
			line.Places = append(line.Places, connectors.StandingPlace{Location: p.Location, Shipped: r.quantity("shipped", p.Shipped), Allocated: r.optional("allocated", p.Allocated)})
		}
		if r.err != nil {
			return connectors.Standing{}, r.err
		}
		s.Lines = append(s.Lines, line)
	}
	return s, s.Validate()
}
