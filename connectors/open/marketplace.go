package open

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

const (
	// pageRows is how many rows of a list are asked for at once.
	pageRows = 1000
	// maxBatch is the largest batch_size that is believed.
	maxBatch = 10_000
	// maxWait is the longest lag or wait that is believed.
	maxWait = 24 * time.Hour
	// maxHorizon is the longest time that a sender is believed to go on trying.
	maxHorizon = 30 * 24 * time.Hour
)

// shop is a marketplace that speaks the open protocol.
type shop struct {
	*connection
	can   remembered[connectors.MarketplaceCapabilities]
	hooks webhooks
}

// Check implements connectors.Connection.
func (s *shop) Check(ctx context.Context) error {
	if err := s.ready(ctx, "check the marketplace"); err != nil || s.client == nil {
		return err
	}
	_, err := s.askCapabilities(ctx)
	return err
}

// Capabilities implements connectors.Marketplace.
func (s *shop) Capabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	return s.can.get(func() (connectors.MarketplaceCapabilities, error) { return s.askCapabilities(ctx) })
}

// Account implements connectors.AccountTeller.
func (s *shop) Account(ctx context.Context) (string, error) {
	can, err := s.askCapabilities(ctx)
	return can.Account, err
}

func (s *shop) askCapabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	const op = "read capabilities"
	var answer MarketplaceCapabilities
	if err := s.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/capabilities"}, &answer); err != nil {
		return connectors.MarketplaceCapabilities{}, err
	}
	can, err := marketplaceCapabilities(answer)
	if err != nil {
		return connectors.MarketplaceCapabilities{}, s.rejected(op, err)
	}
	return can, nil
}

func marketplaceCapabilities(a MarketplaceCapabilities) (connectors.MarketplaceCapabilities, error) {
	switch {
	case a.BatchSize < 1 || a.BatchSize > maxBatch:
		return connectors.MarketplaceCapabilities{}, fmt.Errorf("batch_size is %d: it must be from 1 to %d", a.BatchSize, maxBatch)
	case a.ReadLagMS < 0 || a.ReadLagMS > maxWait.Milliseconds():
		return connectors.MarketplaceCapabilities{}, fmt.Errorf("read_lag_ms is %d: it must be from 0 to %d", a.ReadLagMS, maxWait.Milliseconds())
	case a.RetryHorizonMS < 0 || a.RetryHorizonMS > maxHorizon.Milliseconds():
		return connectors.MarketplaceCapabilities{}, fmt.Errorf("retry_horizon_ms is %d: it must be from 0 to %d", a.RetryHorizonMS, maxHorizon.Milliseconds())
	case a.OrderOverlapMS < 0 || a.OrderOverlapMS > maxWait.Milliseconds():
		return connectors.MarketplaceCapabilities{}, fmt.Errorf("order_overlap_ms is %d: it must be from 0 to %d", a.OrderOverlapMS, maxWait.Milliseconds())
	case a.MaxQuantity < 0:
		return connectors.MarketplaceCapabilities{}, fmt.Errorf("max_quantity is %d: it must be 0, for no limit, or more", a.MaxQuantity)
	}
	class, gross, err := classOf(a)
	if err != nil {
		return connectors.MarketplaceCapabilities{}, err
	}
	return connectors.MarketplaceCapabilities{
		Class:           class,
		Account:         a.ShopID,
		BatchSize:       a.BatchSize,
		ReadLag:         time.Duration(a.ReadLagMS) * time.Millisecond,
		MaxQuantity:     min(stock.Quantity(a.MaxQuantity), stock.MaxQuantity),
		ShowsGross:      gross,
		IdempotentWrite: a.IdempotentWrite,
		StopSale:        a.StopSale,
		Shipments:       a.Shipments,
		Remedies:        a.Remedies,
		Unlimited:       a.Unlimited,
		PerPlace:        a.PerPlace,
		Subscriptions:   a.Subscriptions,
		RetryHorizon:    time.Duration(a.RetryHorizonMS) * time.Millisecond,
		OrderOverlap:    time.Duration(a.OrderOverlapMS) * time.Millisecond,
	}, nil
}

