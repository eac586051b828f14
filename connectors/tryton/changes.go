package tryton

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/truestock/truestock/connectors"
)

// changesAgain is how long before its mark a look begins. Tryton dates a change by the beginning of its transaction
// (trytond/model/modelsql.py: CurrentTimestamp), so that it may come to light after one of a later date.
const changesAgain = time.Minute

// changeRow is a record with when it was made and when it was changed last; what was never changed has no second date.
type changeRow struct {
	ID      int64    `json:"id"`
	Made    *instant `json:"create_date"`
	Changed *instant `json:"write_date"`
	// Key is the reference of a sale, and Sale that of the sale that a move is for.
	Key  string `json:"reference"`
	Sale struct {
		Key string `json:"reference"`
	} `json:"sale."`
}

// instant is a date and time as Tryton's JSON writes it (trytond/protocols/jsonrpc.py).
type instant struct {
	Class  string `json:"__class__"`
	Year   int    `json:"year"`
	Month  int    `json:"month"`
	Day    int    `json:"day"`
	Hour   int    `json:"hour"`
	Minute int    `json:"minute"`
	Second int    `json:"second"`
	Micro  int    `json:"microsecond"`
}

func instantOf(t time.Time) instant {
	t = t.UTC()
	return instant{"datetime", t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond() / 1000}
}

func (i *instant) time() time.Time {
	if i == nil {
		return time.Time{}
	}
	return time.Date(i.Year, time.Month(i.Month), i.Day, i.Hour, i.Minute, i.Second, i.Micro*1000, time.UTC)
}

// at is when the record last changed.
func (c changeRow) at() time.Time {
	if made, changed := c.Made.time(), c.Changed.time(); made.After(changed) {
		return made
	}
	return c.Changed.time()
}

// Changes implements connectors.ChangeTeller, by when moves and sales were made or changed last. The mark is the latest of these
// times. The minute before it is looked at again, and what was told of it is not told once more.
func (e *erp) Changes(ctx context.Context, mark string) (connectors.Changes, error) {
	const op = "ask what changed"
	var none connectors.Changes
	s, err := e.login(ctx, op, "")
	if err != nil {
		return none, err
	}
	at, err := time.Parse(time.RFC3339Nano, mark)
	if err != nil {
		return e.firstMark(ctx, op)
	}
	since := instantOf(at.Add(-changesAgain))
	changed := []any{"OR", []any{"create_date", ">=", since}, []any{"write_date", ">=", since}}
	moves, err := e.dated(ctx, op, "stock.move", []any{changed, []any{"company", "=", s.company}}, 0, []any{[]any{"id", "ASC"}}, "sale.reference")
	if err != nil {
		return none, err
	}
	sales, err := e.dated(ctx, op, "sale.sale", []any{changed, []any{"company", "=", s.company}}, 0, []any{[]any{"id", "ASC"}}, "reference")
	if err != nil {
		return none, err
	}
	var out connectors.Changes
	fresh, done := e.told.Look(1)
	defer done(true)
	tell := func(model string, c changeRow, key string) {
		if c.at().After(at) {
			at = c.at()
		}
		if !fresh(model + strconv.FormatInt(c.ID, 10) + c.at().Format(time.RFC3339Nano)) {
			return
		}
		out.Stock = out.Stock || model == "stock.move"
		if key != "" && !slices.Contains(out.OrderKeys, key) {
			out.OrderKeys = append(out.OrderKeys, key)
		}
	}
	for _, m := range moves {
		tell("stock.move", m, m.Sale.Key)
	}
	for _, s := range sales {
		tell("sale.sale", s, s.Key)
	}
	out.Mark = at.Format(time.RFC3339Nano)
	return out, nil
}

// firstMark is when moves and sales changed last.
func (e *erp) firstMark(ctx context.Context, op string) (connectors.Changes, error) {
	at := time.Unix(0, 0).UTC()
	for _, model := range []string{"stock.move", "sale.sale"} {
		for _, date := range []string{"create_date", "write_date"} {
			last, err := e.dated(ctx, op, model, []any{[]any{date, "!=", nil}}, 1, []any{[]any{date, "DESC"}})
			if err != nil {
				return connectors.Changes{}, err
			}
			for _, c := range last {
				if c.at().After(at) {
					at = c.at()
				}
			}
		}
	}
	return connectors.Changes{Mark: at.Format(time.RFC3339Nano)}, nil
}

// dated reads records with their dates; a limit of 0 is none.
func (e *erp) dated(ctx context.Context, op, model string, domain []any, limit int, order []any, fields ...string) ([]changeRow, error) {
	var most any
	if limit > 0 {
		most = limit
	}
	return call[[]changeRow](ctx, e, request{op: op, method: "model." + model + ".search_read", params: []any{domain, 0, most, order, append([]string{"create_date", "write_date"}, fields...)}})
}
