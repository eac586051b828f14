package declared

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// marketplace is a declared marketplace.
type marketplace struct{ *connection }

// hearingMarketplace is a marketplace that sends webhooks.
type hearingMarketplace struct {
	*marketplace
	*receiver
}

var (
	_ connectors.Marketplace     = (*marketplace)(nil)
	_ connectors.ShipmentWriter  = (*marketplace)(nil)
	_ connectors.WebhookReceiver = (*hearingMarketplace)(nil)
)

func openMarketplace(c *connection, hooks *receiver) connectors.Connection {
	m := &marketplace{c}
	if hooks == nil {
		return m
	}
	return &hearingMarketplace{m, hooks}
}

// Check implements connectors.Connection: the operation check, or the first page of the listings.
func (m *marketplace) Check(ctx context.Context) error {
	return m.check(ctx, m.file.Operations.Listings)
}

// Capabilities implements connectors.Marketplace: what the file declares.
func (m *marketplace) Capabilities(ctx context.Context) (connectors.MarketplaceCapabilities, error) {
	f := m.file
	return connectors.MarketplaceCapabilities{
		Class: f.Class, BatchSize: f.Batch, ReadLag: time.Duration(f.ReadLag), MaxQuantity: stock.Quantity(f.MaxQuantity), ShowsGross: f.ShowsGross,
		IdempotentWrite: f.Operations.WriteStock.Idempotent, Shipments: f.Operations.WriteShipment.works(),
		RetryHorizon: time.Duration(f.RetryHorizon), OrderOverlap: time.Duration(f.OrderOverlap),
	}, ctx.Err()
}

// Listings implements connectors.Marketplace.
func (m *marketplace) Listings(ctx context.Context, _ connectors.Cursor) (connectors.Page[connectors.Listing], error) {
	const what = "list listings"
	var page connectors.Page[connectors.Listing]
	o := m.file.Operations.Listings
	if !o.works() {
		return page, o.refused(what)
	}
	seen := map[connectors.Ref]int{}
	err := m.list(ctx, o, what, nil, func(rows []any, _ answer) error {
		taken, err := takeRows(rows, (*listingRow).check)
		for _, r := range taken {
			l := connectors.Listing{Ref: connectors.Ref{Item: r.Item, Place: r.Place}, SKU: r.SKU, GTIN: r.GTIN, Title: r.Title, Quantity: r.Quantity, Status: r.Status}
			if r.UpdatedAt != 0 {
				l.UpdatedAt = time.Unix(r.UpdatedAt, 0).UTC()
			}
			if at, known := seen[l.Ref]; known {
				page.Rows[at] = l
				continue
			}
			seen[l.Ref] = len(page.Rows)
			page.Rows = append(page.Rows, l)
		}
		return err
	})
	if err != nil {
		return connectors.Page[connectors.Listing]{}, err
	}
	return page, nil
}

func (m *marketplace) fits(what string, n int) error {
	if n > m.file.Batch {
		return connectors.Rejectedf(what, "", "%d lines are more than the %d of a batch; nothing was sent", n, m.file.Batch)
	}
	return nil
}

// ReadStock implements connectors.Marketplace.
func (m *marketplace) ReadStock(ctx context.Context, refs []connectors.Ref) ([]connectors.Reading, error) {
	const what = "read stock"
	o := m.file.Operations.ReadStock
	if !o.works() {
		return nil, o.refused(what)
	}
	if err := m.fits(what, len(refs)); err != nil || len(refs) == 0 {
		return nil, err
	}
	asked, list := map[connectors.Ref]bool{}, make([]any, 0, len(refs))
	for _, r := range refs {
		asked[r] = true
		list = append(list, map[string]any{"item": r.Item, "place": r.Place})
	}
	at := m.now().UTC()
	a, err := m.ask(ctx, o, what, false, inputs{"refs": list})
	if err != nil {
		return nil, err
	}
	rows, err := o.Rows.rows(ctx, a.body, a.in)
	if err != nil {
		return nil, m.rejected(what, err)
	}
	taken, err := takeRows(rows, func(r *readingRow) error {
		return errors.Join(nameCheck("item", r.Item), quantityCheck("quantity", r.Quantity, -stock.MaxQuantity))
	})
	if err != nil {
		return nil, m.rejected(what, err)
	}
	var out []connectors.Reading
	for _, r := range taken {
		ref := connectors.Ref{Item: r.Item, Place: r.Place}
		if !asked[ref] {
			continue // a filter that the system takes more widely than was meant
		}
		delete(asked, ref)
		out = append(out, connectors.Reading{Ref: ref, Quantity: r.Quantity, At: at})
	}
	return out, nil
}

