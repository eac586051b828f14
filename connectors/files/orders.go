package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"

	"github.com/truestock/truestock/connectors"
)

// What the system of record is told is a file in out, which it takes away, and a copy in sent, by which a second try is
// known. The copy comes first: a try that was cut off between the two finds a copy without knowing whether the file was
// written, and writes it again under the same name.

// CreateOrder implements connectors.SystemOfRecord. The number of an order is its key.
func (r *record) CreateOrder(ctx context.Context, o connectors.NewOrder) (string, error) {
	buyer := connectors.Buyer{}
	if o.Buyer != nil {
		buyer = *o.Buyer
	}
	rows := [][]string{{"order_key", "channel", "order_id", "placed_at", "buyer", "contact", "line_id", "sku", "quantity"}}
	for _, l := range o.Lines {
		rows = append(rows, []string{o.Key, string(o.Channel), o.OrderID, o.PlacedAt.UTC().Format(time.RFC3339), buyer.Ref, buyer.Contact, l.LineID, string(l.SKU), fmt.Sprint(l.Quantity)})
	}
	return o.Key, r.tell(ctx, "create order", "order-"+nameOf(o.Key), rows)
}

// CancelOrder implements connectors.SystemOfRecord: running totals, so that the highest of a line counts, whatever the
// order in which the files are taken. A line without an id stands for the whole order.
func (r *record) CancelOrder(ctx context.Context, key string, lines []connectors.CancelLine) error {
	const op = "cancel order"
	if err := r.known(ctx, op, key); err != nil {
		return err
	}
	rows := [][]string{{"order_key", "line_id", "cancelled"}}
	for _, l := range lines {
		rows = append(rows, []string{key, l.LineID, fmt.Sprint(l.Cancelled)})
	}
	if len(lines) == 0 {
		rows = append(rows, []string{key, "", ""})
	}
	content, err := r.encode(rows)
	if err != nil {
		return connectors.Rejectedf(op, "", "%w", err)
	}
	return r.tell(ctx, op, "cancel-"+nameOf(key)+"-"+nameOf(string(content)), rows)
}

// AmendOrder implements connectors.OrderAmender: the quantities as they stand at a version; the highest version counts.
func (r *record) AmendOrder(ctx context.Context, a connectors.Amendment) error {
	const op = "amend order"
	if err := r.known(ctx, op, a.Key); err != nil {
		return err
	}
	rows := [][]string{{"order_key", "version", "line_id", "sku", "quantity"}}
	for _, l := range a.Lines {
		rows = append(rows, []string{a.Key, strconv.FormatInt(a.Version, 10), l.LineID, string(l.SKU), fmt.Sprint(l.Quantity)})
	}
	return r.tell(ctx, op, "amend-"+nameOf(a.Key)+"-"+strconv.FormatInt(a.Version, 10), rows)
}

// known looks whether the order was ever told.
func (r *record) known(ctx context.Context, op, key string) error {
	_, err := r.folder.read(ctx, path.Join(sentFolder, "order-"+nameOf(key)+".csv"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &connectors.Error{Kind: connectors.Unmapped, Op: op, Err: fmt.Errorf("the order %q was never told to the system of record", key)}
	case err != nil:
		return failure(op, false, err)
	}
	return nil
}

// nameOf is a part of a file's name that stands for a text of any characters.
func nameOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

func (r *record) encode(rows [][]string) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = r.comma
	for _, row := range rows {
		for i, cell := range row {
			row[i] = inert(cell)
		}
	}
	err := w.WriteAll(rows)
	return b.Bytes(), err
}

// inert keeps what comes from a buyer from being a formula where somebody opens the file in a spreadsheet.
func inert(cell string) string {
	if cell != "" && bytes.ContainsRune([]byte("=+@\t\r"), rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// tell writes a file once.
func (r *record) tell(ctx context.Context, op, name string, rows [][]string) error {
	content, err := r.encode(rows)
	if err != nil {
		return connectors.Rejectedf(op, "", "%w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name += ".csv"
	kept := path.Join(sentFolder, name)
	before, err := r.folder.read(ctx, kept)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return failure(op, false, err)
	case bytes.Equal(before, content):
		return nil // it was told
	case bytes.HasPrefix(before, []byte(unsure)) && bytes.Equal(before[len(unsure):], content):
		// it may have been told: the file has the same name and content, so a second one changes nothing
	default:
		return connectors.Rejectedf(op, "", "%s was told with another content: %s in the folder %s has it", name, name, sentFolder)
	}
	if err := r.folder.write(ctx, kept, append([]byte(unsure), content...)); err != nil {
		return failure(op, false, err)
	}
	if err := r.folder.write(ctx, path.Join(outFolder, name), content); err != nil {
		return failure(op, true, err)
	}
	if err := r.folder.write(ctx, kept, content); err != nil {
		return failure(op, true, err)
	}
	return nil
}

// unsure begins a copy of which it is not known yet whether its file was written.
const unsure = "#not known to be written\n"