// classOf tells how a write stands against sales that we have not seen. A conditional write is safe whatever its
// number means, and so is a change that is done once. Behind a gross number the marketplace takes its own open orders
// away by itself, whenever they came, so an unseen order is not sold again. An available or an on-hand number replaces
// what is there, unseen orders included, and so does one from which the marketplace takes the orders since the write.
// On hand and gross both contain the marketplace's open orders.
func classOf(a MarketplaceCapabilities) (class connectors.Class, gross bool, err error) {
	switch a.QuantityMeans {
	case "available":
		class = connectors.Overwrite
	case "on_hand":
		class, gross = connectors.Overwrite, true
	case "gross":
		class, gross = connectors.DeductsOpenOrders, true
	default:
		return "", false, fmt.Errorf("quantity_means is %q: a marketplace says available, on_hand or gross", a.QuantityMeans)
	}
	switch {
	case a.DeltaWrite && !a.IdempotentWrite:
		return "", false, errors.New("delta_write is true and idempotent_write is not: a change that can be done twice is never sent")
	case a.DeductsSinceWrite && a.QuantityMeans != "available":
		return "", false, fmt.Errorf("deducts_since_write goes with a quantity that means available, not %s", a.QuantityMeans)
	case a.ConditionalWrite:
		class = connectors.CompareAndSet
	case a.DeltaWrite:
		class = connectors.IdempotentDelta
	case a.AsynchronousWrite:
		class = connectors.AsynchronousFeed
	case a.DeductsSinceWrite:
		class = connectors.DeductsSinceUpdate
	}
	return class, gross, nil
}

// Listings implements connectors.Marketplace.
func (s *shop) Listings(ctx context.Context, from connectors.Cursor) (connectors.Page[connectors.Listing], error) {
	const op = "list listings"
	var at trail
	if err := parseCursor(from, &at); err != nil {
		return connectors.Page[connectors.Listing]{}, s.rejected(op, err)
	}
	var answer ListingsPage
	call := rest.Call{Op: op, Method: http.MethodGet, Path: "/listings", Query: pageQuery(at.Token)}
	if err := s.do(ctx, call, &answer); err != nil {
		return connectors.Page[connectors.Listing]{}, err
	}
	page, err := listingsPage(answer, at)
	if err != nil {
		return connectors.Page[connectors.Listing]{}, s.rejected(op, err)
	}
	return page, nil
}

func pageQuery(cursor string) url.Values {
	q := url.Values{"limit": {strconv.Itoa(pageRows)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return q
}

func listingsPage(a ListingsPage, at trail) (connectors.Page[connectors.Listing], error) {
	var none connectors.Page[connectors.Listing]
	if a.Listings == nil {
		return none, errors.New("listings is missing or null")
	}
	to, err := at.on(a.Next)
	if err != nil {
		return none, err
	}
	page := connectors.Page[connectors.Listing]{Rows: make([]connectors.Listing, 0, len(a.Listings))}
	if page.Next, err = to.cursor(); err != nil {
		return none, err
	}
	seen := make(map[connectors.Ref]bool, len(a.Listings))
	for i, l := range a.Listings {
		row, err := listingRow(l)
		if err == nil && seen[row.Ref] {
			err = errors.New("it stands twice on the page")
		}
		if err != nil {
			return none, fmt.Errorf("listing %d (%s): %w", i+1, connectors.Ref{Item: l.Item, Place: l.Place}, err)
		}
		seen[row.Ref] = true
		page.Rows = append(page.Rows, row)
	}
	return page, nil
}

func listingRow(l Listing) (connectors.Listing, error) {
	var r row
	r.name("item", l.Item)
	r.optionalName("place", l.Place)
	r.optionalName("sku", l.SKU)
	status := connectors.ListingStatus(l.Status)
	switch status {
	case connectors.StatusActive, connectors.StatusStopped, connectors.StatusRemoved:
	default:
		r.wrong("status %q is not active, stopped or removed", l.Status)
	}
	return connectors.Listing{
		Ref:       connectors.Ref{Item: l.Item, Place: l.Place},
		SKU:       l.SKU,
		GTIN:      l.GTIN,
		Title:     l.Title,
		Quantity:  r.shown(l.Quantity, l.Unlimited),
		Unlimited: l.Unlimited,
		Status:    status,
		UpdatedAt: r.instant("updated_at", l.UpdatedAt),
	}, r.err
}

// shown reads the quantity that a listing shows; without a limit there need not be one.
func (r *row) shown(v *int64, unlimited bool) stock.Quantity {
	if v == nil && unlimited {
		return 0
	}
	return r.quantity("quantity", v)
}

func (r *row) name(field, v string) {
	if v == "" {
		r.wrong("%s is missing or empty", field)
	}
	r.optionalName(field, v)
}

// maxIdentity bounds identifiers, in bytes: they are keys in the database.
const maxIdentity = 256

func (r *row) optionalName(field, v string) {
	if len(v) > maxIdentity {
		r.wrong("%s has %d bytes; at most %d are taken", field, len(v), maxIdentity)
	}
}

// ReadStock implements connectors.Marketplace.
func (s *shop) ReadStock(ctx context.Context, refs []connectors.Ref) ([]connectors.Reading, error) {
	const op = "read stock"
	if len(refs) == 0 {
		return nil, nil
	}
	if err := s.fits(ctx, op, len(refs)); err != nil {
		return nil, err
	}
	request := ReadRequest{Refs: make([]Ref, 0, len(refs))}
	for _, ref := range refs {
		request.Refs = append(request.Refs, Ref{Item: ref.Item, Place: ref.Place})
	}
	began := time.Now().UTC()
	var answer ReadAnswer
	if err := s.do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: "/stock/read", Body: request}, &answer); err != nil {
		s.can.forgetIf(err)
		return nil, err
	}
	readings, err := readingsOf(answer, refs, began)
	if err != nil {
		return nil, s.rejected(op, err)
	}
	return readings, nil
}