// WriteStock implements connectors.Marketplace. A line that the answer says nothing about may have been written.
func (m *marketplace) WriteStock(ctx context.Context, writes []connectors.Write) ([]connectors.Result, error) {
	const what = "write stock"
	o := m.file.Operations.WriteStock
	if !o.works() {
		return nil, o.refused(what)
	}
	if err := m.fits(what, len(writes)); err != nil {
		return nil, err
	}
	results := make([]connectors.Result, len(writes))
	list := make([]any, 0, len(writes))
	for i, w := range writes {
		results[i].Ref = w.Ref
		if w.Quantity < 0 || m.file.MaxQuantity > 0 && int64(w.Quantity) > m.file.MaxQuantity {
			results[i].Outcome = connectors.Failed
			results[i].Err = connectors.Rejectedf(what, "", "the quantity %d of %s is not what the channel takes; nothing was sent for it", w.Quantity, w.Ref)
			continue
		}
		list = append(list, map[string]any{"item": w.Ref.Item, "place": w.Ref.Place, "quantity": int(w.Quantity), "id": w.ID})
	}
	if len(list) == 0 {
		return results, nil
	}
	a, err := m.ask(ctx, o, what, true, inputs{"writes": list})
	if err != nil {
		return nil, err
	}
	rows, err := o.Rows.rows(ctx, a.body, a.in)
	if err != nil {
		return nil, m.misfit(what, true, err)
	}
	taken, err := takeRows[outcomeRow](rows, nil)
	if err != nil {
		return nil, m.misfit(what, true, err)
	}
	told := map[connectors.Ref]outcomeRow{}
	for _, r := range taken {
		told[connectors.Ref{Item: r.Item, Place: r.Place}] = r
	}
	for i := range results {
		if results[i].Outcome == "" {
			r, known := told[results[i].Ref]
			m.conclude(o, &results[i], r, known)
		}
	}
	return results, nil
}

// conclude fills in what became of one line.
func (m *marketplace) conclude(o *operation, r *connectors.Result, row outcomeRow, told bool) {
	const what = "write stock"
	r.Outcome = connectors.Failed
	switch {
	case !told:
		r.Err = &connectors.Error{Kind: connectors.Uncertain, Op: what, Err: fmt.Errorf("the answer says nothing of %s", r.Ref)}
	case row.Outcome == connectors.Written, row.Outcome == connectors.Accepted:
		r.Outcome = row.Outcome
	case row.Outcome != connectors.Failed:
		r.Err = &connectors.Error{Kind: connectors.Uncertain, Op: what, Err: fmt.Errorf("the outcome of %s is %.40q: it must be ok, accepted or failed", r.Ref, string(row.Outcome))}
	default:
		k, known := o.Answers.Codes[row.Code]
		if !known {
			k, known = m.file.Answers.Codes[row.Code]
		}
		if !known {
			k = class{Kind: connectors.Rejected, Message: "the channel refused the line"}
		}
		r.Err = m.classed(what, k, row.Code, row.Message)
	}
}

// Orders implements connectors.Marketplace. The watermark is the instant before the first request, by the slower of the
// two clocks.
func (m *marketplace) Orders(ctx context.Context, since time.Time, _ connectors.Cursor) (connectors.OrderPage, error) {
	const what = "list orders"
	o := m.file.Operations.Orders
	if !o.works() {
		return connectors.OrderPage{}, o.refused(what)
	}
	began := m.now().UTC()
	from := max(since.Unix(), 0)
	page := connectors.OrderPage{}
	seen := map[string]int{}
	err := m.list(ctx, o, what, inputs{"since": int(from)}, func(rows []any, _ answer) error {
		taken, err := takeRows(rows, func(o *connectors.Order) error {
			return connectors.Fact{Kind: connectors.OrderUpserted, Order: o}.Validate()
		})
		for _, o := range taken {
			if at, known := seen[o.OrderID]; known {
				page.Orders[at] = o
				continue
			}
			seen[o.OrderID] = len(page.Orders)
			page.Orders = append(page.Orders, o)
		}
		return err
	})
	if err != nil {
		return connectors.OrderPage{}, err
	}
	page.Watermark = began.Add(m.clock.Behind())
	return page, nil
}

// WriteShipment implements connectors.ShipmentWriter.
func (m *marketplace) WriteShipment(ctx context.Context, s connectors.ShipmentNotice) error {
	const what = "write shipment"
	o := m.file.Operations.WriteShipment
	if !o.works() {
		return o.refused(what)
	}
	lines := make([]any, 0, len(s.Lines))
	for _, l := range s.Lines {
		lines = append(lines, map[string]any{"line_id": l.LineID, "quantity": int(l.Quantity)})
	}
	_, err := m.ask(ctx, o, what, true, inputs{"key": s.Key, "order_id": s.OrderID, "lines": lines, "carrier": s.Carrier, "tracking": s.Tracking})
	return err
}
