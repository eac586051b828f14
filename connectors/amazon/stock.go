package amazon

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

const (
	// batchSize bounds a call; a feed would take 25,000.
	batchSize = 1000
	// maxQuantity is below what a 32-bit integer holds; where Amazon's own limit is, is not documented.
	maxQuantity stock.Quantity = 1_000_000_000
	// productType stands for the real type of a listing where only the offer is changed.
	productType = "PRODUCT"
	// retryInFlight is when a listing is tried again that a feed is still about to change.
	retryInFlight = 15 * time.Second
)

func withinBatch(op string, n int) error {
	if n > batchSize {
		return connectors.Rejectedf(op, "", "%d lines in one call; at most %d are taken, and none was looked at", n, batchSize)
	}
	return nil
}

// line is one write on its way.
type line struct {
	write  connectors.Write
	result connectors.Result
}

func (l *line) done() bool { return l.result.Outcome != "" }

func (l *line) fail(err error) {
	l.result = connectors.Result{Outcome: connectors.Failed, Err: err}
}

func unmapped(op, sku string) error {
	return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the seller has no listing with the SKU %q in this marketplace", sku)}
}

// WriteStock implements connectors.Marketplace. Few lines are written one by one; many go as a feed. Amazon accepts both
// now, and shows the quantity later. A listing that a feed is about to change is not written beside it: nobody says which
// of the two would come last.
func (m *market) WriteStock(ctx context.Context, writes []connectors.Write) ([]connectors.Result, error) {
	const op = "write stock"
	if err := withinBatch(op, len(writes)); err != nil {
		return nil, err
	}
	lines := make([]*line, len(writes))
	last := make(map[string]int, len(writes))
	for i, w := range writes {
		lines[i] = &line{write: w}
		if isSKU(w.Ref) {
			last[w.Ref.Item] = i
		}
	}
	for i, l := range lines {
		switch w := l.write; {
		case !isSKU(w.Ref):
			l.fail(unmapped(op, w.Ref.String()))
		case w.Quantity < 0 || w.Quantity > maxQuantity:
			l.fail(connectors.Rejectedf(op, "", "quantity %d of %s: it must be from 0 to %d", w.Quantity, w.Ref, maxQuantity))
		case last[w.Ref.Item] != i:
			l.fail(connectors.Rejectedf(op, "", "%s stands twice in one batch; only the last is written", w.Ref))
		}
	}
	if err := m.settleFeeds(ctx, op); err != nil {
		return nil, err
	}
	if err := m.admit(ctx, op, lines); err != nil {
		return nil, err
	}
	due := lines[:0:0]
	for _, l := range lines {
		if !l.done() {
			due = append(due, l)
		}
	}
	if err := m.send(ctx, op, due); err != nil {
		return nil, err
	}
	results := make([]connectors.Result, len(lines))
	for i, l := range lines {
		results[i] = l.result
		results[i].Ref = l.write.Ref
	}
	return results, nil
}

// admit refuses the lines that must not be written: of listings that Amazon ships itself, or that a feed holds. A write to
// a listing of the former would make it one that the seller ships.
func (m *market) admit(ctx context.Context, op string, lines []*line) error {
	var unseen []string
	for _, l := range lines {
		if l.done() {
			continue
		}
		sku := l.write.Ref.Item
		if err := m.feeds.holds(op, sku, l.write.Quantity); err != nil {
			l.fail(err)
		} else if _, seen := m.seenLately(sku); !seen {
			unseen = append(unseen, sku)
		}
	}
	if len(unseen) > 0 {
		if _, err := m.look(ctx, op, unseen); err != nil {
			return err
		}
	}
	for _, l := range lines {
		if l.done() {
			continue
		}
		s, seen := m.seenLately(l.write.Ref.Item)
		switch {
		case !seen:
			l.fail(unmapped(op, l.write.Ref.Item))
		case s.byAmazon:
			l.fail(connectors.Rejectedf(op, "", "%s", s.why(l.write.Ref.Item)))
		}
	}
	return nil
}

// send writes the lines, and gives each its result. Its error is about them all.
func (m *market) send(ctx context.Context, op string, lines []*line) error {
	if m.feedFrom > 0 && len(lines) >= m.feedFrom {
		return m.sendFeed(ctx, op, lines)
	}
	for i, l := range lines {
		err := m.patch(ctx, op, l)
		switch kind := connectors.KindOf(err); {
		case err == nil:
		case kind == "": // a shutdown
			return err
		case kind == connectors.Auth, kind == connectors.Throttled, kind == connectors.Retryable:
			if i == 0 {
				return err
			}
			for _, rest := range lines[i:] {
				rest.fail(err) // it would be the same with each of them
			}
			return nil
		default:
			l.fail(err)
		}
	}
	return nil
}

// patches are the changes that show the quantity. merge leaves the handling time and restock date of the offer alone; a
// replacement would drop what is not repeated (changelog of June 2025, developer-docs.amazon.com/sp-api/changelog).
func patches(units stock.Quantity) []patch {
	return []patch{{Op: "merge", Path: "/attributes/fulfillment_availability", Value: []quantity{{Channel: merchant, Quantity: units}}}}
}

// patch writes one line. ACCEPTED says that it will be done (ListingsItemSubmissionResponse).
func (m *market) patch(ctx context.Context, op string, l *line) error {
	var got patched
	if err := m.do(ctx, call{
		op: op, operation: patchListingsItem, path: m.itemsPath(l.write.Ref.Item), query: url.Values{"marketplaceIds": {m.marketplaces[0]}},
		body: patchRequest{ProductType: productType, Patches: patches(l.write.Quantity)}, write: true,
	}, &got); err != nil {
		return err
	}
	switch got.Status {
	case "ACCEPTED":
		l.result = connectors.Result{Outcome: connectors.Accepted}
		return nil
	case "INVALID":
		return m.refuse(connectors.Rejected, op, got.Status, l.write.Ref.Item+": "+issuesText(got.Issues))
	default:
		return m.refuse(connectors.Uncertain, op, got.Status, "Amazon did not say that it takes the quantity of "+l.write.Ref.Item)
	}
}

// issuesText is what Amazon has against a listing.
func issuesText(issues []issue) string {
	var texts []string
	for _, i := range issues {
		if i.Severity == "ERROR" {
			texts = append(texts, strings.TrimSpace(i.Code+" "+i.Message))
		}
	}
	if len(texts) == 0 {
		return "refused without a reason: look at the listing in Seller Central → Manage All Inventory"
	}
	return strings.Join(texts, "; ") + ": correct the listing in Seller Central → Manage All Inventory"
}

// notFound reports whether an error says that there is no such thing.
func notFound(err error) bool {
	e, ok := errors.AsType[*connectors.Error](err)
	return ok && e.Kind == connectors.Unmapped
}