// fits refuses a batch above the marketplace's limit, before anything is sent.
func (s *shop) fits(ctx context.Context, op string, rows int) error {
	can, err := s.Capabilities(ctx)
	if err != nil {
		return err
	}
	if rows > can.BatchSize {
		return connectors.Rejectedf(op, "", "%d rows in one call, and the marketplace takes %d; nothing was sent", rows, can.BatchSize)
	}
	return nil
}

// readingsOf keeps what was asked, in the order in which it was asked.
func readingsOf(a ReadAnswer, refs []connectors.Ref, began time.Time) ([]connectors.Reading, error) {
	if a.Readings == nil {
		return nil, errors.New("readings is missing or null")
	}
	asked := make(map[connectors.Ref]*connectors.Reading, len(refs))
	for _, ref := range refs {
		asked[ref] = nil
	}
	for i, w := range a.Readings {
		ref := connectors.Ref{Item: w.Item, Place: w.Place}
		held, wanted := asked[ref]
		if !wanted {
			continue
		}
		var r row
		reading := connectors.Reading{
			Ref: ref, Quantity: r.shown(w.Quantity, w.Unlimited), Unlimited: w.Unlimited, At: firstTime(r.instant("as_of", w.AsOf), began),
		}
		if held != nil {
			r.wrong("it stands twice in the answer")
		}
		if r.err != nil {
			return nil, fmt.Errorf("reading %d (%s): %w", i+1, ref, r.err)
		}
		asked[ref] = &reading
	}
	readings := make([]connectors.Reading, 0, len(refs))
	for _, ref := range refs {
		if reading := asked[ref]; reading != nil {
			readings = append(readings, *reading)
			asked[ref] = nil
		}
	}
	return readings, nil
}

// WriteStock implements connectors.Marketplace. A write that cannot be meant, such as a negative quantity, is Rejected
// by itself and not sent.
func (s *shop) WriteStock(ctx context.Context, writes []connectors.Write) ([]connectors.Result, error) {
	const op = "write stock"
	if len(writes) == 0 {
		return nil, nil
	}
	if err := s.fits(ctx, op, len(writes)); err != nil {
		return nil, err
	}
	request, refused := writeRequest(writes)
	var answer WriteAnswer
	if len(request.Writes) > 0 {
		can, err := s.Capabilities(ctx)
		if err != nil {
			return nil, err
		}
		call := rest.Call{Op: op, Method: http.MethodPost, Path: "/stock/write", Body: request, Write: true, Idempotent: can.IdempotentWrite}
		if err := s.do(ctx, call, &answer); err != nil {
			s.can.forgetIf(err)
			return nil, err
		}
	}
	return s.writeResults(writes, refused, answer, time.Now().UTC()), nil
}

