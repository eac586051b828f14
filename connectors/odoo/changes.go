package odoo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/truestock/truestock/connectors"
)

// changesAgain is how long before its mark a look begins. Odoo dates a change by the beginning of its transaction
// (odoo/sql_db.py, Cursor.now), so that it may come to light after one of a later date.
const changesAgain = time.Minute

type changeRow struct {
	ID    int64 `json:"id"`
	At    text  `json:"write_date"`
	Line  link  `json:"sale_line_id"`
	Order link  `json:"order_id"`
	Ref   text  `json:"client_order_ref"`
}

// at is when a record last changed, in Odoo's own form: UTC, without fractions of a second, and sorted as text.
func (c changeRow) at() string { return string(c.At) }

// Changes implements connectors.ChangeTeller, by when quants, moves and orders last changed (write_date). The mark is the latest
// of these times. The minute before it is looked at again, and a change in it is told on two looks: its date does not tell
// it from another one within the second.
func (r *record) Changes(ctx context.Context, mark string) (connectors.Changes, error) {
	const op = "ask what changed"
	var none connectors.Changes
	d, err := r.speak(ctx, op)
	if err != nil {
		return none, err
	}
	if err := r.settle(ctx, d); err != nil {
		return none, err
	}
	at, err := time.Parse(time.DateTime, mark)
	if err != nil {
		return d.firstMark(ctx, op)
	}
	quants, err := d.latest(ctx, op, "stock.quant")
	if err != nil {
		return none, err
	}
	begins := at.Add(-changesAgain).Format(time.DateTime)
	since := []any{"write_date", ">=", begins}
	var moves, orders []changeRow
	if err := d.search(ctx, op, "stock.move", []any{since}, []string{"id", "write_date", "sale_line_id"}, 0, &moves); err != nil {
		return none, err
	}
	if err := d.search(ctx, op, "sale.order", []any{since, []any{"client_order_ref", "!=", false}}, []string{"id", "write_date", "client_order_ref"}, 0, &orders); err != nil {
		return none, err
	}
	out := connectors.Changes{Mark: mark}
	for _, c := range slices.Concat(quants, moves, orders) {
		out.Mark = max(out.Mark, c.at())
	}
	fresh, done := r.told.Look(2)
	stale := func(model string) func(changeRow) bool {
		return func(c changeRow) bool { return c.at() < begins || !fresh(fmt.Sprint(model, " ", c.ID, " ", c.at())) }
	}
	quants, moves, orders = slices.DeleteFunc(quants, stale("quant")), slices.DeleteFunc(moves, stale("move")), slices.DeleteFunc(orders, stale("order"))
	out.Stock = len(quants)+len(moves) > 0
	var lines []int64
	for _, m := range moves {
		if m.Line.ID != 0 && !slices.Contains(lines, m.Line.ID) {
			lines = append(lines, m.Line.ID)
		}
	}
	moved, err := r.ordersOf(ctx, op, d, lines)
	done(err == nil)
	if err != nil {
		return none, err
	}
	for _, o := range slices.Concat(orders, moved) {
		if key := string(o.Ref); key != "" && !slices.Contains(out.OrderKeys, key) {
			out.OrderKeys = append(out.OrderKeys, key)
		}
	}
	return out, nil
}

// firstMark is when a quant, a move or an order changed last.
func (d *dialect) firstMark(ctx context.Context, op string) (connectors.Changes, error) {
	mark := time.Unix(0, 0).UTC().Format(time.DateTime)
	for _, model := range []string{"stock.quant", "stock.move", "sale.order"} {
		last, err := d.latest(ctx, op, model)
		if err != nil {
			return connectors.Changes{}, err
		}
		for _, c := range last {
			mark = max(mark, c.at())
		}
	}
	return connectors.Changes{Mark: mark}, nil
}

// latest is the record of a model that changed last; none where there is none.
func (d *dialect) latest(ctx context.Context, op, model string) (last []changeRow, err error) {
	err = d.sorted(ctx, op, model, []any{[]any{"write_date", "!=", false}}, []string{"id", "write_date"}, "write_date desc, id desc", 1, &last)
	return last, err
}

// ordersOf are the orders of lines.
func (r *record) ordersOf(ctx context.Context, op string, d *dialect, lines []int64) (orders []changeRow, err error) {
	if len(lines) == 0 {
		return nil, nil
	}
	var of []changeRow
	if err := d.search(ctx, op, "sale.order.line", []any{[]any{"id", "in", lines}}, []string{"id", "order_id"}, 0, &of); err != nil {
		return nil, err
	}
	var ids []int64
	for _, l := range of {
		if !slices.Contains(ids, l.Order.ID) {
			ids = append(ids, l.Order.ID)
		}
	}
	err = d.search(ctx, op, "sale.order", []any{[]any{"id", "in", ids}}, []string{"id", "client_order_ref"}, 0, &orders)
	return orders, err
}