// writeRequest leaves out the writes that are refused, by their place in writes.
func writeRequest(writes []connectors.Write) (WriteRequest, map[int]error) {
	request := WriteRequest{Writes: make([]Write, 0, len(writes))}
	refused := map[int]error{}
	ids := make(map[string]bool, len(writes))
	for i, w := range writes {
		var r row
		r.name("id", w.ID)
		r.name("item", w.Ref.Item)
		if w.Quantity < 0 || w.Quantity > stock.MaxQuantity {
			r.wrong("quantity is %d: it must be from 0 to %d", w.Quantity, stock.MaxQuantity)
		}
		if ids[w.ID] {
			r.wrong("the id %q stands twice in the batch", w.ID)
		}
		if r.err != nil {
			refused[i] = r.err
			continue
		}
		ids[w.ID] = true
		request.Writes = append(request.Writes, Write{
			ID: w.ID, Item: w.Ref.Item, Place: w.Ref.Place, Quantity: int64(w.Quantity), Expect: (*int64)(w.Expect), Delta: (*int64)(w.Delta), Unlimited: w.Unlimited,
		})
	}
	return request, refused
}

// writeResults finds the result of each write by its id, whatever the order; results of other ids are ignored.
func (s *shop) writeResults(writes []connectors.Write, refused map[int]error, a WriteAnswer, now time.Time) []connectors.Result {
	byID := make(map[string][]WriteResult, len(a.Results))
	for _, r := range a.Results {
		byID[r.ID] = append(byID[r.ID], r)
	}
	results := make([]connectors.Result, 0, len(writes))
	for i, w := range writes {
		if err, ok := refused[i]; ok {
			results = append(results, failed(w.Ref, connectors.Rejected, "write stock", "", err))
			continue
		}
		results = append(results, s.writeResult(w, byID[w.ID], now))
	}
	return results
}

func (s *shop) writeResult(w connectors.Write, told []WriteResult, now time.Time) connectors.Result {
	const op = "write stock"
	if len(told) != 1 {
		return failed(w.Ref, connectors.Uncertain, op, "", fmt.Errorf("the answer has %d results for %s, not one", len(told), w.ID))
	}
	r := told[0]
	result := s.lineResult(op, w.Ref, lineAnswer{r.Status, r.Code, r.Message, r.RetryAfterMS}, now)
	if r.Quantity == nil || result.Outcome == connectors.Failed {
		return result
	}
	q := stock.Quantity(*r.Quantity)
	if q < -stock.MaxQuantity || q > stock.MaxQuantity {
		return failed(w.Ref, connectors.Uncertain, op, "", fmt.Errorf("the answer's quantity is %d", q))
	}
	result.Quantity = &q
	return result
}

// lineAnswer is what the marketplace says of one line of a batch.
type lineAnswer struct {
	status, code, message string
	retryAfterMS          int64
}

func (s *shop) lineResult(op string, ref connectors.Ref, a lineAnswer, now time.Time) connectors.Result {
	code := s.redact(a.code)
	reason := errors.New(cmp.Or(s.redact(a.message), "the marketplace gives no reason"))
	switch a.status {
	case "ok":
		return connectors.Result{Ref: ref, Outcome: connectors.Written}
	case "accepted":
		return connectors.Result{Ref: ref, Outcome: connectors.Accepted}
	case "stale":
		return connectors.Result{Ref: ref, Outcome: connectors.Stale}
	case "rejected":
		return failed(ref, connectors.Rejected, op, code, reason)
	case "not_found":
		return failed(ref, connectors.Unmapped, op, code, reason)
	case "throttled":
		wait := min(time.Duration(max(0, min(a.retryAfterMS, maxWait.Milliseconds())))*time.Millisecond, maxWait)
		e := &connectors.Error{Kind: connectors.Throttled, Op: op, Code: code, Err: reason}
		if wait > 0 {
			e.RetryAt = now.Add(wait)
		}
		return connectors.Result{Ref: ref, Outcome: connectors.Failed, Err: e}
	default:
		return failed(ref, connectors.Uncertain, op, code, fmt.Errorf("the status %q is not known", s.redact(a.status)))
	}
}

func failed(ref connectors.Ref, kind connectors.ErrorKind, op, code string, reason error) connectors.Result {
	return connectors.Result{Ref: ref, Outcome: connectors.Failed, Err: &connectors.Error{Kind: kind, Op: op, Code: code, Err: reason}}
}

// ordersCursor is a place in an enumeration of orders. The watermark of the first page holds for all of it: later pages
// may name a later instant, at which the first ones had been read already.
type ordersCursor struct {
	Trail     trail     `json:"trail"`
	Watermark time.Time `json:"watermark"`
}

// Orders implements connectors.Marketplace.
func (s *shop) Orders(ctx context.Context, since time.Time, from connectors.Cursor) (connectors.OrderPage, error) {
	const op = "list orders"
	var at ordersCursor
	if err := parseCursor(from, &at); err != nil {
		return connectors.OrderPage{}, s.rejected(op, err)
	}
	query := url.Values{}
	if !since.IsZero() {
		// The protocol's instants are milliseconds; a finer one would pass over what changed in the same millisecond.
		query.Set("updated_since", since.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano))
	}
	if at.Trail.Token != "" {
		query.Set("cursor", at.Trail.Token)
	}
	var answer OrdersPage
	if err := s.do(ctx, rest.Call{Op: op, Method: http.MethodGet, Path: "/orders", Query: query}, &answer); err != nil {
		return connectors.OrderPage{}, err
	}
	page, err := ordersPage(answer, at)
	if err != nil {
		return connectors.OrderPage{}, s.rejected(op, err)
	}
	return page, nil
}

func ordersPage(a OrdersPage, at ordersCursor) (connectors.OrderPage, error) {
	if a.Orders == nil {
		return connectors.OrderPage{}, errors.New("orders is missing or null")
	}
	var r row
	told := r.instant("watermark", a.Watermark)
	watermark := firstTime(at.Watermark, told)
	if watermark.IsZero() {
		r.wrong("watermark is missing or null")
	}
	if r.err != nil {
		return connectors.OrderPage{}, r.err
	}
	next, err := at.Trail.on(a.Next)
	if err != nil {
		return connectors.OrderPage{}, err
	}
	page := connectors.OrderPage{Orders: make([]connectors.Order, 0, len(a.Orders)), Watermark: watermark}
	if next.Token != "" {
		if page.Next, err = makeCursor(ordersCursor{Trail: next, Watermark: watermark}); err != nil {
			return connectors.OrderPage{}, err
		}
	}
	for i, o := range a.Orders {
		order, err := orderRow(o)
		if err != nil {
			return connectors.OrderPage{}, fmt.Errorf("order %d (%s): %w", i+1, o.OrderID, err)
		}
		page.Orders = append(page.Orders, *order)
	}
	return page, nil
}

func orderRow(o Order) (*connectors.Order, error) {
	var r row
	order, position := orderFact(&o, &r, time.Time{})
	if r.err != nil {
		return nil, r.err
	}
	return order, connectors.Fact{Kind: connectors.OrderUpserted, Order: order, Position: position}.Validate()
}

// parseCursor reads a cursor that makeCursor made; the empty cursor is the beginning.
func parseCursor(c connectors.Cursor, into any) error {
	if c == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(c), into); err != nil {
		return errors.New("the cursor is not one that this connection gave; begin again without one")
	}
	return nil
}

func makeCursor(state any) (connectors.Cursor, error) {
	text, err := json.Marshal(state)
	return connectors.Cursor(text), err
}

// WriteShipment implements connectors.ShipmentWriter. The key makes it safe to repeat.
func (s *shop) WriteShipment(ctx context.Context, n connectors.ShipmentNotice) error {
	const op = "write shipment"
	if err := s.claims(ctx, op, "shipments", func(c connectors.MarketplaceCapabilities) bool { return c.Shipments }); err != nil {
		return err
	}
	body := ShipmentNotice{Key: n.Key, OrderID: n.OrderID, Lines: make([]ShippedPacks, 0, len(n.Lines)), Carrier: n.Carrier, Tracking: n.Tracking}
	for _, l := range n.Lines {
		body.Lines = append(body.Lines, ShippedPacks{LineID: l.LineID, Quantity: int64(l.Quantity)})
	}
	call := rest.Call{Op: op, Method: http.MethodPost, Path: "/shipments", Body: body, Write: true, Idempotent: true}
	var answer Status
	if err := s.do(ctx, call, &answer); err != nil {
		s.can.forgetIf(err)
		return err
	}
	return statusError(op, s.redact(answer.Status))
}

// WriteRemedy implements connectors.RemedyWriter. The key makes it safe to repeat.
func (s *shop) WriteRemedy(ctx context.Context, n connectors.RemedyNotice) error {
	const op = "write remedy"
	if err := s.claims(ctx, op, "remedies", func(c connectors.MarketplaceCapabilities) bool { return c.Remedies }); err != nil {
		return err
	}
	body := Remedy{Key: n.Key, OrderID: n.OrderID, Kind: string(n.Kind), Lines: make([]RemedyLine, 0, len(n.Lines)), Substitute: string(n.Substitute),
		ReadyAt: n.ReadyAt, Compensation: n.Compensation, Message: n.Message}
	for _, l := range n.Lines {
		body.Lines = append(body.Lines, RemedyLine{LineID: l.LineID, Quantity: int64(l.Quantity)})
	}
	call := rest.Call{Op: op, Method: http.MethodPost, Path: "/remedies", Body: body, Write: true, Idempotent: true}
	var answer Status
	if err := s.do(ctx, call, &answer); err != nil {
		s.can.forgetIf(err)
		return err
	}
	return statusError(op, s.redact(answer.Status))
}

// statusError reads the answer of a call that changes something and has no more to tell. The HTTP status said that it
// was done; only the word rejected takes that back.
func statusError(op, status string) error {
	switch status {
	case "":
		return &connectors.Error{Kind: connectors.Uncertain, Op: op, Err: errors.New("the answer has no status")}
	case "rejected":
		return connectors.Rejectedf(op, "", "the system answered with the status %q", status)
	default:
		return nil
	}
}

// claims refuses what the marketplace does not say that it can do, before anything is sent.
func (s *shop) claims(ctx context.Context, op, member string, has func(connectors.MarketplaceCapabilities) bool) error {
	can, err := s.Capabilities(ctx)
	if err != nil {
		return err
	}
	if !has(can) {
		return connectors.Rejectedf(op, "", "the marketplace says in its capabilities that %s is false; nothing was sent", member)
	}
	return nil
}

// StopSale implements connectors.SaleStopper. A stop is of the whole item, at all of its places.
func (s *shop) StopSale(ctx context.Context, refs []connectors.Ref) ([]connectors.Result, error) {
	return s.switchSale(ctx, "stop sale", "/listings/stop", refs)
}

// ResumeSale implements connectors.SaleStopper.
func (s *shop) ResumeSale(ctx context.Context, refs []connectors.Ref) ([]connectors.Result, error) {
	return s.switchSale(ctx, "resume sale", "/listings/resume", refs)
}

func (s *shop) switchSale(ctx context.Context, op, path string, refs []connectors.Ref) ([]connectors.Result, error) {
	if err := s.claims(ctx, op, "stop_sale", func(c connectors.MarketplaceCapabilities) bool { return c.StopSale }); err != nil {
		return nil, err
	}
	if len(refs) == 0 {
		return nil, nil
	}
	if err := s.fits(ctx, op, len(refs)); err != nil {
		return nil, err
	}
	var request StopRequest
	byItem := make(map[string][]StopResult, len(refs))
	for _, ref := range refs {
		if _, ok := byItem[ref.Item]; !ok {
			byItem[ref.Item] = nil
			request.Items = append(request.Items, ref.Item)
		}
	}
	var answer StopAnswer
	// Stopped stays stopped: the call states a condition, so that a repeat changes nothing.
	call := rest.Call{Op: op, Method: http.MethodPost, Path: path, Body: request, Write: true, Idempotent: true}
	if err := s.do(ctx, call, &answer); err != nil {
		s.can.forgetIf(err)
		return nil, err
	}
	for _, r := range answer.Results {
		byItem[r.Item] = append(byItem[r.Item], r)
	}
	now := time.Now().UTC()
	results := make([]connectors.Result, 0, len(refs))
	for _, ref := range refs {
		told := byItem[ref.Item]
		if len(told) != 1 {
			results = append(results, failed(ref, connectors.Uncertain, op, "", fmt.Errorf("the answer has %d results for %s, not one", len(told), ref.Item)))
			continue
		}
		results = append(results, s.lineResult(op, ref, lineAnswer{status: told[0].Status, code: told[0].Code, message: told[0].Message}, now))
	}
	return results, nil
}
